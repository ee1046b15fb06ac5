# KEYS and SCAN over a store that changes under them: what is there all along
# is found, KEYS names nothing twice, other clients are served meanwhile, and
# cursors expire, are asked for again, and are refused when nobody gave them.
use strict;
use warnings;
use Nodelife;
use POSIX ();
use Test::More;

my $stay = 60_000;    # keys that nobody touches
my $n = Nodelife->new( store => { checkpoint_wal => '2M' } )->start;
my $c = $n->client;

for my $i ( 0 .. $stay / 1000 - 1 ) {
	my @r = $c->pipeline( map { [ 'SET', "stay:$_", $_ ] }
		  $i * 1000 .. $i * 1000 + 999 );
	die "SET: $r[0]" if grep { $_ ne 'OK' } @r;
}
is $c->cmd('DBSIZE'), $stay, "$stay keys";

# A writer that makes, changes and deletes others all the time.
my $writer = fork // die;
if ( $writer == 0 ) {
	Nodelife::die_with_parent();
	my $w = $n->client;
	for my $i ( 1 .. 1e9 ) {
		$w->pipeline( map { [ 'SET', 'go:' . ( $i * 100 + $_ ), 'x' x 200 ] }
			  1 .. 100 );
		$w->pipeline(
			map { [ 'DEL', 'go:' . ( ( $i - 20 ) * 100 + $_ ) ] } 1 .. 100 );
	}
	POSIX::_exit(0);
}

for my $round ( 1 .. 5 ) {
	my @k = @{ $c->cmd(qw(KEYS *)) };
	my %seen;
	$seen{$_}++ for @k;
	is scalar( grep { $_ > 1 } values %seen ), 0, 'KEYS: nothing twice';
	is scalar( grep { /^stay:/ } keys %seen ), $stay,
	  'KEYS: all that is there all along';
}
is scalar @{ $c->cmd( 'KEYS', 'stay:1234?' ) }, 10, 'KEYS with a pattern';
is_deeply $c->cmd(qw(KEYS none*)), [], 'KEYS that finds nothing';

for my $count ( 10, 1000 ) {
	my ( %seen, $cursor, $steps );
	do {
		my ( $next, $keys ) =
		  @{ $c->cmd( 'SCAN', $cursor // 0, 'COUNT', $count ) };
		$seen{$_} = 1 for @$keys;
		$cursor = $next;
		$steps++;
	} while $cursor ne '0';
	is scalar( grep { /^stay:/ } keys %seen ), $stay,
	  "SCAN COUNT $count: all that is there all along, in $steps steps";
}

# While KEYS walks, another client waits for one step of it at most.
my $d = $n->client;
$d->send( 'KEYS', 'none*' ) for 1 .. 20;
my ( $worst, $got, $begin ) = ( 0, 0, now() );
while ( $got < 20 ) {
	my $t = now();
	die if $c->cmd( 'GET', 'stay:7' ) ne '7';
	my $took = now() - $t;
	$worst = $took if $took > $worst;
	$got++, $d->reply while $got < 20 && $d->readable(0);
}
diag sprintf 'slowest GET beside KEYS: %.1f ms', $worst * 1000;
cmp_ok $worst, '<', ( now() - $begin ) / 2, 'others are served beside KEYS';

# Cursors.
my $first = $c->cmd(qw(SCAN 0 COUNT 100))->[0];
$c->cmd( 'SCAN', $first, 'COUNT', 100 );
is ref $c->cmd( 'SCAN', $first, 'COUNT', 100 ), 'ARRAY',
  'a cursor can be used twice';
like $c->cmd(qw(SCAN 123456789)), qr/^ERR invalid cursor/, 'one nobody gave';
like $c->cmd(qw(SCAN x)), qr/^ERR invalid cursor/, 'one that is no number';
my $old = $c->cmd(qw(SCAN 0))->[0];
$c->pipeline( map { [ 'SCAN', 0 ] } 1 .. 1100 ) for 1 .. 4;
like $c->cmd( 'SCAN', $old ), qr/^ERR invalid cursor: it expired/,
  'one that was forgotten';

kill 'KILL', $writer;
waitpid $writer, 0;

# What is deleted does not count: a step goes on over it.
$c->cmd('FLUSHALL');
$c->pipeline( map { [ 'SET', "dead:$_", 1 ] } 1 .. 3000 );
$c->pipeline( map { [ 'DEL', "dead:$_" ] } 1 .. 3000 );
$c->pipeline( map { [ 'SET', "live:$_", 1 ] } 1 .. 3 );
my ( @live, $steps );
my $at = 0;
do {
	my $r = $c->cmd( 'SCAN', $at );
	push @live, @{ $r->[1] };
	$at = $r->[0];
	$steps++;
} while $at ne '0';
is_deeply [ sort @live ], [ map { "live:$_" } 1 .. 3 ],
  "SCAN finds three keys among 3,000 deleted ones, in $steps steps";
cmp_ok $steps, '<', 150, 'a step does not end with ten deleted keys';

is $n->stat->{workers}[$_]{restarts}, 0, 'no worker died' for 0 .. 6;
is $n->stop, 0, 'stopped';
done_testing;
