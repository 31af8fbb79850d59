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
	    arena_printf(arena, "%s; in: %.*s", error->text, (int)shown, statement));
}
