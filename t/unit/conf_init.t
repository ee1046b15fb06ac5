#!/usr/bin/perl
# The SysV script with the programs of this build: each action, its LSB exit
# code, and that nothing is told before it is so: a boot that fails at once is
# no start, a stop without the right to is none, a process that happens to
# have the number of a dead node is no node. Then syntax and unit file.
use strict;
use warnings;
use lib 't/lib';
use Nodelife;
use POSIX ();
use Test::More;

my $b = build_dir();
my $n = Nodelife->new( base => File::Temp::tempdir( 'nodelife init.XXXXXX',
	DIR => tmp_dir() ) );
my $dir = $n->{dir};
my $said;
$n->configure( node => { log => $n->{log} } );

sub put {
	my ( $path, $text, $mode ) = @_;
	open my $out, '>', $path or die "$path: $!";
	print $out $text;
	close $out or die "$path: $!";
	chmod $mode, $path if $mode;
	return;
}

sub script {
	my ($bin) = @_;
	my $text = slurp('conf/nodelife.init');
	$text =~ s,\@S?BINDIR\@,$bin,g;
	$text =~ s,^CONFIG=.*$,CONFIG="$n->{ini}",m;
	$text =~ s,^STOP_WAIT=\S+,STOP_WAIT=1,m;
	$text =~ s,/etc/default/nodelife,"$dir/default",g;
	unlike $text, qr/\@\w+\@/, 'nothing is left to fill in';
	put( "$dir/init", $text, 0755 );
	return;
}

sub init_is {
	my ( $action, $want, $text, $what ) = @_;
	$said = `"$dir/init" $action 2>&1 </dev/null`;
	is $? >> 8, $want, "$action: $what";
	like $said, $text, '  says so' or diag $said;
	my $pid = pid();
	$n->adopt($pid) if $pid > 0 && $pid != $$;
	return;
}

sub pid { return 0 + ( slurp("$n->{run}/nodelifed.pid") // 0 ) }

script($b);
my $ini = slurp( $n->{ini} );
rename $n->{ini}, "$n->{ini}.away";
init_is( 'start', 6, qr/is not there/, 'no configuration' );
put( $n->{ini}, "bad\n" );
init_is( 'start', 6, qr/nodelife.ini:1: .*is refused/s, 'refused' );
put( $n->{ini}, $ini );
init_is( 'status', 3, qr/no node runs/, 'never started' );
init_is( 'reload', 7, qr/no node runs/, 'never started' );
init_is( 'stop', 0, qr/no node runs/, 'nothing to do' );
init_is( 'try-restart', 0, qr/^$/, 'nothing to do' );
init_is( 'start', 6, qr/--init.*did not start/s, 'not founded' );
$n->found;
init_is( 'start', 0, qr/running, pid \d+: serving$/m, 'good' );
my $first = pid();
ok $first && kill( 0, $first ), 'a daemon runs';
is $n->client->cmd('PING'), 'PONG', 'and serves when that is told';
init_is( 'status', 0, qr/running, pid $first: serving/, 'running' );
init_is( 'start', 0, qr/already running, pid $first/, 'started before' );
init_is( 'reload', 0, qr/changed: nothing/, 'good' );
put( $n->{ini}, "bad\n$ini" );
for my $action (qw(reload restart force-reload try-restart)) {
	init_is( $action, 6, qr/nodelife.ini:1: /, 'refused' );
}
init_is( 'status', 0, qr/pid $first/, 'still found where it was' );
put( $n->{ini}, $ini );
init_is( 'restart', 0, qr/stopped.*serving/s, 'good' );
my $second = pid();
ok $second && $second != $first && kill( 0, $second ), 'another daemon runs';
init_is( 'stop', 0, qr/stopped/, 'good' );
is pid(), 0, 'its pid file is gone';

# A number that is a program's of a like name.
my $other = "$dir/nodelife-exporter";
system 'cp', '/bin/sleep', $other;
my $like = fork // die;
if ( !$like ) {
	Nodelife::die_with_parent();
	exec $other, 600;
}
wait_until { ( slurp("/proc/$like/comm") // '' ) =~ /^nodelife-/ };
put( "$n->{run}/nodelifed.pid", $like );
$said = `"$dir/init" status 2>&1`;
is $? >> 8, 1, 'status: the pid file names another program';
like $said, qr/dead/, '  says so';
$said = `"$dir/init" stop 2>&1`;
is $? >> 8, 0, 'stop: no node runs';
is waitpid( $like, POSIX::WNOHANG() ), 0, 'and nobody was signalled';
kill 'KILL', $like;
waitpid $like, 0;
init_is( 'start', 0, qr/serving/, 'over a stale pid file' );

# A worker that does not move: forced.
$n->configure( node => { log => $n->{log} } );
kill 'STOP', $n->workers->{vlsn};
init_is( 'stop', 0, qr/still there after 1 s.*forcing.*stopped/s, 'slow' );

# A boot that fails at once: term and vote are no longer what was written.
my $state = "$n->{data}/state";
rename $state, "$state.away";
put( $state, 'x' x -s "$state.away" );
init_is( 'start', 1, qr/did not start/, 'a boot that fails' );
like $said, qr/nodelifed: .*state/s, 'with the cause';
unlike $said, qr/serving|started/, 'and no word of success';
rename "$state.away", $state;

# Who may not.
SKIP: {
	skip 'not root: cannot become somebody else', 4 if $> != 0;
	chmod 0755, $dir;
	mkdir "$dir/bin";
	for (qw(nodelifed nodelifectl)) {
		system 'cp', "$b/$_", "$dir/bin/$_";
	}
	script("'$dir/bin'");
	init_is( 'start', 0, qr/serving/, 'by root' );
	pipe my $r, my $w or die;
	my $began = now();
	my $pid   = fork // die;
	if ( !$pid ) {
		open STDOUT, '>&', $w;
		open STDERR, '>&', $w;
		$( = $) = '65534 65534';
		POSIX::setuid(65534);
		exec "$dir/init", 'stop' or POSIX::_exit(127);
	}
	close $w;
	$said = join '', <$r>;
	waitpid $pid, 0;
	is $? >> 8, 4, 'stop: without the right to: 4';
	like $said, qr/permission denied.*not stopped/s, '  says so';
	is $n->client->cmd('PING'), 'PONG', 'the node goes on';
}

# Another configuration, by its name.
rename $n->{ini}, "$dir/other.ini";
$said = `"$dir/init" status "$dir/other.ini" 2>&1`;
is $? >> 8, 0, 'status of a file named';
$said = `"$dir/init" stop "$dir/other.ini" 2>&1`;
is $? >> 8, 0, 'stop of a file named';
init_is( 'juggle', 2, qr/usage/, 'unknown action' );

for my $file (qw(init openrc)) {
	is system("sh -n conf/nodelife.$file"), 0, "nodelife.$file parses";
}


# What systemd does with an exit status is what nodelifed(8) says of it: those
# that want somebody to change something are not tried again, the others for
# as long as it takes.
{
	my $unit = slurp('conf/nodelife.service');
	my ($page) = slurp('man/nodelifed.8') =~ /^(Who starts the node again.*?)^\.Sh/ms;
	my ($again) = $page =~ /does right with (.*?),\s+and when a signal/s;
	my ($never) = $page =~ /;\s+(.*?),\s+want somebody/s;
	my ($prevent) = $unit =~ /^RestartPreventExitStatus=(.*)$/m;
	is_deeply [ sort split ' ', $prevent ], [ sort $never =~ /(\d+)/g ],
	  'the unit gives up where the page says so';
	my %listed = map { $_ => 1 } slurp('man/nodelifed.8') =~ /^\.It (\d+)$/mg;
	delete $listed{$_} for 0, $again =~ /(\d+)/g, $never =~ /(\d+)/g;
	is_deeply [ keys %listed ], [], 'the page says it of every status';
	my ($head) = $unit =~ /^\[Unit\]$(.*?)^\[/ms;
	like $head, qr/^StartLimitIntervalSec=0$/m, 'nothing else ends the tries';
}
SKIP: {
	skip 'no systemd-analyze', 1
	  if system('command -v systemd-analyze >/dev/null') != 0;
	my $unit = slurp('conf/nodelife.service');
	my $tmp  = File::Temp::tempdir( CLEANUP => 1 );
	put( "$tmp/true", "#!/bin/sh\n", 0755 );
	$unit =~ s,\@SBINDIR\@/nodelifed,$tmp/true,g;
	$unit =~ s,^Documentation=.*\n,,m;
	put( "$tmp/nodelife.service", $unit );
	my $out = `systemd-analyze verify "$tmp/nodelife.service" 2>&1`;
	unlike $out, qr/nodelife\.service/, 'systemd accepts the unit'
	  or diag $out;
}
done_testing;
