/*
 * master_internal.h - what the files of the master share: policy (master.c), reloading (master_reload.c), forking (master_spawn.c).
 */
#ifndef PAWL_RUNTIME_MASTER_INTERNAL_H
#define PAWL_RUNTIME_MASTER_INTERNAL_H
#include <sys/types.h>
#include "common/stats.h"
#include "runtime/master.h"
#include "util/backoff.h"
#include "util/log.h"
#include "util/loop.h"

enum child_state {
	CHILD_RESTARTING,		/* no process; its timer runs */
	CHILD_STARTING,			/* does not consume yet, or not any more: broker or database are gone */
	CHILD_CONSUMING,
	CHILD_RETIRING,			/* finishes what was delivered, its successor consumes */
	CHILD_STOPPING			/* told to end */
};

struct master;
struct child {				/* a runner, or what shall be one again */
	struct child *next;		/* older ones come first */
	struct master *master;
	char *name;			/* the queue's consumer */
	const struct config_queue *queue;	/* NULL: superseded or removed; never started again */
	int64_t shutdown_timeout_ms;
	unsigned generation;		/* of the configuration that it was started with */
	enum child_state state;
	pid_t pid;
	int control_fd;			/* -1 without a process */
	struct loop_watch *watch;
	struct clock_mono started;
	struct backoff delays;
	struct loop_timer restart;
};

struct master {
	struct loop *loop;
	const struct master_options *options;
	struct config *config;
	struct stats_file *stats;	/* NULL: could not be made */
	struct child *children;
	unsigned generation;		/* grows with each configuration */
	bool stopping, killing;
	struct loop_timer deadline;
	pid_t checker;			/* tries a new configuration; 0: none */
	bool reload_again;		/* SIGHUP while one was tried */
	struct log_complaint spawn;
};

/* master.c */
struct child *master_add(struct master *, const struct config_queue *) ATTR_NONNULL;	/* and start it */
void	master_stop_child(struct child *) ATTR_NONNULL;		/* it gives back what it has not started, and ends */
void	master_remove(struct child **) ATTR_NONNULL;		/* it has no process */
void	master_tell_systemd(const struct master *, const char *first) ATTR_NONNULL;

/* master_spawn.c */
int	master_spawn_runner(struct child *) ATTR_MUST_CHECK ATTR_NONNULL;	/* -1: logged */
pid_t	master_spawn_check(struct master *) ATTR_NONNULL;	/* 0: could not, logged */
void	master_close_control(struct child *) ATTR_NONNULL;

/* master_reload.c */
void	master_reload(struct master *) ATTR_NONNULL;		/* SIGHUP */
void	master_checked(struct master *, int status) ATTR_NONNULL;	/* the checker has ended */
struct config *master_load(const struct master *, struct buf *errors) ATTR_NONNULL;
#endif
