/*
 * try_message.c - see try_message.h.
 */
#include "ctl/try_message.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/frame.h"
#include "util/json_scan.h"

enum { HEADERS_MAX = 1000, HEADERS = TRY_TEXTS, TIMESTAMP, BODY, MEMBERS };

static const char *const member[MEMBERS] = {
	[TRY_ID] = "id", [TRY_TYPE] = "type", [TRY_CONTENT_TYPE] = "content_type",
	[TRY_CORRELATION_ID] = "correlation_id", [TRY_REPLY_TO] = "reply_to", [TRY_EXCHANGE] = "exchange",
	[TRY_ROUTING_KEY] = "routing_key", [TIMESTAMP] = "timestamp_ms", [HEADERS] = "headers", [BODY] = "body"
};

/* A string's text; any other value as it is written. -1: an escaped NUL. */
static int
text_of(struct arena *arena, struct slice raw, struct slice *out)
{
	char *text;

	if (raw.data[0] != '"') {
		*out = (struct slice){ arena_memdup(arena, raw.data, raw.len), raw.len };
		return 0;
	}
	text = arena_alloc(arena, raw.len + 1);
	out->data = text;
	return json_scan_unescape(raw, text, &out->len) == JSON_OK ? 0 : -1;
}

static int
parse_headers(struct try_message *m, struct arena *arena, struct slice object, char *error, size_t error_size)
{
	struct slice key, name, text;
	struct json_value value;
	struct try_header *headers;
	size_t count = 0, at = 0;

	while (json_scan_next(object, &at, &key, &value))
		count++;
	if (count > HEADERS_MAX) {
		(void)snprintf(error, error_size, "it has %zu headers, and there can be %d", count, HEADERS_MAX);
		return -1;
	}
	headers = arena_array(arena, count + 1, sizeof(*headers));
	m->headers = headers;
	m->header_count = 0;
	for (at = 0; json_scan_next(object, &at, &key, &value);) {
		if (value.kind == JSON_NULL)
			continue;
		if (text_of(arena, key, &name) != 0 || text_of(arena, value.raw, &text) != 0) {
			(void)snprintf(error, error_size, "a header has an escaped NUL");
			return -1;
		}
		headers[m->header_count++] = (struct try_header){ name.data, text.data };
	}
	return 0;
}

static int
parse_timestamp(struct try_message *m, struct arena *arena, struct json_value value, char *error, size_t error_size)
{
	const char *text = arena_memdup(arena, value.raw.data, value.raw.len);
	char *end;

	errno = 0;
	m->timestamp_ms = strtoll(text, &end, 10);
	if (value.kind == JSON_NUMBER && *end == '\0' && errno == 0 && m->timestamp_ms >= 0)
		return 0;
	(void)snprintf(error, error_size, "\"timestamp_ms\" must be a whole number: milliseconds of Unix time");
	return -1;
}

static int
parse_member(struct try_message *m, struct arena *arena, int which, struct json_value value, char *error, size_t error_size)
{
	struct slice text;

	if (which != BODY && value.kind == JSON_NULL)
		return 0;
	if (which == HEADERS && value.kind == JSON_OBJECT)
		return parse_headers(m, arena, value.raw, error, error_size);
	if (which == TIMESTAMP)
		return parse_timestamp(m, arena, value, error, error_size);
	if (which != BODY && (which == HEADERS || value.kind != JSON_STRING)) {
		(void)snprintf(error, error_size, "\"%s\" must be %s", member[which],
		    which == HEADERS ? "an object" : "a string");
		return -1;
	}
	if (text_of(arena, value.raw, &text) != 0) {
		(void)snprintf(error, error_size, "\"%s\" has an escaped NUL", member[which]);
		return -1;
	}
	if (which == BODY)
		m->body = text;
	else
		m->text[which] = text.data;
	return 0;
}

static int
find_member(struct slice key)
{
	for (int i = 0; i < MEMBERS; i++)
		if (key.len == strlen(member[i]) + 2 && memcmp(key.data + 1, member[i], key.len - 2) == 0)
			return i;
	return -1;
}

int
try_message_parse(struct slice line, struct try_message *m, struct arena *arena, char *error, size_t error_size)
{
	struct json_value value;
	struct slice key;
	size_t at = 0, offset = 0;
	unsigned seen = 0;
	enum json_status status = json_scan_check(line, &offset);

	if (status == JSON_OK)
		status = json_scan_find(line, "", &value, &offset);
	if (status != JSON_OK || value.kind != JSON_OBJECT) {
		if (status != JSON_OK)
			(void)snprintf(error, error_size, "%s at byte %zu", json_status_text(status), offset + 1);
		else
			(void)snprintf(error, error_size, "write a JSON object with id, type, headers, body");
		return -1;
	}
	line = value.raw;
	m->body = slice_of("");
	while (json_scan_next(line, &at, &key, &value)) {
		int which = find_member(key);

		if (which < 0 || (seen & 1u << which) != 0) {
			(void)snprintf(error, error_size, which < 0 ?
			    "there is no %.*s: use id, type, content_type, correlation_id, reply_to, exchange, "
			    "routing_key, timestamp_ms, headers, body" : "%.*s is there twice",
			    key.len > 60 ? 60 : (int)key.len, key.data);
			return -1;
		}
		seen |= 1u << which;
		if (parse_member(m, arena, which, value, error, error_size) != 0)
			return -1;
	}
	return 0;
}

/* ---- as a slot reads it */

static void
put_text(struct buf *b, struct frame_text *where, const char *text)
{
	if (text == NULL)
		text = "";
	*where = (struct frame_text){ (uint32_t)b->len, (uint32_t)strlen(text) };
	buf_append(b, text, where->len + 1);
}

static void
put_headers(struct buf *b, struct frame_message *m, const struct try_message *from)
{
	struct frame_text pair[2];

	m->header_count = (uint16_t)from->header_count;
	m->headers_off = (uint32_t)b->len;
	memset(pair, 0, sizeof(pair));
	for (size_t i = 0; i < from->header_count; i++)
		buf_append(b, pair, sizeof(pair));
	for (size_t i = 0; i < from->header_count; i++) {
		put_text(b, &pair[0], from->headers[i].name);
		put_text(b, &pair[1], from->headers[i].value);
		memcpy(b->data + m->headers_off + i * sizeof(pair), pair, sizeof(pair));
	}
}

void
try_message_put(struct buf *b, const struct try_message *from, unsigned handler)
{
	struct frame_message m = { .handler = (uint16_t)handler, .attempt = 1, .attempts = 1,
		.timestamp_ms = from->timestamp_ms };
	bool json = from->text[TRY_CONTENT_TYPE] == NULL && json_scan_check(from->body, NULL) == JSON_OK;

	buf_append(b, &m, sizeof(m));
	put_headers(b, &m, from);
	put_text(b, &m.id, from->text[TRY_ID]);
	put_text(b, &m.type, from->text[TRY_TYPE]);
	put_text(b, &m.content_type, json ? "application/json" : from->text[TRY_CONTENT_TYPE]);
	put_text(b, &m.correlation_id, from->text[TRY_CORRELATION_ID]);
	put_text(b, &m.reply_to, from->text[TRY_REPLY_TO]);
	put_text(b, &m.exchange, from->text[TRY_EXCHANGE]);
	put_text(b, &m.routing_key, from->text[TRY_ROUTING_KEY]);
	m.body_off = (uint32_t)b->len;
	m.body_size = (uint32_t)from->body.len;
	buf_append(b, from->body.data, from->body.len);
	do
		buf_putc(b, '\0');
	while (b->len % 8 != 0);
	m.size = (uint32_t)b->len;
	memcpy(b->data, &m, sizeof(m));
}
