# What a group shows of itself: pages for load balancers, metrics, screen and
# nodelifectl say who is master, who is missing and what the group can lose, on
# each member, before and after one dies.
use strict;
use warnings;
use Group;
use Nodelife;
use Test::More;

my $g = Group->new->start;
my $m = $g->wait_master;
my ( $a, $b ) = $g->replicas;

sub page { my ( $n, $path ) = @_; return ( $n->http($path) )[0] }

eventually { $_->stat->{group_state}{can_lose} == 1 }
"$_->{name} sees that the group can lose one"
  for $g->members;
is page( $m, '/readyz?want=master' ), 200, 'the master is one for a load balancer';
is page( $m, '/readyz?want=replica' ), 503, '... and no replica';
for my $r ( $a, $b ) {
	is page( $r, '/readyz' ), 200, "$r->{name}: a replica is ready";
	is page( $r, '/readyz?want=master' ),  503, '... and no master';
	is page( $r, '/readyz?want=replica' ), 200, '... but a replica';
	like( ( $r->http('/readyz') )[1], qr/the master is \Q$m->{name}\E at /,
		'... which says where to write' );
}
my ( $code, $out ) = $m->control('members');
is $code, 0, 'nodelifectl members';
like $out, qr/^master, term \d+: can lose 1 more member \(3 of 3\)$/m, '... the quorum';
like $out, qr/^\Q$_->{name}\E .*\blive\b/m, "... a row of $_->{name}" for $a, $b;
( undef, $out ) = $m->run( 'nodelifestat', '-r', $m->{run} );
like $out, qr/^group: can lose 1 more member/m, 'the screen has it, too';
unlike $out, qr/.{80}/, '... in 79 columns';

$a->kill9;
eventually { $m->stat->{group_state}{can_lose} == 0 } 'one dies: none more can be lost';
( undef, $out ) = $m->control('status');
like $out, qr/^group: can lose no more member \(2 of 3\)$/m, 'status says so';
like $out, qr/^\Q$a->{name}\E: away: /m, '... and who it is';
my ( undef, $metrics ) = $m->http('/metrics');
like $metrics, qr/^nodelife_quorum_margin 0$/m, 'so do the metrics';
like $metrics, qr/^nodelife_member_up\{member="\Q$a->{name}\E"\} 0$/m, '... of a member';
is page( $m, '/readyz?want=write' ), 200, 'writes are served';

# Alone, it serves who asks for less; whoever restarts by probes lets it live.
$b->kill9;
eventually { page( $m, '/readyz?want=write' ) == 503 } 'two die: no writes';
eventually { ( $m->stat->{role} // '' ) ne 'master' } '... and no master';
is page( $m, '/readyz' ), 200, '... ready for eventual reads';
is page( $m, '/livez' ),  200, '... and alive';
like( ( $m->http('/readyz') )[1], qr/"reason": "no master for \d+ ms: /, '... says why' );
( undef, $out ) = $m->control('status');
like $out, qr/no quorum: 1 of 3, 2 needed/, '... on the command line, too';
$_->spawn for $a, $b;
ok $g->wait_master, 'they are back, and there is a master';
$g->stop;
done_testing;
