/*
 * Files of the log: recycling and the hint, what a boot cleans up and gives
 * back, the last head, read-only and forced boots, a boot on a full disk.
 */
#include "t/lib/wal_harness.h"

#include <fnmatch.h>
#include <liburing.h>

#include "shm/crc32c.h"

/* How many files match, and their sizes. */
static unsigned
files(const struct harness *h, const char *pattern, uint64_t *bytes)
{
	struct dirent *de;
	struct stat st;
	unsigned n = 0;
	DIR *d = fdopendir(
	    openat(h->wal_dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));

	if (bytes != NULL)
		*bytes = 0;
	while ((de = readdir(d)) != NULL)
		if (fnmatch(pattern, de->d_name, FNM_PERIOD) == 0 &&
		    fstatat(h->wal_dir, de->d_name, &st, 0) == 0) {
			n++;
			if (bytes != NULL)
				*bytes += (uint64_t)st.st_size;
		}
	closedir(d);
	return n;
}

static uint64_t
counter_of(const struct harness *h, enum counter which)
{
	return counter_sum(h->region.counters, which);
}

static void
test_recycling(void)
{
	uint64_t number = 1, all, last;
	struct vmap_pair pair;
	struct harness h;

	h_new(&h, "/dev/shm");
	is_i64(h_boot(&h), 0, "boots");
	h_elect(&h, 1);
	ok(h_write(&h, 20000, 1000, &number), "20 MB in segments of 4");
	is_u64(counter_of(&h, C_WAL_RECYCLED), 0,
	    "without a checkpoint nothing goes");
	is_u64(position_get(&h.region.pos->first), 1, "from the first on");
	position_set(&h.region.pos->checkpointed, 15000);
	h_ring(&h);
	ok(wait_until(counter_of(&h, C_WAL_RECYCLED) >= 3, H_WAIT_MS),
	    "with one, what it has goes");
	ok(position_get(&h.region.pos->first) > 8000 &&
		position_get(&h.region.pos->first) <= 15001,
	    "and no more than that");
	ok(vmap_lookup(h.region.vmap, 5, &pair) != 0, "also from the map");
	position_set(&h.region.pos->checkpointed, number);
	ok(h_write(&h, 20000, 1000, &number), "20 MB more");
	ok(wait_until(counter_of(&h, C_WAL_RECYCLED) >= 4, H_WAIT_MS),
	    "use the old files again");
	position_set(&h.region.pos->checkpointed, 39000);
	ok(wait_until(log_hint_read(h.wal_dir) == 39000, H_WAIT_MS),
	    "the hint is written");
	last = h.acked_vlsn;
	ok(h_stop(&h), "ends");
	is_u64(h_read_back(&h, &all), number - 1, "stale blocks do not chain");
	is_u64(all, last, "to the end");
	h_checkpoint(&h, 39000);
	is_i64(h_boot(&h), 0, "boots");
	ok(counter_of(&h, C_WAL_REPLAYED) < 6000,
	    "scans only from the checkpoint's segment on");
	is_u64(position_get(&h.region.pos->durable), last, "to the end");
	ok(h_stop(&h), "ends");
	h_free(&h);
}

static void
test_keep_size(void)
{
	uint64_t number = 1;
	struct harness h;

	h_new(&h, "/dev/shm");
	h.conf.wal.keep_size = 8 << 20;
	is_i64(h_boot(&h), 0, "boots");
	h_elect(&h, 1);
	ok(h_write(&h, 30000, 1000, &number), "30 MB");
	position_set(&h.region.pos->checkpointed, number);
	h_ring(&h);
	ok(wait_until(counter_of(&h, C_WAL_RECYCLED) >= 4, H_WAIT_MS),
	    "old ones go");
	ok(position_get(&h.region.pos->first) < number - 8000 &&
		position_get(&h.region.pos->first) > number - 18000,
	    "but what is to be kept for others");
	h_kill(&h);
	h_free(&h);
}

/* The group's membership stays in the log until it is in a file. */
static void
test_keep_member(void)
{
	uint64_t number = 1;
	struct harness h;

	h_new(&h, "/dev/shm");
	is_i64(h_boot(&h), 0, "boots");
	position_set(&h.region.pos->member, 5);
	position_set(&h.region.pos->checkpointed, 20000);
	h_elect(&h, 1);
	ok(h_write(&h, 20000, 1000, &number), "20 MB in segments of 4");
	h_ring(&h);
	ok(h_write(&h, 10, 100, &number), "the keeper has had its turns");
	is_u64(position_get(&h.region.pos->first), 1,
	    "a checkpoint has all of it, no file the membership: nothing goes");
	position_set(&h.region.pos->filed, 5);
	h_ring(&h);
	ok(wait_until(position_get(&h.region.pos->first) > 5, H_WAIT_MS),
	    "filed: it goes");
	h_kill(&h);
	h_free(&h);
}

/* The membership before a newer one stays until that one is in force. */
static void
test_keep_member_before(void)
{
	struct wal_req req = { .len = sizeof(req),
		.seq = 1,
		.incarnation = 1,
		.type = REC_MEMBER };
	struct bytering ring;
	uint64_t number = 1;
	struct harness h;

	h_new(&h, "/dev/shm");
	is_i64(h_boot(&h), 0, "boots");
	position_set(&h.region.pos->member, 5);
	position_set(&h.region.pos->checkpointed, 20000);
	h_elect(&h, 1);
	ok(h_write(&h, 20000, 1000, &number), "20 MB in segments of 4");
	h.view.quorum = quorum_count(2, 1);
	h_epoch(&h);
	region_ring(&h.region, CLIENT_GROUP, RING_REQUEST, &ring);
	memcpy(bytering_reserve(&ring, req.len), &req, sizeof(req));
	bytering_publish(&ring);
	h_ring(&h);
	ok(wait_until(position_get(&h.region.pos->member) == 20002 &&
			  position_get(&h.region.pos->durable) == 20002,
	       H_WAIT_MS),
	    "another one is on disk, but not committed");
	ok(!wait_until(position_get(&h.region.pos->first) > 1, 500),
	    "the one before stays");
	h.view.quorum = quorum_count(1, 1);
	h_epoch(&h);
	h_ring(&h);
	ok(wait_until(position_get(&h.region.pos->first) > 5, H_WAIT_MS),
	    "until that is committed");
	h_kill(&h);
	h_free(&h);
}

/* A checkpoint may hold all there is: the newest record stays in the log. */
static void
test_keep_newest(void)
{
	uint64_t number = 1;
	struct harness h;

	h_new(&h, "/dev/shm");
	is_i64(h_boot(&h), 0, "boots");
	h_elect(&h, 1);
	ok(h_write(&h, 10, 100, &number), "writes");
	h_kill(&h);
	is_i64(h_boot(&h), 0, "boots again");
	position_set(&h.region.pos->checkpointed, 11);
	h_ring(&h);
	ok(wait_until(
	       files(&h, "prep.*", NULL) == 0 && files(&h, "spare.*", NULL) > 0,
	       H_WAIT_MS),
	    "files are made ready");
	is_u64(position_get(&h.region.pos->first), 1,
	    "the log still has its newest record");
	h_elect(&h, 2);
	ok(wait_until(h_committed(&h) == 12, H_WAIT_MS), "one more");
	ok(wait_until((h_ring(&h), position_get(&h.region.pos->first) == 12),
	       H_WAIT_MS),
	    "then it may go");
	h_kill(&h);
	h_free(&h);
}

/* Each boot gives back what the last one's segment did not use. */
static void
test_boots(void)
{
	uint64_t number = 1, bytes;
	struct segment_list l;
	struct harness h;
	unsigned ready = 0;
	int i, fd;

	h_new(&h, "/dev/shm");
	h.conf.wal.keep_size = 1 << 30;
	for (i = 0; i < 6; i++) {
		if (h_boot(&h) != 0)
			break;
		h_elect(&h, (uint64_t)i + 1);
		if (!h_write(&h, 10, 100, &number))
			break;
		h_kill(&h);
	}
	is_u64((uint64_t)i, 6, "six boots, six kills");
	is_u64(h_read_back(&h, NULL), number - 1, "all is there");
	is_i64(segment_list_load(&l, h.wal_dir, true), 0, "listed");
	ok(l.count >= 6, "each began a segment");
	segment_list_free(&l);
	(void)files(&h, "*.seg", &bytes);
	ok(bytes <= 3 * (4u << 20) + 6 * 3 * SEGMENT_BLOCK_MAX,
	    "of which only the newest have their full size");
	/* What is no part of the log goes. */
	fd = openat(h.wal_dir, "00000fff.seg", O_CREAT | O_WRONLY, 0600);
	ok(ftruncate(fd, 8192) == 0, "a stray file");
	close(fd);
	fd = openat(h.wal_dir, "spare.77", O_CREAT | O_WRONLY, 0600);
	close(fd);
	is_i64(h_boot(&h), 0, "boots");
	is_u64(files(&h, "00000fff.seg", NULL), 0, "it is gone");
	is_u64(files(&h, "spare.77", NULL), 0, "as is a spare of no size");
	is_u64(files(&h, "probe", NULL), 0, "nothing else is left");
	/* One that changes its name under a look may be missed by it. */
	for (i = 0; i < 3 && ready < 2; i++)
		ready = files(&h, "spare.*", NULL) + files(&h, "prep.*", NULL) +
			files(&h, "00001*.seg", NULL);
	ok(ready >= 2, "two spares are there before it serves");
	h_kill(&h);
	h_free(&h);
}

/* Idle for a while: a last head tells what is durable and committed. */
static void
test_last_head(void)
{
	struct segment_batch seen = { 0 };
	uint64_t number = 1, sleeps, began;
	struct slot_row *row;
	struct harness h;

	h_new(&h, "/dev/shm");
	is_i64(h_boot(&h), 0, "boots");
	h_elect(&h, 1);
	ok(h_write(&h, 3, 100, &number), "writes");
	ok(wait_until((memset(&seen, 0, sizeof(seen)),
			  segment_file_look(h.wal_dir, 1, true, &seen) == 0 &&
			      seen.durable == 4 && seen.committed == 4),
	       H_WAIT_MS),
	    "soon its last head knows that all is durable, and committed");
	row = &h.region.slots->row[SLOT_WAL];
	(void)wait_until(files(&h, "prep.*", NULL) == 0, H_WAIT_MS);
	began = tap_now_ms();
	sleeps = atomic_load(&row->sleeps);
	(void)wait_until(atomic_load(&row->sleeps) >= sleeps + 3, 2500);
	sleeps = atomic_load(&row->sleeps) - sleeps;
	/* We may be late: by the clock, which is read last. */
	ok(sleeps <= 1 + (tap_now_ms() - began) / 1000,
	    "an idle worker wakes once a second");
	h_kill(&h);
	is_i64(h_boot(&h), 0, "boots after a kill");
	is_u64(h_committed(&h), 4, "and knows what was committed");
	is_u64(counter_of(&h, C_WAL_TORN), 0, "nothing was torn");
	ok(h_stop(&h), "ends");
	h_free(&h);
}

static void
damage(struct harness *h, uint32_t number, uint32_t offset)
{
	char name[SEGMENT_NAME_MAX];
	uint8_t byte;
	int fd;

	segment_name(name, number);
	fd = openat(h->wal_dir, name, O_RDWR);
	if (pread(fd, &byte, 1, offset) != 1)
		abort();
	byte ^= 4;
	if (pwrite(fd, &byte, 1, offset) != 1)
		abort();
	close(fd);
}

/* How many bytes of it are kept aside; 0 = none. */
static uint64_t
salvaged(const struct harness *h, const char *name)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "salvage/%s", name);
	return fstatat(h->data_dir, path, &st, 0) == 0 ? (uint64_t)st.st_size
						       : 0;
}

/* Three bytes, as if an earlier forced boot had kept them. */
static void
salvage_put(const struct harness *h, const char *name)
{
	char path[64];
	int fd;

	(void)mkdirat(h->data_dir, "salvage", 0750);
	snprintf(path, sizeof(path), "salvage/%s", name);
	fd = openat(h->data_dir, path, O_WRONLY | O_CREAT, 0600);
	if (write(fd, "old", 3) != 3)
		abort();
	close(fd);
}

static void
test_modes(void)
{
	uint64_t number = 1, bytes, before, last;
	struct harness h;

	h_new(&h, "/dev/shm");
	is_i64(h_boot(&h), 0, "boots");
	h_elect(&h, 1);
	ok(h_write(&h, 6000, 1000, &number), "two segments");
	ok(h_stop(&h), "ends");
	(void)files(&h, "*", &before);

	h.readonly = true;
	is_i64(h_boot(&h), 0, "readonly boots");
	is_u64(position_get(&h.region.pos->durable), 6001, "with all of it");
	h_push(&h, REC_OP, 0, "x", 1);
	h_ring(&h);
	ok(wait_until(h_answered(&h), H_WAIT_MS), "a write is answered");
	is_u64(h.refused[RET_READONLY], 1, "READONLY");
	ok(h_stop(&h), "ends");
	(void)files(&h, "*", &bytes);
	is_u64(bytes, before, "nothing was changed");
	h.readonly = false;

	damage(&h, 1, 2000000);
	is_i64(h_boot(&h), -ECANCELED, "damage stops a normal boot");
	ok(strstr(h.region.seq->error, "wal/00000001.seg: offset ") != NULL &&
		strstr(h.region.seq->error, "force") != NULL,
	    "which says where, and what to do");
	ok(wait_until(h_ended(&h), H_WAIT_MS) && WIFEXITED(h.status) &&
		WEXITSTATUS(h.status) == WORKER_EXIT_FAILED,
	    "and ends");
	diag("%s", h.region.seq->error);
	h_kill(&h);
	is_i64(h_boot(&h), -ECANCELED, "each time");
	h_kill(&h);

	salvage_put(&h, "00000002.seg");
	salvage_put(&h, "00000001.seg.cut");
	h.force = true;
	is_i64(h_boot(&h), 0, "force boots");
	last = position_get(&h.region.pos->durable);
	ok(last > 1500 && last < 2100, "with what is before the damage");
	is_u64(salvaged(&h, "00000002.seg"), 3,
	    "what an earlier one kept aside stays");
	is_u64(salvaged(&h, "00000001.seg.cut"), 3, "the cut end, too");
	ok(salvaged(&h, "00000002.seg.1") > 3 &&
		salvaged(&h, "00000001.seg.cut.1") > 3,
	    "and keeps the rest aside");
	ok(counter_sum(h.region.counters, C_WAL_TORN) == 0, "not as a tear");
	h_elect(&h, 7);
	ok(wait_until(h_committed(&h) == last + 1, H_WAIT_MS), "it goes on");
	ok(h_stop(&h), "ends");
	h.force = false;
	is_i64(h_boot(&h), 0, "then it boots normally");
	is_u64(position_get(&h.region.pos->durable), last + 1, "from there");
	ok(h_stop(&h), "ends");
	h_free(&h);
}

/* A hint, as if the checkpoint had got there. */
static void
hint_put(struct harness *h, uint64_t vlsn)
{
	uint8_t hint[LOG_HINT_SIZE];
	int fd = openat(h->wal_dir, LOG_HINT_NAME, O_WRONLY | O_CREAT, 0600);

	log_hint_encode(hint, vlsn);
	if (write(fd, hint, sizeof(hint)) != (ssize_t)sizeof(hint))
		abort();
	close(fd);
}

/* Damage to what the checkpoint holds: a forced log begins behind that. */
static void
test_force_anew(void)
{
	uint64_t number = 1, last;
	struct harness h;

	h_new(&h, "/dev/shm");
	is_i64(h_boot(&h), 0, "boots");
	h_elect(&h, 1);
	ok(h_write(&h, 6000, 1000, &number), "two segments");
	ok(h_stop(&h), "ends");
	hint_put(&h, 3500);
	h_checkpoint(&h, 3500);
	damage(&h, 1, 2000000);
	is_i64(h_boot(&h), -ECANCELED, "damage below the checkpoint");
	h_kill(&h);
	h.readonly = true;
	is_i64(h_boot(&h), 0, "is none of a readonly boot's business");
	ok(h_stop(&h), "ends");
	h.readonly = false;
	h.force = true;
	is_i64(h_boot(&h), 0, "force boots");
	is_u64(position_get(&h.region.pos->durable), 3500,
	    "with a log that begins behind the checkpoint");
	is_u64(position_get(&h.region.pos->first), 3501, "and holds no more");
	ok(salvaged(&h, "00000001.seg") && salvaged(&h, "00000002.seg"),
	    "what there was is kept aside");
	h_elect(&h, 7);
	ok(wait_until(h_committed(&h) == 3501, H_WAIT_MS), "it goes on");
	ok(h_stop(&h), "ends");
	h.force = false;
	unlinkat(h.wal_dir, LOG_HINT_NAME, 0);
	is_i64(h_boot(&h), 0, "boots normally");
	last = position_get(&h.region.pos->durable);
	is_u64(last, 3501, "from there");
	ok(h_stop(&h), "ends");
	h_free(&h);
}

static int
hook_salvage(enum wal_op op, int res)
{
	static int count;

	return op == WAL_OP_SALVAGE && ++count % 5 == 1 ? -EIO : res;
}

/* A gap: what is older than it is kept aside, too; bad blocks stop nothing. */
static void
test_force_gap(void)
{
	uint64_t number = 1;
	struct harness h;

	h_new(&h, "/dev/shm");
	is_i64(h_boot(&h), 0, "boots");
	h_elect(&h, 1);
	ok(h_write(&h, 11000, 1000, &number), "three segments");
	ok(h_stop(&h), "ends");
	unlinkat(h.wal_dir, "00000002.seg", 0);
	is_i64(h_boot(&h), -ECANCELED, "one is missing");
	ok(strstr(h.region.seq->error, "recovery_mode = force") != NULL,
	    "what can be done is said: %s", h.region.seq->error);
	h_kill(&h);
	h.force = true;
	is_i64(h_boot(&h), 0, "force boots");
	is_u64(position_get(&h.region.pos->durable), 11001, "with the newest");
	ok(salvaged(&h, "00000001.seg"), "the oldest is kept aside");
	ok(h_stop(&h), "ends");
	damage(&h, 3, 100000);
	wal_fault_hook = hook_salvage;
	is_i64(h_boot(&h), 0, "force boots where blocks cannot be copied");
	wal_fault_hook = NULL;
	ok(salvaged(&h, "00000003.seg.cut"), "with what could be");
	ok(h_stop(&h), "ends");
	h_free(&h);
}

static int
hook_killed(enum wal_op op, int res)
{
	if (op == WAL_OP_SALVAGE)
		kill(getpid(), SIGKILL);
	return res;
}

static uint64_t
generation_of(const struct harness *h)
{
	struct node_file node = { 0 };
	char why[128];

	(void)node_file_read(h->data_dir, &node, why, sizeof(why));
	return node.generation;
}

/* Of the newest segment. */
static uint64_t
generation_written(const struct harness *h)
{
	struct segment_list l;
	uint64_t generation = 0;

	if (segment_list_load(&l, h->wal_dir, true) == 0 &&
	    l.newest != UINT32_MAX)
		generation = l.entry[l.newest].info.generation;
	segment_list_free(&l);
	return generation;
}

/* What force cuts is of an older generation than what follows, always. */
static void
test_force_generation(void)
{
	uint64_t number = 1;
	struct harness h;

	h_new(&h, "/dev/shm");
	is_i64(h_boot(&h), 0, "boots");
	h_elect(&h, 1);
	ok(h_write(&h, 3000, 1000, &number), "some writes");
	ok(h_stop(&h), "ends");
	h.force = true;
	is_i64(h_boot(&h), 0, "force with nothing to force");
	ok(h_stop(&h), "ends");
	is_u64(generation_of(&h), 1, "begins no generation");
	damage(&h, 1, 2000000);
	wal_fault_hook = hook_killed;
	h_fork(&h);
	ok(wait_until(h_ended(&h), H_WAIT_MS) && WIFSIGNALED(h.status),
	    "killed over the first thing that it would cut");
	wal_fault_hook = NULL;
	h_kill(&h);
	is_u64(generation_of(&h), 2, "a new generation is begun before");
	is_u64(generation_written(&h), 1, "nothing is written yet");
	h.force = false;
	is_i64(h_boot(&h), -ECANCELED, "a normal boot finds the damage still");
	h_kill(&h);
	h.force = true;
	is_i64(h_boot(&h), 0, "force boots");
	ok(position_get(&h.region.pos->generation) == generation_of(&h) &&
		position_get(&h.region.pos->raised) == 1,
	    "and tells the others");
	ok(h_stop(&h), "ends");
	is_u64(generation_of(&h), 3, "it has begun its own");
	is_u64(generation_written(&h), 3, "which the segment names");
	h.force = false;
	is_i64(h_boot(&h), 0, "a normal boot");
	is_u64(position_get(&h.region.pos->raised), 0, "begins none");
	ok(h_stop(&h), "ends");
	is_u64(generation_of(&h), 3, "and stays in it");
	h_free(&h);
}

/* A stop while a forced boot scans is no damage. */
static void
test_force_stop(void)
{
	uint64_t number = 1;
	struct harness h;

	h_new(&h, "/dev/shm");
	h.conf.wal.segment_size = 64 << 20;
	is_i64(h_boot(&h), 0, "boots");
	h_elect(&h, 1);
	ok(h_write(&h, 12000, 1000, &number), "three segments");
	ok(h_stop(&h), "ends");
	h.force = true;
	h_region(&h);
	h_fork_at(&h, SHUTDOWN_DRAINING_LISTENERS);
	(void)wait_until(h_ended(&h), H_WAIT_MS);
	ok(strstr(h.region.seq->error, "stopped") != NULL, "stopped: %s",
	    h.region.seq->error);
	h_kill(&h);
	ok(!salvaged(&h, "00000001.seg.cut"), "nothing is cut");
	h.force = false;
	is_i64(h_boot(&h), 0, "boots");
	is_u64(position_get(&h.region.pos->durable), 12001, "with all of it");
	ok(h_stop(&h), "ends");
	h_free(&h);
}

static _Atomic int *full;

static int
hook(enum wal_op op, int res)
{
	return op == WAL_OP_ALLOC && atomic_load(full) ? -ENOSPC : res;
}

static void
test_full_boot(void)
{
	uint64_t number = 1;
	struct harness h;
	struct stat st;

	full = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	wal_fault_hook = hook;
	h_new(&h, "/dev/shm");
	is_i64(h_boot(&h), 0, "boots");
	h_elect(&h, 1);
	ok(h_write(&h, 10, 100, &number), "writes");
	ok(fstatat(h.data_dir, "reserve", &st, 0) == 0 && st.st_size == 1 << 20,
	    "the reserve is there");
	h_kill(&h);
	atomic_store(full, 1);
	is_i64(h_boot(&h), 0, "boots on a full disk: a spare is there");
	h_elect(&h, 2);
	ok(h_write(&h, 10, 100, &number), "and writes");
	h_kill(&h);
	atomic_store(full, 0);
	is_i64(h_boot(&h), 0, "boots with space");
	is_u64(position_get(&h.region.pos->durable), 22, "all is there");
	h_kill(&h);
	h_free(&h);
	wal_fault_hook = NULL;
}

/* CRC of a file's first 32 MiB, past the page cache. */
static uint32_t
crc_of(int fd)
{
	uint8_t *buf = aligned_alloc(4096, 1 << 20);
	uint32_t crc = 0;
	off_t at;

	for (at = 0; at < 32 << 20; at += 1 << 20)
		if (pread(fd, buf, 1 << 20, at) == 1 << 20)
			crc = crc32c(crc, buf, 1 << 20);
	free(buf);
	return crc;
}

/* A process that dies with direct writes under way. */
static void
die_writing(int fd)
{
	static const size_t size = 2 << 20;
	struct io_uring_sqe *sqe;
	struct io_uring ring;
	uint8_t *buf;
	int i;

	if (io_uring_queue_init(32, &ring, 0) != 0)
		_exit(1);
	buf = aligned_alloc(4096, size);
	memset(buf, 'x', size);
	for (i = 0; i < 16; i++) {
		sqe = io_uring_get_sqe(&ring);
		io_uring_prep_write(
		    sqe, fd, buf, (unsigned)size, (uint64_t)i * size);
	}
	io_uring_submit(&ring);
	kill(getpid(), SIGKILL);
}

/* Fill the last block of a file of 33 MiB, or: is it so? */
static bool
last_block(int fd, uint8_t byte, bool look)
{
	off_t at = (33 << 20) - 4096;
	uint8_t *buf = aligned_alloc(4096, 8192);
	bool good;

	memset(buf, byte, 4096);
	if (look)
		good = pread(fd, buf + 4096, 4096, at) == 4096 &&
		       memcmp(buf, buf + 4096, 4096) == 0;
	else
		good = pwrite(fd, buf, 4096, at) == 4096;
	free(buf);
	return good;
}

static void
test_fence(void)
{
	struct wal_io io = { .block = 4096, .direct = true };
	struct harness h;
	char at[32];
	uint32_t crc;
	int fd, i, bad = 0;
	struct stat st;
	pid_t pid;

	h_new(&h, "/tmp");
	fd = wal_file_open(&io, h.wal_dir, "00000001.seg", true);
	if (fd < 0) {
		ok(true, "no direct I/O here # SKIP");
		h_free(&h);
		return;
	}
	is_i64(wal_file_alloc(fd, 33 << 20), 0, "a segment");
	for (i = 0; i < 5; i++) {
		is_i64(wal_file_zero(fd, 0, 32 << 20), 0, "of zeros");
		fflush(stdout);
		last_block(fd, i % 2 == 0 ? 'j' : 0, false);
		pid = fork();
		if (pid == 0)
			die_writing(fd);
		waitpid(pid, NULL, 0);
		is_i64(wal_fence(h.wal_dir, at, sizeof(at)), 0, "fenced");
		if (!last_block(fd, i % 2 == 0 ? 'j' : 0, true))
			bad++;
		crc = crc_of(fd);
		if (wait_until(crc_of(fd) != crc, 100))
			bad++;
	}
	is_i64(bad, 0, "no write of a killed process lands behind the fence");
	ok(fstat(fd, &st) == 0 && st.st_size == 33 << 20, "its size stays");
	close(fd);
	h_free(&h);
}

int
main(int argc, char **argv)
{
	setproctitle_init(argc, argv, environ);
	say_open("/dev/null");
	test_fence();
	test_recycling();
	test_keep_size();
	test_keep_member();
	test_keep_member_before();
	test_keep_newest();
	test_boots();
	test_last_head();
	test_modes();
	test_force_anew();
	test_force_gap();
	test_force_generation();
	test_force_stop();
	test_full_boot();
	return tap_done();
}
