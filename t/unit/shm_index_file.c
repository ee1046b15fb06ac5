/*
 * The VLSN index file: what is written comes back; whatever bit is flipped and
 * wherever the file ends, a reader gets true samples or none, never others;
 * and merging lets the log's own map win over the file.
 */
#include "shm/log/index_file.h"

#include <errno.h>
#include "t/tap.h"

#define SAMPLES (INDEX_PAGE_SAMPLES * 2 + 17)
#define PAGES   4u

static const struct index_head head = {
	.id = { .group_uuid = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14,
		    15, 16 },
	    .generation = 7 },
	.life = UINT64_C(0x1122334455667788),
	.stride = VMAP_STRIDE_BYTES,
};

static struct vmap_pair sample[SAMPLES];
static uint8_t file[PAGES * INDEX_PAGE];

static void
file_make(void)
{
	unsigned i, page;

	for (i = 0; i < SAMPLES; i++) {
		sample[i].vlsn = 1 + (uint64_t)i * 100;
		sample[i].lsn = UINT64_C(3) << 32 | (4096 + i * 16384u);
	}
	index_head_encode(file, &head);
	for (page = 1; page < PAGES; page++) {
		unsigned from = (page - 1) * INDEX_PAGE_SAMPLES;
		unsigned n = SAMPLES - from;

		if (n > INDEX_PAGE_SAMPLES)
			n = INDEX_PAGE_SAMPLES;
		index_page_encode(file + page * INDEX_PAGE, head.life, page,
		    1000 + page, sample + from, n);
	}
}

/* Is every sample of the image one that was written, in order? */
static bool
image_true(const struct index_image *img)
{
	size_t i, j = 0;

	for (i = 0; i < img->count; i++) {
		while (j < SAMPLES && sample[j].vlsn != img->sample[i].vlsn)
			j++;
		if (j == SAMPLES || sample[j].lsn != img->sample[i].lsn)
			return false;
	}
	return true;
}

static void
test_round_trip(void)
{
	struct index_image img;

	is_i64(index_parse(file, sizeof(file), &img), 0, "a whole file");
	ok(memcmp(&img.head.id, &head.id, sizeof(head.id)) == 0, "its id");
	is_u64(img.head.life, head.life, "its life");
	is_u64(img.head.stride, head.stride, "its stride");
	is_u64(img.count, SAMPLES, "all samples");
	ok(image_true(&img), "in order");
	is_u64(img.bad, 0, "no bad page");
	is_u64(img.pages, PAGES, "pages");
	is_u64(img.durable, 1003, "the newest durable VLSN");
	index_image_free(&img);
	is_i64(index_parse(file, INDEX_PAGE, &img), 0, "a head alone");
	is_u64(img.count, 0, "has no samples");
	index_image_free(&img);
	is_i64(index_parse(file, 0, &img), -EBADMSG, "an empty file");
	is_i64(
	    index_parse(file, (size_t)INDEX_PAGES_MAX * INDEX_PAGE + 1, &img),
	    -EFBIG, "a file too large is not looked at");
}

/* One flipped bit costs its page and nothing else. */
static void
test_flips(void)
{
	unsigned wrong = 0, unseen = 0;
	struct index_image img;
	size_t bit;

	for (bit = 0; bit < sizeof(file) * 8; bit += 3) {
		int rc;

		file[bit / 8] ^= (uint8_t)(1 << bit % 8);
		rc = index_parse(file, sizeof(file), &img);
		if (bit / 8 < INDEX_PAGE ? rc != -EBADMSG
					 : rc != 0 || img.bad != 1)
			unseen++;
		if (!image_true(&img) ||
		    (rc == 0 && img.count < INDEX_PAGE_SAMPLES))
			wrong++;
		index_image_free(&img);
		file[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	is_u64(unseen, 0, "every flipped bit is seen");
	is_u64(wrong, 0, "and never yields a wrong sample");
}

static void
test_torn(void)
{
	struct index_image img;
	unsigned wrong = 0;
	size_t n;

	for (n = INDEX_PAGE; n < sizeof(file); n += 7) {
		if (index_parse(file, n, &img) != 0 || !image_true(&img) ||
		    img.bad != (n % INDEX_PAGE != 0))
			wrong++;
		index_image_free(&img);
	}
	is_u64(wrong, 0, "a file that ends anywhere gives its whole pages");
}

/* Pages that check out alone but do not belong where they are. */
static void
test_strangers(void)
{
	uint8_t *page = file + 2 * (size_t)INDEX_PAGE;
	struct vmap_pair pair[2] = { { 50000, 9 }, { 50001, 10 } };
	struct index_image img;

	index_page_encode(page, head.life + 1, 2, 0, pair, 2);
	index_parse(file, sizeof(file), &img);
	is_u64(img.bad, 1, "a page of another life");
	index_image_free(&img);
	index_page_encode(page, head.life, 3, 0, pair, 2);
	index_parse(file, sizeof(file), &img);
	is_u64(img.bad, 1, "a page of another place");
	index_image_free(&img);
	index_page_encode(page, head.life, 2, 0, pair, 2);
	index_parse(file, sizeof(file), &img);
	is_u64(img.bad, 1, "a page whose LSNs do not rise");
	index_image_free(&img);
	memcpy(page, file, INDEX_PAGE);
	index_parse(file, sizeof(file), &img);
	is_u64(img.bad, 1, "a second head");
	index_image_free(&img);
	file_make();
}

static void
test_merge(void)
{
	static const struct vmap_pair old[] = { { 10, 100 }, { 20, 200 },
		{ 30, 300 }, { 35, 390 }, { 40, 410 }, { 60, 550 } };
	static const struct vmap_pair ring[] = { { 30, 300 }, { 40, 400 },
		{ 50, 500 } };
	struct vmap_pair out[9];
	size_t n, dropped;

	n = index_merge(old, 6, ring, 3, out, &dropped);
	is_u64(n, 7, "a union");
	is_u64(dropped, 1, "without the contradiction");
	is_u64(out[4].lsn, 400, "where the sure one stands");
	is_u64(out[6].vlsn, 60, "and what is above both");
	n = index_merge(old, 6, NULL, 0, out, &dropped);
	is_u64(n, 6, "with nothing: the same");
	is_u64(dropped, 0, "nothing dropped");
	n = index_merge(NULL, 0, ring, 3, out, &dropped);
	is_u64(n, 3, "nothing with something");
	n = index_merge(
	    &(struct vmap_pair){ 45, 700 }, 1, ring, 3, out, &dropped);
	is_u64(n, 3, "an LSN above its successor's");
	is_u64(dropped, 1, "is a contradiction");
	n = index_merge(
	    &(struct vmap_pair){ 45, 390 }, 1, ring, 3, out, &dropped);
	is_u64(dropped, 1, "as is one below its predecessor's");
}

int
main(void)
{
	file_make();
	test_round_trip();
	test_flips();
	test_torn();
	test_strangers();
	test_merge();
	return tap_done();
}
