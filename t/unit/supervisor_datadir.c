/*
 * The data directory: founding makes it and never touches what is not empty;
 * a start refuses what is missing, foreign, damaged or in use, and names who
 * uses it; an inherited lock lives as long as the last who inherited it. A
 * founding that is killed at any system call is whole or can be done again.
 */
#include "supervisor/datadir.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conf/node_file.h"
#include "t/lib/kill_steps.h"
#include "t/tap.h"

static char base[] = "/tmp/supervisor_datadir.XXXXXX";
static struct rights self;
static struct conf conf;

static int
open_it(void)
{
	int dir_fd = -1, lock_fd = -1;
	int rc = datadir_open(&conf, &self, &dir_fd, &lock_fd);

	if (rc == 0) {
		close(lock_fd);
		close(dir_fd);
	}
	return rc;
}

static void
in_dir(char *path, size_t size, const char *name)
{
	snprintf(path, size, "%.60s/data/%s", base, name);
}

static void
test_founding(void)
{
	char path[128];
	struct stat st;

	is_i64(open_it(), EX_CONFIG, "not there: refused");
	is_i64(datadir_found(&conf, &self, false), 0, "founded");
	ok(stat(conf.node.data_dir, &st) == 0 && (st.st_mode & 07777) == 0750,
	    "made with mode 0750");
	is_i64(open_it(), 0, "opened");
	is_i64(datadir_found(&conf, &self, false), EX_CANTCREAT, "but once");
	in_dir(path, sizeof(path), NODE_FILE_NAME);
	unlink(path);
	is_i64(open_it(), EX_CONFIG, "without its node file: refused");
	in_dir(path, sizeof(path), NODE_FILE_TMP);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	is_i64(datadir_found(&conf, &self, false), 0,
	    "what an interrupted founding left does no harm");
	in_dir(path, sizeof(path), NODE_FILE_NAME);
	unlink(path);
	in_dir(path, sizeof(path), "precious");
	close(open(path, O_CREAT | O_WRONLY, 0600));
	is_i64(datadir_found(&conf, &self, false), EX_CANTCREAT,
	    "anything else in it does");
	unlink(path);
	is_i64(datadir_found(&conf, &self, false), 0, "founded again");
}

static void
test_identity(void)
{
	char path[128];
	int fd;

	snprintf(conf.node.name, sizeof(conf.node.name), "n2");
	is_i64(open_it(), EX_CONFIG, "another node's");
	snprintf(conf.node.name, sizeof(conf.node.name), "n1");
	snprintf(conf.node.group, sizeof(conf.node.group), "other");
	is_i64(open_it(), EX_CONFIG, "another group's");
	snprintf(conf.node.group, sizeof(conf.node.group), "demo");
	is_i64(open_it(), 0, "ours");
	in_dir(path, sizeof(path), NODE_FILE_NAME);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	ok(pwrite(fd, "X", 1, 30) == 1, "one byte is damaged");
	close(fd);
	is_i64(open_it(), EX_CONFIG, "damaged: refused");
	unlink(path);
	is_i64(datadir_found(&conf, &self, false), 0, "founded again");
}

static void
test_rights(void)
{
	if (getuid() != 0) {
		ok(true, "rights # SKIP needs root");
		return;
	}
	struct rights other = { .drop = true, .uid = 65534, .gid = 65534 };
	int dir_fd, lock_fd;
	char path[128];

	is_i64(datadir_open(&conf, &other, &dir_fd, &lock_fd), EX_NOPERM,
	    "a user that cannot write it");
	ok(geteuid() == 0 && getegid() == 0, "and we are who we were");
	ok(chmod(conf.node.data_dir, 0755) == 0, "readable by all");
	conf.boot.recovery_mode = CONF_RECOVERY_READONLY;
	is_i64(datadir_open(&conf, &other, &dir_fd, &lock_fd), EX_NOPERM,
	    "but not what is in it");
	in_dir(path, sizeof(path), NODE_FILE_NAME);
	ok(chmod(path, 0644) == 0, "that as well");
	is_i64(datadir_open(&conf, &other, &dir_fd, &lock_fd), 0,
	    "is enough for readonly recovery");
	close(dir_fd);
	close(lock_fd);
	conf.boot.recovery_mode = CONF_RECOVERY_NORMAL;
}

/* A lock that a child inherits outlives the parent's own. */
static void
test_lock(void)
{
	int dir_fd, lock_fd, two, go[2];
	char who[256], want[64], byte;
	pid_t pid;

	ok(datadir_open(&conf, &self, &dir_fd, &lock_fd) == 0, "locked");
	two = datadir_lock(dir_fd, true, 0);
	is_i64(two, -11, "a second lock is not to be had");
	if (pipe(go) != 0 || (pid = fork()) < 0)
		return;
	if (pid == 0) {
		close(go[1]);
		_exit(read(go[0], &byte, 1) != 0);
	}
	close(go[0]);
	close(lock_fd);
	is_i64(datadir_lock(dir_fd, true, 50), -11, "a child still has it");
	datadir_holders(dir_fd, who, sizeof(who));
	snprintf(want, sizeof(want), "pid %d (", (int)pid);
	ok(strncmp(who, want, strlen(want)) == 0, "and is named: %s", who);
	close(go[1]); /* it ends: a bounded wait sees that */
	two = datadir_lock(dir_fd, true, 5000);
	ok(two >= 0, "locked as soon as it is gone");
	waitpid(pid, NULL, 0);
	close(two);
	close(dir_fd);
}

/* The rights of a founding by root for another user, if we may. */
static struct rights
founder(void)
{
	if (getuid() != 0)
		return self;
	return (struct rights){ .drop = true, .uid = 65534, .gid = 65534 };
}

static void
found_it(void)
{
	struct rights r = founder();

	(void)datadir_found(&conf, &r, false);
}

/* Is it founded, and everything in it whose it should be? */
static bool
is_whole(void)
{
	static const char *const names[] = { ".", DATADIR_LOCK,
		NODE_FILE_NAME };
	struct rights r = founder();
	int dir_fd, lock_fd;
	struct stat st;
	char path[128];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		in_dir(path, sizeof(path), names[i]);
		if (stat(path, &st) != 0 || st.st_uid != r.uid ||
		    st.st_gid != r.gid || (st.st_mode & 0027) != 0)
			return false;
	}
	if (datadir_open(&conf, &r, &dir_fd, &lock_fd) != 0)
		return false;
	close(lock_fd);
	close(dir_fd);
	return true;
}

static void
empty_it(void)
{
	static const char *const names[] = { NODE_FILE_NAME, DATADIR_LOCK,
		NODE_FILE_TMP };
	char path[128];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		in_dir(path, sizeof(path), names[i]);
		unlink(path);
	}
	rmdir(conf.node.data_dir);
}

/* Who looks whether somebody has the lock shares it for a moment. */
static void
test_founding_looked_at(void)
{
	int dir_fd, lock_fd;
	pid_t pid;

	empty_it();
	mkdir(conf.node.data_dir, 0750);
	dir_fd = open(conf.node.data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	lock_fd = openat(dir_fd, DATADIR_LOCK, O_RDWR | O_CREAT, 0640);
	ok(flock(lock_fd, LOCK_SH) == 0, "somebody looks at the lock");
	if ((pid = fork()) == 0) {
		poll(NULL, 0, 200);
		_exit(0);
	}
	close(lock_fd);
	is_i64(
	    datadir_found(&conf, &self, false), 0, "a founding waits for that");
	waitpid(pid, NULL, 0);
	close(dir_fd);
	empty_it();
}

static void
test_killed_founding(void)
{
	struct rights r = founder();
	unsigned n = 0, whole = 0, again = 0, bad = 0;
	char path[128];
	int rc;

	in_dir(path, sizeof(path), NODE_FILE_NAME);
	for (;; n++) {
		empty_it();
		if ((rc = killed_at(n, found_it)) <= 0)
			break;
		if (access(path, F_OK) == 0)
			whole++;
		else if (datadir_found(&conf, &r, false) == 0)
			again++;
		if (!is_whole()) {
			diag("killed at %u: neither whole nor to be had", n);
			bad++;
		}
	}
	if (rc == -EPERM) {
		ok(true, "kills # SKIP ptrace is not allowed here");
		return;
	}
	ok(rc == 0 && is_whole(), "a founding ends after %u stops", n);
	ok(whole > 0 && again > 0,
	    "killed in %u of them it was done, in %u not", whole, again);
	is_u64(bad, 0, "and then it is right, or is founded again");
}

static void
clean_up(void)
{
	empty_it();
	ok(rmdir(base) == 0, "nothing is left");
}

int
main(void)
{
	/* The node's user passes it. */
	if (!ok(mkdtemp(base) != NULL && chmod(base, 0755) == 0, "made %s",
		base))
		return tap_done();
	conf_defaults(&conf);
	snprintf(conf.node.name, sizeof(conf.node.name), "n1");
	snprintf(conf.node.group, sizeof(conf.node.group), "demo");
	snprintf(
	    conf.node.data_dir, sizeof(conf.node.data_dir), "%s/data", base);
	ok(rights_find(&self, "") == 0 && !self.drop, "as ourselves");
	test_founding();
	test_identity();
	test_rights();
	test_lock();
	test_founding_looked_at();
	test_killed_founding();
	clean_up();
	return tap_done();
}
