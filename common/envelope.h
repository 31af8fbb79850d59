/*
 * envelope.h - what Pawl knows of a message besides its body: keys, and the headers that travel with copies and dead letters.
 */
#ifndef PAWL_COMMON_ENVELOPE_H
#define PAWL_COMMON_ENVELOPE_H
#include "common/frame.h"
#include "util/arena.h"
#include "util/slice.h"

#define ENVELOPE_AGGREGATE_TYPE	"aggregatetype"
#define ENVELOPE_AGGREGATE_ID	"aggregateid"
#define ENVELOPE_TRACEPARENT	"traceparent"
#define ENVELOPE_PREFIX		"x-pawl-"		/* ours; stripped from what others publish */
#define ENVELOPE_REASON		"x-pawl-reason"		/* code: bad_body, no_key, crashed ... */
#define ENVELOPE_TEXT		"x-pawl-text"
#define ENVELOPE_QUEUE		"x-pawl-queue"
#define ENVELOPE_HANDLER	"x-pawl-handler"	/* name and version */
#define ENVELOPE_HOST		"x-pawl-host"
#define ENVELOPE_ATTEMPT	"x-pawl-attempt"
#define ENVELOPE_CRASHES	"x-pawl-crashes"
#define ENVELOPE_FIRST		"x-pawl-first"		/* when it failed first, and last: Unix ms */
#define ENVELOPE_LAST		"x-pawl-last"
#define ENVELOPE_EXCHANGE	"x-pawl-exchange"	/* where it was first published */
#define ENVELOPE_ROUTING_KEY	"x-pawl-routing-key"

enum { ENVELOPE_KEY_MAX = 200 };

/* Where a key, an aggregate or a type comes from. */
enum envelope_source { SOURCE_MESSAGE_ID, SOURCE_TYPE, SOURCE_ROUTING_KEY, SOURCE_HEADER, SOURCE_JSON };
struct envelope_spec { enum envelope_source source; const char *name; };	/* header name or JSON pointer, points into the text */
/* "message_id", "type", "routing_key", "header:NAME", "json:/pointer". -1: none of these. */
int	envelope_spec_parse(const char *text, struct envelope_spec *) ATTR_MUST_CHECK;

enum envelope_key_status { ENVELOPE_KEY_OK, ENVELOPE_KEY_NONE, ENVELOPE_KEY_BAD_BODY };
/* The idempotency key: NUL-terminated in the arena; over 200 bytes, not UTF-8 or with NUL: "sha256:<hex>". BAD_BODY: error says what and where. */
enum envelope_key_status envelope_key(const struct frame_message *, const struct envelope_spec *, struct arena *, struct slice *key, const char **error);
/* W3C traceparent: a child context of the given one in the arena ("" makes a new trace). */
const char *envelope_child_trace(struct slice traceparent, struct arena *);
const char *envelope_dry_trace(struct slice traceparent, struct arena *);	/* the same each time */
#endif
