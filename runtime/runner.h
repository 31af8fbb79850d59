/*
 * runner.h - one queue's process: its AMQP connections, its slots, and every message of the queue that is not settled.
 *
 * A runner is forked by the master, or is the program itself (pawl-worker --queue). It is the only parent of its slots and dies with
 * its master. What it tells the master and hears from it are single bytes over a socket pair.
 */
#ifndef PAWL_RUNTIME_RUNNER_H
#define PAWL_RUNTIME_RUNNER_H
#include <stdbool.h>
#include "common/config.h"
#include "common/stats.h"

enum runner_byte {
	RUNNER_CONSUMING = 'c',		/* runner -> master: the broker has answered; an older generation may retire */
	RUNNER_IDLE = 'i',		/* runner -> master: not consuming any more: broker or database is gone */
	RUNNER_RETIRE = 'r',		/* master -> runner: finish what was delivered, then exit 0 */
	RUNNER_ABORT = 'a'		/* master -> runner: exit at once; what is not finished goes back to the broker */
};

struct runner_options {			/* borrowed until runner_run() returns */
	const struct config *config;
	const struct config_queue *queue;
	struct stats_page *page;	/* counters of this queue; its gauges belong to the newest generation */
	unsigned generation;
	/* To the master; -1: there is none. SIGTERM drains in any case; a second one, and SIGINT, mean something only without a master: Ctrl-C
	 * and service managers signal the whole group, and then the master says what shall be. */
	int control_fd;
	bool drain;			/* end when the queue has run empty */
};

/* Works until it is told to end; the exit code of the process. */
int	runner_run(const struct runner_options *) ATTR_NONNULL;
#endif
