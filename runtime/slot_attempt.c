/*
 * slot_attempt.c - see slot_attempt.h.
 *
 * Round trips: one; another one before the effects if the claim is a careful one; another one
 * before the commit if there is an expectation (pawl_expect), which has to be looked at.
 */
#include "runtime/slot_attempt.h"

#include "runtime/slot_session.h"
#include "util/fault.h"

#define UNIQUE_VIOLATION "23505"

/* ---- keys */

static int
key_compare(struct slice a, struct slice b)
{
	int order = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);

	if (order != 0)
		return order;
	return a.len < b.len ? -1 : a.len > b.len;
}

int
slot_attempt_by_key(const void *left, const void *right)
{
	const struct slot_message *a = *(struct slot_message *const *)left;
	const struct slot_message *b = *(struct slot_message *const *)right;
	int order = key_compare(a->key, b->key);

	return order != 0 ? order : a < b ? -1 : a > b;
}

void
slot_attempt_put_key(struct slot_transaction *t, struct slice key)
{
	char *out = buf_reserve(&t->keys, 2 * key.len + 3);

	*out++ = t->keys.len == 0 ? '{' : ',';
	*out++ = '"';
	for (size_t k = 0; k < key.len; k++) {
		if (key.data[k] == '"' || key.data[k] == '\\')
			*out++ = '\\';
		*out++ = key.data[k];
	}
	*out++ = '"';
	t->keys.len = (size_t)(out - t->keys.data);
}

/* The pending message that claims each key, and all of these keys as text[]. */
void
slot_attempt_choose(struct slot_transaction *t, struct slot_group *g)
{
	struct slot_message *last = NULL;

	g->claimant_count = 0;
	buf_clear(&t->keys);
	for (size_t i = 0; i < g->key_count; i++) {
		struct slot_message *m = g->by_key[i];

		if (!m->pending || (last != NULL && slice_equals(last->key, m->key)))
			continue;
		last = g->claimants[g->claimant_count++] = m;
		slot_attempt_put_key(t, m->key);
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
read_claim(const struct slot_group *g, const struct pg_result *result)
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
drain(struct slot_transaction *t, struct slot_failure *f)
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
int
slot_attempt_take(struct slot_transaction *t, struct slot_failure *f, struct pg_result **result)
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
take_and_drop(struct slot_transaction *t, struct slot_failure *f)
{
	struct pg_result *result = NULL;

	if (slot_attempt_take(t, f, &result) != 0)
		return -1;
	pg_result_free(&result);
	return 0;
}

int
slot_attempt_sync(struct slot_transaction *t, struct slot_failure *f)
{
	return drain(t, f);
}

int
slot_attempt_take_bool(struct slot_transaction *t, struct slot_failure *f, bool *value)
{
	struct pg_result *result = NULL;
	const char *text;

	if (slot_attempt_take(t, f, &result) != 0)
		return -1;
	text = pg_rows(result) == 1 && pg_columns(result) == 1 ? pg_value(result, 0, 0) : NULL;
	*value = text != NULL && strcmp(text, "t") == 0;
	pg_result_free(&result);
	return 0;
}

int
slot_attempt_known(struct slot_transaction *t, struct slot_message *const *messages, size_t count,
    struct slot_failure *f)
{
	memset(f, 0, sizeof(*f));
	if (slot_session_roll_back(t->session, &f->error) != 0)
		return -1;
	for (size_t i = 0; i < count; i++) {
		const char *const values[] = { t->consumer, messages[i]->key.data };

		pg_send_prepared(t->session->pg, t->statements->own[OWN_KNOWN].name, 2, values);
	}
	pg_send_sync(t->session->pg);
	for (size_t i = 0; i < count; i++) {
		if (slot_attempt_take_bool(t, f, &messages[i]->known) != 0)
			return -1;
	}
	return slot_attempt_sync(t, f);
}

bool
slot_attempt_serialized(const struct slot_transaction *t)
{
	int64_t until = atomic_load_explicit(&t->desk->serialize_until_ns, memory_order_relaxed);
	int64_t now = until > 0 || t->serialize_until.ns > 0 ? clock_mono_now().ns : 0;

	return now < until || now < t->serialize_until.ns;
}

void
slot_attempt_open(struct slot_transaction *t, const struct slot_opening *o)
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
check_pid(struct slot_transaction *t, struct slot_failure *f, struct pg_result *result)
{
	const char *pid = pg_rows(result) == 1 ? pg_value(result, 0, 0) : NULL;

	if (pid != NULL && strcmp(pid, t->session->backend_pid) == 0)
		return 0;
	(void)drain(t, f);
	slot_session_pooler_error(&f->error);
	return -1;
}

int
slot_attempt_read_opening(
    struct slot_transaction *t, const struct slot_group *g, const struct slot_opening *o, struct slot_failure *f)
{
	struct pg_result *result = NULL;
	int status;

	f->where = WHERE_OPEN;
	if (take_and_drop(t, f) != 0)
		return -1;
	if (o->pid) {
		if (slot_attempt_take(t, f, &result) != 0)
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
	if (slot_attempt_take(t, f, &result) != 0) {
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
bool
slot_attempt_send_effects(struct slot_transaction *t, const struct slot_group *g)
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

int
slot_attempt_read_effects(struct slot_transaction *t, const struct slot_group *g, struct slot_failure *f)
{
	f->where = WHERE_EFFECT;
	for (size_t i = 0; i < g->count; i++) {
		if (!g->members[i]->claimed)
			continue;
		f->message = g->members[i];
		for (struct slot_effect *e = f->message->effects; e != NULL; e = e->next) {
			struct pg_result *result = NULL;

			f->effect = e;
			if (slot_attempt_take(t, f, &result) != 0)
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
void
slot_attempt_send_commit(struct slot_transaction *t, bool witness)
{
	const struct slot_statement *own = t->statements->own;

	if (witness)
		pg_send_prepared(t->session->pg, own[OWN_WITNESS].name, 0, NULL);
	pg_send_prepared(t->session->pg, own[OWN_DURABLE].name, 0, NULL);
	pg_send_prepared(t->session->pg, own[OWN_COMMIT].name, 0, NULL);
	pg_send_sync(t->session->pg);
}

int
slot_attempt_read_commit(struct slot_transaction *t, bool witness, struct slot_failure *f)
{
	struct pg_result *result = NULL;
	bool committed;

	f->where = WHERE_COMMIT;
	f->message = NULL;
	if (witness && take_and_drop(t, f) != 0)
		return -1;
	if (take_and_drop(t, f) != 0 || slot_attempt_take(t, f, &result) != 0)
		return -1;
	committed = strcmp(pg_command_tag(result), "COMMIT") == 0;
	pg_result_free(&result);
	if (committed) {
		t->session->open_transaction = false;
		/* Lost behind the commit: it is done, and the next use of the session tells. */
		(void)slot_attempt_sync(t, f);
		return 0;
	}
	/* It can say ROLLBACK, with a good status. */
	if (slot_attempt_sync(t, f) == 0)
		pg_error_set(
		    &f->error, PG_CLASS_MESSAGE, "the transaction was rolled back by its COMMIT");
	return -1;
}

/* -1: nothing is committed, as far as we know, and the failure says why. */
int
slot_attempt(struct slot_transaction *t, struct slot_group *g, struct slot_failure *f)
{
	struct slot_opening o = { .pid = t->session->pooled, .lock = slot_attempt_serialized(t) };
	bool look, expects, witness = false;

	memset(f, 0, sizeof(*f));
	if (slot_session_roll_back(t->session, &f->error) != 0)
		return -1;
	slot_attempt_choose(t, g);
	for (size_t i = 0; i < g->count; i++)
		g->members[i]->claimed = g->members[i]->pending && !g->members[i]->keyed;
	o.claim = g->claimant_count > 0;
	o.careful = o.claim && t->careful > 0;
	if (o.careful)
		t->careful--;
	for (size_t i = 0; i < g->claimant_count && !o.careful; i++)
		g->claimants[i]->claimed = true;

	slot_attempt_open(t, &o);
	look = o.careful || o.pid;
	if (look) {
		pg_send_sync(t->session->pg);
		if (slot_attempt_read_opening(t, g, &o, f) != 0 || slot_attempt_sync(t, f) != 0)
			return -1;
	}
	for (size_t i = 0; i < g->claimant_count && t->alone; i++)
		witness = witness || !g->claimants[i]->claimed;
	expects = slot_attempt_send_effects(t, g);
	f->effects_sent = true;
	if (expects) {
		pg_send_sync(t->session->pg);
		if (!look && slot_attempt_read_opening(t, g, &o, f) != 0)
			return -1;
		if (slot_attempt_read_effects(t, g, f) != 0 || slot_attempt_sync(t, f) != 0)
			return -1;
	}
	(void)fault_hit("slot.before_commit");
	slot_attempt_send_commit(t, witness);
	f->commit_sent = true;
	if (!expects) {
		if (!look && slot_attempt_read_opening(t, g, &o, f) != 0)
			return -1;
		if (slot_attempt_read_effects(t, g, f) != 0)
			return -1;
	}
	if (slot_attempt_read_commit(t, witness, f) != 0)
		return -1;
	(void)fault_hit("slot.after_commit");
	return 0;
}
