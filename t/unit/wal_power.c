/*
 * Power loss. A real wal's writes are recorded; then, for many moments, the
 * files are made anew from the writes that had ended and any subset of the
 * blocks of those under way. Recovery must find all that was durable at that
 * moment, and a prefix of what was written.
 */
#include "t/lib/wal_harness.h"
#include "workers/wal/wal.h"

#define TRACE_BYTES (96u << 20)
#define EVENT_MAX   20000
#define ROUNDS      150

/* Filled by the worker, read by the test. */
static struct trace {
	_Atomic uint32_t events;
	_Atomic uint64_t bytes;
	struct {
		uint32_t slot, number, len; /* len 0: durable now */
		uint64_t offset, at, vlsn;
	} event[EVENT_MAX];
	uint8_t data[TRACE_BYTES];
} * trace;

static unsigned seed;

static unsigned
rnd(unsigned below)
{
	return (unsigned)rand_r(&seed) % below;
}

static void
record(const struct wal_trace *t)
{
	uint32_t n = atomic_load(&trace->events), len = 0;
	uint64_t at = atomic_load(&trace->bytes);
	int i;

	if (n == EVENT_MAX)
		abort();
	for (i = 0; t->iov != NULL && i < t->iovs; i++) {
		if (at + len + t->iov[i].iov_len > TRACE_BYTES)
			abort();
		memcpy(trace->data + at + len, t->iov[i].iov_base,
		    t->iov[i].iov_len);
		len += (uint32_t)t->iov[i].iov_len;
	}
	trace->event[n].slot = t->slot;
	trace->event[n].number = t->number;
	trace->event[n].len = len;
	trace->event[n].offset = t->offset;
	trace->event[n].at = at;
	trace->event[n].vlsn = t->vlsn;
	atomic_store(&trace->bytes, at + len);
	atomic_store(&trace->events, n + 1);
}

/* Is the write of event i known to be durable before event `end`? */
static bool
ended(uint32_t i, uint32_t end)
{
	uint32_t j;

	for (j = i + 1; j < end; j++)
		if (trace->event[j].len == 0 &&
		    trace->event[j].slot == trace->event[i].slot)
			return true;
	return false;
}

static int
segment_fd(int dir, uint32_t number)
{
	char name[SEGMENT_NAME_MAX];
	int fd;

	segment_name(name, number);
	fd = openat(dir, name, O_WRONLY | O_CREAT, 0600);
	if (fd < 0 || ftruncate(fd, 4 << 20) != 0)
		abort();
	return fd;
}

/* The files as power loss at event `end` may leave them. */
static uint64_t
replay(int dir, uint32_t end, unsigned *dropped)
{
	uint64_t durable = 0;
	uint32_t i, b;

	for (i = 0; i < end; i++) {
		uint32_t len = trace->event[i].len;
		bool whole = len != 0 && ended(i, end);
		unsigned odds = rnd(4);
		int fd;

		if (len == 0) {
			durable = trace->event[i].vlsn;
			continue;
		}
		fd = segment_fd(dir, trace->event[i].number);
		for (b = 0; b < len; b += 4096) {
			if (!whole && rnd(4) <= odds) {
				++*dropped;
				continue;
			}
			if (pwrite(fd, trace->data + trace->event[i].at + b,
				4096,
				(off_t)(trace->event[i].offset + b)) != 4096)
				abort();
		}
		close(fd);
	}
	return durable;
}

static struct wal w;
static struct loop_hooks no_hooks;

static int
recover(struct harness *h)
{
	struct loop loop = w.loop;
	int rc;

	memset(&w, 0, sizeof(w));
	w.loop = loop;
	w.w = &h->worker;
	w.r = &h->region;
	w.conf = &h->conf;
	w.dir = -1;
	vmap_cut(h->region.vmap, 0);
	rc = wal_recover(&w);
	segment_list_free(&w.found);
	if (w.dir >= 0)
		close(w.dir);
	return rc;
}

static void
wal_empty(struct harness *h)
{
	dir_remove(h->data_dir, "wal");
	mkdirat(h->data_dir, "wal", 0750);
	close(h->wal_dir);
	h->wal_dir =
	    openat(h->data_dir, "wal", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* Small flushes one by one, bursts that go several at a time, segments' ends.
 */
static uint64_t
load(enum conf_wal_io io)
{
	static const struct {
		uint32_t count, size;
	} step[] = { { 30, 100 }, { 1, 9000 }, { 400, 700 }, { 20, 50 },
		{ 30, 100000 }, { 10, 33 }, { 40, 60000 }, { 3, 5000 } };
	uint64_t number = 1;
	struct harness h;
	bool good;
	unsigned i, j;

	h_new(&h, "/dev/shm");
	h.conf.wal.io = io;
	good = h_boot(&h) == 0;
	h_elect(&h, 1);
	for (i = 0; i < NITEMS(step); i++) {
		if (step[i].count > 30)
			good =
			    h_write(&h, step[i].count, step[i].size, &number) &&
			    good;
		else
			for (j = 0; j < step[i].count; j++)
				good = h_write(&h, 1, step[i].size, &number) &&
				       good;
	}
	ok(good, "the load went through");
	ok(h_stop(&h), "and ended");
	h_free(&h);
	return number - 1;
}

static void
test_power(enum conf_wal_io io)
{
	unsigned round, wrong = 0, dropped = 0;
	struct harness h;
	uint64_t all;

	atomic_store(&trace->events, 0);
	atomic_store(&trace->bytes, 0);
	all = load(io);
	diag("%u events, %ju bytes", atomic_load(&trace->events),
	    (uintmax_t)atomic_load(&trace->bytes));
	h_new(&h, "/dev/shm");
	h.readonly = true;
	h_region(&h);
	h.worker.data_dir = h.data_dir;
	if (loop_open(&w.loop, &h.region, &h.worker.bells, SLOT_WAL, 16, &w,
		&no_hooks) != 0)
		skip_all("no io_uring here");
	loop_on(&w.loop, WAL_KIND_SCAN, wal_scan_done);
	for (round = 0; round < ROUNDS; round++) {
		uint32_t end = 2 + rnd(atomic_load(&trace->events) - 1);
		uint64_t durable = replay(h.wal_dir, end, &dropped), last;
		int rc = recover(&h);

		if (rc != 0 || w.log.end.vlsn < durable ||
		    h_read_back(&h, &last) == UINT64_MAX ||
		    last != w.log.end.vlsn) {
			diag("event %u: rc %d, vlsn %ju, durable %ju: %s", end,
			    rc, (uintmax_t)w.log.end.vlsn, (uintmax_t)durable,
			    h.region.seq->error);
			wrong++;
		}
		wal_empty(&h);
	}
	is_u64(wrong, 0, "whatever was durable is there after power loss");
	ok(dropped > 100, "%u blocks were dropped, of %ju records", dropped,
	    (uintmax_t)all);
	loop_close(&w.loop);
	h_region_end(&h);
	h_free(&h);
}

int
main(int argc, char **argv)
{
	setproctitle_init(argc, argv, environ);
	seed = (unsigned)time(NULL);
	if (getenv("SEED") != NULL)
		seed = (unsigned)atoi(getenv("SEED"));
	diag("SEED=%u", seed);
	say_open("/dev/null");
	trace = mmap(NULL, sizeof(*trace), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (trace == MAP_FAILED)
		skip_all("no memory for the record of writes");
	wal_trace_hook = record;
	test_power(CONF_WAL_IO_AUTO);
	test_power(CONF_WAL_IO_BUFFERED);
	return tap_done();
}
