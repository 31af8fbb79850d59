/*
 * config_errors.c - gathers what is wrong with a configuration.
 */
#include "common/config_errors.h"

void
config_error(
    struct config_errors *e, const char *file, int line, const char *path, const char *fmt, ...)
{
	va_list ap;
	struct config_error *error;
	const char *what;

	if (e->count == CONFIG_ERRORS_KEPT) {
		e->dropped++;
		return;
	}
	if (e->count == e->cap) {
		e->cap = e->cap == 0 ? 16 : e->cap * 2;
		e->list = xrealloc(e->list, e->cap * sizeof(*e->list));
	}
	va_start(ap, fmt);
	what = arena_vprintf(&e->arena, fmt, ap);
	va_end(ap);
	error = &e->list[e->count];
	error->file = file;
	error->line = line;
	error->text = path == NULL ? what : arena_printf(&e->arena, "%s: %s", path, what);
	error->order = e->count++;
}

static int
by_place(const void *left, const void *right)
{
	const struct config_error *a = left, *b = right;

	if (a->file_order != b->file_order)
		return a->file_order < b->file_order ? -1 : 1;
	if (a->line != b->line)
		return a->line < b->line ? -1 : 1;
	return a->order < b->order ? -1 : a->order > b->order;
}

void
config_errors_write(struct config_errors *e, struct buf *out)
{
	for (size_t i = 0; i < e->count; i++) {
		e->list[i].file_order = i;
		for (size_t j = 0; j < i; j++)
			if (strcmp(e->list[j].file, e->list[i].file) == 0) {
				e->list[i].file_order = e->list[j].file_order;
				break;
			}
	}
	if (e->count > 1)
		qsort(e->list, e->count, sizeof(*e->list), by_place);
	for (size_t i = 0; i < e->count && i < CONFIG_ERRORS_SHOWN; i++) {
		const struct config_error *error = &e->list[i];
		const char *number = error->line > 0 ? arena_printf(&e->arena, ":%d", error->line) : "";
		const char *line = arena_printf(&e->arena, "%s%s: %s", error->file, number, error->text);

		for (; *line != '\0'; line++)
			if ((unsigned char)*line < 0x20 || *line == 0x7f)
				buf_printf(out, "\\x%02x", (unsigned char)*line);
			else
				buf_putc(out, *line);
		buf_putc(out, '\n');
	}
	if (e->count > CONFIG_ERRORS_SHOWN)
		buf_printf(out, "%s: and %zu more errors\n", e->list[0].file,
		    e->count - CONFIG_ERRORS_SHOWN + e->dropped);
}

void
config_errors_release(struct config_errors *e)
{
	free(e->list);
	arena_release(&e->arena);
	*e = (struct config_errors)CONFIG_ERRORS_INIT;
}
