# make bench-group: three nodes beside three members of Debian's etcd-server and
# beside Debian's redis-server, a primary and two replicas, all `appendfsync
# always`, where a client sends SET and then WAIT 1 0. All on this machine and
# this disk, everything synced, 100-byte values, in turns: a ratio is the median
# of the ratios of rounds, in each of which all three ran. The client is the same
# program (group_client.c), at whoever is master; etcd's is spoken to in gRPC, as
# its own clients do. Usage: bench_group.pl [ROW ...]; rows: see the end.
#
# BENCH_SECONDS, BENCH_ROUNDS, BENCH_SCALE: as of bench.pl. GAP_ROUNDS: how often
# each master is killed.
use strict;
use warnings;
use Bench;
use Group;
use HTTP::Tiny;
use JSON::PP ();
use List::Util qw(max min sum);
use Nodelife;
use POSIX ();

my $rounds     = $ENV{BENCH_ROUNDS}  // 5;
my $scale      = $ENV{BENCH_SCALE}   // 1;
my $budget     = $ENV{BENCH_SECONDS} // 900;
my $gap_rounds = $ENV{GAP_ROUNDS}    // 30;
my $base       = base();
my $client     = build_dir() . '/t/bench/group_client';
my $addr       = Group::own_address();
my %pid;    # name => pid of what we started

END {
	my $code = $?;
	kill 'KILL', values %pid;
	waitpid $_, 0 for values %pid;
	$? = $code;
}

sub begin {
	my ( $name, @command ) = @_;
	my $pid = fork // die "fork: $!";
	if ( $pid == 0 ) {
		Nodelife::die_with_parent();
		open STDIN,  '<',  '/dev/null';
		open STDOUT, '>>', "$base/$name.log";
		open STDERR, '>>', "$base/$name.log";
		exec @command or POSIX::_exit(127);
	}
	return $pid{$name} = $pid;
}

sub end {
	my ($name) = @_;
	my $pid = delete $pid{$name} or return;
	kill 'KILL', $pid;
	waitpid $pid, 0;
	return;
}

# ---- the three ----
# Each: start, master (an address), pids, crash (of the master: its name), again (of
# that name), protocol.

package Ours {
	use Nodelife;

	sub protocol { return 'resp' }

	sub start {
		my ($class) = @_;
		return bless { group => Group->new->start }, $class;
	}
	sub addresses { return map { $_->{client} } $_[0]{group}->members }
	sub master    { return $_[0]{group}->wait_master->{client} }
	sub pids { return map { ( $_->{pid}, values %{ $_->workers } ) } $_[0]{group}->members }

	sub crash {
		my ($self) = @_;
		my $m = $self->{group}->wait_master;
		kill 'KILL', $m->{pid};
		$self->{then} = now();
		$m->kill9;
		return $m->{name};
	}

	sub again {
		my ( $self, $name ) = @_;
		$self->{group}->member($name)->spawn->wait_serving;
		$self->{group}->settle;
		return;
	}
}

package Etcd {
	use Nodelife;

	sub protocol { return 'etcd' }

	sub start {
		my ($class) = @_;
		my $self = bless { member => [], down => {} }, $class;
		for my $n ( 1 .. 3 ) {
			push @{ $self->{member} }, { name => "etcd$n",
				client => "$addr:" . Group::port($addr),
				peer   => "$addr:" . Group::port($addr) };
		}
		$self->begin( $_, 'new' ) for @{ $self->{member} };
		wait_until { $self->leader } or die 'etcd elects none';
		return $self;
	}

	sub begin {
		my ( $self, $m, $state ) = @_;
		main::begin( $m->{name}, 'etcd',
			'--name', $m->{name}, '--data-dir', "$base/$m->{name}",
			'--listen-client-urls',    "http://$m->{client}",
			'--advertise-client-urls', "http://$m->{client}",
			'--listen-peer-urls',      "http://$m->{peer}",
			'--initial-advertise-peer-urls', "http://$m->{peer}",
			'--initial-cluster', join( ',', map { "$_->{name}=http://$_->{peer}" } @{ $self->{member} } ),
			'--initial-cluster-state', $state, '--log-level', 'error' );
		return;
	}
	sub addresses { return map { $_->{client} } @{ $_[0]{member} } }

	# By the JSON gateway, which nothing is measured through.
	sub leader {
		my ($self) = @_;
		for my $m ( grep { !$self->{down}{ $_->{name} } } @{ $self->{member} } ) {
			my $r = HTTP::Tiny->new( timeout => 2 )
			  ->post( "http://$m->{client}/v3/maintenance/status", { content => '{}' } );
			my $s = eval { JSON::PP::decode_json( $r->{content} ) } or next;
			return $m if $s->{leader} && $s->{leader} eq $s->{header}{member_id};
		}
		return;
	}
	sub master { my ($self) = @_; return wait_until { ( $self->leader // {} )->{client} } }
	sub pids { return @pid{ map { $_->{name} } @{ $_[0]{member} } } }

	sub crash {
		my ($self) = @_;
		my $m = wait_until { $self->leader };
		$self->{down}{ $m->{name} } = 1;
		kill 'KILL', $pid{ $m->{name} };
		$self->{then} = now();
		main::end( $m->{name} );
		return $m->{name};
	}

	sub again {
		my ( $self, $name ) = @_;
		my ($m) = grep { $_->{name} eq $name } @{ $self->{member} };
		$self->begin( $m, 'existing' );
		delete $self->{down}{$name};
		wait_until {
			HTTP::Tiny->new( timeout => 2 )->get("http://$m->{client}/health")->{success}
		};
		return;
	}
}

# Sentinel makes a replica the primary: down-after-milliseconds 1000, for its
# default of 30 s is no match.
package Redis {
	use Nodelife;

	sub protocol { return 'wait' }

	sub start {
		my ($class) = @_;
		my $self = bless { member => [], down => {} }, $class;
		for my $n ( 1 .. 3 ) {
			push @{ $self->{member} },
			  { name => "redis$n", port => Group::port($addr) };
			mkdir "$base/redis$n";
			$self->begin( $self->{member}[-1], $n == 1 ? () : $self->{member}[0]{port} );
		}
		wait_until { $self->master && $self->replicas == 2 } or die 'no primary';
		return $self;
	}

	sub begin {
		my ( $self, $m, $of ) = @_;
		main::begin( $m->{name}, 'redis-server', '--port', $m->{port}, '--bind', $addr,
			'--dir', "$base/$m->{name}", '--save', '', '--appendonly', 'yes',
			'--appendfsync', 'always', '--daemonize', 'no', '--protected-mode', 'no',
			'--repl-diskless-sync-delay', '0', '--replica-announce-ip', $addr,
			$of ? ( '--replicaof', "$addr $of" ) : () );
		return;
	}

	sub sentinels {
		my ($self) = @_;
		my ( undef, $port ) = split /:/, $self->master;
		for my $n ( 1 .. 3 ) {
			my $own = Group::port($addr);
			open my $f, '>', "$base/sentinel$n.conf" or die "$!";
			print $f "port $own\nbind $addr\ndir $base\nprotected-mode no\n"
			  . "sentinel announce-ip $addr\n"
			  . "sentinel monitor g $addr $port 2\n"
			  . "sentinel down-after-milliseconds g 1000\n"
			  . "sentinel failover-timeout g 5000\n";
			close $f;
			main::begin( "sentinel$n", 'redis-server', "$base/sentinel$n.conf", '--sentinel' );
			push @{ $self->{sentinel} }, "$addr:$own";
		}
		return;
	}

	# Each sentinel knows both replicas and both others.
	sub sentinels_ready {
		my ($self) = @_;
		return wait_until {
			3 == grep {
				my $c = eval { Nodelife::Client->new($_) };
				my $r = $c && $c->cmd( qw(SENTINEL master g) );
				my %m = ref $r eq 'ARRAY' ? @$r : ();
				( $m{'num-slaves'} // 0 ) == 2 && $m{'num-other-sentinels'} == 2
				  && $m{flags} eq 'master'
			} @{ $self->{sentinel} }
		} 60;
	}
	sub addresses { return map { "$addr:$_->{port}" } @{ $_[0]{member} } }

	sub role {
		my ( $self, $m ) = @_;
		my $c = eval { Nodelife::Client->new("$addr:$m->{port}") } or return [];
		my $r = $c->cmd('ROLE');
		return ref $r eq 'ARRAY' ? $r : [];
	}

	sub primary {
		my ($self) = @_;
		my ($m) = grep { ( $self->role($_)->[0] // '' ) eq 'master' }
		  grep { !$self->{down}{ $_->{name} } } @{ $self->{member} };
		return $m;
	}
	sub replicas { my ($self) = @_; return scalar @{ $self->role( $self->primary )->[2] } }
	sub master {
		my ($self) = @_;
		return wait_until { my $m = $self->primary; $m && "$addr:$m->{port}" };
	}
	sub pids { return @pid{ map { $_->{name} } @{ $_[0]{member} } } }

	sub crash {
		my ($self) = @_;
		$self->sentinels if !$self->{sentinel};
		$self->sentinels_ready or warn "sentinels do not know all\n";
		my $m = $self->primary;
		$self->{down}{ $m->{name} } = 1;
		kill 'KILL', $pid{ $m->{name} };
		$self->{then} = now();
		main::end( $m->{name} );
		return $m->{name};
	}

	sub again {
		my ( $self, $name ) = @_;
		my ($m) = grep { $_->{name} eq $name } @{ $self->{member} };
		$self->begin( $m, $self->primary->{port} );
		delete $self->{down}{$name};
		wait_until { ( $self->role($m)->[3] // '' ) eq 'connected' };
		return;
	}
}

package main;

my @systems = qw(Ours Etcd Redis);
my %name    = ( Ours => 'nodelife', Etcd => 'etcd', Redis => 'redis' );
my %system;

sub all_start {
	return if %system;
	for (@systems) {
		$system{$_} = $_->start;
		load( $_, 'set', 64, 1, 5_000 );
	}
	return;
}

# One run: { rps, p50, p99 (us), cpu (us an operation, of all the system's
# processes), wake (voluntary switches of all threads) }. A system that is slow has fewer to do,
# so that a round has about as many seconds of each.
sub load {
	my ( $which, $mode, $clients, $pipeline, $n ) = @_;
	my $s    = $system{$which};
	my @pids = $s->pids;
	my ( $c, $w ) = ( cpu(@pids), thread_switches(@pids) );
	my $out = `$client -p @{[ $s->protocol ]} -m $mode -c $clients -P $pipeline -n $n -t 60 @{[ $s->master ]} 2>&1`;
	die "$which: $out" if $? != 0;
	my %r;
	@r{qw(rps p50 p99 max done)} = split ' ', $out;
	$r{cpu}  = ( cpu(@pids) - $c ) / $r{done} * 1e6;
	$r{wake} = ( thread_switches(@pids) - $w ) / $r{done};
	return \%r;
}

my %slower = ( Ours => 1, Etcd => 8, Redis => 2 );

sub compare {
	my ( $title, $mode, $clients, $pipeline, $n, %floor ) = @_;
	all_start();
	my @r = rounds $rounds, sub {
		my %r;
		for (@systems) {
			my $ops = int $n * $scale / $slower{$_};
			my $least = $clients * $pipeline * 4;
			$r{$_} = load( $_, $mode, $clients, $pipeline, max( $ops, $least ) );
		}
		return \%r;
	};
	my %m;
	for my $s (@systems) {
		my @of = column( $s => @r );
		$m{$s} = { map { ( $_ => median( column( $_ => @of ) ) ) } qw(rps p50 p99 cpu wake) };
	}
	printf "%-16s %s\n", $title, join '  ',
	  map { sprintf '%s %.0f/s', $name{$_}, $m{$_}{rps} } @systems;
	for my $s (qw(Etcd Redis)) {
		my @pair = map { $_->{Ours}{rps} / $_->{$s}{rps} } @r;
		printf "%16s %.2f x %s [%.2f-%.2f]%s\n", '', median(@pair), $name{$s},
		  min(@pair), max(@pair), $floor{$s} ? " (floor $floor{$s})" : '';
	}
	printf "%16s p50 %s us  p99 %s us  CPU %s us  wake-ups %s an operation\n", '',
	  map {
		my ( $what, $form ) = @$_;
		join '/', map { sprintf $form, $m{$_}{$what} } @systems
	  } [ p50 => '%.0f' ], [ p99 => '%.0f' ], [ cpu => '%.1f' ], [ wake => '%.2f' ];
	trust( map { $_->{Ours}{rps} / $_->{Etcd}{rps} } @r );
	return;
}

# System calls of our nodes a committed write, as they count them themselves.
sub calls {
	all_start();
	my @m   = $system{Ours}{group}->members;
	my $sum = sub {
		my ($what) = @_;
		return sum map { my $s = $_->stat; map { $s->{counters}{$_} // 0 } @$what } @m;
	};
	for my $clients ( 1, 64 ) {
		my $n      = $clients == 1 ? 5_000 : 100_000;
		my $before = $sum->( [qw(ring_enters bells)] );
		my $flush  = $sum->( ['wal_flushes'] );
		load( 'Ours', 'set', $clients, 1, $n );
		printf "%-16s %.3f system calls, %.3f flushes a write, over three nodes\n",
		  "calls, $clients", ( $sum->( [qw(ring_enters bells)] ) - $before ) / $n,
		  ( $sum->( ['wal_flushes'] ) - $flush ) / $n;
	}
	return;
}

# kill -9 of the master under 64 clients: ms until a write that was begun later is
# answered by another.
sub gap {
	all_start();
	my $most = $gap_rounds;
	for my $which (@systems) {
		my $s   = $system{$which};
		my $end = now() + ( row_end() - now() ) / ( $which eq 'Ours' ? 3 : 2 );
		my @gap;
		while ( @gap < $most && ( now() < $end || !@gap ) ) {
			my $file = "$base/gap";
			my $pid  = fork // die "fork: $!";
			if ( $pid == 0 ) {
				Nodelife::die_with_parent();
				open STDOUT, '>', '/dev/null';
				exec $client, '-p', $s->protocol, '-c', 64, '-t', 60, '-G', $file,
				  $s->addresses or POSIX::_exit(127);
			}
			$pid{load} = $pid;
			wait_until { -s $file && -s $file > 20_000 } or die "$which: no load";
			my $down = $s->crash;
			my ($not) = $down =~ /(\d)$/;
			my $got;
			wait_until { defined( $got = first_after( $file, $s->{then}, $not - 1 ) ) } 60;
			main::end('load');
			unlink $file;
			$s->again($down);
			push @gap, ( $got // 60 ) * 1e3;
		}
		@gap = sort { $a <=> $b } @gap;
		printf "%-16s %-9s %d kills: p50 %.0f ms  p99 %.0f ms  [%.0f-%.0f]\n",
		  $which eq 'Ours' ? 'failover gap' : '', $name{$which}, scalar @gap,
		  $gap[ $#gap / 2 ], $gap[ int 0.99 * $#gap ], @gap[ 0, -1 ];
	}
	print "redis: Sentinel with down-after-milliseconds 1000 (its default is 30000)\n";
	return;
}

sub first_after {
	my ( $file, $then, $not ) = @_;
	open my $f, '<', $file or return;
	while (<$f>) {
		my ( $sent, $answered, $server ) = split ' ';
		return ( $answered - $then * 1e9 ) / 1e9
		  if defined $server && $sent > $then * 1e9 && $server != $not;
	}
	return;
}

my %row = (
	set1   => sub { compare( 'SET 1', 'set', 1, 1, 4_000, Etcd => 2 ) },
	set16  => sub { compare( 'SET 16', 'set', 16, 1, 40_000 ) },
	set64  => sub { compare( 'SET 64', 'set', 64, 1, 100_000, Etcd => 5, Redis => 1.3 ) },
	set256 => sub { compare( 'SET 256', 'set', 256, 1, 100_000, Etcd => 5 ) },
	pipe   => sub { compare( 'SET 64x16', 'set', 64, 16, 400_000, Redis => 1.3 ) },
	get64  => sub { compare( 'GET 64', 'get', 64, 1, 200_000, Etcd => 5 ) },
	getpipe => sub { compare( 'GET 64x16', 'get', 64, 16, 800_000 ) },
	calls   => \&calls,
	gap     => \&gap,
);
my @all   = qw(set1 set16 set64 set256 pipe get64 getpipe calls gap);
my %share = ( map( { $_ => 1 } @all ), calls => 0.2, gap => 4 );
rows_run( $budget, \%row, \%share, @ARGV ? @ARGV : @all );
$system{Ours}{group}->stop if $system{Ours};
