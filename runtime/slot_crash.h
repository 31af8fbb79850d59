/*
 * slot_crash.h - last words of a slot: what ended it and from where, left on the desk for the runner and pawlctl.
 *
 * Nothing depends on them. A handler may take the signals over, or break so much that none can be written: then there are none, and
 * the process ends as it would have.
 */
#ifndef PAWL_RUNTIME_SLOT_CRASH_H
#define PAWL_RUNTIME_SLOT_CRASH_H
#include "common/frame.h"

void	slot_crash_init(struct desk *) ATTR_NONNULL;	/* before any handler is loaded */
void	slot_crash_end(const char *why) ATTR_NONNULL __attribute__((noreturn));	/* why goes on the desk; exits */
void	slot_crash_done(void);				/* from here on exit() is in order */
#endif
