# Stopping and reloading: in order, within its time, whatever clients do; who
# holds it up is named and killed; a second signal forces; a reload takes over
# what it can and says what it cannot.
use strict;
use warnings;
use Test::More;
use Nodelife;

my $n = Nodelife->new;

sub timed_stop {
	my ($sig) = @_;
	my $began = now();
	my $code  = $n->signal($sig)->wait_exit;
	return ( $code, now() - $began );
}

for my $sig (qw(TERM INT)) {
	$n->start;
	my @clients = map { $n->client } 1 .. 20;
	is $_->cmd( 'SET', "k$_", 'v' ), 'OK', 'a client writes' for $clients[0];
	$clients[1]->send(qw(GET k1));
	my %w = %{ $n->workers };
	my ( $code, $took ) = timed_stop($sig);
	is $code, 0, "SIG$sig: exit 0";
	cmp_ok $took, '<=', 20, sprintf 'in %.3f s', $took;
	is scalar( grep { kill 0, $_ } values %w ), 0, 'nobody is left';
	my ( undef, $out ) = $n->run( 'nodelifestat', '-r', $n->{run}, '-j' );
	like $out, qr/"state": "ended"/, 'the region says that it ended';
}

# A client asks, in the middle of others' requests.
$n->start;
$n->client->send('SHUTDOWN');
is $n->wait_exit, 0, 'SHUTDOWN: exit 0';

# A worker that does not answer.
$n->configure( shutdown => { phase_budget => '100ms' } );
$n->start;
{
	my $pid = $n->workers->{group};
	kill 'STOP', $pid;
	my ( $code, $took ) = timed_stop('TERM');
	is $code, 1, 'a stop over a hanging worker is not clean';
	cmp_ok $took, '<=', 20, sprintf 'but ends, in %.3f s', $took;
	like slurp( $n->{log} ),
	  qr/stop: draining_listeners: group \(pid $pid\) not done in 100 ms: killed/,
	  'and names who held it up';
}

# Impatience.
$n->configure( shutdown => { phase_budget => '60s' } );
$n->start;
{
	my $said = length slurp( $n->{log} );
	kill 'STOP', $n->workers->{group};
	$n->signal('TERM');
	ok wait_until(
		sub { substr( slurp( $n->{log} ), $said ) =~ /stop: SIGTERM$/m } ),
	  'a stop hangs';
	my ( $code, $took ) = timed_stop('INT');
	is $code, 1, 'forced: exit 1';
	cmp_ok $took, '<=', 20, sprintf 'in %.3f s', $took;
}

# What stands in the way is told anew while a stop waits for it.
$n->start;
{
	my $group = $n->workers->{group};
	my $age   = sub {
		my ($t) = grep { $_->{kind} eq 'writer_silent' }
		  @{ ( $n->stat // {} )->{troubles} // [] };
		return $t && $t->{text} =~ /^group .* for (\d+\.\d) s/ ? $1 : 0;
	};
	kill 'STOP', $group;
	eventually { $age->() } 'a worker is silent';
	my $said = length slurp( $n->{log} );
	$n->signal('TERM');
	ok wait_until(
		sub { substr( slurp( $n->{log} ), $said ) =~ /stop: SIGTERM$/m } ),
	  'a stop waits for it';
	my $then = $age->();
	eventually { $age->() > $then + 1 } 'for how long is told still';
	kill 'CONT', $group;
	is $n->wait_exit, 0, 'it goes on, and the stop ends';
}

# A stop while a boot is held.
$n->configure( shutdown => { phase_budget => '500ms' } );
{
	my $lock = $n->hold_boot;
	$n->spawn;
	ok $n->wait_held, 'a boot is held';
	kill 'STOP', $n->workers->{wal};
	my ( $code, $took ) = timed_stop('TERM');
	is $code, 0, 'a stop before the node served loses nothing: exit 0';
	cmp_ok $took, '<=', 20, sprintf 'in %.3f s', $took;
}
$n->configure( shutdown => { phase_budget => '30s' } );

# The same in a later boot: nothing is lost by that either.
$n->configure( restart => { backoff_min => '1ms', backoff_max => '1ms', limit => 100 } );
$n->start;
{
	my $wal;
	my $scans = sub {
		my $s = $n->stat // {};
		return $s->{node_restarts} && grep { $_->{phase} eq 'wal_recovery' && $_->{subsystem} eq 'wal' }
		  @{ $s->{gates} };
	};
	ok wait_until(
		sub {
			my %before = %{ $n->workers };
			kill 'KILL', $before{store};
			$wal = $n->wait_worker( 'wal', $before{wal} );
			kill 'STOP', $wal;
			return 1 if $scans->();
			kill 'CONT', $wal;
			$n->wait_serving;
			return 0;
		} ), 'another boot, of which wal is stopped while it opens the log';
	my $said = length slurp( $n->{log} );
	$n->signal('TERM');
	ok wait_until(
		sub { substr( slurp( $n->{log} ), $said ) =~ /stop: SIGTERM$/m } ),
	  'the node is stopped';
	kill 'CONT', $wal;
	is $n->wait_exit, 0, 'when wal goes on: exit 0';
	unlike substr( slurp( $n->{log} ), $said ), qr/warn|error/, 'and nothing went wrong';
}

# Reload.
$n->start;
{
	my $reloaded = sub {
		my ($want) = @_;
		$n->signal('HUP');
		return wait_until { slurp( $n->{log} ) =~ $want };
	};
	ok $reloaded->(qr/reload: changed: nothing$/m), 'nothing changed';
	$n->configure(
		node   => { log_level   => 'debug' },
		listen => { max_clients => 77 } );
	ok $reloaded->(
		qr/reload: changed: \[node\] log_level; needs a restart: \[listen\] max_clients$/m
	), 'what changed and what could not';
	$n->configure( wal => { sink => 1 } );
	ok $reloaded->(qr/reload: refused: \S+nodelife\.ini:\d+: /),
	  'a fault changes nothing';
	$n->configure( wal => { sink => undef } );
	unlink $n->{ini};
	ok $reloaded->(qr/reload: refused: \S+nodelife\.ini: /),
	  'nor does a file that is gone';
	is $n->client->cmd('PING'), 'PONG', 'it serves on';
}
is $n->stop, 0, 'stopped';
done_testing;
