/* Unit tests of util/loop. */
#include "util/loop.h"

#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "t/unit/tap.h"

static struct loop *loop;

struct end { struct loop_watch *watch; int fd, calls; unsigned events; struct end *other; };

static void
stop(void *arg)
{
	(void)arg;
	loop_stop(loop);
}

static void
count(void *arg)
{
	++*(int *)arg;
}

/* Runs for at most ms; what is tested stops it earlier. */
static void
run_for(int64_t ms)
{
	struct loop_timer timer;

	loop_timer_init(&timer, loop, stop, NULL);
	loop_timer_set_ms(&timer, ms);
	loop_run(loop);
	loop_timer_stop(&timer);
}

static void
take(void *arg, unsigned events)
{
	struct end *end = arg;
	char c;

	end->calls++;
	end->events = events;
	if ((events & LOOP_READ) && read(end->fd, &c, 1) < 0)
		diag("nothing to read");
	loop_stop(loop);
}

static void
remove_other(void *arg, unsigned events)
{
	struct end *end = arg;

	(void)events;
	end->calls++;
	loop_unwatch(&end->other->watch);
	loop_unwatch(&end->watch);
	loop_stop(loop);
}

static void
pause_other(void *arg, unsigned events)
{
	struct end *end = arg;

	(void)events;
	end->calls++;
	loop_watch_events(end->other->watch, 0);
	loop_watch_events(end->watch, 0);
	loop_stop(loop);
}

static void
test_watches(void)
{
	int a[2], b[2];
	struct end one = { .fd = -1 }, two = { .fd = -1 };
	struct loop_watch *none = NULL;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, a) < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, b) < 0)
		return;
	loop_unwatch(&none);
	one.fd = a[0];
	one.watch = loop_watch(loop, a[0], LOOP_READ, take, &one);
	run_for(20);
	is_int(one.calls, 0, "nothing to read, nobody is called");
	ok(write(a[1], "xy", 2) == 2, "something is written");
	run_for(10000);
	ok(one.calls == 1 && one.events == LOOP_READ, "called for reading");
	run_for(10000);
	is_int(one.calls, 2, "level-triggered: called again for what is left");
	loop_watch_events(one.watch, LOOP_READ | LOOP_WRITE);
	run_for(10000);
	ok(one.calls == 3 && one.events == LOOP_WRITE, "called for writing");
	loop_watch_events(one.watch, LOOP_READ);

	/* Both are readable in one round; whoever comes first removes, or pauses, the other. */
	two.fd = b[0];
	one.other = &two;
	two.other = &one;
	for (int pausing = 0; pausing < 2; pausing++) {
		loop_unwatch(&one.watch);
		loop_unwatch(&two.watch);
		one.calls = two.calls = 0;
		one.watch = loop_watch(loop, a[0], LOOP_READ, pausing ? pause_other : remove_other, &one);
		two.watch = loop_watch(loop, b[0], LOOP_READ, pausing ? pause_other : remove_other, &two);
		ok(write(a[1], "x", 1) == 1 && write(b[1], "x", 1) == 1, "both are readable");
		run_for(10000);
		is_int(one.calls + two.calls, 1, "the %s one is not called", pausing ? "paused" : "removed");
	}
	loop_watch_events(one.watch, LOOP_READ);
	one.calls = 0;
	run_for(10000);
	ok(one.calls == 1, "a paused one goes on");

	/* A hang-up is reported as what is watched, and not at all to who is paused. */
	loop_unwatch(&one.watch);
	loop_unwatch(&two.watch);
	two.watch = loop_watch(loop, b[0], LOOP_WRITE, take, &two);
	two.calls = 0;
	close(b[1]);
	run_for(10000);
	ok(two.calls == 1 && two.events == LOOP_WRITE, "a hang-up is reported for writing");
	loop_watch_events(two.watch, 0);
	int rounds = 0;
	struct loop_timer timer;
	loop_timer_init(&timer, loop, count, &rounds);
	loop_timer_set_ms(&timer, 1);
	run_for(30);
	ok(two.calls == 1 && rounds == 1, "a paused one does not hear of it");
	loop_watch_events(two.watch, LOOP_READ);
	run_for(10000);
	is_int(two.calls, 2, "until it wants to know again");
	loop_unwatch(&two.watch);
	close(a[0]);
	close(a[1]);
	close(b[0]);
}

struct reuse { int fd, new_fd, stale_calls, new_calls, source[2]; struct loop_watch *watch, *victim, *fresh; };

static void
fresh_called(void *arg, unsigned events)
{
	struct reuse *reuse = arg;

	(void)events;
	reuse->new_calls++;
	loop_unwatch(&reuse->fresh);
	loop_stop(loop);
}

static void
stale_called(void *arg, unsigned events)
{
	struct reuse *reuse = arg;

	(void)events;
	reuse->stale_calls++;
	loop_unwatch(&reuse->victim);
}

/* Closes a descriptor whose event may be waiting in this very round, and opens another of the same number. */
static void
replace(void *arg, unsigned events)
{
	struct reuse *reuse = arg;

	(void)events;
	loop_unwatch(&reuse->watch);
	loop_unwatch(&reuse->victim);
	if (dup2(reuse->source[0], reuse->fd) < 0)
		diag("dup2");
	reuse->fresh = loop_watch(loop, reuse->fd, LOOP_READ, fresh_called, reuse);
}

static void
test_reuse(void)
{
	struct reuse reuse = { .fd = -1 };
	int first[2], second[2];

	if (pipe(first) < 0 || pipe(second) < 0 || pipe(reuse.source) < 0)
		return;
	reuse.fd = second[0];
	ok(write(first[1], "x", 1) == 1 && write(second[1], "x", 1) == 1, "two are readable");
	reuse.watch = loop_watch(loop, first[0], LOOP_READ, replace, &reuse);
	reuse.victim = loop_watch(loop, second[0], LOOP_READ, stale_called, &reuse);
	run_for(50);
	is_int(reuse.new_calls, 0, "a new watch is not called for the old one's event");
	ok(write(reuse.source[1], "x", 1) == 1, "now its own is readable");
	run_for(10000);
	is_int(reuse.new_calls, 1, "then it is called");
	close(first[0]);
	close(first[1]);
	close(second[0]);
	close(second[1]);
	close(reuse.source[0]);
	close(reuse.source[1]);
}

enum { TIMERS = 1000 };
static struct loop_timer timers[TIMERS];
static int fired[TIMERS], fired_count;
static struct clock_mono last_due;
static bool in_order, too_early;

static void
fire(void *arg)
{
	struct loop_timer *timer = arg;
	int i = (int)(timer - timers);

	fired[i]++;
	fired_count++;
	in_order = in_order && timer->due.ns >= last_due.ns;
	too_early = too_early || clock_mono_now().ns < timer->due.ns;
	last_due = timer->due;
	if (fired_count == TIMERS / 2)		/* half of them were stopped */
		loop_stop(loop);
}

static void
stop_other(void *arg)
{
	loop_timer_stop(arg);
}

static void
again(void *arg)
{
	struct end *end = arg;

	if (++end->calls == 5)
		loop_stop(loop);
	else
		loop_timer_set_ms(&timers[0], 0);
}

static void
test_timers(void)
{
	unsigned seed = 7;
	bool right = true;

	in_order = true;
	for (int i = 0; i < TIMERS; i++) {
		seed = seed * 1103515245 + 12345;
		loop_timer_init(&timers[i], loop, fire, &timers[i]);
		loop_timer_set_ms(&timers[i], seed >> 16 & 15);
	}
	for (int i = 0; i < TIMERS; i++) {	/* moved, then every other one stopped */
		seed = seed * 1103515245 + 12345;
		loop_timer_set_ms(&timers[i], seed >> 16 & 31);
	}
	for (int i = 0; i < TIMERS; i += 2) {
		loop_timer_stop(&timers[i]);
		loop_timer_stop(&timers[i]);
	}
	run_for(20000);
	for (int i = 0; i < TIMERS; i++)
		right = right && fired[i] == i % 2 && !loop_timer_running(&timers[i]);
	ok(right, "each running timer fires once, no stopped one does");
	ok(in_order, "in the order in which they are due");
	ok(!too_early, "and not before");

	/* Two that are due at once: the first stops the second. */
	int calls = 0;
	struct loop_timer one, two, zero = { .heap_index = 0 };

	ok(!loop_timer_running(&zero), "a zeroed timer is stopped");
	loop_timer_stop(&zero);
	loop_timer_init(&two, loop, count, &calls);
	loop_timer_init(&one, loop, stop_other, &two);
	loop_timer_set_ms(&one, 0);
	loop_timer_set_ms(&two, 0);
	ok(loop_timer_running(&two), "running");
	run_for(30);
	is_int(calls, 0, "a timer that another one stops in the same round does not fire");

	/* One that starts itself again at once must not keep the others from running. */
	struct end end = { .calls = 0 };

	loop_timer_init(&timers[0], loop, again, &end);
	loop_timer_set_ms(&timers[0], -5);
	run_for(10000);
	is_int(end.calls, 5, "a timer may start itself");
	loop_timer_set_ms(&one, INT64_MAX);
	ok(one.due.ns > loop_now(loop).ns, "a timer in the far future does not overflow");
	loop_timer_stop(&one);
}

static char trail[16];

static void
mark(void *arg)
{
	size_t len = strlen(trail);

	if (len + 1 < sizeof(trail))
		trail[len] = *(const char *)arg;
}

static void
test_hooks(void)
{
	static char a[] = "a", b[] = "b";
	struct loop *former = loop;
	struct loop_timer timer;

	loop = loop_new();
	loop_after(loop, mark, a);
	loop_after(loop, mark, b);
	loop_stop(loop);
	loop_run(loop);
	is_str(trail, "", "a loop that is stopped before it runs does no round");
	loop_timer_init(&timer, loop, stop, NULL);
	loop_timer_set_ms(&timer, 20);
	loop_run(loop);
	is_str(trail, "abab", "hooks run after each round, also after the first one, which does not wait");
	loop_free(&loop);
	ok(loop == NULL, "freed");
	loop_free(&loop);
	loop = former;
}

static int signals_seen[65];

static void
on_signal(void *arg, int number)
{
	(void)arg;
	signals_seen[number]++;
	if (number == SIGUSR2)
		loop_stop(loop);
}

static sem_t may_wake;

static void *
wake_it(void *arg)
{
	sem_wait(&may_wake);
	loop_wake(arg);
	return NULL;
}

/* The first round does not wait; then only the other thread can bring about a second one. */
static void
stop_in_second_round(void *arg)
{
	if (++*(int *)arg == 1)
		sem_post(&may_wake);
	else
		loop_stop(loop);
}

static void
test_signals_and_waking(void)
{
	static const int numbers[] = { SIGUSR1, SIGUSR2 };
	int rounds = 0;
	pthread_t thread;

	loop_signals(loop, numbers, ARRAY_SIZE(numbers), on_signal, NULL);
	kill(getpid(), SIGUSR1);
	kill(getpid(), SIGUSR2);
	run_for(10000);
	ok(signals_seen[SIGUSR1] == 1 && signals_seen[SIGUSR2] == 1, "signals arrive");

	sem_init(&may_wake, 0, 0);
	pthread_create(&thread, NULL, wake_it, loop);
	loop_after(loop, stop_in_second_round, &rounds);
	loop_run(loop);
	pthread_join(thread, NULL);
	is_int(rounds, 2, "another thread makes the loop do a round");
	sem_destroy(&may_wake);
}

/* A child that gives up the loop that it inherited must not disturb its parent's. */
static void
test_fork(void)
{
	struct end end = { .fd = -1 };
	int fds[2];
	pid_t pid;

	if (pipe(fds) < 0)
		return;
	end.fd = fds[0];
	end.watch = loop_watch(loop, fds[0], LOOP_READ, take, &end);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		loop_free(&loop);
		_exit(write(fds[1], "x", 1) != 1);
	}
	waitpid(pid, NULL, 0);
	run_for(10000);
	is_int(end.calls, 1, "a child's loop_free leaves the parent's watches alone");
	loop_unwatch(&end.watch);
	close(fds[0]);
	close(fds[1]);
}

int
main(void)
{
	alarm(60);
	loop = loop_new();
	test_watches();
	test_reuse();
	test_timers();
	test_hooks();
	test_fork();
	test_signals_and_waking();
	loop_free(&loop);

	/* What is left is freed with its loop. */
	struct loop_timer timer;
	int fds[2];

	loop = loop_new();
	loop_timer_init(&timer, loop, stop, NULL);
	loop_timer_set_ms(&timer, 1000);
	if (pipe(fds) == 0) {
		loop_watch(loop, fds[0], LOOP_READ, take, NULL);
		close(fds[0]);
		close(fds[1]);
	}
	loop_free(&loop);
	ok(!loop_timer_running(&timer), "a loop that is freed stops its timers");
	return done_testing();
}
