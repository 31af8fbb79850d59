/*
 * Unit tests of common/frame. Frames are copied into memory of exactly their size, so that a sanitizer sees every read beyond
 * the end.
 */
#include "common/frame.h"

#include <assert.h>

#include "t/unit/tap.h"
#include "util/arena.h"

static void
test_values(void)
{
	struct buf buf = BUF_INIT;
	bool good = true;

	frame_put_u64(&buf, 0);
	frame_put_text(&buf, slice_of("text"));
	frame_put_u64(&buf, UINT64_MAX);
	frame_put_text(&buf, (struct slice){ NULL, 0 });
	frame_put_text(&buf, (struct slice){ "a\0b", 3 });
	is_int(buf.len, 8 + 4 + 5 + 8 + 4 + 1 + 4 + 4, "size");

	struct frame_reader reader = { .data = buf.data, .len = buf.len };

	ok(frame_get_u64(&reader) == 0, "a number");
	is_str(frame_get_text(&reader).data, "text", "a text");
	ok(!frame_reader_done(&reader), "not done");
	ok(frame_get_u64(&reader) == UINT64_MAX, "the largest number");
	is_str(frame_get_text(&reader).data, "", "an empty text");
	ok(slice_equals(frame_get_text(&reader), (struct slice){ "a\0b", 3 }), "a text with a NUL");
	ok(frame_reader_done(&reader), "done");
	ok(frame_get_u64(&reader) == 0 && reader.bad, "nothing more");
	ok(!frame_reader_done(&reader), "that was a violation");

	/* Cut at each byte, and with one byte too many. */
	for (size_t len = 0; len <= buf.len + 1; len++) {
		char *copy = xcalloc(1, len);

		memcpy(copy, buf.data, len < buf.len ? len : buf.len);
		reader = (struct frame_reader){ .data = copy, .len = len };
		frame_get_u64(&reader);
		frame_get_text(&reader);
		frame_get_u64(&reader);
		frame_get_text(&reader);
		frame_get_text(&reader);
		good = good && frame_reader_done(&reader) == (len == buf.len);
		free(copy);
	}
	ok(good, "cut at each byte");

	/* Lengths that lie. */
	static const uint32_t lies[] = { 3, 5, 1000, UINT32_MAX, UINT32_MAX - 1, UINT32_MAX - 4 };

	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		buf_clear(&buf);
		frame_put_text(&buf, slice_of("text"));
		memcpy(buf.data, &lies[i], sizeof(lies[i]));
		char *copy = memcpy(xmalloc(buf.len), buf.data, buf.len);
		reader = (struct frame_reader){ .data = copy, .len = buf.len };
		ok(strcmp(frame_get_text(&reader).data, "") == 0 && reader.bad, "a text of 4 that says %u", lies[i]);
		is_str(frame_get_text(&reader).data, "", "and nothing behind it");
		free(copy);
	}
	buf_release(&buf);
}

static struct frame_text
put(struct buf *buf, const char *text)
{
	struct frame_text at = { (uint32_t)buf->len, (uint32_t)strlen(text) };

	buf_append(buf, text, strlen(text) + 1);
	return at;
}

/* A message with two headers, as a runner builds it. */
static struct frame_message *
build(size_t *size)
{
	struct buf buf = BUF_INIT;
	struct frame_message m = { .handler = 1, .header_count = 2, .attempt = 1, .attempts = 6 };
	struct frame_text headers[4];

	buf_append(&buf, &m, sizeof(m));
	m.headers_off = (uint32_t)buf.len;
	buf_append(&buf, headers, sizeof(headers));
	m.id = put(&buf, "id-1");
	m.type = put(&buf, "OrderPlaced");
	m.content_type = m.correlation_id = m.reply_to = put(&buf, "");
	m.exchange = put(&buf, "orders");
	m.routing_key = put(&buf, "order.placed");
	headers[0] = put(&buf, "aggregateid");
	headers[1] = put(&buf, "17");
	headers[2] = put(&buf, "traceparent");
	headers[3] = put(&buf, "");
	struct frame_text body = put(&buf, "{\"a\":1}");
	m.body_off = body.off;
	m.body_size = body.len;
	while (buf.len % 8 != 0)
		buf_putc(&buf, '\0');
	m.size = (uint32_t)buf.len;
	memcpy(buf.data, &m, sizeof(m));
	memcpy(buf.data + m.headers_off, headers, sizeof(headers));
	*size = buf.len;

	void *message = memcpy(xmalloc(buf.len), buf.data, buf.len);

	buf_release(&buf);
	return message;
}

/* Reads all that an accepted message points to. */
static size_t
read_all(const struct frame_message *m)
{
	const struct frame_text texts[] = {
		m->id, m->type, m->content_type, m->correlation_id, m->reply_to, m->exchange, m->routing_key, { m->body_off, m->body_size },
	};
	struct slice value = { "", 0 };
	size_t sum = 0;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct slice text = frame_message_text(m, texts[i]);

		for (size_t k = 0; k <= text.len; k++)
			sum += (unsigned char)text.data[k];
		sum += strlen(text.data);
	}
	frame_message_header(m, "no such header", &value);
	if (frame_message_header(m, "traceparent", &value))
		sum += strlen(value.data);
	return sum;
}

static void
test_message(void)
{
	size_t size, sum = 0;
	struct frame_message *m = build(&size);
	struct slice value = { "", 0 };

	is_int(frame_message_check(m, size), 0, "a good message");
	is_int(frame_message_check(m, size + 800), 0, "with others behind it");
	ok(frame_message_header(m, "aggregateid", &value) && slice_is(value, "17"), "a header");
	ok(frame_message_header(m, "traceparent", &value) && slice_is(value, ""), "an empty header");
	ok(!frame_message_header(m, "aggregate", &value) && !frame_message_header(m, "", &value), "no such header");
	is_str(frame_message_text(m, m->type).data, "OrderPlaced", "a text");

	bool good = true;

	for (size_t left = 0; left < size; left++) {
		void *cut = memcpy(xmalloc(left), m, left);

		good = good && frame_message_check(cut, left) < 0;
		free(cut);
	}
	ok(good, "cut at each byte");

	/* Each 32-bit word of the head and the headers, each with values that overflow if they are added up carelessly. */
	const uint32_t values[] = {
		0, 1, 7, (uint32_t)sizeof(*m) - 1, (uint32_t)size - 1, (uint32_t)size, (uint32_t)size + 1, 0x7fffffff, 0x80000000,
		0xffffffff - (uint32_t)size, 0xfffffff0, 0xfffffff8, 0xfffffffe, 0xffffffff,
	};
	size_t words = (m->headers_off + 32) / 4, refused = 0, accepted = 0;

	for (size_t word = 0; word < words; word++) {
		for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
			void *copy = memcpy(xmalloc(size), m, size);

			memcpy((char *)copy + word * 4, &values[i], 4);
			if (frame_message_check(copy, size) < 0) {
				refused++;
			} else {
				sum += read_all(copy);
				accepted++;
			}
			free(copy);
		}
	}
	ok(refused > words * 5 && accepted > 0, "words that lie: %zu refused, %zu harmless", refused, accepted);

	/* Several at once, at random. */
	unsigned seed = 1;

	assert(size >= sizeof(*m));
	refused = accepted = 0;
	for (int round = 0; round < 50000; round++) {
		unsigned char *copy = memcpy(xmalloc(size), m, size);

		for (int i = 0; i < 1 + round % 3; i++) {
			seed = seed * 1103515245 + 12345;
			copy[(seed >> 8) % size] = (unsigned char)(seed >> 24);
		}
		void *message = copy;
		if (frame_message_check(message, size) < 0) {
			refused++;
		} else {
			sum += read_all(message);
			accepted++;
		}
		free(copy);
	}
	ok(refused > 1000 && accepted > 1000, "random bytes: %zu refused, %zu harmless", refused, accepted);
	ok(sum > 0, "what was accepted could be read");

	m->header_count = 0;
	m->headers_off = 0xffffffff;
	is_int(frame_message_check(m, size), 0, "without headers it does not matter where they are");
	ok(!frame_message_header(m, "aggregateid", &value), "there is none");
	free(m);
}

static size_t
read_result(const struct frame_result *result, const struct frame_outcome *outcomes)
{
	size_t sum = 0;

	for (uint32_t i = 0; i < result->count; i++) {
		sum += strlen(frame_result_text(result, outcomes[i].code).data) + strlen(frame_result_text(result, outcomes[i].text).data);
		sum += strlen(outcome_text((enum outcome)outcomes[i].outcome));
	}
	return sum;
}

static void
test_result(void)
{
	struct buf buf = BUF_INIT;
	struct frame_result head = { .id = 7, .count = 3 };
	struct frame_outcome outcomes[3] = { { .outcome = OUTCOME_DONE }, { .outcome = OUTCOME_REJECT }, { .outcome = OUTCOME_UNAPPLIED } };
	const struct frame_outcome *checked;
	size_t size, refused = 0, accepted = 0, sum = 0;
	bool good = true;
	unsigned seed = 1;

	buf_append(&buf, &head, sizeof(head));
	buf_append(&buf, outcomes, sizeof(outcomes));
	outcomes[1].code = put(&buf, "bad_field");
	outcomes[1].text = put(&buf, "/total is missing");
	memcpy(buf.data + sizeof(head), outcomes, sizeof(outcomes));
	size = buf.len;

	struct frame_result *result = memcpy(xmalloc(size), buf.data, size);

	checked = frame_result_check(result, size);
	ok(checked != NULL, "a good result");
	if (checked != NULL) {
		is_str(frame_result_text(result, checked[1].code).data, "bad_field", "its code");
		is_str(frame_result_text(result, checked[1].text).data, "/total is missing", "its text");
		is_str(frame_result_text(result, checked[0].text).data, "", "no text");
	}
	for (size_t left = 0; left < size; left++) {
		void *cut = memcpy(xmalloc(left), result, left);

		good = good && frame_result_check(cut, left) == NULL;
		free(cut);
	}
	ok(good, "cut at each byte");
	for (int round = 0; round < 50000; round++) {
		unsigned char *copy = memcpy(xmalloc(size), result, size);
		void *frame = copy;

		for (int i = 0; i < 1 + round % 3; i++) {
			seed = seed * 1103515245 + 12345;
			copy[(seed >> 8) % size] = (unsigned char)(seed >> 24);
		}
		checked = frame_result_check(frame, size);
		if (checked == NULL) {
			refused++;
		} else {
			sum += read_result(frame, checked);
			accepted++;
		}
		free(copy);
	}
	ok(refused > 1000 && accepted > 1000 && sum > 0, "random bytes: %zu refused, %zu harmless", refused, accepted);
	((unsigned char *)result)[sizeof(*result)] = OUTCOME_COUNT;
	ok(frame_result_check(result, size) == NULL, "an outcome that is none");
	((unsigned char *)result)[sizeof(*result)] = OUTCOME_DONE;
	result->count = UINT32_MAX;
	ok(frame_result_check(result, size) == NULL, "a count that is too large");
	result->count = 4;
	ok(frame_result_check(result, size) == NULL, "one outcome too many, read from the texts");
	free(result);
	buf_release(&buf);

	/* All outcomes are good until the memory ends. */
	size = sizeof(*result) + sizeof(struct frame_outcome);
	result = xcalloc(1, size);
	result->count = (uint32_t)(UINT64_C(0x100000000) / sizeof(struct frame_outcome) + 1);
	ok(frame_result_check(result, size) == NULL, "a count whose size overflows 32 bits");
	free(result);
}

static void
test_desk(void)
{
	struct desk *desk = xcalloc(1, sizeof(*desk));
	char text[DESK_REPORT_MAX + 1], small[4];

	ok(desk_report(desk, text, sizeof(text)) == 0 && text[0] == '\0', "no last words");
	memcpy(desk->report, "a\n\0\xff" "b~", 6);
	atomic_store(&desk->report_len, 6);
	ok(desk_report(desk, text, sizeof(text)) == 6, "their length");
	is_str(text, "a???b~", "last words are made printable");
	ok(desk_report(desk, small, sizeof(small)) == 3, "cut to what there is room for");
	is_str(small, "a??", "and terminated");
	memset(desk->report, 'x', sizeof(desk->report));
	atomic_store(&desk->report_len, UINT32_MAX);
	ok(desk_report(desk, text, sizeof(text)) == DESK_REPORT_MAX && strlen(text) == DESK_REPORT_MAX, "a length that lies");
	free(desk);
}

int
main(void)
{
	bool good = true;

	test_values();
	test_message();
	test_result();
	test_desk();
	for (int i = 0; i < OUTCOME_COUNT; i++)
		good = good && outcome_text((enum outcome)i)[0] != '\0' && strcmp(outcome_text((enum outcome)i), "unknown") != 0;
	ok(good, "each outcome has its text");
	is_str(outcome_text((enum outcome)77), "unknown", "what is none has one too");
	return done_testing();
}
