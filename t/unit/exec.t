# t/exec sees what a test leaves behind, names and removes it, and fails the
# test; it passes on how a test ends; it ends one that hangs.
use strict;
use warnings;
use File::Temp qw(tempdir);
use Test::More;

my $dir = tempdir( CLEANUP => 1 );
delete @ENV{qw(NODELIFE_CHECK HARNESS_IS_VERBOSE TEST_LINGER)};
$ENV{NODELIFE_TMP} = $dir;

# Run a script below t/exec: (exit code, what it said).
sub run_test {
	my ($script) = @_;
	open my $f, '>', "$dir/script.t" or die "script: $!";
	print $f $script;
	close $f;
	my $said = `t/exec '$dir/script.t' 2>&1`;
	return ( $? >> 8, $said );
}

my ( $code, $said ) = run_test('print STDERR "hush"; print "ok 1\n1..1\n"');
is $code, 0, 'a good test passes';
is $said, "ok 1\n1..1\n", 'and only its TAP is seen';
( $code, $said ) = run_test('print STDERR "why"; exit 3');
is $code, 3, 'the exit code of one that fails';
is $said, 'why', 'and what it said';
( $code, $said ) = run_test('kill 9, $$');
is $code, 137, 'of one that is killed';

( $code, $said ) = run_test('open my $f, ">", "$ENV{TMPDIR}/f"');
is $code, 1, 'a file is left: failed';
like $said, qr/left behind a file, \S+/, 'it is named';
my ($path) = $said =~ /a file, (\S+)/;
ok !-e $path, 'and removed';

my $other = tempdir( CLEANUP => 1 );
( $code, $said ) = run_test( <<SCRIPT );
open my \$f, '>>', \$ENV{NODELIFE_MADE};
mkdir '$other/made';
print \$f "$other/made\n";
SCRIPT
is $code, 1, 'so does a directory elsewhere that was recorded';
ok !-e "$other/made", 'which is removed';

my $region = "/dev/shm/nodelife.exec.$$";
( $code, $said ) = run_test( <<SCRIPT );
open my \$f, '>', '$region';
print \$f "magic \$ENV{TMPDIR}/nodelife.X/data";
SCRIPT
is $code, 1, 'and a region of a node that lived there';
like $said, qr/left behind a region, \Q$region\E/, 'it is named';
ok !-e $region, 'and removed';

# Pids come again: who left that one was another.
my ( $old, $new ) = map { "/dev/shm/nodelife.exec-$_" } qw(old new);
( $code, $said ) = run_test( <<SCRIPT );
for my \$f ( '$old', '$new' ) { open my \$h, '>', "\$f.\$\$.x" }
utime time - 60, time - 60, glob '$old.*';
SCRIPT
is $code, 1, 'and one with its pid';
unlike $said, qr/\Q$old\E/, 'but none from before it began';
is scalar( grep { unlink } glob "$old.*" ), 1, 'which stays';
is_deeply [ glob "$new.*" ], [], 'the other does not';

( $code, $said ) = run_test('select undef, undef, undef, 0.2 if !fork');
is $code, 0, 'a process that soon follows the test is not left behind';

$ENV{TEST_LINGER} = 1;
( $code, $said ) = run_test( <<'SCRIPT' );
if ( !fork ) { setpgrp; exit if fork; select undef, undef, undef, 600; }
SCRIPT
is $code, 1, 'an orphan stays: failed';
my ($pid) = $said =~ /left behind a process, (\d+)/;
ok $pid, 'it is named';
ok !-e "/proc/$pid", 'and killed';

$ENV{TEST_SECONDS} = 1;
( $code, $said ) = run_test('select undef, undef, undef, 600');
isnt $code, 0, 'a test that hangs has failed';
like $said, qr/still running after 1 s/, 'for that';
is_deeply [ grep { !/script\.t$/ } glob "$dir/*" ], [], 'nothing is left of all';
done_testing;
