/*
 * A whole node in one process, seed by seed: node_sim [-v] [-s SEED] [-n COUNT]
 * A seed that fails tells its story; the same seed does it again. README.md.
 */
#include <sys/mman.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "t/sim/node/sim_core.h"
#include "t/sim/node/sim_node.h"

#define SEED_S     120 /* real time that a seed may take */
#define TOLD_BYTES 16384 /* of a story's end */

static int told = -1; /* the story: what the seed says on stderr */

static void
seed_run(uint64_t seed, struct story *story, bool verbose)
{
	alarm(SEED_S);
	if (!verbose && (ftruncate(told, 0) != 0 || dup2(told, 2) != 2))
		abort();
	sim_begin(seed, story);
	world_begin();
	sim_run();
	_exit(0);
}

static void
story_print(void)
{
	static char buf[TOLD_BYTES + 1];
	off_t size = lseek(told, 0, SEEK_END);
	off_t from = size > TOLD_BYTES ? size - TOLD_BYTES : 0;
	ssize_t n = pread(told, buf, TOLD_BYTES, from);

	if (n > 0)
		fwrite(buf, 1, (size_t)n, stdout);
}

/* Did it go well? */
static bool
seed_do(uint64_t seed, struct story *story, bool verbose)
{
	int status;
	pid_t pid;

	memset(story, 0, sizeof(*story));
	fflush(stdout);
	if ((pid = fork()) == 0)
		seed_run(seed, story, verbose);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		abort();
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return true;
	if (!story->failed)
		snprintf(story->verdict, sizeof(story->verdict), "%s %d",
		    WIFEXITED(status) ? "exit code" : "signal",
		    WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
	if (!verbose)
		story_print();
	printf("# seed %" PRIu64 " failed: %s\n", seed, story->verdict);
	return false;
}

static double
now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

int
main(int argc, char **argv)
{
	uint64_t seed = 1, count = 100, failed = 0;
	bool verbose = false;
	struct story *story;
	double began = now_s();
	int ch;

	while ((ch = getopt(argc, argv, "vs:n:")) != -1) {
		switch (ch) {
		case 'v':
			verbose = true;
			break;
		case 's':
			seed = strtoull(optarg, NULL, 10);
			break;
		case 'n':
			count = strtoull(optarg, NULL, 10);
			break;
		default:
			fprintf(stderr,
			    "usage: node_sim [-v] [-s SEED] [-n COUNT]\n");
			return 2;
		}
	}
	story = mmap(NULL, sizeof(*story), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	told = memfd_create("story", MFD_CLOEXEC);
	if (story == MAP_FAILED || told < 0)
		abort();
	for (uint64_t i = 0; i < count; i++)
		failed += !seed_do(seed + i, story, verbose);
	printf("# %" PRIu64 " seeds from %" PRIu64 ", %" PRIu64
	       " failed, %.1f a second\n",
	    count, seed, failed, (double)count / (now_s() - began));
	printf("1..1\n%sok 1 - no seed fails\n", failed != 0 ? "not " : "");
	return failed != 0;
}
