/*
 * slot_ask.h - a handler that may ask the database (PAWL_READS, PAWL_EXTERNAL): its call, what a query
 * gives, and how it stops.
 *
 * For slot_reads.c and slot_alone.c, which say where queries run and what their failures mean.
 */
#ifndef PAWL_RUNTIME_SLOT_ASK_H
#define PAWL_RUNTIME_SLOT_ASK_H
#include "runtime/slot.h"
#include "runtime/slot_attempt.h"

struct slot_ask {
	struct slot *slot;
	struct slot_batch *batch;
	struct slot_message *message;	/* whose handler runs */
	struct slot_failure failure;
	bool failed;			/* a query failed, and not for the message's sake alone: see failure */
};

/* The handler; m->pending: it said DONE. arg: for answer, which begins with slot_work_check(). */
void	slot_ask_call(struct slot_ask *, const struct pawl_rows *(*answer)(void *arg, struct slot_effect *query), void *arg) ATTR_NONNULL;
/* What answer returns when the handler gets nothing more. stop: 'failed' is set. stop_message: its message ends as it says. */
const struct pawl_rows *slot_ask_stop(struct slot_ask *) ATTR_NONNULL;
const struct pawl_rows *slot_ask_stop_message(struct slot_ask *) ATTR_NONNULL;
/* In the memory of the call. */
const struct pawl_rows *slot_ask_copy_rows(struct slot_ask *, const struct pg_result *) ATTR_NONNULL;
/* Prepares what the message recorded, and the query behind it if there is one. 0: all of it can be used, or the message is not
 * pending any more. -1: the environment failed, see failure. */
int	slot_ask_prepare(struct slot_ask *, struct slot_effect *query) ATTR_MUST_CHECK;
#endif
