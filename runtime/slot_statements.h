/*
 * slot_statements.h - the texts that handlers record, as prepared statements of this session.
 *
 * A text is prepared once per session, before the transaction that uses it begins, so that a bad one
 * never costs a batch. At most 256 are kept between batches; the longest unused go first. Names are
 * never used twice, and no two slots have the same: behind a pooler that gives one backend to several,
 * a wrong statement would be worse than none.
 */
#ifndef PAWL_RUNTIME_SLOT_STATEMENTS_H
#define PAWL_RUNTIME_SLOT_STATEMENTS_H
#include "runtime/slot_session.h"
#include "util/pg.h"
#include "util/table.h"

enum { SLOT_STATEMENTS_KEPT = 256, SLOT_STATEMENTS_RECENT = 64 };

enum slot_own { OWN_BEGIN, OWN_PID, OWN_LOCK, OWN_CLAIM, OWN_CLAIM_NEW, OWN_WITNESS, OWN_DURABLE, OWN_COMMIT,
	OWN_SAVEPOINT, OWN_ROLLBACK_TO, OWN_GIVE_BACK, OWN_BEGIN_READ, OWN_KNOWN, OWN_TRY_KEY, OWN_UNLOCK_KEY, OWN_COUNT };	/* the slot's own; those about the inbox not with dedup = "none" */

enum slot_statement_state {
	STATEMENT_NEW,			/* not known to this session */
	STATEMENT_QUEUED,		/* to be prepared by the next slot_statements_prepare() */
	STATEMENT_PREPARED,
	STATEMENT_FAILED		/* not preparable: error says why; forgotten when the next batch begins */
};
struct slot_statement {
	char *text;
	size_t len;
	char name[40];			/* at the server */
	enum slot_statement_state state;
	bool governs;			/* changes settings until the end of the transaction */
	int params;			/* number of $n, once prepared */
	uint64_t used;			/* when it was used last, counted in uses of any */
	struct pg_error *error;		/* STATEMENT_FAILED; else NULL */
	struct slot_statement *next;	/* in the queue */
};

struct slot_statements {
	struct table by_text;
	struct slot_statement *recent[SLOT_STATEMENTS_RECENT];	/* by the text's address: a guess, always verified */
	struct slot_statement *queue, **queue_end;
	struct slot_statement own[OWN_COUNT];
	bool claims;
	char **doomed;			/* names at the server that nobody needs */
	size_t doomed_count;
	bool failed;			/* there are failed ones to forget */
	uint64_t uses;
	uint64_t last_name;
	char prefix[20];		/* of names */
};

void	slot_statements_init(struct slot_statements *, bool claims) ATTR_NONNULL;
void	slot_statements_release(struct slot_statements *) ATTR_NONNULL;
/* Forgets what failed and what is too much. Statements of earlier batches must not be used any
 * more. */
void	slot_statements_begin_batch(struct slot_statements *) ATTR_NONNULL;
/* The statement of a text. NULL: refused, and why. */
struct slot_statement *slot_statements_get(struct slot_statements *, const char *text, const char **refusal) ATTR_NONNULL;
/* The session knows none of them any more: all are prepared again, those that are used as soon
 * as they are used. */
void	slot_statements_forget(struct slot_statements *) ATTR_NONNULL;
void	slot_statements_unwant(struct slot_statements *) ATTR_NONNULL;	/* what is queued: nobody asks for it any more */
void	slot_statements_want(struct slot_statements *, struct slot_statement *) ATTR_NONNULL;	/* queues one, unless it is prepared */
/* Prepares what is queued. -1: the environment failed. Statements of which the server said no
 * are STATEMENT_FAILED. */
int	slot_statements_prepare(struct slot_statements *, struct slot_session *, struct pg_error *) ATTR_MUST_CHECK ATTR_NONNULL;
#endif
