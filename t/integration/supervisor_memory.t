# Limits that come or bite while a node runs: a worker that the kernel kills
# for memory is told as such, with the limit and its file, and is no fault of
# the node's; a boot fits itself into what there is by then; a fork that is
# refused is waited out. In control groups of our own, which needs root.
use strict;
use warnings;
use Nodelife;
use Test::More;
use World;

my $why = World::lacks(qw(root memory pids));
plan skip_all => $why if $why;

sub troubles {
	my ($n) = @_;
	my $s = $n->stat or return '';
	return join "\n", map { $_->{text} } @{ $s->{troubles} // [] };
}

my $n = Nodelife->new( restart =>
	  { limit => 1, window => '10s', backoff_min => '10ms', backoff_max => '300ms' } );
$n->start;
my $limit = World::Group->new('memory')->memory( 512 << 20 );
my $file  = qr{\Q$limit->{dir}\E/memory\.(?:max|limit_in_bytes)};

# From now on the group counts for all that it does.
sub enter { $limit->add( $n->{pid}, values %{ $n->workers } ); return }

# A limit that was not there at the start.
enter();
unlike slurp( $n->{log} ), qr/memory: limit/, 'a node that has memory';
kill 'KILL', $n->workers->{wal};
eventually { slurp( $n->{log} ) =~ /memory: limit 512M by $file: \[listen\] client_memory \d+M/ }
'the next boot fits itself into the limit that it has then';
$n->wait_serving;
is troubles($n), '', 'killed by somebody: not for memory';

# More often than [restart] limit allows.
for my $name (qw(store group vlsn)) {
	enter();
	my $pid = $n->workers->{$name};
	my $c   = $n->client;
	$c->cmd( 'SET', $name, 1 );
	$limit->starve($pid);
	eventually {
		slurp( $n->{log} ) =~ /$name \(pid $pid\): the kernel killed it for memory: the limit is 512 MiB by $file: free memory, or raise/
	} "$name: told with the limit and what to do";
	eventually { !$n->gone && ( $n->workers->{$name} // $pid ) != $pid } 'another one';
	$n->wait_serving;
	eventually { troubles($n) =~ /the kernel killed it for memory/ } 'which stands';
	is $n->client->cmd( 'GET', $name ), 1, 'the node serves, nothing is lost';
}
eventually { troubles($n) !~ /for memory/ } 'until it does not happen any more';

# What the group counted meanwhile were others.
{
	my $pid = $n->workers->{vlsn};
	kill 'KILL', $pid;
	ok $n->wait_worker( 'vlsn', $pid ), 'killed by somebody, long after';
	like slurp( $n->{log} ), qr/vlsn \(pid $pid\): killed by signal 9/, 'is told as that';
	is troubles($n), '', 'and not as killed for memory';
}

# No process more.
my $few = World::Group->new('pids')->add( $n->{pid}, values %{ $n->workers } );
$few->pids(1);
my $pid = $n->workers->{vlsn};
kill 'KILL', $pid;
eventually {
	troubles($n) =~ /vlsn: fork: .*: too many processes: .*goes on without it/
} 'a fork that is refused is told';
is $n->client->cmd(qw(SET k 1)), 'OK', 'the node serves on';
$few->pids('max');
ok $n->wait_worker( 'vlsn', $pid ), 'and has it again when it can';
eventually { troubles($n) !~ /vlsn/ } 'which is over then';
is $n->stop, 0, 'stopped';
done_testing;
