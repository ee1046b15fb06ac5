# One large write, or one transaction that may be large, is no reason to refuse
# small ones, however long the checkpoint lasts that it waits for.
use strict;
use warnings;
use Nodelife;
use Test::More;

for my $gateways ( 1, 4 ) {
	my $n = Nodelife->new( node => { gateways => $gateways }, liveness => { timeout => '5m' } );
	$n->configure( store => { table_size => '16M', max_value => '4M' } )->start;
	my ( $c, $exec, @big ) = map { $n->client } 1 .. 7;
	$c->pipeline( map { [ 'SET', "k$_", 'v' ] } 1 .. 600 );
	my $checkpoint = $n->workers->{checkpoint};
	kill STOP => $checkpoint;
	my $run = $n->run_begin( 'nodelifectl', '-r', $n->{run}, 'checkpoint' );
	eventually { ( $n->run( 'nodelifestat', '-r', $n->{run} ) )[1] =~ /one frozen/ }
	'a checkpoint lasts';
	$exec->send_all( ['MULTI'], ( map { [ 'EXPIRE', "k$_", 100 ] } 1 .. 600 ), ['EXEC'] );
	$_->send_all( [ 'MSET', map { ( "big$_", 'B' x 4e6 ) } 1 .. 4 ] ) for @big;
	eventually { $n->trouble('store_waits') } "$gateways gateways: it is told that writes wait";
	my ( $small, @refused ) = (0);
	eventually {
		my $r = $c->cmd( 'SET', 'small', $small );
		$small++ if $r eq 'OK';
		push @refused, "$r" if $r ne 'OK';
		!$n->trouble('store_waits') || @refused;
	} "$gateways gateways: until that is over";
	is_deeply \@refused, [], 'small ones go on meanwhile';
	my @got = map { $exec->reply } 1 .. 602;
	like $got[-1], qr/^ERR the store is full \(a checkpoint does not end\).*room for less/,
	  'the transaction is refused';
	my $says = qr/^ERR the store is full \(a checkpoint does not end\).*room for less/;
	is scalar( grep { $_->reply =~ $says } @big ), 5, 'and so are the large writes';
	my $rounds = () = slurp( $n->{log} ) =~ /a checkpoint makes no room/g;
	is $rounds, 1, 'all of them at once';
	is $c->cmd( 'GET', 'small' ), $small - 1, 'what went on is there';
	kill CONT => $checkpoint;
	$n->run_end($run);
	is $n->stop, 0, 'stopped';
}
done_testing;
