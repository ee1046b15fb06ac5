# The HTTP port of a real node beside clients that mean ill: connections that
# trickle in all its places, and more than those. Probes, metrics and a stop by
# POST are answered, both are counted, and nobody stays for ever.
use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;
use Nodelife;
use POSIX ();
use Test::More;

my $n    = Nodelife->new->start;
my $addr = $n->addr('http');

sub metric {
	my ($name) = @_;
	my ( undef, $body ) = $n->http('/metrics');
	return $body =~ /^\Qnodelife_$name\E (\d+)$/m ? $1 : undef;
}

# A body that never ends, from 127.0.0.$host.
sub trickler {
	my ($host) = @_;
	my $s = IO::Socket::INET->new(
		PeerAddr => $addr, LocalAddr => "127.0.0.$host" )
	  or die "connect: $@";
	syswrite $s,
	  "POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n";
	return $s;
}

# As many as there are places, of eight addresses; one more byte of each now
# and then, until they are thrown out: all of them are.
pipe my $in, my $out or die;
my $kid = fork // die;
if ( $kid == 0 ) {
	Nodelife::die_with_parent();
	local $SIG{PIPE} = 'IGNORE';
	my $all = IO::Select->new( map { trickler( 10 + $_ % 8 ) } 1 .. 128 );
	syswrite $out, "there\n";
	while ( $all->count ) {
		syswrite $_, 'x' for $all->handles;
		for my $s ( $all->can_read(0.1) ) {
			$all->remove($s) if !sysread $s, my $answer, 4096;
		}
	}
	syswrite $out, "gone\n";
	POSIX::_exit(0);
}
is readline($in), "there\n", '128 connections trickle';
for my $page (qw(livez readyz startupz healthz metrics)) {
	is( ( $n->http("/$page") )[0], 200, "/$page is answered beside them" );
}
ok( IO::Select->new($in)->can_read(60), 'they do not stay' );
is readline($in), "gone\n", 'none of them';
waitpid $kid, 0;
cmp_ok metric('http_timeouts_total'), '>', 0, 'which is counted';

# One address that takes more than its share loses its oldest.
my $before = metric('http_displaced_total');
my @silent;
eventually {
	push @silent, map { trickler(30) } 1 .. 33;
	metric('http_displaced_total') > $before;
} 'the oldest has given way';
is( ( $n->http('/livez') )[0], 200, 'a probe is answered' );
is( ( $n->http( '/drain', 'POST' ) )[0], 200, 'a stop by POST, too' );
is $n->wait_exit, 0, 'the node stops in order';
done_testing;
