# What follows the death of each worker, and of too many: a worker or the node
# starts again, with titles, descriptors and counts as they were; what hangs is
# killed; the limit ends the daemon; nobody outlives the supervisor. A node that
# is process 1, or like it, reaps what workers leave behind.
use strict;
use warnings;
use Test::More;
use IO::Socket::UNIX;
use Nodelife;
use World;

my $n = Nodelife->new(
	restart => { limit => 100, backoff_min => '10ms', backoff_max => '20ms' },
	listen  => { max_clients => 100 } );
$n->start;

my @all = qw(checkpoint gateway0 group health store vlsn wal);
is_deeply [ sort keys %{ $n->workers } ], \@all, 'every worker is there';

sub row {
	my ($name) = @_;
	my ($row) = grep { $_->{name} eq $name } @{ $n->stat->{workers} };
	return $row;
}

# Descriptors: the data directory's lock where it belongs, nothing foreign.
{
	my %w = %{ $n->workers };
	for my $name (@all) {
		my @fd = map { readlink($_) // () } glob "/proc/$w{$name}/fd/*";
		my $locks = grep { $_ eq "$n->{data}/lock" } @fd;
		is $locks, $name eq 'health' ? 0 : 1, "$name: lock";
		is scalar( grep { /nodelifed\.pid|signalfd|pidfd/ } @fd ), 0,
		  "$name: nothing of the supervisor's";
	}
}

# Those whose death is safe start again alone.
for my $name (qw(vlsn checkpoint health gateway0)) {
	my %before = %{ $n->workers };
	kill 'KILL', $before{$name};
	ok wait_until(
		sub {
			my %now = %{ $n->workers };
			my $row = row($name);
			$now{$name} && $now{$name} != $before{$name} && $row
			  && $row->{state} eq 'running' && $row->{pid} == $now{$name};
		} ), "$name: starts again";
	is row($name)->{restarts}, 1, "$name: is counted";
	my %now = %{ $n->workers };
	is_deeply [ map { $now{$_} } grep { $_ ne $name } @all ],
	  [ map { $before{$_} } grep { $_ ne $name } @all ], 'nobody else did';
}
is $n->stat->{node_restarts}, 0, 'the node did not';
is $n->client->cmd('PING'), 'PONG', 'and answers';

# Those that take shared state with them take the node.
my $restarts = 0;
for my $name (qw(wal store group)) {
	my %before = %{ $n->workers };
	kill 'KILL', $before{$name};
	$restarts++;
	ok wait_until(
		sub {
			my $s = $n->stat;
			$s && $s->{node_restarts} == $restarts && $s->{stage} eq 'ready';
		} ), "$name: the node boots again";
	my %now = %{ $n->workers };
	is scalar( grep { $now{$_} == $before{$_} } @all ), 0, 'everybody is new';
}
is $n->client->cmd('PING'), 'PONG', 'at the same address';

# A worker that hangs.
is $n->stop, 0, 'stopped';
$n->configure( liveness => { timeout => '2s' } )->start;
{
	my $pid = $n->workers->{vlsn};
	kill 'STOP', $pid;
	ok wait_until( sub { ( $n->workers->{vlsn} // $pid ) != $pid } ),
	  'a silent worker is replaced';
	like slurp( $n->{log} ), qr/vlsn \(pid $pid\): no heartbeat for \d+ ms: killed/,
	  'by its name';
}

# Nobody outlives the supervisor.
{
	my @pids = values %{ $n->workers };
	$n->kill9;
	is_deeply [ grep { -e "/proc/$_" && !Nodelife::zombie($_) } @pids ], [],
	  'all gone';
}
$n->configure( liveness => { timeout => undef } );

# Started by who ignores SIGCHLD and passes orphans on (as process 1 does, by
# prctl(PR_SET_CHILD_SUBREAPER)).
$n->spawn( $^X, '-e',
	'syscall 157, 36, 1, 0, 0, 0; $SIG{CHLD} = "IGNORE"; exec @ARGV',
	build_dir() . '/nodelifed', '-f', '-c', $n->{ini} );
$n->wait_serving;
{
	my $pid = $n->workers->{vlsn};
	kill 'KILL', $pid;
	ok $n->wait_worker( 'vlsn', $pid ), 'SIGCHLD ignored: workers are reaped';
}
SKIP: {
	skip 'prctl by number needs x86-64', 4 if ( POSIX::uname() )[4] ne 'x86_64';
	my $c = $n->client;
	my $v = 'v' x 100;
	my $worker = $n->workers->{checkpoint};
	my ( $ctl, $writer );

	# One that is over before it could be held is made again.
	my $held = sub {
		$c->pipeline( map { my $i = $_; [ 'MSET', map { ( "$i.$_", $v ) } 1 .. 100 ] }
			  1 .. 1000 );
		$ctl = fork // die;
		POSIX::_exit(
			( $n->run( 'nodelifectl', '-r', $n->{run}, 'checkpoint' ) )[0] )
		  if $ctl == 0;
		# From when it has its title it dies with its parent.
		wait_until {
			($writer) = split ' ',
			  slurp("/proc/$worker/task/$worker/children") // '';
			return 1
			  if $writer
			  && ( slurp("/proc/$writer/cmdline") // '' ) =~ /: writing/;
			waitpid( $ctl, POSIX::WNOHANG() ) == $ctl;
		};
		my $state = '';
		kill 'STOP', $writer if $writer;
		wait_until {
			($state) = ( slurp("/proc/$writer/stat") // ') X' ) =~ /\) (.)/;
			$state =~ /[TXZ]/;
		} if $writer;
		waitpid $ctl, 0 if $state ne 'T';
		return $state eq 'T';
	};
	ok wait_until( \&$held ), 'a checkpoint is being written';
	kill 'KILL', $worker;
	eventually { !-e "/proc/$writer" } 'its writer ends with the worker';
	waitpid $ctl, 0;
	is $?, 0, 'the next worker makes the checkpoint';
	is $n->stat->{node_restarts}, 0, 'without a new boot';
}
is $n->stop, 0, 'stopped';

# The limit.
$n->configure( restart => { limit => 2 } );
$n->start;
for my $i ( 1 .. 3 ) {
	last if $n->gone;
	kill 'KILL', $n->workers->{wal};
	wait_until {
		return 1 if $n->gone;
		my $s = $n->stat;
		$s && $s->{node_restarts} == $i && $s->{stage} eq 'ready';
	};
}
is $n->wait_exit, 70, 'one restart too many ends the daemon';
like slurp( $n->{log} ), qr/the node stops: wal .*too many node restarts: \[restart\] limit is 2 in window = 60 s/,
  'and says so';

# With 0 the first is one too many; a worker that starts alone is no restart of
# the node, and is tried on.
$n->configure( restart => { limit => 0, backoff_max => '20ms' } )->start;
{
	my $vlsn = $n->workers->{vlsn};
	my $log  = -s $n->{log};
	is $n->client->cmd(qw(SET kept 1)), 'OK', 'limit = 0: a write';
	kill 'KILL', $vlsn;
	eventually { ( $n->workers->{vlsn} // $vlsn ) != $vlsn }
	'the first death of a worker that others do without is no end';
	kill 'KILL', $n->workers->{wal};
	is $n->wait_exit, 70, 'the first restart of the node is one too many';
	like substr( slurp( $n->{log} ), $log ),
	  qr/the node stops: wal .*too many node restarts: \[restart\] limit is 0 in window = 60 s/,
	  'and its key is told';
	is $n->start->client->cmd(qw(GET kept)), 1, 'nothing is lost';
	is $n->stop, 0, 'a stop is none';
}

# While a node takes long to come back its clients are sent away.
$n->configure(
	restart  => { limit => 100, backoff_min => '3s', backoff_max => '3s' },
	shutdown => { listen_hold => '200ms' } );
$n->start;
{
	my $addr = $n->addr('client');
	my $dial = sub { IO::Socket::INET->new( PeerAddr => $addr, Timeout => 30 ) };
	ok $dial->(), 'serves';
	kill 'KILL', $n->workers->{wal};
	ok wait_until( sub { !$dial->() } ), 'refuses after listen_hold';
	ok wait_until( sub { $dial->() } ), 'takes clients again';
	is $n->client->cmd('PING'), 'PONG', 'and answers them';
}
is $n->stop, 0, 'stopped';

# What somebody removes of run_dir is made again, or told as long as it lacks.
$n->configure(
	restart => { backoff_min => '10ms', backoff_max => '20ms' },
	listen  => { client_unix => "$n->{run}/clients.sock" } );
$n->start;
{
	my $run = $n->{run};
	my $alone = sub {
		( $n->run( 'nodelifectl', '-r', $run, 'status' ) )[0] == 0
		  && slurp("$run/nodelifed.pid") == $n->{pid} && $n->stat;
	};
	my $told = sub {
		( $n->stat // {} )->{troubles}
		  && join "\n", map { $_->{text} } @{ $n->stat->{troubles} };
	};
	my $c = $n->client;
	File::Path::remove_tree($run);
	eventually { ( $told->() // '' ) =~ /client_unix \Q$run\E\S+: removed/ }
	'a removed run_dir: the socket that gateways lack is told';
	eventually { $alone->() } 'process id file, control socket and region are back';
	is $n->stat->{node_restarts}, 0, 'the node goes on';
	is $c->cmd('PING'), 'PONG', 'with its clients';

	kill 'KILL', $n->workers->{wal};
	File::Path::remove_tree($run);
	eventually { ( $n->stat // {} )->{node_restarts} } 'it boots without run_dir';
	$n->wait_serving;
	eventually { $told->() eq '' } 'nothing lacks any more';
	ok( IO::Socket::UNIX->new( Peer => "$run/clients.sock" ),
		'and gateways have all sockets' );

	# No directory can be made where a file is.
	rename $run, "$run.away";
	World::put( $run, '' );
	kill 'KILL', $n->workers->{wal};
	eventually {
		slurp( $n->{log} ) =~ /\Q$run\E: process id file: removed, and cannot be made again: Not a directory: a part of the path/
	} 'where none can be made that is told';
	eventually { eval { $n->client->cmd('PING') eq 'PONG' } } 'and the node boots without';
	unlink $run;
	eventually { $alone->() } 'until it can';
	File::Path::remove_tree("$run.away");
	is $n->stop, 0, 'stopped';
	is_deeply [ glob "$run/*.sock $run/*.pid" ], [], 'nothing is left';
}
$n->configure( listen => { client_unix => undef } );

# A first boot that fails ends the daemon with the cause.
$n->configure( boot => { migrate_budget => '100ms' } );
{
	my $lock = $n->hold_boot;
	is $n->spawn->wait_exit, 1, 'a failed first boot: exit 1';
	like slurp( $n->{log} ),
	  qr/the node stops: migrate budget of 100 ms used up/, 'with its cause';
}
done_testing;
