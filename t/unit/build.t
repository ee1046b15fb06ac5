#!/usr/bin/perl
# What a build depends on beside its sources: another version or other flags
# make every object anew, the same ones none. What the region's layout depends
# on: every declaration that is shared, and no comment.
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

# What shm/region.c becomes, with the sum in it, after an edit of a header.
my $copy = "$b/copy";
mkdir $copy;
system( 'cp', '-a', 'Makefile', 'shm', 'conf', 'ipc', $copy ) == 0 or die 'cp';

sub layout {
	my ($edit) = @_;
	my $head = "$copy/shm/region.h";
	open my $in, '<', $head or die "$head: $!";
	my $text = do { local $/; <$in> };
	my $old  = $text;
	$edit->() for $text;
	open my $out, '>', $head or die "$head: $!";
	print $out $text;
	close $out;
	my $said = `make -s -C '$copy' B=b b/shm/region.o 2>&1 &&
	    objcopy --strip-debug '$copy/b/shm/region.o' '$copy/stripped'`;
	is $?, 0, 'made' or diag $said;
	open $out, '>', $head;
	print $out $old;
	close $out;
	open $in, '<:raw', "$copy/stripped";
	local $/;
	return <$in>;
}

sub nothing { }
my $was = layout( \&nothing );
ok layout( sub { s{(stop_wanted;) /\* }{$1 /* of late, } } ) eq $was,
  'a comment is no layout';
ok layout( sub { s{(_Atomic uint32_t )stop_wanted(;.*?)reload_wanted}
	{$1reload_wanted$2stop_wanted}s } ) ne $was, 'two fields that change places are';
done_testing;
