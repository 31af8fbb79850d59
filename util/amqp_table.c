/*
 * amqp_table.c - header tables: from the broker's to text, from ours to the broker's.
 *
 * A publisher can nest tables as deep as a frame is long. Printing stops at depth 16; nothing in
 * here goes deeper on the stack.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "util/amqp_conn_internal.h"
#include "util/amqp_consumer.h"
#include "util/utf8.h"

enum { DEPTH_MAX = 16 };

amqp_bytes_t
amqp_bytes_of(struct slice s)
{
	union { const char *in; void *out; } bytes = { .in = s.data };

	return (amqp_bytes_t){ .len = s.len, .bytes = bytes.out };
}

/* Bytes that are not UTF-8 become U+FFFD: what comes out is JSON whatever went in. */
static void
print_json_string(struct buf *out, amqp_bytes_t text)
{
	const char *p = text.bytes;

	buf_putc(out, '"');
	for (size_t at = 0, n; at < text.len; at += n) {
		n = utf8_length(p + at, text.len - at);
		if (n == 0) {
			n = 1;
			buf_puts(out, "\xef\xbf\xbd");
		} else if (n > 1) {
			buf_append(out, p + at, n);
		} else if (p[at] == '"' || p[at] == '\\') {
			buf_putc(out, '\\');
			buf_putc(out, p[at]);
		} else if ((unsigned char)p[at] < 0x20 || p[at] == 0x7f) {
			buf_printf(out, "\\u%04x", (unsigned)(unsigned char)p[at]);
		} else {
			buf_putc(out, p[at]);
		}
	}
	buf_putc(out, '"');
}

/* As short as it can be and still read back as the same number. */
static void
print_real(struct buf *out, double real, bool single, bool json)
{
	char text[32];

	if (!isfinite(real) && json) {
		buf_puts(out, "null");
		return;
	}
	(void)snprintf(text, sizeof(text), "%.*g", single ? 6 : 15, real);
	if (single ? strtof(text, NULL) != (float)real : strtod(text, NULL) != real)
		(void)snprintf(text, sizeof(text), "%.*g", single ? 9 : 17, real);
	buf_puts(out, text);
}

static void
print_decimal(struct buf *out, amqp_decimal_t decimal)
{
	char digits[16];
	int len = snprintf(digits, sizeof(digits), "%" PRIu32, decimal.value);
	int whole = len - decimal.decimals;

	if (decimal.decimals == 0) {
		buf_puts(out, digits);
		return;
	}
	if (whole > 0) {
		buf_append(out, digits, (size_t)whole);
		buf_putc(out, '.');
		buf_puts(out, digits + whole);
		return;
	}
	buf_puts(out, "0.");
	for (int i = whole; i < 0; i++)
		buf_putc(out, '0');
	buf_puts(out, digits);
}

/* An integer of any kind; false: it is none. What does not fit is the nearest that does. */
static bool
value_int(const amqp_field_value_t *value, int64_t *number)
{
	switch (value->kind) {
	case AMQP_FIELD_KIND_I8:
		*number = value->value.i8;
		return true;
	case AMQP_FIELD_KIND_U8:
		*number = value->value.u8;
		return true;
	case AMQP_FIELD_KIND_I16:
		*number = value->value.i16;
		return true;
	case AMQP_FIELD_KIND_U16:
		*number = value->value.u16;
		return true;
	case AMQP_FIELD_KIND_I32:
		*number = value->value.i32;
		return true;
	case AMQP_FIELD_KIND_U32:
		*number = value->value.u32;
		return true;
	case AMQP_FIELD_KIND_I64:
		*number = value->value.i64;
		return true;
	case AMQP_FIELD_KIND_U64:
	case AMQP_FIELD_KIND_TIMESTAMP:
		*number = value->value.u64 > INT64_MAX ? INT64_MAX : (int64_t)value->value.u64;
		return true;
	default:
		return false;
	}
}

/* json: inside a table or array; else the bare text. depth: how many tables and arrays may still
 * be opened. */
static void
print_value(struct buf *out, const amqp_field_value_t *value, bool json, int depth)
{
	int64_t number;

	switch (value->kind) {
	case AMQP_FIELD_KIND_BOOLEAN:
		buf_puts(out, value->value.boolean ? "true" : "false");
		break;
	case AMQP_FIELD_KIND_U64:
	case AMQP_FIELD_KIND_TIMESTAMP:
		buf_printf(out, "%" PRIu64, value->value.u64);
		break;
	case AMQP_FIELD_KIND_F32:
		print_real(out, (double)value->value.f32, true, json);
		break;
	case AMQP_FIELD_KIND_F64:
		print_real(out, value->value.f64, false, json);
		break;
	case AMQP_FIELD_KIND_DECIMAL:
		print_decimal(out, value->value.decimal);
		break;
	case AMQP_FIELD_KIND_UTF8:
	case AMQP_FIELD_KIND_BYTES:
		if (json)
			print_json_string(out, value->value.bytes);
		else
			buf_append(out, value->value.bytes.bytes, value->value.bytes.len);
		break;
	case AMQP_FIELD_KIND_ARRAY:
		if (depth == 0) {
			buf_puts(out, "null");
			break;
		}
		buf_putc(out, '[');
		for (int i = 0; i < value->value.array.num_entries; i++) {
			if (i > 0)
				buf_putc(out, ',');
			print_value(out, &value->value.array.entries[i], true, depth - 1);
		}
		buf_putc(out, ']');
		break;
	case AMQP_FIELD_KIND_TABLE:
		if (depth == 0) {
			buf_puts(out, "null");
			break;
		}
		buf_putc(out, '{');
		for (int i = 0; i < value->value.table.num_entries; i++) {
			const amqp_table_entry_t *entry = &value->value.table.entries[i];

			if (i > 0)
				buf_putc(out, ',');
			print_json_string(out, entry->key);
			buf_putc(out, ':');
			print_value(out, &entry->value, true, depth - 1);
		}
		buf_putc(out, '}');
		break;
	default:
		if (value_int(value, &number))
			buf_printf(out, "%" PRId64, number);
		else
			buf_puts(out, "null");
		break;
	}
}

/* Texts are as they are in the frame; everything else is printed into scratch, behind what is
 * there. */
static bool
value_text(const amqp_field_value_t *value, struct buf *scratch, struct slice *text)
{
	size_t from = scratch->len;

	if (value->kind == AMQP_FIELD_KIND_VOID)
		return false;
	if (value->kind == AMQP_FIELD_KIND_UTF8 || value->kind == AMQP_FIELD_KIND_BYTES) {
		*text = slice_of_bytes(value->value.bytes);
		return true;
	}
	print_value(scratch, value, false, DEPTH_MAX);
	*text = (struct slice){ scratch->data + from, scratch->len - from };
	return true;
}

static const amqp_field_value_t *
delivery_value(const struct amqp_delivery *delivery, const char *name)
{
	const amqp_table_t *table = delivery->headers;

	for (int i = 0; table != NULL && i < table->num_entries; i++) {
		if (slice_is(slice_of_bytes(table->entries[i].key), name))
			return &table->entries[i].value;
	}
	return NULL;
}

bool
amqp_delivery_header(const struct amqp_delivery *delivery, const char *name, struct buf *scratch,
    struct slice *value)
{
	const amqp_field_value_t *found = delivery_value(delivery, name);

	return found != NULL && value_text(found, scratch, value);
}

int64_t
amqp_delivery_header_int(const struct amqp_delivery *delivery, const char *name, int64_t fallback)
{
	const amqp_field_value_t *found = delivery_value(delivery, name);
	int64_t number;

	return found != NULL && value_int(found, &number) ? number : fallback;
}

void
amqp_delivery_headers(const struct amqp_delivery *delivery, struct buf *scratch, amqp_header_fn *fn,
    void *arg)
{
	const amqp_table_t *table = delivery->headers;
	size_t from = scratch->len;
	struct slice value;

	for (int i = 0; table != NULL && i < table->num_entries; i++) {
		if (value_text(&table->entries[i].value, scratch, &value))
			fn(arg, slice_of_bytes(table->entries[i].key), value);
		if (scratch->len > from) {
			scratch->len = from;
			scratch->data[from] = '\0';
		}
	}
}

static bool
is_nested(const struct amqp_header *header)
{
	return header->kind == AMQP_TABLE || header->kind == AMQP_ARRAY;
}

size_t
amqp_table_room(const struct amqp_header *headers, size_t count)
{
	size_t room = count;

	for (size_t i = 0; i < count; i++)
		if (is_nested(&headers[i]))
			room += amqp_table_room(headers[i].items, headers[i].item_count);
	return room;
}

static amqp_table_entry_t *fill_table(const struct amqp_header *, size_t count,
    amqp_table_entry_t *entries, amqp_table_entry_t *rest);

/* rest: memory for what is nested. Returns what is left of it. */
static amqp_table_entry_t *
fill_value(const struct amqp_header *header, amqp_field_value_t *value, amqp_table_entry_t *rest)
{
	amqp_table_entry_t *items = rest;

	switch (header->kind) {
	case AMQP_STRING:
		value->kind = AMQP_FIELD_KIND_UTF8;
		value->value.bytes = amqp_bytes_of(header->text);
		break;
	case AMQP_INT:
		value->kind = AMQP_FIELD_KIND_I64;
		value->value.i64 = header->number;
		break;
	case AMQP_BOOL:
		value->kind = AMQP_FIELD_KIND_BOOLEAN;
		value->value.boolean = header->number != 0;
		break;
	case AMQP_DOUBLE:
		value->kind = AMQP_FIELD_KIND_F64;
		value->value.f64 = header->real;
		break;
	case AMQP_VOID:
		value->kind = AMQP_FIELD_KIND_VOID;
		break;
	case AMQP_TABLE:
		value->kind = AMQP_FIELD_KIND_TABLE;
		value->value.table.num_entries = (int)header->item_count;
		value->value.table.entries = items;
		rest = fill_table(header->items, header->item_count, items,
		    rest + header->item_count);
		break;
	case AMQP_ARRAY:
		/* A value is smaller than an entry. */
		value->kind = AMQP_FIELD_KIND_ARRAY;
		value->value.array.num_entries = (int)header->item_count;
		value->value.array.entries = (amqp_field_value_t *)(void *)items;
		rest += header->item_count;
		for (size_t i = 0; i < header->item_count; i++)
			rest = fill_value(&header->items[i], &value->value.array.entries[i], rest);
		break;
	}
	return rest;
}

static amqp_table_entry_t *
fill_table(const struct amqp_header *headers, size_t count, amqp_table_entry_t *entries,
    amqp_table_entry_t *rest)
{
	for (size_t i = 0; i < count; i++) {
		entries[i].key = amqp_bytes_of(slice_of(headers[i].name));
		rest = fill_value(&headers[i], &entries[i].value, rest);
	}
	return rest;
}

void
amqp_table_entries(const struct amqp_header *headers, size_t count, amqp_table_entry_t *entries)
{
	(void)fill_table(headers, count, entries, entries + count);
}

static size_t
encoded_value_size(const struct amqp_header *header)
{
	size_t size = 1;

	switch (header->kind) {
	case AMQP_STRING:
		return size + 4 + header->text.len;
	case AMQP_INT:
	case AMQP_DOUBLE:
		return size + 8;
	case AMQP_BOOL:
		return size + 1;
	case AMQP_VOID:
		return size;
	case AMQP_TABLE:
	case AMQP_ARRAY:
		size += 4;
		for (size_t i = 0; i < header->item_count; i++)
			size += header->kind == AMQP_TABLE
			    ? amqp_header_encoded_size(&header->items[i])
			    : encoded_value_size(&header->items[i]);
		return size;
	}
	return size;
}

size_t
amqp_header_encoded_size(const struct amqp_header *header)
{
	return 1 + strlen(header->name) + encoded_value_size(header);
}
