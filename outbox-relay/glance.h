/*
 * glance.h - one look at all outboxes of a database that are quiet: is there anything new?
 *
 * Looks cost a statement each, and most outboxes have nothing to say most of the time. So those
 * whose last looks found nothing share one statement. It only tells who has to look.
 */
#ifndef PAWL_OUTBOX_RELAY_GLANCE_H
#define PAWL_OUTBOX_RELAY_GLANCE_H
#include <stdbool.h>
#include "outbox-relay/database.h"
#include "util/attr.h"

struct glance;
struct outbox;

struct glance *glance_new(struct database *) ATTR_NONNULL;
/* after its database and its outboxes */
void	glance_free(struct glance **);
void	glance_add(struct glance *, struct outbox *) ATTR_NONNULL;
/*
 * For this outbox, which is quiet, and all others of its database that are: each is told by
 * outbox_glanced(). false: one is under way, which began without it.
 */
bool	glance_look(struct glance *, struct outbox *) ATTR_MUST_CHECK ATTR_NONNULL;
#endif
