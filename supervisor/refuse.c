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

#include "shm/log.h"

int
refuse(int code, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fprintf(stderr, "nodelifed: %s\n", text);
	if (log_fd() != STDERR_FILENO)
		log_errorx("%s", text);
	return code;
}

int
refuse_code(int error)
{
	switch (error < 0 ? -error : error) {
	case EACCES:
	case EPERM:
	case EROFS:
		return EX_NOPERM;
	case EADDRINUSE:
	case EBUSY:
		return EX_UNAVAILABLE;
	case EADDRNOTAVAIL:
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
		return refuse(EX_CONFIG, "[node] user: %s: %s", user,
		    errno != 0 ? strerror(errno) : "no such user");
	if (r->uid != 0) {
		if (pw->pw_uid != r->uid)
			log_warnx("user: %s: not started by root, so the "
				  "node stays user %u",
			    user, (unsigned)r->uid);
		return 0;
	}
	r->drop = true;
	r->uid = pw->pw_uid;
	r->gid = pw->pw_gid;
	return 0;
}
