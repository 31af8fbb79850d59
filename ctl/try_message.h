/*
 * try_message.h - a message that pawlctl try gives to a handler: from the command line, or from a line of JSON.
 */
#ifndef PAWL_CTL_TRY_MESSAGE_H
#define PAWL_CTL_TRY_MESSAGE_H
#include "util/arena.h"
#include "util/attr.h"
#include "util/buf.h"
#include "util/slice.h"

enum try_text {
	TRY_ID, TRY_TYPE, TRY_CONTENT_TYPE, TRY_CORRELATION_ID, TRY_REPLY_TO, TRY_EXCHANGE, TRY_ROUTING_KEY,
	TRY_TEXTS
};
struct try_header { const char *name, *value; };
struct try_message {
	const char *text[TRY_TEXTS];		/* NULL: it has none */
	int64_t timestamp_ms;			/* 0: none */
	const struct try_header *headers;
	size_t header_count;
	struct slice body;
};

/* A JSON object with any of id, type, content_type, correlation_id, reply_to, exchange, routing_key (strings), timestamp_ms (a number), headers (an
 * object) and body: a string's text, or any other value as it is written. What is not there, or null, stays. -1: error says why. */
int	try_message_parse(struct slice line, struct try_message *, struct arena *, char *error, size_t error_size) ATTR_MUST_CHECK ATTR_NONNULL;
/* As struct frame_message, in an empty buf. */
void	try_message_put(struct buf *, const struct try_message *, unsigned handler) ATTR_NONNULL;
#endif
