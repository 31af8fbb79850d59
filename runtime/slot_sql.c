/*
 * slot_sql.c - see slot_sql.h.
 */
#include "runtime/slot_sql.h"

#include <ctype.h>
#include <strings.h>

#define TRANSACTION_CONTROL	"is transaction control, and Pawl commits the batch itself"
#define OUTLIVES		"would outlive the transaction, in a session that others use"

struct refused { const char *word, *why; };
static const struct refused refused[] = {
	{ "begin", TRANSACTION_CONTROL }, { "start", TRANSACTION_CONTROL },
	{ "commit", TRANSACTION_CONTROL }, { "end", TRANSACTION_CONTROL },
	{ "rollback", TRANSACTION_CONTROL }, { "abort", TRANSACTION_CONTROL },
	{ "savepoint", TRANSACTION_CONTROL }, { "release", TRANSACTION_CONTROL },
	{ "prepare", "would prepare a transaction or a statement, and Pawl does that itself" },
	{ "execute", "needs a prepared statement, and Pawl prepares by itself" },
	{ "deallocate", "would take Pawl's own prepared statements away" },
	{ "reset", OUTLIVES }, { "discard", OUTLIVES },
	{ "listen", OUTLIVES }, { "unlisten", OUTLIVES },
	{ "copy", "cannot be pipelined: use insert" },
};

/* Behind white space, comments, and (at the start of a statement) semicolons. */
static const char *
skip_space(const char *p, bool semicolons)
{
	for (;;) {
		if (*p != '\0' && strchr(" \t\n\r\f\v", *p) != NULL) {
			p++;
		} else if (semicolons && *p == ';') {
			p++;
		} else if (p[0] == '-' && p[1] == '-') {
			p += strcspn(p, "\n\r");
		} else if (p[0] == '/' && p[1] == '*') {
			unsigned depth = 1;

			for (p += 2; depth > 0 && *p != '\0';) {
				if (p[0] == '/' && p[1] == '*') {
					depth++;
					p += 2;
				} else if (p[0] == '*' && p[1] == '/') {
					depth--;
					p += 2;
				} else {
					p++;
				}
			}
		} else {
			return p;
		}
	}
}

/* Length of the keyword at p; a name that goes on with other characters is none. */
static size_t
word_length(const char *p)
{
	size_t len = 0;

	while (isalnum((unsigned char)p[len]) || p[len] == '_' || p[len] == '$' ||
	    (p[len] & 0x80) != 0)
		len++;
	return len;
}

static bool
word_is(const char *p, size_t len, const char *word)
{
	return strlen(word) == len && strncasecmp(p, word, len) == 0;
}

static const char *
set_refusal(const char *p)
{
	size_t len;

	p = skip_space(p, false);
	len = word_length(p);
	if (!word_is(p, len, "local"))
		return OUTLIVES ": write SET LOCAL";
	p = skip_space(p + len, false);
	if (word_is(p, word_length(p), "synchronous_commit") ||
	    strncasecmp(p, "\"synchronous_commit\"", 20) == 0)
		return "would acknowledge messages whose effects are not yet on disk";
	return NULL;
}

bool
slot_sql_governs(const char *text)
{
	const char *p = skip_space(text, true);

	return word_is(p, word_length(p), "set") || strcasestr(text, "set_config") != NULL;
}

const char *
slot_sql_refusal(const char *text)
{
	const char *p = skip_space(text, true);
	size_t len = word_length(p);

	if (*p == '\0')
		return "is empty";
	if (word_is(p, len, "set"))
		return set_refusal(p + len);
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
		if (word_is(p, len, refused[i].word))
			return refused[i].why;
	return NULL;
}
