# The log's directory is lost, the checkpoint is there: a normal boot refuses
# and says what can be done; recovery mode force serves what the checkpoint
# holds, says what is lost, gives no VLSN and no term out again, and a normal
# boot works afterwards. With and without hint and VLSN index, which prove
# more; also when the state file is gone.
use strict;
use warnings;
use File::Path ();
use Nodelife;
use Test::More;

my $n = Nodelife->new->start;
my $c = $n->client;
my %kept = map { ( "kept$_" => "value $_" ) } 1 .. 300;
is scalar( grep { $_ ne 'OK' }
	  $c->pipeline( map { [ 'SET', $_, $kept{$_} ] } sort keys %kept ) ),
  0, '300 keys';
# Terms are worth something only if there was more than one.
$n->kill9->start for 1 .. 3;
my $term = $n->stat->{term};
cmp_ok $term, '>=', 4, "term $term";
my ( $code, undef, $err ) =
  $n->run( 'nodelifectl', '-r', $n->{run}, 'checkpoint' );
is $code, 0, "a checkpoint: $err";
my $checkpoint = $n->stat->{positions}{checkpointed};
cmp_ok $checkpoint, '>=', 300, "of record $checkpoint";
$c = $n->client;
is scalar( grep { $_ ne 'OK' }
	  $c->pipeline( map { [ 'SET', "lost$_", 'x' x 1000 ] } 1 .. 3000 ) ),
  0, '3,000 more';
my $end = $n->stat->{positions}{appended};
eventually { $n->stat->{positions}{indexed} > $checkpoint }
  'indexed behind the checkpoint';
my $hint = "$n->{data}/wal/hint";
eventually { ( -s $hint // 0 ) == 24 } 'a hint';
is $n->stop, 0, 'stopped';
my $good = "$n->{dir}/good";
system( 'cp', '-a', '--sparse=always', $n->{data}, $good ) == 0 or die 'cp';

# What the index proves: the highest durable VLSN in its pages.
my $indexed = 0;
my $pages   = slurp("$good/index/vlsn.idx");
for my $at ( 1 .. length($pages) / 4096 - 1 ) {
	my $durable = unpack 'x24 Q<', substr $pages, $at * 4096, 4096;
	$indexed = $durable if $durable > $indexed;
}
cmp_ok $indexed, '>', $checkpoint, "the index proves record $indexed";

sub lose {
	my (@what) = @_;
	File::Path::remove_tree( $n->{data} );
	system( 'cp', '-a', '--sparse=always', $good, $n->{data} ) == 0
	  or die 'cp';
	unlink glob "$n->{data}/$_" for 'wal/*.seg', @what;
	unlink $n->{log};
	$n->configure( boot => { recovery_mode => undef } );
	return;
}

sub refused {
	my ($name) = @_;
	$n->spawn;
	cmp_ok $n->wait_exit, '>', 0, "$name: a normal boot refuses";
	like slurp( $n->{log} ), qr/recovery_mode = force/,
	  "$name: and says what can be done";
	return;
}

sub forced {
	my ( $name, $floor ) = @_;
	$n->configure( boot => { recovery_mode => 'force' } )->start;
	$c = $n->client;
	my $got = $c->cmd( 'MGET', sort keys %kept );
	is_deeply $got, [ map { $kept{$_} } sort keys %kept ],
	  "$name: all that the checkpoint holds";
	is $c->cmd('DBSIZE'), 300, "$name: and no more";
	my $s = $n->stat;
	cmp_ok $s->{positions}{first}, '==', $floor + 1,
	  "$name: the log goes on behind record $floor";
	is $s->{generation}, 2, "$name: in a new generation";
	cmp_ok $s->{term}, '>', $term, "$name: in a newer term, $s->{term}";
	my $log = slurp( $n->{log} );
	like $log, qr/forced: a new log begins behind record $floor\b.*lost/,
	  "$name: the loss is told";
	like $log, qr/records @{[ $checkpoint + 1 ]} to $floor are not in the log/,
	  "$name: by its numbers"
	  if $floor > $checkpoint;
	is $c->cmd( 'SET', 'new', $name ), 'OK', "$name: it writes";
	cmp_ok $c->cmd( 'INCR', 'n' ), '==', 1, "$name: and counts";
	return $s->{term};
}

sub normal_again {
	my ( $name, $was ) = @_;
	$n->kill9->configure( boot => { recovery_mode => undef } )->start;
	$c = $n->client;
	is $c->cmd(qw(GET new)), $name, "$name: a normal boot works again";
	is $c->cmd(qw(GET kept7)), 'value 7', "$name: with what there was";
	is $c->cmd(qw(GET lost7)), undef, "$name: without what was lost";
	cmp_ok $n->stat->{term}, '>', $was, "$name: terms go on";
	is $n->stat->{generation}, 2, "$name: in that generation";
	is $c->cmd(qw(INCR n)), 2, "$name: and so does the store";
	is $n->stop, 0, "$name: stopped";
	my ( $rc, $out, $text ) = $n->run( 'nodelifewal', 'verify', $n->{data} );
	is $rc, 0, "$name: the log verifies" or diag "$out$text";
	return;
}

sub all_of {
	my ( $name, $floor, @what ) = @_;
	lose(@what);
	refused($name);
	normal_again( $name, forced( $name, $floor ) );
	return;
}

all_of( 'segments', $indexed );
all_of( 'segments and hint', $indexed, 'wal/hint' );
all_of( 'segments and index', $checkpoint, 'index/*' );
all_of( 'all but checkpoint and state', $checkpoint, 'wal/*', 'index/*' );
all_of( 'state, too', $checkpoint, 'wal/*', 'index/*', 'state' );

# Forced without a normal boot before it; and the directory itself is gone.
lose( 'index/*' );
File::Path::remove_tree("$n->{data}/wal");
normal_again( 'no directory', forced( 'no directory', $checkpoint ) );

# Forced, but nothing is wrong.
lose();
File::Path::remove_tree( $n->{data} );
system( 'cp', '-a', '--sparse=always', $good, $n->{data} ) == 0 or die 'cp';
$n->configure( boot => { recovery_mode => 'force' } )->start;
is $n->client->cmd('DBSIZE'), 3300, 'force with nothing to force: all is there';
unlike slurp( $n->{log} ), qr/lost|forced:/, 'and nothing is said';
is $n->stop, 0, 'stopped';
done_testing;
