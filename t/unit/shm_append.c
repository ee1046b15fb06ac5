/*
 * The log's end. A log that one struct append makes of its own records, and
 * others that get these as frames, cut at any borders of records, into heads,
 * pads and segments of their own, some behind records that are cut off again:
 * (VLSN, term, chain) is the same at every VLSN, and each log is whole for the
 * judge of chains (segment_scan). What is no continuation is refused by its
 * name, and changes nothing.
 */
#include "shm/log/append.h"

#include "shm/kv/op.h"
#include "t/shm_fixture.h"

#define BUFFER   (UINT64_C(64) << 20)
#define SEGMENTS 512
#define RECORDS  4000
#define SLACK    (2 * (SEGMENT_BLOCK_MAX + SEGMENT_BATCH_LEN + REC_HEADER_SIZE))

/* A log in memory: its buffer is as long as all of it. */
struct side {
	struct append a;
	struct walbuf_head *head;
	struct positions *pos;
	uint32_t block, size; /* of its segments */
	uint32_t flush; /* a batch is sealed behind 1 of so many frames */
	uint64_t sealed; /* newest VLSN of the last batch */
	unsigned cuts;
	struct segment_info info;
	/* Its segments, and where in the log each ends. */
	struct {
		uint64_t base, end;
	} segment[SEGMENTS];
	uint32_t segments;
	/* Of each VLSN: what stood there, in which segment, up to where. */
	struct append_end at[RECORDS + 1];
	uint64_t behind[RECORDS + 1];
	uint32_t in[RECORDS + 1];
};

static bool
end_same(const struct append_end *a, const struct append_end *b)
{
	return a->vlsn == b->vlsn && a->term == b->term &&
	       a->time_ms == b->time_ms && a->chain == b->chain;
}

static uint64_t
below(uint64_t n)
{
	return rnd() % n;
}

static void
side_segment(struct side *s)
{
	s->info.number++;
	s->info.block = s->block;
	s->info.size = s->size;
	s->info.life = 1 + below(UINT32_MAX);
	append_segment(&s->a, &s->info);
	if (s->segments == SEGMENTS)
		abort();
	s->segment[s->segments++].base = s->a.segment.base;
	if (s->segments > 1)
		return;
	s->in[s->a.end.vlsn] = 0;
	s->behind[s->a.end.vlsn] = s->a.position;
}

static struct side *
side_new(const struct append_end *end)
{
	struct side *s = calloc(1, sizeof(*s));
	struct walbuf buf = { .size = BUFFER };

	s->head = shared_zeros(sizeof(*s->head));
	s->pos = shared_zeros(sizeof(*s->pos));
	buf.data = shared_zeros(2 * BUFFER);
	buf.h = s->head;
	append_open(&s->a, &buf, end);
	s->block = SEGMENT_BLOCK_MIN << below(3);
	s->size = (1u << 20) + s->block * (uint32_t)below(64);
	s->flush = 1 + (uint32_t)below(8);
	s->at[end->vlsn] = *end;
	side_segment(s);
	return s;
}

static void
side_free(struct side *s)
{
	munmap(s->a.buf.data, 2 * BUFFER);
	munmap(s->head, sizeof(*s->head));
	munmap(s->pos, sizeof(*s->pos));
	free(s);
}

static void
side_seal(struct side *s, bool closed)
{
	if (!s->a.batch.open)
		return;
	if (closed)
		append_pad(&s->a);
	append_seal(&s->a, s->sealed, s->sealed / 2);
	s->sealed = s->a.end.vlsn;
	/* What begins beside it begins on a block. */
	if (s->a.position % s->block != 0 && below(2) == 0) {
		append_batch_open(&s->a);
		append_pad(&s->a);
		append_seal(&s->a, 0, 0);
	}
}

/* Room for n bytes: in a new segment, if need be. */
static void
side_room(struct side *s, size_t n)
{
	struct append *a = &s->a;

	if (a->batch.full)
		side_seal(s, true);
	if (append_left(a) < n + SLACK) {
		side_seal(s, true);
		if (a->position % s->block != 0) {
			append_batch_open(a);
			append_pad(a);
			append_seal(a, 0, 0);
		}
		s->segment[s->segments - 1].end = a->position;
		s->info.prev_number = s->info.number;
		s->info.prev_end = append_offset(a);
		side_segment(s);
	}
	if (!a->batch.open)
		append_batch_open(a);
}

/* A batch in a while, publish in a while. */
static void
side_turn(struct side *s)
{
	if (below(s->flush) == 0)
		side_seal(s, below(2) == 0);
	if (s->flush != UINT32_MAX && below(3) == 0)
		append_publish(&s->a, s->pos);
}

static void
side_note(struct side *s, const struct append_end *end, uint64_t behind)
{
	s->at[end->vlsn] = *end;
	s->behind[end->vlsn] = behind;
	s->in[end->vlsn] = s->segments - 1;
}

static void
side_put(struct side *s, const struct record *rec)
{
	side_room(s, record_len(rec->payload_len));
	append_put(&s->a, rec);
	side_note(s, &s->a.end, s->a.position);
}

/* One record as a master may write it; a payload in parts is several. */
static void
side_write(struct side *s, uint64_t term)
{
	static uint8_t bytes[128 * 1024];
	struct record rec = { .term = term,
		.time_ms = s->a.end.time_ms + (int64_t)below(3),
		.origin = rnd(),
		.type = REC_OP,
		.payload_len =
		    (uint32_t)below(below(50) == 0 ? sizeof(bytes) : 700),
		.payload = bytes };
	uint8_t clock[CLOCK_PAYLOAD];
	uint64_t kind = below(40);

	if (term > s->a.end.term)
		rec.type = REC_TERM, rec.payload_len = 0;
	else if (kind == 0)
		rec.type = REC_MEMBER;
	else if (kind == 1) {
		clock_encode(clock, rec.time_ms + 1, CLOCK_SET_BACK);
		rec.type = REC_CLOCK;
		rec.payload = clock;
		rec.payload_len = sizeof(clock);
		rec.time_ms -= 1 + (int64_t)below(50);
	} else if (kind < 6)
		rec.type = REC_PART;
	else if (kind < 9)
		rec.flags = REC_HAS_PARTS;
	else if (kind < 12)
		rec.type = REC_MULTI;
	rec.bound = record_applies(rec.type) ? (uint16_t)below(9) : 0;
	memset(bytes, (int)below(256), below(2) * rec.payload_len);
	side_put(s, &rec);
	side_turn(s);
}

/* Bytes of record `vlsn` as they lie in that log. */
static const uint8_t *
bytes_of(const struct side *s, uint64_t vlsn, uint32_t *len)
{
	/* Backwards from where it ends: it is the one that ends there. */
	uint64_t end = s->behind[vlsn], from = s->segment[s->in[vlsn]].base;
	const uint8_t *at;

	if (s->in[vlsn - 1] == s->in[vlsn])
		from = s->behind[vlsn - 1];
	else
		from += s->block;
	for (; from < end; from += *len) {
		at = append_at(&s->a, from);
		*len = get_le32(at + REC_LEN_OFF);
		if (get_le64(at + REC_VLSN_OFF) == vlsn)
			return at;
	}
	abort();
}

/* Records from `vlsn` on, so many, as one frame. */
static size_t
frame_make(const struct side *s, uint64_t vlsn, uint64_t count, uint8_t *out)
{
	size_t n = 0;
	uint32_t len;

	while (count-- > 0 && vlsn <= s->a.end.vlsn) {
		const uint8_t *at = bytes_of(s, vlsn++, &len);

		if (n + len > APPEND_FRAME_MAX)
			break;
		memcpy(out + n, at, len);
		n += len;
	}
	return n;
}

static void
side_frame(struct side *s, const uint8_t *frame, size_t n, uint64_t term)
{
	uint64_t at, before = s->a.end.vlsn;
	enum frame_verdict v;
	struct record rec;
	size_t done = 0;

	side_room(s, n);
	at = s->a.position;
	v = append_frame_put(&s->a, frame, n, term);
	if (v != FRAME_OK) {
		diag(
		    "record %ju: %s", (uintmax_t)before, frame_verdict_text(v));
		abort();
	}
	while (frame_next(frame, n, &done, &rec))
		side_note(s,
		    &(struct append_end){
			rec.vlsn, rec.term, rec.time_ms, rec.crc },
		    at + done);
	if (done != n)
		abort();
	side_turn(s);
}

/* Cut behind record v: what stood there then is the end. */
static void
side_cut(struct side *s, uint64_t v)
{
	uint32_t in = s->in[v];

	side_seal(s, below(2) == 0);
	append_cut(&s->a, &s->at[v]);
	s->sealed = v;
	s->cuts++;
	s->segments = in + 1;
	s->segment[in].end = s->behind[v];
	s->info.prev_number = get_le32(append_at(&s->a, s->segment[in].base) +
				       REC_HEADER_SIZE + SEGMENT_NUM_OFF);
	s->info.prev_end = (uint32_t)(s->behind[v] - s->segment[in].base);
	side_segment(s);
}

/* The master's records up to `to`; some behind others that are cut off. */
static void
side_follow(struct side *s, const struct side *master, uint64_t to)
{
	static uint8_t frame[APPEND_FRAME_MAX];
	uint64_t v;
	size_t n;

	while (s->a.end.vlsn < to) {
		uint64_t term = s->a.end.term, good = s->a.end.vlsn;

		n = frame_make(master, good + 1, 1 + below(30), frame);
		side_frame(s, frame, n, master->a.end.term);
		if (below(30) != 0 || s->segments + 8 > SEGMENTS)
			continue;
		/* Its own, of a term that nobody else has; then not any more.
		 */
		good = s->a.end.vlsn;
		for (v = below(20); v > 0 && s->a.end.vlsn < RECORDS; v--)
			side_write(s, term + 1000);
		side_cut(s, good - below(good < 50 ? good : 50));
	}
}

/* Follow the headers and chains of that log: is each VLSN as the master's? */
static bool
side_same(const struct side *s, const struct side *master)
{
	struct segment_scan scan = { 0 };
	struct segment_info info;
	struct record rec;
	uint32_t i, left;
	int rc;

	for (i = 0; i < s->segments; i++) {
		uint64_t base = s->segment[i].base, end = s->segment[i].end;
		const uint8_t *at = append_at(&s->a, base);

		if (i + 1 == s->segments)
			end = s->a.position;
		left = (uint32_t)(end - base);
		if ((rc = segment_decode(at, left, &info)) != 0)
			return false;
		if (i > 0 && (info.prev_end != scan.offset ||
				 info.prev_crc != scan.seed ||
				 info.first_vlsn != scan.vlsn + 1 ||
				 info.term_before != scan.term ||
				 info.time_before_ms != scan.time_ms))
			return false;
		segment_scan_begin(&scan, &info);
		while ((rc = segment_scan_next(&scan, at + scan.offset,
			    left - scan.offset, &rec)) == 0)
			if (rec.vlsn != 0 &&
			    (master->at[rec.vlsn].chain != rec.crc ||
				master->at[rec.vlsn].term != rec.term ||
				s->at[rec.vlsn].chain != rec.crc))
				return false;
		if (scan.offset != left)
			return false;
	}
	return scan.vlsn == s->a.end.vlsn && scan.seed == s->a.end.chain &&
	       scan.term == s->a.end.term && scan.time_ms == s->a.end.time_ms;
}

static void
test_same(void)
{
	const struct append_end begin = { 0 };
	struct side *master = side_new(&begin), *member;
	uint64_t term = 1, good = 0, heads = 0, cuts = 0;
	unsigned i;

	while (master->a.end.vlsn < RECORDS - 50) {
		if (below(200) == 0)
			term += 1 + below(3);
		side_write(master, term);
	}
	side_seal(master, true);
	ok(side_same(master, master), "a log of own records is whole");
	for (i = 0; i < 12; i++) {
		member = side_new(&begin);
		side_follow(member, master, master->a.end.vlsn);
		side_seal(member, false);
		good += side_same(member, master) &&
			end_same(&member->a.end, &master->a.end);
		heads += member->a.position != master->a.position;
		cuts += member->cuts;
		side_free(member);
	}
	is_u64(good, 12, "the same at every VLSN in logs of received frames");
	ok(heads == 12 && cuts > 12,
	    "which differ in all else, behind %ju cuts", (uintmax_t)cuts);
	side_free(master);
}

/* What readers of the buffer see. */
static void
test_publish(void)
{
	const struct append_end begin = { 7, 3, 1000, 55 };
	struct side *s = side_new(&begin);
	uint64_t position, oldest;

	s->flush = UINT32_MAX;
	ok(append_publish(&s->a, s->pos), "a header is news");
	ok(!append_publish(&s->a, s->pos), "once");
	is_u64(position_get(&s->pos->appended), 7, "of no record");
	side_write(s, 3);
	is_u64(position_get(&s->pos->appended), 7, "unpublished is unseen");
	append_publish(&s->a, s->pos);
	is_u64(position_get(&s->pos->appended), 8, "published is seen");
	is_u64(atomic_load(&s->head->appended), s->a.position, "and its bytes");
	is_u64(atomic_load(&s->head->newest_lsn),
	    lsn_make(1, append_offset(&s->a)), "and its place");
	is_u64(walbuf_position(&s->a.buf, lsn_make(1, 8)), 8, "the base, too");
	side_seal(s, false);
	position = s->a.position;
	append_cut(&s->a, &begin);
	oldest = atomic_load(&s->head->oldest);
	ok(oldest >= position && oldest % s->block == 0 &&
		oldest == s->a.position,
	    "a cut leaves readers nothing in the buffer");
	side_free(s);
}

/* Room: what is held, what has memory, what the segment has. */
static void
test_room(void)
{
	const struct append_end begin = { 0 };
	struct side *s = side_new(&begin);

	s->flush = UINT32_MAX;
	is_u64(append_room(&s->a, 0), BUFFER - s->block, "the buffer's");
	is_u64(append_room(&s->a, 4096), BUFFER - s->block + 4096, "a hold's");
	s->a.taken = s->block + 8;
	is_u64(append_room(&s->a, 0), 8, "what has memory");
	s->a.taken = UINT64_MAX;
	is_u64(append_left(&s->a), s->size - 2 * s->block, "the segment's");
	while (!s->a.batch.full)
		side_write(s, 1);
	ok(s->a.position - s->a.batch.start >= APPEND_BATCH_BYTES,
	    "a batch is full at its size");
	side_free(s);
}

/* ---- refusals ---- */

static struct side *refuser;
static struct append_end base_end = { 9, 5, 5000, 1234 };
static unsigned changed;

/* The same verdict from both calls, and nothing has changed. */
static enum frame_verdict
verdict(const uint8_t *frame, size_t n, uint64_t term_max)
{
	struct append before = refuser->a;
	struct append_end end = refuser->a.end;
	uint8_t *at = append_at(&before, before.position), was[64];
	enum frame_verdict v = frame_check(&end, frame, n, term_max), again;

	memcpy(was, at, sizeof(was));
	if (v != FRAME_OK && !end_same(&end, &before.end))
		changed++;
	again = append_frame_put(&refuser->a, frame, n, term_max);
	if (v != again)
		changed++;
	if (v == FRAME_OK)
		refuser->a = before;
	else if (memcmp(&before, &refuser->a, sizeof(before)) != 0 ||
		 memcmp(was, at, sizeof(was)) != 0)
		changed++;
	return v;
}

/* One record with that behind base_end, sealed; n: its length. */
static const uint8_t *
one(uint64_t vlsn, uint64_t term, int64_t time_ms, uint8_t type, size_t *n)
{
	static uint8_t bytes[512];
	struct record rec = { .vlsn = vlsn,
		.term = term,
		.time_ms = time_ms,
		.type = type,
		.payload_len = 20 };

	record_encode(bytes, &rec);
	memset(bytes + REC_HEADER_SIZE, 7, 20);
	*n = record_len(20);
	record_seal(bytes, (uint32_t)*n, base_end.chain);
	return bytes;
}

static enum frame_verdict
one_verdict(uint64_t vlsn, uint64_t term, int64_t time_ms, uint8_t type)
{
	size_t n;
	const uint8_t *bytes = one(vlsn, term, time_ms, type, &n);

	return verdict(bytes, n, 7);
}

static void
test_refusals(void)
{
	static uint8_t frame[APPEND_FRAME_MAX + 8];
	uint8_t clock[256];
	const uint8_t *bytes;
	unsigned wrong = 0;
	size_t n;

	refuser = side_new(&base_end);
	side_room(refuser, APPEND_FRAME_MAX);
	is_u64(one_verdict(10, 5, 5000, REC_OP), FRAME_OK, "the next one");
	is_u64(one_verdict(10, 7, 9000, REC_TERM), FRAME_OK, "a newer term");
	is_u64(verdict(frame, 0, 7), FRAME_EMPTY, "none");
	is_u64(verdict(frame, APPEND_FRAME_MAX + 1, 7), FRAME_LONG, "much");
	is_u64(one_verdict(11, 5, 5000, REC_OP), FRAME_VLSN, "a hole");
	is_u64(one_verdict(9, 5, 5000, REC_OP), FRAME_VLSN, "once more");
	is_u64(one_verdict(10, 4, 5000, REC_OP), FRAME_TERM, "an old term");
	is_u64(one_verdict(10, 8, 5000, REC_OP), FRAME_TERM_AHEAD,
	    "of a term that nobody told of");
	is_u64(one_verdict(10, 5, 4999, REC_OP), FRAME_TIME, "an old time");
	is_u64(one_verdict(10, 5, 4999, REC_CLOCK), FRAME_TIME,
	    "a CLOCK record that is none");
	is_u64(one_verdict(0, 5, 5000, REC_PAD), FRAME_TYPE, "a pad");
	is_u64(one_verdict(0, 5, 5000, REC_BATCH), FRAME_TYPE, "a head");
	is_u64(one_verdict(0, 5, 5000, REC_SEGMENT), FRAME_TYPE, "a header");
	is_u64(one_verdict(10, 5, 5000, 99), FRAME_UNKNOWN, "of a newer one");
	/* A good CLOCK record. */
	record_encode(clock, &(struct record){ .vlsn = 10,
				 .term = 5,
				 .time_ms = 100,
				 .type = REC_CLOCK,
				 .payload_len = CLOCK_PAYLOAD });
	clock_encode(clock + REC_HEADER_SIZE, 5000, CLOCK_SET_BACK);
	record_seal(clock, record_len(CLOCK_PAYLOAD), base_end.chain);
	is_u64(verdict(clock, record_len(CLOCK_PAYLOAD), 7), FRAME_OK,
	    "log time goes back by a CLOCK record");
	/* Damage: each bit; shorter ones; bytes behind. */
	bytes = one(10, 5, 5000, REC_OP, &n);
	memcpy(frame, bytes, n);
	for (size_t bit = 0; bit < 8 * n; bit++) {
		enum frame_verdict v;

		frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
		v = verdict(frame, n, 7);
		wrong += v != FRAME_CHAIN && v != FRAME_SHAPE &&
			 v != FRAME_SHORT && v != FRAME_TYPE;
		frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	is_u64(wrong, 0, "no flipped bit is taken");
	frame[n - 8] ^= 1;
	is_u64(verdict(frame, n, 7), FRAME_CHAIN, "not by the CRC either");
	frame[n - 8] ^= 1;
	for (size_t cut = 1; cut < n; cut++)
		wrong += verdict(frame, cut, 7) != FRAME_SHORT;
	is_u64(wrong, 0, "half a record is short");
	is_u64(verdict(frame, n + 8, 7), FRAME_SHORT, "what is behind, too");
	memset(frame + n, 0xff, REC_HEADER_SIZE);
	is_u64(verdict(frame, n + REC_HEADER_SIZE, 7), FRAME_SHAPE, "or worse");
	/* A good record first: all of it, or nothing. */
	memcpy(frame + n, frame, n);
	is_u64(verdict(frame, 2 * n, 7), FRAME_CHAIN, "the same one twice");
	is_u64(changed, 0, "a refusal changes nothing");
	for (unsigned v = 0; v <= FRAME_VERDICT_COUNT; v++)
		wrong += frame_verdict_text(v)[0] == '\0';
	is_u64(wrong, 0, "each has its text");
	side_free(refuser);
}

int
main(void)
{
	rnd_seed();
	test_same();
	test_publish();
	test_room();
	test_refusals();
	return tap_done();
}
