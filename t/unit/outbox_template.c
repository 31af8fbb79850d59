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
	};
	struct outbox_template template;
	enum outbox_column null;
	struct slice value;
	char error[256];

	if (outbox_template_parse(text, &arena, &template, error, sizeof(error)) != 0)
		snprintf(out, sizeof(out), "error: %s", error);
	else if (outbox_template_expand(&template, columns, &scratch, &value, &null) != 0)
		snprintf(out, sizeof(out), "null: %s", outbox_column_name(null));
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
	ok(strncmp(expanded("{payload}"), "error: there is no column \"payload\"", 35) == 0, "a column that is none for templates");
	ok(strncmp(expanded("{}"), "error: there is no column \"\"", 28) == 0, "no name");
	ok(strncmp(expanded("a{type"), "error: a single '{' at character 2;", 35) == 0, "a brace that is not closed");
	ok(strncmp(expanded("ab}"), "error: a single '}' at character 3;", 35) == 0, "a brace that was not opened");
	arena_release(&arena);
	return done_testing();
}
