/*
 * slot_attempt.h - one attempt at a transaction: claim, effects, commit, and what failed in it.
 *
 * For slot_transaction.c, which does a batch in one attempt, and slot_reads.c, which takes the steps
 * one by one with handlers in between. What a failure means is not decided here.
 */
#ifndef PAWL_RUNTIME_SLOT_ATTEMPT_H
#define PAWL_RUNTIME_SLOT_ATTEMPT_H
#include "runtime/slot_transaction.h"
#include "util/pg.h"

struct slot_group {			/* messages that share a transaction */
	struct slot_message **members;	/* in delivery order */
	size_t count;
	struct slot_message **by_key;	/* those with a key, sorted by it, then in delivery order */
	size_t key_count;
	struct slot_message **claimants;	/* room for as many: who claims, of each key one */
	size_t claimant_count;
	unsigned taken_out, repeats, deadlocks, stale;
};

enum slot_where { WHERE_OPEN, WHERE_EFFECT, WHERE_COMMIT };
struct slot_failure {
	enum slot_where where;
	struct slot_message *message;	/* WHERE_EFFECT */
	struct slot_effect *effect;
	bool expectation;		/* the statement worked, and touched another number of rows */
	bool effects_sent, commit_sent;
	bool not_new;			/* a plain claim met a key that is there */
	int64_t rows;
	struct pg_error error;
};

/* All of it. -1: nothing is committed, as far as we know, and the failure says why. */
int	slot_attempt(struct slot_transaction *, struct slot_group *, struct slot_failure *) ATTR_MUST_CHECK ATTR_NONNULL;

/* Sets 'known' of messages whose keys are in the inbox, in one round trip. -1: the environment failed. */
int	slot_attempt_known(struct slot_transaction *, struct slot_message *const *, size_t count, struct slot_failure *) ATTR_MUST_CHECK ATTR_NONNULL;
/* The truth of a result of one row and column. -1: failed, as above. */
int	slot_attempt_take_bool(struct slot_transaction *, struct slot_failure *, bool *) ATTR_MUST_CHECK ATTR_NONNULL;

/*
 * The steps. Each -1: failed, the failure says why, and the unit of the pipeline is drained.
 * careful: the claim tells which keys are new ('claimed' of the claimants).
 */
struct slot_opening { bool pid, lock, claim, careful; };
int	slot_attempt_by_key(const void *, const void *);	/* struct slot_message **: by key, then in delivery order */
void	slot_attempt_choose(struct slot_transaction *, struct slot_group *) ATTR_NONNULL;	/* claimants, and their keys as an array */
void	slot_attempt_put_key(struct slot_transaction *, struct slice key) ATTR_NONNULL;	/* one more for the array, which '}' ends */
bool	slot_attempt_serialized(const struct slot_transaction *) ATTR_NONNULL;
void	slot_attempt_open(struct slot_transaction *, const struct slot_opening *) ATTR_NONNULL;
int	slot_attempt_read_opening(struct slot_transaction *, const struct slot_group *, const struct slot_opening *,
	    struct slot_failure *) ATTR_MUST_CHECK ATTR_NONNULL;
bool	slot_attempt_send_effects(struct slot_transaction *, const struct slot_group *) ATTR_NONNULL;	/* true: some effect has an expectation */
int	slot_attempt_read_effects(struct slot_transaction *, const struct slot_group *, struct slot_failure *) ATTR_MUST_CHECK ATTR_NONNULL;
void	slot_attempt_send_commit(struct slot_transaction *, bool witness) ATTR_NONNULL;
int	slot_attempt_read_commit(struct slot_transaction *, bool witness, struct slot_failure *) ATTR_MUST_CHECK ATTR_NONNULL;
int	slot_attempt_take(struct slot_transaction *, struct slot_failure *, struct pg_result **) ATTR_MUST_CHECK ATTR_NONNULL;	/* one good answer */
int	slot_attempt_sync(struct slot_transaction *, struct slot_failure *) ATTR_NONNULL;	/* the rest of the unit */

/* slot_transaction.c: what a failure means, for a group that is tried again and again. */
enum slot_verdict {
	GROUP_SETTLED, GROUP_AGAIN, GROUP_BY_MESSAGE,
	GROUP_HELD,			/* somebody else has a lock on its key: not applied, others may go on */
	GROUP_ENVIRONMENT
};
enum slot_verdict slot_transaction_judge(struct slot_transaction *, struct slot_batch *, struct slot_group *, struct slot_failure *) ATTR_NONNULL;
void	slot_transaction_fail_message(struct slot_transaction *, const struct slot_failure *) ATTR_NONNULL;	/* the failure's message ends in it */
/* After a failure that is not applied: what the runner has to know of the group's pending messages. */
void	slot_transaction_flag(const struct slot_group *, const struct slot_failure *, enum slot_verdict) ATTR_NONNULL;
/* Until all are settled, or cannot be for now (error). */
enum slot_verdict slot_transaction_group(struct slot_transaction *, struct slot_batch *, struct slot_group *,
    struct pg_error *) ATTR_NONNULL;
/* Prepares what is new; messages whose statements cannot be used are settled. -1: environment. */
int	slot_transaction_prepare(struct slot_transaction *, const struct slot_group *, struct pg_error *) ATTR_MUST_CHECK ATTR_NONNULL;
/* The session forgot its statements, or the schema changed under one: rolls back, and prepares those of the group. */
int	slot_transaction_prepare_again(struct slot_transaction *, const struct slot_group *, struct pg_error *) ATTR_MUST_CHECK ATTR_NONNULL;
#endif
