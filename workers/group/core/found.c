/*
 * The machine of founding; its rules are in found.h.
 */
#include "workers/group/core/found.h"

#include <string.h>

#include "shm/assert.h"

static uint16_t
bit(unsigned peer)
{
	return (uint16_t)(1u << peer);
}

static uint16_t
all(const struct found *f)
{
	return (uint16_t)((1u << f->self->count) - 1);
}

static uint16_t
up(const struct found *f)
{
	uint16_t mask = 0;

	for (unsigned i = 0; i < f->self->count; i++)
		if (f->peer[i].up)
			mask |= bit(i);
	return mask;
}

static bool
uuid_equal(const uint8_t a[MSG_UUID], const uint8_t b[MSG_UUID])
{
	return memcmp(a, b, MSG_UUID) == 0;
}

static bool
is_none(const uint8_t uuid[MSG_UUID])
{
	static const uint8_t none[MSG_UUID];

	return uuid_equal(uuid, none);
}

static const uint8_t *
note_uuid(const struct found *f)
{
	return f->note.members.group_uuid;
}

bool
found_is_own(const struct found *f)
{
	return f->has_note && f->note.initiator == f->self->row.incarnation;
}

/* Index of the peer that a member of the note is, by its name; -1. */
static int
peer_of(const struct found *f, const struct member *m)
{
	for (unsigned i = 0; i < f->self->count; i++)
		if (strcmp(f->self->peer[i].name, m->name) == 0)
			return (int)i;
	return -1;
}

int
found_initiator(const struct found *f)
{
	int i;

	if (!f->has_note || found_is_own(f))
		return -1;
	i = member_find(&f->note.members, f->note.initiator);
	return i < 0 ? -1 : peer_of(f, &f->note.members.member[i]);
}

/* The incarnation that the note has for that peer; 0: none. */
static uint64_t
noted_incarnation(const struct found *f, unsigned peer)
{
	const struct membership *m = &f->note.members;

	for (uint32_t i = 0; i < m->count; i++)
		if (strcmp(m->member[i].name, f->self->peer[peer].name) == 0)
			return m->member[i].incarnation;
	return 0;
}

void
found_init(
    struct found *f, const struct found_self *self, const struct note *note)
{
	ASSERT(self->count >= 1 && self->count <= FOUND_PEERS_MAX);
	memset(f, 0, sizeof(*f));
	f->self = self;
	f->deadline_ns = FOUND_NEVER;
	f->reply_to = -1;
	if (note == NULL)
		return;
	f->has_note = true;
	f->note = *note;
}

void
found_facts(const struct found *f, struct msg_proof *out)
{
	memset(out->uuid, 0, sizeof(out->uuid));
	out->generation = 0;
	out->standing = STANDING_UNJOINED;
	if (!f->has_note)
		return;
	memcpy(out->uuid, note_uuid(f), sizeof(out->uuid));
	out->generation = f->joined ? f->note.members.generation : 0;
	out->standing = f->joined ? STANDING_JOINED : STANDING_NOTED;
}

/* ---- what is to be done ---- */

static struct found_send *
send_to(struct found_todo *out, uint16_t to, unsigned type)
{
	struct found_send *s = &out->send[out->sends];

	ASSERT(out->sends < FOUND_SENDS_MAX);
	memset(s, 0, sizeof(*s));
	s->to = to;
	s->type = type;
	if (to != 0)
		out->sends++;
	return s;
}

static void
send_found(const struct found *f, struct found_todo *out, uint16_t to)
{
	struct found_send *s = send_to(out, to, MSG_FOUND);

	memcpy(s->found.uuid, note_uuid(f), MSG_UUID);
	s->found.generation = f->note.members.generation;
	s->found.crc = note_crc(&f->note);
}

static void
send_abandon(const uint8_t *uuid, struct found_todo *out, uint16_t to)
{
	memcpy(send_to(out, to, MSG_ABANDON)->abandon.uuid, uuid, MSG_UUID);
}

static void
answer_found(struct found_todo *out, unsigned type, unsigned peer,
    const uint8_t *uuid, enum found_verdict verdict)
{
	struct found_send *s = send_to(out, bit(peer), type);

	memcpy(s->found_answer.uuid, uuid, MSG_UUID);
	s->found_answer.verdict = verdict;
}

static void
answer_note(const struct found *f, struct found_todo *out, unsigned peer,
    enum note_verdict verdict)
{
	struct found_send *s = send_to(out, bit(peer), MSG_NOTE_ANSWER);

	s->note_answer.verdict = verdict;
	if (!f->has_note)
		return;
	memcpy(s->note_answer.uuid, note_uuid(f), MSG_UUID);
	s->note_answer.initiator = f->note.initiator;
}

static void
store(struct found *f, struct found_todo *out, enum found_store what)
{
	ASSERT(f->storing == FOUND_STORE_NOTHING);
	f->storing = out->store = what;
}

static void
go(struct found *f, enum found_state state, uint64_t deadline_ns)
{
	f->state = state;
	f->deadline_ns = deadline_ns;
}

/* It is over, this way or that; who asked is told. */
static void
finish(struct found *f, struct found_todo *out, enum found_result result,
    uint16_t who)
{
	go(f, FOUND_AT_REST, FOUND_NEVER);
	f->who = who;
	if (f->asked)
		out->result = result;
	f->asked = false;
	out->news = true;
}

/* What was begun will never be: that is made true on disk, then told. */
static void
undo(struct found *f, struct found_todo *out, enum found_result because,
    uint16_t who)
{
	ASSERT(!f->joined);
	f->because = because;
	f->who = who;
	if (!found_is_own(f)) {
		finish(f, out, because, who);
		return;
	}
	go(f, FOUND_CLEARING, FOUND_NEVER);
	store(f, out, FOUND_STORE_CLEAR);
}

/* ---- the initiator ---- */

static void
ask_all(struct found *f, struct found_todo *out, uint64_t now_ns)
{
	unsigned i;

	for (i = 0; i < f->self->count; i++)
		f->peer[i].answered = false;
	send_to(out, all(f), MSG_CANDIDATE)->candidate.count =
	    (uint16_t)(f->self->count + 1);
	go(f, FOUND_ASKING, now_ns + FOUND_ASK_NS);
}

static void
tell_all(struct found *f, struct found_todo *out, uint64_t now_ns)
{
	unsigned i;

	for (i = 0; i < f->self->count; i++)
		f->peer[i].taken = false;
	(void)send_to(out, up(f), MSG_NOTE);
	go(f, FOUND_TELLING, now_ns + FOUND_ASK_NS);
}

/*
 * May it be a member of what is founded here? Else the result that it makes.
 * What it has noted it says when it is asked: a handshake tells what was.
 */
static enum found_result
unfit(const struct found *f, unsigned peer)
{
	const struct found_peer *p = &f->peer[peer];

	if (p->standing == STANDING_JOINED || p->standing == STANDING_LOST)
		return FOUND_RESULT_MEMBER;
	if (f->has_note && noted_incarnation(f, peer) != p->incarnation)
		return FOUND_RESULT_ANEW;
	return FOUND_NO_RESULT;
}

/* All are connected: on to the next step. */
static void
reached(struct found *f, struct found_todo *out, uint64_t now_ns)
{
	enum found_result bad;
	unsigned i;

	if (f->state != FOUND_REACHING || up(f) != all(f))
		return;
	for (i = 0; i < f->self->count; i++)
		if ((bad = unfit(f, i)) != FOUND_NO_RESULT) {
			/* A note of before stays: it may be resumed. */
			finish(f, out, bad, bit(i));
			return;
		}
	if (!f->has_note) {
		ask_all(f, out, now_ns);
		return;
	}
	/* Resumed: what was read of it may never have reached the disk. */
	go(f, FOUND_NOTING, FOUND_NEVER);
	f->reply_to = -1;
	store(f, out, FOUND_STORE_NOTE);
}

static void
copy_text(char *to, size_t size, const char *from)
{
	size_t n = 0;

	while (n < size - 1 && from[n] != '\0')
		n++;
	memcpy(to, from, n);
	memset(to + n, 0, size - n);
}

static void
member_of(const struct found *f, unsigned peer, struct member *out)
{
	const struct msg_candidate_answer *row = &f->peer[peer].row;

	memset(out, 0, sizeof(*out));
	out->incarnation = row->incarnation;
	out->priority = row->priority;
	out->type = row->type;
	out->read_capacity = row->read_capacity;
	out->write_capacity = row->write_capacity;
	out->latency_ms = row->latency_ms;
	copy_text(out->name, sizeof(out->name), f->self->peer[peer].name);
	copy_text(out->region, sizeof(out->region), row->region);
	copy_text(out->peer, sizeof(out->peer), f->self->peer[peer].address);
	copy_text(out->client, sizeof(out->client), row->client);
}

/* Its own address is what the others call it; the first of them counts. */
static void
membership_make(const struct found *f, struct membership *m)
{
	unsigned i;

	memset(m, 0, sizeof(*m));
	memcpy(m->group_uuid, f->uuid, sizeof(m->group_uuid));
	m->generation = 1;
	m->policy = QUORUM_MAJORITY;
	m->lease_ms = f->self->lease_ms;
	m->count = f->self->count + 1;
	m->member[0] = f->self->row;
	if (f->peer[0].row.calls[0] != '\0')
		copy_text(m->member[0].peer, sizeof(m->member[0].peer),
		    f->peer[0].row.calls);
	for (i = 0; i < f->self->count; i++)
		member_of(f, i, &m->member[i + 1]);
}

static void
on_candidate_answer(struct found *f, unsigned peer,
    const struct msg_candidate_answer *m, struct found_todo *out)
{
	struct found_peer *p = &f->peer[peer];
	unsigned i;

	if (f->state != FOUND_ASKING || m->incarnation != p->incarnation)
		return;
	if (!is_none(m->uuid)) {
		finish(f, out, FOUND_RESULT_NOTED, bit(peer));
		return;
	}
	if (m->count != f->self->count + 1) {
		f->count = m->count;
		finish(f, out, FOUND_RESULT_COUNT, bit(peer));
		return;
	}
	p->answered = true;
	p->row = *m;
	for (i = 0; i < f->self->count; i++)
		if (!f->peer[i].answered)
			return;
	membership_make(f, &f->note.members);
	if ((f->why = member_check(&f->note.members)) != NULL) {
		finish(f, out, FOUND_RESULT_UNFIT, 0);
		return;
	}
	f->note.initiator = f->self->row.incarnation;
	go(f, FOUND_NOTING, FOUND_NEVER);
	f->reply_to = -1;
	store(f, out, FOUND_STORE_NOTE);
}

static void
on_note_answer(struct found *f, unsigned peer, const struct msg_note_answer *m,
    struct found_todo *out)
{
	unsigned i;

	if (f->state != FOUND_TELLING)
		return;
	if (m->verdict != NOTE_TAKEN || !uuid_equal(m->uuid, note_uuid(f))) {
		f->verdict = m->verdict;
		undo(f, out, FOUND_RESULT_REFUSED, bit(peer));
		return;
	}
	f->peer[peer].taken = true;
	for (i = 0; i < f->self->count; i++)
		if (!f->peer[i].taken || !f->peer[i].up)
			return;
	go(f, FOUND_JOINING, FOUND_NEVER);
	store(f, out, FOUND_STORE_NODE);
}

static void
all_joined(struct found *f, struct found_todo *out, bool time_is_up)
{
	uint16_t missing = 0;
	unsigned i;

	for (i = 0; i < f->self->count; i++)
		if (!f->peer[i].joined)
			missing |= bit(i);
	if (missing != 0 && !time_is_up)
		return;
	finish(f, out, FOUND_RESULT_DONE, missing);
	go(f, FOUND_OVER, FOUND_NEVER);
	out->restart = true;
}

static void
on_found_answer(struct found *f, unsigned peer,
    const struct msg_found_answer *m, struct found_todo *out)
{
	if (f->state != FOUND_FINISHING || !uuid_equal(m->uuid, note_uuid(f)))
		return;
	if (m->verdict == FOUND_DONE) {
		f->peer[peer].joined = true;
		all_joined(f, out, false);
	} else if (m->verdict == FOUND_NO_NOTE &&
		   noted_incarnation(f, peer) == f->peer[peer].incarnation) {
		(void)send_to(out, bit(peer), MSG_NOTE);
		send_found(f, out, bit(peer));
	}
}

/* ---- a member ---- */

static void
on_candidate(struct found *f, unsigned peer, struct found_todo *out)
{
	struct msg_candidate_answer *m =
	    &send_to(out, bit(peer), MSG_CANDIDATE_ANSWER)->candidate_answer;
	const struct member *row = &f->self->row;

	if (f->has_note)
		memcpy(m->uuid, note_uuid(f), sizeof(m->uuid));
	m->incarnation = row->incarnation;
	m->priority = row->priority;
	m->latency_ms = row->latency_ms;
	m->read_capacity = row->read_capacity;
	m->write_capacity = row->write_capacity;
	m->count = (uint16_t)(f->self->count + 1);
	m->type = row->type;
	copy_text(m->region, sizeof(m->region), row->region);
	copy_text(m->calls, sizeof(m->calls), f->self->peer[peer].address);
	copy_text(m->client, sizeof(m->client), row->client);
}

/* Whose word on that group counts: who founds it, and who is of it. */
static bool
may_tell(const struct found *f, unsigned peer, const struct note *note)
{
	const struct found_peer *p = &f->peer[peer];

	return p->incarnation == note->initiator ||
	       (p->standing == STANDING_JOINED &&
		   uuid_equal(p->uuid, note->members.group_uuid) &&
		   member_find(&note->members, p->incarnation) >= 0);
}

/* Is this node in it, as it is? */
static bool
names_self(const struct found *f, const struct membership *m)
{
	int i = member_find(m, f->self->row.incarnation);

	return i >= 0 && strcmp(m->member[i].name, f->self->row.name) == 0;
}

static void
on_note(struct found *f, unsigned peer, const struct msg_note *m,
    struct found_todo *out)
{
	struct note note;

	if (member_decode(m->record, m->record_len, 0, &note.members) != 0 ||
	    !uuid_equal(note.members.group_uuid, m->uuid) ||
	    member_find(&note.members, m->initiator) < 0) {
		answer_note(f, out, peer, NOTE_FAILED);
		return;
	}
	note.initiator = m->initiator;
	if (!may_tell(f, peer, &note) || !names_self(f, &note.members)) {
		answer_note(f, out, peer, NOTE_NOT_NAMED);
		return;
	}
	if (f->has_note) {
		bool same = uuid_equal(m->uuid, note_uuid(f)) &&
			    note_crc(&note) == note_crc(&f->note);

		if (same && !f->joined && !f->note_sure) {
			f->reply_to = (int)peer;
			store(f, out, FOUND_STORE_NOTE);
			return;
		}
		answer_note(f, out, peer,
		    f->joined ? NOTE_JOINED
		    : same    ? NOTE_TAKEN
			      : NOTE_OTHER);
		return;
	}
	/* What is begun here, and not noted, gives way. */
	if (f->state != FOUND_AT_REST)
		finish(f, out, FOUND_RESULT_YIELDED, bit(peer));
	f->note = note;
	f->reply_to = (int)peer;
	store(f, out, FOUND_STORE_NOTE);
}

/* Never without the note, which is all that tells the next boot who is in it.
 */
static void
join(struct found *f, struct found_todo *out)
{
	store(f, out, f->note_sure ? FOUND_STORE_NODE : FOUND_STORE_NOTE);
}

static void
on_found(struct found *f, unsigned peer, const struct msg_found *m,
    struct found_todo *out)
{
	if (!f->has_note || !uuid_equal(m->uuid, note_uuid(f))) {
		answer_found(out, MSG_FOUND_ANSWER, peer, m->uuid,
		    f->joined ? FOUND_OTHER : FOUND_NO_NOTE);
		return;
	}
	if (f->joined) {
		answer_found(out, MSG_FOUND_ANSWER, peer, m->uuid, FOUND_DONE);
		return;
	}
	if (!may_tell(f, peer, &f->note) || m->crc != note_crc(&f->note) ||
	    found_is_own(f)) {
		answer_found(
		    out, MSG_FOUND_ANSWER, peer, m->uuid, FOUND_FAILED);
		return;
	}
	f->founded = true;
	f->reply_to = (int)peer;
	join(f, out);
}

/* ---- giving up ---- */

/*
 * Is it gone for good, with its note? Another directory has its name, and
 * nobody else of the note is of that group.
 */
static bool
initiator_is_gone(const struct found *f, unsigned who)
{
	unsigned i;

	if (up(f) != all(f) || f->peer[who].incarnation == f->note.initiator)
		return false;
	for (i = 0; i < f->self->count; i++)
		if (f->peer[i].standing == STANDING_JOINED ||
		    f->peer[i].standing == STANDING_LOST)
			return false;
	return true;
}

/* It shows itself, of no group and without that note: it never will be. */
static bool
initiator_has_none(const struct found *f, unsigned peer)
{
	const struct found_peer *p = &f->peer[peer];

	return p->incarnation == f->note.initiator &&
	       (p->standing == STANDING_UNJOINED ||
		   (p->standing == STANDING_NOTED &&
		       !uuid_equal(p->uuid, note_uuid(f))));
}

static void
clear_for(struct found *f, struct found_todo *out, int reply_to)
{
	f->because = FOUND_RESULT_GIVEN_UP;
	f->reply_to = reply_to;
	store(f, out, FOUND_STORE_CLEAR);
}

/* What can be done for an operator who gives up another's founding. */
static void
give_up_turn(struct found *f, struct found_todo *out)
{
	int who = found_initiator(f);

	if (f->state != FOUND_GIVING_UP || who < 0)
		return;
	if (f->peer[who].up && f->peer[who].incarnation == f->note.initiator)
		send_abandon(note_uuid(f), out, bit((unsigned)who));
	else if (initiator_is_gone(f, (unsigned)who))
		clear_for(f, out, -1);
}

static void
on_abandon(struct found *f, unsigned peer, const struct msg_abandon *m,
    struct found_todo *out)
{
	bool held = f->has_note && uuid_equal(m->uuid, note_uuid(f));

	if (!held || f->joined || f->founded) {
		answer_found(out, MSG_ABANDON_ANSWER, peer, m->uuid,
		    held ? FOUND_DONE : FOUND_ABANDONED);
		return;
	}
	f->reply_to = (int)peer;
	if (found_is_own(f))
		undo(f, out, FOUND_RESULT_STOPPED, bit(peer));
	else if (f->peer[peer].incarnation == f->note.initiator)
		clear_for(f, out, (int)peer);
	else
		answer_found(
		    out, MSG_ABANDON_ANSWER, peer, m->uuid, FOUND_NO_NOTE);
}

static void
on_abandon_answer(struct found *f, unsigned peer,
    const struct msg_found_answer *m, struct found_todo *out)
{
	if (f->state != FOUND_GIVING_UP || !f->has_note ||
	    !uuid_equal(m->uuid, note_uuid(f)) ||
	    f->peer[peer].incarnation != f->note.initiator)
		return;
	if (m->verdict == FOUND_ABANDONED)
		clear_for(f, out, -1);
	else if (m->verdict == FOUND_DONE)
		finish(f, out, FOUND_RESULT_FOUNDED, bit(peer));
}

/* ---- events ---- */

static void
asked_to_found(
    struct found *f, const struct found_event *ev, struct found_todo *out)
{
	int who = found_initiator(f);

	f->asked = true;
	if (f->founded) {
		finish(f, out, FOUND_RESULT_FOUNDED, 0);
		f->deadline_ns = ev->now_ns;
		return;
	}
	if (f->has_note && !found_is_own(f)) {
		finish(f, out, FOUND_RESULT_NOTED_HERE,
		    who >= 0 ? bit((unsigned)who) : 0);
		return;
	}
	memcpy(f->uuid, ev->uuid, sizeof(f->uuid));
	go(f, FOUND_REACHING, ev->now_ns + FOUND_REACH_NS);
	reached(f, out, ev->now_ns);
}

static void
asked_to_give_up(
    struct found *f, const struct found_event *ev, struct found_todo *out)
{
	f->asked = true;
	if (f->founded) {
		finish(f, out, FOUND_RESULT_FOUNDED, 0);
		f->deadline_ns = ev->now_ns;
	} else if (!f->has_note) {
		finish(f, out, FOUND_RESULT_NOTHING, 0);
	} else if (found_is_own(f)) {
		f->reply_to = -1;
		undo(f, out, FOUND_RESULT_GIVEN_UP, 0);
	} else {
		go(f, FOUND_GIVING_UP, ev->now_ns + FOUND_REACH_NS);
		give_up_turn(f, out);
	}
}

static void
on_asked(struct found *f, const struct found_event *ev, struct found_todo *out)
{
	if (f->state == FOUND_FINISHING || f->state == FOUND_OVER) {
		f->asked = true; /* told when it is over */
		if (f->state == FOUND_OVER)
			out->result = FOUND_RESULT_DONE;
	} else if (ev->give_up) {
		asked_to_give_up(f, ev, out);
	} else if (f->state == FOUND_AT_REST) {
		asked_to_found(f, ev, out);
	} else {
		f->asked = true; /* what is under way has a deadline */
	}
}

/* For who has not joined yet, or cannot know that it is to. */
static void
complete(struct found *f, const struct found_event *ev, struct found_todo *out)
{
	struct found_completion c;

	if (ev->facts->standing == STANDING_JOINED) {
		if (!uuid_equal(ev->facts->uuid, note_uuid(f)))
			return;
		f->peer[ev->peer].joined = true;
		all_joined(f, out, false);
		return;
	}
	found_complete(&f->note, ev->facts, &c);
	if (c.note)
		(void)send_to(out, bit(ev->peer), MSG_NOTE);
	if (c.found)
		send_found(f, out, bit(ev->peer));
}

static void
on_up(struct found *f, const struct found_event *ev, struct found_todo *out)
{
	struct found_peer *p = &f->peer[ev->peer];

	memset(p, 0, sizeof(*p));
	p->up = true;
	p->standing = ev->facts->standing;
	memcpy(p->uuid, ev->facts->uuid, sizeof(p->uuid));
	p->incarnation = ev->facts->incarnation;
	if (f->state == FOUND_REACHING) {
		reached(f, out, ev->now_ns);
	} else if (f->state == FOUND_ASKING) {
		/* It went and came: from the beginning, in what time is left.
		 */
		f->state = FOUND_REACHING;
		reached(f, out, ev->now_ns);
	} else if (f->state == FOUND_TELLING) {
		enum found_result bad = unfit(f, ev->peer);

		if (bad != FOUND_NO_RESULT)
			undo(f, out, bad, bit(ev->peer));
		else
			(void)send_to(out, bit(ev->peer), MSG_NOTE);
	} else if (f->state == FOUND_FINISHING) {
		complete(f, ev, out);
	} else if (f->state == FOUND_GIVING_UP) {
		give_up_turn(f, out);
	}
	/* It holds what was given up here: it may not have been told. */
	if (f->storing == FOUND_STORE_NOTHING && f->has_note && !f->joined &&
	    !f->founded && initiator_has_none(f, ev->peer))
		clear_for(f, out, -1);
}

static void
on_down(struct found *f, unsigned peer)
{
	struct found_peer *p = &f->peer[peer];

	p->up = p->taken = p->answered = false;
}

static void
on_tick(struct found *f, struct found_todo *out)
{
	uint16_t missing = 0;
	unsigned i;

	for (i = 0; i < f->self->count; i++)
		if (f->state == FOUND_ASKING    ? !f->peer[i].answered
		    : f->state == FOUND_TELLING ? !f->peer[i].taken
						: !f->peer[i].up)
			missing |= bit(i);
	switch (f->state) {
	case FOUND_REACHING:
		finish(f, out, FOUND_RESULT_UNREACHED, missing);
		return;
	case FOUND_ASKING:
		finish(f, out, FOUND_RESULT_SILENT, missing);
		return;
	case FOUND_TELLING:
		undo(f, out, FOUND_RESULT_SILENT, missing);
		return;
	case FOUND_FINISHING:
		all_joined(f, out, true);
		return;
	case FOUND_GIVING_UP:
		i = (unsigned)found_initiator(f);
		finish(f, out, FOUND_RESULT_NO_WORD,
		    i < FOUND_PEERS_MAX ? bit(i) : 0);
		return;
	case FOUND_AT_REST:
		f->deadline_ns = FOUND_NEVER;
		if (f->founded)
			join(f, out);
		return;
	case FOUND_NOTING:
	case FOUND_JOINING:
	case FOUND_CLEARING:
	case FOUND_OVER:
		return;
	}
}

static void
note_stored(struct found *f, struct found_todo *out, uint64_t now_ns)
{
	f->has_note = f->note_sure = true;
	out->news = true;
	if (f->state == FOUND_NOTING) {
		tell_all(f, out, now_ns);
		return;
	}
	if (f->founded) {
		join(f, out);
		return;
	}
	if (f->reply_to >= 0)
		answer_note(f, out, (unsigned)f->reply_to, NOTE_TAKEN);
}

static void
note_cleared(struct found *f, struct found_todo *out)
{
	bool own = found_is_own(f);
	uint8_t uuid[MSG_UUID];

	memcpy(uuid, note_uuid(f), sizeof(uuid));
	f->has_note = false;
	out->news = true;
	if (f->reply_to >= 0)
		answer_found(out, MSG_ABANDON_ANSWER, (unsigned)f->reply_to,
		    uuid, FOUND_ABANDONED);
	if (own)
		send_abandon(uuid, out,
		    up(f) &
			~(f->reply_to >= 0 ? bit((unsigned)f->reply_to) : 0));
	if (f->state == FOUND_CLEARING || f->state == FOUND_GIVING_UP)
		finish(f, out, f->because, f->who);
}

static void
node_stored(struct found *f, struct found_todo *out, uint64_t now_ns)
{
	bool own = f->state == FOUND_JOINING;

	f->joined = true;
	out->news = true;
	if (own) {
		send_found(f, out, up(f));
		go(f, FOUND_FINISHING, now_ns + FOUND_FINISH_NS);
		return;
	}
	if (f->reply_to >= 0)
		answer_found(out, MSG_FOUND_ANSWER, (unsigned)f->reply_to,
		    note_uuid(f), FOUND_DONE);
	if (f->asked)
		finish(f, out, FOUND_RESULT_FOUNDED, 0);
	go(f, FOUND_OVER, FOUND_NEVER);
	out->restart = true;
}

static void
on_stored(struct found *f, uint64_t now_ns, struct found_todo *out)
{
	enum found_store what = f->storing;

	f->storing = FOUND_STORE_NOTHING;
	switch (what) {
	case FOUND_STORE_NOTE:
		note_stored(f, out, now_ns);
		break;
	case FOUND_STORE_CLEAR:
		note_cleared(f, out);
		break;
	case FOUND_STORE_NODE:
		node_stored(f, out, now_ns);
		break;
	case FOUND_STORE_NOTHING:
		ASSERT(!"something was stored");
	}
	if (f->storing == FOUND_STORE_NOTHING)
		f->reply_to = -1;
}

/* What is on disk then is as it was, or as it was to be: the worse counts. */
static void
on_store_failed(
    struct found *f, int error, uint64_t now_ns, struct found_todo *out)
{
	enum found_store what = f->storing;
	int to = f->reply_to;

	f->storing = FOUND_STORE_NOTHING;
	f->reply_to = -1;
	f->error = error;
	f->note_sure = false;
	if (what == FOUND_STORE_NOTE)
		f->has_note = true;
	if (to >= 0 && what == FOUND_STORE_NOTE && !f->founded)
		answer_note(f, out, (unsigned)to, NOTE_FAILED);
	else if (to >= 0 && f->founded)
		answer_found(out, MSG_FOUND_ANSWER, (unsigned)to, note_uuid(f),
		    FOUND_FAILED);
	else if (to >= 0)
		answer_found(out, MSG_ABANDON_ANSWER, (unsigned)to,
		    note_uuid(f), FOUND_FAILED);
	finish(f, out, FOUND_RESULT_DISK, 0);
	if (f->founded)
		f->deadline_ns = now_ns + FOUND_RETRY_NS;
}

static void
on_message(
    struct found *f, const struct found_event *ev, struct found_todo *out)
{
	const union msg *m = ev->msg;

	if (!f->peer[ev->peer].up)
		return;
	switch (ev->type) {
	case MSG_CANDIDATE:
		on_candidate(f, ev->peer, out);
		break;
	case MSG_CANDIDATE_ANSWER:
		on_candidate_answer(f, ev->peer, &m->candidate_answer, out);
		break;
	case MSG_NOTE:
		on_note(f, ev->peer, &m->note, out);
		break;
	case MSG_NOTE_ANSWER:
		on_note_answer(f, ev->peer, &m->note_answer, out);
		break;
	case MSG_FOUND:
		on_found(f, ev->peer, &m->found, out);
		break;
	case MSG_FOUND_ANSWER:
		on_found_answer(f, ev->peer, &m->found_answer, out);
		break;
	case MSG_ABANDON:
		on_abandon(f, ev->peer, &m->abandon, out);
		break;
	case MSG_ABANDON_ANSWER:
		on_abandon_answer(f, ev->peer, &m->abandon_answer, out);
		break;
	default:
		break; /* of members: it is none */
	}
}

void
found_step(
    struct found *f, const struct found_event *ev, struct found_todo *out)
{
	memset(out, 0, sizeof(*out));
	ASSERT(ev->peer < FOUND_PEERS_MAX);
	ASSERT((f->storing != FOUND_STORE_NOTHING) ==
	       (ev->kind == FOUND_STORED || ev->kind == FOUND_STORE_FAILED));
	switch (ev->kind) {
	case FOUND_ASKED:
		on_asked(f, ev, out);
		return;
	case FOUND_UP:
		on_up(f, ev, out);
		return;
	case FOUND_DOWN:
		on_down(f, ev->peer);
		return;
	case FOUND_MESSAGE:
		on_message(f, ev, out);
		return;
	case FOUND_STORED:
		on_stored(f, ev->now_ns, out);
		return;
	case FOUND_STORE_FAILED:
		on_store_failed(f, ev->error, ev->now_ns, out);
		return;
	case FOUND_TICK:
		if (ev->now_ns >= f->deadline_ns)
			on_tick(f, out);
		return;
	}
	ASSERT(!"an event of the enum");
}
