/*
 * Private to conf/: what a row of the table says, and the value functions that
 * read it. A new key is a field in struct conf and a row in conf_schema.c;
 * parsing, printing, reload, sample and man page follow from the row.
 */
#ifndef CONF_CONF_SCHEMA_H
#define CONF_CONF_SCHEMA_H

#include "conf/conf.h"

enum conf_kind {
	CONF_KIND_NAME, /* char[]: [A-Za-z0-9_.-]+ */
	CONF_KIND_PATH, /* char[]: absolute path */
	CONF_KIND_LOG, /* char[]: stderr, syslog or absolute path */
	CONF_KIND_USER, /* char[]: a login name */
	CONF_KIND_PASSWORD, /* char[]: bytes without blanks and controls */
	CONF_KIND_ADDR, /* char[]: host:port */
	CONF_KIND_ENUM, /* an enum; words[value] is its spelling */
	CONF_KIND_U32, /* uint32_t */
	CONF_KIND_CPU, /* int32_t, -1 = none */
	CONF_KIND_SIZE, /* uint64_t bytes */
	CONF_KIND_DURATION, /* uint32_t milliseconds */
	CONF_KIND_PEERS, /* struct conf_peer[]: an address in each section */
};

struct conf_key {
	const char *section;
	const char *name;
	enum conf_kind kind;
	uint32_t offset; /* in struct conf */
	uint32_t size; /* of that field, bytes */
	const char *def; /* as the file would spell it; NULL = required */
	uint64_t min; /* numbers, sizes and durations, in the field's unit */
	uint64_t max;
	uint64_t multiple; /* sizes: of this many bytes, 0 = any */
	bool power_of_two; /* sizes */
	bool optional; /* `none` is a value: "", 0 or -1 in the field */
	bool fixed; /* decided at the founding */
	bool live;
	const char *const *words; /* enums; NULL ends it */
	const char *help; /* sentences, one line, plain ASCII without '\' */
};

#define CONF_HELP_MAX 512 /* bytes of a help text; a test holds all to it */
#define CONF_WHY_SIZE 256 /* a message of conf_value_set() */

/*
 * Check text against the row and store it in conf. 0, or -EINVAL with a
 * message about the value in why; conf is then untouched.
 */
int conf_value_set(struct conf *conf, const struct conf_key *key,
    const char *text, char *why, size_t why_size);
/* The field itself, for kinds that are char arrays. */
const char *
conf_value_text(const struct conf *conf, const struct conf_key *key);
bool conf_value_equal(
    const struct conf *a, const struct conf *b, const struct conf_key *key);
void conf_value_copy(
    struct conf *to, const struct conf *from, const struct conf_key *key);

/* The row of a key of one [peer]: its own field of the i-th. */
void
conf_key_of_peer(const struct conf_key *key, uint32_t i, struct conf_key *out);

bool conf_section_known(const char *section);
/* Letters, digits, '_', '.', '-', and not too many of them? */
bool conf_name_is_valid(const char *name);
/* Nearest known spelling within edit distance 2, or NULL. */
const char *conf_section_nearest(const char *section);
const struct conf_key *conf_key_nearest(const char *section, const char *name);
/* A section that has a key of this name, or NULL. */
const char *conf_key_elsewhere(const char *name);

/* Is the budget `key` computed from startup_probe rather than set? */
bool conf_key_derived(const struct conf *conf, const struct conf_key *key);
/* Line that set a field of struct conf, 0 = default. */
uint32_t conf_line_of(const struct conf *conf, size_t offset);

/* Add a message; line 0 leaves the line out. Never fails: counts what it
 * cannot keep. */
__attribute__((format(printf, 4, 5))) void
conf_errors_add(struct conf_errors *errs, const char *name, uint32_t line,
    const char *fmt, ...);

/* Where a section began (0 = nowhere), for messages about what is missing. */
struct conf_where {
	const char *name; /* of the file */
	uint32_t last_line;
	uint32_t section_line[CONF_KEYS_MAX]; /* by index of its first key */
};

/* Required keys, then everything that spans more than one key; derives the
 * budgets from startup_probe. Adds to errs what it finds. */
void conf_check(struct conf *conf, const struct conf_where *where,
    struct conf_errors *errs);

#endif
