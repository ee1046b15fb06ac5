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
done_testing;
