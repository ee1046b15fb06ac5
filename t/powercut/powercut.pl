# make powercut: power cuts of a node under load, in a guest whose disk writes
# are recorded, each rebuilt and booted. See README.md beside this.
#
#	perl -It/lib -It/powercut t/powercut/powercut.pl
#
# Knobs: FS, CUTS, SEED, LOAD_SECONDS, AGAIN=1, CUT=ENTRY:SEED.
use strict;
use warnings;
use Nodelife;
use World;
use History;
use Report width => 12;
use Fcntl qw(LOCK_EX LOCK_NB);
use File::Path ();
use IO::Socket::INET;
use List::Util qw(max min sum0);
use POSIX ();

use constant {
	DISK_SIZE     => '512M',    # the least that mkfs.xfs takes is 300M
	DEPTH         => 6,         # operations of a connection under way, at most
	BOOT_SECONDS  => 300,       # of a guest on a processor that is not there
	LIES          => 64,        # entries in the cache of a disk that lies
	LYING_CUTS    => 10,
	NEAR          => 24,        # entries around a segment's or checkpoint's
	NEXT          => 4,
	SEEDS_BETWEEN => 100_000,   # of cuts of two loads
};

my %cuts_of = ( ext4 => 200, xfs => 50 );
my $seed    = $ENV{SEED}         // int rand 1e6;
my $seconds = $ENV{LOAD_SECONDS} // 60;
my $again   = $ENV{AGAIN} // defined $ENV{CUT};
my $top     = build_dir() . '/powercut';
my $replay  = build_dir() . '/t/powercut/replay';
my $owner   = $$;
my ( %kids, @wrong );
$| = 1;

# ---- the guest ----

# A mount namespace: what is mounted, and its loop device, goes with us.
sub own_mounts {
	my $why = World::lacks(qw(root loop));
	skipped($why) if $why;
	skipped('the number of unshare() is not known here')
	  if ( POSIX::uname() )[4] ne 'x86_64';
	skipped("unshare: $!") if syscall( 272, 0x20000 ) != 0;
	World::must( 'mount', '--make-rprivate', '/' );
	return;
}

sub look_for_tools {
	my @fs = @_;
	for my $tool ( 'qemu-system-x86_64', map { "mkfs.$_" } @fs ) {
		skipped("no $tool") if !defined World::which($tool);
	}
	for my $fs (@fs) {
		World::try( 'modprobe', $fs );
		skipped("this kernel mounts no $fs")
		  if slurp('/proc/filesystems') !~ /^\s*$fs$/m;
	}
	my $out = `t/powercut/image.sh @{[ build_dir() ]} $top 2>&1`;
	print $out;
	exit $? >> 8 if $? != 0;
	return;
}

sub free_port {
	my $s = IO::Socket::INET->new( LocalAddr => '127.0.0.1:0', Listen => 1 )
	  or die "no port: $!";
	return $s->sockport;
}

# TCG: also where there is no KVM, and a cut does not care how fast it came.
sub guest_start {
	my ( $fs, $dir, $port ) = @_;
	my @file = map { "driver=file,node-name=$_->[0],filename=$dir/$_->[1],"
		  . 'cache.no-flush=on' } [ 'image', 'disk' ], [ 'record', 'log' ];
	my @command = (
		'qemu-system-x86_64', '-M', 'q35', '-accel', 'tcg,thread=multi',
		qw(-cpu max -smp 2 -m 512 -nodefaults -no-user-config),
		qw(-display none -monitor stdio -serial), "file:$dir/serial", '-kernel',
		"$top/vmlinuz", '-initrd', "$top/initramfs", '-append',
		"console=ttyS0 quiet powercut.fs=$fs",
		map( { ( '-blockdev', $_ ) } @file ), '-blockdev',
		'driver=raw,node-name=raw,file=image', '-blockdev',
		'driver=blklogwrites,node-name=logged,file=raw,log=record,'
		  . 'log-sector-size=512',
		# Zeros by their number alone are recorded wrongly by qemu 7.2.
		'-device', 'virtio-blk-pci,drive=logged,write-cache=on,'
		  . 'discard=off,write-zeroes=off', '-netdev',
		'user,id=net,restrict=on,'
		  . "hostfwd=tcp:127.0.0.1:$port-10.0.2.15:7379",
		'-device', 'virtio-net-pci,netdev=net,romfile=',
	);
	pipe my $in, my $monitor or die "pipe: $!";
	my $pid = fork // die "fork: $!";
	if ( $pid == 0 ) {
		Nodelife::die_with_parent();
		open STDIN,  '<&', $in;
		open STDOUT, '>', "$dir/qemu";
		open STDERR, '>&', \*STDOUT;
		exec @command or POSIX::_exit(127);
	}
	$kids{$pid} = 1;
	return { pid => $pid, dir => $dir, monitor => $monitor, begun => now() };
}

sub guest_cut {
	my ($pid) = @_;
	kill 'KILL', $pid;
	waitpid $pid, 0;
	delete $kids{$pid};
	return;
}

END {
	my $code = $?;
	if ( $$ == $owner ) { guest_cut($_) for keys %kids }
	$? = $code;
}

# A load that does not come to its end: why, and what the guest said last.
sub load_failed {
	my ( $guest, $why ) = @_;
	my $said = slurp("$guest->{dir}/serial") || slurp("$guest->{dir}/qemu");
	my @lines = split /\n/, $said // '';
	splice @lines, 0, @lines - 12 if @lines > 12;
	print "FAIL: $why; the guest said last:\n", map { "    $_\n" } @lines;
	exit 1;
}

# The log's size at the latest when the guest said so for the nth time.
sub guest_says {
	my ( $guest, $what, $n ) = @_;
	my $dir = $guest->{dir};
	wait_until {
		load_failed( $guest, 'the guest is gone' )
		  if waitpid( $guest->{pid}, POSIX::WNOHANG() ) != 0;
		( () = ( slurp("$dir/serial") // '' ) =~ /$what/g ) >= $n;
	} BOOT_SECONDS or load_failed( $guest, "it does not say: $what" );
	return -s "$dir/log";
}

# ---- the load ----

sub load_new {
	my ( $fs, $dir ) = @_;
	File::Path::remove_tree($dir);
	File::Path::make_path($dir);
	World::must( 'truncate', '-s', DISK_SIZE, "$dir/base" );
	World::must( "mkfs.$fs", '-q', $fs eq 'ext4' ? '-F' : '-f', "$dir/base" );
	World::must( 'cp', '--sparse=always', "$dir/base", "$dir/disk" );
	World::must( 'truncate', '-s', 0, "$dir/log" );
	my $port  = free_port();
	my $guest = guest_start( $fs, $dir, $port );
	open my $out, '>', "$dir/history.new" or die "$dir/history.new: $!";
	print $out "seed $seed\n";
	print $out 'founded ', guest_says( $guest, 'powercut: founded', 1 ), "\n";
	my $history = History->new($seed);
	my @links   = map { { c => $_, sent => 0, answered => 0 } }
	  0 .. History::CONNECTIONS - 1;
	load_half( $guest, $history, $out, "127.0.0.1:$port", 1, @links );
	print { $guest->{monitor} } "system_reset\n";
	$guest->{monitor}->flush;
	$guest->{begun} = now();
	print $out 'reset ', -s "$dir/log", "\n";
	load_half( $guest, $history, $out, "127.0.0.1:$port", 2, @links );
	guest_cut( $guest->{pid} );
	close $out or die "$dir/history.new: $!";
	rename "$dir/history.new", "$dir/history";
	unlink "$dir/disk";
	return;
}

# From a boot on. The second one's node is asked for what is there first.
sub load_half {
	my ( $guest, $history, $out, $addr, $n, @links ) = @_;
	my $dir  = $guest->{dir};
	my $size = guest_says( $guest, 'serving after', $n );
	told( 'guest', slurp("$dir/serial") =~ /(kernel \S+, \w+)/,
		sprintf 'serves after %.0f s', now() - $guest->{begun} );
	for my $l (@links) {
		$l->{guest}  = $guest;
		$l->{client} = Nodelife::Client->new($addr);
		$l->{depth}  = 1 + $l->{c} % DEPTH;
	}
	if   ( $n == 1 ) { print $out "serves $size\n" }
	else             { $history = look_again( $history, $out, $dir, @links ) }
	load_run( $history, $out, $dir, @links );
	return;
}

# A reset loses nothing that the disk was given: what is there is between what
# was answered and what was sent. From there the load goes on.
sub look_again {
	my ( $history, $out, $dir, @links ) = @_;
	my $later = History->new($seed);
	for my $l (@links) {
		my ( $c, %found ) = $l->{c};
		@found{ History::keys_of($c) } =
		  @{ $l->{client}->cmd( 'MGET', History::keys_of($c) ) };
		my $n = $history->fits( $c, \%found, $l->{answered}, $l->{sent} );
		load_failed( $l->{guest}, "after a reset of the machine connection $c"
			  . ' has not what it was answered' )
		  if !defined $n;
		my $size = -s "$dir/log";
		print $out "kept $size $c $n\n";
		$history->{sent}[$c] = [ (0) x $l->{sent} ];
		$later->goes_on( $history, $c, $n, $size );
		@$l{qw(sent answered)} = ( $n, $n );
	}
	print $out 'looked ', -s "$dir/log", "\n";
	return $later;
}

sub op_sent {
	my ($op) = @_;
	return join '', map { Nodelife::Client::encode(@$_) }
	  @$op > 1 ? ( ['MULTI'], @$op, ['EXEC'] ) : @$op;
}

# Sends whatever may be sent, each with the log's size in front of it.
sub send_more {
	my ( $history, $link, $out, $log ) = @_;
	while ( $link->{sent} - $link->{answered} < $link->{depth} ) {
		my $op = $history->op( $link->{c}, $link->{sent}++ );
		print $out 'sent ', -s $log, " $link->{c}\n";
		$link->{client}->raw( op_sent($op) )
		  or load_failed( $link->{guest}, 'a client lost its connection' );
	}
	return;
}

# An operation is answered by its last reply.
sub take_answer {
	my ( $history, $link, $out, $log ) = @_;
	my $op = $history->op( $link->{c}, $link->{answered} );
	for ( 1 .. ( @$op > 1 ? @$op + 2 : 1 ) ) {
		my $reply = $link->{client}->reply;
		load_failed( $link->{guest}, 'an operation: ' . ( $reply // 'nil' ) )
		  if !defined $reply || Nodelife::Error::is($reply);
	}
	$link->{answered}++;
	print $out 'answered ', -s $log, " $link->{c}\n";
	return;
}

sub load_run {
	my ( $history, $out, $dir, @links ) = @_;
	open my $log, '<', "$dir/log" or die "$dir/log: $!";
	my $end = now() + $seconds / 2;
	send_more( $history, $_, $out, $log ) for @links;
	while ( now() < $end ) {
		my $r = '';
		vec( $r, fileno $_->{client}{s}, 1 ) = 1 for @links;
		my $n = select $r, undef, undef, 60;
		load_failed( $links[0]{guest}, 'no answer within a minute' ) if $n == 0;
		for my $l ( grep { vec $r, fileno $_->{client}{s}, 1 } @links ) {
			do { take_answer( $history, $l, $out, $log ) }
			  while length $l->{client}{buf};
			send_more( $history, $l, $out, $log );
		}
	}
	return;
}

# ---- cuts ----

# Entries of the log, and the lists that cuts are drawn from.
sub entries {
	my ( $dir, $history, $from ) = @_;
	my ( @all, %of, $open );
	for ( split /\n/, World::must( $replay, 'list', "$dir/log" ) ) {
		my ( $n, $end, $flags, $sectors, $mark ) = split;
		push @all, { end => $end, mark => $mark };
		$open = $flags & 1 ? 0 : $open || $sectors > 0;
		next if $end < $from;
		# A cut's number is that of the first entry that is not there.
		push @{ $of{any} }, $n + 1;
		push @{ $of{unflushed} }, $n + 1 if $open;
		push @{ $of{boot} }, $n + 1
		  if $end > $history->{reset} && $end <= $history->{looked};
	}
	for my $mark (qw(segment checkpoint)) {
		for my $n ( grep { $all[$_]{mark} eq $mark } 0 .. $#all ) {
			push @{ $of{$mark} },
			  grep { $_ >= $of{any}[0] && $_ <= @all } around($n);
		}
	}
	return ( \@all, \%of );
}

# What is next to an entry is as likely as all that is near it.
sub around {
	my ($n) = @_;
	my @next = ( $n - NEXT + 1 .. $n + NEXT );
	return ( ( $n - NEAR + 1 .. $n + NEAR / 3 ), (@next) x ( NEAR / NEXT / 2 ) );
}

# Half of them between a write and its flush, a quarter where a checkpoint ends
# or a segment begins, the others anywhere, or while a boot recovers.
my @kinds = qw(unflushed segment unflushed any unflushed checkpoint unflushed boot);

sub cuts_drawn {
	my ( $of, $count ) = @_;
	srand $seed;
	my @cuts;
	for my $i ( 0 .. $count - 1 ) {
		my $kind = $kinds[ $i % @kinds ];
		my $from = $of->{$kind};
		$from = $of->{any} if !@{ $from // [] };
		push @cuts, { kind => $kind, entry => $from->[ rand @$from ],
			seed => $seed * SEEDS_BETWEEN + $i };
	}
	return sort { $a->{entry} <=> $b->{entry} } @cuts;
}

# The log is asked, and a node boots: true if it serves.
sub boots {
	my ( $n, $cut ) = @_;
	my ( $code, $out, $err ) =
	  $n->run( 'nodelifewal', 'verify', $n->{data} );
	# A torn tail is what a cut may leave; before the first boot was done
	# there may be no log yet (EX_NOINPUT).
	push @{ $cut->{why} }, "nodelifewal verify: exit $code: $out$err"
	  if $code > 1 && !( $code == 66 && $cut->{early} );
	$cut->{torn} = $code == 1;
	my $begun = now();
	$n->spawn( build_dir() . '/nodelifed', '-f', '-c', $n->{ini} );
	my $boot = $n->wait_boot(120);
	$cut->{boot} = now() - $begun;
	return 1 if $boot eq 'serves';
	$cut->{refused} = 1;
	my @said = split /\n/, slurp( $n->{log} ) // '';
	my ($why) = grep { /\b(?:error|fatal)\b/ } @said;
	push @{ $cut->{why} }, "the boot: $boot: " . ( $why // $said[-1] // '' );
	return 0;
}

sub judge {
	my ( $n, $all, $size, $cut ) = @_;
	my $client  = $n->client;
	my $history = $all->at($size);
	for my $c ( 0 .. History::CONNECTIONS - 1 ) {
		my @keys = History::keys_of($c);
		my $got  = $client->cmd( 'MGET', @keys );
		if ( ref $got ne 'ARRAY' ) {
			push @{ $cut->{why} }, "MGET: $got";
			next;
		}
		my %found;
		@found{@keys} = @$got;
		my ( $why, $count ) = $history->judge( $c, \%found, $size );
		$cut->{answered} += ( $history->bounds( $c, $size ) )[0];
		next if $why eq '';
		push @{ $cut->{why} }, $why;
		$cut->{lost} += $count;
	}
	my $reply = $client->cmd(qw(SET after cut)) // 'nil';
	push @{ $cut->{why} }, "a write behind the boot: $reply" if $reply ne 'OK';
	return;
}

# What a life leaves outside the disk goes as with the machine.
sub forget_run {
	my ($n) = @_;
	unlink map { readlink // () } glob "$n->{run}/{,*/}region{,.prev}";
	File::Path::remove_tree( $n->{run} );
	unlink $n->{log};
	return;
}

sub boot_and_judge {
	my ( $n, $history, $size, $cut ) = @_;
	forget_run($n);
	if ( boots( $n, $cut ) ) {
		judge( $n, $history, $size, $cut );
		my $code = $n->stop(60);
		push @{ $cut->{why} }, "the stop: exit $code" if $code != 0;
	}
	$n->kill9 if !$n->gone;
	return;
}

# Rebuild the disk, mount it (which recovers its journal), boot, ask, stop.
sub cut_check {
	my ( $fs, $dir, $history, $size, $cut, $lies ) = @_;
	my $n = $cut->{node};
	my ( $image, $at ) = ( "$dir/image", "$dir/mount" );
	World::must( 'cp', '--sparse=always', "$dir/base", $image );
	my $out = World::must( $replay, 'cut', "$dir/log", $cut->{entry},
		$cut->{seed}, $lies, $image );
	@$cut{qw(open blocks kept)} = split ' ', $out;
	mkdir $at;
	if ( !defined World::try( 'mount', '-t', $fs, '-o', 'loop', $image, $at ) ) {
		$cut->{refused} = 1;
		push @{ $cut->{why} }, "the mount: $World::error";
		return;
	}
	boot_and_judge( $n, $history, $size, $cut );
	wait_until { defined World::try( 'umount', $at ) } 30
	  or die "$World::error";
	unlink $image;
	return;
}

# ---- what came of it ----

sub cut_name { return "$_[0]{entry}:$_[0]{seed}" }

sub cut_told {
	my ( $fs, $cut ) = @_;
	told( $fs, 'cut', cut_name($cut), "($cut->{kind}, $cut->{kept} of"
		  . " $cut->{blocks} blocks kept):", substr s/\s+/ /gr, 0, 600 )
	  for @{ $cut->{why} };
	return;
}

sub summary {
	my ( $fs, $what, @cuts ) = @_;
	my @boots = sort { $a <=> $b } map { $_->{boot} // () } @cuts;
	my %kinds;
	$kinds{ $_->{kind} }++ for @cuts;
	my $sum = sub { sum0( map { $_->{ $_[0] } // 0 } @cuts ) };
	told( $fs, $what, scalar @cuts, 'cuts:',
		join( ', ', map { "$kinds{$_} $_" } sort keys %kinds ) . ';',
		scalar( grep { $_->{blocks} } @cuts ), 'with blocks not flushed;',
		scalar( grep { $_->{torn} } @cuts ), 'torn logs' );
	told( $fs, $sum->('lost'), 'acknowledged writes lost of',
		$sum->('answered') . ',', $sum->('refused'), 'boots refused,',
		scalar( grep { $_->{why} } @cuts ), 'cuts with something wrong',
		@boots ? sprintf( '; boot p50 %.0f ms, longest %.0f ms',
			1000 * $boots[ @boots / 2 ], 1000 * $boots[-1] ) : () );
	return;
}

sub cuts_check {
	my ( $fs, $dir, $history, $all, $lies, @cuts ) = @_;
	my $n = Nodelife->new( node => { group => 'powercut',
			data_dir => "$dir/mount/data" },
		wal => { segment_size => '4M', buffer_size => '1M', keep_size => 0,
			spare_segments => 1, reserve => '1M' },
		store => { table_size => '8M', checkpoint_wal => '1M',
			max_value => '256K', max_record => '1M' } );
	$n->{data} = "$dir/mount/data";
	my $done = 0;
	for my $cut (@cuts) {
		my $size = $all->[ $cut->{entry} - 1 ]{end};
		$cut->{early} = $size <= $history->{serves};
		$cut->{node}  = $n;
		cut_check( $fs, $dir, $history, $size, $cut, $lies );
		# Of a disk that lies the sums say enough.
		cut_told( $fs, $cut ) if $cut->{why} && !$lies;
		told( $fs, "$done of " . @cuts ) if ++$done % 50 == 0;
	}
	return;
}

# One load and its cuts; then a few of a disk that lies, which must lose.
sub powercut {
	my ($fs) = @_;
	my $dir = "$top/$fs";
	if   ( $again && -e "$dir/history" ) { told( $fs, 'the load before' ) }
	else                                 { load_new( $fs, $dir ) }
	my $history = History::load("$dir/history");
	my ( $all, $of ) = entries( $dir, $history, $history->{founded} );
	told( $fs, sum0( map { scalar @$_ } @{ $history->{later}{answered} } ),
		'operations,', scalar @$all, 'entries,',
		( map { my $m = $_; grep( { $_->{mark} eq $m } @$all ) . " ${m}s," }
			  qw(segment checkpoint) ), int( ( -s "$dir/log" ) / 2**20 ), 'MiB' );
	my @cuts = cuts_drawn( $of, $ENV{CUTS} // $cuts_of{$fs} );
	@cuts = { kind => 'asked for', entry => $1, seed => $2 }
	  if ( $ENV{CUT} // '' ) =~ /^(\d+):(\d+)$/;
	cuts_check( $fs, $dir, $history, $all, 0, @cuts );
	summary( $fs, 'power goes,', @cuts );
	push @wrong, map { "$fs " . cut_name($_) } grep { $_->{why} } @cuts;
	return if defined $ENV{CUT};
	( $all, $of ) = entries( $dir, $history, $history->{serves} );
	@cuts = cuts_drawn( $of, LYING_CUTS );
	cuts_check( $fs, $dir, $history, $all, LIES, @cuts );
	summary( $fs, 'and a disk that ignores flushes,', @cuts );
	push @wrong, "$fs: nothing was lost with flushes ignored: this rig"
	  . ' cannot fail'
	  if !grep { $_->{lost} } @cuts;
	return;
}

my @fs = defined $ENV{FS} ? split /[ ,]+/, $ENV{FS} : qw(ext4 xfs);
exists $cuts_of{$_} or die "FS: $_ is neither ext4 nor xfs\n" for @fs;
own_mounts();
File::Path::make_path($top);
open my $lock, '>', "$top/lock" or die "$top/lock: $!";
flock $lock, LOCK_EX | LOCK_NB or die "another one runs in $top\n";
look_for_tools(@fs);
told( 'seed', $seed );
powercut($_) for @fs;
if (@wrong) {
	print "FAIL: $_\n" for @wrong;
	print "one again: make powercut FS=... CUT=ENTRY:SEED; what was recorded is",
	  " in $top\n";
	exit 1;
}
print "PASS\n";
