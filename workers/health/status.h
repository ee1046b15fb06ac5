/*
 * How the node is, read from the region at one moment: the facts that all
 * pages are made of, and what each probe concludes from them. Pure but for
 * the reading; no clock but the caller's.
 */
#ifndef WORKERS_HEALTH_STATUS_H
#define WORKERS_HEALTH_STATUS_H

#include <stdbool.h>
#include <stdint.h>
#include "conf/conf.h"
#include "shm/members.h"
#include "shm/region.h"

/* In a word; also the "status" of pages. */
enum health_word {
	HEALTH_STARTING, /* boot is under way */
	HEALTH_WAITING, /* the next boot waits: its time, a fault of the world
			 */
	HEALTH_STUCK, /* a trouble stops reads, and so all that is served */
	HEALTH_DEGRADED, /* ready, but not for what /readyz?want= asks */
	HEALTH_OK,
	HEALTH_READONLY, /* serves reads only: recovery mode readonly */
	HEALTH_DRAINING, /* a stop is under way */
	HEALTH_FAILED, /* the boot failed */
};

struct status {
	enum health_word health;
	struct seq_snapshot seq;
	struct commit_view view;
	struct members_look group;
	bool waiting; /* what serves, or served, is over; the next boot comes */
	bool booted; /* gateway_enable was reached in this boot */
	bool can_read; /* what is served; linearizable, or readonly */
	bool can_read_eventual; /* by who asks for no more, also of a replica */
	bool can_write;
	bool no_space; /* the log has no room: writes are refused */
	uint64_t now_ns;
	unsigned stops; /* enum trouble_stops, of all that stand */
	unsigned trouble_count;
	struct trouble_info trouble[TROUBLE_COUNT];
	bool master_known;
	const char *master; /* points into the region */
	bool alive;
	unsigned stuck_slot; /* !alive: who made no progress */
	uint64_t stuck_ms;
	uint64_t budget_ms; /* left for this stage or the whole boot; 0 after */
};

void status_read(struct status *st, const struct region *r,
    const struct conf *conf, uint64_t now_ns);

const char *health_name(enum health_word health);
/* "normal", "readonly", "force". */
const char *recovery_name(unsigned mode);

/*
 * Why this node, which is ready, does not serve every read and write; "" = it
 * does, or the page's status says why. Writes at most size bytes, returns buf.
 */
char *status_reason(const struct status *st, char *buf, size_t size);

/* HTTP status of the probes. */
unsigned status_startupz(const struct status *st);
unsigned status_readyz(const struct status *st);
unsigned status_livez(const struct status *st);

#endif
