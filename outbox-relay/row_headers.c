/*
 * row_headers.c - a row's headers: a JSON object becomes a table of AMQP fields.
 *
 *   text             long string
 *   integer          64-bit integer; text where it does not fit
 *   other number     double, if that is exactly what is written; else text, so no digit is lost
 *   true, false      boolean
 *   null             void
 *   array, object    array, table; 16 deep at most
 *
 * Names that begin with x-pawl- are Pawl's, CC and BCC would make the broker send copies to other
 * queues: left out.
 */
#include "outbox-relay/row.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "common/envelope.h"
#include "util/arena.h"
#include "util/json_scan.h"

enum { DIGITS_MOST = 17 };		/* that a double tells apart */

/* A number's digits without zeros at the ends, and where its point is. */
struct decimal { char digits[DIGITS_MOST + 1]; size_t count; long exponent; };

/* false: more digits than a double has. */
static bool
decimal_of(const char *text, struct decimal *out)
{
	bool fraction = false;
	long zeros = 0;

	*out = (struct decimal){ .count = 0 };
	for (; *text != '\0' && *text != 'e' && *text != 'E'; text++) {
		if (*text == '.')
			fraction = true;
		if (*text < '0' || *text > '9')
			continue;
		if (fraction)
			out->exponent--;
		if (*text == '0') {
			zeros += out->count > 0;
			continue;
		}
		if (out->count + (size_t)zeros >= DIGITS_MOST)
			return false;
		for (; zeros > 0; zeros--)
			out->digits[out->count++] = '0';
		out->digits[out->count++] = *text;
	}
	if (out->count == 0)
		return true;		/* zero, whatever its exponent */
	out->exponent += zeros;
	if (*text != '\0')
		out->exponent += strtol(text + 1, NULL, 10);
	return true;
}

/* Is it, with as many digits as are written, what is written? */
static bool
is_exact(double real, const char *text)
{
	struct decimal written, read;
	char again[64];

	if (!isfinite(real) || !decimal_of(text, &written))
		return false;
	if (written.count == 0)
		return true;		/* zero */
	(void)snprintf(again, sizeof(again), "%.*e", (int)written.count - 1, real);
	return decimal_of(again, &read) && read.exponent == written.exponent &&
	    read.count == written.count && memcmp(read.digits, written.digits, read.count) == 0;
}

static void
set_number(struct amqp_header *header, struct slice raw, struct arena *arena)
{
	const char *text = arena_memdup(arena, raw.data, raw.len);
	bool integer = strcspn(text, ".eE") == raw.len;

	header->kind = AMQP_STRING;
	header->text = (struct slice){ text, raw.len };
	errno = 0;
	if (integer) {
		header->number = strtoll(text, NULL, 10);
		if (errno == 0)
			header->kind = AMQP_INT;
	} else {
		header->real = strtod(text, NULL);
		if (errno == 0 && is_exact(header->real, text))
			header->kind = AMQP_DOUBLE;
	}
}

static int
unescape(struct slice raw, struct arena *arena, struct slice *out)
{
	char *text = arena_alloc(arena, raw.len + 1);

	*out = (struct slice){ text, 0 };
	return json_scan_unescape(raw, text, &out->len) == JSON_OK ? 0 : -1;
}

static int set_value(struct arena *, struct amqp_header *, const struct json_value *, int depth);

static size_t
count_members(struct slice container)
{
	struct json_value value;
	struct slice key;
	size_t at = 0, count = 0;

	while (json_scan_next(container, &at, &key, &value))
		count++;
	return count;
}

static int
set_members(struct arena *arena, struct amqp_header *header, struct slice container, int depth)
{
	size_t count = count_members(container), at = 0;
	struct amqp_header *items = arena_array(arena, count, sizeof(*items));
	struct json_value value;
	struct slice key, name = { "", 0 };

	for (size_t i = 0; i < count && json_scan_next(container, &at, &key, &value); i++) {
		if (header->kind == AMQP_TABLE && unescape(key, arena, &name) != 0)
			return -1;
		items[i] = (struct amqp_header){ .name = name.data };
		if (set_value(arena, &items[i], &value, depth + 1) != 0)
			return -1;
	}
	header->items = items;
	header->item_count = count;
	return 0;
}

static int
set_value(struct arena *arena, struct amqp_header *header, const struct json_value *value,
    int depth)
{
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
		set_number(header, value->raw, arena);
		return 0;
	case JSON_STRING:
		header->kind = AMQP_STRING;
		return unescape(value->raw, arena, &header->text);
	case JSON_ARRAY:
	case JSON_OBJECT:
		header->kind = value->kind == JSON_ARRAY ? AMQP_ARRAY : AMQP_TABLE;
		/* What is deeper is refused when it is published: leave it empty. */
		return depth > AMQP_NESTED_MOST ? 0 : set_members(arena, header, value->raw, depth);
	}
	return -1;
}

static bool
ours(const char *name)
{
	return strncasecmp(name, ENVELOPE_PREFIX, strlen(ENVELOPE_PREFIX)) == 0 ||
	    strcmp(name, "CC") == 0 || strcmp(name, "BCC") == 0;
}

/* The row's columns say the same: they win. */
static bool
is_there(const struct row_message_maker *maker, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(maker->headers[i].name, name) == 0)
			return true;
	return false;
}

int
row_add_json_headers(struct row_message_maker *maker, struct slice json, char *error,
    size_t error_size)
{
	struct json_value value;
	struct slice key, name;
	size_t offset = 0, at = 0, first = maker->header_count;
	enum json_status status;

	if (json.data == NULL || slice_is(json, "{}"))
		return 0;
	status = json_scan_check(json, &offset);
	if (status != JSON_OK) {
		(void)snprintf(error, error_size, "the headers cannot be read at byte %zu: %s",
		    offset, json_status_text(status));
		return -1;
	}
	json.data += strspn(json.data, " \t\r\n");
	if (strncmp(json.data, "null", 4) == 0)
		return 0;
	if (json.data[0] != '{') {
		(void)snprintf(error, error_size, "the headers are no JSON object");
		return -1;
	}
	json.len = strlen(json.data);
	while (json_scan_next(json, &at, &key, &value)) {
		struct amqp_header *header;

		if (unescape(key, &maker->arena, &name) != 0)
			goto nul;
		if (ours(name.data) || is_there(maker, first, name.data))
			continue;
		header = row_add_header(maker, name.data, AMQP_STRING);
		if (set_value(&maker->arena, header, &value, 1) != 0)
			goto nul;
	}
	return 0;
nul:
	(void)snprintf(error, error_size, "header %.*s holds an escaped NUL",
	    key.len > 80 ? 80 : (int)key.len, key.data);
	return -1;
}
