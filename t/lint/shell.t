# Shell scripts parse, and shellcheck (where there is one) has nothing to say.
use strict;
use warnings;
use Test::More;

for my $f ( 'tools/deps.sh', 'tools/run-group.sh', 'tools/run.sh', 't/run', '.ci/run',
	'conf/nodelife.init',
	't/powercut/image.sh', 't/powercut/init',
	glob 't/sim/node/mutants/*.sh' )
{
	my $sh = $f eq '.ci/run' ? 'bash' : 'sh';
	is system( $sh, '-n', $f ), 0, "$f parses";
	next if system('command -v shellcheck >/dev/null 2>&1') != 0;
	is `shellcheck -S warning -s $sh $f 2>&1`, '', "$f: shellcheck";
}
done_testing;
