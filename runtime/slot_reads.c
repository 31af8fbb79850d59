/*
 * slot_reads.c - see slot_reads.h. Runs in the slot.
 *
 * Round trips: one to begin and claim, one for each query, one to commit. A message that is alone in its
 * transaction has no savepoint: all is rolled back when it fails.
 */
#include "runtime/slot_reads.h"

#include "runtime/slot_ask.h"
#include "runtime/slot_session.h"
#include "util/fault.h"

enum {
	/* Savepoints are transactions for the server: with more than 64 in one, all others look up each of them
	 * on disk (PGPROC_MAX_CACHED_SUBXIDS). Handlers may have some of their own, in functions. */
	TOGETHER_MOST = 32,
	TRANSACTION_MS = 100,
	CUTS_MOST = 3			/* failing messages in a batch; the rest is done message by message */
};

struct reads {
	struct slot_ask ask;
	struct slot_group group;	/* the messages that share the transaction */
	bool several;
	size_t count;			/* of them: how many are done in it; the others have to wait for the next */
	size_t at;			/* whose handler runs; count: none any more */
	size_t handled;			/* how many handlers were called */
	size_t unsent;			/* from here on to 'at': what was recorded is not sent yet */
	bool cut;			/* the message at 'count' is to have a transaction of its own */
	bool deadlock;
};

static struct pg *
pg_of(const struct reads *r)
{
	return r->ask.slot->session.pg;
}

static const struct slot_statement *
own(const struct reads *r, enum slot_own which)
{
	return &r->ask.slot->statements.own[which];
}

static int
take(struct reads *r)
{
	struct pg_result *result = NULL;
	int status;

	r->ask.failure.where = WHERE_OPEN;
	status = slot_attempt_take(&r->ask.slot->transaction, &r->ask.failure, &result);
	pg_result_free(&result);
	return status;
}

/* To the last savepoint: that of the last message of which anything was sent. */
static int
roll_back_to_savepoint(struct reads *r)
{
	struct slot_failure *f = &r->ask.failure;

	pg_send_prepared(pg_of(r), own(r, OWN_ROLLBACK_TO)->name, 0, NULL);
	pg_send_sync(pg_of(r));
	return take(r) == 0 ? slot_attempt_sync(&r->ask.slot->transaction, f) : -1;
}

/*
 * Not for what failed here is a message to blame that shared a transaction: now() and temporary tables are
 * others when it is alone. Those before it are committed, it is next, alone; then come those behind it,
 * whose handlers may have run already.
 */
static int
cut(struct reads *r, struct slot_message *m)
{
	if (m->savepoint && roll_back_to_savepoint(r) != 0)
		return -1;
	for (size_t i = 0; i < r->group.count; i++)
		if (r->group.members[i] == m)
			r->count = i;
	r->cut = true;
	return 0;
}

/* Something failed. 0: it was a statement of a message, the transaction is cut there. */
static int
cut_at_failure(struct reads *r)
{
	const struct slot_failure *f = &r->ask.failure;

	if (!r->several || f->error.lost || f->where != WHERE_EFFECT ||
	    f->error.class == PG_CLASS_ENVIRONMENT || f->error.class == PG_CLASS_NONE ||
	    f->error.class == PG_CLASS_STALE)
		return -1;
	if (f->error.class == PG_CLASS_DEADLOCK) {
		r->ask.batch->deadlocks++;
		r->deadlock = true;
	}
	return cut(r, f->message);
}

/* ---- what was recorded */

static bool
sends(const struct reads *r, size_t i)
{
	return r->group.members[i]->claimed && r->group.members[i]->effects != NULL;
}

static bool
is_ahead_of_sent(const struct reads *r)
{
	for (size_t i = r->unsent; i < r->at; i++)
		if (sends(r, i))
			return true;
	return false;
}

static struct slot_group
group_of(struct slot_message **m)
{
	return (struct slot_group){ .members = m, .count = 1 };
}

/* What earlier messages recorded, each behind its savepoint; then the savepoint of the present one. */
static void
send_earlier(struct reads *r)
{
	for (size_t i = r->unsent; i <= r->at && i < r->count; i++) {
		struct slot_group one = group_of(&r->group.members[i]);

		if (i < r->at && !sends(r, i))
			continue;
		if (r->several && !r->group.members[i]->savepoint)
			pg_send_prepared(pg_of(r), own(r, OWN_SAVEPOINT)->name, 0, NULL);
		if (i < r->at)
			(void)slot_attempt_send_effects(&r->ask.slot->transaction, &one);
	}
	r->ask.failure.effects_sent = true;
}

static void
sent(struct slot_message *m)
{
	m->effects = NULL;
}

static int
read_earlier(struct reads *r)
{
	for (size_t i = r->unsent; i <= r->at && i < r->count; i++) {
		struct slot_group one = group_of(&r->group.members[i]);
		struct slot_message *m = *one.members;

		if (i < r->at && !sends(r, i))
			continue;
		if (r->several && !m->savepoint) {
			if (take(r) != 0)
				return -1;
			m->savepoint = true;
		}
		if (i == r->at)
			break;
		if (slot_attempt_read_effects(&r->ask.slot->transaction, &one, &r->ask.failure) != 0)
			return -1;
		sent(m);
	}
	r->unsent = r->at;
	return 0;
}

/* What was recorded by earlier messages; then, if wanted, by the present one; then its query, whose result is given. */
static int
ask_database(struct reads *r, bool effects, struct slot_effect *query, struct pg_result **result)
{
	struct slot_transaction *t = &r->ask.slot->transaction;
	struct slot_failure *f = &r->ask.failure;
	struct slot_group one = group_of(&r->group.members[r->at]);

	send_earlier(r);
	if (effects)
		(void)slot_attempt_send_effects(t, &one);
	if (query != NULL)
		pg_send_prepared(pg_of(r), query->statement->name, query->n, query->values);
	pg_send_sync(pg_of(r));
	if (read_earlier(r) != 0 || (effects && slot_attempt_read_effects(t, &one, f) != 0))
		return -1;
	if (query != NULL) {
		f->where = WHERE_EFFECT;
		f->message = *one.members;
		f->effect = query;
		if (slot_attempt_take(t, f, result) != 0)
			return -1;
	}
	return slot_attempt_sync(t, f);
}

/* A text that cannot be prepared ends the transaction, but for a savepoint. */
static int
prepare(struct reads *r, struct slot_effect *query)
{
	struct slot_message *m = r->ask.message;
	bool fresh = m->fresh_statements || (query != NULL && query->statement->state != STATEMENT_PREPARED);

	if (fresh && r->several && ask_database(r, false, NULL, NULL) != 0)
		return -1;
	return slot_ask_prepare(&r->ask, query);
}

/* ---- the handler */

static void
set_desk(struct reads *r, enum desk_phase phase, int64_t since_ns)
{
	struct desk *desk = r->ask.slot->desk;

	atomic_store_explicit(&desk->since_ns, since_ns, memory_order_relaxed);
	atomic_store_explicit(&desk->phase, (uint32_t)phase, memory_order_release);
}

/* It changes settings until the end of the transaction. */
static int
cut_if_governing(struct reads *r)
{
	struct slot_message *m = r->ask.message;

	if (!r->several || !m->governs)
		return 0;
	r->ask.slot->handlers.list[m->in->handler].apart = true;
	return cut(r, m);
}

static const struct pawl_rows *
answer(struct reads *r, struct slot_effect *query)
{
	struct slot_message *m = r->ask.message;
	struct slot_failure *f = &r->ask.failure;
	struct pg_result *result = NULL;
	const struct pawl_rows *rows;

	if (cut_if_governing(r) != 0 || r->cut)
		return slot_ask_stop(&r->ask);
	if (prepare(r, query) != 0 || (m->pending && ask_database(r, true, query, &result) != 0)) {
		pg_result_free(&result);
		if (!f->expectation) {
			(void)cut_at_failure(r);
			return slot_ask_stop(&r->ask);
		}
		slot_transaction_fail_message(&r->ask.slot->transaction, f);
	}
	if (!m->pending)
		return slot_ask_stop_message(&r->ask);
	slot_call_sent(&r->ask.slot->call);
	rows = slot_ask_copy_rows(&r->ask, result);
	pg_result_free(&result);
	return rows;
}

/* The answers refreshed the desk; the handler's time began earlier. What others recorded is not its time. */
static const struct pawl_rows *
ask(void *arg, struct slot_effect *query)
{
	struct reads *r = arg;
	int64_t since_ns = atomic_load_explicit(&r->ask.slot->desk->since_ns, memory_order_relaxed);
	int64_t before_ns = clock_mono_now().ns;
	bool others = is_ahead_of_sent(r);
	const struct pawl_rows *rows;

	slot_work_check(r->ask.slot);
	if (others)
		set_desk(r, DESK_DATABASE, before_ns);
	rows = answer(r, query);
	set_desk(r, DESK_HANDLING, others ? since_ns + clock_mono_now().ns - before_ns : since_ns);
	return rows;
}

/* What it recorded is made ready to be sent with what comes next; an expectation is looked at now. */
static int
finish(struct reads *r)
{
	struct slot_message *m = r->ask.message;
	struct slot_failure *f = &r->ask.failure;

	if (prepare(r, NULL) != 0)
		return cut_at_failure(r);
	if (!m->pending || !m->expects || m->effects == NULL)
		return 0;
	if (ask_database(r, true, NULL, NULL) == 0)
		sent(m);
	else if (f->expectation)
		slot_transaction_fail_message(&r->ask.slot->transaction, f);
	else
		return cut_at_failure(r);
	return 0;
}

/* -1: the transaction has failed; see the failure. */
static int
handle(struct reads *r)
{
	struct slot_message *m = r->ask.message = r->group.members[r->at];

	r->handled = r->at + 1;
	slot_ask_call(&r->ask, ask, r);
	if (r->ask.failed)
		return r->cut ? 0 : -1;
	if (m->pending && (cut_if_governing(r) != 0 || (!r->cut && finish(r) != 0)))
		return -1;
	if (r->cut || m->pending)
		return 0;
	m->claimed = false;
	m->effects = NULL;
	slot_statements_unwant(&r->ask.slot->statements);
	r->ask.failure.expectation = false;
	return m->savepoint ? roll_back_to_savepoint(r) : 0;
}

/* ---- the transaction */

static enum slot_verdict
judge(struct reads *r)
{
	struct slot_failure *f = &r->ask.failure;

	for (size_t i = 0; i < r->group.count; i++)
		r->group.members[i]->pending = true;
	if (r->several && !f->error.lost && f->error.class == PG_CLASS_DEADLOCK)
		r->ask.batch->deadlocks++;
	if (r->several && !f->error.lost && f->error.class != PG_CLASS_ENVIRONMENT &&
	    f->error.class != PG_CLASS_NONE && f->error.class != PG_CLASS_STALE)
		return GROUP_BY_MESSAGE;
	return slot_transaction_judge(&r->ask.slot->transaction, r->ask.batch, &r->group, f);
}

/* The keys that were claimed in vain, as text[]; NULL: none. */
static const char *
keys_in_vain(struct reads *r)
{
	struct slot_transaction *t = &r->ask.slot->transaction;

	buf_clear(&t->keys);
	for (size_t i = 0; i < r->group.count; i++) {
		const struct slot_message *m = r->group.members[i];

		if (m->claimant && !(m->claimed && i < r->count))
			slot_attempt_put_key(t, m->key);
	}
	if (t->keys.len == 0)
		return NULL;
	buf_putc(&t->keys, '}');
	return t->keys.data;
}

static bool
anything_done(const struct reads *r)
{
	for (size_t i = 0; i < r->count; i++)
		if (r->group.members[i]->pending && r->group.members[i]->claimed)
			return true;
	return false;
}

/* Those behind the cut, if they have spoken: not in this transaction. */
static enum slot_verdict
settle(struct reads *r)
{
	for (size_t i = 0; i < r->group.count; i++) {
		struct slot_message *m = r->group.members[i];

		if (i >= r->count)
			m->pending = true;
		if (i >= r->count || !m->pending)
			continue;
		m->pending = false;
		m->outcome = m->claimed ? OUTCOME_DONE : OUTCOME_DUPLICATE;
	}
	return GROUP_SETTLED;
}

static enum slot_verdict
commit(struct reads *r)
{
	struct slot_transaction *t = &r->ask.slot->transaction;
	struct slot_failure *f = &r->ask.failure;
	/* One that is alone and known: see slot_attempt_send_commit(). */
	bool known = r->group.members[0]->pending && !r->group.members[0]->claimed;
	bool witness = t->alone && known, in_vain;

	for (;;) {
		const char *values[] = { t->consumer, NULL };

		r->at = r->count;
		if (!anything_done(r) && !witness)
			return settle(r);	/* whoever comes next rolls back */
		send_earlier(r);
		values[1] = keys_in_vain(r);
		in_vain = values[1] != NULL;
		if (in_vain)
			pg_send_prepared(pg_of(r), own(r, OWN_GIVE_BACK)->name, 2, values);
		(void)fault_hit("slot.before_commit");
		slot_attempt_send_commit(t, witness);
		f->commit_sent = true;
		if (read_earlier(r) == 0)
			break;
		if (cut_at_failure(r) != 0)
			return judge(r);
		f->commit_sent = false;
	}
	if ((in_vain && take(r) != 0) || slot_attempt_read_commit(t, witness, f) != 0)
		return judge(r);
	(void)fault_hit("slot.after_commit");
	return settle(r);
}

static void
begin(struct reads *r)
{
	memset(&r->ask.failure, 0, sizeof(r->ask.failure));
	r->ask.failed = r->cut = false;
	r->ask.message = r->group.members[0];
	r->count = r->group.count;
	r->at = r->unsent = r->handled = 0;
	for (size_t i = 0; i < r->group.count; i++) {
		struct slot_message *m = r->group.members[i];

		m->pending = true;
		m->savepoint = false;
		m->effects = m->sent = NULL;
		m->claimed = !m->keyed;
	}
}

static enum slot_verdict
attempt(struct reads *r)
{
	struct slot_transaction *t = &r->ask.slot->transaction;
	struct slot_failure *f = &r->ask.failure;
	struct slot_opening o = {
		.pid = t->session->pooled, .lock = slot_attempt_serialized(t), .careful = true
	};
	struct clock_mono until;

	begin(r);
	slot_statements_unwant(t->statements);
	if (slot_session_roll_back(t->session, &f->error) != 0 ||
	    slot_statements_prepare(t->statements, t->session, &f->error) != 0)
		return judge(r);
	slot_attempt_choose(t, &r->group);
	o.claim = r->group.claimant_count > 0;
	slot_attempt_open(t, &o);
	pg_send_sync(t->session->pg);
	if (slot_attempt_read_opening(t, &r->group, &o, f) != 0 || slot_attempt_sync(t, f) != 0)
		return judge(r);
	for (size_t i = 0; i < r->group.count; i++)
		r->group.members[i]->claimant = r->group.members[i]->keyed && r->group.members[i]->claimed;
	until = clock_mono_after_ms(clock_mono_now(), TRANSACTION_MS);
	for (; r->at < r->count; r->at++) {
		if (!r->group.members[r->at]->claimed)
			continue;
		if (r->at > 0 && clock_ms_between(clock_mono_now(), until) <= 0)
			r->count = r->at;
		else if (handle(r) != 0)
			return judge(r);
	}
	return commit(r);
}

/* ---- a batch */

/* How many of these share a transaction: the first ones, no two with one key, because the second is a duplicate only if the first is done. */
static size_t
share(struct slot *s, struct slot_message **messages, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (s->handlers.list[messages[i]->in->handler].apart)
			return i == 0 ? 1 : i;
		for (size_t k = 0; k < i && messages[i]->keyed; k++)
			if (slice_equals(messages[k]->key, messages[i]->key))
				return i;
	}
	return count;
}

static void
reads_init(struct reads *r, struct slot *s, struct slot_batch *b, struct slot_message **messages, size_t count)
{
	*r = (struct reads){
		.ask = { .slot = s, .batch = b },
		.group = { .members = messages, .count = count },
		.several = count > 1
	};
	r->group.by_key = arena_alloc(&s->arena, 2 * count * sizeof(struct slot_message *));
	r->group.claimants = r->group.by_key + count;
	for (size_t i = 0; i < count; i++)
		if (messages[i]->keyed)
			r->group.by_key[r->group.key_count++] = messages[i];
	qsort(r->group.by_key, r->group.key_count, sizeof(struct slot_message *), slot_attempt_by_key);
}

/* The session was lost when handlers had spoken, perhaps before anything was sent for them: that may be the work of one. */
static void
suspect(const struct reads *r)
{
	for (size_t i = 0; i < r->handled; i++)
		if (r->group.members[i]->claimed)
			r->group.members[i]->flags |= FRAME_OUTCOME_SUSPECT;
}

static enum slot_verdict
run(struct reads *r, struct pg_error *error)
{
	enum slot_verdict verdict;

	do {
		verdict = attempt(r);
	} while (r->group.members[0]->pending && verdict == GROUP_AGAIN);
	if (verdict == GROUP_ENVIRONMENT || verdict == GROUP_HELD) {
		slot_transaction_flag(&r->group, &r->ask.failure, verdict);
		*error = r->ask.failure.error;
		if (error->lost)
			suspect(r);
	}
	return verdict;
}

int
slot_reads_run(struct slot *s, struct slot_batch *b, struct slot_message **messages, size_t count, struct pg_error *error)
{
	size_t one_by_one = s->transaction.alone ? count : 0;	/* those before that */
	size_t done = 0;
	unsigned cuts = 0;

	while (done < count) {
		size_t left = count - done < TOGETHER_MOST ? count - done : TOGETHER_MOST;
		struct reads r;

		reads_init(&r, s, b, messages + done,
		    done < one_by_one ? 1 : share(s, messages + done, left));
		switch (run(&r, error)) {
		case GROUP_ENVIRONMENT:
			return -1;
		case GROUP_BY_MESSAGE:
			one_by_one = done + r.group.count;
			break;
		case GROUP_SETTLED:
		case GROUP_AGAIN:
		case GROUP_HELD:
			done += r.count;
			if (r.cut)
				one_by_one = ++cuts > CUTS_MOST || r.deadlock ? count : done + 1;
			break;
		}
	}
	return slot_session_roll_back(&s->session, error);
}

int
slot_reads_try(struct slot *s, struct slot_batch *b, struct slot_message *m, struct pg_error *error)
{
	struct slot_transaction *t = &s->transaction;
	const struct slot_opening o = { .pid = t->session->pooled };
	struct reads r;

	reads_init(&r, s, b, &m, 1);
	begin(&r);
	m->claimed = true;
	slot_attempt_open(t, &o);
	pg_send_sync(t->session->pg);
	r.ask.failed = slot_attempt_read_opening(t, &r.group, &o, &r.ask.failure) != 0 ||
	    slot_attempt_sync(t, &r.ask.failure) != 0;
	if (!r.ask.failed)
		slot_ask_call(&r.ask, ask, &r);
	if (!r.ask.failed && (!m->pending || slot_ask_prepare(&r.ask, NULL) == 0))
		return 0;
	*error = r.ask.failure.error;
	return -1;
}
