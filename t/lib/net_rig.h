/*
 * Nodes' links in one process: each with a region, a ring and a listening
 * socket of its own on loopback, driven in turn by rig_turn().
 */
#ifndef T_LIB_NET_RIG_H
#define T_LIB_NET_RIG_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "shm/say.h"
#include "t/shm_fixture.h"
#include "workers/group/net/peers.h"

#define RIG_NODES   3
#define KIND_LINK   1
#define KIND_LISTEN 2

struct node {
	struct fixture f;
	struct bells bells;
	struct loop loop;
	struct net net;
	struct auth_key key;
	char name[MEMBER_NAME_MAX], group[MEMBER_NAME_MAX];
	int listen_fd[NET_LISTEN_MAX];
	char addr[64];
	struct msg_proof facts;
	uint64_t known_count, known_id; /* of whatever incarnation */
	uint64_t acked_term, acked;
	bool on, still; /* still: its loop does not turn */
	unsigned ups, downs, messages, last_index, last_type;
	union msg last;
	int data_fd;
	unsigned datas, data_index, data_fails, fail_reason;
	uint64_t fail_connection;
	struct link_handed handed;
	bool greets; /* on a data connection, as soon as it has it */
};

static struct node *rig[RIG_NODES];

static void
rig_facts(void *ctx, struct msg_proof *mine)
{
	*mine = ((struct node *)ctx)->facts;
}

static void
rig_boot(void *ctx, uint64_t incarnation, uint64_t *count, uint64_t *id)
{
	struct node *n = ctx;

	(void)incarnation;
	*count = n->known_count;
	*id = n->known_id;
}

static void
rig_acked(void *ctx, uint64_t incarnation, uint64_t *term, uint64_t *vlsn)
{
	struct node *n = ctx;

	(void)incarnation;
	*term = n->acked_term;
	*vlsn = n->acked;
}

static void
rig_status(void *ctx, struct msg_status_answer *out)
{
	struct node *n = ctx;

	out->term = n->facts.term;
	out->role = ROLE_REPLICA;
	out->appended = out->durable = 77;
	out->version_min = out->version_max = 1;
	strcpy(out->release, "0.1.0");
}

static void
rig_up(void *ctx, unsigned index)
{
	struct node *n = ctx;

	n->ups++;
	n->last_index = index;
}

static void
rig_down(void *ctx, unsigned index)
{
	struct node *n = ctx;

	n->downs++;
	n->last_index = index;
}

static void
rig_message(void *ctx, unsigned index, unsigned type, const union msg *m)
{
	struct node *n = ctx;

	n->messages++;
	n->last_index = index;
	n->last_type = type;
	n->last = *m;
}

static void
rig_data(void *ctx, unsigned index, int fd, const struct link_handed *link)
{
	struct node *n = ctx;

	n->datas++;
	n->data_index = index;
	n->data_fd = fd;
	n->handed = *link;
	if (n->greets)
		(void)!send(fd, "hello", 5, MSG_NOSIGNAL);
}

static void
rig_data_failed(void *ctx, unsigned index, uint64_t connection, unsigned reason,
    const char *text)
{
	struct node *n = ctx;

	n->data_fails++;
	n->data_index = index;
	n->fail_connection = connection;
	n->fail_reason = reason;
	diag("%s: data connection failed: %u %s", n->name, reason, text);
}

static const struct net_hooks rig_hooks = {
	.facts = rig_facts,
	.boot = rig_boot,
	.acked = rig_acked,
	.status = rig_status,
	.up = rig_up,
	.down = rig_down,
	.message = rig_message,
	.data = rig_data,
	.data_failed = rig_data_failed,
};

static void
rig_completed(void *ctx, uint32_t slot, uint32_t life, int res, uint32_t flags)
{
	struct node *n = ctx;

	(void)flags;
	peers_completed(&n->net, slot, life, res);
}

static void
rig_polled(void *ctx, uint32_t slot, uint32_t life, int res, uint32_t flags)
{
	struct node *n = ctx;

	(void)life;
	peers_polled(&n->net, slot, res, flags);
}

static void
rig_nothing(void *ctx)
{
	(void)ctx;
}

static bool
rig_not(void *ctx)
{
	(void)ctx;
	return false;
}

static uint64_t
rig_never(void *ctx)
{
	(void)ctx;
	return LOOP_NEVER;
}

static void
rig_listen(struct node *n)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0 ||
	    getsockname(fd, (struct sockaddr *)&a, &len) != 0)
		abort();
	memset(n->listen_fd, -1, sizeof(n->listen_fd));
	n->listen_fd[0] = fd;
	snprintf(n->addr, sizeof(n->addr), "127.0.0.1:%u", ntohs(a.sin_port));
}

/* A new life: ring, links. */
static void
rig_start(struct node *n)
{
	static const struct loop_hooks hooks = { rig_nothing, rig_not,
		rig_never };
	struct net_setup s = { .loop = &n->loop,
		.region = &n->f.r,
		.slot = SLOT_GROUP,
		.kind_link = KIND_LINK,
		.kind_listen = KIND_LISTEN,
		.key = &n->key,
		.name = n->name,
		.group = n->group,
		.listen_fd = n->listen_fd,
		.hooks = &rig_hooks,
		.ctx = n };
	int rc =
	    loop_open(&n->loop, &n->f.r, &n->bells, SLOT_GROUP, 64, n, &hooks);

	if (rc != 0) {
		diag("%s", loop_refusal(rc));
		abort();
	}
	memset(&n->net, 0, sizeof(n->net));
	loop_on(&n->loop, KIND_LINK, rig_completed);
	loop_on(&n->loop, KIND_LISTEN, rig_polled);
	if (peers_open(&n->net, &s) != 0)
		abort();
	n->on = true;
	n->still = false;
}

static void
rig_node(unsigned i, const char *name)
{
	struct node *n = calloc(1, sizeof(*n));
	unsigned s;

	if (n == NULL)
		abort();
	rig[i] = n;
	fixture_open(&n->f);
	n->bells.wakes = n->f.r.wakes;
	for (s = 0; s < SLOT_MAX; s++)
		n->bells.fd[s] = -1;
	n->bells.fd[SLOT_GROUP] = eventfd(0, EFD_CLOEXEC);
	strcpy(n->name, name);
	strcpy(n->group, "g1");
	n->key.len = 16;
	memcpy(n->key.byte, "0123456789abcdef", 16);
	n->data_fd = -1;
	n->facts = (struct msg_proof){ .uuid = { 1, 2, 3 },
		.generation = 1,
		.incarnation = 100 + i,
		.boot_count = 5,
		.boot = 1000 + i,
		.term = 3,
		.first = 1,
		.last = 10,
		.last_term = 3,
		.standing = STANDING_JOINED };
	rig_listen(n);
	rig_start(n);
}

/* As a process that is gone: connections are reset, or closed. */
static void
rig_kill(struct node *n, bool reset)
{
	struct linger hard = { .l_onoff = 1 };
	unsigned i;

	loop_close(&n->loop);
	for (i = 0; i < NET_LINKS; i++)
		if (n->net.link[i].fd >= 0) {
			if (reset)
				(void)setsockopt(n->net.link[i].fd, SOL_SOCKET,
				    SO_LINGER, &hard, sizeof(hard));
			close(n->net.link[i].fd);
			n->net.link[i].fd = -1;
		}
	for (i = 0; i < MEMBER_MAX; i++) {
		resolve_stop(&n->net.peer[i].dial.resolve);
		resolve_stop(&n->net.peer[i].data.resolve);
	}
	n->on = false;
}

static void
rig_free(unsigned i)
{
	struct node *n = rig[i];

	if (n->on)
		rig_kill(n, true);
	close(n->listen_fd[0]);
	close(n->bells.fd[SLOT_GROUP]);
	if (n->data_fd >= 0)
		close(n->data_fd);
	fixture_close(&n->f);
	free(n);
	rig[i] = NULL;
}

/* All rows, in the order of the rig. */
static void
rig_know(struct node *n, bool by_incarnation)
{
	struct net_member rows[RIG_NODES];
	unsigned i, count = 0;

	memset(rows, 0, sizeof(rows));
	for (i = 0; i < RIG_NODES && rig[i] != NULL; i++, count++) {
		strcpy(rows[i].name, rig[i]->name);
		strcpy(rows[i].address, rig[i]->addr);
		rows[i].self = rig[i] == n;
		rows[i].type = -1;
		if (by_incarnation)
			rows[i].incarnation = rig[i]->facts.incarnation;
	}
	peers_set(&n->net, rows, count);
}

static void
rig_turn(void)
{
	unsigned i;

	for (i = 0; i < RIG_NODES; i++)
		if (rig[i] != NULL && rig[i]->on && !rig[i]->still) {
			if (loop_poll(&rig[i]->loop) != 0)
				abort();
			peers_turn(&rig[i]->net);
		}
	(void)poll(NULL, 0, 0);
}

/* Turn until it holds. */
#define RUN_UNTIL(cond, ms)                                                    \
	({                                                                     \
		uint64_t ru_end = tap_now_ms() + (ms);                         \
		bool ru_ok;                                                    \
		while (!(ru_ok = (cond)) && tap_now_ms() < ru_end)             \
			rig_turn();                                            \
		ru_ok;                                                         \
	})

static inline void
rig_run(unsigned ms)
{
	(void)RUN_UNTIL(false, ms);
}

static inline uint64_t
rig_counted(const struct node *n, enum counter which)
{
	return counter_sum(n->f.r.counters, which);
}

#endif
