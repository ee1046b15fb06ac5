# How what runs outside of prove says what it finds: a line each, a name and what
# is told of it; and why it did not run, with the exit code of a skip.
#
#	use Report width => 12;		# of names
#	told( 'seed', $seed );
#	skipped('not root') if $> != 0;
package Report;

use strict;
use warnings;

use constant SKIPPED => 77;

my $width;

sub import {
	my ( undef, %is ) = @_;
	my $to = caller;
	$width = $is{width};
	no strict 'refs';
	*{"${to}::$_"} = \&$_ for qw(skipped told);
	return;
}

sub skipped {
	print "skipped: $_[0]\n";
	exit SKIPPED;
}

sub told {
	my ( $name, @what ) = @_;
	printf "%-${width}s %s\n", $name, join ' ', @what;
	return;
}

1;
