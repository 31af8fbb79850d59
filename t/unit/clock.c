/* Unit tests of util/clock. */
#include "util/clock.h"

#include <time.h>

#include "t/unit/tap.h"

int
main(void)
{
	struct clock_mono first = clock_mono_now(), then = clock_mono_now();
	time_t before = time(NULL);
	struct clock_wall wall = clock_wall_now();
	time_t after = time(NULL);

	ok(then.ns >= first.ns && first.ns > 0, "the monotonic clock does not go back");
	/* time() reads a coarser clock, which may be a tick behind. */
	ok(wall.ms / 1000 >= before && wall.ms / 1000 <= after + 1, "the wall clock is Unix time");
	is_int(clock_ms_between(first, clock_mono_after_ms(first, 1500)), 1500, "after 1500 ms");
	is_int(clock_ms_between(clock_mono_after_ms(first, 20), first), -20, "backwards");
	return done_testing();
}
