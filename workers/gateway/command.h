/*
 * Commands: one table row each (command.c). A command of the store has a
 * build() that turns its arguments into one operation, so that it runs alone
 * and inside a MULTI from the same code; the others have a run().
 */
#ifndef WORKERS_GATEWAY_COMMAND_H
#define WORKERS_GATEWAY_COMMAND_H

#include <stdbool.h>
#include <stdint.h>
#include "workers/gateway/gateway.h"
#include "workers/gateway/io/reply.h"

#define COMMAND_NAME_MAX 16 /* longest name; lookup folds it into two words */
#define BUILD_ARGS       4
#define BUILD_ERROR_MAX  160
/* Arguments of what is not of the store: each may stand for many clients. */
#define COMMAND_WORDS_MAX 1024u
#define PATTERN_MAX       1024u /* a key has 511 bytes at most */

enum command_flag {
	CMD_WRITE = 1,
	CMD_READ = 2,
	CMD_NOAUTH = 4, /* allowed before AUTH */
	CMD_NOMULTI = 8, /* refused inside MULTI */
	CMD_NOQUEUE = 16, /* runs at once inside MULTI (EXEC, …) */
	CMD_ADMIN = 32,
	CMD_FAST = 64,
	CMD_BLOCKING = 128,
	CMD_DENYOOM = 256, /* it makes the store grow */
};

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

typedef enum verdict command_run(struct call *k);
/* False: b->error says why. */
typedef bool command_build(const struct call *k, struct built *b);

struct command {
	const char *name;
	int16_t arity; /* Redis': negative = at least */
	uint16_t flags;
	int16_t first, last, step; /* keys */
	command_run *run;
	command_build *build;
	const char *group, *since, *summary;
	const struct subcommand *subs; /* NULL = none */
};

/* Of a command that is several; the last one has no name. */
struct subcommand {
	const char *name;
	int arity; /* with both words */
	command_run *run;
};

/* Builds the lookup table; once, before gw_command_find(). */
void gw_command_init(void);
const struct command *gw_command_find(const uint8_t *name, size_t n);
uint32_t gw_command_count(void);
const struct command *gw_command_at(uint32_t i);
bool gw_command_arity_ok(const struct command *cmd, uint32_t argc);
/*
 * One command of a connection, its first argument being the name; or the next
 * share of its job.
 */
enum verdict gw_command_execute(struct gateway *g, struct conn *c,
    uint32_t argc, const struct op_arg *argv);

/* It has run: what is not of the store may be long without being much. */
void gw_call_work(const struct call *k);

/* The sink for this call's reply, asked for once there is one. */
static inline struct sink *
call_out(struct call *k)
{
	if (k->out == NULL)
		k->out = gw_conn_sink(k->g, k->c);
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
/* "-NOMASTER …" or what else refuses a read or write here. */
enum verdict call_refused(struct call *k);
/* It would change more than one record may: nothing is appended. */
enum verdict call_too_much(struct call *k, uint64_t need);
/* The store has no room for what is of that level: said why. */
enum verdict call_full(struct call *k, enum refuses level);

/* Arguments. */
bool arg_is(const struct op_arg *a, const char *word); /* any case */
bool arg_i64(const struct op_arg *a, int64_t *out);
bool arg_double(const struct op_arg *a, long double *out);
__attribute__((format(printf, 2, 3))) bool
build_error(struct built *b, const char *fmt, ...);
bool build_syntax(struct built *b);
/* Checks on what goes into the store; false with b->error. */
bool build_key(struct built *b, const struct op_arg *key);
/* A read: nobody has a longer key, but no record can hold one. */
bool
build_read_key(const struct call *k, struct built *b, const struct op_arg *key);
bool build_value(const struct call *k, struct built *b, const struct op_arg *v);

/* MULTI state of a connection (cmd_multi.c). */
bool gw_multi_active(const struct conn *c);
void gw_multi_free(struct conn *c);
void gw_multi_spoil(struct conn *c); /* EXEC will abort */
enum verdict gw_multi_queue(struct call *k);
uint32_t gw_multi_queued(const struct conn *c);
/*
 * Where the answers to an EXEC's commands come from: the store's, one of ours,
 * ours unless the store's is nil, or the head of an array of ours whose last
 * element is the store's array. gw_exec_local() appends the i-th of ours
 * and says how long it is.
 */
enum exec_place { EXEC_STORE, EXEC_LOCAL, EXEC_UNLESS_NIL, EXEC_HEAD };
uint32_t gw_exec_count(const struct exec *x);
enum exec_place gw_exec_place(const struct exec *x, uint32_t i);
size_t gw_exec_local(const struct exec *x, uint32_t i, struct sink *out);
void gw_exec_free(struct exec *x);
size_t gw_exec_bytes(const struct exec *x);
size_t gw_multi_bytes(const struct multi *m);

/* SCAN's cursors (cmd_scan.c). */
void gw_scan_free(struct gateway *g);

/* Client-visible session state (cmd_conn.c). */
void gw_session_reset(struct gateway *g, struct conn *c);

/*
 * Arguments being copied into a buffer, to its byte `to`: u32 length, bytes,
 * each. True: all are there; false: the turn's share is used up, go on with
 * the same ones, wherever they and the buffer are then.
 */
#define ARGS_SHARE 4096u /* dealt with between two looks at the clock */
struct args_copy {
	size_t to;
	uint32_t next, off; /* argument, and how much of it is copied */
};
bool gw_args_copy(struct gateway *g, struct args_copy *a, uint8_t *buf,
    uint32_t argc, const struct op_arg *argv);
/* So much that it is copied in shares? */
#define LONG_REQUEST (512u * 1024) /* bytes */
bool gw_is_long(uint32_t argc, const struct op_arg *argv);
/* The head of an operation, at buf[off]; its arguments are to be copied. */
struct args_copy gw_op_begin(const struct built *b, uint8_t *at, size_t off);

/* Generic runs: of commands with a build(), and with subcommands. */
command_run gw_run_op, gw_run_sub;

#endif
