/*
 * slot_transaction.c - see slot_transaction.h.
 *
 * Round trips: one; another one before the effects if the claim is a careful one; another one
 * before the commit if there is an expectation (pawl_expect), which has to be looked at.
 */
#include "runtime/slot_transaction.h"

#include "util/fault.h"
#include "util/log.h"

enum {
	REPEATS_MAX = 5,		/* 40001, 55P03; deadlocks and lost statements of a group */
	TAKEN_OUT_MAX = 3,		/* failing messages in one group; then message by message */
	HELD_MAX = 2,			/* messages in a row whose claim waits in vain */
	SERIALIZE_MS = 60000,
	CAREFUL_ATTEMPTS = 50		/* after a key that was there */
};

struct group {				/* messages that share a transaction */
	struct slot_message **members;	/* in delivery order */
	size_t count;
	struct slot_message **by_key;	/* those with a key, sorted by it, then in delivery order */
	size_t key_count;
	struct slot_message **claimants;	/* room for as many: who claims, of each key one */
	size_t claimant_count;
	unsigned taken_out, repeats, deadlocks, stale;
};

#define UNIQUE_VIOLATION "23505"

enum where { WHERE_OPEN, WHERE_EFFECT, WHERE_COMMIT };
struct failure {
	enum where where;
	struct slot_message *message;	/* WHERE_EFFECT */
	struct slot_effect *effect;
	bool expectation;		/* the statement worked, and touched another number of rows */
	bool effects_sent, commit_sent;
	bool not_new;			/* a plain claim met a key that is there */
	int64_t rows;
	struct pg_error error;
};

enum verdict {
	GROUP_SETTLED, GROUP_AGAIN, GROUP_BY_MESSAGE,
	GROUP_HELD,			/* somebody else has a lock on its key: not applied, others may go on */
	GROUP_ENVIRONMENT
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

/* ---- keys */

static int
key_compare(struct slice a, struct slice b)
{
	int order = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);

	if (order != 0)
		return order;
	return a.len < b.len ? -1 : a.len > b.len;
}

static int
by_key(const void *left, const void *right)
{
	const struct slot_message *a = *(struct slot_message *const *)left;
	const struct slot_message *b = *(struct slot_message *const *)right;
	int order = key_compare(a->key, b->key);

	return order != 0 ? order : a < b ? -1 : a > b;
}

/* The pending message that claims each key, and all of these keys as text[]. */
static void
choose_claimants(struct slot_transaction *t, struct group *g)
{
	struct slot_message *last = NULL;

	g->claimant_count = 0;
	buf_clear(&t->keys);
	for (size_t i = 0; i < g->key_count; i++) {
		struct slot_message *m = g->by_key[i];
		char *out;

		if (!m->pending || (last != NULL && slice_equals(last->key, m->key)))
			continue;
		last = g->claimants[g->claimant_count++] = m;
		out = buf_reserve(&t->keys, 2 * m->key.len + 3);
		*out++ = t->keys.len == 0 ? '{' : ',';
		*out++ = '"';
		for (size_t k = 0; k < m->key.len; k++) {
			if (m->key.data[k] == '"' || m->key.data[k] == '\\')
				*out++ = '\\';
			*out++ = m->key.data[k];
		}
		*out++ = '"';
		t->keys.len = (size_t)(out - t->keys.data);
	}
	buf_putc(&t->keys, '}');
}

static int
key_of(const void *key, const void *claimant)
{
	return key_compare(
	    *(const struct slice *)key, (*(struct slot_message *const *)claimant)->key);
}

/* The keys that came back are ours to do. They come in the order of the array. -1: one that
 * nobody asked for. */
static int
read_claim(const struct group *g, const struct pg_result *result)
{
	size_t at = 0;

	for (int row = 0; row < pg_rows(result); row++) {
		const char *value = pg_value(result, row, 0);
		struct slice key = { value == NULL ? "" : value, pg_value_len(result, row, 0) };

		while (at < g->claimant_count && !slice_equals(g->claimants[at]->key, key))
			at++;
		if (at < g->claimant_count) {
			g->claimants[at++]->claimed = true;
			continue;
		}
		struct slot_message *const *found = bsearch(&key, g->claimants, g->claimant_count,
		    sizeof(struct slot_message *), key_of);

		if (found == NULL)
			return -1;
		(*found)->claimed = true;
	}
	return 0;
}

/* ---- one attempt */

/* The rest of a unit in which something failed. -1: lost. */
static int
drain(struct slot_transaction *t, struct failure *f)
{
	struct pg_error error;

	for (;;) {
		struct pg_result *result;
		enum pg_answer answer = slot_session_next(t->session, &result, &error);

		pg_result_free(&result);
		if (answer == PG_SYNC)
			return 0;
		if (answer == PG_LOST) {
			f->error = error;
			return -1;
		}
	}
}

/* One answer that has to be good. -1: failed, and the unit is drained. The runner sees each of them
 * on the desk: a transaction may be long, if only it goes on. */
static int
take(struct slot_transaction *t, struct failure *f, struct pg_result **result)
{
	enum pg_answer answer = slot_session_next(t->session, result, &f->error);

	atomic_store_explicit(&t->desk->since_ns, clock_mono_now().ns, memory_order_relaxed);
	switch (answer) {
	case PG_ROWS:
	case PG_COMMAND:
		return 0;
	case PG_ERROR:
		(void)drain(t, f);
		return -1;
	case PG_LOST:
		return -1;
	case PG_SKIPPED:
	case PG_SYNC:
	case PG_NOTHING:
		break;
	}
	slot_session_close(t->session);
	pg_error_set(
	    &f->error, PG_CLASS_ENVIRONMENT, "the database's answers do not fit the questions");
	f->error.lost = true;
	return -1;
}

static int
take_and_drop(struct slot_transaction *t, struct failure *f)
{
	struct pg_result *result = NULL;

	if (take(t, f, &result) != 0)
		return -1;
	pg_result_free(&result);
	return 0;
}

static int
take_sync(struct slot_transaction *t, struct failure *f)
{
	return drain(t, f);
}

static bool
serialized(const struct slot_transaction *t)
{
	int64_t until = atomic_load_explicit(&t->desk->serialize_until_ns, memory_order_relaxed);
	int64_t now = until > 0 || t->serialize_until.ns > 0 ? clock_mono_now().ns : 0;

	return now < until || now < t->serialize_until.ns;
}

struct opening { bool pid, lock, claim, careful; };

static void
send_opening(struct slot_transaction *t, const struct opening *o)
{
	const struct slot_statement *own = t->statements->own;
	const char *const values[] = { t->consumer, t->keys.data };
	struct pg *pg = t->session->pg;

	t->session->open_transaction = true;
	pg_send_prepared(pg, own[OWN_BEGIN].name, 0, NULL);
	if (o->pid)
		pg_send_prepared(pg, own[OWN_PID].name, 0, NULL);
	if (o->lock)
		pg_send_prepared(pg, own[OWN_LOCK].name, 1, values);
	if (o->claim)
		pg_send_prepared(pg, own[o->careful ? OWN_CLAIM : OWN_CLAIM_NEW].name, 2, values);
}

static int
check_pid(struct slot_transaction *t, struct failure *f, struct pg_result *result)
{
	const char *pid = pg_rows(result) == 1 ? pg_value(result, 0, 0) : NULL;

	if (pid != NULL && strcmp(pid, t->session->backend_pid) == 0)
		return 0;
	(void)drain(t, f);
	slot_session_pooler_error(&f->error);
	return -1;
}

static int
read_opening(
    struct slot_transaction *t, const struct group *g, const struct opening *o, struct failure *f)
{
	struct pg_result *result = NULL;
	int status;

	f->where = WHERE_OPEN;
	if (take_and_drop(t, f) != 0)
		return -1;
	if (o->pid) {
		if (take(t, f, &result) != 0)
			return -1;
		status = check_pid(t, f, result);
		pg_result_free(&result);
		if (status != 0)
			return -1;
	}
	if (o->lock && take_and_drop(t, f) != 0)
		return -1;
	if (!o->claim)
		return 0;
	if (take(t, f, &result) != 0) {
		f->not_new = !o->careful && strcmp(f->error.sqlstate, UNIQUE_VIOLATION) == 0;
		return -1;
	}
	status = o->careful ? read_claim(g, result) : 0;
	pg_result_free(&result);
	if (status == 0)
		return 0;
	(void)drain(t, f);
	pg_error_set(&f->error, PG_CLASS_ENVIRONMENT,
	    "the claim gave back a key that was not in it: is there a trigger on pawl.inbox?");
	return -1;
}

/* true: some effect has an expectation. */
static bool
send_effects(struct slot_transaction *t, const struct group *g)
{
	struct pg *pg = t->session->pg;
	bool expects = false;

	for (size_t i = 0; i < g->count; i++) {
		const struct slot_message *m = g->members[i];

		if (!m->claimed)
			continue;
		expects = expects || m->expects;
		for (const struct slot_effect *e = m->effects; e != NULL; e = e->next)
			pg_send_prepared(pg, e->statement->name, e->n, e->values);
	}
	return expects;
}

static int
read_effects(struct slot_transaction *t, const struct group *g, struct failure *f)
{
	f->where = WHERE_EFFECT;
	for (size_t i = 0; i < g->count; i++) {
		if (!g->members[i]->claimed)
			continue;
		f->message = g->members[i];
		for (struct slot_effect *e = f->message->effects; e != NULL; e = e->next) {
			struct pg_result *result = NULL;

			f->effect = e;
			if (take(t, f, &result) != 0)
				return -1;
			f->rows = e->expect_code == NULL ? 0 : pg_affected(result);
			pg_result_free(&result);
			if (e->expect_code != NULL && f->rows != e->expect_rows) {
				f->expectation = drain(t, f) == 0;	/* else lost, which is worse */
				return -1;
			}
		}
	}
	return 0;
}

/*
 * The last statements of the transaction. A reload, a handler's statement or a function that it calls may
 * have switched synchronous_commit off meanwhile: what is acked has to be on disk. A witness is written
 * where a commit of ours went unanswered and its keys are there now: they may not be replicated yet,
 * and this transaction, which else would write nothing, has to wait for that as well.
 */
static void
send_commit(struct slot_transaction *t, bool witness)
{
	const struct slot_statement *own = t->statements->own;

	if (witness)
		pg_send_prepared(t->session->pg, own[OWN_WITNESS].name, 0, NULL);
	pg_send_prepared(t->session->pg, own[OWN_DURABLE].name, 0, NULL);
	pg_send_prepared(t->session->pg, own[OWN_COMMIT].name, 0, NULL);
	pg_send_sync(t->session->pg);
}

static int
read_commit(struct slot_transaction *t, bool witness, struct failure *f)
{
	struct pg_result *result = NULL;
	bool committed;

	f->where = WHERE_COMMIT;
	f->message = NULL;
	if (witness && take_and_drop(t, f) != 0)
		return -1;
	if (take_and_drop(t, f) != 0 || take(t, f, &result) != 0)
		return -1;
	committed = strcmp(pg_command_tag(result), "COMMIT") == 0;
	pg_result_free(&result);
	if (committed) {
		t->session->open_transaction = false;
		/* Lost behind the commit: it is done, and the next use of the session tells. */
		(void)take_sync(t, f);
		return 0;
	}
	/* It can say ROLLBACK, with a good status. */
	if (take_sync(t, f) == 0)
		pg_error_set(
		    &f->error, PG_CLASS_MESSAGE, "the transaction was rolled back by its COMMIT");
	return -1;
}

/* -1: nothing is committed, as far as we know, and the failure says why. */
static int
attempt(struct slot_transaction *t, struct group *g, struct failure *f)
{
	struct opening o = { .pid = t->session->pooled, .lock = serialized(t) };
	bool look, expects, witness = false;

	memset(f, 0, sizeof(*f));
	if (slot_session_roll_back(t->session, &f->error) != 0)
		return -1;
	choose_claimants(t, g);
	for (size_t i = 0; i < g->count; i++)
		g->members[i]->claimed = g->members[i]->pending && !g->members[i]->keyed;
	o.claim = g->claimant_count > 0;
	o.careful = o.claim && t->careful > 0;
	if (o.careful)
		t->careful--;
	for (size_t i = 0; i < g->claimant_count && !o.careful; i++)
		g->claimants[i]->claimed = true;

	send_opening(t, &o);
	look = o.careful || o.pid;
	if (look) {
		pg_send_sync(t->session->pg);
		if (read_opening(t, g, &o, f) != 0 || take_sync(t, f) != 0)
			return -1;
	}
	for (size_t i = 0; i < g->claimant_count && t->alone; i++)
		witness = witness || !g->claimants[i]->claimed;
	expects = send_effects(t, g);
	f->effects_sent = true;
	if (expects) {
		pg_send_sync(t->session->pg);
		if (!look && read_opening(t, g, &o, f) != 0)
			return -1;
		if (read_effects(t, g, f) != 0 || take_sync(t, f) != 0)
			return -1;
	}
	(void)fault_hit("slot.before_commit");
	send_commit(t, witness);
	f->commit_sent = true;
	if (!expects) {
		if (!look && read_opening(t, g, &o, f) != 0)
			return -1;
		if (read_effects(t, g, f) != 0)
			return -1;
	}
	if (read_commit(t, witness, f) != 0)
		return -1;
	(void)fault_hit("slot.after_commit");
	return 0;
}

/* ---- statements */

/* Prepares what is new; messages whose statements cannot be used are settled. -1: environment. */
static int
prepare(struct slot_transaction *t, const struct group *g, struct pg_error *error)
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
static int
prepare_again(struct slot_transaction *t, const struct group *g, struct pg_error *error)
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
	return prepare(t, g, error);
}

/* ---- what a failure means */

static enum verdict
group_fails(struct slot_transaction *t, struct group *g, const struct failure *f)
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

static enum verdict
message_fails(struct slot_transaction *t, struct group *g, const struct failure *f)
{
	const struct slot_effect *e = f->effect;

	if (f->expectation)
		slot_message_fail(f->message, e->expect_outcome, e->expect_code,
		    arena_printf(t->arena,
			"expected %lld rows, and the statement touched %lld; in: %.100s",
			(long long)e->expect_rows, (long long)f->rows, e->statement->text));
	else
		slot_message_fail_sql(f->message, &f->error, e->statement->text, t->arena);
	return g->count > 1 && ++g->taken_out > TAKEN_OUT_MAX ? GROUP_BY_MESSAGE : GROUP_AGAIN;
}

static enum verdict
judge(struct slot_transaction *t, struct slot_batch *batch, struct group *g, struct failure *f)
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
		return prepare_again(t, g, &f->error) == 0 ? GROUP_AGAIN : GROUP_ENVIRONMENT;
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
static void
flag_unapplied(const struct group *g, const struct failure *f)
{
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

static bool
anything_pending(const struct group *g)
{
	for (size_t i = 0; i < g->count; i++)
		if (g->members[i]->pending)
			return true;
	return false;
}

/* After the commit: whose key did not come back is a duplicate. */
static void
settle(const struct group *g)
{
	for (size_t i = 0; i < g->count; i++) {
		struct slot_message *m = g->members[i];

		if (!m->pending)
			continue;
		m->pending = false;
		m->outcome = m->claimed ? OUTCOME_DONE : OUTCOME_DUPLICATE;
	}
}

static enum verdict
run_group(
    struct slot_transaction *t, struct slot_batch *batch, struct group *g, struct pg_error *error)
{
	while (anything_pending(g)) {
		struct failure f;
		enum verdict verdict;

		if (attempt(t, g, &f) == 0) {
			settle(g);
			break;
		}
		verdict = judge(t, batch, g, &f);
		if (verdict == GROUP_ENVIRONMENT) {
			flag_unapplied(g, &f);
			*error = f.error;
		} else if (verdict == GROUP_HELD) {
			g->members[0]->flags |= FRAME_OUTCOME_SUSPECT;
			*error = f.error;
		}
		if (verdict != GROUP_AGAIN && verdict != GROUP_SETTLED)
			return verdict;
	}
	return GROUP_SETTLED;
}

/* The pending messages that need the database; those that want nothing of it are done. */
static void
group_init(struct slot_transaction *t, const struct slot_batch *batch, struct group *g)
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
	qsort(g->by_key, g->key_count, sizeof(struct slot_message *), by_key);
}

/* Some statement changes a setting until the end of the transaction: that must be its message's own. */
static bool
governed(const struct group *g)
{
	for (size_t i = 0; i < g->count; i++)
		if (g->members[i]->governs)
			return true;
	return false;
}

static enum verdict
run_one_by_one(struct slot_transaction *t, struct slot_batch *batch, const struct group *all,
    struct pg_error *error)
{
	enum verdict verdict = GROUP_SETTLED;
	unsigned held = 0;

	for (size_t i = 0; i < all->count && verdict != GROUP_ENVIRONMENT; i++) {
		struct slot_message *m = all->members[i], *claimant = NULL;
		struct group one = {
			.members = &m, .count = 1, .repeats = all->repeats,
			.by_key = &m, .key_count = m->keyed, .claimants = &claimant
		};

		verdict = run_group(t, batch, &one, error);
		held = verdict == GROUP_HELD ? held + 1 : 0;
		if (held == HELD_MAX)
			verdict = GROUP_ENVIRONMENT;	/* it is not the keys: the table is locked */
	}
	return verdict;
}

int
slot_transaction_run(struct slot_transaction *t, struct slot_batch *batch, struct pg_error *error)
{
	struct group all;
	enum verdict verdict = GROUP_BY_MESSAGE;

	group_init(t, batch, &all);
	if (all.count == 0)
		return 0;
	if (prepare(t, &all, error) != 0)
		return -1;
	t->alone = (batch->flags & FRAME_BATCH_ALONE) != 0;
	if (t->alone)
		t->careful = CAREFUL_ATTEMPTS;	/* they may well have been done */
	else if (!governed(&all))
		verdict = run_group(t, batch, &all, error);
	if (verdict == GROUP_BY_MESSAGE)
		verdict = run_one_by_one(t, batch, &all, error);
	if (verdict == GROUP_ENVIRONMENT)
		return -1;
	/* The last attempt may have failed for good. */
	return slot_session_roll_back(t->session, error);
}
