# Manual pages: lint-clean mdoc, one page per program and file format.
use strict;
use warnings;
use Test::More;

my @want = qw(nodelife.7 nodelife-operations.7 nodelifed.8 nodelifestat.8
  nodelifectl.8 nodelifewal.8 nodelifebench.1
  nodelife.ini.5 nodelife-wal.5 nodelife-wire.5);
for my $p (@want) {
	ok -e "man/$p", "man/$p exists";
	my $out = `mandoc -T lint -W warning man/$p 2>&1`;
	is $out, '', "man/$p: mandoc -T lint";
}

# Every option that --help names is in the page, and the other way round.
my $b = $ENV{NODELIFE_BUILD} // 'build';
my %page = (
	nodelifed     => 8,
	nodelifestat  => 8,
	nodelifectl   => 8,
	nodelifewal   => 8,
	nodelifebench => 1,
);
for my $prog ( sort keys %page ) {
	my $help = `$b/$prog --help 2>&1`;
	my %in_help = map { $_ => 1 } $help =~ /(?:^|[\s\[|,])(-[A-Za-z0-9])\b/mg;
	open my $h, '<', "man/$prog.$page{$prog}" or next;
	my $text = do { local $/; <$h> };
	my @missing = grep {
		my $o = substr $_, 1;
		$text !~ /\bFl (?:Fl )?\Q$o\E\b/
	} sort keys %in_help;
	ok scalar( keys %in_help ), "$prog --help names options";
	is_deeply \@missing, [], "$prog: every option of --help is in its page";
}
done_testing;
