# A member that was away for longer than the log's newest part in memory reaches
# back is fed from segment files, while clients write, and then lives on what is
# in memory. In the end it holds what all hold. RECORDS=1000000 for more.
use strict;
use warnings;
use Group;
use Nodelife;
use Test::More;

my $records = $ENV{RECORDS} // 120_000;
my $g       = Group->new(
	wal   => { segment_size => '4M', keep_size => '4G', buffer_size => '1M' },
	store => { table_size => '256M' },
)->start;
my ($r) = $g->replicas;
my $m   = $g->master;
is $m->client->cmd(qw(SET first one)), 'OK', 'a write';
$r->kill9;
my ( $host, $port ) = split /:/, $m->{client};
my ( $code, undef, $err ) = $m->run( 'nodelifebench', '-q', '-H', $host, '-p',
	$port, '-c', 64, '-P', 16, '-n', $records, '-k', 20_000, '-d', 100 );
is $code, 0, "$records records while a member is away" or diag $err;
my $behind = $m->stat->{positions}{committed};

my $load = $g->load( keys => 100, seconds => 100, rate => 2000 );
ok $load->wait_acked(100), 'a load';
$r->spawn;
my $begun = now();
$r->wait_serving;
my $from = $r->stat->{positions}{applied};
eventually {
	my $s = $r->fresh;
	$s && $s->{positions}{durable} >= $behind;
} 120, 'the member has what it missed' or diag $g->roles;
my $took = now() - $begun;
note sprintf '%d records in %.2f s: %.0f/s', $behind - $from, $took,
  ( $behind - $from ) / $took;
# It keeps up: what is written now gets there, and not by files again.
my $now = $g->wait_master->stat->{positions}{committed};
eventually { ( $r->fresh || { positions => { applied => 0 } } )->{positions}{applied} >= $now } 60,
  '... and follows what is written';
my $c = $g->master->client;
is $c->cmd(qw(SET last one)), 'OK', 'a write';
is $c->cmd(qw(WAIT 2 60000)), 2, '... that all have';
my $h = $load->stop;
note $h->summary;
is $h->fault, '', 'what clients saw is linearizable';
$g->same_content;
is_deeply [ $g->stop ], [ 0, 0, 0 ], 'stopped';
done_testing;
