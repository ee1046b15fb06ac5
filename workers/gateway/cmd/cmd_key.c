/*
 * Commands on keys whatever they hold: each turns into one operation.
 */
#include "shm/assert.h"
#include "workers/gateway/cmd/cmd.h"

static const struct {
	const char *name;
	uint16_t code;
} reads[] = {
	{ "exists", OP_EXISTS },
	{ "expiretime", OP_EXPIRETIME },
	{ "dbsize", OP_DBSIZE },
	{ "pexpiretime", OP_PEXPIRETIME },
	{ "pttl", OP_PTTL },
	{ "randomkey", OP_RANDOMKEY },
	{ "strlen", OP_STRLEN },
	{ "touch", OP_TOUCH },
	{ "ttl", OP_TTL },
	{ "type", OP_TYPE },
};

static uint16_t
read_code(const struct call *k)
{
	unsigned i;

	for (i = 0; i < NITEMS(reads); i++)
		if (strcmp(reads[i].name, k->cmd->name) == 0)
			return reads[i].code;
	ASSERT(!"a reading command without an operation");
	return 0;
}

static bool
build_keys(const struct call *k, struct built *b, uint16_t code)
{
	uint32_t i;

	b->code = code;
	b->argc = k->argc - 1;
	b->argv = k->argv + 1;
	for (i = 1; i < k->argc; i++)
		if (!build_key(b, &k->argv[i]))
			return false;
	return true;
}

static bool
build_read_keys(const struct call *k, struct built *b)
{
	uint32_t i;

	b->code = read_code(k);
	b->argc = k->argc - 1;
	b->argv = k->argv + 1;
	for (i = 1; i < k->argc; i++)
		if (!build_read_key(k, b, &k->argv[i]))
			return false;
	return true;
}

bool
gw_build_key_read(const struct call *k, struct built *b)
{
	return build_read_keys(k, b);
}

bool
gw_build_keys_read(const struct call *k, struct built *b)
{
	return build_read_keys(k, b);
}

bool
gw_build_bare_read(const struct call *k, struct built *b)
{
	b->code = read_code(k);
	b->argc = 0;
	b->argv = NULL;
	return true;
}

bool
gw_build_del(const struct call *k, struct built *b)
{
	return build_keys(k, b, OP_DEL);
}

bool
gw_build_persist(const struct call *k, struct built *b)
{
	return build_keys(k, b, OP_PERSIST);
}

bool
gw_build_rename(const struct call *k, struct built *b)
{
	if (k->cmd->name[6] != '\0')
		b->flags = OPF_NX;
	return build_keys(k, b, OP_RENAME);
}

bool
gw_build_flush(const struct call *k, struct built *b)
{
	if (k->argc > 2 || (k->argc == 2 && !arg_is(&k->argv[1], "async") &&
			       !arg_is(&k->argv[1], "sync")))
		return build_syntax(b);
	b->code = OP_FLUSHALL;
	b->argc = 0;
	b->argv = NULL;
	return true;
}

/* ---- EXPIRE, PEXPIRE, EXPIREAT, PEXPIREAT ---- */

static bool
expire_options(const struct call *k, struct built *b)
{
	static const struct {
		const char *word;
		uint16_t flag;
	} words[] = { { "nx", OPF_NX }, { "xx", OPF_XX }, { "gt", OPF_GT },
		{ "lt", OPF_LT } };
	uint32_t i;
	unsigned j;

	for (i = 3; i < k->argc; i++) {
		for (j = 0; j < NITEMS(words); j++)
			if (arg_is(&k->argv[i], words[j].word))
				break;
		if (j == NITEMS(words))
			return build_error(b, "ERR Unsupported option %.*s",
			    k->argv[i].len < 64 ? (int)k->argv[i].len : 64,
			    (const char *)k->argv[i].data);
		b->flags |= words[j].flag;
	}
	if ((b->flags & OPF_NX) != 0 && b->flags != OPF_NX)
		return build_error(b, "ERR NX and XX, GT or LT options at the "
				      "same time are not compatible");
	if ((b->flags & (OPF_GT | OPF_LT)) == (OPF_GT | OPF_LT))
		return build_error(b, "ERR GT and LT options at the same time "
				      "are not compatible");
	return true;
}

/* The moment meant, which may lie in the past: the key is deleted then. */
static bool
expire_moment(const struct call *k, struct built *b)
{
	const char *name = k->cmd->name;
	bool milli = name[0] == 'p';
	bool absolute = name[milli ? 7 : 6] == 'a';
	int64_t at, now = absolute ? 0 : gw_now_ms(k->g);

	if (!arg_i64(&k->argv[2], &at))
		return build_error(
		    b, "ERR value is not an integer or out of range");
	if (!milli && (at > INT64_MAX / 1000 || at < INT64_MIN / 1000))
		goto invalid;
	if (!milli)
		at *= 1000;
	if (at > INT64_MAX - now)
		goto invalid;
	b->num = at + now;
	return true;
invalid:
	return build_error(b, "ERR invalid expire time in '%s' command", name);
}

bool
gw_build_expire(const struct call *k, struct built *b)
{
	b->code = OP_EXPIREAT;
	b->argc = 1;
	b->argv = k->argv + 1;
	return build_key(b, &k->argv[1]) && expire_options(k, b) &&
	       expire_moment(k, b);
}
