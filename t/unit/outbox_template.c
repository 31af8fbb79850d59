/* Unit tests of common/outbox_template. */
#include "common/outbox_table.h"

#include "t/unit/tap.h"

static struct arena arena = ARENA_INIT;

static const char *
expanded(const char *text)
{
	static struct buf scratch = BUF_INIT;
	static char out[512];
	static const struct slice columns[OUTBOX_COLUMNS] = {
		[OUTBOX_SEQ] = { "7", 1 }, [OUTBOX_ID] = { "id", 2 }, [OUTBOX_AGGREGATE_TYPE] = { "", 0 }, [OUTBOX_TYPE] = { "Placed", 6 },
		[OUTBOX_PAYLOAD] = { "{}", 2 },
		[OUTBOX_HEADERS] = { "{\"a\\u0062\": \"\\u00e9\\n\", \"n\": 12.50, \"t\": true, \"null\": null, \"l\": []}", 69 },
	};
	struct outbox_template template;
	const struct outbox_template_part *null;
	struct slice value;
	char error[256];

	if (outbox_template_parse(text, &arena, &template, error, sizeof(error)) != 0)
		snprintf(out, sizeof(out), "error: %s", error);
	else if (outbox_template_place(&template) != 0)
		snprintf(out, sizeof(out), "no such column");
	else if ((null = outbox_template_expand(&template, columns, &scratch, &value)) != NULL)
		snprintf(out, sizeof(out), "null: %s", null->text.data);
	else
		snprintf(out, sizeof(out), "%.*s", (int)value.len, value.data);
	return out;
}

int
main(void)
{
	is_str(expanded(""), "", "an empty template");
	is_str(expanded("orders"), "orders", "a literal");
	is_str(expanded("{type}"), "Placed", "a column");
	is_str(expanded("{aggregatetype}"), "", "an empty column");
	is_str(expanded("shop.{type}"), "shop.Placed", "a literal and a column");
	is_str(expanded("{type}.{id}.{type}"), "Placed.id.Placed", "columns and a literal");
	is_str(expanded("{{{type}}}"), "{Placed}", "braces around a column");
	is_str(expanded("{{type}}"), "{type}", "doubled braces are braces");
	is_str(expanded("a{{b}}c{{"), "a{b}c{", "anywhere");
	is_str(expanded("x.{aggregateid}"), "null: aggregateid", "null is told");
	is_str(expanded("{aggregateid}"), "null: aggregateid", "also alone");
	is_str(expanded("{header:ab}"), "\xc3\xa9\n", "a header, without escapes");
	is_str(expanded("x{header:n}.{header:t}"), "x12.50.true", "numbers and booleans as they are written");
	is_str(expanded("{header:null}"), "null: null", "a header that is null");
	is_str(expanded("{header:l}"), "null: l", "a list is no text");
	is_str(expanded("{header:a}.{type}"), "null: a", "a header that is not there");
	is_str(expanded("{nope}"), "no such column", "any name is good in form");
	ok(strncmp(expanded("{}"), "error: braces without a name", 28) == 0, "no name");
	ok(strncmp(expanded("{header:}"), "error: braces without a name", 28) == 0, "no header's name");
	ok(strncmp(expanded("a{type"), "error: a single '{' at character 2;", 35) == 0, "a brace that is not closed");
	ok(strncmp(expanded("ab}"), "error: a single '}' at character 3;", 35) == 0, "a brace that was not opened");
	arena_release(&arena);
	return done_testing();
}
