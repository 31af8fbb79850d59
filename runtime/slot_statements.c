/*
 * slot_statements.c - see slot_statements.h.
 */
#include "runtime/slot_statements.h"

#include <assert.h>

#include "runtime/slot_sql.h"
#include "util/arena.h"
#include "util/random.h"

#define CLAIM "insert into pawl.inbox (consumer, message_id) select $1, unnest($2::text[])"

#define ABORTED_TRANSACTION "25P02"

/* Two that do one key at the same time both act outside. Other keys with that hash only wait. */
#define KEY_LOCK "pg_catalog.hashtextextended('pawl.key:' || $1::text || ':' || $2::text, 0)"

static const char *const own_text[OWN_COUNT] = {
	[OWN_BEGIN] = "begin isolation level read committed",
	[OWN_PID] = "select pg_catalog.pg_backend_pid()",
	[OWN_LOCK] = "select pg_catalog.pg_advisory_xact_lock("
	    "pg_catalog.hashtextextended('pawl.serialize:' || $1, 0))",
	[OWN_CLAIM] = CLAIM " on conflict do nothing returning message_id",
	[OWN_CLAIM_NEW] = CLAIM,
	[OWN_WITNESS] = "select pg_catalog.pg_logical_emit_message(true, 'pawl', '')",
	[OWN_DURABLE] = "select pg_catalog.set_config('synchronous_commit', 'on', true)"
	    " where pg_catalog.current_setting('synchronous_commit') = 'off'",
	[OWN_COMMIT] = "commit",
	[OWN_SAVEPOINT] = "savepoint pawl",
	[OWN_ROLLBACK_TO] = "rollback to savepoint pawl",
	[OWN_GIVE_BACK] = "delete from pawl.inbox where consumer = $1 and message_id = any ($2::text[])",
	[OWN_BEGIN_READ] = "begin isolation level read committed read only",
	[OWN_KNOWN] = "select exists (select from pawl.inbox where consumer = $1 and message_id = $2)",
	[OWN_TRY_KEY] = "select pg_catalog.pg_try_advisory_lock(" KEY_LOCK ")",
	[OWN_UNLOCK_KEY] = "select pg_catalog.pg_advisory_unlock(" KEY_LOCK ")",
};

static void
queue_own(struct slot_statements *s)
{
	for (size_t i = 0; i < OWN_COUNT; i++)
		if (s->claims || (i != OWN_CLAIM && i != OWN_CLAIM_NEW && i != OWN_KNOWN &&
		    i != OWN_GIVE_BACK))
			slot_statements_want(s, &s->own[i]);
}

void
slot_statements_init(struct slot_statements *s, bool claims)
{
	memset(s, 0, sizeof(*s));
	s->queue_end = &s->queue;
	s->claims = claims;
	(void)snprintf(s->prefix, sizeof(s->prefix), "pawl_%08llx_",
	    (unsigned long long)random_u64() & 0xffffffff);
	for (size_t i = 0; i < OWN_COUNT; i++) {
		s->own[i].text = xstrdup(own_text[i]);
		s->own[i].len = strlen(own_text[i]);
	}
}

static void
statement_free(struct slot_statement *statement)
{
	free(statement->error);
	free(statement->text);
	free(statement);
}

static void
doomed_clear(struct slot_statements *s)
{
	for (size_t i = 0; i < s->doomed_count; i++)
		free(s->doomed[i]);
	free(s->doomed);
	s->doomed = NULL;
	s->doomed_count = 0;
}

void
slot_statements_release(struct slot_statements *s)
{
	struct slot_statement *statement;

	for (size_t at = 0; (statement = table_next(&s->by_text, &at)) != NULL;)
		statement_free(statement);
	table_release(&s->by_text);
	for (size_t i = 0; i < OWN_COUNT; i++) {
		free(s->own[i].error);
		free(s->own[i].text);
	}
	doomed_clear(s);
}

/* Takes a statement that nobody uses now out of here; its name goes from the server with the
 * next prepare. */
static void
statement_drop(struct slot_statements *s, struct slot_statement *statement)
{
	if (statement->state == STATEMENT_PREPARED) {
		s->doomed = xrealloc(s->doomed, (s->doomed_count + 1) * sizeof(*s->doomed));
		s->doomed[s->doomed_count++] = xstrdup(statement->name);
	}
	(void)table_remove(&s->by_text, statement->text, statement->len);
	statement_free(statement);
}

static int
by_use(const void *left, const void *right)
{
	const struct slot_statement *const *a = left, *const *b = right;

	return (*a)->used < (*b)->used ? -1 : (*a)->used > (*b)->used;
}

static void
drop_longest_unused(struct slot_statements *s)
{
	struct slot_statement **all = xcalloc(s->by_text.count, sizeof(struct slot_statement *));
	struct slot_statement *statement;
	size_t count = 0;

	for (size_t at = 0; (statement = table_next(&s->by_text, &at)) != NULL;)
		all[count++] = statement;
	qsort(all, count, sizeof(struct slot_statement *), by_use);
	for (size_t i = 0; i + SLOT_STATEMENTS_KEPT < count; i++)
		statement_drop(s, all[i]);
	free(all);
}

static void
drop_failed(struct slot_statements *s)
{
	struct slot_statement *statement;

	for (size_t at = 0; (statement = table_next(&s->by_text, &at)) != NULL;)
		if (statement->state == STATEMENT_FAILED)
			statement_drop(s, statement);
	s->failed = false;
}

void
slot_statements_unwant(struct slot_statements *s)
{
	for (struct slot_statement *statement = s->queue; statement != NULL; statement = statement->next)
		statement->state = STATEMENT_NEW;
	s->queue = NULL;
	s->queue_end = &s->queue;
}

void
slot_statements_begin_batch(struct slot_statements *s)
{
	/* What was recorded by messages that then ended without the database was never asked for. */
	slot_statements_unwant(s);
	if (!s->failed && s->by_text.count <= SLOT_STATEMENTS_KEPT)
		return;
	memset(s->recent, 0, sizeof(s->recent));
	if (s->failed)
		drop_failed(s);
	if (s->by_text.count > SLOT_STATEMENTS_KEPT)
		drop_longest_unused(s);
}

void
slot_statements_want(struct slot_statements *s, struct slot_statement *statement)
{
	if (statement->state != STATEMENT_NEW)
		return;
	statement->state = STATEMENT_QUEUED;
	statement->next = NULL;
	*s->queue_end = statement;
	s->queue_end = &statement->next;
}

static struct slot_statement *
statement_find(struct slot_statements *s, const char *text, const char **refusal)
{
	size_t len = strlen(text);
	struct slot_statement *statement = table_get(&s->by_text, text, len);

	if (statement != NULL)
		return statement;
	*refusal = slot_sql_refusal(text);
	if (*refusal != NULL)
		return NULL;
	statement = xcalloc(1, sizeof(*statement));
	statement->text = xstrdup(text);
	statement->len = len;
	statement->governs = slot_sql_governs(text);
	(void)table_put(&s->by_text, statement->text, len, statement);
	return statement;
}

struct slot_statement *
slot_statements_get(struct slot_statements *s, const char *text, const char **refusal)
{
	size_t place = ((uintptr_t)text >> 3) % SLOT_STATEMENTS_RECENT;
	struct slot_statement **recent = &s->recent[place];

	*refusal = NULL;
	if (*recent == NULL || strcmp((*recent)->text, text) != 0) {
		struct slot_statement *statement = statement_find(s, text, refusal);

		if (statement == NULL)
			return NULL;
		*recent = statement;
	}
	(*recent)->used = ++s->uses;
	if ((*recent)->state == STATEMENT_NEW)
		slot_statements_want(s, *recent);
	return *recent;
}

void
slot_statements_forget(struct slot_statements *s)
{
	struct slot_statement *statement;

	for (size_t at = 0; (statement = table_next(&s->by_text, &at)) != NULL;)
		if (statement->state != STATEMENT_FAILED)
			statement->state = STATEMENT_NEW;
	s->queue = NULL;
	s->queue_end = &s->queue;
	doomed_clear(s);
	for (size_t i = 0; i < OWN_COUNT; i++)
		s->own[i].state = STATEMENT_NEW;
	queue_own(s);
}

static void
statement_failed(
    struct slot_statements *s, struct slot_statement *statement, const struct pg_error *error)
{
	if (statement->error == NULL)
		statement->error = xmalloc(sizeof(*statement->error));
	*statement->error = *error;
	statement->state = STATEMENT_FAILED;
	s->failed = true;
}

/* A statement's three answers: prepare, describe, sync. -1: the environment failed; the session
 * may still be there. */
static int
read_prepared(struct slot_statements *s, struct slot_session *session,
    struct slot_statement *statement, struct pg_error *error)
{
	struct pg_error here;
	int status = 0;

	for (;;) {
		struct pg_result *result;

		switch (slot_session_next(session, &result, &here)) {
		case PG_LOST:
			*error = here;
			return -1;
		case PG_SYNC:
			if (statement->state == STATEMENT_QUEUED)
				statement->state = STATEMENT_PREPARED;
			return status;
		case PG_COMMAND:
			statement->params = pg_result_params(result);
			pg_result_free(&result);
			break;
		case PG_ERROR:
			/* A lock that somebody who changes the schema holds, for instance:
			 * nobody's fault. */
			if (here.class == PG_CLASS_ENVIRONMENT || here.class == PG_CLASS_DEADLOCK ||
			    here.class == PG_CLASS_SERIALIZATION ||
			    here.class == PG_CLASS_TIMEOUT) {
				*error = here;
				statement->state = STATEMENT_NEW;
				status = -1;
			} else if (strcmp(here.sqlstate, ABORTED_TRANSACTION) == 0) {
				statement->state = STATEMENT_NEW;	/* because of one before it */
			} else {
				statement_failed(s, statement, &here);
			}
			break;
		case PG_ROWS:
			pg_result_free(&result);
			break;
		case PG_SKIPPED:
		case PG_NOTHING:
			break;
		}
	}
}

static int
send_doomed(struct slot_statements *s, struct pg *pg)
{
	for (size_t i = 0; i < s->doomed_count; i++) {
		char sql[64];

		(void)snprintf(sql, sizeof(sql), "deallocate %s", s->doomed[i]);
		if (pg_send_query(pg, sql, 0, NULL) != 0 || pg_send_sync(pg) != 0)
			return -1;
	}
	return 0;
}

/* It does not matter whether the server still knew them. */
static int
read_doomed(struct slot_session *session, size_t count, struct pg_error *error)
{
	while (count > 0) {
		struct pg_result *result;
		enum pg_answer answer = slot_session_next(session, &result, error);

		pg_result_free(&result);
		if (answer == PG_LOST)
			return -1;
		if (answer == PG_SYNC)
			count--;
	}
	return 0;
}

int
slot_statements_prepare(
    struct slot_statements *s, struct slot_session *session, struct pg_error *error)
{
	struct slot_statement *queue = s->queue;
	size_t doomed = s->doomed_count;
	int status = 0;

	if (queue == NULL && doomed == 0)
		return 0;
	s->queue = NULL;
	s->queue_end = &s->queue;
	/* A send that fails is told by the answer that cannot come. */
	(void)send_doomed(s, session->pg);
	for (struct slot_statement *statement = queue; statement != NULL;
	     statement = statement->next) {
		(void)snprintf(statement->name, sizeof(statement->name), "%s%llu", s->prefix,
		    (unsigned long long)++s->last_name);
		if (pg_send_prepare(session->pg, statement->name, statement->text) != 0 ||
		    pg_send_describe(session->pg, statement->name) != 0 ||
		    pg_send_sync(session->pg) != 0)
			break;
	}
	doomed_clear(s);
	if (read_doomed(session, doomed, error) != 0)
		return -1;
	for (struct slot_statement *statement = queue; statement != NULL;
	     statement = statement->next) {
		if (read_prepared(s, session, statement, error) != 0)
			status = -1;
		if (!slot_session_is_up(session))
			return -1;
	}
	for (size_t i = 0; i < OWN_COUNT; i++) {
		if (s->own[i].state == STATEMENT_FAILED) {
			*error = *s->own[i].error;
			error->class = PG_CLASS_ENVIRONMENT;
			status = -1;
		}
	}
	return status;
}
