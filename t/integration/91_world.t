# Each fault of the world, under a node's first boot, a later one and while it
# serves a writer: what is wrong and what to do are on one screen of 80 x 24,
# in the log and, while it serves, on /readyz; the same nodelifed goes on by itself when it is
# over, and no write that was acknowledged is lost.
#
#	t/run -v t/integration/91_world.t	# all of them, two at a time
#	t/run -v t/integration/91_world.t :: 'full disk' running
#
# A case is a row of the table below; each runs at its moments in a process of
# its own, whose output is shown when it fails.
use strict;
use warnings;
use Nodelife;
use Test::More;
use World;

my $looks = qr/look at the disk/;
my %small = (
	wal   => { segment_size => '4M', reserve => '1M', buffer_size => '4M',
		keep_size => 0, spare_segments => 1 },
	store => { table_size => '8M', max_value => '256K', max_record => '1M' },
);

# needs: of the machine; disk: what data_dir is on; begin, end: the fault;
# cause, remedy: what is said; heavy: the
# writer's values are large; waits: a linearizable read waits, too, as it does
# for what is durable and not applied; restart: the node is stopped to end it; at: the moments (first, later, running); conf:
# beside %small; writes: that they go on all the same.
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
		at => ['later'] },
	{ name => 'hung disk', needs => [qw(root loop fuse)],
		disk => { faulty => 1 },
		begin => sub { $_[0]{disk}->say( write => 'hang', flush => 'hang' ) },
		end   => sub { $_[0]{disk}->say },
		cause => qr{flush.* in flight}, remedy => qr{does not answer: look at it},
		at => ['running'] },
	{ name => 'frozen disk', needs => [qw(root loop freeze)],
		disk => {}, waits => 1,
		begin => sub { $_[0]{disk}->freeze(60) },
		end   => sub { $_[0]{disk}->thaw },
		cause => qr{flush.* in flight}, remedy => qr{does not answer: look at it},
		at => ['running'] },
	{ name => 'very slow disk', needs => [qw(root loop fuse)],
		disk => { faulty => 1 },
		begin => sub { $_[0]{disk}->say( write => 2500 ) },
		end   => sub { $_[0]{disk}->say },
		cause => qr{flush.* in flight}, remedy => qr{does not answer: look at it},
		at => ['running'] },
	{ name => 'read-only', needs => [qw(root loop)], disk => {},
		begin => sub { $_[0]{disk}->remount('ro') },
		end   => sub { $_[0]{disk}->remount('rw') },
		cause => qr{Read-only file system}, remedy => qr{mount it writable},
		at => [qw(first later)] },
	# Which no file system takes back while the node has it open: it is to be
	# stopped, and keeps to its directory until then.
	{ name => 'read-only after an error', needs => [qw(root loop)],
		disk  => { journal => 1 }, restart => 1,
		begin => sub { $_[0]{disk}->abort },
		end   => sub { $_[0]{disk}->mount_again },
		cause => qr{Read-only file system}, remedy => qr{after an error of its own stop the node, check \(fsck\) and mount it again, start the node},
		at => ['running'] },
	{ name => 'full disk', needs => [qw(root loop)],
		disk => {},
		begin => sub { $_[0]{disk}->fill },
		end   => sub { $_[0]{disk}->empty },
		cause => qr{No space left}, remedy => qr{free space} },
	{ name => 'nearly full disk', needs => [qw(root loop)],
		disk => {},
		begin => sub { $_[0]{disk}->fill(300) },
		end   => sub { $_[0]{disk}->empty },
		cause => qr{No space left}, remedy => qr{free space}, heavy => 1 },
	{ name => 'no inodes', needs => [qw(root loop)],
		disk => { mkfs => [ -N => 128 ] },
		begin => sub { $_[0]{disk}->fill_inodes },
		end   => sub { $_[0]{disk}->empty_inodes },
		cause => qr{No space left}, remedy => qr{inodes} },
	{ name => 'store full', needs => [],
		conf  => { store => { map_size => '64M' } },
		begin => sub { fill_store( $_[0] ) },
		end   => sub { empty_store( $_[0] ) },
		cause => qr{store is full}, remedy => qr{map_size},
		at => ['running'] },
	{ name => 'checkpoint fails', needs => [qw(root loop)],
		disk => {}, writes => 1,
		begin => sub { $_[0]{disk}->fill( 6000 ); checkpoint( $_[0] ) },
		end   => sub { $_[0]{disk}->empty },
		cause => qr{No space left|full}, remedy => qr{free space},
		at => ['running'] },
	{ name => 'fork refused', needs => [qw(root pids)], writes => 1,
		begin => sub { no_forks( $_[0] ) },
		end   => sub { $_[0]{group}->pids('max') },
		cause => qr{Resource temporarily unavailable}, remedy => qr{pids\.max} },
	{ name => '/dev/shm full', needs => [qw(root shm)], shm => '64m',
		begin => sub { World::fill('/dev/shm') },
		end   => sub { unlink '/dev/shm/filler' },
		cause => qr{/dev/shm.*(?:no memory left|has \d+M)},
		remedy => qr{free space in /dev/shm|enlarge},
		at => [qw(first later)] },
	{ name => 'stopped worker', needs => [],
		begin => sub { kill 'STOP', $_[0]{n}->workers->{store} },
		end   => sub { kill 'CONT', $_[0]{n}->workers->{store} // () },
		cause => qr{store.*no (?:heartbeat|progress)}, remedy => qr{.},
		waits => 1,
		conf => { liveness => { timeout => '20s' } },
		at => ['running'] },
	{ name => 'auxiliary worker dies', needs => [], writes => 1,
		begin => sub { pester( $_[0], 'vlsn' ) },
		end   => sub { rest( $_[0] ) },
		cause => qr{vlsn}, remedy => qr{.}, at => ['running'] },
);

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

# What the admin sees: 24 rows of 79 columns, as one line.
sub screen {
	my ($self) = @_;
	my ( undef, $out, $err ) = $self->{n}->run( 'nodelifestat', '-r', $self->{region} );
	my @rows = split /\n/, $out . $err;    # where there is no region yet
	return join( ' ', grep { defined } @rows[ 0 .. 23 ] ) =~ s/\s+/ /gr;
}

sub page {
	my ($self) = @_;
	my $http = $self->{http} or return '';
	return ( http_get( $http, $self->{case}{writes} ? '/readyz' : '/readyz?want=write' ) )[1];
}

sub log_of {
	my ($self) = @_;
	return substr( slurp( $self->{n}{log} ) // '', $self->{log_from} );
}

sub told {
	my ( $self, $where, $text ) = @_;
	my $case = $self->{case};
	my $t    = now() - $self->{began};
	return if $text !~ $case->{cause} || $text !~ $case->{remedy};
	$self->{told}{$where} //= $t;
	return 1;
}

# Both are said in all three places, within the time.
sub is_told {
	my ( $self, $booting ) = @_;
	my $f = $self->{factor};
	my %get = ( screen => \&screen, log => \&log_of, page => \&page );
	delete $get{page} if $booting;    # the first boot has no port yet
	for my $where ( sort keys %get ) {
		my $text;
		my $ok = wait_until {
			$text = $get{$where}->($self);
			told( $self, $where, $text );
		} 2 + 8 * $f;
		ok $ok, "$where: cause and remedy" . ( $ok ? sprintf ', after %.1f s',
			$self->{told}{$where} : '' ) or diag "$where: $text";
	}
	return;
}

# Keep ending a worker, from now on until it shall rest.
sub pester {
	my ( $self, $name ) = @_;
	my $n = $self->{n};
	$self->{pest} = fork // die "fork: $!";
	return if $self->{pest};
	Nodelife::die_with_parent();
	while (1) {
		my $pid = $n->workers->{$name};
		kill 'KILL', $pid if $pid;
		select undef, undef, undef, 0.002;
	}
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
	if ( $self->{moment} ne 'running' ) {
		$self->{command} = [ 'sh', '-c', 'echo $$ >"$0/cgroup.procs" && exec "$@"',
			$g->{dir}, build_dir() . '/nodelifed', '-f', '-c', $n->{ini} ];
		return;
	}
	$g->add( $n->{pid}, values %{ $n->workers } );
	kill 'KILL', $n->workers->{vlsn};
	return;
}

sub run_case {
	my ( $name, $moment, $factor ) = @_;
	my ($case) = grep { $_->{name} eq $name } @cases or die "no case '$name'";
	my $self = { case => $case, moment => $moment, factor => $factor, log_from => 0 };
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
	if ( $moment ne 'first' ) {
		$n->start;
		$self->{address} = $n->addr('client');
		$self->{http}    = $n->addr('http');
		my $c = $n->client;
		is $c->cmd( 'SET', "first", 1 ), 'OK', 'a write';
	}
	my $writer;
	if ( $moment eq 'running' ) {
		$writer = writer($self);
		wait_until { acked($self) >= 5 } or die 'the writer writes nothing';
		if ( !$case->{writes} && !$case->{waits} ) { $self->{reader} = $n->client }
	}
	else {
		if ( $moment eq 'later' ) { is $n->stop, 0, 'stopped' }
		# Where the pages will be, also before there are any.
		$n->configure( listen =>
			  { client => free_port(), http => free_port() } );
		@$self{qw(address http)} = @{ $n->{sections}{listen} }{qw(client http)};
	}
	$self->{log_from} = -s $n->{log} // 0;
	$self->{began}    = now();
	$case->{begin}->($self);
	$n->spawn( @{ $self->{command} // [] } ) if $moment ne 'running';
	my $pid = $n->{pid};
	is_told( $self, $moment ne 'running' );
	if ( $case->{shm} && $moment ne 'running' ) {
		my ( $code, $out ) = $n->run( 'nodelifectl', '-r', $n->{run}, 'status' );
		like $out, qr{the boot waits: .*$case->{cause}}, 'nodelifectl status says it';
	}
	if ( $self->{reader} ) {
		$self->{reader}{timeout} = 10;
		is $self->{reader}->cmd( 'GET', 'first' ), 1, 'reads go on';
	}
	my $before = () = acked($self);
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
		ok wait_until( sub { acked($self) > $before + 5 }, 30 + 10 * $factor ),
		  'writes go on by themselves';
		kill 'KILL', $writer;
		waitpid $writer, 0;
	}
	else {
		is $n->wait_boot( 30 + 10 * $factor ), 'serves', 'it goes on by itself';
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

# How much slower than a machine at rest, where a node is up in 0.1 s.
sub factor {
	my $t = now();
	my $n = Nodelife->new(%small)->start;
	my $f = ( now() - $t ) / 0.15;
	$n->kill9;
	return $f < 1 ? 1 : $f;
}

my $factor = sprintf '%.1f', factor();
note "this machine: $factor times as slow as one at rest";
my ( $only, $when ) = @ARGV;
my @todo;
for my $case (@cases) {
	next if defined $only && $case->{name} ne $only;
	my $why = World::lacks( @{ $case->{needs} } );
	if ($why) {
		SKIP: { skip "$case->{name}: $why", 1 }
		next;
	}
	push @todo, [ $case->{name}, $_ ]
	  for grep { !defined $when || $_ eq $when }
	  @{ $case->{at} // [qw(first later running)] };
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
			exec $^X, '-It/lib', $0, '--one', $name, $moment, $factor
			  or POSIX::_exit(127);
		}
		$running{$pid} = [ "$name, $moment", $out, now() ];
	}
	my $pid = waitpid -1, 0;
	my $job = delete $running{$pid} // next;
	my ( $name, $out, $began ) = @$job;
	my $code = $?;
	my $text = slurp($out) // '';
	unlink $out;
	ok $code == 0, sprintf '%s (%.1f s)', $name, now() - $began or diag $text;
	note $text if $ENV{HARNESS_IS_VERBOSE};
}
done_testing;
