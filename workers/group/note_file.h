/*
 * data_dir/note: the group that this node is about to be one of, or has just
 * become one of. Written before anything depends on it, cleared when the
 * founding is given up, or when the file `members` has what it says. A joined
 * node that has it, and neither log nor promise, is a fresh member: its
 * membership is this one, the same on all, vlsn 0.
 *
 *	off size
 *	  0    4  CRC32C of bytes 4..end
 *	  4    4  magic "NLNT"
 *	  8    4  format version, 1
 *	 12    4  length of the membership's record
 *	 16    8  incarnation of who founds the group, a member
 *	 24       the membership (core/member.h), of generation 1, whose uuid is
 *		  the group's
 *
 * Nothing here logs. Files: as those of conf/node_file.h, written aside,
 * flushed, renamed, directory flushed.
 */
#ifndef WORKERS_GROUP_NOTE_FILE_H
#define WORKERS_GROUP_NOTE_FILE_H

#include "conf/node_file.h"
#include "workers/group/core/note.h"

#define NOTE_FILE        "note"
#define NOTE_TMP         "note.tmp"
#define NOTE_FILE_MAGIC  UINT32_C(0x544e4c4e) /* "NLNT" */
#define NOTE_FILE_FORMAT 1u
#define NOTE_FILE_HEAD   24
#define NOTE_FILE_MAX    (NOTE_FILE_HEAD + MEMBER_RECORD_MAX)

/* Of one whose membership member_check() accepts; NOTE_FILE_MAX bytes. */
size_t note_encode(uint8_t *at, const struct note *n);
/* 0; -EBADMSG: damaged, or none; -EPROTO: of a format not known here. */
int note_decode(const uint8_t *at, size_t n, struct note *out);

/*
 * Block; dir is a descriptor of data_dir. As note_decode(); -ENOENT: there is
 * none; or -errno.
 */
int note_read(int dir, struct note *out);
/* It is there for good after 0; as it was, or as it is to be, after -errno. */
int note_write(int dir, const struct note *n);
/* It is gone for good after 0, also if there was none. */
int note_remove(int dir);

/*
 * Pure: has a joined directory of a group of several lost what it promised?
 * There must be its log and its state, or neither and the note; a boot that was
 * killed before its first promise may have left one of them.
 */
struct memory {
	bool note; /* is there, and is of this group */
	bool state; /* the file is there */
	uint64_t term; /* that it tells; 0 = none */
	uint64_t end; /* VLSN where the log ends; 0 = no record */
};
bool memory_lost(const struct node_file *node, const struct memory *m);

#endif
