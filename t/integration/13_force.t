# Recovery mode force: a log with damage that a normal boot refuses is booted,
# with what can be had, and everything that was skipped is said; afterwards a
# normal boot works again.
use strict;
use warnings;
use Nodelife;
use Test::More;

my $n = Nodelife->new->start;
my $c = $n->client;
is $c->cmd( 'SET', "k$_", $_ ), 'OK', "k$_" for 1 .. 5;
my $size = $n->stat->{newest_lsn} & 0xffffffff;
$c->cmd( 'SET', "k$_", $_ ) for 6 .. 500;
is $n->stop, 0, 'stopped';

# Damage in the middle of the log.
my ($seg) = glob "$n->{data}/wal/*.seg";
open my $f, '+<', $seg or die;
seek $f, $size + 2000, 0;
print $f "\xaa" x 64;
close $f;

$n->spawn;
cmp_ok $n->wait_exit(10), '>', 0, 'a normal boot refuses';
my $log = slurp $n->{log};
like $log, qr/00000001\.seg.*\d{4}/, 'with file and offset';
like $log, qr/force|restore|recovery_mode/, 'and what can be done';

$n->configure( boot => { recovery_mode => 'force' } );
my $at = length $log;
$n->start;
$c = $n->client;
is $c->cmd( 'GET', "k$_" ), $_, "force: k$_" for 1, 5;
my @left = @{ $c->cmd( 'MGET', map { "k$_" } 1 .. 500 ) };
my $gap  = grep { !defined } @left;
cmp_ok $gap, '>', 0, "$gap of 500 keys are lost";
my ($first) = grep { !defined $left[$_] } 0 .. 499;
is scalar( grep { defined } @left[ $first .. 499 ] ), 0,
  'what is there is a prefix: up to k' . $first;
like substr( slurp( $n->{log} ), $at ), qr/force|skipped|cut|lost/i,
  'what was skipped is said';
is $n->stat->{recovery_mode}, 'force', 'the region says force';
ok -d "$n->{data}/salvage", 'what was cut off is kept';
is $c->cmd(qw(SET after force)), 'OK', 'it writes';
is $n->stop, 0, 'stopped';

$n->configure( boot => { recovery_mode => undef } )->start;
is $n->client->cmd(qw(GET after)), 'force', 'a normal boot works again';
is $n->client->cmd(qw(GET k1)), 1, 'with what there was';
is $n->stop, 0, 'stopped';
my ( $code, $out, $err ) = $n->run( 'nodelifewal', 'verify', $n->{data} );
is $code, 0, 'the log verifies' or diag "$out$err";
done_testing;
