/*
 * Operations: the payload of REC_OP and REC_MULTI records, and the arguments
 * of reads. The gateway encodes them from commands, the store applies them;
 * every change is decided by the record alone (its time, its VLSN, its bytes
 * and what the records before it left).
 *
 *	REC_OP payload:    one operation
 *	operation:         u16 code, u16 flags, u32 argc, i64 num,
 *			   then argc times: u32 length, bytes
 *	REC_MULTI payload: u32 op_count, u32 watch_count, then
 *			   watch_count x { u64 vlsn, u32 key length, key },
 *			   then op_count x { u32 length, operation }
 *
 * A MULTI's result is one ARRAY with one value per operation, or NIL_ARRAY if
 * a watched key changed since the VLSN seen at WATCH.
 */
#ifndef SHM_KV_OP_H
#define SHM_KV_OP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "shm/bits.h"

#define OP_HEADER_SIZE 16
#define KEY_MAX        511
#define OP_NUMBER_MAX  5120 /* of a long double, all digits */
/* Redis' proto-max-bulk-len: no value grows beyond it. */
#define OP_VALUE_MAX (INT64_C(512) << 20)

/*
 * X(number, NAME, writes, "what; args; num; flags; result")
 * Expiry times are absolute ms. Numbers are on disk: append only.
 */
#define OPS(X)                                                                 \
	X(1, SET, 1,                                                           \
	    "key value [ifeq]; expire_at or 0; NX XX GET KEEPTTL "             \
	    "IFEQ; OK or NIL, with GET the old value or NIL")                  \
	X(2, MSET, 1, "key value ...; OK")                                     \
	X(3, MSETNX, 1, "key value ...; INT 1 or 0")                           \
	X(4, DEL, 1, "key ...; INT removed")                                   \
	X(5, GETSET, 1, "key value; old value")                                \
	X(6, GETDEL, 1, "key; old value")                                      \
	X(7, GETEX, 1, "key; expire_at; PERSIST or none; value")               \
	X(8, APPEND, 1, "key value; longest length allowed or 0; INT length")  \
	X(9, SETRANGE, 1, "key value; offset; INT length")                     \
	X(10, INCRBY, 1, "key; delta; INT or ERROR")                           \
	X(11, INCRBYFLOAT, 1, "key, delta as text; BULK or ERROR")             \
	X(12, EXPIREAT, 1, "key; at ms; NX XX GT LT; INT 1 or 0")              \
	X(13, PERSIST, 1, "key; INT 1 or 0")                                   \
	X(14, RENAME, 1, "from to; ; NX; OK, or with NX INT, or ERROR")        \
	X(15, FLUSHALL, 1, "; OK")                                             \
	X(16, SETNX, 1, "key value; INT 1 or 0")                               \
	X(17, EXPIRED, 1, "key; VLSN of the entry that expired; none")         \
	X(64, GET, 0, "key; BULK or NIL")                                      \
	X(65, MGET, 0, "key ...; ARRAY")                                       \
	X(66, EXISTS, 0, "key ...; INT")                                       \
	X(67, TYPE, 0, "key; STATUS string or none")                           \
	X(68, STRLEN, 0, "key; INT")                                           \
	X(69, GETRANGE, 0, "key, i64 start, i64 end; BULK")                    \
	X(70, PTTL, 0, "key; INT ms, -1 no expiry, -2 no key")                 \
	X(71, TTL, 0, "key; INT s (rounded), -1, -2")                          \
	X(72, PEXPIRETIME, 0, "key; INT ms, -1, -2")                           \
	X(73, EXPIRETIME, 0, "key; INT s, -1, -2")                             \
	X(74, DBSIZE, 0, "; INT")                                              \
	X(75, KEYS, 0, "pattern; ARRAY")                                       \
	X(76, RANDOMKEY, 0, "; BULK or NIL")                                   \
	X(77, TOUCH, 0, "key ...; INT")

enum op_code {
#define X(number, NAME, writes, text) OP_##NAME = number,
	OPS(X)
#undef X
};

enum op_flag {
	OPF_NX = 1,
	OPF_XX = 2,
	OPF_GET = 4,
	OPF_KEEPTTL = 8,
	OPF_IFEQ = 16,
	OPF_GT = 32,
	OPF_LT = 64,
	OPF_PERSIST = 128,
};

struct op_arg {
	const uint8_t *data;
	uint32_t len;
};

/* A decoded operation: its arguments are walked with op_arg_next(). */
struct op {
	uint16_t code;
	uint16_t flags;
	uint32_t argc;
	int64_t num;
	const uint8_t *args, *end;
};

struct op_multi {
	uint32_t op_count, watch_count;
	const uint8_t *watches, *ops, *end;
};

struct op_watch {
	uint64_t vlsn;
	struct op_arg key;
};

/* Exact size of an operation with these arguments. */
size_t op_size(uint32_t argc, const struct op_arg *argv);
/* Encode at `at` (op_size() bytes). */
void op_encode(uint8_t *at, uint16_t code, uint16_t flags, int64_t num,
    uint32_t argc, const struct op_arg *argv);
/*
 * Decode and check everything: code known, argc right for the code, lengths,
 * key sizes, no trailing bytes. 0 or -EBADMSG.
 */
int op_decode(const uint8_t *at, size_t n, struct op *out);
/* The next argument from *at (start with op->args). False at the end. */
bool op_arg_next(const struct op *op, const uint8_t **at, struct op_arg *out);
int op_multi_decode(const uint8_t *at, size_t n, struct op_multi *out);
/* Walk watches and operations: start with m->watches and m->ops. */
bool op_watch_next(
    const struct op_multi *m, const uint8_t **at, struct op_watch *out);
bool
op_multi_next(const struct op_multi *m, const uint8_t **at, struct op *out);
bool op_writes(unsigned code);
/* Does it only take away, of a store that is full? */
bool op_frees(unsigned code);
/*
 * What an operation takes of the table's arena whatever it meets there, in
 * bytes: exact where the state decides nothing (a value whose expiry is over
 * counts as one that stays), 0 where it may change nothing at all. The
 * arguments are as op_decode() checks them.
 */
uint64_t op_need(uint16_t code, uint16_t flags, int64_t num, uint32_t argc,
    const struct op_arg *argv);
/*
 * The most that it may take whatever it meets, if the value that its first key
 * has, where it copies that, is `longest` bytes long.
 */
uint64_t op_reach(uint16_t code, int64_t num, uint32_t argc,
    const struct op_arg *argv, uint64_t longest);
/* Does that depend on it? */
bool op_copies(unsigned code);
const char *op_name(unsigned code);

#endif
