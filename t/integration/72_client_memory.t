# All clients together make a gateway hold no more than client_memory, whatever
# they are at: half requests, replies that nobody reads, queued transactions.
# Those that hold most are held back, then closed; who asks for little is served
# all along, who sends a large request gets through, and what was taken goes
# back to the system.
use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;
use Nodelife;
use Socket qw(SOL_SOCKET SO_LINGER SO_RCVBUF);
use Test::More;

my $KB = 1024;
my $n  = Nodelife->new(
	node   => { gateways => 1 },
	listen => { max_output => '1M', max_query => '1M', client_memory => '8M' },
	store  => { max_value => '1000K' } );
$n->start;
my $good = $n->client;
is $good->cmd(qw(SET k v)), 'OK', 'a good client';
is $good->cmd( 'SET', 'large', 'y' x ( 900 * $KB ) ), 'OK', 'a large value';
my $pid = $n->workers->{gateway0};

# What the gateway holds: KiB of its own memory, and what it counts itself. A
# sanitizer keeps what was given back: then it has to be believed.
my $believe = slurp("/proc/$pid/maps") =~ /libasan|libtsan/;

sub held {
	return info('mem_clients_normal') >> 10 if $believe;
	return slurp("/proc/$pid/status") =~ /^RssAnon:\s+(\d+)/m ? $1 : 0;
}

sub info {
	my ($name) = @_;
	return $good->cmd('INFO') =~ /^$name:(\d+)/m ? $1 : undef;
}
my $before = held();

# It is served while the others are at it; the most it found held meanwhile.
my ( $most, $bad ) = ( 0, 0 );

sub serve {
	$bad++ if $good->cmd( 'SET', 'k', $_[0] ) ne 'OK';
	$bad++ if $good->cmd(qw(GET k)) ne $_[0];
	my $now = held();
	$most = $now if $now > $most;
	return;
}

sub served {
	my ($what) = @_;
	is $bad, 0, "$what: another client is served";
	cmp_ok $most, '<', $before + 18 * $KB,
	  sprintf '%s: the gateway grew by %d KiB at most', $what, $most - $before;
	( $most, $bad ) = ( 0, 0 );
	return;
}

# As many bytes of each text as its socket takes, in turns, until `over` says so.
sub push_all {
	my ( $over, @texts ) = @_;
	my @s = map {
		my $s = IO::Socket::INET->new( PeerAddr => $n->addr('client') );
		setsockopt $s, SOL_SOCKET, SO_RCVBUF, 4096;
		$s->blocking(0);
		{ s => $s, text => $_, at => 0 }
	} @texts;
	local $SIG{PIPE} = 'IGNORE';
	wait_until {
		for my $c (@s) {
			my $left = length( $c->{text} ) - $c->{at};
			next if $left == 0 || $c->{gone};
			my $got = syswrite $c->{s}, $c->{text},
			  $left < 65536 ? $left : 65536, $c->{at};
			$c->{at} += $got // 0;
			$c->{gone} = 1 if !defined $got && !$!{EAGAIN};
		}
		serve( int rand 1e9 );
		$over->( \@s );
	};
	return @s;
}
sub evicted { return info('evicted_clients') }

# Forty times nine tenths of a request, that never end.
my $half = "*3\r\n\$3\r\nSET\r\n\$4\r\nhalf\r\n\$" . 960 * $KB . "\r\n" . 'x' x ( 900 * $KB );
my @s = push_all( sub { evicted() >= 1 }, ($half) x 40 );
cmp_ok evicted(), '>=', 1, 'half requests: those that hold most are closed';
served('half requests');
cmp_ok info('mem_clients_normal'), '<=', 8 << 20, 'no more than client_memory is held';
like $good->cmd(qw(CLIENT LIST)), qr/ tot-mem=\d{6,} /, 'CLIENT LIST says by whom';
close $_->{s} for @s;
eventually { info('mem_clients_normal') < 64 * $KB } 'it is given back when they are gone';
eventually { held() < $before + 3 * $KB } 'and the system has it'
  or diag held() . " KiB, before: $before";

# Twelve that send large requests, to their ends: each gets through.
my $from = evicted();
my $whole = Nodelife::Client::encode( 'SET', 'whole', 'w' x ( 900 * $KB ) );
@s = push_all(
	sub {
		for my $c ( @{ $_[0] } ) {
			my $got = sysread $c->{s}, my $text, 100;
			$c->{answer} .= $text if $got;
			$c->{gone} = 1 if defined $got && $got == 0;
		}
		return !grep { !$_->{answer} && !$_->{gone} } @{ $_[0] };
	},
	($whole) x 12 );
is scalar( grep { ( $_->{answer} // '' ) eq "+OK\r\n" } @s ), 12, 'large requests: all are served';
is evicted(), $from, 'nobody is closed for it';
served('large requests');
close $_->{s} for @s;

# Forty that ask for large values and read nothing.
$from = evicted();
my $gets = Nodelife::Client::encode(qw(GET large)) x 40;
@s = push_all( sub { evicted() >= $from + 3 }, ($gets) x 40 );
cmp_ok evicted(), '>=', $from + 3, 'unread replies: those that hold most are closed';
served('unread replies');
close $_->{s} for @s;

# Forty transactions that are never run.
$from = evicted();
my $multi = Nodelife::Client::encode('MULTI')
  . Nodelife::Client::encode( 'SET', 'm', 'm' x ( 100 * $KB ) ) x 9;
@s = push_all( sub { evicted() >= $from + 3 }, ($multi) x 40 );
cmp_ok evicted(), '>=', $from + 3, 'queued transactions: those that hold most are closed';
served('queued transactions');
close $_->{s} for @s;

# Five in the middle of a transaction, who are not read for all they hold, and
# go: some with a word to be read, some without.
my $queued = Nodelife::Client::encode('MULTI')
  . Nodelife::Client::encode( 'SET', 'm', 'm' x ( 100 * $KB ) ) x 9;
@s = push_all( sub { info('mem_clients_normal') > 4300 * $KB }, ($queued) x 5 );
setsockopt $_->{s}, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0 for @s[ 0, 1 ];
close $_->{s} for @s;
eventually { info('connected_clients') == 1 } 'who is not read is seen to go';
eventually { info('mem_clients_normal') < 64 * $KB } 'and gives back what it held';

# Names have a length.
like $good->cmd( qw(CLIENT SETNAME), 'n' x 5000 ), qr/^ERR /, 'a name of any length is refused';
cmp_ok $n->stat->{counters}{clients_evicted}, '>=', 7, 'counted';
my $events = join "\n", map { $_->{text} } @{ $n->stat->{events} };
like $events, qr/client \d+, 127[.]0[.]0[.]1:\d+: closed: it holds most, \d+ bytes, and \[listen\] client_memory is 8388608/,
  'told with address, size and key';
is $n->workers->{gateway0}, $pid, 'the gateway is the same';
is $n->stop, 0, 'stopped';
done_testing;
