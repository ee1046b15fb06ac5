/*
 * What the workers' user may have put into directories that root opens things
 * in: links, second names, pipes, at every name that the daemon uses. Nothing
 * that they lead to is written, given away, removed or waited for; a link
 * that is root's own is followed.
 */
#include "supervisor/node.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/auto_fs.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "shm/fault.h"
#include "shm/path.h"
#include "shm/say.h"
#include "supervisor/datadir.h"
#include "supervisor/listen.h"
#include "t/tap.h"

#define USER   65534
#define SECRET "root's own\n"

static char base[] = "/tmp/nodelife-links.XXXXXX";
static char secret[64], theirs[64]; /* root's file, the user's directory */
static const struct rights rights = { true, USER, USER };
static struct conf conf;

static void
path_in(const char *dir, const char *name, char out[128])
{
	if (snprintf(out, 128, "%s/%s", dir, name) >= 128)
		abort();
}

/* As it was: content, owner, mode. */
static bool
is_untouched(void)
{
	char text[64] = "";
	struct stat st;
	int fd = open(secret, O_RDONLY);

	(void)!read(fd, text, sizeof(text) - 1);
	close(fd);
	return strcmp(text, SECRET) == 0 && lstat(secret, &st) == 0 &&
	       st.st_uid == 0 && (st.st_mode & 07777) == 0600;
}

enum kind { SYMLINK, HARD_LINK, PIPE, KINDS };
static const char *const kind_names[] = { "a link", "a second name", "a pipe" };

static void
plant(const char *path, enum kind kind)
{
	unlink(path);
	if ((kind == SYMLINK && symlink(secret, path) != 0) ||
	    (kind == HARD_LINK && link(secret, path) != 0) ||
	    (kind == PIPE && mkfifo(path, 0666) != 0))
		abort();
	if (kind != HARD_LINK && lchown(path, USER, USER) != 0)
		abort();
}

static void
test_pidfile(void)
{
	struct pidfile p = { -1, -1 };
	char path[128];

	path_in(theirs, "nodelifed.pid", path);
	strcpy(conf.node.run_dir, theirs);
	for (enum kind k = 0; k < KINDS; k++) {
		plant(path, k);
		ok(daemon_pidfile(&conf, &rights, &p) != 0,
		    "process id file: %s", kind_names[k]);
		daemon_pidfile_remove(&p);
		ok(is_untouched(), "leads nowhere");
		unlink(path);
	}
	ok(daemon_pidfile(&conf, &rights, &p) == 0 &&
		daemon_pidfile_write(&p) == 0,
	    "an honest one");
	daemon_pidfile_remove(&p);
	ok(access(path, F_OK) != 0, "and removed");
}

static void
test_log(void)
{
	char path[128], old[128];

	path_in(theirs, "log", path);
	path_in(theirs, "log.1", old);
	say_owner(USER, USER);
	for (enum kind k = 0; k < KINDS; k++) {
		plant(path, k);
		ok(say_open(path) < 0, "log: %s", kind_names[k]);
		unlink(path);
		ok(say_open(path) == 0, "log: a file");
		ok(rename(path, old) == 0, "rotated");
		plant(path, k);
		say_reopen();
		say_info("a line");
		ok(is_untouched(), "log: %s after a rotation", kind_names[k]);
		unlink(path);
		say_open("stderr");
		unlink(old);
	}
	ok(say_open("/dev/null") == 0, "a device of root's is taken");
	say_open("stderr");
}

/* Whose is it, and is it empty? */
static bool
is_roots(const char *dir)
{
	struct stat st;

	return stat(dir, &st) == 0 && st.st_uid == 0 &&
	       (st.st_mode & 07777) == 0711;
}

static void
test_founding(void)
{
	char roots[128], link[128], data[128], lock[128], node[128];
	int dir_fd, lock_fd;

	strcpy(conf.node.name, "n1");
	strcpy(conf.node.group, "g1");
	path_in(base, "roots", roots);
	path_in(theirs, "data", link);
	mkdir(roots, 0711);
	if (chmod(roots, 0711) != 0 || symlink(roots, link) != 0 ||
	    lchown(link, USER, USER) != 0)
		abort();
	strcpy(conf.node.data_dir, link);
	ok(datadir_found(&conf, &rights, false) != 0,
	    "a data directory: a link");
	ok(is_roots(roots), "what it leads to is not given away");
	path_in(link, "below", data);
	strcpy(conf.node.data_dir, data);
	ok(datadir_found(&conf, &rights, false) != 0, "a link on the way");
	ok(is_roots(roots) && rmdir(roots) == 0, "nothing is made there");
	unlink(link);

	path_in(theirs, "data", data);
	strcpy(conf.node.data_dir, data);
	mkdir(data, 0755);
	path_in(data, DATADIR_LOCK, lock);
	plant(lock, HARD_LINK);
	ok(datadir_found(&conf, &rights, false) != 0,
	    "its lock: a second name");
	ok(is_untouched(), "is not given away");
	unlink(lock);
	ok(datadir_found(&conf, &rights, false) == 0, "founded");
	path_in(data, "node", node);
	path_in(data, "node.old", link);
	if (rename(node, link) != 0 || symlink(link, node) != 0)
		abort();
	ok(datadir_open(&conf, &rights, &dir_fd, &lock_fd) != 0,
	    "the node file: a link");
	unlink(node);
	unlink(link);
	unlink(lock);
	rmdir(data);
}

static void
test_socket(void)
{
	struct stat st = { 0 };
	char path[128];
	int fd;

	path_in(theirs, "sock", path);
	for (enum kind k = 0; k < KINDS; k++) {
		plant(path, k);
		ok(listen_unix(path, &rights, 0) == -EEXIST, "a socket: %s",
		    kind_names[k]);
		ok(is_untouched(), "leads nowhere");
		unlink(path);
	}
	umask(077);
	fd = listen_unix(path, &rights, 0);
	ok(fd >= 0 && lstat(path, &st) == 0 && st.st_uid == USER &&
		(st.st_mode & 0777) == 0660,
	    "an honest one is the user's, with its mode");
	close(fd);
	unlink(path);
}

/* Links on the way to a directory, root's and others', and where they end. */
static void
test_walk(void)
{
	char link[128], below[160];
	int fd;

	path_in(base, "link", link);
	if (symlink("theirs/../theirs", link) != 0)
		abort();
	snprintf(below, sizeof(below), "%s/./new", link);
	fd = path_dir_make(below, 0755);
	ok(fd >= 0, "root's link is followed, a directory made");
	ok(rmdir(below) == 0, "where it belongs");
	close(fd);
	fd = path_dir_open(link);
	ok(!path_dir_is_safe(fd), "the user's directory is not safe");
	close(fd);
	is_i64(path_dir_open(secret), -ENOTDIR, "a file is no directory");
	if (lchown(link, USER, USER) != 0)
		abort();
	is_i64(path_dir_open(link), -ELOOP, "the user's link is not followed");
	ok(strstr(fault_remedy(ELOOP, PLACE_RUN), "give the link to root") !=
		NULL,
	    "and that is what is said of it");
	unlink(link);
	if (symlink("link", link) != 0)
		abort();
	is_i64(path_dir_open(link), -ELOOP, "nor one that leads to itself");
	unlink(link);
}

/* Comes by, as a daemon does; not of the automounter's process group. */
static int
passer_by(const char *at)
{
	pid_t pid = fork();

	if (pid == 0) {
		setpgid(0, 0);
		alarm(20);
		_exit(path_dir_open(at) >= 0 ? 0 : 1);
	}
	return pid;
}

/* Asked for one file system, it mounts that. False: nobody asks. */
static bool
automount(int requests, int root, const char *at)
{
	struct pollfd p = { .fd = requests, .events = POLLIN };
	union autofs_v5_packet_union packet;

	if (poll(&p, 1, TAP_WAIT_MS) != 1 ||
	    read(requests, &packet, sizeof(packet)) <= 0 ||
	    mount("none", at, "tmpfs", 0, "size=1m,mode=755") != 0)
		return false;
	return ioctl(root, AUTOFS_IOC_READY,
		   packet.v5_packet.wait_queue_token) == 0;
}

/* A file system that is mounted when somebody comes by. */
static void
test_automount(void)
{
	char at[128], how[128];
	int fd[2], root = -1, status = 0;
	pid_t pid;

	path_in(base, "auto", at);
	if (mkdir(at, 0755) != 0 || pipe2(fd, O_CLOEXEC | O_DIRECT) != 0)
		abort();
	snprintf(how, sizeof(how), "fd=%d,pgrp=%d,minproto=5,maxproto=5,direct",
	    fd[1], (int)getpgrp());
	if (mount("none", at, "autofs", 0, how) != 0) {
		diag("no autofs here: %s", strerror(errno));
	} else {
		root = open(at, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		pid = passer_by(at);
		ok(automount(fd[0], root, at), "who opens it, mounts it");
		ok(waitpid(pid, &status, 0) == pid && status == 0,
		    "and has what is there");
		close(root);
		umount2(at, MNT_DETACH);
		umount2(at, MNT_DETACH);
	}
	close(fd[0]);
	close(fd[1]);
	rmdir(at);
}

int
main(void)
{
	int fd;

	if (geteuid() != 0)
		skip_all("not root: nothing to be protected from others");
	alarm(100); /* a pipe that is waited for */
	if (mkdtemp(base) == NULL || chmod(base, 0755) != 0)
		abort();
	snprintf(secret, sizeof(secret), "%s/secret", base);
	snprintf(theirs, sizeof(theirs), "%s/theirs", base);
	fd = open(secret, O_CREAT | O_WRONLY, 0600);
	if (write(fd, SECRET, strlen(SECRET)) < 0 || mkdir(theirs, 0755) != 0 ||
	    chown(theirs, USER, USER) != 0)
		abort();
	close(fd);
	test_pidfile();
	test_log();
	test_founding();
	test_socket();
	test_walk();
	test_automount();
	unlink(secret);
	ok(rmdir(theirs) == 0 && rmdir(base) == 0, "nothing is left");
	return tap_done();
}
