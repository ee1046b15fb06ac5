/*
 * One command on its way: what it was given, how it answers, and the operation
 * that it may be.
 */
#ifndef WORKERS_GATEWAY_EXEC_CALL_H
#define WORKERS_GATEWAY_EXEC_CALL_H

#include <stdbool.h>
#include <stdint.h>
#include "workers/gateway/exec/exec.h"
#include "workers/gateway/io/reply.h"

#define BUILD_ARGS      4
#define BUILD_ERROR_MAX 160

enum verdict {
	VERDICT_DONE, /* answered, or its reply is owed in order */
	VERDICT_PARKED, /* the same command runs again later */
};

/* One command on its way. argv points into received bytes. */
struct call {
	struct gateway *g;
	struct conn *c;
	const struct command *cmd;
	uint32_t argc;
	const struct op_arg *argv;
	struct sink *out; /* NULL until call_out() */
	struct job **job; /* where it is kept if it takes several turns */
	bool in_exec;
};

/* What build() makes. argv may point to call's argv, `own` or `bytes`. */
struct built {
	uint16_t code, flags;
	bool early;
	int64_t num;
	uint32_t argc;
	const struct op_arg *argv;
	struct op_arg own[BUILD_ARGS];
	uint8_t bytes[32];
	/* Why build() failed. If it did not: what to answer unless the
	   operation, a GET, gives nil. "" = neither. */
	char error[BUILD_ERROR_MAX];
};

/* Where the next reply of the connection goes, in its order. */
struct sink *gw_reply_sink(struct gateway *g, struct conn *c);

/* The sink for this call's reply, asked for once there is one. */
static inline struct sink *
call_out(struct call *k)
{
	if (k->out == NULL)
		k->out = gw_reply_sink(k->g, k->c);
	return k->out;
}

__attribute__((format(printf, 2, 3))) void
call_error(struct call *k, const char *fmt, ...);
/*
 * All of `from` is its reply, or the end of it; from is empty then. One that
 * is too long is an error in its place.
 */
void call_join(struct call *k, struct sink *from);
enum verdict call_error_done(struct call *k, const char *text);
enum verdict call_syntax(struct call *k);
/* "-NOMASTER …" or what else refuses a read here. */
enum verdict call_refused(struct call *k);
/* May it write here? Else that is answered. */
bool call_may_write(struct call *k);
/* It would change more than one record may: nothing is appended. */
enum verdict call_too_much(struct call *k, uint64_t need);
/* The store has no room for what is of that level: said why. */
enum verdict call_full(struct call *k, enum refuses level);

#endif
