# A full disk: writes are refused with a clear error, reads go on, nothing that
# was acknowledged is lost, and writes work again when there is space; with
# both ways to write the log. On a small tmpfs of our own, which needs root.
use strict;
use warnings;
use Nodelife;
use Test::More;
use World;

my $why = World::lacks('root');
plan skip_all => "$why: cannot mount a small file system" if $why;

sub small_disk { return World::Disk->new( fs => 'tmpfs', size => $_[0] . 'm' ) }

# A first boot on a disk of so many pages and no more: what it has made of a
# store does not stand in its way when there is room.
for my $pages ( 3 .. 8 ) {
	my $disk = World::Disk->new( fs => 'tmpfs', size => 4 * $pages . 'k' );
	my $n    = Nodelife->new( node => { data_dir => $disk->dir . '/data' } );
	$n->{data} = $disk->dir . '/data';
	next if !eval { $n->found; 1 };
	$n->spawn;
	eventually { slurp( $n->{log} ) =~ /the boot waits: .*No space left/ }
	"$pages pages: a first boot waits";
	system( 'mount', '-o', 'remount,size=64m', $disk->dir ) == 0 or die;
	is $n->wait_boot, 'serves', 'and goes on when there are more';
	is $n->client->cmd(qw(SET a 1)), 'OK', 'and serves';
	is $n->stop, 0, 'stopped';
}

for my $io (qw(auto buffered)) {
	my $disk = small_disk(64);
	my $n = Nodelife->new(
		node => { data_dir => $disk->dir . '/data' },
		wal  => { io => $io, segment_size => '4M', reserve => '4M',
			spare_segments => 1, keep_size => 0 },
		store => { checkpoint_wal => '8M', map_size => '64M' },
	);
	$n->{data} = $disk->dir . '/data';
	$n->start;
	my $c = $n->client;
	is $c->cmd(qw(SET first 1)), 'OK', "$io: a node on a small disk";
	diag "$io: ", $disk->free_kb, ' KiB free when it serves';

	# Take what is left, then write until it says no.
	$disk->fill;
	my ( $i, $error, %ok ) = (0);
	my $value = 'v' x 4000;
	while ( $i < 40_000 ) {
		my @r = $c->pipeline( map { [ 'SET', "k$_", "$value$_" ] } $i .. $i + 99 );
		for ( 0 .. 99 ) {
			if ( Nodelife::Error::is( $r[$_] ) ) { $error //= $r[$_] }
			else { $ok{ 'k' . ( $i + $_ ) } = $value . ( $i + $_ ) }
		}
		$i += 100;
		last if $error;
	}
	ok defined $error, "$io: refused after " . keys(%ok) . ' writes';
	like $error // '', qr/space|full/i, "$io: the error says why: "
	  . ( $error // '' );
	is $c->cmd(qw(GET first)), 1, "$io: reads go on";
	is $n->stat->{state}, 'live', "$io: the node lives";
	eventually { $n->stat->{nospace} }
	  "$io: the region says that there is no space";
	ok !$n->stat->{can_write}, "$io: and that it cannot write";
	like( ( $n->http('/readyz') )[1], qr/space|full/i, "$io: /readyz says so" );
	like $c->cmd(qw(INCR x)), qr/space|full/i, "$io: INCR is refused, too";
	$c->cmd('MULTI');
	$c->cmd(qw(SET y 1));
	my $r = $c->cmd('EXEC');
	ok Nodelife::Error::is($r), "$io: so is EXEC";
	is $c->cmd(qw(GET y)), undef, "$io: which did nothing";
	is $n->stat->{node_restarts}, 0, "$io: no restart because of it";

	$disk->empty;
	eventually { ( $c->cmd(qw(SET again 1)) // '' ) eq 'OK' }
	  "$io: writes work again when there is space";
	eventually { !$n->stat->{nospace} } "$io: the region says so";
	my @keys = sort keys %ok;
	my $bad  = 0;
	while ( my @part = splice @keys, 0, 200 ) {
		my $got = $c->cmd( 'MGET', @part );
		for (@part) {
			my $v = shift @$got;
			$bad++ if !defined $v || $v ne $ok{$_};
		}
	}
	is $bad, 0, "$io: everything acknowledged is there";
	$n->kill9->start;
	is $n->client->cmd(qw(GET again)), 1, "$io: also after a crash";
	is $n->stop, 0, "$io: stopped";
	my ( $code, $out, $err ) = $n->run( 'nodelifewal', 'verify', $n->{data} );
	is $code, 0, "$io: the log verifies" or diag "$out$err";
}

# A disk that is full when the node starts: it comes up and serves reads.
my $disk = small_disk(48);
my $n = Nodelife->new(
	node => { data_dir => $disk->dir . '/data' },
	wal  => { segment_size => '4M', reserve => '1M', spare_segments => 1 },
	store => { map_size => '64M' } );
$n->{data} = $disk->dir . '/data';
$n->start;
is $n->client->cmd(qw(SET k v)), 'OK', 'a write';
is $n->stop, 0, 'stopped';
$disk->fill;
if ( $n->spawn->wait_boot eq 'serves' ) {
	is $n->client->cmd(qw(GET k)), 'v', 'started on a full disk, it reads';
	$disk->empty;
	eventually { ( $n->client->cmd(qw(SET k w)) // '' ) eq 'OK' }
	  'and writes when there is space';
	is $n->stop, 0, 'stopped';
}
else {
	cmp_ok $n->wait_exit, '>', 0, 'a boot on a full disk is refused';
	like slurp( $n->{log} ), qr/space/i, 'saying why';
	$disk->empty;
	$n->start;
	is $n->client->cmd(qw(GET k)), 'v', 'with space it starts';
	is $n->stop, 0, 'stopped';
}
done_testing;
