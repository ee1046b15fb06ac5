/*
 * Simulator of a whole group's cores: 2 to 7 members, each a real core with a
 * clock of its own (rates differ by less than the drift allowed for), a disk
 * for (term, vote) that takes its time, and a wal that is played: it fences,
 * appends, copies logs and acknowledges. Messages are lost, doubled, late and
 * out of order; links are cut one way; processes are killed between any two
 * actions, stand still, and boot again. After each event:
 *
 *   W1  a term is won by one process;
 *   W2  a winner has every record that is committed in a lower term, also one
 *	 that is committed later; what is committed is never cut or changed;
 *   V1  a member gives one vote a term, to one boot, and it is on its disk
 *	 first; so is what it promises;
 *   V2  an append is of a term that this process has won;
 *   P1  a promise is kept, also over restarts: no vote, no pre-vote and no
 *	 standing before it ends on the promiser's clock, but for who released
 *	 it or is dead;
 *   L1  no lease is valid by its owner's clock while a higher term is won;
 *   S1  a master that hears nobody for two leases is none any more;
 *   D1  who may stand has a deadline;
 *   E1  once faults end there is one master, with a lease, and all follow it,
 *	 within a bounded time, and it stays.
 *
 * core_sim [SEEDS]		TAP; the default is a short run
 * core_sim -q [-f FIRST] SEEDS	until one fails, and no more
 * core_sim -s SEED [-x FAULT]	one seed, telling its story
 */
#include <unistd.h>

#include "t/sim/core_checks.h"

/* ---- the network ---- */

static uint64_t
delay(void)
{
	if (!calm && far != 0 && pick(far) == 0)
		return pick(600 * MS);
	return 20000 + pick(usual);
}

static void
send(unsigned from, unsigned to, const struct group_msg *msg)
{
	struct event ev = { .kind = EV_MSG, .node = to, .msg = *msg };
	unsigned copies = !calm && pick(20) == 0 ? 2 : 1;

	if (from == to || (!calm && loss != 0 && pick(loss) == 0))
		return;
	if (!calm && deaf != 0 && pick(deaf) != 0 &&
	    (msg->kind == MSG_BEAT || msg->kind == MSG_BEAT_ANSWER))
		return;
	while (copies-- > 0) {
		ev.at = now + delay();
		ev.from = from;
		push(ev);
	}
}

/* What a message that leaves binds its sender to. */
static void
note_sent(const struct node *n, const struct group_action *a)
{
	const struct group_msg *m = &a->send.msg;

	switch (m->kind) {
	case MSG_PREVOTE:
	case MSG_VOTE:
		check_promises(n, ID((unsigned)(n - node)), m->ask.released);
		break;
	case MSG_PREVOTE_ANSWER:
	case MSG_VOTE_ANSWER:
		/* The core's word for what it was released from. */
		if (m->answer.granted && m->kind == MSG_VOTE_ANSWER)
			note_vote(
			    n, m->answer.asked, a->send.to, m->answer.boot);
		break;
	case MSG_BEAT_ANSWER:
		if (m->answer.granted)
			note_promise(n, m, a->send.to);
		break;
	case MSG_BEAT:
		break;
	}
}

/* ---- a process ---- */

static void step(struct node *n, struct group_event ev);

static void
crash(struct node *n)
{
	unsigned i;

	if (!n->up)
		return;
	tell("%u is killed", (unsigned)(n - node));
	ghost.crashes++;
	n->up = false;
	n->life = 0;
	/* What was on its way to the disk may be there. */
	if (n->writing.term != 0 && pick(2) == 0)
		n->disk = n->writing;
	n->appended = n->durable;
	for (i = 0; i < nodes; i++)
		node[i].match[n - node].term = 0;
	memset(&n->view, 0, sizeof(n->view));
	push((struct event){
	    .at = now + (pick(2) == 0 ? pick(3 * MS) : pick(300 * MS)),
	    .kind = EV_BOOT,
	    .node = (unsigned)(n - node) });
}

static uint64_t
slow(uint64_t most)
{
	return !calm && pick(stall) == 0 ? pick(300 * MS)
					 : pick(usual < most ? usual : most);
}

static void
store(struct node *n, const struct group_action *a)
{
	struct event ev = { .at = now + 50000 + slow(2 * MS),
		.kind = EV_STORED,
		.node = (unsigned)(n - node),
		.tag = n->life };

	n->writing.term = a->store.term;
	n->writing.vote = a->store.vote;
	n->writing.vote_boot = a->store.vote_boot;
	n->writing.promise_ms = a->store.promise_ms;
	if (fault == FAULT_EARLY_STORE)
		ev.at = now;
	push(ev);
}

/* A master promises itself what its lease lasts. */
static void
note_lease(const struct node *n, const struct commit_view *view)
{
	if (view->role == ROLE_MASTER && view->lease_until_ns != 0 &&
	    view->lease_until_ns != UINT64_MAX)
		promise_add(n, ID((unsigned)(n - node)), n->boot, view->term,
		    view->lease_until_ns);
}

static void
publish(struct node *n, const struct commit_view *view)
{
	note_lease(n, view);
	ghost.leases += view->role == ROLE_MASTER &&
			view->lease_until_ns > n->view.lease_until_ns;
	n->view = *view;
	check_leases();
}

static void
announce(struct node *n, const struct group_action *a)
{
	n->heard = now;
	tell("%u: %s -> %s in term %u: %s", (unsigned)(n - node),
	    role_name(a->role.from), role_name(a->role.to),
	    (unsigned)a->role.term, a->role.why);
	ghost.changed = now;
}

static void
act(struct node *n, const struct group_action *a) /* flat dispatch */
{
	unsigned i, self = (unsigned)(n - node);

	switch (a->kind) {
	case GROUP_FAIL:
	case GROUP_RESTART:
		CHECK(a->kind == GROUP_RESTART, "a sound disk is refused");
		crash(n);
		return;
	case GROUP_RAISE_EPOCH:
		n->epoch = a->epoch.to;
		return;
	case GROUP_STORE:
		store(n, a);
		return;
	case GROUP_PUBLISH:
		publish(n, &a->view);
		return;
	case GROUP_FENCE:
		push((struct event){ .at = now + 20000 + slow(MS),
		    .kind = EV_FENCED,
		    .node = self,
		    .vlsn = n->appended,
		    .tag = n->life });
		return;
	case GROUP_ANSWER:
		note_sent(n, a);
		send(self, (unsigned)(a->send.to - ID(0)), &a->send.msg);
		return;
	case GROUP_TELL:
		note_sent(n, a);
		for (i = 0; i < nodes; i++)
			send(self, i, &a->send.msg);
		return;
	case GROUP_ANNOUNCE:
		announce(n, a);
		return;
	case GROUP_FORCE:
	case GROUP_APPEND_MEMBER:
	case GROUP_SAVE_MEMBER:
	case GROUP_SAY:
	case GROUP_READY:
	case GROUP_ACTION_KINDS:
		return;
	}
}

/* A vote or a pre-vote that it gives: was it free to? */
static void
check_given(
    const struct node *n, const struct group_event *ev, const struct asked *a)
{
	const struct group_core *c = &n->core;

	if (ev->kind == GROUP_MESSAGE && ev->msg->kind == MSG_PREVOTE &&
	    a->answer && a->answered.answer.granted)
		check_promises(n, ev->msg->from, ev->msg->ask.released);
	/* Behind the fence it is decided. */
	if (ev->kind == GROUP_FENCED && a->store && a->vote != 0)
		check_promises(n, a->vote,
		    a->vote == c->incarnation ? c->released
					      : c->asked_released);
}

static void
check_deadline(const struct node *n, const struct group_todo *todo)
{
	const struct group_core *c = &n->core;
	const struct member *m = &group.member[n - node];

	if (c->role == ROLE_MASTER || c->role == ROLE_REPLICA ||
	    (c->role == ROLE_UNKNOWN && m->priority != 0))
		CHECK(c->persisting || c->fencing ||
			  todo->deadline_ns != GROUP_NEVER,
		    "D1: a state without a deadline");
}

static void
step(struct node *n, struct group_event ev)
{
	struct group_todo todo;
	struct asked asked;
	uint64_t life = n->life;
	unsigned i;

	ev.now_ns = local(n);
	ev.end = log_end(n);
	group_step(&n->core, &ev, &todo);
	asked = asked_of(&todo);
	CHECK(asked.sound, "a list that is not in the order of doing");
	check_given(n, &ev, &asked);
	if (asked.elected) {
		note_vote(n, n->core.term, n->core.incarnation, n->boot);
		note_winner(n, n->core.term);
	}
	check_deadline(n, &todo);
	for (i = 0; i < todo.count && n->life == life; i++) {
		if (!calm && pick(kill_point) == 0) {
			crash(n);
			return;
		}
		act(n, &todo.action[i]);
	}
	check_leases();
	if (n->life != life || todo.deadline_ns == GROUP_NEVER)
		return;
	push((struct event){ .at = real(n, todo.deadline_ns),
	    .kind = EV_TIMER,
	    .node = (unsigned)(n - node),
	    .tag = ++n->timer });
}

/* Whom it can reach hears of its boot: the one before is dead. */
static void
shake_hands(struct node *n)
{
	unsigned i, self = (unsigned)(n - node);

	for (i = 0; i < nodes; i++)
		if (i != self && (calm || pick(2) == 0))
			push((struct event){ .at = now + delay(),
			    .kind = EV_PEER,
			    .node = i,
			    .from = self,
			    .vlsn = n->boot });
}

static void
boot(struct node *n)
{
	unsigned self = (unsigned)(n - node);
	struct group_boot b = { .incarnation = ID(self),
		.generation = group.generation,
		.group_uuid = group.group_uuid,
		.term = n->disk.term,
		.vote = n->disk.vote,
		.vote_boot = n->disk.vote_boot,
		.promise_ms = n->disk.promise_ms,
		.log_first = 1,
		.log_vlsn = n->durable,
		.log_term = n->log[n->durable],
		.membership = &group };

	if (n->up)
		return;
	if (fault == FAULT_PROMISE_LOST)
		b.promise_ms = 0;
	b.boot = ++n->boot;
	memset(&n->core, 0, sizeof(n->core));
	memset(&n->view, 0, sizeof(n->view));
	memset(&n->wal, 0, sizeof(n->wal));
	memset(&n->writing, 0, sizeof(n->writing));
	memset(n->match, 0, sizeof(n->match));
	n->up = true;
	n->life = ++lives;
	n->epoch = 0;
	n->paused_until = 0;
	n->appended = n->durable;
	tell("%u boots: term %u, log %u", self, (unsigned)n->disk.term,
	    (unsigned)n->durable);
	step(n, (struct group_event){ .kind = GROUP_BOOTED, .booted = &b });
	shake_hands(n);
}

/* ---- the played wal ---- */

static void
wal_look(struct node *n)
{
	n->wal.role = n->view.role;
	n->wal.term = n->view.term;
}

static void
wal_append(struct node *n)
{
	if (n->wal.role != ROLE_MASTER || n->appended + 1 >= LOG_MAX)
		return;
	CHECK(ghost.winner[n->wal.term].life == n->life,
	    "V2: appended in a term that was not won");
	n->log[++n->appended] = (uint16_t)n->wal.term;
	n->wal.own_term = n->wal.term;
}

static void
ack(const struct node *m, const struct node *r, uint64_t vlsn)
{
	unsigned to = (unsigned)(m - node), from = (unsigned)(r - node);

	if (cut[from][to])
		return;
	push((struct event){ .at = now + delay(),
	    .kind = EV_ACK,
	    .node = to,
	    .from = from,
	    .tag = r->wal.term,
	    .vlsn = vlsn });
}

/* Some of the master's log to a replica, which cuts at a contradiction only. */
static void
wal_copy(struct node *m, struct node *r)
{
	uint64_t v, upto;

	if (!m->up || !r->up || m == r || m->wal.role != ROLE_MASTER ||
	    r->wal.role != ROLE_REPLICA || m->wal.term != r->wal.term ||
	    m->wal.own_term != m->wal.term || cut[m - node][r - node])
		return;
	upto = pick(m->appended + 1);
	for (v = 1; v <= upto; v++) {
		if (v <= r->appended && r->log[v] != m->log[v]) {
			CHECK(ghost.committed[v] == 0 ||
				  ghost.committed[v] != r->log[v],
			    "W2: a committed record is cut");
			r->appended = v - 1;
			if (r->durable > r->appended)
				r->durable = r->appended;
		}
		if (v > r->appended)
			r->log[r->appended = v] = m->log[v];
	}
	if (pick(2) == 0)
		r->durable = r->appended;
	ack(m, r, upto < r->durable ? upto : r->durable);
}

/* Whoever looks: by the published view and the epoch of `committed`. */
static void
wal_commit(const struct node *n)
{
	struct commit_view view = n->view;
	uint64_t durable[MEMBER_MAX] = { 0 }, v, best;
	unsigned i;

	if (!n->up || view.role != ROLE_MASTER || view.epoch != n->epoch ||
	    n->wal.own_term != view.term)
		return;
	for (i = 0; i < nodes; i++)
		if (n->match[i].term == view.term)
			durable[i] = epoch_word(view.epoch, n->match[i].vlsn);
	durable[n - node] = epoch_word(view.epoch, n->durable);
	best = commit_rule(&view, durable);
	if (best == 0 || n->log[best] != view.term)
		return;
	for (v = 1; v <= best; v++)
		note_committed(v, n->log[v], view.term);
}

static void
check_heard(const struct node *n)
{
	uint64_t most = group.lease_ms * MS * 205 / 100 + MS;

	if (n->up && n->view.role == ROLE_MASTER && n->paused_until < now &&
	    n->view.lease_until_ns != UINT64_MAX)
		CHECK(now < n->heard + most || now < n->paused_until + most,
		    "S1: a master that hears nobody");
}

static void
data(void)
{
	struct node *n = &node[pick(nodes)];

	push((struct event){
	    .at = now + data_pause / 10 + pick(data_pause), .kind = EV_DATA });
	if (!n->up)
		return;
	check_heard(n);
	switch (pick(6)) {
	case 0:
		wal_look(n);
		break;
	case 1:
		if (pick(4) == 0 || n->wal.own_term != n->wal.term)
			wal_append(n);
		break;
	case 2:
		n->durable = n->appended;
		break;
	case 3:
		wal_commit(n);
		break;
	default:
		wal_copy(n, &node[pick(nodes)]);
		break;
	}
}

/* ---- what happens ---- */

static void
stored(struct node *n)
{
	struct disk_state s = n->writing;

	if (fault != FAULT_EARLY_STORE || pick(2) == 0) {
		n->disk = s;
		n->writing.term = 0;
	}
	step(n, (struct group_event){
		    .kind = GROUP_STORED, .stored = { s.term, s.vote } });
}

static void
fenced(struct node *n, const struct event *ev)
{
	struct group_end end = log_end(n);

	if (fault == FAULT_STALE_END && n->appended > 1)
		end = (struct group_end){ n->log[n->appended - 1],
			n->appended - 1 };
	if (fault == FAULT_NO_FENCE)
		end = (struct group_end){ n->log[ev->vlsn], ev->vlsn };
	else
		wal_look(n);
	step(n, (struct group_event){
		    .kind = GROUP_FENCED, .fenced = { n->epoch, end } });
}

static void
message(struct node *n, const struct event *ev)
{
	if (cut[ev->from][ev->node])
		return;
	n->heard = now;
	/* The link of an older boot is gone. */
	if (ev->msg.boot != node[ev->from].boot && pick(2) == 0)
		return;
	step(n, (struct group_event){ .kind = GROUP_MESSAGE, .msg = &ev->msg });
}

static void
harm(void)
{
	unsigned a = (unsigned)pick(nodes), b = (unsigned)pick(nodes), i;

	if (calm)
		return;
	push((struct event){ .at = now + pick(harm_pause), .kind = EV_HARM });
	switch (pick(6)) {
	case 0:
		crash(&node[a]);
		break;
	case 1:
		if (node[a].paused_until < now)
			node[a].paused_until = now + pick(500 * MS);
		tell("%u stands still", a);
		break;
	case 2:
		cut[a][b] = !cut[a][b];
		break;
	case 3:
		for (i = 0; i < nodes; i++)
			cut[a][i] = cut[i][a] = true;
		tell("%u is cut off", a);
		break;
	case 4:
		memset(cut, 0, sizeof(cut));
		tell("links are whole");
		break;
	default:
		deaf = pick(3) == 0 ? 2 + (unsigned)pick(10) : 0;
		loss = pick(3) == 0 ? 2 + (unsigned)pick(10) : 0;
		far = pick(3) == 0 ? 2 + (unsigned)pick(10) : 0;
		break;
	}
	if (fault == FAULT_OBITUARY && node[a].up)
		push((struct event){ .at = now,
		    .kind = EV_PEER,
		    .node = b,
		    .from = a,
		    .vlsn = node[a].boot + 1 });
}

/* Is this event of a process that stands still, or of one that is gone? */
static bool
is_for_nobody(struct node *n, struct event *ev)
{
	if (ev->kind == EV_BOOT || ev->kind == EV_HARM || ev->kind == EV_DATA ||
	    ev->kind == EV_ACK)
		return false;
	if (!n->up || ((ev->kind == EV_STORED || ev->kind == EV_FENCED) &&
			  ev->tag != n->life))
		return true;
	if (n->paused_until <= now)
		return false;
	ev->at = n->paused_until + pick(MS);
	push(*ev);
	return true;
}

static void
happen(struct event *ev) /* flat dispatch */
{
	struct node *n = &node[ev->node];

	if (is_for_nobody(n, ev))
		return;
	switch (ev->kind) {
	case EV_TIMER:
		if (ev->tag == n->timer)
			step(n, (struct group_event){ .kind = GROUP_TICK });
		break;
	case EV_MSG:
		message(n, ev);
		break;
	case EV_PEER:
		step(n, (struct group_event){ .kind = GROUP_PEER,
			    .peer = { ID(ev->from), ev->vlsn } });
		break;
	case EV_STORED:
		stored(n);
		break;
	case EV_FENCED:
		fenced(n, ev);
		break;
	case EV_BOOT:
		boot(n);
		break;
	case EV_HARM:
		harm();
		break;
	case EV_DATA:
		data();
		break;
	case EV_ACK:
		if (n->up && n->wal.role == ROLE_MASTER &&
		    n->wal.term == ev->tag &&
		    (n->match[ev->from].term != ev->tag ||
			n->match[ev->from].vlsn < ev->vlsn)) {
			n->match[ev->from].term = ev->tag;
			n->match[ev->from].vlsn = ev->vlsn;
		}
		break;
	}
}

static void
run_until(uint64_t end)
{
	while (queued != 0 && queue[0].at < end) {
		struct event ev = pop();

		now = ev.at;
		happen(&ev);
	}
	now = end;
	check_leases();
}

/* ---- a world ---- */

static void
make_group(void)
{
	unsigned i;

	memset(&group, 0, sizeof(group));
	group.vlsn = 1;
	group.generation = 1;
	group.lease_ms = 60 + (uint32_t)pick(240);
	group.count = nodes;
	for (i = 0; i < nodes; i++) {
		group.member[i].incarnation = ID(i);
		group.member[i].priority = i == 0 ? 1 : (uint32_t)pick(3);
		snprintf(group.member[i].name, MEMBER_NAME_MAX, "n%u", i);
	}
	if (pick(3) == 0) {
		group.policy = QUORUM_FLEXIBLE;
		group.elect = (uint8_t)(nodes / 2 + 1 + pick((nodes + 1) / 2));
		group.commit = (uint8_t)(nodes + 1 - group.elect);
	}
	CHECK(member_check(&group) == NULL, "a group that can work");
}

static void
make_nodes(void)
{
	int64_t most = fault == FAULT_DRIFT ? 100000 : 4500;
	unsigned i;

	memset(node, 0, sizeof(node));
	for (i = 0; i < nodes; i++) {
		node[i].ppm = (int64_t)pick((uint64_t)most * 2) - most;
		if (pick(2) == 0)
			node[i].ppm = pick(2) == 0 ? most : -most;
		node[i].offset = MS + pick(NS_PER_S);
		/* All have the record of the group. */
		node[i].durable = 1;
		node[i].log[1] = 1;
		node[i].disk.term = 1;
		push((struct event){
		    .at = pick(100 * MS), .kind = EV_BOOT, .node = i });
	}
	ghost.committed[1] = 1;
}

static const struct node *
the_master(void)
{
	const struct node *m = NULL;
	unsigned i;

	for (i = 0; i < nodes; i++)
		if (node[i].up && node[i].view.role == ROLE_MASTER) {
			if (m != NULL)
				return NULL;
			m = &node[i];
		}
	return m;
}

/* One master, which has a lease, and all follow it. */
static bool
is_whole(void)
{
	const struct node *m = the_master();
	unsigned i;

	if (m == NULL || m->view.lease_until_ns <= local(m))
		return false;
	for (i = 0; i < nodes; i++)
		if (&node[i] != m &&
		    (node[i].view.role != ROLE_REPLICA ||
			node[i].view.term != m->view.term ||
			node[i].view.master != (int)(m - node)))
			return false;
	return true;
}

static void
check_calm(void)
{
	uint64_t end = now + CALM_LEASES * group.lease_ms * MS;
	unsigned i;

	calm = true;
	usual = MS;
	tell("faults end");
	memset(cut, 0, sizeof(cut));
	for (i = 0; i < nodes; i++)
		if (node[i].up)
			shake_hands(&node[i]);
	do
		run_until(now + 10 * MS);
	while (
	    now < end && (!is_whole() || now - ghost.changed < CALM_MS * MS));
	CHECK(is_whole(), "E1: no master, or not all follow it");
	CHECK(now - ghost.changed >= CALM_MS * MS, "E1: roles do not settle");
}

/* True if the seed holds all invariants. */
static bool
run(uint64_t seed)
{
	rng_state = seed;
	queued = 0;
	now = order = lives = 0;
	calm = false;
	loss = far = deaf = 0;
	memset(cut, 0, sizeof(cut));
	memset(ghost.winner, 0, sizeof(ghost.winner));
	memset(ghost.vote, 0, sizeof(ghost.vote));
	memset(ghost.promise, 0, sizeof(ghost.promise));
	memset(ghost.promises, 0, sizeof(ghost.promises));
	memset(ghost.committed, 0, sizeof(ghost.committed));
	memset(ghost.under, 0, sizeof(ghost.under));
	ghost.highest = ghost.changed = 0;
	if (setjmp(failed) != 0)
		return false;
	nodes = 2 + (unsigned)pick(NODES_MAX - 1);
	usual = pick(3) == 0 ? pick(40 * MS) + 1 : pick(2) == 0 ? MS : MS / 20;
	harm_pause = pick(3) == 0 ? 30 * MS : 250 * MS;
	stall = pick(3) == 0 ? 4 : 30;
	data_pause = pick(6) == 0 ? MS / 5 : 2 * MS;
	kill_point = pick(3) == 0 ? 200 : 3000;
	make_group();
	make_nodes();
	push((struct event){ .at = pick(300 * MS), .kind = EV_HARM });
	push((struct event){ .at = 0, .kind = EV_DATA });
	run_until(HARM_MS * MS);
	check_calm();
	return true;
}

/* The world's faults must be found, or the checks are worth nothing. */
static void
test_faults(void)
{
	static const char *const name[FAULT_COUNT] = {
		[FAULT_EARLY_STORE] = "an answer before the disk has it",
		[FAULT_PROMISE_LOST] = "a promise that a boot is not told of",
		[FAULT_NO_FENCE] = "a fence that does not hold",
		[FAULT_STALE_END] = "a fence that tells an older end",
		[FAULT_DRIFT] = "clocks that differ too much",
		[FAULT_OBITUARY] = "an obituary of who lives",
	};
	uint64_t s;

	for (fault = FAULT_NONE + 1; fault < FAULT_COUNT; fault++) {
		for (s = 1; s < FAULT_SEEDS && run(s); s++)
			;
		ok(s < FAULT_SEEDS, "%s is found (seed %u: %s)", name[fault],
		    (unsigned)s, failure);
	}
	fault = FAULT_NONE;
}

static void
test_seeds(uint64_t first, uint64_t count)
{
	uint64_t s;

	for (s = first; s < first + count; s++) {
		if (run(s))
			continue;
		ok(false, "seed %" PRIu64 ": %s", s, failure);
		diag("replay: core_sim -s %" PRIu64, s);
		return;
	}
	ok(true, "%" PRIu64 " seeds from %" PRIu64 " keep all invariants",
	    count, first);
}

int
main(int argc, char **argv)
{
	uint64_t seeds = SEEDS_DEFAULT, first = 1;
	bool quick = false;
	int ch;

	while ((ch = getopt(argc, argv, "f:qs:x:")) != -1) {
		switch (ch) {
		case 'f':
			first = strtoull(optarg, NULL, 10);
			break;
		case 'q':
			quick = true;
			break;
		case 's':
			verbose = true;
			first = strtoull(optarg, NULL, 10);
			seeds = 1;
			break;
		case 'x':
			fault = (enum sim_fault)strtoul(optarg, NULL, 10);
			break;
		default:
			fprintf(stderr,
			    "usage: core_sim [-q] [-f FIRST] [-s SEED] "
			    "[-x FAULT] [SEEDS]\n");
			return 2;
		}
	}
	if (optind < argc)
		seeds = strtoull(argv[optind], NULL, 10);
	test_seeds(first, seeds);
	if (fault != FAULT_NONE || verbose || quick)
		return tap_done();
	ok(ghost.elections > seeds && ghost.commits > seeds,
	    "%u elections, %u records committed", ghost.elections,
	    ghost.commits);
	ok(ghost.crashes > seeds && ghost.grants > seeds &&
		ghost.leases > 10 * seeds && ghost.releases > 0,
	    "%u kills, %u votes, %u leases, %u promises released",
	    ghost.crashes, ghost.grants, ghost.leases, ghost.releases);
	test_faults();
	return tap_done();
}
