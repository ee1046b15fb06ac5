/*
 * nodelifestat: numbers as people read them.
 */
#include "tools/nodelifestat.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

char *
text_count(char *buf, size_t size, uint64_t n)
{
	char digits[24];
	size_t len, i, at = 0;

	len = (size_t)snprintf(digits, sizeof(digits), "%" PRIu64, n);
	for (i = 0; i < len && at + 2 < size; i++) {
		if (i != 0 && (len - i) % 3 == 0)
			buf[at++] = ',';
		buf[at++] = digits[i];
	}
	buf[at] = '\0';
	return buf;
}

/* Three significant digits and a unit, below `base` none. */
static char *
text_scaled(char *buf, size_t size, double n, double base, const char *units)
{
	size_t unit = 0, last = strlen(units) - 1;

	while (n >= base - 0.5 && unit < last) {
		n /= base;
		unit++;
	}
	if (unit == 0)
		snprintf(buf, size, n < 9.95 && n > 0 ? "%.1f" : "%.0f", n);
	else
		snprintf(
		    buf, size, n < 99.95 ? "%.1f%c" : "%.0f%c", n, units[unit]);
	return buf;
}

char *
text_short(char *buf, size_t size, double n)
{
	return text_scaled(buf, size, n, 1000, " kMGTPE");
}

char *
text_bytes(char *buf, size_t size, double n)
{
	return text_scaled(buf, size, n, 1024, " KMGTPE");
}

char *
text_ns(char *buf, size_t size, uint64_t ns)
{
	static const char *const unit[] = { "ns", "us", "ms", "s" };
	double v = (double)ns;
	unsigned i = 0;

	while (v >= 999.5 && i < 3) {
		v /= 1000;
		i++;
	}
	snprintf(
	    buf, size, i > 0 && v < 9.995 ? "%.2f%s" : "%.0f%s", v, unit[i]);
	return buf;
}

char *
text_ms(char *buf, size_t size, uint64_t ms)
{
	uint64_t s = ms / 1000;

	if (ms < 1000)
		snprintf(buf, size, "%" PRIu64 " ms", ms);
	else if (s < 60)
		snprintf(buf, size, "%.1f s", (double)ms / 1000);
	else if (s < 86400)
		snprintf(buf, size, "%" PRIu64 ":%02" PRIu64 ":%02" PRIu64,
		    s / 3600, s / 60 % 60, s % 60);
	else
		snprintf(buf, size, "%" PRIu64 "d %" PRIu64 ":%02" PRIu64,
		    s / 86400, s / 3600 % 24, s / 60 % 60);
	return buf;
}

char *
text_age(char *buf, size_t size, uint64_t ms)
{
	uint64_t s = ms / 1000;

	if (ms < 1000)
		snprintf(buf, size, "%" PRIu64 "ms", ms);
	else if (s < 120)
		snprintf(buf, size, "%" PRIu64 "s", s);
	else if (s < 2 * 3600)
		snprintf(buf, size, "%" PRIu64 "m", s / 60);
	else if (s < 2 * 86400)
		snprintf(buf, size, "%" PRIu64 "h", s / 3600);
	else
		snprintf(buf, size, "%" PRIu64 "d", s / 86400);
	return buf;
}

char *
text_clean(char *buf, size_t size, const char *text, size_t max)
{
	size_t i;

	for (i = 0; i + 1 < size && i < max && text[i] != '\0'; i++)
		buf[i] = iscntrl((unsigned char)text[i]) ? '?' : text[i];
	buf[i] = '\0';
	return buf;
}
