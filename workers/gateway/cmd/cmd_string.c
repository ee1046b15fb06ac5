/*
 * String commands. GET and SET are the hot ones and run on their own paths;
 * the others turn into an operation and go gw_run_op()'s way.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "shm/assert.h"
#include "shm/kv/table.h"
#include "shm/log/record.h"
#include "shm/say.h"
#include "workers/gateway/cmd/cmd.h"
#include "workers/gateway/exec/job.h"

/* A longer value is copied in shares of a turn. */
#define VALUE_AT_ONCE (64u * 1024)

/* Relative or absolute, in seconds or milliseconds. */
enum unit { UNIT_S, UNIT_MS, UNIT_AT_S, UNIT_AT_MS };

static bool
build_expiry(const struct call *k, struct built *b, const struct op_arg *arg,
    enum unit unit)
{
	bool seconds = unit == UNIT_S || unit == UNIT_AT_S;
	bool relative = unit == UNIT_S || unit == UNIT_MS;
	int64_t at, now = relative ? gw_now_ms(k->g) : 0;

	if (!arg_i64(arg, &at))
		return build_error(
		    b, "ERR value is not an integer or out of range");
	if (at <= 0 || (seconds && at > INT64_MAX / 1000) ||
	    (seconds ? at * 1000 : at) > INT64_MAX - now)
		return build_error(
		    b, "ERR invalid expire time in '%s' command", k->cmd->name);
	b->num = (seconds ? at * 1000 : at) + now;
	return true;
}

/* ---- SET and its kin ---- */

struct set_options {
	const struct op_arg *expiry, *ifeq;
	enum unit unit;
};

/*
 * Is it the word before a time? It may stand there twice, and the last time
 * counts; a second one of another unit is none.
 */
static bool
expiry_option(const struct op_arg *word, const struct op_arg *const *expiry,
    enum unit *unit)
{
	static const struct {
		const char *word;
		enum unit unit;
	} words[] = { { "ex", UNIT_S }, { "px", UNIT_MS },
		{ "exat", UNIT_AT_S }, { "pxat", UNIT_AT_MS } };
	unsigned i;

	for (i = 0; i < NITEMS(words); i++) {
		if (!arg_is(word, words[i].word))
			continue;
		if (*expiry != NULL && *unit != words[i].unit)
			return false;
		*unit = words[i].unit;
		return true;
	}
	return false;
}

static uint16_t
set_flag_option(const struct op_arg *word)
{
	if (arg_is(word, "nx"))
		return OPF_NX;
	if (arg_is(word, "xx"))
		return OPF_XX;
	if (arg_is(word, "get"))
		return OPF_GET;
	if (arg_is(word, "keepttl"))
		return OPF_KEEPTTL;
	return 0;
}

static bool
set_parse(const struct call *k, struct built *b, struct set_options *o)
{
	uint16_t flag;
	uint32_t i;

	for (i = 3; i < k->argc; i++) {
		const struct op_arg *word = &k->argv[i];
		bool more = i + 1 < k->argc;

		if ((flag = set_flag_option(word)) != 0) {
			b->flags |= flag;
		} else if (more && expiry_option(word, &o->expiry, &o->unit)) {
			o->expiry = &k->argv[++i];
		} else if (more && o->ifeq == NULL && arg_is(word, "ifeq")) {
			b->flags |= OPF_IFEQ;
			o->ifeq = &k->argv[++i];
		} else {
			return build_syntax(b);
		}
	}
	if ((b->flags & (OPF_NX | OPF_XX)) == (OPF_NX | OPF_XX) ||
	    ((b->flags & OPF_KEEPTTL) != 0 && o->expiry != NULL) ||
	    (o->ifeq != NULL && (b->flags & (OPF_NX | OPF_XX)) != 0))
		return build_syntax(b);
	return true;
}

bool
gw_build_set(const struct call *k, struct built *b)
{
	struct set_options o = { 0 };

	b->code = OP_SET;
	b->argc = 2;
	b->argv = k->argv + 1;
	if (k->argc > 3 && !set_parse(k, b, &o))
		return false;
	if (!build_key(b, &k->argv[1]) || !build_value(k, b, &k->argv[2]))
		return false;
	if (o.expiry != NULL && !build_expiry(k, b, o.expiry, o.unit))
		return false;
	if (o.ifeq != NULL) {
		b->own[0] = k->argv[1];
		b->own[1] = k->argv[2];
		b->own[2] = *o.ifeq;
		b->argc = 3;
		b->argv = b->own;
	}
	b->early = b->flags == 0;
	return true;
}

bool
gw_build_setex(const struct call *k, struct built *b)
{
	enum unit unit = k->cmd->name[0] == 'p' ? UNIT_MS : UNIT_S;

	if (!build_key(b, &k->argv[1]) || !build_value(k, b, &k->argv[3]) ||
	    !build_expiry(k, b, &k->argv[2], unit))
		return false;
	b->code = OP_SET;
	b->own[0] = k->argv[1];
	b->own[1] = k->argv[3];
	b->argc = 2;
	b->argv = b->own;
	b->early = true;
	return true;
}

/* code, with the key and value that the command has as its arguments. */
static bool
build_key_value(const struct call *k, struct built *b, uint16_t code)
{
	b->code = code;
	b->argc = 2;
	b->argv = k->argv + 1;
	return build_key(b, &k->argv[1]) && build_value(k, b, &k->argv[2]);
}

bool
gw_build_setnx(const struct call *k, struct built *b)
{
	return build_key_value(k, b, OP_SETNX);
}

bool
gw_build_getset(const struct call *k, struct built *b)
{
	return build_key_value(k, b, OP_GETSET);
}

bool
gw_build_append(const struct call *k, struct built *b)
{
	/* The record says how long it may grow: the same on every node. */
	b->num = (int64_t)k->g->w->conf->store.max_value;
	return build_key_value(k, b, OP_APPEND);
}

bool
gw_build_mset(const struct call *k, struct built *b)
{
	bool nx = k->cmd->name[4] != '\0';
	uint32_t i;

	if (k->argc % 2 == 0)
		return build_error(b,
		    "ERR wrong number of arguments for '%s' command",
		    k->cmd->name);
	for (i = 1; i < k->argc; i += 2)
		if (!build_key(b, &k->argv[i]) ||
		    !build_value(k, b, &k->argv[i + 1]))
			return false;
	b->code = nx ? OP_MSETNX : OP_MSET;
	b->argc = k->argc - 1;
	b->argv = k->argv + 1;
	b->early = !nx;
	return true;
}

static bool
build_key_only(const struct call *k, struct built *b, uint16_t code)
{
	b->code = code;
	b->argc = 1;
	b->argv = k->argv + 1;
	return build_key(b, &k->argv[1]);
}

bool
gw_build_getdel(const struct call *k, struct built *b)
{
	return build_key_only(k, b, OP_GETDEL);
}

bool
gw_build_get(const struct call *k, struct built *b)
{
	b->code = OP_GET;
	b->argc = 1;
	b->argv = k->argv + 1;
	return build_read_key(k, b, &k->argv[1]);
}

bool
gw_build_getex(const struct call *k, struct built *b)
{
	const struct op_arg *expiry = NULL;
	bool persist = false;
	enum unit unit = UNIT_S;
	uint32_t i;

	for (i = 2; i < k->argc; i++) {
		if (i + 1 < k->argc &&
		    expiry_option(&k->argv[i], &expiry, &unit))
			expiry = &k->argv[++i];
		else if (arg_is(&k->argv[i], "persist"))
			persist = true;
		else
			return build_syntax(b);
	}
	if (persist && expiry != NULL)
		return build_syntax(b);
	/* Without an option it changes nothing: a GET. */
	if (!persist && expiry == NULL)
		return gw_build_get(k, b);
	if (persist)
		b->flags = OPF_PERSIST;
	if (!build_key_only(k, b, OP_GETEX))
		return false;
	/* Who has no such key is not told of a wrong time. */
	if (expiry != NULL && !build_expiry(k, b, expiry, unit))
		b->code = OP_GET;
	return true;
}

bool
gw_build_incr(const struct call *k, struct built *b)
{
	b->num = k->cmd->name[0] == 'i' ? 1 : -1;
	return build_key_only(k, b, OP_INCRBY);
}

bool
gw_build_incrby(const struct call *k, struct built *b)
{
	if (!arg_i64(&k->argv[2], &b->num))
		return build_error(
		    b, "ERR value is not an integer or out of range");
	if (k->cmd->name[0] == 'd') {
		if (b->num == INT64_MIN)
			return build_error(b, "ERR decrement would overflow");
		b->num = -b->num;
	}
	return build_key_only(k, b, OP_INCRBY);
}

bool
gw_build_incrbyfloat(const struct call *k, struct built *b)
{
	long double by;

	if (!arg_double(&k->argv[2], &by))
		return build_error(b, "ERR value is not a valid float");
	if (__builtin_isinf(by))
		return build_error(
		    b, "ERR increment would produce NaN or Infinity");
	return build_key_value(k, b, OP_INCRBYFLOAT);
}

bool
gw_build_setrange(const struct call *k, struct built *b)
{
	uint64_t max = k->g->w->conf->store.max_value;

	if (!arg_i64(&k->argv[2], &b->num))
		return build_error(
		    b, "ERR value is not an integer or out of range");
	if (b->num < 0)
		return build_error(b, "ERR offset is out of range");
	if (!build_key(b, &k->argv[1]))
		return false;
	if (k->argv[3].len != 0 &&
	    ((uint64_t)b->num > max || k->argv[3].len > max - (uint64_t)b->num))
		return build_error(b, "ERR string exceeds maximum allowed "
				      "size (proto-max-bulk-len)");
	b->code = OP_SETRANGE;
	b->own[0] = k->argv[1];
	b->own[1] = k->argv[3];
	b->argc = 2;
	b->argv = b->own;
	return true;
}

bool
gw_build_getrange(const struct call *k, struct built *b)
{
	int64_t start, end;

	if (!arg_i64(&k->argv[2], &start) || !arg_i64(&k->argv[3], &end))
		return build_error(
		    b, "ERR value is not an integer or out of range");
	put_le64(b->bytes, (uint64_t)start);
	put_le64(b->bytes + 8, (uint64_t)end);
	b->code = OP_GETRANGE;
	b->own[0] = k->argv[1];
	b->own[1] = (struct op_arg){ b->bytes, 8 };
	b->own[2] = (struct op_arg){ b->bytes + 8, 8 };
	b->argc = 3;
	b->argv = b->own;
	return build_read_key(k, b, &k->argv[1]);
}

bool
gw_build_mget(const struct call *k, struct built *b)
{
	uint32_t i;

	for (i = 1; i < k->argc; i++)
		if (!build_read_key(k, b, &k->argv[i]))
			return false;
	b->code = OP_MGET;
	b->argc = k->argc - 1;
	b->argv = k->argv + 1;
	return true;
}

/* ---- running them ---- */

/* Bytes of its arguments and what stands between them. */
static size_t
call_span(const struct call *k)
{
	const struct op_arg *last = &k->argv[k->argc - 1];

	return (size_t)(last->data + last->len - k->argv[0].data);
}

static enum verdict
run_parked(struct call *k, int rc, enum refuses level)
{
	if (rc == -ENOSPC)
		return call_full(k, level);
	if (rc != -EAGAIN)
		return call_error_done(k, "ERR no memory for this request");
	gw_park_stall(k->g, k->c, call_span(k));
	return VERDICT_PARKED;
}

/* A write whose request is long: it is made in shares of a turn. */
struct write_job {
	struct job job;
	bool begun;
	struct built built;
	struct args_copy copy;
	struct vbuf bytes;
};

static void
write_free(struct job *job)
{
	struct write_job *j = (struct write_job *)job;

	vbuf_free(&j->bytes);
	free(j);
}

static void
write_size(const struct job *job, size_t *pooled, size_t *plain)
{
	const struct write_job *j = (const struct write_job *)job;

	(void)pooled;
	*plain += sizeof(*j) + j->bytes.len;
}

/* Has the store room for what it adds? Else that is answered. */
static bool
write_has_room(struct call *k, const struct built *b)
{
	enum refuses level = gw_write_level(b->code);

	if (gw_write_taken(k->g, level))
		return true;
	(void)call_full(k, level);
	return false;
}

/* Not more than one record can hold? Else that is answered. */
static bool
write_fits(struct call *k, const struct built *b)
{
	uint64_t need;

	if (op_size(b->argc, b->argv) > k->g->request_max) {
		call_error(k, GW_ASKS_LONG);
		return false;
	}
	need = op_need(b->code, b->flags, b->num, b->argc, b->argv);
	if (need <= k->g->w->conf->store.max_record)
		return true;
	(void)call_too_much(k, need);
	return false;
}

/* The operation, with room for its arguments. False: answered. */
static bool
write_build(struct call *k, struct write_job *j)
{
	struct built *b = &j->built;
	uint8_t *at;

	if (!gw_input_pin(k->c, k->argc, &k->argv)) {
		call_error(k, "ERR no memory for this request");
		return false;
	}
	if (!k->cmd->build(k, b)) {
		call_error(k, "%s", b->error);
		return false;
	}
	if (!write_fits(k, b) || !write_has_room(k, b))
		return false;
	at = vbuf_add(&j->bytes, op_size(b->argc, b->argv));
	if (at == NULL) {
		call_error(k, "ERR no memory for this request");
		return false;
	}
	j->copy = gw_op_begin(b, at, 0);
	j->begun = true;
	gw_turn_look(k->g);
	return true;
}

/* As gw_write_level(), of what is not built yet: not below it. */
static enum refuses
level_before(const struct command *cmd)
{
	return (cmd->flags & CMD_DENYOOM) != 0 ? REFUSES_GROWTH
					       : REFUSES_DELETES;
}

static enum verdict
write_step(struct call *k, struct job *job)
{
	struct write_job *j = (struct write_job *)job;
	struct built *b = &j->built;
	struct request rq = { .type = REC_OP, .bytes = &j->bytes };
	size_t span = call_span(k);
	int rc;

	/* Where it cannot be written it waits for nothing. */
	if (!call_may_write(k))
		return VERDICT_DONE;
	/* It is held twice from then on: not while it cannot go on. */
	if (!j->begun &&
	    !gw_write_may_make(k->g, k->c, span, level_before(k->cmd))) {
		gw_park_stall(k->g, k->c, span);
		return VERDICT_PARKED;
	}
	if (!j->begun && !write_build(k, j))
		return VERDICT_DONE;
	if (k->g->turn_over ||
	    !gw_args_copy(k->g, &j->copy, j->bytes.data, b->argc, b->argv)) {
		gw_write_makes(k->g, k->c, span);
		return gw_job_pause(k);
	}
	gw_write_makes(k->g, k->c, 0);
	if (!write_has_room(k, b))
		return VERDICT_DONE;
	rq.early = b->early;
	rq.level = gw_write_level(b->code);
	rq.reach = gw_reach_of(k->g, b);
	rc = gw_write_append(k->g, k->c, &rq);
	return rc == 0 ? VERDICT_DONE : run_parked(k, rc, rq.level);
}

static enum verdict
write_begin(struct call *k)
{
	struct write_job *j =
	    gw_job_new(sizeof(*j), write_step, write_free, write_size);

	if (j == NULL)
		return call_error_done(k, "ERR no memory for this request");
	return gw_job_begin(k, &j->job);
}

static enum verdict
run_write(struct call *k, const struct built *b)
{
	struct request rq = { .type = REC_OP,
		.early = b->early,
		.code = b->code,
		.flags = b->flags,
		.num = b->num,
		.argc = b->argc,
		.argv = b->argv,
		.level = gw_write_level(b->code) };
	int rc;

	if (!call_may_write(k) || !write_fits(k, b) || !write_has_room(k, b))
		return VERDICT_DONE;
	rq.reach = gw_reach_of(k->g, b);
	rc = gw_write_append(k->g, k->c, &rq);
	return rc == 0 ? VERDICT_DONE : run_parked(k, rc, rq.level);
}

/* All that it has seen of this node may be of another past. */
static enum verdict
read_lost(struct call *k)
{
	char token[GW_TOKEN_MAX];

	gw_token_put(k->g, k->c->last_term, k->c->last_vlsn, token);
	call_error(k,
	    "UNKNOWNOUTCOME a write of this connection was answered, and this "
	    "node was no master any more before it was committed: it may be "
	    "lost, so this connection is closed: token %s",
	    token);
	k->c->flags |= CONN_LAST;
	gw_conn_dirty(&k->g->io, k->c);
	return VERDICT_DONE;
}

bool
gw_run_may_read(struct call *k, enum verdict *v)
{
	switch (gw_read_ready(k->g, k->c)) {
	case READ_NOW:
		return true;
	case READ_PARKED:
		*v = VERDICT_PARKED;
		return false;
	case READ_REFUSED:
		*v = call_refused(k);
		return false;
	case READ_HOPELESS:
		*v = call_error_done(k,
		    "ERR what was written is not applied yet, as no checkpoint "
		    "makes room for it; see nodelifectl status");
		return false;
	case READ_LOST:
		*v = read_lost(k);
		return false;
	case READ_UNCONFIRMED:
		*v = call_error_done(k,
		    "NOMASTER this node is master, but no quorum has confirmed "
		    "it for so long that another may be");
		return false;
	}
	fatalx("a read is neither now nor later");
}

bool
gw_run_read_ready(struct call *k, enum verdict *v)
{
	if (!gw_run_may_read(k, v))
		return false;
	if (gw_read_begin(k->g) == 0)
		return true;
	*v = call_error_done(k, "ERR the store cannot be read");
	return false;
}

enum verdict
gw_run_failed(struct call *k, const struct op_arg *key, int rc)
{
	if (rc == -ENOMEM)
		return call_error_done(k, "ERR no memory for this reply");
	if (rc == -EIO) {
		/* For all to see, as long as it lasts. */
		position_set(&k->g->r->pos->unreadable, mono_ns());
		bell_ring(&k->g->w->bells, SLOT_STORE);
	}
	if (rc != -EBADMSG) {
		call_error(
		    k, "ERR the store cannot be read: %s", strerror(-rc));
		return VERDICT_DONE;
	}
	event_add(k->g->r, k->g->slot, EVENT_ERROR,
	    "store: the value of key \"%.*s\" is damaged",
	    key->len < 64 ? (int)key->len : 64, (const char *)key->data);
	return call_error_done(k, "ERR the stored value is damaged");
}

/* An operation as kv_read() takes it; its bytes are in g->scratch. */
static bool
op_of(struct gateway *g, const struct built *b, struct op *op)
{
	size_t n = op_size(b->argc, b->argv);
	uint8_t *at;

	vbuf_clear(&g->scratch);
	if ((at = vbuf_add(&g->scratch, n)) == NULL)
		return false;
	op_encode(at, b->code, b->flags, b->num, b->argc, b->argv);
	*op = (struct op){ .code = b->code,
		.flags = b->flags,
		.argc = b->argc,
		.num = b->num,
		.args = at + OP_HEADER_SIZE,
		.end = at + n };
	return true;
}

static void
count_lookups(struct gateway *g, const struct built *b, const uint8_t *value)
{
	if (b->code != OP_GET)
		return;
	g->n_hits += value[0] != VAL_NIL;
	g->n_misses += value[0] == VAL_NIL;
}

/*
 * The store counts a little behind apply. How far it must have got is fixed
 * when the command arrives, so under whatever load that ends; and nobody else
 * waits for it meanwhile.
 */
static enum verdict
run_dbsize(struct call *k)
{
	struct region *r = k->g->r;

	if (position_get(&r->pos->resolved) < k->c->wait_vlsn) {
		k->c->flags |= CONN_INDEX;
		gw_park(k->g, k->c, PARK_COUNT);
		return VERDICT_PARKED;
	}
	if (!gw_read_holds(k->g, k->c))
		return VERDICT_PARKED;
	/* After `resolved`: the count is published first. */
	reply_int(call_out(k), (int64_t)atomic_load_explicit(
				   &r->table->count, memory_order_acquire));
	return VERDICT_DONE;
}

static enum verdict
run_read(struct call *k, const struct built *b)
{
	static const struct op_arg none = { (const uint8_t *)"", 0 };
	struct gateway *g = k->g;
	const uint8_t *at;
	enum verdict v;
	struct op op;
	int rc = -ENOMEM;

	if (!gw_run_read_ready(k, &v))
		return v;
	if (b->code == OP_DBSIZE)
		return run_dbsize(k);
	vbuf_clear(&g->value);
	g->value.error = g->scratch.error = 0;
	if (op_of(g, b, &op))
		rc = kv_read(g->kv, &op, gw_now_ms(g), &g->value);
	if (rc == 0)
		rc = g->value.error;
	if (rc == -EBUSY)
		return gw_walk_begin(k, b->code == OP_RANDOMKEY);
	if (rc != 0)
		return gw_run_failed(k, b->argc != 0 ? &b->argv[0] : &none, rc);
	if (!gw_read_holds(g, k->c))
		return VERDICT_PARKED;
	at = g->value.data;
	gw_turn_read(g, g->value.len / 1024 + gw_walk_cost(g, 0, b));
	count_lookups(g, b, at);
	if (b->error[0] != '\0' && at[0] != VAL_NIL)
		return call_error_done(k, b->error);
	if (reply_value(call_out(k), k->c->proto, &at,
		g->value.data + g->value.len) != 0)
		return call_error_done(k, "ERR the store gave no answer");
	return VERDICT_DONE;
}

enum verdict
gw_run_op(struct call *k)
{
	struct built b;

	if ((k->cmd->flags & CMD_WRITE) != 0 && gw_is_long(k->argc, k->argv))
		return write_begin(k);
	/* Not all of it: the arrays are filled where they are used. */
	b.flags = 0;
	b.early = false;
	b.num = 0;
	b.error[0] = '\0';
	if (!k->cmd->build(k, &b))
		return call_error_done(k, b.error);
	return op_writes(b.code) ? run_write(k, &b) : run_read(k, &b);
}

enum verdict
gw_run_set(struct call *k)
{
	struct request rq = { .type = REC_OP,
		.early = true,
		.code = OP_SET,
		.argc = 2,
		.argv = k->argv + 1,
		.level = REFUSES_GROWTH };
	int rc;

	if (k->argc != 3 || k->argv[1].len > KEY_MAX ||
	    k->argv[2].len > k->g->w->conf->store.max_value ||
	    k->argv[2].len > LONG_REQUEST || !gw_role_may_write(k->g, NULL) ||
	    !gw_write_taken(k->g, REFUSES_GROWTH))
		return gw_run_op(k);
	rq.reach = gw_reach_set(k->g, rq.argv);
	rc = gw_write_append(k->g, k->c, &rq);
	return rc == 0 ? VERDICT_DONE : run_parked(k, rc, rq.level);
}

enum verdict
gw_run_get(struct call *k)
{
	struct gateway *g = k->g;
	struct kv_item item;
	enum verdict v;
	int rc;

	if (!gw_run_read_ready(k, &v))
		return v;
	rc =
	    kv_get(g->kv, k->argv[1].data, k->argv[1].len, gw_now_ms(g), &item);
	gw_turn_read(g, 0);
	if (rc == 0 && (item.data == NULL || item.len > VALUE_AT_ONCE))
		return gw_many_begin(
		    k, &(struct many){ .kind = MANY_VALUE, .count = 1 });
	if ((rc == 0 || rc == -ENOENT) && !gw_read_holds(g, k->c))
		return VERDICT_PARKED;
	if (rc == -ENOENT) {
		g->n_misses++;
		reply_nil(call_out(k), k->c->proto);
		return VERDICT_DONE;
	}
	if (rc != 0)
		return gw_run_failed(k, &k->argv[1], rc);
	g->n_hits++;
	gw_turn_work(g, item.len / 1024);
	reply_bulk(call_out(k), item.data, item.len);
	return VERDICT_DONE;
}

enum verdict
gw_run_getrange(struct call *k)
{
	struct many m = { .kind = MANY_RANGE, .count = 1 };
	enum verdict v;

	if (!arg_i64(&k->argv[2], &m.start) || !arg_i64(&k->argv[3], &m.end))
		return call_error_done(
		    k, "ERR value is not an integer or out of range");
	if (!gw_run_read_ready(k, &v))
		return v;
	return gw_many_begin(k, &m);
}
