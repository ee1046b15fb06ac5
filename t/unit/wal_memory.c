/*
 * A /dev/shm that something else fills while the log is written: wal, its
 * client and readers go on without SIGBUS, appends wait and say why, and
 * everything recovers when there is room; what is only a hint, a map sample,
 * is left out meanwhile. In a mount namespace of its own, which needs root.
 */
#include "t/lib/wal_harness.h"

#include <sched.h>
#include <sys/mount.h>

#define FILLER "/dev/shm/filler"

static struct harness h;

/* Another /dev/shm, with little more than the node asks for. */
static bool
small_shm(void)
{
	return unshare(CLONE_NEWNS) == 0 &&
	       mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mount("none", "/dev/shm", "tmpfs", 0, "size=32m") == 0;
}

static void
shm_fill(void)
{
	static const char page[4096];
	int fd = open(FILLER, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		abort();
	while (write(fd, page, sizeof(page)) > 0)
		;
	close(fd);
}

static uint32_t
busy_with(void)
{
	return atomic_load(&h.region.slots->row[SLOT_WAL].busy_with);
}

static uint64_t
count_of(enum counter which)
{
	return counter_sum(h.region.counters, which);
}

/* As many requests as the ring takes; kept there while appends wait. */
static uint64_t
push_all(uint64_t *number)
{
	static uint8_t p[4096];
	uint64_t n = 0;

	for (;; n++, ++*number) {
		h_fill(p, sizeof(p), *number);
		if (!h_push(&h, REC_OP, 0, p, sizeof(p)))
			return n;
	}
}

static void
test_buffer(uint64_t *number)
{
	uint64_t turns, sum = 0;
	unsigned i;

	ok(h_write(&h, 10, 100, number), "some writes");
	shm_fill();
	ok(push_all(number) > 200, "a full ring of requests");
	h_ring(&h);
	ok(wait_until((h_apply(&h), busy_with() == BUSY_MEMORY) || h_ended(&h),
	       H_WAIT_MS) &&
		!h_ended(&h),
	    "appends wait, wal lives");
	ok(!h_answered(&h), "not all is answered");
	ok(count_of(C_REGION_FULL) == 1, "counted");
	turns = atomic_load(&h.region.slots->row[SLOT_WAL].turns);
	ok(wait_until(
	       atomic_load(&h.region.slots->row[SLOT_WAL].turns) != turns,
	       H_WAIT_MS),
	    "it looks again");
	for (i = 0; i < SECT_TABLE; i++)
		if (i != SECT_VMAP && i != SECT_WALBUF && i != SECT_RING_DATA)
			sum += h.region.base[h.region.head->section[i].off +
					     h.region.head->section[i].len - 1];
	ok(sum < UINT64_MAX, "every small section can be read");
	ok(count_of(C_REGION_FULL) == 1, "counted once");
	unlink(FILLER);
	ok(wait_until((h_apply(&h), h_answered(&h)), H_WAIT_MS),
	    "with room all is answered");
	ok(busy_with() == BUSY_NOT, "and nothing waits");
}

/* A flush of its own for each: each gets a sample. */
static bool
write_samples(uint64_t *number, unsigned n)
{
	while (n-- > 0)
		if (!h_write(&h, 1, VMAP_STRIDE_BYTES, number))
			return false;
	return true;
}

/* Behind the first lap the buffer needs nothing any more. */
static void
test_lapped(uint64_t *number)
{
	struct vmap_range before, after;
	uint64_t full;

	ok(h_write(&h, 600, 4096, number), "more than a lap");
	full = count_of(C_REGION_FULL);
	shm_fill();
	vmap_range(h.region.vmap, &before);
	ok(write_samples(number, 300), "300 flushes with a full /dev/shm");
	vmap_range(h.region.vmap, &after);
	ok(after.count > before.count, "samples as far as there is memory");
	is_u64(after.count, 252, "and no further");
	is_u64(count_of(C_REGION_FULL), full + 1, "counted");
	unlink(FILLER);
	ok(write_samples(number, 10), "with room");
	vmap_range(h.region.vmap, &after);
	is_u64(after.count, 262, "sampled again");
}

static void
test_boot_refused(void)
{
	struct seq_snapshot snap;

	h_region(&h);
	shm_fill();
	h_fork_at(&h, SHUTDOWN_NONE);
	ok(seq_wait(h.region.seq, PHASE_WAL_RECOVERY,
	       mono_ns() + H_WAIT_MS * NS_PER_MS, NULL, NULL) != 0,
	    "a boot without memory for the buffer fails");
	seq_snapshot(h.region.seq, &snap);
	ok(strstr(snap.error, "/dev/shm") != NULL, "%s", snap.error);
	unlink(FILLER);
	h_kill(&h);
}

int
main(int argc, char **argv)
{
	uint64_t number = 1;

	setproctitle_init(argc, argv, environ);
	say_open("/dev/null");
	if (!small_shm())
		skip_all("no right to mount another /dev/shm");
	h_new(&h, "/tmp");
	is_i64(h_boot(&h), 0, "boots");
	h_elect(&h, 1);
	ok(wait_until(h_committed(&h) == 1, H_WAIT_MS), "is master");
	h.acked_vlsn = 1;
	test_buffer(&number);
	test_lapped(&number);
	ok(h_stop(&h), "ends in order");
	is_u64(h_read_back(&h, NULL), number - 1, "all is in the files");
	test_boot_refused();
	h_free(&h);
	return tap_done();
}
