/*
 * The last events, a ring that anybody writes and nobody locks. A writer
 * takes a number, marks its place as being written, fills it, and stores the
 * number last. A reader takes an entry only if the number is the one it came
 * for before and after the copy, so an unfinished entry (its writer died) is
 * skipped. Only writers a whole ring apart could meet in one place.
 */
#include "shm/counters.h"

#include <stdarg.h>
#include <stdio.h>

#include "shm/assert.h"
#include "shm/region.h"
#include "shm/say.h"

/* The log takes as much of a text (shm/say.c); an event less. */
#define WHOLE_MAX 1024

static void
event_store(struct events *e, unsigned slot, enum event_level level,
    enum event_kind kind, const char text[EVENT_TEXT_MAX])
{
	uint64_t number =
	    atomic_fetch_add_explicit(&e->next, 1, memory_order_relaxed) + 1;
	struct event *ev = &e->ring[(number - 1) % EVENT_COUNT];

	atomic_store_explicit(&ev->number, 0, memory_order_relaxed);
	/* Pairs with the acquire fence in event_copy(). */
	atomic_thread_fence(memory_order_release);
	ev->wall_ms = wall_ms();
	ev->mono_ns = mono_ns();
	ev->slot = (uint8_t)slot;
	ev->level = (uint8_t)level;
	ev->kind = (uint8_t)kind;
	memcpy(ev->text, text, EVENT_TEXT_MAX);
	/* Pairs with the acquire in event_copy(). */
	atomic_store_explicit(&ev->number, number, memory_order_release);
}

static void
event_log(enum event_level level, const char *text)
{
	switch (level) {
	case EVENT_INFO:
		say_info("%s", text);
		return;
	case EVENT_WARN:
		say_warnx("%s", text);
		return;
	case EVENT_ERROR:
		say_errorx("%s", text);
		return;
	}
	fatalx("event: level %d is none", (int)level);
}

static void
event_vadd(struct region *r, unsigned slot, enum event_level level,
    enum event_kind kind, const char *fmt, va_list ap)
{
	char text[WHOLE_MAX] = "", kept[EVENT_TEXT_MAX] = "";

	ASSERT(r->writable);
	ASSERT(slot < SLOT_MAX);
	vsnprintf(text, sizeof(text), fmt, ap);
	/* What was cut can be told from what was short. */
	if (strlcpy(kept, text, sizeof(kept)) >= sizeof(kept))
		memcpy(kept + sizeof(kept) - 4, "...", 4);
	event_store(r->events, slot, level, kind, kept);
	event_log(level, text);
}

void
event_add(struct region *r, unsigned slot, enum event_level level,
    const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	event_vadd(r, slot, level, EVENT_PLAIN, fmt, ap);
	va_end(ap);
}

void
event_add_as(struct region *r, unsigned slot, enum event_level level,
    enum event_kind kind, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	event_vadd(r, slot, level, kind, fmt, ap);
	va_end(ap);
}

void
event_add_short(struct region *r, unsigned slot, enum event_level level,
    enum event_kind kind, const char text[EVENT_TEXT_MAX], const char *whole)
{
	char kept[EVENT_TEXT_MAX] = "";

	ASSERT(r->writable);
	ASSERT(slot < SLOT_MAX);
	strlcpy(kept, text, sizeof(kept));
	event_store(r->events, slot, level, kind, kept);
	event_log(level, whole);
}

static bool
event_copy(const struct events *e, uint64_t number, struct event *out)
{
	const struct event *ev = &e->ring[(number - 1) % EVENT_COUNT];

	if (atomic_load_explicit(&ev->number, memory_order_acquire) != number)
		return false;
	memcpy(out, ev, sizeof(*out));
	atomic_thread_fence(memory_order_acquire);
	if (atomic_load_explicit(&ev->number, memory_order_relaxed) != number)
		return false;
	out->text[EVENT_TEXT_MAX - 1] = '\0';
	return true;
}

unsigned
event_list(const struct events *e, struct event *out, unsigned n)
{
	uint64_t next = atomic_load_explicit(&e->next, memory_order_acquire);
	uint64_t number, back;
	unsigned found = 0;

	back = n < EVENT_COUNT ? n : EVENT_COUNT;
	if (back > next)
		back = next;
	for (number = next - back + 1; number <= next; number++)
		if (event_copy(e, number, &out[found]))
			found++;
	return found;
}
