/*
 * Messages for admins; see fault.h. The remedy table is looked through from
 * the top: the first row that has the errno and the place counts. A remedy
 * must do no harm wherever the row can be met: none but damage's speaks of
 * restoring or of force. What needs a start stands first and says so: that
 * the node goes on by itself is said behind the last.
 */
#include "shm/fault.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "shm/assert.h"
#include "shm/bits.h"

#define AT(place) (1u << PLACE_##place)
#define ANYWHERE  ((1u << PLACE_COUNT) - 1)
#define STARTS    (1u << PLACE_COUNT) /* nothing goes on by itself */
#define ON_DISK   (AT(DATA) | AT(RUN) | AT(LOG) | AT(CONF))

/* The node keeps to the directory, and the mount, that it was started with. */
#define MOUNT_AGAIN                                                            \
	"stop the node, check (fsck) and mount it again, start the node"

#define PROCESSES                                                              \
	"too many processes: raise the user's limit (ulimit -u), stop the "    \
	"node and start it, or end some, or raise the control group's "        \
	"(pids.max)"

static const char GOES_ON[] = "; the node goes on by itself then";

static const struct remedy {
	int error;
	unsigned places; /* mask; STARTS */
	enum fault_kind kind;
	const char *text;
} remedies[] = {
	{ EPERM, AT(RING), FAULT_SETUP,
	    "io_uring is refused: set sysctl kernel.io_uring_disabled to 0; "
	    "in a container let its system call filter (seccomp) pass "
	    "io_uring_setup, io_uring_enter and io_uring_register" },
	{ EACCES, AT(RING), FAULT_SETUP,
	    "io_uring is refused by a security module: allow it to this "
	    "program" },
	{ ENOSYS, AT(RING), FAULT_SETUP,
	    "io_uring is refused: the kernel must have it (6.1 or newer), and "
	    "a container's system call filter (seccomp) must pass "
	    "io_uring_setup, io_uring_enter and io_uring_register" },
	{ ENOMEM, AT(RING), FAULT_WORLD,
	    "raise the limit of locked memory (ulimit -l, LimitMEMLOCK=), "
	    "stop the node and start it, or the control group's memory limit" },
	{ EADDRINUSE, AT(LISTEN), FAULT_SETUP,
	    "another program has this address (ss -ltnp): end it, or choose "
	    "another one in [listen]" },
	{ EADDRNOTAVAIL, AT(LISTEN), FAULT_WORLD,
	    "this machine has no such address: bring its interface up, or "
	    "change [listen]" },
	{ ENOENT, AT(LISTEN), FAULT_WORLD,
	    "nobody knows this name now: look at the name service "
	    "(resolv.conf, /etc/hosts), or correct [listen]" },
	{ EACCES, AT(LISTEN), FAULT_SETUP,
	    "ports below 1024 need root at the start: choose a higher one in "
	    "[listen]" },
	{ ENOSPC, AT(SHM), FAULT_WORLD,
	    "make [store] table_size smaller, stop the node and start it, or "
	    "free space in "
	    "/dev/shm (df /dev/shm), or mount it larger (mount -o "
	    "remount,size=)" },
	{ ENOSPC, AT(STORE), FAULT_WORLD,
	    "raise [store] map_size, stop the node and start it, or delete "
	    "keys (DEL, "
	    "FLUSHALL)" },
	{ EIO, ANYWHERE, FAULT_WORLD,
	    "look at the disk and at the path to it (dmesg, smartctl), and "
	    "replace what fails" },
	{ EROFS, ANYWHERE, FAULT_WORLD,
	    "the file system is read-only: look for the cause (dmesg); after "
	    "an error of its own " MOUNT_AGAIN "; else mount it writable "
	    "(mount -o remount,rw)" },
	{ ENOSPC, ON_DISK, FAULT_WORLD,
	    "free space or inodes there (df, df -i)" },
	{ EDQUOT, ANYWHERE, FAULT_WORLD,
	    "the user's quota is used up: free space or raise it (quota)" },
	{ EFBIG, ANYWHERE, FAULT_WORLD,
	    "a limit of the size of files was hit: raise it (ulimit -f, "
	    "LimitFSIZE=), stop the node and start it, or that of the running "
	    "processes "
	    "(prlimit --fsize)" },
	{ ENODEV, ON_DISK | STARTS, FAULT_WORLD,
	    "the device is gone: bring it back, " MOUNT_AGAIN },
	{ ENXIO, ON_DISK | STARTS, FAULT_WORLD,
	    "the device is gone: bring it back, " MOUNT_AGAIN },
	{ ESTALE, ON_DISK | STARTS, FAULT_WORLD,
	    "the file server lost it: " MOUNT_AGAIN },
	{ ENOTCONN, ON_DISK, FAULT_WORLD,
	    "the file system's server is gone: " MOUNT_AGAIN
	    "; if it was mounted over what the node has open, unmount it" },
	{ ESHUTDOWN, ON_DISK | STARTS, FAULT_WORLD,
	    "the file system was shut down: look for the cause "
	    "(dmesg), " MOUNT_AGAIN },
	{ ETIMEDOUT, ON_DISK, FAULT_WORLD,
	    "the disk does not answer: look at it (dmesg) and at its path" },
	{ ENOLINK, ON_DISK, FAULT_WORLD,
	    "the path to the disk is cut: look at it (dmesg)" },
	{ EREMOTEIO, ON_DISK, FAULT_WORLD,
	    "look at the disk and at the path to it (dmesg, smartctl), and "
	    "replace what fails" },
	{ EUCLEAN, ON_DISK | STARTS, FAULT_WORLD,
	    "the file system is damaged: " MOUNT_AGAIN },
	{ ENOENT, AT(DATA), FAULT_SETUP,
	    "it is not there: is its file system mounted (findmnt), was it "
	    "moved? Found a new group (nodelifed --init) only if there never "
	    "was one" },
	{ EREMCHG, AT(DATA), FAULT_SETUP,
	    "put back the one that it was started with; if this one is right, "
	    "stop the node and start it" },
	{ EIDRM, AT(DATA), FAULT_SETUP,
	    "stop the node and start it, which makes a new one, or put back "
	    "the one that was here" },
	{ EBUSY, AT(DATA), FAULT_WORLD,
	    "if that process does not end, the kernel keeps it: look at the "
	    "disk (dmesg)" },
	{ ENOENT, ON_DISK, FAULT_SETUP, "create it, or correct the path" },
	{ ENOTDIR, ON_DISK, FAULT_SETUP,
	    "a part of the path is no directory: correct the path" },
	{ EISDIR, ON_DISK, FAULT_SETUP,
	    "a directory is where a file must be: move it away, and put back "
	    "the file that was there" },
	{ ELOOP, ON_DISK, FAULT_SETUP,
	    "a part of the path is a symbolic link of another user's: name "
	    "what it leads to, or give the link to root (chown -h root)" },
	{ EACCES, ON_DISK, FAULT_SETUP,
	    "give it to the node's user (chown), and let that user pass each "
	    "directory above it" },
	{ EPERM, ON_DISK, FAULT_SETUP,
	    "give it to the node's user (chown); if it is, look for the "
	    "attribute immutable (lsattr)" },
	{ EBADMSG, AT(DATA), FAULT_DAMAGE,
	    "what is on disk is not what was written: restore this node from "
	    "another one or from a copy; nodelifewal verify tells what is "
	    "good" },
	{ EPROTONOSUPPORT, AT(DATA), FAULT_SETUP,
	    "a newer release wrote it: start that one" },
	{ EMFILE, ANYWHERE, FAULT_WORLD,
	    "raise the limit of descriptors (ulimit -n, LimitNOFILE=), stop "
	    "the node and start it, or that of the running processes (prlimit "
	    "--nofile)" },
	{ ENFILE, ANYWHERE, FAULT_WORLD,
	    "the machine is out of descriptors: raise sysctl fs.file-max" },
	{ ENOMEM, ANYWHERE, FAULT_WORLD,
	    "free memory, or raise the limit of the control group (memory.max, "
	    "of version 1 memory.limit_in_bytes) or, by prlimit, of the "
	    "processes (ulimit -v)" },
	{ EAGAIN, AT(PROCESS), FAULT_WORLD, PROCESSES },
	/* What io_uring says when it could have no thread. */
	{ ECANCELED, ON_DISK, FAULT_WORLD, PROCESSES },
};

static const struct remedy *
remedy_find(int error, enum fault_place place)
{
	size_t i;

	ASSERT((unsigned)place < PLACE_COUNT);
	for (i = 0; i < NITEMS(remedies); i++)
		if (remedies[i].error == error &&
		    (remedies[i].places & 1u << place) != 0)
			return &remedies[i];
	return NULL;
}

const char *
fault_remedy(int error, enum fault_place place)
{
	const struct remedy *r = remedy_find(error, place);

	return r != NULL ? r->text : "";
}

enum fault_kind
fault_kind(int error, enum fault_place place)
{
	const struct remedy *r = remedy_find(error, place);

	return r != NULL ? r->kind : FAULT_PROGRAM;
}

/* The errno that the table has for it. */
static int
known_error(const struct fault *f)
{
	return f->error == EBADMSG && !f->damage ? EUCLEAN : f->error;
}

enum fault_kind
fault_kind_of(const struct fault *f)
{
	return fault_kind(known_error(f), f->place);
}

/* A file's name and what it is in; of less of an object nobody learns which. */
#define OBJECT_MIN 40

static void
part(char *buf, size_t size, const char *text)
{
	size_t len = strlen(buf);

	if (text == NULL || text[0] == '\0')
		return;
	snprintf(buf + len, size - len, "%s%s", len > 0 ? ": " : "", text);
}

/* All that comes behind the object but the command. */
static void
parts_behind(char *buf, size_t size, const struct fault *f)
{
	const struct remedy *r = remedy_find(known_error(f), f->place);
	const char *remedy = r != NULL ? r->text : "";
	size_t len;

	part(buf, size, f->call);
	if (f->what != NULL)
		part(buf, size, f->what);
	else if (f->error == EREMCHG)
		part(buf, size, FAULT_MOVED);
	else if (f->error == EIDRM)
		part(buf, size, FAULT_LOCK_GONE);
	else if (f->error != 0)
		part(buf, size, strerror(f->error));
	part(buf, size, f->effect);
	part(buf, size, remedy);
	if (f->goes_on && r != NULL && (r->places & STARTS) == 0 &&
	    (len = strlen(buf)) < size - 1)
		snprintf(buf + len, size - len, "%s", GOES_ON);
}

char *
fault_text(char *buf, size_t size, const struct fault *f)
{
	char rest[FAULT_LINE_MAX] = "";
	size_t len = strlen(f->object), left;
	size_t most = size < sizeof(rest) ? size : sizeof(rest);

	ASSERT(size > 0);
	parts_behind(rest, sizeof(rest), f);
	/* A part of a command is another command: all of it, or none. */
	if (f->command != NULL && (len < OBJECT_MIN ? len : OBJECT_MIN) +
					  strlen(rest) + strlen(f->command) +
					  2 * strlen(": ") <
				      most)
		part(rest, sizeof(rest), f->command);
	/* With ": " between them, and the NUL. */
	left = size > strlen(rest) + 3 ? size - strlen(rest) - 3 : 0;
	if (left < OBJECT_MIN)
		left = OBJECT_MIN;
	buf[0] = '\0';
	if (len > left)
		snprintf(buf, size, "...%s",
		    f->object + len - (left - strlen("...")));
	else
		part(buf, size, f->object);
	part(buf, size, rest);
	return buf;
}

char *
fault_text_in(char *buf, size_t size, const char *before, const char *text,
    const char *behind)
{
	static const char cut[] = "...";
	size_t len = strlen(text), around = strlen(before) + strlen(behind);
	size_t left = size > around ? size - around - 1 : 0;
	const char *dots = "";

	ASSERT(size > 0);
	if (len > left && left > strlen(cut)) {
		text += len - (left - strlen(cut));
		dots = cut;
	}
	snprintf(buf, size, "%s%s%s%s", before, dots, text, behind);
	return buf;
}

void
fault_final(char *text)
{
	char *at = strstr(text, GOES_ON);

	if (at != NULL)
		memmove(at, at + sizeof(GOES_ON) - 1,
		    strlen(at + sizeof(GOES_ON) - 1) + 1);
}
