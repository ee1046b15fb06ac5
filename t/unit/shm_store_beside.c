/*
 * Reading data.mdb without its lock file, as nodelifewal does, while somebody
 * writes: between any two of the reader's calls come commits, which take the
 * pages that it is in the middle of. Whatever it had read, it is told no
 * damage, and what it finds is one of the checkpoints. Real damage is told
 * beside a writer, too.
 */
#include "t/tap.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/bits.h"
#include "shm/kv/store_db_int.h"
#include "shm/log/logcheck.h"
#include "shm/log/terms.h"

#define KEYS      200u
#define MAP       (UINT64_C(1) << 28)
#define DAMAGE    UINT32_MAX /* for the writer: a byte of the state is wrong */
#define CALLS_MAX 1000u

static char dir[64], path[80];
static int writer = -1; /* a socket to it */
static unsigned maps; /* that LMDB made in this process */

/* Which of the reader's calls is followed by how many commits; or each is. */
static struct {
	unsigned call, at, commits, tries;
	bool each;
	uint64_t vlsn; /* of the newest */
} plan;

static uint64_t
ask(uint32_t commits)
{
	uint64_t vlsn = 0;

	if (write(writer, &commits, sizeof(commits)) != sizeof(commits) ||
	    read(writer, &vlsn, sizeof(vlsn)) != sizeof(vlsn))
		abort();
	return vlsn;
}

static void
called(void)
{
	if (plan.commits == 0 || (!plan.each && ++plan.call != plan.at))
		return;
	plan.vlsn = ask(plan.commits);
}

/* Calls f, then commits as planned. */
#define BEHIND(type, f, params, args)                                          \
	type f params                                                          \
	{                                                                      \
		static type(*real) params;                                     \
		type got;                                                      \
                                                                               \
		if (real == NULL)                                              \
			*(void **)&real = dlsym(RTLD_NEXT, #f);                \
		got = real args;                                               \
		called();                                                      \
		return got;                                                    \
	}

BEHIND(
    ssize_t, pread, (int fd, void *buf, size_t n, off_t at), (fd, buf, n, at))
BEHIND(
    ssize_t, pread64, (int fd, void *buf, size_t n, off_t at), (fd, buf, n, at))
BEHIND(int, mdb_txn_begin,
    (MDB_env * env, MDB_txn *parent, unsigned flags, MDB_txn **txn),
    (env, parent, flags, txn))
BEHIND(int, mdb_get, (MDB_txn * txn, MDB_dbi dbi, MDB_val *key, MDB_val *data),
    (txn, dbi, key, data))
BEHIND(int, mdb_dbi_open,
    (MDB_txn * txn, const char *name, unsigned flags, MDB_dbi *dbi),
    (txn, name, flags, dbi))

/* LMDB believes what it maps: a page that is another by then ends the reader.
 */
int
mdb_env_open(MDB_env *env, const char *name, unsigned flags, mdb_mode_t mode)
{
	static int (*real)(MDB_env *, const char *, unsigned, mdb_mode_t);

	if (real == NULL)
		*(void **)&real = dlsym(RTLD_NEXT, "mdb_env_open");
	maps++;
	return real(env, name, flags, mode);
}

static int
put_keys(struct store_db *db, MDB_txn *txn, struct store_state *st)
{
	static uint8_t data[1000];
	struct store_item item = { .data = data };
	char key[32];
	unsigned i;
	int rc = 0;

	memset(data, (int)(st->vlsn % 256), sizeof(data));
	for (i = 0; rc == 0 && i < KEYS / 10; i++) {
		item.len = (uint32_t)(1 + (st->vlsn * 7 + i) % sizeof(data));
		item.vlsn = ++st->vlsn;
		rc = store_db_put(db, txn, st, key,
		    (size_t)snprintf(key, sizeof(key), "key:%u",
			(unsigned)(st->vlsn % KEYS)),
		    item.vlsn % 5 == 0 ? NULL : &item);
	}
	return rc;
}

/* So many runs of terms has the checkpoint; some lists have their own pages. */
static size_t
runs(uint64_t vlsn)
{
	return vlsn / 20 * 97 % 700;
}

static int
put_terms(struct store_db *db, MDB_txn *txn, const struct store_state *st)
{
	static struct store_term list[700];
	size_t i, n = runs(st->vlsn);

	for (i = 0; i < n; i++)
		list[i] = (struct store_term){ i + 1, i + 1 };
	return store_db_terms_put(db, txn, list, n);
}

static int
commit(struct store_db *db, struct store_state *st, bool damage)
{
	const MDB_val k = { 5, (void *)(uintptr_t) "state" };
	MDB_val key = k, v;
	MDB_txn *txn;
	int rc;

	if ((rc = mdb_txn_begin(db->env, NULL, 0, &txn)) != 0)
		return rc;
	rc = put_keys(db, txn, st);
	st->format = STORE_FORMAT;
	st->checkpoints++;
	if (rc == 0)
		rc = put_terms(db, txn, st);
	if (rc == 0)
		rc = store_db_state_put(db, txn, st);
	/* It is dirty, so it is in memory of ours. */
	if (rc == 0 && damage && (rc = mdb_get(txn, db->meta, &key, &v)) == 0)
		((uint8_t *)v.mv_data)[20] ^= 1;
	return rc != 0 ? rc : mdb_txn_commit(txn);
}

/* The writer's process: as many commits as it is asked for. */
static int
write_child(int fd)
{
	struct store_state st = { 0 };
	struct store_db db;
	char why[256];
	uint32_t n;
	int rc =
	    store_db_open(&db, path, STORE_DB_WRITE, MAP, why, sizeof(why));

	if (rc == 0)
		rc = mdb_env_set_flags(db.env, MDB_NOSYNC, 1);
	while (rc == 0 && read(fd, &n, sizeof(n)) == sizeof(n)) {
		if (n == DAMAGE)
			rc = commit(&db, &st, true);
		for (; rc == 0 && n != DAMAGE && n > 0; n--)
			rc = commit(&db, &st, false);
		if (rc == 0 &&
		    write(fd, &st.vlsn, sizeof(st.vlsn)) != sizeof(st.vlsn))
			rc = -EIO;
	}
	return rc == 0 ? 0 : 1;
}

static pid_t
start_writer(void)
{
	int fd[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) != 0)
		abort();
	if ((pid = fork()) == 0) {
		close(fd[0]);
		_exit(write_child(fd[1]));
	}
	close(fd[1]);
	writer = fd[0];
	return pid;
}

/* What nodelifewal learns of the checkpoint. */
static int
known(uint64_t *vlsn)
{
	static const uint8_t none[16];
	struct log_known k;
	int rc;

	log_known_read(&k, dir, AT_FDCWD, -1, none, 0, NULL, &rc);
	*vlsn = k.checkpoint;
	return rc;
}

/* What a boot learns: the runs of terms, too, and of the same checkpoint. */
static int
known_terms(uint64_t *vlsn)
{
	static const uint8_t none[16];
	static struct term_run got[TERM_RUNS_MAX];
	static struct terms terms;
	struct log_known k;
	int rc;

	terms_clear(&terms);
	log_known_read(&k, dir, AT_FDCWD, -1, none, 0, &terms, &rc);
	*vlsn = k.checkpoint;
	if (rc == 0 && terms_copy(&terms, got) != runs(k.checkpoint))
		*vlsn = 0;
	return rc;
}

/* One that has it mapped, of a node that writes nothing. */
static int
opened(uint64_t *vlsn)
{
	struct store_db db;
	char why[256];
	int rc = store_db_open(&db, path, STORE_DB_NOLOCK, 0, why, sizeof(why));

	if (rc != 0)
		return rc;
	*vlsn = db.state.vlsn;
	store_db_close(&db);
	return 0;
}

static void
test_between(int (*reader)(uint64_t *vlsn), unsigned commits)
{
	uint64_t before, vlsn;
	unsigned told = 0, wrong = 0, reads = 0;
	int rc;

	for (plan.at = 1; plan.at < CALLS_MAX; plan.at++) {
		plan.commits = 0;
		before = ask(3);
		plan.call = 0;
		plan.commits = commits;
		plan.vlsn = before;
		rc = reader(&vlsn);
		if (plan.call < plan.at)
			break;
		reads++;
		if (rc != 0) {
			if (told++ == 0)
				diag("behind call %u: %s", plan.at,
				    strerror(-rc));
		} else if (vlsn < before || vlsn > plan.vlsn) {
			wrong++;
		}
	}
	plan.commits = 0;
	diag("%u commits: %u places", commits, reads);
	ok(reads > 5 && plan.at < CALLS_MAX, "there are such places");
	is_u64(told, 0, "no damage is told");
	is_u64(wrong, 0, "what is found is a checkpoint");
}

static void
test_damage(void)
{
	uint64_t vlsn;

	plan.commits = 0;
	(void)ask(DAMAGE);
	is_i64(known(&vlsn), -EBADMSG, "damage is told");
	is_i64(known_terms(&vlsn), -EBADMSG, "with the terms, too");
	is_i64(opened(&vlsn), -EBADMSG, "by both");
	(void)ask(1);
	is_i64(known(&vlsn), 0, "until the next checkpoint");
}

static void
test_maps(void)
{
	uint64_t vlsn;

	maps = 0;
	is_i64(known(&vlsn), 0, "the state is read");
	is_i64(known_terms(&vlsn), 0, "so are the terms");
	is_u64(maps, 0, "and nothing is mapped for it");
}

/* Nothing can be known of what changes at every call. */
static void
test_outrun(void)
{
	uint64_t vlsn;

	plan.each = true;
	plan.commits = 3;
	is_i64(known(&vlsn), -EBUSY, "it gives up, and tells no damage");
	is_i64(opened(&vlsn), -EBUSY, "so does an open");
	plan.each = false;
	plan.commits = 0;
	is_i64(known(&vlsn), 0, "afterwards it reads");
}

int
main(void)
{
	static const unsigned commits[] = { 1, 2, 3, 4, 7 };
	int status = -1;
	size_t i;
	pid_t pid;

	snprintf(dir, sizeof(dir), "/tmp/beside.XXXXXX");
	if (mkdtemp(dir) == NULL)
		abort();
	snprintf(path, sizeof(path), "%s/store", dir);
	pid = start_writer();
	(void)ask(20);
	for (i = 0; i < sizeof(commits) / sizeof(*commits); i++)
		test_between(known, commits[i]);
	for (i = 0; i < sizeof(commits) / sizeof(*commits); i++)
		test_between(known_terms, commits[i]);
	for (i = 0; i < sizeof(commits) / sizeof(*commits); i++)
		test_between(opened, commits[i]);
	test_maps();
	test_outrun();
	test_damage();
	close(writer);
	is_i64(waitpid(pid, &status, 0), pid, "the writer ends");
	is_i64(status, 0, "in peace");
	snprintf(path, sizeof(path), "%s/store/data.mdb", dir);
	unlink(path);
	snprintf(path, sizeof(path), "%s/store/lock.mdb", dir);
	unlink(path);
	snprintf(path, sizeof(path), "%s/store", dir);
	rmdir(path);
	rmdir(dir);
	return tap_done();
}
