/*
 * Reading the log forward. A cursor begins in segment files where the buffer
 * does not reach, follows the chain from file to file, and moves into the
 * buffer as soon as its place is there; one that is lapped goes back.
 */
#include "shm/log/cursor.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "shm/assert.h"
#include "shm/log/segment.h"
#include "shm/region.h"

#define CURSOR_CHUNK (1024u * 1024)

enum cursor_mode { CURSOR_NOWHERE, CURSOR_FILE, CURSOR_BUFFER };

struct cursor {
	struct region *r;
	int wal_dir;
	bool holds;
	enum cursor_mode mode;
	uint64_t vlsn; /* newest record returned, or passed over */
	struct segment_reader reader; /* FILE */
	uint64_t below; /* FILE: all of it that counts has lower VLSNs */
	/* Headers of segments behind number newer_from, up to `asked`. */
	struct segment_info *newer;
	uint32_t newers, room, newer_from, asked;
	uint32_t bounded; /* FILE: so many of them were looked at */
	uint64_t again; /* VLSN looked for again, as it was superseded */
	uint64_t cuts; /* of the log, that are known here */
	uint64_t position; /* BUFFER: of the next record */
	uint64_t current; /* BUFFER: of the record last returned */
	char place[64];
};

int
cursor_open(struct cursor **out, struct region *r, int wal_dir, bool holds)
{
	struct cursor *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return -ENOMEM;
	c->r = r;
	c->wal_dir = wal_dir;
	c->holds = holds;
	c->reader.fd = -1;
	*out = c;
	return 0;
}

static void
leave(struct cursor *c)
{
	if (c->mode == CURSOR_FILE)
		segment_reader_close(&c->reader);
	c->mode = CURSOR_NOWHERE;
}

void
cursor_close(struct cursor *c)
{
	if (c == NULL)
		return;
	leave(c);
	free(c->newer);
	free(c);
}

const char *
cursor_place(const struct cursor *c)
{
	return c->place;
}

static int
damage(struct cursor *c, uint32_t number, uint32_t offset)
{
	/* Recycled under us is no damage. */
	if (position_get(&c->r->pos->first) > c->vlsn + 1)
		return -ESTALE;
	snprintf(c->place, sizeof(c->place), "wal/%08x.seg offset %u", number,
	    offset);
	return -EBADMSG;
}

bool
cursor_unread(int rc)
{
	switch (rc) {
	case 0:
	case -EAGAIN:
	case -EBADMSG:
	case -ENODATA:
	case -ENOENT:
	case -EPROTONOSUPPORT:
	case -ESTALE:
		return false;
	default:
		return true;
	}
}

/* What reading that segment gave: of a failure it is known where. */
static int
looked(struct cursor *c, uint32_t number, int rc)
{
	if (cursor_unread(rc))
		snprintf(c->place, sizeof(c->place), "wal/%08x.seg", number);
	return rc;
}

static uint64_t
buffer_oldest(const struct cursor *c)
{
	return atomic_load_explicit(
	    &c->r->walbuf.h->oldest, memory_order_acquire);
}

/* Is this place in the buffer? Then go on there. */
static bool
enter_buffer(struct cursor *c, uint64_t lsn)
{
	uint64_t position;

	if (c->r->walbuf.data == NULL)
		return false;
	position = walbuf_position(&c->r->walbuf, lsn);
	if (position == UINT64_MAX || position < buffer_oldest(c))
		return false;
	leave(c);
	ASSERT(c->mode == CURSOR_NOWHERE);
	c->position = c->current = position;
	c->mode = CURSOR_BUFFER;
	return true;
}

static int
enter_file(struct cursor *c, uint32_t number)
{
	struct segment_reader fresh;
	int rc;

	rc =
	    segment_reader_open(&fresh, c->wal_dir, number, CURSOR_CHUNK, true);
	if (rc != 0)
		return looked(c, number, rc);
	leave(c);
	c->reader = fresh;
	/* The source is the reader itself, which has moved. */
	c->reader.source.ctx = &c->reader;
	c->mode = CURSOR_FILE;
	c->bounded = 0;
	c->below = UINT64_MAX;
	return 0;
}

static uint32_t
newest_segment(const struct cursor *c)
{
	return lsn_segment(atomic_load_explicit(
	    &c->r->walbuf.h->newest_lsn, memory_order_acquire));
}

static int
newer_add(struct cursor *c, const struct segment_info *info)
{
	struct segment_info *grown;
	uint32_t room = c->room != 0 ? 2 * c->room : 16;

	if (c->newers == c->room) {
		grown = realloc(c->newer, room * sizeof(*grown));
		if (grown == NULL)
			return -ENOMEM;
		c->newer = grown;
		c->room = room;
	}
	c->newer[c->newers++] = *info;
	return 0;
}

/*
 * Segment `number` is read: the headers behind it count. Those up to it tell
 * of nothing that is still to come; and where nobody asked up to it, or those
 * behind it were let go, it begins anew.
 */
static void
newer_from(struct cursor *c, uint32_t number)
{
	uint32_t old = 0;

	if (number == c->newer_from)
		return;
	if (number < c->newer_from || number > c->asked) {
		c->newers = 0;
		c->asked = number;
	}
	/* Their numbers rise. */
	while (old < c->newers && c->newer[old].number <= number)
		old++;
	c->newers -= old;
	if (c->newers != 0)
		memmove(
		    c->newer, c->newer + old, c->newers * sizeof(*c->newer));
	c->newer_from = number;
	ASSERT(c->asked >= number);
}

/*
 * Have the headers of all segments behind the one that is read, and of no
 * other: each is read once. The newest one's may still be on its way to the
 * disk.
 */
static int
newer_ask(struct cursor *c)
{
	uint32_t newest = newest_segment(c);
	struct segment_reader fresh;
	int rc;

	newer_from(c, c->reader.scan.number);
	for (; c->asked < newest; c->asked++) {
		rc = segment_reader_open(
		    &fresh, c->wal_dir, c->asked + 1, SEGMENT_BLOCK_MAX, true);
		if (rc == 0) {
			rc = newer_add(c, &fresh.info);
			segment_reader_close(&fresh);
		}
		if (cursor_unread(rc))
			return looked(c, c->asked + 1, rc);
		if (rc != 0 && c->asked + 1 == newest)
			break;
	}
	return 0;
}

/*
 * The live extent of a segment: it is the log's up to where a newer one goes
 * on, and holds nothing of it at or after the first VLSN of any newer one.
 * Records may stand behind that, good ones of this chain: those that a failed
 * flush left, or a cut. So none is read before all newer headers were asked,
 * nor while a file that may tell cannot be read.
 */
static int
bound(struct cursor *c)
{
	uint32_t i, number = c->reader.scan.number;
	int rc = newer_ask(c);

	if (rc != 0)
		return rc;
	for (i = c->bounded; i < c->newers; i++) {
		const struct segment_info *newer = &c->newer[i];

		if (newer->first_vlsn < c->below)
			c->below = newer->first_vlsn;
		if (newer->prev_number == number &&
		    (c->reader.limit == 0 || newer->prev_end < c->reader.limit))
			c->reader.limit = newer->prev_end;
	}
	c->bounded = i;
	return 0;
}

/*
 * From a segment's end to the one that continues it exactly there. Of two that
 * do, the newer one supersedes the other.
 */
static int
enter_next(struct cursor *c)
{
	const struct segment_scan *s = &c->reader.scan;
	uint32_t i, number;
	int rc = newer_ask(c);

	for (i = c->newers; rc == 0 && i-- > 0;) {
		const struct segment_info *newer = &c->newer[i];

		if (newer->prev_number != s->number ||
		    newer->prev_end != s->offset || newer->prev_crc != s->seed)
			continue;
		number = newer->number;
		if (enter_buffer(c, lsn_make(number, 0)))
			return 0;
		rc = enter_file(c, number);
		return rc == -ENODATA ? -ENOENT : rc;
	}
	return rc != 0 ? rc : -ENOENT;
}

/*
 * The record just read is the log's no more: the place of that VLSN is looked
 * for again, once.
 */
static int
superseded(struct cursor *c)
{
	if (c->again == c->vlsn + 1)
		return damage(c, c->reader.scan.number, c->reader.scan.offset);
	c->again = c->vlsn + 1;
	leave(c);
	return -ESTALE;
}

/* The next record with a VLSN from files; may end up in the buffer. */
static int
file_next(struct cursor *c, struct record *out)
{
	bool refreshed = false;
	uint32_t number, offset;
	int rc;

	while (c->mode == CURSOR_FILE) {
		/* What a cut left there is none of the log's, though no file
		   may tell so yet. */
		if (c->vlsn >= position_get(&c->r->pos->appended))
			return -EAGAIN;
		if ((rc = bound(c)) != 0)
			return rc;
		rc = segment_reader_next(&c->reader, out, NULL);
		if (rc == 0 && out->vlsn == 0)
			continue;
		if (rc == 0 && out->vlsn >= c->below)
			return superseded(c);
		if (rc == 0) {
			c->vlsn = out->vlsn;
			return 0;
		}
		number = c->reader.scan.number;
		if (rc != -ENODATA)
			return looked(c, number, rc);
		offset = c->reader.scan.offset;
		if (enter_buffer(c, lsn_make(number, offset)))
			break;
		rc = enter_next(c);
		if (rc == 0) {
			refreshed = false;
			continue;
		}
		if (rc != -ENOENT)
			return rc;
		/* What was read may be older than what is there now. */
		if (refreshed)
			return damage(c, number, offset);
		segment_reader_refresh(&c->reader);
		refreshed = true;
	}
	return -EAGAIN; /* in the buffer */
}

/* Decode at c->position. 0, -ESTALE when lapped, -EBADMSG. */
static int
buffer_decode(struct cursor *c, uint64_t appended, struct record *out)
{
	const struct walbuf *wb = &c->r->walbuf;
	int rc;

	if (c->position >= appended)
		return -EAGAIN;
	rc = record_decode(
	    walbuf_at(wb, c->position), appended - c->position, out);
	if (rc == 0 && out->vlsn != 0 && out->vlsn != c->vlsn + 1)
		rc = -EBADMSG;
	/* What was decoded counts if it was there while we looked. */
	atomic_thread_fence(memory_order_acquire);
	if (buffer_oldest(c) > c->position)
		return -ESTALE;
	return rc == 0 ? 0 : -EBADMSG;
}

static int
buffer_next(struct cursor *c, struct record *out)
{
	uint64_t appended = atomic_load_explicit(
	    &c->r->walbuf.h->appended, memory_order_acquire);
	int rc;

	while ((rc = buffer_decode(c, appended, out)) == 0) {
		c->current = c->position;
		c->position += out->len;
		if (out->vlsn == 0)
			continue;
		c->vlsn = out->vlsn;
		return 0;
	}
	if (rc == -EBADMSG)
		snprintf(c->place, sizeof(c->place), "buffer position %ju",
		    (uintmax_t)c->position);
	return rc;
}

/*
 * Was the log cut before the record that was read last, or will be given?
 * Then what follows here is no continuation of that. The store reads nothing
 * that can be cut, however many cuts there were since it looked.
 */
static int
check_cuts(struct cursor *c)
{
	uint64_t lowest;

	if (c->holds)
		return 0;
	lowest = walbuf_cut_since(&c->r->walbuf, c->cuts, &c->cuts);
	if (lowest == UINT64_MAX || c->vlsn <= lowest)
		return 0;
	leave(c);
	return -ESTALE;
}

static int seek(struct cursor *c, uint64_t vlsn);

static int
next(struct cursor *c, uint64_t limit, struct record *out)
{
	int rc;

	for (;;) {
		if (c->mode == CURSOR_NOWHERE)
			return -ESTALE;
		if (c->vlsn >= limit)
			return -EAGAIN;
		if (c->mode == CURSOR_FILE) {
			rc = file_next(c, out);
			if (c->mode == CURSOR_BUFFER && rc == -EAGAIN)
				continue;
			if (c->mode != CURSOR_NOWHERE)
				return rc;
		} else {
			rc = buffer_next(c, out);
			if (rc != -ESTALE)
				return rc;
		}
		/*
		 * Lapped, or superseded: the files have it, unless they were
		 * recycled.
		 */
		rc = seek(c, c->vlsn + 1);
		if (rc != 0)
			return rc == -ENOENT ? -ESTALE : rc;
	}
}

int
cursor_next(struct cursor *c, uint64_t limit, struct record *out)
{
	int rc = check_cuts(c);

	if (rc == 0)
		rc = next(c, limit, out);
	return rc == 0 ? check_cuts(c) : rc;
}

bool
cursor_valid(const struct cursor *c)
{
	if (c->holds || c->mode != CURSOR_BUFFER)
		return true;
	/* Pairs with the fence behind wal's store to oldest. */
	atomic_thread_fence(memory_order_acquire);
	return buffer_oldest(c) <= c->current;
}

unsigned
cursor_format(const struct cursor *c)
{
	return c->mode == CURSOR_FILE ? c->reader.info.format : 0;
}

void
cursor_release(struct cursor *c)
{
	ASSERT(c->holds);
	if (c->mode != CURSOR_BUFFER)
		return;
	/* Pairs with the acquire in wal's look for room. */
	atomic_store_explicit(
	    &c->r->walbuf.h->store_hold, c->position, memory_order_release);
}

/*
 * Without a sample: the segment whose header says that it holds vlsn. If there
 * is none, one that cannot be read may be it.
 */
static int
seek_by_headers(struct cursor *c, uint64_t vlsn)
{
	struct segment_list list;
	uint32_t i, number = 0;
	int rc;

	rc = segment_list_load(&list, c->wal_dir, true);
	if (rc != 0)
		return rc;
	if (list.newest != UINT32_MAX)
		for (i = list.oldest; i != UINT32_MAX;
		     i = segment_list_next(&list, i))
			if (list.entry[i].info.first_vlsn <= vlsn)
				number = list.entry[i].number;
	rc = number == 0 ? -ENOENT : 0;
	for (i = 0; rc == -ENOENT && i < list.count; i++)
		if (list.entry[i].unreadable)
			rc = looked(c, list.entry[i].number, -EIO);
	segment_list_free(&list);
	return rc == 0 ? enter_file(c, number) : rc;
}

/*
 * A sample is a hint. In a file the chain tells whether it is true; in the
 * buffer the record must be the one that it names, or not yet be there.
 */
static bool
buffer_is(const struct cursor *c, uint64_t vlsn)
{
	const struct walbuf *wb = &c->r->walbuf;
	/* In this order: wal raises the buffer's end first. */
	bool coming = position_get(&c->r->pos->appended) < vlsn;
	uint64_t appended =
	    atomic_load_explicit(&wb->h->appended, memory_order_acquire);
	struct record rec;

	if (c->position % 8 != 0)
		return false;
	if (c->position >= appended)
		return coming;
	return record_decode(walbuf_at(wb, c->position), appended - c->position,
		   &rec) == 0 &&
	       rec.vlsn == vlsn;
}

/* Stand at or before vlsn by the sample, in the buffer or in a file. */
static int
seek_by_sample(struct cursor *c, uint64_t vlsn)
{
	struct vmap_pair pair;
	int rc;

	rc = vmap_lookup(c->r->vmap, vlsn, &pair);
	if (rc != 0)
		return rc;
	if (enter_buffer(c, pair.lsn)) {
		c->vlsn = pair.vlsn - 1;
		return buffer_is(c, pair.vlsn) ? 0 : -EBADMSG;
	}
	rc = enter_file(c, lsn_segment(pair.lsn));
	if (rc != 0)
		return rc;
	if ((rc = bound(c)) != 0)
		return rc;
	if (pair.vlsn >= c->below)
		return -EBADMSG;
	rc = segment_reader_seek(&c->reader, lsn_offset(pair.lsn), pair.vlsn);
	if (rc == 0)
		c->vlsn = pair.vlsn - 1;
	return looked(c, lsn_segment(pair.lsn), rc);
}

/* Is the place such that the next record can be vlsn, or one before it? */
static int
seek_place(struct cursor *c, uint64_t vlsn)
{
	int rc;

	leave(c);
	c->place[0] = '\0';
	rc = seek_by_sample(c, vlsn);
	if (rc == 0)
		return 0;
	leave(c);
	c->place[0] = '\0';
	rc = seek_by_headers(c, vlsn);
	if (rc == 0)
		c->vlsn = c->reader.scan.vlsn;
	return rc == -ENODATA ? -ENOENT : rc;
}

static int
seek(struct cursor *c, uint64_t vlsn)
{
	uint64_t appended = position_get(&c->r->pos->appended);
	struct record rec;
	int rc;

	ASSERT(vlsn > 0);
	if (vlsn > appended + 1 || vlsn < position_get(&c->r->pos->first))
		return -ENOENT;
	rc = seek_place(c, vlsn);
	while (rc == 0 && c->vlsn + 1 < vlsn)
		rc = next(c, vlsn - 1, &rec);
	if (rc == -ENOENT || rc == -ESTALE || rc == -EAGAIN)
		rc = -ENOENT;
	if (rc == 0 && c->vlsn + 1 != vlsn)
		rc = damage(c, c->reader.scan.number, c->reader.scan.offset);
	if (rc != 0)
		leave(c);
	return rc;
}

int
cursor_seek(struct cursor *c, uint64_t vlsn)
{
	(void)walbuf_cut_since(&c->r->walbuf, 0, &c->cuts);
	return seek(c, vlsn);
}
