/*
 * spawn.h - child processes. Nothing is inherited but what is named; the child dies with its parent (PR_SET_PDEATHSIG).
 * Mechanism only: when to start again is the caller's policy.
 */
#ifndef PAWL_UTIL_SPAWN_H
#define PAWL_UTIL_SPAWN_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "util/attr.h"

struct spawn_fd { int parent, child; };	/* the child's descriptor number is a copy of the parent's */
struct spawn_options {
	const char *path;		/* absolute */
	const char *const *argv;
	const struct spawn_fd *fds;	/* besides 0 (/dev/null), 1 and 2 (the parent's stderr) */
	size_t fd_count;
	int64_t memory_limit_bytes;	/* RLIMIT_AS; 0: none */
	const char *const *without;	/* environment variables that it does not get, up to a NULL; NULL: it gets all */
	const char *const *environment;	/* "NAME=VALUE" ... NULL: exactly these instead of ours; NULL: ours */
	const char *directory;		/* where it runs; NULL: where we are */
	bool own_group;			/* it leads a process group of its own */
};

/* Program in a new process. -1: errno, and *step names what failed ("exec", "dup2", ...); exec's failure is reported here. */
pid_t	spawn_exec(const struct spawn_options *, const char **step) ATTR_MUST_CHECK ATTR_NONNULL;
/* fork() for a role of the same program: 0 in the child (signal mask empty, dispositions default, PDEATHSIG set), pid, or -1. */
pid_t	spawn_fork(void) ATTR_MUST_CHECK;
/* "exited with 3", "was killed by SIGSEGV (core dumped)": buf is filled and returned. */
const char *spawn_status_text(int status, char *buf, size_t size) ATTR_NONNULL;
void	spawn_title_init(int argc, char **argv);	/* first thing in main, before threads */
void	spawn_title_set(const char *fmt, ...) ATTR_PRINTF(1, 2);	/* what ps shows: role and queue */
#endif
