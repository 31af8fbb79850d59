/*
 * http_template.c - see http_template.h.
 */
#include "http_template.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int
add_part(struct http_template *t, enum http_source source, enum http_place place, bool optional,
    const char *text, size_t len)
{
	struct http_part *larger = realloc(t->parts, (t->count + 1) * sizeof(*larger));
	char *copy = NULL;

	if (larger == NULL)
		return -1;
	t->parts = larger;
	if (text != NULL) {
		copy = strndup(text, len);
		if (copy == NULL)
			return -1;
	}
	larger[t->count++] = (struct http_part){ source, place, optional, copy };
	return 0;
}

/* A literal runs to a single brace; doubled ones become one. */
static int
add_literal(struct http_template *t, const char **at, enum http_place place)
{
	struct http_text run = { 0 };
	int status = 0;

	while (**at != '\0' && ((**at != '{' && **at != '}') || (*at)[1] == **at)) {
		http_text_add(&run, *at, 1);
		*at += **at == '{' || **at == '}' ? 2 : 1;
	}
	if (run.len > 0)
		status = add_part(t, HTTP_LITERAL, place, false, run.data, run.len);
	if (run.failed)
		status = -1;
	http_text_release(&run);
	return status;
}

/* What RFC 6901 allows, so that a mistake is told at the start and not with each message. */
static bool
is_pointer(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (text[i] == '~' && (i + 1 == len || (text[i + 1] != '0' && text[i + 1] != '1')))
			return false;
	return len > 0 && text[0] == '/';
}

static int
add_placeholder(struct http_template *t, const char *name, size_t len, enum http_place place)
{
	static const struct { const char *name; enum http_source source; } known[] = {
		{ "type", HTTP_TYPE }, { "id", HTTP_ID },
		{ "key", HTTP_KEY }, { "routing_key", HTTP_ROUTING_KEY },
	};
	bool optional = len > 0 && *name == '?';

	if (optional) {
		name++;
		len--;
	}
	if (is_pointer(name, len))
		return add_part(t, HTTP_FIELD, place, optional, name, len);
	if (len > 7 && strncmp(name, "header:", 7) == 0)
		return add_part(t, HTTP_HEADER, place, optional, name + 7, len - 7);
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strlen(known[i].name) == len && strncmp(known[i].name, name, len) == 0)
			return add_part(t, known[i].source, place, optional, NULL, 0);
	return 1;
}

int
http_template_parse(
    const char *text, bool url, struct http_template *t, char *error, size_t error_size)
{
	const char *at = text;
	enum http_place place = url ? HTTP_IN_PATH : HTTP_IN_HEADER;

	*t = (struct http_template){ NULL, 0 };
	while (*at != '\0') {
		const char *begin = at, *end;
		int status = add_literal(t, &at, place);

		if (status == 0 && url && memchr(begin, '?', (size_t)(at - begin)) != NULL)
			place = HTTP_IN_QUERY;
		if (status == 0 && *at == '\0')
			break;
		end = strchr(at, '}');
		if (status == 0 && (*at == '}' || end == NULL)) {
			(void)snprintf(error, error_size,
			    "a single '%c' at character %zu; write '%c%c' for the character itself",
			    *at, (size_t)(at - text) + 1, *at, *at);
			return -1;
		}
		if (status == 0)
			status = add_placeholder(t, at + 1, (size_t)(end - at) - 1, place);
		if (status > 0) {
			(void)snprintf(error, error_size,
			    "unknown placeholder %.*s at character %zu: there are {/pointer},"
			    " {type}, {id}, {key}, {routing_key} and {header:NAME}, and {?...} for"
			    " what may be missing",
			    (int)(end - at) + 1, at, (size_t)(at - text) + 1);
			return -1;
		}
		if (status < 0) {
			(void)snprintf(error, error_size, "out of memory");
			return -1;
		}
		at = end + 1;
	}
	return 0;
}

void
http_template_release(struct http_template *t)
{
	for (size_t i = 0; i < t->count; i++)
		free(t->parts[i].text);
	free(t->parts);
	*t = (struct http_template){ NULL, 0 };
}

static const char *
text_or_null(const char *text)
{
	return text[0] == '\0' ? NULL : text;
}

static const char *
value_of(const struct http_part *p, struct pawl_call *call, const struct pawl_message *msg)
{
	switch (p->source) {
	case HTTP_LITERAL: return p->text;
	case HTTP_FIELD:
		return p->optional ? pawl_field_if(call, p->text) : pawl_field(call, p->text);
	case HTTP_HEADER: return pawl_header(call, p->text);
	case HTTP_TYPE: return text_or_null(msg->type);
	case HTTP_ID: return text_or_null(msg->id);
	case HTTP_KEY: return text_or_null(msg->key);
	case HTTP_ROUTING_KEY: return text_or_null(msg->routing_key);
	}
	return NULL;
}

static const char *
name_of(const struct http_part *p, struct pawl_call *call)
{
	switch (p->source) {
	case HTTP_LITERAL: break;
	case HTTP_FIELD: return p->text;
	case HTTP_HEADER: return pawl_format(call, "header \"%s\"", p->text);
	case HTTP_TYPE: return "the type";
	case HTTP_ID: return "the message_id";
	case HTTP_KEY: return "the key";
	case HTTP_ROUTING_KEY: return "the routing key";
	}
	return "";
}

static int
expand_part(const struct http_part *p, const char *what, struct pawl_call *call,
    const struct pawl_message *msg, struct http_text *out)
{
	const char *value = value_of(p, call, msg);

	if (pawl_failed(call))
		return -1;
	/* An empty segment is another address: a missing number must not become DELETE /orders/. */
	if (!p->optional && (value == NULL || (p->place == HTTP_IN_PATH && value[0] == '\0'))) {
		(void)pawl_reject(call, "bad_field", "%s is %s, and the %s needs it: let the "
		    "publisher send it, or the %s have {?...} there", name_of(p, call), value == NULL ? "missing" : "empty", what, what);
		return -1;
	}
	if (value == NULL)
		return 0;
	if (p->source == HTTP_LITERAL || p->place == HTTP_IN_HEADER)
		http_text_puts(out, value);
	else
		http_text_percent(out, value);
	if (p->place == HTTP_IN_HEADER && !http_is_header_value(value)) {
		(void)pawl_reject(call, "bad_field",
		    "%s has a control character, which the %s cannot hold: "
		    "let the publisher mend it", name_of(p, call), what);
		return -1;
	}
	return 0;
}

int
http_template_expand(const struct http_template *t, const char *what, struct pawl_call *call,
    const struct pawl_message *msg, struct http_text *out)
{
	for (size_t i = 0; i < t->count; i++)
		if (expand_part(&t->parts[i], what, call, msg, out) != 0)
			return -1;
	return 0;
}

void
http_template_example(const struct http_template *t, const char *value, struct http_text *out)
{
	for (size_t i = 0; i < t->count; i++)
		http_text_puts(
		    out, t->parts[i].source == HTTP_LITERAL ? t->parts[i].text : value);
}
