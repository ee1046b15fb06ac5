# A start whose files are not the node's user's, or are not there at all: told
# as what it is, with the file and the command that helps; nothing is changed,
# and who obeys loses nothing.
use strict;
use warnings;
use Nodelife;
use Test::More;

plan skip_all => 'not root: cannot be somebody else' if $> != 0;

my $n = Nodelife->new( node => { user => 'nobody' } );
chmod 0755, $n->{dir};
my ($uid) = ( getpwnam 'nobody' )[2];
chown $uid, -1, $n->{run};
$n->start;
is $n->client->cmd(qw(SET k v)), 'OK', 'a node of nobody';
is $n->stop, 0, 'which stopped';

sub start_says {
	my ( $want, $like, $name ) = @_;
	my ( $code, undef, $err ) = $n->run( 'nodelifed', '-f', '-c', $n->{ini} );
	is $code, $want, "$name: exit $want";
	like $err, $like, "$name: says what and how";
	unlike $err, qr/restore|force/, "$name: nothing is to be given up";
	return $err;
}

# Each file that workers open, root's as after a copy: one line, and its
# command mends it.
for my $file (
	qw(state members node wal store store/data.mdb store/lock.mdb reserve),
	( map { s/^\Q$n->{data}\E\///r } glob "$n->{data}/wal/*.seg" ) )
{
	my $path = "$n->{data}/$file";
	next if !-e $path;
	my $mode = -d $path ? 0700 : 0600;
	chown 0, 0, $path;
	chmod $mode, $path;
	my $err = start_says( 77,
		qr{\Q$path\E: open: Permission denied for user nobody \(owner root, mode 0[67]00\)},
		"$file is root's" );
	my ($command) = $err =~ /: (chown (?:-R )?\S+ \S+)$/m;
	my $all = -d $path ? ' -R' : '';
	is $command, "chown$all nobody: $path", "$file: the command";
	system $command;
}
chmod 0440, "$n->{data}/state";
like start_says( 77, qr/owner nobody, mode 0440/, 'mode' ),
  qr{: chmod u\+rw \Q$n->{data}\E/state$}m, 'a mode is told as one';
chmod 0640, "$n->{data}/state";
chown 0, 0, map { "$n->{data}/$_" } qw(state node);
like start_says( 77, qr/, and 1 more/, 'two' ),
  qr{: chown -R nobody: \Q$n->{data}\E$}m, 'of several, all';
system "chown -R nobody: '$n->{data}'";
{
	open my $f, '>', "$n->{data}/notes" or die;
	mkdir "$n->{data}/lost+found", 0700;
}
$n->start;
is $n->client->cmd(qw(GET k)), 'v', 'after that it serves, whatever else is there';
is $n->stop, 0, 'and stops';

# The way to it: the directory that bars it is named, and none is to be given
# away for that.
chmod 0700, $n->{dir};
$_ = start_says( 77,
	qr{\Q$n->{data}\E: open: Permission denied for user nobody, who may not pass \Q$n->{dir}\E \(owner root, mode 0700\): .* nothing is changed},
	'a directory above' );
unlike $_, qr{: chown \S+ /}, 'no command gives it away';
chmod 0755, $n->{dir};
$n->start;
is $n->stop, 0, 'it starts when it is open again';

# Without root: the same, as oneself; and a log that root's start has made.
sub as_nobody {
	my (@args) = @_;
	my $pid = fork // die;
	if ( $pid == 0 ) {
		$( = $) = "$uid $uid";
		POSIX::setuid($uid);
		open STDIN,  '<', '/dev/null';
		open STDOUT, '>', "$n->{dir}/said";
		open STDERR, '>&', \*STDOUT;
		exec "$n->{dir}/nodelifed", @args or POSIX::_exit(127);
	}
	waitpid $pid, 0;
	return ( $? >> 8, slurp("$n->{dir}/said") );
}
system 'cp', build_dir() . '/nodelifed', "$n->{dir}/nodelifed";
chmod 0755, "$n->{dir}/nodelifed";
chmod 0777, $n->{dir};
$n->configure( node => { user => undef } );
chown 0, 0, "$n->{data}/state";
my ( $code, $said ) = as_nobody( '-f', '-c', $n->{ini} );
is $code, 77, 'unprivileged: refused';
like $said, qr{: chown nobody: \Q$n->{data}\E/state$}m, 'and told the same';
chown $uid, $uid, "$n->{data}/state";
my $log = "$n->{dir}/logs";
mkdir $log, 0755;
{ open my $f, '>', "$log/node.log" or die }
chmod 0640, "$log/node.log";
$n->configure( node => { log => "$log/node.log" } );
( $code, $said ) = as_nobody( '-f', '-c', $n->{ini} );
is $code, 77, "a log of root's: refused";
like $said, qr{\Q$log/node.log\E: open \[node\] log: Permission denied.*: chown nobody: \Q$log/node.log\E$}m,
  'with its file and the command';
$n->configure( node => { user => 'nobody' } )->start;
is $n->stop, 0, "a start by root with user = nobody";
is( ( stat "$log/node.log" )[4], $uid, 'gives it to nobody' );
$n->configure( node => { user => undef } );
( $code, $said ) = as_nobody( '-c', $n->{ini} );
is $code, 0, 'so that nobody may start it' or diag $said;
$n->adopt( slurp("$n->{run}/nodelifed.pid") + 0 );
$n->wait_serving;
is $n->client->cmd(qw(GET k)), 'v', 'and it serves';
$n->stop;
$n->configure( node => { user => 'nobody', log => 'stderr' } );

# A node that root starts, started by another: the one file that is met first is
# not all that lacks.
{
	my $m = Nodelife->new;
	chmod 0755, $m->{dir};
	$m->start;
	my $try = sub {
		( $code, $said ) = as_nobody( '-f', '-c', $m->{ini} );
		is $code, 77, 'a node of root, started by nobody: refused';
		like $said,
		  qr{\Q$m->{run}\E/nodelifed.pid: open: Permission denied: .*start the node as root, .*when none runs}m,
		  'root is the way';
	};
	$try->();
	is $m->client->cmd(qw(SET k v)), 'OK', 'the one that runs goes on';
	is $m->stop, 0, 'stopped';
	{ open my $f, '>', "$m->{run}/nodelifed.pid" or die }
	$try->();
	my ($command) = $said =~ /: (chown -R \S+ \S+ \S+)$/m;
	is $command, "chown -R nobody: $m->{run} $m->{data}", 'or all of it is given';
	system $command;
	chmod 0777, $m->{dir};
	( $code, $said ) = as_nobody( '-c', $m->{ini} );
	is $code, 0, 'which is enough' or diag $said;
	$m->adopt( slurp("$m->{run}/nodelifed.pid") + 0 );
	$m->wait_serving;
	is $m->client->cmd(qw(GET k)), 'v', 'to serve the same data';
	$m->stop;
}

# Who may look into run_dir may lock it, and the process id file if he could
# read it: that keeps nobody from starting.
{
	my $locked = "$n->{dir}/locked";
	chmod 0755, $n->{run};
	my $pid = fork // die;
	if ( $pid == 0 ) {
		Nodelife::die_with_parent();
		$( = $) = '65533 65533';
		POSIX::setuid(65533);
		my @held;
		for my $path ( $n->{run}, "$n->{run}/nodelifed.pid" ) {
			open my $f, '<', $path or next;
			flock $f, 2 | 4;    # LOCK_EX | LOCK_NB
			push @held, $f;
		}
		open my $f, '>', $locked if @held;
		sleep 600;
		POSIX::_exit(0);
	}
	wait_until { -e $locked };
	ok -e $locked, 'run_dir is locked by a stranger';
	$n->start;
	is $n->client->cmd('PING'), 'PONG', 'the node starts all the same';
	is_deeply [ glob "$n->{run}/.*.lock" ], [], 'and leaves no lock behind';
	is $n->stop, 0, 'stopped';
	kill 'KILL', $pid;
	waitpid $pid, 0;
}

# A file system that takes nothing is a fault of the machine: a service manager
# tries again, which it does not after 77.
SKIP: {
	skip 'cannot mount a tmpfs here', 4
	  if system("mount -t tmpfs nodelife-test '$n->{run}'") != 0;
	for my $how ( [ 'ro', 'Read-only' ], [ 'remount,rw,size=4k', 'No space' ] ) {
		if ( $how->[0] eq 'ro' ) { system "mount -o remount,ro '$n->{run}'" }
		else {
			system "mount -o $how->[0] '$n->{run}'";
			open my $f, '>', "$n->{run}/filler" or die;
			$f->autoflush;
			1 while syswrite $f, 'f' x 4096;
		}
		start_says( 73, qr{\Q$n->{run}\E\S*: .*: $how->[1]}, "run_dir: $how->[1]" );
	}
	system "umount '$n->{run}'";
}

# A mount that is missing: not to be founded.
my $m = Nodelife->new;
my $fstab = "$m->{dir}/fstab";
{ open my $f, '>', $fstab or die; print $f "/dev/nothing $m->{dir}/disk ext4 noauto 0 0\n" }
mkdir "$m->{dir}/disk";
$m->configure( node => { data_dir => "$m->{dir}/disk/data" } );

sub without_mount {
	my (@args) = @_;
	my $in = build_dir() . "/nodelifed @args -c '$m->{ini}'";
	my $out = `unshare -m sh -c "mount --bind '$fstab' /etc/fstab && $in" 2>&1`;
	return ( $? >> 8, $out );
}
for ( ['-f'], ['--init'] ) {
	last if system('unshare -m true 2>/dev/null') != 0;
	( $code, $said ) = without_mount(@$_);
	is $code, 78, "@$_ on an empty mount point: refused";
	like $said, qr{/data: [^:]+: /etc/fstab has a file system for it, which is not mounted: .*: mount \Q$m->{dir}\E/disk$}m,
	  'says what is missing';
	ok !-e "$m->{dir}/disk/data", 'nothing was made';
}
( $code, undef, $said ) = $m->run( 'nodelifed', '-f', '-c', $m->{ini} );
is $code, 78, 'where nothing is known of a mount';
like $said, qr{does not exist: nothing is changed: .*mounted.*only if there never was one},
  'that comes first all the same';
$m->configure( node => { data_dir => "$m->{dir}/a/b/data" } );
( $code, undef, $said ) = $m->run( 'nodelifed', '--init', '-c', $m->{ini} );
is $code, 0, "a founding makes what lies above, too: $said";
is sprintf( '%o', ( stat "$m->{dir}/a/b" )[2] & 07777 ), '755', 'open to all';
$m->configure( node => { user => 'no-such-user' } );
( $code, undef, $said ) = $m->run( 'nodelifed', '-f', '-c', $m->{ini} );
is $code, 78, 'no such user';
like $said, qr/no such user: useradd .* no-such-user$/m, 'and how to make it';
done_testing;
