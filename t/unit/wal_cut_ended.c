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

/* A call of the copy fails: nothing is cut, and it can be tried again. */
static void
test_calls(void)
{
	unsigned wrong = 0, left = 0, copies;
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
		if (faccessat(h.data_dir, "salvage/cut.tmp", F_OK, 0) == 0)
			left++;
		if (cut(keep) != RET_OK || appended() != keep ||
		    saved(keep + 1, end, &copies) != end - keep)
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

int
main(int argc, char **argv)
{
	cut_rig_open(argc, argv);
	test_refused();
	big = true;
	test_calls();
	return tap_done();
}
