/*
 * Encoding and reading of the VLSN index file.
 */
#include "shm/log/index_file.h"

#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shm/assert.h"
#include "shm/crc32c.h"
#include "shm/fault.h"
#include "shm/position.h"

#define CRC_OFF     0
#define MAGIC_OFF   4
#define VERSION_OFF 8
#define KIND_OFF    10
#define NUMBER_OFF  12
#define LIFE_OFF    16

#define UUID_OFF       24
#define GENERATION_OFF 40
#define STRIDE_OFF     48
#define HEAD_END       52

#define DURABLE_OFF 24
#define COUNT_OFF   32
#define ZERO_OFF    36
#define SAMPLE_OFF  40
#define SAMPLE_SIZE 16

_Static_assert(
    SAMPLE_OFF + INDEX_PAGE_SAMPLES * SAMPLE_SIZE <= INDEX_PAGE, "fits");
_Static_assert(
    SAMPLE_OFF + (INDEX_PAGE_SAMPLES + 1) * SAMPLE_SIZE > INDEX_PAGE, "full");

static void
page_begin(uint8_t *page, enum index_kind kind, uint32_t number, uint64_t life)
{
	memset(page, 0, INDEX_PAGE);
	put_le32(page + MAGIC_OFF, INDEX_MAGIC);
	put_le16(page + VERSION_OFF, INDEX_VERSION);
	put_le16(page + KIND_OFF, (uint16_t)kind);
	put_le32(page + NUMBER_OFF, number);
	put_le64(page + LIFE_OFF, life);
}

static void
page_seal(uint8_t *page)
{
	put_le32(page + CRC_OFF,
	    crc32c(0, page + MAGIC_OFF, INDEX_PAGE - MAGIC_OFF));
}

void
index_head_encode(uint8_t page[INDEX_PAGE], const struct index_head *head)
{
	page_begin(page, INDEX_HEAD, 0, head->life);
	memcpy(page + UUID_OFF, head->id.group_uuid, 16);
	put_le64(page + GENERATION_OFF, head->id.generation);
	put_le32(page + STRIDE_OFF, head->stride);
	page_seal(page);
}

void
index_page_encode(uint8_t page[INDEX_PAGE], uint64_t life, uint32_t number,
    uint64_t durable, const struct vmap_pair *pair, unsigned n)
{
	uint8_t *at = page + SAMPLE_OFF;
	unsigned i;

	ASSERT(number != 0);
	ASSERT(n != 0 && n <= INDEX_PAGE_SAMPLES);
	page_begin(page, INDEX_SAMPLES, number, life);
	put_le64(page + DURABLE_OFF, durable);
	put_le32(page + COUNT_OFF, n);
	for (i = 0; i < n; i++, at += SAMPLE_SIZE) {
		put_le64(at, pair[i].vlsn);
		put_le64(at + 8, pair[i].lsn);
	}
	page_seal(page);
}

static bool
all_zero(const uint8_t *at, const uint8_t *end)
{
	while (at < end)
		if (*at++ != 0)
			return false;
	return true;
}

static bool
page_good(const uint8_t *page, enum index_kind kind, uint32_t number)
{
	return get_le32(page + CRC_OFF) ==
		   crc32c(0, page + MAGIC_OFF, INDEX_PAGE - MAGIC_OFF) &&
	       get_le32(page + MAGIC_OFF) == INDEX_MAGIC &&
	       get_le16(page + VERSION_OFF) == INDEX_VERSION &&
	       get_le16(page + KIND_OFF) == kind &&
	       get_le32(page + NUMBER_OFF) == number;
}

static int
head_parse(const uint8_t *page, struct index_head *out)
{
	if (!page_good(page, INDEX_HEAD, 0) ||
	    !all_zero(page + HEAD_END, page + INDEX_PAGE))
		return -EBADMSG;
	memcpy(out->id.group_uuid, page + UUID_OFF, 16);
	out->id.generation = get_le64(page + GENERATION_OFF);
	out->life = get_le64(page + LIFE_OFF);
	out->stride = get_le32(page + STRIDE_OFF);
	return 0;
}

/* Are the page's samples sorted, and above `last`? */
static bool
samples_rise(const uint8_t *page, uint32_t count, struct vmap_pair last)
{
	const uint8_t *at = page + SAMPLE_OFF;

	for (; count > 0; count--, at += SAMPLE_SIZE) {
		uint64_t vlsn = get_le64(at), lsn = get_le64(at + 8);

		if (vlsn <= last.vlsn || vlsn > VLSN_MASK || lsn <= last.lsn)
			return false;
		last.vlsn = vlsn;
		last.lsn = lsn;
	}
	return all_zero(at, page + INDEX_PAGE);
}

static int
samples_parse(const uint8_t *page, uint32_t number, struct index_image *img)
{
	struct vmap_pair last = { 0, 0 };
	const uint8_t *at = page + SAMPLE_OFF;
	uint32_t count = get_le32(page + COUNT_OFF);

	if (img->count > 0)
		last = img->sample[img->count - 1];
	if (!page_good(page, INDEX_SAMPLES, number) ||
	    get_le64(page + LIFE_OFF) != img->head.life ||
	    get_le64(page + DURABLE_OFF) > VLSN_MASK ||
	    get_le32(page + ZERO_OFF) != 0 || count == 0 ||
	    count > INDEX_PAGE_SAMPLES || !samples_rise(page, count, last))
		return -EBADMSG;
	/* index_parse() has room for a full page of each. */
	ASSERT(img->count <= (size_t)(number - 1) * INDEX_PAGE_SAMPLES);
	if (get_le64(page + DURABLE_OFF) > img->durable)
		img->durable = get_le64(page + DURABLE_OFF);
	for (; count > 0; count--, at += SAMPLE_SIZE) {
		img->sample[img->count].vlsn = get_le64(at);
		img->sample[img->count++].lsn = get_le64(at + 8);
	}
	return 0;
}

int
index_parse(const uint8_t *data, size_t n, struct index_image *out)
{
	uint32_t i;

	memset(out, 0, sizeof(*out));
	if (n > (size_t)INDEX_PAGES_MAX * INDEX_PAGE)
		return -EFBIG;
	if (n < INDEX_PAGE || head_parse(data, &out->head) != 0)
		return -EBADMSG;
	out->pages = (uint32_t)(n / INDEX_PAGE);
	out->bad = n % INDEX_PAGE != 0;
	out->sample = calloc(
	    (size_t)out->pages * INDEX_PAGE_SAMPLES, sizeof(*out->sample));
	if (out->sample == NULL)
		return -ENOMEM;
	for (i = 1; i < out->pages; i++)
		if (samples_parse(data + (size_t)i * INDEX_PAGE, i, out) != 0)
			out->bad++;
	return 0;
}

void
index_image_free(struct index_image *img)
{
	free(img->sample);
	memset(img, 0, sizeof(*img));
}

size_t
index_merge(const struct vmap_pair *doubtful, size_t na,
    const struct vmap_pair *sure, size_t nb, struct vmap_pair *out,
    size_t *dropped)
{
	size_t a = 0, b = 0, n = 0;

	*dropped = 0;
	while (a < na || b < nb) {
		if (b < nb && (a == na || sure[b].vlsn <= doubtful[a].vlsn)) {
			if (a < na && doubtful[a].vlsn == sure[b].vlsn &&
			    doubtful[a++].lsn != sure[b].lsn)
				(*dropped)++;
			out[n++] = sure[b++];
		} else if ((n > 0 && doubtful[a].lsn <= out[n - 1].lsn) ||
			   (b < nb && doubtful[a].lsn >= sure[b].lsn)) {
			(*dropped)++;
			a++;
		} else {
			out[n++] = doubtful[a++];
		}
	}
	ASSERT(n + *dropped <= na + nb);
	return n;
}

static int
read_all(int fd, uint8_t **data, size_t *n)
{
	size_t done = 0, room;
	struct stat st;
	ssize_t got = 1;

	if (fstat(fd, &st) != 0)
		return fault_of_call(-errno);
	room = (size_t)st.st_size;
	if (room > (size_t)INDEX_PAGES_MAX * INDEX_PAGE)
		return -EFBIG;
	*data = malloc(room + 1);
	if (*data == NULL)
		return -ENOMEM;
	while (done < room && got != 0) {
		got = pread(fd, *data + done, room - done, (off_t)done);
		if (got < 0 && errno != EINTR)
			return fault_of_call(-errno);
		if (got > 0)
			done += (size_t)got;
	}
	*n = done;
	return 0;
}

int
index_file_read(int dir, struct index_image *out)
{
	uint8_t *data = NULL;
	size_t n = 0;
	int fd, rc;

	memset(out, 0, sizeof(*out));
	fd = openat(dir, INDEX_NAME, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fault_of_call(-errno);
	rc = read_all(fd, &data, &n);
	close(fd);
	if (rc == 0)
		rc = index_parse(data, n, out);
	free(data);
	return rc;
}
