/*
 * nodelifebench: options and reports. See nodelifebench(1).
 */
#include "tools/nodelifebench.h"

#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>
#include "shm/assert.h"
#include "shm/bits.h"

static const char usage_text[] =
    "usage: nodelifebench [-H HOST] [-p PORT | -s SOCKET] [-a PASSWORD]\n"
    "           [-c CONNECTIONS] [-P PIPELINE] [-n REQUESTS] [-t SECONDS]\n"
    "           [-m MIX] [-d BYTES] [-k KEYS] [-r RATE] [-S SEED] [-j] [-q]\n"
    "\n"
    "  -H HOST         host of the node (127.0.0.1)\n"
    "  -p PORT         client port (7379)\n"
    "  -s SOCKET       unix socket instead of host and port\n"
    "  -a PASSWORD     authenticate first\n"
    "  -c CONNECTIONS  parallel connections (50)\n"
    "  -P PIPELINE     requests outstanding on each (1)\n"
    "  -n REQUESTS     stop after so many (100000; 0 = only by time)\n"
    "  -t SECONDS      stop after so long (0 = only by count)\n"
    "  -m MIX          what to send, with weights: set=1,get=9 (set=1);\n"
    "                  of ping set get incr del setex mset\n"
    "  -d BYTES        value size (100)\n"
    "  -k KEYS         size of the random key space (100000)\n"
    "  -r RATE         limit, requests a second over all (0 = none)\n"
    "  -S SEED         of the random sequence (1)\n"
    "  -j              the report as JSON\n"
    "  -q              no progress line\n"
    "  -h, -V          this text, version\n"
    "\n"
    "Exit: 0 done, 1 an error reply or a broken connection, 64 usage.\n";

static const double quantiles[] = { 0.5, 0.9, 0.99, 0.999, 0.9999, 1.0 };

__attribute__((noreturn)) static void
usage(const char *what, const char *arg)
{
	if (what != NULL)
		fprintf(stderr, "nodelifebench: %s: %s\n", what, arg);
	fputs(usage_text, what != NULL ? stderr : stdout);
	exit(what != NULL ? EX_USAGE : 0);
}

static uint64_t
number(const char *text, uint64_t min, uint64_t max, const char *what)
{
	const char *why;
	long long v = strtonum(text, (long long)min, (long long)max, &why);

	if (why != NULL)
		usage(what, why);
	return (uint64_t)v;
}

static void
mix_parse(struct bench_spec *s, char *text)
{
	char *item, *weight;
	unsigned op;

	memset(s->weight, 0, sizeof(s->weight));
	while ((item = strsep(&text, ",")) != NULL) {
		weight = strchr(item, '=');
		if (weight != NULL)
			*weight++ = '\0';
		for (op = 0; op < BENCH_OP_COUNT; op++)
			if (strcmp(item, bench_op_name(op)) == 0)
				break;
		if (op == BENCH_OP_COUNT)
			usage("-m: no such command", item);
		s->weight[op] = weight == NULL ? 1
					       : (uint32_t)number(weight, 1,
						     1000000, "-m: weight");
	}
}

static void
report_text(const struct bench_spec *s, const struct bench_result *r)
{
	unsigned i;

	printf("%llu requests in %.3f s: %.0f requests/s, %llu errors\n",
	    (unsigned long long)r->done, r->seconds,
	    r->seconds > 0 ? (double)r->done / r->seconds : 0,
	    (unsigned long long)r->errors);
	printf("%u connections, pipeline %u, %u-byte values, %llu keys\n",
	    s->connections, s->pipeline, s->value_size,
	    (unsigned long long)s->keys);
	for (i = 0; i < NITEMS(quantiles); i++)
		printf("  p%-7g %10.3f ms\n", quantiles[i] * 100,
		    (double)hist_quantile(&r->latency, quantiles[i]) / 1e6);
	if (r->errors != 0)
		printf("first error: %s\n", r->first_error);
}

static void
report_json(const struct bench_spec *s, const struct bench_result *r)
{
	json_t *lat = json_object(), *top;
	char name[16];
	unsigned i;

	for (i = 0; i < NITEMS(quantiles); i++) {
		snprintf(name, sizeof(name), "p%g", quantiles[i] * 100);
		json_object_set_new(lat, name,
		    json_real((double)hist_quantile(&r->latency, quantiles[i]) /
			      1e3));
	}
	top = json_pack("{s:I,s:I,s:f,s:f,s:i,s:i,s:I,s:I,s:s,s:o}", "requests",
	    (json_int_t)r->done, "errors", (json_int_t)r->errors, "seconds",
	    r->seconds, "rate",
	    r->seconds > 0 ? (double)r->done / r->seconds : 0.0, "connections",
	    (int)s->connections, "pipeline", (int)s->pipeline, "bytes_in",
	    (json_int_t)r->bytes_in, "bytes_out", (json_int_t)r->bytes_out,
	    "first_error", r->first_error, "latency_us", lat);
	json_dumpf(top, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(top);
}

/* flat dispatch */
static void
options(int argc, char **argv, struct bench_spec *s, bool *json)
{
	static const struct option longs[] = { { "help", no_argument, NULL,
						   'h' },
		{ "version", no_argument, NULL, 'V' }, { NULL, 0, NULL, 0 } };
	int ch;

	opterr = 0;
	while ((ch = getopt_long(argc, argv, "H:p:s:a:c:P:n:t:m:d:k:r:S:hjqV",
		    longs, NULL)) != -1) {
		switch (ch) {
		case 'h':
			usage(NULL, NULL);
		case 'H':
			s->host = optarg;
			break;
		case 'p':
			s->port = optarg;
			break;
		case 's':
			s->unix_path = optarg;
			break;
		case 'a':
			s->password = optarg;
			break;
		case 'c':
			s->connections =
			    (unsigned)number(optarg, 1, 65000, "-c");
			break;
		case 'P':
			s->pipeline = (unsigned)number(optarg, 1, 65536, "-P");
			break;
		case 'n':
			s->requests = number(optarg, 0, INT64_MAX, "-n");
			break;
		case 't':
			s->seconds = number(optarg, 0, 86400, "-t");
			break;
		case 'm':
			mix_parse(s, optarg);
			break;
		case 'd':
			s->value_size =
			    (uint32_t)number(optarg, 0, 1u << 30, "-d");
			break;
		case 'k':
			s->keys = number(optarg, 1, INT64_MAX, "-k");
			break;
		case 'r':
			s->rate = number(optarg, 0, INT64_MAX, "-r");
			break;
		case 'S':
			s->seed = number(optarg, 0, INT64_MAX, "-S");
			break;
		case 'j':
			*json = true;
			break;
		case 'q':
			s->progress = false;
			break;
		case 'V':
			puts("nodelifebench " NODELIFE_VERSION);
			exit(0);
		default:
			usage("unknown option, or one without its value",
			    argv[optind - 1]);
		}
	}
	if (optind != argc)
		usage("surplus argument", argv[optind]);
	if (s->requests == 0 && s->seconds == 0)
		usage("-n 0 needs a bound", "give -t SECONDS");
}

int
main(int argc, char **argv)
{
	static struct bench_result result;
	struct bench_spec spec = {
		.host = "127.0.0.1",
		.port = "7379",
		.connections = 50,
		.pipeline = 1,
		.requests = 100000,
		.keys = 100000,
		.value_size = 100,
		.weight[BENCH_SET] = 1,
		.seed = 1,
		.progress = isatty(STDERR_FILENO) == 1,
	};
	bool json = false;
	char why[256];
	int rc;

	options(argc, argv, &spec, &json);
	rc = bench_run(&spec, &result, why, sizeof(why));
	if (rc != 0)
		fprintf(stderr, "nodelifebench: %s\n", why);
	if (json)
		report_json(&spec, &result);
	else
		report_text(&spec, &result);
	return rc != 0 || result.errors != 0 ? 1 : 0;
}
