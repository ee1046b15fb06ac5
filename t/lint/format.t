# Every C file is as .clang-format says: the tool decides, not people.
use strict;
use warnings;
use Test::More;

my @files = glob '{shm,shm/*,ipc,conf,supervisor,tools,workers,workers/*,workers/*/*}/*.[ch]'
  . ' t/*.[ch] t/*/*.[ch] t/*/*/*.[ch]';
my @bad;
for my $f (@files) {
	my $want = `clang-format --style=file '$f'`;
	open my $h, '<', $f or die "$f: $!";
	local $/;
	push @bad, $f if <$h> ne $want;
}
is_deeply \@bad, [], 'clang-format leaves every file as it is';

# Where a line is too long it glues words to the star, and makes lists prose.
my @glued;
for my $f (@files) {
	open my $h, '<', $f or die "$f: $!";
	while (<$h>) {
		push @glued, "$f:$." if m{^ \*\w};
	}
}
is_deeply \@glued, [], 'no comment has words that stick to its stars';
done_testing;
