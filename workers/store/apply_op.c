/*
 * The writing operations, one function each, with the semantics and the texts
 * of Redis 7. An expired key counts as missing; the record that deletes it
 * may come later. Each returns 0, -EFBIG or -ENOSPC (see apply_ask()), having
 * changed nothing, or -errno.
 */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "shm/assert.h"
#include "workers/store/apply.h"

static const char too_long[] =
    "ERR string exceeds maximum allowed size (proto-max-bulk-len)";

static struct op_arg
arg_at(const struct op *op, unsigned index)
{
	const uint8_t *at = op->args;
	struct op_arg arg = { NULL, 0 };
	unsigned i;

	for (i = 0; i <= index; i++)
		if (!op_arg_next(op, &at, &arg))
			ASSERT(!"op_decode() has checked the count");
	return arg;
}

/* An expiry that is over already: the key is to go instead. */
static bool
already_over(const struct apply *a, int64_t at_ms)
{
	return at_ms <= a->time_ms;
}

/* An expired key that is still there goes with what replaces it. */
static int
drop_if_there(struct apply *a, const struct apply_key *k)
{
	return k->existed ? apply_delete(a, k) : 0;
}

static int
set_or_drop(struct apply *a, const struct op_arg *key, struct apply_key *k,
    const struct op_arg *value, int64_t expire_ms)
{
	int rc;

	if (expire_ms == 0 || !already_over(a, expire_ms))
		return apply_set(a, k, value->data, value->len, expire_ms);
	/* Whether there is something to delete must be known. */
	if (!k->known && (rc = apply_find(a, key, true, k)) != 0)
		return rc;
	return drop_if_there(a, k);
}

/* ---- SET and its kin ---- */

/* IFEQ: is the value the one that was given? 1, 0, -errno. */
static int
value_equals(
    struct apply *a, const struct apply_key *k, const struct op_arg *want)
{
	uint8_t part[4096];
	uint64_t at;
	size_t n;
	int rc;

	if (!k->live || k->item.len != want->len)
		return 0;
	for (at = 0; at < want->len; at += n) {
		n = want->len - at < sizeof(part) ? want->len - at
						  : sizeof(part);
		rc = kv_copy(a->kv, &k->item, at, n, part);
		if (rc != 0)
			return rc;
		if (memcmp(part, want->data + at, n) != 0)
			return 0;
	}
	return 1;
}

/* Do NX, XX and IFEQ allow it? 1, 0, -errno. */
static int
set_allowed(struct apply *a, const struct op *op, const struct apply_key *k)
{
	struct op_arg want;

	if ((op->flags & OPF_NX) != 0 && k->live)
		return 0;
	if ((op->flags & OPF_XX) != 0 && !k->live)
		return 0;
	if ((op->flags & OPF_IFEQ) == 0)
		return 1;
	want = arg_at(op, 2);
	return value_equals(a, k, &want);
}

static int
op_set(struct apply *a, const struct op *op)
{
	struct op_arg key = arg_at(op, 0), value = arg_at(op, 1);
	struct apply_key k;
	int64_t expire_ms = op->num;
	int rc, allowed;

	rc = apply_find(a, &key, op->flags != 0, &k);
	if (rc != 0)
		return rc;
	allowed = set_allowed(a, op, &k);
	if (allowed < 0)
		return allowed;
	if ((op->flags & OPF_GET) != 0 && (rc = apply_reply_value(a, &k)) != 0)
		return rc;
	if (allowed == 1) {
		if ((op->flags & OPF_KEEPTTL) != 0 && k.live)
			expire_ms = k.item.expire_ms;
		rc = set_or_drop(a, &key, &k, &value, expire_ms);
	}
	if ((op->flags & OPF_GET) != 0 || rc != 0)
		return rc;
	if (allowed == 1)
		value_ok(a->out);
	else
		value_nil(a->out);
	return 0;
}

static int
op_setnx(struct apply *a, const struct op *op)
{
	struct op_arg key = arg_at(op, 0), value = arg_at(op, 1);
	struct apply_key k;
	int rc = apply_find(a, &key, true, &k);

	if (rc == 0 && !k.live)
		rc = apply_set(a, &k, value.data, value.len, 0);
	if (rc == 0)
		value_int(a->out, k.live ? 0 : 1);
	return rc;
}

/* All pairs, or none if they would be too much. */
static int
set_pairs(struct apply *a, const struct op *op)
{
	const uint8_t *at = op->args;
	struct op_arg key, value;
	struct apply_key k;
	int rc = 0;

	while (rc == 0 && op_arg_next(op, &at, &key) &&
	       op_arg_next(op, &at, &value))
		rc = apply_ask(a, &key, value.len);
	at = op->args;
	while (rc == 0 && op_arg_next(op, &at, &key) &&
	       op_arg_next(op, &at, &value)) {
		rc = apply_find(a, &key, false, &k);
		if (rc == 0)
			rc = apply_set(a, &k, value.data, value.len, 0);
	}
	return rc;
}

static int
op_mset(struct apply *a, const struct op *op)
{
	int rc = set_pairs(a, op);

	if (rc == 0)
		value_ok(a->out);
	return rc;
}

static int
op_msetnx(struct apply *a, const struct op *op)
{
	const uint8_t *at = op->args;
	struct op_arg key, value;
	struct apply_key k;
	int rc;

	while (op_arg_next(op, &at, &key) && op_arg_next(op, &at, &value)) {
		rc = apply_find(a, &key, true, &k);
		if (rc != 0)
			return rc;
		if (k.live) {
			value_int(a->out, 0);
			return 0;
		}
	}
	rc = set_pairs(a, op);
	if (rc == 0)
		value_int(a->out, 1);
	return rc;
}

/* ---- get and change ---- */

static int
op_getset(struct apply *a, const struct op *op)
{
	struct op_arg key = arg_at(op, 0), value = arg_at(op, 1);
	struct apply_key k;
	int rc = apply_find(a, &key, true, &k);

	if (rc == 0)
		rc = apply_reply_value(a, &k);
	if (rc == 0)
		rc = apply_set(a, &k, value.data, value.len, 0);
	return rc;
}

static int
op_getdel(struct apply *a, const struct op *op)
{
	struct op_arg key = arg_at(op, 0);
	struct apply_key k;
	int rc = apply_find(a, &key, true, &k);

	if (rc == 0)
		rc = apply_reply_value(a, &k);
	if (rc == 0 && k.live)
		rc = apply_delete(a, &k);
	return rc;
}

/* The same value with another expiry. */
static int
change_expiry(struct apply *a, const struct apply_key *k, int64_t expire_ms)
{
	struct table_entry *e;
	uint8_t *to;
	int rc = apply_put(a, k, k->item.len, expire_ms, &to, &e);

	if (rc == 0)
		rc = kv_copy(a->kv, &k->item, 0, k->item.len, to);
	if (rc == 0)
		apply_put_end(a, k, e);
	return rc;
}

static int
op_getex(struct apply *a, const struct op *op)
{
	struct op_arg key = arg_at(op, 0);
	struct apply_key k;
	int rc = apply_find(a, &key, true, &k);

	if (rc == 0)
		rc = apply_reply_value(a, &k);
	if (rc != 0 || !k.live)
		return rc;
	if ((op->flags & OPF_PERSIST) != 0) {
		if (k.item.expire_ms != 0)
			rc = change_expiry(a, &k, 0);
	} else if (op->num != 0) {
		rc = already_over(a, op->num) ? apply_delete(a, &k)
					      : change_expiry(a, &k, op->num);
	}
	return rc;
}

/* Memory to delete those of several keys that are there. */
static int
ask_deletes(struct apply *a, const struct op *op)
{
	const uint8_t *at = op->args;
	struct op_arg key;
	struct apply_key k;
	int rc = 0;

	while (rc == 0 && op_arg_next(op, &at, &key)) {
		rc = apply_find(a, &key, true, &k);
		if (rc == 0 && k.live)
			rc = apply_ask_delete(a, &key);
	}
	/* Releases without bounds deleted as many as they could. */
	return rc == -EFBIG && a->older ? 0 : rc;
}

static int
op_del(struct apply *a, const struct op *op)
{
	const uint8_t *at = op->args;
	struct op_arg key;
	struct apply_key k;
	int64_t count = 0;
	int rc = op->argc > 1 ? ask_deletes(a, op) : 0;

	while (rc == 0 && op_arg_next(op, &at, &key)) {
		rc = apply_find(a, &key, true, &k);
		if (rc != 0 || !k.live)
			continue;
		rc = apply_delete(a, &k);
		count++;
	}
	if (rc == 0)
		value_int(a->out, count);
	return rc;
}

/* ---- parts of values ---- */

static int64_t
length_limit(int64_t wanted)
{
	return wanted > 0 && wanted < OP_VALUE_MAX ? wanted : OP_VALUE_MAX;
}

/*
 * The old value (if any) and `part` laid over it at `offset`; zeros between.
 * Keeps the expiry.
 */
static int
overlay(struct apply *a, const struct apply_key *k, uint64_t offset,
    const struct op_arg *part)
{
	uint64_t old = k->live ? k->item.len : 0;
	uint64_t len = offset + part->len > old ? offset + part->len : old;
	struct table_entry *e;
	uint8_t *to;
	int rc;

	rc = apply_put(a, k, len, k->live ? k->item.expire_ms : 0, &to, &e);
	if (rc != 0)
		return rc;
	if (old != 0 && (rc = kv_copy(a->kv, &k->item, 0, old, to)) != 0)
		return rc;
	if (offset > old)
		memset(to + old, 0, offset - old);
	memcpy(to + offset, part->data, part->len);
	apply_put_end(a, k, e);
	value_int(a->out, (int64_t)len);
	return 0;
}

static int
op_append(struct apply *a, const struct op *op)
{
	struct op_arg key = arg_at(op, 0), value = arg_at(op, 1);
	struct apply_key k;
	uint64_t old;
	int rc = apply_find(a, &key, true, &k);

	if (rc != 0)
		return rc;
	old = k.live ? k.item.len : 0;
	if ((int64_t)(old + value.len) > length_limit(op->num)) {
		value_error(a->out, "%s", too_long);
		return 0;
	}
	return overlay(a, &k, old, &value);
}

static int
op_setrange(struct apply *a, const struct op *op)
{
	struct op_arg key = arg_at(op, 0), value = arg_at(op, 1);
	struct apply_key k;
	int rc = apply_find(a, &key, true, &k);

	if (rc != 0)
		return rc;
	if (op->num < 0) {
		value_error(a->out, "ERR offset is out of range");
		return 0;
	}
	if (value.len == 0) {
		value_int(a->out, k.live ? (int64_t)k.item.len : 0);
		return 0;
	}
	if (op->num > OP_VALUE_MAX ||
	    op->num + (int64_t)value.len > OP_VALUE_MAX) {
		value_error(a->out, "%s", too_long);
		return 0;
	}
	return overlay(a, &k, (uint64_t)op->num, &value);
}

/* ---- numbers ---- */

/* The whole value if it is short enough to be a number at all. */
static int
short_value(struct apply *a, const struct apply_key *k, uint8_t *text,
    size_t max, size_t *n)
{
	*n = 0;
	if (!k->live)
		return 0;
	if (k->item.len > max)
		return -ERANGE;
	*n = k->item.len;
	return kv_copy(a->kv, &k->item, 0, *n, text);
}

static int
op_incrby(struct apply *a, const struct op *op)
{
	struct op_arg key = arg_at(op, 0);
	uint8_t text[NUMBER_TEXT_MAX];
	char printed[NUMBER_TEXT_MAX];
	struct apply_key k;
	int64_t v = 0;
	size_t n = 0;
	int rc = apply_find(a, &key, true, &k);

	if (rc == 0)
		rc = short_value(a, &k, text, sizeof(text), &n);
	if (rc != 0 && rc != -ERANGE)
		return rc;
	if (rc == -ERANGE || (k.live && !number_parse(text, n, &v))) {
		value_error(
		    a->out, "ERR value is not an integer or out of range");
		return 0;
	}
	if (__builtin_add_overflow(v, op->num, &v)) {
		value_error(
		    a->out, "ERR increment or decrement would overflow");
		return 0;
	}
	n = number_print(v, printed);
	rc = apply_set(a, &k, printed, n, k.live ? k.item.expire_ms : 0);
	if (rc == 0)
		value_int(a->out, v);
	return rc;
}

static int
op_incrbyfloat(struct apply *a, const struct op *op)
{
	struct op_arg key = arg_at(op, 0), by = arg_at(op, 1);
	char text[FLOAT_TEXT_MAX];
	long double v = 0, delta;
	struct apply_key k;
	size_t n = 0;
	int rc = apply_find(a, &key, true, &k);

	if (rc == 0)
		rc = short_value(a, &k, (uint8_t *)text, sizeof(text), &n);
	if (rc != 0 && rc != -ERANGE)
		return rc;
	if (rc == -ERANGE || !float_parse(by.data, by.len, &delta) ||
	    (k.live && !float_parse((uint8_t *)text, n, &v))) {
		value_error(a->out, "ERR value is not a valid float");
		return 0;
	}
	v += delta;
	if (isnan(v) || isinf(v)) {
		value_error(
		    a->out, "ERR increment would produce NaN or Infinity");
		return 0;
	}
	n = float_print(v, text);
	rc = apply_set(a, &k, text, n, k.live ? k.item.expire_ms : 0);
	if (rc == 0)
		value_bulk(a->out, text, n);
	return rc;
}

/* ---- expiry ---- */

/* NX, XX, GT, LT of EXPIRE; a key without expiry counts as infinite. */
static bool
expire_allowed(const struct op *op, int64_t now_set)
{
	if ((op->flags & OPF_NX) != 0 && now_set != 0)
		return false;
	if ((op->flags & OPF_XX) != 0 && now_set == 0)
		return false;
	if ((op->flags & OPF_GT) != 0 && (now_set == 0 || op->num <= now_set))
		return false;
	if ((op->flags & OPF_LT) != 0 && now_set != 0 && op->num >= now_set)
		return false;
	return true;
}

static int
op_expireat(struct apply *a, const struct op *op)
{
	struct op_arg key = arg_at(op, 0);
	struct apply_key k;
	int rc = apply_find(a, &key, true, &k);

	if (rc != 0)
		return rc;
	if (!k.live || !expire_allowed(op, k.item.expire_ms)) {
		value_int(a->out, 0);
		return 0;
	}
	rc = already_over(a, op->num) ? apply_delete(a, &k)
				      : change_expiry(a, &k, op->num);
	if (rc == 0)
		value_int(a->out, 1);
	return rc;
}

static int
op_persist(struct apply *a, const struct op *op)
{
	struct op_arg key = arg_at(op, 0);
	struct apply_key k;
	bool had;
	int rc = apply_find(a, &key, true, &k);

	if (rc != 0)
		return rc;
	had = k.live && k.item.expire_ms != 0;
	if (had)
		rc = change_expiry(a, &k, 0);
	if (rc == 0)
		value_int(a->out, had ? 1 : 0);
	return rc;
}

/*
 * Only the very entry that expired: anything newer has another VLSN. Log time
 * may have gone back since somebody saw it expire: then it lives on.
 */
static int
op_expired(struct apply *a, const struct op *op)
{
	struct op_arg key = arg_at(op, 0);
	struct apply_key k;
	int rc = apply_find(a, &key, true, &k);

	if (rc != 0 || !k.existed || k.item.vlsn != (uint64_t)op->num)
		return rc;
	if (k.live) {
		if (a->early_ms == 0 || k.item.expire_ms < a->early_ms)
			a->early_ms = k.item.expire_ms;
		return 0;
	}
	rc = apply_delete(a, &k);
	a->expired += rc == 0;
	return rc;
}

/* ---- RENAME, FLUSHALL ---- */

/* The target takes value and expiry; then the source goes. */
static int
rename_to(
    struct apply *a, const struct op_arg *to, const struct apply_key *from)
{
	struct apply_key target, source = *from;
	struct op_arg key = { from->key, (uint32_t)from->len };
	struct table_entry *e;
	uint8_t *value;
	int rc = apply_find(a, to, true, &target);

	/* Both or neither. */
	if (rc == 0)
		rc = apply_ask(a, to, source.item.len);
	if (rc == 0)
		rc = apply_ask_delete(a, &key);
	if (rc == 0)
		rc = apply_put(a, &target, source.item.len,
		    source.item.expire_ms, &value, &e);
	if (rc == 0)
		rc = kv_copy(a->kv, &source.item, 0, source.item.len, value);
	if (rc != 0)
		return rc;
	apply_put_end(a, &target, e);
	/* The source's place in its bucket may have moved. */
	rc = apply_find(a, &key, true, &source);
	return rc != 0 ? rc : apply_delete(a, &source);
}

static int
op_rename(struct apply *a, const struct op *op)
{
	struct op_arg from = arg_at(op, 0), to = arg_at(op, 1);
	bool nx = (op->flags & OPF_NX) != 0, same;
	struct apply_key k, target;
	int rc = apply_find(a, &from, true, &k);

	if (rc == 0)
		rc = apply_find(a, &to, true, &target);
	if (rc != 0)
		return rc;
	if (!k.live) {
		value_error(a->out, "ERR no such key");
		return 0;
	}
	same = from.len == to.len && memcmp(from.data, to.data, from.len) == 0;
	if (nx && (same || target.live)) {
		value_int(a->out, 0);
		return 0;
	}
	if (!same && (rc = rename_to(a, &to, &k)) != 0)
		return rc;
	if (nx)
		value_int(a->out, 1);
	else
		value_ok(a->out);
	return 0;
}

static int
op_flushall(struct apply *a)
{
	int rc = apply_flush(a);

	if (rc == 0)
		value_ok(a->out);
	return rc;
}

int
apply_op(struct apply *a, const struct op *op) /* flat dispatch */
{
	switch (op->code) {
	case OP_SET:
		return op_set(a, op);
	case OP_SETNX:
		return op_setnx(a, op);
	case OP_MSET:
		return op_mset(a, op);
	case OP_MSETNX:
		return op_msetnx(a, op);
	case OP_DEL:
		return op_del(a, op);
	case OP_GETSET:
		return op_getset(a, op);
	case OP_GETDEL:
		return op_getdel(a, op);
	case OP_GETEX:
		return op_getex(a, op);
	case OP_APPEND:
		return op_append(a, op);
	case OP_SETRANGE:
		return op_setrange(a, op);
	case OP_INCRBY:
		return op_incrby(a, op);
	case OP_INCRBYFLOAT:
		return op_incrbyfloat(a, op);
	case OP_EXPIREAT:
		return op_expireat(a, op);
	case OP_PERSIST:
		return op_persist(a, op);
	case OP_RENAME:
		return op_rename(a, op);
	case OP_FLUSHALL:
		return op_flushall(a);
	case OP_EXPIRED:
		return op_expired(a, op);
	default:
		return -EBADMSG;
	}
}
