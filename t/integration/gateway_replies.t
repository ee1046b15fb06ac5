# Replies arrive whole and in order whatever the client does with its socket:
# reads late, reads in crumbs, sends everything before it reads anything, stops
# sending right after its last request; with writes, reads and transactions
# mixed, so that commands park and are taken up again.
use strict;
use warnings;
use IO::Socket::INET;
use IO::Socket::UNIX;
use Nodelife;
use POSIX ();
use Socket qw(SOL_SOCKET SO_RCVBUF SHUT_WR);
use Test::More;

my $seed = $ENV{SEED} // int( rand 1e9 );
diag "SEED=$seed";
srand $seed;

my $n = Nodelife->new;
$n->configure( listen => { client_unix => "$n->{run}/client.sock" } );
$n->start;
my $c = $n->client;
my $gateway = $n->workers->{gateway0};

sub enc { return Nodelife::Client::encode(@_) }

# Sends all of $out while it reads at most $crumb bytes at a time, and only
# while $greedy allows; ends its side if asked. What came back.
sub talk {
	my ( $out, $crumb, $lazy, $half_close, $rcvbuf ) = @_;
	my $s = IO::Socket::INET->new( PeerAddr => $n->addr('client') )
	  or die "connect: $@";
	setsockopt $s, SOL_SOCKET, SO_RCVBUF, $rcvbuf if $rcvbuf;
	$s->blocking(0);
	my ( $in, $sent, $last ) = ( '', 0, now() );
	while ( now() < $last + 60 ) {
		my $did = 0;
		if ( $sent < length $out ) {
			my $w = syswrite $s, $out, 65536, $sent;
			$sent += $w, $did = 1 if $w;
			shutdown $s, SHUT_WR
			  if $half_close && $sent == length $out;
		}
		if ( !$lazy || $sent == length $out || !$did ) {
			my $r = sysread $s, $in, $crumb, length $in;
			return $in if defined $r && $r == 0;
			$did = 1 if $r;
		}
		if   ($did) { $last = now() }
		else        { select undef, undef, undef, 0.001 }
	}
	return "$in<timeout>";
}

# As many clients' pipelines do: all is written, then all is read.
{
	my $v = 'v' x 20;
	my ( $count, $sent, $in ) = ( 200_000, 0, '' );
	my $out = enc(qw(GET small)) x $count;
	my $s   = IO::Socket::UNIX->new( Peer => "$n->{run}/client.sock" )
	  or die "connect: $!";
	my $end = now() + 60;
	$c->cmd( 'SET', 'small', $v );
	$s->blocking(0);
	while ( $sent < length $out && now() < $end ) {
		my $w = syswrite $s, $out, 1 << 20, $sent;
		if   ($w) { $sent += $w }
		else      { select undef, undef, undef, 0.001 }
	}
	$s->blocking(1);
	is $sent, length $out, 'a pipeline is taken before a reply is read';
	my $want = length("\$20\r\n$v\r\n") * $count;
	while ( $sent == length $out && length $in < $want ) {
		last if !sysread $s, $in, 1 << 20, length $in;
	}
	ok $in eq "\$20\r\n$v\r\n" x $count, 'and each reply is there';
}

$c->cmd( 'SET', 'big', 'b' x 70_000 );
$c->cmd( 'SET', 'mid', 'm' x 5_000 );
$c->cmd( 'SET', 'n', 0 );

# A script of commands and what must come back, ending in QUIT.
sub script {
	my ($count) = @_;
	my ( $out, $want, $n ) = ( '', '', $c->cmd(qw(GET n)) );
	for my $i ( 1 .. $count ) {
		my $k = int rand 8;
		if ( $k == 0 ) {
			$out .= enc(qw(GET big));
			$want .= "\$70000\r\n" . 'b' x 70_000 . "\r\n";
		} elsif ( $k == 1 ) {
			$out .= enc(qw(GET mid));
			$want .= "\$5000\r\n" . 'm' x 5_000 . "\r\n";
		} elsif ( $k == 2 ) {
			$n++;
			$out  .= enc(qw(INCR n));
			$want .= ":$n\r\n";
		} elsif ( $k == 3 ) {
			$out .= enc( 'SET', "k$i", $i ) . enc( 'GET', "k$i" );
			$want .= "+OK\r\n\$" . length($i) . "\r\n$i\r\n";
		} elsif ( $k == 4 ) {
			$out .= enc('MULTI') . enc( 'SET', 'x', $i )
			  . enc(qw(GET x)) . enc('EXEC');
			$want .= "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n\$"
			  . length($i) . "\r\n$i\r\n";
		} elsif ( $k == 5 ) {
			$out  .= enc( 'ECHO', $i );
			$want .= '$' . length($i) . "\r\n$i\r\n";
		} else {
			$out  .= enc( 'SET', "s$i", 'v' x rand 300 );
			$want .= "+OK\r\n";
		}
	}
	return ( $out, $want );
}

for my $case (
	[ 'reads as it comes', 400, 65536, 0 ],
	[ 'reads in crumbs',   60,  777,   0 ],
	[ 'reads at the end',  400, 65536, 1 ],
	[ 'a small window',    12,  3000,  1, 4096 ],
	[ 'many small ones',   3000, 65536, 1 ],
  )
{
	my ( $name, $count, $crumb, $lazy, $rcvbuf ) = @$case;
	for my $half ( 0, 1 ) {
		my ( $out, $want ) = script($count);
		$out .= enc('QUIT'), $want .= "+OK\r\n" if !$half;
		my $in = talk( $out, $crumb, $lazy, $half, $rcvbuf );
		ok $in eq $want, "$name, " . ( $half ? 'half-closed' : 'QUIT' )
		  . ': ' . length($want) . ' bytes'
		  or diag 'got ', length($in), ' bytes, ends: ',
		  substr $in, -60;
	}
}

# Ten clients at once.
my @kids;
for my $i ( 1 .. 10 ) {
	my $pid = fork // die;
	if ( $pid == 0 ) {
		Nodelife::die_with_parent();
		my ( $out, $want ) = ( '', '' );
		for ( 1 .. 500 ) {
			$out .= enc( 'SET', "c$i", $_ ) . enc( 'GET', "c$i" )
			  . enc( 'INCR', "c$i" );
			$want .= "+OK\r\n\$" . length($_) . "\r\n$_\r\n:"
			  . ( $_ + 1 ) . "\r\n";
		}
		$out .= enc('QUIT');
		my $in = talk( $out, 65536, $i % 2 );
		POSIX::_exit( $in eq "$want+OK\r\n" ? 0 : 1 );
	}
	push @kids, $pid;
}
my $bad = 0;
for (@kids) { waitpid $_, 0; $bad++ if $? }
is $bad, 0, 'ten clients read their own writes, in order';

# SCAN inside MULTI reads here, so it waits for what its client wrote before;
# alone and beside a write. One that ends before the last key says nothing; in
# a small table with few keys the first look, which it has on any machine, gets
# to the end every other time at least.
my $small = Nodelife->new(
	store => { table_size => '16M', max_value => '1M' } )->start;
$c = $small->client;
my ( $blind, $whole ) = ( 0, 0 );
for my $i ( 1 .. 50 ) {
	for my $with ( [], [ [ 'SET', 'other', $i ] ] ) {
		my $key  = "scan$i-" . @$with;
		my @all  = $c->pipeline( ['FLUSHALL'], [ 'SET', $key, 1 ], ['MULTI'],
			@$with, [ 'SCAN', 0, 'COUNT', 10000, 'MATCH', $key ], ['EXEC'] );
		my ( $cursor, $found ) = @{ $all[-1][-1] };
		$whole++ if $cursor eq '0';
		$blind++ if $cursor eq '0' && "@$found" ne $key;
	}
}
is $blind, 0, 'SCAN inside MULTI sees the writes before it';
cmp_ok $whole, '>', 0, "$whole of 100 got to the end";
is $small->stop, 0, 'stopped';
$c = $n->client;

# More keys than a transaction may watch are refused at once.
isa_ok $c->cmd( 'WATCH', map { "w$_" } 1 .. 70_000 ), 'Nodelife::Error',
  'too many watched keys';
is $c->cmd( 'WATCH', map { "w$_" } 1 .. 60_000 ), 'OK', 'many watched keys';
is $c->cmd('UNWATCH'), 'OK', 'forgotten';

# An answer longer than max_output is an error in its place, and what comes of it
# in pieces is held once.
{
	my $two = Nodelife->new(
		listen => { max_output => '64K' }, store => { max_value => '64K' } )->start;
	my $t     = $two->client;
	my $error = qr/\AERR the reply is longer than \[listen\] max_output/;
	my $v     = 'v' x 65536;
	is $t->cmd( 'SET', $_, $v ), 'OK', "$_ of 64 KiB" for 'a', 'b';
	is $t->cmd(qw(GET a)), $v, 'one that just fits is sent';
	is $t->cmd( 'SET', 'a', $v, 'GET' ), $v, 'by who writes, too';
	$t->cmd( 'SET', 'c', $v );
	is $t->cmd(qw(GETDEL c)), $v, 'or deletes';
	like $t->cmd(qw(MGET a b)), $error, 'MGET of more';
	my @r = $t->pipeline( ['MULTI'], [qw(GET a)], [qw(GET b)], ['EXEC'] );
	like $r[-1], $error, 'a transaction that reads more';
	@r = $t->pipeline( ['MULTI'], [qw(INCR n)], [qw(MGET a b)], [qw(ECHO x)], ['EXEC'] );
	is $r[-1] && ref $r[-1] eq 'ARRAY' ? $r[-1][0] : $r[-1], 1,
	  'one that writes keeps what it did';
	like $r[-1][1], qr/max_output/, 'and has an error in the place';
	like $t->cmd(qw(MGET a b)), $error, 'as often as it is asked';
	@r = $t->pipeline( map { [qw(GET a)] } 1 .. 40 );
	is scalar( grep { $_ eq $v } @r ), 40,
	  'many that fit are sent as the client reads';
	$t->pipeline( map { [ 'SET', sprintf( '%0500d', $_ ), '' ] } 1 .. 1000 );
	my ( $cursor, %seen ) = (0);
	do {
		@r = $t->cmd( 'SCAN', $cursor, 'COUNT', 10_000 );
		$cursor = ref $r[0] ? $r[0][0] : 0;
		$seen{$_}++ for ref $r[0] ? @{ $r[0][1] } : ();
	} while ( $cursor ne '0' );
	is keys %seen, 1003, 'SCAN makes shorter steps';
	is $t->cmd('PING'), 'PONG', 'the same connection all along';
	is $two->stop, 0, 'stopped';
}
{
	my ( $h, $gets ) = ( $n->client, 12 );
	is $c->cmd( 'SET', 'long', 'l' x ( 16 << 20 ) ), 'OK', '16 MiB';
	$h->raw( enc('MULTI') . enc(qw(GET long)) x $gets . enc(qw(INCR x1))
		  . enc('EXEC') );
	my $r = ( map { scalar $h->reply } 1 .. $gets + 3 )[-1];
	ok ref $r eq 'ARRAY', 'a transaction whose answer is far too long';
	is $c->cmd(qw(GET x1)), 1, 'it was carried out';
	my ($peak) = slurp( '/proc/' . $n->workers->{gateway0} . '/status' ) =~
	  /^VmHWM:\s+(\d+)/m;
	ok $peak < 160_000 || build_dir() =~ /san$/, "the gateway took $peak kB";
}
is $n->workers->{gateway0}, $gateway, 'the same gateway all along';
is $c->cmd('PING'), 'PONG', 'served as ever';
is $n->stop, 0, 'stopped';
done_testing;
