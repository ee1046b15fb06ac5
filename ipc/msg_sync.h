/*
 * Syncup: agreeing on the last record that two logs share, on a control
 * connection that is ready.
 *
 *    replica           master
 *    SYNC_RUNS   ->                 after its fence
 *                <-    SYNC_ANSWER  or SYNC_REFUSED
 *    (cuts, if the runs contradict)
 *    SYNC_MATCH  ->
 *                <-    TICKET       or SYNC_REFUSED
 *    then it dials a data connection and shows the ticket (msg_feed.h)
 *
 * The fields that serve a sentence of the design:
 * - attempt: of the replica's own counting; an answer to an earlier attempt,
 *   before the newest fence, is none.
 * - run[]: terms as runs, the replica's first. It cuts only at a
 *   contradiction: a run of another term at that VLSN. Those before the first
 *   run are not known, and no contradiction.
 * - last, last_term, last_crc: a matchpoint proves the whole prefix equal; the
 *   CRC is the chain behind the last record.
 * - crc of SYNC_MATCH and of SYNC_REFUSED: one that differs at an equal (VLSN,
 *   term) is damage, and both ends name it.
 * - epoch, their_epoch: the data connection is bound to both boots (of the
 *   control connections' handshakes), both epochs, term, matchpoint and a
 *   connection number.
 * - source, until: a member far behind is fed from segment files, up to a VLSN
 *   that the buffer has; then it opens the live connection from there.
 * - window: what the replica takes without having acknowledged it, in bytes.
 * - nonce: the listener's half of the data connection's handshake, so that one
 *   message each way opens that, and no session state changes hands.
 */
#ifndef IPC_MSG_SYNC_H
#define IPC_MSG_SYNC_H

#include <stdint.h>
#include "ipc/msg_hello.h"
#include "shm/log/terms.h"

#define SYNC_WINDOW_MIN (512u * 1024) /* two of the largest records */

/* MSG_SYNC_RUNS, MSG_SYNC_ANSWER. */
struct msg_runs {
	uint64_t attempt;
	uint64_t term;
	uint64_t first, last; /* VLSN; both 0: an empty log */
	uint64_t last_term;
	uint64_t committed;
	uint32_t last_crc;
	uint16_t epoch;
	uint16_t run_count;
	struct term_run run[TERM_RUNS_MAX];
};

struct msg_match {
	uint64_t attempt;
	uint64_t term;
	uint64_t vlsn; /* 0: from the beginning */
	uint64_t vlsn_term;
	uint32_t crc;
	uint32_t window;
	uint16_t epoch;
};

enum sync_refused {
	SYNC_DAMAGE = 1, /* the chain differs at an equal (VLSN, term) */
	SYNC_RESTORE = 2, /* what follows is not in the log any more */
	SYNC_OTHER = 3, /* the master has another term there, or nothing */
	SYNC_NOT_MASTER = 4, /* in that term */
	SYNC_LATER = 5 /* not now: ask again */
};

struct msg_sync_refused {
	uint64_t attempt;
	uint64_t term;
	uint64_t vlsn; /* where; 0: nowhere in particular */
	uint64_t first; /* oldest VLSN that can be had */
	uint32_t crc; /* SYNC_DAMAGE: the master's; else 0 */
	uint8_t reason;
};

enum feed_source {
	FEED_LIVE = 1, /* wal, from its buffer */
	FEED_SEGMENTS = 2 /* a process of its own, from segment files */
};

struct msg_ticket {
	uint64_t attempt;
	uint64_t connection;
	uint64_t term;
	uint64_t vlsn, vlsn_term; /* the matchpoint; both 0: the beginning */
	uint64_t until; /* FEED_SEGMENTS: to that VLSN; else 0 */
	uint32_t crc;
	uint16_t epoch, their_epoch; /* the master's, the replica's */
	uint8_t source;
	uint8_t nonce[MSG_NONCE];
};

#endif
