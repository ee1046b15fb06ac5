# Every counter that no unit test moves is moved here, by what it counts, and
# read where an admin reads it: on /metrics.
use strict;
use warnings;
use Test::More;
use Nodelife;

my $n = Nodelife->new(
	node   => { gateways => 1 },
	listen => { max_clients => 3, max_query => '64K' },
	store  => { max_value => '32K' } );
$n->start;

sub metrics {
	my ( undef, $body ) = $n->http('/metrics');
	my %v;
	$v{$1} = $2 while $body =~ /^nodelife_(\w+?)(?:_total)? (\d+)$/mg;
	return \%v;
}

# Do it; each of these counters must have gone up by then.
sub moves {
	my ( $what, $names, $do ) = @_;
	my $before = metrics();
	$do->();
	for my $name (@$names) {
		ok wait_until { metrics()->{$name} > ( $before->{$name} // 0 ) }, "$what: $name"
		  or diag "$name stays at $before->{$name}";
	}
	return;
}

my $c;
moves 'a client comes', ['clients_accepted'],
  sub { $c = $n->client; $c->cmd('PING') };
moves 'it writes',
  [ qw(commands writes client_bytes_in client_bytes_out wal_records wal_bytes
	wal_flushes wal_flush_bytes bells ring_enters store_applied store_results) ],
  sub { $c->cmd( 'SET', "k$_", $_ ), $c->cmd( 'INCR', 'n' ) for 1 .. 20 };
moves 'it reads', [qw(reads keyspace_hits keyspace_misses)],
  sub { $c->cmd( 'GET', 'k1' ), $c->cmd( 'GET', 'none' ) };
moves 'it reads what it has just written', ['reads_waited'], sub {
	$c->raw( join '',
		map { ( Nodelife::Client::encode( 'SET', 'r', $_ ), Nodelife::Client::encode( 'GET', 'r' ) ) } 1 .. 20 );
	$c->reply for 1 .. 40;
};
moves 'it errs', ['commands_failed'], sub { $c->cmd( 'GET', 'a', 'b' ) };
moves 'one too many comes', ['clients_refused'], sub {
	my @more = map { $n->client } 1 .. 4;
	$_->close for @more;
};
ok wait_until { ( eval { $n->client->cmd('PING') } // '' ) eq 'PONG' }, 'room again';
moves 'one sends junk', [qw(protocol_errors clients_closed)], sub {
	my $j = $n->client;
	$j->raw("*1\r\n\$x\r\n");
	$j->reply;
};
moves 'a web page writes', [qw(clients_http)], sub {
	$n->client->raw("POST / HTTP/1.1\r\nHost: n1\r\n\r\nFLUSHALL\r\n");
};
moves 'one asks for too much', ['clients_killed'], sub {
	my $j = $n->client;
	$j->raw( "*41\r\n" . substr Nodelife::Client::encode(
			'MSET', map { ( "k$_", 'x' x 30000 ) } 1 .. 3 ), 4 );
};
moves 'a worker dies', ['worker_restarts'], sub {
	my $pid = $n->workers->{vlsn};
	kill 'KILL', $pid;
	$n->wait_worker( 'vlsn', $pid );
};
moves 'the node boots again', ['node_restarts'], sub {
	my $pid = $n->workers->{store};
	kill 'KILL', $pid;
	$n->wait_worker( 'store', $pid );
	$n->wait_serving;
};
cmp_ok metrics()->{$_}, '>', 0, "of the boot: $_"
  for qw(wal_replayed_records wal_replayed_bytes elections_held elections_won role_changes
	store_replayed);
is $n->stop, 0, 'stopped';
done_testing;
