/*
 * slot_call.h - struct pawl_call: what a handler sees of its message, and the record of what it
 * wants done.
 *
 * Errors stick: the first one decides, later effects are ignored, and finishing turns the handler's
 * verdict into it. Texts handed to a handler and parameters taken from it share the batch's arena;
 * what points there already is not copied again.
 */
#ifndef PAWL_RUNTIME_SLOT_CALL_H
#define PAWL_RUNTIME_SLOT_CALL_H
#include "runtime/slot_batch.h"
#include "util/arena.h"
#include "util/buf.h"
#include "util/json_scan.h"

struct slot_emit;
struct slot_handler;
enum slot_body { BODY_UNCHECKED, BODY_JSON, BODY_BAD };

struct slot_call {
	struct pawl_call call;			/* first */
	struct arena *arena;
	struct slot_statements *statements;
	struct slice frame;			/* of the batch: texts in there need no copy */
	char *texts, *texts_at, *texts_end;	/* block of the arena that texts are cut from */
	struct buf scratch;
	/* Answers queries; NULL: there are none in this kind. A failure ends in slot_call_stop(). */
	const struct pawl_rows *(*ask)(void *arg, struct slot_effect *query);
	void *ask_arg;

	/* of one call */
	const struct slot_handler *handler;
	struct slot_message *message;
	struct pawl_message view;
	enum slot_body body;
	struct json_index fields;		/* of the body, with BODY_JSON */
	struct slot_effect **effects_end, *last_sql;
	struct slot_emit *emits, **emits_end, *last_emit;
	bool failed;
	enum outcome outcome;
	const char *code, *text;
	uint32_t delay_ms;
};

extern const struct pawl_host slot_host;

/* An event is recorded as this statement, with these parameters. */
extern const char slot_call_emit_sql[];
enum {
	EMIT_AGGREGATE_TYPE, EMIT_AGGREGATE_ID, EMIT_TYPE, EMIT_PAYLOAD, EMIT_HEADERS, EMIT_DELAY,
	EMIT_VALUES
};

void	slot_call_init(struct slot_call *, struct arena *, struct slot_statements *) ATTR_NONNULL;
void	slot_call_release(struct slot_call *) ATTR_NONNULL;
void	slot_call_begin_batch(struct slot_call *, struct slice frame) ATTR_NONNULL;	/* the arena was reset */
/* One message: begin, handle() with &call->call and &call->view, finish. The view is filled by
 * the caller. */
void	slot_call_begin(struct slot_call *, const struct slot_handler *, struct slot_message *) ATTR_NONNULL;
void	slot_call_finish(struct slot_call *, enum pawl_verdict) ATTR_NONNULL;
/* For ask(). stop: the handler gets nothing more, and this is what its message ends in. sent: what was recorded so far is done;
 * message->effects begins anew. */
void	slot_call_stop(struct slot_call *, enum outcome, const char *code, const char *text);
void	slot_call_sent(struct slot_call *) ATTR_NONNULL;

/* The members of struct pawl_host that take a call. */
const char *slot_call_field(struct pawl_call *, const char *pointer, int required);
const char *slot_call_json(struct pawl_call *, const char *pointer);
const char *slot_call_header(struct pawl_call *, const char *name);
const char *slot_call_header_at(struct pawl_call *, size_t index, const char **value);
const void *slot_call_header_bytes(struct pawl_call *, size_t index, size_t *size);
const char *slot_call_body(struct pawl_call *);
void	slot_call_sql(struct pawl_call *, const char *const *text_and_params, size_t n);
void	slot_call_expect(struct pawl_call *, int64_t rows, enum pawl_verdict, const char *code);
const struct pawl_rows *slot_call_query(struct pawl_call *, const char *const *text_and_params, size_t n);
void	slot_call_emit(struct pawl_call *, const char *aggregatetype, const char *aggregateid, const char *type, const char *payload);
void	slot_call_emit_header(struct pawl_call *, const char *name, const char *value);
void	slot_call_emit_delay(struct pawl_call *, int64_t ms);
void	slot_call_reply(struct pawl_call *, const char *content_type, const void *body, size_t size);
enum pawl_verdict slot_call_fail(struct pawl_call *, enum pawl_verdict, const char *code, const char *fmt, ...) ATTR_PRINTF(4, 5);
void	slot_call_again_after(struct pawl_call *, int64_t ms);
int	slot_call_failed(struct pawl_call *);
const char *slot_call_format(struct pawl_call *, const char *fmt, ...) ATTR_PRINTF(2, 3);
const char *slot_call_quote(struct pawl_call *, const char *text);
const char *slot_call_bytes(struct pawl_call *, const void *data, size_t size);
void	slot_call_log(struct pawl_call *, enum pawl_level, const char *fmt, ...) ATTR_PRINTF(3, 4);
#endif
