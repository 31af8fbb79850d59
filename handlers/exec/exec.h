/*
 * exec.h - the handler "exec": its settings, and the two ways in which it runs programs. Manual: pawl-exec(7).
 */
#ifndef PAWL_HANDLERS_EXEC_H
#define PAWL_HANDLERS_EXEC_H
#include <stdbool.h>
#include "handlers/exec/exec_child.h"
#include "handlers/exec/exec_message.h"
#include "util/clock.h"

enum {
	EXEC_GRACE_MS = 200,		/* from the end of its output to its own end; a crash may dump core */
	EXEC_STOP_MS = 2000		/* from the end of its input */
};

struct exec_settings {
	struct exec_command command;	/* the arguments are the configuration's texts */
	struct exec_environment environment;
	bool once, external;
	int64_t timeout_ms;		/* 0: as long as the queue has */
	int64_t start_timeout_ms;
	size_t max_line;
};

struct exec {
	struct exec_settings settings;
	struct exec_child child;
	struct buf line;		/* of the message */
	uint64_t number;		/* of the message, since the program was started */
	unsigned failures;		/* in a row */
	struct clock_mono not_before;	/* it is not started earlier */
};

/* -1: all mistakes are reported. To be released in any case. */
int	exec_settings_read(struct exec_settings *, const struct pawl_config *) ATTR_MUST_CHECK ATTR_NONNULL;
void	exec_settings_release(struct exec_settings *) ATTR_NONNULL;

/* How long a message may take: less than the queue's timeout, at which the slot would be killed. */
int64_t	exec_budget_ms(const struct exec *, const struct pawl_message *) ATTR_NONNULL;

enum pawl_verdict exec_lines(struct exec *, struct pawl_call *, const struct pawl_message *) ATTR_NONNULL;
enum pawl_verdict exec_once(struct exec *, struct pawl_call *, const struct pawl_message *) ATTR_NONNULL;
#endif
