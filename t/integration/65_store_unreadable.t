# A disk that does not give what is in the store's file (its end is cut off
# here, and put back): no process ends, who asks for a key there is told, a
# write that must know the old value waits, others go on; it is on the screen
# as long as it lasts, and all goes on by itself.
use strict;
use warnings;
use Nodelife;
use Test::More;

my $n = Nodelife->new( store => { table_size => '8M', max_value => '1M' } );
$n->start;
my $c = $n->client;
$c->cmd( 'SET', "k$_", $_ x 3000 ) for 1 .. 300;
$c->cmd(qw(SET n 41));
$c->cmd(qw(SET soon 1 PX 1));
is( ( $n->run( 'nodelifectl', '-r', $n->{run}, 'checkpoint' ) )[0],
	0, 'all of it is in the file' );
my %before = %{ $n->workers };
my $file   = "$n->{data}/store/data.mdb";
my $keep   = 2 * 4096;
open my $f, '+<', $file or die "$file: $!";
my $end;
{
	local $/;
	seek $f, $keep, 0;
	$end = <$f>;
}
truncate $f, $keep or die "$file: $!";

my $why = qr/^ERR the store cannot be read: Input\/output error/;
like $c->cmd(qw(GET k7)), $why, 'GET is told';
like $c->cmd(qw(MGET k8 k9)),  $why, 'so is MGET';
like $c->cmd(qw(EXISTS k1)),   $why, 'and EXISTS';
like $c->cmd(qw(SCAN 0)),      $why, 'and SCAN';
$c->cmd('MULTI');
$c->cmd(qw(GET k2));
like $c->cmd('EXEC'), $why, 'and EXEC';
is $c->cmd(qw(SET new 1)), 'OK', 'a write that needs nothing from there';
is $c->cmd(qw(GET new)),   1,    'and its value';

eventually { $n->trouble('store_failed') } 'it is a trouble';
like $n->trouble('store_failed'), qr{store/data\.mdb: read: Input/output error.*look at the disk},
  'with the file and what to do';
my $waits = $n->client;
$waits->send(qw(INCR n));
ok !$waits->readable(0.3), 'a write that must know the old value waits';
like( ( $n->http('/healthz') )[1], qr/store_failed/, 'the pages tell' );

seek $f, $keep, 0;
print {$f} $end;
close $f;
is $waits->reply, 42, 'it goes on by itself';
is $c->cmd(qw(GET k7)), 7 x 3000, 'reads, too';
eventually { !$n->trouble('store_failed') } 'and nothing is told any more';
eventually { $c->cmd('DBSIZE') == 302 } 'all is counted, what is due deleted';
is_deeply $n->workers, \%before, 'no process has ended';
is $n->stop, 0, 'stopped';
done_testing;
