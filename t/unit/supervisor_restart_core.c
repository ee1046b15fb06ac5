/*
 * Restart decisions: every combination of what can have happened gives one
 * action, and the rules between them hold; back-off and window by numbers.
 */
#include "supervisor/restart_core.h"

#include "t/tap.h"

static struct restart_in
usual(void)
{
	return (struct restart_in){ .policy = POLICY_WORKER,
		.kind = EXIT_KILLED,
		.fault = FAULT_PROGRAM,
		.ever_served = true,
		.limit = 3,
		.backoff_min_ms = 100,
		.backoff_max_ms = 5000 };
}

static void
test_backoff(void)
{
	is_u64(restart_backoff_ms(0, 100, 5000), 100, "first pause");
	is_u64(restart_backoff_ms(1, 100, 5000), 200, "doubled");
	is_u64(restart_backoff_ms(5, 100, 5000), 3200, "and so on");
	is_u64(restart_backoff_ms(6, 100, 5000), 5000, "up to the maximum");
	is_u64(restart_backoff_ms(1000, 1, 600000), 600000, "without overflow");
	is_u64(restart_backoff_ms(0, 500, 100), 100, "maximum below minimum");
}

static void
test_window(void)
{
	static struct restart_history h;
	const uint64_t s = 1000000000;

	is_u64(restart_recent(&h, 0, 60 * s), 0, "empty at first");
	for (uint64_t i = 1; i <= 5; i++)
		restart_note(&h, i * 10 * s);
	is_u64(restart_recent(&h, 50 * s, 60 * s), 5, "all in the window");
	is_u64(restart_recent(&h, 70 * s, 60 * s), 5, "its edge counts");
	is_u64(restart_recent(&h, 81 * s, 60 * s), 3, "older ones go");
	is_u64(restart_recent(&h, 1000 * s, 60 * s), 0, "at last all");
	for (uint64_t i = 0; i < RESTART_LIMIT_MAX + 10; i++)
		restart_note(&h, 2000 * s + i);
	is_u64(restart_recent(&h, 2000 * s + 2000, 60 * s), RESTART_LIMIT_MAX,
	    "never more than it can hold");
	is_u64(
	    restart_recent(&h, 2060 * s + 10 + RESTART_LIMIT_MAX / 2, 60 * s),
	    RESTART_LIMIT_MAX / 2, "the oldest made room");
}

static void
test_ladder(void)
{
	struct restart_in in = usual();
	struct restart_out out = restart_decide(&in);

	ok(out.action == RESTART_WORKER && out.delay_ms == 100,
	    "a worker starts again alone");
	in.worker_recent = 2;
	out = restart_decide(&in);
	ok(out.action == RESTART_WORKER && out.delay_ms == 400,
	    "later the more often");
	in.worker_recent = 3;
	out = restart_decide(&in);
	ok(out.action == RESTART_NODE && out.delay_ms == 100,
	    "too often: the node boots again");
	is_str(out.why, "it restarted too often", "and why");
	in.node_recent = 3;
	out = restart_decide(&in);
	ok(out.action == RESTART_GIVE_UP, "that too often: the end");
	in = usual();
	in.policy = POLICY_NODE;
	ok(restart_decide(&in).action == RESTART_NODE,
	    "some take the node with them");
	in.ever_served = false;
	ok(restart_decide(&in).action == RESTART_GIVE_UP,
	    "but not before the node ever served");
	in = usual();
	in.boot_failed = true;
	ok(restart_decide(&in).action == RESTART_NODE,
	    "a failed boot of a node that served is tried again");
	in.limit = 0;
	ok(restart_decide(&in).action == RESTART_GIVE_UP,
	    "unless the limit is 0");
}

/* What must hold whatever else is the case. */
static void
test_all(void)
{
	unsigned cases = 0, wrong = 0;
	struct restart_in in = usual();

	for (unsigned bits = 0; bits < 1u << 15; bits++) {
		struct restart_out out;

		in.policy = bits & 1 ? POLICY_NODE : POLICY_WORKER;
		in.kind = (enum exit_kind)((bits >> 1 & 7) % 7);
		in.boot_failed = bits >> 4 & 1;
		in.ever_served = bits >> 5 & 1;
		in.worker_recent = (bits >> 6 & 3) + 1;
		in.node_recent = (bits >> 8 & 3) + 1;
		in.fault = (enum fault_kind)(bits >> 10 & 3);
		in.spare = bits >> 12 & 1;
		in.give_up_ms = bits >> 13 & 1 ? 1000 : 0;
		in.waited_ms = bits >> 14 & 1 ? 1000 : 999;
		out = restart_decide(&in);
		cases++;
		wrong += out.counted != (out.action == RESTART_NODE &&
					    in.kind != EXIT_OVER) &&
			 !in.boot_failed;
		wrong += out.action == RESTART_NODE && out.counted &&
			 (!in.ever_served || in.node_recent >= in.limit);
		wrong += out.action == RESTART_WORKER &&
			 (in.policy == POLICY_NODE || in.boot_failed ||
			     in.kind == EXIT_RESTART ||
			     (in.worker_recent >= in.limit && !in.spare));
		/* Who is spare never ends the service that is there. */
		wrong += in.spare && in.policy == POLICY_WORKER &&
			 !in.boot_failed && in.kind <= EXIT_FAILED &&
			 out.action != RESTART_WORKER;
		/* The world is waited out unless somebody said how long. */
		wrong +=
		    in.boot_failed && in.fault == FAULT_WORLD &&
		    in.kind != EXIT_CONFIG &&
		    out.action != (in.give_up_ms != 0 && in.waited_ms >= 1000
					  ? RESTART_GIVE_UP
					  : RESTART_WAIT);
		wrong += in.boot_failed && in.fault == FAULT_DAMAGE &&
			 out.action != RESTART_GIVE_UP;
		wrong +=
		    in.kind == EXIT_CONFIG && out.action != RESTART_GIVE_UP;
		wrong += out.action == RESTART_GIVE_UP && out.why[0] == '\0';
		wrong += (out.action == RESTART_WORKER ||
			     out.action == RESTART_NODE ||
			     out.action == RESTART_WAIT) &&
			 (out.delay_ms < in.backoff_min_ms ||
			     out.delay_ms > in.backoff_max_ms);
	}
	is_u64(cases, 1 << 15, "every combination asked");
	is_u64(wrong, 0, "every rule held");
}

/* A fault of the world: waited for with back-off, for as long as is said. */
static void
test_world(void)
{
	struct restart_in in = usual();
	struct restart_out out;

	in.policy = POLICY_NODE;
	in.kind = EXIT_WORLD;
	in.ever_served = false;
	in.node_recent = in.limit;
	in.world_recent = 2;
	out = restart_decide(&in);
	ok(out.action == RESTART_WAIT && out.delay_ms == 400 && !out.counted,
	    "a first boot waits for the world, whatever the limit");
	in.kind = EXIT_MEMORY;
	ok(restart_decide(&in).action == RESTART_WAIT,
	    "for memory like any other fault of the world");
	in.policy = POLICY_WORKER;
	in.worker_recent = in.limit - 1;
	ok(restart_decide(&in).action == RESTART_WORKER,
	    "who can starts alone when memory is back");
	in.worker_recent = in.limit;
	ok(restart_decide(&in).action == RESTART_WAIT,
	    "but not again and again without a new fit");
	in.policy = POLICY_NODE;
	in.kind = EXIT_WORLD;
	in.waited_ms = UINT64_C(1) << 40;
	ok(restart_decide(&in).action == RESTART_WAIT, "for ever");
	in.give_up_ms = 60000;
	out = restart_decide(&in);
	ok(out.action == RESTART_GIVE_UP && out.why == RESTART_WAITED,
	    "or as long as it was told to");
	in.kind = EXIT_OVER;
	out = restart_decide(&in);
	ok(out.action == RESTART_NODE && !out.counted,
	    "a fault that is over: a boot that does not count");
	is_u64(out.delay_ms, in.backoff_min_ms, "and is not waited for longer");
	in.over_again = 2;
	out = restart_decide(&in);
	is_u64(out.delay_ms, 4 * in.backoff_min_ms,
	    "unless it was over before, and boots failed soon again");

	in = usual();
	in.boot_failed = true;
	in.fault = FAULT_SETUP;
	ok(restart_decide(&in).action == RESTART_WAIT,
	    "what was set up well once is waited for");
	in.ever_served = false;
	ok(restart_decide(&in).action == RESTART_GIVE_UP,
	    "what never was is not");

	in = usual();
	in.worker_recent = in.limit;
	in.node_recent = in.limit;
	in.spare = true;
	out = restart_decide(&in);
	ok(out.action == RESTART_WORKER && out.delay_ms == in.backoff_max_ms &&
		out.why == RESTART_DOWN,
	    "who is spare is tried now and then");
}

int
main(void)
{
	test_backoff();
	test_window();
	test_ladder();
	test_world();
	test_all();
	return tap_done();
}
