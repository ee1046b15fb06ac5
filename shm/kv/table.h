/*
 * The table: what changed in the store since the last checkpoint, in shared
 * memory. README.md ("The table") holds the model; shm/kv/kv.h reads it.
 *
 * One writer (store). Two generations, each a bucket array and a bump arena
 * of immutable entries. An entry is filled, then published by a release store
 * of the word that links it: its bucket's, or, when it replaces an entry of
 * the same key, the word that linked that one. The replaced entry stays where
 * it is, reached through `older`, so a reader may ask for the state as of any
 * VLSN since the generation began. Memory of a generation is given back only
 * when no reader is in it any more.
 *
 * Offsets in an arena count units of 8 bytes; 0 = none.
 */
#ifndef SHM_KV_TABLE_H
#define SHM_KV_TABLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "shm/bits.h"
#include "shm/slots.h"

#define TABLE_VERSION      2u
#define TABLE_UNIT         8u
#define TABLE_SLOTS        65536u /* per-slot VLSNs of deletions */
#define TABLE_BUCKET_BYTES 256u /* arena bytes for each bucket */
#define TABLE_STEP_BUCKETS 65536u /* buckets that get memory together */
#define TABLE_BUCKET_STEPS 2048u /* of those, for the largest table */
#define TABLE_PAGE_SLOTS   512u /* per-slot VLSNs that get it together */
/*
 * An operation that would go beyond its record's bound gives an error, the same
 * on every node. The arena has REC_BOUND_MAX behind its nominal end, so an
 * accepted record always fits, and this much more: for a term's entry, and for
 * FLUSHALLs in records of releases that did not count them, of which a
 * transaction has 65,536 at most.
 */
#define TABLE_SLACK (UINT64_C(4) << 20)

/* What an entry is (`kind`); EXISTED and ABSENT tell of the state before. */
enum table_flag {
	TABLE_TOMBSTONE = 1, /* the key was deleted */
	TABLE_FLUSH = 2, /* no key: everything before is gone */
	TABLE_TERM = 4, /* no key: expire_ms is a term, from vlsn on */
	TABLE_EXISTED = 8, /* the key was there before this entry */
	TABLE_ABSENT = 16 /* it was not; neither = not known yet */
};

/*
 * An entry: this, the key, the value, zeros up to a unit. W: store, before it
 * publishes the entry, and `next` also when another takes a later one's place.
 * R: all who follow a word that leads to it.
 */
struct table_entry {
	_Atomic uint32_t next; /* W: store. Next in the bucket or of the list */
	uint32_t older; /* the key's entry before this one, same arena */
	uint32_t hash;
	uint32_t value_len;
	int64_t expire_ms; /* 0 = none */
	uint64_t word; /* vlsn:48 | key_len:9 | enum table_flag:7 */
};
_Static_assert(sizeof(struct table_entry) == 32, "packed");

static inline uint64_t
table_word(uint64_t vlsn, unsigned key_len, unsigned flags)
{
	return vlsn | (uint64_t)key_len << 48 | (uint64_t)flags << 57;
}

static inline uint64_t
table_entry_vlsn(const struct table_entry *e)
{
	return e->word & ((UINT64_C(1) << 48) - 1);
}

static inline unsigned
table_entry_key_len(const struct table_entry *e)
{
	return (unsigned)(e->word >> 48) & 511;
}

static inline unsigned
table_entry_flags(const struct table_entry *e)
{
	return (unsigned)(e->word >> 57);
}

static inline const uint8_t *
table_entry_key(const struct table_entry *e)
{
	return (const uint8_t *)(e + 1);
}

static inline const uint8_t *
table_entry_value(const struct table_entry *e)
{
	return (const uint8_t *)(e + 1) + table_entry_key_len(e);
}

/* Units that an entry takes. */
static inline uint64_t
table_units(unsigned key_len, uint64_t value_len)
{
	return (sizeof(struct table_entry) + key_len + value_len + 7) /
	       TABLE_UNIT;
}

static inline uint64_t
table_bytes(unsigned key_len, uint64_t value_len)
{
	return table_units(key_len, value_len) * TABLE_UNIT;
}

enum table_gen_state {
	GEN_FREE = 0, /* all zeros */
	GEN_ACTIVE = 1, /* W store -> */
	GEN_FROZEN = 2, /* W store: checkpoint writes it to disk -> */
	GEN_LEAVING = 3, /* W store: on disk; readers may still be in it -> */
	GEN_DIRTY = 4 /* W store: nobody is in it; checkpoint gives its
			 memory back and sets GEN_FREE */
};

struct table_gen {
	/* W: creator. From the start of the table. */
	_Alignas(CACHE_LINE) uint64_t bucket_off;
	uint64_t bucket_count; /* power of two */
	uint64_t slot_off;
	uint64_t arena_off;
	uint64_t arena_size; /* bytes, with REC_BOUND_MAX and TABLE_SLACK */
	uint64_t arena_nominal; /* bytes; table_size */
	uint64_t span; /* bytes from bucket_off to the arena's end */
	uint64_t zero0;
	/* W: store (state: also checkpoint, DIRTY -> FREE). R: all */
	_Alignas(CACHE_LINE) _Atomic uint64_t used; /* units; release */
	_Atomic uint64_t flush_vlsn; /* of the newest FLUSHALL in here */
	_Atomic uint32_t flushed_at; /* entries below are gone, and what is
					older than this generation; 0 = no */
	_Atomic uint32_t special; /* newest TERM or FLUSH entry */
	_Atomic uint32_t state; /* enum table_gen_state */
	_Atomic uint32_t wanted; /* frozen: control.checkpoint_wanted that it
				    answers */
	_Atomic uint64_t number; /* of the generation; 0 = none yet */
	_Atomic uint64_t vlsn; /* frozen: everything up to here is in it */
	_Atomic int64_t time_ms; /* frozen: time of that record */
	uint64_t zero2;
	/*
	 * W: store, release. A bit per page of the slots and per step of the
	 * buckets: it has memory. Without, it is all zeros and nobody looks:
	 * that would take memory, or be SIGBUS when there is none.
	 */
	_Alignas(CACHE_LINE) _Atomic uint64_t
	    slot_pages[TABLE_SLOTS / TABLE_PAGE_SLOTS / 64];
	_Alignas(
	    CACHE_LINE) _Atomic uint64_t bucket_steps[TABLE_BUCKET_STEPS / 64];
};
_Static_assert(sizeof(struct table_gen) == 7 * CACHE_LINE, "seven lines");

/* Have bucket i, the slot, got memory? (acquire) */
static inline bool
table_bucket_has(const struct table_gen *g, uint64_t i)
{
	uint64_t step = i / TABLE_STEP_BUCKETS;

	return (atomic_load_explicit(
		    &g->bucket_steps[step / 64], memory_order_acquire) >>
		       (step % 64) &
		   1) != 0;
}

static inline bool
table_slot_has(const struct table_gen *g, uint32_t slot)
{
	uint32_t page = slot / TABLE_PAGE_SLOTS;

	return (atomic_load_explicit(
		    &g->slot_pages[page / 64], memory_order_acquire) >>
		       (page % 64) &
		   1) != 0;
}

/*
 * A reader's pin. W: that slot's process (view 0: also supervisor). R: store,
 * supervisor.
 */
struct table_reader {
	_Alignas(CACHE_LINE) _Atomic uint64_t view; /* view + 1; 0 = is out */
	_Atomic uint64_t since_ns; /* CLOCK_MONOTONIC of kv_begin() */
	uint64_t zero[6];
};

/* Files by what they are, not by their names; all zeros = not known. */
struct store_file {
	uint64_t dev, ino;
};
struct store_files {
	struct store_file data; /* store/data.mdb */
	struct store_file lock; /* store/lock.mdb; readonly recovery has none */
};

struct table_head {
	_Alignas(CACHE_LINE) uint32_t version; /* W: creator */
	uint32_t zero0;
	uint64_t size; /* W: creator. Of the whole table */
	uint64_t seed; /* W: creator. Of the table's hash */
	_Atomic uint32_t opened; /* W: checkpoint. Futex word: bumped when the
				    files of the store exist and are sound */
	_Atomic uint32_t readers_died; /* W: supervisor: count */
	struct store_files files; /* W: checkpoint, before `opened`: which
				     ones all have open */
	/*
	 * table_view(): number of the active generation, and whether the one
	 * before is frozen; only ever rises. The number's parity says which
	 * of gen[] it is. W: store.
	 */
	_Alignas(CACHE_LINE) _Atomic uint64_t view;
	_Atomic uint64_t vlsn; /* W: store. Records up to here are whole */
	_Atomic uint64_t count; /* W: store. Keys as of positions.resolved */
	_Atomic int64_t time_ms; /* W: store. Time of the newest record */
	uint64_t zero1[4];
	struct table_gen gen[2];
	struct table_reader reader[SLOT_MAX];
};

static inline struct table_gen *
table_gen_at(struct table_head *t, uint64_t number)
{
	return &t->gen[number & 1];
}

/* positions.room of a node that stops: nobody waits for any. */
#define TABLE_ROOM_ANY (UINT64_MAX / 2)

/* What writes may fill of a generation before it is frozen. */
static inline uint64_t
table_size_share(uint64_t table_size)
{
	return table_size / 4 * 3;
}

static inline uint64_t
table_share(const struct table_gen *g)
{
	return table_size_share(g->arena_nominal);
}

/* Bytes of the active generation that are in use; and up to where records are
   begun there: what the other one leaves of its memory is for what was accepted
   beyond the nominal end. Both may be old a moment later. */
uint64_t table_active_used(const struct table_head *t);
uint64_t table_limit(const struct table_head *t);

static inline uint64_t
table_view(uint64_t number, bool frozen)
{
	return number << 1 | (frozen ? 0 : 1);
}

static inline bool
table_view_frozen(uint64_t view)
{
	return (view & 1) == 0;
}

/* Bytes of the whole table for arenas of table_size bytes; all sparse. */
uint64_t table_region_size(uint64_t table_size);
/* Creator: in a fresh (zero) region. 0 or -errno. */
int table_region_init(struct table_head *t, uint64_t table_size);

/*
 * Supervisor, when it has reaped a slot: its pin is void, and the store is to
 * clean its LMDB reader slots (ring its bell).
 */
struct region;
void kv_reader_died(struct region *r, unsigned slot);
/*
 * Does a generation wait for the slot's process to leave it, which is in one
 * read since more than limit_ns?
 */
bool kv_reader_stuck(
    const struct region *r, unsigned slot, uint64_t now_ns, uint64_t limit_ns);

/* Hash of keys in the table; seeded. */
uint32_t table_hash(const struct table_head *t, const void *key, size_t n);
/* The key's slot for per-slot VLSNs: the same on every node. */
uint32_t table_slot(const void *key, size_t n);

/* Resolve an offset of a generation; NULL if it cannot be (0, beyond). */
const struct table_entry *
table_at(const struct table_head *t, const struct table_gen *g, uint32_t off);

/*
 * The key's newest entry with a VLSN <= snap in this generation: *out, or
 * NULL if it has none. 0; -EAGAIN: a FLUSHALL newer than snap hides what snap
 * must see, take a newer snapshot. *gone = true if a FLUSHALL in this
 * generation hides older generations.
 */
int table_find(const struct table_head *t, const struct table_gen *g,
    const void *key, size_t key_len, uint32_t hash, uint64_t snap,
    const struct table_entry **out, bool *gone);

/* The writer's handle: one per table, in the store. */
struct table_writer {
	struct table_head *t;
	struct table_gen *g; /* active */
	uint64_t allocated; /* arena bytes that have memory */
	uint32_t flushed_at; /* as in g, with the record being applied */
	uint64_t flush_vlsn;
	uint64_t vlsn; /* newest record that readers see the whole of */
};

/* Make generation `number` active in an empty table. */
void table_writer_open(
    struct table_writer *w, struct table_head *t, uint64_t number);
/*
 * Is there memory for `bytes` more? 0; -ENOSPC: the machine has none (a store
 * into it would be SIGBUS); -EFBIG: beyond the arena.
 */
int table_ensure(struct table_writer *w, uint64_t bytes);
/* The same for the bucket that a key with this hash goes to. */
int table_ensure_bucket(struct table_writer *w, uint32_t hash);
/* The same for a key's slot. */
int table_ensure_slot(struct table_writer *w, const void *key, size_t key_len);
/* Bytes used of the active arena; its share asks for a freeze. */
uint64_t table_used(const struct table_writer *w);
bool table_want_freeze(const struct table_writer *w);
/*
 * Where a key stands in the active generation: fills *at for table_publish().
 * Found entries include tombstones; those a FLUSHALL hid are given as NULL.
 */
struct table_place {
	uint32_t hash;
	uint32_t entry; /* to be replaced; 0 = none */
	_Atomic uint32_t *link; /* word that leads to it */
};
const struct table_entry *table_locate(struct table_writer *w, const void *key,
    size_t key_len, uint32_t hash, struct table_place *at);
/*
 * Add an entry (after table_ensure() and, for a key that is not in here yet,
 * table_ensure_bucket()). The value is reserved: the caller
 * fills *value (value_len bytes) and then calls table_publish().
 */
struct table_entry *table_add(struct table_writer *w, const void *key,
    size_t key_len, uint64_t value_len, uint64_t vlsn, int64_t expire_ms,
    unsigned flags, uint8_t **value);
void table_publish(struct table_writer *w, struct table_entry *e,
    const struct table_place *at);
/* Raise the VLSN of a key's slot (deletions). 0 or -ENOSPC. */
int table_slot_raise(
    struct table_writer *w, const void *key, size_t key_len, uint64_t vlsn);
uint64_t table_slot_get(
    const struct table_head *t, const struct table_gen *g, uint32_t slot);
/* FLUSHALL: everything before is gone. Seen by readers with table_commit(). */
void table_flush(struct table_writer *w, uint64_t vlsn);
void table_term(struct table_writer *w, uint64_t vlsn, uint64_t term);
/* The record is wholly applied: show it. */
void table_commit(struct table_writer *w, uint64_t vlsn, int64_t time_ms);
/* Is a freeze possible: the other generation is free? */
bool table_can_freeze(const struct table_writer *w);
void table_freeze(struct table_writer *w);
/* The frozen generation is on disk: take it out of the view. */
void table_drop(struct table_writer *w);
/* GEN_LEAVING -> GEN_DIRTY once no reader is in it. True if it became so. */
bool table_leave(struct table_writer *w);
/* checkpoint: give the memory of a GEN_DIRTY generation back. 0 or -errno. */
int table_clean(struct table_head *t, struct table_gen *g);

#endif
