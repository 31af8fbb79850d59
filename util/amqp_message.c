/*
 * amqp_message.c - builds what goes out: a message's properties, or those of a received message
 * that is published once more.
 *
 * Everything is checked here. rabbitmq-c finds a property that is too long only when the method's
 * frame is already on its way, and what follows then ends the connection.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include "util/amqp_conn_internal.h"
#include "util/amqp_publisher.h"

enum {
	EXPIRATION_DIGITS = 10, PRIORITY_MAX = 255, PERSISTENT = 2,
	TEXT_KEPT = 64,				/* of a text that is shortened to make room */
	/* properties and headers that a copy must not carry under their own name */
	MOVED = 4
};
static const char EXPIRATION_MOST[] = "4294967295";
static const char PAWL_PREFIX[] = "x-pawl-", ORIG_PREFIX[] = "x-pawl-orig-";
static const char DROPPED[] = "x-pawl-orig-dropped";

void
amqp_outgoing_init(struct amqp_outgoing *out)
{
	memset(out, 0, sizeof(*out));
	init_amqp_pool(&out->pool, 4096);
	buf_init(&out->scratch);
}

void
amqp_outgoing_release(struct amqp_outgoing *out)
{
	empty_amqp_pool(&out->pool);
	free(out->entries);
	buf_release(&out->scratch);
	amqp_outgoing_init(out);
}

static amqp_table_entry_t *
out_entries(struct amqp_outgoing *out, size_t count)
{
	if (count > out->entry_cap) {
		out->entries = xrealloc(out->entries, count * sizeof(*out->entries));
		out->entry_cap = count;
	}
	return out->entries;
}

static int ATTR_PRINTF(3, 4)
refuse(char *error, size_t size, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(error, size, fmt, ap);
	va_end(ap);
	return -1;
}

static int
check_short(struct slice text, const char *what, char *error, size_t size)
{
	if (text.len <= AMQP_SHORTSTR_MAX)
		return 0;
	return refuse(error, size, "%s of %zu bytes is too long for AMQP: at most %d", what,
	    text.len, AMQP_SHORTSTR_MAX);
}

static int
check_target(struct slice exchange, struct slice key, size_t body_size, size_t body_most,
    char *error, size_t size)
{
	if (check_short(exchange, "exchange name", error, size) != 0 ||
	    check_short(key, "routing key", error, size) != 0)
		return -1;
	if (body_size > body_most)
		return refuse(error, size, "body of %zu bytes is too large: at most %zu", body_size,
		    body_most);
	return 0;
}

/* The broker closes the channel, and all that is unconfirmed on it, over an expiration that it
 * cannot read. */
static int
check_expiration(struct slice text, char *error, size_t size)
{
	bool good = text.len <= EXPIRATION_DIGITS;

	for (size_t i = 0; good && i < text.len; i++)
		good = text.data[i] >= '0' && text.data[i] <= '9';
	if (good && text.len == EXPIRATION_DIGITS)
		good = memcmp(text.data, EXPIRATION_MOST, EXPIRATION_DIGITS) <= 0;
	if (good)
		return 0;
	return refuse(error, size, "expiration is not a number of milliseconds from 0 to %s",
	    EXPIRATION_MOST);
}

static int
check_nested(const struct amqp_header *headers, size_t count, int depth, const char *outermost,
    char *error, size_t size)
{
	for (size_t i = 0; i < count; i++) {
		size_t len = headers[i].name == NULL ? 0 : strlen(headers[i].name);

		if (len > AMQP_SHORTSTR_MAX)
			return refuse(error, size,
			    "header name \"%.40s...\" of %zu bytes is too long for AMQP: at most %d",
			    headers[i].name, len, AMQP_SHORTSTR_MAX);
		if (headers[i].kind != AMQP_TABLE && headers[i].kind != AMQP_ARRAY)
			continue;
		if (depth == AMQP_NESTED_MOST)
			return refuse(error, size,
			    "header \"%.40s\" holds lists or objects nested over %d deep",
			    outermost, AMQP_NESTED_MOST);
		if (check_nested(headers[i].items, headers[i].item_count, depth + 1,
			depth == 0 ? headers[i].name : outermost, error, size) != 0)
			return -1;
	}
	return 0;
}

static int
check_headers(const struct amqp_header *headers, size_t count, char *error, size_t size)
{
	return check_nested(headers, count, 0, "", error, size);
}

/* The short texts that a message can have. */
static const struct { const char *name; amqp_flags_t flag; size_t from, to; } short_texts[] = {
#define SHORT_TEXT(field, flag) \
	{ #field, flag, offsetof(struct amqp_message, field), \
	  offsetof(struct amqp_outgoing, properties.field) }
	SHORT_TEXT(message_id, AMQP_BASIC_MESSAGE_ID_FLAG),
	SHORT_TEXT(type, AMQP_BASIC_TYPE_FLAG),
	SHORT_TEXT(content_type, AMQP_BASIC_CONTENT_TYPE_FLAG),
	SHORT_TEXT(content_encoding, AMQP_BASIC_CONTENT_ENCODING_FLAG),
	SHORT_TEXT(correlation_id, AMQP_BASIC_CORRELATION_ID_FLAG),
	SHORT_TEXT(reply_to, AMQP_BASIC_REPLY_TO_FLAG),
	SHORT_TEXT(app_id, AMQP_BASIC_APP_ID_FLAG),
	SHORT_TEXT(expiration, AMQP_BASIC_EXPIRATION_FLAG)
#undef SHORT_TEXT
};

static int
set_short_texts(struct amqp_outgoing *out, const struct amqp_message *m, char *error, size_t size)
{
	for (size_t i = 0; i < ARRAY_SIZE(short_texts); i++) {
		const struct slice *from = (const void *)((const char *)m + short_texts[i].from);
		amqp_bytes_t *to = (void *)((char *)out + short_texts[i].to);

		if (from->len == 0)
			continue;
		if (check_short(*from, short_texts[i].name, error, size) != 0)
			return -1;
		*to = amqp_bytes_of(*from);
		out->properties._flags |= short_texts[i].flag;
		out->encoded_bytes += 1 + from->len;
	}
	return 0;
}

int
amqp_outgoing_message(struct amqp_outgoing *out, const struct amqp_message *m, size_t frame_max,
    char *error, size_t size)
{
	amqp_basic_properties_t *p = &out->properties;
	const size_t most = frame_max - AMQP_FRAME_OVERHEAD - AMQP_CONTENT_OVERHEAD;

	memset(p, 0, sizeof(*p));
	p->_flags = AMQP_BASIC_DELIVERY_MODE_FLAG;
	p->delivery_mode = PERSISTENT;
	out->encoded_bytes = 2 + 1;		/* flags, delivery mode */
	if (check_target(m->exchange, m->routing_key, m->body_size, AMQP_BODY_MAX, error, size) !=
		0 ||
	    check_expiration(m->expiration, error, size) != 0 ||
	    check_headers(m->headers, m->header_count, error, size) != 0 ||
	    set_short_texts(out, m, error, size) != 0)
		return -1;
	if (m->timestamp_s < 0)
		return refuse(error, size, "timestamp is before 1970");
	if (m->timestamp_s > 0) {
		p->_flags |= AMQP_BASIC_TIMESTAMP_FLAG;
		p->timestamp = (uint64_t)m->timestamp_s;
		out->encoded_bytes += 8;
	}
	if (m->priority > PRIORITY_MAX)
		return refuse(
		    error, size, "priority %d is too high: at most %d", m->priority, PRIORITY_MAX);
	if (m->priority >= 0) {
		p->_flags |= AMQP_BASIC_PRIORITY_FLAG;
		p->priority = (uint8_t)m->priority;
		out->encoded_bytes += 1;
	}
	if (m->header_count > 0) {
		p->_flags |= AMQP_BASIC_HEADERS_FLAG;
		p->headers.entries = out_entries(out,
		    amqp_table_room(m->headers, m->header_count));
		p->headers.num_entries = (int)m->header_count;
		amqp_table_entries(m->headers, m->header_count, p->headers.entries);
		out->encoded_bytes += 4;
		for (size_t i = 0; i < m->header_count; i++)
			out->encoded_bytes += amqp_header_encoded_size(&m->headers[i]);
	}
	if (out->encoded_bytes > most)
		return refuse(error, size,
		    "properties and headers of %zu bytes are too large for one frame: at most %zu",
		    out->encoded_bytes, most);
	return 0;
}

/* Copies. */

static bool
has_prefix(struct slice name, const char *prefix)
{
	size_t len = strlen(prefix);

	return name.len >= len && memcmp(name.data, prefix, len) == 0;
}

/* Headers that a copy does not carry: the broker's own counts and histories (facts row 51), ours
 * from elsewhere. */
static bool
is_dropped(struct slice name, bool drop_pawl)
{
	return slice_is(name, "CC") || slice_is(name, "BCC") || slice_is(name, "x-death") ||
	    has_prefix(name, "x-first-death-") || has_prefix(name, "x-last-death-") ||
	    slice_is(name, "x-delivery-count") || slice_is(name, "x-acquired-count") ||
	    slice_is(name, DROPPED) ||
	    (drop_pawl && has_prefix(name, PAWL_PREFIX) && !has_prefix(name, ORIG_PREFIX));
}

static bool
is_named(const amqp_table_entry_t *entries, size_t count, amqp_bytes_t name)
{
	for (size_t i = 0; i < count; i++) {
		if (slice_equals(slice_of_bytes(entries[i].key), slice_of_bytes(name)))
			return true;
	}
	return false;
}

static void
move_text(amqp_basic_properties_t *p, amqp_flags_t flag, amqp_bytes_t text, const char *name,
    amqp_table_entry_t *moved, size_t *count)
{
	if (!(p->_flags & flag))
		return;
	p->_flags &= ~flag;
	moved[*count].key = amqp_cstring_bytes(name);
	moved[*count].value.kind = AMQP_FIELD_KIND_UTF8;
	moved[(*count)++].value.value.bytes = text;
}

static void
move_header(const amqp_table_t *headers, const char *from, const char *name,
    amqp_table_entry_t *moved, size_t *count)
{
	for (int i = 0; i < headers->num_entries; i++) {
		if (slice_is(slice_of_bytes(headers->entries[i].key), from)) {
			moved[*count] = headers->entries[i];
			moved[(*count)++].key = amqp_cstring_bytes(name);
			return;
		}
	}
}

/* Encoded size; the scratch is large enough for any of it. */
static int
measure(struct amqp_outgoing *out)
{
	amqp_bytes_t room = { .len = out->scratch.cap - out->scratch.len - 1,
		.bytes = out->scratch.data };
	int size = amqp_encode_properties(AMQP_BASIC_CLASS, &out->properties, room);

	if (size < 0)
		return -1;
	out->encoded_bytes = (size_t)size;
	return 0;
}

static size_t
entry_size(struct amqp_outgoing *out, amqp_table_entry_t *entry)
{
	amqp_bytes_t room = { .len = out->scratch.cap - out->scratch.len - 1,
		.bytes = out->scratch.data };
	amqp_table_t table = { .num_entries = 1, .entries = entry };
	size_t size = 0;

	return amqp_encode_table(room, &table, &size) == AMQP_STATUS_OK ? size - 4 : 0;
}

/* Cuts texts of entries[from ..], the longest first, but none below TEXT_KEPT. Returns how many
 * bytes are still too many. */
static size_t
shorten(amqp_table_entry_t *entries, size_t from, size_t count, size_t excess)
{
	while (excess > 0) {
		amqp_bytes_t *longest = NULL;
		size_t second = TEXT_KEPT, target;

		for (size_t i = from; i < count; i++) {
			amqp_bytes_t *text = &entries[i].value.value.bytes;

			if (entries[i].value.kind != AMQP_FIELD_KIND_UTF8 || text->len <= second)
				continue;
			if (longest == NULL || text->len > longest->len) {
				if (longest != NULL)
					second = longest->len;
				longest = text;
			} else {
				second = text->len;
			}
		}
		if (longest == NULL)
			return excess;
		target = longest->len > excess ? longest->len - excess : 0;
		if (second == longest->len)
			second = TEXT_KEPT;
		if (target < second)
			target = second;
		while (target > 0 && (((const unsigned char *)longest->bytes)[target] & 0xc0) == 0x80)
			target--;		/* not through the middle of a character */
		excess -= longest->len - target < excess ? longest->len - target : excess;
		longest->len = target;
	}
	return 0;
}

/*
 * A publisher can fill the frame to its last byte; the copy must be sendable all the same. The
 * largest of its headers are left out, and counted in a header of ours.
 */
static void
leave_out(struct amqp_outgoing *out, size_t original_count, size_t excess)
{
	amqp_table_t *headers = &out->properties.headers;
	amqp_table_entry_t *count_entry = &headers->entries[headers->num_entries];
	size_t *sizes = xcalloc(original_count + 1, sizeof(*sizes)), kept = 0, left_out = 0;

	*count_entry = (amqp_table_entry_t){ .key = amqp_cstring_bytes(DROPPED) };
	count_entry->value.kind = AMQP_FIELD_KIND_I64;
	excess += entry_size(out, count_entry);
	for (size_t i = 0; i < original_count; i++)
		sizes[i] = entry_size(out, &headers->entries[i]);
	while (excess > 0) {
		size_t largest = 0;

		for (size_t i = 1; i < original_count; i++) {
			if (sizes[i] > sizes[largest])
				largest = i;
		}
		if (sizes[largest] == 0)
			break;
		excess -= sizes[largest] < excess ? sizes[largest] : excess;
		sizes[largest] = 0;
		left_out++;
	}
	count_entry->value.value.i64 = (int64_t)left_out;
	headers->num_entries++;
	for (size_t i = 0; i < (size_t)headers->num_entries; i++) {
		if (i >= original_count || sizes[i] > 0)
			headers->entries[kept++] = headers->entries[i];
	}
	headers->num_entries = (int)kept;
	free(sizes);
}

int
amqp_outgoing_copy(struct amqp_outgoing *out, const struct amqp_copy *copy, size_t frame_max,
    char *error, size_t size)
{
	const size_t most = frame_max - AMQP_FRAME_OVERHEAD - AMQP_CONTENT_OVERHEAD;
	amqp_basic_properties_t *p = &out->properties;
	amqp_table_entry_t moved[MOVED], *entries;
	amqp_table_t original;
	size_t scratch_bytes = copy->raw_properties.len + 1024;
	size_t moved_count = 0, count = 0, original_count;
	void *decoded;

	/* What the broker has sent it also takes. */
	if (check_target(copy->exchange, copy->routing_key, copy->body_size, AMQP_BODY_RECEIVE_MAX,
		error, size) != 0 ||
	    check_headers(copy->add, copy->add_count, error, size) != 0)
		return -1;
	recycle_amqp_pool(&out->pool);
	if (amqp_decode_properties(AMQP_BASIC_CLASS, &out->pool,
		amqp_bytes_of(copy->raw_properties), &decoded) != AMQP_STATUS_OK)
		return refuse(error, size, "its properties cannot be decoded");
	*p = *(const amqp_basic_properties_t *)decoded;
	original = p->_flags & AMQP_BASIC_HEADERS_FLAG ? p->headers : amqp_empty_table;
	move_text(p, AMQP_BASIC_EXPIRATION_FLAG, p->expiration, "x-pawl-orig-expiration", moved,
	    &moved_count);
	move_text(
	    p, AMQP_BASIC_USER_ID_FLAG, p->user_id, "x-pawl-orig-user-id", moved, &moved_count);
	move_header(&original, "CC", "x-pawl-orig-CC", moved, &moved_count);
	move_header(&original, "BCC", "x-pawl-orig-BCC", moved, &moved_count);

	entries = out_entries(out, (size_t)original.num_entries + MOVED + copy->add_count + 1);
	amqp_table_entries(copy->add, copy->add_count, entries);
	for (int i = 0; i < original.num_entries; i++) {
		amqp_bytes_t name = original.entries[i].key;

		/* entries[] begins with 'add' for now; what is kept gathers behind it. */
		if (!is_dropped(slice_of_bytes(name), copy->drop_pawl) &&
		    !is_named(moved, moved_count, name) &&
		    !is_named(entries, copy->add_count, name))
			entries[copy->add_count + count++] = original.entries[i];
	}
	for (size_t i = 0; i < moved_count; i++) {
		if (!is_named(entries, copy->add_count, moved[i].key))
			entries[copy->add_count + count++] = moved[i];
	}
	original_count = count;
	memmove(entries, entries + copy->add_count, count * sizeof(*entries));
	amqp_table_entries(copy->add, copy->add_count, entries + count);
	count += copy->add_count;

	p->_flags |= AMQP_BASIC_DELIVERY_MODE_FLAG;
	p->delivery_mode = PERSISTENT;
	p->headers = (amqp_table_t){ .num_entries = (int)count, .entries = entries };
	if (count > 0)
		p->_flags |= AMQP_BASIC_HEADERS_FLAG;
	for (size_t i = 0; i < copy->add_count; i++)
		scratch_bytes += amqp_header_encoded_size(&copy->add[i]);
	buf_clear(&out->scratch);
	(void)buf_reserve(&out->scratch, scratch_bytes);
	if (measure(out) != 0)
		return refuse(error, size, "its properties cannot be encoded");
	if (out->encoded_bytes > most) {
		size_t excess = shorten(entries, original_count, count, out->encoded_bytes - most);

		if (excess > 0)
			leave_out(out, original_count, excess);
		if (measure(out) != 0 || out->encoded_bytes > most)
			return refuse(error, size,
			    "its properties do not fit into one frame with what is to be added");
	}
	return 0;
}
