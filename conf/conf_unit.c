/*
 * Durations and sizes as text. Strict: digits, then one known unit, nothing
 * else; a number that does not fit is an error, never wrapped.
 */
#include "conf/conf.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

struct unit {
	const char *name;
	uint64_t factor;
};

/* Ascending, so that formatting can search from the end. */
static const struct unit duration_units[] = {
	{ "ms", 1 },
	{ "s", 1000 },
	{ "m", 60 * 1000 },
	{ "h", 60 * 60 * 1000 },
};
static const struct unit size_units[] = {
	{ "", 1 },
	{ "K", UINT64_C(1) << 10 },
	{ "M", UINT64_C(1) << 20 },
	{ "G", UINT64_C(1) << 30 },
	{ "T", UINT64_C(1) << 40 },
};

#define NITEMS(a) (sizeof(a) / sizeof((a)[0]))

/* Digits at the start of text; *end is what follows them. */
static int
digits_parse(const char *text, uint64_t *value, const char **end)
{
	const char *p = text;
	uint64_t sum = 0;

	if (*p < '0' || *p > '9')
		return -EINVAL;
	for (; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(sum, UINT64_C(10), &sum) ||
		    __builtin_add_overflow(sum, (uint64_t)(*p - '0'), &sum))
			return -ERANGE;
	*value = sum;
	*end = p;
	return 0;
}

static int
unit_parse(const char *text, const struct unit *units, size_t unit_count,
    uint64_t *value)
{
	const char *unit;
	uint64_t count;
	int rc;

	if ((rc = digits_parse(text, &count, &unit)) != 0)
		return rc;
	for (size_t i = 0; i < unit_count; i++) {
		if (strcmp(unit, units[i].name) != 0)
			continue;
		if (__builtin_mul_overflow(count, units[i].factor, &count))
			return -ERANGE;
		*value = count;
		return 0;
	}
	return -EINVAL;
}

static void
unit_format(uint64_t value, const struct unit *units, size_t unit_count,
    char *buf, size_t buf_size)
{
	size_t i = unit_count - 1;

	while (i > 0 && (value == 0 || value % units[i].factor != 0))
		i--;
	snprintf(buf, buf_size, "%" PRIu64 "%s", value / units[i].factor,
	    units[i].name);
}

int
conf_duration_parse(const char *text, uint64_t *ms)
{
	return unit_parse(text, duration_units, NITEMS(duration_units), ms);
}

int
conf_size_parse(const char *text, uint64_t *bytes)
{
	return unit_parse(text, size_units, NITEMS(size_units), bytes);
}

void
conf_duration_format(uint64_t ms, char *buf, size_t buf_size)
{
	unit_format(ms, duration_units, NITEMS(duration_units), buf, buf_size);
}

void
conf_size_format(uint64_t bytes, char *buf, size_t buf_size)
{
	unit_format(bytes, size_units, NITEMS(size_units), buf, buf_size);
}
