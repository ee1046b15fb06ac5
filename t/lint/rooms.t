# The rules between rooms (README.md): who may include whom, also among the
# shelves of one room, that each header stands alone, that decisions are pure,
# that no file grows without a reason.
use strict;
use warnings;
use Test::More;

my %may = (
	shm        => [qw(shm)],
	ipc        => [qw(ipc shm)],
	conf       => [qw(conf)],
	workers    => [qw(workers ipc shm conf)],
	supervisor => [qw(supervisor workers ipc shm conf)],
	tools      => [qw(tools shm ipc conf)],
);

# Of a room with shelves: which of them, from the top, may each include?
my %shelves = ( 'workers/gateway' => [qw(cmd exec io)] );

# Does the file include what stands above it, or beside its shelf?
sub climbs {
	my ( $file, $include ) = @_;
	my ( $room, $shelf ) = $file =~ m{^(.+)/(\w+)/[^/]+$} or return 0;
	my @order = @{ $shelves{$room} // return 0 };
	shift @order while @order && $order[0] ne $shelf;
	return $include =~ m{^\Q$room\E/}
	  && !grep { $include =~ m{^\Q$room\E/$_/} } @order;
}

sub lines {
	my ($f) = @_;
	open my $h, '<', $f or die "$f: $!";
	return <$h>;
}

my @files = glob 'shm/*.[ch] shm/*/*.[ch] ipc/*.[ch] conf/*.[ch] supervisor/*.[ch]'
  . ' workers/*.[ch] workers/*/*.[ch] workers/*/*/*.[ch] tools/*.[ch]';
my ( @foreign, @climbing, @shelfless, @impure, @long, @banned );
for my $f (@files) {
	my ($room) = split m{/}, $f;
	my ($worker) = $f =~ m{^workers/(\w+)/};
	my $n = 0;
	my ( $dir, $shelf ) = $f =~ m{^(workers/\w+)/(\w+)/};
	push @shelfless, $f
	  if defined $shelf && !grep { $_ eq $shelf } @{ $shelves{$dir} // [] };
	for ( lines($f) ) {
		$n++;
		push @banned, "$f:$n" if m{\b(?:strcpy|strcat|sprintf|gets|atoi|atol|usleep|sleep)\s*\(};
		next if !m{^#include "([^"]+)"};
		my $inc = $1;
		push @climbing, "$f: $inc" if climbs( $f, $inc );
		my ($to) = split m{/}, $inc;
		push @foreign, "$f: $inc" if !grep { $_ eq $to } @{ $may{$room} };
		my ($other) = $inc =~ m{^workers/(\w+)/};
		push @foreign, "$f: $inc"
		  if defined $other && ( $worker // '' ) ne $other;
	}
	push @long, "$f: $n lines" if $n > 1000;
	if ( $f =~ /_core\.c$/ ) {
		push @impure, $f
		  if grep { m{\b(?:malloc|calloc|clock_gettime|mono_ns|wall_ms|arc4random|log_\w+|open|read|write)\s*\(} } lines($f);
	}
}
is_deeply \@foreign, [], 'rooms include only what is below them';
is_deeply \@climbing,  [], 'shelves include only what is below them';
is_deeply \@shelfless, [], 'each shelf has its place in the order';
my $gw = 'workers/gateway';
ok climbs( "$gw/$_->[0]/x.c", "$gw/$_->[1]" ), "$_->[0] may not include $_->[1]"
  for [ 'io', 'exec/exec.h' ], [ 'io', 'cmd/command.h' ],
  [ 'exec', 'cmd/command.h' ], [ 'io', 'gateway.h' ], [ 'cmd', 'gateway.h' ];
ok !climbs( "$gw/$_->[0]/x.c", "$gw/$_->[1]" ), "$_->[0] may include $_->[1]"
  for [ 'io', 'io/sink.h' ], [ 'exec', 'io/io.h' ], [ 'cmd', 'io/io.h' ],
  [ 'cmd', 'exec/job.h' ];
ok !climbs( "$gw/gateway.c", "$gw/cmd/command.h" ), 'their room includes all';
is_deeply \@impure,  [], 'pure cores use no clock, allocation, log or I/O';
is_deeply \@banned,  [], 'no banned functions';
is_deeply \@long,    [], 'no file above 1,000 lines';

my $flags = `pkg-config --cflags liburing inih libbsd-overlay lmdb libisal libmicrohttpd jansson`;
chomp $flags;
my @alone;
for my $h ( grep { /\.h$/ } @files ) {
	my $src = "#include \"$h\"\n";
	open my $cc, '|-',
	  "cc -std=gnu11 -D_GNU_SOURCE -I. $flags -fsyntax-only -x c - 2>/dev/null"
	  or die;
	print $cc $src;
	push @alone, $h if !close $cc;
}
is_deeply \@alone, [], 'each header compiles alone';
done_testing;
