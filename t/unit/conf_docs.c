/*
 * What is made from the table agrees with it: each row is sound, the printed
 * configuration loads again, reload tells live keys from others, and the
 * files in the tree (sample, man pages) name every key, kind of trouble and
 * operation.
 * Runs at the top of the tree. `conf_docs -w` writes the made parts anew.
 */
#include "conf/conf.h"

#include <ctype.h>
#include <err.h>
#include <errno.h>
#include <unistd.h>

#include "conf/conf_schema.h"
#include "shm/assert.h"
#include "shm/kv/op.h"
#include "shm/trouble.h"
#include "t/lib/made_page.h"
#include "t/tap.h"

#define SAMPLE_FILE "conf/nodelife.ini"
#define LOG_PAGE    "man/nodelife-wal.5"
#define GOOD        "[node]\nname = n1\ngroup = g1\ndata_dir = /d\n"

static void troubles_print(FILE *);

/* The parts of pages that are made. */
static const struct made pages[] = {
	{ "man/nodelife.ini.5", ".\\\" keys: made by t/unit/conf_docs -w\n",
	    ".\\\" end of keys\n", conf_print_mdoc },
	{ "man/nodelife.7", ".\\\" troubles: made by t/unit/conf_docs -w\n",
	    ".\\\" end of troubles\n", troubles_print },
};

static void
troubles_print(FILE *out)
{
	static const struct {
		const char *name;
		unsigned stops;
		const char *means, *remedy;
	} kinds[] = {
#define X(NAME, name, slot, stops, means, remedy)                              \
	{ name, stops, means, remedy },
		TROUBLES(X)
#undef X
	};
	static const char *const stops[] = {
		[STOPS_NOTHING] = "Stops nothing.",
		[STOPS_WRITES] = "Stops writes.",
		[STOPS_READS] = "Stops reads.",
		[STOPS_WRITES | STOPS_READS] = "Stops writes and reads.",
	};

	fputs(".Bl -tag -width Ds\n", out);
	for (size_t i = 0; i < NITEMS(kinds); i++) {
		fprintf(out, ".It Sy %s\n", kinds[i].name);
		conf_print_text(kinds[i].means, out);
		conf_print_text(stops[kinds[i].stops], out);
		conf_print_text(kinds[i].remedy, out);
	}
	fputs(".El\n", out);
}

static bool
loads(struct conf *conf, const char *text, const char *what)
{
	struct conf_errors errs = { 0 };
	int rc = conf_load_string(conf, what, text, strlen(text), &errs);

	ok(rc == 0, "%s loads", what);
	for (uint32_t i = 0; i < errs.count; i++)
		diag("%s", errs.text[i]);
	conf_errors_free(&errs);
	return rc == 0;
}

static bool
same_values(const struct conf *a, const struct conf *b)
{
	struct conf_change list[CONF_KEYS_MAX];

	return conf_diff(a, b, list) == 0;
}

/* Would the text survive in a comment, an mdoc line and 80 columns? */
static bool
help_is_plain(const char *help)
{
	size_t len = strlen(help);

	for (size_t i = 0; i < len; i++)
		if (help[i] < ' ' || help[i] > '~' || help[i] == '\\')
			return false;
	return len > 0 && len < CONF_HELP_MAX / 2 && isupper(help[0]) &&
	       help[len - 1] == '.';
}

static void
check_row(const struct conf_key *key)
{
	char value[CONF_VALUE_SIZE], why[CONF_WHY_SIZE] = "";
	struct conf conf = { 0 };

	ok(key == conf_key_find(key->section, key->name), "[%s] %s is unique",
	    key->section, key->name);
	ok(help_is_plain(conf_key_help(key)), "  its help is plain: %s",
	    key->help);
	ok(key->min <= key->max &&
		(key->kind != CONF_KIND_DURATION || key->max <= UINT32_MAX),
	    "  its bounds hold in its field");
	if (conf_key_required(key))
		return;
	if (!ok(conf_value_set(
		    &conf, key, conf_key_default(key), why, sizeof(why)) == 0,
		"  its default is valid"))
		diag("%s", why);
	conf_key_value(&conf, key, value, sizeof(value));
	conf.line[0] = 0;
	if (key->kind != CONF_KIND_DURATION)
		is_str(value, conf_key_default(key), "  and spelt as printed");
}

static void
check_table(void)
{
	is_u64(conf_key_count() > 40, 1, "the table has its keys");
	ok(conf_key_at(conf_key_count()) == NULL, "and an end");
	ok(conf_key_find("wal", "name") == NULL, "name is not in [wal]");
	for (uint32_t i = 0; i < conf_key_count(); i++)
		check_row(conf_key_at(i));
}

/* Sections must be in one piece, or printing would begin them twice. */
static void
check_sections(void)
{
	for (uint32_t i = 1; i < conf_key_count(); i++) {
		const char *section = conf_key_section(conf_key_at(i));

		if (strcmp(section, conf_key_section(conf_key_at(i - 1))) == 0)
			continue;
		for (uint32_t j = 0; j < i; j++)
			if (strcmp(section, conf_key_section(conf_key_at(j))) ==
			    0)
				ok(false, "[%s] is in two pieces", section);
	}
}

static char *
printed(const struct conf *conf)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (out == NULL)
		err(1, "open_memstream");
	conf_print(conf, out);
	fclose(out);
	return text;
}

static void
check_print(void)
{
	struct conf conf, again;
	char *text;

	if (!loads(&conf,
		GOOD "log = /a;b c\n[boot]\nstartup_probe = 61001ms\n"
		     "[listen]\npeer = none\nidle_timeout = 90s\n[wal]\n"
		     "segment_size = 5M\nkeep_size = 4097\n"
		     "[cpu]\nio = 3\n",
		"a full file"))
		return;
	text = printed(&conf);
	ok(strstr(text, "\n; init_budget = 3050ms") != NULL &&
		strstr(text, "; from startup_probe\n") != NULL,
	    "derived budgets are comments");
	ok(strstr(text, "name = n1                                ; line 2") !=
		NULL,
	    "what is set names its line");
	ok(strstr(text, "; default\n") != NULL, "what is not says default");
	if (loads(&again, text, "what is printed"))
		ok(same_values(&conf, &again), "with the same values");
	free(text);

	loads(&conf,
	    GOOD "[peer n2]\naddress = localhost:1\n[peer n3]\n"
		 "address = localhost:2\n",
	    "a file with peers");
	text = printed(&conf);
	ok(strstr(text, "\n[peer n3]\naddress = localhost:2 ") != NULL,
	    "each is printed in its section");
	if (loads(&again, text, "what is printed"))
		ok(same_values(&conf, &again) && again.peer_count == 2,
		    "with the same peers");
	free(text);

	loads(&conf, GOOD "[security]\npassword = s3cret\n", "a password");
	text = printed(&conf);
	ok(strstr(text, "s3cret") == NULL &&
		strstr(text, "; password is set at line 6") != NULL,
	    "is not printed");
	free(text);
}

static void
check_diff(void)
{
	const struct conf_key *secret = conf_key_find("security", "password");
	struct conf_change list[CONF_KEYS_MAX];
	char value[CONF_VALUE_SIZE];
	struct conf old, fresh;

	loads(&old, GOOD, "the old file");
	loads(&fresh,
	    "# one line more\n" GOOD
	    "log_level = debug\n[wal]\nsync = no_sync\nsegment_size = 8M\n"
	    "[store]\ncheckpoint_wal = 64M\n[security]\npassword = x\n",
	    "the new file");
	if (!is_u64(conf_diff(&old, &fresh, list), 4, "four keys differ"))
		return;
	is_str(conf_key_name(list[0].key), "log_level", "the first");
	ok(list[0].live, "it is live");
	is_str(conf_key_name(list[1].key), "segment_size", "the second");
	ok(!list[1].live, "it needs a restart");
	is_str(conf_key_name(list[2].key), "sync", "the third");
	ok(list[2].live, "it is live");
	ok(list[3].key == secret && !list[3].live, "the fourth is secret");
	conf_key_value(&fresh, secret, value, sizeof(value));
	is_str(value, "(hidden)", "and stays so");
	conf_apply_live(&old, &fresh);
	ok(old.node.log_level == CONF_LOG_DEBUG &&
		old.wal.sync == CONF_SYNC_NO_SYNC,
	    "live keys are taken over");
	ok(old.wal.segment_size == 64 << 20, "others are not");
	is_u64(conf_diff(&old, &fresh, list), 2, "two differ still");
	ok(conf_key_is_set(&old, conf_key_find("wal", "sync")) &&
		!conf_key_is_set(&old, conf_key_find("wal", "io")),
	    "set and default are told apart");
}

/* Turn each `#key = value` into `key = value`. */
static void
uncomment(char *text)
{
	char *to = text, *from = text;
	bool line_start = true;

	for (; *from != '\0'; from++) {
		if (line_start && from[0] == '#' && islower(from[1]))
			from++;
		line_start = *from == '\n';
		*to++ = *from;
	}
	*to = '\0';
}

static void
check_sample(void)
{
	char *made = made_by(conf_print_sample), *have = file_text(SAMPLE_FILE);
	struct conf conf, defaults;
	uint32_t unset = 0;

	is_str(have, made, SAMPLE_FILE " is as the table has it");
	loads(&defaults, made, "the sample");
	uncomment(made);
	if (loads(&conf, made, "the sample with every key set")) {
		ok(same_values(&conf, &defaults), "shows the defaults");
		for (uint32_t i = 0; i < conf_key_count(); i++)
			unset += !conf_key_is_set(&conf, conf_key_at(i));
		/* Which [peer] there are nobody knows. */
		is_u64(unset, 1, "and names every key");
		ok(strstr(made, "\n#   [peer n2]\n#   address = ") != NULL,
		    "and shows a peer");
	}
	free(made);
	free(have);
}

/* ---- operations ---- */

static const struct {
	unsigned code;
	bool writes;
	const char *name;
} ops[] = {
#define X(number, NAME, writes, text) { number, writes, #NAME },
	OPS(X)
#undef X
};

static const struct {
	unsigned bit;
	const char *name;
} flags[] = { { OPF_NX, "NX" }, { OPF_XX, "XX" }, { OPF_GET, "GET" },
	{ OPF_KEEPTTL, "KEEPTTL" }, { OPF_IFEQ, "IFEQ" }, { OPF_GT, "GT" },
	{ OPF_LT, "LT" }, { OPF_PERSIST, "PERSIST" } };

/* The page from one text to the next, in one line; NULL: it has them not. */
static char *
page_part(char *page, const char *from, const char *to)
{
	char *begin = page == NULL ? NULL : strstr(page, from);
	char *end = begin == NULL ? NULL : strstr(begin, to), *part, *at;

	if (end == NULL)
		return NULL;
	part = strndup(begin, (size_t)(end - begin));
	for (at = part; *at != '\0'; at++)
		if (*at == '\n')
			*at = ' ';
	return part;
}

/* "17 NAME", as a whole. */
static bool
names(const char *part, unsigned number, const char *name)
{
	char text[64];
	const char *at = part;
	int n = snprintf(text, sizeof(text), " %u %s", number, name);

	while ((at = strstr(at, text)) != NULL)
		if (!isalnum((unsigned char)*(at += n)))
			return true;
	return false;
}

/* How many of any number and any name there are. */
static unsigned
named(const char *part)
{
	unsigned count = 0, number;
	char name[32];

	for (; *part != '\0'; part++)
		count += part[0] == ' ' && isdigit((unsigned char)part[1]) &&
			 sscanf(part, " %u %31[A-Z]", &number, name) == 2 &&
			 strlen(name) > 1;
	return count;
}

static void
check_codes(const char *part, bool writes, const char *what)
{
	unsigned count = 0;

	if (!ok(part != NULL, LOG_PAGE " lists what %s", what))
		return;
	for (size_t i = 0; i < NITEMS(ops); i++) {
		if (ops[i].writes != writes)
			continue;
		count++;
		ok(names(part, ops[i].code, ops[i].name), "  %u %s",
		    ops[i].code, ops[i].name);
	}
	is_u64(named(part), count, "and nothing else");
}

static void
check_ops(void)
{
	char *page = file_text(LOG_PAGE), *part;

	part = page_part(page, "Codes, their arguments", "Reads travel");
	check_codes(part, true, "writes");
	free(part);
	part = page_part(page, "Reads travel", "They change nothing");
	check_codes(part, false, "reads");
	free(part);
	part = page_part(page, "flags: 1 NX", "count of arguments");
	if (ok(part != NULL, "and flags")) {
		for (size_t i = 0; i < NITEMS(flags); i++)
			ok(names(part, flags[i].bit, flags[i].name), "  %u %s",
			    flags[i].bit, flags[i].name);
		is_u64(named(part), NITEMS(flags), "and nothing else");
	}
	free(part);
	free(page);
}

static int
write_files(void)
{
	char *sample = made_by(conf_print_sample);

	file_write(SAMPLE_FILE, sample, "", "");
	free(sample);
	for (size_t i = 0; i < NITEMS(pages); i++)
		write_page(&pages[i]);
	return 0;
}

int
main(int argc, char *argv[])
{
	if (argc == 2 && strcmp(argv[1], "-w") == 0)
		return write_files();
	check_table();
	check_sections();
	check_print();
	check_diff();
	check_sample();
	for (size_t i = 0; i < NITEMS(pages); i++)
		check_page(&pages[i]);
	check_ops();
	return tap_done();
}
