# A data directory that was moved while another took its place: log and store
# would be of two directories, each half of a node and neither one that boots.
# So nothing is written to the other one: checkpoints fail and say so, a boot
# waits, and the node goes on when its own is back. The same for another mount
# in the place of one that failed: only a start takes that. Where the path does
# not answer that is told, and writes go on.
use strict;
use warnings;
use File::Path ();
use Nodelife;
use Test::More;
use World;

my %small = (
	wal => { segment_size => '4M', buffer_size => '4M', keep_size => 0 },
	store => { table_size => '8M', max_value => '256K', max_record => '1M' },
);

my $is_other = qr{it is not the directory that this node was started with};
my $n        = Nodelife->new(%small)->start;
my $c        = $n->client;
my $data     = $n->{data};
is $c->cmd(qw(SET a 1)), 'OK', 'a write';
# Files that are being made may be gone meanwhile.
system "cp -a $data $data.copy 2>/dev/null";
ok -s "$data.copy/store/data.mdb", 'a copy of the directory';
is $c->cmd(qw(SET b 2)), 'OK', 'a write behind it';
rename $data, "$data.own" or die;
rename "$data.copy", $data or die;
my $before = slurp("$data/store/data.mdb");
eventually { $n->trouble('data_dir') =~ /^\Q$data\E: stat: $is_other: writes/ }
'writes to files that no boot would find stop: told';
like $c->cmd(qw(SET c 3)), qr{^LOGFAILED nothing was written: \Q$data\E}, 'and refused';

my ($code) = $n->run( 'nodelifectl', '-r', $n->{run}, 'checkpoint' );
isnt $code, 0, 'a checkpoint fails';
like $n->trouble('checkpoint_failed'),
  qr{^\Q$data\E: stat: $is_other: .*stop the node and start it},
  'and says why';
kill 'KILL', $n->workers->{store};
eventually { $n->trouble('boot_waits') =~ /\Q$data\E: .*$is_other/ }
'so does a boot, which waits';
like $n->trouble('boot_waits'), qr{put back the one}, 'for what to do';
ok slurp("$data/store/data.mdb") eq $before, 'nothing was written to the copy';
rename $data, "$data.copy" or die;
rename "$data.own", $data or die;
is $n->wait_boot, 'serves', 'with its own it goes on by itself';
is_deeply $n->client->cmd(qw(MGET a b)), [ 1, 2 ], 'nothing is lost';

# Without a directory while it runs.
$c = $n->client;
for my $gone ( $data, "$data/wal" ) {
	rename $gone, "$data.away" or die;
	eventually { $c->cmd(qw(SET d 4)) =~ /^LOGFAILED nothing was written: \Q$gone\E.*findmnt/ }
	"$gone is gone: writes are refused";
	is_deeply $c->cmd(qw(MGET a b)), [ 1, 2 ], 'reads go on';
	is $n->stat->{can_write} ? 1 : 0, 0, 'the screen says so';
	rename "$data.away", $gone or die;
	eventually { $c->cmd(qw(SET d 4)) eq 'OK' } 'it is back: so are writes';
	is $n->trouble('data_dir'), '', 'and nothing stands';
}

# Without the store's file, or with an older copy of it: a checkpoint would make
# one that has only what has changed since.
my $db = "$data/store/data.mdb";
sub checkpoint { return ( $n->run( 'nodelifectl', '-r', $n->{run}, 'checkpoint' ) )[0] }
is checkpoint(), 0, 'a checkpoint';
system "cp $db $db.old";
$c->cmd( 'SET', "k$_", $_ ) for 1 .. 50;
is checkpoint(), 0, 'and one more';
for my $case (
	[ 'gone', sub { }, qr{No such file} ],
	[ 'an older one', sub { system "cp $db.old $db" }, qr{it is not the file that was written} ],
  )
{
	my ( $what, $put, $why ) = @$case;
	my $dir = $what eq 'gone' ? "$data/store" : $db;
	rename $dir, "$data.away" or die;
	$put->();
	is $c->cmd( 'SET', 'late', $what ), 'OK', "$what: a write";
	isnt checkpoint(), 0, 'a checkpoint fails';
	like $n->trouble('checkpoint_failed'),
	  qr{^\Q$db\E: checkpoint: $why.*put store/ back as it was before the node stops},
	  'and says why, and what to do';
	ok $what eq 'gone' ? !-e $dir : slurp($db) eq slurp("$db.old"), 'it has left all as it was';
	rename "$data.away", $dir or die;
	is checkpoint(), 0, 'it is back: a checkpoint';
	is $n->trouble('checkpoint_failed'), '', 'and nothing stands';
}
kill 'KILL', $n->workers->{store};
is $n->wait_boot, 'serves', 'boots again';
$c = $n->client;
is_deeply $c->cmd( 'MGET', 'a', 'late', map { "k$_" } 1 .. 50 ), [ 1, 'an older one', 1 .. 50 ],
  'nothing is lost';
unlink "$db.old";

# A closed log, and the directory is moved before the fault is over: a boot
# would find nothing, so there is none, and reads go on.
SKIP: {
	skip 'no prlimit(1)', 1 if system('prlimit --version >/dev/null') != 0;
	my $wal      = $n->workers->{wal};
	my $restarts = $n->stat->{node_restarts};
	$c = $n->client;
	is $c->cmd(qw(SET kept 1)), 'OK', 'a write';
	system 'prlimit', "--pid=$wal", '--fsize=4096:';
	like $c->cmd(qw(SET lost 1)), qr/UNKNOWNOUTCOME|LOGFAILED/, 'the log closes';
	rename $data, "$data.own" or die;
	system 'prlimit', "--pid=$wal", '--fsize=unlimited:';
	eventually { $n->trouble('log_failed') =~ /^\Q$data\E: .*findmnt/ }
	'that the directory is gone is told';
	is $n->stat->{node_restarts}, $restarts, 'the node does not boot over it';
	is_deeply $c->cmd(qw(MGET kept lost)), [ 1, undef ], 'reads go on';
	rename "$data.own", $data or die;
	ok wait_until {
		my $back = eval { $n->client } or return 0;
		( $back->cmd(qw(SET again 1)) // '' ) eq 'OK';
	}, 'it is back: so are writes';
	is_deeply $n->client->cmd(qw(MGET kept lost)), [ 1, undef ],
	  'and all that was durable';
}

# A boot that finds nothing of the log waits, too: with a checkpoint, which
# tells that there was one, and without.
sub lose_log {
	my ( $way, $wal ) = @_;
	if ( $way =~ /no segment|a spare/ ) {
		my @segments;
		wait_until { @segments = sort glob "$wal/*.seg"; @segments > 1 };
		pop @segments if $way eq 'only a spare';
		mkdir "$wal.away" or die;
		rename $_, s{.*/}{$wal.away/}r or die for @segments;
		return;
	}
	rename $wal, "$wal.away" or die;
	symlink 'nowhere', $wal or die if $way eq 'a dangling link';
	return;
}

sub find_log {
	my ( $way, $wal ) = @_;
	if ( $way =~ /no segment|a spare/ ) {
		rename $_, s{.*/}{$wal/}r or die for glob "$wal.away/*.seg";
		rmdir "$wal.away" or die;
		return;
	}
	unlink $wal;
	rename "$wal.away", $wal or die;
	return;
}

for my $way ( 'no directory', 'a dangling link', 'no segment', 'only a spare' ) {
	my $l   = Nodelife->new(%small)->start;
	my $wal = "$l->{data}/wal";
	is $l->client->cmd(qw(SET a 1)), 'OK', "$way: a write";
	for my $checkpointed ( 0, 1 ) {
		my $name = $checkpointed ? "$way, a checkpoint" : "$way, no checkpoint";
		$l->run( 'nodelifectl', '-r', $l->{run}, 'checkpoint' ) if $checkpointed;
		lose_log( $way, $wal );
		kill 'KILL', $l->workers->{store};
		my $says = qr{\Q$wal\E: (open: No such file|readdir: no segment is left).*findmnt};
		ok wait_until { $l->trouble('boot_waits') =~ $says || $l->gone },
		  "$name: told";
		ok !$l->gone, "$name: a boot waits";
		find_log( $way, $wal );
		is $l->wait_boot, 'serves', "$name: it is back: it goes on";
		is $l->client->cmd(qw(GET a)), 1, "$name: nothing is lost";
	}
	is $l->stop, 0, "$way: stopped";
}

# Without a directory, and without what names it.
rename $data, "$data.own" or die;
kill 'KILL', $n->workers->{store};
eventually { $n->trouble('boot_waits') =~ /\Q$data\E: .*findmnt/ }
'a boot waits for a directory that is gone';
rename "$data.own", $data or die;
is $n->wait_boot, 'serves', 'and goes on';
for my $name (qw(node state)) {
	my $says = qr{\Q$data\E/$name: (read: No such file|missing).*findmnt};
	rename "$data/$name", "$data/away" or die;
	kill 'KILL', $n->workers->{store};
	eventually { $n->trouble('boot_waits') =~ $says } "and for the file $name";
	rename "$data/away", "$data/$name" or die;
	is $n->wait_boot, 'serves', 'and goes on';
}
is $n->stop, 0, 'stopped';

# The membership is in the file members alone once its record was recycled.
{
	my $m = Nodelife->new(%small)->start;
	my ( $members, $k ) = ( "$m->{data}/members", 0 );
	my $says = qr{\Q$members\E: missing: .*recovery_mode = force: .*findmnt};
	$c = $m->client;
	ok wait_until {
		$c->cmd( 'SET', 'k' . $k++ % 50, 'x' x 100_000 ) for 1 .. 45;
		$m->run( 'nodelifectl', '-r', $m->{run}, 'checkpoint' );
		return $m->stat->{positions}{first} > 1;
	}, 'a log that begins later';
	rename $members, "$members.away" or die;
	kill 'KILL', $m->workers->{store};
	ok wait_until { $m->trouble('boot_waits') =~ $says || $m->gone },
	  'without the file members: told';
	ok !$m->gone, 'a boot waits for it';
	rename "$members.away", $members or die;
	is $m->wait_boot, 'serves', 'and goes on';
	is $m->stop, 0, 'stopped';
	rename $members, "$members.away" or die;
	my $from = -s $m->{log};
	is $m->spawn->wait_exit, 1, 'a start without it ends';
	like substr( slurp( $m->{log} ), $from ), $says, 'and says the same';
	$m->configure( boot => { recovery_mode => 'force' } )->start;
	is $m->stop, 0, 'force goes on';
}

# At the first boot of a start nothing hangs on either directory: it ends, and
# the next start takes the one that is there.
my $held = $n->hold_boot;
$n->spawn;
ok $n->wait_held, 'a first boot';
system "cp -a $data $data.copy2";
rename $data, "$data.own" or die;
rename "$data.copy2", $data or die;
my $from = -s $n->{log};
close $held;
is $n->wait_exit, 1, 'which meets another directory ends';
like substr( slurp( $n->{log} ), $from ), qr{\Q$data\E: .*$is_other}, 'and says so';
is $n->start->client->cmd(qw(GET a)), 1, 'the next start takes that one';
is $n->stop, 0, 'stopped';
File::Path::remove_tree($data);
rename "$data.own", $data or die;

# What is mounted over it and answers no more: whose files are open writes on,
# but no boot would find them, which is told while it lasts.
SKIP: {
	my $why = World::lacks(qw(root fuse));
	skip $why, 1 if $why;
	$n    = Nodelife->new(%small)->start;
	$data = $n->{data};
	$c    = $n->client;
	my $writes = 0;
	my $write  = sub { $writes++ if $c->cmd( 'INCR', 'n' ) eq $writes + 1 };
	for my $over ( "$data/wal", $data ) {
		World::Server->mount_dead($over);
		ok !stat($over) && $!{ENOTCONN}, "$over: its server is dead";
		my $from = now();
		eventually {
			$write->();
			$n->trouble('data_path') =~
			  m{^\Q$data\E/wal/\w+\.seg: stat: Transport endpoint is not connected: writes go on.*unmount it};
		} 'that is told, and what to do';
		cmp_ok now() - $from, '>', 2, 'not over a moment';
		is $n->trouble('data_dir'), '', 'and is no refusal';
		is $n->stat->{can_write} ? 1 : 0, 1, 'writes go on';
		World::must( 'umount', '-l', $over );
		# Also without a further write.
		eventually { $n->trouble('data_path') eq '' } 'it ends by itself';
	}

	# Nor does it say so: it hangs.
	my $over   = "$data/wal";
	my $server = World::Server->new( '/dev/null', $over );
	$server->say( lookup => 'hang' );
	my $from = now();
	eventually {
		$write->();
		$n->trouble('data_path') =~
		  m{^\Q$data\E/wal/\w+\.seg: stat: no answer for [\d.]+ s: writes go on.*: the disk does not answer};
	} 'a look that hangs is told';
	cmp_ok now() - $from, '>', 2, 'not over a moment';
	is $n->stat->{can_write} ? 1 : 0, 1, 'writes go on';
	my $s = $n->stat;
	is join( ' ', map { $_->{kind} } @{ $s->{troubles} } ), 'data_path', 'nobody hangs with it';
	my $lasts = sub { $n->trouble('data_path') =~ /for ([\d.]+) s/ ? $1 : 0 };
	my $then  = $lasts->();
	eventually { $lasts->() > $then + 1 } 'for how long is told, too';
	$server->say;
	World::must( 'umount', '-l', $over );
	eventually { $n->trouble('data_path') eq '' } 'it ends by itself';
	is $c->cmd(qw(GET n)), $writes, 'every write was taken';
	is $n->stat->{node_restarts}, 0, 'without a new boot';
	$n->kill9;
	is $n->start->client->cmd(qw(GET n)), $writes, 'and none is lost';
	is $n->stop, 0, 'stopped';
}

SKIP: {
	my $why = World::lacks(qw(root loop));
	skip $why, 1 if $why;
	my $disk = World::Disk->new( size => '96M' );
	$n = Nodelife->new( %small, node => { data_dir => $disk->dir . '/data' } );
	$n->{data} = $disk->dir . '/data';
	$n->start;
	$c = $n->client;
	is $c->cmd(qw(SET a 1)), 'OK', 'a write';
	$disk->abort;
	like $c->cmd(qw(SET b 1)), qr/UNKNOWNOUTCOME|LOGFAILED/, 'a disk fails';
	$disk->mount_again;
	eventually { $n->trouble('log_failed') =~ /$is_other/ }
	'that another one is there is told';
	is $n->stat->{node_restarts}, 0, 'the node does not boot over it';
	is $c->cmd(qw(GET a)), 1, 'and reads go on';
	is $n->stop, 0, 'stopped';
	$n->start;
	is $n->client->cmd(qw(GET a)), 1, 'a start takes it';
	is $n->client->cmd(qw(SET b 1)), 'OK', 'and writes';
	is $n->stop, 0, 'stopped';
}
done_testing;
