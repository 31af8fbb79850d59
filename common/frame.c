/*
 * frame.c - see frame.h.
 */
#include "common/frame.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

/* Others add up sizes by these: a change of layout needs a new FRAME_MAGIC. */
_Static_assert(sizeof(struct frame_header) == 8, "frame header");
_Static_assert(sizeof(struct frame_message) % 8 == 0, "messages are at multiples of 8");
_Static_assert(sizeof(struct frame_batch) == 16, "messages of a batch begin at a multiple of 8");
_Static_assert(sizeof(struct frame_outcome) == 28, "outcome");
_Static_assert(sizeof(struct frame_result) == 24, "outcomes follow the result");

void
frame_put_u64(struct buf *buf, uint64_t value)
{
	buf_append(buf, &value, sizeof(value));
}

void
frame_put_text(struct buf *buf, struct slice text)
{
	uint32_t len = (uint32_t)text.len;

	assert(text.len <= FRAME_SIZE_MAX);
	buf_append(buf, &len, sizeof(len));
	buf_slice(buf, text);
	buf_putc(buf, '\0');
}

/* The next size bytes, or NULL: then the frame is bad. */
static const char *
take(struct frame_reader *reader, size_t size)
{
	const char *data = reader->data + reader->at;

	if (reader->bad || size > reader->len - reader->at) {
		reader->bad = true;
		return NULL;
	}
	reader->at += size;
	return data;
}

uint64_t
frame_get_u64(struct frame_reader *reader)
{
	uint64_t value = 0;
	const char *data = take(reader, sizeof(value));

	if (data != NULL)
		memcpy(&value, data, sizeof(value));
	return value;
}

struct slice
frame_get_text(struct frame_reader *reader)
{
	uint32_t len = 0;
	const char *data = take(reader, sizeof(len));

	if (data != NULL)
		memcpy(&len, data, sizeof(len));
	data = take(reader, (size_t)len + 1);
	if (data != NULL && data[len] != '\0')
		reader->bad = true;
	return reader->bad ? slice_of("") : (struct slice){ data, len };
}

bool
frame_reader_done(const struct frame_reader *reader)
{
	return !reader->bad && reader->at == reader->len;
}

/* Whether a text and its NUL are in [first, size) of what base points to. */
static bool
text_fits(const void *base, size_t first, size_t size, struct frame_text text)
{
	return text.off >= first && text.off < size && text.len < size - text.off &&
	    ((const char *)base)[(size_t)text.off + text.len] == '\0';
}

static const struct frame_text *
message_headers(const struct frame_message *message)
{
	const void *headers = (const char *)message + message->headers_off;

	return headers;
}

int
frame_message_check(const struct frame_message *message, size_t left)
{
	const struct frame_message *m = message;
	const size_t first = sizeof(*m);

	if ((uintptr_t)m % _Alignof(struct frame_message) != 0 || left < first || m->size < first ||
	    m->size > left || m->size % 8 != 0)
		return -1;

	const struct frame_text texts[] = {
		m->id, m->type, m->content_type, m->correlation_id, m->reply_to,
		m->exchange, m->routing_key,
		{ m->body_off, m->body_size },
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		if (!text_fits(m, first, m->size, texts[i]))
			return -1;
	}
	if (m->header_count == 0)
		return 0;
	if (m->headers_off < first || m->headers_off > m->size ||
	    m->headers_off % _Alignof(struct frame_text) != 0 ||
	    m->header_count > (m->size - m->headers_off) / (2 * sizeof(struct frame_text)))
		return -1;

	const struct frame_text *headers = message_headers(m);

	for (size_t i = 0; i < (size_t)m->header_count * 2; i++) {
		if (!text_fits(m, first, m->size, headers[i]))
			return -1;
	}
	return 0;
}

bool
frame_message_header(const struct frame_message *message, const char *name, struct slice *value)
{
	const struct frame_text *headers;
	struct slice wanted = slice_of(name);

	if (message->header_count == 0)		/* then headers_off may be anything */
		return false;
	headers = message_headers(message);
	for (size_t i = 0; i < (size_t)message->header_count * 2; i += 2) {
		if (slice_equals(frame_message_text(message, headers[i]), wanted)) {
			*value = frame_message_text(message, headers[i + 1]);
			return true;
		}
	}
	return false;
}

bool
frame_message_header_at(const struct frame_message *message, size_t index, struct slice *name,
    struct slice *value)
{
	const struct frame_text *headers;

	if (index >= message->header_count)
		return false;
	headers = message_headers(message);
	*name = frame_message_text(message, headers[2 * index]);
	*value = frame_message_text(message, headers[2 * index + 1]);
	return true;
}

const struct frame_outcome *
frame_result_check(const struct frame_result *result, size_t size)
{
	if ((uintptr_t)result % _Alignof(struct frame_result) != 0 || size < sizeof(*result) ||
	    size > FRAME_SIZE_MAX ||
	    result->count > (size - sizeof(*result)) / sizeof(struct frame_outcome))
		return NULL;

	const void *behind = result + 1;
	const struct frame_outcome *outcomes = behind;
	size_t first = sizeof(*result) + result->count * sizeof(*outcomes);

	for (size_t i = 0; i < result->count; i++) {
		if (outcomes[i].outcome >= OUTCOME_COUNT)
			return NULL;
		const struct frame_text code = outcomes[i].code, text = outcomes[i].text;

		if ((code.len > 0 && !text_fits(result, first, size, code)) ||
		    (text.len > 0 && !text_fits(result, first, size, text)))
			return NULL;
	}
	return outcomes;
}

struct slice
frame_result_text(const struct frame_result *result, struct frame_text text)
{
	if (text.len == 0)
		return slice_of("");
	return (struct slice){ (const char *)result + text.off, text.len };
}

const char *
outcome_text(enum outcome outcome)
{
	static const char *const text[] = {
		[OUTCOME_DONE] = "done", [OUTCOME_DUPLICATE] = "duplicate",
		[OUTCOME_RETRY] = "retry", [OUTCOME_SNOOZE] = "snooze",
		[OUTCOME_REJECT] = "reject", [OUTCOME_UNAPPLIED] = "unapplied",
	};

	_Static_assert(ARRAY_SIZE(text) == OUTCOME_COUNT, "a text for each outcome");
	return (unsigned)outcome < OUTCOME_COUNT ? text[outcome] : "unknown";
}

size_t
desk_report(const struct desk *desk, char *text, size_t size)
{
	size_t len = atomic_load_explicit(&desk->report_len, memory_order_acquire);

	assert(size > 0);
	if (len > DESK_REPORT_MAX)
		len = DESK_REPORT_MAX;
	if (len > size - 1)
		len = size - 1;
	for (size_t i = 0; i < len; i++) {
		char c = ((const volatile char *)desk->report)[i];	/* it may change meanwhile */

		text[i] = (char)(c < ' ' || c > '~' ? '?' : c);
	}
	text[len] = '\0';
	return len;
}
