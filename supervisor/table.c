/*
 * The worker table: who runs in which slot, what its death means, what it
 * keeps open; and the gates of a boot. Row order is start order: the log's
 * scan is the longest part of a boot, so it starts first.
 */
#include "supervisor/node.h"

#include "shm/assert.h"

static const struct worker_row workers[] = {
	{ SLOT_WAL, wal_main, POLICY_NODE, KEEP_DATA | KEEP_FROM },
	{ SLOT_CHECKPOINT, checkpoint_main, POLICY_WORKER, KEEP_DATA },
	{ SLOT_STORE, store_main, POLICY_NODE, KEEP_DATA },
	{ SLOT_GROUP, group_main, POLICY_NODE, KEEP_DATA | KEEP_PEERS },
	{ SLOT_VLSN, vlsn_main, POLICY_WORKER, KEEP_DATA },
	{ SLOT_RESTORE, restore_main, POLICY_WORKER, KEEP_DATA | KEEP_FROM },
	{ SLOT_HEALTH, health_main, POLICY_WORKER, KEEP_HTTP },
	{ SLOT_GATEWAY, gateway_main, POLICY_WORKER, KEEP_DATA | KEEP_LISTEN },
};

static const struct gate_row gates[] = {
	{ PHASE_WAL_RECOVERY, SLOT_WAL, "log scanned" },
	{ PHASE_WAL_RECOVERY, SLOT_GROUP, "state and members read" },
	{ PHASE_CLUSTER_CATALOG_OPEN, SLOT_CHECKPOINT, "checkpoint opened" },
	{ PHASE_CLUSTER_CATALOG_OPEN, SLOT_STORE, "store opened" },
	{ PHASE_RAFT_METADATA_REPLAY, SLOT_WAL, "log begun" },
	{ PHASE_RAFT_METADATA_REPLAY, SLOT_GROUP, "term, vote, members" },
	{ PHASE_SCHEMA_CACHE_WARMUP, SLOT_VLSN, "VLSN index loaded" },
	{ PHASE_CATALOG_SANITY_CHECK, SLOT_STORE, "store agrees with log" },
	{ PHASE_CATALOG_SANITY_CHECK, SLOT_VLSN, "index agrees with log" },
	{ PHASE_DATA_GROUPS_REPLAY, SLOT_STORE, "records applied" },
	{ PHASE_TRANSPORT_BIND, SLOT_GATEWAY, "sockets listen" },
	{ PHASE_WARM_PEERS, SLOT_GROUP, "peers dialled" },
	{ PHASE_HEALTH_LOOP_START, SLOT_HEALTH, "health pages" },
	{ PHASE_GATEWAY_ENABLE, SLOT_GATEWAY, "clients served" },
};

const struct worker_row *
worker_row_at(unsigned index)
{
	return index < NITEMS(workers) ? &workers[index] : NULL;
}

const struct worker_row *
worker_row_of(unsigned slot)
{
	if (slot >= SLOT_GATEWAY)
		slot = SLOT_GATEWAY;
	for (unsigned i = 0; i < NITEMS(workers); i++)
		if (workers[i].slot == slot)
			return &workers[i];
	ASSERT(!"a slot without a row");
	return NULL;
}

bool
worker_is_spare(unsigned slot)
{
	return slot == SLOT_VLSN || slot == SLOT_HEALTH || slot == SLOT_RESTORE;
}

bool
worker_is_wanted(const struct node *n, unsigned slot)
{
	if (n->unjoined)
		return slot == SLOT_GROUP || slot == SLOT_HEALTH;
	/* Who has nobody to feed. */
	return slot != SLOT_RESTORE || n->conf.peer_count > 0;
}

const struct gate_row *
gate_row_at(unsigned index)
{
	return index < NITEMS(gates) ? &gates[index] : NULL;
}
