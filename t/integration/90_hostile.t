# A few seconds of t/hostile: clients that attack a node in every way there is,
# while no process may begin anew, no answered write may be lost, also by a
# kill -9, and the memory must come back. Times are not judged. SEED replays it.
use strict;
use warnings;
use Nodelife;
use Test::More;

my $seed = $ENV{SEED} // int rand 1e9;
diag "SEED=$seed";
my $report = do {
	local $ENV{SEED}        = $seed;
	local $ENV{SLOTS}       = $ENV{SLOTS} // 16;
	local $ENV{JUDGE_SPEED} = 0;
	`$^X -It/lib t/hostile/hostile.pl 3`;
};
is $?, 0, 'nothing gave way';
like $report, qr/^PASS$/m, 'and that was seen';
diag $report if $report !~ /^PASS$/m;
like $report, qr/^attack +\d+ lives, [1-9]/m, 'there were attacks';
done_testing;
