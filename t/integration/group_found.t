# Founding a group of three: an unjoined node says what it waits for, found says
# who is missing and changes nothing; founded, all serve, and it is founded once.
# The initiator, or a member, is killed at one moment after the other while that
# is under way, and two operators found at once: it ends with one group, when
# found is run again. A member that loses its log, or its promises, takes no
# part in anything, and says so.
use strict;
use warnings;
use File::Path ();
use Group;
use Nodelife;
use Test::More;
use Time::HiRes ();

my $g = Group->new;
my ( $n1, $n2, $n3 ) = $g->members;

# What the node file says: uuid; undef as long as it is unjoined.
sub uuid {
	my ($m) = @_;
	my ($uuid) = ( slurp("$m->{data}/node") // '' ) =~ /^group_uuid (\S+)$/m;
	return defined $uuid && $uuid =~ /[^0]/ ? $uuid : undef;
}

sub noted { return -e "$_[0]{data}/note" }

# Each has the same, or none has one.
sub uuids {
	my %seen = map { ( uuid($_) // '-' ) => 1 } $g->members;
	return join ' ', sort keys %seen;
}

sub anew {
	$_->kill9 for grep { !$_->gone } $g->members;
	File::Path::remove_tree( $_->{data} ) for $g->members;
	$g->spawn;
	return;
}

sub waiting {
	my ($m) = @_;
	return wait_until { ( $m->stat // {} )->{troubles} && $m->trouble('unjoined') };
}

# ---- unjoined ----

$n1->spawn;
$n2->spawn;
ok waiting($n1), 'an unjoined node waits';
like $n1->trouble('unjoined'), qr/run nodelifectl found on one member/,
  '  and says for what';
my ( $code, $out, $err ) = $n1->control('status');
like $out, qr/^running, pid \d+: not serving: unjoined: waits to be founded/,
  'nodelifectl status says it, too';
is( ( $n1->http('/readyz') )[0], 503, 'it is not ready' );
is( ( $n1->http('/livez') )[0],  200, 'and alive' );

( $code, $out, $err ) = $n1->run( 'nodelifed', '--init', '-c', $n1->{ini} );
is $code, 78, '--init founds no group of one beside [peer] sections';
like $err, qr/--init --member on each/, '  and says how';
( $code, $out, $err ) = $n1->run( 'nodelifed', '--member', '-c', $n1->{ini} );
is $code, 64, '--member goes with --init';

( $code, $out, $err ) = $g->found($n1);
is $code, 1, 'with one away nothing is founded';
like $err, qr/not reached: n3: nothing is changed/, '  who it is, is said';
like $err, qr/n3 at \Q$g->{place}[2]{peer}\E: .*refused/, '  and why';
is uuids(), '-', '  nobody is of a group';
ok !noted($n1) && !noted($n2), '  and nothing is noted';
( $code, $out, $err ) = $g->found( $n1, '--abandon' );
is $code, 0, 'there is nothing to give up';

# ---- founded ----

$n3->spawn;
waiting($n3);
( $code, $out, $err ) = $g->found($n2);
is $code, 0, 'with all there it is founded' or diag "$out$err";
like $out, qr/^group \S+ is founded: [0-9a-f-]{36}$/m, '  its uuid is told';
like $out, qr/^  n3 at \Q$g->{place}[2]{peer}\E, clients at /m, '  and its members';
ok wait_until { uuids() =~ /^[0-9a-f]{32}$/ }, 'all are of one group';
my $uuid = uuid($n1);
ok $g->wait_master, 'one of them is master' or diag $g->roles;
is $n1->stat->{node_restarts} // 0, 0, 'the boot behind it is no restart';
( $code, $out, $err ) = $g->found($n1);
is $code, 1, 'it is founded once';
like $err, qr/is of a group already/, '  and says so';

is_deeply [ $g->stop ], [ 0, 0, 0 ], 'all stop';
$g->spawn;
ok $g->wait_master, 'started again they find each other';
is uuids(), $uuid, 'as the group they were';
ok wait_until { !grep { noted($_) } $g->members },
  'the note goes when it is needed no more';

# ---- lost memory ----

$n3->kill9;
rename "$n3->{data}/wal", "$n3->{data}/elsewhere";
is $n3->spawn->wait_exit, 1, 'whose log is away does not start';
rename "$n3->{data}/elsewhere", "$n3->{data}/wal";
unlink "$n3->{data}/state" or die "state: $!";
$n3->spawn;
ok wait_until { ( slurp( $n3->{log} ) // '' ) =~ /\(state\) are gone: it neither votes/ },
  'who lost its promises says that it takes no part';
ok $g->wait_master, 'the others go on';
ok wait_until { ( $n3->fresh || {} )->{phase} }, 'it is there';
( $code, $out, $err ) = $g->found($n3);
is $code, 1, 'and founds nothing' or diag "$out$err";
isnt( ( $n3->stat // {} )->{role} // '', 'master', 'nor is it master' );

# ---- killed on the way ----

# The group is there, or there is none and found makes it.
sub one_group {
	my ($what) = @_;
	my ( $code, $out, $err );
	my $done = wait_until {
		( $code, $out, $err ) = $g->found($n1);
		$code == 0 || $err =~ /is of a group already/
	};
	ok $done && wait_until { uuids() =~ /^[0-9a-f]{32}$/ }, $what
	  or diag uuids(), " $out$err";
	return;
}

for my $k ( 0 .. 9 ) {
	my $whom = $k % 3 == 2 ? $n2 : $n1;
	my $ms   = $k < 3 ? $k : $k * $k;
	anew();
	waiting($_) for $g->members;
	my $run = $n1->run_begin( 'nodelifectl', '-r', $n1->{run}, 'found' );
	Time::HiRes::sleep( $ms / 1000 );
	$whom->kill9;
	$whom->spawn;
	$n1->run_end($run);
	wait_until { -S "$whom->{run}/control.sock" };
	one_group("$whom->{name} killed after $ms ms: found again, and it is one group");
}
ok $g->wait_master, 'which has a master' or diag $g->roles;

# ---- two at once ----

anew();
waiting($_) for $g->members;
my @runs = map { $_->run_begin( 'nodelifectl', '-r', $_->{run}, 'found' ) } $n1, $n2;
my @said = map { [ $n1->run_end($_) ] } @runs;
ok( ( grep { $_->[0] == 0 } @said ) <= 1 || uuids() =~ /^[0-9a-f]{32}$/,
	'two at once: one of them, or none' )
  or diag explain \@said;
one_group('and one group in the end');

done_testing;
