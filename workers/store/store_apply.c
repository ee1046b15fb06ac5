/*
 * From the log to the table: one batch of records, then everybody is told.
 */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "shm/assert.h"
#include "shm/say.h"
#include "workers/store/store.h"

#define CLOCK_EVERY 32 /* records between two looks at the clock, */
#define RECORD_WORK (KV_WORK_BEAT / CLOCK_EVERY) /* and between two beats */
#define ENTRY_SLACK 4096 /* what a record takes beyond its payload, mostly */

uint64_t
store_limit(const struct store *s)
{
	uint64_t committed = commit_vlsn(s->r);
	uint64_t durable = position_get(&s->r->pos->durable);

	return committed < durable ? committed : durable;
}

void
store_busy(struct store *s, enum busy busy)
{
	if (s->busy == busy)
		return;
	if (s->busy == BUSY_MEMORY)
		trouble_end(s->r, TROUBLE_STORE_MEMORY);
	s->busy = busy;
	atomic_store_explicit(&s->r->slots->row[SLOT_STORE].busy_with, busy,
	    memory_order_release);
	/* Who sees it late is seen by our next look: see wake.h. */
	atomic_thread_fence(memory_order_seq_cst);
}

void
store_fail(struct store *s, const char *fmt, ...)
{
	char text[EVENT_TEXT_MAX];
	enum phase phase = PHASE_DATA_GROUPS_REPLAY;
	va_list ap;

	if (s->failed)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	s->failed = true;
	s->loop.quit = true;
	s->w->exit_code = WORKER_EXIT_FAILED;
	event_add(s->r, SLOT_STORE, EVENT_ERROR, "%s", text);
	/* Past the boot? */
	if (!s->replaying ||
	    seq_fail(s->r->seq, phase, SLOT_STORE, "%s", text) == -EALREADY)
		worker_fatal(s->w, &s->loop, WISH_RESTART);
}

/* ---- payloads in parts ---- */

static uint64_t
part_owner(const struct record *rec)
{
	/* Slot and incarnation; seq differs. */
	return rec->origin >> 32 << 32;
}

static void
parts_drop(struct store *s)
{
	s->parts_origin = 0;
	s->parts_over = false;
	/* Rare and large. */
	vbuf_free(&s->parts);
}

/* A payload that is longer than any gateway sends is not kept. */
static void
parts_add(struct store *s, const struct record *rec)
{
	s->parts_over |= s->parts.len + rec->payload_len > REQ_PAYLOAD_MAX;
	if (s->parts_over)
		vbuf_free(&s->parts);
	else
		vbuf_put(&s->parts, rec->payload, rec->payload_len);
}

/*
 * Take a part, or what ends it. *payload is then the whole one. True if there
 * is a payload to apply. Parts whose client died are followed by something
 * else and dropped.
 */
static bool
parts_join(struct store *s, const struct record *rec, const uint8_t **payload,
    size_t *n)
{
	bool goes_on =
	    s->parts_origin != 0 && s->parts_origin == part_owner(rec) &&
	    (rec->type == REC_PART || (rec->flags & REC_HAS_PARTS) != 0);

	*payload = rec->payload;
	*n = rec->payload_len;
	if (!goes_on && s->parts_origin != 0)
		parts_drop(s);
	if (rec->type == REC_PART) {
		s->parts_origin = part_owner(rec);
		parts_add(s, rec);
		return false;
	}
	if ((rec->flags & REC_HAS_PARTS) == 0)
		return true;
	/* The beginning is missing: nobody waits for the rest. */
	if (!goes_on)
		return false;
	parts_add(s, rec);
	*payload = s->parts.data;
	*n = s->parts.len;
	return true;
}

/* ---- one record ---- */

static int
apply_payload(struct store *s, const struct record *rec)
{
	struct result *res = &s->result;
	bool wanted = store_result_wanted(s, rec), whole;
	const uint8_t *payload;
	size_t n;
	int rc;

	whole = parts_join(s, rec, &payload, &n);
	if (s->parts.error != 0) {
		/* The record is read again when there is memory. */
		s->parts.error = 0;
		return -ENOBUFS;
	}
	if (!whole || !record_applies(rec->type)) {
		apply_nothing(&s->apply, rec->vlsn, rec->time_ms);
		return 0;
	}
	rc = apply_record(
	    &s->apply, rec, payload, n, wanted ? &res->values : NULL);
	if (s->parts_origin != 0)
		parts_drop(s);
	if (rc != 0 || !wanted)
		return rc;
	res->origin = rec->origin;
	res->vlsn = rec->vlsn;
	res->sent = 0;
	store_result_send(s);
	return 0;
}

/*
 * Room for what most records need, asked for where waiting holds up nothing
 * else; never more than the record may take.
 */
static int
room_for(struct store *s, const struct record *rec)
{
	uint64_t bytes =
	    ENTRY_SLACK + s->parts.len + 2 * (uint64_t)rec->payload_len;
	uint64_t bound = record_applies(rec->type) ? record_bound(rec) : 0;

	if (bytes > bound)
		bytes = bound;
	s->apply.asked = bytes;
	return table_ensure(&s->table, bytes);
}

static int
apply_record_of(struct store *s, const struct record *rec)
{
	int rc;

	/* First: a freeze meanwhile must not tell a term before its record. */
	if ((rc = room_for(s, rec)) != 0)
		return rc;
	if (rec->term != s->term) {
		s->apply.asked = ENTRY_SLACK;
		if ((rc = table_ensure(&s->table, ENTRY_SLACK)) != 0)
			return rc;
		table_term(&s->table, rec->vlsn, rec->term);
		s->term = rec->term;
	}
	return apply_payload(s, rec);
}

/* ---- a batch ---- */

/*
 * The cursor stands before applied + 1, except at the start; there may have
 * been nothing to stand before.
 */
static int
place_cursor(struct store *s)
{
	int rc;

	if (!s->seek)
		return 0;
	rc = cursor_seek(s->cursor, s->applied + 1);
	if (rc == 0)
		s->seek = false;
	return rc;
}

/* What the disk does not give now is read again: *busy says so. */
static int
next_record(
    struct store *s, uint64_t limit, struct record *out, enum busy *busy)
{
	int rc;

	if ((rc = place_cursor(s)) == 0)
		rc = cursor_next(s->cursor, limit, out);
	if (!cursor_unread(rc))
		return rc;
	store_log_failed(s, -rc);
	s->seek = true;
	*busy = BUSY_LOG;
	return -EAGAIN;
}

/* Why the batch ended: 0 (more may be there), -EAGAIN, or a failure. */
static int
apply_next(struct store *s, uint64_t limit, enum busy *busy)
{
	struct record rec;
	int rc;

	if ((rc = next_record(s, limit, &rec, busy)) != 0)
		return rc;
	if (rec.vlsn <= s->applied)
		return 0;
	if (rec.vlsn != s->applied + 1)
		return -EBADMSG;
	if (!store_has_room_for(s, &rec)) {
		s->seek = true;
		*busy = BUSY_TABLE;
		return -EAGAIN;
	}
	kv_work(s->kv, RECORD_WORK);
	rc = apply_record_of(s, &rec);
	if (rc == -ENOSPC || rc == -ENOBUFS) {
		/* Not consumed: it is read again when there is memory. */
		s->seek = true;
		return rc;
	}
	if (rc != 0)
		return rc;
	s->applied = rec.vlsn;
	/* Readers see just this. */
	ASSERT(s->table.vlsn == s->applied);
	s->wal_bytes += rec.len;
	return 0;
}

void
store_publish(struct store *s)
{
	uint64_t before = position_get(&s->r->pos->applied);
	bool waited;

	ASSERT(s->applied >= before);
	store_room_publish(s);
	position_set(&s->r->pos->applied, s->applied);
	/* Who raised apply_wanted after this look sees `applied`. */
	atomic_thread_fence(memory_order_seq_cst);
	waited = position_get(&s->r->pos->apply_wanted) > before;
	store_ring_gateways(s, waited && s->applied != before);
}

static void
publish(struct store *s, uint64_t before, uint64_t start_ns)
{
	uint64_t n = s->applied - before;
	struct slot_row *wal = &s->r->slots->row[SLOT_WAL];

	ASSERT(s->applied >= before);
	if (n != 0)
		cursor_release(s->cursor);
	/* Its fence stands between that and the look at wal, too. */
	store_publish(s);
	counter_add(s->r->counters, SLOT_STORE,
	    s->replaying ? C_STORE_REPLAYED : C_STORE_APPLIED, n);
	if (n != 0) {
		hist_add(s->h_apply, mono_ns() - start_ns);
		hist_add(s->h_records, n);
	}
	if (s->apply.expired != 0) {
		counter_add(s->r->counters, SLOT_STORE, C_STORE_EXPIRED,
		    s->apply.expired);
		s->apply.expired = 0;
	}
	if (s->apply.early_ms != 0) {
		store_expiry_again(s, s->apply.early_ms);
		s->apply.early_ms = 0;
	}
	if (s->apply.malformed != 0) {
		event_add(s->r, SLOT_STORE, EVENT_ERROR,
		    "%llu malformed operations up to VLSN %llu were "
		    "left out",
		    (unsigned long long)s->apply.malformed,
		    (unsigned long long)s->applied);
		s->apply.malformed = 0;
	}
	/* Only what was applied makes room; else the two would wake each other.
	 */
	if (n != 0 && atomic_load_explicit(
			  &wal->busy_with, memory_order_relaxed) == BUSY_BUFFER)
		bell_ring(s->loop.bells, SLOT_WAL);
}

static void
batch_failed(struct store *s, int rc)
{
	const char *place = cursor_place(s->cursor);

	if (place[0] != '\0')
		store_fail(s,
		    "the log at VLSN %llu: %s: %s: restore "
		    "this node, or boot with recovery_mode = force",
		    (unsigned long long)s->applied + 1, place, strerror(-rc));
	else
		store_fail(s, "applying VLSN %llu: %s",
		    (unsigned long long)s->applied + 1, strerror(-rc));
}

/* What holds the next record back, if anything. */
static enum busy
held_back(struct store *s)
{
	if (s->result.waits && !store_result_send(s))
		return BUSY_RESULT;
	if (!store_has_room(s))
		return BUSY_TABLE;
	return BUSY_NOT;
}

/* Apply has ended for another reason than the end of the log. */
static enum busy
batch_ended(struct store *s, int rc)
{
	switch (rc) {
	case -ENOSPC:
		store_no_memory(s);
		return BUSY_MEMORY;
	case -ENOBUFS:
		store_no_heap(s);
		return BUSY_MEMORY;
	case -ESHUTDOWN:
	case -EIO:
		/* Part of a record is in the table, seen by nobody. */
		s->serving = false;
		return BUSY_MEMORY;
	default:
		batch_failed(s, rc);
		return BUSY_NOT;
	}
}

bool
store_apply_batch(struct store *s)
{
	uint64_t before = s->applied, start = mono_ns();
	uint64_t limit = store_limit(s);
	enum busy busy = BUSY_NOT;
	uint32_t beats = s->beats;
	unsigned n;
	int rc = 0;

	for (n = 0; n < STORE_BATCH_RECORDS && s->applied < limit; n++) {
		if ((busy = held_back(s)) != BUSY_NOT)
			break;
		rc = apply_next(s, limit, &busy);
		/* At the same place in any life of the log: see room_now(). */
		if (rc != 0 || store_freeze_is_due(s))
			break;
		if (s->beats == beats)
			continue;
		beats = s->beats;
		if (mono_ns() > start + STORE_BATCH_NS)
			break;
	}
	/* Nothing that is not committed, and durable here. */
	ASSERT(s->applied == before || s->applied <= limit);
	ASSERT(s->applied - before <= STORE_BATCH_RECORDS);
	if (busy == BUSY_NOT && s->result.waits && !store_result_send(s))
		busy = BUSY_RESULT;
	if (rc != 0 && rc != -EAGAIN)
		busy = batch_ended(s, rc);
	publish(s, before, start);
	store_busy(s, busy);
	return busy == BUSY_NOT && rc == 0 && s->applied < store_limit(s);
}
