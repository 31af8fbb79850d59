/*
 * dial.h - makes a database session in a thread of its own, since libpq waits where no caller can
 * see it: for names, service directories, Kerberos.
 *
 * The thread has a struct pg of its own, and copies of what it needs, so whoever waits for it may
 * go away: the last of the two frees the dial.
 */
#ifndef PAWL_OUTBOX_RELAY_DIAL_H
#define PAWL_OUTBOX_RELAY_DIAL_H
#include <stdint.h>
#include "util/attr.h"
#include "util/pg.h"

struct dial;

/* context: value of "outbox" in log lines of the thread. Takes pg. */
struct dial *dial_start(struct pg *pg, int64_t timeout_ms, const char *context) ATTR_NONNULL;
/* readable when it is done */
int	dial_fd(const struct dial *) ATTR_NONNULL;
/* When it is done: the session, or NULL and error filled. */
struct pg *dial_finish(struct dial **, struct pg_error *) ATTR_MUST_CHECK ATTR_NONNULL;
/* nobody waits any longer */
void	dial_give_up(struct dial **);
/*
 * Before the process ends, when all were given up: waits for a moment until their threads have
 * ended. One that waits for a name stays behind.
 */
void	dial_settle(void);
#endif
