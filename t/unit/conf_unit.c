/*
 * Durations, sizes and addresses as text: what is accepted, what is refused
 * and with which error, and that formatting gives back what was parsed.
 */
#include "conf/conf.h"

#include <errno.h>
#include <netinet/in.h>

#include "t/tap.h"

struct number_case {
	const char *text;
	int rc;
	uint64_t value;
};

static const struct number_case durations[] = {
	{ "0ms", 0, 0 },
	{ "20ms", 0, 20 },
	{ "5s", 0, 5000 },
	{ "3m", 0, 180000 },
	{ "1h", 0, 3600000 },
	{ "007s", 0, 7000 },
	{ "18446744073709551615ms", 0, UINT64_MAX },
	{ "18446744073709551616ms", -ERANGE, 0 },
	{ "18446744073709551615s", -ERANGE, 0 },
	{ "", -EINVAL, 0 },
	{ "5", -EINVAL, 0 },
	{ "0", -EINVAL, 0 },
	{ "s", -EINVAL, 0 },
	{ "5 s", -EINVAL, 0 },
	{ " 5s", -EINVAL, 0 },
	{ "5S", -EINVAL, 0 },
	{ "5sec", -EINVAL, 0 },
	{ "5d", -EINVAL, 0 },
	{ "1.5s", -EINVAL, 0 },
	{ "+5s", -EINVAL, 0 },
	{ "-5s", -EINVAL, 0 },
	{ "0x5s", -EINVAL, 0 },
	{ "1m30s", -EINVAL, 0 },
};

static const struct number_case sizes[] = {
	{ "0", 0, 0 },
	{ "4096", 0, 4096 },
	{ "512K", 0, 512 * 1024 },
	{ "64M", 0, 64 << 20 },
	{ "1G", 0, 1 << 30 },
	{ "2T", 0, UINT64_C(2) << 40 },
	{ "16777215T", 0, UINT64_C(16777215) << 40 },
	{ "16777216T", -ERANGE, 0 },
	{ "99999999999999999999", -ERANGE, 0 },
	{ "64m", -EINVAL, 0 },
	{ "64MB", -EINVAL, 0 },
	{ "64 M", -EINVAL, 0 },
	{ "M", -EINVAL, 0 },
	{ "-1", -EINVAL, 0 },
	{ "1.5G", -EINVAL, 0 },
};

#define NITEMS(a) (sizeof(a) / sizeof((a)[0]))

static void
check_number(const struct number_case *c,
    int (*parse)(const char *, uint64_t *),
    void (*format)(uint64_t, char *, size_t))
{
	uint64_t value = 0, again = 1;
	char buf[24];

	is_i64(parse(c->text, &value), c->rc, c->text);
	if (c->rc != 0)
		return;
	is_u64(value, c->value, "  its value");
	format(value, buf, sizeof(buf));
	ok(parse(buf, &again) == 0 && again == value, "  formatted as %s", buf);
}

struct addr_case {
	const char *text;
	const char *host; /* NULL = refused */
	uint16_t port;
};

static const struct addr_case addrs[] = {
	{ "127.0.0.1:7379", "127.0.0.1", 7379 },
	{ "0.0.0.0:0", "0.0.0.0", 0 },
	{ "[::1]:65535", "::1", 65535 },
	{ "[fe80::1%lo]:1", "fe80::1%lo", 1 },
	{ "node-1.example.org:80", "node-1.example.org", 80 },
	{ "localhost:1", "localhost", 1 },
	{ "", NULL, 0 },
	{ "none", NULL, 0 },
	{ ":7379", NULL, 0 },
	{ "127.0.0.1", NULL, 0 },
	{ "127.0.0.1:", NULL, 0 },
	{ "127.0.0.1:65536", NULL, 0 },
	{ "127.0.0.1:99999999999", NULL, 0 },
	{ "127.0.0.1:+1", NULL, 0 },
	{ "127.0.0.1:1x", NULL, 0 },
	{ "127.0.0.256:1", NULL, 0 },
	{ "127.1:1", NULL, 0 },
	{ "::1:7379", NULL, 0 },
	{ "[::1]", NULL, 0 },
	{ "[::1]7", NULL, 0 },
	{ "[]:7", NULL, 0 },
	{ "[127.0.0.1]:7", NULL, 0 },
	{ "[::g]:7", NULL, 0 },
	{ "[::1:7", NULL, 0 },
	{ "a_b:7", NULL, 0 },
	{ "-a:7", NULL, 0 },
	{ "a b:7", NULL, 0 },
	{ "*:7", NULL, 0 },
};

static void
check_addr(const struct addr_case *c)
{
	char host[CONF_ADDR_SIZE] = "";
	const char *why = NULL;
	uint16_t port = 0;
	int rc = conf_addr_split(c->text, host, sizeof(host), &port, &why);

	if (c->host == NULL) {
		ok(rc == -EINVAL && why != NULL, "'%s' is refused: %s", c->text,
		    why);
		return;
	}
	is_i64(rc, 0, c->text);
	is_str(host, c->host, "  its host");
	is_u64(port, c->port, "  its port");
}

static void
check_long_addr(void)
{
	char text[600], host[CONF_ADDR_SIZE];
	uint16_t port;

	memset(text, 'a', sizeof(text));
	memcpy(text + 254, ":1", 3);
	ok(conf_addr_split(text, host, sizeof(host), &port, NULL) == -EINVAL,
	    "a host name of 254 bytes is refused");
	memcpy(text + 253, ":1", 3);
	ok(conf_addr_split(text, host, sizeof(host), &port, NULL) == 0,
	    "one of 253 is not");
	ok(conf_addr_split(text, host, 10, &port, NULL) == -EINVAL,
	    "a short host buffer is never overrun");
	memset(text, ':', sizeof(text));
	text[0] = '[';
	memcpy(text + 500, "]:1", 4);
	ok(conf_addr_split(text, host, sizeof(host), &port, NULL) == -EINVAL,
	    "a long IPv6 address is refused");
}

static void
check_resolve(void)
{
	struct conf_addr list[4];
	struct sockaddr_in *v4 = (struct sockaddr_in *)&list[0].addr;
	const char *why = NULL;

	is_i64(conf_addr_resolve("127.0.0.1:7379", list, 4, &why), 1,
	    "a numeric address resolves to one");
	ok(v4->sin_family == AF_INET && ntohs(v4->sin_port) == 7379 &&
		list[0].addr_len == sizeof(*v4) &&
		v4->sin_addr.s_addr == htonl(INADDR_LOOPBACK),
	    "it is that address");
	is_i64(conf_addr_resolve("[::1]:0", list, 4, &why), 1,
	    "so does a numeric IPv6 one");
	ok(list[0].addr.ss_family == AF_INET6, "of its family");
	is_i64(conf_addr_resolve("127.0.0.1", list, 4, &why), -EINVAL,
	    "syntax is checked first");
	ok(why != NULL && strstr(why, "port is missing") != NULL,
	    "and explained");
}

static void
check_exposed(void)
{
	static const struct {
		const char *client, *password;
		bool exposed;
	} rows[] = { { "127.0.0.1:7379", "", false },
		{ "127.8.8.8:7379", "", false }, { "[::1]:7379", "", false },
		{ "0.0.0.0:7379", "", true }, { "[::]:7379", "", true },
		{ "192.0.2.7:7379", "", true }, { "[fe80::1]:7379", "", true },
		{ "128.0.0.1:7379", "", true },
		{ "0.0.0.0:7379", "secret", false } };
	char text[CONF_EXPOSED_MAX][CONF_SENTENCE];
	struct conf conf;

	for (size_t i = 0; i < NITEMS(rows); i++) {
		bool said;

		conf_defaults(&conf);
		strcpy(conf.listen.client, rows[i].client);
		strcpy(conf.security.password, rows[i].password);
		text[0][0] = '\0';
		said = conf_exposed(&conf, text) == 1;
		ok(said == rows[i].exposed &&
			said == (strstr(text[0], rows[i].client) != NULL &&
				    strstr(text[0], "[security] password")),
		    "%s, password \"%s\": %s", rows[i].client, rows[i].password,
		    said ? text[0] : "fine");
	}
	strcpy(conf.listen.http, "0.0.0.0:7381");
	ok(conf_exposed(&conf, text) == 1 &&
		strncmp(text[0], "[listen] http is 0.0.0.0:7381", 29) == 0,
	    "HTTP never asks for a password: %s", text[0]);
	conf.security.password[0] = '\0';
	is_u64(conf_exposed(&conf, text), 2, "both are told");
}

int
main(void)
{
	for (size_t i = 0; i < NITEMS(durations); i++)
		check_number(
		    &durations[i], conf_duration_parse, conf_duration_format);
	for (size_t i = 0; i < NITEMS(sizes); i++)
		check_number(&sizes[i], conf_size_parse, conf_size_format);
	for (size_t i = 0; i < NITEMS(addrs); i++)
		check_addr(&addrs[i]);
	check_long_addr();
	check_resolve();
	check_exposed();
	return tap_done();
}
