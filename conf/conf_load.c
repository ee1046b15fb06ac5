/*
 * From a file to a checked struct conf. inih splits lines; what it would drop
 * without a word is caught before it sees the line: long lines (it cuts them),
 * continuation lines (it merges them), section headers (it cuts the name,
 * ignores what follows the bracket, and tells nobody of an empty section),
 * "key: value", and lines without '=' (it reports the first only).
 */
#include "conf/conf_schema.h"

#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PEER_SECTION "peer" /* [peer NAME] */
#define SECTION_SIZE (sizeof(PEER_SECTION) + CONF_NAME_SIZE)
#define BLANKS       " \t\r\n\v\f"

enum section_state {
	SECTION_NONE, /* before the first header */
	SECTION_KNOWN,
	SECTION_BAD, /* already reported: its keys are passed over */
};

struct loader {
	struct conf *conf;
	struct conf_errors *errs;
	const char *text; /* what is left of the file */
	size_t text_len;
	struct conf_where where;
	uint32_t line;
	enum section_state state;
	char section[SECTION_SIZE];
	bool in_peer; /* the newest of conf->peer[] */
	bool run_dir_bad;
	bool want_key; /* inih was given a line that must be key = value */
};

__attribute__((format(printf, 2, 3))) static void
complain(struct loader *ld, const char *fmt, ...)
{
	char why[CONF_WHY_SIZE * 2];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	conf_errors_add(ld->errs, ld->where.name, ld->line, "%s", why);
}

/* Index of the section's first key: where its line is kept. */
static uint32_t
section_index(const char *section)
{
	uint32_t i = 0;

	while (i < conf_key_count() &&
	       strcmp(conf_key_at(i)->section, section) != 0)
		i++;
	return i;
}

static void
section_unknown(struct loader *ld)
{
	const char *near = conf_section_nearest(ld->section);

	if (near != NULL)
		complain(ld, "unknown section [%s], did you mean [%s]?",
		    ld->section, near);
	else
		complain(ld, "unknown section [%s]", ld->section);
}

/* NAME of [peer NAME]; NULL if the section is another. */
static const char *
peer_name(const char *section)
{
	const size_t len = strlen(PEER_SECTION);

	if (strncmp(section, PEER_SECTION, len) != 0 ||
	    (section[len] != '\0' && strchr(BLANKS, section[len]) == NULL))
		return NULL;
	return section + len + strspn(section + len, BLANKS);
}

/* A section for one more member. */
static void
peer_begin(struct loader *ld, const char *name)
{
	struct conf *conf = ld->conf;
	uint32_t i = conf->peer_count;

	for (uint32_t k = 0; k < i; k++)
		if (strcmp(conf->peer[k].name, name) == 0) {
			complain(ld,
			    "section [peer %s] was already begun at line %u",
			    name, conf->peer_line[k]);
			return;
		}
	if (name[0] == '\0') {
		complain(ld, "section [peer] needs the name of that member: "
			     "[peer NAME]");
	} else if (!conf_name_is_valid(name)) {
		complain(ld,
		    "section [peer %.80s]: a name may only have letters, "
		    "digits and '_', '.', '-'",
		    name);
	} else if (i == CONF_PEERS_MAX) {
		complain(ld,
		    "section [peer %s]: a group has at most %d members, this "
		    "node and %d others",
		    name, CONF_PEERS_MAX + 1, CONF_PEERS_MAX);
	} else {
		strlcpy(conf->peer[i].name, name, sizeof(conf->peer[i].name));
		conf->peer_line[i] = ld->line;
		conf->peer_count++;
		/* By this its keys are found in the table. */
		strlcpy(ld->section, PEER_SECTION, sizeof(ld->section));
		ld->state = SECTION_KNOWN;
		ld->in_peer = true;
	}
}

static void
section_begin(struct loader *ld)
{
	const char *peer = peer_name(ld->section);
	uint32_t *line;

	ld->state = SECTION_BAD;
	ld->in_peer = false;
	if (peer != NULL) {
		peer_begin(ld, peer);
		return;
	}
	if (!conf_section_known(ld->section)) {
		section_unknown(ld);
		return;
	}
	ld->state = SECTION_KNOWN;
	line = &ld->where.section_line[section_index(ld->section)];
	if (*line != 0)
		complain(ld, "section [%s] was already begun at line %u",
		    ld->section, *line);
	else
		*line = ld->line;
}

/* A line that starts with '['. */
static void
header_line(struct loader *ld, const char *line)
{
	size_t len = strcspn(line + 1, "]");
	const char *rest = line + 1 + len;

	ld->state = SECTION_BAD;
	if (*rest != ']') {
		complain(ld, "section has no ']'");
		return;
	}
	rest++;
	rest += strspn(rest, BLANKS);
	if (*rest != '\0' && *rest != ';' && *rest != '#') {
		complain(ld, "unexpected text after the section's ']'");
		return;
	}
	if (len >= sizeof(ld->section)) {
		complain(ld, "section name is longer than %zu bytes",
		    sizeof(ld->section) - 1);
		return;
	}
	memcpy(ld->section, line + 1, len);
	ld->section[len] = '\0';
	section_begin(ld);
}

/* Bytes that no text file has; they would end or garble the value. */
static bool
line_is_text(struct loader *ld, const char *line, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)line[i];

		if ((c >= ' ' && c != 0x7f) || strchr("\t\r\v\f", c) != NULL)
			if (c != '\0')
				continue;
		complain(ld, "control character 0x%02x", c);
		return false;
	}
	return true;
}

/*
 * "key = ;text": inih would take it for an empty value, and an empty password
 * is none at all. The text is not shown: it may be one.
 */
static bool
value_is_comment(struct loader *ld, const char *key, const char *equals)
{
	size_t len = strcspn(key, BLANKS "=");

	if (*equals != '=' || equals[1 + strspn(equals + 1, BLANKS)] != ';')
		return false;
	if (ld->state != SECTION_BAD)
		complain(ld,
		    "%.*s: a value cannot begin with ';', which starts a "
		    "comment after a blank; to leave it empty, put nothing "
		    "behind the '='",
		    (int)len, key);
	return true;
}

/* Should inih get this line (with its newline cut off)? */
static bool
line_check(struct loader *ld, const char *line, size_t len, size_t room)
{
	char copy[CONF_LINE_MAX + 1];
	size_t at, key;

	if (len > CONF_LINE_MAX || len >= room) {
		complain(ld, "line is longer than %d bytes", CONF_LINE_MAX);
		return false;
	}
	if (!line_is_text(ld, line, len))
		return false;
	memcpy(copy, line, len);
	copy[len] = '\0';
	at = strspn(copy, BLANKS);
	if (copy[at] == '\0' || copy[at] == ';' || copy[at] == '#')
		return false;
	if (copy[at] == '[') {
		header_line(ld, copy + at);
		return false;
	}
	key = at;
	at += strcspn(copy + at, "=:");
	if (copy[at] == ':') {
		complain(ld, "must be 'key = value', with '=' before any ':'");
		return false;
	}
	return !value_is_comment(ld, copy + key, copy + at);
}

/*
 * The next line of the text: *line and *len, without newline. A byte order
 * mark at the very start is passed over. False at the end.
 */
static bool
line_next(struct loader *ld, const char **line, size_t *len)
{
	const char *end;

	if (ld->line == 0 && ld->text_len >= 3 &&
	    memcmp(ld->text, "\xef\xbb\xbf", 3) == 0) {
		ld->text += 3;
		ld->text_len -= 3;
	}
	if (ld->text_len == 0)
		return false;
	end = memchr(ld->text, '\n', ld->text_len);
	*line = ld->text;
	*len = end != NULL ? (size_t)(end - ld->text) : ld->text_len;
	ld->text += *len + (end != NULL);
	ld->text_len -= *len + (end != NULL);
	ld->line++;
	return true;
}

/* The line given last had no '=': inih did not call on_key(). */
static void
line_settle(struct loader *ld)
{
	if (ld->want_key && ld->state != SECTION_BAD)
		complain(ld, "must be 'key = value', the '=' is missing");
	ld->want_key = false;
}

/* inih's reader, as fgets(): hands over the next line worth its while. */
static char *
on_read(char *buf, int buf_size, void *arg)
{
	struct loader *ld = arg;
	const char *line;
	size_t len;

	line_settle(ld);
	while (line_next(ld, &line, &len)) {
		if (!line_check(ld, line, len, (size_t)buf_size))
			continue;
		memcpy(buf, line, len);
		buf[len] = '\0';
		ld->want_key = true;
		return buf;
	}
	return NULL;
}

static void
key_unknown(struct loader *ld, const char *name)
{
	const struct conf_key *near = conf_key_nearest(ld->section, name);
	const char *other = conf_key_elsewhere(name);

	if (name[0] == '\0')
		complain(ld, "there is no key before the '='");
	else if (strcmp(name, "election_timeout") == 0)
		complain(ld,
		    "unknown key 'election_timeout' in [%s]: it is gone: a "
		    "member stands when it has heard of no master for 'lease': "
		    "remove it, and set 'lease' and 'heartbeat' in [election] "
		    "if their defaults do not do",
		    ld->section);
	else if (other != NULL)
		complain(ld, "unknown key '%s' in [%s], it belongs to [%s]",
		    name, ld->section, other);
	else if (near != NULL)
		complain(ld, "unknown key '%.64s' in [%s], did you mean '%s'?",
		    name, ld->section, near->name);
	else
		complain(ld, "unknown key '%.64s' in [%s]", name, ld->section);
}

static void
key_set(struct loader *ld, const char *name, const char *value)
{
	const struct conf_key *key;
	struct conf_key own;
	char why[CONF_WHY_SIZE];
	uint32_t *line;

	if ((key = conf_key_find(ld->section, name)) == NULL) {
		key_unknown(ld, name);
		return;
	}
	line = &ld->conf->line[key - conf_key_at(0)];
	if (ld->in_peer) {
		*line = ld->line;
		line = &ld->conf->peer_address_line[ld->conf->peer_count - 1];
		conf_key_of_peer(key, ld->conf->peer_count - 1, &own);
		key = &own;
	}
	if (*line != 0) {
		complain(ld, "'%s' was already set at line %u", name, *line);
		ld->run_dir_bad |= strcmp(name, "run_dir") == 0;
		return;
	}
	*line = ld->line;
	/* inih takes '#' for a comment at the start of a line only; as part of
	 * a path or name it is not meant. */
	if (strstr(value, " #") != NULL || strstr(value, "\t#") != NULL)
		complain(
		    ld, "%s: a comment after a value starts with ' ;'", name);
	else if (conf_value_set(ld->conf, key, value, why, sizeof(why)) != 0)
		complain(ld, "%s: %s", name, why);
	else
		return;
	ld->run_dir_bad |= strcmp(name, "run_dir") == 0;
}

/* inih's handler; its idea of the section is not needed. Never stops it. */
static int
on_key(void *arg, const char *section, const char *name, const char *value)
{
	struct loader *ld = arg;

	(void)section;
	ld->want_key = false;
	if (ld->state == SECTION_NONE)
		complain(ld, "'%.64s' stands before any [section]", name);
	else if (ld->state == SECTION_KNOWN)
		key_set(ld, name, value);
	return 1;
}

/* The library's compiled-in buffer has 200 bytes; it takes ours from here. */
static void
inih_setup(void)
{
	ini_use_stack = false;
	ini_allow_realloc = false;
	ini_max_line = CONF_LINE_MAX + 3;
	ini_initial_alloc = CONF_LINE_MAX + 3;
	ini_allow_multiline = false;
	ini_allow_no_value = false;
	ini_allow_inline_comments = true;
	ini_stop_on_first_error = false;
}

/*
 * run_dir, if not NULL: what the text says of it, also of a text that is
 * refused for other reasons; "" if that cannot be told.
 */
static int
load_text(struct conf *conf, const char *name, const char *text,
    size_t text_len, struct conf_errors *errs, char *run_dir)
{
	uint32_t errors_before = errs->count + errs->dropped;
	struct loader ld = { .errs = errs, .text = text, .text_len = text_len };
	struct conf fresh;
	int rc = -EINVAL;

	if (run_dir != NULL)
		run_dir[0] = '\0';

	if (text_len > CONF_FILE_MAX) {
		conf_errors_add(
		    errs, name, 0, "larger than %d bytes", CONF_FILE_MAX);
		return -EINVAL;
	}
	conf_defaults(&fresh);
	ld.conf = &fresh;
	ld.where.name = name;
	inih_setup();
	if (ini_parse_stream(on_read, &ld, on_key, &ld) == -2) {
		conf_errors_add(errs, name, 0, "out of memory");
		rc = -ENOMEM;
		goto out;
	}
	ld.where.last_line = ld.line;
	conf_check(&fresh, &ld.where, errs);
	if (errs->count + errs->dropped == errors_before)
		rc = 0;
	/* Of a refused file a default is no answer: its key may be misspelt. */
	if (run_dir != NULL && !ld.run_dir_bad &&
	    (rc == 0 ||
		conf_line_of(&fresh, offsetof(struct conf, node.run_dir)) != 0))
		strlcpy(run_dir, fresh.node.run_dir, CONF_RUN_DIR_SIZE);
	if (rc == 0)
		*conf = fresh;
out:
	conf_free(&fresh);
	return rc;
}

int
conf_load_string(struct conf *conf, const char *name, const char *text,
    size_t text_len, struct conf_errors *errs)
{
	return load_text(conf, name, text, text_len, errs, NULL);
}

/* All of fd into buf (CONF_FILE_MAX + 1 bytes): length or -errno. */
static ssize_t
read_all(int fd, char *buf)
{
	size_t have = 0;
	ssize_t n;

	while (have <= CONF_FILE_MAX) {
		n = read(fd, buf + have, CONF_FILE_MAX + 1 - have);
		if (n == 0)
			break;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		have += (size_t)n;
	}
	return (ssize_t)have;
}

static int
load_file(struct conf *conf, const char *path, struct conf_errors *errs,
    char *run_dir)
{
	char *buf = NULL;
	ssize_t len;
	int fd, rc;

	if ((fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY)) < 0) {
		rc = -errno;
		goto out;
	}
	if ((buf = malloc(CONF_FILE_MAX + 1)) == NULL) {
		rc = -ENOMEM;
		goto out;
	}
	if ((len = read_all(fd, buf)) < 0) {
		rc = (int)len;
		goto out;
	}
	rc = load_text(conf, path, buf, (size_t)len, errs, run_dir);
	explicit_bzero(buf, (size_t)len);
	goto done;
out:
	conf_errors_add(errs, path, 0, "%s", strerror(-rc));
done:
	free(buf);
	if (fd >= 0)
		close(fd);
	return rc;
}

int
conf_load(struct conf *conf, const char *path, struct conf_errors *errs)
{
	return load_file(conf, path, errs, NULL);
}

int
conf_find_run_dir(
    const char *path, char run_dir[CONF_RUN_DIR_SIZE], struct conf_errors *errs)
{
	struct conf conf = { 0 };
	int rc;

	run_dir[0] = '\0';
	rc = load_file(&conf, path, errs, run_dir);
	conf_free(&conf);
	return rc;
}

void
conf_defaults(struct conf *conf)
{
	char why[CONF_WHY_SIZE];

	memset(conf, 0, sizeof(*conf));
	for (uint32_t i = 0; i < conf_key_count(); i++) {
		const struct conf_key *key = conf_key_at(i);

		/* A test loads every default; none can fail here. */
		if (key->def != NULL)
			(void)conf_value_set(
			    conf, key, key->def, why, sizeof(why));
	}
}

void
conf_free(struct conf *conf)
{
	explicit_bzero(conf, sizeof(*conf));
}
