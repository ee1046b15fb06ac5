/*
 * Private to workers/group: the group worker's state. The core decides
 * (core/step.h); what is here reads the disk for it (group_boot.c), writes
 * the disk for it (group_io.c), and joins both to the region (group.c).
 */
#ifndef WORKERS_GROUP_GROUP_H
#define WORKERS_GROUP_GROUP_H

#include <stdbool.h>
#include <stdint.h>
#include "conf/node_generation.h"
#include "ipc/loop.h"
#include "shm/bytering.h"
#include "shm/commit_wake.h"
#include "shm/request.h"
#include "workers/group/core/step.h"
#include "workers/group/core/sync.h"
#include "workers/group/member_file.h"
#include "workers/group/net/peers.h"
#include "workers/group/note_file.h"
#include "workers/group/state_file.h"
#include "workers/worker.h"

#define MEMBERS_TMP "members.tmp"

/* Kinds of completions; 0 is the loop's. */
enum { KIND_STATE = 1, KIND_MEMBERS, KIND_LINK, KIND_LISTEN };

/* A promise on its way to the disk: both blocks, one behind the other. */
enum state_write {
	STATE_WRITE_IDLE,
	STATE_WRITE_FIRST, /* the worse block */
	STATE_WRITE_SECOND, /* the other one */
	STATE_WRITE_DURABLE,
	STATE_WRITE_FAILED,
};

/* The members file on its way: made aside, flushed, renamed. */
enum members_write {
	MEMBERS_WRITE_IDLE,
	MEMBERS_WRITE_OPEN,
	MEMBERS_WRITE_DATA,
	MEMBERS_WRITE_FLUSH,
	MEMBERS_WRITE_RENAME,
	MEMBERS_WRITE_DIR,
};

/* A question to wal, of which one is on its way at most. */
struct group_ask {
	bool wanted; /* to be put into the ring */
	bool sent; /* not answered */
	uint32_t seq;
};

/* Of member i: what the links and the core do not keep. */
struct group_peer {
	/* Master: it wants a ticket; REQ_CHAIN tells whether it may. */
	struct group_ask chain;
	struct msg_match match;
	uint64_t gap_ns, heard_ns; /* from one sign of life to the next */
	uint64_t behind_ns; /* since when it lacks .behind_vlsn; 0 = nothing */
	uint64_t behind_vlsn; /* what was committed then */
	uint64_t behind_told_ns; /* since when it was told to be; 0 = not */
	bool damage_told;
	/* What it has acknowledged to this process, as its master. */
	uint64_t acked_by; /* incarnation; 0 = nobody has */
	uint64_t acked_term, acked;
};

struct group {
	struct worker *w;
	struct region *r;
	struct loop loop;
	struct group_core core;
	uint64_t deadline_ns; /* its next one, CLOCK_BOOTTIME */
	struct commit_view view; /* as published last */
	bool booted; /* the core has been told of the disk */
	bool ready; /* it lets the boot go on */
	bool warmed; /* warm_peers was fired */
	bool ended; /* failed or wants a restart: w->exit_code says which */
	bool lost; /* it is a member, without what it had promised or logged */
	bool stopped; /* GROUP_STOP was told; links end until: */
	uint64_t stop_ns;

	/* As read at boot. */
	struct node_file node;
	struct state state; /* as it is on disk, or on its way */
	struct membership newest, filed;
	bool filed_known; /* `filed` is what the members file holds, now */
	int filed_error; /* why not, -errno */
	uint64_t log_term;
	const char *state_lost; /* what force is to replace, NULL = nothing */
	bool state_missing; /* it is to be made */
	bool forced; /* a lost state is replaced */

	int state_fd; /* O_DSYNC; -1 in readonly */
	unsigned worse;
	enum state_write state_write;
	bool state_again; /* `state` is newer than what is being written */
	bool state_owed; /* the core's promise is not stored yet */
	bool state_asked; /* ... it is what is being written */
	int state_error; /* errno of a write that failed */
	uint8_t block[STATE_BLOCK_SIZE];

	int members_fd; /* while it is written */
	enum members_write members_write;
	/*
	 * The committed one that the core asks to be filed. Its newest may not
	 * be committed yet: if the log is cut, a file with that refuses a boot.
	 */
	struct membership members_told;
	bool members_wanted; /* it is to be written */
	uint64_t members_retry_ns;
	int members_error; /* errno that was told of, 0 = it can be written */
	struct membership members_new; /* what is being written */
	size_t members_len;
	uint8_t members_buf[MEMBER_FILE_MAX];

	/* Towards wal, and what was noticed there. */
	struct bytering request, ret;
	uint32_t seq;
	uint32_t member_seq;
	bool member_asked; /* that request is not answered */
	struct membership member_new; /* in that request */
	bool member_refused; /* it had no room in the ring */
	uint64_t term_told, term_commit_told, member_commit_told;
	uint64_t vote_told; /* the term of a vote that was told of */
	uint64_t member_seen; /* VLSN of the one that the boot has looked at */
	uint64_t member_bad; /* VLSN of a membership that cannot be read */
	uint64_t member_again_ns; /* when it is tried again */
	uint64_t cuts; /* of the log, that the core was told of */

	/* Other members (group_net.c, group_sync.c). */
	bool linked; /* there are links */
	struct auth_key key;
	struct net net;
	struct group_peer peer[MEMBER_MAX];
	struct commit_wake commit_wake;
	struct note note;
	bool note_known;
	struct sync sync;
	struct group_ask fence, cut;
	uint16_t fence_epoch; /* in that question */
	bool core_fence; /* the core waits for it, too */
	uint64_t connection; /* tickets given, from this boot's first number */
	uint64_t fed_ns; /* when wal was given the one that feeds this node */
	uint8_t sync_source; /* of the one that is FED: enum feed_source */
	uint64_t watch_ns; /* when rows are looked at again */
	bool quorum, quorum_known; /* enough are connected, as was told */
	char no_master[PEER_TEXT];
	uint64_t no_master_ns;
	struct msg_runs runs; /* to be sent */
	struct term_run run[TERM_RUNS_MAX]; /* of the own log, for a moment */
};

/*
 * Read node file, state, members and the log's end; changes nothing. Blocks.
 * 0, or -errno with the reason (and what to do) in why[].
 */
int group_boot_read(struct group *g, char *why, size_t why_size);
/*
 * Nothing else refuses the boot: open the state file, made for a founded,
 * empty directory, or by force for one that is lost. As above.
 */
int group_boot_open(struct group *g, char *why, size_t why_size);
/*
 * The membership at that VLSN of the log, from the buffer if it is there: 0;
 * -EAGAIN: not yet; -errno, and why.
 */
int group_boot_membership(struct group *g, uint64_t vlsn,
    struct membership *out, char *why, size_t why_size);
/* What the core must be told; points into g. */
void group_boot_event(struct group *g, struct group_boot *out);
/*
 * Force: if anything that b tells, or that was read, is gone over, a new
 * generation begins, durably, before the core goes on. Blocks. 0 or -errno.
 */
int group_boot_force(
    struct group *g, struct group_boot *b, char *why, size_t why_size);

/* group.c: an event for the core, and what comes of it. */
void group_event(struct group *g, struct group_event ev);
/* A cut that wal has begun, or that is about to be. */
void group_notice_cut(struct group *g);
/*
 * A request of group's own into wal's ring: its number, or 0: it is full, and
 * is tried again.
 */
uint32_t
group_request(struct group *g, uint8_t type, const void *payload, size_t size);

/* group_net.c. Only where there are other members, but for what says so. */
/* 0 or -errno; does nothing in a group of one. */
int group_net_open(struct group *g, char *why, size_t why_size);
/* To one, or, incarnation 0, to all others. */
void group_net_send(
    struct group *g, uint64_t incarnation, const struct group_msg *m);
/* The membership is another one. */
void group_net_members(struct group *g);
void group_net_turn(struct group *g);
/* Tell, or tell no more, since when and why no master is known. */
void group_net_no_master(struct group *g);
uint64_t group_net_deadline(const struct group *g);
/* The mastership of that term is over, for good: all others hear of it. */
void group_net_release(struct group *g, uint64_t term);

/* group_sync.c */
void group_sync_turn(struct group *g);
bool group_sync_pending(const struct group *g);
void group_sync_message(
    struct group *g, unsigned index, unsigned type, const union msg *m);
void group_sync_up(struct group *g, unsigned index);
void group_sync_data(
    struct group *g, unsigned index, int fd, const struct link_handed *link);
void group_sync_failed(struct group *g, uint64_t connection);
/* Answers of wal's; false: not to a question of these. */
bool group_sync_answer(struct group *g, const void *at, uint32_t len);
bool group_sync_cut_answer(struct group *g, const struct wal_ret *ret);
/* The core asks for a fence. */
void group_sync_fence(struct group *g, uint16_t epoch);

/*
 * group_hurry.c: before rights are dropped: memory that stays, and a priority
 * that beats need. NULL, or what was refused and why.
 */
const char *group_hurry(const struct worker *w, char *why, size_t why_size);

/*
 * Start to store what the core promises; group_state_turn() says when it is
 * there. Of what else `state` has a change is stored by group_state_touch(),
 * which nothing waits for.
 */
void group_state_store(struct group *g, const struct group_action *a);
void group_state_touch(struct group *g);
enum state_turn { STATE_NO_NEWS, STATE_STORED, STATE_LOST };
enum state_turn group_state_turn(struct group *g);
/* Is a promise of the core's on its way? */
static inline bool
group_state_owed(const struct group *g)
{
	return g->state_owed || g->state_asked;
}
/* The members file holds g->filed, the newest that is known, durably. */
void group_members_filed(struct group *g);
/* The members file is to hold this one, which is committed. */
void group_members_want(struct group *g, const struct membership *m);
/* Start (or go on with) the members file, if one is wanted and it is time. */
void group_members_save(struct group *g);
void group_io_open(struct group *g);
/* Something is in flight. */
bool group_io_busy(const struct group *g);

/*
 * Pure: what a completion leads to. Only a full-length write counts; one that
 * the kernel did not begin (-EINTR, -EAGAIN) is made again.
 */
enum state_write state_write_next(enum state_write now, int res, int want);
enum members_write
members_write_next(enum members_write now, int res, size_t len);

/* founding.h: the worker of a node that is of no group yet. */
bool found_is_unjoined(const struct worker *w);
int found_main(struct worker *w);
void found_differences(struct region *r, unsigned slot, const struct conf *conf,
    const char *self, const struct membership *m);

/*
 * group_found.c: one that is connected, and has not joined yet, is told that
 * it may. Is it one, or the message of founding? Then the core hears nothing.
 */
bool
group_found_up(struct group *g, unsigned index, const struct msg_proof *facts);
bool group_found_message(
    struct group *g, unsigned index, unsigned type, const union msg *m);

#endif
