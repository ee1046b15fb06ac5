/*
 * The attacks. All keys begin with 'h', 'B' or such, never with the witness's
 * "wit:"; how many there are, and how long what they hold gets, is bounded, so
 * that a long run attacks the node and not the disk's size. What would end the
 * node or others' connections by right (SHUTDOWN, CLIENT KILL) is not here.
 */
#include "t/hostile/script.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_VALUE   (16u << 20) /* [store] max_value's default */
#define MAX_QUERY   (64u << 20) /* [listen] max_query's */
#define SMALL_KEYS  2000
#define BIG_KEYS    8
#define ARGS_BYTES  (2u << 20) /* of a command whose arguments are repeated */
#define EXPIRY_KEYS 20000

const char *const kind_names[KIND_COUNT] = {
	[KIND_CHATTER] = "chatter",
	[KIND_TRANSACTION] = "transaction",
	[KIND_BIG] = "big",
	[KIND_BIG_READS] = "big_reads",
	[KIND_SLOW_READER] = "slow_reader",
	[KIND_HALF] = "half",
	[KIND_TRICKLE] = "trickle",
	[KIND_GARBAGE] = "garbage",
	[KIND_CONNECT] = "connect",
	[KIND_EXPIRY] = "expiry",
	[KIND_COLLISION] = "collision",
	[KIND_MANY_ARGS] = "many_args",
	[KIND_GLOB] = "glob",
	[KIND_WATCH] = "watch",
	[KIND_HELLO] = "hello",
	[KIND_FLUSH] = "flush",
	[KIND_HTTP_PROBE] = "http_probe",
	[KIND_HTTP_TRICKLE] = "http_trickle",
	[KIND_HTTP_GIANT] = "http_giant",
	[KIND_HTTP_BODY] = "http_body",
	[KIND_HTTP_GARBAGE] = "http_garbage",
};

/* Of a hundred lives each. */
static uint8_t weights[ROLE_COUNT][KIND_COUNT] = {
	[ROLE_BUSY] = {
		[KIND_CHATTER] = 43,
		[KIND_TRANSACTION] = 15,
		[KIND_BIG] = 2,
		[KIND_BIG_READS] = 5,
		[KIND_GARBAGE] = 10,
		[KIND_CONNECT] = 10,
		[KIND_EXPIRY] = 3,
		[KIND_COLLISION] = 3,
		[KIND_MANY_ARGS] = 2,
		[KIND_GLOB] = 3,
		[KIND_WATCH] = 3,
		[KIND_HELLO] = 1,
	},
	[ROLE_WAITING] = {
		[KIND_SLOW_READER] = 35,
		[KIND_HALF] = 35,
		[KIND_TRICKLE] = 30,
	},
	[ROLE_HTTP] = {
		[KIND_HTTP_PROBE] = 15,
		[KIND_HTTP_TRICKLE] = 55,
		[KIND_HTTP_GIANT] = 10,
		[KIND_HTTP_BODY] = 10,
		[KIND_HTTP_GARBAGE] = 10,
	},
	[ROLE_FLUSH] = { [KIND_FLUSH] = 100 },
};

/*
 * Commands, "$x" standing for what put_arg() draws; "..." repeats the
 * arguments before it.
 */
static const char *const commands[] = {
	"GET $k",
	"SET $k $v",
	"SET $k $v EX $i",
	"SET $k $v PX $i",
	"SET $k $v EXAT $t",
	"SET $k $v PXAT $t",
	"SET $k $v NX GET",
	"SET $k $v XX KEEPTTL",
	"SET $k $v IFEQ $v",
	"SET $b $V",
	"APPEND $k $v",
	"DECR $k",
	"DECRBY $k $i",
	"INCR $k",
	"INCRBY $k $i",
	"INCRBYFLOAT $k $i",
	"GETDEL $k",
	"GETEX $k",
	"GETEX $k PX $i",
	"GETEX $k PXAT $t",
	"GETEX $k PERSIST",
	"GETRANGE $k $i $i",
	"GETRANGE $b $i $i",
	"GETSET $k $v",
	"MGET $k ...",
	"MSET $k $v ...",
	"MSETNX $k $v ...",
	"PSETEX $k $i $v",
	"SETEX $k $i $v",
	"SETNX $k $v",
	"SETRANGE $k $n $v",
	"SETRANGE $b $o $v",
	"STRLEN $k",
	"SUBSTR $k $i $i",
	"DBSIZE",
	"DEL $k ...",
	"EXISTS $k ...",
	"EXPIRE $k $i",
	"EXPIRE $k $i NX",
	"EXPIREAT $k $t",
	"EXPIREAT $k $i GT",
	"EXPIRETIME $k",
	"KEYS $p",
	"PERSIST $k",
	"PEXPIRE $k $i",
	"PEXPIRE $k $i LT",
	"PEXPIREAT $k $t",
	"PEXPIREAT $k $i",
	"PEXPIRETIME $k",
	"PTTL $k",
	"RANDOMKEY",
	"RENAME $k $k",
	"RENAME $b $b",
	"RENAMENX $k $k",
	"TOUCH $k ...",
	"TTL $k",
	"TYPE $k",
	"UNLINK $k ...",
	"SCAN $i MATCH $p COUNT $i",
	"SCAN 0 COUNT $i",
	"SCAN 0 TYPE string",
/* From here on EXEC may fail for them. */
#define DATA_COMMANDS 61
	"UNWATCH",
	"AUTH $v",
	"AUTH $v $v",
	"CLIENT LIST",
	"CLIENT ID",
	"CLIENT GETNAME",
	"CLIENT SETNAME $v",
	"CLIENT REPLY ON",
	"CLIENT NOSUCH $v",
	"ECHO $v",
	"HELLO $i",
	"HELLO 3 AUTH $v $v SETNAME $v",
	"PING",
	"PING $v",
	"SELECT $i",
	"COMMAND",
	"COMMAND COUNT",
	"COMMAND INFO $v ...",
	"COMMAND DOCS",
	"COMMAND GETKEYS MSET $k $v ...",
	"CONFIG GET $p",
	"CONFIG SET $v $v",
	"INFO",
	"INFO $v ...",
	"NODELIFE $v",
	"ROLE",
	"TIME",
	"WAIT $i 1",
	"WAITAOF 1 0 1",
	"$v $v ...",
	"MSET $k",
	"MULTI",
	"EXEC",
	"DISCARD",
	"WATCH $k ...",
};

static const char *const integers[] = { "0", "1", "-1", "2", "100", "4095",
	"65536", "2147483647", "-2147483648", "4294967296", "16777215",
	"16777216", "536870911", "1000000000000", "9223372036854775",
	"9223372036854775806", "9223372036854775807", "9223372036854775808",
	"-9223372036854775808", "-9223372036854775809", "18446744073709551615",
	"1e400", "-1e-400", "3.0e3", "inf", "nan", "0x10", "+1", " 1", "1 ",
	"01", "-0", "", "x", "99999999999999999999999999999999999999999999" };

static const char *const patterns[] = { "*", "h*", "?", "h?0*", "*\\", "[",
	"[^", "[a-", "[z-a]*", "h[0-9]*[0-9]*[0-9]*x", "**************", "",
	"a*a*a*a*a*a*a*a*a*a*a*a*b", "*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b",
	"a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b",
	"[^b]*[^b]*[^b]*[^b]*[^b]*[^b]*[^b]*c" };

/* ---- bytes ---- */

static void
put(struct bytes *b, const void *data, size_t n)
{
	if (b->len + n > b->cap) {
		b->cap = (b->len + n) * 2 + 256;
		if ((b->data = realloc(b->data, b->cap)) == NULL)
			die("memory");
	}
	if (data != NULL)
		memcpy(b->data + b->len, data, n);
	else
		memset(b->data + b->len, 'v', n);
	b->len += n;
}

__attribute__((format(printf, 2, 3))) static void
put_text(struct bytes *b, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	put(b, text, strlen(text));
}

/* NULL data: n bytes of no meaning. */
static void
put_bulk(struct bytes *b, const void *data, size_t n)
{
	put_text(b, "$%zu\r\n", n);
	put(b, data, n);
	put(b, "\r\n", 2);
}

static void
put_random(struct bytes *b, uint64_t *rng, size_t n)
{
	for (; n > 0; n--) {
		uint8_t c = (uint8_t)rnd(rng);

		put(b, &c, 1);
	}
}

/* ---- arguments ---- */

static void
put_key(struct bytes *b, uint64_t *rng)
{
	unsigned i = (unsigned)rnd_below(rng, SMALL_KEYS);
	char key[512];
	size_t n;

	memset(key, 'a', sizeof(key));
	n = (size_t)snprintf(key, sizeof(key), "h%u", i);
	key[n] = 'a';
	if (i % 20 == 1)
		n = 511;
	else if (i % 200 == 2)
		n = 512;
	else if (i % 200 == 3)
		n = 0;
	else if (i % 200 == 4)
		n = 1;
	put_bulk(b, key, n);
}

static size_t
value_size(uint64_t *rng)
{
	static const size_t edges[] = { 0, 1, 19, 20, 40, 44, 511, 512, 4095,
		4096, 4097, 65535, 65536, 65537, 131072, 131073 };
	uint64_t r = rnd_below(rng, 100);

	if (r < 60)
		return rnd_below(rng, 24);
	if (r < 90)
		return rnd_below(rng, 1024);
	return edges[rnd_below(rng, NITEMS(edges))];
}

static void
put_value(struct bytes *b, uint64_t *rng)
{
	size_t n = value_size(rng);

	if (n < 24 && rnd_below(rng, 2)) {
		const char *t = integers[rnd_below(rng, NITEMS(integers))];

		put_bulk(b, t, strlen(t));
	} else
		put_bulk(b, NULL, n);
}

static int64_t
wall_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void
put_number(struct bytes *b, int64_t n)
{
	char text[24];

	put_bulk(b, text,
	    (size_t)snprintf(text, sizeof(text), "%lld", (long long)n));
}

/*
 * Most of the time no more than a table takes at once: who writes largest
 * values only, attacks the disk, and all others wait behind.
 */
static size_t
large(uint64_t *rng, size_t most)
{
	return rnd_below(rng, 16) ? 8192 : most;
}

static void
put_arg(struct bytes *b, uint64_t *rng, char what)
{
	char big[] = "B0";
	const char *t;

	switch (what) {
	case 'k':
		put_key(b, rng);
		return;
	case 'b':
		big[1] += (char)rnd_below(rng, BIG_KEYS);
		put_bulk(b, big, 2);
		return;
	case 'v':
		put_value(b, rng);
		return;
	case 'V':
		put_bulk(b, NULL, rnd_below(rng, large(rng, 1u << 20)));
		return;
	case 'n':
		put_number(b, (int64_t)rnd_below(rng, 4000));
		return;
	case 'o':
		put_number(
		    b, (int64_t)rnd_below(rng, large(rng, MAX_VALUE + 4000)));
		return;
	case 't':
		put_number(b, wall_ms() + (int64_t)rnd_below(rng, 2000) - 500);
		return;
	case 'p':
		t = patterns[rnd_below(rng, NITEMS(patterns))];
		break;
	default:
		t = integers[rnd_below(rng, NITEMS(integers))];
		break;
	}
	put_bulk(b, t, strlen(t));
}

/* How many of something: mostly few, seldom up to most. */
static unsigned
many(uint64_t *rng, unsigned most)
{
	unsigned top = 1u << rnd_below(rng, 17);

	return 1 + (unsigned)rnd_below(rng, top < most ? top : most);
}

/* Put the arguments of one template; how many. */
static unsigned
put_args(struct bytes *b, uint64_t *rng, const char *t, size_t n)
{
	unsigned count = 0;

	while (n > 0) {
		size_t word = 0;

		while (word < n && t[word] != ' ')
			word++;
		if (t[0] == '$')
			put_arg(b, rng, t[1]);
		else
			put_bulk(b, t, word);
		count++;
		word += word < n;
		t += word;
		n -= word;
	}
	return count;
}

static void
put_template(struct bytes *b, uint64_t *rng, const char *t)
{
	const char *dots = strstr(t, " ..."), *args = strchr(t, ' ');
	size_t most = rnd_below(rng, 16) ? 4096 : ARGS_BYTES;
	struct bytes body = { 0 };
	unsigned argc, more;

	argc = put_args(&body, rng, t, dots ? (size_t)(dots - t) : strlen(t));
	if (dots != NULL)
		for (more = many(rng, 20000); more > 0 && body.len < most;
		     more--)
			argc += put_args(&body, rng, args + 1,
			    (size_t)(dots > args ? dots - args - 1 : 0));
	put_text(b, "*%u\r\n", argc);
	put(b, body.data, body.len);
	free(body.data);
}

static void
put_command(struct bytes *b, uint64_t *rng, bool any)
{
	size_t n = any ? NITEMS(commands) : DATA_COMMANDS;

	put_template(b, rng, commands[rnd_below(rng, n)]);
}

/* ---- keys of one checksum ---- */

static uint32_t crc_table[256];

static uint32_t
crc_step(uint32_t crc, uint8_t byte)
{
	return crc >> 8 ^ crc_table[(crc ^ byte) & 255];
}

static void
crc_prepare(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;

		for (int bit = 0; bit < 8; bit++)
			c = c >> 1 ^ (c & 1 ? 0x82f63b78u : 0);
		crc_table[i] = c;
	}
}

/*
 * Key number i: 12 bytes of its own and 4 that take CRC32C's register from
 * where those leave it to want. The table's high bytes are all different, so
 * the register can be followed back.
 */
static void
put_colliding_key(struct bytes *b, unsigned i, uint32_t want)
{
	char key[17];
	uint32_t at = 0xffffffffu, back = want;

	if (crc_table[1] == 0)
		crc_prepare();
	snprintf(key, sizeof(key), "hc%010u", i);
	for (int n = 0; n < 12; n++)
		at = crc_step(at, (uint8_t)key[n]);
	for (int n = 0; n < 4; n++) {
		uint32_t j = 0;

		while (crc_table[j] >> 24 != back >> 24)
			j++;
		back = (back ^ crc_table[j]) << 8 | j;
	}
	at ^= back;
	for (int n = 0; n < 4; n++)
		key[12 + n] = (char)(at >> (8 * n));
	put_bulk(b, key, 16);
}

/* ---- the kinds ---- */

static void
make_chatter(struct script *s, uint64_t *rng)
{
	s->answers = 1 + rnd_below(rng, 60);
	for (unsigned i = 0; i < s->answers; i++)
		put_command(&s->head, rng, true);
	s->half_close = rnd_below(rng, 8) == 0;
	if (rnd_below(rng, 6) == 0) {
		/* Cut anywhere, and closed, or left as it is. */
		s->cut = rnd_below(rng, s->head.len);
		s->answers = 0;
		s->hold_ms = rnd_below(rng, 2) ? 20 : 3000;
	}
}

static void
make_transaction(struct script *s, uint64_t *rng)
{
	bool any = rnd_below(rng, 4) == 0, watch = rnd_below(rng, 3) == 0;
	bool nested = rnd_below(rng, 10) == 0;
	unsigned n = many(rng, 5000), i, end = (unsigned)rnd_below(rng, 10);

	if (watch)
		put_template(&s->head, rng, "WATCH $k ...");
	put_template(&s->head, rng, "MULTI");
	for (i = 0; i < n && s->head.len < (8u << 20); i++)
		put_command(&s->head, rng, any);
	if (nested)
		put_template(&s->head, rng, "MULTI");
	if (end != 0)
		put_template(&s->head, rng, end == 1 ? "DISCARD" : "EXEC");
	s->answers = watch + 1 + i + nested + (end != 0);
	s->hold_ms = 10000;
}

/* Long values in every way that makes them. */
static void
make_big(struct script *s, uint64_t *rng)
{
	static const char *const offsets[] = { "SETRANGE $b 16777215 x",
		"SETRANGE $b 16777216 x", "SETRANGE $b 536870911 x",
		"SETRANGE $b 4294967295 x", "SETRANGE $b 16000000 $V" };
	size_t n;

	switch (rnd_below(rng, 4)) {
	case 0:
		n = MAX_VALUE - 2 + rnd_below(rng, 4);
		put_text(&s->head, "*3\r\n$3\r\nSET\r\n$2\r\nB%u\r\n$%zu\r\n",
		    (unsigned)rnd_below(rng, BIG_KEYS), n);
		s->fill = n;
		s->tail = "\r\n";
		s->answers = s->repeat = 1 + (unsigned)rnd_below(rng, 4);
		break;
	case 1:
		put_template(&s->head, rng, "APPEND $b $V");
		s->answers = s->repeat = 1 + (unsigned)rnd_below(rng, 40);
		break;
	case 2:
		put_template(
		    &s->head, rng, offsets[rnd_below(rng, NITEMS(offsets))]);
		s->answers = s->repeat = 1 + (unsigned)rnd_below(rng, 20);
		break;
	default:
		put_template(&s->head, rng, "MULTI");
		for (n = many(rng, 200); n > 0; n--)
			put_template(&s->head, rng,
			    offsets[rnd_below(rng, NITEMS(offsets))]);
		put_template(&s->head, rng, "EXEC");
		put_template(&s->head, rng, "DEL B0 B1 B2 B3 B4 B5 B6 B7");
		break;
	}
	s->hold_ms = 10000;
}

/* Replies that are as long as replies can be, read as fast as they come. */
static void
make_big_reads(struct script *s, uint64_t *rng)
{
	static const char *const reads[] = { "GET $b",
		"MGET B0 B1 B2 B3 B4 B5 B6 B7", "GETRANGE $b 0 -1",
		"MGET $b ...", "COMMAND DOCS", "CLIENT LIST" };
	bool exec = rnd_below(rng, 2);
	size_t n = many(rng, 100);

	if (exec)
		put_template(&s->head, rng, "MULTI");
	s->answers = exec ? n + 2 : n;
	for (; n > 0; n--)
		put_template(
		    &s->head, rng, reads[rnd_below(rng, NITEMS(reads))]);
	if (exec)
		put_template(&s->head, rng, "EXEC");
	s->hold_ms = 5000;
}

/* Asks for much, and takes nothing, or a byte now and then. */
static void
make_slow_reader(struct script *s, uint64_t *rng)
{
	static const char *const asks[] = { "GET $b", "GET $k", "KEYS *",
		"INFO", "COMMAND", "ECHO $v", "MGET $b ...",
		"SCAN 0 COUNT 1000" };

	put_template(&s->head, rng, asks[rnd_below(rng, NITEMS(asks))]);
	s->repeat = 1000 + (unsigned)rnd_below(rng, 100000);
	s->read_step = rnd_below(rng, 3);
	s->read_us = 1000 + (unsigned)rnd_below(rng, 100000);
	s->hold_ms = 2000 + (unsigned)rnd_below(rng, 8000);
}

/* Most of a request that is within every limit, and never its end. */
static void
make_half(struct script *s, uint64_t *rng)
{
	size_t n = (15u << 20) - rnd_below(rng, 1u << 20);

	if (rnd_below(rng, 4) == 0) {
		/* Many arguments before the one that never ends. */
		n = many(rng, 60000);
		put_text(&s->head, "*%zu\r\n$3\r\nDEL\r\n", n + 2);
		for (; n > 0; n--)
			put_text(&s->head, "$1\r\nh\r\n");
	} else {
		put_text(&s->head, "*3\r\n$3\r\nSET\r\n$1\r\nh\r\n$%zu\r\n", n);
		s->fill = n - 1;
	}
	s->hold_ms = 2000 + (unsigned)rnd_below(rng, 8000);
}

static void
make_trickle(struct script *s, uint64_t *rng)
{
	unsigned n = 1 + (unsigned)rnd_below(rng, 10);

	for (s->answers = n; n > 0; n--)
		put_command(&s->head, rng, true);
	s->write_step = 1 + rnd_below(rng, 3);
	s->write_us = 200 + (unsigned)rnd_below(rng, 20000);
	s->hold_ms = 4000;
}

static void
make_garbage(struct script *s, uint64_t *rng)
{
	static const char post[] =
	    "POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 20\r\n\r\n"
	    "SET hx http\r\nPING\r\n";
	static const char *const texts[] = { "*", "*-1\r\n", "*0\r\n", post,
		"*1048577\r\n", "*99999999999999999999\r\n", "$5\r\nhello\r\n",
		"*1\r\n$-1\r\n", "*1\r\n$4\r\nPINGxx", "*2\r\n*1\r\n",
		"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n",
		"Host: here\r\nSET hx host\r\n", "PING\r\n", "PING\n\n\n",
		"SET hi 'in line'\r\n", "SET \"unbalanced\r\n",
		"\x16\x03\x01\x02", "GET \"\\x00\\xff\"\r\n",
		"QUIT\r\nPING\r\n", "%1\r\n+a\r\n:1\r\n", "~2\r\n", "_\r\n" };
	size_t n;

	switch (rnd_below(rng, 4)) {
	case 0:
		put_random(&s->head, rng, 1 + rnd_below(rng, 5000));
		break;
	case 1:
		for (n = 1 + rnd_below(rng, 5); n > 0; n--)
			put_text(&s->head, "%s",
			    texts[rnd_below(rng, NITEMS(texts))]);
		break;
	case 2:
		/* A good pipeline with some bytes changed. */
		for (n = 1 + rnd_below(rng, 20); n > 0; n--)
			put_command(&s->head, rng, true);
		for (n = 1 + rnd_below(rng, 8); n > 0; n--)
			s->head.data[rnd_below(rng, s->head.len)] =
			    (uint8_t)rnd(rng);
		break;
	default:
		/* A line, or a number, that does not end. */
		put_text(&s->head, rnd_below(rng, 2) ? "SET h " : "*1");
		s->fill = 1u << rnd_below(rng, 21);
		break;
	}
	s->hold_ms = 100 + (unsigned)rnd_below(rng, 1000);
}

static void
make_connect(struct script *s, uint64_t *rng)
{
	s->hold_ms = rnd_below(rng, 4) ? 0 : 1;
	s->rude = rnd_below(rng, 16) != 0;
}

/* Ten thousands of keys that all end within one millisecond, or just have. */
static void
make_expiry(struct script *s, uint64_t *rng)
{
	int64_t at = wall_ms() + (int64_t)rnd_below(rng, 1500) - 100;
	unsigned n = many(rng, EXPIRY_KEYS);
	char key[16];

	for (unsigned i = 0; i < n; i++) {
		snprintf(key, sizeof(key), "hx%u", i);
		put_text(&s->head, "*5\r\n$3\r\nSET\r\n");
		put_bulk(&s->head, key, strlen(key));
		put_text(&s->head, "$1\r\nv\r\n$4\r\nPXAT\r\n");
		put_number(&s->head, at);
	}
	s->answers = n;
	s->hold_ms = 5000;
}

/* One expiry and one checksum for all keys of one record. */
static void
make_collision(struct script *s, uint64_t *rng)
{
	int64_t at = wall_ms() + 1000 + (int64_t)rnd_below(rng, 4000);
	uint32_t want = (uint32_t)rnd(rng);
	unsigned n = many(rng, 4000);

	put_template(&s->head, rng, "MULTI");
	for (unsigned i = 0; i < n; i++) {
		put_text(&s->head, "*5\r\n$3\r\nSET\r\n");
		put_colliding_key(&s->head, i, want);
		put_text(&s->head, "$1\r\nv\r\n$4\r\nPXAT\r\n");
		put_number(&s->head, at);
	}
	put_template(&s->head, rng, "EXEC");
	s->answers = n + 2;
	s->hold_ms = 5000;
}

static void
make_many_args(struct script *s, uint64_t *rng)
{
	static const char *const names[] = { "DEL", "EXISTS", "MGET", "MSET",
		"UNLINK", "TOUCH", "WATCH", "NOSUCH", "ECHO" };
	const char *name = names[rnd_below(rng, NITEMS(names))];
	unsigned n = many(rng, 1u << 16) * 16;

	put_text(&s->head, "*%u\r\n$%zu\r\n%s\r\n", n, strlen(name), name);
	for (unsigned i = 1; i < n; i++)
		put_text(&s->head, "$2\r\nh%c\r\n", (char)('0' + i % 10));
	s->answers = 1;
	s->hold_ms = 10000;
}

static void
make_glob(struct script *s, uint64_t *rng)
{
	struct bytes bomb = { 0 };
	unsigned n;

	/* Something for them to match, almost. */
	for (n = 0; n < 20; n++) {
		char key[512];

		memset(key, 'a', sizeof(key));
		snprintf(key, sizeof(key), "%02u", n);
		key[2] = 'a';
		put_text(&s->head, "*3\r\n$3\r\nSET\r\n");
		put_bulk(&s->head, key, 400 + n);
		put_text(&s->head, "$1\r\nv\r\n");
	}
	for (n = (unsigned)rnd_below(rng, 510); n > 0; n--)
		put(&bomb, "*a", 2);
	put(&bomb, "b", 1);
	put_text(&s->head, "*2\r\n$4\r\nKEYS\r\n");
	put_bulk(&s->head, bomb.data, bomb.len);
	put_text(&s->head, "*4\r\n$4\r\nSCAN\r\n$1\r\n0\r\n$5\r\nMATCH\r\n");
	put_bulk(&s->head, bomb.data, bomb.len);
	put_template(&s->head, rng, "KEYS $p");
	put_template(&s->head, rng, "SCAN $i MATCH $p COUNT $i");
	put_template(&s->head, rng, "RANDOMKEY");
	free(bomb.data);
	s->answers = 25;
	s->hold_ms = 10000;
}

static void
make_watch(struct script *s, uint64_t *rng)
{
	unsigned n = many(rng, 65536) + (rnd_below(rng, 8) ? 0 : 65530);

	put_text(&s->head, "*%u\r\n$5\r\nWATCH\r\n", n + 1);
	for (unsigned i = 0; i < n; i++) {
		char key[16];

		snprintf(key, sizeof(key), "h%u", i);
		put_bulk(&s->head, key, strlen(key));
	}
	put_template(&s->head, rng, "MULTI");
	put_template(&s->head, rng, "SET $k $v");
	put_template(&s->head, rng, "EXEC");
	s->answers = 4;
	s->hold_ms = 5000;
}

static void
make_hello(struct script *s, uint64_t *rng)
{
	put_template(&s->head, rng, "HELLO 3");
	put_template(&s->head, rng, "AUTH $v");
	put_template(&s->head, rng, "HELLO 2 AUTH default $v");
	put_template(&s->head, rng, "RESET");
	s->repeat = 1 + (unsigned)rnd_below(rng, 2000);
	s->answers = 4 * (uint64_t)s->repeat;
	s->hold_ms = 3000;
}

/* FLUSHALL, and what a record may hold beside it. */
static void
make_flush(struct script *s, uint64_t *rng)
{
	unsigned sets = many(rng, 64), flushes = many(rng, 10000), i;

	script_flush(s);
	if (rnd_below(rng, 3) == 0)
		return;
	s->head.len = 0;
	put_template(&s->head, rng, "MULTI");
	for (i = 0; i < sets; i++) {
		char key[16];

		snprintf(key, sizeof(key), "S%u", i);
		put_text(&s->head, "*4\r\n$8\r\nSETRANGE\r\n");
		put_bulk(&s->head, key, strlen(key));
		put_text(&s->head, "$8\r\n16777000\r\n$1\r\nx\r\n");
	}
	for (i = 0; i < flushes; i++)
		put_text(&s->head, "*1\r\n$8\r\nFLUSHALL\r\n");
	put_template(&s->head, rng, "EXEC");
	s->answers = 2 + sets + flushes;
}

void
script_flush(struct script *s)
{
	uint8_t *data = s->head.data;

	free(data);
	*s = (struct script){ .tail = "",
		.repeat = 1,
		.cut = SCRIPT_ALL,
		.write_step = SCRIPT_ALL,
		.read_step = SCRIPT_ALL,
		.answers = 1,
		.hold_ms = 120000 };
	put_text(&s->head, "*1\r\n$8\r\nFLUSHALL\r\n");
}

static void
make_http(struct script *s, uint64_t *rng, enum kind kind)
{
	static const char *const paths[] = { "/readyz", "/livez", "/healthz",
		"/metrics", "/status", "/", "/%00", "/..%2f..%2fetc/passwd" };
	const char *path = paths[rnd_below(rng, NITEMS(paths))];

	put_text(&s->head, "%s %s HTTP/1.1\r\nHost: x\r\n",
	    kind == KIND_HTTP_BODY ? "POST" : "GET", path);
	s->hold_ms = 2000 + (unsigned)rnd_below(rng, 10000);
	if (kind == KIND_HTTP_PROBE) {
		put_text(&s->head, "\r\n");
		s->repeat = 1 + (unsigned)rnd_below(rng, 50);
		s->hold_ms = 100;
	} else if (kind == KIND_HTTP_TRICKLE) {
		s->fill = 8000;
		s->write_step = 1;
		s->write_us = 10000 + (unsigned)rnd_below(rng, 500000);
	} else if (kind == KIND_HTTP_GIANT) {
		put_text(&s->head, "X-Long: ");
		s->fill = 1u << (10 + rnd_below(rng, 11));
		s->hold_ms = 500;
	} else if (kind == KIND_HTTP_BODY) {
		put_text(&s->head, "Content-Length: %s\r\n\r\n",
		    integers[rnd_below(rng, NITEMS(integers))]);
		s->fill = 1u << (10 + rnd_below(rng, 13));
		s->hold_ms = 1000;
	} else {
		s->head.len = 0;
		put_random(&s->head, rng, 1 + rnd_below(rng, 3000));
		s->hold_ms = 500;
	}
}

static void
make_kind(struct script *s, enum kind kind, uint64_t *rng)
{
	static void (*const makers[KIND_COUNT])(struct script *, uint64_t *) = {
		[KIND_CHATTER] = make_chatter,
		[KIND_TRANSACTION] = make_transaction,
		[KIND_BIG] = make_big,
		[KIND_BIG_READS] = make_big_reads,
		[KIND_SLOW_READER] = make_slow_reader,
		[KIND_HALF] = make_half,
		[KIND_TRICKLE] = make_trickle,
		[KIND_GARBAGE] = make_garbage,
		[KIND_CONNECT] = make_connect,
		[KIND_EXPIRY] = make_expiry,
		[KIND_COLLISION] = make_collision,
		[KIND_MANY_ARGS] = make_many_args,
		[KIND_GLOB] = make_glob,
		[KIND_WATCH] = make_watch,
		[KIND_HELLO] = make_hello,
		[KIND_FLUSH] = make_flush,
	};

	if (makers[kind] != NULL)
		makers[kind](s, rng);
	else
		make_http(s, rng, kind);
}

void
script_make(struct script *s, enum kind kind, uint64_t *rng)
{
	free(s->head.data);
	*s = (struct script){ .tail = "",
		.repeat = 1,
		.cut = SCRIPT_ALL,
		.write_step = SCRIPT_ALL,
		.read_step = SCRIPT_ALL,
		.hold_ms = 3000,
		.rude = true };
	make_kind(s, kind, rng);
}

int
script_only(const char *name)
{
	unsigned kind = 0, role;

	while (kind < KIND_COUNT && strcmp(name, kind_names[kind]) != 0)
		kind++;
	if (kind == KIND_COUNT)
		return -1;
	memset(weights, 0, sizeof(weights));
	for (role = 0; role < ROLE_COUNT; role++)
		weights[role][kind] = 100;
	return 0;
}

enum kind
script_kind(uint64_t *rng, enum role role)
{
	int at = (int)rnd_below(rng, 100);
	unsigned kind = 0;

	while ((at -= weights[role][kind]) >= 0)
		kind++;
	return kind;
}
