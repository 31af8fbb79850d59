/*
 * slot_cleaner.h - takes keys out of the inbox that are older than the queue's retention.
 *
 * All slots of a queue try, one at a time does it (advisory lock), a thousand rows at a time: once
 * a minute, and as long as there are more, after each batch or as soon as the slot is idle.
 */
#ifndef PAWL_RUNTIME_SLOT_CLEANER_H
#define PAWL_RUNTIME_SLOT_CLEANER_H
#include "runtime/slot_session.h"
#include "util/clock.h"
#include "util/log.h"

struct slot_cleaner {
	const char *consumer;
	int64_t retention_ms;		/* 0: never */
	struct clock_mono due;
	struct log_complaint complaint;
};

void	slot_cleaner_init(struct slot_cleaner *, const struct slot_setup *) ATTR_NONNULL;
int64_t	slot_cleaner_wait_ms(const struct slot_cleaner *) ATTR_NONNULL;	/* until it is due; -1: never */
/* Does a thousand if it is due. -1: the session is lost (error). */
int	slot_cleaner_run(struct slot_cleaner *, struct slot_session *, struct pg_error *) ATTR_MUST_CHECK ATTR_NONNULL;
#endif
