/*
 * The vlsn worker as a process on a real region and a log made by hand: the
 * gates it fires, the samples it brings back for segments that the boot scan
 * did not visit, flushes that never pass `durable`, death at any time, a cut,
 * a damaged or lost file, a directory it cannot write, no memory to begin with,
 * and the stop.
 */
#include "workers/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include "shm/log/index_file.h"
#include "shm/log/walbuf.h"
#include "shm/trouble.h"
#include "t/lib/segment_build.h"
#include "t/shm_fixture.h"
#include "workers/vlsn/vlsn.h"

#define SEGMENT  (8u << 20)
#define WAIT_MS  TAP_WAIT_MS
#define SEGMENTS 3
#define KILLS    20

static struct fixture fix;
static struct conf conf;
static struct worker worker;
static struct segment_build build[SEGMENTS];
static char data[80];
static int data_dir;
static bool no_memory; /* for a worker's state */

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *
__wrap_calloc(size_t n, size_t size)
{
	if (!no_memory || n * size != sizeof(struct vlsn))
		return __real_calloc(n, size);
	errno = ENOMEM;
	return NULL;
}

static void
log_make(void)
{
	uint32_t i;
	int wal;

	strcpy(data, "/tmp/vlsn_worker.XXXXXX");
	if (mkdtemp(data) == NULL)
		abort();
	data_dir = open(data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	mkdirat(data_dir, "wal", 0700);
	wal = openat(data_dir, "wal", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (i = 0; i < SEGMENTS; i++) {
		build_begin(
		    &build[i], i + 1, SEGMENT, i > 0 ? &build[i - 1] : NULL);
		while (build[i].at < SEGMENT - (1u << 20))
			build_flush(&build[i], 4, 6000);
		if (build_write(&build[i], wal) != 0)
			diag("cannot write segment %u", i + 1);
	}
	close(wal);
}

static void
log_remove(void)
{
	static const char *const names[] = { "wal/00000001.seg",
		"wal/00000002.seg", "wal/00000003.seg", "index/vlsn.idx",
		"index/vlsn.idx.tmp" };
	size_t i;

	for (i = 0; i < NITEMS(names); i++)
		unlinkat(data_dir, names[i], 0);
	unlinkat(data_dir, "wal", AT_REMOVEDIR);
	ok(unlinkat(data_dir, "index", AT_REMOVEDIR) == 0,
	    "nothing else was left in the index' directory");
	close(data_dir);
	rmdir(data);
	for (i = 0; i < SEGMENTS; i++)
		build_free(&build[i]);
}

static uint64_t
pos_get(const struct position *p)
{
	return position_get(p);
}

static uint64_t
count(enum counter which)
{
	return counter_sum(fix.r.counters, which);
}

/* What wal does with record i of a segment: a stride apart, behind heads. */
static void
sample(const struct segment_build *b, uint32_t i)
{
	struct vmap_pair last;
	uint64_t lsn = lsn_make(b->info.number, b->record[i].offset);

	if (b->record[i - 1].type != REC_BATCH)
		return;
	if (vmap_lookup(fix.r.vmap, UINT64_MAX, &last) == 0 &&
	    lsn_segment(last.lsn) == b->info.number &&
	    lsn - last.lsn < VMAP_STRIDE_BYTES)
		return;
	vmap_add(fix.r.vmap, b->record[i].vlsn, lsn);
}

/* A new region; wal has scanned the last segment and filled the map so. */
static void
node_begin(bool readonly)
{
	static const enum phase gates[] = { PHASE_SCHEMA_CACHE_WARMUP,
		PHASE_CATALOG_SANITY_CHECK };
	struct sequencer *s;
	struct segment_build *b = &build[SEGMENTS - 1];
	uint32_t i;

	fixture_open(&fix);
	s = fix.r.seq;
	conf_defaults(&conf);
	strcpy(conf.node.name, "unit");
	conf.node.user[0] = '\0';
	memset(&worker, 0, sizeof(worker));
	worker.slot = SLOT_VLSN;
	worker.region = &fix.r;
	worker.conf = &conf;
	worker.bells.wakes = fix.r.wakes;
	for (i = 0; i < SLOT_MAX; i++)
		worker.bells.fd[i] = -1;
	worker.bells.fd[SLOT_SUPERVISOR] = eventfd(0, EFD_CLOEXEC);
	worker.bells.fd[SLOT_VLSN] = eventfd(0, EFD_CLOEXEC);
	worker.supervisor_pid = getpid();
	worker.lock_fd = worker.http_fd = worker.control_fd = -1;
	for (i = 0; i < LISTEN_MAX; i++)
		worker.listen_fd[i] = -1;
	worker_alone(&worker);
	worker.data_dir = data_dir;
	worker.readonly = readonly;
	seq_register(s, PHASE_WAL_RECOVERY, SLOT_WAL, "wal scan");
	for (i = 0; i < NITEMS(gates); i++)
		seq_register(s, gates[i], SLOT_VLSN, "index");
	seq_seal(s);
	for (i = 1; i < b->count; i++)
		sample(b, i);
	position_set(&fix.r.pos->appended, b->vlsn);
	position_set(&fix.r.pos->durable, b->vlsn);
}

static int
body(void *arg)
{
	(void)arg;
	return vlsn_main(&worker);
}

static pid_t
worker_start(void)
{
	atomic_store(&fix.r.slots->row[SLOT_VLSN].drained, 0);
	atomic_store(&fix.r.slots->row[SLOT_VLSN].state, SLOT_STARTING);
	return child_start(body, NULL);
}

static bool
worker_runs(void)
{
	return atomic_load(&fix.r.slots->row[SLOT_VLSN].state) == SLOT_RUNNING;
}

static void
worker_kill(pid_t pid)
{
	kill(pid, SIGKILL);
	is_i64(child_end(pid), 1000 + SIGKILL, "the worker was killed");
}

/* Every step of the bus; the worker must answer each, then end with 0. */
static void
worker_stop(pid_t pid)
{
	unsigned step, answered = 0;

	for (step = 1; step <= SHUTDOWN_CLOSED; step++) {
		seq_shutdown(fix.r.seq, step);
		bell_ring(&worker.bells, SLOT_VLSN);
		if (wait_until(
			atomic_load(&fix.r.slots->row[SLOT_VLSN].drained) >=
			    step,
			WAIT_MS))
			answered++;
	}
	is_u64(answered, SHUTDOWN_CLOSED, "every step of the stop is answered");
	is_i64(child_end(pid), 0, "and the worker ends");
}

static void
node_end(void)
{
	close(worker.bells.fd[SLOT_SUPERVISOR]);
	close(worker.bells.fd[SLOT_VLSN]);
	fixture_close(&fix);
}

/* A checkpoint has completed: a flush does not wait for its time. */
static void
nudge(void)
{
	position_raise(
	    &fix.r.pos->checkpointed, pos_get(&fix.r.pos->checkpointed) + 1);
	bell_ring(&worker.bells, SLOT_VLSN);
}

static struct index_image
file_image(void)
{
	static uint8_t bytes[1 << 20];
	int fd = openat(data_dir, "index/vlsn.idx", O_RDONLY | O_CLOEXEC);
	struct index_image img = { 0 };
	ssize_t n = fd < 0 ? 0 : read(fd, bytes, sizeof(bytes));

	if (n > 0)
		index_parse(bytes, (size_t)n, &img);
	close(fd);
	return img;
}

/* Newest VLSN in the file, and all of its pages good; else 0. */
static uint64_t
file_last(void)
{
	struct index_image img = file_image();
	uint64_t vlsn =
	    img.count > 0 && img.bad == 0 ? img.sample[img.count - 1].vlsn : 0;

	index_image_free(&img);
	return vlsn;
}

/* Distance from a sample that a lookup in segment 1 gives, in records. */
static uint64_t
found_below(uint64_t vlsn)
{
	struct vmap_pair p;

	return vmap_lookup(fix.r.vmap, vlsn, &p) == 0 ? vlsn - p.vlsn : 999999;
}

static bool
boot_done(void)
{
	return seq_reached(fix.r.seq, PHASE_CATALOG_SANITY_CHECK) &&
	       worker_runs();
}

static pid_t
boot(void)
{
	pid_t pid = worker_start();

	seq_fire(fix.r.seq, PHASE_WAL_RECOVERY, SLOT_WAL);
	ok(wait_until(boot_done(), WAIT_MS), "both gates are fired");
	return pid;
}

static void
test_rebuild(void)
{
	pid_t pid;

	node_begin(false);
	pid = worker_start();
	ok(!wait_until(seq_reached(fix.r.seq, PHASE_SCHEMA_CACHE_WARMUP), 50),
	    "nothing is fired before the log was scanned");
	seq_fire(fix.r.seq, PHASE_WAL_RECOVERY, SLOT_WAL);
	ok(wait_until(boot_done(), WAIT_MS), "without a file: gates are fired");
	is_u64(count(C_INDEX_REBUILDS), 1, "a rebuild is counted");
	ok(found_below(500) < 16, "segment 1 has samples");
	ok(wait_until(file_last() != 0, WAIT_MS), "a file is written");
	ok(wait_until(pos_get(&fix.r.pos->indexed) == file_last(), WAIT_MS),
	    "and published as indexed");
	ok(wait_until(
	       count(C_INDEX_FLUSHES) > 0 && count(C_INDEX_ENTRIES) > 900,
	       WAIT_MS),
	    "flush and entries are counted");
	worker_stop(pid);
	node_end();
}

static void
test_load(void)
{
	struct segment_build *b = &build[SEGMENTS - 1];
	uint64_t before, vlsn = b->vlsn;
	pid_t pid;

	node_begin(false);
	pid = boot();
	is_u64(count(C_INDEX_REBUILDS), 0, "with a file: no rebuild");
	ok(found_below(500) < 16, "segment 1 has samples from the file");
	before = file_last();
	is_u64(pos_get(&fix.r.pos->indexed), before, "indexed is the file's");
	vmap_add(fix.r.vmap, vlsn + 10, lsn_make(3, b->at + 20000));
	vmap_add(fix.r.vmap, vlsn + 20, lsn_make(3, b->at + 40000));
	position_set(&fix.r.pos->durable, vlsn + 19);
	ok(wait_until(file_last() > before, WAIT_MS), "an addition is flushed");
	is_u64(file_last(), vlsn + 10, "but none ahead of durable");
	position_set(&fix.r.pos->durable, vlsn + 20);
	nudge();
	ok(wait_until(file_last() == vlsn + 20, WAIT_MS),
	    "until it is durable");
	worker_kill(pid);
	pid = worker_start();
	ok(wait_until(worker_runs(), WAIT_MS), "a successor takes over");
	vmap_cut(fix.r.vmap, vlsn);
	vmap_add(fix.r.vmap, vlsn + 1, lsn_make(4, 4096 + 80));
	position_set(&fix.r.pos->durable, vlsn + 1);
	nudge();
	ok(wait_until(file_last() == vlsn + 1, WAIT_MS),
	    "a cut reaches the file");
	ok(found_below(500) < 16, "and older samples stay");
	worker_stop(pid);
	node_end();
}

/*
 * What was durable once and is not in the log any more is not believed, and
 * not forgotten in silence.
 */
static void
test_stale(void)
{
	struct segment_build *b = &build[SEGMENTS - 1];
	pid_t pid;

	node_begin(false);
	pid = worker_start();
	seq_fire(fix.r.seq, PHASE_WAL_RECOVERY, SLOT_WAL);
	ok(wait_until(seq_failed(fix.r.seq), WAIT_MS),
	    "samples above the log: refused");
	ok(strstr(fix.r.seq->error, "wal/00000004.seg is missing or cut") !=
		NULL,
	    "names the segment: %s", fix.r.seq->error);
	is_i64(child_end(pid), WORKER_EXIT_FAILED, "the worker gives up");
	node_end();

	node_begin(false);
	worker.force = true;
	pid = boot();
	is_u64(count(C_INDEX_REBUILDS), 1, "force: rebuilt");
	nudge();
	ok(wait_until(file_last() != 0 && file_last() <= b->vlsn, WAIT_MS),
	    "and gone from the file");
	worker_stop(pid);
	node_end();
}

static void
file_flip(size_t at)
{
	int fd = openat(data_dir, "index/vlsn.idx", O_RDWR | O_CLOEXEC);
	uint8_t byte = 0;

	if (pread(fd, &byte, 1, (off_t)at) == 1) {
		byte ^= 4;
		ok(pwrite(fd, &byte, 1, (off_t)at) == 1, "a bit is flipped");
	}
	close(fd);
}

static void
test_damage(size_t at)
{
	pid_t pid;

	file_flip(at);
	node_begin(false);
	pid = boot();
	is_u64(count(C_INDEX_REBUILDS), 1, "a damaged file is rebuilt");
	ok(found_below(500) < 16 && found_below(2000) < 16,
	    "lookups are as before");
	nudge();
	ok(wait_until(file_last() != 0, WAIT_MS), "the new file is whole");
	worker_kill(pid);
	node_end();
}

/* A file that is whole, fits the headers, and lies. */
static void
test_liar(void)
{
	struct index_image img = file_image();
	uint8_t page[INDEX_PAGE];
	size_t i;
	pid_t pid;
	int fd = openat(data_dir, "index/vlsn.idx", O_RDWR | O_CLOEXEC);

	for (i = 0; i < INDEX_PAGE_SAMPLES; i++)
		img.sample[i].lsn += 8;
	index_page_encode(
	    page, img.head.life, 1, 0, img.sample, INDEX_PAGE_SAMPLES);
	ok(pwrite(fd, page, sizeof(page), INDEX_PAGE) == INDEX_PAGE,
	    "false samples under a true checksum");
	close(fd);
	index_image_free(&img);
	node_begin(false);
	pid = boot();
	is_u64(count(C_INDEX_REBUILDS), 1, "are found out by looking");
	ok(found_below(500) < 16, "and replaced");
	worker_stop(pid);
	node_end();
}

static void
test_readonly(void)
{
	struct stat st;
	pid_t pid;

	unlinkat(data_dir, "index/vlsn.idx", 0);
	unlinkat(data_dir, "index", AT_REMOVEDIR);
	node_begin(true);
	pid = boot();
	ok(found_below(500) < 16, "readonly: rebuilt in memory");
	worker_stop(pid);
	ok(fstatat(data_dir, "index", &st, 0) != 0, "and nothing is written");
	node_end();
}

/* index is a file: nothing can be written there, and nothing fails. */
static void
test_unwritable(void)
{
	int fd =
	    openat(data_dir, "index", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	struct trouble_info t = { .text = "" };
	pid_t pid;

	close(fd);
	node_begin(false);
	pid = boot();
	ok(found_below(500) < 16, "no directory: lookups all the same");
	nudge();
	ok(!wait_until(count(C_INDEX_FLUSHES) > 0, 200), "no flush");
	ok(trouble_read(&fix.r, TROUBLE_INDEX_FAILED, &t), "it is told");
	ok(strstr(t.text, "/index/vlsn.idx: open: Not a directory: ") != NULL,
	    "path, call and errno: %s", t.text);
	unlinkat(data_dir, "index", 0);
	ok(wait_until(file_last() != 0, WAIT_MS), "tried again: a new file");
	ok(wait_until(!trouble_stands(&fix.r, TROUBLE_INDEX_FAILED), WAIT_MS),
	    "and told to be over");
	worker_stop(pid);
	node_end();
}

/* Is every sample of the file where its record is? */
static bool
file_true(void)
{
	struct index_image img = file_image();
	const struct segment_build *b;
	unsigned wrong = 0;
	size_t i;
	uint32_t at = 0;

	for (i = 0; i < img.count; i++) {
		unsigned n = lsn_segment(img.sample[i].lsn) - 1;

		if (n >= SEGMENTS) {
			wrong++;
			continue;
		}
		b = &build[n];
		for (at = 0; at < b->count; at++)
			if (b->record[at].vlsn == img.sample[i].vlsn)
				break;
		if (at == b->count ||
		    b->record[at].offset != lsn_offset(img.sample[i].lsn))
			wrong++;
	}
	index_image_free(&img);
	return wrong == 0;
}

/* What wal has sampled and not flushed yet is no more durable for a load. */
static void
test_ahead(void)
{
	struct segment_build *b = &build[SEGMENTS - 1];
	uint64_t durable = b->info.first_vlsn - 1;
	pid_t pid;

	unlinkat(data_dir, "index/vlsn.idx", 0);
	node_begin(false);
	position_set(&fix.r.pos->durable, durable);
	pid = boot();
	nudge();
	ok(wait_until(file_last() != 0, WAIT_MS), "a new file");
	ok(file_last() <= durable,
	    "ends at %" PRIu64 ", and what is durable at %" PRIu64, file_last(),
	    durable);
	position_set(&fix.r.pos->durable, b->vlsn);
	nudge();
	ok(wait_until(file_last() > durable, WAIT_MS), "the rest comes later");
	ok(file_true(), "no sample is false");
	worker_stop(pid);
	node_end();
}

/*
 * The log was cut and the node died before the next flush: the file tells of
 * records behind the log's end, and a newer header that they were cut off.
 */
static void
test_cut(void)
{
	struct segment_build *b = &build[SEGMENTS - 1], cut;
	uint32_t i = b->count / 2;
	uint64_t vlsn;
	pid_t pid;
	int wal;

	while (b->record[i].vlsn == 0)
		i++;
	vlsn = b->record[i].vlsn;
	ok(file_last() > vlsn, "the file tells of what was cut off");
	build_begin(&cut, SEGMENTS + 1, 1u << 20, b);
	cut.info.first_vlsn = vlsn + 1;
	cut.info.prev_end = b->record[i].offset + b->record[i].len;
	cut.info.prev_crc = get_le32(b->bytes + b->record[i].offset);
	cut.info.cut = b->vlsn;
	build_header(&cut);
	wal = openat(data_dir, "wal", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (build_write(&cut, wal) != 0)
		diag("cannot write the segment");
	node_begin(false);
	vmap_cut(fix.r.vmap, vlsn);
	position_set(&fix.r.pos->durable, vlsn);
	position_set(&fix.r.pos->appended, vlsn);
	pid = boot();
	ok(!seq_failed(fix.r.seq), "that is no loss");
	is_u64(count(C_INDEX_REBUILDS), 1, "the file is made anew");
	ok(wait_until(file_last() != 0 && file_last() <= vlsn, WAIT_MS),
	    "as the log is");
	ok(file_true(), "no sample is false");
	worker_stop(pid);
	node_end();
	unlinkat(wal, "00000004.seg", 0);
	close(wal);
	build_free(&cut);
}

static bool
has_ended(pid_t pid)
{
	siginfo_t info = { 0 };

	return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) ==
		   0 &&
	       info.si_pid == pid;
}

/*
 * The worker begins again while a cut is under way: no header tells of it yet,
 * and the file of records behind the log's end.
 */
static void
test_cut_meanwhile(void)
{
	struct walbuf_head *h;
	uint64_t vlsn = build[1].vlsn;
	pid_t pid;

	node_begin(false);
	pid = boot();
	ok(wait_until(file_last() > vlsn, WAIT_MS), "a file is there");
	worker_kill(pid);
	h = fix.r.walbuf.h;
	atomic_store(&h->cut[1], vlsn);
	atomic_store(&h->cuts, 1);
	position_set(&fix.r.pos->durable, vlsn);
	position_set(&fix.r.pos->appended, vlsn);
	vmap_cut(fix.r.vmap, vlsn);
	pid = worker_start();
	(void)wait_until(worker_runs() || has_ended(pid), WAIT_MS);
	if (ok(worker_runs() && !has_ended(pid), "nothing is lost by that"))
		worker_stop(pid);
	else
		is_i64(child_end(pid), 0, "the worker ends");
	node_end();
}

/* Killed again and again while samples come in; then left to finish. */
static void
test_kills(void)
{
	struct segment_build *b = &build[SEGMENTS - 1];
	uint32_t i = 1, round, to;
	unsigned untrue = 0, late = 0;
	uint64_t last = 0;
	pid_t pid;
	int end;

	/* A log that only begins to grow has no file that knows more. */
	unlinkat(data_dir, "index/vlsn.idx", 0);
	node_begin(false);
	vmap_cut(fix.r.vmap, b->info.first_vlsn - 1);
	position_set(&fix.r.pos->durable, b->info.first_vlsn - 1);
	pid = boot();
	for (round = 1; round <= KILLS; round++) {
		to = b->count * round / KILLS;
		for (; i < to; i++)
			sample(b, i);
		/* Heads and pads have no VLSN. */
		position_raise(&fix.r.pos->durable, b->record[to - 1].vlsn);
		nudge();
		wait_until(false, rnd() % 12);
		kill(pid, SIGKILL);
		if ((end = child_end(pid)) != 1000 + SIGKILL)
			ok(false, "round %u: it has ended before, with %d: %s",
			    round, end, fix.r.seq->error);
		if (!file_true() || file_last() > pos_get(&fix.r.pos->durable))
			untrue++;
		pid = worker_start();
		if (!wait_until(worker_runs(), WAIT_MS))
			late++;
	}
	is_u64(late, 0, "killed again and again: the next one runs");
	is_u64(untrue, 0, "no sample is false, or ahead of durable");
	for (i = 1; i < b->count; i++)
		if (b->record[i - 1].type == REC_BATCH &&
		    found_below(b->record[i].vlsn) == 0)
			last = b->record[i].vlsn;
	nudge();
	ok(wait_until(file_last() == last, WAIT_MS), "and all in the file");
	diag("%" PRIu64 " rebuilds", count(C_INDEX_REBUILDS));
	worker_stop(pid);
	node_end();
}

/*
 * Samples that wal has put in the place of those that it cut, between two
 * looks of a flush: they are not behind what the file has.
 */
static void
test_behind(void)
{
	static struct vlsn v;
	struct vmap_range range;

	node_begin(false);
	vmap_range(fix.r.vmap, &range);
	v = (struct vlsn){ .w = &worker,
		.r = &fix.r,
		.dir = data_dir,
		.fd = data_dir,
		.new_fd = -1,
		.loaded = true,
		.next = range.lo,
		.cuts = range.cuts,
		.disk = { .usable = true,
		    .pages = 2,
		    .last_vlsn = pos_get(&fix.r.pos->durable) } };
	ok(!vlsn_flush_start(&v), "samples behind the file's are not added");
	ok(!v.disk.usable, "it is made anew");
	node_end();
}

/* The boot fails at the worker's gate, as a fault of the world. */
static void
test_no_memory(void)
{
	pid_t pid;

	node_begin(false);
	no_memory = true;
	pid = worker_start();
	is_i64(child_end(pid), WORKER_EXIT_FAILED, "no memory: it ends");
	no_memory = false;
	is_u64(seq_failed(fix.r.seq), 1, "and the boot with it");
	ok(strstr(fix.r.seq->error, "vlsn: memory: malloc: ") != NULL,
	    "that is told: %s", fix.r.seq->error);
	is_u64(fix.r.seq->error_kind, FAULT_WORLD, "as what may pass");
	node_end();
}

int
main(void)
{
	size_t page;

	rnd_seed();

	log_make();
	test_rebuild();
	test_load();
	test_stale();
	for (page = 0; page < 3; page++)
		test_damage(page * INDEX_PAGE + 100 + page);
	test_ahead();
	test_cut();
	test_cut_meanwhile();
	test_kills();
	test_liar();
	test_readonly();
	test_unwritable();
	test_behind();
	test_no_memory();
	log_remove();
	return tap_done();
}
