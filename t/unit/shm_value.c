/*
 * Values come back as they were put, in every kind, and no prefix or damaged
 * byte of an encoding is read beyond its end.
 */
#include "shm/kv/value.h"

#include <errno.h>

#include "t/tap.h"

static void
fill(struct vbuf *b)
{
	memcpy(value_bulk_reserve(b, 3), "xyz", 3);
	value_nil(b);
	value_ok(b);
	value_int(b, INT64_MIN);
	value_bulk(b, "", 0);
	value_bulk(b, "a\0b", 3);
	value_status(b, "string");
	value_error(b, "ERR %s of %d", "bad", 7);
	value_array(b, 2);
	value_int(b, 1);
	value_nil(b);
	value_nil_array(b);
}

static void
test_round_trip(void)
{
	static const uint8_t tags[] = { VAL_BULK, VAL_NIL, VAL_OK, VAL_INT,
		VAL_BULK, VAL_BULK, VAL_STATUS, VAL_ERROR, VAL_ARRAY, VAL_INT,
		VAL_NIL, VAL_NIL_ARRAY };
	struct vbuf b = { 0 };
	struct value v;
	const uint8_t *at, *end;
	size_t i;
	bool same = true;

	fill(&b);
	at = b.data;
	end = b.data + b.len;
	for (i = 0; i < sizeof(tags); i++) {
		if (value_next(&at, end, &v) != 0 || v.tag != tags[i])
			same = false;
		if (i == 0)
			ok(v.len == 3 && memcmp(v.data, "xyz", 3) == 0,
			    "reserved bulk");
		if (i == 3)
			is_i64(v.i, INT64_MIN, "smallest integer");
		if (i == 5)
			ok(v.len == 3 && memcmp(v.data, "a\0b", 3) == 0,
			    "bulk with a zero byte");
		if (i == 7)
			ok(v.len == 12 &&
				memcmp(v.data, "ERR bad of 7", 12) == 0,
			    "formatted error");
		if (i == 8)
			is_i64(v.i, 2, "array count");
	}
	ok(same, "every tag in order");
	ok(at == end, "nothing is left");
	is_i64(value_next(&at, end, &v), -EBADMSG, "nothing behind the end");
	vbuf_clear(&b);
	is_u64(b.len, 0, "cleared");
	ok(b.cap > 0, "memory is kept");
	vbuf_free(&b);
	ok(b.data == NULL && b.cap == 0, "freed");
}

static void
test_prefixes(void)
{
	struct vbuf b = { 0 };
	struct value v;
	size_t cut;
	unsigned bit;
	bool inside = true;

	fill(&b);
	for (cut = 0; cut < b.len; cut++)
		for (bit = 0; bit < 9; bit++) {
			uint8_t *copy = malloc(cut + 1);
			const uint8_t *at = copy, *end = copy + cut;

			memcpy(copy, b.data, cut);
			if (bit < 8 && cut > 0)
				copy[cut - 1] ^= (uint8_t)(1u << bit);
			while (value_next(&at, end, &v) == 0)
				if (at > end)
					inside = false;
			free(copy);
		}
	ok(inside, "no prefix and no flipped bit leads beyond the end");
	vbuf_free(&b);
}

static void
test_no_memory(void)
{
	struct vbuf b = { 0 };

	ok(vbuf_add(&b, SIZE_MAX / 2) == NULL, "absurd size is refused");
	is_i64(b.error, -ENOMEM, "and kept as an error");
	vbuf_put(&b, "a", 1);
	is_u64(b.len, 0, "later puts do nothing");
	vbuf_clear(&b);
	vbuf_put(&b, "a", 1);
	is_u64(b.len, 1, "clear forgets the error");
	vbuf_free(&b);
}

int
main(void)
{
	test_round_trip();
	test_prefixes();
	test_no_memory();
	return tap_done();
}
