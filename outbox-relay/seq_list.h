/*
 * seq_list.h - a list of seqs: what was confirmed, what is looked for. Goes to the server and comes
 * from it as the text of an int8[].
 */
#ifndef PAWL_OUTBOX_RELAY_SEQ_LIST_H
#define PAWL_OUTBOX_RELAY_SEQ_LIST_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "util/attr.h"

struct seq_list { int64_t *items; size_t count, cap; };	/* emptied by count = 0 */
struct buf;

void	seq_list_add(struct seq_list *, int64_t) ATTR_NONNULL;
void	seq_list_sort(struct seq_list *) ATTR_NONNULL;
/* of a sorted one */
bool	seq_list_has(const struct seq_list *, int64_t) ATTR_NONNULL;
void	seq_list_release(struct seq_list *) ATTR_NONNULL;
/* "{1,2,3}", in place of what the buf holds */
void	seq_list_text(const struct seq_list *, struct buf *) ATTR_NONNULL;
/* adds what such a text holds */
void	seq_list_parse(struct seq_list *, const char *) ATTR_NONNULL;
#endif
