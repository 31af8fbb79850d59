/*
 * outbox_net.c - the net below the floor: a slow walk over the whole table, from its first row on,
 * for rows that no look ahead will see any more.
 *
 * It finds nothing unless outbox_floor.c is wrong, or somebody puts rows there by hand ("overriding
 * system value", a not_before that is taken away). What it finds is counted, complained about, and
 * published: the floor goes down again to below it.
 *
 * A step is a range of seqs, as many as take a few milliseconds to walk over, dead rows included:
 * the session's other statements wait behind it.
 */
#include "outbox-relay/outbox_internal.h"

#include "util/pg.h"

enum {
	STEP_MS = 5000,		/* between steps */
	PASS_MS = 60000,	/* between passes */
	STEP_LEAST = 1000,
	QUICK_MS = 5,
	SLOW_MS = 20
};
#define STEP_MOST (INT64_C(1) << 60)

static void
begin_pass(struct outbox *o)
{
	struct outbox_net *net = &o->net;

	net->at = INT64_MIN;
	if (net->step == 0)
		net->step = STEP_LEAST;
	if (o->aggregates.count == 0 && o->blocked.aggregates == 0 && o->blocked.again.count == 0)
		o->floor.purged = false;
}

/* In memory, waiting for something, or confirmed: the map or its aggregate knows the row. */
static bool
is_known(const struct outbox *o, const struct pg_result *result, int row)
{
	const struct aggregate *aggregate;

	if (seq_map_get(&o->known, outbox_read_seq(result, row)) != NULL)
		return true;
	if (!o->floor.purged)
		return false;
	aggregate = outbox_find_aggregate(o, pg_value(result, row, OUTBOX_NET_AGGREGATE_TYPE),
	    pg_value(result, row, OUTBOX_NET_AGGREGATE_ID));
	if (aggregate != NULL)
		return aggregate->blockage != NULL ||
		    outbox_read_seq(result, row) >= aggregate->dropped_from;
	/* Blocked rows without aggregate: not worth a search. */
	return o->blocked.aggregates > 0 || o->blocked.again.count > 0 ||
	    o->reader.reading == READING_AGAIN;
}

static void
look_through(struct outbox *o, const struct pg_result *result)
{
	int64_t first = 0;
	size_t lost = 0;

	for (int i = 0; i < pg_rows(result); i++)
		if (!is_known(o, result, i) && lost++ == 0)
			first = outbox_read_seq(result, i);
	if (lost == 0)
		return;
	stats_add(&outbox_stats(o)->swept, lost);
	log_error("%zu events of table %s, from seq %lld on, were below what had been read already;"
	    " they are published now, but later events of their aggregates may have gone before;"
	    " unless somebody put them there by hand, please report this", lost, o->table.name,
	    (long long)first);
	outbox_floor_lower(o, first - 1);
}

static void
next_step(struct outbox *o, const struct pg_result *result)
{
	struct outbox_net *net = &o->net;
	int64_t ms = clock_ms_between(net->sent, clock_mono_now());
	int rows = pg_rows(result);

	net->at = rows < OUTBOX_BATCH ? net->to : outbox_read_seq(result, rows - 1);
	if (ms <= QUICK_MS && net->step < STEP_MOST)
		net->step *= 2;
	else if (ms > SLOW_MS && net->step > STEP_LEAST)
		net->step /= 2;
	net->next = clock_mono_after_ms(clock_mono_now(), STEP_MS);
	if (net->at >= outbox_passed_lowest(o)) {
		begin_pass(o);
		net->next = clock_mono_after_ms(clock_mono_now(), PASS_MS);
	}
}

static void
answered(void *arg, struct pg_result **result, const struct pg_error *error)
{
	struct outbox *o = arg;
	const struct log_context *former = log_push(&o->context);

	o->net.asking = false;
	if (error != NULL) {
		log_complain(&o->net.complaint, LOG_LEVEL_WARNING,
		    "could not look for events that were left behind: %s", error->text);
		o->net.next = clock_mono_after_ms(clock_mono_now(), PASS_MS);
	} else {
		log_recovered(&o->net.complaint, "events that were left behind are looked for again");
		look_through(o, *result);
		next_step(o, *result);
	}
	log_pop(former);
}

void
outbox_net_work(struct outbox *o, struct clock_mono now)
{
	struct outbox_net *net = &o->net;
	struct outbox_number n[3];
	const char *values[3];
	int64_t from = net->at < 0 ? 0 : net->at, lowest = outbox_passed_lowest(o);

	if (lowest == INT64_MIN || net->asking || relay_is_draining(o->relay))
		return;
	if (net->next.ns > now.ns) {
		outbox_due(o, now, net->next);
		return;
	}
	net->to = lowest <= from || net->step > lowest - from ? lowest : from + net->step;
	values[0] = outbox_number(&n[0], net->at);
	values[1] = outbox_number(&n[1], net->to);
	values[2] = outbox_number(&n[2], OUTBOX_BATCH);
	net->asking = true;
	net->sent = now;
	outbox_execute(o, answered, "net", 3, values);
}

void
outbox_net_reset(struct outbox *o)
{
	begin_pass(o);
	o->net.asking = false;
	o->net.next = clock_mono_after_ms(clock_mono_now(), STEP_MS);
}
