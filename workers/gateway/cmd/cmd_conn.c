/*
 * Commands about the connection itself.
 */
#include <stdlib.h>
#include <string.h>
#include "shm/assert.h"
#include "workers/gateway/cmd/cmd.h"
#include "workers/gateway/exec/job.h"

#define ECHO_AT_ONCE   (64u * 1024)
#define SERVER_NAME    "redis" /* clients compare it and its version */
#define SERVER_VERSION "7.0.15"

/* A long argument that is said back. */
struct echo_job {
	struct job job;
	uint32_t done;
	size_t at; /* of what follows, in the sink */
	struct sink out;
};

static void
echo_free(struct job *job)
{
	struct echo_job *j = (struct echo_job *)job;

	sink_reset(&j->out);
	free(j);
}

static void
echo_size(const struct job *job, size_t *pooled, size_t *plain)
{
	const struct echo_job *j = (const struct echo_job *)job;

	(void)plain;
	*pooled += chunk_bytes(j->out.c);
}

static enum verdict
echo_step(struct call *k, struct job *job)
{
	struct echo_job *j = (struct echo_job *)job;
	const struct op_arg *a = &k->argv[1];
	uint32_t n;

	while (j->done < a->len) {
		n = a->len - j->done;
		n = n < ECHO_AT_ONCE ? n : ECHO_AT_ONCE;
		memcpy(j->out.c->data + j->at, a->data + j->done, n);
		j->done += n;
		j->at += n;
		gw_turn_look(k->g);
		if (k->g->turn_over && j->done < a->len)
			return gw_job_pause(k);
	}
	call_join(k, &j->out);
	return VERDICT_DONE;
}

static enum verdict
run_echo(struct call *k)
{
	const struct op_arg *a = &k->argv[1];
	struct echo_job *j;
	uint8_t *to;

	if (a->len <= ECHO_AT_ONCE) {
		reply_bulk(call_out(k), a->data, a->len);
		return VERDICT_DONE;
	}
	j = gw_job_new(sizeof(*j), echo_step, echo_free, echo_size);
	if (j == NULL)
		return call_error_done(k, "ERR no memory for this reply");
	j->out.pool = &k->g->io.pool;
	if ((to = reply_bulk_room(&j->out, a->len)) == NULL) {
		echo_free(&j->job);
		return call_error_done(k, "ERR no memory for this reply");
	}
	j->at = (size_t)(to - j->out.c->data);
	return gw_job_begin(k, &j->job);
}

enum verdict
gw_run_ping(struct call *k)
{
	if (k->argc > 2)
		return call_error_done(
		    k, "ERR wrong number of arguments for 'ping' command");
	if (k->argc == 2)
		return run_echo(k);
	sink_put(call_out(k), "+PONG\r\n", 7);
	return VERDICT_DONE;
}

enum verdict
gw_run_echo(struct call *k)
{
	return run_echo(k);
}

enum verdict
gw_run_quit(struct call *k)
{
	reply_ok(call_out(k));
	k->c->flags |= CONN_LAST;
	gw_conn_dirty(&k->g->io, k->c);
	return VERDICT_DONE;
}

enum verdict
gw_run_select(struct call *k)
{
	int64_t db;

	if (!arg_i64(&k->argv[1], &db))
		return call_error_done(
		    k, "ERR value is not an integer or out of range");
	if (db != 0)
		return call_error_done(k, "ERR DB index is out of range");
	reply_ok(call_out(k));
	return VERDICT_DONE;
}

/*
 * What changes how replies look must not overtake the ones that are owed.
 * True: parked.
 */
static bool
park_for_order(struct call *k)
{
	if (k->c->node_count == 0)
		return false;
	gw_park(k->g, k->c, PARK_ORDER);
	return true;
}

enum verdict
gw_run_reset(struct call *k)
{
	struct conn *c = k->c;

	if (park_for_order(k))
		return VERDICT_PARKED;
	gw_session_reset(c);
	c->proto = 2;
	c->flags &= ~(unsigned)(CONN_REPLY_OFF | CONN_SKIP | CONN_SKIP_NEXT |
				CONN_NO_EVICT | CONN_EVENTUAL);
	if (k->g->w->conf->security.password[0] != '\0')
		gw_conn_trust(&k->g->io, c, false);
	reply_status(call_out(k), "RESET");
	return VERDICT_DONE;
}

/* ---- AUTH, HELLO ---- */

/* Takes as long for a wrong first byte as for a wrong last one. */
static bool
password_right(const struct gateway *g, const struct op_arg *given)
{
	const char *want = g->w->conf->security.password;
	size_t n = strlen(want);
	unsigned diff = given->len != n;
	size_t i;

	for (i = 0; i < n; i++)
		diff |=
		    (unsigned)want[i] ^ (i < given->len ? given->data[i] : 0u);
	return diff == 0;
}

/* Right? Else answered with the error. */
static bool
auth_check(
    struct call *k, const struct op_arg *user, const struct op_arg *password)
{
	bool open = k->g->w->conf->security.password[0] == '\0';

	/* Without a password the user "default" may say anything. */
	if ((user == NULL || arg_is(user, "default")) &&
	    (open || password_right(k->g, password)))
		return true;
	call_error(k, "WRONGPASS invalid username-password pair or user is "
		      "disabled.");
	return false;
}

enum verdict
gw_run_auth(struct call *k)
{
	if (k->argc > 3)
		return call_syntax(k);
	if (k->argc == 2 && k->g->w->conf->security.password[0] == '\0')
		return call_error_done(k,
		    "ERR AUTH <password> called without any password "
		    "configured for the default user. Are you sure your "
		    "configuration is correct?");
	if (!auth_check(
		k, k->argc == 3 ? &k->argv[1] : NULL, &k->argv[k->argc - 1]))
		return VERDICT_DONE;
	gw_conn_trust(&k->g->io, k->c, true);
	reply_ok(call_out(k));
	return VERDICT_DONE;
}

static bool
name_is_clean(const struct op_arg *name)
{
	uint32_t i;

	for (i = 0; i < name->len; i++)
		if (name->data[i] < '!' || name->data[i] > '~')
			return false;
	return true;
}

static bool
name_set(char **where, const struct op_arg *name)
{
	char *copy = NULL;

	if (name->len != 0) {
		copy = strndup((const char *)name->data, name->len);
		if (copy == NULL)
			return false;
	}
	free(*where);
	*where = copy;
	return true;
}

static void
hello_reply(struct call *k)
{
	struct sink *out = call_out(k);
	unsigned proto = k->c->proto;
	bool master = commit_is_master(k->g->r);

	reply_map(out, proto, 7);
	reply_str(out, "server");
	reply_str(out, SERVER_NAME);
	reply_str(out, "version");
	reply_str(out, SERVER_VERSION);
	reply_str(out, "proto");
	reply_int(out, proto);
	reply_str(out, "id");
	reply_int(out, (int64_t)k->c->id);
	reply_str(out, "mode");
	reply_str(out, "standalone");
	reply_str(out, "role");
	reply_str(out, master ? "master" : "replica");
	reply_str(out, "modules");
	reply_array(out, 0);
}

/* AUTH and SETNAME of HELLO. False: answered with an error. */
static bool
hello_options(struct call *k, const struct op_arg **name, bool *authed)
{
	uint32_t i;

	for (i = 2; i < k->argc; i++) {
		uint32_t left = k->argc - 1 - i;

		if (left >= 2 && arg_is(&k->argv[i], "auth")) {
			if (!auth_check(k, &k->argv[i + 1], &k->argv[i + 2]))
				return false;
			*authed = true;
			i += 2;
		} else if (left >= 1 && arg_is(&k->argv[i], "setname")) {
			*name = &k->argv[++i];
		} else {
			call_error(k, "ERR Syntax error in HELLO option '%.*s'",
			    k->argv[i].len < 64 ? (int)k->argv[i].len : 64,
			    (const char *)k->argv[i].data);
			return false;
		}
	}
	return true;
}

enum verdict
gw_run_hello(struct call *k)
{
	const struct op_arg *name = NULL;
	bool authed = (k->c->flags & CONN_AUTHED) != 0;
	int64_t proto = k->c->proto;

	if (park_for_order(k))
		return VERDICT_PARKED;
	if (k->argc >= 2 && !arg_i64(&k->argv[1], &proto))
		return call_error_done(k, "ERR Protocol version is not an "
					  "integer or out of range");
	if (proto != 2 && proto != 3)
		return call_error_done(
		    k, "NOPROTO unsupported protocol version");
	if (!hello_options(k, &name, &authed))
		return VERDICT_DONE;
	if (!authed)
		return call_error_done(k,
		    "NOAUTH HELLO must be called with the client already "
		    "authenticated, otherwise the HELLO <proto> AUTH <user> "
		    "<pass> option can be used to authenticate the client and "
		    "select the RESP protocol version at the same time");
	if (name != NULL && !name_is_clean(name))
		return call_error_done(k,
		    "ERR Client names cannot contain "
		    "spaces, newlines or special characters.");
	if (name != NULL && name->len > GW_NAME_MAX)
		return call_error_done(k, "ERR name is longer than 1024 bytes");
	if (name != NULL && !name_set(&k->c->name, name))
		return call_error_done(k, "ERR no memory for the name");
	/* Nothing can fail any more. */
	gw_conn_trust(&k->g->io, k->c, true);
	k->c->proto = (uint8_t)proto;
	hello_reply(k);
	return VERDICT_DONE;
}

/* ---- WAIT, WAITAOF ---- */

struct waited {
	bool committed;
	unsigned copies; /* members that have them on disk, beside this one */
};

/* Has it what it waits for, or will it not come? */
static bool
wait_is_over(const struct call *k, int64_t want, struct waited *w)
{
	const struct region *r = k->g->r;
	enum outcome outcome = gw_write_outcome(k->g, k->c);
	unsigned others = commit_others(r);

	*w = (struct waited){ .committed = outcome == OUTCOME_COMMITTED };
	if (outcome != OUTCOME_UNKNOWN)
		w->copies = commit_copies(r, k->c->last_vlsn);
	if (outcome == OUTCOME_OPEN)
		return false;
	/* More than there are is not waited for, nor what nobody tells. */
	return outcome == OUTCOME_UNKNOWN || !commit_is_master(r) ||
	       w->copies >= others || (int64_t)w->copies >= want;
}

/*
 * Are the connection's writes committed, and on so many members' disks beside?
 * Else parked until they are, or until nobody will know, or until timeout_ms
 * have passed (0 = no limit). False: parked.
 */
static bool
wait_for_writes(
    struct call *k, int64_t want, int64_t timeout_ms, struct waited *w)
{
	struct conn *c = k->c;
	uint64_t now = k->g->io.loop.now_ns;

	*w = (struct waited){ 0 };
	if (k->in_exec)
		return true;
	if (park_for_order(k))
		return false;
	if (wait_is_over(k, want, w))
		goto over;
	if ((c->flags & CONN_WAITED) == 0) {
		c->flags |= CONN_WAITED;
		c->deadline_ns = timeout_ms == 0
				     ? LOOP_NEVER
				     : now + (uint64_t)timeout_ms * NS_PER_MS;
	} else if (now >= c->deadline_ns) {
		goto over;
	}
	c->wait_vlsn = c->last_vlsn;
	gw_park(k->g, c, w->committed ? PARK_COPIES : PARK_SYNC);
	return false;
over:
	c->flags &= ~(unsigned)CONN_WAITED;
	return true;
}

static bool
wait_timeout(struct call *k, const struct op_arg *arg, int64_t *ms)
{
	if (!arg_i64(arg, ms) || *ms > INT64_MAX / 2000000)
		call_error(k, "ERR timeout is not an integer or out of range");
	else if (*ms < 0)
		call_error(k, "ERR timeout is negative");
	else
		return true;
	return false;
}

enum verdict
gw_run_wait(struct call *k)
{
	int64_t replicas, timeout_ms;
	struct waited w;

	if (!arg_i64(&k->argv[1], &replicas))
		return call_error_done(
		    k, "ERR value is not an integer or out of range");
	if (!wait_timeout(k, &k->argv[2], &timeout_ms))
		return VERDICT_DONE;
	/* A group of one has no replica, whatever was asked for. */
	if (!wait_for_writes(k, replicas, timeout_ms, &w))
		return VERDICT_PARKED;
	reply_int(call_out(k), w.copies);
	return VERDICT_DONE;
}

enum verdict
gw_run_waitaof(struct call *k)
{
	int64_t local, replicas, timeout_ms;
	struct sink *out;
	struct waited w;

	if (!arg_i64(&k->argv[1], &local) || !arg_i64(&k->argv[2], &replicas))
		return call_error_done(
		    k, "ERR value is not an integer or out of range");
	if (local < 0 || local > 1 || replicas < 0)
		return call_error_done(
		    k, "ERR value is out of range, must be positive");
	if (!wait_timeout(k, &k->argv[3], &timeout_ms))
		return VERDICT_DONE;
	if (!wait_for_writes(k, replicas, timeout_ms, &w))
		return VERDICT_PARKED;
	out = call_out(k);
	reply_array(out, 2);
	reply_int(out, w.committed ? 1 : 0);
	reply_int(out, w.copies);
	return VERDICT_DONE;
}
