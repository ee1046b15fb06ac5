/*
 * One flush after another into a file in memory: additions of any size, short
 * and interrupted writes, each step failing in turn, and a power loss that
 * keeps any subset of the unsynced pages. What was reported done is there.
 */
#include "workers/vlsn/index_flush.h"

#include <errno.h>
#include <time.h>
#include "t/tap.h"

#define FILE_MAX ((size_t)700 * INDEX_PAGE)

static const struct index_head head = { .life = 99, .stride = 16384 };

/* The one file there is: what was written, and what surely stays. */
static struct {
	uint8_t *data, *synced;
	size_t len, synced_len;
	uint64_t fail_at, steps; /* the Nth step fails; 0 = none */
	uint64_t seed;
} disk;

static uint64_t
rnd(uint64_t below)
{
	disk.seed ^= disk.seed << 13;
	disk.seed ^= disk.seed >> 7;
	disk.seed ^= disk.seed << 17;
	return disk.seed % below;
}

static int
disk_write(struct index_flush *f)
{
	size_t left = f->buf_len - f->buf_done, n = left;
	size_t off = f->file_off + f->buf_done;

	if (rnd(4) == 0)
		return rnd(2) == 0 ? -EINTR : -EAGAIN;
	if (rnd(3) == 0)
		n = 1 + rnd(left);
	memcpy(disk.data + off, f->buf + f->buf_done, n);
	if (disk.len < off + n)
		disk.len = off + n;
	return (int)n;
}

/* Carry out the step that f is in. */
static int
disk_step(struct index_flush *f)
{
	if (disk.fail_at != 0 && ++disk.steps == disk.fail_at)
		return -EIO;
	if (f->state == FLUSH_WRITING)
		return disk_write(f);
	if (f->state == FLUSH_OPENING) {
		disk.len = 0;
		memset(disk.data, 0, FILE_MAX);
	}
	if (f->state == FLUSH_SYNCING) {
		memcpy(disk.synced, disk.data, FILE_MAX);
		disk.synced_len = disk.len;
	}
	return 0;
}

static enum flush_state
run(struct index_flush *f)
{
	while (f->state < FLUSH_DONE)
		index_flush_step(f, disk_step(f));
	return f->state;
}

static void
samples_make(struct vmap_pair *p, size_t n, uint64_t from)
{
	size_t i;

	for (i = 0; i < n; i++) {
		p[i].vlsn = 1 + (from + i) * 3;
		p[i].lsn = (from + i + 1) * 16384;
	}
}

/* Does the file hold exactly samples 0..n-1? */
static bool
holds(const uint8_t *data, size_t len, size_t n)
{
	struct index_image img;
	bool good =
	    index_parse(data, len, &img) == 0 && img.bad == 0 && img.count == n;
	size_t i;

	for (i = 0; good && i < n; i++)
		good = img.sample[i].vlsn == 1 + i * 3 &&
		       img.sample[i].lsn == (i + 1) * 16384;
	if (!good)
		diag("%zu samples of %zu, %u bad", img.count, n, img.bad);
	index_image_free(&img);
	return good;
}

static bool
flush_add(struct index_disk *d, size_t from, size_t n)
{
	struct vmap_pair *p = malloc((n + 1) * sizeof(*p));
	struct index_flush f = { 0 };
	bool done;

	samples_make(p, n, from);
	if (d->usable)
		index_flush_add(&f, d, p, n, 1000);
	else
		index_flush_rewrite(&f, &head, p, n, 1000);
	free(p);
	done = run(&f) == FLUSH_DONE;
	if (done)
		index_flush_commit(&f, d);
	else
		d->usable = false;
	index_flush_end(&f);
	return done;
}

static void
test_additions(void)
{
	struct index_disk d = { 0 };
	unsigned wrong = 0, round;
	size_t total = 0;

	ok(flush_add(&d, 0, 0), "a new file without samples");
	is_u64(disk.len, INDEX_PAGE, "is a head");
	for (round = 0; round < 200; round++) {
		size_t n = 1 + rnd(round % 9 == 0 ? 5000 : 300);

		if (!flush_add(&d, total, n))
			wrong++;
		total += n;
		if (!holds(disk.synced, disk.synced_len, total))
			wrong++;
	}
	is_u64(wrong, 0, "200 additions, each there after its sync");
	is_u64(d.samples, total, "the count of samples");
	is_u64(d.last_vlsn, 1 + (total - 1) * 3, "the last VLSN");
}

static void
test_failures(void)
{
	unsigned wrong = 0;
	uint64_t nth;

	for (nth = 1;; nth++) {
		struct index_disk d = { 0 };
		struct index_flush f = { 0 };
		struct vmap_pair p[600];
		bool spent;

		disk.fail_at = nth;
		disk.steps = 0;
		samples_make(p, 600, 0);
		index_flush_rewrite(&f, &head, p, 600, 5);
		run(&f);
		spent = disk.steps < nth;
		if (spent != (f.state == FLUSH_DONE))
			wrong++;
		index_flush_end(&f);
		disk.fail_at = 0;
		if (!flush_add(&d, 0, 600) ||
		    !holds(disk.synced, disk.synced_len, 600))
			wrong++;
		if (spent)
			break;
	}
	ok(nth > 5, "each of %" PRIu64 " steps failed once", nth - 1);
	is_u64(wrong, 0, "no failure is taken for success, the next one heals");
}

/* Unsynced pages reach the disk in any subset: only newest samples suffer. */
static void
test_power_loss(void)
{
	struct index_disk d = { 0 };
	unsigned wrong = 0, round;
	size_t total = 2000;
	struct index_image img;

	flush_add(&d, 0, total);
	for (round = 0; round < 300; round++) {
		struct index_disk next = d;
		size_t at, i;

		memcpy(disk.data, disk.synced, FILE_MAX);
		disk.len = disk.synced_len;
		flush_add(&next, total, 1 + rnd(3000));
		/* disk.synced is the file before, with some pages of after. */
		memset(disk.synced, 0, FILE_MAX);
		for (at = 0; at < disk.len; at += INDEX_PAGE)
			if (at + INDEX_PAGE <= (d.pages - 1) * INDEX_PAGE ||
			    rnd(2) == 0)
				memcpy(disk.synced + at, disk.data + at,
				    INDEX_PAGE);
		if (index_parse(disk.synced, disk.len, &img) != 0 ||
		    img.count < (size_t)(d.pages - 2) * INDEX_PAGE_SAMPLES)
			wrong++;
		for (i = 0; i < img.count; i++)
			if (img.sample[i].lsn !=
			    ((img.sample[i].vlsn - 1) / 3 + 1) * 16384)
				wrong++;
		index_image_free(&img);
		disk.len = 0;
		d.usable = false;
		flush_add(&d, 0, total);
	}
	is_u64(wrong, 0, "300 power losses: full pages stay, none is false");
}

static void
test_limits(void)
{
	struct index_flush f = { 0 };
	size_t n = (size_t)INDEX_PAGES_MAX * INDEX_PAGE_SAMPLES;
	struct vmap_pair *p = calloc(n, sizeof(*p));
	unsigned i;

	is_i64(index_flush_rewrite(&f, &head, p, n, 0), -EFBIG,
	    "more than a file may hold is refused");
	free(p);
	index_flush_end(&f);
	for (i = 0; i <= FLUSH_FAILED; i++)
		if (flush_state_name(i) == NULL)
			break;
	is_u64(i, FLUSH_FAILED + 1, "every state has a name");
}

int
main(void)
{
	disk.seed = (uint64_t)time(NULL) | 1;
	diag("seed %" PRIu64, disk.seed);
	disk.data = calloc(1, FILE_MAX);
	disk.synced = calloc(1, FILE_MAX);
	test_additions();
	test_failures();
	test_power_loss();
	test_limits();
	free(disk.data);
	free(disk.synced);
	return tap_done();
}
