/*
 * nodelifestat: what a node's shared region says, on a screen, as lines or as
 * JSON. A sample is one moment's copy of everything shown, so that the ways to
 * show it never look at the region themselves.
 *
 * The region may be of a node that is long gone, or that died in the middle of
 * a store: numbers are taken as they are, names are bounded.
 */
#ifndef TOOLS_NODELIFESTAT_H
#define TOOLS_NODELIFESTAT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include "shm/members.h"
#include "shm/region.h"

/* What became of the node whose region this is. */
enum life { LIFE_LIVE, LIFE_DEAD, LIFE_ENDED, LIFE_SUPERSEDED, LIFE_COUNT };

/* X(field, "name"): positions as plain VLSNs. */
#define STAT_POSITIONS(X)                                                      \
	X(appended, "appended")                                                \
	X(durable, "durable")                                                  \
	X(committed, "committed")                                              \
	X(term_start, "term_start")                                            \
	X(applied, "applied")                                                  \
	X(resolved, "resolved")                                                \
	X(frozen, "frozen")                                                    \
	X(checkpointed, "checkpointed")                                        \
	X(indexed, "indexed")                                                  \
	X(first, "first")                                                      \
	X(apply_wanted, "apply_wanted")                                        \
	X(member, "member")

struct stat_positions {
#define X(field, name) uint64_t field;
	STAT_POSITIONS(X)
#undef X
};

struct stat_worker {
	unsigned slot;
	int pid;
	uint32_t state; /* enum slot_state */
	uint32_t incarnation;
	uint32_t restarts;
	uint32_t busy; /* enum busy */
	char last_exit[24]; /* "" = never ended, else as last_exit_text() */
	uint64_t beat_ms; /* since its last heartbeat */
	uint64_t restart_in_ms; /* 0 = no restart is timed */
	uint64_t turns, sleeps;
};

struct stat_sample {
	/* The moment: now, or a gone node's last sign of life. */
	uint64_t at_ns;
	int64_t at_wall_ms;
	uint64_t up_ms; /* since the region was made, until then */
	enum life life;
	struct seq_snapshot seq;
	uint64_t phase_ms[PHASE_COUNT]; /* since the start, when entered;
					   UINT64_MAX = not yet */
	struct commit_view view;
	struct members_look group;
	char member[MEMBER_NAME_MAX]; /* of the master; "" = unknown */
	bool can_write, can_read, log_full;
	uint64_t generation; /* of the group */
	struct stat_positions pos;
	uint64_t wal_bytes, newest_lsn;
	struct stat_worker worker[SLOT_MAX];
	unsigned worker_count;
	unsigned stops; /* enum trouble_stops, of all that stand */
	unsigned trouble_count;
	struct trouble_info trouble[TROUBLE_COUNT];
	bool has_table;
	uint64_t key_count, table_used, table_size;
	uint64_t counter[COUNTER_COUNT];
	struct histogram hist[HIST_COUNT];
};

/* How long an interval is, and what happened in it. */
struct stat_delta {
	bool since_boot; /* no sample before: everything since the boot */
	uint64_t ms;
	uint64_t counter[COUNTER_COUNT];
	uint64_t wal_bytes;
	struct histogram hist[HIST_COUNT];
};

void sample_take(const struct region *r, struct stat_sample *out);
/* from = NULL: since the boot. */
void sample_delta(const struct stat_sample *from, const struct stat_sample *to,
    struct stat_delta *out);
double delta_rate(const struct stat_delta *d, uint64_t n); /* per second */
enum life life_of(const struct region *r);
const char *life_name(enum life life);

/*
 * The region that an admin named: a file, or what run_dir/region leads to.
 * A node that boots again makes a new one; a target follows it.
 */
struct stat_target {
	char path[1200];
	struct region region;
	bool attached;
	bool by_link; /* a run_dir was named: there may be a newer region */
};

int target_attach(struct stat_target *t, char *why, size_t why_size);
/*
 * If the region at hand is over and its path leads to another one by now,
 * take that. True if it did.
 */
bool target_follow(struct stat_target *t);
void target_close(struct stat_target *t);

/* Ways to show. Each returns the program's exit code. */
enum {
	STAT_OK = 0,
	STAT_FAILED = 1, /* no region, or the boot waited for failed */
	STAT_TIMED_OUT = 2
};

/* interval_ms = 0: once. count = 0: for ever. */
int stat_screen(struct stat_target *t);
int stat_watch(struct stat_target *t);
int stat_lines(struct stat_target *t, uint64_t interval_ms, uint64_t count);
int stat_json(struct stat_target *t, uint64_t interval_ms, uint64_t count);
int stat_events(struct stat_target *t, bool follow);
int stat_wait(struct stat_target *t, enum phase phase, uint64_t timeout_ms);

/* One screen of at most `rows` lines (0 = as many as it takes). */
void
screen_print(FILE *out, const struct region *r, const struct stat_sample *s,
    const struct stat_delta *d, unsigned rows, bool colour);

/*
 * The newest event that tells of an election, or of the role that came of it;
 * false = none does (any more).
 */
bool election_find(const struct region *r, struct event *out);

/*
 * Why the node stops or is over: what the supervisor said of that, else its
 * last word, else why the boot failed. Writes at most size bytes, returns buf.
 */
char *cause_text(const struct region *r, char *buf, size_t size);

/* Texts; each writes at most size bytes and returns buf. */
char *text_count(char *buf, size_t size, uint64_t n); /* 12,345,678 */
char *text_short(char *buf, size_t size, double n); /* 4 digits: 12.3k */
char *text_bytes(char *buf, size_t size, double n); /* 12.3M */
char *text_ns(char *buf, size_t size, uint64_t ns); /* 93us, 1.25ms */
char *text_ms(char *buf, size_t size, uint64_t ms); /* 23 ms, 2d 03:04:05 */
char *text_age(char *buf, size_t size, uint64_t ms); /* 23ms, 12s, 45m, 3d */
/* Control bytes of foreign text become '?'; always terminated. */
char *text_clean(char *buf, size_t size, const char *text, size_t max);

#endif
