# The judge of histories (t/lib/Register.pm) is judged: by histories that a
# register cannot have, each of a kind, and by a search through all orders that
# small random ones may have had.
use strict;
use warnings;
use List::Util qw(min);
use Register;
use Test::More;

my $seed = $ENV{SEED} // time;
note "seed $seed: SEED=$seed replays it";
srand $seed;

sub w { my ( $v, $start, $end, $result ) = @_; return [ $start, $end, 'w', 'k', $v, $result // 'ok' ] }
sub r { my ( $v, $start, $end, $result ) = @_; return [ $start, $end, 'r', 'k', $v, $result // 'ok' ] }

my @good = (
	[ 'nothing at all' ],
	[ 'nothing is read', r( '-', 1, 2 ) ],
	[ 'a write, then a read', w( a => 1, 2 ), r( a => 3, 4 ) ],
	[ 'a read during the write', w( a => 1, 9 ), r( '-', 2, 3 ), r( a => 4, 5 ) ],
	[ 'writes at once, either last', w( a => 1, 5 ), w( b => 1, 5 ), r( a => 6, 7 ) ],
	[ 'an unknown write that came', w( a => 1, 2 ), w( b => 3, 4, 'unknown' ), r( b => 9, 10 ) ],
	[ 'an unknown write that came late', w( a => 1, 2 ), w( b => 3, 4, 'unknown' ), r( a => 5, 6 ), r( b => 7, 8 ) ],
	[ 'an unknown write that never came', w( a => 1, 2 ), w( b => 3, 4, 'unknown' ), r( a => 9, 10 ) ],
	[ 'a refused write', w( a => 1, 2 ), w( b => 3, 4, 'refused' ), r( a => 9, 10 ) ],
	[ 'a read that failed', w( a => 1, 2 ), r( '-', 3, 4, 'unknown' ) ],
	[ 'between two that abut', w( a => 1, 2 ), r( a => 3, 6 ), w( c => 4, 7 ), w( b => 5, 8 ), r( b => 9, 10 ) ],
);
my @bad = (
	[ 'a lost write', w( a => 1, 2 ), r( '-', 3, 4 ) ],
	[ 'a lost overwrite', w( a => 1, 2 ), w( b => 3, 4 ), r( a => 5, 6 ) ],
	[ 'a stale read', w( a => 1, 2 ), w( b => 3, 4 ), r( b => 5, 6 ), r( a => 7, 8 ) ],
	[ 'a read that goes back during a write', w( a => 1, 2 ), w( b => 3, 20 ), r( b => 5, 6 ), r( a => 7, 8 ) ],
	[ 'a value of nobody', r( a => 1, 2 ) ],
	[ 'a refused value', w( a => 1, 2, 'refused' ), r( a => 3, 4 ) ],
	[ 'a read before its write', r( a => 1, 2 ), w( a => 3, 4 ) ],
	[ 'an unknown write that came and went', w( a => 1, 2 ), w( b => 3, 4, 'unknown' ), r( b => 5, 6 ), r( a => 7, 8 ) ],
	[ 'a read of two minds', w( a => 1, 9 ), w( b => 1, 9 ), r( a => 10, 11 ), r( b => 12, 13 ) ],
	[ 'one value by two writes', w( a => 1, 2 ), w( a => 3, 4 ) ],
	[ 'a write that fits nowhere', w( a => 1, 2 ), r( a => 3, 4 ), w( b => 5, 6 ), r( a => 7, 8 ) ],
	[ 'nothing again', w( a => 1, 20 ), r( a => 2, 3 ), r( '-', 4, 5 ) ],
);
for (@good) {
	my ( $name, @ops ) = @$_;
	is Register::fault( \@ops ), '', $name;
}
for (@bad) {
	my ( $name, @ops ) = @$_;
	isnt Register::fault( \@ops ), '', "$name is found";
	note Register::fault( \@ops );
}
isnt Register::fault( [ w( a => 1, 2 ), [ 3, 4, 'r', 'other', 'a', 'ok' ] ] ), '',
  'one key is not another';

# All orders there are: which operation may come next is one that no other ended
# before. $left: not placed yet; $held: the register's value.
sub possible {
	my ( $left, $held ) = @_;
	my @sure = grep { $_->[5] eq 'ok' } @$left;
	return 1 if !@sure;
	my $limit = min map { $_->[1] } @sure;
	for my $i ( 0 .. $#$left ) {
		my $op = $left->[$i];
		next if $op->[0] > $limit;
		next if $op->[2] eq 'r' && $op->[4] ne $held;
		my @rest = @$left;
		splice @rest, $i, 1;
		return 1 if possible( \@rest, $op->[2] eq 'w' ? $op->[4] : $held );
	}
	return 0;
}

# A history that a register did have, each operation at a point between its ends;
# then, often, a reader is made to say something else.
sub random_history {
	my $n = 1 + int rand 7;
	my ( $held, @ops ) = ('-');
	my @values = ('-');
	for my $i ( 1 .. $n ) {
		my ( $start, $end ) = ( $i * 10 - int rand 40, $i * 10 + 1 + int rand 40 );
		my $kind = rand;
		if ( $kind < 0.5 ) { push @ops, [ $start, $end, 'r', 'k', $held, 'ok' ]; next }
		my $v = "v$i";
		push @values, $v;
		my $result = $kind < 0.8 ? 'ok' : 'unknown';
		push @ops, [ $start, $end, 'w', 'k', $v, $result ];
		$held = $v if $result eq 'ok' || rand() < 0.5;
	}
	for (@ops) {
		$_->[4] = $values[ rand @values ] if $_->[2] eq 'r' && rand() < 0.3;
	}
	return @ops;
}

my ( $differ, %seen );
for my $round ( 1 .. $ENV{ROUNDS} // 4000 ) {
	my @ops  = random_history();
	my $want = possible( [ grep { $_->[5] ne 'refused' } @ops ], '-' );
	my $is   = Register::fault( \@ops );
	$seen{$want}++;
	next if $want == ( $is eq '' );
	$differ = "round $round: $is: " . join '; ', map { "@$_[2, 4, 0, 1, 5]" } @ops;
	last;
}
is $differ, undef, 'as a search through all orders says';
ok $seen{0} > 100 && $seen{1} > 100, "of both kinds: $seen{0} bad, $seen{1} good";
done_testing;
