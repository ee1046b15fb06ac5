/*
 * Troubles that stand; see trouble.h. A row is written by one process at a
 * time, in the text that readers do not look at; a reader's copy counts if no
 * newer one was begun meanwhile. A writer that rests or dies in the middle
 * leaves what it told before.
 */
#include "shm/trouble.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "shm/assert.h"
#include "shm/counters.h"
#include "shm/kv/room.h"
#include "shm/region.h"
#include "shm/say.h"

#define READ_TRIES 100 /* a copy takes less time than a text */

static const struct {
	const char *name;
	unsigned slot, stops;
} kinds[] = {
#define X(NAME, name, slot, stops, means, remedy)                              \
	[TROUBLE_##NAME] = { name, slot, stops },
	TROUBLES(X)
#undef X
};
_Static_assert(NITEMS(kinds) == TROUBLE_COUNT, "a row for each");

const char *
trouble_name(enum trouble kind)
{
	return kinds[kind].name;
}

unsigned
trouble_writer(enum trouble kind)
{
	return kinds[kind].slot;
}

unsigned
trouble_stops_of(enum trouble kind)
{
	return kinds[kind].stops;
}

static struct trouble_row *
row_of(const struct region *r, enum trouble kind)
{
	ASSERT((unsigned)kind < TROUBLE_COUNT);
	return &r->troubles->row[kind];
}

static void
row_write(struct trouble_row *row, const char *text)
{
	uint32_t v =
	    atomic_load_explicit(&row->version, memory_order_relaxed) + 1;

	strlcpy(row->text[v % 2], text, FAULT_TEXT_MAX);
	/* The text; pairs with the acquire in trouble_read(). */
	atomic_store_explicit(&row->version, v, memory_order_release);
	/* And before any byte of the next one: with its fence. */
	atomic_thread_fence(memory_order_release);
	/* Pairs with the acquire in trouble_stands(). */
	atomic_store_explicit(&row->standing, true, memory_order_release);
}

/* The text stands, the log has the whole of it. */
static void
begin(struct region *r, enum trouble kind, const char text[FAULT_TEXT_MAX],
    const char *whole)
{
	struct trouble_row *row = row_of(r, kind);
	bool before = trouble_stands(r, kind);

	if (!before) {
		atomic_store_explicit(
		    &row->since_ns, mono_ns(), memory_order_relaxed);
		atomic_fetch_add_explicit(&row->times, 1, memory_order_relaxed);
	}
	row_write(row, text);
	if (before)
		return;
	event_add_short(r, kinds[kind].slot,
	    kinds[kind].stops != STOPS_NOTHING ? EVENT_ERROR : EVENT_WARN,
	    EVENT_PLAIN, text, whole);
	say_aloud("%s", whole);
}

void
trouble_begin(struct region *r, enum trouble kind, const struct fault *f)
{
	char text[FAULT_TEXT_MAX], whole[FAULT_LINE_MAX];

	begin(r, kind, fault_text(text, sizeof(text), f),
	    fault_text(whole, sizeof(whole), f));
}

void
trouble_begin_text(struct region *r, enum trouble kind, const char *fmt, ...)
{
	char text[FAULT_TEXT_MAX], whole[FAULT_LINE_MAX] = "";
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(whole, sizeof(whole), fmt, ap);
	va_end(ap);
	strlcpy(text, whole, sizeof(text));
	begin(r, kind, text, whole);
}

void
trouble_begin_in(struct region *r, enum trouble kind, const char *before,
    const char *what, const char *behind)
{
	char text[FAULT_TEXT_MAX], whole[FAULT_LINE_MAX];

	begin(r, kind, fault_text_in(text, sizeof(text), before, what, behind),
	    fault_text_in(whole, sizeof(whole), before, what, behind));
}

void
trouble_carry(
    struct region *r, enum trouble kind, uint64_t since_ns, const char *text)
{
	struct trouble_row *row = row_of(r, kind);

	atomic_store_explicit(&row->since_ns, since_ns, memory_order_relaxed);
	row_write(row, text);
}

static void
end(struct region *r, enum trouble kind, const char *how)
{
	struct trouble_row *row = row_of(r, kind);
	uint64_t since, now = mono_ns();
	double seconds;

	if (!trouble_stands(r, kind))
		return;
	since = atomic_load_explicit(&row->since_ns, memory_order_relaxed);
	atomic_store_explicit(&row->standing, false, memory_order_release);
	seconds = now > since ? (double)(now - since) / 1e9 : 0.0;
	event_add_as(r, kinds[kind].slot, EVENT_INFO, EVENT_ASIDE,
	    "%s %s after %.1f s", kinds[kind].name, how, seconds);
	say_aloud("%s %s after %.1f s", kinds[kind].name, how, seconds);
}

void
trouble_end(struct region *r, enum trouble kind)
{
	end(r, kind, "is over");
}

void
trouble_drop(struct region *r, enum trouble kind)
{
	end(r, kind, "ended with the node");
}

void
trouble_writer_died(struct region *r, unsigned slot)
{
	const char *how = slot == SLOT_SUPERVISOR ? "ended with the node"
						  : "ended with its worker";
	unsigned kind;

	for (kind = 0; kind < TROUBLE_COUNT; kind++)
		if (kinds[kind].slot == slot)
			end(r, kind, how);
}

bool
trouble_stands(const struct region *r, enum trouble kind)
{
	return atomic_load_explicit(
		   &row_of(r, kind)->standing, memory_order_acquire) != 0;
}

unsigned
trouble_stops(const struct region *r)
{
	unsigned kind, stops = 0;

	for (kind = 0; kind < TROUBLE_COUNT; kind++)
		if (trouble_stands(r, kind))
			stops |= kinds[kind].stops;
	return room_hopeless(r) ? stops | STOPS_READS : stops;
}

uint64_t
trouble_times(const struct region *r, enum trouble kind)
{
	return atomic_load_explicit(
	    &row_of(r, kind)->times, memory_order_relaxed);
}

static bool
is_final(const struct region *r)
{
	return atomic_load_explicit(&r->seq->shutdown, memory_order_relaxed) !=
		   SHUTDOWN_NONE ||
	       atomic_load_explicit(&r->head->state, memory_order_relaxed) !=
		   REGION_LIVE;
}

bool
trouble_read(
    const struct region *r, enum trouble kind, struct trouble_info *out)
{
	const struct trouble_row *row = row_of(r, kind);
	bool standing = false;
	uint32_t before;
	unsigned i;

	out->kind = kind;
	for (i = 0; i < READ_TRIES; i++) {
		before =
		    atomic_load_explicit(&row->version, memory_order_acquire);
		standing = atomic_load_explicit(
			       &row->standing, memory_order_relaxed) != 0;
		out->since_ns =
		    atomic_load_explicit(&row->since_ns, memory_order_relaxed);
		memcpy(out->text, row->text[before % 2], sizeof(out->text));
		/* Pairs with the release fence in row_write(). */
		atomic_thread_fence(memory_order_acquire);
		if (atomic_load_explicit(&row->version, memory_order_relaxed) ==
		    before)
			break;
	}
	out->text[sizeof(out->text) - 1] = '\0';
	if (is_final(r))
		fault_final(out->text);
	return standing;
}

unsigned
trouble_list(const struct region *r, struct trouble_info out[TROUBLE_COUNT])
{
	unsigned kind, n = 0;
	int stops;

	for (stops = STOPS_WRITES | STOPS_READS; stops >= 0; stops--)
		for (kind = 0; kind < TROUBLE_COUNT; kind++)
			if ((int)kinds[kind].stops == stops &&
			    trouble_read(r, kind, &out[n]))
				n++;
	return n;
}
