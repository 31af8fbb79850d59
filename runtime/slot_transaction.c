/*
 * slot_transaction.c - see slot_transaction.h: what the failure of an attempt means, and what is
 * tried next.
 */
#include "runtime/slot_attempt.h"
#include "runtime/slot_session.h"

enum {
	REPEATS_MAX = 5,		/* 40001, 55P03; deadlocks and lost statements of a group */
	TAKEN_OUT_MAX = 3,		/* failing messages in one group; then message by message */
	HELD_MAX = 2,			/* messages in a row whose claim waits in vain */
	SERIALIZE_MS = 60000,
	CAREFUL_ATTEMPTS = 50		/* after a key that was there */
};

void
slot_transaction_init(struct slot_transaction *t, struct slot_session *session,
    struct slot_statements *statements, struct arena *arena, struct desk *desk,
    const char *consumer)
{
	memset(t, 0, sizeof(*t));
	t->session = session;
	t->statements = statements;
	t->arena = arena;
	t->desk = desk;
	t->consumer = consumer;
	buf_init(&t->keys);
}

void
slot_transaction_release(struct slot_transaction *t)
{
	buf_release(&t->keys);
}

/* ---- statements */

int
slot_transaction_prepare(
    struct slot_transaction *t, const struct slot_group *g, struct pg_error *error)
{
	if (slot_statements_prepare(t->statements, t->session, error) != 0)
		return -1;
	for (size_t i = 0; i < g->count; i++) {
		struct slot_message *m = g->members[i];

		if (!m->pending || !m->fresh_statements)
			continue;
		m->fresh_statements = false;
		for (const struct slot_effect *e = m->effects; e != NULL && m->pending;
		     e = e->next) {
			if (e->statement->state == STATEMENT_FAILED)
				slot_message_fail_sql(
				    m, e->statement->error, e->statement->text, t->arena);
			else if (e->statement->params != e->n)
				slot_message_fail(m, OUTCOME_REJECT, "bad_statement",
				    arena_printf(t->arena,
					"the statement has %d parameters, and %d were given: "
					"%.100s",
					e->statement->params, e->n, e->statement->text));
		}
	}
	return 0;
}

/* The session does not know our statements any more, or the schema changed under one of them. */
int
slot_transaction_prepare_again(
    struct slot_transaction *t, const struct slot_group *g, struct pg_error *error)
{
	if (slot_session_roll_back(t->session, error) != 0 ||
	    slot_session_check_backend(t->session, error) != 0)
		return -1;
	if (pg_query(t->session->pg, t->session->patience_ms, NULL, error, "deallocate all", 0,
		NULL) != 0)
		return -1;
	slot_statements_forget(t->statements);
	for (size_t i = 0; i < g->count; i++) {
		struct slot_message *m = g->members[i];

		if (!m->pending)
			continue;
		m->fresh_statements = true;
		for (const struct slot_effect *e = m->effects; e != NULL; e = e->next)
			slot_statements_want(t->statements, e->statement);
	}
	return slot_transaction_prepare(t, g, error);
}

/* ---- what a failure means */

static enum slot_verdict
group_fails(struct slot_transaction *t, struct slot_group *g, const struct slot_failure *f)
{
	static const char *const where[] = {
		[WHERE_OPEN] = "(claim)", [WHERE_EFFECT] = "", [WHERE_COMMIT] = "commit"
	};

	if (g->count > 1)
		return GROUP_BY_MESSAGE;
	if (f->where == WHERE_COMMIT && f->error.sqlstate[0] == '\0')
		slot_message_fail(g->members[0], OUTCOME_RETRY, "rolled_back",
		    arena_strdup(t->arena, f->error.text));
	else
		slot_message_fail_sql(g->members[0], &f->error,
		    f->where == WHERE_EFFECT ? f->effect->statement->text : where[f->where],
		    t->arena);
	return GROUP_SETTLED;
}

void
slot_transaction_fail_message(struct slot_transaction *t, const struct slot_failure *f)
{
	const struct slot_effect *e = f->effect;

	if (f->expectation)
		slot_message_fail(f->message, e->expect_outcome, e->expect_code,
		    arena_printf(t->arena,
			"expected %lld rows, and the statement touched %lld; in: %.100s",
			(long long)e->expect_rows, (long long)f->rows, e->statement->text));
	else
		slot_message_fail_sql(f->message, &f->error, e->statement->text, t->arena);
}

static enum slot_verdict
message_fails(struct slot_transaction *t, struct slot_group *g, const struct slot_failure *f)
{
	slot_transaction_fail_message(t, f);
	return g->count > 1 && ++g->taken_out > TAKEN_OUT_MAX ? GROUP_BY_MESSAGE : GROUP_AGAIN;
}

enum slot_verdict
slot_transaction_judge(struct slot_transaction *t, struct slot_batch *batch, struct slot_group *g, struct slot_failure *f)
{
	if (f->expectation)
		return message_fails(t, g, f);
	if (f->error.lost)
		return GROUP_ENVIRONMENT;
	if (f->not_new) {
		t->careful = CAREFUL_ATTEMPTS;
		return GROUP_AGAIN;
	}
	switch (f->error.class) {
	case PG_CLASS_STALE:
		if (++g->stale > REPEATS_MAX)
			break;
		return slot_transaction_prepare_again(t, g, &f->error) == 0 ?
		    GROUP_AGAIN : GROUP_ENVIRONMENT;
	case PG_CLASS_DEADLOCK:
		batch->deadlocks++;
		t->serialize_until = clock_mono_after_ms(clock_mono_now(), SERIALIZE_MS);
		if (++g->deadlocks > REPEATS_MAX)
			break;
		return GROUP_AGAIN;
	case PG_CLASS_SERIALIZATION:
		if ((f->message != NULL ? ++f->message->repeats : ++g->repeats) > REPEATS_MAX)
			break;
		return GROUP_AGAIN;
	case PG_CLASS_TIMEOUT:
	case PG_CLASS_DATA:
	case PG_CLASS_STATEMENT:
	case PG_CLASS_MESSAGE:
		break;
	case PG_CLASS_NONE:
	case PG_CLASS_ENVIRONMENT:
		return GROUP_ENVIRONMENT;
	}
	/* Our own statements: a lock that others hold, the schema, a right that is missing. No message is
	 * to blame for that, but for a key that the database cannot take. */
	if (f->where == WHERE_OPEN && f->error.class != PG_CLASS_DATA) {
		if (f->error.class == PG_CLASS_STATEMENT || f->error.class == PG_CLASS_MESSAGE)
			return GROUP_ENVIRONMENT;
		return g->count > 1 ? GROUP_BY_MESSAGE : GROUP_HELD;
	}
	if (f->where == WHERE_EFFECT && f->error.class != PG_CLASS_DEADLOCK &&
	    f->error.class != PG_CLASS_STALE)
		return message_fails(t, g, f);
	return group_fails(t, g, f);
}

/* What the runner has to know of the messages that an environment's failure left behind. */
void
slot_transaction_flag(
    const struct slot_group *g, const struct slot_failure *f, enum slot_verdict verdict)
{
	if (verdict == GROUP_HELD) {
		g->members[0]->flags |= FRAME_OUTCOME_SUSPECT;
		return;
	}
	for (size_t i = 0; i < g->count; i++) {
		struct slot_message *m = g->members[i];

		if (!m->pending || !f->effects_sent)
			continue;
		if (f->error.lost && m->claimed)
			m->flags |= (uint8_t)(FRAME_OUTCOME_SUSPECT |
			    (f->commit_sent ? FRAME_OUTCOME_MAYBE : 0) |
			    (f->error.sqlstate[0] == '\0' ? FRAME_OUTCOME_LOST_SESSION : 0));
		else if (!f->error.lost && m == f->message)
			m->flags |= FRAME_OUTCOME_SUSPECT;
	}
}

/* The session was lost when the handlers had spoken: that may be the work of one. */
static void
suspect(const struct slot_group *g)
{
	for (size_t i = 0; i < g->count; i++)
		g->members[i]->flags |= FRAME_OUTCOME_SUSPECT;
}

static bool
anything_pending(const struct slot_group *g)
{
	for (size_t i = 0; i < g->count; i++)
		if (g->members[i]->pending)
			return true;
	return false;
}

/* After the commit: whose key did not come back is a duplicate. */
static void
settle(const struct slot_group *g)
{
	for (size_t i = 0; i < g->count; i++) {
		struct slot_message *m = g->members[i];

		if (!m->pending)
			continue;
		m->pending = false;
		m->outcome = m->claimed ? OUTCOME_DONE : OUTCOME_DUPLICATE;
	}
}

enum slot_verdict
slot_transaction_group(
    struct slot_transaction *t, struct slot_batch *batch, struct slot_group *g, struct pg_error *error)
{
	while (anything_pending(g)) {
		struct slot_failure f;
		enum slot_verdict verdict;

		if (slot_attempt(t, g, &f) == 0) {
			settle(g);
			break;
		}
		verdict = slot_transaction_judge(t, batch, g, &f);
		if (verdict == GROUP_ENVIRONMENT || verdict == GROUP_HELD) {
			slot_transaction_flag(g, &f, verdict);
			*error = f.error;
		}
		if (verdict != GROUP_AGAIN && verdict != GROUP_SETTLED)
			return verdict;
	}
	return GROUP_SETTLED;
}

/* The pending messages that need the database; those that want nothing of it are done. */
static void
group_init(struct slot_transaction *t, const struct slot_batch *batch, struct slot_group *g)
{
	memset(g, 0, sizeof(*g));
	g->members = arena_alloc(t->arena, (3 * batch->count + 1) * sizeof(struct slot_message *));
	g->by_key = g->members + batch->count;
	g->claimants = g->by_key + batch->count;
	for (size_t i = 0; i < batch->count; i++) {
		struct slot_message *m = &batch->messages[i];

		if (!m->pending)
			continue;
		if (!m->keyed && m->effects == NULL) {
			m->pending = false;
			m->outcome = OUTCOME_DONE;
			continue;
		}
		g->members[g->count++] = m;
		if (m->keyed)
			g->by_key[g->key_count++] = m;
	}
	qsort(g->by_key, g->key_count, sizeof(struct slot_message *),
	    slot_attempt_by_key);
}

/* Some statement changes a setting until the end of the transaction: that must be its message's own. */
static bool
governed(const struct slot_group *g)
{
	for (size_t i = 0; i < g->count; i++)
		if (g->members[i]->governs)
			return true;
	return false;
}

static enum slot_verdict
run_one_by_one(struct slot_transaction *t, struct slot_batch *batch, const struct slot_group *all,
    struct pg_error *error)
{
	enum slot_verdict verdict = GROUP_SETTLED;
	unsigned held = 0;

	for (size_t i = 0; i < all->count && verdict != GROUP_ENVIRONMENT; i++) {
		struct slot_message *m = all->members[i], *claimant = NULL;
		struct slot_group one = {
			.members = &m, .count = 1, .repeats = all->repeats,
			.by_key = &m, .key_count = m->keyed, .claimants = &claimant
		};

		verdict = slot_transaction_group(t, batch, &one, error);
		held = verdict == GROUP_HELD ? held + 1 : 0;
		if (held == HELD_MAX)
			verdict = GROUP_ENVIRONMENT;	/* it is not the keys: the table is locked */
	}
	return verdict;
}

int
slot_transaction_run(struct slot_transaction *t, struct slot_batch *batch, struct pg_error *error)
{
	struct slot_group all;
	enum slot_verdict verdict = GROUP_BY_MESSAGE;

	group_init(t, batch, &all);
	if (all.count == 0)
		return 0;
	if (slot_transaction_prepare(t, &all, error) != 0) {
		if (error->lost)
			suspect(&all);
		return -1;
	}
	t->alone = (batch->flags & FRAME_BATCH_ALONE) != 0;
	if (t->alone)
		t->careful = CAREFUL_ATTEMPTS;	/* they may well have been done */
	else if (!governed(&all))
		verdict = slot_transaction_group(t, batch, &all, error);
	if (verdict == GROUP_BY_MESSAGE)
		verdict = run_one_by_one(t, batch, &all, error);
	if (verdict == GROUP_ENVIRONMENT)
		return -1;
	/* The last attempt may have failed for good. */
	return slot_session_roll_back(t->session, error);
}
