# A network of one's own, in small: hosts that are network namespaces on one
# switch, and cuts between any two of them, each way for itself.
#
#	my $why = Net::lacks();			# '' or what is missing
#	my $net = Net->new(3);			# hosts 1, 2, 3; the test is beside them
#	Group->new( $net->for_group );
#	$net->cut( 1 => 2 );			# what 1 sends to 2 is lost
#	$net->part( [1], [ 2, 3 ] );		# both ways, between these and those
#	$net->heal;
#
# All of it is in namespaces of this process: it goes with it and is seen by
# nobody else. The test reaches every host, always.
package Net;

use strict;
use warnings;
use Carp;
use POSIX ();
use World;

use constant { CLONE_NEWNS => 0x20000, CLONE_NEWNET => 0x40000000 };

sub lacks {
	return 'the number of unshare() is not known here'
	  if ( POSIX::uname() )[4] ne 'x86_64';
	for my $program (qw(ip nft mount)) {
		return "no $program here" if !World::which($program);
	}
	return "not root" if $> != 0;
	return $World::error
	  if !defined World::try( qw(unshare -m -n sh -c),
		'ip link add name v1 type veth peer name v2 && ip link add name s type bridge'
		  . ' && nft add table inet cut' );
	return '';
}

# unshare() is of this process and what it starts from now on.
sub new {
	my ( $class, $hosts ) = @_;
	syscall( 272, CLONE_NEWNS | CLONE_NEWNET ) == 0 or croak "unshare: $!";
	my @do = (
		'mount --make-rprivate /', 'mkdir -p /run/netns',
		'mount -t tmpfs none /run/netns', 'ip link set lo up',
		'ip link add switch type bridge', 'ip link set switch up',
		'ip addr add 10.77.0.100/24 dev switch' );
	for my $n ( 1 .. $hosts ) {
		push @do, "ip netns add h$n",
		  "ip link add v$n type veth peer name eth0 netns h$n",
		  "ip link set v$n master switch up", "ip -n h$n link set lo up",
		  "ip -n h$n addr add 10.77.0.$n/24 dev eth0", "ip -n h$n link set eth0 up",
		  "ip netns exec h$n nft add table inet cut",
		  "ip netns exec h$n nft add chain inet cut in"
		  . " { type filter hook input priority 0 ; }";
	}
	World::must( split ' ' ) for @do;
	return bless { hosts => $hosts }, $class;
}

# What Group->new takes to put each member on a host.
sub for_group {
	my ($self) = @_;
	return (
		members => $self->{hosts},
		at      => sub { "10.77.0.$_[0]" },
		enter   => sub { ( qw(ip netns exec), "h$_[0]" ) },
	);
}

sub on {
	my ( $host, @command ) = @_;
	World::must( qw(ip netns exec), "h$host", @command );
	return;
}

sub cut {
	my ( $self, $from, $to ) = @_;
	on( $to, qw(nft add rule inet cut in ip saddr), "10.77.0.$from", 'drop' );
	return $self;
}

sub part {
	my ( $self, $these, $those ) = @_;
	for my $a (@$these) {
		for my $b (@$those) { $self->cut( $a => $b ); $self->cut( $b => $a ) }
	}
	return $self;
}

sub heal {
	my ($self) = @_;
	on( $_, qw(nft flush chain inet cut in) ) for 1 .. $self->{hosts};
	return $self;
}

1;
