/*
 * row_message.c - the AMQP message that a row becomes.
 *
 *   exchange, routing key  the outbox's templates
 *   message_id             the id if that is a UUID, else OUTBOX/ID, because ids of two outboxes
 *                          may be equal; without an id OUTBOX/SEQ
 *   type, timestamp        type, created_at
 *   app_id                 the outbox's name
 *   content_type           application/json
 *   headers                aggregatetype, aggregateid, then the row's own (a JSON object): strings,
 *                          booleans, nulls; numbers as 64-bit integers or doubles, as text where
 *                          neither holds them; arrays and objects as JSON text. Names that begin
 *                          with x-pawl- are Pawl's, CC and BCC would make the broker send copies to
 *                          other queues: left out
 *   body                   the payload as PostgreSQL writes it
 */
#include "outbox-relay/row.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <strings.h>

#include "common/envelope.h"
#include "util/arena.h"
#include "util/json_scan.h"

enum { HEADERS_MIN = 16 };

void
row_message_maker_init(struct row_message_maker *maker, const char *outbox,
    const struct outbox_template *exchange, const struct outbox_template *routing_key,
    size_t max_body_bytes)
{
	*maker = (struct row_message_maker){
		.outbox = outbox,
		.exchange = exchange,
		.routing_key = routing_key,
		.max_body_bytes = max_body_bytes,
		.exchange_text = BUF_INIT,
		.routing_key_text = BUF_INIT,
		.id_text = BUF_INIT,
		.arena = ARENA_INIT,
	};
}

void
row_message_maker_release(struct row_message_maker *maker)
{
	buf_release(&maker->exchange_text);
	buf_release(&maker->routing_key_text);
	buf_release(&maker->id_text);
	arena_release(&maker->arena);
	free(maker->headers);
	maker->headers = NULL;
	maker->header_cap = 0;
}

static int
expand(const struct outbox_template *template, const char *what, const struct row *row,
    struct buf *scratch, struct slice *out, char *error, size_t error_size)
{
	enum outbox_column null;

	if (outbox_template_expand(template, row->columns, scratch, out, &null) != 0) {
		(void)snprintf(error, error_size,
		    "the %s needs column %s, which is null in this row", what,
		    outbox_column_name(null));
		return -1;
	}
	if (out->len > AMQP_SHORTSTR_MAX) {
		(void)snprintf(error, error_size,
		    "the %s is %zu bytes long, at most %d are possible", what, out->len,
		    AMQP_SHORTSTR_MAX);
		return -1;
	}
	return 0;
}

int
row_route(struct row_message_maker *maker, const struct row *row, struct slice *exchange,
    struct slice *routing_key, char *error, size_t error_size)
{
	if (expand(maker->exchange, "exchange", row, &maker->exchange_text, exchange, error,
		error_size) != 0)
		return -1;
	return expand(maker->routing_key, "routing key", row, &maker->routing_key_text, routing_key,
	    error, error_size);
}

static struct amqp_header *
add_header(struct row_message_maker *maker, struct amqp_message *out, const char *name,
    enum amqp_value_kind kind)
{
	struct amqp_header *header;

	if (out->header_count == maker->header_cap) {
		maker->header_cap = maker->header_cap == 0 ? HEADERS_MIN : maker->header_cap * 2;
		maker->headers = xrealloc(
		    maker->headers, maker->header_cap * sizeof(*maker->headers));
	}
	header = &maker->headers[out->header_count++];
	*header = (struct amqp_header){ .name = name, .kind = kind };
	return header;
}

static void
set_number(struct amqp_header *header, struct slice raw, struct arena *arena)
{
	const char *text = arena_memdup(arena, raw.data, raw.len);
	bool integer = strcspn(text, ".eE") == raw.len;

	header->text = (struct slice){ text, raw.len };
	errno = 0;
	if (integer)
		header->number = strtoll(text, NULL, 10);
	else
		header->real = strtod(text, NULL);
	if (errno == 0 && (integer || isfinite(header->real)))
		header->kind = integer ? AMQP_INT : AMQP_DOUBLE;
}

static bool
ours(const char *name)
{
	return strncasecmp(name, ENVELOPE_PREFIX, strlen(ENVELOPE_PREFIX)) == 0 ||
	    strcmp(name, "CC") == 0 || strcmp(name, "BCC") == 0 ||
	    strcmp(name, ENVELOPE_AGGREGATE_TYPE) == 0 || strcmp(name, ENVELOPE_AGGREGATE_ID) == 0;
}

static int
unescape(struct slice raw, struct arena *arena, struct slice *out)
{
	char *text = arena_alloc(arena, raw.len + 1);

	*out = (struct slice){ text, 0 };
	return json_scan_unescape(raw, text, &out->len) == JSON_OK ? 0 : -1;
}

static int
add_json_header(struct row_message_maker *maker, struct amqp_message *out, struct slice key,
    const struct json_value *value)
{
	struct amqp_header *header;
	struct slice name;

	if (unescape(key, &maker->arena, &name) != 0)
		return -1;
	if (ours(name.data))
		return 0;
	header = add_header(maker, out, name.data, AMQP_STRING);
	switch (value->kind) {
	case JSON_NULL:
		header->kind = AMQP_VOID;
		return 0;
	case JSON_FALSE:
	case JSON_TRUE:
		header->kind = AMQP_BOOL;
		header->number = value->kind == JSON_TRUE;
		return 0;
	case JSON_NUMBER:
		set_number(header, value->raw, &maker->arena);
		return 0;
	case JSON_STRING:
		return unescape(value->raw, &maker->arena, &header->text);
	case JSON_ARRAY:
	case JSON_OBJECT:
		header->text = value->raw;
		return 0;
	}
	return -1;
}

static int
add_json_headers(struct row_message_maker *maker, struct slice text, struct amqp_message *out,
    char *error, size_t error_size)
{
	struct json_value value;
	struct slice key;
	size_t offset = 0, at = 0;
	enum json_status status;

	if (text.data == NULL || slice_is(text, "{}"))
		return 0;
	status = json_scan_check(text, &offset);
	if (status != JSON_OK) {
		(void)snprintf(error, error_size, "the headers cannot be read at byte %zu: %s",
		    offset, json_status_text(status));
		return -1;
	}
	if (slice_is(text, "null"))
		return 0;
	if (text.data[0] != '{') {
		(void)snprintf(error, error_size, "the headers are no JSON object");
		return -1;
	}
	arena_reset(&maker->arena);
	while (json_scan_next(text, &at, &key, &value)) {
		if (add_json_header(maker, out, key, &value) != 0) {
			(void)snprintf(error, error_size, "header %.*s holds an escaped NUL",
			    key.len > 80 ? 80 : (int)key.len, key.data);
			return -1;
		}
	}
	return 0;
}

static struct slice
message_id(struct row_message_maker *maker, const struct row *row)
{
	struct slice id = row->columns[OUTBOX_ID];

	if (maker->id_is_uuid && id.data != NULL)
		return id;
	if (id.data == NULL)
		id = row->columns[OUTBOX_SEQ];
	buf_clear(&maker->id_text);
	buf_puts(&maker->id_text, maker->outbox);
	buf_putc(&maker->id_text, '/');
	buf_slice(&maker->id_text, id);
	return (struct slice){ maker->id_text.data, maker->id_text.len };
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
	out->content_type = slice_of("application/json");
	out->app_id = slice_of(maker->outbox);
	out->timestamp_s = row_created_s(row);
	if (columns[OUTBOX_AGGREGATE_TYPE].data != NULL)
		add_header(maker, out, ENVELOPE_AGGREGATE_TYPE, AMQP_STRING)->text =
		    columns[OUTBOX_AGGREGATE_TYPE];
	if (columns[OUTBOX_AGGREGATE_ID].data != NULL)
		add_header(maker, out, ENVELOPE_AGGREGATE_ID, AMQP_STRING)->text =
		    columns[OUTBOX_AGGREGATE_ID];
	if (add_json_headers(maker, columns[OUTBOX_HEADERS], out, error, error_size) != 0)
		return -1;
	out->headers = maker->headers;
	out->body = columns[OUTBOX_PAYLOAD].data;
	out->body_size = columns[OUTBOX_PAYLOAD].len;
	return 0;
}
