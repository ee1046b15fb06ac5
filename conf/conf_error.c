/*
 * The list of messages about one configuration.
 */
#include "conf/conf_schema.h"

#include <stdarg.h>
#include <stdlib.h>

#define WHY_SIZE 512 /* one message */

/* In the order of lines, what has none first; messages of an earlier file stay
 * where they are. */
static void
insert_sorted(struct conf_errors *errs, uint32_t line, char *text)
{
	uint32_t at = errs->count++;

	for (; at > errs->sort_from && line < errs->line[at - 1]; at--) {
		errs->text[at] = errs->text[at - 1];
		errs->line[at] = errs->line[at - 1];
	}
	errs->text[at] = text;
	errs->line[at] = line;
}

void
conf_errors_add(struct conf_errors *errs, const char *name, uint32_t line,
    const char *fmt, ...)
{
	char why[WHY_SIZE];
	char *text = NULL;
	va_list ap;
	int len;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	if (errs->count == CONF_ERRORS_MAX) {
		errs->dropped++;
		return;
	}
	if (line > 0)
		len = asprintf(&text, "%s:%u: %s", name, line, why);
	else
		len = asprintf(&text, "%s: %s", name, why);
	if (len < 0)
		errs->dropped++;
	else
		insert_sorted(errs, line, text);
}

void
conf_errors_print(const struct conf_errors *errs, FILE *out)
{
	for (uint32_t i = 0; i < errs->count; i++)
		fprintf(out, "%s\n", errs->text[i]);
	if (errs->dropped > 0)
		fprintf(out, "and %u more\n", errs->dropped);
}

void
conf_errors_free(struct conf_errors *errs)
{
	for (uint32_t i = 0; i < errs->count; i++)
		free(errs->text[i]);
	*errs = (struct conf_errors){ 0 };
}
