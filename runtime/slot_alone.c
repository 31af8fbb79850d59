/*
 * slot_alone.c - see slot_alone.h. Runs in the slot.
 */
#include "runtime/slot_alone.h"

#include "runtime/slot_attempt.h"
#include "util/fault.h"

#define READ_ONLY_TRANSACTION "25006"

struct alone {
	struct slot *slot;
	struct slot_batch *batch;
	struct slot_message *message, *claimant;
	struct slot_group group;	/* of this message */
	struct slot_failure failure;
	bool failed;			/* a query failed, and not for the message's sake alone: see failure */
};

/* ---- queries */

static const struct pawl_rows *
stop(struct alone *a)
{
	a->failed = true;
	slot_call_stop(&a->slot->call, OUTCOME_RETRY, NULL, NULL);
	return NULL;
}

/* The message ends here, whatever its handler says. */
static const struct pawl_rows *
stop_message(struct alone *a)
{
	const struct slot_message *m = a->message;

	slot_call_stop(&a->slot->call, m->outcome, m->code, m->text);
	return NULL;
}

static const struct pawl_rows *
copy_rows(struct alone *a, const struct pg_result *result)
{
	struct arena *arena = &a->slot->arena;
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

/* Prepares the query and what was recorded before it. false: it cannot be asked, the call is stopped. */
static bool
prepare_query(struct alone *a, struct slot_effect *query)
{
	struct slot_transaction *t = &a->slot->transaction;
	struct slot_message *m = a->message;

	a->failure.where = WHERE_EFFECT;
	a->failure.message = m;
	a->failure.effect = query;
	if (query->statement->state != STATEMENT_PREPARED || m->fresh_statements) {
		if (slot_transaction_prepare(t, &a->group, &a->failure.error) != 0) {
			(void)stop(a);
			return false;
		}
		if (m->pending && query->statement->state == STATEMENT_FAILED)
			slot_message_fail_sql(m, query->statement->error, query->statement->text, t->arena);
		else if (m->pending && query->statement->params != query->n)
			slot_message_fail(m, OUTCOME_REJECT, "bad_statement", arena_printf(t->arena,
			    "the statement has %d parameters, and %d were given: %.100s",
			    query->statement->params, query->n, query->statement->text));
	}
	if (m->pending)
		return true;
	(void)stop_message(a);
	return false;
}

/* The answers refreshed the desk; the handler's time began earlier. */
static void
restore_since(struct alone *a, int64_t since_ns)
{
	atomic_store_explicit(&a->slot->desk->since_ns, since_ns, memory_order_relaxed);
}

static const struct pawl_rows *
ask_in_transaction(struct alone *a, struct slot_effect *query)
{
	struct slot_transaction *t = &a->slot->transaction;
	struct slot_failure *f = &a->failure;
	struct pg_result *result = NULL;
	const struct pawl_rows *rows;

	(void)slot_attempt_send_effects(t, &a->group);
	pg_send_prepared(t->session->pg, query->statement->name, query->n, query->values);
	pg_send_sync(t->session->pg);
	f->effects_sent = true;
	if (slot_attempt_read_effects(t, &a->group, f) != 0)
		return stop(a);
	slot_call_sent(&a->slot->call);
	f->effect = query;
	if (slot_attempt_take(t, f, &result) != 0)
		return stop(a);
	rows = copy_rows(a, result);
	pg_result_free(&result);
	return slot_attempt_sync(t, f) == 0 ? rows : stop(a);
}

static const struct pawl_rows *
ask_reads(void *arg, struct slot_effect *query)
{
	struct alone *a = arg;
	int64_t since_ns = atomic_load_explicit(&a->slot->desk->since_ns, memory_order_relaxed);
	const struct pawl_rows *rows = NULL;

	if (prepare_query(a, query))
		rows = ask_in_transaction(a, query);
	restore_since(a, since_ns);
	return rows;
}

/* A query of an EXTERNAL handler failed: whose fault is it? The handler has perhaps acted already, so nothing is repeated here. */
static const struct pawl_rows *
blame(struct alone *a, const struct slot_effect *query)
{
	struct slot_transaction *t = &a->slot->transaction;
	struct slot_failure *f = &a->failure;

	if (strcmp(f->error.sqlstate, READ_ONLY_TRANSACTION) == 0)
		slot_message_fail(a->message, OUTCOME_REJECT, "read_only", arena_printf(t->arena,
		    "queries of kind EXTERNAL only read: record writes with PAWL_SQL; in: %.100s",
		    query->statement->text));
	else if (f->error.lost || f->error.class == PG_CLASS_ENVIRONMENT ||
	    f->error.class == PG_CLASS_NONE)
		return stop(a);
	else
		slot_message_fail_sql(a->message, &f->error, query->statement->text, t->arena);
	if (slot_session_roll_back(t->session, &f->error) != 0)
		return stop(a);
	return stop_message(a);
}

static const struct pawl_rows *
ask_read_only(struct alone *a, struct slot_effect *query, bool again)
{
	struct slot_transaction *t = &a->slot->transaction;
	const struct slot_statement *own = t->statements->own;
	struct slot_failure *f = &a->failure;
	struct pg_result *result = NULL, *ignored = NULL;
	const struct pawl_rows *rows = NULL;
	bool good;

	t->session->open_transaction = true;
	pg_send_prepared(t->session->pg, own[OWN_BEGIN_READ].name, 0, NULL);
	pg_send_prepared(t->session->pg, query->statement->name, query->n, query->values);
	pg_send_prepared(t->session->pg, own[OWN_COMMIT].name, 0, NULL);
	pg_send_sync(t->session->pg);
	good = slot_attempt_take(t, f, &ignored) == 0;
	pg_result_free(&ignored);
	good = good && slot_attempt_take(t, f, &result) == 0;
	if (good)
		rows = copy_rows(a, result);
	pg_result_free(&result);
	good = good && slot_attempt_take(t, f, &ignored) == 0;
	pg_result_free(&ignored);
	if (!good || slot_attempt_sync(t, f) != 0) {
		if (!again || f->error.lost || f->error.class != PG_CLASS_STALE)
			return blame(a, query);
		/* Only the query is asked again: the handler goes on where it is. */
		if (slot_transaction_prepare_again(t, &a->group, &f->error) != 0)
			return stop(a);
		slot_statements_want(t->statements, query->statement);
		return prepare_query(a, query) ? ask_read_only(a, query, false) : NULL;
	}
	t->session->open_transaction = false;
	return rows;
}

static const struct pawl_rows *
ask_external(void *arg, struct slot_effect *query)
{
	struct alone *a = arg;
	int64_t since_ns = atomic_load_explicit(&a->slot->desk->since_ns, memory_order_relaxed);
	const struct pawl_rows *rows = NULL;

	if (prepare_query(a, query))
		rows = ask_read_only(a, query, true);
	restore_since(a, since_ns);
	return rows;
}

static void
call(struct alone *a, const struct pawl_rows *(*ask)(void *, struct slot_effect *))
{
	struct slot_message *m = a->message;

	a->failed = false;
	m->pending = true;		/* until the handler has spoken */
	m->effects = m->sent = NULL;
	m->expects = m->governs = m->fresh_statements = false;
	a->slot->call.ask = ask;
	a->slot->call.ask_arg = a;
	slot_work_call(a->slot, a->batch, m);
	a->slot->call.ask = NULL;
}

/* ---- READS */

static enum slot_verdict
judge(struct alone *a)
{
	a->message->pending = true;
	return slot_transaction_judge(&a->slot->transaction, a->batch, &a->group, &a->failure);
}

static enum slot_verdict
settled(struct alone *a, enum outcome outcome)
{
	a->message->pending = false;
	a->message->outcome = outcome;
	return GROUP_SETTLED;
}

/* What the handler recorded since its last query, and the commit. */
static enum slot_verdict
reads_commit(struct alone *a)
{
	struct slot_transaction *t = &a->slot->transaction;
	struct slot_failure *f = &a->failure;
	bool expects;

	if (slot_transaction_prepare(t, &a->group, &f->error) != 0)
		return judge(a);
	if (!a->message->pending)
		return GROUP_SETTLED;
	expects = slot_attempt_send_effects(t, &a->group);
	f->effects_sent = true;
	if (expects) {
		pg_send_sync(t->session->pg);
		if (slot_attempt_read_effects(t, &a->group, f) != 0 || slot_attempt_sync(t, f) != 0)
			return judge(a);
	}
	(void)fault_hit("slot.before_commit");
	slot_attempt_send_commit(t, false);
	f->commit_sent = true;
	if ((!expects && slot_attempt_read_effects(t, &a->group, f) != 0) ||
	    slot_attempt_read_commit(t, false, f) != 0)
		return judge(a);
	(void)fault_hit("slot.after_commit");
	return settled(a, OUTCOME_DONE);
}

static enum slot_verdict
reads_attempt(struct alone *a)
{
	struct slot_transaction *t = &a->slot->transaction;
	struct slot_message *m = a->message;
	struct slot_failure *f = &a->failure;
	const struct slot_opening o = {
		.pid = t->session->pooled, .lock = slot_attempt_serialized(t),
		.claim = m->keyed, .careful = true
	};

	memset(f, 0, sizeof(*f));
	m->pending = true;
	if (slot_session_roll_back(t->session, &f->error) != 0)
		return judge(a);
	slot_attempt_choose(t, &a->group);
	m->claimed = !m->keyed;
	slot_attempt_open(t, &o);
	pg_send_sync(t->session->pg);
	if (slot_attempt_read_opening(t, &a->group, &o, f) != 0 || slot_attempt_sync(t, f) != 0)
		return judge(a);
	if (!m->claimed) {
		slot_attempt_send_commit(t, t->alone);
		return slot_attempt_read_commit(t, t->alone, f) == 0 ?
		    settled(a, OUTCOME_DUPLICATE) : judge(a);
	}
	call(a, ask_reads);
	if (a->failed)
		return judge(a);
	return m->pending ? reads_commit(a) : GROUP_SETTLED;
}

static int
reads(struct alone *a, struct pg_error *error)
{
	struct slot_message *m = a->message;
	enum slot_verdict verdict;

	do {
		verdict = reads_attempt(a);
	} while (m->pending && verdict == GROUP_AGAIN);
	if (m->pending) {
		slot_transaction_flag(&a->group, &a->failure, verdict);
		*error = a->failure.error;
		if (verdict == GROUP_ENVIRONMENT)
			return -1;
	}
	return slot_session_roll_back(&a->slot->session, error);
}

/* ---- EXTERNAL */

/* The lock on the key, then a look into the inbox, whose snapshot is younger than the lock. */
static int
lock_key(struct alone *a, bool *got, bool *known)
{
	struct slot_transaction *t = &a->slot->transaction;
	const char *const values[] = { t->consumer, a->message->key.data };
	const struct slot_statement *own = t->statements->own;
	struct pg *pg = t->session->pg;

	pg_send_prepared(pg, own[OWN_TRY_KEY].name, 2, values);
	pg_send_prepared(pg, own[OWN_KNOWN].name, 2, values);
	pg_send_sync(pg);
	return slot_attempt_take_bool(t, &a->failure, got) == 0 &&
	    slot_attempt_take_bool(t, &a->failure, known) == 0 &&
	    slot_attempt_sync(t, &a->failure) == 0 ? 0 : -1;
}

static int
unlock_key(struct alone *a)
{
	struct slot_transaction *t = &a->slot->transaction;
	const char *const values[] = { t->consumer, a->message->key.data };
	bool was_ours;

	pg_send_prepared(t->session->pg, t->statements->own[OWN_UNLOCK_KEY].name, 2, values);
	pg_send_sync(t->session->pg);
	return slot_attempt_take_bool(t, &a->failure, &was_ours) == 0 ?
	    slot_attempt_sync(t, &a->failure) : -1;
}

/* The handler, unless the key is known, and its effects. -1: the environment failed. */
static int
act(struct alone *a, bool known)
{
	struct slot_transaction *t = &a->slot->transaction;
	struct slot_message *m = a->message;

	if (!known)
		call(a, ask_external);
	if (a->failed) {
		m->pending = true;
		return -1;
	}
	if (m->pending && !m->keyed && m->effects == NULL)
		(void)settled(a, OUTCOME_DONE);
	if (!m->pending)
		return 0;
	if (slot_transaction_prepare(t, &a->group, &a->failure.error) != 0)
		return -1;
	t->careful = t->careful > 0 ? t->careful : 1;
	if (slot_transaction_group(t, a->batch, &a->group, &a->failure.error) == GROUP_ENVIRONMENT)
		return -1;
	return slot_session_roll_back(t->session, &a->failure.error);
}

static int
external(struct alone *a, struct pg_error *error)
{
	struct slot_message *m = a->message;
	bool got = true, known = false;
	int status;

	status = slot_session_roll_back(&a->slot->session, &a->failure.error);
	if (status == 0 && m->keyed)
		status = lock_key(a, &got, &known);
	if (status == 0 && !got) {
		m->flags |= FRAME_OUTCOME_BUSY;
		return 0;
	}
	if (status == 0)
		status = act(a, known);
	if (status == 0 && m->keyed)
		status = unlock_key(a);
	/* Else the session is closed, and the lock goes with it. */
	if (status != 0)
		*error = a->failure.error;
	return status;
}

int
slot_alone_try(struct slot *s, struct slot_batch *b, struct slot_message *m, struct pg_error *error)
{
	struct slot_transaction *t = &s->transaction;
	struct alone a = {
		.slot = s, .batch = b, .message = m,
		.group = { .members = &a.message, .count = 1, .by_key = &a.message,
		    .claimants = &a.claimant }
	};
	const struct slot_opening o = { .pid = t->session->pooled };
	bool reads = s->handlers.list[m->in->handler].kind == PAWL_READS;

	m->claimed = true;
	if (reads) {
		slot_attempt_open(t, &o);
		pg_send_sync(t->session->pg);
		a.failed = slot_attempt_read_opening(t, &a.group, &o, &a.failure) != 0 ||
		    slot_attempt_sync(t, &a.failure) != 0;
	}
	if (!a.failed)
		call(&a, reads ? ask_reads : ask_external);
	if (a.failed) {
		*error = a.failure.error;
		return -1;
	}
	return slot_session_roll_back(t->session, error);
}

int
slot_alone_run(struct slot *s, struct slot_batch *b, int status, struct pg_error *error)
{
	s->transaction.alone = (b->flags & FRAME_BATCH_ALONE) != 0;
	for (size_t i = 0; i < b->count; i++)
		b->messages[i].pending = b->messages[i].pending || b->messages[i].alone;
	for (size_t i = 0; i < b->count && status == 0; i++) {
		struct slot_message *m = &b->messages[i];
		struct alone a = {
			.slot = s, .batch = b, .message = m,
			.group = { .members = &a.message, .count = 1, .by_key = &a.message,
			    .key_count = m->keyed, .claimants = &a.claimant }
		};

		if (m->alone)
			status = s->handlers.list[m->in->handler].kind == PAWL_READS ?
			    reads(&a, error) : external(&a, error);
	}
	return status;
}
