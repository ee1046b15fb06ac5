# All that can go wrong with members of a group, at random, one member at a time
# and now and then two: killed whole, or one of its workers; stopped in order;
# held, whole or one of its workers; cut off from one or both others, in one
# direction or in both. One fault is behind another, each for a while, under
# load. Whenever two of three are well, writes go on within a bounded time; in the
# end nothing is lost, what clients saw is linearizable, and all hold the same.
#
# SECONDS=1800 SEED=N for longer.
use strict;
use warnings;
use Group;
use Net;
use Nodelife;
use Test::More;

my $seconds = $ENV{SECONDS} // 15;
my $seed    = $ENV{SEED}    // time;
diag "seed $seed: SEED=$seed replays it" if $ENV{SECONDS};
note "seed $seed";
srand $seed;

my $why = Net::lacks();
note "no cuts: $why" if $why ne '';
my $net = $why eq '' ? Net->new(3) : undef;
my $g = Group->new( $net ? $net->for_group : (),
	restart => { limit => 1000, backoff_max => '500ms' } )->start;
my $load = $g->load( keys => 300, seconds => $seconds + 600,
	rate => $seconds > 60 ? 500 : 2000, seed => $seed );
ok $load->wait_acked(100), 'a load';

sub number { my ($m) = @_; return $m->{name} =~ s/\D//r }
sub all_of { my ($m) = @_; return ( $m->{pid}, values %{ $m->workers } ) }

sub one_of {
	my ($m) = @_;
	my %w = %{ $m->workers };
	my $name = ( sort keys %w )[ rand keys %w ] // return;
	return ( $name, $w{$name} );
}

# What is done to a member: (what was done, how it is undone).
my %fault = (
	killed => sub {
		my ($m) = @_;
		$m->kill9;
		return ( 'killed', sub { $m->spawn } );
	},
	stopped => sub {
		my ($m) = @_;
		my $from = -s $m->{log};
		$m->signal('TERM');
		return ( 'stopped', sub {
			is $m->wait_exit, 0, "$m->{name} stops: exit code 0"
			  or diag substr slurp( $m->{log} ), $from;
			$m->spawn;
		} );
	},
	held => sub {
		my ($m) = @_;
		my @pids = all_of($m);
		kill 'STOP', @pids;
		return ( 'held', sub { kill 'CONT', @pids } );
	},
	worker_killed => sub {
		my ($m) = @_;
		my ( $name, $pid ) = one_of($m) or return;
		kill 'KILL', $pid;
		return ( "$name killed", sub { } );
	},
	worker_held => sub {
		my ($m) = @_;
		my ( $name, $pid ) = one_of($m) or return;
		kill 'STOP', $pid;
		return ( "$name held", sub { kill 'CONT', $pid } );
	},
	$net ? (
		cut => sub {
			my ($m) = @_;
			my $n = number($m);
			my @others = grep { $_ != $n } 1 .. 3;
			shift @others if rand() < 0.3;
			my $way = ( 'both ways', 'not heard', 'deaf' )[ rand 3 ];
			for my $o (@others) {
				$net->cut( $n => $o ) if $way ne 'deaf';
				$net->cut( $o => $n ) if $way ne 'not heard';
			}
			return ( "cut from @others, $way", sub { $net->heal } );
		},
	) : (),
);

my ( $end, $count, @said ) = ( now() + $seconds, 0 );
while ( now() < $end ) {
	my @well = $g->members;
	my @undo;
	my $many = rand() < 0.15 ? 2 : 1;
	my $what = '';
	for ( 1 .. $many ) {
		my $m = splice @well, rand @well, 1;
		my $kind = ( sort keys %fault )[ rand keys %fault ];
		my ( $did, $undo ) = $fault{$kind}->($m) or next;
		$what .= ( $what ne '' ? '; ' : '' ) . "$m->{name} $did";
		push @undo, $undo;
	}
	$count++;
	push @said, sprintf '%.1f %s', now(), $what;
	# Long enough for an election, or too short for one.
	my $until = now() + rand 1.2;
	wait_until { now() >= $until } 10;
	my $fine = @undo < 2 ? $load->wait_served(60) : 1;
	$_->() for @undo;
	$fine &&= $load->wait_served(60);
	$fine &&= wait_until {
		!grep { ( ( $_->fresh || {} )->{role} // '' ) !~ /^(?:master|replica)$/ } $g->members
	} 60;
	next if $fine;
	ok 0, "writes go on: $what";
	diag $g->roles;
	last;
}
ok $count > 2, "$count faults";
note $_ for @said;
my $h = $load->stop;
note $h->summary;
is $h->fault, '', 'what clients saw is linearizable';
is_deeply [ $h->odd_errors ], [], 'they met no other errors';
$g->same_content;
is_deeply [ $g->stop ], [ 0, 0, 0 ], 'stopped';
done_testing;
