# A log whose writes fail: it is closed, reads go on, writes are told why, what
# was under way has no known outcome, and when the fault is over the node boots
# again by itself, without it. The fault is a limit of the size of files that is
# set to wal while it runs.
use strict;
use warnings;
use File::Path;
use Nodelife;
use Test::More;

plan skip_all => 'no prlimit(1)' if system('prlimit --version >/dev/null') != 0;

sub limit {
	my ( $pid, $soft ) = @_;
	return system( 'prlimit', "--pid=$pid", "--fsize=$soft:" ) == 0;
}

for my $level (qw(sync no_sync)) {
	my $n = Nodelife->new(
		wal => { sync => $level, disk_stall_limit => '100ms' } );
	$n->start;
	my ( $c, $d ) = ( $n->client, $n->client );
	is $c->cmd( 'SET', "k$_", $_ ), 'OK', "$level: a write" for 1 .. 3;
	is $c->cmd(qw(INCR n)), 1, "$level: and one that the store answers";
	my $wal = $n->workers->{wal};
	# One block, or a piece more.
	my $size = $level eq 'sync' ? 4096 : 5000;
	ok limit( $wal, $size ), "$level: files may not grow beyond $size bytes";

	# One that is answered at commit, one by the store.
	my $r = $c->cmd(qw(SET under way));
	my $first = $level eq 'sync' ? qr/^UNKNOWNOUTCOME / : qr/^(?:UNKNOWNOUTCOME |OK$)/;
	like $r, $first, "$level: what is under way: $r";
	eventually { $n->trouble('log_failed') ne '' } "$level: the trouble is told";
	select undef, undef, undef, 1.2 if $level eq 'sync';
	unlike slurp( $n->{log} ), qr/in flight for/,
	  "$level: the disk that answered is not called one that does not";
	like $n->trouble('log_failed'),
	  qr{^\Q$n->{data}\E/wal/\S+: write: File too large: .*ulimit -f},
	  "$level: path, call, errno, remedy";
	for my $cmd ( [qw(SET x 1)], [qw(INCR n)], [qw(DEL k1)] ) {
		$r = $c->cmd(@$cmd);
		like $r, qr/^LOGFAILED nothing was written: .*File too large/,
		  "$level: $cmd->[0] is refused: $r";
	}
	my @r = $c->pipeline( ['MULTI'], [qw(SET y 1)], [qw(INCR n)], ['EXEC'] );
	like $r[3], qr/^LOGFAILED/, "$level: so is EXEC";
	my $big = $c->cmd( 'SET', 'big', 'b' x 500_000 );
	like $big, qr/^LOGFAILED/, "$level: and a long one";

	# Reads see all that is on disk, whoever asks.
	for my $reader ( $c, $d, $n->client ) {
		$reader->{timeout} = 20;
		is $reader->cmd(qw(GET k1)), 1, "$level: GET";
		is_deeply $reader->cmd(qw(MGET k1 k2 k3)), [ 1, 2, 3 ],
		  "$level: MGET";
		is $reader->cmd(qw(GET under)), undef,
		  "$level: what was under way is not applied";
		is $reader->cmd('DBSIZE'), 4, "$level: DBSIZE";
		is $reader->cmd(qw(WAIT 0 0)), 0, "$level: WAIT";
	}
	like( ( $n->run( 'nodelifectl', '-r', $n->{run}, 'checkpoint' ) )[1],
		qr/^checkpoint at VLSN /, "$level: a checkpoint" );
	my $s = $n->stat;
	is $s->{node_restarts}, 0, "$level: nothing has restarted";
	ok !$s->{can_write}, "$level: can_write is false";
	is $n->workers->{wal}, $wal, "$level: the same wal";
	my ( $code, $out ) = $n->run( 'nodelifectl', '-r', $n->{run}, 'status' );
	is $code, 0, "$level: nodelifectl status: a node runs";
	like $out,
	  qr/: serving, but no writes: .*File too large: .*ulimit -f/,
	  "$level: and does not take writes";

	limit( $wal, 'unlimited' );
	ok wait_until {
		my $c2 = eval { $n->client } or return 0;
		( $c2->cmd(qw(SET again 1)) // '' ) eq 'OK';
	}, "$level: it writes again by itself";
	$s = $n->stat;
	is $s->{node_restarts}, 1, "$level: after one boot";
	is $n->trouble('log_failed'), '', "$level: the trouble is over";
	$c = $n->client;
	is_deeply $c->cmd(qw(MGET k1 k2 k3 n under x y)),
	  [ 1, 2, 3, 1, undef, undef, undef ],
	  "$level: with all that was on disk, and nothing else";
	is $n->stop, 0, "$level: stopped";
	($code) = $n->run( 'nodelifewal', 'verify', $n->{data} );
	is $code, 0, "$level: the log is good";
}

# A stop does not wait for a closed log, and the next start drops the rest.
my $n = Nodelife->new->start;
my $c = $n->client;
is $c->cmd(qw(SET k 1)), 'OK', 'a write';
limit( $n->workers->{wal}, 4096 );
like $c->cmd(qw(INCR n)), qr/^UNKNOWNOUTCOME/,
  'one that the store would have answered';
is $n->stop, 0, 'a stop in order';
$n->start;
is_deeply $n->client->cmd(qw(MGET k n)), [ 1, undef ], 'and a start';
is $n->stop, 0, 'stopped';

# What a region tells of a failed flush is of that log, up to that segment: not
# of what a start since, which had another run_dir, has written; nor of a
# directory that was founded anew.
sub closed {
	my $n = Nodelife->new->start;
	is $n->client->cmd(qw(SET k 1)), 'OK', 'a write';
	limit( $n->workers->{wal}, 4096 );
	like $n->client->cmd(qw(SET lost 1)), qr/^UNKNOWNOUTCOME/, 'the log closes';
	is $n->stop, 0, 'stopped';
	return $n;
}

sub run_dir {
	my ( $n, $dir ) = @_;
	mkdir $dir;
	$n->configure( node => { run_dir => $dir } )->{run} = $dir;
	return $n;
}

$n = closed();
my $run = $n->{run};
run_dir( $n, "$run.other" )->start;
is $n->client->cmd( 'SET', "n$_", $_ ), 'OK', 'a write since' for 1 .. 5;
$n->kill9;
unlink readlink "$run.other/region" or die "region: $!";
run_dir( $n, $run )->start;
is_deeply $n->client->cmd( 'MGET', 'k', map { "n$_" } 1 .. 5 ),
  [ 1, 1 .. 5 ], 'all is there';
is $n->stop, 0, 'stopped';

$n = closed();
File::Path::remove_tree( $n->{data} );
$n->start;
is $n->client->cmd(qw(GET k)), undef, 'a directory founded anew serves';
is $n->stop, 0, 'stopped';

# An older copy in its place is refused: by what the region tells, which the
# refusal names. Without that link it is served; nothing else is to be forced.
$n = Nodelife->new->start;
is $n->client->cmd(qw(SET k 1)), 'OK', 'a write';
is $n->stop, 0, 'stopped';
is system( 'cp', '-a', $n->{data}, "$n->{data}.old" ), 0, 'a copy';
$n->start;
is $n->client->cmd( 'SET', "n$_", $_ ), 'OK', 'a write since' for 1 .. 5;
limit( $n->workers->{wal}, 4096 );
like $n->client->cmd(qw(SET lost 1)), qr/^UNKNOWNOUTCOME/, 'the log closes';
is $n->stop, 0, 'stopped';
File::Path::remove_tree( $n->{data} );
rename "$n->{data}.old", $n->{data} or die "rename: $!";
is $n->spawn->wait_boot, 'gone', 'the older copy is refused';
cmp_ok $n->wait_exit, '>', 0, 'with an exit code';
my $text = Nodelife::slurp( $n->{log} );
like $text, qr{older copy.*remove that link}s, 'with a way out';
like $text, qr{\Q$n->{run}\E/region tells}, 'which names the link';
unlink "$n->{run}/region" or die "region: $!";
$n->start;
is_deeply $n->client->cmd(qw(MGET k n1)), [ 1, undef ], 'then it is served';
is $n->stop, 0, 'stopped';
done_testing;
