# Recovery mode force: a log with damage that a normal boot refuses is booted,
# with what can be had, and everything that was skipped is said; afterwards a
# normal boot works again. What really skipped something begins a new
# generation of the group, also when it is killed in the middle.
use strict;
use warnings;
use File::Path ();
use Nodelife;
use Test::More;
use Time::HiRes ();

my $n = Nodelife->new->start;
my $c = $n->client;
is $c->cmd( 'SET', "k$_", $_ ), 'OK', "k$_" for 1 .. 5;
my $size = $n->stat->{newest_lsn} & 0xffffffff;
$c->cmd( 'SET', "k$_", $_ ) for 6 .. 500;
is $n->stat->{generation}, 1, 'generation 1';
is $n->stop, 0, 'stopped';

# Nothing is wrong: force raises nothing.
$n->configure( boot => { recovery_mode => 'force' } )->start;
is $n->client->cmd(qw(GET k500)), 500, 'force with nothing to force';
is $n->stat->{generation}, 1, 'is no new generation';
is $n->stop, 0, 'stopped';
$n->configure( boot => { recovery_mode => undef } );

# Damage in the middle of the log.
my ($seg) = glob "$n->{data}/wal/*.seg";
open my $f, '+<', $seg or die;
seek $f, $size + 2000, 0;
print $f "\xaa" x 64;
close $f;

$n->spawn;
cmp_ok $n->wait_exit, '>', 0, 'a normal boot refuses';
my $log = slurp $n->{log};
like $log, qr/00000001\.seg.*\d{4}/, 'with file and offset';
like $log, qr/force|restore|recovery_mode/, 'and what can be done';

$n->configure( boot => { recovery_mode => 'force' } );
my $at = length $log;
$n->start;
$c = $n->client;
is $c->cmd( 'GET', "k$_" ), $_, "force: k$_" for 1, 5;
my @left = @{ $c->cmd( 'MGET', map { "k$_" } 1 .. 500 ) };
my $gap  = grep { !defined } @left;
cmp_ok $gap, '>', 0, "$gap of 500 keys are lost";
my ($first) = grep { !defined $left[$_] } 0 .. 499;
is scalar( grep { defined } @left[ $first .. 499 ] ), 0,
  'what is there is a prefix: up to k' . $first;
like substr( slurp( $n->{log} ), $at ), qr/force|skipped|cut|lost/i,
  'what was skipped is said';
is $n->stat->{recovery_mode}, 'force', 'the region says force';
is $n->stat->{generation}, 2, 'what follows is of a new generation';
like substr( slurp( $n->{log} ), $at ), qr/generation 2 .*begins/,
  'which is said';
ok -d "$n->{data}/salvage", 'what was cut off is kept';
is $c->cmd(qw(SET after force)), 'OK', 'it writes';
is $n->stop, 0, 'stopped';

$n->configure( boot => { recovery_mode => undef } )->start;
is $n->client->cmd(qw(GET after)), 'force', 'a normal boot works again';
is $n->client->cmd(qw(GET k1)), 1, 'with what there was';
is $n->stat->{generation}, 2, 'of the new generation still';
my %status = @{ $n->client->cmd(qw(NODELIFE STATUS)) };
is $status{generation}, 2, 'which clients can ask for, too';
is $n->stop, 0, 'stopped';
my ( $code, $out, $err ) = $n->run( 'nodelifewal', 'verify', $n->{data} );
is $code, 0, 'the log verifies' or diag "$out$err";

# Forced again, and cut before the membership that began this generation: the
# node serves before the next one's is in the members file. Killed in between,
# the file is older than what the log has, though its VLSN is higher.
my $members = slurp("$n->{data}/members");
($seg) = sort glob "$n->{data}/wal/*.seg";
open $f, '+<', $seg or die;
seek $f, $size - 40, 0;
print $f "\xaa" x 64;
close $f;
$n->configure( boot => { recovery_mode => 'force' } )->start;
is $n->client->cmd(qw(SET after force)), 'OK', 'forced again, it writes';
is $n->stat->{generation}, 3, 'in generation 3';
eventually { slurp("$n->{data}/members") ne $members } 'members: filed';
$n->kill9->configure( boot => { recovery_mode => undef } );
open $f, '>', "$n->{data}/members" or die;
print $f $members;
close $f;
$n->start;
is $n->client->cmd(qw(GET after)), 'force',
  'a normal boot takes the log\'s membership';
is $n->stat->{generation}, 3, 'of the newer generation';
is $n->stop, 0, 'stopped';

# Killed at any moment of a forced boot that has to cut: nothing that it leaves
# behind stops the next one, and what it serves is of a newer generation.
sub damaged {
	File::Path::remove_tree( $n->{data} );
	system( 'cp', '-a', '--sparse=always', "$n->{dir}/bad", $n->{data} ) == 0
	  or die 'cp';
	return;
}
$n->configure( boot => { recovery_mode => undef } )->start;
my $before = $n->stat->{generation};
$c = $n->client;
$c->pipeline( map { [ 'SET', "m$_", $_ ] } 1 .. 500 );
is $n->stop, 0, 'stopped';
# The newest that was begun: the coming one has its name, too.
my $used;
for ( reverse sort glob "$n->{data}/wal/*.seg" ) {
	$seg  = $_;
	$used = length( slurp($seg) =~ s/\0+\z//r );
	last if $used;
}
open $f, '+<', $seg or die;
seek $f, $used / 2, 0;
print $f "\xaa" x 64;
close $f;
rename $n->{data}, "$n->{dir}/bad" or die;
my %seen;
for my $i ( 0 .. 19 ) {
	damaged();
	$n->configure( boot => { recovery_mode => 'force' } );
	my $end = Time::HiRes::time() + 0.002 + $i * 0.0008;
	$n->spawn;
	wait_until { Time::HiRes::time() >= $end };
	$n->kill9;
	$n->start;
	my $s = $n->stat;
	$seen{ $s->{generation} }++;
	my $got = $n->client->cmd(qw(GET after));
	my $ok  = $s->{generation} > $before && ( $got // '' ) eq 'force';
	$n->kill9->configure( boot => { recovery_mode => undef } )->start;
	$got = $n->client->cmd(qw(GET after));
	$ok &&= ( $got // '' ) eq 'force'
	  && $n->stat->{generation} == $s->{generation};
	ok $ok, "killed in forced boot $i" or diag slurp( $n->{log} );
	$n->kill9;
	unlink $n->{log};
}
diag 'generations: ', join ', ', map { "$_ $seen{$_}" } sort keys %seen;
done_testing;
