# Each fault of the world, under a node's first boot, a later one and while it
# serves a writer: within two seconds what is wrong and what to do are on one
# screen of 80 x 24, in the log and on /readyz; the same nodelifed goes on by
# itself when it is over, and no write that was acknowledged is lost.
#
#	t/run -v t/integration/91_world.t	# all of them, some at a time
#	t/run -v t/integration/91_world.t :: 'full disk' running
#
# A case is a row of the table below; each runs at its moments in a process of
# its own, whose output is shown when it fails. What it took is a table, too,
# at the end.
use strict;
use warnings;
use List::Util qw(max);
use Nodelife;
use Test::More;
use World;

# Seconds that a look at the screen takes at most on a machine with time.
use constant LOOK => 0.03;

my $looks = qr/look at the disk/;
my %small = (
	wal   => { segment_size => '4M', reserve => '1M', buffer_size => '4M',
		keep_size => 0, spare_segments => 1 },
	store => { table_size => '8M', max_value => '256K', max_record => '1M' },
);

# needs: of the machine; disk: what data_dir is on; conf: beside %small; begin,
# end: the fault, from before the boot, or, late, from its begin; cause, remedy:
# what is said; heavy: the writer's values are large; waits: a linearizable read
# waits, too, as it does for what is durable and not applied; writes: they go on
# all the same, at these moments; in: what control group the node is in; restart: the node is stopped to end it; not:
# the moments of first, later, running that it has not, and why; no_page: those
# at which nobody can be asked.
my $boot   = sub { return { map { $_ => $_[0] } qw(first later) } };
my $silent = qr{does not answer: look at it};
my @cases = (
	{ name => 'EIO on write', needs => [qw(root loop fuse)],
		disk => { faulty => 1 },
		begin => sub { $_[0]{disk}->say( write => 'EIO' ) },
		end   => sub { $_[0]{disk}->say },
		cause => qr{Input/output error}, remedy => $looks },
	{ name => 'EIO on flush', needs => [qw(root loop fuse)],
		disk => { faulty => 1 },
		begin => sub { $_[0]{disk}->say( flush => 'EIO' ) },
		end   => sub { $_[0]{disk}->say },
		cause => qr{Input/output error}, remedy => $looks },
	{ name => 'EIO on read', needs => [qw(root loop fuse)],
		disk => { faulty => 1 },
		begin => sub { $_[0]{disk}->say( read => 'EIO' ) },
		end   => sub { $_[0]{disk}->say },
		cause => qr{Input/output error}, remedy => $looks,
		not => { first => 'reads', running => 'cached' } },
	{ name => 'killed disk server', needs => [qw(root loop fuse)],
		disk  => { faulty => 1 }, restart => 1,
		begin => sub { $_[0]{disk}->lose_server },
		end   => sub { $_[0]{disk}->mount_without_server },
		cause => qr{/wal/\S+: write: Input/output error}, remedy => $looks,
		not => $boot->('EIO on read') },
	{ name => 'hung disk', needs => [qw(root loop fuse)],
		disk => { faulty => 1 },
		begin => sub { $_[0]{disk}->say( write => 'hang', flush => 'hang' ) },
		end   => sub { $_[0]{disk}->say },
		cause => qr{flush.* in flight|no heartbeat}, remedy => $silent },
	{ name => 'frozen disk', needs => [qw(root loop freeze)],
		disk => {}, waits => 1,
		begin => sub { $_[0]{disk}->freeze(60) },
		end   => sub { $_[0]{disk}->thaw },
		cause => qr{flush.* in flight|no heartbeat}, remedy => $silent },
	{ name => 'very slow disk', needs => [qw(root loop fuse)],
		disk => { faulty => 1 },
		begin => sub { $_[0]{disk}->say( write => 2500 ) },
		end   => sub { $_[0]{disk}->say },
		cause => qr{flush.* in flight|no heartbeat}, remedy => $silent },
	{ name => 'read-only', needs => [qw(root loop)], disk => {},
		begin => sub { $_[0]{disk}->remount('ro') },
		end   => sub { $_[0]{disk}->remount('rw') },
		cause => qr{/\S+: [\w ]+: Read-only file system}, remedy => qr{mount it writable},
		not => { running => 'busy' } },
	# Which no file system takes back while the node has it open: it is to be
	# stopped, and keeps to its directory until then.
	{ name => 'read-only after an error', needs => [qw(root loop)],
		disk  => { journal => 1 }, restart => 1,
		begin => sub { $_[0]{disk}->abort },
		end   => sub { $_[0]{disk}->mount_again },
		cause => qr{Read-only file system}, remedy => qr{after an error of its own stop the node, check \(fsck\) and mount it again, start the node},
		not => $boot->('read-only') },
	{ name => 'full disk', needs => [qw(root loop)],
		disk => {},
		begin => sub { $_[0]{disk}->fill },
		end   => sub { $_[0]{disk}->empty },
		cause => qr{No space left}, remedy => qr{free space}, heavy => 1,
		writes => { later => 1 } },
	{ name => 'nearly full disk', needs => [qw(root loop)],
		disk => {},
		begin => sub { $_[0]{disk}->fill(300) },
		end   => sub { $_[0]{disk}->empty },
		cause => qr{No space left}, remedy => qr{free space}, heavy => 1,
		writes => { later => 1 } },
	{ name => 'no inodes', needs => [qw(root loop)],
		disk => { mkfs => [ -N => 128 ] },
		begin => sub { $_[0]{disk}->fill_inodes },
		end   => sub { $_[0]{disk}->empty_inodes },
		cause => qr{No space left}, remedy => qr{inodes}, heavy => 1 },
	{ name => 'limit of file size', needs => ['prlimit'],
		begin => sub { limit_files( $_[0] ) },
		end   => sub { limit_ends( $_[0] ) },
		cause => qr{File too large}, remedy => qr{raise it \(ulimit -f} },
	{ name => 'store full', needs => [],
		conf  => { store => { map_size => '64M' } },
		begin => sub { fill_store( $_[0] ) },
		end   => sub { empty_store( $_[0] ) },
		cause => qr{store is full}, remedy => qr{map_size},
		not => $boot->('writes') },
	{ name => 'checkpoint fails', needs => [qw(root loop)],
		disk => {}, writes => 1,
		begin => sub { $_[0]{disk}->fill( 6000 ); checkpoint( $_[0] ) },
		end   => sub { $_[0]{disk}->empty },
		cause => qr{No space left|full}, remedy => qr{free space},
		not => $boot->('none') },
	{ name => 'checkpoint writer killed', needs => [], writes => 1,
		begin => sub { pester( $_[0], sub { writers( $_[0] ) } ); checkpoint( $_[0] ) },
		end   => sub { rest( $_[0] ) },
		cause => qr{its process was killed}, remedy => qr{free memory},
		not => $boot->('none') },
	{ name => 'fork refused', needs => [qw(root pids)], writes => 1,
		begin => sub { no_forks( $_[0] ) },
		end   => sub { $_[0]{group}->pids('max') },
		cause => qr{Resource temporarily unavailable}, remedy => qr{pids\.max},
		no_page => $boot->('no process') },
	{ name => '/dev/shm full', needs => [qw(root shm)], shm => '64m', heavy => 1, waits => 1,
		begin => sub { World::fill('/dev/shm') },
		end   => sub { unlink '/dev/shm/filler' },
		cause => qr{/dev/shm.*(?:no memory left|has \d+M)},
		remedy => qr{free space in /dev/shm|enlarge} },
	( map { oom($_) } qw(wal store group vlsn checkpoint health gateway0) ),
	{ name => 'memory limit', needs => [qw(root memory)], waits => 1, in => 'memory',
		conf  => { store => { table_size => '512M' } },
		begin => sub { limit_memory( $_[0] ) },
		end   => sub { $_[0]{group}->memory( 1 << 40 ) },
		cause => qr{memory: .*limit}, remedy => qr{raise},
		not => $boot->('refused') },
	{ name => 'run_dir replaced', needs => [], writes => 1,
		begin => sub { replace_run( $_[0] ) },
		end   => sub { restore_run( $_[0] ) },
		cause => qr{Not a directory}, remedy => qr{correct the path},
		not => $boot->('refused') },
	{ name => 'stopped worker', needs => [], late => 1,
		begin => sub { stop_worker( $_[0], 'store' ) },
		end   => sub { kill 'CONT', $_[0]{stopped} },
		cause => qr{store.*no (?:heartbeat|progress)}, remedy => qr{kill -CONT},
		waits => 1,
		conf => { liveness => { timeout => '20s' } } },
	map { dying($_) } qw(vlsn checkpoint health) );

sub oom {
	my ($name) = @_;
	return { name => "$name out of memory", needs => [qw(root memory)],
		writes => 1, in => 'memory', end => sub { },
		begin => sub {
			$_[0]{group}->memory( 192 << 20 )
			  ->starve( $_[0]{n}->workers->{$name} );
		},
		cause => qr{$name \(pid \d+\): the kernel killed it for memory},
		remedy => qr{free memory, or raise the limit}, not => $boot->('fleeting') };
}

sub dying {
	my ($name) = @_;
	return { name => "$name dies at once", needs => [], writes => 1, late => 1,
		begin => sub { pester( $_[0], sub { $_[0]{n}->workers->{$name} } ) },
		end   => sub {
			is $_[0]{n}->wait_boot(20), 'serves', 'the node serves without it';
			rest( $_[0] );
		},
		cause => qr{$name \(pid \d+\): killed}, remedy => qr{look in the log},
		( $name eq 'health'
			? ( no_page => { map { $_ => 'no health' } qw(first later running) } )
			: () ),
		not => $name eq 'checkpoint' ? $boot->('needed') : {} };
}

# --- One case at one moment ---------------------------------------------------

# Acknowledged writes, one a line, by a process that goes on as long as the
# test: a number whose SET was answered OK.
sub writer {
	my ($self) = @_;
	my $n   = $self->{n};
	my $pid = fork // die "fork: $!";
	return $pid if $pid;
	Nodelife::die_with_parent();
	open my $acked, '>>', $self->{acked} or POSIX::_exit(1);
	$acked->autoflush(1);
	my ( $c, $i ) = ( undef, 0 );
	while (1) {
		$c //= eval { Nodelife::Client->new( $self->{address} ) };
		$i++;
		my $r = $c && $c->cmd( 'SET', "k$i", $i );
		$c->cmd( 'SET', 'heavy', 'h' x 200_000 ) if $r && $self->{case}{heavy};
		if ( defined $r && $r eq 'OK' ) { print $acked "$i\n" }
		else {
			undef $c if !$c || $r =~ /CLOSED|TIMEOUT/;
			select undef, undef, undef, 0.05;
		}
		select undef, undef, undef, 0.005;
	}
}

sub acked {
	my ($self) = @_;
	return split /\n/, slurp( $self->{acked} ) // '';
}

# What the admin sees: a terminal's 24 rows, as one line.
sub screen {
	my ($self) = @_;
	my ( undef, $out ) = $self->{n}->run( 't/lib/terminal',
		build_dir() . '/nodelifestat', '-r', $self->{region} );
	return $out =~ s/\s+/ /gr;
}

sub writes {
	my ($self) = @_;
	my $w = $self->{case}{writes};
	return ref $w ? $w->{ $self->{moment} } : $w;
}

sub page {
	my ($self) = @_;
	my $want = writes($self) ? '/readyz' : '/readyz?want=write';
	my ( $code, $body ) = http_get( $self->{http}, $want );
	return $code == 503 || $code == 200 && writes($self) ? $body : "($code)";
}

sub log_of {
	my ($self) = @_;
	return substr( slurp( $self->{n}{log} ) // '', $self->{log_from} );
}

# Both are said in all three places, within two seconds: no look that begins
# later misses them. A machine that has no time, or a build that is slow, has
# longer for what we do meanwhile, too. While its own disk stands still nothing
# meets the fault, and other things are told.
sub is_told {
	my ($self) = @_;
	my $case = $self->{case};
	my %get  = ( screen => \&screen, log => \&log_of, page => \&page );
	if ( my $why = ( $case->{no_page} // {} )->{ $self->{moment} } ) {
		note "no page: $why";
		delete $get{page};
	}
	my ( %text, %told, %missed, @looks );

	# Half of them took longer.
	my $look  = sub { ( sort { $a <=> $b } @looks )[ @looks / 2 ] };
	my $slow  = sub { max( 1, $look->() / LOOK ) };
	my $limit = sub { $_[0] * $slow->() + $self->{witness}->lost };
	wait_until {
		for my $where ( grep { !$told{$_} } keys %get ) {
			my $from = now();
			my $text = $text{$where} = $get{$where}->($self);
			push @looks, now() - $from if $where eq 'screen';
			if ( $text =~ $case->{cause} && $text =~ $case->{remedy} ) {
				$told{$where} = now() - $self->{began};
			}
			else {
				$missed{$where} = $from - $self->{began};
			}
		}
		select undef, undef, undef, 0.01;
		my $last = $limit->(3);
		!grep { !$told{$_} && ( $missed{$_} // 0 ) < $last } keys %get;
	};
	my $late = $limit->(2);
	for my $where ( sort keys %get ) {
		my $t = $told{$where};
		ok $t && ( $missed{$where} // 0 ) < $late,
		  sprintf '%s: cause and remedy after %.1f s',
		  $where, $t // -1
		  or diag sprintf "%s: %s\nwithin %.1f s: a look took %.0f ms", $where,
		  $text{$where}, 2 * $slow->(), 1000 * $look->();
	}
	my ($last) = sort { $b <=> $a } values %told;
	printf "told %.1f look %.0f\n", $last, $look->() * 1000 if keys %told == keys %get;
	return;
}

# Keep ending processes, from now on until it shall rest; without a pause, in
# which they would get done what they are there for.
sub pester {
	my ( $self, $whom ) = @_;
	$self->{pest} = fork // die "fork: $!";
	return if $self->{pest};
	Nodelife::die_with_parent();
	while (1) { kill 'KILL', grep { $_ } $whom->($self) }
}

# Those that write a checkpoint now.
sub writers {
	my ($self) = @_;
	my $pid = $self->{n}->workers->{checkpoint} or return;
	return split ' ', slurp("/proc/$pid/task/$pid/children") // '';
}

sub rest {
	my ($self) = @_;
	my $p = delete $self->{pest} or return;
	kill 'KILL', $p;
	waitpid $p, 0;
	return;
}

# 96 MB, until it is refused.
sub fill_store {
	my ($self) = @_;
	my $c = $self->{n}->client;
	my $v = 'v' x 60000;
	for my $i ( 0 .. 79 ) {
		my @r = $c->pipeline( map { [ 'SET', "big$_", $v ] } $i * 20 .. $i * 20 + 19 );
		last if grep { $_ ne 'OK' } @r;
	}
	return;
}

sub empty_store {
	my ($self) = @_;
	my $c = $self->{n}->client;
	my @r = $c->pipeline( map { [ 'DEL', "big$_" ] } 0 .. 1599 );
	is scalar( grep { Nodelife::Error::is($_) } @r ), 0, 'DEL works all the same';
	return;
}

sub checkpoint {
	my ($self) = @_;
	my $c = $self->{n}->client;
	my $v = 'v' x 60000;
	$c->cmd( 'SET', "big$_", $v ) for 1 .. 100;
	my ( $code, $out, $err ) = $self->{n}->run( 'nodelifectl', '-r', $self->{n}{run}, 'checkpoint' );
	isnt $code, 0, 'nodelifectl checkpoint says that it fails';
	return;
}

# The node has what processes it has, and gets no more: one ends.
sub no_forks {
	my ($self) = @_;
	my $n = $self->{n};
	my $g = $self->{group} = World::Group->new('pids')->pids(1);
	return started_by( $self, 'echo $$ >"$0/cgroup.procs"', $g->{dir} )
	  if $self->{moment} ne 'running';
	$g->add( $n->{pid}, values %{ $n->workers } );
	kill 'KILL', $n->workers->{vlsn};
	return;
}

# By a shell that does something first.
sub started_by {
	my ( $self, $first, $arg ) = @_;
	$self->{command} = [ 'sh', '-c', "$first" . ' && exec "$@"', $arg,
		build_dir() . '/nodelifed', '-f', '-c', $self->{n}{ini} ];
	return;
}

# Room for what we say, not for a region or a segment.
sub limit_files {
	my ($self) = @_;
	return started_by( $self, 'ulimit -S -f 2000', 'sh' )
	  if $self->{moment} ne 'running';
	World::must( 'prlimit', '--pid', $self->{n}->workers->{wal}, '--fsize=4096:' );
	return;
}

sub limit_ends {
	my ($self) = @_;
	my ($told) = log_of($self) =~ /: (prlimit [-\w =;]+)$/m;
	is system( $told // 'false' ), 0, 'the command that is told';
	return;
}

# Of what a boot then cannot have enough.
sub limit_memory {
	my ($self) = @_;
	my $n = $self->{n};
	$self->{group}->memory( 256 << 20 );
	kill 'KILL', $n->workers->{store};
	return;
}

# By the region's own name: nothing else leads there then.
sub replace_run {
	my ($self) = @_;
	my $run = $self->{n}{run};
	$self->{region} = readlink "$run/region";
	rename $run, "$run.away" or die "$run: $!";
	World::put( $run, '' );
	return;
}

sub restore_run {
	my ($self) = @_;
	unlink $self->{n}{run};
	return;
}

sub stop_worker {
	my ( $self, $name ) = @_;
	wait_until { $self->{stopped} = $self->{n}->workers->{$name} };
	kill 'STOP', $self->{stopped};
	return;
}

sub run_case {
	my ( $name, $moment ) = @_;
	my ($case) = grep { $_->{name} eq $name } @cases or die "no case '$name'";
	my $self = { case => $case, moment => $moment, log_from => 0 };
	if ( $case->{shm} ) {
		my $why = World::own_shm( $case->{shm} );
		plan skip_all => $why if $why;
	}
	my %conf = %small;
	while ( my ( $s, $keys ) = each %{ $case->{conf} // {} } ) {
		$conf{$s} = { %{ $conf{$s} // {} }, %$keys };
	}
	if ( $case->{disk} ) {
		$self->{disk} = World::Disk->new( size => '96M', %{ $case->{disk} } );
		$conf{node} = { data_dir => $self->{disk}->dir . '/data' };
	}
	my $n = $self->{n} = Nodelife->new(%conf);
	$n->{data} = $conf{node}{data_dir} if $conf{node};
	$self->{acked}  = "$n->{dir}/acked";
	$self->{region} = $n->{run};
	$n->found;
	if ( $case->{in} ) {
		$self->{group} = World::Group->new( $case->{in} );
		started_by( $self, 'echo $$ >"$0/cgroup.procs"', $self->{group}{dir} );
	}
	if ( $moment ne 'first' ) {
		$n->spawn( @{ $self->{command} // [] } )->wait_serving;
		$self->{address} = $n->addr('client');
		$self->{http}    = $n->addr('http');
		my $c = $n->client;
		is $c->cmd( 'SET', "first", 1 ), 'OK', 'a write';
	}
	my $writer;
	if ( $moment eq 'running' ) {
		$writer = writer($self);
		wait_until { acked($self) >= 5 } or die 'the writer writes nothing';
		if ( !writes($self) && !$case->{waits} ) { $self->{reader} = $n->client }
	}
	else {
		if ( $moment eq 'later' ) { is $n->stop, 0, 'stopped' }
		# Where the pages will be, also before there are any.
		$n->configure( listen =>
			  { client => free_port(), http => free_port() } );
		@$self{qw(address http)} = @{ $n->{sections}{listen} }{qw(client http)};
	}
	$self->{log_from} = -s $n->{log} // 0;
	$self->{witness}  = World::Witness->new;
	$case->{begin}->($self) if !$case->{late};
	$self->{began} //= now();
	$n->spawn( @{ $self->{command} // [] } ) if $moment ne 'running';
	$case->{begin}->($self) if $case->{late};
	my $pid = $n->{pid};
	is_told($self);
	delete $self->{witness};
	if ( $case->{shm} && $moment ne 'running' ) {
		my ( $code, $out ) = $n->run( 'nodelifectl', '-r', $n->{run}, 'status' );
		like $out, qr{the boot waits: .*$case->{cause}}, 'nodelifectl status says it';
	}
	if ( $self->{reader} ) {
		$self->{reader}{timeout} = 10;
		is $self->{reader}->cmd( 'GET', 'first' ), 1, 'reads go on';
	}
	if ( $case->{restart} ) {
		is $n->stop, 0, 'stopped';
		kill 'KILL', $writer;
		waitpid $writer, 0;
		$case->{end}->($self);
		$n->start;
		$pid = $n->{pid};
	}
	else { $case->{end}->($self) }
	if ( $case->{restart} ) {
		is $n->client->cmd( 'SET', 'again', 1 ), 'OK', 'writes go on';
	}
	elsif ( $moment eq 'running' ) {
		is $n->wait_boot(60), 'serves', 'it goes on by itself';
		my $before = () = acked($self);
		ok wait_until( sub { acked($self) > $before + 5 }, 60 ),
		  'writes, too';
		kill 'KILL', $writer;
		waitpid $writer, 0;
	}
	else {
		is $n->wait_boot( 60 ), 'serves', 'it goes on by itself';
	}
	ok !$n->gone && $n->{pid} == $pid, 'the same nodelifed';
	my @acked = acked($self);
	no_loss( $self, "after it", @acked );
	is $n->stop, 0, 'stopped';
	$n->signal('KILL')->wait_exit;
	$n->start;
	no_loss( $self, 'after another boot', @acked );
	$n->kill9;
	done_testing;
	return;
}

sub no_loss {
	my ( $self, $when, @acked ) = @_;
	my $c    = Nodelife::Client->new( $self->{n}->addr('client') );
	my @r    = $c->pipeline( map { [ 'GET', "k$_" ] } @acked );
	my @lost = grep { ( $r[$_] // '' ) ne $acked[$_] } 0 .. $#acked;
	is scalar(@lost), 0, scalar(@acked) . " acknowledged writes are there $when";
	return;
}

sub free_port {
	my $s = IO::Socket::INET->new( Listen => 1, LocalAddr => '127.0.0.1' )
	  or die "listen: $!";
	return '127.0.0.1:' . $s->sockport;
}

# --- All of them --------------------------------------------------------------

if ( @ARGV && $ARGV[0] eq '--one' ) {
	shift @ARGV;
	run_case(@ARGV);
	exit;
}

my $began = now();
my ( $only, $when ) = @ARGV;
my ( @todo, %table );
for my $case (@cases) {
	my $name = $case->{name};
	next if defined $only && $name ne $only;
	$table{$name} = { %{ $case->{not} // {} } };
	my $why = World::lacks( @{ $case->{needs} } );
	if ($why) {
		SKIP: { skip "$name: $why", 1 }
		next;
	}
	push @todo, map { [ $name, $_ ] }
	  grep { !$table{$name}{$_} && ( !defined $when || $_ eq $when ) }
	  qw(first later running);
}

my %running;
while ( @todo || %running ) {
	while ( @todo && keys %running < ( $ENV{JOBS} // 4 ) ) {
		my ( $name, $moment ) = @{ shift @todo };
		my $out = tmp_dir() . "/case.$$." . @todo;
		my $pid = fork // die "fork: $!";
		if ( $pid == 0 ) {
			Nodelife::die_with_parent();
			open STDOUT, '>', $out;
			open STDERR, '>&', \*STDOUT;
			exec $^X, '-It/lib', $0, '--one', $name, $moment
			  or POSIX::_exit(127);
		}
		$running{$pid} = [ $name, $moment, $out, now() ];
	}
	my $pid = waitpid -1, 0;
	my $job = delete $running{$pid} // next;
	my ( $name, $moment, $out, $from ) = @$job;
	my $code = $?;
	my $text = slurp($out) // '';
	unlink $out;
	$table{$name}{$moment} = $1 if $text =~ /^told (\S+)/m;
	ok $code == 0, sprintf '%s, %s (%.1f s)', $name, $moment, now() - $from
	  or diag $text;
	note $text if $ENV{HARNESS_IS_VERBOSE};
}
note sprintf '%-25s %10s %10s %10s', 'told after s', qw(first later running);
note sprintf '%-25s %10s %10s %10s', $_->{name},
  map { $_ // '-' } @{ $table{ $_->{name} } }{qw(first later running)}
  for grep { $table{ $_->{name} } } @cases;
note sprintf 'all of it: %.0f s', now() - $began;
done_testing;
