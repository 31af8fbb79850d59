/*
 * text_table.c - see text_table.h.
 */
#include "ctl/text_table.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void
text_table_cell(struct text_table *t, size_t column, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	t->cells[t->rows * TEXT_TABLE_COLUMNS + column] = arena_vprintf(t->arena, fmt, ap);
	va_end(ap);
}

void
text_table_init(struct text_table *t, struct arena *arena, const char *const *names, size_t columns,
    size_t words, size_t rows)
{
	*t = (struct text_table){ .arena = arena, .columns = columns, .words = words };
	t->cells = arena_array(arena, (rows + 1) * TEXT_TABLE_COLUMNS, sizeof(*t->cells));
	for (size_t i = 0; i < columns; i++)
		text_table_cell(t, i, "%s", names[i]);
	t->rows++;
}

void
text_table_print(const struct text_table *t)
{
	int width[TEXT_TABLE_COLUMNS] = { 0 };

	for (size_t row = 0; row < t->rows; row++)
		for (size_t i = 0; i < t->columns; i++)
			if ((int)strlen(t->cells[row * TEXT_TABLE_COLUMNS + i]) > width[i])
				width[i] = (int)strlen(t->cells[row * TEXT_TABLE_COLUMNS + i]);
	for (size_t row = 0; row < t->rows; row++) {
		for (size_t i = 0; i < t->columns; i++) {
			/* Nothing behind the last words. */
			int w = i < t->words ? i + 1 < t->columns ? -width[i] : 0 : width[i];

			printf("  %*s", w, t->cells[row * TEXT_TABLE_COLUMNS + i]);
		}
		putchar('\n');
	}
}
