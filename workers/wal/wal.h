/*
 * The wal worker's private state. It is the sole writer of segments and of
 * the WAL buffer, and the one place where VLSNs are given out.
 *
 * A record's way to durability, in this order and no other:
 *	1 append  payload copied from the client's ring into the buffer
 *	2 seal    batch head filled in, CRCs chained (wal_flush.c)
 *	3 write   straight from the buffer; a last partial block by a copy
 *	4 sync    with the write (RWF_DSYNC) or by the linked fdatasync
 *	5 publish durable, flushed, the member's word, commit_advance()
 *	6 bells   whoever waits for what was published
 */
#ifndef WORKERS_WAL_WAL_H
#define WORKERS_WAL_WAL_H

#include <sys/stat.h>
#include <sys/uio.h>

#include <errno.h>
#include <limits.h>

#include "ipc/loop.h"
#include "shm/assert.h"
#include "shm/commit_wake.h"
#include "shm/log/append.h"
#include "shm/log/log_clock.h"
#include "shm/log/logcheck.h"
#include "shm/log/segment.h"
#include "workers/wal/data.h"
#include "workers/wal/wal_io.h"
#include "workers/wal/wal_plan.h"
#include "workers/worker.h"

enum wal_kind {
	WAL_KIND_WRITE = 1,
	WAL_KIND_SYNC = 2,
	WAL_KIND_KEEPER = 3,
	WAL_KIND_SCAN = 4,
	WAL_KIND_HINT = 5,
	WAL_KIND_PROBE = 6,
	WAL_KIND_AWAY = 7,
	WAL_KIND_OFFER = 8,
	WAL_KIND_RECV = 9,
	WAL_KIND_SEND = 10
};

#define WAL_RESERVE_NAME  "reserve" /* in data_dir */
#define WAL_FIRST_SEGMENT (4u * 1024 * 1024) /* of each boot: soon zeroed */
#define WAL_TICK_NS       NS_PER_S
#define WAL_RETRY_NS      NS_PER_S /* after a file that could not be made */
#define WAL_SPARE_MAX     64

/* The segment that is written; where in the log: append_segment. */
struct wal_segment {
	struct segment_info info;
	int fd; /* -1 = none is open */
};

struct wal_flight {
	enum flight_state state;
	uint32_t generation; /* of its completions */
	bool written; /* buffered: the write is complete */
	bool closed; /* ends on a block boundary */
	uint64_t start, end; /* log positions; start on a block */
	uint64_t vlsn; /* newest VLSN once it is durable */
	uint32_t records;
	uint32_t done, size; /* bytes in the file */
	uint64_t head_durable; /* what its head tells */
	uint64_t submit_ns, begun_ns;
	struct iovec iov[2];
	uint8_t *bounce; /* one block, for a partial one at the end */
};

/* A client of wal: its rings and what is under way with it. */
struct wal_client {
	struct bytering request, ret;
	struct wal_ret *run; /* unpublished entry that still grows */
	bool pushed; /* ret entries since its last bell */
	bool refused; /* it waits for nothing else: ring at once */
	bool stuck; /* its ret ring is full */
	/* A payload in parts, between its first and last. */
	bool parts;
	uint8_t parts_refused; /* enum ret_status */
	uint32_t parts_incarnation;
};

/* A segment behind the current one. */
struct wal_old {
	uint32_t number;
	uint64_t first_vlsn;
	uint64_t size; /* of the file */
};

struct wal_spare {
	int fd;
	uint32_t id;
	uint32_t zeroed; /* bytes */
	bool ready; /* named spare.ID; else prep.ID */
};

enum wal_job {
	JOB_NONE,
	JOB_OPEN, /* make a new prep */
	JOB_ALLOC, /* reserve its space */
	JOB_ZERO, /* one step of zeros */
	JOB_SYNC, /* the prep's zeros are on disk */
	JOB_READY, /* prep.ID becomes spare.ID */
	JOB_NEXT, /* spare.ID becomes the next segment */
	JOB_NEXT_DIR, /* and its name is on disk */
	JOB_RECYCLE, /* the oldest segment becomes spare.ID */
	JOB_REOPEN, /* and is opened */
	JOB_UNLINK, /* the oldest segment goes */
	JOB_DROP, /* a file that failed goes */
	JOB_RESERVE_OPEN, /* the reserve is made again */
	JOB_RESERVE_ALLOC
};

/* Background work on files: one operation at a time. */
struct wal_keeper {
	enum wal_job job;
	uint32_t job_spare; /* index in spare[] */
	uint32_t job_bytes;
	char from[32], to[32]; /* names of the rename under way */
	struct wal_spare spare[WAL_SPARE_MAX];
	uint32_t spares, next_id;
	int next_fd; /* the coming segment's file, -1 = none */
	uint32_t next_number;
	uint64_t next_size;
	bool next_ready;
	bool hint_busy;
	uint64_t hint_vlsn; /* on disk */
	uint8_t hint[LOG_HINT_SIZE];
	int hint_fd;
	uint64_t alloc_ns; /* no new file before, after one that failed */
	uint64_t rename_ns; /* nothing before, after a rename that failed */
	/* Why no further segment can be made: errno, call, file; 0 = it can. */
	int error;
	const char *error_call;
	char error_name[32];
	struct denied denied; /* if that is for want of rights: what it is */
	const char *error_what, *error_command; /* in it; NULL = it is not */
	bool error_late; /* the file was there already */
	char drop[32]; /* name of a file that is to go; "" = none is */
	bool drop_reserve; /* the reserve is */
	bool reserve_missing;
	int reserve_fd; /* while it is made */
	uint64_t reserve_ns; /* no try before */
	struct wal_old *old; /* chain behind the current one, oldest first */
	uint32_t olds, old_room;
	/* Numbers of segments that were cut off, from .. to - 1: they go. */
	uint32_t cut_from, cut_to;
};

enum wal_phase {
	WAL_BOOTING,
	WAL_APPENDING,
	WAL_CLOSING, /* the segment is full: its flights end */
	WAL_HEADER, /* the next segment's header is in flight */
	WAL_FAILED, /* a write or flush failed: closed for good, wal_fail.c */
	WAL_IDLE /* readonly mode: nothing is ever written */
};

/* Is the fault over that closed the log? */
enum probe_step {
	PROBE_REST,
	PROBE_OPEN,
	PROBE_ALLOC,
	PROBE_WRITE,
	PROBE_SYNC,
	PROBE_UNLINK
};
struct wal_probe {
	enum probe_step step;
	int fd; /* -1 = none is open */
	int fault; /* errno that closed the log */
	int error; /* errno that was told last */
	bool by_path; /* this one: not by the open directory */
	char path[PATH_MAX];
	uint64_t at_ns; /* REST: when the next one begins */
	uint64_t backoff_ns;
};

/* Does the segment's path lead to it? wal_away.c */
struct wal_away {
	bool away; /* it does not: writes are refused */
	bool asked; /* in flight: nothing here moves */
	uint32_t unseen; /* looks in a row that told nothing */
	uint64_t unseen_ns; /* since when */
	uint64_t told_ns; /* when it was told last that there is no answer */
	uint64_t asked_ns, vlsn; /* of the last look: when, and the newest */
	uint32_t number; /* of the segment it is asked for */
	struct stat held; /* by its descriptor */
	struct statx named; /* by its path */
	char path[PATH_MAX];
};

/* The log is cut: wal_cut.c. */
enum cut_step {
	CUT_NONE,
	CUT_DRAIN, /* what is under way gets to the disk */
	CUT_SEGMENT, /* all is saved; the next segment's file is waited for */
	CUT_HEADER, /* positions are lowered, the header is in flight */
	CUT_ANSWER /* it is over: group is told */
};

#define WAL_CUT_NAME_MAX 40

struct wal_cut {
	enum cut_step step;
	unsigned status; /* ANSWER: enum ret_status */
	struct cut_req req;
	struct append_end end; /* of what stays */
	uint32_t number, offset; /* where that ends */
	uint64_t last; /* newest VLSN that goes */
	uint64_t high; /* newest that any cut took, so far as headers tell */
	uint64_t base; /* the newest cut's segment begins there */
	uint64_t hold; /* the store needs nothing before that */
	/* What is saved in salvage/ and still in the log; "" = nothing. */
	char copy[WAL_CUT_NAME_MAX];
};

/* What trouble "clock" tells now. */
enum wal_clock_said {
	CLOCK_SAID_NOTHING,
	CLOCK_SAID_SLOWER, /* log time waits for the clock */
	CLOCK_SAID_DUE, /* a CLOCK record is to come */
	CLOCK_SAID_STEP /* the clock was set */
};

struct wal_ahead;

struct wal {
	struct worker *w;
	struct region *r;
	struct loop loop;
	const struct conf *conf;
	uint16_t bound; /* of every operation appended here; record.h */
	struct wal_io io;
	int dir;
	enum wal_phase phase;
	uint8_t uuid[16];
	uint64_t generation;
	uint64_t incarnation; /* of data_dir */
	struct segment_list found; /* boot: what is in the directory */
	struct wal_ahead *ahead; /* boot: reads the segments; wal_scan.c */

	struct append log; /* its end, batch, segment, buffer */
	uint64_t batch_begun_ns;
	uint64_t member; /* newest REC_MEMBER; before the log's first record:
			    it has none; 0 = that is not known */
	uint64_t member_before; /* the one in force until that is committed */
	struct log_clock clock; /* log time; read once a turn */
	struct log_clock_step clock_step; /* what is due, if clock_due */
	bool clock_due;
	enum wal_clock_said clock_said;
	uint64_t clock_said_ns;
	uint64_t take_ns; /* no try before, after one that failed */
	bool no_memory; /* the last try failed */
	bool no_samples; /* the last map sample found no memory */
	uint64_t sample; /* log position of the newest map sample */
	bool sampled; /* there is one in this segment */
	struct wal_segment segment;

	/* Flights, in order; flight[first % FLIGHT_MAX] is the oldest. */
	struct wal_flight flight[FLIGHT_MAX];
	uint32_t first, flights;
	uint64_t flight_bytes;
	uint64_t durable; /* newest durable VLSN */
	uint64_t head_durable; /* highest durable that a head on disk tells */
	uint64_t flushed_ns; /* when a flight last ended */
	bool header_flight; /* the one in flight is a segment header */

	/* The role, as last looked at. */
	struct commit_view view;
	uint32_t view_seq;
	uint64_t term_start; /* VLSN of own_term's first record */
	uint64_t boot_term; /* newest term in the log when it was scanned */
	uint64_t own_term; /* term whose first record is ours, 0 = none */
	bool failed_before; /* wal_failed holds: recovery has judged it */
	bool stopping;
	bool told; /* a term that cannot be was logged */

	struct wal_client client[CLIENT_MAX];
	uint32_t clients; /* in use: group, store, gateways */
	uint32_t turn_client; /* who is drained first */
	int parts_client; /* who alone is drained, -1 = all are */
	bool parts_open; /* the newest in the log are parts without an end */

	/* For the region's positions, which get them with `appended`; 0 = no
	   news. */
	uint64_t urgent, group_waits;
	struct commit_wake commit_wake;
	uint64_t tick_ns; /* last tick */
	uint64_t tick_position; /* log position at the last tick */
	uint32_t need_room; /* bytes: held back by the buffer, 0 = not */
	uint32_t own_room; /* the same of what wal itself wants to put there */
	enum busy busy;
	struct wal_keeper keeper;
	struct wal_probe probe;
	struct wal_away away;
	struct wal_cut cut;
	/* The newest fence: nothing of an older epoch counts. */
	bool fence_set;
	uint16_t fence_epoch;
	struct wal_data data;
};

/* wal_recover.c: scan, judge, positions. 0, or negative after seq_fail(). */
int wal_recover(struct wal *w);
/* Find out how its files are to be written. 0 or -errno, -EOPNOTSUPP. */
int wal_recover_probe(struct wal *w);

/*
 * wal_scan.c: chunks of a segment, read ahead through the ring; from: its
 * block size, for that is where its header ends. 0 or -errno. What it keeps
 * for the next one goes when free is told.
 */
int wal_ahead_open(struct wal *w, uint32_t number, uint32_t from, uint64_t to,
    struct segment_source *out);
void wal_ahead_close(struct wal *w);
void wal_ahead_free(struct wal *w);
void wal_scan_done(
    void *ctx, uint32_t slot, uint32_t generation, int res, uint32_t flags);

/* wal_segment.c */
/* 0, or -errno after seq_fault(). */
int wal_segment_first(struct wal *w);
void wal_segment_turn(struct wal *w);
/* The segment is full: its last flush is closed, then the next one begins. */
void wal_segment_close(struct wal *w);

/* wal_append.c */
void wal_clients_open(struct wal *w);
/* Take requests; returns with rings empty or the batch full. */
void wal_drain(struct wal *w);
/* Is there anything that wal_drain() could take? */
bool wal_drain_ready(struct wal *w);
/* Look at the view: a new term begins, a role ends. */
void wal_role_turn(struct wal *w);
/*
 * Is there room for a record of len bytes? Opens a batch for it. Of the buffer
 * the second leaves WAL_OWN_ROOM for what wal itself must be able to put there
 * whatever others have filled it with, and whether that will ever be committed
 * or not: a term's first record, which commits all that is before it.
 */
bool wal_room_own(struct wal *w, uint32_t len);
bool wal_room(struct wal *w, uint32_t len);
/*
 * A map sample, if one is due, of the record that comes next; and what one that
 * was put means for wal and those that it wakes. wanted: somebody here waits
 * for what comes of it.
 */
void wal_sample_next(struct wal *w);
void wal_record_note(struct wal *w, uint64_t vlsn, uint8_t type, bool wanted);
/* A record of wal's own making, of `term`; wal_room() found room for it. */
void wal_append_own(struct wal *w, uint64_t term, uint8_t type,
    const void *payload, uint32_t payload_len);
/* A record of this term: the first of it, or the first that is looked at. */
void wal_term_begins(struct wal *w, uint64_t term, uint64_t vlsn);
/* Open a batch without a record: for a last head, or to close a segment. */
void wal_batch_open(struct wal *w);
/* Let readers see what was appended. */
void wal_publish_appended(struct wal *w);

/*
 * wal_cut.c: what comes of a request for a cut. enum ret_status, or
 * WAL_CUT_LATER: it is under way, ask again.
 */
#define WAL_CUT_LATER 255u
unsigned wal_cut_request(struct wal *w, const struct cut_req *req);
void wal_cut_turn(struct wal *w);
/* The header of the segment that begins behind a cut is on disk. */
void wal_cut_done(struct wal *w);
/* Is one under way? Nothing is appended then. */
static inline bool
wal_cutting(const struct wal *w)
{
	return w->cut.step != CUT_NONE && w->cut.step != CUT_ANSWER;
}

/*
 * wal_cut_save.c: find the place behind record req.vlsn, and save what is
 * behind it in salvage/. 0 or -errno; -ENOENT: the log does not hold it.
 */
int wal_cut_save(struct wal *w);
/* The cut ends before anything is cut: the copy is of no use. */
void wal_cut_unsave(struct wal *w);

/* wal_fence.c: what group is answered; len and seq are there already. */
void wal_ask_fence(
    struct wal *w, const struct fence_req *req, struct fence_ret *ret);
void wal_ask_chain(
    struct wal *w, const struct chain_req *req, struct chain_ret *ret);
/*
 * Is the view of an epoch that was fenced off? Then the log ends where that
 * answer says, and nothing is appended until the next view.
 */
static inline bool
wal_fenced(const struct wal *w)
{
	return w->fence_set && epoch_older(w->view.epoch, w->fence_epoch);
}
/* A record in the buffer, whose bytes are whole but for a head's. */
struct wal_place {
	uint64_t at; /* log position */
	uint64_t vlsn;
	uint32_t len;
	bool replicated;
};
/* The one at log position *at, which moves behind it. False: the end. */
bool wal_buffer_step(const struct wal *w, uint64_t *at, struct wal_place *out);
/*
 * Log position of record `vlsn`, the log's end of the one that comes next;
 * UINT64_MAX: it is not in the buffer, as far as the VLSN map leads there.
 */
uint64_t wal_buffer_find(const struct wal *w, uint64_t vlsn);

/* wal_clock.c */
void wal_clock_open(struct wal *w);
/* Look at the clocks, before anything is stamped. */
void wal_clock_turn(struct wal *w);
/* The CLOCK record, if one is due and this node may write it. */
void wal_clock_back(struct wal *w);

/* wal_buffer.c */
/* Boot: memory for the buffer's first bytes. 0 or -ENOSPC. */
int wal_buffer_open(struct wal *w);
/*
 * Can n bytes be put at the log's end? If not, it is said what is waited for,
 * and wal_drain_ready() and the deadline see to it that it is tried again.
 */
bool wal_buffer_has(struct wal *w, uint32_t n);
/* Try again for memory that was not to be had; LOOP_NEVER: all is well. */
void wal_buffer_turn(struct wal *w);
uint64_t wal_buffer_deadline(const struct wal *w);
/* A sample for the VLSN map; one that finds no memory is left out. */
bool wal_sample(struct wal *w, uint64_t vlsn, uint64_t lsn);

/* wal_flush.c */
/* Flush if the plan says so; true if a flight began. */
bool wal_flush_turn(struct wal *w);
void wal_write_done(
    void *ctx, uint32_t slot, uint32_t generation, int res, uint32_t flags);
void wal_sync_done(
    void *ctx, uint32_t slot, uint32_t generation, int res, uint32_t flags);
int wal_flight_memory(struct wal *w);
/* Submit the segment's header, which lies at its base. */
void wal_flight_header(struct wal *w);

/* wal_fail.c. A file's path, for whoever reads of it: relative to data_dir. */
__attribute__((format(printf, 4, 5))) void
wal_path(const struct wal *w, char *out, size_t size, const char *fmt, ...);
/*
 * A write or flush of wal/NAME failed (errno, positive): the log is closed
 * until the node boots again, which it does when the fault is over.
 */
void wal_fail(struct wal *w, const char *name, const char *call, int error);
/*
 * What lies above `durable`, up to the present segment, may be in a cache
 * only: the next boot drops it.
 */
void wal_failed_set(struct wal *w);
void wal_probe_turn(struct wal *w);
uint64_t wal_probe_deadline(const struct wal *w);
void wal_probe_done(
    void *ctx, uint32_t slot, uint32_t generation, int res, uint32_t flags);
/* The boot fails by this; returns -errno. */
int wal_boot_failed(struct wal *w, const struct fault *f);
/* By a call on what is at NAME in data_dir (errno, positive). */
int
wal_boot_fault(struct wal *w, const char *name, const char *call, int error);

/* wal_away.c: at most once a second. */
void wal_away_turn(struct wal *w);
uint64_t wal_away_deadline(const struct wal *w);
void wal_away_done(
    void *ctx, uint32_t slot, uint32_t generation, int res, uint32_t flags);

/* wal_bells.c */
void wal_bells_open(struct wal *w);
/*
 * A flight begins, or has ended (records 0). One record is one client that
 * waits, and its gateway sleeps: the flush itself wakes it then, at the same
 * time as wal and not after it.
 */
void wal_bells_flight(struct wal *w, uint32_t records);
void wal_bells_committed(struct wal *w);
void wal_bells_returned(struct wal *w);
void wal_busy(struct wal *w, enum busy busy);

/* In front of the next segment: the one in use ends at that place of it. */
void wal_segment_begin(struct wal *w, int fd, uint32_t number, uint64_t size);

/* wal_keeper.c; marked boot: wal_keeper_boot.c */
int wal_keeper_boot(struct wal *w, const struct segment_list *list);
void wal_keeper_spares(struct wal *w);
void wal_keeper_turn(struct wal *w);
uint64_t wal_keeper_deadline(const struct wal *w);
void wal_keeper_done(
    void *ctx, uint32_t slot, uint32_t generation, int res, uint32_t flags);
void wal_keeper_hint_done(
    void *ctx, uint32_t slot, uint32_t generation, int res, uint32_t flags);
/* The newest membership record that is on disk here and committed. */
uint64_t wal_member_in_force(const struct wal *w);
int wal_keeper_old_add(struct wal *w, const struct wal_old *old);
/* The log was cut at the end of segment `number`: newer ones go. */
void wal_keeper_cut(struct wal *w, uint32_t number);
/* The prepared file, handed over: descriptor and number; -1 = none yet. */
int wal_keeper_take(struct wal *w, uint32_t *number, uint64_t *size);
/* At boot, on a full disk: any spare, renamed. Descriptor, -ENOENT, -errno. */
int wal_keeper_spare(struct wal *w, const char *name, uint64_t *size);
/* Give back what the segment of the last boot did not use. */
void wal_keeper_trim(struct wal *w);
/* Must new writes be refused? */
bool wal_keeper_full(const struct wal *w);
void wal_keeper_tick(struct wal *w);
/* Shared by the two. A spare's name by its state. */
void wal_spare_name(char out[32], const struct wal_spare *s);
/* A call on wal/NAME failed (errno, positive): none is made till a next try. */
void
wal_keeper_failed(struct wal *w, const char *name, const char *call, int error);
/* What everybody is told: the log has no room, or it has. */
void wal_full_tell(struct wal *w, bool full);

static inline uint64_t
wal_segment_size(const struct wal *w)
{
	return w->conf->wal.segment_size;
}

static inline bool
wal_is_nospace(int res)
{
	return res == -ENOSPC || res == -EDQUOT;
}

/*
 * Bytes that can be put at the log's end: the store's hold is not passed. What
 * it holds of before a cut it holds no more once it has applied all of it: it
 * goes on behind the cut.
 */
static inline uint64_t
wal_buffer_room(const struct wal *w)
{
	/* Pairs with the release in cursor_release(). */
	uint64_t hold = atomic_load_explicit(
	    &w->r->walbuf.h->store_hold, memory_order_acquire);

	if (hold < w->cut.hold)
		hold = w->cut.hold;
	if (hold > w->data.hold)
		hold = w->data.hold;
	return append_room(&w->log, hold);
}

static inline void
wal_count(struct wal *w, enum counter which, uint64_t n)
{
	counter_add(w->r->counters, SLOT_WAL, which, n);
}

#endif
