/*
 * http_record.c - see http_record.h.
 */
#include "http_record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const others[] = { "status", "answer", NULL };

static int
read_statement(const struct pawl_config *cfg, const char *path, struct http_record *r)
{
	const char *text = pawl_config_string(cfg, path, NULL);
	struct http_statement *s = &r->statements[r->count++];
	char error[256];

	if (text == NULL)
		return pawl_config_error(cfg, path, "is a statement, or a list of statements");
	if (sql_text_parse(text, &s->text, &r->sources, error, sizeof(error)) != 0)
		return pawl_config_error(cfg, path, "%s", error);
	s->texts = calloc(s->text.count + 1, sizeof(*s->texts));
	if (s->texts == NULL)
		return pawl_config_error(cfg, path, "out of memory");
	s->texts[0] = s->text.text;
	return pawl_config_statement(cfg, path, s->text.text);
}

int
http_record_read(const struct pawl_config *cfg, struct http_record *r)
{
	bool one = pawl_config_string(cfg, "record", NULL) != NULL;
	int count = one ? 1 : pawl_config_count(cfg, "record"), status = 0;

	r->sources.others = others;
	r->statements = calloc((size_t)count + 1, sizeof(*r->statements));
	if (r->statements == NULL)
		return pawl_config_error(cfg, "record", "out of memory");
	for (int i = 0; i < count; i++) {
		char path[32];

		(void)snprintf(path, sizeof(path), one ? "record" : "record.[%d]", i);
		status |= read_statement(cfg, path, r);
	}
	r->values = calloc(r->sources.count + 1, sizeof(*r->values));
	if (r->values == NULL)
		return pawl_config_error(cfg, "record", "out of memory");
	for (size_t i = 0; i < r->sources.count; i++)
		if (r->sources.list[i].kind == SOURCE_OTHER &&
		    strcmp(r->sources.list[i].name, "answer") == 0)
			r->takes_answer = true;
	return status;
}

void
http_record_release(struct http_record *r)
{
	for (size_t i = 0; i < r->count; i++) {
		sql_text_release(&r->statements[i].text);
		free(r->statements[i].texts);
	}
	free(r->statements);
	sql_sources_release(&r->sources);
	free(r->values);
}

void
http_record_prepare(struct http_record *r, struct pawl_call *call, const struct pawl_message *msg)
{
	for (size_t i = 0; i < r->sources.count; i++)
		r->values[i] = sql_source_value(call, msg, &r->sources.list[i]);
}

void
http_record_run(struct http_record *r, struct pawl_call *call, long status, const char *answer)
{
	const char *number = pawl_format(call, "%ld", status);

	for (size_t i = 0; i < r->sources.count; i++)
		if (r->sources.list[i].kind == SOURCE_OTHER)
			r->values[i] =
			    strcmp(r->sources.list[i].name, "status") == 0 ? number : answer;
	for (size_t i = 0; i < r->count; i++) {
		struct http_statement *s = &r->statements[i];

		for (size_t k = 0; k < s->text.count; k++)
			s->texts[k + 1] = r->values[s->text.sources[k]];
		pawl_sql(call, s->texts, s->text.count + 1);
	}
}
