/*
 * Rendering in both protocols, sinks over all their chunk classes, and values
 * of the store turned into replies, damaged ones included.
 */
#include "workers/gateway/io/reply.h"

#include <errno.h>
#include <stdlib.h>
#include "t/tap.h"

static struct chunk_pool pool;

static struct sink
fresh(void)
{
	return (struct sink){ .pool = &pool };
}

static void
is_bytes(struct sink *s, const char *want, const char *name)
{
	char got[4096];
	size_t n = sink_len(s);

	if (n >= sizeof(got))
		n = sizeof(got) - 1;
	if (n > 0)
		memcpy(got, s->c->data, n);
	got[n] = '\0';
	is_str(got, want, name);
	sink_reset(s);
}

static void
test_simple(void)
{
	struct sink s = fresh();

	reply_ok(&s);
	reply_ok_many(&s, 3);
	is_bytes(&s, "+OK\r\n+OK\r\n+OK\r\n+OK\r\n", "OK");
	reply_status(&s, "PONG");
	is_bytes(&s, "+PONG\r\n", "status");
	reply_error(&s, "ERR a\r\n+OK\r\n");
	is_bytes(&s, "-ERR a  +OK  \r\n", "an error stays one line");
	reply_errorf(&s, "ERR %d", 7);
	is_bytes(&s, "-ERR 7\r\n", "formatted error");
	reply_int(&s, 0);
	reply_int(&s, 1234567890);
	reply_int(&s, -5);
	reply_int(&s, INT64_MAX);
	reply_int(&s, INT64_MIN);
	is_bytes(&s,
	    ":0\r\n:1234567890\r\n:-5\r\n:9223372036854775807\r\n"
	    ":-9223372036854775808\r\n",
	    "integers");
	reply_bulk(&s, "", 0);
	reply_str(&s, "abc");
	reply_bulk_int(&s, -12);
	is_bytes(&s, "$0\r\n\r\n$3\r\nabc\r\n$3\r\n-12\r\n", "bulks");
}

static void
test_protocols(void)
{
	struct sink s = fresh();

	reply_nil(&s, 2);
	reply_nil_array(&s, 2);
	is_bytes(&s, "$-1\r\n*-1\r\n", "RESP2 nils");
	reply_nil(&s, 3);
	reply_nil_array(&s, 3);
	is_bytes(&s, "_\r\n_\r\n", "RESP3 nils");
	reply_map(&s, 2, 2);
	reply_set(&s, 2, 2);
	is_bytes(&s, "*4\r\n*2\r\n", "RESP2 map and set");
	reply_map(&s, 3, 2);
	reply_set(&s, 3, 2);
	is_bytes(&s, "%2\r\n~2\r\n", "RESP3 map and set");
	reply_text(&s, 2, "hi", 2);
	is_bytes(&s, "$2\r\nhi\r\n", "RESP2 text");
	reply_text(&s, 3, "hi", 2);
	is_bytes(&s, "=6\r\ntxt:hi\r\n", "RESP3 text");
}

static int
render(struct sink *s, unsigned proto, const struct vbuf *b, size_t n)
{
	const uint8_t *at = b->data;

	return reply_value(s, proto, &at, b->data + n);
}

static void
test_values(void)
{
	struct sink s = fresh();
	struct vbuf b = { 0 };
	size_t n;
	bool refused = true;

	value_array(&b, 7);
	value_nil(&b);
	value_ok(&b);
	value_int(&b, -3);
	value_bulk(&b, "xy", 2);
	value_status(&b, "string");
	value_error(&b, "ERR no");
	value_array(&b, 2);
	value_nil_array(&b);
	value_array(&b, 0);
	is_i64(render(&s, 2, &b, b.len), 0, "a value of every kind");
	is_bytes(&s,
	    "*7\r\n$-1\r\n+OK\r\n:-3\r\n$2\r\nxy\r\n+string\r\n-ERR no\r\n"
	    "*2\r\n*-1\r\n*0\r\n",
	    "in RESP2");
	is_i64(render(&s, 3, &b, b.len), 0, "a value of every kind");
	is_bytes(&s,
	    "*7\r\n_\r\n+OK\r\n:-3\r\n$2\r\nxy\r\n+string\r\n-ERR no\r\n"
	    "*2\r\n_\r\n*0\r\n",
	    "in RESP3");
	for (n = 0; n < b.len; n++) {
		refused &= render(&s, 2, &b, n) == -EBADMSG;
		sink_reset(&s);
	}
	ok(refused, "cut at any byte it is damaged");
	vbuf_clear(&b);
	for (n = 0; n < 20; n++)
		value_array(&b, 1);
	value_nil(&b);
	is_i64(render(&s, 2, &b, b.len), -EBADMSG, "nested without end");
	sink_reset(&s);
	vbuf_free(&b);
}

/* Growing keeps the bytes; given-back memory is used again, up to a limit. */
static void
test_sinks(void)
{
	struct sink s = fresh(), t = fresh();
	size_t n, total = 0;
	bool same = true;
	struct chunk *first;

	for (n = 0; n < 300000; n++) {
		uint8_t v = (uint8_t)(n * 7);

		sink_put(&s, &v, 1);
	}
	for (n = 0; n < 300000; n++)
		same &= s.c->data[n] == (uint8_t)(n * 7);
	ok(same && sink_len(&s) == 300000, "bytes over all classes");
	sink_put(&t, "ab", 2);
	first = t.c;
	sink_reset(&t);
	sink_put(&t, "cd", 2);
	ok(t.c == first, "the last chunk back is the next one out");
	sink_join(&s, &t);
	is_u64(sink_len(&s), 300002, "joined behind");
	ok(t.c == NULL, "the joined one is empty");
	first = s.c;
	sink_join(&t, &s);
	ok(t.c == first && s.c == NULL, "joined to an empty one it moves");
	sink_reset(&t);
	ok(sink_room(&s, SIZE_MAX / 2) == NULL && s.failed,
	    "no memory is remembered");
	sink_put(&s, "x", 1);
	ok(s.c == NULL || sink_len(&s) == 0, "and nothing is put any more");
	sink_reset(&s);
	for (n = 0; n < CHUNK_CLASSES; n++) {
		same &= pool.kept_bytes[n] <= CHUNK_KEEP_MAX;
		total += pool.kept_bytes[n];
	}
	ok(same && total > 0, "the pool keeps some, within its limit");
	chunk_pool_free(&pool);
}

int
main(void)
{
	test_simple();
	test_protocols();
	test_values();
	test_sinks();
	return tap_done();
}
