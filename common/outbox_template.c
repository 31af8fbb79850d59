/*
 * outbox_template.c - templates over the columns of a row: exchange and routing key. Plain text
 * work, no database.
 */
#include "common/outbox_table.h"

#include <string.h>

static const char *const column_names[] = {
	[OUTBOX_SEQ] = "seq",
	[OUTBOX_ID] = "id",
	[OUTBOX_AGGREGATE_TYPE] = "aggregatetype",
	[OUTBOX_AGGREGATE_ID] = "aggregateid",
	[OUTBOX_TYPE] = "type",
	[OUTBOX_PAYLOAD] = "payload",
	[OUTBOX_HEADERS] = "headers",
	[OUTBOX_CREATED] = "created_at",
};
_Static_assert(ARRAY_SIZE(column_names) == OUTBOX_COLUMNS, "a name for each column");

const char *
outbox_column_name(enum outbox_column column)
{
	return (unsigned)column < OUTBOX_COLUMNS ? column_names[column] : "unknown";
}

static int
find_column(const char *name, size_t len)
{
	static const enum outbox_column allowed[] = {
		OUTBOX_ID, OUTBOX_AGGREGATE_TYPE, OUTBOX_AGGREGATE_ID, OUTBOX_TYPE,
	};

	for (size_t i = 0; i < ARRAY_SIZE(allowed); i++)
		if (slice_is((struct slice){ name, len }, column_names[allowed[i]]))
			return (int)allowed[i];
	return -1;
}

static void
add_part(struct outbox_template *template, struct slice literal, int column)
{
	if (column < 0 && literal.len == 0)
		return;
	template->parts[template->count++] = (struct outbox_template_part){ literal, column };
}

int
outbox_template_parse(const char *text, struct arena *arena, struct outbox_template *template,
    char *error, size_t error_size)
{
	char *literal = arena_alloc(arena, strlen(text) + 1);
	struct slice run = { literal, 0 };

	/* No more parts than characters; and one, for the empty template. */
	template->parts = arena_array(arena, strlen(text) + 1, sizeof(*template->parts));
	template->count = 0;
	for (const char *at = text; *at != '\0'; at++) {
		const char *end;
		int column;

		if ((*at != '{' && *at != '}') || at[1] == *at) {
			*literal++ = *at;
			run.len++;
			if (*at == '{' || *at == '}')
				at++;
			continue;
		}
		end = strchr(at, '}');
		if (*at == '}' || end == NULL) {
			(void)snprintf(error, error_size,
			    "a single '%c' at character %zu; write '%c%c' for the character itself",
			    *at, (size_t)(at - text) + 1, *at, *at);
			return -1;
		}
		column = find_column(at + 1, (size_t)(end - at) - 1);
		if (column < 0) {
			(void)snprintf(error, error_size,
			    "there is no column \"%.*s\" for a template; use {id}, {aggregatetype},"
			    " {aggregateid} or {type}",
			    (int)(end - at) - 1, at + 1);
			return -1;
		}
		add_part(template, run, -1);
		add_part(template, (struct slice){ NULL, 0 }, column);
		run = (struct slice){ literal, 0 };
		at = end;
	}
	add_part(template, run, -1);
	return 0;
}

static int
part_value(const struct outbox_template_part *part, const struct slice *columns, struct slice *out,
    enum outbox_column *null)
{
	*out = part->column < 0 ? part->literal : columns[part->column];
	if (out->data != NULL)
		return 0;
	*null = (enum outbox_column)part->column;
	return -1;
}

int
outbox_template_expand(const struct outbox_template *template, const struct slice *columns,
    struct buf *scratch, struct slice *out, enum outbox_column *null)
{
	struct slice value;

	if (template->count == 1)
		return part_value(&template->parts[0], columns, out, null);
	buf_clear(scratch);
	for (size_t i = 0; i < template->count; i++) {
		if (part_value(&template->parts[i], columns, &value, null) != 0)
			return -1;
		buf_slice(scratch, value);
	}
	*out = (struct slice){ scratch->data, scratch->len };
	return 0;
}
