/*
 * exec_message.c - see exec_message.h.
 */
#include "handlers/exec/exec_message.h"

#include <ctype.h>
#include <inttypes.h>
#include <unistd.h>

#include "util/arena.h"
#include "util/json_scan.h"
#include "util/utf8.h"

extern char **environ;

enum { HEADERS_MAX = 1000 }; /* that become variables */

/* ---- a line */

static void
put_name(struct buf *b, const char *name)
{
	buf_puts(b, ",\"");
	buf_puts(b, name);
	buf_puts(b, "\":");
}

static void
put_text(struct buf *b, const char *name, const char *text)
{
	put_name(b, name);
	json_quote(b, slice_of(text));
}

static void
put_base64(struct buf *b, const unsigned char *data, size_t len)
{
	static const char digits[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *const start = buf_reserve(b, (len + 2) / 3 * 4 + 2), *to = start;

	*to++ = '"';
	for (size_t i = 0; i < len; i += 3) {
		unsigned bits = (unsigned)data[i] << 16 |
		    (i + 1 < len ? (unsigned)data[i + 1] << 8 : 0) |
		    (i + 2 < len ? data[i + 2] : 0u);

		*to++ = digits[bits >> 18];
		*to++ = digits[bits >> 12 & 63];
		*to++ = i + 1 < len ? digits[bits >> 6 & 63] : '=';
		*to++ = i + 2 < len ? digits[bits & 63] : '=';
	}
	*to++ = '"';
	buf_added(b, (size_t)(to - start));
}

static bool
is_text(const char *data, size_t len)
{
	return utf8_valid(data, len) && (len == 0 || memchr(data, '\0', len) == NULL);
}

static void
put_headers(struct buf *b, struct pawl_call *call)
{
	const char *name, *value;
	size_t size;

	put_name(b, "headers");
	buf_putc(b, '{');
	for (size_t i = 0; (name = pawl_header_at(call, i, &value)) != NULL; i++) {
		const char *bytes = pawl_header_bytes(call, i, &size);

		if (i > 0)
			buf_putc(b, ',');
		json_quote(b, slice_of(name));
		buf_putc(b, ':');
		if (is_text(bytes, size)) {
			json_quote(b, (struct slice){ bytes, size });
		} else {
			buf_puts(b, "{\"base64\":");
			put_base64(b, (const unsigned char *)bytes, size);
			buf_putc(b, '}');
		}
	}
	buf_putc(b, '}');
}

/* As it is: digits and spaces. But line ends, which in JSON only stand between its tokens, become spaces. */
static void
put_json(struct buf *b, struct slice body)
{
	size_t from = b->len;
	char *at, *end;

	buf_slice(b, body);
	end = b->data + b->len;
	for (at = b->data + from; (at = memchr(at, '\n', (size_t)(end - at))) != NULL;)
		*at = ' ';
	for (at = b->data + from; (at = memchr(at, '\r', (size_t)(end - at))) != NULL;)
		*at = ' ';
}

static void
put_body(struct buf *b, struct slice body)
{
	if (json_scan_check(body, NULL) == JSON_OK) {
		put_name(b, "body");
		put_json(b, body);
	} else if (is_text(body.data, body.len)) {
		put_name(b, "body_text");
		json_quote(b, body);
	} else {
		put_name(b, "body_base64");
		put_base64(b, (const unsigned char *)body.data, body.len);
	}
}

void
exec_message_line(struct buf *b, uint64_t number, int64_t timeout_ms, struct pawl_call *call,
    const struct pawl_message *msg)
{
	buf_printf(b, "{\"n\":%" PRIu64, number);
	put_text(b, "key", msg->key);
	put_text(b, "id", msg->id);
	put_text(b, "type", msg->type);
	put_text(b, "queue", msg->queue);
	put_text(b, "exchange", msg->exchange);
	put_text(b, "routing_key", msg->routing_key);
	put_text(b, "content_type", msg->content_type);
	put_text(b, "correlation_id", msg->correlation_id);
	put_text(b, "reply_to", msg->reply_to);
	put_text(b, "traceparent", msg->traceparent);
	buf_printf(b,
	    ",\"timestamp_ms\":%" PRId64 ",\"attempt\":%u,\"attempts\":%u,\"timeout_ms\":%" PRId64,
	    msg->timestamp_ms, msg->attempt, msg->attempts, timeout_ms);
	put_headers(b, call);
	put_body(b, (struct slice){ msg->body, msg->body_size });
	buf_puts(b, "}\n");
}

/* ---- environment variables */

void
exec_environment_release(struct exec_environment *e)
{
	for (size_t i = 0; i < e->count; i++)
		free(e->list[i]);
	free(e->list);
	*e = (struct exec_environment){ NULL, 0, 0 };
}

/* Takes the entry. */
static void
add(struct exec_environment *e, char *entry)
{
	if (e->count + 1 >= e->room) {
		e->room = 2 * e->room + 64;
		e->list = xrealloc(e->list, e->room * sizeof(*e->list));
	}
	e->list[e->count++] = entry;
	e->list[e->count] = NULL;
}

static char *
entry_of(const char *name, const char *value)
{
	struct buf b = BUF_INIT;

	buf_puts(&b, name);
	buf_putc(&b, '=');
	buf_puts(&b, value);
	return buf_detach(&b);
}

void
exec_environment_set(struct exec_environment *e, const char *name, const char *value)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < e->count; i++) {
		if (strncmp(e->list[i], name, len) == 0 && e->list[i][len] == '=') {
			free(e->list[i]);
			e->list[i] = entry_of(name, value);
			return;
		}
	}
	add(e, entry_of(name, value));
}

void
exec_environment_inherit(struct exec_environment *e)
{
	for (size_t i = 0; environ[i] != NULL; i++) {
		if (strncmp(environ[i], "PAWL_HEADER_", 12) != 0)
			add(e, xstrdup(environ[i]));
	}
}

/* PAWL_HEADER_ and the name, in capitals; what no variable can have in its name is "_". Of several that become equal the first
 * counts. */
static void
set_header(struct exec_environment *e, size_t first, const char *header, const char *value)
{
	struct buf name = BUF_INIT;
	bool known = false;

	buf_puts(&name, "PAWL_HEADER_");
	for (; *header != '\0'; header++)
		buf_putc(&name,
		    isalnum((unsigned char)*header) ? (char)toupper((unsigned char)*header) : '_');
	for (size_t i = first; i < e->count && !known; i++)
		known =
		    strncmp(e->list[i], name.data, name.len) == 0 && e->list[i][name.len] == '=';
	if (!known)
		add(e, entry_of(name.data, value));
	buf_release(&name);
}

void
exec_message_environment(struct exec_environment *e, const struct exec_environment *base,
    struct pawl_call *call, const struct pawl_message *msg)
{
	const struct {
		const char *name, *value;
	} texts[] = {
		{ "PAWL_KEY", msg->key },
		{ "PAWL_ID", msg->id },
		{ "PAWL_TYPE", msg->type },
		{ "PAWL_QUEUE", msg->queue },
		{ "PAWL_EXCHANGE", msg->exchange },
		{ "PAWL_ROUTING_KEY", msg->routing_key },
		{ "PAWL_CONTENT_TYPE", msg->content_type },
		{ "PAWL_CORRELATION_ID", msg->correlation_id },
		{ "PAWL_REPLY_TO", msg->reply_to },
		{ "TRACEPARENT", msg->traceparent },
	};
	const struct {
		const char *name;
		int64_t value;
	} numbers[] = {
		{ "PAWL_TIMESTAMP_MS", msg->timestamp_ms },
		{ "PAWL_ATTEMPT", msg->attempt },
		{ "PAWL_ATTEMPTS", msg->attempts },
	};
	const char *header, *value;
	size_t first;

	for (size_t i = 0; i < base->count; i++)
		add(e, xstrdup(base->list[i]));
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		exec_environment_set(e, texts[i].name, texts[i].value);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		char digits[24];

		(void)snprintf(digits, sizeof(digits), "%" PRId64, numbers[i].value);
		exec_environment_set(e, numbers[i].name, digits);
	}
	first = e->count;
	for (size_t i = 0; i < HEADERS_MAX && (header = pawl_header_at(call, i, &value)) != NULL;
	     i++)
		if (value != NULL)
			set_header(e, first, header, value);
}
