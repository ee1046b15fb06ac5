/*
 * Growing texts; see text.h.
 */
#include "workers/health/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_STEP 4096

static bool
text_room(struct text *t, size_t more)
{
	size_t size = t->size;
	char *data;

	while (size < t->len + more + 1)
		size = size == 0 ? TEXT_STEP : size * 2;
	if (size == t->size)
		return true;
	data = size <= TEXT_MAX ? realloc(t->data, size) : NULL;
	if (data == NULL)
		return false;
	t->data = data;
	t->size = size;
	return true;
}

void
text_add(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (t->failed || n < 0 || !text_room(t, (size_t)n)) {
		t->failed = true;
		return;
	}
	va_start(ap, fmt);
	vsnprintf(t->data + t->len, t->size - t->len, fmt, ap);
	va_end(ap);
	t->len += (size_t)n;
}

void
text_free(struct text *t)
{
	free(t->data);
	memset(t, 0, sizeof(*t));
}
