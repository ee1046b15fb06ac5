/*
 * How the members of t/sim/core_sim.c change: the memberships that a master
 * may put into its log, one after the other.
 */
#ifndef T_SIM_CORE_MEMBERS_H
#define T_SIM_CORE_MEMBERS_H

#include "t/sim/core_world.h"

/* Is that set of nodes a quorum of those? */
static bool
nodes_are(const struct membership *m, const struct quorums *q,
    const struct quorum *which, unsigned set)
{
	uint16_t mask = 0;
	uint32_t i;

	for (i = 0; i < m->count; i++)
		if ((set >> node_of(m, i) & 1) != 0)
			mask |= (uint16_t)(1u << i);
	return quorum_has(which, quorum_set(q->voters, mask));
}

/*
 * "Every two election quorums share a member and every election quorum shares
 * one with every commit quorum [...] across a change the same between old and
 * new, both ways" (DESIGN, 8).
 */
static bool
change_meets(const struct membership *a, const struct membership *b)
{
	struct quorums p, q;
	unsigned set, rest;

	member_quorums(a, &p);
	member_quorums(b, &q);
	for (set = 0; set < 1u << nodes; set++) {
		rest = ~set & ((1u << nodes) - 1);
		if ((nodes_are(a, &p, &p.elect, set) &&
			(nodes_are(b, &q, &q.elect, rest) ||
			    nodes_are(b, &q, &q.commit, rest))) ||
		    (nodes_are(a, &p, &p.commit, set) &&
			nodes_are(b, &q, &q.elect, rest)))
			return false;
	}
	return true;
}

static bool
votes(const struct membership *m, const struct node *n)
{
	int i = member_of(m, n);

	return i >= 0 && (m->member[i].type == NODE_ELECTABLE ||
			     m->member[i].type == NODE_ARBITER);
}

static unsigned
voters_of(const struct membership *m)
{
	unsigned voters = 0;
	uint32_t i;

	for (i = 0; i < m->count; i++)
		voters += votes(m, &node[node_of(m, i)]);
	return voters;
}

static void
policy_make(struct membership *m, bool flexible)
{
	unsigned voters = voters_of(m);

	m->policy = flexible ? QUORUM_FLEXIBLE : QUORUM_MAJORITY;
	m->elect = m->commit = 0;
	if (!flexible)
		return;
	m->elect = (uint8_t)(voters / 2 + 1 + pick((voters + 1) / 2));
	m->commit = (uint8_t)(voters + 1 - m->elect);
}

static void
member_add(struct membership *m, unsigned i)
{
	struct member *a = &m->member[m->count++];

	memset(a, 0, sizeof(*a));
	a->incarnation = ID(i);
	a->priority = (uint32_t)pick(3);
	a->type = NODE_ELECTABLE;
	if (pick(4) == 0)
		a->type = pick(2) == 0 ? NODE_SECONDARY : NODE_MONITOR;
	snprintf(a->name, MEMBER_NAME_MAX, "n%u", i);
}

static bool
volunteers_in(const struct membership *m, const struct node *n)
{
	int i = member_of(m, n);

	return i >= 0 && m->member[i].type == NODE_ELECTABLE &&
	       (m->member[i].priority != 0 || voters_of(m) == 1);
}

/*
 * Somebody is to volunteer, and to know that it should: else there is no
 * master, as ordered.
 */
static bool
conf_works(const struct membership *m)
{
	unsigned i;

	if (member_check(m) != NULL)
		return false;
	for (i = 0; i < nodes; i++)
		if (volunteers_in(m, &node[i]) &&
		    volunteers_in(
			conf_at(&node[i], node[i].durable), &node[i]) &&
		    volunteers_in(conf_at(&node[i], node[i].filed), &node[i]))
			return true;
	return false;
}

/* As short as may be configured, or longer than rounds are remembered. */
static uint32_t
lease_pick(void)
{
	uint32_t kind = (uint32_t)pick(8);

	return kind == 0   ? 700 + (uint32_t)pick(2000)
	       : kind == 1 ? 10 + (uint32_t)pick(50)
			   : 60 + (uint32_t)pick(240);
}

static uint32_t
longest(void)
{
	uint32_t most = 300;
	unsigned i;

	for (i = 1; i < confs; i++)
		if (conf[i].lease_ms > most)
			most = conf[i].lease_ms;
	return most;
}

static void
make_group(void)
{
	unsigned i;

	memset(&group, 0, sizeof(group));
	group.vlsn = 1;
	group.generation = 1;
	group.lease_ms = lease_pick();
	for (i = 0; i < nodes; i++)
		member_add(&group, i);
	group.member[0].priority = 1;
	group.member[0].type = NODE_ELECTABLE;
	if (pick(3) == 0)
		group.member[nodes - 1].type = NODE_ARBITER;
	policy_make(&group, pick(3) == 0);
	CHECK(member_check(&group) == NULL, "a group that can work");
	confs = 1;
	conf[confs++] = group;
}

/*
 * Has it flushed the newest membership? Before that it is given no vote: a boot
 * of one whose own log does not name it is refused.
 */
static bool
has_it(const struct node *n, uint64_t vlsn)
{
	return conf_at(n, n->durable)->vlsn == vlsn &&
	       member_of(conf_at(n, vlsn), n) >= 0;
}

/* One thing about it is another; false: it cannot be. */
static bool
conf_change(struct membership *m)
{
	unsigned i = (unsigned)pick(m->count), other = (unsigned)pick(nodes);
	bool flexible = m->policy == QUORUM_FLEXIBLE;
	enum node_type type = pick(2) != 0   ? NODE_ELECTABLE
			      : pick(2) != 0 ? NODE_SECONDARY
					     : NODE_MONITOR;

	switch (pick(6)) {
	case 0:
		m->lease_ms = lease_pick();
		break;
	case 1:
		m->member[i].priority = (uint32_t)pick(3);
		break;
	case 2: /* an arbiter stays one: it has no data */
		if (m->member[i].type == NODE_ARBITER ||
		    (type == NODE_ELECTABLE &&
			!has_it(&node[node_of(m, i)], m->vlsn)))
			return false;
		m->member[i].type = type;
		break;
	case 3:
		memmove(&m->member[i], &m->member[i + 1],
		    (m->count - i - 1) * sizeof(m->member[0]));
		m->count--;
		break;
	case 4:
		if (member_of(m, &node[other]) >= 0 || !node[other].up)
			return false;
		member_add(m, other);
		m->member[m->count - 1].type = NODE_SECONDARY;
		break;
	default:
		flexible = !flexible;
		break;
	}
	if (m->count == 0 || voters_of(m) == 0)
		return false;
	policy_make(m, flexible);
	return conf_works(m);
}

/* A next one after the one in force; 0 = none is found. */
static uint8_t
conf_next(const struct membership *in_force)
{
	struct membership *m = &conf[confs];

	if (confs == CONFS_MAX)
		return 0;
	*m = *in_force;
	return conf_change(m) && change_meets(in_force, m) ? (uint8_t)confs++
							   : 0;
}

#endif
