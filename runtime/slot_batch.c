/*
 * slot_batch.c - how a message of a batch fails.
 */
#include "runtime/slot_batch.h"

#include "util/arena.h"
#include "util/pg.h"

enum { STATEMENT_SHOWN = 160 };		/* bytes of a statement in a reason */

void
slot_message_fail(struct slot_message *m, enum outcome outcome, const char *code, const char *text)
{
	m->pending = m->claimed = false;
	m->outcome = outcome;
	m->code = code;
	m->text = text;
}

/* What to do about an SQLSTATE: of several entries that fit the first one counts. */
static const char *
cure_of(const char *sqlstate)
{
	static const struct { const char *begin, *cure; } cures[] = {
		{ "22", "let the publisher send a value that fits, or mend the statement" },
		{ "23", "mend the data, or let the statement allow for it" },
		{ "40", "make the transactions that are in its way shorter" },
		{ "55P03", "make the transactions that are in its way shorter" },
		{ "57014", "make it faster, or raise the queue's timeout" },
		{ "42501", "grant the right to the worker's role" },
		{ "42601", "mend the statement" },
		{ "42", "run the migration that is missing, or mend the statement" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cures); i++)
		if (strncmp(sqlstate, cures[i].begin, strlen(cures[i].begin)) == 0)
			return cures[i].cure;
	return "mend the statement, or what it calls";
}

void
slot_message_fail_sql(struct slot_message *m, const struct pg_error *error, const char *statement,
    struct arena *arena)
{
	/* A syntax error is also how the server refuses several statements in one text. */
	bool bad_text = strcmp(error->sqlstate, "42601") == 0;
	bool never = bad_text || error->class == PG_CLASS_DATA;
	const char *code;
	size_t shown = strnlen(statement, STATEMENT_SHOWN);

	if (bad_text)
		code = "bad_statement";
	else if (error->class == PG_CLASS_TIMEOUT)
		code = "timeout";
	else
		code = arena_printf(arena, "sql_%s", error->sqlstate);
	while (shown > 0 && (statement[shown] & 0xc0) == 0x80)
		shown--;		/* not in the middle of a character */
	slot_message_fail(m, never ? OUTCOME_REJECT : OUTCOME_RETRY, code,
	    arena_printf(arena, "%s; %s; in: %.*s", error->text, cure_of(error->sqlstate),
	    (int)shown, statement));
}
