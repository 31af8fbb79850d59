/*
 * slot_cleaner.c - see slot_cleaner.h.
 */
#include "runtime/slot_cleaner.h"

#include "util/random.h"

enum { ROWS = 1000, PAUSE_MS = 60000 };

static const char sql[] =
    "with cleaner as materialized (select pg_catalog.pg_try_advisory_xact_lock("
    "pg_catalog.hashtextextended('pawl.clean:' || $1, 0)) as chosen)"
    " delete from pawl.inbox where ctid = any (array("
    "select i.ctid from cleaner, pawl.inbox i where cleaner.chosen and i.consumer = $1"
    " and i.done_at < now() - $2::bigint * interval '1 millisecond'"
    " order by i.done_at limit $3::bigint))";

void
slot_cleaner_init(struct slot_cleaner *c, const struct slot_setup *setup)
{
	memset(c, 0, sizeof(*c));
	c->consumer = setup->consumer;
	c->retention_ms = setup->dedup == DEDUP_POSTGRES ? setup->inbox_retention_ms : 0;
	c->due = clock_mono_after_ms(clock_mono_now(), random_below(PAUSE_MS / 10));
}

int64_t
slot_cleaner_wait_ms(const struct slot_cleaner *c)
{
	int64_t left;

	if (c->retention_ms <= 0)
		return -1;
	left = clock_ms_between(clock_mono_now(), c->due);
	return left > 0 ? left : 0;
}

int
slot_cleaner_run(struct slot_cleaner *c, struct slot_session *session, struct pg_error *error)
{
	struct pg_result *result = NULL;
	char retention[24], rows[16];
	const char *values[] = { c->consumer, retention, rows };
	int64_t deleted;

	if (slot_cleaner_wait_ms(c) != 0)
		return 0;
	(void)snprintf(retention, sizeof(retention), "%lld", (long long)c->retention_ms);
	(void)snprintf(rows, sizeof(rows), "%d", ROWS);
	c->due = clock_mono_after_ms(clock_mono_now(), PAUSE_MS);
	if (pg_query(session->pg, session->patience_ms, &result, error, sql,
		(int)ARRAY_SIZE(values), values) != 0) {
		if (!slot_session_is_up(session))
			return -1;
		log_complain(&c->complaint, LOG_LEVEL_WARNING,
		    "could not delete old keys from pawl.inbox: %s", error->text);
		return 0;
	}
	log_recovered(&c->complaint, "old keys are deleted from pawl.inbox again");
	deleted = pg_affected(result);
	pg_result_free(&result);
	if (deleted > 0)
		log_debug("deleted %lld old keys from pawl.inbox", (long long)deleted);
	if (deleted == ROWS)
		c->due = clock_mono_now();
	return 0;
}
