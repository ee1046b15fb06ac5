# How a node starts and what it refuses: every refusal has its exit code and a
# sentence that says what to do; a daemon's starting command tells the truth;
# what a killed node left behind does not stop the next.
use strict;
use warnings;
use Test::More;
use File::Path ();
use IO::Socket::INET;
use IO::Socket::UNIX;
use Socket qw(SOCK_DGRAM);
use Nodelife;
use POSIX ();
use World;

my $n = Nodelife->new;
my @d = ('nodelifed');

sub refused {
	my ( $node, $want, $like, $name ) = @_;
	my ( $code, $out, $err ) = $node->run( @d, '-f', '-c', $node->{ini} );
	is $code, $want, "$name: exit $want";
	like $err, $like, "$name: says so";
	return;
}

# Options.
{
	my ( $code, $out, $err ) = $n->run( @d, '-x' );
	is $code, 64, 'unknown option';
	( $code, $out, $err ) = $n->run( @d, '-f', 'file' );
	is $code, 64, 'unexpected argument';
	( $code, $out ) = $n->run( @d, '-V' );
	is $code, 0, 'version';
	like $out, qr/^nodelifed \d+\.\d+/, 'is printed';
	( $code, $out ) = $n->run( @d, '-h' );
	is $code, 0, 'help';
	( $code, $out ) = $n->run( @d, '-n', '-c', $n->{ini} );
	is $code, 0, 'check of a good configuration';
	like $out, qr/^name = n1 .*^data_dir = \Q$n->{data}\E /ms, 'prints it';
	( $code, $out, $err ) = $n->run( @d, '-n', '-c', "$n->{dir}/none.ini" );
	is $code, 78, 'check of a file that is not there';
	like $err, qr{none.ini: open: No such file or directory: create it}, 'is told as such';
}

# A faulty file: all faults with their lines.
$n->configure( wal => { sink => 1 }, listen => { max_clients => 'many' } );
refused( $n, 78, qr/\A(?:\S+nodelife\.ini:\d+: .+\n){2,}\z/, 'faults' );
$n->configure( wal => { sink => undef }, listen => { max_clients => undef } );

# The data directory.
refused( $n, 78, qr/does not exist.*--init/, 'missing data directory' );
{
	my ( $code, undef, $err ) = $n->run( @d, '--init', '-c', $n->{ini} );
	is $code, 0, 'founded';
	is $err,  '', 'quietly';
	is sprintf( '%o', ( stat $n->{data} )[2] & 07777 ), '750', 'mode 0750';
	( $code, undef, $err ) = $n->run( @d, '--init', '-c', $n->{ini} );
	is $code, 73, 'founded once only';
	like $err, qr/holds node n1 of group test already/, 'and says why';
}
$n->configure( node => { name => 'n2' } );
refused( $n, 78, qr/belongs to node n1, not n2/, 'foreign node' );
$n->configure( node => { name => 'n1', group => 'live' } );
refused( $n, 78, qr/belongs to group test, not live/, 'foreign group' );
$n->configure( node => { group => 'test' } );
{
	my $text = slurp("$n->{data}/node");
	for my $bad (
		[ $text =~ s/^nodelife-node 2/nodelife-node 9/r, qr/format version 9/ ],
		[ $text =~ s/generation 1/generation 2/r,         qr/damaged/ ],
		[ substr( $text, 0, 60 ),                         qr/damaged/ ],
		[ '',                                             qr/not a node file/ ] )
	{
		open my $f, '>', "$n->{data}/node" or die;
		print $f $bad->[0];
		close $f;
		refused( $n, 78, $bad->[1], 'node file' );
	}
	open my $f, '>', "$n->{data}/node" or die;
	print $f $text;
	close $f;
}
SKIP: {
	skip 'needs root', 4 if $> != 0;
	$n->configure( node => { user => 'nobody' } );
	refused( $n, 77,
		qr{\Q$n->{data}\E: open: Permission denied for user nobody, who may not pass .*chown},
		'a directory above data_dir that bars the way' );
	$n->configure( node => { user => 'no-such-user' } );
	refused( $n, 78, qr/no such user/, 'unknown user' );
	$n->configure( node => { user => undef } );
}

# Sockets in use: at once, long before anybody listens.
{
	my $s = IO::Socket::INET->new(
		LocalAddr => '127.0.0.1', Listen => 1 ) or die;
	my $addr = '127.0.0.1:' . $s->sockport;
	$n->configure( listen => { client => $addr } );
	refused( $n, 69, qr/client: \Q$addr\E: Address already in use/,
		'client port in use' );
	$n->configure( listen => { client => '127.0.0.1:0', http => $addr } );
	refused( $n, 69, qr/http: \Q$addr\E: Address already in use/,
		'http port in use' );
	$n->configure( listen => { http => '127.0.0.1:0' } );
}
$n->configure( node => { run_dir => '/proc/no/where' } );
refused( $n, 73, qr{/proc/no/where: open \[node\] run_dir: }, 'run_dir cannot be made' );
$n->configure( node => { run_dir => $n->{run} } );

# A run, and second starts beside it.
$n->start;
{
	my $two   = Nodelife->new( node => { data_dir => $n->{data} } );
	my $began = now();
	my @run   = map { $_->run_begin( @d, '-f', '-c', $_->{ini} ) } $n, $two;
	my ( $code, undef, $err ) = $n->run_end( $run[0] );
	is $code, 69, 'second start: exit 69';
	like $err, qr/a node runs there already, pid $n->{pid}\b/, 'names it';
	( $code, undef, $err ) = $two->run_end( $run[1] );
	is $code, 69, 'second start on the data directory: exit 69';
	cmp_ok now() - $began, '>=', 4.9, 'after some patience';
	like $err, qr/in use by pid $n->{pid} /, 'names the supervisor';
	like $err, qr/pid \d+ \(nodelifed: wal \[n1\]\)/, 'and workers';
	unlike $err, qr/health/, 'those that have the directory open';
}

# Killed in the middle of its life.
{
	my $old = readlink "$n->{run}/region";
	$n->kill9;
	is slurp("$n->{run}/nodelifed.pid"), $n->{pid}, 'a stale pid file';
	$n->start;
	is readlink("$n->{run}/region.prev"), $old, 'the black box is kept';
	like slurp( $n->{log} ), qr/the node before \(pid \d+\) did not stop/,
	  'and pointed to';
	is slurp("$n->{run}/nodelifed.pid"), $n->{pid}, 'the pid file is ours';
	is $n->stop, 0, 'stopped';
	ok !-e "$n->{run}/nodelifed.pid", 'no pid file is left';
	ok !-e "$n->{run}/control.sock",  'no control socket is left';
}

# The same with addresses that do not change, and started again at once: what
# the killed node's rings hold for a moment is waited for.
{
	my %fixed = (
		client      => $n->addr('client'),
		http        => $n->addr('http'),
		client_unix => "$n->{dir}/client.sock" );
	$n->configure( listen => \%fixed )->start;
	for my $i ( 1 .. 5 ) {
		is $n->client->cmd('PING'), 'PONG', 'serves';
		$n->signal('KILL')->wait_exit;
		$n->start;
	}
	is $n->addr('client'), $fixed{client}, 'at the same address';

	# Another node of the same path.
	my $two = Nodelife->new(
		listen => { client_unix => $fixed{client_unix} } );
	refused( $two->found, 69,
		qr/client_unix: \S+: in use by pid \d+ \(nodelifed: \S+ \[n1\]\)/,
		'a unix path in use' );
	SKIP: {
		my $lacks = World::lacks(qw(root loop fuse));
		skip $lacks, 1 if $lacks;
		my $disk = World::Disk->new( size => '64M', faulty => 1 );
		my $pid  = fork // die;
		if ( !$pid ) {
			Nodelife::die_with_parent();
			open my $f, '<', $disk->image or die;
			sleep 600;
		}
		wait_until { grep { $_ eq $disk->image } map { readlink // '' } glob "/proc/$pid/fd/*" };
		$disk->say( stat => 'hang' );

		# What was written makes the kernel ask for the rest again.
		open my $f, '>', $disk->dir . '/x' or die;
		print $f 'x';
		close $f;
		system 'sync', '-f', $disk->dir;
		my $run = $two->run_begin( @d, '-f', '-c', $two->{ini} );
		my $end;
		eventually { waitpid( $run->{pid}, POSIX::WNOHANG() ) and $end = $? }
		'somebody has a file of a disk that hangs: a refusal comes';
		kill 'KILL', $pid, $run->{pid};
		$disk->say;
		waitpid $pid, 0;
		like( ( $two->run_end($run) )[2], qr/in use by pid \d+/, 'and names who has what it is about' );
		is $end >> 8, 69, 'with its exit code';
	}
	my $c = Nodelife::Client->new( $fixed{client_unix} );
	is $c->cmd('PING'), 'PONG', 'which stays where it was';
	is $n->stop, 0, 'stopped';
	ok !-e $fixed{client_unix}, 'no client socket is left';
	$n->configure( listen => { client => '127.0.0.1:0',
			http => '127.0.0.1:0', client_unix => undef } );
}

# A daemon, by a service manager that wants to be told.
{
	my $path = "$n->{dir}/notify";
	my $s = IO::Socket::UNIX->new( Local => $path, Type => SOCK_DGRAM )
	  or die "$path: $!";
	local $ENV{NOTIFY_SOCKET} = $path;
	my ( $code, $out, $err ) = $n->run( @d, '-c', $n->{ini} );
	is $code, 0, 'the starting command succeeds';
	is "$out$err", '', 'and is quiet';
	my $pid = slurp("$n->{run}/nodelifed.pid");
	ok kill( 0, $pid ), 'the daemon lives';
	is readlink("/proc/$pid/fd/2"), '/dev/null', 'away from the terminal';
	is readlink("/proc/$pid/cwd"),  '/', 'and from our directory';
	my $said = sub {
		my ($want) = @_;
		my $all = '';
		return wait_until {
			my ( $r, $text ) = ( '', '' );
			vec( $r, fileno $s, 1 ) = 1;
			select( $r, undef, undef, 0.01 ) > 0
			  and recv $s, $text, 4096, 0;
			$all .= "$text\n";
			$all =~ $want;
		};
	};
	ok $said->(qr/^READY=1$/m), 'READY when it serves';
	is( ( $n->run( 'nodelifestat', '-r', $n->{run}, '-w', 'gateway_enable',
				'-t', 0 ) )[0], 0, 'indeed' );
	kill 'HUP', $pid;
	ok $said->(qr/^RELOADING=1\nMONOTONIC_USEC=\d+\n(?s:.*)^READY=1$/m),
	  'RELOADING and READY';
	kill 'TERM', $pid;
	ok $said->(qr/^STOPPING=1$/m), 'STOPPING';
	ok wait_until( sub { !-e "$n->{run}/nodelifed.pid" } ), 'gone';
	unlink $path;
}
{
	my ( $code, undef, $err ) =
	  $n->configure( node => { name => 'n9' } )->run( @d, '-c', $n->{ini} );
	is $code, 78, 'a refused daemon: its code';
	like $err, qr/belongs to node n1, not n9/, 'and its reason';
}
done_testing;
