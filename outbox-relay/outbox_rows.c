/*
 * outbox_rows.c - the rows in memory: which of them are ready, which are let go of and read again
 * later.
 */
#include "outbox-relay/outbox_internal.h"

#include <assert.h>

#include "util/arena.h"

char outbox_dropped[1], outbox_confirmed[1];

void
outbox_mark_dropped(struct outbox *o, int64_t seq)
{
	if (seq_map_get(&o->known, seq) != DROPPED)
		o->dropped++;
	seq_map_put(&o->known, seq, DROPPED);
	o->let_go++;
}

void
outbox_taken_back(struct outbox *o)
{
	if (o->let_go > 0)
		o->let_go--;
}

void
outbox_unmark_dropped(struct outbox *o, int64_t seq)
{
	if (seq_map_get(&o->known, seq) != DROPPED)
		return;
	seq_map_remove(&o->known, seq);
	o->dropped--;
	outbox_forget_key(o, seq);
}

void
outbox_keep_row(struct outbox *o, struct row *row)
{
	if (seq_map_get(&o->known, row->seq) == DROPPED)
		o->dropped--;
	seq_map_put(&o->known, row->seq, row);
	o->rows++;
	relay_account(o->relay, (ptrdiff_t)row->size);
}

void
outbox_let_go(struct outbox *o, struct row **row)
{
	o->rows--;
	relay_account(o->relay, -(ptrdiff_t)(*row)->size);
	row_free(row);
}

static void
make_ready(struct outbox *o, struct row *row)
{
	row->state = ROW_READY;
	row_list_append(&o->window.ready, row);
}

/*
 * To be caught up, if there is anything to catch up with and few rows are left to work on
 * meanwhile.
 */
static void
lag(struct outbox *o, struct aggregate *aggregate)
{
	if (aggregate->list != AGGREGATE_FLOWING || aggregate->dropped_from == INT64_MAX ||
	    aggregate->count > OUTBOX_AGGREGATE_LOW)
		return;
	aggregate->list = AGGREGATE_LAGGING;
	aggregate_list_append(&o->lagging, aggregate);
}

static struct aggregate *
aggregate_of(struct outbox *o, const struct row *row)
{
	struct slice type = row->columns[OUTBOX_AGGREGATE_TYPE],
		     id = row->columns[OUTBOX_AGGREGATE_ID];
	char small[256], *key = small;
	struct aggregate *aggregate;
	size_t len = type.len + 1 + id.len;

	if (o->config->order == ORDER_NONE || id.data == NULL)
		return NULL;
	if (len > sizeof(small))
		key = xmalloc(len);
	if (type.len > 0)
		memcpy(key, type.data, type.len);
	key[type.len] = '\0';
	memcpy(key + type.len + 1, id.data, id.len);
	aggregate = table_get(&o->aggregates, key, len);
	if (aggregate == NULL) {
		aggregate = aggregate_new((struct slice){ key, len }, type.len);
		(void)table_put(&o->aggregates, aggregate->key, aggregate->key_len, aggregate);
	}
	if (key != small)
		free(key);
	return aggregate;
}

void
outbox_add_row(struct outbox *o, struct aggregate *aggregate, struct row *row)
{
	outbox_keep_row(o, row);
	aggregate_insert(aggregate, row);
	if (aggregate->head == row)
		make_ready(o, row);
}

struct aggregate *
outbox_find_aggregate(const struct outbox *o, const char *type, const char *id)
{
	struct aggregate *aggregate;
	struct buf key = BUF_INIT;

	if (id == NULL)
		return NULL;
	buf_puts(&key, type == NULL ? "" : type);
	buf_putc(&key, '\0');
	buf_puts(&key, id);
	aggregate = table_get(&o->aggregates, key.data, key.len);
	buf_release(&key);
	return aggregate;
}

/* It will be read again; where rows are told by their ids nothing is kept of it. */
static void
drop(struct outbox *o, int64_t seq)
{
	if (o->table.keyed)
		outbox_forget_key(o, seq);
	else
		outbox_mark_dropped(o, seq);
}

/* Rows are taken in order of seq, but for those that were committed late. */
void
outbox_take_row(struct outbox *o, struct row *row)
{
	struct aggregate *aggregate = aggregate_of(o, row);

	if (aggregate != NULL && aggregate->blockage == NULL &&
	    aggregate->count >= OUTBOX_AGGREGATE_ROWS && row->seq > aggregate->tail->seq &&
	    row->seq < aggregate->dropped_from)
		aggregate->dropped_from = row->seq;
	if (aggregate != NULL &&
	    (aggregate->blockage != NULL || row->seq >= aggregate->dropped_from)) {
		if (row->seq < aggregate->dropped_from)
			aggregate->dropped_from = row->seq;
		drop(o, row->seq);
		row_free(&row);
		return;
	}
	if (aggregate != NULL) {
		outbox_add_row(o, aggregate, row);
		return;
	}
	outbox_keep_row(o, row);
	make_ready(o, row);
}

/* To flowing. A blocked one leaves in outbox_blocked.c. */
void
outbox_leave_list(struct outbox *o, struct aggregate *aggregate)
{
	if (aggregate->list == AGGREGATE_LAGGING)
		aggregate_list_remove(&o->lagging, aggregate);
	else if (aggregate->list == AGGREGATE_CATCHING_UP)
		aggregate_list_remove(&o->reader.catching_up, aggregate);
	else if (aggregate->list == AGGREGATE_SWEPT)
		aggregate_list_remove(&o->reader.swept, aggregate);
	aggregate->list = AGGREGATE_FLOWING;
}

void
outbox_caught_up(struct outbox *o, struct aggregate *aggregate)
{
	outbox_leave_list(o, aggregate);
	if (aggregate->head == NULL && aggregate->dropped_from == INT64_MAX) {
		(void)table_remove(&o->aggregates, aggregate->key, aggregate->key_len);
		free(aggregate);
	} else {
		lag(o, aggregate);
	}
}

void
outbox_next_row(struct outbox *o, struct aggregate *aggregate)
{
	if (aggregate->head != NULL) {
		make_ready(o, aggregate->head);
	} else if (aggregate->key_len == 0) {
		free(aggregate);
		return;
	} else if (aggregate->dropped_from == INT64_MAX && aggregate->list == AGGREGATE_FLOWING) {
		(void)table_remove(&o->aggregates, aggregate->key, aggregate->key_len);
		free(aggregate);
		return;
	}
	lag(o, aggregate);
}

void
outbox_pop_row(struct outbox *o, struct row **row)
{
	struct aggregate *aggregate = (*row)->aggregate;

	if (aggregate != NULL) {
		assert(aggregate->head == *row);
		aggregate->head = (*row)->behind;
		if (aggregate->head == NULL)
			aggregate->tail = NULL;
		aggregate->count--;
	}
	outbox_let_go(o, row);
	if (aggregate != NULL)
		outbox_next_row(o, aggregate);
}

void
outbox_drop_aggregate(struct outbox *o, struct aggregate *aggregate)
{
	struct row *row = aggregate->head;

	if (row->behind != NULL && row->behind->seq < aggregate->dropped_from)
		aggregate->dropped_from = row->behind->seq;
	while (row != NULL) {
		struct row *behind = row->behind;

		if (row == aggregate->head) {
			outbox_mark_dropped(o, row->seq);
		} else {
			seq_map_remove(&o->known, row->seq);
			drop(o, row->seq);
		}
		outbox_let_go(o, &row);
		row = behind;
	}
	aggregate->head = aggregate->tail = NULL;
	aggregate->count = 0;
}

/*
 * What is unconfirmed stays with its channel until the broker has answered; only then may the lock
 * be taken again (outbox_lead.c). If such a row were read again before, it could be published while
 * its first copy is still on the way, and that copy could arrive behind its successors. Nor is it
 * remembered as confirmed: behind a fail-over its seq may be another event's.
 */
void
outbox_forget(struct outbox *o)
{
	struct outbox_window *window = &o->window;
	const struct seq_map_entry *entry;
	struct aggregate *aggregate;

	for (size_t at = 0; (entry = seq_map_next(&o->known, &at)) != NULL;) {
		struct row *row = entry->value;

		if (entry->value == DROPPED || entry->value == CONFIRMED)
			continue;
		row->aggregate = NULL;
		row->behind = NULL;
		if (row->state == ROW_ISSUED) {
			row_list_remove(&window->issued, row);
			row_list_append(&window->orphans, row);
		}
		if (row->state == ROW_ISSUED || row->state == ROW_PROBED) {
			row->state = ROW_ORPHAN;
			o->rows--;
		} else {
			outbox_let_go(o, &row);
		}
	}
	outbox_publish_reset(o);
	outbox_blocked_reset(o);
	for (size_t at = 0; (aggregate = table_next(&o->aggregates, &at)) != NULL;)
		free(aggregate);
	table_release(&o->aggregates);
	o->lagging = (struct aggregate_list){ NULL, NULL, 0 };
	seq_map_release(&o->known);
	o->dropped = o->let_go = 0;
	outbox_keys_reset(o);
	outbox_settle_reset(o);
	outbox_aside_reset(o);
	outbox_retire_reset(o);
	outbox_read_reset(o);
	outbox_bell_reset(o);
	outbox_floor_reset(o);
	outbox_net_reset(o);
	o->trying = false;
	o->broker_lost_since = (struct clock_mono){ 0 };
}
