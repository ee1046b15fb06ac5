/*
 * nodelifed: options, the checks of a start, and the end. Everything that can
 * be refused is refused here, before the first fork, in an order that lets
 * the refusal be read: configuration, terminal, run_dir, data directory,
 * sockets, region.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/pidfile.h"
#include "shm/say.h"
#include "supervisor/access.h"
#include "supervisor/check.h"
#include "supervisor/datadir.h"
#include "supervisor/limits.h"
#include "supervisor/listen.h"
#include "supervisor/node.h"

enum { OPTION_INIT = 256, OPTION_MEMBER };

struct options {
	const char *file;
	bool foreground, check, init, member;
};

static const char usage_text[] =
    "usage: nodelifed [-f] [-c FILE]     start the node; -f: in the "
    "foreground\n"
    "       nodelifed -n [-c FILE]       check the configuration and print it\n"
    "       nodelifed --init [-c FILE]   found a group of one and exit\n"
    "       nodelifed --init --member [-c FILE]  make the directory of one of "
    "several,\n"
    "                                    which nodelifectl found makes a "
    "group of\n"
    "       nodelifed -V | -h            version, this help\n"
    "FILE is " CONF_DEFAULT_FILE " by default. See nodelifed(8).\n";

/* -1: go on; else exit with that. */
static int
parse_options(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = { { "init", no_argument, NULL,
						   OPTION_INIT },
		{ "member", no_argument, NULL, OPTION_MEMBER },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' }, { 0 } };
	int ch;

	*o = (struct options){ .file = CONF_DEFAULT_FILE };
	while ((ch = getopt_long(argc, argv, "c:fnVh", longs, NULL)) != -1) {
		switch (ch) {
		case 'c':
			o->file = optarg;
			break;
		case 'f':
			o->foreground = true;
			break;
		case OPTION_INIT:
			o->init = true;
			break;
		case OPTION_MEMBER:
			o->member = true;
			break;
		case 'n':
			o->check = true;
			break;
		case 'V':
			printf("nodelifed %s\n", NODELIFE_VERSION);
			return 0;
		case 'h':
			fputs(usage_text, stdout);
			return 0;
		default:
			fputs(usage_text, stderr);
			return EX_USAGE;
		}
	}
	if (o->member && !o->init) {
		fprintf(stderr, "nodelifed: --member goes with --init\n");
		fputs(usage_text, stderr);
		return EX_USAGE;
	}
	if (optind == argc)
		return -1;
	fprintf(stderr, "nodelifed: unexpected argument '%s'\n", argv[optind]);
	fputs(usage_text, stderr);
	return EX_USAGE;
}

/* The file cannot be read at all. */
static int
refuse_conf(const char *file, int error)
{
	struct fault f = { .object = file,
		.call = "open",
		.error = error,
		.place = PLACE_CONF };

	return refuse_fault(EX_CONFIG, &f);
}

static int
load_conf(struct conf *conf, const char *file)
{
	struct conf_errors errs = { 0 };
	int rc = conf_load(conf, file, &errs);

	if (rc != 0 && rc != -EINVAL)
		refuse_conf(file, -rc);
	else if (rc != 0)
		conf_errors_print(&errs, stderr);
	conf_errors_free(&errs);
	return rc == 0 ? 0 : EX_CONFIG;
}

/* Reload must find the file from anywhere. */
static int
keep_path(struct node *n, const char *file)
{
	char *real = realpath(file, NULL);

	if (real == NULL || strlcpy(n->conf_path, real, sizeof(n->conf_path)) >=
				sizeof(n->conf_path)) {
		free(real);
		return refuse_conf(file, errno);
	}
	free(real);
	return 0;
}

/* Perhaps it is of a start by another user. */
static int
refuse_log(const struct node *n, const char *target, int error)
{
	char command[PATH_MAX + 96], whose[64];
	struct fault f = { .object = target,
		.call = "open [node] log",
		.error = -error,
		.place = PLACE_LOG,
		.command = command };
	struct stat st;

	snprintf(command, sizeof(command), "chown %s %s",
	    rights_owner(&n->rights, whose), target);
	if (error != -EACCES || stat(target, &st) != 0 ||
	    st.st_uid == n->rights.uid)
		f.command = NULL;
	return refuse_fault(refuse_code(error), &f);
}

static int
open_log(const struct node *n)
{
	const char *target = n->conf.node.log;
	int rc;

	/* Workers must be able to open a log file that we make. */
	if (n->rights.drop)
		say_owner(n->rights.uid, n->rights.gid);

	/* A daemon's stderr is gone as soon as it serves. */
	if (!n->foreground && strcmp(target, "stderr") == 0)
		target = "syslog";
	say_name("supervisor");
	say_level_set((enum say_level)n->conf.node.log_level);
	if (n->foreground)
		say_echo();
	if ((rc = say_open(target)) != 0)
		return refuse_log(n, target, rc);
	return 0;
}

/* One bell per slot, kept for all the lives of the processes in it. */
static int
make_bells(struct node *n)
{
	for (unsigned slot = 0; slot < SLOT_MAX; slot++)
		n->bells.fd[slot] = -1;
	for (unsigned slot = 0; slot < SLOT_GATEWAY + n->conf.node.gateways;
	     slot++) {
		n->bells.fd[slot] = eventfd(0, EFD_CLOEXEC);
		if (n->bells.fd[slot] < 0)
			return refuse_system("eventfd", errno);
	}
	return 0;
}

/* It ends a write to a bell that waits (shm/wake.h). */
static void
on_alarm(int signal_number)
{
	(void)signal_number;
}

/*
 * The region's file belongs to the workers' user: whoever shortens it, or
 * fills /dev/shm, takes pages from under us. Nothing here may look at it again,
 * as the log's level does; workers end with us.
 */
static void
on_lost_region(int signal_number)
{
	(void)signal_number;
	say_last_word("nodelifed: SIGBUS: run_dir/region was cut short, or "
		      "/dev/shm is full: the supervisor ends, start the node "
		      "again");
	_exit(EX_OSERR);
}

/* From here on signals are read, not delivered. */
static int
take_signals(struct node *n)
{
	static const int taken[] = { SIGTERM, SIGINT, SIGHUP, SIGCHLD };
	static const struct sigaction alarmed = { .sa_handler = on_alarm };
	static const struct sigaction lost = { .sa_handler = on_lost_region };
	sigset_t set;

	sigaction(SIGBUS, &lost, NULL);
	sigaction(SIGALRM, &alarmed, NULL);
	n->bells.wary = true;
	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
		sigaddset(&set, taken[i]);
	signal(SIGPIPE, SIG_IGN);
	/* Ignored by who started us, it would take our children's status. */
	signal(SIGCHLD, SIG_DFL);
	sigprocmask(SIG_SETMASK, &set, NULL);
	n->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (n->signal_fd < 0)
		return refuse_system("signalfd", errno);
	return 0;
}

static int
prepare(struct node *n)
{
	int rc;

	if ((rc = access_ring(&n->conf, &n->rights)) != 0 ||
	    (rc = daemon_pidfile(&n->conf, &n->rights, &n->pidfile)) != 0 ||
	    (rc = datadir_open(
		 &n->conf, &n->rights, &n->data_dir, &n->lock_fd)) != 0 ||
	    (rc = listen_open(
		 &n->listen, &n->conf, &n->rights, LISTEN_WAIT_MS)) != 0 ||
	    (rc = make_bells(n)) != 0 || (rc = take_signals(n)) != 0)
		return rc;
	if ((rc = daemon_pidfile_write(&n->pidfile)) != 0)
		return refuse_at(
		    n->conf.node.run_dir, "write " PIDFILE_NAME, rc, PLACE_RUN);
	return 0;
}

/* Nobody is left: say so in the region, remove what only we made. */
static void
clean_up(struct node *n)
{
	if (n->has_region) {
		trouble_writer_died(&n->region, SLOT_SUPERVISOR);
		event_add_as(&n->region, SLOT_SUPERVISOR, EVENT_INFO,
		    EVENT_ASIDE, "the node has stopped, exit code %d",
		    n->exit_code);
		say_level_word(NULL);
		say_reopen_word(NULL);
		region_end(&n->region, REGION_ENDED);
		region_trim(&n->region);
		region_unmap(&n->region);
	}
	/* What lost its link on the way. */
	if (n->pidfile.fd >= 0) {
		pidfile_waits(n->conf.node.run_dir, NULL);
		region_sweep(n->rights.drop ? n->rights.uid : geteuid());
	}
	listen_close(&n->listen, &n->conf);
	daemon_pidfile_remove(&n->pidfile);
}

/* -n: what would be in effect here and now. */
static int
print_conf(struct node *n)
{
	limits_read(
	    &n->limits, &n->conf, region_held(n->conf.node.run_dir), NULL);
	conf_fit(&n->conf, &n->limits, &n->fit);
	n->exposed_count = conf_exposed(&n->conf, n->exposed);
	for (unsigned i = 0; i < n->exposed_count; i++)
		fprintf(stderr, "nodelifed: warning: %s\n", n->exposed[i]);
	conf_print(&n->conf, stdout);
	for (unsigned i = 0; i < n->fit.count; i++)
		printf("%s; %s\n", i == 0 ? "\n" : "", n->fit.text[i]);
	if (fflush(stdout) != 0)
		return EX_IOERR;
	if (n->fit.refused)
		return EX_CONFIG;
	say_name("nodelifed");
	return check_machine(&n->conf);
}

/* A signal that ends us, within that time? What else comes is kept for later.
 */
static bool
stopped_within(const struct node *n, uint64_t delay_ms)
{
	struct pollfd pfd = { n->signal_fd, POLLIN, 0 };
	struct signalfd_siginfo si;
	uint64_t end = mono_ns() + delay_ms * NS_PER_MS, now;

	while ((now = mono_ns()) < end) {
		if (poll(&pfd, 1, (int)((end - now) / NS_PER_MS) + 1) <= 0 ||
		    read(n->signal_fd, &si, sizeof(si)) != (ssize_t)sizeof(si))
			continue;
		if (si.ssi_signo == SIGTERM || si.ssi_signo == SIGINT)
			return true;
	}
	return false;
}

/*
 * The first region. What keeps it from being made is waited out as in any
 * pause; where not even a private one is to be had there are the log, a file in
 * run_dir and who started us to say so.
 */
static int
first_boot(struct node *n)
{
	char why[FAULT_TEXT_MAX] = "", text[NODE_WAITED_MAX];
	uint64_t delay_ms;
	int rc;

	while ((rc = node_boot(n, why)) == NODE_BOOT_WAITS) {
		if (n->has_region) {
			node_pause(n, why);
			return 0;
		}
		if (node_waited_out(n, n->waits_since_ns)) {
			rc = refuse(
			    EX_TEMPFAIL, "%s", node_waited_text(n, why, text));
			break;
		}
		delay_ms = node_world_delay(n);
		node_boot_waits(n, why, delay_ms);
		daemon_ready(&n->ready_fd, DAEMON_BOOTING);
		if (stopped_within(n, delay_ms)) {
			n->finished = true;
			rc = 0;
			break;
		}
	}
	return rc;
}

static int
start(struct node *n, const char *file)
{
	int rc;

	if ((rc = keep_path(n, file)) != 0)
		return rc;
	if (!n->foreground && (n->ready_fd = daemon_detach()) < 0)
		return refuse_system("fork", n->ready_fd);
	n->conf_set = n->conf;
	n->exposed_count = conf_exposed(&n->conf, n->exposed);
	if ((rc = check_dirs(&n->conf)) == 0 &&
	    (rc = rights_find(&n->rights, n->conf.node.user)) == 0 &&
	    (rc = open_log(n)) == 0 && (rc = prepare(n)) == 0)
		rc = first_boot(n);
	setproctitle("supervisor [%s]", n->conf.node.name);
	if (rc == 0)
		rc = node_run(n);
	n->exit_code = rc;
	clean_up(n);
	/* Who did not serve has not started, also if it was told to stop. */
	daemon_ready(&n->ready_fd, rc != 0 ? rc : NODE_EXIT_FAILED);
	return rc;
}

/*
 * What the starter left open is none of ours; and 0 to 2 must be taken, lest
 * a socket gets a number that something prints to.
 */
static int
sane_descriptors(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd < 0)
		return refuse_system("open /dev/null", errno);
	closefrom(STDERR_FILENO + 1);
	return 0;
}

static void
node_init(struct node *n)
{
	n->ready_fd = n->data_dir = n->lock_fd = n->signal_fd = -1;
	n->pidfile = (struct pidfile){ -1, -1 };
	n->listen.http_fd = n->listen.control_fd = -1;
	n->pairs = (struct pairs){ -1, -1, -1, -1 };
	for (unsigned i = 0; i < LISTEN_MAX; i++)
		n->listen.fd[i] = n->listen.peer_fd[i] = -1;
	for (unsigned slot = 0; slot < SLOT_MAX; slot++)
		n->child[slot].pidfd = -1;
}

int
main(int argc, char **argv, char **envp)
{
	static struct node n; /* large, and only touched where used */
	struct options o;
	int rc;

	setproctitle_init(argc, argv, envp);
	/* A file that is too long is an error like others. */
	signal(SIGXFSZ, SIG_IGN);
	if ((rc = parse_options(argc, argv, &o)) >= 0)
		return rc;
	if ((rc = load_conf(&n.conf, o.file)) != 0)
		return rc;
	if (o.check)
		return print_conf(&n);
	umask(027);
	node_init(&n);
	n.foreground = o.foreground;
	say_name("nodelifed");
	if (o.init) {
		if ((rc = check_dirs(&n.conf)) == 0)
			rc = rights_find(&n.rights, n.conf.node.user);
		return rc != 0 ? rc
			       : datadir_found(&n.conf, &n.rights, o.member);
	}
	rc = sane_descriptors();
	return rc != 0 ? rc : start(&n, o.file);
}
