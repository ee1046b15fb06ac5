# A member's row tells of the connection by which it feeds this node, and of the
# one by which this node has fed it: masters' numbers never meet there. Else the
# end of one that was, long ago, is taken for that of the new one, and who was
# master is fed by nobody until it tries again.
use strict;
use warnings;
use Group;
use Nodelife;
use Test::More;

my $g = Group->new->start;

# Whole nodes are held in turn, so that all have been master and follow.
for my $turn ( 1 .. 3 ) {
	my $m   = $g->wait_master or BAIL_OUT 'no master: ' . $g->roles;
	my @all = ( $m->{pid}, values %{ $m->workers } );
	kill 'STOP', @all;
	my $next = wait_until {
		my ($new) =
			grep { $_ != $m && ( ( $_->stat // {} )->{role} // '' ) eq 'master' } $g->members;
		$new && $new->takes_writes;
	};
	kill 'CONT', @all;
	ok $next, "turn $turn: $m->{name} is held: there is another master";
	eventually { ( $m->fresh || {} )->{role} eq 'replica' } '... and it follows';
}
$g->settle;

for my $m ( $g->members ) {
	my ( %to, @twice );
	for ( split /\n/, slurp( $m->{log} ) ) {
		next unless /the log (goes to|comes from) (\S+) .*connection (\d+)/;
		push @twice, "$2 $3" if $to{"$2 $3"} && $to{"$2 $3"} ne $1;
		$to{"$2 $3"} = $1;
	}
	ok %to > 1, "$m->{name} has fed, or was fed: " . keys %to;
	is_deeply \@twice, [], '... by numbers that are of one of them';
}
$g->stop;
done_testing;
