# t/bench/bench.pl does not count a round during which the wall clock stepped:
# redis-benchmark, which measures by it, saw a reply of that length. And it marks
# what few rounds say, and rounds that lie too far apart.
use strict;
use warnings;
use Nodelife;
use Test::More;
use World;

plan skip_all => 'no redis-benchmark here'
  if !World::which('redis-benchmark') || !World::which('redis-server');
my $dir   = tmp_dir() . '/bench';
my $file  = tmp_dir() . '/clock';
my %clock = World::clock($file) or plan skip_all => 'no clock_shift.so is built';

mkdir $dir;
local @ENV{ keys %clock } = values %clock;
local @ENV{qw(BENCH_DIR BENCH_SCALE BENCH_ROUNDS BENCH_SECONDS BENCH_SCATTER)} =
  ( $dir, 0.005, 2, 60, 1e9 );
open my $f, '>', $file or die "$file: $!";
my $pid = open my $bench, '-|', $^X, '-It/lib', 't/bench/bench.pl', 'set', 'boot'
  or die "bench: $!";
# Steps until one hits a round, not what is between them.
my ( $said, $hours ) = ( '', 0 );
while (1) {
	vec( my $r = '', fileno $bench, 1 ) = 1;
	if ( select $r, undef, undef, 0.15 ) {
		sysread $bench, $said, 4096, length $said or last;
	}
	elsif ( $said !~ /void/ ) {
		sysseek $f, 0, 0;
		syswrite $f, 3600 * ++$hours;
	}
}
close $bench;
is $?, 0, 'bench.pl goes on';
like $said, qr/^the wall clock stepped by \d{6,} ms: void$/m,
  'a round in which the clock stepped is void';
like $said, qr/ 2 rounds within.* 11 rounds within/s, 'and made again';
like $said, qr/ 2 rounds within \d+ % TOO FEW; the machine: /, 'two rounds are too few';
like $said, qr/ 11 rounds within \d+ %; the machine: /, 'more are not, however far apart';
$ENV{BENCH_SCATTER} = -1;
like scalar `$^X -It/lib t/bench/bench.pl boot`,
  qr/ 11 rounds within \d+ % NOISY; the machine: /, 'but as they may lie: marked';
close $f;
unlink $file;
File::Path::remove_tree($dir);
done_testing;
