/*
 * One judge: over logs mutilated in hundreds of ways, by seed, what a normal
 * boot says (good, torn, damaged; which file, which offset, and of damage what
 * is good) is what `nodelifewal verify` says; and the boot's scan leaves every
 * byte of the data directory as it was. ROUNDS sets how many, SEED replays.
 * What is good and what force would drop is true, whatever is missing.
 */
#include <sys/stat.h>

#include "shm/crc32c.h"
#include "shm/log/index_file.h"
#include "t/lib/kill_steps.h"
#include "t/lib/segment_build.h"
#include "t/lib/wal_harness.h"
#include "workers/wal/wal.h"

#define SEGMENTS 4
#define SIZE     65536u

static struct harness h;
static struct wal w;
static struct loop_hooks no_hooks;
static unsigned seed;
static char program[512];
static struct segment_build log_of[SEGMENTS];

struct verdict {
	char name[16]; /* good, torn, damaged, gone */
	unsigned segment, offset; /* of the fault, else of the log's end */
	char good[80]; /* of damage: what else is good */
};

static unsigned
rnd(unsigned below)
{
	return (unsigned)rand_r(&seed) % below;
}

/* "good up to record 9, 10 were durable by ..." */
static void
good_take(struct verdict *out, const char *text)
{
	const char *at = strstr(text, "good ");
	char *end;

	if (at == NULL)
		return;
	(void)sscanf(at, "%79[^;]", out->good);
	/* The tool adds ", N committed". */
	if ((end = strstr(out->good, " committed")) != NULL)
		*(char *)memrchr(out->good, ',', (size_t)(end - out->good)) =
		    '\0';
}

/* What a normal boot makes of it. */
static void
boot_says(struct verdict *out)
{
	uint64_t torn = counter_sum(h.region.counters, C_WAL_TORN);
	static struct event event[EVENT_COUNT];
	struct loop loop = w.loop;
	const char *at;
	unsigned i;
	int rc;

	memset(h.region.seq, 0, sizeof(*h.region.seq));
	seq_init(h.region.seq, RECOVERY_NORMAL);
	memset(&w, 0, sizeof(w));
	w.loop = loop;
	w.w = &h.worker;
	w.r = &h.region;
	w.conf = &h.conf;
	w.dir = -1;
	vmap_cut(h.region.vmap, 0);
	memset(h.region.events, 0, sizeof(*h.region.events));
	memset(event, 0, sizeof(event));
	rc = wal_recover(&w);
	segment_list_free(&w.found);
	if (w.dir >= 0)
		close(w.dir);
	memset(out, 0, sizeof(*out));
	strcpy(out->name, "good");
	out->segment = w.segment.info.prev_number;
	out->offset = w.segment.info.prev_end;
	if (counter_sum(h.region.counters, C_WAL_TORN) != torn) {
		strcpy(out->name, "torn");
		(void)event_list(h.region.events, event, EVENT_COUNT);
		for (i = 0; i < EVENT_COUNT; i++)
			if (sscanf(event[i].text, "wal/%8x.seg offset %u: ",
				&out->segment, &out->offset) == 2)
				break;
	}
	if (rc == 0)
		return;
	strcpy(out->name, "refused");
	if (strstr(h.region.seq->error, "the log is away") != NULL) {
		memset(out, 0, sizeof(*out));
		strcpy(out->name, "gone");
		return;
	}
	at = strstr(h.region.seq->error, "it may hold what the log lacks");
	if (at != NULL &&
	    sscanf(at, "%*[a-z ], wal/%8x.seg", &out->segment) == 1)
		strcpy(out->name, "damaged");
	at = strstr(h.region.seq->error, "/wal/0");
	if (at != NULL && sscanf(at, "/wal/%8x.seg: offset %u:", &out->segment,
			      &out->offset) == 2) {
		strcpy(out->name, "damaged");
		good_take(out, at);
	}
}

/* What nodelifewal verify says: the first damage, else what the end is. */
static void
tool_says(struct verdict *out, char *text, size_t size)
{
	char command[700], *line, *rest = text;
	int status;
	FILE *p;

	snprintf(command, sizeof(command), "%s verify %s 2>&1", program, h.dir);
	p = popen(command, "r");
	text[fread(text, 1, size - 1, p)] = '\0';
	status = pclose(p);
	status = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
	memset(out, 0, sizeof(*out));
	strcpy(out->name, status == 0 || status == 3 ? "good"
			  : status == 1              ? "torn"
			  : status == 2              ? "damaged"
						     : "error");
	/* 3: either, and old damage beside it. */
	if (status == 3 && strstr(text, "torn tail: wal/") != NULL)
		strcpy(out->name, "torn");
	while ((line = strsep(&rest, "\n")) != NULL) {
		char *at = strstr(line, "wal/0");
		bool fault = strstr(line, ": VLSNs ") == NULL;

		if (at == NULL ||
		    strstr(line, "but the checkpoint has") != NULL)
			continue;
		if (strstr(line, "missing: no segment is left") != NULL) {
			strcpy(out->name, "gone");
			break;
		}
		if (fault && strcmp(out->name, "damaged") == 0 &&
		    strncmp(line, "damaged: wal/", 13) != 0)
			continue;
		if (fault != (strcmp(out->name, "good") != 0))
			continue;
		if (sscanf(at, "wal/%8x.seg offset %u", &out->segment,
			&out->offset) != 2)
			continue;
		if (strcmp(out->name, "damaged") == 0)
			good_take(out, at);
		break;
	}
}

/* CRC over names, sizes and bytes of all that lies under `dir`. */
static uint32_t
tree_crc(int dir, uint32_t crc)
{
	static uint8_t buf[SIZE];
	struct dirent **list;
	char path[64];
	int i, n, fd;
	ssize_t got;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", dir);
	n = scandir(path, &list, NULL, alphasort);
	for (i = 0; i < n; free(list[i++])) {
		/* run_dir is here, too: a link to the region. */
		if (list[i]->d_name[0] == '.' || list[i]->d_type == DT_LNK)
			continue;
		crc = crc32c(crc, list[i]->d_name, strlen(list[i]->d_name));
		fd = openat(dir, list[i]->d_name, O_RDONLY | O_CLOEXEC);
		if (list[i]->d_type == DT_DIR)
			crc = tree_crc(fd, crc);
		else
			while ((got = read(fd, buf, sizeof(buf))) > 0)
				crc = crc32c(crc, buf, (size_t)got);
		close(fd);
	}
	if (n >= 0)
		free(list);
	return crc;
}

static void
index_put(uint64_t durable, uint64_t vlsn, uint32_t segment, uint32_t offset)
{
	struct vmap_pair pair = { .vlsn = vlsn,
		.lsn = lsn_make(segment, offset) };
	struct index_head head = {
		.id.generation = 1, .life = 7, .stride = VMAP_STRIDE_BYTES
	};
	uint8_t page[INDEX_PAGE];
	int fd;

	memcpy(head.id.group_uuid, "0123456789abcdef", 16);
	mkdirat(h.data_dir, "index", 0750);
	fd = openat(
	    h.data_dir, "index/vlsn.idx", O_WRONLY | O_CREAT | O_TRUNC, 0600);
	index_head_encode(page, &head);
	if (write(fd, page, sizeof(page)) != (ssize_t)sizeof(page))
		abort();
	index_page_encode(page, head.life, 1, durable, &pair, 1);
	if (write(fd, page, sizeof(page)) != (ssize_t)sizeof(page))
		abort();
	close(fd);
}

/*
 * A whole log, the first segments perhaps of format 1; a checkpoint and an
 * index, each perhaps not there.
 */
static void
data_make(void)
{
	struct segment_build *last = &log_of[SEGMENTS - 1];
	unsigned i, old = rnd(SEGMENTS + 1);

	dir_remove(h.data_dir, "wal");
	dir_remove(h.data_dir, "store");
	dir_remove(h.data_dir, "index");
	mkdirat(h.data_dir, "wal", 0750);
	close(h.wal_dir);
	h.wal_dir =
	    openat(h.data_dir, "wal", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (i = 0; i < SEGMENTS; i++) {
		build_free(&log_of[i]);
		build_format = i < old ? SEGMENT_FORMAT_1 : SEGMENT_FORMAT;
		build_begin(
		    &log_of[i], i + 1, SIZE, i > 0 ? &log_of[i - 1] : NULL);
		for (unsigned n = 2 + rnd(8); n > 0; n--) {
			build_flush(&log_of[i], 1 + rnd(4), rnd(400));
			if (rnd(4) == 0)
				build_pad(&log_of[i]);
		}
		build_write(&log_of[i], h.wal_dir);
	}
	if (rnd(4) != 0)
		h_checkpoint(&h, rnd((unsigned)last->vlsn + 1));
	if (rnd(4) != 0)
		index_put(rnd(2) != 0 ? last->vlsn : last->durable,
		    last->info.first_vlsn, SEGMENTS, 4096 + SEGMENT_BATCH_LEN);
	if (rnd(2) != 0) {
		uint8_t hint[LOG_HINT_SIZE];
		int fd =
		    openat(h.wal_dir, LOG_HINT_NAME, O_WRONLY | O_CREAT, 0600);

		log_hint_encode(hint, rnd((unsigned)last->vlsn + 1));
		if (write(fd, hint, sizeof(hint)) != (ssize_t)sizeof(hint))
			abort();
		close(fd);
	}
}

/* Where in the file of a segment: mostly where its records are. */
static uint32_t
place_in(unsigned i)
{
	switch (rnd(4)) {
	case 0:
		return rnd(200);
	case 1:
		return rnd(SIZE);
	case 2:
		return log_of[i].head_at +
		       rnd(log_of[i].at - log_of[i].head_at);
	default:
		return 4096 + rnd(log_of[i].at - 4096);
	}
}

static void
fill(int fd, uint32_t at, uint32_t n, bool junk)
{
	for (; n > 0 && at < SIZE; n--, at++) {
		uint8_t byte = junk ? (uint8_t)rnd(256) : 0;

		if (pwrite(fd, &byte, 1, at) != 1)
			abort();
	}
}

/* One thing done to it; said in text. */
static void
mutilate(char *text, size_t size)
{
	unsigned i = rnd(3) == 0 ? SEGMENTS - 1 : rnd(SEGMENTS), kind = rnd(9);
	uint32_t at = place_in(i);
	char name[SEGMENT_NAME_MAX], to[SEGMENT_NAME_MAX];
	uint8_t byte;
	int fd;

	segment_name(name, i + 1);
	snprintf(text, size, "kind %u, %s at %u", kind, name, at);
	fd = openat(h.wal_dir, name, O_RDWR | O_CLOEXEC);
	if (fd < 0) /* an earlier one has taken it */
		return;
	switch (kind) {
	case 0:
		unlinkat(h.wal_dir, name, 0);
		break;
	case 1:
		if (ftruncate(fd, at) != 0)
			abort();
		break;
	case 2: /* to its header, or nothing */
		if (ftruncate(fd, rnd(2) * 4096) != 0)
			abort();
		break;
	case 3:
	case 4:
		if (pread(fd, &byte, 1, at) != 1)
			break;
		byte ^= (uint8_t)(1u << rnd(8));
		if (pwrite(fd, &byte, 1, at) != 1)
			abort();
		break;
	case 5:
		fill(fd, at, SIZE, false);
		break;
	case 6:
		fill(fd, at, 1 + rnd(9000), rnd(2) != 0);
		break;
	case 7:
		segment_name(to, i + 1 + rnd(SEGMENTS));
		renameat(h.wal_dir, name, h.wal_dir, to);
		break;
	default:
		if (rnd(2) != 0)
			dir_remove(h.data_dir, rnd(2) != 0 ? "store" : "index");
		else
			dir_remove(h.data_dir, "wal");
	}
	close(fd);
}

static bool
same(const struct verdict *boot, const struct verdict *tool)
{
	/* There is no log, and nothing tells of one. */
	if (strcmp(tool->name, "error") == 0)
		return strcmp(boot->name, "good") == 0 && boot->segment == 0;
	if (strcmp(boot->name, tool->name) != 0 ||
	    boot->segment != tool->segment || boot->offset != tool->offset)
		return false;
	/* A boot that misses the store tells of that. */
	return boot->good[0] == '\0' || strcmp(boot->good, tool->good) == 0;
}

static void
test_verdicts(unsigned rounds)
{
	unsigned round, differ = 0, changed = 0, damaged = 0, torn = 0;
	static char text[16384], what[2][80];
	struct verdict boot, tool;
	uint32_t before;

	for (round = 0; round < rounds; round++) {
		data_make();
		what[0][0] = what[1][0] = '\0';
		if (rnd(8) != 0)
			mutilate(what[0], sizeof(what[0]));
		if (rnd(4) == 0)
			mutilate(what[1], sizeof(what[1]));
		tool_says(&tool, text, sizeof(text));
		before = tree_crc(h.data_dir, 0);
		boot_says(&boot);
		if (tree_crc(h.data_dir, 0) != before && changed++ < 5)
			diag("round %u, %s, %s: changed", round, what[0],
			    what[1]);
		damaged += strcmp(boot.name, "damaged") == 0;
		torn += strcmp(boot.name, "torn") == 0;
		if (same(&boot, &tool) || differ++ >= 5)
			continue;
		diag("round %u, %s, %s: boot %s %x %u, verify %s %x %u", round,
		    what[0], what[1], boot.name, boot.segment, boot.offset,
		    tool.name, tool.segment, tool.offset);
		diag("boot: %s", h.region.seq->error);
		diag("verify: %s", text);
	}
	diag("%u rounds: %u damaged, %u torn", rounds, damaged, torn);
	is_u64(differ, 0, "verify says what a normal boot says");
	is_u64(changed, 0, "neither changes a byte");
	ok(damaged > rounds / 10 && torn > 0, "of each there was some");
}

/*
 * Nothing but its size tells of a newest segment that was cut to its header
 * before anything else told of its records.
 */
static void
test_cut(void)
{
	static char text[16384];
	char name[SEGMENT_NAME_MAX];
	struct verdict boot, tool;
	int fd;

	data_make();
	dir_remove(h.data_dir, "store");
	dir_remove(h.data_dir, "index");
	unlinkat(h.wal_dir, LOG_HINT_NAME, 0);
	segment_name(name, SEGMENTS);
	fd = openat(h.wal_dir, name, O_WRONLY | O_CLOEXEC);
	if (ftruncate(fd, SEGMENT_BLOCK_MIN) != 0)
		abort();
	close(fd);
	tool_says(&tool, text, sizeof(text));
	boot_says(&boot);
	ok(same(&boot, &tool) && strcmp(boot.name, "damaged") == 0 &&
		boot.segment == SEGMENTS,
	    "cut to its header: %s %x", boot.name, boot.segment);
}

/* What bears another number than its name is a spare that was not begun. */
static void
test_spares(void)
{
	static char text[16384];
	char name[SEGMENT_NAME_MAX], to[SEGMENT_NAME_MAX];
	struct verdict boot, tool;
	unsigned i;

	data_make();
	/* Something must tell that there was a log. */
	index_put(log_of[SEGMENTS - 1].vlsn,
	    log_of[SEGMENTS - 1].info.first_vlsn, SEGMENTS,
	    4096 + SEGMENT_BATCH_LEN);
	for (i = 0; i + 1 < SEGMENTS; i++) {
		segment_name(name, i + 1);
		unlinkat(h.wal_dir, name, 0);
	}
	segment_name(name, SEGMENTS);
	segment_name(to, SEGMENTS + 1);
	renameat(h.wal_dir, name, h.wal_dir, to);
	tool_says(&tool, text, sizeof(text));
	boot_says(&boot);
	ok(same(&boot, &tool) && strcmp(boot.name, "gone") == 0,
	    "only a spare is left: %s, verify %s", boot.name, tool.name);
}

#define TRIM_SIZE (4 * SEGMENT_BLOCK_MAX)

/* Two segments; the first as a boot leaves it that has begun the second. */
static void
trimmed_make(void)
{
	char name[SEGMENT_NAME_MAX];
	struct segment_build b[2];
	int fd;

	data_make();
	dir_remove(h.data_dir, "wal");
	dir_remove(h.data_dir, "store");
	dir_remove(h.data_dir, "index");
	mkdirat(h.data_dir, "wal", 0750);
	close(h.wal_dir);
	h.wal_dir =
	    openat(h.data_dir, "wal", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (unsigned i = 0; i < 2; i++) {
		build_begin(&b[i], i + 1, TRIM_SIZE, i > 0 ? &b[0] : NULL);
		build_flush(&b[i], 3, 100);
		build_flush(&b[i], 2, 100);
		build_write(&b[i], h.wal_dir);
	}
	segment_name(name, 1);
	fd = openat(h.wal_dir, name, O_WRONLY | O_CLOEXEC);
	if (ftruncate(fd, (off_t)segment_trimmed_size(b[0].at)) != 0)
		abort();
	close(fd);
	build_free(&b[0]);
	build_free(&b[1]);
}

/* Its size tells of one that went on, which is missing, and not of a cut. */
static void
test_trimmed(void)
{
	static char text[16384];
	const char *error = h.region.seq->error;
	struct verdict boot, tool;

	trimmed_make();
	tool_says(&tool, text, sizeof(text));
	boot_says(&boot);
	ok(same(&boot, &tool) && strcmp(boot.name, "good") == 0,
	    "trimmed, and gone on with: good");
	unlinkat(h.wal_dir, "00000002.seg", 0);
	tool_says(&tool, text, sizeof(text));
	boot_says(&boot);
	ok(same(&boot, &tool) && strcmp(boot.name, "damaged") == 0 &&
		boot.segment == 1 &&
		strstr(text, "the segment that continues it is missing") !=
		    NULL &&
		strstr(error, "the segment that continues it is missing") !=
		    NULL &&
		strstr(error, "drop every record behind 5") != NULL,
	    "without the one that went on: %s", error);
}

/* A forced boot, up to where its own segment would begin. */
static void
force_run(void)
{
	static struct wal forced;

	if (loop_open(&forced.loop, &h.region, &h.worker.bells, SLOT_WAL, 16,
		&forced, &no_hooks) != 0)
		_exit(1);
	loop_on(&forced.loop, WAL_KIND_SCAN, wal_scan_done);
	memset(h.region.seq, 0, sizeof(*h.region.seq));
	seq_init(h.region.seq, RECOVERY_FORCE);
	position_set(&h.region.pos->raised, 0);
	h.worker.force = true;
	forced.w = &h.worker;
	forced.r = &h.region;
	forced.conf = &h.conf;
	forced.dir = -1;
	if (wal_recover(&forced) != 0)
		_exit(1);
}

/*
 * A forced boot that drops what went on behind a trimmed segment, killed
 * anywhere: the next one finds the damage still, or a log that is good.
 */
static void
test_force_killed(void)
{
	unsigned n, good = 0, damaged = 0, bad = 0;
	struct verdict boot;
	int rc = 1, fd;

	for (n = 0; rc > 0; n++) {
		trimmed_make();
		dir_remove(h.data_dir, "salvage");
		fd = openat(h.wal_dir, "00000002.seg", O_WRONLY | O_CLOEXEC);
		if (pwrite(fd, "junk", 4, 20) != 4)
			abort();
		close(fd);
		if ((rc = killed_at(n, force_run)) < 0)
			break;
		boot_says(&boot);
		if (strcmp(boot.name, "good") == 0 && boot.segment == 1)
			good++;
		else if (strcmp(boot.name, "damaged") == 0 && boot.segment == 2)
			damaged++;
		else if (bad++ == 0)
			diag("killed at %u: %s", n, h.region.seq->error);
	}
	if (rc == -EPERM) {
		ok(true, "kills # SKIP ptrace is not allowed here");
		return;
	}
	ok(rc == 0 && damaged > 0 && good > 0,
	    "force killed at %u steps: in %u the damage is there, in %u not", n,
	    damaged, good);
	is_u64(bad, 0, "and nothing else is");
}

#define GAP_SEGMENTS 7u
#define GAP_RECORDS  3u /* in each: 1 to 3, 4 to 6, ... 19 to 21 */

/* What is done to the log, and what is true then. 0 ends a list. */
struct gap_case {
	const char *what;
	unsigned gone[4], cut[3]; /* segments; cut: behind its first record */
	unsigned broken; /* segment: a byte of its second record */
	uint64_t checkpoint; /* UINT64_MAX = none that can be read */
	unsigned named; /* segment */
	const char *good, *drop;
};

static const struct gap_case gap_cases[] = {
	{ "one is missing", { 3 }, { 0 }, 0, 0, 3, "good up to record 6, ",
	    "drop records 1 to 9 (9), and" },
	{ "one is cut", { 0 }, { 3 }, 0, 0, 3, "good up to record 7, ",
	    "drop records 1 to 9 (9), and" },
	{ "two are missing", { 3, 5 }, { 0 }, 0, 0, 3, "good up to record 6, ",
	    "drop records 1 to 15 (15), and" },
	{ "two in a row are missing", { 3, 4 }, { 0 }, 0, 0, 4,
	    "good up to record 6, ", "drop records 1 to 12 (12), and" },
	{ "two are cut", { 0 }, { 2, 5 }, 0, 0, 2, "good up to record 4, ",
	    "drop records 1 to 15 (15), and" },
	{ "one is broken, a later one missing", { 5 }, { 0 }, 2, 0, 2,
	    "good up to record 4, ", "drop records 1 to 15 (15), and" },
	{ "the first one, too", { 1, 3 }, { 0 }, 0, 0, 1, "good in no record, ",
	    "drop records 1 to 9 (9), and" },
	{ "one is missing, and a later one broken", { 3 }, { 0 }, 5, 0, 3,
	    "good up to record 6, ",
	    "drop records 1 to 9 (9) and 14 to 21 (8 at least), and" },
	{ "a checkpoint in what is good", { 3, 5 }, { 0 }, 0, 2, 3,
	    "good up to record 6, ", "drop records 3 to 15 (13), and" },
	{ "one in the first gap", { 3, 5 }, { 0 }, 0, 8, 3,
	    "good up to record 8, ", "drop records 9 to 15 (7), and" },
	{ "one between the gaps", { 3, 5 }, { 0 }, 0, 10, 5,
	    "good up to record 12, ", "drop records 11 to 15 (5), and" },
	{ "one in what is cut", { 1, 2 }, { 5 }, 0, 14, 5,
	    "good up to record 14, ", "drop records 15 to 15 (1), and" },
	{ "the oldest recycled, none to be read", { 1, 2, 5 }, { 0 }, 0,
	    UINT64_MAX, 5, "good from record 7 to 12, ",
	    "drop records 7 to 15 (9), and" },
	{ "the same, and one broken in the end", { 1, 2 }, { 0 }, 5, UINT64_MAX,
	    5, "good from record 7 to 13, ",
	    "drop records 14 to 21 (8 at least), and" },
};

static void
gap_make(const struct gap_case *g)
{
	struct segment_build b[GAP_SEGMENTS];
	char name[SEGMENT_NAME_MAX];
	unsigned i;
	int fd;

	dir_remove(h.data_dir, "store");
	dir_remove(h.data_dir, "index");
	unlinkat(h.wal_dir, LOG_HINT_NAME, 0);
	for (i = 0; i < GAP_SEGMENTS; i++) {
		build_begin(&b[i], i + 1, SIZE, i > 0 ? &b[i - 1] : NULL);
		build_flush(&b[i], GAP_RECORDS, 100);
		if (g->broken == i + 1)
			b[i].bytes[b[i].record[2].offset + 60] ^= 1;
		build_write(&b[i], h.wal_dir);
	}
	for (i = 0; g->gone[i] != 0; i++) {
		segment_name(name, g->gone[i]);
		unlinkat(h.wal_dir, name, 0);
	}
	for (i = 0; g->cut[i] != 0; i++) {
		segment_name(name, g->cut[i]);
		fd = openat(h.wal_dir, name, O_WRONLY | O_CLOEXEC);
		if (ftruncate(fd, b[g->cut[i] - 1].record[2].offset) != 0)
			abort();
		close(fd);
	}
	for (i = 0; i < GAP_SEGMENTS; i++)
		build_free(&b[i]);
	if (g->checkpoint != 0)
		h_checkpoint(
		    &h, g->checkpoint == UINT64_MAX ? 1 : g->checkpoint);
	if (g->checkpoint != UINT64_MAX)
		return;
	fd = openat(h.data_dir, "store/data.mdb", O_WRONLY | O_TRUNC);
	if (pwrite(fd, "junk", 4, 8188) != 4)
		abort();
	close(fd);
}

/* Segments between are missing, cut or broken. */
static void
test_gaps(void)
{
	static char text[16384];
	struct verdict boot, tool;
	const char *error = h.region.seq->error;
	unsigned i;

	for (i = 0; i < sizeof(gap_cases) / sizeof(gap_cases[0]); i++) {
		const struct gap_case *g = &gap_cases[i];

		gap_make(g);
		tool_says(&tool, text, sizeof(text));
		boot_says(&boot);
		ok(same(&boot, &tool) && tool.segment == g->named &&
			strncmp(tool.good, g->good, strlen(g->good)) == 0 &&
			strstr(error, g->drop) != NULL,
		    "%s: boot and verify name it, and say what is lost",
		    g->what);
		if (!same(&boot, &tool) || tool.segment != g->named ||
		    strstr(error, g->drop) == NULL)
			diag("boot: %s\nverify: %s", error, tool.good);
	}
}

int
main(void)
{
	const char *rounds = getenv("ROUNDS");
	ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 32);
	char *slash;
	unsigned i;

	program[n < 0 ? 0 : n] = '\0';
	for (i = 0; i < 3 && (slash = strrchr(program, '/')) != NULL; i++)
		*slash = '\0';
	strcat(program, "/nodelifewal");
	if (access(program, X_OK) != 0)
		skip_all("%s is not built", program);
	seed = (unsigned)time(NULL);
	if (getenv("SEED") != NULL)
		seed = (unsigned)atoi(getenv("SEED"));
	diag("SEED=%u", seed);
	h_new(&h, "/dev/shm");
	say_open("/dev/null");
	h.conf.wal.buffer_size = 1 << 20;
	h_region(&h);
	h.worker.data_dir = h.data_dir;
	if (loop_open(&w.loop, &h.region, &h.worker.bells, SLOT_WAL, 16, &w,
		&no_hooks) != 0)
		skip_all("no io_uring here");
	loop_on(&w.loop, WAL_KIND_SCAN, wal_scan_done);
	test_cut();
	test_spares();
	test_trimmed();
	test_force_killed();
	test_gaps();
	test_verdicts(rounds != NULL ? (unsigned)atoi(rounds) : 400);
	loop_close(&w.loop);
	for (i = 0; i < SEGMENTS; i++)
		build_free(&log_of[i]);
	h_region_end(&h);
	h_free(&h);
	return tap_done();
}
