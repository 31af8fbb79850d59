/*
 * http_url.h - where messages go: scheme, host and port are the configuration's alone, path and query a template's.
 */
#ifndef PAWL_HANDLERS_HTTP_URL_H
#define PAWL_HANDLERS_HTTP_URL_H
#include <stdbool.h>
#include "http_template.h"

enum { HTTP_URL_MAX = 8000, HTTP_PLACE_MAX = 300 };	/* bytes of a URL; of "host:port" */

/* text: of the configuration; gives its template, and "host:port" for people. -1: error says what is wrong. */
int	http_url_parse(const char *text, struct http_template *, char place[HTTP_PLACE_MAX], char *error, size_t error_size);
/* No segment of the path, as a careless server would see it, is "." or "..". */
bool	http_url_is_plain(const char *url);
#endif
