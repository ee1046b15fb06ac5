/*
 * Who has the data. Asked of a node that is found by its file, when its run
 * directory shows none. The file system may answer nobody, so a child asks: who
 * waits for it has a deadline, and leaves it behind.
 */
#include "tools/nodelifectl.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/bits.h"
#include "shm/holders.h"

#define ASK_MIN_MS 100 /* who answers at all does so within */
#define FREE       '0'
#define HELD       '1'

/*
 * The child: whether somebody has the lock, then who. Asking shares the lock
 * for a moment, and who takes it waits for that.
 */
static void
ask(const char *path, int out)
{
	char answer[1 + sizeof(((struct ctl_life *)NULL)->data_holders)] = {
		FREE
	};
	struct stat st;
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) != 0 &&
	    errno == EWOULDBLOCK)
		answer[0] = HELD;
	(void)!write(out, answer, 1);
	if (answer[0] != HELD || fstat(fd, &st) != 0)
		return;
	holders_of_file(&st, answer + 1, sizeof(answer) - 1);
	(void)!write(out, answer + 1, strlen(answer + 1));
}

/* Read until the child has said all, or time is up. How much it was. */
static size_t
hear(const struct ctl *c, int in, char *answer, size_t size)
{
	uint64_t least = mono_ns() + ASK_MIN_MS * NS_PER_MS;
	struct pollfd p = { .fd = in, .events = POLLIN };
	struct ctl wait = *c;
	size_t len = 0;
	ssize_t n;

	if (wait.deadline_ns < least)
		wait.deadline_ns = least;
	while (len < size - 1 && poll(&p, 1, ctl_left_ms(&wait)) > 0 &&
	       (n = read(in, answer + len, size - 1 - len)) > 0)
		len += (size_t)n;
	answer[len] = '\0';
	return len;
}

static void
data_ask(const struct ctl *c, struct ctl_life *l)
{
	char answer[1 + sizeof(l->data_holders)];
	int fd[2];
	pid_t pid;

	if (pipe2(fd, O_CLOEXEC) != 0)
		return;
	/* Not waited for: it may hang in the kernel until that lets it go. */
	signal(SIGCHLD, SIG_IGN);
	if ((pid = fork()) == 0) {
		ask(l->data_lock, fd[1]);
		_exit(0);
	}
	close(fd[1]);
	if (pid > 0) {
		l->data = hear(c, fd[0], answer, sizeof(answer)) == 0
			      ? CTL_DATA_SILENT
			  : answer[0] == HELD ? CTL_DATA_HELD
					      : CTL_DATA_FREE;
		strlcpy(l->data_holders,
		    answer[0] != '\0' && answer[1] != '\0' ? answer + 1
							   : "another process",
		    sizeof(l->data_holders));
		kill(pid, SIGKILL);
	}
	close(fd[0]);
}

void
ctl_data(const struct ctl *c, struct ctl_life *l)
{
	struct conf_errors errs = { 0 };
	struct conf conf;

	if (c->file == NULL)
		return;
	if (conf_load(&conf, c->file, &errs) == 0) {
		snprintf(l->data_lock, sizeof(l->data_lock), "%s/lock",
		    conf.node.data_dir);
		conf_free(&conf);
		data_ask(c, l);
	}
	conf_errors_free(&errs);
}
