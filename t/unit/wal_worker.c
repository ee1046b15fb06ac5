/*
 * The wal worker whole: boots on an empty directory, gives out VLSNs in
 * order, commits, boots again and has everything; refuses what it must; ends
 * by the shutdown bus. Both write paths.
 */
#include "t/lib/wal_harness.h"

static uint64_t
counter_of(const struct harness *h, enum counter which)
{
	return counter_sum(h->region.counters, which);
}

static void
test_life(enum conf_wal_io io, const char *what)
{
	uint64_t number = 1, last = 0;
	struct harness h;

	diag("%s", what);
	h_new(&h, "/tmp");
	h.conf.wal.io = io;
	is_i64(h_boot(&h), 0, "an empty directory boots");
	is_u64(position_get(&h.region.pos->durable), 0, "nothing is there");
	is_u64(position_get(&h.region.pos->first), 1, "the first is to come");
	uint8_t x = 0;
	h_push(&h, REC_OP, 0, &x, 1);
	h_ring(&h);
	ok(wait_until(h_answered(&h), H_WAIT_MS), "no master: answered");
	is_u64(h.refused[RET_READONLY], 1, "with READONLY");
	h_elect(&h, 1);
	ok(wait_until(h_committed(&h) == 1, H_WAIT_MS), "a term's record");
	is_u64(position_get(&h.region.pos->term_start),
	    epoch_word(h.view.epoch, 1), "is told of");
	ok(h_write(&h, 1, 100, &number), "one write");
	is_u64(h.acked_vlsn, 2, "gets VLSN 2");
	is_u64(h.acked_term, 1, "of the first mastership");
	ok(h_write(&h, 5000, 100, &number), "5,000 small ones");
	is_u64(h.acked_vlsn, 5002, "in order");
	ok(counter_of(&h, C_WAL_FLUSHES) > 0 &&
		counter_of(&h, C_WAL_RECORDS) == 5002,
	    "counted");
	ok(h_write(&h, 50, REQ_PART_MAX, &number), "50 of 128 KiB");
	ok(counter_of(&h, C_WAL_SEGMENTS) > 1, "go over a segment's end");
	ok(h_write(&h, 100, 3000, &number), "100 of 3,000");
	ok(hist_of(h.region.hists, SLOT_WAL, H_FLUSH)->count > 0 &&
		hist_of(h.region.hists, SLOT_WAL, H_FLUSH_RECORDS)->count > 0 &&
		hist_of(h.region.hists, SLOT_WAL, H_COMMIT)->count > 0,
	    "histograms move");
	last = h.acked_vlsn;
	ok(h_stop(&h), "ends in order");
	is_u64(h_read_back(&h, NULL), number - 1, "all is in the files");
	is_i64(h_boot(&h), 0, "boots again");
	is_u64(position_get(&h.region.pos->durable), last, "all is there");
	is_u64(h_committed(&h), last, "and known to be committed");
	is_u64(counter_of(&h, C_WAL_TORN), 0, "nothing was torn");
	is_u64(counter_of(&h, C_WAL_REPLAYED), last, "all was scanned");
	h_elect(&h, 2);
	ok(h_write(&h, 10, 100, &number), "ten more");
	is_u64(h.acked_term, 2, "of the second");
	h_kill(&h);
	is_i64(h_boot(&h), 0, "boots after kill -9");
	is_u64(position_get(&h.region.pos->durable), last + 11, "all there");
	ok(h_stop(&h), "ends in order");
	is_u64(h_read_back(&h, NULL), number - 1, "all in the files");
	h_free(&h);
}

int
main(int argc, char **argv)
{
	setproctitle_init(argc, argv, environ);
	test_life(CONF_WAL_IO_AUTO, "direct I/O");
	test_life(CONF_WAL_IO_BUFFERED, "through the page cache");
	return tap_done();
}
