# Writes that must wait for a checkpoint wait in front of the log: whoever reads
# does not wait with them, however much a few bytes make of the table, and a
# node that is killed meanwhile boots again. That it lasts is told, and in the
# end writes are refused.
use strict;
use warnings;
use Fcntl qw(:flock);
use Nodelife;
use Test::More;

my %small = ( table_size => '8M', max_value => '1M', checkpoint_wal => '64M' );

# No checkpoint ends: its worker is stopped, so that nothing fails either.
{
	my $n = Nodelife->new( store => {%small}, liveness => { timeout => '5m' } );
	$n->start;
	my ( $c, $w ) = ( $n->client, $n->client );
	is $c->cmd(qw(SET k0 v)), 'OK', 'a key';
	my $checkpoint = $n->workers->{checkpoint};
	kill STOP => $checkpoint;
	$w->send_all( map { [ 'SET', "k$_", 'v' x 16_000 ] } 1 .. 2048 );
	eventually { $n->trouble('store_waits') } 'that writes wait is told';
	like $n->trouble('store_waits'),
	  qr{store/data\.mdb: a checkpoint makes no room for [\d.]+ s, its process was stopped.*: writes wait, reads go on: .*kill -CONT $checkpoint\)$},
	  'with what for';
	ok !$n->stat->{can_write}, 'it cannot write';
	is( ( $n->http('/readyz?want=write') )[0], 503, 'and says so' );
	is $c->cmd(qw(GET k0)), 'v', 'reads go on';
	ok $c->cmd('DBSIZE') > 500, 'of all that was accepted';
	is ref( ( $c->pipeline( ['MULTI'], [qw(GET k0)], ['EXEC'] ) )[2] ), 'ARRAY',
	  'transactions that read, too';
	eventually { $n->trouble('store_full') } 'in the end writes are refused';
	like $c->cmd(qw(SET x 1)), qr/^ERR the store is full \(a checkpoint does not end\)/,
	  'saying why';
	is $c->cmd(qw(DEL k0)), 1, 'but deletions';
	kill CONT => $checkpoint;
	eventually { ( $c->cmd(qw(SET x 1)) // '' ) eq 'OK' } 'it goes on by itself';
	eventually { !$n->trouble('store_waits') && !$n->trouble('store_full') }
	  'and says so';
	is $n->stat->{node_restarts}, 0, 'without a restart';
	kill STOP => $checkpoint;
	$n->client->send_all( map { [ 'SET', "k$_", 'v' x 16_000 ] } 1 .. 2048 );
	eventually { $n->trouble('store_waits') } 'once more';
	$n->kill9->start;
	ok $n->client->cmd('DBSIZE') > 500, 'a node that is killed meanwhile boots';
	is $n->stop, 0, 'and stops';
}

# The process that writes the checkpoint is stopped: no fault of the disk, and
# nothing that [restart] give_up ends a node for.
SKIP: {
	skip '/proc does not tell of children', 1 if !-e "/proc/$$/task/$$/children";
	my $n = Nodelife->new( store => {%small}, restart => { give_up => '2s' } );
	$n->start;
	my ( $c, $w ) = ( $n->client, $n->client );
	is $c->cmd(qw(SET k0 v)), 'OK', 'a key';
	my $checkpoint = $n->workers->{checkpoint};

	# It waits for this, so it is there to be stopped.
	open my $db, '+<', "$n->{data}/store/data.mdb" or die;
	flock $db, LOCK_EX or die;
	my $run = $n->run_begin( 'nodelifectl', '-r', $n->{run}, 'checkpoint' );
	my $child;
	eventually {
		($child) = slurp("/proc/$checkpoint/task/$checkpoint/children") =~ /(\d+)/;
		$child && kill STOP => $child;
	} 'a process writes a checkpoint, and is stopped';
	close $db;
	$w->send_all( map { [ 'SET', "k$_", 'v' x 16_000 ] } 1 .. 2048 );
	eventually { $n->trouble('store_waits') } 'that writes wait for it is told';
	like $n->trouble('store_waits'),
	  qr{no room for [\d.]+ s, its process was stopped.*: writes wait, reads go on: .*kill -CONT $child\)$},
	  'with what for';
	my $since = now();
	wait_until { now() > $since + 3 };
	is $c->cmd(qw(GET k0)), 'v', 'the node does not end over it';
	kill CONT => $child;
	is( ( $n->run_end($run) )[0], 0, 'it goes on: a checkpoint' );
	eventually { !$n->trouble('store_waits') } 'and all is well';
	is $n->stat->{node_restarts}, 0, 'without a restart';
	is $n->stop, 0, 'stopped';
}

# Few bytes that make much of the table, and checkpoints that fail.
SKIP: {
	my $n = Nodelife->new( store => {%small} );
	$n->start;
	my ( $c, $w ) = ( $n->client, $n->client );
	is $c->cmd( 'SET', 'long', 'v' x 1_000_000 ), 'OK', 'a long value';
	my $checkpoint = $n->workers->{checkpoint};
	skip 'there is no prlimit(1)', 1
	  if system( 'prlimit', "--pid=$checkpoint", '--fsize=100000:' ) != 0;
	$w->send_all( map { [ 'SETRANGE', "s$_", 1_000_000, 'x' ] } 1 .. 300 );
	$w->send_all( map { [ 'APPEND', 'long', 'x' ] } 1 .. 300 );
	$w->send_all( map { [ 'EXPIRE', 'long', 1000 + $_ ] } 1 .. 300 );
	eventually { $n->trouble('checkpoint_failed') } 'checkpoints fail';
	ok length $c->cmd(qw(GET long)) >= 1_000_000, 'a few bytes, much of the table: reads go on';
	$n->kill9->start;
	$c = $n->client;
	ok length $c->cmd(qw(GET long)) >= 1_000_000, 'and after a boot';
	$checkpoint = $n->workers->{checkpoint};
	system 'prlimit', "--pid=$checkpoint", '--fsize=100000:';
	$w = $n->client;
	$w->send_all( map { [ 'SETRANGE', "s$_", 1_000_000, 'x' ] } 1 .. 300 );
	$n->client->send_all( ['MULTI'], [ 'SETRANGE', 'm', 1_000_000, 'x' ],
		( map { [ 'EXPIRE', 'm', 1000 + $_ ] } 1 .. 58 ), ['EXEC'] );
	eventually { $n->trouble('store_full') } 'full';
	is $c->cmd('FLUSHALL'), 'OK', 'FLUSHALL is taken';
	is $c->cmd(qw(GET long)), undef, 'and applied';
	is $n->stat->{node_restarts}, 0, 'no restart';
	system 'prlimit', "--pid=$checkpoint", '--fsize=unlimited:';
	is $n->stop, 0, 'stopped';
}

# Transactions that wait are looked at again when they go on, also long ones.
{
	my $n = Nodelife->new( store => {%small}, liveness => { timeout => '5m' } );
	$n->start;
	my $c = $n->client;
	is $c->cmd(qw(SET k v)), 'OK', 'a key';
	my $checkpoint = $n->workers->{checkpoint};
	kill STOP => $checkpoint;
	my @mset = ( 'MSET', map { ( "m$_", 'v' x 4000 ) } 1 .. 50 );
	my @w    = map { $n->client } 1 .. 120;
	$_->send_all( ['MULTI'], [@mset], ['EXEC'] ) for @w;
	eventually { $n->trouble('store_waits') } 'they wait';
	is $c->cmd(qw(GET k)), 'v', 'and reads go on';
	is $c->cmd(qw(DEL k)), 1,   'deletions, too';
	kill CONT => $checkpoint;
	eventually { !$n->trouble('store_waits') } 'it goes on by itself';
	is $n->stop, 0, 'and stops';
}

# What is long, or of many keys, but takes little room waits for nobody.
{
	my $n = Nodelife->new( liveness => { timeout => '5m' } );
	$n->start;
	my $c = $n->client;
	is $c->cmd(qw(SET k v)), 'OK', 'a key';
	my $checkpoint = $n->workers->{checkpoint};
	kill STOP => $checkpoint;
	my $run = $n->run_begin( 'nodelifectl', '-r', $n->{run}, 'checkpoint' );
	eventually {
		( $n->run( 'nodelifestat', '-r', $n->{run} ) )[1] =~ /one frozen/
	} 'a checkpoint lasts';
	for my $what (
		[ 'SET', 'k', 'v' x 70_000 ],
		[ 'DEL', map { "absent$_" } 1 .. 65 ],
		[ 'MSET', map { ( "m$_", 'v' ) } 1 .. 65 ]
	  )
	{
		my @answers = $c->pipeline( ['MULTI'], $what, [qw(EXPIRE k 100)], ['EXEC'] );
		is ref $answers[3], 'ARRAY', "$what->[0] of many or long, with what copies";
	}
	ok !$n->trouble('store_waits'), 'nothing waits';
	kill CONT => $checkpoint;
	$n->run_end($run);
	is $n->stop, 0, 'stopped';
}

# Writes wait, and the table has room for so many deletions still.
sub deletable {
	my ($n) = @_;
	$n->start;
	my ( $c, $w ) = ( $n->client, $n->client );
	my @keys = map { sprintf '%0500d', $_ } 1 .. 5000;
	$c->pipeline( map { [ 'SET', $_, 'v' x 400 ] } @keys );
	my $checkpoint = $n->workers->{checkpoint};
	kill STOP => $checkpoint;
	$w->send_all( map { [ 'SET', "k$_", 'v' x 16_000 ] } 1 .. 500 );
	eventually { $n->trouble('store_waits') } 'writes wait';
	return ( $c, $w, $checkpoint, @keys );
}

# Deletions wait for no growth, however many keys they name; what there is no
# room for is refused as growth is, not held for ever.
{
	my $n = Nodelife->new( store => {%small}, liveness => { timeout => '5m' } );
	my ( $c, $w, $checkpoint, @keys ) = deletable($n);
	is $c->cmd( 'DEL', @keys[ 0 .. 1299 ] ), 1300, 'a DEL of many keys goes on';
	ok !$n->trouble('store_full'), 'before anything is refused';
	eventually { $n->trouble('store_full') } 'growth is';
	my $less = qr/^ERR the store is full .*there is room for less at once/;
	like $c->cmd( 'DEL', @keys[ 1300 .. $#keys ] ), $less, 'and more keys than there is room for';
	$c->pipeline( ['MULTI'], [ 'DEL', @keys[ 1300 .. $#keys ] ] );
	like $c->cmd('EXEC'), $less, 'in a transaction, too';
	is $c->cmd( 'DEL', @keys[ 1300 .. 1399 ] ), 100, 'fewer are taken';
	kill CONT => $checkpoint;
	eventually { ( $c->cmd(qw(SET x 1)) // '' ) eq 'OK' } 'it goes on by itself';
	is $n->stop, 0, 'stopped';
}

# Nor do they fill the table, while nothing is refused yet, up to where what was
# accepted is not applied: nobody who reads waits for a checkpoint.
{
	my $n = Nodelife->new( store => {%small}, liveness => { timeout => '5m' } );
	my ( $c, $w, $checkpoint, @keys ) = deletable($n);
	$c->send_all( map { [ 'DEL', $_ ] } @keys );
	my ( $gone, $last ) = (0);
	$gone++ while ( $last = $c->reply ) eq '1';
	cmp_ok $gone, '>', 1000, 'deletions are taken';
	like $last, qr/^ERR the store is full .*only FLUSHALL is taken/, 'as far as there is room';
	my $r = $n->client;
	is $r->cmd( 'STRLEN', $keys[-1] ), 400, 'reads go on';
	is( ( $n->http('/readyz?want=read') )[0], 200, 'and it says so' );
	is $r->cmd('FLUSHALL'), 'OK', 'FLUSHALL is taken';
	is $r->cmd( 'STRLEN', $keys[-1] ), 0, 'and applied';
	kill CONT => $checkpoint;
	eventually { ( $r->cmd(qw(SET x 1)) // '' ) eq 'OK' } 'it goes on by itself';
	is $n->stop, 0, 'stopped';
}

# What nobody appended, or was not done, hides nothing that is under way.
{
	my $n = Nodelife->new( store => {%small}, liveness => { timeout => '5m' } );
	$n->start;
	my ( $c, $w, $other ) = map { $n->client } 1 .. 3;
	is $c->cmd(qw(SET k v)), 'OK', 'a key';
	$w->pipeline( [qw(WATCH k)], ['MULTI'], [qw(DEL k)] );
	my ( $checkpoint, $store ) = @{ $n->workers }{qw(checkpoint store)};
	kill STOP => $checkpoint, $store;
	$other->send_all( [ 'SET', 'k', 'v' x 1_000_000 ] );
	is $other->reply, 'OK', 'a long value is on its way';
	$w->send_all( ['EXEC'], map { [ 'EXPIRE', 'k', 1000 + $_ ] } 1 .. 300 );
	kill CONT => $store;
	is $w->reply, undef, 'a transaction is not done';
	is $c->cmd(qw(STRLEN k)), 1_000_000, 'and reads go on';
	kill CONT => $checkpoint;
	is $n->stop, 0, 'stopped';
}

# Two gateways, and wal takes a long value of one before what the other has made
# of the short one: more is accepted than there is room for. That is told as what
# it is, and whoever reads is answered in the end.
SKIP: {
	my $n = Nodelife->new(
		node     => { gateways => 2 },
		store    => {%small},
		liveness => { timeout  => '5m' }
	);
	$n->start;
	my @c;
	for ( 1 .. 200 ) {
		my $c = $n->client;
		my ($g) = $c->cmd( 'INFO', 'clients' ) =~ /^gateway:(\d)/m;
		push @{ $c[$g] }, $c;
		last if @{ $c[0] // [] } > 1 && @{ $c[1] // [] } > 1;
	}
	my ( $checkpoint, $wal ) = @{ $n->workers }{qw(checkpoint wal)};
	my $read;
	for my $try ( 1 .. 12 ) {
		is $n->client->cmd(qw(SET k v)), 'OK', 'a short value';
		is( ( $n->run( 'nodelifectl', '-r', $n->{run}, 'checkpoint' ) )[0],
			0, 'nothing to write' );
		my ( $copies, $sets ) = @c[ $try % 2, 1 - $try % 2 ];
		kill STOP => $checkpoint, $wal;
		$copies->[0]->send_all( map { [ 'EXPIRE', 'k', 1000 + $_ ] } 1 .. 300 );
		is $copies->[1]->cmd('PING'), 'PONG', 'seen';
		$sets->[0]->send_all( [ 'SET', 'k', 'v' x 1_000_000 ] );
		is $sets->[1]->cmd('PING'), 'PONG', 'seen';
		kill CONT => $wal;
		is $sets->[0]->reply, 'OK', 'a long one';
		$read = $n->client;
		$read->send_all( [qw(STRLEN k)] );
		last if !$read->readable(2);
		is $read->reply, 1_000_000, 'in this order there was room';
		is $copies->[0]->reply, 1, 'for all' for 1 .. 300;
		kill CONT => $checkpoint;
		$read = undef;
	}
	skip 'wal took them in the other order', 1 if !$read;
	eventually { $n->trouble('store_waits') } 'that it waits is told';
	like $n->trouble('store_waits'), qr/writes wait, and who reads what they changed/,
	  'with what for';
	$read->{timeout} = 60;
	like $read->reply, qr/^ERR what was written is not applied yet/, 'a read is answered';
	ok !$n->stat->{can_read}, 'that nobody reads is told';
	is( ( $n->http('/readyz') )[0], 503, 'to who asks, too' );
	like $read->cmd('FLUSHALL'), qr/^ERR the store is full .*nothing is taken: .*no room for/,
	  'a FLUSHALL that would not be applied is refused, and why';
	kill CONT => $checkpoint;
	eventually { $n->client->cmd(qw(STRLEN k)) eq 1_000_000 } 'it goes on by itself';
	eventually { $n->stat->{can_read} && ( $n->http('/readyz') )[0] == 200 } 'and says so';
	is $read->cmd('FLUSHALL'), 'OK', 'FLUSHALL is taken again';
	is $n->stop, 0, 'stopped';
}

# A log that fails takes what is on its way along, and holds nobody.
SKIP: {
	my $n = Nodelife->new;
	$n->start;
	my ( $c, $w ) = ( $n->client, $n->client );
	is $c->cmd(qw(SET k v)), 'OK', 'a key';
	my $wal = $n->workers->{wal};
	skip 'there is no prlimit(1)', 1
	  if system( 'prlimit', "--pid=$wal", '--fsize=4096:' ) != 0;
	my @answers = $w->pipeline( map { [ 'EXPIRE', 'k', 1000 + $_ ] } 1 .. 10 );
	is grep( {/^(UNKNOWNOUTCOME|LOGFAILED)/} @answers ), 10,
	  'a log that fails: what was on its way is answered';
	like $c->cmd(qw(EXPIRE k 5)), qr/^LOGFAILED/, 'and what comes';
	like $c->cmd(qw(SET x y)),    qr/^LOGFAILED/, 'at once';
	system 'prlimit', "--pid=$wal", '--fsize=unlimited:';
	eventually { ( eval { $n->client->cmd(qw(SET x y)) } // '' ) eq 'OK' }
	  'it goes on by itself';
	is $n->stop, 0, 'stopped';
}
done_testing;
