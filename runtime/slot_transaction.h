/*
 * slot_transaction.h - the transaction of a batch: claim, effects, commit; and what is done when
 * some of it fails.
 *
 * One transaction for all messages that said DONE. Whatever fails in it rolls all of it back; what
 * the error's class says decides whether a message is taken out, all is tried again, or the
 * environment is to blame. The claim is made afresh in each attempt and its answer replaces the
 * earlier one. After more than three failing messages, or a failure at COMMIT, each message gets a
 * transaction of its own.
 *
 * Duplicates are rare and come in swarms (a lost connection, a restart). So the claim first is a
 * plain insert, which costs the server two thirds of one with ON CONFLICT [ran], and needs no
 * answer before the effects are sent: one round trip in all. A key that is there makes it fail as a
 * whole; then, and for the next batches, the claim says which keys are new, and the effects wait
 * for that answer.
 */
#ifndef PAWL_RUNTIME_SLOT_TRANSACTION_H
#define PAWL_RUNTIME_SLOT_TRANSACTION_H
#include "runtime/slot_batch.h"
#include "util/arena.h"
#include "util/buf.h"
#include "util/clock.h"

struct slot_transaction {
	struct slot_session *session;
	struct slot_statements *statements;
	struct arena *arena;
	struct desk *desk;		/* reads serialize_until_ns, keeps since_ns fresh */
	bool alone;			/* the batch is FRAME_BATCH_ALONE */
	const char *consumer;
	struct clock_mono serialize_until;	/* after a deadlock of ours */
	unsigned careful;		/* so many attempts ask which keys are new before they send effects */
	struct buf keys;		/* the claim's array */
};

void	slot_transaction_init(struct slot_transaction *, struct slot_session *, struct slot_statements *, struct arena *, struct desk *,
	    const char *consumer) ATTR_NONNULL;
void	slot_transaction_release(struct slot_transaction *) ATTR_NONNULL;
/* Settles every pending message of the batch. -1: the environment failed (error), those that are still pending are not applied and
 * their flags are set; the session is to be closed. */
int	slot_transaction_run(struct slot_transaction *, struct slot_batch *, struct pg_error *) ATTR_MUST_CHECK ATTR_NONNULL;
#endif
