/*
 * nodelifestat and nodelifestat -W: the screen, once, or again each second on
 * a terminal until q or Ctrl-C.
 */
#include "tools/nodelifestat.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#define REFRESH_MS 1000
#define ROWS_MIN   10

static unsigned
terminal_rows(void)
{
	struct winsize ws;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) == 0 && ws.ws_row >= ROWS_MIN)
		return ws.ws_row;
	return 24;
}

static bool
colour_wanted(void)
{
	const char *no = getenv("NO_COLOR");

	return isatty(STDOUT_FILENO) == 1 && (no == NULL || no[0] == '\0');
}

int
stat_screen(struct stat_target *t)
{
	static struct stat_sample sample;
	static struct stat_delta delta;
	unsigned rows = 0;

	sample_take(&t->region, &sample);
	sample_delta(NULL, &sample, &delta);
	/* Troubles shall not scroll away; the last row is the prompt's. */
	if (sample.trouble_count > 0 && isatty(STDOUT_FILENO) == 1)
		rows = terminal_rows() - 1;
	screen_print(
	    stdout, &t->region, &sample, &delta, rows, colour_wanted());
	return fflush(stdout) == EOF ? STAT_FAILED : STAT_OK;
}

/* A newline in the terminal's last row would scroll the first one away. */
static size_t
frame_end(char *text, size_t len)
{
	static const char end[] = "\n\033[J";
	size_t n = sizeof(end) - 1;

	if (len < n || memcmp(text + len - n, end, n) != 0)
		return len;
	memcpy(text + len - n, end + 1, n - 1);
	return len - 1;
}

/* One whole frame in one write: nothing flickers. */
static void
frame_print(struct stat_target *t, const struct stat_sample *s,
    const struct stat_delta *d)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	if (out == NULL)
		return;
	fputs("\033[H", out);
	screen_print(out, &t->region, s, d, terminal_rows(), colour_wanted());
	fputs("\033[J", out);
	if (fclose(out) == 0)
		(void)!write(STDOUT_FILENO, text, frame_end(text, len));
	free(text);
}

/* Wait for the next refresh. True: the admin has seen enough. */
static bool
watch_pause(int sigfd)
{
	struct pollfd p[] = { { .fd = STDIN_FILENO, .events = POLLIN },
		{ .fd = sigfd, .events = POLLIN } };
	struct signalfd_siginfo si;
	char key = 'q';

	if (poll(p, 2, REFRESH_MS) <= 0)
		return false;
	if (p[1].revents != 0 && read(sigfd, &si, sizeof(si)) > 0)
		return si.ssi_signo != SIGWINCH;
	if (p[0].revents == 0)
		return false;
	/* A terminal that is gone reads as end of file: that is enough, too. */
	return read(STDIN_FILENO, &key, 1) != 1 || key == 'q' || key == 'Q';
}

static void
watch_loop(struct stat_target *t, int sigfd)
{
	static struct stat_sample sample[2];
	static struct stat_delta delta;
	struct stat_sample *now = &sample[0], *before = NULL;

	do {
		if (target_follow(t))
			before = NULL;
		sample_take(&t->region, now);
		sample_delta(before, now, &delta);
		frame_print(t, now, &delta);
		before = now;
		now = &sample[before == &sample[0]];
	} while (!watch_pause(sigfd));
}

/* Keys at once and unseen, an alternate screen without a cursor. */
int
stat_watch(struct stat_target *t)
{
	struct termios old, raw;
	sigset_t set;
	int sigfd;

	if (isatty(STDOUT_FILENO) != 1 || tcgetattr(STDIN_FILENO, &old) == -1) {
		fprintf(stderr, "nodelifestat: -W needs a terminal\n");
		return STAT_FAILED;
	}
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGWINCH);
	sigprocmask(SIG_BLOCK, &set, NULL);
	sigfd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (sigfd == -1) {
		fprintf(
		    stderr, "nodelifestat: signalfd: %s\n", strerror(errno));
		return STAT_FAILED;
	}
	raw = old;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	(void)!write(STDOUT_FILENO, "\033[?1049h\033[?25l", 14);
	watch_loop(t, sigfd);
	(void)!write(STDOUT_FILENO, "\033[?25h\033[?1049l", 14);
	tcsetattr(STDIN_FILENO, TCSANOW, &old);
	close(sigfd);
	return STAT_OK;
}
