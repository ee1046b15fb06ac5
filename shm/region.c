/*
 * Making, finding and ending the shared region. The links in run_dir that
 * lead to it are region_link.c's.
 */
#include "shm/region.h"

#include <errno.h>
#include <signal.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "shm/assert.h"
#include "shm/kv/table.h"
#include "shm/locks.h"
#include "shm/path.h"
#include "shm/process.h"
#include "shm/region_link.h"
#include "shm/say.h"

#define RING_CLIENT_SIZE                                                       \
	(RING_REQUEST_SIZE + RING_RETURN_SIZE + RING_RESULT_SIZE)

_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "no hidden lock");
_Static_assert(ATOMIC_INT_LOCK_FREE == 2, "no hidden lock");
_Static_assert(RING_CLIENT_SIZE % REGION_PAGE == 0, "rings fill pages");

/* Sizes that the build decides; 0 = the creator's spec does. */
static const uint64_t fixed_size[] = {
	[SECT_SEQUENCER] = sizeof(struct sequencer),
	[SECT_SLOTS] = sizeof(struct slots),
	[SECT_WAKES] = sizeof(struct wakes),
	[SECT_POSITIONS] = sizeof(struct positions),
	[SECT_COMMIT] = sizeof(struct commit_state),
	[SECT_CONTROL] = sizeof(struct control),
	[SECT_COUNTERS] = sizeof(struct counters),
	[SECT_HISTOGRAMS] = sizeof(struct histograms),
	[SECT_EVENTS] = sizeof(struct events),
	[SECT_TROUBLES] = sizeof(struct troubles),
	[SECT_REACH] = sizeof(struct reach_table),
	[SECT_TERMS] = sizeof(struct terms),
	[SECT_PEERS] = sizeof(struct peers),
	[SECT_RINGS] = sizeof(struct client_rings) * CLIENT_MAX,
	[SECT_RING_DATA] = (uint64_t)RING_CLIENT_SIZE * CLIENT_MAX,
	[SECT_VMAP] = sizeof(struct vmap),
	[SECT_WALBUF_HEAD] = sizeof(struct walbuf_head),
	[SECT_WALBUF] = 0,
	[SECT_TABLE] = 0,
};
_Static_assert(NITEMS(fixed_size) == SECT_COUNT, "a size for each section");

__attribute__((format(printf, 3, 4))) static void
explain(char *why, size_t size, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, size, fmt, ap);
	va_end(ap);
}

/* FNV-1a over everything that two builds must agree on. */
static uint64_t
layout_hash(void)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);
	uint64_t extra[] = { SECT_COUNT, COUNTER_COUNT, HIST_COUNT, PHASE_COUNT,
		SLOT_MAX, MEMBER_MAX, sizeof(struct region_head),
		REGION_DECLS };
	size_t i;

	for (i = 0; i < NITEMS(extra); i++)
		hash = (hash ^ extra[i]) * UINT64_C(0x100000001b3);
	for (i = 0; i < NITEMS(fixed_size); i++)
		hash = (hash ^ fixed_size[i]) * UINT64_C(0x100000001b3);
	return hash;
}

static void *
section_at(const struct region *r, enum section which)
{
	return r->base + r->section[which].off;
}

static void
sections_resolve(struct region *r)
{
	r->seq = section_at(r, SECT_SEQUENCER);
	r->slots = section_at(r, SECT_SLOTS);
	r->wakes = section_at(r, SECT_WAKES);
	r->pos = section_at(r, SECT_POSITIONS);
	r->commit = section_at(r, SECT_COMMIT);
	r->control = section_at(r, SECT_CONTROL);
	r->counters = section_at(r, SECT_COUNTERS);
	r->hists = section_at(r, SECT_HISTOGRAMS);
	r->events = section_at(r, SECT_EVENTS);
	r->troubles = section_at(r, SECT_TROUBLES);
	r->reach = section_at(r, SECT_REACH);
	r->terms = section_at(r, SECT_TERMS);
	r->peers = section_at(r, SECT_PEERS);
	r->rings = section_at(r, SECT_RINGS);
	r->vmap = section_at(r, SECT_VMAP);
	r->walbuf.h = section_at(r, SECT_WALBUF_HEAD);
	r->walbuf.size = r->walbuf.h->size;
	r->table = section_at(r, SECT_TABLE);
}

void
region_ring(const struct region *r, unsigned client, unsigned which,
    struct bytering *out)
{
	struct client_rings *set;
	uint8_t *data;

	ASSERT(client < CLIENT_MAX);
	ASSERT(which <= RING_RESULT);
	set = &r->rings[client];
	data = (uint8_t *)section_at(r, SECT_RING_DATA) +
	       (uint64_t)client * RING_CLIENT_SIZE;
	if (which == RING_REQUEST)
		bytering_attach(out, &set->request, data);
	else if (which == RING_RETURN)
		bytering_attach(out, &set->ret, data + RING_REQUEST_SIZE);
	else
		bytering_attach(out, &set->result,
		    data + RING_REQUEST_SIZE + RING_RETURN_SIZE);
}

/* The buffer's bytes a second time behind the first: no record wraps. */
static int
walbuf_map_twice(struct region *r)
{
	uint64_t size = r->walbuf.size;
	off_t off = (off_t)r->section[SECT_WALBUF].off;
	uint8_t *at;
	int i;

	at =
	    mmap(NULL, 2 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED)
		return -errno;
	r->walbuf.data = at;
	for (i = 0; i < 2; i++)
		if (mmap(at + (uint64_t)i * size, size, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_FIXED, r->fd, off) == MAP_FAILED)
			return -errno;
	return 0;
}

void
region_unmap(struct region *r)
{
	if (r->slots != NULL)
		lock_self_end(r);
	if (r->walbuf.data != NULL)
		munmap(r->walbuf.data, 2 * r->walbuf.size);
	if (r->base != NULL)
		munmap(r->base, r->size);
	if (r->fd != -1)
		close(r->fd);
	memset(r, 0, sizeof(*r));
	r->fd = -1;
}

/* Place the sections, each on a page of its own; returns the whole size. */
static uint64_t
layout_plan(struct region_head *head, const struct region_spec *spec)
{
	uint64_t off = align_up(sizeof(*head), REGION_PAGE), len;
	unsigned i;

	for (i = 0; i < SECT_COUNT; i++) {
		len = fixed_size[i];
		if (i == SECT_WALBUF)
			len = spec->walbuf_size;
		else if (i == SECT_TABLE)
			len = table_region_size(spec->table_size);
		head->section[i].off = off;
		head->section[i].len = len;
		off += align_up(len, REGION_PAGE);
	}
	return off;
}

static void
head_fill(struct region_head *head, const struct region_spec *spec)
{
	head->version = REGION_VERSION;
	head->head_size = sizeof(*head);
	head->layout = layout_hash();
	head->supervisor_pid = getpid();
	head->supervisor_start = process_start(getpid());
	head->pid_space = pid_space();
	head->mount_space = mount_space();
	arc4random_buf(head->boot_id, sizeof(head->boot_id));
	head->started_wall_ms = wall_ms();
	head->started_ns = mono_ns();
	head->node_restarts = spec->node_restarts;
	head->gateway_count = spec->gateway_count;
	strlcpy(head->node, spec->node, sizeof(head->node));
	strlcpy(head->group, spec->group, sizeof(head->group));
	strlcpy(head->data_dir, spec->data_dir, sizeof(head->data_dir));
	if (strlen(spec->run_dir) < sizeof(head->run_dir))
		strlcpy(head->run_dir, spec->run_dir, sizeof(head->run_dir));
	strlcpy(
	    head->client_addr, spec->client_addr, sizeof(head->client_addr));
	strlcpy(head->http_addr, spec->http_addr, sizeof(head->http_addr));
	system_boot_id(head->system_boot_id, sizeof(head->system_boot_id));
	head->total_size = layout_plan(head, spec);
}

static int
spec_check(
    const struct region_spec *spec, int run_dir, char *why, size_t why_size)
{
	int pid;

	if (strchr(spec->node, '/') != NULL || spec->node[0] == '\0' ||
	    strlen(spec->node) >= NODE_NAME_MAX) {
		explain(why, why_size,
		    "node name '%s': cannot be part of a "
		    "file name",
		    spec->node);
		return -EINVAL;
	}
	if (!is_pow2(spec->walbuf_size) || spec->walbuf_size < REGION_PAGE ||
	    spec->gateway_count > GATEWAY_MAX) {
		explain(why, why_size,
		    "WAL buffer of %" PRIu64 " bytes, %u "
		    "gateways: no power of two, or too many",
		    spec->walbuf_size, spec->gateway_count);
		return -EINVAL;
	}
	if ((pid = region_link_owner(run_dir)) != 0) {
		explain(why, why_size,
		    "%s/region: a live node uses it, "
		    "supervisor pid %d; stop that one first",
		    spec->run_dir, pid);
		return -EBUSY;
	}
	return 0;
}

/* Says it by the one table of remedies; returns -error. */
static int
shm_refused(
    const char *call, int error, const char *what, char *why, size_t why_size)
{
	char command[128] = "";
	const struct fault f = { .object = REGION_SHM_DIR,
		.call = call,
		.error = error,
		.place = PLACE_SHM,
		.what = what,
		.command = command };

	if (error == EFBIG)
		process_unlimit(command, sizeof(command), getpid(), 0);
	fault_text(why, why_size, &f);
	return -error;
}

/*
 * What is large takes its memory while the node works: refuse now a /dev/shm
 * in which there would be none. The file is larger still: the arenas have
 * address space for any bound.
 */
static int
shm_check(int fd, uint64_t need, char *why, size_t why_size)
{
	struct statfs fs;
	uint64_t room;
	char what[80];

	if (fstatfs(fd, &fs) == -1)
		return -errno;
	if (fs.f_type != TMPFS_MAGIC) {
		explain(why, why_size,
		    REGION_SHM_DIR ": is no tmpfs (type "
				   "0x%lx): its disk would stall every worker",
		    (unsigned long)fs.f_type);
		return -EOPNOTSUPP;
	}
	room = (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize;
	if (fs.f_blocks == 0 || room >= need)
		return 0;
	snprintf(what, sizeof(what),
	    "%" PRIu64 " MiB free, the node may need %" PRIu64, room >> 20,
	    need >> 20);
	return shm_refused(NULL, ENOSPC, what, why, why_size);
}

/*
 * A fresh file. It has no name before region_link_swap(): who is killed over
 * making a region leaves none behind.
 */
static int
shm_create(struct region *r, char *why, size_t why_size)
{
	r->fd = open(REGION_SHM_DIR, O_RDWR | O_TMPFILE | O_CLOEXEC, 0640);
	if (r->fd == -1 || fchmod(r->fd, 0640) == -1)
		return shm_refused("create", errno, NULL, why, why_size);
	return 0;
}

/* What the sections start from; the file's zeros do for the others. */
static int
sections_init(struct region *r, const struct region_spec *spec)
{
	unsigned i;
	int rc;

	r->walbuf.h->size = r->walbuf.size = spec->walbuf_size;
	for (i = 0; i < CLIENT_MAX; i++) {
		bytering_create(&r->rings[i].request, RING_REQUEST_SIZE);
		bytering_create(&r->rings[i].ret, RING_RETURN_SIZE);
		bytering_create(&r->rings[i].result, RING_RESULT_SIZE);
	}
	atomic_store_explicit(
	    &r->control->log_level, SAY_INFO, memory_order_relaxed);
	rc = table_region_init(r->table, spec->table_size);
	if (rc != 0)
		return rc;
	seq_init(r->seq, spec->recovery_mode);
	return 0;
}

/*
 * Memory for all that is small, what every lookup in the VLSN map touches,
 * and the rings of the clients that there will be: nobody, readers included,
 * meets a page of these without. No process has them mapped by this. The WAL
 * buffer, the map and the table get more as they grow (shm/memory.h).
 */
static int
small_take(int fd, const struct region_head *head, char *why, size_t why_size)
{
	uint64_t clients = CLIENT_GATEWAY + head->gateway_count;
	uint64_t vmap = head->section[SECT_VMAP].off;
	const struct {
		uint64_t off, len;
	} part[] = {
		{ 0, head->section[SECT_RING_DATA].off +
			 clients * RING_CLIENT_SIZE },
		{ vmap, offsetof(struct vmap, entry) },
		{ vmap + offsetof(struct vmap, old),
		    offsetof(struct vmap_old, entry) },
		{ head->section[SECT_WALBUF_HEAD].off,
		    head->section[SECT_WALBUF_HEAD].len },
		{ head->section[SECT_TABLE].off, sizeof(struct table_head) },
	};
	size_t i;
	int rc = 0;

	for (i = 0; rc == 0 && i < NITEMS(part); i++)
		while ((rc = fallocate(fd, 0, (off_t)part[i].off,
			    (off_t)part[i].len)) == -1 &&
		       errno == EINTR)
			;
	if (rc == 0)
		return 0;
	return shm_refused("fallocate", errno, NULL, why, why_size);
}

/*
 * What wal said of its last flush holds until a boot has gone by it, also if
 * this one ends before wal is there: each region hands it to the next one.
 */
static void
failed_take(struct region *r, const struct region *before, int run_dir)
{
	struct control *c = r->control;
	struct log_failed failed;
	struct region_head old;

	if (before != NULL)
		memcpy(&failed,
		    (const uint8_t *)before->control +
			offsetof(struct control, wal_failed),
		    sizeof(failed));
	else if (region_link_peek(run_dir, "region", &old, &failed) != 0 ||
		 strncmp(old.data_dir, r->head->data_dir,
		     sizeof(old.data_dir)) != 0)
		return;
	atomic_store_explicit(
	    &c->wal_failed_log, failed.log, memory_order_relaxed);
	atomic_store_explicit(
	    &c->wal_failed_segment, failed.segment, memory_order_relaxed);
	atomic_store_explicit(
	    &c->wal_failed, failed.from, memory_order_relaxed);
}

/* All that is in a map of zeros. */
static int
region_fill(struct region *r, const struct region_head *head,
    const struct region_spec *spec, int run_dir)
{
	int rc;

	r->head = (struct region_head *)r->base;
	memcpy(r->head, head, sizeof(*head));
	memcpy(r->section, head->section, sizeof(r->section));
	sections_resolve(r);
	if ((rc = sections_init(r, spec)) != 0)
		return rc;
	failed_take(r, spec->before, run_dir);
	atomic_store_explicit(
	    &r->head->state, REGION_LIVE, memory_order_relaxed);
	/* Pairs with the acquire in region_head_check(): all of it is there. */
	atomic_store_explicit(
	    &r->head->magic, REGION_MAGIC, memory_order_release);
	return 0;
}

static int
region_build(struct region *r, const struct region_spec *spec, int run_dir,
    char *why, size_t why_size)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	struct region_head head = { 0 };
	int rc;

	head_fill(&head, spec);
	if ((rc = shm_create(r, why, why_size)) != 0 ||
	    (rc = shm_check(r->fd, spec->memory_least, why, why_size)) != 0)
		return rc;
	r->size = head.total_size;
	if (ftruncate(r->fd, (off_t)r->size) == -1)
		return shm_refused("ftruncate", errno, NULL, why, why_size);
	/* Kept by all who inherit it; see region_alive(). */
	if (fcntl(r->fd, F_OFD_SETLK, &lock) == -1)
		return -errno;
	if ((rc = small_take(r->fd, &head, why, why_size)) != 0)
		return rc;
	r->base =
	    mmap(NULL, r->size, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, 0);
	if (r->base == MAP_FAILED) {
		r->base = NULL;
		return shm_refused("mmap", errno, NULL, why, why_size);
	}
	if ((rc = region_fill(r, &head, spec, run_dir)) != 0)
		return rc;
	return walbuf_map_twice(r);
}

/* Up to the table's head: nobody is there who would need the rest. */
static int
region_build_private(
    struct region *r, const struct region_spec *spec, int run_dir)
{
	struct region_head head = { 0 };

	head_fill(&head, spec);
	r->size = head.section[SECT_TABLE].off + sizeof(struct table_head);
	r->base = mmap(NULL, r->size, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (r->base == MAP_FAILED) {
		r->base = NULL;
		return -errno;
	}
	return region_fill(r, &head, spec, run_dir);
}

/* A name that nobody had, and the link to it. */
static int
region_name(struct region *r, int run_dir, bool keep_prev)
{
	snprintf(r->path, sizeof(r->path), "/" REGION_PREFIX "%s.%d.%08x",
	    r->node, (int)getpid(), (unsigned)arc4random());
	return region_link_swap(run_dir, r->path, r->fd, keep_prev);
}

int
region_link_again(struct region *r, const char *run_dir)
{
	int dir = path_dir_open(run_dir), rc;

	if (dir < 0)
		return dir;
	if (r->path[0] != '\0')
		rc = region_link_restore(dir, r->path);
	else if ((rc = region_name(r, dir, false)) == 0)
		rc = 1;
	else
		r->path[0] = '\0';
	close(dir);
	return rc;
}

static void
link_refused(const char *run_dir, int error, char *why, size_t why_size)
{
	char object[sizeof(((struct region_head *)0)->run_dir) + 8];
	const struct fault f = { .object = object,
		.call = "link",
		.error = error,
		.place = PLACE_RUN };

	snprintf(object, sizeof(object), "%s/region", run_dir);
	fault_text(why, why_size, &f);
}

static void
handle_init(struct region *r, const struct region_spec *spec)
{
	memset(r, 0, sizeof(*r));
	r->fd = -1;
	r->writable = true;
	strlcpy(r->node, spec->node, sizeof(r->node));
}

int
region_create_private(struct region *r, const struct region_spec *spec)
{
	int dir = path_dir_open(spec->run_dir), rc;

	handle_init(r, spec);
	rc = region_build_private(r, spec, dir);
	if (dir >= 0)
		close(dir);
	if (rc == 0)
		lock_self(r, SLOT_SUPERVISOR, 1);
	else
		region_unmap(r);
	return rc;
}

int
region_create(struct region *r, const struct region_spec *spec, char *why,
    size_t why_size)
{
	int dir, rc;

	handle_init(r, spec);
	explain(why, why_size, "%s", "");
	dir = path_dir_open(spec->run_dir);
	if (dir < 0 && spec->before != NULL)
		dir = -1;
	else if (dir < 0) {
		explain(why, why_size, "[node] run_dir: %s: %s", spec->run_dir,
		    strerror(-dir));
		return dir;
	}
	if ((rc = spec_check(spec, dir, why, why_size)) == 0 &&
	    (rc = region_build(r, spec, dir, why, why_size)) == 0 && dir >= 0)
		rc = region_name(r, dir, spec->keep_prev);
	if (dir >= 0)
		close(dir);
	if (rc == 0) {
		lock_self(r, SLOT_SUPERVISOR, 1);
		return 0;
	}
	if (why_size > 0 && why[0] == '\0')
		link_refused(spec->run_dir, -rc, why, why_size);
	if (r->path[0] != '\0')
		shm_unlink(r->path);
	region_unmap(r);
	return rc;
}

/* Sizes and places that came from a file: checked before they are used. */
static int
sections_check(const struct region_head *head, char *why, size_t why_size)
{
	uint64_t off, len;
	unsigned i;

	for (i = 0; i < SECT_COUNT; i++) {
		off = head->section[i].off;
		len = head->section[i].len;
		if (off % REGION_PAGE != 0 || off < sizeof(*head) ||
		    off > head->total_size || len > head->total_size - off ||
		    (fixed_size[i] != 0 && len != fixed_size[i]) ||
		    (i == SECT_TABLE && len < sizeof(struct table_head))) {
			explain(why, why_size,
			    "section %u at %" PRIu64 ", %" PRIu64
			    " bytes: not possible",
			    i, off, len);
			return -EBADMSG;
		}
	}
	return 0;
}

int
region_head_check(
    const struct region_head *head, uint64_t size, char *why, size_t why_size)
{
	uint64_t magic =
	    atomic_load_explicit(&head->magic, memory_order_acquire);

	if (magic == 0) {
		explain(why, why_size,
		    "not complete: its maker is at it, or "
		    "died over it");
		return -EAGAIN;
	}
	if (magic != REGION_MAGIC) {
		explain(why, why_size,
		    "magic %016" PRIx64 ": no nodelife "
		    "region",
		    magic);
		return -EBADMSG;
	}
	if (head->version != REGION_VERSION) {
		explain(why, why_size,
		    "layout version %u, this program knows "
		    "%u",
		    head->version, REGION_VERSION);
		return -EPROTO;
	}
	if (head->head_size != sizeof(*head)) {
		explain(why, why_size,
		    "head of %u bytes, this program has "
		    "%zu: unlike builds",
		    head->head_size, sizeof(*head));
		return -EPROTO;
	}
	if (head->layout != layout_hash()) {
		explain(why, why_size,
		    "layout %016" PRIx64 ", this program "
		    "has %016" PRIx64 ": unlike builds",
		    head->layout, layout_hash());
		return -EPROTO;
	}
	if (head->total_size != size) {
		explain(why, why_size,
		    "%" PRIu64 " bytes, its head says %" PRIu64
		    ": cut or foreign",
		    size, head->total_size);
		return -EBADMSG;
	}
	return sections_check(head, why, why_size);
}

/* The name under /dev/shm of an open region, whatever link led to it. */
static void
shm_name_of(int fd, char *out, size_t size)
{
	char link[40], path[256];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	path[n > 0 ? n : 0] = '\0';
	if (strncmp(path, REGION_SHM_DIR "/", strlen(REGION_SHM_DIR "/")) == 0)
		strlcpy(out, path + strlen(REGION_SHM_DIR), size);
	else
		strlcpy(out, path, size);
}

static int
region_map(struct region *r, const char *path, char *why, size_t why_size)
{
	struct region_head head;
	struct stat st;
	int rc;

	r->fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (r->fd == -1 || fstat(r->fd, &st) == -1) {
		rc = -errno;
		explain(why, why_size, "%s", strerror(-rc));
		return rc;
	}
	r->size = (uint64_t)st.st_size;
	/* A region that is just being made may have no bytes yet. */
	if (!S_ISREG(st.st_mode) || r->size < sizeof(struct region_head)) {
		explain(why, why_size, "%" PRIu64 " bytes: no nodelife region",
		    r->size);
		return S_ISREG(st.st_mode) && r->size == 0 ? -EAGAIN : -EBADMSG;
	}
	r->base = mmap(NULL, r->size, PROT_READ, MAP_SHARED, r->fd, 0);
	if (r->base == MAP_FAILED) {
		rc = -errno;
		r->base = NULL;
		explain(why, why_size, "map: %s", strerror(-rc));
		return rc;
	}
	r->head = (struct region_head *)r->base;
	/* Checked as it is used: its owner may go on writing. */
	memcpy(&head, r->head, sizeof(head));
	memcpy(r->section, head.section, sizeof(r->section));
	return region_head_check(&head, r->size, why, why_size);
}

int
region_attach(struct region *r, const char *path, char *why, size_t why_size)
{
	char cause[192] = "";
	int rc;

	memset(r, 0, sizeof(*r));
	r->fd = -1;
	rc = region_map(r, path, cause, sizeof(cause));
	if (rc != 0) {
		explain(why, why_size, "%s: %s", path, cause);
		region_unmap(r);
		return rc;
	}
	shm_name_of(r->fd, r->path, sizeof(r->path));
	sections_resolve(r);
	return 0;
}

void
region_end(struct region *r, enum region_state state)
{
	ASSERT(r->writable);
	ASSERT(state == REGION_ENDED || state == REGION_SUPERSEDED);
	atomic_store_explicit(&r->head->state, state, memory_order_release);
	seq_end(r->seq,
	    state == REGION_ENDED ? "the node ended" : "the node boots again");
}

void
region_sections_trim(int fd, const struct region_place section[SECT_COUNT])
{
	static const enum section bulk[] = { SECT_RING_DATA, SECT_VMAP,
		SECT_WALBUF, SECT_TABLE };

	/* Who looks at the black box reads it: a hole may be SIGBUS. */
	uint64_t kept =
	    align_up(sizeof(struct table_head), (uint64_t)REGION_PAGE);

	for (unsigned i = 0; i < NITEMS(bulk); i++) {
		const struct region_place *at = &section[bulk[i]];
		uint64_t skip = bulk[i] == SECT_TABLE ? kept : 0;

		if (at->len > skip)
			(void)fallocate(fd,
			    FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			    (off_t)(at->off + skip), (off_t)(at->len - skip));
	}
}

void
region_trim(const struct region *r)
{
	region_sections_trim(r->fd, r->section);
}

void
region_unlink(struct region *r)
{
	ASSERT(r->writable);
	shm_unlink(r->path);
}

bool
region_head_alive(const struct region_head *head)
{
	char boot_id[sizeof(head->system_boot_id)];
	int pid = head->supervisor_pid;

	system_boot_id(boot_id, sizeof(boot_id));
	if (strncmp(boot_id, head->system_boot_id, sizeof(boot_id)) != 0)
		return false;
	if (head->supervisor_start == 0 || pid <= 0)
		return false;
	/* /proc may hide another user's processes (hidepid): ask the kernel. */
	if (kill(pid, 0) != 0 && errno == EPERM && process_start(pid) == 0)
		return true;
	return process_start(pid) == head->supervisor_start;
}

bool
region_file_held(int fd)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	return fcntl(fd, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
}

bool
region_alive(const struct region *r)
{
	if (r->head->pid_space != pid_space())
		return region_file_held(r->fd);
	return region_head_alive(r->head);
}
