/*
 * http_text.h - a growing text, and what texts need on their way to a server or to a person.
 *
 * Without memory the text is marked as failed and stays as it is: whoever has made it asks once.
 */
#ifndef PAWL_HANDLERS_HTTP_TEXT_H
#define PAWL_HANDLERS_HTTP_TEXT_H
#include <stdbool.h>
#include <stddef.h>

struct http_text { char *data; size_t len, room; bool failed; };	/* zeroed at first; data ends in a NUL, NULL while it is empty */

void	http_text_clear(struct http_text *);
void	http_text_release(struct http_text *);
const char *http_text_string(const struct http_text *);
void	http_text_add(struct http_text *, const char *data, size_t len);
void	http_text_puts(struct http_text *, const char *text);
/* All but letters, digits and -._~ as %XX: good for any place in a URL. */
void	http_text_percent(struct http_text *, const char *text);
void	http_text_base64(struct http_text *, const void *data, size_t size);
/* At most 'most' bytes of foreign data, whole characters: what is no UTF-8 becomes '?', control characters become spaces. */
void	http_text_clean(struct http_text *, const char *data, size_t size, size_t most);

bool	http_is_utf8(const char *data, size_t size);
/* No control characters but tabs: such a text can be the value of a header. */
bool	http_is_header_value(const char *text);
/* What HTTP calls a token. */
bool	http_is_header_name(const char *text);
#endif
