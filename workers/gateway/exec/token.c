/*
 * Tokens: names of writes, by which any member of the group says later what
 * became of one. A token is the group, the generation, the term and the VLSN:
 *
 *	GROUP-GENERATION-TERM-VLSN	8 hexadecimal digits, three numbers
 *
 * Terms of a later generation are higher, so term and VLSN say it all; the
 * other two are for who reads it, and refuse what is of another group.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "shm/log/terms.h"
#include "workers/gateway/exec/exec.h"

static uint32_t
group_of(const struct gateway *g)
{
	return (uint32_t)(atomic_load_explicit(
			      &g->r->commit->group_id, memory_order_acquire) >>
			  32);
}

void
gw_token_put(const struct gateway *g, uint64_t term, uint64_t vlsn,
    char text[GW_TOKEN_MAX])
{
	snprintf(text, GW_TOKEN_MAX,
	    "%08" PRIx32 "-%" PRIu64 "-%" PRIu64 "-%" PRIu64, group_of(g),
	    position_get(&g->r->pos->generation), term, vlsn);
}

bool
gw_token_of(
    const struct gateway *g, const struct conn *c, char text[GW_TOKEN_MAX])
{
	uint64_t term = c->last_term;

	/* It is committed: the log has it. */
	if (c->last_vlsn == 0 ||
	    (term == 0 && terms_of_vlsn(g->r->terms, c->last_vlsn, &term) != 0))
		return false;
	gw_token_put(g, term, c->last_vlsn, text);
	return true;
}

/* A number of that base, and what ends it. */
static bool
number(const char **at, unsigned base, char end, uint64_t *out)
{
	const char *p = *at;
	unsigned digit;
	uint64_t v = 0;

	for (; *p != '\0' && *p != end; p++) {
		if (*p >= '0' && *p <= '9')
			digit = (unsigned)(*p - '0');
		else if (*p >= 'a' && *p <= 'f')
			digit = (unsigned)(*p - 'a') + 10;
		else
			return false;
		if (digit >= base || v > (UINT64_MAX - digit) / base)
			return false;
		v = v * base + digit;
	}
	if (p == *at || *p != end)
		return false;
	*at = p + (end != '\0');
	*out = v;
	return true;
}

int
gw_token_read(const struct gateway *g, const struct op_arg *text,
    uint64_t *term, uint64_t *vlsn)
{
	uint64_t group, generation;
	char copy[GW_TOKEN_MAX];
	const char *at = copy;

	if (text->len >= sizeof(copy) ||
	    memchr(text->data, '\0', text->len) != NULL)
		return -EINVAL;
	memcpy(copy, text->data, text->len);
	copy[text->len] = '\0';
	if (!number(&at, 16, '-', &group) ||
	    !number(&at, 10, '-', &generation) || !number(&at, 10, '-', term) ||
	    !number(&at, 10, '\0', vlsn) || *term == 0 || *vlsn == 0 ||
	    *vlsn > VLSN_MASK)
		return -EINVAL;
	return group == group_of(g) ? 0 : -EXDEV;
}
