/*
 * exec_answer.h - a program's lines, read and done: the greeting, and answers, whose effects are recorded in the call.
 */
#ifndef PAWL_HANDLERS_EXEC_ANSWER_H
#define PAWL_HANDLERS_EXEC_ANSWER_H
#include <pawl/handler.h>
#include <stdbool.h>
#include "util/buf.h"

enum { EXEC_PROTOCOL = 1 };

/* The first line, in answer to ours. -1: error says why it will not do. program: "NAME VERSION", as far as it is said. */
int	exec_answer_greeting(struct slice line, struct buf *program, struct buf *error) ATTR_MUST_CHECK ATTR_NONNULL;

struct exec_answer {
	enum pawl_verdict verdict;
	bool last;			/* the program is about to end */
};
/* The answer to the number-th message; its effects are recorded in the call. -1: it cannot be followed; error says why. */
int	exec_answer_read(struct slice line, uint64_t number, struct pawl_call *, struct exec_answer *, struct buf *error) ATTR_MUST_CHECK ATTR_NONNULL;
#endif
