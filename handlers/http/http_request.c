/*
 * http_request.c - see http_request.h.
 */
#include "http_request.h"

#include <string.h>

#include "http_event.h"

#define USER_AGENT "pawl/" PAWL_VERSION

void
http_request_header(struct http_request *r, const char *name, const char *value)
{
	http_text_puts(&r->headers, name);
	http_text_puts(&r->headers, ": ");
	http_text_add(&r->headers, value, strlen(value) + 1);
}

static int
make_url(struct http_request *r, const struct http_config *c, struct pawl_call *call,
    const struct pawl_message *msg)
{
	if (http_template_expand(&c->url, "url", call, msg, &r->url) != 0)
		return -1;
	if (r->url.len > HTTP_URL_MAX) {
		(void)pawl_reject(call, "bad_field",
		    "the url would have %zu bytes, and %d is the most: let the publisher send "
		    "less, or put it into the body", r->url.len, HTTP_URL_MAX);
		return -1;
	}
	if (!r->url.failed && !http_url_is_plain(r->url.data)) {
		(void)pawl_reject(call, "bad_field",
		    "a value of the message would make \".\" or \"..\" a part of the url's path,"
		    " which leads elsewhere: let the publisher mend it");
		return -1;
	}
	return 0;
}

/* Those of the configuration; one that comes out empty is left out. */
static int
make_configured_headers(struct http_request *r, const struct http_config *c, struct pawl_call *call,
    const struct pawl_message *msg)
{
	for (size_t i = 0; i < c->header_count; i++) {
		const struct http_header *h = &c->headers[i];
		size_t begin = r->headers.len, value;

		http_text_puts(&r->headers, h->name);
		http_text_puts(&r->headers, ": ");
		value = r->headers.len;
		if (http_template_expand(&h->value, pawl_format(call, "header %s", h->name), call,
			msg, &r->headers) != 0)
			return -1;
		if (r->headers.len == value)
			r->headers.len = begin;
		else
			http_text_add(&r->headers, "", 1);
	}
	return 0;
}

/* A header of the message's own, unless the configuration has it or there is none. */
static int
add_own(struct http_request *r, const struct http_config *c, struct pawl_call *call,
    const char *name, const char *value, const char *what)
{
	if (value[0] == '\0' || http_config_has_header(c, name))
		return 0;
	if (!http_is_header_value(value)) {
		(void)pawl_reject(call, "bad_field",
		    "the message's %s has a control character, which the header %s cannot hold: "
		    "let the publisher mend it", what, name);
		return -1;
	}
	http_request_header(r, name, value);
	return 0;
}

static int
make_own_headers(struct http_request *r, const struct http_config *c, struct pawl_call *call,
    const struct pawl_message *msg)
{
	if (c->has_body && c->envelope != HTTP_CLOUDEVENTS_STRUCTURED &&
	    add_own(r, c, call, "Content-Type", msg->content_type, "content_type") != 0)
		return -1;
	if (add_own(r, c, call, "Idempotency-Key", msg->key, "key") != 0)
		return -1;
	(void)add_own(r, c, call, "traceparent", msg->traceparent, "traceparent");
	(void)add_own(r, c, call, "User-Agent", USER_AGENT, "");
	return 0;
}

int
http_request_make(struct http_request *r, const struct http_config *c, struct pawl_call *call,
    const struct pawl_message *msg)
{
	http_text_clear(&r->url);
	http_text_clear(&r->headers);
	http_text_clear(&r->built);
	r->body = c->has_body ? msg->body : NULL;
	r->body_size = c->has_body ? msg->body_size : 0;
	if (make_url(r, c, call, msg) != 0 || make_configured_headers(r, c, call, msg) != 0 ||
	    make_own_headers(r, c, call, msg) != 0 ||
	    (c->envelope != HTTP_PLAIN && http_event_make(r, c, call, msg) != 0))
		return -1;
	if (r->url.failed || r->headers.failed || r->built.failed) {
		(void)pawl_retry(
		    call, "no_memory", "no memory for the request; see the queue's memory_limit");
		return -1;
	}
	return pawl_failed(call) ? -1 : 0;
}

void
http_request_release(struct http_request *r)
{
	http_text_release(&r->url);
	http_text_release(&r->headers);
	http_text_release(&r->built);
}
