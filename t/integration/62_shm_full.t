# A /dev/shm that something else fills while the node serves: nobody dies of
# SIGBUS, writes wait and the node says what for, reads and pages go on, and
# everything recovers when there is room. In a mount namespace of our own,
# which needs root.
use strict;
use warnings;
use Nodelife;
use Test::More;
use World;

my $why = World::own_shm('64m');
plan skip_all => $why if $why;

my $n = Nodelife->new(
	wal   => { buffer_size => '4M' },
	store => { table_size => '8M', max_value => '1M', max_record => '8M' },
)->start;
is $n->client->cmd(qw(SET first 1)), 'OK', 'a node on a small /dev/shm';
World::fill('/dev/shm');

# A fresh client, every page, every tool, with not a page to be had.
my $c = $n->client;
is $c->cmd(qw(GET first)), 1, 'a read';
ok $n->http($_), $_ for qw(/metrics /healthz /readyz /livez);
is( ( $n->run( 'nodelifestat', '-r', $n->{run} ) )[0], 0, 'nodelifestat' );
is( ( $n->run( 'nodelifestat', '-r', $n->{run}, '-e' ) )[0], 0, 'its events' );

# 12 MB of writes: more than buffer and tables have got by now.
my $value = 'v' x 4000;
my $pid = fork // die;
if ( $pid == 0 ) {
	my $w   = $n->client;
	my $bad = 0;
	for my $i ( 0 .. 29 ) {
		my @r = $w->pipeline( map { [ 'SET', "k$_", "$value$_" ] }
			  $i * 100 .. $i * 100 + 99 );
		$bad += grep { $_ ne 'OK' } @r;
	}
	POSIX::_exit( $bad != 0 );
}
eventually {
	grep { $_->{busy} =~ m{no memory} } @{ $n->stat->{workers} }
} 'writes wait, and it is said what for';
my %kinds = map { $_ => 1 } qw(log_memory store_memory);
sub told {
	return grep { $kinds{ $_->{kind} } } @{ $n->stat->{troubles} // [] };
}
eventually { grep { $_->{kind} eq 'log_memory' } told() } 'it stands as a trouble';
like $_->{text}, qr{/dev/shm: no memory left.*waits?.*free space in /dev/shm},
  "$_->{kind}: with what to do" for told();
is( ( $n->http('/readyz?want=write') )[0], 503, 'not ready for writes' );
is $c->cmd(qw(GET first)), 1, 'reads go on';
unlink '/dev/shm/filler';
ok wait_until( sub { waitpid( $pid, 1 ) == $pid } ), 'with room they go on';
is $?, 0, 'and each is answered';
eventually { told() == 0 } 'the troubles are over';
is $c->cmd( 'GET', "k$_" ), "$value$_", "k$_" for 0, 1500, 2999;
my $s = $n->stat;
is $s->{node_restarts}, 0, 'no restart';
is scalar( grep { $_->{restarts} } @{ $s->{workers} } ), 0, 'of any worker';
is $n->stop, 0, 'stopped';

# With no room at all a start waits, and says so.
World::fill('/dev/shm');
$n->spawn;
eventually { slurp( $n->{log} ) =~ m{/dev/shm has \d+M, the node needs \d+M} }
'a start without room says why';
unlink '/dev/shm/filler';
$n->wait_serving;
is $n->client->cmd(qw(GET k7)), "${value}7", 'with room it serves again';

# A node restart asks for as much as a start: 8M, three times 1344K, 4M, 8M
# and a 32nd of it, 8M.
World::fill('/dev/shm');
kill 'KILL', $n->workers->{store};
eventually { slurp( $n->{log} ) =~ m{boot waits: .*the node needs 32M: enlarge it} }
'so does a node restart, by the same sum';
unlink '/dev/shm/filler';
$n->wait_serving;
is $n->client->cmd(qw(GET k7)), "${value}7", 'and nothing is lost';
is $n->stop, 0, 'stopped';
done_testing;
