/*
 * fault.h - named points at which tests let something go wrong. Compiled in only with --enable-faults.
 *
 *   PAWL_FAULT=slot.before_commit:kill          SIGKILL to itself, the first time the point is passed
 *   PAWL_FAULT=slot.before_commit:stop@3        SIGSTOP, the third time (counted per process)
 *   PAWL_FAULT=a:kill,b:exit                    several; exit: _exit(1); abort: abort(); error: fault_hit() returns true
 *   PAWL_FAULT_ONCE=/path                       whichever process creates this file first does it, the others do not
 */
#ifndef PAWL_UTIL_FAULT_H
#define PAWL_UTIL_FAULT_H
#include <stdbool.h>
#include "config.h"
#ifdef PAWL_FAULTS
bool	fault_hit(const char *point);
#else
static inline bool fault_hit(const char *point) { (void)point; return false; }
#endif
#endif
