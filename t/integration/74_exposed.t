# A client port that other hosts may reach, with no password, is told of at each
# boot and by -n; one with a password is not. In a network of its own, which no
# other host reaches.
use strict;
use warnings;
use POSIX ();
use Test::More;
use Nodelife;

plan skip_all => 'the number of unshare() is not known here'
  if ( POSIX::uname() )[4] ne 'x86_64';
# unshare(CLONE_NEWNET): the node is started from here.
plan skip_all => "cannot unshare: $!" if syscall( 272, 0x40000000 ) != 0;

my $n = Nodelife->new( listen => { client => '0.0.0.0:0', http => '0.0.0.0:0' } );
my $told = qr/\[listen\] client is 0[.]0[.]0[.]0:0 and \[security\] password is empty: .* set a password/;

my ( $code, undef, $err ) = $n->run( 'nodelifed', '-n', '-c', $n->{ini} );
is $code, 0, 'nodelifed -n: no error';
like $err, qr/^nodelifed: warning: $told/, 'but a warning';
$n->start;
my @events = grep { $_->{text} =~ $told } @{ $n->stat->{events} };
is scalar @events, 1, 'an event of the boot';
is $events[0]{level}, 'warn', 'a warning';
like slurp( $n->{log} ), qr/ warn supervisor: $told/, 'in the log';
is $n->stop, 0, 'stopped';

$n->configure( security => { password => 'secret' } );
( $code, undef, $err ) = $n->run( 'nodelifed', '-n', '-c', $n->{ini} );
is $code, 0, 'with a password: fine';
unlike $err, qr/password/, 'nothing is said of it';
like $err, qr/^nodelifed: warning: \[listen\] http is 0[.]0[.]0[.]0:0: .*POST \/drain/,
  'but HTTP is told of: it never asks for one';
$n->start;
is scalar( grep { $_->{text} =~ /password/ } @{ $n->stat->{events} } ), 0, 'no event';
is $n->stop, 0, 'stopped';
done_testing;
