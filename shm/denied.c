/* Want of rights, explained; see denied.h. */
#include "shm/denied.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

char *
denied_user(char buf[32], uid_t uid)
{
	const struct passwd *pw = getpwuid(uid);

	if (pw != NULL)
		snprintf(buf, 32, "%s", pw->pw_name);
	else
		snprintf(buf, 32, "%u", (unsigned)uid);
	return buf;
}

char *
denied_owner(char *buf, size_t size, uid_t uid, gid_t gid)
{
	const struct passwd *pw = getpwuid(uid);

	if (pw != NULL)
		snprintf(buf, size, "%s:", pw->pw_name);
	else
		snprintf(buf, size, "%u:%u", (unsigned)uid, (unsigned)gid);
	return buf;
}

char *
denied_what(char *buf, size_t size, int error, uid_t uid, const struct stat *st)
{
	char user[32], owner[32], whose[80] = "";

	if (st->st_mode != 0)
		snprintf(whose, sizeof(whose), " (owner %s, mode %04o)",
		    denied_user(owner, st->st_uid),
		    (unsigned)st->st_mode & 07777);
	snprintf(buf, size, "%s for user %s%s", strerror(error),
	    denied_user(user, uid), whose);
	return buf;
}

/* What is in a directory of another user's will be so, too. */
static bool
is_tree(const char *path, const struct stat *st)
{
	struct stat name;

	return S_ISDIR(st->st_mode) && lstat(path, &name) == 0 &&
	       S_ISDIR(name.st_mode);
}

char *
denied_command(char *buf, size_t size, uid_t uid, gid_t gid, const char *path,
    const struct stat *st)
{
	char owner[64];

	if (st->st_mode != 0 && st->st_uid == uid)
		snprintf(buf, size, "chmod u+rw%s %s",
		    S_ISDIR(st->st_mode) ? "x" : "", path);
	else
		snprintf(buf, size, "chown %s%s %s",
		    is_tree(path, st) ? "-R " : "",
		    denied_owner(owner, sizeof(owner), uid, gid), path);
	return buf;
}

static bool
keeps_out(const char *path, int how)
{
	return faccessat(AT_FDCWD, path, how, AT_EACCESS) != 0 &&
	       errno == EACCES;
}

/* The first of the way to it, it, or where it must be made or renamed. */
static bool
find(const char *object, char culprit[PATH_MAX])
{
	size_t len = 0, last;
	struct stat st;

	do {
		last = len;
		len += 1 + strcspn(object + len + 1, "/");
		if (object[len] == '\0' || len >= PATH_MAX)
			break;
		snprintf(culprit, PATH_MAX, "%.*s", (int)len, object);
	} while (!keeps_out(culprit, X_OK));
	if (object[len] != '\0')
		return len < PATH_MAX;
	snprintf(culprit, PATH_MAX, "%s", object);
	if (stat(object, &st) == 0 &&
	    keeps_out(object, R_OK | W_OK | (S_ISDIR(st.st_mode) ? X_OK : 0)))
		return true;
	snprintf(culprit, PATH_MAX, "%.*s", (int)last, object);
	return last > 0 && keeps_out(culprit, W_OK | X_OK);
}

static bool
is_below(const char *path, const char *base)
{
	size_t len = strlen(base);

	return strncmp(path, base, len) == 0 &&
	       (path[len] == '\0' || path[len] == '/');
}

void
denied_explain(struct fault *f, const char *base, struct denied *d)
{
	struct stat st;

	if (f->error != EACCES || f->what != NULL || f->object[0] != '/' ||
	    !find(f->object, d->path))
		return;
	if (stat(d->path, &st) != 0)
		st.st_mode = 0;
	f->object = d->path;
	f->what =
	    denied_what(d->what, sizeof(d->what), f->error, geteuid(), &st);
	if (is_below(d->path, base))
		f->command = denied_command(d->command, sizeof(d->command),
		    geteuid(), getegid(), d->path, &st);
}
