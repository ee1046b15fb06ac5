# Fewer descriptors than max_clients wants: the effective limit is lowered and
# said so, on the screen as long as it stands; the client that is one too many
# is told so and does not hang. A gateway that has no descriptor left while it
# runs tells its clients so, too, and the admin, and goes on by itself.
use strict;
use warnings;
use Nodelife;
use Test::More;

my $n = Nodelife->new( listen => { max_clients => 1000 } )->found;
# Root may raise the hard limit again, unless it has no right to.
my @drop = $> == 0
  ? qw(setpriv --bounding-set -sys_resource --inh-caps -sys_resource)
  : ();
$n->spawn( 'sh', '-c', 'ulimit -n 276 && exec "$@"', 'sh', @drop,
	build_dir() . '/nodelifed', '-f', '-c', $n->{ini} );
is $n->wait_boot, 'serves', 'it serves';
my ($limit) = grep { $_->{kind} eq 'limits' } @{ $n->stat->{troubles} };
like $limit->{text}, qr/max_clients 1000 -> 20: raise it to 1256 .*LimitNOFILE/,
  'what is short, and what helps';
my ( undef, $screen ) = $n->run( 'nodelifestat', '-r', $n->{run} );
like $screen, qr/^limits, .*max_clients/m, 'on the screen';
my $first = $n->client;
is $first->cmd(qw(CONFIG GET maxclients))->[1], 20, 'CONFIG GET tells it';
my @c = ( $first, map { $n->client } 2 .. 20 );
is scalar( grep { $_->cmd('PING') eq 'PONG' } @c ), 20, 'so many are served';
my $more = $n->client;
like $more->cmd('PING'), qr/max number of clients|CLOSED/, 'one more is told so';
$c[19]->close;
eventually { ( eval { $n->client->cmd('PING') } // '' ) eq 'PONG' }
  'there is room when one has left';
my ( $code, $out ) = $n->run( 'nodelifectl', '-r', $n->{run}, 'reload' );
is $code, 0, 'reload';
unlike $out, qr/max_clients/, 'which takes the lowered one for no change';
is $n->stop, 0, 'stopped';

# A gateway whose descriptors are used up while it runs.
$n = Nodelife->new( node => { gateways => 1 } )->start;
my $gateway = $n->workers->{gateway0};

sub limit {
	return system( 'prlimit', "--pid=$gateway", "--nofile=$_[0]:" ) == 0;
}

sub highest {
	my ($pid) = @_;
	opendir my $d, "/proc/$pid/fd" or die "$pid: $!";
	my @fd = sort { $a <=> $b } grep { /^\d+$/ } readdir $d;
	return $fd[-1];
}

SKIP: {
	skip 'there is no prlimit(1)', 1 if !limit('4096');
	my $old = $n->client;
	is $old->cmd('PING'), 'PONG', 'a client';
	limit( my $most = highest($gateway) + 1 );
	my ( @gaps, $said );    # numbers below that are free
	for ( 1 .. 50 ) {
		my $new = $n->client;
		$said = eval { $new->cmd('PING') } // 'nothing';
		last if $said ne 'PONG';
		push @gaps, $new;
	}
	like $said, qr/max number of clients/, 'no descriptor for one: it is told';
	like $n->client->cmd('PING'), qr/max number of clients/, 'the next one, too';
	eventually { $n->trouble('descriptors') } 'a trouble stands';
	like $n->trouble('descriptors'), qr/^gateway0 \(pid $gateway\): accept: Too many open files.*limit is $most\b.*ulimit -n.*prlimit/,
	  'with the limit and what helps';
	( undef, $screen ) = $n->run( 'nodelifestat', '-r', $n->{run} );
	like $screen, qr/^descriptors, .*accept/m, 'on the screen';
	like slurp( $n->{log} ), qr/gateway0 \(pid \d+\): accept: /, 'in the log';
	like + ( $n->http('/readyz') )[1], qr/"descriptors"/, 'on the pages';
	like + ( $n->http('/metrics') )[1],
	  qr/^nodelife_trouble\{kind="descriptors"\} 1$/m, 'and among the metrics';
	my $cpu = $n->cpu;
	my $since = now();
	wait_until { now() > $since + 1 };
	cmp_ok $n->cpu - $cpu, '<', 0.3, 'it does not spin over it';
	is $old->cmd('PING'), 'PONG', 'who is connected is served';
	$old->close;
	eventually { ( eval { $n->client->cmd('PING') } // '' ) eq 'PONG' }
	'one has left: the next one is served';
	eventually { !$n->trouble('descriptors') } 'the trouble is over';
	my $last = $n->client;
	is $last->cmd('PING'), 'PONG', 'one takes the place';
	like $n->client->cmd('PING'), qr/max number/, 'the next one has none';
	eventually { $n->trouble('descriptors') } 'it stands again';
	kill 'KILL', $gateway;
	my $next = 0;
	wait_until { ( $next = $n->workers->{gateway0} // $gateway ) != $gateway };
	my $blamed = '';
	wait_until {
		my $said = $n->trouble('descriptors');
		$blamed = $said if $said =~ /pid $next\b/;
		$blamed || !$said;
	};
	is $blamed, '', 'its successor is not blamed';
	eventually { ( eval { $n->client->cmd('PING') } // '' ) eq 'PONG' } 'and serves';
	$gateway = $next;
	limit( highest($gateway) + 1 );
	my @taken;
	wait_until {
		push @taken, $n->client;
		$taken[-1]->cmd('PING') ne 'PONG'
	};
	eventually { $n->trouble('descriptors') } 'until it has none';
	ok limit('4096'), 'the limit is raised';
	eventually { !$n->trouble('descriptors') } 'that helps, too';
	is $n->client->cmd('PING'), 'PONG', 'clients are served';
}
is $n->stop, 0, 'stopped';
done_testing;
