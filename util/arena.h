/*
 * arena.h - memory that is freed all at once: a batch's, a file's.
 *
 * Allocation never returns NULL: out of memory ends the process (log_fatal, EX_OSERR), its parent decides.
 * After arena_reset() the arena keeps its largest chunk up to 1 MiB, so that a steady load stops calling malloc.
 */
#ifndef PAWL_UTIL_ARENA_H
#define PAWL_UTIL_ARENA_H
#include <stdarg.h>
#include "util/attr.h"

struct arena_chunk;
struct arena {
	struct arena_chunk *first;
	struct arena_chunk *current;
	size_t used_bytes;		/* handed out since the last reset */
};
#define ARENA_INIT { NULL, NULL, 0 }

void	arena_reset(struct arena *) ATTR_NONNULL;	/* all that was handed out is gone */
void	arena_release(struct arena *) ATTR_NONNULL;	/* and the chunks as well; usable again afterwards */
void	*arena_alloc(struct arena *, size_t size) ATTR_NONNULL;	/* aligned for any type, not zeroed */
void	*arena_zalloc(struct arena *, size_t size) ATTR_NONNULL;
void	*arena_array(struct arena *, size_t count, size_t size) ATTR_NONNULL;	/* zeroed, overflow checked */
char	*arena_memdup(struct arena *, const void *, size_t size);	/* plus one NUL behind it */
char	*arena_strdup(struct arena *, const char *) ATTR_NONNULL;
char	*arena_printf(struct arena *, const char *fmt, ...) ATTR_PRINTF(2, 3);
char	*arena_vprintf(struct arena *, const char *fmt, va_list) ATTR_PRINTF(2, 0);

/* For memory that outlives a batch: malloc and friends that end the process instead of returning NULL. */
void	*xmalloc(size_t size);
void	*xcalloc(size_t count, size_t size);
void	*xrealloc(void *, size_t size);
char	*xstrdup(const char *) ATTR_NONNULL;
char	*xasprintf(const char *fmt, ...) ATTR_PRINTF(1, 2);
#endif
