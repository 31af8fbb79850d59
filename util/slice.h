/*
 * slice.h - a view of bytes that somebody else owns. Not NUL-terminated unless its maker says so; data may be NULL
 * when len is 0.
 */
#ifndef PAWL_UTIL_SLICE_H
#define PAWL_UTIL_SLICE_H
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include "util/attr.h"

struct slice { const char *data; size_t len; };

static inline struct slice
slice_of(const char *text)
{
	return (struct slice){ text, text == NULL ? 0 : strlen(text) };
}

static inline bool
slice_equals(struct slice a, struct slice b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool
slice_is(struct slice a, const char *text)
{
	return slice_equals(a, slice_of(text));
}
#endif
