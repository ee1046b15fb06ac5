# A boot that refuses changes nothing: data_dir is damaged in each way that one
# refuses, booted three times, and is the same after each, to the byte, name,
# owner, mode and time; what is put back from a copy boots then. Where a boot
# may touch a file without changing it (the fence of wal's files, the probe
# beside them), the time is not compared.
use strict;
use warnings;
use Digest::SHA ();
use File::Find  ();
use File::Path  ();
use Nodelife;
use Test::More;
use Time::HiRes ();

my $boots = $ENV{BOOTS} // 3;
my $n     = Nodelife->new(
	wal   => { segment_size => '4M', reserve => '1M', spare_segments => 1 },
	store => { checkpoint_wal => '64M' },
);

# Several segments, a checkpoint in the first of them, an orderly end.
$n->start;
my $c = $n->client;
is $c->cmd( 'SET', "early$_", $_ ), 'OK', "early$_" for 1 .. 3;
is( ( $n->run( 'nodelifectl', '-r', $n->{run}, 'checkpoint' ) )[0],
	0, 'a checkpoint' );
eventually { -s "$n->{data}/wal/hint" } 'a hint how far it went';
$c->cmd( 'SET', "pad$_", $_ x 3_000_000 ) for 1 .. 3;
$c->cmd( 'SET', "late$_", $_ ) for 1 .. 300;
is $n->stop, 0, 'stopped';

my $good = "$n->{dir}/good";
sub copy { system( 'cp', '-a', '--sparse=always', @_ ) == 0 or die 'cp' }
copy( $n->{data}, $good );

sub restore {
	File::Path::remove_tree( $n->{data} );
	copy( $good, $n->{data} );
	return;
}

# path => everything about it that can be seen.
sub look {
	my %all;
	File::Find::find( { no_chdir => 1, wanted => sub {
		my @s    = Time::HiRes::lstat $_ or die "$_: $!";
		my $name = s{^\Q$n->{data}\E/?}{}r;
		my $time = $name =~ m{^wal(/.*\.seg|/(spare|prep)\..*)?$} ? '' : $s[9];
		$all{ $name || '.' } = join ' ', ( map { sprintf '%o', $_ } $s[2] ),
		  @s[ 3, 4, 5 ], ( -f _ ? ( $s[7], Digest::SHA->new(1)->addfile($_)
			  ->hexdigest ) : () ), $time;
	} }, $n->{data} );
	return \%all;
}

sub differs {
	my ( $was, $is ) = @_;
	my %names = ( %$was, %$is );
	return map { "$_: " . ( $was->{$_} // 'nothing' ) . ' is '
		  . ( $is->{$_} // 'nothing' ) }
	  grep { ( $was->{$_} // '' ) ne ( $is->{$_} // '' ) } sort keys %names;
}

sub segments { return sort glob "$n->{data}/wal/*.seg" }

sub used {
	my ($file) = @_;
	return length( slurp($file) =~ s/\0+\z//r );
}

# Flip bits of a byte.
sub flip {
	my ( $file, $at, $bits ) = @_;
	open my $f, '+<:raw', $file or die "$file: $!";
	seek $f, $at, 0;
	read $f, my $byte, 1;
	seek $f, $at, 0;
	print $f chr( ord($byte) ^ ( $bits // 2 ) );
	close $f;
	return;
}

sub remove { unlink @_ or die "@_: $!"; return }

# The segments that hold something, the oldest first.
my @seg = map { s{.*/}{wal/}r } grep { used($_) > 0 } segments();
cmp_ok scalar @seg, '>=', 3, scalar(@seg) . ' segments';
sub seg { return "$n->{data}/$seg[ $_[0] ]" }
my $store = "$n->{data}/store/data.mdb";

# name, what it does, what the log says of it.
my @cases = (
	[ 'the oldest segment is missing', sub { remove( seg(0) ) }, qr/\.seg/ ],
	[ 'one between is missing', sub { remove( seg(1) ) }, qr/\.seg/ ],
	[ 'the newest is missing', sub { remove( seg(-1) ) }, qr/\.seg/ ],
	[ 'all segments are missing', sub { remove( segments() ) }, qr/record|\.seg/ ],
	[ 'wal/ is missing', sub { File::Path::remove_tree("$n->{data}/wal") },
		qr/wal|record/ ],
	[ 'a header is damaged', sub { flip( seg(1), 20 ) }, qr/\.seg/ ],
	[ 'the newest header is damaged', sub { flip( seg(-1), 20 ) }, qr/\.seg/ ],
	[ 'a record is damaged', sub { flip( seg(1), 9000 ) }, qr/\.seg.*offset/ ],
	[ 'the newest is cut inside its last flush',
		sub { truncate seg(-1), used( seg(-1) ) - 400 or die }, qr/\.seg/ ],
	[ 'the newest is cut to its header', sub { truncate seg(-1), 4096 or die },
		qr/\.seg/ ],
	[ 'state is missing', sub { remove("$n->{data}/state") },
		qr/state.*missing/ ],
	[ 'both blocks of state are damaged',
		sub { flip( "$n->{data}/state", $_ ) for 30, 4126 }, qr/state.*damaged/ ],
	[ 'state is of another size',
		sub { truncate "$n->{data}/state", 4096 or die }, qr/state/ ],
	[ 'node is damaged', sub { flip( "$n->{data}/node", 20 ) }, qr/node/ ],
	[ 'founded anew', sub {
		remove( "$n->{data}/node", "$n->{data}/state", "$n->{data}/members" );
		my $other = Nodelife->new->found;
		copy( "$other->{data}/node", $n->{data} );
		copy( "$other->{data}/state", $n->{data} ) if -e "$other->{data}/state";
	}, qr/another group/ ],
	[ 'both heads of the store are damaged',
		sub { flip( $store, $_, 255 ) for 16 .. 24, 4112 .. 4120 }, qr/store/ ],
	[ 'the store is cut', sub { truncate $store, 8192 or die }, qr/store/ ],
	[ 'the store is no store', sub { truncate $store, 100 or die }, qr/store/ ],
	[ 'the store is damaged',
		sub { my $all = slurp($store); my $at = index $all, 'early2';
			die if $at < 0; $at = index $all, 'early2', $at + 1
			  while index( $all, 'early2', $at + 1 ) > 0;
			flip( $store, $at + 2 ) }, qr/store/ ],
	[ 'the store is missing, and the oldest segment', sub {
		remove( $store, "$n->{data}/store/lock.mdb", seg(0) ) },
		qr{: \Q$store\E: open: No such.*\Q$seg[0]\E.*drop records 1 to.*findmnt} ],
	[ 'the store and the log are another group\'s', sub {
		remove( "$n->{data}/state", "$n->{data}/members", segments() );
		my $other = Nodelife->new->found;
		copy( "$other->{data}/node", $n->{data} );
	}, qr/group/ ],
	[ 'no lock file, no index, and a record is damaged', sub {
		remove("$n->{data}/store/lock.mdb");
		File::Path::remove_tree("$n->{data}/index");
		flip( seg(1), 9000 ) }, qr/\.seg.*offset/ ],
);

my $only = $ARGV[0];
for my $case (@cases) {
	my ( $name, $damage, $says ) = @$case;
	next if defined $only && $name !~ /$only/;
	restore();
	$damage->();
	my $was = look();
	my @bad;
	for my $i ( 1 .. $boots ) {
		unlink $n->{log};
		my $up = $n->spawn->wait_boot;
		if ( $up ne 'gone' ) {
			push @bad, "boot $i $up";
			$n->kill9;
		}
		my $log = slurp( $n->{log} ) // '';
		push @bad, "boot $i: exit " . $n->wait_exit if $n->wait_exit == 0;
		push @bad, "boot $i says: " . substr $log, -800 if $log !~ $says;
		my @diff = differs( $was, look() );
		push @bad, "boot $i changed:", @diff if @diff;
		last if @bad;
	}
	ok !@bad, "$name: refused $boots times, nothing is changed"
	  or diag join "\n", @bad;
}

restore();
$n->start;
is $n->client->cmd( 'GET', 'late300' ), 300, 'what is put back boots';
is $n->stop, 0, 'stopped';
done_testing;
