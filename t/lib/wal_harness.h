/*
 * A wal worker without its node: a real region, a forked wal_main(), and this
 * process in the place of the supervisor, of group (the view) and of a
 * gateway (a ring of requests). Waits are on conditions.
 */
#ifndef T_WAL_HARNESS_H
#define T_WAL_HARNESS_H

#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "conf/node_file.h"
#include "shm/kv/store_db.h"
#include "shm/log/cursor.h"
#include "shm/log/logcheck.h"
#include "shm/log/segment.h"
#include "shm/region.h"
#include "shm/say.h"
#include "t/tap.h"
#include "workers/wal/wal_io.h"
#include "workers/worker.h"

#define H_WAIT_MS TAP_WAIT_MS

struct harness {
	char dir[64];
	int data_dir, wal_dir;
	struct conf conf;
	struct region region;
	struct worker worker;
	pid_t pid; /* of wal, 0 = none */
	int status;
	struct commit_view view;
	struct bytering request, ret;
	uint32_t seq; /* newest request */
	uint32_t seq_answered; /* requests answered, in order */
	uint64_t acked_vlsn; /* VLSN of the newest RET_OK */
	uint64_t acked_term; /* and its mastership */
	uint32_t refused[RET_NO_SEGMENT + 1]; /* by status */
	bool readonly, force;
	bool keep_region; /* of the life that ends, as a node does */
	uint64_t wal_failed; /* the coming boot drops from there on */
};

/* under: "/tmp", or "/dev/shm" where no disk is to be waited for. */
__attribute__((unused)) static void
h_new(struct harness *h, const char *under)
{
	struct node_file node = { .format = NODE_FILE_FORMAT,
		.node = "n1",
		.group = "g1",
		.generation = 1,
		.incarnation = 77 };

	memset(h, 0, sizeof(*h));
	snprintf(h->dir, sizeof(h->dir), "%s/nodelife-wal.XXXXXX", under);
	if (mkdtemp(h->dir) == NULL)
		abort();
	h->data_dir = open(h->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	memcpy(node.group_uuid, "0123456789abcdef", 16);
	if (node_file_write(h->data_dir, &node) != 0)
		abort();
	mkdirat(h->data_dir, "wal", 0750);
	h->wal_dir =
	    openat(h->data_dir, "wal", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	conf_defaults(&h->conf);
	snprintf(
	    h->conf.node.data_dir, sizeof(h->conf.node.data_dir), "%s", h->dir);
	snprintf(
	    h->conf.node.run_dir, sizeof(h->conf.node.run_dir), "%s", h->dir);
	h->conf.wal.segment_size = 4 << 20;
	h->conf.wal.buffer_size = 1 << 20;
	h->conf.wal.keep_size = 0;
	h->conf.wal.reserve = 1 << 20;
	h->worker.slot = SLOT_WAL;
	for (int i = 0; i < SLOT_MAX; i++)
		h->worker.bells.fd[i] = -1;
	say_level_set(SAY_ERROR);
}

/* A checkpoint as of that VLSN, without a key. */
__attribute__((unused)) static void
h_checkpoint(struct harness *h, uint64_t vlsn)
{
	struct store_state st = { .vlsn = vlsn, .term = 1, .checkpoints = 1 };
	char path[80], why[256];
	struct store_db db;
	MDB_txn *txn;

	memcpy(st.group_uuid, "0123456789abcdef", 16);
	snprintf(path, sizeof(path), "%s/store", h->dir);
	if (store_db_open(
		&db, path, STORE_DB_WRITE, 1 << 20, why, sizeof(why)) != 0 ||
	    mdb_txn_begin(db.env, NULL, 0, &txn) != 0 ||
	    store_db_state_put(&db, txn, &st) != 0 || mdb_txn_commit(txn) != 0)
		abort();
	store_db_close(&db);
}

/* What the life before left: up to that segment nothing from there on counts.
 */
__attribute__((unused)) static void
h_failed(struct harness *h, uint64_t from, uint32_t segment)
{
	struct control *c = h->region.control;

	atomic_store(&c->wal_failed_log, 77);
	atomic_store(&c->wal_failed_segment, segment);
	atomic_store(&c->wal_failed, from);
}

__attribute__((unused)) static void
h_region(struct harness *h)
{
	struct region_spec spec = { .node = "n1",
		.group = "g1",
		.data_dir = h->dir,
		.run_dir = h->dir,
		.client_addr = "",
		.http_addr = "",
		.walbuf_size = h->conf.wal.buffer_size,
		.table_size = 1 << 20,
		.gateway_count = 1 };
	char why[256] = "";
	int i;

	spec.recovery_mode = h->readonly ? RECOVERY_READONLY
			     : h->force  ? RECOVERY_FORCE
					 : RECOVERY_NORMAL;
	if (region_create(&h->region, &spec, why, sizeof(why)) != 0) {
		diag("region: %s", why);
		abort();
	}
	/* Else what the life before said of its last flush holds. */
	if (h->wal_failed != 0)
		h_failed(h, h->wal_failed, UINT32_MAX);
	h->wal_failed = 0;
	h->worker.region = &h->region;
	h->worker.conf = &h->conf;
	h->worker.readonly = h->readonly;
	h->worker.force = h->force;
	h->worker.supervisor_pid = getpid();
	h->worker.lock_fd = h->worker.http_fd = h->worker.control_fd = -1;
	h->worker.data_from = -1;
	for (i = 0; i < LISTEN_MAX; i++)
		h->worker.listen_fd[i] = -1;
	worker_alone(&h->worker);
	h->worker.bells.wakes = h->region.wakes;
	for (i = 0; i < SLOT_MAX; i++)
		h->worker.bells.fd[i] = eventfd(0, EFD_CLOEXEC);
	region_ring(&h->region, CLIENT_GATEWAY, RING_REQUEST, &h->request);
	region_ring(&h->region, CLIENT_GATEWAY, RING_RETURN, &h->ret);
	h->seq = h->seq_answered = 0;
	atomic_store(&h->region.slots->row[SLOT_GATEWAY].incarnation, 1);
	atomic_store(&h->region.slots->row[SLOT_GATEWAY].state, SLOT_RUNNING);
	atomic_store(&h->region.control->log_level, SAY_ERROR);
	memset(&h->view, 0, sizeof(h->view));
	h->view.role = ROLE_UNKNOWN;
	h->view.master = -1;
	h->view.member_count = 1;
	h->view.voters = 1;
	h->view.quorum = quorum_count(1, 1);
	h->view.lease_until_ns = UINT64_MAX;
}

/* Fork wal in h's fresh region, with a stop under way already. */
__attribute__((unused)) static void
h_fork_at(struct harness *h, enum shutdown_step step)
{
	atomic_store(&h->region.seq->shutdown, step);
	seq_register(h->region.seq, PHASE_WAL_RECOVERY, SLOT_WAL, "wal scan");
	seq_register(
	    h->region.seq, PHASE_RAFT_METADATA_REPLAY, SLOT_WAL, "begun");
	seq_seal(h->region.seq);
	fflush(stdout);
	h->worker.data_dir = dup(h->data_dir);
	h->pid = fork();
	if (h->pid == 0)
		_exit(wal_main(&h->worker));
	close(h->worker.data_dir);
}

/* Fork wal in a fresh region; it boots meanwhile. */
__attribute__((unused)) static void
h_fork(struct harness *h)
{
	h_region(h);
	h_fork_at(h, SHUTDOWN_NONE);
}

/* Wait for its segment: 0, or negative with the region's error. */
__attribute__((unused)) static int
h_booted(struct harness *h)
{
	return seq_wait(h->region.seq, PHASE_RAFT_METADATA_REPLAY,
	    mono_ns() + H_WAIT_MS * NS_PER_MS, NULL, NULL);
}

__attribute__((unused)) static int
h_boot(struct harness *h)
{
	h_fork(h);
	return h_booted(h);
}

/* Has the process ended? Its status is kept. */
__attribute__((unused)) static bool
h_ended(struct harness *h)
{
	if (h->pid > 0 && waitpid(h->pid, &h->status, WNOHANG) == h->pid)
		h->pid = 0;
	return h->pid == 0;
}

/* Begin an epoch as group does: wal may raise `committed` meanwhile. */
__attribute__((unused)) static void
h_publish(struct harness *h)
{
	_Atomic uint64_t *v = &h->region.pos->committed.v;
	uint64_t now = atomic_load(v);

	h->view.epoch++;
	while (!atomic_compare_exchange_weak(
	    v, &now, epoch_word(h->view.epoch, word_vlsn(now))))
		;
	commit_view_write(h->region.commit, &h->view);
	bell_ring(&h->worker.bells, SLOT_WAL);
}

/* And wait until wal goes by it, not by the one before any more. */
__attribute__((unused)) static void
h_epoch(struct harness *h)
{
	_Atomic uint64_t *seen = &h->region.commit->member[0].durable;

	h_publish(h);
	if (!wait_until(
		h_ended(h) || word_epoch(atomic_load(seen)) == h->view.epoch,
		H_WAIT_MS))
		diag("wal does not take the view");
}

/* Become master of the next term, as group would. */
__attribute__((unused)) static void
h_elect(struct harness *h, uint64_t term)
{
	h->view.term = term;
	h->view.role = ROLE_MASTER;
	h->view.master = 0;
	h_epoch(h);
}

__attribute__((unused)) static void
h_role(struct harness *h, enum role role)
{
	h->view.role = (uint8_t)role;
	h_epoch(h);
}

/* One more entry; false if the ring is full. Not yet rung. */
__attribute__((unused)) static bool
h_push(struct harness *h, uint8_t type, uint8_t flags, const void *payload,
    uint32_t n)
{
	struct wal_req req = { .len = (uint32_t)sizeof(req) + n,
		.seq = h->seq + 1,
		.incarnation = 1,
		.type = type,
		.flags = flags };
	uint8_t *at = bytering_reserve(&h->request, req.len);

	if (at == NULL)
		return false;
	memcpy(at, &req, sizeof(req));
	memcpy(at + sizeof(req), payload, n);
	if ((flags & REQ_MORE) == 0)
		h->seq++;
	bytering_publish(&h->request);
	return true;
}

__attribute__((unused)) static void
h_ring(struct harness *h)
{
	bell_ring(&h->worker.bells, SLOT_WAL);
}

/* Take what wal answered. */
__attribute__((unused)) static void
h_answers(struct harness *h)
{
	const struct wal_ret *ret;
	struct wal_ret r;
	uint32_t len;

	while ((ret = bytering_peek(&h->ret, &len)) != NULL) {
		memcpy(&r, ret, sizeof(r));
		if (r.seq != h->seq_answered + 1)
			diag("ret: seq %u after %u", r.seq, h->seq_answered);
		h->seq_answered = r.seq + r.count - 1;
		if (r.status == RET_OK) {
			h->acked_vlsn = r.vlsn + r.count - 1;
			h->acked_term = r.term;
		} else if (r.term != 0) {
			diag("ret: refused, in term %ju", (uintmax_t)r.term);
		}
		if (r.status < sizeof(h->refused) / sizeof(h->refused[0]))
			h->refused[r.status] += r.count;
		bytering_advance(&h->ret, len);
	}
	bytering_consume(&h->ret);
}

__attribute__((unused)) static bool
h_answered(struct harness *h)
{
	h_answers(h);
	return h->seq_answered == h->seq;
}

__attribute__((unused)) static uint64_t
h_committed(const struct harness *h)
{
	return commit_vlsn(&h->region);
}

/* A payload that tells its number, for reading back. */
__attribute__((unused)) static void
h_fill(uint8_t *p, uint32_t n, uint64_t number)
{
	for (uint32_t i = 0; i < n; i++)
		p[i] = (uint8_t)(number * 131 + i * 17 + (i >> 8));
	if (n >= 8)
		put_le64(p, number);
}

/* The store's part: all that is committed may be overwritten. */
__attribute__((unused)) static void
h_apply(struct harness *h)
{
	struct walbuf_head *b = h->region.walbuf.h;

	position_set(&h->region.pos->applied, h_committed(h));
	atomic_store(&b->store_hold, atomic_load(&b->flushed));
	h_ring(h);
}

/* Push `count` requests of n bytes, answers and apply kept going. */
__attribute__((unused)) static bool
h_write(struct harness *h, uint32_t count, uint32_t n, uint64_t *number)
{
	uint64_t end = tap_now_ms() + H_WAIT_MS;
	uint8_t *p = malloc(n + 8);
	uint32_t done = 0;

	while (done < count && tap_now_ms() < end) {
		h_fill(p, n, *number);
		if (h_push(h, REC_OP, 0, p, n)) {
			done++;
			++*number;
			if (done % 64 != 0)
				continue;
		}
		h_ring(h);
		h_answers(h);
		h_apply(h);
	}
	h_ring(h);
	free(p);
	return wait_until(
	    (h_apply(h), h_answered(h)) && h_committed(h) >= h->acked_vlsn,
	    H_WAIT_MS);
}

__attribute__((unused)) static void
h_region_end(struct harness *h)
{
	region_end(&h->region, REGION_ENDED);
	if (!h->keep_region)
		shm_unlink(h->region.path);
	region_unmap(&h->region);
	for (int i = 0; i < SLOT_MAX; i++) {
		close(h->worker.bells.fd[i]);
		h->worker.bells.fd[i] = -1;
	}
}

__attribute__((unused)) static void
h_kill(struct harness *h)
{
	if (h->pid > 0) {
		kill(h->pid, SIGKILL);
		waitpid(h->pid, &h->status, 0);
		h->pid = 0;
	}
	h_region_end(h);
}

/* Through the shutdown bus; true if it ended with 0. */
__attribute__((unused)) static bool
h_stop(struct harness *h)
{
	bool good = true;

	for (unsigned step = 1; step <= SHUTDOWN_CLOSED; step++) {
		seq_shutdown(h->region.seq, (enum shutdown_step)step);
		h_ring(h);
		good = wait_until(
			   h_ended(h) ||
			       atomic_load(
				   &h->region.slots->row[SLOT_WAL].drained) >=
				   step,
			   H_WAIT_MS) &&
		       good;
	}
	good = wait_until(h_ended(h), H_WAIT_MS) && good;
	good = good && WIFEXITED(h->status) && WEXITSTATUS(h->status) == 0;
	h_kill(h);
	return good;
}

__attribute__((unused)) static void
dir_remove(int at, const char *name)
{
	struct dirent *de;
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (d == NULL)
		return;
	while ((de = readdir(d)) != NULL) {
		if (strcmp(de->d_name, ".") == 0 ||
		    strcmp(de->d_name, "..") == 0)
			continue;
		if (unlinkat(fd, de->d_name, 0) != 0)
			dir_remove(fd, de->d_name);
	}
	closedir(d);
	unlinkat(at, name, AT_REMOVEDIR);
}

__attribute__((unused)) static void
h_free(struct harness *h)
{
	close(h->wal_dir);
	close(h->data_dir);
	dir_remove(AT_FDCWD, h->dir);
}

/*
 * Read the whole log from files and compare: records of type REC_OP carry
 * numbers 1, 2, 3 … in order. Returns the newest number, or UINT64_MAX.
 */
__attribute__((unused)) static uint64_t
h_read_back(struct harness *h, uint64_t *last_vlsn)
{
	struct segment_list l;
	struct segment_reader r;
	struct record rec;
	uint64_t number = 0, vlsn = 0;
	uint8_t *want = malloc(REC_LEN_MAX);
	uint32_t i;

	if (segment_list_load(&l, h->wal_dir, true) != 0)
		abort();
	if (l.newest == UINT32_MAX)
		goto out;
	for (i = l.oldest; i != UINT32_MAX; i = segment_list_next(&l, i)) {
		if (segment_reader_open(
			&r, h->wal_dir, l.entry[i].number, 1 << 20, true) != 0)
			goto bad;
		r.limit = l.entry[i].end;
		while (segment_reader_next(&r, &rec, NULL) == 0) {
			if (rec.vlsn == 0)
				continue;
			if (vlsn != 0 && rec.vlsn != vlsn + 1)
				goto bad;
			vlsn = rec.vlsn;
			if (rec.type != REC_OP)
				continue;
			if (number == 0 && rec.payload_len >= 8)
				number = get_le64(rec.payload) - 1;
			number++;
			h_fill(want, rec.payload_len, number);
			if (memcmp(want, rec.payload, rec.payload_len) != 0)
				goto bad;
		}
		segment_reader_close(&r);
	}
	goto out;
bad:
	diag("read back: broken behind number %ju, record %ju",
	    (uintmax_t)number, (uintmax_t)vlsn);
	number = UINT64_MAX;
out:
	if (last_vlsn != NULL)
		*last_vlsn = vlsn;
	segment_list_free(&l);
	free(want);
	return number;
}

#endif
