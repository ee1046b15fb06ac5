# kill -9 of a random worker, or of the whole node, under load, ROUNDS times:
# every acknowledged write is there, no half of a MULTI, VLSNs are dense, and
# the log is whole but for what a crash may tear. SEED replays the choices.
#
# Each writer has a connection and keys of its own, so what must be there is
# known: a counter is what INCR last answered, or one more; the two keys of a
# MULTI are equal; keys written in a pipeline are there as far as answered. A
# request whose client is gone may still be done, once, a moment later.
use strict;
use warnings;
use JSON::PP ();
use Nodelife;
use POSIX ();
use Test::More;

my $rounds  = $ENV{ROUNDS} // 12;
my $seed    = $ENV{SEED}   // int( rand 1e9 );
my $writers = 4;
diag "SEED=$seed ROUNDS=$rounds";
srand $seed;

# One writer until its connection breaks or it is told to stop; what was
# acknowledged goes to the pipe.
sub writer {
	my ( $n, $w, $state, $out ) = @_;
	my $stop = 0;
	local $SIG{TERM} = sub { $stop = 1 };
	srand $$;
	my $c = eval { $n->client } or POSIX::_exit(1);
	my $broken = sub { !defined $_[0] || Nodelife::Error::is( $_[0] ) };
	while ( !$stop ) {
		my $what = int rand 10;
		if ( $what < 4 ) {
			my $r = $c->cmd( 'INCR', "ctr:$w" );
			if ( $broken->($r) ) { $state->{error} = "$r"; last }
			$state->{ctr} = $r;
		}
		elsif ( $what < 6 ) {
			# A number is sent once: who never heard of its fate takes another.
			my $v = ++$state->{multi_sent};
			my @r = $c->pipeline( ['MULTI'], [ 'SET', "a:$w", $v ],
				[ 'INCR', "m:$w" ], [ 'SET', "b:$w", $v ], ['EXEC'] );
			if ( ref $r[4] ne 'ARRAY' ) { $state->{error} = "$r[4]"; last }
			$state->{multi} = $v;
			$state->{m}     = $r[4][1];
		}
		elsif ( $what < 9 ) {
			my $k = 1 + int rand 40;
			my $from = $state->{keys};
			$state->{keys_sent} = $from + $k;
			my @r = $c->pipeline( map { [ 'SET', "k:$w:$_", "v$_" ] }
				  $from + 1 .. $from + $k );
			for (@r) {
				if ( $broken->($_) ) { $state->{error} = "$_"; last }
				$state->{keys}++;
			}
			last if $state->{error};
		}
		else {
			my $v = ++$state->{big_sent};
			my $r = $c->cmd( 'SET', "big:$w",
				sprintf( '%010d', $v ) x ( 1 + rand 60_000 ) );
			if ( $broken->($r) ) { $state->{error} = "$r"; last }
			$state->{big} = $v;
		}
		$state->{ops}++;
	}
	print $out JSON::PP::encode_json($state);
	close $out;
	POSIX::_exit(0);
}

my $n = Nodelife->new(
	wal     => { segment_size => '4M' },
	store   => { checkpoint_wal => '4M', table_size => '16M',
		max_value => '2M' },
	restart => {
		limit       => 1000,
		backoff_min => '1ms',
		backoff_max => '5ms',
	},
	shutdown => { listen_hold => '60s' },
);
$n->configure( node => { gateways => 2 } ) if $seed % 2;
$n->start;
my @state = map { {
	ctr => 0, m => 0, multi => 0, multi_sent => 0, keys => 0, keys_sent => 0,
	big => 0, big_sent => 0, ops => 0, base => 0,
} } 1 .. $writers;

sub load_begin {
	my @w;
	for my $w ( 0 .. $writers - 1 ) {
		pipe my $in, my $out or die "pipe: $!";
		$n->addr('client');
		my $pid = fork // die "fork: $!";
		if ( $pid == 0 ) {
			Nodelife::die_with_parent();
			close $in;
			writer( $n, $w, { %{ $state[$w] }, error => '', ops => 0 }, $out );
		}
		close $out;
		push @w, { pid => $pid, in => $in };
	}
	return @w;
}

sub load_end {
	my @w = @_;
	my $ops = 0;
	kill 'TERM', map { $_->{pid} } @w;
	for my $w ( 0 .. $#w ) {
		local $/;
		my $text = readline $w[$w]{in};
		waitpid $w[$w]{pid}, 0;
		next if !length( $text // '' );
		$state[$w] = JSON::PP::decode_json($text);
		$ops += $state[$w]{ops};
		fail "writer $w: $state[$w]{error}"
		  if $state[$w]{error} !~ /^(?:|CLOSED|ERR .*|UNKNOWNOUTCOME.*)$/;
	}
	return $ops;
}

# What was found becomes what must be there from now on.
sub check {
	my $c = $n->client;
	my @bad;
	for my $w ( 0 .. $writers - 1 ) {
		my $s = $state[$w];
		my ( $ctr, $a, $b, $m, $big ) =
		  map { $_ // 0 } @{ $c->cmd( 'MGET', "ctr:$w", "a:$w", "b:$w",
			  "m:$w", "big:$w" ) };
		push @bad, "ctr:$w is $ctr, answered $s->{ctr}"
		  if $ctr < $s->{ctr} || $ctr > $s->{ctr} + 1;
		push @bad, "half a MULTI: a:$w is $a, b:$w is $b" if $a != $b;
		push @bad, "m:$w is $m, answered $s->{m}"
		  if $m < $s->{m} || $m > $s->{m} + 1;
		push @bad, "a:$w is $a, answered $s->{multi}"
		  if $a < $s->{multi} || $a > $s->{multi_sent};
		my $v = $big ? substr $big, 0, 10 : 0;
		push @bad, "big:$w is $v, answered $s->{big}"
		  if $v < $s->{big} || $v > $s->{big_sent};
		push @bad, "big:$w is torn" if $big && $big !~ /^(?:\Q$v\E)+$/;
		my $from = $s->{base} + 1;
		my $gap  = 0;
		while ( $from <= $s->{keys_sent} ) {
			my $to = $from + 499;
			$to = $s->{keys_sent} if $to > $s->{keys_sent};
			my $r = $c->cmd( 'MGET', map { "k:$w:$_" } $from .. $to );
			for my $i ( $from .. $to ) {
				my $got = $r->[ $i - $from ];
				push @bad, "k:$w:$i is lost" if !defined $got && $i <= $s->{keys};
				push @bad, "k:$w:$i is there, one before it is not"
				  if defined $got && $gap;
				push @bad, "k:$w:$i has another's value"
				  if defined $got && $got ne "v$i";
				$gap = 1 if !defined $got;
				$s->{keys} = $i if defined $got && !$gap;
			}
			$from = $to + 1;
		}
		( @$s{qw(ctr multi m base keys_sent big)} ) =
		  ( $ctr, $a, $m, $s->{keys}, $s->{keys}, $v + 0 );
	}
	$c->close;
	return @bad;
}

sub serving {
	my ($before) = @_;
	return wait_until {
		my $s = $n->fresh && $n->stat or return 0;
		return 0 if $s->{phase} ne 'gateway_enable' || !$s->{can_read};
		return 0 if grep { $_->{state} ne 'running' } @{ $s->{workers} };
		$before->($s);
	};
}

my $total = 0;
for my $round ( 1 .. $rounds ) {
	my @w = load_begin();
	my $s = $n->stat;
	my $records = $s->{counters}{wal_records};
	my $more    = int rand 3000;
	wait_until {
		my $now = $n->stat or return 0;
		$now->{counters}{wal_records} >= $records + 200 + $more;
	} or diag 'load is slow';
	my %workers = %{ $n->workers };
	my @names   = ( sort( keys %workers ), 'node', 'node' );
	my $victim  = $names[ rand @names ];
	my $name    = "round $round: kill -9 of $victim";
	if ( $victim eq 'node' ) {
		$n->kill9;
		$total += load_end(@w);
		my ( $code, $out, $err ) = $n->run( 'nodelifewal', 'verify', $n->{data} );
		ok $code == 0 || $code == 1, "$name: the log verifies ($code)"
		  or diag "$out$err";
		$n->start;
	}
	else {
		my $pid = $workers{$victim};
		kill 'KILL', $pid;
		wait_until { !-e "/proc/$pid" || Nodelife::zombie($pid) };
		# Some load goes on over the restart of a worker.
		serving( sub { ( $n->workers->{$victim} // $pid ) != $pid } )
		  or diag "$name: does not serve again";
		$total += load_end(@w);
		serving( sub { 1 } );
	}
	delete $n->{addr};
	my @bad = check();
	is scalar @bad, 0, "$name: nothing is lost or torn"
	  or do {
		diag join "\n", @bad[ 0 .. ( $#bad < 9 ? $#bad : 9 ) ];
		diag substr slurp( $n->{log} ), -3000;
		last;
	  };
}
diag "$total operations of writers were answered";
cmp_ok $total, '>', $rounds * 20, 'there was load';

# Everything once more, from the first key on.
$_->{base} = 0 for @state;
is_deeply [ check() ], [], 'all keys of all rounds are there';
is $n->stop, 0, 'stopped';
my ( $code, $out, $err ) = $n->run( 'nodelifewal', 'verify', $n->{data} );
is $code, 0, 'a log that was closed in order verifies' or diag "$out$err";
( $code, $out ) = $n->run( 'nodelifewal', 'dump', '-j', $n->{data} );
my ( $last, $gaps ) = ( undef, 0 );
for ( split /\n/, $out ) {
	my ($vlsn) = /"vlsn":\s*(\d+)/ or next;
	next if !$vlsn;
	$gaps++ if defined $last && $vlsn != $last + 1;
	$last = $vlsn;
}
ok defined $last, "records up to $last";
is $gaps, 0, 'VLSNs are dense';
done_testing;
