/*
 * sql.c - the handler "sql": configured statements, with parameters from the message. Manual:
 * pawl-sql(7).
 *
 *   statement = "update t set name = :/name where id = :/id";  expect = 1;  code = "no_row";
 *   statement = "select name, total from orders where id = :/id";  reply = true;
 *   statements = ( "insert ...", { statement = "update ...";  expect = 1;  code = "no_row";  otherwise = "reject"; } );
 */
#include <pawl/handler.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sql_text.h"

struct statement {
	struct sql_text text;
	const char **texts;		/* for the host: the text, then the parameters of this message */
	int64_t expect;			/* -1: any number of rows */
	enum pawl_verdict otherwise;
	const char *code;
};
struct sql {
	struct statement *statements;
	size_t count;
	bool reply;			/* the last statement's row is the answer */
	struct sql_sources sources;
	const char **values;		/* of this message, one for each source */
};

static void
stop(void *self)
{
	struct sql *sql = self;

	for (size_t i = 0; i < sql->count; i++) {
		sql_text_release(&sql->statements[i].text);
		free(sql->statements[i].texts);
	}
	free(sql->statements);
	sql_sources_release(&sql->sources);
	free(sql->values);
	free(sql);
}

/* "prefix" + "name", where a statement's settings are. */
static const char *
path_of(char *path, size_t size, const char *prefix, const char *name)
{
	(void)snprintf(path, size, "%s%s", prefix, name);
	return path;
}

static int
read_expectation(const struct pawl_config *cfg, const char *prefix, struct statement *s)
{
	char path[128];
	const char *otherwise;

	s->expect = pawl_config_int(cfg, path_of(path, sizeof(path), prefix, "expect"), -1);
	if (s->expect < -1 || (s->expect == -1 && pawl_config_string(cfg, path, NULL) != NULL))
		return pawl_config_error(cfg, path, "is a number of rows, 0 or more");
	s->code = pawl_config_string(cfg, path_of(path, sizeof(path), prefix, "code"), NULL);
	if (s->code != NULL && s->expect == -1)
		return pawl_config_error(cfg, path, "is for a statement with expect");
	if (s->code == NULL)
		s->code = "unexpected_rows";
	otherwise = pawl_config_string(cfg, path_of(path, sizeof(path), prefix, "otherwise"), NULL);
	if (otherwise != NULL && s->expect == -1)
		return pawl_config_error(cfg, path, "is for a statement with expect");
	if (otherwise == NULL || strcmp(otherwise, "retry") == 0)
		s->otherwise = PAWL_RETRY;
	else if (strcmp(otherwise, "reject") == 0)
		s->otherwise = PAWL_REJECT;
	else
		return pawl_config_error(cfg, path, "is \"retry\" or \"reject\"");
	return 0;
}

/* The server makes JSON of the row: it knows which columns are numbers. */
static int
give_row_as_json(struct sql_text *text)
{
	static const char format[] =
	    "with pawl_row as (%s\n) select row_to_json(pawl_row)::text from pawl_row";
	size_t size = sizeof(format) + strlen(text->text);
	char *wrapped = malloc(size);

	if (wrapped == NULL)
		return -1;
	(void)snprintf(wrapped, size, format, text->text);
	free(text->text);
	text->text = wrapped;
	return 0;
}

/* path: of the text; prefix: of the settings beside it, NULL if there can be none. */
static int
read_statement(const struct pawl_config *cfg, const char *path, const char *prefix,
    const char *text, bool last, struct sql *sql)
{
	struct statement *s = &sql->statements[sql->count++];
	char error[256];

	s->expect = -1;
	if (sql_text_parse(text, &s->text, &sql->sources, error, sizeof(error)) != 0)
		return pawl_config_error(cfg, path, "%s", error);
	s->texts = calloc(s->text.count + 1, sizeof(*s->texts));
	if (s->texts == NULL || (sql->reply && last && give_row_as_json(&s->text) != 0))
		return pawl_config_error(cfg, path, "out of memory");
	s->texts[0] = s->text.text;
	if (pawl_config_statement(cfg, path, s->text.text) != 0)
		return -1;
	return prefix == NULL ? 0 : read_expectation(cfg, prefix, s);
}

static int
read_list(const struct pawl_config *cfg, int count, struct sql *sql)
{
	int status = 0;

	for (int i = 0; i < count; i++) {
		char item[64], prefix[72], path[96];
		const char *text;

		(void)snprintf(item, sizeof(item), "statements.[%d]", i);
		(void)snprintf(prefix, sizeof(prefix), "%s.", item);
		text = pawl_config_string(cfg, item, NULL);
		if (text != NULL) {
			status |= read_statement(cfg, item, NULL, text, i + 1 == count, sql);
			continue;
		}
		text =
		    pawl_config_string(cfg, path_of(path, sizeof(path), prefix, "statement"), NULL);
		if (text == NULL)
			status |= pawl_config_error(
			    cfg, item, "is a text, or a group with statement = \"...\"");
		else
			status |= read_statement(
			    cfg, path, prefix, text, i + 1 == count, sql);
	}
	return status;
}

static int
read_reply(const struct pawl_config *cfg, struct sql *sql)
{
	const char *reply = pawl_config_string(cfg, "reply", "false");

	if (strcmp(reply, "true") != 0 && strcmp(reply, "false") != 0)
		return pawl_config_error(cfg, "reply", "is true or false");
	sql->reply = strcmp(reply, "true") == 0;
	return sql->reply ? pawl_config_kind(cfg, PAWL_READS) : 0;
}

static int
start(const struct pawl_config *cfg, void **self)
{
	const char *text = pawl_config_string(cfg, "statement", NULL);
	int count = pawl_config_count(cfg, "statements");
	struct sql *sql = calloc(1, sizeof(*sql));
	int status;

	if (sql == NULL ||
	    (sql->statements = calloc((size_t)count + 1, sizeof(*sql->statements))) == NULL) {
		free(sql);
		return pawl_config_error(cfg, NULL, "out of memory");
	}
	status = read_reply(cfg, sql);
	if (status != 0)
		;			/* told */
	else if (text != NULL && count > 0)
		status = pawl_config_error(cfg, "statement",
		    "is there beside statements: put all into statements = ( ... )");
	else if (text != NULL)
		status = read_statement(cfg, "statement", "", text, true, sql);
	else if (count > 0)
		status = read_list(cfg, count, sql);
	else
		status = pawl_config_error(
		    cfg, NULL, "has no statement: write config: { statement = \"...\"; }");
	sql->values = calloc(sql->sources.count + 1, sizeof(*sql->values));
	if (status != 0 || sql->values == NULL) {
		stop(sql);
		return -1;
	}
	*self = sql;
	return 0;
}

/* The last statement, whose row is the answer. */
static enum pawl_verdict
answer(struct pawl_call *call, const struct statement *s)
{
	const struct pawl_rows *rows = pawl_query(call, s->texts, s->text.count + 1);
	const char *row = "null";

	if (rows == NULL)
		return PAWL_RETRY;	/* the error's own verdict replaces it */
	if (s->expect >= 0 && rows->rows != s->expect) {
		if (s->otherwise == PAWL_REJECT)
			return pawl_reject(call, s->code, "it gave %d rows", rows->rows);
		return pawl_retry(call, s->code, "it gave %d rows", rows->rows);
	}
	if (rows->rows > 1)
		return pawl_reject(call, "reply_rows", "the statement gave %d rows, and one is the answer: "
		    "aggregate them (json_agg) or add limit 1", rows->rows);
	if (rows->rows == 1)
		row = pawl_value(rows, 0, 0);
	pawl_reply(call, "application/json", row, strlen(row));
	return PAWL_DONE;
}

static enum pawl_verdict
handle(void *self, struct pawl_call *call, const struct pawl_message *msg)
{
	struct sql *sql = self;

	for (size_t i = 0; i < sql->sources.count; i++)
		sql->values[i] = sql_source_value(call, msg, &sql->sources.list[i]);
	for (size_t i = 0; i < sql->count; i++) {
		struct statement *s = &sql->statements[i];

		for (size_t k = 0; k < s->text.count; k++)
			s->texts[k + 1] = sql->values[s->text.sources[k]];
		if (sql->reply && i + 1 == sql->count)
			return answer(call, s);
		call->host->sql(call, s->texts, s->text.count + 1);
		if (s->expect >= 0)
			pawl_expect(call, s->expect, s->otherwise, s->code);
	}
	return PAWL_DONE;
}

PAWL_HANDLER(.name = "sql", .version = "1.0", .start = start, .handle = handle, .stop = stop);
