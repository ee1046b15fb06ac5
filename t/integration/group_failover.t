# The master goes, under load: killed whole, or stopped in order, or told to by
# a signal while all are restarted in turn. Each time another one takes over, the
# old one comes back as a replica, no write that was answered is lost, what
# clients saw is linearizable, and in the end all hold the same. How long clients
# wait is noted; it is bounded only by what the machine may need.
#
# ROUNDS=100 kills so often, and says percentiles.
use strict;
use warnings;
use Group;
use Nodelife;
use Test::More;

my $rounds = $ENV{ROUNDS} // 4;
my $g      = Group->new->start;
my $load   = $g->load( keys => 200, seconds => 60 + 10 * $rounds );
my %number = map { ( $g->member($_)->{name} => $_ - 1 ) } 1 .. 3;
my ( @kills, @stops, @replicas );

# It is there again, a replica that has what was committed when it came.
sub follows {
	my ( $m, $name ) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$m->wait_serving;
	my $at;
	eventually {
		my $s = $m->fresh or return 0;
		return 0 if $s->{role} ne 'replica';
		my $of = $g->master or return 0;
		$at //= $of->stat->{positions}{committed};
		$s->{positions}{applied} >= $at;
	} $name or diag $g->roles;
	return;
}

ok $load->wait_acked(500), 'a load';
for my $round ( 1 .. $rounds ) {
	my $m    = $g->wait_master or BAIL_OUT 'no master: ' . $g->roles;
	my $then = now();
	kill 'KILL', $m->{pid};
	push @kills, [ $then, $number{ $m->{name} } ];
	$m->kill9;
	ok $load->wait_served, "round $round: $m->{name} is killed, writes go on"
	  or diag $g->roles;
	$m->spawn;
	follows( $m, '... and it comes back as a replica' );
}

# A replica's death is no matter.
my ($r) = $g->replicas;
push @replicas, now();
$r->kill9;
ok $load->wait_served, 'a replica is killed, writes go on';
$r->spawn;
follows( $r, '... and it comes back' );

# In order: it says so to the others, nobody waits for a promise to end.
my $m = $g->wait_master;
push @stops, [ now(), $number{ $m->{name} } ];
is $m->stop, 0, "the master, $m->{name}, is stopped in order";
ok $load->wait_served, '... writes go on' or diag $g->roles;
$m->spawn;
follows( $m, '... and it comes back as a replica' );

# All in turn, as for a new release.
for my $one ( $g->members ) {
	is $one->stop, 0, "rolling restart: $one->{name} stops";
	ok $load->wait_served, '... writes go on' or diag $g->roles;
	$one->spawn;
	follows( $one, '... and it is back' ) if $one != ( $g->wait_master // 0 );
}

my $h = $load->stop;
note $h->summary;
is_deeply [ $h->odd_errors ], [], 'clients met no other errors';
is $h->fault, '', 'what they saw is linearizable';
my $have = $g->same_content;
ok keys %$have > 100, 'and something: ' . keys %$have;

sub gaps {
	my ( $what, @then ) = @_;
	my @gap = sort { $a <=> $b } map { $h->gap(@$_) // 1e9 } @then;
	note sprintf "%s: %d; to the next write answered by another: p50 %.0f ms, p99 %.0f, all %s",
	  $what, scalar @gap, $gap[ $#gap / 2 ], $gap[ 0.99 * $#gap ],
	  join ' ', map { sprintf '%.0f', $_ } @gap;
	cmp_ok $gap[-1], '<', 30_000, "$what: the service is back";
	return;
}
gaps( 'kill -9 of the master', @kills );
gaps( 'the master is stopped', @stops );
note sprintf 'the longest without an answered write: %.0f ms', $h->longest;
is_deeply [ $g->stop ], [ 0, 0, 0 ], 'stopped';
done_testing;
