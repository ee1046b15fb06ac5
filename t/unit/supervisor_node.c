/*
 * Turns of the supervisor over a region without workers. Boot budgets as they
 * are enforced while a stage lasts: each fails the boot and names who is
 * waited for; a lock that cannot be had does not keep a boot from ending. A
 * stop that was asked for while a node restart was under way is one. Held
 * listeners are not taken from a gateway that has just begun to listen. What
 * hangs in the kernel is named. A reload does not look like the end of a boot.
 * Health's sockets listen before it is there to accept, and refuse without it.
 */
#include "supervisor/node.h"

#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/pidfile.h"
#include "shm/trouble.h"
#include "t/lib/events.h"
#include "t/tap.h"

#define BUDGET_MS 50
#define LONG_MS   3600000
#define DO_THIS   ": mend the disk and start the node"

static char dir[] = "/tmp/nodelife-supervisor.XXXXXX";
static struct node n;

static bool
fresh_region(void)
{
	const struct region_spec spec = { .node = "supervisor_node",
		.group = "test",
		.data_dir = "/",
		.run_dir = dir,
		.client_addr = "-",
		.http_addr = "-",
		.walbuf_size = 4096,
		.table_size = 8 << 20,
		.gateway_count = 1 };
	char why[256];

	if (region_create(&n.region, &spec, why, sizeof(why)) == 0)
		return true;
	diag("%s", why);
	return false;
}

/* A boot that began longer ago than BUDGET_MS, all budgets long. */
static void
begin(void)
{
	memset(&n, 0, sizeof(n));
	if (!fresh_region())
		skip_all("no region can be made here");
	n.signal_fd = n.ready_fd = -1;
	for (unsigned slot = 0; slot < SLOT_MAX; slot++)
		n.bells.fd[slot] = n.child[slot].pidfd = -1;
	n.has_region = true;
	n.bells.wakes = n.region.wakes;
	n.mode = NODE_BOOTING;
	n.now_ns = mono_ns();
	n.boot_started_ns = n.now_ns - 2 * BUDGET_MS * NS_PER_MS;
	n.conf.boot.init_budget_ms = n.conf.boot.migrate_budget_ms =
	    n.conf.boot.recover_budget_ms = n.conf.boot.warmup_budget_ms =
		n.conf.boot.total_budget_ms = LONG_MS;
	seq_register(n.region.seq, PHASE_WAL_RECOVERY, SLOT_WAL, "scan");
	seq_register(
	    n.region.seq, PHASE_CLUSTER_CATALOG_OPEN, SLOT_CHECKPOINT, "files");
	seq_register(
	    n.region.seq, PHASE_GATEWAY_ENABLE, SLOT_GATEWAY, "enable");
	seq_seal(n.region.seq);
}

static void
end(void)
{
	region_end(&n.region, REGION_ENDED);
	region_unlink(&n.region);
	region_unmap(&n.region);
}

/* A process in the slot, as far as the budgets look. */
static void
live(unsigned slot)
{
	n.child[slot].pid = getpid();
	n.child[slot].started_ns = n.boot_started_ns;
	n.child[slot].killed = true; /* so that nobody kills it */
}

static void
opened(void)
{
	seq_opened(n.region.seq, SLOT_WAL);
	seq_opened(n.region.seq, SLOT_CHECKPOINT);
	seq_opened(n.region.seq, SLOT_GATEWAY);
}

/* A stage is timed from when it was seen: look now and BUDGET_MS later. */
static void
look_twice(void)
{
	node_boot_turn(&n);
	ok(!seq_failed(n.region.seq), "within the budget");
	n.now_ns += 2 * BUDGET_MS * NS_PER_MS;
	node_boot_turn(&n);
	ok(seq_failed(n.region.seq), "used up");
	ok(n.mode == NODE_ENDING, "the node ends");
}

static void
test_init(void)
{
	begin();
	live(SLOT_WAL);
	live(SLOT_GATEWAY);
	seq_opened(n.region.seq, SLOT_WAL);
	n.conf.boot.init_budget_ms = BUDGET_MS;
	node_boot_turn(&n);
	is_str(n.region.seq->error,
	    "init budget of 50 ms used up after boot, waiting for gateway0: "
	    "opening (0.1 s)",
	    "init runs from the boot's begin and names who does not open");
	ok(n.mode == NODE_ENDING, "the node ends");
	end();
}

static void
test_migrate(void)
{
	begin();
	live(SLOT_CHECKPOINT);
	opened();
	n.conf.boot.init_budget_ms = BUDGET_MS;
	n.conf.boot.migrate_budget_ms = BUDGET_MS;
	look_twice();
	is_str(n.region.seq->error,
	    "migrate budget of 50 ms used up after boot, waiting for "
	    "checkpoint: the store's files (0.2 s)",
	    "migrate");
	end();
}

static void
test_recover(void)
{
	begin();
	live(SLOT_WAL);
	opened();
	seq_fire(n.region.seq, PHASE_CLUSTER_CATALOG_OPEN, SLOT_CHECKPOINT);
	n.conf.boot.init_budget_ms = BUDGET_MS;
	n.conf.boot.migrate_budget_ms = BUDGET_MS;
	n.conf.boot.recover_budget_ms = BUDGET_MS;
	look_twice();
	ok(strncmp(n.region.seq->error,
	       "recover budget of 50 ms used up after boot, waiting for wal: "
	       "scan (",
	       66) == 0,
	    "a long scan is recover's: %s", n.region.seq->error);
	end();
}

static void
test_warmup(void)
{
	begin();
	live(SLOT_GATEWAY);
	opened();
	seq_fire(n.region.seq, PHASE_CLUSTER_CATALOG_OPEN, SLOT_CHECKPOINT);
	seq_fire(n.region.seq, PHASE_WAL_RECOVERY, SLOT_WAL);
	n.conf.boot.recover_budget_ms = BUDGET_MS;
	n.conf.boot.warmup_budget_ms = BUDGET_MS;
	look_twice();
	ok(strncmp(n.region.seq->error,
	       "warmup budget of 50 ms used up after health_loop_start, ",
	       56) == 0,
	    "warmup: %s", n.region.seq->error);
	end();
}

/* A live holder that cannot be killed, as it hangs in the kernel. */
static pid_t
lock_taker(_Atomic uint32_t *taken)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	alarm(200);
	lock_self(NULL, SLOT_STORE, 1);
	lock_take(&n.region.seq->lock, LOCK_SEQUENCER, 0);
	atomic_store(taken, 1);
	for (;;)
		pause();
}

static void
test_lost_lock(void)
{
	_Atomic uint32_t *taken = mmap(NULL, sizeof(*taken),
	    PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid;

	begin();
	live(SLOT_WAL);
	n.conf.boot.init_budget_ms = BUDGET_MS;
	pid = lock_taker(taken);
	n.child[SLOT_STORE] = (struct child){
		.pid = pid, .pidfd = -1, .incarnation = 1, .killed = true
	};
	ok(wait_until(atomic_load(taken) == 1, TAP_WAIT_MS),
	    "the lock is held");
	node_boot_turn(&n);
	ok(!seq_failed(n.region.seq), "the failure cannot be told");
	ok(n.mode == NODE_ENDING, "the node ends all the same");
	kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
	end();
	munmap(taken, sizeof(*taken));
}

/* The last to go has left a request behind, or none. */
static void
test_stop_in_restart(void)
{
	for (unsigned wanted = 0; wanted < 2; wanted++) {
		begin();
		n.mode = NODE_ENDING;
		n.boot_again = true;
		n.boot_delay_ms = LONG_MS;
		atomic_store(&n.region.control->stop_wanted, wanted);
		node_end_turn(&n);
		ok(n.finished == (wanted == 1), "%s",
		    wanted == 1 ? "a stop asked for meanwhile ends the node"
				: "a node restart goes on");
		end();
	}
}

static bool
connects(int listening)
{
	struct sockaddr_in in;
	socklen_t len = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	bool yes;

	getsockname(listening, (struct sockaddr *)&in, &len);
	yes = connect(fd, (struct sockaddr *)&in, len) == 0;
	close(fd);
	return yes;
}

static int
listening(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	/* A port that was asked for, not one that was chosen: see listen.c. */
	if (bind(fd, (struct sockaddr *)&in, len) != 0 ||
	    getsockname(fd, (struct sockaddr *)&in, &len) != 0)
		return -1;
	close(fd);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	return bind(fd, (struct sockaddr *)&in, len) == 0 && listen(fd, 8) == 0
		   ? fd
		   : -1;
}

/* listen_hold ends while a boot is under way. */
static void
test_hold(void)
{
	for (unsigned late = 0; late < 2; late++) {
		begin();
		opened();
		for (unsigned i = 0; i < LISTEN_MAX; i++)
			n.listen.fd[i] = -1;
		if (!ok((n.listen.fd[0] = listening()) >= 0, "listens"))
			return;
		if (late == 1) {
			seq_fire(n.region.seq, PHASE_CLUSTER_CATALOG_OPEN,
			    SLOT_CHECKPOINT);
			seq_register(n.region.seq, PHASE_TRANSPORT_BIND,
			    SLOT_GATEWAY, "listen");
			seq_fire(n.region.seq, PHASE_WAL_RECOVERY, SLOT_WAL);
		}
		n.hold_until_ns = n.now_ns;
		node_end_turn(&n);
		ok(n.hold_until_ns == 0, "the hold is over");
		ok(connects(n.listen.fd[0]) == (late == 1), "%s",
		    late == 1 ? "a gateway that listens already goes on"
			      : "clients are refused until somebody listens");
		close(n.listen.fd[0]);
		end();
	}
}

/* A worker that SIGKILL does not end keeps the node from going on. */
static void
test_stuck(void)
{
	begin();
	n.mode = NODE_ENDING;
	live(SLOT_WAL);
	n.child[SLOT_WAL].killed_ns = n.now_ns;
	n.now_ns += 4 * NS_PER_S;
	node_live_turn(&n);
	ok(!events_have(&n.region, "hangs in the kernel"),
	    "killed a moment ago");
	n.now_ns += 2 * NS_PER_S;
	node_live_turn(&n);
	ok(events_have(&n.region, "wal (pid") &&
		events_have(&n.region, "hangs in the kernel"),
	    "killed long ago: it is named");
	end();
}

/* What the service manager was told, all of it. */
static void
told(int fd, char text[1024])
{
	size_t used = 0;
	ssize_t len;

	while ((len = recv(fd, text + used, 1023 - used, MSG_DONTWAIT)) > 0)
		used += (size_t)len;
	text[used] = '\0';
}

/* READY ends a reload, but may not be what the first boot has to say. */
static void
test_reload_notice(void)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char text[1024];

	snprintf(un.sun_path, sizeof(un.sun_path), "%s/notify", dir);
	if (!ok(bind(fd, (struct sockaddr *)&un, sizeof(un)) == 0, "a manager"))
		return;
	setenv("NOTIFY_SOCKET", un.sun_path, 1);
	begin();
	node_reload(&n);
	told(fd, text);
	is_str(text, "", "a node that boots says nothing of a reload");
	n.ever_served = true;
	node_reload(&n);
	told(fd, text);
	ok(strncmp(text, "RELOADING=1\nMONOTONIC_USEC=", 27) == 0 &&
		strstr(text, "READY=1") != NULL,
	    "one that has served does");
	n.mode = NODE_STOPPING;
	node_reload(&n);
	told(fd, text);
	is_str(text, "", "one that stops does not");
	end();
	unsetenv("NOTIFY_SOCKET");
	close(fd);
	unlink(un.sun_path);
}

static bool
ends_with(const char *text, const char *end)
{
	size_t all = strlen(text), part = strlen(end);

	return all >= part && strcmp(text + all - part, end) == 0;
}

static const char *
trouble_text(enum trouble kind)
{
	static struct trouble_info info;

	return trouble_read(&n.region, kind, &info) ? info.text : "";
}

/* A boot's error of the longest, what to do at its end. */
static void
longest(char error[SEQ_ERROR_MAX])
{
	static const char begin[] = "wal_recovery: wal: /", end[] = DO_THIS;

	memset(error, 'p', SEQ_ERROR_MAX - 1);
	memcpy(error, begin, strlen(begin));
	strlcpy(error + SEQ_ERROR_MAX - sizeof(end), end, sizeof(end));
}

/*
 * What is said in front of an error, or behind it, costs none of what is to be
 * done; and a service manager is told to wait however long that is.
 */
static void
test_long_texts(void)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char error[SEQ_ERROR_MAX], text[1024];

	snprintf(un.sun_path, sizeof(un.sun_path), "%s/notify", dir);
	if (!ok(bind(fd, (struct sockaddr *)&un, sizeof(un)) == 0, "a manager"))
		return;
	setenv("NOTIFY_SOCKET", un.sun_path, 1);
	longest(error);
	begin();
	strlcpy(n.conf.node.run_dir, dir, sizeof(n.conf.node.run_dir));
	node_boot_waits(&n, error, 100);
	ok(strncmp(trouble_text(TROUBLE_BOOT_WAITS),
	       "the boot waits: tried again in 100 ms: ", 39) == 0 &&
		ends_with(trouble_text(TROUBLE_BOOT_WAITS), DO_THIS),
	    "a boot that waits: %s", trouble_text(TROUBLE_BOOT_WAITS));
	ok(events_have(&n.region, DO_THIS), "its event");
	told(fd, text);
	ok(strstr(text, DO_THIS "\n") != NULL &&
		strstr(text, "\nEXTEND_TIMEOUT_USEC=") != NULL,
	    "the service manager: %s", text);
	ok(ends_with(n.waits_for, DO_THIS), "what the next boot carries on");
	n.child[SLOT_VLSN].restart_at_ns = n.now_ns + 5 * NS_PER_S;
	child_down(&n, SLOT_VLSN, error);
	ok(strstr(trouble_text(TROUBLE_WORKER_DOWN), DO_THIS) != NULL,
	    "a worker that is down: %s", trouble_text(TROUBLE_WORKER_DOWN));
	ok(strstr(node_waited_text(&n, error, text), DO_THIS) != NULL &&
		ends_with(text, "start the node again"),
	    "one that has waited long enough: %s", text);
	end();
	unsetenv("NOTIFY_SOCKET");
	close(fd);
	unlink(un.sun_path);
	pidfile_waits(dir, NULL);
}

/* The last word of a node. */
static void
test_last_word(void)
{
	char error[SEQ_ERROR_MAX];

	longest(error);
	begin();
	n.conf.restart.limit = 0;
	node_decide(&n, SLOT_WAL, EXIT_CONFIG, error);
	ok(n.mode == NODE_ENDING && events_have(&n.region, DO_THIS),
	    "what ends a node says what to do");
	end();
}

static int
a_socket(int family)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct sockaddr_in in = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int rc;

	/* Without a name the kernel chooses one. */
	rc = family == AF_UNIX
		 ? bind(fd, (struct sockaddr *)&un, sizeof(sa_family_t))
		 : bind(fd, (struct sockaddr *)&in, sizeof(in));
	return rc == 0 ? fd : -1;
}

static bool
listens(int fd)
{
	socklen_t len = sizeof(int);
	int is = 0;

	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is, &len) == 0 &&
	       is != 0;
}

static bool forks_refused, listened;

/* What the linker finds first. */
pid_t
fork(void)
{
	if (!forks_refused)
		return _Fork();
	listened = listens(n.listen.http_fd) && listens(n.listen.control_fd);
	errno = EAGAIN;
	return -1;
}

static void
test_health(void)
{
	begin();
	n.listen.http_fd = a_socket(AF_INET);
	n.listen.control_fd = a_socket(AF_UNIX);
	forks_refused = true;
	is_i64(child_start(&n, SLOT_HEALTH), -EAGAIN, "health is not forked");
	ok(listened, "its sockets listened before");
	ok(!listens(n.listen.http_fd), "now http refuses");
	forks_refused = false;
	close(n.listen.http_fd);
	close(n.listen.control_fd);
	end();
}

int
main(void)
{
	char path[64];

	if (mkdtemp(dir) == NULL)
		skip_all("no directory can be made here");
	test_init();
	test_migrate();
	test_recover();
	test_warmup();
	test_lost_lock();
	test_stop_in_restart();
	test_hold();
	test_stuck();
	test_reload_notice();
	test_long_texts();
	test_last_word();
	test_health();
	snprintf(path, sizeof(path), "%s/region.prev", dir);
	unlink(path);
	snprintf(path, sizeof(path), "%s/region", dir);
	unlink(path);
	ok(rmdir(dir) == 0, "nothing is left");
	return tap_done();
}
