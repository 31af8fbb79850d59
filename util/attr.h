/*
 * attr.h - function attributes, and the calls that are banned everywhere (git's banned.h).
 * Included by every header of ours; knows nothing else.
 */
#ifndef PAWL_UTIL_ATTR_H
#define PAWL_UTIL_ATTR_H
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ATTR_PRINTF(f, a)	__attribute__((format(printf, f, a)))
#define ATTR_MUST_CHECK		__attribute__((warn_unused_result))
#define ATTR_NONNULL		__attribute__((nonnull))
#define ATTR_NORETURN		__attribute__((noreturn))
#define ARRAY_SIZE(a)		(sizeof(a) / sizeof((a)[0]))

#ifndef __clang__	/* it objects: the C library makes macros of some; t/02-tree.t looks for the calls as well */
#pragma GCC poison strcpy strcat strncpy sprintf vsprintf strtok atoi atol gmtime localtime
#endif
#endif
