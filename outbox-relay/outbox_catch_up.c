/*
 * outbox_catch_up.c - reading once more what was let go of: rows of aggregates that can go on,
 * single rows, first rows of blocked aggregates.
 *
 * Requests are answered in order and there is one reading at a time. So a catch-up, which sees all
 * that the looks ahead before it have seen, has for its aggregates everything up to the cursor;
 * what is behind the cursor the next look ahead brings.
 */
#include "outbox-relay/outbox_internal.h"

#include "util/pg.h"

enum { CATCH_UP_AGGREGATES = 256 };

static struct aggregate *
catching_up(const struct outbox *o, const struct pg_result *result, int row)
{
	const char *type = pg_value(result, row, OUTBOX_AGGREGATE_TYPE),
		   *id = pg_value(result, row, OUTBOX_AGGREGATE_ID);
	struct aggregate *aggregate;
	struct buf key = BUF_INIT;

	if (id == NULL)
		return NULL;
	buf_puts(&key, type == NULL ? "" : type);
	buf_putc(&key, '\0');
	buf_puts(&key, id);
	aggregate = table_get(&o->aggregates, key.data, key.len);
	buf_release(&key);
	return aggregate != NULL && aggregate->list == AGGREGATE_CATCHING_UP ? aggregate : NULL;
}

static void
caught_up(void *arg, struct pg_result **result, const struct pg_error *error)
{
	struct outbox *o = arg;
	struct outbox_reader *r = &o->reader;
	const struct log_context *former = log_push(&o->context);
	int rows = error != NULL ? 0 : pg_rows(*result);
	bool complete = error == NULL && outbox_read_is_complete(*result) &&
	    (unsigned)rows < r->asked_rows;
	int64_t last = rows == 0 ? INT64_MIN : outbox_read_seq(*result, rows - 1);

	/*
	 * An aggregate that was blocked meanwhile is no longer in the list, and its rows stay where
	 * they are.
	 */
	for (int i = 0; i < rows; i++) {
		struct aggregate *aggregate = catching_up(o, *result, i);
		int64_t seq = outbox_read_seq(*result, i);
		void *known = seq_map_get(&o->known, seq);

		if (aggregate == NULL || seq < aggregate->dropped_from ||
		    (known != NULL && known != DROPPED))
			continue;
		if (aggregate->count >= OUTBOX_AGGREGATE_ROWS) {
			/* Enough of it for now: from here on it stays as it is. */
			aggregate->dropped_from = seq;
			outbox_caught_up(o, aggregate);
			continue;
		}
		outbox_add_row(o, aggregate, row_new(*result, i));
		outbox_taken_back(o);
		aggregate->dropped_from = seq + 1;
	}
	while (r->catching_up.head != NULL) {
		struct aggregate *aggregate = r->catching_up.head;

		if (complete)
			aggregate->dropped_from = INT64_MAX;
		else if (rows > 0 && aggregate->dropped_from <= last)
			aggregate->dropped_from = last + 1;
		outbox_caught_up(o, aggregate);
	}
	if (error != NULL)
		outbox_read_failed(o, error);
	else
		outbox_read_end(o);
	log_pop(former);
}

static void
add_text(struct buf *list, struct slice text)
{
	buf_puts(list, list->len == 0 ? "{\"" : ",\"");
	for (size_t i = 0; i < text.len; i++) {
		if (text.data[i] == '"' || text.data[i] == '\\')
			buf_putc(list, '\\');
		buf_putc(list, text.data[i]);
	}
	buf_putc(list, '"');
}

static void
catch_up(struct outbox *o, unsigned rows)
{
	struct outbox_reader *r = &o->reader;
	struct buf types = BUF_INIT, ids = BUF_INIT, due = BUF_INIT;
	int64_t from = INT64_MAX, to = r->cursor;
	const char *values[9];
	struct outbox_number n[6];

	outbox_read_begin(o, READING_CATCH_UP);
	r->asked_rows = rows;
	while (o->lagging.head != NULL && r->catching_up.count < CATCH_UP_AGGREGATES) {
		struct aggregate *aggregate = o->lagging.head;

		aggregate_list_remove(&o->lagging, aggregate);
		aggregate->list = AGGREGATE_CATCHING_UP;
		aggregate_list_append(&r->catching_up, aggregate);
		add_text(&types, aggregate_type(aggregate));
		add_text(&ids, aggregate_id(aggregate));
		if (aggregate->dropped_from < from)
			from = aggregate->dropped_from;
	}
	buf_putc(&types, '}');
	buf_putc(&ids, '}');
	seq_list_text(&r->due, &due);
	for (size_t i = 0; i < r->due.count; i++)
		if (r->due.items[i] > to)
			to = r->due.items[i];
	values[0] = outbox_number(&n[0], from);
	values[1] = outbox_number(&n[1], to);
	values[2] = outbox_number(&n[2], rows);
	values[3] = outbox_number(&n[3], OUTBOX_READ_BYTES);
	values[4] = outbox_number(&n[4], o->config->max_body_bytes);
	values[5] = types.data;
	values[6] = ids.data;
	values[7] = outbox_number(&n[5], r->cursor);
	values[8] = due.data;
	outbox_execute(o, caught_up, "catch_up", 9, values);
	buf_release(&types);
	buf_release(&ids);
	buf_release(&due);
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
		struct row *row = row_new(*result, i);

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
		struct row *row = row_new(*result, i);

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

void
outbox_catch_up(struct outbox *o, unsigned rows)
{
	if (o->blocked.again.count > 0)
		read_again(o, rows);
	else
		catch_up(o, rows);
}
