/*
 * What a configuration may take of memory at most, and making it fit what the
 * machine gives: pure, no I/O. nodelife.ini(5), MEMORY, has the formula.
 */
#ifndef CONF_CONF_FIT_H
#define CONF_CONF_FIT_H

#include "conf/conf.h"

#define CONF_FIT_MAX        16 /* sentences; one a key that shrank, and four */
#define CONF_FIT_TEXT       440 /* bytes of one, with its NUL */
#define CONF_LIMIT_FILE_MAX 240 /* of a limit's file */

/* Bytes; each a sum of what can be had at the same time. */
struct conf_need {
	uint64_t region; /* /dev/shm of a busy node */
	uint64_t region_least; /* without it the node cannot go on at all */
	uint64_t clients; /* all gateways */
	uint64_t store; /* a record and its results, outside the region */
	uint64_t checkpoint;
	uint64_t processes; /* what each has anyway */
	uint64_t total; /* of these, region_least left out */
};

struct conf_limits {
	uint64_t shm; /* bytes that /dev/shm can give; 0 = no limit */
	uint64_t memory; /* bytes for all together; 0 = no limit */
	char memory_file[CONF_LIMIT_FILE_MAX]; /* of a control group, that says
					    so;
					    "" = it is the machine's */
	uint64_t files; /* descriptors of one process; 0 = no limit */
};

struct conf_fit {
	unsigned count;
	char text[CONF_FIT_MAX][CONF_FIT_TEXT]; /* for the log */
	bool shrunk; /* a key changed */
	bool over; /* it may still take more than there is */
	bool refused; /* it can never work; the last text says why */
	unsigned
	    short_of; /* a text: what a set key is above; CONF_FIT_MAX = none */
};

/* Descriptors that a gateway has beside its clients'. */
#define CONF_FILES_OWN 256
/* What one gateway wants for its share of max_clients. */
uint64_t conf_files(const struct conf *conf);

void conf_need(const struct conf *conf, struct conf_need *need);
/*
 * Shrink keys that the file does not set until the node fits, never below
 * what other keys ask for; max_clients, set or not, to what the descriptors
 * allow. *fit says what was done and what is left.
 */
void conf_fit(
    struct conf *conf, const struct conf_limits *limits, struct conf_fit *fit);

#endif
