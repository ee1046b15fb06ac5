/*
 * Flushes in the running worker: what to write, when, and carrying out the
 * steps of index_flush.h through the ring.
 */
#include "workers/vlsn/vlsn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "shm/say.h"
#include "shm/trouble.h"

/* A name that failing steps are reported by. */
#define INDEX_PATH INDEX_DIR "/" INDEX_NAME

static uint64_t
durable_now(const struct vlsn *v)
{
	return position_get(&v->r->pos->durable);
}

int
vlsn_open_dir(struct vlsn *v)
{
	int data = v->w->data_dir;

	/*
	 * The boot does not wait for the directory's entry to be durable:
	 * losing it costs what losing the index costs.
	 */
	if (!v->w->readonly && mkdirat(data, INDEX_DIR, 0750) != 0 &&
	    errno != EEXIST)
		return -errno;
	v->dir = openat(data, INDEX_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return v->dir < 0 ? -errno : 0;
}

/* Is there a durable sample that the file lacks, or one too many? */
static bool
flush_dirty(const struct vlsn *v)
{
	const struct vmap *m = v->r->vmap;
	struct vmap_range range;
	struct vmap_pair pair;

	if (!v->loaded)
		return false;
	vmap_range(m, &range);
	if (range.cuts != v->cuts)
		return true;
	if (!v->disk.usable && vmap_lookup(m, UINT64_MAX, &pair) == 0)
		return true;
	if (v->next < range.lo)
		return range.count > range.lo;
	return vmap_get(m, v->next, &pair) == 0 && pair.vlsn <= durable_now(v);
}

uint64_t
vlsn_flush_due(struct vlsn *v)
{
	uint64_t checkpointed = position_get(&v->r->pos->checkpointed);
	uint64_t due = v->flushed_ns + INDEX_FLUSH_NS;

	if (v->w->readonly || v->flush.state != FLUSH_IDLE || !flush_dirty(v))
		return LOOP_NEVER;
	/* A completed checkpoint does not wait for the two seconds. */
	if (checkpointed != v->checkpointed)
		due = 0;
	return due > v->retry_ns ? due : v->retry_ns;
}

/* The map's samples from number `from` on that are durable, appended to out. */
static int
flush_collect(const struct vlsn *v, uint64_t from, uint64_t durable,
    struct index_samples *out, uint64_t *next)
{
	struct vmap_pair pair;
	int rc = 0;

	for (; rc == 0; from++) {
		if (vmap_get(v->r->vmap, from, &pair) != 0 ||
		    pair.vlsn > durable)
			break;
		rc = index_samples_add(out, pair.vlsn, pair.lsn);
	}
	*next = from;
	return rc;
}

/* Is it time for a new file? See index_file.h for what only that can do. */
static bool
flush_needs_rewrite(const struct vlsn *v, const struct vmap_range *range)
{
	uint64_t alive =
	    range->count - range->lo +
	    atomic_load_explicit(&v->r->vmap->old.count, memory_order_relaxed);

	return !v->disk.usable || v->fd < 0 || range->cuts != v->cuts ||
	       v->next < range->lo || v->disk.added >= INDEX_ADDED_MAX ||
	       v->disk.samples > 2 * alive + INDEX_SLACK;
}

/* Everything that is known and durable, into a new file. */
static int
flush_rewrite(struct vlsn *v, const struct vmap_range *range, uint64_t durable)
{
	struct index_samples ring = { 0 };
	struct vmap_pair *old, *all;
	size_t n, dropped;
	int rc;

	old = malloc(VMAP_OLD_ENTRIES * sizeof(*old));
	rc = old == NULL
		 ? -ENOMEM
		 : flush_collect(v, range->lo, durable, &ring, &v->flush_next);
	n = rc == 0 ? vmap_old_copy(v->r->vmap, old, VMAP_OLD_ENTRIES) : 0;
	/* A load took all that the map had. */
	while (n > 0 && old[n - 1].vlsn > durable)
		n--;
	all = rc == 0 ? malloc((n + ring.count + 1) * sizeof(*all)) : NULL;
	if (all != NULL) {
		n = index_merge(old, n, ring.pair, ring.count, all, &dropped);
		v->head.life = (uint64_t)arc4random() << 32 | arc4random();
		rc = index_flush_rewrite(&v->flush, &v->head, all, n, durable);
	} else if (rc == 0) {
		rc = -ENOMEM;
	}
	free(all);
	free(ring.pair);
	free(old);
	return rc;
}

static int
flush_add(struct vlsn *v, uint64_t durable)
{
	struct index_samples fresh = { 0 };
	int rc;

	rc = flush_collect(v, v->next, durable, &fresh, &v->flush_next);
	/* Those that a cut took may have got successors meanwhile. */
	if (rc == 0 && fresh.count > 0 &&
	    fresh.pair[0].vlsn <= v->disk.last_vlsn)
		v->disk.usable = false;
	else if (rc == 0 && fresh.count > 0)
		rc = index_flush_add(
		    &v->flush, &v->disk, fresh.pair, fresh.count, durable);
	free(fresh.pair);
	return rc;
}

/* Hand the step that the flush is in to the ring. */
static void
flush_submit(struct vlsn *v)
{
	struct io_uring_sqe *sqe = loop_sqe(&v->loop);
	struct index_flush *f = &v->flush;
	int fd = f->rewrite ? v->new_fd : v->fd;

	if (sqe == NULL)
		fatalx("index: the ring takes nothing");
	switch (f->state) {
	case FLUSH_OPENING:
		io_uring_prep_openat(sqe, v->dir, INDEX_TMP_NAME,
		    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
		break;
	case FLUSH_WRITING:
		io_uring_prep_write(sqe, fd, f->buf + f->buf_done,
		    f->buf_len - f->buf_done, f->file_off + f->buf_done);
		break;
	case FLUSH_SYNCING:
		io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
		break;
	case FLUSH_RENAMING:
		io_uring_prep_renameat(
		    sqe, v->dir, INDEX_TMP_NAME, v->dir, INDEX_NAME, 0);
		break;
	case FLUSH_SYNCING_DIR:
		io_uring_prep_fsync(sqe, v->dir, 0);
		break;
	case FLUSH_IDLE:
	case FLUSH_DONE:
	case FLUSH_FAILED:
		fatalx(
		    "index: no step in state %s", flush_state_name(f->state));
	}
	io_uring_sqe_set_data64(sqe, loop_tag(KIND_FLUSH, 0, v->generation));
}

static void
failed_tell(struct vlsn *v, enum flush_state at, int error)
{
	char path[PATH_MAX];
	struct denied d;
	struct fault f = { .object = path,
		.call = flush_state_name(at),
		.error = -error,
		.place = PLACE_DATA,
		.effect = "lookups go on in memory, nothing is lost, the next "
			  "boot reads more of the log",
		.goes_on = true };

	snprintf(
	    path, sizeof(path), "%s/" INDEX_PATH, v->w->conf->node.data_dir);
	worker_explain(v->w, &f, &d);
	trouble_begin(v->r, TROUBLE_INDEX_FAILED, &f);
}

/* The file is not trusted any more; it stands, and is tried again later. */
static void
flush_failed(struct vlsn *v, enum flush_state at, int error)
{
	v->backoff_ns =
	    backoff_next(v->backoff_ns, INDEX_RETRY_NS, INDEX_RETRY_MAX);
	failed_tell(v, at, error);
	v->retry_ns = v->loop.now_ns + v->backoff_ns;
	v->disk.usable = false;
	if (v->new_fd >= 0)
		close(v->new_fd);
	v->new_fd = -1;
}

/* Samples of records that are given out again may be among what was taken. */
static bool
cut_since(const struct vlsn *v, const struct vmap_range *range)
{
	struct vmap_range now;

	vmap_range(v->r->vmap, &now);
	return now.cuts != range->cuts;
}

bool
vlsn_flush_start(struct vlsn *v)
{
	struct vmap_range range;
	uint64_t durable;
	int rc = -ENOENT;

	if (v->w->readonly || !flush_dirty(v))
		return false;
	/* In this order: what was durable before a cut is not behind it. */
	vmap_range(v->r->vmap, &range);
	durable = durable_now(v);
	v->checkpointed = position_get(&v->r->pos->checkpointed);
	v->flush_begun_ns = mono_ns();
	v->flush_cuts = range.cuts;
	if (v->dir >= 0 || (rc = vlsn_open_dir(v)) == 0)
		rc = flush_needs_rewrite(v, &range)
			 ? flush_rewrite(v, &range, durable)
			 : flush_add(v, durable);
	if (rc == 0 && cut_since(v, &range)) {
		index_flush_end(&v->flush);
		return false; /* with the next turn */
	}
	if (rc != 0)
		flush_failed(v, FLUSH_OPENING, rc);
	if (v->flush.state == FLUSH_IDLE)
		return false;
	v->generation++;
	flush_submit(v);
	return true;
}

/* A new file took the name: it is the one to add to from now on. */
static void
flush_adopt(struct vlsn *v)
{
	if (v->fd >= 0)
		close(v->fd);
	v->fd = v->new_fd;
	v->new_fd = -1;
	vlsn_publish(v, v->flush.pair, v->flush.count, v->flush_cuts);
}

static void
flush_complete(struct vlsn *v)
{
	struct histogram *h = hist_of(v->r->hists, v->w->slot, H_INDEX_FLUSH);

	index_flush_commit(&v->flush, &v->disk);
	if (v->flush.rewrite)
		flush_adopt(v);
	v->next = v->flush_next;
	v->cuts = v->flush_cuts;
	v->retry_ns = v->backoff_ns = 0;
	trouble_end(v->r, TROUBLE_INDEX_FAILED);
	position_set(&v->r->pos->indexed, v->disk.last_vlsn);
	counter_add(v->r->counters, v->w->slot, C_INDEX_FLUSHES, 1);
	counter_add(
	    v->r->counters, v->w->slot, C_INDEX_ENTRIES, v->flush.fresh);
	if (h != NULL)
		hist_add(h, mono_ns() - v->flush_begun_ns);
}

void
vlsn_flush_done(
    void *ctx, uint32_t slot, uint32_t generation, int res, uint32_t flags)
{
	struct vlsn *v = ctx;
	enum flush_state was = v->flush.state;

	(void)slot;
	(void)flags;
	if (generation != v->generation || was == FLUSH_IDLE) {
		loop_stale(&v->loop);
		return;
	}
	if (was == FLUSH_OPENING)
		v->new_fd = res;
	switch (index_flush_step(&v->flush, res)) {
	case FLUSH_DONE:
		flush_complete(v);
		break;
	case FLUSH_FAILED:
		flush_failed(v, was, res < 0 ? res : -ENOSPC);
		break;
	case FLUSH_IDLE:
	case FLUSH_OPENING:
	case FLUSH_WRITING:
	case FLUSH_SYNCING:
	case FLUSH_RENAMING:
	case FLUSH_SYNCING_DIR:
		flush_submit(v);
		return;
	}
	index_flush_end(&v->flush);
	v->flushed_ns = v->loop.now_ns;
}
