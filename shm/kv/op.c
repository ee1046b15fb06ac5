/*
 * Encoding and checking operations. What is decoded here came over a ring or
 * from the log: every length is bounded before it is used. See op.h.
 */
#include "shm/kv/op.h"

#include <errno.h>
#include <string.h>

#include "shm/assert.h"
#include "shm/kv/table.h"

#define OP_CODE_MAX 128 /* table rows; codes above do not exist */

/* What a code's arguments are. */
enum shape {
	SHAPE_NONE = 0, /* no such code */
	SHAPE_ZERO, /* no arguments */
	SHAPE_KEY, /* key, then fixed - 1 others */
	SHAPE_KEYS, /* one or more keys */
	SHAPE_PAIRS, /* one or more (key, value) */
	SHAPE_TWO_KEYS, /* two keys */
	SHAPE_DATA /* fixed arguments, none a key */
};

struct op_kind {
	uint8_t shape; /* enum shape */
	uint8_t fixed; /* SHAPE_KEY, SHAPE_DATA: how many arguments */
	uint8_t flags; /* enum op_flag that it knows */
};

#define KEY_AND(n) .shape = SHAPE_KEY, .fixed = 1 + (n)

static const struct op_kind shapes[OP_CODE_MAX] = {
	[OP_SET] = { KEY_AND(1),
	    .flags = OPF_NX | OPF_XX | OPF_GET | OPF_KEEPTTL | OPF_IFEQ },
	[OP_MSET] = { .shape = SHAPE_PAIRS },
	[OP_MSETNX] = { .shape = SHAPE_PAIRS },
	[OP_DEL] = { .shape = SHAPE_KEYS },
	[OP_GETSET] = { KEY_AND(1) },
	[OP_GETDEL] = { KEY_AND(0) },
	[OP_GETEX] = { KEY_AND(0), .flags = OPF_PERSIST },
	[OP_APPEND] = { KEY_AND(1) },
	[OP_SETRANGE] = { KEY_AND(1) },
	[OP_INCRBY] = { KEY_AND(0) },
	[OP_INCRBYFLOAT] = { KEY_AND(1) },
	[OP_EXPIREAT] = { KEY_AND(0),
	    .flags = OPF_NX | OPF_XX | OPF_GT | OPF_LT },
	[OP_PERSIST] = { KEY_AND(0) },
	[OP_RENAME] = { .shape = SHAPE_TWO_KEYS, .flags = OPF_NX },
	[OP_FLUSHALL] = { .shape = SHAPE_ZERO },
	[OP_SETNX] = { KEY_AND(1) },
	[OP_EXPIRED] = { KEY_AND(0) },
	[OP_GET] = { KEY_AND(0) },
	[OP_MGET] = { .shape = SHAPE_KEYS },
	[OP_EXISTS] = { .shape = SHAPE_KEYS },
	[OP_TYPE] = { KEY_AND(0) },
	[OP_STRLEN] = { KEY_AND(0) },
	[OP_GETRANGE] = { KEY_AND(2) },
	[OP_PTTL] = { KEY_AND(0) },
	[OP_TTL] = { KEY_AND(0) },
	[OP_PEXPIRETIME] = { KEY_AND(0) },
	[OP_EXPIRETIME] = { KEY_AND(0) },
	[OP_DBSIZE] = { .shape = SHAPE_ZERO },
	[OP_KEYS] = { .shape = SHAPE_DATA, .fixed = 1 },
	[OP_RANDOMKEY] = { .shape = SHAPE_ZERO },
	[OP_TOUCH] = { .shape = SHAPE_KEYS },
};

static const struct {
	const char *name;
	uint8_t writes;
} names[OP_CODE_MAX] = {
#define X(number, NAME, write, text) [number] = { #NAME, write },
	OPS(X)
#undef X
};

bool
op_writes(unsigned code)
{
	return code < OP_CODE_MAX && names[code].writes != 0;
}

bool
op_frees(unsigned code)
{
	return code == OP_DEL || code == OP_GETDEL || code == OP_FLUSHALL ||
	       code == OP_EXPIRED;
}

const char *
op_name(unsigned code)
{
	if (code >= OP_CODE_MAX || names[code].name == NULL)
		return "?";
	return names[code].name;
}

size_t
op_size(uint32_t argc, const struct op_arg *argv)
{
	size_t n = OP_HEADER_SIZE;
	uint32_t i;

	for (i = 0; i < argc; i++)
		n += 4 + (size_t)argv[i].len;
	return n;
}

void
op_encode(uint8_t *at, uint16_t code, uint16_t flags, int64_t num,
    uint32_t argc, const struct op_arg *argv)
{
	uint32_t i;

	put_le16(at, code);
	put_le16(at + 2, flags);
	put_le32(at + 4, argc);
	put_le64(at + 8, (uint64_t)num);
	at += OP_HEADER_SIZE;
	for (i = 0; i < argc; i++) {
		put_le32(at, argv[i].len);
		if (argv[i].len != 0)
			memcpy(at + 4, argv[i].data, argv[i].len);
		at += 4 + (size_t)argv[i].len;
	}
}

static bool
arg_is_key(const struct op_kind *kind, uint32_t i)
{
	switch ((enum shape)kind->shape) {
	case SHAPE_KEY:
		return i == 0;
	case SHAPE_KEYS:
	case SHAPE_TWO_KEYS:
		return true;
	case SHAPE_PAIRS:
		return i % 2 == 0;
	case SHAPE_NONE:
	case SHAPE_ZERO:
	case SHAPE_DATA:
		return false;
	}
	return false;
}

/* SET with IFEQ has the value to compare as a third argument. */
static bool
argc_right(const struct op_kind *kind, const struct op *op)
{
	uint32_t extra = op->code == OP_SET && (op->flags & OPF_IFEQ) != 0;

	switch ((enum shape)kind->shape) {
	case SHAPE_NONE:
		return false;
	case SHAPE_ZERO:
		return op->argc == 0;
	case SHAPE_KEY:
	case SHAPE_DATA:
		return op->argc == kind->fixed + extra;
	case SHAPE_KEYS:
		return op->argc >= 1;
	case SHAPE_PAIRS:
		return op->argc >= 2 && op->argc % 2 == 0;
	case SHAPE_TWO_KEYS:
		return op->argc == 2;
	}
	return false;
}

static bool
args_right(const struct op_kind *kind, const struct op *op)
{
	const uint8_t *at = op->args;
	uint32_t i, len;

	for (i = 0; i < op->argc; i++) {
		if (op->end - at < 4)
			return false;
		len = get_le32(at);
		if (len > (size_t)(op->end - at) - 4)
			return false;
		if (arg_is_key(kind, i) && len > KEY_MAX)
			return false;
		if (op->code == OP_GETRANGE && i > 0 && len != 8)
			return false;
		at += 4 + (size_t)len;
	}
	return at == op->end;
}

int
op_decode(const uint8_t *at, size_t n, struct op *out)
{
	const struct op_kind *kind;

	if (n < OP_HEADER_SIZE)
		return -EBADMSG;
	out->code = get_le16(at);
	out->flags = get_le16(at + 2);
	out->argc = get_le32(at + 4);
	out->num = (int64_t)get_le64(at + 8);
	out->args = at + OP_HEADER_SIZE;
	out->end = at + n;
	if (out->code >= OP_CODE_MAX)
		return -EBADMSG;
	kind = &shapes[out->code];
	if ((out->flags & ~kind->flags) != 0)
		return -EBADMSG;
	if (!argc_right(kind, out) || !args_right(kind, out))
		return -EBADMSG;
	return 0;
}

bool
op_arg_next(const struct op *op, const uint8_t **at, struct op_arg *out)
{
	if (*at >= op->end)
		return false;
	/* op_decode() has checked every length. */
	ASSERT(op->end - *at >= 4);
	out->len = get_le32(*at);
	ASSERT(out->len <= (size_t)(op->end - *at) - 4);
	out->data = *at + 4;
	*at += 4 + (size_t)out->len;
	return true;
}

/* Step over one (u64 vlsn, u32 length, key); false if it does not fit. */
static bool
watch_skip(const uint8_t **at, const uint8_t *end)
{
	uint32_t len;

	if (end - *at < 12)
		return false;
	len = get_le32(*at + 8);
	if (len > KEY_MAX || len > (size_t)(end - *at) - 12)
		return false;
	*at += 12 + (size_t)len;
	return true;
}

/* Step over one (u32 length, operation), which must decode. */
static bool
multi_skip(const uint8_t **at, const uint8_t *end)
{
	struct op op;
	uint32_t len;

	if (end - *at < 4)
		return false;
	len = get_le32(*at);
	if (len > (size_t)(end - *at) - 4 || op_decode(*at + 4, len, &op) != 0)
		return false;
	*at += 4 + (size_t)len;
	return true;
}

int
op_multi_decode(const uint8_t *at, size_t n, struct op_multi *out)
{
	const uint8_t *p;
	uint32_t i;

	if (n < 8)
		return -EBADMSG;
	out->op_count = get_le32(at);
	out->watch_count = get_le32(at + 4);
	out->watches = at + 8;
	out->end = at + n;
	p = out->watches;
	for (i = 0; i < out->watch_count; i++)
		if (!watch_skip(&p, out->end))
			return -EBADMSG;
	out->ops = p;
	for (i = 0; i < out->op_count; i++)
		if (!multi_skip(&p, out->end))
			return -EBADMSG;
	return p == out->end ? 0 : -EBADMSG;
}

bool
op_watch_next(
    const struct op_multi *m, const uint8_t **at, struct op_watch *out)
{
	if (*at >= m->ops)
		return false;
	ASSERT(m->ops - *at >= 12);
	out->vlsn = get_le64(*at);
	out->key.len = get_le32(*at + 8);
	ASSERT(out->key.len <= (size_t)(m->ops - *at) - 12);
	out->key.data = *at + 12;
	*at += 12 + (size_t)out->key.len;
	return true;
}

bool
op_multi_next(const struct op_multi *m, const uint8_t **at, struct op *out)
{
	uint32_t len;
	int rc;

	if (*at >= m->end)
		return false;
	ASSERT(m->end - *at >= 4);
	len = get_le32(*at);
	ASSERT(len <= (size_t)(m->end - *at) - 4);
	rc = op_decode(*at + 4, len, out);
	/* op_multi_decode() has decoded each of them. */
	ASSERT(rc == 0);
	*at += 4 + (size_t)len;
	return true;
}

/* An entry of the first argument as its key. */
static uint64_t
need_entry(const struct op_arg *argv, uint64_t value_len)
{
	return table_bytes(argv[0].len, value_len);
}

static uint64_t
need_pairs(uint32_t argc, const struct op_arg *argv)
{
	uint64_t bytes = 0;
	uint32_t i;

	for (i = 0; i + 1 < argc; i += 2)
		bytes += need_entry(argv + i, argv[i + 1].len);
	return bytes;
}

static uint64_t
need_setrange(int64_t offset, const struct op_arg *argv)
{
	/* Nothing to write, or an error. */
	if (argv[1].len == 0 || offset < 0 || offset > OP_VALUE_MAX)
		return 0;
	return need_entry(argv, (uint64_t)offset + argv[1].len);
}

static uint64_t
reach_keys(uint32_t argc, const struct op_arg *argv)
{
	uint64_t bytes = 0;
	uint32_t i;

	for (i = 0; i < argc; i++)
		bytes += need_entry(argv + i, 0);
	return bytes;
}

static uint64_t
reach_setrange(int64_t offset, const struct op_arg *argv, uint64_t longest)
{
	uint64_t bytes = need_setrange(offset, argv);
	uint64_t copied = need_entry(argv, longest);

	return bytes == 0 || bytes > copied ? bytes : copied;
}

uint64_t
op_reach(uint16_t code, int64_t num, uint32_t argc, const struct op_arg *argv,
    uint64_t longest)
{
	switch (code) {
	case OP_SET:
	case OP_SETNX:
	case OP_GETSET:
		return need_entry(argv, argv[1].len);
	case OP_MSET:
	case OP_MSETNX:
		return need_pairs(argc, argv);
	case OP_APPEND:
		return need_entry(argv, longest + argv[1].len);
	case OP_SETRANGE:
		return reach_setrange(num, argv, longest);
	case OP_INCRBY:
	case OP_INCRBYFLOAT:
		return need_entry(argv, OP_NUMBER_MAX);
	case OP_GETEX:
	case OP_EXPIREAT:
	case OP_PERSIST:
		return need_entry(argv, longest);
	case OP_RENAME:
		return need_entry(argv, 0) + need_entry(argv + 1, longest);
	case OP_DEL:
	case OP_GETDEL:
	case OP_EXPIRED:
		return reach_keys(argc, argv);
	case OP_FLUSHALL:
		return table_bytes(0, 0);
	default:
		return 0;
	}
}

bool
op_copies(unsigned code)
{
	return code == OP_APPEND || code == OP_SETRANGE || code == OP_GETEX ||
	       code == OP_EXPIREAT || code == OP_PERSIST || code == OP_RENAME;
}

uint64_t
op_need(uint16_t code, uint16_t flags, int64_t num, uint32_t argc,
    const struct op_arg *argv)
{
	switch (code) {
	case OP_SET:
		if ((flags & (OPF_NX | OPF_XX | OPF_IFEQ)) != 0)
			return 0;
		return need_entry(argv, argv[1].len);
	case OP_GETSET:
		return need_entry(argv, argv[1].len);
	case OP_APPEND:
		if (num > 0 && argv[1].len > num)
			return 0;
		return need_entry(argv, argv[1].len);
	case OP_SETRANGE:
		return need_setrange(num, argv);
	case OP_MSET:
		return need_pairs(argc, argv);
	case OP_FLUSHALL:
		return table_bytes(0, 0);
	default:
		return 0;
	}
}
