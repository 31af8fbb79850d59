/*
 * seq_map.h - hash table from a row's seq to a pointer: what the relay knows of the rows that it
 * has seen.
 *
 * The values are never NULL and never touched.
 */
#ifndef PAWL_OUTBOX_RELAY_SEQ_MAP_H
#define PAWL_OUTBOX_RELAY_SEQ_MAP_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "util/attr.h"

struct seq_map_entry { int64_t seq; void *value; };	/* value NULL: free */
struct seq_map { struct seq_map_entry *entries; size_t count, cap; };
#define SEQ_MAP_INIT { NULL, 0, 0 }

void	seq_map_release(struct seq_map *) ATTR_NONNULL;		/* empty, its memory freed */
void	*seq_map_get(const struct seq_map *, int64_t seq) ATTR_NONNULL;	/* NULL: not there */
/* adds or replaces */
void	seq_map_put(struct seq_map *, int64_t seq, void *value) ATTR_NONNULL;
void	seq_map_remove(struct seq_map *, int64_t seq) ATTR_NONNULL;
/*
 * Walk: for (size_t at = 0; (e = seq_map_next(m, &at)) != NULL;). The map must not change on the
 * way.
 */
const struct seq_map_entry *seq_map_next(const struct seq_map *, size_t *at) ATTR_NONNULL;
#endif
