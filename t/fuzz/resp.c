/*
 * Any bytes as a client's requests: the parser must end, stay within what it
 * was given, and judge the same whether bytes come at once or in pieces. The
 * first byte says how large the pieces are.
 */
#include "workers/gateway/io/resp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const struct resp_limits limits = { .bulk_max = 1 << 16 };

/* What became of the first command. */
struct judged {
	enum resp_status status;
	uint64_t used;
	uint32_t argc;
	uint32_t sum; /* over the arguments' bytes */
	bool http;
};

static void
expect(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "resp: %s\n", what);
	abort();
}

static uint32_t
args_sum(const struct resp *p, const uint8_t *buf, size_t n)
{
	uint32_t sum = 0, i, j;

	for (i = 0; i < p->argc; i++) {
		const struct resp_arg *a = &resp_args(p)[i];
		const uint8_t *from = p->line != NULL ? p->line : buf;

		expect(p->line != NULL || a->off + a->len <= n,
		    "an argument is outside of the command");
		for (j = 0; j < a->len; j++)
			sum = sum * 31 + from[a->off + j];
		sum = sum * 31 + a->len;
	}
	return sum;
}

static bool
first_is_http(const struct resp *p, const uint8_t *buf)
{
	const struct resp_arg *a = resp_args(p);
	const uint8_t *from = p->line != NULL ? p->line : buf;
	bool is, line;

	if (p->argc == 0)
		return false;
	is = resp_is_http(from + a->off, a->len);
	/* A browser cannot help but begin a line of its own so. */
	line = p->line != NULL &&
	       (strncasecmp((const char *)buf, "host:", 5) == 0 ||
		   strncasecmp((const char *)buf, "post ", 5) == 0);
	expect(!line || is, "a line of HTTP is not known");
	return is;
}

static struct judged
judge(const uint8_t *data, size_t len, size_t step)
{
	struct judged out = { .status = RESP_MORE };
	struct resp p = { 0 };
	char text[128];
	size_t have = 0;

	resp_reset(&p);
	while (out.status == RESP_MORE && have < len) {
		uint8_t *copy;

		have = have + step < len ? have + step : len;
		copy = malloc(have);
		expect(copy != NULL, "malloc");
		memcpy(copy, data, have);
		out.status = resp_next(&p, copy, have, &limits);
		expect(p.pos <= have, "more was used than there is");
		if (out.status == RESP_COMMAND) {
			out.used = p.pos;
			out.argc = p.argc;
			out.sum = args_sum(&p, copy, have);
			out.http = first_is_http(&p, copy);
		} else if (out.status == RESP_BAD) {
			resp_error(&p, text, sizeof(text));
		}
		free(copy);
	}
	resp_free(&p);
	return out;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct judged whole, pieces;
	size_t step;

	if (len < 2)
		return 0;
	step = 1 + data[0] % 32;
	data++;
	len--;
	do {
		whole = judge(data, len, len);
		pieces = judge(data, len, step);
		expect(whole.status == pieces.status, "two verdicts");
		if (whole.status != RESP_COMMAND)
			break;
		expect(whole.used == pieces.used && whole.used > 0 &&
			   whole.argc == pieces.argc &&
			   whole.sum == pieces.sum && whole.http == pieces.http,
		    "two readings");
		data += whole.used;
		len -= whole.used;
	} while (len > 0);
	return 0;
}
