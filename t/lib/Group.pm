# What tests of a group stand on: members on this machine, each a node of
# Nodelife.pm with an address of its own, founded together; who is master; a
# load that writes down what it saw, and judges it (Register.pm).
#
#	my $g = Group->new( members => 3 )->start;	# founded, one is master
#	my $m = $g->master;				# a Group::Member
#	my $load = $g->load( keys => 64 );
#	$m->kill9;
#	my $next = $g->wait_master($m);			# another one
#	$m->start;
#	my $h = $load->stop;				# a Group::History
#	is $h->fault, '', 'linearizable';
#	$g->same_content;				# a test
#
# A member's methods are a node's; Nodelife.pm cleans up behind all of them.
package Group;

use strict;
use warnings;
use Carp;
use IO::Socket::INET;
use List::Util qw(first);
use Nodelife;

my $groups = 0;

# An address that nobody else's sockets are on: loopback is a whole network, and
# what picks a port for itself picks it on 127.0.0.1.
sub own_address {
	my $id = $$ * 4 + $groups++ % 4;
	return join '.', 127, 64 + ( $id >> 16 & 127 ), $id >> 8 & 255,
	  1 + $id % 254;
}

# A port of that address that is free, and stays so, as nobody binds others.
sub port {
	my ($addr) = @_;
	my $s = IO::Socket::INET->new( Listen => 1, LocalAddr => $addr )
	  // croak "$addr: $!";
	return $s->sockport;
}

# What is not named here is a section for each member's configuration; keys of
# `each` are members' names, their values sections of theirs alone.
#	members	how many (3)
#	at	for a member's number: address of its own (one for all)
#	enter	for a member's number: the command that runs commands there
sub new {
	my ( $class, %opt ) = @_;
	my $count = delete $opt{members} // 3;
	my $at    = delete $opt{at};
	my $enter = delete $opt{enter};
	my $each  = delete $opt{each} // {};
	my $own   = $at ? undef : own_address();
	my @place = map {
		my $addr = $at ? $at->($_) : $own;
		# In a place of its own any port is free.
		my ( $peer, $client ) =
		  $at ? ( 7380, 7379 ) : ( port($own), port($own) );
		{
			name => "n$_", addr => $addr, peer => "$addr:$peer",
			client => "$addr:$client", enter => $enter ? [ $enter->($_) ] : [],
		}
	} 1 .. $count;
	my $self = bless { place => \@place, opt => \%opt, each => $each }, $class;
	$self->{member} = [ map { $self->member_new($_) } @place ];
	$self->key if $at;
	return $self;
}

sub member_new {
	my ( $self, $place ) = @_;
	my %sections = (
		listen => { client => $place->{client}, peer => $place->{peer} },
		map {
			$_->{name} eq $place->{name} ? ()
			  : ( "peer $_->{name}" => { address => $_->{peer} } )
		} @{ $self->{place} },
	);
	$sections{node}{name} = $place->{name};
	$sections{listen}{http} = "$place->{addr}:0";
	for my $own ( $self->{opt}, $self->{each}{ $place->{name} } // {} ) {
		for my $s ( keys %$own ) {
			$sections{$s}{$_} = $own->{$s}{$_} for keys %{ $own->{$s} };
		}
	}
	my $m = Group::Member->new(%sections);
	@$m{qw(name enter client)} = @$place{qw(name enter client)};
	$m->{data} = $sections{node}{data_dir} // $m->{data};
	return $m;
}

# A key that all have: beyond loopback none talks to another without.
sub key {
	my ($self) = @_;
	my $path = $self->member(1)->{dir} . '/key';
	open my $f, '>', $path or croak "$path: $!";
	chmod 0600, $path;
	print $f map { chr 33 + rand 90 } 1 .. 64;
	close $f;
	$_->configure( security => { group_key_file => $path } ) for $self->members;
	return;
}

sub members { return @{ $_[0]{member} } }

# By its number (1 ..) or its name.
sub member {
	my ( $self, $which ) = @_;
	return $self->{member}[ $which - 1 ] if $which =~ /^\d+$/;
	return first { $_->{name} eq $which } $self->members;
}

sub others {
	my ( $self, $m ) = @_;
	return grep { $_ != $m } $self->members;
}

sub living { return grep { !$_->gone } $_[0]->members }

# Directories made, all running, founded by the first; then one is master and
# all answer clients.
sub start {
	my ($self) = @_;
	$self->spawn;
	my ( $code, $out, $err ) = $self->found;
	croak "nodelifectl found ($code): $out$err" if $code != 0;
	# An unjoined node's boot comes to an end, too: then it boots again.
	for my $m ( $self->members ) {
		wait_until { ( ( $m->fresh || {} )->{role} // '' ) =~ /^(?:master|replica)$/ }
		  or croak "$m->{name} has no part: " . $self->roles;
		$m->wait_serving;
	}
	$self->wait_master or croak 'no master: ' . $self->roles;
	return $self;
}

# All running, each with its control socket.
sub spawn {
	my ($self) = @_;
	$_->spawn for $self->members;
	for my $m ( $self->members ) {
		wait_until { $m->gone || -S "$m->{run}/control.sock" }
		  or croak "$m->{name} does not come up";
		croak "$m->{name} has ended: " . ( slurp( $m->{log} ) // '' ) if $m->gone;
	}
	return $self;
}

# (exit code, stdout, stderr) of `nodelifectl found`.
sub found {
	my ( $self, $m, @args ) = @_;
	$m //= $self->member(1);
	return $m->control( 'found', @args );
}

# Who is master, by what members say of themselves: of several (a deposed one may
# not know yet) the one of the highest term.
sub master {
	my ($self) = @_;
	my ( $found, $term );
	for my $m ( $self->living ) {
		my $s = $m->fresh or next;
		next if $s->{state} ne 'live' || $s->{role} ne 'master';
		next if !$s->{can_write} || defined $term && $s->{term} < $term;
		( $found, $term ) = ( $m, $s->{term} );
	}
	return $found;
}

# Wait until one is, not the one given, and it has told so to a client: it says
# master and takes a write.
sub wait_master {
	my ( $self, $not, $deadline ) = @_;
	my $found;
	wait_until {
		$found = $self->master or return 0;
		return 0 if $not && $found == $not;
		$found->takes_writes;
	} $deadline or return;
	return $found;
}

sub replicas {
	my ($self) = @_;
	my $m = $self->master // return $self->members;
	return grep { $_ != $m && !$_->gone } $self->members;
}

# For a diagnosis: what each says of itself.
sub roles {
	my ($self) = @_;
	return join '; ', map {
		my $s = $_->gone ? undef : $_->stat;
		"$_->{name}: " . ( !$s ? 'away'
			: "$s->{role} in term $s->{term}, $s->{phase}, applied "
			  . "$s->{positions}{applied}" )
	} $self->members;
}

# A write that is answered makes everything before it committed; then wait until
# each that lives has applied it.
sub settle {
	my ( $self, $deadline ) = @_;
	my $m = $self->wait_master( undef, $deadline ) or return;
	my $at = $m->stat->{positions}{committed};
	return wait_until {
		!grep {
			my $s = $_->fresh;
			!$s || $s->{positions}{applied} < $at
		} $self->living;
	} $deadline;
}

# A test: all that live hold the same, key by key; what they hold is returned.
sub same_content {
	my ( $self, $name ) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$self->settle( 120 )
	  or Test::More::diag( 'members do not get to one position: ' . $self->roles );
	my ( $first, @rest ) = $self->living;
	my $want = $first->content;
	my @bad;
	for my $m (@rest) {
		my $is = $m->content;
		my ($key) = grep { ( $want->{$_} // '(nil)' ) ne ( $is->{$_} // '(nil)' ) }
		  sort keys %{ { %$want, %$is } };
		push @bad, sprintf '%s has %s = %.60s, %s %.60s', $first->{name}, $key,
		  $want->{$key} // '(nil)', $m->{name}, $is->{$key} // '(nil)'
		  if defined $key;
	}
	Test::More::ok( !@bad, $name // 'all members hold the same' )
	  or Test::More::diag( join "\n", @bad );
	return $want;
}

# Stop all, replicas first: their exit codes.
sub stop {
	my ($self) = @_;
	my $m = $self->master;
	$_->signal('TERM') for grep { !$m || $_ != $m } $self->members;
	my @codes = map { $_->wait_exit } grep { !$m || $_ != $m } $self->members;
	push @codes, $m->stop if $m;
	return @codes;
}

# Begin a load on all members; see Group::Load.
sub load { my ( $self, %opt ) = @_; return Group::Load->new( $self, %opt ) }

package Group::Member;

use strict;
use warnings;
use Carp;
use Nodelife;

our @ISA = ('Nodelife');

# An unjoined directory; the group is founded by a running member.
sub found {
	my ($self) = @_;
	my ( $code, undef, $err ) =
	  $self->run( 'nodelifed', '--init', '--member', '-c', $self->{ini} );
	croak "nodelifed --init --member ($code): $err" if $code != 0;
	return $self;
}

sub spawn {
	my ($self) = @_;
	$self->found if !-e "$self->{data}/node";
	return $self->SUPER::spawn( @{ $self->{enter} },
		build_dir() . '/nodelifed', '-f', '-c', $self->{ini} );
}

# Where the clients' network is that of the members, nothing is to be entered.
sub control {
	my ( $self, @args ) = @_;
	return $self->run( 'nodelifectl', '-r', $self->{run}, @args );
}

sub client { return Nodelife::Client->new( $_[0]{client} ) }

# A client that reads what this member holds, whoever is master.
sub reader {
	my ($self) = @_;
	my $c = $self->client;
	my $r = $c->cmd(qw(NODELIFE CONSISTENCY eventual));
	croak "$self->{name}: NODELIFE CONSISTENCY: $r" if $r ne 'OK';
	return $c;
}

# A key that no test's own keys are beside.
sub takes_writes {
	my ($self) = @_;
	my $s = IO::Socket::INET->new( PeerAddr => $self->{client}, Timeout => 2 )
	  or return 0;
	close $s;
	my $c = eval { $self->client } or return 0;
	$c->{timeout} = 5;
	return ( $c->cmd( 'SET', '.probe', 'x' ) // '' ) eq 'OK';
}

# What it holds now: key => value.
sub content {
	my ($self) = @_;
	my $c = $self->reader;
	my %have;
	my $cursor = 0;
	do {
		my $r = $c->cmd( 'SCAN', $cursor, 'COUNT', 1000 );
		croak "$self->{name}: SCAN: $r" if ref $r ne 'ARRAY';
		$cursor = $r->[0];
		my @keys = @{ $r->[1] };
		my $values = @keys ? $c->cmd( 'MGET', @keys ) : [];
		croak "$self->{name}: MGET: $values" if ref $values ne 'ARRAY';
		@have{@keys} = @$values;
	} while ( $cursor ne '0' );
	return \%have;
}

# Its ROLE's first word; '' if nobody answers.
sub role {
	my ($self) = @_;
	my $c = eval { $self->client } or return '';
	my $r = $c->cmd('ROLE');
	return ref $r eq 'ARRAY' ? $r->[0] : '';
}

# Is there a file in its salvage/?
sub salvaged {
	my ($self) = @_;
	return glob "$self->{data}/salvage/*";
}

# A load: build/t/lib/group_load on the members, which follows the master.
#	keys, connections, rate (operations/s, 0 = as fast as it goes), reads
#	(per cent), seconds (it ends by itself then), seed, size (of values, more
#	bytes), patience (ms until an answer is given up)
#	enter: command that runs commands where it shall run
package Group::Load;

use strict;
use warnings;
use Carp;
use Nodelife;

my $loads = 0;

sub new {
	my ( $class, $group, %opt ) = @_;
	my $path = $group->member(1)->{dir} . '/load.' . $loads++;
	my @command = (
		@{ $opt{enter} // [] }, build_dir() . '/t/lib/group_load',
		'-o', $path,
		'-c', $opt{connections} // 64,
		'-k', $opt{keys} // 64,
		'-r', $opt{rate} // 4000,
		'-g', $opt{reads} // 40,
		'-t', $opt{seconds} // 300,
		'-S', $opt{seed} // 1,
		'-d', $opt{size} // 0,
		'-T', $opt{patience} // 1000,
		map { $_->{client} } $group->members );
	my $pid = fork // croak "fork: $!";
	if ( $pid == 0 ) {
		Nodelife::die_with_parent();
		exec @command or POSIX::_exit(127);
	}
	return bless { path => $path, pid => $pid, at => 0, acked => 0, last => 0,
		names => [ map { $_->{name} } $group->members ] }, $class;
}

# Read on in what it wrote: writes that were answered OK.
sub look {
	my ($self) = @_;
	open my $f, '<', $self->{path} or return $self;
	seek $f, $self->{at}, 0;
	local $/;
	my $new = <$f> // '';
	# The last line may be half written.
	my $end = rindex( $new, "\n" ) + 1;
	$self->{at} += $end;
	for ( split /\n/, substr $new, 0, $end ) {
		my ( $start, $end, undef, $server, $op, undef, undef, $result ) = split ' ';
		next if $op ne 'w' || $result ne 'ok';
		$self->{acked}++;
		$self->{last} = $start if $start > $self->{last};
		$self->{by}{$server}++;
	}
	return $self;
}

# Wait for so many more answered writes, from now on.
sub wait_acked {
	my ( $self, $count, $deadline ) = @_;
	my $from = $self->look->{acked};
	return wait_until { $self->look->{acked} >= $from + $count } $deadline;
}

# Wait for a write that began after now and was answered.
sub wait_served {
	my ( $self, $deadline ) = @_;
	my $now = int( now() * 1e9 );
	return wait_until { $self->look->{last} > $now } $deadline;
}

# End it; what it saw.
sub stop {
	my ($self) = @_;
	kill 'TERM', $self->{pid};
	waitpid $self->{pid}, 0;
	croak "group_load: exit status $?" if $? != 0;
	return Group::History->new( $self->{path}, $self->{names} );
}

sub DESTROY {
	my ($self) = @_;
	local ( $?, $! );
	kill 'KILL', $self->{pid} if waitpid( $self->{pid}, POSIX::WNOHANG() ) == 0;
	waitpid $self->{pid}, 0;
	return;
}

# What clients saw. Times in nanoseconds of now()'s clock.
package Group::History;

use strict;
use warnings;
use Carp;
use Register;

sub new {
	my ( $class, $path, $names ) = @_;
	open my $f, '<', $path or croak "$path: $!";
	my ( @ops, @acks, %count, %by, %errors );
	while (<$f>) {
		chomp;
		my ( $start, $end, $client, $server, $op, $key, $value, $result, $text ) =
		  split ' ', $_, 9;
		$count{"$op $result"}++;
		if ( $op eq 'w' && $result eq 'ok' ) {
			push @acks, [ $start, $end, $server ];
			$by{ $names->[$server] }++;
		}
		$errors{ $text =~ /nothing was written/ ? 'REFUSED' : $text =~ s/ .*//r }++
		  if defined $text;
		push @ops, [ $start, $end, $op, $key, $value, $result ];
	}
	return bless { ops => \@ops, acks => \@acks, count => \%count, by => \%by,
		errors => \%errors }, $class;
}

# '' if what was seen can be explained by one register a key.
sub fault { my ($self) = @_; return Register::fault( $self->{ops} ) }

sub acked { return scalar @{ $_[0]{acks} } }

sub end { return $_[0]{ops}[-1] }

# Milliseconds from then to the end of the first answered write that began later
# and that not that member answered; undef: there is none.
sub gap {
	my ( $self, $then, $not ) = @_;
	my $from = $then * 1e9;
	my $end;
	for ( @{ $self->{acks} } ) {
		next if $_->[0] < $from || defined $not && $_->[2] == $not;
		$end = $_->[1] if !defined $end || $_->[1] < $end;
	}
	return defined $end ? ( $end - $from ) / 1e6 : undef;
}

# The longest time without an answered write, in ms; between these two, if given.
sub longest {
	my ( $self, $from, $to ) = @_;
	my ( $last, $most ) = ( undef, 0 );
	for my $t ( sort { $a <=> $b } map { $_->[1] } @{ $self->{acks} } ) {
		next if defined $from && ( $t < $from * 1e9 || $t > $to * 1e9 );
		$most = $t - $last if defined $last && $t - $last > $most;
		$last = $t;
	}
	return $most / 1e6;
}

# Errors that a client may meet while masters change, and no others: those that
# do not match.
sub odd_errors {
	my ( $self, $allowed ) = @_;
	$allowed //= qr/^(?:READONLY|NOTMASTER|NOMASTER|UNKNOWNOUTCOME|NOREPLICAS|REFUSED)$/;
	return grep { !/$allowed/ } sort keys %{ $self->{errors} };
}

sub summary {
	my ($self) = @_;
	return join ', ',
	  ( map { "$_ $self->{count}{$_}" } sort keys %{ $self->{count} } ),
	  map { "$_: $self->{errors}{$_}" } sort keys %{ $self->{errors} };
}

1;
