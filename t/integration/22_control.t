# nodelifectl and the control socket on a real node: each command, each exit
# code, who may and who may not, nodes that do not answer; /metrics counts what
# clients do; /drain stops. Killed, the health worker is back on its sockets.
use strict;
use warnings;
use File::Copy qw(copy);
use IO::Socket::UNIX;
use Nodelife;
use POSIX ();
use Test::More;

my $n = Nodelife->new( wal => { sync => 'sync' } );

sub ctl {
	my @args = @_;
	return $n->run( 'nodelifectl', '-r', $n->{run}, @args );
}

# As somebody else: (exit code, stderr). Of a copy: the build may be where
# nobody gets at it.
sub ctl_as_nobody {
	my @args = @_;
	my $ctl  = tmp_dir() . '/nodelifectl';
	copy( build_dir() . '/nodelifectl', $ctl ) if !-e $ctl;
	chmod 0755, $ctl;
	pipe my $r, my $w or die;
	my $pid = fork // die;
	if ( $pid == 0 ) {
		open STDERR, '>&', $w;
		$( = $) = '65534 65534';
		POSIX::setuid(65534);
		exec $ctl, '-r', $n->{run}, @args
		  or POSIX::_exit(127);
	}
	close $w;
	local $/;
	my $err = <$r> // '';
	waitpid $pid, 0;
	my $code = $? >> 8;
	unlink $ctl;
	return ( $code, $err );
}

sub metric {
	my ($name) = @_;
	my ( undef, $body ) = $n->http('/metrics');
	return $body =~ /^\Q$name\E (\S+)$/m ? $1 : undef;
}

# Before there is a node.
my ( $code, $out, $err ) = ctl('stop');
is $code, 69, 'stop: no node: 69';
like $err, qr/no node runs/, 'says so';
( $code, $out, $err ) = ctl('config');
is $code, 69, 'config: no node: 69';
like $err, qr/start it/, 'and what to do';
is( ( ctl() )[0], 64, 'no command: 64' );
is( ( ctl('dance') )[0], 64, 'unknown command: 64' );
is( ( ctl(qw(stop now)) )[0], 64, 'an argument too much: 64' );
is( ( ctl(qw(-t 0 stop)) )[0], 64, 'a time-out of none: 64' );
is( ( $n->run( 'nodelifectl', '-c', '/nowhere.ini', 'stop' ) )[0],
	78, 'no configuration: 78' );
( $code, $out ) = ctl('--help');
is $code, 0, '--help';
like $out, qr/checkpoint/, 'names the commands';

$n->start;
my $c = $n->client;

# config
( $code, $out, $err ) = $n->run( 'nodelifectl', '-c', $n->{ini}, 'config' );
is $code, 0, "config: $err";
like $out, qr/^\[node\]\nname = n1\n/m, 'sections and keys';
like $out, qr/^gateways = 1 ; default$/m, 'defaults are marked';
like $out, qr/^sync = sync$/m, 'what was set is not';

# loglevel
is_deeply [ ctl('loglevel') ], [ 0, "info\n", '' ], 'loglevel';
is_deeply [ ctl(qw(loglevel debug)) ], [ 0, "info -> debug\n", '' ],
  'loglevel debug';
( $code, $out, $err ) = ctl(qw(loglevel loud));
is $code, 1, 'loglevel loud: 1';
like $err, qr/debug, info, warn or error/, 'says which there are';
ctl(qw(loglevel info));

# reload
is_deeply [ ctl('reload') ], [ 0, "changed: nothing\n", '' ],
  'reload of the same file';
$n->configure( wal => { sync => 'no_sync', segment_size => '32M' } );
( $code, $out, $err ) = ctl('reload');
is $code, 0, "reload: $err";
like $out, qr/changed: \[wal\] sync; needs a restart: \[wal\] segment_size/,
  'says what changed and what needs a restart';
like( ( ctl('config') )[1], qr/^sync = no_sync ; changed since the start$/m,
	'config shows it' );
$n->configure( wal => { sync => 'sometimes' } );
( $code, $out, $err ) = ctl('reload');
is $code, 1, 'reload of a bad file: 1';
like $err, qr/refused.*nodelife\.ini:\d+: /s, 'with file and line';
like( ( ctl('config') )[1], qr/^sync = no_sync/m, 'nothing has changed' );
$n->configure( wal => { sync => 'sync', segment_size => undef } );

# checkpoint
$c->cmd( 'SET', "k$_", 'v' ) for 1 .. 50;
( $code, $out, $err ) = ctl('checkpoint');
is $code, 0, "checkpoint: $err";
ok $out =~ /^checkpoint at VLSN (\d+), \d+\.\d+ s$/ && $1 >= 50,
  "VLSN and time: $out";
is metric('nodelife_position{name="checkpointed"}'), $1, 'as the metrics say';
( $code, $out, $err ) = ctl('checkpoint');
is $code, 0, "one that has nothing to do is done, too: $err";

# metrics move with what clients do
my %before =
  map { $_ => metric("nodelife_${_}_total") } qw(commands writes reads);
$c->cmd(qw(SET m 1)) for 1 .. 10;
$c->cmd(qw(GET m)) for 1 .. 20;
cmp_ok metric('nodelife_commands_total') - $before{commands}, '>=', 30,
  'commands are counted';
cmp_ok metric('nodelife_writes_total') - $before{writes}, '>=', 10, 'writes';
cmp_ok metric('nodelife_reads_total') - $before{reads}, '>=', 20, 'reads';
cmp_ok metric('nodelife_wal_flush_seconds_count'), '>', 0, 'flushes';
is metric('nodelife_role{role="master"}'), 1, 'role';
is metric('nodelife_elections_won_total'), 1, 'one election';
my ( $status, $body, $head ) = $n->http('/metrics');
like $head, qr{^Content-Type: text/plain; version=0\.0\.4}mi, 'their type';
is( ( $n->http('/drain') )[0], 405, 'a GET never drains' );
is( ( $n->http('/nothing') )[0], 404, 'no such page' );

# who may
SKIP: {
	skip 'needs root', 4 if $> != 0;
	( $code, $err ) = ctl_as_nobody('loglevel');
	is $code, 77, 'another user: 77';
	like $err, qr/permission denied/, 'says so';
	chmod 0755, $n->{dir}, $n->{run};
	chmod 0666, "$n->{run}/control.sock";
	( $code, $err ) = ctl_as_nobody('loglevel');
	is $code, 77, 'also where the socket lets everybody in: 77';
	like $err, qr/user 65534 may not/, 'names who';
}

# The health worker killed: another serves the same sockets.
my $health = $n->workers->{health};
kill 'KILL', $health;
ok $n->wait_worker( 'health', $health ), 'a killed health worker is replaced';
eventually { ( $n->http('/readyz') )[0] == 200 } 'pages are back';
is( ( ctl('loglevel') )[0], 0, 'so is the control socket' );
is $c->cmd(qw(GET m)), 1, 'clients did not notice';

# A node that does not answer in time.
$health = $n->workers->{health};
kill 'STOP', $health;
( $code, $out, $err ) = ctl(qw(-t 1 loglevel));
is $code, 2, 'no answer in time: 2';
like $err, qr/no answer in 1 s/, 'says so';
my $supervisor = $n->{pid};
kill 'STOP', $supervisor;
( $code, $out, $err ) = ctl(qw(-t 3 stop));
is $code, 2, 'a stop that does not get on: 2';
like $err, qr/SIGTERM.*still there after 3 s.*pid $supervisor/s,
  'says what it did and who is there';
kill 'CONT', $health, $supervisor;
$n->wait_exit;
ok $n->gone, 'it stops when it can';

# Stop and drain.
$n->start;
( $code, $out, $err ) = ctl('stop');
is $code, 0, "stop: $err";
ok $n->gone, 'it is gone when stop returns';
is $n->wait_exit, 0, 'in order';
is( ( ctl('stop') )[0], 69, 'stop of a stopped node: 69' );

$n->start;
( $code, $out, $err ) = ctl('drain');
is $code, 0, "drain: $err";
is $n->wait_exit, 0, 'the node stops in order';

$n->start;
( $status, $body ) = $n->http( '/drain', 'POST' );
is $status, 200, 'POST /drain';
like $body, qr/"draining"/, 'says draining';
is $n->wait_exit, 0, 'the node stops in order';
like slurp( $n->{log} ), qr{stop: asked by .*POST /drain}, 'and the log names it';

# A node that was killed leaves a region that names a process no more.
$n->start;
$n->kill9;
( $code, $out, $err ) = ctl('stop');
is $code, 69, 'a killed node: 69';

# What a request waits for is told, and why it had no answer.
{
	my $n   = Nodelife->new->start;
	my $pid = $n->workers->{checkpoint};
	kill 'STOP', $pid;
	my ( $code, undef, $err ) = $n->run( 'nodelifectl', '-r', $n->{run}, '-t', 8, 'checkpoint' );
	kill 'CONT', $pid;
	is $code, 2, 'a checkpoint that nobody makes ends with -t';
	like $err, qr/^nodelifectl: checkpoint: waits: .*checkpoint.*heartbeat.*^nodelifectl: checkpoint: no answer/ms,
	  'and says what stands in its way';
	is $n->stop, 0, 'stopped';
}
done_testing;
