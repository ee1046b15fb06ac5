/*
 * Any bytes as a VLSN index file: what is accepted rises, fits its pages, and
 * written again reads the same. The fuzzer cannot guess a CRC, so inputs are
 * also tried with the CRC of each page set right.
 */
#include "shm/log/index_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shm/bits.h"
#include "shm/crc32c.h"

#define LEN_MAX ((size_t)16 * INDEX_PAGE)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* A failed expectation ends the process, so that the fuzzer keeps the input. */
static void
expect(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "index_file: %s\n", what);
	abort();
}

/* Encode what was read and read it again. */
static void
check_again(const struct index_image *img)
{
	size_t pages = img->count / INDEX_PAGE_SAMPLES + 2, from = 0;
	uint8_t *file = malloc(pages * INDEX_PAGE);
	struct index_image again;
	uint32_t page = 0;

	expect(file != NULL, "malloc");
	index_head_encode(file, &img->head);
	while (from < img->count) {
		size_t n = img->count - from;

		if (n > INDEX_PAGE_SAMPLES)
			n = INDEX_PAGE_SAMPLES;
		page++;
		index_page_encode(file + (size_t)page * INDEX_PAGE,
		    img->head.life, page, img->durable, img->sample + from,
		    (unsigned)n);
		from += n;
	}
	expect(index_parse(file, (size_t)(page + 1) * INDEX_PAGE, &again) == 0,
	    "what was written is refused");
	expect(again.bad == 0 && again.count == img->count,
	    "what was written reads differently");
	expect(memcmp(&again.head, &img->head, sizeof(again.head)) == 0,
	    "the head reads differently");
	index_image_free(&again);
	free(file);
}

static void
check(const uint8_t *data, size_t len)
{
	struct index_image img;
	size_t i;

	if (index_parse(data, len, &img) == 0) {
		expect(
		    img.count <= (size_t)(img.pages - 1) * INDEX_PAGE_SAMPLES,
		    "more samples than pages hold");
		for (i = 1; i < img.count; i++)
			expect(img.sample[i].vlsn > img.sample[i - 1].vlsn &&
				   img.sample[i].lsn > img.sample[i - 1].lsn,
			    "samples do not rise");
		check_again(&img);
	}
	index_image_free(&img);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint8_t *file;
	size_t at;

	check(data, len);
	if (len < INDEX_PAGE || len > LEN_MAX)
		return 0;
	file = malloc(len);
	expect(file != NULL, "malloc");
	memcpy(file, data, len);
	for (at = 0; at + INDEX_PAGE <= len; at += INDEX_PAGE)
		put_le32(file + at, crc32c(0, file + at + 4, INDEX_PAGE - 4));
	check(file, len);
	free(file);
	return 0;
}
