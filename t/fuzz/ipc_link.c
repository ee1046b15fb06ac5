/*
 * Any bytes to one end of a connection, in any pieces, at any time: before the
 * handshake, or, with the key, behind an honest one. The end never aborts, says
 * why it drops, and without the key is never ready. The first byte picks the
 * end; then come pieces: a byte of flags (1: sequence number and CRC are set
 * right; upper bits: ms that pass before it), a byte and a half of length,
 * bytes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shm/bits.h"
#include "shm/crc32c.h"
#include "t/lib/link_pair.h"

#define KEY "0123456789abcdef"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static struct end a, b;

/* A failed expectation ends the process, so that the fuzzer keeps the input. */
static void
expect(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "ipc_link: %s\n", what);
	abort();
}

/* The end that is spoken to; *stranger: by one without the key. */
static struct end *
begin(unsigned pick, bool *stranger)
{
	struct end *e = pick % 2 == 0 ? &a : &b;

	end_init(&a, "n1", KEY, 11);
	end_init(&b, "n2", KEY, 22);
	pair_ticket(&a, &b);
	*stranger = pick % 8 < 4;
	end_listens(&b, 2, 1);
	if (pick % 4 < 2)
		end_dials(&a, "n2", 1, 1);
	else
		end_dials_data(&a, 1, 1);
	if (!*stranger)
		pair_run(&a, &b, PAIR_BUF, 1);
	expect(*stranger || e->opened, "an honest handshake failed");
	e->opened = false;
	e->messages = 0;
	a.out_len = b.out_len = 0;
	return e;
}

static void
say(struct end *e, uint8_t *piece, size_t n, unsigned flags, uint64_t now)
{
	struct msg_head head;
	struct msg_error error;

	if ((flags & 1) != 0 && n >= MSG_HEAD) {
		put_le32(piece + MSG_SEQ_OFF, e->l.seq_in);
		if (msg_head_decode(piece, n, &head, &error) == 0 &&
		    msg_needs(&head) <= n)
			put_le32(
			    piece, crc32c(0, piece + 4, msg_needs(&head) - 4));
	}
	end_gets(e, piece, n, now);
	e->out_len = 0;
}

static void
judge(const struct end *e, bool stranger)
{
	expect(!stranger || (!e->opened && e->messages == 0),
	    "ready without the key");
	expect(e->l.state == LINK_DROPPED || e->in_len < link_room(&e->l) ||
		   e->o.what == LINK_HOLD,
	    "waits for more than it may");
	expect(e->o.what != LINK_DROP ||
		   (e->o.reason > 0 && e->o.reason < REFUSED_COUNT),
	    "dropped without a reason");
	expect(e->o.what != LINK_DROP || e->o.text[0] != '\0' || e->o.by_peer,
	    "dropped without a word");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static uint8_t piece[4096];
	uint64_t now = 1;
	bool stranger;
	struct end *e;

	if (len < 1)
		return 0;
	e = begin(data[0], &stranger);
	data++, len--;
	while (len >= 3 && e->l.state != LINK_DROPPED) {
		unsigned flags = data[0];
		size_t n = get_le16(data + 1) % sizeof(piece);

		data += 3, len -= 3;
		if (n > len)
			n = len;
		if (n > sizeof(e->in) - e->in_len)
			break;
		now += (flags >> 1) * UINT64_C(1000000);
		memcpy(piece, data, n);
		data += n, len -= n;
		say(e, piece, n, flags, now);
		judge(e, stranger);
		link_tick(&e->l, now, &e->o);
	}
	return 0;
}
