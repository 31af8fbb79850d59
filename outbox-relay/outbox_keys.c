/*
 * outbox_keys.c - tables without a seq: rows are told by their ids.
 *
 * Each row that is in memory, or confirmed and not deleted yet, or the first one of something
 * blocked, has a number, given in the order of reading; all other parts of the outbox take it for
 * the seq. Nothing is kept of any other row. A look at the table gives the first rows in the
 * configured order that are to be published and have no number. So no row can be missed: one that
 * is committed late, with an earlier value of the order, is just found later.
 *
 * An aggregate with rows that were let go of is closed: looks leave out its rows, until few are
 * left in memory or what blocks it is gone. It is open from the next look on that begins then
 * ("catching up"); rows of it that an earlier look brings are not taken, because what is before
 * them may not be there.
 */
#include "outbox-relay/outbox_internal.h"

#include <assert.h>

#include "util/arena.h"
#include "util/pg.h"

struct key {
	int64_t number;
	size_t len;
	char text[];
};

static int64_t
number_of(struct outbox_keys *keys, const char *text, size_t len)
{
	struct key *key = table_get(&keys->by_text, text, len);

	if (key != NULL)
		return key->number;
	key = xmalloc(sizeof(*key) + len + 1);
	key->number = ++keys->last;
	key->len = len;
	memcpy(key->text, text, len);
	key->text[len] = '\0';
	(void)table_put(&keys->by_text, key->text, len, key);
	seq_map_put(&keys->by_number, key->number, key);
	return key->number;
}

struct row *
outbox_new_row(struct outbox *o, const struct pg_result *result, int i)
{
	struct row *row = row_new(result, i, &o->table.shape);

	if (row != NULL && o->table.keyed)
		row->seq = number_of(&o->keys, row->columns[OUTBOX_ID].data,
		    row->columns[OUTBOX_ID].len);
	return row;
}

int64_t
outbox_seq_of(const struct outbox *o, const char *text)
{
	const struct key *key;

	if (!o->table.keyed)
		return strtoll(text, NULL, 10);
	key = table_get(&o->keys.by_text, text, strlen(text));
	return key == NULL ? 0 : key->number;
}

void
outbox_forget_key(struct outbox *o, int64_t number)
{
	struct key *key = seq_map_get(&o->keys.by_number, number);

	if (key == NULL)
		return;
	seq_map_remove(&o->keys.by_number, number);
	(void)table_remove(&o->keys.by_text, key->text, key->len);
	free(key);
}

void
outbox_name_event(const struct outbox *o, int64_t seq, char text[OUTBOX_EVENT_NAME])
{
	const struct key *key = seq_map_get(&o->keys.by_number, seq);

	if (key == NULL)
		(void)snprintf(text, OUTBOX_EVENT_NAME, "event %lld", (long long)seq);
	else
		(void)snprintf(text, OUTBOX_EVENT_NAME, "event %.100s", key->text);
}

void
outbox_key_text(const struct outbox *o, int64_t seq, struct buf *out)
{
	const struct key *key = seq_map_get(&o->keys.by_number, seq);

	if (key == NULL)
		buf_printf(out, "%lld", (long long)seq);
	else
		buf_slice(out, (struct slice){ key->text, key->len });
}

/* Texts as a text[]. */
void
outbox_add_text(struct buf *list, struct slice text)
{
	buf_puts(list, list->len == 0 ? "{\"" : ",\"");
	for (size_t i = 0; i < text.len; i++) {
		if (text.data[i] == '"' || text.data[i] == '\\')
			buf_putc(list, '\\');
		buf_putc(list, text.data[i]);
	}
	buf_putc(list, '"');
}

void
outbox_end_list(struct buf *list)
{
	buf_puts(list, list->len == 0 ? "{}" : "}");
}

void
outbox_keys_text(const struct outbox *o, const struct seq_list *seqs, struct buf *out)
{
	if (!o->table.keyed) {
		seq_list_text(seqs, out);
		return;
	}
	buf_clear(out);
	for (size_t i = 0; i < seqs->count; i++) {
		const struct key *key = seq_map_get(&o->keys.by_number, seqs->items[i]);

		if (key != NULL)
			outbox_add_text(out, (struct slice){ key->text, key->len });
	}
	outbox_end_list(out);
}

static void
open_aggregates(struct outbox *o)
{
	while (o->lagging.head != NULL) {
		struct aggregate *aggregate = o->lagging.head;

		outbox_leave_list(o, aggregate);
		aggregate->list = AGGREGATE_CATCHING_UP;
		aggregate_list_append(&o->reader.catching_up, aggregate);
	}
}

static bool
is_closed(const struct aggregate *aggregate)
{
	return aggregate->list != AGGREGATE_CATCHING_UP &&
	    (aggregate->blockage != NULL || aggregate->dropped_from != INT64_MAX);
}

void
outbox_keys_look(struct outbox *o, database_fn *fn, unsigned rows)
{
	struct buf known = BUF_INIT, types = BUF_INIT, ids = BUF_INIT;
	struct outbox_number n[3];
	const struct seq_map_entry *entry;
	const struct aggregate *aggregate;
	const char *values[6];

	open_aggregates(o);
	for (size_t at = 0; (entry = seq_map_next(&o->keys.by_number, &at)) != NULL;) {
		const struct key *key = entry->value;

		outbox_add_text(&known, (struct slice){ key->text, key->len });
	}
	for (size_t at = 0; (aggregate = table_next(&o->aggregates, &at)) != NULL;) {
		if (is_closed(aggregate)) {
			outbox_add_text(&types, aggregate_type(aggregate));
			outbox_add_text(&ids, aggregate_id(aggregate));
		}
	}
	outbox_end_list(&known);
	outbox_end_list(&types);
	outbox_end_list(&ids);
	values[0] = known.data;
	values[1] = outbox_number(&n[0], rows);
	values[2] = outbox_number(&n[1], (long long)o->reader.read_bytes);
	values[3] = outbox_number(&n[2], o->config->max_body_bytes);
	values[4] = types.data;
	values[5] = ids.data;
	outbox_execute(o, fn, "read", 6, values);
	buf_release(&known);
	buf_release(&types);
	buf_release(&ids);
}

/* Those that were closed when the look began, and open for it, have no rows that are missing. */
void
outbox_keys_opened(struct outbox *o)
{
	for (struct aggregate *aggregate = o->reader.catching_up.head; aggregate != NULL;
	     aggregate = aggregate->next)
		aggregate->dropped_from = INT64_MAX;
}

void
outbox_keys_reset(struct outbox *o)
{
	void *key;

	for (size_t at = 0; (key = table_next(&o->keys.by_text, &at)) != NULL;)
		free(key);
	table_release(&o->keys.by_text);
	seq_map_release(&o->keys.by_number);
}
