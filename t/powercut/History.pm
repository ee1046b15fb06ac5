# What clients of a load did, and what a node may therefore hold.
#
# The nth operation of a connection is a function of (seed, connection, n), and
# each connection has keys of its own. A node takes a connection's operations in
# their order, so what a connection's keys hold must be the state after exactly k
# of them: no fewer than were answered, no more than were sent.
#
# When the machine was reset in the middle, who sent what looks how many of a
# connection's operations are there: a second history (`later`) goes on from
# these, without those that were sent and never came to be.
#
# Each event is written down with the size that the disk's log had: the answer's
# behind it, so that the log holds all that the answer stood on; the sending's
# in front of it, so that what came of it is behind that place.
package History;

use strict;
use warnings;

use constant {
	CONNECTIONS => 8,
	STRINGS     => 40,    # keys of a connection
	NUMBERS     => 8,
};

# Values: many short ones, and some that make segments fill.
my @lengths = ( [ 50, 200 ], [ 40, 4000 ], [ 10, 40_000 ] );

sub new {
	my ( $class, $seed ) = @_;
	my $self = bless { seed => $seed, sent => [], answered => [], ops => [] },
	  $class;
	for my $c ( 0 .. CONNECTIONS - 1 ) {
		$self->{$_}[$c] = [] for qw(sent answered ops);
		$self->{state}[$c] = { n => 0, held => {} };
	}
	return $self;
}

# ---- operations ----

# One stream of chance for a connection, so that perl's own is left alone.
# A linear congruence's high bits, for its low ones have short periods.
sub draw {
	my ( $self, $c, $below ) = @_;
	my $x = $self->{chance}[$c] //= $self->{seed} * 64 + $c;
	$self->{chance}[$c] = $x = ( $x * 69_069 + 362_437 ) % 2**32;
	return int( $x / 2**32 * $below );
}

sub value {
	my ( $self, $c, $tag ) = @_;
	my $kind = $self->draw( $c, 100 );
	my $most;
	for my $l (@lengths) {
		$most = $l->[1];
		last if ( $kind -= $l->[0] ) < 0;
	}
	my $length = 1 + $self->draw( $c, $most );
	my $unit = "$c.$tag;";
	return substr $unit x ( 1 + $length / length $unit ), 0, $length;
}

sub simple {
	my ( $self, $c, $tag ) = @_;
	my $string = "s:$c:" . $self->draw( $c, STRINGS );
	my $number = "n:$c:" . $self->draw( $c, NUMBERS );
	my $kind   = $self->draw( $c, 100 );
	return [ 'SET', $string, $self->value( $c, $tag ) ] if $kind < 50;
	return [ 'APPEND', $string, substr $self->value( $c, $tag ), 0, 1000 ]
	  if $kind < 65;
	return [ 'INCR', $number ] if $kind < 85;
	return [ 'DEL', $kind < 95 ? $string : $number ];
}

# A list of commands: more than one are a transaction.
sub op {
	my ( $self, $c, $n ) = @_;
	my $ops = $self->{ops}[$c];
	while ( @$ops <= $n ) {
		my $i = $self->{made}[$c]++;    # no two values are the same
		my $count = $self->draw( $c, 100 ) < 15 ? 2 + $self->draw( $c, 4 ) : 1;
		push @$ops, [ map { $self->simple( $c, "$i.$_" ) } 1 .. $count ];
	}
	return $ops->[$n];
}

sub keys_of {
	my ($c) = @_;
	return ( ( map { "s:$c:$_" } 0 .. STRINGS - 1 ),
		map { "n:$c:$_" } 0 .. NUMBERS - 1 );
}

# ---- what happened ----

sub load {
	my ($path) = @_;
	open my $f, '<', $path or die "$path: $!";
	my ( $word, $seed ) = split ' ', <$f>;
	my $now = my $self = History->new($seed);
	while ( my $line = <$f> ) {
		chomp $line;
		my ( $what, $size, $c, $n ) = split ' ', $line;
		if ( defined $n ) {
			$now = $self->{later} //= History->new($seed);
			$now->goes_on( $self, $c, $n, $size );
		}
		elsif ( !defined $c ) { $self->{$what} = $size }
		else                  { push @{ $now->{$what}[$c] }, $size }
	}
	return $self;
}

# Of the connection's operations before, n were seen to be there.
sub goes_on {
	my ( $self, $before, $c, $n, $size ) = @_;
	my $sent = $before->{sent}[$c];
	$self->op( $c, $#$sent );
	splice @{ $self->{ops}[$c] }, $n, @$sent - $n;
	$self->{sent}[$c]     = [ @$sent[ 0 .. $n - 1 ] ];
	$self->{answered}[$c] = [ ($size) x $n ];
	return;
}

# The history that a cut at that size is judged by.
sub at {
	my ( $self, $size ) = @_;
	return $self->{later} && $size >= $self->{looked} ? $self->{later} : $self;
}

# How many of a sorted list are below the limit.
sub below {
	my ( $list, $limit ) = @_;
	my ( $low, $high ) = ( 0, scalar @$list );
	while ( $low < $high ) {
		my $mid = int( ( $low + $high ) / 2 );
		if   ( $list->[$mid] < $limit ) { $low = $mid + 1 }
		else                            { $high = $mid }
	}
	return $low;
}

# (answered, sent): the least and the most operations of a connection whose
# effects a log of that size holds.
sub bounds {
	my ( $self, $c, $size ) = @_;
	return ( below( $self->{answered}[$c], $size + 1 ),
		below( $self->{sent}[$c], $size ) );
}

# ---- what must be there ----

sub apply {
	my ( $held, $op ) = @_;
	for (@$op) {
		my ( $command, $key, $value ) = @$_;
		if    ( $command eq 'SET' )    { $held->{$key} = $value }
		elsif ( $command eq 'APPEND' ) { $held->{$key} .= $value }
		elsif ( $command eq 'INCR' )   { $held->{$key}++ }
		else                           { delete $held->{$key} }
	}
	return;
}

# The first key that differs, undef if none does.
sub differs {
	my ( $held, $found ) = @_;
	for my $key ( sort keys %$found ) {
		my ( $want, $is ) = ( $held->{$key}, $found->{$key} );
		return $key if defined $want != defined $is;
		return $key if defined $want && $want ne $is;
	}
	return;
}

# After how many operations from..to the keys hold what was found; undef: none.
sub fits {
	my ( $self, $c, $found, $from, $to ) = @_;
	my $s = $self->{state}[$c];
	$s = $self->{state}[$c] = { n => 0, held => {} } if $s->{n} > $from;
	apply( $s->{held}, $self->op( $c, $s->{n}++ ) ) while $s->{n} < $from;
	my %held = %{ $s->{held} };
	for my $n ( $from .. $to ) {
		return $n if !defined differs( \%held, $found );
		apply( \%held, $self->op( $c, $n ) );
	}
	return;
}

sub shown {
	my ($value) = @_;
	return 'nothing' if !defined $value;
	return sprintf '"%.24s" (%d bytes)', $value, length $value;
}

# What is wrong with what a connection's keys hold after a cut: ('', how many
# are there), or (why, how many acknowledged ones are lost).
sub judge {
	my ( $self, $c, $found, $size ) = @_;
	my ( $answered, $sent ) = $self->bounds( $c, $size );
	my $n = $self->fits( $c, $found, $answered, $sent );
	return ( '', $n ) if defined $n;
	my $earlier = $self->fits( $c, $found, 0, $answered );
	return ( "connection $c: of $answered acknowledged operations $earlier"
		  . ' are there', $answered - $earlier )
	  if defined $earlier;
	$self->fits( $c, $found, $answered, $answered );
	my $held = $self->{state}[$c]{held};
	my $key  = differs( $held, $found );
	return ( "connection $c: no state of $answered to $sent operations fits;"
		  . " after $answered $key was " . shown( $held->{$key} )
		  . ' and is ' . shown( $found->{$key} ), 1 );
}

1;
