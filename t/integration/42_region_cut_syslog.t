# The supervisor's last word over a region that was cut short, where the log is
# syslog: said there, too. In a /dev of our own, where /dev/log is ours.
use strict;
use warnings;
use IO::Socket::UNIX;
use Nodelife;
use POSIX ();
use Socket qw(SOCK_DGRAM MSG_DONTWAIT);
use Test::More;

plan skip_all => 'not root: no /dev of our own' if $> != 0;
plan skip_all => 'the number of unshare() is not known here'
  if ( POSIX::uname() )[4] ne 'x86_64';
# unshare(CLONE_NEWNS)
plan skip_all => "cannot unshare: $!" if syscall( 272, 0x20000 ) != 0;
my $made = `exec 2>&1; set -e
mount --make-rprivate /
mount -t tmpfs none /dev
mknod -m 666 /dev/null c 1 3
mknod -m 666 /dev/urandom c 1 9
mkdir /dev/shm
mount -t tmpfs none /dev/shm`;
plan skip_all => "no mounts of our own: $made" if $? != 0;

my $s = IO::Socket::UNIX->new( Local => '/dev/log', Type => SOCK_DGRAM )
  or die "/dev/log: $!";
my $n = Nodelife->new( node => { log => 'syslog' } )->start;
truncate "$n->{run}/region", 0 or die "region: $!";
is $n->wait_exit, 71, 'the supervisor ends';
my $said = '';
ok wait_until( sub {
	recv $s, my $line, 4096, MSG_DONTWAIT;
	$said .= "$line\n" if defined $line;
	$said =~ /SIGBUS: .*region was cut short/;
} ), 'and says why in syslog'
  or diag $said;
done_testing;
