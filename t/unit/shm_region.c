/*
 * The region: made, found through run_dir/region, refused with its cause,
 * replaced, ended, and recognised as dead.
 */
#include "shm/region.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "shm/kv/table.h"
#include "shm/process.h"
#include "shm/region_link.h"
#include "t/shm_fixture.h"

static char why[256];

static void
path_of(const struct fixture *f, const char *name, char out[128])
{
	snprintf(out, 128, "%s/%s", f->dir, name);
}

static bool
shm_exists(const char *name)
{
	char path[200];

	snprintf(path, sizeof(path), "/dev/shm%s", name);
	return access(path, F_OK) == 0;
}

/* What is small has memory from the start, what is large none. */
static void
memory_taken(const struct region *r)
{
	uint64_t want,
	    rings = (CLIENT_GATEWAY + 1) *
		    (RING_REQUEST_SIZE + RING_RETURN_SIZE + RING_RESULT_SIZE);
	uint64_t have;
	struct stat st;

	if (fstat(r->fd, &st) != 0)
		abort();
	have = (uint64_t)st.st_blocks * 512;
	/* Of the VLSN map two pages; a page of the table. */
	want = r->head->section[SECT_RING_DATA].off + rings + 2 * 4096 +
	       r->head->section[SECT_WALBUF_HEAD].len + 4096;
	ok(have >= want && have < want + 16 * 4096,
	    "only what is small has memory, with three clients' rings (%u KiB)",
	    (unsigned)(have >> 10));
}

static void
created(void)
{
	struct fixture f;
	struct region t;
	struct stat st;
	char path[128], target[200];
	ssize_t n;
	unsigned i;

	fixture_open(&f);
	path_of(&f, "region", path);
	n = readlink(path, target, sizeof(target) - 1);
	target[n > 0 ? n : 0] = '\0';
	is_str(target + strlen("/dev/shm"), f.r.path, "linked in run_dir");
	ok(fstat(f.r.fd, &st) == 0 && (st.st_mode & 0777) == 0640, "mode 0640");
	memory_taken(&f.r);
	ok(fcntl(f.r.fd, F_GETFD) & FD_CLOEXEC, "closed on exec");
	for (i = 0; i < SECT_COUNT; i++)
		if (f.r.head->section[i].off % 64 != 0)
			ok(false, "section %u is aligned", i);

	f.r.walbuf.data[5] = 0x5a;
	is_u64(f.r.walbuf.data[f.spec.walbuf_size + 5], 0x5a,
	    "the WAL buffer is there twice");
	f.r.walbuf.data[2 * f.spec.walbuf_size - 1] = 0x33;
	is_u64(f.r.walbuf.data[f.spec.walbuf_size - 1], 0x33, "both ways");

	is_i64(region_attach(&t, path, why, sizeof(why)), 0, "attached");
	is_str(t.path, f.r.path, "by its name");
	is_str(t.head->node, "unit", "node");
	is_str(t.head->group, "g", "group");
	is_str(t.head->client_addr, "127.0.0.1:1", "client address");
	is_u64(t.head->state, REGION_LIVE, "live");
	is_u64(t.walbuf.size, f.spec.walbuf_size, "WAL buffer's size");
	ok(t.walbuf.data == NULL && !t.writable, "tools map once, to read");
	ok(region_alive(&t), "its supervisor is this process");
	position_set(&f.r.pos->applied, 42);
	is_u64(position_get(&t.pos->applied), 42, "one memory");
	region_unmap(&t);
	fixture_close(&f);
}

static void
rings(void)
{
	static const uint32_t want[] = { RING_REQUEST_SIZE, RING_RETURN_SIZE,
		RING_RESULT_SIZE };
	struct bytering a, last = { 0 };
	unsigned c, k, wrong = 0;
	struct fixture f;

	fixture_open(&f);
	for (c = 0; c < CLIENT_MAX; c++)
		for (k = 0; k < 3; k++) {
			region_ring(&f.r, c, k, &a);
			wrong += a.br_size != want[k];
			wrong += last.br_data != NULL &&
				 a.br_data != last.br_data + last.br_size;
			last = a;
		}
	is_u64(wrong, 0, "every ring has its size and its own bytes");
	ok(last.br_data + last.br_size <=
		f.r.base + f.r.head->section[SECT_VMAP].off,
	    "rings end in time");
	fixture_close(&f);
}

/* One damaged copy of a region's head, and what attach says of it. */
static void
refusal(const char *what, struct region_head *head, uint64_t size, int want,
    const char *sentence)
{
	char path[] = "/tmp/nodelife-shm-file.XXXXXX";
	struct region t;
	int fd = mkstemp(path), rc;

	if (write(fd, head, sizeof(*head)) != sizeof(*head) ||
	    ftruncate(fd, (off_t)size) != 0)
		abort();
	close(fd);
	rc = region_attach(&t, path, why, sizeof(why));
	unlink(path);
	if (!ok(rc == want && (rc == 0 || strstr(why, sentence) != NULL), "%s",
		what))
		diag("%d: %s", rc, why);
	if (rc == 0)
		region_unmap(&t);
}

static void
refusals(void)
{
	struct region_head h, good;
	struct fixture f;
	struct region t;
	char path[128];
	unsigned i;

	fixture_open(&f);
	good = *f.r.head;
	refusal("a copy of it is read", &good, good.total_size, 0, "");
	h = good;
	h.magic = 0;
	refusal("not complete", &h, h.total_size, -EAGAIN, "not complete");
	h.magic = 0x1234;
	refusal("magic", &h, h.total_size, -EBADMSG, "magic");
	h = good;
	h.version++;
	refusal("version", &h, h.total_size, -EPROTO, "layout version 3");
	h = good;
	h.head_size -= 8;
	refusal("head size", &h, h.total_size, -EPROTO, "head of");
	h = good;
	h.layout ^= 1;
	refusal("layout", &h, h.total_size, -EPROTO, "unlike builds");
	refusal("a cut file", &good, good.total_size - 4096, -EBADMSG,
	    "its head says");
	refusal("a short file", &good, 100, -EBADMSG, "no nodelife region");
	refusal("an empty file", &good, 0, -EAGAIN, "no nodelife region");
	for (i = 0; i < SECT_COUNT; i++) {
		h = good;
		h.section[i].off = h.total_size + 4096;
		refusal(
		    "a section outside", &h, h.total_size, -EBADMSG, "section");
		h = good;
		h.section[i].len = UINT64_MAX - 4096;
		refusal("a section that overflows", &h, h.total_size, -EBADMSG,
		    "section");
	}
	h = good;
	h.section[SECT_TABLE].off = h.total_size - h.total_size % 4096;
	h.section[SECT_TABLE].len = 0;
	refusal(
	    "a table without a head", &h, h.total_size, -EBADMSG, "section");
	path_of(&f, "nothing", path);
	is_i64(region_attach(&t, path, why, sizeof(why)), -ENOENT, "no file");
	ok(strstr(why, path) != NULL, "the path is named: %s", why);
	is_i64(region_attach(&t, f.dir, why, sizeof(why)), -EBADMSG,
	    "a directory");
	fixture_close(&f);
}

static void
test_file_limit(const struct region_spec *spec)
{
	struct rlimit before, low;
	struct region r, own;

	getrlimit(RLIMIT_FSIZE, &before);
	low = before;
	low.rlim_cur = 1 << 20;
	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &low);
	is_i64(region_create(&r, spec, why, sizeof(why)), -EFBIG,
	    "a limit of a file's size");
	is_i64(region_create_private(&own, spec), 0, "bounds no private one");
	ok(own.fd == -1 && own.path[0] == '\0', "which is no file");
	region_unmap(&own);
	setrlimit(RLIMIT_FSIZE, &before);
	signal(SIGXFSZ, SIG_DFL);
	ok(strstr(why, "/dev/shm: ") == why && strstr(why, "ulimit -f") != NULL,
	    "told with its remedy: %s", why);
}

static void
bad_specs(void)
{
	struct region_spec spec;
	struct fixture f;
	struct region r;

	fixture_dir(&f);
	spec = f.spec;
	spec.node = "a/b";
	is_i64(region_create(&r, &spec, why, sizeof(why)), -EINVAL,
	    "a node name with a slash");
	spec = f.spec;
	spec.walbuf_size = 3 << 20;
	is_i64(region_create(&r, &spec, why, sizeof(why)), -EINVAL,
	    "a buffer that is no power of two");
	spec = f.spec;
	spec.gateway_count = GATEWAY_MAX + 1;
	is_i64(region_create(&r, &spec, why, sizeof(why)), -EINVAL,
	    "too many gateways");
	spec = f.spec;
	spec.table_size = UINT64_C(1) << 50;
	ok(region_create(&r, &spec, why, sizeof(why)) < 0 && why[0] != '\0',
	    "more than there can be: %s", why);
	test_file_limit(&f.spec);
	spec = f.spec;
	spec.run_dir = "/nowhere/at/all";
	is_i64(
	    region_create(&r, &spec, why, sizeof(why)), -ENOENT, "no run_dir");
	ok(strstr(why, "/nowhere/at/all") != NULL, "named: %s", why);
	ok(r.fd == -1 && r.base == NULL, "nothing is held after a refusal");
	fixture_remove(&f);
}

/* In a mount namespace of its own: another /dev/shm. */
static int
other_shm_main(void *arg)
{
	struct fixture *f = arg;
	struct region r;
	char text[256];
	int rc;

	if (unshare(CLONE_NEWNS) != 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		return 77;
	if (mount("none", "/dev/shm", "tmpfs", 0, "size=4m") != 0)
		return 77;
	rc = region_create(&r, &f->spec, text, sizeof(text));
	if (rc != -ENOSPC || strstr(text, "MiB free") == NULL)
		return 1;
	if (mount("none", "/dev/shm", "ramfs", 0, NULL) != 0)
		return 77;
	rc = region_create(&r, &f->spec, text, sizeof(text));
	if (rc != -EOPNOTSUPP || strstr(text, "no tmpfs") == NULL)
		return 2;
	return 0;
}

static void
bad_shm(void)
{
	struct fixture f;
	int rc;

	fixture_dir(&f);
	rc = child_end(child_start(other_shm_main, &f));
	if (rc == 77)
		ok(true, "a bad /dev/shm # SKIP no right to mount one");
	else
		is_i64(rc, 0, "too small, or no tmpfs: each is refused");
	fixture_remove(&f);
}

/* Node restarts: the same supervisor makes one region after the other. */
static void
superseded(void)
{
	struct region second, third, t;
	char path[128], first_name[128];
	struct fixture f;

	fixture_open(&f);
	strcpy(first_name, f.r.path);
	seq_register(f.r.seq, PHASE_WAL_RECOVERY, SLOT_WAL, "scan");
	seq_seal(f.r.seq);
	path_of(&f, "region", path);
	is_i64(region_attach(&t, path, why, sizeof(why)), 0, "a tool is here");
	region_end(&f.r, REGION_SUPERSEDED);
	is_u64(t.head->state, REGION_SUPERSEDED, "it sees what happened");
	is_i64(seq_wait(t.seq, PHASE_WAL_RECOVERY, 0, NULL, NULL), -ECANCELED,
	    "and waits no longer");
	is_str(t.seq->error,
	    "the node boots again while it was booting, at boot", "told why");
	region_unmap(&t);

	f.spec.node_restarts = 1;
	is_i64(region_create(&second, &f.spec, why, sizeof(why)), 0, "second");
	ok(shm_exists(first_name), "the first one is kept");
	path_of(&f, "region.prev", path);
	is_i64(region_attach(&t, path, why, sizeof(why)), 0, "as region.prev");
	is_str(t.path, first_name, "that one");
	region_unmap(&t);
	path_of(&f, "region", path);
	is_i64(region_attach(&t, path, why, sizeof(why)), 0, "the new one");
	is_u64(t.head->node_restarts, 1, "is linked");
	region_unmap(&t);

	region_end(&second, REGION_SUPERSEDED);
	is_i64(region_create(&third, &f.spec, why, sizeof(why)), 0, "third");
	ok(!shm_exists(first_name), "the first one is gone");
	ok(shm_exists(second.path), "the second one is kept");
	region_unmap(&second);
	region_unmap(&f.r);
	f.r = third;
	fixture_close(&f);
}

struct other {
	struct fixture *f;
	_Atomic uint32_t made;
	_Atomic int32_t rc;
	char path[128];
};

/* Another supervisor, which stays until it is killed. */
static int
other_main(void *arg)
{
	struct other *o = arg;
	struct region r;
	char text[256];

	o->rc = region_create(&r, &o->f->spec, text, sizeof(text));
	memcpy(o->path, r.path, sizeof(o->path));
	atomic_store(&o->made, 1);
	while (pause() == -1)
		;
	return 0;
}

static int
owner(const struct fixture *f)
{
	int dir = open(f->dir, O_RDONLY | O_DIRECTORY), pid;

	pid = region_link_owner(dir);
	close(dir);
	return pid;
}

static void
foreign(void)
{
	struct other *o = shared_zeros(sizeof(*o));
	char path[128], first[128], link[128];
	struct fixture f;
	struct region t;
	pid_t pid;

	fixture_dir(&f);
	o->f = &f;
	path_of(&f, "region", path);
	pid = child_start(other_main, o);
	ok(wait_until(atomic_load(&o->made), TAP_WAIT_MS) && o->rc == 0,
	    "another node runs in this run_dir");
	is_i64(owner(&f), pid, "its pid is found");
	is_i64(region_create(&f.r, &f.spec, why, sizeof(why)), -EBUSY,
	    "a second one is refused");
	ok(strstr(why, "live node") != NULL, "%s", why);

	is_i64(region_attach(&t, path, why, sizeof(why)), 0, "attach to it");
	ok(region_alive(&t), "alive");
	kill(pid, SIGKILL);
	ok(wait_until(!region_alive(&t), TAP_WAIT_MS), "a zombie is not alive");
	child_end(pid);
	ok(!region_alive(&t), "nor is who is gone");
	is_u64(t.head->state, REGION_LIVE, "though the state still says live");
	is_i64(owner(&f), 0, "nobody owns it now");
	region_unmap(&t);

	strcpy(first, o->path);
	is_i64(region_create(&f.r, &f.spec, why, sizeof(why)), 0,
	    "a stale region is replaced");
	ok(shm_exists(first), "and kept as the one before");

	/* region.prev of a live foreign node is not ours to remove. */
	path_of(&f, "region.prev", link);
	o->made = 0;
	unlink(path);
	pid = child_start(other_main, o);
	wait_until(atomic_load(&o->made), TAP_WAIT_MS);
	unlink(link);
	ok(rename(path, link) == 0, "region.prev leads to a live node's");
	region_unlink(&f.r);
	ok(!shm_exists(f.r.path), "unlinked by hand");
	region_unmap(&f.r);
	region_create(&f.r, &f.spec, why, sizeof(why));
	region_end(&f.r, REGION_ENDED);
	region_unmap(&f.r);
	region_create(&f.r, &f.spec, why, sizeof(why));
	ok(shm_exists(o->path), "it is left alone");
	kill(pid, SIGKILL);
	child_end(pid);
	shm_unlink(o->path);
	shm_unlink(first);
	fixture_close(&f);
	munmap(o, sizeof(*o));
}

/* Pid reuse and reboots: the same pid is not the same process. */
static void
impostor(void)
{
	struct fixture f;

	fixture_open(&f);
	ok(region_alive(&f.r), "alive");
	f.r.head->supervisor_start--;
	ok(!region_alive(&f.r), "same pid, other start time: dead");
	f.r.head->supervisor_start++;
	f.r.head->system_boot_id[3] ^= 1;
	ok(!region_alive(&f.r), "other boot of the system: dead");
	f.r.head->system_boot_id[3] ^= 1;
	f.r.head->supervisor_pid = 0;
	f.r.head->supervisor_start = 0;
	ok(!region_alive(&f.r), "no pid at all: dead");
	ok(process_start(getpid()) != 0, "this process has a start time");
	is_u64(process_start(-1), 0, "no process -1");
	fixture_close(&f);
}

/* What lies about in region.prev and is none of ours stays. */
static void
prev_is_foreign(void)
{
	char file[] = "/tmp/nodelife-shm-file.XXXXXX", other[64];
	const char *const targets[] = { file, other,
		"/dev/shm/nodelife.x/../../tmp/y", "/dev/shm/nodelife." };
	char path[128], prev[128];
	struct region next;
	struct fixture f;
	size_t i;

	close(mkstemp(file));
	snprintf(other, sizeof(other), "/dev/shm/unrelated.%d", getpid());
	close(open(other, O_CREAT | O_WRONLY, 0600));
	for (i = 0; i < NITEMS(targets); i++) {
		fixture_open(&f);
		path_of(&f, "region", path);
		path_of(&f, "region.prev", prev);
		if (symlink(targets[i], prev) != 0)
			abort();
		region_end(&f.r, REGION_ENDED);
		if (region_create(&next, &f.spec, why, sizeof(why)) != 0)
			ok(false, "%s: %s", targets[i], why);
		region_unmap(&f.r);
		f.r = next;
		fixture_close(&f);
	}
	ok(unlink(file) == 0, "a file that is no region");
	ok(unlink(other) == 0, "another program's memory");
}

/* One link's target in place of the region's; then a new region. */
static void
replaced_by(struct fixture *f, const char *target, const char *what)
{
	char path[128], prev[128];
	struct region next;

	path_of(f, "region", path);
	path_of(f, "region.prev", prev);
	unlink(path);
	unlink(prev);
	if (symlink(target, path) != 0)
		abort();
	is_i64(owner(f), 0, what);
	is_i64(region_orphan(f->dir), 0, "nor is it anybody's orphan");
	region_trim_dead(f->dir);
	is_i64(region_create(&next, &f->spec, why, sizeof(why)), 0,
	    "and holds no start up");
	region_end(&next, REGION_ENDED);
	region_unlink(&next);
	region_unmap(&next);
}

/*
 * What the workers' user may put in a region's place: a pipe, which an open
 * would wait for; a region that is cut, which a map would die of; others'.
 */
static void
hostile_links(void)
{
	char name[64], cut[160], prev[128];
	struct fixture f, g;

	alarm(150);
	fixture_open(&f);
	snprintf(name, sizeof(name), "/dev/shm/nodelife.pipe.%d", getpid());
	if (mkfifo(name, 0600) != 0)
		abort();
	replaced_by(&f, name, "a pipe is no live region");
	ok(unlink(name) == 0, "and stays");
	snprintf(cut, sizeof(cut), "/dev/shm%s", f.r.path);
	f.r.head->state = REGION_LIVE;
	f.r.head->supervisor_pid = 1;
	if (truncate(cut, 8192) != 0)
		abort();
	replaced_by(&f, cut, "nor is one that is cut");
	region_unmap(&f.r);
	unlink(cut);
	path_of(&f, "region", cut);
	unlink(cut);
	path_of(&f, "region.prev", prev);
	unlink(prev);

	/* Another node's black box, by a link of the user's. */
	fixture_open(&g);
	region_end(&g.r, REGION_ENDED);
	snprintf(cut, sizeof(cut), "/dev/shm%s", g.r.path);
	if (symlink(cut, prev) != 0 ||
	    (geteuid() == 0 && lchown(prev, 65534, 65534) != 0))
		abort();
	region_trim_dead(f.dir);
	region_create(&f.r, &f.spec, why, sizeof(why));
	region_end(&f.r, REGION_ENDED);
	region_unmap(&f.r);
	region_create(&f.r, &f.spec, why, sizeof(why));
	ok(geteuid() != 0 || shm_exists(g.r.path),
	    "others' dead regions are not removed for them");
	fixture_close(&f);
	fixture_close(&g);
}

/* What a black box keeps: all that tools read, so that no look needs memory. */
static void
trimmed(void)
{
	struct fixture f;
	struct stat st;

	fixture_open(&f);
	atomic_store(&f.r.table->count, 7);
	region_end(&f.r, REGION_ENDED);
	region_trim(&f.r);
	ok(fstat(f.r.fd, &st) == 0 && st.st_blocks < 4 * 1024 * 1024 / 512,
	    "a trimmed region keeps %lld KiB", (long long)st.st_blocks / 2);
	is_i64(lseek(f.r.fd, (off_t)f.r.section[SECT_TABLE].off, SEEK_DATA),
	    (int64_t)f.r.section[SECT_TABLE].off, "the table's head is there");
	is_u64(atomic_load(&f.r.table->count), 7, "as it was");
	fixture_close(&f);
}

/* Between two regions: what wal said is handed on, who has it mapped sees it.
 */
static int
private_child(void *arg)
{
	struct region *r = arg;

	trouble_begin_text(r, TROUBLE_BOOT_WAITS, "of a child");
	return 0;
}

static void private(void)
{
	struct region own;
	struct fixture f;

	fixture_open(&f);
	atomic_store(&f.r.control->wal_failed_log, 5);
	atomic_store(&f.r.control->wal_failed, 7);
	region_end(&f.r, REGION_ENDED);
	region_unmap(&f.r);
	is_i64(region_create_private(&own, &f.spec), 0, "a private one");
	is_u64(atomic_load(&own.control->wal_failed), 7,
	    "knows what wal said in the one before");
	is_i64(child_end(child_start(private_child, &own)), 0, "a child");
	ok(trouble_stands(&own, TROUBLE_BOOT_WAITS), "shares it");
	f.spec.before = &own;
	is_i64(region_create(&f.r, &f.spec, why, sizeof(why)), 0, "the next");
	is_u64(atomic_load(&f.r.control->wal_failed), 7, "knows it, too");
	is_u64(
	    atomic_load(&f.r.control->wal_failed_log), 5, "and of which log");
	region_end(&own, REGION_SUPERSEDED);
	region_trim(&own);
	region_unmap(&own);
	fixture_close(&f);
}

int
main(void)
{
	created();
	private();
	trimmed();
	rings();
	refusals();
	bad_specs();
	bad_shm();
	superseded();
	foreign();
	impostor();
	prev_is_foreign();
	hostile_links();
	return tap_done();
}
