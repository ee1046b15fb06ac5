# What clients of a group are told, by each role: who takes writes and who does
# not, who may be read how, who follows whom, how many have a write, and what
# became of one whose answer was not OK; when two of three are away, that nothing
# is taken that cannot be committed.
use strict;
use warnings;
use Group;
use Nodelife;
use Test::More;

my $g = Group->new->start;
my $m = $g->master;
my ( $r, $r2 ) = $g->replicas;
my $at = qr/\Q$m->{client}\E/;
note "master $m->{name}";

# ---- writes, reads ----
my $c = $m->client;
is $c->cmd(qw(SET k v)), 'OK', 'the master takes a write';
is $c->cmd(qw(GET k)), 'v', '... and reads it';
my $d = $r->client;
like $d->cmd(qw(SET k w)),
  qr/^READONLY You can't write against a read only replica: master is $at/,
  'a replica refuses a write, and says where the master is';
like $d->cmd(qw(GET k)), qr/^NOTMASTER reads need the master, \Q$m->{name}\E at $at/,
  'a replica refuses a read that must be the newest';
is $d->cmd(qw(NODELIFE CONSISTENCY eventual)), 'OK', 'unless the client says eventual';
eventually { ( $d->cmd(qw(GET k)) // '' ) eq 'v' } '... and gets it in the end';
like $d->cmd(qw(SET k w)), qr/^READONLY /, 'writes stay refused';
is $d->cmd(qw(NODELIFE CONSISTENCY linearizable)), 'OK', 'back';
like $d->cmd(qw(GET k)), qr/^NOTMASTER /, '... and refused';
is $d->cmd('READONLY'), 'OK', "Redis' word";
is $d->cmd(qw(GET k)), 'v', '... for it';
is $d->cmd('READWRITE'), 'OK', '... and back';
like $d->cmd(qw(GET k)), qr/^NOTMASTER /, '... and refused';
is $c->cmd('READONLY'), 'OK', 'a master knows the word, too';
is $c->cmd(qw(SET k v2)), 'OK', '... and takes writes still';

# ---- who is who ----
my $role = $c->cmd('ROLE');
is $role->[0], 'master', 'ROLE of the master';
is_deeply [ sort map { "$_->[0]:$_->[1]" } @{ $role->[2] } ],
  [ sort map { $_->{client} } $r, $r2 ], '... names both replicas'
  or diag explain $role;
my $other = $r->client->cmd('ROLE');
is "$other->[0] $other->[1]:$other->[2]", "slave $m->{client}", 'ROLE of a replica names the master';
is $other->[3], 'connected', '... and says that it is connected';
like $other->[4], qr/^\d+$/, '... and how far it is';
my $info = $c->cmd(qw(INFO replication));
like $info, qr/^role:master\r$/m, 'INFO of the master';
like $info, qr/^connected_slaves:2\r$/m, '... counts two';
like $info, qr/^slave\d:ip=[\d.]+,port=\d+,state=online,offset=\d+/m, '... and names them';
$info = $d->cmd(qw(INFO replication));
like $info, qr/^role:slave\r$/m, 'INFO of a replica';
like $info, qr/^master_link_status:up\r$/m, '... is connected';
my ( $host, $port ) = split /:/, $m->{client};
like $info, qr/^master_host:\Q$host\E\r$/m, '... to that host';
like $info, qr/^master_port:$port\r$/m, '... and port';

# ---- how many have it ----
is $c->cmd(qw(SET k v3)), 'OK', 'a write';
is $c->cmd(qw(WAIT 2 60000)), 2, 'WAIT: both replicas have it';
like $c->cmd(qw(WAIT 0 0)), qr/^[12]$/, 'WAIT 0: as many as have it now';
my $token = $c->cmd(qw(NODELIFE TOKEN));
ok defined $token && !Nodelife::Error::is($token), 'a token of that write' or diag $token;
like $c->cmd( qw(NODELIFE OUTCOME), $token ), qr/^committed/, '... which was committed';

# One away: writes go on, WAIT tells.
$r2->kill9;
is $c->cmd(qw(SET k v4)), 'OK', 'one replica away: the master takes writes';
is $c->cmd(qw(WAIT 1 60000)), 1, 'WAIT: one has it';
is $c->cmd(qw(WAIT 2 50)), 1, 'WAIT 2: only one has it when the time is over';
eventually { @{ $c->cmd('ROLE')->[2] } == 1 } 'ROLE names one';
like $c->cmd(qw(INFO replication)), qr/^connected_slaves:1\r$/m, 'INFO counts one';

# Two away: nothing can be committed. What was taken before that was known has
# a token, and a fate that is told later.
my @pending;
$r->kill9;
my $said = '';
eventually {
	my $x = eval { $m->client } or return 0;
	$x->{timeout} = 30;
	$said = $x->cmd( 'SET', 'lone', scalar @pending ) // '';
	push @pending, $1 if $said =~ /^UNKNOWNOUTCOME .*: token (\S+)/;
	$said =~ /^NOMASTER /;
} 'both away: it is no master any more' or diag $said;
like $said, qr/^NOMASTER no master for \d+ ms: /, '... and says why';
unlike $said, qr/UNKNOWNOUTCOME/, '... before anything is appended';
note "pending: @pending";
my $x = $m->client;
like $x->cmd(qw(GET k)), qr/^NOMASTER /, 'no newest read';
is $x->cmd(qw(NODELIFE CONSISTENCY eventual)), 'OK', 'but what it has';
is $x->cmd(qw(GET k)), 'v4', '... can be read';
isnt $m->role, 'master', 'ROLE says no more that it is master';
is( ( $m->http('/livez') )[0], 200, '/livez: it lives' );
is( ( $m->http('/readyz?want=master') )[0], 503, '/readyz?want=master: it is none' );

# One comes back: a quorum.
$r->spawn->wait_serving;
ok $m = $g->wait_master, 'one back: there is a master';
is $m->client->cmd(qw(GET k)), 'v4', 'what was answered OK is there';
for my $t (@pending) {
	my $o = '';
	wait_until { ( $o = $m->client->cmd( qw(NODELIFE OUTCOME), $t ) // '' ) !~ /^unknown/ } 20;
	like $o, qr/^(?:committed|lost)/, "what became of $t is known: $o";
}
$r2->spawn->wait_serving;
$g->same_content;
is_deeply [ $g->stop ], [ 0, 0, 0 ], 'stopped';
done_testing;
