/*
 * EXEC turns the queued commands of the store into operations: if one of them
 * writes, all of them travel in one record with what WATCH saw, and the store
 * runs or refuses it as one; if none does, they run right here, all as of one
 * moment. Commands that are not of the store are answered here, too, and
 * merged in order. What does not fit into a turn's share of time goes on in
 * the next.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "shm/assert.h"
#include "shm/kv/table.h"
#include "shm/log/record.h"
#include "workers/gateway/cmd/cmd.h"
#include "workers/gateway/exec/job.h"
#include "workers/gateway/exec/transaction.h"

/*
 * What KEYS and RANDOMKEY of one EXEC may cost the store together: keys that
 * are compared, and entries that are gone over, of 0.2 us each.
 */
#define EXEC_KEYS_MAX 100000u
#define EXEC_SPAN_MAX 20000000u
#define EXEC_FAR      "ERR too many keys to walk over inside a transaction"

/* A transaction up to here is looked at within a turn. */
#define LOOK_OPS  4096u
#define LOOK_KEYS 512u
#define LOOK_ARGS 64u

/* EXEC at work. */
struct plan {
	struct job job;
	struct call *k; /* of the present step */
	struct multi *m;
	struct exec *x;
	struct vbuf payload; /* REC_MULTI */
	uint32_t op_count;
	uint64_t need; /* op_need() of all of them */
	uint64_t reach; /* op_reach() without what is copied */
	bool writes;
	bool copies; /* op_copies() */
	enum refuses level; /* the least of gw_write_level() */
	bool local_reads; /* SCAN reads the store from here */
	bool counts; /* DBSIZE is in it */
	uint64_t keys, span; /* of its walks: compared, gone over */
	struct op_arg *argv; /* of the command at hand */
	uint32_t argv_cap, argc; /* argc: filled in so far */
	const uint8_t *arg_at; /* behind those */
	struct built built; /* of the command at hand */
	struct args_copy copy; /* of its arguments, into the payload */
	bool copying;
	struct job *child; /* of a command answered here */
	/* How far it got, if it takes more than one turn. */
	bool made; /* the payload is */
	bool ready; /* it may read */
	bool answered; /* what is not of the store */
	bool last; /* it killed its own client: close after the answer */
	uint32_t next; /* command */
	const uint8_t *at; /* its bytes in the queue or in the payload */
	struct moment moment; /* of all it reads */
	uint64_t size; /* DBSIZE of that moment; UINT64_MAX = not known */
	size_t watch_at;
	bool in_many;
	struct many many; /* the command at hand, if it is a long one */
	struct sink out;
};

static void
plan_free(struct job *job)
{
	struct plan *p = (struct plan *)job;

	gw_job_free(&p->child);
	gw_exec_free(p->x);
	vbuf_free(&p->payload);
	sink_reset(&p->out);
	free(p->argv);
	free(p);
}

static void
plan_size(const struct job *job, size_t *pooled, size_t *plain)
{
	const struct plan *p = (const struct plan *)job;

	*pooled += gw_exec_bytes(p->x) + chunk_bytes(p->out.c);
	*plain +=
	    sizeof(*p) + p->payload.len + p->argv_cap * sizeof(p->argv[0]);
	if (p->child != NULL)
		p->child->size(p->child, pooled, plain);
}

/* Room for argc arguments in p->argv. */
static bool
plan_argv(struct plan *p, uint32_t argc)
{
	struct op_arg *argv;

	if (argc <= p->argv_cap)
		return true;
	if ((argv = realloc(p->argv, argc * sizeof(*argv))) == NULL)
		return false;
	p->argv = argv;
	p->argv_cap = argc;
	return true;
}

/* argc arguments from p->arg_at on. 0, or -EINPROGRESS: the share is over. */
static int
plan_args(struct plan *p, uint32_t argc)
{
	struct op_arg *a;

	while (p->argc < argc) {
		a = &p->argv[p->argc++];
		a->len = get_le32(p->arg_at);
		a->data = p->arg_at + 4;
		p->arg_at += 4 + (size_t)a->len;
		if (p->argc % ARGS_SHARE != 0)
			continue;
		gw_turn_look(p->k->g);
		if (p->k->g->turn_over)
			return -EINPROGRESS;
	}
	return 0;
}

/* The queued command at p->at as a call. 0, -EINPROGRESS, -ENOMEM. */
static int
plan_command(struct plan *p, struct call *q)
{
	uint32_t argc = get_le32(p->at);
	int rc;

	if (!plan_argv(p, argc))
		return -ENOMEM;
	if (p->argc == 0)
		p->arg_at = p->at + 4;
	if ((rc = plan_args(p, argc)) != 0)
		return rc;
	*q = (struct call){ .g = p->k->g,
		.c = p->k->c,
		.cmd = gw_command_find(p->argv[0].data, p->argv[0].len),
		.argc = argc,
		.argv = p->argv,
		.job = &p->child,
		.in_exec = true };
	ASSERT(q->cmd != NULL);
	return 0;
}

/* The next one. */
static void
plan_next(struct plan *p)
{
	p->at += p->x->item[p->next++].queued;
	p->argc = 0;
}

static void
built_init(struct built *b)
{
	b->flags = 0;
	b->early = false;
	b->num = 0;
	b->error[0] = '\0';
}

/* May it? The transaction may make as many keys as it has arguments. */
static void
plan_walk(struct plan *p, struct exec_item *item, const struct built *b)
{
	const struct gateway *g = p->k->g;
	bool first = p->span == 0;

	p->keys += gw_walk_cost(g, p->m->args, b);
	p->span += gw_walk_span(g);
	item->refused =
	    p->keys > EXEC_KEYS_MAX || (p->span > EXEC_SPAN_MAX && !first);
	item->far = b->code == OP_KEYS && !gw_walk_is_short(g, b);
}

/* Is it answered here: not of the store, wrong, or too long a walk? */
static bool
plan_is_local(struct plan *p, const struct call *q, struct exec_item *item,
    struct built *b)
{
	item->head =
	    p->writes && q->cmd->run == gw_run_scan && gw_build_scan(q, b);
	if (q->cmd->build == NULL && !item->head) {
		p->local_reads |= (q->cmd->flags & CMD_READ) != 0;
		return true;
	}
	if (!item->head && !q->cmd->build(q, b))
		return true;
	if (b->code == OP_KEYS || b->code == OP_RANDOMKEY)
		plan_walk(p, item, b);
	return item->refused;
}

/* The operation that was built has room in the payload, and its head. */
static bool
plan_op_begin(struct plan *p)
{
	const struct built *b = &p->built;
	size_t n = op_size(b->argc, b->argv);
	uint8_t *to = vbuf_add(&p->payload, 4 + n);

	if (to == NULL)
		return false;
	put_le32(to, (uint32_t)n);
	p->copy = gw_op_begin(b, to + 4, (size_t)(to + 4 - p->payload.data));
	p->copying = true;
	p->op_count++;
	p->need += op_need(b->code, b->flags, b->num, b->argc, b->argv);
	p->reach += op_reach(b->code, b->num, b->argc, b->argv, 0);
	p->copies |= op_copies(b->code);
	if (op_writes(b->code) &&
	    (!p->writes || gw_write_level(b->code) < p->level))
		p->level = gw_write_level(b->code);
	p->writes |= op_writes(b->code);
	p->counts |= b->code == OP_DBSIZE;
	return true;
}

/* The command at hand: 0, -EINPROGRESS, -ENOMEM. */
static int
plan_make_one(struct plan *p)
{
	struct exec_item *item = &p->x->item[p->next];
	const struct built *b = &p->built;
	struct call q;
	int rc;

	if (!p->copying) {
		if ((rc = plan_command(p, &q)) != 0)
			return rc;
		item->queued = (size_t)(p->arg_at - p->at);
		built_init(&p->built);
		item->local = plan_is_local(p, &q, item, &p->built);
		if (item->local)
			return 0;
		item->unless_nil = b->error[0] != '\0';
		if (!plan_op_begin(p))
			return -ENOMEM;
	}
	if (!gw_args_copy(p->k->g, &p->copy, p->payload.data, b->argc, b->argv))
		return -EINPROGRESS;
	p->copying = false;
	return 0;
}

/*
 * Operations into the payload; which commands are ours to answer. 0,
 * -EINPROGRESS (the next turn goes on), or -ENOMEM.
 */
static int
plan_make(struct plan *p)
{
	struct gateway *g = p->k->g;
	int rc;

	if (p->at == NULL) {
		p->at = p->m->queue.data;
		vbuf_add(&p->payload, 8);
		vbuf_put(&p->payload, p->m->watches.data, p->m->watches.len);
	}
	while (p->next < p->m->count) {
		if ((rc = plan_make_one(p)) != 0)
			return rc;
		plan_next(p);
		gw_turn_work(g, 1);
		if (g->turn_over && p->next < p->m->count)
			return -EINPROGRESS;
	}
	if (p->payload.error != 0)
		return -ENOMEM;
	put_le32(p->payload.data, p->op_count);
	put_le32(p->payload.data + 4, p->m->watch_count);
	p->made = true;
	p->next = 0;
	p->at = p->m->queue.data;
	return 0;
}

/* The answer to the command at hand, in p->x->local; as plan_make_one(). */
static int
plan_answer(struct plan *p, struct exec_item *item)
{
	enum verdict v = VERDICT_DONE;
	struct call q;
	int rc;

	if (!item->local && !item->unless_nil && !item->head)
		return 0;
	if ((rc = plan_command(p, &q)) != 0)
		return rc;
	q.out = &p->x->local;
	if (p->child == NULL)
		item->off = sink_len(q.out);
	if (item->refused) {
		call_error(&q, EXEC_FAR);
	} else if (item->head) {
		reply_array(q.out, 2);
		reply_bulk_int(q.out, 0);
	} else if (q.cmd->build != NULL) {
		built_init(&p->built);
		(void)q.cmd->build(&q, &p->built);
		call_error(&q, "%s", p->built.error);
	} else if (p->child != NULL) {
		v = gw_job_resume(&q);
	} else {
		v = q.cmd->run(&q);
	}
	gw_call_work(&q);
	item->len = sink_len(q.out) - item->off;
	return v == VERDICT_PARKED ? -EINPROGRESS : 0;
}

/*
 * Answer what is ours, once, however often the rest is tried. 0, -EINPROGRESS
 * (the next turn goes on), -ENOBUFS (too long), or -ENOMEM.
 */
static int
plan_run_local(struct plan *p)
{
	struct gateway *g = p->k->g;
	int rc;

	if (p->answered)
		return 0;
	while (p->next < p->m->count) {
		if ((rc = plan_answer(p, &p->x->item[p->next])) != 0)
			return rc;
		plan_next(p);
		if (gw_output_over(&g->io, sink_len(&p->x->local)))
			return -ENOBUFS;
		gw_turn_work(g, 1 + p->x->item[p->next - 1].len / 1024);
		if (g->turn_over && p->next < p->m->count)
			return -EINPROGRESS;
	}
	p->answered = true;
	p->next = 0;
	p->at = NULL;
	/* All that is left of it is in the payload. */
	vbuf_free(&p->m->queue);
	return p->x->local.failed ? -ENOMEM : 0;
}

/* Did a watched key change since? 1, 0, -EAGAIN, -EINPROGRESS. */
static int
exec_watches(struct plan *p)
{
	struct gateway *g = p->k->g;
	struct op_arg key;
	uint64_t vlsn;
	int rc;

	while (gw_watch_next(p->m, &p->watch_at, &vlsn, &key)) {
		rc = kv_changed(
		    g->kv, key.data, key.len, vlsn, p->moment.now_ms);
		/* What cannot be read is not said to be unchanged. */
		if (rc != 0)
			return rc == -EAGAIN ? rc : 1;
		if (gw_moment_over(g, &p->moment, 1))
			return -EINPROGRESS;
	}
	return 0;
}

/*
 * DBSIZE is known of one moment only, the one up to which the store has
 * counted: that has to be ours.
 */
static int
exec_size(struct plan *p)
{
	struct region *r = p->k->g->r;
	uint64_t snap = p->moment.at.snap;

	if (p->size != UINT64_MAX)
		return 0;
	if (position_get(&r->pos->resolved) < snap)
		return -EAGAIN;
	p->size = atomic_load_explicit(&r->table->count, memory_order_acquire);
	if (kv_sequence(p->k->g->kv) == snap << 1)
		return 0;
	p->size = UINT64_MAX;
	return -EAGAIN;
}

/* Of the operation at p->at, which plan_make() has encoded. */
static struct op
exec_op_at(const struct plan *p)
{
	const uint8_t *at = p->at + 4;

	return (struct op){ .code = get_le16(at),
		.flags = get_le16(at + 2),
		.argc = get_le32(at + 4),
		.num = (int64_t)get_le64(at + 8),
		.args = at + OP_HEADER_SIZE,
		.end = at + get_le32(p->at) };
}

/* What of many keys or a long value it reads, which may take turns. */
static bool
exec_is_many(struct plan *p, const struct op *op)
{
	struct many *m = &p->many;

	*m = (struct many){ .count = op->argc };
	if (op->code == OP_MGET)
		m->kind = MANY_VALUES;
	else if (op->code == OP_GET)
		m->kind = MANY_VALUE;
	else if (op->code == OP_GETRANGE)
		m->kind = MANY_RANGE;
	else if (op->code == OP_EXISTS || op->code == OP_TOUCH)
		m->kind = MANY_COUNT;
	else
		return false;
	return !p->x->item[p->next].unless_nil;
}

static int
exec_many(struct plan *p, const struct op *op)
{
	int rc;

	if (!plan_argv(p, op->argc))
		return -ENOMEM;
	if (p->argc == 0)
		p->arg_at = op->args;
	if ((rc = plan_args(p, op->argc)) != 0)
		return rc;
	p->many.argv = p->argv;
	if (p->many.kind == MANY_RANGE) {
		p->many.start = (int64_t)get_le64(p->argv[1].data);
		p->many.end = (int64_t)get_le64(p->argv[2].data);
		p->many.count = 1;
	}
	rc = gw_many_step(
	    p->k->g, &p->moment, &p->many, &p->out, p->k->c->proto);
	if (rc == 0)
		p->argc = 0;
	return rc;
}

/* A GET of which all that matters is whether there is something. */
static int
exec_unless_nil(struct plan *p, const struct op *op)
{
	const uint8_t *at = op->args;
	struct op_arg key = { NULL, 0 };
	struct kv_item item;
	int rc;

	(void)op_arg_next(op, &at, &key);
	rc = kv_get(p->k->g->kv, key.data, key.len, p->moment.now_ms, &item);
	if (rc == -ENOENT)
		reply_nil(&p->out, p->k->c->proto);
	else if (rc == 0)
		(void)gw_exec_local(p->x, p->next, &p->out);
	return rc == -ENOENT ? 0 : rc;
}

/* One operation's answer. */
static int
exec_op(struct plan *p, const struct op *op)
{
	struct gateway *g = p->k->g;
	const uint8_t *v;
	int rc;

	if (op->code == OP_DBSIZE) {
		reply_int(&p->out, (int64_t)p->size);
		return 0;
	}
	if (p->x->item[p->next].unless_nil)
		return exec_unless_nil(p, op);
	vbuf_clear(&g->value);
	rc = kv_read(g->kv, op, p->moment.now_ms, &g->value);
	if (rc == 0)
		rc = g->value.error;
	if (rc != 0)
		return rc;
	v = g->value.data;
	return reply_value(
	    &p->out, p->k->c->proto, &v, g->value.data + g->value.len);
}

static int
exec_item(struct plan *p)
{
	struct op op;
	int rc;

	if (p->x->item[p->next].local) {
		(void)gw_exec_local(p->x, p->next++, &p->out);
		return 0;
	}
	if (p->x->item[p->next].far)
		return -EBUSY;
	op = exec_op_at(p);
	if (!p->in_many)
		p->in_many = exec_is_many(p, &op);
	rc = p->in_many ? exec_many(p, &op) : exec_op(p, &op);
	if (rc != 0)
		return rc;
	p->in_many = false;
	p->at += 4 + (size_t)get_le32(p->at);
	p->next++;
	return 0;
}

/* As far as this turn's share goes. 0: all is in p->out. */
static int
exec_read_go(struct plan *p)
{
	struct gateway *g = p->k->g;
	size_t len;
	int rc;

	/* First: where that fails, nothing has been read in vain. */
	if (p->counts && (rc = exec_size(p)) != 0)
		return rc;
	if ((rc = exec_watches(p)) < 0)
		return rc;
	if (rc == 1) {
		sink_reset(&p->out);
		reply_nil_array(&p->out, p->k->c->proto);
		return 0;
	}
	if (p->at == NULL) {
		p->at = p->payload.data + 8 + p->m->watches.len;
		reply_array(&p->out, p->x->count);
	}
	while (p->next < p->x->count) {
		len = sink_len(&p->out);
		if ((rc = exec_item(p)) != 0)
			return rc;
		len = sink_len(&p->out) - len;
		if (gw_output_over(&g->io, sink_len(&p->out)))
			return -ENOBUFS;
		if (gw_moment_over(g, &p->moment, 1 + len / 1024) &&
		    p->next < p->x->count)
			return -EINPROGRESS;
	}
	return 0;
}

/* From the start, at another moment. */
static void
exec_read_anew(struct plan *p)
{
	sink_reset(&p->out);
	p->watch_at = 0;
	p->at = NULL;
	p->next = 0;
	p->in_many = false;
	p->argc = 0;
	p->size = UINT64_MAX;
}

static enum verdict
exec_stall(struct plan *p)
{
	gw_park_stall(p->k->g, p->k->c, p->payload.len);
	return VERDICT_PARKED;
}

/*
 * What it copies besides, by what its keys hold now; false: more to look at
 * than a turn has time for.
 */
static bool
exec_look(struct plan *p, uint64_t *reach)
{
	struct op_arg argv[LOOK_ARGS];
	struct built b = { .argv = argv };
	unsigned ops = 0, looks = 0;
	const uint8_t *at, *arg;
	struct op_multi m;
	struct op op;

	if (op_multi_decode(p->payload.data, p->payload.len, &m) != 0)
		return false;
	for (at = m.ops; op_multi_next(&m, &at, &op);) {
		looks += op_copies(op.code);
		if (++ops > LOOK_OPS || looks > LOOK_KEYS)
			return false;
		if (!op_writes(op.code))
			continue;
		if (op.argc > LOOK_ARGS) {
			gw_reach_many(p->k->g, &op);
			continue;
		}
		b.code = op.code;
		b.flags = op.flags;
		b.num = op.num;
		arg = op.args;
		for (b.argc = 0; op_arg_next(&op, &arg, &argv[b.argc]);)
			b.argc++;
		*reach += gw_reach_also(p->k->g, &b) -
			  op_reach(b.code, b.num, b.argc, argv, 0);
	}
	gw_turn_work(p->k->g, ops);
	return true;
}

/* As of the request that it will be; no record takes more than its bound. */
static uint64_t
exec_reach(struct plan *p)
{
	uint64_t bound = p->k->g->w->conf->store.max_record, reach = p->reach;

	gw_reach_begin(p->k->g);
	if (p->writes && !exec_look(p, &reach)) {
		gw_reach_unknown(p->k->g, p->copies);
		reach = p->copies ? bound : p->reach;
	}
	return reach < bound ? reach : bound;
}

static enum verdict
exec_append(struct plan *p)
{
	struct call *k = p->k;
	struct request rq = { .type = REC_MULTI,
		.bytes = &p->payload,
		.exec = p->x,
		.level = p->writes ? p->level : REFUSES_ALL,
		.reach = exec_reach(p) };
	int rc = gw_write_append(k->g, k->c, &rq);

	if (rc == -EAGAIN)
		return exec_stall(p);
	if (rc == -ENOSPC)
		return call_full(k, rq.level);
	if (rc != 0)
		return call_error_done(k, "ERR no memory for this transaction");
	p->x = NULL; /* the node's now */
	return VERDICT_DONE;
}

/* Answer what is not of the store. False: *v is to be returned. */
static bool
exec_answer(struct plan *p, enum verdict *v)
{
	int rc = plan_run_local(p);

	if (rc == -EINPROGRESS)
		*v = gw_job_pause(p->k);
	else if (rc == -ENOBUFS)
		*v = call_error_done(p->k, GW_TOO_LONG);
	else if (rc != 0)
		*v =
		    call_error_done(p->k, "ERR no memory for this transaction");
	return rc == 0;
}

static enum verdict
exec_write(struct plan *p)
{
	struct call *k = p->k;
	enum verdict v;

	if (!call_may_write(k))
		return VERDICT_DONE;
	if (p->payload.len > k->g->request_max)
		return call_error_done(k, GW_ASKS_LONG);
	if (p->need > k->g->w->conf->store.max_record)
		return call_too_much(k, p->need);
	if (!gw_write_taken(k->g, p->level))
		return call_full(k, p->level);
	if (!exec_answer(p, &v))
		return v;
	if (!gw_write_room(k->g))
		return exec_stall(p);
	return exec_append(p);
}

/*
 * Moment after moment was lost: the log's order settles it. Or there is far
 * to walk, which holds nobody up in the store.
 */
static enum verdict
exec_read_settle(struct plan *p, bool far)
{
	struct call *k = p->k;

	sink_reset(&p->out);
	if (gw_role_may_write(k->g, NULL) &&
	    p->payload.len <= k->g->request_max) {
		if (gw_write_room(k->g))
			return exec_append(p);
		return exec_stall(p);
	}
	return call_error_done(k, far ? EXEC_FAR
				      : "ERR the store changes too "
					"fast for this transaction");
}

static enum verdict
exec_read(struct plan *p)
{
	struct call *k = p->k;
	enum verdict v;
	int rc;

	if (!exec_answer(p, &v))
		return v;
	rc = gw_moment_begin(k->g, &p->moment);
	if (rc == 0)
		rc = exec_read_go(p);
	gw_moment_end(k->g);
	if (rc == -EAGAIN) {
		exec_read_anew(p);
		if (!gw_moment_lost(&p->moment))
			return exec_read_settle(p, false);
		/* In another turn: what was lost took its time, too. */
		rc = -EINPROGRESS;
	}
	if (rc == -EINPROGRESS)
		return gw_job_pause(k);
	if (rc == -EBUSY)
		return exec_read_settle(p, true);
	if (rc == -ENOBUFS)
		return call_error_done(k, GW_TOO_LONG);
	if (rc == -EIO)
		return gw_run_failed(k, &k->argv[0], rc);
	if (rc == -ENOMEM)
		return call_error_done(k, "ERR no memory for this transaction");
	if (rc != 0)
		return call_error_done(k, "ERR the store cannot be read");
	if (!gw_read_holds(k->g, k->c)) {
		exec_read_anew(p);
		p->moment = (struct moment){ 0 };
		p->ready = false;
		return VERDICT_PARKED;
	}
	call_join(k, &p->out);
	return VERDICT_DONE;
}

/* Nothing of the store in it, and nothing watched. */
static enum verdict
exec_local(struct plan *p)
{
	enum verdict v;

	if (!exec_answer(p, &v))
		return v;
	reply_array(call_out(p->k), p->x->count);
	/* They stand there in order. */
	call_join(p->k, &p->x->local);
	return VERDICT_DONE;
}

static enum verdict
exec_run(struct plan *p)
{
	struct call *k = p->k;
	enum verdict v;
	int rc;

	if (!p->made && (rc = plan_make(p)) != 0)
		return rc == -EINPROGRESS
			   ? gw_job_pause(k)
			   : call_error_done(
				 k, "ERR no memory for this transaction");
	if (p->writes && !p->local_reads)
		return exec_write(p);
	if (p->op_count == 0 && p->m->watch_count == 0 && !p->local_reads)
		return exec_local(p);
	if (!p->ready && !gw_run_read_ready(k, &v))
		return v;
	p->ready = true;
	/* A later turn is in no transaction of its own yet. */
	if (gw_read_begin(k->g) != 0)
		return call_error_done(k, "ERR the store cannot be read");
	return p->writes ? exec_write(p) : exec_read(p);
}

/* A CLIENT KILL in it of its own client waits until it is answered. */
static void
exec_last(struct plan *p, struct conn *c, enum verdict v)
{
	p->last |= (c->flags & CONN_LAST) != 0;
	if (!p->last)
		return;
	if (v == VERDICT_PARKED)
		c->flags &= ~(unsigned)CONN_LAST;
	else
		c->flags |= CONN_LAST;
}

static enum verdict
exec_step(struct call *k, struct job *job)
{
	struct plan *p = (struct plan *)job;
	enum verdict v;

	p->k = k;
	v = exec_run(p);
	exec_last(p, k->c, v);
	if (v != VERDICT_PARKED)
		gw_multi_free(k->c);
	return v;
}

/* NULL without memory. */
static struct plan *
plan_new(struct call *k, struct multi *m)
{
	struct plan *p =
	    gw_job_new(sizeof(*p), exec_step, plan_free, plan_size);

	if (p == NULL)
		return NULL;
	p->m = m;
	p->size = UINT64_MAX;
	p->out.pool = &k->g->io.pool;
	p->x = gw_exec_new(&k->g->io.pool, m->count);
	if (p->x == NULL) {
		plan_free(&p->job);
		return NULL;
	}
	return p;
}

enum verdict
gw_run_exec(struct call *k)
{
	struct multi *m = k->c->multi;
	struct plan *p;

	if (!gw_multi_active(k->c))
		return call_error_done(k, "ERR EXEC without MULTI");
	if (m->spoiled) {
		gw_multi_free(k->c);
		return call_error_done(k,
		    "EXECABORT Transaction discarded because of previous "
		    "errors.");
	}
	if ((p = plan_new(k, m)) != NULL)
		return gw_job_begin(k, &p->job);
	gw_multi_free(k->c);
	return call_error_done(k, "ERR no memory for this transaction");
}
