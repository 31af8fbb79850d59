/*
 * backoff.c - see backoff.h.
 */
#include "util/backoff.h"

#include <assert.h>

void
backoff_init(struct backoff *backoff, int64_t first_ms, int64_t most_ms)
{
	assert(first_ms > 0 && most_ms >= first_ms);
	backoff->first_ms = backoff->next_ms = first_ms;
	backoff->most_ms = most_ms;
}

int64_t
backoff_next_ms(struct backoff *backoff)
{
	int64_t delay = backoff->next_ms;

	backoff->next_ms = delay > backoff->most_ms / 2 ? backoff->most_ms : delay * 2;
	return delay - random_below(delay / 4 + 1);
}

void
backoff_reset(struct backoff *backoff)
{
	backoff->next_ms = backoff->first_ms;
}
