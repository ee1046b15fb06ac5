# A node that has nothing to do does next to nothing: few wake-ups, little
# memory; and what it takes under load it gives back.
use strict;
use warnings;
use Nodelife;
use Test::More;

my $n = Nodelife->new->start;
my @pids = ( $n->{pid}, values %{ $n->workers } );

sub sum_of {
	my ( $file, $what ) = @_;
	my $sum = 0;
	for (@pids) {
		my $text = slurp("/proc/$_/$file") // '';
		$sum += $1 if $text =~ /^\Q$what\E:\s+(\d+)/m;
	}
	return $sum;
}
# Wake-ups while nodelifestat looks twice, three seconds apart: it gets quiet
# once segments are prepared, and what the disk is slow with is done.
my $rate;
for ( 1 .. 10 ) {
	my ( $before, $begin ) = ( sum_of( 'status', 'voluntary_ctxt_switches' ), now() );
	$n->run( 'nodelifestat', '-r', $n->{run}, 3, 2 );
	$rate = ( sum_of( 'status', 'voluntary_ctxt_switches' ) - $before ) / ( now() - $begin );
	last if $rate <= 50;
}
cmp_ok $rate, '<=', 50, sprintf '%.0f wake-ups a second when idle', $rate;

SKIP: {
	my $maps = slurp("/proc/$n->{pid}/maps") // '';
	skip 'a sanitizer takes memory of its own', 2 if $maps =~ /libasan|libtsan/;
	my $pss = sum_of( 'smaps_rollup', 'Pss' );
	skip 'no smaps_rollup here', 2 if !$pss;
	cmp_ok $pss, '<=', 16 * 1024, "$pss KiB of memory, region included";
	my $c = $n->client;
	for my $round ( 1 .. 20 ) {
		my @r = $c->pipeline( map { [ 'SET', "k$_", 'x' x 500 ] } 1 .. 1000 );
	}
	my $anon = sum_of( 'smaps_rollup', 'Anonymous' );
	for my $round ( 1 .. 60 ) {
		my @r = $c->pipeline( map { [ 'SET', "k$_", 'y' x 500 ] } 1 .. 1000 );
	}
	my $more = sum_of( 'smaps_rollup', 'Anonymous' ) - $anon;
	cmp_ok $more, '<', 4096, "the same keys again: private memory grew by $more KiB";
}
is $n->stop, 0, 'stopped';
done_testing;
