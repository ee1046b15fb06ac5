/*
 * What somebody sees: runs a command on a terminal of 24 rows of 80 columns,
 * and prints those rows as they are at its end.
 *
 *	terminal [-u TEXT] COMMAND [ARG...]
 *
 * With -u when TEXT is to be read on them, rows joined by a blank; `q` ends
 * the command then. The exit code is the command's.
 */
#include <ctype.h>
#include <pty.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROWS 24
#define COLS 80

static char screen[ROWS][COLS + 1];
static unsigned row, col;

static void
down(void)
{
	if (++row < ROWS)
		return;
	row = ROWS - 1;
	memmove(screen[0], screen[1], (ROWS - 1) * sizeof(screen[0]));
	memset(screen[row], ' ', COLS);
}

/* From here to the end of the row, or of all. */
static void
erase(bool all)
{
	memset(&screen[row][col], ' ', COLS - col);
	for (unsigned r = row + 1; all && r < ROWS; r++)
		memset(screen[r], ' ', COLS);
}

static void
put(char c)
{
	if (c == '\r')
		col = 0;
	else if (c == '\n')
		down();
	else if (isprint((unsigned char)c)) {
		if (col == COLS) {
			col = 0;
			down();
		}
		screen[row][col++] = c;
	}
}

/* Behind an escape, the few that our programs use. 1 = the screen goes. */
static int
control(int fd)
{
	char text[16] = "", c;
	size_t n = 0;

	while (read(fd, &c, 1) == 1 && n < sizeof(text) - 1) {
		text[n++] = c;
		if (isalpha((unsigned char)c))
			break;
	}
	if (c == 'H')
		row = col = 0;
	else if ((c == 'K' || c == 'J') && col < COLS)
		erase(c == 'J');
	return strcmp(text, "[?1049l") == 0;
}

static bool
shows(const char *text)
{
	char all[ROWS * (COLS + 1) + 1], *to = all;

	for (unsigned r = 0; r < ROWS; r++)
		for (unsigned c = 0; c <= COLS; c++)
			if (c < COLS && screen[r][c] != ' ')
				*to++ = screen[r][c];
			else if (to > all && to[-1] != ' ')
				*to++ = ' ';
	*to = '\0';
	return strstr(all, text) != NULL;
}

static void
print(void)
{
	for (unsigned r = 0; r < ROWS; r++) {
		unsigned len = COLS;

		while (len > 0 && screen[r][len - 1] == ' ')
			len--;
		printf("%.*s\n", (int)len, screen[r]);
	}
}

int
main(int argc, char **argv)
{
	struct winsize ws = { .ws_row = ROWS, .ws_col = COLS };
	const char *until = NULL;
	bool gone = false;
	int fd, status;
	pid_t pid;
	char c;

	if (argc > 2 && strcmp(argv[1], "-u") == 0) {
		until = argv[2];
		argv += 2;
	}
	if (argv[1] == NULL || (pid = forkpty(&fd, NULL, NULL, &ws)) < 0)
		return 127;
	if (pid == 0) {
		execv(argv[1], argv + 1);
		_exit(127);
	}
	memset(screen, ' ', sizeof(screen));
	while (read(fd, &c, 1) == 1) {
		if (c == '\033')
			gone |= control(fd) != 0;
		else if (!gone)
			put(c);
		if (until != NULL && !gone && shows(until)) {
			gone = true;
			(void)!write(fd, "q", 1);
		}
	}
	print();
	close(fd);
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 127;
}
