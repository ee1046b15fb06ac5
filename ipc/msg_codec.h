/*
 * Private to the codecs: how a message's fields lie on the wire, as rows that
 * one pair of functions reads. A codec file has the rows of its family and what
 * a row cannot say: which fields must fit each other. The rows' texts are those
 * of nodelife-wire(5).
 *
 * Fixed fields come first, without gaps, in the order of their offsets; what
 * has a length of its own (texts, then at most one list, or bytes of the log)
 * follows in the order of the rows.
 */
#ifndef IPC_MSG_CODEC_H
#define IPC_MSG_CODEC_H

#include "ipc/msg.h"
#include "shm/assert.h"
#include "shm/position.h"

#define MSG_TERM_MAX (UINT64_MAX - 1)

enum field_kind {
	FIELD_NUMBER, /* little-endian, as wide as the struct's */
	FIELD_BYTES, /* as they are */
	FIELD_ZERO, /* reserved */
	FIELD_NAME, /* length of a text of letters, digits, '_', '.', '-' */
	FIELD_TEXT, /* length of a text of printable ASCII */
	FIELD_LIST, /* count of entries */
	FIELD_LOG /* nothing: bytes of the log follow, so many */
};

struct msg_field {
	const char *name;
	const char *what; /* for the manual page */
	uint8_t kind;
	uint16_t at; /* offset behind the frame's header */
	uint16_t size; /* bytes there */
	uint16_t offset; /* in the struct: number, bytes, text, first entry */
	uint16_t room; /* in the struct: bytes of a text, or of an entry */
	uint16_t count; /* in the struct: uint16_t with a list's length */
	uint64_t min, max; /* of the number, of a text's or list's length */
	/* Of a list: the fields of an entry, which are numbers and zeros. */
	const struct msg_field *entry;
	uint16_t entry_fields, entry_size;
};

struct msg_layout {
	const struct msg_field *field;
	uint16_t fields;
	uint16_t fixed; /* bytes before what has a length of its own */
	uint32_t size; /* of the struct */
	/* NULL, or the name of a field that contradicts another. */
	const char *(*check)(const void *msg);
};

#define FIELD_SIZE(body, member) sizeof(((struct body *)0)->member)
#define NUMBER(body, at_, member, min_, max_, what_)                           \
	{                                                                      \
		.name = #member, .what = what_, .kind = FIELD_NUMBER,          \
		.at = at_, .size = FIELD_SIZE(body, member),                   \
		.offset = offsetof(struct body, member), .min = min_,          \
		.max = max_                                                    \
	}
#define TERM(body, at, member, what)                                           \
	NUMBER(body, at, member, 1, MSG_TERM_MAX, what)
#define TERM_OR_NONE(body, at, member, what)                                   \
	NUMBER(body, at, member, 0, MSG_TERM_MAX, what)
#define VLSN(body, at, member, what)                                           \
	NUMBER(body, at, member, 0, VLSN_MASK, what)
#define ANY(body, at, member, what)                                            \
	NUMBER(body, at, member, 0,                                            \
	    UINT64_MAX >> (64 - 8 * FIELD_SIZE(body, member)), what)
#define SOME(body, at, member, what)                                           \
	NUMBER(body, at, member, 1,                                            \
	    UINT64_MAX >> (64 - 8 * FIELD_SIZE(body, member)), what)
#define CLOCK(body, at, member, what)                                          \
	NUMBER(body, at, member, 0, INT64_MAX, what)
#define BYTES(body, at_, member, what_)                                        \
	{                                                                      \
		.name = #member, .what = what_, .kind = FIELD_BYTES,           \
		.at = at_, .size = FIELD_SIZE(body, member),                   \
		.offset = offsetof(struct body, member)                        \
	}
#define ZERO(at_, size_)                                                       \
	{                                                                      \
		.name = "zero", .what = "zero", .kind = FIELD_ZERO, .at = at_, \
		.size = size_                                                  \
	}
#define WORDS(kind_, body, at_, member, min_, what_)                           \
	{                                                                      \
		.name = #member, .what = what_, .kind = kind_, .at = at_,      \
		.size = 1, .offset = offsetof(struct body, member),            \
		.room = FIELD_SIZE(body, member), .min = min_,                 \
		.max = FIELD_SIZE(body, member) - 1                            \
	}
#define NAME(body, at, member, what)                                           \
	WORDS(FIELD_NAME, body, at, member, 1, what)
#define TEXT(body, at, member, what)                                           \
	WORDS(FIELD_TEXT, body, at, member, 0, what)
#define LIST(body, at_, member, count_, min_, max_, fields_, size_, what_)     \
	{                                                                      \
		.name = #member, .what = what_, .kind = FIELD_LIST, .at = at_, \
		.size = 2, .offset = offsetof(struct body, member),            \
		.room = sizeof(((struct body *)0)->member[0]),                 \
		.count = offsetof(struct body, count_), .min = min_,           \
		.max = max_, .entry = fields_,                                 \
		.entry_fields = NITEMS(fields_), .entry_size = size_           \
	}
#define LOG(body, at_, member, max_, what_)                                    \
	{                                                                      \
		.name = #member, .what = what_, .kind = FIELD_LOG, .at = at_,  \
		.offset = offsetof(struct body, member), .max = max_           \
	}

#define LAYOUT(body, rows, fixed_, check_)                                     \
	const struct msg_layout body##_layout = { .field = rows,               \
		.fields = NITEMS(rows),                                        \
		.fixed = fixed_,                                               \
		.size = sizeof(struct body),                                   \
		.check = check_ }

/* Of a matchpoint: VLSN 0 is where logs begin, without a term and a chain. */
static inline const char *
matchpoint_check(uint64_t vlsn, uint64_t vlsn_term, uint32_t crc, uint64_t term)
{
	if ((vlsn == 0) != (vlsn_term == 0) || vlsn_term > term)
		return "vlsn_term";
	return vlsn == 0 && crc != 0 ? "crc" : NULL;
}

/* Of what is fed behind it: only segment files end, and behind it. */
static inline const char *
until_check(uint8_t source, uint64_t vlsn, uint64_t until)
{
	return (source == FEED_LIVE ? until != 0 : until <= vlsn) ? "until"
								  : NULL;
}

#define X(number, NAME, name, body, on, from, when, since, min, max)           \
	extern const struct msg_layout msg_##body##_layout;
MESSAGES(X)
#undef X

#endif
