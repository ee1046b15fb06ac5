# The world that integration tests make fail (t/lib/World.pm): each disk, group
# and clock does what its name says, and all of it goes when the test is killed.
use strict;
use warnings;
use Fcntl qw(O_CREAT O_RDWR);
use Nodelife;
use Test::More;
use World;

# O_DIRECT | O_DSYNC, one block; in a process of its own: it may hang.
sub write_begin {
	my ($file) = @_;
	my $pid = fork // die;
	return $pid if $pid;
	my $error = 0;
	if ( sysopen my $f, $file, O_RDWR | O_CREAT | 010000 ) {
		syswrite $f, 'x' x 4096 or $error = $! + 0;
		$error ||= $f->sync ? 0 : $! + 0;
	}
	else { $error = $! + 0 }
	POSIX::_exit($error);
}

sub ended {
	my ($pid) = @_;
	return wait_until { waitpid( $pid, POSIX::WNOHANG() ) == $pid };
}

sub write_error {
	ended( write_begin(@_) ) or return 'hangs';
	local $! = $? >> 8;
	return $? ? ( grep { $!{$_} } qw(EIO EROFS ENOSPC) )[0] // "$!" : '';
}

# A process in D state: nothing ends it.
sub hangs {
	my ($pid) = @_;
	return wait_until { ( slurp("/proc/$pid/stat") // '' ) =~ /\) D / };
}

SKIP: {
	my $why = World::lacks(qw(root loop freeze));
	skip $why if $why;
	my $disk = World::Disk->new( size => '16M', mkfs => [ -N => 64 ] );
	my $file = $disk->dir . '/f';
	is write_error($file), '', 'a small disk';
	$disk->freeze(60);
	my $pid = write_begin($file);
	ok hangs($pid), 'a frozen one';
	$disk->thaw;
	ok ended($pid) && $? == 0, 'thawed';
	$disk->freeze(1);
	ok ended( write_begin($file) ) && $? == 0, 'thawed by itself';
	$disk->fill;
	is write_error( $disk->dir . '/g' ), 'ENOSPC', 'a full one';
	$disk->empty;
	is write_error( $disk->dir . '/g' ), '', 'emptied';
	$disk->fill(200);
	cmp_ok $disk->free_kb, '<=', 204, 'a nearly full one';
	cmp_ok $disk->free_kb, '>=', 100, 'but nearly';
	$disk->empty;
	$disk->fill_inodes(1);
	is write_error( $disk->dir . '/h' ), '', 'one inode';
	is write_error( $disk->dir . '/i' ), 'ENOSPC', 'none';
	$disk->empty_inodes;
	$disk->abort;
	is write_error($file), 'EROFS', 'read-only';
	$disk->mount_again;
	is write_error($file), '', 'mounted again';
}

SKIP: {
	my $why = World::lacks(qw(root loop fuse));
	skip $why if $why;
	my $disk = World::Disk->new( size => '16M', faulty => 1 );
	my $file = $disk->dir . '/f';
	is write_error($file), '', 'a disk with a server';
	for my $op (qw(write flush)) {
		$disk->say( $op => 'EIO' );
		is write_error($file), 'EIO', "$op: an error";
		$disk->say( $op => 'hang' );
		my $pid = write_begin($file);
		ok hangs($pid), "$op: hangs";
		$disk->say;
		ok ended($pid) && $? == 0, "$op: goes on";
		$disk->say( $op => 300 );
		my $t = now();
		is write_error($file), '', "$op: slow";
		cmp_ok now() - $t, '>=', 0.3, "$op: indeed";
		$disk->say;
	}
	open my $f, '<', $file or die "$file: $!";
	my $got;
	$disk->say( read => 'EIO' );
	$disk->forget($file);
	ok !defined sysread( $f, $got, 1 ) && $!{EIO}, 'read: an error';
	$disk->say;
	ok sysread( $f, $got, 1 ), 'read: well';
}

SKIP: {
	my $why = World::lacks(qw(root loop blkio));
	skip $why if $why;
	my $disk = World::Disk->new( size => '16M' );
	my $file = $disk->dir . '/f';
	is write_error($file), '', 'a fast disk';
	my $g = World::Group->new('blkio')->throttle( $disk, 'write', 'iops', 10 );
	$g->add($$);
	my $t = now();
	is write_error($file), '', 'throttled' for 1 .. 3;
	cmp_ok now() - $t, '>', 0.1, 'is slow';
	$g->release($$);
}

SKIP: {
	my $why = World::lacks(qw(root memory));
	skip $why if $why;
	my $g   = World::Group->new('memory')->memory( 32 << 20 );
	my $pid = fork // die;
	if ( $pid == 0 ) {
		$g->add($$);
		my $big = 'x' x ( 64 << 20 );
		POSIX::_exit( length $big ? 0 : 1 );
	}
	waitpid $pid, 0;
	is $? & 127, 9, 'beyond the memory limit: killed';
}

SKIP: {
	my $why = World::lacks(qw(root pids));
	skip $why if $why;
	my $g   = World::Group->new('pids')->pids(1);
	my $pid = fork // die;
	if ( $pid == 0 ) {
		$g->add($$);
		POSIX::_exit( defined fork ? 0 : $!{EAGAIN} ? 1 : 2 );
	}
	waitpid $pid, 0;
	is $? >> 8, 1, 'a fork is refused';
}

SKIP: {
	my $file = tmp_dir() . '/clock';
	my %env  = World::clock($file) or skip 'no clock_shift.so is built';
	open my $f, '>', $file;
	syswrite $f, 86400 * 365;
	local @ENV{ keys %env } = values %env;
	my $there = `date +%s`;
	cmp_ok abs( $there - time - 86400 * 365 ), '<=', 5, 'a year ahead';
	truncate $file, 0;
	cmp_ok abs( `date +%s` - time ), '<=', 5, 'and back';
	close $f;
	unlink $file;
}

# All at once, and killed: t/exec has nothing to name.
SKIP: {
	my $why = World::lacks(qw(root loop freeze fuse pids));
	skip $why if $why;
	for my $how (qw(KILL TERM)) {
		pipe my $r, my $w or die;
		my $pid = fork // die;
		if ( $pid == 0 ) {
			close $r;
			fcntl $w, POSIX::F_SETFD(), 0;
			exec $^X, '-It/lib', '-MWorld', '-e', <<'EOF', fileno $w;
				open my $w, '>&=', $ARGV[0];
				my $d = World::Disk->new( size => '16M' );
				my $f = World::Disk->new( size => '16M', faulty => 1 );
				my $g = World::Group->new('pids');
				$f->say( write => 'hang' );
				system 'dd', 'if=/dev/zero', "of=" . $d->dir . '/x',
				  'count=1', 'status=none';
				$d->freeze;
				for my $disk ( $d, $f ) {
					next if fork;
					$g->add($$);
					sysopen my $x, $disk->dir . '/y', 0x4042;
					syswrite $x, 'x' x 4096;
					POSIX::_exit(0);
				}
				syswrite $w, "$_\n"
				  for $d->dir, $f->dir, $g->{dir}, $d->image, $f->image;
				close $w;
				sleep 1000;
EOF
		}
		close $w;
		my ( @made, @images );
		push @made, ( scalar <$r> // "" ) =~ s{\n}{}r for 1 .. 3;
		push @images, ( scalar <$r> // "" ) =~ s{\n}{}r for 1 .. 2;
		my $loops = `losetup -a`;
		is scalar( grep { $loops =~ /\Q$_\E\b/ } @images ), 2, "$how: loop devices";
		is scalar( grep { -e } @made ), 3, "$how: made";
		kill $how, $pid;
		waitpid $pid, 0;
		eventually { !grep { -e } @made } "$how: gone";
		eventually { my $left = `losetup -a`; !grep { $left =~ /\Q$_\E\b/ } @images }
		"$how: and the loop devices";
	}
}
done_testing;
