# A store that is written each time that somebody looks at its files is no
# damage, and no reason for a process that opens them to end: a gateway tries
# again, a checkpoint's process leaves it to its child, a boot is waited out,
# and nodelifewal says that it does not know.
use strict;
use warnings;
use Nodelife;
use Test::More;

my $lib = build_dir() . '/t/lib/outrun.so';
plan skip_all => 'no outrun.so' if !-e $lib;

my $n    = Nodelife->new;
my $file = "$n->{dir}/outrun";
my %env  = (
	LD_PRELOAD   => $lib,
	OUTRUN       => $file,
	ASAN_OPTIONS => join( ':', $ENV{ASAN_OPTIONS} // (), 'verify_asan_link_order=0' ),
);
@ENV{ keys %env } = values %env;
sub outrun { open my $f, '>', $file or die; return }

sub said { return () = slurp( $n->{log} ) =~ /$_[0]/g }
my $tries = qr{store/data\.mdb: written each time that it is read: tried again};

$n->start;
my $c = $n->client;
is $c->cmd( 'SET', "k$_", 'v' ), 'OK', 'a key' for 1 .. 3;
is( ( $n->run( 'nodelifectl', '-r', $n->{run}, 'checkpoint' ) )[0], 0, 'a checkpoint' );

for my $name (qw(gateway0 checkpoint)) {
	my $pid = $n->workers->{$name};
	outrun();
	kill KILL => $pid;
	eventually { ( $n->workers->{$name} // $pid ) != $pid } "a new $name";
	my $new = $n->workers->{$name};
	if ( $name eq 'gateway0' ) {
		eventually { said($tries) } 'says that it tries again';
	}
	else {
		eventually { $n->worker_row($name)->{state} eq 'running' } 'goes on';
	}
	my $since = now();
	wait_until { now() > $since + 1 };
	is $n->workers->{$name}, $new, 'and does not end';
	unlink $file;
	eventually { $n->worker_row($name)->{state} eq 'running' } 'it runs';
	is $n->workers->{$name}, $new, 'still the same';
}
is said($tries), 1, 'that is said once';
eventually { ( eval { $n->client->cmd(qw(GET k1)) } // '' ) eq 'v' } 'reads are served';
is( ( $n->run( 'nodelifectl', '-r', $n->{run}, 'checkpoint' ) )[0], 0, 'a checkpoint' );
is $n->stat->{node_restarts}, 0, 'no boot was needed';

outrun();
my ( $code, $out, $err ) = $n->run( 'nodelifewal', 'verify', $n->{data} );
is $code, 0, 'nodelifewal verify: the log is good';
like $err, qr/the checkpoint cannot be read \(Device or resource busy\)/,
  'without what it could not read';
my $pid = $n->workers->{gateway0};
kill KILL => $pid;
eventually { said($tries) == 2 } 'a gateway that tries again';
is $n->stop, 0, 'stops with the node';

# Of a boot.
$n->spawn;
eventually { said(qr/writes it: /) } 'a boot names it';
unlink $file;
is $n->wait_serving->client->cmd(qw(GET k2)), 'v', 'and is waited out';
is said(qr/damage/i), 0, 'nobody speaks of damage';
is $n->stop, 0, 'stopped';

# Damage in what the checkpoint holds, and nothing else tells that it does.
unlink "$n->{data}/wal/hint";
my ($segment) = sort glob "$n->{data}/wal/*.seg";
open my $f, '+<', $segment or die;
seek $f, 4096 + 8, 0;
print $f 'x' x 64;
close $f;
( $code, $out, $err ) = $n->run( 'nodelifewal', 'verify', $n->{data} );
is $code, 3, 'a log with damage where no boot looks';
outrun();
( $code, $out, $err ) = $n->run( 'nodelifewal', 'verify', $n->{data} );
is $code, 74, 'is not judged without the checkpoint';
is $out, '', 'nothing is said of it';
like $err, qr/^nodelifewal: the checkpoint is written each time .*: try again$/, 'but why';
unlink $file;
( $code, $out, $err ) = $n->run( 'nodelifewal', 'verify', $n->{data} );
is $code, 3, 'and with it, it is';
done_testing;
