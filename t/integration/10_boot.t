# A boot can be watched and held: 503 `starting` with the pending gate while it
# lasts, 200 after; clients that connect early are answered only after
# gateway_enable; a budget that runs out names the gate; data are there after a
# restart and the term has risen. Held by what a boot depends on: the store's
# reader lock, taken by us, and workers that are stopped.
use strict;
use warnings;
use Nodelife;
use Test::More;

my $n = Nodelife->new;
my $begin = now();
$n->start;
diag sprintf 'empty node serves after %.0f ms, boot %d ms',
  ( now() - $begin ) * 1e3, $n->stat->{boot_ms};
is_deeply [ map { ( $n->http($_) )[0] } qw(/livez /readyz /startupz /healthz) ],
  [ 200, 200, 200, 200 ], 'all pages are 200 when it serves';
my $c = $n->client;
is $c->cmd(qw(SET k v)), 'OK', 'SET';
is $c->cmd(qw(GET k)), 'v', 'GET';
my $term = $n->stat->{term};
$c->close;
is $n->stop, 0, 'SIGTERM: exit 0';
is $n->stat->{state}, 'ended', 'the region says it ended';

# Held in cluster_catalog_open.
my $lock = $n->hold_boot;
$n->configure( node => { gateways => 2 } )->spawn;
ok $n->wait_held, 'the boot is held, the region names the gate';
my $s = $n->stat;
is $s->{state}, 'live', 'the node is live';
is $s->{failed}, undef, 'nothing has failed';
ok $s->{boot_ms} > 0, 'it counts how long the boot has lasted';
my ($gate) = @{ $s->{gates} };
eventually {
	( $n->stat->{gates}[0] // return 0 )->{waited_ms} > $gate->{waited_ms};
} 'and how long the gate waits';
my ( $code, $out, $err ) = $n->run( 'nodelifestat', '-r', $n->{run} );
is $code, 0, 'nodelifestat shows it';
like $out, qr/waits for cluster_catalog_open: .* of (?:store|checkpoint)/,
  'with gate and subsystem';
my ( $status, $body ) = $n->http('/startupz');
is $status, 503, '/startupz: 503';
( $status, $body ) = $n->http('/readyz');
is $status, 503, '/readyz: 503';
like $body, qr/starting/, 'which says starting';
like $body, qr/cluster_catalog_open/, 'the phase that is waited for';
like $body, qr/store|checkpoint/, 'and the subsystem';
is( ( $n->http('/livez') )[0], 200, '/livez: 200, workers make progress' );
( $code, $out, $err ) = $n->run( 'nodelifestat', '-r', $n->{run}, '-w',
	'gateway_enable', '-t', '0.1' );
is $code, 2, '-w times out with 2';
like $err, qr/cluster_catalog_open waits for/, 'and says what for';
is( IO::Socket::INET->new( PeerAddr => $n->addr('client') ),
	undef, 'clients are refused before transport_bind' );

# Let it go until one of two gateways, which we stopped, keeps it from
# transport_bind: the other one listens, clients connect, none is read.
my $held = $n->workers->{gateway1};
ok $held, 'a second gateway';
kill 'STOP', $held;
close $lock;
my $early;
eventually { $early = eval { $n->client } } 'a client connects';
$early->send('PING');
$early->send(qw(GET k));
my $other = $n->client;
$other->send(qw(SET early 1));
ok !$early->readable(0.3), 'an early client has no answer';
$s = $n->stat;
is $s->{phase}, 'data_groups_replay', 'while the other gateway holds the boot';
is $s->{gates}[0]{subsystem}, 'gateway1', 'as the region says';
kill 'CONT', $held;
is $early->reply, 'PONG', 'it is answered';
is $early->reply, 'v', 'in order';
is $other->reply, 'OK', 'so is the other';
$s = $n->stat;
is $s->{phase}, 'gateway_enable', 'after gateway_enable';
cmp_ok $s->{phases_ms}{transport_bind} - $s->{phases_ms}{data_groups_replay},
  '>=', 250, 'phases say when they were entered';
ok $s->{term} > $term, 'the term has risen';
is( ( $n->http('/readyz') )[0], 200, '/readyz: 200' );
is $s->{role}, 'master', 'a group of one is its master';
eventually { my $now = $n->stat; $now->{can_read} && $now->{can_write} }
'it may read and write';
is_deeply [ sort keys %{ $n->workers } ],
  [qw(checkpoint gateway0 gateway1 group health store vlsn wal)], 'its workers';
is_deeply [ sort map { $_->{name} } @{ $s->{workers} } ],
  [qw(checkpoint gateway0 gateway1 group health store vlsn wal)],
  'the same in the region';
is $n->stop, 0, 'stopped';

# The first commands after a boot are answered, not refused, however soon they
# come: reads wait for the first record of the term.
my $refused = 0;
for ( 1 .. 8 ) {
	my $first;
	delete $n->{addr};
	$n->spawn;
	wait_until { $n->fresh && ( $first = eval { $n->client } ) };
	$refused++ if ( $first->cmd(qw(GET k)) // '' ) ne 'v';
	$refused++ if $first->cmd(qw(SET early 1)) ne 'OK';
	$refused++ if $n->stop != 0;
}
is $refused, 0, 'the first commands after a boot are answered';

# A budget that runs out.
$n->configure( boot => { migrate_budget => '2s' } );
$lock  = $n->hold_boot;
$n->spawn;
my $exit = $n->wait_exit;
cmp_ok $exit, '>', 0, "a boot over its budget exits with $exit";
like slurp( $n->{log} ), qr/after wal_recovery, waiting for checkpoint/,
  'its log names phase and gate';
$s = $n->stat;
like $s->{failed} // '', qr/^migrate budget/, 'the region keeps the cause';
is $s->{stage}, 'failed', 'stage failed';
( $code, $out, $err ) =
  $n->run( 'nodelifestat', '-r', $n->{run}, '-w', 'gateway_enable', '-t', 3 );
is $code, 1, '-w: 1';
isnt $err, '', 'with the cause';
close $lock;
$n->configure( boot => { migrate_budget => undef } );

# Modes: readonly serves the last checkpoint, changes nothing.
$n->start;
$c = $n->client;
is $c->cmd(qw(GET early)), 1, 'data are there after the failed boot';
( $code, $out, $err ) = $n->run( 'nodelifectl', '-r', $n->{run}, 'checkpoint' );
is $code, 0, "nodelifectl checkpoint: $err";
is $c->cmd(qw(SET late 1)), 'OK', 'a write after the checkpoint';
is $n->stop, 0, 'stopped';
my $print = sub {
	my $all = `cd '$n->{data}' && find . -type f ! -name lock ! -name lock.mdb | sort | xargs sha256sum`;
	return $all;
};
my $before = $print->();
$n->configure( boot => { recovery_mode => 'readonly' } );
$n->start;
$c = $n->client;
is $c->cmd(qw(GET k)), 'v', 'readonly: reads are served';
is $c->cmd(qw(GET early)), 1, 'as of the checkpoint';
like $c->cmd(qw(SET k w)), qr/^READONLY/, 'writes are refused';
( $status, $body ) = $n->http('/readyz');
like $body, qr/read.?only/i, '/readyz says so';
$s = $n->stat;
is $s->{role}, 'detached', 'it takes no part in its group';
is $s->{recovery_mode}, 'readonly', 'the region says so';
ok $s->{can_read} && !$s->{can_write}, 'and that it serves reads only';
is( ( $n->http('/readyz?want=read') )[0], 200, 'as /readyz does' );
ok !$s->{can_write}, 'and that it cannot write';
is $n->stop, 0, 'readonly: stopped';
is $print->(), $before, 'no file was changed';
$n->configure( boot => { recovery_mode => undef } );
$n->start;
is $n->client->cmd(qw(GET late)), 1, 'a normal boot has the newest write';
is $n->stop, 0, 'stopped';
done_testing;
