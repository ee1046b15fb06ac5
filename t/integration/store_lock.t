# The store's lock file is what its readers and its writer see each other by:
# with another one a checkpoint gives pages away that readers are in, and they
# read what was. So a node that runs opens the one that its boot made, or none.
use strict;
use warnings;
use Nodelife;
use Test::More;
use World;

my $n    = Nodelife->new(
	wal   => { segment_size => '4M', buffer_size => '4M', keep_size => 0 },
	store => { table_size => '8M', max_value => '256K', max_record => '1M' },
)->start;
my $c    = $n->client;
my $data = $n->{data};
my $db   = "$data/store/data.mdb";
my $lock = "$data/store/lock.mdb";
my $is   = 0;

sub checkpoint { return ( $n->run( 'nodelifectl', '-r', $n->{run}, 'checkpoint' ) )[0] }

sub count_on {
	my $wrong = 0;
	for ( 1 .. 3 ) {
		$wrong++ if ( $c->cmd( 'INCR', 'n' ) // '' ) ne ++$is;
		checkpoint();
	}
	return $wrong;
}
is count_on(), 0, 'a counter';
for my $case (
	[ 'removed', sub { } ],
	[ 'another one', sub { system "cp $data.away/lock.mdb $lock" } ],
	[ 'a directory', sub { mkdir $lock or die }, sub { rmdir $lock or die } ],
  )
{
	my ( $what, $put, $take ) = @$case;
	mkdir "$data.away" or die;
	rename $lock, "$data.away/lock.mdb" or die;
	$put->();
	is count_on(), 0, "lock.mdb is $what: what is read is what was written";
	isnt checkpoint(), 0, 'a checkpoint fails';
	like $n->trouble('checkpoint_failed'),
	  qr{^\Q$lock\E: checkpoint: the one that the .* readers share is gone: .*nothing is lost.*stop the node and start it},
	  'and says why, and what to do';
	is $what eq 'removed' ? -e $lock : undef, undef, 'none is made';
	$take->() if $take;
	rename "$data.away/lock.mdb", $lock or die;
	rmdir "$data.away" or die;
	is checkpoint(), 0, 'it is back: a checkpoint';
	is $n->trouble('checkpoint_failed'), '', 'and nothing stands';
	is count_on(), 0, 'the counter is right';
}

# Only one of the two is put back.
rename "$data/store", "$data.away" or die;
mkdir "$data/store" or die;
is $c->cmd( 'INCR', 'n' ), ++$is, 'store/ is away: a write';
isnt checkpoint(), 0, 'a checkpoint fails';
rename "$data.away/data.mdb", $db or die;
is count_on(), 0, 'without its lock file the counter is right';
like $n->trouble('checkpoint_failed'), qr{^\Q$lock\E: }, 'and what else is missing is told';
my $worker = $n->workers->{checkpoint};
kill 'KILL', $worker;
eventually { ( $n->workers->{checkpoint} // $worker ) != $worker } 'a new checkpoint';
eventually { $n->trouble('checkpoint_failed') =~ qr{^\Q$lock\E: } } 'tells it as well';
ok !-e $lock, 'and makes none';
my $restarts = $n->stat->{node_restarts};
kill 'KILL', $n->workers->{gateway0};
eventually { ( $n->stat // {} )->{node_restarts} > $restarts } 'a new gateway has the node boot';
is $n->wait_boot, 'serves', 'which does';
$c = $n->client;
is count_on(), 0, 'the counter is right';
ok -e $lock, 'with a lock file that all share';
is $n->trouble('checkpoint_failed'), '', 'nothing stands';
unlink "$data.away/lock.mdb";
rmdir "$data.away" or die;

# The kernel keeps a writer, in a disk that does not answer, say: the next boot
# has a lock file of its own, and does not write beside him.
is $c->cmd( 'INCR', 'n' ), ++$is, 'a write';
my $left = World::holder( 'nodelifed: checkpoint: writing', $db );
kill 'STOP', $left;
unlink $lock;
my $was = slurp($db);
kill 'KILL', $n->workers->{gateway0};
eventually {
	slurp( $n->{log} ) =~
	  /boot waits: .*data\.mdb: pid $left \(nodelifed: checkpoint: writing\) still writes it: .*dmesg/;
} 'a writer is left: a boot waits, and says for whom';
ok !$n->gone, 'the node does not end';
ok slurp($db) eq $was, 'and has written nothing';
kill 'KILL', $left;
waitpid $left, 0;
$n->wait_serving;
$c = $n->client;
is count_on(), 0, 'he is gone: the node goes on by itself';

# What was answered is there, whatever the next start finds.
is $c->cmd( 'INCR', 'n' ), ++$is, 'a write';
unlink $lock;
is $n->stop, 0, 'stopped';
is $n->start->client->cmd( 'GET', 'n' ), $is, 'a start without the file: nothing is lost';
is $n->stop, 0, 'stopped';

# What is no file is named, and what was there serves again.
for my $path ( $db, $lock ) {
	rename $path, "$data.away" or die;
	for my $case (
		[ 'a directory', sub { mkdir $path or die },             qr/Is a directory: .*move it away/ ],
		[ 'a fifo',      sub { POSIX::mkfifo( $path, 0600 ) or die }, qr/it is no regular file/ ],
	  )
	{
		my ( $what, $put, $says ) = @$case;
		$put->();
		unlink $n->{log};
		$n->spawn;
		is $n->wait_boot, 'gone', "$path is $what: no boot";
		like slurp( $n->{log} ), qr{the node stops: .*\Q$path\E: open: $says}, 'it is named';
		ok !-f $path, 'and left alone';
		rmdir $path or unlink $path or die;
	}
	rename "$data.away", $path or die;
	is $n->start->client->cmd( 'GET', 'n' ), $is, 'it is back: a start';
	is $n->stop, 0, 'stopped';
}
done_testing;
