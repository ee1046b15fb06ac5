# What a master wrote and nobody else has, when it dies: its clients have no
# answer, and the group goes on without it. When it comes back these records are
# cut from its log and kept in salvage/, and it holds what all hold.
use strict;
use warnings;
use Group;
use Nodelife;
use Test::More;

my $g = Group->new->start;
my $m = $g->master;
my @r = $g->replicas;
my $c = $m->client;
is $c->cmd( 'SET', "k$_", 'committed' ), 'OK', "k$_" for 1 .. 3;
ok $g->settle, 'all have it';
my $at = $m->stat->{positions}{committed};

# Replicas that are held are connected for a while: what is written then is
# appended. They are killed before they could take it.
my ( $tail, $clients ) = ( 0, 0 );
my @held = map { ( $_->{pid}, values %{ $_->workers } ) } @r;
kill 'STOP', @held;
my @c;
for my $n ( 1 .. 100 ) {
	push @c, $m->client;
	$c[-1]->send( 'SET', "k$n", "tail of connection $n" );
}
eventually {
	my $p = $m->stat->{positions};
	$tail = $p->{durable} - $p->{committed};
	$tail >= 100;
} 'the master has records that nobody else has' or diag $tail;
kill 'KILL', @held;
$_->kill9 for @r;
# An answer to any would be a lie.
my @answers = map { $_->readable(0) ? $_->reply // '(nil)' : 'none' } @c;
is_deeply [ grep { $_ eq 'OK' } @answers ], [], 'none of them was answered OK';
$m->kill9;

$_->spawn for @r;
$_->wait_serving for @r;
ok my $new = $g->wait_master, 'the others elect one';
is $new->client->cmd( 'GET', 'k1' ), 'committed', 'what was committed is there';
is $new->client->cmd( 'GET', 'k50' ), undef, 'the rest never was';
is $new->client->cmd( 'SET', "n$_", 'new' ), 'OK', "n$_ is written" for 1 .. 5;

$m->spawn->wait_serving;
eventually { ( $m->fresh || {} )->{role} eq 'replica' } 'the old one follows' or diag $g->roles;
my $have = $g->same_content('all hold the same');
is $have->{k1}, 'committed', '... what was committed';
is $have->{k50}, undef, '... nothing of the tail';
is $have->{n5}, 'new', '... and what came later';
my @kept = $m->salvaged;
ok @kept, 'the tail is kept' and note "@kept";
is_deeply [ map { $_->salvaged } @r ], [], '... by nobody else';
like slurp( $m->{log} ), qr{salvage}, 'and its log says so';

# What was kept can be read.
my $text = join '', map { ( $m->run( 'nodelifewal', 'dump', '-v', $_ ) )[1] } @kept;
my $found = () = $text =~ /tail of connection/g;
ok $found >= 100, "nodelifewal dump shows what was cut ($found)";

# A restart sees no damage in a log that was cut.
is $m->stop, 0, 'it stops';
$m->start;
$g->same_content('and boots');
is_deeply [ $g->stop ], [ 0, 0, 0 ], 'stopped';
done_testing;
