/*
 * clock.h - the two clocks, as two types, so that nobody subtracts one from the other.
 *
 * clock_mono: monotonic, for durations and deadlines. clock_wall: Unix time, for what other machines see.
 */
#ifndef PAWL_UTIL_CLOCK_H
#define PAWL_UTIL_CLOCK_H
#include <stdint.h>
#include "util/attr.h"

struct clock_mono { int64_t ns; };	/* CLOCK_MONOTONIC; the same in all processes of one machine */
struct clock_wall { int64_t ms; };	/* milliseconds since 1970-01-01 UTC */

struct clock_mono clock_mono_now(void);
struct clock_wall clock_wall_now(void);

static inline int64_t
clock_ms_between(struct clock_mono from, struct clock_mono to)
{
	return (to.ns - from.ns) / 1000000;
}

static inline struct clock_mono
clock_mono_after_ms(struct clock_mono from, int64_t ms)
{
	return (struct clock_mono){ from.ns + ms * 1000000 };
}
#endif
