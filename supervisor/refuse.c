/*
 * Saying no, and who we are allowed to be.
 */
#include "supervisor/refuse.h"

#include <errno.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "shm/denied.h"
#include "shm/say.h"

int
refuse(int code, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fprintf(stderr, "nodelifed: %s\n", text);
	if (say_fd() != STDERR_FILENO)
		say_errorx("%s", text);
	return code;
}

int
refuse_fault(int code, const struct fault *f)
{
	char text[1024];

	return refuse(code, "%s", fault_text(text, sizeof(text), f));
}

int
refuse_at(
    const char *object, const char *call, int error, enum fault_place place)
{
	struct fault f = { .object = object,
		.call = call,
		.error = error < 0 ? -error : error,
		.place = place };

	return refuse_fault(refuse_code(error), &f);
}

int
refuse_system(const char *call, int error)
{
	struct fault f = { .object = "the system",
		.call = call,
		.error = error < 0 ? -error : error,
		.place = PLACE_PROCESS };

	return refuse_fault(EX_OSERR, &f);
}

int
refuse_code(int error)
{
	switch (error < 0 ? -error : error) {
	case EACCES:
	case EPERM:
		return EX_NOPERM;
	case EADDRINUSE:
	case EBUSY:
		return EX_UNAVAILABLE;
	case EADDRNOTAVAIL:
		return EX_NOHOST;
	case EINVAL:
		return EX_CONFIG;
	case EMFILE:
	case ENFILE:
	case ENOMEM:
		return EX_OSERR;
	default:
		return EX_CANTCREAT;
	}
}

static int
refuse_user(const char *user, int error)
{
	char command[160];
	struct fault f = { .object = user,
		.call = "[node] user",
		.error = error,
		.place = PLACE_CONF,
		.what = error != 0 ? NULL : "no such user",
		.command = error != 0 ? NULL : command };

	snprintf(command, sizeof(command),
	    "useradd --system --no-create-home --shell /usr/sbin/nologin %s",
	    user);
	return refuse_fault(EX_CONFIG, &f);
}

int
rights_find(struct rights *r, const char *user)
{
	struct passwd *pw;

	r->drop = false;
	r->uid = geteuid();
	r->gid = getegid();
	if (user[0] == '\0')
		return 0;
	errno = 0;
	if ((pw = getpwnam(user)) == NULL)
		return refuse_user(user, errno);
	if (r->uid != 0) {
		if (pw->pw_uid != r->uid)
			say_warnx("user: %s: not started by root, so the "
				  "node stays user %u",
			    user, (unsigned)r->uid);
		return 0;
	}
	r->drop = true;
	r->uid = pw->pw_uid;
	r->gid = pw->pw_gid;
	return 0;
}

const char *
rights_owner(const struct rights *r, char buf[64])
{
	return denied_owner(buf, 64, r->uid, r->gid);
}
