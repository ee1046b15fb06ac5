/*
 * Payloads for nodelifewal dump: parts joined as the store joins them, then
 * decoded as operations. Bytes are shown escaped and shortened; nothing in a
 * log is trusted to be printable.
 */
#include "tools/nodelifewal.h"

#include <ctype.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "shm/kv/op.h"
#include "shm/kv/value.h"

/* A joined payload larger than this is not decoded. */
#define PAYLOAD_MAX (UINT32_C(1) << 30)
#define TEXT_MAX    64 /* bytes of an argument that are shown */

struct payload {
	struct vbuf parts;
	uint64_t next_vlsn; /* of what would continue them; 0 = no parts */
	uint64_t origin; /* slot and incarnation of it */
};

/* Without the sequence number: parts of one request carry that of the last. */
static uint64_t
origin_of(const struct record *rec)
{
	return rec->origin >> 32;
}

struct payload *
payload_new(void)
{
	return calloc(1, sizeof(struct payload));
}

void
payload_free(struct payload *p)
{
	vbuf_free(&p->parts);
	free(p);
}

static void
parts_drop(struct payload *p)
{
	vbuf_clear(&p->parts);
	p->next_vlsn = 0;
}

static void
parts_add(struct payload *p, const struct record *rec)
{
	if (p->parts.len + rec->payload_len <= PAYLOAD_MAX)
		vbuf_put(&p->parts, rec->payload, rec->payload_len);
	p->next_vlsn = rec->vlsn + 1;
	p->origin = origin_of(rec);
}

const uint8_t *
payload_take(
    struct payload *p, const struct record *rec, size_t *n, const char **note)
{
	bool continues = p->next_vlsn == rec->vlsn && p->next_vlsn != 0 &&
			 p->origin == origin_of(rec);

	*n = 0;
	*note = NULL;
	if (rec->vlsn == 0)
		return NULL;
	if (p->next_vlsn != 0 && !continues) {
		*note = "parts before it were left without their end";
		parts_drop(p);
	}
	if (rec->type == REC_PART) {
		parts_add(p, rec);
		return NULL;
	}
	if (rec->type != REC_OP && rec->type != REC_MULTI) {
		parts_drop(p);
		return NULL;
	}
	if ((rec->flags & REC_HAS_PARTS) == 0) {
		parts_drop(p);
		*n = rec->payload_len;
		return rec->payload;
	}
	if (!continues) {
		*note = "its parts lie outside of what is shown";
		return NULL;
	}
	parts_add(p, rec);
	p->next_vlsn = 0;
	*n = p->parts.len;
	return p->parts.error == 0 ? p->parts.data : NULL;
}

static void
bytes_print(FILE *out, const uint8_t *data, uint32_t len)
{
	uint32_t i;

	fputc('"', out);
	for (i = 0; i < len && i < TEXT_MAX; i++) {
		if (data[i] == '"' || data[i] == '\\')
			fprintf(out, "\\%c", data[i]);
		else if (isprint(data[i]) && data[i] < 0x80)
			fputc(data[i], out);
		else
			fprintf(out, "\\x%02x", data[i]);
	}
	fputc('"', out);
	if (len > TEXT_MAX)
		fprintf(out, "... (%" PRIu32 " bytes)", len);
}

static const struct {
	unsigned flag;
	const char *name;
} op_flags[] = {
	{ OPF_NX, "NX" },
	{ OPF_XX, "XX" },
	{ OPF_GET, "GET" },
	{ OPF_KEEPTTL, "KEEPTTL" },
	{ OPF_IFEQ, "IFEQ" },
	{ OPF_GT, "GT" },
	{ OPF_LT, "LT" },
	{ OPF_PERSIST, "PERSIST" },
};

static void
op_print(FILE *out, const struct op *op)
{
	const uint8_t *at = op->args;
	struct op_arg arg;
	size_t i;

	fprintf(out, "\t%s", op_name(op->code));
	while (op_arg_next(op, &at, &arg)) {
		fputc(' ', out);
		bytes_print(out, arg.data, arg.len);
	}
	for (i = 0; i < sizeof(op_flags) / sizeof(op_flags[0]); i++)
		if ((op->flags & op_flags[i].flag) != 0)
			fprintf(out, " %s", op_flags[i].name);
	if (op->num != 0)
		fprintf(out, " num=%" PRId64, op->num);
	fputc('\n', out);
}

static void
multi_print(FILE *out, const struct op_multi *m)
{
	const uint8_t *at = m->watches;
	struct op_watch watch;
	struct op op;

	while (op_watch_next(m, &at, &watch)) {
		fprintf(out, "\tWATCH ");
		bytes_print(out, watch.key.data, watch.key.len);
		fprintf(out, " at VLSN %" PRIu64 "\n", watch.vlsn);
	}
	at = m->ops;
	while (op_multi_next(m, &at, &op))
		op_print(out, &op);
}

void
payload_print(
    FILE *out, const struct record *rec, const uint8_t *data, size_t n)
{
	struct op_multi multi;
	struct op op;

	if (rec->type == REC_OP && op_decode(data, n, &op) == 0)
		op_print(out, &op);
	else if (rec->type == REC_MULTI &&
		 op_multi_decode(data, n, &multi) == 0)
		multi_print(out, &multi);
	else
		fprintf(out, "\tnot an operation: %zu bytes\n", n);
}

/* UTF-8 as it is, anything else escaped byte by byte; never shortened. */
static json_t *
bytes_json(const uint8_t *data, uint32_t len)
{
	json_t *text = json_stringn((const char *)data, len);
	char *escaped;
	uint32_t i;

	if (text != NULL)
		return text;
	escaped = malloc((size_t)len * 4 + 1);
	if (escaped == NULL)
		return NULL;
	for (i = 0; i < len; i++)
		snprintf(escaped + (size_t)i * 4, 5, "\\x%02x", data[i]);
	text = json_object();
	json_object_set_new(
	    text, "bytes", json_stringn(escaped, (size_t)len * 4));
	free(escaped);
	return text;
}

static json_t *
op_json(const struct op *op)
{
	json_t *o = json_object(), *args = json_array(), *flags = json_array();
	const uint8_t *at = op->args;
	struct op_arg arg;
	size_t i;

	while (op_arg_next(op, &at, &arg))
		json_array_append_new(args, bytes_json(arg.data, arg.len));
	for (i = 0; i < sizeof(op_flags) / sizeof(op_flags[0]); i++)
		if ((op->flags & op_flags[i].flag) != 0)
			json_array_append_new(
			    flags, json_string(op_flags[i].name));
	json_object_set_new(o, "op", json_string(op_name(op->code)));
	json_object_set_new(o, "args", args);
	json_object_set_new(o, "flags", flags);
	json_object_set_new(o, "num", json_integer(op->num));
	return o;
}

static json_t *
multi_json(const struct op_multi *m)
{
	const uint8_t *at = m->watches;
	json_t *list = json_array(), *o;
	struct op_watch watch;
	struct op op;

	while (op_watch_next(m, &at, &watch)) {
		o = json_object();
		json_object_set_new(o, "op", json_string("WATCH"));
		json_object_set_new(
		    o, "key", bytes_json(watch.key.data, watch.key.len));
		json_object_set_new(
		    o, "vlsn", json_integer((json_int_t)watch.vlsn));
		json_array_append_new(list, o);
	}
	at = m->ops;
	while (op_multi_next(m, &at, &op))
		json_array_append_new(list, op_json(&op));
	return list;
}

json_t *
payload_json(const struct record *rec, const uint8_t *data, size_t n)
{
	struct op_multi multi;
	json_t *list = NULL;
	struct op op;

	if (rec->type == REC_OP && op_decode(data, n, &op) == 0) {
		list = json_array();
		json_array_append_new(list, op_json(&op));
	} else if (rec->type == REC_MULTI &&
		   op_multi_decode(data, n, &multi) == 0) {
		list = multi_json(&multi);
	}
	return list;
}
