/*
 * exec_child.h - a running program with our ends of its stdin, stdout and stderr. It leads a process group of its own, gets none of our
 * descriptors and dies with us (PR_SET_PDEATHSIG). Nothing here waits without a limit, and nothing is written without reading meanwhile.
 */
#ifndef PAWL_HANDLERS_EXEC_CHILD_H
#define PAWL_HANDLERS_EXEC_CHILD_H
#include <sys/types.h>
#include "handlers/exec/exec_noise.h"
#include "util/buf.h"

struct exec_command {
	char *path;			/* the program, absolute */
	const char **argv;
	char *directory;		/* NULL: where we are */
};
struct exec_child {
	pid_t pid;			/* 0: none */
	int in, out, err;		/* -1: closed, by it or by us */
	struct buf said;		/* of stdout, not taken yet */
	struct exec_noise noise;	/* stderr */
};

void	exec_child_init(struct exec_child *) ATTR_NONNULL;
void	exec_child_release(struct exec_child *) ATTR_NONNULL;	/* ends it */
/* -1: it does not run; errno, and *step names what failed. */
int	exec_child_start(struct exec_child *, const struct exec_command *, const char *const *environment, const char **step) ATTR_MUST_CHECK ATTR_NONNULL;
/* Writes of 'unsent' what goes, reads what is there, once; waits for it up to wait_ms. false: nothing came. */
bool	exec_child_step(struct exec_child *, struct pawl_call *, struct slice *unsent, int64_t wait_ms);
void	exec_child_close_stdin(struct exec_child *) ATTR_NONNULL;
/* Whether it has ended by itself, without waiting. It stays to be ended: */
bool	exec_child_has_ended(const struct exec_child *) ATTR_NONNULL;
/* Waits up to patience_ms for its end, then kills it with all of its group; gives what it still had to say to the log. what: how it
 * ended, "exited with 3"; "" if it had to be killed. */
void	exec_child_end(struct exec_child *, struct pawl_call *, int64_t patience_ms, int *status, char *what, size_t what_size);
#endif
