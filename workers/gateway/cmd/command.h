/*
 * Commands: one table row each (command.c). A command of the store has a
 * build() that turns its arguments into one operation, so that it runs alone
 * and inside a MULTI from the same code; the others have a run().
 */
#ifndef WORKERS_GATEWAY_CMD_COMMAND_H
#define WORKERS_GATEWAY_CMD_COMMAND_H

#include <stdbool.h>
#include <stdint.h>
#include "workers/gateway/exec/args.h"
#include "workers/gateway/exec/call.h"

#define COMMAND_NAME_MAX 16 /* longest name; lookup folds it into two words */
#define GW_CURSORS       4096u
#define GW_NAME_MAX      1024u /* of a client or its library */
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

/* INFO (info.c). */
/* A bit for each section that the word ("default", "all", a name) means. */
unsigned gw_info_sections(const char *word);
/* INFO's text: each section wanted once, in their order. */
void gw_info(struct gateway *g, unsigned wanted, struct sink *out);
__attribute__((format(printf, 2, 3))) void
gw_info_line(struct sink *out, const char *fmt, ...);
void gw_info_replication(struct gateway *g, struct sink *out); /* cmd_group.c */

/* SCAN's cursors (cmd_scan.c). */
void gw_scan_free(struct gateway *g);

/* The ways up from below (serve.c), and what they keep. */
extern const struct gw_up gw_serve_up;
void gw_serve_init(struct gateway *g);
void gw_serve_fini(struct gateway *g);

/* Generic runs: of commands with a build(), and with subcommands. */
command_run gw_run_op, gw_run_sub;

#endif
