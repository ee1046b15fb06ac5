# The pause before a boot, a counted one or one after a fault that is over: no
# page, tool or screen calls it serving, and all say what happened and when the
# node boots. A fault that is over is waited for no longer and counts as no
# restart.
use strict;
use warnings;
use Nodelife;
use Test::More;

my $n = Nodelife->new(
	shutdown => { listen_hold => '100ms' },
	restart  => { backoff_min => '3s', backoff_max => '3s' } )->start;
is $n->client->cmd(qw(SET k 1)), 'OK', 'a node that serves';

sub waits {
	my $s = $n->stat or return;
	return ( grep { $_->{kind} eq 'boot_waits' } @{ $s->{troubles} // [] } )[0];
}

sub until_serving { return ( 'nodelifestat', '-r', $n->{run}, '-w', 'gateway_enable', '-t', @_ ) }

my $store = $n->workers->{store};
kill 'KILL', $store;
eventually { waits() } 'a worker is killed: the next boot is waited for';
my $cause = qr{store \(pid $store\): killed by signal 9 \(Killed\): the node boots again in 3000 ms};
like waits()->{text}, $cause, 'the screen says why, and when it boots';
my $s = $n->stat;
ok !$s->{can_write} && !$s->{can_read}, 'nothing is called served';
my ( $code, $body ) = $n->http('/readyz');
is $code, 503, '/readyz: 503';
like $body, qr/"status": "waiting"/, 'it waits';
like $body, $cause,                  'for that';
( $code, my $out, my $err ) = $n->run( 'nodelifectl', '-r', $n->{run}, 'status' );
is $code, 0, 'nodelifectl status';
like $out, qr/not serving: $cause/, 'says so, too';
my $screen = ( $n->run( 'nodelifestat', '-r', $n->{run} ) )[1];
like $screen,   qr/^waits   phase/m, 'and the screen';
unlike $screen, qr/^ready/m,         'which does not say ready';
( $code, undef, $err ) = $n->run( until_serving('0.3') );
is $code, 2, 'nodelifestat -w: not yet';
like $err, $cause, 'and why';
is $n->stat->{node_restarts}, 0, 'all that within the pause';
( $code, undef, $err ) = $n->run( until_serving(60) );
is $code, 0, 'nodelifestat -w: served' or diag $err;
is $n->client->cmd(qw(GET k)), 1, 'indeed';
is waits(), undef, 'nothing is waited for';
my @said = slurp( $n->{log} ) =~ /$cause/g;
is @said, 1, 'the log says it once';
is $n->stop, 0, 'stopped';

# Fault after fault: the data are away. Told once, though tried again and again.
$n->configure( restart => { backoff_min => '50ms', backoff_max => '200ms' } );
$n->start;
my $from = -s $n->{log};
my $tail = sub { substr slurp( $n->{log} ), $from };
rename $n->{data}, "$n->{data}.away" or die;
kill 'KILL', $n->workers->{store};
eventually { ( ( $n->stat // {} )->{node_restarts} // 0 ) >= 8 } 'a boot is tried again and again';
@said = $tail->() =~ /not back within 100 ms/g;
is @said, 1, 'clients are refused once';
my %said;
$said{$_}++ for $tail->() =~ /(\w+: \S+: (?:\w+: )?No such file)/g;
is_deeply [ grep { $said{$_} > 1 } keys %said ], [], 'what is away is told once'
  or diag $tail->();
ok %said > 0, 'with its cause';
rename "$n->{data}.away", $n->{data} or die;
$n->wait_serving;
is $n->client->cmd(qw(GET k)), 1, 'back at the same address';
is $n->stop, 0, 'stopped';

# A node that ended in a pause: what it leaves promises nothing.
$n->configure( restart => { backoff_min => '60s', backoff_max => '60s' } );
$n->start;
kill 'KILL', $n->workers->{store};
eventually { waits() } 'a pause';
my $health = $n->workers->{health};
kill 'KILL', $health;
wait_until { ( $n->workers->{health} // $health ) != $health } 5;
is( ( $n->run( 'nodelifectl', '-r', $n->{run}, qw(-t 2 loglevel) ) )[0], 0,
	'in which the control socket answers, also when health has died' );
unlink "$n->{run}/control.sock";
eventually {
	-S "$n->{run}/control.sock"
	  && ( $n->run( 'nodelifectl', '-r', $n->{run}, qw(-t 2 loglevel) ) )[0] == 0
	  && ( $n->http('/readyz') )[0] == 503;
} 'or the socket was removed';
is $n->stop, 0, 'stopped in it';
is waits(), undef, 'the region that is left tells of no boot to come';
like slurp( $n->{log} ), qr/boot_waits ended with the node after/, 'the log closes it';
( undef, undef, $err ) = $n->run( until_serving(5) );
like $err, qr/ended: stop: SIGTERM/, 'nodelifestat -w says why it ended';

$n->configure( restart =>
	  { give_up => '1s', backoff_min => '50ms', backoff_max => '200ms' } );
$n->start;
rename $n->{data}, "$n->{data}.away" or die;
kill 'KILL', $n->workers->{store};
is $n->wait_exit, 75, 'ended by [restart] give_up';
$screen = ( $n->run( 'nodelifestat', '-r', $n->{run} ) )[1];
$screen =~ s/\s+/ /g;
like $screen, qr/ failed: .*No such file/, 'its screen says of what';
unlike $screen, qr/goes on by itself| boot_waits, /, 'and promises nothing';
rename "$n->{data}.away", $n->{data} or die;

# A disk that takes writes again, seen by who has ended already.
SKIP: {
	skip 'no prlimit(1)', 8 if system('prlimit --version >/dev/null') != 0;
	my $limit = sub {
		my ( $pid, $soft ) = @_;
		system( 'prlimit', "--pid=$pid", "--fsize=$soft:" ) == 0 or die;
	};
	$n->configure( restart =>
		  { limit => 0, give_up => undef, backoff_min => '10ms', backoff_max => '60s' } );
	$n->start;
	$from = -s $n->{log};
	for my $round ( 1 .. 6 ) {
		my $wal = $n->workers->{wal};
		$limit->( $wal, 4096 );
		my $c = $n->client;
		wait_until { $c->cmd( 'SET', 'x', $round ) =~ /LOGFAILED|UNKNOWNOUTCOME/ };
		kill 'STOP', $n->{pid} if $round == 1;
		$limit->( $wal, 'unlimited' );
		wait_until { Nodelife::zombie($wal) } if $round == 1;
		kill 'CONT', $n->{pid} if $round == 1;
		eventually {
			my $s = $n->stat;
			$s && $s->{node_restarts} == $round && $s->{can_write}
			  && $s->{phase} eq 'gateway_enable'
		} 5, "fault $round is over: boots, uncounted";
	}
	is waits(), undef, 'and serves';
	like $tail->(), qr/boots again in 10 ms.*boots again in 320 ms/s,
	  'the first pause is the shortest, and they grow while each boot fails soon';
	is $n->stop, 0, 'stopped';
}
done_testing;
