/*
 * servers.h - the servers that the databases are on, at the start: one session of each asks whether
 * there is room for all of them (common/budget.h) before the others are begun.
 *
 * Too much is a mistake of the configuration: then the relay ends. But not later: if a server is
 * out of reach at the start, and has too little room when it comes, that is an error in the log,
 * and its databases get what there is.
 */
#ifndef PAWL_OUTBOX_RELAY_SERVERS_H
#define PAWL_OUTBOX_RELAY_SERVERS_H
#include "outbox-relay/database.h"

struct servers;
/* refuse(arg, error): the relay shall end */
struct servers *servers_new(struct loop *, void (*refuse)(void *arg, const char *error), void *arg)
    ATTR_NONNULL;
/* after the databases */
void	servers_free(struct servers **);
void	servers_add(struct servers *, struct database *) ATTR_NONNULL;
/* all databases that were added */
void	servers_start(struct servers *) ATTR_NONNULL;
#endif
