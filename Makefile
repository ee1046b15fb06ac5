# nodelife: build, test, install. See README.md; `make help` lists the targets.

B	 = build
CC	 = gcc
PREFIX	 = /usr/local
DESTDIR	 =
VERSION	 = 0.1.0
V	 =	# V=1 shows whole commands

PKGS	 = liburing inih libbsd-overlay lmdb libisal libmicrohttpd jansson libcrypto
WARN	 = -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes \
	   -Wmissing-prototypes -Wcast-qual -Wpointer-arith -Wvla \
	   -Wswitch-enum -Wundef -Wwrite-strings -Wformat=2 \
	   -Wno-format-nonliteral
OPT	 = -O2 -g -fno-omit-frame-pointer
HARDEN	 = -fstack-protector-strong -D_FORTIFY_SOURCE=2
SAN	 =
CFLAGS	 = $(OPT) $(HARDEN) $(SAN)
CPPFLAGS = -std=gnu11 -D_GNU_SOURCE -I. -DNODELIFE_VERSION='"$(VERSION)"' \
	   $(WARN)
# Asked once, when the first rule needs it: after deps had its chance.
PKGFLAGS = $(eval PKGFLAGS := $$(shell pkg-config --cflags $(PKGS)))$(PKGFLAGS)
LDFLAGS	 = $(SAN) -pie -Wl,-z,relro,-z,now -Wl,--as-needed
LIBS	 = $(eval LIBS := $$(shell pkg-config --libs $(PKGS)) -lpthread -lrt -lm)$(LIBS)

# A room's archive is every .c in its folder, and so is a shelf's of a large
# room; a program is its rooms. Cores are the pure parts of workers.
WORKERS	 = wal vlsn store checkpoint group gateway health restore
CORES	 = workers/group/core
SHELVES	 = gateway/io gateway/exec gateway/cmd group/net
SHMSHELVES = kv log
ROOMS	 = shm $(SHMSHELVES:%=shm/%) ipc conf supervisor workers \
	   $(WORKERS:%=workers/%) $(SHELVES:%=workers/%) $(CORES)
TOOLS	 = nodelifestat nodelifectl nodelifewal nodelifebench

objs	 = $(patsubst %.c,$B/%.o,$(sort $(wildcard $(1)/*.c)))
archive	 = $B/$(subst /,_,$(1)).a

# Link order: the highest room first.
WORKLIBS = $(foreach w,$(WORKERS) $(SHELVES),$(call archive,workers/$w)) \
	   $(foreach c,$(CORES),$(call archive,$c)) \
	   $(call archive,workers)
LOWLIBS	 = $(call archive,conf) $(call archive,ipc) $(call archive,shm) \
	   $(foreach s,$(SHMSHELVES),$(call archive,shm/$s))
ALLLIBS	 = $(call archive,supervisor) $(WORKLIBS) $(LOWLIBS)

PROGS	 = $B/nodelifed $(TOOLS:%=$B/%)
UNIT	 = $(patsubst t/unit/%.c,$B/t/unit/%,$(sort $(wildcard t/unit/*.c)))

JOBS	 = $(shell nproc)
Q	 = $(if $(strip $V),,@)

all: $(PROGS)

# What objects are made with: new if any of it is (ccache changes nothing).
$B/flags: export FLAGS = $(filter-out ccache,$(CC)) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS)
$B/flags: always
	@mkdir -p $(@D)
	@[ "$$FLAGS" = "$$(cat $@ 2>/dev/null)" ] || \
	    printf '%s\n' "$$FLAGS" >$@

$B/%.o: %.c $B/flags
	@mkdir -p $(@D)
	@echo "  CC	$@"
	$(Q)$(CC) $(CPPFLAGS) $(PKGFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# Of what the region shares, every declaration of ours: comments and macros are
# gone, so the sum changes with the layout, and whatever else they say.
REGION_DECLS = $$($(CC) -I. -D_GNU_SOURCE -include shm/kv/table.h -E shm/region.h | \
	awk '/^\#/ { on = $$3 ~ /^"(\.\/)?shm\// ; next } \
	     on && NF { $$1 = $$1; printf "%s ", $$0 }' | md5sum | cut -c1-16)
$B/shm/region.o: private CPPFLAGS += -DREGION_DECLS=0x$(REGION_DECLS)

define room_rule
$(call archive,$(1)): $(call objs,$(1))
	@mkdir -p $$(@D) && rm -f $$@
	@ar rcs $$@ $$^
endef
$(foreach r,$(ROOMS),$(eval $(call room_rule,$r)))

# supervisor/main.c is linked by name, so no archive hides it.
$B/nodelifed: $B/supervisor/main.o $(ALLLIBS)
	@echo "  LINK	$@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $< -Wl,--start-group $(ALLLIBS) -Wl,--end-group $(LIBS)

# A tool is tools/NAME.c plus whatever tools/NAME_*.c it has.
define tool_rule
$B/$(1): $(patsubst %.c,$B/%.o,$(sort $(wildcard tools/$(1).c tools/$(1)_*.c))) $(LOWLIBS)
	@echo "  LINK	$$@"
	$$(Q)$$(CC) $$(LDFLAGS) -o $$@ $$(filter %.o,$$^) -Wl,--start-group $(LOWLIBS) -Wl,--end-group $$(LIBS)
endef
$(foreach t,$(TOOLS),$(eval $(call tool_rule,$t)))

# A unit test sees the room archives; the linker takes only what it names.
$B/t/unit/%: $B/t/unit/%.o $(ALLLIBS)
	@mkdir -p $(@D)
	@echo "  LINK	$@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $< -Wl,--start-group $(ALLLIBS) -Wl,--end-group $(LIBS)

# Memory that fails for whoever is not the test itself.
WRAPPED	 = malloc calloc realloc strndup free mmap munmap
$B/t/unit/gateway_oom: private LDFLAGS += $(WRAPPED:%=-Wl,--wrap=%)
$B/t/unit/gateway_role: private LDFLAGS += -Wl,--wrap=commit_of_term
$B/t/unit/gateway_group: private LDFLAGS += -Wl,--wrap=commit_holds_lease
$B/t/unit/gateway_lease: private LDFLAGS += -Wl,--wrap=commit_holds_lease
$B/t/unit/vlsn_worker: private LDFLAGS += -Wl,--wrap=calloc

# For LD_PRELOAD: a wall clock of its own for a program (t/lib/World.pm), and a
# store that is written all the while.
PRELOAD	 = $B/t/lib/clock_shift.so $B/t/lib/outrun.so
$(PRELOAD): $B/%.so: %.c
	@mkdir -p $(@D)
	@echo "  LINK	$@"
	$(Q)$(CC) $(CPPFLAGS) -O2 -fPIC -shared -o $@ $<

# What a program shows on a terminal of 24 x 80.
TERMINAL = $B/t/lib/terminal
$(TERMINAL): $B/t/lib/terminal.o
	@echo "  LINK	$@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $<

# Clients of a group that write down what they saw.
GROUPLOAD = $B/t/lib/group_load
$(GROUPLOAD): $B/t/lib/group_load.o
	@echo "  LINK	$@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $< $(LIBS)

SIM	 = $B/t/sim/core_sim $B/t/sim/group_sim
FUZZERS	 = $(patsubst t/fuzz/%.c,%,$(sort $(wildcard t/fuzz/*.c)))
SANFLAGS = -fsanitize=address,undefined -fno-sanitize-recover=undefined
SANBUILD = B=$B/san SAN='$(SANFLAGS)' HARDEN=
FUZZBUILD = B=$B/fuzz CC=clang SAN='-fsanitize=fuzzer-no-link,address' HARDEN=
NODETESTS = $(sort $(wildcard t/integration/*.t))
# Packaging and memory have nothing to say about a build with sanitizers.
SANTESTS = $(patsubst %,$B/san/%,$(filter-out %_install.t %_idle.t,$(NODETESTS)))
SANUNITS = $(patsubst $B/%,$B/san/%,$(UNIT) $(SIM) $(SIMFS))
# One more than two cores have room for, as node tests mostly wait (what may run
# beside what: t/testrules.yml). Those with sanitizers, which take longer, first.
BESIDE	 = -j3
SEEDS	 = 100000
SECONDS	 = 60

$B/t/sim/%: $B/t/sim/%.o $(ALLLIBS)
	@echo "  LINK	$@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $< -Wl,--start-group $(ALLLIBS) -Wl,--end-group $(LIBS)

# The simulated disk, by itself. libc's functions are its own: no copies that
# check, no points in blocks.
$B/t/sim/node/%.o: private override HARDEN =
$B/t/sim/node/%.o: private override SAN := $(filter-out -fsanitize-coverage=%,$(SAN))
SIMFS	 = $B/t/sim/node/fs_test
$(SIMFS): $(patsubst %,$B/t/sim/node/%.o,fs_test fs_test_stub sim_disk sim_fd \
    sim_files sim_files_libc sim_fs sim_lock) $(LOWLIBS)
	@echo "  LINK	$@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(LOWLIBS) -Wl,--end-group $(LIBS)

# A whole node in one process: libc's and liburing's functions are its own, and
# each simulated process has the product's static variables for itself.
NODESIM	 = $B/t/sim/node/node_sim
nodesim	 = $(filter-out t/sim/node/fs_test%,$(sort $(wildcard t/sim/node/*.c)))
SIMWRAP	 = $(foreach w,$(WORKERS),-Wl,--wrap=$w_main) \
    -Wl,--wrap=group_members_save
$(NODESIM): $(nodesim:%.c=$B/%.o) $(ALLLIBS) t/sim/node/private.lds
	@echo "  LINK	$@"
	$(Q)$(CC) $(LDFLAGS) -rdynamic $(SIMWRAP) -o $@ $(filter %.o,$^) \
	    -Wl,--start-group $(ALLLIBS) -Wl,--end-group $(LIBS) -ldl \
	    -Wl,-T,t/sim/node/private.lds

# Mistakes planted in the product, each a patch: the simulator must find it. It
# is built with a point in each block. MUTANTS=NAME picks.
MUTANTS	 = $(patsubst t/sim/node/mutants/%.patch,%,$(sort $(wildcard t/sim/node/mutants/*.patch)))
MUTANT_SECONDS = 180
MUTANTBUILD = B=$B/sim SAN=-fsanitize-coverage=trace-pc
$B/mutant/%/node_sim: t/sim/node/mutants/%.patch $(NODESIM) t/sim/node/mutants/build.sh
	@echo "  MUTANT	$@"
	$(Q)ARCHIVES='$(ALLLIBS)' t/sim/node/mutants/build.sh $< $(@D) \
	    $(CC) $(CPPFLAGS) $(PKGFLAGS) $(CFLAGS)
	$(Q)$(CC) $(LDFLAGS) -rdynamic $(SIMWRAP) -o $@ $(nodesim:%.c=$B/%.o) \
	    -Wl,--start-group $(addprefix $(@D)/,$(notdir $(ALLLIBS))) \
	    -Wl,--end-group $(LIBS) -ldl -Wl,-T,t/sim/node/private.lds

# The same of the group's core, which t/sim/core_sim must find.
COREMUTANTS = $(patsubst t/sim/core_mutants/%.patch,%,$(sort $(wildcard t/sim/core_mutants/*.patch)))
$B/mutant/core/%/core_sim: t/sim/core_mutants/%.patch $B/t/sim/core_sim t/sim/node/mutants/build.sh
	@echo "  MUTANT	$@"
	$(Q)ARCHIVES='$(ALLLIBS)' t/sim/node/mutants/build.sh $< $(@D) \
	    $(CC) $(CPPFLAGS) $(PKGFLAGS) $(CFLAGS)
	$(Q)$(CC) $(LDFLAGS) -o $@ $B/t/sim/core_sim.o -Wl,--start-group \
	    $(addprefix $(@D)/,$(notdir $(ALLLIBS))) -Wl,--end-group $(LIBS)

# Attackers and witnesses know nothing of the node: no archive is linked.
HOSTILE	 = $B/t/hostile/attack $B/t/hostile/witness
$B/t/hostile/attack: $B/t/hostile/script.o
$(HOSTILE): $B/t/hostile/%: $B/t/hostile/%.o $B/t/hostile/net.o
	@echo "  LINK	$@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^)

# A disk's power cuts: it knows the log of a disk, nothing of the node.
REPLAY	 = $B/t/powercut/replay
$(REPLAY): $B/t/powercut/replay.o
	@echo "  LINK	$@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $<

$B/t/bench/floor: $B/t/bench/floor.o
	@echo "  LINK	$@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $<

GROUPCLIENT = $B/t/bench/group_client
$(GROUPCLIENT): $B/t/bench/group_client.o
	@echo "  LINK	$@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $< $(LIBS)

# A fuzz target: clang's libFuzzer over the room archives.
$B/t/fuzz/%: $B/t/fuzz/%.o $(ALLLIBS)
	@echo "  LINK	$@"
	$(Q)$(CC) $(LDFLAGS) -fsanitize=fuzzer -o $@ $< -Wl,--start-group $(ALLLIBS) -Wl,--end-group $(LIBS)

help:
	@echo 'all      build into $$B (build/)'
	@echo 'deps     install the Debian packages that building needs'
	@echo 'run      build, found a demo node in ./run, start it (Ctrl-C stops)'
	@echo 'run-group  the same with a group of three nodes in ./run/group'
	@echo 'check    every test that CI runs; installs what it needs'
	@echo 'unit     the unit tests only'
	@echo 'lint     formatting, room rules, man pages'
	@echo 'san      build with ASan and UBSan into $$B/san, run the tests on it'
	@echo 'sim      simulate cores of a group, and one on its disk: SEEDS=$(SEEDS)'
	@echo 'sim-mutants  does the simulation find planted mistakes? MUTANT_SECONDS=180 each'
	@echo 'node-sim simulate a whole node under faults: SEEDS=300'
	@echo 'node-sim-mutants  does it find planted mistakes? MUTANT_SECONDS=180 each'
	@echo 'fuzz     fuzz every parser: SECONDS=$(SECONDS) each'
	@echo 'hostile  attack a node: SECONDS=$(SECONDS); SEED, SLOTS, SHM, MEMORY, SAN=1'
	@echo 'powercut cut the power of a virtual machine: FS=ext4|xfs, CUTS, SEED'
	@echo 'bench    compare with redis-server on this machine; BENCH=ROW picks,'
	@echo '         BENCH_SECONDS=480 is the time for all of it'
	@echo 'bench-group  compare three nodes with three of etcd and of redis-server;'
	@echo '         BENCH, BENCH_SECONDS=900 as for bench'
	@echo 'install  into DESTDIR/PREFIX ($(PREFIX)); uninstall; clean'

deps:
	@tools/deps.sh build

run: deps
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@tools/run.sh $B

run-group: deps
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@tools/run-group.sh $B

unit: $(UNIT)
	t/run -j2 $(UNIT)

# The tests of a build: unit programs, simulator, node tests.
tests: all $(UNIT) $(SIM) $(SIMFS) $(HOSTILE) $(PRELOAD) $(TERMINAL) \
    $(GROUPLOAD)

# The same on three builds; a node test on a build is BUILD/t/integration/X.t.
check:
	@tools/deps.sh check
	@$(MAKE) --no-print-directory -j$(JOBS) tests
	@$(MAKE) --no-print-directory -j$(JOBS) $(SANBUILD) tests
	@$(MAKE) --no-print-directory -j$(JOBS) $(FUZZBUILD) fuzzers objects
	@NODELIFE_BUILD=$B t/run --timer $(BESIDE) $(SANTESTS) $(NODETESTS) \
	    $(sort $(wildcard t/unit/*.t t/lint/*.t)) \
	    $(SANUNITS) $(UNIT) $(SIM) $(SIMFS) t/leftovers.t

fuzzers: $(FUZZERS:%=$B/t/fuzz/%)

# What fuzzers do not need: built by clang all the same, for its warnings.
objects: $(patsubst %.c,$B/%.o,$(sort $(wildcard supervisor/*.c tools/*.c \
	t/unit/*.c t/sim/*.c t/sim/node/*.c t/bench/*.c t/hostile/*.c \
	t/powercut/*.c)))

fuzz:
	@tools/deps.sh check
	@$(MAKE) --no-print-directory -j$(JOBS) $(FUZZBUILD) fuzzers
	NODELIFE_BUILD=$B FUZZ_SECONDS=$(SECONDS) TEST_SECONDS=0 t/run -v \
	    t/lint/fuzz.t

lint:
	@tools/deps.sh check
	NODELIFE_BUILD=$B t/run -j2 $(sort $(wildcard t/lint/*.t))

san:
	@tools/deps.sh check
	@$(MAKE) --no-print-directory -j$(JOBS) $(SANBUILD) tests
	t/run --timer $(BESIDE) $(SANTESTS) $(SANUNITS) t/leftovers.t

sim: $(SIM)
	for sim in $(SIM); do $$sim $(SEEDS) || exit 1; done

node-sim: SEEDS = 300
node-sim: $(NODESIM)
	$(NODESIM) -n $(SEEDS)

node-sim-mutants:
	@$(MAKE) --no-print-directory -j$(JOBS) $(MUTANTBUILD) mutants
	@t/sim/node/mutants/run.sh $B/sim $(MUTANT_SECONDS) $(MUTANTS)

# COREMUTANTS=NAME picks.
sim-mutants: $(COREMUTANTS:%=$B/mutant/core/%/core_sim)
	@t/sim/core_mutants/run.sh $B $(MUTANT_SECONDS) $(COREMUTANTS)

mutants: $(MUTANTS:%=$B/mutant/%/node_sim)

# SAN=1: on the build with sanitizers. t/hostile/README.md tells the others.
hostile:
	@tools/deps.sh check
	@$(MAKE) --no-print-directory -j$(JOBS) $(if $(filter 1,$(SAN)),$(SANBUILD)) \
	    all attackers
	NODELIFE_BUILD=$B$(if $(filter 1,$(SAN)),/san) perl -It/lib \
	    t/hostile/hostile.pl $(SECONDS)

attackers: $(HOSTILE)

# t/powercut/README.md tells the knobs. What cannot be had is a skip's reason.
powercut:
	@tools/deps.sh powercut || true
	@$(MAKE) --no-print-directory -j$(JOBS) all $(REPLAY)
	NODELIFE_BUILD=$B perl -It/lib -It/powercut t/powercut/powercut.pl

bench:
	@tools/deps.sh bench
	@$(MAKE) --no-print-directory all $B/t/bench/floor
	NODELIFE_BUILD=$B perl -It/lib t/bench/bench.pl $(BENCH)

bench-group:
	@tools/deps.sh bench
	@$(MAKE) --no-print-directory all $(GROUPLOAD) $(GROUPCLIENT)
	NODELIFE_BUILD=$B perl -It/lib t/bench/bench_group.pl $(BENCH)

# Where things go. Manual pages by their section, init scripts by system.
BINDIR	 = $(DESTDIR)$(PREFIX)/bin
SBINDIR	 = $(DESTDIR)$(PREFIX)/sbin
MANDIR	 = $(DESTDIR)$(PREFIX)/share/man
ETCDIR	 = $(DESTDIR)/etc
SYSTEMD	 = $(DESTDIR)/lib/systemd/system
INSTALLED = $(SBINDIR)/nodelifed $(TOOLS:%=$(BINDIR)/%) \
	   $(foreach m,$(notdir $(wildcard man/*.[1-8])),$(MANDIR)/man$(subst .,,$(suffix $m))/$m) \
	   $(ETCDIR)/nodelife/nodelife.ini.sample \
	   $(DESTDIR)$(PREFIX)/share/nodelife/nodelife-alerts.yml $(ETCDIR)/init.d/nodelife \
	   $(DESTDIR)$(PREFIX)/share/nodelife/nodelife.openrc \
	   $(SYSTEMD)/nodelife.service

install: all
	install -d $(sort $(dir $(INSTALLED)))
	install -m 755 $B/nodelifed $(SBINDIR)/nodelifed
	install -m 755 $(TOOLS:%=$B/%) $(BINDIR)/
	for m in man/*.[1-8]; do \
	    install -m 644 $$m $(MANDIR)/man$${m##*.}/ || exit 1; done
	install -m 644 conf/nodelife.ini $(ETCDIR)/nodelife/nodelife.ini.sample
	install -m 644 conf/nodelife-alerts.yml $(DESTDIR)$(PREFIX)/share/nodelife/
	sed 's,@SBINDIR@,$(PREFIX)/sbin,g; s,@BINDIR@,$(PREFIX)/bin,g' \
	    conf/nodelife.init >$(ETCDIR)/init.d/nodelife
	chmod 755 $(ETCDIR)/init.d/nodelife
	sed 's,@SBINDIR@,$(PREFIX)/sbin,g; s,@BINDIR@,$(PREFIX)/bin,g' \
	    conf/nodelife.openrc >$(DESTDIR)$(PREFIX)/share/nodelife/nodelife.openrc
	sed 's,@SBINDIR@,$(PREFIX)/sbin,g; s,@BINDIR@,$(PREFIX)/bin,g' \
	    conf/nodelife.service >$(SYSTEMD)/nodelife.service

uninstall:
	rm -f $(INSTALLED)
	-rmdir $(ETCDIR)/nodelife $(DESTDIR)$(PREFIX)/share/nodelife 2>/dev/null

clean:
	rm -rf $B

always:

.PHONY: all always help deps run run-group unit tests check fuzzers objects fuzz lint san sim node-sim \
	node-sim-mutants mutants sim-mutants \
	bench bench-group hostile attackers powercut install uninstall clean
.SECONDARY:
-include $(shell find $B -name '*.d' 2>/dev/null)
