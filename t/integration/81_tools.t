# The tools with a running node: nodelifectl's commands, nodelifestat's ways to
# show, nodelifebench's load and report, nodelifewal on what it wrote; the
# metrics page says what the region says.
use strict;
use warnings;
use JSON::PP ();
use Nodelife;
use Test::More;

my $n = Nodelife->new->start;
my ($port) = $n->addr('client') =~ /:(\d+)$/;

sub ctl { return $n->run( 'nodelifectl', '-r', $n->{run}, @_ ) }
sub look { return $n->run( 'nodelifestat', '-r', $n->{run}, @_ ) }

# Load.
my ( $code, $out, $err ) = $n->run( 'nodelifebench', '-p', $port, '-c', 20,
	'-P', 4, '-n', 20000, '-k', 1000, '-m',
	'set=4,get=4,del=1,setex=1,mset=1,ping=1', '-j', '-q' );
is $code, 0, "nodelifebench: $err";
my $bench = JSON::PP::decode_json($out);
is $bench->{errors}, 0, 'no errors' or diag $bench->{first_error};
cmp_ok $bench->{requests}, '>=', 20000, 'all requests';
ok $bench->{rate} > 0 && $bench->{latency_us}{p99} >= $bench->{latency_us}{p50},
  sprintf '%.0f requests/s, p99 %.0f us', $bench->{rate},
  $bench->{latency_us}{p99};
( $code, $out ) = $n->run( 'nodelifebench', '-p', 1, '-n', 1, '-q' );
is $code, 1, 'nodelifebench: nobody there';
( $code, undef, $err ) =
  $n->run( 'nodelifebench', '-H', 'no-such-host.invalid', '-n', 1, '-q' );
is $code, 1, 'nodelifebench: no such host';
like $err, qr/-H no-such-host\.invalid: (?!.*assign)/, 'said as it is';
( $code, undef, $err ) =
  $n->run( 'nodelifebench', '-p', $port, '-a', 'wrong', '-n', 1, '-q' );
is $code, 1, 'nodelifebench: a password that nobody asks for';
like $err, qr/-a: ERR .*password/, "the server's own words";
( $code, $out ) = $n->run( 'nodelifebench', '-p', $port, '-n', 500, '-k', 5,
	'-m', 'set=1,incr=1', '-j', '-q' );
is JSON::PP::decode_json($out)->{errors}, 0, 'numbers have keys of their own';

# Options alike.
for my $tool (qw(nodelifestat nodelifectl nodelifewal nodelifebench nodelifed)) {
	for my $option (qw(-h --help -V --version)) {
		( $code, $out, $err ) = $n->run( $tool, $option );
		is $code, 0, "$tool $option";
		like $out, $option =~ /h/i && $option !~ /V|version/ ? qr/^usage: $tool/ : qr/^$tool \d/,
		  'on standard output';
		is $err, '', 'and nothing else';
	}
	( $code, $out, $err ) = $n->run( $tool, '-%' );
	is $code, 64, "$tool: an unknown option";
	like $err, qr/^usage: $tool/m, 'with a usage';
}

# nodelifestat.
( $code, $out ) = look();
is $code, 0, 'the screen';
is scalar( grep { length > 79 } split /\n/, $out ), 0, 'fits 80 columns';
like $out, qr/^n1 in test   master, term 1 .* live, up /m, 'who and what';
( $code, $out ) = look( '0.05', 5 );
is scalar( split /\n/, $out ), 6, 'a header and five lines';
like $out, qr/\nM /, 'of a master';
( $code, $out ) = look( '-j', '0.05', 3 );
is scalar( grep { JSON::PP::decode_json($_)->{role} eq 'master' }
	  split /\n/, $out ), 3, 'three objects';
( $code, $out ) = look('-e');
like $out, qr/supervisor: boot begins/, 'events';
for ( [ '-w', 'nonsense' ], ['-x'], [ '-e', 5 ], [ '-t', 5 ], [ '-W', '-j' ],
	[ 0 ], [ 1, 0 ] )
{
	( $code, undef, $err ) = look(@$_);
	is $code, 64, "nodelifestat @$_: wrong usage";
	like $err, qr/^usage:/m, 'with a usage';
}
( $code, undef, $err ) = $n->run( 'nodelifestat', '-c', $n->{ini}, '-w',
	'gateway_enable' );
is $code, 0, "-c: $err";

# Counters in the region and in the metrics are the same, unless something goes
# on between the two looks.
my @moving = qw(wal_records wal_flushes writes store_applied);
my ( $s, $status, $page, %metric );
wait_until {
	$s = $n->stat;
	( $status, $page ) = $n->http('/metrics');
	%metric = $page =~ /^nodelife_(\w+?)_total(?:\{[^}]*\})? (\d+)/mg;
	my $again = $n->stat->{counters};
	!grep { $again->{$_} != $s->{counters}{$_} } @moving;
};
is $status, 200, '/metrics';
is_deeply [ grep { !exists $metric{$_} } sort keys %{ $s->{counters} } ], [],
  'every counter is a metric';
cmp_ok $s->{counters}{$_}, '>', 0, "$_ has moved"
  for @moving, qw(reads clients_accepted);
is $metric{$_}, $s->{counters}{$_}, "$_: the same in both" for @moving;
for (qw(wal_flush commit request_read request_write apply)) {
	my $h = $s->{histograms}{$_};
	ok $h->{count} > 0 && $h->{p50} <= $h->{p99} && $h->{p99} <= $h->{max},
	  "$_: a distribution";
}
is $s->{positions}{appended}, $s->{positions}{durable}, 'all is durable';
is $s->{positions}{committed}, $s->{positions}{durable}, 'and committed';
eventually { my $p = $n->stat->{positions}; $p->{applied} == $p->{committed} }
  'and applied';
is $n->stat->{key_count}, $n->client->cmd('DBSIZE'), 'key_count is DBSIZE';

# nodelifectl.
( $code, $out, $err ) = ctl('loglevel');
is $code, 0, "loglevel: $err";
like $out, qr/info/, 'info';
( $code, $out ) = ctl(qw(loglevel debug));
is $code, 0, 'loglevel debug';
( $code, $out, $err ) = ctl(qw(loglevel loud));
isnt $code, 0, 'loglevel loud';
like $err, qr/loud/, 'is refused by name';
( $code, $out ) = ctl('config');
like $out, qr/^segment_size = 64M/m, 'config';
( $code, $out ) = ctl('checkpoint');
like $out, qr/checkpoint at VLSN \d+/, 'checkpoint';
is $n->stat->{positions}{checkpointed}, $n->stat->{positions}{applied},
  'it holds everything';
$n->configure( node => { log_level => 'warn' }, wal => { segment_size => '32M' } );
( $code, $out, $err ) = ctl('reload');
is $code, 0, "reload: $err";
like $out, qr/log_level/, 'says what changed';
like $out, qr/restart: .*segment_size/, 'and what needs a restart';
open my $f, '>>', $n->{ini};
print $f "[nonsense]\n";
close $f;
( $code, $out, $err ) = ctl('reload');
isnt $code, 0, 'a bad file is refused';
( $code, $out, $err ) = $n->run( 'nodelifectl', '-c', $n->{ini}, 'reload' );
is $code, 1, 'the node is asked, though it is found by that file';
like $err, qr/refused: \S+nodelife\.ini:\d+: .*: correct the file .*reload again/,
  'and says what to do';
( $code, $out ) = $n->run( 'nodelifestat', '-c', $n->{ini} );
is $code, 0, 'nodelifestat finds it, too';
is $n->client->cmd('PING'), 'PONG', 'and harms nobody';
$n->configure( node => { run_dir => "$n->{run}2", name => 'n2' } );
( $code, $out ) = ctl('reload');
like $out, qr/needs a restart: \[node\] run_dir(?!.*\[node\] name.*fixed)/,
  'run_dir needs a restart';
like $out, qr/; fixed when the node was founded, .*: \[node\] name/,
  'what is fixed is told apart';
( $code, undef, $err ) = $n->run( 'nodelifectl', '-c', $n->{ini}, 'config' );
is $code, 1, 'nobody is where the changed file says, though one has the data';
like $err, qr/if run_dir was changed in \S+ while it ran, .*-r RUN_DIR/,
  'and what may be the cause';
$n->configure( node => { run_dir => $n->{run}, name => 'n1' } );
( $code, $out, $err ) = ctl( '-t', '0.5', 'config' );
is $code, 0, '-t takes a fraction';
( $code, $out, $err ) = ctl( '-t', '0', 'config' );
is $code, 64, 'but not 0';
( $code, undef, $err ) = ctl('nonsense');
isnt $code, 0, 'no such command';
( $code, $out, $err ) = $n->run( 'nodelifectl', '-r', '/nonexistent', 'config' );
isnt $code, 0, 'no such node';

# While it stops, probes say so; a worker that does not move makes time for it.
my $stuck = $n->workers->{vlsn};
kill 'STOP', $stuck;
( $code, $out, $err ) = ctl('drain');
is $code, 0, "drain: $err";
eventually {
	my ( $st, $body ) = $n->http('/readyz');
	$st == 503 && $body =~ /draining/;
} '/readyz: 503 draining';
kill 'CONT', $stuck;
is $n->wait_exit, 0, 'and it stops';
( $code, $out, $err ) = ctl('config');
isnt $code, 0, 'nodelifectl of a stopped node';

# What it wrote.
( $code, $out, $err ) = $n->run( 'nodelifewal', 'verify', $n->{data} );
is $code, 0, "nodelifewal verify: $err";
( $code, $out, $err ) = $n->run( 'nodelifewal', 'stat', '-j', $n->{data} );
is $code, 0, "nodelifewal stat -j: $err";
ok eval { JSON::PP::decode_json($out) }, 'is JSON';
( $code, $out ) =
  $n->run( 'nodelifewal', 'dump', '-j', '-f', 1, '-t', 5, $n->{data} );
my @vlsn = grep { $_ } map { JSON::PP::decode_json($_)->{vlsn} } split /\n/, $out;
is_deeply \@vlsn, [ 1 .. 5 ], 'dump -f -t';
done_testing;
