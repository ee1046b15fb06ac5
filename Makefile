# nodelife: build, test, install. See README.md; `make help` lists the targets.

B	 = build
CC	 = gcc
PREFIX	 = /usr/local
DESTDIR	 =
VERSION	 = 0.1.0

PKGS	 = liburing inih libbsd-overlay lmdb libisal libmicrohttpd jansson
WARN	 = -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes \
	   -Wmissing-prototypes -Wcast-qual -Wpointer-arith -Wvla \
	   -Wswitch-enum -Wundef -Wwrite-strings -Wformat=2 \
	   -Wno-format-nonliteral
OPT	 = -O2 -g -fno-omit-frame-pointer
HARDEN	 = -fstack-protector-strong -D_FORTIFY_SOURCE=2
SAN	 =
CFLAGS	 = $(OPT) $(HARDEN) $(SAN)
CPPFLAGS = -std=gnu11 -D_GNU_SOURCE -I. -DNODELIFE_VERSION='"$(VERSION)"' \
	   -DNODELIFE_PREFIX='"$(PREFIX)"' $(WARN)
PKGFLAGS = $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
LDFLAGS	 = $(SAN) -pie -Wl,-z,relro,-z,now -Wl,--as-needed
LIBS	 = $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lpthread -lrt -lm

# A room's archive is every .c in its folder; a program is its rooms.
WORKERS	 = wal vlsn store checkpoint group gateway health
ROOMS	 = shm ipc conf supervisor $(WORKERS:%=workers/%)
TOOLS	 = nodelifestat nodelifectl nodelifewal nodelifebench

objs	 = $(patsubst %.c,$B/%.o,$(sort $(wildcard $(1)/*.c)))
archive	 = $B/$(subst /,_,$(1)).a

# Link order: the highest room first.
WORKLIBS = $(foreach w,$(WORKERS),$(call archive,workers/$w))
LOWLIBS	 = $(call archive,conf) $(call archive,ipc) $(call archive,shm)
ALLLIBS	 = $(call archive,supervisor) $(WORKLIBS) $(LOWLIBS)

PROGS	 = $B/nodelifed $(TOOLS:%=$B/%)
UNIT	 = $(patsubst t/unit/%.c,$B/t/unit/%,$(sort $(wildcard t/unit/*.c)))

all: $(PROGS)

$B/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(PKGFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

define room_rule
$(call archive,$(1)): $(call objs,$(1))
	@mkdir -p $$(@D) && rm -f $$@
	$$(if $$^,ar rcs $$@ $$^,ar rcs $$@)
endef
$(foreach r,$(ROOMS),$(eval $(call room_rule,$r)))

# supervisor/main.c is linked by name, so no archive hides it.
$B/nodelifed: $B/supervisor/main.o $(ALLLIBS)
	$(CC) $(LDFLAGS) -o $@ $< -Wl,--start-group $(ALLLIBS) -Wl,--end-group $(LIBS)

# A tool is tools/NAME.c plus whatever tools/NAME_*.c it has.
define tool_rule
$B/$(1): $(patsubst %.c,$B/%.o,$(sort $(wildcard tools/$(1).c tools/$(1)_*.c))) $(LOWLIBS)
	$$(CC) $$(LDFLAGS) -o $$@ $$(filter %.o,$$^) -Wl,--start-group $(LOWLIBS) -Wl,--end-group $$(LIBS)
endef
$(foreach t,$(TOOLS),$(eval $(call tool_rule,$t)))

# A unit test sees the room archives; the linker takes only what it names.
$B/t/unit/%: $B/t/unit/%.o $(ALLLIBS)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $< -Wl,--start-group $(ALLLIBS) -Wl,--end-group $(LIBS)

unit: $(UNIT)
	prove --exec '' -j2 $(UNIT)

clean:
	rm -rf $B

.PHONY: all unit clean
.SECONDARY:
-include $(shell find $B -name '*.d' 2>/dev/null)
