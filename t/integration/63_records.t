# What one command or transaction may change and answer is bounded by the
# configuration, so that what was accepted can always be applied: beside a
# /dev/shm with just as much memory as a start asks for (a generation on disk
# goes in the middle of a record that needs its memory), at every replay, and
# whatever its answers come to. In a mount namespace of our own, which needs
# root.
use strict;
use warnings;
use Nodelife;
use Test::More;

plan skip_all => 'not root: cannot mount a small /dev/shm' if $> != 0;
plan skip_all => 'nodes live in /dev/shm, which this hides'
  if Cwd::abs_path( tmp_dir() ) =~ m{^/dev/shm/};
plan skip_all => 'the number of unshare() is not known here'
  if ( POSIX::uname() )[4] ne 'x86_64';

# unshare(CLONE_NEWNS): the node and the tools are started from here.
plan skip_all => "cannot unshare: $!" if syscall( 272, 0x20000 ) != 0;
my $out =
  `mount --make-rprivate / && mount -t tmpfs -o size=44m none /dev/shm 2>&1`;
plan skip_all => "cannot mount: $out" if $? != 0;

my $n = Nodelife->new(
	wal    => { buffer_size => '4M' },
	listen => { max_output  => '3000K', max_query => '4M' },
	store  => {
		table_size => '8M',
		max_value  => '1M',
		max_record => '30M',
	},
)->spawn;
isnt $n->wait_exit, 0, 'a largest record that would never fit: no start';
like slurp( $n->{log} ), qr{/dev/shm.*need.*max_record}s, 'which key to lower';
$n->configure( store => { max_record => '16M' } );
$n->start;

my $c = $n->client;

sub transaction {
	my ( $conn, @commands ) = @_;
	my @r = $conn->pipeline( ['MULTI'], @commands, ['EXEC'] );
	return $r[-1];
}

my $megabyte = 1024 * 1024;

sub large {
	my ($round) = @_;
	return map { [ 'SETRANGE', "k$_", $megabyte - 8, sprintf '%08d', $round ] }
	  1 .. 15;
}

# 15 MiB each, in a table of 8: one is in memory beside what goes to disk.
my $bad = 0;
for my $round ( 1 .. 12 ) {
	my $r = transaction( $c, [ 'SET', "r$round", 'x' x 700_000 ],
		large($round), ['INCR', 'rounds'] );
	$bad += !( ref $r eq 'ARRAY' && $r->[15] == $megabyte && $r->[16] == $round );
}
is $bad, 0, 'transactions as large as they may be are answered';

my $r = transaction( $c, large(13), large(13), [qw(INCR rounds)] );
like $r, qr{^ERR this would change 314\d{5} bytes or more at once, beyond}a,
  'a larger one is refused before it is appended';
like $r, qr{max_record \(16777216\)}, 'with the limit';
$r = transaction( $c,
	( map { [ 'SETRANGE', 'k1', $megabyte - 1, 'x' ] } 1 .. 64 ),
	( map { ['FLUSHALL'] } 1 .. 10_000 ) );
like $r, qr{^ERR this would change}, 'so are many FLUSHALLs behind it';
$r = $c->cmd( 'MSET', map { ( "m$_", 'x' x 10 ) } 1 .. 250_000 );
like $r, qr{^ERR this would change|CLOSED}, 'and an MSET: no OK for nothing';
$c = $n->client;

# Its own size only the store knows: an error in its place, the rest is done.
$r = transaction( $c, [qw(SET src), 'x' x $megabyte],
	( map { [ 'RENAME', ( $_ % 2 ? qw(src dst) : qw(dst src) ) ] } 1 .. 20 ),
	[qw(INCR rounds)] );
is scalar( grep { $_ eq 'OK' } @$r[ 0 .. 20 ] ), 15, 'fifteen MiB of RENAMEs';
like $r->[15], qr{cannot change so much}, 'then errors';
is $r->[21], 13, 'and what still fits is done';

# 60 MiB of answers, of which two are given.
$r = transaction( $c, ( map { [qw(GET k1)] } 1 .. 60 ), [qw(INCR rounds)] );
is scalar( grep { length == $megabyte } @$r[ 0 .. 59 ] ), 2, 'two long answers';
is scalar( grep { /reply is too long/ } @$r[ 0 .. 59 ] ), 58, 'then errors';
is $r->[60], 14, 'and what changes something has done it';

# Killed over a large one, and again over replaying it.
$c->send(@$_) for ['MULTI'], large(14), [qw(INCR rounds)], ['EXEC'];
wait_until { $c->readable(0) };
sub die_at_once {
	$n->kill9;
	# There is no room for the memory of two.
	unlink glob '/dev/shm/nodelife*';
	return;
}
die_at_once();
$n->spawn;
wait_until { $n->fresh };
die_at_once();
$n->start;
$c = $n->client;
like $c->cmd(qw(GET rounds)), qr{^1[45]$}, 'all of it is there, or nothing';
is $c->cmd( 'GETRANGE', 'k15', $megabyte - 8, -1 ),
  $c->cmd(qw(GET rounds)) == 15 ? '00000014' : '00000012', 'the same';
is length( $c->cmd( 'GET', 'dst' ) // '' ) + length( $c->cmd( 'GET', 'src' ) // '' ),
  $megabyte, 'RENAMEs, too';
is $n->stat->{node_restarts}, 0, 'no restart';

# Stopped in the middle of one, while something else has all the memory.
my $rounds = $c->cmd(qw(GET rounds));
open my $f, '>', '/dev/shm/filler' or die;
1 while syswrite $f, 'f' x 4096;
close $f;
$c->send(@$_) for ['MULTI'], large(15), [qw(INCR rounds)], ['EXEC'];
eventually { slurp( $n->{log} ) =~ m{asks for \d+ KiB, \d+ KiB are free} }
'in the middle of a record it is said what is missing';
is $n->stop, 0, 'stopped';
unlink '/dev/shm/filler', glob '/dev/shm/nodelife*';
$n->start;
is $n->client->cmd(qw(GET rounds)), $rounds + 1, 'the next start does it, once';
is $n->stop, 0, 'stopped';
done_testing;
