/*
 * text_table.h - a table on standard output, for people: columns as wide as what is in them.
 */
#ifndef PAWL_CTL_TEXT_TABLE_H
#define PAWL_CTL_TEXT_TABLE_H
#include <stddef.h>
#include "util/arena.h"
#include "util/attr.h"

enum { TEXT_TABLE_COLUMNS = 16 };
struct text_table {
	struct arena *arena;
	const char **cells;		/* TEXT_TABLE_COLUMNS for each row */
	size_t rows, columns;
	size_t words;			/* so many columns are words, to the left; the others numbers */
};

/* With the first line, the names; rows: at most so many follow. Each ends with rows++. */
void	text_table_init(struct text_table *, struct arena *, const char *const *names, size_t columns,
    size_t words, size_t rows) ATTR_NONNULL;
void	text_table_cell(struct text_table *, size_t column, const char *fmt, ...) ATTR_PRINTF(3, 4);
void	text_table_print(const struct text_table *) ATTR_NONNULL;
#endif
