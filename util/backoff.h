/*
 * backoff.h - growing, jittered delays for things that are tried again: 'first', doubling up to 'most', each cut by up
 * to a quarter at random so that a fleet does not return in step.
 */
#ifndef PAWL_UTIL_BACKOFF_H
#define PAWL_UTIL_BACKOFF_H
#include <stdint.h>
#include "util/attr.h"
#include "util/random.h"

struct backoff { int64_t first_ms, most_ms, next_ms; };

void	backoff_init(struct backoff *, int64_t first_ms, int64_t most_ms) ATTR_NONNULL;
int64_t	backoff_next_ms(struct backoff *) ATTR_NONNULL;		/* the delay to wait now */
void	backoff_reset(struct backoff *) ATTR_NONNULL;		/* it worked */
#endif
