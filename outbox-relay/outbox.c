/*
 * outbox.c - an outbox's state, and the order in which its parts get their turn.
 */
#include "outbox-relay/outbox_internal.h"

#include <assert.h>
#include <sysexits.h>

#include "util/arena.h"
#include "util/pg.h"

enum { WAIT_MOST_MS = 1000, COUNT_TICKS = 5, SLOW_PLAN_MS = 50, PLANS_MS = 10000 };

static const char *const state_names[] = {
	[OUTBOX_DOWN] = "down",
	[OUTBOX_CHECKING] = "checking",
	[OUTBOX_UNFIT] = "unfit",
	[OUTBOX_STANDBY] = "standby",
	[OUTBOX_LEADING] = "leading",
	[OUTBOX_RESIGNING] = "resigning",
};
_Static_assert(ARRAY_SIZE(state_names) == OUTBOX_STATES, "a name for each state");

/* State. */

void
outbox_set_state(struct outbox *o, enum outbox_state state)
{
	log_debug("outbox: %s -> %s", state_names[o->state], state_names[state]);
	if (state == OUTBOX_LEADING)
		log_info("leading: publishing the events of table %s", o->table.name);
	o->state = state;
	stats_set(&outbox_stats(o)->leader, state == OUTBOX_LEADING);
	stats_set(&outbox_stats(o)->database_up, state != OUTBOX_DOWN);
	outbox_wake(o);
}

static void
session_up(void *arg)
{
	struct outbox *o = arg;
	const struct log_context *former = log_push(&o->context);

	assert(o->state == OUTBOX_DOWN);
	if (database_sessions(o->database) > 1)
		stats_add(&outbox_stats(o)->reconnects, 1);
	outbox_lead_check(o);
	log_pop(former);
}

static void
session_down(void *arg)
{
	struct outbox *o = arg;
	const struct log_context *former = log_push(&o->context);

	if (o->state == OUTBOX_LEADING) {
		stats_add(&outbox_stats(o)->leader_losses, 1);
		log_info("no longer leading: the session is lost");
	}
	outbox_forget(o);
	outbox_set_state(o, OUTBOX_DOWN);
	log_pop(former);
}

static void
notified(void *arg, const char *channel)
{
	outbox_bell_notified(arg, channel);
}

struct stats_outbox *
outbox_stats(struct outbox *o)
{
	return &o->page->outbox;
}

const char *
outbox_name(const struct outbox *o)
{
	return o->config->name;
}

bool
outbox_leads(const struct outbox *o)
{
	return o->state == OUTBOX_LEADING;
}

bool
outbox_is_empty(const struct outbox *o)
{
	enum reading reading = o->reader.reading;

	/* The last look counts, not one that is under way: of many outboxes one always is. */
	return o->state == OUTBOX_LEADING && o->reader.found_nothing &&
	    (reading == READING_NOTHING || reading == READING_AHEAD || reading == READING_GLANCE) &&
	    o->reader.found_all && o->rows == 0 &&
	    o->settling.confirmed.count == 0 && o->settling.deleting.count == 0 &&
	    o->blocked.aggregates == 0 && o->blocked.again.count == 0 && o->lagging.count == 0 &&
	    o->reader.swept.count == 0 && o->reader.catching_up.count == 0;
}

size_t
outbox_unsettled(const struct outbox *o)
{
	return o->window.issued.count + o->window.orphans.count + (o->window.probed != NULL) +
	    o->settling.confirmed.count + o->settling.deleting.count;
}

bool
outbox_is_drained(const struct outbox *o)
{
	return outbox_unsettled(o) == 0;
}

bool
outbox_may_issue(const struct outbox *o, struct clock_mono now)
{
	return o->state == OUTBOX_LEADING && !relay_is_draining(o->relay) &&
	    database_lease(o->database, now);
}

/* Turns. */

void
outbox_wake(struct outbox *o)
{
	relay_wake(o->relay, o);
}

static void
timer_due(void *arg)
{
	outbox_wake(arg);
}

void
outbox_due_ms(struct outbox *o, int64_t ms)
{
	if (ms < o->wait_ms)
		o->wait_ms = ms;
}

void
outbox_due(struct outbox *o, struct clock_mono now, struct clock_mono at)
{
	int64_t ns = at.ns - now.ns;

	if (ns > WAIT_MOST_MS * INT64_C(1000000))
		ns = WAIT_MOST_MS * INT64_C(1000000);
	outbox_due_ms(o, ns <= 0 ? 0 : (ns + 999999) / 1000000);
}

void
outbox_work(struct outbox *o)
{
	const struct log_context *former = log_push(&o->context);
	struct clock_mono now = clock_mono_now();

	o->wait_ms = WAIT_MOST_MS;
	outbox_lead_work(o, now);
	if (o->state == OUTBOX_LEADING) {
		outbox_publish_work(o, now);
		outbox_settle_work(o, now);
		outbox_aside_work(o, now);
		outbox_floor_work(o, now);
		outbox_net_work(o, now);
		outbox_retire_work(o, now);
		outbox_read_work(o, now);
	}
	loop_timer_set_ms(&o->timer, o->wait_ms);
	log_pop(former);
}

void
outbox_statement(const struct outbox *o, const char *which, char name[32])
{
	(void)snprintf(name, 32, "pawl_%u_%u_%s", o->number, o->checks, which);
}

void
outbox_execute(struct outbox *o, database_fn *fn, const char *which, int n,
    const char *const *values)
{
	char name[32];

	outbox_statement(o, which, name);
	database_execute(o->database, fn, o, name, n, values);
}

/*
 * The plans of statements are made once, and may be of a time when the table was empty. If one is
 * slow all are made afresh.
 */
void
outbox_took(struct outbox *o, int64_t ms)
{
	struct clock_mono now = clock_mono_now();

	if (ms < SLOW_PLAN_MS || now.ns < o->next_plans.ns)
		return;
	o->next_plans = clock_mono_after_ms(now, PLANS_MS);
	database_query(o->database, NULL, NULL, "discard plans", 0, NULL);
}

/* Life. */

struct outbox *
outbox_new(struct relay *relay, const struct config_outbox *config, struct database *database,
    struct glance *glance, struct amqp_publisher *publisher, struct stats_page *page)
{
	static unsigned number;
	struct outbox *o = xcalloc(1, sizeof(*o));

	o->relay = relay;
	o->config = config;
	o->database = database;
	o->publisher = publisher;
	if (page == NULL)
		o->own_page = xcalloc(1, sizeof(*o->own_page));
	o->page = page != NULL ? page : o->own_page;
	o->context = (struct log_context){ NULL, "outbox", config->name };
	o->number = number++;
	o->ticks = o->number;		/* they do not all count at once */
	o->table = (struct outbox_table)OUTBOX_TABLE_INIT;
	loop_timer_init(&o->timer, relay_loop(relay), timer_due, o);
	backoff_init(&o->check_backoff, 1000, 30000);
	backoff_init(&o->afresh_backoff, 1000, 5000);
	outbox_publish_init(o);
	outbox_forget(o);
	o->user = (struct database_user){
		.up = session_up, .down = session_down, .notified = notified, .arg = o
	};
	database_add_user(database, &o->user, config->name);
	o->glance = glance;
	glance_add(glance, o);
	return o;
}

/* The database and its session are still there. */
void
outbox_free(struct outbox **op)
{
	struct outbox *o = *op;

	*op = NULL;
	if (o == NULL)
		return;
	loop_timer_stop(&o->timer);
	outbox_forget(o);
	outbox_publish_release(o);
	outbox_table_release(&o->table);
	free(o->own_page);
	free(o);
}

/* Gauges. */

static void
counted(void *arg, struct pg_result **result, const struct pg_error *error)
{
	struct outbox *o = arg;
	uint64_t ahead;

	if (error != NULL || pg_rows(*result) != 1 || pg_value(*result, 0, 0) == NULL)
		return;
	ahead = strtoull(pg_value(*result, 0, 0), NULL, 10);
	stats_set(&outbox_stats(o)->pending,
	    o->table.keyed ? ahead : ahead + o->rows + o->let_go);
}

static void
count(struct outbox *o)
{
	struct outbox_number cursor = { "" };
	const char *values[] = { outbox_number(&cursor, o->reader.cursor) };

	outbox_execute(o, counted, "count", o->table.keyed ? 0 : 1, values);
}

static int64_t
oldest_s(const struct outbox *o)
{
	const struct row *heads[] = { o->window.issued.head, o->window.ready.head,
		o->window.suspects.head };
	int64_t oldest = outbox_blocked_oldest_s(o);

	for (size_t i = 0; i < ARRAY_SIZE(heads); i++)
		if (heads[i] != NULL && row_created_s(heads[i]) > 0 &&
		    row_created_s(heads[i]) < oldest)
			oldest = row_created_s(heads[i]);
	return oldest;
}

/* What grew while there was much to do. */
static void
give_back(struct outbox *o)
{
	if (o->aggregates.count == 0)
		table_release(&o->aggregates);
	if (o->known.count == 0)
		seq_map_release(&o->known);
	if (o->keys.by_number.count == 0)
		outbox_keys_reset(o);
}

void
outbox_tick(struct outbox *o)
{
	const struct log_context *former = log_push(&o->context);
	struct stats_outbox *stats = outbox_stats(o);
	struct clock_wall now = clock_wall_now();
	int64_t oldest_ms = oldest_s(o) > now.ms / 1000 ? now.ms : oldest_s(o) * 1000;

	outbox_publish_tick(o, clock_mono_now());
	outbox_blocked_tick(o, clock_mono_now());
	outbox_aside_tick(o);
	if (outbox_is_quiet(o))
		give_back(o);
	if (o->state != OUTBOX_LEADING || outbox_is_quiet(o) ||
	    o->reader.reading == READING_GLANCE)
		stats_set(&stats->pending, 0);
	else if (++o->ticks % COUNT_TICKS == 0 && !relay_is_draining(o->relay))
		count(o);
	stats_set(&stats->in_flight,
	    o->window.issued.count + o->window.orphans.count + (o->window.probed != NULL));
	stats_set(&stats->broker_up, amqp_publisher_connected(o->publisher));
	stats_set(&stats->oldest_ms, (uint64_t)(now.ms - oldest_ms));
	atomic_store_explicit(&o->page->updated_ms, now.ms, memory_order_relaxed);
	log_pop(former);
}
