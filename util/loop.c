/*
 * loop.c - see loop.h. Ends the process when the kernel refuses a descriptor or a watch.
 *
 * A round: wait, watches, timers that were due when the wait ended, 'after' hooks, free the removed
 * watches. A removed watch stays in memory until then, because the round may hold an event for it.
 */
#include "util/loop.h"

#include <assert.h>
#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sysexits.h>
#include <unistd.h>

#include "util/arena.h"
#include "util/log.h"

enum { EVENTS_MAX = 64, TIMERS_MIN = 16 };
static const int64_t MS_MAX = INT64_C(100) * 365 * 86400 * 1000;	/* a century: no overflow */

struct loop_watch {
	struct loop *loop;
	struct loop_watch *previous, *next;	/* of the loop's watches, or its removed ones */
	int fd;
	unsigned events;			/* 0: not in the epoll set */
	bool removed;
	loop_fd_fn *fn;
	void *arg;
};

struct hook { loop_fn *fn; void *arg; };

struct loop {
	int epoll_fd, wake_fd, signal_fd;	/* signal_fd -1: no signals yet */
	bool stop;
	struct clock_mono now;
	struct loop_watch *watches, *removed;
	struct loop_timer **heap;		/* heap[1] is due first; heap[0] is not used */
	size_t timer_count, timer_cap;
	struct hook *hooks;
	size_t hook_count;
	loop_signal_fn *signal_fn;
	void *signal_arg;
};

static void
wake_up(void *arg, unsigned events)
{
	const struct loop *loop = arg;
	uint64_t count;

	(void)events;
	/* Fails only if another thread's write was already read. */
	if (read(loop->wake_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		log_fatal(EX_OSERR, "could not read the event loop's eventfd: %m");
}

struct loop *
loop_new(void)
{
	struct loop *loop = xcalloc(1, sizeof(*loop));

	loop->signal_fd = -1;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0)
		log_fatal(EX_OSERR, "could not make an event loop: %m");
	loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->wake_fd < 0)
		log_fatal(EX_OSERR, "could not make an event loop's eventfd: %m");
	loop->now = clock_mono_now();
	loop_watch(loop, loop->wake_fd, LOOP_READ, wake_up, loop);
	return loop;
}

static void
free_watches(struct loop_watch **list)
{
	for (struct loop_watch *watch = *list, *next; watch != NULL; watch = next) {
		next = watch->next;
		free(watch);
	}
	*list = NULL;
}

/* Descriptors leave the epoll set by closing it: any other way would, in a forked child, take them
   out of the parent's as well. */
void
loop_free(struct loop **loop_ptr)
{
	struct loop *loop = *loop_ptr;

	if (loop == NULL)
		return;
	*loop_ptr = NULL;
	for (size_t i = 1; i <= loop->timer_count; i++)
		loop->heap[i]->heap_index = 0;
	free_watches(&loop->watches);
	free_watches(&loop->removed);
	if (loop->signal_fd >= 0)
		close(loop->signal_fd);
	close(loop->wake_fd);
	close(loop->epoll_fd);
	free(loop->heap);
	free(loop->hooks);
	free(loop);
}

/* Watches. */

static void
link_watch(struct loop_watch **list, struct loop_watch *watch)
{
	watch->previous = NULL;
	watch->next = *list;
	if (*list != NULL)
		(*list)->previous = watch;
	*list = watch;
}

static void
unlink_watch(struct loop_watch **list, struct loop_watch *watch)
{
	if (watch->previous != NULL)
		watch->previous->next = watch->next;
	else
		*list = watch->next;
	if (watch->next != NULL)
		watch->next->previous = watch->previous;
}

struct loop_watch *
loop_watch(struct loop *loop, int fd, unsigned events, loop_fd_fn *fn, void *arg)
{
	struct loop_watch *watch = xcalloc(1, sizeof(*watch));

	assert(fd >= 0 && fn != NULL);
	watch->loop = loop;
	watch->fd = fd;
	watch->fn = fn;
	watch->arg = arg;
	link_watch(&loop->watches, watch);
	loop_watch_events(watch, events);
	return watch;
}

/* A paused watch leaves the set: epoll reports errors and hang-ups even to who wants nothing. */
void
loop_watch_events(struct loop_watch *watch, unsigned events)
{
	struct epoll_event event = { .data.ptr = watch };
	int op = watch->events == 0 ? EPOLL_CTL_ADD : events == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;

	assert(!watch->removed);
	if (events == watch->events)
		return;
	event.events = events & LOOP_READ ? EPOLLIN : 0;
	event.events |= events & LOOP_WRITE ? EPOLLOUT : 0;
	if (epoll_ctl(watch->loop->epoll_fd, op, watch->fd, &event) < 0)
		log_fatal(EX_OSERR, "could not watch descriptor %d: %m", watch->fd);
	watch->events = events;
}

void
loop_unwatch(struct loop_watch **watch_ptr)
{
	struct loop_watch *watch = *watch_ptr;

	if (watch == NULL)
		return;
	*watch_ptr = NULL;
	loop_watch_events(watch, 0);
	watch->removed = true;
	unlink_watch(&watch->loop->watches, watch);
	link_watch(&watch->loop->removed, watch);
}

static void
dispatch(const struct epoll_event *event)
{
	struct loop_watch *watch = event->data.ptr;
	unsigned events = 0;

	if (event->events & (EPOLLIN | EPOLLERR | EPOLLHUP))
		events |= LOOP_READ;
	if (event->events & (EPOLLOUT | EPOLLERR | EPOLLHUP))
		events |= LOOP_WRITE;
	/* As of now: an earlier callback may have changed it; none are left if it was removed. */
	events &= watch->events;
	if (events != 0)
		watch->fn(watch->arg, events);
}

/* Timers: a binary heap; each timer knows its place. */

static void
heap_place(struct loop *loop, size_t i, struct loop_timer *timer)
{
	loop->heap[i] = timer;
	timer->heap_index = i;
}

static void
heap_up(struct loop *loop, size_t i)
{
	struct loop_timer *timer = loop->heap[i];

	for (; i > 1 && timer->due.ns < loop->heap[i / 2]->due.ns; i /= 2)
		heap_place(loop, i, loop->heap[i / 2]);
	heap_place(loop, i, timer);
}

static void
heap_down(struct loop *loop, size_t i)
{
	struct loop_timer *timer = loop->heap[i];

	for (size_t child; (child = 2 * i) <= loop->timer_count; i = child) {
		if (child < loop->timer_count &&
		    loop->heap[child + 1]->due.ns < loop->heap[child]->due.ns)
			child++;
		if (timer->due.ns <= loop->heap[child]->due.ns)
			break;
		heap_place(loop, i, loop->heap[child]);
	}
	heap_place(loop, i, timer);
}

void
loop_timer_init(struct loop_timer *timer, struct loop *loop, loop_fn *fn, void *arg)
{
	*timer = (struct loop_timer){ .loop = loop, .fn = fn, .arg = arg };
}

void
loop_timer_set_ms(struct loop_timer *timer, int64_t ms)
{
	struct loop *loop = timer->loop;

	assert(loop != NULL && timer->fn != NULL);
	timer->due = clock_mono_after_ms(clock_mono_now(), ms < 0 ? 0 : ms > MS_MAX ? MS_MAX : ms);
	if (timer->heap_index == 0) {
		if (loop->timer_count + 1 >= loop->timer_cap) {
			loop->timer_cap = loop->timer_cap == 0 ? TIMERS_MIN : loop->timer_cap * 2;
			loop->heap = xrealloc(loop->heap, loop->timer_cap * sizeof(*loop->heap));
		}
		heap_place(loop, ++loop->timer_count, timer);
	}
	heap_up(loop, timer->heap_index);
	heap_down(loop, timer->heap_index);
}

void
loop_timer_stop(struct loop_timer *timer)
{
	struct loop *loop = timer->loop;
	size_t i = timer->heap_index;

	if (i == 0)
		return;

	struct loop_timer *last = loop->heap[loop->timer_count--];

	timer->heap_index = 0;
	if (last == timer)
		return;
	heap_place(loop, i, last);
	heap_up(loop, i);
	heap_down(loop, last->heap_index);
}

bool
loop_timer_running(const struct loop_timer *timer)
{
	return timer->heap_index != 0;
}

/* What a callback starts is due later than 'now': it waits for the next round, and no timer can
   keep the loop in here. */
static void
run_timers(struct loop *loop)
{
	while (loop->timer_count > 0 && loop->heap[1]->due.ns <= loop->now.ns) {
		struct loop_timer *timer = loop->heap[1];

		loop_timer_stop(timer);
		timer->fn(timer->arg);
	}
}

/* Milliseconds for epoll_wait: rounded up, or it would return just before a timer is due. */
static int
time_to_wait(const struct loop *loop)
{
	int64_t ns;

	if (loop->timer_count == 0)
		return -1;
	ns = loop->heap[1]->due.ns - clock_mono_now().ns;
	if (ns <= 0)
		return 0;
	return ns > INT64_C(86400000) * 1000000 ? 86400000 : (int)((ns + 999999) / 1000000);
}

/* Hooks, signals, waking. */

void
loop_after(struct loop *loop, loop_fn *fn, void *arg)
{
	loop->hooks = xrealloc(loop->hooks, (loop->hook_count + 1) * sizeof(*loop->hooks));
	loop->hooks[loop->hook_count++] = (struct hook){ fn, arg };
}

static void
read_signals(void *arg, unsigned events)
{
	struct loop *loop = arg;
	struct signalfd_siginfo info;

	(void)events;
	while (read(loop->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		loop->signal_fn(loop->signal_arg, (int)info.ssi_signo);
}

void
loop_signals(struct loop *loop, const int *numbers, size_t count, loop_signal_fn *fn, void *arg)
{
	sigset_t set;

	assert(loop->signal_fd < 0 && fn != NULL);
	sigemptyset(&set);
	for (size_t i = 0; i < count; i++)
		sigaddset(&set, numbers[i]);
	if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0)
		log_fatal(EX_OSERR, "could not block signals");
	loop->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (loop->signal_fd < 0)
		log_fatal(EX_OSERR, "could not make a signalfd: %m");
	loop->signal_fn = fn;
	loop->signal_arg = arg;
	loop_watch(loop, loop->signal_fd, LOOP_READ, read_signals, loop);
}

void
loop_wake(struct loop *loop)
{
	uint64_t one = 1;

	/* EAGAIN: it has been told 2^64 - 2 times already. */
	if (write(loop->wake_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		log_fatal(EX_OSERR, "could not write to an event loop's eventfd: %m");
}

static void
run_round(struct loop *loop, int timeout_ms)
{
	struct epoll_event events[EVENTS_MAX];
	int count = epoll_wait(loop->epoll_fd, events, EVENTS_MAX, timeout_ms);

	if (count < 0 && errno != EINTR)
		log_fatal(EX_OSERR, "could not wait for events: %m");
	loop->now = clock_mono_now();
	for (int i = 0; i < count; i++)
		dispatch(&events[i]);
	run_timers(loop);
	for (size_t i = 0; i < loop->hook_count; i++)
		loop->hooks[i].fn(loop->hooks[i].arg);
	free_watches(&loop->removed);
}

void
loop_run(struct loop *loop)
{
	/* The first round does not wait: the hooks flush what was gathered before. */
	for (int timeout_ms = 0; !loop->stop; timeout_ms = time_to_wait(loop))
		run_round(loop, timeout_ms);
	loop->stop = false;
}

void
loop_stop(struct loop *loop)
{
	loop->stop = true;
}

struct clock_mono
loop_now(const struct loop *loop)
{
	return loop->now;
}
