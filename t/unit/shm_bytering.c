/*
 * The byte ring: wrap, full, skip, what is given back and dropped, room,
 * hostile lengths and counts, either side dying between any two steps, and a
 * long run between two processes with checksums, the consumer being replaced on
 * the way.
 */
#include "shm/bytering.h"

#include <inttypes.h>
#include <sched.h>

#include "t/shm_fixture.h"

#define RING_SIZE 4096

struct pipe {
	struct bytering_head head;
	_Alignas(CACHE_LINE) uint8_t data[RING_SIZE];
	_Atomic uint64_t eaten; /* entries the consumer is done with */
	_Atomic uint64_t trouble; /* entries that were not what they should */
};

static void
ring_new(struct pipe *p, struct bytering *w, struct bytering *r)
{
	memset(p, 0, sizeof(*p));
	bytering_create(&p->head, RING_SIZE);
	bytering_attach(w, &p->head, p->data);
	bytering_attach(r, &p->head, p->data);
}

static bool
put(struct bytering *w, uint32_t len, uint8_t fill)
{
	uint8_t *at = bytering_reserve(w, len);

	if (at == NULL)
		return false;
	memset(at + 4, fill, len - 4);
	return true;
}

/* The next entry has this length and these bytes. */
static bool
next_is(struct bytering *r, uint32_t want_len, uint8_t fill)
{
	const uint8_t *at;
	uint32_t len, i;

	at = bytering_peek(r, &len);
	if (at == NULL || len != want_len || get_le32(at) != len)
		return false;
	for (i = 4; i < len; i++)
		if (at[i] != fill)
			return false;
	bytering_advance(r, len);
	return true;
}

static void
basics(struct pipe *p)
{
	struct bytering w, r;
	uint32_t len;

	ring_new(p, &w, &r);
	ok(bytering_peek(&r, &len) == NULL && len == 0, "empty");
	ok(put(&w, 20, 'a') && put(&w, 8, 'b'), "two entries");
	ok(bytering_peek(&r, &len) == NULL, "not seen before the publish");
	bytering_publish(&w);
	ok(bytering_ready(&r), "ready");
	ok(next_is(&r, 20, 'a'), "first");
	ok(next_is(&r, 8, 'b'), "second, after padding to 8");
	ok(bytering_peek(&r, &len) == NULL && len == 0, "empty again");
	is_u64(atomic_load(&p->head.br_head), 0, "room is kept until consume");
	bytering_consume(&r);
	is_u64(atomic_load(&p->head.br_head), 32, "then it is given back");
	is_u64(bytering_entry_max(&w), RING_SIZE / 2, "largest entry");
}

static void
full(struct pipe *p)
{
	struct bytering w, r;
	unsigned n = 0, i;

	ring_new(p, &w, &r);
	while (put(&w, 64, (uint8_t)n))
		n++;
	is_u64(n, RING_SIZE / 64, "every byte can be used");
	ok(!put(&w, 8, 0), "full: says so");
	bytering_publish(&w);
	for (i = 0; i < n; i++)
		if (!next_is(&r, 64, (uint8_t)i))
			ok(false, "entry %u survives a full ring", i);
	ok(!put(&w, 8, 0), "read, but not given back: still full");
	bytering_consume(&r);
	ok(put(&w, 8, 0), "given back: room");
}

static void
wrap(struct pipe *p)
{
	struct bytering w, r;
	uint32_t len;

	ring_new(p, &w, &r);
	put(&w, 2000, 'x');
	put(&w, 2000, 'y');
	bytering_publish(&w);
	ok(next_is(&r, 2000, 'x'), "one");
	bytering_consume(&r);
	ok(put(&w, 200, 'z'), "an entry that does not fit before the end");
	is_u64(get_le32(p->data + 4000), BYTERING_SKIP, "skips to the start");
	bytering_publish(&w);
	ok(next_is(&r, 2000, 'y'), "two");
	ok(next_is(&r, 200, 'z'), "three, at the start");
	bytering_consume(&r);

	ring_new(p, &w, &r);
	put(&w, 2048, 'x');
	put(&w, 2040, 'y');
	bytering_publish(&w);
	next_is(&r, 2048, 'x');
	next_is(&r, 2040, 'y');
	bytering_consume(&r);
	ok(put(&w, 16, 'q'), "eight bytes left at the end: room for a skip");
	/* The skip was reserved; its entry is published with it. */
	bytering_publish(&w);
	ok(next_is(&r, 16, 'q'), "and the entry is found");
	ok(bytering_peek(&r, &len) == NULL && len == 0, "alone");

	ring_new(p, &w, &r);
	put(&w, 1024, 'a');
	bytering_publish(&w);
	next_is(&r, 1024, 'a');
	put(&w, 2000, 'b');
	ok(bytering_reserve(&w, 2000) == NULL,
	    "what is skipped counts as used");
	ok(bytering_reserve(&w, 1000) != NULL, "a smaller one fits");
}

/* What was reserved and not published is given back, in part or all of it. */
static void
unreserve(struct pipe *p)
{
	struct bytering w, r;
	uint64_t first, second;
	uint32_t len;

	ring_new(p, &w, &r);
	put(&w, 24, 'a');
	first = bytering_mark(&w);
	put(&w, 40, 'b');
	second = bytering_mark(&w);
	put(&w, 48, 'c');
	bytering_unreserve(&w, second);
	bytering_unreserve(&w, bytering_mark(&w));
	put(&w, 16, 'd');
	bytering_publish(&w);
	ok(next_is(&r, 24, 'a') && next_is(&r, 40, 'b') && next_is(&r, 16, 'd'),
	    "a part: what was before it is there, and what came after");
	ok(bytering_peek(&r, &len) == NULL && len == 0, "nothing else");

	ring_new(p, &w, &r);
	first = bytering_mark(&w);
	put(&w, 40, 'b');
	put(&w, 40, 'c');
	bytering_unreserve(&w, first);
	bytering_publish(&w);
	ok(bytering_peek(&r, &len) == NULL && len == 0, "all of it");
	is_u64(atomic_load(&p->head.br_tail), 0, "the shared word says so");

	/* 2000 bytes are read, 96 are left in front of the end. */
	ring_new(p, &w, &r);
	put(&w, 2000, 'x');
	put(&w, 2000, 'y');
	bytering_publish(&w);
	next_is(&r, 2000, 'x');
	bytering_consume(&r);
	first = bytering_mark(&w);
	ok(put(&w, 200, 'z'), "behind a skip");
	is_u64(get_le32(p->data + 4000), BYTERING_SKIP, "which is there");
	second = bytering_mark(&w);
	put(&w, 24, 'q');
	bytering_unreserve(&w, second);
	bytering_publish(&w);
	ok(next_is(&r, 2000, 'y') && next_is(&r, 200, 'z'),
	    "what stays in front of it keeps its skip");
	ok(bytering_peek(&r, &len) == NULL && len == 0, "alone");

	ring_new(p, &w, &r);
	put(&w, 2000, 'x');
	put(&w, 2000, 'y');
	bytering_publish(&w);
	next_is(&r, 2000, 'x');
	bytering_consume(&r);
	first = bytering_mark(&w);
	put(&w, 200, 'z');
	bytering_unreserve(&w, first);
	bytering_publish(&w);
	ok(next_is(&r, 2000, 'y'), "the skip goes with its entry");
	ok(bytering_peek(&r, &len) == NULL && len == 0,
	    "it is not seen without one");
	is_u64(bytering_room(&w), 2000, "and takes no room");
	ok(put(&w, 96, 's'), "what fits in front of the end stands there");
	bytering_publish(&w);
	ok(next_is(&r, 96, 's'), "over the skip's bytes");

	/* Killed behind the unreserve, or before it: the same ring. */
	put(&w, 40, 'k');
	bytering_attach(&w, &p->head, p->data);
	first = bytering_mark(&w);
	put(&w, 40, 'l');
	bytering_unreserve(&w, first);
	bytering_attach(&w, &p->head, p->data);
	is_u64(bytering_mark(&w), first, "its successor begins there");
	put(&w, 24, 'm');
	bytering_publish(&w);
	ok(next_is(&r, 24, 'm'), "and what it puts there is read");
}

/*
 * Room at every place and fill: so much can be reserved, and no more. Who was
 * held back begins again at a quarter.
 */
static void
room(struct pipe *p)
{
	uint64_t at, used, bad = 0, rough = 0, fits, mark;
	struct bytering w, r;

	for (at = 0; at < RING_SIZE; at += 8)
		for (used = 0; used <= RING_SIZE; used += 104) {
			ring_new(p, &w, &r);
			atomic_store(&p->head.br_head, RING_SIZE + at - used);
			atomic_store(&p->head.br_tail, RING_SIZE + at);
			bytering_attach(&w, &p->head, p->data);
			fits = bytering_room(&w);
			bad += fits != 0 &&
			       bytering_reserve(&w, (uint32_t)fits) == NULL;
			bytering_unreserve(&w, RING_SIZE + at);
			bad += fits < bytering_entry_max(&w) &&
			       bytering_reserve(&w, (uint32_t)fits + 1) != NULL;
			rough += used <= RING_SIZE / 2 && !bytering_roomy(&w);
			rough += used > RING_SIZE / 4 * 3 && bytering_roomy(&w);
		}
	is_u64(bad, 0, "so much can be reserved as there is said to be room");
	is_u64(rough, 0, "roomy: half empty is, three quarters full is not");

	ring_new(p, &w, &r);
	is_u64(bytering_room(&w), bytering_entry_max(&w), "an empty ring");
	while (put(&w, 64, 'a'))
		;
	mark = bytering_mark(&w);
	bytering_publish(&w);
	is_u64(bytering_room(&w), 0, "a full one");
	next_is(&r, 64, 'a');
	is_u64(bytering_room(&w), 0, "what is read is not given back");
	ok(bytering_consume(&r), "it is");
	is_u64(bytering_room(&w), 64, "and is seen at once");
	ok(!bytering_consume(&r), "there is no more to give back");
	ok(!bytering_is_past(&w, mark) && !bytering_is_drained(&p->head),
	    "the consumer is not past all of it");
	bytering_ready(&r);
	bytering_drop(&r);
	ok(!bytering_is_past(&w, mark), "dropped is not given back");
	bytering_consume(&r);
	ok(bytering_is_past(&w, mark) && bytering_is_drained(&p->head),
	    "now it is");
	is_u64(bytering_room(&w), bytering_entry_max(&w), "all is room");
	ok(put(&w, 24, 'n'), "an entry behind what was dropped");
	bytering_publish(&w);
	ok(next_is(&r, 24, 'n'), "is read");
}

/* What its own caller must not do ends it. */
static int
misuse_main(void *arg)
{
	struct bytering w, r;
	unsigned which = *(unsigned *)arg;
	struct pipe *p = shared_zeros(sizeof(*p));
	uint64_t mark;

	ring_new(p, &w, &r);
	mark = bytering_mark(&w);
	put(&w, 24, 'a');
	bytering_publish(&w);
	bytering_ready(&r);
	if (which == 0)
		bytering_unreserve(&w, mark);
	else if (which == 1)
		bytering_unreserve(&w, bytering_mark(&w) + 8);
	else if (which == 2)
		bytering_advance(&r, 32);
	return 0;
}

static void
misuse(void)
{
	static const char *const what[] = { "what is published stays",
		"nor is taken back what was not reserved",
		"nobody reads past the tail" };
	unsigned i;

	for (i = 0; i < NITEMS(what); i++)
		is_i64(child_end(child_start(misuse_main, &i)), 1000 + SIGABRT,
		    what[i]);
	is_i64(child_end(child_start(misuse_main, &i)), 0, "else it goes on");
}

/* Counts that no producer or consumer makes. */
static void
hostile_counts(struct pipe *p)
{
	static const uint64_t tails[] = { 4, 12, RING_SIZE + 8, UINT64_MAX,
		UINT64_MAX - 7, UINT64_C(1) << 63 };
	struct bytering w, r;
	uint32_t len;
	size_t i;

	for (i = 0; i < NITEMS(tails); i++) {
		ring_new(p, &w, &r);
		put_le32(p->data, i == 1 ? 12 : 8);
		atomic_store(&p->head.br_tail, tails[i]);
		ok(bytering_peek(&r, &len) == NULL && len == UINT32_MAX,
		    "tail %" PRIx64 " is refused", tails[i]);
		bytering_drop(&r);
		bytering_consume(&r);
		ok(bytering_peek(&r, &len) == NULL && len == 0,
		    "what it left is passed over");
		bytering_attach(&w, &p->head, p->data);
		ok(put(&w, 2048, 'a') && put(&w, 2040, 'b') &&
			!put(&w, 2048, 'c'),
		    "its successor fills the ring");
		bytering_publish(&w);
		ok(next_is(&r, 2048, 'a') && next_is(&r, 2040, 'b'),
		    "and is read");
		bytering_consume(&r);
		ok(put(&w, 2048, 'c'), "and goes round its end");
		bytering_publish(&w);
		ok(next_is(&r, 2048, 'c'), "as ever");
	}
	ring_new(p, &w, &r);
	atomic_store(&p->head.br_head, 8);
	is_u64(bytering_room(&w), 0, "a head behind the tail gives no room");
}

/* The producer is another process: what it wrote is not believed. */
static void
hostile(struct pipe *p)
{
	static const uint32_t lens[] = { 0, 1, 7, 33, 4096, 0x7fffffff,
		0xfffffffe };
	struct bytering w, r;
	uint32_t len;
	size_t i;

	for (i = 0; i < NITEMS(lens); i++) {
		ring_new(p, &w, &r);
		put(&w, 32, 0);
		put_le32(p->data, lens[i]);
		bytering_publish(&w);
		ok(bytering_peek(&r, &len) == NULL && len == UINT32_MAX,
		    "length %u is refused", lens[i]);
	}
	for (i = 0; i < 2; i++) {
		ring_new(p, &w, &r);
		put(&w, 2048, 0);
		bytering_publish(&w);
		bytering_peek(&r, &len);
		bytering_advance(&r, len);
		bytering_consume(&r);
		put(&w, i == 0 ? 2048 : 8, 0);
		bytering_publish(&w);
		put_le32(p->data + 2048, BYTERING_SKIP);
		put_le32(p->data, 64);
		ok(bytering_peek(&r, &len) == NULL && len == UINT32_MAX,
		    "a skip with nothing behind it is refused");
	}
}

/*
 * A side that dies loses its private words; what it had not published never
 * happened. Its successor attaches and goes on.
 */
static void
deaths(struct pipe *p)
{
	struct bytering w, r;

	ring_new(p, &w, &r);
	put(&w, 40, 'a');
	bytering_publish(&w);
	put(&w, 40, 'b');
	bytering_attach(&w, &p->head, p->data);
	put(&w, 24, 'c');
	bytering_publish(&w);
	ok(next_is(&r, 40, 'a') && next_is(&r, 24, 'c'),
	    "a producer that died before the publish left nothing");

	bytering_attach(&r, &p->head, p->data);
	ok(next_is(&r, 40, 'a'), "a consumer that died before the consume: "
				 "its successor sees the entry again");
	bytering_consume(&r);
	bytering_attach(&r, &p->head, p->data);
	ok(next_is(&r, 24, 'c'), "died after: it goes on behind it");
	bytering_consume(&r);

	/* Between the skip and its entry: the skip was not published either. */
	ring_new(p, &w, &r);
	put(&w, 2048, 'x');
	put(&w, 2000, 'y');
	bytering_publish(&w);
	next_is(&r, 2048, 'x');
	next_is(&r, 2000, 'y');
	bytering_consume(&r);
	put(&w, 400, 'z');
	bytering_attach(&w, &p->head, p->data);
	put(&w, 16, 'n');
	bytering_publish(&w);
	ok(next_is(&r, 16, 'n'), "a skip that was not published is not there");
}

/* Entry n: its length and bytes follow from n. */
static uint32_t
entry_len(uint64_t n)
{
	uint64_t h = (n + 1) * UINT64_C(0x9e3779b97f4a7c15);

	return 16 + (uint32_t)(h >> 40) % (n % 50 == 0 ? 2000 : 200);
}

static void
entry_fill(uint8_t *at, uint32_t len, uint64_t n)
{
	uint32_t i;

	put_le64(at + 8, n);
	for (i = 16; i < len; i++)
		at[i] = (uint8_t)(n * 31 + i);
}

static bool
entry_is(const uint8_t *at, uint32_t len, uint64_t n)
{
	uint32_t i;

	if (len != entry_len(n) || get_le64(at + 8) != n)
		return false;
	for (i = 16; i < len; i++)
		if (at[i] != (uint8_t)(n * 31 + i))
			return false;
	return true;
}

#define STRESS_ENTRIES 200000

/* Reads, checks, and now and then is killed between two batches' steps. */
static int
consumer_main(void *arg)
{
	struct pipe *p = arg;
	struct bytering r;
	const uint8_t *at;
	uint64_t n;
	uint32_t len;

	bytering_attach(&r, &p->head, p->data);
	for (n = atomic_load(&p->eaten); n < STRESS_ENTRIES;) {
		if ((at = bytering_peek(&r, &len)) == NULL) {
			if (len != 0) {
				atomic_fetch_add(&p->trouble, 1);
				return 1;
			}
			sched_yield();
			continue;
		}
		/* An entry may come twice after a death, never be missing. */
		if (get_le64(at + 8) == n && entry_is(at, len, n))
			atomic_store(&p->eaten, ++n);
		else if (get_le64(at + 8) > n ||
			 !entry_is(at, len, get_le64(at + 8)))
			atomic_fetch_add(&p->trouble, 1);
		bytering_advance(&r, len);
		if (rnd() % 4 == 0)
			bytering_consume(&r);
		else if (len > 100)
			bytering_consume(&r);
	}
	return 0;
}

static void
stress(struct pipe *p)
{
	unsigned deaths_left = 20;
	uint64_t n = 0, kill_at = STRESS_ENTRIES / 25;
	struct bytering w, r;
	pid_t pid;

	ring_new(p, &w, &r);
	pid = child_start(consumer_main, p);
	while (n < STRESS_ENTRIES && atomic_load(&p->trouble) == 0) {
		uint8_t *at = bytering_reserve(&w, entry_len(n));

		if (at == NULL) {
			bytering_publish(&w);
			sched_yield();
		} else {
			entry_fill(at, entry_len(n), n);
			n++;
			if (rnd() % 8 == 0)
				bytering_publish(&w);
		}
		if (n == kill_at && deaths_left > 0) {
			deaths_left--;
			kill_at += STRESS_ENTRIES / 25;
			kill(pid, SIGKILL);
			child_end(pid);
			rnd_state ^= n;
			pid = child_start(consumer_main, p);
		}
	}
	bytering_publish(&w);
	is_i64(child_end(pid), 0, "the consumer reached the end");
	is_u64(atomic_load(&p->trouble), 0, "every entry came, and was whole");
	is_u64(atomic_load(&p->eaten), STRESS_ENTRIES, "all of them");
	is_u64(deaths_left, 0, "over twenty deaths of the consumer");
}

int
main(void)
{
	struct pipe *p = shared_zeros(sizeof(*p));

	rnd_seed();
	basics(p);
	full(p);
	wrap(p);
	unreserve(p);
	room(p);
	hostile(p);
	hostile_counts(p);
	misuse();
	deaths(p);
	stress(p);
	return tap_done();
}
