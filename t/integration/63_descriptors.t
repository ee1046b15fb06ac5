# Fewer descriptors than max_clients wants: the effective limit is lowered and
# said so, on the screen as long as it stands; the client that is one too many
# is told so and does not hang.
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
done_testing;
