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
	if (s->nospace)
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

static char *
rate_text(char *buf, size_t size, const struct stat_delta *d, enum counter c)
{
	double rate = delta_rate(d, d->counter[c]);

	if (rate >= 9999.5)
		snprintf(buf, size, "%.0f", rate);
	else
		text_short(buf, size, rate);
	return buf;
}

static void
line_print(const struct stat_sample *s, const struct stat_delta *d)
{
	const uint64_t *c = s->counter, *n = d->counter;
	char t[8][24];
	uint64_t lag = s->pos.appended > s->pos.applied
			   ? s->pos.appended - s->pos.applied
			   : 0;

	printf("%c %5llu %8s %8s %5s %6s %6s %7s %5.1f %6s %6s %5s\n",
	    state_letter(s),
	    (unsigned long long)(c[C_CLIENTS_ACCEPTED] - c[C_CLIENTS_CLOSED]),
	    rate_text(t[0], sizeof(t[0]), d, C_READS),
	    rate_text(t[1], sizeof(t[1]), d, C_WRITES),
	    rate_text(t[2], sizeof(t[2]), d, C_COMMANDS_FAILED),
	    p99_text(t[3], sizeof(t[3]), &d->hist[H_REQUEST_READ]),
	    p99_text(t[4], sizeof(t[4]), &d->hist[H_REQUEST_WRITE]),
	    rate_text(t[5], sizeof(t[5]), d, C_WAL_FLUSHES),
	    n[C_WAL_FLUSHES] == 0
		? 0.0
		: (double)n[C_WAL_RECORDS] / (double)n[C_WAL_FLUSHES],
	    p99_text(t[6], sizeof(t[6]), &d->hist[H_FLUSH]),
	    text_bytes(
		t[7], sizeof(t[7]), delta_rate(d, d->counter[C_WAL_BYTES])),
	    lag > 99999 ? ">99k"
			: (snprintf(t[0], sizeof(t[0]), "%llu",
			       (unsigned long long)lag),
			      t[0]));
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
