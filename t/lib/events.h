/* Events of a region, as tests ask for them. */
#ifndef T_LIB_EVENTS_H
#define T_LIB_EVENTS_H

#include <stdbool.h>
#include <string.h>
#include "shm/counters.h"
#include "shm/region.h"

/* Is there one whose text has these words? */
__attribute__((unused)) static bool
events_have(const struct region *r, const char *text)
{
	static struct event list[EVENT_COUNT];
	unsigned count = event_list(r->events, list, EVENT_COUNT);

	for (unsigned i = 0; i < count; i++)
		if (strstr(list[i].text, text) != NULL)
			return true;
	return false;
}

#endif
