/*
 * A store without a node, for unit tests: a table in shared memory, the files
 * in a temporary directory, the writer's side and readers. The tests play the
 * parts of store and checkpoint by calling their functions.
 */
#ifndef T_LIB_STORE_RIG_H
#define T_LIB_STORE_RIG_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "shm/kv/kv_int.h"
#include "shm/region.h"
#include "t/tap.h"
#include "workers/checkpoint/checkpoint.h"
#include "workers/store/apply.h"

/* What a test cannot do without. */
#define rig_must(call) rig_must_be_0((call), #call)

__attribute__((unused)) static void
rig_must_be_0(int rc, const char *what)
{
	if (rc == 0)
		return;
	diag("%s: %s", what, strerror(-rc));
	abort();
}

struct rig {
	char dir[64], path[80];
	int fd; /* of the table; rig_memory() cuts it */
	struct region r;
	struct positions *pos;
	struct table_writer w;
	struct kv *kv; /* the store's */
	struct kv *reader; /* a gateway's */
	struct apply apply;
	struct store_db db; /* checkpoint's */
	uint64_t vlsn;
	int64_t now_ms;
	struct vbuf out;
	uint64_t timed;
	uint16_t bound; /* of the records that are applied; 0 = older ones */
	/* Called when there is no memory; NULL = that is an error. */
	int (*no_memory)(struct rig *g);
};

__attribute__((unused)) static void
rig_timed(void *ctx, int64_t expire_ms, uint32_t off)
{
	struct rig *g = ctx;

	(void)expire_ms;
	(void)off;
	g->timed++;
}

__attribute__((unused)) static int
rig_no_memory(void *ctx)
{
	struct rig *g = ctx;

	return g->no_memory != NULL ? g->no_memory(g) : -ENOMEM;
}

__attribute__((unused)) static int
rig_count_now(void *ctx)
{
	(void)ctx;
	return 0;
}

/*
 * A reader on the environment that is open: LMDB allows one a process. (A
 * child of the test opens its own, with kv_open().)
 */
__attribute__((unused)) static struct kv *
rig_kv(struct rig *g, unsigned slot)
{
	struct kv *kv = calloc(1, sizeof(*kv));

	kv->r = &g->r;
	kv->t = g->r.table;
	kv->slot = slot;
	kv->db = g->db;
	rig_must(mdb_txn_begin(kv->db.env, NULL, MDB_RDONLY, &kv->txn));
	mdb_txn_reset(kv->txn);
	return kv;
}

__attribute__((unused)) static void
rig_kv_close(struct kv *kv)
{
	if (kv == NULL)
		return;
	kv->db.env = NULL;
	kv_close(kv);
}

/* Where the files are; in memory for who writes them anew a thousand times. */
static const char *rig_in = "/tmp";

/* Empty table and files in a fresh directory; aborts when it cannot. */
__attribute__((unused)) static void
rig_open(struct rig *g, uint64_t table_size)
{
	uint64_t size = table_region_size(table_size);
	char why[256];

	memset(g, 0, sizeof(*g));
	snprintf(g->dir, sizeof(g->dir), "%s/store.XXXXXX", rig_in);
	if (mkdtemp(g->dir) == NULL)
		abort();
	snprintf(g->path, sizeof(g->path), "%s/store", g->dir);
	g->fd = memfd_create("table", MFD_CLOEXEC);
	if (g->fd == -1 || ftruncate(g->fd, (off_t)size) != 0)
		abort();
	g->r.table =
	    mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, g->fd, 0);
	g->pos = mmap(NULL, sizeof(*g->pos), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (g->r.table == MAP_FAILED || g->pos == MAP_FAILED)
		abort();
	g->r.pos = g->pos;
	if (table_region_init(g->r.table, table_size) != 0)
		abort();
	g->now_ms = 1000000;
	if (store_db_open(&g->db, g->path, STORE_DB_WRITE, UINT64_C(1) << 30,
		why, sizeof(why)) != 0) {
		diag("%s", why);
		abort();
	}
	table_writer_open(&g->w, g->r.table, 1);
	g->kv = rig_kv(g, SLOT_STORE);
	kv_set_writer(g->kv, &g->w);
	g->apply.kv = g->kv;
	g->apply.w = &g->w;
	g->apply.ctx = g;
	g->apply.hooks.timed = rig_timed;
	g->apply.hooks.no_memory = rig_no_memory;
	g->apply.hooks.count_now = rig_count_now;
	if (kv_begin(g->kv) != 0)
		abort();
}

/*
 * As if the machine had memory for so many more bytes of the active arena, in
 * steps of 256 KiB; UINT64_MAX: for all. What is behind the end of the file
 * cannot be had.
 */
__attribute__((unused)) static void
rig_memory(struct rig *g, uint64_t bytes)
{
	uint64_t end = g->r.table->size;

	if (bytes != UINT64_MAX)
		end = g->w.g->arena_off +
		      align_up(table_used(&g->w) + bytes, 256 * 1024);
	if (ftruncate(g->fd, (off_t)end) != 0)
		abort();
}

__attribute__((unused)) static void
rig_remove(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;
	char name[400];

	while (d != NULL && (e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "%s/%s", path, e->d_name);
		unlink(name);
	}
	if (d != NULL)
		closedir(d);
	rmdir(path);
}

__attribute__((unused)) static void
rig_close(struct rig *g)
{
	rig_kv_close(g->kv);
	rig_kv_close(g->reader);
	store_db_close(&g->db);
	apply_free(&g->apply);
	vbuf_free(&g->out);
	munmap(g->r.table, g->r.table->size);
	close(g->fd);
	munmap(g->pos, sizeof(*g->pos));
	rig_remove(g->path);
	rig_remove(g->dir);
}

/* Apply one payload as the next record; the result is in g->out. */
__attribute__((unused)) static int
rig_apply(struct rig *g, bool multi, const uint8_t *payload, size_t n)
{
	struct record rec = { .type = multi ? REC_MULTI : REC_OP,
		.vlsn = ++g->vlsn,
		.time_ms = g->now_ms,
		.bound = g->bound };

	vbuf_clear(&g->out);
	return apply_record(&g->apply, &rec, payload, n, &g->out);
}

__attribute__((unused)) static int
rig_op(struct rig *g, uint16_t code, uint16_t flags, int64_t num, uint32_t argc,
    const struct op_arg *argv)
{
	size_t n = op_size(argc, argv);
	uint8_t *p = malloc(n);
	int rc;

	op_encode(p, code, flags, num, argc, argv);
	rc = rig_apply(g, false, p, n);
	free(p);
	return rc;
}

__attribute__((unused)) static int
rig_set(struct rig *g, const char *key, const char *value)
{
	struct op_arg argv[] = { { (const uint8_t *)key,
				     (uint32_t)strlen(key) },
		{ (const uint8_t *)value, (uint32_t)strlen(value) } };

	return rig_op(g, OP_SET, 0, 0, 2, argv);
}

__attribute__((unused)) static int
rig_del(struct rig *g, const char *key)
{
	struct op_arg arg = { (const uint8_t *)key, (uint32_t)strlen(key) };

	return rig_op(g, OP_DEL, 0, 0, 1, &arg);
}

__attribute__((unused)) static int
rig_freeze(struct rig *g)
{
	if (!table_can_freeze(&g->w))
		return -EBUSY;
	table_freeze(&g->w);
	return kv_renew(g->kv);
}

/* Write the frozen generation and take it out of the view. */
__attribute__((unused)) static int
rig_checkpoint(struct rig *g)
{
	struct table_head *t = g->r.table;
	uint64_t number = atomic_load(&t->view) >> 1;
	struct table_gen *frozen = table_gen_at(t, number - 1);
	struct checkpoint_work work;
	uint8_t uuid[16] = { 1 };
	int rc;

	rc = checkpoint_write(&g->db, t, frozen, uuid, NULL, NULL, &work);
	if (rc != 0)
		return rc;
	table_drop(&g->w);
	if ((rc = kv_renew(g->kv)) != 0)
		return rc;
	if (!table_leave(&g->w))
		return -EBUSY;
	return table_clean(t, frozen);
}

/* The state that is on disk now. */
__attribute__((unused)) static struct store_state
rig_state(struct rig *g)
{
	struct store_state st;

	if (kv_renew(g->kv) != 0 ||
	    store_db_state(&g->kv->db, g->kv->txn, &st) != 0)
		abort();
	return st;
}

/* A value as text: OK, nil, nilarray, (int), "bulk", +status, -error, [..]. */
__attribute__((unused)) static const uint8_t *
rig_text_of(const uint8_t *at, const uint8_t *end, char *to, size_t size)
{
	struct value v;
	size_t used;
	int64_t i;

	if (value_next(&at, end, &v) != 0) {
		snprintf(to, size, "(bad)");
		return end;
	}
	switch ((enum value_tag)v.tag) {
	case VAL_NIL:
		snprintf(to, size, "nil");
		break;
	case VAL_OK:
		snprintf(to, size, "OK");
		break;
	case VAL_NIL_ARRAY:
		snprintf(to, size, "nilarray");
		break;
	case VAL_INT:
		snprintf(to, size, "%" PRId64, v.i);
		break;
	case VAL_BULK:
		snprintf(to, size, "\"%.*s\"", (int)v.len, v.data);
		break;
	case VAL_STATUS:
		snprintf(to, size, "+%.*s", (int)v.len, v.data);
		break;
	case VAL_ERROR:
		snprintf(to, size, "-%.*s", (int)v.len, v.data);
		break;
	case VAL_ARRAY:
		snprintf(to, size, "[");
		for (i = 0; i < v.i; i++) {
			used = strlen(to);
			at = rig_text_of(at, end, to + used, size - used);
			used = strlen(to);
			snprintf(to + used, size - used, "%s",
			    i + 1 < v.i ? " " : "");
		}
		used = strlen(to);
		snprintf(to + used, size - used, "]");
		break;
	}
	return at;
}

__attribute__((unused)) static const char *
rig_text(const struct vbuf *b)
{
	static char text[65536];
	const uint8_t *end = b->data + b->len;

	if (b->len == 0)
		return "(nothing)";
	if (rig_text_of(b->data, end, text, sizeof(text)) != end)
		return "(trailing bytes)";
	return text;
}

#endif
