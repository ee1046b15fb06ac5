# Is a history of single-key operations linearizable? Each key is a register of
# its own that is empty at first; no two writes write the same value, so a read
# says whose value it saw.
#
# An operation is [start, end, op, key, value, result]; op 'r': `value` is what it
# read ('-': nothing) if the result is 'ok', else it says nothing; op 'w': the
# result is 'ok' (it happened between start and end), 'refused' (it never
# happened) or anything else (it happened after its start, or never).
#
# The rule (Gibbons and Korach, "Testing shared memories", for histories in
# which each read's write is known): all operations of one value are a cluster.
# Let f be the earliest end in it and s the latest start. If f < s, the register
# holds the value all the time from f to s (a forward zone). Else all of the
# cluster fits into a point between s and f (a backward zone). It is linearizable
# if no two forward zones overlap, no backward zone lies wholly within a forward
# one, and no read ends before its write begins.
package Register;

use strict;
use warnings;

use constant { FOREVER => 9e18, BEFORE => -9e18 };

# What cannot be: a sentence. '' if all is well.
sub fault {
	my ($ops) = @_;
	my %key;
	push @{ $key{ $_->[3] } }, $_ for @$ops;
	for my $k ( sort keys %key ) {
		my $why = fault_of_key( $key{$k} );
		return "key $k: $why" if $why ne '';
	}
	return '';
}

# value => { write => [start, end] or undef, refused, f, s, first (end of the
# first read) }
sub clusters {
	my ($ops) = @_;
	my %c = ( '-' => { write => [ BEFORE, BEFORE ], f => BEFORE, s => BEFORE } );
	for (@$ops) {
		my ( $start, $end, $op, undef, $value, $result ) = @$_;
		next if $op eq 'r' && $result ne 'ok';
		my $c = $c{$value} //= { f => FOREVER, s => BEFORE };
		if ( $op eq 'w' ) {
			return "value $value is written twice" if $c->{write} || $c->{refused};
			if ( $result eq 'refused' ) { $c->{refused} = 1; next }
			$end = FOREVER if $result ne 'ok';
			$c->{write} = [ $start, $end ];
			$c->{sure}  = $result eq 'ok';
		}
		else {
			$c->{read} = $end if !defined $c->{read} || $end < $c->{read};
		}
		$c->{f} = $end   if $end < $c->{f};
		$c->{s} = $start if $start > $c->{s};
	}
	return \%c;
}

sub fault_of_key {
	my ($ops) = @_;
	my $c = clusters($ops);
	return $c if !ref $c;
	my ( @forward, @backward );
	for my $v ( sort keys %$c ) {
		my $one = $c->{$v};
		if ( !$one->{write} ) {
			next if !defined $one->{read};
			return "value $v was refused, and read" if $one->{refused};
			return "value $v was read, and nobody wrote it";
		}
		return "value $v was read before it was written"
		  if defined $one->{read} && $one->{read} < $one->{write}[0];
		# What may never have happened, and nobody saw, binds nobody.
		next if !defined $one->{read} && !$one->{sure} && $v ne '-';
		if   ( $one->{f} < $one->{s} ) { push @forward, [ $one->{f}, $one->{s}, $v ] }
		else { push @backward, [ $one->{s}, $one->{f}, $v ] }
	}
	return zones( [ sort { $a->[0] <=> $b->[0] } @forward ], \@backward );
}

sub zones {
	my ( $forward, $backward ) = @_;
	for my $i ( 1 .. $#$forward ) {
		my ( $one, $two ) = @$forward[ $i - 1, $i ];
		return sprintf 'value %s was there from %s to %s, and value %s from %s to %s',
		  @$one[ 2, 0, 1 ], @$two[ 2, 0, 1 ]
		  if $two->[0] < $one->[1];
	}
	# Forward zones are apart: only the last that begins before it can hold it.
	for my $b (@$backward) {
		my ( $low, $high ) = ( 0, scalar @$forward );
		while ( $low < $high ) {
			my $mid = int( ( $low + $high ) / 2 );
			if   ( $forward->[$mid][0] < $b->[0] ) { $low = $mid + 1 }
			else                                   { $high = $mid }
		}
		next if $low == 0;
		my $f = $forward->[ $low - 1 ];
		return sprintf 'value %s was there between %s and %s, when value %s was from %s to %s',
		  $b->[2], @$b[ 0, 1 ], $f->[2], @$f[ 0, 1 ]
		  if $b->[1] < $f->[1];
	}
	return '';
}

1;
