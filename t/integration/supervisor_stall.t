# What makes no progress is told within two seconds, and for as long as it
# lasts: a worker that is stopped, and, on a disk that hangs, the flush that is
# in flight. The screen, the log and the pages say so, and the write probe
# turns; nothing is killed over it, and all is well when it ends. A stop tells on,
# and the end by [restart] give_up says what ended the node and what to do.
use strict;
use warnings;
use Nodelife;
use Test::More;
use World;

sub status {
	my ($node) = @_;
	return ( $node->run( 'nodelifectl', '-r', $node->{run}, 'status' ) )[1];
}
sub write_probe { return ( $_[0]->http('/readyz?want=write') )[0] }

# A node that has given up while the kernel keeps one of its processes: no page,
# tool or screen calls it serving or promises a future, and clients go elsewhere.
sub ends_everywhere {
	my ($n) = @_;
	my $text = $n->stat->{troubles}[0]{text} // '';
	like $text, qr/in flight/, 'the screen tells what it waits for';
	unlike $text, qr/goes on by itself/, 'and promises nothing';
	my ( $code, $out, $err ) = $n->run( 'nodelifectl', '-r', $n->{run}, 'status' );
	like $out, qr/: stopping: \w+: wal: flush of VLSN/, 'so does nodelifectl status';
	( $code, undef, $err ) = $n->run(
		'nodelifestat', '-r', $n->{run}, '-w', 'gateway_enable', '-t', 5 );
	is $code, 1, 'nodelifestat -w: it will not be';
	like $err, qr/the node stops \(\w+\): ./, 'and why';
	is +( $n->http('/readyz') )[0], 503, '/readyz: 503';
	my $c = eval { $n->client };
	is $c, undef, 'clients are refused';
	return;
}

my $n = Nodelife->new->start;
is write_probe($n), 200, 'writes are served';
my %stops = (
	store => [ server_silent => 503, 503 ],
	wal   => [ writer_silent => 503, 200 ],
	vlsn  => [ worker_silent => 200, 200 ],
);
sub oldest_write {
	return ( ( $n->http('/metrics') )[1] =~ /^nodelife_oldest_write_seconds (\S+)/m )[0] // -1;
}
for my $name ( sort keys %stops ) {
	my ( $kind, $write, $read ) = @{ $stops{$name} };
	my $pid = $n->workers->{$name};
	my $c   = $n->client;
	is oldest_write(), '0.000', 'no write waits';
	kill 'STOP', $pid;
	$c->send(qw(INCR n)) if $write == 503;
	eventually {
		$n->trouble($kind) =~
		  /^$name \(pid $pid\): no heartbeat for \d+\.\d s: .*kill -CONT/;
	} "$name is stopped: the screen names it";
	is write_probe($n), $write, "the write probe says $write";
	eventually { oldest_write() > 0.9 } 'a metric tells how long a write waits'
	  if $write == 503;
	my $s = $n->stat;
	is $s->{can_write} ? 200 : 503, $write, 'so does the screen';
	is $s->{can_read} ? 200 : 503, $read, "and $read of reads";
	my ( $code, $body ) = $n->http('/readyz');
	is $code, $read, 'as /readyz does';
	like $body, $read == 200 ? qr/"status": "ok"/ : qr/"status": "stuck"/,
	  'which has a word for it';
	like slurp( $n->{log} ), qr/$name \(pid $pid\): no heartbeat for/, 'the log, too';
	kill 'CONT', $pid;
	eventually { $n->trouble($kind) eq '' } 'and when it is over';
	is write_probe($n), 200, 'writes are served';
	like $c->reply, qr/^\d+$/, 'the one that waited, too' if $write == 503;
}
{
	my $vlsn = $n->workers->{vlsn};
	kill 'STOP', $vlsn;
	eventually { $n->trouble('worker_silent') } 'a warning stands';
	like status($n),
	  qr/^running, pid \d+: serving\nworker_silent: vlsn .*kill -CONT\)\n\z/,
	  'status has it on a line of its own';
	kill 'CONT', $vlsn;
}
is scalar( grep { $_->{restarts} } @{ $n->stat->{workers} } ), 0, 'nobody was killed';
is $n->stop, 0, 'stopped';

# A first boot, before it serves.
{
	my $lock = $n->hold_boot;
	$n->spawn;
	$n->wait_held;
	my $pid = $n->workers->{vlsn};
	kill 'STOP', $pid;
	eventually { status($n) =~ /: not serving: \w+\nworker_silent: vlsn .*kill -CONT\)$/m }
	'a boot: status says what stands in its way'
	  or diag status($n);
	kill 'CONT', $pid;
	close $lock;
	$n->wait_serving;
	is $n->stop, 0, 'stopped';
}

# In the foreground, with its log elsewhere.
$n->configure( node => { log => "$n->{dir}/own.log" } );
$n->start;
{
	my $pid = $n->workers->{vlsn};
	kill 'STOP', $pid;
	eventually {
		slurp( $n->{log} ) =~ /^nodelifed: vlsn \(pid $pid\): no heartbeat for .*kill -CONT/m;
	} 'standard error tells, too';
	kill 'CONT', $pid;
	eventually { slurp( $n->{log} ) =~ /^nodelifed: worker_silent is over after/m }
	'and when it is over';
	like slurp("$n->{dir}/own.log"), qr/vlsn \(pid $pid\): no heartbeat/,
	  'as the log does';
}
is $n->stop, 0, 'stopped';

SKIP: {
	my $why = World::lacks(qw(root loop fuse));
	skip $why, 1 if $why;
	my $disk = World::Disk->new( size => '96M', faulty => 1 );
	my $m = Nodelife->new(
		node => { data_dir => $disk->dir . '/data' },
		wal  => { segment_size => '4M', reserve => '1M' } )->start;
	my $c = $m->client;
	is $c->cmd(qw(SET a 1)), 'OK', 'a node on a disk of its own';
	$disk->say( write => 'hang', flush => 'hang' );
	$c->send(qw(SET b 2));
	my $begun = now();
	eventually {
		$m->trouble('log_stalled') =~
		  /^wal: flush of VLSN \d+: in flight for \d+\.\d s: writes wait: .*disk/;
	} 'a flush that hangs is told';
	note sprintf 'after %.1f s', now() - $begun;
	like status($m), qr/: serving, but no writes: wal: flush .*writes wait: .*disk/,
	  'status: writes wait, nothing is refused';
	is write_probe($m), 503, 'the write probe turns';
	like slurp( $m->{log} ), qr/wal: flush of VLSN \d+: in flight/, 'the log says so';
	my ($age) = ( $m->http('/metrics') )[1] =~ /^nodelife_oldest_flush_seconds (\S+)/m;
	cmp_ok $age, '>', 0.9, 'a metric, too';
	is $m->client->cmd(qw(GET a)), 1, 'reads go on';
	$disk->say;
	is $c->reply, 'OK', 'the disk answers: so does the node';
	eventually { $m->trouble('log_stalled') eq '' && write_probe($m) == 200 }
	'and all is well';

	# A stop that waits for it.
	my $stands = sub {
		return $m->trouble('log_stalled') =~ /in flight for (\d+\.\d) s/ ? $1 : 0;
	};
	$disk->say( write => 'hang', flush => 'hang' );
	$c->send(qw(SET b 3));
	eventually { $stands->() } 'it hangs again';
	my $said = length slurp( $m->{log} );
	$m->signal('TERM');
	eventually { substr( slurp( $m->{log} ), $said ) =~ /stop: SIGTERM$/m }
	'a stop waits for it';
	my $then = $stands->();
	eventually { $stands->() > $then + 1 } 'for how long is told still';
	$disk->say;
	is $m->wait_exit, 0, 'stopped';

	# [restart] give_up: what ended the node, and what to do. By then the disk's
	# server has taken the write, so that the kernel keeps who waits for it.
	$m->configure( restart => { give_up => '6s' } );
	$m->{data} = $disk->dir . '/data';
	$c = $m->start->client;
	$disk->say( write => 'hang', flush => 'hang' );
	$c->send(qw(SET b 4));
	eventually { slurp( $m->{log} ) =~ /the node stops: .*give_up/ } 'give_up';
	ends_everywhere($m);
	$disk->say;
	is $m->wait_exit, 75, 'it ends';
	is_deeply [ map { $_->{kind} } @{ $m->stat->{troubles} } ], [], 'nothing stands after the end';
	my ($last) = slurp( $m->{log} ) =~ /(the node stops: .*give_up.*)/;
	like $last, qr/wal: flush of VLSN \d+: in flight.*look at it.*start the node/,
	  'it says what ended it, and what to do';
	unlike $last, qr/goes on by itself/, 'which it does not';
}
done_testing;
