/*
 * The store's answers, as they come: pieces of encoded values (shm/kv/value.h)
 * become replies at once, so an answer is held once, bounded by max_output,
 * and is made in the shares that the result ring has. Those of an EXEC are
 * merged with what was answered here.
 */
#include <stdlib.h>
#include <string.h>
#include "shm/bits.h"
#include "shm/kv/value.h"
#include "workers/gateway/exec/transaction.h"

#define RESULT_DEPTH 8 /* arrays in arrays; MULTI needs 2 */
#define RESULT_TEXT  512 /* bytes of a status or an error */
#define HEAD_MAX     9
#define LOCAL_SHARE  (4u << 20) /* bytes of our own answers in one turn */

enum body { BODY_NONE, BODY_BULK, BODY_TEXT, BODY_SKIP };

struct result {
	const struct exec *exec; /* NULL = one value, as it is */
	unsigned proto;
	uint64_t limit; /* of the reply */
	size_t start; /* of it, in the sink */
	/* The value at hand: its head as far as it came, then its bytes. */
	uint8_t head[HEAD_MAX], have;
	enum body body;
	uint32_t body_left;
	size_t at; /* BODY_BULK: where to in the sink */
	char text[RESULT_TEXT + 1];
	size_t text_len;
	/* Values to come in the arrays that are open; [0] is the whole. */
	uint64_t left[RESULT_DEPTH];
	unsigned depth;
	bool merging; /* an EXEC that was not aborted */
	uint32_t item; /* its next command */
	size_t local; /* bytes of ours that may still be put this turn */
	bool broken, over;
};

struct result *
gw_result_new(void)
{
	return calloc(1, sizeof(struct result));
}

void
gw_result_free(struct result *r)
{
	free(r);
}

void
gw_result_begin(struct result *r, const struct sink *out, unsigned proto,
    const struct exec *exec, uint64_t limit)
{
	memset(r, 0, sizeof(*r));
	r->exec = exec;
	r->proto = proto;
	r->limit = limit;
	r->start = sink_len(out);
	r->left[0] = 1;
}

bool
gw_result_fresh(const struct result *r)
{
	return r->left[0] == 1 && r->have == 0;
}

/* Our own answers that are next. False: enough for this turn. */
static bool
locals_put(struct result *r, struct sink *out)
{
	size_t n;

	while (r->item < gw_exec_count(r->exec) &&
	       gw_exec_place(r->exec, r->item) == EXEC_LOCAL) {
		if (r->local == 0)
			return false;
		n = gw_exec_local(r->exec, r->item++, out);
		r->local = n < r->local ? r->local - n : 0;
		r->over |= sink_len(out) - r->start > r->limit;
	}
	return true;
}

/* The value at hand is whole. */
static void
value_over(struct result *r)
{
	r->body = BODY_NONE;
	while (r->depth > 0 && r->left[r->depth] == 0)
		r->depth--;
}

static size_t
body_feed(struct result *r, struct sink *out, const uint8_t *at, size_t n)
{
	if (n > r->body_left)
		n = r->body_left;
	/* An empty value has no bytes, and `at` is not to be looked at. */
	if (n != 0 && r->body == BODY_BULK && !out->failed)
		memcpy(out->c->data + r->at, at, n);
	else if (n != 0 && r->body == BODY_TEXT)
		memcpy(r->text + r->text_len, at, n);
	r->at += n;
	r->text_len += n;
	r->body_left -= (uint32_t)n;
	if (r->body_left != 0)
		return n;
	if (r->body == BODY_TEXT) {
		r->text[r->text_len] = '\0';
		if (r->head[0] == VAL_STATUS)
			reply_status(out, r->text);
		else
			reply_error(out, r->text);
	}
	value_over(r);
	return n;
}

/* A value of n bytes begins. */
static void
body_begin(struct result *r, struct sink *out, uint32_t n, bool skip)
{
	uint8_t *to;

	r->body_left = n;
	r->text_len = 0;
	r->body = skip ? BODY_SKIP : BODY_TEXT;
	if (!skip && r->head[0] == VAL_BULK) {
		r->body = BODY_BULK;
		r->over = sink_len(out) - r->start + n > r->limit;
		if (r->over)
			return;
		/* Without memory its bytes go nowhere: end() says so. */
		if ((to = reply_bulk_room(out, n)) != NULL)
			r->at = (size_t)(to - out->c->data);
	}
	r->broken = r->body == BODY_TEXT && n > RESULT_TEXT;
	if (!r->broken && n == 0)
		(void)body_feed(r, out, NULL, 0);
}

static void
array_begin(struct result *r, struct sink *out, uint32_t n)
{
	bool whole = r->depth == 0 && r->exec != NULL;

	if (r->depth + 1 == RESULT_DEPTH) {
		r->broken = true;
		return;
	}
	r->merging |= whole;
	reply_array(out, whole ? gw_exec_count(r->exec) : n);
	r->left[++r->depth] = n;
	value_over(r);
}

/* A head is whole. `skip`: what stands in its place is ours. */
static void
value_begin(struct result *r, struct sink *out, bool skip)
{
	uint32_t n = get_le32(r->head + 1);

	r->have = 0;
	switch ((enum value_tag)r->head[0]) {
	case VAL_NIL:
		reply_nil(out, r->proto);
		break;
	case VAL_OK:
		if (!skip)
			reply_ok(out);
		break;
	case VAL_INT:
		if (!skip)
			reply_int(out, (int64_t)get_le64(r->head + 1));
		break;
	case VAL_NIL_ARRAY:
		if (!skip)
			reply_nil_array(out, r->proto);
		break;
	case VAL_BULK:
	case VAL_STATUS:
	case VAL_ERROR:
		body_begin(r, out, n, skip);
		return;
	case VAL_ARRAY:
		r->broken = skip;
		if (!skip)
			array_begin(r, out, n);
		return;
	}
	value_over(r);
}

static unsigned
head_size(uint8_t tag)
{
	switch ((enum value_tag)tag) {
	case VAL_NIL:
	case VAL_OK:
	case VAL_NIL_ARRAY:
		return 1;
	case VAL_INT:
		return 9;
	case VAL_BULK:
	case VAL_STATUS:
	case VAL_ERROR:
	case VAL_ARRAY:
		return 5;
	}
	return 0; /* none that the store makes */
}

/* May a value begin here? What is ours and stands in its place is put. */
static bool
value_expected(struct result *r, struct sink *out, bool *skip)
{
	enum exec_place place;

	*skip = false;
	if (r->left[r->depth] == 0)
		return false;
	r->left[r->depth]--;
	if (!r->merging || r->depth != 1)
		return true;
	if (r->item == gw_exec_count(r->exec))
		return false;
	place = gw_exec_place(r->exec, r->item);
	*skip = place == EXEC_UNLESS_NIL && r->head[0] != VAL_NIL;
	if (*skip || (place == EXEC_HEAD && r->head[0] == VAL_ARRAY))
		(void)gw_exec_local(r->exec, r->item, out);
	r->item++;
	return true;
}

/* A byte of a head. */
static void
head_feed(struct result *r, struct sink *out, uint8_t byte)
{
	unsigned size;
	bool skip;

	r->head[r->have++] = byte;
	if ((size = head_size(r->head[0])) == 0)
		r->broken = true;
	else if (r->have == size && !value_expected(r, out, &skip))
		r->broken = true;
	else if (r->have == size)
		value_begin(r, out, skip);
}

size_t
gw_result_feed(
    struct result *r, struct sink *out, const uint8_t *bytes, size_t n)
{
	size_t at = 0;

	r->local = LOCAL_SHARE;
	while (at < n && !r->broken && !r->over) {
		if (r->merging && r->depth == 1 && r->have == 0 &&
		    r->body == BODY_NONE && !locals_put(r, out))
			return at;
		if (r->body != BODY_NONE)
			at += body_feed(r, out, bytes + at, n - at);
		else
			head_feed(r, out, bytes[at++]);
	}
	return n;
}

static void
result_error(struct result *r, struct sink *out, const char *text)
{
	if (r->start == 0)
		sink_reset(out);
	else
		out->c->len = r->start;
	out->failed = false;
	reply_error(out, text);
}

bool
gw_result_end(struct result *r, struct sink *out)
{
	r->local = LOCAL_SHARE;
	if (!r->over && r->merging && !r->broken && r->depth == 0 &&
	    !locals_put(r, out))
		return false;
	r->broken |= r->left[0] != 0 || r->depth != 0 || r->have != 0 ||
		     r->body != BODY_NONE ||
		     (r->merging && r->item != gw_exec_count(r->exec));
	if (r->over) {
		result_error(r, out, GW_TOO_LONG ", but it was carried out");
	} else if (out->failed) {
		result_error(r, out, "ERR no memory for this reply");
	} else if (r->broken) {
		result_error(r, out, GW_RESULT_LOST);
	}
	return true;
}
