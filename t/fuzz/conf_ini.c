/*
 * Any bytes as a configuration file: a load must end, name a line for what it
 * refuses, and what it accepts must survive being printed and loaded again.
 */
#include "conf/conf.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* A failed expectation ends the process, so that the fuzzer keeps the input. */
static void
expect(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "conf_ini: %s\n", what);
	abort();
}

static char *
printed(const struct conf *conf)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	expect(out != NULL, "open_memstream");
	conf_print(conf, out);
	fclose(out);
	return text;
}

/* The password is never printed; everything else must come back. */
static void
check_accepted(const struct conf *conf)
{
	struct conf_change list[CONF_KEYS_MAX];
	struct conf_errors errs = { 0 };
	struct conf again;
	char *text = printed(conf);
	uint32_t count;

	if (conf_load_string(&again, "again", text, strlen(text), &errs) != 0) {
		conf_errors_print(&errs, stderr);
		expect(false, "what was printed does not load");
	}
	count = conf_diff(conf, &again, list);
	expect(count == 0 || (count == 1 && conf_key_secret(list[0].key)),
	    "what was printed has other values");
	conf_errors_free(&errs);
	free(text);
}

static void
check_refused(const struct conf_errors *errs)
{
	expect(errs->count > 0, "refused without a message");
	for (uint32_t i = 0; i < errs->count; i++) {
		expect(strncmp(errs->text[i], "in:", 3) == 0, "no file name");
		expect(i == 0 || errs->line[i] >= errs->line[i - 1],
		    "messages out of order");
		expect(errs->line[i] > 0 ||
			   strstr(errs->text[i], "larger than") != NULL,
		    "no line");
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct conf_errors errs = { 0 };
	struct conf conf;

	if (conf_load_string(&conf, "in", (const char *)data, len, &errs) == 0)
		check_accepted(&conf);
	else
		check_refused(&errs);
	conf_errors_free(&errs);
	return 0;
}
