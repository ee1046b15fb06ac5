/*
 * The shared region: everything a node's processes share. Made by the
 * supervisor for each boot in /dev/shm, mapped by each worker, and read-only
 * by tools, also after a crash (it is the black box). Offsets only, fixed
 * layout, never truncated or reused; a replaced region says so and wakes its
 * waiters.
 */
#ifndef SHM_REGION_H
#define SHM_REGION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "shm/bytering.h"
#include "shm/commit.h"
#include "shm/counters.h"
#include "shm/kv/reach.h"
#include "shm/log/terms.h"
#include "shm/log/vmap.h"
#include "shm/log/walbuf.h"
#include "shm/peers.h"
#include "shm/position.h"
#include "shm/request.h"
#include "shm/sequencer.h"
#include "shm/slots.h"
#include "shm/trouble.h"
#include "shm/wake.h"

#define REGION_MAGIC UINT64_C(0x65666c65646f6e01) /* "\1nodelfe" */
/* From 2 on whoever has a region holds the lock on its file. */
#define REGION_VERSION        2u
#define REGION_VERSION_LOCKED 2u
#define NODE_NAME_MAX         64

enum region_state {
	REGION_LIVE = 1,
	REGION_ENDED = 2, /* the node stopped in order */
	REGION_SUPERSEDED = 3 /* a node restart made a new region */
};

enum section {
	SECT_SEQUENCER,
	SECT_SLOTS,
	SECT_WAKES,
	SECT_POSITIONS,
	SECT_COMMIT,
	SECT_CONTROL,
	SECT_COUNTERS,
	SECT_HISTOGRAMS,
	SECT_EVENTS,
	SECT_TROUBLES,
	SECT_REACH,
	SECT_TERMS,
	SECT_PEERS,
	SECT_RINGS, /* CLIENT_MAX x struct client_rings */
	SECT_RING_DATA, /* per client: request, ret, result bytes */
	SECT_VMAP,
	SECT_WALBUF_HEAD,
	SECT_WALBUF, /* the bytes, page-aligned */
	SECT_TABLE, /* shm/kv/table.h */
	SECT_COUNT
};

struct region_place {
	uint64_t off, len;
};

/* W: creator, before magic, unless said otherwise. R: all */
struct region_head {
	_Atomic uint64_t magic; /* W: creator, last, release */
	uint32_t version;
	uint32_t head_size;
	uint64_t total_size;
	uint64_t layout; /* hash over section sizes: unlike builds refuse */
	_Atomic uint32_t state; /* enum region_state. W: supervisor */
	int32_t supervisor_pid;
	uint64_t boot_id[2]; /* random, one per boot of the node */
	int64_t started_wall_ms;
	uint64_t started_ns; /* CLOCK_MONOTONIC */
	uint32_t node_restarts;
	uint32_t gateway_count;
	/* Bytes for the eye; what is longer is cut. */
	char node[NODE_NAME_MAX];
	char group[NODE_NAME_MAX];
	char data_dir[256];
	char run_dir[128]; /* its links; "" = longer than sockets allow */
	char client_addr[64], http_addr[64];
	char system_boot_id[40]; /* /proc's: a reboot makes pids void */
	uint64_t supervisor_start; /* /proc/PID/stat's start time in ticks: a
				      later process may have the same pid */
	uint64_t pid_space; /* namespace of these pids: /proc's inode */
	uint64_t mount_space; /* where run_dir is: the same */
	struct region_place section[SECT_COUNT];
};

/* Why a worker asks for a boot: control.restart_wanted. */
enum restart_wish {
	WISH_NONE = 0,
	WISH_RESTART = 1, /* it must not go on: counted, there is a limit */
	WISH_RESTART_WORLD = 2, /* a fault of the world is over */
	WISH_RESTART_JOINED = 3 /* it is of a group from now on: not counted */
};

enum found_what { FOUND_BEGIN = 1, FOUND_GIVE_UP = 2 };
#define CONTROL_FOUND_TEXT 4096 /* a line for each member, and some */

/*
 * What tools and pages ask the node to do, and what it answers. A request is
 * a count that goes up; done follows it up. W: health (requests), the worker
 * named (done).
 */
struct control {
	_Alignas(CACHE_LINE) _Atomic uint32_t log_level; /* W: supervisor,
							    health. R: all */
	_Atomic uint32_t stop_wanted; /* R: supervisor */
	_Atomic uint32_t reload_wanted; /* R: supervisor */
	_Atomic uint32_t reload_done; /* W: supervisor */
	_Atomic uint32_t checkpoint_wanted; /* R: store */
	_Atomic uint32_t checkpoint_done; /* W: checkpoint */
	_Atomic uint32_t reload_status; /* W: supervisor, 0 = good */
	_Atomic uint32_t restart_wanted; /* W: a worker that must not go on:
					    an enum restart_wish. R: superv. */
	/* Values that a reload may change while running. W: supervisor */
	_Atomic uint64_t checkpoint_wal; /* bytes */
	_Atomic uint64_t idle_timeout_ms;
	_Atomic uint32_t sync_level;
	_Atomic uint32_t log_reopens; /* W: supervisor. say_follow() */
	/* These three W: wal, the first one last; the creator takes them over
	   from the region before, as struct log_failed. */
	_Atomic uint64_t wal_failed; /* 1 + the VLSN that was durable when a
					flush failed: the next boot drops what
					lies above. 0 = none did */
	_Atomic uint64_t wal_failed_log; /* of that data_dir: its incarnation */
	_Atomic uint64_t wal_failed_segment; /* the newest that was begun: a
						later one knows better */
	char reload_text[1024]; /* W: supervisor, before reload_done */
	/* Founding: who asks writes found_what, then raises found_wanted and
	   rings group. One at a time. */
	_Atomic uint32_t found_what; /* W: health, an enum found_what */
	_Atomic uint32_t found_wanted; /* W: health. R: group */
	_Atomic uint32_t found_done; /* W: group, when it is answered */
	_Atomic uint32_t found_status; /* W: group, before: 0 = good */
	char found_text[CONTROL_FOUND_TEXT]; /* W: group, before: lines */
};

/* What a region says of a log whose flush failed; see there. */
struct log_failed {
	uint64_t from; /* wal_failed */
	uint64_t log, segment;
};
_Static_assert(offsetof(struct control, wal_failed_log) ==
		       offsetof(struct control, wal_failed) +
			   offsetof(struct log_failed, log) &&
		   offsetof(struct control, wal_failed_segment) ==
		       offsetof(struct control, wal_failed) +
			   offsetof(struct log_failed, segment),
    "read as one");

/* What the creator must know. */
struct region_spec {
	const char *node, *group, *data_dir, *run_dir;
	const char *client_addr, *http_addr;
	uint64_t walbuf_size; /* power of two */
	uint64_t table_size; /* bytes of each generation's arena */
	uint64_t memory_least; /* bytes that /dev/shm must have: conf_need's */
	unsigned gateway_count;
	unsigned node_restarts;
	enum recovery_mode recovery_mode;
	/*
	 * This process' own, of the boot before; or NULL. What wal said in it
	 * is taken over, whatever run_dir links; and where there is no run_dir
	 * any more this region starts without a name: region_link_again().
	 */
	const struct region *before;
	/*
	 * The region that run_dir/region leads to goes, and region.prev stays:
	 * what came after a failure tells less of it than what came before.
	 */
	bool keep_prev;
};

struct table_head;

/* A process' handle: where its map is, and its sections. */
struct region {
	uint8_t *base;
	uint64_t size;
	int fd; /* -1 = private */
	bool writable;
	char path[128]; /* name under /dev/shm, with the slash; "" = none */
	struct region_head *head;
	/* As made or checked: the head's may be written by others since. */
	char node[NODE_NAME_MAX]; /* creator only */
	struct region_place section[SECT_COUNT];
	struct sequencer *seq;
	struct slots *slots;
	struct wakes *wakes;
	struct positions *pos;
	struct commit_state *commit;
	struct control *control;
	struct counters *counters;
	struct histograms *hists;
	struct events *events;
	struct troubles *troubles;
	struct reach_table *reach;
	struct terms *terms;
	struct peers *peers;
	struct client_rings *rings;
	struct vmap *vmap;
	struct walbuf walbuf; /* mapped twice; data NULL in tools */
	struct table_head *table;
};

/*
 * Make a region and the symlink run_dir/region (the one before becomes
 * region.prev, and what that named is removed if it is dead). To be called by
 * the process that stays the supervisor: its pid goes into the head. The
 * caller keeps it; children inherit the map. 0 or -errno (-EBUSY: a live
 * node's region is linked there); why[] gets a sentence for the admin.
 */
int region_create(struct region *r, const struct region_spec *spec, char *why,
    size_t why_size);
/*
 * Where none can be made: one that only this process and its children have, in
 * their own memory, for pages and troubles. No file (fd -1), no name, no WAL
 * buffer, of the table the head. 0 or -errno.
 */
int region_create_private(struct region *r, const struct region_spec *spec);
/*
 * Creator: is run_dir/region still there? 0; 1: somebody had removed it, and
 * it leads to this region again; -errno.
 */
int region_link_again(struct region *r, const char *run_dir);
/*
 * Map read-only the region at `path`: run_dir/region, region.prev or a file.
 * 0 or -errno: -ENOENT, -EACCES and the like; -EAGAIN it is not complete yet;
 * -EBADMSG no region or damaged; -EPROTO of an unlike build. why[] says which.
 */
int
region_attach(struct region *r, const char *path, char *why, size_t why_size);
/*
 * Creator: say what became of the region and wake its waiters. A boot that
 * was under way fails. The name stays: a dead region is the black box.
 */
void region_end(struct region *r, enum region_state state);
/* Remove the name; maps stay. For regions that nobody shall look at again. */
void region_unlink(struct region *r);
void region_unmap(struct region *r);
/*
 * Give back the memory of a region's bulk (rings, log buffer, map, table): the
 * black box needs positions, events and counters, not the data.
 */
void region_trim(const struct region *r);
/* The same of dead regions that run_dir links; before memory is counted. */
void region_trim_dead(const char *run_dir);
/*
 * Regions of all nodes of this user (and of this process') that no process has
 * any more: the black boxes, those that their run_dir links, are trimmed, the
 * others removed; those of other builds lose all but the first page. Root does
 * so with everybody's, but removes none of others'. See region_orphan().
 */
void region_sweep(uid_t uid);
/* Bytes of /dev/shm that the regions have which run_dir links. */
uint64_t region_held(const char *run_dir);
/*
 * Pid of the node that left run_dir's region without ending it, 0 = none. For
 * root, too: the region is read, not mapped, and none of it trusted.
 */
int region_orphan(const char *run_dir);
/*
 * Is the supervisor that made it alive (same system boot, same pid, same
 * start time, no zombie)? Where pids mean others, by the lock that the node
 * has on the file. Says nothing of head->state.
 */
bool region_alive(const struct region *r);

/* Attach one of a client's rings. which: 0 request, 1 ret, 2 result. */
enum { RING_REQUEST = 0, RING_RETURN = 1, RING_RESULT = 2 };
void region_ring(const struct region *r, unsigned client, unsigned which,
    struct bytering *out);

#endif
