/*
 * http_template.h - texts with parts of the message in them, for URLs and headers.
 *
 *   {/json/pointer}  {type}  {id}  {key}  {routing_key}  {header:NAME}     {?...}: nothing, if the message has none
 *   {{ and }} are the characters themselves
 *
 * In a URL a value never becomes more than a part of one path segment or of one query value: everything but letters, digits and
 * -._~ is escaped. A value that is missing ends the message (bad_field), and so does one with a control character in a header.
 */
#ifndef PAWL_HANDLERS_HTTP_TEMPLATE_H
#define PAWL_HANDLERS_HTTP_TEMPLATE_H
#include <pawl/handler.h>
#include <stdbool.h>
#include "http_text.h"

enum http_source {
	HTTP_LITERAL, HTTP_FIELD, HTTP_HEADER, HTTP_TYPE, HTTP_ID, HTTP_KEY, HTTP_ROUTING_KEY
};
enum http_place { HTTP_IN_PATH, HTTP_IN_QUERY, HTTP_IN_HEADER };
struct http_part {
	enum http_source source;
	enum http_place place;
	bool optional;
	char *text;		/* literal, pointer, name of a header; else NULL */
};
struct http_template { struct http_part *parts; size_t count; };

/* url: placeholders before a '?' are in the path, those behind it in the query. 0; -1: error says what is wrong and where. To be
 * released whatever it returns. */
int	http_template_parse(const char *text, bool url, struct http_template *, char *error, size_t error_size);
void	http_template_release(struct http_template *);
/* Appends. what: "url", "header X", for messages. -1: the message has failed, the call knows why. */
int	http_template_expand(const struct http_template *, const char *what, struct pawl_call *, const struct pawl_message *, struct http_text *out);
/* Appends, with the same value for each placeholder. */
void	http_template_example(const struct http_template *, const char *value, struct http_text *out);
#endif
