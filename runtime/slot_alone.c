/*
 * slot_alone.c - see slot_alone.h. Runs in the slot.
 */
#include "runtime/slot_alone.h"

#include "runtime/slot_ask.h"
#include "runtime/slot_reads.h"

#define READ_ONLY_TRANSACTION "25006"

struct alone {
	struct slot_ask ask;
	struct slot_message *claimant;
	struct slot_group group;	/* of the message */
};

/* ---- queries */

/* The answers refreshed the desk; the handler's time began earlier. */
static void
restore_since(struct alone *a, int64_t since_ns)
{
	atomic_store_explicit(&a->ask.slot->desk->since_ns, since_ns, memory_order_relaxed);
}

/* false: it cannot be asked, the call is stopped. */
static bool
prepare_query(struct alone *a, struct slot_effect *query)
{
	if (slot_ask_prepare(&a->ask, query) != 0) {
		(void)slot_ask_stop(&a->ask);
		return false;
	}
	if (a->ask.message->pending)
		return true;
	(void)slot_ask_stop_message(&a->ask);
	return false;
}

/* A query of an EXTERNAL handler failed: whose fault is it? The handler has perhaps acted already, so nothing is repeated here. */
static const struct pawl_rows *
blame(struct alone *a, const struct slot_effect *query)
{
	struct slot_transaction *t = &a->ask.slot->transaction;
	struct slot_failure *f = &a->ask.failure;

	if (strcmp(f->error.sqlstate, READ_ONLY_TRANSACTION) == 0)
		slot_message_fail(a->ask.message, OUTCOME_REJECT, "read_only", arena_printf(t->arena,
		    "queries of kind EXTERNAL only read: record writes with PAWL_SQL; in: %.100s",
		    query->statement->text));
	else if (f->error.lost || f->error.class == PG_CLASS_ENVIRONMENT ||
	    f->error.class == PG_CLASS_NONE)
		return slot_ask_stop(&a->ask);
	else
		slot_message_fail_sql(a->ask.message, &f->error, query->statement->text, t->arena);
	if (slot_session_roll_back(t->session, &f->error) != 0)
		return slot_ask_stop(&a->ask);
	return slot_ask_stop_message(&a->ask);
}

static const struct pawl_rows *
ask_read_only(struct alone *a, struct slot_effect *query, bool again)
{
	struct slot_transaction *t = &a->ask.slot->transaction;
	const struct slot_statement *own = t->statements->own;
	struct slot_failure *f = &a->ask.failure;
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
		rows = slot_ask_copy_rows(&a->ask, result);
	pg_result_free(&result);
	good = good && slot_attempt_take(t, f, &ignored) == 0;
	pg_result_free(&ignored);
	if (!good || slot_attempt_sync(t, f) != 0) {
		if (!again || f->error.lost || f->error.class != PG_CLASS_STALE)
			return blame(a, query);
		/* Only the query is asked again: the handler goes on where it is. */
		if (slot_transaction_prepare_again(t, &a->group, &f->error) != 0)
			return slot_ask_stop(&a->ask);
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
	int64_t since_ns = atomic_load_explicit(&a->ask.slot->desk->since_ns, memory_order_relaxed);
	const struct pawl_rows *rows = NULL;

	slot_work_check(a->ask.slot);
	if (prepare_query(a, query))
		rows = ask_read_only(a, query, true);
	restore_since(a, since_ns);
	return rows;
}

/* The lock on the key, then a look into the inbox, whose snapshot is younger than the lock. */
static int
lock_key(struct alone *a, bool *got, bool *known)
{
	struct slot_transaction *t = &a->ask.slot->transaction;
	const char *const values[] = { t->consumer, a->ask.message->key.data };
	const struct slot_statement *own = t->statements->own;
	struct pg *pg = t->session->pg;

	pg_send_prepared(pg, own[OWN_TRY_KEY].name, 2, values);
	pg_send_prepared(pg, own[OWN_KNOWN].name, 2, values);
	pg_send_sync(pg);
	return slot_attempt_take_bool(t, &a->ask.failure, got) == 0 &&
	    slot_attempt_take_bool(t, &a->ask.failure, known) == 0 &&
	    slot_attempt_sync(t, &a->ask.failure) == 0 ? 0 : -1;
}

static int
unlock_key(struct alone *a)
{
	struct slot_transaction *t = &a->ask.slot->transaction;
	const char *const values[] = { t->consumer, a->ask.message->key.data };
	bool was_ours;

	pg_send_prepared(t->session->pg, t->statements->own[OWN_UNLOCK_KEY].name, 2, values);
	pg_send_sync(t->session->pg);
	return slot_attempt_take_bool(t, &a->ask.failure, &was_ours) == 0 ?
	    slot_attempt_sync(t, &a->ask.failure) : -1;
}

/* The handler, unless the key is known, and its effects. -1: the environment failed. */
static int
act(struct alone *a, bool known)
{
	struct slot_transaction *t = &a->ask.slot->transaction;
	struct slot_message *m = a->ask.message;

	if (!known)
		slot_ask_call(&a->ask, ask_external, a);
	if (a->ask.failed) {
		m->pending = true;
		return -1;
	}
	if (m->pending && !m->keyed && m->effects == NULL) {
		m->pending = false;
		m->outcome = OUTCOME_DONE;
	}
	if (!m->pending)
		return 0;
	if (slot_transaction_prepare(t, &a->group, &a->ask.failure.error) != 0)
		return -1;
	t->careful = t->careful > 0 ? t->careful : 1;
	if (slot_transaction_group(t, a->ask.batch, &a->group, &a->ask.failure.error) == GROUP_ENVIRONMENT)
		return -1;
	return slot_session_roll_back(t->session, &a->ask.failure.error);
}

static int
external(struct alone *a, struct pg_error *error)
{
	struct slot_message *m = a->ask.message;
	bool got = true, known = false, acted = false;
	int status;

	status = slot_session_roll_back(&a->ask.slot->session, &a->ask.failure.error);
	if (status == 0 && m->keyed)
		status = lock_key(a, &got, &known);
	if (status == 0 && !got) {
		m->flags |= FRAME_OUTCOME_BUSY;
		return 0;
	}
	if (status == 0) {
		acted = !known;
		status = act(a, known);
	}
	if (status == 0 && m->keyed)
		status = unlock_key(a);
	/* Else the session is closed, and the lock goes with it. Was it lost while the handler acted? Then
	 * that shall not be repeated for ever. */
	if (status != 0) {
		*error = a->ask.failure.error;
		if (acted && error->lost)
			m->flags |= FRAME_OUTCOME_SUSPECT;
	}
	return status;
}

static void
alone_init(struct alone *a, struct slot *s, struct slot_batch *b, struct slot_message *m)
{
	*a = (struct alone){
		.ask = { .slot = s, .batch = b, .message = m },
		.group = { .members = &a->ask.message, .count = 1, .by_key = &a->ask.message,
		    .key_count = m->keyed, .claimants = &a->claimant }
	};
}

int
slot_alone_try(struct slot *s, struct slot_batch *b, struct slot_message *m, struct pg_error *error)
{
	struct alone a;
	int status = 0;

	if (s->handlers.list[m->in->handler].kind == PAWL_READS) {
		status = slot_reads_try(s, b, m, error);
	} else {
		alone_init(&a, s, b, m);
		m->claimed = true;
		slot_ask_call(&a.ask, ask_external, &a);
		a.ask.failed = a.ask.failed || (m->pending && slot_ask_prepare(&a.ask, NULL) != 0);
		*error = a.ask.failure.error;
		status = a.ask.failed ? -1 : 0;
	}
	return status == 0 ? slot_session_roll_back(&s->session, error) : -1;
}

/* Of those that are alone: how many handlers in a row read. */
static size_t
readers(const struct slot *s, struct slot_message **messages, size_t count)
{
	size_t n = 0;

	while (n < count && s->handlers.list[messages[n]->in->handler].kind == PAWL_READS)
		n++;
	return n;
}

int
slot_alone_run(struct slot *s, struct slot_batch *b, int status, struct pg_error *error)
{
	struct slot_message **messages = arena_alloc(&s->arena, b->count * sizeof(*messages));
	size_t count = 0;

	s->transaction.alone = (b->flags & FRAME_BATCH_ALONE) != 0;
	for (size_t i = 0; i < b->count; i++) {
		struct slot_message *m = &b->messages[i];

		m->pending = m->pending || m->alone;
		if (m->alone)
			messages[count++] = m;
	}
	for (size_t i = 0; i < count && status == 0;) {
		size_t n = readers(s, messages + i, count - i);
		struct alone a;

		if (n > 0) {
			status = slot_reads_run(s, b, messages + i, n, error);
			i += n;
		} else {
			alone_init(&a, s, b, messages[i++]);
			status = external(&a, error);
		}
	}
	return status;
}
