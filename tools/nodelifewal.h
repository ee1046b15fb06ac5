/*
 * nodelifewal: reading a log offline. The walk follows the chain of segments
 * with the judge of a boot, and hands every record to the command. It only
 * ever reads, so the log may be a running node's.
 */
#ifndef TOOLS_NODELIFEWAL_H
#define TOOLS_NODELIFEWAL_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <jansson.h>
#include "shm/log/logcheck.h"

/* Exit status: enum log_verdict, or: damaged where no boot looks. */
#define WALK_UNNEEDED 3

/* A log, and the data directory that it is in, if it is in one. */
struct walk_dir {
	int wal; /* -1 = the data directory has none */
	int data; /* -1 = none */
	char path[PATH_MAX]; /* of the data directory */
	uint8_t uuid[16]; /* of the group, by the node file */
};

struct walk_ops {
	/* A record at `offset` of that segment; payload until return. false:
	   end the walk. */
	bool (*record)(void *ctx, const struct segment_entry *e,
	    uint32_t offset, const struct record *rec);
	void (*fault)(void *ctx, const struct log_fault *fault);
	void *ctx;
};

struct walk_result {
	enum log_verdict verdict;
	bool unneeded; /* damage where no boot looks */
	uint32_t segments; /* of the chain */
	uint32_t others; /* files that are none of it */
	uint32_t faults;
	uint32_t end_segment, end_offset; /* where the log ends */
	uint64_t first, last; /* VLSNs; 0 = no record */
	uint64_t durable, committed; /* highest that anything tells */
	struct log_known known;
	int checkpoint_error; /* why it could not be read; 0 or -errno */
	uint32_t error_segment, error_offset; /* of a failed read */
};

/*
 * path: a data directory, or its wal. 0 or -errno (-ENOTDIR, -ENOENT: there
 * is no log).
 */
int walk_open(const char *path, struct walk_dir *out);
void walk_close(struct walk_dir *dir);
/*
 * Walk the chain. from, to: VLSNs wanted (1, UINT64_MAX: all); segments that
 * hold none of them are left out, so their faults are not found. 0; -ENOENT:
 * there are no segment files; other -errno: they could not be read.
 */
int walk_log(const struct walk_dir *dir, uint64_t from, uint64_t to,
    const struct walk_ops *ops, struct walk_result *out);
/* Say why walk_log() failed, and with what status to exit. */
void walk_print_error(const struct walk_result *r, int error);
int walk_exit(const struct walk_result *r, int error);
void walk_print_fault(FILE *out, const struct log_fault *fault);

struct dump_options {
	uint64_t from, to;
	bool json, verbose;
};

/* Commands: the exit status. */
int dump_main(const struct walk_dir *dir, const struct dump_options *options);
int stat_main(const struct walk_dir *dir, bool json);
int verify_main(const struct walk_dir *dir);

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
