/*
 * Members that are too far behind for wal's buffer, fed from the log as it is
 * read by a cursor: a feed each, over the socket that group handed over.
 *
 *    FREE ── an offer ──▶ FEEDS ── its last word ──▶ ENDS ──▶ LINGERS
 *      ▲                    │ the other end is gone    │         │
 *      └──── CLOSES ◀───────┴──────────────────────────┴─────────┘
 *
 * What must hold:
 * 1. What is sent continues the matchpoint: each frame is checked as its
 *    receiver checks it, before a byte of it goes.
 * 2. A frame that was begun is sent whole, or the connection ends; the last
 *    word stands behind whole frames.
 * 3. The row of the member is another's once the last word is sent: its end is
 *    told before, and nothing of it is written after.
 * 4. `serving` is not above what a feed has still to read, from before it looks
 *    for its place.
 * 5. A feed holds two frames and a cursor, whatever the other end does; one
 *    that acknowledges nothing for SERVE_STALL_NS is gone.
 */
#ifndef WORKERS_RESTORE_SERVE_H
#define WORKERS_RESTORE_SERVE_H

#include <stdbool.h>
#include <stdint.h>
#include "ipc/handover.h"
#include "ipc/loop.h"
#include "shm/log/append.h"
#include "shm/log/cursor.h"
#include "shm/region.h"

#define SERVE_FRAME      (128u * 1024) /* of records: a frame is full */
#define SERVE_STALL_NS   (10 * NS_PER_S)
#define SERVE_LINGER_NS  (2 * NS_PER_S) /* for its end, behind a refusal */
#define SERVE_PART_NS    (200 * NS_PER_MS) /* the same, when the node stops */
#define SERVE_WAIT_NS    (5 * NS_PER_MS) /* then it is looked at again */
#define SERVE_FLIGHTS    256u /* frames under way */
#define SERVE_SEEKS      3u /* of one place that is lost again and again */
#define SERVE_RECV_BYTES 4096u

enum serve_state {
	SERVE_FREE,
	SERVE_FEEDS,
	SERVE_ENDS, /* the last word is on its way */
	SERVE_LINGERS, /* it is said: the other end closes */
	SERVE_CLOSES /* waits for what is on the ring */
};

/* Kinds of completions: serve_done(). */
enum serve_kind { SERVE_OFFER, SERVE_SENT, SERVE_CAME };

/* The frame's fields, then its records, then maybe what the next begins with */
struct serve_frame {
	uint8_t *memory;
	uint32_t len; /* bytes of records */
	uint64_t first, last;
	bool ready; /* to be sent, or being sent */
};

struct serve_feed {
	enum serve_state state;
	uint32_t generation;
	int fd;
	unsigned member;
	uint32_t window;
	struct link_handed handed;
	struct link_core link;
	struct peer_row *row;
	bool row_over; /* its end is told */

	struct cursor *cursor;
	uint64_t cuts; /* of the log, when it began */
	struct append_end end; /* behind what was read */
	bool end_known; /* its time, too */
	unsigned seeks;
	struct serve_frame frame[2];
	unsigned fill, send; /* the next ones */
	const uint8_t *carry; /* a record that was too long for the last */
	uint32_t carry_len;

	bool sends, comes; /* on the ring */
	const uint8_t *out; /* what is being sent */
	uint32_t out_len, out_done;
	uint64_t sent; /* newest VLSN that was sent */
	uint64_t acked;
	uint64_t flight_bytes;
	struct {
		uint64_t last;
		uint32_t bytes;
	} flight[SERVE_FLIGHTS];
	unsigned flights, flight_at; /* how many, the oldest */

	/* The last word: FEED_END, or a refusal, or (both 0) none. */
	bool over;
	unsigned feed_end; /* enum feed_end */
	unsigned reason; /* enum msg_reason */
	char text[MSG_TEXT_SIZE];
	uint8_t word[LINK_SEND_MAX];

	uint64_t begun_ns, moved_ns, linger_ns, again_ns;
	uint64_t records, bytes;
	size_t in_len;
	uint8_t in[SERVE_RECV_BYTES];
};

struct serve {
	struct region *r;
	struct loop *loop;
	int data_dir; /* the caller's */
	int wal_dir; /* -1 = not opened yet */
	int pair; /* offers come here; -1 = none do. The caller's */
	bool polls, offers; /* on the ring; there may be some */
	bool stops;
	struct auth_key key; /* none: sockets are past that */
	struct link_self self;
	struct commit_view view; /* of this turn */
	uint64_t committed; /* in its epoch */
	struct serve_feed feed[MEMBER_MAX];
};

void serve_open(struct serve *s, struct region *r, struct loop *loop,
    int data_dir, int pair_fd);
/* Whatever is under way is let go; for tests. */
void serve_close(struct serve *s);
void serve_turn(struct serve *s);
bool serve_pending(const struct serve *s);
uint64_t serve_deadline(const struct serve *s);
/* A completion; its tag has the kind that was registered, + enum serve_kind. */
void serve_done(struct serve *s, enum serve_kind kind, uint32_t slot,
    uint32_t generation, int res, uint32_t flags);
/* Feeds end, offers are refused. */
void serve_stop(struct serve *s);
bool serve_idle(const struct serve *s);

const char *serve_state_name(enum serve_state state);

#endif
