/*
 * nodelifestat: finding the region, and following a node that boots again.
 */
#include "tools/nodelifestat.h"

#include <string.h>

int
target_attach(struct stat_target *t, char *why, size_t why_size)
{
	int rc;

	target_close(t);
	rc = region_attach(&t->region, t->path, why, why_size);
	t->attached = rc == 0;
	return rc;
}

void
target_close(struct stat_target *t)
{
	if (t->attached)
		region_unmap(&t->region);
	t->attached = false;
}

bool
target_follow(struct stat_target *t)
{
	struct region other;
	char why[256];

	if (!t->by_link || life_of(&t->region) == LIFE_LIVE ||
	    region_attach(&other, t->path, why, sizeof(why)) != 0)
		return false;
	if (memcmp(other.head->boot_id, t->region.head->boot_id,
		sizeof(other.head->boot_id)) == 0) {
		region_unmap(&other);
		return false;
	}
	region_unmap(&t->region);
	t->region = other;
	return true;
}
