/*
 * stats.h - the shared statistics file: fixed layout, any number of read-only mappers.
 *
 * RUN_DIR/NAME.worker.stats and RUN_DIR/NAME.relay.stats. Page 0 describes the program, each further page one runner or outbox. Counters only
 * grow while the program lives (a runner that is started again takes its queue's page over); they are 64-bit atomics, added to
 * relaxed, so that a death in the middle loses nothing and readers need no lock. A page has one writer, but for the time of a hand-over, when an
 * old runner still counts what it finishes: then its gauges belong to the new one. Readers check magic, layout and size first.
 */
#ifndef PAWL_COMMON_STATS_H
#define PAWL_COMMON_STATS_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "util/attr.h"

enum { STATS_NAME_MAX = 64, STATS_HANDLERS_MAX = 64, STATS_BUCKETS = 20, STATS_LAYOUT = 3 };

enum stats_outcome {		/* how a message left, or did not yet; names in stats_outcome_text() are the metric's label values */
	STATS_DONE, STATS_DUPLICATE, STATS_IGNORED, STATS_RETRIED, STATS_SNOOZED, STATS_DEAD, STATS_CRASHED, STATS_TIMEOUT, STATS_RETURNED,
	STATS_OUTCOMES
};
const char *stats_outcome_text(enum stats_outcome);

struct stats_histogram { _Atomic uint64_t count, sum_us, bucket[STATS_BUCKETS]; };	/* bucket i: up to 64 us << i; the last takes the rest */
void	stats_observe(struct stats_histogram *, int64_t us);

struct stats_handler {
	char name[STATS_NAME_MAX];
	_Atomic uint64_t outcome[STATS_OUTCOMES];
	struct stats_histogram handle;
};

enum stats_page_kind { STATS_PAGE_FREE, STATS_PAGE_QUEUE, STATS_PAGE_OUTBOX };
enum stats_queue_state {	/* what the runner does; slots are another matter */
	STATS_QUEUE_CONNECTING, STATS_QUEUE_CONSUMING, STATS_QUEUE_PAUSED, STATS_QUEUE_ENDING
};
enum stats_slot_death { STATS_DEATH_CRASH, STATS_DEATH_TIMEOUT, STATS_DEATH_EXIT, STATS_DEATH_PROTOCOL, STATS_DEATHS };
struct stats_queue {
	struct stats_handler handlers[STATS_HANDLERS_MAX];	/* unused: ""; the last one, also "": messages that reached no handler */
	struct stats_histogram lag, database;
	_Atomic uint64_t batches, batch_messages, reconnects, deadlocks, slot_deaths[STATS_DEATHS];
	_Atomic uint64_t in_flight, waiting, slots, slots_ready, state, generation;	/* gauges */
	_Atomic uint64_t pid, runner_starts;
};
struct stats_outbox {
	_Atomic uint64_t published, confirmed, returned, nacked, refused, deleted, parked, dropped, reads, reconnects, leader_losses, swept;
	_Atomic uint64_t in_flight, blocked_aggregates, leader, database_up, broker_up;		/* gauges */
	_Atomic uint64_t oldest_ms, pending;							/* gauges, of the last look */
	struct stats_histogram confirm;			/* publish to confirm */
};
struct stats_page {
	_Atomic uint32_t kind;
	char name[STATS_NAME_MAX];			/* queue's consumer name, outbox */
	_Atomic int64_t updated_ms;			/* Unix time of the writer's last sign of life, at least every second */
	union { struct stats_queue queue; struct stats_outbox outbox; };
};
struct stats_file {
	uint32_t magic, layout, page_size, page_count;
	char program[STATS_NAME_MAX], version[STATS_NAME_MAX], name[STATS_NAME_MAX];
	_Atomic int64_t started_ms, pid;
	_Atomic uint32_t closed;			/* orderly end */
	struct stats_page pages[];
};

/* Writer: makes the file (mode 0644, by rename, so that mappers of an old one are not disturbed). NULL: error is filled. */
/* -1: another process has this program, name and run_dir; error says which. Held until the process ends. */
int	stats_lock(const char *run_dir, const char *program, const char *name, char *error, size_t error_size) ATTR_MUST_CHECK;
struct stats_file *stats_create(const char *run_dir, const char *program, const char *name, uint32_t pages, char *error, size_t error_size) ATTR_MUST_CHECK;
struct stats_page *stats_page_take(struct stats_file *, enum stats_page_kind, const char *name);	/* the page of that name, or a free one; NULL: none left */
struct stats_handler *stats_handler_take(struct stats_queue *, const char *name);	/* never NULL: the last one serves all that find no room */
/* Reader. */
const struct stats_file *stats_open(const char *run_dir, const char *program, const char *name, char *error, size_t error_size) ATTR_MUST_CHECK;
void	stats_close(const struct stats_file **);
static inline void
stats_add(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}
static inline void
stats_set(_Atomic uint64_t *gauge, uint64_t n)
{
	atomic_store_explicit(gauge, n, memory_order_relaxed);
}
#endif
