# A store that cannot take more, or whose checkpoints fail: what the admin
# fixed, a full disk, no process to be had. Writes are refused with the cause
# while there is room for what was accepted; reads go on; deletions are taken
# and bring a full store back; the probe of writes, the screen and the metrics
# say why; and it goes on by itself. While it runs, and at a boot.
use strict;
use warnings;
use Nodelife;
use POSIX ();
use Test::More;

my @mounts;

END {
	local $?;
	for (@mounts) { system 'umount', '-l', $_ }
}

sub metric {
	my ( $n, $name ) = @_;
	return ( ( $n->http('/metrics') )[1] =~ /^$name (\d+)/m )[0];
}

# Write until it says no: (how many were taken, the error).
my $made = 0;

sub fill {
	my ( $c, $most ) = @_;
	my $value = 'v' x 16_000;
	my $took = 0;
	while ( $took < $most ) {
		my @r = $c->pipeline( map { [ 'SET', 'k' . $made++, $value ] } 1 .. 16 );
		my ($error) = grep { Nodelife::Error::is($_) } @r;
		return ( $took, $error ) if $error;
		$took += @r;
		# What was answered is in the table, too: a read waits for that.
		$c->cmd(qw(GET k0));
	}
	return ( $took, '' );
}

sub is_refusing {
	my ( $n, $c, $why, $name ) = @_;
	like $c->cmd(qw(SET x 1)), $why, "$name: SET says why";
	like $c->cmd(qw(INCR x)),  $why, "$name: INCR says why";
	$c->cmd('MULTI');
	$c->cmd(qw(SET y 1));
	like $c->cmd('EXEC'), $why, "$name: EXEC says why";
	is length( $c->cmd(qw(GET k0)) // '' ), 16_000, "$name: reads go on";
	ok $c->cmd('DBSIZE') > 0, "$name: DBSIZE, too";
	my $s = $n->stat;
	ok !$s->{can_write}, "$name: it cannot write";
	is( ( $n->http('/readyz?want=write') )[0], 503, "$name: nor says so" );
	is( ( $n->http('/readyz') )[0],            200, "$name: it serves" );
	return;
}

sub takes_writes {
	my ( $n, $c, $name ) = @_;
	eventually { ( $c->cmd(qw(SET again 1)) // '' ) eq 'OK' }
	  "$name: writes are taken again";
	eventually { $n->stat->{can_write} && !$n->trouble('store_full') }
	  "$name: and it says so";
	return;
}

my %small = ( table_size => '8M', max_value => '1M', checkpoint_wal => '64M' );

# What the admin fixed. (A checkpoint may take its time here.)
{
	my $n = Nodelife->new( store => { %small, map_size => '64M' },
		wal => { disk_stall_limit => '5m' }, restart => { give_up => '1s' } );
	$n->start;
	my $c = $n->client;
	my ( $took, $error ) = fill( $c, 8192 );
	my $why = qr/^ERR the store is full \(\[store\] map_size = 64M\)/;
	like $error, $why, "map_size: refused after $took writes";
	like $error, qr/DEL.*FLUSHALL.*raise it, stop the node and start it$/, 'map_size: saying what to do';
	cmp_ok $took * 16_000, '>', 40_000_000, 'map_size: and not before';
	is_refusing( $n, $c, $why, 'map_size' );
	like $n->trouble('store_full'), qr/map_size = 64M.*map_size, stop the node and start it, or delete keys.*; the node goes on/,
	  'map_size: the screen names the key and what to do';
	my $since = now();
	wait_until { now() > $since + 2 || $n->gone };
	ok !$n->gone, 'map_size: no fault of the machine, which give_up would end';
	$c->cmd( 'DEL', map { "k$_" } 1 .. 2000 );
	takes_writes( $n, $c, 'map_size, keys deleted' );
	( $took, $error ) = fill( $c, 8192 );
	like $error, $why, "map_size: full again after $took writes";
	is $n->stat->{node_restarts}, 0, 'map_size: no restart';
	$n->kill9->start;
	$c = $n->client;
	eventually { $n->trouble('store_full') } 'map_size: full after a boot';
	is_refusing( $n, $c, $why, 'map_size, after a boot' );
	is $c->cmd('FLUSHALL'), 'OK', 'map_size: FLUSHALL is taken';
	takes_writes( $n, $c, 'map_size, flushed' );
	is $n->stop, 0, 'map_size: stopped';
}

$made = 0;

# Without such a limit the map grows, whatever it was.
{
	my $n = Nodelife->new( store => { %small, map_size => '64M' } );
	$n->start;
	my ($took) = fill( $n->client, 8192 );
	is $n->stop, 0, 'no limit: a full store';
	$n->configure( store => { map_size => undef } );
	$n->start;
	is( ( fill( $n->client, 3000 ) )[1], '', 'no limit: writes are taken' );
	like( ( $n->run( 'nodelifectl', '-r', $n->{run}, 'checkpoint' ) )[1],
		qr/checkpoint at/, 'no limit: written' );
	is $n->stop, 0, 'no limit: stopped';
}

# A disk that is full, though the log's is not.
SKIP: {
	skip 'not root: cannot mount a small file system', 1 if $> != 0;
	my $n = Nodelife->new( store => { %small, table_size => '16M' } );
	$n->found;
	$made = 0;
	my $disk = "$n->{data}/store";
	mkdir $disk;
	my $out = `mount -t tmpfs -o size=64m,mode=0755 nodelife-test '$disk' 2>&1`;
	skip "cannot mount a tmpfs here: $out", 1 if $? != 0;
	push @mounts, $disk;
	$n->start;
	my $c = $n->client;
	fill( $c, 64 );
	my $filler = sub {
		open my $f, '>', "$disk/filler" or die;
		1 while syswrite $f, 'f' x 65536;
	};
	$filler->();
	my ( $took, $error ) = fill( $c, 8192 );
	my $why = qr/^ERR the store is full .*No space left on device/;
	like $error, $why, "full disk: refused after $took writes";
	like $error, qr/DEL.*FLUSHALL.*free space/, 'full disk: what to do';
	unlike $error, qr/until the table is full/, 'full disk: and what is true';
	is_refusing( $n, $c, $why, 'full disk' );
	like $n->trouble('checkpoint_failed'),
	  qr{store/data\.mdb: .*No space.*free space}, 'full disk: it is told';
	cmp_ok metric( $n, 'nodelife_checkpoints_failed_total' ), '>', 0,
	  'full disk: it is counted';
	my @r = $n->run( 'nodelifectl', '-r', $n->{run}, 'checkpoint' );
	isnt $r[0], 0, 'full disk: a checkpoint that is asked for ends';
	like "@r", qr/No space left on device/, 'full disk: saying why';
	is $c->cmd(qw(DEL k3)), 1, 'full disk: DEL is taken';
	is $n->stat->{node_restarts}, 0, 'full disk: no restart';

	# The next boot has more to apply than both tables take.
	$n->kill9->configure( store => { table_size => '8M' } );
	$n->configure( boot => { recover_budget => '3s' } )->spawn;
	eventually { $n->fresh && $n->trouble('store_full') }
	  'full disk: a boot that must wait';
	like $n->trouble('checkpoint_failed'), qr/No space left on device/,
	  'full disk: says what for';
	like( ( $n->http('/readyz') )[1], qr/No space left on device/,
		'full disk: so does /readyz' );
	eventually { metric( $n, 'nodelife_checkpoints_failed_total' ) > 2 }
	  'full disk: it tries again, beyond its budget';
	ok !$n->gone, 'full disk: and waits';
	unlink "$disk/filler";
	$n->wait_serving;
	$c = $n->client;
	takes_writes( $n, $c, 'full disk, freed' );
	is $c->cmd(qw(GET k3)), undef, 'full disk: what was deleted is';
	is length( $c->cmd( 'GET', "k" . ( 63 + $took ) ) // '' ), 16_000,
	  'full disk: what was answered is there';
	$filler->();
	fill( $c, 8192 );
	ok $n->trouble('store_full'), 'full disk: once more';
	unlink "$disk/filler";
	takes_writes( $n, $c, 'full disk, freed while it runs' );
	$filler->();
	fill( $c, 8192 );
	ok $n->trouble('store_full'), 'full disk: and once more';
	is $c->cmd('FLUSHALL'), 'OK', 'full disk: FLUSHALL is taken';
	takes_writes( $n, $c, 'full disk, flushed' );
	is $c->cmd('DBSIZE'), 1, 'full disk, flushed: what came after is there';
	$n->kill9->start;
	$c = $n->client;
	is $c->cmd('DBSIZE'), 1, 'full disk, flushed: after a boot, too';
	is $n->stop, 0, 'full disk: stopped';
}

# A write that a limit of a file's size cuts short is no fault of the disk.
SKIP: {
	my $n = Nodelife->new->start;
	my $w = $n->workers->{checkpoint};
	skip 'there is no prlimit(1)', 1
	  if system( 'prlimit', "--pid=$w", '--fsize=1000000:' ) != 0;
	my $c = $n->client;
	$c->cmd( 'SET', "k$_", 'v' x 200_000 ) for 1 .. 30;
	my ( $code, undef, $err ) =
	  $n->run( 'nodelifectl', '-r', $n->{run}, 'checkpoint' );
	is $code, 1, 'a checkpoint beyond the limit fails';
	like $err, qr/File too large: .*ulimit -f/, 'for the limit';
	unlike $err, qr/replace/, 'and nobody is told to replace the disk';
	system 'prlimit', "--pid=$w", '--fsize=unlimited:';
	is $n->stop, 0, 'stopped';
}

# No process to be had for writing one; and one that is ended by a limit.
SKIP: {
	my ( $uid, $gid ) = ( getpwnam 'nobody' )[ 2, 3 ];
	skip 'not root, or there is no nobody', 1 if $> != 0 || !defined $uid;
	my $n = Nodelife->new( node => { user => 'nobody' }, store => \%small );
	$made = 0;
	chown $uid, $gid, $n->{dir}, $n->{run};
	$n->start;
	my $c = $n->client;
	fill( $c, 16 );
	my $w = $n->workers->{checkpoint};
	# As that user, whose process it is; up to the hard limit.
	my $limit = sub {
		my ($what) = @_;
		my $pid = fork // die;
		if ( $pid == 0 ) {
			POSIX::setgid($gid);
			POSIX::setuid($uid);
			exec 'prlimit', '--pid', $w, $what or POSIX::_exit(1);
		}
		waitpid $pid, 0;
		return $? == 0;
	};
	skip 'there is no prlimit(1)', 1 if !$limit->('--nproc=0:');
	my ( $took, $error ) = fill( $c, 8192 );
	my $why = qr/^ERR the store is full .*fork: Resource.*processes/;
	like $error, $why, "no fork: refused after $took writes";
	is_refusing( $n, $c, $why, 'no fork' );
	like( ( $n->run( 'nodelifectl', '-r', $n->{run}, 'status' ) )[1],
		qr/: serving, but no writes: .* full .*refused.*\ncheckpoint_failed: .*fork: .*processes/,
		'no fork: status has what it is and why' );
	ok $limit->('--nproc=1000:'), 'the limit is raised';
	takes_writes( $n, $c, 'no fork, then there is' );
	# At once: what is accepted runs ahead of what is applied.
	$limit->('--fsize=100000:');
	my @answers = $c->pipeline(
		map { [ 'SET', "burst$_", 'v' x 16_000 ] } 1 .. 2048 );
	my $last = grep { $_ eq 'OK' } @answers;
	cmp_ok $last, '<', 2048, "a burst: refused after $last writes";
	is length( $c->cmd( 'GET', "burst$last" ) // '' ), 16_000,
	  'a burst: what was answered is read';
	$error = ( fill( $c, 8192 ) )[1];
	like $error, qr/^ERR the store is full .*File too large/,
	  "a limit of a file's size: refused";
	ok $limit->('--fsize=unlimited:'), 'the limit is raised';
	takes_writes( $n, $c, "a limit of a file's size, raised" );
	is $n->workers->{checkpoint}, $w, 'the worker was there all along';
	is $n->stop, 0, 'no fork: stopped';
}
done_testing;
