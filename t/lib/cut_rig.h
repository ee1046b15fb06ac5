/*
 * A log of which what comes behind COMMITTED is not committed, group as the
 * test plays it asking for cuts, and what is looked at then.
 */
#ifndef T_LIB_CUT_RIG_H
#define T_LIB_CUT_RIG_H

#include "shm/log/index_file.h"
#include "shm/log/terms.h"
#include "t/lib/wal_harness.h"

/* The record that stays as the newest one, and how many were committed. */
#define COMMITTED 100

static struct harness h;
static struct bytering group_request, group_ret;
static uint32_t group_seq;
static uint64_t number; /* of the next record's payload */
static bool big; /* the buffer */

/* Of each record that there was: its CRC, for the copy in salvage/. */
static uint32_t crc_of[20000];

/* Shared with the worker: which step of a cut ends it, or fails. */
static struct plan {
	_Atomic int op, countdown, kill, res, fired;
} * plan;

static int
hook(enum wal_op op, int res)
{
	if ((int)op != atomic_load(&plan->op) ||
	    atomic_fetch_sub(&plan->countdown, 1) != 1)
		return res;
	atomic_store(&plan->fired, 1);
	if (atomic_load(&plan->kill))
		raise(SIGKILL);
	return op == WAL_OP_CUT_STAGE ? res : atomic_load(&plan->res);
}

__attribute__((unused)) static void
plan_set(int op, int countdown, bool kill, int res)
{
	atomic_store(&plan->fired, 0);
	atomic_store(&plan->countdown, countdown);
	atomic_store(&plan->kill, kill);
	atomic_store(&plan->res, res);
	atomic_store(&plan->op, op);
}

__attribute__((unused)) static void
group_open(void)
{
	region_ring(&h.region, CLIENT_GROUP, RING_REQUEST, &group_request);
	region_ring(&h.region, CLIENT_GROUP, RING_RETURN, &group_ret);
}

__attribute__((unused)) static int
boot(void)
{
	int rc;

	/* What is not committed stays in it. */
	if (big)
		h.conf.wal.buffer_size = 16 << 20;
	rc = h_boot(&h);
	group_open();
	return rc;
}

__attribute__((unused)) static void
ask(uint64_t vlsn, uint16_t epoch)
{
	struct cut_req cut = { .vlsn = vlsn, .epoch = epoch };
	struct wal_req req = { .len = sizeof(req) + sizeof(cut),
		.seq = ++group_seq,
		.incarnation = 1,
		.type = REQ_CUT };
	uint8_t *at = bytering_reserve(&group_request, req.len);

	if (at == NULL)
		abort();
	memcpy(at, &req, sizeof(req));
	memcpy(at + sizeof(req), &cut, sizeof(cut));
	bytering_publish(&group_request);
	h_ring(&h);
}

__attribute__((unused)) static bool
answered(unsigned *status)
{
	const struct wal_ret *ret;
	uint32_t len;

	ret = bytering_peek(&group_ret, &len);
	if (ret == NULL)
		return false;
	*status = ret->seq == group_seq ? ret->status : 1000;
	bytering_advance(&group_ret, len);
	bytering_consume(&group_ret);
	return true;
}

/* Ask for a cut, and what is answered; 999: the worker has ended. */
__attribute__((unused)) static unsigned
cut(uint64_t vlsn)
{
	unsigned status = 998;

	ask(vlsn, h.view.epoch);
	(void)wait_until(answered(&status) || h_ended(&h), H_WAIT_MS);
	return h_ended(&h) ? 999 : status;
}

__attribute__((unused)) static uint64_t
pos(const struct position *p)
{
	return position_get(p);
}

__attribute__((unused)) static uint64_t
appended(void)
{
	return pos(&h.region.pos->appended);
}

/* Master of a term; alone, or with another voter, who is away. */
__attribute__((unused)) static void
lead(uint64_t term, bool alone)
{
	h.view.voters = alone ? 1 : 3;
	h.view.member_count = alone ? 1 : 2;
	h.view.quorum = alone ? quorum_count(1, 1) : quorum_count(2, 2);
	h_elect(&h, term);
}

/* Records that nobody commits, each appended and on disk. */
__attribute__((unused)) static bool
write_uncommitted(uint32_t count, uint32_t n)
{
	uint8_t *p = malloc(n + 8);
	bool good = true;

	for (; good && count > 0; count--) {
		h_fill(p, n, number);
		good = wait_until(
		    (h_ring(&h), h_push(&h, REC_OP, 0, p, n)), H_WAIT_MS);
		number++;
	}
	h_ring(&h);
	free(p);
	return good && wait_until(h_answered(&h), H_WAIT_MS) &&
	       wait_until(pos(&h.region.pos->durable) == appended(), H_WAIT_MS);
}

/* Are the files that a cut superseded gone? They go one by one. */
__attribute__((unused)) static bool
settled(void)
{
	struct segment_list l;
	bool good = true;
	uint32_t i;

	if (segment_list_load(&l, h.wal_dir, true) != 0)
		return false;
	for (i = 0; i < l.count; i++)
		good = good && (l.entry[i].state == SEGMENT_UNBEGUN ||
				   l.entry[i].in_chain);
	segment_list_free(&l);
	return good;
}

/* The payload that comes next, by what the files hold. */
__attribute__((unused)) static void
number_take(void)
{
	(void)wait_until(settled(), H_WAIT_MS);
	number = h_read_back(&h, NULL) + 1;
}

/*
 * A log of COMMITTED records, and `more` behind them, not committed.
 */
__attribute__((unused)) static void
log_make(uint32_t more, uint32_t size, bool term_too)
{
	bool good = true;

	number = 1;
	lead(1, true);
	good = h_write(&h, COMMITTED - 1, 200, &number) && good;
	lead(term_too ? 2 : 1, false);
	good = write_uncommitted(more, size) && good;
	if (!good)
		diag("the log could not be made");
	h_role(&h, ROLE_REPLICA);
}

/* Remember the CRCs of all that is in the files. */
__attribute__((unused)) static void
crcs_take(void)
{
	struct segment_list l;
	struct segment_reader r;
	struct record rec;
	uint32_t i;

	if (segment_list_load(&l, h.wal_dir, true) != 0)
		abort();
	for (i = l.oldest; i != UINT32_MAX; i = segment_list_next(&l, i)) {
		if (segment_reader_open(
			&r, h.wal_dir, l.entry[i].number, 1 << 20, true) != 0)
			abort();
		r.limit = l.entry[i].end;
		while (segment_reader_next(&r, &rec, NULL) == 0)
			if (rec.vlsn != 0 && rec.vlsn < NITEMS(crc_of))
				crc_of[rec.vlsn] = rec.crc;
		segment_reader_close(&r);
	}
	segment_list_free(&l);
}

/* How many records of from..to the copies in salvage/ hold, as they were. */
__attribute__((unused)) static uint64_t
saved(uint64_t from, uint64_t to, unsigned *copies)
{
	int at = openat(h.data_dir, "salvage", O_RDONLY | O_DIRECTORY), fd;
	struct segment_list l;
	struct segment_reader r;
	struct record rec;
	struct dirent *de;
	uint64_t good = 0;
	DIR *d;

	*copies = 0;
	if (at < 0)
		return 0;
	d = fdopendir(at);
	while ((de = readdir(d)) != NULL) {
		if (strncmp(de->d_name, "cut.0", 5) != 0)
			continue;
		++*copies;
		good = 0;
		fd = openat(at, de->d_name, O_RDONLY | O_DIRECTORY);
		if (segment_list_load(&l, fd, true) != 0 || l.count != 1 ||
		    segment_reader_open(
			&r, fd, l.entry[0].number, 1 << 20, true) != 0)
			abort();
		while (segment_reader_next(&r, &rec, NULL) == 0)
			if (rec.vlsn >= from && rec.vlsn <= to &&
			    crc_of[rec.vlsn] == rec.crc)
				good++;
		segment_reader_close(&r);
		segment_list_free(&l);
		close(fd);
	}
	closedir(d);
	return good;
}

/* What the newest header says. */
__attribute__((unused)) static struct segment_info
newest(void)
{
	struct segment_info info = { 0 };
	struct segment_list l;

	(void)wait_until(settled(), H_WAIT_MS);
	if (segment_list_load(&l, h.wal_dir, true) != 0)
		abort();
	if (l.newest != UINT32_MAX)
		info = l.entry[l.newest].info;
	segment_list_free(&l);
	return info;
}

__attribute__((unused)) static unsigned
files(void)
{
	struct segment_list l;
	unsigned n = 0;
	uint32_t i;

	if (segment_list_load(&l, h.wal_dir, true) != 0)
		return 999;
	for (i = 0; i < l.count; i++)
		n += l.entry[i].state != SEGMENT_UNBEGUN;
	segment_list_free(&l);
	return n;
}

/* An index file as vlsn writes it: all samples, and up to where is durable. */
__attribute__((unused)) static void
index_write(void)
{
	struct index_head head = { .id.generation = 1, .life = 5 };
	struct vmap_pair pair[INDEX_PAGE_SAMPLES];
	uint8_t page[2][INDEX_PAGE];
	struct vmap_range range;
	unsigned n = 0;
	uint64_t i;
	int fd;

	memcpy(head.id.group_uuid, "0123456789abcdef", 16);
	head.stride = VMAP_STRIDE_BYTES;
	vmap_range(h.region.vmap, &range);
	for (i = range.lo; i < range.count && n < INDEX_PAGE_SAMPLES; i++)
		n += vmap_get(h.region.vmap, i, &pair[n]) == 0;
	index_head_encode(page[0], &head);
	index_page_encode(page[1], 5, 1, pos(&h.region.pos->durable), pair, n);
	mkdirat(h.data_dir, INDEX_DIR, 0700);
	fd = openat(h.data_dir, INDEX_DIR "/" INDEX_NAME,
	    O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || write(fd, page, sizeof(page)) != sizeof(page))
		abort();
	close(fd);
}

/* What a boot and nodelifewal would say of the log. */
__attribute__((unused)) static enum log_verdict
verdict(void)
{
	static const struct logcheck_ops ops = { 0 };
	struct logcheck c = { .ops = &ops };
	enum log_verdict v = LOG_DAMAGED;

	c.wal_dir = h.wal_dir;
	if (segment_list_load(&c.list, h.wal_dir, true) != 0)
		return v;
	log_known_read(&c.known, h.dir, h.data_dir, h.wal_dir,
	    (const uint8_t *)"0123456789abcdef", 1, NULL, NULL);
	if (logcheck_run(&c) == 0)
		v = logcheck_verdict(&c);
	if (v != LOG_GOOD)
		diag("wal/%08x.seg offset %u: %s", logcheck_first(&c)->segment,
		    logcheck_first(&c)->offset, logcheck_first(&c)->what);
	segment_list_free(&c.list);
	return v;
}

/* A log of several segments, to be cut at `keep`; the hook's plan follows. */
__attribute__((unused)) static uint64_t
begin(uint64_t *keep)
{
	h_new(&h, "/dev/shm");
	if (boot() != 0)
		abort();
	log_make(300, 20000, true);
	*keep = COMMITTED + 30;
	crcs_take();
	index_write();
	return appended();
}

/* As the first thing of a test. */
static void
cut_rig_open(int argc, char **argv)
{
	setproctitle_init(argc, argv, environ);
	plan = mmap(NULL, sizeof(*plan), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (plan == MAP_FAILED)
		skip_all("no shared memory");
	say_open("/dev/null");
	wal_fault_hook = hook;
	plan_set(-1, 0, false, 0);
}

#endif
