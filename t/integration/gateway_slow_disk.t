# A disk of 100 reads a second under a gateway with a cold cache: one long
# value takes seconds, in which others are served and nobody is killed for it.
# Needs root, a loop device and a blkio cgroup.
use strict;
use warnings;
use File::Temp ();
use Nodelife;
use POSIX ();
use Test::More;

my $blkio = '/sys/fs/cgroup/blkio';
my $group = "$blkio/nodelife-test.$$";
plan skip_all => 'not root: cannot slow a disk down' if $> != 0;
plan skip_all => "no $blkio/blkio.throttle.read_iops_device"
  if !-e "$blkio/blkio.throttle.read_iops_device";

my $dir = File::Temp::tempdir( 'nodelife.XXXXXX', DIR => tmp_dir() );
my ( $loop, $mounted, $n );

sub clean {
	undef $n;
	system "umount $dir/disk"   if $mounted;
	system "losetup -d $loop" if $loop;
	rmdir $group;
	system 'rm', '-rf', $dir;
	( $loop, $mounted ) = ();
	return;
}
END { my $code = $?; clean() if $dir; $? = $code }

sub try { chomp( my $out = `$_[0] 2>&1` ); return $? == 0 ? $out : undef }

mkdir "$dir/disk";
$loop = try("truncate -s 64M $dir/image && losetup -f --show $dir/image");
plan skip_all => 'no loop device' if !defined $loop;
$mounted = defined try(
	"mkfs.ext4 -q $loop && mount -o noatime $loop $dir/disk");
plan skip_all => 'no file system on it' if !$mounted;
plan skip_all => 'no cgroup' if !mkdir $group;

sub put {
	my ( $file, $text ) = @_;
	open my $f, '>', $file or return 0;
	return defined syswrite( $f, "$text\n" ) && close $f;
}

$n = Nodelife->new(
	node => { data_dir => "$dir/disk/data" },
	wal  => { buffer_size => '4M', segment_size => '4M' },
);
$n->{data} = "$dir/disk/data";
$n->start;
my $size = 1_200_000;    # 300 pages
my $c    = $n->client;
is $c->cmd( 'SET', "v$_", $_ x $size ), 'OK', 'a long value' for 1 .. 2;
is $c->cmd( 'SET', 'small', 1 ), 'OK', 'a short one';
my ($code) = $n->run( 'nodelifectl', '-r', $n->{run}, 'checkpoint' );
is $code, 0, 'on disk';
is $n->stop, 0, 'stopped';
$n->start;
my $gateway = $n->workers->{gateway0};
my $number  = do {
	my $dev = ( stat $loop )[6];
	( ( $dev >> 8 ) & 0xfff ) . ':' . ( $dev & 0xff );
};
try("dd if=$n->{data}/store/data.mdb iflag=nocache count=0");
my $slow = put( "$group/blkio.throttle.read_iops_device", "$number 100" )
  && put( "$group/cgroup.procs", $gateway );
if ( !$slow ) {
	diag "the cgroup does not take it: $!: the rest is skipped";
	$n->stop;
	done_testing;
	exit;
}

# So many PINGs are answered while the other one's command is under way.
sub pings_during {
	my ( $want, @cmd ) = @_;
	my $pid = fork // die;
	if ( $pid == 0 ) {
		Nodelife::die_with_parent();
		my $got = eval { $n->client->cmd(@cmd) };
		$got = $got->[0] if ref $got eq 'ARRAY';
		POSIX::_exit( defined $got && $got eq $want ? 0 : 1 );
	}
	my ( $pings, $p ) = ( 0, $n->client );
	while ( waitpid( $pid, POSIX::WNOHANG() ) == 0 ) {
		$pings++ if $p->cmd('PING') eq 'PONG';
	}
	return ( $? >> 8, $pings );
}

for my $case ( [ 'GET', 1 ], [ 'MGET', 2 ] ) {
	my ( $name, $i ) = @$case;
	my ( $bad, $pings ) = pings_during( $i x $size, $name, "v$i" );
	is $bad, 0, "$name of a cold value gives it whole";
	cmp_ok $pings, '>=', 5, "$pings PINGs of another client meanwhile";
}
is $n->workers->{gateway0}, $gateway, 'the same gateway all along';
put( "$blkio/cgroup.procs", $gateway );
is $n->client->cmd( 'GET', 'small' ), 1, 'served as ever';
is $n->stop, 0, 'stopped';
clean();
done_testing;
