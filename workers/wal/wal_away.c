/*
 * Does the path of the segment that is written still lead to it? Who removes or
 * moves data_dir below a node that runs leaves it with open files that take
 * every write, and that no boot will find. So it is looked, by the ring, since
 * a disk may hang, when something is written and the last look is a second
 * old: nobody else is woken for it. If the path leads nowhere, or elsewhere,
 * writes are refused until it leads there again. An error that tells nothing of
 * that refuses none, nor does no answer; where it lasts it is a trouble.
 */
#include "workers/wal/wal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "shm/path.h"

static void
tell(struct wal *w, int error)
{
	int dir = worker_data_dir_check(w->w);
	const struct fault f = {
		.object = dir != 0 ? w->conf->node.data_dir : w->away.path,
		.call = "stat",
		.error = dir != 0 ? -dir : error,
		.place = PLACE_DATA,
		.what = dir == 0 && error == EREMCHG ? FAULT_OTHER_FILE : NULL,
		.effect = "writes are refused, since no boot would find them; "
			  "reads go on; what was answered before is in the "
			  "directory that was here",
		.goes_on = true,
	};

	trouble_begin(w->r, TROUBLE_DATA_DIR, &f);
}

#define UNSEEN_LOOKS 3 /* of an error that lasts ... */
#define UNSEEN_NS    (2 * NS_PER_S) /* ... so long at least */
#define TELL_NS      (NS_PER_S / 2) /* for how long there was no answer */

static void
tell_unseen(struct wal *w, int error, const char *what)
{
	struct denied d;
	struct fault f = {
		.object = w->away.path,
		.call = "stat",
		.error = error,
		.place = PLACE_DATA,
		.what = what,
		.effect = "writes go on, to files that are open; a boot would "
			  "not find them",
		.goes_on = true,
	};

	/* Writes do not go on where it is known to lead elsewhere. */
	if (w->away.away)
		return;
	worker_explain(w->w, &f, &d);
	trouble_begin(w->r, TROUBLE_DATA_PATH, &f);
}

/* It tells nothing of where the path leads, and may be a moment's. */
static void
unseen(struct wal *w, int error)
{
	struct wal_away *a = &w->away;

	if (a->unseen++ == 0)
		a->unseen_ns = a->asked_ns;
	if (a->unseen >= UNSEEN_LOOKS &&
	    w->loop.now_ns >= a->unseen_ns + UNSEEN_NS)
		tell_unseen(w, error, NULL);
}

/* A mount that does not answer: so the look is under way, and no other. */
static void
look_hangs(struct wal *w)
{
	struct wal_away *a = &w->away;
	uint64_t now = w->loop.now_ns;
	char what[48];

	if (now < a->asked_ns + UNSEEN_NS || now < a->told_ns + TELL_NS)
		return;
	a->told_ns = now;
	/* It is looked again behind this one, written or not. */
	if (a->unseen++ == 0)
		a->unseen_ns = a->asked_ns;
	snprintf(what, sizeof(what), "no answer for %.1f s",
	    (double)(now - a->asked_ns) / 1e9);
	tell_unseen(w, ETIMEDOUT, what);
}

static bool
leads_there(const struct wal_away *a)
{
	const struct statx *x = &a->named;
	const struct stat named = {
		.st_dev = makedev(x->stx_dev_major, x->stx_dev_minor),
		.st_ino = x->stx_ino,
	};

	return path_same_file(&named, &a->held);
}

void
wal_away_done(
    void *ctx, uint32_t slot, uint32_t generation, int res, uint32_t flags)
{
	struct wal *w = ctx;
	struct wal_away *a = &w->away;

	(void)slot;
	(void)generation;
	(void)flags;
	a->asked = false;
	/* Its name may have changed meanwhile. */
	if (a->number != w->segment.info.number)
		return;
	if (res == 0 && !leads_there(a))
		res = -EREMCHG;
	if (res != 0 && res != -ENOENT && res != -ENOTDIR && res != -EREMCHG) {
		unseen(w, -res);
		return;
	}
	a->unseen = 0;
	trouble_end(w->r, TROUBLE_DATA_PATH);
	a->away = res != 0;
	if (a->away)
		tell(w, -res);
	else
		trouble_end(w->r, TROUBLE_DATA_DIR);
}

void
wal_away_turn(struct wal *w)
{
	char name[SEGMENT_NAME_MAX];
	struct wal_away *a = &w->away;
	struct io_uring_sqe *sqe;

	if (a->asked) {
		look_hangs(w);
		return;
	}
	if ((a->vlsn == w->log.end.vlsn && !a->away && a->unseen == 0) ||
	    w->loop.now_ns < a->asked_ns + NS_PER_S)
		return;
	if ((w->phase != WAL_APPENDING && w->phase != WAL_CLOSING) ||
	    w->stopping || w->segment.fd < 0)
		return;
	if (a->number != w->segment.info.number) {
		if (fstat(w->segment.fd, &a->held) != 0)
			return;
		a->number = w->segment.info.number;
		segment_name(name, a->number);
		wal_path(w, a->path, sizeof(a->path), "wal/%s", name);
	}
	if ((sqe = loop_sqe(&w->loop)) == NULL)
		return;
	a->asked = true;
	a->asked_ns = w->loop.now_ns;
	a->vlsn = w->log.end.vlsn;
	io_uring_prep_statx(sqe, AT_FDCWD, a->path, 0, STATX_INO, &a->named);
	sqe->flags |= IOSQE_ASYNC;
	io_uring_sqe_set_data64(sqe, loop_tag(WAL_KIND_AWAY, 0, 0));
}

uint64_t
wal_away_deadline(const struct wal *w)
{
	const struct wal_away *a = &w->away;

	if (!a->asked)
		return LOOP_NEVER;
	return a->told_ns < a->asked_ns ? a->asked_ns + UNSEEN_NS
					: a->told_ns + TELL_NS;
}
