/*
 * outbox_template.c - templates over the columns and headers of a row: exchange, routing key and
 * source. Plain text work, no database.
 */
#include "common/outbox_table.h"

#include <stdio.h>
#include <string.h>

#include "util/json_scan.h"

static const char HEADER[] = "header:";

static const char *const column_names[] = {
	[OUTBOX_SEQ] = "seq",
	[OUTBOX_ID] = "id",
	[OUTBOX_AGGREGATE_TYPE] = "aggregatetype",
	[OUTBOX_AGGREGATE_ID] = "aggregateid",
	[OUTBOX_TYPE] = "type",
	[OUTBOX_PAYLOAD] = "payload",
	[OUTBOX_HEADERS] = "headers",
	[OUTBOX_CREATED] = "created_at",
	[OUTBOX_CONTENT_TYPE] = "content_type",
	[OUTBOX_PRIORITY] = "priority",
	[OUTBOX_EXPIRATION] = "expiration",
	[OUTBOX_TRACEPARENT] = "traceparent",
	[OUTBOX_NOT_BEFORE] = "not_before",
};
_Static_assert(ARRAY_SIZE(column_names) == OUTBOX_ROLES, "a name for each part");

const char *
outbox_column_name(enum outbox_column column)
{
	return (unsigned)column < OUTBOX_ROLES ? column_names[column] : "unknown";
}

static void
add_part(struct outbox_template *template, enum outbox_template_kind kind, struct slice text)
{
	if (kind == OUTBOX_PART_LITERAL && text.len == 0)
		return;
	template->parts[template->count++] = (struct outbox_template_part){ kind, text, -1 };
}

static int
add_name(struct outbox_template *template, const char *name, size_t len, struct arena *arena,
    char *error, size_t error_size)
{
	enum outbox_template_kind kind = OUTBOX_PART_COLUMN;

	if (len >= strlen(HEADER) && memcmp(name, HEADER, strlen(HEADER)) == 0) {
		kind = OUTBOX_PART_HEADER;
		name += strlen(HEADER);
		len -= strlen(HEADER);
	}
	if (len == 0) {
		(void)snprintf(error, error_size, "braces without a name; write {COLUMN} or"
		    " {header:NAME}, and {{ for a brace");
		return -1;
	}
	add_part(template, kind, (struct slice){ arena_memdup(arena, name, len), len });
	return 0;
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
		add_part(template, OUTBOX_PART_LITERAL, run);
		if (add_name(template, at + 1, (size_t)(end - at) - 1, arena, error,
			error_size) != 0)
			return -1;
		run = (struct slice){ literal, 0 };
		at = end;
	}
	add_part(template, OUTBOX_PART_LITERAL, run);
	return 0;
}

int
outbox_template_place(struct outbox_template *template)
{
	for (size_t i = 0; i < template->count; i++) {
		struct outbox_template_part *part = &template->parts[i];

		for (int c = 0; part->kind == OUTBOX_PART_COLUMN && c < OUTBOX_COLUMNS; c++)
			if (slice_is(part->text, column_names[c]))
				part->column = c;
		if (part->kind == OUTBOX_PART_COLUMN && part->column < 0)
			return -1;
	}
	return 0;
}

/* Appends a header's value, if it is a text, a number or a boolean. */
static bool
header_value(struct slice headers, struct slice name, struct buf *out)
{
	struct slice key;
	struct json_value value;
	size_t at = 0, len;

	if (headers.data == NULL || json_scan_check(headers, NULL) != JSON_OK ||
	    headers.data[0] != '{')
		return false;
	while (json_scan_next(headers, &at, &key, &value)) {
		/* Unescaped it is no longer than as it is written. */
		char *text = buf_reserve(out, key.len + 1);

		if (json_scan_unescape(key, text, &len) != JSON_OK ||
		    !slice_equals((struct slice){ text, len }, name))
			continue;
		switch (value.kind) {
		case JSON_STRING:
			text = buf_reserve(out, value.raw.len + 1);
			if (json_scan_unescape(value.raw, text, &len) != JSON_OK)
				return false;
			buf_added(out, len);
			return true;
		case JSON_NUMBER:
		case JSON_TRUE:
		case JSON_FALSE:
			buf_slice(out, value.raw);
			return true;
		case JSON_NULL:
		case JSON_ARRAY:
		case JSON_OBJECT:
			return false;
		}
	}
	return false;
}

static struct slice
plain_value(const struct outbox_template_part *part, const struct slice *columns)
{
	return part->kind == OUTBOX_PART_LITERAL ? part->text : columns[part->column];
}

const struct outbox_template_part *
outbox_template_expand(const struct outbox_template *template, const struct slice *columns,
    struct buf *scratch, struct slice *out)
{
	if (template->count == 1 && template->parts[0].kind != OUTBOX_PART_HEADER) {
		*out = plain_value(&template->parts[0], columns);
		return out->data == NULL ? &template->parts[0] : NULL;
	}
	buf_clear(scratch);
	for (size_t i = 0; i < template->count; i++) {
		const struct outbox_template_part *part = &template->parts[i];
		struct slice value;

		if (part->kind == OUTBOX_PART_HEADER) {
			if (!header_value(columns[OUTBOX_HEADERS], part->text, scratch))
				return part;
			continue;
		}
		value = plain_value(part, columns);
		if (value.data == NULL)
			return part;
		buf_slice(scratch, value);
	}
	*out = (struct slice){ scratch->data, scratch->len };
	return NULL;
}
