# Each worker of the master, then of a replica, is held (SIGSTOP) under load, and
# let go on. It may be that another becomes master meanwhile, or that nothing is
# written for as long: behind it the service is there, nothing is lost, what
# clients saw is linearizable, all hold the same. So, too, when a whole node is
# held for longer than a master's lease: when it goes on it is master no more,
# and answers no read that is old.
use strict;
use warnings;
use Group;
use Nodelife;
use Test::More;

my $g    = Group->new->start;
my $load = $g->load( keys => 100, seconds => 200, rate => 2000 );
ok $load->wait_acked(200), 'a load';

# Held until the load has gone on, for so long at most.
sub hold {
	my ( $m, $what, $most, @pids ) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	kill 'STOP', @pids;
	my $served = $load->wait_served($most);
	kill 'CONT', @pids;
	note "$what of $m->{name} held: writes " . ( $served ? 'went on' : 'waited' );
	ok $load->wait_served, "$what of $m->{name} goes on: writes do" or diag $g->roles;
	return $served;
}

for my $which (qw(master replica)) {
	for my $name (qw(wal vlsn store checkpoint group gateway0 health restore)) {
		my $m = $g->wait_master or BAIL_OUT 'no master: ' . $g->roles;
		($m) = $g->replicas if $which eq 'replica';
		my $pid = $m->workers->{$name} or next;
		# Before its supervisor takes it for stuck.
		my $served = hold( $m, $name, $which eq 'replica' ? 8 : 1, $pid );
		ok $served, '... and went on before' if $which eq 'replica';
	}
}

my $m = $g->wait_master;
my $c = $m->client;
is $c->cmd(qw(SET held before)), 'OK', 'a write at the master';
my @all = ( $m->{pid}, values %{ $m->workers } );
kill 'STOP', @all;
my $next = wait_until {
	# Who is held shows what it was.
	my ($new) = grep { $_ != $m && ( ( $_->stat // {} )->{role} // '' ) eq 'master' } $g->members;
	$new && $new->takes_writes && $new;
};
ok $next, 'the whole master is held: there is another';
is $next->client->cmd(qw(SET held behind)), 'OK', '... which takes a write';
# These are there when it goes on: before its group has seen the time, maybe.
$c->send(qw(GET held));
kill 'CONT', @all;
isnt $c->reply // '(nil)', 'before', 'the old one gives no old answer';
eventually { ( $m->fresh || {} )->{role} eq 'replica' } '... and follows';
ok $load->wait_served, 'writes go on';
my $h = $load->stop;
note $h->summary;
is $h->fault, '', 'what clients saw is linearizable';
is_deeply [ $h->odd_errors ], [], 'they met no other errors';
$g->same_content;
is_deeply [ $g->stop ], [ 0, 0, 0 ], 'stopped';
done_testing;
