/*
 * exec_answer.h - a program's lines, read and done: the greeting, and answers, whose effects are recorded in the call.
 */
#ifndef PAWL_HANDLERS_EXEC_ANSWER_H
#define PAWL_HANDLERS_EXEC_ANSWER_H
#include <pawl/handler.h>
#include "util/buf.h"

enum { EXEC_PROTOCOL = 1 };

/* The first line, in answer to ours. -1: error says why it will not do. program: "NAME VERSION", as far as it is said. */
int	exec_answer_greeting(struct slice line, struct buf *program, struct buf *error) ATTR_MUST_CHECK ATTR_NONNULL;
/* The answer to the number-th message: recorded, and its verdict. -1: it is none that can be followed; error says why. */
int	exec_answer(struct slice line, uint64_t number, struct pawl_call *, enum pawl_verdict *, struct buf *error) ATTR_MUST_CHECK ATTR_NONNULL;
#endif
