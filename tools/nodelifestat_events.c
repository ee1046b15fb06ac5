/*
 * nodelifestat -e: the last events, and with -f the next ones, too. A node
 * keeps 256 of them; who follows and was too slow is told how many it missed.
 */
#include "tools/nodelifestat.h"

#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <time.h>

#include "shm/assert.h"

#define FOLLOW_MS 200 /* events wake nobody */

static void
event_print(const struct event *e)
{
	static const char *const level[] = { [EVENT_INFO] = "info",
		[EVENT_WARN] = "warn",
		[EVENT_ERROR] = "error" };
	char when[32], text[EVENT_TEXT_MAX];
	time_t s = (time_t)(e->wall_ms / 1000);
	struct tm tm;

	if (localtime_r(&s, &tm) == NULL)
		memset(&tm, 0, sizeof(tm));
	strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
	text_clean(text, sizeof(text), e->text, EVENT_TEXT_MAX);
	printf("%s.%03d %-5s %s: %s\n", when, (int)(e->wall_ms % 1000),
	    e->level < NITEMS(level) ? level[e->level] : "level?",
	    slot_name(e->slot), text);
}

/* Print those after *seen. */
static void
events_after(const struct region *r, uint64_t *seen)
{
	static struct event list[EVENT_COUNT];
	unsigned n = event_list(r->events, list, EVENT_COUNT), i;
	uint64_t number;

	for (i = 0; i < n; i++) {
		number =
		    atomic_load_explicit(&list[i].number, memory_order_relaxed);
		if (number <= *seen)
			continue;
		if (*seen != 0 && number > *seen + 1)
			printf("(%" PRIu64 " events were overwritten)\n",
			    number - *seen - 1);
		event_print(&list[i]);
		*seen = number;
	}
}

/* The supervisor's last event that says why; NULL = none does. */
static const struct event *
find_cause(const struct event *list, unsigned n)
{
	const struct event *last = NULL;

	while (n-- > 0) {
		if (list[n].slot != SLOT_SUPERVISOR)
			continue;
		if (list[n].kind == EVENT_CAUSE)
			return &list[n];
		if (last == NULL && list[n].kind == EVENT_PLAIN)
			last = &list[n];
	}
	return last;
}

static bool
begins_with(const struct event *e, const char *word)
{
	return e->slot == SLOT_GROUP &&
	       strncmp(e->text, word, strlen(word)) == 0;
}

bool
election_find(const struct region *r, struct event *out)
{
	static struct event list[EVENT_COUNT];
	unsigned n = event_list(r->events, list, EVENT_COUNT);
	bool found = false;

	while (n-- > 0) {
		if (begins_with(&list[n], "election: ")) {
			*out = list[n];
			return true;
		}
		if (!found && begins_with(&list[n], "role: ")) {
			*out = list[n];
			found = true;
		}
	}
	return found;
}

char *
cause_text(const struct region *r, char *buf, size_t size)
{
	static struct event list[EVENT_COUNT];
	static struct seq_snapshot snap;
	const struct event *e =
	    find_cause(list, event_list(r->events, list, EVENT_COUNT));

	if (e != NULL)
		return text_clean(buf, size, e->text, EVENT_TEXT_MAX);
	seq_snapshot(r->seq, &snap);
	return text_clean(buf, size, snap.error, SEQ_ERROR_MAX);
}

int
stat_events(struct stat_target *t, bool follow)
{
	uint64_t seen = 0;

	for (;;) {
		events_after(&t->region, &seen);
		if (fflush(stdout) == EOF)
			return STAT_FAILED;
		if (!follow)
			return STAT_OK;
		poll(NULL, 0, FOLLOW_MS);
		if (life_of(&t->region) == LIFE_LIVE)
			continue;
		/* The last of them say why. */
		events_after(&t->region, &seen);
		if (target_follow(t)) {
			printf("(the node booted again)\n");
			seen = 0;
		} else if (!t->by_link) {
			return STAT_OK;
		}
	}
}
