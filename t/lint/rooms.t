# The rules between rooms (README.md): who may include whom, also among the
# shelves of one room, that each header stands alone, that decisions are pure,
# that no file grows without a reason, that each field in the region says who
# writes it. Of a folder core/ purity is judged by what its objects ask of a
# linker, too.
use strict;
use warnings;
use File::Temp qw(tempdir);
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
my %shelves = (
	'workers/gateway' => [qw(cmd exec io)],
	'workers/group'   => [qw(net core)],
);

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

# The byte ring's fields have a prefix, so that who uses one elsewhere is found.
my $bytering = 'shm/bytering.h';

sub pokes_ring {
	my ( $file, $line ) = @_;
	return $file ne $bytering && $line =~ m{\bbr_\w};
}

# Those of its structs that have none.
sub bare_fields {
	my ($text) = @_;
	$text =~ s{/\*.*?\*/}{}sg;
	return grep { !/^br_\w|zero$/ }
	  map { m{(\w+)(?:\[\d+\])?;}g }
	  $text =~ m{^struct bytering\w* \{\n(.*?)^\}}msg;
}

my @files = glob 'shm/*.[ch] shm/*/*.[ch] ipc/*.[ch] conf/*.[ch] supervisor/*.[ch]'
  . ' workers/*.[ch] workers/*/*.[ch] workers/*/*/*.[ch] tools/*.[ch]';
my ( @foreign, @climbing, @shelfless, @impure, @long, @banned, @poked, @rings );
for my $f (@files) {
	my ($room) = split m{/}, $f;
	my ($worker) = $f =~ m{^workers/(\w+)/};
	my $n = 0;
	my ( $dir, $shelf ) = $f =~ m{^(workers/\w+)/(\w+)/};
	push @shelfless, $f
	  if defined $shelf
	  && $shelf ne 'core'
	  && !grep { $_ eq $shelf } @{ $shelves{$dir} // [] };
	for ( lines($f) ) {
		$n++;
		push @banned, "$f:$n" if m{\b(?:strcpy|strcat|sprintf|gets|atoi|atol|usleep|sleep)\s*\(};
		push @rings, "$f:$n" if pokes_ring( $f, $_ );
		push @poked, "$f:$n"
		  if defined $worker && $f !~ m{/(?:core|net)/} && m{\bcore(?:\.|->)\w};
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
	if ( $f =~ m{_core\.c$|^ipc/msg} ) {
		push @impure, $f
		  if grep { m{\b(?:malloc|calloc|clock_gettime|mono_ns|wall_ms|arc4random|say_\w+|open|read|write)\s*\(} } lines($f);
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
is_deeply \@impure,  [], 'pure cores and codecs use no clock, allocation, log or I/O';
is_deeply \@banned,  [], 'no banned functions';
is_deeply \@poked,   [], 'a core is read by its functions, not its fields';
for my $f ( glob 't/lib/*.[ch] t/sim/*.[ch] t/sim/*/*.[ch]' ) {
	push @rings, map { "$f: $_" } grep { pokes_ring( $f, $_ ) } lines($f);
}
is_deeply \@rings,   [], 'a byte ring is used by its functions, not its fields';
is_deeply [ bare_fields( join '', lines($bytering) ) ], [],
  'and each of its fields can be told';
ok pokes_ring( 'workers/wal/x.c', "\tc->ret.br_tail = tail;\n" ),
  'a field used elsewhere is found';
ok !pokes_ring( $bytering, "\tr->br_tail = mark;\n" ), 'not in its header';
is_deeply [ bare_fields("struct bytering {\n\tuint64_t br_a;\n\tuint64_t b[2];\n};\n") ],
  ['b'], 'so is one that has no prefix';
is_deeply \@long,    [], 'no file above 1,000 lines';

# ---- the region: who writes each field (STYLE 21)

# Fields of the structures in a header: [structure, name, declaration, tagged].
# A field is tagged by a "W:", who writes it, or an "L:", under which lock whoever
# does: in the comment behind it; in the one above it or above its group, which
# ends at a blank line, at another such comment, and behind a field with a tag of
# its own; or in the one above its structure.
sub fields {
	my ($text) = @_;
	my ( @fields, @open );
	my ( $decl, $above, $behind ) = ( '', 0, undef );
	while ( $text =~ m{\G(?:(?<c>/\*.*?\*/)|(?<p>^\#(?:[^\n]*\\\n)*[^\n]*)|(?<n>\n)|(?<m>[;\{\}])|(?<t>[^;\{\}\n/]+|/))}gsm ) {
		my $in = @open && $open[-1]{name};
		if ( defined $+{c} ) {
			my $tag = $+{c} =~ /\b[WL]:/ ? 1 : 0;
			if ($behind) {
				$behind->[3] ||= $tag;
				$above = 0 if $tag;
			}
			elsif ( $decl !~ /\S/ ) { $above = $tag }
			else { $decl .= ' ' }
		} elsif ( defined $+{n} ) {
			$above = 0 if $text =~ /\G\n/;
			$behind = undef;
		} elsif ( defined $+{t} ) {
			$decl .= $+{t};
			$decl =~ s/^\s+//;
		} elsif ( defined $+{m} && $+{m} eq '{' ) {
			my ($name) = $decl =~ /^(?:typedef )?(?:struct|union) (\w+)\s*$/;
			my $nested = $in && $decl =~ /^(?:struct|union)\s*$/;
			push @open, { name => $nested ? $in : $name,
				tagged => $above || ( $nested && $open[-1]{tagged} ) };
			( $decl, $above ) = ( '', 0 );
		} elsif ( defined $+{m} && $+{m} eq '}' ) {
			my $struct = ( pop(@open) // {} )->{name};
			( $decl, $above ) = ( $struct ? '}' : '', 0 );
		} elsif ( defined $+{m} ) {
			if ( $in && $decl !~ /^\}/ && $decl =~ /(\w+)(?:\s*\[.*)?$/s ) {
				push @fields, [ $in, $1, $decl, $above || $open[-1]{tagged} ];
				$behind = $fields[-1];
			}
			$decl = '';
		}
	}
	return @fields;
}

# What lies in the region: structures with an atomic word, and those made of
# such. Which of their fields have no tag? What is zero needs none, nor what
# has tags of its own.
sub untagged {
	my @fields = @_;
	my ( %shared, $before );
	do {
		$before = keys %shared;
		for (@fields) {
			my ( $struct, undef, $decl ) = @$_;
			next if $decl =~ /\*/;
			$shared{$struct} = 1
			  if $decl =~ /\b_Atomic\b/
			  || ( $decl =~ /\bstruct (\w+)/ && $shared{$1} );
		}
	} while keys %shared != $before;
	return map { "$_->[0].$_->[1]" } grep {
		$shared{ $_->[0] } && !$_->[3]
		  && $_->[1] !~ /(?:^|_)(?:zero|pad)\d*$/
		  && !( $_->[2] =~ /\bstruct (\w+)/ && $shared{$1} )
	} @fields;
}

is_deeply [ untagged( map { fields( join '', lines($_) ) }
		grep { m{^shm/.*\.h$} } @files ) ],
  [], 'each field in the region says who writes it';
sub untagged_in { return join ' ', untagged( fields( $_[0] ) ) }
is untagged_in("struct a {\n\t_Atomic int x; /* 0 = none */\n};\n"), 'a.x',
  'an atomic word without a writer is found';
is untagged_in("struct a {\n\t_Atomic int x; /* W: wal */\n\tint y;\n};\n"),
  'a.y', 'a plain one beside it, too';
is untagged_in("struct a {\n\t/* W: wal */\n\t_Atomic int x;\n\n\tint y;\n"
	  . "\t/* of y */\n\tint z;\n};\n"), 'a.y a.z', 'a group ends';
is untagged_in("struct a {\n\t/* L: its lock */\n\tstruct {\n\t\t_Atomic int x;"
	  . "\n\t} row[2];\n\tint y;\n};\n"), 'a.y', 'also one in braces';
is untagged_in("/* W: wal */\nstruct a {\n\t_Atomic int x;\n};\nstruct b {\n"
	  . "\tstruct a a;\n\tint n;\n\tint zero[2];\n};\n"), 'b.n',
  'what holds such a structure is one';
is untagged_in("struct a {\n\t_Atomic int *x;\n\tint n;\n};\nint f(void)\n{\n"
	  . "\treturn 0;\n}\n"), '', 'a handle on one is none';

# ---- cores: no clock, no I/O, no allocation, no log, no state of their own

# Of shm only headers that are pure themselves; of libc these.
my %pure_header = map { $_ => 1 }
  qw(ipc/msg.h ipc/msg_sync.h shm/assert.h shm/bits.h shm/commit_view.h shm/crc32c.h shm/quorum.h
  shm/request.h errno.h limits.h
  stdbool.h stddef.h stdint.h string.h);
my %pure_call = map { $_ => 1 }
  qw(memchr memcmp memcpy memmove memset strcmp strcspn strlen strncmp strspn
  strnlen
  __popcountdi2 assert_failed commit_rule crc32c quorum_count quorum_least quorum_make quorum_meets
  quorum_set role_name);
my $dir = tempdir( CLEANUP => 1 );

# Symbols of an object: those it defines, and complaints.
sub object {
	my ( $source, $options ) = @_;
	my ( %defined, %wanted, @state );
	system "cc -std=gnu11 -D_GNU_SOURCE -I. $options -fno-pie -fno-builtin-printf"
	  . " -c -o $dir/o.o '$source'" and die "$source does not compile";
	for (`nm $dir/o.o`) {
		my ( $type, $name ) = m{(\w) (\S+)$} or die;
		$wanted{$name} = 1 if $type eq 'U';
		$defined{$name} = 1 if $type =~ /[TR]/;
		push @state, "$source: state in $name" if $type =~ /[bBdDC]/;
	}
	return ( \%defined, \%wanted, \@state );
}

# What is wrong with the files of a core.
sub core_faults {
	my @sources = @_;
	my ( %defined, %wanted, @bad );
	for my $f (@sources) {
		for ( lines($f) ) {
			next if !m{^\s*#\s*include ["<]([^">]+)};
			push @bad, "$f: includes $1"
			  if !$pure_header{$1} && $1 !~ m{^workers/\w+/core/};
		}
		next if $f !~ /\.c$/;
		my ( $d, $w, $state ) = object( $f, '-O1' );
		%defined = ( %defined, %$d );
		$wanted{$_} //= $f for keys %$w;
		push @bad, @$state;
	}
	push @bad, map { "$wanted{$_}: calls $_" }
	  grep { !$defined{$_} && !$pure_call{$_} } sort keys %wanted;
	return @bad;
}

for my $core ( glob 'workers/*/core' ) {
	is_deeply [ core_faults( glob "$core/*.[ch]" ) ], [], "$core is pure";
}
is_deeply [ grep { !/ includes / }
	  core_faults( map { "shm/$_.c" } qw(commit_view quorum role) ) ],
  [], 'so is what it calls in shm';

# And what is not is found.
sub fault_of {
	my ($text) = @_;
	open my $h, '>', "$dir/x.c" or die;
	print $h $text;
	close $h;
	return join ', ', map { s{^\S+: }{}r } core_faults("$dir/x.c");
}
is fault_of("#include \"shm/region.h\"\n"), 'includes shm/region.h',
  'a header that is not pure is found';
is fault_of("#include <time.h>\n"), 'includes time.h', 'one of libc, too';
is fault_of(
	"#include \"shm/bits.h\"\nuint64_t f(void) { return mono_ns(); }\n"),
  'calls clock_gettime', 'a clock is found, also in a macro or inline';
is fault_of("void *malloc(unsigned long);\nvoid *f(void) { return malloc(8); }\n"),
  'calls malloc', 'an allocation is found';
is fault_of("void say_info(const char *, ...);\nvoid f(void) { say_info(\"\"); }\n"),
  'calls say_info', 'a log is found';
is fault_of("int f(void) { static int n; return n++; }\n"), 'state in n.0',
  'state is found';
is fault_of("int f(const int *n) { return *n; }\n"), '', 'a pure one is none';

my $flags = `pkg-config --cflags liburing inih libbsd-overlay lmdb libisal libmicrohttpd jansson libcrypto`;
chomp $flags;

# ---- workers: what one knows is its main's, so that many can run in a process

my %static = (
	'workers/checkpoint/checkpoint_pace.c: pace' =>
	  'LMDB calls fdatasync() with a descriptor and nothing else',
	'workers/checkpoint/checkpoint_pace.c: flush_failed' => 'likewise',
	'workers/gateway/cmd/command.c: lookup' =>
	  'an index of constants, made once, the same whoever asks',
	'workers/wal/wal_io.c: wal_fault_hook' => 'set by tests only',
	'workers/wal/wal_io.c: wal_trace_hook' => 'likewise',
	'workers/wal/wal_io.c: zeros'          =>
	  'zeros to read, mapped once, the same whoever asks',
);

# Variables of a file that outlive a call, in functions, too.
sub statics {
	my ($f) = @_;
	my ( undef, undef, $state ) =
	  object( $f, "-O0 $flags -DNODELIFE_VERSION='\"\"'" );
	return map { my ($name) = m{state in (\w+)}; "$f: $name" } @$state;
}
is_deeply [ sort map { statics($_) } grep { m{^workers/.*\.c$} } @files ],
  [ sort keys %static ], 'workers have no other static variables than these';

sub static_of {
	my ($text) = @_;
	open my $h, '>', "$dir/x.c" or die;
	print $h $text;
	close $h;
	return join ', ', map { s{^\S+: }{}r } sort( statics("$dir/x.c") );
}
is static_of("struct x { int n; };\nstatic struct x me;\nint f(void) { return me.n++; }\n"),
  'me', 'one of a file is found';
is static_of("int n;\nint f(void) { static int m = 1; return m++; }\n"), 'm, n',
  'one of a function, and one of all files, too';
is static_of("const char *f(int i) { static const char *const n[] = { \"a\" }; return n[i]; }\n"),
  '', 'a constant is none';

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
