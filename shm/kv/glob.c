/*
 * Glob patterns; see glob.h.
 */
#include "shm/kv/glob.h"

struct glob {
	const uint8_t *p, *end;
};

/* One [class]: moves over it; does it hold c? An open end is closed. */
static bool
class_match(struct glob *g, uint8_t c)
{
	bool negated, match = false;
	uint8_t lo, hi, swap;

	g->p++;
	negated = g->p < g->end && *g->p == '^';
	if (negated)
		g->p++;
	for (; g->p < g->end && *g->p != ']'; g->p++) {
		if (*g->p == '\\' && g->end - g->p >= 2) {
			g->p++;
			match |= *g->p == c;
		} else if (g->end - g->p >= 3 && g->p[1] == '-') {
			lo = g->p[0];
			hi = g->p[2];
			if (lo > hi) {
				swap = lo;
				lo = hi;
				hi = swap;
			}
			g->p += 2;
			match |= c >= lo && c <= hi;
		} else {
			match |= *g->p == c;
		}
	}
	if (g->p < g->end)
		g->p++;
	return match != negated;
}

/* One element that is no star: moves over it; does it match c? */
static bool
one_match(struct glob *g, uint8_t c)
{
	switch (*g->p) {
	case '?':
		g->p++;
		return true;
	case '[':
		return class_match(g, c);
	case '\\':
		if (g->end - g->p >= 2)
			g->p++;
		break;
	default:
		break;
	}
	return *g->p++ == c;
}

bool
glob_match(const uint8_t *pattern, size_t pattern_len, const uint8_t *text,
    size_t text_len)
{
	struct glob g = { pattern, pattern + pattern_len };
	const uint8_t *t = text, *t_end = text + text_len;
	const uint8_t *star = NULL, *retry = NULL;

	while (t < t_end) {
		if (g.p < g.end && *g.p == '*') {
			star = ++g.p;
			retry = t;
		} else if (g.p < g.end && one_match(&g, *t)) {
			t++;
		} else if (star != NULL) {
			g.p = star;
			t = ++retry;
		} else {
			return false;
		}
	}
	while (g.p < g.end && *g.p == '*')
		g.p++;
	return g.p == g.end;
}
