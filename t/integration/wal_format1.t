# A data directory of the release before log format 2 (t/lib/log_format1.tar.gz:
# four lives, the last three killed; a checkpoint, parts, deadlines, a
# transaction, a spare ahead of use):
# it is read as it is, served, continued in format 2, killed and booted again;
# the log is one log to its reader all along, and an older release is told.
use strict;
use warnings;
use Test::More;
use JSON::PP;
use Nodelife;

my $n = Nodelife->new(
	wal   => { segment_size => '4M', reserve => '1M', spare_segments => 1 },
	store => { checkpoint_wal => '4M', table_size => '16M', max_value => '2M' },
);
mkdir $n->{data} or die;
chmod 0750, $n->{data};
is system( 'tar', '--no-same-owner', '-C', $n->{data}, '-xzf',
	't/lib/log_format1.tar.gz' ), 0, 'unpacked';

# Segment number => format, by the tool; undef if a line is none.
sub formats {
	my ( undef, $out ) = $n->run( 'nodelifewal', 'dump', '-j', $n->{data} );
	my ( %format, $last );
	for ( split /\n/, $out ) {
		my $r = eval { decode_json($_) } or return;
		$format{ $r->{segment} } = $r->{format} if $r->{type} eq 'segment';
		next if !$r->{vlsn};
		return if defined $last && $r->{vlsn} != $last + 1;
		$last = $r->{vlsn};
	}
	return ( \%format, $last );
}

sub verified {
	my ($what) = @_;
	my ( $code, $out ) = $n->run( 'nodelifewal', 'verify', $n->{data} );
	is $code, 0, "$what: the log is good" or diag $out;
	return;
}

sub content {
	my ($what) = @_;
	my $c = $n->client;
	my $wrong = 0;
	for my $i ( 1 .. 200 ) {
		my $want = $i == 7 ? undef
		  : $i >= 101 && $i <= 130 ? "second $i" : "value $i " . 'x' x 25_000;
		my $got = $c->cmd( 'GET', "key:$i" );
		$wrong++ if ( $got // '' ) ne ( $want // '' );
	}
	$wrong++ for grep { $c->cmd( 'GET', "m:$_" ) ne $_ } 1 .. 100;
	is $wrong, 0, "$what: every key is as it was";
	is $c->cmd(qw(GET last)), 'third life', "$what: the last write, too";
	ok $c->cmd(qw(GET big)) eq 'abcdefghij' x 60_000, "$what: and what came in parts";
	is_deeply [ map { $c->cmd( 'EXPIRETIME', $_ ) } qw(ttl last gone big) ],
	  [ 4102444800, 4102444800, -2, -1 ], "$what: what lives until when";
	is_deeply [ map { $c->cmd( 'GET', $_ ) } qw(tx:a tx:b tx:c) ],
	  [ 42, 'text', undef ], "$what: a transaction";
	return $c;
}

my ( $format, $end ) = formats();
is_deeply $format, { map { $_ => 1 } 1, 2, 4, 6, 8 }, 'five segments of format 1';
is $end, 348, 'to their end';
verified('before');

$n->configure( boot => { recovery_mode => 'readonly' } );
$n->start;
is $n->client->cmd( 'GET', 'key:1' ), 'value 1 ' . 'x' x 25_000, 'readonly: served';
$n->stop;
like slurp("$n->{data}/node"), qr/^nodelife-node 1\n/, 'readonly: nothing is changed';
$n->configure( boot => { recovery_mode => undef } );

$n->start;
my $c = content('first boot');
like slurp("$n->{data}/node"), qr/^nodelife-node 2\n/,
  'an older release is told that it cannot read this';
is $c->cmd(qw(INCR counter)), 102, 'it is written to';
is $c->cmd( 'SET', "new:$_", 'y' x 30_000 ), 'OK' for 1 .. 3;
$n->kill9;
verified('killed');
( $format, $end ) = formats();
is_deeply [ sort values %$format ], [ 1, 1, 1, 1, 1, 2 ], 'it goes on in format 2';

$n->start;
$c = content('second boot');
is $c->cmd(qw(GET counter)), 102, 'what was written to format 2 is there';
my $big = 0;
for ( 1 .. 200 ) { $big++ if $c->cmd( 'SET', "more:$_", 'z' x 50_000 ) eq 'OK' }
is $big, 200, 'over the ends of segments and checkpoints';
$n->stop;
verified('stopped');

$n->start;
$c = content('third boot');
is $c->cmd(qw(GET counter)), 102, 'all of it is there';
is scalar( grep { $c->cmd( 'GET', "more:$_" ) ne 'z' x 50_000 } 1 .. 200 ), 0,
  'and what came last';
$n->kill9;
verified('at the end');
( $format, my $last ) = formats();
ok defined $last && $last > $end, 'one log, without a gap';
is $format->{ ( sort { $b <=> $a } keys %$format )[0] }, 2, 'its end in format 2';

done_testing;
