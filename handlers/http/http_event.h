/*
 * http_event.h - CloudEvents 1.0 over HTTP: the attributes as ce-* headers (binary mode), or all of the event as JSON (structured).
 */
#ifndef PAWL_HANDLERS_HTTP_EVENT_H
#define PAWL_HANDLERS_HTTP_EVENT_H
#include "http_request.h"

/* Adds to the request what the configured mode wants. -1: the message has failed, the call knows why. */
int	http_event_make(struct http_request *, const struct http_config *, struct pawl_call *, const struct pawl_message *);
#endif
