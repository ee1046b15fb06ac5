/*
 * What one attacker does in one life, from its connect to its close: bytes,
 * and the manner of sending and of reading. script.c draws them by chance; the
 * engine (attack.c) plays them.
 */
#ifndef T_HOSTILE_SCRIPT_H
#define T_HOSTILE_SCRIPT_H

#include "t/hostile/net.h"

#define SCRIPT_ALL SIZE_MAX

struct bytes {
	uint8_t *data; /* malloc'ed */
	size_t len, cap;
};

struct script {
	struct bytes head;
	size_t fill; /* behind head: so many bytes of no meaning, ... */
	const char *tail; /* ... and this */
	unsigned repeat; /* all of that so many times */
	size_t cut; /* but no more than these bytes */
	size_t write_step; /* at most so many at a time, ... */
	unsigned write_us; /* ... with such a pause */
	size_t read_step; /* the same for replies; 0: reads none */
	unsigned read_us;
	uint64_t answers; /* ends with so many; 0: at hold_ms, or the peer's */
	unsigned hold_ms; /* ends latest */
	bool half_close; /* says that nothing more comes */
	bool rude; /* closes with a reset, as many do at a time */
};

enum kind {
	KIND_CHATTER,
	KIND_TRANSACTION,
	KIND_BIG,
	KIND_BIG_READS,
	KIND_SLOW_READER,
	KIND_HALF,
	KIND_TRICKLE,
	KIND_GARBAGE,
	KIND_CONNECT,
	KIND_EXPIRY,
	KIND_COLLISION,
	KIND_MANY_ARGS,
	KIND_GLOB,
	KIND_WATCH,
	KIND_HELLO,
	KIND_FLUSH, /* only in turns with the writer; see attack.c */
	KIND_HTTP_PROBE,
	KIND_HTTP_TRICKLE,
	KIND_HTTP_GIANT,
	KIND_HTTP_BODY,
	KIND_HTTP_GARBAGE,
	KIND_COUNT
};

/* What a slot does all its lives: those who wait would leave none for others.
 */
enum role { ROLE_BUSY, ROLE_WAITING, ROLE_HTTP, ROLE_FLUSH, ROLE_COUNT };

extern const char *const kind_names[KIND_COUNT];

/* Speaks HTTP, to that port. */
static inline bool
kind_is_http(enum kind kind)
{
	return kind >= KIND_HTTP_PROBE;
}

/* From now on every role draws this one: for finding out who did it. */
int script_only(const char *name); /* 0, or -1: there is none */

/* Draw a kind by weight. */
enum kind script_kind(uint64_t *rng, enum role role);

/* Make s anew; what it held is freed. */
void script_make(struct script *s, enum kind kind, uint64_t *rng);

/* One FLUSHALL, answered: what a KIND_FLUSH ends with. */
void script_flush(struct script *s);

#endif
