/*
 * What clients ask of commits: may a write be committed at all, who has it,
 * what became of it. Nothing here changes anything, or blocks.
 */
#ifndef SHM_COMMIT_ASK_H
#define SHM_COMMIT_ASK_H

#include <stdbool.h>
#include <stdint.h>
#include "shm/commit_view.h"

struct region;

/*
 * Are so many members connected that a record can be committed? By the rule
 * that commits it (commit_rule()), as if each of them had it, and this one.
 */
struct commit_reach {
	bool enough;
	uint8_t members, connected; /* that vote; this one is connected */
	uint8_t least; /* if they are not enough: how many it takes at least */
};
void commit_reach(const struct region *r, struct commit_reach *out);

/*
 * How many other members have all up to that VLSN on disk, as they told in this
 * epoch; 0 where this node is no master. And how many others there are.
 */
unsigned commit_copies(const struct region *r, uint64_t vlsn);
unsigned commit_others(const struct region *r);

/*
 * What has become of a record, as far as this node knows by now. Committed and
 * lost are final, and so everywhere.
 */
enum fate { FATE_UNKNOWN = 0, FATE_COMMITTED, FATE_LOST };
enum fate commit_fate(const struct region *r, uint64_t term, uint64_t vlsn);

#endif
