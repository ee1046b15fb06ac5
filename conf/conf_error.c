/*
 * The list of messages about one configuration.
 */
#include "conf/conf_schema.h"

#include <stdarg.h>
#include <stdlib.h>

#define ERROR_SIZE 1600 /* a path, a line number and one message */

void
conf_errors_add(struct conf_errors *errs, const char *name, uint32_t line,
    const char *fmt, ...)
{
	char why[ERROR_SIZE / 2];
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
		errs->text[errs->count++] = text;
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
