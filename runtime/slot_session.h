/*
 * slot_session.h - a slot's one PostgreSQL session: connecting, settings, what must be true of it,
 * and the end of its predecessor.
 *
 * Lost sessions leave a backend that may still be working. It is terminated by pid and start time
 * before the new session is used, so that its claims are decided: keys that are present then were
 * committed.
 */
#ifndef PAWL_RUNTIME_SLOT_SESSION_H
#define PAWL_RUNTIME_SLOT_SESSION_H
#include <sys/types.h>
#include "common/slot_setup.h"
#include "util/clock.h"
#include "util/pg.h"

struct slot_session {
	struct pg *pg;
	int64_t patience_ms;		/* for one answer: longer than the server's own time-outs */
	char backend_pid[16];		/* of this session, or of the lost one; "" when there was none */
	char backend_start[32];		/* microseconds */
	bool pooled;			/* a pooler is between: each transaction looks at the backend's pid */
	bool checks_schema;		/* the schema pawl is needed */
	bool open_transaction;		/* of a failed attempt: roll back before anything else */
	ino_t socket;			/* what pg's descriptor is, once the session is up */
	struct clock_mono connect_deadline;
};

void	slot_session_init(struct slot_session *, const struct slot_setup *);
void	slot_session_release(struct slot_session *) ATTR_NONNULL;
enum slot_session_status { SESSION_UP, SESSION_FAILED, SESSION_WOKEN };
/* Connects and checks; wake_fd -1: none. SESSION_WOKEN: wake_fd became readable; call again to
 * go on. SESSION_FAILED: error says why. */
enum slot_session_status slot_session_open(struct slot_session *, int wake_fd, int64_t patience_ms, struct pg_error *) ATTR_MUST_CHECK ATTR_NONNULL;
bool	slot_session_is_up(const struct slot_session *) ATTR_NONNULL;
/* false: the session is up, and somebody else has closed its socket. */
bool	slot_session_has_socket(const struct slot_session *) ATTR_MUST_CHECK ATTR_NONNULL;
void	slot_session_close(struct slot_session *) ATTR_NONNULL;
/* The next answer, waiting for it. Never PG_NOTHING. */
enum pg_answer slot_session_next(struct slot_session *, struct pg_result **, struct pg_error *) ATTR_NONNULL;
/* Ends a transaction that failed. -1: lost. */
int	slot_session_roll_back(struct slot_session *, struct pg_error *) ATTR_MUST_CHECK ATTR_NONNULL;
/* Through a pooler in transaction mode, transactions run in different backends. -1: they do, or another error. */
int	slot_session_check_backend(struct slot_session *, struct pg_error *) ATTR_MUST_CHECK ATTR_NONNULL;
/* The backend behind a pooler is another one: text for the log and the runner. */
void	slot_session_pooler_error(struct pg_error *) ATTR_NONNULL;
#endif
