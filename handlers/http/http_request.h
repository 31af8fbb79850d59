/*
 * http_request.h - a message as a request: URL, headers, body.
 */
#ifndef PAWL_HANDLERS_HTTP_REQUEST_H
#define PAWL_HANDLERS_HTTP_REQUEST_H
#include "http_config.h"

struct http_request {		/* zeroed at first; its memory is used again for the next message */
	struct http_text url;
	struct http_text headers;	/* "Name: value", each ended by a NUL; the secret ones are not among them */
	struct http_text built;		/* a body that is not the message's */
	const void *body;
	size_t body_size;
};

/* -1: the message has failed, the call knows why. */
int	http_request_make(struct http_request *, const struct http_config *, struct pawl_call *, const struct pawl_message *);
void	http_request_release(struct http_request *);
void	http_request_header(struct http_request *, const char *name, const char *value);
#endif
