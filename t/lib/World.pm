# A world that fails, in small: disks of one's own that fill, hang, slow down
# or answer with errors, control groups, a small /dev/shm, a clock of one's own.
#
#	my $why = World::lacks(qw(root loop fuse));	# '' or what is missing
#	my $disk = World::Disk->new( size => '64M', faulty => 1 );
#	my $n = Nodelife->new( node => { data_dir => $disk->dir . '/data' } );
#	$disk->say( write => 'EIO' ); ... $disk->say;	# and well again
#
# All of it ends with the test, also when that dies: a keeper, a process that
# holds nothing but a list, undoes what stands on the list when the test's end
# of a pipe is gone. A frozen disk thaws by itself after a bound. Machines lack
# things (a container has no loop devices): ask first, skip with the answer.
package World;

use strict;
use warnings;
use Carp;
use Cwd        ();
use Fcntl      qw(LOCK_EX);
use File::Path ();
use File::Temp ();
use Nodelife;
use POSIX       ();
use Time::HiRes ();

my ( $keeper, $keeper_pid );    # the pipe to it
my $owner = $$;

# A command: its output, undef if it failed; $World::error says how.
our $error = '';

sub try {
	my (@command) = @_;
	open my $h, '-|', '( ' . join( ' ', map { quoted($_) } @command ) . ' ) 2>&1'
	  or croak "@command: $!";
	local $/;
	my $out = <$h> // '';
	close $h;
	$out =~ s/\n\z//;
	return $out if $? == 0;
	$error = "@command: $out";
	return;
}

sub quoted { return "'" . $_[0] =~ s/'/'\\''/gr . "'" }

sub must {
	my (@command) = @_;
	return try(@command) // croak $error;
}

# Write a control file; false, and why in $!, if it does not take it.
sub put {
	my ( $file, $text ) = @_;
	open my $f, '>', $file or return 0;
	my $n = syswrite $f, $text;
	return close($f) && defined $n;
}

# What this machine lacks of these, '' if nothing: root, loop, fuse, freeze,
# shm, prlimit, and a control group's name.
sub lacks {
	my (@what) = @_;
	for (@what) {
		my $why =
		    $_ eq 'root'   ? $> != 0 && 'not root'
		  : $_ eq 'loop'   ? lacks_loop()
		  : $_ eq 'fuse'   ? !-w '/dev/fuse' && 'no /dev/fuse'
		  : $_ eq 'freeze' ? !defined which('fsfreeze') && 'no fsfreeze(8)'
		  : $_ eq 'shm'    ? lacks_shm()
		  : $_ eq 'prlimit' ? !defined which('prlimit') && 'no prlimit(1)'
		  :                  World::Group::lacks($_);
		return $why if $why;
	}
	return '';
}

sub which {
	my ($name) = @_;
	for my $d ( split( /:/, $ENV{PATH} ), qw(/usr/sbin /sbin) ) {
		return "$d/$name" if -x "$d/$name";
	}
	return;
}

sub lacks_loop {
	return 'no mkfs.ext4' if !defined which('mkfs.ext4');
	return 'no loop devices' if !-e '/dev/loop-control';
	return !defined try( 'losetup', '-f' ) && "no loop device: $error";
}

sub lacks_shm {
	return 'nodes live in /dev/shm, which this hides'
	  if Cwd::abs_path( tmp_dir() ) =~ m{^/dev/shm/};
	return ( POSIX::uname() )[4] ne 'x86_64'
	  && 'the number of unshare() is not known here';
}

# A /dev/shm of this size for this process and what it starts from now on, in a
# mount namespace that ends with them. Why there is none, or ''.
sub own_shm {
	my ($size) = @_;
	my $why = lacks(qw(root shm));
	return $why if $why;
	# unshare(CLONE_NEWNS)
	return "cannot unshare: $!" if syscall( 272, 0x20000 ) != 0;
	return defined try( 'mount', '--make-rprivate', '/' )
	  && defined try( 'mount', '-t', 'tmpfs', '-o', "size=$size", 'none',
		'/dev/shm' ) ? '' : $error;
}

# Take what is left of a file system, but about so many KiB; returns the file.
sub fill {
	my ( $dir, $leave_kb ) = @_;
	my $file = "$dir/filler";
	my $left = free_kb($dir) - ( $leave_kb // 0 );
	open my $f, '>>', $file or croak "$file: $!";
	for my $kb ( 256, $leave_kb ? () : ( 4, 1 ) ) {
		while ( $left > 0 || !$leave_kb ) {
			my $n = syswrite( $f, 'f' x ( $kb * 1024 ) ) or last;
			$left -= $n / 1024;
		}
	}
	close $f;
	return $file;
}

sub free_kb {
	my ($dir) = @_;
	return ( must( 'df', '-k', '--output=avail', $dir ) =~ /(\d+)\s*$/ )[0];
}

# A process of this title that has locked the file, as what the kernel keeps of a
# node that is gone; its pid. It ends with the test.
sub holder {
	my ( $title, $file ) = @_;
	pipe my $told, my $tell or croak "pipe: $!";
	my $pid = fork // croak "fork: $!";
	if ( $pid == 0 ) {
		Nodelife::die_with_parent();
		$0 = $title;
		open my $f, '+<', $file or POSIX::_exit(1);
		flock $f, LOCK_EX or POSIX::_exit(1);
		syswrite $tell, '.';
		close $tell;
		sleep 600;
		POSIX::_exit(0);
	}
	close $tell;
	sysread $told, my $byte, 1 or croak "$file: cannot be locked";
	return $pid;
}

# The environment for a program whose wall clock is apart from the machine's by
# what $file says, in seconds, as of now: it may change while it runs.
sub clock {
	my ($file) = @_;
	my $lib = build_dir() . '/t/lib/clock_shift.so';
	return if !-e $lib;
	return (
		LD_PRELOAD      => $lib,
		WORLD_CLOCK     => $file,
		ASAN_OPTIONS    => join( ':', $ENV{ASAN_OPTIONS} // (),
			'verify_asan_link_order=0' ),
	);
}

# --- The keeper -------------------------------------------------------------

my %undo = (
	thaw   => sub { system "fsfreeze -u $_[0] 2>/dev/null" },
	kill   => sub { kill 'KILL', $_[0] },
	umount => sub { system "umount $_[0] 2>/dev/null || umount -l $_[0] 2>/dev/null" },
	loop   => sub { system "losetup -d $_[0] 2>/dev/null" },
	tree   => sub { File::Path::remove_tree( $_[0] ) },
	group  => sub { World::Group::remove( $_[0] ) },
);
# First what sets free who hangs, then in reverse.
my @first = qw(thaw kill);

sub keep {
	my ( $kind, $what, $seconds ) = @_;
	start_keeper() if !$keeper;
	syswrite $keeper, join( "\t", '+', $kind, $what, $seconds // 0 ) . "\n";
	return;
}

sub drop {
	my ( $kind, $what ) = @_;
	syswrite $keeper, "-\t$kind\t$what\n";
	return;
}

sub start_keeper {
	pipe my $in, $keeper or croak "pipe: $!";
	$keeper_pid = fork // croak "fork: $!";
	return close $in if $keeper_pid;
	close $keeper;
	POSIX::setpgid( 0, 0 );
	$SIG{$_} = 'IGNORE' for qw(INT TERM HUP);
	$0 = 'world keeper';    # t/exec ends it last
	my $null = POSIX::open( '/dev/null', POSIX::O_RDWR() );
	POSIX::dup2( $null, $_ ) for 0, 1;
	chdir '/';
	keeper_undo( keeper_list($in) );
	POSIX::_exit(0);
}

# What has been made, when all of it shall go.
sub keeper_list {
	my ($in) = @_;
	my ( @list, $buf );
	while (1) {
		vec( my $r = '', fileno $in, 1 ) = 1;
		my $n = select $r, undef, undef, 0.2;
		last if getppid != $owner;
		for my $l ( grep { $_->[2] && $_->[2] <= now() } @list ) {
			$undo{ $l->[0] }->( $l->[1] );
			$l->[2] = 0;
		}
		next if $n <= 0;
		sysread $in, $buf, 4096, length( $buf // '' ) or last;
		while ( $buf =~ s/^(.*)\n// ) {
			my ( $op, $kind, $what, $seconds ) = split /\t/, $1;
			return \@list if $op eq '.';
			@list = grep { "@$_[0, 1]" ne "$kind $what" } @list;
			push @list, [ $kind, $what, $seconds && now() + $seconds ]
			  if $op eq '+';
		}
	}
	return \@list;
}

sub keeper_undo {
	my ($list) = @_;
	for my $first (@first) {
		$undo{$first}->( $_->[1] ) for grep { $_->[0] eq $first } @$list;
	}
	for my $l ( reverse @$list ) {
		$undo{ $l->[0] }->( $l->[1] ) if !grep { $_ eq $l->[0] } @first;
	}
	return;
}

# Who waits for a disk is set free, nodes end, then what they stood on goes.
END {
	if ( $$ == $owner && $keeper ) {
		my $code = $?;
		$_->well for World::Disk::all();
		Nodelife::clean_up();
		syswrite $keeper, ".\n";
		waitpid $keeper_pid, 0;
		$? = $code;
	}
}

# --- Disks ------------------------------------------------------------------

package World::Disk;

use strict;
use warnings;
use Carp;
use Errno ();
use Nodelife;
use POSIX ();

my @disks;

sub all { return @disks }

# size; fs: 'ext4' on a loop device (mkfs: more of its options), or 'tmpfs'
# (which needs no more than root); faulty: its requests go through a process
# that delays or refuses them as say() wants. An ext4 has no journal here unless
# asked for: one that lost a write is read-only until it is mounted again.
sub new {
	my ( $class, %o ) = @_;
	my $top = File::Temp::tempdir( 'world.XXXXXX', DIR => tmp_dir() );
	chmod 0755, $top;
	World::keep( tree => $top );
	my $self = bless { top => $top, dir => "$top/disk", size => '64M', %o },
	  $class;
	mkdir $self->{dir};
	if ( ( $self->{fs} // '' ) eq 'tmpfs' ) { $self->mount_tmpfs }
	else                                    { $self->make_ext4 }
	push @disks, $self;
	return $self;
}

sub dir { return $_[0]{dir} }

# The file behind it.
sub image { return $_[0]{image} }

sub mount_tmpfs {
	my ($self) = @_;
	World::keep( umount => $self->{dir} );
	World::must( 'mount', '-t', 'tmpfs', '-o',
		join( ',', "size=$self->{size}", 'mode=0755', @{ $self->{options} // [] } ),
		'world', $self->{dir} );
	return;
}

sub make_ext4 {
	my ($self) = @_;
	$self->{image} = "$self->{top}/image";
	World::must( 'truncate', '-s', $self->{size}, $self->{image} );
	World::must( 'mkfs.ext4', '-q', '-F', '-m', 0, '-E',
		'lazy_itable_init=0,nodiscard', '-O',
		$self->{journal} ? 'has_journal' : '^has_journal',
		@{ $self->{mkfs} // [] }, $self->{image} );
	if ( $self->{faulty} ) {
		$self->{server} = World::Server->new( $self->{image}, "$self->{top}/server" );
		$self->{image} = "$self->{top}/server/image";
	}
	$self->attach;
	return;
}

sub attach {
	my ($self) = @_;
	$self->{loop} = World::must( 'losetup', '-f', '--show',
		$self->{faulty} ? '--direct-io=on' : (), $self->{image} );
	World::keep( loop => $self->{loop} );
	World::keep( umount => $self->{dir} );
	World::must( 'mount', '-t', 'ext4', '-o', 'noatime', $self->{loop},
		$self->{dir} );
	return;
}

# "8:1", what control groups call it.
sub number {
	my ($self) = @_;
	my $d = ( stat( $self->{loop} // $self->{dir} ) )[ $self->{loop} ? 6 : 0 ];
	return ( ( $d >> 8 ) & 0xfff ) . ':' . ( ( $d & 0xff ) | ( $d >> 12 & 0xfff00 ) );
}

sub fill    { my ( $self, $leave_kb ) = @_; return World::fill( $self->{dir}, $leave_kb ) }
sub free_kb { return World::free_kb( $_[0]{dir} ) }
sub empty   { unlink "$_[0]{dir}/filler"; return }

# The next read of this file asks the disk.
sub forget {
	my ( $self, $file ) = @_;
	World::try( 'dd', "if=$file", 'iflag=nocache', 'count=0' );
	return;
}

# Use up its inodes, but so many.
sub fill_inodes {
	my ( $self, $leave ) = @_;
	mkdir "$self->{dir}/inodes";
	my $i = 0;
	while ( open my $f, '>', "$self->{dir}/inodes/" . $i++ ) { close $f }
	unlink "$self->{dir}/inodes/$_" for 0 .. ( $leave // 0 ) - 1;
	return;
}

sub empty_inodes { File::Path::remove_tree("$_[0]{dir}/inodes"); return }

# Writes wait in the kernel, for so long at most (30 s).
sub freeze {
	my ( $self, $seconds ) = @_;
	World::keep( thaw => $self->{dir}, $seconds // 30 );
	World::must( 'fsfreeze', '-f', $self->{dir} );
	return;
}

sub thaw {
	my ($self) = @_;
	World::try( 'fsfreeze', '-u', $self->{dir} );
	World::drop( thaw => $self->{dir} );
	return;
}

# What a faulty one does with `read`, `write`, `flush` and `stat` from now on, the
# last of the file behind it: an error's name, 'hang', or so many milliseconds
# that each takes. Nothing said: it is well, and answers what hung.
sub say {
	my ( $self, %faults ) = @_;
	$self->{server}->say(%faults);
	return;
}

# As an admin does, who finds no file open for writing.
sub remount {
	my ( $self, $how ) = @_;
	World::must( 'mount', '-o', "remount,$how", $self->{dir} );
	return;
}

# Read-only for good, as after a journal that failed: a file that is open for
# writing refuses them, too (EROFS), which no orderly remount would do.
sub abort {
	my ($self) = @_;
	World::must( 'sync', '-f', $self->{dir} );
	World::must( 'mount', '-o', 'remount,abort', $self->{dir} );
	return;
}

# What an admin does then: another mount of it in its place. Of a copy: who has
# files open on the old one keeps that.
sub mount_again {
	my ($self) = @_;
	World::try( 'blockdev', '--flushbufs', $self->{loop} );
	World::must( 'cp', '--sparse=always', $self->{image}, "$self->{image}+" );
	World::must( 'umount', '-l', $self->{dir} );
	$self->{image} .= '+';
	$self->attach;
	return;
}

# The process that serves a faulty one is killed: for good, for who has it open.
sub lose_server {
	my ($self) = @_;
	kill 'KILL', $self->{server}{pid};
	waitpid $self->{server}{pid}, 0;
	World::drop( kill => $self->{server}{pid} );
	return;
}

# Checked and mounted again without it, as an admin does.
sub mount_without_server {
	my ($self) = @_;
	World::try( 'umount', '-l', $self->{dir} );
	World::try( 'losetup', '-d', $self->{loop} );
	World::try( 'umount', '-l', "$self->{top}/server" );
	delete @$self{qw(server faulty)};
	$self->{image} = "$self->{top}/image";
	World::try( 'e2fsck', '-fy', $self->{image} );
	$self->attach;
	return;
}

# Whatever makes others wait is over.
sub well {
	my ($self) = @_;
	$self->{server}->say if $self->{server};
	$self->thaw          if $self->{loop};
	return;
}

# --- The process behind a faulty disk: one file, over /dev/fuse --------------

package World::Server;

use strict;
use warnings;
use Carp;
use Errno ();
use Fcntl qw(O_RDWR SEEK_SET);
use IO::Socket::UNIX;
use Nodelife;
use POSIX  ();
use Socket ();

use constant {
	LOOKUP => 1, FORGET => 2, GETATTR => 3, SETATTR => 4, OPEN => 14,
	READ => 15, WRITE => 16, STATFS => 17, RELEASE => 18, FSYNC => 20,
	FLUSH => 25, START => 26, INTERRUPT => 36, BATCH_FORGET => 42,
};
use constant MAX => 1 << 20;    # bytes of one write

my %names = (
	READ, 'read', WRITE, 'write', FSYNC, 'flush', GETATTR, 'stat', LOOKUP, 'lookup'
);

sub new {
	my ( $class, $file, $dir ) = @_;
	mkdir $dir;
	# Before there is a device that the keeper would hold open.
	World::keep( umount => $dir );
	sysopen my $dev, '/dev/fuse', O_RDWR or croak "/dev/fuse: $!";
	socketpair my $ours, my $theirs, Socket::AF_UNIX(), Socket::SOCK_STREAM(), 0
	  or croak "socketpair: $!";
	# mount(2) looks the number up in who mounts.
	my $flags = fcntl $dev, POSIX::F_GETFD(), 0;
	fcntl $dev, POSIX::F_SETFD(), 0;
	my $number = fileno $dev;
	World::must( 'mount', '-i', '-t', 'fuse', '-o',
		"fd=$number,rootmode=40755,user_id=0,group_id=0,allow_other", 'world',
		$dir );
	fcntl $dev, POSIX::F_SETFD(), $flags;
	my $pid = fork // croak "fork: $!";
	if ( $pid == 0 ) {
		Nodelife::die_with_parent();
		$0 = 'world disk';
		close $ours;
		my $self = bless { dev => $dev, told => $theirs }, $class;
		$self->{size} = -s $file;
		sysopen $self->{file}, $file, O_RDWR or POSIX::_exit(1);
		eval { $self->serve; 1 } or print STDERR "# world disk: $@";
		POSIX::_exit(0);
	}
	World::keep( kill => $pid );
	close $dev;
	close $theirs;
	return bless { pid => $pid, tell => $ours }, $class;
}

# A mount of one that was killed: what is there says ENOTCONN.
sub mount_dead {
	my ( $class, $dir ) = @_;
	my $self = $class->new( '/dev/null', $dir );
	kill 'KILL', $self->{pid};
	waitpid $self->{pid}, 0;
	World::drop( kill => $self->{pid} );
	return $self;
}

# Returns when the process has taken it in.
sub say {
	my ( $self, %faults ) = @_;
	local $SIG{PIPE} = 'IGNORE';
	syswrite $self->{tell}, join( ' ', map { "$_=$faults{$_}" } sort keys %faults ) . "\n";
	sysread $self->{tell}, my $done, 1;
	return;
}

sub serve {
	my ($self) = @_;
	my ( $dev, $told ) = @$self{qw(dev told)};
	$self->{held} = [];
	while (1) {
		vec( my $r = '', fileno $dev, 1 ) = 1;
		vec( $r, fileno $told, 1 ) = 1;
		next if select( $r, undef, undef, undef ) <= 0;
		if ( vec $r, fileno $told, 1 ) {
			sysread $told, my $line, 4096 or return;
			$self->{faults} = { map { split /=/ } split ' ', $line };
			my @held = @{ $self->{held} };
			$self->{held} = [];
			$self->handle($_) for @held;
			syswrite $told, '.';
		}
		next if !vec $r, fileno $dev, 1;
		my $n = sysread $dev, my $request, MAX + 4096;
		return if !defined $n && !$!{EINTR} && !$!{ENOENT} && !$!{EAGAIN};
		$self->handle($request) if $n;
	}
}

sub answer {
	my ( $self, $unique, $error, $data ) = @_;
	$data //= '';
	syswrite $self->{dev}, pack( 'L l Q', 16 + length $data, -$error, $unique ) . $data;
	return;
}

# The error of a request that shall fail, 0, or undef while it hangs.
sub fault {
	my ( $self, $op ) = @_;
	my $f = $self->{faults}{ $names{$op} // '' } or return 0;
	return if $f eq 'hang';
	return Errno->can($f)->() if $f !~ /^[\d.]+$/;
	select undef, undef, undef, $f / 1000;
	return 0;
}

sub attributes {
	my ( $self, $node ) = @_;
	my @mode = $node == 1 ? ( 040755, 2 ) : ( 0100600, 1 );
	my $size = $node == 1 ? 0 : $self->{size};
	return pack 'Q6 L10', $node, $size, $size >> 9, 0, 0, 0, 0, 0, 0, @mode,
	  0, 0, 0, 4096, 0;
}

sub handle {
	my ( $self, $request ) = @_;
	my ( undef, $op, $unique, $node ) = unpack 'L L Q Q', $request;
	return if grep { $op == $_ } FORGET, BATCH_FORGET, INTERRUPT;
	my $error = $self->fault($op);
	return push @{ $self->{held} }, $request if !defined $error;
	return $self->answer( $unique, $error )  if $error;
	my $in = substr $request, 40;
	return $self->answer( $unique, 0, $self->done( $op, $node, $in ) // () )
	  if grep { $op == $_ } START, GETATTR, SETATTR, OPEN, READ, WRITE, STATFS,
	  RELEASE, FSYNC, FLUSH;
	return $self->answer( $unique, 0, pack( 'Q4 L2', 2, 0, 3600, 3600, 0, 0 )
		  . $self->attributes(2) )
	  if $op == LOOKUP && $in =~ /^image\0/;
	return $self->answer( $unique, $op == LOOKUP ? Errno::ENOENT() : Errno::ENOSYS() );
}

sub done {
	my ( $self, $op, $node, $in ) = @_;
	# Asynchronous reads, big writes, direct I/O beside each other.
	return pack 'L4 S2 L2 S2 L8', 7, 31, MAX, 1 | 1 << 5 | 1 << 15 | 1 << 22,
	  64, 48, MAX, 1, MAX >> 12, 0, (0) x 8
	  if $op == START;
	return pack( 'Q L2', 3600, 0, 0 ) . $self->attributes($node)
	  if $op == GETATTR || $op == SETATTR;
	return pack 'Q L2', 1, 1, 0 if $op == OPEN;    # FOPEN_DIRECT_IO
	return pack 'Q5 L10', 1 << 20, 0, 0, 1, 0, 4096, 255, 4096, (0) x 7
	  if $op == STATFS;
	return if $op != READ && $op != WRITE;
	my ( undef, $offset, $size ) = unpack 'Q Q L', $in;
	sysseek $self->{file}, $offset, SEEK_SET;
	if ( $op == WRITE ) {
		syswrite $self->{file}, $in, $size, 40;
		return pack 'L2', $size, 0;
	}
	my $data;
	sysread $self->{file}, $data, $size;
	return $data;
}

# --- Control groups, of either version ---------------------------------------

package World::Group;

use strict;
use warnings;
use Carp;
use Nodelife;

my $root = '/sys/fs/cgroup';
my $made = 0;

# Where groups of this controller live, undef if nowhere.
sub home {
	my ($controller) = @_;
	return "$root/$controller" if -e "$root/$controller/cgroup.procs";
	my $all = slurp("$root/cgroup.controllers") // return;
	my $name = $controller eq 'blkio' ? 'io' : $controller;
	return if $all !~ /\b$name\b/;
	World::put( "$root/cgroup.subtree_control", "+$name" );
	return $root;
}

sub lacks {
	my ($controller) = @_;
	my $home = home($controller) // return "no $controller control group here";
	my $dir  = "$home/world-try.$$";
	mkdir $dir or return "cannot make $dir: $!";
	rmdir $dir;
	return '';
}

sub new {
	my ( $class, $controller ) = @_;
	my $home = home($controller) // croak "no $controller control group";
	my ($own) = slurp('/proc/self/cgroup') =~
		  /^\d+:(?:[\w,]*\b$controller\b[\w,]*|):(.*)$/m;
	$own //= "";
	my $dir = "$home/world.$$." . $made++;
	mkdir $dir or croak "$dir: $!";
	World::keep( group => $dir );
	return bless { dir => $dir, v2 => $home eq $root,
		back => -d "$home$own" ? "$home$own" : $home }, $class;
}

sub add {
	my ( $self, @pids ) = @_;
	World::put( "$self->{dir}/cgroup.procs", $_ )
	  or croak "$self->{dir}: $!" for @pids;
	return $self;
}

# Back where we are.
sub release {
	my ( $self, @pids ) = @_;
	World::put( "$self->{back}/cgroup.procs", $_ ) for @pids;
	return $self;
}

sub set {
	my ( $self, $v1, $v2, $value ) = @_;
	my $file = "$self->{dir}/" . ( $self->{v2} ? $v2 : $v1 );
	World::put( $file, $value ) or croak "$file: $!";
	return $self;
}

# Bytes; no swap beside it, where that is counted.
sub memory {
	my ( $self, $bytes ) = @_;
	$self->set( 'memory.limit_in_bytes', 'memory.max', $bytes );
	World::put( "$self->{dir}/memory.swap.max", 0 ) if $self->{v2};
	return $self;
}

# Take memory there until this process is killed: it is the first to go, and
# several take, so that none of them looks larger.
sub starve {
	my ( $self, $pid ) = @_;
	World::put( "/proc/$pid/oom_score_adj", 1000 ) or croak "oom_score_adj: $!";
	my @hogs = map {
		my $hog = fork // croak "fork: $!";
		$self->hog($pid) if $hog == 0;
		$hog;
	} 1 .. 4;
	waitpid $_, 0 for @hogs;
	return;
}

sub hog {
	my ( $self, $pid ) = @_;
	Nodelife::die_with_parent();
	$self->add($$);
	my @taken;
	push @taken, 'x' x ( 1 << 20 )
	  while -e "/proc/$pid" && !Nodelife::zombie($pid) && @taken < 1024;
	POSIX::_exit(0);
}

sub pids { my ( $self, $n ) = @_; return $self->set( 'pids.max', 'pids.max', $n ) }

# read or write, bps or iops, of a disk; 0 ends it.
sub throttle {
	my ( $self, $disk, $which, $unit, $value ) = @_;
	my $v2 = ( $which eq 'read' ? 'r' : 'w' ) . $unit . '=' . ( $value || 'max' );
	return $self->set( "blkio.throttle.${which}_${unit}_device", 'io.max',
		$disk->number . ' ' . ( $self->{v2} ? $v2 : $value ) );
}

# Its processes end first: a keeper's work.
sub remove {
	my ($dir) = @_;
	for ( 1 .. 500 ) {
		World::put( ( $dir =~ s{/[^/]*$}{}r ) . '/cgroup.procs', $_ )
		  for split ' ', slurp("$dir/cgroup.procs") // '';
		return if rmdir $dir;
		select undef, undef, undef, 0.02;
	}
	return;
}

# For how long the machine's own disk, which all others lie on, stood still: a
# process that flushes a block again and again tells.
package World::Witness;

use strict;
use warnings;
use Carp;
use File::Temp ();
use IO::Handle;
use List::Util qw(max);
use Nodelife;
use POSIX ();

use constant QUICK => 0.05;    # seconds: so long takes a flush that waits for nobody

sub new {
	my ($class) = @_;
	pipe my $from, my $to or croak "pipe: $!";
	my $pid = fork // croak "fork: $!";
	watch($to) if $pid == 0;
	$from->blocking(0);
	return bless { pid => $pid, from => $from, lost => 0, owner => $$ }, $class;
}

# When each flush begins, and, below zero, when it has ended.
sub watch {
	my ($to) = @_;
	Nodelife::die_with_parent();
	my $file = File::Temp->new( DIR => Nodelife::tmp_dir() );
	unlink $file->filename;
	while (1) {
		syswrite $to, pack 'd', now();
		POSIX::_exit(1) if !syswrite( $file, 'x' x 4096 ) || !$file->sync;
		syswrite $to, pack 'd', -now();
		sysseek $file, 0, 0;
		select undef, undef, undef, QUICK;
	}
}

# Seconds, since new(), that flushes took longer than they should.
sub lost {
	my ($self) = @_;
	while ( sysread $self->{from}, my $buf, 4096 ) {
		for ( unpack 'd*', $buf ) {
			if ( $_ > 0 ) { $self->{since} = $_; next }
			$self->{lost} += max( 0, -$_ - delete( $self->{since} ) - QUICK );
		}
	}
	return $self->{lost} if !$self->{since};
	return $self->{lost} + max( 0, now() - $self->{since} - QUICK );
}

sub DESTROY {
	my ($self) = @_;
	return if $self->{owner} != $$;
	kill 'KILL', $self->{pid};
	local ( $?, $! );
	waitpid $self->{pid}, 0;
	return;
}

1;
