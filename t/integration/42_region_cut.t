# The region's file is the workers' user's: cut short, it takes the supervisor's
# pages away. It ends with a word, and the next start is as after any crash.
use strict;
use warnings;
use Nodelife;
use Test::More;

my $n = Nodelife->new->start;
is $n->client->cmd(qw(SET k v)), 'OK', 'a write';
truncate "$n->{run}/region", 0 or die "region: $!";
is $n->wait_exit, 71, 'the supervisor ends';
like slurp( $n->{log} ), qr/SIGBUS: .*region was cut short/,
  'and says why';
$n->start;
is $n->client->cmd(qw(GET k)), 'v', 'the next start has what was answered';
is $n->stop, 0, 'stopped';
done_testing;
