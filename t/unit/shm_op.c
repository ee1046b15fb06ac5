/*
 * Operations decode to what was encoded; wrong counts, flags, keys, lengths,
 * trailing bytes, every cut and every flipped bit are refused or harmless.
 */
#include "shm/kv/op.h"

#include <errno.h>

#include "t/tap.h"

#define ARG(text)                                                              \
	{                                                                      \
		(const uint8_t *)(text), sizeof(text) - 1                      \
	}

static uint8_t buf[65536];

static size_t
encode(uint16_t code, uint16_t flags, int64_t num, uint32_t argc,
    const struct op_arg *argv)
{
	op_encode(buf, code, flags, num, argc, argv);
	return op_size(argc, argv);
}

static void
test_round_trip(void)
{
	static const struct op_arg argv[] = { ARG("key"), ARG(""), ARG("old") };
	struct op op;
	struct op_arg arg;
	const uint8_t *at;
	size_t n = encode(OP_SET, OPF_IFEQ | OPF_GET, -5, 3, argv);
	unsigned i;

	is_i64(op_decode(buf, n, &op), 0, "SET IFEQ decodes");
	is_u64(op.code, OP_SET, "code");
	is_u64(op.flags, OPF_IFEQ | OPF_GET, "flags");
	is_i64(op.num, -5, "number");
	at = op.args;
	for (i = 0; op_arg_next(&op, &at, &arg); i++)
		ok(arg.len == argv[i].len &&
			memcmp(arg.data, argv[i].data, arg.len) == 0,
		    "argument %u", i);
	is_u64(i, 3, "three arguments");
	is_i64(op_decode(buf, n - 1, &op), -EBADMSG, "cut by one");
	is_i64(op_decode(buf, n + 1, &op), -EBADMSG, "one byte behind");
}

static void
test_refused(void)
{
	static uint8_t big[KEY_MAX + 1];
	struct op_arg two[] = { ARG("a"), ARG("b"), ARG("c") };
	struct op_arg longest = { big, KEY_MAX },
		      toolong = { big, KEY_MAX + 1 };
	struct op_arg value[] = { ARG("k"), { big, KEY_MAX + 1 } };
	struct op op;

	is_i64(op_decode(buf, encode(999, 0, 0, 1, two), &op), -EBADMSG,
	    "unknown code");
	is_i64(op_decode(buf, encode(18, 0, 0, 1, two), &op), -EBADMSG,
	    "a hole in the table");
	is_i64(op_decode(buf, encode(OP_SET, 0, 0, 1, two), &op), -EBADMSG,
	    "SET without value");
	is_i64(op_decode(buf, encode(OP_SET, OPF_IFEQ, 0, 2, two), &op),
	    -EBADMSG, "IFEQ without its value");
	is_i64(op_decode(buf, encode(OP_GET, OPF_NX, 0, 1, two), &op), -EBADMSG,
	    "a flag that GET has not");
	is_i64(op_decode(buf, encode(OP_MSET, 0, 0, 3, two), &op), -EBADMSG,
	    "MSET with an odd count");
	is_i64(op_decode(buf, encode(OP_DEL, 0, 0, 0, two), &op), -EBADMSG,
	    "DEL of nothing");
	is_i64(op_decode(buf, encode(OP_GET, 0, 0, 1, &longest), &op), 0,
	    "longest key");
	is_i64(op_decode(buf, encode(OP_GET, 0, 0, 1, &toolong), &op), -EBADMSG,
	    "key too long");
	is_i64(op_decode(buf, encode(OP_SET, 0, 0, 2, value), &op), 0,
	    "a value may be longer");
	is_i64(op_decode(buf, encode(OP_RENAME, 0, 0, 3, two), &op), -EBADMSG,
	    "RENAME of three");
	is_i64(op_decode(buf, encode(OP_GETRANGE, 0, 0, 3, two), &op), -EBADMSG,
	    "GETRANGE wants 8-byte numbers");
	is_i64(op_decode(buf, encode(OP_FLUSHALL, 0, 0, 0, NULL), &op), 0,
	    "FLUSHALL has no arguments");
}

static size_t
encode_multi(void)
{
	static const struct op_arg set[] = { ARG("k"), ARG("v") };
	size_t at = 8, n;

	put_le32(buf, 2);
	put_le32(buf + 4, 1);
	put_le64(buf + at, 77);
	put_le32(buf + at + 8, 1);
	buf[at + 12] = 'w';
	at += 13;
	n = op_size(2, set);
	put_le32(buf + at, (uint32_t)n);
	op_encode(buf + at + 4, OP_SET, 0, 0, 2, set);
	at += 4 + n;
	n = op_size(1, set);
	put_le32(buf + at, (uint32_t)n);
	op_encode(buf + at + 4, OP_GET, 0, 0, 1, set);
	return at + 4 + n;
}

static void
test_multi(void)
{
	struct op_multi m;
	struct op_watch w;
	struct op op;
	const uint8_t *at;
	size_t n = encode_multi();

	is_i64(op_multi_decode(buf, n, &m), 0, "MULTI decodes");
	at = m.watches;
	ok(op_watch_next(&m, &at, &w), "one watch");
	ok(w.vlsn == 77 && w.key.len == 1 && w.key.data[0] == 'w', "as given");
	ok(!op_watch_next(&m, &at, &w), "no second watch");
	at = m.ops;
	ok(op_multi_next(&m, &at, &op) && op.code == OP_SET, "first operation");
	ok(op_multi_next(&m, &at, &op) && op.code == OP_GET, "second");
	ok(!op_multi_next(&m, &at, &op), "no third");
	is_i64(op_multi_decode(buf, n + 1, &m), -EBADMSG, "trailing byte");
	put_le32(buf, 3);
	is_i64(
	    op_multi_decode(buf, n, &m), -EBADMSG, "an operation is missing");
}

/* Every cut and every flipped bit: decode, then walk; ASan watches. */
static void
test_damage(void)
{
	size_t n = encode_multi(), cut, bit;
	uint8_t *whole = malloc(n);
	unsigned refused = 0, tried = 0;

	memcpy(whole, buf, n);
	for (cut = 0; cut <= n; cut++)
		for (bit = 0; bit < (cut == n ? n * 8 : 1); bit++) {
			uint8_t *copy = malloc(cut + 1);
			struct op_multi m;
			struct op_watch w;
			struct op op;
			const uint8_t *at;

			memcpy(copy, whole, cut);
			if (cut == n)
				copy[bit / 8] ^= (uint8_t)(1u << (bit % 8));
			tried++;
			if (op_multi_decode(copy, cut, &m) != 0) {
				refused++;
			} else {
				for (at = m.watches;
				     op_watch_next(&m, &at, &w);)
					;
				for (at = m.ops; op_multi_next(&m, &at, &op);)
					;
			}
			free(copy);
		}
	free(whole);
	ok(refused > 0 && refused < tried,
	    "%u of %u cuts and flips refused, the others walked", refused,
	    tried);
}

static void
test_names(void)
{
	ok(op_writes(OP_SET) && !op_writes(OP_GET), "SET writes, GET does not");
	ok(!op_writes(18) && !op_writes(60000), "what is no code does not");
	is_str(op_name(OP_GETEX), "GETEX", "name");
	is_str(op_name(63), "?", "no name");
}

/* The measure before the append: what is sure, and nothing that is not. */
static void
test_need(void)
{
	static const struct op_arg argv[] = { { (const uint8_t *)"key", 3 },
		{ (const uint8_t *)"value", 5 }, { (const uint8_t *)"k", 1 },
		{ (const uint8_t *)"", 0 } };

	/* 32 bytes, key and value, a multiple of 8. */
	is_u64(op_need(OP_SET, 0, 0, 2, argv), 40, "SET");
	is_u64(op_need(OP_SET, OPF_GET, 9, 2, argv), 40, "with GET and EX");
	is_u64(op_need(OP_SET, OPF_NX, 0, 2, argv), 0, "with NX: it may not");
	is_u64(op_need(OP_SETNX, 0, 0, 2, argv), 0, "nor SETNX");
	is_u64(op_need(OP_MSET, 0, 0, 4, argv), 80, "MSET: each pair");
	is_u64(op_need(OP_MSETNX, 0, 0, 4, argv), 0, "MSETNX may not");
	is_u64(op_need(OP_SETRANGE, 0, 1 << 20, 2, argv), (1 << 20) + 40,
	    "SETRANGE: up to its end");
	is_u64(op_need(OP_SETRANGE, 0, 1 << 20, 2, argv + 2), 0,
	    "of nothing: nothing");
	is_u64(op_need(OP_SETRANGE, 0, INT64_MAX, 2, argv), 0,
	    "beyond every length: an error");
	is_u64(op_need(OP_APPEND, 0, 5, 2, argv), 40, "APPEND: its own part");
	is_u64(op_need(OP_APPEND, 0, 4, 2, argv), 0, "too long: an error");
	is_u64(op_need(OP_FLUSHALL, 0, 0, 0, NULL), 32, "FLUSHALL");
	is_u64(op_need(OP_RENAME, 0, 0, 2, argv) +
		   op_need(OP_DEL, 0, 0, 4, argv) +
		   op_need(OP_GET, 0, 0, 1, argv),
	    0, "others may find nothing to do");
}

int
main(void)
{
	test_round_trip();
	test_refused();
	test_multi();
	test_damage();
	test_names();
	test_need();
	return tap_done();
}
