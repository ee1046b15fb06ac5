# A small machine: 256 MiB of /dev/shm and a memory limit of 512 MiB. A node
# with defaults fits itself into it, says what it shrank, and serves; what is
# set and cannot work is refused with its key. In a mount namespace and a
# control group of our own, which needs root.
use strict;
use warnings;
use Nodelife;
use Test::More;
use World;

my $why = World::lacks(qw(root shm memory));
plan skip_all => $why if $why;
# The node inherits ours.
my $group = World::Group->new('memory')->memory( 512 << 20 )->add($$);
my $limit = qr{memory: limit 512M by \Q$group->{dir}\E/memory\.(?:max|limit_in_bytes)};
$why = World::own_shm('256m');
plan skip_all => $why if $why;

my $n = Nodelife->new->start;
is $n->client->cmd(qw(SET a 1)), 'OK', 'a node with defaults serves';
like slurp( $n->{log} ), qr/$limit: \[listen\] client_memory 128M/,
  'and says what it shrank';
my ( $code, $events ) = $n->run( 'nodelifestat', '-r', $n->{run}, '-e' );
like $events, $limit, 'which is an event, too';
( $code, my $conf ) = $n->run( 'nodelifed', '-n', '-c', $n->{ini} );
is $code, 0, 'nodelifed -n';
like $conf, qr/^client_memory = \d+M\s+; fitted$/m, 'shows what is in effect';
like $conf, qr/^; $limit: /m, 'and why';
$n->kill9;
$n->start;
is $n->client->cmd(qw(GET a)), 1, 'killed: the dead region does not count';
is $n->stop, 0, 'stopped';

$n->configure( store => { table_size => '300M' } );
my ( $rc, undef, $err ) = $n->run( 'nodelifed', '-f', '-c', $n->{ini} );
is $rc, 78, 'what can never work is refused';
like $err, qr/the node needs \d+M: .*\[store\] table_size \(300M\)/,
  'by its key and numbers';

# The group as it is said to be refused on the page: by its file.
$n->configure( store => { table_size => '48M' } );
$group->memory( 90 << 20 );
( $rc, undef, $err ) = $n->run( 'nodelifed', '-f', '-c', $n->{ini} );
is $rc, 78, 'a control group that can never hold the node';
like $err,
  qr{limit 90M by \Q$group->{dir}\E/memory\.\S+, the node needs \d+M: raise it or lower},
  'named by the file to raise';
done_testing;
