/*
 * blocked_list.h - RUN_DIR/NAME.relay.blocked: the events that wait in a relay's outboxes, for
 * pawlctl outbox. There while the relay runs and something waits or did.
 *
 * Lines of JSON, one for each aggregate whose first event cannot be published: outbox, event (its
 * number or id in the table), aggregatetype, aggregateid (both null: an event without one), reason,
 * text, since_ms (Unix time). A line with "more" says how many others of that outbox there are.
 */
#ifndef PAWL_COMMON_BLOCKED_LIST_H
#define PAWL_COMMON_BLOCKED_LIST_H
#include <stddef.h>
#include "util/attr.h"
#include "util/slice.h"

struct buf;
/* By rename, so that a reader sees the one or the other. -1: error says why. Mode 0640. */
int	blocked_list_write(const char *run_dir, const char *name, struct slice, char *error,
    size_t error_size) ATTR_MUST_CHECK ATTR_NONNULL;
void	blocked_list_remove(const char *run_dir, const char *name) ATTR_NONNULL;
/* -1: error says why. There is none: 0, and nothing is added. */
int	blocked_list_read(const char *run_dir, const char *name, struct buf *, char *error,
    size_t error_size) ATTR_MUST_CHECK ATTR_NONNULL;
#endif
