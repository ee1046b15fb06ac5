/*
 * Feeds from segment files, over logs that are made byte by byte: whoever
 * receives one has a log that continues its own, up to the last record that was
 * asked for; and whatever keeps the rest away (damage, a format that no other
 * log can go on with, files that are gone, a cut, another epoch, a receiver
 * that stalls, closes or talks nonsense) ends it, by name, with nothing sent
 * beyond.
 */
#include "shm/say.h"
#include "t/lib/serve_rig.h"
#include "t/lib/segment_build.h"
#include "t/shm_fixture.h"

#define SEGMENTS 3
#define SIZE     (1024u * 1024)

static struct fixture fix;
static struct rig rig;
static char data[64];
static int data_dir, wal_dir;
static struct segment_build seg[SEGMENTS];
static struct append_end ends[8192]; /* behind each record */

static void
log_publish(void)
{
	const struct segment_build *b = &seg[SEGMENTS - 1];

	atomic_store(
	    &fix.r.walbuf.h->newest_lsn, lsn_make(b->info.number, b->at));
	position_set(&fix.r.pos->first, 1);
	position_set(&fix.r.pos->appended, b->vlsn);
	position_set(&fix.r.pos->durable, b->vlsn);
	position_set(&fix.r.pos->committed, epoch_word(RIG_EPOCH, b->vlsn));
	rig_master(&rig, RIG_TERM, RIG_EPOCH);
}

/* The chain behind each record, as any member has it. */
static void
ends_of(const struct segment_build *b)
{
	struct record rec;

	for (uint32_t i = 0; i < b->count; i++) {
		if (b->record[i].vlsn == 0)
			continue;
		(void)record_decode(
		    b->bytes + b->record[i].offset, b->record[i].len, &rec);
		ends[rec.vlsn] = (struct append_end){ .vlsn = rec.vlsn,
			.term = rec.term,
			.time_ms = rec.time_ms,
			.chain = rec.crc };
	}
}

/* Flushes of `n` records of `payload` bytes, three segments of them. */
static void
log_make(unsigned flushes, unsigned n, uint32_t payload)
{
	for (unsigned i = 0; i < SEGMENTS; i++) {
		struct segment_build *b = &seg[i];

		build_begin(b, i + 1, SIZE, i == 0 ? NULL : b - 1);
		b->term = 1 + i;
		for (unsigned k = 0; k < flushes; k++) {
			build_flush(b, n, payload);
			if (k % 2 == 0)
				build_pad(b);
		}
		ends_of(b);
		if (build_write(b, wal_dir) != 0)
			abort();
	}
	log_publish();
}

static void
log_free(void)
{
	for (unsigned i = 0; i < SEGMENTS; i++)
		build_free(&seg[i]);
}

static void
log_rewrite(unsigned i)
{
	if (build_write(&seg[i], wal_dir) != 0)
		abort();
}

static uint64_t
row_ended(unsigned member)
{
	return atomic_load(&fix.r.peers->row[member].ended);
}

static uint64_t
row_reason(unsigned member)
{
	return atomic_load(&fix.r.peers->row[member].end_reason);
}

static uint64_t
newest(void)
{
	return seg[SEGMENTS - 1].vlsn;
}

static uint64_t
serving(void)
{
	return position_get(&fix.r.pos->serving);
}

static void
check_end(struct receiver *c, unsigned feed_end, uint64_t last)
{
	ok(rig_until(&rig, c, receiver_told(c)), "it is told how it ends");
	is_u64(c->verdict, FRAME_OK, "all that came continues its log");
	is_u64(c->feed_end, feed_end, "the last word");
	is_u64(c->end.vlsn, last, "no more and no less came");
	is_u64(row_ended(c->member), c->connection, "its row says so");
	is_u64(row_reason(c->member), PEER_ENDED_FEED + feed_end, "and why");
	for (unsigned i = 0; i < 20; i++) {
		rig_turn(&rig);
		receiver_turn(c);
	}
	ok(!c->closed, "who is not through yet may take its time");
	close(c->fd);
	c->fd = -1;
	ok(wait_until((rig_turn(&rig), serve_idle(&rig.serve)), TAP_WAIT_MS),
	    "nothing is left of it");
	is_u64(serving(), 0, "nothing is held");
}

static void
check_refused(struct receiver *c, const char *text, uint64_t last)
{
	ok(rig_until(&rig, c, receiver_told(c)), "it is told");
	is_u64(c->refused, REFUSED_OTHER, "that it cannot be had");
	ok(strstr(c->text, text) != NULL, "%s: %s", text, c->text);
	is_u64(c->verdict, FRAME_OK, "all that came continues its log");
	is_u64(c->end.vlsn, last, "nothing is sent beyond");
	is_u64(row_reason(c->member), REFUSED_OTHER, "the row says so");
	close(c->fd);
	c->fd = -1;
	ok(wait_until((rig_turn(&rig), serve_idle(&rig.serve)), TAP_WAIT_MS),
	    "nothing is left of it");
}

static const struct append_end beginning;

static void
test_whole(void)
{
	struct receiver *c;
	uint64_t connection = 1;

	log_make(20, 25, 333);
	c = rig_feed(&rig, 2, connection++, &beginning, newest());
	ok(rig_until(&rig, c,
	       serve_pending(&rig.serve) ||
		   atomic_load(&fix.r.peers->row[2].connection) != 0),
	    "an offer is taken");
	check_end(c, FEED_CAUGHT_UP, newest());
	ok(c->frames > 1, "in several frames");
	is_u64(c->last.last, newest(), "and the newest is named");
	is_u64(c->end.chain, ends[newest()].chain, "the chains are one");
	is_u64(c->committed, newest(), "with what is committed");
	is_u64(
	    atomic_load(&fix.r.peers->row[2].connection), 0, "the row is free");
	receiver_free(c);

	for (uint64_t v = 1; v + 60 <= newest(); v += 97) {
		c = rig_feed(&rig, 3, connection++, &ends[v], v + 60);
		if (!rig_until(&rig, c, receiver_told(c)) ||
		    c->end.vlsn != v + 60 || c->verdict != FRAME_OK ||
		    c->feed_end != FEED_CAUGHT_UP)
			ok(false, "from record %ju", (uintmax_t)v);
		receiver_free(c);
	}
	ok(wait_until((rig_turn(&rig), serve_idle(&rig.serve)), TAP_WAIT_MS),
	    "from any record to any other");
	log_free();
}

/* Records as long as they may be: of a frame one is the last. */
static void
test_long(void)
{
	struct receiver *c;
	unsigned i;

	for (i = 0; i < SEGMENTS; i++) {
		struct segment_build *b = &seg[i];

		build_begin(b, i + 1, SIZE, i == 0 ? NULL : b - 1);
		build_flush(b, 3, 40);
		build_flush(b, 1, REC_LEN_MAX - REC_HEADER_SIZE);
		build_flush(b, 2, 100 * 1024);
		build_flush(b, 1, 200 * 1024);
		build_flush(b, 3, 8);
		ends_of(b);
		log_rewrite(i);
	}
	log_publish();
	c = rig_feed(&rig, 1, 400, &beginning, newest());
	check_end(c, FEED_CAUGHT_UP, newest());
	receiver_free(c);
	log_free();
}

static void
test_window(void)
{
	struct peer_row *row = &fix.r.peers->row[2];
	struct receiver *c;
	unsigned i;

	log_make(60, 25, 500);
	c = rig_feed(&rig, 2, 500, &beginning, newest());
	c->acks = false;
	ok(rig_until(&rig, c, c->bytes >= 3 * SERVE_FRAME), "it is sent to");
	for (i = 0; i < 100; i++) {
		rig_turn(&rig);
		receiver_turn(c);
	}
	ok(c->bytes <= SYNC_WINDOW_MIN, "not more than the window has");
	is_u64(atomic_load(&row->flight_bytes), c->bytes, "which the row says");
	is_u64(atomic_load(&row->matched), c->end.vlsn, "up to that record");
	is_u64(atomic_load(&row->feed), PEER_FEED_SEGMENTS, "from files");
	ok(serving() > c->end.vlsn && serving() < newest(),
	    "the log is held from what is still to be read on");
	receiver_ack(c);
	ok(rig_until(&rig, c,
	       atomic_load(&row->acked) == c->link.data.vlsn ||
		   atomic_load(&row->flight_bytes) < c->bytes),
	    "what is acknowledged makes room");
	c->acks = true;
	check_end(c, FEED_CAUGHT_UP, newest());
	receiver_free(c);

	c = rig_feed(&rig, 2, 501, &beginning, newest());
	c->acks = false;
	ok(rig_until(&rig, c, c->bytes >= 3 * SERVE_FRAME), "another one");
	for (i = 0; i < MEMBER_MAX; i++)
		rig.serve.feed[i].moved_ns -= SERVE_STALL_NS;
	ok(rig_until(&rig, c, c->closed), "who acknowledges nothing is gone");
	is_u64(row_ended(2), 501, "its row says so");
	is_u64(row_reason(2), REFUSED_STALL, "and why");
	is_u64(atomic_load(&row->flight_bytes), 0, "nothing is under way");
	receiver_free(c);
	log_free();
}

/* One that does not read at all: the same, without its help. */
static void
test_deaf(void)
{
	struct receiver *c;

	log_make(60, 25, 500);
	c = rig_feed(&rig, 2, 550, &beginning, newest());
	ok(wait_until(
	       (rig_turn(&rig), atomic_load(&fix.r.peers->row[2].matched) > 0),
	       TAP_WAIT_MS),
	    "a member that does not read");
	for (unsigned i = 0; i < 100; i++)
		rig_turn(&rig);
	for (unsigned i = 0; i < MEMBER_MAX; i++)
		rig.serve.feed[i].moved_ns -= SERVE_STALL_NS;
	ok(wait_until((rig_turn(&rig), serve_idle(&rig.serve)), TAP_WAIT_MS),
	    "is gone, too");
	is_u64(row_reason(2), REFUSED_STALL, "for that reason");
	receiver_free(c);
	log_free();
}

static void
test_damage(void)
{
	struct receiver *c;
	uint32_t at, i;
	uint64_t v;

	log_make(20, 25, 333);
	/* In the middle of the second segment. */
	i = seg[1].count / 2;
	while (seg[1].record[i].vlsn == 0)
		i++;
	v = seg[1].record[i].vlsn;
	at = seg[1].record[i].offset + 60;
	seg[1].bytes[at] ^= 1;
	log_rewrite(1);
	c = rig_feed(&rig, 2, 600, &beginning, newest());
	check_refused(c, "wal/00000002.seg offset", v - 1);
	receiver_free(c);

	if (ftruncate(openat(wal_dir, "00000002.seg", O_WRONLY | O_CLOEXEC),
		seg[1].record[i].offset + 8) != 0)
		abort();
	c = rig_feed(&rig, 2, 601, &beginning, newest());
	check_refused(c, "record 1 is in no segment", 0);
	receiver_free(c);

	unlinkat(wal_dir, "00000002.seg", 0);
	c = rig_feed(&rig, 2, 602, &beginning, newest());
	check_refused(c, "record 1 is in no segment", 0);
	receiver_free(c);
	/* Another chain than the one that was agreed on. */
	seg[1].bytes[at] ^= 1;
	log_rewrite(1);
	ends[10].chain ^= 1;
	c = rig_feed(&rig, 2, 603, &ends[10], newest());
	check_refused(c, frame_verdict_text(FRAME_CHAIN), 10);
	receiver_free(c);
	log_free();
}

/* A log that a release before this one began. */
static void
test_format1(void)
{
	struct receiver *c;
	unsigned i;

	for (i = 0; i < SEGMENTS; i++) {
		struct segment_build *b = &seg[i];

		build_format = i == 0 ? SEGMENT_FORMAT_1 : SEGMENT_FORMAT;
		build_begin(b, i + 1, SIZE, i == 0 ? NULL : b - 1);
		build_flush(b, 100, 100);
		build_pad(b);
		ends_of(b);
		log_rewrite(i);
	}
	build_format = SEGMENT_FORMAT;
	log_publish();
	c = rig_feed(&rig, 2, 700, &beginning, newest());
	check_refused(c, "record 1 is in a segment of format 1", 0);
	receiver_free(c);
	/* Where format 2 goes on its chain begins with what format 1 left. */
	ends[100].chain = seg[1].info.prev_crc;
	c = rig_feed(&rig, 2, 701, &ends[100], newest());
	check_end(c, FEED_CAUGHT_UP, newest());
	receiver_free(c);
	log_free();
}

static void
test_lapped(void)
{
	struct receiver *c;

	log_make(60, 25, 500);
	position_set(&fix.r.pos->first, seg[1].info.first_vlsn);
	c = rig_feed(&rig, 2, 800, &ends[5], newest());
	check_end(c, FEED_LAPPED, 5);
	receiver_free(c);

	/* While it is read: the first segment and the second go. */
	position_set(&fix.r.pos->first, 1);
	c = rig_feed(&rig, 2, 801, &beginning, newest());
	c->acks = false;
	ok(rig_until(&rig, c, c->frames > 0), "one that is under way");
	position_set(&fix.r.pos->first, seg[2].info.first_vlsn);
	unlinkat(wal_dir, "00000001.seg", 0);
	unlinkat(wal_dir, "00000002.seg", 0);
	c->acks = true;
	ok(rig_until(&rig, c, receiver_told(c)), "is told");
	is_u64(c->feed_end, FEED_LAPPED, "that it is lapped");
	is_u64(c->verdict, FRAME_OK, "after what could be read");
	ok(c->end.vlsn < seg[2].info.first_vlsn, "and no more");
	receiver_free(c);
	log_free();
}

static void
test_over(void)
{
	struct commit_view v;
	struct receiver *c;
	unsigned before;

	log_make(60, 25, 500);
	c = rig_feed(&rig, 2, 900, &beginning, newest());
	c->acks = false;
	ok(rig_until(&rig, c, c->frames > 0), "one that is under way");
	atomic_store(&fix.r.walbuf.h->cut[1], newest());
	atomic_store(&fix.r.walbuf.h->cuts, 1);
	rig_turn(&rig);
	atomic_store(&fix.r.walbuf.h->cuts_done, 1);
	before = c->frames;
	c->acks = true;
	ok(rig_until(&rig, c, receiver_told(c)), "the log is cut");
	is_u64(c->feed_end, FEED_STOPPED, "it stops");
	ok(c->frames <= before + 4, "with what was on its way");
	is_u64(c->verdict, FRAME_OK, "whole frames");
	is_u64(
	    row_reason(2), PEER_ENDED_FEED + FEED_STOPPED, "the row says so");
	receiver_free(c);

	c = rig_feed(&rig, 2, 901, &beginning, newest());
	c->acks = false;
	ok(rig_until(&rig, c, c->frames > 0), "one that is under way");
	rig_master(&rig, RIG_TERM, RIG_EPOCH + 1);
	c->acks = true;
	ok(rig_until(&rig, c, receiver_told(c)), "the epoch is over");
	is_u64(c->feed_end, FEED_STOPPED, "it stops");
	ok(c->end.vlsn < newest(), "before its end");
	receiver_free(c);

	/* All of it is read, but not sent yet. */
	rig_master(&rig, RIG_TERM, RIG_EPOCH);
	c = rig_feed(&rig, 2, 910, &beginning, 1000);
	c->acks = false;
	ok(rig_until(&rig, c, c->bytes > 3 * SERVE_FRAME), "one that waits");
	for (unsigned i = 0; i < 20; i++) {
		rig_turn(&rig);
		receiver_turn(c);
	}
	ok(c->end.vlsn < 1000, "for the last of its frames");
	rig_master(&rig, RIG_TERM, RIG_EPOCH + 1);
	ok(rig_until(&rig, c, receiver_told(c)), "the epoch is over");
	is_u64(c->feed_end, FEED_STOPPED, "it is not said to have caught up");
	is_u64(c->last.last, c->end.vlsn, "but where it got to");
	receiver_free(c);

	c = rig_feed(&rig, 2, 902, &beginning, newest());
	commit_view_read(fix.r.commit, &v);
	v.role = ROLE_UNKNOWN;
	commit_view_write(fix.r.commit, &v);
	check_end(c, FEED_STOPPED, 0);
	receiver_free(c);
	rig_master(&rig, RIG_TERM, RIG_EPOCH);

	c = rig_feed(&rig, 2, 903, &beginning, newest());
	c->acks = false;
	ok(rig_until(&rig, c, c->frames > 0), "one that is under way");
	serve_stop(&rig.serve);
	c->acks = true;
	ok(rig_until(&rig, c, receiver_told(c)), "the node stops");
	is_u64(c->feed_end, FEED_STOPPED, "it is told");
	receiver_free(c);
	ok(wait_until((rig_turn(&rig), serve_idle(&rig.serve)), TAP_WAIT_MS),
	    "nothing is left");
	rig.serve.stops = false;
	log_free();
}

static void
test_many(void)
{
	struct receiver *c[MEMBER_MAX] = { 0 };
	unsigned i, told;
	uint64_t wrong = 0;

	log_make(60, 25, 500);
	for (i = 1; i < MEMBER_MAX; i++)
		c[i] = rig_feed(&rig, i, 1000 + i, &ends[i * 40], newest());
	ok(wait_until((rig_turn(&rig), ({
		told = 0;
		for (i = 1; i < MEMBER_MAX; i++) {
			receiver_turn(c[i]);
			told += receiver_told(c[i]);
		}
		told == MEMBER_MAX - 1;
	})),
	       TAP_WAIT_MS),
	    "as many members as there can be, at once");
	for (i = 1; i < MEMBER_MAX; i++)
		if (c[i]->verdict != FRAME_OK || c[i]->end.vlsn != newest() ||
		    c[i]->feed_end != FEED_CAUGHT_UP ||
		    row_ended(i) != 1000 + i)
			wrong++;
	is_u64(wrong, 0, "each has all of it");
	for (i = 1; i < MEMBER_MAX; i++)
		receiver_free(c[i]);
	ok(wait_until((rig_turn(&rig), serve_idle(&rig.serve)), TAP_WAIT_MS),
	    "nothing is left");
	log_free();
}

/* A member that dials again: the newer one is the one that it wants. */
static void
test_twice(void)
{
	struct receiver *a, *b;

	log_make(60, 25, 500);
	a = rig_feed(&rig, 2, 1100, &beginning, newest());
	a->acks = false;
	ok(rig_until(&rig, a, a->frames > 0), "one that is under way");
	b = rig_feed(&rig, 2, 1101, &a->end, newest());
	ok(rig_until(&rig, b, receiver_told(b)), "and another one of it");
	is_u64(b->end.vlsn, newest(), "which has all of it");
	is_u64(row_ended(2), 1101, "the row is that one's");
	ok(rig_until(&rig, a, a->closed), "the one before is closed");
	receiver_free(a);
	receiver_free(b);
	ok(wait_until((rig_turn(&rig), serve_idle(&rig.serve)), TAP_WAIT_MS),
	    "nothing is left");
	/* An end that is told late writes into no other's row. */
	peer_feed_begin(&fix.r.peers->row[2], 5, PEER_FEED_LIVE, 1);
	ok(!peer_feed_end(&fix.r.peers->row[2], 4, 1), "it has no row");
	is_u64(atomic_load(&fix.r.peers->row[2].connection), 5,
	    "it stays the other's");
	ok(peer_feed_end(&fix.r.peers->row[2], 5, 0), "who ends it");
	log_free();
}

static void
test_peer(void)
{
	struct msg_ack m = { .term = RIG_TERM, .appended = 1, .durable = 1 };
	struct receiver *c;
	uint8_t at[64];
	int n;

	log_make(60, 25, 500);
	c = rig_feed(&rig, 2, 1200, &beginning, newest());
	c->acks = false;
	ok(rig_until(&rig, c, c->frames > 0), "one that is under way");
	close(c->fd);
	c->fd = -1;
	ok(wait_until((rig_turn(&rig), serve_idle(&rig.serve)), TAP_WAIT_MS),
	    "a member that closes is forgotten");
	is_u64(row_ended(2), 1200, "its row says so");
	is_u64(row_reason(2), 0, "without a reason");
	is_u64(serving(), 0, "nothing is held");
	receiver_free(c);

	c = rig_feed(&rig, 2, 1201, &beginning, newest());
	c->acks = false;
	ok(rig_until(&rig, c, c->frames > 0), "another one");
	/* Of records that it has not been sent. */
	m.appended = m.durable = newest() + 1000;
	n = link_send(&c->link, MSG_ACK, &m, at, sizeof(at));
	ok(send(c->fd, at, (size_t)n, 0) == n, "acknowledges too much");
	ok(rig_until(&rig, c, atomic_load(&fix.r.peers->row[2].acked) > 0),
	    "which is heard");
	ok(atomic_load(&fix.r.peers->row[2].acked) <=
		atomic_load(&fix.r.peers->row[2].matched),
	    "and counts as far as it was sent");
	memset(at, 0xee, sizeof(at));
	ok(send(c->fd, at, sizeof(at), 0) == sizeof(at), "then nonsense");
	ok(rig_until(&rig, c, c->closed || c->refused != 0), "is the end");
	is_u64(row_reason(2), REFUSED_NONSENSE, "by name");
	receiver_free(c);
	ok(wait_until((rig_turn(&rig), serve_idle(&rig.serve)), TAP_WAIT_MS),
	    "nothing is left");

	n = (int)send(rig.pair[0], at, sizeof(at), 0);
	ok(n == sizeof(at), "no offer at all");
	c = rig_feed(&rig, 0, 1202, &beginning, newest());
	ok(rig_until(&rig, c, c->closed), "nor one of this node itself");
	receiver_free(c);
	c = rig_feed(&rig, 2, 1203, &beginning, newest());
	check_end(c, FEED_CAUGHT_UP, newest());
	receiver_free(c);
	log_free();
}

static int
server(void *arg)
{
	(void)arg;
	for (;;)
		rig_turn(&rig);
	return 0;
}

/* Killed in the middle: what it left is taken back, and it begins again. */
static void
test_killed(void)
{
	struct append_end at = beginning;
	struct receiver *c;
	unsigned kills = 0;
	pid_t pid;

	log_make(60, 25, 500);
	rig_close(&rig);
	while (at.vlsn < newest() && kills < 200) {
		/* The ring is of the process that made it. */
		fflush(stdout);
		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0,
			rig.pair) != 0)
			abort();
		pid = fork();
		if (pid == 0) {
			int pair[2] = { rig.pair[0], rig.pair[1] };

			alarm(200);
			rig_open(&rig, &fix.r, data_dir);
			close(rig.pair[0]);
			close(rig.pair[1]);
			rig.serve.pair = pair[1];
			close(pair[0]);
			_exit(server(NULL));
		}
		rig.r = &fix.r;
		c = rig_feed(&rig, 2, 1300 + kills, &at, newest());
		close(rig.pair[1]);
		c->acks = kills % 2 == 0;
		/* Rarely before it is served, mostly in the middle. */
		if (kills % 5 != 4)
			(void)wait_until(
			    (receiver_turn(c),
				c->frames > kills % 3 || receiver_told(c)),
			    TAP_WAIT_MS);
		kill(pid, SIGKILL);
		if (child_end(pid) != 1000 + SIGKILL)
			ok(false, "killed");
		ok(wait_until(
		       (receiver_turn(c), receiver_told(c)), TAP_WAIT_MS),
		    "the member sees its end");
		if (c->verdict != FRAME_OK)
			ok(false, "what came continues");
		at = c->end;
		receiver_free(c);
		close(rig.pair[0]);
		kills++;
		/* As the supervisor does. */
		peers_server_died(fix.r.peers);
		is_u64(atomic_load(&fix.r.peers->row[2].connection), 0,
		    "its row is free");
	}
	is_u64(at.vlsn, newest(), "in the end it has all");
	is_u64(at.chain, ends[newest()].chain, "as it is");
	ok(kills > 3, "after %u kills", kills);
	rig_open(&rig, &fix.r, data_dir);
	is_u64(serving(), 0, "nothing is held");
	log_free();
}

int
main(void)
{
	fixture_open(&fix);
	say_level_set(SAY_ERROR);
	strcpy(fix.r.commit->name[2], "n2");
	strcpy(data, "/tmp/nodelife-serve.XXXXXX");
	if (mkdtemp(data) == NULL)
		abort();
	data_dir = open(data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	mkdirat(data_dir, "wal", 0750);
	wal_dir = openat(data_dir, "wal", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	rig_open(&rig, &fix.r, data_dir);
	test_whole();
	test_long();
	test_window();
	test_deaf();
	test_damage();
	test_format1();
	test_lapped();
	test_over();
	test_many();
	test_twice();
	test_peer();
	test_killed();
	rig_close(&rig);
	for (unsigned i = 1; i <= SEGMENTS; i++) {
		char name[SEGMENT_NAME_MAX];

		segment_name(name, i);
		unlinkat(wal_dir, name, 0);
	}
	close(wal_dir);
	unlinkat(data_dir, "wal", AT_REMOVEDIR);
	close(data_dir);
	ok(rmdir(data) == 0, "nothing else is left");
	fixture_close(&fix);
	return tap_done();
}
