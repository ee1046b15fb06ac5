/*
 * nodelifestat INTERVAL [COUNT]: one line per interval, as vmstat does. The
 * first is of the time since the boot, the others of their interval.
 */
#include "tools/nodelifestat.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define HEADER_EVERY 20 /* lines; a terminal's height if that is known */

static const char header_text[] =
    "s clnts  reads/s writes/s err/s rd-p99 wr-p99 flush/s rec/f fl-p99  log/s "
    "  lag\n";

/* State in one letter: the role, or why there is none. */
static char
state_letter(const struct stat_sample *s)
{
	if (s->life != LIFE_LIVE)
		return '!';
	if (s->seq.failed)
		return 'F';
	if (s->seq.shutdown != SHUTDOWN_NONE)
		return 'S';
	if (s->seq.phase != PHASE_GATEWAY_ENABLE)
		return 'B';
	if ((s->stops & STOPS_WRITES) != 0)
		return '#';
	if (s->view.role == ROLE_MASTER)
		return 'M';
	return s->view.role == ROLE_REPLICA ? 'R' : 'U';
}

static char *
p99_text(char *buf, size_t size, const struct histogram *h)
{
	if (atomic_load_explicit(&h->count, memory_order_relaxed) == 0)
		snprintf(buf, size, "-");
	else
		text_ns(buf, size, hist_quantile(h, 0.99));
	return buf;
}

/* Plain digits as long as they fit into `width` columns. */
static char *
number_text(char *buf, size_t size, double n, int width)
{
	bool whole = n >= 9.5 || n == (double)(uint64_t)n;

	if (whole && snprintf(buf, size, "%.0f", n) <= width)
		return buf;
	return text_short(buf, size, n);
}

static char *
rate_text(char *buf, size_t size, const struct stat_delta *d, enum counter c,
    int width)
{
	return number_text(buf, size, delta_rate(d, d->counter[c]), width);
}

static uint64_t
above(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

static void
line_print(const struct stat_sample *s, const struct stat_delta *d)
{
	const uint64_t *c = s->counter, *n = d->counter;
	enum { CELL = 32 };
	char t[11][CELL];

	number_text(t[0], CELL,
	    (double)above(c[C_CLIENTS_ACCEPTED], c[C_CLIENTS_CLOSED]), 5);
	rate_text(t[1], CELL, d, C_READS, 8);
	rate_text(t[2], CELL, d, C_WRITES, 8);
	rate_text(t[3], CELL, d, C_COMMANDS_FAILED, 5);
	p99_text(t[4], CELL, &d->hist[H_REQUEST_READ]);
	p99_text(t[5], CELL, &d->hist[H_REQUEST_WRITE]);
	rate_text(t[6], CELL, d, C_WAL_FLUSHES, 7);
	number_text(t[7], CELL,
	    n[C_WAL_FLUSHES] == 0
		? 0
		: (double)n[C_WAL_RECORDS] / (double)n[C_WAL_FLUSHES],
	    5);
	p99_text(t[8], CELL, &d->hist[H_FLUSH]);
	text_bytes(t[9], CELL, delta_rate(d, n[C_WAL_BYTES]));
	number_text(
	    t[10], CELL, (double)above(s->pos.appended, s->pos.applied), 5);
	printf("%c %5s %8s %8s %5s %6s %6s %7s %5s %6s %6s %5s\n",
	    state_letter(s), t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7],
	    t[8], t[9], t[10]);
}

static uint64_t
header_every(void)
{
	struct winsize ws;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) == 0 && ws.ws_row > 4)
		return ws.ws_row - 2u;
	return HEADER_EVERY;
}

int
stat_lines(struct stat_target *t, uint64_t interval_ms, uint64_t count)
{
	static struct stat_sample sample[2];
	static struct stat_delta delta;
	struct stat_sample *now = &sample[0], *before = NULL;
	uint64_t line;

	for (line = 0; count == 0 || line < count; line++) {
		if (line != 0)
			poll(NULL, 0, (int)interval_ms);
		if (target_follow(t)) {
			printf("- the node booted again, restart %u\n",
			    t->region.head->node_restarts);
			before = NULL;
		}
		sample_take(&t->region, now);
		sample_delta(before, now, &delta);
		if (line % header_every() == 0)
			fputs(header_text, stdout);
		line_print(now, &delta);
		if (fflush(stdout) == EOF)
			return STAT_FAILED;
		before = now;
		now = &sample[before == &sample[0]];
	}
	return STAT_OK;
}
