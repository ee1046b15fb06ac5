/*
 * Private to nodelifestat's screen: its rows, and the parts that have a file
 * of their own.
 */
#ifndef TOOLS_NODELIFESTAT_SCREEN_H
#define TOOLS_NODELIFESTAT_SCREEN_H

#include "tools/nodelifestat.h"

enum emphasis { PLAIN, HEADING, GOOD, BAD };

struct screen {
	FILE *out;
	const struct region *r;
	const struct stat_sample *s;
	const struct stat_delta *d;
	unsigned rows, used; /* rows 0 = no limit */
	unsigned kept; /* of rows, for what comes last */
	bool colour;
};

/* A row of the screen, if there is one left. */
__attribute__((format(printf, 3, 4))) void
screen_row(struct screen *sc, enum emphasis how, const char *fmt, ...);
/* Long texts go on in further, indented rows. */
void screen_wrapped(struct screen *sc, enum emphasis how, const char *lead,
    int indent, const char *text);

/* members.c: the group, if there is more than this node. */
void screen_members(struct screen *sc);

#endif
