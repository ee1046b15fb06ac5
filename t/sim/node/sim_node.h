/*
 * Private to the simulator: the world around one node. What the model knows,
 * what the parts tell each other.
 */
#ifndef T_SIM_NODE_SIM_NODE_H
#define T_SIM_NODE_SIM_NODE_H

#include <stdbool.h>
#include <stdint.h>
#include "shm/kv/op.h"
#include "supervisor/node.h"
#include "workers/worker.h"

struct kv;

#define KEYS        64
#define KEYS_NUMBER 8 /* the first ones, whose values are numbers */
#define VALUE_MAX   400000u
#define SEEN_MAX    3 /* keys of a read */
#define READINGS    400 /* between two checks */

enum write_state {
	WRITE_SENT, /* what comes of it is not known (yet) */
	WRITE_PLACED, /* the log says where it is */
	WRITE_ACKED,
	WRITE_REFUSED
};

/* One write of a client; its number is in its values. */
struct write {
	uint8_t state, type, slot;
	bool early; /* acknowledged when committed, else with its result */
	bool left; /* who sent it is dead, or was told that nobody knows */
	uint64_t sent_ns;
	uint32_t seq, incarnation, life;
	uint64_t vlsn;
	uint64_t term; /* of the mastership that appended it */
	uint64_t reach; /* of the table's room, the most */
	uint32_t len;
	uint8_t *payload;
};

/* What a read saw of a key; len 0 = that there is none. */
struct seen {
	uint8_t key;
	uint32_t len, crc;
	int64_t expire_ms;
};

/* Of a moment between two VLSNs. */
struct reading {
	uint64_t from, to;
	bool fits; /* it is what the log says */
	struct seen seen[SEEN_MAX];
};

struct world {
	/* What this seed is like. */
	uint32_t writes_wanted, window;
	unsigned gateways;
	unsigned expiry; /* one value in so many is to expire; 0: none is */
	unsigned fat; /* one value in so many is long; 0: few are */
	bool disk_fails, stalls, slow;
	bool older; /* after a stop in order it is of an older release */
	bool holds_up; /* an answer may wait, though nothing is wrong */
	unsigned harm; /* events of chaos to come */
	unsigned harms; /* of them, that have been */
	enum { HARM_COMES, HARM_AT_WRITE, HARM_AT_ACK } harm_waits;
	bool cut_wanted; /* group is to lose its role, and have the log cut */
	uint64_t pause_ns; /* between two bursts of writes */
	struct conf conf;

	struct write *write; /* room for all that are wanted, and some */
	uint32_t room, count, acked;
	unsigned pair[2]; /* keys of the newest write with two of them */
	struct reading reading[READINGS];
	unsigned readings;
	uint32_t lives; /* of gateways: names them */
	uint64_t checked; /* boot_id of the newest region that was */
	unsigned checks;
	uint64_t progress_ns; /* the last of what shows that it goes on */
	bool over; /* no more writes, no more harm, */
	uint64_t stop_ns; /* until it is stopped in order; 0 = it was */
	unsigned checks_before; /* then */

	/* As long as there is one. */
	int supervisor; /* pid */
	struct node *node;
	int exit_code; /* of the newest one that ended by itself, */
	bool ended; /* if it did */
	bool stopped; /* the one before was stopped in order */
	bool harmed; /* while it ran */
	bool is_older; /* its node file may say so */
	uint64_t start_ns; /* when the next one starts; 0 = it has */
	unsigned starts, kills, power_losses, boots;
	unsigned vain; /* starts since it last served, or was harmed */
};

extern struct world world;

/* sim_world.c: set it up and begin; the seed's end is sim_run()'s. */
void world_begin(void);
void world_progress(void);
void world_wrote(void); /* a burst of writes has just been sent */
void world_acked(void); /* one was acknowledged */
/* sim_client.c: a value that tells what wrote it; its length. A key's name. */
uint32_t client_value(uint8_t *at, uint32_t number, uint32_t len);
struct op_arg client_key(char buf[16], unsigned key);
/* sim_check.c: compare what the node has with what it was given. */
void client_check(struct worker *w, struct kv *kv);
/*
 * sim_older.c: make what is there a data directory of the release before log
 * format 2, if the disk is quiet; and look whether one is what it must be.
 */
void older_make(void);
void older_look(void);
/* sim_outside.c: the power is lost, /dev/shm is empty. */
void sim_region_forget(void);

#endif
