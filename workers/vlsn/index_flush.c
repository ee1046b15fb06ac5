/*
 * The steps of one flush of the VLSN index. No I/O: index_flush_step() is told
 * how the step went and says which is next.
 */
#include "workers/vlsn/index_flush.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "shm/assert.h"

static uint32_t
pages_of(size_t samples)
{
	return (
	    uint32_t)((samples + INDEX_PAGE_SAMPLES - 1) / INDEX_PAGE_SAMPLES);
}

/* Encode the next pages into buf. False if none is left. */
static bool
flush_fill(struct index_flush *f)
{
	uint8_t *page = f->buf;
	uint32_t room = FLUSH_CHUNK_PAGES;

	f->file_off = (uint64_t)f->next_page * INDEX_PAGE;
	for (; room > 0 && f->next_page < f->end_page; room--) {
		size_t from, n;

		if (f->next_page == 0) {
			index_head_encode(page, &f->head);
		} else {
			from = (size_t)(f->next_page - f->first_page) *
			       INDEX_PAGE_SAMPLES;
			n = f->count - from;
			if (n > INDEX_PAGE_SAMPLES)
				n = INDEX_PAGE_SAMPLES;
			index_page_encode(page, f->head.life, f->next_page,
			    f->durable, f->pair + from, (unsigned)n);
		}
		page += INDEX_PAGE;
		f->next_page++;
	}
	ASSERT(f->next_page <= f->end_page);
	ASSERT(
	    (size_t)(page - f->buf) <= (size_t)FLUSH_CHUNK_PAGES * INDEX_PAGE);
	f->buf_done = 0;
	f->buf_len = (uint32_t)(page - f->buf);
	return f->buf_len > 0;
}

static int
flush_begin(struct index_flush *f, const struct vmap_pair *tail, size_t nt,
    const struct vmap_pair *pair, size_t n)
{
	ASSERT(f->state == FLUSH_IDLE);
	/* The head is a page of its own, and never written but with all. */
	ASSERT(f->first_page > 0);
	ASSERT(f->next_page == 0 || !f->rewrite);
	ASSERT(nt < INDEX_PAGE_SAMPLES);
	f->count = nt + n;
	f->fresh = n;
	f->end_page = f->first_page + pages_of(f->count);
	if (f->end_page > INDEX_PAGES_MAX)
		return -EFBIG;
	f->pair = malloc((f->count + 1) * sizeof(*f->pair));
	f->buf = malloc((size_t)FLUSH_CHUNK_PAGES * INDEX_PAGE);
	if (f->pair == NULL || f->buf == NULL) {
		index_flush_end(f);
		return -ENOMEM;
	}
	if (nt > 0)
		memcpy(f->pair, tail, nt * sizeof(*tail));
	if (n > 0)
		memcpy(f->pair + nt, pair, n * sizeof(*pair));
	flush_fill(f);
	f->state = f->rewrite ? FLUSH_OPENING : FLUSH_WRITING;
	return 0;
}

int
index_flush_add(struct index_flush *f, const struct index_disk *d,
    const struct vmap_pair *pair, size_t n, uint64_t durable)
{
	ASSERT(d->usable);
	ASSERT(d->pages > 0);
	ASSERT(n > 0);
	ASSERT(pair[0].vlsn > d->last_vlsn);
	f->rewrite = false;
	f->head = d->head;
	f->durable = durable;
	f->first_page = d->pages - (d->tail_count > 0);
	f->next_page = f->first_page;
	return flush_begin(f, d->tail, d->tail_count, pair, n);
}

int
index_flush_rewrite(struct index_flush *f, const struct index_head *head,
    const struct vmap_pair *pair, size_t n, uint64_t durable)
{
	f->rewrite = true;
	f->head = *head;
	f->durable = durable;
	f->first_page = 1;
	f->next_page = 0;
	return flush_begin(f, NULL, 0, pair, n);
}

static enum flush_state
write_next(struct index_flush *f, int res)
{
	if (res == -EINTR || res == -EAGAIN)
		return FLUSH_WRITING;
	if (res <= 0)
		return FLUSH_FAILED;
	ASSERT((uint32_t)res <= f->buf_len - f->buf_done);
	f->buf_done += (uint32_t)res;
	if (f->buf_done < f->buf_len || flush_fill(f))
		return FLUSH_WRITING;
	return FLUSH_SYNCING;
}

static enum flush_state
flush_next(struct index_flush *f, int res)
{
	switch (f->state) {
	case FLUSH_OPENING:
		return res < 0 ? FLUSH_FAILED : FLUSH_WRITING;
	case FLUSH_WRITING:
		return write_next(f, res);
	case FLUSH_SYNCING:
		if (res < 0)
			return FLUSH_FAILED;
		return f->rewrite ? FLUSH_RENAMING : FLUSH_DONE;
	case FLUSH_RENAMING:
		return res < 0 ? FLUSH_FAILED : FLUSH_SYNCING_DIR;
	case FLUSH_SYNCING_DIR:
		return res < 0 ? FLUSH_FAILED : FLUSH_DONE;
	case FLUSH_IDLE:
	case FLUSH_DONE:
	case FLUSH_FAILED:
		break;
	}
	ASSERT(!"a completion belongs to a step under way");
	return FLUSH_FAILED;
}

enum flush_state
index_flush_step(struct index_flush *f, int res)
{
	f->state = flush_next(f, res);
	return f->state;
}

void
index_flush_commit(const struct index_flush *f, struct index_disk *d)
{
	size_t in_last = f->count % INDEX_PAGE_SAMPLES;

	ASSERT(f->state == FLUSH_DONE);
	ASSERT(f->next_page == f->end_page);
	ASSERT(f->buf_done == f->buf_len);
	if (f->rewrite) {
		memset(d, 0, sizeof(*d));
		d->head = f->head;
		d->usable = true;
		d->samples = f->fresh;
	} else {
		d->samples += f->fresh;
		d->added += f->fresh;
	}
	d->pages = f->end_page;
	d->tail_count = (unsigned)in_last;
	memcpy(d->tail, f->pair + (f->count - in_last),
	    in_last * sizeof(*d->tail));
	if (f->count > 0) {
		d->last_vlsn = f->pair[f->count - 1].vlsn;
		d->last_lsn = f->pair[f->count - 1].lsn;
	}
}

void
index_flush_end(struct index_flush *f)
{
	free(f->pair);
	free(f->buf);
	memset(f, 0, sizeof(*f));
}

const char *
flush_state_name(enum flush_state state)
{
	static const char *const names[] = { "idle", "open", "write", "fsync",
		"rename", "fsync of the directory", "done", "failed" };

	_Static_assert(NITEMS(names) == FLUSH_FAILED + 1, "names");
	return names[state];
}
