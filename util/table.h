/*
 * table.h - hash table from bytes to a pointer. Keyed SipHash: the keys come from outside.
 *
 * The key's memory is borrowed: it must live and stay unchanged as long as its entry (usually it is part of the value).
 * Integers serve as keys by address and size. A value is not NULL; the table never touches it.
 */
#ifndef PAWL_UTIL_TABLE_H
#define PAWL_UTIL_TABLE_H
#include <stdint.h>
#include "util/attr.h"

struct table_entry { const void *key; size_t key_len; uint64_t hash; void *value; };
struct table { struct table_entry *entries; size_t count, cap, dead; };
#define TABLE_INIT { NULL, 0, 0, 0 }

void	table_release(struct table *) ATTR_NONNULL;	/* entries only, not the values */
void	table_clear(struct table *) ATTR_NONNULL;
void	*table_get(const struct table *, const void *key, size_t len) ATTR_NONNULL;	/* NULL: not there */
void	*table_put(struct table *, const void *key, size_t len, void *value) ATTR_NONNULL; /* value it replaced, or NULL; takes the new key pointer */
void	*table_remove(struct table *, const void *key, size_t len) ATTR_NONNULL;	/* the value, or NULL */
/* Walk: for (size_t at = 0; (v = table_next(t, &at)) != NULL;). Removing the current entry on the way is allowed. */
void	*table_next(const struct table *, size_t *at) ATTR_NONNULL;

uint64_t table_hash(const void *, size_t len);		/* SipHash-1-3, one random key per process tree (set before fork) */
#endif
