/*
 * What must have come of what clients did: the log has what was acknowledged,
 * where it was, and nothing that was refused; the store is what a model makes
 * of the log; and whatever was read is what that was, at some moment of the
 * read.
 */
#include "t/sim/node/sim_core.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shm/bits.h"
#include "shm/crc32c.h"
#include "shm/kv/kv.h"
#include "shm/kv/op.h"
#include "shm/log/record.h"
#include "shm/log/segment.h"
#include "t/sim/node/sim_node.h"

#define CHUNK    (1u << 20) /* of the log, a read */
#define APPLY_NS (60 * NS_PER_S) /* the store has so long for the rest */
#define TRIES    20 /* while it goes on by itself */

struct model_value {
	bool known; /* the log says what it is */
	bool summed; /* crc is that of data */
	uint32_t crc;
	uint32_t len; /* 0 = no such key */
	uint8_t *data;
	/*
	 * Of a value that is not known: 0, or it has been deleted; then it is
	 * still there only if it was over, so that it had no later one.
	 */
	int64_t expire_ms;
	uint64_t vlsn; /* of its last change */
};

/* What a store is that has applied a log. */
struct model {
	struct model_value value[KEYS];
	uint64_t vlsn, first;
	uint8_t *seen; /* by number of write: is it in the log? */
	uint64_t origin; /* of the parts: whose */
	bool whole; /* their beginning is in the log, too */
	uint32_t parts_len;
	uint8_t *parts;
	bool chained; /* the log's chain is known up to here: */
	uint32_t chain;
	char why[256]; /* what of the store is not so */
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
		(void)client_value(want, number, value->len);
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
	v->summed = false;
}

static bool
is_over(const struct model_value *v, int64_t now_ms)
{
	return v->expire_ms != 0 && now_ms > v->expire_ms;
}

/* May there be so much, with that expiry? */
static bool
may_be(const struct model_value *v, uint64_t len, int64_t expire_ms)
{
	if (v->known)
		return len == v->len && expire_ms == v->expire_ms;
	return len == 0 || v->expire_ms == 0 ||
	       (expire_ms != 0 && expire_ms <= v->expire_ms);
}

static void
model_set(struct model *m, unsigned key, const struct op *op,
    const struct op_arg *value, int64_t now_ms)
{
	model_cut(m, key);
	if (op->num != 0 && op->num <= now_ms)
		return;
	model_append(m, key, value);
	m->value[key].expire_ms = op->num;
}

static void
model_add(struct model *m, unsigned key, int64_t add)
{
	struct model_value *v = &m->value[key];
	char text[24] = "0";
	struct op_arg sum = { (const uint8_t *)text, 0 };

	if (!v->known)
		return;
	memcpy(text, v->len != 0 ? (const char *)v->data : text,
	    v->len < sizeof(text) ? v->len : sizeof(text) - 1);
	sum.len = (uint32_t)snprintf(text, sizeof(text), "%lld",
	    strtoll(text, NULL, 10) + (long long)add);
	v->len = 0;
	model_append(m, key, &sum);
}

/* One that is over stays: it goes with a record of its own. */
static void
model_delete(struct model *m, unsigned key, int64_t now_ms)
{
	struct model_value *v = &m->value[key];

	if (is_over(v, now_ms))
		return;
	if (v->known)
		model_cut(m, key);
	else
		v->expire_ms = now_ms - 1;
}

/* What changes a value begins a new one where the old one is over. */
static void
model_change(struct model *m, unsigned key, int64_t now_ms)
{
	struct model_value *v = &m->value[key];

	if (is_over(v, now_ms))
		model_cut(m, key);
	/* Log time has gone back: it may live again, or be a new one. */
	else if (!v->known)
		v->expire_ms = 0;
}

/* flat dispatch */
static void
model_op(struct model *m, const struct op *op, const struct record *rec)
{
	const uint8_t *at = op->args;
	struct op_arg key = { 0 }, value = { 0 };
	struct model_value *v;
	unsigned k;

	(void)op_arg_next(op, &at, &key);
	k = key_number(&key);
	v = &m->value[k];
	if (op_arg_next(op, &at, &value) && k >= KEYS_NUMBER)
		m->seen[value_number(m, &value)] = 1;
	if (op->code == OP_APPEND || op->code == OP_INCRBY)
		model_change(m, k, rec->time_ms);
	switch (op->code) {
	case OP_SET:
		model_set(m, k, op, &value, rec->time_ms);
		break;
	case OP_APPEND:
		model_append(m, k, &value);
		break;
	case OP_INCRBY:
		model_add(m, k, op->num);
		break;
	case OP_DEL:
		if (key.len != 0)
			model_delete(m, k, rec->time_ms);
		return;
	case OP_EXPIRED:
		if (v->vlsn == (uint64_t)op->num && is_over(v, rec->time_ms))
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
	if (key.len != 0)
		v->vlsn = rec->vlsn;
}

static void
model_apply(struct model *m, const struct record *rec)
{
	struct op_multi multi;
	const uint8_t *at;
	struct op op;

	if (rec->type == REC_OP &&
	    op_decode(rec->payload, rec->payload_len, &op) == 0) {
		model_op(m, &op, rec);
	} else if (rec->type == REC_MULTI &&
		   op_multi_decode(rec->payload, rec->payload_len, &multi) ==
		       0) {
		at = multi.ops;
		while (op_multi_next(&multi, &at, &op))
			model_op(m, &op, rec);
	}
}

/* ---- what was read ---- */

static bool
seen_fits(struct model *m, const struct seen *s)
{
	struct model_value *v = &m->value[s->key];

	if (!may_be(v, s->len, s->expire_ms))
		return false;
	if (!v->known || v->len == 0)
		return true;
	if (!v->summed)
		v->crc = crc32c(0, v->data, v->len);
	v->summed = true;
	return v->crc == s->crc;
}

/* The model is what the store was after m->vlsn: who read that? */
static void
readings_look(struct model *m)
{
	for (unsigned i = 0; i < world.readings; i++) {
		struct reading *r = &world.reading[i];
		bool fits = m->vlsn >= r->from && m->vlsn <= r->to;

		for (unsigned k = 0; fits && k < SEEN_MAX; k++)
			fits = seen_fits(m, &r->seen[k]);
		r->fits |= fits;
	}
}

static void
readings_end(struct model *m)
{
	for (unsigned i = 0; i < world.readings; i++) {
		const struct reading *r = &world.reading[i];

		if (!r->fits && r->from >= m->first)
			sim_fail("a read from VLSN %ju to %ju saw what there "
				 "was at none of them: key%u with %u bytes, "
				 "key%u with %u",
			    (uintmax_t)r->from, (uintmax_t)r->to,
			    r->seen[0].key, r->seen[0].len, r->seen[1].key,
			    r->seen[1].len);
	}
	world.readings = 0;
}

/* ---- the log ---- */

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
	m->first = first;
}

/* A segment's header states the chain before it. */
static void
chain_begin(struct model *m, const struct segment_info *info)
{
	if (m->chained && info->prev_crc != m->chain)
		sim_fail("wal/%08x.seg states another chain than the log "
			 "before it has",
		    info->number);
	m->chained = true;
	m->chain =
	    info->format == SEGMENT_FORMAT_1 ? info->crc : info->prev_crc;
}

/*
 * In format 2 a record is chained to the replicated one before it, whatever of
 * this log only lies between: the same bytes on every member.
 */
static void
chain_next(
    struct model *m, const struct segment_info *info, const struct record *rec)
{
	const uint8_t *at = rec->payload - REC_HEADER_SIZE;

	if (info->format != SEGMENT_FORMAT_1) {
		if (rec->vlsn == 0)
			return;
		if (rec->crc !=
		    crc32c(m->chain, at + REC_LEN_OFF, rec->len - REC_LEN_OFF))
			sim_fail("VLSN %ju of the log is not chained to the "
				 "one before it",
			    (uintmax_t)rec->vlsn);
	}
	m->chain = rec->crc;
}

static int
read_segment(struct model *m, struct segment_reader *r, uint64_t limit)
{
	struct record rec;
	int rc;

	chain_begin(m, &r->info);
	while ((rc = segment_reader_next(r, &rec, NULL)) == 0) {
		chain_next(m, &r->info, &rec);
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
		readings_look(m);
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

static bool
check_key(struct model *m, struct kv *kv, unsigned key)
{
	const struct model_value *want = &m->value[key];
	struct kv_item item = { 0 };
	uint8_t *value = NULL;
	char buf[16];
	struct op_arg k = client_key(buf, key);
	int rc = kv_get(kv, k.data, k.len, 0, &item);

	if (rc == 0) {
		if ((value = malloc(item.len + 1)) == NULL)
			abort();
		rc = kv_copy(kv, &item, 0, item.len, value);
	}
	if (rc != 0 && rc != -ENOENT)
		sim_fail("%s cannot be read: %s", buf, strerror(-rc));
	if (!may_be(want, item.len, item.expire_ms) ||
	    (want->known && want->len != 0 &&
		memcmp(value, want->data, want->len) != 0))
		snprintf(m->why, sizeof(m->why),
		    "%s: the store has %ju bytes, %.10s, of VLSN %ju until "
		    "%jd, the log up to VLSN %ju says %u, %.10s, of %ju until "
		    "%jd",
		    buf, (uintmax_t)item.len,
		    value != NULL ? (char *)value : "", (uintmax_t)item.vlsn,
		    (intmax_t)item.expire_ms, (uintmax_t)m->vlsn, want->len,
		    want->len != 0 ? (char *)want->data : "",
		    (uintmax_t)want->vlsn, (intmax_t)want->expire_ms);
	free(value);
	return m->why[0] == '\0';
}

static void
key_count(void *arg, const void *key, size_t len)
{
	struct op_arg k = { key, (uint32_t)len };
	uint64_t *found = arg;

	*found |= UINT64_C(1) << key_number(&k);
}

static void
check_store(struct model *m, struct kv *kv)
{
	struct kv_scan pos = { 0 };
	uint64_t found = 0;
	int rc;

	if ((rc = kv_begin(kv)) != 0)
		sim_fail("the store cannot be read: %s", strerror(-rc));
	for (unsigned key = 0; key < KEYS && check_key(m, kv, key);)
		key++;
	while (rc == 0 && !pos.done)
		rc = kv_scan(kv, &pos, 100, 0, key_count, &found);
	kv_end(kv);
	if (rc != 0)
		sim_fail("the store cannot be walked: %s", strerror(-rc));
	for (unsigned key = 0; key < KEYS && m->why[0] == '\0'; key++)
		if (m->value[key].known &&
		    (found >> key & 1) != (m->value[key].len != 0))
			snprintf(m->why, sizeof(m->why),
			    "key%u: a walk says %s", key,
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

/*
 * As long as nothing is applied beside it, it must be so. What a read goes by
 * is what the table has: it runs ahead of `applied` in the middle of a batch,
 * and another gateway may be serving while this one checks.
 */
static bool
check_once(struct worker *w, struct kv *kv)
{
	uint64_t limit = wait_applied(w->region), before;
	struct model m;
	bool good;

	model_make(&m, w->data_dir, limit);
	check_writes(&m);
	before = kv_sequence(kv);
	check_store(&m, kv);
	good = m.why[0] == '\0';
	if (!good && before == limit << 1 && kv_sequence(kv) == before)
		sim_fail("%s", m.why);
	if (good)
		sim_tell("checked: VLSN %ju, %u writes, %u acknowledged, %u "
			 "reads",
		    (uintmax_t)limit, world.count, world.acked, world.readings);
	if (good)
		readings_end(&m);
	model_free(&m);
	return good;
}

void
client_check(struct worker *w, struct kv *kv)
{
	unsigned tries = 0;

	while (!check_once(w, kv))
		if (++tries >= TRIES)
			sim_fail("the store goes on without a write");
	world.checks++;
	world_progress();
}
