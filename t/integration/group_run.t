# What `make run-group` runs: three nodes founded and up by one command, which
# says who is master, and who is when that one is killed; Ctrl-C stops all; the
# next time they are there with what they held.
use strict;
use warnings;
use Cwd ();
use Group;
use Nodelife;
use Test::More;

my $n    = Nodelife->new;
my $top  = "$n->{dir}/group";
my $addr = Group::own_address();
my $from = 0;

sub said { return substr slurp( $n->{log} ) // '', $from }

sub begin {
	$from = -s $n->{log} // 0;
	$n->spawn( Cwd::getcwd() . '/tools/run-group.sh', build_dir(), $top, $addr );
	return;
}

sub pids { return map { s/\s+//r } map { slurp($_) // () } glob "$top/n?/run/nodelifed.pid" }

sub master_of {
	my ($not) = @_;
	my $name;
	wait_until {
		$n->gone
		  || ( ($name) = said() =~ /.*^(n\d) is master/ms ) && $name ne ( $not // '' )
	};
	return $name;
}

sub client_of {
	my ($name) = @_;
	my ($port) = slurp("$top/$name.ini") =~ /^client = \S+:(\d+)/m;
	return Nodelife::Client->new("$addr:$port");
}

begin();
my $name = master_of();
ok $name, "$name is master, it says" or diag said();
is client_of($name)->cmd(qw(SET k v)), 'OK', '... and takes a write';
eventually { said() =~ /kill -9 .*Ctrl-C stops all/s } 'it says how to kill it';
my ($pid) = slurp("$top/$name/run/nodelifed.pid") =~ /(\d+)/;
kill 'KILL', $pid;
my $next = master_of($name);
ok $next, "$name is killed: $next is master" or diag said();
eventually { said() =~ /^$name is down/m } '... and it says that it is down';
is client_of($next)->cmd(qw(GET k)), 'v', 'what was written is there';
my @pids = pids();
is $n->signal('INT')->wait_exit, 0, 'Ctrl-C: exit 0' or diag said();
is_deeply [ grep { -e "/proc/$_" && !Nodelife::zombie($_) } @pids ], [], 'no node is left';

begin();
$name = master_of();
ok $name, "again: $name is master" or diag said();
is client_of($name)->cmd(qw(GET k)), 'v', 'what was written is there';
is $n->signal('INT')->wait_exit, 0, 'Ctrl-C: exit 0';
unlink map { readlink // () } glob "$top/n?/run/region{,.prev}";
done_testing;
