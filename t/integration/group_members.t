# The group's membership is never lost: what the log holds of it is found by
# each boot, however far behind the checkpoint it lies, for as long as the
# members file cannot be written.
use strict;
use warnings;

use File::Path;
use Nodelife;
use Test::More;

my %log = ( wal => { segment_size => '4M', keep_size => '4M' } );

# 30 MB in segments of 4, each third of them behind a checkpoint.
sub load {
	my ($n) = @_;
	my $c = $n->client;
	for ( 1 .. 3 ) {
		my @bad = grep { $_ ne 'OK' }
		  $c->pipeline( map { [ 'SET', "k$_", 'x' x 100000 ] } 1 .. 100 );
		is scalar(@bad), 0, 'writes';
		is( ( $n->run( 'nodelifectl', '-r', $n->{run}, 'checkpoint' ) )[0],
			0, 'checkpoint' );
	}
	return;
}

sub troubles {
	my ($n) = @_;
	return map { $_->{kind} } @{ $n->stat->{troubles} };
}

sub records {
	my ($n) = @_;
	my ( undef, $out ) = $n->run( 'nodelifewal', 'dump', $n->{data} );
	return map { /^\s*(\d+) \d+ \S+ member / ? $1 : () } split /\n/, $out;
}

# The record is in the log only, and the checkpoint far behind it.
{
	my $n = Nodelife->new(%log);
	$n->found;
	mkdir "$n->{data}/members.tmp" or die;
	for my $life ( 1, 2 ) {
		$n->start;
		load($n);
		is $n->stat->{positions}{member}, 2, "life $life knows the record";
		is $n->stat->{positions}{first},  1, '... and keeps it';
		is_deeply [ troubles($n) ], ['members_failed'], '... and says so';
		like $n->stat->{troubles}[0]{text},
		  qr{^\Q$n->{data}\E/members\.tmp: open: Is a directory: the log},
		  '... of the file';
		$n->kill9;
		is_deeply [ records($n) ], [2], '... and writes no other';
	}
	system( 'cp', '-a', '--sparse=always', $n->{data}, "$n->{dir}/bad" ) == 0
	  or die 'cp';
	$n->start;
	is_deeply [ troubles($n) ], ['members_failed'], 'it stands again';
	rmdir "$n->{data}/members.tmp" or die;
	eventually { !troubles($n) } 'over, once it can be written';
	ok -e "$n->{data}/members", 'and is';
	load($n);
	eventually { $n->stat->{positions}{first} > 2 } 'the log is cut';
	$n->kill9;
	$n->start;
	is_deeply [ records($n) ], [], 'the file is all that has it';
	is $n->stop, 0, 'ends';

	# A copy in which that record rots: nothing else has it.
	File::Path::remove_tree( $n->{data} );
	rename "$n->{dir}/bad", $n->{data} or die;
	rmdir "$n->{data}/members.tmp" or die;
	open my $f, '+<', ( sort glob "$n->{data}/wal/*.seg" )[0] or die;
	seek $f, 4096 + 200, 0;
	print $f "\xaa" x 64;
	close $f;
	my $from = -s $n->{log};
	$n->spawn;
	is $n->wait_boot, 'gone', 'it is damaged: refused';
	my $log = substr slurp( $n->{log} ), $from;
	like $log, qr{/wal: record 2 at wal/00000001\.seg offset \d+: }, 'named';
	like $log, qr/recovery_mode = force/, '... with what to do';
	$n->configure( boot => { recovery_mode => 'force' } )->start;
	is $n->stat->{generation}, 2, 'force begins a new generation';
	eventually { -e "$n->{data}/members" } 'with a membership of its own';
	is $n->stop, 0, 'ends';
	$n->configure( boot => { recovery_mode => undef } )->start;
	is $n->client->cmd( 'STRLEN', 'k7' ), 100000, 'a normal boot serves';
	is $n->stop, 0, 'ends';
}

# The first batch of the log rots: force gives the new generation's membership
# the VLSN that the old one has in its file.
{
	my $n = Nodelife->new(%log)->start;
	eventually { -e "$n->{data}/members" } 'filed';
	is $n->stop, 0, 'ends';
	my $old = slurp("$n->{data}/members");
	open my $f, '+<', ( sort glob "$n->{data}/wal/*.seg" )[0] or die;
	seek $f, 4096, 0;
	print $f "\xaa" x 128;
	close $f;
	$n->configure( boot => { recovery_mode => 'force' } )->start;
	is $n->stat->{positions}{member}, 2, 'forced: a record in its place';
	eventually { slurp("$n->{data}/members") ne $old } 'is filed';
	load($n);
	eventually { $n->stat->{positions}{first} > 2 } 'and the log is cut';
	$n->kill9->configure( boot => { recovery_mode => undef } )->start;
	is_deeply [ records($n) ], [], 'a normal boot takes it from the file';
	is $n->stop, 0, 'ends';

	# So is one that no life has filed, of the VLSN that the file has.
	$n = Nodelife->new(%log)->start;
	eventually { -e "$n->{data}/members" } 'filed';
	is $n->stop, 0, 'ends';
	open $f, '+<', ( sort glob "$n->{data}/wal/*.seg" )[0] or die;
	seek $f, 4096, 0;
	print $f "\xaa" x 128;
	close $f;
	$old = slurp("$n->{data}/members");
	mkdir "$n->{data}/members.tmp" or die;
	$n->configure( boot => { recovery_mode => 'force' } )->start;
	load($n);
	is $n->stat->{positions}{first}, 1, 'what is not filed stays in the log';
	$n->kill9->configure( boot => { recovery_mode => undef } );
	rmdir "$n->{data}/members.tmp" or die;
	$n->start;
	eventually { slurp("$n->{data}/members") ne $old } 'the next life files it';
	is $n->stat->{positions}{member}, 2, 'and has written no other';
	is $n->stop, 0, 'ends';
}

done_testing;
