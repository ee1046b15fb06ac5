# The last test of a run: what the tests before it recorded as theirs (t/exec,
# t/tap.h) is gone from the disk, from /dev/shm and from the process table.
use strict;
use warnings;
use Test::More;

my $run = $ENV{NODELIFE_CHECK};
plan skip_all => 'not in a run: NODELIFE_CHECK is not set' if !defined $run;

my ( @tests, @made );
for my $record ( glob "$run/*.made" ) {
	push @tests, $record =~ s/\.made$//r;
	open my $h, '<', $record or die "$record: $!";
	chomp( my @paths = <$h> );
	push @made, @paths;
}
# Our own directory is there as long as we are.
@tests = grep { $_ ne $ENV{TMPDIR} } @tests;
note scalar(@tests), ' tests, ', scalar(@made), ' paths of theirs';
is_deeply [ grep { -e || -l } @tests, @made ], [], 'no file';

my $own = join '|', map { quotemeta } @tests, @made;
my @regions;
for my $f ( glob '/dev/shm/nodelife*' ) {
	open my $h, '<', $f or next;
	read $h, my $head, 4096;
	push @regions, $f if @made + @tests && $head =~ /$own/;
}
is_deeply \@regions, [], 'no region';

my @processes;
for my $p ( glob '/proc/[0-9]*' ) {
	next if $p eq "/proc/$$";
	my @open = grep { defined } map { readlink } glob "$p/cwd $p/fd/*";
	next if !grep { m{^(?:$own)(?:/|$)} } @open;
	open my $h, '<', "$p/cmdline" or next;
	push @processes, join ' ', $p, split /\0/, <$h> // '';
}
is_deeply \@processes, [], 'no process';
done_testing;
