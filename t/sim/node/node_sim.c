/*
 * A whole node in one process, seed by seed:
 *	node_sim [-fqv] [-s SEED] [-n COUNT] [-t SECONDS] [-c CUT]
 * A seed that fails is cut down to a short story, which is told; the same seed,
 * with the same cut, does it again. With -f one must fail, and is the last.
 * README.md.
 */
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "t/sim/node/sim_core.h"
#include "t/sim/node/sim_node.h"

#define SEED_S     40 /* of a processor, that a seed may take, */
#define STEP_S     5 /* and one step of it */
#define SHRINK_S   40 /* to look for a shorter one */
#define TRIES      3 /* each cut is scheduled in so many ways */
#define TOLD_BYTES 16384 /* of a story's end */

static int told = -1; /* the story: what the seed says on stderr */

/* Has it made a step since? Else somebody turns round in his own memory. */
static void
tick(int number)
{
	static uint64_t steps;
	static unsigned spent_s;

	(void)number;
	if (steps == sim_steps())
		sim_fail("%s takes no step", sim_name(sim_pid()));
	spent_s += STEP_S;
	if (spent_s >= SEED_S)
		sim_fail("%u s of a processor are over", spent_s);
	steps = sim_steps();
}

static void
seed_run(uint64_t seed, struct story *story, bool verbose)
{
	const struct itimerval ticks = { { .tv_sec = STEP_S },
		{ .tv_sec = STEP_S } };

	signal(SIGPROF, tick);
	setitimer(ITIMER_PROF, &ticks, NULL);
	if (!verbose &&
	    (ftruncate(told, 0) != 0 || lseek(told, 0, SEEK_SET) != 0 ||
		dup2(told, 2) != 2))
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

/* Did it go well? Nothing is said of it. */
static bool
seed_try(
    uint64_t seed, const struct cut *cut, struct story *story, bool verbose)
{
	int status;
	pid_t pid;

	memset(story, 0, sizeof(*story));
	story->cut = *cut;
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
	return false;
}

static double
now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* ---- a shorter story ---- */

struct shrink {
	uint64_t seed;
	struct story story;
	struct story *tried;
	double until;
};

/* The same is wrong: what is said up to the first number. */
static bool
same_verdict(const char *a, const char *b)
{
	size_t n = strcspn(a, "0123456789");

	return strncmp(a, b, n != 0 ? n : 1) == 0;
}

/* Does it fail without that, too? Then it is what goes on. */
static bool
shrink_to(struct shrink *s, struct cut cut)
{
	uint32_t again = cut.again;

	for (uint32_t i = 0; i < TRIES && now_s() < s->until; i++) {
		cut.again = again + i;
		if (seed_try(s->seed, &cut, s->tried, false) ||
		    !same_verdict(s->story.verdict, s->tried->verdict))
			continue;
		s->story = *s->tried;
		return true;
	}
	return false;
}

static void
shrink_writes(struct shrink *s)
{
	struct cut cut;

	do {
		cut = s->story.cut;
		cut.writes = s->story.writes / 2;
	} while (cut.writes != 0 && shrink_to(s, cut));
}

/* So many at a time, each but those that are gone. */
static void
shrink_harms(struct shrink *s, unsigned n)
{
	uint32_t bits;
	struct cut cut;

	for (unsigned i = 0; i < s->story.harms; i += n) {
		cut = s->story.cut;
		bits = (uint32_t)((UINT64_C(1) << n) - 1) << i;
		if (i + n < s->story.harms || i < 32)
			cut.dropped |= bits;
		if (cut.dropped != s->story.cut.dropped)
			(void)shrink_to(s, cut);
	}
}

static void
shrink(struct shrink *s)
{
	struct cut cut;

	shrink_writes(s);
	for (unsigned n = 16; n != 0; n /= 2)
		shrink_harms(s, n);
	for (uint32_t bit = 1; bit < CUT_END; bit <<= 1) {
		cut = s->story.cut;
		cut.without |= bit;
		(void)shrink_to(s, cut);
	}
	shrink_writes(s);
}

static void
shrink_tell(uint64_t seed, struct story *story)
{
	struct shrink s = { .seed = seed,
		.story = *story,
		.tried = story,
		.until = now_s() + SHRINK_S };

	shrink(&s);
	(void)seed_try(seed, &s.story.cut, story, false);
	story_print();
	printf("# seed %" PRIu64 " with %u writes, %u harms: %s\n"
	       "# again: node_sim -v -n 1 -s %" PRIu64 " -c %u,%x,%x,%u\n",
	    seed, s.story.writes, story->done, story->verdict, seed,
	    s.story.cut.writes, s.story.cut.dropped, s.story.cut.without,
	    s.story.cut.again);
	*story = s.story;
}

/* What the seeds took of a processor, whatever else the machine does. */
static double
cpu_s(void)
{
	struct rusage u;

	getrusage(RUSAGE_CHILDREN, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

struct wish {
	uint64_t seed, count;
	double seconds;
	bool verbose, find, quiet;
	struct cut cut;
};

static const char usage[] =
    "usage: node_sim [-fqv] [-s SEED] [-n COUNT] [-t SECONDS] [-c CUT]\n";

static bool
wish_read(struct wish *w, int argc, char **argv)
{
	bool counted = false;
	int ch;

	while ((ch = getopt(argc, argv, "c:fqvs:n:t:")) != -1) {
		switch (ch) {
		case 'c':
			if (sscanf(optarg, "%u,%x,%x,%u", &w->cut.writes,
				&w->cut.dropped, &w->cut.without,
				&w->cut.again) != 4)
				return false;
			break;
		case 'f':
			w->find = true;
			break;
		case 'q':
			w->quiet = true;
			break;
		case 'v':
			w->verbose = true;
			break;
		case 's':
			w->seed = strtoull(optarg, NULL, 10);
			break;
		case 'n':
			w->count = strtoull(optarg, NULL, 10);
			counted = true;
			break;
		case 't':
			w->seconds = strtod(optarg, NULL);
			break;
		default:
			return false;
		}
	}
	/* For a time, and no number is given: as many as that gives. */
	if (w->seconds != 0 && !counted)
		w->count = UINT64_MAX - w->seed;
	return optind == argc;
}

/* Did it go well? Else why not is told. */
static bool
seed_do(uint64_t seed, const struct wish *w, struct story *story)
{
	if (seed_try(seed, &w->cut, story, w->verbose))
		return true;
	if (!w->verbose && !w->quiet)
		story_print();
	printf("# seed %" PRIu64 " failed: %s\n", seed, story->verdict);
	if (!w->verbose && !w->quiet)
		shrink_tell(seed, story);
	return false;
}

int
main(int argc, char **argv)
{
	struct wish w = { .seed = 1, .count = 100 };
	uint64_t i, failed = 0;
	struct story *story;

	if (!wish_read(&w, argc, argv)) {
		fputs(usage, stderr);
		return 2;
	}
	(void)mallopt(M_MMAP_THRESHOLD, 1 << 30);
	(void)mallopt(M_TRIM_THRESHOLD, 1 << 30);
	(void)mallopt(M_TOP_PAD, 32 << 20);
	story = mmap(NULL, sizeof(*story), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	told = memfd_create("story", MFD_CLOEXEC);
	if (story == MAP_FAILED || told < 0)
		abort();
	for (i = 0; i < w.count && !(w.find && failed != 0) &&
		    (w.seconds == 0 || cpu_s() < w.seconds);
	     i++)
		failed += !seed_do(w.seed + i, &w, story);
	if (!w.find)
		printf("# %" PRIu64 " seeds from %" PRIu64 ", %" PRIu64
		       " failed, %.1f a second of a processor\n1..1\n%sok 1 - "
		       "no seed fails\n",
		    i, w.seed, failed, (double)i / cpu_s(),
		    failed != 0 ? "not " : "");
	else
		printf("# %s: %" PRIu64 " seeds, %.1f s%s%s\n",
		    failed != 0 ? "found" : "not found", i, cpu_s(),
		    failed != 0 ? ": " : "", failed != 0 ? story->verdict : "");
	return (failed != 0) != w.find;
}
