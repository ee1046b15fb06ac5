/*
 * Reading operations, with the answers Redis 7 gives. Each works on one
 * snapshot: the state after a whole number of records.
 */
#include <errno.h>
#include <sched.h>
#include <string.h>

#include "shm/assert.h"
#include "shm/kv/glob.h"
#include "shm/kv/kv_int.h"
#include "shm/position.h"
#include "shm/region.h"

#define COUNT_WAIT_NS (5 * NS_PER_MS)

struct read {
	struct kv *kv;
	const struct op *op;
	int64_t now_ms;
	struct vbuf *out;
};

/* The key, if it is there and not expired. 0, -ENOENT, or -errno. */
static int
find(struct read *rd, const struct op_arg *key, struct kv_item *item)
{
	enum kv_where where;
	int rc = kv_lookup(rd->kv, key->data, key->len, item, &where);

	if (rc == 0 && kv_expired(item, rd->now_ms))
		return -ENOENT;
	return rc;
}

static struct op_arg
first_arg(const struct op *op)
{
	const uint8_t *at = op->args;
	struct op_arg arg = { NULL, 0 };

	(void)op_arg_next(op, &at, &arg);
	return arg;
}

/* Bytes from..from+n of a value, as a bulk. */
static int
put_value(struct read *rd, const struct kv_item *item, uint64_t from, size_t n)
{
	void *to = value_bulk_reserve(rd->out, n);

	if (to == NULL)
		return -ENOMEM;
	return kv_copy(rd->kv, item, from, n, to);
}

static int
put_key(struct read *rd, const struct op_arg *key)
{
	struct kv_item item;
	int rc = find(rd, key, &item);

	if (rc == -ENOENT) {
		value_nil(rd->out);
		return 0;
	}
	return rc != 0 ? rc : put_value(rd, &item, 0, item.len);
}

static int
read_get(struct read *rd)
{
	struct op_arg key = first_arg(rd->op);

	return put_key(rd, &key);
}

static int
read_mget(struct read *rd)
{
	const uint8_t *at = rd->op->args;
	struct op_arg key;
	int rc = 0;

	value_array(rd->out, rd->op->argc);
	while (rc == 0 && op_arg_next(rd->op, &at, &key))
		rc = put_key(rd, &key);
	return rc;
}

/* EXISTS and TOUCH: a key given twice counts twice. */
static int
read_exists(struct read *rd)
{
	const uint8_t *at = rd->op->args;
	struct kv_item item;
	struct op_arg key;
	int64_t count = 0;
	int rc;

	while (op_arg_next(rd->op, &at, &key)) {
		rc = find(rd, &key, &item);
		if (rc == 0)
			count++;
		else if (rc != -ENOENT)
			return rc;
	}
	value_int(rd->out, count);
	return 0;
}

static int
read_type(struct read *rd)
{
	struct op_arg key = first_arg(rd->op);
	struct kv_item item;
	int rc = find(rd, &key, &item);

	if (rc != 0 && rc != -ENOENT)
		return rc;
	value_status(rd->out, rc == 0 ? "string" : "none");
	return 0;
}

static int
read_strlen(struct read *rd)
{
	struct op_arg key = first_arg(rd->op);
	struct kv_item item;
	int rc = find(rd, &key, &item);

	if (rc != 0 && rc != -ENOENT)
		return rc;
	value_int(rd->out, rc == 0 ? (int64_t)item.len : 0);
	return 0;
}

bool
kv_range(int64_t *start, int64_t *end, int64_t len)
{
	if (*start < 0 && *end < 0 && *start > *end)
		return false;
	/* len is at most 2^32: neither sum can overflow. */
	if (*start < 0)
		*start += len;
	if (*end < 0)
		*end += len;
	if (*start < 0)
		*start = 0;
	if (*end < 0)
		*end = 0;
	if (*end >= len)
		*end = len - 1;
	return len > 0 && *start <= *end;
}

static int
read_getrange(struct read *rd)
{
	const uint8_t *at = rd->op->args;
	struct op_arg key, from, to;
	struct kv_item item;
	int64_t start, end;
	int rc;

	op_arg_next(rd->op, &at, &key);
	op_arg_next(rd->op, &at, &from);
	op_arg_next(rd->op, &at, &to);
	start = (int64_t)get_le64(from.data);
	end = (int64_t)get_le64(to.data);
	rc = find(rd, &key, &item);
	if (rc != 0 && rc != -ENOENT)
		return rc;
	if (rc == -ENOENT || !kv_range(&start, &end, (int64_t)item.len)) {
		value_bulk(rd->out, "", 0);
		return 0;
	}
	return put_value(rd, &item, (uint64_t)start, (size_t)(end - start) + 1);
}

static int64_t
ttl_of(const struct read *rd, const struct kv_item *item)
{
	int64_t ms = item->expire_ms;

	if (ms == 0)
		return -1;
	if (rd->op->code == OP_TTL || rd->op->code == OP_PTTL)
		ms -= rd->now_ms;
	if (rd->op->code == OP_TTL || rd->op->code == OP_EXPIRETIME)
		ms = ms / 1000 + (ms % 1000 >= 500);
	return ms;
}

static int
read_ttl(struct read *rd)
{
	struct op_arg key = first_arg(rd->op);
	struct kv_item item;
	int rc = find(rd, &key, &item);

	if (rc != 0 && rc != -ENOENT)
		return rc;
	value_int(rd->out, rc == 0 ? ttl_of(rd, &item) : -2);
	return 0;
}

/*
 * The store counts right behind apply, mostly within the same millisecond:
 * that is waited for. 0, or -EINPROGRESS if it takes longer.
 */
static int
wait_counted(struct kv *kv)
{
	uint64_t end = 0;

	while (position_get(&kv->r->pos->resolved) < kv->snap) {
		if (end == 0)
			end = mono_ns() + COUNT_WAIT_NS;
		else if (mono_ns() > end)
			return -EINPROGRESS;
		sched_yield();
	}
	return 0;
}

static int
read_dbsize(struct read *rd)
{
	struct kv *kv = rd->kv;
	int rc;

	if (kv->writer == NULL && (rc = wait_counted(kv)) != 0)
		return rc;
	value_int(rd->out,
	    (int64_t)atomic_load_explicit(&kv->t->count, memory_order_acquire));
	return 0;
}

struct keys {
	struct read *rd;
	struct op_arg pattern;
	uint32_t count;
};

static bool
keys_each(void *arg, const void *key, size_t key_len)
{
	struct keys *k = arg;

	if (glob_match(k->pattern.data, k->pattern.len, key, key_len)) {
		value_bulk(k->rd->out, key, key_len);
		k->count++;
	}
	return k->rd->out->error == 0;
}

static int
read_keys(struct read *rd)
{
	struct keys k = { rd, first_arg(rd->op), 0 };
	size_t head = rd->out->len;
	int rc;

	value_array(rd->out, 0);
	rc = kv_each(rd->kv, rd->now_ms, keys_each, &k);
	/* The count is known only now: it stands behind the tag. */
	if (rc == 0 && rd->out->error == 0)
		put_le32(rd->out->data + head + 1, k.count);
	return rc;
}

static int
read_randomkey(struct read *rd)
{
	uint8_t key[KEY_MAX + 1];
	size_t len;
	int rc = kv_random(rd->kv, rd->now_ms, key, &len);

	if (rc == -ENOENT) {
		value_nil(rd->out);
		return 0;
	}
	if (rc == 0)
		value_bulk(rd->out, key, len);
	return rc;
}

static int
read_once(struct read *rd) /* flat dispatch */
{
	switch (rd->op->code) {
	case OP_GET:
		return read_get(rd);
	case OP_MGET:
		return read_mget(rd);
	case OP_EXISTS:
	case OP_TOUCH:
		return read_exists(rd);
	case OP_TYPE:
		return read_type(rd);
	case OP_STRLEN:
		return read_strlen(rd);
	case OP_GETRANGE:
		return read_getrange(rd);
	case OP_PTTL:
	case OP_TTL:
	case OP_PEXPIRETIME:
	case OP_EXPIRETIME:
		return read_ttl(rd);
	case OP_DBSIZE:
		return read_dbsize(rd);
	case OP_KEYS:
		return read_keys(rd);
	case OP_RANDOMKEY:
		return read_randomkey(rd);
	default:
		return -EINVAL;
	}
}

int
kv_read(struct kv *kv, const struct op *op, int64_t now_ms, struct vbuf *out)
{
	struct read rd = { kv, op, now_ms, out };
	bool own = !kv->in;
	size_t start = out->len;
	int rc, tries;

	ASSERT(!op_writes(op->code));
	if (own && (rc = kv_begin(kv)) != 0)
		return rc;
	for (tries = 0; tries < KV_TRIES; tries++) {
		rc = kv_refresh(kv);
		if (rc == 0)
			rc = read_once(&rd);
		if (rc == 0)
			rc = out->error;
		if (rc != -EAGAIN || kv->held)
			break;
		/* A FLUSHALL came in between: once more, after it. */
		out->len = start;
	}
	if (rc == -EINPROGRESS)
		rc = -EAGAIN;
	if (rc != 0 && out->error == 0)
		out->len = start;
	if (own)
		kv_end(kv);
	return rc;
}
