/*
 * The table and its values as text for people: the effective configuration,
 * the sample file, and the key list of the man page.
 */
#include "conf/conf_schema.h"

#include <inttypes.h>
#include <string.h>

#define COMMENT_COLUMN 40 /* where `; default` starts, if there is room */
#define TEXT_WIDTH     76 /* columns of help in the sample and the man page */

/* Does the row at index open a section? */
static bool
section_opens(uint32_t index)
{
	return index == 0 || strcmp(conf_key_at(index)->section,
				 conf_key_at(index - 1)->section) != 0;
}

/* Keys that nobody set may follow others, or what memory there is. */
static bool
is_default(const struct conf *conf, const struct conf_key *key)
{
	struct conf plain;
	bool equal;

	conf_defaults(&plain);
	equal = conf_value_equal(conf, &plain, key);
	conf_free(&plain);
	return equal;
}

static void
print_key(const struct conf *conf, uint32_t index, FILE *out)
{
	const struct conf_key *key = conf_key_at(index);
	bool derived = conf_key_derived(conf, key);
	char value[CONF_VALUE_SIZE];
	int width;

	if (conf_key_secret(key) && conf_value_text(conf, key)[0] != '\0') {
		fprintf(out, "; %s is set at line %" PRIu32 ", not shown\n",
		    key->name, conf->line[index]);
		return;
	}
	conf_key_value(conf, key, value, sizeof(value));
	/* A comment alone is no value. */
	if (value[0] == '\0') {
		fprintf(out, "; %s is empty\n", key->name);
		return;
	}
	/* Set beside startup_probe, a budget would not load again. */
	width =
	    fprintf(out, "%s%s = %s", derived ? "; " : "", key->name, value);
	fprintf(out, "%*s ; ",
	    width < COMMENT_COLUMN ? COMMENT_COLUMN - width : 0, "");
	if (derived)
		fprintf(out, "from startup_probe\n");
	else if (conf->line[index] != 0)
		fprintf(out, "line %" PRIu32 "\n", conf->line[index]);
	else
		fprintf(
		    out, "%s\n", is_default(conf, key) ? "default" : "fitted");
}

/* As the file has them: each in its own section. */
static void
print_peers(const struct conf *conf, FILE *out)
{
	for (uint32_t i = 0; i < conf->peer_count; i++) {
		const struct conf_peer *p = &conf->peer[i];
		int width;

		fprintf(out, "\n[peer %s]\n", p->name);
		width = fprintf(out, "address = %s", p->address);
		fprintf(out, "%*s ; line %" PRIu32 "\n",
		    width < COMMENT_COLUMN ? COMMENT_COLUMN - width : 0, "",
		    conf->peer_address_line[i]);
	}
}

void
conf_print(const struct conf *conf, FILE *out)
{
	for (uint32_t i = 0; i < conf_key_count(); i++) {
		if (conf_key_at(i)->kind == CONF_KIND_PEERS) {
			print_peers(conf, out);
			continue;
		}
		if (section_opens(i))
			fprintf(out, "%s[%s]\n", i > 0 ? "\n" : "",
			    conf_key_at(i)->section);
		print_key(conf, i, out);
	}
}

/* Words of text, wrapped; *column is where the line at hand ends, 0 before its
 * first word. A line begins with prefix. */
static void
print_wrapped(const char *text, const char *prefix, size_t *column, FILE *out)
{
	while (*text != '\0') {
		size_t len = strcspn(text, " ");

		if (*column > 0 && *column + 1 + len > TEXT_WIDTH) {
			fputc('\n', out);
			*column = 0;
		}
		*column += (size_t)fprintf(
		    out, "%s%.*s", *column == 0 ? prefix : " ", (int)len, text);
		text += len;
		text += strspn(text, " ");
	}
}

static const char *
sample_value(const struct conf_key *key)
{
	if (key->def != NULL)
		return key->def;
	if (strcmp(key->name, "data_dir") == 0)
		return "/var/lib/nodelife";
	return strcmp(key->name, "name") == 0 ? "n1" : "demo";
}

static void
sample_key(const struct conf_key *key, FILE *out)
{
	const char *value = sample_value(key);
	char domain[CONF_WHY_SIZE];
	size_t column = 0;

	fputc('\n', out);
	/* Without a name there is no section to show a key in. */
	if (key->kind == CONF_KIND_PEERS)
		fputs("# A section for each other member of a group of "
		      "several:\n#   [peer n2]\n#   address = "
		      "192.0.2.2:7380\n",
		    out);
	print_wrapped(key->help, "# ", &column, out);
	conf_key_domain(key, domain, sizeof(domain));
	strncat(domain,
	    key->fixed  ? "; fixed when the node is founded."
	    : key->live ? "; live."
			: ".",
	    sizeof(domain) - strlen(domain) - 1);
	print_wrapped("Value:", "# ", &column, out);
	print_wrapped(domain, "# ", &column, out);
	if (key->kind == CONF_KIND_PEERS) {
		fputc('\n', out);
		return;
	}
	fprintf(out, "\n%s%s =%s%s\n", key->def != NULL ? "#" : "", key->name,
	    value[0] != '\0' ? " " : "", value);
}

void
conf_print_sample(FILE *out)
{
	fputs("# Configuration of a nodelife node; nodelife.ini(5) has the"
	      " same list.\n"
	      "# What is commented out shows the default. A value marked live"
	      " changes with\n"
	      "# a reload (SIGHUP), every other at the next start.\n"
	      "# Durations have a unit: 20ms 5s 3m 1h. Sizes may: 4096 512K 64M"
	      " 1G 2T.\n"
	      "# Check a file with: nodelifed -n -c FILE\n",
	    out);
	for (uint32_t i = 0; i < conf_key_count(); i++) {
		const struct conf_key *key = conf_key_at(i);

		if (section_opens(i) && key->kind != CONF_KIND_PEERS)
			fprintf(out, "\n[%s]\n", key->section);
		sample_key(key, out);
	}
}

void
conf_print_text(const char *text, FILE *out)
{
	char sentence[CONF_HELP_MAX];
	const char *end;
	size_t column;

	while ((end = strstr(text, ". ")) != NULL) {
		column = 0;
		snprintf(sentence, sizeof(sentence), "%.*s",
		    (int)(end + 1 - text), text);
		print_wrapped(sentence, "", &column, out);
		fputc('\n', out);
		text = end + 2;
	}
	column = 0;
	print_wrapped(text, "", &column, out);
	fputc('\n', out);
}

static void
mdoc_key(const struct conf_key *key, FILE *out)
{
	char line[CONF_HELP_MAX], domain[CONF_WHY_SIZE];

	fprintf(out, ".It Ic %s\n", key->name);
	conf_print_text(key->help, out);
	conf_key_domain(key, domain, sizeof(domain));
	snprintf(line, sizeof(line), "Value: %s%s", domain,
	    key->kind == CONF_KIND_PEERS ? "."
	    : key->def == NULL           ? "; required."
	    : key->def[0] == '\0'        ? "; empty by default."
					 : "; default");
	conf_print_text(line, out);
	if (key->kind != CONF_KIND_PEERS && key->def != NULL &&
	    key->def[0] != '\0')
		fprintf(out, ".Cm %s .\n", key->def);
	if (key->live)
		fputs("Changes with a reload.\n", out);
	if (key->fixed)
		fputs("Fixed when the node is founded: the data directory "
		      "remembers it.\n",
		    out);
}

void
conf_print_mdoc(FILE *out)
{
	for (uint32_t i = 0; i < conf_key_count(); i++) {
		const struct conf_key *key = conf_key_at(i);

		if (section_opens(i))
			fprintf(out, "%s.Ss [%s%s]\\&\n.Bl -tag -width Ds\n",
			    i > 0 ? ".El\n" : "", key->section,
			    key->kind == CONF_KIND_PEERS ? " NAME" : "");
		mdoc_key(key, out);
	}
	fputs(".El\n", out);
}
