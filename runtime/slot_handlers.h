/*
 * slot_handlers.h - the handlers of a slot: loaded, checked, started with their configuration,
 * stopped.
 *
 * Mistakes are collected, all of them, as "file:line: path: what", and end in a REFUSED frame.
 */
#ifndef PAWL_RUNTIME_SLOT_HANDLERS_H
#define PAWL_RUNTIME_SLOT_HANDLERS_H
#include <pawl/handler.h>
#include "common/slot_setup.h"
#include "runtime/slot_statements.h"

struct slot_handler {
	const struct slot_setup_handler *setup;
	const struct pawl_handler *handler;	/* NULL: use = "ignore" */
	void *self;				/* what start() made */
	enum pawl_kind kind;
	bool started;
	bool apart;				/* its statements change settings of the transaction: it gets one of its own */
	bool *pair_read;			/* one for each setting */
};

struct slot_config_statement {			/* pawl_config_statement(): prepared at the start to find mistakes */
	const struct slot_handler *handler;
	const char *path;
	struct slot_statement *statement;
};

struct slot_handlers {
	const char *consumer;
	struct arena *arena;			/* lives as long as the slot */
	struct slot_statements *known;
	struct slot_handler *list;		/* one for each of SETUP's */
	size_t count;
	struct slot_config_statement *statements;
	size_t statement_count, statement_room;
	struct buf errors;			/* lines */
};

void	slot_handlers_init(struct slot_handlers *, const struct slot_setup *, struct arena *, struct slot_statements *) ATTR_NONNULL;
void	slot_handlers_release(struct slot_handlers *) ATTR_NONNULL;
void	slot_handlers_start(struct slot_handlers *) ATTR_NONNULL;	/* loads and starts all; errors are collected */
void	slot_handlers_stop(struct slot_handlers *) ATTR_NONNULL;
/* The configuration's statements are to be prepared with the next slot_statements_prepare(); then report those that the server
 * refused, once: from then on they are statements like all others. */
void	slot_handlers_want_statements(struct slot_handlers *) ATTR_NONNULL;
void	slot_handlers_report_statements(struct slot_handlers *) ATTR_NONNULL;
/* "file:line: queues.CONSUMER.handlers.NAME[.config.PATH]: what". path NULL or "": the handler
 * itself. */
void	slot_handlers_error(struct slot_handlers *, const struct slot_handler *, const char *path, const char *fmt, ...) ATTR_PRINTF(4, 5);
#endif
