/*
 * One end of a connection between members: see link_core.h.
 */
#include "ipc/link_core.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "shm/assert.h"
#include "shm/bits.h"

enum { /* bytes of the longest frame of each message */
#define X(number, NAME, name, body, on, from, when, since, min, max)           \
	MOST_##NAME = max,
	MESSAGES(X)
#undef X
};

_Static_assert(MOST_HELLO + MOST_CHALLENGE + MOST_PROOF <= LINK_SAID_MAX,
    "all that is said before the last tag");
_Static_assert(MSG_NONCE + MOST_DATA_HELLO <= LINK_SAID_MAX, "the same");
_Static_assert(
    LINK_SAID_MAX + MOST_DATA_HELLO <= AUTH_SAID_MAX, "and its message");
_Static_assert(LINK_PROOF_TAG + MSG_TAG == MOST_PROOF, "the tag is its end");
_Static_assert(LINK_DATA_TAG + MSG_TAG == MOST_DATA_HELLO, "the same");
_Static_assert(LINK_WELCOME_TAG + MSG_TAG == MOST_DATA_WELCOME, "the same");
/* A step sends one message. */
_Static_assert(MOST_REFUSAL <= LINK_SEND_MAX, "a refusal");
_Static_assert(MOST_HELLO <= LINK_SEND_MAX, "a hello");
_Static_assert(MOST_CHALLENGE <= LINK_SEND_MAX, "a challenge");
_Static_assert(MOST_PROOF <= LINK_SEND_MAX, "a proof");
_Static_assert(MOST_DATA_HELLO <= LINK_SEND_MAX, "a data_hello");

const char *
link_state_name(enum link_state state)
{
	static const char *const names[] = {
		[LINK_FIRST] = "first",
		[LINK_CHALLENGE] = "challenge",
		[LINK_PROOF] = "proof",
		[LINK_PROVEN] = "proven",
		[LINK_JUDGED] = "judged",
		[LINK_SHOWN] = "shown",
		[LINK_WELCOME] = "welcome",
		[LINK_READY] = "ready",
		[LINK_DROPPED] = "dropped",
	};

	return (unsigned)state < NITEMS(names) ? names[state] : "?";
}

/* What is legal to come in each state. */
static unsigned
when_of(enum link_state state)
{
	switch (state) {
	case LINK_FIRST:
		return WHEN_FIRST;
	case LINK_CHALLENGE:
		return WHEN_CHALLENGE;
	case LINK_PROOF:
		return WHEN_PROOF;
	case LINK_PROVEN:
	case LINK_JUDGED:
		return WHEN_JUDGED;
	case LINK_WELCOME:
		return WHEN_WELCOME;
	case LINK_READY:
		return WHEN_READY;
	case LINK_SHOWN:
	case LINK_DROPPED:
		break;
	}
	return 0;
}

static bool
has_key(const struct link_core *l)
{
	return l->self->key->len > 0;
}

static void
out_clear(struct link_out *out, enum link_what what)
{
	out->what = what;
	out->used = 0;
	out->type = 0;
	out->log = NULL;
	out->log_len = 0;
	out->log_end = false;
	out->reason = REFUSED_NOTHING;
	out->by_peer = out->proven = false;
	out->text[0] = '\0';
	out->send_len = 0;
}

/* One more message to be sent. */
static void
out_send(
    struct link_core *l, unsigned type, const void *msg, struct link_out *out)
{
	int n = msg_encode(type, msg, l->seq_out, out->send + out->send_len,
	    sizeof(out->send) - out->send_len);

	ASSERT(n > 0);
	l->seq_out++;
	out->send_len += (size_t)n;
}

/* May the other end be told why? Who has not said a sound word is not. */
static bool
is_told(const struct link_core *l, unsigned reason)
{
	return l->seq_in > 0 && reason != REFUSED_LOCAL;
}

/* Only what a refusal may hold: strerror() knows other characters. */
static void
text_plain(char *text)
{
	for (; *text != '\0'; text++)
		if (*text < ' ' || *text > '~')
			*text = '?';
}

/* The end: *out says it, and what was to be sent before goes first. */
__attribute__((format(printf, 4, 5))) static void
drop(struct link_core *l, struct link_out *out, unsigned reason,
    const char *fmt, ...)
{
	struct msg_refusal refusal = { .reason = (uint16_t)reason };
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(out->text, sizeof(out->text), fmt, ap);
	va_end(ap);
	text_plain(out->text);
	out->what = LINK_DROP;
	out->reason = reason;
	out->proven = l->proven;
	if (is_told(l, reason)) {
		memcpy(refusal.text, out->text, sizeof(refusal.text));
		out_send(l, MSG_REFUSAL, &refusal, out);
	}
	l->state = LINK_DROPPED;
}

/* The other end ends it. */
static void
dropped_by_peer(
    struct link_core *l, const struct msg_refusal *m, struct link_out *out)
{
	out->what = LINK_DROP;
	out->reason = m->reason < REFUSED_COUNT ? m->reason : REFUSED_OTHER;
	out->by_peer = true;
	out->proven = l->proven;
	memcpy(out->text, m->text, sizeof(out->text));
	l->state = LINK_DROPPED;
}

static void
said(struct link_core *l, const uint8_t *at, size_t n)
{
	ASSERT(n <= sizeof(l->said) - l->said_len);
	memcpy(l->said + l->said_len, at, n);
	l->said_len += (uint32_t)n;
}

static int
tag_of(const struct link_core *l, unsigned role, const uint8_t *fields,
    size_t n, uint8_t tag[AUTH_TAG])
{
	struct auth_input in = { .role = (uint8_t)role,
		.on = l->on,
		.version = l->version,
		.said = l->said,
		.said_len = l->said_len,
		.fields = fields,
		.fields_len = n };

	return auth_tag(l->self->key, &in, tag);
}

/*
 * Put the tag into an own message (at `tag` in its struct, `tag_at` in its
 * frame), send it and keep what was said. False: dropped.
 */
static bool
send_tagged(struct link_core *l, unsigned type, const void *msg, uint8_t *tag,
    size_t tag_at, struct link_out *out)
{
	uint8_t frame[LINK_SEND_MAX];
	int n;

	n = msg_encode(type, msg, l->seq_out, frame, sizeof(frame));
	ASSERT(n > 0 && (size_t)n == tag_at + AUTH_TAG);
	if (tag_of(l, l->role, frame + MSG_HEAD, tag_at - MSG_HEAD, tag) != 0) {
		drop(l, out, REFUSED_LOCAL, "no proof could be made");
		return false;
	}
	out_send(l, type, msg, out);
	said(l, out->send + out->send_len - n, (size_t)n);
	return true;
}

/* Is the tag of the other end's frame right? False: dropped. */
static bool
take_tagged(struct link_core *l, const uint8_t *frame, size_t tag_at,
    struct link_out *out)
{
	uint8_t tag[AUTH_TAG];
	unsigned peer = l->role == FROM_DIALER ? FROM_LISTENER : FROM_DIALER;

	if (tag_of(l, peer, frame + MSG_HEAD, tag_at - MSG_HEAD, tag) != 0) {
		drop(l, out, REFUSED_LOCAL, "no proof could be checked");
		return false;
	}
	if (!auth_tag_equal(tag, frame + tag_at)) {
		drop(l, out, REFUSED_PROOF, "%s",
		    msg_reason_means(REFUSED_PROOF));
		return false;
	}
	said(l, frame, tag_at + AUTH_TAG);
	l->proven = true;
	return true;
}

static void
send_proof(struct link_core *l, struct link_out *out)
{
	memset(l->mine.tag, 0, sizeof(l->mine.tag));
	(void)send_tagged(
	    l, MSG_PROOF, &l->mine, l->mine.tag, LINK_PROOF_TAG, out);
}

static void
begin(struct link_core *l, const struct link_self *self, unsigned role,
    const uint8_t nonce[MSG_NONCE], uint64_t now_ns)
{
	ASSERT(self->version_min > 0);
	ASSERT(self->version_min <= self->version_max);
	memset(l, 0, sizeof(*l));
	l->self = self;
	l->role = (uint8_t)role;
	l->start_ns = l->heard_ns = now_ns;
	memcpy(l->nonce, nonce, sizeof(l->nonce));
}

void
link_dial(struct link_core *l, const struct link_self *self,
    const struct msg_proof *mine, const char *whom,
    const uint8_t nonce[MSG_NONCE], uint64_t now_ns, struct link_out *out)
{
	struct msg_hello hello = { .magic = MSG_MAGIC,
		.version_min = self->version_min,
		.version_max = self->version_max };

	begin(l, self, FROM_DIALER, nonce, now_ns);
	out_clear(out, LINK_STEP);
	l->on = ON_CONTROL;
	l->state = LINK_CHALLENGE;
	l->mine = *mine;
	snprintf(l->peer_name, sizeof(l->peer_name), "%s", whom);
	hello.flags = has_key(l) ? HELLO_KEYED : 0;
	memcpy(hello.nonce, nonce, sizeof(hello.nonce));
	memcpy(hello.name, self->name, sizeof(hello.name));
	memcpy(hello.group, self->group, sizeof(hello.group));
	out_send(l, MSG_HELLO, &hello, out);
	said(l, out->send, out->send_len);
}

void
link_listen(struct link_core *l, const struct link_self *self,
    const struct msg_proof *mine, const uint8_t nonce[MSG_NONCE],
    uint64_t now_ns)
{
	begin(l, self, FROM_LISTENER, nonce, now_ns);
	l->state = LINK_FIRST;
	l->mine = *mine;
}

void
link_dial_data(struct link_core *l, const struct link_self *self,
    const struct link_ticket *ticket, const uint8_t nonce[MSG_NONCE],
    uint64_t now_ns, struct link_out *out)
{
	begin(l, self, FROM_DIALER, nonce, now_ns);
	out_clear(out, LINK_STEP);
	l->on = ON_DATA;
	l->state = LINK_WELCOME;
	l->version = ticket->want.version;
	l->data = ticket->want;
	memcpy(l->data.nonce, nonce, sizeof(l->data.nonce));
	memset(l->data.tag, 0, sizeof(l->data.tag));
	said(l, ticket->nonce, sizeof(ticket->nonce));
	(void)send_tagged(
	    l, MSG_DATA_HELLO, &l->data, l->data.tag, LINK_DATA_TAG, out);
}

/* Who they say they are, as far as a name goes. False: dropped. */
static bool
names_fit(struct link_core *l, const char *name, const char *group,
    unsigned flags, struct link_out *out)
{
	bool keyed = (flags & HELLO_KEYED) != 0;

	if (strcmp(group, l->self->group) != 0)
		drop(l, out, REFUSED_GROUP, "group %s, this node is of %s",
		    group, l->self->group);
	else if (keyed != has_key(l))
		drop(l, out, REFUSED_KEY,
		    "%s has %s group key, %s has %s: set [security] "
		    "group_key_file on both",
		    name, keyed ? "a" : "no", l->self->name,
		    keyed ? "none" : "one");
	else if (strcmp(name, l->self->name) == 0)
		drop(l, out, REFUSED_NAME, "%s is this node's own name", name);
	else if (l->peer_name[0] != '\0' && strcmp(name, l->peer_name) != 0)
		drop(l, out, REFUSED_NAME, "here is %s, not %s", name,
		    l->peer_name);
	else
		return true;
	return false;
}

static void
on_hello(struct link_core *l, const uint8_t *frame, size_t n,
    const struct msg_hello *m, struct link_out *out)
{
	const struct link_self *self = l->self;
	struct msg_challenge c = { 0 };

	l->on = ON_CONTROL;
	l->state = LINK_PROOF;
	l->version = (uint16_t)msg_version(self->version_min, self->version_max,
	    m->version_min, m->version_max);
	if (l->version == 0) {
		drop(l, out, REFUSED_PROTOCOL,
		    "protocol %u to %u, this node speaks %u to %u",
		    m->version_min, m->version_max, self->version_min,
		    self->version_max);
		return;
	}
	if (!names_fit(l, m->name, m->group, m->flags, out))
		return;
	memcpy(l->peer_name, m->name, sizeof(l->peer_name));
	said(l, frame, n);
	c.version = l->version;
	c.flags = has_key(l) ? HELLO_KEYED : 0;
	memcpy(c.nonce, l->nonce, sizeof(c.nonce));
	memcpy(c.name, self->name, sizeof(c.name));
	memcpy(c.group, self->group, sizeof(c.group));
	out_send(l, MSG_CHALLENGE, &c, out);
	said(l, out->send, out->send_len);
}

static void
on_challenge(struct link_core *l, const uint8_t *frame, size_t n,
    const struct msg_challenge *m, struct link_out *out)
{
	if (m->version < l->self->version_min ||
	    m->version > l->self->version_max) {
		drop(l, out, REFUSED_PROTOCOL,
		    "protocol %u, this node speaks %u to %u", m->version,
		    l->self->version_min, l->self->version_max);
		return;
	}
	l->version = m->version;
	if (!names_fit(l, m->name, m->group, m->flags, out))
		return;
	memcpy(l->peer_name, m->name, sizeof(l->peer_name));
	said(l, frame, n);
	l->state = LINK_PROOF;
	send_proof(l, out);
}

static void
on_proof(struct link_core *l, const uint8_t *frame, const struct msg_proof *m,
    struct link_out *out)
{
	if (!take_tagged(l, frame, LINK_PROOF_TAG, out))
		return;
	l->peer = *m;
	if (m->incarnation == l->mine.incarnation) {
		drop(l, out, REFUSED_CLONE,
		    "%s has the incarnation of %s: one is a copy of the other",
		    l->peer_name, l->self->name);
		return;
	}
	l->state = LINK_PROVEN;
	/* So that the dialer can believe what a refusal says. */
	if (l->role == FROM_LISTENER)
		send_proof(l, out);
	if (l->state == LINK_PROVEN)
		out->what = LINK_NEEDS_JUDGEMENT;
}

static void
on_welcome(struct link_core *l, struct link_out *out)
{
	l->welcomed = true;
	if (l->state == LINK_JUDGED) {
		l->state = LINK_READY;
		out->what = LINK_OPEN;
	}
}

void
link_judge(struct link_core *l, unsigned reason, const char *text,
    uint64_t now_ns, struct link_out *out)
{
	struct msg_welcome welcome = { 0 };

	ASSERT(l->state == LINK_PROVEN);
	out_clear(out, LINK_STEP);
	if (reason != REFUSED_NOTHING) {
		drop(l, out, reason, "%s", text);
		return;
	}
	out_send(l, MSG_WELCOME, &welcome, out);
	l->state = l->welcomed ? LINK_READY : LINK_JUDGED;
	if (l->state == LINK_READY) {
		l->heard_ns = now_ns;
		out->what = LINK_OPEN;
	}
}

static void
on_data_hello(struct link_core *l, const uint8_t *frame,
    const struct msg_data_hello *m, struct link_out *out)
{
	l->on = ON_DATA;
	l->state = LINK_SHOWN;
	l->data = *m;
	/* Behind the place of the ticket's nonce, which is not known yet. */
	memcpy(l->said + MSG_NONCE, frame, LINK_DATA_TAG + AUTH_TAG);
	out->what = LINK_NEEDS_TICKET;
}

/* Is what is shown, but nonce and tag, what the ticket was given for? */
static bool
ticket_fits(const struct link_core *l, const struct link_ticket *ticket)
{
	uint8_t want[LINK_SEND_MAX];
	int n =
	    msg_encode(MSG_DATA_HELLO, &ticket->want, 0, want, sizeof(want));

	ASSERT(n == LINK_DATA_TAG + AUTH_TAG);
	return memcmp(want + MSG_HEAD, l->said + MSG_NONCE + MSG_HEAD,
		   LINK_DATA_FACTS - MSG_HEAD) == 0;
}

void
link_ticket(struct link_core *l, const struct link_ticket *ticket,
    uint64_t now_ns, struct link_out *out)
{
	struct msg_data_welcome welcome = { .connection = l->data.connection };
	uint8_t frame[LINK_DATA_TAG + AUTH_TAG];

	ASSERT(l->state == LINK_SHOWN);
	out_clear(out, LINK_STEP);
	if (ticket == NULL || !ticket_fits(l, ticket)) {
		drop(l, out, REFUSED_TICKET, "connection %llu: %s",
		    (unsigned long long)l->data.connection,
		    msg_reason_means(REFUSED_TICKET));
		return;
	}
	l->version = ticket->want.version;
	memcpy(frame, l->said + MSG_NONCE, sizeof(frame));
	said(l, ticket->nonce, sizeof(ticket->nonce));
	if (!take_tagged(l, frame, LINK_DATA_TAG, out) ||
	    !send_tagged(l, MSG_DATA_WELCOME, &welcome, welcome.tag,
		LINK_WELCOME_TAG, out))
		return;
	l->state = LINK_READY;
	l->heard_ns = now_ns;
	out->what = LINK_OPEN;
}

static void
on_data_welcome(struct link_core *l, const uint8_t *frame,
    const struct msg_data_welcome *m, struct link_out *out)
{
	if (m->connection != l->data.connection) {
		drop(l, out, REFUSED_TICKET, "connection %llu, not %llu",
		    (unsigned long long)m->connection,
		    (unsigned long long)l->data.connection);
		return;
	}
	if (!take_tagged(l, frame, LINK_WELCOME_TAG, out))
		return;
	l->state = LINK_READY;
	out->what = LINK_OPEN;
}

/* A message of a handshake, decoded. */
static void
on_handshake(struct link_core *l, const uint8_t *frame,
    const struct msg_head *head, const union msg *m, struct link_out *out)
{
	out->what = LINK_STEP;
	switch (head->row->type) {
	case MSG_HELLO:
		on_hello(l, frame, head->len, &m->hello, out);
		break;
	case MSG_CHALLENGE:
		on_challenge(l, frame, head->len, &m->challenge, out);
		break;
	case MSG_PROOF:
		on_proof(l, frame, &m->proof, out);
		break;
	case MSG_WELCOME:
		on_welcome(l, out);
		break;
	case MSG_DATA_HELLO:
		on_data_hello(l, frame, &m->data_hello, out);
		break;
	case MSG_DATA_WELCOME:
		on_data_welcome(l, frame, &m->data_welcome, out);
		break;
	case MSG_REFUSAL:
		dropped_by_peer(l, &m->refusal, out);
		break;
	default: /* all others are legal in READY only */
		ASSERT(false);
	}
}

/* Is a message of that header one that may come now? False: dropped. */
static bool
is_legal(struct link_core *l, const struct msg_head *head, struct link_out *out)
{
	const struct msg_row *row = head->row;
	unsigned peer = l->role == FROM_DIALER ? FROM_LISTENER : FROM_DIALER;

	if (l->version != 0 && row->since > l->version)
		drop(l, out, REFUSED_NONSENSE, "%s is not in protocol %u",
		    row->name, l->version);
	else if ((row->from & peer) == 0 ||
		 (l->on != 0 && (row->on & l->on) == 0))
		drop(l, out, REFUSED_DIRECTION, "%s", row->name);
	else if ((row->when & when_of(l->state)) == 0)
		drop(l, out, REFUSED_STATE, "%s in state %s", row->name,
		    link_state_name(l->state));
	else if (head->seq != l->seq_in)
		drop(l, out, REFUSED_SEQUENCE, "%s %u, not %u", row->name,
		    head->seq, l->seq_in);
	else
		return true;
	return false;
}

/* Does it still have credit? False: dropped. */
static bool
is_paid(struct link_core *l, const struct msg_head *head, uint64_t now_ns,
    struct link_out *out)
{
	uint64_t cost = LINK_COST_NS * (1 + msg_needs(head) / 1024);

	if (l->flood_ns < now_ns)
		l->flood_ns = now_ns;
	l->flood_ns += cost;
	if (l->flood_ns - now_ns <= LINK_CREDIT_NS)
		return true;
	drop(l, out, REFUSED_FLOOD, "%s", head->row->name);
	return false;
}

/* Bytes of the log, which belong to the last frame. */
static void
take_log(struct link_core *l, const uint8_t *at, size_t n, uint64_t now_ns,
    struct link_out *out)
{
	if (n == 0)
		return;
	if (n > l->log_left)
		n = l->log_left;
	l->log_left -= (uint32_t)n;
	l->heard_ns = now_ns;
	l->part_ns = l->log_left > 0 ? now_ns : 0;
	out->what = LINK_LOG;
	out->used = n;
	out->log = at;
	out->log_len = n;
	out->log_end = l->log_left == 0;
}

/* A whole message that may come now. */
static void
take_message(struct link_core *l, const uint8_t *at,
    const struct msg_head *head, uint64_t now_ns, union msg *msg,
    struct link_out *out)
{
	struct msg_error e;

	if (msg_decode(at, head, msg, &e) != 0) {
		drop(l, out, REFUSED_NONSENSE, "%s: %s: %s", head->row->name,
		    e.field, msg_fault_name(e.fault));
		return;
	}
	if (l->state == LINK_READY && !is_paid(l, head, now_ns, out))
		return;
	l->seq_in++;
	l->heard_ns = now_ns;
	l->part_ns = 0;
	out->used = msg_needs(head);
	if (l->state != LINK_READY || head->row->type == MSG_REFUSAL) {
		on_handshake(l, at, head, msg, out);
		return;
	}
	l->log_left = head->len - msg_needs(head);
	if (l->log_left > 0)
		l->part_ns = now_ns;
	out->what = LINK_MESSAGE;
	out->type = head->row->type;
}

/* Nothing is parsed before the caller has answered. */
static bool
is_held(const struct link_core *l)
{
	return l->state == LINK_SHOWN ||
	       (l->state == LINK_PROVEN && l->welcomed);
}

void
link_take(struct link_core *l, const uint8_t *at, size_t n, uint64_t now_ns,
    union msg *msg, struct link_out *out)
{
	struct msg_head head;
	struct msg_error e;
	int rc;

	ASSERT(l->state != LINK_DROPPED);
	out_clear(out, LINK_MORE);
	if (is_held(l)) {
		out->what = LINK_HOLD;
		return;
	}
	if (l->log_left > 0) {
		take_log(l, at, n, now_ns, out);
		return;
	}
	rc = msg_head_decode(at, n, &head, &e);
	if (rc == -EBADMSG) {
		drop(l, out, REFUSED_NONSENSE, "%s: %s", e.field,
		    msg_fault_name(e.fault));
		return;
	}
	if (rc == 0 && !is_legal(l, &head, out))
		return;
	if (rc == 0 && n >= msg_needs(&head))
		take_message(l, at, &head, now_ns, msg, out);
	else if (n > 0 && l->part_ns == 0)
		l->part_ns = now_ns;
}

size_t
link_room(const struct link_core *l)
{
	unsigned when = when_of(l->state), i;
	const struct msg_row *row;
	size_t most = 0, n;

	for (i = 0; (row = msg_row_at(i)) != NULL; i++) {
		n = row->type == MSG_FRAME ? row->min : row->max;
		if ((row->when & when) != 0 &&
		    (l->on == 0 || (row->on & l->on) != 0) && n > most)
			most = n;
	}
	return most;
}

size_t
link_wants(const struct link_core *l, const uint8_t *at, size_t n)
{
	struct msg_head head;
	struct msg_error e;
	uint32_t needs;
	int rc;

	if (l->log_left > 0)
		return l->log_left > n ? l->log_left - n : 0;
	rc = msg_head_decode(at, n, &head, &e);
	if (rc == -EAGAIN)
		return MSG_HEAD - n;
	if (rc != 0)
		return 0;
	needs = msg_needs(&head);
	return needs > n ? needs - n : 0;
}

void
link_hand(const struct link_core *l, struct link_handed *out)
{
	ASSERT(l->state == LINK_READY && l->on == ON_DATA);
	ASSERT(l->log_left == 0 && l->part_ns == 0);
	out->data = l->data;
	out->seq_in = l->seq_in;
	out->seq_out = l->seq_out;
	out->role = l->role;
}

void
link_adopt(struct link_core *l, const struct link_self *self,
    const struct link_handed *handed, uint64_t now_ns)
{
	begin(l, self, handed->role, handed->data.nonce, now_ns);
	l->state = LINK_READY;
	l->on = ON_DATA;
	l->proven = true;
	l->version = handed->data.version;
	l->seq_in = handed->seq_in;
	l->seq_out = handed->seq_out;
	l->data = handed->data;
}

int
link_send(struct link_core *l, unsigned type, const void *msg, uint8_t *at,
    size_t room)
{
	const struct msg_row *row = msg_row(type);
	int n;

	ASSERT(l->state == LINK_READY && row != NULL);
	ASSERT((row->when & WHEN_READY) != 0 && row->since <= l->version);
	ASSERT((row->on & l->on) != 0 && (row->from & l->role) != 0);
	n = msg_encode(type, msg, l->seq_out, at, room);
	if (n > 0)
		l->seq_out++;
	return n;
}

/* a + b, which may be beyond all time. */
static uint64_t
later(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

uint64_t
link_deadline(const struct link_core *l)
{
	uint64_t at = UINT64_MAX, part;

	if (l->state == LINK_DROPPED)
		return at;
	if (l->state != LINK_READY)
		return later(l->start_ns, LINK_HANDSHAKE_NS);
	if (l->on == ON_CONTROL && l->self->silence_ns != 0)
		at = later(l->heard_ns, l->self->silence_ns);
	part = l->part_ns != 0 ? later(l->part_ns, LINK_FRAME_NS) : at;
	return part < at ? part : at;
}

void
link_tick(struct link_core *l, uint64_t now_ns, struct link_out *out)
{
	out_clear(out, LINK_MORE);
	if (l->state == LINK_DROPPED || now_ns < link_deadline(l))
		return;
	if (l->state != LINK_READY)
		drop(l, out, REFUSED_STALL, "the handshake ended in state %s",
		    link_state_name(l->state));
	else if (l->part_ns != 0 && now_ns >= later(l->part_ns, LINK_FRAME_NS))
		drop(l, out, REFUSED_STALL, "half a message");
	else
		drop(l, out, REFUSED_STALL, "silence");
}

void
link_end(struct link_core *l, unsigned reason, const char *text,
    struct link_out *out)
{
	ASSERT(l->state != LINK_DROPPED && reason != REFUSED_NOTHING);
	out_clear(out, LINK_STEP);
	drop(l, out, reason, "%s", text);
}
