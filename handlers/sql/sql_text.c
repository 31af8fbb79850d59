/*
 * sql_text.c - see sql_text.h. The scanner follows the server's (scan.l) as far as it has to: what
 * can hide a colon.
 */
#include "sql_text.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct parser {
	const char *start, *at;
	struct sql_text *out;
	struct sql_sources *sources;
	size_t len, room;	/* of out->text */
	char *error;
	size_t error_size;
	bool failed;
};

static void __attribute__((format(printf, 2, 3)))
fail(struct parser *p, const char *fmt, ...)
{
	va_list ap;

	if (p->failed)
		return;
	p->failed = true;
	va_start(ap, fmt);
	(void)vsnprintf(p->error, p->error_size, fmt, ap);
	va_end(ap);
}

static size_t
position(const struct parser *p, const char *at)
{
	return (size_t)(at - p->start) + 1;
}

static void
put(struct parser *p, const char *text, size_t len)
{
	if (len >= p->room - p->len) {
		size_t room = 2 * p->room + len + 64;
		char *larger = realloc(p->out->text, room);

		if (larger == NULL) {
			fail(p, "out of memory");
			return;
		}
		p->out->text = larger;
		p->room = room;
	}
	memcpy(p->out->text + p->len, text, len);
	p->len += len;
	p->out->text[p->len] = '\0';
}

/* Copies what is between the present place and 'end', and goes there. */
static void
copy_to(struct parser *p, const char *end)
{
	put(p, p->at, (size_t)(end - p->at));
	p->at = end;
}

static bool
is_name_char(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '$' || (c & 0x80) != 0;
}

/* ---- what can hide a colon */

static void
copy_quoted(struct parser *p, char quote, bool backslashes)
{
	const char *end = p->at + 1;

	for (;;) {
		if (*end == '\0') {
			fail(p, "the %s at character %zu does not end",
			    quote == '"' ? "quoted name" : "literal", position(p, p->at));
			return;
		}
		if (backslashes && end[0] == '\\' && end[1] != '\0') {
			end += 2;
		} else if (*end != quote) {
			end++;
		} else if (end[1] == quote) {
			end += 2;
		} else {
			break;
		}
	}
	copy_to(p, end + 1);
}

static void
copy_block_comment(struct parser *p)
{
	const char *end = p->at + 2;
	unsigned depth = 1;

	while (depth > 0) {
		if (*end == '\0') {
			fail(p, "the comment at character %zu does not end", position(p, p->at));
			return;
		}
		if (end[0] == '/' && end[1] == '*') {
			depth++;
			end += 2;
		} else if (end[0] == '*' && end[1] == '/') {
			depth--;
			end += 2;
		} else {
			end++;
		}
	}
	copy_to(p, end);
}

/* $tag$ ... $tag$; a parameter of the user's own is an error. */
static void
copy_dollar(struct parser *p)
{
	const char *tag_end = p->at + 1, *end;
	size_t tag_len;

	if (isdigit((unsigned char)*tag_end)) {
		fail(p,
		    "parameter at character %zu: write :/pointer, :type and so on instead",
		    position(p, p->at));
		return;
	}
	while (is_name_char(*tag_end) && *tag_end != '$')
		tag_end++;
	if (*tag_end != '$') {
		copy_to(p, p->at + 1);
		return;
	}
	tag_len = (size_t)(tag_end - p->at) + 1;
	for (end = tag_end + 1; strncmp(end, p->at, tag_len) != 0; end++) {
		if (*end == '\0') {
			fail(p, "the dollar quote at character %zu does not end",
			    position(p, p->at));
			return;
		}
	}
	copy_to(p, end + tag_len);
}

/* Names and numbers; a name can make the literal behind it one with backslashes: E'...'. */
static void
copy_word(struct parser *p)
{
	const char *end = p->at;
	bool escapes = (end[0] == 'e' || end[0] == 'E') && end[1] == '\'';

	while (is_name_char(*end))
		end++;
	copy_to(p, end);
	if (escapes)
		copy_quoted(p, '\'', true);
}

/* ---- placeholders */

/* Characters of a pointer that needs no quotes. ~ only in ~0 and ~1, as it is an operator as
 * well. */
static size_t
pointer_length(const char *at)
{
	size_t len = 0;

	while (isalnum((unsigned char)at[len]) ||
	    (at[len] != '\0' && strchr("/_-.$", at[len]) != NULL) || (at[len] & 0x80) != 0 ||
	    (at[len] == '~' && (at[len + 1] == '0' || at[len + 1] == '1')))
		len++;
	return len;
}

static size_t
header_length(const char *at)
{
	size_t len = 0;

	while (isalnum((unsigned char)at[len]) ||
	    (at[len] != '\0' && strchr("_-.", at[len]) != NULL) || (at[len] & 0x80) != 0)
		len++;
	return len;
}

/* The name at the present place, with or without quotes, as a text of its own. NULL: none. */
static char *
take_name(struct parser *p, size_t (*length)(const char *))
{
	char *name, *out;
	size_t len;

	if (*p->at != '"') {
		len = length(p->at);
		name = strndup(p->at, len);
		p->at += len;
		return name;
	}
	name = out = malloc(strlen(p->at) + 1);
	for (p->at++; name != NULL && *p->at != '\0'; p->at++) {
		if (*p->at == '"' && *++p->at != '"') {
			*out = '\0';
			return name;
		}
		*out++ = *p->at;
	}
	free(name);
	return NULL;
}

/* Index of the source, which takes the name. */
static size_t
source_index(struct parser *p, enum sql_source_kind kind, char *name)
{
	struct sql_sources *s = p->sources;
	struct sql_source *larger;

	for (size_t i = 0; i < s->count; i++) {
		if (s->list[i].kind == kind &&
		    (name == NULL || strcmp(s->list[i].name, name) == 0)) {
			free(name);
			return i;
		}
	}
	larger = realloc(s->list, (s->count + 1) * sizeof(*s->list));
	if (larger == NULL) {
		free(name);
		fail(p, "out of memory");
		return 0;
	}
	s->list = larger;
	s->list[s->count] = (struct sql_source){ kind, name };
	return s->count++;
}

/* Each placeholder gets a parameter of its own: the server derives the type from where it
 * stands. */
static void
add_parameter(struct parser *p, enum sql_source_kind kind, char *name)
{
	size_t *larger = realloc(p->out->sources, (p->out->count + 1) * sizeof(*larger));
	char number[32];

	if (larger == NULL) {
		free(name);
		fail(p, "out of memory");
		return;
	}
	p->out->sources = larger;
	larger[p->out->count++] = source_index(p, kind, name);
	put(p, number, (size_t)snprintf(number, sizeof(number), "$%zu", p->out->count));
	if (is_name_char(*p->at))	/* "$1" and a name must not run together */
		put(p, " ", 1);
}

static void
field_placeholder(struct parser *p, const char *colon)
{
	bool optional = *p->at == '?';
	char *name;

	if (optional)
		p->at++;
	name = take_name(p, pointer_length);
	if (name == NULL || name[0] != '/') {
		fail(p,
		    "placeholder at character %zu: a pointer begins with /, a quote has to end",
		    position(p, colon));
		free(name);
		return;
	}
	add_parameter(p, optional ? SOURCE_FIELD_IF : SOURCE_FIELD, name);
}

static void
named_placeholder(struct parser *p, const char *colon)
{
	static const struct { const char *name; enum sql_source_kind kind; } known[] = {
		{ "type", SOURCE_TYPE }, { "id", SOURCE_ID },
		{ "key", SOURCE_KEY }, { "body", SOURCE_BODY },
	};
	size_t len = header_length(p->at);

	if (len == 6 && strncmp(p->at, "header:", 7) == 0) {
		char *name;

		p->at += 7;
		name = take_name(p, header_length);
		if (name == NULL || name[0] == '\0') {
			fail(p,
			    "placeholder at character %zu: it names no header: write :header:NAME",
			    position(p, colon));
			free(name);
			return;
		}
		add_parameter(p, SOURCE_HEADER, name);
		return;
	}
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (strlen(known[i].name) == len && strncmp(p->at, known[i].name, len) == 0) {
			p->at += len;
			add_parameter(p, known[i].kind, NULL);
			return;
		}
	}
	for (const char *const *other = p->sources->others; other != NULL && *other != NULL; other++) {
		if (strlen(*other) == len && strncmp(p->at, *other, len) == 0) {
			p->at += len;
			add_parameter(p, SOURCE_OTHER, strdup(*other));
			return;
		}
	}
	fail(p,
	    "unknown placeholder :%.*s at character %zu: there are :/pointer, :?/pointer, :type,"
	    " :id, :key, :body and :header:NAME (in an array slice, put a space behind the colon)",
	    (int)len, p->at, position(p, colon));
}

static void
colon(struct parser *p)
{
	const char *at = p->at;

	if (at[1] == ':' || at[1] == '=') {
		copy_to(p, at + 2);
	} else if (at[1] == '/' || at[1] == '"' ||
	    (at[1] == '?' && (at[2] == '/' || at[2] == '"'))) {
		p->at++;
		field_placeholder(p, at);
	} else if (isalpha((unsigned char)at[1]) || at[1] == '_') {
		p->at++;
		named_placeholder(p, at);
	} else {
		copy_to(p, at + 1);
	}
}

int
sql_text_parse(const char *statement, struct sql_text *out, struct sql_sources *sources,
    char *error, size_t error_size)
{
	struct parser p = {
		.start = statement, .at = statement, .out = out, .sources = sources,
		.error = error, .error_size = error_size
	};

	*out = (struct sql_text){ NULL, NULL, 0 };
	put(&p, "", 0);
	while (!p.failed && *p.at != '\0') {
		const char *at = p.at;

		if (*at == '\'' || *at == '"')
			copy_quoted(&p, *at, false);
		else if (at[0] == '-' && at[1] == '-')
			copy_to(&p, at + strcspn(at, "\n\r"));
		else if (at[0] == '/' && at[1] == '*')
			copy_block_comment(&p);
		else if (*at == '$')
			copy_dollar(&p);
		else if (is_name_char(*at))
			copy_word(&p);
		else if (*at == ':')
			colon(&p);
		else
			copy_to(&p, at + 1);
	}
	return p.failed ? -1 : 0;
}

void
sql_text_release(struct sql_text *t)
{
	free(t->text);
	free(t->sources);
	*t = (struct sql_text){ NULL, NULL, 0 };
}

void
sql_sources_release(struct sql_sources *s)
{
	for (size_t i = 0; i < s->count; i++)
		free(s->list[i].name);
	free(s->list);
	*s = (struct sql_sources){ NULL, 0, NULL };
}

static const char *
text_or_null(const char *text)
{
	return text[0] == '\0' ? NULL : text;
}

const char *
sql_source_value(struct pawl_call *call, const struct pawl_message *msg,
    const struct sql_source *source)
{
	switch (source->kind) {
	case SOURCE_FIELD: return pawl_field(call, source->name);
	case SOURCE_FIELD_IF: return pawl_field_if(call, source->name);
	case SOURCE_HEADER: return pawl_header(call, source->name);
	case SOURCE_TYPE: return text_or_null(msg->type);
	case SOURCE_ID: return text_or_null(msg->id);
	case SOURCE_KEY: return text_or_null(msg->key);
	case SOURCE_BODY: return pawl_body(call);
	case SOURCE_OTHER: break;
	}
	return NULL;
}
