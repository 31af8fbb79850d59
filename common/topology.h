/*
 * topology.h - what Pawl declares at the broker: constants, never derived from configuration (a
 * redeclare with other arguments is a 406).
 *
 * Work queue: quorum, delivery limit 1000000 (-1 is not unlimited on 3.10, the default of 4.0 is
 * 20), dead letters at least once to QUEUE.dead.
 */
#ifndef PAWL_COMMON_TOPOLOGY_H
#define PAWL_COMMON_TOPOLOGY_H
#include "common/config.h"
#include "util/amqp_types.h"
#include "util/arena.h"

/* All declarations that a queue needs, in order, in the arena: exchanges of its binds,
 * QUEUE.dead, the queue, bindings. Empty with declare = false. */
void	topology_of_queue(const struct config_queue *, struct arena *, struct amqp_declaration **,
    size_t *count);
const char *topology_dead_name(const struct config_queue *, struct arena *);
#endif
