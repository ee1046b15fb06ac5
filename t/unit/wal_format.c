/*
 * A log of format 1 that this wal continues: where the formats meet, what is
 * true of the chain there and behind it, whoever is killed when; and what an
 * older release is told.
 */
#include <sys/syscall.h>

#include "shm/crc32c.h"
#include "t/lib/segment_build.h"
#include "t/lib/wal_harness.h"

#define OLD_RECORDS 40 /* of two segments of format 1 */

static struct node_file node;

/* What the processes of this test flush. */
static struct {
	struct stat dir; /* data_dir; zero: nobody looks */
	_Atomic bool kill; /* who flushes it next is killed before */
	_Atomic unsigned early; /* flushes of it before there was a header of
				   format 2 and the node's generation */
} * flushes;

static void
node_format(struct harness *h, uint32_t format)
{
	char why[128];

	if (node_file_read(h->data_dir, &node, why, sizeof(why)) != 0)
		abort();
	node.format = format;
	if (node_file_write(h->data_dir, &node) != 0)
		abort();
}

static uint32_t
node_format_now(struct harness *h)
{
	char why[128];

	return node_file_read(h->data_dir, &node, why, sizeof(why)) == 0
		   ? node.format
		   : 0;
}

static bool
header_is_there(int data_dir)
{
	int dir = openat(data_dir, "wal", O_RDONLY | O_DIRECTORY);
	struct segment_list l;
	bool there = false;
	uint32_t i;

	if (segment_list_load(&l, dir, false) != 0)
		abort();
	for (i = 0; i < l.count; i++)
		there =
		    there || (l.entry[i].state == SEGMENT_VALID &&
				 l.entry[i].info.format == SEGMENT_FORMAT &&
				 l.entry[i].info.generation == node.generation);
	segment_list_free(&l);
	close(dir);
	return there;
}

/* In the place of libc's; a worker has other descriptors than its parent. */
int
fsync(int fd)
{
	struct stat st;

	if (flushes != NULL && fstat(fd, &st) == 0 &&
	    st.st_ino == flushes->dir.st_ino &&
	    st.st_dev == flushes->dir.st_dev) {
		if (atomic_exchange(&flushes->kill, false))
			raise(SIGKILL);
		if (!header_is_there(fd))
			atomic_fetch_add(&flushes->early, 1);
	}
	return (int)syscall(SYS_fsync, fd);
}

/* The numbered records of the harness, as a format-1 release left them. */
static void
old_log(struct harness *h, struct segment_build b[2], uint64_t *number)
{
	uint8_t payload[300];
	unsigned i, k;

	build_format = SEGMENT_FORMAT_1;
	for (i = 0; i < 2; i++) {
		build_begin(&b[i], i + 1, 4 << 20, i > 0 ? &b[0] : NULL);
		for (k = 0; k < OLD_RECORDS / 2; k++) {
			if (k % 3 == 0) {
				b[i].durable = b[i].committed = b[i].vlsn;
				build_head(&b[i]);
			}
			h_fill(payload, 100 + k, (*number)++);
			build_payload(&b[i], REC_OP, 0, 0, payload, 100 + k);
			if (k % 3 == 2)
				build_pad(&b[i]);
		}
		build_close(&b[i]);
		build_write(&b[i], h->wal_dir);
	}
	build_format = SEGMENT_FORMAT;
	node_format(h, NODE_FILE_FORMAT_1);
}

/*
 * All segments, with their formats rising; behind the switch the CRC of each
 * replicated record is that of the record before it and its bytes, whatever
 * lies between. Returns how many records are in format 2; *chain: the end.
 */
static uint64_t
chain_check(struct harness *h, uint32_t *chain, unsigned *olds, bool *good)
{
	struct segment_list l;
	struct segment_reader r;
	struct record rec;
	uint64_t n = 0;
	uint32_t i;

	*olds = 0;
	*good = segment_list_load(&l, h->wal_dir, true) == 0 &&
		l.newest != UINT32_MAX && l.missing == 0;
	*chain = 0;
	for (i = l.oldest; *good && i != UINT32_MAX;
	     i = segment_list_next(&l, i)) {
		const struct segment_info *info = &l.entry[i].info;

		*olds += info->format == SEGMENT_FORMAT_1;
		*good = segment_reader_open(
			    &r, h->wal_dir, info->number, 1 << 20, true) == 0;
		if (!*good)
			break;
		r.limit = l.entry[i].end;
		if (info->format == SEGMENT_FORMAT)
			*good = info->prev_crc == *chain;
		while (*good && segment_reader_next(&r, &rec, NULL) == 0) {
			if (info->format == SEGMENT_FORMAT_1) {
				*chain = rec.crc;
				continue;
			}
			if (rec.vlsn == 0)
				continue;
			n++;
			*good = rec.crc ==
				crc32c(*chain,
				    rec.payload - REC_HEADER_SIZE + REC_LEN_OFF,
				    rec.len - REC_LEN_OFF);
			*chain = rec.crc;
		}
		segment_reader_close(&r);
	}
	segment_list_free(&l);
	return n;
}

static void
test_continued(void)
{
	struct segment_build b[2];
	uint64_t number = 1, last, n;
	struct harness h;
	unsigned olds;
	uint32_t chain;
	bool good;

	h_new(&h, "/dev/shm");
	old_log(&h, b, &number);
	is_i64(h_boot(&h), 0, "a log of format 1 boots");
	is_u64(position_get(&h.region.pos->durable), OLD_RECORDS,
	    "all of it is there");
	is_u64(node_format_now(&h), NODE_FILE_FORMAT,
	    "the node file tells older releases");
	h_elect(&h, 2);
	ok(h_write(&h, 50, 300, &number), "it goes on");
	h_kill(&h);
	n = chain_check(&h, &chain, &olds, &good);
	ok(good, "the chain goes on over the formats' border");
	is_u64(olds, 2, "two segments are of format 1");
	is_u64(n, 51, "all new records are in format 2");
	is_i64(h_boot(&h), 0, "killed, it boots");
	h_elect(&h, 3);
	ok(h_write(&h, 6000, 1000, &number), "over the end of a segment");
	ok(h_stop(&h), "ends in order");
	is_i64(h_boot(&h), 0, "boots");
	ok(h_stop(&h), "ends again");
	n = chain_check(&h, &chain, &olds, &good);
	ok(good, "one chain, whatever is between the records");
	is_u64(n, 51 + 6001, "with every record");
	is_u64(h_read_back(&h, &last), number - 1, "as they were written");
	is_u64(last, OLD_RECORDS + n, "none is left out");
	build_free(&b[0]);
	build_free(&b[1]);
	h_free(&h);
}

/* A tail that is torn is cut; then the log goes on in format 2. */
static void
test_torn(void)
{
	struct segment_build b[2];
	unsigned olds, wrong = 0, cut;
	uint64_t number, n, last;
	uint32_t chain;
	bool good;

	for (cut = 8; cut < 400; cut += 56) {
		struct harness h;

		number = 1;
		h_new(&h, "/dev/shm");
		old_log(&h, b, &number);
		memset(b[1].bytes + b[1].at - cut, 0, cut);
		build_write(&b[1], h.wal_dir);
		good = h_boot(&h) == 0;
		number = position_get(&h.region.pos->durable) + 1;
		h_elect(&h, 2);
		good = good && h_write(&h, 5, 100, &number);
		h_kill(&h);
		good = good && h_boot(&h) == 0;
		h_kill(&h);
		n = good ? chain_check(&h, &chain, &olds, &good) : 0;
		if (!good || n != 6 || olds != 2 ||
		    h_read_back(&h, &last) != number - 1) {
			diag("cut %u: %ju records", cut, (uintmax_t)n);
			wrong++;
		}
		h_free(&h);
		build_free(&b[0]);
		build_free(&b[1]);
	}
	is_u64(wrong, 0, "a torn tail of format 1 is cut, and gone on from");
}

/* Readonly: nothing is written, and no format changes. */
static void
test_readonly(void)
{
	struct segment_build b[2];
	uint64_t number = 1;
	struct harness h;

	h_new(&h, "/dev/shm");
	old_log(&h, b, &number);
	h.readonly = true;
	is_i64(h_boot(&h), 0, "readonly");
	is_u64(position_get(&h.region.pos->durable), OLD_RECORDS, "it reads");
	is_u64(node_format_now(&h), NODE_FILE_FORMAT_1, "and leaves it so");
	h_kill(&h);
	h.readonly = false;
	/* The node file cannot be written: no segment of format 2 begins. */
	mkdirat(h.data_dir, NODE_FILE_TMP, 0700);
	ok(h_boot(&h) != 0, "a node file that cannot be written ends a boot");
	ok(strstr(h.region.seq->error, "/" NODE_FILE_NAME) != NULL, "%s",
	    h.region.seq->error);
	is_u64(node_format_now(&h), NODE_FILE_FORMAT_1, "and stays");
	{
		unsigned olds;
		uint32_t chain;
		bool good;

		is_u64(chain_check(&h, &chain, &olds, &good), 0,
		    "as does the log");
		ok(good && olds == 2, "of format 1");
	}
	build_free(&b[0]);
	build_free(&b[1]);
	h_region_end(&h);
	h_free(&h);
}

/*
 * What a boot reads in the node file may be in the cache only: who wrote it
 * died before the directory was flushed. So it is flushed before a header goes
 * by it.
 */
static void
test_node_durable(void)
{
	struct segment_build b[2];
	uint64_t number = 1;
	struct harness h;

	h_new(&h, "/dev/shm");
	old_log(&h, b, &number);
	(void)node_format_now(&h);
	if (fstat(h.data_dir, &flushes->dir) != 0)
		abort();
	flushes->kill = true;
	h_fork(&h);
	ok(wait_until(h_ended(&h), H_WAIT_MS) && WIFSIGNALED(h.status),
	    "killed behind the rename of the node file");
	h_region_end(&h);
	is_u64(node_format_now(&h), NODE_FILE_FORMAT, "which tells format 2");
	ok(!header_is_there(h.data_dir), "and no header does yet");
	flushes->early = 0;
	is_i64(h_boot(&h), 0, "the next boot goes on");
	ok(flushes->early > 0, "when it has flushed the directory");
	h_kill(&h);
	flushes->early = 0;
	is_i64(h_boot(&h), 0, "once more");
	is_u64(flushes->early, 0, "then it is known to be durable");
	h_kill(&h);
	node.generation++;
	if (node_file_write(h.data_dir, &node) != 0)
		abort();
	flushes->early = 0;
	is_i64(h_boot(&h), 0, "the node file tells a new generation");
	ok(flushes->early > 0, "it is flushed before a header does");
	h_kill(&h);
	flushes->dir.st_ino = 0;
	build_free(&b[0]);
	build_free(&b[1]);
	h_free(&h);
}

/* No two segments have one life, and their records of their own have theirs. */
static void
test_lives(void)
{
	struct segment_list l;
	struct segment_reader r;
	struct record rec;
	uint64_t number = 1;
	struct harness h;
	bool good = true;
	uint32_t i, k;

	h_new(&h, "/dev/shm");
	h.conf.wal.keep_size = UINT64_C(1) << 40;
	for (i = 0; i < 3; i++) {
		good = h_boot(&h) == 0 && good;
		h_elect(&h, 1 + i);
		good = h_write(&h, 3000, 1000, &number) && good;
		good = h_stop(&h) && good;
	}
	ok(good, "three lives of a node");
	if (segment_list_load(&l, h.wal_dir, true) != 0)
		abort();
	for (i = l.oldest; i != UINT32_MAX; i = segment_list_next(&l, i)) {
		const struct segment_info *info = &l.entry[i].info;

		for (k = 0; k < i; k++)
			good = good && l.entry[k].info.life != info->life;
		if (segment_reader_open(
			&r, h.wal_dir, info->number, 1 << 20, true) != 0)
			abort();
		r.limit = l.entry[i].end;
		while (segment_reader_next(&r, &rec, NULL) == 0)
			good =
			    good && (rec.vlsn != 0 || rec.origin == info->life);
		segment_reader_close(&r);
	}
	ok(good && l.count > 3, "each segment has a life of its own");
	segment_list_free(&l);
	h_free(&h);
}

int
main(int argc, char **argv)
{
	setproctitle_init(argc, argv, environ);
	say_open("/dev/null");
	flushes = mmap(NULL, sizeof(*flushes), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (flushes == MAP_FAILED)
		abort();
	test_continued();
	test_torn();
	test_readonly();
	test_node_durable();
	test_lives();
	return tap_done();
}
