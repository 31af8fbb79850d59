/* Unit tests of util/backoff and util/random. */
#include "util/backoff.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "t/unit/tap.h"

static void *
draw(void *arg)
{
	*(uint64_t *)arg = random_u64();
	return NULL;
}

static void
test_random(void)
{
	enum { BOUND = 10, DRAWS = 20000 };
	int seen[BOUND] = { 0 }, pipe_fds[2];
	uint64_t mine, other = 0, bits = 0;
	bool inside = true, even = true;
	pthread_t thread;
	pid_t pid;

	for (int i = 0; i < DRAWS; i++) {
		int64_t n = random_below(BOUND);

		inside = inside && n >= 0 && n < BOUND;
		if (inside)
			seen[n]++;
		bits |= random_u64();
	}
	ok(inside, "random_below stays below");
	for (int i = 0; i < BOUND; i++)
		even = even && seen[i] > DRAWS / BOUND * 8 / 10 && seen[i] < DRAWS / BOUND * 12 / 10;
	ok(even, "and gives each number about as often");
	ok(bits == UINT64_MAX, "all 64 bits are used");
	is_int(random_below(1), 0, "below 1 is 0");
	ok(random_below(INT64_MAX) >= 0, "the largest bound");

	if (pipe(pipe_fds) < 0 || (pid = fork()) < 0)
		return;
	if (pid == 0) {
		other = random_u64();
		_exit(write(pipe_fds[1], &other, sizeof(other)) != sizeof(other));
	}
	mine = random_u64();
	ok(read(pipe_fds[0], &other, sizeof(other)) == sizeof(other) && other != mine, "a forked child draws other numbers");
	waitpid(pid, NULL, 0);
	close(pipe_fds[0]);
	close(pipe_fds[1]);

	pthread_create(&thread, NULL, draw, &other);
	pthread_join(thread, NULL);
	ok(other != random_u64(), "so does a thread");
}

int
main(void)
{
	struct backoff backoff;
	bool inside = true, varies = false;
	int64_t first = -1;

	for (int round = 0; round < 50; round++) {
		int64_t full = 100;

		backoff_init(&backoff, 100, 3000);
		for (int i = 0; i < 8; i++) {
			int64_t delay = backoff_next_ms(&backoff);

			inside = inside && delay <= full && delay >= full - full / 4;
			if (i == 7) {
				varies = varies || (first >= 0 && delay != first);
				first = delay;
			}
			full = full * 2 > 3000 ? 3000 : full * 2;
		}
	}
	ok(inside, "delays double up to the most, less a quarter at most");
	ok(varies, "they are jittered");
	backoff_reset(&backoff);
	ok(backoff_next_ms(&backoff) <= 100, "reset");
	backoff_init(&backoff, INT64_MAX / 2, INT64_MAX - 1);
	backoff_next_ms(&backoff);
	backoff_next_ms(&backoff);
	ok(backoff_next_ms(&backoff) > INT64_MAX / 2, "huge delays do not overflow");
	test_random();
	return done_testing();
}
