/*
 * The table of commands: every row can be found in any case and says what
 * holds together; near misses are not found; glob patterns.
 */
#include "workers/gateway/cmd/command.h"

#include <ctype.h>
#include <string.h>
#include "t/tap.h"

static const struct command *
find(const char *name)
{
	return gw_command_find((const uint8_t *)name, strlen(name));
}

static void
test_rows(void)
{
	bool found = true, upper = true, sane = true, ordered = true;
	uint32_t i, j, n = gw_command_count();

	for (i = 0; i < n; i++) {
		const struct command *c = gw_command_at(i);
		char name[COMMAND_NAME_MAX + 1];

		found &= find(c->name) == c;
		for (j = 0; c->name[j] != '\0'; j++) {
			name[j] = (char)toupper((unsigned char)c->name[j]);
			sane &= islower((unsigned char)c->name[j]) != 0;
		}
		name[j] = '\0';
		upper &= find(name) == c;
		sane &= c->run != NULL && c->arity != 0;
		sane &= c->first == 0 || c->step > 0;
		sane &= c->first == 0 || c->arity > c->first ||
			-c->arity > c->first;
		sane &=
		    c->group != NULL && c->since != NULL && c->summary != NULL;
		/* Only what becomes an operation may write. */
		sane &= (c->flags & CMD_WRITE) == 0 || c->build != NULL;
		ordered &= i == 0 || strcmp(c->name, "") != 0;
	}
	ok(n >= 60, "%u commands", n);
	ok(found, "each is found by its name");
	ok(upper, "and in capitals");
	ok(sane && ordered, "each row holds together");
	ok(gw_command_at(n) == NULL, "there is none behind the last");
}

static void
test_misses(void)
{
	static const char *const names[] = { "", "ge", "gett", "get ", "g3t",
		"getrangegetrange", "averyveryverylongname", "@et", "GE\x14" };
	bool none = true;
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		none &= find(names[i]) == NULL;
	none &= gw_command_find((const uint8_t *)"get\0", 4) == NULL;
	ok(none, "near misses are not found");
	ok(gw_command_arity_ok(find("get"), 2), "exact arity");
	ok(!gw_command_arity_ok(find("get"), 3), "one too many");
	ok(gw_command_arity_ok(find("mset"), 300), "at least");
	ok(!gw_command_arity_ok(find("mset"), 2), "too few");
}

static void
test_arguments(void)
{
	struct op_arg a;
	long double d;
	int64_t v;

#define ARG(text)                                                              \
	(a = (struct op_arg){ (const uint8_t *)(text), sizeof(text) - 1 }, &a)
	ok(arg_i64(ARG("-9223372036854775808"), &v) && v == INT64_MIN, "min");
	ok(arg_i64(ARG("9223372036854775807"), &v) && v == INT64_MAX, "max");
	ok(!arg_i64(ARG("9223372036854775808"), &v), "above max");
	ok(!arg_i64(ARG("-9223372036854775809"), &v), "below min");
	ok(!arg_i64(ARG("99999999999999999999"), &v), "20 digits");
	ok(arg_i64(ARG("0"), &v) && v == 0, "zero");
	ok(!arg_i64(ARG("00"), &v) && !arg_i64(ARG("01"), &v) &&
		!arg_i64(ARG("+1"), &v) && !arg_i64(ARG(" 1"), &v) &&
		!arg_i64(ARG("1 "), &v) && !arg_i64(ARG(""), &v) &&
		!arg_i64(ARG("-"), &v) && !arg_i64(ARG("-0"), &v),
	    "what string2ll refuses");
	ok(arg_double(ARG("1.5e3"), &d) && d == 1500.0L, "a float");
	ok(!arg_double(ARG("1.5x"), &d) && !arg_double(ARG(" 1"), &d) &&
		!arg_double(ARG("nan"), &d) && !arg_double(ARG(""), &d) &&
		!arg_double(ARG("1e5000"), &d) &&
		!arg_double(ARG("1e-5000"), &d),
	    "what is none");
	ok(arg_is(ARG("KeepTTL"), "keepttl"), "a word in any case");
	ok(!arg_is(ARG("keepttlx"), "keepttl") &&
		!arg_is(ARG("keepttl"), "keepttlx"),
	    "not a longer or shorter one");
}

int
main(void)
{
	gw_command_init();
	test_rows();
	test_misses();
	test_arguments();
	return tap_done();
}
