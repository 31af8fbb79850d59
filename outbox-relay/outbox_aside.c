/*
 * outbox_aside.c - rows that cannot be published and, as the configuration says, shall not wait:
 * they are parked, which puts them into pawl.outbox_dead, or dropped.
 *
 * The aggregate goes on only when the server has answered. If it went on before and this relay died
 * then, the next one could publish the row after all, behind its successors.
 *
 * A missing exchange is no reason: nothing at all could be published, so everything would go.
 */
#include "outbox-relay/outbox_internal.h"

#include <assert.h>

#include "util/arena.h"
#include "util/pg.h"

enum { RETRY_FIRST_MS = 500, RETRY_MOST_MS = 30000, CALM_MS = 20000 };

enum config_policy
outbox_policy(const struct outbox *o, enum block_reason reason)
{
	switch (reason) {
	case BLOCK_UNROUTABLE:
		return o->config->unroutable;
	case BLOCK_PRECONDITION:
	case BLOCK_REFUSED:
		return o->config->refused;
	case BLOCK_NO_EXCHANGE:
	case BLOCK_NACKED:
	case BLOCK_REASONS:
		break;
	}
	return POLICY_HOLD;
}

void
outbox_put_aside(struct outbox *o, struct row *row, enum block_reason reason, const char *why)
{
	struct outbox_aside *a = &o->aside;

	if (a->count == a->cap) {
		a->cap = a->cap == 0 ? 16 : a->cap * 2;
		a->items = xrealloc(a->items, a->cap * sizeof(*a->items));
	}
	row->state = ROW_ASIDE;
	a->items[a->count++] = (struct aside){ row, reason, xstrdup(why) };
	outbox_wake(o);
}

static void
try_again(struct outbox *o, const struct pg_error *error)
{
	struct outbox_aside *a = &o->aside;

	log_complain(&a->complaint, LOG_LEVEL_WARNING, "could not %s %zu events that cannot be"
	    " published, trying again: %s", a->policy == POLICY_PARK ? "park" : "drop", a->asked,
	    error->text);
	/* If it is about one row, that one does not keep the others. */
	a->most = 1;
	if (a->asked == 1) {
		struct aside first = a->items[0];

		memmove(a->items, a->items + 1, (a->count - 1) * sizeof(first));
		a->items[a->count - 1] = first;
	}
	a->asked = 0;
	a->retry = clock_mono_after_ms(clock_mono_now(), backoff_next_ms(&a->backoff));
	if (error->class == PG_CLASS_STATEMENT)
		outbox_lead_again(o, error->text);
}

static void
say(struct outbox *o, const struct aside *item)
{
	bool parked = o->aside.policy == POLICY_PARK;
	char name[OUTBOX_EVENT_NAME];

	outbox_name_event(o, item->row->seq, name);
	o->aside.said = clock_mono_now();
	log_complain(&o->aside.news, LOG_LEVEL_WARNING, "%s was %s: %s%s", name,
	    parked ? "put into pawl.outbox_dead" : "dropped", item->why,
	    parked ? "; see pawlctl outbox list --dead" : "");
	stats_add(parked ? &outbox_stats(o)->parked : &outbox_stats(o)->dropped, 1);
}

/*
 * A row that was not there somebody else has deleted, and maybe inserted again, mended, under the
 * same number; or something keeps it in the table. It was not published, so it must not be deleted
 * like one that was: it waits, and is looked at again.
 */
static void
settle(struct outbox *o, const struct aside *item, const struct seq_list *gone)
{
	struct row *row = item->row;

	if (!seq_list_has(gone, row->seq)) {
		outbox_hold(o, row, item->reason, item->why);
		return;
	}
	say(o, item);
	seq_map_remove(&o->known, row->seq);
	outbox_forget_key(o, row->seq);
	outbox_pop_row(o, &row);
}

static void
answered(void *arg, struct pg_result **result, const struct pg_error *error)
{
	struct outbox *o = arg;
	struct outbox_aside *a = &o->aside;
	const struct log_context *former = log_push(&o->context);
	struct seq_list gone = { NULL, 0, 0 };
	struct aside *items = a->items;
	size_t asked = a->asked, count = a->count;

	if (error != NULL) {
		try_again(o, error);
		goto out;
	}
	backoff_reset(&a->backoff);
	/* Slowly, so that one row that fails holds up few. */
	a->most = a->most * 2 > OUTBOX_BATCH ? OUTBOX_BATCH : a->most * 2;
	log_recovered(&a->complaint, "events that cannot be published are put aside again");
	for (int i = 0; i < pg_rows(*result); i++)
		if (pg_value(*result, i, 0) != NULL)
			seq_list_add(&gone, outbox_seq_of(o, pg_value(*result, i, 0)));
	seq_list_sort(&gone);
	if (gone.count < asked)
		log_complain(&a->missing, LOG_LEVEL_WARNING, "%zu events that cannot be published"
		    " could not be %s: somebody has deleted them, or a trigger or rule keeps them"
		    " in table %s; they are looked at again", asked - gone.count,
		    a->policy == POLICY_PARK ? "parked" : "dropped", o->table.name);
	for (size_t i = 0; i < asked; i++) {
		settle(o, &items[i], &gone);
		free(items[i].why);
	}
	assert(a->count == count);
	memmove(items, items + asked, (count - asked) * sizeof(*items));
	a->count = count - asked;
	a->asked = 0;
	seq_list_release(&gone);
out:
	outbox_wake(o);
	log_pop(former);
}

/* Those of the first one's policy come first, else in the order in which they are. */
static size_t
gather(struct outbox *o)
{
	struct outbox_aside *a = &o->aside;
	size_t count = 0;

	a->policy = outbox_policy(o, a->items[0].reason);
	for (size_t i = 0; i < a->count && count < a->most; i++) {
		struct aside item = a->items[i];

		if (outbox_policy(o, item.reason) != a->policy)
			continue;
		memmove(a->items + count + 1, a->items + count, (i - count) * sizeof(item));
		a->items[count++] = item;
	}
	return count;
}

void
outbox_aside_work(struct outbox *o, struct clock_mono now)
{
	struct outbox_aside *a = &o->aside;
	struct buf keys = BUF_INIT, reasons = BUF_INIT, whys = BUF_INIT, key = BUF_INIT;
	const char *values[4];

	if (a->count == 0 || a->asked > 0)
		return;
	if (a->retry.ns > now.ns) {
		outbox_due(o, now, a->retry);
		return;
	}
	a->asked = gather(o);
	for (size_t i = 0; i < a->asked; i++) {
		buf_clear(&key);
		outbox_key_text(o, a->items[i].row->seq, &key);
		outbox_add_text(&keys, (struct slice){ key.data, key.len });
		outbox_add_text(&reasons, slice_of(outbox_reason(a->items[i].reason)));
		outbox_add_text(&whys, slice_of(a->items[i].why));
	}
	outbox_end_list(&keys);
	outbox_end_list(&reasons);
	outbox_end_list(&whys);
	values[0] = keys.data;
	values[1] = reasons.data;
	values[2] = whys.data;
	values[3] = o->config->name;
	if (a->policy == POLICY_PARK)
		outbox_execute(o, answered, "park", 4, values);
	else
		outbox_execute(o, answered, "drop", 1, values);
	buf_release(&keys);
	buf_release(&reasons);
	buf_release(&whys);
	buf_release(&key);
}

/* A new one after a while of silence is said at once. */
void
outbox_aside_tick(struct outbox *o)
{
	if (clock_ms_between(o->aside.said, clock_mono_now()) > CALM_MS)
		o->aside.news = (struct log_complaint){ .interval_ms = 0 };
}

/* The rows themselves are gone already. */
void
outbox_aside_reset(struct outbox *o)
{
	struct outbox_aside *a = &o->aside;

	for (size_t i = 0; i < a->count; i++)
		free(a->items[i].why);
	free(a->items);
	a->items = NULL;
	a->count = a->cap = a->asked = 0;
	a->most = OUTBOX_BATCH;
	a->retry = (struct clock_mono){ 0 };
	backoff_init(&a->backoff, RETRY_FIRST_MS, RETRY_MOST_MS);
}
