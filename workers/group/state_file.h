/*
 * The file data_dir/state: the term this node is in, whom it voted for in it,
 * how long it has promised to wait for a master, and the boots of members. All
 * of it must survive anything, or a node could vote twice in one term.
 *
 * Two blocks of 512 bytes, at offsets 0 and 4096 (so that no device tears
 * both with one write):
 *
 *	off size
 *	  0    4  CRC32C of bytes 4..511
 *	  4    4  magic "NLST"
 *	  8    4  format version, 2
 *	 12    4  zero
 *	 16    8  counter: +1 each time a promise is stored
 *	 24    8  term
 *	 32    8  incarnation of the member voted for in this term, 0 = none
 *	 40    8  incarnation of this node
 *	 48   16  group uuid
 *	 64    8  generation of the group
 *	 72    8  boot of the member voted for, 0 = none
 *	 80    4  the longest promise that may be in force, ms
 *	 84    4  boots that follow, 0..16
 *	 88    8  boot of this node: +1 each time that it starts
 *	 96    8  a random number of that boot
 *	104       of each member that was seen, in 24 bytes: incarnation, its
 *		  highest boot, the random number of that
 *	          zeros
 *
 * Format 1, which is read and never written, ends at 72.
 *
 * A promise counts when BOTH blocks hold it: the worse block (bad, or older)
 * is written first and flushed, then the other one. The newest valid block
 * wins. So one bad block is never the only one that holds a promise somebody
 * relies on, be it torn (the other holds the promise before or the same one)
 * or rotten (the other holds the same one). Writing one block per promise
 * could not tell a torn write from a lost vote. After a boot that found the
 * blocks unlike, the same holds: nothing relies on them before both are alike.
 * What a boot read it writes to both in the same order, the same promise: the
 * page cache may have what a failed flush left on no disk.
 *
 * Pure functions but for the two that say so. Nothing here logs.
 */
#ifndef WORKERS_GROUP_STATE_FILE_H
#define WORKERS_GROUP_STATE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STATE_FILE       "state"
#define STATE_MAGIC      UINT32_C(0x54534c4e) /* "NLST" */
#define STATE_FORMAT     2u
#define STATE_BLOCK_SIZE 512
#define STATE_BLOCKS     2
#define STATE_STRIDE     4096 /* from one block to the next */
#define STATE_FILE_SIZE  (STATE_STRIDE * STATE_BLOCKS)
#define STATE_BOOTS_MAX  16 /* MEMBER_MAX */

/* A boot of a member: peers know older ones, and copies, by it. */
struct state_boot {
	uint64_t incarnation;
	uint64_t count, id;
};

struct state {
	uint64_t counter;
	uint64_t term;
	uint64_t vote; /* incarnation, 0 = none */
	uint64_t vote_boot; /* its boot; 0 = none, or not known */
	uint64_t incarnation;
	uint64_t generation;
	uint8_t group_uuid[16];
	uint32_t promise_ms;
	uint32_t boot_count; /* of seen[] */
	uint64_t boot, boot_id; /* of this node */
	struct state_boot seen[STATE_BOOTS_MAX];
};

/* What the two blocks said. */
enum state_found {
	STATE_GOOD, /* both valid */
	STATE_ONE_BAD, /* one is damaged; the other one counts */
};

void state_encode(uint8_t block[STATE_BLOCK_SIZE], const struct state *s);
/* 0; -EBADMSG: damaged; -EPROTO: valid, of another format version. */
int state_decode(const uint8_t block[STATE_BLOCK_SIZE], struct state *out);
/*
 * Decide from a whole file. 0: *out is what counts, *found how it was found,
 * *worse the index of the block to write first next time. -EBADMSG: both are
 * damaged, or contradict each other; -EPROTO: another version.
 */
int state_decide(const uint8_t file[STATE_FILE_SIZE], struct state *out,
    enum state_found *found, unsigned *worse);

/*
 * Blocks: read and decide. Also -errno of the read; a file of another size is
 * -EBADMSG. dir is a descriptor of data_dir.
 */
int state_file_read(
    int dir, struct state *out, enum state_found *found, unsigned *worse);
/*
 * Blocks: make the file with that in both blocks, durable with its name when
 * this returns 0. Refuses to replace one: -EEXIST.
 */
int state_file_create(int dir, const struct state *s);

/* The highest boot that was seen of a member; NULL: none was. */
const struct state_boot *
state_seen(const struct state *s, uint64_t incarnation);
/*
 * A boot of a member is seen. True: that is news, and is to be stored. Of more
 * members than there is room for the first are kept.
 */
bool
state_see(struct state *s, uint64_t incarnation, uint64_t count, uint64_t id);

#endif
