/*
 * exec_answer.c - see exec_answer.h. What is unknown is refused: a misspelt "emit" would lose an event.
 */
#include "handlers/exec/exec_answer.h"

#include <inttypes.h>
#include <stdlib.h>

#include "handlers/exec/exec_json.h"
#include "util/arena.h"

static const struct { const char *word; enum pawl_verdict verdict; } verdicts[] = {
	{ "done", PAWL_DONE }, { "retry", PAWL_RETRY },
	{ "snooze", PAWL_SNOOZE }, { "reject", PAWL_REJECT },
};
static const struct { const char *word; enum pawl_level level; } levels[] = {
	{ "error", PAWL_ERROR }, { "warning", PAWL_WARNING },
	{ "info", PAWL_INFO }, { "debug", PAWL_DEBUG },
};

/* Absent: fallback. */
static enum pawl_verdict
verdict_of(struct exec_json *j, const struct json_value *value, const char *name,
    enum pawl_verdict fallback)
{
	const char *word = exec_json_string(j, value, name);

	if (word == NULL)
		return fallback;
	for (size_t i = 0; i < ARRAY_SIZE(verdicts); i++)
		if (strcmp(verdicts[i].word, word) == 0)
			return verdicts[i].verdict;
	exec_json_fail(
	    j, "\"%s\" is \"%.40s\": there are done, retry, snooze and reject", name, word);
	return fallback;
}

/* ---- statements */

enum { SQL_TEXT, SQL_PARAMS, SQL_EXPECT, SQL_OTHERWISE, SQL_CODE, SQL_COUNT };
static const char *const sql_members[] = { "text", "params", "expect", "otherwise", "code", NULL };

static const char **
put(const char **texts, size_t n, size_t *room, const char *text)
{
	if (texts == NULL || n == *room) {
		*room = 2 * *room + 16;
		texts = xrealloc(texts, *room * sizeof(*texts));
	}
	texts[n] = text;
	return texts;
}

static void
do_sql(struct exec_json *j, const struct json_value *item, struct pawl_call *call)
{
	struct json_value m[SQL_COUNT], value;
	const char **texts = NULL, *code;
	size_t n = 1, room = 0, at = 0;
	enum pawl_verdict otherwise;
	struct slice key;
	int64_t expect;

	exec_json_members(j, item, "a statement", sql_members, m);
	texts = put(texts, 0, &room, exec_json_string(j, &m[SQL_TEXT], "text"));
	for (; exec_json_next(j, &m[SQL_PARAMS], JSON_ARRAY, "params", &at, &key, &value); n++)
		texts = put(texts, n, &room, exec_json_text(j, &value, "params"));
	expect = exec_json_number(j, &m[SQL_EXPECT], "expect");
	otherwise = verdict_of(j, &m[SQL_OTHERWISE], "otherwise", PAWL_RETRY);
	code = exec_json_string(j, &m[SQL_CODE], "code");
	if (!j->bad && texts[0] == NULL)
		exec_json_fail(j, "a statement has no \"text\"");
	if (expect < 0 && (code != NULL || exec_json_is_there(&m[SQL_OTHERWISE])))
		exec_json_fail(j, "a statement has \"code\" or \"otherwise\" without \"expect\"");
	if (!j->bad) {
		pawl_sql(call, texts, n);
		if (expect >= 0)
			pawl_expect(call, expect, otherwise, code);
	}
	free(texts);
}

/* ---- events */

enum {
	EMIT_AGGREGATETYPE, EMIT_AGGREGATEID, EMIT_TYPE, EMIT_PAYLOAD, EMIT_HEADERS,
	EMIT_DELAY_MS, EMIT_COUNT
};
static const char *const emit_members[] = {
	"aggregatetype", "aggregateid", "type", "payload", "headers", "delay_ms", NULL
};

/* As it was written, digits and all. */
static const char *
raw_json(struct pawl_call *call, const struct json_value *value)
{
	if (!exec_json_is_there(value))
		return NULL;
	return pawl_format(call, "%.*s", (int)value->raw.len, value->raw.data);
}

static void
do_emit(struct exec_json *j, const struct json_value *item, struct pawl_call *call)
{
	struct json_value m[EMIT_COUNT], value;
	const char *aggregatetype, *aggregateid, *type;
	struct slice key;
	int64_t delay_ms;
	size_t at = 0;

	exec_json_members(j, item, "an event", emit_members, m);
	aggregatetype = exec_json_string(j, &m[EMIT_AGGREGATETYPE], "aggregatetype");
	aggregateid = exec_json_text(j, &m[EMIT_AGGREGATEID], "aggregateid");
	type = exec_json_string(j, &m[EMIT_TYPE], "type");
	delay_ms = exec_json_number(j, &m[EMIT_DELAY_MS], "delay_ms");
	if (!j->bad && type == NULL)
		exec_json_fail(j, "an event has no \"type\"");
	if (j->bad)
		return;
	pawl_emit(call, aggregatetype, aggregateid, type, raw_json(call, &m[EMIT_PAYLOAD]));
	if (delay_ms >= 0)
		pawl_emit_delay(call, delay_ms);
	while (exec_json_next(j, &m[EMIT_HEADERS], JSON_OBJECT, "headers", &at, &key, &value)) {
		const char *name = exec_json_key(j, key, "headers");
		const char *text = exec_json_text(j, &value, "headers");

		if (!j->bad)
			pawl_emit_header(call, name, text);
	}
}

/* ---- a reply */

enum { REPLY_CONTENT_TYPE, REPLY_BODY, REPLY_BODY_TEXT, REPLY_COUNT };
static const char *const reply_members[] = { "content_type", "body", "body_text", NULL };

static void
do_reply(struct exec_json *j, const struct json_value *reply, struct pawl_call *call)
{
	struct json_value m[REPLY_COUNT];
	const char *content_type, *text;

	if (!exec_json_is_there(reply))
		return;
	exec_json_members(j, reply, "the reply", reply_members, m);
	content_type = exec_json_string(j, &m[REPLY_CONTENT_TYPE], "content_type");
	text = exec_json_string(j, &m[REPLY_BODY_TEXT], "body_text");
	if (!j->bad && exec_json_is_there(&m[REPLY_BODY]) == (text != NULL))
		exec_json_fail(j, "the reply has not one of \"body\" and \"body_text\"");
	if (j->bad)
		return;
	if (text != NULL)
		pawl_reply(
		    call, content_type == NULL ? "text/plain" : content_type, text, strlen(text));
	else
		pawl_reply(call, content_type == NULL ? "application/json" : content_type,
		    m[REPLY_BODY].raw.data, m[REPLY_BODY].raw.len);
}

/* ---- words for the log */

enum { LOG_LEVEL, LOG_TEXT, LOG_COUNT };
static const char *const log_members[] = { "level", "text", NULL };

static void
do_log(struct exec_json *j, const struct json_value *item, struct pawl_call *call)
{
	struct json_value m[LOG_COUNT];
	const char *word, *text;

	exec_json_members(j, item, "an item of the log", log_members, m);
	word = exec_json_string(j, &m[LOG_LEVEL], "level");
	text = exec_json_string(j, &m[LOG_TEXT], "text");
	if (!j->bad && text == NULL)
		exec_json_fail(j, "an item of the log has no \"text\"");
	for (size_t i = 0; i < ARRAY_SIZE(levels) && !j->bad; i++) {
		if (word == NULL ? levels[i].level == PAWL_INFO
				 : strcmp(levels[i].word, word) == 0) {
			pawl_log(call, levels[i].level, "%s", text);
			return;
		}
	}
	exec_json_fail(j, "\"level\" is \"%.40s\": there are error, warning, info and debug",
	    word == NULL ? "" : word);
}

/* ---- the whole */

static void
each(struct exec_json *j, const struct json_value *list, const char *name, struct pawl_call *call,
    void (*act)(struct exec_json *, const struct json_value *, struct pawl_call *))
{
	struct json_value item;
	struct slice key;
	size_t at = 0;

	while (exec_json_next(j, list, JSON_ARRAY, name, &at, &key, &item))
		act(j, &item, call);
}

enum {
	ANSWER_N, ANSWER_VERDICT, ANSWER_CODE, ANSWER_TEXT, ANSWER_AGAIN_AFTER_MS, ANSWER_SQL,
	ANSWER_EMIT, ANSWER_REPLY, ANSWER_LOG, ANSWER_LAST, ANSWER_COUNT
};
static const char *const answer_members[] = {
	"n", "verdict", "code", "text", "again_after_ms", "sql", "emit", "reply", "log", "last",
	NULL
};

static void
check_number(struct exec_json *j, const struct json_value *value, uint64_t number)
{
	char digits[24];
	int len = snprintf(digits, sizeof(digits), "%" PRIu64, number);

	if (!j->bad && !exec_json_is_there(value))
		exec_json_fail(j, "the answer has no \"n\": it is the question's");
	else if (!j->bad && !slice_equals(value->raw, (struct slice){ digits, (size_t)len }))
		exec_json_fail(j, "the answer is for message %.*s, and message %s was asked",
		    value->raw.len > 24 ? 24 : (int)value->raw.len, value->raw.data, digits);
}

static enum pawl_verdict
decide(struct exec_json *j, const struct json_value *m, struct pawl_call *call)
{
	enum pawl_verdict verdict = verdict_of(j, &m[ANSWER_VERDICT], "verdict", PAWL_DONE);
	const char *code = exec_json_string(j, &m[ANSWER_CODE], "code");
	const char *text = exec_json_string(j, &m[ANSWER_TEXT], "text");
	int64_t again_after_ms = exec_json_number(j, &m[ANSWER_AGAIN_AFTER_MS], "again_after_ms");

	if (!j->bad && !exec_json_is_there(&m[ANSWER_VERDICT]))
		exec_json_fail(j, "the answer has no \"verdict\"");
	each(j, &m[ANSWER_LOG], "log", call, do_log);
	if (verdict != PAWL_DONE) {
		if (again_after_ms >= 0)
			pawl_again_after(call, again_after_ms);
		if (!j->bad && (code != NULL || text != NULL))
			(void)call->host->fail(call, verdict, code, "%s", text == NULL ? "" : text);
		return verdict;
	}
	each(j, &m[ANSWER_SQL], "sql", call, do_sql);
	each(j, &m[ANSWER_EMIT], "emit", call, do_emit);
	do_reply(j, &m[ANSWER_REPLY], call);
	return verdict;
}

int
exec_answer_read(struct slice line, uint64_t number, struct pawl_call *call,
    struct exec_answer *answer, struct buf *error)
{
	struct json_value root, m[ANSWER_COUNT];
	struct exec_json j;
	int status = 0;

	exec_json_init(&j, line);
	root = exec_json_root(&j);
	exec_json_members(&j, &root, "the answer", answer_members, m);
	check_number(&j, &m[ANSWER_N], number);
	answer->last = exec_json_bool(&j, &m[ANSWER_LAST], "last");
	answer->verdict = decide(&j, m, call);
	if (j.bad) {
		buf_puts(error, j.error.data);
		status = -1;
	}
	exec_json_release(&j);
	return status;
}

enum {
	GREETING_PAWL, GREETING_READY, GREETING_NAME, GREETING_VERSION, GREETING_TEXT,
	GREETING_COUNT
};
static const char *const greeting_members[] = { "pawl", "ready", "name", "version", "text", NULL };

int
exec_answer_greeting(struct slice line, struct buf *program, struct buf *error)
{
	struct json_value root, m[GREETING_COUNT];
	const char *name, *version, *text;
	struct exec_json j;
	int64_t protocol;
	int status = 0;

	exec_json_init(&j, line);
	root = exec_json_root(&j);
	exec_json_members(&j, &root, "it", greeting_members, m);
	protocol = exec_json_number(&j, &m[GREETING_PAWL], "pawl");
	name = exec_json_text(&j, &m[GREETING_NAME], "name");
	version = exec_json_text(&j, &m[GREETING_VERSION], "version");
	text = exec_json_string(&j, &m[GREETING_TEXT], "text");
	if (protocol != EXEC_PROTOCOL)
		exec_json_fail(&j, "the program speaks protocol %" PRId64 ", and this is %d",
		    protocol, EXEC_PROTOCOL);
	if (m[GREETING_READY].kind != JSON_TRUE)
		exec_json_fail(
		    &j, "it is not ready%s%s", text == NULL ? "" : ": ", text == NULL ? "" : text);
	buf_printf(program, "%s%s%s", name == NULL ? "" : name, version == NULL ? "" : " ",
	    version == NULL ? "" : version);
	if (j.bad) {
		buf_puts(error, j.error.data);
		status = -1;
	}
	exec_json_release(&j);
	return status;
}
