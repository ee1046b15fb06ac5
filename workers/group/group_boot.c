/*
 * What the disk says at boot: who this node is, its term and vote, the newest
 * membership, where the log ends. Nothing is decided here but whether bytes
 * can be read at all; the core judges the rest.
 *
 * In readonly mode whatever cannot be read is only told, and nothing is
 * written; in force mode a lost state is replaced by what the log says, the
 * bad file is kept beside it.
 */
#include "workers/group/group.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "shm/fault.h"
#include "shm/log/cursor.h"
#include "shm/say.h"

#define STATE_BAD "state.bad" /* what force put aside */

__attribute__((format(printf, 4, 5))) static int
refuse(char *why, size_t why_size, int rc, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, why_size, fmt, ap);
	va_end(ap);
	return rc;
}

/* ---- the log ---- */

/* The record with that VLSN; its payload is valid until cursor_close(). */
static int
log_record(struct cursor *c, uint64_t vlsn, struct record *out)
{
	int rc = cursor_seek(c, vlsn);

	if (rc == 0)
		rc = cursor_next(c, vlsn, out);
	if (rc == 0 && out->vlsn != vlsn)
		rc = -EBADMSG;
	return rc;
}

/*
 * Does the file hold the log's newest membership, or a newer one? Then the
 * record is not read, for a checkpoint may be far behind it: what is there
 * need not be good any more.
 */
static bool
filed_suffices(const struct group *g, uint64_t vlsn)
{
	return g->filed_known && g->filed.vlsn >= vlsn &&
	       g->filed.generation == g->node.generation;
}

static int
log_members(struct cursor *c, uint64_t vlsn, struct membership *out)
{
	struct record rec;
	int rc = log_record(c, vlsn, &rec);

	if (rc != 0)
		return rc;
	if (rec.type != REC_MEMBER)
		return -EBADMSG;
	rc = member_decode(rec.payload, rec.payload_len, vlsn, out);
	if (rc == 0 && !cursor_valid(c))
		rc = -EBADMSG;
	return rc;
}

static int
log_end(struct group *g, struct cursor *c, uint64_t vlsn)
{
	struct record rec;
	int rc = log_record(c, vlsn, &rec);

	if (rc == 0 && g->log_term < rec.term)
		g->log_term = rec.term;
	return rc;
}

/* Is it the log that does not have it, and no moment's want to read that? */
static bool
is_lost(int rc)
{
	return rc == -EIO || (!cursor_unread(rc) && rc != -EPROTONOSUPPORT);
}

/*
 * The membership cannot be read. Of a disk's fault the supervisor tells what
 * to do; where it is lost force goes on without it, which begins a new
 * generation.
 */
static int
members_lost(struct group *g, int rc, char *why, size_t why_size)
{
	size_t len = strlen(why);

	memset(&g->newest, 0, sizeof(g->newest));
	if (g->w->force && is_lost(rc)) {
		event_add(g->r, g->w->slot, EVENT_ERROR,
		    "force: %s: the membership in it is lost", why);
		g->forced = true;
		return 0;
	}
	if (rc == -EBADMSG)
		snprintf(why + len, why_size - len,
		    ": the group's membership is in it, and no file has it; "
		    "restore this node, or boot once with [boot] "
		    "recovery_mode = force, which accepts the loss");
	return rc;
}

/* Where in the log it is that cannot be read. */
static int
log_refuse(struct group *g, const struct cursor *c, uint64_t vlsn, int rc,
    char *why, size_t why_size)
{
	const char *place = c != NULL ? cursor_place(c) : "";

	return refuse(why, why_size, rc, "%s/wal: record %" PRIu64 "%s%s: %s",
	    g->w->conf->node.data_dir, vlsn, place[0] != '\0' ? " at " : "",
	    place, strerror(-rc));
}

/* The newest membership in the log, and the term it ends in. */
static int
log_read(struct group *g, char *why, size_t why_size)
{
	uint64_t end = position_get(&g->r->pos->appended);
	uint64_t member = position_get(&g->r->pos->member);
	struct cursor *c = NULL;
	int wal_dir, rc = 0;

	/* Force may have dropped records of a newer term than the log's. */
	g->log_term = position_get(&g->r->pos->term);
	/* A log begun anew behind a checkpoint holds no record yet. */
	if (end == 0 || end < position_get(&g->r->pos->first))
		return 0;
	wal_dir =
	    openat(g->w->data_dir, "wal", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (wal_dir < 0)
		rc = fault_of_call(-errno);
	if (rc == 0)
		rc = cursor_open(&c, g->r, wal_dir, false);
	if (rc != 0)
		(void)log_refuse(g, c, end, rc, why, why_size);
	if (rc == 0 && member != 0 && !filed_suffices(g, member) &&
	    (rc = log_members(c, member, &g->newest)) != 0) {
		(void)log_refuse(g, c, member, rc, why, why_size);
		rc = members_lost(g, rc, why, why_size);
	}
	if (rc == 0 && (rc = log_end(g, c, end)) != 0)
		(void)log_refuse(g, c, end, rc, why, why_size);
	if (c != NULL)
		cursor_close(c);
	if (wal_dir >= 0)
		close(wal_dir);
	return rc;
}

int
group_boot_membership(struct group *g, uint64_t vlsn, struct membership *out,
    char *why, size_t why_size)
{
	struct cursor *c = NULL;
	int wal_dir, rc;

	wal_dir =
	    openat(g->w->data_dir, "wal", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	rc = wal_dir < 0 ? -errno : cursor_open(&c, g->r, wal_dir, false);
	if (rc == 0)
		rc = log_members(c, vlsn, out);
	/* It left the buffer meanwhile: files have it. */
	if (rc == -EBADMSG && c != NULL && !cursor_valid(c))
		rc = -EAGAIN;
	if (rc != 0 && rc != -EAGAIN)
		(void)log_refuse(g, c, vlsn, rc, why, why_size);
	if (c != NULL)
		cursor_close(c);
	if (wal_dir >= 0)
		close(wal_dir);
	return rc;
}

/* ---- the members file ---- */

static int
members_read(struct group *g)
{
	uint8_t *buf = g->members_buf;
	ssize_t n;
	int fd;

	fd = openat(g->w->data_dir, MEMBERS_FILE, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fault_of_call(-errno);
	/* Its name may not be on the disk yet: a boot before was killed. */
	n = read(fd, buf, MEMBER_FILE_MAX);
	if (n < 0 ||
	    (!g->w->readonly && (fsync(fd) != 0 || fsync(g->w->data_dir) != 0)))
		n = fault_of_call(-errno);
	close(fd);
	return n < 0 ? (int)n : member_file_decode(buf, (size_t)n, &g->filed);
}

/* A group of one is proposed by the configuration, until the log has one. */
static void
members_propose(struct group *g)
{
	static const uint8_t types[] = {
		[CONF_TYPE_ELECTABLE] = NODE_ELECTABLE,
		[CONF_TYPE_SECONDARY] = NODE_SECONDARY,
		[CONF_TYPE_ARBITER] = NODE_ARBITER,
		[CONF_TYPE_MONITOR] = NODE_MONITOR,
	};
	const struct conf *conf = g->w->conf;
	struct membership *m = &g->newest;
	struct member *self = &m->member[0];

	memset(m, 0, sizeof(*m));
	memcpy(m->group_uuid, g->node.group_uuid, sizeof(m->group_uuid));
	m->generation = g->node.generation;
	m->policy = QUORUM_MAJORITY;
	m->lease_ms = conf->election.lease_ms;
	m->count = 1;
	self->incarnation = g->node.incarnation;
	self->priority = conf->election.priority;
	self->type = types[conf->node.type];
	snprintf(self->name, sizeof(self->name), "%s", g->node.node);
	member_default(self);
	snprintf(self->peer, sizeof(self->peer), "%s", conf->listen.peer);
	snprintf(self->client, sizeof(self->client), "%s", conf->listen.client);
}

/*
 * Is the file's membership newer than the log's, if there is one? Force may
 * have cut the record of an older generation's: its VLSN tells nothing then.
 */
static bool
filed_newer(const struct group *g)
{
	const struct membership *file = &g->filed, *log = &g->newest;

	if (file->generation != log->generation)
		return file->generation > log->generation;
	return file->vlsn > log->vlsn;
}

/* The newest of log and file; else what the configuration proposes. */
static int
members_find(struct group *g, char *why, size_t why_size)
{
	const char *bad;
	int rc = g->filed_error;

	if (rc != 0 && rc != -ENOENT)
		event_add(g->r, g->w->slot, EVENT_WARN, "members: %s%s",
		    rc == -EBADMSG ? "damaged" : strerror(-rc),
		    g->newest.vlsn != 0 ? "; the log's membership is taken"
					: "");
	if (g->newest.vlsn != 0 || g->filed_known) {
		if (g->filed_known && filed_newer(g))
			g->newest = g->filed;
		if (g->filed_known && member_same(&g->filed, &g->newest))
			group_members_filed(g);
		return 0;
	}
	/* A fresh member's is the note's, the same on all. */
	if (g->note_known) {
		g->newest = g->note.members;
		return 0;
	}
	members_propose(g);
	if (g->node.members > 1)
		return 0; /* it is lost: it takes part in nothing */
	if ((bad = member_check(&g->newest)) == NULL)
		return 0;
	return refuse(why, why_size, -EINVAL,
	    "membership proposed by the configuration: %s; a group of one "
	    "needs [node] type = electable",
	    bad);
}

/* ---- the state file ---- */

static const char *
state_remedy(const struct group *g)
{
	return g->newest.count == 1 && !g->w->force
		   ? "; if no other node holds this group's votes, boot once "
		     "with "
		     "[boot] recovery_mode = force"
		   : "";
}

/* Nothing was ever promised: a founded directory that has not run yet. */
static bool
state_unborn(const struct group *g)
{
	return position_get(&g->r->pos->appended) == 0 && !g->filed_known;
}

/* As it is on disk: what is decided from it may differ. */
static int
state_load(struct group *g, enum state_found *found)
{
	int rc = state_file_read(g->w->data_dir, &g->state, found, &g->worse);

	if (rc == 0)
		state_encode(g->block, &g->state);
	return rc;
}

/* What this boot is called; the random number is of its region. */
static void
boot_number(struct group *g)
{
	g->state.boot++;
	g->state.boot_id = g->r->head->boot_id[0];
}

static int
state_create(struct group *g)
{
	enum state_found found;
	int rc;

	memset(&g->state, 0, sizeof(g->state));
	g->state.counter = 1;
	g->state.incarnation = g->node.incarnation;
	g->state.generation = g->node.generation;
	memcpy(g->state.group_uuid, g->node.group_uuid, 16);
	boot_number(g);
	rc = state_file_create(g->w->data_dir, &g->state);
	if (rc != 0)
		return rc;
	return state_load(g, &found);
}

/* Force, in a group of one: the log's term is all that is left. */
static int
state_replace(struct group *g, const char *what)
{
	int rc;

	if (renameat(g->w->data_dir, STATE_FILE, g->w->data_dir, STATE_BAD) !=
		0 &&
	    errno != ENOENT)
		return -errno;
	rc = state_create(g);
	if (rc == 0)
		event_add(g->r, g->w->slot, EVENT_ERROR,
		    "force: state: %s: term %" PRIu64
		    " is taken from the log (what was there is %s)",
		    what, g->log_term, STATE_BAD);
	return rc;
}

/* "PATH/state: ..." */
__attribute__((format(printf, 5, 6))) static int
state_refuse(
    struct group *g, char *why, size_t why_size, int rc, const char *fmt, ...)
{
	char what[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	return refuse(why, why_size, rc, "%s/" STATE_FILE ": %s",
	    g->w->conf->node.data_dir, what);
}

static int
state_lost(struct group *g, int rc, char *why, size_t why_size)
{
	const char *what = rc == -ENOENT    ? "missing"
			   : rc == -EBADMSG ? "both blocks are damaged"
					    : strerror(-rc);

	if (g->w->readonly) {
		event_add(g->r, g->w->slot, EVENT_WARN, "state: %s", what);
		return 0;
	}
	if (rc == -EPROTO)
		return state_refuse(g, why, why_size, rc,
		    "of another format version; use the programs that "
		    "wrote it");
	if (g->w->force && g->newest.count == 1 &&
	    (rc == -ENOENT || rc == -EBADMSG)) {
		g->state_lost = what;
		g->forced = true;
		return 0;
	}
	if (rc != -ENOENT && rc != -EBADMSG)
		return state_refuse(g, why, why_size, rc, "read: %s", what);
	return state_refuse(g, why, why_size, rc,
	    "%s: this node's term and vote are %s%s", what,
	    rc == -ENOENT ? "in it" : "lost", state_remedy(g));
}

/* What is there belongs to this node. */
static int
state_ours(struct group *g, char *why, size_t why_size)
{
	if (g->w->readonly)
		return 0;
	/* A forced boot began a new one; the next promise says so. */
	if (g->newest.count == 1 && g->state.generation < g->node.generation)
		g->state.generation = g->node.generation;
	if (g->state.incarnation != g->node.incarnation ||
	    g->state.generation != g->node.generation ||
	    memcmp(g->state.group_uuid, g->node.group_uuid, 16) != 0)
		return state_refuse(g, why, why_size, -EBADMSG,
		    "of another node, group or generation than the "
		    "file 'node' beside it: put back the one that belongs "
		    "there");
	return 0;
}

/*
 * A member of several that has lost what it had promised or logged neither
 * votes nor acknowledges, nor is it refused: others may help it.
 */
static bool
memory_gone(struct group *g, int state_rc)
{
	struct memory m = { .note = g->note_known,
		.state = state_rc != -ENOENT,
		.term = state_rc == 0 ? g->state.term : 0,
		.end = position_get(&g->r->pos->appended) };

	g->lost =
	    memory_lost(&g->node, &m) ||
	    (g->node.members > 1 && g->newest.vlsn == 0 && !g->note_known);
	/* Nobody counts its boots: a lost count is taken for an old one. */
	if (g->lost && g->state.boot == 0) {
		g->state.boot = 1;
		g->state.boot_id = g->r->head->boot_id[0];
	}
	if (g->lost)
		event_add(g->r, g->w->slot, EVENT_ERROR,
		    "data directory %s: this node is a member of group %s, "
		    "but %s: it neither votes nor acknowledges, and must be "
		    "restored from another member",
		    g->w->conf->node.data_dir, g->node.group,
		    !m.state     ? "its promises (state) are gone"
		    : m.end == 0 ? "its log is gone"
				 : "its membership is gone");
	return g->lost;
}

static int
state_find(struct group *g, char *why, size_t why_size)
{
	enum state_found found = STATE_GOOD;
	int rc;

	rc = state_load(g, &found);
	if (memory_gone(g, rc))
		return 0;
	g->state_missing = rc == -ENOENT && !g->w->readonly && state_unborn(g);
	if (g->state_missing)
		return 0;
	if (rc != 0)
		return state_lost(g, rc, why, why_size);
	if (found == STATE_ONE_BAD)
		event_add(g->r, g->w->slot, EVENT_WARN,
		    "state: block %u is damaged; block %u, term %" PRIu64
		    ", counts",
		    g->worse, 1 - g->worse, g->state.term);
	return state_ours(g, why, why_size);
}

/*
 * What the group was founded with, for who has no log yet. It goes when the
 * members file has it.
 */
static int
note_find(struct group *g, char *why, size_t why_size)
{
	int rc;

	if (g->node.format < NODE_FILE_FORMAT_3)
		return 0;
	rc = note_read(g->w->data_dir, &g->note);
	if (rc == -ENOENT)
		return 0;
	if (rc != 0 && g->w->readonly)
		return 0;
	if (rc != 0)
		return refuse(why, why_size, rc, "%s/" NOTE_FILE ": %s",
		    g->w->conf->node.data_dir,
		    rc == -EBADMSG ? "damaged" : strerror(-rc));
	g->note_known =
	    memcmp(g->note.members.group_uuid, g->node.group_uuid, 16) == 0;
	if (!g->note_known || !g->filed_known || g->w->readonly)
		return 0;
	if ((rc = note_remove(g->w->data_dir)) != 0)
		event_add(g->r, g->w->slot, EVENT_WARN,
		    NOTE_FILE ": %s: it is removed at a later start",
		    strerror(-rc));
	return 0;
}

int
group_boot_read(struct group *g, char *why, size_t why_size)
{
	char text[160];
	int rc;

	rc = node_file_read(g->w->data_dir, &g->node, text, sizeof(text));
	if (rc != 0)
		return refuse(why, why_size, rc, "%s/" NODE_FILE_NAME ": %s",
		    g->w->conf->node.data_dir, text);
	g->filed_error = members_read(g);
	g->filed_known = g->filed_error == 0;
	if ((rc = note_find(g, why, why_size)) != 0)
		return rc;
	rc = log_read(g, why, why_size);
	if (rc != 0 && !g->w->readonly)
		return rc;
	if (rc != 0)
		event_add(g->r, g->w->slot, EVENT_WARN, "%s", why);
	if ((rc = members_find(g, why, why_size)) != 0)
		return rc;
	return state_find(g, why, why_size);
}

static int
state_block(struct group *g, unsigned block)
{
	ssize_t n = pwrite(g->state_fd, g->block, STATE_BLOCK_SIZE,
	    (off_t)block * STATE_STRIDE);

	if (n == STATE_BLOCK_SIZE)
		return 0;
	g->state_error = n < 0 ? errno : ENOSPC;
	return -g->state_error;
}

/*
 * The boot is numbered before any other member hears of it. First the worse
 * block anew, as it is: a flush that failed in a life before, told to nobody
 * any more, may have left the other one in the page cache only. Then both, as a
 * promise is written.
 */
static int
state_number(struct group *g)
{
	int rc = state_block(g, g->worse);

	if (rc != 0)
		return rc;
	boot_number(g);
	g->state.counter++;
	state_encode(g->block, &g->state);
	rc = state_block(g, 1 - g->worse);
	return rc != 0 ? rc : state_block(g, g->worse);
}

int
group_boot_open(struct group *g, char *why, size_t why_size)
{
	bool made = g->state_missing || g->state_lost != NULL;
	int rc = 0;

	if (g->w->readonly)
		return 0;
	if (g->lost) {
		/* Above what it has counted before; it is kept nowhere. */
		g->state.boot = (uint64_t)time(NULL);
		g->state.boot_id = g->r->head->boot_id[0];
		return 0;
	}
	if (g->state_missing)
		rc = state_create(g);
	else if (made)
		rc = state_replace(g, g->state_lost);
	if (rc != 0)
		return state_refuse(
		    g, why, why_size, rc, "create: %s", strerror(-rc));
	g->state_fd =
	    openat(g->w->data_dir, STATE_FILE, O_WRONLY | O_DSYNC | O_CLOEXEC);
	if (g->state_fd < 0)
		rc = -errno;
	else if (made || (rc = state_number(g)) == 0)
		return 0;
	return state_refuse(g, why, why_size, rc, "open: %s", strerror(-rc));
}

/* Force goes over a lost promise or membership: as wal_force.c's. */
static int
generation_raise(struct group *g, char *why, size_t why_size)
{
	struct positions *pos = g->r->pos;
	int rc;

	if (position_get(&pos->raised) != 0)
		return 0;
	rc = node_generation_raise(g->w->data_dir, &g->node);
	if (rc != 0)
		return refuse(why, why_size, rc,
		    "%s/" NODE_FILE_NAME ": write: %s",
		    g->w->conf->node.data_dir, strerror(-rc));
	g->state.generation = g->node.generation;
	position_set(&pos->generation, g->node.generation);
	position_set(&pos->raised, 1);
	event_add(g->r, g->w->slot, EVENT_ERROR,
	    "force: generation %" PRIu64 " of the group begins",
	    g->node.generation);
	return 0;
}

int
group_boot_force(
    struct group *g, struct group_boot *b, char *why, size_t why_size)
{
	int rc;

	if (!g->w->force || g->newest.count != 1 ||
	    (!g->forced && group_boot_damage(b) == 0))
		return 0;
	rc = generation_raise(g, why, why_size);
	b->generation = g->node.generation;
	return rc;
}

void
group_boot_event(struct group *g, struct group_boot *out)
{
	memset(out, 0, sizeof(*out));
	out->readonly = g->w->readonly;
	out->force = g->w->force;
	out->epoch = word_epoch(position_get(&g->r->pos->committed));
	out->incarnation = g->node.incarnation;
	out->boot = g->state.boot;
	out->generation = g->node.generation;
	out->group_uuid = g->node.group_uuid;
	out->term = g->state.term;
	out->vote = g->state.vote;
	out->vote_boot = g->state.vote_boot;
	out->promise_ms = g->state.promise_ms;
	out->beat_ms = g->w->conf->election.heartbeat_ms;
	out->log_term = g->log_term;
	out->log_vlsn = position_get(&g->r->pos->appended);
	out->log_first = position_get(&g->r->pos->first);
	out->membership = &g->newest;
	out->lost = g->lost;
	out->fallback = g->filed_known  ? &g->filed
			: g->note_known ? &g->note.members
					: NULL;
}
