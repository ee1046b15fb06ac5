/*
 * Clients, in the place of a gateway and of health: a process of the node that
 * appends writes by its rings, remembers what was acknowledged, and reads what
 * they made. What must come of it sim_check.c looks at, after each boot, before
 * it writes.
 */
#include "t/sim/node/sim_core.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ipc/loop.h"
#include "shm/bits.h"
#include "shm/crc32c.h"
#include "shm/kv/kv.h"
#include "shm/kv/op.h"
#include "shm/kv/table.h"
#include "shm/log/log_clock.h"
#include "shm/log/record.h"
#include "shm/say.h"
#include "t/sim/node/sim_node.h"

#define BURST_MAX   8
#define RING_CLIENT 64
#define WRITE_MAX   (2 * VALUE_MAX + 256)
#define EXPIRE_MS   20000 /* the longest that a key is to live */
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
	uint64_t
	    read_index; /* what it reads must be as new; 0 = it reads not */
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

uint32_t
client_value(uint8_t *at, uint32_t number, uint32_t len)
{
	snprintf((char *)at, 12, "%010u:", number);
	for (uint32_t i = 11; i < len; i++)
		at[i] = (uint8_t)('a' + (number * 7 + i * (i >> 8 | 1)) % 26);
	return len;
}

struct op_arg
client_key(char buf[16], unsigned key)
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

/* By what one in a hundred writes is. */
static uint16_t
op_code(bool number, uint64_t kind)
{
	if (kind == 99)
		return OP_FLUSHALL;
	if (kind >= 80)
		return OP_DEL;
	if (kind < 65 - (number ? 55 : 0))
		return OP_SET;
	return number ? OP_INCRBY : OP_APPEND;
}

/* Of some keys the values are numbers, and some are to expire. */
static uint32_t
op_make(const struct client *c, struct write *o, uint8_t *at, uint32_t number)
{
	/* Not static: another client may run before it is encoded. */
	uint8_t *value = malloc(VALUE_MAX);
	unsigned k = (unsigned)sim_rand_below(KEYS);
	uint16_t code = op_code(k < KEYS_NUMBER, sim_rand_below(100));
	unsigned argc = code == OP_SET || code == OP_APPEND ? 2
			: code != OP_FLUSHALL               ? 1
							    : 0;
	struct op_arg arg[2];
	int64_t num = 0;
	char key[16];

	if (o->type == REC_MULTI) {
		world.pair[1] = world.pair[0];
		world.pair[0] = k;
	}
	arg[0] = client_key(key, k);
	arg[1].data = value;
	if (code == OP_SET && k < KEYS_NUMBER)
		arg[1].len =
		    (uint32_t)snprintf((char *)value, 16, "%u", number % 1000);
	else
		arg[1].len = client_value(value, number,
		    code == OP_SET ? value_len(number) : APPEND_LEN);
	if (code == OP_INCRBY)
		num = (int64_t)number - 100;
	else if (code == OP_SET && sim_chance(world.expiry))
		num = log_now_ms(c->r->pos, mono_ns(), wall_ms(), 10000) - 100 +
		      (int64_t)(sim_rand_below(EXPIRE_MS) >> sim_rand_below(8));
	op_encode(at, code, 0, num, argc, arg);
	/* What this write itself has made of the key counts, too. */
	o->reach += op_reach(code, num, argc, arg,
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

	if (world.count >= world.room)
		sim_fail("no room for write %u", world.count);
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
		     world.write[i].state < WRITE_ACKED && !world.write[i].left;
	return n;
}

/* The whole of it, in parts if it is long, or nothing. */
static bool
push_parts(struct client *c, const struct write *o)
{
	uint64_t mark = bytering_mark(&c->req);
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
			bytering_unreserve(&c->req, mark);
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

/*
 * What o meets of all clients' writes under way: one that goes alone, or any.
 * `part` is what a client has of the room.
 */
static bool
meets(const struct client *c, const struct write *o, uint64_t part)
{
	uint64_t applied = position_get(&c->r->pos->applied);

	for (uint32_t i = 0; i < world.count; i++)
		if (&world.write[i] != o && world.write[i].reach > part &&
		    is_under_way(&world.write[i], applied))
			return true;
	return false;
}

/* The rule of workers/gateway/exec/reach.c and alone.c, for the newest write.
 */
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
	if (meets(c, o, room))
		return false;
	for (uint32_t i = c->first; i < world.count; i++)
		if (world.write[i].life == c->life &&
		    is_under_way(&world.write[i], applied))
			bytes += world.write[i].reach;
	return bytes <= room || (whole && bytes == o->reach && !meets(c, o, 0));
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
	o->sent_ns = c->loop.now_ns;
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
	return c->serves && commit_is_master(c->r) && !world.over &&
	       world.count < world.writes_wanted &&
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
	world_acked();
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
		o->term = ret->term;
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
	uint64_t limit, lost = lost_from(c);
	bool over;

	c->seen_committed = commit_vlsn(c->r);
	for (uint32_t i = c->first; i < world.count; i++) {
		struct write *o = &world.write[i];

		if (o->life != c->life || o->state != WRITE_PLACED ||
		    o->vlsn >= lost)
			continue;
		over = commit_of_term(c->r, o->term, &limit);
		if (o->early && o->vlsn <= limit)
			acked(o);
		if (over && o->vlsn > limit) {
			/* It may be cut off, or come from the next term. */
			o->state = WRITE_SENT;
			o->left = true;
		}
	}
}

/* ---- what is read ---- */

static int
read_key(struct kv *kv, unsigned key, struct seen *out)
{
	struct kv_item item = { 0 };
	uint8_t *value;
	char buf[16];
	struct op_arg k = client_key(buf, key);
	int rc = kv_get(kv, k.data, k.len, 0, &item);

	*out = (struct seen){ .key = (uint8_t)key };
	if (rc != 0)
		return rc == -ENOENT ? 0 : rc;
	value = malloc(item.len + 1);
	rc = kv_copy(kv, &item, 0, item.len, value);
	out->len = item.len;
	out->expire_ms = item.expire_ms;
	out->crc = crc32c(0, value, item.len);
	free(value);
	return rc;
}

/* Some keys, as of one moment. */
static int
read_keys(struct client *c, struct reading *out)
{
	struct kv_moment moment = { 0 };
	bool pair = sim_chance(2);
	int rc = kv_begin(c->kv);

	if (rc != 0)
		return rc;
	rc = kv_hold(c->kv, &moment);
	for (unsigned i = 0; rc == 0 && i < SEEN_MAX; i++)
		rc = read_key(c->kv,
		    i < 2 && pair ? world.pair[i]
				  : (unsigned)sim_rand_below(KEYS),
		    &out->seen[i]);
	kv_release(c->kv);
	kv_end(c->kv);
	return rc;
}

static bool
may_read(const struct client *c)
{
	return c->serves && c->kv != NULL && world.readings < READINGS &&
	       world.checked == c->r->head->boot_id[0];
}

/*
 * A read that begins now must see what is committed now, and nothing that is
 * not when it has ended. While one waits for that to be applied, the other
 * gateway may read the last that there is room for: then it comes to nothing.
 */
static void
reading_turn(struct client *c)
{
	struct reading r = { 0 };

	if (!may_read(c)) {
		c->read_index = 0;
		return;
	}
	if (c->read_index == 0) {
		if (!sim_chance(4) || !commit_can_read(c->r))
			return;
		c->read_index = commit_vlsn(c->r);
	}
	if (position_get(&c->r->pos->applied) < c->read_index) {
		position_raise(&c->r->pos->apply_wanted, c->read_index);
		bell_ring(&c->w->bells, SLOT_STORE);
		return;
	}
	r.from = c->read_index;
	c->read_index = 0;
	if (read_keys(c, &r) != 0)
		return;
	r.to = commit_vlsn(c->r);
	if (world.readings < READINGS)
		world.reading[world.readings++] = r;
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
	uint64_t end = position_get(&c->r->pos->appended);

	/* It was cut: it may never get so long again. */
	if (c->before > end)
		c->before = end;
	returns(c);
	results(c);
	committed(c);
	reading_turn(c);
	stop_turn(c);
	burst(c);
}

static bool
client_pending(void *ctx)
{
	struct client *c = ctx;

	return bytering_ready(&c->ret) || bytering_ready(&c->res) ||
	       commit_vlsn(c->r) != c->seen_committed ||
	       (c->read_index != 0 &&
		   position_get(&c->r->pos->applied) >= c->read_index);
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
	rc = worker_run(w, &c->loop);
	if (c->kv != NULL)
		kv_close(c->kv);
	loop_close(&c->loop);
	return rc;
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
	rc = worker_run(w, &h->loop);
	loop_close(&h->loop);
	return rc;
}
