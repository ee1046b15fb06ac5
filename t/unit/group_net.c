/*
 * Links between members, two and three sets of them in one process, on real
 * sockets: they find each other, have one link a pair however they dial, tell
 * why they refuse one, notice who dies or falls silent, dial again, and hand
 * over data connections by ticket. SEED=N replays.
 */
#include "t/lib/net_rig.h"

#include <fcntl.h>

#include "t/lib/link_pair.h"

#define WAIT TAP_WAIT_MS

static uint32_t
row_link(const struct node *n, unsigned i)
{
	return atomic_load(&n->f.r.peers->row[i].link);
}

static const char *
row_error(const struct node *n, unsigned i)
{
	static char text[PEER_TEXT];

	peer_text_get(&n->f.r.peers->row[i].error, text, sizeof(text));
	return text;
}

static unsigned
live_links(const struct node *n)
{
	unsigned i, count = 0;

	for (i = 0; i < NET_LINKS; i++)
		count += n->net.link[i].phase == LINK_LIVE;
	return count;
}

static bool
pair_up(void)
{
	return peers_up(&rig[0]->net) == 2 && peers_up(&rig[1]->net) == 1;
}

static bool
pair_single(void)
{
	return pair_up() && live_links(rig[0]) == 1 && live_links(rig[1]) == 1;
}

static void
two_nodes(void)
{
	rig_node(0, "n1");
	rig_node(1, "n2");
}

static void
two_linked(void)
{
	two_nodes();
	rig_know(rig[0], true);
	rig_know(rig[1], true);
	if (!RUN_UNTIL(pair_single(), WAIT))
		diag("no link");
}

static void
free_all(void)
{
	unsigned i;

	for (i = 0; i < RIG_NODES; i++)
		if (rig[i] != NULL)
			rig_free(i);
}

static void
test_three(void)
{
	struct msg_released m = { .term = 3, .master = 101, .stand = 1 };
	const struct msg_proof *p;
	unsigned i;

	rig_node(0, "n1");
	rig_node(1, "n2");
	rig_node(2, "n3");
	for (i = 0; i < 3; i++)
		rig_know(rig[i], true);
	ok(RUN_UNTIL(peers_up(&rig[0]->net) == 6 &&
			 peers_up(&rig[1]->net) == 5 &&
			 peers_up(&rig[2]->net) == 3,
	       WAIT),
	    "three find each other");
	p = peers_facts(&rig[0]->net, 2);
	ok(p != NULL && p->incarnation == 102 && p->boot == 1002,
	    "and know what each tells of itself");
	is_i64(peers_find(&rig[0]->net, 102), 2, "by its incarnation, too");
	is_i64(peers_send(&rig[0]->net, 1, MSG_RELEASED, &m), 0, "a message");
	ok(RUN_UNTIL(rig[1]->messages == 1, WAIT), "comes");
	ok(rig[1]->last_index == 0 && rig[1]->last_type == MSG_RELEASED &&
		rig[1]->last.released.master == 101,
	    "as it was sent, from whom it is");
	is_i64(peers_send(&rig[0]->net, 0, MSG_RELEASED, &m), -ENOTCONN,
	    "none to oneself");
	m.term = 0;
	is_i64(peers_send(&rig[0]->net, 1, MSG_RELEASED, &m), -EINVAL,
	    "nor one that would be refused");
	ok(row_link(rig[0], 0) == PEER_NONE && row_link(rig[0], 1) == PEER_UP,
	    "rows show it");
	ok(RUN_UNTIL(
	       atomic_load(&rig[0]->f.r.peers->row[1].appended) == 77 &&
		   atomic_load(&rig[0]->f.r.peers->row[1].role) == ROLE_REPLICA,
	       WAIT),
	    "and what each tells of its log");
	ok(rig_counted(rig[0], C_PEER_LINKS) == 2 &&
		rig_counted(rig[0], C_PEER_DIALS) +
			rig_counted(rig[0], C_PEER_ACCEPTS) >=
		    2 &&
		rig_counted(rig[0], C_PEER_MESSAGES_IN) > 0 &&
		rig_counted(rig[0], C_PEER_MESSAGES_OUT) > 0 &&
		rig_counted(rig[0], C_PEER_BYTES_IN) > 300 &&
		rig_counted(rig[0], C_PEER_BYTES_OUT) > 300,
	    "counted");
	for (i = 0; i < 3; i++)
		peers_stop(&rig[i]->net);
	ok(RUN_UNTIL(!peers_busy(&rig[0]->net) && !peers_busy(&rig[1]->net) &&
			 !peers_busy(&rig[2]->net),
	       WAIT),
	    "stopped, nothing is left under way");
	free_all();
}

/* One link, and it stays the one. */
static void
test_both_dial(void)
{
	unsigned round, flaps = 0, fine = 0, k;

	two_nodes();
	for (round = 0; round < 200; round++) {
		unsigned ups = rig[0]->ups + rig[1]->ups;

		rig_know(rig[0], true);
		rig_know(rig[1], true);
		rig[0]->net.peer[1].dial_ns = rig[1]->net.peer[0].dial_ns = 0;
		/* One may be ahead of the other by some turns. */
		rig[rnd() % 2]->still = true;
		for (k = rnd() % 4; k > 0; k--)
			rig_turn();
		rig[0]->still = rig[1]->still = false;
		fine += RUN_UNTIL(pair_single(), WAIT);
		for (k = 0; k < 50; k++)
			rig_turn();
		fine += pair_single();
		flaps += rig[0]->ups + rig[1]->ups - ups != 2;
		peers_set(&rig[0]->net, NULL, 0);
		peers_set(&rig[1]->net, NULL, 0);
		(void)RUN_UNTIL(
		    !peers_busy(&rig[0]->net) && !peers_busy(&rig[1]->net),
		    WAIT);
	}
	is_u64(fine, 400, "both dial at once: one link, 200 times");
	is_u64(flaps, 0, "which is not made twice");
	free_all();
}

static void
test_dies(bool reset)
{
	uint64_t dials;

	two_linked();
	rig_kill(rig[1], reset);
	ok(RUN_UNTIL(rig[0]->downs == 1, WAIT), "who dies is noticed");
	is_u64(rig_counted(rig[0], C_PEER_LOST), 1, "and counted");
	dials = rig_counted(rig[0], C_PEER_DIALS);
	rig_run(1500);
	dials = rig_counted(rig[0], C_PEER_DIALS) - dials;
	ok(dials >= 1 && dials <= 6, "dialled again, not all the time: %u",
	    (unsigned)dials);
	rig[1]->facts.boot_count++;
	rig[1]->facts.boot += 50;
	rig_start(rig[1]);
	rig_know(rig[1], true);
	ok(RUN_UNTIL(pair_single(), 2000), "back, it is linked at once");
	is_u64(peers_facts(&rig[0]->net, 1)->boot_count, 6, "its newer boot");
	free_all();
}

static void
test_silence(void)
{
	uint64_t began;

	two_linked();
	rig[1]->still = true;
	began = tap_now_ms();
	rig_run(2000);
	is_u64(rig[0]->downs, 0, "a pause of two seconds is none");
	ok(RUN_UNTIL(rig[0]->downs == 1, WAIT) &&
		strstr(row_error(rig[0], 1), "silence") != NULL,
	    "silence is: %s after %u ms", row_error(rig[0], 1),
	    (unsigned)(tap_now_ms() - began));
	rig[1]->still = false;
	ok(RUN_UNTIL(pair_single(), WAIT), "it comes back");
	free_all();
}

/* n1 and n2 get no link; what n1's row says. */
static void
check_refused(const char *what, const char *want)
{
	uint64_t refused;

	rig_know(rig[0], false);
	rig_know(rig[1], false);
	ok(RUN_UNTIL(row_link(rig[0], 1) == PEER_REFUSED &&
			 row_link(rig[1], 0) == PEER_REFUSED,
	       WAIT),
	    "%s: refused", what);
	rig_run(400);
	ok(peers_up(&rig[0]->net) == 0 && peers_up(&rig[1]->net) == 0,
	    "%s: no link", what);
	ok(strstr(row_error(rig[0], 1), want) != NULL ||
		strstr(row_error(rig[1], 0), want) != NULL,
	    "%s: told: %s", what, row_error(rig[0], 1));
	refused = rig_counted(rig[0], C_PEER_REFUSED) +
		  rig_counted(rig[0], C_PEER_REFUSALS);
	ok(refused > 0, "%s: counted", what);
	free_all();
}

static void
test_refusals(void)
{
	two_nodes();
	rig[1]->key.byte[3] = 'x';
	check_refused("another key", "the group keys differ");
	two_nodes();
	rig[1]->key.len = 0;
	rig_kill(rig[1], true);
	rig_start(rig[1]);
	check_refused("no key", "group_key_file");
	two_nodes();
	strcpy(rig[1]->group, "g2");
	rig_kill(rig[1], true);
	rig_start(rig[1]);
	check_refused("another group", "group g");
	two_nodes();
	rig[1]->facts.uuid[0] = 77;
	check_refused("another uuid", "two groups that have one name");
	two_nodes();
	rig[1]->facts.generation = 2;
	check_refused("another generation", "generation");
	two_nodes();
	rig[1]->facts.incarnation = rig[0]->facts.incarnation;
	check_refused("a copy of this node", "a copy of the other");
	two_nodes();
	rig[0]->known_count = 9;
	check_refused("an older boot than was seen", "boot 9");
	two_nodes();
	rig[0]->known_count = 5;
	rig[0]->known_id = 4;
	check_refused("another boot of that number", "boot 5");
	two_nodes();
	rig[0]->acked_term = rig[1]->facts.term;
	rig[0]->acked = rig[1]->facts.last + 1;
	check_refused("less than it acknowledged", "has acknowledged");
	two_nodes();
	rig[0]->acked_term = rig[1]->facts.term - 1;
	rig[0]->acked = rig[1]->facts.last + 1;
	rig_know(rig[0], false);
	rig_know(rig[1], false);
	ok(RUN_UNTIL(pair_single(), WAIT), "which a later term may cut");
	free_all();
	two_nodes();
	rig[0]->acked_term = rig[1]->facts.term;
	rig[0]->acked = rig[1]->facts.last;
	rig_know(rig[0], false);
	rig_know(rig[1], false);
	ok(RUN_UNTIL(pair_single(), WAIT), "all of it is there");
	free_all();
}

/* What a node tells of itself may be read while it changes. */
static void
test_facts(void)
{
	two_nodes();
	rig[0]->facts.first = 50;
	rig[0]->facts.term = 1;
	rig[1]->facts.boot = 0;
	rig_know(rig[0], true);
	rig_know(rig[1], true);
	rig_run(300);
	ok(peers_up(&rig[0]->net) == 0 && peers_up(&rig[1]->net) == 0,
	    "who does not know its boot is not linked");
	rig[1]->facts.boot = 1001;
	ok(RUN_UNTIL(pair_single(), WAIT), "when it does it is");
	ok(peers_facts(&rig[1]->net, 0)->first == 11 &&
		peers_facts(&rig[1]->net, 0)->term == 3,
	    "positions that do not fit each other are made to");
	free_all();
}

static void
test_type(void)
{
	struct net_member row = {
		.name = "n2", .type = NODE_ARBITER, .incarnation = 101
	};

	two_nodes();
	strcpy(row.address, rig[1]->addr);
	peers_set(&rig[0]->net, &row, 1);
	rig_know(rig[1], true);
	ok(RUN_UNTIL(row_link(rig[0], 0) == PEER_REFUSED, WAIT) &&
		strstr(row_error(rig[0], 0), "arbiter") != NULL,
	    "another type: %s", row_error(rig[0], 0));
	ok(RUN_UNTIL(rig_counted(rig[1], C_PEER_REFUSED) > 0, WAIT) &&
		rig_counted(rig[0], C_PEER_REFUSALS) > 0,
	    "counted at both ends");
	row.type = NODE_ELECTABLE;
	row.incarnation = 55;
	peers_set(&rig[0]->net, &row, 1);
	ok(RUN_UNTIL(
	       strstr(row_error(rig[0], 0), "data directory") != NULL, WAIT),
	    "another directory: %s", row_error(rig[0], 0));
	row.incarnation = 101;
	peers_set(&rig[0]->net, &row, 1);
	ok(RUN_UNTIL(peers_up(&rig[0]->net) == 1, WAIT),
	    "put right, it is linked");
	peers_set(&rig[0]->net, NULL, 0);
	ok(RUN_UNTIL(rig[1]->downs >= 1, WAIT), "no member any more");
	free_all();
}

/* A second process of that directory, while the first one is up. */
static void
test_clone(void)
{
	struct node *copy;

	two_linked();
	rig_node(2, "n2");
	copy = rig[2];
	copy->facts = rig[1]->facts;
	copy->facts.boot++;
	rig_know(copy, false);
	ok(RUN_UNTIL(
	       strstr(row_error(copy, 0), "a copy, or an older") != NULL, WAIT),
	    "a copy: %s", row_error(copy, 0));
	copy->facts.boot_count--;
	rig_run(300);
	ok(peers_up(&copy->net) == 0 && pair_single(), "gets nowhere");
	copy->facts.boot_count += 2;
	ok(RUN_UNTIL(strstr(row_error(copy, 0), "still beats") != NULL, WAIT),
	    "a newer boot, while the older one beats: %s", row_error(copy, 0));
	ok(pair_single(), "the older one stays");
	rig_kill(rig[1], false);
	ok(RUN_UNTIL(peers_up(&copy->net) == 1, WAIT),
	    "once that is gone it is linked");
	free_all();
}

static void
test_unjoined(void)
{
	two_nodes();
	memset(rig[0]->facts.uuid, 0, MSG_UUID);
	rig[0]->facts.generation = 0;
	rig[0]->facts.standing = STANDING_UNJOINED;
	rig[0]->facts.term = rig[0]->facts.first = rig[0]->facts.last =
	    rig[0]->facts.last_term = 0;
	rig_know(rig[0], false);
	rig_know(rig[1], false);
	ok(RUN_UNTIL(pair_single(), WAIT),
	    "one of no group is linked to a member");
	is_u64(peers_facts(&rig[1]->net, 0)->standing, STANDING_UNJOINED,
	    "and says what it is");
	free_all();
	two_nodes();
	rig[0]->facts.standing = STANDING_NOTED;
	rig[1]->facts.standing = STANDING_NOTED;
	rig[1]->facts.uuid[3] = 200;
	rig_know(rig[0], false);
	rig_know(rig[1], false);
	ok(RUN_UNTIL(pair_single(), WAIT), "two that hold two notes, too");
	free_all();
}

/* ---- strangers ---- */

static int
stranger(const struct node *n)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	a.sin_port = htons((uint16_t)atoi(strchr(n->addr, ':') + 1));
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) != 0)
		abort();
	(void)fcntl(fd, F_SETFL, O_NONBLOCK);
	return fd;
}

/* Has the other end closed? What it said before is read. */
static bool
is_closed(int fd)
{
	char buf[4096];
	ssize_t n;

	while ((n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0)
		;
	return n == 0 || (errno != EAGAIN && errno != EINTR);
}

/* n2 is no set of links, but this end of a connection to n1. */
static struct end liar;

static bool
liar_turn(int fd)
{
	uint8_t buf[8192];
	ssize_t n;

	if (liar.out_len > 0) {
		n = send(fd, liar.out, liar.out_len, MSG_NOSIGNAL);
		if (n > 0) {
			liar.out_len -= (size_t)n;
			memmove(liar.out, liar.out + n, liar.out_len);
		}
	}
	n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
	if (n > 0)
		end_gets(&liar, buf, (size_t)n, mono_ns());
	return liar.l.state == LINK_READY;
}

static int
liar_links(void)
{
	int fd;

	rig_node(0, "n1");
	rig_node(1, "n2");
	rig[1]->still = true;
	end_init(&liar, "n2", "0123456789abcdef", 101);
	memcpy(liar.mine.uuid, rig[0]->facts.uuid, MSG_UUID);
	rig_know(rig[0], true);
	fd = stranger(rig[0]);
	end_dials(&liar, "n1", 1, mono_ns());
	ok(RUN_UNTIL(liar_turn(fd), WAIT) &&
		RUN_UNTIL(liar_turn(fd) && peers_up(&rig[0]->net) == 2, WAIT),
	    "a liar with the key is linked");
	return fd;
}

static void
test_half_handshakes(void)
{
	int fd[5];
	unsigned i;

	two_nodes();
	rig_know(rig[0], true);
	for (i = 0; i < 5; i++)
		fd[i] = stranger(rig[0]);
	(void)send(fd[1], "x", 1, MSG_NOSIGNAL);
	(void)send(
	    fd[2], "\1\2\3\4\70\0\0\0\1\0\0\0\0\0\0\0NLPW", 20, MSG_NOSIGNAL);
	(void)send(fd[3], "GET / HTTP/1.0\r\n\r\n", 18, MSG_NOSIGNAL);
	close(fd[4]);
	rig[1]->still = true;
	ok(RUN_UNTIL(is_closed(fd[3]), WAIT), "who speaks HTTP is dropped");
	ok(RUN_UNTIL(
	       is_closed(fd[0]) && is_closed(fd[1]) && is_closed(fd[2]), WAIT),
	    "who says nothing, or half of it, is dropped in time");
	ok(rig_counted(rig[0], C_PEER_REFUSALS) >= 4 &&
		rig_counted(rig[0], C_PEER_ACCEPTS) >= 5,
	    "counted");
	rig[1]->still = false;
	rig_know(rig[1], true);
	ok(RUN_UNTIL(pair_single(), WAIT), "members are linked beside them");
	for (i = 0; i < 4; i++)
		close(fd[i]);
	free_all();
}

/*
 * Strangers that take every place for a handshake, and begin anew as soon as
 * they are put out, keep no member out.
 */
static void
test_crowd(const char *says)
{
	int fd[4 * NET_ACCEPTED];
	unsigned i, again = 0;
	uint64_t until;

	two_nodes();
	rig_know(rig[0], false);
	for (i = 0; i < NITEMS(fd); i++)
		fd[i] = stranger(rig[0]);
	rig_run(100);
	rig_know(rig[1], true);
	until = mono_ns() + WAIT * NS_PER_MS;
	while (!pair_up() && mono_ns() < until) {
		for (i = 0; i < NITEMS(fd); i++) {
			(void)send(fd[i], says, strlen(says), MSG_NOSIGNAL);
			if (!is_closed(fd[i]))
				continue;
			close(fd[i]);
			fd[i] = stranger(rig[0]);
			again++;
		}
		rig_turn();
	}
	ok(pair_up() && again > 0,
	    "a member is let in beside %zu strangers that say \"%s\"",
	    NITEMS(fd), says);
	ok(strstr(row_error(rig[1], 0), "reset") == NULL,
	    "and does not find the door shut");
	for (i = 0; i < NITEMS(fd); i++)
		close(fd[i]);
	free_all();
}

/*
 * Nobody here may be fast enough to be further ahead of the clock than the
 * credit is (t/unit/ipc_link.c has that): so it is nearly used up.
 */
static void
test_flood(void)
{
	struct msg_status m = { .ticket = 1 };
	int fd = liar_links(), n, i;
	uint8_t frame[64];

	rig[0]->net.peer[1].up->wire.flood_ns = mono_ns() + 60 * NS_PER_S;
	for (i = 0; i < 100; i++) {
		n = link_send(&liar.l, MSG_STATUS, &m, frame, sizeof(frame));
		end_sends(&liar, frame, (size_t)n);
	}
	(void)RUN_UNTIL((liar_turn(fd), peers_up(&rig[0]->net) == 0), WAIT);
	ok(strstr(row_error(rig[0], 1), "more messages than") != NULL,
	    "who floods is dropped: %s", row_error(rig[0], 1));
	ok(RUN_UNTIL((liar_turn(fd), liar.l.state == LINK_DROPPED), WAIT) &&
		liar.o.by_peer && liar.o.reason == REFUSED_FLOOD,
	    "and told why");
	close(fd);
	free_all();
}

static void
test_no_reader(void)
{
	struct msg_runs m = { .attempt = 1, .term = 1, .run_count = 500 };
	unsigned i, rc = 0;
	int fd = liar_links();

	for (i = 0; i < m.run_count; i++)
		m.run[i] = (struct term_run){ i + 1, i + 1 };
	m.first = 1;
	m.last = m.run_count;
	m.last_term = m.run_count;
	m.term = m.last_term;
	for (i = 0; i < 200000 && rc == 0; i++) {
		rc = (unsigned)-peers_send(&rig[0]->net, 1, MSG_SYNC_RUNS, &m);
		rig_turn();
	}
	is_u64(rc, ENOBUFS, "who does not read is dropped, not waited for");
	ok(rig[0]->downs == 1 &&
		strstr(row_error(rig[0], 1), "does not read") != NULL,
	    "told: %s", row_error(rig[0], 1));
	is_i64(peers_send(&rig[0]->net, 1, MSG_SYNC_RUNS, &m), -ENOTCONN,
	    "it is not there then");
	close(fd);
	free_all();
}

/* Many messages at once are taken turn by turn. */
static void
test_fair(void)
{
	struct msg_released m = { .term = 1, .master = 1 };
	unsigned i, before, most = 0, waiting = 0;
	int fd = liar_links(), n;
	uint8_t frame[64];

	for (i = 0; i < 1000; i++) {
		n = link_send(&liar.l, MSG_RELEASED, &m, frame, sizeof(frame));
		end_sends(&liar, frame, (size_t)n);
	}
	before = rig[0]->messages;
	for (i = 0; i < 100000 && rig[0]->messages < before + 1000; i++) {
		unsigned then = rig[0]->messages;

		(void)liar_turn(fd);
		rig_turn();
		if (rig[0]->messages - then > most)
			most = rig[0]->messages - then;
		waiting += peers_pending(&rig[0]->net);
	}
	is_u64(rig[0]->messages, before + 1000, "a thousand messages come");
	ok(most <= 2 * LINK_TURN && waiting > 0,
	    "at most %u in a turn, and it does not sleep over others", most);
	close(fd);
	free_all();
}

static void
test_liar(void)
{
	struct msg_released m = { .term = 1, .master = 1 };
	int fd = liar_links();
	uint8_t frame[64];
	int n;

	n = msg_encode(MSG_RELEASED, &m, 99, frame, sizeof(frame));
	(void)send(fd, frame, (size_t)n, MSG_NOSIGNAL);
	ok(RUN_UNTIL(rig[0]->downs == 1, WAIT) &&
		strstr(row_error(rig[0], 1), "missing or came twice") != NULL,
	    "a frame out of order: %s", row_error(rig[0], 1));
	close(fd);
	free_all();
	fd = liar_links();
	n = msg_encode(MSG_RELEASED, &m, liar.l.seq_out, frame, sizeof(frame));
	(void)send(fd, frame, (size_t)n - 3, MSG_NOSIGNAL);
	(void)RUN_UNTIL(rig[0]->downs == 1, WAIT);
	ok(strstr(row_error(rig[0], 1), "half a message") != NULL,
	    "half a message: %s", row_error(rig[0], 1));
	close(fd);
	free_all();
}

/* ---- names ---- */

static _Atomic unsigned lookups;
static _Atomic uint16_t lookup_port; /* 0: fails */

static int
lookup(const char *host, uint16_t port, struct resolve_list *out)
{
	struct sockaddr_in *a = (void *)&out->addr[0].at;

	(void)host;
	(void)port;
	atomic_fetch_add(&lookups, 1);
	if (atomic_load(&lookup_port) == 0)
		return -EIO;
	memset(out, 0, sizeof(*out));
	out->count = 1;
	out->addr[0].len = sizeof(*a);
	a->sin_family = AF_INET;
	a->sin_port = htons(atomic_load(&lookup_port));
	a->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return 0;
}

static uint16_t
port_of(const struct node *n)
{
	return (uint16_t)atoi(strchr(n->addr, ':') + 1);
}

static void
test_names(void)
{
	struct net_member row = {
		.name = "n2", .address = "db2.example:1", .type = -1
	};

	resolve_by(lookup);
	two_nodes();
	atomic_store(&lookup_port, 0);
	peers_set(&rig[0]->net, &row, 1);
	ok(RUN_UNTIL(rig_counted(rig[0], C_PEER_LOOKUPS) >= 2, WAIT),
	    "a name that is not known is asked for again");
	ok(strstr(row_error(rig[0], 0), "db2.example") != NULL, "told: %s",
	    row_error(rig[0], 0));
	atomic_store(&lookup_port, 1);
	ok(RUN_UNTIL(strstr(row_error(rig[0], 0), "127.0.0.1:1") != NULL, WAIT),
	    "it leads to nobody: %s", row_error(rig[0], 0));
	atomic_store(&lookup_port, port_of(rig[1]));
	row.address[0] = '\0';
	strcpy(row.name, "n1");
	peers_set(&rig[1]->net, &row, 1);
	ok(RUN_UNTIL(peers_up(&rig[0]->net) == 1, WAIT),
	    "and, elsewhere now, is followed");
	ok(atomic_load(&lookups) >= 3, "each dial asks");
	free_all();
	resolve_by(NULL);
}

/* ---- data connections ---- */

static struct msg_ticket
ticket_of(uint64_t connection)
{
	return (struct msg_ticket){ .attempt = 1,
		.connection = connection,
		.term = 3,
		.vlsn = 10,
		.vlsn_term = 3,
		.crc = 99,
		.epoch = 7,
		.their_epoch = 8,
		.source = FEED_LIVE };
}

static bool
both_have_data(void)
{
	return rig[0]->datas == 1 && rig[1]->datas == 1;
}

static void
test_data(void)
{
	struct msg_ticket t = ticket_of(41);
	char buf[16] = "";

	two_linked();
	rig[0]->greets = true; /* right behind its welcome */
	is_i64(peers_ticket(&rig[0]->net, 1, &t), 0, "a ticket");
	is_i64(peers_dial_data(&rig[1]->net, 0, &t), 0, "is dialled by");
	ok(RUN_UNTIL(both_have_data(), WAIT), "both ends have the socket");
	ok(rig[0]->data_index == 1 && rig[1]->data_index == 0 &&
		rig[0]->handed.role == FROM_LISTENER &&
		rig[1]->handed.role == FROM_DIALER &&
		rig[0]->handed.data.connection == 41 &&
		rig[0]->handed.data.epoch == 8 &&
		rig[0]->handed.data.their_epoch == 7 &&
		rig[0]->handed.data.boot == 1001 &&
		rig[0]->handed.data.their_boot == 1000,
	    "and what it was agreed for");
	ok(wait_until(recv(rig[1]->data_fd, buf, 16, 0) == 5, WAIT) &&
		memcmp(buf, "hello", 5) == 0,
	    "no byte behind the handshake was read");
	ok(send(rig[0]->data_fd, "frames", 6, 0) == 6 &&
		wait_until(recv(rig[1]->data_fd, buf, 16, 0) == 6, WAIT) &&
		memcmp(buf, "frames", 6) == 0,
	    "bytes go one way");
	ok(send(rig[1]->data_fd, "acks", 4, 0) == 4 &&
		wait_until(recv(rig[0]->data_fd, buf, 16, 0) == 4, WAIT),
	    "and the other");
	ok(rig_counted(rig[0], C_PEER_DATA) == 1 &&
		rig_counted(rig[1], C_PEER_DATA) == 1,
	    "counted");
	ok(pair_single(), "the control connection stays");
	is_i64(peers_dial_data(&rig[1]->net, 0, &t), 0, "again");
	ok(RUN_UNTIL(rig[1]->data_fails == 1, WAIT) &&
		rig[1]->fail_reason == REFUSED_TICKET &&
		rig[1]->fail_connection == 41,
	    "a ticket is good once");
	free_all();
}

static void
data_refused(const char *what, struct msg_ticket *t)
{
	unsigned before = rig[1]->data_fails;

	(void)peers_dial_data(&rig[1]->net, 0, t);
	ok(RUN_UNTIL(rig[1]->data_fails == before + 1, WAIT) &&
		rig[0]->datas == 0 && rig[1]->datas == 0,
	    "%s", what);
}

static void
test_tickets(void)
{
	struct msg_ticket t = ticket_of(1), other;

	two_linked();
	other = t;
	other.vlsn_term = 0;
	is_i64(peers_ticket(&rig[0]->net, 1, &other), -EINVAL,
	    "a ticket that means nothing");
	is_i64(peers_dial_data(&rig[1]->net, 0, &other), -EINVAL,
	    "is not dialled by, either");
	data_refused("one that was not given", &t);
	(void)peers_ticket(&rig[0]->net, 1, &t);
	peers_void(&rig[0]->net, 1);
	data_refused("one that is void", &t);
	(void)peers_ticket(&rig[0]->net, 1, &t);
	other = t;
	other.epoch++;
	data_refused("one for another epoch", &other);
	data_refused("which has spoilt it", &t);
	(void)peers_ticket(&rig[0]->net, 1, &t);
	other = t;
	other.nonce[0] ^= 1;
	data_refused("a nonce that was not told", &other);
	(void)peers_ticket(&rig[0]->net, 1, &t);
	other = ticket_of(2);
	(void)peers_ticket(&rig[0]->net, 1, &other);
	data_refused("one before the newest", &t);
	rig_run(2200);
	data_refused("one that is too old", &other);
	t = ticket_of(3);
	(void)peers_ticket(&rig[0]->net, 1, &t);
	(void)peers_dial_data(&rig[1]->net, 0, &t);
	rig[0]->still = true;
	rig_run(100);
	peers_void(&rig[1]->net, 0);
	rig[0]->still = false;
	rig_run(300);
	ok(rig[1]->datas == 0 && rig[1]->data_fails == 7,
	    "one that is given up is neither ready nor failed");
	if (rig[0]->datas != 0)
		diag("the other end had it");
	ok(pair_single(), "the control connection stays");
	free_all();
}

int
main(void)
{
	say_level_set(SAY_ERROR);
	rnd_seed();
	test_three();
	test_both_dial();
	test_dies(true);
	test_dies(false);
	test_silence();
	test_refusals();
	test_facts();
	test_type();
	test_clone();
	test_unjoined();
	test_half_handshakes();
	test_crowd("");
	test_crowd("x");
	test_flood();
	test_fair();
	test_no_reader();
	test_liar();
	test_names();
	test_data();
	test_tickets();
	return tap_done();
}
