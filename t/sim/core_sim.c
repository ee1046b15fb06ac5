/*
 * Simulator of a whole group's cores: 2 to 7 members, each a real core with a
 * clock of its own (rates differ by less than the drift allowed for), a disk
 * for (term, vote) that takes its time, and a wal that is played: it fences,
 * appends, copies logs and acknowledges. Messages are lost, doubled, late and
 * out of order; links are cut one way; processes are killed between any two
 * actions, stand still, and boot again. Masters change types, priorities,
 * quorums, leases and who is a member. After each event:
 *
 *   W1  a term is won by one process;
 *   W2  a winner has every record that is committed in a lower term, also one
 *	 that is committed later; what is committed is never cut or changed;
 *   W3  an election quorum has voted for that boot of the winner;
 *   W4  who stands has an election quorum's pre-votes;
 *   V1  a member gives one vote a term, to one boot, and it is on its disk
 *	 first; so is what it promises;
 *   V2  an append is of a term that this process has won;
 *   V3  what is published is the core's role, term, epoch and lease;
 *   V4  a vote is given to a log that is no older than the own one;
 *   R1  the epoch goes up with a term, with the end of a mastership and with
 *	 another commit quorum;
 *   A1  after a vote nothing of a lower term is acknowledged;
 *   M1  a master is electable by what is committed; M3 who stands, by its own
 *	 newest membership or the one before;
 *   M4  who asks for votes counts by its log's newest membership; M5 so does
 *	 everybody by the newest that it is told of;
 *   P1  a promise is kept, also over restarts: no vote, no pre-vote and no
 *	 standing before it ends on the promiser's clock, but for who released
 *	 it or is dead;
 *   L1  no lease is valid by its owner's clock while a higher term is won;
 *   L2  a commit quorum's promises last longer than a lease;
 *   S1  a master that no commit quorum answers for two leases is none any more;
 *   D1  who may stand has a deadline;
 *   D2  who was away does not take its master for dead;
 *   E1  once faults end there is one master, with a lease, and all follow it,
 *	 within a bounded time, and it stays.
 *
 * core_hostile.h has members that lie.
 *
 * core_sim [SEEDS]		TAP; the default is a short run
 * core_sim -q [-f FIRST] SEEDS	until one fails, and no more
 * core_sim -s SEED [-x FAULT]	one seed, telling its story
 */
#include <unistd.h>

#include "t/sim/core_checks.h"
#include "t/sim/core_hostile.h"
#include "t/sim/core_wal.h"

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
	    (msg->kind == CORE_BEAT || msg->kind == CORE_BEAT_ANSWER))
		return;
	while (copies-- > 0) {
		ev.at = now + delay();
		ev.from = from;
		push(ev);
	}
}

/* The length that the round asks for which is answered now. */
static uint32_t asked_ms;

/* What a message that leaves binds its sender to. */
static void
note_sent(const struct node *n, const struct group_action *a)
{
	const struct group_msg *m = &a->send.msg;

	switch (m->kind) {
	case CORE_PREVOTE:
	case CORE_VOTE:
		check_promises(n, ID((unsigned)(n - node)), m->ask.released);
		check_asks(n, m);
		break;
	case CORE_PREVOTE_ANSWER:
	case CORE_VOTE_ANSWER:
		if (m->answer.granted && m->kind == CORE_PREVOTE_ANSWER)
			note_prevote(n, a->send.to, m);
		if (m->answer.granted && m->kind == CORE_VOTE_ANSWER)
			note_vote(
			    n, m->answer.asked, a->send.to, m->answer.boot);
		break;
	case CORE_BEAT_ANSWER:
		if (m->answer.granted)
			note_promise(n, m, a->send.to, asked_ms);
		break;
	case CORE_BEAT:
		break;
	}
}

/* ---- a process ---- */

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
	n->told = n->known = 0;
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

/*
 * A master promises itself what its lease lasts, by the word that it shows:
 * that may be taken back.
 */
static void
note_lease(const struct node *n, const struct commit_view *view)
{
	if (view->role == ROLE_MASTER && view->lease_until_ns != UINT64_MAX)
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
	n->since = now;
	tell("%u: %s -> %s in term %u: %s", (unsigned)(n - node),
	    role_name(a->role.from), role_name(a->role.to),
	    (unsigned)a->role.term, a->role.why);
	ghost.changed = now;
}

/* By a record that is committed: only its newest may not be. */
static bool
is_removed(const struct node *n)
{
	const struct membership *m = conf_at(n, n->durable);

	return member_of(m, n) < 0 &&
	       (m->vlsn == n->filed || member_of(conf_at(n, m->before), n) < 0);
}

static void
act(struct node *n, const struct group_action *a) /* flat dispatch */
{
	unsigned i, self = (unsigned)(n - node);

	switch (a->kind) {
	case GROUP_FAIL:
	case GROUP_RESTART:
		if (a->kind == GROUP_FAIL) {
			CHECK(is_removed(n) && !votes(&conf[ghost.conf], n),
			    "a sound disk is refused");
			tell("%u: %s", self, a->end.why);
			n->removed = true;
		}
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
		for (i = 0; i < n->core.current.count; i++)
			send(self, node_of(&n->core.current, i), &a->send.msg);
		return;
	case GROUP_ANNOUNCE:
		announce(n, a);
		return;
	case GROUP_SAVE_MEMBER:
		n->filed = a->membership->vlsn;
		return;
	case GROUP_FORCE:
	case GROUP_APPEND_MEMBER:
	case GROUP_SAY:
	case GROUP_READY:
	case GROUP_ACTION_KINDS:
		return;
	}
}

/* A vote or a pre-vote that it gives: was it free to? */
static void
check_given(const struct node *n, const struct group_event *ev,
    const struct asked *a, uint64_t was)
{
	const struct group_core *c = &n->core;

	if (ev->kind == GROUP_MESSAGE && ev->msg->kind == CORE_PREVOTE &&
	    a->answer && a->answered.answer.granted)
		check_promises(n, ev->msg->from, ev->msg->ask.released);
	/* "Adopt no higher term from a vote request" (DESIGN, 8). */
	if (ev->kind == GROUP_MESSAGE && ev->msg->kind == CORE_VOTE &&
	    c->term != was)
		check_promises(n, ev->msg->from, ev->msg->ask.released);
	/* Behind the fence it is decided. */
	if (ev->kind == GROUP_FENCED && a->store && a->vote != 0)
		CHECK(a->vote == c->incarnation ||
			  end_covers(c->asked_end, ev->fenced.end),
		    "V4: a vote for a log that is older than the own one");
	if (ev->kind == GROUP_FENCED && a->store && a->vote != 0)
		check_promises(n, a->vote,
		    a->vote == c->incarnation ? c->released
					      : c->asked_released);
}

static void
check_deadline(const struct node *n, const struct group_todo *todo)
{
	const struct group_core *c = &n->core;
	const struct member *m =
	    c->self < 0 ? NULL : &c->current.member[c->self];

	if (c->broken)
		return;
	if ((c->role == ROLE_MASTER && c->lease_until_ns != UINT64_MAX) ||
	    c->role == ROLE_REPLICA ||
	    (c->role == ROLE_UNKNOWN && m != NULL && m->priority != 0 &&
		m->type == NODE_ELECTABLE))
		CHECK(c->persisting || c->fencing ||
			  todo->deadline_ns != GROUP_NEVER,
		    "D1: a state without a deadline");
}

static void
step(struct node *n, struct group_event ev)
{
	static struct group_core was;
	struct group_todo todo;
	struct asked asked;
	uint64_t life = n->life;
	unsigned i;

	ev.now_ns = local(n);
	ev.end = log_end(n);
	if (ev.kind == GROUP_MESSAGE && ev.msg->kind == CORE_BEAT)
		asked_ms = ev.msg->beat.lease_ms;
	was = n->core;
	group_step(&n->core, &ev, &todo);
	if (!n->core.broken)
		check_epoch(&was, &n->core);
	asked = asked_of(&todo);
	CHECK(asked.sound, "a list that is not in the order of doing");
	check_given(n, &ev, &asked, was.term);
	/* "It was deaf, the master not dead" (DESIGN, 8); a lease is given once
	   until it is heard. */
	CHECK(was.role != ROLE_REPLICA || ev.kind != GROUP_TICK ||
		  n->core.role == ROLE_REPLICA || n->due == GROUP_NEVER ||
		  was.deaf_ns > was.heard_ns ||
		  ev.now_ns <= n->due + 2 * GROUP_BEAT_MS * MS,
	    "D2: who was away gives its master up");
	n->due = todo.deadline_ns;
	if (was.stage != STAGE_FENCE && n->core.stage == STAGE_FENCE &&
	    was.role != ROLE_MASTER)
		check_stands(n, n->core.pre_term);
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
	if (n->life == life)
		check_view(n);
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
		.membership = conf_at(n, n->durable),
		.fallback = NULL };

	if (n->up || n->removed)
		return;
	/* The record before the newest, or what its file has. */
	b.fallback =
	    b.membership->before != 0 ? conf_at(n, b.membership->before) : NULL;
	if (fault == FAULT_OLD_FALLBACK || b.membership->vlsn == n->filed)
		b.fallback = &conf[n->conf[n->filed]];
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
	n->appended = n->told = n->durable;
	memset(n->heard, 0, sizeof(n->heard));
	tell("%u boots: term %u, log %u", self, (unsigned)n->disk.term,
	    (unsigned)n->durable);
	step(n, (struct group_event){ .kind = GROUP_BOOTED, .booted = &b });
	shake_hands(n);
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
told(struct node *n)
{
	uint64_t v, life = n->life;

	while (n->life == life && n->told < n->appended) {
		v = ++n->told;
		n->adopted = now;
		if (n->view.lease_until_ns == UINT64_MAX)
			n->since = now;
		if (n->conf[v] != 0)
			step(n,
			    (struct group_event){ .kind = GROUP_MEMBER_APPENDED,
				.membership = &conf[n->conf[v]] });
		if (n->conf[v] != 0 && n->life == life)
			check_members(n);
	}
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
	step(n,
	    (struct group_event){ .kind = GROUP_FENCED,
		.fenced = { n->epoch, end, conf_at(n, n->appended)->vlsn } });
}

static void
message(struct node *n, const struct event *ev)
{
	if (cut[ev->from][ev->node])
		return;
	if (ev->msg.kind == CORE_BEAT_ANSWER && ev->msg.answer.granted &&
	    ev->msg.term == n->core.term) {
		n->heard[ev->from] = now;
		check_heard(n);
	}
	/* The link of an older boot is gone. */
	if (ev->msg.boot != node[ev->from].boot && pick(2) == 0)
		return;
	step(n, (struct group_event){ .kind = GROUP_MESSAGE, .msg = &ev->msg });
}

/* A master stops in order, and tells the others. */
static void
let_go(struct node *n)
{
	uint64_t term = n->core.term;
	unsigned i, of = (unsigned)(n - node);

	step(n, (struct group_event){ .kind = GROUP_STOP });
	if (!n->up)
		return;
	n->let_go.boot = n->core.boot;
	n->let_go.term = term;
	ghost.let_gos++;
	tell("%u lets go of term %u", of, (unsigned)term);
	for (i = 0; i < nodes; i++)
		if (i != of && !cut[of][i])
			push((struct event){ .at = now + pick(5 * MS),
			    .kind = EV_RELEASED,
			    .node = i,
			    .from = of,
			    .tag = term,
			    .vlsn = n->let_go.boot });
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
		if (node[a].up && node[a].core.role == ROLE_MASTER &&
		    node[a].paused_until <= now && pick(2) == 0)
			let_go(&node[a]);
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
	if (!n->up || ((ev->kind == EV_STORED || ev->kind == EV_FENCED ||
			   ev->kind == EV_TOLD) &&
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
			    .peer = { ID(ev->from), ev->vlsn, 0 } });
		break;
	case EV_RELEASED:
		step(n, (struct group_event){ .kind = GROUP_RELEASED,
			    .peer = { ID(ev->from), ev->vlsn, ev->tag } });
		break;
	case EV_STORED:
		stored(n);
		break;
	case EV_FENCED:
		fenced(n, ev);
		break;
	case EV_TOLD:
		told(n);
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
		node[i].conf[1] = 1;
		node[i].filed = 1;
		node[i].disk.term = 1;
		push((struct event){
		    .at = pick(100 * MS), .kind = EV_BOOT, .node = i });
	}
	ghost.committed[1] = 1;
	ghost.conf = 1;
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
	const struct node *m = the_master(), *n;
	uint32_t i;

	if (m == NULL || m->view.lease_until_ns <= local(m))
		return false;
	if (m->filed < conf_at(m, m->appended)->vlsn)
		return false;
	for (i = 0; i < m->core.current.count; i++) {
		n = &node[node_of(&m->core.current, i)];
		if (n != m && !n->removed &&
		    (n->view.role != ROLE_REPLICA ||
			n->view.term != m->view.term ||
			n->core.leader != ID(number(m))))
			return false;
	}
	return true;
}

/* How it ended. */
static void
tell_all(void)
{
	unsigned i;
	uint32_t k;

	for (i = 0; i < nodes; i++) {
		const struct node *n = &node[i];
		const struct membership *m = &n->core.current;

		tell("%u: %s, term %u (%u is stored), log %u in term %u, %u "
		     "are flushed, %u committed, %s",
		    i, n->up ? role_name(n->core.role) : "down",
		    (unsigned)n->core.term, (unsigned)n->core.stored_term,
		    (unsigned)n->appended, n->log[n->appended],
		    (unsigned)n->durable, (unsigned)n->known,
		    n->removed ? "removed" : "");
		for (k = 0; k < m->count; k++)
			tell("   %s: type %u, priority %u (members of %u)",
			    m->member[k].name, m->member[k].type,
			    m->member[k].priority, (unsigned)m->vlsn);
	}
}

static void
check_calm(void)
{
	uint64_t end = now + CALM_LEASES * longest() * MS;
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
	memset(ghost.pre, 0, sizeof(ghost.pre));
	memset(ghost.given, 0, sizeof(ghost.given));
	memset(ghost.promise, 0, sizeof(ghost.promise));
	memset(ghost.promises, 0, sizeof(ghost.promises));
	memset(ghost.committed, 0, sizeof(ghost.committed));
	memset(ghost.under, 0, sizeof(ghost.under));
	ghost.highest = ghost.changed = 0;
	if (setjmp(failed) != 0) {
		tell_all();
		return false;
	}
	nodes = 2 + (unsigned)pick(NODES_MAX - 1);
	usual = pick(3) == 0 ? pick(40 * MS) + 1 : pick(2) == 0 ? MS : MS / 20;
	harm_pause = pick(3) == 0 ? 30 * MS : 250 * MS;
	stall = pick(3) == 0 ? 4 : 30;
	data_pause = pick(6) == 0 ? MS / 5 : 2 * MS;
	kill_point = pick(3) == 0 ? 200 : 3000;
	changes = pick(4) == 0 ? 8 : 40;
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
		[FAULT_OLD_FALLBACK] = "a membership older than what is cut",
	};

	for (fault = FAULT_NONE + 1; fault < FAULT_COUNT; fault++)
		test_fault(name[fault], FAULT_SEEDS);
	fault = FAULT_NONE;
}

static void
test_hostile(uint64_t seeds)
{
	uint64_t s;

	for (s = 1; s <= seeds && run_hostile(s); s++)
		;
	ok(s > seeds, "%" PRIu64 " seeds of lies do no harm", seeds);
	if (s <= seeds)
		diag("seed %" PRIu64 ": %s", s, failure);
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
	test_seeds("core_sim", first, seeds);
	if (fault != FAULT_NONE || verbose || quick)
		return tap_done();
	ok(ghost.elections > seeds && ghost.commits > seeds,
	    "%u elections, %u records committed", ghost.elections,
	    ghost.commits);
	ok(ghost.crashes > seeds && ghost.grants > seeds &&
		ghost.leases > 10 * seeds && ghost.releases > 0 &&
		ghost.let_gos > 0,
	    "%u kills, %u stops of masters, %u votes, %u leases, %u promises "
	    "released",
	    ghost.crashes, ghost.let_gos, ghost.grants, ghost.leases,
	    ghost.releases);
	test_hostile(10 * seeds);
	test_faults();
	return tap_done();
}
