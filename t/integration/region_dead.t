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

# Of another build only the magic is known, as the page that it is in, and the
# version, at 8. The word at 24 is the layout; whoever lives has it as it was
# before.
sub version {
	my ( $file, $version ) = @_;
	open my $f, '+<', $file or die "$file: $!";
	sysseek $f, 8, 0;
	syswrite $f, pack 'L', $version;
	return;
}

sub other_build {
	my ($file) = @_;
	open my $f, '+<', $file or die "$file: $!";
	sysseek $f, 24, 0;
	sysread $f, my $layout, 8;
	sysseek $f, 24, 0;
	syswrite $f, ~$layout;
	return $file;
}
sub kb { return ( lstat $_[0] )[12] / 2 }

# All that a sweep may look at, at the end of a node.
sub swept {
	$n->start;
	return is $n->stop, 0, 'swept';
}

sub left_dead {
	$other->start->kill9;
	return readlink "$other->{run}/region";
}
my $dead = other_build( left_dead() );
link $dead, '/dev/shm/nodelife.n3.1.01234567';
my $kb = kb($dead);
swept();
is kb($dead), $kb, 'what has a second name may be anything';
unlink '/dev/shm/nodelife.n3.1.01234567';
rename $dead, '/dev/shm/nodelife.mine';
swept();
is kb('/dev/shm/nodelife.mine'), $kb, 'and what has no name of a region';
rename '/dev/shm/nodelife.mine', $dead;
version( $dead, 1 );
swept();
is kb($dead), $kb, 'of a release whose nodes hold no lock it may be alive';
version( $dead, 3 );
swept();
ok -e $dead, 'a dead one of another build keeps its name';
cmp_ok kb($dead), '<=', 4, 'and its first page';

my $c = $other->start->client;
$lives = other_build( readlink "$other->{run}/region" );
$kb    = kb($lives);
swept();
cmp_ok kb($lives), '>=', $kb, 'one that lives is left alone';
is $c->cmd('PING'), 'PONG', 'and goes on';
other_build($lives);
is $other->stop, 0, 'stopped';

# Of another user root gives back the memory, and follows nothing that he says:
# there is no such run_dir any more.
$dead = left_dead();
chown 65534, 65534, $dead;
File::Path::remove_tree( $other->{run} );
$kb = kb($dead);
swept();
ok -e $dead, q{another user's dead one keeps its name};
cmp_ok kb($dead), '<', $kb, 'without its bulk';
other_build($dead);
swept();
cmp_ok kb($dead), '<=', 4, 'or, of another build, all but its first page';
unlink $dead;

# What is none of ours.
World::put( '/dev/shm/nodelife.mine', 'x' x 8192 );
symlink $lives, '/dev/shm/nodelife.link';
$n->start;
is $n->stop, 0, 'stopped';
ok -e '/dev/shm/nodelife.mine', 'a file without our magic is left alone';
ok -l '/dev/shm/nodelife.link', 'and a link';
unlink '/dev/shm/nodelife.mine', '/dev/shm/nodelife.link';
done_testing;
