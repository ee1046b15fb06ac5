# A control socket whose backlog is full, as its worker hangs: nodelifectl
# keeps its time limit, and stop takes the other way.
use strict;
use warnings;
use Test::More;
use Errno qw(EAGAIN);
use IO::Socket::UNIX;
use Socket qw(AF_UNIX SOCK_STREAM SOCK_NONBLOCK pack_sockaddr_un);
use Nodelife;

my $n = Nodelife->new;
$n->configure(
	liveness => { timeout      => '10m' },
	shutdown => { phase_budget => '500ms' } );
$n->start;
my $health = $n->workers->{health};
kill 'STOP', $health;
my @crowd;
for ( 1 .. 1000 ) {
	socket my $s, AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0 or die "socket: $!";
	last if !connect $s, pack_sockaddr_un("$n->{run}/control.sock");
	push @crowd, $s;
}
is 0 + $!, EAGAIN, @crowd . ' connections: no more fit';

my @ctl = ( 'nodelifectl', '-r', $n->{run} );
my ( $code, undef, $err ) = $n->run( @ctl, qw(-t 1 loglevel) );
is $code, 2, 'no answer in time: 2';
like $err, qr/no answer in 1 s; it was not heard/, 'says so';
( $code, undef, $err ) = $n->run( @ctl, qw(-t 2.5 loglevel) );
like $err, qr/loglevel: \S+control.sock: its queue is full .*\n.*no answer in 2.5 s/s,
  'and, when it waits for long, for whom'
  or diag $err;
( $code, undef, $err ) = $n->run( @ctl, 'stop' );
is $code, 0, "stop goes by signal: $err";
like $err, qr/SIGTERM/, 'and says so';
$n->wait_exit;
ok $n->gone, 'stopped';
done_testing;
