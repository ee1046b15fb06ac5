/*
 * The table of messages, frames, and the one pair of functions that reads the
 * rows of all layouts. Bytes come from strangers: each length is bounded before
 * it is used, and the first thing that is wrong is named.
 */
#include "ipc/msg_codec.h"

#include <errno.h>
#include <string.h>

#include "shm/crc32c.h"

_Static_assert(MSG_LEN_OFF == MSG_CRC_OFF + 4, "packed");
_Static_assert(MSG_TYPE_OFF == MSG_LEN_OFF + 4, "packed");
_Static_assert(MSG_ZERO_OFF == MSG_TYPE_OFF + 2, "packed");
_Static_assert(MSG_SEQ_OFF == MSG_ZERO_OFF + 2, "packed");
_Static_assert(MSG_HEAD == MSG_SEQ_OFF + 4, "packed");

/* clang-format off */
static const struct msg_row rows[] = {
#define X(number, NAME, name_, body, on_, from_, when_, since_, min_, max_)    \
	{ .name = #name_, .layout = &msg_##body##_layout, .min = min_,         \
		.max = max_, .type = number, .on = ON_##on_,                   \
		.from = FROM_##from_, .when = WHEN_##when_, .since = since_ },
	MESSAGES(X)
#undef X
};
/* clang-format on */

#define TYPE_MAX 84 /* the last of the table */
_Static_assert(MSG_FEED_END == TYPE_MAX, "each number has its place below");

enum {
#define X(number, NAME, name, body, on, from, when, since, min, max)           \
	INDEX_##NAME,
	MESSAGES(X)
#undef X
};

/* By number: index in the table + 1. */
static const uint8_t index_of[TYPE_MAX + 1] = {
#define X(number, NAME, name, body, on, from, when, since, min, max)           \
	[number] = INDEX_##NAME + 1,
	MESSAGES(X)
#undef X
};

const struct msg_row *
msg_row(unsigned type)
{
	if (type > TYPE_MAX || index_of[type] == 0)
		return NULL;
	return &rows[index_of[type] - 1];
}

const struct msg_row *
msg_row_at(unsigned index)
{
	return index < NITEMS(rows) ? &rows[index] : NULL;
}

const char *
msg_name(unsigned type)
{
	const struct msg_row *row = msg_row(type);

	return row != NULL ? row->name : "?";
}

const char *
msg_fault_name(enum msg_fault fault)
{
	static const char *const names[] = {
		[MSG_FINE] = "nothing",
		[MSG_BAD_LENGTH] = "length out of bounds",
		[MSG_BAD_TYPE] = "no such message",
		[MSG_BAD_CRC] = "bad CRC",
		[MSG_BAD_ZERO] = "not zero",
		[MSG_BAD_VALUE] = "value out of bounds",
		[MSG_BAD_TEXT] = "no such text",
		[MSG_BAD_SENSE] = "contradicts another field",
	};

	_Static_assert(NITEMS(names) == MSG_FAULT_COUNT, "a name each");
	return (unsigned)fault < NITEMS(names) ? names[fault] : "?";
}

unsigned
msg_version(unsigned min_a, unsigned max_a, unsigned min_b, unsigned max_b)
{
	unsigned most = max_a < max_b ? max_a : max_b;

	return most >= min_a && most >= min_b ? most : 0;
}

/* Say what is wrong. */
static int
bad(struct msg_error *e, enum msg_fault fault, const char *field)
{
	e->fault = fault;
	e->field = field;
	return -EBADMSG;
}

static uint64_t
number_get(const void *at, size_t size)
{
	uint64_t v = 0;

	memcpy(&v, at, size); /* the machine is little-endian: shm/bits.h */
	return v;
}

/* Is the text of n bytes at `at` one of this kind? */
static bool
text_is(const struct msg_field *f, const uint8_t *at, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		uint8_t c = at[i];
		bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			     (c >= '0' && c <= '9') || c == '_' || c == '.' ||
			     c == '-';

		if (f->kind == FIELD_NAME ? !plain : c < ' ' || c > '~')
			return false;
	}
	return true;
}

/* Foreign bytes behind the fixed fields, taken from the front. */
struct rest {
	const uint8_t *at;
	size_t n;
};

static const uint8_t *
rest_take(struct rest *r, size_t n)
{
	const uint8_t *at = r->at;

	if (n > r->n)
		return NULL;
	r->at += n;
	r->n -= n;
	return at;
}

static int
number_decode(const struct msg_field *f, const uint8_t *at, uint8_t *out,
    struct msg_error *e)
{
	uint64_t v = number_get(at + f->at, f->size);

	if (v < f->min || v > f->max)
		return bad(e, MSG_BAD_VALUE, f->name);
	memcpy(out + f->offset, at + f->at, f->size);
	return 0;
}

static int
zero_decode(const struct msg_field *f, const uint8_t *at, struct msg_error *e)
{
	unsigned i;

	for (i = 0; i < f->size; i++)
		if (at[f->at + i] != 0)
			return bad(e, MSG_BAD_ZERO, f->name);
	return 0;
}

static int
text_decode(const struct msg_field *f, const uint8_t *at, struct rest *r,
    uint8_t *out, struct msg_error *e)
{
	size_t n = at[f->at];
	const uint8_t *text;

	if (n < f->min || n > f->max || (text = rest_take(r, n)) == NULL ||
	    !text_is(f, text, n))
		return bad(e, MSG_BAD_TEXT, f->name);
	memcpy(out + f->offset, text, n);
	memset(out + f->offset + n, 0, f->room - n);
	return 0;
}

static int
list_decode(const struct msg_field *f, const uint8_t *at, struct rest *r,
    uint8_t *out, struct msg_error *e)
{
	uint16_t n = get_le16(at + f->at);
	const uint8_t *entry;
	unsigned i, k;
	int rc = 0;

	if (n < f->min || n > f->max)
		return bad(e, MSG_BAD_VALUE, f->name);
	if ((entry = rest_take(r, (size_t)n * f->entry_size)) == NULL)
		return bad(e, MSG_BAD_LENGTH, f->name);
	memcpy(out + f->count, &n, sizeof(n));
	out += f->offset;
	for (i = 0; i < n && rc == 0; i++) {
		for (k = 0; k < f->entry_fields && rc == 0; k++) {
			const struct msg_field *ef = &f->entry[k];

			rc = ef->kind == FIELD_ZERO
				 ? zero_decode(ef, entry, e)
				 : number_decode(ef, entry, out, e);
		}
		entry += f->entry_size;
		out += f->room;
	}
	return rc;
}

/* What the sender puts behind the fields; `n` is how much that is. */
static int
tail_decode(
    const struct msg_field *f, uint32_t n, uint8_t *out, struct msg_error *e)
{
	if (n > f->max)
		return bad(e, MSG_BAD_LENGTH, f->name);
	memcpy(out + f->offset, &n, sizeof(n));
	return 0;
}

static int
field_decode(const struct msg_field *f, const uint8_t *at, struct rest *r,
    uint32_t log, uint8_t *out, struct msg_error *e)
{
	switch ((enum field_kind)f->kind) {
	case FIELD_NUMBER:
		return number_decode(f, at, out, e);
	case FIELD_BYTES:
		memcpy(out + f->offset, at + f->at, f->size);
		return 0;
	case FIELD_ZERO:
		return zero_decode(f, at, e);
	case FIELD_NAME:
	case FIELD_TEXT:
		return text_decode(f, at, r, out, e);
	case FIELD_LIST:
		return list_decode(f, at, r, out, e);
	case FIELD_LOG:
		return tail_decode(f, log, out, e);
	}
	ASSERT(false);
	return -EBADMSG;
}

static bool
has_log(const struct msg_layout *l)
{
	return l->field[l->fields - 1].kind == FIELD_LOG;
}

uint32_t
msg_needs(const struct msg_head *head)
{
	const struct msg_layout *l = head->row->layout;

	return has_log(l) ? (uint32_t)MSG_HEAD + l->fixed : head->len;
}

int
msg_head_decode(
    const uint8_t *at, size_t n, struct msg_head *out, struct msg_error *e)
{
	if (n < MSG_HEAD)
		return -EAGAIN;
	out->row = msg_row(get_le16(at + MSG_TYPE_OFF));
	out->len = get_le32(at + MSG_LEN_OFF);
	out->seq = get_le32(at + MSG_SEQ_OFF);
	if (out->row == NULL)
		return bad(e, MSG_BAD_TYPE, "type");
	if (out->len < out->row->min || out->len > out->row->max)
		return bad(e, MSG_BAD_LENGTH, "length");
	if (get_le16(at + MSG_ZERO_OFF) != 0)
		return bad(e, MSG_BAD_ZERO, "zero");
	return 0;
}

int
msg_decode(const uint8_t *at, const struct msg_head *head, void *out,
    struct msg_error *e)
{
	const struct msg_layout *l = head->row->layout;
	uint32_t needs = msg_needs(head), log = head->len - needs;
	const char *field;
	struct rest r;
	unsigned i;
	int rc;

	if (get_le32(at + MSG_CRC_OFF) !=
	    crc32c(0, at + MSG_LEN_OFF, needs - MSG_LEN_OFF))
		return bad(e, MSG_BAD_CRC, "crc");
	at += MSG_HEAD;
	r.at = at + l->fixed;
	r.n = needs - MSG_HEAD - l->fixed;
	for (i = 0; i < l->fields; i++) {
		rc = field_decode(&l->field[i], at, &r, log, out, e);
		if (rc != 0)
			return rc;
	}
	if (r.n != 0)
		return bad(e, MSG_BAD_LENGTH, "length");
	if (l->check != NULL && (field = l->check(out)) != NULL)
		return bad(e, MSG_BAD_SENSE, field);
	return 0;
}

/* The checks of a decoder on what is in the struct. */
static int
number_check(const struct msg_field *f, const uint8_t *msg, struct msg_error *e)
{
	uint64_t v = number_get(msg + f->offset, f->size);

	return v < f->min || v > f->max ? bad(e, MSG_BAD_VALUE, f->name) : 0;
}

static int
text_check(const struct msg_field *f, const uint8_t *msg, struct msg_error *e)
{
	const char *text = (const char *)msg + f->offset;
	size_t n = strnlen(text, f->room);

	return n < f->min || n > f->max || !text_is(f, msg + f->offset, n)
		   ? bad(e, MSG_BAD_TEXT, f->name)
		   : 0;
}

static int
list_check(const struct msg_field *f, const uint8_t *msg, struct msg_error *e)
{
	unsigned n = get_le16(msg + f->count), i, k;
	int rc = 0;

	if (n < f->min || n > f->max)
		return bad(e, MSG_BAD_VALUE, f->name);
	for (i = 0; i < n; i++)
		for (k = 0; k < f->entry_fields && rc == 0; k++)
			if (f->entry[k].kind == FIELD_NUMBER)
				rc = number_check(&f->entry[k],
				    msg + f->offset + (size_t)i * f->room, e);
	return rc;
}

static int
field_check(const struct msg_field *f, const uint8_t *msg, struct msg_error *e)
{
	switch ((enum field_kind)f->kind) {
	case FIELD_NUMBER:
		return number_check(f, msg, e);
	case FIELD_BYTES:
	case FIELD_ZERO:
		return 0;
	case FIELD_NAME:
	case FIELD_TEXT:
		return text_check(f, msg, e);
	case FIELD_LIST:
		return list_check(f, msg, e);
	case FIELD_LOG:
		return get_le32(msg + f->offset) > f->max
			   ? bad(e, MSG_BAD_LENGTH, f->name)
			   : 0;
	}
	ASSERT(false);
	return -EBADMSG;
}

int
msg_check(unsigned type, const void *msg, struct msg_error *e)
{
	const struct msg_row *row = msg_row(type);
	const struct msg_layout *l;
	const char *field;
	unsigned i;
	int rc;

	if (row == NULL)
		return bad(e, MSG_BAD_TYPE, "type");
	l = row->layout;
	for (i = 0; i < l->fields; i++)
		if ((rc = field_check(&l->field[i], msg, e)) != 0)
			return rc;
	if (l->check != NULL && (field = l->check(msg)) != NULL)
		return bad(e, MSG_BAD_SENSE, field);
	return 0;
}

/* Bytes that follow the fixed fields, but for those of the log. */
static size_t
rest_size(const struct msg_layout *l, const uint8_t *msg)
{
	size_t n = 0;
	unsigned i;

	for (i = 0; i < l->fields; i++) {
		const struct msg_field *f = &l->field[i];

		if (f->kind == FIELD_NAME || f->kind == FIELD_TEXT)
			n += strlen((const char *)msg + f->offset);
		else if (f->kind == FIELD_LIST)
			n += (size_t)get_le16(msg + f->count) * f->entry_size;
	}
	return n;
}

static uint8_t *
list_encode(const struct msg_field *f, const uint8_t *msg, uint8_t *rest)
{
	unsigned n = get_le16(msg + f->count), i, k;

	for (i = 0; i < n; i++) {
		const uint8_t *entry = msg + f->offset + (size_t)i * f->room;

		for (k = 0; k < f->entry_fields; k++)
			if (f->entry[k].kind == FIELD_NUMBER)
				memcpy(rest + f->entry[k].at,
				    entry + f->entry[k].offset,
				    f->entry[k].size);
		rest += f->entry_size;
	}
	return rest;
}

/* One field at its place, what has a length of its own at `rest`. */
static uint8_t *
field_encode(
    const struct msg_field *f, const uint8_t *msg, uint8_t *at, uint8_t *rest)
{
	size_t n;

	switch ((enum field_kind)f->kind) {
	case FIELD_NUMBER:
	case FIELD_BYTES:
		memcpy(at + f->at, msg + f->offset, f->size);
		return rest;
	case FIELD_ZERO:
	case FIELD_LOG:
		return rest;
	case FIELD_NAME:
	case FIELD_TEXT:
		n = strlen((const char *)msg + f->offset);
		at[f->at] = (uint8_t)n;
		memcpy(rest, msg + f->offset, n);
		return rest + n;
	case FIELD_LIST:
		memcpy(at + f->at, msg + f->count, f->size);
		return list_encode(f, msg, rest);
	}
	ASSERT(false);
	return rest;
}

int
msg_encode(
    unsigned type, const void *msg, uint32_t seq, uint8_t *at, size_t room)
{
	const struct msg_row *row = msg_row(type);
	const struct msg_layout *l;
	struct msg_error e;
	uint8_t *rest;
	uint32_t log = 0;
	size_t n;
	unsigned i;

	ASSERT(msg_check(type, msg, &e) == 0);
	l = row->layout;
	n = MSG_HEAD + (size_t)l->fixed + rest_size(l, msg);
	if (n > room)
		return -ENOSPC;
	memset(at, 0, n);
	rest = at + MSG_HEAD + l->fixed;
	for (i = 0; i < l->fields; i++)
		rest = field_encode(&l->field[i], msg, at + MSG_HEAD, rest);
	ASSERT(rest == at + n);
	if (has_log(l))
		log = get_le32(
		    (const uint8_t *)msg + l->field[l->fields - 1].offset);
	put_le32(at + MSG_LEN_OFF, (uint32_t)n + log);
	put_le16(at + MSG_TYPE_OFF, row->type);
	put_le32(at + MSG_SEQ_OFF, seq);
	put_le32(
	    at + MSG_CRC_OFF, crc32c(0, at + MSG_LEN_OFF, n - MSG_LEN_OFF));
	return (int)n;
}
