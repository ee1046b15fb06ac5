# Damage on disk, done to a stopped node: a boot serves everything that was
# acknowledged, or refuses and names file and offset. Never less, in silence.
# One bit flipped anywhere in log, index, state, membership, checkpoint and
# node file; a tail cut at any byte; junk for a segment; an index or a
# checkpoint that is gone. SEED replays, FLIPS sets how many bits per file.
use strict;
use warnings;
use File::Copy ();
use File::Path ();
use Nodelife;
use Test::More;

my $seed  = $ENV{SEED}  // int( rand 1e9 );
my $flips = $ENV{FLIPS} // 6;
diag "SEED=$seed FLIPS=$flips";
srand $seed;

my $n = Nodelife->new(
	wal => { segment_size => '4M', reserve => '1M', spare_segments => 1 } );
$n->start;
my $c = $n->client;
my %want;

sub fill {
	my ( $tag, $count ) = @_;
	my @cmds = map { [ 'SET', "$tag:$_", "value $_ " . 'x' x int rand 300 ] }
	  1 .. $count;
	$want{ $_->[1] } = $_->[2] for @cmds;
	my @r = $c->pipeline(@cmds);
	is scalar( grep { $_ ne 'OK' } @r ), 0, "$count keys, all answered";
	return;
}
fill( 'old', 500 );
my ( $code, undef, $err ) = $n->run( 'nodelifectl', '-r', $n->{run}, 'checkpoint' );
is $code, 0, "a checkpoint: $err";
eventually { -s "$n->{data}/wal/hint" } 'a hint how far it went';
fill( 'new', 500 );
$c->cmd(qw(INCR n)) for 1 .. 20;
$want{n} = 20;
is $n->stop, 0, 'stopped in order';
my $good = "$n->{dir}/good";
system( 'cp', '-a', '--sparse=always', $n->{data}, $good ) == 0
  or BAIL_OUT 'cp';

sub restore {
	File::Path::remove_tree( $n->{data} );
	system( 'cp', '-a', '--sparse=always', $good, $n->{data} ) == 0 or die 'cp';
	unlink $n->{log};
	return;
}

sub files { return map { s{^\Q$n->{data}\E/}{}r } sort grep { -f } map { glob "$n->{data}/$_" } @_ }

# Is everything there? Lists what is not.
sub missing {
	my $d    = $n->client;
	my @keys = sort keys %want;
	my @bad;
	while ( my @part = splice @keys, 0, 200 ) {
		my $r = $d->cmd( 'MGET', @part );
		return ("MGET: $r") if ref $r ne 'ARRAY';
		push @bad, grep {
			my $v = shift @$r;
			!defined $v || $v ne $want{$_}
		} @part;
	}
	return @bad;
}

# Boot a damaged node: 'served' (and nothing may be missing), or 'refused'
# (and the file must be named).
sub boot {
	my ( $name, $file ) = @_;
	my $up    = $n->spawn->wait_boot;
	my $log   = slurp( $n->{log} ) // '';
	if ( $up eq 'serves' ) {
		my @bad = missing();
		ok !@bad, "$name: served, nothing is missing"
		  or diag "missing: @bad[0 .. ($#bad < 5 ? $#bad : 5)]\n",
		  substr $log, -2000;
		is $n->stop, 0, "$name: stopped";
		return 'served';
	}
	my $exit = $n->wait_exit;
	cmp_ok $exit, '>', 0, "$name: refused, exit $exit";
	my $base = $file =~ s{.*/}{}r;
	like $log, qr/\Q$base\E/, "$name: names $base" or diag substr $log, -2000;
	return 'refused';
}

sub flip {
	my ( $file, $at, $bit ) = @_;
	open my $f, '+<', "$n->{data}/$file" or die "$file: $!";
	binmode $f;
	seek $f, $at, 0;
	read $f, my $byte, 1;
	seek $f, $at, 0;
	print $f chr( ord($byte) ^ 1 << $bit );
	close $f;
	return;
}

# Where a file's content is: not its tail of zeros.
sub used {
	my ($file) = @_;
	my $text = slurp("$n->{data}/$file") // '';
	$text =~ s/\0+\z//;
	return length $text;
}

sub flip_some {
	my ( $file, $count ) = @_;
	my %seen;
	restore();
	my $used = used($file) or return;
	for ( 1 .. $count ) {
		my ( $at, $bit ) = ( int rand $used, int rand 8 );
		restore();
		flip( $file, $at, $bit );
		my $r = boot( "$file, bit $bit at $at of $used", $file );
		$seen{$r}++;
	}
	diag "$file: ", join ', ', map { "$_ $seen{$_}" } sort keys %seen;
	return \%seen;
}

restore();
my ($segment) = files('wal/*.seg');
ok $segment, "a segment: $segment";
my $seen = flip_some( $segment, $flips * 2 );
restore();
flip_some( $_, $flips )
  for files( 'index/*', 'state', 'members', 'node', 'store/data.mdb' );

# Bits of the segment's own header, each field; the hint may be there or not.
for my $at ( 0, 4, 8, 48, 60, 80 ) {
	restore();
	unlink "$n->{data}/wal/hint" if $at % 8 == 4;
	flip( $segment, $at, 1 );
	boot( "$segment, header byte $at", $segment );
}

# Junk for a segment: refused, the file named.
restore();
open my $f, '+<', "$n->{data}/$segment" or die;
print $f join '', map { chr int rand 256 } 1 .. 65536;
close $f;
is boot( 'junk for a segment', $segment ), 'refused',
  'junk where acknowledged records were is refused';

# Beyond the end: stale blocks may stand there, they mean nothing.
restore();
my $end = used($segment);
open $f, '+<', "$n->{data}/$segment" or die;
seek $f, ( $end + 4095 & ~4095 ) + 4096, 0;
print $f join '', map { chr int rand 256 } 1 .. 4096;
close $f;
is boot( 'junk behind the end', $segment ), 'served', 'junk behind the end';

# A checkpoint that is gone while the log still begins at 1, an index that is
# gone: rebuilt.
restore();
unlink glob "$n->{data}/index/*";
is boot( 'no index', 'index' ), 'served', 'a deleted index is rebuilt';
restore();
File::Path::remove_tree("$n->{data}/index");
is boot( 'no index directory', 'index' ), 'served', 'so is its directory';
restore();
unlink "$n->{data}/store/data.mdb", "$n->{data}/store/lock.mdb";
boot( 'no checkpoint', 'store' );
restore();
unlink "$n->{data}/$segment";
is boot( 'no log', 'wal' ), 'refused', 'a log that is gone is refused';

# Several segments, all of them needed: one that is gone, cut short or damaged
# in the middle is refused; what only helps (hint, spares) may go.
restore();
$n->configure( store => { checkpoint_wal => '64M' } )->start;
$c = $n->client;
fill( "seg$_", 2000 ), $c->cmd( 'SET', "pad:$_", $want{"pad:$_"} = $_ x 3_000_000 )
  for 1 .. 3;
is $n->stop, 0, 'stopped';
File::Path::remove_tree($good);
system( 'cp', '-a', '--sparse=always', $n->{data}, $good ) == 0 or die 'cp';
my @seg = grep { used($_) } files('wal/*.seg');
cmp_ok scalar @seg, '>=', 3, scalar(@seg) . ' segments';
for ( $seg[0], $seg[1], $seg[-1] ) {
	restore();
	unlink "$n->{data}/$_";
	is boot( "$_ is gone", 'wal' ), 'refused', "$_ is missed";
	restore();
	truncate "$n->{data}/$_", int( used($_) / 2 );
	is boot( "$_ is cut short", $_ ), 'refused', "$_ cut short is refused";
}
for my $file ( $seg[0], $seg[1] ) {
	restore();
	my $at = 4096 + int rand used($file) - 4096;
	flip( $file, $at, 3 );
	is boot( "$file, byte $at", $file ), 'refused', "$file damaged is refused";
	like slurp( $n->{log} ), qr/\Q@{[ $file =~ s{.*\/}{}r ]}\E\D*\d+/,
	  'with an offset';
}
restore();
rename "$n->{data}/$seg[1]", "$n->{data}/wal/000000ff.seg";
is boot( 'a segment under another name', 'seg' ), 'refused', 'is refused';
for my $what ( 'wal/hint', 'wal/spare.*', 'wal/prep.*', 'reserve' ) {
	restore();
	unlink glob "$n->{data}/$what";
	is boot( "$what is gone", $what ), 'served', "$what is not needed";
}
flip_some( 'wal/hint', 3 );

# A tail torn at any byte, after a crash: what was acknowledged by then is cut
# off on purpose here, so only the records before it must be there, a prefix.
restore();
$n->configure( store => { checkpoint_wal => undef } )->start;
$c = $n->client;
my $base = $n->stat->{positions}{appended};
for my $i ( 1 .. 60 ) { $c->cmd( 'SET', 'tail', $i ) }
$n->kill9;
File::Path::remove_tree($good);
system( 'cp', '-a', '--sparse=always', $n->{data}, $good ) == 0 or die 'cp';
my ($newest) = grep { used($_) } reverse files('wal/*.seg');
my $len = used($newest);
my %tails;
for my $cut ( 1, 7, 8, 40, 47, 48, 100, 4096, map { int rand 6000 } 1 .. 6 ) {
	restore();
	last if $cut >= $len;
	open $f, '+<', "$n->{data}/$newest" or die;
	seek $f, $len - $cut, 0;
	print $f "\0" x $cut;
	close $f;
	if ( $n->spawn->wait_boot eq 'serves' ) {
		my $got = $n->client->cmd(qw(GET tail)) // 0;
		cmp_ok $got, '<=', 60, "cut by $cut: served up to $got";
		is scalar( missing() ), 0, "cut by $cut: what was before is there";
		my $s = $n->stat;
		$tails{served}++;
		is $n->stop, 0, "cut by $cut: stopped";
	}
	else {
		cmp_ok $n->wait_exit, '>', 0, "cut by $cut: refused";
		like slurp( $n->{log} ), qr/\.seg/, "cut by $cut: the file is named";
		$tails{refused}++;
	}
}
diag 'cut tails: ', join ', ', map { "$_ $tails{$_}" } sort keys %tails;
ok $tails{served}, 'a cut tail is served';
done_testing;
