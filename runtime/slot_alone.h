/*
 * slot_alone.h - messages whose handlers read (PAWL_READS) or act outside (PAWL_EXTERNAL): after
 * those of the batch that do neither. READS: see slot_reads.h.
 *
 * EXTERNAL: one by one. An advisory lock on the key keeps others from acting at the same time; a key
 * that is in the inbox never reaches the handler. The handler runs with no transaction open; then its
 * effects are claimed and committed as those of a batch are. If that fails for the environment's sake,
 * it acts again: at least once outside, exactly once in the database.
 */
#ifndef PAWL_RUNTIME_SLOT_ALONE_H
#define PAWL_RUNTIME_SLOT_ALONE_H
#include "runtime/slot.h"

/* The batch's messages that are 'alone'. status: of what came before; -1: none of them is begun. -1: the environment failed (error),
 * those that are still pending are not applied. */
int	slot_alone_run(struct slot *, struct slot_batch *, int status, struct pg_error *) ATTR_MUST_CHECK ATTR_NONNULL;
/* A dry run: the handler and its queries, in a transaction that is rolled back. -1: a query failed for the database's sake. */
int	slot_alone_try(struct slot *, struct slot_batch *, struct slot_message *, struct pg_error *) ATTR_MUST_CHECK ATTR_NONNULL;
#endif
