/*
 * What lies outside of the simulation, in place of the product's functions for
 * it: run_dir's links (regions have no names, as other nodes' sweeps would take
 * them for dead), limits of the machine, client sockets, the starting command.
 */
#include "t/sim/node/sim_core.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shm/pidfile.h"
#include "shm/region_link.h"
#include "supervisor/daemon.h"
#include "supervisor/limits.h"
#include "supervisor/listen.h"
#include "supervisor/node.h"
#include "t/sim/node/sim_node.h"

/* ---- run_dir: the newest region's file, as the link would lead to it ---- */

static int linked = -1;

void
sim_region_forget(void)
{
	if (linked >= 0)
		close(linked);
	linked = -1;
}

int
region_link_swap(int run_dir, const char *shm_name, int fd, bool keep_prev)
{
	(void)run_dir;
	(void)shm_name;
	(void)keep_prev;
	sim_region_forget();
	linked = dup(fd);
	return linked >= 0 ? 0 : -errno;
}

int
region_link_peek(int run_dir, const char *name, struct region_head *head,
    struct log_failed *failed)
{
	(void)run_dir;
	if (linked < 0 || strcmp(name, "region") != 0)
		return -ENOENT;
	if (pread(linked, head, sizeof(*head), 0) != (ssize_t)sizeof(*head) ||
	    pread(linked, failed, sizeof(*failed),
		(off_t)(head->section[SECT_CONTROL].off +
			offsetof(struct control, wal_failed))) !=
		(ssize_t)sizeof(*failed))
		return -EBADMSG;
	return 0;
}

int
region_link_owner(int run_dir)
{
	(void)run_dir;
	return 0;
}

int
region_link_restore(int run_dir, const char *shm_name)
{
	(void)run_dir;
	(void)shm_name;
	return 0;
}

bool
region_link_leads(int run_dir, const char *name)
{
	(void)run_dir;
	(void)name;
	return true;
}

int
region_orphan(const char *run_dir)
{
	struct region_head head;
	struct log_failed failed;

	(void)run_dir;
	if (region_link_peek(-1, "region", &head, &failed) != 0 ||
	    head.state != REGION_LIVE)
		return 0;
	return head.supervisor_pid;
}

void
region_trim_dead(const char *run_dir)
{
	(void)run_dir;
}

uint64_t
region_held(const char *run_dir)
{
	(void)run_dir;
	return 0;
}

void
region_sweep(uid_t uid)
{
	(void)uid;
}

void
node_run_dir_look(struct node *n)
{
	(void)n;
}

void
pidfile_waits(const char *run_dir, const char *text)
{
	(void)run_dir;
	(void)text;
}

/* ---- the machine ---- */

void
limits_read(struct conf_limits *out, const struct conf *conf, uint64_t held,
    struct conf_limits *most)
{
	(void)conf;
	(void)held;
	*out = (struct conf_limits){ 0 };
	if (most != NULL)
		*most = *out;
}

void
limits_group(const char *root, struct limits_group *g)
{
	(void)root;
	memset(g, 0, sizeof(*g));
}

/* ---- sockets and the starting command ---- */

void
listen_refuse(struct listeners *l, bool for_good)
{
	(void)l;
	(void)for_good;
}

void
listen_again(struct listeners *l)
{
	(void)l;
}

int
listen_pages(struct listeners *l)
{
	(void)l;
	return 0;
}

void
listen_pages_refuse(struct listeners *l)
{
	(void)l;
}

void
listen_peers_refuse(struct listeners *l)
{
	(void)l;
}

void
listen_peers_allow(struct listeners *l)
{
	(void)l;
}

/* Of one member: nobody has anything to hand over. */
int
socketpair(int domain, int type, int protocol, int fd[2])
{
	(void)domain;
	(void)type;
	(void)protocol;
	fd[0] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	fd[1] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return fd[0] >= 0 && fd[1] >= 0 ? 0 : -1;
}

void
daemon_ready(int *ready_fd, int code)
{
	(void)ready_fd;
	(void)code;
}

void
daemon_leave_stdio(void)
{
}
