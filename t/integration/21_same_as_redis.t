# Random commands give the replies that redis-server gives, errors included,
# alone, pipelined and inside MULTI. SEED replays, COMMANDS sets how many.
# Replies that depend on the clock may differ by what a run takes.
use strict;
use warnings;
use IO::Socket::INET;
use IO::Socket::UNIX;
use Nodelife;
use POSIX ();
use Socket qw(SHUT_WR);
use Test::More;

plan skip_all => 'no redis-server here to compare with'
  if system('command -v redis-server >/dev/null 2>&1') != 0;

my $seed  = $ENV{SEED} // int( rand 1e9 );
my $count = $ENV{COMMANDS} // 20000;
diag "SEED=$seed";
srand $seed;

my $n = Nodelife->new->start;
my $sock = "$n->{dir}/redis.sock";
my $pid = fork // die "fork: $!";
if ( $pid == 0 ) {
	Nodelife::die_with_parent();
	open STDOUT, '>', '/dev/null';
	exec( 'redis-server', '--port', 0, '--unixsocket', $sock, '--save', '',
		'--dir', $n->{dir} )
	  or POSIX::_exit(127);
}
END {
	local $?;
	kill( 'KILL', $pid ), waitpid( $pid, 0 ) if $pid;
}
wait_until { -S $sock } or BAIL_OUT 'redis-server does not start';

my ( $ours, $theirs ) = ( $n->client, Nodelife::Client->new($sock) );

sub pick { return $_[ rand @_ ] }

my @keys = ( ( map { "k$_" } 0 .. 11 ), '', "b\0\n", 'K0', 'x' x 300 );
sub key { return pick(@keys) }

sub value {
	return pick(
		'', 'abc', '1', '-1', '10', '9223372036854775807',
		'-9223372036854775808', '3.5', '1e3', '007', ' 1', '1 ', 'nan',
		int( rand 1000 ), 'v' x int( rand 200 ), "\0\r\n\xff", '+5'
	);
}

sub number {
	return pick( 0, 1, -1, 5, -7, 100, '9223372036854775807',
		'-9223372036854775808', '9223372036854775808', 'x', '', '1.5', '1e2',
		int( rand 20 ) - 10 );
}
sub seconds { return pick( 100, 1000, 5000, 0, -1, 'x', '9223372036854775807' ) }
sub millis { return pick( 100000, 2000000, 0, -5, 'y' ) }
sub at { return pick( 4102444800, 4102444801, 1, 0, -1, 'z' ) }
sub at_ms { return pick( 4102444800001, 4102444801500, 1, -1, 'z' ) }

sub set_options {
	my @o;
	push @o, pick( [], [], [qw(EX 100)], [qw(PX 200000)],
		[ 'EX', seconds() ], [ 'PX', millis() ], [ 'EXAT', at() ],
		[ 'PXAT', at_ms() ], ['KEEPTTL'], ['EX'],
		[qw(EX x EX 100)], [qw(PX 100000 PX 200000)], [qw(EX 100 PX 1)] );
	push @o, pick( [], [], ['NX'], ['XX'], ['nx'] );
	push @o, pick( [], [], ['GET'], [] );
	push @o, pick( ( [] ) x 20, ['JUNK'] );
	return map { @$_ } @o;
}

my @make = (
	sub { [ 'SET', key(), value() ] },
	sub { [ 'SET', key(), value(), set_options() ] },
	sub { [ 'SET', key(), value(), set_options() ] },
	sub { [ 'GET', key() ] },
	sub { [ 'GET', key() ] },
	sub { [ 'SETNX', key(), value() ] },
	sub { [ 'SETEX', key(), seconds(), value() ] },
	sub { [ 'PSETEX', key(), millis(), value() ] },
	sub { [ 'GETSET', key(), value() ] },
	sub { [ 'GETDEL', key() ] },
	sub {
		[ 'GETEX', key(),
			@{ pick( [], [ 'EX', seconds() ], [ 'PX', millis() ],
				  [ 'EXAT', at() ], ['PERSIST'], [qw(PERSIST EX 5)],
				  [qw(EX x EX 100)], [qw(PERSIST PERSIST)], [qw(EX 100 PX 1)] ) } ];
	},
	sub { [ 'MGET', map { key() } 1 .. 1 + rand 4 ] },
	sub { [ 'MSET', map { key(), value() } 1 .. 1 + rand 4 ] },
	sub { [ 'MSET', key(), value(), key() ] },
	sub { [ 'MSETNX', map { key(), value() } 1 .. 1 + rand 3 ] },
	sub { [ pick(qw(DEL UNLINK)), map { key() } 1 .. 1 + rand 3 ] },
	sub { [ pick(qw(EXISTS TOUCH)), map { key() } 1 .. 1 + rand 3 ] },
	sub { [ 'TYPE', key() ] },
	sub { [ 'STRLEN', key() ] },
	sub { [ 'APPEND', key(), value() ] },
	sub { [ 'GETRANGE', key(), number(), number() ] },
	sub { [ 'SETRANGE', key(), pick( 0, 1, 5, 30, -1, 'x' ), value() ] },
	sub { [ pick(qw(INCR DECR)), key() ] },
	sub { [ pick(qw(INCRBY DECRBY)), key(), number() ] },
	sub { [ 'INCRBYFLOAT', key(), pick( 1, -1, '0.5', 'x', '1e2', 3, '2.25' ) ] },
	# No GT and LT: two relative times of the same length are a matter of luck.
	sub { [ 'EXPIRE',  key(), seconds(), pick(qw(NX XX)) ] },
	sub { [ 'EXPIRE',  key(), seconds() ] },
	sub { [ 'PEXPIRE', key(), millis() ] },
	sub { [ 'EXPIREAT',  key(), at(), pick( 'NX', 'XX', 'GT', 'LT', 'BAD' ) ] },
	sub { [ 'PEXPIREAT', key(), at_ms() ] },
	sub { [ pick(qw(TTL PTTL EXPIRETIME PEXPIRETIME)), key() ] },
	sub { [ 'PERSIST', key() ] },
	sub { [ pick(qw(RENAME RENAMENX)), key(), key() ] },
	sub { ['DBSIZE'] },
	sub { [ 'KEYS', pick( '*', 'k*', 'k[0-4]', '?0', 'k1?', '[^k]*', 'k\\1' ) ] },
	sub { [ pick(qw(PING ECHO)), value() ] },
	sub { [ pick(qw(GET SET INCR EXPIRE NOSUCH MSET GETEX)) ] },
	sub { [ 'WATCH', pick(qw(w0 w1)) ] },
	sub { [ 'INCR', pick(qw(w0 w1)) ] },
	sub { ['UNWATCH'] },
	sub { ['MULTI'] },
	sub { [ pick( ('PING') x 9, 'EXEC' ), 'x' ] },
	sub {
		pick( [qw(CLIENT ID x)], [qw(CLIENT FOO)], [qw(CONFIG GET)],
			[qw(COMMAND COUNT x)] );
	},
	sub { [ pick( 'EXEC', 'EXEC', 'DISCARD' ) ] },
	sub { [ pick( ('EXEC') x 40, 'FLUSHALL' ) ] },
);

sub plain {
	my ($r) = @_;
	return 'nil' if !defined $r;
	return "-$r" if Nodelife::Error::is($r);
	return '[' . join( ',', map { plain($_) } @$r ) . ']' if ref $r eq 'ARRAY';
	return $r;
}

# Order is free in KEYS; what counts down may differ by what a run takes; the
# replies inside EXEC are those of the commands queued before it.
my @queued;

sub same {
	my ( $cmd, $a, $b ) = @_;
	my ( $pa, $pb ) = ( plain($a), plain($b) );
	push @queued, $cmd if $pb eq 'QUEUED';
	my @q = @queued;
	@queued = () if $cmd->[0] =~ /^(?:EXEC|DISCARD)$/;
	return 1 if $pa eq $pb;
	if ( $cmd->[0] eq 'EXEC' ) {
		return 0 if ref $a ne 'ARRAY' || ref $b ne 'ARRAY' || @$a != @$b;
		for my $i ( 0 .. $#$a ) {
			return 0 if !same( $q[$i], $a->[$i], $b->[$i] );
		}
		return 1;
	}
	return 0 if Nodelife::Error::is($a) || Nodelife::Error::is($b);
	return join( ',', sort @$a ) eq join( ',', sort @$b )
	  if $cmd->[0] eq 'KEYS';
	return $a > 50 && $b > 50 && abs( $a - $b ) <= 30 if $cmd->[0] eq 'TTL';
	return $a > 50 && $b > 50 && abs( $a - $b ) <= 30_000
	  if $cmd->[0] eq 'PTTL';
	return abs( $a - $b ) <= 30      if $cmd->[0] eq 'EXPIRETIME';
	return abs( $a - $b ) <= 30_000  if $cmd->[0] eq 'PEXPIRETIME';
	return 0;
}

# Watched keys are always there: WATCH of one that is not, or has expired, may
# abort more often than Redis does.
$_->cmd(qw(MSET w0 1 w1 1)) for $ours, $theirs;
my ( $done, $differ ) = ( 0, 0 );
my @trail;
while ( $done < $count && $differ < 3 ) {
	# Redis counts what has expired until somebody looks: make it look.
	my @cmds = map {
		my $cmd = pick(@make)->();
		$cmd->[0] eq 'DBSIZE' ? ( [ 'EXISTS', @keys ], $cmd )
		  : $cmd->[0] eq 'FLUSHALL' ? ( $cmd, [qw(MSET w0 1 w1 1)] )
		  :                           $cmd;
	} 1 .. 1 + rand 40;
	my @a = $ours->pipeline(@cmds);
	my @b = $theirs->pipeline(@cmds);
	for my $i ( 0 .. $#cmds ) {
		my ( $a, $b ) = ( plain( $a[$i] ), plain( $b[$i] ) );
		my $text = join ' ', map { s/[^ -~]/?/gr || "''" } @{ $cmds[$i] };
		push @trail, sprintf '%-50.50s %.50s', $text, $b =~ s/[^ -~]/?/gr;
		shift @trail if @trail > 12;
		next if same( $cmds[$i], $a[$i], $b[$i] );
		$differ++;
		diag sprintf "ours:   %.200s\ntheirs: %.200s\nafter:\n  %s", $a, $b,
		  join "\n  ", @trail;
		last if $differ >= 3;
	}
	$done += @cmds;
}
is $differ, 0, "$done commands: the same replies";

# In the end the content is the same, value by value.
$_->cmd('DISCARD') for $ours, $theirs;
my @left = sort @{ $theirs->cmd(qw(KEYS *)) };
is_deeply [ sort @{ $ours->cmd(qw(KEYS *)) } ], \@left, 'the same keys';
is_deeply $ours->cmd( 'MGET', @left ), $theirs->cmd( 'MGET', @left ),
  'the same values'
  if @left;

# The same bytes, too: RESP3, inline commands, wrong protocol, limits of
# numbers and times, what changes a session. One connection for each case;
# after HELLO 3 only what follows its reply is compared.
sub raw {
	my ( $family, $bytes ) = @_;
	my $s =
	  $family eq 'ours'
	  ? IO::Socket::INET->new( PeerAddr => $n->addr('client') )
	  : IO::Socket::UNIX->new( Peer => $sock );
	die "connect: $!" if !$s;
	syswrite $s, $bytes;
	shutdown $s, SHUT_WR;
	my $in = '';
	while ( sysread $s, $in, 65536, length $in ) { }
	$in =~ s/\A[%].*?modules\r\n\*0\r\n//s;
	# A SCAN may always end early, and does when a turn is used up.
	$in =~ s/^\*2\r\n\$\d+\r\n\d+\r\n(?=\*0\r\n)/(cursor)/mg;
	return $in;
}

my $max = '9223372036854775807';
my @lines = (
	'PING', 'ping a', 'PING a b', 'FOO', 'FOO a b', 'GET', 'GET a b',
	'SET a "x y";GET a', q{SET a 'x\'y';GET a}, 'SET a "\x41\n";GET a',
	'SET a "x;PING', 'SET a "x"y', ';;PING',
	( map { ( $_, "HELLO 3;$_" ) }
		'GET nokey', 'MGET a nokey', 'SET z 1 GET', 'GETDEL nokey',
		'MULTI;GET nope;PING;EXEC', 'WATCH w;SET w 1;MULTI;GET w;EXEC;DEL w',
		'CONFIG GET maxmemory', 'CONFIG GET nosuch', 'CLIENT GETNAME',
		'COMMAND INFO nosuch', 'KEYS nomatch*', 'INCRBYFLOAT f 1.5;DEL f',
		'SCAN 0 MATCH nomatch* COUNT 10000', 'FLUSHALL;RANDOMKEY;SET s 1;RANDOMKEY',
		'CLIENT LIST ID 999999', 'INFO nosuch', 'SET s 1;STRLEN s;TYPE s' ),
	'CLIENT SETNAME a;CLIENT GETNAME;RESET;CLIENT GETNAME',
	'HELLO 4', 'HELLO x', 'HELLO 3 FOO', 'HELLO 3 AUTH a', 'AUTH x',
	'AUTH bob x', 'AUTH a b c', 'HELLO 3;RESET;GET nokey',
	'CLIENT REPLY SKIP;PING;PING', 'CLIENT REPLY OFF;PING;CLIENT REPLY ON;PING',
	'CLIENT REPLY SKIP;SET a 1;GET a', 'CLIENT REPLY SKIP;GET a;GET a',
	'CLIENT REPLY OFF;CLIENT REPLY SKIP;PING;CLIENT REPLY ON',
	'CLIENT REPLY SKIP;CLIENT REPLY ON;PING', 'CLIENT REPLY x',
	'QUIT;PING', 'RESET;PING', 'MULTI;RESET;EXEC', 'MULTI;QUIT',
	'MULTI;MULTI;EXEC', 'MULTI;WATCH a;EXEC', 'MULTI;FOO;SET a 1;EXEC',
	'EXEC', 'DISCARD', 'MULTI;EXEC', 'MULTI;UNWATCH;EXEC',
	'MULTI;PING;ECHO x;SELECT 0;EXEC', 'MULTI;WAIT 0 0;EXEC',
	'MULTI;SET q 1;INCR q;GET q;INCRBY q x;DEL q;EXEC',
	'MULTI;SET q a;INCR q;GET q;DEL q;EXEC',
	'SELECT 99', 'SELECT x', 'WAIT x 0', 'WAIT 0 x', 'WAIT 0 -1', 'WAIT 0 0',
	"EXPIRE nokey $max", "SET a 1 EX $max", "SET a 1 PX $max", 'SET a 1 EX 0',
	'SET a 1 EXAT -1', "SET a 1;PEXPIRE a $max", 'EXPIRE a -9223372036854775808',
	'SET a 1;EXPIREAT a 9223372036854775', 'SET a 1;EXPIREAT a 9223372036854776',
	"SET a 1;PEXPIREAT a $max;PEXPIRETIME a;DEL a", 'SETEX a 0 x',
	"SET a 1;PEXPIRE a -$max;EXISTS a", "SETEX a $max x", "PSETEX a $max x",
	'SET a 1;GETEX a EX 0', 'GETEX a EX', 'SET a 1 NX XX', 'SETRANGE r -1 x',
	'SETRANGE r 536870912 x', 'SETRANGE r 0 ""', 'INCRBYFLOAT a nan',
	'INCRBYFLOAT a inf', 'INCRBYFLOAT x 0x10;DEL x', 'INCRBYFLOAT x " 1"',
	'INCRBYFLOAT x 1.0;INCRBYFLOAT x 3.0e-5;INCRBYFLOAT x 1e17;DEL x',
	'SET x 1e3007;INCRBYFLOAT x 2.25;INCRBYFLOAT x 2.25;DEL x',
	'INCRBYFLOAT x ' . '1' x 300 . ';DEL x',
	'INCRBYFLOAT x ' . '0' x 5118 . '1;DEL x',
	'INCRBYFLOAT x ' . '0' x 5119 . '1;DEL x',
	'SCAN x', 'SCAN 0 COUNT 0', 'SCAN 0 COUNT x', 'SCAN 0 FOO', 'SCAN 0 MATCH',
	'FLUSHALL FOO', 'FLUSHDB ASYNC x', 'TIME x', 'ROLE x', 'SHUTDOWN x',
	'COMMAND GETKEYS mset a 1 b 2', 'EXPIRE a 1 FOO', 'EXPIRE a 10 NX XX',
	'EXPIRE a 10 GT LT', 'CLIENT', 'CLIENT FOO', 'CLIENT KILL 1.2.3.4:5',
	'CLIENT KILL ID 999999', 'CLIENT KILL ID x', 'CLIENT KILL FOO x',
	'CLIENT LIST TYPE foo', 'CLIENT LIST TYPE pubsub', 'CLIENT LIST FOO',
	'CLIENT SETNAME "a b"', 'CLIENT NO-EVICT x', 'CLIENT GETREDIR'
);
my @cases = (
	( map { s/;/\r\n/gr . "\r\n" } @lines ),
	"ping\n", "*0\r\nPING\r\n", "*-1\r\nPING\r\n", "*x\r\nPING\r\n",
	"*1\r\nPING\r\n", "*1\r\n\$-1\r\n", "*1\r\n\$x\r\n", "*1\r\n\$0\r\n\r\n",
	"*1\r\n:4\r\n", "*01\r\n\$4\r\nPING\r\n", "*1\r\n\$04\r\nPING\r\n",
	"*2147483648\r\n", "\0PING\r\n", "* 1\r\n", 'x' x 70_000
);
my $unlike = 0;
for my $bytes (@cases) {
	my ( $a, $b ) = ( raw( 'ours', $bytes ), raw( 'theirs', $bytes ) );
	next if $a eq $b;
	$unlike++;
	diag map { s/[^ -~]/?/gr . "\n" } substr( $bytes, 0, 200 ),
	  '  ours:   ' . substr( $a, 0, 200 ), '  theirs: ' . substr( $b, 0, 200 );
}
is $unlike, 0, scalar(@cases) . ' conversations: the same bytes';
is $n->stop, 0, 'stopped';
done_testing;
