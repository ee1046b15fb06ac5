/*
 * The messages between members: the table agrees with the rows of the codecs,
 * what is encoded decodes to the same struct, and what is cut short, has a
 * field out of its bounds, a reserved byte set, a bad CRC or a byte too many is
 * refused with the name of the field. The bytes of one example of each message
 * are kept (t/unit/ipc_msg.golden), so that the wire cannot change unseen.
 * Runs at the top of the tree; `ipc_msg -w` writes the examples anew.
 * SEED=N replays.
 */
#include "ipc/msg.h"

#include <err.h>
#include <errno.h>

#include "ipc/msg_codec.h"
#include "shm/crc32c.h"
#include "t/lib/msg_random.h"
#include "t/tap.h"

#define GOLDEN "t/unit/ipc_msg.golden"
#define ROUNDS 2000

static uint64_t seed;
static union msg a, b;
static uint8_t wire[MSG_SMALL_MAX + 64];

/* A frame's CRC, right again after its bytes were changed. */
static void
reseal(uint8_t *at, uint32_t n)
{
	put_le32(
	    at + MSG_CRC_OFF, crc32c(0, at + MSG_LEN_OFF, n - MSG_LEN_OFF));
}

static int
decode(const uint8_t *at, size_t n, union msg *out, struct msg_error *e)
{
	struct msg_head head;
	int rc = msg_head_decode(at, n, &head, e);

	if (rc == 0 && n < msg_needs(&head))
		rc = -EAGAIN;
	return rc == 0 ? msg_decode(at, &head, out, e) : rc;
}

/* Bytes of one frame, of which those of the log are not at hand. */
static size_t
random_frame(const struct msg_row *row)
{
	struct msg_error e;
	int n;

	msg_random(row->type, &a, &seed);
	if (msg_check(row->type, &a, &e) != 0) {
		diag("%s: %s: %s", row->name, e.field, msg_fault_name(e.fault));
		return 0;
	}
	n = msg_encode(row->type, &a, 7, wire, sizeof(wire));
	return n < 0 ? 0 : (size_t)n;
}

static const struct msg_row *
row_of(unsigned index)
{
	return msg_row_at(index);
}

static uint32_t
layout_size(const struct msg_layout *l, bool most)
{
	uint32_t n = MSG_HEAD + l->fixed;
	unsigned i;

	for (i = 0; i < l->fields; i++) {
		const struct msg_field *f = &l->field[i];
		uint64_t v = most ? f->max : f->min;

		if (f->kind == FIELD_NAME || f->kind == FIELD_TEXT ||
		    f->kind == FIELD_LOG)
			n += (uint32_t)v;
		else if (f->kind == FIELD_LIST)
			n += (uint32_t)v * f->entry_size;
	}
	return n;
}

/* Offsets without gaps, up to where other bytes begin. */
static bool
is_packed(const struct msg_field *f, unsigned fields, unsigned size)
{
	unsigned i, at = 0;

	for (i = 0; i < fields; i++) {
		if (f[i].at != at)
			return false;
		at += f[i].size;
	}
	return at == size;
}

static void
test_table(void)
{
	const struct msg_row *row;
	uint32_t small = 0, most = 0;
	unsigned i, k, before = 0;
	bool fine;

	for (i = 0; (row = row_of(i)) != NULL; i++) {
		const struct msg_layout *l = row->layout;

		fine = row->type > before && msg_row(row->type) == row &&
		       strcmp(msg_name(row->type), row->name) == 0;
		before = row->type;
		fine = fine && is_packed(l->field, l->fields, l->fixed);
		for (k = 0; k < l->fields; k++)
			if (l->field[k].kind == FIELD_LIST)
				fine = fine && is_packed(l->field[k].entry,
						   l->field[k].entry_fields,
						   l->field[k].entry_size);
		ok(fine, "%s: rows rise, fields have no gap", row->name);
		is_u64(row->min, layout_size(l, false), "least size");
		is_u64(row->max, layout_size(l, true), "most size");
		ok(row->since >= 1 && row->since <= MSG_PROTOCOL,
		    "%s: of a version that is spoken", row->name);
		ok((row->on & ~ON_BOTH) == 0 && row->on != 0 &&
			row->from != 0 && row->when != 0,
		    "%s: somebody may send it, some time", row->name);
		if (row->type != MSG_FRAME && row->max > small)
			small = row->max;
		if (row->max > most)
			most = row->max;
		ok((row->when & WHEN_FIRST) == 0 || row->max <= MSG_FIRST_MAX,
		    "%s: a stranger sends no more than it may", row->name);
	}
	is_u64(small, MSG_SMALL_MAX, "MSG_SMALL_MAX");
	is_u64(most, MSG_FRAME_MAX, "MSG_FRAME_MAX");
	ok(msg_row(0) == NULL && msg_row(6) == NULL && msg_row(65535) == NULL,
	    "numbers that are none");
}

static void
test_round_trip(void)
{
	const struct msg_row *row;
	struct msg_error e = { 0 };
	struct msg_head head;
	unsigned i, k;
	size_t n;

	for (i = 0; (row = row_of(i)) != NULL; i++) {
		unsigned same = 0;

		for (k = 0; k < ROUNDS; k++) {
			n = random_frame(row);
			memset(&b, 0, sizeof(b));
			if (n == 0 ||
			    msg_head_decode(wire, n, &head, &e) != 0 ||
			    head.row != row || head.seq != 7 || head.len < n ||
			    msg_needs(&head) != n ||
			    msg_decode(wire, &head, &b, &e) != 0)
				break;
			/* A text's bytes behind its NUL are zeros in both. */
			same += memcmp(&a, &b, row->layout->size) == 0;
		}
		if (!ok(same == ROUNDS, "%s: comes out as it went in",
			row->name))
			diag("round %u: %s: %s", k, msg_fault_name(e.fault),
			    e.field != NULL ? e.field : "");
	}
}

/* Every length below the right one, as it is and with a header that agrees. */
static void
test_truncation(void)
{
	const struct msg_row *row;
	struct msg_error e;
	unsigned i;
	size_t n, k;

	for (i = 0; (row = row_of(i)) != NULL; i++) {
		bool waits = true, refuses = true;

		n = random_frame(row);
		for (k = 0; k < n; k++) {
			uint8_t *copy = malloc(k > 0 ? k : 1);

			if (copy == NULL)
				err(1, "malloc");
			memcpy(copy, wire, k);
			waits &= decode(copy, k, &b, &e) == -EAGAIN;
			/* A frame's own fields are of one length. */
			if (k >= MSG_HEAD) {
				put_le32(copy + MSG_LEN_OFF, (uint32_t)k);
				reseal(copy, (uint32_t)k);
				refuses &= decode(copy, k, &b, &e) == -EBADMSG;
			}
			free(copy);
		}
		ok(waits, "%s: waits for the rest, at each byte", row->name);
		ok(refuses, "%s: is refused if it is shorter", row->name);
		/* One byte too many. */
		wire[n] = 0;
		put_le32(wire + MSG_LEN_OFF, (uint32_t)n + 1);
		reseal(wire, (uint32_t)n + (row->type == MSG_FRAME ? 0 : 1));
		ok(decode(wire, n + 1, &b, &e) == -EBADMSG,
		    "%s: is refused with a byte too many", row->name);
	}
}

static void
test_crc(void)
{
	const struct msg_row *row;
	struct msg_error e;
	unsigned i, bit;
	size_t n;

	for (i = 0; (row = row_of(i)) != NULL; i++) {
		unsigned taken = 0;

		n = random_frame(row);
		for (bit = 0; bit < n * 8; bit++) {
			wire[bit / 8] ^= (uint8_t)(1u << bit % 8);
			taken += decode(wire, n, &b, &e) == 0;
			wire[bit / 8] ^= (uint8_t)(1u << bit % 8);
		}
		is_u64(taken, 0, "no message with a flipped bit is taken");
	}
}

/* What was put at `at` is refused, by the name of the field. */
static bool
refused(size_t n, const char *name, enum msg_fault fault)
{
	struct msg_error e = { 0 };

	reseal(wire, (uint32_t)n);
	if (decode(wire, n, &b, &e) != -EBADMSG) {
		diag("%s is taken", name);
		return false;
	}
	if (strcmp(e.field, name) == 0 && e.fault == fault)
		return true;
	diag("%s: %s instead of %s: %s", e.field, msg_fault_name(e.fault), name,
	    msg_fault_name(fault));
	return false;
}

static bool
put_refused(size_t n, uint8_t *at, const struct msg_field *f, uint64_t v,
    enum msg_fault fault)
{
	uint64_t old = 0;
	bool fine;

	memcpy(&old, at, f->size < 8 ? f->size : 8);
	memcpy(at, &v, f->size < 8 ? f->size : 8);
	fine = refused(n, f->name, fault);
	memcpy(at, &old, f->size < 8 ? f->size : 8);
	return fine;
}

/* Values just out of the bounds, where the width has any. */
static bool
bounds_refused(
    size_t n, uint8_t *at, const struct msg_field *f, enum msg_fault fault)
{
	uint64_t most =
	    f->size >= 8 ? UINT64_MAX : (UINT64_C(1) << 8 * f->size) - 1;
	bool fine = true;

	if (f->min > 0)
		fine &= put_refused(n, at, f, f->min - 1, fault);
	if (f->max < most) {
		fine &= put_refused(n, at, f, f->max + 1, fault);
		fine &= put_refused(n, at, f, most, fault);
	}
	return fine;
}

static bool
zero_refused(size_t n, uint8_t *at, const struct msg_field *f)
{
	bool fine = true;
	unsigned i;

	for (i = 0; i < f->size; i++) {
		at[i] = 1;
		fine &= refused(n, f->name, MSG_BAD_ZERO);
		at[i] = 0;
	}
	return fine;
}

/* A character that no such text has, in its first byte. */
static bool
text_refused(size_t n, uint8_t *at, uint8_t *text, const struct msg_field *f)
{
	static const uint8_t no[] = { 0, '\n', 0x1b, 0x7f, 0x80, 0xff };
	uint8_t old = *text;
	bool fine = true;
	unsigned i;

	fine &= bounds_refused(n, at, f, MSG_BAD_TEXT);
	for (i = 0; i < sizeof(no) && *at > 0; i++) {
		*text = no[i];
		fine &= refused(n, f->name, MSG_BAD_TEXT);
	}
	*text = ' ';
	if (*at > 0 && f->kind == FIELD_NAME)
		fine &= refused(n, f->name, MSG_BAD_TEXT);
	*text = old;
	return fine;
}

static bool
entries_refused(size_t n, uint8_t *entry, const struct msg_field *f)
{
	bool fine = true;
	unsigned k;

	for (k = 0; k < f->entry_fields; k++) {
		const struct msg_field *ef = &f->entry[k];

		fine &=
		    ef->kind == FIELD_ZERO
			? zero_refused(n, entry + ef->at, ef)
			: bounds_refused(n, entry + ef->at, ef, MSG_BAD_VALUE);
	}
	return fine;
}

static void
test_fields(void)
{
	const struct msg_row *row;
	unsigned i, k;
	size_t n;

	for (i = 0; (row = row_of(i)) != NULL; i++) {
		const struct msg_layout *l = row->layout;
		uint8_t *body = wire + MSG_HEAD, *rest = body + l->fixed;
		bool fine = true;

		n = random_frame(row);
		for (k = 0; k < l->fields; k++) {
			const struct msg_field *f = &l->field[k];
			uint8_t *at = body + f->at;

			if (f->kind == FIELD_NUMBER)
				fine &= bounds_refused(n, at, f, MSG_BAD_VALUE);
			else if (f->kind == FIELD_ZERO)
				fine &= zero_refused(n, at, f);
			else if (f->kind == FIELD_LIST) {
				fine &= bounds_refused(n, at, f, MSG_BAD_VALUE);
				if (get_le16(at) > 0)
					fine &= entries_refused(n, rest, f);
			} else if (f->kind != FIELD_BYTES &&
				   f->kind != FIELD_LOG) {
				fine &= text_refused(n, at, rest, f);
				rest += *at;
			}
		}
		ok(fine, "%s: each field out of bounds is refused by its name",
		    row->name);
	}
}

/* A field that contradicts another one, by the struct. */
#define SENSE(type_, name_, ...)                                               \
	do {                                                                   \
		struct msg_error e_ = { 0 };                                   \
                                                                               \
		msg_random(type_, &a, &seed);                                  \
		__VA_ARGS__;                                                   \
		ok(msg_check(type_, &a, &e_) == -EBADMSG &&                    \
			e_.fault == MSG_BAD_SENSE &&                           \
			strcmp(e_.field, name_) == 0,                          \
		    "%s: %s: %s", msg_name(type_), name_, #__VA_ARGS__);       \
	} while (0)

static void
test_sense_group(void)
{
	SENSE(MSG_HELLO, "version_max", a.hello.version_min = 3,
	    a.hello.version_max = 2);
	SENSE(MSG_PROOF, "uuid", a.proof.standing = STANDING_JOINED,
	    memset(a.proof.uuid, 0, 16));
	SENSE(MSG_PROOF, "uuid", a.proof.standing = STANDING_UNJOINED,
	    a.proof.uuid[3] = 1);
	SENSE(MSG_PROOF, "generation", a.proof.standing = STANDING_UNJOINED,
	    memset(a.proof.uuid, 0, 16), a.proof.generation = 1);
	SENSE(MSG_PROOF, "last_term", a.proof.last = 5, a.proof.last_term = 0);
	SENSE(MSG_PROOF, "term", a.proof.last = 5, a.proof.term = 3,
	    a.proof.last_term = 4);
	SENSE(MSG_PROOF, "first", a.proof.last = 5, a.proof.last_term = 1,
	    a.proof.term = 1, a.proof.first = 7);
	SENSE(MSG_PROOF, "first", a.proof.last = 5, a.proof.last_term = 1,
	    a.proof.term = 1, a.proof.first = 0);
	SENSE(MSG_ROUND, "incarnation", a.round.rank_count = 2,
	    a.round.rank[0] = a.round.rank[1] =
		(struct round_rank){ .incarnation = 9 });
	SENSE(MSG_ROUND_ANSWER, "promise_ms",
	    a.round_answer.verdict = ROUND_TERM, a.round_answer.promise_ms = 1);
	SENSE(MSG_ROUND_ANSWER, "matched", a.round_answer.appended = 5,
	    a.round_answer.matched = 6);
	SENSE(MSG_ROUND_ANSWER, "durable", a.round_answer.appended = 5,
	    a.round_answer.matched = 5, a.round_answer.durable = 6);
	SENSE(MSG_VOTE, "last_term", a.vote.last = 0, a.vote.last_term = 1,
	    a.vote.term = 2);
	SENSE(MSG_PREVOTE, "last_term", a.vote.last = 1, a.vote.last_term = 2,
	    a.vote.term = 2);
	SENSE(MSG_VOTE, "released_term", a.vote.released_master = 1,
	    a.vote.released_term = 0);
	SENSE(MSG_VOTE, "released_term", a.vote.released_master = 1,
	    a.vote.released_term = a.vote.term);
	SENSE(MSG_VOTE_ANSWER, "term", a.vote_answer.last = 0,
	    a.vote_answer.last_term = 0, a.vote_answer.term = 3,
	    a.vote_answer.asked = 2, a.vote_answer.verdict = VOTE_GRANTED);
	SENSE(MSG_VOTE_ANSWER, "term", a.vote_answer.last = 0,
	    a.vote_answer.last_term = 0, a.vote_answer.term = 2,
	    a.vote_answer.asked = 3, a.vote_answer.verdict = VOTE_TERM);
	SENSE(MSG_PREVOTE_ANSWER, "last_term", a.vote_answer.last = 1,
	    a.vote_answer.last_term = 8, a.vote_answer.term = 7);
	SENSE(MSG_READ_ANSWER, "committed",
	    a.read_answer.verdict = READ_NO_LEASE, a.read_answer.committed = 1);
}

static void
test_sense_sync(void)
{
	SENSE(MSG_SYNC_RUNS, "run", a.sync_runs.run_count = 2,
	    a.sync_runs.run[0] = (struct term_run){ 3, 1 },
	    a.sync_runs.run[1] = (struct term_run){ 3, 2 });
	SENSE(MSG_SYNC_RUNS, "run", a.sync_runs.run_count = 2,
	    a.sync_runs.run[0] = (struct term_run){ 3, 2 },
	    a.sync_runs.run[1] = (struct term_run){ 4, 2 });
	SENSE(MSG_SYNC_RUNS, "run", a.sync_runs.run_count = 0,
	    a.sync_runs.last = 1);
	SENSE(MSG_SYNC_ANSWER, "last", a.sync_runs.run_count = 1,
	    a.sync_runs.run[0] = (struct term_run){ 3, 2 },
	    a.sync_runs.last = 1);
	SENSE(MSG_SYNC_ANSWER, "last_term", a.sync_runs.run_count = 1,
	    a.sync_runs.run[0] = (struct term_run){ 3, 2 },
	    a.sync_runs.last = 2, a.sync_runs.last_term = 4);
	SENSE(MSG_SYNC_ANSWER, "last_term", a.sync_runs.run_count = 1,
	    a.sync_runs.run[0] = (struct term_run){ 3, 2 },
	    a.sync_runs.last = 2, a.sync_runs.last_term = 3,
	    a.sync_runs.term = 2);
	SENSE(MSG_SYNC_ANSWER, "first", a.sync_runs.run_count = 1,
	    a.sync_runs.run[0] = (struct term_run){ 3, 2 },
	    a.sync_runs.last = 2, a.sync_runs.last_term = 3,
	    a.sync_runs.term = 3, a.sync_runs.first = 4);
	SENSE(MSG_SYNC_MATCH, "vlsn_term", a.sync_match.vlsn = 1,
	    a.sync_match.vlsn_term = 0);
	SENSE(MSG_SYNC_MATCH, "crc", a.sync_match.vlsn = 0,
	    a.sync_match.vlsn_term = 0, a.sync_match.crc = 1);
	SENSE(MSG_SYNC_REFUSED, "crc", a.sync_refused.reason = SYNC_LATER,
	    a.sync_refused.crc = 1);
	SENSE(
	    MSG_TICKET, "vlsn_term", a.ticket.vlsn = 0, a.ticket.vlsn_term = 1);
	SENSE(MSG_TICKET, "until", a.ticket.source = FEED_LIVE,
	    a.ticket.until = 1);
	SENSE(MSG_TICKET, "until", a.ticket.source = FEED_SEGMENTS,
	    a.ticket.until = a.ticket.vlsn);
	SENSE(MSG_DATA_HELLO, "vlsn_term", a.data_hello.vlsn = 1,
	    a.data_hello.vlsn_term = 0);
	SENSE(MSG_DATA_HELLO, "until", a.data_hello.source = FEED_LIVE,
	    a.data_hello.until = 1);
	SENSE(MSG_DATA_HELLO, "their_incarnation",
	    a.data_hello.incarnation = a.data_hello.their_incarnation);
	SENSE(MSG_FRAME, "last", a.frame.first = 0, a.frame.last = 1);
	SENSE(MSG_FRAME, "last", a.frame.first = 2, a.frame.last = 1);
	SENSE(MSG_FRAME, "bytes", a.frame.first = a.frame.last = 1,
	    a.frame.bytes = 0);
	SENSE(MSG_FRAME, "bytes", a.frame.first = a.frame.last = 0,
	    a.frame.bytes = 48);
	SENSE(MSG_FRAME, "bytes", a.frame.first = a.frame.last = 1,
	    a.frame.bytes = 52);
	SENSE(MSG_FRAME, "bytes", a.frame.first = 1, a.frame.last = 2,
	    a.frame.bytes = 88);
	SENSE(MSG_ACK, "durable", a.ack.appended = 1, a.ack.durable = 2);
	SENSE(MSG_NOTE, "uuid", memset(a.note.uuid, 0, 16));
	SENSE(MSG_FOUND, "uuid", memset(a.found.uuid, 0, 16));
	SENSE(MSG_FOUND_ANSWER, "uuid", memset(a.found_answer.uuid, 0, 16));
	SENSE(MSG_ABANDON, "uuid", memset(a.abandon.uuid, 0, 16));
	SENSE(MSG_STATUS_ANSWER, "version_max", a.status_answer.version_min = 2,
	    a.status_answer.version_max = 1);
}

static void
test_head(void)
{
	struct msg_error e = { 0 };
	struct msg_ack ack = { .term = 1, .appended = 1 };
	uint8_t at[64];

	is_i64(msg_ack_encode(&ack, 0, at, 39), -ENOSPC, "no room, no bytes");
	is_i64(msg_ack_encode(&ack, 0, at, 40), 40, "room to the byte");
	put_le16(at + MSG_TYPE_OFF, 6);
	ok(decode(at, 40, &b, &e) == -EBADMSG && e.fault == MSG_BAD_TYPE &&
		strcmp(e.field, "type") == 0,
	    "a number that is no message");
	msg_ack_encode(&ack, 0, at, 40);
	put_le32(at + MSG_LEN_OFF, UINT32_MAX);
	ok(decode(at, 40, &b, &e) == -EBADMSG && e.fault == MSG_BAD_LENGTH &&
		strcmp(e.field, "length") == 0,
	    "a length that nothing has");
	msg_ack_encode(&ack, 0, at, 40);
	at[MSG_ZERO_OFF] = 1;
	ok(decode(at, 40, &b, &e) == -EBADMSG && e.fault == MSG_BAD_ZERO,
	    "a reserved byte of the header");
	ok(decode((const uint8_t *)"GET / HTTP/1.1\r\n\r\n", 18, &b, &e) ==
		-EBADMSG,
	    "a browser");
	msg_ack_encode(&ack, 0, at, 40);
	at[MSG_SEQ_OFF] ^= 1;
	ok(decode(at, 40, &b, &e) == -EBADMSG && e.fault == MSG_BAD_CRC,
	    "the CRC covers the sequence number");
}

static void
test_version(void)
{
	is_u64(msg_version(1, 1, 1, 1), 1, "1, 1");
	is_u64(msg_version(1, 2, 2, 3), 2, "N and N + 1 speak N");
	is_u64(msg_version(2, 3, 1, 2), 2, "and the other way round");
	is_u64(msg_version(1, 2, 3, 4), 0, "N and N + 2 do not");
	is_u64(msg_version(3, 4, 1, 2), 0, "nor the other way round");
	is_u64(msg_version(1, 3, 2, 2), 2, "the highest that both have");
	ok(MSG_PROTOCOL - MSG_PROTOCOL_MIN <= 1, "N and N - 1");
}

static void
test_names(void)
{
	unsigned i;

	for (i = 1; i < REFUSED_COUNT; i++)
		ok(strcmp(msg_reason_name(i), "?") != 0 &&
			strcmp(msg_reason_means(i), "?") != 0,
		    "refusal %u has a name: %s", i, msg_reason_name(i));
	is_str(msg_reason_name(0), "?", "0 is no refusal");
	is_str(msg_reason_means(REFUSED_COUNT), "?", "nor what is behind");
	is_str(msg_name(7), "?", "a message that there is not has no name");
}

/* What a row allows: the bytes of an example would not show a change of that.
 */
static void
golden_fields(FILE *out, const struct msg_field *f, unsigned fields)
{
	unsigned i;

	for (i = 0; i < fields; i++) {
		fprintf(out, "\t%u+%u %s %u %ju..%ju\n", f[i].at, f[i].size,
		    f[i].name, f[i].kind, (uintmax_t)f[i].min,
		    (uintmax_t)f[i].max);
		golden_fields(out, f[i].entry, f[i].entry_fields);
	}
}

/* One example of each, from a seed of its own: its number. */
static void
golden_line(FILE *out, const struct msg_row *row)
{
	uint64_t own = row->type;
	int n, i;

	msg_random(row->type, &a, &own);
	/* Long lists say no more than short ones. */
	if (row->type == MSG_SYNC_RUNS || row->type == MSG_SYNC_ANSWER) {
		a.sync_runs.run_count = 3;
		msg_fit(row->type, &a, &own);
	}
	n = msg_encode(row->type, &a, row->type, wire, sizeof(wire));
	fprintf(out, "%u %s ", row->type, row->name);
	for (i = 0; i < n; i++)
		fprintf(out, "%02x", wire[i]);
	fprintf(out, "\n");
	golden_fields(out, row->layout->field, row->layout->fields);
}

static void
golden_print(FILE *out)
{
	const struct msg_row *row;
	unsigned i;

	for (i = 0; (row = row_of(i)) != NULL; i++)
		golden_line(out, row);
}

/* Lines as they are kept and as they would be now. */
static void
test_golden(void)
{
	char *now = NULL, line[2048];
	size_t now_size;
	FILE *kept = fopen(GOLDEN, "r"), *out = open_memstream(&now, &now_size);
	char name[64] = "?";
	const char *at;
	bool same = true;

	if (kept == NULL || out == NULL)
		err(1, "%s", GOLDEN);
	golden_print(out);
	fclose(out);
	at = now;
	/* A message's line, and then those of its fields. */
	while (fgets(line, sizeof(line), kept) != NULL) {
		size_t n = strlen(line);

		if (line[0] != '\t')
			(void)sscanf(line, "%*u %63s", name);
		if (strncmp(at, line, n) != 0 && same)
			diag("%s: kept: %s", name, line);
		same &= strncmp(at, line, n) == 0;
		at += strcspn(at, "\n");
		at += *at == '\n';
	}
	ok(same,
	    "the bytes and bounds of old (ipc_msg -w, if they may change)");
	is_str(at, "", "each message has its bytes in " GOLDEN);
	fclose(kept);
	free(now);
}

int
main(int argc, char **argv)
{
	const char *s = getenv("SEED");

	if (argc > 1 && strcmp(argv[1], "-w") == 0) {
		FILE *out = fopen(GOLDEN, "w");

		if (out == NULL)
			err(1, "%s", GOLDEN);
		golden_print(out);
		return fclose(out) == 0 ? 0 : 1;
	}
	seed = s != NULL ? strtoull(s, NULL, 0)
			 : (uint64_t)time(NULL) << 20 ^ (uint64_t)getpid();
	diag("SEED=%" PRIu64, seed);
	test_table();
	test_round_trip();
	test_truncation();
	test_crc();
	test_fields();
	test_sense_group();
	test_sense_sync();
	test_head();
	test_version();
	test_names();
	test_golden();
	return tap_done();
}
