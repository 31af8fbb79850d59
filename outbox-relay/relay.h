/*
 * relay.h - the whole program: its connection to the broker, its databases, its outboxes.
 */
#ifndef PAWL_OUTBOX_RELAY_RELAY_H
#define PAWL_OUTBOX_RELAY_RELAY_H
#include <stdbool.h>
#include <stddef.h>
#include "common/config.h"

struct relay_options {
	const char *const *only;	/* names of outboxes; none: all */
	size_t only_count;
	bool until_empty;		/* --drain */
};

/* Runs until TERM or INT, or until all is empty. The exit status. */
int	relay_run(const struct config *, const struct relay_options *) ATTR_NONNULL;

/* For outboxes. */
struct relay;
struct outbox;
struct loop;
struct loop *relay_loop(const struct relay *) ATTR_NONNULL;
/* outbox_work() at the end of this round */
void	relay_wake(struct relay *, struct outbox *) ATTR_NONNULL;
bool	relay_is_draining(const struct relay *) ATTR_NONNULL;	/* nothing more is to be issued */
/* Memory of rows, shared by all outboxes. */
void	relay_account(struct relay *, ptrdiff_t bytes) ATTR_NONNULL;
size_t	relay_bytes(const struct relay *) ATTR_NONNULL;
/*
 * Another outbox than this one leads the same table through the same session (whose locks do not
 * tell them apart).
 */
const struct outbox *relay_twin(const struct relay *, const struct outbox *) ATTR_NONNULL;
#endif
