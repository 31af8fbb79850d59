/*
 * slot.h - pawl-slot: loads the handlers of one queue, holds one PostgreSQL session, turns batches
 * into transactions.
 *
 * Started by a runner (or pawlctl), told everything by frames on fd 3. Sequential: it reads a
 * frame, does what it says, answers. What goes wrong with the environment is told as WAITING, and
 * nobody is charged; what is wrong with the configuration is REFUSED.
 */
#ifndef PAWL_RUNTIME_SLOT_H
#define PAWL_RUNTIME_SLOT_H
#include <sys/types.h>
#include "common/envelope.h"
#include "common/slot_setup.h"
#include "runtime/slot_call.h"
#include "runtime/slot_cleaner.h"
#include "runtime/slot_frames.h"
#include "runtime/slot_handlers.h"
#include "runtime/slot_transaction.h"
#include "util/backoff.h"

struct slot {
	struct slot_frames frames;
	struct desk *desk;
	pid_t pid;			/* a handler's fork() may come back as another */
	ino_t socket;			/* what frames.fd is */
	struct buf setup_bytes;		/* what setup's texts point into */
	struct arena setup_arena;
	struct slot_setup setup;
	struct envelope_spec key_spec;
	struct slot_handlers handlers;
	struct slot_statements statements;
	struct slot_session session;
	struct arena arena;		/* of the batch */
	struct arena rows;		/* that a handler's queries gave: until it returns */
	struct slot_call call;
	struct slot_transaction transaction;
	struct slot_cleaner cleaner;
	struct backoff backoff;		/* between sessions; starts afresh when a batch was committed */
	struct clock_mono retry_at;	/* no session: not before that */
	bool ready;			/* the runner was told so last */
	bool behind;			/* the last RESULT had UNAPPLIED messages: see FRAME_BATCH_AHEAD */
	bool checked;			/* the configuration's statements were prepared once */
};

/* Serves one runner until it says SHUTDOWN or is gone. The exit code of the process. */
int	slot_run(struct slot *, int fd, struct desk *) ATTR_MUST_CHECK ATTR_NONNULL;

/* slot_work.c: a BATCH frame is in frames.in: does it, and appends the RESULT. -1: the database
 * failed (error). */
int	slot_work(struct slot *, struct pg_error *) ATTR_MUST_CHECK ATTR_NONNULL;
/* A handler has returned, or asks: this process ends if it is a child of the slot, or has lost one of the slot's sockets. */
void	slot_work_check(const struct slot *) ATTR_NONNULL;
/* Calls the handler of a message, with the desk saying so; then it is pending, or failed. */
void	slot_work_call(struct slot *, const struct slot_batch *, struct slot_message *) ATTR_NONNULL;
/* A BATCH of one message, for a dry run. NULL: b->messages[0] ended before its handler. */
struct slot_message *slot_work_try(struct slot *, struct slot_batch *) ATTR_NONNULL;
bool	slot_work_ahead(const struct slot *) ATTR_NONNULL;	/* it was sent before the batch before it was answered */
void	slot_work_unapplied(struct slot *) ATTR_NONNULL;	/* appends a RESULT that says: none of it was done */

/* slot_try.c: dry runs until the other end is gone. database: queries are answered, and statements
 * prepared. */
int	slot_try(struct slot *, bool database) ATTR_MUST_CHECK ATTR_NONNULL;
#endif
