# What clients of a group of three are told, on the master and on replicas, and
# what becomes of them when their node is no master any more.
use strict;
use warnings;
use lib 't/lib';
use Group;
use Nodelife;
use Test::More;

my $g      = Group->new( members => 3 )->start;
my $master = $g->master;
my ( $r1, $r2 ) = $g->replicas;
my $c = $master->client;

is $c->cmd(qw(SET k v)), 'OK', 'a write on the master';
like $c->cmd(qw(NODELIFE TOKEN)), qr/^[0-9a-f]{8}-0-\d+-\d+$/, 'it has a name';
my $token = $c->cmd(qw(NODELIFE TOKEN));
is $c->cmd( 'NODELIFE', 'OUTCOME', $token ), 'committed', 'which is committed';
is $c->cmd(qw(GET k)), 'v', 'and a read';
is $c->cmd(qw(WAIT 2 20000)), 2, 'both others have it on disk';
is_deeply $c->cmd(qw(WAITAOF 1 1 20000)), [ 1, 2 ], 'WAITAOF says the same';

# On a replica.
for my $r ( $r1, $r2 ) {
	my $d = $r->client;
	is $d->cmd(qw(SET k w)),
	  "READONLY You can't write against a read only replica: master is $master->{client}",
	  "$r->{name}: a write is told where to go";
	is $d->cmd(qw(GET k)),
	  "NOTMASTER reads need the master, $master->{name} at $master->{client}"
	  . ' (or NODELIFE CONSISTENCY eventual)',
	  'so is a read';
	is $d->cmd('READONLY'), 'OK', 'it may read what is here';
	ok wait_until( sub { ( $d->cmd(qw(GET k)) // '' ) eq 'v' } ), 'which comes';
	ok wait_until( sub { $d->cmd( 'NODELIFE', 'OUTCOME', $token ) eq 'committed' } ),
	  'it says, too, what became of the write';
	is $d->cmd(qw(WAIT 1 0)), 0, 'no master: nobody tells it who has what';
	my $role = $d->cmd('ROLE');
	my ( $host, $port ) = $master->{client} =~ /^(.*):(\d+)$/;
	is_deeply [ @$role[ 0 .. 3 ] ], [ 'slave', $host, $port, 'connected' ], 'ROLE';
	my $info = $d->cmd(qw(INFO replication));
	like $info, qr/^role:slave\r$/m, 'INFO: role';
	like $info, qr/^master_host:\Q$host\E\r\nmaster_port:$port\r\nmaster_link_status:up\r$/m,
	  'and whom it follows';
}
my $role = $c->cmd('ROLE');
is $role->[0], 'master', 'ROLE on the master';
is_deeply [ sort map { "$_->[0]:$_->[1]" } @{ $role->[2] } ],
  [ sort $r1->{client}, $r2->{client} ], 'names both others';
like $c->cmd(qw(INFO replication)),
  qr/^connected_slaves:2\r\nslave0:ip=[\d.]+,port=\d+,state=online,offset=\d+,lag=\d+\r\nslave1:/m,
  'so does INFO';

# Both replicas stop: too few for a write.
my $reader = $master->reader;
my $idle   = $master->client;
$idle->cmd('PING');
$_->stop for $r1, $r2;
my $answer;
wait_until { ( $answer = $c->cmd(qw(SET k x)) // 'CLOSED' ) ne 'OK' };
like $answer, qr/^(?:NOREPLICAS|UNKNOWNOUTCOME|NOMASTER|CLOSED)/,
  "no quorum: $answer";
ok wait_until( sub { $master->role eq 'slave' } ), 'it is no master any more';
ok wait_until( sub { !defined eval { $idle->cmd('PING') } } ), 'its idle client is closed';
is $reader->cmd(qw(GET k)) =~ /^[vx]$/ ? 1 : 0, 1, 'who reads here anyway stays';
my $d = $master->client;
like $d->cmd(qw(SET k y)), qr/^NOMASTER /, 'a write is told that there is none';
like $d->cmd(qw(GET k)),   qr/^NOMASTER /, 'so is a read';

# They are back: one is master, and nothing is lost.
$_->start for $r1, $r2;
my $next = $g->wait_master or BAIL_OUT( 'no master: ' . $g->roles );
my $e = $next->client;
is $e->cmd(qw(SET k z)), 'OK', 'writes go on';
is $e->cmd( 'NODELIFE', 'OUTCOME', $token ), 'committed', 'the first one still is';
$g->same_content;
is_deeply [ $g->stop ], [ 0, 0, 0 ], 'all stop';
done_testing;
