/*
 * Addresses of names: numeric ones at once, without a thread; others when the
 * bell rings; a lookup that hangs is given up, and no more than so many hang at
 * a time; whoever gives one up early never sees it again.
 */
#include "ipc/resolve.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <errno.h>
#include <stdatomic.h>

#include "shm/bits.h"
#include "t/tap.h"

static _Atomic bool hangs;
static _Atomic unsigned asked, done;

static int
lookup(const char *host, uint16_t port, struct resolve_list *out)
{
	struct sockaddr_in *a = (void *)&out->addr[0].at;

	atomic_fetch_add(&asked, 1);
	while (atomic_load(&hangs))
		(void)poll(NULL, 0, 1);
	memset(out, 0, sizeof(*out));
	out->count = 1;
	out->addr[0].len = sizeof(*a);
	a->sin_family = AF_INET;
	a->sin_port = htons(port);
	a->sin_addr.s_addr = htonl(0x0a000001);
	atomic_fetch_add(&done, 1);
	return strcmp(host, "nobody") == 0 ? EAI_NONAME : 0;
}

static bool
rang(int bell)
{
	struct pollfd p = { .fd = bell, .events = POLLIN };
	eventfd_t value;

	return poll(&p, 1, TAP_WAIT_MS) == 1 && eventfd_read(bell, &value) == 0;
}

static void
test_numeric(void)
{
	static const struct {
		const char *text, *want;
		bool loopback;
	} cases[] = {
		{ "127.0.0.1:7000", "127.0.0.1:7000", true },
		{ "[::1]:7000", "[::1]:7000", true },
		{ "10.1.2.3:65535", "10.1.2.3:65535", false },
		{ "[fe80::1]:1", "[fe80::1]:1", false },
		{ "127.0.0.1", NULL, false },
		{ "127.0.0.1:", NULL, false },
		{ "127.0.0.1:0", NULL, false },
		{ "127.0.0.1:65536", NULL, false },
		{ "127.0.0.1:1x", NULL, false },
		{ ":7000", NULL, false },
		{ "[]:7000", NULL, false },
		{ "", NULL, false },
	};
	struct resolve r = { 0 };
	char text[RESOLVE_HOST];
	unsigned i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		resolve_start(&r, cases[i].text, -1, mono_ns());
		if (cases[i].want == NULL) {
			ok(r.state == RESOLVE_FAILED, "'%s': %s", cases[i].text,
			    r.why);
			continue;
		}
		ok(r.state == RESOLVE_DONE && r.list.count == 1, "%s at once",
		    cases[i].text);
		resolve_text(&r.list.addr[0], text, sizeof(text));
		is_str(text, cases[i].want, "as it was told");
		ok(resolve_is_loopback(&r.list.addr[0]) == cases[i].loopback,
		    "loopback or not");
	}
	is_u64(atomic_load(&asked), 0, "nobody was asked");
	resolve_stop(&r);
}

static void
test_name(int bell)
{
	struct resolve r = { 0 };
	char text[RESOLVE_HOST];

	resolve_start(&r, "db1:70", bell, mono_ns());
	ok(r.state == RESOLVE_BUSY && resolve_deadline(&r) != UINT64_MAX,
	    "a name is looked up beside");
	ok(rang(bell), "the bell rings");
	is_u64(resolve_poll(&r, mono_ns()), RESOLVE_DONE, "then it is there");
	resolve_text(&r.list.addr[0], text, sizeof(text));
	is_str(text, "10.0.0.1:70", "with its port");
	resolve_start(&r, "nobody:70", bell, mono_ns());
	ok(rang(bell) && resolve_poll(&r, mono_ns()) == RESOLVE_FAILED,
	    "one that is nobody's: %s", r.why);
	ok(strncmp(r.why, "nobody: ", 8) == 0, "is named");
	resolve_stop(&r);
	is_u64(r.state, RESOLVE_IDLE, "idle");
}

static void
test_hangs(int bell)
{
	struct resolve r[RESOLVE_MAX + 1] = { 0 };
	unsigned i, before = atomic_load(&asked), over = atomic_load(&done);

	atomic_store(&hangs, true);
	for (i = 0; i < RESOLVE_MAX; i++)
		resolve_start(&r[i], "db1:70", bell, mono_ns());
	resolve_start(&r[RESOLVE_MAX], "db1:70", bell, mono_ns());
	ok(r[RESOLVE_MAX].state == RESOLVE_FAILED, "one too many: %s",
	    r[RESOLVE_MAX].why);
	ok(wait_until(atomic_load(&asked) == before + RESOLVE_MAX, TAP_WAIT_MS),
	    "all others were asked");
	is_u64(resolve_poll(&r[0], mono_ns()), RESOLVE_BUSY, "no answer yet");
	is_u64(resolve_poll(&r[0], mono_ns() + RESOLVE_NS + 1), RESOLVE_FAILED,
	    "too late");
	ok(strstr(r[0].why, "no answer") != NULL, "told: %s", r[0].why);
	for (i = 0; i < RESOLVE_MAX; i++)
		resolve_stop(&r[i]);
	resolve_start(&r[0], "db1:70", bell, mono_ns());
	is_u64(r[0].state, RESOLVE_FAILED,
	    "those that were given up hang on, and count");
	atomic_store(&hangs, false);
	ok(wait_until(atomic_load(&done) == over + RESOLVE_MAX, TAP_WAIT_MS),
	    "they end by themselves");
	ok(wait_until((resolve_start(&r[0], "db1:70", bell, mono_ns()),
			  r[0].state == RESOLVE_BUSY),
	       TAP_WAIT_MS),
	    "and leave room");
	ok(rang(bell) && resolve_poll(&r[0], mono_ns()) == RESOLVE_DONE,
	    "for the next one");
	resolve_stop(&r[0]);
}

static void
test_system(int bell)
{
	struct resolve r = { 0 };

	resolve_by(NULL);
	resolve_start(&r, "localhost:7000", bell, mono_ns());
	ok(rang(bell) && resolve_poll(&r, mono_ns()) == RESOLVE_DONE &&
		r.list.count > 0 && resolve_is_loopback(&r.list.addr[0]),
	    "the system knows localhost");
	resolve_stop(&r);
}

int
main(void)
{
	int bell = eventfd(0, EFD_CLOEXEC);

	resolve_by(lookup);
	test_numeric();
	test_name(bell);
	test_hangs(bell);
	test_system(bell);
	return tap_done();
}
