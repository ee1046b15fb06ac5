/*
 * Results on their way to the clients that wait for them. A full ring is
 * back-pressure on apply: nothing is dropped while the client that asked is
 * alive; what is for an earlier life of its slot is.
 */
#include <string.h>

#include "shm/assert.h"
#include "workers/store/store.h"

void
store_result_open(struct store *s)
{
	unsigned i;

	for (i = 0; i < CLIENT_MAX; i++)
		region_ring(s->r, i, RING_RESULT, &s->results[i]);
}

static bool
same_life(const struct store *s, uint64_t origin)
{
	unsigned slot = origin_slot(origin);

	return slot < SLOT_MAX &&
	       (atomic_load_explicit(
		    &s->r->slots->row[slot].incarnation, memory_order_acquire) &
		   0xffffff) == origin_incarnation(origin);
}

/*
 * What a mastership of this boot appended and committed, also when it is over
 * by now: a gateway that knows that of its request waits for the result. Other
 * records were asked for elsewhere, or in an earlier life of all slots.
 */
bool
store_result_wanted(const struct store *s, const struct record *rec)
{
	uint64_t committed;

	if ((rec->flags & REC_WANT_RESULT) == 0 || rec->origin == 0 ||
	    client_of_slot(origin_slot(rec->origin)) < 0 ||
	    !same_life(s, rec->origin))
		return false;
	return !commit_of_term(s->r, rec->term, &committed) ||
	       rec->vlsn <= committed;
}

/* The entry that the next piece of the result takes. */
static uint32_t
piece_len(const struct result *res)
{
	uint64_t left = res->values.len - res->sent;
	uint32_t n = left < RES_PART_MAX ? (uint32_t)left : RES_PART_MAX;

	return (uint32_t)sizeof(struct store_res) + n;
}

/* One piece of the result into the ring; false if it is full. */
static bool
send_piece(struct store *s, struct bytering *ring)
{
	struct result *res = &s->result;
	uint32_t len = piece_len(res),
		 n = len - (uint32_t)sizeof(struct store_res);
	struct store_res *head = bytering_reserve(ring, len);

	if (head == NULL)
		return false;
	head->seq = (uint32_t)res->origin;
	head->incarnation = origin_incarnation(res->origin);
	head->flags = res->sent + n < res->values.len ? RES_MORE : 0;
	memset(head->zero, 0, sizeof(head->zero));
	head->vlsn = res->vlsn;
	/* None at all if there was no memory for it. */
	if (n != 0)
		memcpy(head + 1, res->values.data + res->sent, n);
	res->sent += n;
	return true;
}

static void
result_done(struct store *s)
{
	struct result *res = &s->result;

	res->waits = false;
	res->sent = 0;
	/* A large one is rare: its memory is not kept. */
	if (res->values.cap > (1u << 20))
		vbuf_free(&res->values);
	vbuf_clear(&res->values);
}

bool
store_result_send(struct store *s)
{
	struct result *res = &s->result;
	unsigned slot = origin_slot(res->origin);
	int client = client_of_slot(slot);
	struct bytering *ring;
	bool more = true;

	ASSERT(client >= 0);
	ring = &s->results[client];
	if (!same_life(s, res->origin)) {
		result_done(s);
		return true;
	}
	while (more && (more = send_piece(s, ring)))
		if (res->sent == res->values.len)
			break;
	bytering_publish(ring);
	if (slot >= SLOT_GATEWAY)
		s->ring_gateways |= 1u << (slot - SLOT_GATEWAY);
	else
		bell_ring(s->loop.bells, slot);
	res->waits = !more;
	if (more) {
		counter_add(s->r->counters, SLOT_STORE, C_STORE_RESULTS, 1);
		result_done(s);
	}
	return more;
}

bool
store_result_pending(const struct store *s)
{
	const struct result *res = &s->result;
	unsigned client;

	if (!res->waits)
		return false;
	if (!same_life(s, res->origin))
		return true;
	client = (unsigned)client_of_slot(origin_slot(res->origin));
	return bytering_room(&s->results[client]) >= piece_len(res);
}

void
store_ring_gateways(struct store *s, bool all)
{
	uint32_t mask = all ? UINT32_MAX : s->ring_gateways;
	unsigned i;

	for (i = 0; i < s->r->head->gateway_count; i++)
		if ((mask >> i & 1) != 0)
			bell_ring(s->loop.bells, SLOT_GATEWAY + i);
	s->ring_gateways = 0;
}
