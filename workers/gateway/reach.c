/*
 * The reach of a write: the most that it may take of the table's memory. What
 * this gateway has appended and the store has not applied reaches no further
 * than its part of positions.room, so what was accepted always finds its place:
 * a write that would go beyond waits in front of the log. Behind it, it would
 * be answered and not applied, and whoever reads would wait for it.
 *
 * What the state decides is asked of the state: of an operation that copies
 * the value it finds, the reach is that value's length now, or what a write
 * under way may make of it.
 */
#include <errno.h>

#include "shm/table.h"
#include "workers/gateway/command.h"
#include "workers/gateway/gateway.h"

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

/* What is applied by now reaches nothing any more. */
static void
drop_applied(struct gateway *g)
{
	struct reach *r = &g->reach;
	uint64_t applied = position_get(&g->r->pos->applied);
	struct reach_mark *m;

	while (r->count != 0 && (m = mark_at(r, 0))->placed &&
	       m->vlsn <= applied) {
		r->bytes -= m->bytes;
		r->applied_seq = m->seq;
		r->first++;
		r->count--;
	}
	if (r->shared != NULL)
		atomic_store_explicit(&r->shared->applied_seq, r->applied_seq,
		    memory_order_release);
}

/*
 * This gateway's part of the room; *whole: nothing but writes under way is in
 * it. Of several each takes its part again while the others' are under way.
 */
static uint64_t
room_for(const struct gateway *g, enum refuses level, bool *whole)
{
	const struct table_gen *gen = &g->r->table->gen[0];
	uint64_t room = position_get(&g->r->pos->room);
	uint32_t parts = g->r->head->gateway_count;

	*whole = room >= table_share(gen);
	/* What is refused later may go further, too. */
	if (level == REFUSES_DELETES)
		room += gen->arena_nominal / 8;
	return parts == 1 ? room : room / parts / 4 * 3;
}

/*
 * One that is larger than all the room goes alone, into an empty table. What
 * a log that has failed takes no more is refused there.
 */
static bool
fits(struct gateway *g, uint64_t bytes, enum refuses level, bool *whole)
{
	struct reach *r = &g->reach;

	if (r->bytes + bytes <= room_for(g, level, whole) ||
	    gw_write_lost(g) != UINT64_MAX)
		return true;
	/* Before the room: what is applied is taken off that first. */
	drop_applied(g);
	return r->bytes + bytes <= room_for(g, level, whole) ||
	       (r->count == 0 && *whole);
}

/* The first who waits for room, if he is still there. */
static struct conn *
held_now(struct gateway *g)
{
	struct reach *r = &g->reach;
	struct conn *c;

	if (r->held_generation == 0)
		return NULL;
	c = gw_conn_find(g, r->held, r->held_generation);
	if (c == NULL || c->park != PARK_RING)
		r->held_generation = 0;
	return r->held_generation != 0 ? c : NULL;
}

/* The first who waits goes first, unless a checkpoint is in his way. */
static bool
somebody_fits(struct gateway *g)
{
	struct reach *r = &g->reach;
	const struct reach_need *need = &r->least;
	bool whole;

	if (!gw_write_taken(g, need->level))
		return true;
	(void)room_for(g, need->level, &whole);
	if (whole && held_now(g) != NULL)
		need = &r->first_need;
	return fits(g, need->bytes, need->level, &whole);
}

bool
gw_reach_holds(struct gateway *g)
{
	struct reach *r = &g->reach;

	/* Their reach is asked again when the room is another one. */
	return r->least.bytes != UINT64_MAX &&
	       position_get(&g->r->pos->room) == r->held_room &&
	       !somebody_fits(g);
}

void
gw_reach_wake(struct gateway *g)
{
	g->reach.least.bytes = UINT64_MAX;
}

/*
 * Nobody passes who only waits for others' writes to be applied, or a large
 * one would wait for ever. While a checkpoint is in the way others may.
 */
bool
gw_reach_may(
    struct gateway *g, const struct conn *c, uint64_t bytes, enum refuses level)
{
	const struct reach_need need = { .bytes = bytes, .level = level };
	struct reach *r = &g->reach;
	bool whole, room, first;

	if (level == REFUSES_ALL)
		return true;
	room = fits(g, bytes, level, &whole);
	if (r->held_generation == c->generation && r->held == c->index)
		r->held_generation = 0;
	first = held_now(g) == NULL;
	if (room && (!whole || first))
		return true;
	if (first) {
		r->held = c->index;
		r->held_generation = c->generation;
		r->first_need = need;
	}
	if (bytes < r->least.bytes)
		r->least = need;
	r->held_room = position_get(&g->r->pos->room);
	return false;
}

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
	m->placed = false;
	m->bytes += bytes;
	r->bytes += bytes;
}

/* What a refused one has noted ends with what was appended before it. */
void
gw_reach_returned(
    struct gateway *g, uint32_t seq, uint32_t count, uint64_t vlsn)
{
	struct reach *r = &g->reach;
	uint64_t appended = position_get(&g->r->pos->appended);
	uint32_t i;

	if (r->shared != NULL) {
		/* The VLSN first: with an older seq it holds for longer. */
		atomic_store_explicit(&r->shared->placed_vlsn,
		    vlsn != 0 ? vlsn + count - 1 : appended,
		    memory_order_release);
		atomic_store_explicit(&r->shared->placed_seq, seq + count - 1,
		    memory_order_release);
	}
	for (i = 0; i < r->count; i++) {
		struct reach_mark *m = mark_at(r, i);

		if (m->placed)
			continue;
		if (m->seq - seq >= count)
			return;
		m->placed = true;
		/* Refused; others in this mark may not be. */
		m->vlsn = vlsn != 0 ? vlsn + (m->seq - seq) : appended;
	}
}

static bool
is_under_way(const struct gateway *g, const struct reach_key *k)
{
	return (int32_t)(k->seq - g->reach.applied_seq) > 0;
}

static struct reach_key *
key_of(struct gateway *g, const struct op_arg *key, uint32_t *hash)
{
	*hash = table_hash(g->r->table, key->data, key->len);
	return &g->reach.key[*hash % REACH_KEYS];
}

/* What writes under way here make of a key's value, at most. */
static uint64_t
length_here(struct gateway *g, const struct op_arg *key)
{
	const struct reach_key *any = &g->reach.any;
	uint64_t longest = is_under_way(g, any) ? any->longest : 0;
	uint32_t hash;
	const struct reach_key *k = key_of(g, key, &hash);

	if (is_under_way(g, k) && (k->hash == hash || k->hash == 0) &&
	    k->longest > longest)
		longest = k->longest;
	return longest;
}

/* What is under way of `word` stays in it, whichever the key. */
static void
word_note(struct gateway *g, _Atomic uint64_t *word, uint64_t longest)
{
	uint64_t old = atomic_load_explicit(word, memory_order_relaxed);
	uint32_t before = (uint32_t)old;

	if ((int32_t)((uint32_t)(old >> 32) - g->reach.applied_seq) > 0 &&
	    before > longest)
		longest = before;
	if (longest > UINT32_MAX)
		longest = UINT32_MAX;
	/* Before the request: who finds that in the log can find this. */
	atomic_store_explicit(
	    word, (uint64_t)g->next_seq << 32 | longest, memory_order_release);
}

/*
 * The next request makes it so long, at most; `sure`: just that, whatever it
 * finds. What comes later from here comes behind it in the log, too.
 */
static void
key_note(
    struct gateway *g, const struct op_arg *key, uint64_t longest, bool sure)
{
	uint32_t hash;
	struct reach_key *k = key_of(g, key, &hash);

	if (g->reach.shared != NULL)
		word_note(
		    g, &g->reach.shared->key[hash % REACH_WORDS], longest);
	if (is_under_way(g, k) && k->hash != hash) {
		k->hash = 0;
		sure = false;
	} else if (!is_under_way(g, k)) {
		*k = (struct reach_key){ .hash = hash };
	}
	if (sure || longest > k->longest)
		k->longest = longest;
	k->seq = g->next_seq;
}

static void
any_note(struct gateway *g, uint32_t seq, uint64_t longest)
{
	struct reach_key *any = &g->reach.any;

	if (!is_under_way(g, any) || longest > any->longest)
		any->longest = longest;
	any->seq = seq;
}

void
gw_reach_late(struct gateway *g, uint64_t longest)
{
	if (g->reach.shared != NULL)
		word_note(g, &g->reach.shared->any, longest);
	any_note(g, g->next_seq, longest);
}

/* The length in another gateway's word, if that is under way. */
static uint64_t
word_length(const struct gateway *g, struct reach_shared *other,
    const _Atomic uint64_t *at)
{
	uint64_t word = atomic_load_explicit(at, memory_order_acquire);
	uint32_t seq = (uint32_t)(word >> 32);
	uint32_t placed;

	if ((int32_t)(seq - atomic_load_explicit(&other->applied_seq,
				memory_order_acquire)) <= 0)
		return 0;
	placed = atomic_load_explicit(&other->placed_seq, memory_order_acquire);
	if ((int32_t)(seq - placed) <= 0 &&
	    atomic_load_explicit(&other->placed_vlsn, memory_order_acquire) <=
		position_get(&g->r->pos->applied))
		return 0;
	return (uint32_t)word;
}

static uint64_t
length_elsewhere(const struct gateway *g, const struct op_arg *key)
{
	uint32_t hash, i;
	uint64_t most = 0;

	if (g->reach.shared == NULL)
		return 0;
	hash = table_hash(g->r->table, key->data, key->len);
	for (i = 0; i < g->r->head->gateway_count; i++) {
		struct reach_shared *other = &g->r->reach->of[i];

		if (other == g->reach.shared)
			continue;
		most = larger(most, larger(word_length(g, other, &other->any),
					word_length(g, other,
					    &other->key[hash % REACH_WORDS])));
	}
	return most;
}

/* The longest value that the key may have when the operation is applied. */
static uint64_t
length_now(struct gateway *g, const struct op_arg *key)
{
	struct kv_item item = { .len = g->w->conf->store.max_value };
	uint64_t longest;
	int rc;

	/* Looked at first: what is applied since is found below. */
	drop_applied(g);
	longest = larger(length_here(g, key), length_elsewhere(g, key));
	if (gw_read_begin(g) == 0) {
		rc = kv_get(g->kv, key->data, key->len, 0, &item);
		gw_turn_read(g, 1);
		if (rc != 0)
			item.len =
			    rc == -ENOENT ? 0 : g->w->conf->store.max_value;
	}
	return larger(longest, item.len);
}

/* What the process before in this slot has left under way may be anything. */
static void
shared_init(struct gateway *g, uint64_t appended)
{
	struct reach_shared *shared = &g->r->reach->of[g->slot - SLOT_GATEWAY];
	uint32_t i;

	/* Its words hold, whatever their number, until they are gone. */
	atomic_store(&shared->placed_vlsn, appended);
	atomic_store(&shared->placed_seq, g->reach.applied_seq);
	atomic_store(&shared->applied_seq, g->reach.applied_seq);
	atomic_store(&shared->any,
	    (uint64_t)g->reach.any.seq << 32 | g->w->conf->store.max_value);
	for (i = 0; i < REACH_WORDS; i++)
		atomic_store(&shared->key[i], 0);
	/* From now on they are none, and `any` ends when all is applied. */
	atomic_store(&shared->placed_seq, g->reach.any.seq);
	g->reach.shared = shared;
}

void
gw_reach_init(struct gateway *g)
{
	struct reach *r = &g->reach;
	uint64_t appended = position_get(&g->r->pos->appended);
	uint32_t before = g->next_seq - 1;
	bool whole;

	/* As if all of it were the request before the first. */
	*r = (struct reach){ .least.bytes = UINT64_MAX,
		.applied_seq = before - 1 };
	any_note(g, before, g->w->conf->store.max_value);
	gw_reach_add(g, before, room_for(g, REFUSES_GROWTH, &whole));
	mark_at(r, 0)->placed = true;
	mark_at(r, 0)->vlsn = appended;
	if (g->r->head->gateway_count > 1)
		shared_init(g, appended);
	drop_applied(g);
}

void
gw_reach_turn(struct gateway *g)
{
	struct reach_mark *m;

	if (g->reach.least.bytes == UINT64_MAX)
		return;
	drop_applied(g);
	if (g->reach.count == 0 || !(m = mark_at(&g->reach, 0))->placed)
		return;
	/* The store rings when it is. */
	position_raise(&g->r->pos->apply_wanted, m->vlsn);
	g->want_apply = true;
}

/* What the operation makes of its keys, which have at most `longest` now. */
static void
keys_note(struct gateway *g, const struct built *b, uint64_t longest)
{
	const struct op_arg *argv = b->argv;
	bool sure = (b->flags & (OPF_NX | OPF_XX | OPF_IFEQ)) == 0;
	uint64_t end;
	uint32_t i;

	switch (b->code) {
	case OP_SET:
	case OP_GETSET:
		key_note(g, &argv[0], argv[1].len, sure);
		break;
	case OP_SETNX:
		key_note(g, &argv[0], argv[1].len, false);
		break;
	case OP_MSET:
	case OP_MSETNX:
		for (i = 0; i + 1 < b->argc; i += 2)
			key_note(
			    g, &argv[i], argv[i + 1].len, b->code == OP_MSET);
		break;
	case OP_APPEND:
		key_note(g, &argv[0], longest + argv[1].len, true);
		break;
	case OP_SETRANGE:
		end = (uint64_t)b->num + argv[1].len;
		key_note(g, &argv[0], larger(end, longest), true);
		break;
	case OP_INCRBY:
	case OP_INCRBYFLOAT:
		key_note(g, &argv[0], OP_NUMBER_MAX, false);
		break;
	case OP_RENAME:
		key_note(g, &argv[1], longest, false);
		break;
	case OP_DEL:
	case OP_GETDEL:
		for (i = 0; i < b->argc; i++)
			key_note(g, &argv[i], 0, true);
		break;
	default:
		break;
	}
}

uint64_t
gw_reach_set(struct gateway *g, const struct op_arg argv[2])
{
	key_note(g, &argv[0], argv[1].len, true);
	return op_reach(OP_SET, 0, 2, argv, 0);
}

uint64_t
gw_reach_of(struct gateway *g, const struct built *b)
{
	uint64_t longest = 0;

	if (op_copies(b->code) &&
	    position_get(&g->r->pos->room) != TABLE_ROOM_ANY)
		longest = length_now(g, &b->argv[0]);
	keys_note(g, b, longest);
	return op_reach(b->code, b->num, b->argc, b->argv, longest);
}
