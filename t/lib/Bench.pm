# What benchmarks share: rounds that alternate for as long as there is time, what
# the machine was good for meanwhile, and how far to trust a ratio.
#
#	row_begin($end);	# rows and rounds may take until then (now())
#	my @r = rounds 5, sub { ... };
#	trust( map { $_->{a} / $_->{b} } @r );
#
# BENCH_DIR is where it all lives (a directory of its own, removed); nodes, too.
package Bench;

use strict;
use warnings;
use Cwd        ();
use File::Temp ();
use List::Util qw(max min sum);
use Nodelife;
use POSIX      ();
use Time::HiRes ();
use Exporter 'import';

our @EXPORT = qw(base column cpu median noise row_begin row_end rounds rows_run
  scatter switches thread_switches trust);

my $scatter_limit = $ENV{BENCH_SCATTER} // 20;
my $hz            = POSIX::sysconf( &POSIX::_SC_CLK_TCK );
my $base          = $ENV{BENCH_DIR} // File::Temp::tempdir(
	'nodelife-bench.XXXXXX', DIR => '.', CLEANUP => 1 );
$base = Cwd::abs_path($base);
$ENV{NODELIFE_TMP} = $base;

sub base { return $base }

sub median {
	my @v = sort { $a <=> $b } @_;
	return @v % 2 ? $v[ @v / 2 ] : ( $v[ @v / 2 - 1 ] + $v[ @v / 2 ] ) / 2;
}

# ---- the time there is, and what the machine is like meanwhile ----

my ( $row_end, @spins, @syncs );

sub row_begin { ( $row_end, @spins, @syncs ) = @_; return }
sub row_end   { return $row_end }

# Run these rows, as many seconds as there are: %share says how much of them a
# row takes, %row what it does.
sub rows_run {
	my ( $seconds, $row, $share, @ask ) = @_;
	my $end = now() + $seconds;
	my ($unknown) = grep { !$row->{$_} } @ask;
	die "no row '$unknown'; rows: @{ [ sort keys %$row ] }\n" if defined $unknown;
	local $| = 1;
	while ( my $r = shift @ask ) {
		my $all = $share->{$r} + ( sum( map { $share->{$_} } @ask ) // 0 );
		row_begin( now() + ( $end - now() ) * $share->{$r} / $all );
		$row->{$r}->();
	}
	return;
}

# Do it again while there is time for as long a round as the last ones; what the
# rounds returned, of those that count. redis-benchmark measures by the wall
# clock: a step of it is one reply of that length, so such a round is void.
sub rounds {
	my ( $most, $round ) = @_;
	my ( $begin, $made, @got ) = ( now(), 0 );
	while ( @got < $most ) {
		noise();
		my ( $result, $step ) = watched( $round, scalar @got );
		$made++;
		if   ($step) { print "the wall clock stepped by $step ms: void\n" }
		else         { push @got, $result }
		# One that counts there must be, unless the clock never rests.
		last if now() + ( now() - $begin ) / $made > $row_end
		  && ( @got || $made > 2 * $most );
	}
	noise();
	die "the wall clock stepped in each of $made rounds\n" if !@got;
	return @got;
}

# How far the wall clock is from one that nobody sets.
sub apart { return Time::HiRes::time() - now() }

# Run it: what it returned, and the step of the wall clock meanwhile in ms, 0 if
# it was no more than a slewed clock makes (500 us a second).
sub watched {
	my ( $run, @args ) = @_;
	my ( $begin, $before ) = ( now(), apart() );
	my $result = $run->(@args);
	my $step   = apart() - $before;
	return ( $result, abs $step > 0.002 + 0.001 * ( now() - $begin )
		? sprintf( '%.0f', $step * 1e3 ) : 0 );
}

sub column { my ( $name, @rounds ) = @_; return map { $_->{$name} } @rounds }

# A million turns of a loop; 20 synced writes.
sub noise {
	my $t = now();
	my $x = 0;
	$x += $_ for 1 .. 1_000_000;
	push @spins, now() - $t;
	open my $f, '+>', "$base/noise.tmp" or die "$base/noise.tmp: $!";
	$t = now();
	for ( 1 .. 20 ) {
		sysseek $f, 0, 0;
		syswrite $f, 'n' x 4096;
		$f->sync or die "sync: $!";
	}
	push @syncs, now() - $t;
	close $f;
	unlink "$base/noise.tmp";
	return;
}

# How far apart the extremes are, in per cent of the median.
sub scatter {
	my @v = @_;
	return @v > 1 ? 100 * ( max(@v) - min(@v) ) / median(@v) : 0;
}

# The last line of a row: how much to trust it. @ratio: one of each round.
sub trust {
	my @ratio = @_;
	my $rounds = '';
	if (@ratio) {
		my $mark = @ratio < 3 ? ' TOO FEW'
		  : scatter(@ratio) > $scatter_limit ? ' NOISY' : '';
		$rounds = sprintf '%d rounds within %.0f %%%s; ', scalar @ratio,
		  scatter(@ratio), $mark;
	}
	printf "%14s %sthe machine: CPU within %.0f %%, synced write of %.0f us"
	  . " within %.0f %%\n", '', $rounds, scatter(@spins),
	  median(@syncs) / 20 * 1e6, scatter(@syncs);
	return;
}

# CPU seconds that these processes have used.
sub cpu {
	my @pids = @_;
	my $ticks = 0;
	for my $p (@pids) {
		my $s = slurp("/proc/$p/stat") // next;
		my @f = split ' ', substr $s, rindex( $s, ')' ) + 2;
		$ticks += $f[11] + $f[12];
	}
	return $ticks / $hz;
}

# How often they went to sleep; with threads of theirs.
sub switches { return slept( map { "/proc/$_/status" } @_ ) }
sub thread_switches { return slept( map { glob "/proc/$_/task/*/status" } @_ ) }

sub slept {
	my @files = @_;
	my $n = 0;
	for my $file (@files) {
		my $s = slurp($file) // next;
		$n += $1 if $s =~ /^voluntary_ctxt_switches:\s+(\d+)/m;
	}
	return $n;
}

1;
