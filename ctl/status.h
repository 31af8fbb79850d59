/*
 * status.h - what pawlctl status found, in the two ways to show it. Read-only: a statistics file is mapped, never written.
 */
#ifndef PAWL_CTL_STATUS_H
#define PAWL_CTL_STATUS_H
#include <stdbool.h>
#include <stdint.h>
#include "common/stats.h"
#include "util/arena.h"

enum { STATUS_SILENT_MS = 10 * 1000, STATUS_PAGE_SILENT_MS = 5 * 1000 };

/* One queue or outbox as it was seen; numbers are since the program's start. */
struct status_page {
	const char *name, *state;		/* "consuming", "no slots", "no broker", "down"; "leading", "standby" ... */
	const struct stats_page *page;
	double rate;				/* messages per second since the last look; < 0: this is the first one */
};
/* pawl-worker, pawl-relay, or a pawl-worker --queue. */
struct status_part {
	const char *program;			/* "worker", "relay" */
	const char *name;			/* of the statistics file: the installation's, or NAME.QUEUE */
	bool wanted;				/* the configuration has something for it to do */
	bool running;
	const char *why;			/* not running: why one thinks so */
	const char *run_dir;
	const struct stats_file *file;		/* NULL: there is none */
	struct status_page *pages;
	size_t page_count;
};
struct status {
	const char *name;			/* of the installation */
	int64_t now_ms;
	struct status_part *parts;		/* the worker, the relay, then those of one queue that were found */
	size_t part_count;
	struct arena *arena;			/* for what is made while it is shown */
};

/* Fills in a part whose program and name are set: whether it runs, and what its file says. The file is the caller's to close. */
struct config;
void	status_look_at(struct status *, struct status_part *, const struct config *) ATTR_NONNULL;

/* Messages that left a queue, or were confirmed of an outbox: what a rate is made of. */
uint64_t status_total(const struct stats_page *) ATTR_NONNULL;
uint64_t status_outcome(const struct stats_queue *, enum stats_outcome) ATTR_NONNULL;	/* of all handlers */
/* The value that a share of the observations does not exceed, as its bucket tells; 0: there are none. */
int64_t	status_quantile_us(const struct stats_histogram *, double share) ATTR_NONNULL;
static inline uint64_t
status_number(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

void	status_print_table(const struct status *) ATTR_NONNULL;
void	status_print_json(const struct status *, bool readable) ATTR_NONNULL;
#endif
