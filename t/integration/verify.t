# A boot looks through the store's file in a process of its own. Only what that
# has read and found wrong is damage: when it is killed, or the disk does not
# answer it, the node says so, waits, and boots.
use strict;
use warnings;
use Nodelife;
use Test::More;

my $n = Nodelife->new->start;
my $c = $n->client;
for my $hundred ( 0 .. 199 ) {
	$c->cmd( 'MSET', map { ( "k$_", 'x' x 1000 ) } $hundred * 100 + 1 .. $hundred * 100 + 100 );
}
is( ( $n->run( 'nodelifectl', '-r', $n->{run}, 'checkpoint' ) )[0], 0, 'a store' );
is $n->stop, 0, 'stopped';

sub children {
	my ($pid) = @_;
	return split ' ', slurp("/proc/$pid/task/$pid/children") // '';
}

# Of the node's workers only one has a child meanwhile; killed, if it is there.
sub kill_child {
	my ($signal) = @_;
	return scalar map { kill $signal, $_ } map { children($_) } children( $n->{pid} );
}

# Start the node, and end its look at the store by that signal. The look is
# short: where it was over before it was seen, the next boot has another one.
# What the log says since then is behind what this returns; undef if no look was
# met.
sub kill_look {
	my ($signal) = @_;
	for ( 1 .. 50 ) {
		my $from = -s $n->{log};
		$n->spawn;
		until ( $n->gone || substr( slurp( $n->{log} ), $from ) =~ /serving after/ ) {
			for ( 1 .. 200 ) { return $from if kill_child($signal) }
		}
		$n->stop if !$n->gone;
	}
	return;
}

for my $case (
	[ KILL => qr{its process was killed \(signal 9\).*free memory} ],
	[ ALRM => qr{no end in 60 s.*the disk does not answer} ],
	[ BUS  => qr{Input/output error.*look at the disk} ],
  )
{
	my ( $signal, $says ) = @$case;
	my $from = kill_look($signal);
	ok defined $from, "a look at the store ends by SIG$signal";
	is $n->wait_boot, 'serves', 'the node boots';
	my $log = substr slurp( $n->{log} ), $from;
	like $log, qr{\Q$n->{data}\E/store/data\.mdb: read: $says}, 'and had said why it waited';
	unlike $log, qr{damaged|restore}, 'and nothing of damage';
	is $n->client->cmd( 'GET', 'k1' ), 'x' x 1000, 'all is there';
	is $n->stop, 0, 'stopped';
}
ok defined kill_look('SEGV'), 'a crash';
isnt $n->wait_exit, 0, 'ends the node';
like slurp( $n->{log} ), qr{data\.mdb: damaged: reading its tree ends in signal 11}, 'for damage';
done_testing;
