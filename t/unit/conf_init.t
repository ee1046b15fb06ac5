#!/usr/bin/perl
# The SysV script against a daemon of our own that does what the script may
# rely on (-n prints the configuration, -c goes to the background and writes
# its pid file): each action, its LSB exit code, and a refused configuration
# that leaves a running node alone. Then syntax and unit file.
use strict;
use warnings;
use Test::More;
use File::Temp qw(tempdir);
use lib 't/lib';
use Nodelife;

my $dir = tempdir(CLEANUP => 1);
my $run = "$dir/run with blank";
mkdir $run or die $!;

sub put {
	my ($path, $text, $mode) = @_;
	open my $out, '>', $path or die "$path: $!";
	print $out $text;
	close $out or die "$path: $!";
	chmod $mode, $path if $mode;
}

sub get {
	my ($path) = @_;
	open my $in, '<', $path or return '';
	local $/;
	return <$in> // '';
}

# "bad" in the file refuses it; a reload leaves a mark, "deaf" ignores TERM.
put "$dir/nodelifed", <<'DAEMON', 0755;
#!/usr/bin/perl
use POSIX;
my $check = grep { $_ eq '-n' } @ARGV;
open my $in, '<', $ARGV[-1] or exit 78;
my $conf = do { local $/; <$in> };
if ($conf =~ /bad/) { print STDERR "$ARGV[-1]:1: bad\n"; exit 78 }
my ($run) = $conf =~ /^ run_dir = (.*)$/m;
$run =~ s/ ;.*//;
exit 0 if $check;
pipe my $ready, my $tell or die;
if (fork) { close $tell; <$ready>; exit 0 }
POSIX::setsid();
my ($stop, $terms) = (0, 0);
$SIG{TERM} = sub { $stop = 1 if ++$terms > ($conf =~ /deaf/ ? 1 : 0) };
$SIG{HUP} = sub { open my $out, '>', "$run/reloaded" };
open STDIN, '<', '/dev/null';
open STDOUT, '>', '/dev/null';
open STDERR, '>', '/dev/null';
open my $out, '>', "$run/nodelifed.pid" or die;
print $out "$$\n";
close $out;
close $tell;
my $term = POSIX::SigSet->new(SIGTERM, SIGHUP);
my $old = POSIX::SigSet->new;
POSIX::sigprocmask(SIG_BLOCK, $term, $old);
POSIX::sigsuspend($old) until $stop;
unlink "$run/nodelifed.pid";
DAEMON

my $script = get('conf/nodelife.init');
ok $script ne '', 'conf/nodelife.init is there';
$script =~ s/\@SBINDIR\@/$dir/g;
$script =~ s,^CONFIG=.*$,CONFIG=$dir/node.ini,m;
$script =~ s,^STOP_WAIT=\S+,STOP_WAIT=1,m;
$script =~ s,/etc/default/nodelife,$dir/default,g;
unlike $script, qr/\@/, 'nothing is left to fill in';
put "$dir/init", $script, 0755;

my $good = "[node]\n run_dir = $run ; not the default\n";
my $said;

sub init_is {
	my ($action, $want, $text, $what) = @_;
	$said = `"$dir/init" $action 2>&1`;
	is $? >> 8, $want, "$action: $what";
	like $said, $text, "  says so" or diag $said;
}

sub pid { get("$run/nodelifed.pid") =~ /^(\d+)/ ? $1 : 0 }

END {
	my ($status, $pid) = ($?, pid());
	kill KILL => $pid if $pid && $pid != $$;
	$? = $status;
}

init_is 'start', 6, qr/is not there/, 'no configuration';
put "$dir/node.ini", "bad\n";
init_is 'start', 6, qr/node.ini:1: bad\n.*is refused/s, 'refused';
put "$dir/node.ini", $good;
init_is 'status', 3, qr/not running/, 'never started';
init_is 'reload', 7, qr/not running/, 'never started';
init_is 'stop', 0, qr/not running/, 'nothing to do';
init_is 'try-restart', 0, qr/^$/, 'nothing to do';
init_is 'start', 0, qr/started/, 'good';
my $first = pid();
ok $first && kill(0, $first), 'a daemon runs';
init_is 'status', 0, qr/running, pid $first/, 'running';
init_is 'start', 0, qr/already running/, 'started before';
init_is 'reload', 0, qr/asked to reload/, 'good';
wait_until { -e "$run/reloaded" } 10;
ok -e "$run/reloaded", 'the daemon got SIGHUP';

put "$dir/node.ini", "bad\n$good";
for my $action (qw(reload restart force-reload try-restart)) {
	init_is $action, 6, qr/node.ini:1: bad/, 'refused';
}
ok kill(0, $first), 'the daemon still runs';

put "$dir/node.ini", $good;
init_is 'restart', 0, qr/stopped.*started/s, 'good';
my $second = pid();
ok $second && $second != $first && kill(0, $second), 'another daemon runs';
init_is 'stop', 0, qr/stopped/, 'good';
is pid(), 0, 'its pid file is gone';

put "$run/nodelifed.pid", "$$\n";
init_is 'status', 1, qr/dead/, 'a pid file that names another program';
init_is 'start', 0, qr/started/, 'over a stale pid file';
init_is 'stop', 0, qr/stopped/, 'good';

put "$dir/node.ini", "$good; deaf\n";
init_is 'start', 0, qr/started/, 'a daemon that is slow to stop';
init_is 'stop', 0, qr/forcing.*stopped/s, 'is asked twice';
init_is 'juggle', 2, qr/usage/, 'unknown action';

for my $file (qw(init openrc)) {
	is system("sh -n conf/nodelife.$file"), 0, "nodelife.$file parses";
}

SKIP: {
	skip 'no systemd-analyze', 1 if system(
	    'command -v systemd-analyze >/dev/null');
	my $unit = get('conf/nodelife.service');
	put "$dir/true", "#!/bin/sh\n", 0755;
	$unit =~ s,\@SBINDIR\@/nodelifed,$dir/true,g;
	$unit =~ s,^Documentation=.*\n,,m;
	put "$dir/nodelife.service", $unit;
	my $out = `systemd-analyze verify "$dir/nodelife.service" 2>&1`;
	unlike $out, qr/nodelife\.service/, 'systemd accepts the unit'
	    or diag $out;
}
done_testing;
