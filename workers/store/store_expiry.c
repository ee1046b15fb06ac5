/*
 * Deleting what expired. A deletion is a change like any other, so it is
 * logged: the master's store asks wal for a record for each due key, and when
 * that record is applied, the key goes if it is still the same entry. Due
 * keys are found in heaps over the table's generations, and on disk in the
 * order that the checkpoint keeps.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "shm/assert.h"
#include "shm/log/log_clock.h"
#include "shm/say.h"
#include "workers/store/store.h"

#define RETRY_NS   (NS_PER_S / 2) /* after a refusal */
#define FULL_NS    NS_PER_MS /* wal has more to do than our requests */
#define HEAP_FIRST 1024
#define LOOKS      32 /* keys between two looks at the clock */
#define WAIT_MS    3600000 /* at most; what is due later is looked at again */

/* ---- heaps ---- */

static void
heap_up(struct expiry_heap *h, uint32_t i)
{
	struct expiry_due due = h->due[i];
	uint32_t parent;

	while (i > 0) {
		parent = (i - 1) / 2;
		if (h->due[parent].expire_ms <= due.expire_ms)
			break;
		h->due[i] = h->due[parent];
		i = parent;
	}
	h->due[i] = due;
}

static void
heap_down(struct expiry_heap *h)
{
	struct expiry_due due = h->due[0];
	uint32_t i = 0, child;

	while ((child = 2 * i + 1) < h->count) {
		if (child + 1 < h->count &&
		    h->due[child + 1].expire_ms < h->due[child].expire_ms)
			child++;
		if (due.expire_ms <= h->due[child].expire_ms)
			break;
		h->due[i] = h->due[child];
		i = child;
	}
	h->due[i] = due;
}

/*
 * Without memory the entry is left out: its key is hidden from readers all
 * the same, and deleted once the checkpoint's order holds it.
 */
static void
heap_lose(struct expiry_heap *h, int64_t expire_ms)
{
	if (h->lost_ms == 0 || expire_ms < h->lost_ms)
		h->lost_ms = expire_ms;
}

static void
heap_push(struct expiry_heap *h, const struct expiry_due *due)
{
	struct expiry_due *more;
	uint32_t cap;

	if (h->count == h->cap) {
		cap = h->cap != 0 ? h->cap * 2 : HEAP_FIRST;
		more = realloc(h->due, cap * sizeof(*more));
		if (more == NULL) {
			heap_lose(h, due->expire_ms);
			return;
		}
		h->due = more;
		h->cap = cap;
	}
	h->due[h->count] = *due;
	heap_up(h, h->count++);
}

static struct expiry_due
heap_pop(struct expiry_heap *h)
{
	struct expiry_due due = h->due[0];

	ASSERT(h->count > 0);
	h->due[0] = h->due[--h->count];
	if (h->count > 0)
		heap_down(h);
	return due;
}

static void
heap_free(struct expiry_heap *h)
{
	free(h->due);
	memset(h, 0, sizeof(*h));
}

void
store_expiry_open(struct store *s)
{
	struct expiry *x = &s->expiry;

	region_ring(s->r, CLIENT_STORE, RING_REQUEST, &x->request);
	region_ring(s->r, CLIENT_STORE, RING_RETURN, &x->ret);
}

void
store_expiry_close(struct store *s)
{
	heap_free(&s->expiry.heap[0]);
	heap_free(&s->expiry.heap[1]);
}

void
store_expiry_timed(void *ctx, int64_t expire_ms, uint32_t off)
{
	struct store *s = ctx;
	uint64_t number =
	    atomic_load_explicit(&s->table.g->number, memory_order_relaxed);
	struct expiry_due due = { expire_ms, off, (uint32_t)number };

	heap_push(&s->expiry.heap[number & 1], &due);
}

/* Keys that are due at ms or later are to be looked at on disk again. */
static void
disk_back(struct expiry *x, int64_t ms)
{
	x->disk_ms = 0;
	if (x->disk.expire_ms < ms)
		return;
	memset(&x->disk, 0, sizeof(x->disk));
	x->disk.expire_ms = ms;
}

/*
 * Its keys are in the disk's order now, perhaps before where we stand. All
 * that was taken out of the heap was asked for, or changed since.
 */
void
store_expiry_dropped(struct store *s, uint64_t number)
{
	struct expiry *x = &s->expiry;
	struct expiry_heap *h = &x->heap[number & 1];
	int64_t first = h->count > 0 ? h->due[0].expire_ms : INT64_MAX;

	if (h->lost_ms != 0 && h->lost_ms < first)
		first = h->lost_ms;
	heap_free(h);
	disk_back(x, first);
}

void
store_expiry_again(struct store *s, int64_t ms)
{
	struct expiry *x = &s->expiry;

	heap_lose(&x->heap[0], ms);
	heap_lose(&x->heap[1], ms);
	disk_back(x, ms);
}

/* ---- asking ---- */

/*
 * Is it still the key's entry? A record may have changed the key again: such
 * entries have one VLSN, and the newest says whether and when it is due. 1, 0;
 * -EIO: the disk does not tell now.
 */
static int
still_there(struct store *s, const uint8_t *key, size_t key_len, uint64_t vlsn,
    int64_t expire_ms)
{
	enum kv_where where;
	struct kv_item item;
	int rc = kv_lookup_table(s->kv, key, key_len,
	    table_hash(s->kv->t, key, key_len), &item, &where);

	if (rc == -ENODATA)
		rc = kv_try_disk(s->kv, key, key_len, &item);
	if (rc == -EIO)
		return rc;
	/* Damage stays where it is: who reads the key is told of it. */
	return rc == 0 && item.vlsn == vlsn && item.expire_ms == expire_ms;
}

/* What is due is not known now: it stays due. */
static void
look_later(struct store *s)
{
	store_read_failed(s);
	s->expiry.retry_ns = s->loop.now_ns + RETRY_NS;
}

/* One request; false if the ring is full. */
static bool
ask(struct store *s, const struct expiry_due *due, const uint8_t *key,
    size_t key_len, uint64_t vlsn)
{
	struct expiry *x = &s->expiry;
	struct op_arg arg = { key, (uint32_t)key_len };
	uint32_t len = (uint32_t)(sizeof(struct wal_req) + op_size(1, &arg));
	struct wal_req *req = bytering_reserve(&x->request, len);

	if (req == NULL) {
		x->retry_ns = s->loop.now_ns + FULL_NS;
		return false;
	}
	req->seq = x->seq++;
	req->incarnation = s->w->incarnation;
	req->type = REC_OP;
	req->flags = 0;
	req->zero = 0;
	op_encode((uint8_t *)(req + 1), OP_EXPIRED, 0, (int64_t)vlsn, 1, &arg);
	x->flight[(x->flight_head + x->flight_count++) % EXPIRY_FLIGHT] = *due;
	return true;
}

static bool
may_ask(const struct store *s)
{
	/* The last of the table's room is not for what is hidden anyway. */
	return s->expiry.flight_count < EXPIRY_FLIGHT &&
	       position_get(&s->r->pos->room) != 0 &&
	       position_get(&s->r->pos->refuses) < REFUSES_DELETES;
}

/* One turn's looking for what is due. */
struct look {
	int64_t now_ms;
	uint64_t deadline_ns;
	unsigned count;
	bool asked;
	bool late; /* the deadline came */
};

static bool
has_time(struct look *l)
{
	if (++l->count % LOOKS == 0 && mono_ns() >= l->deadline_ns)
		l->late = true;
	return !l->late;
}

static void
look_heap(struct store *s, struct expiry_heap *h, struct look *l)
{
	const struct table_entry *e;
	struct expiry_due due;
	int there;

	while (h->count > 0 && h->due[0].expire_ms < l->now_ms && may_ask(s) &&
	       has_time(l)) {
		due = h->due[0];
		e = table_at(
		    s->table.t, table_gen_at(s->table.t, due.number), due.off);
		ASSERT(e != NULL);
		there = still_there(s, table_entry_key(e),
		    table_entry_key_len(e), table_entry_vlsn(e), e->expire_ms);
		if (there < 0) {
			look_later(s);
			break;
		}
		if (there > 0) {
			if (!ask(s, &due, table_entry_key(e),
				table_entry_key_len(e), table_entry_vlsn(e)))
				break;
			l->asked = true;
		}
		heap_pop(h);
	}
}

static void
look_disk(struct store *s, struct look *l)
{
	struct expiry *x = &s->expiry;
	struct store_due next;
	struct expiry_due due = { 0, 0, 0 };
	int rc, there;

	while (x->disk_ms < l->now_ms && may_ask(s) && has_time(l)) {
		next = x->disk;
		rc = store_db_due_next(&s->kv->db, s->kv->txn, &next);
		if (rc == -EIO) {
			look_later(s);
			break;
		}
		if (rc != 0) {
			x->disk_ms = INT64_MAX;
			break;
		}
		x->disk_ms = due.expire_ms = next.expire_ms;
		if (next.expire_ms >= l->now_ms)
			break;
		there = still_there(
		    s, next.key, next.key_len, next.vlsn, next.expire_ms);
		if (there < 0) {
			look_later(s);
			break;
		}
		if (there > 0) {
			if (!ask(s, &due, next.key, next.key_len, next.vlsn))
				break;
			l->asked = true;
		}
		x->disk = next;
	}
}

/* ---- answers ---- */

/* Refused: what it was about is due again. */
static void
give_back(struct store *s, const struct expiry_due *due)
{
	struct expiry *x = &s->expiry;
	uint64_t view =
	    atomic_load_explicit(&s->table.t->view, memory_order_relaxed);
	uint32_t number = (uint32_t)(view >> 1);

	x->retry_ns = s->loop.now_ns + RETRY_NS;
	if (due->off != 0 &&
	    (due->number == number ||
		(table_view_frozen(view) && due->number + 1 == number)))
		heap_push(&x->heap[due->number & 1], due);
	else
		disk_back(x, due->expire_ms);
}

static void
take_answers(struct store *s)
{
	struct expiry *x = &s->expiry;
	const struct wal_ret *ret;
	uint32_t len, n;

	while ((ret = bytering_peek(&x->ret, &len)) != NULL) {
		if (len == sizeof(*ret) &&
		    ret->incarnation == s->w->incarnation)
			for (n = 0; n < ret->count && x->flight_count > 0;
			     n++) {
				if (ret->status != RET_OK)
					give_back(
					    s, &x->flight[x->flight_head]);
				x->flight_head =
				    (x->flight_head + 1) % EXPIRY_FLIGHT;
				x->flight_count--;
			}
		bytering_advance(&x->ret, len);
		bytering_consume(&x->ret);
	}
}

/* By the clock that will stamp the record. */
static int64_t
expiry_now(const struct store *s)
{
	return log_now_ms(s->r->pos, s->loop.now_ns, wall_ms(),
	    s->w->conf->wal.max_clock_step_ms);
}

/*
 * Only a master asks. What an earlier mastership has asked for may have been
 * cut off, of which nobody tells: so the next one looks at all of it again.
 */
static bool
is_master(struct store *s)
{
	struct expiry *x = &s->expiry;
	struct commit_view view;

	commit_view_read(s->r->commit, &view);
	if (view.role != ROLE_MASTER || view.readonly != 0)
		return false;
	if (x->term != 0 && x->term != view.term)
		store_expiry_again(s, 1);
	x->term = view.term;
	return true;
}

bool
store_expiry_turn(struct store *s, uint64_t deadline_ns)
{
	struct expiry *x = &s->expiry;
	struct look l = { .now_ms = expiry_now(s), .deadline_ns = deadline_ns };

	take_answers(s);
	if (s->replaying || s->loop.now_ns < x->retry_ns ||
	    loop_shutdown(&s->loop) != SHUTDOWN_NONE || !is_master(s))
		return false;
	look_heap(s, &x->heap[0], &l);
	look_heap(s, &x->heap[1], &l);
	look_disk(s, &l);
	if (l.asked) {
		bytering_publish(&x->request);
		bell_ring(s->loop.bells, SLOT_WAL);
	}
	return l.late;
}

bool
store_expiry_pending(struct store *s)
{
	return bytering_ready(&s->expiry.ret);
}

uint64_t
store_expiry_deadline(const struct store *s)
{
	const struct expiry *x = &s->expiry;
	int64_t due = x->disk_ms, now_ms;
	uint64_t at, wait;
	unsigned i;

	/* With all in flight, answers wake us. */
	if (s->replaying || !may_ask(s) || !commit_is_master(s->r) ||
	    loop_shutdown(&s->loop) != SHUTDOWN_NONE)
		return LOOP_NEVER;
	for (i = 0; i < 2; i++)
		if (x->heap[i].count > 0 && x->heap[i].due[0].expire_ms < due)
			due = x->heap[i].due[0].expire_ms;
	if (due == INT64_MAX)
		return LOOP_NEVER;
	now_ms = expiry_now(s);
	/* A key lives through the millisecond it names. */
	at = s->loop.now_ns;
	wait = (uint64_t)due - (uint64_t)now_ms;
	if (due >= now_ms)
		at += (wait < WAIT_MS ? wait + 1 : WAIT_MS) * NS_PER_MS;
	return at > x->retry_ns ? at : x->retry_ns;
}
