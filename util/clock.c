/*
 * clock.c - see clock.h.
 */
#include "util/clock.h"

#include <assert.h>
#include <time.h>

static struct timespec
now(clockid_t id)
{
	struct timespec t;
	int rc = clock_gettime(id, &t);

	assert(rc == 0);
	(void)rc;
	return t;
}

struct clock_mono
clock_mono_now(void)
{
	struct timespec t = now(CLOCK_MONOTONIC);

	return (struct clock_mono){ (int64_t)t.tv_sec * 1000000000 + t.tv_nsec };
}

struct clock_wall
clock_wall_now(void)
{
	struct timespec t = now(CLOCK_REALTIME);

	return (struct clock_wall){ (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000 };
}
