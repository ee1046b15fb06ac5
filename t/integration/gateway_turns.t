# One client's long command holds nobody up: reads of very many keys, long
# transactions, patterns and pipelines made to be slow. What takes many turns
# is still of one moment, beside a writer, checkpoints and FLUSHALL.
use strict;
use warnings;
use Nodelife;
use POSIX ();
use Test::More;
use Time::HiRes ();

my $n = Nodelife->new( store => { checkpoint_wal => '4M' } )->start;
my $c = $n->client;
my $many = 200_000;

sub enc { return Nodelife::Client::encode(@_) }

for ( my $i = 0 ; $i < $many ; $i += 10_000 ) {
	is $c->cmd( 'MSET', map { ( "k$_", "v$_" ) } $i .. $i + 9_999 ), 'OK',
	  '10000 keys' if $i == 0;
	$c->cmd( 'MSET', map { ( "k$_", "v$_" ) } $i .. $i + 9_999 ) if $i;
}
is $c->cmd('DBSIZE'), $many, "$many keys";

# Sends it all, and reads as many replies: what $say makes of them.
sub talk {
	my ( $bytes, $count, $say ) = @_;
	my $h = $n->client;
	$h->{timeout} = 120;
	my $sender = fork // die;
	if ( $sender == 0 ) {
		Nodelife::die_with_parent();
		$h->raw($bytes);
		POSIX::_exit(0);
	}
	my $said = $say->( map { scalar $h->reply } 1 .. $count );
	waitpid $sender, 0;
	return $said;
}

# How long the gateway has been running on a CPU.
sub busy {
	my ($ns) = split ' ', slurp( '/proc/' . $n->workers->{gateway0} . '/schedstat' ) // 0;
	return $ns / 1e9;
}

# So many clients do that, while another one is served: what one of them had
# to say, the longest wait of the other, how long it took. A wait in which the
# gateway did not run was not for the gateway.
sub beside {
	my ( $clients, @talk ) = @_;
	pipe my $in, my $out or die;
	my %kid;
	for my $i ( 1 .. $clients ) {
		my $pid = fork // die;
		if ( $pid == 0 ) {
			Nodelife::die_with_parent();
			my $said = talk(@talk);
			syswrite $out, $said if $i == 1;
			POSIX::_exit(0);
		}
		$kid{$pid} = 1;
	}
	close $out;
	my ( $worst, $begin ) = ( 0, Time::HiRes::time() );
	while (%kid) {
		my ( $t, $b ) = ( Time::HiRes::time(), busy() );
		my $r    = $c->cmd('PING');
		my $took = Time::HiRes::time() - $t;
		my $ran  = busy() - $b;
		$took  = $ran  if $ran < $took;
		$worst = $took if $took > $worst;
		die "PING: $r" if $r ne 'PONG';
		delete $kid{ waitpid -1, POSIX::WNOHANG() };
	}
	my $all = Time::HiRes::time() - $begin;
	local $/;
	return ( readline($in) // '', $worst, $all );
}

# A machine that does other things, too, makes one wait as well (the gateway
# runs on while we do not), but not every time.
sub no_hold {
	my ( $name, $want, $bytes, $count, $say, $clients ) = @_;
	my ( $got, $worst, $all );
	for ( 1 .. 10 ) {
		( $got, $worst, $all ) =
		  beside( $clients // 1, $bytes, $count, $say );
		last if $got ne $want || $worst < 0.05 || $worst < $all / 8;
	}
	is $got, $want, $name;
	ok $worst < 0.1 || $worst < $all / 5, "$name: others are served beside it";
	diag sprintf '%s: %.0f ms, a PING beside it %.1f ms at most', $name,
	  $all * 1e3, $worst * 1e3;
	return;
}

my $last = sub { "$_[-1]" };
my @keys = map { "k$_" } 0 .. $many - 1;
my @million = ( @keys, map { "none$_" } 1 .. 1_000_000 - $many );

no_hold 'EXISTS of a million keys', $many, enc( 'EXISTS', @million ), 1, $last;
no_hold 'MGET of as many', "$many, all right",
  enc( 'MGET', @million ), 1, sub {
	my ($r) = @_;
	my $there = grep { defined } @$r;
	my $right = grep { ( $r->[$_] // '' ) eq "v$_" } 0 .. $many - 1;
	return "$there, " . ( $right == $many ? 'all right' : "$right right" );
  };
no_hold 'many EXISTS in a row', $many * 10, enc( 'EXISTS', @keys ) x 10, 10,
  sub { my $sum = 0; $sum += $_ for @_; return $sum };
no_hold 'an inline one', 5000,
  join( ' ', 'EXISTS', map { "k$_" } 1 .. 5000 ) . "\r\n", 1, $last;
no_hold 'a transaction of long reads', "$many k7 v1",
  enc('MULTI') . enc( 'EXISTS', @keys ) . enc( 'ECHO', 'k7' )
  . enc( 'MGET', reverse @keys[ 1 .. 100_000 ] ) . enc('EXEC'), 5,
  sub { my $r = $_[-1]; "$r->[0] $r->[1] $r->[2][-1]" };
no_hold 'a transaction of many reads', '60000 v9',
  enc('MULTI') . enc( 'GET', 'k9' ) x 60_000 . enc('EXEC'), 60_002,
  sub { my $r = $_[-1]; scalar(@$r) . " $r->[-1]" };
no_hold 'a transaction of many SCANs', '2000 ARRAY',
  enc('MULTI') . enc( 'SCAN', 0, 'COUNT', 10_000, 'MATCH', 'none' ) x 2000
  . enc('EXEC'), 2002, sub { my $r = $_[-1]; @$r . ' ' . ref $r->[-1] };
no_hold 'many watched keys', 'v5',
  enc( 'WATCH', @keys[ 0 .. 60_000 ] ) . enc('MULTI') . enc( 'GET', 'k5' )
  . enc('EXEC'), 4, sub { $_[-1][0] };
no_hold 'SCAN after SCAN', 'ARRAY',
  enc( 'SCAN', 0, 'COUNT', 10_000, 'MATCH', 'none' ) x 300, 300,
  sub { ref $_[-1] };
no_hold 'KEYS after KEYS', 'ARRAY', enc( 'KEYS', 'none' ) x 5, 5,
  sub { ref $_[-1] };
no_hold 'KEYS of all', $many, enc(qw(KEYS *)), 1, sub { scalar @{ $_[0] } };
no_hold 'a slow pattern', 'ARRAY',
  enc( 'KEYS', '*[' . 'a' x 1000 . ']*x' ), 1, sub { ref $_[-1] };
no_hold 'nothing but small ones', 'OK',
  enc(qw(CLIENT REPLY OFF)) . enc( 'GET', 'k1' ) x 100_000
  . enc(qw(CLIENT REPLY ON)), 1, $last, 4;

# Limits that keep a command from being many.
my %refused = (
	'a pattern' => [ [ 'KEYS', 'x' x 1025 ], qr/^ERR pattern is longer/ ],
	"SCAN's pattern" =>
	  [ [ 'SCAN', 0, 'MATCH', 'x' x 1025 ], qr/^ERR pattern is longer/ ],
	'words of INFO' => [ [ 'INFO', ('all') x 1024 ], qr/^ERR too many arg/ ],
	'words of CLIENT LIST' =>
	  [ [ qw(CLIENT LIST ID), (1) x 1022 ], qr/^ERR too many arg/ ],
);
for my $what ( sort keys %refused ) {
	my ( $cmd, $like ) = @{ $refused{$what} };
	like $c->cmd(@$cmd), $like, "too long: $what";
}
is ref $c->cmd( 'KEYS', 'x' x 1024 ), 'ARRAY', 'as long as a pattern may be';
my @sections = $c->cmd( 'INFO', ('clients') x 1000 ) =~ /^# /mg;
is @sections, 1, 'INFO gives a section once';

# The store is not held up by a transaction, either.
$c->cmd('MULTI');
$c->cmd( 'SET', 'a', 1 );
$c->cmd( 'KEYS', 'none*' ) for 1 .. 3;
$c->cmd('RANDOMKEY') for 1 .. 2;
my $r = $c->cmd('EXEC');
is $r->[0], 'OK', 'what it writes is written';
like $r->[1], qr/^ERR too many keys to walk/, 'KEYS over too many keys is not';
$c->cmd('MULTI');
for ( 1 .. 12 ) {
	$r = $c->cmd( 'EXISTS', ('k1') x 90_000 );
	last if Nodelife::Error::is($r);
}
like $r, qr/^ERR the transaction is too long/,
  'a transaction of more than a million arguments is refused';
like $c->cmd('EXEC'), qr/^EXECABORT/, 'and does nothing';

# Who has said its last byte still gets the answer, however many turns it took.
for ( [ MGET => @keys ], [ EXISTS => @keys ] ) {
	my ( $name, $got ) = ( $_->[0], 0 );
	for my $try ( 1 .. 2 ) {
		my $h = $n->client;
		$h->raw( enc(@$_) );
		shutdown $h->{s}, 1;
		my $r = $h->reply;
		$got += ref $r eq 'ARRAY' ? @$r : $r =~ /^\d+$/ ? $r : 0;
	}
	is $got, 2 * $many, "$name of a client that sends no more";
}
{
	my $h  = $n->client;
	my $id = $h->cmd(qw(CLIENT ID));
	$h->raw( enc('MULTI') . enc( qw(CLIENT KILL ID), $id, qw(SKIPME no) )
		  . enc( 'EXISTS', @keys ) . enc('EXEC') );
	my @r = map { scalar $h->reply } 1 .. 4;
	is ref $r[3] eq 'ARRAY' && "@{ $r[3] }", "1 $many",
	  'EXEC that kills its own client is answered';
	is $h->cmd('PING'), 'CLOSED', 'and then it is closed';
}

# Nor by what was deleted: it is walked over, though it is not counted.
$c->cmd( 'DEL', @keys, 'a' );
my @exec = ( ['MULTI'], [qw(SET b 2)], ( [qw(KEYS none)] ) x 300, ['EXEC'] );
$r = ( $c->pipeline(@exec) )[-1];
my $walks = grep { ref eq 'ARRAY' } @$r;
ok $walks > 0 && $walks < 100, "a few KEYS walk: $walks";
is scalar( grep { Nodelife::Error::is($_) && /^ERR too many keys to walk/ } @$r ),
  300 - $walks, 'so many do not';
no_hold 'KEYS over what was deleted', 'ARRAY', enc(qw(KEYS none)) x 10, 10,
  sub { ref $_[-1] };
no_hold 'RANDOMKEY among what was deleted', 'b', enc('RANDOMKEY') x 20, 20, $last;
$c->cmd('MULTI');
$c->cmd('RANDOMKEY');
is_deeply $c->cmd('EXEC'), ['b'], 'in a transaction, too';

my @none = @million[ $many .. $#million ];
no_hold 'DEL of very many keys', 0, enc( 'DEL', @none ), 1, $last;
no_hold 'a transaction of it', 0,
  enc('MULTI') . enc( 'DEL', @none ) . enc('EXEC'), 3, sub { $_[-1][0] };

# One moment: a writer gives all keys the same value in one record, and now
# and then removes all. A reader finds them equal, or all of them gone.
my $some = 20_000;
$c->cmd('FLUSHALL');
my $writer = fork // die;
if ( $writer == 0 ) {
	Nodelife::die_with_parent();
	my $w = $n->client;
	for my $i ( 1 .. 1e9 ) {
		$w->cmd( 'MSET', map { ( "m$_", $i ) } 1 .. $some );
		$w->cmd('FLUSHALL') if $i % 10 == 0;
	}
	POSIX::_exit(0);
}
my @m = map { "m$_" } 1 .. $some;
my ( $torn, $nothing, $error ) = ( 0, 0, '' );

sub one_value {
	my %seen = map { ( $_ // 'nil' ) => 1 } @_;
	return keys(%seen) == 1 ? ( keys %seen )[0] : 'torn';
}
for ( 1 .. 10 ) {
	my $mget = $c->cmd( 'MGET', @m );
	if   ( ref $mget ne 'ARRAY' ) { $error = "$mget" }
	else                          { $torn++ if one_value(@$mget) eq 'torn' }
	my $exists = $c->cmd( 'EXISTS', @m );
	$torn++ if $exists != 0 && $exists != $some;
	my @x = $c->pipeline( ['MULTI'], [ 'MGET', @m ], [ 'EXISTS', @m ],
		[ 'GET', 'm7' ], ['DBSIZE'], [ 'MGET', reverse @m ], ['EXEC'] );
	my $x = $x[-1];
	$error = "$x", next if ref $x ne 'ARRAY';
	my $value = one_value( @{ $x->[0] }, $x->[2], @{ $x->[4] } );
	my $count = $value eq 'nil' ? 0 : $some;
	$torn++ if $value eq 'torn' || $x->[1] != $count;
	$torn++ if $value eq 'nil' && $x->[3] != 0;
	$nothing++ if $value eq 'nil';
}
is $torn,  0,  'what is read over many turns is of one moment';
is $error, '', 'and is answered';
diag "$nothing of 10 found nothing";

# A client that leaves in the middle takes its command along.
for ( 1 .. 4 ) {
	my $h = $n->client;
	$h->raw( enc( 'MGET', @million[ 0 .. 300_000 ] ) . enc('PING') );
	$h->close;
	$h = $n->client;
	$h->raw( enc('MULTI') . enc( 'EXISTS', @keys ) . enc('EXEC') );
	$h->close;
}
is $c->cmd('PING'), 'PONG', 'clients that leave in the middle';
kill 'KILL', $writer;
waitpid $writer, 0;
is $n->stat->{workers}[$_]{restarts}, 0, 'no worker died' for 0 .. 6;
is $n->stop, 0, 'stopped';
done_testing;
