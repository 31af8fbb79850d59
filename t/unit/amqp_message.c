/* Unit tests of util/amqp_message: what goes out fits, and a copy carries what it should. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/amqp_conn_internal.h"
#include "util/amqp_consumer.h"
#include "util/amqp_publisher.h"
#include "util/utf8.h"

#include "t/unit/tap.h"

enum { FRAME = 8192, MOST = FRAME - AMQP_FRAME_OVERHEAD - AMQP_CONTENT_OVERHEAD };

static struct amqp_outgoing out;
static char error[256];
static char text[3 * FRAME];		/* 'x' all over */

static struct slice
xs(size_t len)
{
	return (struct slice){ text, len };
}

/* What rabbitmq-c makes of the properties in 'out': their size, or -1. */
static int
encoded(char *bytes)
{
	amqp_bytes_t room = { MOST, bytes };

	return amqp_encode_properties(AMQP_BASIC_CLASS, &out.properties, room);
}

static void
test_nested(struct amqp_message *m)
{
	struct amqp_header inner[] = { { .name = "a", .kind = AMQP_INT, .number = 7 }, { .name = "b", .kind = AMQP_STRING, .text = { "xyz", 3 } } };
	struct amqp_header list[] = { { .name = "", .kind = AMQP_VOID }, { .name = "", .kind = AMQP_TABLE, .items = inner, .item_count = 2 },
		{ .name = "", .kind = AMQP_ARRAY, .items = inner, .item_count = 2 }, { .name = "", .kind = AMQP_BOOL, .number = 1 } };
	struct amqp_header deep[AMQP_NESTED_MOST + 1];
	struct amqp_header top[] = { { .name = "list", .kind = AMQP_ARRAY, .items = list, .item_count = ARRAY_SIZE(list) },
		{ .name = "table", .kind = AMQP_TABLE, .items = inner, .item_count = 2 }, { .name = "none", .kind = AMQP_TABLE },
		{ .name = "empty", .kind = AMQP_ARRAY } };
	const amqp_table_entry_t *e;
	char bytes[MOST];

	m->headers = top;
	m->header_count = ARRAY_SIZE(top);
	ok(amqp_outgoing_message(&out, m, FRAME, error, sizeof(error)) == 0, "tables and arrays");
	is_int(encoded(bytes), out.encoded_bytes, "their size was foretold");
	e = out.properties.headers.entries;
	ok(e[0].value.kind == AMQP_FIELD_KIND_ARRAY && e[0].value.value.array.num_entries == 4, "an array");
	ok(e[0].value.value.array.entries[1].value.table.entries[1].value.value.bytes.len == 3 &&
	    e[0].value.value.array.entries[2].value.array.entries[0].value.i64 == 7 && e[0].value.value.array.entries[3].value.boolean, "with what is in it");
	ok(e[1].value.kind == AMQP_FIELD_KIND_TABLE && e[1].value.value.table.entries[0].value.value.i64 == 7 &&
	    slice_is(slice_of_bytes(e[1].value.value.table.entries[1].key), "b"), "a table");
	for (int i = 0; i <= AMQP_NESTED_MOST; i++)
		deep[i] = (struct amqp_header){ .name = i == 0 ? "deep" : "", .kind = AMQP_ARRAY, .items = &deep[i + 1], .item_count = i < AMQP_NESTED_MOST ? 1 : 0 };
	m->headers = deep;
	m->header_count = 1;
	ok(amqp_outgoing_message(&out, m, FRAME, error, sizeof(error)) < 0 && strstr(error, "header \"deep\" holds lists or objects nested over 16 deep") != NULL,
	    "nested too deep");
	deep[AMQP_NESTED_MOST - 1].item_count = 0;
	ok(amqp_outgoing_message(&out, m, FRAME, error, sizeof(error)) == 0, "as deep as can be");
	is_int(encoded(bytes), out.encoded_bytes, "its size was foretold");
}

static void
test_message(void)
{
	struct amqp_header headers[] = {
		{ .name = "s", .kind = AMQP_STRING, .text = { "text", 4 } }, { .name = "i", .kind = AMQP_INT, .number = -5 },
		{ .name = "b", .kind = AMQP_BOOL, .number = 1 }, { .name = "d", .kind = AMQP_DOUBLE, .real = 2.5 },
		{ .name = "v", .kind = AMQP_VOID }
	};
	struct amqp_message m = {
		.exchange = { "e", 1 }, .routing_key = { "k", 1 }, .message_id = { "id", 2 }, .type = { "t", 1 }, .content_type = { "ct", 2 },
		.correlation_id = { "c", 1 }, .reply_to = { "r", 1 }, .app_id = { "a", 1 }, .expiration = { "1000", 4 },
		.content_encoding = { "gz", 2 }, .timestamp_s = 1700000000, .priority = 255, .headers = headers, .header_count = ARRAY_SIZE(headers),
		.body = text, .body_size = 10
	};
	struct amqp_message bare = { .priority = -1 };
	char bytes[MOST];
	size_t rest;

	ok(amqp_outgoing_message(&out, &m, FRAME, error, sizeof(error)) == 0, "a message with everything is good");
	is_int(encoded(bytes), out.encoded_bytes, "its size was foretold");
	is_int(out.properties.delivery_mode, 2, "it is persistent");
	ok(amqp_outgoing_message(&out, &bare, FRAME, error, sizeof(error)) == 0, "one with nothing, too");
	is_int(encoded(bytes), out.encoded_bytes, "its size was foretold");
	is_int(out.properties._flags, AMQP_BASIC_DELIVERY_MODE_FLAG, "it has no other property");

	test_nested(&m);
	m.headers = headers;
	m.header_count = ARRAY_SIZE(headers);
	headers[0].text = xs(0);
	ok(amqp_outgoing_message(&out, &m, FRAME, error, sizeof(error)) == 0, "without a text");
	rest = MOST - out.encoded_bytes;
	headers[0].text = xs(rest);
	ok(amqp_outgoing_message(&out, &m, FRAME, error, sizeof(error)) == 0, "headers that fill the frame are good");
	is_int(encoded(bytes), MOST, "to the last byte");
	headers[0].text = xs(rest + 1);
	ok(amqp_outgoing_message(&out, &m, FRAME, error, sizeof(error)) == -1, "one byte more is refused");
	ok(strstr(error, "too large for one frame") != NULL, "with the reason");
	ok(encoded(bytes) < 0, "and rabbitmq-c could not have sent it");
}

static void
refused(const struct amqp_message *m, const char *why)
{
	error[0] = '\0';
	ok(amqp_outgoing_message(&out, m, FRAME, error, sizeof(error)) == -1, "refused: %s", why);
	if (!ok(strstr(error, why) != NULL, "the error says: %s", why))
		diag("%s", error);
}

static void
test_refusals(void)
{
	static const char *const expirations[] = { "x", "-1", "1.5", " 1", "4294967296", "12345678901" };
	char name[300];
	struct amqp_header header = { .name = name, .kind = AMQP_INT };

	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	refused(&(struct amqp_message){ .priority = -1, .exchange = xs(256) }, "exchange name of 256");
	refused(&(struct amqp_message){ .priority = -1, .routing_key = xs(256) }, "routing key of 256");
	refused(&(struct amqp_message){ .priority = -1, .message_id = xs(256) }, "message_id of 256");
	refused(&(struct amqp_message){ .priority = -1, .type = xs(256) }, "type of 256");
	refused(&(struct amqp_message){ .priority = -1, .content_type = xs(256) }, "content_type of 256");
	refused(&(struct amqp_message){ .priority = -1, .content_encoding = xs(256) }, "content_encoding of 256");
	refused(&(struct amqp_message){ .priority = -1, .correlation_id = xs(256) }, "correlation_id of 256");
	refused(&(struct amqp_message){ .priority = -1, .reply_to = xs(256) }, "reply_to of 256");
	refused(&(struct amqp_message){ .priority = -1, .app_id = xs(256) }, "app_id of 256");
	refused(&(struct amqp_message){ .priority = 256 }, "priority 256");
	refused(&(struct amqp_message){ .priority = -1, .timestamp_s = -1 }, "before 1970");
	refused(&(struct amqp_message){ .priority = -1, .body_size = (size_t)AMQP_BODY_MAX + 1 }, "body of 134217729");
	refused(&(struct amqp_message){ .priority = -1, .headers = &header, .header_count = 1 }, "of 299 bytes is too long");
	for (size_t i = 0; i < ARRAY_SIZE(expirations); i++)
		refused(&(struct amqp_message){ .priority = -1, .expiration = slice_of(expirations[i]) }, "expiration is not a number");
	ok(amqp_outgoing_message(&out, &(struct amqp_message){ .priority = -1, .expiration = slice_of("4294967295"), .exchange = xs(255),
	    .routing_key = xs(255), .message_id = xs(255), .body_size = AMQP_BODY_MAX }, FRAME, error, sizeof(error)) == 0, "the limits are good");
}

/* Copies. */

static void
put(amqp_table_t *table, const char *name, const char *value)
{
	amqp_table_entry_t *entry = &table->entries[table->num_entries++];

	entry->key = amqp_cstring_bytes(name);
	entry->value.kind = AMQP_FIELD_KIND_UTF8;
	entry->value.value.bytes = amqp_cstring_bytes(value);
}

static struct slice
encode(amqp_basic_properties_t *p, struct buf *raw)
{
	amqp_bytes_t room;
	int size;

	buf_clear(raw);
	room = (amqp_bytes_t){ FRAME * 2, buf_reserve(raw, FRAME * 2) };
	size = amqp_encode_properties(AMQP_BASIC_CLASS, p, room);
	if (size < 0) {
		diag("could not encode: %s", amqp_error_string2(size));
		exit(1);
	}
	return (struct slice){ raw->data, (size_t)size };
}

static void
see(void *arg, struct slice name, struct slice value)
{
	struct buf *seen = arg;

	buf_slice(seen, name);
	buf_putc(seen, '=');
	buf_slice(seen, value);
	buf_putc(seen, ' ');
}

/* "name=value " of each header of 'out'. */
static const char *
headers_of_out(struct buf *seen)
{
	const struct amqp_delivery delivery = { .headers = &out.properties.headers };
	struct buf scratch = BUF_INIT;

	buf_clear(seen);
	buf_puts(seen, "");
	if (out.properties._flags & AMQP_BASIC_HEADERS_FLAG)
		amqp_delivery_headers(&delivery, &scratch, see, seen);
	buf_release(&scratch);
	return seen->len == 0 ? "" : seen->data;
}

static void
test_copy(void)
{
	amqp_table_entry_t entries[32];
	amqp_basic_properties_t p = { ._flags = 0 };
	amqp_field_value_t cc[2] = { { .kind = AMQP_FIELD_KIND_UTF8 }, { .kind = AMQP_FIELD_KIND_UTF8 } };
	const struct amqp_header add[] = {
		{ .name = "x-pawl-text", .kind = AMQP_STRING, .text = { "why", 3 } }, { .name = "mine", .kind = AMQP_INT, .number = 2 }
	};
	struct buf raw = BUF_INIT, seen = BUF_INIT;
	struct amqp_copy copy = { .routing_key = { "q.dead", 6 }, .drop_pawl = true, .add = add, .add_count = ARRAY_SIZE(add) };
	char bytes[MOST];

	p._flags = AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_EXPIRATION_FLAG | AMQP_BASIC_USER_ID_FLAG | AMQP_BASIC_HEADERS_FLAG |
	    AMQP_BASIC_MESSAGE_ID_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG | AMQP_BASIC_TIMESTAMP_FLAG | AMQP_BASIC_CLUSTER_ID_FLAG;
	p.content_type = amqp_cstring_bytes("application/json");
	p.expiration = amqp_cstring_bytes("60000");
	p.user_id = amqp_cstring_bytes("guest");
	p.message_id = amqp_cstring_bytes("id");
	p.cluster_id = amqp_cstring_bytes("c");
	p.timestamp = UINT64_MAX;
	p.delivery_mode = 1;
	p.headers.entries = entries;
	cc[0].value.bytes = amqp_cstring_bytes("a");
	cc[1].value.bytes = amqp_cstring_bytes("b");
	put(&p.headers, "first", "1");
	put(&p.headers, "CC", "");
	entries[1].value = (amqp_field_value_t){ .kind = AMQP_FIELD_KIND_ARRAY, .value.array = { 2, cc } };
	put(&p.headers, "BCC", "other");
	put(&p.headers, "cc", "small");
	put(&p.headers, "x-death", "d");
	put(&p.headers, "x-first-death-queue", "d");
	put(&p.headers, "x-last-death-reason", "d");
	put(&p.headers, "x-delivery-count", "d");
	put(&p.headers, "x-acquired-count", "d");
	put(&p.headers, "x-pawl-text", "forged");
	put(&p.headers, "x-pawl-attempt", "forged");
	put(&p.headers, "x-pawl-orig-CC", "old");
	put(&p.headers, "x-pawl-orig-else", "kept");
	put(&p.headers, "x-deathly", "kept");
	put(&p.headers, "mine", "1");
	put(&p.headers, "last", "9");
	copy.raw_properties = encode(&p, &raw);
	ok(amqp_outgoing_copy(&out, &copy, FRAME, error, sizeof(error)) == 0, "a message can be copied");
	is_str(headers_of_out(&seen), "first=1 cc=small x-pawl-orig-else=kept x-deathly=kept last=9 x-pawl-orig-expiration=60000 "
	    "x-pawl-orig-user-id=guest x-pawl-orig-CC=[\"a\",\"b\"] x-pawl-orig-BCC=other x-pawl-text=why mine=2 ", "with the headers it should have");
	is_int(out.properties._flags, AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_HEADERS_FLAG | AMQP_BASIC_MESSAGE_ID_FLAG |
	    AMQP_BASIC_DELIVERY_MODE_FLAG | AMQP_BASIC_TIMESTAMP_FLAG | AMQP_BASIC_CLUSTER_ID_FLAG, "and the properties");
	ok(slice_is(slice_of_bytes(out.properties.message_id), "id") && out.properties.timestamp == UINT64_MAX &&
	    out.properties.delivery_mode == 2, "with their values, and persistent");
	is_int(encoded(bytes), out.encoded_bytes, "its size is known");
	copy.drop_pawl = false;
	ok(amqp_outgoing_copy(&out, &copy, FRAME, error, sizeof(error)) == 0, "once more, with our headers believed");
	is_str(headers_of_out(&seen), "first=1 cc=small x-pawl-attempt=forged x-pawl-orig-else=kept x-deathly=kept last=9 "
	    "x-pawl-orig-expiration=60000 x-pawl-orig-user-id=guest x-pawl-orig-CC=[\"a\",\"b\"] x-pawl-orig-BCC=other x-pawl-text=why mine=2 ",
	    "with the headers it should have");

	memset(&p, 0, sizeof(p));
	copy.raw_properties = encode(&p, &raw);
	copy.add_count = 0;
	ok(amqp_outgoing_copy(&out, &copy, FRAME, error, sizeof(error)) == 0, "a message without properties can be copied");
	is_int(out.properties._flags, AMQP_BASIC_DELIVERY_MODE_FLAG, "it has none but the delivery mode");
	copy.raw_properties = (struct slice){ "\xff", 1 };
	ok(amqp_outgoing_copy(&out, &copy, FRAME, error, sizeof(error)) == -1, "what is not properties is refused");
	buf_release(&raw);
	buf_release(&seen);
}

static size_t
text_length(const char *name)
{
	const struct amqp_delivery delivery = { .headers = &out.properties.headers };
	struct buf scratch = BUF_INIT;
	struct slice value = { NULL, 0 };

	if (!amqp_delivery_header(&delivery, name, &scratch, &value))
		return SIZE_MAX;
	ok(utf8_valid(value.data, value.len), "%s is whole characters", name);
	buf_release(&scratch);
	return value.len;
}

/* A copy that grows beyond the frame, by each of many sizes. */
static void
test_shortening(void)
{
	amqp_table_entry_t entries[4];
	amqp_basic_properties_t p = { ._flags = AMQP_BASIC_HEADERS_FLAG, .headers = { 0, entries } };
	struct amqp_header add[] = {
		{ .name = "x-pawl-text", .kind = AMQP_STRING }, { .name = "x-pawl-exchange", .kind = AMQP_STRING, .text = { text, 200 } },
		{ .name = "x-pawl-attempt", .kind = AMQP_INT, .number = 1 }
	};
	struct amqp_copy copy = { .drop_pawl = true, .add = add, .add_count = ARRAY_SIZE(add) };
	struct buf raw = BUF_INIT, accents = BUF_INIT;
	char bytes[MOST];
	bool fits = true, full = true, kept = true, large = true, some = false;

	for (size_t i = 0; i < 2000; i++)
		buf_puts(&accents, "\xc3\xa4");
	add[0].text = (struct slice){ accents.data, accents.len };
	put(&p.headers, "large", "");
	put(&p.headers, "small", "s");
	for (size_t size = 3900; size <= MOST - 60; size += 37) {
		entries[0].value.value.bytes = amqp_bytes_of(xs(size));
		copy.raw_properties = encode(&p, &raw);
		fits = fits && amqp_outgoing_copy(&out, &copy, FRAME, error, sizeof(error)) == 0 && encoded(bytes) > 0;
		large = slice_is(slice_of_bytes(out.properties.headers.entries[0].key), "large");
		full = full && (!large || out.encoded_bytes >= MOST - 1);	/* a character has two bytes */
		kept = kept && slice_is(slice_of_bytes(out.properties.headers.entries[large ? 1 : 0].key), "small");
		some = some || large;
	}
	ok(fits, "a copy always fits");
	ok(some && !large, "by cut texts, and by left out headers");
	ok(full, "no text is cut more than is needed");
	ok(kept, "a small header stays");

	entries[0].value.value.bytes = amqp_bytes_of(xs(5000));
	copy.raw_properties = encode(&p, &raw);
	ok(amqp_outgoing_copy(&out, &copy, FRAME, error, sizeof(error)) == 0, "with a header of 5000 bytes");
	is_int(text_length("x-pawl-exchange"), 200, "the shorter text stays");
	ok(text_length("x-pawl-text") > 2800, "the longer one is cut");
	is_int(text_length("large"), 5000, "the message's own stays");
	is_int(text_length("x-pawl-orig-dropped"), SIZE_MAX, "nothing is left out");

	entries[0].value.value.bytes = amqp_bytes_of(xs(MOST - 60));
	copy.raw_properties = encode(&p, &raw);
	ok(amqp_outgoing_copy(&out, &copy, FRAME, error, sizeof(error)) == 0, "with a header that fills the frame");
	is_int(text_length("x-pawl-text"), 64, "64 bytes of a text are kept");
	is_int(text_length("x-pawl-exchange"), 64, "of the other, too");
	is_int(text_length("large"), SIZE_MAX, "the message's large header is left out");
	is_int(text_length("small"), 1, "its small one is not");
	is_int(text_length("x-pawl-orig-dropped"), 1, "and it is told");
	ok(encoded(bytes) > 0, "it can be sent");
	buf_release(&raw);
	buf_release(&accents);
}

/* Thousands of small headers, none of them large. */
static void
test_many(void)
{
	enum { COUNT = (MOST - 6) / 3 };
	amqp_table_entry_t *entries = calloc(COUNT, sizeof(*entries));
	amqp_basic_properties_t p = { ._flags = AMQP_BASIC_HEADERS_FLAG, .headers = { COUNT, entries } };
	struct amqp_header add[] = { { .name = "x-pawl-text", .kind = AMQP_STRING, .text = { text, 500 } } };
	struct amqp_copy copy = { .drop_pawl = true, .add = add, .add_count = ARRAY_SIZE(add) };
	struct buf raw = BUF_INIT;
	char bytes[MOST];

	for (size_t i = 0; i < COUNT; i++) {
		entries[i].key = amqp_cstring_bytes("k");
		entries[i].value.kind = AMQP_FIELD_KIND_VOID;
	}
	copy.raw_properties = encode(&p, &raw);
	ok(amqp_outgoing_copy(&out, &copy, FRAME, error, sizeof(error)) == 0, "a frame full of tiny headers can be copied");
	ok(encoded(bytes) > MOST - 8, "as many as fit are kept");
	is_int(text_length("x-pawl-text"), 64, "the text is short");
	buf_release(&raw);
	free(entries);
}

int
main(void)
{
	memset(text, 'x', sizeof(text));
	amqp_outgoing_init(&out);
	test_message();
	test_refusals();
	test_copy();
	test_shortening();
	test_many();
	amqp_outgoing_release(&out);
	return done_testing();
}
