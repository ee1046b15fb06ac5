# conf/nodelife-alerts.yml: Prometheus takes the rules; each has what an admin
# needs; and each kind of trouble is in one. That every metric they name is in
# /metrics, t/unit/health_page.c shows.
use strict;
use warnings;
use Test::More;

my $file = 'conf/nodelife-alerts.yml';
open my $f, '<', $file or die "$file: $!";
my $text = do { local $/; <$f> };

SKIP: {
	skip 'no promtool here', 1
	  if system('command -v promtool >/dev/null 2>&1') != 0;
	my $said = `promtool check rules $file 2>&1`;
	is $?, 0, 'promtool takes the rules' or diag $said;
}
unlike $text, qr/\t/, 'no tabs in YAML';
my ( undef, @alerts ) = split /^ {6}- alert: /m, $text;
cmp_ok scalar(@alerts), '>', 10, 'there are alerts';
my ( %seen, @bad );
for (@alerts) {
	my ($name) = /^(\w+)$/m;
	push @bad, "$name twice" if $seen{$name}++;
	for my $key ( 'expr', 'labels', 'annotations' ) {
		push @bad, "$name: no $key" if !/^ {8}$key:/m;
	}
	for my $key ( 'severity', 'summary', 'description' ) {
		push @bad, "$name: no $key" if !/^ {10}$key: \S/m;
	}
	push @bad, "$name: braces" if tr/{// != tr/}// || tr/(// != tr/)//;
	push @bad, "$name: severity" if !/severity: (?:critical|warning)$/m;
}
is_deeply \@bad, [], 'each is whole, and there once';

open my $h, '<', 'shm/trouble.h' or die "shm/trouble.h: $!";
my @kinds = do { local $/; <$h> } =~ /^\tX\(\w+, "(\w+)",/mg;
cmp_ok scalar(@kinds), '>', 20, 'there are kinds of trouble';
is_deeply [ grep { my $k = $_; $text !~ /kind=~?"(?:\w+\|)*$k[|"]/ } @kinds ],
  [], 'each is in an alert';
done_testing;
