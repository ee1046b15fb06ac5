/*
 * Patterns as KEYS and SCAN MATCH take them, and one that is hostile.
 */
#include "t/tap.h"

#include <time.h>

#include "shm/kv/glob.h"

static void
test_glob(void)
{
	static const struct {
		const char *pattern, *text;
		bool want;
	} m[] = { { "*", "", true }, { "*", "abc", true },
		{ "a*c", "abbbc", true }, { "a*c", "abbb", false },
		{ "a?c", "abc", true }, { "a?c", "ac", false },
		{ "h[ae]llo", "hello", true }, { "h[ae]llo", "hillo", false },
		{ "h[^e]llo", "hallo", true }, { "h[^e]llo", "hello", false },
		{ "h[a-c]llo", "hbllo", true }, { "h[c-a]llo", "hbllo", true },
		{ "h[a-c]llo", "hdllo", false }, { "\\*", "*", true },
		{ "\\*", "x", false }, { "[\\]]", "]", true },
		{ "a\\", "a\\", true }, { "[a", "a", true },
		{ "**a**", "xxay", true }, { "", "", true }, { "", "a", false },
		{ "a*b*c*d", "axxbxxcxxd", true },
		{ "a*b*c*d", "axxbxxdxxc", false }, { "*b*", "abc", true },
		{ "a*c", "ac", true }, { "a*c", "abcd", false },
		{ "a", "", false }, { "[", "a", false }, { "[a", "b", false } };
	char many[256], text[256];
	clock_t start = clock();
	size_t i;

	for (i = 0; i < sizeof(m) / sizeof(m[0]); i++)
		ok(glob_match((const uint8_t *)m[i].pattern,
		       strlen(m[i].pattern), (const uint8_t *)m[i].text,
		       strlen(m[i].text)) == m[i].want,
		    "%s %s %s", m[i].pattern, m[i].want ? "matches" : "is not",
		    m[i].text);
	for (i = 0; i < sizeof(many) - 2; i += 2)
		memcpy(many + i, "*a", 2);
	memset(text, 'a', sizeof(text));
	many[sizeof(many) - 2] = 'b';
	ok(!glob_match((const uint8_t *)many, sizeof(many) - 1,
	       (const uint8_t *)text, sizeof(text)),
	    "a hostile pattern is not matched");
	ok(clock() - start < 2 * CLOCKS_PER_SEC,
	    "many stars do not take for ever");
}

int
main(void)
{
	test_glob();
	return tap_done();
}
