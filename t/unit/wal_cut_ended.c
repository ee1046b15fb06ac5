/*
 * Cuts of the log that do not come to pass: refused, or ended by a call that
 * fails, by another epoch, by a stop. Nothing is changed then, nor left.
 */
#include "t/lib/cut_rig.h"

static void
test_refused(void)
{
	uint64_t end;

	h_new(&h, "/dev/shm");
	is_i64(boot(), 0, "boots");
	log_make(50, 100, false);
	end = appended();
	is_u64(end, COMMITTED + 50, "50 records are not committed");
	is_u64(h_committed(&h), COMMITTED, "100 are");
	ask(COMMITTED + 10, h.view.epoch - 1);
	unsigned status = 0;
	(void)wait_until(answered(&status), H_WAIT_MS);
	is_u64(status, RET_CUT_EPOCH, "refused: of an epoch that is over");
	is_u64(cut(COMMITTED - 1), RET_CUT_COMMITTED, "refused: committed");
	is_u64(cut(end + 1), RET_CUT_BEYOND, "refused: there is no such one");
	position_set(&h.region.pos->applied, COMMITTED + 20);
	is_u64(cut(COMMITTED + 19), RET_CUT_APPLIED, "refused: applied");
	position_set(&h.region.pos->applied, COMMITTED);
	is_u64(cut(end), RET_OK, "behind the end there is nothing to cut");
	h_role(&h, ROLE_MASTER);
	is_u64(cut(COMMITTED), RET_CUT_MASTER, "refused: master");
	is_u64(appended(), end, "nothing was cut");
	is_u64(files(), 1, "no segment was begun");
	ok(faccessat(h.data_dir, "salvage", F_OK, 0) != 0, "nothing saved");
	ok(h_stop(&h), "ends in order");
	h_free(&h);
}

/* How many things of that name, or the beginning of it, are in salvage/. */
static unsigned
copies(const char *name)
{
	int at = openat(h.data_dir, "salvage", O_RDONLY | O_DIRECTORY);
	struct dirent *de;
	unsigned n = 0;
	DIR *d;

	if (at < 0)
		return 0;
	d = fdopendir(at);
	while ((de = readdir(d)) != NULL)
		n += strncmp(de->d_name, name, strlen(name)) == 0;
	closedir(d);
	return n;
}

/* A call of the copy fails: nothing is cut, and it can be tried again. */
static void
test_calls(void)
{
	unsigned wrong = 0, left = 0, found;
	uint64_t keep, end;
	int n;

	for (n = 1; n < 60 && wrong == 0; n++) {
		end = begin(&keep);
		plan_set(WAL_OP_CUT, n, false, -EIO);
		if (cut(keep) == RET_OK) {
			h_kill(&h);
			h_free(&h);
			break;
		}
		plan_set(-1, 0, false, 0);
		if (appended() != end || pos(&h.region.pos->durable) != end ||
		    atomic_load(&h.region.walbuf.h->cuts) != 0)
			wrong++;
		/* Nor does a part of a copy take space that others need. */
		left += copies("cut");
		if (cut(keep) != RET_OK || appended() != keep ||
		    saved(keep + 1, end, &found) != end - keep)
			wrong++;
		if (wrong != 0)
			diag("call %d", n);
		h_kill(&h);
		h_free(&h);
	}
	plan_set(-1, 0, false, 0);
	is_u64(wrong, 0, "a call that fails cuts nothing, and once more does");
	is_u64(left, 0, "and leaves no part of a copy");
	ok(n > 5 && n < 60, "each of %d calls", n - 1);
}

static bool
begun(void)
{
	return word_epoch(pos(&h.region.pos->term_start)) == h.view.epoch;
}

/* So full that not even a term fits in any more. */
static void
fill_own_room(void)
{
	uint64_t term = 2;

	do {
		h_role(&h, ROLE_REPLICA);
		lead(term++, false);
	} while (wait_until(begun(), 200));
}

/*
 * What goes is saved, and before the segment behind it can begin there is
 * another epoch; so again and again. A copy of what is in the log is of no use.
 */
static void
test_epochs(void)
{
	static uint8_t p[4000];
	unsigned status = 0, i;
	uint64_t end;

	h_new(&h, "/dev/shm");
	is_i64(boot(), 0, "boots");
	log_make(1, 100, false);
	/* The store needs what is committed, and the rest fills the buffer. */
	position_set(&h.region.pos->applied, COMMITTED - 1);
	lead(1, false);
	while (wait_until(h_push(&h, REC_OP, 0, p, sizeof(p)), 50))
		h_ring(&h);
	ok(wait_until(atomic_load(&h.region.slots->row[SLOT_WAL].busy_with) ==
			      BUSY_BUFFER &&
			  pos(&h.region.pos->durable) == appended(),
	       H_WAIT_MS),
	    "the buffer is full");
	fill_own_room();
	end = appended();
	h_role(&h, ROLE_REPLICA);
	for (i = 0; i < 3; i++) {
		ask(COMMITTED, h.view.epoch);
		ok(wait_until(copies("cut.0") != 0, H_WAIT_MS), "saved");
		h_role(&h, ROLE_REPLICA);
		(void)wait_until(answered(&status), H_WAIT_MS);
		is_u64(status, RET_CUT_EPOCH, "another epoch ends it");
		is_u64(copies("cut"), 0, "no copy is left");
	}
	ok(appended() == end && files() == 1, "nothing is cut");
	position_set(&h.region.pos->applied, COMMITTED);
	is_u64(cut(COMMITTED), RET_OK, "then it is");
	is_u64(copies("cut"), 1, "and saved, once");
	h_kill(&h);
	h_free(&h);
}

/* A stop meets a cut that has just begun: a last head tells what is durable. */
static void
test_stop(void)
{
	struct segment_batch seen = { 0 };
	uint32_t segment;

	h_new(&h, "/dev/shm");
	is_i64(boot(), 0, "boots");
	log_make(50, 100, false);
	segment = newest().number;
	kill(h.pid, SIGSTOP);
	ask(COMMITTED + 10, h.view.epoch);
	seq_shutdown(h.region.seq, SHUTDOWN_CLOSED);
	h_ring(&h);
	kill(h.pid, SIGCONT);
	ok(wait_until(h_ended(&h), H_WAIT_MS), "it ends");
	is_u64(appended(), COMMITTED + 50, "nothing is cut");
	is_i64(segment_file_look(h.wal_dir, segment, true, &seen), 0, "heads");
	is_u64(seen.durable, COMMITTED + 50, "the last tells of all");
	is_u64(copies("cut"), 0, "nothing is saved");
	h_kill(&h);
	h_free(&h);
}

int
main(int argc, char **argv)
{
	cut_rig_open(argc, argv);
	test_refused();
	test_epochs();
	test_stop();
	big = true;
	test_calls();
	return tap_done();
}
