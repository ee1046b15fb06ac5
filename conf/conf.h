/*
 * The configuration of a node: every value that nodelife.ini(5) can set, typed
 * and checked. conf/conf_schema.c holds the one table behind it.
 *
 * Lifecycle: conf_load() once at start, again into a fresh struct at SIGHUP
 * (conf_diff() says what changed, conf_apply_live() takes over what may change
 * while the node runs), conf_free() at the end. struct conf owns no memory and
 * holds no pointers, so it is inherited by fork() and copied by assignment.
 *
 * Nothing here logs or exits. Not thread safe (inih keeps its options in
 * globals); each process of a node has one thread.
 */
#ifndef CONF_CONF_H
#define CONF_CONF_H

#include <sys/socket.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define CONF_DEFAULT_FILE "/etc/nodelife/nodelife.ini"

#define CONF_NAME_SIZE     64 /* a node's or group's name: 1 to 63 bytes */
#define CONF_PATH_SIZE     1024 /* leaves room below PATH_MAX for file names */
#define CONF_RUN_DIR_SIZE  91 /* + "/control.sock" must fit in sun_path */
#define CONF_UNIX_SIZE     108 /* sizeof(sun_path) */
#define CONF_ADDR_SIZE     272 /* host name (253), brackets, colon, port */
#define CONF_PASSWORD_SIZE 512
#define CONF_USER_SIZE     33 /* LOGIN_NAME_MAX of useradd is 32 */
#define CONF_PEERS_MAX     15 /* [peer] sections: a group has 16 members */
#define CONF_KEYS_MAX      64 /* rows of the table; asserted there */
#define CONF_VALUE_SIZE    1024 /* any value as text, with its NUL */
#define CONF_FILE_MAX      (1 << 20) /* bytes; a config is a few KiB */
#define CONF_LINE_MAX      2048 /* bytes of one line, without its newline */
#define CONF_ERRORS_MAX    100 /* kept per run; the rest is only counted */

enum conf_node_type {
	CONF_TYPE_ELECTABLE,
	CONF_TYPE_SECONDARY,
	CONF_TYPE_ARBITER,
	CONF_TYPE_MONITOR,
};

enum conf_log_level {
	CONF_LOG_DEBUG,
	CONF_LOG_INFO,
	CONF_LOG_WARN,
	CONF_LOG_ERROR,
};

enum conf_recovery_mode {
	CONF_RECOVERY_NORMAL,
	CONF_RECOVERY_READONLY,
	CONF_RECOVERY_FORCE,
};

enum conf_sync {
	CONF_SYNC_SYNC,
	CONF_SYNC_WRITE_NO_SYNC,
	CONF_SYNC_NO_SYNC,
};

enum conf_wal_io {
	CONF_WAL_IO_AUTO,
	CONF_WAL_IO_DIRECT,
	CONF_WAL_IO_BUFFERED,
};

enum conf_answer {
	CONF_NO,
	CONF_YES,
};

/* Another member of the group, as far as it is told of before the founding. */
struct conf_peer {
	char name[CONF_NAME_SIZE]; /* [peer NAME] */
	char address[CONF_ADDR_SIZE]; /* where it listens for members */
};

enum conf_ack_policy {
	CONF_ACK_MAJORITY,
	CONF_ACK_ALL,
	CONF_ACK_NONE,
};

/*
 * A field has the name of its key; a duration ends in _ms; a size is in bytes.
 * Text is NUL-terminated and zero-filled to its end; "" means `none`.
 */
struct conf {
	struct {
		char name[CONF_NAME_SIZE];
		char group[CONF_NAME_SIZE];
		enum conf_node_type type;
		char data_dir[CONF_PATH_SIZE]; /* absolute, no '/' at the end */
		char run_dir[CONF_RUN_DIR_SIZE]; /* as data_dir */
		char user[CONF_USER_SIZE]; /* "" = stay who we are */
		char log[CONF_PATH_SIZE]; /* stderr, syslog, or a path */
		enum conf_log_level log_level;
		uint32_t gateways;
	} node;
	struct {
		char client[CONF_ADDR_SIZE]; /* conf_addr_resolve() reads it */
		char client_unix[CONF_UNIX_SIZE]; /* "" = none */
		char peer[CONF_ADDR_SIZE]; /* "" = none */
		char http[CONF_ADDR_SIZE];
		char announce[CONF_ADDR_SIZE]; /* "" = client */
		uint32_t max_clients;
		uint64_t max_output;
		uint64_t max_query;
		uint64_t client_memory;
		uint32_t idle_timeout_ms; /* 0 = none */
	} listen;
	struct {
		enum conf_recovery_mode recovery_mode;
		uint32_t init_budget_ms; /* budgets: already derived from */
		uint32_t migrate_budget_ms; /* startup_probe, if that is set */
		uint32_t recover_budget_ms;
		uint32_t warmup_budget_ms;
		uint32_t total_budget_ms;
		uint32_t startup_probe_ms; /* 0 = off */
	} boot;
	struct {
		uint64_t segment_size;
		uint64_t buffer_size;
		uint64_t keep_size;
		enum conf_sync sync;
		enum conf_wal_io io;
		uint32_t spare_segments;
		uint64_t reserve;
		uint32_t disk_stall_limit_ms;
		uint32_t max_clock_step_ms;
	} wal;
	struct {
		uint64_t map_size; /* 0 = none */
		uint64_t table_size;
		uint64_t checkpoint_wal;
		uint64_t max_value;
		uint64_t max_record;
		uint64_t checkpoint_memory;
	} store;
	struct {
		enum conf_ack_policy ack_policy;
	} replication;
	struct {
		uint32_t heartbeat_ms;
		uint32_t lease_ms;
		uint32_t priority;
	} election;
	struct {
		uint32_t window_ms;
		uint32_t limit;
		uint32_t backoff_min_ms;
		uint32_t backoff_max_ms;
		uint32_t give_up_ms; /* 0 = none */
	} restart;
	struct {
		uint32_t timeout_ms;
	} liveness;
	struct {
		uint32_t phase_budget_ms;
		uint32_t listen_hold_ms;
	} shutdown;
	struct {
		char password[CONF_PASSWORD_SIZE]; /* "" = none */
		char group_key_file[CONF_PATH_SIZE]; /* "" = none */
		enum conf_answer insecure;
	} security;
	struct {
		int32_t io; /* CPU number, -1 = none */
	} cpu;

	bool peer_asked; /* [listen] peer is set by the file */
	struct conf_peer peer[CONF_PEERS_MAX]; /* zeros behind peer_count */
	uint32_t peer_count;

	/* Line that set the key of that index in the table, 0 = default; of
	 * `address` in [peer], which there may be many of, the last one. */
	uint32_t line[CONF_KEYS_MAX];
	/* Where each [peer] begins, and its address is set. */
	uint32_t peer_line[CONF_PEERS_MAX], peer_address_line[CONF_PEERS_MAX];
};

/*
 * What is wrong with a file, one message per entry, each "FILE:LINE: why" (or
 * "FILE: why" when it could not be read). Start with { 0 }; the strings are
 * owned and freed by conf_errors_free().
 */
struct conf_errors {
	char *text[CONF_ERRORS_MAX]; /* in the order of lines */
	uint32_t line[CONF_ERRORS_MAX]; /* 0 = of the whole file */
	uint32_t count;
	uint32_t sort_from; /* private: first message of the file at hand */
	uint32_t dropped; /* found, but beyond the maximum or out of memory */
};

/*
 * Read and check a file. 0: *conf is filled (what it held before is gone).
 * -EINVAL: the content is refused. Another -errno: the file could not be read,
 * or memory is short. On error *conf is untouched and errs has at least one
 * message (count or dropped is not 0). Blocks on disk.
 */
int conf_load(struct conf *conf, const char *path, struct conf_errors *errs);

/* The same from memory; name stands for FILE in messages. text stays the
 * caller's and needs no NUL. */
int conf_load_string(struct conf *conf, const char *name, const char *text,
    size_t text_len, struct conf_errors *errs);

/*
 * run_dir alone, for who looks for a node: *run_dir also if the file is
 * refused, as long as it sets that key; else "". Returns as conf_load().
 */
int conf_find_run_dir(const char *path, char run_dir[CONF_RUN_DIR_SIZE],
    struct conf_errors *errs);

/* Every key at its default; required keys have none and stay empty. */
void conf_defaults(struct conf *conf);

/* Is this node to have a port for members of a group? */
static inline bool
conf_wants_peers(const struct conf *conf)
{
	return conf->listen.peer[0] != '\0' &&
	       (conf->peer_count > 0 || conf->peer_asked);
}

/* Forget the content; it may hold a password. */
void conf_free(struct conf *conf);

void conf_errors_print(const struct conf_errors *errs, FILE *out);
void conf_errors_free(struct conf_errors *errs);

/* One row of the table. Rows are constant and live as long as the program. */
struct conf_key;

uint32_t conf_key_count(void);
/* NULL if index is out of range. Rows of one section are neighbours. */
const struct conf_key *conf_key_at(uint32_t index);
/* NULL if there is no such key. */
const struct conf_key *conf_key_find(const char *section, const char *name);

const char *conf_key_section(const struct conf_key *key);
const char *conf_key_name(const struct conf_key *key);
const char *conf_key_help(const struct conf_key *key); /* one line */
const char *conf_key_default(const struct conf_key *key); /* "" if required */
bool conf_key_live(const struct conf_key *key); /* reload may change it */
/* Decided when the node is founded, for as long as its data live. */
bool conf_key_fixed(const struct conf_key *key);
bool conf_key_required(const struct conf_key *key);
bool conf_key_secret(const struct conf_key *key); /* never shown */
/* Bounds and syntax in words, e.g. "4M to 1G, a multiple of 1M". */
void conf_key_domain(const struct conf_key *key, char *buf, size_t buf_size);
/* The value as the file would spell it; "(hidden)" for a secret that is set. */
void conf_key_value(const struct conf *conf, const struct conf_key *key,
    char *buf, size_t buf_size);
/* Was it set by the file (true), or is it a default or derived (false)? */
bool conf_key_is_set(const struct conf *conf, const struct conf_key *key);

/* The effective configuration as INI that conf_load() accepts; each value has
 * a comment: line that set it, default, or derived. A password is left out. */
void conf_print(const struct conf *conf, FILE *out);
/* conf/nodelife.ini: every key with its default, commented out. */
void conf_print_sample(FILE *out);
/* The key list of nodelife.ini(5) in mdoc. */
void conf_print_mdoc(FILE *out);
/* In mdoc: a new line for each sentence. */
void conf_print_text(const char *text, FILE *out);

struct conf_change {
	const struct conf_key *key;
	bool live; /* false: takes effect at the next start */
};

/* Keys whose values differ, in table order; returns how many. */
uint32_t conf_diff(const struct conf *old, const struct conf *fresh,
    struct conf_change list[CONF_KEYS_MAX]);
/* Copy the live keys, and only those, into the running configuration. */
void conf_apply_live(struct conf *running, const struct conf *fresh);

struct conf_addr {
	struct sockaddr_storage addr;
	socklen_t addr_len;
};

/*
 * Split "host:port" or "[v6]:port"; 0 or -EINVAL, then *why (if not NULL) is
 * a constant text that says what is wrong. host gets no brackets.
 */
int conf_addr_split(const char *text, char *host, size_t host_size,
    uint16_t *port, const char **why);
/*
 * Stream addresses to bind or connect to. Returns how many were stored (at
 * most list_max, 1 or more), or -errno; *why (if not NULL) then says why, as a
 * constant text. Blocks: a host name may ask DNS.
 */
int conf_addr_resolve(const char *text, struct conf_addr *list,
    uint32_t list_max, const char **why);

/* Does it name this machine alone, whatever a resolver says? */
bool conf_addr_is_local(const char *text);
/* Does its host stand for all addresses of this machine? */
bool conf_addr_is_any(const char *text);

/*
 * May other hosts reach the client port, and is no password asked for? Or the
 * HTTP port, which never asks? Or the members' port, without a key? A sentence
 * for an admin for each; how many.
 * Blocks: a host name may ask DNS.
 */
#define CONF_EXPOSED_MAX 3
#define CONF_SENTENCE    192 /* an event has room for it */
unsigned
conf_exposed(const struct conf *c, char text[CONF_EXPOSED_MAX][CONF_SENTENCE]);

/* "20ms", "5s", "3m", "1h" to milliseconds; 0 or -EINVAL (syntax), -ERANGE. */
int conf_duration_parse(const char *text, uint64_t *ms);
/* "4096", "512K", "64M", "1G", "2T" to bytes; 0 or -EINVAL, -ERANGE. */
int conf_size_parse(const char *text, uint64_t *bytes);
/* The shortest exact spelling; buf_size of 24 always suffices. */
void conf_duration_format(uint64_t ms, char *buf, size_t buf_size);
void conf_size_format(uint64_t bytes, char *buf, size_t buf_size);

#endif
