/*
 * Troubles: begin, renew, end; what they stop; events; readers beside a writer
 * see whole texts; a writer that died in the middle, and its end.
 */
#include "shm/trouble.h"

#include <errno.h>
#include <sched.h>
#include <sys/mman.h>

#include "shm/counters.h"
#include "shm/say.h"
#include "t/shm_fixture.h"

#define ROUNDS 20000
#define BURST  16 /* texts beside one read, which tries more often */

static struct event events[EVENT_COUNT];

static const char *
newest_event(const struct region *r)
{
	if (event_list(r->events, events, 1) != 1)
		return "";
	return events[0].text;
}

static void
test_life(struct region *r)
{
	struct fault f = { .object = "wal/00000002.seg",
		.call = "write",
		.error = EIO,
		.place = PLACE_DATA,
		.effect = "writes wait",
		.goes_on = true };
	struct trouble_info t[TROUBLE_COUNT];
	uint64_t before;

	is_u64(trouble_list(r, t), 0, "none stands");
	is_u64(trouble_stops(r), STOPS_NOTHING, "and nothing is stopped");
	trouble_begin(r, TROUBLE_LOG_FAILED, &f);
	is_u64(trouble_stops(r), STOPS_WRITES, "it stops writes");
	is_u64(trouble_list(r, t), 1, "one stands");
	ok(t[0].kind == TROUBLE_LOG_FAILED &&
		strstr(t[0].text, "wal/00000002.seg: write: ") == t[0].text,
	    "with its text");
	is_str(newest_event(r), t[0].text, "an event with the same");
	is_u64(events[0].level, EVENT_ERROR, "as an error");
	is_u64(events[0].slot, SLOT_WAL, "of its worker");

	before = atomic_load(&r->events->next);
	trouble_begin_text(r, TROUBLE_LOG_FAILED, "for %d s", 3);
	ok(trouble_read(r, TROUBLE_LOG_FAILED, &t[1]), "still there");
	is_str(t[1].text, "for 3 s", "with a newer text");
	is_u64(t[1].since_ns, t[0].since_ns, "and the same beginning");
	is_u64(atomic_load(&r->events->next), before, "no event of that");

	trouble_begin_text(r, TROUBLE_CHECKPOINT_FAILED, "apart");
	is_u64(trouble_list(r, t), 2, "two");
	ok(t[0].kind == TROUBLE_LOG_FAILED, "what stops more is first");
	trouble_end(r, TROUBLE_LOG_FAILED);
	ok(!trouble_stands(r, TROUBLE_LOG_FAILED), "over");
	ok(strstr(newest_event(r), "log_failed is over after ") != NULL,
	    "an event says so");
	is_u64(trouble_stops(r), STOPS_NOTHING, "what is left only warns");
	before = atomic_load(&r->events->next);
	trouble_end(r, TROUBLE_LOG_FAILED);
	is_u64(atomic_load(&r->events->next), before, "over is over");
	is_u64(trouble_times(r, TROUBLE_LOG_FAILED), 1, "it began once");
	trouble_writer_died(r, SLOT_WAL);
	ok(trouble_stands(r, TROUBLE_CHECKPOINT_FAILED),
	    "another worker's stays");
	trouble_writer_died(r, SLOT_CHECKPOINT);
	is_u64(trouble_list(r, t), 0, "the worker's own goes with it");
	ok(strstr(newest_event(r),
	       "checkpoint_failed ended with its worker after ") != NULL,
	    "which is not called over");
}

/* The log has it whole, the screen and the event what to do. */
static void
test_long(struct region *r)
{
	char path[500], file[] = "/tmp/nodelife.log.XXXXXX";
	char whole[FAULT_LINE_MAX], logged[2048] = "";
	struct fault f = { .object = path,
		.call = "write",
		.error = EFBIG,
		.place = PLACE_DATA,
		.effect = "writes wait",
		.goes_on = true };
	struct trouble_info t;
	int fd = mkstemp(file);

	memset(path, 'p', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	fault_text(whole, sizeof(whole), &f);
	say_open(file);
	trouble_begin(r, TROUBLE_LOG_FAILED, &f);
	say_open("/dev/null");
	ok(read(fd, logged, sizeof(logged) - 1) > 0 &&
		strstr(logged, path) != NULL && strstr(logged, whole) != NULL,
	    "the log has path and remedy: %s", logged);
	ok(trouble_read(r, TROUBLE_LOG_FAILED, &t) &&
		strstr(t.text, "goes on by itself then") != NULL,
	    "the remedy stands: %s", t.text);
	is_str(newest_event(r), t.text, "and is in the event");
	trouble_end(r, TROUBLE_LOG_FAILED);
	close(fd);
	unlink(file);
}

static _Atomic unsigned *reads; /* in shared memory: reads that are done */

/* Texts of one letter each: a torn one has two. */
static int
write_texts(void *arg)
{
	struct region *r = arg;
	char text[FAULT_TEXT_MAX];
	unsigned i, before = 0;

	for (i = 0; i < ROUNDS; i++) {
		if (i % BURST == 0) {
			while (atomic_load(reads) == before)
				sched_yield();
			before = atomic_load(reads);
		}
		memset(text, 'a' + (int)(i % 26), sizeof(text) - 1);
		text[sizeof(text) - 1] = '\0';
		trouble_begin_text(r, TROUBLE_STORE_FULL, "%s", text);
	}
	return 0;
}

static void
test_beside(struct region *r)
{
	struct trouble_info t;
	unsigned torn = 0, seen = 0, i;
	int status;
	pid_t pid;

	reads = mmap(NULL, sizeof(*reads), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	trouble_begin_text(r, TROUBLE_STORE_FULL, "a");
	pid = child_start(write_texts, r);
	while (waitpid(pid, &status, WNOHANG) == 0) {
		seen += trouble_read(r, TROUBLE_STORE_FULL, &t);
		for (i = 1; t.text[i] != '\0'; i++)
			torn += t.text[i] != t.text[0];
		atomic_fetch_add(reads, 1);
	}
	ok(seen > 0 && status == 0, "read beside a writer");
	is_u64(torn, 0, "every text is whole");
	trouble_end(r, TROUBLE_STORE_FULL);
}

static void
test_died(struct region *r)
{
	struct trouble_row *row = &r->troubles->row[TROUBLE_INDEX_FAILED];
	struct trouble_info t;

	trouble_begin_text(r, TROUBLE_INDEX_FAILED, "half");
	memset(row->text[(atomic_load(&row->version) + 1) % 2], 'z',
	    FAULT_TEXT_MAX);
	ok(trouble_read(r, TROUBLE_INDEX_FAILED, &t),
	    "a writer died in the middle: what stands is told");
	is_str(t.text, "half", "as it was before");
	trouble_writer_died(r, SLOT_VLSN);
	ok(!trouble_read(r, TROUBLE_INDEX_FAILED, &t), "until it is reaped");
	trouble_begin_text(r, TROUBLE_INDEX_FAILED, "whole");
	ok(trouble_read(r, TROUBLE_INDEX_FAILED, &t) &&
		strcmp(t.text, "whole") == 0,
	    "the next writer's is whole");
}

int
main(void)
{
	struct fixture f;

	fixture_open(&f);
	say_open("/dev/null");
	test_life(&f.r);
	test_long(&f.r);
	test_beside(&f.r);
	test_died(&f.r);
	say_open("stderr");
	fixture_close(&f);
	return tap_done();
}
