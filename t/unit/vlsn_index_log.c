/*
 * The index held against a log made by hand: samples that the headers forbid
 * go, every long stretch without a sample is found and scanned, and a sample
 * is believed only if its record is there.
 */
#include "workers/vlsn/index_log.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include "shm/log/index_file.h"
#include "shm/log/walbuf.h"
#include "t/lib/segment_build.h"
#include "t/tap.h"

#define SEGMENT (16u << 20)

static char dir_path[64];
static int dir;
static uint64_t log_end; /* VLSN */

/* Three segments, the first of format 1; the third is open. */
static void
log_make(void)
{
	struct segment_build b[3];
	uint32_t i;

	strcpy(dir_path, "/tmp/vlsn_index_log.XXXXXX");
	if (mkdtemp(dir_path) == NULL)
		abort();
	dir = open(dir_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (i = 0; i < 3; i++) {
		build_format = i == 0 ? SEGMENT_FORMAT_1 : SEGMENT_FORMAT;
		build_begin(&b[i], i + 1, SEGMENT, i > 0 ? &b[i - 1] : NULL);
		while (b[i].at < SEGMENT - (1u << 20))
			build_flush(&b[i], 4, 6000 + i);
		if (build_write(&b[i], dir) != 0)
			diag("cannot write segment %u", i + 1);
	}
	log_end = b[2].vlsn;
	for (i = 0; i < 3; i++)
		build_free(&b[i]);
}

static void
log_remove(void)
{
	char name[SEGMENT_NAME_MAX];
	uint32_t i;

	for (i = 1; i <= 3; i++) {
		segment_name(name, i);
		unlinkat(dir, name, 0);
	}
	close(dir);
	rmdir(dir_path);
}

static uint64_t beaten;

static void
beat(void *arg, uint64_t bytes)
{
	(void)arg;
	beaten += bytes;
}

/* Scan every hole of what is there; returns how many holes there were. */
static unsigned
fill(const struct segment_list *l, struct index_samples *all,
    struct index_samples *found)
{
	struct index_hole hole;
	uint32_t i = 0, broken;
	unsigned holes = 0;
	size_t at = 0;

	while (index_hole_next(l, all->pair, all->count, &i, &at, &hole)) {
		int rc =
		    index_hole_scan(dir, &hole, found, beat, NULL, &broken);

		if (rc != 0)
			diag("segment %u from %u: %d at %u", hole.segment,
			    hole.from, rc, broken);
		holes++;
	}
	return holes;
}

static void
test_rebuild(struct index_samples *found)
{
	struct index_samples none = { 0 };
	struct vmap_pair first[4];
	struct segment_list l;
	unsigned wrong = 0;
	size_t i;

	is_i64(segment_list_load(&l, dir, false), 0, "the log's list");
	is_u64(fill(&l, &none, found), 2, "without samples: closed segments");
	ok(found->count > 1200, "%zu samples", found->count);
	ok(beaten > 28u << 20, "told of the way");
	for (i = 1; i < found->count; i++)
		if (found->pair[i].vlsn <= found->pair[i - 1].vlsn ||
		    found->pair[i].lsn <= found->pair[i - 1].lsn)
			wrong++;
	is_u64(wrong, 0, "that rise");
	for (i = 0; i < found->count; i += 37)
		if (index_sample_check(dir, &found->pair[i]) != 0)
			wrong++;
	is_u64(wrong, 0, "and are true");
	is_u64(found->pair[0].vlsn, 1, "from the first record on");
	is_u64(fill(&l, found, &none), 0, "and leave no hole");
	is_u64(index_firsts(&l, first), 2, "first samples of closed segments");
	for (i = 0; i < 2; i++)
		if (index_sample_check(dir, &first[i]) != 0)
			wrong++;
	is_u64(wrong, 0, "are where their headers tell");
	segment_list_free(&l);
}

static void
test_false(const struct index_samples *found)
{
	struct vmap_pair p = found->pair[500];

	p.vlsn++;
	is_i64(
	    index_sample_check(dir, &p), -EBADMSG, "a sample of another VLSN");
	p = found->pair[500];
	p.lsn += 8;
	is_i64(
	    index_sample_check(dir, &p), -EBADMSG, "a sample of another place");
	p.lsn = lsn_make(77, 4096 + 80);
	is_i64(index_sample_check(dir, &p), -EBADMSG,
	    "a sample of a segment that is not there");
	p.lsn = lsn_make(1, 0xfffffff8);
	is_i64(index_sample_check(dir, &p), -EBADMSG,
	    "a sample behind the file's end");
}

/* Take samples out of the middle: only that stretch is scanned. */
static void
test_hole(const struct index_samples *full)
{
	struct index_samples part = { 0 }, found = { 0 };
	struct vmap_pair *all;
	struct segment_list l;
	size_t i, n, dropped;

	for (i = 0; i < full->count; i++)
		if (i < 100 || i >= 500)
			index_samples_add(
			    &part, full->pair[i].vlsn, full->pair[i].lsn);
	segment_list_load(&l, dir, false);
	is_u64(fill(&l, &part, &found), 1, "one hole");
	all = calloc(full->count + found.count, sizeof(*all));
	n = index_merge(
	    found.pair, found.count, part.pair, part.count, all, &dropped);
	ok(n == full->count && memcmp(all, full->pair, n * sizeof(*all)) == 0,
	    "filled to what it was");
	free(all);
	free(part.pair);
	free(found.pair);
	segment_list_free(&l);
}

static void
test_prune(const struct index_samples *full)
{
	struct vmap_pair p[6];
	struct segment_list l;
	size_t gone, wrong;

	segment_list_load(&l, dir, false);
	p[0] = full->pair[3];
	p[1] = full->pair[4];
	p[1].lsn |= 1; /* not on 8 bytes */
	p[2] = (struct vmap_pair){ l.entry[1].info.first_vlsn,
		lsn_make(1, l.entry[0].end - 8) };
	p[3] = (struct vmap_pair){ l.entry[1].info.first_vlsn,
		lsn_make(2, l.entry[1].end) };
	p[4] =
	    (struct vmap_pair){ l.entry[2].info.first_vlsn, lsn_make(3, 4176) };
	p[5] = (struct vmap_pair){ log_end + 1, lsn_make(3, 8192) };
	is_u64(index_prune(&l, p, 6, log_end, &gone, &wrong), 2,
	    "two of six can be true");
	is_u64(p[1].vlsn, l.entry[2].info.first_vlsn, "the right two");
	is_u64(gone, 0, "none is of a recycled segment");
	is_u64(wrong, 4, "four contradict the headers");
	segment_list_free(&l);
	unlinkat(dir, "00000001.seg", 0);
	segment_list_load(&l, dir, false);
	p[0] = full->pair[3];
	is_u64(index_prune(&l, p, 2, log_end, &gone, &wrong), 1,
	    "a recycled segment's sample goes");
	is_u64(gone, 1, "without being wrong");
	segment_list_free(&l);
}

static void
test_damage(void)
{
	struct index_samples none = { 0 }, found = { 0 };
	struct index_hole hole = { .segment = 2 };
	struct segment_list l;
	uint32_t broken = 0;
	int fd = openat(dir, "00000002.seg", O_WRONLY);

	segment_list_load(&l, dir, false);
	hole.to = l.entry[0].end;
	ok(pwrite(fd, "!", 1, 8u << 20) == 1, "a byte is overwritten");
	is_i64(index_hole_scan(dir, &hole, &found, NULL, NULL, &broken),
	    -EBADMSG, "a scan meets it");
	ok(broken <= 8u << 20 && broken > (8u << 20) - 7000, "and says where");
	ok(found.count > 100, "and keeps what came before");
	close(fd);
	free(found.pair);
	free(none.pair);
	segment_list_free(&l);
}

int
main(void)
{
	struct index_samples found = { 0 };

	log_make();
	test_rebuild(&found);
	test_false(&found);
	test_hole(&found);
	test_prune(&found);
	test_damage();
	free(found.pair);
	log_remove();
	return tap_done();
}
