/*
 * Transactions. Commands are queued as they came. EXEC turns those of the
 * store into operations: if one of them writes, all of them travel in one
 * record with what WATCH saw, and the store runs or refuses it as one; if
 * none does, they run right here, between two equal looks at the store's
 * sequence count. Commands that are not of the store are answered here, too,
 * and merged in order.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "shm/assert.h"
#include "shm/log.h"
#include "shm/record.h"
#include "workers/gateway/cmd.h"

#define EXEC_TRIES 16 /* passes over a changing store, then through the log */
#define EXEC_NS    (20 * NS_PER_MS) /* no new pass later than that */
/* Keys beyond so many may stand there twice: each is compared with all. */
#define WATCH_LOOK 256

struct multi {
	bool active; /* between MULTI and EXEC */
	bool spoiled; /* EXEC will abort */
	uint32_t count;
	struct vbuf queue; /* each: u32 argc, then argc times u32 len, bytes */
	uint32_t watch_count;
	struct vbuf watches; /* as in REC_MULTI's payload */
};

/* What becomes of one queued command. */
struct exec_item {
	bool local; /* answered in `local`, else by the store */
	bool unless_nil; /* by `local` unless the store says nil */
	size_t off, len;
};

struct exec {
	struct sink local;
	uint32_t count;
	struct exec_item item[];
};

/* EXEC at work. */
struct plan {
	struct call *k;
	struct multi *m;
	struct exec *x;
	struct vbuf payload; /* REC_MULTI */
	uint32_t op_count;
	bool writes;
	bool local_reads; /* SCAN reads the store from here */
	struct op_arg *argv; /* of the command at hand */
	uint32_t argv_cap;
};

bool
gw_multi_active(const struct conn *c)
{
	return c->multi != NULL && c->multi->active;
}

uint32_t
gw_multi_queued(const struct conn *c)
{
	return gw_multi_active(c) ? c->multi->count : UINT32_MAX;
}

void
gw_multi_spoil(struct conn *c)
{
	if (gw_multi_active(c))
		c->multi->spoiled = true;
}

void
gw_multi_free(struct conn *c)
{
	if (c->multi == NULL)
		return;
	vbuf_free(&c->multi->queue);
	vbuf_free(&c->multi->watches);
	free(c->multi);
	c->multi = NULL;
}

static struct multi *
multi_get(struct conn *c)
{
	if (c->multi == NULL)
		c->multi = calloc(1, sizeof(*c->multi));
	return c->multi;
}

enum verdict
gw_run_multi(struct call *k)
{
	struct multi *m = multi_get(k->c);

	if (m == NULL)
		return call_error_done(k, "ERR no memory for MULTI");
	if (m->active)
		return call_error_done(k, "ERR MULTI calls can not be nested");
	m->active = true;
	reply_ok(call_out(k));
	return VERDICT_DONE;
}

enum verdict
gw_run_discard(struct call *k)
{
	if (!gw_multi_active(k->c))
		return call_error_done(k, "ERR DISCARD without MULTI");
	gw_multi_free(k->c);
	reply_ok(call_out(k));
	return VERDICT_DONE;
}

static void
put_u32(struct vbuf *b, uint32_t v)
{
	uint8_t *at = vbuf_add(b, 4);

	if (at != NULL)
		put_le32(at, v);
}

enum verdict
gw_multi_queue(struct call *k)
{
	struct multi *m = k->c->multi;
	uint32_t i;

	if (m->count == GW_MULTI_MAX ||
	    m->queue.len > k->g->w->conf->listen.max_query) {
		m->spoiled = true;
		return call_error_done(k, "ERR the transaction is too long");
	}
	put_u32(&m->queue, k->argc);
	for (i = 0; i < k->argc; i++) {
		put_u32(&m->queue, k->argv[i].len);
		vbuf_put(&m->queue, k->argv[i].data, k->argv[i].len);
	}
	if (m->queue.error != 0) {
		m->spoiled = true;
		return call_error_done(k, "ERR no memory for this command");
	}
	m->count++;
	reply_status(call_out(k), "QUEUED");
	return VERDICT_DONE;
}

/* ---- WATCH ---- */

/* The next watch at *at: VLSN and key. */
static bool
watch_next(
    const struct multi *m, size_t *at, uint64_t *vlsn, struct op_arg *key)
{
	const uint8_t *p = m->watches.data + *at;

	if (*at == m->watches.len)
		return false;
	*vlsn = get_le64(p);
	key->len = get_le32(p + 8);
	key->data = p + 12;
	*at += 12 + (size_t)key->len;
	return true;
}

static bool
watch_has(const struct multi *m, const struct op_arg *key)
{
	struct op_arg have;
	uint64_t vlsn;
	size_t at = 0;

	while (watch_next(m, &at, &vlsn, &have))
		if (have.len == key->len &&
		    memcmp(have.data, key->data, key->len) == 0)
			return true;
	return false;
}

static void
watch_add(struct call *k, struct multi *m, const struct op_arg *key)
{
	uint8_t *at;

	if ((m->watch_count < WATCH_LOOK && watch_has(m, key)) ||
	    (at = vbuf_add(&m->watches, 12 + (size_t)key->len)) == NULL)
		return;
	put_le64(at, kv_watch(k->g->kv, key->data, key->len));
	put_le32(at + 8, key->len);
	memcpy(at + 12, key->data, key->len);
	m->watch_count++;
}

/* Did a watched key change since? Inside the read transaction. */
static bool
watch_broken(struct gateway *g, const struct multi *m)
{
	struct op_arg key;
	uint64_t vlsn;
	size_t at = 0;

	while (watch_next(m, &at, &vlsn, &key))
		/* What cannot be read is not said to be unchanged. */
		if (kv_changed(g->kv, key.data, key.len, vlsn, gw_now_ms(g)) !=
		    0)
			return true;
	return false;
}

enum verdict
gw_run_watch(struct call *k)
{
	struct multi *m;
	uint32_t i;

	if (gw_multi_active(k->c))
		return call_error_done(
		    k, "ERR WATCH inside MULTI is not allowed");
	for (i = 1; i < k->argc; i++)
		if (k->argv[i].len > KEY_MAX)
			return call_error_done(
			    k, "ERR key is longer than 511 bytes");
	switch (gw_read_ready(k->g, k->c)) {
	case READ_NOW:
		break;
	case READ_PARKED:
		return VERDICT_PARKED;
	case READ_REFUSED:
		return call_refused(k);
	}
	if (gw_read_begin(k->g) != 0)
		return call_error_done(k, "ERR the store cannot be read");
	if ((m = multi_get(k->c)) == NULL)
		return call_error_done(k, "ERR no memory for WATCH");
	if (m->watches.len > k->g->w->conf->listen.max_query ||
	    m->watch_count + (uint64_t)k->argc > GW_MULTI_MAX)
		return call_error_done(k, "ERR too many keys are watched");
	for (i = 1; i < k->argc; i++)
		watch_add(k, m, &k->argv[i]);
	if (m->watches.error != 0) {
		gw_multi_free(k->c);
		return call_error_done(k, "ERR no memory for WATCH");
	}
	reply_ok(call_out(k));
	return VERDICT_DONE;
}

enum verdict
gw_run_unwatch(struct call *k)
{
	/* Inside a MULTI it is queued and EXEC forgets the keys anyhow. */
	if (!k->in_exec)
		gw_multi_free(k->c);
	reply_ok(call_out(k));
	return VERDICT_DONE;
}

/* ---- EXEC ---- */

void
gw_exec_free(struct exec *x)
{
	if (x == NULL)
		return;
	sink_reset(&x->local);
	free(x);
}

static void
plan_free(struct plan *p)
{
	gw_exec_free(p->x);
	vbuf_free(&p->payload);
	free(p->argv);
}

/* The queued command at *at as a call. False without memory. */
static bool
plan_command(struct plan *p, const uint8_t **at, struct call *q)
{
	uint32_t argc = get_le32(*at), i;

	if (argc > p->argv_cap) {
		struct op_arg *argv = realloc(p->argv, argc * sizeof(*argv));

		if (argv == NULL)
			return false;
		p->argv = argv;
		p->argv_cap = argc;
	}
	*at += 4;
	for (i = 0; i < argc; i++) {
		p->argv[i].len = get_le32(*at);
		p->argv[i].data = *at + 4;
		*at += 4 + (size_t)p->argv[i].len;
	}
	*q = (struct call){ .g = p->k->g,
		.c = p->k->c,
		.cmd = gw_command_find(p->argv[0].data, p->argv[0].len),
		.argc = argc,
		.argv = p->argv,
		.in_exec = true };
	ASSERT(q->cmd != NULL);
	return true;
}

static void
built_init(struct built *b)
{
	b->flags = 0;
	b->early = false;
	b->num = 0;
	b->error[0] = '\0';
}

/*
 * The store is counting its keys: nobody here waits for it in the middle of a
 * transaction, so that one takes the log's way, as if it wrote.
 */
static bool
must_be_applied(const struct plan *p, unsigned code)
{
	const struct positions *pos = p->k->g->r->pos;

	return code == OP_DBSIZE && !p->k->g->w->readonly &&
	       position_get(&pos->resolved) < position_get(&pos->applied);
}

/* Operations into the payload; which commands are ours to answer. */
static bool
plan_make(struct plan *p)
{
	const uint8_t *at = p->m->queue.data;
	struct exec_item *item;
	struct built b;
	struct call q;
	uint8_t *to;
	uint32_t i;
	size_t n;

	vbuf_add(&p->payload, 8);
	vbuf_put(&p->payload, p->m->watches.data, p->m->watches.len);
	for (i = 0; i < p->m->count; i++) {
		item = &p->x->item[i];
		if (!plan_command(p, &at, &q))
			return false;
		built_init(&b);
		item->local = q.cmd->build == NULL || !q.cmd->build(&q, &b);
		if (item->local) {
			p->local_reads |= q.cmd->build == NULL &&
					  (q.cmd->flags & CMD_READ) != 0;
			continue;
		}
		item->unless_nil = b.error[0] != '\0';
		n = op_size(b.argc, b.argv);
		if ((to = vbuf_add(&p->payload, 4 + n)) == NULL)
			return false;
		put_le32(to, (uint32_t)n);
		op_encode(to + 4, b.code, b.flags, b.num, b.argc, b.argv);
		p->op_count++;
		p->writes |= op_writes(b.code) || must_be_applied(p, b.code);
	}
	if (p->payload.error != 0)
		return false;
	put_le32(p->payload.data, p->op_count);
	put_le32(p->payload.data + 4, p->m->watch_count);
	return true;
}

/* Answer what is ours: once, however often the rest is tried. */
static bool
plan_run_local(struct plan *p)
{
	const uint8_t *at = p->m->queue.data;
	struct exec_item *item;
	struct built b;
	struct call q;
	uint32_t i;

	for (i = 0; i < p->m->count; i++) {
		item = &p->x->item[i];
		if (!plan_command(p, &at, &q))
			return false;
		if (!item->local && !item->unless_nil)
			continue;
		q.out = &p->x->local;
		item->off = sink_len(q.out);
		built_init(&b);
		if (q.cmd->build != NULL) {
			(void)q.cmd->build(&q, &b);
			call_error(&q, "%s", b.error);
		} else {
			(void)q.cmd->run(&q);
		}
		item->len = sink_len(q.out) - item->off;
	}
	return !p->x->local.failed;
}

static void
put_local(const struct exec *x, uint32_t i, struct sink *out)
{
	if (x->item[i].len != 0)
		sink_put(
		    out, x->local.c->data + x->item[i].off, x->item[i].len);
}

/* One answer of the store, in the place of the i-th command. */
static int
put_stored(const struct exec *x, uint32_t i, struct sink *out, unsigned proto,
    const uint8_t **at, const uint8_t *end)
{
	struct value v;

	if (!x->item[i].unless_nil || (*at < end && **at == VAL_NIL))
		return reply_value(out, proto, at, end);
	put_local(x, i, out);
	return value_next(at, end, &v);
}

void
gw_exec_reply(struct exec *x, struct sink *out, unsigned proto,
    const uint8_t *values, size_t n)
{
	const uint8_t *at = values, *end = values + n, *head = values;
	struct value v;
	uint32_t i;

	if (value_next(&at, end, &v) != 0) {
		reply_error(out, "ERR the result of this transaction was lost");
		return;
	}
	if (v.tag != VAL_ARRAY) {
		(void)reply_value(out, proto, &head, end);
		return;
	}
	reply_array(out, x->count);
	for (i = 0; i < x->count; i++) {
		if (x->item[i].local)
			put_local(x, i, out);
		else if (put_stored(x, i, out, proto, &at, end) != 0)
			out->failed = true;
	}
}

/* One pass over the operations, as kv_read() answers them. */
static int
exec_read_pass(struct plan *p, struct sink *out)
{
	struct gateway *g = p->k->g;
	const uint8_t *at = p->payload.data + 8 + p->m->watches.len;
	const uint8_t *v;
	struct op op;
	uint32_t i, n;
	int rc;

	reply_array(out, p->x->count);
	for (i = 0; i < p->x->count; i++) {
		if (p->x->item[i].local) {
			put_local(p->x, i, out);
			continue;
		}
		n = get_le32(at);
		if ((rc = op_decode(at + 4, n, &op)) != 0)
			return rc;
		at += 4 + (size_t)n;
		vbuf_clear(&g->value);
		g->value.error = 0;
		rc = kv_read(g->kv, &op, gw_now_ms(g), &g->value);
		v = g->value.data;
		if (rc == 0)
			rc = put_stored(p->x, i, out, p->k->c->proto, &v,
			    g->value.data + g->value.len);
		if (rc != 0)
			return rc;
		if (sink_len(out) > g->w->conf->listen.max_output)
			return -ENOBUFS; /* it will be closed for it */
	}
	return 0;
}

static enum verdict
exec_append(struct plan *p)
{
	struct call *k = p->k;
	struct request rq = { .type = REC_MULTI,
		.payload = p->payload.data,
		.payload_len = p->payload.len,
		.exec = p->x };
	int rc = gw_write_append(k->g, k->c, &rq);

	if (rc != 0)
		return call_error_done(k, "ERR no memory for this transaction");
	p->x = NULL;
	return VERDICT_DONE;
}

static enum verdict
exec_write(struct plan *p)
{
	struct call *k = p->k;

	if (k->g->w->readonly || !commit_is_master(k->g->r))
		return call_refused(k);
	if (p->payload.len > GW_REQUEST_MAX)
		return call_error_done(k, "ERR request is longer than 1 GiB");
	if (!gw_write_room(k->g)) {
		gw_conn_park(k->g, k->c, PARK_RING);
		return VERDICT_PARKED;
	}
	if (!plan_run_local(p))
		return call_error_done(k, "ERR no memory for this transaction");
	return exec_append(p);
}

/* All passes saw the store change: the log's order settles it. */
static enum verdict
exec_read_settle(struct plan *p)
{
	struct call *k = p->k;

	if (k->g->w->readonly || !commit_is_master(k->g->r) ||
	    !gw_write_room(k->g))
		return call_error_done(
		    k, "ERR the store changes too fast for this transaction");
	return exec_append(p);
}

static enum verdict
exec_read(struct plan *p)
{
	struct call *k = p->k;
	struct sink out = { .pool = &k->g->pool };
	uint64_t before, end_ns = mono_ns() + EXEC_NS;
	unsigned tries;
	int rc;

	if (!plan_run_local(p))
		return call_error_done(k, "ERR no memory for this transaction");
	for (tries = 0; tries < EXEC_TRIES; tries++) {
		before = kv_sequence(k->g->kv);
		if (watch_broken(k->g, p->m)) {
			reply_nil_array(&out, k->c->proto);
			rc = 0;
		} else {
			rc = exec_read_pass(p, &out);
		}
		if (rc == 0 && kv_sequence(k->g->kv) != before)
			rc = -EAGAIN;
		if (rc != -EAGAIN)
			break;
		sink_reset(&out);
		if (mono_ns() > end_ns)
			break;
	}
	if (rc == -EAGAIN)
		return exec_read_settle(p);
	if (rc != 0 && rc != -ENOBUFS) {
		sink_reset(&out);
		return call_error_done(k, "ERR the store cannot be read");
	}
	sink_join(call_out(k), &out);
	return VERDICT_DONE;
}

/* Nothing of the store in it, and nothing watched. */
static enum verdict
exec_local(struct plan *p)
{
	struct sink *out;
	uint32_t i;

	if (!plan_run_local(p))
		return call_error_done(
		    p->k, "ERR no memory for this transaction");
	out = call_out(p->k);
	reply_array(out, p->x->count);
	for (i = 0; i < p->x->count; i++)
		put_local(p->x, i, out);
	return VERDICT_DONE;
}

static enum verdict
exec_run(struct plan *p)
{
	struct call *k = p->k;

	if (p->writes && !p->local_reads)
		return exec_write(p);
	if (p->op_count == 0 && p->m->watch_count == 0 && !p->local_reads)
		return exec_local(p);
	switch (gw_read_ready(k->g, k->c)) {
	case READ_NOW:
		break;
	case READ_PARKED:
		return VERDICT_PARKED;
	case READ_REFUSED:
		return call_refused(k);
	}
	if (p->writes)
		return exec_write(p);
	if (gw_read_begin(k->g) != 0)
		return call_error_done(k, "ERR the store cannot be read");
	return exec_read(p);
}

enum verdict
gw_run_exec(struct call *k)
{
	struct multi *m = k->c->multi;
	struct plan p = { .k = k, .m = m };
	enum verdict v = VERDICT_DONE;

	if (!gw_multi_active(k->c))
		return call_error_done(k, "ERR EXEC without MULTI");
	if (m->spoiled) {
		gw_multi_free(k->c);
		return call_error_done(k,
		    "EXECABORT Transaction discarded because of previous "
		    "errors.");
	}
	p.x = calloc(1, sizeof(*p.x) + m->count * sizeof(p.x->item[0]));
	if (p.x != NULL) {
		p.x->count = m->count;
		p.x->local.pool = &k->g->pool;
	}
	if (p.x == NULL || !plan_make(&p))
		v = call_error_done(k, "ERR no memory for this transaction");
	else
		v = exec_run(&p);
	plan_free(&p);
	if (v != VERDICT_PARKED)
		gw_multi_free(k->c);
	return v;
}
