/*
 * The ring of events: order, wrap, cut text, writers in several processes at
 * once, and one that died in the middle.
 */
#include "shm/counters.h"

#include <fcntl.h>

#include "shm/say.h"
#include "t/shm_fixture.h"

#define WRITERS 4
#define EACH    2000

static struct event list[EVENT_COUNT + 8];

static void
order(struct region *r)
{
	char text[EVENT_TEXT_MAX + 50];
	unsigned n, i, wrong = 0;

	is_u64(event_list(r->events, list, 10), 0, "none yet");
	event_add(r, SLOT_WAL, EVENT_WARN, "segment %d: torn tail", 3);
	event_add(r, SLOT_STORE, EVENT_INFO, "second");
	is_u64(event_list(r->events, list, 10), 2, "two");
	is_str(list[0].text, "segment 3: torn tail", "the oldest first");
	is_u64(list[0].slot, SLOT_WAL, "slot");
	is_u64(list[0].level, EVENT_WARN, "level");
	is_u64(list[0].number, 1, "number");
	ok(list[0].wall_ms > 0 && list[0].mono_ns <= list[1].mono_ns, "times");
	is_u64(event_list(r->events, list, 1), 1, "one");
	is_str(list[0].text, "second", "the newest");
	is_u64(event_list(r->events, list, 0), 0, "none asked for");

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	event_add(r, SLOT_WAL, EVENT_ERROR, "%s", text);
	event_list(r->events, list, 1);
	is_u64(strlen(list[0].text), EVENT_TEXT_MAX - 1, "long text is cut");

	for (i = 0; i < EVENT_COUNT + 30; i++)
		event_add(r, SLOT_WAL, EVENT_INFO, "number %u", i);
	n = event_list(r->events, list, EVENT_COUNT + 8);
	is_u64(n, EVENT_COUNT, "the ring holds its newest");
	for (i = 0; i < n; i++) {
		snprintf(text, sizeof(text), "number %u", i + 30);
		wrong += strcmp(list[i].text, text) != 0;
	}
	is_u64(wrong, 0, "in order");
}

/* A writer died between its two stores of the number. */
static void
unfinished(struct region *r)
{
	uint64_t next = atomic_load(&r->events->next);
	unsigned n;

	atomic_store(&r->events->next, next + 1);
	atomic_store(&r->events->ring[next % EVENT_COUNT].number, 0);
	event_add(r, SLOT_WAL, EVENT_INFO, "after it");
	n = event_list(r->events, list, 3);
	is_u64(n, 2, "an event that was never finished is left out");
	is_str(list[1].text, "after it", "those around it are there");
}

/* A long text is whole in the log; an event says that it was cut. */
static void
long_text(struct region *r)
{
	char text[EVENT_TEXT_MAX + 100], path[] = "/tmp/nodelife.log.XXXXXX";
	char logged[2048] = "";
	int fd = mkstemp(path);

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	say_open(path);
	event_add(r, SLOT_WAL, EVENT_INFO, "%s", text);
	say_open("/dev/null");
	ok(read(fd, logged, sizeof(logged) - 1) > 0 &&
		strstr(logged, text) != NULL,
	    "the log has a long text whole");
	is_u64(event_list(r->events, list, 1), 1, "it is an event");
	is_u64(strlen(list[0].text), EVENT_TEXT_MAX - 1, "of full length");
	is_str(list[0].text + EVENT_TEXT_MAX - 5, "x...",
	    "which says that it was cut");
	close(fd);
	unlink(path);
}

static int
writer_main(void *arg)
{
	struct region *r = arg;
	unsigned i;

	for (i = 0; i < EACH; i++)
		event_add(r, SLOT_GATEWAY, EVENT_INFO, "%d %u %u", getpid(), i,
		    (unsigned)getpid() * 7919 + i);
	return 0;
}

static bool
event_is_whole(const struct event *e)
{
	unsigned pid, i, check;

	return sscanf(e->text, "%u %u %u", &pid, &i, &check) == 3 &&
	       check == pid * 7919 + i;
}

static void
concurrent(struct region *r)
{
	unsigned i, k, n, torn = 0, misplaced = 0, seen = 0;
	uint64_t before = atomic_load(&r->events->next), end;
	pid_t pid[WRITERS];

	for (i = 0; i < EVENT_COUNT; i++)
		event_add(r, SLOT_WAL, EVENT_INFO, "1 1 7920");
	for (i = 0; i < WRITERS; i++)
		pid[i] = child_start(writer_main, r);
	end = before + EVENT_COUNT + WRITERS * EACH;
	while (atomic_load(&r->events->next) < end) {
		n = event_list(r->events, list, 64);
		for (k = 0; k < n; k++) {
			torn += !event_is_whole(&list[k]);
			misplaced +=
			    k > 0 && list[k].number <= list[k - 1].number;
		}
		seen += n;
	}
	for (i = 0; i < WRITERS; i++)
		is_i64(child_end(pid[i]), 0, "a writer");
	is_u64(torn, 0, "none is torn");
	is_u64(misplaced, 0, "none is out of order");
	is_u64(atomic_load(&r->events->next), end, "none is lost");
	diag("%u read meanwhile", seen);
}

int
main(void)
{
	struct fixture f;

	fixture_open(&f);
	/* Events are logged, too; this test's log is of no interest. */
	say_open("/dev/null");
	order(&f.r);
	unfinished(&f.r);
	long_text(&f.r);
	concurrent(&f.r);
	say_open("stderr");
	fixture_close(&f);
	return tap_done();
}
