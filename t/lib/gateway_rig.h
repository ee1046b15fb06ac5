/*
 * A gateway without sockets: clients' bytes go in, a wal and a store that the
 * test plays take the requests from the real rings and answer, and what each
 * client would be sent is compared.
 */
#ifndef T_LIB_GATEWAY_RIG_H
#define T_LIB_GATEWAY_RIG_H

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include "shm/assert.h"
#include "shm/kv/table.h"
#include "shm/log/record.h"
#include "t/tap.h"
#include "workers/gateway/cmd/command.h"
#include "workers/gateway/exec/job.h"
#include "workers/gateway/exec/transaction.h"

static struct region region;
static struct worker worker;
static struct conf conf;
static struct gateway gw;
static struct bytering req, ret, res; /* the other sides */
static uint64_t last_vlsn;
static uint64_t term = 1; /* of the played wal */
static unsigned parts_seen;
static unsigned inexact; /* turns after which pool.used was not true */

/* A request as the played wal saw it. */
struct seen {
	uint32_t seq;
	uint8_t type, flags;
	size_t len;
	uint8_t head[64];
};

static void
be_master(void)
{
	struct commit_view view = { .term = 1,
		.epoch = 1,
		.role = ROLE_MASTER,
		.member_count = 1,
		.voters = 1,
		.quorum = quorum_count(1, 1),
		.lease_until_ns = UINT64_MAX };

	commit_view_write(region.commit, &view);
	position_set(&region.pos->term_start, epoch_word(1, 1));
	position_set(&region.pos->committed, epoch_word(1, 1));
	position_set(&region.pos->applied, 1);
	last_vlsn = 1;
}

static void
set_up(void)
{
	struct region_spec spec = { .node = "t",
		.group = "g",
		.data_dir = "/nowhere",
		.client_addr = "",
		.http_addr = "",
		.walbuf_size = 8 << 20,
		.table_size = 1 << 20,
		.gateway_count = 1 };
	static char dir[] = "/tmp/gateway_write.XXXXXX";
	char why[256] = "";

	if (mkdtemp(dir) == NULL)
		skip_all("mkdtemp");
	spec.run_dir = dir;
	if (region_create(&region, &spec, why, sizeof(why)) != 0)
		skip_all("region: %s", why);
	region_unlink(&region);
	(void)unlink((snprintf(why, sizeof(why), "%s/region", dir), why));
	(void)rmdir(dir);
	conf_defaults(&conf);
	worker.slot = SLOT_GATEWAY;
	worker.incarnation = 7;
	worker.region = &region;
	position_set(&region.pos->room, TABLE_ROOM_ANY);
	worker.conf = &conf;
	worker.bells.wakes = region.wakes;
	memset(worker.bells.fd, 0xff, sizeof(worker.bells.fd));
	gw_exec_init(&gw, &worker, &gw_serve_up);
	gw.io.loop.region = &region;
	gw.io.loop.bells = &worker.bells;
	gw.io.loop.slot = SLOT_GATEWAY;
	gw.io.loop.now_ns = 1;
	gw.turn_end_ns = LOOP_NEVER;
	gw_serve_init(&gw);
	if (gw_write_init(&gw) != 0)
		skip_all("no memory");
	region_ring(&region, CLIENT_GATEWAY, RING_REQUEST, &req);
	region_ring(&region, CLIENT_GATEWAY, RING_RETURN, &ret);
	region_ring(&region, CLIENT_GATEWAY, RING_RESULT, &res);
	be_master();
}

__attribute__((unused)) static struct conn *
client(void)
{
	return gw_conn_new(&gw.io, dup(0), 0);
}

__attribute__((unused)) static void
gone(struct conn *c)
{
	close(c->fd);
	gw_conn_free(&gw.io, c);
}

__attribute__((unused)) static void
say(struct conn *c, const char *text)
{
	gw_conn_input(&gw.io, c, (const uint8_t *)text, strlen(text));
}

/* Is the pool told of all that is held? */
static bool
used_is_exact(void)
{
	size_t sum = chunk_bytes(gw.io.mute.c) + gw_big_bytes(&gw);
	const struct node *n;
	struct conn *c;
	uint32_t i;

	for (i = 0; i < gw_conn_limit(&gw.io); i++)
		if ((c = gw_conn_at(&gw.io, i)) != NULL)
			sum += gw_memory_of(&gw.io, c);
	for (i = 0; i < gw.node_cap; i++) {
		n = &gw.nodes[i];
		if (n->kind != NODE_FREE && n->conn == GW_NONE)
			sum += chunk_bytes(n->sink.c) + gw_exec_bytes(n->exec);
	}
	return sum == gw.io.pool.used;
}

__attribute__((unused)) static void
turn(void)
{
	gw.io.loop.now_ns++;
	gw_write_turn(&gw);
	gw_park_wake(&gw);
	/* This clock is not the one that ends a turn's share. */
	gw.turn_end_ns = LOOP_NEVER;
	gw_write_publish(&gw);
	inexact += !used_is_exact();
}

/* What the client would have been sent since the last look. */
__attribute__((unused)) static const char *
heard(struct conn *c)
{
	static char text[1 << 16];
	size_t n = sink_len(&c->out);

	if (n >= sizeof(text))
		n = sizeof(text) - 1;
	if (n != 0)
		memcpy(text, c->out.c->data, n);
	text[n] = '\0';
	sink_reset(&c->out);
	return text;
}

/* wal: the next request, or false. */
__attribute__((unused)) static bool
wal_take(struct seen *s)
{
	struct wal_req head;
	const uint8_t *at;
	uint32_t len;

	if ((at = bytering_peek(&req, &len)) == NULL)
		return false;
	memcpy(&head, at, sizeof(head));
	s->seq = head.seq;
	s->type = head.type;
	s->flags = head.flags;
	s->len = len - sizeof(head);
	memcpy(s->head, at + sizeof(head),
	    s->len < sizeof(s->head) ? s->len : sizeof(s->head));
	bytering_advance(&req, len);
	bytering_consume(&req);
	return true;
}

__attribute__((unused)) static void
wal_return(uint32_t seq, uint32_t count, uint64_t vlsn, unsigned status)
{
	struct wal_ret r = { .len = sizeof(r),
		.seq = seq,
		.count = count,
		.incarnation = 7,
		.vlsn = vlsn,
		.term = status == RET_OK ? term : 0,
		.status = status };
	void *at = bytering_reserve(&ret, sizeof(r));

	memcpy(at, &r, sizeof(r));
	bytering_publish(&ret);
}

__attribute__((unused)) static void
commit(uint64_t vlsn)
{
	position_set(&region.pos->committed, epoch_word(1, vlsn));
}

/* wal: take all there is as accepted; how many requests that were. */
__attribute__((unused)) static unsigned
wal_accept(void)
{
	uint64_t run_vlsn = 0;
	uint32_t run_seq = 0;
	unsigned n = 0, run = 0;
	struct seen s;

	while (wal_take(&s)) {
		last_vlsn++;
		if ((s.flags & REQ_MORE) != 0) {
			parts_seen++;
			continue;
		}
		if (run == 0 || run_vlsn + run != last_vlsn) {
			if (run != 0)
				wal_return(run_seq, run, run_vlsn, RET_OK);
			run_seq = s.seq;
			run_vlsn = last_vlsn;
			run = 0;
		}
		run++;
		n++;
	}
	if (run != 0)
		wal_return(run_seq, run, run_vlsn, RET_OK);
	return n;
}

__attribute__((unused)) static void
store_result(uint32_t seq, uint64_t vlsn, uint32_t incarnation, uint8_t flags,
    const void *values, size_t n)
{
	struct store_res r = { .seq = seq,
		.incarnation = incarnation,
		.flags = flags,
		.vlsn = vlsn };
	uint8_t *at = bytering_reserve(&res, (uint32_t)(sizeof(r) + n));

	r.len = (uint32_t)(sizeof(r) + n);
	memcpy(at, &r, sizeof(r));
	memcpy(at + sizeof(r), values, n);
	bytering_publish(&res);
}

__attribute__((unused)) static void
store_int(uint32_t seq, int64_t v)
{
	struct vbuf b = { 0 };

	value_int(&b, v);
	store_result(seq, last_vlsn, 7, 0, b.data, b.len);
	vbuf_free(&b);
}

/* Bytes of any length, as they would be received. */
__attribute__((unused)) static void
say_bytes(struct conn *c, const struct vbuf *b)
{
	size_t at, n;

	for (at = 0; at < b->len; at += n) {
		n = b->len - at < 8000 ? b->len - at : 8000;
		gw_conn_input(&gw.io, c, b->data + at, n);
	}
}

__attribute__((unused)) static bool
is_closing(const struct conn *c)
{
	return (c->flags & CONN_CLOSING) != 0;
}

/* Nobody is there any more. */
__attribute__((unused)) static void
rig_end(void)
{
	sink_reset(&gw.io.mute);
	is_u64(gw.blocked_count, 0, "nobody waits");
	is_u64(inexact, 0, "what is held was counted all along");
	is_u64(gw.io.pool.used, 0, "nobody is there: nothing is held");
	gw_write_fini(&gw);
	gw_conn_fini(&gw.io);
	vbuf_free(&gw.value);
	vbuf_free(&gw.scratch);
	region_unmap(&region);
}

#endif
