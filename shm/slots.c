/* Names of slots, their states, and what holds workers back. */
#include "shm/slots.h"

#include "shm/assert.h"

static const char *const slot_names[] = {
	[SLOT_SUPERVISOR] = "supervisor",
	[SLOT_WAL] = "wal",
	[SLOT_VLSN] = "vlsn",
	[SLOT_STORE] = "store",
	[SLOT_CHECKPOINT] = "checkpoint",
	[SLOT_GROUP] = "group",
	[SLOT_RESTORE] = "restore",
	[SLOT_HEALTH] = "health",
	[SLOT_GATEWAY] = "gateway0",
	"gateway1",
	"gateway2",
	"gateway3",
	"gateway4",
	"gateway5",
	"gateway6",
	"gateway7",
	"gateway8",
	"gateway9",
	"gateway10",
	"gateway11",
	"gateway12",
	"gateway13",
	"gateway14",
	"gateway15",
};
_Static_assert(NITEMS(slot_names) == SLOT_MAX, "a name for each slot");

static const char *const state_names[] = {
	[SLOT_EMPTY] = "empty",
	[SLOT_STARTING] = "starting",
	[SLOT_RUNNING] = "running",
	[SLOT_STOPPING] = "stopping",
	[SLOT_EXITED] = "exited",
	[SLOT_BACKOFF] = "backoff",
};

static const char *const busy_names[] = {
	[BUSY_NOT] = "",
	[BUSY_BUFFER] = "wal buffer full",
	[BUSY_RETURN] = "return ring full",
	[BUSY_TABLE] = "table full",
	[BUSY_RESULT] = "result ring full",
	[BUSY_REQUEST] = "request ring full",
	[BUSY_SPACE] = "disk full",
	[BUSY_BOOT] = "boot phase",
	[BUSY_MEMORY] = "no memory",
	[BUSY_LOG] = "log unreadable",
};
_Static_assert(NITEMS(busy_names) == BUSY_MAX, "a name for each reason");

const char *
slot_name(unsigned slot)
{
	if (slot >= SLOT_MAX || slot_names[slot] == NULL)
		return "slot?";
	return slot_names[slot];
}

const char *
slot_state_name(unsigned state)
{
	return state < NITEMS(state_names) ? state_names[state] : "state?";
}

const char *
busy_name(unsigned busy)
{
	return busy < NITEMS(busy_names) ? busy_names[busy] : "busy?";
}
