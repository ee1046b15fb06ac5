# A worker that has ended is kept by whoever traces it, and no wait() has it
# before: the supervisor neither spins over it nor forgets it.
use strict;
use warnings;
use Nodelife;
use Test::More;

plan skip_all => 'the number of ptrace() is not known here'
  if ( POSIX::uname() )[4] ne 'x86_64';
my $n   = Nodelife->new->start;
my $pid = $n->workers->{gateway0} + 0;

# Of CPU that the supervisor has used.
sub ticks {
	my ( undef, @f ) = split ' ', slurp("/proc/$n->{pid}/stat") =~ s/.*\)//sr;
	return $f[10] + $f[11];
}

# (the tracer, did it get hold of the process?)
sub trace {
	my ($traced) = @_;
	pipe my $told, my $tell or die "pipe: $!";
	my $tracer = fork // die "fork: $!";
	if ( $tracer == 0 ) {
		Nodelife::die_with_parent();
		my $rc = syscall 101, 0x4206, $traced, 0, 0;    # PTRACE_SEIZE
		syswrite $tell, $rc == 0 ? 'y' : 'n';
		sleep 600;
		POSIX::_exit(0);
	}
	close $tell;
	sysread $told, my $answer, 1;
	return ( $tracer, $answer );
}
my ( $tracer, $traced ) = trace($pid);
if ( $traced eq 'y' ) {
	kill 'KILL', $pid;
	eventually { slurp("/proc/$pid/stat") =~ /\) Z / } 'ended, and not reaped';
	my $before = ticks();
	select undef, undef, undef, 1;
	cmp_ok ticks() - $before, '<', 20, 'the supervisor does not spin over it';
}
kill 'KILL', $tracer;
waitpid $tracer, 0;
SKIP: {
	skip 'nobody may trace here', 1 if $traced ne 'y';
	eventually { ( $n->workers->{gateway0} // $pid ) != $pid }
	'and starts another when its tracer is gone';
}

# Health, ended for the sake of a control socket that was removed, and a stop
# before it is reaped: that is no unclean one.
if ( $traced eq 'y' ) {
	my $health = $n->workers->{health} + 0;
	($tracer) = trace($health);
	unlink "$n->{run}/control.sock";
	eventually { slurp("/proc/$health/stat") =~ /\) Z / } 'health ended, and not reaped';
	kill 'TERM', $n->{pid};
	eventually { slurp( $n->{log} ) =~ /stop: SIGTERM/ } 'a stop';
	kill 'KILL', $tracer;
	waitpid $tracer, 0;
	is $n->wait_exit, 0, 'in order';
}
else { is $n->stop, 0, 'stopped' }
done_testing;
