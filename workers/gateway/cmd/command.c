/*
 * The table of commands, their lookup, and the one way into each of them.
 * Names are letters only, at most 16: folded to lower case they are two
 * words, which is what the lookup hashes and compares.
 */
#include "workers/gateway/cmd/command.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "shm/assert.h"
#include "shm/trouble.h"
#include "workers/gateway/cmd/cmd.h"
#include "workers/gateway/exec/job.h"
#include "workers/gateway/exec/transaction.h"

#define FLOAT_ARG_MAX 5120 /* no longer text is a number to the store */

#define LOOKUP_SIZE    512u /* power of two, several times the commands */
#define ERROR_ARGS_MAX 128

#define W (CMD_WRITE | CMD_DENYOOM)
#define D CMD_WRITE /* deletes, renames, sets an expiry */
#define R CMD_READ
#define F CMD_FAST

/* name, arity, flags, first, last, step, run, build, group, since, summary,
   subcommands */
static const struct command commands[] = {
/* flat dispatch */
#define OP(name, arity, flags, first, last, step, build, group, since, text)   \
	{                                                                      \
		name, arity, flags, first, last, step, gw_run_op, build,       \
		    group, since, text, NULL                                   \
	}
#define LOCAL(name, arity, flags, run, group, since, text)                     \
	{                                                                      \
		name, arity, flags, 0, 0, 0, run, NULL, group, since, text,    \
		    NULL                                                       \
	}
	{ "get", 2, R | F, 1, 1, 1, gw_run_get, gw_build_get, "string", "1.0.0",
	    "Get the value of a key", NULL },
	{ "set", -3, W, 1, 1, 1, gw_run_set, gw_build_set, "string", "1.0.0",
	    "Set the value of a key", NULL },
	OP("append", 3, W | F, 1, 1, 1, gw_build_append, "string", "2.0.0",
	    "Append to the value of a key"),
	OP("decr", 2, W | F, 1, 1, 1, gw_build_incr, "string", "1.0.0",
	    "Decrement the integer value of a key by one"),
	OP("decrby", 3, W | F, 1, 1, 1, gw_build_incrby, "string", "1.0.0",
	    "Decrement the integer value of a key by a number"),
	OP("getdel", 2, D | F, 1, 1, 1, gw_build_getdel, "string", "6.2.0",
	    "Get the value of a key and delete it"),
	OP("getex", -2, D | F, 1, 1, 1, gw_build_getex, "string", "6.2.0",
	    "Get the value of a key and change its expiry"),
	{ "getrange", 4, R, 1, 1, 1, gw_run_getrange, gw_build_getrange,
	    "string", "2.4.0", "Get a part of the value of a key", NULL },
	OP("getset", 3, W | F, 1, 1, 1, gw_build_getset, "string", "1.0.0",
	    "Set the value of a key and get the old one"),
	OP("incr", 2, W | F, 1, 1, 1, gw_build_incr, "string", "1.0.0",
	    "Increment the integer value of a key by one"),
	OP("incrby", 3, W | F, 1, 1, 1, gw_build_incrby, "string", "1.0.0",
	    "Increment the integer value of a key by a number"),
	OP("incrbyfloat", 3, W | F, 1, 1, 1, gw_build_incrbyfloat, "string",
	    "2.6.0", "Increment the float value of a key by a number"),
	{ "mget", -2, R | F, 1, -1, 1, gw_run_many, gw_build_mget, "string",
	    "1.0.0", "Get the values of all the given keys", NULL },
	OP("mset", -3, W, 1, -1, 2, gw_build_mset, "string", "1.0.1",
	    "Set several keys to several values"),
	OP("msetnx", -3, W, 1, -1, 2, gw_build_mset, "string", "1.0.1",
	    "Set several keys if none of them exists"),
	OP("psetex", 4, W, 1, 1, 1, gw_build_setex, "string", "2.6.0",
	    "Set a value and an expiry in milliseconds"),
	OP("setex", 4, W, 1, 1, 1, gw_build_setex, "string", "2.0.0",
	    "Set a value and an expiry in seconds"),
	OP("setnx", 3, W | F, 1, 1, 1, gw_build_setnx, "string", "1.0.0",
	    "Set the value of a key that does not exist"),
	OP("setrange", 4, W, 1, 1, 1, gw_build_setrange, "string", "2.2.0",
	    "Overwrite a part of the value of a key"),
	OP("strlen", 2, R | F, 1, 1, 1, gw_build_key_read, "string", "2.2.0",
	    "Get the length of the value of a key"),
	{ "substr", 4, R, 1, 1, 1, gw_run_getrange, gw_build_getrange, "string",
	    "1.0.0", "Get a part of the value of a key", NULL },

	OP("dbsize", 1, R | F, 0, 0, 0, gw_build_bare_read, "server", "1.0.0",
	    "The number of keys"),
	OP("del", -2, D, 1, -1, 1, gw_build_del, "generic", "1.0.0",
	    "Delete keys"),
	{ "exists", -2, R | F, 1, -1, 1, gw_run_many, gw_build_keys_read,
	    "generic", "1.0.0", "How many of the keys exist", NULL },
	OP("expire", -3, D | F, 1, 1, 1, gw_build_expire, "generic", "1.0.0",
	    "Set a key's time to live in seconds"),
	OP("expireat", -3, D | F, 1, 1, 1, gw_build_expire, "generic", "1.2.0",
	    "Set the second at which a key expires"),
	OP("expiretime", 2, R | F, 1, 1, 1, gw_build_key_read, "generic",
	    "7.0.0", "The second at which a key expires"),
	OP("flushall", -1, D, 0, 0, 0, gw_build_flush, "server", "1.0.0",
	    "Remove all keys"),
	OP("flushdb", -1, D, 0, 0, 0, gw_build_flush, "server", "1.0.0",
	    "Remove all keys"),
	{ "keys", 2, R, 0, 0, 0, gw_run_keys, gw_build_keys, "generic", "1.0.0",
	    "Find all keys that match a pattern", NULL },
	OP("persist", 2, D | F, 1, 1, 1, gw_build_persist, "generic", "2.2.0",
	    "Remove the expiry of a key"),
	OP("pexpire", -3, D | F, 1, 1, 1, gw_build_expire, "generic", "2.6.0",
	    "Set a key's time to live in milliseconds"),
	OP("pexpireat", -3, D | F, 1, 1, 1, gw_build_expire, "generic", "2.6.0",
	    "Set the millisecond at which a key expires"),
	OP("pexpiretime", 2, R | F, 1, 1, 1, gw_build_key_read, "generic",
	    "7.0.0", "The millisecond at which a key expires"),
	OP("pttl", 2, R | F, 1, 1, 1, gw_build_key_read, "generic", "2.6.0",
	    "A key's time to live in milliseconds"),
	OP("randomkey", 1, R, 0, 0, 0, gw_build_bare_read, "generic", "1.0.0",
	    "A random key"),
	OP("rename", 3, D, 1, 2, 1, gw_build_rename, "generic", "1.0.0",
	    "Rename a key"),
	OP("renamenx", 3, D | F, 1, 2, 1, gw_build_rename, "generic", "1.0.0",
	    "Rename a key if the new name is free"),
	{ "touch", -2, R | F, 1, -1, 1, gw_run_many, gw_build_keys_read,
	    "generic", "3.2.1", "How many of the keys exist", NULL },
	OP("ttl", 2, R | F, 1, 1, 1, gw_build_key_read, "generic", "1.0.0",
	    "A key's time to live in seconds"),
	OP("type", 2, R | F, 1, 1, 1, gw_build_key_read, "generic", "1.0.0",
	    "The type of a key"),
	OP("unlink", -2, D | F, 1, -1, 1, gw_build_del, "generic", "4.0.0",
	    "Delete keys"),
	LOCAL("scan", -2, R, gw_run_scan, "generic", "2.8.0",
	    "Iterate over the keys"),

	LOCAL("discard", 1, CMD_NOQUEUE | F, gw_run_discard, "transactions",
	    "2.0.0", "Drop what MULTI queued"),
	LOCAL("exec", 1, CMD_NOQUEUE, gw_run_exec, "transactions", "1.2.0",
	    "Run what MULTI queued, as one"),
	LOCAL("multi", 1, CMD_NOQUEUE | F, gw_run_multi, "transactions",
	    "1.2.0", "Begin a transaction"),
	LOCAL("unwatch", 1, F, gw_run_unwatch, "transactions", "2.2.0",
	    "Forget the watched keys"),
	{ "watch", -2, CMD_NOQUEUE | F, 1, -1, 1, gw_run_watch, NULL,
	    "transactions", "2.2.0", "Make EXEC fail if a key changes", NULL },

	LOCAL("auth", -2, CMD_NOAUTH | F, gw_run_auth, "connection", "1.0.0",
	    "Say the password"),
	{ "client", -2, 0, 0, 0, 0, gw_run_sub, NULL, "connection", "2.4.0",
	    "This and other connections", gw_client_subs },
	LOCAL("echo", 2, F, gw_run_echo, "connection", "1.0.0",
	    "Answer the argument"),
	LOCAL("hello", -1, CMD_NOAUTH | CMD_NOMULTI | F, gw_run_hello,
	    "connection", "6.0.0", "Choose the protocol"),
	LOCAL("ping", -1, F, gw_run_ping, "connection", "1.0.0",
	    "Answer PONG or the argument"),
	LOCAL("quit", -1, CMD_NOAUTH | CMD_NOQUEUE | F, gw_run_quit,
	    "connection", "1.0.0", "Close the connection"),
	LOCAL("readonly", 1, F, gw_run_readonly, "connection", "3.0.0",
	    "Read what this member has, whoever is master"),
	LOCAL("readwrite", 1, F, gw_run_readwrite, "connection", "3.0.0",
	    "Read the newest, from the master"),
	LOCAL("reset", 1, CMD_NOAUTH | CMD_NOQUEUE | F, gw_run_reset,
	    "connection", "6.2.0", "Make the connection as new"),
	LOCAL("select", 2, F, gw_run_select, "connection", "1.0.0",
	    "Choose the database: there is one, 0"),

	{ "command", -1, 0, 0, 0, 0, gw_run_command, NULL, "server", "2.8.13",
	    "What commands there are", gw_command_subs },
	{ "config", -2, CMD_ADMIN, 0, 0, 0, gw_run_sub, NULL, "server", "2.0.0",
	    "Settings, read-only", gw_config_subs },
	LOCAL("info", -1, 0, gw_run_info, "server", "1.0.0",
	    "State and counters"),
	{ "nodelife", -2, 0, 0, 0, 0, gw_run_sub, NULL, "server", "7.0.0",
	    "State of the replicated node", gw_nodelife_subs },
	LOCAL("role", 1, F, gw_run_role, "server", "2.8.12",
	    "The node's place in the group"),
	LOCAL("shutdown", -1, CMD_ADMIN | CMD_NOMULTI, gw_run_shutdown,
	    "server", "1.0.0", "Stop the node"),
	LOCAL("time", 1, F, gw_run_time, "server", "2.6.0", "The time here"),
	LOCAL("wait", 3, CMD_BLOCKING, gw_run_wait, "generic", "3.0.0",
	    "Wait until writes are committed; how many replicas have them"),
	LOCAL("waitaof", 4, CMD_BLOCKING, gw_run_waitaof, "generic", "7.2.0",
	    "Wait until writes are durable"),
#undef OP
#undef LOCAL
};

/* A name folded to lower case, zero-filled. */
struct folded {
	uint64_t a, b;
};

static struct {
	struct folded name;
	const struct command *cmd;
} lookup[LOOKUP_SIZE];

#define FOLD UINT64_C(0x2020202020202020)

static struct folded
fold(const uint8_t *name, size_t n)
{
	uint8_t bytes[COMMAND_NAME_MAX] = { 0 };
	struct folded f;

	/* A zero becomes a blank: no letter, so nothing is confused. */
	memcpy(bytes, name, n);
	memcpy(&f.a, bytes, 8);
	memcpy(&f.b, bytes + 8, 8);
	f.a |= FOLD;
	f.b |= FOLD;
	return f;
}

static unsigned
fold_slot(struct folded f)
{
	uint64_t h = (f.a ^ f.b * 31) * UINT64_C(0x9e3779b97f4a7c15);

	return (unsigned)(h >> 55) & (LOOKUP_SIZE - 1);
}

void
gw_command_init(void)
{
	unsigned i, at;

	/* Built already? Of the table's places any may be empty. */
	if (gw_command_find((const uint8_t *)commands[0].name,
		strlen(commands[0].name)) != NULL)
		return;
	for (i = 0; i < NITEMS(commands); i++) {
		size_t n = strlen(commands[i].name);
		struct folded f;

		ASSERT(n <= COMMAND_NAME_MAX);
		f = fold((const uint8_t *)commands[i].name, n);
		at = fold_slot(f);
		while (lookup[at].cmd != NULL)
			at = (at + 1) & (LOOKUP_SIZE - 1);
		lookup[at].name = f;
		lookup[at].cmd = &commands[i];
	}
}

const struct command *
gw_command_find(const uint8_t *name, size_t n)
{
	struct folded f;
	unsigned at;

	if (n == 0 || n > COMMAND_NAME_MAX)
		return NULL;
	f = fold(name, n);
	for (at = fold_slot(f); lookup[at].cmd != NULL;
	     at = (at + 1) & (LOOKUP_SIZE - 1))
		if (lookup[at].name.a == f.a && lookup[at].name.b == f.b)
			return strlen(lookup[at].cmd->name) == n
				   ? lookup[at].cmd
				   : NULL;
	return NULL;
}

uint32_t
gw_command_count(void)
{
	return NITEMS(commands);
}

const struct command *
gw_command_at(uint32_t i)
{
	return i < NITEMS(commands) ? &commands[i] : NULL;
}

static bool
arity_ok(int arity, uint32_t argc)
{
	return arity > 0 ? argc == (uint32_t)arity : argc >= (uint32_t)-arity;
}

bool
gw_command_arity_ok(const struct command *cmd, uint32_t argc)
{
	return arity_ok(cmd->arity, argc);
}

/* ---- errors ---- */

static void
error_unknown(struct call *k)
{
	char args[ERROR_ARGS_MAX + 160];
	size_t len = 0;
	uint32_t i;

	args[0] = '\0';
	for (i = 1; i < k->argc && len < ERROR_ARGS_MAX; i++) {
		int room = (int)(ERROR_ARGS_MAX - len);
		int n = (int)k->argv[i].len;

		len +=
		    (size_t)snprintf(args + len, sizeof(args) - len, "'%.*s' ",
			n < room ? n : room, (const char *)k->argv[i].data);
	}
	call_error(k,
	    "ERR unknown command '%.*s', with args beginning with: "
	    "%s",
	    k->argv[0].len < 128 ? (int)k->argv[0].len : 128,
	    (const char *)k->argv[0].data, args);
}

/* The subcommand that is asked for, or NULL. */
static const struct subcommand *
sub_find(const struct call *k)
{
	const struct subcommand *sub = k->cmd->subs;

	while (sub->name != NULL && !arg_is(&k->argv[1], sub->name))
		sub++;
	return sub->name != NULL ? sub : NULL;
}

/* Is it known and complete? Else answered. */
static bool
sub_check(struct call *k)
{
	const struct command *cmd = k->cmd;
	const struct subcommand *sub;

	if (cmd->subs == NULL || k->argc == 1)
		return true;
	if ((sub = sub_find(k)) == NULL)
		call_error(k, "ERR unknown subcommand '%.*s'. Try %.*s HELP.",
		    k->argv[1].len < 64 ? (int)k->argv[1].len : 64,
		    (const char *)k->argv[1].data, (int)k->argv[0].len,
		    (const char *)k->argv[0].data);
	else if (!arity_ok(sub->arity, k->argc))
		call_error(k,
		    "ERR wrong number of arguments for '%s|%s' command",
		    cmd->name, sub->name);
	else
		return true;
	return false;
}

enum verdict
gw_run_sub(struct call *k)
{
	return sub_find(k)->run(k);
}

/* Known, complete, allowed: or answered, and spoiling a MULTI. */
static bool
call_check(struct call *k)
{
	const struct command *cmd = k->cmd;

	/* A wrong EXEC ends its MULTI, and says so. */
	const char *abort = cmd != NULL && cmd->run == gw_run_exec
				? "EXECABORT Transaction discarded because of: "
				: NULL;

	if (cmd == NULL)
		error_unknown(k);
	else if (!gw_command_arity_ok(cmd, k->argc))
		call_error(k, "%swrong number of arguments for '%s' command",
		    abort != NULL ? abort : "ERR ", cmd->name);
	else if ((k->c->flags & CONN_AUTHED) == 0 &&
		 (cmd->flags & CMD_NOAUTH) == 0)
		call_error(k, "%sNOAUTH Authentication required.",
		    abort != NULL ? abort : "");
	else if (cmd->build == NULL && cmd->first == 0 &&
		 k->argc > COMMAND_WORDS_MAX)
		call_error(
		    k, "ERR too many arguments for '%s' command", cmd->name);
	else if (cmd->build == NULL && !sub_check(k))
		; /* it has said why */
	else if ((cmd->flags & CMD_NOMULTI) != 0 && gw_multi_active(k->c))
		call_error(k, "ERR Command not allowed inside a transaction");
	else
		return true;
	if (abort != NULL)
		gw_multi_free(k->c);
	else
		gw_multi_spoil(k->c);
	return false;
}

/* CLIENT REPLY SKIP: the command after it is not answered. */
static void
skip_step(struct conn *c)
{
	c->flags &= ~(unsigned)CONN_SKIP;
	if ((c->flags & CONN_SKIP_NEXT) != 0) {
		c->flags &= ~(unsigned)CONN_SKIP_NEXT;
		c->flags |= CONN_SKIP;
	}
}

void
gw_call_work(const struct call *k)
{
	const struct command *cmd = k->cmd;

	if (cmd != NULL && cmd->build == NULL && (cmd->flags & CMD_FAST) == 0)
		gw_turn_look(k->g);
}

/* Its part is done; if all of it is, it counts. */
static enum verdict
call_over(struct call *k, enum verdict v)
{
	if (v == VERDICT_PARKED) {
		ASSERT(k->c->park != PARK_NOT);
		return v;
	}
	gw_call_work(k);
	k->c->last_command = k->cmd;
	k->g->n_commands++;
	if ((k->c->flags & (CONN_SKIP | CONN_SKIP_NEXT)) != 0)
		skip_step(k->c);
	return VERDICT_DONE;
}

enum verdict
gw_command_execute(
    struct gateway *g, struct conn *c, uint32_t argc, const struct op_arg *argv)
{
	struct call k = {
		.g = g, .c = c, .argc = argc, .argv = argv, .job = &c->job
	};
	enum verdict v = VERDICT_DONE;

	if (c->job != NULL)
		return call_over(&k, gw_job_resume(&k));
	k.cmd = gw_command_find(argv[0].data, argv[0].len);
	if (k.cmd == NULL && resp_is_http(argv[0].data, argv[0].len)) {
		gw_conn_http(&g->io, c);
		return VERDICT_DONE;
	}
	if (call_check(&k)) {
		if (gw_multi_active(c) && (k.cmd->flags & CMD_NOQUEUE) == 0)
			v = gw_multi_queue(&k);
		else
			v = k.cmd->run(&k);
	}
	return call_over(&k, v);
}

/* ---- arguments ---- */

bool
arg_is(const struct op_arg *a, const char *word)
{
	uint32_t i;

	for (i = 0; i < a->len && word[i] != '\0'; i++)
		if (tolower(a->data[i]) != tolower((unsigned char)word[i]))
			return false;
	return i == a->len && word[i] == '\0';
}

/* Strict, as Redis' string2ll: no blanks, no '+', no leading zeros. */
bool
arg_i64(const struct op_arg *a, int64_t *out)
{
	bool minus = a->len > 0 && a->data[0] == '-';
	uint32_t i = minus;
	uint64_t v = 0;

	if (a->len == i || a->len - i > 19)
		return false;
	if (a->data[i] == '0' && a->len > 1)
		return false;
	for (; i < a->len; i++) {
		if (a->data[i] < '0' || a->data[i] > '9')
			return false;
		v = v * 10 + (uint64_t)(a->data[i] - '0');
	}
	/* 19 digits fit a u64, so nothing has wrapped. */
	if (v > (uint64_t)INT64_MAX + minus)
		return false;
	*out = minus ? (int64_t)(0 - v) : (int64_t)v;
	return true;
}

bool
arg_double(const struct op_arg *a, long double *out)
{
	char text[FLOAT_ARG_MAX], *end;

	if (a->len == 0 || a->len >= sizeof(text) || isspace(a->data[0]))
		return false;
	memcpy(text, a->data, a->len);
	text[a->len] = '\0';
	errno = 0;
	*out = strtold(text, &end);
	return end == text + a->len && errno != ERANGE && !isnan(*out);
}

bool
build_error(struct built *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(b->error, sizeof(b->error), fmt, ap);
	va_end(ap);
	return false;
}

bool
build_syntax(struct built *b)
{
	return build_error(b, "ERR syntax error");
}

bool
build_key(struct built *b, const struct op_arg *key)
{
	if (key->len > KEY_MAX)
		return build_error(b, "ERR key is longer than 511 bytes");
	return true;
}

bool
build_read_key(const struct call *k, struct built *b, const struct op_arg *key)
{
	return !k->in_exec || build_key(b, key);
}

bool
build_value(const struct call *k, struct built *b, const struct op_arg *v)
{
	if (v->len > k->g->w->conf->store.max_value)
		return build_error(b, "ERR value exceeds max_value");
	return true;
}
