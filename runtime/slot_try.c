/*
 * slot_try.c - dry runs for `pawlctl try`: a handler gets a message, and what it recorded is told, as
 * JSON and for people, instead of being done. In the slot.
 */
#include <sysexits.h>

#include "runtime/slot.h"
#include "runtime/slot_alone.h"
#include "runtime/slot_attempt.h"
#include "util/log.h"
#include "util/utf8.h"

enum { SHOWN = 200 };			/* bytes of a value, for people */

static const char *const kind_text[] = {
	[PAWL_EFFECTS] = "EFFECTS", [PAWL_READS] = "READS", [PAWL_EXTERNAL] = "EXTERNAL"
};

static const struct pawl_rows *
ask_nobody(void *arg, struct slot_effect *query)
{
	struct slot *s = arg;

	slot_call_stop(&s->call, OUTCOME_RETRY, "no_database", arena_printf(&s->arena,
	    "the handler queries, and there is no database: give --database CONNINFO; in: %.100s",
	    query->statement->text));
	return NULL;
}

static bool
is_event(const struct slot_effect *e)
{
	return strcmp(e->statement->text, slot_call_emit_sql) == 0;
}

/* ---- as JSON */

static void
json_member(struct buf *b, const char *name, const char *text)
{
	if (b->data[b->len - 1] != '{')
		buf_putc(b, ',');
	json_quote(b, slice_of(name));
	buf_putc(b, ':');
	if (text == NULL)
		buf_puts(b, "null");
	else
		json_quote(b, slice_of(text));
}

/* text is JSON already; NULL: null */
static void
json_raw(struct buf *b, const char *name, const char *text)
{
	if (b->data[b->len - 1] != '{')
		buf_putc(b, ',');
	json_quote(b, slice_of(name));
	buf_printf(b, ":%s", text == NULL ? "null" : text);
}

static void
json_statement(struct buf *b, const struct slot_effect *e)
{
	buf_putc(b, '{');
	json_member(b, "text", e->statement->text);
	buf_puts(b, ",\"parameters\":[");
	for (int i = 0; i < e->n; i++) {
		if (i > 0)
			buf_putc(b, ',');
		if (e->values[i] == NULL)
			buf_puts(b, "null");
		else
			json_quote(b, slice_of(e->values[i]));
	}
	buf_putc(b, ']');
	if (e->expect_code != NULL) {
		buf_printf(b, ",\"expect\":{\"rows\":%lld", (long long)e->expect_rows);
		json_member(b, "otherwise", outcome_text(e->expect_outcome));
		json_member(b, "code", e->expect_code);
		buf_putc(b, '}');
	}
	buf_putc(b, '}');
}

static void
json_event(struct buf *b, const struct slot_effect *e)
{
	buf_putc(b, '{');
	json_member(b, "aggregatetype", e->values[EMIT_AGGREGATE_TYPE]);
	json_member(b, "aggregateid", e->values[EMIT_AGGREGATE_ID]);
	json_member(b, "type", e->values[EMIT_TYPE]);
	json_raw(b, "payload", e->values[EMIT_PAYLOAD]);
	json_raw(b, "headers", e->values[EMIT_HEADERS]);
	json_raw(b, "delay_ms", e->values[EMIT_DELAY]);
	buf_putc(b, '}');
}

static void
json_list(struct buf *b, const char *name, const struct slot_message *m, bool events)
{
	bool first = true;

	json_raw(b, name, "[");
	for (int part = 0; part < 2; part++)
		for (const struct slot_effect *e = part == 0 ? m->sent : m->effects; e != NULL; e = e->next) {
			if (is_event(e) != events)
				continue;
			if (!first)
				buf_putc(b, ',');
			first = false;
			if (events)
				json_event(b, e);
			else
				json_statement(b, e);
		}
	buf_putc(b, ']');
}

static bool
is_text(struct slice s)
{
	return memchr(s.data, '\0', s.len) == NULL && utf8_valid(s.data, s.len);
}

/* A body that is no text is null. */
static void
json_reply(struct buf *b, const struct slot_message *m)
{
	json_raw(b, "reply", "{");
	json_member(b, "content_type", m->reply_type);
	json_member(b, "body", is_text(m->reply) ? m->reply.data : NULL);
	buf_printf(b, ",\"bytes\":%zu}", m->reply.len);
}

static void
as_json(struct buf *b, const struct slot *s, const struct slot_message *m)
{
	const struct slot_handler *h = &s->handlers.list[m->in->handler];
	char number[24];

	buf_putc(b, '{');
	json_member(b, "key", m->key.data);
	json_member(b, "type", frame_message_text(m->in, m->in->type).data);
	json_member(b, "handler", h->handler->name);
	json_member(b, "version", h->handler->version);
	json_member(b, "kind", kind_text[h->kind]);
	json_member(b, "verdict", outcome_text(m->outcome));
	if (m->outcome != OUTCOME_DONE) {
		json_member(b, "code", m->code);
		json_member(b, "text", m->text);
		(void)snprintf(number, sizeof(number), "%u", (unsigned)m->delay_ms);
		json_raw(b, "again_after_ms", m->delay_ms == 0 ? NULL : number);
	}
	json_list(b, "statements", m, false);
	json_list(b, "events", m, true);
	if (m->replies)
		json_reply(b, m);
	buf_putc(b, '}');
}

/* ---- for people */

static void
show_value(struct buf *b, const char *value)
{
	size_t len = value == NULL ? 0 : strlen(value), shown = len > SHOWN ? SHOWN : len;

	if (value == NULL) {
		buf_puts(b, "NULL");
		return;
	}
	while (shown < len && shown > 0 && (value[shown] & 0xc0) == 0x80)
		shown--;
	buf_printf(b, "'%.*s'", (int)shown, value);
	if (shown < len)
		buf_printf(b, "... (%zu bytes)", len);
}

static void
show_effect(struct buf *b, const struct slot_effect *e)
{
	if (is_event(e)) {
		buf_printf(b, "  event %s", e->values[EMIT_TYPE]);
		if (e->values[EMIT_AGGREGATE_ID] != NULL)
			buf_printf(b, " of %s %s",
			    e->values[EMIT_AGGREGATE_TYPE] == NULL ? "" : e->values[EMIT_AGGREGATE_TYPE],
			    e->values[EMIT_AGGREGATE_ID]);
		if (e->values[EMIT_DELAY] != NULL)
			buf_printf(b, " in %s ms", e->values[EMIT_DELAY]);
		buf_puts(b, ": ");
		show_value(b, e->values[EMIT_PAYLOAD]);
		buf_printf(b, "\n    headers %s\n", e->values[EMIT_HEADERS]);
		return;
	}
	buf_printf(b, "  sql   %s\n", e->statement->text);
	for (int i = 0; i < e->n; i++) {
		buf_printf(b, "    $%d = ", i + 1);
		show_value(b, e->values[i]);
		buf_putc(b, '\n');
	}
	if (e->expect_code != NULL)
		buf_printf(b, "    expects %lld rows, else %s %s\n", (long long)e->expect_rows,
		    outcome_text(e->expect_outcome), e->expect_code);
}

static void
show_reply(struct buf *b, const struct slot_message *m)
{
	buf_printf(b, "  reply %s: ", m->reply_type == NULL ? "(no content type)" : m->reply_type);
	if (is_text(m->reply))
		show_value(b, m->reply.data);
	else
		buf_printf(b, "%zu bytes", m->reply.len);
	buf_putc(b, '\n');
}

static void
for_people(struct buf *b, const struct slot *s, const struct slot_message *m)
{
	const struct slot_handler *h = &s->handlers.list[m->in->handler];

	buf_printf(b, "%s (%s %s, %s): %s", m->key.data, h->handler->name, h->handler->version,
	    kind_text[h->kind], outcome_text(m->outcome));
	if (m->outcome != OUTCOME_DONE && m->code != NULL)
		buf_printf(b, " %s", m->code);
	if (m->outcome != OUTCOME_DONE && m->text != NULL && m->text[0] != '\0')
		buf_printf(b, ": %s", m->text);
	if (m->outcome != OUTCOME_DONE && m->delay_ms > 0)
		buf_printf(b, " (again after %u ms)", (unsigned)m->delay_ms);
	buf_putc(b, '\n');
	if (m->outcome == OUTCOME_DONE && m->effects == NULL && m->sent == NULL && !m->replies)
		buf_puts(b, "  nothing to do\n");
	for (const struct slot_effect *e = m->sent; e != NULL; e = e->next)
		show_effect(b, e);
	for (const struct slot_effect *e = m->effects; e != NULL; e = e->next)
		show_effect(b, e);
	if (m->replies)
		show_reply(b, m);
}

/* ---- a message */

/* Its handler, without a database. */
static void
call_alone(struct slot *s, struct slot_batch *b, struct slot_message *m)
{
	if (s->handlers.list[m->in->handler].kind != PAWL_EFFECTS) {
		s->call.ask = ask_nobody;
		s->call.ask_arg = s;
	}
	slot_work_call(s, b, m);
	s->call.ask = NULL;
}

/* Its handler, with one: what it records is prepared, so that a mistake is found. -1: the database failed. */
static int
call_with_database(struct slot *s, struct slot_batch *b, struct slot_message *m, struct pg_error *error)
{
	const struct slot_group group = { .members = &m, .count = 1 };

	if (s->handlers.list[m->in->handler].kind != PAWL_EFFECTS)
		return slot_alone_try(s, b, m, error);
	slot_work_call(s, b, m);
	return m->pending ? slot_transaction_prepare(&s->transaction, &group, error) : 0;
}

static void
try_one(struct slot *s, bool database)
{
	struct slot_batch b;
	struct slot_message *m = slot_work_try(s, &b);
	struct buf json = BUF_INIT, text = BUF_INIT;
	struct pg_error error;
	size_t begin;

	if (m != NULL && !database)
		call_alone(s, &b, m);
	else if (m != NULL && call_with_database(s, &b, m, &error) != 0)
		slot_message_fail(m, OUTCOME_UNAPPLIED, "database", arena_strdup(&s->arena, error.text));
	m = &b.messages[0];
	if (m->pending)
		m->outcome = OUTCOME_DONE;
	else {
		m->effects = m->sent = NULL;
		m->replies = false;
	}
	as_json(&json, s, m);
	for_people(&text, s, m);
	begin = slot_frames_begin(&s->frames, FRAME_TRIED);
	frame_put_text(&s->frames.out, (struct slice){ json.data, json.len });
	frame_put_text(&s->frames.out, (struct slice){ text.data, text.len });
	slot_frames_end(&s->frames, begin);
	slot_frames_send(&s->frames);
	buf_release(&json);
	buf_release(&text);
}

int
slot_try(struct slot *s, bool database)
{
	for (;;) {
		switch (slot_frames_read(&s->frames)) {
		case FRAME_BATCH:
			try_one(s, database);
			break;
		case FRAME_SHUTDOWN:
		case SLOT_RUNNER_GONE:
			return EX_OK;
		default:
			log_fatal(EX_SOFTWARE, "cannot understand pawlctl: a frame that is not for a slot");
		}
	}
}
