# io_uring refused, as by a container's filter of system calls: told at once
# by the starting command, with the switch and the filter.
use strict;
use warnings;
use Nodelife;
use POSIX ();
use Test::More;

plan skip_all => 'system calls have these numbers on x86_64'
  if ( POSIX::uname() )[4] ne 'x86_64';

my %call = ( io_uring_setup => 425, io_uring_enter => 426,
	io_uring_register => 427 );

# In a child: let this call fail from now on.
sub filter {
	my ( $number, $error ) = @_;
	my $code = join '', map { pack 'SCCL', @$_ } [ 0x20, 0, 0, 0 ],
	  [ 0x15, 0, 1, $number ], [ 6, 0, 0, 0x50000 | $error ],
	  [ 6, 0, 0, 0x7fff0000 ];
	my $program = pack 'S x6 P', 4, $code;
	# PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP
	return syscall( 157, 38, 1, 0, 0, 0 ) == 0
	  && syscall( 157, 22, 2, $program, 0, 0 ) == 0;
}

my $n = Nodelife->new;
$n->found;

sub start_with {
	my ( $number, $error ) = @_;
	my $said = "$n->{dir}/said";
	my $pid  = fork // die;
	if ( $pid == 0 ) {
		open STDIN,  '<', '/dev/null';
		open STDOUT, '>', $said;
		open STDERR, '>&', \*STDOUT;
		filter( $number, $error ) or POSIX::_exit(126);
		exec build_dir() . '/nodelifed', '-c', $n->{ini}
		  or POSIX::_exit(127);
	}
	waitpid $pid, 0;
	return ( $? >> 8, slurp($said) );
}

for my $name ( sort keys %call ) {
	my ( $code, $said ) = start_with( $call{$name}, POSIX::EPERM() );
	skip_rest() if $code == 126;
	is $code, 71, "$name is not permitted: exit 71";
	like $said, qr/io_uring_disabled.*seccomp.*\Q$name\E/s,
	  'the switch and the filter, with the call';
	ok !-e "$n->{run}/nodelifed.pid", 'nothing was started';
}
my ( $code, $said ) = start_with( $call{io_uring_setup}, POSIX::ENOSYS() );
is $code, 71, 'no such call: exit 71';
like $said, qr/kernel must have it.*seccomp/s, 'the kernel, or the filter';
( $code, $said ) = start_with( 9999, POSIX::EPERM() );
is $code, 0, 'a filter that lets them pass does no harm' or diag $said;
$n->adopt( slurp("$n->{run}/nodelifed.pid") + 0 );
is $n->client->cmd('PING'), 'PONG', 'the node serves';
done_testing;

sub skip_rest {
	plan skip_all => 'no filters here';
	exit 0;
}
