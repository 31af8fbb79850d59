/*
 * outbox_list.c - pawlctl outbox list: what waits and what was put aside, as tables or as JSON.
 */
#include "ctl/outbox.h"

#include <sysexits.h>
#include <time.h>

#include "ctl/ctl.h"
#include "ctl/text_table.h"
#include "util/json.h"

/* Columns of dead_sql. */
enum { DEAD_NUMBER, DEAD_EVENT, DEAD_AGGREGATE_TYPE, DEAD_AGGREGATE_ID, DEAD_TYPE, DEAD_REASON,
	DEAD_TEXT, DEAD_PARKED, DEAD_COLUMNS };
static const char dead_sql[] =
    "select number::text, event, aggregatetype, aggregateid, type, reason, text,"
    " to_char(parked_at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
    " from pawl.outbox_dead where outbox = $1 order by number";
static const char *const dead_names[] = { "number", "event", "aggregatetype", "aggregateid", "type",
	"reason", "text", "parked_at" };
_Static_assert(ARRAY_SIZE(dead_names) == DEAD_COLUMNS, "a name for each column");

static const char dead_exists_sql[] =
    "select from pg_class c join pg_namespace n on n.oid = c.relnamespace"
    " where n.nspname = 'pawl' and c.relname = 'outbox_dead'";

static const char *
timestamp(struct arena *arena, int64_t ms)
{
	time_t s = (time_t)(ms / 1000);
	struct tm tm;
	char text[32];

	if (gmtime_r(&s, &tm) == NULL || strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		return "-";
	return arena_strdup(arena, text);
}

static const char *
aggregate(struct arena *arena, const char *type, const char *id)
{
	if (id == NULL)
		return "-";
	return type == NULL || type[0] == '\0' ? id : arena_printf(arena, "%s/%s", type, id);
}

/* What the table shows is for a terminal: no control characters, those of C1 (U+0080 on) included. */
static const char *
shown(struct arena *arena, const char *text)
{
	char *copy;

	if (text == NULL)
		return "-";
	copy = arena_strdup(arena, text);
	for (char *c = copy; *c != '\0'; c++) {
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
		else if ((unsigned char)c[0] == 0xc2 && (unsigned char)c[1] < 0xa0)
			c[0] = c[1] = '?';
	}
	return copy;
}

static void
put_text_or_null(struct json *object, const char *name, const char *text)
{
	if (text != NULL)
		json_put_text(object, name, text);
}

/* The relay's list is of what it leads. */
static void
say_who_leads(struct outbox_command *c)
{
	if (!c->relay.running) {
		outbox_command_fail(c, EX_UNAVAILABLE, "pawl-relay does not run here: %s",
		    c->relay.why);
		return;
	}
	for (size_t i = 0; i < c->relay.page_count; i++) {
		const struct status_page *p = &c->relay.pages[i];

		if (outbox_command_wants(c, p->name) && status_number(&p->page->outbox.leader) == 0)
			outbox_command_fail(c, EX_UNAVAILABLE, "outbox %s: this relay does not lead it"
			    " (%s); ask on the host of the one that does", p->name, p->state);
	}
}

static void
list_blocked(struct outbox_command *c)
{
	static const char *const names[] = { "OUTBOX", "EVENT", "AGGREGATE", "REASON", "SINCE",
		"TEXT" };
	struct json *list = json_new_array();
	struct text_table t;

	say_who_leads(c);
	text_table_init(&t, &c->arena, names, ARRAY_SIZE(names), ARRAY_SIZE(names),
	    c->waiting_count);
	for (size_t i = 0; i < c->waiting_count; i++) {
		const struct outbox_waiting *w = &c->waiting[i];
		struct json *object;

		if (!outbox_command_wants(c, w->outbox))
			continue;
		object = json_append_object(list);
		json_put_text(object, "outbox", w->outbox);
		text_table_cell(&t, 0, "%s", w->outbox);
		if (w->more > 0) {
			json_put_int(object, "more", w->more);
			text_table_cell(&t, 1, "and %lld more", (long long)w->more);
			for (size_t j = 2; j < ARRAY_SIZE(names); j++)
				text_table_cell(&t, j, "%s", "");
			t.rows++;
			continue;
		}
		json_put_text(object, "event", w->event);
		put_text_or_null(object, "aggregatetype", w->aggregatetype);
		put_text_or_null(object, "aggregateid", w->aggregateid);
		json_put_text(object, "reason", w->reason);
		put_text_or_null(object, "text", w->text);
		json_put_text(object, "since", timestamp(&c->arena, w->since_ms));
		text_table_cell(&t, 1, "%s", shown(&c->arena, w->event));
		text_table_cell(&t, 2, "%s", shown(&c->arena,
		    aggregate(&c->arena, w->aggregatetype, w->aggregateid)));
		text_table_cell(&t, 3, "%s", w->reason);
		text_table_cell(&t, 4, "%s", timestamp(&c->arena, w->since_ms));
		text_table_cell(&t, 5, "%s", shown(&c->arena, w->text));
		t.rows++;
	}
	if (c->json)
		puts(json_text(list, true));
	else if (t.rows > 1)
		text_table_print(&t);
	else if (c->result == EX_OK)
		puts("nothing waits");
	json_free(&list);
}

static void
list_dead_of(struct outbox_command *c, const struct config_outbox *o, struct json *list,
    size_t *count)
{
	static const char *const names[] = { "OUTBOX", "NUMBER", "EVENT", "AGGREGATE", "TYPE",
		"REASON", "PARKED", "TEXT" };
	struct pg_result *result = NULL;
	struct text_table t;

	if (outbox_command_connect(c, o))
		result = outbox_command_query(c, o, dead_sql, 1, &o->name);
	if (result == NULL)
		return;
	text_table_init(&t, &c->arena, names, ARRAY_SIZE(names), ARRAY_SIZE(names),
	    (size_t)pg_rows(result));
	for (int i = 0; i < pg_rows(result); i++, t.rows++) {
		struct json *object = json_append_object(list);
		const char *value[DEAD_COLUMNS];

		json_put_text(object, "outbox", o->name);
		for (int j = 0; j < DEAD_COLUMNS; j++) {
			value[j] = pg_value(result, i, j);
			put_text_or_null(object, dead_names[j], value[j]);
		}
		text_table_cell(&t, 0, "%s", o->name);
		text_table_cell(&t, 1, "%s", shown(&c->arena, value[DEAD_NUMBER]));
		text_table_cell(&t, 2, "%s", shown(&c->arena, value[DEAD_EVENT]));
		text_table_cell(&t, 3, "%s", shown(&c->arena,
		    aggregate(&c->arena, value[DEAD_AGGREGATE_TYPE], value[DEAD_AGGREGATE_ID])));
		text_table_cell(&t, 4, "%s", shown(&c->arena, value[DEAD_TYPE]));
		text_table_cell(&t, 5, "%s", shown(&c->arena, value[DEAD_REASON]));
		text_table_cell(&t, 6, "%s", shown(&c->arena, value[DEAD_PARKED]));
		text_table_cell(&t, 7, "%s", shown(&c->arena, value[DEAD_TEXT]));
		*count += 1;
	}
	if (!c->json && pg_rows(result) > 0)
		text_table_print(&t);
	pg_result_free(&result);
}

static void
list_dead(struct outbox_command *c)
{
	struct json *list = json_new_array();
	size_t count = 0;

	for (size_t i = 0; i < c->config->outbox_count; i++)
		if (outbox_command_wants(c, c->config->outboxes[i].name))
			list_dead_of(c, &c->config->outboxes[i], list, &count);
	if (c->json)
		puts(json_text(list, true));
	else if (count == 0 && c->result == EX_OK)
		puts("nothing was put aside");
	json_free(&list);
}

static const struct status_page *
page_of(const struct outbox_command *c, const char *outbox)
{
	for (size_t i = 0; i < c->relay.page_count; i++)
		if (strcmp(c->relay.pages[i].name, outbox) == 0)
			return &c->relay.pages[i];
	return NULL;
}

/* How many rows are to be published; more than 100000 are not counted. */
static const char *
count_rows(struct outbox_command *c, const struct config_outbox *o)
{
	static const char *const from_the_first[] = { "-9223372036854775808" };
	struct outbox_table table = OUTBOX_TABLE_INIT;
	struct pg_result *result = NULL;
	const char *count = "-";

	if (outbox_command_table(c, o, &table))
		result = outbox_command_query(c, o, table.count, table.keyed ? 0 : 1,
		    from_the_first);
	if (result != NULL)
		count = arena_strdup(&c->arena, pg_value(result, 0, 0));
	pg_result_free(&result);
	outbox_table_release(&table);
	return count;
}

/* "-" where the schema pawl is not. */
static const char *
count_dead(struct outbox_command *c, const struct config_outbox *o)
{
	struct pg_result *result = outbox_command_query(c, o, dead_exists_sql, 0, NULL);
	const char *count = "-";

	if (result == NULL || pg_rows(result) == 0)
		goto out;
	pg_result_free(&result);
	result = outbox_command_query(c, o,
	    "select count(*)::text from pawl.outbox_dead where outbox = $1", 1, &o->name);
	if (result != NULL)
		count = arena_strdup(&c->arena, pg_value(result, 0, 0));
out:
	pg_result_free(&result);
	return count;
}

static void
put_number(struct json *object, const char *name, const char *text)
{
	if (text[0] != '-')
		json_put_int(object, name, strtoll(text, NULL, 10));
}

static void
list_outboxes(struct outbox_command *c)
{
	static const char *const names[] = { "OUTBOX", "TABLE", "STATE", "TO PUBLISH", "HELD", "PARKED" };
	struct json *list = json_new_array();
	struct text_table t;

	text_table_init(&t, &c->arena, names, ARRAY_SIZE(names), 3, c->config->outbox_count);
	for (size_t i = 0; i < c->config->outbox_count; i++) {
		const struct config_outbox *o = &c->config->outboxes[i];
		const struct status_page *page = page_of(c, o->name);
		const char *state = page == NULL ? "down" : page->state, *held = "-", *rows = "-",
			   *dead = "-";
		struct json *object;

		if (!outbox_command_wants(c, o->name))
			continue;
		if (page != NULL && c->relay.running && status_number(&page->page->outbox.leader) != 0)
			held = arena_printf(&c->arena, "%llu",
			    (unsigned long long)status_number(&page->page->outbox.blocked_aggregates));
		if (outbox_command_connect(c, o)) {
			rows = count_rows(c, o);
			dead = count_dead(c, o);
		}
		object = json_append_object(list);
		json_put_text(object, "outbox", o->name);
		json_put_text(object, "table", o->table);
		json_put_text(object, "state", state);
		put_number(object, "to_publish", rows);
		put_number(object, "held", held);
		put_number(object, "parked", dead);
		text_table_cell(&t, 0, "%s", o->name);
		text_table_cell(&t, 1, "%s", shown(&c->arena, o->table));
		text_table_cell(&t, 2, "%s", state);
		text_table_cell(&t, 3, "%s", rows);
		text_table_cell(&t, 4, "%s", held);
		text_table_cell(&t, 5, "%s", dead);
		t.rows++;
	}
	if (c->json)
		puts(json_text(list, true));
	else
		text_table_print(&t);
	json_free(&list);
}

void
outbox_list(struct outbox_command *c)
{
	if (c->blocked)
		list_blocked(c);
	else if (c->dead)
		list_dead(c);
	else
		list_outboxes(c);
}
