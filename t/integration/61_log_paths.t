# Both ways to write the log, past the page cache and through it: the same
# results, over segments, checkpoints, a clean stop and a crash; and a log
# written one way is read and gone on with the other way.
use strict;
use warnings;
use Nodelife;
use Test::More;

my $n = Nodelife->new(
	wal   => { io => 'buffered', segment_size => '4M', keep_size => '8M' },
	store => { checkpoint_wal => '4M' } );
my %want;
for my $io (qw(buffered direct auto buffered)) {
	$n->configure( wal => { io => $io } );
	my $up = $n->spawn->wait_boot;
	if ( $up eq 'gone' && $io eq 'direct' && slurp( $n->{log} ) =~ /O_DIRECT/ ) {
		pass 'direct: this file system has no O_DIRECT, said so';
		next;
	}
	die "$io: the node $up" if $up ne 'serves';
	my $c = $n->client;
	for my $round ( 1 .. 15 ) {
		my @cmds = map { [ 'SET', "k:$io:$_", "$round " . 'x' x 900 ] }
		  1 .. 500;
		my @r = $c->pipeline(@cmds);
		is scalar( grep { $_ ne 'OK' } @r ), 0, "$io: round $round"
		  if $round % 5 == 0;
	}
	my $big = "$io " x 500_000;
	is $c->cmd( 'SET', "big:$io", $big ), 'OK', "$io: a big value";
	$want{"big:$io"} = $big;
	$want{"k:$io:$_"} = '15 ' . 'x' x 900 for 1 .. 500;
	my $s = $n->stat;
	cmp_ok $s->{counters}{wal_segments}, '>', 1, "$io: several segments";
	eventually { $n->stat->{counters}{checkpoints} > 0 }
	  "$io: checkpoints";
	if   ( $io eq 'auto' ) { $n->kill9 }
	else                   { is $n->stop, 0, "$io: stopped" }
	my ( $code, $out, $err ) = $n->run( 'nodelifewal', 'verify', $n->{data} );
	ok $code == 0 || $io eq 'auto' && $code == 1, "$io: the log verifies"
	  or diag "$code: $out$err";
}
$n->start;
my $c    = $n->client;
my @keys = sort keys %want;
my $bad  = 0;
while ( my @part = splice @keys, 0, 100 ) {
	my $got = $c->cmd( 'MGET', @part );
	for (@part) {
		my $v = shift @$got;
		$bad++ if !defined $v || $v ne $want{$_};
	}
}
is $bad, 0, 'everything is there';
eventually { ( my @seg = glob "$n->{data}/wal/*.seg" ) < 20 }
  'old segments were given up';
is $n->stop, 0, 'stopped';

# The levels of [wal] sync answer earlier; an orderly stop loses nothing.
for my $sync (qw(write_no_sync no_sync)) {
	$n->configure( wal => { sync => $sync } )->start;
	$c = $n->client;
	my @r = $c->pipeline( map { [ 'SET', "$sync:$_", $_ ] } 1 .. 1000 );
	is scalar( grep { $_ ne 'OK' } @r ), 0, "$sync: 1000 writes";
	is $c->cmd( 'INCR', "$sync:1000" ), 1001, "$sync: reads see them";
	is $n->stop, 0, "$sync: stopped";
	$n->start;
	is $n->client->cmd( 'GET', "$sync:1000" ), 1001, "$sync: kept";
	is $n->stop, 0, "$sync: stopped again";
}
done_testing;
