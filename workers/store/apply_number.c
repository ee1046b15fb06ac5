/*
 * Numbers in values, with the syntax and the output of Redis 7.
 */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "workers/store/apply.h"

/* Longer texts are no numbers; what float_print() makes is one. */
#define FLOAT_IN_MAX FLOAT_TEXT_MAX

bool
number_parse(const uint8_t *text, size_t n, int64_t *out)
{
	const uint8_t *p = text, *end = text + n;
	bool negative = false;
	uint64_t v = 0;

	if (n == 1 && *p == '0') {
		*out = 0;
		return true;
	}
	if (p < end && *p == '-') {
		negative = true;
		p++;
	}
	/* Digits, the first of them not 0. */
	if (p == end || *p < '1' || *p > '9')
		return false;
	for (; p < end; p++) {
		if (*p < '0' || *p > '9')
			return false;
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
			return false;
	}
	if (v > (uint64_t)INT64_MAX + (negative ? 1 : 0))
		return false;
	*out = (int64_t)(negative ? UINT64_C(0) - v : v);
	return true;
}

size_t
number_print(int64_t v, char text[NUMBER_TEXT_MAX])
{
	return (size_t)snprintf(text, NUMBER_TEXT_MAX, "%lld", (long long)v);
}

bool
float_parse(const uint8_t *text, size_t n, long double *out)
{
	char buf[FLOAT_IN_MAX], *end;

	if (n == 0 || n >= sizeof(buf))
		return false;
	memcpy(buf, text, n);
	buf[n] = '\0';
	if (isspace((unsigned char)buf[0]))
		return false;
	errno = 0;
	*out = strtold(buf, &end);
	if ((size_t)(end - buf) != n || isnan(*out))
		return false;
	if (errno == ERANGE && (isinf(*out) || *out == 0))
		return false;
	return errno != EINVAL;
}

size_t
float_print(long double v, char text[FLOAT_TEXT_MAX])
{
	int n = snprintf(text, FLOAT_TEXT_MAX, "%.17Lf", v);

	if (n < 0 || n >= FLOAT_TEXT_MAX)
		return 0;
	if (strchr(text, '.') != NULL) {
		while (text[n - 1] == '0')
			n--;
		if (text[n - 1] == '.')
			n--;
	}
	if (n == 2 && memcmp(text, "-0", 2) == 0) {
		text[0] = '0';
		n = 1;
	}
	return (size_t)n;
}
