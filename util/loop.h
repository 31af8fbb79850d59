/*
 * loop.h - one thread's event loop: descriptors (epoll, level-triggered), timers, signals (signalfd).
 *
 * Callbacks may add, change and remove any watch or timer, their own included; a removed one is not called again, not
 * even for an event already fetched in this round. After each round of events the 'after' hooks run once: that is
 * where work gathered in the round is flushed (acks, batches). The loop cannot fail but for lack of memory or descriptors,
 * which ends the process (log_fatal).
 */
#ifndef PAWL_UTIL_LOOP_H
#define PAWL_UTIL_LOOP_H
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include "util/attr.h"
#include "util/clock.h"

enum { LOOP_READ = 1, LOOP_WRITE = 2 };	/* an error or hang-up is reported as whatever is watched */

typedef void loop_fd_fn(void *arg, unsigned events);
typedef void loop_fn(void *arg);
typedef void loop_signal_fn(void *arg, int signal_number);

struct loop;
struct loop_watch;
struct loop_timer {			/* embedded in its owner; zero-initialised is stopped */
	struct loop *loop;
	loop_fn *fn;
	void *arg;
	struct clock_mono due;
	size_t heap_index;		/* 0: not running */
};

struct loop *loop_new(void);
void	loop_free(struct loop **);
void	loop_run(struct loop *) ATTR_NONNULL;		/* until loop_stop() */
void	loop_stop(struct loop *) ATTR_NONNULL;
struct clock_mono loop_now(const struct loop *) ATTR_NONNULL;	/* time at the start of this round */

struct loop_watch *loop_watch(struct loop *, int fd, unsigned events, loop_fd_fn *, void *arg);	/* fd stays the caller's */
void	loop_watch_events(struct loop_watch *, unsigned events) ATTR_NONNULL;	/* no syscall if unchanged; 0 pauses */
void	loop_unwatch(struct loop_watch **) ATTR_NONNULL;	/* before the fd is closed; accepts a NULL watch */

void	loop_timer_init(struct loop_timer *, struct loop *, loop_fn *, void *arg);
void	loop_timer_set_ms(struct loop_timer *, int64_t ms) ATTR_NONNULL;	/* once, in ms from now; moves a running one */
void	loop_timer_stop(struct loop_timer *) ATTR_NONNULL;
bool	loop_timer_running(const struct loop_timer *) ATTR_NONNULL;

void	loop_after(struct loop *, loop_fn *, void *arg);	/* after each round, in order of registration */
void	loop_signals(struct loop *, const int *numbers, size_t count, loop_signal_fn *, void *arg); /* blocks them; once per loop */
void	loop_wake(struct loop *) ATTR_NONNULL;	/* from another thread: makes the loop do a round */
#endif
