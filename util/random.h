/*
 * random.h - fast random numbers for jitter, sampling and trace ids. Not for secrets.
 *
 * Each thread has its own generator (xoshiro256**), seeded by getrandom(2), and again after a fork.
 */
#ifndef PAWL_UTIL_RANDOM_H
#define PAWL_UTIL_RANDOM_H
#include <stdint.h>
#include "util/attr.h"

uint64_t random_u64(void);
int64_t	random_below(int64_t bound);		/* 0 .. bound - 1; bound is at least 1 */
void	random_secret(void *, size_t) ATTR_NONNULL;	/* from the kernel; cannot fail (log_fatal) */
#endif
