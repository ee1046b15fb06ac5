# Debian's redis-tools work with a node: redis-cli in its ways, redis-benchmark
# without an error.
use strict;
use warnings;
use Nodelife;
use Test::More;

for (qw(redis-cli redis-benchmark)) {
	plan skip_all => "no $_ here (package redis-tools)"
	  if system("command -v $_ >/dev/null 2>&1") != 0;
}
my $n = Nodelife->new->start;
my ($port) = $n->addr('client') =~ /:(\d+)$/;

sub cli { my $c = join ' ', @_; my $r = `redis-cli -p $port $c 2>&1`; chomp $r; return $r }

is cli(qw(SET k v)), 'OK', 'SET';
is cli(qw(GET k)),   'v',  'GET';
is cli(qw(-3 GET none)), '', 'RESP3';
is cli(qw(--no-raw GET none)), '(nil)', 'nil';
is cli(qw(--no-raw INCR k)),
  '(error) ERR value is not an integer or out of range', 'an error';
is `printf 'MULTI\\nSET a 1\\nINCR a\\nEXEC\\n' | redis-cli -p $port`,
  "OK\nQUEUED\nQUEUED\nOK\n2\n", 'MULTI over standard input';
is `redis-cli -p $port --scan --pattern 'k*'`, "k\n", '--scan';
like cli('INFO'), qr/^redis_version:/m, 'INFO';
like `printf 'SET p%d v\\n' 1 2 3 4 5 | redis-cli -p $port --pipe 2>&1`,
  qr/errors: 0, replies: 5/, '--pipe';
is cli(qw(DBSIZE)), 7, 'DBSIZE';

my $count = $ENV{REQUESTS} // 20_000;
my $out = `redis-benchmark -p $port -t ping,set,get,incr,mset -n $count -c 50 -P 16 -q 2>&1`;
is $?, 0, 'redis-benchmark';
unlike $out, qr/error/i, 'without an error' or diag $out;
like $out, qr{\b$_\b.*requests per second}, $_
  for qw(PING_INLINE PING_MBULK SET GET INCR MSET);
$out = `redis-benchmark -p $port -t set,get -n $count -c 50 -r 10000 -d 100 -q 2>&1`;
unlike $out, qr/error/i, 'one request at a time, random keys';
is $n->stop, 0, 'stopped';
done_testing;
