# A member's disk, under load: a replica's that is full, or hangs, is nobody
# else's matter; a master's that hangs for two seconds, or is full, ends in
# another one's mastership or in a wait, and not in a loss. When the disk is well
# the member follows by itself. On loop devices of the test's own.
use strict;
use warnings;
use Group;
use Nodelife;
use Test::More;
use World;

my $why = World::lacks(qw(root loop freeze));
plan skip_all => "$why: no disk of one's own" if $why;

my %disk = map { ( "n$_" => World::Disk->new( size => '400M' ) ) } 1 .. 3;
my $g = Group->new(
	wal  => { segment_size => '4M', reserve => '4M', spare_segments => 1 },
	store => { map_size => '192M' },
	each => {
		map { ( $_ => { node => { data_dir => $disk{$_}->dir . '/data' } } ) } keys %disk
	},
)->start;
my $load = $g->load( keys => 100, seconds => 200, rate => 1500 );
ok $load->wait_acked(200), 'a load';

sub well {
	my ( $m, $name ) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	eventually { ( ( $m->fresh || {} )->{role} // '' ) =~ /^(?:master|replica)$/ }
	"$name: it is a member again" or diag $g->roles;
	ok $load->wait_served, '... writes go on';
	ok $g->settle(120), '... and all follow' or diag $g->roles;
	return;
}

# Held for two seconds: longer than anything would take.
sub hang {
	my ( $m, $whom ) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $term = $m->stat->{term};
	my $then = now();
	$disk{ $m->{name} }->freeze;
	my $served = $load->wait_served(2);
	wait_until { now() > $then + 2 };
	$disk{ $m->{name} }->thaw;
	note "$whom hangs: writes " . ( $served ? 'went on' : 'waited' );
	well( $m, "$whom hung" );
	note 'terms since: ', $g->wait_master->stat->{term} - $term;
	return $served;
}

my ($r) = $g->replicas;
ok hang( $r, "a replica's disk" ), '... nobody else waited';
hang( $g->wait_master, "the master's disk" );

# Full, to the last byte: what is appended there fails.
for my $whom (qw(replica master)) {
	my $m = $g->wait_master or BAIL_OUT $g->roles;
	($m) = $g->replicas if $whom eq 'replica';
	my $disk = $disk{ $m->{name} };
	$disk->fill;
	my $c = $g->wait_master->client;
	$c->{timeout} = 1;
	# Enough to fill the segments that it has.
	for ( 1 .. 200 ) {
		last if $m->trouble('disk_full') || $m->trouble('log_waits');
		my $r = $c->cmd( 'SET', 'big', 'x' x 200_000 );
		last if Nodelife::Error::is($r);
	}
	my @t = map { "$_->{kind}: $_->{text}" } @{ ( $m->stat || {} )->{troubles} // [] };
	note "$whom full: @t";
	ok $load->wait_served, "a ${whom}'s disk is full: writes go on" or diag $g->roles
	  if $whom eq 'replica';
	$disk->empty;
	well( $m, "the $whom has room" );
}

my $h = $load->stop;
note $h->summary;
is $h->fault, '', 'what clients saw is linearizable';
is_deeply [ $h->odd_errors ], [], 'they met no other errors';
$g->same_content;
is_deeply [ $g->stop ], [ 0, 0, 0 ], 'stopped';
done_testing;
