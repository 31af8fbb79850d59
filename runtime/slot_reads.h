/*
 * slot_reads.h - messages whose handlers read (PAWL_READS): the handler runs inside the transaction that
 * will hold the effects.
 *
 * All keys are claimed first; a duplicate never reaches the handler. Then the handlers run, in delivery
 * order, each behind a savepoint: it sees what the messages before it did. What a message recorded since
 * its last query goes out with the next query of a later one, or with the commit. A verdict that is not
 * DONE, or an expectation that is not met, takes back its message alone; its key is given back with the
 * commit.
 *
 * A message whose statement fails has shared its transaction with others: those before it are committed,
 * then it gets a transaction of its own, and only what fails in there is held against it. When the commit
 * fails, all of them do. Handlers are called again then; nobody's verdict counts before the commit,
 * because it may rest on what an earlier message did.
 *
 * A transaction takes no more messages when it has lasted 0.1 s: others wait for its locks.
 */
#ifndef PAWL_RUNTIME_SLOT_READS_H
#define PAWL_RUNTIME_SLOT_READS_H
#include "runtime/slot.h"

/* Messages of a batch, in delivery order; all of them READS and pending. -1: the environment failed (error); those that are still pending
 * are not applied. */
int	slot_reads_run(struct slot *, struct slot_batch *, struct slot_message **, size_t count, struct pg_error *) ATTR_MUST_CHECK ATTR_NONNULL;
/* A dry run: in a transaction that stays open. -1: a query failed for the database's sake. */
int	slot_reads_try(struct slot *, struct slot_batch *, struct slot_message *, struct pg_error *) ATTR_MUST_CHECK ATTR_NONNULL;
#endif
