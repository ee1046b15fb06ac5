#!/usr/bin/perl
# What a build depends on beside its sources: another version or other flags
# make every object anew, the same ones none.
use strict;
use warnings;
use File::Temp qw(tempdir);
use Test::More;

delete @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES)};
my $b   = tempdir( CLEANUP => 1 );
my $obj = "$b/tools/nodelifectl.o";

# How many objects were made.
sub build {
	my @set = @_;
	my $out = `make -s B='$b' @set '$obj' 2>&1`;
	is $?, 0, "make @set" or diag $out;
	return scalar( () = $out =~ /^\s*CC\s/mg );
}

sub version {
	open my $in, '<:raw', $obj or return '';
	local $/;
	return <$in> =~ /\0(\d+\.\d+\.\d+)\0/ ? $1 : '';
}

is build('VERSION=7.7.1'), 1, 'built';
is version(), '7.7.1', 'of this version';
is build('VERSION=7.7.1'), 0, 'not again';
is build( 'VERSION=7.7.1', 'PREFIX=/elsewhere' ), 0,
  'nor for another place to install it, which is in no object';
is build('VERSION=7.7.2'), 1, 'but for another version';
is version(), '7.7.2', 'which it then has';
is build( 'VERSION=7.7.2', 'OPT=-O0' ), 1, 'and for other flags';
is build( 'VERSION=7.7.2', 'OPT=-O0' ), 0, 'once';
done_testing;
