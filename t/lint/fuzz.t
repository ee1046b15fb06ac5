# Every parser's fuzz target, briefly: replays its corpus, then mutates it.
# FUZZ_SECONDS sets how long each runs.
use strict;
use warnings;
use File::Temp ();
use Test::More;

my $b       = $ENV{NODELIFE_BUILD} // 'build';
my $seconds = $ENV{FUZZ_SECONDS}   // 4;
my @targets = map { m{([^/]+)\.c$} } glob 't/fuzz/*.c';
plan skip_all => 'no fuzz targets' if !@targets;
for my $t (@targets) {
	my $dir = File::Temp::tempdir( CLEANUP => 1 );
	my $corpus = -d "t/fuzz/corpus/$t" ? "t/fuzz/corpus/$t" : '';
	my $out = `$b/fuzz/t/fuzz/$t -max_total_time=$seconds -rss_limit_mb=1024 -timeout=10 -artifact_prefix=$dir/ $dir $corpus 2>&1`;
	is $?, 0, "$t finds nothing in $seconds s"
	  or diag substr $out, -3000;
}
done_testing;
