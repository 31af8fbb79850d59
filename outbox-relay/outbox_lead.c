/*
 * outbox_lead.c - finding out what the table is, and leading it: one relay at a time, by a
 * session's advisory lock.
 *
 * Who leads has taken the idle time-out of its session together with the lock, so there is no
 * moment at which a stopped relay could keep the lock for ever. One case is not seen by that
 * time-out: a relay that is stopped while the server is sending it an answer; that session is not
 * idle, it waits for its client. Whoever stands by ends such a session when it has waited for as
 * long.
 */
#include "outbox-relay/outbox_internal.h"

#include "util/pg.h"

enum {
	TRY_MS = 500,
	AGAIN_CALM_MS = 10000,	/* so long after it was looked at afresh: that was worth it */
	BROKER_LOST_MS = 1500 /* a leader without a broker makes room for one that has one */
};

static const char LOCK_NOT_AVAILABLE[] = "55P03";

/* $1: the lock's key. */
static const char try_sql[] =
    "with try as materialized (select pg_try_advisory_lock($1::int8) as got)"
    " select got, pg_backend_pid(),"
    " case when got then set_config('idle_session_timeout', '1500', false) end,"
    " case when not got then (select count(pg_terminate_backend(a.pid))"
    "  from pg_locks l join pg_stat_activity a on a.pid = l.pid"
    "  where not got and l.locktype = 'advisory' and l.granted and l.objsubid = 1"
    "  and l.classid = (($1::int8 >> 32) & 4294967295)::oid"
    "  and l.objid = ($1::int8 & 4294967295)::oid"
    "  and l.database = (select oid from pg_database where datname = current_database())"
    "  and a.usename = current_user and a.state = 'active' and a.wait_event = 'ClientWrite'"
    "  and a.query_start < clock_timestamp() - interval '1.5 s') end"
    " from try";
static const char resign_sql[] =
    "select pg_advisory_unlock($1::int8), set_config('idle_session_timeout', $2, false)";
/*
 * $1: position in the WAL. Returns when all before it is on disk: at once if it is already, else by
 * a commit of its own. A visible row whose writer does not wait for its commit (synchronous_commit
 * off) may not be published before: a crash would take it back.
 */
static const char fence_sql[] =
    "select set_config('synchronous_commit', 'on', true),"
    " pg_logical_emit_message(true, 'pawl-relay', '')"
    " where pg_current_wal_flush_lsn() < $1::pg_lsn";

static void
unfit(struct outbox *o, const char *why)
{
	int64_t ms = backoff_next_ms(&o->check_backoff);

	log_complain(&o->complaint, LOG_LEVEL_ERROR, "cannot relay: %s", why);
	o->next_check = clock_mono_after_ms(clock_mono_now(), ms);
	outbox_set_state(o, OUTBOX_UNFIT);
}

/* The server does not say which table it could not lock: the one that the statement is for. */
static void
refused(struct outbox *o, const char *table, const struct pg_error *error)
{
	struct buf why = BUF_INIT;

	if (strcmp(error->sqlstate, LOCK_NOT_AVAILABLE) == 0)
		buf_printf(&why, "table %s is locked by another session (pg_locks says by which):"
		    " ", table);
	buf_puts(&why, error->text);
	unfit(o, why.data);
	buf_release(&why);
}

static void
prepared(void *arg, struct pg_result **result, const struct pg_error *error)
{
	struct outbox *o = arg;
	const struct log_context *former = log_push(&o->context);

	(void)result;
	if (error != NULL && o->state == OUTBOX_CHECKING)
		refused(o, o->table.name, error);
	log_pop(former);
}

/* The outbox's own table was to be had: earlier statements are for it alone. */
static void
park_prepared(void *arg, struct pg_result **result, const struct pg_error *error)
{
	struct outbox *o = arg;
	const struct log_context *former = log_push(&o->context);

	(void)result;
	if (error != NULL && o->state == OUTBOX_CHECKING)
		refused(o, "pawl.outbox_dead", error);
	log_pop(former);
}

static void
all_prepared(void *arg, struct pg_result **result, const struct pg_error *error)
{
	struct outbox *o = arg;
	const struct log_context *former = log_push(&o->context);

	prepared(arg, result, error);
	if (o->state == OUTBOX_CHECKING) {
		backoff_reset(&o->check_backoff);
		log_recovered(&o->complaint, "table %s can be relayed now", o->table.name);
		o->next_check = (struct clock_mono){ 0 };
		outbox_set_state(o, OUTBOX_STANDBY);
	}
	log_pop(former);
}

static void
prepare_all(struct outbox *o)
{
	const struct {
		const char *which, *sql;
		database_fn *fn;
	} statements[] = {
		{ "read", o->table.read, prepared },
		{ "fetch", o->table.fetch, prepared },
		{ "retire", o->table.retire, prepared },
		{ "sweep", o->table.sweep, prepared },
		{ "catch_up", o->table.catch_up, prepared },
		{ "erase", o->table.erase, prepared },
		{ "park", o->table.park, park_prepared },
		{ "drop", o->table.drop, prepared },
		{ "remain", o->table.remain, prepared },
		{ "writers", o->table.writers, prepared },
		{ "count", o->table.count, prepared },
		{ "net", o->table.net, prepared },
		{ "sleep", o->table.sleep, prepared },
		{ "wake", o->table.wake, prepared },
		{ "fence", fence_sql, prepared },
		{ "resign", resign_sql, prepared },
		{ "try", try_sql, all_prepared },
	};
	char name[32];

	o->checks++;		/* names of an earlier attempt may be taken */
	for (size_t i = 0; i < ARRAY_SIZE(statements); i++) {
		if (statements[i].sql == NULL)
			continue;	/* not for this kind of table */
		outbox_statement(o, statements[i].which, name);
		database_prepare(
		    o->database, statements[i].fn, o, name, statements[i].sql);
	}
}

/* Lines as one. */
static void
join(const struct buf *lines, struct buf *out)
{
	for (size_t i = 0; i < lines->len; i++) {
		if (lines->data[i] != '\n')
			buf_putc(out, lines->data[i]);
		else if (i + 1 < lines->len)
			buf_puts(out, " | ");
	}
}

static void
describe(const struct outbox *o)
{
	if (o->table.keyed)
		log_info("table %s has no seq: its events are read in the order of a column, so"
		    " one that is committed late is published late", o->table.name);
	else if (!o->table.drawn)
		log_info(
		    "column %s of table %s is no \"generated always as identity\" with cache 1:"
		    " order within an aggregate is that of %s as far as it can be seen, and reading"
		    " gets slower while dead rows cannot be removed",
		    o->table.key, o->table.name, o->table.key);
	for (size_t i = 0; o->table.advice[i] != NULL; i++)
		log_info("%s", o->table.advice[i]);
}

static void
checked(void *arg, struct pg_result **result, const struct pg_error *error)
{
	struct outbox *o = arg;
	const struct log_context *former = log_push(&o->context);
	struct buf mistakes = BUF_INIT, line = BUF_INIT;

	if (error != NULL) {
		refused(o, o->config->table, error);
	} else if (outbox_table_init(&o->table, o->config, *result, &mistakes) != 0) {
		join(&mistakes, &line);
		unfit(o, line.data);
	} else {
		describe(o);
		prepare_all(o);
	}
	buf_release(&mistakes);
	buf_release(&line);
	log_pop(former);
}

void
outbox_lead_check(struct outbox *o)
{
	const char *values[] = { o->config->table };

	outbox_set_state(o, OUTBOX_CHECKING);
	database_query(o->database, checked, o, outbox_table_check_sql, 1, values);
}

/* The lock. */

static void
lead(struct outbox *o, const struct pg_result *result)
{
	o->standing_by = false;
	o->file[0] = '\0';
	(void)snprintf(o->backend_pid, sizeof(o->backend_pid), "%s", pg_value(result, 0, 1));
	database_lead(o->database, true);
	outbox_read_start(o);
	outbox_bell_listen(o);
	outbox_set_state(o, OUTBOX_LEADING);
}

static void
tried(void *arg, struct pg_result **result, const struct pg_error *error)
{
	struct outbox *o = arg;
	const struct log_context *former = log_push(&o->context);

	o->trying = false;
	o->next_check = clock_mono_after_ms(clock_mono_now(), TRY_MS);
	if (error != NULL || pg_rows(*result) != 1 || pg_value(*result, 0, 0) == NULL ||
	    pg_value(*result, 0, 1) == NULL) {
		log_complain(&o->complaint, LOG_LEVEL_WARNING,
		    "could not try the leader's lock: %s",
		    error == NULL ? "no answer" : error->text);
	} else if (strcmp(pg_value(*result, 0, 0), "t") == 0) {
		log_recovered(&o->complaint, "the leader's lock can be tried again");
		lead(o, *result);
	} else {
		if (!o->standing_by)
			log_info("standing by: another relay leads table %s", o->table.name);
		o->standing_by = true;
		if (pg_value(*result, 0, 3) != NULL && strcmp(pg_value(*result, 0, 3), "0") != 0)
			log_warning(
			    "the relay that leads table %s takes no answers: its session was ended",
			    o->table.name);
	}
	outbox_wake(o);
	log_pop(former);
}

static void
try(struct outbox *o, struct clock_mono now)
{
	const char *values[] = { o->table.lock_key };
	const struct outbox *twin = relay_twin(o->relay, o);

	/*
	 * The broker first: a leader without one is of no use. And nothing of an earlier lead may
	 * be on the way any more (see outbox_forget).
	 */
	if (o->window.orphans.count > 0 || o->window.probed != NULL ||
	    relay_is_draining(o->relay) || !amqp_publisher_connected(o->publisher)) {
		outbox_due_ms(o, TRY_MS);
		return;
	}
	if (twin != NULL) {
		log_complain(&o->complaint, LOG_LEVEL_ERROR,
		    "table %s is published by outbox \"%s\" already; remove one of them",
		    o->table.name, outbox_name(twin));
		o->next_check = clock_mono_after_ms(now, TRY_MS);
		return;
	}
	o->trying = true;
	outbox_execute(o, tried, "try", 1, values);
}

/*
 * At once, unless that did not help a moment ago: what is done in between, publishing included,
 * would be done over and over.
 */
static void
check_afresh(struct outbox *o)
{
	struct clock_mono now = clock_mono_now();
	bool calm = o->checked_afresh.ns == 0 ||
	    clock_ms_between(o->checked_afresh, now) > AGAIN_CALM_MS;

	o->checked_afresh = now;
	if (calm) {
		backoff_reset(&o->afresh_backoff);
		outbox_lead_check(o);
		return;
	}
	o->next_check = clock_mono_after_ms(now, backoff_next_ms(&o->afresh_backoff));
	outbox_set_state(o, OUTBOX_UNFIT);
}

static void
resigned(void *arg, struct pg_result **result, const struct pg_error *error)
{
	struct outbox *o = arg;
	const struct log_context *former = log_push(&o->context);

	(void)result;
	if (error != NULL) {
		database_restart(o->database, error->text);
	} else {
		outbox_forget(o);
		o->next_check = clock_mono_after_ms(clock_mono_now(), TRY_MS);
		if (o->check_again)
			check_afresh(o);
		else
			outbox_set_state(o, OUTBOX_STANDBY);
	}
	log_pop(former);
}

/* All requests before this one are answered before it is, so nothing of them is left behind. */
static void
resign(struct outbox *o)
{
	const char *values[] = { o->table.lock_key, NULL };

	stats_add(&outbox_stats(o)->leader_losses, 1);
	database_lead(o->database, false);
	values[1] = database_leaders(o->database) == 0 ? "0" : "1500";
	outbox_set_state(o, OUTBOX_RESIGNING);
	outbox_bell_resign(o);
	outbox_execute(o, resigned, "resign", 2, values);
}

static void
watch_broker(struct outbox *o, struct clock_mono now)
{
	if (amqp_publisher_connected(o->publisher)) {
		o->broker_lost_since = (struct clock_mono){ 0 };
		return;
	}
	if (o->broker_lost_since.ns == 0)
		o->broker_lost_since = now;
	if (clock_ms_between(o->broker_lost_since, now) < BROKER_LOST_MS) {
		outbox_due(o, now, clock_mono_after_ms(o->broker_lost_since, BROKER_LOST_MS));
	} else if (outbox_unsettled(o) == 0 && !relay_is_draining(o->relay)) {
		log_info("no broker: another relay may lead table %s", o->table.name);
		o->check_again = false;
		resign(o);
	}
}

void
outbox_lead_again(struct outbox *o, const char *why)
{
	if (o->state != OUTBOX_LEADING)
		return;
	log_info("looking at table %s afresh: %s", o->table.name, why);
	o->check_again = true;
	resign(o);
}

void
outbox_lead_work(struct outbox *o, struct clock_mono now)
{
	switch (o->state) {
	case OUTBOX_UNFIT:
		if (o->next_check.ns <= now.ns)
			outbox_lead_check(o);
		else
			outbox_due(o, now, o->next_check);
		break;
	case OUTBOX_STANDBY:
		if (o->trying)
			break;
		if (o->next_check.ns <= now.ns)
			try(o, now);
		else
			outbox_due(o, now, o->next_check);
		break;
	case OUTBOX_LEADING:
		watch_broker(o, now);
		break;
	case OUTBOX_DOWN:
	case OUTBOX_CHECKING:
	case OUTBOX_RESIGNING:
	case OUTBOX_STATES:
		break;
	}
}
