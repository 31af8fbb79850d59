/*
 * slot_batch.h - a batch inside a slot: its messages, what their handlers recorded, and what became
 * of them.
 *
 * All of it lives in the batch's arena or in the frame that brought the batch, and goes when the
 * RESULT is sent.
 */
#ifndef PAWL_RUNTIME_SLOT_BATCH_H
#define PAWL_RUNTIME_SLOT_BATCH_H
#include <pawl/handler.h>
#include "common/frame.h"
#include "runtime/slot_statements.h"

enum { SLOT_CODE_MAX = 64 };		/* bytes of a reason's code */

struct slot_effect {			/* one statement, in the order of recording; emits come last */
	struct slot_effect *next;
	struct slot_statement *statement;
	const char *expect_code;	/* NULL: any number of rows is good */
	int64_t expect_rows;
	enum outcome expect_outcome;
	int n;
	const char *values[];		/* NULL is SQL null */
};

struct slot_message {
	const struct frame_message *in;
	struct slice key;
	bool keyed;			/* the key is claimed together with the effects */
	bool alone;			/* its handler reads or acts outside: slot_alone.c */
	bool known;			/* its key was in the inbox: its handler is not called */
	bool pending;			/* said DONE, and is neither committed nor taken out yet */
	bool claimed;			/* in the present attempt */
	bool claimant;			/* of READS: its key was new to the present attempt */
	bool savepoint;			/* of READS: one was set before anything was sent for it */
	bool expects;			/* some effect has an expectation: looked at before the commit is sent */
	bool governs;			/* some effect changes settings of the transaction: it gets one of its own */
	bool fresh_statements;		/* uses a text that was not prepared when it was recorded */
	uint8_t flags;			/* FRAME_OUTCOME_* */
	enum outcome outcome;
	unsigned repeats;		/* local repeats because of 40001 or 55P03 in its statements */
	const char *code, *text;	/* NULL: none */
	uint32_t delay_ms, handle_us;
	struct slot_effect *effects;
	struct slot_effect *sent;	/* of READS: those that a query has sent already */
	bool replies;			/* there is an answer, for when it is done: */
	const char *reply_type;		/* its content type; NULL: none */
	struct slice reply;
};

struct slot_batch {
	uint64_t id;
	uint32_t flags;			/* FRAME_BATCH_* */
	struct slice frame;		/* where the messages are */
	struct slot_message *messages;	/* in delivery order */
	size_t count;
	uint32_t deadlocks;
	int64_t database_us;
};

/* Where a failing message ends; it is not pending any more. */
void	slot_message_fail(struct slot_message *, enum outcome, const char *code, const char *text) ATTR_NONNULL;
/* What a statement's error means for its message; text is kept in the arena. */
struct arena;
void	slot_message_fail_sql(struct slot_message *, const struct pg_error *, const char *statement, struct arena *) ATTR_NONNULL;
#endif
