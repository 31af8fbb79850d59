/*
 * outbox_catch_up.c - reading once more what was let go of: rows of aggregates that can go on,
 * single rows, first rows of blocked aggregates.
 *
 * Requests are answered in order and there is one reading at a time. So a catch-up, which sees all
 * that the looks ahead before it have seen, has for its aggregates everything up to the cursor;
 * what is ahead of it the next look ahead brings. Rows that were committed late are left to that,
 * too: it knows what comes first, and that they are on disk.
 *
 * The rows of some aggregates are looked for by name, which walks over all that lies between. When
 * there are many (an exchange that was missing has been declared), that is too many walks: one
 * sweep reads everything from the first of their rows on, in as many readings as it takes.
 */
#include "outbox-relay/outbox_internal.h"

#include "util/pg.h"

enum { CATCH_UP_AGGREGATES = 256, SWEEP_AGGREGATES = 1024 };

/* The aggregate of a row, if it is in that list. */
static struct aggregate *
aggregate_in(const struct outbox *o, enum aggregate_where list, const struct pg_result *result,
    int row)
{
	struct aggregate *aggregate = outbox_find_aggregate(o,
	    pg_value(result, row, OUTBOX_AGGREGATE_TYPE),
	    pg_value(result, row, OUTBOX_AGGREGATE_ID));

	return aggregate != NULL && aggregate->list == list ? aggregate : NULL;
}

/* Committed late: no look has shown it yet. */
static bool
is_new(const struct outbox *o, int64_t seq)
{
	return seq > o->floor.purged_to && seq_map_get(&o->known, seq) == NULL;
}

/* One that was blocked meanwhile is no longer in the list: its rows stay where they are. */
static void
take_back(struct outbox *o, enum aggregate_where list, const struct pg_result *result)
{
	for (int i = 0; i < pg_rows(result); i++) {
		struct aggregate *aggregate = aggregate_in(o, list, result, i);
		int64_t seq = outbox_read_seq(result, i);
		void *known = seq_map_get(&o->known, seq);

		if (aggregate == NULL || seq < aggregate->dropped_from || is_new(o, seq) ||
		    (known != NULL && known != DROPPED))
			continue;
		if (aggregate->count >= OUTBOX_AGGREGATE_ROWS) {
			/* Enough of it for now: from here on it stays as it is. */
			aggregate->dropped_from = seq;
			outbox_caught_up(o, aggregate);
			continue;
		}
		outbox_add_row(o, aggregate, outbox_new_row(o, result, i));
		outbox_taken_back(o);
		aggregate->dropped_from = seq + 1;
	}
}

/* Were these all rows up to the cursor? Else *next is where to go on. */
static bool
reached_the_end(const struct outbox *o, const struct pg_result *result, int64_t *next)
{
	int rows = pg_rows(result);

	if (rows > 0)
		*next = outbox_read_seq(result, rows - 1) + 1;
	return outbox_read_is_complete(result) && (unsigned)rows < o->reader.asked_rows;
}

static void
caught_up(void *arg, struct pg_result **result, const struct pg_error *error)
{
	struct outbox *o = arg;
	struct outbox_reader *r = &o->reader;
	const struct log_context *former = log_push(&o->context);
	int64_t next = INT64_MIN;
	bool all = false;

	if (error == NULL) {
		take_back(o, AGGREGATE_CATCHING_UP, *result);
		all = reached_the_end(o, *result, &next);
	}
	while (r->catching_up.head != NULL) {
		struct aggregate *aggregate = r->catching_up.head;

		if (all)
			aggregate->dropped_from = INT64_MAX;
		else if (aggregate->dropped_from < next)
			aggregate->dropped_from = next;
		outbox_caught_up(o, aggregate);
	}
	if (error != NULL)
		outbox_read_failed(o, error);
	else
		outbox_read_end(o);
	log_pop(former);
}

static void
swept(void *arg, struct pg_result **result, const struct pg_error *error)
{
	struct outbox *o = arg;
	struct outbox_reader *r = &o->reader;
	const struct log_context *former = log_push(&o->context);
	bool all = false;

	if (error == NULL) {
		take_back(o, AGGREGATE_SWEPT, *result);
		all = reached_the_end(o, *result, &r->sweep_at);
	}
	while (all && r->swept.head != NULL) {
		r->swept.head->dropped_from = INT64_MAX;
		outbox_caught_up(o, r->swept.head);
	}
	if (error != NULL)
		outbox_read_failed(o, error);
	else
		outbox_read_end(o);
	log_pop(former);
}

/* The last row that may be read: cursor, or a due one. */
static int64_t
last_row(const struct outbox_reader *r)
{
	int64_t last = r->cursor;

	for (size_t i = 0; i < r->due.count; i++)
		if (r->due.items[i] > last)
			last = r->due.items[i];
	return last;
}

/* types, ids: NULL for all aggregates. */
static void
read_back(struct outbox *o, database_fn *fn, int64_t from, unsigned rows, const struct buf *types,
    const struct buf *ids)
{
	struct outbox_reader *r = &o->reader;
	struct outbox_number n[6];
	struct buf due = BUF_INIT;
	const char *values[9];

	seq_list_text(&r->due, &due);
	r->asked_rows = rows;
	values[0] = outbox_number(&n[0], from);
	values[1] = outbox_number(&n[1], last_row(r));
	values[2] = outbox_number(&n[2], rows);
	values[3] = outbox_number(&n[3], (long long)r->read_bytes);
	values[4] = outbox_number(&n[4], o->config->max_body_bytes);
	values[5] = outbox_number(&n[5], r->cursor);
	values[6] = due.data;
	values[7] = types == NULL ? NULL : types->data;
	values[8] = ids == NULL ? NULL : ids->data;
	if (types == NULL)
		outbox_execute(o, fn, "sweep", 7, values);
	else
		outbox_execute(o, fn, "catch_up", 9, values);
	buf_release(&due);
}

static void
catch_up(struct outbox *o, unsigned rows)
{
	struct outbox_reader *r = &o->reader;
	struct buf types = BUF_INIT, ids = BUF_INIT;
	int64_t from = INT64_MAX;

	outbox_read_begin(o, READING_CATCH_UP);
	while (o->lagging.head != NULL && r->catching_up.count < CATCH_UP_AGGREGATES) {
		struct aggregate *aggregate = o->lagging.head;

		outbox_leave_list(o, aggregate);
		aggregate->list = AGGREGATE_CATCHING_UP;
		aggregate_list_append(&r->catching_up, aggregate);
		outbox_add_text(&types, aggregate_type(aggregate));
		outbox_add_text(&ids, aggregate_id(aggregate));
		if (aggregate->dropped_from < from)
			from = aggregate->dropped_from;
	}
	outbox_end_list(&types);
	outbox_end_list(&ids);
	read_back(o, caught_up, from, rows, &types, &ids);
	buf_release(&types);
	buf_release(&ids);
}

static void
begin_sweep(struct outbox *o)
{
	struct outbox_reader *r = &o->reader;

	r->sweep_at = INT64_MAX;
	while (o->lagging.head != NULL) {
		struct aggregate *aggregate = o->lagging.head;

		outbox_leave_list(o, aggregate);
		aggregate->list = AGGREGATE_SWEPT;
		aggregate_list_append(&r->swept, aggregate);
		if (aggregate->dropped_from < r->sweep_at)
			r->sweep_at = aggregate->dropped_from;
	}
}

static void
sweep(struct outbox *o, unsigned rows)
{
	outbox_read_begin(o, READING_SWEEP);
	read_back(o, swept, o->reader.sweep_at, rows, NULL, NULL);
}

/* Single rows: those without aggregate that can go on, and first ones of blocked aggregates. */

static void
again_here(void *arg, struct pg_result **result, const struct pg_error *error)
{
	struct outbox *o = arg;
	struct outbox_reader *r = &o->reader;
	const struct log_context *former = log_push(&o->context);
	int rows = error != NULL ? 0 : pg_rows(*result);
	bool complete = error == NULL && outbox_read_is_complete(*result);
	int64_t last = rows == 0 ? INT64_MIN : outbox_read_seq(*result, rows - 1);

	for (int i = 0; i < rows; i++) {
		struct row *row = outbox_new_row(o, *result, i);

		outbox_taken_back(o);
		if (row != NULL)
			outbox_take_row(o, row);
	}
	for (size_t i = 0; i < r->asked.count; i++) {
		int64_t seq = r->asked.items[i];

		if (!complete && seq > last)
			seq_list_add(&o->blocked.again, seq);
		else if (seq_map_get(&o->known, seq) == DROPPED)
			outbox_unmark_dropped(o, seq);		/* somebody deleted it */
	}
	if (error != NULL)
		outbox_read_failed(o, error);
	else
		outbox_read_end(o);
	log_pop(former);
}

static void
read_again(struct outbox *o, unsigned rows)
{
	struct outbox_reader *r = &o->reader;
	struct seq_list *again = &o->blocked.again;

	outbox_read_begin(o, READING_AGAIN);
	for (; again->count > 0 && r->asked.count < rows; again->count--)
		seq_list_add(&r->asked, again->items[again->count - 1]);
	seq_list_sort(&r->asked);
	outbox_read_fetch(o, again_here);
}

static void
probes_here(void *arg, struct pg_result **result, const struct pg_error *error)
{
	struct outbox *o = arg;
	const struct log_context *former = log_push(&o->context);

	for (int i = 0; error == NULL && i < pg_rows(*result); i++) {
		struct row *row = outbox_new_row(o, *result, i);

		if (row != NULL)
			outbox_blocked_row(o, row);
	}
	if (error == NULL && outbox_read_is_complete(*result))
		outbox_blocked_gone(o);
	else
		outbox_blocked_untried(o);
	if (error != NULL)
		outbox_read_failed(o, error);
	else
		outbox_read_end(o);
	log_pop(former);
}

bool
outbox_read_probes(struct outbox *o, struct clock_mono now)
{
	struct outbox_reader *r = &o->reader;

	if (o->window.probes.count > 0)
		return false;		/* there is enough to try */
	outbox_blocked_due(o, now, &r->asked);
	if (r->asked.count == 0)
		return false;
	outbox_read_begin(o, READING_PROBE);
	seq_list_sort(&r->asked);
	outbox_read_fetch(o, probes_here);
	return true;
}

/* Somebody has let go of rows. Those that lag meanwhile take turns with a sweep. */
void
outbox_catch_up(struct outbox *o, unsigned rows)
{
	struct outbox_reader *r = &o->reader;

	if (o->blocked.again.count > 0) {
		read_again(o, rows);
		return;
	}
	if (r->swept.count == 0 && o->lagging.count > SWEEP_AGGREGATES)
		begin_sweep(o);
	r->swept_last = r->swept.count > 0 && (o->lagging.count == 0 || !r->swept_last);
	if (r->swept_last)
		sweep(o, rows);
	else
		catch_up(o, rows);
}
