# Regions of nodes that are gone do not fill /dev/shm: in a small one a node
# starts again however the one before ended, also after its run_dir was deleted.
# What another node has is left alone, and its black box, too.
use strict;
use warnings;
use File::Path ();
use Nodelife;
use Test::More;
use World;

my $why = World::own_shm('256M');
plan skip_all => $why if $why;

sub regions { return scalar( my @all = glob '/dev/shm/nodelife.*' ) }

my $n = Nodelife->new( store => { table_size => '64M' } );
my $v = 'v' x 1000;

# Something of what it may take.
sub take {
	my $c = $n->client;
	$c->pipeline( map { [ 'SET', "k$_", $v ] } 1 .. 2000 );
	return;
}

my %ends = (
	'orderly stop'    => sub { $n->stop },
	'kill -9'         => sub { $n->kill9 },
	'deleted run_dir' => sub { $n->kill9; File::Path::remove_tree( $n->{run} ) },
);
my $other = Nodelife->new( node => { name => 'n2' } );
$other->start->kill9;
my $box = readlink "$other->{run}/region";

for my $end ( sort keys %ends ) {
	my $rounds = 0;
	for ( 1 .. 10 ) {
		$n->start;
		take();
		$ends{$end}->();
		$rounds++;
	}
	is $rounds, 10, "$end: starts again every time";
	cmp_ok regions(), '<=', 4, 'and regions do not become more';
}
$n->start;
take();
is $n->stop, 0, 'stopped';
{
	my $kb = 0;
	$kb += ( lstat readlink $_ )[12] / 2 for glob "$n->{run}/region*";
	cmp_ok $kb, '<', 8192, "a stopped node keeps little memory: $kb KiB";
}
ok -e $box, 'of what another left the black box is kept';

# One that lives is not to be taken for dead, whatever its run_dir links.
$other->start;
my $lives = readlink "$other->{run}/region";
unlink "$other->{run}/region", "$other->{run}/region.prev";
$n->start;
is $n->stop, 0, 'stopped beside it';
ok -e $lives, 'a live one is left alone';
is $other->client->cmd('PING'), 'PONG', 'and goes on';
is $other->stop, 0, 'stopped';

# One whose run_dir only its own mount namespace has: who cannot see what leads
# to it cannot tell that nothing does.
my $from = -s $other->{log};
my %seen = map { $_ => 1 } glob '/dev/shm/nodelife.*';
$other->spawn( 'unshare', '-m', 'sh', '-c',
	'mount -t tmpfs none "$0" && exec "$@"', $other->{run},
	build_dir() . '/nodelifed', '-f', '-c', $other->{ini} );
eventually { substr( slurp( $other->{log} ), $from ) =~ /serving after/ } 'one elsewhere';
my ($elsewhere) = grep { !$seen{$_} } glob '/dev/shm/nodelife.*';
$other->kill9;
my $was = ( stat $elsewhere )[12];
$n->start;
is $n->stop, 0, 'stopped after its end';
ok -e $elsewhere, 'it is left to who can see its run_dir';
cmp_ok( ( stat _ )[12], '<', $was, 'without its bulk' );
unlink $elsewhere;

# What is none of ours.
World::put( '/dev/shm/nodelife.mine', 'x' x 8192 );
symlink $lives, '/dev/shm/nodelife.link';
$n->start;
is $n->stop, 0, 'stopped';
ok -e '/dev/shm/nodelife.mine', 'a file without our magic is left alone';
ok -l '/dev/shm/nodelife.link', 'and a link';
unlink '/dev/shm/nodelife.mine', '/dev/shm/nodelife.link';
done_testing;
