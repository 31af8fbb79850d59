/*
 * master.h - the process that starts a runner for each queue, starts it again when it dies, and replaces it when its configuration changes.
 *
 * It has no connection, no handler and no message: there is nothing in it that can go wrong from outside. It allocates when it starts, when it starts
 * a runner and when it reloads.
 */
#ifndef PAWL_RUNTIME_MASTER_H
#define PAWL_RUNTIME_MASTER_H
#include <stdbool.h>
#include "common/config.h"

struct master_options {			/* borrowed until master_run() returns */
	const char *file;		/* the configuration, for SIGHUP */
	bool drain;			/* runners end when their queues are empty; then the master does */
	/* What the command line says over the file, on each configuration that is loaded. */
	void (*adjust)(void *arg, struct config *);
	/* Tries a configuration, handlers included, and prints all its errors. The exit code: 0 or EX_CONFIG. Called in a process of its own. */
	int (*check)(void *arg, const struct config *);
	void *arg;
};

/* Takes the configuration. Works until it is told to end; the exit code of the process. */
int	master_run(const struct master_options *, struct config *) ATTR_NONNULL;
#endif
