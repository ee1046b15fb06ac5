# What must not start says so: a second start, a port in use, a foreign or
# missing data directory, wrong names, bad configuration. Each refusal is one
# clear sentence on standard error and an exit code, and harms nobody.
use strict;
use warnings;
use IO::Socket::INET;
use Nodelife;
use POSIX ();
use Test::More;

my $n = Nodelife->new;

# Many have some patience first: begin several, then look at each.
sub begin {
	my ( $node, @args ) = @_;
	return $node->run_begin( 'nodelifed', @args ? @args : '-f', '-c',
		$node->{ini} );
}

sub refused {
	my ( $node, $text, $name, @args ) = @_;
	my $run = ref $args[0] ? $args[0] : begin( $node, @args );
	my ( $code, undef, $err ) = $node->run_end($run);
	cmp_ok $code, '>', 0, "$name: exit $code";
	like $err, $text, "$name: says why";
	return;
}

refused $n, qr/does not exist|holds no node/, 'nothing founded';
$n->found;
refused $n, qr/data/, 'founded twice', '--init';
$n->start;
my $c = $n->client;
is $c->cmd(qw(SET k v)), 'OK', 'the node serves';

# Another run_dir, the same data: waits until the holders are gone, or not.
my $same = Nodelife->new( node => { data_dir => $n->{data} } );
my $busy = Nodelife->new( listen => { client => $n->addr('client') } );
$busy->found;
my @begun = ( begin($n), begin($same), begin($busy) );
refused $n, qr/$n->{pid}|run|pid/, 'a second start of the same file',
  $begun[0];
refused $same, qr/in use/, 'a second start on the same data', $begun[1];
refused $busy, qr/127\.0\.0\.1:\d+.*(?:in use|Address)/s,
  'client port in use', $begun[2];
$busy->configure(
	listen => { client => '127.0.0.1:0', http => $n->addr('http') } );
refused $busy, qr/127\.0\.0\.1:\d+/, 'http port in use';
is $c->cmd(qw(GET k)), 'v', 'the first node goes on';
is $n->stop, 0, 'and stops in order';

# Names.
$n->configure( node => { name => 'n2' } );
refused $n, qr/belongs to node n1, not n2/, 'another node name';
$n->configure( node => { name => 'n1', group => 'others' } );
refused $n, qr/belongs to group test, not others/, 'another group name';
$n->configure( node => { group => 'test' } );

# What is no data directory.
my $foreign = Nodelife->new;
mkdir $foreign->{data};
open my $f, '>', "$foreign->{data}/photo.jpg";
print $f "not ours\n";
close $f;
refused $foreign, qr/holds no node/, 'a directory of something else';
refused $foreign, qr/empty|not ours|photo/, 'and founding in it', '--init';
is slurp("$foreign->{data}/photo.jpg"), "not ours\n", 'which stays as it is';
my $file = Nodelife->new;
open $f, '>', $file->{data};
close $f;
refused $file, qr/[Nn]ot a directory|directory/, 'a file as data directory';
my $new = Nodelife->new;
$new->found;
my $text = slurp("$new->{data}/node");
$text =~ s/^(nodelife-node )\d+/${1}99/m;
open $f, '>', "$new->{data}/node";
print $f $text;
close $f;
refused $new, qr/node/, 'a format of the future, or a changed file';

# Nobody's rights: run as a user who may not write.
SKIP: {
	skip 'not root: cannot become somebody else', 6 if $> != 0;
	my $ro = Nodelife->new( node => { user => 'nobody' } );
	chmod 0755, $ro->{dir};
	$ro->configure( node => { user => undef } )->found;
	$ro->configure( node => { user => 'nobody' } );
	chmod 0750, $ro->{data};
	refused $ro, qr/cannot write|Permission|owner/, 'an unwritable directory';
	$ro->configure( node => { user => 'no-such-user-here' } );
	refused $ro, qr/no-such-user-here/, 'an unknown user';
	chmod 0755, $ro->{dir};
	system 'chown', '-R', 'nobody', $ro->{data}, $ro->{run};
	$ro->configure( node => { user => 'nobody' } );
	$ro->start;
	my @st = stat "/proc/@{[ $ro->workers->{wal} ]}";
	is $st[4], ( getpwnam 'nobody' )[2], 'privileges are dropped';
	is $ro->stop, 0, 'a node of nobody stops in order';
}

# The configuration: all mistakes in one run, with file and line.
my $bad = Nodelife->new( nonsense => { a => 1 }, wal => { segment_size => '3' },
	listen => { client => 'nowhere' } );
my ( $code, undef, $err ) = $bad->run( 'nodelifed', '-n', '-c', $bad->{ini} );
is $code, 78, 'bad configuration: 78';
is scalar( () = $err =~ /^\Q$bad->{ini}\E:\d+: /mg ), 3,
  'every mistake with its line';
( $code, my $out, $err ) = $n->run( 'nodelifed', '-n', '-c', $n->{ini} );
is $code, 0, "-n of a good one: $err";
like $out, qr/^segment_size = 64M/m, 'prints what is in effect';

# A stale pidfile and a stale region are no reason.
$n->start;
is $n->client->cmd(qw(GET k)), 'v', 'data are there';
$n->kill9;
is $n->stat->{state}, 'dead', 'the region says dead';
$n->start;
is $n->client->cmd(qw(GET k)), 'v', 'started after a crash';
ok -e readlink("$n->{run}/region.prev"), 'the region before is kept';
is $n->stop, 0, 'stopped';
done_testing;
