/*
 * Feeds from segment files without their process: the loop and serve.h in this
 * one, and receivers that check what comes as a member's wal does.
 */
#ifndef T_LIB_SERVE_RIG_H
#define T_LIB_SERVE_RIG_H

#include <sys/eventfd.h>
#include <sys/socket.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "shm/log/segment.h"
#include "t/tap.h"
#include "workers/restore/serve.h"

#define RIG_TERM       5
#define RIG_EPOCH      3
#define RIG_CONNECTION 70

struct rig {
	struct region *r;
	struct bells bells;
	struct loop loop;
	struct serve serve;
	int data_dir;
	int pair[2]; /* [0] is group's */
};

/* A member's end. */
struct receiver {
	int fd;
	unsigned member;
	uint64_t connection;
	struct link_core link;
	struct append_end end; /* of its log */
	struct append_end from; /* the matchpoint */
	bool acks; /* by itself, all that came */
	bool closed; /* the other end did */
	uint64_t committed; /* as told last */
	unsigned frames, acked_frames;
	uint64_t bytes;
	enum frame_verdict verdict; /* of the first frame that was refused */
	struct msg_frame head; /* of the frame that comes */
	unsigned feed_end, refused; /* what it said last; 0 = nothing */
	char text[MSG_TEXT_SIZE];
	struct msg_feed_end last;
	uint8_t *log;
	size_t log_len;
	uint8_t in[1 << 18];
	size_t in_len;
};

static const struct auth_key rig_key;
static const struct link_self rig_self = { .key = &rig_key,
	.version_min = MSG_PROTOCOL_MIN,
	.version_max = MSG_PROTOCOL };

static void
rig_done(void *ctx, enum serve_kind kind, uint32_t slot, uint32_t generation,
    int res, uint32_t flags)
{
	serve_done(
	    &((struct rig *)ctx)->serve, kind, slot, generation, res, flags);
}

static void
rig_offer_done(
    void *ctx, uint32_t slot, uint32_t generation, int res, uint32_t flags)
{
	rig_done(ctx, SERVE_OFFER, slot, generation, res, flags);
}

static void
rig_sent(void *ctx, uint32_t slot, uint32_t generation, int res, uint32_t flags)
{
	rig_done(ctx, SERVE_SENT, slot, generation, res, flags);
}

static void
rig_came(void *ctx, uint32_t slot, uint32_t generation, int res, uint32_t flags)
{
	rig_done(ctx, SERVE_CAME, slot, generation, res, flags);
}

static void
rig_no_turn(void *ctx)
{
	(void)ctx;
}

/* r: the region, in which `bells` are. */
__attribute__((unused)) static void
rig_open(struct rig *g, struct region *r, int data_dir)
{
	static const struct loop_hooks hooks = { .turn = rig_no_turn };
	int rc;

	memset(g, 0, sizeof(*g));
	g->r = r;
	g->data_dir = data_dir;
	g->bells.wakes = r->wakes;
	for (unsigned i = 0; i < SLOT_MAX; i++)
		g->bells.fd[i] = -1;
	g->bells.fd[SLOT_RESTORE] = eventfd(0, EFD_CLOEXEC);
	g->bells.fd[SLOT_GROUP] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = loop_open(&g->loop, r, &g->bells, SLOT_RESTORE, 64, g, &hooks);
	if (rc != 0)
		skip_all("io_uring: %s", loop_refusal(rc));
	loop_on(&g->loop, 1 + SERVE_OFFER, rig_offer_done);
	loop_on(&g->loop, 1 + SERVE_SENT, rig_sent);
	loop_on(&g->loop, 1 + SERVE_CAME, rig_came);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, g->pair) != 0)
		abort();
	serve_open(&g->serve, r, &g->loop, data_dir, g->pair[1]);
}

__attribute__((unused)) static void
rig_close(struct rig *g)
{
	loop_close(&g->loop);
	serve_close(&g->serve);
	close(g->pair[0]);
	close(g->pair[1]);
	close(g->bells.fd[SLOT_RESTORE]);
	close(g->bells.fd[SLOT_GROUP]);
}

/* Member 0 is this node, the master. */
__attribute__((unused)) static void
rig_master(struct rig *g, uint64_t term, uint16_t epoch)
{
	struct commit_view v = { .term = term,
		.epoch = epoch,
		.role = ROLE_MASTER,
		.self = 0,
		.master = 0,
		.member_count = MEMBER_MAX,
		.voters = 1,
		.quorum = quorum_count(1, 1) };

	commit_view_write(g->r->commit, &v);
	position_set(&g->r->pos->committed,
	    epoch_word(epoch, word_vlsn(position_get(&g->r->pos->committed))));
}

/* One turn of the process. */
static void
rig_turn(struct rig *g)
{
	serve_turn(&g->serve);
	if (loop_poll(&g->loop) != 0)
		abort();
}

/* A member behind that place is to be fed up to `until`. */
__attribute__((unused)) static struct receiver *
rig_feed(struct rig *g, unsigned member, uint64_t connection,
    const struct append_end *from, uint64_t until)
{
	struct receiver *c = calloc(1, sizeof(*c));
	struct data_offer o = { .window = SYNC_WINDOW_MIN,
		.member = (uint8_t)member };
	struct link_handed dialer;
	struct commit_view v;
	int fd[2];

	commit_view_read(g->r->commit, &v);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
		fd) != 0)
		abort();
	c->fd = fd[0];
	c->member = member;
	c->connection = connection;
	c->from = c->end = *from;
	c->acks = true;
	c->log = malloc(FEED_BYTES_MAX);
	o.link = (struct link_handed){ .data = { .magic = MSG_MAGIC,
					   .version = MSG_PROTOCOL,
					   .source = FEED_SEGMENTS,
					   .crc = from->chain,
					   .epoch = 9,
					   .their_epoch = v.epoch,
					   .connection = connection,
					   .term = v.term,
					   .vlsn = from->vlsn,
					   .vlsn_term = from->term,
					   .until = until },
		.seq_in = 1,
		.seq_out = 1,
		.role = FROM_LISTENER };
	dialer = o.link;
	dialer.role = FROM_DIALER;
	link_adopt(&c->link, &rig_self, &dialer, mono_ns());
	if (handover_send(g->pair[0], &o, fd[1]) != 0)
		abort();
	close(fd[1]);
	return c;
}

__attribute__((unused)) static void
receiver_free(struct receiver *c)
{
	if (c->fd >= 0)
		close(c->fd);
	free(c->log);
	free(c);
}

__attribute__((unused)) static void
receiver_ack(struct receiver *c)
{
	struct msg_ack m = { .term = c->link.data.term,
		.appended = c->end.vlsn,
		.durable = c->end.vlsn };
	uint8_t at[64];
	int n = link_send(&c->link, MSG_ACK, &m, at, sizeof(at));

	if (send(c->fd, at, (size_t)n, MSG_NOSIGNAL) == n)
		c->acked_frames = c->frames;
}

/* Bytes of the log; the frame's last are checked with the others. */
static void
receiver_log(struct receiver *c, const struct link_out *out)
{
	uint64_t before = c->end.vlsn;
	enum frame_verdict v;

	memcpy(c->log + c->log_len, out->log, out->log_len);
	c->log_len += out->log_len;
	if (!out->log_end)
		return;
	v = frame_check(&c->end, c->log, c->log_len, c->link.data.term);
	if (v == FRAME_OK &&
	    (c->head.first != before + 1 || c->head.last != c->end.vlsn))
		v = FRAME_VLSN;
	if (v != FRAME_OK && c->verdict == FRAME_OK)
		c->verdict = v;
	c->frames++;
	c->bytes += c->log_len;
	c->log_len = 0;
}

static void
receiver_take(struct receiver *c)
{
	struct link_out out = { .what = LINK_STEP };
	size_t at = 0;
	union msg msg;

	while (out.what != LINK_MORE && out.what != LINK_DROP) {
		link_take(&c->link, c->in + at, c->in_len - at, mono_ns(), &msg,
		    &out);
		at += out.used;
		if (out.what == LINK_LOG)
			receiver_log(c, &out);
		else if (out.what == LINK_DROP) {
			c->refused = out.reason;
			strlcpy(c->text, out.text, sizeof(c->text));
		} else if (out.what == LINK_MESSAGE && out.type == MSG_FRAME) {
			c->head = msg.frame;
			c->committed = msg.frame.committed;
		} else if (out.what == LINK_MESSAGE) {
			c->last = msg.feed_end;
			c->feed_end = msg.feed_end.reason;
		}
	}
	c->in_len -= at;
	memmove(c->in, c->in + at, c->in_len);
}

/* What came so far; all of it is read. */
__attribute__((unused)) static void
receiver_turn(struct receiver *c)
{
	ssize_t n;

	while (!c->closed && c->refused == 0) {
		n = read(c->fd, c->in + c->in_len, sizeof(c->in) - c->in_len);
		if (n < 0 && errno == EAGAIN)
			break;
		if (n <= 0) {
			c->closed = true;
			break;
		}
		c->in_len += (size_t)n;
		receiver_take(c);
	}
	if (c->acks && c->frames != c->acked_frames && !c->closed &&
	    c->refused == 0)
		receiver_ack(c);
}

/* Has it heard the last word? */
__attribute__((unused)) static bool
receiver_told(struct receiver *c)
{
	return c->closed || c->refused != 0 || c->feed_end != 0;
}

/* The process and that member take turns until the condition holds. */
#define rig_until(g, c, condition)                                             \
	wait_until((rig_turn(g), receiver_turn(c), (condition)), TAP_WAIT_MS)

#endif
