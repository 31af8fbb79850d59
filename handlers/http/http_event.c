/*
 * http_event.c - see http_event.h. The bindings: CloudEvents 1.0.2, HTTP protocol binding 3.1 and
 * 3.2, JSON event format 3.
 */
#include "http_event.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

struct event {
	const char *id, *source, *type, *subject, *time, *content_type;
};

/* RFC 3339; NULL: the publisher said nothing, or nonsense. */
static const char *
time_text(struct pawl_call *call, int64_t ms)
{
	time_t seconds = (time_t)(ms / 1000);
	struct tm tm;

	if (ms <= 0 || gmtime_r(&seconds, &tm) == NULL || tm.tm_year > 9999 - 1900)
		return NULL;
	return pawl_format(call, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900,
	    tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(ms % 1000));
}

/* Of a template; NULL: empty, or the message has failed. */
static const char *
expanded(const struct http_template *t, const char *what, struct pawl_call *call,
    const struct pawl_message *msg, struct http_text *scratch)
{
	http_text_clear(scratch);
	if (http_template_expand(t, what, call, msg, scratch) != 0 || scratch->len == 0)
		return NULL;
	return pawl_format(call, "%s", scratch->data);
}

static int
fill(struct event *e, const struct http_config *c, struct pawl_call *call,
    const struct pawl_message *msg, struct http_text *scratch)
{
	*e = (struct event){
		.id = msg->id[0] != '\0' ? msg->id : msg->key, .type = msg->type,
		.time = time_text(call, msg->timestamp_ms), .content_type = msg->content_type
	};
	e->source = expanded(&c->source, "source", call, msg, scratch);
	e->subject = c->has_subject ? expanded(&c->subject, "subject", call, msg, scratch) :
	    pawl_header(call, "aggregateid");
	if (e->subject != NULL && e->subject[0] == '\0')
		e->subject = NULL;
	if (pawl_failed(call))
		return -1;
	if (e->source == NULL || e->id[0] == '\0' || e->type[0] == '\0') {
		(void)pawl_reject(call, "bad_field",
		    "the message has no %s, and every CloudEvent has one: let the publisher set it",
		    e->id[0] == '\0' ? "message_id" : e->type[0] == '\0' ? "type" : "source");
		return -1;
	}
	return 0;
}

/* 3.1.3.2: all but printable ASCII, and of that space, quote and percent, is escaped. */
static void
put_attribute(struct http_request *r, const char *name, const char *value)
{
	static const char hex[] = "0123456789ABCDEF";

	if (value == NULL)
		return;
	http_text_puts(&r->headers, name);
	http_text_puts(&r->headers, ": ");
	for (; *value != '\0'; value++) {
		unsigned char c = (unsigned char)*value;
		const char escaped[3] = { '%', hex[c >> 4], hex[c & 15] };

		if (c > 0x20 && c < 0x7f && c != '"' && c != '%')
			http_text_add(&r->headers, value, 1);
		else
			http_text_add(&r->headers, escaped, sizeof(escaped));
	}
	http_text_add(&r->headers, "", 1);
}

static void
make_binary(struct http_request *r, const struct event *e)
{
	put_attribute(r, "ce-specversion", "1.0");
	put_attribute(r, "ce-id", e->id);
	put_attribute(r, "ce-source", e->source);
	put_attribute(r, "ce-type", e->type);
	put_attribute(r, "ce-subject", e->subject);
	put_attribute(r, "ce-time", e->time);
}

/* No content type means JSON for CloudEvents, and so it does for Pawl. */
static bool
is_json(const char *content_type)
{
	size_t len = strcspn(content_type, "; \t");

	return len == 0 || (len == 16 && strncasecmp(content_type, "application/json", 16) == 0) ||
	    (len == 9 && strncasecmp(content_type, "text/json", 9) == 0) ||
	    (len > 5 && strncasecmp(content_type + len - 5, "+json", 5) == 0);
}

static void
put_member(struct http_request *r, struct pawl_call *call, const char *name, const char *value)
{
	if (value == NULL || value[0] == '\0')
		return;
	http_text_puts(&r->built, ",\"");
	http_text_puts(&r->built, name);
	http_text_puts(&r->built, "\":");
	http_text_puts(&r->built, pawl_quote(call, value));
}

static void
put_data(struct http_request *r, struct pawl_call *call, const struct pawl_message *msg)
{
	if (is_json(msg->content_type)) {
		const char *json = pawl_json(call, "");

		if (json == NULL)
			return;
		http_text_puts(&r->built, ",\"data\":");
		http_text_puts(&r->built, json);
	} else if (http_is_utf8(msg->body, msg->body_size) &&
	    memchr(msg->body, '\0', msg->body_size) == NULL) {
		http_text_puts(&r->built, ",\"data\":");
		http_text_puts(&r->built, pawl_quote(call, msg->body));
	} else {
		http_text_puts(&r->built, ",\"data_base64\":\"");
		http_text_base64(&r->built, msg->body, msg->body_size);
		http_text_puts(&r->built, "\"");
	}
}

static void
make_structured(struct http_request *r, const struct http_config *c, struct pawl_call *call,
    const struct pawl_message *msg, const struct event *e)
{
	http_text_clear(&r->built);
	http_text_puts(&r->built, "{\"specversion\":\"1.0\"");
	put_member(r, call, "id", e->id);
	put_member(r, call, "source", e->source);
	put_member(r, call, "type", e->type);
	put_member(r, call, "subject", e->subject);
	put_member(r, call, "time", e->time);
	put_member(r, call, "datacontenttype", e->content_type);
	put_data(r, call, msg);
	http_text_puts(&r->built, "}");
	r->body = http_text_string(&r->built);
	r->body_size = r->built.len;
	if (!http_config_has_header(c, "Content-Type"))
		http_request_header(
		    r, "Content-Type", "application/cloudevents+json; charset=UTF-8");
}

int
http_event_make(struct http_request *r, const struct http_config *c, struct pawl_call *call,
    const struct pawl_message *msg)
{
	struct event e;

	if (fill(&e, c, call, msg, &r->built) != 0)
		return -1;
	if (c->envelope == HTTP_CLOUDEVENTS)
		make_binary(r, &e);
	else
		make_structured(r, c, call, msg, &e);
	return pawl_failed(call) ? -1 : 0;
}
