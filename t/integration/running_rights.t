# Files that become root's below a node of another user: told as want of rights,
# with the file, whose it is, and the command that helps; the command is all
# that it takes, and the node goes on by itself.
use strict;
use warnings;
use Nodelife;
use Test::More;

plan skip_all => 'not root: cannot be somebody else' if $> != 0;

my $n = Nodelife->new(
	node => { user => 'nobody' },
	wal  => { segment_size => '4M', reserve => '1M', buffer_size => '4M',
		keep_size => 0, spare_segments => 1 },
	restart => { limit => 100, backoff_min => '50ms', backoff_max => '200ms' } );
chmod 0755, $n->{dir};
chown( ( getpwnam 'nobody' )[2], -1, $n->{run} );
$n->start;
my $pid = $n->{pid};

sub take {
	my ($path) = @_;
	chown 0, 0, $path;
	chmod -d $path ? 0700 : 0600, $path;
	return;
}

sub troubles {
	my ($kind) = @_;
	return map { $_->{text} } grep { $_->{kind} eq $kind }
	  @{ ( $n->stat // {} )->{troubles} // [] };
}

# What the text says, and that its command helps.
sub is_explained {
	my ( $text, $path, $name ) = @_;
	my $all = -d $path ? '-R ' : '';
	my $mode = -d $path ? '0700' : '0600';
	like $text,
	  qr{\Q$path\E: [\w ]+: Permission denied for user nobody \(owner root, mode $mode\): },
	  "$name: who may not open what, and whose it is";
	my ($command) = $text =~ m{: (chown (?:-R )?nobody: [^\s;]+)} or return fail "$name: command";
	is $command, "chown ${all}nobody: $path", "$name: the command";
	system $command;
	return;
}

# While it runs: the log needs a further segment.
my $wal = "$n->{data}/wal";
take($wal);
my $c = $n->client;
my $r = 'OK';
for ( 1 .. 2000 ) {
	$r = $c->cmd( 'SET', 'x', 'x' x 60000 );
	last if $r ne 'OK';
}
like $r, qr{^ERR nothing was written: \Q$wal\E: .*Permission denied for user nobody},
  'a writer is told';
my ($text) = troubles('log_segment');
is_deeply [ troubles('log_full') ], [], 'the log is not called full';
is $n->stat->{nospace} ? 1 : 0, 0, 'nor its disk';
is_explained( $text // '', $wal, 'wal, running' );
eventually { $c->cmd(qw(SET y 1)) eq 'OK' } 'writes go on';
eventually { !troubles('log_segment') } 'and the trouble is over';

# A later boot.
for my $file ( qw(wal state node store store/data.mdb),
	( map { s/^\Q$n->{data}\E\///r } ( glob "$wal/*.seg" )[0] ) )
{
	my $path = "$n->{data}/$file";
	ok -e $path, "$file is there" or next;
	take($path);
	kill 'KILL', $n->workers->{store};
	eventually { ( ( troubles('boot_waits') )[0] // '' ) =~ /Permission denied/ } "$file: for rights";
	is_explained( ( troubles('boot_waits') )[0] // '', $path, "$file, boot" );
	system 'chown', '-R', 'nobody:', $n->{data};
	is $n->wait_boot(20), 'serves', "$file: the node goes on by itself";
	eventually { ( $n->stat // {} )->{can_write} } "$file: writes, too";
}
is $n->{pid}, $pid, 'the same nodelifed all the time';
is $n->stop, 0, 'stopped';
done_testing;
