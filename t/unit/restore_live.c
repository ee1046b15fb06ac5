/*
 * Feeds from segment files beside a wal that writes: a member catches up in
 * ever shorter steps, each of which goes on where the one before ended; what is
 * still to be sent is kept, as long as that is not too much, and whoever is too
 * slow even for that is told. RECORDS=N measures instead: N records of 100
 * bytes to a process of its own.
 */
#include <sys/resource.h>

#include "t/lib/serve_rig.h"
#include "t/lib/wal_harness.h"

static struct harness h;
static struct rig rig;
static uint64_t number = 1;

static uint64_t
durable(void)
{
	return position_get(&h.region.pos->durable);
}

static uint64_t
first(void)
{
	return position_get(&h.region.pos->first);
}

static bool
all_end(void)
{
	return wait_until(
	    (rig_turn(&rig), serve_idle(&rig.serve)), TAP_WAIT_MS);
}

/* Steps, with writes in each; the writes become fewer. */
static void
test_catch_up(void)
{
	struct append_end at = { 0 };
	uint32_t writes = 8000;
	struct receiver *c;
	unsigned steps = 0;
	uint64_t until;

	ok(h_write(&h, 20000, 400, &number), "9 MB in a log");
	while (at.vlsn < durable() && steps < 50) {
		until = durable();
		c = rig_feed(&rig, 1, ++steps, &at, until);
		if (writes > 0 && !h_write(&h, writes, 400, &number))
			ok(false, "writes go on");
		writes /= 4;
		ok(rig_until(&rig, c, receiver_told(c)), "a step");
		is_u64(c->feed_end, FEED_CAUGHT_UP, "is caught up");
		is_u64(c->verdict, FRAME_OK, "all of it continues");
		is_u64(c->end.vlsn, until, "up to its end");
		at = c->end;
		receiver_free(c);
	}
	ok(steps > 3, "%u steps", steps);
	is_u64(at.vlsn, durable(), "there is nothing more");
	ok(all_end(), "nothing is left");
}

/* From the buffer, which is overwritten all the while. */
static void
test_buffer(void)
{
	struct append_end at = { 0 };
	struct receiver *c;
	uint64_t until;

	for (unsigned i = 0; i < 5; i++) {
		until = durable();
		c = rig_feed(&rig, 1, 100 + i, &at, until);
		while (!receiver_told(c)) {
			rig_turn(&rig);
			receiver_turn(c);
			if (!h_write(&h, 10, 4000, &number))
				ok(false, "writes go on");
		}
		is_u64(c->feed_end, FEED_CAUGHT_UP, "while it is overwritten");
		is_u64(c->verdict, FRAME_OK, "all of it continues");
		is_u64(c->end.vlsn, until, "up to its end");
		at = c->end;
		receiver_free(c);
	}
	ok(all_end(), "nothing is left");
}

/* All of the log is in a checkpoint: it goes, but what is kept. */
static bool
checkpoint(void)
{
	position_set(&h.region.pos->checkpointed, durable());
	position_set(&h.region.pos->filed, position_get(&h.region.pos->member));
	h_ring(&h);
	return true;
}

static void
test_kept(void)
{
	struct append_end at = { 0 };
	uint64_t serving, before = first();
	struct receiver *c;
	unsigned i;

	ok(h_write(&h, 10000, 4000, &number), "40 MB more");
	is_u64(before, 1, "the log is whole");
	/* One that takes a window and no more. */
	c = rig_feed(&rig, 1, 200, &at, durable());
	c->acks = false;
	ok(rig_until(&rig, c, c->bytes > 300000), "it is sent to");
	serving = position_get(&h.region.pos->serving);
	ok(serving > 1, "and holds the log");
	/* So much is behind it that it would have gone. */
	checkpoint();
	for (i = 0; i < 20; i++) {
		rig_turn(&rig);
		(void)h_write(&h, 100, 100, &number);
	}
	ok(wait_until((h_ring(&h), first() > before), TAP_WAIT_MS),
	    "but not without end");
	ok(wait_until((h_ring(&h), first() > serving), TAP_WAIT_MS),
	    "it is taken from under it");
	c->acks = true;
	ok(rig_until(&rig, c, receiver_told(c)), "which it is told");
	is_u64(c->feed_end, FEED_LAPPED, "by name");
	is_u64(c->verdict, FRAME_OK, "behind what was read");
	receiver_free(c);
	ok(all_end(), "nothing is left");

	/* From the oldest on, which is not to go: two segments more are there
	   than would be. */
	h_apply(&h);
	checkpoint();
	before = first();
	c = rig_feed(&rig, 1, 201, &(struct append_end){ .vlsn = 0 }, 1);
	ok(rig_until(&rig, c, receiver_told(c)), "who wants what is gone");
	is_u64(c->feed_end, FEED_LAPPED, "is told so, too");
	receiver_free(c);
	ok(all_end(), "nothing is left");
	ok(position_get(&h.region.pos->serving) == 0, "nothing is held");
}

/* How many segments there are, of those that are whole. */
static unsigned
segments(void)
{
	struct segment_list l;
	unsigned n = 0;

	if (segment_list_load(&l, h.wal_dir, false) != 0)
		return UINT32_MAX;
	for (uint32_t i = 0; i < l.count; i++)
		n += l.entry[i].in_chain;
	segment_list_free(&l);
	return n;
}

static void
test_pin(void)
{
	unsigned free_, held;

	position_set(&h.region.pos->serving, 0);
	ok(h_write(&h, 6000, 4000, &number), "24 MB more");
	checkpoint();
	ok(wait_until((h_ring(&h), segments() <= 7), TAP_WAIT_MS),
	    "16 MB are kept");
	free_ = segments();
	position_set(&h.region.pos->serving, first());
	for (unsigned i = 0; i < 12; i++) {
		ok(h_write(&h, 1000, 4000, &number), "4 MB more");
		checkpoint();
	}
	ok(wait_until((h_ring(&h), segments() <= 2 * free_), TAP_WAIT_MS),
	    "twice that at most");
	held = segments();
	ok(held >= free_ + 2, "with a pin: %u instead of %u", held, free_);
	position_set(&h.region.pos->serving, 0);
	ok(wait_until((h_ring(&h), segments() <= free_ + 1), TAP_WAIT_MS),
	    "without it they go");
}

/* ---- how fast ---- */

static int
member(struct receiver *c)
{
	struct pollfd p = { .fd = c->fd, .events = POLLIN };

	while (!receiver_told(c)) {
		(void)poll(&p, 1, 10000);
		receiver_turn(c);
	}
	return c->feed_end == FEED_CAUGHT_UP && c->verdict == FRAME_OK ? 0 : 1;
}

static double
cpu(const struct rusage *a)
{
	return (double)a->ru_utime.tv_sec + (double)a->ru_stime.tv_sec +
	       (double)(a->ru_utime.tv_usec + a->ru_stime.tv_usec) / 1e6;
}

static void
measure(uint64_t records)
{
	struct append_end at = { 0 };
	struct rusage a, b;
	struct receiver *c;
	uint64_t t, n;
	double s, used;
	int status;
	pid_t pid;

	ok(h_write(&h, (uint32_t)records, 52, &number), "a log");
	n = durable();
	getrusage(RUSAGE_SELF, &a);
	t = mono_ns();
	c = rig_feed(&rig, 1, 1, &at, n);
	pid = fork();
	if (pid == 0)
		_exit(member(c));
	close(c->fd);
	c->fd = -1;
	do {
		uint64_t deadline;

		rig.loop.unready = false;
		serve_turn(&rig.serve);
		deadline = serve_deadline(&rig.serve);
		(void)deadline;
		if (!rig.loop.unready)
			(void)io_uring_submit_and_wait(&rig.loop.ring, 1);
		(void)loop_poll(&rig.loop);
	} while (!serve_idle(&rig.serve));
	s = (double)(mono_ns() - t) / 1e9;
	getrusage(RUSAGE_SELF, &b);
	waitpid(pid, &status, 0);
	ok(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a member has all");
	used = cpu(&b) - cpu(&a);
	diag("%ju records in %.3f s: %.0f records/s, %.0f ns of CPU a record",
	    (uintmax_t)n, s, (double)n / s, used * 1e9 / (double)n);
	receiver_free(c);
}

int
main(void)
{
	const char *records = getenv("RECORDS");

	h_new(&h, "/tmp");
	h.conf.wal.keep_size = 16 << 20;
	if (records != NULL) {
		h.conf.wal.segment_size = 64 << 20;
		h.conf.wal.buffer_size = 16 << 20;
	}
	is_i64(h_boot(&h), 0, "a wal");
	h_elect(&h, 1);
	rig_open(&rig, &h.region, h.data_dir);
	if (records != NULL) {
		measure(strtoull(records, NULL, 10));
	} else {
		test_catch_up();
		test_buffer();
		test_kept();
		test_pin();
	}
	rig_close(&rig);
	ok(h_stop(&h), "wal stops");
	h_free(&h);
	return tap_done();
}
