/*
 * A connection between members: two honest ends agree, however their bytes are
 * cut; whatever differs is refused by name, at both ends; and a liar gets
 * nowhere: without the key, with another one, with what it recorded or got from
 * the node itself, with any bit of a handshake changed, with messages of
 * another state, direction or number, too many of them, or none. SEED=N
 * replays.
 */
#include "ipc/link_core.h"

#include <err.h>

#include "shm/bits.h"
#include "shm/crc32c.h"
#include "t/lib/link_pair.h"
#include "t/lib/msg_random.h"
#include "t/tap.h"

#define KEY "0123456789abcdef"
#define T0  UINT64_C(1000)

static uint64_t seed;
static struct end a, b, c;
static union msg m;

static void
both(const char *key_a, const char *key_b)
{
	end_init(&a, "n1", key_a, 11);
	end_init(&b, "n2", key_b, 22);
}

static void
connect_control(size_t piece)
{
	both(KEY, KEY);
	end_listens(&b, 2, T0);
	end_dials(&a, "n2", 1, T0);
	pair_run(&a, &b, piece, T0);
}

static void
connect_data(size_t piece)
{
	both(KEY, KEY);
	pair_ticket(&a, &b);
	end_listens(&b, 2, T0);
	end_dials_data(&a, 1, T0);
	pair_run(&a, &b, piece, T0);
}

static bool
are_ready(void)
{
	return a.l.state == LINK_READY && b.l.state == LINK_READY && a.opened &&
	       b.opened;
}

static void
test_control(void)
{
	size_t piece;
	bool fine = true;

	for (piece = 1; piece < 700; piece++) {
		connect_control(piece);
		fine &= are_ready() && a.l.version == 1 && b.l.version == 1;
	}
	ok(fine, "both are ready, in pieces of 1 to 699 bytes");
	ok(memcmp(&a.l.peer, &b.l.mine, sizeof(a.l.peer)) == 0 &&
		memcmp(&b.l.peer, &a.l.mine, sizeof(b.l.peer)) == 0,
	    "and know of each other what each tells of itself");
	is_str(a.l.peer_name, "n2", "the dialer knows the listener's name");
	is_str(b.l.peer_name, "n1", "and the listener the dialer's");
	connect_control(PAIR_BUF);
	both("", "");
	end_listens(&b, 2, T0);
	end_dials(&a, "", 1, T0);
	pair_run(&a, &b, 64, T0);
	ok(are_ready(), "without a key at either end, too");
}

static void
test_data(void)
{
	size_t piece;
	bool fine = true;

	for (piece = 1; piece < 400; piece++) {
		connect_data(piece);
		fine &= are_ready() && b.needed_ticket;
	}
	ok(fine, "a data connection, in pieces of 1 to 399 bytes");
	is_u64(b.l.seq_in, 1, "one message each way opens it");
	is_u64(a.l.seq_in, 1, "one message each way opens it");
}

/* What both ends say of a connection that is refused by `by`. */
static void
check_refused(struct end *by, struct end *of, unsigned reason, bool proven,
    const char *name)
{
	ok(by->l.state == LINK_DROPPED && by->o.what == LINK_DROP &&
		by->o.reason == reason && !by->o.by_peer,
	    "%s: refused: %s", name, by->o.text);
	ok(of->l.state == LINK_DROPPED && of->o.what == LINK_DROP &&
		of->o.reason == reason && of->o.by_peer &&
		of->o.proven == proven && strcmp(of->o.text, by->o.text) == 0,
	    "%s: the other end is told the same, %s", name,
	    proven ? "and may believe it" : "as a hint");
	ok(!a.opened && !b.opened, "%s: neither was ready", name);
}

static void
run_both(const char *whom)
{
	end_listens(&b, 2, T0);
	end_dials(&a, whom, 1, T0);
	pair_run(&a, &b, 100, T0);
}

static void
test_versions(void)
{
	struct msg_challenge lie = {
		.version = 2, .flags = HELLO_KEYED, .name = "n2", .group = "g1"
	};
	uint8_t frame[LINK_SEND_MAX];
	int n;

	both(KEY, KEY);
	b.self.version_min = 2;
	b.self.version_max = 3;
	run_both("n2");
	check_refused(&b, &a, REFUSED_PROTOCOL, false, "N against N + 2");
	ok(strstr(b.o.text, "protocol 1 to 1, this node speaks 2 to 3") != NULL,
	    "both ranges are named");
	both(KEY, KEY);
	b.self.version_max = 2;
	run_both("n2");
	ok(are_ready() && a.l.version == 1 && b.l.version == 1,
	    "N against N + 1: they speak N");
	both(KEY, KEY);
	a.self.version_max = 3;
	b.self.version_max = 2;
	run_both("n2");
	ok(are_ready() && a.l.version == 2 && b.l.version == 2,
	    "the highest that both speak");
	/* One that picks what was not offered. */
	both(KEY, KEY);
	end_dials(&a, "n2", 1, T0);
	n = msg_challenge_encode(&lie, 0, frame, sizeof(frame));
	end_gets(&a, frame, (size_t)n, T0);
	ok(a.o.what == LINK_DROP && a.o.reason == REFUSED_PROTOCOL,
	    "a version that was not offered: %s", a.o.text);
}

static void
test_names(void)
{
	both(KEY, KEY);
	memcpy(b.self.group, "g2", 2);
	run_both("n2");
	check_refused(&b, &a, REFUSED_GROUP, false, "another group");
	both(KEY, "");
	run_both("n2");
	check_refused(&b, &a, REFUSED_KEY, false, "only the dialer has a key");
	both("", KEY);
	run_both("n2");
	check_refused(&b, &a, REFUSED_KEY, false, "only the listener has one");
	both(KEY, "0123456789abcdeF");
	run_both("n2");
	check_refused(&b, &a, REFUSED_PROOF, false, "another key");
	both(KEY, KEY);
	run_both("n3");
	check_refused(&a, &b, REFUSED_NAME, false, "another node than meant");
	both(KEY, KEY);
	memcpy(b.self.name, "n1", 2);
	run_both("");
	check_refused(&b, &a, REFUSED_NAME, false, "a node of the same name");
	both(KEY, KEY);
	b.mine.incarnation = 11;
	run_both("n2");
	check_refused(&b, &a, REFUSED_CLONE, false, "a copy of itself");
}

static void
test_judgement(void)
{
	both(KEY, KEY);
	b.judges = false;
	run_both("n2");
	ok(b.needed_judgement && b.l.state == LINK_PROVEN &&
		a.l.state == LINK_JUDGED,
	    "one has judged, the other one has not");
	link_judge(&b.l, REFUSED_ALIVE, "boot 2 of n1 still beats", T0, &b.o);
	end_obey(&b, T0);
	pair_run(&a, &b, 100, T0);
	check_refused(&b, &a, REFUSED_ALIVE, true, "judged");
	is_str(a.o.text, "boot 2 of n1 still beats", "in these words");
	both(KEY, KEY);
	a.judges = false;
	run_both("n2");
	link_judge(&a.l, REFUSED_UUID, "caf\xc3\xa9\n", T0, &a.o);
	end_obey(&a, T0);
	pair_run(&a, &b, 100, T0);
	check_refused(&a, &b, REFUSED_UUID, true, "by the dialer");
	is_str(b.o.text, "caf???", "what no refusal may hold is left out");
}

/* By a release that knows more reasons. */
static void
test_newer_refusal(void)
{
	struct msg_refusal r = { .reason = 999, .text = "the moon is full" };
	uint8_t frame[LINK_SEND_MAX];
	int n;

	both(KEY, KEY);
	end_dials(&a, "n2", 1, T0);
	n = msg_refusal_encode(&r, 0, frame, sizeof(frame));
	end_gets(&a, frame, (size_t)n, T0);
	ok(a.o.what == LINK_DROP && a.o.by_peer &&
		a.o.reason == REFUSED_OTHER &&
		strcmp(a.o.text, "the moon is full") == 0,
	    "a reason that is not known yet is told in the other's words");
}

/* Nothing is parsed behind a welcome before this end has judged. */
static void
test_hold(void)
{
	struct msg_read ask = { .ticket = 1, .term = 1 };
	uint8_t frame[64];
	int n;

	both(KEY, KEY);
	a.judges = b.judges = false;
	run_both("n2");
	link_judge(&b.l, REFUSED_NOTHING, "", T0, &b.o);
	end_obey(&b, T0);
	pair_run(&a, &b, 100, T0);
	ok(a.l.state == LINK_PROVEN && a.l.welcomed && a.o.what == LINK_HOLD,
	    "welcomed, and not judged yet");
	link_judge(&a.l, REFUSED_NOTHING, "", T0, &a.o);
	end_obey(&a, T0);
	ok(a.opened, "its judgement opens it");
	n = link_send(&a.l, MSG_READ, &ask, frame, sizeof(frame));
	is_i64(n, 32, "it sends at once");
	end_sends(&a, frame, (size_t)n);
	pair_run(&a, &b, 1, T0);
	ok(b.opened && b.messages == 1 && b.last_type == MSG_READ &&
		b.msg.read.ticket == 1,
	    "and the other one, open by the welcome, has it");

	/* The same with the message there before the judgement. */
	both(KEY, KEY);
	b.judges = false;
	run_both("n2");
	a.l.state = LINK_READY; /* an impatient one */
	n = link_send(&a.l, MSG_READ, &ask, frame, sizeof(frame));
	end_gets(&b, frame, (size_t)n, T0);
	ok(b.o.what == LINK_HOLD && b.messages == 0, "held");
	link_judge(&b.l, REFUSED_NOTHING, "", T0, &b.o);
	end_obey(&b, T0);
	end_answer(&b, T0);
	ok(b.opened && b.messages == 1, "taken when judged");
}

/* Without a key nobody learns more than a name. */
static void
test_stranger(void)
{
	struct msg_head head;
	struct msg_error e;
	unsigned types = 0;
	size_t at = 0;

	both("fedcba9876543210", KEY);
	end_listens(&b, 2, T0);
	end_dials(&a, "n2", 1, T0);
	/* What the listener sends is read, not answered. */
	pair_move(&a, &b, PAIR_BUF, T0);
	memcpy(c.in, b.out, b.out_len);
	pair_run(&a, &b, PAIR_BUF, T0);
	ok(!b.l.proven && !b.opened, "a stranger is not let in");
	ok(b.o.reason == REFUSED_PROOF, "for its proof: %s", b.o.text);
	while (msg_head_decode(c.in + at, 16, &head, &e) == 0 && types < 5) {
		types += head.row->type == MSG_CHALLENGE ? 1 : 10;
		at += head.len;
		if (at >= MSG_HEAD + 44)
			break;
	}
	is_u64(types, 1, "and has a challenge from it, nothing else");
	ok(b.sent < 58 + 4 + 224, "and a refusal: %" PRIu64 " bytes", b.sent);
}

/* A sound message instead of what is waited for, by one who counts right. */
static bool
strange_is_dropped(struct end *e, unsigned type)
{
	enum link_state was = e->l.state;
	uint8_t frame[MSG_SMALL_MAX];
	int n;

	msg_random(type, &m, &seed);
	n = msg_encode(type, &m, e->l.seq_in, frame, sizeof(frame));
	end_gets(e, frame, (size_t)n, T0);
	if (e->l.state == LINK_DROPPED && !e->opened && e->messages == 0)
		return true;
	diag("%s in state %s: %s", msg_name(type), link_state_name(was),
	    link_state_name(e->l.state));
	return false;
}

/* Before the proof, each message of the table but the one that is due. */
static void
test_order(void)
{
	const struct msg_row *row;
	bool fine = true;
	unsigned i;

	for (i = 0; (row = msg_row_at(i)) != NULL; i++) {
		both(KEY, KEY);
		end_listens(&b, 2, T0);
		if (row->type != MSG_HELLO && row->type != MSG_DATA_HELLO)
			fine &= strange_is_dropped(&b, row->type);
		both(KEY, KEY);
		end_listens(&b, 2, T0);
		end_dials(&a, "n2", 1, T0);
		pair_move(&a, &b, PAIR_BUF, T0);
		fine &= b.l.state == LINK_PROOF;
		fine &= strange_is_dropped(&b, row->type);
		both(KEY, KEY);
		end_dials(&a, "n2", 1, T0);
		fine &= strange_is_dropped(&a, row->type);
	}
	ok(fine, "any other message before the proof is the end");
	connect_control(100);
	fine = true;
	for (i = 0; (row = msg_row_at(i)) != NULL; i++) {
		struct end *e = &b;

		if ((row->when & WHEN_READY) != 0 &&
		    (row->on & ON_CONTROL) != 0)
			continue;
		connect_control(100);
		e->opened = false;
		fine &= strange_is_dropped(e, row->type);
		fine &= e->o.reason == REFUSED_STATE ||
			e->o.reason == REFUSED_DIRECTION;
	}
	ok(fine,
	    "and so is a handshake, or one of a data connection, when ready");
}

/* In READY, to one that is: legal messages pass, all of them. */
static void
test_ready(void)
{
	const struct msg_row *row;
	static uint8_t frame[MSG_SMALL_MAX];
	unsigned i, sent = 0;
	bool fine = true;
	int n;

	connect_control(100);
	for (i = 0; (row = msg_row_at(i)) != NULL; i++) {
		if ((row->when & WHEN_READY) == 0 || row->on != ON_CONTROL)
			continue;
		msg_random(row->type, &m, &seed);
		memset(&b.msg, 0, sizeof(b.msg));
		n = link_send(&a.l, row->type, &m, frame, sizeof(frame));
		end_sends(&a, frame, (size_t)n);
		pair_run(&a, &b, 333, T0);
		sent++;
		fine &= b.messages == sent && b.last_type == row->type &&
			memcmp(&m, &b.msg, row->layout->size) == 0;
	}
	ok(fine && sent >= 22, "all %u of a control connection arrive", sent);
	ok(link_room(&b.l) == MSG_SMALL_MAX,
	    "within the room that is asked for");
}

static void
test_sequence(void)
{
	struct msg_read ask = { .ticket = 1, .term = 1 };
	uint8_t frame[64];
	int n;

	connect_control(100);
	n = link_send(&a.l, MSG_READ, &ask, frame, sizeof(frame));
	end_gets(&b, frame, (size_t)n, T0);
	end_gets(&b, frame, (size_t)n, T0);
	ok(b.messages == 1 && b.o.reason == REFUSED_SEQUENCE,
	    "a frame that comes twice is the end: %s", b.o.text);
	pair_run(&a, &b, 100, T0);
	ok(a.o.by_peer && a.o.proven && a.o.reason == REFUSED_SEQUENCE,
	    "and the sender knows why");
	connect_control(100);
	(void)link_send(&a.l, MSG_READ, &ask, frame, sizeof(frame));
	n = link_send(&a.l, MSG_READ, &ask, frame, sizeof(frame));
	end_gets(&b, frame, (size_t)n, T0);
	ok(b.messages == 0 && b.o.reason == REFUSED_SEQUENCE,
	    "so is one behind one that is missing: %s", b.o.text);
}

/* The end of a connection to `e` by n bytes, with what it says. */
static void
check_nonsense(
    struct end *e, const void *at, size_t n, unsigned reason, const char *name)
{
	end_gets(e, at, n, T0);
	ok(e->o.what == LINK_DROP && e->o.reason == reason, "%s: %s", name,
	    e->o.text);
}

static void
test_nonsense(void)
{
	uint8_t head[MSG_HEAD] = { 0 };
	struct msg_read ask = { .ticket = 1, .term = 1 };
	uint8_t frame[64];

	end_init(&b, "n2", KEY, 22);
	end_listens(&b, 2, T0);
	check_nonsense(
	    &b, "GET / HTTP/1.1\r\n\r\n", 18, REFUSED_NONSENSE, "a browser");
	is_u64(b.sent, 0, "it gets no byte");
	end_init(&b, "n2", KEY, 22);
	end_listens(&b, 2, T0);
	check_nonsense(&b, "*1\r\n$4\r\nPING\r\n..", 16, REFUSED_NONSENSE,
	    "a Redis client");
	end_init(&b, "n2", KEY, 22);
	end_listens(&b, 2, T0);
	put_le32(head + MSG_LEN_OFF, MSG_FRAME_MAX);
	put_le16(head + MSG_TYPE_OFF, MSG_FRAME);
	check_nonsense(&b, head, sizeof(head), REFUSED_DIRECTION,
	    "2 MiB announced by a stranger: its header is enough");
	end_init(&b, "n2", KEY, 22);
	end_listens(&b, 2, T0);
	put_le16(head + MSG_TYPE_OFF, MSG_HELLO);
	check_nonsense(
	    &b, head, sizeof(head), REFUSED_NONSENSE, "a hello of 2 MiB");
	connect_control(100);
	(void)link_send(&a.l, MSG_READ, &ask, frame, sizeof(frame));
	frame[20] ^= 1;
	check_nonsense(&b, frame, 32, REFUSED_NONSENSE, "a flipped bit");
	is_str(b.o.text, "read: crc: bad CRC", "says what and where");
	connect_control(100);
	(void)link_send(&a.l, MSG_READ, &ask, frame, sizeof(frame));
	put_le64(frame + MSG_HEAD, 0);
	put_le32(frame, crc32c(0, frame + 4, 28));
	check_nonsense(&b, frame, 32, REFUSED_NONSENSE, "a field");
	is_str(b.o.text, "read: ticket: value out of bounds", "by its name");
}

/*
 * Flip a bit of what one end sends, with a CRC that fits: whoever gets it never
 * is ready.
 */
static void
test_altered(bool data)
{
	uint8_t piece[PAIR_BUF];
	unsigned turn, bit, opened = 0, tried = 0;

	for (turn = 0; turn < 8; turn++)
		for (bit = 0;; bit++) {
			struct end *from = turn % 2 == 0 ? &a : &b;
			struct end *to = turn % 2 == 0 ? &b : &a;
			uint32_t len;
			unsigned i;

			both(KEY, KEY);
			pair_ticket(&a, &b);
			end_listens(&b, 2, T0);
			if (data)
				end_dials_data(&a, 1, T0);
			else
				end_dials(&a, "n2", 1, T0);
			/* The turns before it are left alone. */
			for (i = 0; i < turn; i++)
				pair_move(i % 2 == 0 ? &a : &b,
				    i % 2 == 0 ? &b : &a, PAIR_BUF, T0);
			if (bit / 8 >= from->out_len)
				break;
			if (to->opened)
				continue;
			memcpy(piece, from->out, from->out_len);
			piece[bit / 8] ^= (uint8_t)(1u << bit % 8);
			/* The first frame's CRC; of others it stays as it is.
			 */
			len = get_le32(from->out + MSG_LEN_OFF);
			if (bit / 8 >= 4 && bit / 8 < len)
				put_le32(piece, crc32c(0, piece + 4, len - 4));
			end_gets(to, piece, from->out_len, T0);
			from->out_len = 0;
			pair_run(&a, &b, PAIR_BUF, T0);
			tried++;
			opened += to->opened;
		}
	ok(tried > (data ? 1500u : 3000u), "%u flipped bits of a handshake",
	    tried);
	is_u64(opened, 0, "no end that got one was ready");
}

/* What a liar has recorded, or gets from the node itself. */
static void
test_replay(void)
{
	uint8_t kept[PAIR_BUF];
	size_t n;

	both(KEY, KEY);
	end_listens(&b, 2, T0);
	end_dials(&a, "n2", 1, T0);
	memcpy(kept, a.out, a.out_len);
	n = a.out_len;
	pair_move(&a, &b, PAIR_BUF, T0);
	pair_move(&b, &a, PAIR_BUF, T0);
	memcpy(kept + n, a.out, a.out_len);
	n += a.out_len;
	pair_run(&a, &b, PAIR_BUF, T0);
	ok(are_ready(), "a handshake is recorded");
	end_init(&c, "n2", KEY, 22);
	end_listens(&c, 3, T0);
	end_gets(&c, kept, n, T0);
	ok(!c.l.proven && c.o.reason == REFUSED_PROOF,
	    "and replayed: the listener's nonce is another");
	end_init(&c, "n2", KEY, 22);
	end_listens(&c, 2, T0);
	end_gets(&c, kept, n, T0);
	ok(c.l.proven, "(with the same one it would do: nonces must be new)");

	/* A node is given its own words. */
	both(KEY, KEY);
	end_dials(&a, "", 1, T0);
	pair_move(&a, &a, PAIR_BUF, T0);
	ok(a.l.state == LINK_DROPPED && !a.opened, "its hello comes back: %s",
	    a.o.text);
	both(KEY, KEY);
	end_init(&c, "n1", KEY, 11);
	end_listens(&c, 4, T0);
	end_dials(&a, "", 1, T0);
	pair_run(&a, &c, PAIR_BUF, T0);
	ok(!a.opened && !c.opened && c.o.reason == REFUSED_NAME,
	    "it dials itself: %s", c.o.text);
}

/* Somebody joins two who mean others. */
static void
test_between(void)
{
	both(KEY, KEY);
	end_init(&c, "n3", KEY, 33);
	end_listens(&c, 3, T0);
	end_dials(&a, "n2", 1, T0);
	pair_run(&a, &c, PAIR_BUF, T0);
	ok(!a.opened && !c.opened && a.o.reason == REFUSED_NAME,
	    "who means n2 does not take n3: %s", a.o.text);

	/* The proof of a dialer is none of a listener. */
	both(KEY, KEY);
	end_listens(&b, 2, T0);
	end_dials(&a, "n2", 1, T0);
	pair_move(&a, &b, PAIR_BUF, T0);
	pair_move(&b, &a, PAIR_BUF, T0);
	pair_move(&a, &a, PAIR_BUF, T0);
	ok(a.l.state == LINK_DROPPED && !a.l.proven && !a.opened,
	    "its own proof does not prove the other end: %s", a.o.text);
}

static void
test_ticket(void)
{
#define OTHER(what, change, told)                                              \
	do {                                                                   \
		both(KEY, KEY);                                                \
		pair_ticket(&a, &b);                                           \
		change;                                                        \
		end_listens(&b, 2, T0);                                        \
		end_dials_data(&a, 1, T0);                                     \
		pair_run(&a, &b, 100, T0);                                     \
		check_refused(&b, &a, told, false, what);                      \
	} while (0)

	OTHER("no ticket", b.knows_ticket = false, REFUSED_TICKET);
	OTHER("connection", b.ticket.want.connection++, REFUSED_TICKET);
	OTHER("version", b.ticket.want.version++, REFUSED_TICKET);
	OTHER("source",
	    (a.ticket.want.source = FEED_SEGMENTS, a.ticket.want.until = 200),
	    REFUSED_TICKET);
	OTHER("chain", b.ticket.want.crc ^= 1, REFUSED_TICKET);
	OTHER("epoch", b.ticket.want.epoch++, REFUSED_TICKET);
	OTHER("the other epoch", b.ticket.want.their_epoch++, REFUSED_TICKET);
	OTHER("term", b.ticket.want.term++, REFUSED_TICKET);
	OTHER("matchpoint", b.ticket.want.vlsn--, REFUSED_TICKET);
	OTHER("its term", b.ticket.want.vlsn_term--, REFUSED_TICKET);
	OTHER("incarnation", a.ticket.want.incarnation++, REFUSED_TICKET);
	OTHER("boot counter", a.ticket.want.boot_count--, REFUSED_TICKET);
	OTHER("boot", a.ticket.want.boot++, REFUSED_TICKET);
	OTHER("master", a.ticket.want.their_incarnation++, REFUSED_TICKET);
	OTHER("its counter", a.ticket.want.their_boot_count--, REFUSED_TICKET);
	OTHER("its boot", a.ticket.want.their_boot++, REFUSED_TICKET);
	OTHER("nonce", b.ticket.nonce[31]++, REFUSED_PROOF);
	OTHER("key", b.key.byte[15]++, REFUSED_PROOF);
#undef OTHER
}

/* A listener that does not have the key is none, for the dialer. */
static void
test_false_master(void)
{
	struct msg_data_welcome lie = { .connection = 77 };
	uint8_t frame[64];
	int n;

	both(KEY, KEY);
	pair_ticket(&a, &b);
	end_dials_data(&a, 1, T0);
	n = msg_encode(MSG_DATA_WELCOME, &lie, 0, frame, sizeof(frame));
	end_gets(&a, frame, (size_t)n, T0);
	ok(!a.opened && a.o.reason == REFUSED_PROOF, "a false master: %s",
	    a.o.text);
	both(KEY, KEY);
	pair_ticket(&a, &b);
	end_dials_data(&a, 1, T0);
	lie.connection = 78;
	n = msg_encode(MSG_DATA_WELCOME, &lie, 0, frame, sizeof(frame));
	end_gets(&a, frame, (size_t)n, T0);
	ok(!a.opened && a.o.reason == REFUSED_TICKET, "of another number: %s",
	    a.o.text);
	/* What was a data connection's hello is shown again. */
	connect_data(100);
	both(KEY, KEY);
	pair_ticket(&a, &b);
	end_listens(&b, 9, T0);
	end_dials_data(&a, 1, T0);
	memcpy(frame, a.out, 16);
	end_init(&c, "n2", KEY, 22);
	memcpy(c.in, a.out, a.out_len);
	c.in_len = a.out_len;
	end_listens(&c, 9, T0);
	pair_run(&a, &b, 100, T0);
	end_answer(&c, T0);
	ok(are_ready() && c.o.reason == REFUSED_TICKET,
	    "a ticket that is used up is none: %s", c.o.text);
}

static void
test_frames(void)
{
	struct msg_frame f = { .term = 4,
		.committed = 100,
		.first = 101,
		.last = 103,
		.bytes = 3 * 1000 };
	struct msg_ack ack = { .term = 4, .appended = 103, .durable = 101 };
	static uint8_t frame[48 + 3000];
	size_t piece;
	bool fine = true;
	int n;

	for (piece = 1; piece < 3100; piece += 7) {
		unsigned i;

		connect_data(100);
		for (i = 0; i < 2; i++) {
			n = link_send(
			    &b.l, MSG_FRAME, &f, frame, sizeof(frame));
			end_sends(&b, frame, (size_t)n);
			end_sends(&b, frame + 48, 3000);
		}
		pair_run(&a, &b, piece, T0);
		n = link_send(&a.l, MSG_ACK, &ack, frame, sizeof(frame));
		end_sends(&a, frame, (size_t)n);
		pair_run(&a, &b, piece, T0);
		fine &= a.messages == 2 && a.log_bytes == 6000 &&
			b.messages == 1 && b.last_type == MSG_ACK;
	}
	ok(fine, "frames with bytes of the log, in pieces of any size");
	/* Its head is there before the rest is. */
	connect_data(100);
	n = link_send(&b.l, MSG_FRAME, &f, frame, sizeof(frame));
	end_gets(&a, frame, 48 + 5, T0);
	ok(a.messages == 1 && a.msg.frame.bytes == 3000 && a.log_bytes == 5 &&
		!a.o.log_end && a.l.log_left == 2995,
	    "a head is told before its records are there");
	ok(link_room(&a.l) <= 256, "which takes no room");
	connect_data(100);
	n = msg_encode(MSG_FRAME, &f, b.l.seq_in, frame, sizeof(frame));
	check_nonsense(
	    &b, frame, (size_t)n, REFUSED_DIRECTION, "the replica sends none");
	connect_data(100);
	n = msg_encode(MSG_ACK, &ack, a.l.seq_in, frame, sizeof(frame));
	check_nonsense(&a, frame, (size_t)n, REFUSED_DIRECTION,
	    "the master acknowledges nothing");
}

/*
 * The socket goes to another process at once: frames are behind the welcome
 * already, and who reads no more than is wanted has none of them.
 */
static void
test_hand(void)
{
	struct msg_frame f = {
		.term = 4, .first = 101, .last = 101, .bytes = 80
	};
	static uint8_t frame[48 + 80];
	struct link_handed handed;
	unsigned i;
	size_t n;

	both(KEY, KEY);
	pair_ticket(&a, &b);
	end_listens(&b, 2, T0);
	end_dials_data(&a, 1, T0);
	pair_move(&a, &b, PAIR_BUF, T0);
	ok(b.opened, "the master is ready");
	for (i = 0; i < 3; i++) {
		(void)link_send(&b.l, MSG_FRAME, &f, frame, sizeof(frame));
		end_sends(&b, frame, sizeof(frame));
	}
	while (!a.opened && a.l.state != LINK_DROPPED) {
		n = link_wants(&a.l, a.in, a.in_len);
		pair_move(&b, &a, n, T0);
	}
	is_u64(b.out_len, 3 * sizeof(frame), "all frames are in the socket");
	is_u64(a.in_len, 0, "and none of them is in a buffer");
	link_hand(&a.l, &handed);
	end_init(&c, "n1", KEY, 11);
	link_adopt(&c.l, &c.self, &handed, T0);
	pair_run(&b, &c, 7, T0);
	ok(c.messages == 3 && c.log_bytes == 240 && c.l.data.connection == 77 &&
		c.l.version == MSG_PROTOCOL,
	    "the other process goes on where it was");
	n = link_wants(&c.l, frame, 48);
	is_u64(n, 0, "of a frame its head is a message");
	is_u64(link_wants(&c.l, frame, 20), 28, "20 bytes of 48");
	(void)link_send(&b.l, MSG_FRAME, &f, frame, sizeof(frame));
	end_gets(&c, frame, 48, T0);
	is_u64(link_wants(&c.l, frame, 0), 80, "then the log's bytes");
}

static unsigned
flood(uint64_t gap_ns, unsigned most)
{
	struct msg_read ask = { .ticket = 1, .term = 1 };
	uint64_t now = T0;
	uint8_t frame[64];
	unsigned i;
	int n;

	connect_control(100);
	for (i = 0; i < most && b.l.state == LINK_READY; i++) {
		n = link_send(&a.l, MSG_READ, &ask, frame, sizeof(frame));
		end_gets(&b, frame, (size_t)n, now);
		now += gap_ns;
	}
	return i;
}

static void
test_flood(void)
{
	unsigned n = flood(0, 300000);

	ok(n == 250001 && b.o.reason == REFUSED_FLOOD,
	    "%u messages at once are too many: %s", n, b.o.text);
	n = flood(2000, 900000);
	ok(n < 900000 && b.o.reason == REFUSED_FLOOD,
	    "so are 500,000 a second, after %u", n);
	n = flood(4000, 500000);
	ok(n == 500000 && b.l.state == LINK_READY, "250,000 a second are not");
}

/* At its deadline, and not before, an end is dropped for a stall. */
static void
check_stall(struct end *e, uint64_t want, const char *name)
{
	uint64_t at = link_deadline(&e->l);

	is_u64(at, want, name);
	link_tick(&e->l, at - 1, &e->o);
	ok(e->o.what == LINK_MORE && e->l.state != LINK_DROPPED,
	    "%s: not before", name);
	link_tick(&e->l, at, &e->o);
	ok(e->o.what == LINK_DROP && e->o.reason == REFUSED_STALL, "%s: %s",
	    name, e->o.text);
	is_u64(link_deadline(&e->l), UINT64_MAX, "and then never again");
}

static void
test_stall_handshake(void)
{
	uint64_t end = T0 + LINK_HANDSHAKE_NS;

	both(KEY, KEY);
	end_listens(&b, 2, T0);
	check_stall(&b, end, "who says nothing");
	is_u64(b.o.send_len, 0, "is told nothing");
	both(KEY, KEY);
	end_dials(&a, "n2", 1, T0);
	check_stall(&a, end, "no challenge");
	both(KEY, KEY);
	end_listens(&b, 2, T0);
	end_dials(&a, "n2", 1, T0);
	pair_move(&a, &b, PAIR_BUF, T0 + 5);
	check_stall(&b, end, "no proof");
	ok(b.o.send_len > 0, "who has said hello is told");
	both(KEY, KEY);
	b.judges = false;
	run_both("n2");
	check_stall(&b, end, "no judgement");
	both(KEY, KEY);
	b.judges = false;
	run_both("n2");
	check_stall(&a, end, "no welcome");
	both(KEY, KEY);
	pair_ticket(&a, &b);
	end_dials_data(&a, 1, T0);
	check_stall(&a, end, "no welcome to a ticket");
}

static void
test_stall_ready(void)
{
	struct msg_read ask = { .ticket = 1, .term = 1 };
	struct msg_frame f = { .term = 4, .first = 1, .last = 1, .bytes = 80 };
	uint8_t frame[128] = { 0 };

	connect_control(100);
	check_stall(&b, T0 + 1000000000, "silence");
	connect_control(100);
	(void)link_send(&a.l, MSG_READ, &ask, frame, sizeof(frame));
	end_gets(&b, frame, 32, T0 + 7);
	is_u64(link_deadline(&b.l), T0 + 7 + 1000000000, "a message ends it");
	b.self.silence_ns = 0;
	is_u64(link_deadline(&b.l), UINT64_MAX, "none is too long, if so told");
	(void)link_send(&a.l, MSG_READ, &ask, frame, sizeof(frame));
	end_gets(&b, frame, 1, T0 + 9);
	end_gets(&b, frame + 1, 1, T0 + 1000);
	check_stall(&b, T0 + 9 + LINK_FRAME_NS,
	    "half a message, whatever else of it comes");
	connect_data(100);
	is_u64(link_deadline(&a.l), UINT64_MAX, "no frame, no hurry");
	(void)link_send(&b.l, MSG_FRAME, &f, frame, sizeof(frame));
	end_gets(&a, frame, 48, T0 + 20);
	is_u64(link_deadline(&a.l), T0 + 20 + LINK_FRAME_NS,
	    "the log's bytes are due");
	end_gets(&a, frame, 79, T0 + 30);
	check_stall(&a, T0 + 30 + LINK_FRAME_NS, "the log's last byte");
	connect_data(100);
	(void)link_send(&b.l, MSG_FRAME, &f, frame, sizeof(frame));
	end_gets(&a, frame, 48, T0 + 20);
	end_gets(&a, frame, 80, T0 + 30);
	is_u64(link_deadline(&a.l), UINT64_MAX, "all are there");
}

static void
test_end(void)
{
	connect_control(100);
	link_end(&a.l, REFUSED_STOPPING, "n1 stops", &a.o);
	end_obey(&a, T0);
	pair_run(&a, &b, 3, T0);
	ok(b.o.what == LINK_DROP && b.o.by_peer && b.o.proven &&
		b.o.reason == REFUSED_STOPPING,
	    "an orderly end is told: %s", b.o.text);
}

/* Words of one who has the key and means harm: named, never an abort. */
static void
test_member_lies(void)
{
	static uint8_t frame[MSG_SMALL_MAX];
	unsigned i, k, taken = 0, dropped = 0;

	for (i = 0; i < 300; i++) {
		struct end *e = i % 2 == 0 ? &b : &a;

		if (i % 3 == 0)
			connect_data(100);
		else
			connect_control(100);
		for (k = 0; k < 200 && e->l.state == LINK_READY; k++) {
			const struct msg_row *row =
			    msg_row_at((unsigned)(splitmix(&seed) % 32));
			int n;

			msg_random(row->type, &m, &seed);
			n = msg_encode(
			    row->type, &m, e->l.seq_in, frame, sizeof(frame));
			if (splitmix(&seed) % 4 == 0) {
				frame[MSG_HEAD +
				      splitmix(&seed) %
					  ((unsigned)n - MSG_HEAD)] ^=
				    (uint8_t)(1u << splitmix(&seed) % 8);
				put_le32(
				    frame, crc32c(0, frame + 4, (size_t)n - 4));
			}
			end_gets(e, frame, (size_t)n, T0 + k);
		}
		taken += e->messages;
		if (e->l.state == LINK_DROPPED) {
			dropped++;
			if (e->o.what != LINK_DROP || e->o.reason == 0 ||
			    (e->o.text[0] == '\0' && !e->o.by_peer))
				dropped = 1000000;
		}
	}
	ok(dropped < 1000000 && dropped > 0 && taken > 0,
	    "any message to one that is ready: %u taken, %u of 300 dropped",
	    taken, dropped);
}

int
main(void)
{
	const char *s = getenv("SEED");

	seed = s != NULL ? strtoull(s, NULL, 0)
			 : (uint64_t)time(NULL) << 20 ^ (uint64_t)getpid();
	diag("SEED=%" PRIu64, seed);
	test_control();
	test_data();
	test_versions();
	test_names();
	test_judgement();
	test_newer_refusal();
	test_hold();
	test_stranger();
	test_order();
	test_ready();
	test_sequence();
	test_nonsense();
	test_altered(false);
	test_altered(true);
	test_replay();
	test_between();
	test_ticket();
	test_false_master();
	test_frames();
	test_hand();
	test_flood();
	test_stall_handshake();
	test_stall_ready();
	test_end();
	test_member_lies();
	return tap_done();
}
