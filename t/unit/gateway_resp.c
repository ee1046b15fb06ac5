/*
 * The request parser: commands whole, cut at every byte, byte by byte, behind
 * each other; every refusal with its text; limits at, below and above; random
 * bytes must end in a verdict and never be read twice differently.
 */
#include "workers/gateway/io/resp.h"

#include <stdlib.h>
#include <string.h>
#include "t/tap.h"

static const struct resp_limits limits = { .bulk_max = 1 << 20 };

/* Parse text given in pieces of `step` bytes; the arguments joined by '|'. */
static enum resp_status
parse_steps(const char *text, size_t n, size_t step, char *out, size_t out_n,
    uint64_t *used)
{
	struct resp p = { 0 };
	enum resp_status st = RESP_MORE;
	size_t have = 0, at = 0;

	resp_reset(&p);
	while (st == RESP_MORE && have < n) {
		have = have + step < n ? have + step : n;
		/* A copy of exactly what came: reading beyond it is seen. */
		uint8_t *copy = malloc(have);

		memcpy(copy, text, have);
		st = resp_next(&p, copy, have, &limits);
		if (st == RESP_COMMAND) {
			for (uint32_t i = 0; i < p.argc; i++) {
				const struct resp_arg *a = &resp_args(&p)[i];
				const uint8_t *from =
				    p.line != NULL ? p.line : copy;

				if (at + a->len + 2 > out_n)
					break;
				if (i > 0)
					out[at++] = '|';
				memcpy(out + at, from + a->off, a->len);
				at += a->len;
			}
		} else if (st == RESP_BAD) {
			resp_error(&p, out, out_n);
			at = strlen(out);
		}
		free(copy);
	}
	out[at] = '\0';
	*used = p.pos;
	resp_free(&p);
	return st;
}

static void
good(const char *text, const char *args)
{
	char out[4096];
	size_t n = strlen(text), step;
	bool same = true;
	uint64_t used;

	for (step = n; step > 0; step--) {
		enum resp_status st =
		    parse_steps(text, n, step, out, sizeof(out), &used);

		if (st != RESP_COMMAND || used != n || strcmp(out, args) != 0) {
			same = false;
			diag("step %zu: status %d, %s", step, (int)st, out);
		}
	}
	ok(same, "%zu bytes, %zu of arguments, in pieces of every size", n,
	    strlen(args));
}

static void
bad(const char *text, const char *why)
{
	char out[4096], want[256];
	size_t n = strlen(text), step;
	bool same = true;
	uint64_t used;

	snprintf(want, sizeof(want), "Protocol error: %s", why);
	for (step = n; step > 0; step--) {
		enum resp_status st =
		    parse_steps(text, n, step, out, sizeof(out), &used);

		if (st != RESP_BAD || strcmp(out, want) != 0) {
			same = false;
			diag("step %zu: status %d, %s", step, (int)st, out);
		}
	}
	ok(same, "refused: %s", why);
}

static void
test_multibulk(void)
{
	good("*1\r\n$4\r\nPING\r\n", "PING");
	good(
	    "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nva\r\nl\r\n", "SET|k|va\r\nl");
	good("*2\r\n$3\r\nGET\r\n$0\r\n\r\n", "GET|");
	good("*10\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n$1\r\n4\r\n$1\r\n5\r\n"
	     "$1\r\n6\r\n$1\r\n7\r\n$1\r\n8\r\n$1\r\n9\r\n$2\r\n10\r\n",
	    "1|2|3|4|5|6|7|8|9|10");
	good("*0\r\n", "");
	good("*-1\r\n", "");
	bad("*x\r\n", "invalid multibulk length");
	bad("*\r\n", "invalid multibulk length");
	bad("*01\r\n", "invalid multibulk length");
	bad("*1048577\r\n", "invalid multibulk length");
	bad("*99999999999999999999\r\n", "invalid multibulk length");
	bad("*1\r\n+PING\r\n", "expected '$', got '+'");
	bad("*1\r\n$-1\r\n", "invalid bulk length");
	bad("*1\r\n$4\r\nPINGxx", "bulk string without its end");
	bad("*1\r\n$1x\r\n", "invalid bulk length");
	bad("*1\r\n$1048577\r\n", "invalid bulk length");
	bad("*1\r\n$18446744073709551616\r\n", "invalid bulk length");
}

static void
test_inline(void)
{
	good("PING\r\n", "PING");
	good("PING\n", "PING");
	good("  SET  k \t v  \r\n", "SET|k|v");
	good("\r\n", "");
	good("   \r\n", "");
	good("SET k \"a b\"\r\n", "SET|k|a b");
	good("SET k \"a\\x41\\n\\\"\"\r\n", "SET|k|aA\n\"");
	good("SET k 'a \\' \\n'\r\n", "SET|k|a ' \\n");
	good("SET k \"\"\r\n", "SET|k|");
	good("a\"b\"\r\n", "ab");
	bad("SET k \"a\r\n", "unbalanced quotes in request");
	bad("SET k \"a\"b\r\n", "unbalanced quotes in request");
	bad("SET k 'a\r\n", "unbalanced quotes in request");
	bad("SET k \"a\\\r\n", "unbalanced quotes in request");
}

/* Lines that never end are refused once they are too long. */
static void
test_lines(void)
{
	size_t n = RESP_LINE_MAX + 16;
	char *text = malloc(n), out[128];
	uint64_t used;

	memset(text, 'a', n);
	is_u64(parse_steps(text, n, 4096, out, sizeof(out), &used), RESP_BAD,
	    "a line without an end");
	is_str(out, "Protocol error: too big inline request", "its text");
	text[0] = '*';
	is_u64(parse_steps(text, n, 4096, out, sizeof(out), &used), RESP_BAD,
	    "a count without an end");
	is_str(out, "Protocol error: too big mbulk count string", "its text");
	memcpy(text, "*1\r\n$", 5);
	is_u64(parse_steps(text, n, 4096, out, sizeof(out), &used), RESP_BAD,
	    "a length without an end");
	is_str(out, "Protocol error: too big bulk count string", "its text");
	free(text);
}

static void
test_unauth(void)
{
	struct resp_limits closed = { .bulk_max = 1 << 20, .unauth = true };
	struct resp p = { 0 };
	char text[128];

	resp_reset(&p);
	is_u64(resp_next(&p, (const uint8_t *)"*11\r\n", 5, &closed), RESP_BAD,
	    "eleven arguments before AUTH");
	resp_error(&p, text, sizeof(text));
	is_str(text, "Protocol error: unauthenticated multibulk length",
	    "its text");
	resp_reset(&p);
	is_u64(resp_next(&p, (const uint8_t *)"*1\r\n$16385\r\n", 12, &closed),
	    RESP_BAD, "a long bulk before AUTH");
	resp_error(&p, text, sizeof(text));
	is_str(text, "Protocol error: unauthenticated bulk length", "its text");
	resp_free(&p);
}

/* A pipeline is taken apart command by command, at any cut of its bytes. */
static void
test_pipeline(void)
{
	static const char text[] = "*2\r\n$3\r\nGET\r\n$1\r\na\r\n"
				   "PING\r\n\r\n*0\r\n"
				   "*1\r\n$4\r\nQUIT\r\n";
	static const uint32_t argc[] = { 2, 1, 0, 0, 1 };
	size_t n = sizeof(text) - 1, cut;
	bool same = true;

	for (cut = 1; cut <= n; cut++) {
		struct resp p = { 0 };
		size_t at = 0, have = cut;
		unsigned count = 0;

		resp_reset(&p);
		while (at < n && count < 5) {
			enum resp_status st = resp_next(
			    &p, (const uint8_t *)text + at, have - at, &limits);

			if (st == RESP_MORE) {
				if (have == n)
					break;
				have = n;
				continue;
			}
			if (st != RESP_COMMAND || p.argc != argc[count])
				break;
			count++;
			at += p.pos;
			resp_reset(&p);
			if (have < at)
				break;
		}
		same &= count == 5 && at == n;
		resp_free(&p);
	}
	ok(same, "a pipeline of five, cut at each byte");
}

static void
test_many_args(void)
{
	enum { COUNT = 20000 };
	char *text = malloc(COUNT * 8 + 32), *at = text;
	struct resp p = { 0 };
	bool right = true;

	at += snprintf(at, 32, "*%d\r\n", COUNT);
	for (unsigned i = 0; i < COUNT; i++) {
		memcpy(at, "$1\r\nx\r\n", 7);
		at += 7;
	}
	resp_reset(&p);
	for (size_t have = 1000; have < (size_t)(at - text); have += 1000)
		right &=
		    resp_next(&p, (uint8_t *)text, have, &limits) == RESP_MORE;
	ok(right, "a long command is incomplete until it ends");
	is_u64(resp_next(&p, (uint8_t *)text, (size_t)(at - text), &limits),
	    RESP_COMMAND, "then it is whole");
	is_u64(p.argc, COUNT, "with all its arguments");
	resp_reset(&p);
	ok(p.heap == NULL, "the long list is given back");
	resp_free(&p);
	free(text);
}

static void
test_junk(void)
{
	unsigned seed = (unsigned)time(NULL), round;
	uint8_t junk[512];
	bool sane = true;

	diag("seed %u", seed);
	srand(seed);
	for (round = 0; round < 20000; round++) {
		static const char common[] = "*$\r\n0123456789-'\" \\xG";
		size_t n = 1 + (size_t)rand() % sizeof(junk), i;
		char one[1024], two[1024];
		uint64_t used1, used2;
		enum resp_status st1, st2;

		for (i = 0; i < n; i++)
			junk[i] = rand() % 4 != 0
				      ? (uint8_t)common[(size_t)rand() %
							(sizeof(common) - 1)]
				      : (uint8_t)rand();
		st1 = parse_steps((char *)junk, n, n, one, sizeof(one), &used1);
		st2 = parse_steps((char *)junk, n, 1 + (size_t)rand() % 7, two,
		    sizeof(two), &used2);
		sane &= st1 == st2;
		if (st1 == RESP_COMMAND)
			sane &= used1 == used2 && used1 <= n;
	}
	ok(sane, "junk is judged the same in one piece and in many");
}

int
main(void)
{
	test_multibulk();
	test_inline();
	test_lines();
	test_unauth();
	test_pipeline();
	test_many_args();
	test_junk();
	return tap_done();
}
