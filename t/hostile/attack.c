/*
 * The attackers: so many connections, each leading one short life after
 * another, all in one poll loop, so that they cost little and the node is what
 * is loaded. Usage: attack CLIENT HTTP SEED SLOTS LOCK_FD
 *
 * What slot N does in its nth life follows from SEED and N alone. The last
 * slot, by itself, is for FLUSHALL: the writer (witness.c) at the other end of
 * LOCK_FD knows what must be there, so before one is sent the writer is asked
 * ('f') to finish what it does and says so ('g'); it begins anew when all keys
 * are gone ('d'). SIGTERM ends it: a line a kind on stdout.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include "t/hostile/script.h"

#define SLOTS_MAX   4096u
#define FILLER_SIZE (17u << 20)
#define READ_MAX    65536u
#define PAUSE_MS    50 /* after a connect that failed */

enum state { REST, ASKING, CONNECTING, OPEN };

/* Counts whole replies, and forgets what they say. */
struct replies {
	uint64_t skip; /* bytes of a bulk */
	uint64_t open; /* values that the reply at hand still has */
	char line[32];
	unsigned line_len;
};

struct slot {
	int fd;
	enum state state;
	enum kind kind;
	enum role role;
	bool cleaning; /* the flusher's last step */
	bool closed; /* by the other side */
	uint64_t rng;
	uint64_t write_at, read_at, until; /* ns */
	size_t sent, total;
	uint64_t answers;
	struct replies replies;
	struct script s;
};

static struct {
	uint64_t lives, sent, answers, errors, closed, refused, unanswered;
} count[KIND_COUNT];

static struct attack {
	struct sockaddr_in client, http;
	struct slot *slots;
	struct pollfd *polls; /* one for each slot */
	unsigned slot_count;
	int lock_fd;
	bool heard; /* an answer, or who attacks gets none */
	uint8_t *filler;
	uint8_t in[READ_MAX];
} me;

static volatile sig_atomic_t stopping;

static void
on_term(int sig)
{
	(void)sig;
	stopping = 1;
}

/* ---- replies ---- */

static uint64_t
number(const char *text)
{
	long long n = strtoll(text, NULL, 10);

	return n > 0 ? (uint64_t)n : 0;
}

/* A line is whole: what does it say about what follows? */
static void
replies_line(struct slot *s)
{
	struct replies *r = &s->replies;

	r->line[r->line_len] = '\0';
	if (r->open == 0) {
		r->open = 1;
		count[s->kind].errors += r->line[0] == '-';
	}
	r->open--;
	if (strchr("*~>", r->line[0]) != NULL)
		r->open += number(r->line + 1);
	else if (r->line[0] == '%')
		r->open += 2 * number(r->line + 1);
	else if (strchr("$=!", r->line[0]) != NULL && r->line[1] != '-')
		r->skip = number(r->line + 1) + 2;
	r->line_len = 0;
}

static void
replies_feed(struct slot *s, const uint8_t *p, size_t n)
{
	struct replies *r = &s->replies;

	while (n > 0) {
		size_t step = 1;

		if (r->skip > 0) {
			step = r->skip < n ? (size_t)r->skip : n;
			r->skip -= step;
		} else if (*p == '\n')
			replies_line(s);
		else if (r->line_len < sizeof(r->line) - 1)
			r->line[r->line_len++] = (char)*p;
		if (r->skip == 0 && r->open == 0 && r->line_len == 0) {
			s->answers++;
			count[s->kind].answers++;
			me.heard = true;
		}
		p += step;
		n -= step;
	}
}

/* ---- lives ---- */

static void
lock_say(char what)
{
	if (write(me.lock_fd, &what, 1) != 1)
		die("the writer is gone");
}

static void
life_connect(struct slot *s)
{
	s->sent = s->answers = 0;
	s->total =
	    (s->s.head.len + s->s.fill + strlen(s->s.tail)) * s->s.repeat;
	if (s->total > s->s.cut)
		s->total = s->s.cut;
	s->replies = (struct replies){ 0 };
	s->closed = false;
	s->write_at = s->read_at = 0;
	count[s->kind].lives++;
	s->fd = net_begin(kind_is_http(s->kind) ? &me.http : &me.client);
	s->state = s->fd < 0 ? REST : CONNECTING;
	s->until = mono_ns() + s->s.hold_ms * NS_PER_MS;
	if (s->fd >= 0)
		return;
	count[s->kind].refused++;
	s->until = mono_ns() + PAUSE_MS * NS_PER_MS;
}

static void
life_begin(struct slot *s)
{
	if (s->cleaning) {
		life_connect(s);
		return;
	}
	s->kind = script_kind(&s->rng, s->role);
	script_make(&s->s, s->kind, &s->rng);
	if (s->role == ROLE_FLUSH) {
		lock_say('f');
		s->state = ASKING;
	} else
		life_connect(s);
}

/* A flush is over when a plain one behind it is answered. */
static void
flusher_rest(struct slot *s)
{
	if (s->cleaning && s->answers > 0) {
		s->cleaning = false;
		lock_say('d');
		s->until += (100 + rnd_below(&s->rng, 2000)) * NS_PER_MS;
	} else {
		s->cleaning = true;
		script_flush(&s->s);
	}
}

static void
life_end(struct slot *s)
{
	struct linger reset = { .l_onoff = 1 };

	if (s->s.rude)
		(void)setsockopt(
		    s->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(s->fd);
	s->fd = -1;
	s->state = REST;
	count[s->kind].closed += s->closed;
	count[s->kind].unanswered +=
	    !s->closed && s->sent == s->total && s->answers < s->s.answers;
	s->until =
	    mono_ns() + (kind_is_http(s->kind) || s->closed ? NS_PER_MS : 0);
	if (s->role == ROLE_FLUSH)
		flusher_rest(s);
}

/* ---- what a connection does ---- */

static void
slot_write(struct slot *s, uint64_t now)
{
	size_t unit = s->s.head.len + s->s.fill + strlen(s->s.tail), at, n;
	const uint8_t *p;
	ssize_t rc;

	while (s->sent < s->total) {
		at = s->sent % unit;
		if (at < s->s.head.len) {
			p = s->s.head.data + at;
			n = s->s.head.len - at;
		} else if ((at -= s->s.head.len) < s->s.fill) {
			p = me.filler + at;
			n = s->s.fill - at;
		} else {
			p = (const uint8_t *)s->s.tail + (at - s->s.fill);
			n = unit - s->s.head.len - at;
		}
		if (n > s->total - s->sent)
			n = s->total - s->sent;
		if (n > s->s.write_step)
			n = s->s.write_step;
		rc = send(s->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (rc < 0) {
			s->closed = errno != EAGAIN;
			return;
		}
		s->sent += (size_t)rc;
		count[s->kind].sent += (uint64_t)rc;
		s->write_at = now + s->s.write_us * UINT64_C(1000);
		/* Its share of this turn: others have a share, too. */
		if (s->s.write_us != 0 || (size_t)rc < n || rc >= 1 << 18)
			break;
	}
	if (s->sent == s->total && s->s.half_close)
		(void)shutdown(s->fd, SHUT_WR);
}

static void
slot_read(struct slot *s, uint64_t now)
{
	size_t n = s->s.read_step < READ_MAX ? s->s.read_step : READ_MAX;
	ssize_t rc = recv(s->fd, me.in, n, MSG_DONTWAIT);

	if (rc > 0 && !kind_is_http(s->kind))
		replies_feed(s, me.in, (size_t)rc);
	else if (rc > 0)
		count[s->kind].answers += rc > 5 && !memcmp(me.in, "HTTP/", 5);
	else
		s->closed = rc == 0 || errno != EAGAIN;
	s->read_at = now + s->s.read_us * UINT64_C(1000);
}

static bool
slot_done(const struct slot *s, uint64_t now)
{
	return s->closed || now >= s->until ||
	       (s->sent == s->total && s->s.answers > 0 &&
		   s->answers >= s->s.answers);
}

static void
slot_event(struct slot *s, short events, uint64_t now)
{
	int error = 0;
	socklen_t len = sizeof(error);

	if (s->state == CONNECTING && events != 0) {
		(void)getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &len);
		s->state = OPEN;
		s->closed = error != 0;
		count[s->kind].refused += error == ECONNREFUSED;
	}
	if (s->state == OPEN && !s->closed && (events & POLLOUT))
		slot_write(s, now);
	if (s->state == OPEN && !s->closed && (events & (POLLIN | POLLERR)))
		slot_read(s, now);
	/* Who reads nothing hears of the other's end all the same. */
	if (s->s.read_step == 0 && (events & (POLLERR | POLLHUP)))
		s->closed = true;
	if (slot_done(s, now))
		life_end(s);
}

/* What the slot waits for; *wake is moved to when it wants a turn at last. */
static short
slot_wants(const struct slot *s, uint64_t now, uint64_t *wake)
{
	short events = 0;
	uint64_t at = s->until;

	if (s->state == CONNECTING)
		events = POLLOUT;
	else if (s->state == OPEN) {
		if (s->sent < s->total && s->write_at <= now)
			events |= POLLOUT;
		else if (s->sent < s->total && s->write_at < at)
			at = s->write_at;
		if (s->s.read_step > 0 && s->read_at <= now)
			events |= POLLIN;
		else if (s->s.read_step > 0 && s->read_at < at)
			at = s->read_at;
	}
	if (at < *wake)
		*wake = at;
	return events;
}

static void
turn(void)
{
	struct pollfd *p = me.polls;
	uint64_t now = mono_ns(), wake = now + NS_PER_S;
	struct slot *s;
	char said;
	unsigned i;

	for (i = 0; i < me.slot_count; i++) {
		s = &me.slots[i];
		if (s->state == REST && now >= s->until)
			life_begin(s);
		p[i].fd = s->state == ASKING ? me.lock_fd : s->fd;
		p[i].events = s->state == ASKING ? (short)POLLIN
						 : slot_wants(s, now, &wake);
		p[i].revents = 0;
	}
	if (poll(p, me.slot_count,
		wake <= now ? 0 : (int)((wake - now) / NS_PER_MS + 1)) < 0)
		return;
	now = mono_ns();
	for (i = 0; i < me.slot_count; i++) {
		s = &me.slots[i];
		if (s->state == ASKING && p[i].revents != 0) {
			if (read(me.lock_fd, &said, 1) != 1)
				die("the writer is gone");
			life_connect(s);
		} else if (s->fd >= 0 && (p[i].revents || now >= s->until))
			slot_event(s, p[i].revents, now);
	}
}

/*
 * A stop in the middle of a flush would leave open what must be there; one
 * before the first answer, on a busy machine, would have shown nothing.
 */
static bool
may_stop(void)
{
	const struct slot *s = &me.slots[me.slot_count - 1];

	return me.heard && s->state == REST && !s->cleaning;
}

/* ONLY=KIND in the environment: those who do not, rest for ever. */
static void
begin_only(const char *name)
{
	bool flush = strcmp(name, kind_names[KIND_FLUSH]) == 0;
	unsigned i;

	if (script_only(name) != 0)
		die(name);
	me.heard = true;
	for (i = 0; i < me.slot_count; i++)
		if (flush != (me.slots[i].role == ROLE_FLUSH))
			me.slots[i].until = UINT64_MAX;
}

static void
begin(char **argv)
{
	struct rlimit files = { 65536, 65536 };
	uint64_t seed = strtoull(argv[3], NULL, 10);
	unsigned n = (unsigned)strtoul(argv[4], NULL, 10), i;

	(void)setrlimit(RLIMIT_NOFILE, &files);
	me.client = net_addr(argv[1]);
	me.http = net_addr(argv[2]);
	me.lock_fd = atoi(argv[5]);
	/* More than half speak HTTP: the node has few places for those. */
	me.slot_count = n * 5 / 2 + 1;
	if (n == 0 || me.slot_count > SLOTS_MAX)
		die("SLOTS");
	me.slots = calloc(me.slot_count, sizeof(*me.slots));
	me.polls = calloc(me.slot_count, sizeof(*me.polls));
	me.filler = malloc(FILLER_SIZE);
	if (me.slots == NULL || me.polls == NULL || me.filler == NULL)
		die("memory");
	memset(me.filler, 'f', FILLER_SIZE);
	for (i = 0; i < me.slot_count; i++) {
		me.slots[i].fd = -1;
		me.slots[i].role = i >= n  ? ROLE_HTTP
				   : i % 2 ? ROLE_WAITING
					   : ROLE_BUSY;
		me.slots[i].rng = seed * UINT64_C(0x10001) + i;
	}
	me.slots[i - 1].role = ROLE_FLUSH;
	me.slots[i - 1].until = mono_ns() + NS_PER_S / 2;
	if (getenv("ONLY") != NULL)
		begin_only(getenv("ONLY"));
}

int
main(int argc, char **argv)
{
	if (argc != 6)
		die("usage: attack CLIENT HTTP SEED SLOTS LOCK_FD");
	net_child();
	signal(SIGTERM, on_term);
	(void)setpriority(PRIO_PROCESS, 0, 10);
	begin(argv);
	while (!stopping || !may_stop())
		turn();
	for (int k = 0; k < KIND_COUNT; k++)
		printf("%s %llu %llu %llu %llu %llu %llu %llu\n", kind_names[k],
		    (unsigned long long)count[k].lives,
		    (unsigned long long)count[k].sent,
		    (unsigned long long)count[k].answers,
		    (unsigned long long)count[k].errors,
		    (unsigned long long)count[k].closed,
		    (unsigned long long)count[k].refused,
		    (unsigned long long)count[k].unanswered);
	return 0;
}
