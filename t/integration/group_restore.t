# The process that feeds a member from segment files is killed again and again
# while it does: the member begins anew where it got to, nothing is held for a
# process that is dead, the node goes on, and in the end all hold the same. In
# a group of one there is no such process. RECORDS=1000000 for more.
use strict;
use warnings;
use Group;
use Nodelife;
use Test::More;

my $one = Nodelife->new->start;
ok !$one->workers->{restore}, 'a group of one has nobody to feed';
is $one->stop, 0, 'stopped';

my $records = $ENV{RECORDS} // 200_000;
my $g       = Group->new(
	wal   => { segment_size => '4M', keep_size => '4G', buffer_size => '1M' },
	store => { table_size => '256M' },
)->start;
my ($r) = $g->replicas;
my $m = $g->master;
is $m->client->cmd(qw(SET first one)), 'OK', 'a write';
$r->kill9;
my ( $host, $port ) = split /:/, $m->{client};
my ( $code, undef, $err ) = $m->run( 'nodelifebench', '-q', '-H', $host, '-p',
	$port, '-c', 64, '-P', 16, '-n', $records, '-k', 20_000, '-d', 100 );
is $code, 0, "$records records while a member is away" or diag $err;
my $behind = $m->stat->{positions}{committed};
my $supervisor = $m->workers->{wal};

$r->spawn;
my $kills = 0;
eventually {
	my $pid = $m->workers->{restore};
	my $log = slurp( $m->{log} );
	my $begun = () = $log =~ /is fed from segment files/g;
	# Each time that it has begun, and when it has not, too.
	if ( $pid && $kills < 8 && $begun >= $kills / 2 ) {
		kill 'KILL', $pid;
		$kills++;
		$m->wait_worker( 'restore', $pid );
	}
	my $s = $r->fresh;
	$s && $s->{positions}{durable} >= $behind;
} 200, 'the member has what it missed' or diag $g->roles;
# It may have been faster than we.
ok $kills >= 1, "after $kills kills";
is $m->workers->{wal}, $supervisor, 'the node went on all the while';
is $g->wait_master->{name}, $m->{name}, '... as master';
my $c = $m->client;
is $c->cmd(qw(SET last one)), 'OK', 'a write';
is $c->cmd(qw(WAIT 2 60000)), 2, '... that all have';
$g->same_content;
is_deeply [ $g->stop ], [ 0, 0, 0 ], 'stopped';
done_testing;
