# make install into an empty DESTDIR puts programs, pages, sample, scripts and
# unit in place and nothing else; what is installed works; uninstall takes all
# of it away.
use strict;
use warnings;
use File::Find ();
use File::Temp ();
use Nodelife;
use Test::More;

delete @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES)};
my $b    = build_dir();
my $dest = File::Temp::tempdir( 'nodelife-install.XXXXXX', DIR => tmp_dir(),
	CLEANUP => 1 );

sub tree {
	my @f;
	File::Find::find( sub { push @f, $File::Find::name =~ s/^\Q$dest\E//r if -f },
		$dest );
	return [ sort @f ];
}

my $out = `make -s B='$b' DESTDIR='$dest' PREFIX=/opt/n install 2>&1`;
is $?, 0, 'make install' or diag $out;
my @want = sort( '/opt/n/sbin/nodelifed',
	( map { "/opt/n/bin/$_" }
		  qw(nodelifestat nodelifectl nodelifewal nodelifebench) ),
	( map { my ($s) = /(\d)$/; "/opt/n/share/man/man$s/$_" }
		  qw(nodelife.7 nodelife-operations.7 nodelifed.8 nodelifestat.8
		  nodelifectl.8 nodelifewal.8 nodelifebench.1
		  nodelife.ini.5 nodelife-wal.5 nodelife-wire.5) ),
	'/etc/nodelife/nodelife.ini.sample', '/etc/init.d/nodelife',
	'/opt/n/share/nodelife/nodelife.openrc',
	'/opt/n/share/nodelife/nodelife-alerts.yml',
	'/lib/systemd/system/nodelife.service' );
is_deeply tree(), \@want, 'everything is in place';
ok -x "$dest$_", "$_ may be run"
  for grep { m{bin/|init\.d} } @want;

my $sample = "$dest/etc/nodelife/nodelife.ini.sample";
is system("'$dest/opt/n/sbin/nodelifed' -n -c '$sample' >/dev/null"), 0,
  'the sample configuration is accepted';
for my $f ( '/etc/init.d/nodelife', '/opt/n/share/nodelife/nodelife.openrc',
	'/lib/systemd/system/nodelife.service' )
{
	my $text = slurp("$dest$f");
	unlike $text, qr/\@\w+\@/, "$f: no place is left open";
	like $text, qr{/opt/n/sbin/nodelifed}, "$f: starts what was installed";
}
like slurp("$dest/lib/systemd/system/nodelife.service"), qr/^Type=notify/m,
  'systemd is told when the node serves';
SKIP: {
	skip 'no systemd-analyze here', 1
	  if system('command -v systemd-analyze >/dev/null 2>&1') != 0;
	my $unit = "$dest/nodelife.service";
	system "sed 's,/opt/n/,$dest&,' '$dest/lib/systemd/system/nodelife.service' >'$unit'";
	is `systemd-analyze verify --man=no '$unit' 2>&1`, '',
	  'systemd accepts the unit';
	unlink $unit;
}
for my $p ( grep { m{/man/} } @want ) {
	is `mandoc -T lint -W warning '$dest$p' 2>&1`, '', "$p is clean";
}

# A node of the installed programs.
{
	local $ENV{NODELIFE_BUILD} = "$dest/opt/n/sbin";
	symlink "../bin/$_", "$dest/opt/n/sbin/$_"
	  for qw(nodelifestat nodelifectl nodelifewal);
	my $n = Nodelife->new->start;
	is $n->client->cmd(qw(SET k v)), 'OK', 'the installed node serves';
	is $n->stop, 0, 'and stops';

	# The same by the init script, which knows where to look.
	$n->configure( node => { log => $n->{log} } );
	my $script = "$n->{dir}/init";
	system "sed 's,/opt/n/,$dest&,; s,/etc/nodelife/nodelife.ini,$n->{ini},'"
	  . " '$dest/etc/init.d/nodelife' >'$script'";
	my $init = sub {
		my ( $verb, $want ) = @_;
		my $said = `sh '$script' $verb 2>&1 </dev/null`;
		is $? >> 8, $want, "init script: $verb" or diag $said;
		my $pid = slurp("$n->{run}/nodelifed.pid") // return;
		$n->adopt( $pid + 0 );
		return $pid + 0;
	};
	$init->( status => 3 );
	my $first = $init->( start => 0 );
	$n->wait_serving;
	is $n->client->cmd(qw(GET k)), 'v', 'it has started the node';
	is $init->( start  => 0 ), $first, 'a second start starts nothing';
	is $init->( status => 0 ), $first, 'which lives';
	is $init->( reload => 0 ), $first, 'also after a reload';
	eventually { slurp( $n->{log} ) =~ /reload: changed: nothing$/m } 'that it did';
	my $second = $init->( restart => 0 );
	isnt $second, $first, 'a restart makes another one';
	is $n->wait_serving->client->cmd(qw(GET k)), 'v', 'with the data';
	$n->configure( wal => { sink => 1 } );
	is $init->( restart => 6 ), $second,
	  'no restart with a configuration that is refused';
	$n->configure( wal => { sink => undef } );
	$n->configure( listen => { http => 'no-such-host.invalid:0' } );
	for my $verb (qw(restart reload)) {
		my $said = `sh '$script' $verb 2>&1 </dev/null`;
		is $? >> 8, 1, "no $verb while nobody knows a host";
		like $said, qr/nobody knows this name now/, 'which is told';
		unlike $said, qr/is refused/, 'and the file not blamed for it';
	}
	$n->configure( listen => { http => '127.0.0.1:0' } );
	$init->( stop => 0 );
	eventually { !-e "/proc/$second" } 'it is gone';
	$init->( status => 3 );
	$init->( stop   => 0 );
	unlink map { "$dest/opt/n/sbin/$_" } qw(nodelifestat nodelifectl nodelifewal);
}

$out = `make -s B='$b' DESTDIR='$dest' PREFIX=/opt/n uninstall 2>&1`;
is $?, 0, 'make uninstall' or diag $out;
is_deeply tree(), [], 'nothing is left';
done_testing;
