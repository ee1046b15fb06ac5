# What integration tests stand on: a node of one's own on ports the OS chose,
# RESP and HTTP clients, waiting on conditions, cleaning up.
#
#	my $n = Nodelife->new(store => { table_size => '16M' });
#	$n->start;			# founded on first start, serving
#	my $c = $n->client;
#	is $c->cmd(qw(SET k v)), 'OK';
#	is $n->stop, 0;			# exit code
#
# Every process started here is ended, every directory removed, at exit.
package Nodelife;

use strict;
use warnings;
use Carp;
use Cwd ();
use Fcntl qw(F_SETLK F_WRLCK SEEK_SET);
use File::Glob qw(bsd_glob);
use File::Path ();
use File::Temp ();
use IO::Socket::INET;
use IO::Socket::UNIX;
use JSON::PP ();
use List::Util qw(max min);
use POSIX    ();
use Socket   qw(SOL_SOCKET SO_LINGER);
use Time::HiRes ();
use Exporter 'import';

our @EXPORT =
  qw(wait_until eventually now build_dir tmp_dir slurp http_get);

my %live;    # pid => 1: what we started and have not reaped
my @dirs;
my $owner = $$;

# Cleaning up is END's: a signal is an exit, too. TERM is how t/exec ends what
# takes too long: where it was is of interest.
$SIG{$_} //= sub { exit 130 } for qw(INT HUP);
$SIG{TERM} //= sub { Carp::cluck('ended by SIGTERM'); exit 130 };

# Where nodes live: a directory on a real disk.
sub tmp_dir { return $ENV{NODELIFE_TMP} // $ENV{TMPDIR} // '/tmp' }

sub build_dir { return Cwd::abs_path( $ENV{NODELIFE_BUILD} // 'build' ) }

# Seconds of a clock that nobody sets.
sub now { return Time::HiRes::clock_gettime( Time::HiRes::CLOCK_MONOTONIC() ) }

# Ask cond every millisecond until it holds; one that takes its time, as it runs
# a program, a third of the time at most: what it waits for needs the CPU, too.
# False after the deadline. That is there for what never comes: no wait for what
# does come needs a shorter one, and a busy machine may need it all.
sub wait_until (&;$) {
	my ( $cond, $deadline ) = @_;
	my $asked = now();
	my $end   = $asked + ( $deadline // 60 );
	while (1) {
		my $got = $cond->();
		return $got if $got;
		my $now = now();
		return 0 if $now > $end;
		select undef, undef, undef, max( 0.001, min( 0.05, 2 * ( $now - $asked ) ) );
		$asked = now();
	}
}

# A test: the condition comes to hold. A deadline of its own may stand before
# the name.
sub eventually (&$;$) {
	my $cond = shift;
	my $name = pop;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return Test::More::ok( wait_until( \&$cond, $_[0] ), $name );
}

sub slurp {
	my ($path) = @_;
	open my $f, '<', $path or return;
	local $/;
	return scalar <$f>;
}

sub new {
	my ( $class, %sections ) = @_;
	my $base = delete $sections{base} // File::Temp::tempdir(
		'nodelife.XXXXXX', DIR => tmp_dir() );
	push @dirs, $base;
	my $self = bless {
		dir      => $base,
		ini      => "$base/nodelife.ini",
		data     => "$base/data",
		run      => "$base/run",
		log      => "$base/log",
		sections => {
			node => {
				name     => 'n1',
				group    => 'test',
				data_dir => "$base/data",
				run_dir  => "$base/run",
			},
			listen => {
				client => '127.0.0.1:0',
				peer   => 'none',
				http   => '127.0.0.1:0',
			},
			# Exit code 0 of a stop shall not hang on how busy the
			# machine is.
			shutdown => { phase_budget => '30s' },
		},
	}, $class;
	mkdir $self->{run};
	$self->configure(%sections);
	return $self;
}

# Merge keys into sections and write the file; an undef value drops the key.
sub configure {
	my ( $self, %sections ) = @_;
	for my $s ( keys %sections ) {
		for my $k ( keys %{ $sections{$s} } ) {
			my $v = $sections{$s}{$k};
			if   ( defined $v ) { $self->{sections}{$s}{$k} = $v }
			else                { delete $self->{sections}{$s}{$k} }
		}
	}
	open my $f, '>', $self->{ini} or croak "$self->{ini}: $!";
	for my $s ( sort keys %{ $self->{sections} } ) {
		print $f "[$s]\n";
		my $keys = $self->{sections}{$s};
		print $f "$_ = $keys->{$_}\n" for sort keys %$keys;
	}
	close $f;
	return $self;
}

# Run a program to its end: (exit code, stdout, stderr).
sub run {
	my ( $self, @command ) = @_;
	return $self->run_end( $self->run_begin(@command) );
}

# The same in two: what takes its time runs beside other things.
my $runs = 0;

sub run_begin {
	my ( $self, $prog, @args ) = @_;
	my $out = "$self->{dir}/out.$$." . $runs++;
	my $pid = fork // croak "fork: $!";
	if ( $pid == 0 ) {
		open STDIN,  '<', '/dev/null';
		open STDOUT, '>', $out;
		open STDERR, '>', "$out.err";
		exec build_dir() . "/$prog", @args or POSIX::_exit(127);
	}
	return { pid => $pid, out => $out };
}

sub run_end {
	my ( $self, $run ) = @_;
	my $out = $run->{out};
	waitpid $run->{pid}, 0;
	my $code = $? & 127 ? 128 + ( $? & 127 ) : $? >> 8;
	my @text = ( slurp($out) // '', slurp("$out.err") // '' );
	unlink $out, "$out.err";
	return ( $code, @text );
}

sub found {
	my ($self) = @_;
	my ( $code, undef, $err ) =
	  $self->run( 'nodelifed', '--init', '-c', $self->{ini} );
	croak "founding failed ($code): $err" if $code != 0;
	return $self;
}

# A test that is killed takes its node along: prctl(PR_SET_PDEATHSIG, KILL).
sub die_with_parent {
	syscall 157, 1, 9, 0, 0, 0 if ( POSIX::uname() )[4] eq 'x86_64';
	return;
}

# Fork the daemon in the foreground (or the command that starts it so); does
# not wait for it to serve.
sub spawn {
	my ( $self, @command ) = @_;
	if ( !@command ) {
		$self->found if !-e "$self->{data}/node";
		@command = ( build_dir() . '/nodelifed', '-f', '-c', $self->{ini} );
	}
	my $pid = fork // croak "fork: $!";
	if ( $pid == 0 ) {
		POSIX::setpgid( 0, 0 );
		die_with_parent();
		open STDIN,  '<',  '/dev/null';
		open STDOUT, '>>', $self->{log};
		open STDERR, '>>', $self->{log};
		exec @command or POSIX::_exit(127);
	}
	$live{$pid} = 1;
	$self->{pid} = $pid;
	delete $self->{status};
	delete $self->{addr};
	return $self;
}

sub start {
	my ( $self, $deadline ) = @_;
	$self->spawn;
	$self->wait_serving($deadline);
	return $self;
}

# nodelifestat's view of the region, decoded; undef if there is none (yet).
sub stat {
	my ($self) = @_;
	my ( $code, $out ) = $self->run( 'nodelifestat', '-r', $self->{run}, '-j' );
	return if $out !~ /^\s*\{/;
	return eval { JSON::PP::decode_json($out) };
}

# What stands in its way, of this kind: the text, '' if nothing does.
sub trouble {
	my ( $self, $kind ) = @_;
	my $s = $self->stat or return '';
	my ($t) = grep { $_->{kind} eq $kind } @{ $s->{troubles} // [] };
	return $t ? $t->{text} : '';
}

sub wait_serving {
	my ( $self, $deadline ) = @_;
	croak 'the node does not serve'
	  if $self->wait_boot($deadline) ne 'serves';
	return $self;
}

# The end of a boot: 'serves', 'gone' (it was refused), or 'hangs'.
sub wait_boot {
	my ( $self, $deadline ) = @_;
	my $end = wait_until {
		return 'gone' if $self->gone;
		# No nodelifestat -w: that gives a node that is over another second.
		my $s = $self->fresh;
		$s && $s->{state} eq 'live' && $s->{phase} eq 'gateway_enable'
		  && !( grep { $_->{kind} eq 'boot_waits' } @{ $s->{troubles} // [] } )
		  && 'serves';
	} $deadline;
	return $end || 'hangs';
}

# What the region shows, if it is the one of our process.
sub fresh {
	my ($self) = @_;
	my $s = $self->stat or return 0;
	return ( $s->{supervisor_pid} // 0 ) == $self->{pid} && $s;
}

# A node that became a daemon: end it with the others.
sub adopt {
	my ( $self, $pid ) = @_;
	$live{$pid} = 1;
	$self->{pid} = $pid;
	delete @$self{qw(status addr)};
	return $self;
}

sub gone {
	my ($self) = @_;
	return 1 if !defined $self->{pid};
	return 1 if defined $self->{status};
	my $got = waitpid $self->{pid}, POSIX::WNOHANG();
	return 0 if $got == 0;
	# A daemon is not our child: its end shows, its exit code does not.
	return 0 if $got == -1 && -e "/proc/$self->{pid}";
	$self->{status} = $got == -1 ? 0 : $?;
	delete $live{ $self->{pid} };
	$self->look_for_sanitizers;
	return 1;
}

# What a sanitizer said in a node's log fails the test that ran it.
my $sanitizer;

sub look_for_sanitizers {
	my ($self) = @_;
	my $log = slurp( $self->{log} ) // return;
	return
	  if $log !~ /^(?:==\d+==\s*ERROR: \w+Sanitizer|\S+: runtime error:).*/m;
	$sanitizer //= substr $log, $-[0], 4000;
	return;
}

# Wait for the exit; its code (128 + signal when killed).
sub wait_exit {
	my ( $self, $deadline ) = @_;
	wait_until { $self->gone } $deadline or return -1;
	my $s = $self->{status};
	return $s & 127 ? 128 + ( $s & 127 ) : $s >> 8;
}

sub signal {
	my ( $self, $sig ) = @_;
	kill $sig, $self->{pid} if !$self->gone;
	return $self;
}

sub stop {
	my ( $self, $deadline ) = @_;
	return $self->signal('TERM')->wait_exit($deadline);
}

# Kill the supervisor; its workers die with it. Waits until all are gone.
sub kill9 {
	my ($self) = @_;
	my %w = %{ $self->workers };
	kill 'CONT', values %w;
	$self->signal('KILL')->wait_exit;
	wait_until {
		!grep { $_ && -e "/proc/$_" && !zombie($_) } values %w;
	} or croak 'workers outlive the supervisor';
	return $self;
}

sub zombie {
	my ($pid) = @_;
	return ( slurp("/proc/$pid/stat") // '0 (x) Z' ) =~ /\) Z/;
}

# name => pid of the running workers, from the kernel, not from the region.
sub workers {
	my ($self) = @_;
	my %w;
	my $kids =
	  slurp("/proc/$self->{pid}/task/$self->{pid}/children") // '';
	for my $pid ( split ' ', $kids ) {
		my $title = slurp("/proc/$pid/cmdline") // next;
		$title =~ s/\0.*//s;
		$w{$1} = $pid if $title =~ /nodelifed: (\S+)/;
	}
	return \%w;
}

# Seconds of CPU that the workers have used.
sub cpu {
	my ($self) = @_;
	my $ticks = 0;
	for my $pid ( values %{ $self->workers } ) {
		my ( undef, @f ) = split ' ',
		  ( slurp("/proc/$pid/stat") // '' ) =~ s/.*\)//sr;
		$ticks += ( $f[10] // 0 ) + ( $f[11] // 0 );
	}
	return $ticks / POSIX::sysconf( POSIX::_SC_CLK_TCK() );
}

# Wait until the worker is there (again) as another process; its pid.
sub wait_worker {
	my ( $self, $name, $other ) = @_;
	my $pid;
	wait_until {
		$pid = $self->workers->{$name};
		defined $pid && $pid != ( $other // 0 );
	} or return;
	return $pid;
}

# Hold the next boot in cluster_catalog_open, until the handle is closed: LMDB
# waits for this lock when it opens the store.
sub hold_boot {
	my ($self) = @_;
	my $path = "$self->{data}/store/lock.mdb";
	open my $f, '+<', $path or croak "$path: $!";
	my $flock = pack 's s x4 l! l! i x4', F_WRLCK, SEEK_SET, 0, 1, 0;
	fcntl $f, F_SETLK, $flock or croak "$path: $!";
	return $f;
}

# Wait until the boot is held there.
sub wait_held {
	my ($self) = @_;
	return wait_until {
		my $s = $self->fresh && $self->stat;
		$s && grep { $_->{phase} eq 'cluster_catalog_open' } @{ $s->{gates} };
	};
}

# A row of nodelifestat's workers.
sub worker_row {
	my ( $self, $name ) = @_;
	my $s = $self->stat or return;
	my ($row) = grep { $_->{name} eq $name } @{ $s->{workers} };
	return $row;
}

# "host:port" that the OS chose; which is client or http.
sub addr {
	my ( $self, $which ) = @_;
	$self->{addr} //= do {
		my $s;
		wait_until { $s = $self->stat; $s && $s->{listen}{client} }
		  or croak 'no region to read the addresses from';
		$s->{listen};
	};
	return $self->{addr}{$which};
}

sub client {
	my ($self) = @_;
	return Nodelife::Client->new( $self->addr('client') );
}

sub http {
	my ( $self, $path, $method ) = @_;
	return http_get( $self->addr('http'), $path, $method );
}

# (status, body, headers) of one request; status 0 if nobody answers.
sub http_get {
	my ( $addr, $path, $method ) = @_;
	$method //= 'GET';
	my $s = IO::Socket::INET->new( PeerAddr => $addr, Timeout => 30 )
	  or return ( 0, '', '' );
	print $s "$method $path HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n"
	  . "Connection: close\r\n\r\n";
	local $/;
	my $all = <$s> // '';
	my ( $head, $body ) = split /\r\n\r\n/, $all, 2;
	my ($status) = ( $head // '' ) =~ m{^HTTP/1\.[01] (\d+)};
	return ( $status // 0, $body // '', $head // '' );
}

# What a node said last, when the test has failed: only the end of a long run's
# output may ever be seen.
sub show_logs {
	for my $log ( grep { -s } map { "$_/log" } @dirs ) {
		my @lines = split /\n/, slurp($log) // '';
		splice @lines, 0, @lines - 40 if @lines > 40;
		print STDERR "# the end of $log:\n",
		  map { substr( "#   $_", 0, 300 ) . "\n" } @lines;
	}
	return;
}

sub failed {
	return $? != 0
	  || Test::Builder->can('new') && !Test::Builder->new->is_passing;
}

# Nodes end, their directories go; once, by whoever comes first.
sub clean_up {
	show_logs() if failed();
	for my $pid ( keys %live ) {
		my $kids = slurp("/proc/$pid/task/$pid/children") // '';
		kill 'CONT', split ' ', $kids;
		kill 'KILL', $pid;
		waitpid $pid, 0;
		wait_until {
			!grep { -e "/proc/$_" && !zombie($_) } split ' ', $kids;
		};
	}
	for my $d (@dirs) {
		for my $l ( map { readlink // () } bsd_glob "$d/run/{,*/}region{,.prev}" ) {
			unlink $l if $l =~ m{^/dev/shm/nodelife};
		}
		File::Path::remove_tree($d) if !$ENV{NODELIFE_KEEP};
	}
	%live = @dirs = ();
	return;
}

END {
	if ( $$ == $owner ) {
		my $code = $?;
		clean_up();
		if ( defined $sanitizer ) {
			print STDERR "# $_\n" for split /\n/, $sanitizer;
			$code ||= 1;
		}
		$? = $code;
	}
}

package Nodelife::Client;

use strict;
use warnings;
use Carp;
use Errno ();

# A blocking RESP client. Errors come back as objects that stringify.
sub new {
	my ( $class, $addr ) = @_;
	my $s = $addr =~ m{^/}
	  ? IO::Socket::UNIX->new( Peer => $addr )
	  : IO::Socket::INET->new( PeerAddr => $addr, Timeout => 30 );
	croak "connect $addr: $!" if !$s;
	$s->autoflush(1);
	return bless { s => $s, buf => '' }, $class;
}

sub encode {
	my @args = @_;
	return join '', '*' . @args . "\r\n",
	  map { '$' . length($_) . "\r\n$_\r\n" } @args;
}

sub raw {
	my ( $self, $bytes ) = @_;
	local $SIG{PIPE} = 'IGNORE';
	my $off = 0;
	while ( $off < length $bytes ) {
		my $n = syswrite $self->{s}, $bytes, length($bytes) - $off, $off;
		next if !defined $n && $!{EINTR};
		return 0 if !defined $n;
		$off += $n;
	}
	return 1;
}

sub send { my ( $self, @args ) = @_; return $self->raw( encode(@args) ) }

# Several commands in one write; their replies are the caller's.
sub send_all {
	my ( $self, @cmds ) = @_;
	return $self->raw( join '', map { encode(@$_) } @cmds );
}

sub cmd {
	my ( $self, @args ) = @_;
	$self->send(@args) or return Nodelife::Error->new('CLOSED');
	return $self->reply;
}

# True when bytes can be read within the time.
sub readable {
	my ( $self, $seconds ) = @_;
	return 1 if length $self->{buf};
	my $end = Nodelife::now() + $seconds;
	my ( $r, $n, $left );
	do {
		vec( $r = '', fileno( $self->{s} ), 1 ) = 1;
		$left = $end - Nodelife::now();
		$n = select $r, undef, undef, $left > 0 ? $left : 0;
	} while ( $n < 0 && $!{EINTR} );
	return $n > 0;
}

sub fill {
	my ($self) = @_;
	$self->{late} = !$self->readable( $self->{timeout} // 60 );
	return 0 if $self->{late};
	my $n;
	do {
		$n = sysread $self->{s}, $self->{buf}, 65536, length $self->{buf};
	} while ( !defined $n && $!{EINTR} );
	return defined $n && $n > 0;
}

sub line {
	my ($self) = @_;
	my $at;
	while ( ( $at = index $self->{buf}, "\r\n" ) < 0 ) {
		$self->fill or return;
	}
	my $l = substr $self->{buf}, 0, $at;
	substr $self->{buf}, 0, $at + 2, '';
	return $l;
}

# No reply, and why: two things, one of which is a fault.
sub none {
	my ($self) = @_;
	return Nodelife::Error->new( $self->{late} ? 'TIMEOUT' : 'CLOSED' );
}

# One reply: scalar, undef (nil), array or hash reference, or an error.
sub reply {
	my ($self) = @_;
	my $l = $self->line;
	return $self->none if !defined $l;
	my $t = substr $l, 0, 1, '';
	return $l if $t =~ /[+:,(]/;
	return Nodelife::Error->new($l) if $t eq '-';
	return undef if $t eq '_';
	return $l eq 't' ? 1 : 0 if $t eq '#';
	if ( $t eq '$' || $t eq '=' || $t eq '!' ) {
		return undef if $l < 0;
		while ( length $self->{buf} < $l + 2 ) {
			$self->fill or return $self->none;
		}
		my $v = substr $self->{buf}, 0, $l;
		substr $self->{buf}, 0, $l + 2, '';
		return $t eq '!' ? Nodelife::Error->new($v) : $v;
	}
	if ( $t eq '*' || $t eq '~' || $t eq '>' ) {
		return undef if $l < 0;
		return [ map { scalar $self->reply } 1 .. $l ];
	}
	return { map { scalar $self->reply } 1 .. 2 * $l } if $t eq '%';
	croak "unexpected reply type '$t' ($l)";
}

# Several commands in one write, all replies.
sub pipeline {
	my ( $self, @cmds ) = @_;
	$self->send_all(@cmds);
	return map { scalar $self->reply } @cmds;
}

sub close { my ($self) = @_; close $self->{s}; return }

package Nodelife::Error;

use strict;
use warnings;
use overload '""' => sub { $_[0]{text} }, fallback => 1;

sub new { my ( $class, $text ) = @_; return bless { text => $text }, $class }
sub is { my ($v) = @_; return ref $v && ref $v eq __PACKAGE__ }

1;
