# A write that is larger than its gateway's part of the room goes alone in the
# node, not one in each gateway: what was accepted is applied, so nobody who
# reads waits for a checkpoint, and FLUSHALL is taken; and the death of any
# gateway leaves nothing in the others' way.
use strict;
use warnings;
use Nodelife;
use Test::More;

my $gateways = 4;
my $n        = Nodelife->new( node => { gateways => $gateways }, liveness => { timeout => '5m' } );
$n->configure( store => { table_size => '16M', max_value => '4M' } )->start;

# Two clients of each gateway: while they come the others do not accept.
my ( $all, @c ) = ( $n->workers );
for my $g ( 0 .. $gateways - 1 ) {
	my @others = map { $all->{"gateway$_"} } grep { $_ != $g } 0 .. $gateways - 1;
	kill STOP => @others;
	push @c, map { $n->client } 1 .. 2;
	like $_->cmd( 'INFO', 'clients' ), qr/^gateway:$g\r/m, "a client of gateway $g"
	  for @c[ -2, -1 ];
	kill CONT => @others;
}
is $n->client->cmd( 'SET', 'other', 1 ), 'OK', 'a key';

sub large {
	my ($i) = @_;
	return Nodelife::Client::encode( 'MSET', map { ( "big$i.$_", 'B' x 4e6 ) } 1 .. 4 );
}

# All at once, while nothing is applied.
my ( $checkpoint, $store ) = @{ $n->workers }{qw(checkpoint store)};
kill STOP => $checkpoint, $store;
my @pid;
for my $i ( 0 .. $#c ) {
	my $pid = fork // die;
	if ( !$pid ) {
		$c[$i]->raw( large($i) );
		POSIX::_exit(0);
	}
	push @pid, $pid;
}
# Each has sent all of it when its gateway has read it.
waitpid $_, 0 for splice @pid;
kill CONT => $store;

my ( $v, %got ) = ( $n->client );
$v->{timeout} = 60;
is $v->cmd(qw(GET other)), 1, 'reads go on';
eventually {
	for my $i ( grep { !defined $got{$_} && $c[$_]->readable(0) } 0 .. $#c ) {
		$got{$i} = $c[$i]->reply;
	}
	keys %got == @c;
}
120, 'all are answered';
is $v->cmd(qw(GET other)), 1, 'and on';
my @taken = grep { $got{$_} eq 'OK' } keys %got;
ok @taken == 1 || @taken == 2, 'taken was one, or one for each half of the table: ' . @taken;
is scalar( grep {/^ERR the store is full \(a checkpoint does not end\)/} values %got ),
  @c - @taken, 'the others were refused';
is $v->cmd( 'STRLEN', "big$_.4" ), 4e6, 'what was taken is there' for @taken;
is $v->cmd('FLUSHALL'), 'OK', 'FLUSHALL is taken';
is $v->cmd('DBSIZE'),   0,    'and applied';
is( ( $n->http('/readyz?want=read') )[0], 200, 'which the node says' );

# The gateways die, whoever of them goes alone; the others do not wait for it.
kill CONT => $checkpoint;
eventually { ( $v->cmd(qw(SET other 1)) // '' ) eq 'OK' } 'it goes on by itself';
eventually { $n->trouble('store_waits') eq '' } 'and no write waits any more';
for my $round ( 1 .. 3 ) {
	my @w = map { $n->client } 1 .. 4;
	for my $i ( 0 .. $#w ) {
		my $pid = fork // die;
		if ( !$pid ) {
			eval { $w[$i]->raw( large("k$i") ); $w[$i]->reply };
			POSIX::_exit(0);
		}
		push @pid, $pid;
	}
	$all = $n->workers;
	my @gw = map { $all->{"gateway$_"} } 0 .. $gateways - 1;
	eventually {
		$n->client->cmd( 'EXISTS', map {"big$_"} map { ( "k$_.1", "k$_.4" ) } 0 .. 3 ) > 0
	} "round $round: some are taken";
	kill KILL => $gw[ $round % $gateways ];
	eventually { ( eval { $n->client->cmd( 'SET', "r$round", 1 ) } // '' ) eq 'OK' }
	'a gateway dies: others write';
	waitpid $_, 0 for splice @pid;
	my $c = $n->client;
	$c->{timeout} = 60;
	is $c->cmd( 'MSET', map { ( "all$_", 'B' x 4e6 ) } 1 .. 4 ), 'OK', 'also what goes alone';
	is $c->cmd('FLUSHALL'), 'OK', 'and all is deleted';
}
is $n->stat->{node_restarts}, 0, 'without a restart';
is $n->stop, 0, 'stopped';
done_testing;
