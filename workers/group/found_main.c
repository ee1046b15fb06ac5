/*
 * The worker of a node that is of no group yet; see founding.h.
 */
#include "workers/group/founding.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shm/assert.h"
#include "shm/say.h"
#include "shm/trouble.h"

#define RING_ENTRIES 64
/* Until then who asked has the answer, and other members theirs. */
#define RESTART_NS (300 * NS_PER_MS)
/* No kind is the loop's 0. */
enum { KIND_LINK = 1, KIND_LISTEN = 2 };

static void step(struct founding *g, struct found_event ev);

/* ---- what the machine asks for ---- */

static void
send_one(struct founding *g, const struct found_send *s)
{
	const void *msg = &s->candidate; /* of the union, whichever it is */
	unsigned i;

	if (s->type == MSG_NOTE) {
		found_note_msg(&g->f.note, &g->out);
		msg = &g->out;
	}
	for (i = 0; i < g->self.count; i++)
		if ((s->to >> i & 1) != 0)
			(void)peers_send(&g->net, i, s->type, msg);
}

/* For good after 0; what is read says so, too, if only the flush failed. */
static int
node_join(struct founding *g)
{
	const struct membership *m = &g->f.note.members;
	struct node_file node = g->node;
	char why[128];
	int rc;

	node.format = NODE_FILE_FORMAT_3;
	node.generation = m->generation;
	node.members = m->count;
	memcpy(node.group_uuid, m->group_uuid, sizeof(node.group_uuid));
	rc = node_file_write(g->w->data_dir, &node);
	if (rc == 0 ||
	    node_file_read(g->w->data_dir, &node, why, sizeof(why)) != 0 ||
	    !node_file_joined(&node))
		return rc;
	return fsync(g->w->data_dir) == 0 ? 0 : -errno;
}

static int
store(struct founding *g, enum found_store what)
{
	int dir = g->w->data_dir;

	switch (what) {
	case FOUND_STORE_NOTE:
		return note_write(dir, &g->f.note);
	case FOUND_STORE_CLEAR:
		return note_remove(dir);
	case FOUND_STORE_NODE:
		return node_join(g);
	case FOUND_STORE_NOTHING:
		break;
	}
	ASSERT(!"something to be stored");
	return -EINVAL;
}

static void
answer(struct founding *g, enum found_result result)
{
	struct control *ctl = g->r->control;
	uint32_t status = found_result_text(
	    g, result, ctl->found_text, sizeof(ctl->found_text));

	event_add(g->r, g->w->slot, status == 0 ? EVENT_INFO : EVENT_WARN,
	    "found: %.*s", (int)strcspn(ctl->found_text, "\n"),
	    ctl->found_text);
	atomic_store_explicit(&ctl->found_status, status, memory_order_relaxed);
	atomic_store_explicit(&ctl->found_done, g->seen, memory_order_release);
	bell_ring(&g->w->bells, SLOT_HEALTH);
}

static void
tell_waits(struct founding *g)
{
	char text[FAULT_TEXT_MAX];

	found_waits_text(g, text, sizeof(text));
	trouble_begin_text(g->r, TROUBLE_UNJOINED, "%s", text);
}

static void
perform(struct founding *g, const struct found_todo *todo)
{
	int rc;

	for (unsigned i = 0; i < todo->sends; i++)
		send_one(g, &todo->send[i]);
	if (todo->result != FOUND_NO_RESULT)
		answer(g, todo->result);
	if (todo->news)
		tell_waits(g);
	if (todo->restart)
		g->restart_ns = g->loop.now_ns + RESTART_NS;
	if (todo->store == FOUND_STORE_NOTHING)
		return;
	rc = store(g, todo->store);
	step(g, (struct found_event){
		    .kind = rc == 0 ? FOUND_STORED : FOUND_STORE_FAILED,
		    .error = -rc });
}

static void
step(struct founding *g, struct found_event ev)
{
	struct found_todo todo;

	ev.now_ns = g->loop.now_ns;
	found_step(&g->f, &ev, &todo);
	perform(g, &todo);
}

/* ---- links ---- */

static void
on_facts(void *ctx, struct msg_proof *mine)
{
	const struct founding *g = ctx;

	memset(mine, 0, sizeof(*mine));
	mine->incarnation = g->node.incarnation;
	mine->boot_count = 1;
	mine->boot = g->boot;
	mine->type = g->self.row.type;
	found_facts(&g->f, mine);
}

/* Of no group there is nobody whose boots are counted. */
static void
on_boot(void *ctx, uint64_t incarnation, uint64_t *count, uint64_t *id)
{
	(void)ctx;
	(void)incarnation;
	*count = *id = 0;
}

static void
on_status(void *ctx, struct msg_status_answer *out)
{
	(void)ctx;
	memset(out, 0, sizeof(*out));
	out->version_min = MSG_PROTOCOL_MIN;
	out->version_max = MSG_PROTOCOL;
	out->role = ROLE_DETACHED;
	snprintf(out->release, sizeof(out->release), "%s", NODELIFE_VERSION);
}

static void
on_up(void *ctx, unsigned index)
{
	struct founding *g = ctx;

	step(g, (struct found_event){ .kind = FOUND_UP,
		    .peer = index,
		    .facts = peers_facts(&g->net, index) });
}

static void
on_down(void *ctx, unsigned index)
{
	step(ctx, (struct found_event){ .kind = FOUND_DOWN, .peer = index });
}

static void
on_message(void *ctx, unsigned index, unsigned type, const union msg *m)
{
	step(ctx,
	    (struct found_event){
		.kind = FOUND_MESSAGE, .peer = index, .type = type, .msg = m });
}

/* Nobody was given a ticket. */
static void
on_data(void *ctx, unsigned index, int fd, const struct link_handed *link)
{
	(void)ctx;
	(void)index;
	(void)link;
	close(fd);
}

static void
on_data_failed(void *ctx, unsigned index, uint64_t connection, unsigned reason,
    const char *text)
{
	(void)ctx;
	(void)index;
	(void)connection;
	(void)reason;
	(void)text;
}

static void
on_link(void *ctx, uint32_t slot, uint32_t generation, int res, uint32_t flags)
{
	struct founding *g = ctx;

	(void)flags;
	peers_completed(&g->net, slot, generation, res);
}

static void
on_listen(
    void *ctx, uint32_t slot, uint32_t generation, int res, uint32_t flags)
{
	struct founding *g = ctx;

	(void)generation;
	peers_polled(&g->net, slot, res, flags);
}

/* ---- the loop ---- */

static bool
is_asked(const struct founding *g)
{
	return atomic_load_explicit(&g->r->control->found_wanted,
		   memory_order_acquire) != g->seen;
}

static void
hear_operator(struct founding *g)
{
	struct control *ctl = g->r->control;
	uint8_t uuid[MSG_UUID];

	if (!is_asked(g))
		return;
	g->seen =
	    atomic_load_explicit(&ctl->found_wanted, memory_order_acquire);
	arc4random_buf(uuid, sizeof(uuid));
	step(g, (struct found_event){ .kind = FOUND_ASKED,
		    .give_up = atomic_load_explicit(&ctl->found_what,
				   memory_order_relaxed) == FOUND_GIVE_UP,
		    .uuid = uuid });
	tell_waits(g);
}

static void
stop_turn(struct founding *g)
{
	unsigned now = loop_shutdown(&g->loop);

	if (now == SHUTDOWN_NONE)
		return;
	if (!g->stops)
		peers_stop(&g->net);
	g->stops = true;
	if (now >= SHUTDOWN_DRAINING_EVENT_PLANE && peers_busy(&g->net))
		return;
	if (now == SHUTDOWN_CLOSED)
		g->loop.quit = true;
	loop_drained(&g->loop, now);
}

static void
turn(void *ctx)
{
	struct founding *g = ctx;

	peers_turn(&g->net);
	if (loop_shutdown(&g->loop) == SHUTDOWN_NONE) {
		hear_operator(g);
		if (g->loop.now_ns >= g->f.deadline_ns)
			step(g, (struct found_event){ .kind = FOUND_TICK });
		if (g->restart_ns != 0 && g->loop.now_ns >= g->restart_ns) {
			g->restart_ns = 0;
			worker_fatal(g->w, &g->loop, WISH_RESTART_JOINED);
			return;
		}
	}
	stop_turn(g);
}

static bool
pending(void *ctx)
{
	const struct founding *g = ctx;

	return peers_pending(&g->net) || is_asked(g);
}

static uint64_t
deadline(void *ctx)
{
	const struct founding *g = ctx;
	uint64_t at = peers_deadline(&g->net);

	if (g->f.deadline_ns < at)
		at = g->f.deadline_ns;
	if (g->restart_ns != 0 && g->restart_ns < at)
		at = g->restart_ns;
	return at;
}

/* ---- life ---- */

bool
found_is_unjoined(const struct worker *w)
{
	struct node_file node;
	char why[128];

	return node_file_read(w->data_dir, &node, why, sizeof(why)) == 0 &&
	       !node_file_joined(&node);
}

static void
self_fill(struct founding *g)
{
	static const uint8_t types[] = {
		[CONF_TYPE_ELECTABLE] = NODE_ELECTABLE,
		[CONF_TYPE_SECONDARY] = NODE_SECONDARY,
		[CONF_TYPE_ARBITER] = NODE_ARBITER,
		[CONF_TYPE_MONITOR] = NODE_MONITOR,
	};
	const struct conf *conf = g->w->conf;
	struct found_self *s = &g->self;
	struct member *row = &s->row;
	const char *client = conf->listen.announce;

	_Static_assert(CONF_PEERS_MAX == FOUND_PEERS_MAX, "a row for each");
	memset(s, 0, sizeof(*s));
	row->incarnation = g->node.incarnation;
	row->type = types[conf->node.type];
	row->priority = conf->election.priority;
	member_default(row);
	snprintf(row->name, sizeof(row->name), "%s", g->node.node);
	if (client[0] == '\0')
		client = g->r->head->client_addr;
	snprintf(row->client, sizeof(row->client), "%s", client);
	if (!conf_addr_is_any(conf->listen.peer))
		snprintf(row->peer, sizeof(row->peer), "%s", conf->listen.peer);
	s->lease_ms = conf->election.lease_ms;
	snprintf(s->group, sizeof(s->group), "%s", g->node.group);
	s->count = conf->peer_count;
	for (uint32_t i = 0; i < s->count; i++) {
		snprintf(s->peer[i].name, sizeof(s->peer[i].name), "%s",
		    conf->peer[i].name);
		snprintf(s->peer[i].address, sizeof(s->peer[i].address), "%s",
		    conf->peer[i].address);
	}
}

__attribute__((format(printf, 4, 5))) static int
refuse(char *why, size_t size, int rc, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, size, fmt, ap);
	va_end(ap);
	return rc;
}

static int
read_note(struct founding *g, char *why, size_t size)
{
	const char *dir = g->w->conf->node.data_dir;
	int rc = note_read(g->w->data_dir, &g->noted);

	if (rc == 0 || rc == -ENOENT) {
		found_init(&g->f, &g->self, rc == 0 ? &g->noted : NULL);
		return 0;
	}
	if (rc == -EBADMSG)
		return refuse(why, size, rc,
		    "%s/" NOTE_FILE ": damaged: it tells of a group that was "
		    "being founded: if that was not founded (nodelifectl "
		    "members on the others), remove the file",
		    dir);
	return refuse(why, size, rc, "%s/" NOTE_FILE ": %s", dir,
	    rc == -EPROTO ? "of another format version: use the programs that "
			    "wrote it"
			  : strerror(-rc));
}

/* 0; or -errno and why[]. */
static int
read_disk(struct founding *g, char *why, size_t size)
{
	const char *dir = g->w->conf->node.data_dir;
	const char *key = g->w->conf->security.group_key_file;
	char text[160];
	int rc;

	rc = node_file_read(g->w->data_dir, &g->node, text, sizeof(text));
	if (rc != 0)
		return refuse(
		    why, size, rc, "%s/" NODE_FILE_NAME ": %s", dir, text);
	if (g->w->conf->peer_count == 0)
		return refuse(why, size, -EINVAL,
		    "%s: is of no group yet, and the configuration has no "
		    "[peer NAME] section: it needs one for each other member",
		    dir);
	if (key[0] != '\0' &&
	    (rc = auth_key_read(key, &g->key, why, size)) != 0)
		return rc;
	self_fill(g);
	return read_note(g, why, size);
}

static int
links_open(struct founding *g)
{
	static const struct net_hooks hooks = {
		.facts = on_facts,
		.boot = on_boot,
		.status = on_status,
		.up = on_up,
		.down = on_down,
		.message = on_message,
		.data = on_data,
		.data_failed = on_data_failed,
	};
	const struct net_setup setup = { .loop = &g->loop,
		.region = g->r,
		.slot = g->w->slot,
		.kind_link = KIND_LINK,
		.kind_listen = KIND_LISTEN,
		.key = &g->key,
		.name = g->node.node,
		.group = g->node.group,
		.listen_fd = g->w->peer_fd,
		.hooks = &hooks,
		.ctx = g };
	struct net_member rows[FOUND_PEERS_MAX];
	int rc;

	loop_on(&g->loop, KIND_LINK, on_link);
	loop_on(&g->loop, KIND_LISTEN, on_listen);
	if ((rc = peers_open(&g->net, &setup)) != 0)
		return rc;
	memset(rows, 0, sizeof(rows));
	for (unsigned i = 0; i < g->self.count; i++) {
		memcpy(
		    rows[i].name, g->self.peer[i].name, sizeof(rows[i].name));
		memcpy(rows[i].address, g->self.peer[i].address,
		    sizeof(rows[i].address));
		rows[i].type = -1;
	}
	peers_set(&g->net, rows, g->self.count);
	return 0;
}

int
found_main(struct worker *w)
{
	static const struct loop_hooks hooks = {
		.turn = turn,
		.pending = pending,
		.deadline = deadline,
	};
	char why[SEQ_ERROR_MAX - 32] = "";
	struct founding *g;
	int rc;

	_Static_assert(LISTEN_MAX == NET_LISTEN_MAX, "as many sockets");
	g = worker_state(w, PHASE_WAL_RECOVERY, sizeof(*g));
	g->w = w;
	g->r = w->region;
	arc4random_buf(&g->boot, sizeof(g->boot));
	g->boot |= 1; /* not 0 */
	if ((rc = read_disk(g, why, sizeof(why))) != 0) {
		worker_boot_fail(w, PHASE_WAL_RECOVERY, why);
		return WORKER_EXIT_FAILED;
	}
	rc = loop_open(
	    &g->loop, g->r, &w->bells, w->slot, RING_ENTRIES, g, &hooks);
	if (rc != 0) {
		worker_ring_refused(w, PHASE_WAL_RECOVERY, rc);
		return WORKER_EXIT_FAILED;
	}
	g->loop.now_ns = mono_ns();
	if ((rc = links_open(g)) != 0) {
		snprintf(why, sizeof(why), "[listen] peer: %s", strerror(-rc));
		worker_boot_fail(w, PHASE_WAL_RECOVERY, why);
		return WORKER_EXIT_FAILED;
	}
	tell_waits(g);
	rc = worker_run(w, &g->loop);
	auth_key_wipe(&g->key);
	loop_close(&g->loop);
	return rc;
}
