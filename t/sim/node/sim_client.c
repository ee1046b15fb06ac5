/*
 * Clients, in the place of a gateway and of health: a process of the node that
 * appends writes by its rings, remembers what was acknowledged, and after each
 * boot, before it writes, compares the store with the log and the log with
 * what it was told.
 */
#include "t/sim/node/sim_core.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ipc/loop.h"
#include "shm/kv.h"
#include "shm/log.h"
#include "shm/op.h"
#include "shm/record.h"
#include "shm/segment.h"
#include "shm/table.h"
#include "t/sim/node/sim_node.h"

#define CHUNK       (1u << 20) /* of the log, a read */
#define APPLY_NS    (60 * NS_PER_S) /* the store has so long for the rest */
#define BURST_MAX   8
#define RING_CLIENT 64
#define VALUE_MAX   400000u
#define WRITE_MAX   (2 * VALUE_MAX + 256)
#define APPEND_LEN  40

struct client {
	struct worker *w;
	struct region *r;
	struct loop loop;
	struct bytering req, ret, res;
	struct kv *kv;
	uint32_t life, seq, first; /* of this life: world.write[first] is 1 */
	uint64_t next_ns;
	bool serves; /* its boot went to the end */
	unsigned drained;
	uint64_t seen_committed;
	uint64_t
	    before; /* VLSN up to which others before it in its slot wrote */
};

/* ---- what is written ---- */

/* Ten digits, and what follows from them. */
static uint32_t
value_len(uint32_t number)
{
	uint64_t x = number * UINT64_C(0x9e3779b97f4a7c15) >> 20;

	if (world.fat != 0 && x % world.fat == 0)
		return 60000 + (uint32_t)(x >> 8) % 60000;
	if (x % 200 == 0)
		return VALUE_MAX - (uint32_t)(x >> 8) % (VALUE_MAX / 2);
	return 12 + (uint32_t)(x >> 8) % (x % 20 == 0 ? 60000 : 1200);
}

static uint32_t
value_fill(uint8_t *at, uint32_t number, uint32_t len)
{
	snprintf((char *)at, 12, "%010u:", number);
	for (uint32_t i = 11; i < len; i++)
		at[i] = (uint8_t)('a' + (number * 7 + i * (i >> 8 | 1)) % 26);
	return len;
}

static struct op_arg
key_of(char buf[16], unsigned key)
{
	int n = snprintf(buf, 16, "key%u", key);

	return (struct op_arg){ (const uint8_t *)buf, (uint32_t)n };
}

/* Sent, and not applied as of then, nor of a client that died. */
static bool
is_under_way(const struct write *o, uint64_t applied)
{
	return o->state != WRITE_REFUSED && !o->left &&
	       (o->vlsn == 0 || o->vlsn > applied);
}

/* The longest value that the key may have when the next write is applied. */
static uint64_t
length_most(const struct client *c, const struct op_arg *key)
{
	uint64_t applied = position_get(&c->r->pos->applied), len = 0;
	struct kv_item item = { .len = VALUE_MAX + APPEND_LEN * world.count };
	uint32_t others = 1;

	for (uint32_t i = 0; i < world.count; i++) {
		const struct write *o = &world.write[i];

		if (!is_under_way(o, applied))
			continue;
		others++;
		if (o->len > len)
			len = o->len;
	}
	if (kv_begin(c->kv) == 0) {
		if (kv_get(c->kv, key->data, key->len, 0, &item) == -ENOENT)
			item.len = 0;
		kv_end(c->kv);
	}
	return (len > item.len ? len : item.len) +
	       (uint64_t)others * 2 * APPEND_LEN;
}

static uint32_t
op_make(const struct client *c, struct write *o, uint8_t *at, uint32_t number)
{
	/* Not static: another client may run before it is encoded. */
	uint8_t *value = malloc(VALUE_MAX);
	uint64_t kind = sim_rand_below(100);
	unsigned argc = kind < 80 ? 2 : kind < 99 ? 1 : 0;
	uint16_t code = kind < 65   ? OP_SET
			: kind < 80 ? OP_APPEND
			: kind < 99 ? OP_DEL
				    : OP_FLUSHALL;
	struct op_arg arg[2];
	char key[16];

	arg[0] = key_of(key, (unsigned)sim_rand_below(KEYS));
	arg[1].data = value;
	arg[1].len = value_fill(
	    value, number, code == OP_SET ? value_len(number) : APPEND_LEN);
	op_encode(at, code, 0, 0, argc, arg);
	/* What this write itself has made of the key counts, too. */
	o->reach += op_reach(code, 0, argc, arg,
	    code == OP_APPEND ? length_most(c, &arg[0]) + o->reach : 0);
	free(value);
	return (uint32_t)op_size(argc, arg);
}

/* REC_OP, or REC_MULTI with two of them. */
static void
write_make(const struct client *c, struct write *o, uint32_t number)
{
	uint8_t *buf = malloc(WRITE_MAX);
	uint32_t at = 0, n;

	o->type = sim_chance(10) ? REC_MULTI : REC_OP;
	if (o->type == REC_MULTI) {
		put_le32(buf, 2);
		put_le32(buf + 4, 0);
		at = 8;
	}
	for (int i = 0; i < (o->type == REC_MULTI ? 2 : 1); i++) {
		uint32_t head = o->type == REC_MULTI ? 4 : 0;

		n = op_make(c, o, buf + at + head, number);
		if (head != 0)
			put_le32(buf + at, n);
		at += head + n;
	}
	o->len = at;
	o->payload = realloc(buf, at);
}

static struct write *
write_new(struct client *c)
{
	struct write *o;

	o = &world.write[world.count];
	*o = (struct write){ .state = WRITE_SENT,
		.early = !sim_chance(3),
		.slot = (uint8_t)c->w->slot,
		.life = c->life,
		.incarnation = c->w->incarnation };
	write_make(c, o, world.count++);
	return o;
}

/* This life's, by its number; with more than one gateway they are mixed. */
static struct write *
write_of(struct client *c, uint32_t seq)
{
	for (uint32_t i = world.count; i-- > c->first;)
		if (world.write[i].life == c->life && world.write[i].seq == seq)
			return &world.write[i];
	return NULL;
}

static unsigned
outstanding(const struct client *c)
{
	unsigned n = 0;

	for (uint32_t i = c->first; i < world.count; i++)
		n += world.write[i].life == c->life &&
		     world.write[i].state < WRITE_ACKED;
	return n;
}

/* The whole of it, in parts if it is long, or nothing. */
static bool
push_parts(struct client *c, const struct write *o)
{
	uint64_t tail = c->req.tail;
	uint32_t done = 0, n;
	uint8_t *at;

	do {
		struct wal_req req = { .seq = o->seq,
			.incarnation = o->incarnation,
			.type = o->type,
			.flags = o->early ? 0 : REQ_WANT_RESULT };

		n = o->len - done;
		if (n > REQ_PART_MAX) {
			n = REQ_PART_MAX;
			req.flags = REQ_MORE;
		}
		req.len = (uint32_t)sizeof(req) + n;
		if ((at = bytering_reserve(&c->req, req.len)) == NULL) {
			c->req.tail = tail;
			return false;
		}
		memcpy(at, &req, sizeof(req));
		memcpy(at + sizeof(req), o->payload + done, n);
		done += n;
	} while (done < o->len);
	return true;
}

static uint64_t
lost_from(const struct client *c)
{
	uint64_t failed = atomic_load_explicit(
	    &c->r->control->wal_failed, memory_order_acquire);

	return failed == 0 ? UINT64_MAX : failed;
}

/* The rule of workers/gateway/reach.c, for the newest write. */
static bool
has_room(const struct client *c, const struct write *o)
{
	uint64_t room = position_get(&c->r->pos->room), bytes = 0;
	uint64_t applied = position_get(&c->r->pos->applied);
	bool whole = room >= table_share(&c->r->table->gen[0]);

	if (lost_from(c) != UINT64_MAX)
		return true; /* it is refused */
	if (applied < c->before)
		return false;
	if (world.gateways > 1)
		room = room / world.gateways / 4 * 3;
	for (uint32_t i = c->first; i < world.count; i++)
		if (world.write[i].life == c->life &&
		    is_under_way(&world.write[i], applied))
			bytes += world.write[i].reach;
	return bytes <= room || (bytes == o->reach && whole);
}

static bool
push(struct client *c)
{
	struct write *o = write_new(c);

	if (!has_room(c, o)) {
		o->state = WRITE_REFUSED;
		/* Another client may have made one since. */
		if (o == &world.write[world.count - 1]) {
			free(o->payload);
			world.count--;
		}
		return false;
	}
	o->seq = c->seq + 1;
	if (!push_parts(c, o)) {
		/* It was never sent, but others' numbers may be above. */
		o->state = WRITE_REFUSED;
		o->seq = 0;
		return false;
	}
	c->seq++;
	return true;
}

static bool
may_write(const struct client *c)
{
	return c->serves && !world.over && world.count < world.writes_wanted &&
	       c->drained < SHUTDOWN_DRAINING_DATA_PLANE &&
	       position_get(&c->r->pos->refuses) == REFUSES_NOTHING &&
	       outstanding(c) < world.window;
}

static void
burst(struct client *c)
{
	unsigned n = 1 + (unsigned)sim_rand_below(BURST_MAX);
	bool any = false;

	if (c->loop.now_ns < c->next_ns)
		return;
	c->next_ns = c->loop.now_ns + sim_rand_below(2 * world.pause_ns);
	for (; n > 0 && may_write(c); n--)
		any |= push(c);
	if (!any) {
		c->next_ns += NS_PER_MS;
		return;
	}
	bytering_publish(&c->req);
	bell_ring(&c->w->bells, SLOT_WAL);
	world_wrote();
}

/* ---- what is answered ---- */

static void
acked(struct write *o)
{
	if (o->state != WRITE_PLACED)
		return;
	o->state = WRITE_ACKED;
	world.acked++;
	world_progress();
}

static void
ret_one(struct client *c, const struct wal_ret *ret)
{
	if (ret->incarnation != c->w->incarnation)
		return;
	for (uint32_t i = 0; i < ret->count; i++) {
		struct write *o = write_of(c, ret->seq + i);

		if (o == NULL || o->state == WRITE_ACKED)
			continue;
		if (o->state != WRITE_SENT)
			sim_fail("write %u is answered twice",
			    (unsigned)(o - world.write));
		o->state = ret->status == RET_OK ? WRITE_PLACED : WRITE_REFUSED;
		o->vlsn = ret->status == RET_OK ? ret->vlsn + i : 0;
	}
}

static void
producer_ring(struct client *c, unsigned slot, enum busy why)
{
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&c->r->slots->row[slot].busy_with,
		memory_order_relaxed) == (uint32_t)why)
		bell_ring(&c->w->bells, slot);
}

static void
returns(struct client *c)
{
	struct wal_ret ret;
	const void *at;
	uint32_t len;

	while ((at = bytering_peek(&c->ret, &len)) != NULL) {
		memcpy(&ret, at, sizeof(ret));
		ret_one(c, &ret);
		bytering_advance(&c->ret, len);
	}
	bytering_consume(&c->ret);
	producer_ring(c, SLOT_WAL, BUSY_RETURN);
}

static void
results(struct client *c)
{
	struct store_res res;
	const void *at;
	struct write *o;
	uint32_t len;

	while ((at = bytering_peek(&c->res, &len)) != NULL) {
		memcpy(&res, at, sizeof(res));
		bytering_advance(&c->res, len);
		if (res.incarnation != c->w->incarnation ||
		    (o = write_of(c, res.seq)) == NULL)
			continue;
		if (o->state == WRITE_SENT)
			o->state = WRITE_PLACED; /* its return comes later */
		o->vlsn = res.vlsn;
		acked(o);
	}
	bytering_consume(&c->res);
	producer_ring(c, SLOT_STORE, BUSY_RESULT);
}

static void
committed(struct client *c)
{
	uint64_t limit = commit_vlsn(c->r), lost = lost_from(c);

	c->seen_committed = limit;
	for (uint32_t i = c->first; i < world.count; i++) {
		struct write *o = &world.write[i];

		if (o->life == c->life && o->early &&
		    o->state == WRITE_PLACED && o->vlsn <= limit &&
		    o->vlsn < lost)
			acked(o);
	}
}

/* ---- the loop ---- */

static void
stop_turn(struct client *c)
{
	unsigned wanted = loop_shutdown(&c->loop);

	if (c->drained >= wanted)
		return;
	c->drained = wanted;
	loop_drained(&c->loop, wanted);
	if (wanted == SHUTDOWN_CLOSED)
		c->loop.quit = true;
}

static void
client_turn(void *ctx)
{
	struct client *c = ctx;

	returns(c);
	results(c);
	committed(c);
	stop_turn(c);
	burst(c);
}

static bool
client_pending(void *ctx)
{
	struct client *c = ctx;

	return bytering_ready(&c->ret) || bytering_ready(&c->res) ||
	       commit_vlsn(c->r) != c->seen_committed;
}

static uint64_t
client_deadline(void *ctx)
{
	struct client *c = ctx;

	return may_write(c) ? c->next_ns : c->loop.now_ns + NS_PER_S;
}

/* 0: go on; else the exit code, -1: a stop. */
static int
wait_phase(struct client *c, enum phase phase)
{
	int rc = seq_wait(c->r->seq, phase, 0, loop_beat, &c->loop);

	if (rc == 0)
		return 0;
	return rc == -ESHUTDOWN ? -1 : WORKER_EXIT_FAILED;
}

static int
client_boot(struct client *c)
{
	char path[CONF_PATH_SIZE + 8];
	int rc;

	if ((rc = wait_phase(c, PHASE_CLUSTER_CATALOG_OPEN)) != 0)
		return rc;
	snprintf(path, sizeof(path), "%s/store", c->w->conf->node.data_dir);
	rc = kv_open(&c->kv, c->r, path, c->w->slot, false);
	if (rc != 0) {
		worker_store_refused(c->w, PHASE_TRANSPORT_BIND, rc);
		return WORKER_EXIT_FAILED;
	}
	if ((rc = wait_phase(c, PHASE_DATA_GROUPS_REPLAY)) != 0)
		return rc;
	(void)seq_fire(c->r->seq, PHASE_TRANSPORT_BIND, c->w->slot);
	bell_ring(&c->w->bells, SLOT_GROUP);
	if ((rc = wait_phase(c, PHASE_HEALTH_LOOP_START)) != 0)
		return rc;
	if (world.checked != c->r->head->boot_id[0]) {
		client_check(c->w, c->kv);
		world.checked = c->r->head->boot_id[0];
	}
	(void)seq_fire(c->r->seq, PHASE_GATEWAY_ENABLE, c->w->slot);
	return wait_phase(c, PHASE_GATEWAY_ENABLE);
}

int
gateway_main(struct worker *w)
{
	static const struct loop_hooks hooks = { client_turn, client_pending,
		client_deadline };
	struct client *c = calloc(1, sizeof(*c));
	unsigned client = (unsigned)client_of_slot(w->slot);
	int rc;

	worker_open(w, "gateway", KEEP_DATA | KEEP_LISTEN);
	c->w = w;
	c->r = w->region;
	c->life = ++world.lives;
	/* Who wrote these is dead: nobody will hear of them. */
	for (uint32_t i = 0; i < world.count; i++)
		if (world.write[i].slot == w->slot) {
			world.write[i].left = true;
			if (world.write[i].state == WRITE_PLACED)
				world.write[i].state = WRITE_SENT;
		}
	c->first = world.count;
	region_ring(c->r, client, RING_REQUEST, &c->req);
	region_ring(c->r, client, RING_RETURN, &c->ret);
	region_ring(c->r, client, RING_RESULT, &c->res);
	if (loop_open(&c->loop, c->r, &w->bells, w->slot, RING_CLIENT, c,
		&hooks) != 0)
		return WORKER_EXIT_FAILED;
	/* It always waits for some. */
	atomic_fetch_or(&c->r->pos->commit_waited.v,
	    UINT64_C(1) << (w->slot - SLOT_GATEWAY));
	rc = client_boot(c);
	if (rc > 0)
		return rc;
	c->serves = rc == 0;
	c->before = position_get(&c->r->pos->appended);
	worker_running(w);
	rc = loop_run(&c->loop);
	if (c->kv != NULL)
		kv_close(c->kv);
	loop_close(&c->loop);
	return rc == 0 ? 0 : WORKER_EXIT_FAILED;
}

/* ---- health ---- */

struct health_model {
	struct loop loop;
	struct worker *w;
	bool fired;
};

static void
health_turn(void *ctx)
{
	struct health_model *h = ctx;
	unsigned step = loop_shutdown(&h->loop);

	if (!h->fired && seq_reached(h->w->region->seq, PHASE_WARM_PEERS)) {
		h->fired = true;
		(void)seq_fire(
		    h->w->region->seq, PHASE_HEALTH_LOOP_START, h->w->slot);
	}
	if (step != SHUTDOWN_NONE)
		loop_drained(&h->loop, step);
	if (step == SHUTDOWN_CLOSED)
		h->loop.quit = true;
}

static bool
health_pending(void *ctx)
{
	struct health_model *h = ctx;

	return !h->fired && seq_reached(h->w->region->seq, PHASE_WARM_PEERS);
}

static uint64_t
health_deadline(void *ctx)
{
	(void)ctx;
	return LOOP_NEVER;
}

int
health_main(struct worker *w)
{
	static const struct loop_hooks hooks = { health_turn, health_pending,
		health_deadline };
	struct health_model *h = calloc(1, sizeof(*h));
	int rc;

	worker_open(w, "health", KEEP_HTTP);
	h->w = w;
	if (loop_open(&h->loop, w->region, &w->bells, w->slot, 8, h, &hooks) !=
	    0)
		return WORKER_EXIT_FAILED;
	worker_running(w);
	rc = loop_run(&h->loop);
	loop_close(&h->loop);
	return rc == 0 ? 0 : WORKER_EXIT_FAILED;
}

/* ---- the check ---- */

struct model_value {
	bool known; /* the log says what it is */
	uint32_t len; /* 0 = no such key */
	uint8_t *data;
};

/* What a store is that has applied a log. */
struct model {
	struct model_value value[KEYS];
	uint64_t vlsn;
	uint8_t *seen; /* by number of write: is it in the log? */
	uint64_t origin; /* of the parts: whose */
	bool whole; /* their beginning is in the log, too */
	uint32_t parts_len;
	uint8_t *parts;
};

static unsigned
key_number(const struct op_arg *key)
{
	char buf[16] = "";

	if (key->len < sizeof(buf))
		memcpy(buf, key->data, key->len);
	return (unsigned)strtoul(buf + 3, NULL, 10) % KEYS;
}

/* The number of the write that it is of. */
static uint32_t
value_number(const struct model *m, const struct op_arg *value)
{
	static uint8_t want[VALUE_MAX];
	char buf[11] = "";
	uint32_t number = UINT32_MAX;

	if (value->len >= 12 && value->len <= VALUE_MAX) {
		memcpy(buf, value->data, 10);
		number = (uint32_t)strtoul(buf, NULL, 10);
		(void)value_fill(want, number, value->len);
	}
	if (number >= world.count || memcmp(want, value->data, value->len) != 0)
		sim_fail("VLSN %ju of the log: a value that nobody wrote: "
			 "%u bytes, %.12s",
		    (uintmax_t)m->vlsn, value->len, value->data);
	return number;
}

static void
model_cut(struct model *m, unsigned key)
{
	free(m->value[key].data);
	m->value[key] = (struct model_value){ .known = true };
}

static void
model_append(struct model *m, unsigned key, const struct op_arg *value)
{
	struct model_value *v = &m->value[key];

	v->data = realloc(v->data, v->len + value->len);
	if (v->data == NULL)
		abort();
	memcpy(v->data + v->len, value->data, value->len);
	v->len += value->len;
}

static void
model_op(struct model *m, const struct op *op)
{
	const uint8_t *at = op->args;
	struct op_arg key = { 0 }, value = { 0 };
	unsigned k;

	(void)op_arg_next(op, &at, &key);
	if (op_arg_next(op, &at, &value))
		m->seen[value_number(m, &value)] = 1;
	k = key_number(&key);
	switch (op->code) {
	case OP_SET:
		model_cut(m, k);
		model_append(m, k, &value);
		return;
	case OP_APPEND:
		model_append(m, k, &value);
		return;
	case OP_DEL:
		if (key.len != 0)
			model_cut(m, k);
		return;
	case OP_FLUSHALL:
		for (k = 0; k < KEYS; k++)
			model_cut(m, k);
		return;
	default:
		sim_fail("VLSN %ju of the log: operation %u, which nobody "
			 "wrote",
		    (uintmax_t)m->vlsn, op->code);
	}
}

static void
model_apply(struct model *m, const struct record *rec)
{
	struct op_multi multi;
	const uint8_t *at;
	struct op op;

	if (rec->type == REC_OP &&
	    op_decode(rec->payload, rec->payload_len, &op) == 0) {
		model_op(m, &op);
	} else if (rec->type == REC_MULTI &&
		   op_multi_decode(rec->payload, rec->payload_len, &multi) ==
		       0) {
		at = multi.ops;
		while (op_multi_next(&multi, &at, &op))
			model_op(m, &op);
	}
}

/*
 * Parts stay until what they are parts of, or something else comes. True: the
 * record has its whole payload.
 */
static bool
model_part(struct model *m, struct record *rec)
{
	bool more = rec->type == REC_PART;
	bool of_parts = more || (rec->flags & REC_HAS_PARTS) != 0;

	if (!of_parts || rec->origin >> 32 != m->origin)
		m->parts_len = 0;
	m->origin = rec->origin >> 32;
	if (!of_parts)
		m->whole = true;
	/* What the log begins with may have begun before it. */
	if (!of_parts || !m->whole) {
		m->whole |= !more;
		return !of_parts;
	}
	if (!more && m->parts_len == 0)
		return false;
	m->parts = realloc(m->parts, m->parts_len + rec->payload_len + 1);
	if (m->parts == NULL)
		abort();
	memcpy(m->parts + m->parts_len, rec->payload, rec->payload_len);
	m->parts_len += rec->payload_len;
	rec->payload = m->parts;
	rec->payload_len = m->parts_len;
	if (!more)
		m->parts_len = 0;
	return !more;
}

/* Is what was acknowledged at that place this record? */
static void
check_acked(const struct record *rec)
{
	for (uint32_t i = 0; i < world.count; i++) {
		const struct write *o = &world.write[i];

		if (o->state != WRITE_ACKED || o->vlsn != rec->vlsn)
			continue;
		if (o->type != rec->type || o->len != rec->payload_len ||
		    memcmp(o->payload, rec->payload, o->len) != 0)
			sim_fail("write %u was acknowledged at VLSN %ju: the "
				 "log has another there",
			    i, (uintmax_t)rec->vlsn);
	}
}

static void
model_begin(struct model *m, uint64_t first)
{
	/* On a full disk it keeps less than it should. */
	if (first != 1 && world.conf.wal.keep_size != 0 && !world.disk_fails)
		sim_fail("the log begins with VLSN %ju", (uintmax_t)first);
	for (unsigned key = 0; key < KEYS; key++)
		m->value[key].known = first == 1;
	m->whole = first == 1;
}

static int
read_segment(struct model *m, struct segment_reader *r, uint64_t limit)
{
	struct record rec;
	int rc;

	while ((rc = segment_reader_next(r, &rec, NULL)) == 0) {
		if (rec.vlsn == 0 || rec.vlsn > limit)
			continue;
		/* What a checkpoint holds may have left the log. */
		if (rec.vlsn != m->vlsn + 1 && m->vlsn != 0)
			sim_fail("the log: VLSN %ju follows %ju",
			    (uintmax_t)rec.vlsn, (uintmax_t)m->vlsn);
		if (m->vlsn == 0)
			model_begin(m, rec.vlsn);
		m->vlsn = rec.vlsn;
		if (model_part(m, &rec)) {
			check_acked(&rec);
			model_apply(m, &rec);
		}
	}
	/* The end of what chains is told by how much there was. */
	return rc == -EIO ? rc : 0;
}

static int
read_log(struct model *m, int data_dir, uint64_t limit)
{
	int dir = openat(data_dir, "wal", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct segment_list l;
	struct segment_reader r;
	int rc;

	if (dir < 0)
		return -errno;
	if ((rc = segment_list_load(&l, dir, false)) != 0) {
		close(dir);
		return rc;
	}
	for (uint32_t i = 0; i < l.count; i++)
		if (l.entry[i].unreadable)
			rc = -EIO;
	for (uint32_t i = l.newest == UINT32_MAX ? UINT32_MAX : l.oldest;
	     rc == 0 && i != UINT32_MAX; i = segment_list_next(&l, i)) {
		rc = segment_reader_open(
		    &r, dir, l.entry[i].number, CHUNK, false);
		if (rc != 0)
			break;
		r.limit = l.entry[i].end;
		rc = read_segment(m, &r, limit);
		segment_reader_close(&r);
	}
	segment_list_free(&l);
	close(dir);
	return rc;
}

static void
model_free(struct model *m)
{
	for (unsigned key = 0; key < KEYS; key++)
		model_cut(m, key);
	free(m->parts);
	free(m->seen);
	memset(m, 0, sizeof(*m));
}

/*
 * A segment may be given up while the log is read, a read may fail: again, for
 * as long as that may last.
 */
static void
model_make(struct model *m, int data_dir, uint64_t limit)
{
	uint64_t until = mono_ns() + APPLY_NS;
	int rc;

	for (;;) {
		memset(m, 0, sizeof(*m));
		m->seen = calloc(1, world.count + 1);
		rc = read_log(m, data_dir, limit);
		if (rc == 0 && m->vlsn == limit)
			return;
		if (mono_ns() > until)
			sim_fail("the log ends at VLSN %ju, %ju is committed: "
				 "%s",
			    (uintmax_t)m->vlsn, (uintmax_t)limit,
			    strerror(-rc));
		model_free(m);
		sim_sleep_until(sim_now_ns() + 20 * NS_PER_MS);
	}
}

static void
check_writes(const struct model *m)
{
	for (uint32_t i = 0; i < world.count; i++) {
		const struct write *o = &world.write[i];

		if (o->state == WRITE_ACKED && o->vlsn > m->vlsn)
			sim_fail("write %u, acknowledged at VLSN %ju, is lost: "
				 "the log ends at %ju",
			    i, (uintmax_t)o->vlsn, (uintmax_t)m->vlsn);
		if (o->state == WRITE_REFUSED && m->seen[i])
			sim_fail("write %u was refused, and is in the log", i);
	}
}

static void
check_key(const struct model *m, struct kv *kv, unsigned key)
{
	const struct model_value *want = &m->value[key];
	struct kv_item item = { 0 };
	uint8_t *value = NULL;
	char buf[16];
	struct op_arg k = key_of(buf, key);
	int rc = kv_get(kv, k.data, k.len, 0, &item);

	if (rc == 0) {
		if ((value = malloc(item.len + 1)) == NULL)
			abort();
		rc = kv_copy(kv, &item, 0, item.len, value);
	}
	if (rc != 0 && rc != -ENOENT)
		sim_fail("%s cannot be read: %s", buf, strerror(-rc));
	if (want->known &&
	    (item.len != want->len ||
		(want->len != 0 && memcmp(value, want->data, want->len) != 0)))
		sim_fail("%s: the store has %ju bytes, %.10s, the log up to "
			 "VLSN %ju says %u, %.10s",
		    buf, (uintmax_t)item.len,
		    value != NULL ? (char *)value : "", (uintmax_t)m->vlsn,
		    want->len, want->len != 0 ? (char *)want->data : "");
	free(value);
}

static void
key_count(void *arg, const void *key, size_t len)
{
	struct op_arg k = { key, (uint32_t)len };
	uint64_t *found = arg;

	*found |= UINT64_C(1) << key_number(&k);
}

static void
check_store(const struct model *m, struct kv *kv)
{
	struct kv_scan pos = { 0 };
	uint64_t found = 0;
	int rc;

	if ((rc = kv_begin(kv)) != 0)
		sim_fail("the store cannot be read: %s", strerror(-rc));
	for (unsigned key = 0; key < KEYS; key++)
		check_key(m, kv, key);
	while (rc == 0 && !pos.done)
		rc = kv_scan(kv, &pos, 100, 0, key_count, &found);
	kv_end(kv);
	if (rc != 0)
		sim_fail("the store cannot be walked: %s", strerror(-rc));
	for (unsigned key = 0; key < KEYS; key++)
		if (m->value[key].known &&
		    (found >> key & 1) != (m->value[key].len != 0))
			sim_fail("key%u: a walk says %s", key,
			    (found >> key & 1) != 0 ? "it is there"
						    : "there is none");
}

/*
 * What a reader waits for: the term's first record, by which all before it is
 * committed, and then the store.
 */
static uint64_t
wait_applied(struct region *r)
{
	uint64_t until = mono_ns() + APPLY_NS, limit;

	while (!commit_can_read(r) ||
	       position_get(&r->pos->applied) < commit_vlsn(r)) {
		limit = commit_vlsn(r);
		position_raise(&r->pos->apply_wanted, limit);
		if (mono_ns() > until)
			sim_fail("applied stays at VLSN %ju, %ju is "
				 "committed, nothing can be read",
			    (uintmax_t)position_get(&r->pos->applied),
			    (uintmax_t)limit);
		sim_sleep_until(sim_now_ns() + NS_PER_MS);
	}
	return commit_vlsn(r);
}

void
client_check(struct worker *w, struct kv *kv)
{
	uint64_t limit = wait_applied(w->region);
	struct model m;

	model_make(&m, w->data_dir, limit);
	check_writes(&m);
	check_store(&m, kv);
	model_free(&m);
	world.checks++;
	world_progress();
	sim_tell("checked: VLSN %ju, %u writes, %u acknowledged",
	    (uintmax_t)limit, world.count, world.acked);
}
