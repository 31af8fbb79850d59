/*
 * outbox_settle.c - what the broker answers, and deleting, or marking, what it has confirmed.
 *
 * One delete is under way at a time, of all that was confirmed until it is sent. It waits a little
 * for more, because a delete of a few rows costs nearly as much as one of a thousand: a commit.
 * Nobody waits for it, the event is out.
 *
 * Rows that were not there any more, somebody else has deleted. But a trigger, a rule or a policy
 * can also keep them: these stay known as confirmed, or they would be published again and again.
 */
#include "outbox-relay/outbox_internal.h"

#include "util/fault.h"
#include "util/pg.h"

enum { LINGER_MS = 20, RETRY_FIRST_MS = 500, RETRY_MOST_MS = 30000, KEPT_MS = 60000 };

static void
confirmed(struct outbox *o, struct row *row)
{
	struct outbox_settling *s = &o->settling;

	(void)fault_hit("relay.after_confirm");
	stats_add(&outbox_stats(o)->confirmed, 1);
	if (s->confirmed.count == 0)
		s->since = clock_mono_now();
	seq_list_add(&s->confirmed, row->seq);
	seq_map_put(&o->known, row->seq, CONFIRMED);
	if (row->aggregate != NULL && row->aggregate->blockage != NULL)
		outbox_unblock(o, row->aggregate);
	else
		outbox_route_works(o, row);
	outbox_pop_row(o, &row);
}

void
outbox_settle_row(struct outbox *o, struct row *row, enum amqp_outcome outcome, struct slice text)
{
	switch (outcome) {
	case AMQP_CONFIRMED:
		confirmed(o, row);
		break;
	case AMQP_RETURNED:
		stats_add(&outbox_stats(o)->returned, 1);
		outbox_block(o, &row, BLOCK_UNROUTABLE, text);
		break;
	case AMQP_NACKED:
		stats_add(&outbox_stats(o)->nacked, 1);
		outbox_block(o, &row, BLOCK_NACKED, text);
		break;
	}
	outbox_wake(o);
}

static void
try_again(struct outbox *o, const struct pg_error *error)
{
	struct outbox_settling *s = &o->settling;
	int64_t ms = backoff_next_ms(&s->backoff);

	log_complain(&s->complaint, LOG_LEVEL_WARNING,
	    "could not %s %zu published events, trying again: %s",
	    o->table.marks ? "mark" : "delete", s->deleting.count, error->text);
	for (size_t i = 0; i < s->deleting.count; i++)
		seq_list_add(&s->confirmed, s->deleting.items[i]);
	s->deleting.count = 0;
	s->retry = clock_mono_after_ms(clock_mono_now(), ms);
	if (error->class == PG_CLASS_STATEMENT)
		outbox_lead_again(o, error->text);
}

/* All that was under way but what is kept. */
static void
settled(struct outbox *o)
{
	struct outbox_settling *s = &o->settling;

	backoff_reset(&s->backoff);
	for (size_t i = 0; i < s->deleting.count; i++) {
		int64_t seq = s->deleting.items[i];

		if (s->kept.count > 0 && seq_list_has(&s->kept, seq))
			continue;
		seq_map_remove(&o->known, seq);
		outbox_forget_key(o, seq);
	}
	s->deleting.count = 0;
}

static void
remaining(void *arg, struct pg_result **result, const struct pg_error *error)
{
	struct outbox *o = arg;
	struct outbox_settling *s = &o->settling;
	const struct log_context *former = log_push(&o->context);

	s->busy = false;
	if (error != NULL) {
		try_again(o, error);
		goto out;
	}
	for (int i = 0; i < pg_rows(*result); i++)
		if (pg_value(*result, i, 0) != NULL)
			seq_list_add(&s->kept, outbox_seq_of(o, pg_value(*result, i, 0)));
	seq_list_sort(&s->kept);
	settled(o);
	if (pg_rows(*result) > 0) {
		s->kept_again = clock_mono_after_ms(clock_mono_now(), KEPT_MS);
		log_complain(&s->kept_complaint, LOG_LEVEL_ERROR,
		    "%zu published events of table %s are still there after they were %s: a "
		    "trigger or"
		    " rule of the table keeps them, and the next leader would publish them again",
		    s->kept.count, o->table.name, o->table.marks ? "marked" : "deleted");
	} else {
		log_recovered(&s->kept_complaint, "what was kept is gone");
	}
out:
	outbox_wake(o);
	log_pop(former);
}

static void
send_deleting(struct outbox *o, database_fn *fn, const char *which)
{
	struct buf text = BUF_INIT;
	const char *values[1];

	outbox_keys_text(o, &o->settling.deleting, &text);
	values[0] = text.data;
	o->settling.busy = true;
	o->settling.sent = clock_mono_now();
	outbox_execute(o, fn, which, 1, values);
	buf_release(&text);
}

static void
deleted(void *arg, struct pg_result **result, const struct pg_error *error)
{
	struct outbox *o = arg;
	struct outbox_settling *s = &o->settling;
	const struct log_context *former = log_push(&o->context);

	s->busy = false;
	if (error != NULL) {
		try_again(o, error);
	} else {
		(void)fault_hit("relay.after_delete");
		outbox_took(o, clock_ms_between(s->sent, clock_mono_now()));
		log_recovered(&s->complaint, "published events can be %s again",
		    o->table.marks ? "marked" : "deleted");
		stats_add(&outbox_stats(o)->deleted, (uint64_t)pg_affected(*result));
		if ((uint64_t)pg_affected(*result) < s->deleting.count)
			send_deleting(o, remaining, "remain");
		else
			settled(o);
	}
	outbox_wake(o);
	log_pop(former);
}

static void
delete_confirmed(struct outbox *o)
{
	struct outbox_settling *s = &o->settling;
	struct seq_list empty = s->deleting;

	(void)fault_hit("relay.before_delete");
	s->deleting = s->confirmed;
	s->confirmed = empty;
	send_deleting(o, deleted, "erase");
}

void
outbox_settle_work(struct outbox *o, struct clock_mono now)
{
	struct outbox_settling *s = &o->settling;
	struct clock_mono due = clock_mono_after_ms(s->since, LINGER_MS);

	if (s->kept.count > 0 && s->kept_again.ns <= now.ns && !s->busy) {
		for (size_t i = 0; i < s->kept.count; i++)
			seq_list_add(&s->confirmed, s->kept.items[i]);
		s->kept.count = 0;
	}
	if (s->busy || s->confirmed.count == 0)
		return;
	if (s->retry.ns > now.ns) {
		outbox_due(o, now, s->retry);
		return;
	}
	if (s->confirmed.count >= OUTBOX_BATCH || due.ns <= now.ns || relay_is_draining(o->relay))
		delete_confirmed(o);
	else
		outbox_due(o, now, due);
}

void
outbox_settle_reset(struct outbox *o)
{
	struct outbox_settling *s = &o->settling;

	seq_list_release(&s->confirmed);
	seq_list_release(&s->deleting);
	seq_list_release(&s->kept);
	s->busy = false;
	s->retry = (struct clock_mono){ 0 };
	backoff_init(&s->backoff, RETRY_FIRST_MS, RETRY_MOST_MS);
}
