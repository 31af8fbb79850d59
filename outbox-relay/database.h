/*
 * database.h - one PostgreSQL session for all outboxes of one database: connects, checks,
 * reconnects, and carries their requests.
 *
 * Requests are statements, each a unit of its own (its own sync); they are pipelined and answered
 * in the order of sending, so a statement sees the effects of those sent before it. When the
 * session is lost the requests that are under way get no answer: each user is told by its down()
 * and starts afresh at its up().
 *
 * A session that leads (database_lead) has an idle time-out at the server, and is kept from being
 * idle by us. So a relay that is stopped or cut off loses the session, and with it its locks, by
 * itself. The lease is our side of that: it is good for LEASE_MS from when the last answered
 * request was sent, which is less than the server's time-out from when it received it.
 */
#ifndef PAWL_OUTBOX_RELAY_DATABASE_H
#define PAWL_OUTBOX_RELAY_DATABASE_H
#include <stdbool.h>
#include "util/clock.h"
#include "util/loop.h"
#include "util/pg.h"

struct database;
struct database_user {			/* embedded in its owner */
	void (*up)(void *arg);		/* a new session: nothing is prepared, no lock is held */
	void (*down)(void *arg);	/* it is lost */
	/*
	 * the session listens to a channel, and somebody notified it; called for each user. May be
	 * NULL
	 */
	void (*notified)(void *arg, const char *channel);
	void *arg;
	struct database_user *next;
};
/*
 * The answer to a request. *result is the callee's if it sets it to NULL. error is NULL unless the
 * statement failed.
 */
typedef void database_fn(void *arg, struct pg_result **result, const struct pg_error *error);

/*
 * application_name: as the server shows the session. conninfo is borrowed. Log lines name the
 * outboxes that were added; outbox may be NULL.
 */
struct database *database_new(struct loop *, const char *conninfo, const char *application_name);
/* closes the session in order: locks are released */
void	database_free(struct database **);
const char *database_conninfo(const struct database *) ATTR_NONNULL;
void	database_add_user(struct database *, struct database_user *,
    const char *outbox);
void	database_start(struct database *) ATTR_NONNULL;
bool	database_is_up(const struct database *) ATTR_NONNULL;
uint64_t database_sessions(const struct database *) ATTR_NONNULL;	/* how many there were */

/*
 * Whoever wants to know: called when an attempt to get a session has failed (result NULL), and when
 * there is one, before the users' up(), with the values of these columns from DATABASE_MORE on.
 * again: it is not the first attempt. Before database_start().
 */
enum { DATABASE_MORE = 1 };
typedef void database_tried_fn(void *arg, const struct pg_result *, bool again);
void	database_tell(struct database *, database_tried_fn *, void *arg,
    const char *columns_sql) ATTR_NONNULL;

/* Only while it is up. Values are copied. fn may be NULL: an error is logged. */
void	database_query(struct database *, database_fn *, void *arg, const char *sql, int n,
    const char *const *values);
void	database_prepare(struct database *, database_fn *, void *arg, const char *name,
    const char *sql);
void	database_execute(struct database *, database_fn *, void *arg, const char *name, int n,
    const char *const *values);
void	database_flush(struct database *) ATTR_NONNULL;		/* what was asked goes out now */
/* give up this session, make a new one */
void	database_restart(struct database *, const char *why) ATTR_NONNULL;

/* counted: one more, or one less, of its outboxes leads */
void	database_lead(struct database *, bool) ATTR_NONNULL;
size_t	database_leaders(const struct database *) ATTR_NONNULL;
bool	database_lease(const struct database *, struct clock_mono now) ATTR_NONNULL;
#endif
