/*
 * One value: text to field, field to text, by the kind of its row.
 */
#include "conf/conf_schema.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#define NAME_CHARS                                                             \
	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"

static void *
field_of(struct conf *conf, const struct conf_key *key)
{
	return (char *)conf + key->offset;
}

static const void *
field_in(const struct conf *conf, const struct conf_key *key)
{
	return (const char *)conf + key->offset;
}

const char *
conf_value_text(const struct conf *conf, const struct conf_key *key)
{
	return field_in(conf, key);
}

static uint64_t
number_get(const struct conf *conf, const struct conf_key *key)
{
	uint64_t wide;
	uint32_t narrow;

	if (key->size == sizeof(wide)) {
		memcpy(&wide, field_in(conf, key), sizeof(wide));
		return wide;
	}
	memcpy(&narrow, field_in(conf, key), sizeof(narrow));
	return narrow;
}

static void
number_set(struct conf *conf, const struct conf_key *key, uint64_t value)
{
	uint32_t narrow = (uint32_t)value;

	if (key->size == sizeof(value))
		memcpy(field_of(conf, key), &value, sizeof(value));
	else
		memcpy(field_of(conf, key), &narrow, sizeof(narrow));
}

__attribute__((format(printf, 3, 4))) static int
refuse(char *why, size_t why_size, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, why_size, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* Zero-filled to the end, so that two structs compare and print alike. */
static int
text_set(struct conf *conf, const struct conf_key *key, const char *text,
    size_t len, char *why, size_t why_size)
{
	char *field = field_of(conf, key);

	if (len >= key->size)
		return refuse(why, why_size, "longer than %" PRIu32 " bytes",
		    key->size - 1);
	memcpy(field, text, len);
	memset(field + len, 0, key->size - len);
	return 0;
}

static int
path_set(struct conf *conf, const struct conf_key *key, const char *text,
    char *why, size_t why_size)
{
	size_t len = strlen(text);

	if (text[0] != '/')
		return refuse(why, why_size,
		    "must be an absolute path%s, "
		    "not '%.40s'",
		    key->optional ? " or none" : "", text);
	while (len > 1 && text[len - 1] == '/')
		len--;
	return text_set(conf, key, text, len, why, why_size);
}

static int
log_set(struct conf *conf, const struct conf_key *key, const char *text,
    char *why, size_t why_size)
{
	if (strcmp(text, "stderr") != 0 && strcmp(text, "syslog") != 0 &&
	    text[0] != '/')
		return refuse(why, why_size,
		    "must be stderr, syslog or an "
		    "absolute path, not '%.40s'",
		    text);
	return text_set(conf, key, text, strlen(text), why, why_size);
}

bool
conf_name_is_valid(const char *name)
{
	size_t len = strlen(name);

	return len > 0 && len < CONF_NAME_SIZE &&
	       strspn(name, NAME_CHARS) == len;
}

static int
name_set(struct conf *conf, const struct conf_key *key, const char *text,
    char *why, size_t why_size)
{
	size_t len = strlen(text);

	if (len == 0)
		return refuse(why, why_size, "must not be empty");
	if (strspn(text, NAME_CHARS) != len)
		return refuse(why, why_size,
		    "may only have letters, digits "
		    "and '_', '.', '-', unlike '%.40s'",
		    text);
	return text_set(conf, key, text, len, why, why_size);
}

static int
password_set(struct conf *conf, const struct conf_key *key, const char *text,
    char *why, size_t why_size)
{
	/* Not shown in the message: it may end up in a log. */
	for (const char *p = text; *p != '\0'; p++)
		if ((unsigned char)*p <= ' ' || *p == 0x7f)
			return refuse(why, why_size,
			    "must not have blanks or "
			    "control characters");
	return text_set(conf, key, text, strlen(text), why, why_size);
}

static int
addr_set(struct conf *conf, const struct conf_key *key, const char *text,
    char *why, size_t why_size)
{
	char host[CONF_ADDR_SIZE];
	const char *bad;
	uint16_t port;

	if (conf_addr_split(text, host, sizeof(host), &port, &bad) != 0)
		return refuse(why, why_size, "'%.60s': %s%s", text, bad,
		    key->optional ? " (or none)" : "");
	return text_set(conf, key, text, strlen(text), why, why_size);
}

static int
enum_set(struct conf *conf, const struct conf_key *key, const char *text,
    char *why, size_t why_size)
{
	char domain[CONF_WHY_SIZE / 2];

	for (uint32_t i = 0; key->words[i] != NULL; i++) {
		if (strcmp(key->words[i], text) != 0)
			continue;
		number_set(conf, key, i);
		return 0;
	}
	conf_key_domain(key, domain, sizeof(domain));
	return refuse(why, why_size, "must be %s, not '%.40s'", domain, text);
}

static int
number_parse(const struct conf_key *key, const char *text, uint64_t *value)
{
	uint64_t bytes;
	int rc;

	if (key->kind == CONF_KIND_DURATION)
		return conf_duration_parse(text, value);
	/* Plain numbers are sizes without a unit. */
	if (key->kind != CONF_KIND_SIZE && text[strspn(text, "0123456789")])
		return -EINVAL;
	if ((rc = conf_size_parse(text, &bytes)) == 0)
		*value = bytes;
	return rc;
}

static int
number_syntax(
    const struct conf_key *key, const char *text, char *why, size_t why_size)
{
	const char *none = key->optional ? " or none" : "";

	if (key->kind == CONF_KIND_DURATION)
		return refuse(why, why_size,
		    "must be a number with unit ms, s,"
		    " m or h%s, not '%.40s'",
		    none, text);
	if (key->kind == CONF_KIND_SIZE)
		return refuse(why, why_size,
		    "must be a number of bytes or with"
		    " unit K, M, G or T%s, not '%.40s'",
		    none, text);
	return refuse(
	    why, why_size, "must be a whole number%s, not '%.40s'", none, text);
}

static int
number_check_set(struct conf *conf, const struct conf_key *key,
    const char *text, char *why, size_t why_size)
{
	char domain[CONF_WHY_SIZE / 2];
	uint64_t value = 0;
	int rc = number_parse(key, text, &value);

	if (rc == -EINVAL)
		return number_syntax(key, text, why, why_size);
	if (rc != 0 || value < key->min || value > key->max ||
	    (key->multiple != 0 && value % key->multiple != 0) ||
	    (key->power_of_two && (value & (value - 1)) != 0)) {
		conf_key_domain(key, domain, sizeof(domain));
		return refuse(
		    why, why_size, "%.40s is out of bounds: %s", text, domain);
	}
	number_set(conf, key, value);
	return 0;
}

static void
none_set(struct conf *conf, const struct conf_key *key)
{
	memset(field_of(conf, key), key->kind == CONF_KIND_CPU ? 0xff : 0,
	    key->size);
}

static bool
is_none(const struct conf_key *key, const char *text)
{
	uint64_t ms;

	if (!key->optional)
		return false;
	if (text[0] == '\0')
		return true;
	if (key->kind == CONF_KIND_PASSWORD) /* `none` could be one */
		return false;
	if (key->kind == CONF_KIND_DURATION &&
	    (strcmp(text, "0") == 0 ||
		(conf_duration_parse(text, &ms) == 0 && ms == 0)))
		return true;
	return strcmp(text, "none") == 0;
}

int
conf_value_set(struct conf *conf, const struct conf_key *key, const char *text,
    char *why, size_t why_size)
{
	if (is_none(key, text)) {
		none_set(conf, key);
		return 0;
	}
	switch (key->kind) {
	case CONF_KIND_NAME:
	case CONF_KIND_USER:
		return name_set(conf, key, text, why, why_size);
	case CONF_KIND_PATH:
		return path_set(conf, key, text, why, why_size);
	case CONF_KIND_LOG:
		return log_set(conf, key, text, why, why_size);
	case CONF_KIND_PASSWORD:
		return password_set(conf, key, text, why, why_size);
	case CONF_KIND_ADDR:
		return addr_set(conf, key, text, why, why_size);
	case CONF_KIND_ENUM:
		return enum_set(conf, key, text, why, why_size);
	case CONF_KIND_U32:
	case CONF_KIND_CPU:
	case CONF_KIND_SIZE:
	case CONF_KIND_DURATION:
		return number_check_set(conf, key, text, why, why_size);
	case CONF_KIND_PEERS: /* conf_key_of_peer() has the one */
		break;
	}
	return refuse(why, why_size, "has no known kind");
}

bool
conf_value_equal(
    const struct conf *a, const struct conf *b, const struct conf_key *key)
{
	return memcmp(field_in(a, key), field_in(b, key), key->size) == 0;
}

void
conf_value_copy(
    struct conf *to, const struct conf *from, const struct conf_key *key)
{
	memcpy(field_of(to, key), field_in(from, key), key->size);
}

static void
text_value(const struct conf *conf, const struct conf_key *key, char *buf,
    size_t buf_size)
{
	const char *text = conf_value_text(conf, key);

	if (text[0] == '\0')
		text = key->optional && !conf_key_secret(key) ? "none" : "";
	else if (conf_key_secret(key))
		text = "(hidden)";
	strlcpy(buf, text, buf_size);
}

/* "n2 at 10.0.0.2:7380, n3 at …"; as much of it as there is room for. */
static void
peers_value(const struct conf *conf, char *buf, size_t buf_size)
{
	strlcpy(buf, conf->peer_count == 0 ? "none" : "", buf_size);
	for (uint32_t i = 0; i < conf->peer_count; i++) {
		strlcat(buf, i > 0 ? ", " : "", buf_size);
		strlcat(buf, conf->peer[i].name, buf_size);
		strlcat(buf, " at ", buf_size);
		strlcat(buf, conf->peer[i].address, buf_size);
	}
}

void
conf_key_value(const struct conf *conf, const struct conf_key *key, char *buf,
    size_t buf_size)
{
	uint64_t value;

	switch (key->kind) {
	case CONF_KIND_NAME:
	case CONF_KIND_USER:
	case CONF_KIND_PATH:
	case CONF_KIND_LOG:
	case CONF_KIND_PASSWORD:
	case CONF_KIND_ADDR:
		text_value(conf, key, buf, buf_size);
		return;
	case CONF_KIND_ENUM:
		strlcpy(buf, key->words[number_get(conf, key)], buf_size);
		return;
	case CONF_KIND_PEERS:
		peers_value(conf, buf, buf_size);
		return;
	case CONF_KIND_U32:
	case CONF_KIND_CPU:
	case CONF_KIND_SIZE:
	case CONF_KIND_DURATION:
		break;
	}
	value = number_get(conf, key);
	if (key->optional &&
	    value == (key->kind == CONF_KIND_CPU ? UINT32_MAX : 0))
		strlcpy(buf, "none", buf_size);
	else if (key->kind == CONF_KIND_DURATION)
		conf_duration_format(value, buf, buf_size);
	else if (key->kind == CONF_KIND_SIZE)
		conf_size_format(value, buf, buf_size);
	else
		snprintf(buf, buf_size, "%" PRIu64, value);
}

static void
words_list(const struct conf_key *key, char *buf, size_t buf_size)
{
	buf[0] = '\0';
	for (uint32_t i = 0; key->words[i] != NULL; i++) {
		if (i > 0)
			strlcat(buf, key->words[i + 1] == NULL ? " or " : ", ",
			    buf_size);
		strlcat(buf, key->words[i], buf_size);
	}
}

static void
bounds_text(const struct conf_key *key, char *buf, size_t buf_size)
{
	char low[24], high[24], multiple[24];

	if (key->kind == CONF_KIND_DURATION) {
		conf_duration_format(key->min, low, sizeof(low));
		conf_duration_format(key->max, high, sizeof(high));
	} else if (key->kind == CONF_KIND_SIZE) {
		conf_size_format(key->min, low, sizeof(low));
		conf_size_format(key->max, high, sizeof(high));
	} else {
		snprintf(low, sizeof(low), "%" PRIu64, key->min);
		snprintf(high, sizeof(high), "%" PRIu64, key->max);
	}
	snprintf(buf, buf_size, "%s to %s", low, high);
	if (key->multiple != 0) {
		conf_size_format(key->multiple, multiple, sizeof(multiple));
		strlcat(buf, ", a multiple of ", buf_size);
		strlcat(buf, multiple, buf_size);
	}
	if (key->power_of_two)
		strlcat(buf, ", a power of two", buf_size);
}

void
conf_key_domain(const struct conf_key *key, char *buf, size_t buf_size)
{
	static const char *const texts[] = {
		[CONF_KIND_NAME] = "letters, digits, '_', '.' and '-'",
		[CONF_KIND_PATH] = "an absolute path",
		[CONF_KIND_LOG] = "stderr, syslog or an absolute path",
		[CONF_KIND_USER] = "a login name",
		[CONF_KIND_PASSWORD] = "text without blanks, or empty",
		[CONF_KIND_ADDR] = "host:port or [IPv6]:port",
		[CONF_KIND_PEERS] = "host:port or [IPv6]:port; required",
	};

	if (key->kind == CONF_KIND_ENUM)
		words_list(key, buf, buf_size);
	else if (key->kind < sizeof(texts) / sizeof(texts[0]) &&
		 texts[key->kind] != NULL)
		strlcpy(buf, texts[key->kind], buf_size);
	else
		bounds_text(key, buf, buf_size);
	if (key->kind == CONF_KIND_NAME)
		snprintf(buf + strlen(buf), buf_size - strlen(buf),
		    ", 1 to %" PRIu32 " bytes", key->size - 1);
	if (key->optional && !conf_key_secret(key) &&
	    key->kind != CONF_KIND_PEERS)
		strlcat(buf, ", or none", buf_size);
}
