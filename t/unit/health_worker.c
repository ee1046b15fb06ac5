/*
 * The health worker itself, as the supervisor forks it, over real sockets:
 * pages by HTTP, what is malformed or slow, the control socket's commands
 * with this test in the supervisor's and the store's place, no wake-ups while
 * idle, the shutdown bus, and a successor on the same sockets.
 */
#include "t/lib/health_rig.h"

static void
test_starting(void)
{
	is_i64(http("GET", "/healthz"), 503, "served before any gate");
	ok(strstr(reply, "\"status\": \"starting\"") != NULL &&
		strstr(reply, "\"subsystem\": \"wal\"") != NULL,
	    "with the pending gate");
	ok(strstr(reply, "Retry-After: 1") != NULL, "come again");
	ok(strncmp(control("checkpoint\n"), "error the node is not up", 24) ==
		0,
	    "no checkpoint yet");
	seq_fire(f.r.seq, PHASE_WAL_RECOVERY, SLOT_WAL);
	bell_ring(&w.bells, SLOT_HEALTH);
	seq_fire(f.r.seq, PHASE_GATEWAY_ENABLE, SLOT_GATEWAY);
	ok(wait_until(seq_reached(f.r.seq, PHASE_GATEWAY_ENABLE), TAP_WAIT_MS),
	    "it fired its own gate");
	is_i64(http("GET", "/healthz"), 200, "200 when serving");
	is_i64(http("GET", "/startupz"), 200, "started");
}

static void
test_http(void)
{
	char req[512];
	int fd, i;

	is_i64(http("GET", "/metrics"), 200, "metrics");
	ok(strstr(reply, "Content-Type: text/plain; version=0.0.4") != NULL,
	    "their type");
	is_i64(http("GET", "/readyz?want=write"), 503, "a query");
	is_i64(http("GET", "/nothing"), 404, "404");
	is_i64(http("DELETE", "/livez"), 405, "405");
	ok(strstr(reply, "Allow: GET, HEAD") != NULL, "what is allowed");
	is_i64(http("HEAD", "/livez"), 200, "HEAD");
	ok(strstr(reply, "\r\n\r\n") + 4 == reply + strlen(reply),
	    "has no body");
	fd = dial();
	say(fd, "what is this\r\n\r\n");
	hear(fd, NULL);
	ok(strstr(reply, " 400 ") != NULL || reply[0] == '\0',
	    "malformed: refused");
	close(fd);

	fd = dial();
	for (i = 0; i < 3; i++) {
		say(fd, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
		hear(fd, "alive");
		ok(strstr(reply, "200 OK") != NULL, "kept alive, request %d",
		    i);
	}
	say(fd, "POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n");
	say(fd, "hello");
	hear(fd, "not allowed");
	ok(strstr(reply, " 405 ") != NULL, "a body is swallowed");
	close(fd);

	fd = dial();
	say(fd, "POST /drain HTTP/1.1\r\nHost: x\r\nOrigin: http://evil\r\n"
		"Content-Length: 0\r\nConnection: close\r\n\r\n");
	hear(fd, NULL);
	ok(strstr(reply, " 403 ") != NULL &&
		atomic_load(&f.r.control->stop_wanted) == 0,
	    "a web page cannot drain");
	close(fd);

	fd = dial();
	memset(req, 'a', sizeof(req));
	for (i = 0; i < 64; i++)
		(void)!send(fd, req, sizeof(req), MSG_NOSIGNAL);
	hear(fd, NULL);
	ok(strncmp(reply, "HTTP/1.1 4", 10) == 0 || reply[0] == '\0',
	    "endless: refused");
	close(fd);
}

static void
test_control(void)
{
	struct control *ctl = f.r.control;

	ok(strncmp(control("help\n"), "ok\n", 3) == 0 &&
		strstr(reply, "checkpoint") != NULL,
	    "help");
	ok(strncmp(control("dance\n"), "error no such", 13) == 0, "unknown");
	ok(strncmp(control("stop now\n"), "error stop takes", 16) == 0 &&
		atomic_load(&ctl->stop_wanted) == 0,
	    "an argument too much");
	is_str(control("loglevel\n"), "ok\ninfo\n", "the log level");
	is_str(control("loglevel debug\n"), "ok\ninfo -> debug\n", "is set");
	is_u64(atomic_load(&ctl->log_level), 0, "in the region");
	ok(strncmp(control("loglevel loud\n"), "error loud", 10) == 0, "bad");
	control("config\n");
	ok(strncmp(reply, "ok\n[node]\n", 10) == 0 &&
		strstr(reply, "log_level = debug ; changed since") != NULL &&
		strstr(reply, "gateways = 1 ; default") != NULL &&
		strstr(reply, "group = g\n") != NULL,
	    "config marks defaults and changes");
}

static void
test_control_waits(void)
{
	struct control *ctl = f.r.control;
	int fd;

	fd = dial_control();
	say(fd, "relo");
	say(fd, "ad\n");
	ok(wait_until(atomic_load(&ctl->reload_wanted) == 1, TAP_WAIT_MS),
	    "reload is asked for, its line in two pieces");
	strcpy(ctl->reload_text, "changed: [wal] sync");
	atomic_store(&ctl->reload_done, 1);
	hear(fd, NULL);
	is_str(reply, "ok\nchanged: [wal] sync\n", "and answered");
	close(fd);
	fd = dial_control();
	say(fd, "reload\n");
	(void)wait_until(atomic_load(&ctl->reload_wanted) == 2, TAP_WAIT_MS);
	strcpy(ctl->reload_text, "refused: nodelife.ini:3: no");
	atomic_store(&ctl->reload_status, 1);
	atomic_store(&ctl->reload_done, 2);
	hear(fd, NULL);
	ok(strncmp(reply, "error the configuration is refused", 34) == 0 &&
		strstr(reply, "nodelife.ini:3") != NULL,
	    "refused with the reason");
	close(fd);

	fd = dial_control();
	say(fd, "checkpoint\n");
	ok(wait_until(atomic_load(&ctl->checkpoint_wanted) == 1, TAP_WAIT_MS),
	    "a checkpoint is asked for");
	position_set(&f.r.pos->checkpointed, 4711);
	atomic_store(&ctl->checkpoint_done, 1);
	hear(fd, NULL);
	ok(strncmp(reply, "ok\ncheckpoint at VLSN 4711, ", 28) == 0,
	    "its VLSN and time are told");
	close(fd);
}

static void
test_control_lines(void)
{
	char line[400];
	int fd;

	memset(line, 'x', sizeof(line) - 1);
	line[sizeof(line) - 1] = '\0';
	ok(strncmp(control(line), "error not one line", 18) == 0, "too long");
	ok(strncmp(control("help\nhelp\n"), "error not one line", 18) == 0,
	    "two lines");
	fd = dial_control();
	say(fd, "hel");
	shutdown(fd, SHUT_WR);
	is_u64(hear(fd, NULL), 0, "half a line: closed");
	close(fd);
}

/* More than are served at once: the others wait, nobody is lost. */
static void
test_crowd(void)
{
	int fd[20], i, answered = 0;

	for (i = 0; i < 20; i++)
		fd[i] = dial_control();
	for (i = 19; i >= 0; i--)
		say(fd[i], "loglevel\n");
	for (i = 0; i < 20; i++) {
		hear(fd[i], NULL);
		answered += strcmp(reply, "ok\ndebug\n") == 0;
		close(fd[i]);
	}
	is_i64(answered, 20, "20 at once are all answered");
	for (i = 0; i < 20; i++)
		fd[i] = dial();
	is_i64(http("GET", "/livez"), 200, "idle connections harm nobody");
	for (i = 0; i < 20; i++)
		close(fd[i]);
}

/* Some seconds later it has turned no more often than once in each. */
static void
test_idle(void)
{
	struct slot_row *row = &f.r.slots->row[SLOT_HEALTH];
	uint64_t seen, turns, seconds;

	/* What the closed connections still cause is over by then. */
	seen = atomic_load(&row->heartbeat_ns);
	(void)wait_until(
	    atomic_load(&row->heartbeat_ns) > seen + NS_PER_S / 2, TAP_WAIT_MS);
	seen = atomic_load(&row->heartbeat_ns);
	turns = atomic_load(&row->turns);
	ok(wait_until(atomic_load(&row->heartbeat_ns) >= seen + 2 * NS_PER_S,
	       TAP_WAIT_MS),
	    "its heart beats");
	turns = atomic_load(&row->turns) - turns;
	/* We may be late: by its clock, which is read last. */
	seconds = (atomic_load(&row->heartbeat_ns) - seen) / NS_PER_S;
	ok(turns <= seconds + 1, "idle: %u turns in %u s", (unsigned)turns,
	    (unsigned)seconds);
}

static void
test_restart(pid_t *pid)
{
	kill(*pid, SIGKILL);
	is_i64(child_end(*pid), 1000 + SIGKILL, "killed");
	*pid = health_start();
	is_i64(http("GET", "/livez"), 200, "its successor serves pages");
	is_str(control("loglevel\n"), "ok\ndebug\n", "and control");
}

static void
test_stop(pid_t pid)
{
	struct slot_row *row = &f.r.slots->row[SLOT_HEALTH];
	int fd, silent, half;
	unsigned step, looks = 0;

	is_i64(http("POST", "/drain"), 200, "drain");
	ok(wait_until(atomic_load(&f.r.control->stop_wanted) == 1, TAP_WAIT_MS),
	    "asks for the stop");
	atomic_store(&f.r.control->stop_wanted, 0);
	is_str(control("stop\n"), "ok\nstopping\n", "stop");
	is_u64(atomic_load(&f.r.control->stop_wanted), 1, "the same");
	fd = dial_control();
	say(fd, "checkpoint\n");
	(void)wait_until(
	    atomic_load(&f.r.control->checkpoint_wanted) == 2, TAP_WAIT_MS);
	silent = dial_control();
	half = dial_control();
	say(half, "logle");
	is_str(control("loglevel\n"), "ok\ndebug\n", "who came first is in");
	for (step = 1; step < SHUTDOWN_CLOSED; step++) {
		seq_shutdown(f.r.seq, step);
		bell_ring(&w.bells, SLOT_HEALTH);
		if (!wait_until((looks++, atomic_load(&row->drained) >= step),
			TAP_WAIT_MS))
			ok(false, "step %s is answered", shutdown_name(step));
	}
	/*
	 * They would for CONTROL_IO_NS, in which we look a thousand times and
	 * more; on a machine that is slow to look it is slow to drain, too.
	 */
	ok(looks < 1000, "who says nothing, or half a line, holds nothing up");
	hear(fd, NULL);
	ok(strncmp(reply, "error the node is stopping", 26) == 0,
	    "who waits is told");
	close(fd);
	is_u64(hear(silent, NULL) + hear(half, NULL), 0,
	    "who asks nothing is told nothing");
	close(silent);
	close(half);
	is_i64(http("GET", "/healthz"), 503, "draining until the end");
	ok(strstr(reply, "\"status\": \"draining\"") != NULL, "and says so");
	seq_shutdown(f.r.seq, SHUTDOWN_CLOSED);
	bell_ring(&w.bells, SLOT_HEALTH);
	is_i64(child_end(pid), 0, "ends with 0");
	ok(counter_sum(f.r.counters, C_HTTP_REQUESTS) >= 15 &&
		counter_sum(f.r.counters, C_CONTROL_REQUESTS) >= 30,
	    "requests are counted");
}

int
main(int argc, char **argv)
{
	pid_t pid;

	health_rig_open(argc, argv);
	pid = health_start();
	test_starting();
	test_http();
	test_control();
	test_control_waits();
	test_control_lines();
	test_crowd();
	test_idle();
	test_restart(&pid);
	test_stop(pid);
	health_rig_close();
	return tap_done();
}
