/*
 * nodelifewal: reading a log offline. The walk follows the chain of segments
 * as recovery does, judges what ends it, and hands every record to the
 * command. It only ever reads, so the log may be a running node's.
 */
#ifndef TOOLS_NODELIFEWAL_H
#define TOOLS_NODELIFEWAL_H

#include <stdbool.h>
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include "shm/segment.h"

/* What a log turned out to be; also the exit status. */
enum verdict { LOG_GOOD = 0, LOG_TORN = 1, LOG_DAMAGED = 2 };

/* One thing that is wrong, with its place; text stays the walk's. */
struct walk_fault {
	enum verdict verdict;
	uint32_t segment;
	uint32_t offset;
	const char *what;
	uint64_t vlsn; /* newest good one before it */
	uint64_t durable, committed; /* known to be when what follows was
					written */
};

struct walk_ops {
	/* A segment of the chain begins. false: end the walk. */
	bool (*segment)(void *ctx, const struct segment_entry *e);
	/* A record at `offset` of that segment; payload until return. */
	bool (*record)(void *ctx, const struct segment_entry *e,
	    uint32_t offset, const struct record *rec);
	void (*fault)(void *ctx, const struct walk_fault *fault);
	void *ctx;
};

struct walk_result {
	enum verdict verdict;
	uint32_t segments; /* of the chain */
	uint32_t others; /* files that are none of it */
	uint32_t faults;
	uint32_t end_segment, end_offset; /* where the log ends */
	uint64_t first, last; /* VLSNs; 0 = no record */
	uint64_t durable, committed; /* highest that a batch head carries */
	uint8_t uuid[16];
	uint64_t generation;
};

/*
 * path: a data directory, or its wal. Returns a descriptor or -errno
 * (-ENOTDIR, -ENOENT: there is no log).
 */
int walk_open_dir(const char *path);
/*
 * Walk the chain. from, to: VLSNs wanted (1, UINT64_MAX: all); segments that
 * hold none of them are left out, so their faults are not found. 0; -ENOENT:
 * there are no segment files; other -errno: they could not be read.
 */
int walk_log(int wal_dir, uint64_t from, uint64_t to,
    const struct walk_ops *ops, struct walk_result *out);
/* Say why walk_log() failed, and with what status to exit then. */
void walk_print_error(int error);
int walk_exit(int error);
const char *verdict_name(enum verdict verdict);
void walk_print_fault(FILE *out, const struct walk_fault *fault);

struct dump_options {
	uint64_t from, to;
	bool json, verbose;
};

/* Commands: the exit status. */
int dump_main(int wal_dir, const struct dump_options *options);
int stat_main(int wal_dir, bool json);
int verify_main(int wal_dir);

/* Decoding of payloads for dump; parts are joined. */
struct payload;
struct payload *payload_new(void);
void payload_free(struct payload *p);
/*
 * Take a record. NULL and *n = 0: it has no operations (yet). Else its whole
 * payload, valid until the next call. *note gets a text on what is odd, or
 * NULL.
 */
const uint8_t *payload_take(
    struct payload *p, const struct record *rec, size_t *n, const char **note);
void payload_print(
    FILE *out, const struct record *rec, const uint8_t *data, size_t n);
/* The operations as a JSON array; NULL if they cannot be decoded. */
struct json_t *
payload_json(const struct record *rec, const uint8_t *data, size_t n);

#endif
