/*
 * outbox_retire.c - deleting rows that were published, and marked as such, some time ago.
 *
 * Nobody waits for it. The leader walks over the table in the order of its key, a bounded number of
 * rows at a time, so it needs no index of its own, and the session's other statements wait a few
 * milliseconds. Of a table that is read by its numbers the old rows are the first ones: a walk ends
 * where younger ones begin. Rows that somebody else has locked are left for the next walk.
 */
#include "outbox-relay/outbox_internal.h"

#include "util/pg.h"

enum {
	STEP_MS = 500,		/* between steps; */
	BUSY_MS = 20,		/* when rows are deleted, at least; */
	BUSY_TIMES = 4,		/* and so many times as long as the step took */
	WALK_MS = 60000,	/* between walks */
	ROWS_FIRST = 250,
	ROWS_LEAST = 50,
	ROWS_MOST = 5000,
	QUICK_MS = 20,
	SLOW_MS = 60
};
/* The answer's columns. */
enum { STEP_LAST, STEP_ROWS, STEP_GONE, STEP_YOUNGER, STEP_COLUMNS };

static void
next_step(struct outbox *o, const struct pg_result *result)
{
	struct outbox_retiring *r = &o->retiring;
	struct clock_mono now = clock_mono_now();
	int64_t ms = clock_ms_between(r->sent, now);
	uint64_t rows = strtoull(pg_value(result, 0, STEP_ROWS), NULL, 10);
	uint64_t gone = strtoull(pg_value(result, 0, STEP_GONE), NULL, 10);
	bool younger = strcmp(pg_value(result, 0, STEP_YOUNGER), "true") == 0;
	bool end = rows < r->rows || (younger && !o->table.keyed);

	free(r->at);
	r->at = end || pg_value(result, 0, STEP_LAST) == NULL
	    ? NULL : xstrdup(pg_value(result, 0, STEP_LAST));
	r->next = clock_mono_after_ms(now,
	    end ? WALK_MS : gone == 0 ? STEP_MS : BUSY_MS + BUSY_TIMES * ms);
	if (ms > SLOW_MS)
		r->rows = r->rows / 2 < ROWS_LEAST ? ROWS_LEAST : r->rows / 2;
	else if (ms < QUICK_MS)
		r->rows = r->rows * 2 > ROWS_MOST ? ROWS_MOST : r->rows * 2;
	if (gone > 0)
		log_debug("%llu rows that were published are past their retention: deleted",
		    (unsigned long long)gone);
}

static bool
is_good(const struct pg_result *result)
{
	return pg_rows(result) == 1 && pg_columns(result) == STEP_COLUMNS &&
	    pg_value(result, 0, STEP_ROWS) != NULL && pg_value(result, 0, STEP_GONE) != NULL &&
	    pg_value(result, 0, STEP_YOUNGER) != NULL;
}

static void
answered(void *arg, struct pg_result **result, const struct pg_error *error)
{
	struct outbox *o = arg;
	struct outbox_retiring *r = &o->retiring;
	const struct log_context *former = log_push(&o->context);

	r->asking = false;
	if (error != NULL || !is_good(*result)) {
		log_complain(&r->complaint, LOG_LEVEL_WARNING,
		    "could not delete rows of table %s that are past their retention, trying "
		    "again: %s",
		    o->table.name, error == NULL ? "no answer" : error->text);
		r->next = clock_mono_after_ms(clock_mono_now(), WALK_MS);
	} else {
		log_recovered(
		    &r->complaint, "rows that are past their retention are deleted again");
		next_step(o, *result);
	}
	outbox_wake(o);
	log_pop(former);
}

void
outbox_retire_work(struct outbox *o, struct clock_mono now)
{
	struct outbox_retiring *r = &o->retiring;
	struct outbox_number n[2];
	const char *values[3];

	if (o->table.retire == NULL || r->asking || relay_is_draining(o->relay))
		return;
	if (r->next.ns > now.ns) {
		outbox_due(o, now, r->next);
		return;
	}
	values[0] = r->at;
	values[1] = outbox_number(&n[0], r->rows);
	values[2] = outbox_number(&n[1], o->config->retention_ms);
	r->asking = true;
	r->sent = now;
	outbox_execute(o, answered, "retire", 3, values);
}

void
outbox_retire_reset(struct outbox *o)
{
	struct outbox_retiring *r = &o->retiring;

	free(r->at);
	r->at = NULL;
	r->asking = false;
	r->rows = ROWS_FIRST;
	r->next = clock_mono_after_ms(clock_mono_now(), STEP_MS);
}
