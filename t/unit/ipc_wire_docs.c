/*
 * nodelife-wire(5) has the messages, refusals and layouts that the tables have,
 * byte for byte, and none else. Runs at the top of the tree; `ipc_wire_docs -w`
 * writes these parts of the page anew.
 */
#include "ipc/msg.h"

#include "ipc/link_core.h"
#include "ipc/msg_codec.h"
#include "t/lib/made_page.h"
#include "t/tap.h"

#define PAGE "man/nodelife-wire.5"
#define WIDE 60 /* columns of a description */

static const char *
on_name(unsigned on)
{
	return on == ON_CONTROL ? "control" : on == ON_DATA ? "data" : "both";
}

static const char *
from_name(unsigned from)
{
	return from == FROM_DIALER     ? "dialer"
	       : from == FROM_LISTENER ? "listener"
				       : "both";
}

static const char *
when_name(unsigned when)
{
	static const struct {
		unsigned when;
		const char *name;
	} names[] = {
		{ WHEN_FIRST, "first" },
		{ WHEN_CHALLENGE, "challenge" },
		{ WHEN_PROOF, "proof" },
		{ WHEN_JUDGED, "judged" },
		{ WHEN_WELCOME, "welcome" },
		{ WHEN_READY, "ready" },
		{ WHEN_ANSWER, "answer" },
	};
	unsigned i;

	for (i = 0; i < NITEMS(names); i++)
		if (names[i].when == when)
			return names[i].name;
	return "?";
}

static void
messages_print(FILE *out)
{
	const struct msg_row *row;
	unsigned i;

	fprintf(out, ".Bd -literal -offset indent\n");
	fprintf(out, " no name            on      from     when      since"
		     " least    most\n");
	for (i = 0; (row = msg_row_at(i)) != NULL; i++)
		fprintf(out, "%3u %-15s %-7s %-8s %-9s %5u %5u %7u\n",
		    row->type, row->name, on_name(row->on),
		    from_name(row->from), when_name(row->when), row->since,
		    row->min, row->max);
	fprintf(out, ".Ed\n");
}

/* Words of a text in lines of WIDE columns, indented as the first one is. */
static void
wrapped_print(FILE *out, const char *text, unsigned indent)
{
	size_t at = 0;

	while (*text != '\0') {
		size_t n = strcspn(text, " ");

		if (at > 0 && indent + at + 1 + n > WIDE) {
			fprintf(out, "\n%*s", (int)indent, "");
			at = 0;
		}
		fprintf(out, "%s%.*s", at > 0 ? " " : "", (int)n, text);
		at += n + (at > 0);
		text += n + (text[n] == ' ');
	}
	fputc('\n', out);
}

/* "off size what", of what follows the fixed fields "+". */
static void
field_print(FILE *out, const struct msg_field *f)
{
	char text[512];
	const char *kind = f->kind == FIELD_NAME   ? "length of "
			   : f->kind == FIELD_TEXT ? "length of "
			   : f->kind == FIELD_LIST ? "count of "
						   : "";

	if (f->kind == FIELD_ZERO) {
		fprintf(out, "%3u %4u  zero\n", f->at, f->size);
		return;
	}
	snprintf(text, sizeof(text), "%s%s: %s", kind, f->name, f->what);
	fprintf(out, "%3u %4u  ", f->at, f->size);
	wrapped_print(out, text, 10);
}

static void
rest_print(FILE *out, const struct msg_layout *l)
{
	unsigned i, k;

	for (i = 0; i < l->fields; i++) {
		const struct msg_field *f = &l->field[i];

		if (f->kind == FIELD_NAME || f->kind == FIELD_TEXT)
			fprintf(out, "  +       %s, %ju to %ju bytes\n",
			    f->name, (uintmax_t)f->min, (uintmax_t)f->max);
		if (f->kind != FIELD_LIST)
			continue;
		fprintf(out, "  +       %s, %ju to %ju of %u bytes each:\n",
		    f->name, (uintmax_t)f->min, (uintmax_t)f->max,
		    f->entry_size);
		for (k = 0; k < f->entry_fields; k++)
			field_print(out, &f->entry[k]);
	}
}

/* All messages of one layout, which is told where the first one is. */
static void
layout_print(FILE *out, const struct msg_row *of)
{
	const struct msg_layout *l = of->layout;
	const struct msg_row *row;
	unsigned i, n = 0;

	fprintf(out, ".Ss ");
	for (i = 0; (row = msg_row_at(i)) != NULL; i++)
		if (row->layout == l)
			fprintf(out, "%s%s", n++ > 0 ? ", " : "", row->name);
	fprintf(out, "\n.Bd -literal -offset indent\noff size\n");
	for (i = 0; i < l->fields; i++) {
		const struct msg_field *f = &l->field[i];

		if (f->kind != FIELD_LOG)
			field_print(out, f);
		else
			fprintf(out, "  +       %s, 0 to %ju bytes\n", f->what,
			    (uintmax_t)f->max);
	}
	rest_print(out, l);
	fprintf(out, ".Ed\n");
}

static void
layouts_print(FILE *out)
{
	const struct msg_row *row;
	unsigned i, k;

	for (i = 0; (row = msg_row_at(i)) != NULL; i++) {
		for (k = 0; msg_row_at(k)->layout != row->layout; k++)
			;
		if (k == i)
			layout_print(out, row);
	}
}

static void
refusals_print(FILE *out)
{
	unsigned i;

	fprintf(out, ".Bd -literal -offset indent\n");
	for (i = 1; i < REFUSED_COUNT; i++)
		fprintf(out, "%2u %-10s %s\n", i, msg_reason_name(i),
		    msg_reason_means(i));
	fprintf(out, ".Ed\n");
}

#define MADE(what) ".\\\" " what ": made by t/unit/ipc_wire_docs -w\n"

static const struct made parts[] = {
	{ PAGE, MADE("messages"), ".\\\" end of messages\n", messages_print },
	{ PAGE, MADE("layouts"), ".\\\" end of layouts\n", layouts_print },
	{ PAGE, MADE("refusals"), ".\\\" end of refusals\n", refusals_print },
};

/* Numbers in the page's own words that are constants of the code. */
static void
check_words(void)
{
	char *page = file_text(PAGE), want[160];

	snprintf(
	    want, sizeof(want), "%d to %d bytes", AUTH_KEY_MIN, AUTH_KEY_MAX);
	ok(strstr(page, want) != NULL, "the size of a key");
	snprintf(want, sizeof(want), "version %u.", MSG_PROTOCOL);
	ok(strstr(page, want) != NULL, "the protocol version");
	snprintf(want, sizeof(want), "within %u seconds",
	    (unsigned)(LINK_HANDSHAKE_NS / 1000000000));
	ok(strstr(page, want) != NULL, "the time of a handshake");
	snprintf(want, sizeof(want), "longer than %u seconds",
	    (unsigned)(LINK_FRAME_NS / 1000000000));
	ok(strstr(page, want) != NULL, "the time of half a message");
	snprintf(want, sizeof(want), "%u a second",
	    (unsigned)(1000000000 / LINK_COST_NS));
	ok(strstr(page, want) != NULL, "how many messages a second");
	free(page);
}

int
main(int argc, char **argv)
{
	size_t i;

	for (i = 0; i < NITEMS(parts); i++) {
		if (argc == 2 && strcmp(argv[1], "-w") == 0)
			write_page(&parts[i]);
		else
			check_page(&parts[i]);
	}
	if (argc == 2)
		return 0;
	check_words();
	return tap_done();
}
