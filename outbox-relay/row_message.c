/*
 * row_message.c - the AMQP message that a row becomes.
 *
 *   exchange, routing key  the outbox's templates
 *   message_id             the id if that is a UUID, else OUTBOX/ID, because ids of two outboxes
 *                          may be equal; without an id OUTBOX/SEQ
 *   type, timestamp        type, created_at
 *   app_id                 the outbox's name
 *   content_type           the row's own, else the outbox's
 *   priority, expiration   the row's own
 *   headers                aggregatetype, aggregateid, traceparent, those of an envelope, then the
 *                          row's own (row_headers.c)
 *   body                   the payload: bytes as they are, other types as PostgreSQL writes them
 *
 * CloudEvents 1.0, binary mode, has its attributes in headers. The AMQP binding (1.0.2) prefers the
 * prefix "cloudEvents_" to "cloudEvents:".
 */
#include "outbox-relay/row.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/envelope.h"
#include "util/arena.h"

enum { HEADERS_MIN = 16, PRIORITY_MOST = 255, TIME_MAX = 64 };

void
row_message_maker_init(struct row_message_maker *maker, const char *outbox,
    const struct outbox_table *table, bool cloudevents, size_t max_body_bytes)
{
	*maker = (struct row_message_maker){
		.outbox = outbox,
		.table = table,
		.cloudevents = cloudevents,
		.max_body_bytes = max_body_bytes,
		.exchange_text = BUF_INIT,
		.routing_key_text = BUF_INIT,
		.source_text = BUF_INIT,
		.id_text = BUF_INIT,
		.arena = ARENA_INIT,
	};
}

void
row_message_maker_release(struct row_message_maker *maker)
{
	buf_release(&maker->exchange_text);
	buf_release(&maker->routing_key_text);
	buf_release(&maker->source_text);
	buf_release(&maker->id_text);
	arena_release(&maker->arena);
	free(maker->headers);
	maker->headers = NULL;
	maker->header_count = maker->header_cap = 0;
}

static int
expand(const struct outbox_template *template, const char *what, const struct row *row,
    struct buf *scratch, struct slice *out, char *error, size_t error_size)
{
	const struct outbox_template_part *null =
	    outbox_template_expand(template, row->columns, scratch, out);

	if (null == NULL)
		return 0;
	if (null->kind == OUTBOX_PART_HEADER)
		(void)snprintf(error, error_size,
		    "the %s needs header %s, which this row does not have as a text or number",
		    what, null->text.data);
	else
		(void)snprintf(error, error_size,
		    "the %s needs column %s, which is null in this row", what, null->text.data);
	return -1;
}

static int
expand_short(const struct outbox_template *template, const char *what, const struct row *row,
    struct buf *scratch, struct slice *out, char *error, size_t error_size)
{
	if (expand(template, what, row, scratch, out, error, error_size) != 0)
		return -1;
	if (out->len <= AMQP_SHORTSTR_MAX)
		return 0;
	(void)snprintf(error, error_size, "the %s is %zu bytes long, at most %d are possible", what,
	    out->len, AMQP_SHORTSTR_MAX);
	return -1;
}

int
row_route(struct row_message_maker *maker, const struct row *row, struct slice *exchange,
    struct slice *routing_key, char *error, size_t error_size)
{
	if (expand_short(&maker->table->exchange, "exchange", row, &maker->exchange_text, exchange,
		error, error_size) != 0)
		return -1;
	return expand_short(&maker->table->routing_key, "routing key", row,
	    &maker->routing_key_text, routing_key, error, error_size);
}

struct amqp_header *
row_add_header(struct row_message_maker *maker, const char *name, enum amqp_value_kind kind)
{
	struct amqp_header *header;

	if (maker->header_count == maker->header_cap) {
		maker->header_cap = maker->header_cap == 0 ? HEADERS_MIN : maker->header_cap * 2;
		maker->headers = xrealloc(
		    maker->headers, maker->header_cap * sizeof(*maker->headers));
	}
	header = &maker->headers[maker->header_count++];
	*header = (struct amqp_header){ .name = name, .kind = kind };
	return header;
}

static void
add_text(struct row_message_maker *maker, const char *name, struct slice text)
{
	if (text.data != NULL)
		row_add_header(maker, name, AMQP_STRING)->text = text;
}

/* "2023-11-14T22:13:20.123456Z"; {NULL, 0}: unknown. */
static struct slice
rfc3339(struct row_message_maker *maker, const struct row *row)
{
	const char *created = row->columns[OUTBOX_CREATED].data, *point;
	time_t seconds = (time_t)row_created_s(row);
	char text[TIME_MAX];
	struct tm tm;

	if (created == NULL || gmtime_r(&seconds, &tm) == NULL ||
	    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm) == 0)
		return (struct slice){ NULL, 0 };
	point = seconds > 0 ? strchr(created, '.') : NULL;
	return slice_of(arena_printf(&maker->arena, "%s%sZ", text, point == NULL ? "" : point));
}

static int
add_cloudevent(struct row_message_maker *maker, const struct row *row,
    const struct amqp_message *message, char *error, size_t error_size)
{
	struct slice source;

	if (message->type.len == 0) {
		(void)snprintf(error, error_size,
		    "a CloudEvent needs a type, which is empty in this"
		    " row");
		return -1;
	}
	if (expand(&maker->table->source, "source", row, &maker->source_text, &source, error,
		error_size) != 0)
		return -1;
	if (source.len == 0) {
		(void)snprintf(error, error_size, "the source of the CloudEvent is empty");
		return -1;
	}
	add_text(maker, "cloudEvents_specversion", slice_of("1.0"));
	add_text(maker, "cloudEvents_id", message->message_id);
	add_text(maker, "cloudEvents_source", source);
	add_text(maker, "cloudEvents_type", message->type);
	add_text(maker, "cloudEvents_time", rfc3339(maker, row));
	if (row->columns[OUTBOX_AGGREGATE_ID].len > 0)
		add_text(maker, "cloudEvents_subject", row->columns[OUTBOX_AGGREGATE_ID]);
	return 0;
}

static int
set_priority(const struct row *row, struct amqp_message *out, char *error, size_t error_size)
{
	const char *text = row->columns[OUTBOX_PRIORITY].data;
	long long priority = text == NULL ? -1 : strtoll(text, NULL, 10);

	if (text != NULL && (priority < 0 || priority > PRIORITY_MOST)) {
		(void)snprintf(error, error_size, "the priority is %s, it must be 0 to %d", text,
		    PRIORITY_MOST);
		return -1;
	}
	out->priority = (int)priority;
	return 0;
}

static struct slice
message_id(struct row_message_maker *maker, const struct row *row)
{
	struct slice id = row->columns[OUTBOX_ID];

	if (maker->table->id_is_uuid && id.data != NULL)
		return id;
	if (id.data == NULL)
		id = row->columns[OUTBOX_SEQ];
	buf_clear(&maker->id_text);
	buf_puts(&maker->id_text, maker->outbox);
	buf_putc(&maker->id_text, '/');
	buf_slice(&maker->id_text, id);
	return (struct slice){ maker->id_text.data, maker->id_text.len };
}

static int
add_headers(struct row_message_maker *maker, const struct row *row, struct amqp_message *out,
    char *error, size_t error_size)
{
	const struct slice *columns = row->columns;

	arena_reset(&maker->arena);
	maker->header_count = 0;
	add_text(maker, ENVELOPE_AGGREGATE_TYPE, columns[OUTBOX_AGGREGATE_TYPE]);
	add_text(maker, ENVELOPE_AGGREGATE_ID, columns[OUTBOX_AGGREGATE_ID]);
	add_text(maker, ENVELOPE_TRACEPARENT, columns[OUTBOX_TRACEPARENT]);
	if (maker->cloudevents && add_cloudevent(maker, row, out, error, error_size) != 0)
		return -1;
	if (row_add_json_headers(maker, columns[OUTBOX_HEADERS], error, error_size) != 0)
		return -1;
	out->headers = maker->headers;
	out->header_count = maker->header_count;
	return 0;
}

int
row_message(struct row_message_maker *maker, const struct row *row, struct amqp_message *out,
    char *error, size_t error_size)
{
	const struct slice *columns = row->columns;
	size_t size = row->too_large > 0 ? row->too_large : columns[OUTBOX_PAYLOAD].len;

	*out = (struct amqp_message){ .priority = -1 };
	if (size > maker->max_body_bytes) {
		(void)snprintf(error, error_size,
		    "the payload is %zu bytes long, at most %zu are allowed (max_body)", size,
		    maker->max_body_bytes);
		return -1;
	}
	if (row_route(maker, row, &out->exchange, &out->routing_key, error, error_size) != 0)
		return -1;
	out->message_id = message_id(maker, row);
	out->type = columns[OUTBOX_TYPE];
	out->content_type = columns[OUTBOX_CONTENT_TYPE].len > 0
	    ? columns[OUTBOX_CONTENT_TYPE] : slice_of(maker->table->content_type);
	out->app_id = slice_of(maker->outbox);
	out->timestamp_s = row_created_s(row);
	out->expiration = columns[OUTBOX_EXPIRATION];
	if (set_priority(row, out, error, error_size) != 0 ||
	    add_headers(maker, row, out, error, error_size) != 0)
		return -1;
	out->body = columns[OUTBOX_PAYLOAD].data;
	out->body_size = columns[OUTBOX_PAYLOAD].len;
	return 0;
}
