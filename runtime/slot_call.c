/*
 * slot_call.c - see slot_call.h. Runs in the slot, called by handlers: whatever they pass ends in a
 * verdict, not in a crash.
 */
#include "runtime/slot_call.h"

#include <errno.h>
#include <stdarg.h>

#include "common/envelope.h"
#include "runtime/slot_handlers.h"
#include "util/json_scan.h"
#include "util/log.h"
#include "util/utf8.h"

enum { TEXTS_BLOCK = 16 * 1024, PARAMS_MAX = 65535, SHORT_TEXT_MAX = 255, BYTES_MAX = 512 * 1024 * 1024 };

const char slot_call_emit_sql[] =
    "insert into pawl.outbox (aggregatetype, aggregateid, type, payload, headers, not_before)"
    " values ($1, $2, $3, $4::jsonb, $5::jsonb,"
    " clock_timestamp() + $6::bigint * interval '1 millisecond')";

struct slot_emit_header {
	struct slot_emit_header *next;
	const char *name, *value;
};
struct slot_emit {
	struct slot_emit *next;
	const char *values[EMIT_VALUES];
	struct slot_emit_header *headers, **headers_end;
};

static struct slot_call *
call_of(struct pawl_call *call)
{
	return (struct slot_call *)call;
}

void
slot_call_init(struct slot_call *c, struct arena *arena, struct slot_statements *statements)
{
	memset(c, 0, sizeof(*c));
	c->call.host = &slot_host;
	c->arena = arena;
	c->statements = statements;
	buf_init(&c->scratch);
}

void
slot_call_release(struct slot_call *c)
{
	buf_release(&c->scratch);
}

void
slot_call_begin_batch(struct slot_call *c, struct slice frame)
{
	c->frame = frame;
	c->texts = c->texts_at = c->texts_end = NULL;
}

void
slot_call_begin(
    struct slot_call *c, const struct slot_handler *handler, struct slot_message *message)
{
	c->handler = handler;
	c->message = message;
	c->body = BODY_UNCHECKED;
	c->effects_end = &message->effects;
	c->last_sql = NULL;
	c->emits = c->last_emit = NULL;
	c->emits_end = &c->emits;
	c->failed = false;
	c->code = c->text = NULL;
	c->delay_ms = 0;
}

/* Memory for a text of size bytes, its NUL included. */
static char *
text_room(struct slot_call *c, size_t size)
{
	if (size > (size_t)(c->texts_end - c->texts_at)) {
		size_t block = size > TEXTS_BLOCK ? size : TEXTS_BLOCK;

		c->texts = c->texts_at = arena_alloc(c->arena, block);
		c->texts_end = c->texts + block;
	}
	return c->texts_at;
}

static const char *
text_copy(struct slot_call *c, const char *data, size_t len)
{
	char *room = text_room(c, len + 1);

	if (len > 0)
		memcpy(room, data, len);
	room[len] = '\0';
	c->texts_at += len + 1;
	return room;
}

/* What is in the batch's memory stays as it is until the batch is through. */
static bool
is_ours(const struct slot_call *c, const char *p)
{
	uintptr_t at = (uintptr_t)p;

	return (at >= (uintptr_t)c->texts && at < (uintptr_t)c->texts_at) ||
	    at - (uintptr_t)c->frame.data < c->frame.len;
}

static const char *
text_keep(struct slot_call *c, const char *text)
{
	if (text == NULL || is_ours(c, text))
		return text;
	return text_copy(c, text, strlen(text));
}

/*
 * A code as programs count and search by it: one word. It may come from the outside, an answer or a
 * message, so it is mended and not refused: the verdict and the text are right.
 */
static const char *
code_keep(struct slot_call *c, const char *code)
{
	static const char word[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
	size_t len = code == NULL ? 0 : strspn(code, word), kept = 0;
	char *room;

	if (code == NULL || (code[len] == '\0' && len <= SLOT_CODE_MAX))
		return text_keep(c, code);
	room = text_room(c, SLOT_CODE_MAX + 1);
	for (const char *p = code; *p != '\0' && kept < SLOT_CODE_MAX; p++)
		if (memchr(word, *p, sizeof(word) - 1) != NULL)
			room[kept++] = *p;
		else if ((*p & 0xc0) != 0x80)	/* a character's first byte stands for all of it */
			room[kept++] = '_';
	room[kept] = '\0';
	c->texts_at += kept + 1;
	return room;
}

/* NULL: printf() cannot make it, errno says why. */
static const char * ATTR_PRINTF(2, 0)
text_vformat(struct slot_call *c, const char *fmt, va_list ap)
{
	char *room = text_room(c, 256);
	size_t size = (size_t)(c->texts_end - room);
	va_list again;
	int len;

	va_copy(again, ap);
	len = vsnprintf(room, size, fmt, ap);
	if (len >= 0 && (size_t)len >= size) {
		room = text_room(c, (size_t)len + 1);
		len = vsnprintf(room, (size_t)len + 1, fmt, again);
	}
	va_end(again);
	if (len < 0)
		return NULL;
	c->texts_at += len + 1;
	return room;
}

static void ATTR_PRINTF(4, 5)
fail(struct slot_call *c, enum outcome outcome, const char *code, const char *fmt, ...)
{
	va_list ap;

	if (c->failed)
		return;
	c->failed = true;
	c->outcome = outcome;
	c->code = code;
	va_start(ap, fmt);
	c->text = text_vformat(c, fmt, ap);
	va_end(ap);
}

/* What AMQP calls a short string. */
static bool
is_short_text(const char *text)
{
	size_t len = strnlen(text, SHORT_TEXT_MAX + 1);

	return len <= SHORT_TEXT_MAX && utf8_valid(text, len);
}

static enum outcome
outcome_of(enum pawl_verdict verdict)
{
	switch (verdict) {
	case PAWL_DONE: return OUTCOME_DONE;
	case PAWL_RETRY: return OUTCOME_RETRY;
	case PAWL_SNOOZE: return OUTCOME_SNOOZE;
	case PAWL_REJECT: return OUTCOME_REJECT;
	}
	return OUTCOME_COUNT;
}

/* ---- reading the message */

#define LET_MEND "let the publisher mend it"
#define LET_TEXT "let the publisher send a text"

static struct slice
body_of(const struct slot_call *c)
{
	return (struct slice){ c->view.body, c->view.body_size };
}

static bool
body_is_json(struct slot_call *c)
{
	if (c->body == BODY_UNCHECKED) {
		size_t offset = 0;
		enum json_status status = json_scan_index(body_of(c), &c->fields, &offset);

		c->body = status == JSON_OK ? BODY_JSON : BODY_BAD;
		if (status != JSON_OK)
			fail(c, OUTCOME_REJECT, "bad_body", "the body is no JSON: %s at byte %zu;"
			    " let the publisher send JSON", json_status_text(status), offset);
	}
	return c->body == BODY_JSON;
}

static bool
find(struct slot_call *c, const char *pointer, bool required, struct json_value *value)
{
	size_t offset = 0;
	enum json_status status;

	if (c->failed || !body_is_json(c))
		return false;
	if (pointer == NULL) {
		fail(c, OUTCOME_REJECT, "bad_field",
		    "the handler asks for a field without a pointer: mend the handler");
		return false;
	}
	status = json_scan_lookup(&c->fields, pointer, value, &offset);
	switch (status) {
	case JSON_OK:
		return true;
	case JSON_MISSING:
		if (required)
			fail(c, OUTCOME_REJECT, "bad_field", "%s is missing; let the publisher"
			    " send it, or the handler do without it", pointer[0] == '\0' ? "the body" : pointer);
		return false;
	case JSON_BAD_POINTER:
		fail(c, OUTCOME_REJECT, "bad_field",
		    "\"%s\" is no JSON pointer: write \"/member/0\"", pointer);
		return false;
	case JSON_SYNTAX:
	case JSON_TOO_DEEP:
	case JSON_BAD_UTF8:
	case JSON_DOUBLE_KEY:
	case JSON_ESCAPED_NUL:
	case JSON_NO_ROOM:
		break;
	}
	fail(c, OUTCOME_REJECT, "bad_body", "%s: %s at byte %zu; " LET_MEND, pointer,
	    json_status_text(status), offset);
	return false;
}

const char *
slot_call_field(struct pawl_call *call, const char *pointer, int required)
{
	struct slot_call *c = call_of(call);
	struct json_value value;
	size_t len;
	char *room;

	if (!find(c, pointer, required != 0, &value) || value.kind == JSON_NULL)
		return NULL;
	if (value.kind != JSON_STRING)
		return text_copy(c, value.raw.data, value.raw.len);
	room = text_room(c, value.raw.len + 1);
	if (json_scan_unescape(value.raw, room, &len) != JSON_OK) {
		fail(c, OUTCOME_REJECT, "bad_body", "%s: %s at byte %zu; " LET_MEND, pointer,
		    json_status_text(JSON_ESCAPED_NUL),
		    (size_t)(value.raw.data - (const char *)c->view.body));
		return NULL;
	}
	c->texts_at += len + 1;
	return room;
}

const char *
slot_call_json(struct pawl_call *call, const char *pointer)
{
	struct slot_call *c = call_of(call);
	struct json_value value;

	if (!find(c, pointer, true, &value))
		return NULL;
	return text_copy(c, value.raw.data, value.raw.len);
}

const char *
slot_call_header(struct pawl_call *call, const char *name)
{
	struct slot_call *c = call_of(call);
	struct slice value;

	if (c->failed || name == NULL || !frame_message_header(c->message->in, name, &value))
		return NULL;
	if (memchr(value.data, '\0', value.len) != NULL) {
		fail(c, OUTCOME_REJECT, "bad_field", "header \"%s\" holds a NUL: " LET_TEXT, name);
		return NULL;
	}
	return value.len == 0 ? "" : value.data;
}

/* A value that is no text is NULL, so that whoever passes all of them on can do without it. */
const char *
slot_call_header_at(struct pawl_call *call, size_t index, const char **value)
{
	struct slot_call *c = call_of(call);
	struct slice name, text;

	if (c->failed || !frame_message_header_at(c->message->in, index, &name, &text))
		return NULL;
	if (value != NULL) {
		*value = text.len == 0 ? "" : text.data;
		if (memchr(*value, '\0', text.len) != NULL)
			*value = NULL;
	}
	return name.len == 0 ? "" : name.data;
}

const void *
slot_call_header_bytes(struct pawl_call *call, size_t index, size_t *size)
{
	struct slot_call *c = call_of(call);
	struct slice name, value;

	if (c->failed || !frame_message_header_at(c->message->in, index, &name, &value))
		return NULL;
	if (size != NULL)
		*size = value.len;
	return value.len == 0 ? "" : value.data;
}

const char *
slot_call_body(struct pawl_call *call)
{
	struct slot_call *c = call_of(call);
	const char *nul;

	if (c->failed)
		return NULL;
	nul = memchr(c->view.body, '\0', c->view.body_size);
	if (nul == NULL)
		return c->view.body;
	fail(c, OUTCOME_REJECT, "bad_body", "the body is no text: NUL at byte %zu; " LET_TEXT,
	    (size_t)(nul - (const char *)c->view.body));
	return NULL;
}

/* ---- recording */

static struct slot_effect *
make(struct slot_call *c, const char *text, const char *const *values, size_t n)
{
	const char *refusal;
	struct slot_statement *statement = slot_statements_get(c->statements, text, &refusal);
	struct slot_effect *effect;

	if (statement == NULL) {
		fail(c, OUTCOME_REJECT, "bad_statement", "the statement %s: %.100s", refusal, text);
		return NULL;
	}
	if (statement->state != STATEMENT_PREPARED) {
		c->message->fresh_statements = true;
	} else if ((size_t)statement->params != n) {
		fail(c, OUTCOME_REJECT, "bad_statement",
		    "the statement has %d parameters, and %zu were given: %.100s",
		    statement->params, n, text);
		return NULL;
	}
	effect = arena_alloc(c->arena, sizeof(*effect) + n * sizeof(effect->values[0]));
	c->message->governs = c->message->governs || statement->governs;
	effect->next = NULL;
	effect->statement = statement;
	effect->expect_code = NULL;
	effect->n = (int)n;
	for (size_t i = 0; i < n; i++)
		effect->values[i] = text_keep(c, values[i]);
	return effect;
}

static struct slot_effect *
record(struct slot_call *c, const char *text, const char *const *values, size_t n)
{
	struct slot_effect *effect = make(c, text, values, n);

	if (effect == NULL)
		return NULL;
	*c->effects_end = effect;
	c->effects_end = &effect->next;
	return effect;
}

static bool
is_statement(struct slot_call *c, const char *const *text_and_params, size_t n)
{
	if (c->failed)
		return false;
	if (n > 0 && n - 1 <= PARAMS_MAX && text_and_params != NULL && text_and_params[0] != NULL)
		return true;
	fail(c, OUTCOME_REJECT, "bad_statement",
	    "the handler gives a statement without a text, or with too many parameters");
	return false;
}

void
slot_call_sql(struct pawl_call *call, const char *const *text_and_params, size_t n)
{
	struct slot_call *c = call_of(call);

	if (is_statement(c, text_and_params, n))
		c->last_sql = record(c, text_and_params[0], text_and_params + 1, n - 1);
}

void
slot_call_expect(struct pawl_call *call, int64_t rows, enum pawl_verdict verdict, const char *code)
{
	struct slot_call *c = call_of(call);

	if (c->failed)
		return;
	if (c->last_sql == NULL || rows < 0 || verdict == PAWL_DONE ||
	    outcome_of(verdict) == OUTCOME_COUNT) {
		fail(c, OUTCOME_REJECT, "bad_expect",
		    "the handler expects rows without a statement, or its verdict is no failure");
		return;
	}
	c->last_sql->expect_rows = rows;
	c->last_sql->expect_outcome = outcome_of(verdict);
	c->last_sql->expect_code = code == NULL ? "unexpected_rows" : code_keep(c, code);
	c->message->expects = true;
}

const struct pawl_rows *
slot_call_query(struct pawl_call *call, const char *const *text_and_params, size_t n)
{
	struct slot_call *c = call_of(call);
	struct slot_effect *query;

	if (c->ask == NULL) {
		fail(c, OUTCOME_REJECT, "no_query",
		    "the handler queries, but its kind is EFFECTS: it decides by the message alone");
		return NULL;
	}
	if (!is_statement(c, text_and_params, n))
		return NULL;
	query = make(c, text_and_params[0], text_and_params + 1, n - 1);
	return query == NULL ? NULL : c->ask(c->ask_arg, query);
}

void
slot_call_stop(struct slot_call *c, enum outcome outcome, const char *code, const char *text)
{
	if (c->failed)
		return;
	c->failed = true;
	c->outcome = outcome;
	c->code = code;
	c->text = text;
}

void
slot_call_sent(struct slot_call *c)
{
	struct slot_effect **end = &c->message->sent;

	while (*end != NULL)
		end = &(*end)->next;
	*end = c->message->effects;
	c->message->effects = NULL;
	c->effects_end = &c->message->effects;
	c->last_sql = NULL;
}

void
slot_call_emit(struct pawl_call *call, const char *aggregatetype, const char *aggregateid,
    const char *type, const char *payload)
{
	struct slot_call *c = call_of(call);
	struct slot_emit *emit;
	size_t offset = 0;

	if (c->failed)
		return;
	if (type == NULL || type[0] == '\0' || strlen(type) > SHORT_TEXT_MAX) {
		fail(c, OUTCOME_REJECT, "bad_emit",
		    "the handler emits an event whose type has not 1 to %d bytes", SHORT_TEXT_MAX);
		return;
	}
	if (payload != NULL) {
		enum json_status status = json_scan_check(slice_of(payload), &offset);

		if (status != JSON_OK) {
			fail(c, OUTCOME_REJECT, "bad_emit",
			    "the payload of %s is no JSON: %s at byte %zu", type,
			    json_status_text(status), offset);
			return;
		}
	}
	emit = arena_zalloc(c->arena, sizeof(*emit));
	emit->values[EMIT_AGGREGATE_TYPE] = text_keep(c, aggregatetype);
	emit->values[EMIT_AGGREGATE_ID] = text_keep(c, aggregateid);
	emit->values[EMIT_TYPE] = text_keep(c, type);
	emit->values[EMIT_PAYLOAD] = text_keep(c, payload);
	emit->headers_end = &emit->headers;
	*c->emits_end = c->last_emit = emit;
	c->emits_end = &emit->next;
}

void
slot_call_emit_header(struct pawl_call *call, const char *name, const char *value)
{
	struct slot_call *c = call_of(call);
	struct slot_emit_header *header;

	if (c->failed)
		return;
	if (c->last_emit == NULL || name == NULL || name[0] == '\0' || !is_short_text(name) ||
	    strncmp(name, ENVELOPE_PREFIX, strlen(ENVELOPE_PREFIX)) == 0) {
		fail(c, OUTCOME_REJECT, "bad_emit",
		    "the handler sets a header without an emit, or its name is no UTF-8 text of 1 to %d "
		    "bytes, or begins with \"%s\"", SHORT_TEXT_MAX, ENVELOPE_PREFIX);
		return;
	}
	for (header = c->last_emit->headers; header != NULL; header = header->next) {
		if (strcmp(header->name, name) == 0) {
			header->value = text_keep(c, value);
			return;
		}
	}
	header = arena_zalloc(c->arena, sizeof(*header));
	header->name = text_keep(c, name);
	header->value = text_keep(c, value);
	*c->last_emit->headers_end = header;
	c->last_emit->headers_end = &header->next;
}

void
slot_call_emit_delay(struct pawl_call *call, int64_t ms)
{
	struct slot_call *c = call_of(call);

	if (c->failed)
		return;
	if (c->last_emit == NULL || ms < 0) {
		fail(c, OUTCOME_REJECT, "bad_emit",
		    "the handler delays without an emit, or by less than nothing");
		return;
	}
	c->last_emit->values[EMIT_DELAY] =
	    ms == 0 ? NULL : slot_call_format(call, "%lld", (long long)ms);
}

void
slot_call_reply(struct pawl_call *call, const char *content_type, const void *body, size_t size)
{
	struct slot_call *c = call_of(call);
	struct slot_message *m = c->message;

	if (c->failed)
		return;
	if (m->replies)
		fail(c, OUTCOME_REJECT, "bad_reply", "the handler replies twice");
	else if (size > FRAME_REPLY_MAX)
		fail(c, OUTCOME_REJECT, "bad_reply", "the handler replies with %zu bytes, %d are "
		    "the most: answer with less, or with where it is", size, FRAME_REPLY_MAX);
	else if (body == NULL && size > 0)
		fail(c, OUTCOME_REJECT, "bad_reply", "the handler replies with a NULL");
	else if (content_type != NULL && !is_short_text(content_type))
		fail(c, OUTCOME_REJECT, "bad_reply",
		    "the reply's content type is no UTF-8 text of at most %d bytes", SHORT_TEXT_MAX);
	if (c->failed)
		return;
	m->replies = true;
	m->reply_type = text_keep(c, content_type);
	m->reply = (struct slice){ arena_memdup(c->arena, body, size), size };
}

enum pawl_verdict
slot_call_fail(
    struct pawl_call *call, enum pawl_verdict verdict, const char *code, const char *fmt, ...)
{
	struct slot_call *c = call_of(call);
	va_list ap;

	if (c->failed)
		return verdict;
	if (verdict == PAWL_DONE || outcome_of(verdict) == OUTCOME_COUNT) {
		fail(c, OUTCOME_REJECT, "bad_verdict",
		    "the handler fails with a verdict that is no failure (%d)", (int)verdict);
		return verdict;
	}
	c->failed = true;
	c->outcome = outcome_of(verdict);
	c->code = code_keep(c, code);
	va_start(ap, fmt);
	c->text = text_vformat(c, fmt, ap);
	va_end(ap);
	return verdict;
}

void
slot_call_again_after(struct pawl_call *call, int64_t ms)
{
	call_of(call)->delay_ms = ms < 0 ? 0 : ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
}

int
slot_call_failed(struct pawl_call *call)
{
	return call_of(call)->failed;
}

/* ---- texts */

const char *
slot_call_format(struct pawl_call *call, const char *fmt, ...)
{
	struct slot_call *c = call_of(call);
	const char *text;
	va_list ap;

	va_start(ap, fmt);
	text = text_vformat(c, fmt, ap);
	va_end(ap);
	if (text == NULL)
		fail(c, OUTCOME_REJECT, "bad_format", "the handler formats what printf() cannot make a text of: %s",
		    strerror(errno));
	return text;
}

const char *
slot_call_quote(struct pawl_call *call, const char *text)
{
	struct slot_call *c = call_of(call);

	if (text == NULL)
		return "null";
	buf_clear(&c->scratch);
	json_quote(&c->scratch, slice_of(text));
	return text_copy(c, c->scratch.data, c->scratch.len);
}

const char *
slot_call_bytes(struct pawl_call *call, const void *data, size_t size)
{
	static const char hex[] = "0123456789abcdef";
	struct slot_call *c = call_of(call);
	const unsigned char *in = data;
	char *room, *at;

	if (data == NULL && size > 0) {
		fail(c, OUTCOME_REJECT, "bad_bytes", "the handler gives a NULL for %zu bytes", size);
		return NULL;
	}
	if (size > BYTES_MAX) {
		fail(c, OUTCOME_REJECT, "bad_bytes",
		    "the handler makes a text of %zu bytes, and %d are the most", size, BYTES_MAX);
		return NULL;
	}
	at = room = text_room(c, 2 + 2 * size + 1);
	*at++ = '\\';
	*at++ = 'x';
	for (size_t i = 0; i < size; i++) {
		*at++ = hex[in[i] >> 4];
		*at++ = hex[in[i] & 15];
	}
	*at++ = '\0';
	c->texts_at = at;
	return room;
}

static enum log_level
log_level_of(enum pawl_level level)
{
	switch (level) {
	case PAWL_ERROR: return LOG_LEVEL_ERROR;
	case PAWL_WARNING: return LOG_LEVEL_WARNING;
	case PAWL_INFO: return LOG_LEVEL_INFO;
	case PAWL_DEBUG: break;
	}
	return LOG_LEVEL_DEBUG;
}

void
slot_call_log(struct pawl_call *call, enum pawl_level level, const char *fmt, ...)
{
	struct slot_call *c = call_of(call);
	enum log_level at = log_level_of(level);
	const struct log_context *former;
	const char *text;
	char attempt[16];
	va_list ap;

	if (!log_enabled(at))
		return;
	(void)snprintf(attempt, sizeof(attempt), "%u", c->view.attempt);
	former = log_push(NULL);
	const struct log_context handler = { former, "handler", c->handler->setup->name };
	const struct log_context key = { &handler, "key", c->view.key };
	const struct log_context innermost = { &key, "attempt", attempt };

	(void)log_push(&innermost);
	va_start(ap, fmt);
	text = text_vformat(c, fmt, ap);
	va_end(ap);
	log_at(at, "%s", text == NULL ? "(the handler logs what printf() cannot make a text of)" : text);
	if (text != NULL)
		c->texts_at -= strlen(text) + 1;	/* nobody keeps it */
	log_pop(former);
}

/* ---- the end of a call */

static void
put_header(struct buf *b, const char *name, const char *value)
{
	if (b->len > 1)
		buf_putc(b, ',');
	json_quote(b, slice_of(name));
	buf_putc(b, ':');
	if (value == NULL)
		buf_puts(b, "null");
	else
		json_quote(b, slice_of(value));
}

static const char *
emit_headers(struct slot_call *c, const struct slot_emit *emit)
{
	bool traced = c->view.traceparent[0] == '\0';

	buf_clear(&c->scratch);
	buf_putc(&c->scratch, '{');
	for (const struct slot_emit_header *header = emit->headers; header != NULL;
	     header = header->next) {
		traced = traced || strcmp(header->name, ENVELOPE_TRACEPARENT) == 0;
		put_header(&c->scratch, header->name, header->value);
	}
	if (!traced)
		put_header(&c->scratch, ENVELOPE_TRACEPARENT, c->view.traceparent);
	buf_putc(&c->scratch, '}');
	return text_copy(c, c->scratch.data, c->scratch.len);
}

void
slot_call_finish(struct slot_call *c, enum pawl_verdict verdict)
{
	struct slot_message *message = c->message;
	enum outcome outcome = outcome_of(verdict);

	for (struct slot_emit *emit = c->emits; emit != NULL && !c->failed && verdict == PAWL_DONE;
	     emit = emit->next) {
		emit->values[EMIT_HEADERS] = emit_headers(c, emit);
		(void)record(c, slot_call_emit_sql, emit->values, EMIT_VALUES);
	}
	if (outcome == OUTCOME_COUNT)
		fail(c, OUTCOME_REJECT, "bad_verdict",
		    "the handler returned %d, which is no verdict", (int)verdict);
	message->delay_ms = c->delay_ms;
	if (c->failed || outcome != OUTCOME_DONE) {
		message->effects = NULL;
		message->outcome = c->failed ? c->outcome : outcome;
		message->code = c->code;
		message->text = c->text;
		return;
	}
	message->pending = true;
}
