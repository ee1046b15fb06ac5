# INFO and CLIENT LIST beside several gateways: what INFO says of clients is
# the node's, after a gateway's death, too; what is one gateway's is named so.
use strict;
use warnings;
use Nodelife;
use Test::More;

my $n = Nodelife->new( node => { gateways => 2 } )->start;

sub info {
	my ( $c, $section ) = @_;
	return { map { /^(\w+):(.*?)\r?$/ ? ( $1, $2 ) : () } split /\n/,
		$c->cmd( 'INFO', $section ) };
}

# Connections go to whoever accepts first: until each gateway has some.
my ( %by, @all );
ok wait_until {
	push @all, $n->client;
	push @{ $by{ info( $all[-1], 'clients' )->{gateway} } }, $all[-1];
	keys %by == 2 && @{ $by{0} } >= 2;
}, 'clients on both gateways';
is info( $by{$_}[0], 'clients' )->{connected_clients}, @all,
  "gateway $_ tells of all clients" for 0, 1;
is info( $by{$_}[0], 'clients' )->{gateway_clients}, @{ $by{$_} },
  'and of its own' for 0, 1;
is info( $by{1}[0], 'nodelife' )->{gateways}, 2, 'of how many gateways';

for my $g ( 0, 1 ) {
	my @lines = split /\n/, $by{$g}[0]->cmd(qw(CLIENT LIST));
	is @lines, @{ $by{$g} }, "CLIENT LIST of gateway $g";
	is scalar( grep { / gateway=$g$/ } @lines ), @lines, 'names it';
}
my @ids = map { $_->cmd(qw(CLIENT ID)) } @{ $by{0} };
my $list = $by{0}[0]
  ->cmd( qw(CLIENT LIST ID), $ids[1], 999999, $ids[0], $ids[1] );
is_deeply [ $list =~ /^id=(\d+)/mg ], [ @ids[ 1, 0, 1 ] ],
  'CLIENT LIST ID gives who is asked for, in that order';

$by{0}[0]->cmd( 'SET', 'k', 1, 'EX', 1000 );
ok wait_until { ( info( $by{1}[0], 'keyspace' )->{db0} // '' ) eq 'keys=1' },
  'keys are counted; nothing is said of what is not';

my $pid = $n->workers->{gateway0};
kill 'KILL', $pid;
ok $n->wait_worker( 'gateway0', $pid ), 'a gateway dies and comes back';
my $left = @{ $by{1} };
ok wait_until {
	info( $by{1}[0], 'clients' )->{connected_clients} == $left;
}, 'the clients it had are gone'
  or diag $by{1}[0]->cmd(qw(INFO clients));
is $n->stop, 0, 'stopped';
done_testing;
