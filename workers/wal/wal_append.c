/*
 * Requests become records: VLSN, term and time are given out here, and only
 * here. Clients' rings are drained in turns; what cannot be taken stays where
 * it is, which is the back-pressure.
 */
#include "workers/wal/wal.h"

#include <errno.h>
#include <signal.h>

#include "shm/assert.h"
#include "shm/kv/op.h"
#include "shm/say.h"

#define DRAIN_STEP   64 /* requests of one client before the next one's turn */
#define DRAIN_ROUNDS 64 /* of all clients, before the rest of a turn */
#define DRAIN_LATER  255u /* no enum ret_status: see refusal() */

/* Behind the last record: a pad of at least a header, maybe behind a head. */
#define CLOSE_SLACK (SEGMENT_BATCH_LEN + REC_HEADER_SIZE)
/* Some hundred terms that commit nothing; see wal_room_own(). */
#define WAL_OWN_ROOM (64u * 1024)

void
wal_clients_open(struct wal *w)
{
	unsigned i;

	w->parts_client = -1;
	w->clients = CLIENT_GATEWAY + w->r->head->gateway_count;
	ASSERT(w->clients <= CLIENT_MAX);
	for (i = 0; i < w->clients; i++) {
		region_ring(w->r, i, RING_REQUEST, &w->client[i].request);
		region_ring(w->r, i, RING_RETURN, &w->client[i].ret);
	}
}

void
wal_batch_open(struct wal *w)
{
	append_batch_open(&w->log);
	w->batch_begun_ns = w->loop.now_ns;
}

/* `spared`: bytes of the buffer that stay free behind it. */
static bool
room(struct wal *w, uint32_t len, uint32_t spared)
{
	uint32_t slack = w->io.block + CLOSE_SLACK;
	uint32_t need = len + (w->log.batch.open ? 0 : SEGMENT_BATCH_LEN);

	if (w->phase != WAL_APPENDING || w->log.batch.full || wal_cutting(w))
		return false;
	if (append_left(&w->log) < need + slack) {
		wal_segment_close(w);
		return false;
	}
	if (!wal_buffer_has(w, need + slack + spared))
		return false;
	if (!w->log.batch.open)
		wal_batch_open(w);
	ASSERT(append_left(&w->log) >= len + slack);
	return true;
}

bool
wal_room_own(struct wal *w, uint32_t len)
{
	return room(w, len, 0);
}

bool
wal_room(struct wal *w, uint32_t len)
{
	uint64_t most = w->log.buf.size / 8;

	return room(
	    w, len, most < WAL_OWN_ROOM ? (uint32_t)most : WAL_OWN_ROOM);
}

/* A map sample at the first record behind a head, each so many bytes. */
void
wal_sample_next(struct wal *w)
{
	const struct append *log = &w->log;

	if (log->batch.records != 0 ||
	    (w->sampled && log->position - w->sample < VMAP_STRIDE_BYTES))
		return;
	if (!wal_sample(w, log->end.vlsn + 1,
		lsn_make(log->segment.number, append_offset(log))))
		return;
	w->sample = log->position;
	w->sampled = true;
}

void
wal_record_note(struct wal *w, uint64_t vlsn, uint8_t type, bool wanted)
{
	ASSERT(vlsn > w->durable);
	ASSERT(vlsn > w->member);
	if (type == REC_MEMBER) {
		w->member_before = wal_member_in_force(w);
		w->member = vlsn;
		position_set(&w->r->pos->member, vlsn);
	}
	if (wanted || type == REC_TERM || type == REC_MEMBER)
		w->urgent = vlsn;
	if (type == REC_TERM || type == REC_MEMBER)
		w->group_waits = vlsn;
}

/* Room was found by wal_room(). */
static void
record_append(struct wal *w, uint64_t term, uint8_t type, uint8_t flags,
    uint64_t origin, const void *payload, uint32_t payload_len)
{
	int64_t now_ms = w->clock.ms, last_ms = w->log.end.time_ms;
	struct record rec = { .term = term,
		.time_ms =
		    now_ms > last_ms || type == REC_CLOCK ? now_ms : last_ms,
		.origin = origin,
		.type = type,
		.flags = flags,
		.bound = record_applies(type) ? w->bound : 0,
		.payload_len = payload_len,
		.payload = payload };

	ASSERT(w->phase == WAL_APPENDING);
	ASSERT(!wal_cutting(w));
	wal_sample_next(w);
	wal_record_note(w, append_put(&w->log, &rec), type,
	    type != REC_OP || (flags & REC_WANT_RESULT) != 0);
	wal_count(w, C_WAL_RECORDS, 1);
	wal_count(w, C_WAL_BYTES, record_len(payload_len));
}

void
wal_term_begins(struct wal *w, uint64_t term, uint64_t vlsn)
{
	struct terms *terms = w->r->terms;
	bool begun;

	if (terms_add(terms, term, vlsn))
		return;
	say_warnx("the term runs in the checkpoint do not lead to record %ju "
		  "of term %ju: they are not this log's, and forgotten",
	    (uintmax_t)vlsn, (uintmax_t)term);
	terms_clear(terms);
	begun = terms_add(terms, term, vlsn);
	ASSERT(begun);
}

void
wal_append_own(struct wal *w, uint64_t term, uint8_t type, const void *payload,
    uint32_t payload_len)
{
	record_append(w, term, type, 0, 0, payload, payload_len);
	w->parts_open = false;
}

void
wal_publish_appended(struct wal *w)
{
	struct positions *pos = w->r->pos;

	/* In front of them: what is durable is never ahead of `appended`. */
	ASSERT(w->durable <= w->log.end.vlsn);
	ASSERT(w->urgent <= w->log.end.vlsn);
	ASSERT(w->group_waits <= w->log.end.vlsn);
	/* Before `appended`: who sees a record there sees what it asks for. */
	if (w->urgent != 0)
		position_set(&pos->urgent, w->urgent);
	if (w->group_waits != 0)
		position_set(&pos->group_waits, w->group_waits);
	w->urgent = w->group_waits = 0;
	(void)append_publish(&w->log, pos);
}

/* Positions of the new epoch, and the new term's first record. */
static void
role_publish(struct wal *w)
{
	struct region *r = w->r;

	ASSERT(w->term_start <= w->log.end.vlsn);
	ASSERT(w->durable <= w->log.end.vlsn);
	/*
	 * As master only: a node that was stands in an epoch whose view still
	 * tells the term before, and wins the next one in that epoch.
	 */
	if (w->view.role == ROLE_MASTER && w->own_term == w->view.term)
		position_set(&r->pos->term_start,
		    epoch_word(w->view.epoch, w->term_start));
	if (w->view.self < MEMBER_MAX)
		atomic_store_explicit(&r->commit->member[w->view.self].durable,
		    epoch_word(w->view.epoch, w->durable),
		    memory_order_release);
	if (commit_advance(r))
		wal_bells_committed(w);
}

static bool
role_begins_term(struct wal *w)
{
	const struct commit_view *v = &w->view;

	if (v->role != ROLE_MASTER || v->readonly != 0 ||
	    v->term == w->own_term || w->stopping || wal_fenced(w))
		return false;
	if (v->term > w->boot_term && v->term >= w->log.end.term)
		return true;
	if (!w->told)
		say_errorx("term %ju: not begun: the log has term %ju already",
		    (uintmax_t)v->term, (uintmax_t)w->log.end.term);
	w->told = true;
	return false;
}

static bool
term_room(struct wal *w)
{
	if (wal_room_own(w, record_len(0)))
		return true;
	w->own_room = w->need_room;
	return false;
}

void
wal_role_turn(struct wal *w)
{
	uint16_t epoch = w->view.epoch;
	uint64_t own = w->own_term;

	/* pending() compares: what changes from here on is seen there. */
	w->view_seq =
	    atomic_load_explicit(&w->r->commit->seq, memory_order_acquire);
	commit_view_read(w->r->commit, &w->view);
	w->own_room = w->need_room = 0;
	if (role_begins_term(w) && term_room(w)) {
		/* A payload in parts cannot go on behind another record. */
		if (w->parts_client >= 0)
			w->client[w->parts_client].parts_refused = RET_READONLY;
		w->own_term = w->view.term;
		wal_append_own(w, w->own_term, REC_TERM, NULL, 0);
		w->term_start = w->log.end.vlsn;
		ASSERT(w->own_term > w->boot_term);
		ASSERT(w->own_term == w->log.end.term);
		wal_term_begins(w, w->own_term, w->term_start);
		w->told = false;
		wal_publish_appended(w);
		say_info("term %ju begins with record %ju",
		    (uintmax_t)w->own_term, (uintmax_t)w->term_start);
	}
	if (w->view.epoch != epoch || w->own_term != own)
		role_publish(w);
}

/*
 * No role to append by. Who sent the request may have seen a newer view than
 * this turn goes by: then the next turn, which pending() begins, shall tell.
 */
static unsigned
refusal_by_role(const struct wal *w)
{
	return atomic_load_explicit(&w->r->commit->seq, memory_order_acquire) !=
		       w->view_seq
		   ? DRAIN_LATER
		   : RET_READONLY;
}

/*
 * Why nothing may be appended for this request; RET_OK if it may; DRAIN_LATER
 * if that is not known before the term's first record is in, or the newest
 * view.
 */
static unsigned
refusal(struct wal *w, const struct wal_req *req)
{
	if (w->view.role != ROLE_MASTER || w->view.readonly != 0 ||
	    w->phase == WAL_IDLE)
		return refusal_by_role(w);
	/* What it asks in an epoch that is over would hold up its next fence.
	 */
	if (wal_fenced(w))
		return req->type == REC_MEMBER ? RET_READONLY : DRAIN_LATER;
	if (w->phase == WAL_FAILED)
		return RET_LOG_FAILED;
	if (w->stopping)
		return RET_STOPPING;
	if (w->away.away)
		return RET_AWAY;
	if (w->own_term != w->view.term)
		return role_begins_term(w) ? DRAIN_LATER : refusal_by_role(w);
	/* What a full log has left is the group's. */
	if (req->type != REC_MEMBER && wal_keeper_full(w))
		return wal_is_nospace(-w->keeper.error) ? RET_LOG_FULL
							: RET_NO_SEGMENT;
	return RET_OK;
}

static bool
request_ok(const struct wal *w, unsigned client, const struct wal_req *req)
{
	uint32_t asks = 0;

	(void)w;
	if (req->type == REQ_CUT)
		asks = sizeof(struct cut_req);
	else if (req->type == REQ_FENCE)
		asks = sizeof(struct fence_req);
	else if (req->type == REQ_CHAIN)
		asks = sizeof(struct chain_req);
	if (asks != 0)
		return client == CLIENT_GROUP && req->flags == 0 &&
		       req->zero == 0 && req->len == sizeof(*req) + asks;
	if (req->len < sizeof(*req) || req->len > sizeof(*req) + REQ_PART_MAX)
		return false;
	if ((req->flags & ~(REQ_MORE | REQ_WANT_RESULT)) != 0 || req->zero != 0)
		return false;
	return req->type == REC_OP || req->type == REC_MULTI ||
	       (req->type == REC_MEMBER && client == CLIENT_GROUP);
}

/* Nothing more of this payload goes to the log. */
static void
parts_abandon(struct wal *w, const struct wal_client *c)
{
	w->parts_open |= c->parts && c->parts_refused == RET_OK;
}

/*
 * The ring says what cannot be: its producer is broken. What it left is
 * dropped and the process killed; its restart begins with an empty ring.
 */
static void
client_broken(struct wal *w, unsigned client)
{
	struct wal_client *c = &w->client[client];
	unsigned slot = slot_of_client(client);
	pid_t pid = atomic_load_explicit(
	    &w->r->slots->row[slot].pid, memory_order_relaxed);

	event_add(w->r, SLOT_WAL, EVENT_ERROR,
	    "%s: bad request in its ring, process %d is killed",
	    slot_name(slot), (int)pid);
	bytering_drop(&c->request);
	wal_publish_appended(w);
	bytering_consume(&c->request);
	parts_abandon(w, c);
	c->parts = false;
	if (w->parts_client == (int)client)
		w->parts_client = -1;
	if (pid > 1)
		kill(pid, SIGKILL);
}

/*
 * The ret entry that tells of this request: the run goes on, or a new one.
 * term and vlsn are 0 of what is refused, term also of a cut.
 */
static bool
ret_entry(struct wal_client *c, const struct wal_req *req, unsigned status,
    uint64_t term, uint64_t vlsn)
{
	struct wal_ret *run = c->run;

	if (run != NULL && run->status == status && run->term == term &&
	    run->incarnation == req->incarnation &&
	    run->seq + run->count == req->seq &&
	    (status != RET_OK || run->vlsn + run->count == vlsn)) {
		run->count++;
		return true;
	}
	run = bytering_reserve(&c->ret, sizeof(*run));
	if (run == NULL)
		return false;
	run->seq = req->seq;
	run->count = 1;
	run->incarnation = req->incarnation;
	run->vlsn = vlsn;
	run->term = term;
	run->status = status;
	run->zero = 0;
	c->run = run;
	return true;
}

/*
 * Parts whose end will not come are closed by an operation that does nothing:
 * while they are the newest in the log store makes no checkpoint, and would
 * take the next ones from the same client for theirs. False: no room now.
 */
static bool
parts_close(struct wal *w)
{
	static const struct op_arg key = { NULL, 0 };
	uint8_t payload[OP_HEADER_SIZE + 4];

	/* Another term's first record does the same. */
	if (!w->parts_open || w->view.role != ROLE_MASTER ||
	    w->view.readonly != 0 || w->stopping || wal_fenced(w) ||
	    w->own_term != w->view.term)
		return true;
	if (!wal_room_own(w, record_len(sizeof(payload))))
		return false;
	op_encode(payload, OP_EXPIRED, 0, 0, 1, &key);
	record_append(
	    w, w->log.end.term, REC_OP, 0, 0, payload, sizeof(payload));
	w->parts_open = false;
	return true;
}

/* Follow a payload in parts from its first entry to its last. */
static void
parts_step(
    struct wal *w, unsigned client, const struct wal_req *req, unsigned status)
{
	struct wal_client *c = &w->client[client];
	bool more = (req->flags & REQ_MORE) != 0;

	if (!c->parts && !more)
		return;
	if (!c->parts) {
		c->parts_refused = RET_OK;
		c->parts_incarnation = req->incarnation;
	}
	if (status != RET_OK) {
		parts_abandon(w, c);
		c->parts_refused = (uint8_t)status;
	}
	c->parts = more;
	w->parts_client = more ? (int)client : -1;
}

/* Append one request. False: it stays in the ring. */
static bool
request_append(struct wal *w, unsigned client, const struct wal_req *req,
    const uint8_t *payload)
{
	uint32_t n = req->len - (uint32_t)sizeof(*req);
	struct wal_client *c = &w->client[client];
	bool more = (req->flags & REQ_MORE) != 0;
	uint8_t flags = c->parts && !more ? REC_HAS_PARTS : 0;

	/* Nothing of a client but as master, behind the term's first record. */
	ASSERT(w->view.role == ROLE_MASTER);
	ASSERT(w->own_term == w->view.term);
	ASSERT(w->own_term == w->log.end.term);
	if (more && !c->parts && !parts_close(w))
		return false;
	if (!wal_room(w, record_len(n)))
		return false;
	if (!more &&
	    !ret_entry(c, req, RET_OK, w->log.end.term, w->log.end.vlsn + 1)) {
		c->stuck = true;
		wal_busy(w, BUSY_RETURN);
		return false;
	}
	if ((req->flags & REQ_WANT_RESULT) != 0 && !more)
		flags |= REC_WANT_RESULT;
	record_append(w, w->log.end.term, more ? REC_PART : req->type, flags,
	    record_origin(slot_of_client(client), req->incarnation, req->seq),
	    payload, n);
	/* What is whole, or another payload, closes them as well. */
	w->parts_open = false;
	return true;
}

static bool
request_refuse(
    struct wal *w, unsigned client, const struct wal_req *req, unsigned status)
{
	struct wal_client *c = &w->client[client];

	if ((req->flags & REQ_MORE) != 0)
		return true;
	if (!ret_entry(c, req, status, 0, 0)) {
		c->stuck = true;
		wal_busy(w, BUSY_RETURN);
		return false;
	}
	c->refused = true;
	if (status == RET_LOG_FULL || status == RET_NO_SEGMENT)
		wal_full_tell(w, true);
	wal_count(w, C_WAL_REFUSED, 1);
	return true;
}

/* A cut: it stays in the ring until it is answered. */
static bool
drain_cut(struct wal *w, const struct wal_req *req, const uint8_t *payload)
{
	struct wal_client *c = &w->client[CLIENT_GROUP];
	struct cut_req cut;
	unsigned status;

	memcpy(&cut, payload, sizeof(cut));
	status = wal_cut_request(w, &cut);
	if (status == WAL_CUT_LATER)
		return false;
	if (!ret_entry(c, req, status, 0, status == RET_OK ? cut.vlsn : 0)) {
		c->stuck = true;
		wal_busy(w, BUSY_RETURN);
		return false;
	}
	w->cut.step = CUT_NONE;
	c->refused = true; /* it waits for nothing else */
	bytering_advance(&c->request, req->len);
	return true;
}

/* Room for an answer that is no struct wal_ret. NULL: there is none now. */
static void *
answer_entry(struct wal *w, uint32_t len)
{
	struct wal_client *c = &w->client[CLIENT_GROUP];
	void *at = bytering_reserve(&c->ret, len);

	c->run = NULL;
	c->pushed = true;
	c->refused = true; /* it waits for nothing else */
	if (at == NULL) {
		c->stuck = true;
		wal_busy(w, BUSY_RETURN);
	}
	return at;
}

static bool
drain_fence(struct wal *w, const struct wal_req *req, const uint8_t *payload)
{
	struct wal_client *c = &w->client[CLIENT_GROUP];
	struct fence_ret *ret = answer_entry(w, sizeof(*ret));
	struct fence_req fence;

	if (ret == NULL)
		return false;
	memcpy(&fence, payload, sizeof(fence));
	ret->seq = req->seq;
	wal_ask_fence(w, &fence, ret);
	bytering_publish(&c->ret);
	bytering_advance(&c->request, req->len);
	return true;
}

static bool
drain_chain(struct wal *w, const struct wal_req *req, const uint8_t *payload)
{
	struct wal_client *c = &w->client[CLIENT_GROUP];
	struct chain_ret *ret = answer_entry(w, sizeof(*ret));
	struct chain_req chain;

	if (ret == NULL)
		return false;
	memcpy(&chain, payload, sizeof(chain));
	ret->seq = req->seq;
	wal_ask_chain(w, &chain, ret);
	bytering_publish(&c->ret);
	bytering_advance(&c->request, req->len);
	return true;
}

/* One entry of a client's ring. False: nothing more can be taken. */
static bool
drain_one(struct wal *w, unsigned client)
{
	struct wal_client *c = &w->client[client];
	const uint8_t *entry;
	unsigned status;
	struct wal_req req;
	uint32_t len;
	bool taken;

	entry = bytering_peek(&c->request, &len);
	if (entry == NULL) {
		if (len == UINT32_MAX)
			client_broken(w, client);
		return false;
	}
	/* A copy: the producer can still write there. */
	if (len >= sizeof(req))
		memcpy(&req, entry, sizeof(req));
	if (len < sizeof(req) || req.len != len ||
	    !request_ok(w, client, &req)) {
		client_broken(w, client);
		return false;
	}
	if (req.type == REQ_CUT)
		return drain_cut(w, &req, entry + sizeof(req));
	if (req.type == REQ_FENCE)
		return drain_fence(w, &req, entry + sizeof(req));
	if (req.type == REQ_CHAIN)
		return drain_chain(w, &req, entry + sizeof(req));
	/* A new incarnation: nothing follows the parts of the one before. */
	if (c->parts && req.incarnation != c->parts_incarnation) {
		parts_abandon(w, c);
		c->parts = false;
		w->parts_client = -1;
	}
	status = refusal(w, &req);
	if (status == DRAIN_LATER)
		return false;
	if (status == RET_OK && c->parts && c->parts_refused != RET_OK)
		status = c->parts_refused;
	taken = status == RET_OK
		    ? request_append(w, client, &req, entry + sizeof(req))
		    : request_refuse(w, client, &req, status);
	if (!taken)
		return false;
	parts_step(w, client, &req, status);
	bytering_advance(&c->request, len);
	return true;
}

/* Up to DRAIN_STEP requests of one client; how many were taken. */
static unsigned
drain_client(struct wal *w, unsigned client)
{
	struct wal_client *c = &w->client[client];
	unsigned n = 0;

	c->stuck = false;
	while (n < DRAIN_STEP && drain_one(w, client))
		n++;
	if (c->run != NULL) {
		c->run = NULL;
		c->pushed = true;
		bytering_publish(&c->ret);
	}
	return n;
}

/*
 * The producer gets its room back once what was taken is seen as appended: who
 * finds an empty ring knows by that how far its requests reach, whoever made
 * them (gateway/exec/reach.c).
 */
static void
give_back(struct wal *w, unsigned client)
{
	struct wal_client *c = &w->client[client];
	unsigned slot = slot_of_client(client);

	if (!bytering_consume(&c->request))
		return;
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&w->r->slots->row[slot].busy_with,
		memory_order_relaxed) == BUSY_REQUEST)
		bell_ring(w->loop.bells, slot);
}

/* Is whoever sends parts still there to send the rest? */
static void
parts_check(struct wal *w)
{
	struct wal_client *c;
	struct slot_row *row;
	uint32_t state;

	if (w->parts_client < 0)
		return;
	c = &w->client[w->parts_client];
	row = &w->r->slots->row[slot_of_client((unsigned)w->parts_client)];
	state = atomic_load_explicit(&row->state, memory_order_acquire);
	if (atomic_load_explicit(&row->incarnation, memory_order_acquire) ==
		c->parts_incarnation &&
	    state != SLOT_EXITED && state != SLOT_BACKOFF &&
	    state != SLOT_EMPTY)
		return;
	/* Its last entries count still, if they complete the request. */
	if (bytering_ready(&c->request))
		return;
	parts_abandon(w, c);
	c->parts = false;
	w->parts_client = -1;
}

/* Does group ask for something that is no record? */
static bool
group_asks(struct wal *w)
{
	const uint8_t *entry;
	struct wal_req req;
	uint32_t len;

	entry = bytering_peek(&w->client[CLIENT_GROUP].request, &len);
	if (entry == NULL || len < sizeof(req))
		return false;
	memcpy(&req, entry, sizeof(req));
	return req.type >= REQ_CUT;
}

/* Does another one's payload in parts come first? */
static bool
parts_first(struct wal *w, unsigned client)
{
	if (w->parts_client < 0 || w->parts_client == (int)client)
		return false;
	/* Nor before anything of group's where nothing is appended. */
	return client != CLIENT_GROUP ||
	       (w->view.role == ROLE_MASTER && !group_asks(w));
}

void
wal_drain(struct wal *w)
{
	unsigned i, n, taken, rounds = 0;

	w->need_room = 0;
	/* Who gives room sees that it is waited for, as long as it is. */
	wal_busy(w, w->own_room != 0 ? BUSY_BUFFER : BUSY_NOT);
	parts_check(w);
	do {
		taken = 0;
		for (i = 0; i < w->clients; i++) {
			n = (w->turn_client + i) % w->clients;
			if (!parts_first(w, n))
				taken += drain_client(w, n);
		}
		w->turn_client = (w->turn_client + 1) % w->clients;
		wal_publish_appended(w);
		for (i = 0; i < w->clients; i++)
			give_back(w, i);
	} while (taken != 0 && !w->log.batch.full && ++rounds < DRAIN_ROUNDS);
	if (taken != 0 && !w->log.batch.full)
		w->loop.unready = true;
	(void)parts_close(w);
	wal_publish_appended(w);
	wal_bells_returned(w);
}

/* Could the request at the head of this ring be taken now? */
static bool
client_ready(struct wal *w, unsigned i)
{
	struct wal_client *c = &w->client[i];

	if (parts_first(w, i))
		return false;
	if (i == CLIENT_GROUP && wal_cutting(w))
		return false; /* its head asks for that cut */
	/* The next view tells what becomes of it. */
	if (i != CLIENT_GROUP && w->view.role == ROLE_MASTER && wal_fenced(w))
		return false;
	if (!bytering_ready(&c->request))
		return false;
	return !c->stuck || bytering_roomy(&c->ret);
}

bool
wal_drain_ready(struct wal *w)
{
	unsigned i;

	if (w->phase != WAL_IDLE && w->phase != WAL_APPENDING &&
	    w->phase != WAL_FAILED && w->view.role == ROLE_MASTER &&
	    !w->stopping && !wal_keeper_full(w))
		return false;
	if (w->log.batch.full && w->view.role == ROLE_MASTER)
		return false;
	if (w->need_room != 0 && wal_buffer_room(w) < w->need_room)
		return false;
	for (i = 0; i < w->clients; i++)
		if (client_ready(w, i))
			return true;
	return false;
}
