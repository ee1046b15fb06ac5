# Hosts that lose each other, in a network of the test's own: the master from
# both, or from one, a replica from both; each both ways, and one way only, so
# that beats come and nothing goes, or the other way round. Clients reach all
# members all the time. Whoever can be heard by a majority and hears it serves
# within a bounded time; nothing that was answered is lost, no read is old,
# whichever member gave it; when all is well again, all hold the same.
use strict;
use warnings;
use Group;
use Net;
use Nodelife;
use Test::More;

my $why = Net::lacks();
plan skip_all => "no network of one's own: $why" if $why ne '';

my $net  = Net->new(3);
my $g    = Group->new( $net->for_group )->start;
my $load = $g->load( keys => 100, seconds => 300, rate => 2000 );
ok $load->wait_acked(200), 'a load';

sub number { my ($m) = @_; return $m->{name} =~ s/\D//r }

my @case = (
	[ master => 'cut off', sub { my ( $m, @r ) = @_; $net->part( [$m], \@r ) } ],
	[ master => 'not heard', sub { my ( $m, @r ) = @_; $net->cut( $m => $_ ) for @r } ],
	[ master => 'deaf', sub { my ( $m, @r ) = @_; $net->cut( $_ => $m ) for @r } ],
	[ master => 'cut off from one', sub { my ( $m, $r ) = @_; $net->part( [$m], [$r] ) } ],
	[ master => 'not heard by one', sub { my ( $m, $r ) = @_; $net->cut( $m => $r ) } ],
	[ master => 'deaf to one', sub { my ( $m, $r ) = @_; $net->cut( $r => $m ) } ],
	[ replica => 'cut off', sub { my ( $m, $r, $s ) = @_; $net->part( [$r], [ $m, $s ] ) } ],
	[ replica => 'not heard', sub { my ( $m, $r, $s ) = @_; $net->cut( $r => $_ ) for $m, $s } ],
	[ replica => 'deaf', sub { my ( $m, $r, $s ) = @_; $net->cut( $_ => $r ) for $m, $s } ],
	[ replica => 'cut off from the other', sub { my ( $m, $r, $s ) = @_; $net->part( [$r], [$s] ) } ],
);
my @loss;
for (@case) {
	my ( $whom, $what, $do ) = @$_;
	my $m = $g->wait_master or BAIL_OUT 'no master: ' . $g->roles;
	my $term = $m->stat->{term};
	my $then = now();
	$do->( map { number($_) } $m, $g->others($m) );
	# What was written before it was felt says nothing: two leases.
	wait_until { now() > $then + 0.5 };
	ok $load->wait_served, "$whom $what: writes go on" or diag $g->roles;
	$net->heal;
	ok $load->wait_served, '... and when all is well' or diag $g->roles;
	ok $g->settle(120), '... all follow' or diag $g->roles;
	push @loss, [ "$whom $what", $then, now(), $g->wait_master->stat->{term} - $term ];
}
my $h = $load->stop;
note $h->summary;
for (@loss) {
	my ( $what, $from, $to, $terms ) = @$_;
	note sprintf '%s: %.0f ms without a write, %d terms', $what,
	  $h->longest( $from, $to ), $terms;
}
is $h->fault, '', 'what clients saw is linearizable';
is_deeply [ $h->odd_errors ], [], 'they met no other errors';
$g->same_content;

# A member that is cut off while it boots comes to nothing, and disturbs nobody.
my ( $m, $r ) = ( $g->master, $g->replicas );
my $term = $m->stat->{term};
$r->kill9;
$net->part( [ number($r) ], [ grep { $_ != number($r) } 1 .. 3 ] );
$r->spawn->wait_serving;
my $c = $r->reader;
ok defined $c->cmd(qw(DBSIZE)), 'cut off from its boot on: it serves what it has';
like $r->client->cmd(qw(GET k1)), qr/^NOMASTER /, '... and knows no master';
$net->heal;
ok $g->settle, 'it follows then' or diag $g->roles;
is $g->master, $m, 'the master stays';
is $m->stat->{term}, $term, '... in its term';
is_deeply [ $g->stop ], [ 0, 0, 0 ], 'stopped';
done_testing;
