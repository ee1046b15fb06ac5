# nodelifed -n holds the configuration against the machine: users, hosts, two
# names of one directory, a map_size below the store's file. A start refuses an
# address that is not there (yet) with a status of its own.
use strict;
use warnings;
use Nodelife;
use Test::More;

my $n = Nodelife->new->found;

sub checked {
	my ( $want, $text, $name ) = @_;
	my ( $code, $out, $err ) = $n->run( 'nodelifed', '-n', '-c', $n->{ini} );
	is $code, $want, "-n, $name: exit $want";
	like $err, $text, "$name: says why";
	like $out, qr/^data_dir = /m, "$name: the configuration is printed";
	return;
}

sub started {
	my ( $want, $text, $name ) = @_;
	my ( $code, undef, $err ) =
	  $n->run( 'nodelifed', '-f', '-c', $n->{ini} );
	is $code, $want, "$name: exit $want";
	like $err, $text, "$name: says why";
	return;
}

checked 0, qr/\A\z/, 'a good one';
$n->configure( node => { user => 'no-such-user-here' } );
checked 78, qr/no-such-user-here/, 'an unknown user';
$n->configure( node => { user => undef },
	listen => { client => 'no-such-host.invalid:0' } );
checked 68, qr/\[listen\] client: no-such-host\.invalid:0: .*name service/,
  'an unknown host';
started 68, qr/\[listen\] client: no-such-host\.invalid:0: .*name service/,
  'a start with it';
$n->configure(
	listen => { client => '127.0.0.1:0', http => '192.0.2.1:0' } );
started 68, qr/\[listen\] http: 192\.0\.2\.1:0: .*bring its interface up/,
  'an address that this machine has not, or not yet';
$n->configure( listen => { http => '127.0.0.1:0' } );

# Links, and what only the file system knows.
symlink $n->{data}, "$n->{dir}/link" or die $!;
for my $run ( "$n->{dir}/link", "$n->{data}/../data", "/$n->{data}/." ) {
	$n->configure( node => { run_dir => $run } );
	my ( $code, undef, $err ) = $n->run( 'nodelifed', '-n', '-c', $n->{ini} );
	is $code, 78, "run_dir = $run: refused";
	like $err, qr/must be two/, 'says why';
	started 78, qr/must be two/, 'a start with it';
}
ok !-e "$n->{data}/nodelifed.pid", 'nothing was made there';

# Two that are not there yet, and will be one.
mkdir "$n->{dir}/real" or die $!;
symlink "$n->{dir}/real", "$n->{dir}/ln" or die $!;
for my $run (qw(ln/c/d real/./new/../c//d real/new/../../ln/c/d)) {
	$n->configure(
		node => { data_dir => "$n->{dir}/real/c/d", run_dir => "$n->{dir}/$run" } );
	checked 78, qr/must be two/, "run_dir = $run, not there yet";
	my ( $code, undef, $err ) =
	  $n->run( 'nodelifed', '--init', '-c', $n->{ini} );
	is $code, 78, "run_dir = $run: not founded";
	ok !-e "$n->{dir}/real/c", 'nor made';
}
$n->configure( node => { run_dir => "$n->{dir}/ln/c/e" } );
checked 0, qr/\A\z/, 'two that will be two';
$n->configure( node => { data_dir => $n->{data} } );
$n->configure( node => { run_dir => $n->{run} } );

mkdir "$n->{data}/store";
open my $f, '>', "$n->{data}/store/data.mdb" or die $!;
truncate $f, 65 << 20;
close $f;
$n->configure( store => { map_size => '64M' } );
checked 78, qr/map_size is 64M, below the size of .*data\.mdb \(68157440 bytes\)/,
  'a map_size below the file';
$n->configure( store => { map_size => '65M' } );
checked 0, qr/\A\z/, 'one that is enough';

# The file that says whose it is, alone.
unlink "$n->{data}/node" or die $!;
started 78,
  qr{: \Q$n->{data}\E/node: it is missing, though store beside it shows that a node was here: nothing is changed: restore the file from a copy$}m,
  'the node file is missing';
done_testing;
