/*
 * Any bytes as the fields of a message of one family: what is accepted is
 * sound, fits its struct, and gives the same bytes when it is encoded again.
 * The fuzzer cannot guess a CRC, so it is set right. The first byte picks the
 * message, the next four may set another length than there are bytes.
 */
#ifndef T_LIB_MSG_FUZZ_H
#define T_LIB_MSG_FUZZ_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/msg_codec.h"
#include "shm/crc32c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* A failed expectation ends the process, so that the fuzzer keeps the input. */
static inline void
expect(bool holds, const char *type, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "%s: %s\n", type, what);
	abort();
}

static inline void
fuzz_decoded(
    const struct msg_head *head, const uint8_t *frame, const union msg *m)
{
	static uint8_t again[MSG_SMALL_MAX];
	const char *name = head->row->name;
	uint32_t needs = msg_needs(head);
	struct msg_error e;

	expect(msg_check(head->row->type, m, &e) == 0, name,
	    "accepted what it would not send");
	expect(msg_encode(head->row->type, m, head->seq, again,
		   sizeof(again)) == (int)needs,
	    name, "of another length when encoded again");
	expect(memcmp(again, frame, needs) == 0, name,
	    "of other bytes when encoded again");
}

/* The frame is an exact copy, so that a read past its end is found. */
static inline void
fuzz_frame(uint8_t *frame, size_t n)
{
	static union msg m;
	struct msg_error e = { 0 };
	struct msg_head head;
	int rc = msg_head_decode(frame, n, &head, &e);

	expect(rc == 0 || n < MSG_HEAD || e.field != NULL, "head", "no name");
	if (rc != 0 || msg_needs(&head) > n)
		return;
	put_le32(frame, crc32c(0, frame + 4, msg_needs(&head) - 4));
	if (msg_decode(frame, &head, &m, &e) == 0)
		fuzz_decoded(&head, frame, &m);
	else
		expect(e.field != NULL && e.fault != MSG_FINE, head.row->name,
		    "refused without saying why");
}

static inline int
fuzz_family(
    const uint8_t *data, size_t len, const uint16_t *type, unsigned count)
{
	uint8_t *frame;
	uint32_t more;
	size_t n;

	if (len < 5)
		return 0;
	more = get_le32(data + 1);
	n = MSG_HEAD + len - 5;
	frame = calloc(1, n);
	expect(frame != NULL, "calloc", "no memory");
	memcpy(frame + MSG_HEAD, data + 5, len - 5);
	put_le32(frame + MSG_LEN_OFF, (uint32_t)n + more);
	put_le16(frame + MSG_TYPE_OFF, type[data[0] % count]);
	fuzz_frame(frame, n);
	free(frame);
	return 0;
}

#define FUZZ_FAMILY(...)                                                       \
	int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)            \
	{                                                                      \
		static const uint16_t type[] = { __VA_ARGS__ };                \
                                                                               \
		return fuzz_family(data, len, type, NITEMS(type));             \
	}

#endif
