# Stopping is one path, in order and quick: whoever asks, exit 0 within 1.1 s
# (where boots are slow, within three boots), pending work answered, nothing
# left behind.
use strict;
use warnings;
use Nodelife;
use Test::More;

my $n = Nodelife->new;

# Start, prepare, stop. Only the machine may make a stop slow, so not each time,
# and a boot as well.
sub stop_timed {
	my ( $name, $how, $prepare ) = @_;
	my ( $took, $limit );
	for my $try ( 1 .. 3 ) {
		my $boot = now();
		$n->start;
		$limit = 3 * ( now() - $boot );
		$limit = 1.1 if $limit < 1.1;
		$prepare->() if $prepare;
		my @pids  = values %{ $n->workers };
		my $begin = now();
		$how->();
		is $n->wait_exit, 0, "$name: exit 0";
		$took = now() - $begin;
		is_deeply [ grep { -e "/proc/$_" } @pids ], [],
		  "$name: no process left";
		is $n->stat->{state}, 'ended', "$name: the region says ended";
		last if $took <= $limit;
		diag sprintf '%s: %.0f ms', $name, $took * 1e3;
	}
	cmp_ok $took, '<=', $limit, sprintf '%s: %.0f ms', $name, $took * 1e3;
	return;
}

stop_timed 'SIGTERM, idle', sub { $n->signal('TERM') };

my @idle;
stop_timed 'SIGINT, 50 idle clients', sub { $n->signal('INT') },
  sub { @idle = map { $n->client } 1 .. 50 };
is $idle[0]->reply, 'CLOSED', 'clients are closed';

# What was sent before is answered: the pipeline's replies all come, and all
# that were answered are there afterwards.
my ( $c, $want ) = ( undef, 2000 );
stop_timed 'SIGTERM in a pipeline', sub { $n->signal('TERM') }, sub {
	$c = $n->client;
	is $c->cmd('PING'), 'PONG', 'a client';
	$c->raw( join '',
		map { Nodelife::Client::encode( 'SET', "p$_", $_ ) } 1 .. $want );
};
my $got = 0;
while ( $got < $want ) {
	my $r = $c->reply;
	last if Nodelife::Error::is($r) || $r ne 'OK';
	$got++;
}
diag "$got of $want were answered";
$n->start;
$c = $n->client;
my @v = $c->pipeline( map { [ 'GET', "p$_" ] } 1 .. $want );
is scalar( grep { !defined $v[$_] || $v[$_] ne $_ + 1 } 0 .. $got - 1 ), 0,
  'every answered write is there';

# A second signal forces: at once, and if it came in time, exit 1.
$c->cmd(qw(SET forced 1));
my @pids = values %{ $n->workers };
$n->signal('TERM')->signal('TERM');
my $code = $n->wait_exit;
ok $code == 0 || $code == 1, "two SIGTERMs: exit $code";
is_deeply [ grep { -e "/proc/$_" && !Nodelife::zombie($_) } @pids ], [],
  'no process left';
$n->start;
is $n->client->cmd(qw(GET forced)), 1, 'what was answered is there';
is $n->stop, 0, 'stopped';

stop_timed 'SHUTDOWN', sub { $c->send('SHUTDOWN') },
  sub { $c = $n->client };
stop_timed 'nodelifectl stop', sub {
	my ( $code, undef, $err ) = $n->run( 'nodelifectl', '-r', $n->{run}, 'stop' );
	is $code, 0, "nodelifectl stop: $err";
};

# A worker that does not move is named and killed, within the step's budget.
$n->configure( shutdown => { phase_budget => '500ms' } )->start;
my $stuck = $n->workers->{vlsn};
kill 'STOP', $stuck;
$n->signal('TERM');
$code = $n->wait_exit;
ok $n->gone, 'a stuck worker is killed';
like slurp( $n->{log} ), qr/vlsn/, 'and named';
ok !-e "/proc/$stuck" || Nodelife::zombie($stuck), 'it is gone';

$n->configure( shutdown => { phase_budget => '30s' } );

# Daemon mode: the starter returns when the node's region is there.
( $code, undef, my $err ) = $n->run( 'nodelifed', '-c', $n->{ini} );
is $code, 0, "a daemon: $err";
( $code, undef, $err ) =
  $n->run( 'nodelifestat', '-r', $n->{run}, '-w', 'gateway_enable', '-t', 10 );
is $code, 0, "-w follows: $err";
my $pid = $n->stat->{supervisor_pid};
$n->adopt($pid);
is $n->client->cmd('PING'), 'PONG', 'it serves';
( $code, undef, $err ) = $n->run( 'nodelifectl', '-r', $n->{run}, 'stop' );
is $code, 0, "stopped by nodelifectl: $err";
eventually { !-e "/proc/$pid" } 'the daemon is gone';
is_deeply [ glob "$n->{run}/*.pid" ], [], 'and its process id file';
# A region may name any process: none but its own supervisor is signalled.
SKIP: {
	skip 'not root: the kernel sees to it', 2 if $> != 0;
	my $f = Nodelife->new->start;
	$f->kill9;
	my $other = fork // die;
	if ( $other == 0 ) { exec 'sleep', 300; POSIX::_exit(1) }
	my ($start) = slurp("/proc/$other/stat") =~ /\) (?:\S+ ){19}(\d+)/;
	open my $r, '+<', "$f->{run}/region" or die "region: $!";
	for ( [ 36, pack 'l', $other ], [ 632, pack 'Q', $start ] ) {
		sysseek $r, $_->[0], 0;
		syswrite $r, $_->[1];
	}
	close $r;
	my ( $code, undef, $said ) =
	  $f->run( 'nodelifectl', '-r', $f->{run}, '-t', '3', 'stop' );
	like $said, qr/no node runs/, 'a process that a region names falsely';
	is waitpid( $other, 1 ), 0, 'gets no signal';
	kill 'KILL', $other;
	waitpid $other, 0;
}
done_testing;
