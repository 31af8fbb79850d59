/*
 * slot_ask.c - see slot_ask.h. Runs in the slot.
 */
#include "runtime/slot_ask.h"

const struct pawl_rows *
slot_ask_stop(struct slot_ask *a)
{
	a->failed = true;
	slot_call_stop(&a->slot->call, OUTCOME_RETRY, NULL, NULL);
	return NULL;
}

const struct pawl_rows *
slot_ask_stop_message(struct slot_ask *a)
{
	const struct slot_message *m = a->message;

	slot_call_stop(&a->slot->call, m->outcome, m->code, m->text);
	return NULL;
}

const struct pawl_rows *
slot_ask_copy_rows(struct slot_ask *a, const struct pg_result *result)
{
	struct arena *arena = &a->slot->rows;
	struct pawl_rows *rows = arena_zalloc(arena, sizeof(*rows));
	size_t columns = (size_t)pg_columns(result);
	const char **values = arena_array(arena, (size_t)pg_rows(result) * columns, sizeof(*values));

	rows->rows = pg_rows(result);
	rows->columns = pg_columns(result);
	rows->values = values;
	for (int row = 0; row < rows->rows; row++)
		for (int column = 0; column < rows->columns; column++) {
			const char *value = pg_value(result, row, column);

			*values++ = value == NULL ? NULL :
			    arena_memdup(arena, value, pg_value_len(result, row, column));
		}
	return rows;
}

int
slot_ask_prepare(struct slot_ask *a, struct slot_effect *query)
{
	struct slot_transaction *t = &a->slot->transaction;
	struct slot_message *m = a->message;
	const struct slot_group group = { .members = &a->message, .count = 1 };

	a->failure.where = query == NULL ? WHERE_OPEN : WHERE_EFFECT;
	a->failure.message = m;
	a->failure.effect = query;
	if (!m->fresh_statements && (query == NULL || query->statement->state == STATEMENT_PREPARED))
		return 0;
	if (slot_transaction_prepare(t, &group, &a->failure.error) != 0)
		return -1;
	if (query == NULL || !m->pending)
		return 0;
	if (query->statement->state == STATEMENT_FAILED)
		slot_message_fail_sql(m, query->statement->error, query->statement->text, t->arena);
	else if (query->statement->params != query->n)
		slot_message_fail(m, OUTCOME_REJECT, "bad_statement", arena_printf(t->arena,
		    "the statement has %d parameters, and %d were given: %.100s",
		    query->statement->params, query->n, query->statement->text));
	return 0;
}

void
slot_ask_call(
    struct slot_ask *a, const struct pawl_rows *(*answer)(void *, struct slot_effect *), void *arg)
{
	struct slot *s = a->slot;
	struct slot_message *m = a->message;

	a->failed = false;
	m->pending = true;		/* until the handler has spoken */
	m->effects = m->sent = NULL;
	m->expects = m->governs = m->fresh_statements = m->replies = false;
	s->call.ask = answer;
	s->call.ask_arg = arg;
	slot_work_call(s, a->batch, m);
	s->call.ask = NULL;
	arena_reset(&s->rows);
}
