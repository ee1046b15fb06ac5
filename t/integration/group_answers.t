# What becomes of the clients of a master that loses its quorum while they wait:
# every one is answered, what is not known has a name, and all but those that
# read there anyway are closed.
use strict;
use warnings;
use lib 't/lib';
use Group;
use Nodelife;
use Test::More;

my $g      = Group->new( members => 3 )->start;
my $master = $g->master;
my @others = $g->replicas;
my $c      = $master->client;

is $c->cmd(qw(SET k v)), 'OK', 'a write';
like my $token = $c->cmd(qw(NODELIFE TOKEN)), qr/^[0-9a-f]{8}-\d+-\d+-\d+$/,
  'has a name';
is $c->cmd( 'NODELIFE', 'OUTCOME', $token ), 'committed', 'it is committed';
is_deeply $c->cmd(qw(WAITAOF 1 2 20000)), [ 1, 2 ], 'all have it on disk';

# Stands still, processes and all.
sub each_process {
	my ( $m, $sig ) = @_;
	my @pids = ( $m->{pid}, values %{ $m->workers } );
	kill $sig, $sig eq 'STOP' ? @pids : reverse @pids;
	return;
}

# Closed by the other side, and nothing before that.
sub is_closed {
	my ( $d, $name ) = @_;
	return ok $d->readable(60) && !$d->fill && !$d->{late}, $name;
}

my $reader = $master->reader;
my %client = map { $_ => $master->client } qw(idle multi set incr wait watch);
$client{idle}->cmd('PING');
$client{multi}->cmd('MULTI');
$client{multi}->cmd(qw(INCR n));
$client{watch}->cmd(qw(WATCH k));
$client{wait}->cmd(qw(SET w 1));
each_process( $_, 'STOP' ) for @others;
$client{set}->send(qw(SET k w));
$client{incr}->send(qw(INCR n));
$client{wait}->send(qw(SET w 2));
$client{wait}->send(qw(WAIT 2 0));
my %said = map { $_ => $client{$_}->reply } qw(set incr wait);
like $said{$_}, qr/^(?:UNKNOWNOUTCOME .*: token \S+|NOREPLICAS .*)$/,
  "$_: $said{$_}"
  for qw(set incr wait);
is $client{wait}->reply, 0, 'WAIT: nobody tells any more';
is_closed( $client{$_}, "$_: closed" ) for qw(idle multi set incr wait watch);
is $reader->cmd(qw(GET k)), 'v', 'who reads there anyway reads on';
like $reader->cmd(qw(SET k x)), qr/^NOMASTER no master for \d+ ms: \S/,
  'and is told that there is no master';
each_process( $_, 'CONT' ) for @others;

my $next = $g->wait_master or BAIL_OUT( 'no master: ' . $g->roles );
my $d    = $next->client;
is $d->cmd(qw(SET l v)), 'OK', 'there is a master again, and writes go on';
is $d->cmd( 'NODELIFE', 'OUTCOME', $token ), 'committed',
  'what was committed is';
for ( sort keys %said ) {
	my ($t) = $said{$_} =~ /: token (\S+)$/ or next;
	my $fate;
	ok wait_until( sub { ( $fate = $d->cmd( 'NODELIFE', 'OUTCOME', $t ) ) ne 'unknown' } ),
	  "$_: what became of it is known";
	my ( $key, $is, $not ) =
	    $_ eq 'set'  ? ( 'k', 'w', 'v' )
	  : $_ eq 'incr' ? ( 'n', 1,   undef )
	  :                ( 'w', 2,   1 );
	is $d->cmd( 'GET', $key ), $fate eq 'committed' ? $is : $not, "which is so: $fate";
}
$g->same_content;
is_deeply [ $g->stop ], [ 0, 0, 0 ], 'all stop';
done_testing;
