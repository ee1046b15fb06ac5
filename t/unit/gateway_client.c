/*
 * What clients get wrong, and which of them are strangers: limits and errors
 * in Redis' words, passwords, web browsers.
 */
#include "t/lib/gateway_rig.h"

static void
test_limits(void)
{
	struct conn *a = client();
	char text[2048], key[600];

	memset(key, 'k', sizeof(key));
	snprintf(text, sizeof(text), "SET %.512s v\r\nSET %.512s v EX 5\r\n",
	    key, key);
	say(a, text);
	is_str(heard(a),
	    "-ERR key is longer than 511 bytes\r\n"
	    "-ERR key is longer than 511 bytes\r\n",
	    "a key too long");
	conf.store.max_value = 1024;
	snprintf(text, sizeof(text), "SET k %.*s%.*s\r\n", 512, key, 513, key);
	say(a, text);
	is_str(
	    heard(a), "-ERR value exceeds max_value\r\n", "a value too long");
	say(a, "SET k v EX 0\r\nSET k v EX 9223372036854775807\r\n"
	       "SETEX k -1 v\r\nSET k v NX XX\r\nSET k v EX 5 KEEPTTL\r\n"
	       "SET k v BAD\r\nSET k\r\nEXPIRE k 1 NX XX\r\nDECRBY k x\r\n"
	       "NOSUCH a b\r\n");
	is_str(heard(a),
	    "-ERR invalid expire time in 'set' command\r\n"
	    "-ERR invalid expire time in 'set' command\r\n"
	    "-ERR invalid expire time in 'setex' command\r\n"
	    "-ERR syntax error\r\n-ERR syntax error\r\n-ERR syntax error\r\n"
	    "-ERR wrong number of arguments for 'set' command\r\n"
	    "-ERR NX and XX, GT or LT options at the same time are not "
	    "compatible\r\n"
	    "-ERR value is not an integer or out of range\r\n"
	    "-ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' "
	    "\r\n",
	    "errors in Redis' words");
	conf.store.max_value = 16 << 20;
	snprintf(conf.security.password, sizeof(conf.security.password), "pw");
	gone(a);
	a = client();
	say(a, "GET k\r\nAUTH no\r\nPING\r\nAUTH pw\r\nPING\r\n");
	is_str(heard(a),
	    "-NOAUTH Authentication required.\r\n"
	    "-WRONGPASS invalid username-password pair or user is "
	    "disabled.\r\n-NOAUTH Authentication required.\r\n+OK\r\n"
	    "+PONG\r\n",
	    "a password");
	conf.security.password[0] = '\0';
	say(a, "*1\r\n$-5\r\nPING\r\n");
	is_str(heard(a), "-ERR Protocol error: invalid bulk length\r\n",
	    "a protocol error");
	ok((a->flags & CONN_LAST) != 0, "is the last thing");
	say(a, "PING\r\n");
	is_str(heard(a), "", "nothing more is served");
	gone(a);
}

/*
 * What a web page's browser says ends the connection: nothing behind it is
 * run, whatever came before it. False: it was not closed, or it wrote.
 */
static bool
http_ends(const char *text, unsigned writes)
{
	uint64_t closed = counter_sum(region.counters, C_CLIENTS_HTTP);
	struct conn *a = client();
	uint32_t seq = gw.next_seq;
	bool ends;

	say(a, text);
	ends = (a->flags & CONN_CLOSING) != 0 && a->out.c == NULL &&
	       gw.next_seq - seq == writes &&
	       counter_sum(region.counters, C_CLIENTS_HTTP) == closed + 1;
	gone(a);
	turn();
	wal_accept();
	commit(last_vlsn);
	turn();
	return ends;
}

static void
test_http(void)
{
	struct conn *a;

	ok(http_ends("POST / HTTP/1.1\r\nHost: n1:7379\r\n"
		     "Content-Length: 10\r\n\r\nFLUSHALL\r\n",
	       0),
	    "POST closes");
	ok(http_ends("GET / HTTP/1.1\r\nhOST: n1\r\n\r\nFLUSHALL\r\n", 0),
	    "any method closes at Host:");
	ok(http_ends("PUT /k HTTP/1.1\r\nHost:n1\r\nSET k v\r\n", 0),
	    "with no blank behind it, too");
	ok(http_ends("SET k v\r\npost /\r\nSET k v\r\n", 1),
	    "behind other commands");
	ok(http_ends("MULTI\r\nSET k v\r\nPOST /\r\nEXEC\r\n", 0),
	    "inside MULTI");
	ok(http_ends("CLIENT REPLY OFF\r\n*1\r\n$4\r\nPOST\r\nSET k v\r\n", 0),
	    "as an array, with replies off");
	strcpy(conf.security.password, "secret");
	ok(http_ends("POST / HTTP/1.1\r\nHost: n1\r\n", 0), "before AUTH");
	conf.security.password[0] = '\0';
	a = client();
	say(a, "POSTS /\r\nHost :\r\nPING\r\n");
	ok(strstr(heard(a), "+PONG\r\n") != NULL, "words like them do not");
	gone(a);
}

/* Who has not said the password: what it may do, and who gives way. */
static void
test_strangers(void)
{
	static const char noauth[] = "-NOAUTH Authentication required.\r\n";
	struct conn *a, *b, *d;
	unsigned i;

	strcpy(conf.security.password, "secret");
	a = client();
	say(a, "MULTI\r\nEXEC\r\nWATCH k\r\nCLIENT SETNAME n\r\n"
	       "HELLO 3 SETNAME n\r\nSET k v\r\n");
	ok(a->multi == NULL && a->name == NULL && a->node_count == 0,
	    "nothing of it is kept");
	ok(strncmp(heard(a), noauth, strlen(noauth)) == 0, "it is told why");
	is_u64(gw_memory_of(&gw.io, a), 0, "it holds nothing");
	for (i = 0; i < 200; i++)
		say(a, "PING\r\nAUTH wrong\r\n");
	ok(a->park == PARK_OUTPUT && gw_conn_unsent(a) < 2 * GW_OUT_UNAUTH,
	    "%zu bytes of errors unread: it rests", gw_conn_unsent(a));
	for (i = 0; i < 50 && a->park == PARK_OUTPUT; i++) {
		(void)heard(a);
		gw_conn_go_on(&gw.io, a);
	}
	ok(a->in == NULL, "it goes on when they are read");
	say(a, "HELLO 3 SETNAME a\x7f AUTH default secret\r\n");
	say(a, "HELLO 3 AUTH default secret SETNAME a\x7f\r\n");
	say(a, "HELLO 3 AUTH default secret NOSUCH\r\n");
	say(a, "HELLO 3 AUTH default secret AUTH default wrong SETNAME a\r\n");
	ok((a->flags & CONN_AUTHED) == 0 && a->name == NULL && a->proto == 2,
	    "a HELLO that fails changes nothing");
	(void)heard(a);
	say(a, "EXEC\r\n");
	ok(strcmp(heard(a), "-EXECABORT Transaction discarded because of: "
			    "NOAUTH Authentication required.\r\n") == 0,
	    "EXEC");
	say(a, "HELLO 3 AUTH default secret SETNAME a\r\n");
	ok((a->flags & CONN_AUTHED) != 0 && a->name != NULL && a->proto == 3,
	    "one that does not, all");
	(void)heard(a);
	b = client();
	d = client();
	gw.io.conn_max = 3;
	ok(gw_conn_room(&gw.io), "all places taken: there is room");
	ok(is_closing(b) && !is_closing(a) && !is_closing(d),
	    "who is unknown for the longest gives way");
	ok(gw_conn_room(&gw.io) && !is_closing(d), "once for one");
	gone(b);
	say(d, "AUTH secret\r\n");
	b = client();
	say(a, "RESET\r\n");
	ok(gw_conn_room(&gw.io) && is_closing(b) && !is_closing(a),
	    "RESET makes it as new");
	gone(b);
	say(a, "AUTH secret\r\n");
	b = client();
	say(b, "AUTH secret\r\n");
	ok(!gw_conn_room(&gw.io), "who is known does not");
	gone(a);
	gone(b);
	gone(d);
	conf.security.password[0] = '\0';
}

int
main(void)
{
	set_up();
	test_limits();
	test_http();
	test_strangers();
	rig_end();
	return tap_done();
}
