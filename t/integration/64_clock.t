# Wrong clocks. A clock that was years ahead for one boot, one that is set back
# by a day and one that is set ahead while the node runs: what is written once
# it is right again lives exactly as long as it says, the log is whole, and the
# screen, the metrics and the log tell of each step.
use strict;
use warnings;
use Test::More;
use Nodelife;
use World;

use constant DAY => 86_400;

my $n = Nodelife->new;
my $file = "$n->{dir}/clock";
my $shift = 0;

# Set the node's clock apart from the machine's.
sub clock {
	($shift) = @_;
	open my $f, '>', "$file.new" or die "$file.new: $!";
	print $f "$shift\n";
	close $f;
	rename "$file.new", $file or die "$file: $!";
	return;
}
clock(0);
my %preload = World::clock($file) or plan skip_all => 'no clock_shift.so';

sub boot {
	local %ENV = ( %ENV, %preload );
	return $n->start;
}

sub node_now { return time + $shift }

# A key lives through its time, no longer; what has no time lives on.
sub lives_as_it_says {
	my ( $c, $what ) = @_;
	my $from = now();
	is $c->cmd( qw(SET brief v PX 400) ), 'OK', "$what: SET PX 400";
	my ( $got, $left ) = ( $c->cmd(qw(GET brief)), $c->cmd(qw(PTTL brief)) );
	my $took = now() - $from;
	ok $took > 0.4 || $got eq 'v' && $left > 0 && $left <= 400,
	  "$what: it lives, $left ms more";
	eventually { !defined $c->cmd(qw(GET brief)) } "$what: and goes";
	cmp_ok now() - $from, '>=', 0.39, "$what: not too early";
	is $c->cmd( qw(SET dated v EXAT), node_now() + 3600 ), 'OK',
	  "$what: SET EXAT in an hour";
	my $ttl = $c->cmd(qw(TTL dated));
	ok $ttl > 3000 && $ttl <= 3601, "$what: lives for an hour: $ttl s";
	my ($time) = @{ $c->cmd('TIME') };
	cmp_ok abs( $time - node_now() ), '<', 60, "$what: TIME is the clock's";
	return;
}

sub metric {
	my ($name) = @_;
	my ( undef, $body ) = $n->http('/metrics');
	return $body =~ /^nodelife_$name (\S+)$/m ? $1 : undef;
}

sub clock_records {
	my ( undef, $out ) =
	  $n->run( qw(nodelifewal dump -j), $n->{data} );
	return grep { $_->{type} eq 'clock' }
	  map { JSON::PP::decode_json($_) } split /\n/, $out;
}

clock( 3650 * DAY );
boot();
my $c = $n->client;
is $c->cmd( qw(SET wrong v EX 3600) ), 'OK', 'ten years ahead: a key is set';
is $n->stop, 0, 'stopped';

clock(0);
boot();
$c = $n->client;
lives_as_it_says( $c, 'right again' );
my $ttl = $c->cmd(qw(TTL wrong));
cmp_ok abs( $ttl - 3650 * DAY ), '<=', 3600,
  'what was set by the wrong clock keeps its date';
like $n->trouble('clock'), qr/^clock: is behind the log by 3153\d{5}\.\d s: record \d+ sets log time back from .* to /,
  'the screen tells of it';
is metric('clock_steps_total'),   1,       'counted';
is metric('clock_ahead_seconds'), '0.000', 'log time is the clock\'s';
my @back = clock_records();
is @back, 1, 'one record in the log';
is $back[0]{cause}, 'the log was ahead at boot', 'says why';
cmp_ok $back[0]{old_time_ms} - $back[0]{time_ms}, '>', 3649 * DAY * 1000,
  'and by how much';

clock( -DAY() );
lives_as_it_says( $c, 'a day back' );
like $n->trouble('clock'), qr/^clock: was set back by 86[34]\d\d\.\d s: record /,
  'the screen tells of that';
is $c->cmd( qw(SET short v EX 3600) ), 'OK', 'a key for an hour';
clock(DAY);
eventually { !defined $c->cmd(qw(GET short)) } 'two days ahead: it goes';
eventually { $n->trouble('clock') =~ /^clock: was set ahead by 1728\d\d\.\d s/ }
	'the screen tells of that, too';
clock(0);
lives_as_it_says( $c, 'and back again' );
eventually { metric('clock_steps_total') == 4 } 'four steps';
is metric('wal_errors_total'), 0, 'no fault of the log';

# A gateway that nobody asked for a while tells the time of the record, too.
my $asked = now();
wait_until { now() > $asked + 4 };
clock(-12);
eventually { $n->trouble('clock') =~ /^clock: was set back by 1[12]\.\d s: record / }
	'twelve seconds back: the screen tells of it';
is $c->cmd( qw(SET some v PX 100000) ), 'OK', 'a key';
my ( $since, $first ) = ( now(), $c->cmd(qw(PTTL some)) );
wait_until { now() > $since + 2.5 };
my $gone = now() - $since;
cmp_ok $first - $c->cmd(qw(PTTL some)), '>=', 1000 * 0.8 * $gone - 50,
  'its time goes on';
clock(0);
wait_until { metric('clock_steps_total') == 6 };

# Nor does it hold the time when the clock was set twice since it was asked.
is $c->cmd( qw(SET some v PX 100000) ), 'OK', 'a key';
$asked = now();
wait_until { now() > $asked + 1.5 };
clock(-12);
eventually { metric('clock_steps_total') == 7 } 'twelve seconds back';
clock(-7);
( $since, $first ) = ( now(), $c->cmd(qw(PTTL some)) );
wait_until { now() > $since + 1.5 };
$gone = now() - $since;
cmp_ok $first - $c->cmd(qw(PTTL some)), '>=', 1000 * 0.8 * $gone - 50,
  'its time goes on';

# Too little for a record: log time goes on, a little slower.
clock(-12);
is $c->cmd( qw(SET some v EX 100) ), 'OK', 'five seconds back';
eventually { metric('clock_ahead_seconds') > 4 } 'log time is ahead';
my ( $from, $left ) = ( now(), $c->cmd(qw(PTTL some)) );
wait_until { now() > $from + 1 };
my $took = now() - $from;
cmp_ok $left - $c->cmd(qw(PTTL some)), '>=', 1000 * 0.8 * $took - 50,
  'and goes on';
$n->kill9;
is scalar( clock_records() ), 5, 'five times the log went back, not for five seconds';

my ( $code, $out ) = $n->run( qw(nodelifewal verify), $n->{data} );
is $code, 0, 'the log is whole' or diag $out;
clock(0);
boot();
$c = $n->client;
lives_as_it_says( $c, 'after kill -9' );
$ttl = $c->cmd(qw(TTL wrong));
cmp_ok abs( $ttl - 3650 * DAY ), '<=', 3600, 'all is as it was';
is $n->stop, 0, 'stopped';
done_testing;
