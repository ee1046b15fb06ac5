# Each worker killed once, as the table in nodelife(7) says: gateway, vlsn,
# checkpoint and health come back alone, wal, store and group restart the
# node; what was answered stays, counters say what happened. A worker that
# hangs is found by its heartbeat. The limit of restarts ends the daemon.
use strict;
use warnings;
use Nodelife;
use Test::More;

my $n = Nodelife->new( restart => {
	limit => 100, backoff_min => '1ms', backoff_max => '10ms' } );
$n->start;
my $c = $n->client;
is $c->cmd(qw(SET k 1)), 'OK', 'a node with data';

sub serving {
	my ($name) = @_;
	return eventually {
		my $s = $n->stat;
		$s && $s->{state} eq 'live' && $s->{phase} eq 'gateway_enable'
		  && $s->{can_write}
		  && !grep { $_->{state} ne 'running' } @{ $s->{workers} };
	} "$name: all run";
}

for my $name (qw(vlsn checkpoint health)) {
	my $before = $n->stat;
	my $pid    = $n->workers->{$name};
	kill 'KILL', $pid;
	my $new = $n->wait_worker( $name, $pid );
	ok $new, "$name comes back";
	serving $name;
	my $row = $n->worker_row($name);
	is $row->{restarts},    1,         "$name: counted";
	is $row->{last_status}, 'SIGKILL', "$name: its end is kept";
	is $row->{pid}, $new, "$name: its new pid";
	my $s = $n->stat;
	is $s->{node_restarts}, $before->{node_restarts}, "$name: alone";
	is $c->cmd(qw(INCR k)), $s->{term} && $c->cmd(qw(GET k)) + 0,
	  "$name: clients did not notice";
}
( my $code, undef, my $err ) =
  $n->run( 'nodelifectl', '-r', $n->{run}, 'checkpoint' );
is $code, 0, "checkpoints work after all that: $err";
is( ( $n->http('/readyz') )[0], 200, 'so do health pages' );

# The gateway: its clients are disconnected, nothing else happens.
my $pid = $n->workers->{gateway0};
$c->cmd(qw(SET before 1));
kill 'KILL', $pid;
is $c->reply, 'CLOSED', 'clients of a killed gateway are disconnected';
my $d = $n->client;
$d->send('PING');
is $d->reply, 'PONG', 'who connects meanwhile is served by the next one';
is $d->cmd(qw(GET before)), 1, 'what was answered is there';
is $n->worker_row('gateway0')->{restarts}, 1, 'counted';
is $n->stat->{node_restarts}, 0, 'alone';
serving 'gateway0';

# A gateway killed with requests on their way: the next one takes no answer
# that was meant for its predecessor.
for ( 1 .. 5 ) {
	my $e = $n->client;
	$e->raw( join '', map { Nodelife::Client::encode( 'INCR', 'x' ) } 1 .. 500 );
	$e->readable(1);
	$pid = $n->workers->{gateway0};
	kill 'KILL', $pid;
	# While it dies it may still accept.
	wait_until { !kill 0, $pid };
	my $f = $n->client;
	my @r = $f->pipeline( map { [ 'INCR', 'y' ] } 1 .. 50 );
	is "@r[0, 49]", ( $_ * 50 - 49 ) . ' ' . $_ * 50,
	  "round $_: answers belong to their questions";
}
my $x = $n->client->cmd(qw(GET x)) // 0;
cmp_ok $x, '<=', 2500, "of a dead gateway's requests $x were done";

for my $name (qw(wal store group)) {
	my $before = $n->stat;
	$d = $n->client;
	is $d->cmd( 'SET', "by:$name", 1 ), 'OK', "$name: a write before";
	kill 'KILL', $n->workers->{$name};
	is $d->reply, 'CLOSED', "$name: clients are disconnected";
	eventually {
		my $s = $n->stat;
		$s && $s->{node_restarts} == $before->{node_restarts} + 1;
	} "$name: the node restarts";
	serving $name;
	delete $n->{addr};
	my $s = $n->stat;
	cmp_ok $s->{term}, '>', $before->{term}, "$name: with a new term";
	is $s->{supervisor_pid}, $before->{supervisor_pid}, "$name: same daemon";
	is $s->{listen}{client}, $before->{listen}{client}, "$name: same port";
	is $n->client->cmd( 'GET', "by:$name" ), 1, "$name: what was answered is there";
	( undef, my $old ) =
	  $n->run( 'nodelifestat', '-r', "$n->{run}/region.prev", '-e' );
	like $old, qr/$name/, "$name: the region before tells why";
}

# A hanging worker: killed by its heartbeat, then as above.
is $n->stop, 0, 'stopped';
$n->configure( liveness => { timeout => '2s' } )->start;
$pid = $n->workers->{vlsn};
kill 'STOP', $pid;
ok $n->wait_worker( 'vlsn', $pid ), 'a worker that hangs is replaced';
like slurp( $n->{log} ), qr/vlsn/, 'and named';
is $n->stop, 0, 'stopped';

# The limit.
$n->configure( liveness => { timeout => undef }, restart => { limit => 2 } )
  ->start;
for ( 1 .. 3 ) {
	last if $n->gone;
	my $s = $n->stat;
	kill 'KILL', $n->workers->{wal};
	wait_until {
		my $t = $n->stat;
		$n->gone || $t && $t->{node_restarts} > $s->{node_restarts}
		  && $t->{phase} eq 'gateway_enable';
	};
}
cmp_ok $n->wait_exit, '>', 0, 'over the limit the daemon exits, not 0';
$n->start;
is $n->client->cmd(qw(GET by:wal)), 1, 'started again by hand it has the data';
is $n->stop, 0, 'stopped';

# The supervisor: everything goes with it.
$n->start;
my @pids = values %{ $n->workers };
$n->kill9;
is_deeply [ grep { -e "/proc/$_" && !Nodelife::zombie($_) } @pids ], [],
  'no worker outlives the supervisor';
done_testing;
