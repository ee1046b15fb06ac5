/*
 * Glob patterns as Redis' KEYS and SCAN MATCH take them: * ? [a-z] [^a] and
 * backslash. Iterative, so a hostile pattern costs pattern times text at most.
 */
#include "workers/gateway/command.h"

/* Does c match the class that starts behind '['? *at moves behind ']'. */
static bool
glob_class(const uint8_t **at, const uint8_t *end, uint8_t c)
{
	const uint8_t *p = *at;
	bool not_in = p < end && *p == '^', hit = false;
	uint8_t low, high;

	if (not_in)
		p++;
	for (; p < end && *p != ']'; p++) {
		if (*p == '\\' && end - p >= 2) {
			p++;
			hit |= *p == c;
		} else if (end - p >= 3 && p[1] == '-') {
			low = p[0] < p[2] ? p[0] : p[2];
			high = p[0] < p[2] ? p[2] : p[0];
			hit |= c >= low && c <= high;
			p += 2;
		} else {
			hit |= *p == c;
		}
	}
	if (p < end)
		p++;
	*at = p;
	return hit != not_in;
}

/* One pattern element (no '*') against one byte; *at moves behind it. */
static bool
glob_one(const uint8_t **at, const uint8_t *end, uint8_t c)
{
	uint8_t p = *(*at)++;

	if (p == '?')
		return true;
	if (p == '[')
		return glob_class(at, end, c);
	if (p == '\\' && *at < end)
		p = *(*at)++;
	return p == c;
}

bool
gw_glob(const uint8_t *pattern, size_t pn, const uint8_t *text, size_t n)
{
	const uint8_t *p = pattern, *pend = pattern + pn;
	const uint8_t *t = text, *tend = text + n;
	const uint8_t *star = NULL, *star_text = NULL, *next;

	while (t < tend) {
		if (p < pend && *p == '*') {
			star = ++p;
			star_text = t;
			continue;
		}
		next = p;
		if (p < pend && glob_one(&next, pend, *t)) {
			p = next;
			t++;
			continue;
		}
		if (star == NULL)
			return false;
		/* The last star takes one byte more. */
		p = star;
		t = ++star_text;
	}
	while (p < pend && *p == '*')
		p++;
	return p == pend;
}
