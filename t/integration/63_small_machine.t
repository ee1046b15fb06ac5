# A small machine: 256 MiB of /dev/shm and a memory limit of 512 MiB. A node
# with defaults fits itself into it, says what it shrank, and serves; what is
# set and cannot work is refused with its key. In a mount namespace and a
# control group of our own, which needs root.
use strict;
use warnings;
use Nodelife;
use Test::More;

plan skip_all => 'not root: cannot mount a small /dev/shm' if $> != 0;
plan skip_all => 'nodes live in /dev/shm, which this hides'
  if Cwd::abs_path( tmp_dir() ) =~ m{^/dev/shm/};
plan skip_all => 'the number of unshare() is not known here'
  if ( POSIX::uname() )[4] ne 'x86_64';

# Both versions of control groups; the node inherits ours.
my ( $group, $limit );
my ($own) = slurp('/proc/self/cgroup') =~ /^\d+:(?:[\w,]*\bmemory\b[\w,]*)?:(.*)$/m;
$own //= '';
if ( -d '/sys/fs/cgroup/memory' ) {
	$group = "/sys/fs/cgroup/memory/nodelife-test.$$";
	$limit = 'memory.limit_in_bytes';
} elsif ( -e '/sys/fs/cgroup/cgroup.controllers' ) {
	$group = "/sys/fs/cgroup/nodelife-test.$$";
	$limit = 'memory.max';
}
plan skip_all => 'no memory control group here' if !defined $group;
plan skip_all => "cannot make $group: $!" if !mkdir $group;
my $mother = $$;
END {
	if ( $$ == $mother && defined $group && -d $group ) {
		my $code = $?;
		my $up   = $group =~ s{/[^/]*$}{}r;
		put( "$up$own/cgroup.procs", $$ ) || put( "$up/cgroup.procs", $$ );
		eventually_gone($group);
		$? = $code;
	}
}

sub put {
	my ( $file, $text ) = @_;
	open my $f, '>', $file or return 0;
	my $n = syswrite $f, $text;
	return close $f && $n;
}

sub eventually_gone {
	my ($dir) = @_;
	for ( 1 .. 500 ) {
		return if rmdir $dir;
		select undef, undef, undef, 0.02;
	}
	diag "$dir: $!";
	return;
}

if ( !put( "$group/$limit", 512 << 20 ) || !put( "$group/cgroup.procs", $$ ) ) {
	plan skip_all => "cannot limit memory here: $!";
}
plan skip_all => "cannot unshare: $!" if syscall( 272, 0x20000 ) != 0;
my $out =
  `mount --make-rprivate / && mount -t tmpfs -o size=256m none /dev/shm 2>&1`;
plan skip_all => "cannot mount: $out" if $? != 0;

my $n = Nodelife->new->start;
is $n->client->cmd(qw(SET a 1)), 'OK', 'a node with defaults serves';
like slurp( $n->{log} ), qr/memory: limit 512M: \[listen\] client_memory 128M/,
  'and says what it shrank';
my ( $code, $events ) = $n->run( 'nodelifestat', '-r', $n->{run}, '-e' );
like $events, qr/memory: limit 512M/, 'which is an event, too';
( $code, my $conf ) = $n->run( 'nodelifed', '-n', '-c', $n->{ini} );
is $code, 0, 'nodelifed -n';
like $conf, qr/^client_memory = \d+M\s+; fitted$/m, 'shows what is in effect';
like $conf, qr/^; memory: limit 512M: /m, 'and why';
$n->kill9;
$n->start;
is $n->client->cmd(qw(GET a)), 1, 'killed: the dead region does not count';
is $n->stop, 0, 'stopped';

$n->configure( store => { table_size => '300M' } );
my ( $rc, undef, $err ) = $n->run( 'nodelifed', '-f', '-c', $n->{ini} );
is $rc, 78, 'what can never work is refused';
like $err, qr/the node needs \d+M: .*\[store\] table_size \(300M\)/,
  'by its key and numbers';
done_testing;
