/*
 * Syncup: a replica and its master agree on the last record that both logs
 * have, then the replica dials a data connection from there (DESIGN, 8 "Terms
 * as runs"; the messages are in ipc/msg_sync.h). The replica's side is a
 * machine: an event goes in, at most one thing to do and a deadline come out.
 * The master keeps nothing: its answers are functions.
 *
 * Rules:
 * - nothing is asked before wal has fenced: the log's end does not move, and
 *   what was fed before is void;
 * - the log is cut only where the master's runs name another term at a VLSN,
 *   and only once the master has a record of its own term, so that its list is
 *   no late one. A record of the master's own term is never cut, none that is
 *   committed or applied ever: then this node must be restored;
 * - behind a cut all begins again with the fence, so a matchpoint is always the
 *   log's own end, whose chain the fence told;
 * - an answer to another attempt, term or master is none;
 * - each state but FED, which lasts as long as the data connection, has a
 *   deadline, and its exit is a pause, doubled each time it comes to nothing.
 *
 * Pure: no clock, I/O, allocation or log.
 */
#ifndef WORKERS_GROUP_CORE_SYNC_H
#define WORKERS_GROUP_CORE_SYNC_H

#include <stdbool.h>
#include <stdint.h>
#include "ipc/msg_sync.h"
#include "shm/request.h"

#define SYNC_NEVER         UINT64_MAX
#define SYNC_PAUSE_NS      UINT64_C(100000000)
#define SYNC_PAUSE_MOST_NS UINT64_C(5000000000)
/* The master's first record of the term is looked for again after that, and so
   often before it is a failure. */
#define SYNC_BEGIN_NS  UINT64_C(3000000)
#define SYNC_BEGIN_MAX 50
#define SYNC_ASK_NS    UINT64_C(2000000000)
#define SYNC_CUT_NS    UINT64_C(60000000000)
#define SYNC_DIAL_NS   UINT64_C(3000000000)

enum sync_state {
	SYNC_AT_REST, /* there is no master to be reached */
	SYNC_PAUSES,
	SYNC_FENCING, /* wal is to fence */
	SYNC_ASKING, /* the master is to say its runs */
	SYNC_CUTTING, /* wal is to cut */
	SYNC_MATCHING, /* the master is to give a ticket */
	SYNC_DIALLING, /* a data connection is on its way to wal */
	SYNC_FED
};

enum sync_event_kind {
	SYNC_MASTER, /* .master; all 0: nobody, or no link to it */
	SYNC_TICK,
	SYNC_FENCED, /* .end */
	SYNC_ANSWERED, /* .answer, .own */
	SYNC_TURNED_AWAY, /* .refused */
	SYNC_CUT, /* .status: enum ret_status */
	SYNC_TICKET, /* .ticket */
	SYNC_FEEDS, /* wal has .connection */
	SYNC_ENDED, /* .ended: a data connection, or the try for one */
};

/* Where the own log ends: as wal's fence told. */
struct sync_end {
	uint16_t epoch;
	uint32_t crc; /* the chain behind it */
	uint64_t term, vlsn;
};

/* What else there is of the own log. */
struct sync_log {
	uint64_t first; /* oldest VLSN in it */
	uint64_t committed, applied;
	unsigned run_count;
	const struct term_run *run; /* the caller's */
};

struct sync_event {
	enum sync_event_kind kind;
	uint64_t now_ns;
	union {
		struct {
			uint64_t incarnation, term;
			uint16_t epoch; /* of this node */
		} master;
		struct sync_end end;
		struct {
			const struct msg_runs *theirs; /* the caller's */
			struct sync_log own;
		} answer;
		const struct msg_sync_refused *refused;
		const struct msg_ticket *ticket;
		unsigned status;
		uint64_t connection;
		struct {
			uint64_t connection; /* 0: whichever it is */
			bool again; /* caught up: live from here on */
		} ended;
	};
};

enum sync_do {
	SYNC_DO_NOTHING,
	SYNC_DO_FENCE, /* then SYNC_FENCED */
	SYNC_DO_ASK, /* send MSG_SYNC_RUNS: sync_ask() */
	SYNC_DO_CUT, /* behind s->cut; then SYNC_CUT */
	SYNC_DO_MATCH, /* send MSG_SYNC_MATCH: sync_match() */
	SYNC_DO_DIAL, /* by the ticket; then SYNC_FEEDS, SYNC_ENDED */
};

/* What an admin is to hear, once for as long as it lasts. */
enum sync_news {
	SYNC_NO_NEWS,
	SYNC_NEWS_CUT, /* records from .vlsn + 1 to .last are cut off */
	SYNC_NEWS_RESTORE, /* .why: this node must be restored */
	SYNC_NEWS_DAMAGE, /* at .vlsn the chains differ */
	SYNC_NEWS_UNSAVED, /* wal refused the cut: .status */
};

struct sync_out {
	enum sync_do what;
	enum sync_news news;
	const char *why; /* constant */
	uint64_t vlsn, last, first;
	uint32_t crc, their_crc;
	unsigned status;
	uint64_t deadline_ns;
};

/* The caller's, from zeros; changed by sync_step() only. */
struct sync {
	enum sync_state state;
	bool restore; /* it must be */
	enum sync_news told;
	uint64_t told_at; /* the VLSN that it was about */
	uint64_t master, term;
	uint16_t epoch;
	uint64_t attempt;
	unsigned early; /* attempts in a row that were */
	uint64_t until_ns, pause_ns;
	struct sync_end end;
	uint64_t cut;
	uint64_t connection;
};

void
sync_step(struct sync *s, const struct sync_event *ev, struct sync_out *out);

/* What is sent; run[] of *m may be the memory that own->run points to. */
void
sync_ask(const struct sync *s, const struct sync_log *own, struct msg_runs *m);
void sync_match(const struct sync *s, uint32_t window, struct msg_match *m);

/* What follows from two lists of runs. */
enum sync_verdict {
	SYNC_MATCHES, /* at the own end */
	SYNC_CUTS, /* behind .vlsn */
	SYNC_TOO_EARLY, /* the master's list may be late: ask again */
	SYNC_RESTORES,
};

struct sync_plan {
	enum sync_verdict verdict;
	uint64_t vlsn, term; /* the last record that both have; 0 = none */
	const char *why; /* constant; of SYNC_RESTORES */
};

void sync_plan(const struct sync_end *end, const struct sync_log *own,
    const struct msg_runs *theirs, struct sync_plan *out);

/* ---- the master ---- */

/* What it is, and its log. */
struct sync_master {
	bool leads; /* in .term; false: everything is refused */
	uint64_t term;
	uint16_t epoch;
	uint64_t last, last_term; /* appended */
	struct sync_log log;
};

/* True: *answer; false: *refused. */
bool sync_answer(const struct sync_master *me, const struct msg_runs *asked,
    struct msg_runs *answer, struct msg_sync_refused *refused);
/*
 * Its own chain at m->vlsn is known: true: a ticket, but for its number and
 * nonce; false: *refused.
 */
bool sync_judge(const struct sync_master *me, const struct msg_match *m,
    const struct chain_ret *chain, struct msg_ticket *ticket,
    struct msg_sync_refused *refused);

const char *sync_state_name(enum sync_state state);

#endif
