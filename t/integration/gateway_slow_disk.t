# A disk of 100 reads a second under a gateway with a cold cache: one long
# value takes seconds, in which others are served and nobody is killed for it.
# Needs root, a loop device and a blkio cgroup.
use strict;
use warnings;
use Nodelife;
use POSIX ();
use Test::More;
use World;

my $why = World::lacks(qw(root loop blkio));
plan skip_all => $why if $why;
my $disk = World::Disk->new;

my $n = Nodelife->new(
	node => { data_dir => $disk->dir . '/data' },
	wal  => { buffer_size => '4M', segment_size => '4M' },
);
$n->{data} = $disk->dir . '/data';
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
$disk->forget("$n->{data}/store/data.mdb");
my $slow = World::Group->new('blkio')->throttle( $disk, 'read', 'iops', 100 );
$slow->add($gateway);

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
$slow->release($gateway);
is $n->client->cmd( 'GET', 'small' ), 1, 'served as ever';
is $n->stop, 0, 'stopped';
done_testing;
