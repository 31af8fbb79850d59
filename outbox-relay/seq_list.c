/*
 * seq_list.c - see seq_list.h.
 */
#include "outbox-relay/seq_list.h"

#include <stdlib.h>

#include "util/arena.h"
#include "util/buf.h"

void
seq_list_add(struct seq_list *list, int64_t seq)
{
	if (list->count == list->cap) {
		list->cap = list->cap == 0 ? 64 : list->cap * 2;
		list->items = xrealloc(list->items, list->cap * sizeof(*list->items));
	}
	list->items[list->count++] = seq;
}

static int
compare_seqs(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

void
seq_list_sort(struct seq_list *list)
{
	if (list->count > 1)
		qsort(list->items, list->count, sizeof(*list->items), compare_seqs);
}

bool
seq_list_has(const struct seq_list *list, int64_t seq)
{
	return list->count > 0 &&
	    bsearch(&seq, list->items, list->count, sizeof(*list->items), compare_seqs) != NULL;
}

void
seq_list_release(struct seq_list *list)
{
	free(list->items);
	*list = (struct seq_list){ NULL, 0, 0 };
}

void
seq_list_text(const struct seq_list *list, struct buf *text)
{
	buf_clear(text);
	for (size_t i = 0; i < list->count; i++)
		buf_printf(text, "%c%lld", i == 0 ? '{' : ',', (long long)list->items[i]);
	buf_puts(text, list->count == 0 ? "{}" : "}");
}

void
seq_list_parse(struct seq_list *list, const char *text)
{
	for (const char *at = text; *at != '\0';) {
		char *end;
		long long seq;

		if (*at == '{' || *at == ',' || *at == '}') {
			at++;
			continue;
		}
		seq = strtoll(at, &end, 10);
		if (end == at)
			return;
		seq_list_add(list, seq);
		at = end;
	}
}
