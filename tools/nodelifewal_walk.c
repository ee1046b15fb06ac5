/*
 * Reading a log with the judge of a boot (shm/log/logcheck.h), and handing each
 * record to the command. In a data directory the checkpoint and the VLSN index
 * are asked, too, as a boot does; of a log alone only the log tells.
 */
#include "tools/nodelifewal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "conf/node_file.h"

struct walk {
	const struct walk_ops *ops;
	struct walk_result *out;
	uint64_t from, to;
	struct logcheck check;
};

void
walk_print_fault(FILE *out, const struct log_fault *f)
{
	char name[SEGMENT_NAME_MAX], good[LOG_FAULT_GOOD_MAX];

	segment_name(name, f->segment);
	log_fault_good(f, good, sizeof(good));
	fprintf(out,
	    "%s%s: wal/%s offset %" PRIu32 ": %s (%s, %" PRIu64 " committed)\n",
	    log_verdict_name(f->verdict),
	    f->unneeded ? ", but the checkpoint has what it held" : "", name,
	    f->offset, f->what, good, f->committed);
}

void
walk_print_error(const struct walk_result *r, int error)
{
	char name[SEGMENT_NAME_MAX];

	segment_name(name, r->error_segment);
	if (error == -ENOENT)
		fputs("nodelifewal: there are no segment files\n", stderr);
	else if (r->error_segment == 0)
		fprintf(stderr, "nodelifewal: %s\n", strerror(-error));
	else
		fprintf(stderr, "nodelifewal: wal/%s offset %" PRIu32 ": %s\n",
		    name, r->error_offset,
		    error == -EPROTONOSUPPORT
			? "a record that this release does not know: a newer "
			  "one wrote it"
			: strerror(-error));
}

int
walk_exit(const struct walk_result *r, int error)
{
	if (error != 0)
		return error == -ENOENT ? EX_NOINPUT : EX_IOERR;
	return r->unneeded && r->verdict != LOG_DAMAGED ? WALK_UNNEEDED
							: (int)r->verdict;
}

/* Is it a data directory? Then it says whose log this is. */
static void
data_open(struct walk_dir *out)
{
	struct node_file node;
	char why[128];

	out->data = open(out->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (out->data < 0)
		return;
	if (node_file_read(out->data, &node, why, sizeof(why)) == 0) {
		memcpy(out->uuid, node.group_uuid, sizeof(out->uuid));
		return;
	}
	close(out->data);
	out->data = -1;
}

int
walk_open(const char *path, struct walk_dir *out)
{
	const int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
	int dir = open(path, flags);

	if (dir < 0)
		return -errno;
	out->wal = openat(dir, "wal", flags);
	/* Without a log, too: a boot would miss it. */
	snprintf(out->path, sizeof(out->path), "%s", path);
	data_open(out);
	if (out->wal >= 0 || out->data >= 0) {
		close(dir);
		return 0;
	}
	out->wal = dir;
	snprintf(out->path, sizeof(out->path), "%s/..", path);
	data_open(out);
	return 0;
}

void
walk_close(struct walk_dir *dir)
{
	if (dir->data >= 0)
		close(dir->data);
	if (dir->wal >= 0)
		close(dir->wal);
}

static void
walk_fault(void *ctx, const struct log_fault *f)
{
	struct walk *w = ctx;

	w->out->faults++;
	if (f->unneeded)
		w->out->unneeded = true;
	if (w->ops->fault != NULL)
		w->ops->fault(w->ops->ctx, f);
}

/* The header as a record of its own: the judge's reader starts behind it. */
static bool
walk_header(struct walk *w, const struct segment_entry *e)
{
	uint8_t *block = malloc(e->info.block);
	struct segment_info info = e->info;
	struct record rec;
	bool more = true;

	if (block == NULL)
		return false;
	segment_encode(block, &info);
	if (record_decode(block, info.block, &rec) == 0)
		more = w->ops->record(w->ops->ctx, e, 0, &rec);
	free(block);
	return more;
}

static enum logcheck_want
walk_segment(void *ctx, const struct segment_entry *e, uint64_t next_vlsn)
{
	struct walk *w = ctx;

	if (e->info.first_vlsn > w->to ||
	    (next_vlsn != 0 && next_vlsn <= w->from))
		return LOGCHECK_SKIP;
	return walk_header(w, e) ? LOGCHECK_READ : LOGCHECK_END;
}

static int
walk_record(void *ctx, const struct segment_entry *e, uint32_t offset,
    const struct record *rec)
{
	struct walk *w = ctx;

	if (rec->vlsn != 0) {
		w->out->last = rec->vlsn;
		if (w->out->first == 0)
			w->out->first = rec->vlsn;
	}
	return w->ops->record(w->ops->ctx, e, offset, rec) ? 0 : 1;
}

static void
walk_know(const struct walk_dir *dir, struct walk *w, struct log_known *out)
{
	const struct segment_list *l = &w->check.list;

	memset(out, 0, sizeof(*out));
	if (dir->data < 0) {
		out->hint = log_hint_read(dir->wal);
		return;
	}
	log_known_read(out, dir->path, dir->data, dir->wal, dir->uuid,
	    l->newest != UINT32_MAX ? l->entry[l->newest].info.generation : 0,
	    NULL, &w->out->checkpoint_error);
}

static int
walk_list(const struct walk_dir *dir, struct walk *w)
{
	struct segment_list *l = &w->check.list;
	uint32_t i;
	int rc = 0;

	l->newest = l->oldest = UINT32_MAX;
	if (dir->wal >= 0)
		rc = segment_list_load(l, dir->wal, true);
	if (rc == 0 && l->count == 0 && dir->data < 0)
		rc = -ENOENT;
	if (rc != 0)
		return rc;
	for (i = 0; i < l->count; i++)
		if (l->entry[i].in_chain)
			w->out->segments++;
		else
			w->out->others++;
	return 0;
}

static void
walk_result(struct walk *w)
{
	const struct logcheck *c = &w->check;
	struct walk_result *out = w->out;

	out->verdict = logcheck_verdict(c);
	out->end_segment = c->tail_number;
	out->end_offset = c->tail_end;
	out->durable = c->durable;
	out->committed = c->committed;
	out->error_segment = c->error_number;
	out->error_offset = c->error_offset;
}

int
walk_log(const struct walk_dir *dir, uint64_t from, uint64_t to,
    const struct walk_ops *ops, struct walk_result *out)
{
	struct walk w = { .ops = ops, .out = out, .from = from, .to = to };
	const struct logcheck_ops judge = { .segment = walk_segment,
		.record = walk_record,
		.fault = walk_fault,
		.ctx = &w };
	int rc;

	memset(out, 0, sizeof(*out));
	w.check.wal_dir = dir->wal;
	w.check.ops = &judge;
	w.check.all = w.check.living = true;
	rc = walk_list(dir, &w);
	if (rc != 0)
		return rc;
	walk_know(dir, &w, &w.check.known);
	if (w.check.list.count == 0 && w.check.known.hint == 0 &&
	    w.check.known.checkpoint == 0 && w.check.known.indexed == 0)
		rc = -ENOENT;
	else
		rc = logcheck_run(&w.check);
	out->known = w.check.known;
	walk_result(&w);
	segment_list_free(&w.check.list);
	return rc > 0 ? 0 : rc;
}
