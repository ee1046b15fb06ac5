/*
 * The reach of a write: the most that it may take of the table's memory. What
 * this gateway has appended and the store has not applied reaches no further
 * than its part of positions.room, so what was accepted always finds its place:
 * a write that would go beyond waits in front of the log. Behind it, it would
 * be answered and not applied, and whoever reads would wait for it.
 *
 * What is larger than its gateway's part goes alone in the node: alone.c.
 *
 * What the state decides is asked of the state: of an operation that copies
 * the value it finds, the reach is that value's length now, or what a write
 * under way may make of it.
 */
#include <errno.h>

#include "shm/kv/room.h"
#include "shm/kv/table.h"
#include "shm/trouble.h"
#include "workers/gateway/exec/call.h"

static uint64_t
larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static struct reach_mark *
mark_at(struct reach *r, uint32_t i)
{
	return &r->mark[(r->first + i) % REACH_MARKS];
}

uint64_t
gw_reach_end(const struct gateway *g, uint64_t *term)
{
	struct commit_view view;

	commit_view_read(g->r->commit, &view);
	*term = view.role == ROLE_MASTER ? view.term : 0;
	return *term != 0 ? position_get(&g->r->pos->appended)
			  : commit_vlsn(g->r);
}

/*
 * The process before in this slot may have left requests in the ring, which get
 * VLSNs now. All of them are before the first of ours; and appended, once the
 * ring is past them: wal gives room back after that.
 */
static void
heir_placed(struct gateway *g, uint64_t vlsn)
{
	struct reach *r = &g->reach;
	struct reach_mark *m = mark_at(r, 0);

	m->vlsn = r->returned_vlsn = vlsn;
	r->heir = false;
	atomic_store_explicit(
	    &r->shared->placed_vlsn, vlsn, memory_order_release);
	atomic_store_explicit(
	    &r->shared->placed_seq, m->seq, memory_order_release);
}

static void
heir_look(struct gateway *g)
{
	if (bytering_is_past(&g->req, g->reach.heir_mark))
		heir_placed(g, gw_reach_end(g, &g->reach.term));
}

/* What is applied by now reaches nothing any more. */
static void
drop_applied(struct gateway *g)
{
	struct reach *r = &g->reach;
	uint64_t applied = position_get(&g->r->pos->applied);
	struct reach_mark *m;

	while (r->placed != 0 && !r->heir &&
	       (m = mark_at(r, 0))->vlsn <= applied) {
		r->bytes -= m->bytes;
		r->applied_seq = m->seq;
		r->first++;
		r->count--;
		r->placed--;
	}
	atomic_store_explicit(
	    &r->shared->applied_seq, r->applied_seq, memory_order_release);
}

/* How far the active generation may be filled by what is refused later. */
static uint64_t
end_for(const struct gateway *g, enum refuses level)
{
	const struct table_head *t = g->r->table;

	return level == REFUSES_DELETES ? t->gen[0].arena_nominal / 8 * 7
					: table_limit(t);
}

/*
 * Room for all gateways' writes of that level. positions.room is growth's, and
 * 0 however far beyond that end the others have gone.
 */
static uint64_t
room_of_all(const struct gateway *g, enum refuses level, bool *whole)
{
	uint64_t room = position_get(&g->r->pos->room);
	uint64_t share = table_share(&g->r->table->gen[0]), end, used;

	*whole = room >= share;
	if (level == REFUSES_GROWTH)
		return room;
	end = end_for(g, level);
	if (*whole)
		return room + (end - share);
	if (level == REFUSES_ALL && room_stuck(g->r))
		return 0;
	used = table_active_used(g->r->table);
	return used < end ? end - used : 0;
}

/* Of several each takes its part again while the others' are under way. */
static uint64_t
part_of(const struct gateway *g, uint64_t room)
{
	uint32_t parts = g->r->head->gateway_count;

	return parts == 1 ? room : room / parts / 4 * 3;
}

/*
 * This gateway's part of the room; *whole: nothing but writes under way is in
 * it.
 */
static uint64_t
room_for(const struct gateway *g, enum refuses level, bool *whole)
{
	return part_of(g, room_of_all(g, level, whole));
}

/* Is it more than this gateway's part will ever be? */
static bool
goes_alone(const struct gateway *g, uint64_t bytes, enum refuses level)
{
	uint64_t most = level == REFUSES_GROWTH
			    ? table_share(&g->r->table->gen[0])
			    : end_for(g, level);

	return bytes > part_of(g, most);
}

bool
gw_reach_beyond(const struct gateway *g, uint64_t bytes, enum refuses level)
{
	bool whole;

	if (!trouble_stands(g->r, TROUBLE_CHECKPOINT_FAILED) &&
	    !room_waits_long(g->r, g->io.loop.now_ns))
		return false;
	return bytes > room_for(g, level, &whole) && !whole;
}

enum fit {
	FIT_NOT,
	FIT_BEHIND, /* not before who goes alone */
	FIT_BESIDE, /* within this gateway's part */
	FIT_ALONE, /* if nothing else is under way in the node */
};

/*
 * One that is larger than all the room goes alone, into an empty table. What
 * a log that has failed takes no more is refused there.
 */
static enum fit
fits(struct gateway *g, uint64_t bytes, enum refuses level, bool *whole)
{
	struct reach *r = &g->reach;
	/* Before the room: who went alone is taken off that by then. */
	uint64_t other = gw_alone_is_shared(g) ? gw_alone_other(g) : 0;
	bool beside = r->bytes + bytes <= room_for(g, level, whole);

	if ((beside && other == 0) || gw_write_lost(g) != UINT64_MAX)
		return FIT_BESIDE;
	if (!beside) {
		/* The same: what is applied is taken off that first. */
		drop_applied(g);
		beside = r->bytes + bytes <= room_for(g, level, whole);
	}
	if (gw_alone_bars(g, other, *whole, level))
		return FIT_BEHIND;
	if (beside)
		return FIT_BESIDE;
	return r->count == 0 && *whole ? FIT_ALONE : FIT_NOT;
}

/*
 * The first who waits for room does no more. Those who were refused before are
 * asked again before anybody else is the first, or passes them.
 */
static void
held_end(struct gateway *g)
{
	g->reach.held_generation = 0;
	g->reach.again = g->reach.least.bytes != UINT64_MAX;
}

/* The first who waits for room, if he is still there. */
static struct conn *
held_now(struct gateway *g)
{
	struct reach *r = &g->reach;
	struct conn *c;

	if (r->held_generation == 0)
		return NULL;
	c = gw_conn_find(&g->io, r->held, r->held_generation);
	if (c == NULL || c->park != PARK_RING)
		held_end(g);
	return r->held_generation != 0 ? c : NULL;
}

/* The first who waits goes first, unless a checkpoint is in his way. */
static bool
somebody_fits(struct gateway *g)
{
	struct reach *r = &g->reach;
	const struct reach_need *need = &r->least;
	enum fit fit;
	bool whole;

	if (!gw_write_taken(g, need->level) ||
	    gw_reach_beyond(g, need->bytes, need->level))
		return true;
	(void)room_for(g, need->level, &whole);
	if (whole && held_now(g) != NULL)
		need = &r->first_need;
	fit = fits(g, need->bytes, need->level, &whole);
	return fit == FIT_BESIDE || (fit == FIT_ALONE && gw_alone_could(g));
}

bool
gw_reach_holds(struct gateway *g)
{
	struct reach *r = &g->reach;

	/*
	 * Their reach is asked again when the room is another one, or what made
	 * it so large is applied.
	 */
	return r->least.bytes != UINT64_MAX && !r->again &&
	       position_get(&g->r->pos->room) == r->held_room &&
	       (r->count != 0 ||
		   position_get(&g->r->pos->applied) == r->held_applied) &&
	       !somebody_fits(g);
}

void
gw_reach_wake(struct gateway *g)
{
	g->reach.least.bytes = UINT64_MAX;
	g->reach.alone.wants = false;
	g->reach.again = false;
}

/*
 * Nobody passes who only waits for others' writes to be applied, or a large
 * one would wait for ever. While a checkpoint is in the way others may; and a
 * FLUSHALL always, which takes next to nothing.
 */
static bool
may_go(struct gateway *g, const struct conn *c, const struct reach_need need,
    bool appends)
{
	struct reach *r = &g->reach;
	bool whole, was, first;
	enum fit fit;

	fit = fits(g, need.bytes, need.level, &whole);
	was = r->held_generation == c->generation && r->held == c->index;
	first = was || (held_now(g) == NULL && !r->again);
	if (fit >= FIT_BESIDE &&
	    (!whole || first || need.level == REFUSES_ALL) &&
	    (fit != FIT_ALONE || !appends || gw_alone_take(g))) {
		if (was)
			held_end(g);
		return true;
	}
	if (fit == FIT_BEHIND || goes_alone(g, need.bytes, need.level))
		gw_alone_wait(g);
	if (first) {
		r->held = c->index;
		r->held_generation = c->generation;
		r->first_need = need;
	}
	if (need.bytes < r->least.bytes)
		r->least = need;
	r->held_room = position_get(&g->r->pos->room);
	r->held_applied = position_get(&g->r->pos->applied);
	return false;
}

bool
gw_reach_may(
    struct gateway *g, const struct conn *c, uint64_t bytes, enum refuses level)
{
	const struct reach_need need = { .bytes = bytes, .level = level };

	/* It only reads. */
	if (bytes == 0 && level == REFUSES_ALL)
		return true;
	if (gw_alone_is_shared(g))
		gw_alone_enter(g);
	return may_go(g, c, need, true);
}

bool
gw_reach_may_make(
    struct gateway *g, const struct conn *c, uint64_t bytes, enum refuses level)
{
	const struct reach_need need = { .bytes = bytes, .level = level };

	return may_go(g, c, need, false);
}

/* ---- how long values get by what is under way ---- */

bool
gw_reach_under_way(
    const struct gateway *g, struct reach_shared *of, uint32_t seq)
{
	uint32_t placed;

	if ((int32_t)(seq - atomic_load_explicit(
				&of->applied_seq, memory_order_acquire)) <= 0)
		return false;
	placed = atomic_load_explicit(&of->placed_seq, memory_order_acquire);
	return (int32_t)(seq - placed) > 0 ||
	       atomic_load_explicit(&of->placed_vlsn, memory_order_acquire) >
		   position_get(&g->r->pos->applied);
}

/* The length in a gateway's word, if that is under way. */
static uint64_t
word_length(const struct gateway *g, struct reach_shared *of,
    const _Atomic uint64_t *at)
{
	uint64_t word = atomic_load_explicit(at, memory_order_acquire);

	return gw_reach_under_way(g, of, (uint32_t)(word >> 32))
		   ? (uint32_t)word
		   : 0;
}

static uint64_t
length_under_way(const struct gateway *g, uint32_t word)
{
	const struct reach *r = &g->reach;
	uint64_t most = r->noted_any;
	uint32_t i;

	for (i = 0; i < g->r->head->gateway_count; i++) {
		struct reach_shared *of = &g->r->reach->of[i];

		most = larger(most, word_length(g, of, &of->any));
		most = larger(most, word_length(g, of, &of->key[word]));
	}
	for (i = 0; i < r->noted_count; i++)
		if (r->noted[i].word == word)
			most = larger(most, r->noted[i].longest);
	return most;
}

static uint32_t
word_of(const struct gateway *g, const struct op_arg *key)
{
	return table_hash(g->r->table, key->data, key->len) % REACH_WORDS;
}

/* No value that a request brings, or a number that it makes, is longer. */
static uint64_t
longest_made(const struct gateway *g)
{
	return larger(g->w->conf->store.max_value, OP_NUMBER_MAX);
}

/*
 * What is there may be longer, of a time when max_value was more. But nothing
 * is copied that is beyond what the record may take, twice max_value at least:
 * that is an error, and takes nothing.
 */
static uint64_t
longest_copied(const struct gateway *g)
{
	return g->w->conf->store.max_record;
}

/*
 * The longest value that the key may have when the operation is applied. What
 * another gateway notes after this and wal takes before it is not seen: such a
 * one may find less room than it was let in for (store_waits tells).
 */
static uint64_t
length_now(struct gateway *g, const struct op_arg *key)
{
	struct kv_item item = { .len = longest_copied(g) };
	uint64_t longest;
	int rc;

	/* Looked at first: what is applied since is found below. */
	drop_applied(g);
	longest = length_under_way(g, word_of(g, key));
	if (gw_read_begin(g) == 0) {
		rc = kv_get(g->kv, key->data, key->len, 0, &item);
		gw_turn_read(g, 1);
		if (rc != 0)
			item.len = rc == -ENOENT ? 0 : longest_copied(g);
	}
	return larger(longest, item.len);
}

/*
 * No operation makes a value longer than max_value, whatever it asks for; what
 * is there may be, of a time when that was more.
 */
static uint64_t
made(const struct gateway *g, uint64_t asked, uint64_t longest)
{
	uint64_t max = g->w->conf->store.max_value;

	return larger(asked < max ? asked : max, longest);
}

/* The request at hand makes it so long, at most. */
static void
note(struct gateway *g, const struct op_arg *key, uint64_t longest)
{
	struct reach *r = &g->reach;

	if (longest == 0)
		return;
	if (r->noted_count == REACH_NOTED) {
		r->noted_any = larger(r->noted_any, longest);
		return;
	}
	r->noted[r->noted_count++] =
	    (struct reach_note){ .word = word_of(g, key), .longest = longest };
}

/* What is under way of the word stays in it. */
static void
word_write(
    struct gateway *g, _Atomic uint64_t *word, uint32_t seq, uint64_t longest)
{
	longest = larger(longest, word_length(g, g->reach.shared, word));
	if (longest > UINT32_MAX)
		longest = UINT32_MAX;
	/* Before the request: who finds that in the log can find this. */
	atomic_store_explicit(
	    word, (uint64_t)seq << 32 | longest, memory_order_release);
}

/* What is appended is under way. */
static void
notes_write(struct gateway *g, uint32_t seq)
{
	struct reach *r = &g->reach;
	uint32_t i;

	for (i = 0; i < r->noted_count; i++)
		word_write(g, &r->shared->key[r->noted[i].word], seq,
		    r->noted[i].longest);
	if (r->noted_any != 0)
		word_write(g, &r->shared->any, seq, r->noted_any);
	gw_reach_begin(g);
}

/* Before a number comes again that an old word has. */
static void
words_forget(struct gateway *g)
{
	struct reach_shared *own = g->reach.shared;
	uint32_t i;

	for (i = 0; i < REACH_WORDS; i++)
		if (word_length(g, own, &own->key[i]) == 0)
			atomic_store_explicit(
			    &own->key[i], 0, memory_order_release);
	if (word_length(g, own, &own->any) == 0)
		atomic_store_explicit(&own->any, 0, memory_order_release);
}

void
gw_reach_begin(struct gateway *g)
{
	g->reach.noted_count = 0;
	g->reach.noted_any = 0;
}

void
gw_reach_unknown(struct gateway *g, bool copies)
{
	gw_reach_begin(g);
	g->reach.noted_any = copies ? longest_copied(g) : longest_made(g);
}

/* ---- from the append to the store ---- */

void
gw_reach_add(struct gateway *g, uint32_t seq, uint64_t bytes)
{
	struct reach *r = &g->reach;
	struct reach_mark *m;

	if (r->count == REACH_MARKS)
		drop_applied(g);
	/* Without a place of its own it lasts as long as the one before. */
	if (r->count != REACH_MARKS)
		*mark_at(r, r->count++) = (struct reach_mark){ 0 };
	m = mark_at(r, r->count - 1);
	m->seq = seq;
	if (r->placed == r->count)
		r->placed--;
	m->bytes += bytes;
	r->bytes += bytes;
	if (r->alone.taken)
		gw_alone_added(g, seq);
	notes_write(g, seq);
	if (seq % REACH_FORGET == 0)
		words_forget(g);
}

/*
 * Of what is placed nothing is applied for this gateway behind that VLSN. It
 * may be cut from the log, which then may not get so long again before somebody
 * appends; what the next master keeps of it comes as all that others append
 * does, for which no gateway's part of the room is set aside.
 */
static void
lower_marks(struct gateway *g, uint64_t limit)
{
	struct reach *r = &g->reach;
	struct reach_mark *m;
	uint32_t i;

	for (i = 0; i < r->placed; i++)
		if ((m = mark_at(r, i))->vlsn > limit)
			m->vlsn = limit;
	if (r->returned_vlsn > limit)
		r->returned_vlsn = limit;
	if (atomic_load_explicit(
		&r->shared->placed_vlsn, memory_order_relaxed) > limit)
		atomic_store_explicit(
		    &r->shared->placed_vlsn, limit, memory_order_release);
	drop_applied(g);
}

void
gw_reach_look(struct gateway *g)
{
	uint64_t limit;

	if (g->reach.term == 0 || !commit_of_term(g->r, g->reach.term, &limit))
		return;
	lower_marks(g, limit);
	g->reach.term = 0;
}

void
gw_reach_returned(struct gateway *g, const struct wal_ret *ret)
{
	uint32_t seq = ret->seq, count = ret->count;
	uint64_t vlsn = ret->status == RET_OK ? ret->vlsn : 0, end;
	struct reach *r = &g->reach;

	if (vlsn != 0 && ret->term != r->term) {
		gw_reach_look(g);
		r->term = ret->term;
	}
	if (r->heir && vlsn != 0)
		heir_placed(g, vlsn - 1);
	/*
	 * A refused one ends with what was appended before it: others of a
	 * mark that it shares may have been.
	 */
	end = vlsn != 0 ? vlsn + count - 1 : r->returned_vlsn;
	r->returned_vlsn = end;
	/* The VLSN first: with an older seq it holds for longer. */
	atomic_store_explicit(
	    &r->shared->placed_vlsn, end, memory_order_release);
	if (!r->heir)
		atomic_store_explicit(&r->shared->placed_seq, seq + count - 1,
		    memory_order_release);
	for (; r->placed < r->count; r->placed++) {
		struct reach_mark *m = mark_at(r, r->placed);

		if (m->seq - seq >= count)
			return;
		m->vlsn = vlsn != 0 ? vlsn + (m->seq - seq) : end;
	}
}

/* What the process before in this slot has left under way may be anything. */
void
gw_reach_init(struct gateway *g)
{
	struct reach_shared *own = &g->r->reach->of[g->slot - SLOT_GATEWAY];
	uint32_t before = g->next_seq - 1, i;
	struct reach *r = &g->reach;
	bool whole;

	*r = (struct reach){ .least.bytes = UINT64_MAX,
		.shared = own,
		.applied_seq = before - 1,
		.heir = true,
		.heir_mark = bytering_mark(&g->req) };
	/* Whoever looks at the others meanwhile waits. */
	atomic_store(&own->latest, REACH_APPENDS);
	/* Its words hold, whatever their number, until they are gone. */
	atomic_store(&own->placed_vlsn, UINT64_MAX);
	atomic_store(&own->placed_seq, r->applied_seq);
	atomic_store(&own->applied_seq, r->applied_seq);
	atomic_store(&own->any, (uint64_t)before << 32 | longest_copied(g));
	for (i = 0; i < REACH_WORDS; i++)
		atomic_store(&own->key[i], 0);
	/* As if all of it were the request before the first. */
	gw_reach_add(g, before, room_for(g, REFUSES_ALL, &whole));
	r->placed = 1;
	atomic_store(&own->latest, before);
	/* The one before waits for nothing any more. */
	atomic_store(&own->ticket, 0);
	heir_look(g);
	drop_applied(g);
}

void
gw_reach_turn(struct gateway *g)
{
	struct reach *r = &g->reach;
	uint64_t wanted;

	if (r->heir)
		heir_look(g);
	if (gw_alone_lasts(g))
		drop_applied(g);
	gw_alone_turn(g);
	if (r->least.bytes == UINT64_MAX && !gw_alone_lasts(g))
		return;
	drop_applied(g);
	if (r->count != 0 && (r->heir || r->placed == 0))
		return;
	/* Of others, if it has none: what is under way there counts here. */
	wanted = r->count != 0 ? mark_at(r, 0)->vlsn
			       : position_get(&g->r->pos->appended);
	if (wanted <= position_get(&g->r->pos->applied))
		return;
	/* The store rings when it is. */
	position_raise(&g->r->pos->apply_wanted, wanted);
	g->want_apply = true;
}

bool
gw_reach_pending(struct gateway *g)
{
	/* Others wait for the end of a turn that has looked for room; not in
	   the midst of a long request, which goes on when wal has made some. */
	if (g->reach.alone.open && g->big.payload == NULL)
		return true;
	if (!gw_alone_lasts(g))
		return false;
	drop_applied(g);
	return gw_alone_over(g);
}

/* What the operation makes of its keys, the first of which is as long now. */
static void
note_keys(struct gateway *g, const struct built *b, uint64_t longest)
{
	const struct op_arg *argv = b->argv;
	uint32_t i;

	switch (b->code) {
	case OP_SET:
	case OP_GETSET:
	case OP_SETNX:
		note(g, &argv[0], argv[1].len);
		break;
	case OP_MSET:
	case OP_MSETNX:
		for (i = 0; i + 1 < b->argc; i += 2)
			note(g, &argv[i], argv[i + 1].len);
		break;
	case OP_APPEND:
		note(g, &argv[0], made(g, longest + argv[1].len, longest));
		break;
	case OP_SETRANGE:
		if (argv[1].len != 0)
			note(g, &argv[0],
			    made(g, (uint64_t)b->num + argv[1].len, longest));
		break;
	case OP_INCRBY:
	case OP_INCRBYFLOAT:
		note(g, &argv[0], OP_NUMBER_MAX);
		break;
	case OP_RENAME:
		note(g, &argv[1], longest);
		break;
	default:
		break;
	}
}

uint64_t
gw_reach_set(struct gateway *g, const struct op_arg argv[2])
{
	gw_reach_begin(g);
	note(g, &argv[0], argv[1].len);
	return op_reach(OP_SET, 0, 2, argv, 0);
}

uint64_t
gw_reach_also(struct gateway *g, const struct built *b)
{
	uint64_t longest = 0;

	if (op_copies(b->code) &&
	    position_get(&g->r->pos->room) != TABLE_ROOM_ANY)
		longest = length_now(g, &b->argv[0]);
	note_keys(g, b, longest);
	return op_reach(b->code, b->num, b->argc, b->argv, longest);
}

void
gw_reach_many(struct gateway *g, const struct op *op)
{
	const uint8_t *at = op->args;
	struct op_arg arg;

	if (op->code != OP_MSET && op->code != OP_MSETNX)
		return;
	while (op_arg_next(op, &at, &arg))
		g->reach.noted_any = larger(g->reach.noted_any, arg.len);
}

uint64_t
gw_reach_of(struct gateway *g, const struct built *b)
{
	gw_reach_begin(g);
	return gw_reach_also(g, b);
}
