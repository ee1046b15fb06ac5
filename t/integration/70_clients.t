# Clients that misbehave harm nobody but themselves: junk, oversized and slow
# requests, replies that nobody reads, more connections than allowed, ten
# thousand idle ones. While each is at it another client is served as ever.
use strict;
use warnings;
use IO::Socket::INET;
use Nodelife;
use POSIX ();
use Socket qw(SOL_SOCKET SO_RCVBUF);
use Test::More;

my $seed = $ENV{SEED} // int( rand 1e9 );
diag "SEED=$seed";
srand $seed;

my $n = Nodelife->new( listen =>
	  { max_clients => 50, max_output => '1M', max_query => '1M' },
	store => { max_value => '512K' } );
$n->start;
my $good = $n->client;
is $good->cmd(qw(SET k v)), 'OK', 'a good client';

sub alive { return is $good->cmd(qw(GET k)), 'v', "the good client after: $_[0]" }

# Protocol errors: said, then closed.
my %junk = (
	'a length that is none'  => "*x\r\n",
	'too many arguments'     => "*2000000000\r\n",
	'a negative bulk'        => "*1\r\n\$-5\r\n",
	'a bulk that is no bulk' => "*1\r\n:5\r\n",
	'a huge bulk'            => "*2\r\n\$3\r\nGET\r\n\$99999999999\r\n",
	'a line without end'     => 'a' x 100_000,
	'a bulk without its end' => "*1\r\n\$4\r\nPINGxx*1\r\n",
);
for my $name ( sort keys %junk ) {
	my $c = $n->client;
	$c->raw( $junk{$name} );
	my $r = $c->reply;
	like $r, qr/^(?:ERR Protocol error|ERR .*(?:too big|limit)|CLOSED)/,
	  "$name: $r";
	is $c->reply, 'CLOSED', "$name: closed" if $r ne 'CLOSED';
	alive($name);
}

# Bytes of chance, many times.
for my $round ( 1 .. 200 ) {
	my $c = $n->client;
	my $bytes = join '', map { chr int rand 256 } 1 .. 1 + rand 300;
	$bytes = pick_mutant() if $round % 2;
	$c->raw($bytes);
	$c->close;
}
alive 'random bytes';

sub pick_mutant {
	my $b = Nodelife::Client::encode( 'SET', 'junk', 'x' x 20 )
	  . Nodelife::Client::encode( 'MGET', 'a', 'b' );
	for ( 1 .. 3 ) {
		substr $b, int rand length $b, 1, chr int rand 256;
	}
	return $b;
}

# A request over max_query: told and closed.
my $c = $n->client;
local $SIG{PIPE} = 'IGNORE';
$c->raw( "*3\r\n\$3\r\nSET\r\n\$3\r\nbig\r\n\$2000000\r\n" );
$c->raw( 'x' x 2_000_000 );
my $r = $c->reply;
like $r, qr/^ERR |^CLOSED/, "a request over max_query: $r";
alive 'oversized';

# As many of 1,000 bytes as a request of so many has room for.
sub request {
	my ($bytes) = @_;
	my $k = int( ( $bytes - 100 ) / 1021 );
	return ( 'MSET', map { ( sprintf( 'm%05d', $_ ), 'x' x 1000 ) } 1 .. $k );
}
is $n->client->cmd( request( 1 << 20 ) ), 'OK', 'one that is not over it';
like $n->client->cmd( request( ( 1 << 20 ) + 2 * 65536 ) ), qr/CLOSED/,
  'one that is by more than 64K';
like slurp( $n->{log} ), qr/closed: its request is longer than \[listen\] max_query, 1048576 bytes/,
  'the log says of which limit';

# A web page's browser.
SKIP: {
	skip 'no curl here', 3 if system('curl --version >/dev/null 2>&1') != 0;
	my $url = 'http://' . $n->addr('client') . '/';
	is system( 'curl', '-s', '-m', 30, '-X', 'POST', '--data-binary', "FLUSHALL\r\n", $url ) >> 8,
	  52, 'a POST with a command in it is closed without a word';
	alive 'a POST';
	like slurp( $n->{log} ), qr/127[.]0[.]0[.]1:\d+: closed: possible attack: it speaks HTTP/,
	  'the log calls it an attack';
}

# One byte at a time: served all the same, in its own time.
$c = $n->client;
my $slow = Nodelife::Client::encode( 'SET', 'slow', 'x' x 50 )
  . Nodelife::Client::encode( 'GET', 'slow' );
for my $byte ( split //, $slow ) {
	$c->raw($byte);
	alive 'half a request' if $byte eq '$';
}
is $c->reply, 'OK', 'a request in single bytes';
is $c->reply, 'x' x 50, 'and the next';

# Half a request, then gone.
for ( 1 .. 20 ) {
	my $d = $n->client;
	$d->raw( substr $slow, 0, 1 + int rand length($slow) - 1 );
	$d->close;
}
alive 'clients that left in the middle';

# Who does not read is closed when max_output is reached, or held back; the
# node's memory does not grow with what it asks for.
$good->cmd( 'SET', 'large', 'y' x 100_000 );
my $s = IO::Socket::INET->new( PeerAddr => $n->addr('client') );
setsockopt $s, SOL_SOCKET, SO_RCVBUF, 4096;
$s->blocking(0);
my $gw = $n->workers->{gateway0};
sub held { return ( slurp("/proc/$gw/status") =~ /^RssAnon:\s+(\d+)/m )[0] }
my $rss  = held();
my $gets = Nodelife::Client::encode(qw(GET large)) x 100;
my $sent = 0;
for ( 1 .. 200 ) {
	my $got = syswrite $s, $gets;
	last if !defined $got;
	$sent += $got;
	alive "unread replies, $sent bytes asked" if $_ % 50 == 1;
}
alive 'unread replies';
# A quarter of client_memory, a reply and what it had before.
my $more = held() - $rss;
cmp_ok $more, '<', 32 * 1024 + 6000, "the gateway holds $more KiB more";
close $s;

# One more than max_clients.
my @c = map { $n->client } 1 .. 48;
is $_->cmd('PING'), 'PONG', 'within max_clients' for $c[47];
my @extra = map { $n->client } 1 .. 5;
my $refused = 0;
for (@extra) {
	my $t = $_->cmd('PING');
	$refused++ if Nodelife::Error::is($t) && $t =~ /max number of clients|CLOSED/;
}
cmp_ok $refused, '>=', 3, "over max_clients: $refused of 5 refused";
alive 'too many clients';
cmp_ok $n->stat->{counters}{clients_refused}, '>=', 3, 'counted';
$_->close for @c, @extra;
eventually {
	my $t = eval { $n->client->cmd('PING') } // '';
	$t eq 'PONG';
} 'room again when they left';
my $counters = $n->stat->{counters};
cmp_ok $counters->{protocol_errors}, '>=', 6, 'protocol errors are counted';
is $n->stat->{workers}[$_]{restarts}, 0, 'no worker died' for 0 .. 6;

# idle_timeout, changed while it runs.
$n->configure( listen => { idle_timeout => '3s' } );
my ( $code, undef, $err ) = $n->run( 'nodelifectl', '-r', $n->{run}, 'reload' );
is $code, 0, "reload: $err";
$c = $n->client;
is $c->cmd('PING'), 'PONG', 'a client';
is $c->reply, 'CLOSED', 'is closed when idle for idle_timeout';
is $n->stop, 0, 'stopped';

# Ten thousand idle connections. Both ends need descriptors: ours come from a
# child with a raised limit.
my $many = $ENV{CONNECTIONS} // 10_000;
my $limit = POSIX::sysconf( POSIX::_SC_OPEN_MAX() );
my $hard = `sh -c 'ulimit -Hn'`;
chomp $hard;
SKIP: {
	skip "RLIMIT_NOFILE is $hard: $many connections need more", 6
	  if $hard ne 'unlimited' && $hard < $many + 200;
	my $m = Nodelife->new( listen => { max_clients => $many + 100 } );
	# The limit is inherited: the node takes the hard one itself.
	$m->start;
	my $c0  = $m->client;
	$c0->cmd(qw(SET k v));
	my $pid = $m->workers->{gateway0};
	my $private = sub {
		my $t = 0;
		for ( values %{ $m->workers } ) {
			my $r = slurp("/proc/$_/smaps_rollup") // '';
			$t += $1 if $r =~ /^Private_Dirty:\s+(\d+)/m;
		}
		return $t;
	};
	my $before = $private->();
	pipe my $in, my $out or die;
	pipe my $hold, my $let or die;
	my $kid = fork // die;
	if ( $kid == 0 ) {
		Nodelife::die_with_parent();
		open STDIN,  '<&', $hold or die;
		open STDOUT, '>&', $out  or die;
		close $_ for $in, $let;
		my $addr = $m->addr('client');
		my $script = 'my @s; for (1..$ARGV[1]) { my $s ='
		  . ' IO::Socket::INET->new(PeerAddr => $ARGV[0]) or last;'
		  . ' push @s, $s } $| = 1; print scalar(@s), "\n";'
		  . ' sysread STDIN, my $x, 1';
		exec( 'sh', '-c', "ulimit -n $hard && exec perl -MIO::Socket::INET"
			  . " -e '$script' $addr $many" )
		  or POSIX::_exit(1);
	}
	close $out;
	close $hold;
	my $got = readline($in) // 0;
	chomp $got;
	is $got, $many, "$many connections";
	eventually {
		my $t = $m->stat->{counters};
		$t->{clients_accepted} - $t->{clients_closed} >= $many;
	} 'are accepted';
	my $begin = $m->cpu;
	my $bad   = 0;
	for ( 1 .. 300 ) {
		$bad++ if $c0->cmd( 'SET', "i$_", $_ ) ne 'OK';
		$bad++ if $c0->cmd( 'GET', "i$_" ) ne $_;
	}
	my $each = ( $m->cpu - $begin ) / 600;
	is $bad, 0, 'another client is served';
	cmp_ok $each, '<', 0.01, sprintf 'for %.2f ms of CPU each', $each * 1e3;
	my $grown = $private->() - $before;
	cmp_ok $grown, '<', 10 * 1024, "private memory grew by $grown KiB";
	syswrite $let, 'x';
	close $let;
	waitpid $kid, 0;
	eventually {
		my $t = $m->stat->{counters};
		$t->{clients_accepted} - $t->{clients_closed} < 10;
	} 'and gone again';
	is $m->stop, 0, 'stopped';
}

done_testing;
