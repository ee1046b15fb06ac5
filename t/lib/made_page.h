/*
 * Parts of a file that are made by the program: between two lines of it stands
 * what a function prints. A test says whether it does, `-w` writes it anew.
 */
#ifndef T_LIB_MADE_PAGE_H
#define T_LIB_MADE_PAGE_H

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "t/tap.h"

struct made {
	const char *file, *begin, *end; /* the lines around it, newlines too */
	void (*print)(FILE *);
};

/* The whole file, NUL-terminated, or NULL. The caller frees. */
static inline char *
file_text(const char *path)
{
	FILE *in = fopen(path, "r");
	char *text = NULL;
	size_t size = 0;

	if (in == NULL)
		return NULL;
	if (getdelim(&text, &size, '\0', in) < 0) {
		free(text);
		text = NULL;
	}
	fclose(in);
	return text;
}

static inline char *
made_by(void (*print)(FILE *))
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (out == NULL)
		err(1, "open_memstream");
	print(out);
	fclose(out);
	return text;
}

static inline void
check_page(const struct made *m)
{
	char *made = made_by(m->print), *page = file_text(m->file);
	char *begin = NULL, *end = NULL;

	if (page != NULL && (begin = strstr(page, m->begin)) != NULL) {
		begin += strlen(m->begin);
		if ((end = strstr(begin, m->end)) != NULL)
			*end = '\0';
	}
	ok(end != NULL, "%s has a place for the list", m->file);
	is_str(begin, made, "the list in it is as the table has it");
	free(made);
	free(page);
}

static inline void
file_write(const char *path, const char *a, const char *b, const char *c)
{
	FILE *out = fopen(path, "w");

	if (out == NULL || fprintf(out, "%s%s%s", a, b, c) < 0 ||
	    fclose(out) != 0)
		err(1, "%s", path);
}

static inline void
write_page(const struct made *m)
{
	char *page = file_text(m->file), *made = made_by(m->print);
	char *begin, *end;

	if (page == NULL || (begin = strstr(page, m->begin)) == NULL ||
	    (end = strstr(begin, m->end)) == NULL)
		errx(1, "%s: no place for the list", m->file);
	end = strdup(end);
	begin[strlen(m->begin)] = '\0';
	file_write(m->file, page, made, end);
	free(end);
	free(page);
	free(made);
}

#endif
