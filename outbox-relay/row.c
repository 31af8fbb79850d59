/*
 * row.c - rows and aggregates: memory, lists, queues.
 */
#include "outbox-relay/row.h"

#include <assert.h>

#include "util/arena.h"
#include "util/pg.h"

static unsigned char
digit(char c)
{
	return (unsigned char)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
}

/* Bytes, given as hexadecimal digits. */
static size_t
unhex(char *to, const char *digits, size_t len)
{
	for (size_t i = 0; i + 1 < len; i += 2)
		to[i / 2] = (char)(digit(digits[i]) << 4 | digit(digits[i + 1]));
	return len / 2;
}

/* Where a row's value is in an answer: between them and the extra ones are two that are none. */
static int
place(int column)
{
	return column < OUTBOX_COLUMNS ? column : column - OUTBOX_COLUMNS + OUTBOX_EXTRA;
}

struct row *
row_new(const struct pg_result *result, int i, const struct outbox_shape *shape)
{
	int columns = OUTBOX_COLUMNS + (int)shape->extras;
	size_t bytes = (size_t)columns * sizeof(struct slice);
	struct row *row;
	char *to;

	if (pg_value(result, i, OUTBOX_SEQ) == NULL)
		return NULL;
	for (int column = 0; column < columns; column++)
		bytes += pg_value_len(result, i, place(column)) + 1;
	row = xmalloc(sizeof(*row) + bytes);
	memset(row, 0, sizeof(*row) + (size_t)columns * sizeof(struct slice));
	row->size = sizeof(*row) + bytes;
	to = (char *)&row->columns[columns];
	for (int column = 0; column < columns; column++) {
		const char *value = pg_value(result, i, place(column));
		size_t len = pg_value_len(result, i, place(column));

		if (value == NULL)
			continue;
		if (column == OUTBOX_PAYLOAD && shape->hex)
			len = unhex(to, value, len);
		else
			memcpy(to, value, len);
		to[len] = '\0';
		row->columns[column] = (struct slice){ to, len };
		to += len + 1;
	}
	row->seq = strtoll(row->columns[OUTBOX_SEQ].data, NULL, 10);
	if (pg_value(result, i, OUTBOX_TOO_LARGE) != NULL)
		row->too_large = strtoull(pg_value(result, i, OUTBOX_TOO_LARGE), NULL, 10);
	return row;
}

void
row_free(struct row **row)
{
	free(*row);
	*row = NULL;
}

int64_t
row_created_s(const struct row *row)
{
	const char *text = row->columns[OUTBOX_CREATED].data;
	long long created = text == NULL ? 0 : strtoll(text, NULL, 10);

	return created < 0 ? 0 : created;	/* AMQP knows no time before 1970 */
}

void
row_list_append(struct row_list *list, struct row *row)
{
	row->next = NULL;
	row->previous = list->tail;
	if (list->tail != NULL)
		list->tail->next = row;
	else
		list->head = row;
	list->tail = row;
	list->count++;
}

void
row_list_prepend(struct row_list *list, struct row *row)
{
	row->previous = NULL;
	row->next = list->head;
	if (list->head != NULL)
		list->head->previous = row;
	else
		list->tail = row;
	list->head = row;
	list->count++;
}

void
row_list_remove(struct row_list *list, struct row *row)
{
	assert(list->count > 0);
	if (row->previous != NULL)
		row->previous->next = row->next;
	else
		list->head = row->next;
	if (row->next != NULL)
		row->next->previous = row->previous;
	else
		list->tail = row->previous;
	row->next = row->previous = NULL;
	list->count--;
}

struct aggregate *
aggregate_new(struct slice key, size_t type_len)
{
	struct aggregate *aggregate = xcalloc(1, sizeof(*aggregate) + key.len + 1);

	aggregate->dropped_from = INT64_MAX;
	aggregate->type_len = type_len;
	aggregate->key_len = key.len;
	if (key.len > 0)
		memcpy(aggregate->key, key.data, key.len);
	return aggregate;
}

struct slice
aggregate_type(const struct aggregate *aggregate)
{
	return (struct slice){ aggregate->key, aggregate->type_len };
}

struct slice
aggregate_id(const struct aggregate *aggregate)
{
	size_t from = aggregate->type_len + 1;

	if (aggregate->key_len == 0)
		return (struct slice){ "", 0 };
	return (struct slice){ aggregate->key + from, aggregate->key_len - from };
}

void
aggregate_insert(struct aggregate *aggregate, struct row *row)
{
	struct row *before = aggregate->tail;

	row->aggregate = aggregate;
	aggregate->count++;
	if (aggregate->head == NULL) {
		row->behind = NULL;
		aggregate->head = aggregate->tail = row;
		return;
	}
	/* A later one, but for writers that do not lock their aggregate. */
	if (before->seq > row->seq)
		for (before = aggregate->head;
		     before->behind != NULL && before->behind->seq < row->seq;)
			before = before->behind;
	row->behind = before->behind;
	before->behind = row;
	if (aggregate->tail == before)
		aggregate->tail = row;
}

void
aggregate_list_append(struct aggregate_list *list, struct aggregate *aggregate)
{
	aggregate->next = NULL;
	aggregate->previous = list->tail;
	if (list->tail != NULL)
		list->tail->next = aggregate;
	else
		list->head = aggregate;
	list->tail = aggregate;
	list->count++;
}

void
aggregate_list_remove(struct aggregate_list *list, struct aggregate *aggregate)
{
	assert(list->count > 0);
	if (aggregate->previous != NULL)
		aggregate->previous->next = aggregate->next;
	else
		list->head = aggregate->next;
	if (aggregate->next != NULL)
		aggregate->next->previous = aggregate->previous;
	else
		list->tail = aggregate->previous;
	aggregate->next = aggregate->previous = NULL;
	list->count--;
}
