/*
 * exec_noise.h - what a program prints beside its answers goes to the log: line by line, cut to size, not more than a person reads.
 */
#ifndef PAWL_HANDLERS_EXEC_NOISE_H
#define PAWL_HANDLERS_EXEC_NOISE_H
#include <pawl/handler.h>
#include <stdbool.h>
#include <stdint.h>

enum { EXEC_NOISE_LINE = 1000 };	/* bytes of a line that are shown */

struct exec_noise {
	const char *name;		/* "stderr" */
	char line[EXEC_NOISE_LINE], last[EXEC_NOISE_LINE + 1];	/* the one that is coming in; the last whole one */
	size_t len;
	bool overlong;			/* the rest of this line is dropped */
	int64_t window_ms;		/* since then, on the monotonic clock, ... */
	unsigned shown, dropped;	/* ... so many lines */
};

/* Foreign bytes for people, in the call's memory: at most 'most' of them; what is no text is "?". */
const char *exec_noise_shown(struct pawl_call *, const char *data, size_t len, size_t most);

void	exec_noise_init(struct exec_noise *, const char *name);
/* call NULL: there is none, as the slot ends; lines go to stderr. */
void	exec_noise_add(struct exec_noise *, struct pawl_call *, const char *data, size_t len);
void	exec_noise_end(struct exec_noise *, struct pawl_call *);	/* no more comes: a line without its end is one */
#endif
