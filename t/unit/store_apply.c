/*
 * Every operation and option against what Redis 7 answers, on a table alone
 * and with the same keys moved to a frozen generation and to disk first:
 * where a key lies must make no difference. And the bounds of a record: what it
 * may take of the table, no memory in its middle, its answers, signs of life.
 */
#include "t/lib/store_rig.h"

#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define OWN_REALLOC 0
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define OWN_REALLOC 0
#endif
#ifndef OWN_REALLOC
#define OWN_REALLOC 1
#endif

#if OWN_REALLOC
static size_t realloc_max = SIZE_MAX; /* more is not to be had */

void *__libc_realloc(void *old, size_t size);

void *
realloc(void *old, size_t size)
{
	return size <= realloc_max ? __libc_realloc(old, size) : NULL;
}
#endif

#define T0    1000000 /* rig's clock, ms */
#define LATER (T0 + 5000)

enum { IN_ACTIVE, IN_FROZEN, ON_DISK, PLACES };

static struct rig g;
static int place;

struct arg_list {
	uint32_t argc;
	struct op_arg argv[8];
};

/* "a|b|c" as arguments; "" stands for none. */
static struct arg_list
args_of(const char *text)
{
	struct arg_list a = { 0 };
	const char *bar;

	while (text != NULL && (a.argc != 0 || text[0] != '\0')) {
		bar = strchr(text, '|');
		a.argv[a.argc].data = (const uint8_t *)text;
		a.argv[a.argc++].len =
		    (uint32_t)(bar != NULL ? (size_t)(bar - text)
					   : strlen(text));
		text = bar != NULL ? bar + 1 : NULL;
	}
	return a;
}

static const char *
run(uint16_t code, const char *args, int64_t num, uint16_t flags)
{
	struct arg_list a = args_of(args);
	int rc = rig_op(&g, code, flags, num, a.argc, a.argv);
	static char bad[64];

	if (rc == 0)
		return rig_text(&g.out);
	snprintf(bad, sizeof(bad), "rc %s", strerror(-rc));
	return bad;
}

static const char *
get(const char *key)
{
	return run(OP_GET, key, 0, 0);
}

/* The keys that each row finds; moved to where this round wants them. */
static void
lay_out(void)
{
	run(OP_FLUSHALL, "", 0, 0);
	run(OP_MSET, "s|text|n|10|f|10.5|e|", 0, 0);
	run(OP_SET, "t|timed", LATER, 0);
	run(OP_SET, "old|gone", T0 + 10, 0);
	run(OP_SET, "big|99999999999999999999999", 0, 0);
	run(OP_SET, "max|9223372036854775807", 0, 0);
	run(OP_SET, "lead|012", 0, 0);
	g.now_ms = T0 + 11; /* `old` has expired, and is still there */
	if (place == IN_ACTIVE)
		return;
	if (rig_freeze(&g) != 0)
		abort();
	if (place == ON_DISK && rig_checkpoint(&g) != 0)
		abort();
}

/* Clear out a frozen generation that the last row left. */
static void
settle(void)
{
	if (table_view_frozen(atomic_load(&g.r.table->view)) &&
	    rig_checkpoint(&g) != 0)
		abort();
	g.now_ms = T0;
}

struct row {
	uint16_t code;
	const char *args;
	int64_t num;
	uint16_t flags;
	const char *want;
	const char *key, *then; /* GET key gives this afterwards */
	int64_t ttl; /* and PEXPIRETIME this; 0 = do not look */
};

#define NOT_INT   "-ERR value is not an integer or out of range"
#define NOT_FLOAT "-ERR value is not a valid float"
#define OVERFLOW  "-ERR increment or decrement would overflow"
#define TOO_LONG  "-ERR string exceeds maximum allowed size (proto-max-bulk-len)"

static const struct row rows[] = {
	{ OP_SET, "s|v", 0, 0, "OK", "s", "\"v\"", -1 },
	{ OP_SET, "new|v", 0, 0, "OK", "new", "\"v\"", -1 },
	{ OP_SET, "|v", 0, 0, "OK", "", "\"v\"", -1 },
	{ OP_SET, "t|v", 0, 0, "OK", "t", "\"v\"", -1 },
	{ OP_SET, "t|v", 0, OPF_KEEPTTL, "OK", "t", "\"v\"", LATER },
	{ OP_SET, "s|v", LATER, 0, "OK", "s", "\"v\"", LATER },
	{ OP_SET, "s|v", T0 - 1, 0, "OK", "s", "nil", -2 },
	{ OP_SET, "new|v", T0 - 1, 0, "OK", "new", "nil", -2 },
	{ OP_SET, "s|v", 0, OPF_NX, "nil", "s", "\"text\"", -1 },
	{ OP_SET, "new|v", 0, OPF_NX, "OK", "new", "\"v\"", -1 },
	{ OP_SET, "old|v", 0, OPF_NX, "OK", "old", "\"v\"", -1 },
	{ OP_SET, "s|v", 0, OPF_XX, "OK", "s", "\"v\"", -1 },
	{ OP_SET, "new|v", 0, OPF_XX, "nil", "new", "nil", -2 },
	{ OP_SET, "old|v", 0, OPF_XX, "nil", "old", "nil", -2 },
	{ OP_SET, "s|v", 0, OPF_GET, "\"text\"", "s", "\"v\"", -1 },
	{ OP_SET, "new|v", 0, OPF_GET, "nil", "new", "\"v\"", -1 },
	{ OP_SET, "s|v", 0, OPF_GET | OPF_NX, "\"text\"", "s", "\"text\"", -1 },
	{ OP_SET, "new|v", 0, OPF_GET | OPF_NX, "nil", "new", "\"v\"", -1 },
	{ OP_SET, "new|v", 0, OPF_GET | OPF_XX, "nil", "new", "nil", -2 },
	{ OP_SET, "s|v|text", 0, OPF_IFEQ, "OK", "s", "\"v\"", -1 },
	{ OP_SET, "s|v|texts", 0, OPF_IFEQ, "nil", "s", "\"text\"", -1 },
	{ OP_SET, "s|v|tex_", 0, OPF_IFEQ, "nil", "s", "\"text\"", -1 },
	{ OP_SET, "new|v|x", 0, OPF_IFEQ, "nil", "new", "nil", -2 },
	{ OP_SET, "s|v|no", 0, OPF_IFEQ | OPF_GET, "\"text\"", "s", "\"text\"",
	    -1 },
	{ OP_SETNX, "s|v", 0, 0, "0", "s", "\"text\"", -1 },
	{ OP_SETNX, "new|v", 0, 0, "1", "new", "\"v\"", -1 },
	{ OP_MSET, "a|1|b|2|a|3", 0, 0, "OK", "a", "\"3\"", -1 },
	{ OP_MSET, "t|1", 0, 0, "OK", "t", "\"1\"", -1 },
	{ OP_MSETNX, "a|1|s|2", 0, 0, "0", "a", "nil", -2 },
	{ OP_MSETNX, "a|1|b|2", 0, 0, "1", "b", "\"2\"", -1 },
	{ OP_MSETNX, "old|1", 0, 0, "1", "old", "\"1\"", -1 },
	{ OP_DEL, "s", 0, 0, "1", "s", "nil", -2 },
	{ OP_DEL, "s|s|n|new", 0, 0, "2", "n", "nil", -2 },
	{ OP_DEL, "old", 0, 0, "0", "old", "nil", -2 },
	{ OP_GETSET, "s|v", 0, 0, "\"text\"", "s", "\"v\"", -1 },
	{ OP_GETSET, "new|v", 0, 0, "nil", "new", "\"v\"", -1 },
	{ OP_GETSET, "t|v", 0, 0, "\"timed\"", "t", "\"v\"", -1 },
	{ OP_GETDEL, "s", 0, 0, "\"text\"", "s", "nil", -2 },
	{ OP_GETDEL, "new", 0, 0, "nil", "new", "nil", -2 },
	{ OP_GETEX, "s", 0, 0, "\"text\"", "s", "\"text\"", -1 },
	{ OP_GETEX, "s", LATER, 0, "\"text\"", "s", "\"text\"", LATER },
	{ OP_GETEX, "s", 5, 0, "\"text\"", "s", "nil", -2 },
	{ OP_GETEX, "t", 0, OPF_PERSIST, "\"timed\"", "t", "\"timed\"", -1 },
	{ OP_GETEX, "t", 0, 0, "\"timed\"", "t", "\"timed\"", LATER },
	{ OP_GETEX, "new", LATER, 0, "nil", "new", "nil", -2 },
	{ OP_APPEND, "s|more", 0, 0, "8", "s", "\"textmore\"", -1 },
	{ OP_APPEND, "new|more", 0, 0, "4", "new", "\"more\"", -1 },
	{ OP_APPEND, "t|!", 0, 0, "6", "t", "\"timed!\"", LATER },
	{ OP_APPEND, "old|new", 0, 0, "3", "old", "\"new\"", -1 },
	{ OP_APPEND, "s|more", 7, 0, TOO_LONG, "s", "\"text\"", -1 },
	{ OP_APPEND, "s|more", 8, 0, "8", "s", "\"textmore\"", -1 },
	{ OP_SETRANGE, "s|XX", 1, 0, "4", "s", "\"tXXt\"", -1 },
	{ OP_SETRANGE, "s|XX", 3, 0, "5", "s", "\"texXX\"", -1 },
	{ OP_SETRANGE, "t|XX", 0, 0, "5", "t", "\"XXmed\"", LATER },
	{ OP_SETRANGE, "s|", 9, 0, "4", "s", "\"text\"", -1 },
	{ OP_SETRANGE, "new|", 9, 0, "0", "new", "nil", -2 },
	{ OP_SETRANGE, "s|x", -1, 0, "-ERR offset is out of range", "s",
	    "\"text\"", -1 },
	{ OP_SETRANGE, "s|x", OP_VALUE_MAX, 0, TOO_LONG, "s", "\"text\"", -1 },
	{ OP_INCRBY, "n", 5, 0, "15", "n", "\"15\"", -1 },
	{ OP_INCRBY, "new", -5, 0, "-5", "new", "\"-5\"", -1 },
	{ OP_INCRBY, "old", 1, 0, "1", "old", "\"1\"", -1 },
	{ OP_INCRBY, "s", 1, 0, NOT_INT, "s", "\"text\"", -1 },
	{ OP_INCRBY, "e", 1, 0, NOT_INT, "e", "\"\"", -1 },
	{ OP_INCRBY, "f", 1, 0, NOT_INT, "f", "\"10.5\"", -1 },
	{ OP_INCRBY, "big", 1, 0, NOT_INT, NULL, NULL, 0 },
	{ OP_INCRBY, "lead", 1, 0, NOT_INT, NULL, NULL, 0 },
	{ OP_INCRBY, "max", 1, 0, OVERFLOW, "max", "\"9223372036854775807\"",
	    -1 },
	{ OP_INCRBY, "max", -1, 0, "9223372036854775806", NULL, NULL, 0 },
	{ OP_INCRBYFLOAT, "f|0.1", 0, 0, "\"10.6\"", "f", "\"10.6\"", -1 },
	{ OP_INCRBYFLOAT, "n|-5.5", 0, 0, "\"4.5\"", "n", "\"4.5\"", -1 },
	{ OP_INCRBYFLOAT, "n|2.0e2", 0, 0, "\"210\"", NULL, NULL, 0 },
	{ OP_INCRBYFLOAT, "new|3.0", 0, 0, "\"3\"", "new", "\"3\"", -1 },
	{ OP_INCRBYFLOAT, "n|-10", 0, 0, "\"0\"", NULL, NULL, 0 },
	{ OP_INCRBYFLOAT, "s|1", 0, 0, NOT_FLOAT, "s", "\"text\"", -1 },
	{ OP_INCRBYFLOAT, "n|x", 0, 0, NOT_FLOAT, "n", "\"10\"", -1 },
	{ OP_INCRBYFLOAT, "n| 1", 0, 0, NOT_FLOAT, NULL, NULL, 0 },
	{ OP_INCRBYFLOAT, "n|nan", 0, 0, NOT_FLOAT, NULL, NULL, 0 },
	{ OP_INCRBYFLOAT, "n|inf", 0, 0,
	    "-ERR increment would produce NaN or Infinity", NULL, NULL, 0 },
	{ OP_EXPIREAT, "s", LATER, 0, "1", "s", "\"text\"", LATER },
	{ OP_EXPIREAT, "new", LATER, 0, "0", "new", "nil", -2 },
	{ OP_EXPIREAT, "old", LATER, 0, "0", "old", "nil", -2 },
	{ OP_EXPIREAT, "s", T0 - 5, 0, "1", "s", "nil", -2 },
	{ OP_EXPIREAT, "s", 0, 0, "1", "s", "nil", -2 },
	{ OP_EXPIREAT, "s", -7, 0, "1", "s", "nil", -2 },
	{ OP_EXPIREAT, "s", LATER, OPF_NX, "1", "s", "\"text\"", LATER },
	{ OP_EXPIREAT, "t", LATER + 1, OPF_NX, "0", "t", "\"timed\"", LATER },
	{ OP_EXPIREAT, "s", LATER, OPF_XX, "0", "s", "\"text\"", -1 },
	{ OP_EXPIREAT, "t", LATER + 1, OPF_XX, "1", "t", "\"timed\"",
	    LATER + 1 },
	{ OP_EXPIREAT, "t", LATER + 1, OPF_GT, "1", "t", "\"timed\"",
	    LATER + 1 },
	{ OP_EXPIREAT, "t", LATER, OPF_GT, "0", "t", "\"timed\"", LATER },
	{ OP_EXPIREAT, "s", LATER, OPF_GT, "0", "s", "\"text\"", -1 },
	{ OP_EXPIREAT, "t", LATER - 1, OPF_LT, "1", "t", "\"timed\"",
	    LATER - 1 },
	{ OP_EXPIREAT, "t", LATER, OPF_LT, "0", "t", "\"timed\"", LATER },
	{ OP_EXPIREAT, "s", LATER, OPF_LT, "1", "s", "\"text\"", LATER },
	{ OP_PERSIST, "t", 0, 0, "1", "t", "\"timed\"", -1 },
	{ OP_PERSIST, "s", 0, 0, "0", "s", "\"text\"", -1 },
	{ OP_PERSIST, "new", 0, 0, "0", NULL, NULL, 0 },
	{ OP_RENAME, "s|new", 0, 0, "OK", "new", "\"text\"", -1 },
	{ OP_RENAME, "s|n", 0, 0, "OK", "s", "nil", -2 },
	{ OP_RENAME, "t|n", 0, 0, "OK", "n", "\"timed\"", LATER },
	{ OP_RENAME, "s|t", 0, 0, "OK", "t", "\"text\"", -1 },
	{ OP_RENAME, "new|s", 0, 0, "-ERR no such key", "s", "\"text\"", -1 },
	{ OP_RENAME, "old|s", 0, 0, "-ERR no such key", NULL, NULL, 0 },
	{ OP_RENAME, "s|s", 0, 0, "OK", "s", "\"text\"", -1 },
	{ OP_RENAME, "s|n", 0, OPF_NX, "0", "s", "\"text\"", -1 },
	{ OP_RENAME, "s|new", 0, OPF_NX, "1", "s", "nil", -2 },
	{ OP_RENAME, "s|s", 0, OPF_NX, "0", "s", "\"text\"", -1 },
	{ OP_FLUSHALL, "", 0, 0, "OK", "s", "nil", -2 },
	{ OP_EXPIRED, "s", 1, 0, "(nothing)", "s", "\"text\"", -1 },
	/* Reads. */
	{ OP_GET, "s", 0, 0, "\"text\"", NULL, NULL, 0 },
	{ OP_GET, "old", 0, 0, "nil", NULL, NULL, 0 },
	{ OP_MGET, "s|new|e|s", 0, 0, "[\"text\" nil \"\" \"text\"]", NULL,
	    NULL, 0 },
	{ OP_EXISTS, "s|s|new|old|n", 0, 0, "3", NULL, NULL, 0 },
	{ OP_TOUCH, "s|new", 0, 0, "1", NULL, NULL, 0 },
	{ OP_TYPE, "s", 0, 0, "+string", NULL, NULL, 0 },
	{ OP_TYPE, "new", 0, 0, "+none", NULL, NULL, 0 },
	{ OP_STRLEN, "s", 0, 0, "4", NULL, NULL, 0 },
	{ OP_STRLEN, "new", 0, 0, "0", NULL, NULL, 0 },
	{ OP_PTTL, "t", 0, 0, "4989", NULL, NULL, 0 },
	{ OP_TTL, "t", 0, 0, "5", NULL, NULL, 0 },
	{ OP_TTL, "s", 0, 0, "-1", NULL, NULL, 0 },
	{ OP_TTL, "old", 0, 0, "-2", NULL, NULL, 0 },
	{ OP_PEXPIRETIME, "t", 0, 0, "1005000", NULL, NULL, 0 },
	{ OP_EXPIRETIME, "t", 0, 0, "1005", NULL, NULL, 0 },
	{ OP_KEYS, "*a*", 0, 0, "[\"max\" \"lead\"]", NULL, NULL, 0 },
	{ OP_KEYS, "t", 0, 0, "[\"t\"]", NULL, NULL, 0 },
	{ OP_KEYS, "old", 0, 0, "[]", NULL, NULL, 0 },
};

/* Order of KEYS is no promise. */
static bool
same_keys(const char *got, const char *want)
{
	return strcmp(got, want) == 0 ||
	       (strcmp(want, "[\"max\" \"lead\"]") == 0 &&
		   strcmp(got, "[\"lead\" \"max\"]") == 0);
}

static void
test_row(const struct row *r)
{
	static const char *const names[] = { "active", "frozen", "disk" };
	const char *got;
	char ttl[32];
	bool right;

	lay_out();
	got = run(r->code, r->args, r->num, r->flags);
	right = same_keys(got, r->want);
	if (!right)
		diag("answer: got %s, want %s", got, r->want);
	if (r->key != NULL) {
		got = r->key[0] != '\0' ? get(r->key) : "\"v\"";
		if (strcmp(got, r->then) != 0) {
			right = false;
			diag("then: got %s, want %s", got, r->then);
		}
	}
	if (r->ttl != 0 && r->key[0] != '\0') {
		snprintf(ttl, sizeof(ttl), "%" PRId64, r->ttl);
		got = run(OP_PEXPIRETIME, r->key, 0, 0);
		if (strcmp(got, ttl) != 0) {
			right = false;
			diag("expiry: got %s, want %s", got, ttl);
		}
	}
	ok(right, "%s: %s %s, num %" PRId64 ", flags %u", names[place],
	    op_name(r->code), r->args, r->num, r->flags);
	settle();
}

/* The padding of SETRANGE is zeros, which text cannot show. */
static void
test_padding(void)
{
	struct arg_list a = args_of("pad|x");

	lay_out();
	rig_op(&g, OP_SETRANGE, 0, 3, a.argc, a.argv);
	rig_op(&g, OP_GET, 0, 0, 1, a.argv);
	ok(g.out.len == 9 && memcmp(g.out.data + 5, "\0\0\0x", 4) == 0,
	    "SETRANGE pads with zeros");
	settle();
}

static void
test_getrange(void)
{
	static const struct {
		int64_t start, end;
		const char *want;
	} r[] = { { 0, -1, "\"text\"" }, { 1, 2, "\"ex\"" },
		{ -2, -1, "\"xt\"" }, { 0, 100, "\"text\"" },
		{ -100, 1, "\"te\"" }, { 3, 1, "\"\"" }, { 4, 9, "\"\"" },
		{ -1, -2, "\"\"" }, { -100, -90, "\"t\"" },
		{ INT64_MIN, INT64_MAX, "\"text\"" } };
	uint8_t start[8], end[8];
	struct op_arg argv[] = { { (const uint8_t *)"s", 1 }, { start, 8 },
		{ end, 8 } };
	size_t i;

	lay_out();
	for (i = 0; i < NITEMS(r); i++) {
		put_le64(start, (uint64_t)r[i].start);
		put_le64(end, (uint64_t)r[i].end);
		rig_op(&g, OP_GETRANGE, 0, 0, 3, argv);
		is_str(rig_text(&g.out), r[i].want, "GETRANGE");
	}
	settle();
}

/* EXPIRED deletes the entry it names, and no later one. */
static void
test_expired(void)
{
	struct arg_list a = args_of("old");
	struct kv_item item;
	uint64_t before;

	lay_out();
	is_i64(kv_get(g.kv, "old", 3, 0, &item), 0, "an expired key is there");
	is_i64(kv_get(g.kv, "old", 3, g.now_ms, &item), -ENOENT,
	    "but hidden by the clock");
	kv_get(g.kv, "old", 3, 0, &item);
	before = g.apply.expired;
	rig_op(&g, OP_EXPIRED, 0, (int64_t)item.vlsn + 1, 1, a.argv);
	is_i64(kv_get(g.kv, "old", 3, 0, &item), 0, "another VLSN: it stays");
	rig_op(&g, OP_EXPIRED, 0, (int64_t)item.vlsn, 1, a.argv);
	is_i64(kv_get(g.kv, "old", 3, 0, &item), -ENOENT, "its VLSN: it goes");
	is_u64(g.apply.expired, before + 1, "and is counted");
	settle();
}

static size_t
put_op(uint8_t *at, uint16_t code, const char *args)
{
	struct arg_list a = args_of(args);
	size_t n = op_size(a.argc, a.argv);

	put_le32(at, (uint32_t)n);
	op_encode(at + 4, code, 0, 0, a.argc, a.argv);
	return 4 + n;
}

static int multi_rc;

static const char *
run_multi(const char *key, uint64_t watched)
{
	static uint8_t p[512];
	size_t n = 8;

	put_le32(p, 4);
	put_le32(p + 4, key != NULL ? 1 : 0);
	if (key != NULL) {
		put_le64(p + n, watched);
		put_le32(p + n + 8, (uint32_t)strlen(key));
		memcpy(p + n + 12, key, strlen(key));
		n += 12 + strlen(key);
	}
	n += put_op(p + n, OP_SET, "m|1");
	n += put_op(p + n, OP_INCRBY, "s");
	n += put_op(p + n, OP_GET, "m");
	n += put_op(p + n, OP_DEL, "m");
	multi_rc = rig_apply(&g, true, p, n);
	return rig_text(&g.out);
}

static const char done[] = "[OK " NOT_INT " \"1\" 1]";

static void
test_multi(void)
{
	uint64_t seen, none;

	lay_out();
	is_str(run_multi(NULL, 0), done, "MULTI: one answer each");
	seen = kv_watch(g.kv, "s", 1);
	none = kv_watch(g.kv, "nowhere", 7);
	is_str(run_multi("s", seen), done, "watched key is as it was");
	is_str(
	    run_multi("nowhere", none), done, "watched key is still missing");
	run(OP_SET, "s|x", 0, 0);
	is_str(run_multi("s", seen), "nilarray", "a changed key aborts");
	is_str(get("m"), "nil", "and nothing is done");
	run(OP_SET, "nowhere|x", 0, 0);
	is_str(run_multi("nowhere", none), "nilarray", "a new key aborts");
	none = kv_watch(g.kv, "fleeting", 8);
	run(OP_SET, "fleeting|x", 0, 0);
	run(OP_DEL, "fleeting", 0, 0);
	is_str(run_multi("fleeting", none), "nilarray",
	    "one that came and went aborts");
	none = kv_watch(g.kv, "fleeting", 8);
	is_str(run_multi("fleeting", none), done, "watched after that: not");
	run(OP_SET, "timed|x", g.now_ms + 10, 0);
	seen = kv_watch(g.kv, "timed", 5);
	is_str(run_multi("timed", seen), done, "watched while it lives: not");
	g.now_ms += 11;
	is_str(run_multi("timed", seen), "nilarray",
	    "expired since, its deletion not yet logged: aborts");
	settle();
}

/* What cannot be read must not pass for unchanged: no node goes on. */
static void
test_watch_damaged(void)
{
	struct kv_item item;
	uint64_t seen;

	lay_out();
	run(OP_SET, "hurt|x", 0, 0);
	settle();
	if (rig_freeze(&g) != 0 || rig_checkpoint(&g) != 0)
		abort();
	seen = kv_watch(g.kv, "hurt", 4);
	if (kv_lookup_disk(g.kv, "hurt", 4, &item) != 0)
		abort();
	if (mprotect((void *)((uintptr_t)item.data & ~(uintptr_t)4095), 4096,
		PROT_READ | PROT_WRITE) != 0)
		abort();
	*(uint8_t *)(uintptr_t)item.data ^= 1;
	run_multi("hurt", seen);
	is_i64(multi_rc, -EBADMSG, "a damaged watched key is an error");
	*(uint8_t *)(uintptr_t)item.data ^= 1;
}

/* The slots' VLSNs and FLUSHALL's survive the way to disk. */
static void
test_watch_on_disk(void)
{
	uint64_t before, after;

	lay_out();
	run(OP_SET, "w|x", 0, 0);
	before = kv_watch(g.kv, "w", 1);
	run(OP_DEL, "w", 0, 0);
	settle();
	if (rig_freeze(&g) != 0 || rig_checkpoint(&g) != 0)
		abort();
	after = kv_watch(g.kv, "w", 1);
	ok(after > before, "a deletion is seen by WATCH from disk");
	run(OP_FLUSHALL, "", 0, 0);
	ok(kv_watch(g.kv, "other", 5) == g.vlsn, "FLUSHALL raises all slots");
	if (rig_freeze(&g) != 0 || rig_checkpoint(&g) != 0)
		abort();
	ok(kv_watch(g.kv, "other", 5) == g.vlsn, "also from disk");
}

/* Values longer than a page go in chunks and come back the same. */
static void
test_large(void)
{
	static const size_t sizes[] = { 1900, 2000, 2004, 2005, 2006, 2040,
		4075, 4076, 4077, 8152, 8153, 100000, 5000000 };
	size_t i, at, n;
	uint8_t *big, *back;
	struct op_arg argv[2];
	struct kv_item item;
	char key[16];
	bool same;

	for (i = 0; i < NITEMS(sizes); i++) {
		n = sizes[i];
		big = malloc(n);
		back = malloc(n);
		for (at = 0; at < n; at++)
			big[at] = (uint8_t)(at * 31 + at / 251 + n);
		snprintf(key, sizeof(key), "size%zu", n);
		argv[0].data = (const uint8_t *)key;
		argv[0].len = (uint32_t)strlen(key);
		argv[1].data = big;
		argv[1].len = (uint32_t)n;
		rig_op(&g, OP_SET, 0, 0, 2, argv);
		settle();
		if (rig_freeze(&g) != 0 || rig_checkpoint(&g) != 0)
			abort();
		same = kv_get(g.kv, key, strlen(key), 0, &item) == 0 &&
		       item.len == n && kv_copy(g.kv, &item, 0, n, back) == 0 &&
		       memcmp(big, back, n) == 0;
		same = same && kv_copy(g.kv, &item, n / 3, n / 2, back) == 0 &&
		       memcmp(big + n / 3, back, n / 2) == 0;
		rig_op(&g, OP_APPEND, 0, 0, 2, argv);
		same = same && kv_get(g.kv, key, strlen(key), 0, &item) == 0 &&
		       item.len == 2 * n;
		rig_op(&g, OP_DEL, 0, 0, 1, argv);
		ok(same, "value of %zu bytes through the disk", n);
		free(big);
		free(back);
	}
}

/* One record cannot ask for more than every table has room for. */
static void
test_budget(void)
{
	uint8_t *p = malloc(8 + 16 * 64);
	size_t n = 8;
	unsigned i;
	struct op_arg argv[] = { { (const uint8_t *)"k0", 2 },
		{ (const uint8_t *)"x", 1 } };
	char key[3] = "k0";

	put_le32(p, 3);
	put_le32(p + 4, 0);
	for (i = 0; i < 3; i++) {
		key[1] = (char)('0' + i);
		argv[0].data = (const uint8_t *)key;
		put_le32(p + n, (uint32_t)op_size(2, argv));
		op_encode(p + n + 4, OP_SETRANGE, 0, OP_VALUE_MAX - 1, 2, argv);
		n += 4 + op_size(2, argv);
	}
	is_i64(rig_apply(&g, true, p, n), 0, "3 x 512 MiB in one MULTI");
	is_str(rig_text(&g.out),
	    "[536870912 -ERR one transaction cannot change so much at once "
	    "-ERR one transaction cannot change so much at once]",
	    "what one record may not add is refused, the rest is done");
	ok(table_want_freeze(&g.w), "then a freeze is due");
	run(OP_FLUSHALL, "", 0, 0);
	free(p);
}

/* ---- transactions of many operations ---- */

struct batch {
	uint8_t *p;
	size_t n;
	uint32_t count;
};

static void
batch_begin(struct batch *b, size_t room)
{
	b->p = malloc(room);
	b->n = 8;
	b->count = 0;
}

static void
batch_add(struct batch *b, uint16_t code, int64_t num, const char *args)
{
	struct arg_list a = args_of(args);
	size_t n = op_size(a.argc, a.argv);

	put_le32(b->p + b->n, (uint32_t)n);
	op_encode(b->p + b->n + 4, code, 0, num, a.argc, a.argv);
	b->n += 4 + n;
	b->count++;
}

/* As one record; its bytes are freed. */
static int
batch_apply(struct batch *b)
{
	int rc;

	put_le32(b->p, b->count);
	put_le32(b->p + 4, 0);
	rc = rig_apply(&g, true, b->p, b->n);
	free(b->p);
	return rc;
}

#define TOO_MUCH "-ERR one transaction cannot change so much at once"

/* The record says how much it may take, FLUSHALL counts as all do. */
static void
test_bound(void)
{
	struct batch b;
	unsigned i;

	run(OP_FLUSHALL, "", 0, 0);
	g.bound = 1; /* 64 KiB */
	batch_begin(&b, 1024);
	batch_add(&b, OP_SETRANGE, 40000, "a|x");
	batch_add(&b, OP_SETRANGE, 40000, "b|x");
	batch_add(&b, OP_SETRANGE, 20000, "c|x");
	is_i64(batch_apply(&b), 0, "three values in a record of 64 KiB");
	is_str(rig_text(&g.out), "[40001 " TOO_MUCH " 20001]",
	    "what its bound does not hold is refused");
	is_str(run(OP_STRLEN, "b", 0, 0), "0", "and not there");
	batch_begin(&b, 2049 * 24 + 8);
	for (i = 0; i < 2049; i++)
		batch_add(&b, OP_FLUSHALL, 0, "");
	is_i64(batch_apply(&b), 0, "2,049 times FLUSHALL, 32 bytes each");
	ok(strstr(rig_text(&g.out), "OK " TOO_MUCH "]") != NULL,
	    "the last one is beyond 64 KiB");
	is_u64(g.apply.bytes, 65536, "all is counted");
	/* All or nothing: one key more than there is room for. */
	batch_begin(&b, 1024);
	batch_add(&b, OP_MSET, 0, "m1|1|m2|2");
	batch_add(&b, OP_SETRANGE, 65348, "big|x");
	batch_add(&b, OP_DEL, 0, "m1|m2");
	batch_add(&b, OP_RENAME, 0, "m1|m3");
	batch_add(&b, OP_MSET, 0, "m1|3|m2|4");
	batch_add(&b, OP_DEL, 0, "m1|none");
	is_i64(batch_apply(&b), 0, "a record that is nearly full");
	is_str(rig_text(&g.out),
	    "[OK 65349 " TOO_MUCH " " TOO_MUCH " " TOO_MUCH " 1]",
	    "of several keys all are changed, or none");
	is_str(run(OP_MGET, "m1|m2", 0, 0), "[nil \"2\"]", "as was said");
	g.bound = 0;
}

/*
 * A record of the release before has 1 GiB, did not count its FLUSHALLs, and
 * deleted what it could. However much it takes, nothing ends for it.
 */
static void
test_older(void)
{
	uint64_t size = g.w.g->arena_size;
	struct batch b;
	unsigned i;

	ok(size >= g.w.g->arena_nominal + record_bound(&(struct record){ 0 }) +
		       65536 * table_bytes(0, 0) + table_bytes(0, 0),
	    "behind a full table there is room for all of the largest");
	batch_begin(&b, 10000 * 24 + 8);
	for (i = 0; i < 10000; i++)
		batch_add(&b, OP_FLUSHALL, 0, "");
	is_i64(batch_apply(&b), 0, "10,000 times FLUSHALL");
	is_u64(g.apply.bytes, 0, "are not counted");
	is_u64(g.out.len, 5 + 10000, "and all answered OK");
	/* As if that were just not so: an arena that ends soon. */
	g.w.g->arena_size = align_up(table_used(&g.w), 4096) + 4096;
	batch_begin(&b, 10000 * 24 + 64);
	for (i = 0; i < 10000; i++)
		batch_add(&b, OP_FLUSHALL, 0, "");
	batch_add(&b, OP_SET, 0, "k|v");
	g.w.allocated = 0;
	is_i64(batch_apply(&b), 0, "beyond the arena's end");
	ok(memcmp(g.out.data + g.out.len - strlen(TOO_MUCH) + 1, &TOO_MUCH[1],
	       strlen(TOO_MUCH) - 1) == 0,
	    "is an error");
	g.w.g->arena_size = size;
	is_str(run(OP_SET, "k|w", 0, 0), "OK", "and the next record goes on");
	g.bound = UINT16_MAX;
	run(OP_SET, "k|x", 0, 0);
	is_u64(g.apply.bound, REC_BOUND_MAX,
	    "a bound that no release writes is cut to the room there is");
	g.bound = 0;
}

/* What the gateway measures before the append is what applying takes. */
static void
test_need(void)
{
	static const struct {
		uint16_t code;
		const char *args;
		int64_t num;
	} r[] = { { OP_SET, "k|value", 0 }, { OP_SET, "k|v", LATER },
		{ OP_MSET, "a|1|bb|22|a|333", 0 }, { OP_GETSET, "k|vvvv", 0 },
		{ OP_SETRANGE, "range|abc", 1000 }, { OP_SETRANGE, "r|", 9 },
		{ OP_APPEND, "new|abc", 0 }, { OP_APPEND, "new|abc", 2 },
		{ OP_FLUSHALL, "", 0 } };
	struct arg_list a;
	size_t i;

	run(OP_FLUSHALL, "", 0, 0);
	g.bound = 16;
	for (i = 0; i < NITEMS(r); i++) {
		a = args_of(r[i].args);
		run(r[i].code, r[i].args, r[i].num, 0);
		ok(g.apply.bytes ==
			op_need(r[i].code, 0, r[i].num, a.argc, a.argv),
		    "%s %s: as measured", op_name(r[i].code), r[i].args);
	}
	g.bound = 0;
}

/* ---- no memory ---- */

static unsigned waits;
static uint64_t used_at_wait;

/* The frozen generation goes to disk and away; then there is memory. */
static int
let_go(struct rig *rig)
{
	waits++;
	used_at_wait = table_used(&rig->w);
	rig_memory(rig, UINT64_MAX);
	if (!table_view_frozen(atomic_load(&rig->r.table->view)))
		return 0;
	return rig_checkpoint(rig);
}

/*
 * rig_memory() cuts what is behind the active arena: a generation that is
 * frozen in a moment has to lie before it.
 */
static void
active_last(void)
{
	if (place == IN_FROZEN && g.w.g == table_gen_at(g.r.table, 1) &&
	    (rig_freeze(&g) != 0 || rig_checkpoint(&g) != 0))
		abort();
}

/*
 * An operation for which memory ends before its last change: it has changed
 * nothing when it waits, holds on to nothing that goes meanwhile, and begins
 * anew.
 */
static void
test_no_memory(void)
{
	static const struct row r[] = {
		{ OP_MSET, "s|1|n|2", 0, 0, "OK", "n", "\"2\"", 0 },
		{ OP_MSETNX, "x|1|y|2", 0, 0, "1", "y", "\"2\"", 0 },
		{ OP_DEL, "s|n|f", 0, 0, "3", "n", "nil", 0 },
		{ OP_RENAME, "s|t", 0, 0, "OK", "t", "\"text\"", 0 },
		{ OP_APPEND, "s|!", 0, 0, "5", "s", "\"text!\"", 0 },
		{ OP_GETSET, "s|v", 0, 0, "\"text\"", "s", "\"v\"", 0 },
		{ OP_PERSIST, "t", 0, 0, "1", "t", "\"timed\"", 0 },
		{ OP_SETRANGE, "s|Xt", 2, 0, "4", "s", "\"teXt\"", 0 },
		{ OP_FLUSHALL, "", 0, 0, "OK", "s", "nil", 0 },
	};
	uint64_t used, room;
	struct batch b;
	char want[64];
	size_t i;

	g.no_memory = let_go;
	for (i = 0; i < NITEMS(r); i++)
		/* Room for no entry, for one, for two. */
		for (room = 0; room <= 80; room += 40) {
			active_last();
			lay_out();
			/* A record's first half stands when the rest waits. */
			used = table_used(&g.w);
			batch_begin(&b, 1024);
			batch_add(&b, OP_SETRANGE,
			    (int64_t)(align_up(used + 1000, 256 * 1024) - used -
				      room - 40),
			    "fill|x");
			batch_add(&b, r[i].code, r[i].num, r[i].args);
			g.bound = 64;
			rig_memory(&g, 1000);
			waits = 0;
			ok(batch_apply(&b) == 0, "%s, room for %u bytes",
			    op_name(r[i].code), (unsigned)room);
			g.bound = 0;
			rig_memory(&g, UINT64_MAX);
			snprintf(want, sizeof(want), " %s]", r[i].want);
			ok(strstr(rig_text(&g.out), want) != NULL &&
				strcmp(get(r[i].key), r[i].then) == 0,
			    "is done right, having waited %u times", waits);
			if (waits != 0)
				is_u64(used_at_wait,
				    align_up(used + 1000, 256 * 1024) - room,
				    "and changed nothing before");
			settle();
		}
	g.no_memory = NULL;
}

/* ---- answers ---- */

static void
test_answers(void)
{
	static char value[10000], set[10010];
	struct batch b;
	unsigned i;

	memset(value, 'v', sizeof(value) - 1);
	run(OP_FLUSHALL, "", 0, 0);
	snprintf(set, sizeof(set), "k|%s", value);
	run(OP_SET, set, 0, 0);
	g.apply.result_max = 25000;
	batch_begin(&b, 4096);
	for (i = 0; i < 3; i++)
		batch_add(&b, OP_GET, 0, "k");
	batch_add(&b, OP_MGET, 0, "k|k");
	batch_add(&b, OP_GETSET, 0, "k|new");
	batch_add(&b, OP_GET, 0, "k");
	batch_add(&b, OP_INCRBY, 3, "n");
	is_i64(batch_apply(&b), 0, "a transaction with long answers");
	ok(g.out.len < 25000, "together they are bounded");
	ok(strstr(rig_text(&g.out), "] -ERR") == NULL &&
		strstr(rig_text(&g.out),
		    " -ERR this reply is too long: together they are beyond "
		    "max_output -ERR this") != NULL &&
		strstr(rig_text(&g.out), "max_output \"new\" 3]") != NULL,
	    "errors stand for those that do not fit, all changes are done");
	is_str(get("n"), "\"3\"", "as was answered");
	batch_begin(&b, 4096);
	batch_add(&b, OP_KEYS, 0, "*");
	batch_add(&b, OP_RANDOMKEY, 0, "");
	is_i64(batch_apply(&b), 0, "KEYS");
	g.apply.result_max = 0;
	/* Nobody reads them: nothing of them is kept. */
	batch_begin(&b, 300 * 64);
	batch_add(&b, OP_SET, 0, "f|1e4900");
	for (i = 0; i < 200; i++)
		batch_add(&b, OP_INCRBYFLOAT, 0, "f|1");
	put_le32(b.p, b.count);
	put_le32(b.p + 4, 0);
	is_i64(
	    apply_record(&g.apply,
		&(struct record){
		    .type = REC_MULTI, .vlsn = ++g.vlsn, .time_ms = g.now_ms },
		b.p, b.n, NULL),
	    0, "200 long answers that nobody reads");
	free(b.p);
	ok(g.apply.unread.cap <= 16384, "take no memory");
}

#if OWN_REALLOC
/* No memory for answers: the changes stand, and nothing ends. */
static void
test_answers_oom(void)
{
	static char value[30000], set[30010];
	struct batch b;

	memset(value, 'v', sizeof(value) - 1);
	run(OP_FLUSHALL, "", 0, 0);
	snprintf(set, sizeof(set), "k|%s", value);
	run(OP_SET, set, 0, 0);
	vbuf_free(&g.out);
	realloc_max = 20000;
	batch_begin(&b, 4096);
	batch_add(&b, OP_GET, 0, "k");
	batch_add(&b, OP_GETDEL, 0, "k");
	batch_add(&b, OP_INCRBY, 3, "n");
	is_i64(batch_apply(&b), 0, "no memory for long answers");
	is_str(rig_text(&g.out),
	    "[-ERR no memory for this reply -ERR no memory for this reply 3]",
	    "errors stand in their places");
	is_str(get("k"), "nil", "what they deleted is deleted");
	vbuf_free(&g.out);
	vbuf_free(&g.apply.unread);
	realloc_max = 0;
	batch_begin(&b, 4096);
	batch_add(&b, OP_INCRBY, 3, "n");
	batch_add(&b, OP_GET, 0, "n");
	batch_add(&b, OP_SET, 0, "k|v");
	is_i64(batch_apply(&b), 0, "no memory for any answer");
	is_u64(g.out.len, 0, "there is none");
	realloc_max = SIZE_MAX;
	vbuf_free(&g.out);
	is_str(get("n"), "\"6\"", "all changes are done");
	is_str(get("k"), "\"v\"", "to the last");
}
#endif

/* ---- signs of life ---- */

static unsigned beats;

static void
count_beat(void *ctx)
{
	(void)ctx;
	beats++;
}

static unsigned
beats_of(uint16_t code, const char *args)
{
	beats = 0;
	run(code, args, 0, 0);
	return beats;
}

/* Whatever takes long says meanwhile that it lives. */
static void
test_beats(void)
{
	struct op_arg *keys = calloc(6000, sizeof(*keys));
	char *names = malloc(6000 * 16), *value = malloc(5000000);
	struct batch b;
	unsigned i;

	settle();
	g.kv->beat = count_beat;
	run(OP_FLUSHALL, "", 0, 0);
	memset(value, 'v', 5000000);
	for (i = 0; i < 3000; i++) {
		keys[2 * i].data = (uint8_t *)names + 16 * i;
		keys[2 * i].len =
		    (uint32_t)snprintf(names + 16 * i, 16, "key%u", i);
		keys[2 * i + 1] = keys[2 * i];
	}
	beats = 0;
	rig_op(&g, OP_MSET, 0, 0, 6000, keys);
	ok(beats >= 20, "3,000 keys of an MSET: %u beats", beats);
	keys[1].data = (uint8_t *)value;
	keys[1].len = 5000000;
	beats = 0;
	rig_op(&g, OP_APPEND, 0, 0, 2, keys);
	ok(beats >= 1, "a value of 5 MB: %u", beats);
	if (rig_freeze(&g) != 0 || rig_checkpoint(&g) != 0)
		abort();
	ok(beats_of(OP_GET, "key0") >= 20, "read from disk: %u", beats);
	ok(beats_of(OP_KEYS, "*") >= 10, "KEYS over 3,000: %u", beats);
	for (i = 0; i < 3000; i++)
		keys[i] = keys[2 * i];
	beats = 0;
	rig_op(&g, OP_DEL, 0, 0, 3000, keys);
	ok(beats >= 300, "3,000 deletions, looked up on disk: %u", beats);
	batch_begin(&b, 3000 * 64);
	for (i = 0; i < 3000; i++)
		batch_add(&b, OP_PERSIST, 0, "none");
	beats = 0;
	batch_apply(&b);
	ok(beats >= 20, "3,000 operations: %u", beats);
	/* Nearly all buckets are empty. */
	run(OP_FLUSHALL, "", 0, 0);
	ok(beats_of(OP_RANDOMKEY, "") >= 1, "a walk over empty buckets: %u",
	    beats);
	g.kv->beat = NULL;
	free(keys);
	free(names);
	free(value);
}

/* Junk in the log changes nothing, and nothing stops because of it. */
static void
test_malformed(void)
{
	uint8_t junk[64];
	unsigned i, refused = 0;
	uint64_t before = g.apply.malformed;

	run(OP_SET, "s|text", 0, 0);
	for (i = 0; i < 500; i++) {
		memset(junk, (int)(i * 37), sizeof(junk));
		put_le16(junk, (uint16_t)i);
		if (rig_apply(&g, i % 2 != 0, junk, i % sizeof(junk)) != 0)
			break;
		refused +=
		    strcmp(rig_text(&g.out), "-ERR malformed operation") == 0;
	}
	is_u64(refused, 500, "500 payloads of junk are answered");
	is_u64(g.apply.malformed - before, 500, "and counted");
	is_str(get("s"), "\"text\"", "and change nothing");
}

/* A figure, not a promise: machines differ. */
static void
measure(unsigned keys, const char *what)
{
	uint8_t value[100], p[256];
	char key[16];
	struct op_arg argv[] = { { (const uint8_t *)key, 0 },
		{ value, sizeof(value) } };
	struct record rec = { .type = REC_OP };
	uint64_t start = mono_ns(), took;
	unsigned i, n = 200000, mix = 1;
	int rc = 0;

	memset(value, 'v', sizeof(value));
	for (i = 0; i < n && rc == 0; i++) {
		mix = mix * 1103515245 + 12345;
		argv[0].len = (uint32_t)snprintf(
		    key, sizeof(key), "key:%08u", mix % keys);
		op_encode(p, OP_SET, 0, 0, 2, argv);
		rec.vlsn = ++g.vlsn;
		rec.time_ms = g.now_ms;
		rc = apply_record(&g.apply, &rec, p, op_size(2, argv), NULL);
	}
	took = mono_ns() - start;
	ok(rc == 0, "%u SETs of 100 bytes, %s", n, what);
	diag("%.0f records/s, %s", (double)n * 1e9 / (double)took, what);
}

int
main(void)
{
	size_t i;

	rig_open(&g, 8 << 20);
	for (place = IN_ACTIVE; place < PLACES; place++) {
		for (i = 0; i < NITEMS(rows); i++)
			test_row(&rows[i]);
		test_padding();
		test_getrange();
		test_expired();
		test_multi();
	}
	place = ON_DISK;
	test_watch_on_disk();
	test_watch_damaged();
	test_large();
	test_malformed();
	test_bound();
	test_older();
	test_need();
	for (place = IN_ACTIVE; place < PLACES; place++)
		test_no_memory();
	place = ON_DISK;
	test_answers();
#if OWN_REALLOC
	test_answers_oom();
#endif
	test_beats();
	test_budget();
	rig_close(&g);
	rig_open(&g, 64 << 20);
	measure(100000, "into an empty table");
	rig_must(rig_freeze(&g));
	measure(100000, "the same keys in a frozen one");
	rig_must(rig_checkpoint(&g));
	rig_must(rig_freeze(&g));
	rig_must(rig_checkpoint(&g));
	measure(100000, "the same keys on disk");
	rig_close(&g);
	return tap_done();
}
