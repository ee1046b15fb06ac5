# Clients that have not said the password keep nobody out: when all places are
# taken they give way, and nothing of what they ask for grows. A host that went
# without a word is looked for after five minutes.
use strict;
use warnings;
use IO::Socket::INET;
use Nodelife;
use Test::More;

my $n = Nodelife->new(
	node     => { gateways => 1 },
	listen   => { max_clients => 10 },
	security => { password => 'secret' } );
$n->start;

sub known {
	my $c = $n->client;
	return $c->cmd(qw(AUTH secret)) eq 'OK' ? $c : undef;
}

# Thirty that say nothing, then some that do.
my @silent = map { $n->client } 1 .. 30;
my @known;
for my $i ( 1 .. 9 ) {
	$known[ $i - 1 ] = eval { known() };
	ok $known[ $i - 1 ], "client $i of those that know the password is let in";
}
push @silent, map { $n->client } 1 .. 30;
is scalar( grep { eval { $_->cmd('PING') eq 'PONG' } } @known ), 9, 'all of them are served';
my $c = eval { known() };
ok $c, 'the last place';
is eval { $n->client->cmd(qw(AUTH secret)) } // '', 'ERR max number of clients reached',
  'one more than all places'
  or diag $@;
cmp_ok $n->stat->{counters}{clients_refused}, '>=', 40, 'those that gave way are counted';
$c->close;
$_->close for @silent;

# All errors that it asks for, when it reads them at last.
eventually { eval { $n->client->cmd('PING') } // '' =~ /^NOAUTH/ } 'there is a place';
my $s = IO::Socket::INET->new( PeerAddr => $n->addr('client') );
$s->blocking(0);
my $sent = 0;
my $ping = "PING\r\n" x 1000;
for ( 1 .. 100 ) {
	$sent += syswrite( $s, $ping ) || last;
}
my $want = int( $sent / 6 );
my ( $text, $lines ) = ( '', 0 );
eventually {
	while ( sysread $s, $text, 1 << 16 ) { $lines += $text =~ tr/\n// }
	$lines == $want;
} "$want requests without the password: each is answered";
syswrite $s, substr( "PING\r\n", $sent % 6 ) if $sent % 6;
syswrite $s, "AUTH secret\r\n";
$text = '';
eventually {
	sysread $s, $text, 1000, length $text;
	$text =~ /[+]OK\r\n\z/;
} 'and then the password counts';

# The kernel's timer of the node's end of that connection, in 1/100 s.
my ($port) = $n->addr('client') =~ /:(\d+)$/;
my $peer = sprintf '%04X', $s->sockport;
my $mine = sprintf '%04X', $port;
eventually {
	my ($left) = slurp('/proc/net/tcp') =~ /:$mine \w+:$peer 01 \w+:\w+ 02:(\w+)/;
	hex( $left // 'FFFFFFFF' ) <= 30_100;
} 'its keepalive ends within five minutes';
is $n->stop, 0, 'stopped';
done_testing;
