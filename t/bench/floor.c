/*
 * What one durable request costs at least on this machine, in this run: the
 * median of a synced 4 KiB write (O_DIRECT|O_DSYNC on zero-written space) and
 * the median of a 100-byte loopback TCP round trip. Usage: floor DIR.
 * Prints "write_us N" and "rtt_us N".
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "shm/bits.h"

#define ROUNDS    3000
#define BLOCK     4096
#define FILE_SIZE (4u << 20)
#define MESSAGE   100

static int
compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static double
median_us(uint64_t *v, size_t n)
{
	qsort(v, n, sizeof(*v), compare);
	return (double)v[n / 2] / 1e3;
}

__attribute__((noreturn)) static void
die(const char *what)
{
	perror(what);
	exit(1);
}

static double
write_us(const char *dir)
{
	static uint64_t took[ROUNDS];
	char path[4096];
	uint8_t *block;
	uint64_t start;
	int fd, i;

	if (posix_memalign((void **)&block, BLOCK, FILE_SIZE) != 0)
		die("memory");
	memset(block, 0, FILE_SIZE);
	snprintf(path, sizeof(path), "%s/floor.tmp", dir);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || write(fd, block, FILE_SIZE) != FILE_SIZE || fsync(fd) < 0)
		die(path);
	close(fd);
	fd = open(path, O_WRONLY | O_DIRECT | O_DSYNC);
	if (fd < 0)
		fd = open(path, O_WRONLY | O_DSYNC);
	if (fd < 0)
		die(path);
	for (i = 0; i < ROUNDS; i++) {
		block[0] = (uint8_t)i;
		start = mono_ns();
		if (pwrite(fd, block, BLOCK,
			(off_t)(i % (FILE_SIZE / BLOCK)) * BLOCK) != BLOCK)
			die("write");
		took[i] = mono_ns() - start;
	}
	close(fd);
	unlink(path);
	free(block);
	return median_us(took, ROUNDS);
}

static void
echo_server(int listener)
{
	char buf[MESSAGE];
	int fd = accept(listener, NULL, NULL), one = 1;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	while (recv(fd, buf, sizeof(buf), MSG_WAITALL) == MESSAGE)
		if (send(fd, buf, sizeof(buf), MSG_NOSIGNAL) != MESSAGE)
			break;
	_exit(0);
}

static double
rtt_us(void)
{
	static uint64_t took[ROUNDS];
	struct sockaddr_in sin = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sin);
	char buf[MESSAGE] = "";
	int listener = socket(AF_INET, SOCK_STREAM, 0), fd, i, one = 1;
	uint64_t start;
	pid_t pid;

	if (bind(listener, (struct sockaddr *)&sin, len) < 0 ||
	    listen(listener, 1) < 0 ||
	    getsockname(listener, (struct sockaddr *)&sin, &len) < 0)
		die("listen");
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0)
		echo_server(listener);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(fd, (struct sockaddr *)&sin, len) < 0)
		die("connect");
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	for (i = 0; i < ROUNDS; i++) {
		start = mono_ns();
		if (send(fd, buf, sizeof(buf), 0) != MESSAGE ||
		    recv(fd, buf, sizeof(buf), MSG_WAITALL) != MESSAGE)
			die("round trip");
		took[i] = mono_ns() - start;
	}
	close(fd);
	close(listener);
	waitpid(pid, NULL, 0);
	return median_us(took, ROUNDS);
}

int
main(int argc, char **argv)
{
	if (argc != 2) {
		fputs("usage: floor DIR\n", stderr);
		return 64;
	}
	printf("write_us %.1f\nrtt_us %.1f\n", write_us(argv[1]), rtt_us());
	return 0;
}
