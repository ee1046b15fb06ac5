/*
 * "host:port" as text and as socket addresses.
 */
#include "conf/conf.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#define HOST_CHARS                                                             \
	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-"
#define HOST_LEN_MAX 253 /* bytes, RFC 1035 */
#define EXPOSED_LOOK 8 /* addresses of a name */

/* "[addr]:port": *colon is the one before the port. */
static const char *
split_v6(const char *text, char *host, size_t host_size, const char **colon)
{
	unsigned char raw[sizeof(struct in6_addr)];
	const char *end = strchr(text, ']');
	char plain[INET6_ADDRSTRLEN];
	size_t len;

	if (end == NULL || end[1] != ':')
		return "an IPv6 address is written [addr]:port";
	len = (size_t)(end - text) - 1;
	if (len >= host_size || len == 0)
		return "not an IPv6 address";
	memcpy(host, text + 1, len);
	host[len] = '\0';
	/* A scope (%eth0) is for getaddrinfo() to judge. */
	len = strcspn(host, "%");
	if (len >= sizeof(plain))
		return "not an IPv6 address";
	memcpy(plain, host, len);
	plain[len] = '\0';
	if (inet_pton(AF_INET6, plain, raw) != 1)
		return "not an IPv6 address";
	*colon = end + 1;
	return NULL;
}

/* "name:port" or "1.2.3.4:port". */
static const char *
split_name(const char *text, char *host, size_t host_size, const char **colon)
{
	unsigned char raw[sizeof(struct in_addr)];
	size_t len = strcspn(text, ":");

	if (text[len] == '\0')
		return "must be host:port, the port is missing";
	if (strchr(text + len + 1, ':') != NULL)
		return "an IPv6 address is written [addr]:port";
	if (len == 0)
		return "must be host:port, the host is missing";
	if (len > HOST_LEN_MAX || len >= host_size)
		return "the host name is too long";
	memcpy(host, text, len);
	host[len] = '\0';
	if (strspn(host, HOST_CHARS) != len || host[0] == '-' || host[0] == '.')
		return "not a host name";
	if (strspn(host, "0123456789.") == len &&
	    inet_pton(AF_INET, host, raw) != 1)
		return "not an IPv4 address";
	*colon = text + len;
	return NULL;
}

static const char *
split_port(const char *text, uint16_t *port)
{
	size_t len = strspn(text, "0123456789");
	uint32_t value = 0;

	if (len == 0 || text[len] != '\0')
		return "the port must be a number";
	for (; *text != '\0'; text++) {
		value = value * 10 + (uint32_t)(*text - '0');
		if (value > UINT16_MAX)
			return "the port must be 0 to 65535";
	}
	*port = (uint16_t)value;
	return NULL;
}

int
conf_addr_split(const char *text, char *host, size_t host_size, uint16_t *port,
    const char **why)
{
	const char *bad, *colon = NULL;

	if (text[0] == '[')
		bad = split_v6(text, host, host_size, &colon);
	else
		bad = split_name(text, host, host_size, &colon);
	if (bad == NULL)
		bad = split_port(colon + 1, port);
	if (why != NULL)
		*why = bad;
	return bad == NULL ? 0 : -EINVAL;
}

static int
gai_errno(int code)
{
	switch (code) {
	case EAI_AGAIN:
		return -EAGAIN;
	case EAI_MEMORY:
		return -ENOMEM;
	case EAI_SYSTEM:
		return errno != 0 ? -errno : -EIO;
	default:
		return -EADDRNOTAVAIL;
	}
}

static int
addr_list(
    const struct addrinfo *info, struct conf_addr *list, uint32_t list_max)
{
	uint32_t count = 0;

	for (; info != NULL && count < list_max; info = info->ai_next) {
		if (info->ai_addrlen > sizeof(list->addr))
			continue;
		memset(&list[count], 0, sizeof(list[count]));
		memcpy(&list[count].addr, info->ai_addr, info->ai_addrlen);
		list[count++].addr_len = info->ai_addrlen;
	}
	return count > 0 ? (int)count : -EADDRNOTAVAIL;
}

int
conf_addr_resolve(const char *text, struct conf_addr *list, uint32_t list_max,
    const char **why)
{
	const struct addrinfo hints = { .ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICSERV };
	struct addrinfo *info = NULL;
	char host[CONF_ADDR_SIZE], service[8];
	uint16_t port;
	int rc;

	if ((rc = conf_addr_split(text, host, sizeof(host), &port, why)) != 0)
		return rc;
	snprintf(service, sizeof(service), "%u", (unsigned int)port);
	if ((rc = getaddrinfo(host, service, &hints, &info)) != 0) {
		int saved = gai_errno(rc);

		if (why != NULL)
			*why = gai_strerror(rc);
		return saved;
	}
	rc = addr_list(info, list, list_max);
	freeaddrinfo(info);
	return rc;
}

static bool
addr_is_loopback(const struct conf_addr *a)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)&a->addr;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&a->addr;

	if (a->addr.ss_family == AF_INET)
		return ntohl(v4->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
	return a->addr.ss_family == AF_INET6 &&
	       IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
}

/* The host alone, if it is a number; AF_UNSPEC if it is a name, or nothing. */
static int
numeric_host(const char *text, struct in_addr *v4, struct in6_addr *v6)
{
	char host[CONF_ADDR_SIZE];
	uint16_t port;

	if (conf_addr_split(text, host, sizeof(host), &port, NULL) != 0)
		return AF_UNSPEC;
	if (inet_pton(AF_INET, host, v4) == 1)
		return AF_INET;
	return inet_pton(AF_INET6, host, v6) == 1 ? AF_INET6 : AF_UNSPEC;
}

bool
conf_addr_is_any(const char *text)
{
	struct in6_addr v6;
	struct in_addr v4;
	int family = numeric_host(text, &v4, &v6);

	if (family == AF_INET)
		return v4.s_addr == htonl(INADDR_ANY);
	return family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&v6);
}

bool
conf_addr_is_local(const char *text)
{
	struct in6_addr v6;
	struct in_addr v4;
	int family = numeric_host(text, &v4, &v6);

	if (family == AF_INET)
		return ntohl(v4.s_addr) >> 24 == IN_LOOPBACKNET;
	if (family == AF_INET6)
		return IN6_IS_ADDR_LOOPBACK(&v6);
	return strncasecmp(text, "localhost:", 10) == 0;
}

/* A name that nobody knows now may stand for anything later. */
static bool
is_for_others(const char *addr)
{
	struct conf_addr list[EXPOSED_LOOK];
	int count = conf_addr_resolve(addr, list, EXPOSED_LOOK, NULL), i;

	for (i = 0; i < count && addr_is_loopback(&list[i]); i++)
		;
	return count <= 0 || i < count;
}

unsigned
conf_exposed(const struct conf *c, char text[CONF_EXPOSED_MAX][CONF_SENTENCE])
{
	unsigned n = 0;

	if (c->security.password[0] == '\0' && is_for_others(c->listen.client))
		snprintf(text[n++], CONF_SENTENCE,
		    "[listen] client is %.40s and [security] password is "
		    "empty: "
		    "who can reach it can read and change everything: set a "
		    "password, or listen on 127.0.0.1",
		    c->listen.client);
	if (is_for_others(c->listen.http))
		snprintf(text[n++], CONF_SENTENCE,
		    "[listen] http is %.40s: who can reach it can stop the "
		    "node "
		    "(POST /drain): keep others out, or listen on 127.0.0.1",
		    c->listen.http);
	if (c->peer_count > 0 && c->security.group_key_file[0] == '\0' &&
	    is_for_others(c->listen.peer))
		snprintf(text[n++], CONF_SENTENCE,
		    "[security] insecure: who can reach [listen] peer, %.40s, "
		    "can read, change and destroy everything: set "
		    "group_key_file, the same on all members",
		    c->listen.peer);
	return n;
}
