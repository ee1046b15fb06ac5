# Faults of the world are waited out: a /dev/shm that something else has filled
# keeps a node from its next boot, or its first, and the pages, the screen and
# the log say so; it goes on by itself. A worker that does not stay up ends
# nothing. A boot after a failure does not take the black box of the first. In
# a mount namespace of our own, which needs root.
use strict;
use warnings;
use IO::Socket::INET;
use Nodelife;
use Socket;
use Test::More;
use World;

my $why = World::own_shm('64m');
plan skip_all => $why if $why;

sub connects {
	my ($path) = @_;
	socket my $s, AF_UNIX, SOCK_STREAM, 0 or die "socket: $!";
	return connect( $s, pack_sockaddr_un($path) ) ? 1 : 0;
}

sub troubles {
	my ($n) = @_;
	my $s = $n->stat or return '';
	return join "\n", map { $_->{text} } @{ $s->{troubles} // [] };
}

my $n = Nodelife->new(
	wal     => { buffer_size => '4M' },
	store   => { table_size => '8M', max_value => '1M', max_record => '8M' },
	restart => { limit => 2, backoff_min => '10ms', backoff_max => '300ms' },
)->start;
is $n->client->cmd(qw(SET k 1)), 'OK', 'a node that serves';
my $pid = $n->{pid};

# The node boots again, and there is no room for its region.
World::fill('/dev/shm');
my $served = readlink "$n->{run}/region";
kill 'KILL', $n->workers->{store};
eventually { troubles($n) =~ /boot waits.*\/dev\/shm/ } 'the screen says what for';
like troubles($n), qr{enlarge it or lower \[store\] table_size}, 'and what to do';
eventually {
	my ( $code, $body ) = $n->http('/readyz');
	( $code // 0 ) == 503 && $body =~ /boot waits/;
} 'so do the pages';
eventually {
	( ( $n->http('/livez') )[0] // 0 ) == 200;
} 'it lives: nobody shall end it for that';
eventually {
	my @tries = slurp( $n->{log} ) =~ /boot waits/g;
	@tries >= 1;
} 'so does the log';
my $tries = $n->stat->{node_restarts};
ok !$n->gone, 'and it does not end';
is readlink "$n->{run}/region", $served, 'the black box is where it was';
unlink '/dev/shm/filler';
$n->wait_serving;
is $n->client->cmd(qw(GET k)), 1, 'with room it goes on by itself';
is troubles($n), '', 'and nothing is in its way';
is readlink "$n->{run}/region.prev", $served, 'the region that served is kept';
is $n->{pid}, $pid, 'the same daemon';

# A stop is heard meanwhile, by the control socket, too.
World::fill('/dev/shm');
kill 'KILL', $n->workers->{store};
eventually { troubles($n) =~ /boot waits/ } 'it waits again';
my ( $code, $out ) = $n->run( 'nodelifectl', '-r', $n->{run}, 'stop' );
is $code, 0, 'nodelifectl stop' or diag $out;
is $n->wait_exit, 0, 'ends it';

# A first boot: its region is in its own memory, and nobody's black box.
$served = readlink "$n->{run}/region";
my $http = IO::Socket::INET->new( Listen => 1, LocalAddr => '127.0.0.1' )->sockport;
$n->configure( listen => { http => "127.0.0.1:$http" } );
sub page { return http_get( "127.0.0.1:$http", @_ ) }
$n->spawn;
eventually { slurp( $n->{log} ) =~ /boot waits: .*memory: .dev.shm has/ }
'a first boot waits, too';
ok !$n->gone, 'and does not end';
eventually {
	( $n->run( 'nodelifectl', '-r', $n->{run}, 'status' ) )[1] =~ /the boot waits: .*memory/;
} 'nodelifectl tells';
eventually {
	my ( $code, $body ) = page('/readyz');
	$code == 503 && $body =~ /"status": "waiting".*boot waits: [^"]*memory.*enlarge it/s;
} 'so do the pages';
is( ( page('/livez') )[0], 200, 'it lives: nobody shall end it for that' );
is connects("$n->{run}/control.sock"), 1, 'who connects is answered';
is readlink "$n->{run}/region", $served, 'the black box is where it was';
$n->signal('HUP');
eventually { slurp( $n->{log} ) =~ /reload: changed: nothing/ } 'a reload is heard';
unlink '/dev/shm/filler';
$n->wait_serving;
is $n->client->cmd(qw(GET k)), 1, 'until there is room';
is troubles($n), '', 'nothing is in its way then';
is readlink "$n->{run}/region.prev", $served, 'and the black box is the one before';
ok !-e "$n->{run}/waits", 'nothing is left of the wait';
is $n->stop, 0, 'stopped';
World::fill('/dev/shm');
$n->spawn;
eventually { ( page('/readyz') )[0] == 503 } 'another waits';
( $code, $out ) = $n->run( 'nodelifectl', '-r', $n->{run}, 'stop' );
is $code, 0, 'nodelifectl stop' or diag $out;
is $n->wait_exit, 0, 'ends it, too';
ok !-e "$n->{run}/waits", 'and it waits for nothing any more';
unlink '/dev/shm/filler';

# No memory for any region, not even one that nobody else has: the pages are
# not there, the rest is as ever.
SKIP: {
	skip 'a sanitizer needs all addresses', 1 if build_dir() =~ /san$/;
	my $lacks = World::lacks('prlimit');
	skip $lacks, 1 if $lacks;
	$n->spawn( 'sh', '-c', 'ulimit -S -v 40000 && exec "$@"', 'sh',
		build_dir() . '/nodelifed', '-f', '-c', $n->{ini} );
	eventually {
		( $n->run( 'nodelifectl', '-r', $n->{run}, 'status' ) )[1] =~ /the boot waits: .*ulimit -v/;
	} 'a first boot without memory for a region waits';
	is( ( page('/readyz') )[0], 0, 'nobody connects who would not be answered' );
	is connects("$n->{run}/control.sock"), 0, 'nor to the control socket';
	World::must( 'prlimit', '--pid', $n->{pid}, '--as=unlimited:' );
	$n->wait_serving;
	ok !-e "$n->{run}/waits", 'with memory it goes on';
	is $n->stop, 0, 'stopped';
}

World::fill('/dev/shm');
$n->configure( restart => { limit => 2, give_up => '1s' } );
$n->spawn;
is $n->wait_exit, 75, 'unless [restart] give_up says for how long';
my ($last) = slurp( $n->{log} ) =~ /(.*\[restart\] give_up.*)/;
like $last, qr/enlarge it or lower.*start the node/, 'saying what to do';
unlike $last, qr/goes on by itself/, 'and nothing else';
unlink '/dev/shm/filler';
$n->configure(
	restart => {
		limit       => 2,
		give_up     => undef,
		backoff_min => '10ms',
		backoff_max => '300ms' } );

# Workers that die again and again, more often than the limit.
$n->start;
my $c = $n->client;
for my $name (qw(vlsn checkpoint health)) {
	my $last = 0;
	for my $i ( 1 .. 4 ) {
		wait_until { my $p = $n->workers->{$name}; $p && $p != $last };
		kill 'KILL', $last = $n->workers->{$name};
		wait_until { ( $n->workers->{$name} // 0 ) != $last };
	}
	eventually { troubles($n) =~ /\b$name \(pid \d+\): killed/ }
	"$name does not stay up: it is told";
	is $c->cmd( 'SET', $name, 1 ), 'OK', 'the node serves on';
	eventually { troubles($n) !~ /\b$name \(pid/ } 'until it stays up again';
}
is $n->stat->{node_restarts}, 0, 'the node never booted again';
is $n->stop, 0, 'stopped';

# Health is replaced for a control socket that was removed: no fault of its own.
$n->configure( restart =>
	  { limit => 1, backoff_min => '10ms', backoff_max => '5s' } );
$n->start;
for my $i ( 1 .. 4 ) {
	my $health = $n->workers->{health};
	unlink "$n->{run}/control.sock";
	eventually { ( $n->workers->{health} // $health ) != $health && -S "$n->{run}/control.sock" }
	"the control socket is removed ($i): another health has a new one";
}
is $n->stat->{troubles}[0], undef, 'it is not told to stay down';
is( ( $n->run( 'nodelifectl', '-r', $n->{run}, 'status' ) )[0], 0, 'the last is at work' );
is $n->stop, 0, 'stopped';

# No process can be forked: whoever asks gets an answer in every pause, or none
# connects.
SKIP: {
	my $lacks = World::lacks('pids');
	skip $lacks, 1 if $lacks;
	$n->configure( restart =>
		  { limit => 2, backoff_min => '300ms', backoff_max => '300ms' } );
	# The search for leaks needs a process, too, at the end of each.
	local $ENV{ASAN_OPTIONS} = join ':', $ENV{ASAN_OPTIONS} // (), 'detect_leaks=0';
	$n->start;
	my $group = World::Group->new('pids')->add( $n->{pid}, values %{ $n->workers } );
	my $pages = sub { return ( $n->http('/readyz') )[0] };
	my $tries = sub { return ( $n->stat // {} )->{node_restarts} // 0 };
	$group->pids(2);
	kill 'KILL', $n->workers->{store};
	eventually { $tries->() > 2 && $pages->() == 503 } 'pages say that it waits';
	$group->pids(1);
	my $from = $tries->();
	eventually {
		$tries->() > $from
		  && !IO::Socket::INET->new( PeerAddr => $n->addr('http'), Timeout => 1 )
	} 'nobody can say so: nobody is let in';
	my @ctl = ( 'nodelifectl', '-r', $n->{run} );
	like( ( $n->run( @ctl, 'status' ) )[1], qr/: not serving: the boot waits: .*fork: .*pids\.max/,
		'status says so' );
	like( ( $n->run( @ctl, '-t', 2, 'config' ) )[2],
		qr/config: waits: the boot waits: .*fork: .*config: no answer in 2 s/s,
		'who waits for an answer is told what for' );
	$group->pids('max');
	$n->wait_serving;
	eventually { $pages->() == 200 } 'and when that is over all is well';
	$group->pids(1);
	kill 'KILL', $n->workers->{store};
	eventually { ( $n->run( @ctl, 'status' ) )[1] =~ /the boot waits/ } 'it waits again';
	my ( $code, undef, $err ) = $n->run( @ctl, 'stop' );
	is $code, 0, 'stop is heard all the same';
	like $err, qr/sent SIGTERM/, 'by a signal';
	is $n->wait_exit, 0, 'stopped';
}

# A node that fails again and again keeps the region of its first failure.
$n->configure( restart =>
	  { limit => 3, backoff_min => '10ms', backoff_max => '20ms' } );
$n->start;
$served = readlink "$n->{run}/region";
rename "$n->{data}/store", "$n->{data}/away" or die;
open my $f, '>', "$n->{data}/store" or die;
kill 'KILL', $n->workers->{store};
eventually { $n->gone || ( $n->stat // {} )->{node_restarts} > 3 }
'its boots fail';
is readlink "$n->{run}/region.prev", $served,
  'region.prev is of the first failure';
isnt readlink "$n->{run}/region", $served, 'region of the last';
my $regions = () = glob '/dev/shm/nodelife.*';
is $regions, 2, 'and there is no other';
done_testing;
