/*
 * exec_message.h - a message as programs get it: one JSON line, or environment variables. pawl-exec(7) says what is in there.
 */
#ifndef PAWL_HANDLERS_EXEC_MESSAGE_H
#define PAWL_HANDLERS_EXEC_MESSAGE_H
#include <pawl/handler.h>
#include "util/buf.h"

/* Appends the line of the number-th message, with its newline. */
void	exec_message_line(struct buf *, uint64_t number, int64_t timeout_ms, struct pawl_call *, const struct pawl_message *) ATTR_NONNULL;

/* "NAME=VALUE" texts up to a NULL, owned. */
struct exec_environment { char **list; size_t count, room; };
void	exec_environment_release(struct exec_environment *) ATTR_NONNULL;
void	exec_environment_set(struct exec_environment *, const char *name, const char *value) ATTR_NONNULL;	/* replaces one of this name */
/* Ours, without what looks like a message's. */
void	exec_environment_inherit(struct exec_environment *) ATTR_NONNULL;
/* base, and the message's variables. */
void	exec_message_environment(struct exec_environment *, const struct exec_environment *base, struct pawl_call *, const struct pawl_message *) ATTR_NONNULL;
#endif
