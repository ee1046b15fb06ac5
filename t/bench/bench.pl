# make bench: this node beside Debian's redis-server (appendonly yes,
# appendfsync always) on the same disk in the same run, alternating. A ratio is
# the median of the ratios of rounds, in each of which both ran, one right after
# the other. Usage: bench.pl [ROW ...]; rows: see the end.
#
# All rows together take BENCH_SECONDS at most, roughly: a row has its share of
# them and makes as many rounds as fit, one at least, BENCH_ROUNDS at most.
# BENCH_SCALE makes the rounds themselves smaller. Between rounds the machine
# does a fixed piece of work, and waits for a fixed number of synced writes: how
# far these times scatter stands beside each row, and a row whose rounds scatter
# by more than BENCH_SCATTER per cent is marked.
use strict;
use warnings;
use Bench;
use Nodelife;
use IO::Socket::INET;
use List::Util qw(max min sum);
use POSIX ();

my $rounds = $ENV{BENCH_ROUNDS} // 5;
my $scale  = $ENV{BENCH_SCALE}  // 1;
my $budget = $ENV{BENCH_SECONDS} // 480;
my $base   = base();

my $redis_pid;

sub redis_start {
	my $dir = "$base/redis";
	mkdir $dir;
	my $s = IO::Socket::INET->new( Listen => 1, LocalAddr => '127.0.0.1' );
	my $port = $s->sockport;
	close $s;
	$redis_pid = fork // die;
	if ( $redis_pid == 0 ) {
		open STDOUT, '>', "$dir/log";
		exec 'redis-server', '--port', $port, '--bind', '127.0.0.1',
		  '--dir', $dir, '--save', '', '--appendonly', 'yes',
		  '--appendfsync', 'always', '--daemonize', 'no' or POSIX::_exit(127);
	}
	wait_until {
		IO::Socket::INET->new( PeerAddr => "127.0.0.1:$port" )
	} 10 or die 'redis-server does not start';
	return $port;
}

END {
	if ($redis_pid) {
		my $code = $?;
		kill 'KILL', $redis_pid;
		waitpid $redis_pid, 0;
		$? = $code;
	}
}

# One redis-benchmark run: { rps, p50 (us), p99, seconds }.
sub load {
	my ( $port, $test, $clients, $pipeline, $n ) = @_;
	my $out = `redis-benchmark -p $port -t $test -c $clients -P $pipeline -n $n -d 100 -r 100000 --csv 2>&1`;
	my ($line) = grep { /^"(SET|GET)/i } split /\n/, $out;
	die "redis-benchmark: $out" if !defined $line || $out =~ /error/i;
	my @f = map { s/"//gr } split /,/, $line;
	return {
		rps     => $f[1],
		p50     => $f[4] * 1000,
		p99     => $f[6] * 1000,
		max     => $f[7] * 1000,
		seconds => $n / $f[1],
		n       => $n,
	};
}

my ( $node, $ours, $theirs );

sub node_pids { return ( $node->{pid}, values %{ $node->workers } ) }

sub both_start {
	return if $node;
	$theirs = redis_start();
	$node   = Nodelife->new;
	$node->start;
	$ours = ( split /:/, $node->addr('client') )[1];
	for my $p ( $ours, $theirs ) {
		load( $p, 'set', 64, 16, 300_000 * $scale );
	}
}

sub compare {
	my ( $name, $test, $clients, $pipeline, $n, $floor, $aim ) = @_;
	both_start();
	$n = int $n * $scale;
	my @r = rounds $rounds, sub {
		my %r;
		my $s0   = $node->stat;
		my @pids = node_pids();
		my ( $c0, $w0 ) = ( cpu(@pids), switches(@pids) );
		my $r  = $r{a} = load( $ours, $test, $clients, $pipeline, $n );
		my $s1 = $node->stat;
		$r{ca} = ( cpu(@pids) - $c0 ) / $n * 1e6;
		my $d = sub {
			$s1->{counters}{ $_[0] } - $s0->{counters}{ $_[0] };
		};
		$r{wake} = ( switches(@pids) - $w0 ) / $n;
		# A bell rung is a write(2); the rest are io_uring_enter calls.
		$r{enter}   = ( $d->('ring_enters') + $d->('bells') ) / $n;
		$r{flushes} = $d->('wal_flushes') / $r->{seconds};
		$r{per} =
		  $d->('wal_flushes') ? $d->('wal_records') / $d->('wal_flushes') : 0;
		my $c1 = cpu($redis_pid);
		$r{b}  = load( $theirs, $test, $clients, $pipeline, $n );
		$r{cb} = ( cpu($redis_pid) - $c1 ) / $n * 1e6;
		return \%r;
	};
	my @a = column( a => @r );
	my @b = column( b => @r );
	my $mine = median( map { $_->{rps} } @a );
	my $his  = median( map { $_->{rps} } @b );
	my @pair = map { $a[$_]{rps} / $b[$_]{rps} } 0 .. $#a;
	printf "%-14s %8.0f/s  redis %8.0f/s  ratio %.2f [%.2f-%.2f]"
	  . " (floor %s, aim %s)  p50 %.0f/%.0f us  p99 %.0f/%.0f us\n",
	  $name, $mine, $his, median(@pair), min(@pair), max(@pair), $floor, $aim,
	  median( map { $_->{p50} } @a ), median( map { $_->{p50} } @b ),
	  median( map { $_->{p99} } @a ), median( map { $_->{p99} } @b );
	printf "%14s CPU %.1f us/request (redis %.1f)  system calls %.3f"
	  . "  wake-ups %.3f a request  flushes %.0f/s  records a flush %.1f\n", '',
	  map { median( column( $_ => @r ) ) } qw(ca cb enter wake flushes per);
	trust(@pair);
}

# The hops between processes are what one client waits for beyond the floor:
# also with the processes of a write on one core ([cpu] io).
sub one_client {
	both_start();
	my $pinned = Nodelife->new( cpu => { io => 1 } )->start;
	my $n = int 20_000 * $scale;
	my @r = rounds $rounds, sub {
		my $f = `@{[ build_dir() ]}/t/bench/floor $base`;
		my ( $w, $r ) = $f =~ /write_us (\S+)\s+rtt_us (\S+)/;
		return {
			floor  => $w + $r,
			a      => load( $ours, 'set', 1, 1, $n )->{p50},
			pinned => load( ( split /:/, $pinned->addr('client') )[1],
				'set', 1, 1, $n )->{p50},
			b => load( $theirs, 'set', 1, 1, $n )->{p50},
		};
	};
	$pinned->stop;
	my ( $floor, $p50, $q50, $redis ) =
	  map { median( column( $_ => @r ) ) } qw(floor a pinned b);
	my @times  = map { $_->{a} / $_->{floor} } @r;
	my @pinned = map { $_->{pinned} / $_->{floor} } @r;
	printf "%-14s p50 %.0f us = %.2f x (write + round trip %.0f us)"
	  . " (floor 1.3, aim 1.15)  with [cpu] io = 1: %.0f us = %.2f x"
	  . "  redis p50 %.0f us\n", 'SET 1 client',
	  $p50, median(@times), $floor, $q50, median(@pinned),
	  $redis;
	trust(@times);
}

# Flush p99 with checkpoints running all the time, and without any.
sub checkpoint {
	my @r = rounds $rounds, sub {
		my %r;
		for my $mode (qw(without with)) {    # n: of the last
			my $n = Nodelife->new( store =>
				  { checkpoint_wal => $mode eq 'with' ? '8M' : '4G' } );
			$n->configure( store => { table_size => '512M' } )
			  if $mode eq 'without';
			$n->start;
			my $r = load( ( split /:/, $n->addr('client') )[1],
				'set', 64, 1, 500_000 * $scale );
			my $s = $n->stat;
			$r{$mode} = $s->{histograms}{wal_flush}{p99} / 1e3;
			$r{"max $mode"} = $r->{max} / 1e3;
			$r{"flush $mode"} = $s->{histograms}{wal_flush}{max} / 1e6;
			$r{n} = $s->{counters}{checkpoints};
			$n->stop;
		}
		return \%r;
	};
	my @pair = map { $_->{with} / $_->{without} } @r;
	printf "%-14s WAL flush p99 %.0f us with, %.0f us without: %.2f x"
	  . " (limit 3)  slowest reply %.1f ms with, %.1f without (limit 50)"
	  . ", slowest flush %.1f ms with, %.1f without"
	  . "  %d checkpoints\n", 'checkpoint',
	  median( column( with => @r ) ), median( column( without => @r ) ),
	  median(@pair), max( column( 'max with' => @r ) ),
	  max( column( 'max without' => @r ) ),
	  max( column( 'flush with' => @r ) ),
	  max( column( 'flush without' => @r ) ), $r[-1]{n};
	trust(@pair);
}

# Boot of an empty node, as the sequencer saw it and from outside.
sub boot {
	my @r = rounds max( 11, $rounds ), sub {
		my $n = Nodelife->new;
		$n->found;
		my $t0 = now();
		$n->spawn;
		$n->wait_serving;
		my $out = ( now() - $t0 ) * 1e3;
		my $in  = $n->stat->{boot_ms};
		$n->stop;
		return { in => $in, out => $out };
	};
	printf "%-14s p50 %.1f ms to gateway_enable (limit 30)"
	  . "  %.1f ms seen from outside, with nodelifestat's own start\n", 'boot',
	  median( column( in => @r ) ), median( column( out => @r ) );
	trust( column( in => @r ) );
}

# Recovery: time to scan and to apply, 1x, 4x, 16x WAL; 10x data.
sub recovery {
	my $unit = int 60_000 * $scale;
	my ( $begin, $took ) = ( now(), 0 );
	for my $case ( [ 1, 0 ], [ 4, 0 ], [ 16, 0 ], [ 4, 10 ] ) {
		my ( $times, $data ) = @$case;
		if ( now() + 3 * $took > row_end() && $took ) {
			print "recovery: ${times}x WAL is left out: no time\n";
			next;
		}
		$begin = now();
		noise();
		my $n = Nodelife->new(
			store => { checkpoint_wal => '8G', table_size => '1G' },
			wal   => { keep_size => '64M' } );
		$n->start;
		my $port = ( split /:/, $n->addr('client') )[1];
		if ($data) {
			load_keys( $n, $port, 100_000 * $data );
			$n->run( 'nodelifectl', '-r', $n->{run}, 'checkpoint' );
		}
		load( $port, 'set', 64, 16, $unit * $times );
		$n->kill9;
		$n->spawn;
		$n->wait_serving(120);
		my $s  = $n->stat;
		my $p  = $s->{phases_ms};
		my $c  = $s->{counters};
		my ($us) = ( slurp( $n->{log} ) =~
			  /.*bytes scanned in (\d+) us/s );
		my $ws = ( $us // $p->{wal_recovery} * 1e3 ) / 1e6;
		my $as = ( $p->{data_groups_replay} - $p->{catalog_sanity_check} )
		  / 1e3;
		printf "%-14s %3dx WAL, %s keys in the store: scan %.0f MB in %.3f s"
		  . " = %.2f GB/s (limit 1)  apply %d in %.3f s = %.0f k/s (limit"
		  . " 300)\n", 'recovery', $times,
		  $data ? 100_000 * $data : 'no',
		  $c->{wal_replayed_bytes} / 1e6, $ws,
		  $c->{wal_replayed_bytes} / 1e9 / ( $ws || 1e-3 ),
		  $c->{store_replayed}, $as, $c->{store_replayed} / 1e3 / ( $as || 1e-3 );
		$n->stop;
		$took = now() - $begin;
	}
	noise();
	trust();
}

sub load_keys {
	my ( $n, $port, $keys ) = @_;
	my $out = `@{[ build_dir() ]}/nodelifebench -q -p $port -c 64 -P 64 -n @{[ $keys * 3 ]} -k $keys`;
	die $out if $?;
}

sub pss {
	my ( $what, @pids ) = @_;
	return sum map {
		( slurp("/proc/$_/smaps_rollup") // '' ) =~ /^$what:\s+(\d+)/m
		  ? $1 : 0
	} @pids;
}

sub idle {
	my $n = Nodelife->new( listen => { max_clients => 12_000 } );
	$n->start;
	my @pids = ( $n->{pid}, values %{ $n->workers } );
	# First the spare segments are written with zeros: not idle yet.
	my ( $w0, $t0, $last, $tick ) = ( 0, now(), 0, 0 );
	wait_until {
		return 0 if now() - $tick < 1;
		my $now = switches(@pids);
		my $quiet = $tick && $now - $last < 50;
		( $last, $tick ) = ( $now, now() );
		$quiet;
	} 30;
	my $settled = now() - $t0;
	$w0 = switches(@pids);
	$t0 = now();
	wait_until { now() - $t0 > 5 } 10;
	my $rate = ( switches(@pids) - $w0 ) / ( now() - $t0 );
	my $pss  = pss( 'Pss', @pids ) / 1024;
	my $priv = pss( 'Private_Dirty', @pids ) / 1024;
	my @c;
	my $addr = $n->addr('client');
	for ( 1 .. 10_000 ) {
		push @c, IO::Socket::INET->new( PeerAddr => $addr ) // last;
	}
	my $probe = $n->client;
	$probe->cmd('PING');
	my $more = pss( 'Private_Dirty', @pids ) / 1024 - $priv;
	printf "%-14s %.1f wake-ups/s (limit 50; spares ready in < %.0f s)"
	  . "  PSS %.1f MiB (limit 16)"
	  . "  %d idle clients: +%.1f MiB private (limit 10)\n", 'idle', $rate,
	  $settled, $pss, scalar @c, $more;
	$n->stop;
}

my %row = (
	set    => sub { compare( 'SET 64', 'set', 64, 1, 200_000, 0.9, 1.0 ) },
	set16  => sub { compare( 'SET 64x16', 'set', 64, 16, 800_000, 1.0, 1.5 ) },
	get    => sub { compare( 'GET 64', 'get', 64, 1, 300_000, 0.95, 1.0 ) },
	get16  => sub { compare( 'GET 64x16', 'get', 64, 16, 2_000_000, 0.7, 1.0 ) },
	one    => \&one_client,
	checkpoint => \&checkpoint,
	boot       => \&boot,
	recovery   => \&recovery,
	idle       => \&idle,
);
my @all = qw(set set16 get get16 one checkpoint boot recovery idle);
# Shares of the time; what a row that is asked for alone takes of it all.
my %share = ( map( { $_ => 1 } @all ), checkpoint => 2, recovery => 3 );
rows_run( $budget, \%row, \%share, @ARGV ? @ARGV : @all );
$node->stop if $node;
