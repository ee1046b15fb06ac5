# Rotation of the log by renaming it: after SIGHUP every process writes to the
# new file, whoever it belongs to, and none keeps the old one open.
use strict;
use warnings;
use Test::More;
use Nodelife;

my $user = $> == 0 ? 'nobody' : undef;
my $n = Nodelife->new( node => { user => $user } );
my $log = "$n->{dir}/rotated.log";
chmod 0755, $n->{dir};
$n->configure( node => { log => $log } );
$n->start;
ok -s $log, 'lines go to the file';

# Which processes of the node have the file open, by name.
sub users_of {
	my ($inode) = @_;
	my %workers = ( supervisor => $n->{pid}, %{ $n->workers } );
	return sort grep {
		my $pid = $workers{$_};
		grep { ( ( stat $_ )[1] // 0 ) == $inode } glob "/proc/$pid/fd/*"
	} keys %workers;
}

my @all = sort 'supervisor', keys %{ $n->workers };
my $inode = ( stat $log )[1];
is_deeply [ users_of($inode) ], \@all, 'every process has it open';
rename $log, "$log.1" or die "$log: $!";
$n->signal('HUP');
ok wait_until { -s $log }, 'a new file after SIGHUP';
my $new = ( stat $log )[1];
ok wait_until { "@{[ users_of($new) ]}" eq "@all" }, 'every process opens it';
ok wait_until { !users_of($inode) }, 'and leaves the old one';
like slurp($log), qr/\A\S+ info supervisor: reload: changed: nothing$/m,
  'the first line there is of the reload';
is $n->stop, 0, 'stopped';
like slurp($log), qr/ group: role: master -> shutdown/, 'workers wrote there';
unlike slurp("$log.1"), qr/stop: SIGTERM/, 'and not where they did before';
done_testing;
