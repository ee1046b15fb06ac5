# nodelifestat -w over a boot that waits for the world: it goes on as the node
# does, and says what is waited for when its time is up; of a boot that has
# failed for good it says so.
use strict;
use warnings;
use Nodelife;
use Test::More;

my $n = Nodelife->new(
	restart => { backoff_min => '10ms', backoff_max => '300ms' } )->start;
is $n->client->cmd(qw(SET k 1)), 'OK', 'a node that serves';

sub look {
	my ($seconds) = @_;
	return ( 'nodelifestat', '-r', $n->{run}, '-w', 'gateway_enable', '-t',
		$seconds );
}

sub waits {
	my $s = $n->stat or return 0;
	return grep { $_->{kind} eq 'boot_waits' } @{ $s->{troubles} // [] };
}

rename $n->{data}, "$n->{data}.away" or die;
kill 'KILL', $n->workers->{store};
eventually { waits() } 'its data are not there: the boot waits';
my ( $code, undef, $err ) = $n->run( look(0.5) );
is $code, 2, '-w: not in time, which is no failure';
like $err, qr/timed out: the boot waits: .*No such file.*mounted/,
  'what is waited for, and the remedy';
my $run = $n->run_begin( look(30) );
select undef, undef, undef, 1.5;
rename "$n->{data}.away", $n->{data} or die;
( $code, undef, $err ) = $n->run_end($run);
is $code, 0, '-w: serves when they are back' or diag $err;
is $n->client->cmd(qw(GET k)), 1, 'indeed';

# For good: it had waited, then its data are there, and damaged.
rename $n->{data}, "$n->{data}.away" or die;
kill 'KILL', $n->workers->{store};
eventually { waits() } 'the boot waits again';
$run = $n->run_begin( look(20) );
open my $f, '+<', "$n->{data}.away/state" or die;
print $f "\0" x 8192;
close $f;
rename "$n->{data}.away", $n->{data} or die;
( $code, undef, $err ) = $n->run_end($run);
is $code, 1, '-w: damage is a failure';
like $err, qr/both blocks are damaged/, "with its cause" or diag $err;
isnt $n->wait_exit, 0, 'the daemon has ended';
done_testing;
