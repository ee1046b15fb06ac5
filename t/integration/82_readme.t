# The commands of README.md's first chapters are true: `make run`'s script
# founds and starts a node, the others are run against it as they stand, but
# for its ports and directories, and Ctrl-C stops it in order.
use strict;
use warnings;
use Cwd ();
use Nodelife;
use Test::More;

my ($chapter) =
  slurp('README.md') =~ /^## Run it in a minute\n(.*?)^## /ms;
my @commands = $chapter =~ /^ {4}(\S.*)$/mg;
is shift @commands, 'make run', 'the first command is make run';
ok @commands > 2, 'and others follow';

# What `make run` runs, in a directory of our own, on ports the OS chooses.
my $n   = Nodelife->new;
my $top = Cwd::getcwd();
$n->{ini}  = "$n->{dir}/run/nodelife.ini";
$n->{data} = "$n->{dir}/run/data";
$n->{run}  = "$n->{dir}/run/node";
my ($ini) = slurp('tools/run.sh') =~ /<<INI\n(.*?)^INI$/ms;
$ini =~ s/\\`/`/g;
$ini =~ s/\$top/$n->{dir}\/run/g;
$ini =~ s/\$ini/$n->{ini}/g;
open my $f, '>', $n->{ini} or die "$n->{ini}: $!";
print $f $ini;
close $f;
my ( $code, $out, $err ) = $n->run( 'nodelifed', '-n', '-c', $n->{ini} );
is $code, 0, "the demo's configuration is accepted" or diag $err;
my ($client) = $out =~ /^client = \S+:(\d+)/m;
my ($http)   = $out =~ /^http = (\S+)/m;
open $f, '>>', $n->{ini} or die "$n->{ini}: $!";
print $f "[listen]\nclient = 127.0.0.1:0\nhttp = 127.0.0.1:0\npeer = none\n"
  . "[shutdown]\nphase_budget = 30s\n";
close $f;
$n->spawn( 'sh', '-c', 'cd "$1" && exec "$2" "$3"', 'sh', $n->{dir},
	"$top/tools/run.sh", build_dir() );
$n->wait_serving;

my %said;
for my $c (@commands) {
	my ($port) = $n->addr('client') =~ /:(\d+)$/;
	my ($as, $b, $addr) = ( $c, build_dir(), $n->addr('http') );
	$as =~ s/-p $client\b/-p $port/;
	$as =~ s/\b\Q$http\E\b/$addr/;
	$as =~ s{(?<=\s)run/}{$n->{dir}/run/};
	$as =~ s{^build/}{$b/};
	$said{$c} = `$as 2>/dev/null`;
	is $?, 0, $c or diag "$as: $said{$c}";
}
is $said{'redis-cli -p 7379 SET k v'}, "OK\n", 'SET answers OK';
is $said{'redis-cli -p 7379 GET k'},   "v\n",  'GET answers v';
my ($curl) = grep { /^curl/ } @commands;
like $said{$curl}, qr/"status": "ok"/, '/readyz says ok';
my ($stat) = grep { /nodelifestat/ } @commands;
like $said{$stat}, qr/master/, 'nodelifestat shows the master';

is $n->signal('INT')->wait_exit, 0, 'Ctrl-C: exit 0';

# Every other command that the chapters name is a target.
my ($tests) = slurp('README.md') =~ /^## Test it\n(.*?)^## /ms;
for my $t ( $chapter =~ /`make (\w+)/g, $tests =~ /make (\w+)/g ) {
	is system("make -n $t >/dev/null 2>&1"), 0, "make $t is a target";
}
done_testing;
