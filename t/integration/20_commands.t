# Every command with its options, errors and edge cases, as Redis 7 documents
# them, in RESP2 and RESP3. REDIS=host:port runs what is common against a
# redis-server instead, which is how the expectations were checked.
use strict;
use warnings;
use Nodelife;
use Test::More;

my $redis = $ENV{REDIS};
my $n = $redis ? undef : Nodelife->new( store => { max_value => '16M' } )->start;
my $c = connection();

sub connection {
	return $redis ? Nodelife::Client->new($redis) : $n->client;
}

# A row: words of the command (or an array), what comes back. A regex matches
# errors and texts, an array compares deeply, undef is nil.
sub row {
	my ( $cmd, $want ) = @_;
	my @args = ref $cmd ? @$cmd : split ' ', $cmd;
	my $name = join ' ', map { length > 40 ? substr( $_, 0, 37 ) . '...' : $_ } @args;
	$name =~ s/[^ -~]/?/g;
	$name =~ s/#/\\#/g;
	my $got = $c->cmd(@args);
	if    ( ref $want eq 'Regexp' ) { like $got // 'nil', $want, $name }
	elsif ( ref $want eq 'ARRAY' )  { is_deeply $got, $want, $name }
	else                            { is $got, $want, $name }
	return $got;
}

sub rows {
	my ( $title, @rows ) = @_;
	subtest $title => sub {
		$c->cmd('FLUSHALL');
		row( @rows[ $_ * 2, $_ * 2 + 1 ] ) for 0 .. @rows / 2 - 1;
	};
	return;
}

my $syntax  = qr/^ERR syntax error/;
my $integer = qr/^ERR value is not an integer or out of range/;
my $argc    = qr/^ERR wrong number of arguments for '/;

rows 'connection',
  'PING'            => 'PONG',
  'PING hello'      => 'hello',
  'PING a b'        => $argc,
  'ECHO x'          => 'x',
  'ECHO'            => $argc,
  'SELECT 0'        => 'OK',
  'SELECT 1'        => $redis ? 'OK' : qr/^ERR (?:DB index|SELECT)/,
  'SELECT 0'        => 'OK',
  'SELECT x'        => qr/^ERR /,
  'NOSUCH a'        => qr/^ERR unknown command 'NOSUCH'/i,
  'CLIENT SETNAME me' => 'OK',
  'CLIENT GETNAME'  => 'me',
  'CLIENT ID'       => qr/^\d+$/,
  'CLIENT NOSUCH'   => qr/^ERR unknown subcommand/i,
  'CLIENT INFO'     => qr/ qbuf-free=\d+ argv-mem=\d+ multi-mem=0 rbs=\d+ rbp=\d+ obl=\d+ /,
  'CLIENT KILL TYPE foo' => qr/^ERR Unknown client type 'foo'/,
  'CLIENT KILL USER foo' => qr/^ERR No such user 'foo'/,
  'CLIENT KILL TYPE pubsub' => 0,
  'CLIENT KILL USER default ID 1000000' => 0,
  'CLIENT LIST TYPE foo' => qr/^ERR Unknown client type 'foo'/,
  'CLIENT LIST ID -1' => '',
  'CLIENT LIST ID x'  => qr/^ERR Invalid client ID/,
  'COMMAND COUNT x'   => qr/^ERR wrong number of arguments for 'command\|count' command/,
  'EXEC x'            => qr/^EXECABORT Transaction discarded because of: wrong number/,
  'COMMAND COUNT'   => qr/^\d+$/,
  'CONFIG GET nothing-like-that' => [],
  'RESET'           => 'RESET',
  'AUTH nobody'     => qr/^ERR |^WRONGPASS/,
  'HELLO 9'         => qr/^NOPROTO/,
  'DBSIZE'          => 0;

rows 'SET and GET',
  'GET k'              => undef,
  'SET k v'            => 'OK',
  'GET k'              => 'v',
  'set k w'            => 'OK',
  'GeT k'              => 'w',
  'SET k'              => $argc,
  'GET'                => $argc,
  'GET a b'            => $argc,
  'SET k v NX'         => undef,
  'SET n v NX'         => 'OK',
  'SET none v XX'      => undef,
  'GET none'           => undef,
  'SET k x XX'         => 'OK',
  'SET k y GET'        => 'x',
  'SET fresh y GET'    => undef,
  'SET k z NX GET'     => 'y',
  'GET k'              => 'y',
  'SET fresh2 z NX GET' => undef,
  'GET fresh2'         => 'z',
  'SET k v NX XX'      => $syntax,
  'SET k v EX'         => $syntax,
  'SET k v EX 0'       => qr/^ERR invalid expire time in 'set' command/,
  'SET k v EX -1'      => qr/^ERR invalid expire time in 'set' command/,
  'SET k v EX x'       => $integer,
  'SET k v PX 9223372036854775807' => qr/^ERR invalid expire time/,
  'SET k v EX 10 PX 10' => $syntax,
  'SET k v PX x EX 10' => $syntax,
  'SET k v PX 100000 PX 200000' => 'OK',
  'PTTL k'             => qr/^(?:200000|1\d{5})$/,
  'SET k v EX x EX 10' => 'OK',
  'SET k v EX 10 KEEPTTL' => $syntax,
  'SET k v NOSUCH'     => $syntax,
  'SET k v EX 100'     => 'OK',
  'TTL k'              => qr/^(?:100|9\d)$/,
  'SET k v KEEPTTL'    => 'OK',
  'TTL k'              => qr/^(?:100|9\d)$/,
  'SET k v'            => 'OK',
  'TTL k'              => -1,
  'SET k v PX 100000'  => 'OK',
  'TTL k'              => qr/^(?:100|9\d)$/,
  'SET k v EXAT 4102444800' => 'OK',
  'EXPIRETIME k'       => 4102444800,
  'SET k v PXAT 4102444800123' => 'OK',
  'PEXPIRETIME k'      => 4102444800123,
  'SET k v EXAT 1'     => 'OK',
  'GET k'              => undef,
  [ 'SET', '', 'empty key' ] => 'OK',
  [ 'GET', '' ]        => 'empty key',
  [ 'SET', 'e', '' ]   => 'OK',
  'GET e'              => '',
  'STRLEN e'           => 0,
  [ 'SET', "b\0\r\n", "\0\1\xff\r\n" ] => 'OK',
  [ 'GET', "b\0\r\n" ] => "\0\1\xff\r\n";

rows 'old SETs',
  'SETNX k 1'      => 1,
  'SETNX k 2'      => 0,
  'GET k'          => 1,
  'SETEX k 100 v'  => 'OK',
  'TTL k'          => qr/^(?:100|9\d)$/,
  'SETEX k 0 v'    => qr/^ERR invalid expire time in 'setex' command/,
  'PSETEX k 100000 w' => 'OK',
  'PTTL k'         => qr/^(?:100000|9\d{4})$/,
  'PSETEX k -5 w'  => qr/^ERR invalid expire time in 'psetex' command/,
  'GETSET k x'     => 'w',
  'TTL k'          => -1,
  'GETSET fresh x' => undef,
  'GETDEL k'       => 'x',
  'GETDEL k'       => undef,
  'EXISTS k'       => 0,
  'SET k v'        => 'OK',
  'GETEX k EX 100' => 'v',
  'TTL k'          => qr/^(?:100|9\d)$/,
  'GETEX k'        => 'v',
  'TTL k'          => qr/^(?:100|9\d)$/,
  'GETEX k PERSIST' => 'v',
  'TTL k'          => -1,
  'GETEX k PX 100000' => 'v',
  'GETEX k EX 0'   => qr/^ERR invalid expire time in 'getex' command/,
  'GETEX k EX 5 PERSIST' => $syntax,
  'GETEX k PERSIST EX 5' => $syntax,
  'GETEX k EX 5 PX 5' => $syntax,
  'GETEX k EX 5 EX'  => $syntax,
  'GETEX k NOSUCH'   => $syntax,
  'GETEX k EX x EX 4000' => 'v',
  'TTL k'            => qr/^(?:4000|39\d\d)$/,
  'GETEX k PERSIST persist' => 'v',
  'TTL k'            => -1,
  'GETEX none EX 5' => undef,
  'GETEX k EXAT 1' => 'v',
  'EXISTS k'       => 0;

rows 'many keys',
  'MSET a 1 b 2 c 3'   => 'OK',
  'MGET a b none c'    => [ 1, 2, undef, 3 ],
  'MSET a'             => $argc,
  'MSET a 1 b'         => $argc,
  'MSET a 1 a 2'       => 'OK',
  'GET a'              => 2,
  'MSETNX d 1 a 9'     => 0,
  'EXISTS d'           => 0,
  'MSETNX d 1 e 9'     => 1,
  'MGET d e'           => [ 1, 9 ],
  'EXISTS a b none a'  => 3,
  'DEL a none b'       => 2,
  'UNLINK c d'         => 2,
  'DEL a'              => 0,
  'DEL'                => $argc,
  'EXISTS a b c d e'   => 1,
  'DBSIZE'             => 1,
  'TYPE e'             => 'string',
  'TYPE a'             => 'none',
  'TOUCH e none'       => 1;

rows 'parts of values',
  'APPEND k Hello'        => 5,
  [ 'APPEND', 'k', ' World' ] => 11,
  'STRLEN k'              => 11,
  'STRLEN none'           => 0,
  'GETRANGE k 0 3'        => 'Hell',
  'GETRANGE k -5 -1'      => 'World',
  'GETRANGE k 0 -1'       => 'Hello World',
  'GETRANGE k 5 3'        => '',
  'GETRANGE k 100 200'    => '',
  'GETRANGE k -100 2'     => 'Hel',
  'GETRANGE k -3 -100'    => '',
  'GETRANGE none 0 -1'    => '',
  'GETRANGE k a 1'        => $integer,
  'SUBSTR k 0 1'          => qr/^(?:He|ERR unknown command.*)$/,
  'SETRANGE k 6 Redis'    => 11,
  'GET k'                 => 'Hello Redis',
  'SETRANGE pad 3 x'      => 4,
  'GET pad'               => "\0\0\0x",
  [ 'SETRANGE', 'none', 0, '' ] => 0,
  'EXISTS none'           => 0,
  [ 'SETRANGE', 'k', 3, '' ] => 11,
  'SETRANGE k -1 x'       => qr/^ERR offset is out of range/,
  'SETRANGE k 536870912 x' => qr/^ERR (?:string exceeds maximum allowed|value exceeds max_value)/,
  'SETRANGE k x y'        => $integer;

rows 'numbers',
  'INCR n'               => 1,
  'INCR n'               => 2,
  'INCRBY n 40'          => 42,
  'DECR n'               => 41,
  'DECRBY n 50'          => -9,
  'GET n'                => '-9',
  'INCRBY n x'           => $integer,
  'INCRBY n 1.5'         => $integer,
  'SET s abc'            => 'OK',
  'INCR s'               => $integer,
  [ 'SET', 's', ' 1' ]   => 'OK',
  'INCR s'               => $integer,
  'SET s 01'             => 'OK',
  'INCR s'               => $integer,
  'SET s +1'             => 'OK',
  'INCR s'               => $integer,
  'SET m 9223372036854775807' => 'OK',
  'INCR m'               => qr/^ERR increment or decrement would overflow/,
  'GET m'                => '9223372036854775807',
  'SET m -9223372036854775808' => 'OK',
  'DECR m'               => qr/^ERR increment or decrement would overflow/,
  'DECRBY n -9223372036854775808' => qr/^ERR (?:decrement would overflow|increment)/,
  'INCRBY n 9223372036854775808' => $integer,
  'SET n 5 EX 100'       => 'OK',
  'INCR n'               => 6,
  'TTL n'                => qr/^(?:100|9\d)$/,
  'INCRBYFLOAT f 10.50'  => '10.5',
  'INCRBYFLOAT f 0.1'    => '10.6',
  'INCRBYFLOAT f -5'     => '5.6',
  'INCRBYFLOAT f 5.0e3'  => qr{^5005\.6},
  'INCRBYFLOAT f 1e5000' => qr/^ERR value is not a valid float/,
  'INCRBYFLOAT f -1e5000' => qr/^ERR value is not a valid float/,
  'INCRBYFLOAT f 1e-5000' => qr/^ERR value is not a valid float/,
  'INCRBYFLOAT f x'      => qr/^ERR value is not a valid float/,
  'INCRBYFLOAT f inf'    => qr/^ERR (?:increment would produce NaN or Infinity|value is not a valid float)/,
  'INCRBYFLOAT f nan'    => qr/^ERR /,
  'SET f abc'            => 'OK',
  'INCRBYFLOAT f 1'      => qr/^ERR value is not a valid float/,
  'SET f 3.0e3'          => 'OK',
  'INCRBYFLOAT f 200'    => '3200',
  'INCRBYFLOAT f -0.00000000000000001' => qr/^3(?:200|199\.9+)/;

rows 'expiry',
  'SET k v'               => 'OK',
  'EXPIRE k 100'          => 1,
  'TTL k'                 => qr/^(?:100|9\d)$/,
  'EXPIRE none 100'       => 0,
  'TTL none'              => -2,
  'PTTL none'             => -2,
  'EXPIRETIME none'       => -2,
  'PEXPIRETIME none'      => -2,
  'PERSIST k'             => 1,
  'PERSIST k'             => 0,
  'PERSIST none'          => 0,
  'TTL k'                 => -1,
  'EXPIRETIME k'          => -1,
  'PEXPIRE k 100000'      => 1,
  'EXPIRE k 50 NX'        => 0,
  'EXPIRE k 50 GT'        => 0,
  'EXPIRE k 200 GT'       => 1,
  'EXPIRE k 500 LT'       => 0,
  'EXPIRE k 50 LT'        => 1,
  'EXPIRE k 60 XX'        => 1,
  'EXPIRE k 60 NX XX'     => qr/^ERR NX and XX, GT or LT options/,
  'EXPIRE k 60 GT LT'     => qr/^ERR GT and LT options/,
  'EXPIRE k 60 BAD'       => qr/^ERR Unsupported option/,
  'EXPIRE k x'            => $integer,
  'EXPIRE k 9223372036854775807' => qr/^ERR invalid expire time in 'expire' command/,
  'PERSIST k'             => 1,
  'EXPIRE k 60 XX'        => 0,
  'EXPIRE k 60 GT'        => 0,
  'EXPIRE k 60 LT'        => 1,
  'EXPIREAT k 4102444800' => 1,
  'EXPIRETIME k'          => 4102444800,
  'PEXPIREAT k 4102444800500' => 1,
  'PEXPIRETIME k'         => 4102444800500,
  'PEXPIREAT k 9223372036854775807' => 1,
  'PEXPIRETIME k'         => '9223372036854775807',
  'EXPIRETIME k'          => $redis ? qr/\d/ : '9223372036854776',
  'TTL k'                 => qr/^922337\d{10}$/,
  'PTTL k'                => qr/^922337\d{13}$/,
  'GET k'                 => 'v',
  'PEXPIRE k 9223372036854775807'   => qr/^ERR invalid expire time in 'pexpire' command/,
  'EXPIREAT k 9223372036854775'     => 1,
  'EXPIREAT k 9223372036854776'     => qr/^ERR invalid expire time in 'expireat' command/,
  'EXPIRE k -1'           => 1,
  'EXISTS k'              => 0,
  'SET k v'               => 'OK',
  'EXPIREAT k 1'          => 1,
  'GET k'                 => undef;

rows 'names',
  'RENAME none x'    => qr/^ERR no such key/,
  'MSET a 1 b 2'     => 'OK',
  'EXPIRE a 100'     => 1,
  'RENAME a c'       => 'OK',
  'TTL c'            => qr/^(?:100|9\d)$/,
  'EXISTS a'         => 0,
  'RENAME c c'       => 'OK',
  'RENAMENX c b'     => 0,
  'RENAMENX c d'     => 1,
  'RENAMENX d d'     => 0,
  'RENAMENX none d'  => qr/^ERR no such key/,
  'RENAME d b'       => 'OK',
  'GET b'            => 1,
  'KEYS *'           => ['b'],
  'KEYS ?'           => ['b'],
  'KEYS x*'          => [],
  'RANDOMKEY'        => 'b',
  'DEL b'            => 1,
  'RANDOMKEY'        => undef,
  'MSET h1 1 h2 1 hallo 1 hxllo 1 h* 1' => 'OK',
  'KEYS h[12]'       => qr/ARRAY/,
  'KEYS h[^a]llo'    => ['hxllo'],
  'KEYS h\*'         => ['h*'],
  'FLUSHDB'          => 'OK',
  'DBSIZE'           => 0,
  'FLUSHALL ASYNC'   => 'OK',
  'FLUSHALL NOW'     => $syntax;

rows 'MULTI',
  'EXEC'        => qr/^ERR EXEC without MULTI/,
  'DISCARD'     => qr/^ERR DISCARD without MULTI/,
  'MULTI'       => 'OK',
  'MULTI'       => qr/^ERR MULTI calls can not be nested/,
  'SET a 1'     => 'QUEUED',
  'INCR a'      => 'QUEUED',
  'GET a'       => 'QUEUED',
  'GET none'    => 'QUEUED',
  'EXEC'        => [ 'OK', 2, '2', undef ],
  'MULTI'       => 'OK',
  'SET a 9'     => 'QUEUED',
  'DISCARD'     => 'OK',
  'GET a'       => 2,
  'MULTI'       => 'OK',
  'NOSUCH'      => qr/^ERR unknown command/i,
  'SET a 7'     => 'QUEUED',
  'EXEC'        => qr/^EXECABORT/,
  'GET a'       => 2,
  'MULTI'       => 'OK',
  'SET a'       => $argc,
  'EXEC'        => qr/^EXECABORT/,
  'MULTI'       => 'OK',
  'EXEC'        => [],
  'WATCH a'     => 'OK',
  'UNWATCH'     => 'OK',
  'WATCH'       => $argc,
  'MULTI'       => 'OK',
  'WATCH a'     => qr/^ERR WATCH inside MULTI/,
  'PING'        => 'QUEUED',
  'MSET x 1 y 2' => 'QUEUED',
  'DEL x'       => 'QUEUED',
  'EXISTS x y'  => 'QUEUED',
  'DBSIZE'      => 'QUEUED',
  'EXEC'        => [ 'PONG', 'OK', 1, 1, 2 ],
  'SET s abc'   => 'OK',
  'MULTI'       => 'OK',
  'SET s def'   => 'QUEUED',
  'INCR s'      => 'QUEUED',
  'SET t 1'     => 'QUEUED',
  'EXEC'        => qr/ARRAY/,
  'MGET s t'    => [ 'def', 1 ];

rows 'SCAN inside MULTI sees what stands before it',
  'SET old 1'    => 'OK',
  'MULTI'        => 'OK',
  'SET new 1'    => 'QUEUED',
  'DEL old'      => 'QUEUED',
  'KEYS *'       => 'QUEUED',
  'SCAN 0'       => 'QUEUED',
  'SCAN 0 MATCH o*' => 'QUEUED',
  'SCAN 0 TYPE hash' => 'QUEUED',
  'SCAN 0 COUNT x' => 'QUEUED',
  'ECHO last'    => 'QUEUED',
  'EXEC'         => [ 'OK', 1, ['new'], [ '0', ['new'] ],
	[ '0', [] ], [ '0', [] ], 'ERR value is not an integer or out of range', 'last' ],
  'MULTI'        => 'OK',
  'FLUSHALL'     => 'QUEUED',
  'SET only 1'   => 'QUEUED',
  'SCAN 0 MATCH o*' => 'QUEUED',
  'EXEC'         => [ 'OK', 'OK', [ '0', ['only'] ] ];

rows 'what spoils a MULTI',
  map( {
	(
		'MULTI'   => 'OK',
		'SET a 1' => 'QUEUED',
		$_->[0]   => $_->[1],
		'EXEC'    => qr/^EXECABORT Transaction discarded because of previous errors/,
		'GET a'   => undef
	)
  } [ 'CLIENT ID x' => qr/^ERR wrong number of arguments for 'client\|id' command/ ],
	[ 'CLIENT FOO'      => qr/^ERR unknown subcommand 'FOO'/ ],
	[ 'CONFIG GET'      => qr/^ERR wrong number of arguments for 'config\|get' command/ ],
	[ 'CONFIG FOO'      => qr/^ERR unknown subcommand 'FOO'/ ],
	[ 'COMMAND COUNT x' => qr/^ERR wrong number of arguments for 'command\|count' command/ ],
	[ 'COMMAND FOO'     => qr/^ERR unknown subcommand 'FOO'/ ],
	[ 'COMMAND GETKEYS' => qr/^ERR wrong number of arguments for 'command\|getkeys' command/ ] ),
  'MULTI'       => 'OK',
  'SET a 1'     => 'QUEUED',
  'EXEC x'      => qr/^EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command/,
  'GET a'       => undef,
  'EXEC'        => qr/^ERR EXEC without MULTI/;

is join( ' ', sort map { $_->[0] } grep { grep { $_ eq 'denyoom' } @{ $_->[2] } }
	  @{ $c->cmd( qw(COMMAND INFO), qw(append decr decrby del expire expireat flushall
		flushdb get getdel getex getset incr incrby incrbyfloat mset msetnx persist
		pexpire pexpireat psetex rename renamenx set setex setnx setrange unlink) ) } ),
  'append decr decrby getset incr incrby incrbyfloat mset msetnx psetex set setex setnx setrange',
  'COMMAND INFO: what takes memory';

subtest 'an error inside EXEC stands in its place' => sub {
	$c->pipeline( ['MULTI'], [qw(SET s abc)], [qw(INCR s)], [qw(SET t 2)] );
	my $r = $c->cmd('EXEC');
	is ref $r, 'ARRAY', 'EXEC';
	is $r->[0], 'OK', 'before';
	like $r->[1], $integer, 'the error';
	is $r->[2], 'OK', 'after';
};

subtest 'WATCH' => sub {
	my $d = connection();
	my @cases = (
		[ 'a write',        [qw(SET w 2)],     undef ],
		[ 'a delete',       [qw(DEL w)],       undef ],
		[ 'an append',      [qw(APPEND w x)],  undef ],
		[ 'an expiry set',  [qw(EXPIRE w 90)], undef ],
		[ 'a flush',        ['FLUSHALL'],      undef ],
		[ 'another key',    [qw(SET v 2)],     ['OK'] ],
		[ 'a read',         [qw(GET w)],       ['OK'] ],
	);
	for (@cases) {
		my ( $name, $cmd, $want ) = @$_;
		$c->cmd(qw(SET w 1));
		is $c->cmd(qw(WATCH w)), 'OK', "WATCH, then $name";
		$d->cmd(@$cmd);
		$c->cmd('MULTI');
		$c->cmd(qw(SET r 1));
		is_deeply $c->cmd('EXEC'), $want, 'EXEC';
	}
	$c->cmd(qw(DEL w));
	$c->cmd(qw(WATCH w));
	$d->cmd(qw(SET w 1));
	$c->cmd('MULTI');
	$c->cmd('PING');
	is $c->cmd('EXEC'), undef, 'a key that came to be';
	$c->cmd(qw(WATCH w));
	$d->cmd(qw(SET w 5));
	$c->cmd('UNWATCH');
	$c->cmd('MULTI');
	$c->cmd('PING');
	is_deeply $c->cmd('EXEC'), ['PONG'], 'UNWATCH forgets';
	$c->cmd(qw(WATCH w));
	$c->cmd(qw(SET w mine));
	$c->cmd('MULTI');
	$c->cmd('PING');
	is $c->cmd('EXEC'), undef, 'an own write counts, too';
	$d->close;
};

subtest 'keys do expire' => sub {
	is $c->cmd(qw(MSET x v y v)), 'OK', 'two keys';
	my $size = $c->cmd('DBSIZE');
	is $c->cmd(qw(SET x v PX 40)), 'OK', 'SET PX';
	is $c->cmd(qw(PEXPIRE y 40)),  1,    'PEXPIRE';
	eventually { !defined $c->cmd(qw(GET x)) } 'GET sees it go';
	eventually { $c->cmd(qw(EXISTS y)) == 0 } 'EXISTS, too';
	is $c->cmd(qw(TTL x)), -2, 'TTL';
	is $c->cmd(qw(SETNX x w)), 1, 'SETNX takes its place';
	is $c->cmd(qw(INCR y)),    1, 'INCR starts over';
	is $c->cmd(qw(SET z v PX 30)), 'OK', 'one nobody reads';
	eventually { $c->cmd('DBSIZE') == $size } 'is deleted all the same'
	  if !$redis;
};

subtest 'limits' => sub {
	my $key = 'k' x 511;
	is $c->cmd( 'SET', $key, 'v' ), 'OK', 'a key of 511 bytes';
	is $c->cmd( 'GET', $key ), 'v', 'is read';
	my $big = join '', map { chr( $_ * 7 % 256 ) } 1 .. 1 << 16;
	$big = $big x 256;
	is length $big, 16 << 20, '16 MiB';
	# In seconds of CPU: what the disk and others on the machine take is not
	# the node's.
	my $cost = sub {
		my ( $times, $value ) = @_;
		my $begin = $n ? $n->cpu : 0;
		is $c->cmd( 'SET', 'big', $value ), 'OK',
		  'SET of ' . length($value) . ' bytes'
		  for 1 .. $times;
		return $n ? $n->cpu - $begin : 0;
	};
	my $parts = $cost->( 16, substr $big, 0, 1 << 20 );
	cmp_ok $cost->( 1, $big ), '<=', 4 * $parts + 0.2,
	  "takes work by its length, as 16 parts that take $parts s";
	ok $c->cmd( 'GET', 'big' ) eq $big, 'GET of 16 MiB';
	is $c->cmd(qw(STRLEN big)), 16 << 20, 'STRLEN';
	is $c->cmd(qw(GETRANGE big 16777214 -1)), substr( $big, -2 ), 'GETRANGE';
	return if $redis;
	like $c->cmd( 'SET', 'k' x 512, 'v' ), qr/^ERR .*key/i, 'a longer key';
	is $c->cmd( 'GET', 'k' x 512 ), undef, 'which nobody can have';
	like $c->cmd( 'SET', 'big', $big . 'x' ), qr/^ERR /, 'a longer value';
	like $c->cmd(qw(APPEND big x)), qr/^ERR .*(?:size|exceeds)/, 'APPEND over it';
	like $c->cmd(qw(SETRANGE big 16777216 x)), qr/^ERR /, 'SETRANGE over it';
	is $c->cmd(qw(STRLEN big)), 16 << 20, 'nothing was changed';
	is $c->cmd('PING'), 'PONG', 'the connection goes on';
	is $c->cmd(qw(DEL big)), 1, 'DEL';
};

subtest 'order in a pipeline' => sub {
	my @cmds = map {
		my $i = $_;
		( [ 'SET', "o$i", $i ], [ 'GET', "o$i" ], [ 'INCR', 'count' ],
			[ 'NOSUCH' ], [ 'MGET', "o$i", 'none' ] )
	} 1 .. 400;
	$c->cmd(qw(DEL count));
	my @r   = $c->pipeline(@cmds);
	my $bad = 0;
	for my $i ( 1 .. 400 ) {
		my ( $set, $get, $incr, $err, $mget ) =
		  @r[ ( $i - 1 ) * 5 .. $i * 5 - 1 ];
		$bad++ if $set ne 'OK' || $get ne $i || $incr != $i
		  || !Nodelife::Error::is($err) || $mget->[0] ne $i;
	}
	is $bad, 0, 'two thousand replies in order, each read sees its write';
};

subtest 'inline commands' => sub {
	my $i = connection();
	$i->raw("PING\r\nSET in \"a b\"\r\nGET in\n\r\nEXISTS in none\r\n");
	is $i->reply, 'PONG', 'PING';
	is $i->reply, 'OK',   'quotes';
	is $i->reply, 'a b',  'GET, with a bare newline';
	is $i->reply, 1,      'an empty line is nothing';
	$i->raw("SET in 'a\r\n");
	like $i->reply, qr/^ERR Protocol error: unbalanced quotes/, 'quotes';
	$i->close;
};

# SCAN: what is there all along is returned, whatever else changes meanwhile.
subtest 'SCAN' => sub {
	$c->cmd('FLUSHALL');
	my %want = map { ( "keep:$_" => 1 ) } 1 .. 2000;
	$c->pipeline( map { [ 'SET', $_, 1 ] } keys %want );
	my ( $cursor, %seen, $calls ) = (0);
	do {
		my $r = $c->cmd( 'SCAN', $cursor, 'COUNT', 50 );
		$cursor = $r->[0];
		$seen{$_}++ for @{ $r->[1] };
		$calls++;
		$c->pipeline( map { [ 'SET', "new:$calls:$_", 1 ] } 1 .. 20 );
		$c->cmd( 'DEL', "new:$calls:1" );
		$n->run( 'nodelifectl', '-r', $n->{run}, 'checkpoint' )
		  if $n && $calls == 10;
	} while ( $cursor ne '0' && $calls < 5000 );
	is scalar( grep { !$seen{$_} } keys %want ), 0,
	  "$calls calls see every key that stayed, across a checkpoint";
	cmp_ok $calls, '>', 5, 'COUNT bounds the work of a call';
	my @match;
	$cursor = 0;
	do {
		my $r = $c->cmd( 'SCAN', $cursor, 'MATCH', 'keep:199?', 'COUNT', 500 );
		$cursor = $r->[0];
		push @match, @{ $r->[1] };
	} while ( $cursor ne '0' );
	my %uniq = map { $_ => 1 } @match;
	is_deeply [ sort keys %uniq ], [ map { "keep:199$_" } 0 .. 9 ], 'MATCH';
	row 'SCAN x'             => qr/^ERR invalid cursor/;
	row 'SCAN 0 COUNT 0'     => $syntax;
	row 'SCAN 0 COUNT x'     => $integer;
	row 'SCAN 0 NOSUCH 1'    => $syntax;
	row 'SCAN 0 TYPE string COUNT 1' => qr/ARRAY/;
};

subtest 'RESP3' => sub {
	my $t = connection();
	my $h = $t->cmd(qw(HELLO 3 SETNAME three));
	is ref $h, 'HASH', 'HELLO 3 answers a map';
	is $h->{proto}, 3, 'with its protocol';
	ok defined $h->{version} && defined $h->{role}, 'version and role';
	is $t->cmd(qw(CLIENT GETNAME)), 'three', 'and took the name';
	$t->send(qw(GET none));
	is $t->line, '_', 'null is _';
	is_deeply $t->cmd(qw(MGET none none)), [ undef, undef ], 'in arrays, too';
	$t->cmd('MULTI');
	is_deeply $t->cmd('EXEC'), [], 'an empty EXEC';
	is_deeply [ $t->pipeline( ['MULTI'], [qw(SET a 1)], ['EXEC'] ) ],
	  [ 'OK', 'QUEUED', ['OK'] ], 'MULTI';
	is ref $t->cmd(qw(CONFIG GET maxclients)), 'HASH', 'CONFIG GET: a map';
	is ref $t->cmd(qw(HELLO 2)), 'ARRAY', 'back to RESP2: flat';
	$t->send(qw(GET none));
	is $t->line, '$-1', 'and null is $-1';
	$t->close;
};

subtest 'what a node says of itself' => sub {
	my $info = $c->cmd('INFO');
	like $info, qr/^redis_version:\d/m, 'INFO: redis_version';
	like $info, qr/^role:master/m,      'role';
	like $info, qr/^connected_clients:[1-9]/m, 'clients';
	like $c->cmd(qw(INFO server)), qr/^# Server/m, 'a section';
	is $c->cmd('ROLE')->[0], 'master', 'ROLE';
	my $time = $c->cmd('TIME');
	ok abs( $time->[0] - time ) < 30 && $time->[1] =~ /^\d+$/, 'TIME';
	cmp_ok scalar @{ $c->cmd('COMMAND') }, '>', 60, 'COMMAND lists them';
	my $get = $c->cmd(qw(COMMAND INFO GET))->[0];
	is_deeply [ @$get[ 0, 1, 3 .. 5 ] ], [ 'get', 2, 1, 1, 1 ],
	  'COMMAND INFO: name, arity, keys';
	is $c->cmd(qw(WAIT 0 0)), 0, 'WAIT 0';
	is_deeply $c->cmd(qw(CONFIG GET maxclients)), [ 'maxclients', 10000 ],
	  'CONFIG GET';
	my $list = $c->cmd(qw(CLIENT LIST));
	like $list, qr/^id=\d+ addr=/m, 'CLIENT LIST';
};

subtest 'a few that close' => sub {
	my $q = connection();
	is $q->cmd('QUIT'), 'OK', 'QUIT';
	is $q->reply, 'CLOSED', 'closes';
};

if ($n) {
	subtest 'compare and set' => sub {
		$c->cmd(qw(SET cas 1));
		is $c->cmd(qw(SET cas 2 IFEQ 1)), 'OK', 'IFEQ holds';
		is $c->cmd(qw(SET cas 3 IFEQ 1)), undef, 'IFEQ does not';
		is $c->cmd(qw(GET cas)), 2, 'nothing was changed';
		is $c->cmd(qw(SET none 3 IFEQ 1)), undef, 'no key, nothing equal';
		is $c->cmd(qw(EXISTS none)), 0, 'none was made';
	};
	subtest 'all of it after a crash' => sub {
		$c->cmd('FLUSHALL');
		$c->pipeline( [qw(SET a 1)], [qw(SETEX b 1000 2)], [qw(APPEND a x)],
			[qw(RENAME a c)], [qw(INCRBYFLOAT f 1.5)], ['MULTI'],
			[qw(SET m 1)], [qw(INCR m)], ['EXEC'], [qw(SETRANGE s 2 z)] );
		my $big = 'xyz' x 1_000_000;
		$c->cmd( 'SET', 'big', $big );
		$n->kill9->start;
		$c = connection();
		is_deeply $c->cmd(qw(MGET a b c f m s)),
		  [ undef, 2, '1x', '1.5', 2, "\0\0z" ], 'values';
		ok $c->cmd(qw(GET big)) eq $big, 'a big one';
		like $c->cmd(qw(TTL b)), qr/^(?:1000|9\d\d)$/, 'its expiry';
		is $c->cmd('DBSIZE'), 6, 'DBSIZE';
	};
	subtest 'a password' => sub {
		is $n->stop, 0, 'stopped';
		$n->configure( security => { password => 'sesame' } )->start;
		my $p = $n->client;
		like $p->cmd(qw(GET a)), qr/^NOAUTH/, 'nothing without it';
		like $p->cmd(qw(AUTH wrong)), qr/^WRONGPASS/, 'a wrong one';
		is $p->cmd(qw(AUTH sesame)), 'OK', 'the right one';
		is $p->cmd(qw(GET b)), 2, 'opens';
		my $q = $n->client;
		is ref $q->cmd(qw(HELLO 3 AUTH default sesame)), 'HASH', 'HELLO AUTH';
		is $q->cmd(qw(GET b)), 2, 'opens, too';
	};
	is $n->stop, 0, 'stopped';
}
done_testing;
