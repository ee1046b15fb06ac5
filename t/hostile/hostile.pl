# make hostile: attack a node of default settings by its ports, and ask
# witnesses whether anything gave way. See README.md beside this.
#
#	perl -It/lib t/hostile/hostile.pl [SECONDS]
#
# SEED replays the choices; SLOTS: how many attack at a time; SHM=256M: a
# /dev/shm of that size; MEMORY=512M: a memory cgroup around the node;
# JUDGE_SPEED=0: latencies are told, not judged.
use strict;
use warnings;
use Nodelife;
use Report width => 22;
use Fcntl qw(F_SETFD);
use List::Util qw(max sum0);
use POSIX ();
use Socket;

use constant {
	PING_P99_MS  => 20,
	QUIET_P99_MS => 5,    # before the attack; above it, times say nothing
	# What may stay with a process when all is over: malloc's and the
	# kernel's idea of memory that was used once. A sanitizer keeps more.
	ANON_MARGIN_KIB => 16 * 1024,
	ANON_MARGIN_SANITIZED_KIB => 256 * 1024,
	# The log's buffer, the rings, a table's first pages stay in /dev/shm
	# once used.
	SHM_MARGIN_KIB => 32 * 1024,
};

my $seconds = shift // 60;
my $seed    = $ENV{SEED}        // int rand 1e9;
my $slots   = $ENV{SLOTS}       // 96;
my $speed   = $ENV{JUDGE_SPEED} // 1;
my $bin     = build_dir() . '/t/hostile';
my ( %kids, @reasons, %first, %last, %peak, %seen, $cgroup );
$| = 1;

sub wrong {
	my ($why) = @_;
	push @reasons, $why;
	told( 'WRONG', $why );
	return;
}

# ---- where the node lives ----

# A mount namespace of our own with a small /dev/shm; it goes with us.
sub small_shm {
	my ($size) = @_;
	skipped('SHM: not root') if $> != 0;
	skipped('SHM: the number of unshare() is not known here')
	  if ( POSIX::uname() )[4] ne 'x86_64';
	skipped("SHM: unshare: $!") if syscall( 272, 0x20000 ) != 0;
	my $out = `mount --make-rprivate / 2>&1 && mount -t tmpfs -o size=$size none /dev/shm 2>&1`;
	skipped("SHM: mount: $out") if $? != 0;
	return;
}

sub put {
	my ( $path, $text ) = @_;
	open my $f, '>', $path or return 0;
	print $f $text;
	return close $f;
}

sub memory_cgroup {
	my ($size) = @_;
	my $top   = '/sys/fs/cgroup';
	my $limit = 'memory.max';
	if ( -e "$top/cgroup.controllers" ) {
		put( "$top/cgroup.subtree_control", '+memory' );
	}
	else {
		my ($path) =
		  ( slurp('/proc/self/cgroup') // '' ) =~ /^\d+:memory:(.*)$/m;
		$top   = "$top/memory" . ( $path // '' );
		$limit = 'memory.limit_in_bytes';
	}
	$cgroup = "$top/nodelife-hostile.$$";
	if ( !mkdir $cgroup ) {
		( my $at, $cgroup ) = ($cgroup);
		skipped("MEMORY: $at: $!");
	}
	put( "$cgroup/$limit", $size )
	  or skipped("MEMORY: $cgroup/$limit: no memory controller here");
	return;
}

# In its cgroup from its first page on.
sub node_start {
	my ($n) = @_;
	$n->found if !-e "$n->{data}/node";
	my @command = ( build_dir() . '/nodelifed', '-f', '-c', $n->{ini} );
	@command = ( 'sh', '-c',
		'echo $$ >"$0/cgroup.procs" && exec "$@"', $cgroup, @command )
	  if defined $cgroup;
	$n->spawn(@command)->wait_serving(120);
	return;
}

# ---- attackers and witnesses ----

sub kid {
	my ( $n, $name, $fd, @command ) = @_;
	my $out = "$n->{dir}/$name.out";
	unlink $out;
	my $pid = fork // die "fork: $!";
	if ( $pid == 0 ) {
		open STDOUT, '>', $out or POSIX::_exit(127);
		# Kept over the exec.
		fcntl $fd, F_SETFD, 0 if defined $fd;
		exec @command or POSIX::_exit(127);
	}
	$kids{$name} = { pid => $pid, out => $out };
	return;
}

# Told to end, and its end; what it printed, as name => rest of the line.
sub kid_end {
	my ( $name, $sig, $deadline ) = @_;
	my $k = delete $kids{$name};
	kill $sig, $k->{pid};
	my $ended = wait_until { waitpid( $k->{pid}, POSIX::WNOHANG() ) != 0 }
	  $deadline;
	if ( !$ended ) {
		wrong("$name did not end within $deadline s: something it asked"
			  . ' for was never answered');
		kill 'KILL', $k->{pid};
		waitpid $k->{pid}, 0;
	}
	elsif ( $? & 127 && $sig ne 'KILL' ) {
		wrong( "$name was killed by signal " . ( $? & 127 ) );
	}
	elsif ( $? >> 8 > 1 ) { wrong("$name gave up, exit code @{[ $? >> 8 ]}") }
	my %said;
	for ( split /\n/, slurp( $k->{out} ) // '' ) {
		my ( $what, $rest ) = split ' ', $_, 2;
		if   ( $what eq 'FAIL' ) { wrong("$name: $rest") }
		else                     { $said{$what} = $rest }
	}
	return \%said;
}

sub look_on {
	my ($n) = @_;
	kid( $n, $_->[0], undef, "$bin/witness", $_->[0], $n->addr( $_->[1] ) )
	  for [qw(ping client)], [qw(probe http)];
	return;
}

sub attack {
	my ( $n, $round ) = @_;
	socketpair my $a, my $w, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die "$!";
	my ( $client, $http ) = map { $n->addr($_) } qw(client http);
	kid( $n, 'write', $w, "$bin/witness", 'write', $client,
		"$n->{dir}/known", $seed + $round, fileno $w );
	kid( $n, 'attack', $a, "$bin/attack", $client, $http, $seed + $round,
		$slots, fileno $a );
	return;
}

# ---- the sampler ----

# KiB of a process: all, and what nobody else has.
sub memory_of {
	my ($pid) = @_;
	my $text = slurp("/proc/$pid/smaps_rollup") // '';
	my ($pss)  = $text =~ /^Pss:\s+(\d+)/m;
	my ($anon) = $text =~ /^Pss_Anon:\s+(\d+)/m;
	($anon) = $text =~ /^Anonymous:\s+(\d+)/m if !defined $anon;
	return ( $pss // 0, $anon // 0 );
}

sub shm_kib {
	my ($n) = @_;
	my $region = readlink "$n->{run}/region" // return 0;
	return int( ( ( stat $region )[12] // 0 ) / 2 );
}

sub sample {
	my ($n) = @_;
	my %pids = ( supervisor => $n->{pid}, %{ $n->workers } );
	my %now = ( shm => shm_kib($n) );
	for my $name ( keys %pids ) {
		@now{ "$name pss", "$name anon" } = memory_of( $pids{$name} );
		my @fds = glob "/proc/$pids{$name}/fd/*";
		$now{"$name fds"} = @fds;
	}
	for ( keys %now ) {
		$first{$_} //= $now{$_};
		$peak{$_} = max( $peak{$_} // 0, $now{$_} );
	}
	%last = %now;
	return;
}

# No process may have begun anew; what the log says of it is told.
sub look_for_restarts {
	my ($n) = @_;
	my $s = $n->stat or return;
	my %now = ( node => "$s->{supervisor_pid} after $s->{node_restarts}" );
	$now{ $_->{name} } = "$_->{pid} after $_->{restarts}"
	  for grep { $_->{pid} } @{ $s->{workers} };
	for my $name ( sort keys %now ) {
		my $old = $seen{$name} // $now{$name};
		$seen{$name} = $now{$name};
		next if $old eq $now{$name};
		wrong("$name began anew: pid $old restarts, now $now{$name}");
		my @lines = grep {
			/killed|ended|assert|restart|\Q$name\E.*(?:signal|exit)/i
			  && !$n->{told}{$_}++
		} split /\n/, slurp( $n->{log} ) // '';
		print "    $_\n" for map { substr $_, 0, 300 } grep { defined }
		  @lines[ max( 0, $#lines - 7 ) .. $#lines ];
	}
	return;
}

sub watch_for {
	my ( $n, $time ) = @_;
	my $end = now() + $time;
	while ( now() < $end ) {
		if ( $n->gone ) {
			wrong( 'the daemon is gone, status ' . $n->{status} );
			return 0;
		}
		look_for_restarts($n);
		sample($n);
		my $rest = $end - now();
		select undef, undef, undef, $rest < 1 ? max( 0, $rest ) : 1;
	}
	return 1;
}

# ---- judging ----

sub sanitized {
	my ($n) = @_;
	return ( slurp("/proc/$n->{pid}/maps") // '' ) =~ /libasan/;
}

sub judge_attack {
	my ($n) = @_;
	my $said = kid_end( 'attack', 'TERM', 150 );
	my %sum;
	for my $kind ( sort keys %$said ) {
		my ( $lives, $sent, $answers, $errors, $closed, $refused,
			$unanswered ) =
		  split ' ', $said->{$kind};
		told( "attack $kind", "$lives lives,",
			sprintf( '%.1f MB,', $sent / 1e6 ),
			"$answers answers, $errors errors, $closed closed by the"
			  . " node, $refused refused, $unanswered cut short" );
		$sum{answers} += $answers;
		$sum{lives}   += $lives;
	}
	wrong('the attackers got no answer') if !$sum{answers} && !$ENV{ONLY};
	told( 'attack', "$sum{lives} lives, $sum{answers} answers" ) if %sum;
	return;
}

# PING with nobody else there: is this machine quiet enough to judge by?
sub quiet {
	my ($n) = @_;
	kid( $n, 'ping', undef, "$bin/witness", 'ping', $n->addr('client') );
	select undef, undef, undef, 1;
	my $p99 = ( kid_end( 'ping', 'TERM', 60 )->{ping_p99_us} // 0 ) / 1e3;
	my $yes = $p99 <= QUIET_P99_MS;
	told( 'ping before', sprintf( 'p99 %.2f ms', $p99 ),
		$yes ? () : '(a busy machine: times are not judged)' );
	return $yes;
}

sub judge_latencies {
	my ($n) = @_;
	my $judged = $speed && !sanitized($n);
	my %said = ( %{ kid_end( 'ping', 'TERM', 60 ) },
		%{ kid_end( 'probe', 'TERM', 60 ) } );
	for my $what (qw(ping probe)) {
		told( $what, $said{"${what}_count"},
			map { sprintf '%s %.2f ms', $_,
				( $said{"${what}_${_}_us"} // 0 ) / 1e3 } qw(p50 p99 max) );
	}
	wrong( 'PING p99 is above ' . PING_P99_MS . ' ms' )
	  if $judged && $said{ping_p99_us} > PING_P99_MS * 1000;
	wrong("$said{probe_late} probes took more than 1 s")
	  if $judged && $said{probe_late};
	wrong("$said{probe_refused} probes were refused")
	  if $said{probe_refused};
	return;
}

sub judge_writes {
	my ( $sig, $round ) = @_;
	my $said = kid_end( 'write', $sig, 180 );
	told( "writer $round", map { "$_ " . ( $said->{$_} // 0 ) }
		  qw(writes_answered reads_checked writes_lost_links) );
	told( "writer $round",
		map { sprintf '%s %.1f ms', $_,
			( $said->{"write_${_}_us"} // 0 ) / 1e3 } qw(p50 p99 max) );
	wrong("round $round: the writer got no answer")
	  if !$said->{writes_answered};
	return;
}

# Once all have gone, nothing is kept of what they brought.
sub judge_memory {
	my ($n) = @_;
	my $margin =
	  sanitized($n) ? ANON_MARGIN_SANITIZED_KIB : ANON_MARGIN_KIB;
	my $reply = eval { $n->client->cmd('FLUSHALL') } // "$@";
	wrong("FLUSHALL answered $reply") if $reply ne 'OK';
	my ( $code, $out, $err ) =
	  $n->run( 'nodelifectl', '-r', $n->{run}, 'checkpoint' );
	wrong("a checkpoint: $out$err") if $code != 0;
	my @over;
	wait_until {
		sample($n);
		@over = grep { /anon$/ && $last{$_} > ( $first{$_} // 0 ) + $margin }
		  sort keys %last;
		push @over, 'shm' if $last{shm} > $first{shm} + SHM_MARGIN_KIB;
		!@over;
	} 30;
	for ( sort keys %last ) {
		told( $_, ( /fds$/ ? '' : 'KiB ' ) . "$first{$_} at first,",
			"$peak{$_} at most, $last{$_} at last" );
	}
	wrong("memory is not given back: $_, $first{$_} KiB at first, $last{$_}"
		  . ' at last')
	  for @over;
	return;
}

# ---- all of it ----

# A report is kept where the sanitizer wrote it, also by t/exec.
$ENV{ASAN_OPTIONS} = join ':', $ENV{ASAN_OPTIONS} // (),
  'quarantine_size_mb=8';
small_shm( $ENV{SHM} )        if $ENV{SHM};
memory_cgroup( $ENV{MEMORY} ) if $ENV{MEMORY};
told( 'seed', $seed );
told( 'seconds', $seconds );
told( 'slots', $slots );
my $n = Nodelife->new;
node_start($n);
look_for_restarts($n);
sample($n);
$speed &&= quiet($n);
look_on($n);
attack( $n, 0 );
if ( watch_for( $n, $seconds ) ) {
	judge_attack($n);
	judge_latencies($n);
	judge_writes( 'TERM', 0 );
	look_for_restarts($n);
	judge_memory($n);
	look_for_restarts($n);
}

# Once more, and the node is killed under attack.
if ( !$n->gone ) {
	attack( $n, 1 );
	watch_for( $n, $seconds < 20 ? 1 : 5 );
	$n->kill9;
	kid_end( 'attack', 'KILL', 10 );
	judge_writes( 'USR1', 1 );
	node_start($n);
	kid( $n, 'check', undef, "$bin/witness", 'check', $n->addr('client'),
		"$n->{dir}/known" );
	my $said = kid_end( 'check', 'CONT', 180 );
	told( 'after kill -9', ( $said->{reads_checked} // 0 ), 'reads checked' );
	wrong('nothing could be checked after the kill -9')
	  if !$said->{reads_checked};
	my $code = $n->stop;
	wrong("the stop ended with $code") if $code != 0;
}
$ENV{NODELIFE_KEEP} = 1 if @reasons;
print "$n->{dir} is kept; SEED=$seed replays it\n" if @reasons;
print @reasons ? "FAIL\n" : "PASS\n", map { "  $_\n" } @reasons;
exit( @reasons != 0 );

# Runs before Nodelife's, which ends the node: a cgroup must be empty first.
END {
	my $code = $?;
	for ( values %kids ) {
		kill 'KILL', $_->{pid};
		waitpid $_->{pid}, 0;
	}
	if ( defined $cgroup ) {
		$n->kill9 if defined $n && !$n->gone;
		wait_until { rmdir $cgroup } 10;
	}
	$? = $code;
}
