/*
 * outbox.h - one outbox: leads it, reads it, publishes its rows, deletes what the broker has
 * confirmed.
 *
 * Nothing is done inside callbacks but noting what came. outbox_work() then does all that can be
 * done now; it is called after each round of the loop for the outboxes that were woken (relay_wake)
 * or whose time has come.
 */
#ifndef PAWL_OUTBOX_RELAY_OUTBOX_H
#define PAWL_OUTBOX_RELAY_OUTBOX_H
#include <stdbool.h>
#include "common/config.h"
#include "common/stats.h"
#include "outbox-relay/database.h"
#include "util/amqp_publisher.h"

struct glance;
struct relay;
struct outbox;

/* The configuration is borrowed. stats may be NULL. */
struct outbox *outbox_new(struct relay *, const struct config_outbox *, struct database *,
    struct glance *, struct amqp_publisher *, struct stats_page *stats);
void	outbox_free(struct outbox **);
void	outbox_work(struct outbox *) ATTR_NONNULL;
void	outbox_tick(struct outbox *) ATTR_NONNULL;	/* every second: gauges, and what hangs */

const char *outbox_name(const struct outbox *) ATTR_NONNULL;
bool	outbox_leads(const struct outbox *) ATTR_NONNULL;
/* leads, and the last look found nothing that is left to do */
bool	outbox_is_empty(const struct outbox *) ATTR_NONNULL;
/* While the relay is draining: all that was issued is settled. */
bool	outbox_is_drained(const struct outbox *) ATTR_NONNULL;
/* issued or confirmed, and not deleted */
size_t	outbox_unsettled(const struct outbox *) ATTR_NONNULL;
#endif
