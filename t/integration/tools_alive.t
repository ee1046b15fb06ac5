# A living node is not taken for dead: without the region's link or file, from
# another pid namespace, without a control socket. What answers is alive; then
# the lock of the process id file; pids come last.
use strict;
use warnings;
use Nodelife;
use Fcntl qw(FD_CLOEXEC F_SETFD O_RDWR);
use File::Path ();
use POSIX ();
use Test::More;
use World;

my $n = Nodelife->new;
# A region that nothing leads to is ours to remove.
my @regions;
END {
	local $?;
	unlink @regions;
	system "umount -l '$n->{run}' 2>/dev/null" if $n;
}

sub lose_region {
	push @regions, readlink "$n->{run}/region";
	unlink "$n->{run}/region";
	return;
}

sub ctl { return $n->run( 'nodelifectl', '-r', $n->{run}, @_ ) }

my ( $code, $out, $err ) = ctl('status');
is $code, 69, 'status: no node: 69';
like $err, qr/no node runs/, 'says so';
$n->start;
( $code, $out ) = ctl('status');
is $code, 0, 'status: 0';
is $out, "running, pid $n->{pid}: serving\n", 'who and how';
is sprintf( '%o', ( stat "$n->{run}/nodelifed.pid" )[2] & 07777 ), '640',
  'others cannot lock the process id file';

# The link, then the file: the tools cannot look, but know. The supervisor, which
# makes them again, rests meanwhile.
kill 'STOP', $n->{pid};
lose_region();
( $code, undef, $err ) = $n->run( 'nodelifestat', '-r', $n->{run} );
is $code, 1, 'nodelifestat without the link';
like $err, qr/the node runs \(pid $n->{pid}\), but its region is not there/,
  'says that the node runs';
is_deeply [ ctl('status') ],
  [ 0, "running, pid $n->{pid}: its region is not to be had\n", '' ],
  'so does status';
symlink "$regions[0].none", "$n->{run}/region";
( $code, undef, $err ) = $n->run( 'nodelifestat', '-r', $n->{run} );
like $err, qr/the node runs/, 'the same where the file is gone';
kill 'CONT', $n->{pid};
( $code, undef, $err ) = ctl('stop');
is $code, 0, "stop: $err";
ok $n->gone, 'it is gone when stop returns';
is $n->wait_exit, 0, 'in order';
unlink "$n->{run}/region";

# Neither region nor socket: the lock tells, a signal is heard. The supervisor
# rests until it has come.
$n->start;
kill 'STOP', $n->{pid};
lose_region();
unlink "$n->{run}/control.sock";
( $code, undef, $err ) = ctl('config');
is $code, 1, 'config without a socket: 1, not 69';
like $err, qr/though the node runs \(supervisor pid $n->{pid}\)/, 'says so';
my $stop = $n->run_begin( 'nodelifectl', '-r', $n->{run}, 'stop' );
wait_until {
	slurp("/proc/$n->{pid}/status") =~ /^ShdPnd:\s*(\w+)/m && hex($1) & 1 << 14;
};
kill 'CONT', $n->{pid};
( $code, undef, $err ) = $n->run_end($stop);
is $code, 0, "stop without it: $err";
like $err, qr/sent SIGTERM/, 'by signal';
is $n->wait_exit, 0, 'in order';

# A file in the place of run_dir: nothing is to be seen, which is no proof.
$n->start;
{
	rename $n->{run}, "$n->{run}.away" or die;
	open my $f, '>', $n->{run} or die;
	for my $cmd (qw(status config stop)) {
		( $code, undef, $err ) = ctl( qw(-t 5), $cmd );
		is $code, 1, "$cmd: a file is in run_dir's place: 1, not 69";
		like $err, qr/\Q$n->{run}\E: .*no directory.*move away.*makes it again/,
		  'what is and what helps';
	}
	unlink $n->{run};
	eventually { ( ctl('config') )[0] == 0 } 'which is true';
	is $n->stop, 0, 'stopped';
	File::Path::remove_tree("$n->{run}.away");
}

# Something mounted over run_dir hides the node, not the lock of its data.
SKIP: {
	$n->start;
	if ( system("mount -t tmpfs -o ro nodelife-test '$n->{run}' 2>/dev/null") != 0 ) {
		$n->stop;
		skip 'cannot mount a tmpfs here', 15;
	}
	for my $cmd (qw(status drain config stop)) {
		( $code, undef, $err ) = $n->run( 'nodelifectl', '-c', $n->{ini}, '-t', 5, $cmd );
		is $code, 1, "$cmd: run_dir is covered: 1, not 69";
		like $err,
		  qr{\Q$n->{data}\E/lock: in use by pid $n->{pid} .*\Q$n->{run}\E.*findmnt.*if run_dir was changed in},
		  'by whom it is known, and what helps';
		unlike $err, qr/start it/, 'a second one is not';
	}
	system "umount '$n->{run}'";
	eventually { ( ctl('config') )[0] == 0 } 'uncovered: it answers';
	is $n->stop, 0, 'stopped';
	is( ( $n->run( 'nodelifectl', '-c', $n->{ini}, 'status' ) )[0],
		69, 'and then none runs' );
}

# What the kernel keeps of a node whose supervisor is gone hides nothing.
{
	my $left = World::holder( 'nodelifed: wal [n1]', "$n->{data}/lock" );
	for my $cmd (qw(status drain stop)) {
		( $code, undef, $err ) = $n->run( 'nodelifectl', '-c', $n->{ini}, '-t', 5, $cmd );
		is $code, 1, "$cmd: a worker is left: 1";
		like $err, qr{\Q$n->{data}\E/lock: in use by pid $left \(nodelifed: wal \[n1\]\), .*dmesg},
		  'which, and what to look at';
		unlike $err, qr/mounted over|start it/, 'nothing is mounted, none is to be started';
	}
	kill 'KILL', $left;
	waitpid $left, 0;
	is( ( $n->run( 'nodelifectl', '-c', $n->{ini}, 'status' ) )[0], 69, 'then none runs' );
}

# A file system that never answers does not hold up who has a deadline.
SKIP: {
	my $why = World::lacks(qw(root fuse));
	skip $why, 4 if $why;
	my $hung = "$n->{dir}/hung";
	mkdir $hung;
	sysopen my $dev, '/dev/fuse', O_RDWR or die "/dev/fuse: $!";
	fcntl $dev, F_SETFD, 0;
	World::keep( umount => $hung );
	World::must( 'mount', '-i', '-t', 'fuse', '-o',
		'fd=' . fileno($dev) . ',rootmode=40755,user_id=0,group_id=0', 'hung', $hung );
	fcntl $dev, F_SETFD, FD_CLOEXEC;
	$n->configure( node => { data_dir => "$hung/data" } );
	for my $cmd (qw(status stop)) {
		my $run = $n->run_begin( 'nodelifectl', '-c', $n->{ini}, '-t', 1, $cmd );
		my $done = wait_until { waitpid( $run->{pid}, POSIX::WNOHANG() ) != 0 };
		is $done && $? >> 8, 2, "$cmd: data_dir's file system hangs: 2";
		like slurp("$run->{out}.err"), qr{\Q$hung\E/data/lock: .*does not answer.*findmnt},
		  'says so';
		kill 'KILL', $run->{pid} if !$done;
	}
	close $dev;    # now it fails
	system "umount -l '$hung'";
	World::drop( umount => $hung );
	$n->configure( node => { data_dir => $n->{data} } );
}

# What serves reads only says so.
$n->configure( boot => { recovery_mode => 'readonly' } )->start;
like( ( ctl('status') )[1], qr/: serving reads only: recovery mode readonly$/,
	'readonly' );
is $n->stop, 0, 'stopped';
$n->configure( boot => { recovery_mode => undef } );

# Another's process in the process id file is never signalled.
$n->start;
my $bystander = fork // die;
if ( !$bystander ) { Nodelife::die_with_parent(); sleep 600; POSIX::_exit(0) }
lose_region();
unlink "$n->{run}/control.sock";
{ open my $f, '+<', "$n->{run}/nodelifed.pid" or die; print $f "$bystander" }
( $code, undef, $err ) = ctl(qw(-t 5 stop));
is $code, 1, "a number that is not the lock's: $err";
is waitpid( $bystander, POSIX::WNOHANG() ), 0, 'is not signalled';
kill 'KILL', $bystander;
waitpid $bystander, 0;
is $n->stop, 0, 'stopped';

# From another pid namespace, where its number means nobody.
SKIP: {
	my @other = qw(unshare --pid --fork --mount-proc);
	skip 'no pid namespaces here', 7
	  if system("@other true >/dev/null 2>&1") != 0;
	my $from = sub {
		my $text = `@other @{[build_dir()]}/@_ 2>&1`;
		return ( $? >> 8, $text );
	};
	$n->start;
	( $code, $out ) = $from->("nodelifestat -r $n->{run} -j");
	is $code, 0, 'nodelifestat from another namespace';
	is eval { JSON::PP::decode_json($out)->{state} }, 'live', 'live' or diag $out;
	is_deeply [ $from->("nodelifectl -r $n->{run} status") ],
	  [ 0, "running: serving\n" ], 'status';
	( $code, $out ) = $from->("nodelifectl -r $n->{run} stop");
	is $code, 0, "stop: $out";
	eventually { $n->gone } 'it is gone, which is not to be seen from there';
	is $n->wait_exit, 0, 'in order';
	is( ( $from->("nodelifectl -r $n->{run} stop") )[0], 69, 'and then 69' );
}
done_testing;
