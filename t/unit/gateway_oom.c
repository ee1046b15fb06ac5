/*
 * Memory that runs out at the Nth allocation of a gateway, for all N until none
 * fails, over sessions that ask for all that it can do: it answers with an
 * error or closes that client, others go on, nothing is lost of what it held,
 * and it lives. Once at full speed, once with a share of time that is used up
 * at each look, so that jobs are parked with what they hold.
 *
 * The linker puts the functions below in the place of libc's (Makefile).
 */
#include "t/lib/gateway_rig.h"
#include "t/lib/store_rig.h"

#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

/* ---- memory ---- */

static struct {
	bool inside; /* the gateway runs, not the test */
	bool maps; /* mmap() fails, not malloc() and its kin */
	uint64_t fail_at, calls;
	int64_t live; /* taken, less given back */
} memory;

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t size);
char *__real_strndup(const char *s, size_t n);
void __real_free(void *p);
void *__real_mmap(void *, size_t, int, int, int, off_t);
int __real_munmap(void *, size_t);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t size);
char *__wrap_strndup(const char *s, size_t n);
void __wrap_free(void *p);
void *__wrap_mmap(void *, size_t, int, int, int, off_t);
int __wrap_munmap(void *, size_t);

static bool
fails(bool map)
{
	if (!memory.inside || memory.maps != map ||
	    ++memory.calls != memory.fail_at)
		return false;
	errno = ENOMEM;
	return true;
}

static void *
taken(void *p)
{
	memory.live += memory.inside && p != NULL;
	return p;
}

void *
__wrap_malloc(size_t size)
{
	return fails(false) ? NULL : taken(__real_malloc(size));
}

void *
__wrap_calloc(size_t n, size_t size)
{
	return fails(false) ? NULL : taken(__real_calloc(n, size));
}

void *
__wrap_realloc(void *old, size_t size)
{
	if (fails(false))
		return NULL;
	if (old == NULL)
		return taken(__real_malloc(size));
	return __real_realloc(old, size);
}

char *
__wrap_strndup(const char *s, size_t n)
{
	return fails(false) ? NULL : taken(__real_strndup(s, n));
}

void
__wrap_free(void *p)
{
	memory.live -= memory.inside && p != NULL;
	__real_free(p);
}

void *
__wrap_mmap(void *at, size_t n, int prot, int flags, int fd, off_t off)
{
	void *p;

	if (fails(true))
		return MAP_FAILED;
	p = __real_mmap(at, n, prot, flags, fd, off);
	memory.live += memory.inside && memory.maps && p != MAP_FAILED;
	return p;
}

int
__wrap_munmap(void *at, size_t n)
{
	memory.live -= memory.inside && memory.maps;
	return __real_munmap(at, n);
}

/* ---- the gateway, its wal and its store ---- */

#define KEYS      1500u /* more than KEYS and SCAN look at in one go */
#define BIG_VALUE 100000u
#define ROUNDS    2000u

/* Of the process that has the gateway; the other one tells of it. */
static struct told_of {
	uint64_t scene, n; /* the allocation that fails */
	uint64_t tried, errors, closed, odd, leaks, refused;
} * seen_of;

static struct rig rig;
static char big_value[BIG_VALUE + 1];
static bool slowly;
static bool refuses; /* wal: every other request */
static bool holds; /* wal: nothing is committed yet */
static uint8_t results[2 * BIG_VALUE];

/* A client, and what may be expected of it. */
struct asker {
	struct conn *c;
	bool spoilt; /* a failure may have changed what it is at */
};

static void
inside(void)
{
	memory.inside = true;
	gw.turn_end_ns = slowly ? 1 : LOOP_NEVER;
	gw.turn_over = false;
}

static void
outside(void)
{
	memory.inside = false;
}

static void
gateway_turn(void)
{
	inside();
	gw.io.loop.now_ns++;
	gw_write_turn(&gw);
	gw_park_wake(&gw);
	gw_write_publish(&gw);
	gw_read_end(&gw);
	gw_memory_turn(&gw.io);
	outside();
}

/* What the store says to an operation, or to so many. */
static size_t
results_of(const struct seen *s)
{
	struct vbuf v = { 0 };
	uint32_t i, count = 1;
	size_t n;

	if (s->type == REC_MULTI) {
		count = get_le32(s->head);
		value_array(&v, count);
	}
	for (i = 0; i < count; i++) {
		if (s->type == REC_OP && get_le16(s->head) == OP_GETSET)
			value_bulk(&v, big_value, BIG_VALUE);
		else
			value_int(&v, 5);
	}
	n = v.len;
	memcpy(results, v.data, n);
	vbuf_free(&v);
	return n;
}

static void
store_answer(const struct seen *s)
{
	size_t n = results_of(s), at, piece;

	for (at = 0; at < n; at += piece) {
		piece = n - at < 60000 ? n - at : 60000;
		store_result(s->seq, last_vlsn, 7,
		    at + piece < n ? RES_MORE : 0, results + at, piece);
		gateway_turn();
	}
}

/* Taken by wal, not answered by the store yet. */
static struct seen due[1024];
static unsigned due_count;

static void
wal_turn(void)
{
	static struct seen first;
	struct seen s;

	while (due_count < NITEMS(due) && wal_take(&s)) {
		/* The operation is in the first of its parts. */
		if (first.len == 0)
			first = s;
		if ((s.flags & REQ_MORE) != 0)
			continue;
		first.flags = s.flags;
		if (refuses && s.seq % 2 == 0) {
			wal_return(s.seq, 1, 0, RET_LOG_FULL);
		} else {
			wal_return(s.seq, 1, ++last_vlsn, RET_OK);
			if ((s.flags & REQ_WANT_RESULT) != 0)
				due[due_count++] = first;
		}
		first.len = 0;
	}
	position_set(&region.pos->appended, last_vlsn);
}

/* wal and store do what there is. */
static void
pump(void)
{
	unsigned i;

	wal_turn();
	if (holds)
		return;
	commit(last_vlsn);
	position_set(&region.pos->applied, last_vlsn);
	position_set(&region.pos->resolved, last_vlsn);
	for (i = 0; i < due_count; i++)
		store_answer(&due[i]);
	due_count = 0;
}

/* Until nobody waits for anything. */
static void
settle(const struct conn *c)
{
	unsigned i;

	for (i = 0; i < ROUNDS; i++) {
		gateway_turn();
		pump();
		if (c->park == PARK_NOT && c->node_count == 0 &&
		    !bytering_ready(&req))
			return;
		if (holds && gw.resting_count == 0 && i > 4)
			return;
	}
	seen_of->odd++;
	diag("scene %" PRIu64 ", allocation %" PRIu64 ": it waits for ever: %s",
	    seen_of->scene, memory.fail_at, gw_park_name(c->park));
}

/* What it would have been sent; as net.c, which closes what has no memory. */
static const char *
hear(struct conn *c)
{
	static char text[1 << 20];
	size_t n = 0;
	struct chunk *s;

	inside();
	gw_conn_queue(c);
	while ((s = c->sending) != NULL) {
		if (n + s->len < sizeof(text)) {
			memcpy(text + n, s->data, s->len);
			n += s->len;
		}
		c->sending = s->next;
		c->queued -= s->len;
		chunk_free(&gw.io.pool, s);
	}
	if (c->out.failed)
		gw_conn_kill(&gw.io, c);
	outside();
	text[n] = '\0';
	return text;
}

static bool
has_failed(void)
{
	return memory.calls >= memory.fail_at;
}

/* Right, or an error of a client whose memory has failed; or it is closed. */
static void
expect(struct asker *a, const char *reply, const char *want)
{
	if (is_closing(a->c)) {
		seen_of->closed += !a->spoilt;
		a->spoilt = true;
		if (has_failed())
			return;
	} else if (strncmp(reply, want, strlen(want)) == 0 ||
		   (a->spoilt && reply[0] != '\0')) {
		return;
	} else if (has_failed() && strstr(reply, "no memory") != NULL) {
		seen_of->errors++;
		a->spoilt = true;
		return;
	}
	seen_of->odd++;
	diag("scene %" PRIu64 ", allocation %" PRIu64
	     ": wanted %.60s, got %.100s",
	    seen_of->scene, memory.fail_at, want, reply);
}

static void
ask_bytes(struct asker *a, const void *bytes, size_t n, const char *want)
{
	size_t at, part;

	if (a->c == NULL)
		return;
	for (at = 0; at < n && !is_closing(a->c); at += part) {
		part = n - at < GW_BUF_SIZE ? n - at : GW_BUF_SIZE;
		inside();
		gw_conn_input(&gw.io, a->c, (const uint8_t *)bytes + at, part);
		outside();
	}
	if (!is_closing(a->c))
		settle(a->c);
	expect(a, hear(a->c), want);
}

static void
ask(struct asker *a, const char *text, const char *want)
{
	ask_bytes(a, text, strlen(text), want);
}

static struct asker
asker(void)
{
	struct asker a = { NULL, false };
	int fd = dup(0);

	inside();
	a.c = gw_conn_new(&gw.io, fd, 0);
	outside();
	if (a.c != NULL)
		return a;
	/* As net.c: it is told so. */
	close(fd);
	seen_of->closed++;
	return a;
}

static void
leave(struct asker *a)
{
	if (a->c == NULL)
		return;
	close(a->c->fd);
	inside();
	gw_conn_free(&gw.io, a->c);
	outside();
}

/* A name, so many arguments of so many bytes. */
static void
ask_args(struct asker *a, const char *name, unsigned argc, size_t len,
    const char *want)
{
	static char text[1 << 20];
	size_t n;
	unsigned i;

	n = (size_t)snprintf(text, sizeof(text), "*%u\r\n$%zu\r\n%s\r\n",
	    argc + 1, strlen(name), name);
	for (i = 0; i < argc; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n,
		    "$%zu\r\n%0*u\r\n", len, (int)len, i);
	ask_bytes(a, text, n, want);
}

/* ---- the session ---- */

static void
say_little(void)
{
	struct asker a = asker();

	ask(&a, "PING\r\n", "+PONG\r\n");
	ask(&a, "SET k v\r\nGET k1\r\n", "+OK\r\n$5\r\nvalue\r\n");
	ask(&a, "GET", "");
	ask(&a, " k1\r\nGET big\r\n", "$5\r\nvalue\r\n$100000\r\n");
	ask(&a, "MGET k1 k2 k3 k4 k5 k6 k7 k8 k9 none\r\n", "*10\r\n$5\r\n");
	ask(&a, "EXISTS k1 k2\r\n", ":2\r\n");
	ask(&a, "GETRANGE big 0 70000\r\n", "$70001\r\n");
	ask(&a, "STRLEN big\r\nTYPE k1\r\nTTL k1\r\n",
	    ":100000\r\n+string\r\n:-1\r\n");
	ask(&a, "INCR n\r\nPING\r\nGETSET k v\r\nPING\r\n",
	    ":5\r\n+PONG\r\n$100000\r\n");
	ask(&a, "WAIT 0 0\r\nSET k 'v", ":0\r\n");
	ask(&a, "'\r\n", "+OK\r\n");
	leave(&a);
}

static void
say_much(void)
{
	struct asker a = asker();

	ask_args(&a, "ECHO", 1, 200000, "$200000\r\n");
	ask_args(&a, "SET", 2, 200, "+OK\r\n");
	ask_args(&a, "SET", 2, 90000, "-ERR key is longer");
	ask_args(&a, "MSET", 2, 400, "+OK\r\n");
	ask_args(&a, "MSET", 6000, 20, "+OK\r\n");
	ask_args(&a, "MSET", 1000, 300, "+OK\r\n");
	ask_args(&a, "DEL", 5000, 20, ":5\r\n");
	ask_args(&a, "EXISTS", 5000, 20, ":0\r\n");
	ask_args(&a, "MGET", 300, 10, "*300\r\n$-1\r\n");
	leave(&a);
}

static void
say_all(void)
{
	struct asker a = asker();

	ask(&a, "KEYS *\r\n", "*1501\r\n");
	ask(&a, "KEYS k12\r\n", "*1\r\n");
	ask(&a, "RANDOMKEY\r\n", "$");
	ask(&a, "SCAN 0 MATCH k1* COUNT 50\r\n", "*2\r\n");
	ask(&a, "DBSIZE\r\n", ":");
	ask(&a, "INFO\r\n", "$");
	ask(&a, "COMMAND\r\n", "*");
	ask(&a, "COMMAND DOCS get\r\n", "*");
	ask(&a, "CONFIG GET *\r\n", "*");
	ask(&a, "NODELIFE STATUS\r\n", "");
	leave(&a);
}

static void
say_who(void)
{
	struct asker a = asker(), b = asker();

	ask(&a, "HELLO 3 SETNAME me\r\n", "%7\r\n");
	ask(&a, "CLIENT SETINFO LIB-NAME lib\r\n", "+OK\r\n");
	ask(&a, "CLIENT SETNAME me-again\r\n", "+OK\r\n");
	ask(&a, "CLIENT LIST\r\n", "=");
	ask(&a, "CLIENT LIST ID 1 2 3\r\n", "=");
	ask(&a, "CLIENT INFO\r\n", "=");
	ask(&a, "CLIENT KILL ID 1000000\r\n", ":0\r\n");
	ask(&b, "CLIENT REPLY OFF\r\nECHO nobody-hears-it\r\nINCR n\r\n", "");
	ask(&b, "CLIENT REPLY ON\r\nRESET\r\n", "+OK\r\n+RESET\r\n");
	leave(&b);
	leave(&a);
}

static void
say_together(void)
{
	struct asker a = asker();

	ask(&a, "WATCH k1 k2\r\n", "+OK\r\n");
	ask(&a, "MULTI\r\nSET k v\r\nPING\r\nINCR n\r\nGET k1\r\n",
	    "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n");
	ask(&a, "EXEC\r\n", "*4\r\n:5\r\n+PONG\r\n:5\r\n:5\r\n");
	ask(&a, "MULTI\r\nGET k1\r\nGET big\r\nMGET k1 k2\r\nDBSIZE\r\n",
	    "+OK\r\n+QUEUED\r\n");
	ask(&a, "EXEC\r\n", "*4\r\n$5\r\nvalue\r\n$100000\r\n");
	ask(&a, "MULTI\r\nSTRLEN big\r\nTTL k1\r\nGETRANGE k1 1 2\r\n",
	    "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n");
	ask(&a, "EXEC\r\n", "*3\r\n:100000\r\n:-1\r\n$2\r\nal\r\n");
	ask(&a, "MULTI\r\n", "+OK\r\n");
	ask_args(&a, "MSET", 6000, 20, "+QUEUED\r\n");
	ask_args(&a, "ECHO", 1, 100000, "+QUEUED\r\n");
	ask(&a, "CLIENT LIST\r\nEXEC\r\n",
	    "+QUEUED\r\n*3\r\n:5\r\n$100000\r\n");
	ask(&a, "MULTI\r\nPING\r\nSCAN 0 COUNT 10\r\nEXEC\r\n",
	    "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+PONG\r\n*2\r\n");
	ask(&a, "MULTI\r\nSET k v\r\nDISCARD\r\nUNWATCH\r\n",
	    "+OK\r\n+QUEUED\r\n+OK\r\n+OK\r\n");
	leave(&a);
}

/* Answers of each kind behind each other, more than there are nodes for. */
static void
say_in_order(void)
{
	struct asker a = asker();
	char text[4000] = "";
	size_t n = 0;
	unsigned i;

	for (i = 0; i < 150; i++)
		n += (size_t)snprintf(
		    text + n, sizeof(text) - n, "INCR n\r\nPING\r\n");
	holds = true;
	ask(&a, text, "");
	holds = false;
	settle(a.c != NULL ? a.c : &(struct conn){ .park = PARK_NOT });
	ask(&a, "PING\r\n", "");
	leave(&a);
}

/* A log that takes some and refuses some: each a run of its own. */
static void
say_refused(void)
{
	struct asker a = asker();
	char text[8000] = "";
	size_t n = 0;
	unsigned i;

	for (i = 0; i < 600; i++)
		n +=
		    (size_t)snprintf(text + n, sizeof(text) - n, "SET k v\r\n");
	refuses = holds = true;
	ask(&a, text, "");
	refuses = holds = false;
	if (a.c == NULL)
		return;
	settle(a.c);
	ask(&a, "PING\r\n", "");
	leave(&a);
}

static void
come_in_numbers(void)
{
	struct asker a[GW_CONN_CHUNK + 2];
	unsigned i;

	for (i = 0; i < NITEMS(a); i++)
		a[i] = asker();
	ask(&a[NITEMS(a) - 1], "PING\r\n", "+PONG\r\n");
	for (i = 0; i < NITEMS(a); i++)
		leave(&a[i]);
}

/* What fails is one client's matter: this one is as well as ever. */
static void
is_served(struct asker *a)
{
	bool failed = has_failed();

	ask(a, "PING\r\nSET k v\r\nGET k1\r\n",
	    "+PONG\r\n+OK\r\n$5\r\nvalue\r\n");
	if (!failed || (a->c != NULL && !a->spoilt))
		return;
	seen_of->odd++;
	diag("scene %" PRIu64 ", allocation %" PRIu64 ": others feel it",
	    seen_of->scene, memory.fail_at);
}

/* Nobody is there, nothing is held, and who comes next is served. */
static void
look_after(void)
{
	uint64_t fail_at = memory.fail_at;
	struct asker a;

	inside();
	sink_reset(&gw.io.mute);
	outside();
	if (gw.io.pool.used != 0 || gw.io.lent != 0 || gw.io.conn_count != 0 ||
	    gw.blocked_count != 0) {
		seen_of->leaks++;
		diag("scene %" PRIu64 ", allocation %" PRIu64
		     ": %zu bytes are held",
		    seen_of->scene, fail_at, gw.io.pool.used);
	}
	a = asker();
	is_served(&a);
	leave(&a);
}

static bool
gateway_begin(void)
{
	int rc;

	memset(&gw, 0, sizeof(gw));
	gw_exec_init(&gw, &worker, &gw_serve_up);
	gw.io.loop.region = &region;
	gw.io.loop.bells = &worker.bells;
	gw.io.loop.slot = SLOT_GATEWAY;
	gw.io.loop.now_ns = 1;
	gw_serve_init(&gw);
	inside();
	rc = gw_write_init(&gw);
	outside();
	gw.kv = rig.reader;
	if (rc == 0)
		return true;
	seen_of->refused++;
	return false;
}

static void
gateway_end(void)
{
	gw.kv = NULL; /* the test's */
	inside();
	gw_scan_free(&gw);
	gw_exec_fini(&gw);
	gw_serve_fini(&gw);
	gw_conn_fini(&gw.io);
	outside();
	if (memory.live == 0)
		return;
	seen_of->leaks++;
	diag("scene %" PRIu64 ", allocation %" PRIu64 ": %" PRId64
	     " are not given back",
	    seen_of->scene, memory.fail_at, memory.live);
}

/* With the Nth allocation failing; were there so many? */
static bool
session(void (*scene)(void), uint64_t n)
{
	struct asker other;

	seen_of->n = memory.fail_at = n;
	memory.calls = 0;
	memory.live = 0;
	if (gateway_begin()) {
		other = asker();
		scene();
		if (other.c != NULL)
			is_served(&other);
		leave(&other);
		look_after();
	}
	gateway_end();
	return memory.calls >= n;
}

/* The maps that net.c makes. */
static bool
net_session(uint64_t n)
{
	static const struct loop_hooks hooks;
	int rc;

	seen_of->n = memory.fail_at = n;
	memory.calls = 0;
	memory.live = 0;
	memset(&gw, 0, sizeof(gw));
	gw_exec_init(&gw, &worker, &gw_serve_up);
	if (loop_open(&gw.io.loop, &region, &worker.bells, SLOT_GATEWAY, 8,
		&gw.io, &hooks) != 0)
		return false;
	memory.inside = memory.maps = true;
	rc = gw_net_open(&gw.io);
	seen_of->refused += rc == -ENOMEM;
	seen_of->odd += rc != 0 && rc != -ENOMEM;
	gw_net_close(&gw.io);
	memory.inside = memory.maps = false;
	seen_of->leaks += memory.live != 0;
	loop_close(&gw.io.loop);
	return memory.calls >= n;
}

static void
store_set_up(void)
{
	static struct slots slots;
	static struct troubles troubles;
	char key[16];
	unsigned i;

	rig_open(&rig, 8 << 20);
	rig.r.head = region.head;
	rig.r.slots = &slots;
	rig.r.troubles = &troubles;
	memset(big_value, 'b', BIG_VALUE);
	for (i = 0; i < KEYS; i++) {
		snprintf(key, sizeof(key), "k%u", i);
		rig_must(rig_set(&rig, key, "value"));
	}
	rig_must(rig_set(&rig, "big", big_value));
	rig.reader = rig_kv(&rig, SLOT_GATEWAY);
	region.table = rig.r.table;
	last_vlsn = rig.vlsn;
	commit(last_vlsn);
	position_set(&region.pos->applied, last_vlsn);
	position_set(&region.pos->resolved, last_vlsn);
}

static void
all_sessions(void)
{
	static void (*const scenes[])(void) = { say_little, say_much, say_all,
		say_who, say_together, say_in_order, say_refused,
		come_in_numbers };
	uint64_t n;
	size_t i;

	for (i = 0; i < 2 * NITEMS(scenes); i++) {
		slowly = i >= NITEMS(scenes);
		seen_of->scene = i;
		for (n = 1; session(scenes[i % NITEMS(scenes)], n); n++)
			;
		seen_of->tried += n - 1;
	}
	worker.bells.fd[SLOT_GATEWAY] = eventfd(0, EFD_CLOEXEC);
	for (n = 1; net_session(n); n++)
		;
}

int
main(void)
{
	struct table_head *own;
	int status = -1;
	pid_t pid;

	seen_of = __real_mmap(NULL, sizeof(*seen_of), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	set_up();
	inside();
	gw_exec_fini(&gw);
	gw_conn_fini(&gw.io);
	outside();
	own = region.table;
	store_set_up();
	fflush(NULL);
	if ((pid = fork()) == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		all_sessions();
		_exit(0);
	}
	waitpid(pid, &status, 0);
	ok(status == 0,
	    "it lives: %#x at allocation %" PRIu64 " of scene %" PRIu64,
	    (unsigned)status, seen_of->n, seen_of->scene);
	ok(seen_of->tried > 300, "%" PRIu64 " allocations have failed",
	    seen_of->tried);
	is_u64(seen_of->odd, 0, "each is answered, or closed");
	is_u64(seen_of->leaks, 0, "nothing is lost");
	ok(seen_of->errors > 10, "%" PRIu64 " times by an error",
	    seen_of->errors);
	ok(seen_of->closed > 10, "%" PRIu64 " times by its end",
	    seen_of->closed);
	ok(seen_of->refused > 2, "%" PRIu64 " times it did not begin",
	    seen_of->refused);
	rig.r.head = NULL;
	rig.r.slots = NULL;
	rig.r.troubles = NULL;
	rig_close(&rig);
	region.table = own;
	region_unmap(&region);
	return tap_done();
}
