/*
 * outbox_map.c - see outbox_map.h. All mistakes are told at once: a mapping is rarely wrong in one
 * place only.
 */
#include "common/outbox_map.h"

#include <stdarg.h>
#include <string.h>

struct mapper {
	struct outbox_map *map;
	const struct config_outbox *config;
	struct arena *arena;
	struct buf *mistakes;
	bool unreadable;		/* no column can be read: told once */
	size_t count;			/* of the mistakes */
};

static void ATTR_PRINTF(3, 4)
mistake(struct mapper *m, const char *key, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	buf_printf(m->mistakes, "%s: ", key);
	buf_vprintf(m->mistakes, fmt, ap);
	buf_putc(m->mistakes, '\n');
	va_end(ap);
	m->count++;
}

/* The table itself. -1: there is no use in looking at its columns. */
static int
judge_table(struct mapper *m)
{
	const struct outbox_look *look = &m->map->look;
	const char *configured = m->config->table;

	if (look->table == NULL) {
		mistake(m, "table", "there is no table \"%s\" in this database; %s", configured,
		    strncmp(configured, "pawl.", 5) == 0 ? "run: pawlctl migrate"
							  : "name it as SCHEMA.TABLE");
		return -1;
	}
	if (look->kind != 'r' && look->kind != 'p') {
		mistake(m, "table", "%s is a %s; name the table that the events are inserted into",
		    look->table, look->kind == 'f' ? "foreign table" : "view");
		return -1;
	}
	if (look->children)
		mistake(m, "table",
		    "%s has child tables, and nothing keeps a number unique over all"
		    " of them; name a child, or use a partitioned table",
		    look->table);
	if (!look->usable)
		mistake(m, "table",
		    "no right to use the schema of %s; run: grant usage on schema %s"
		    " to %s",
		    look->table, look->schema, look->role);
	if (look->rows_hidden)
		mistake(m, "table",
		    "row level security may hide rows of %s from this role, and they"
		    " would never be published; run: alter role %s bypassrls",
		    look->table, look->role);
	m->unreadable = look->column_count > 0;
	for (size_t i = 0; i < look->column_count; i++)
		m->unreadable &= !look->columns[i].selectable;
	if (m->unreadable)
		mistake(m, "table",
		    "no right to read %s; run as its owner: grant select on %s to %s", look->table,
		    look->table, look->role);
	return 0;
}

static const struct outbox_look_column *
find_column(const struct outbox_map *map, struct slice name)
{
	for (size_t i = 0; i < map->look.column_count; i++)
		if (slice_is(name, map->look.columns[i].name))
			return &map->look.columns[i];
	return NULL;
}

static const char *
column_list(const struct mapper *m)
{
	const char *list = "";

	for (size_t i = 0; i < m->map->look.column_count; i++)
		list = arena_printf(m->arena, "%s%s%s", list, i == 0 ? "" : ", ",
		    m->map->look.columns[i].name);
	return list;
}

/* One that the configuration names. */
static const struct outbox_look_column *
named_column(struct mapper *m, const char *key, const char *name)
{
	const struct outbox_look_column *found = find_column(m->map, slice_of(name));

	if (found == NULL)
		mistake(m, key, "table %s has no column \"%s\"; it has: %s", m->map->look.table,
		    name, column_list(m));
	return found;
}

static bool
is_one_of(const struct outbox_look_column *column, const char *types)
{
	const char *found = types;
	size_t len = strlen(column->base);

	while (len > 0 && (found = strstr(found, column->base)) != NULL) {
		if ((found == types || found[-1] == ' ') &&
		    (found[len] == '\0' || found[len] == ' '))
			return true;
		found += len;
	}
	return false;
}

#define INTEGERS "int8 int4 int2"
#define JSONS "json jsonb"
#define TIMES "timestamptz timestamp"

/* What a part's column must be; NULL: anything, all types have a text. */
static const char *
unfit(enum outbox_column role, const struct outbox_look_column *c)
{
	bool is_text = c->category == 'S';

	switch (role) {
	case OUTBOX_SEQ:
		return is_one_of(c, INTEGERS) ? NULL
					      : "an integer; order_by takes columns of other types";
	case OUTBOX_HEADERS:
		return is_one_of(c, JSONS) || is_text ? NULL : "json, jsonb or a text";
	case OUTBOX_CREATED:
		return is_one_of(c, TIMES " date") ? NULL : "a timestamp or a date";
	case OUTBOX_NOT_BEFORE:
		return is_one_of(c, TIMES) ? NULL : "a timestamp";
	case OUTBOX_PRIORITY:
		return is_one_of(c, INTEGERS) ? NULL : "an integer";
	case OUTBOX_EXPIRATION:
		return is_one_of(c, INTEGERS " interval") || is_text
		    ? NULL : "an integer (milliseconds) or an interval";
	default:
		return NULL;
	}
}

static const char *
role_key(const struct mapper *m, enum outbox_column role)
{
	return arena_printf(m->arena, "columns.%s", outbox_column_name(role));
}

static void
check_selectable(struct mapper *m, const char *key, const struct outbox_look_column *c)
{
	if (!c->selectable && !m->unreadable)
		mistake(m, key, "no right to read column \"%s\"; run as the owner of the table:"
		    " grant select on %s to %s", c->name, m->map->look.table, m->map->look.role);
}

/* A column that was found by its name alone. */
static const char *
if_not(const struct mapper *m, const char *key)
{
	return arena_printf(m->arena, "; %s = \"\" if it is something else", key);
}

/* As configured, or the column that has the part's name. */
static void
map_role(struct mapper *m, enum outbox_column role)
{
	const char *configured = m->config->columns[role], *key = role_key(m, role), *why;
	const struct outbox_look_column *c;

	if ((configured != NULL && configured[0] == '\0') ||
	    (role == OUTBOX_SEQ && configured == NULL && m->config->order_by != NULL))
		return;
	c = configured != NULL ? named_column(m, key, configured)
			       : find_column(m->map, slice_of(outbox_column_name(role)));
	if (c == NULL)
		return;
	m->map->role[role] = c;
	check_selectable(m, key, c);
	why = unfit(role, c);
	if (why != NULL)
		mistake(m, key, "column \"%s\" is of type %s; it must be %s%s", c->name, c->type,
		    why, configured != NULL ? "" : if_not(m, key));
}

static bool
is_number(const struct outbox_look_column *c)
{
	return c != NULL && is_one_of(c, INTEGERS) && c->unique && c->not_null;
}

/* By what rows are told apart, and in which order they are read. */
static void
map_order(struct mapper *m)
{
	struct outbox_map *map = m->map;
	const char *order_by = m->config->order_by;

	if (order_by != NULL && m->config->columns[OUTBOX_SEQ] != NULL &&
	    m->config->columns[OUTBOX_SEQ][0] != '\0')
		mistake(
		    m, "order_by", "columns.seq gives the order already; leave one of them out");
	else if (order_by != NULL) {
		map->order = named_column(m, "order_by", order_by);
		map->role[OUTBOX_SEQ] = is_number(map->order) ? map->order : NULL;
	} else if (map->role[OUTBOX_SEQ] == NULL && is_number(map->role[OUTBOX_ID])) {
		map->role[OUTBOX_SEQ] = map->role[OUTBOX_ID];
	} else if (map->role[OUTBOX_SEQ] == NULL && m->config->columns[OUTBOX_SEQ] != NULL &&
	    m->config->columns[OUTBOX_SEQ][0] != '\0') {
		return;			/* told already: there is none of that name */
	} else if (map->role[OUTBOX_SEQ] == NULL) {
		map->order = map->role[OUTBOX_CREATED];
		if (map->order == NULL)
			mistake(m, "order_by",
			    "table %s has neither a column seq nor created_at: name"
			    " the column that gives the order; it has: %s",
			    map->look.table, column_list(m));
	}
	map->keyed = map->role[OUTBOX_SEQ] == NULL;
	if (map->keyed && map->order != NULL) {
		check_selectable(m, "order_by", map->order);
		if (!map->order->sortable)
			mistake(m, "order_by", "column \"%s\" is of type %s, which has no order",
			    map->order->name, map->order->type);
	}
}

/* Published rows are deleted by it: if two had the same, one would be lost. */
static void
check_key(struct mapper *m)
{
	struct outbox_map *map = m->map;
	enum outbox_column role = map->keyed ? OUTBOX_ID : OUTBOX_SEQ;
	const struct outbox_look_column *c = map->role[role];
	const char *key = role_key(m, role);

	if (c == NULL) {
		if (map->keyed && (m->config->columns[OUTBOX_ID] == NULL ||
		    m->config->columns[OUTBOX_ID][0] == '\0'))
			mistake(m, key, "table %s has no column seq, so it needs an id; it has: %s",
			    map->look.table, column_list(m));
		return;
	}
	if (!c->unique)
		mistake(m, key, "nothing keeps column \"%s\" unique by itself, and published events"
		    " are %s by it; run: create unique index on %s (%s)%s", c->name,
		    map->sent == NULL ? "deleted" : "marked", map->look.table, c->quoted,
		    map->look.kind == 'p' ? "; a partitioned table must be partitioned by it"
			: !map->keyed && m->config->columns[OUTBOX_SEQ] == NULL &&
			strcmp(c->name, "seq") == 0 ? if_not(m, key) : "");
	if (!c->not_null)
		mistake(m, key, "column \"%s\" may be null; run: alter table %s alter column %s set"
		    " not null", c->name, map->look.table, c->quoted);
}

/* ev_type of pg_rewrite: 2 update, 4 delete. */
static void
check_rules(struct mapper *m)
{
	bool marks = m->config->sent != NULL, deletes = !marks || m->config->retention_ms > 0;
	const char *rules = m->map->look.rules;

	if ((marks && strchr(rules, '2') != NULL) || (deletes && strchr(rules, '4') != NULL))
		mistake(m, "table",
		    "%s has a rule that does something else instead of %s; published"
		    " events would stay and be published again",
		    m->map->look.table, marks && strchr(rules, '2') != NULL ? "update" : "delete");
}

static void
map_sent(struct mapper *m)
{
	struct outbox_map *map = m->map;

	map->sent = m->config->sent == NULL ? NULL : named_column(m, "sent", m->config->sent);
	if (map->sent != NULL) {
		check_selectable(m, "sent", map->sent);
		if (!is_one_of(map->sent, "bool " TIMES))
			mistake(m, "sent", "column \"%s\" is of type %s; it must be boolean or a"
			    " timestamp", map->sent->name, map->sent->type);
		if (!map->sent->updatable)
			mistake(m, "sent",
			    "no right to update column \"%s\"; run as the owner of the"
			    " table: grant update (%s) on %s to %s",
			    map->sent->name, map->sent->quoted, map->look.table, m->map->look.role);
		if (m->config->retention_ms > 0 && is_one_of(map->sent, "bool") &&
		    map->role[OUTBOX_CREATED] == NULL)
			mistake(m, "retention", "column \"%s\" is a boolean, and the table has no"
			    " created_at: it cannot be told how old a row is", map->sent->name);
	}
	if ((m->config->sent == NULL || m->config->retention_ms > 0) && !map->look.deletable)
		mistake(m, "table",
		    "no right to delete from %s; run as its owner: grant delete on %s"
		    " to %s",
		    map->look.table, map->look.table, m->map->look.role);
}

static void
check_dead(struct mapper *m)
{
	const char *key = m->config->unroutable == POLICY_PARK ? "unroutable" : "refused";

	if (m->config->unroutable != POLICY_PARK && m->config->refused != POLICY_PARK)
		return;
	if (m->map->look.dead[0] == '\0')
		mistake(m, key, "\"park\" needs the table pawl.outbox_dead in the same database;"
		    " run: pawlctl migrate");
	else if (strcmp(m->map->look.dead, "there") != 0)
		mistake(m, key, "no right to insert into pawl.outbox_dead; run as its owner:"
		    " grant usage on schema pawl to %s; grant select, insert, delete on"
		    " pawl.outbox_dead to %s", m->map->look.role, m->map->look.role);
}

int
outbox_map_init(struct outbox_map *map, const struct config_outbox *config,
    const struct pg_result *result, struct arena *arena, struct buf *mistakes)
{
	struct mapper m = { map, config, arena, mistakes, false, 0 };

	*map = (struct outbox_map){ .keyed = false };
	if (outbox_look_read(&map->look, result, arena) != 0) {
		mistake(&m, "table", "the server's answer cannot be understood");
		return -1;
	}
	if (judge_table(&m) != 0) {
		map->look.column_count = 0;
		return -1;
	}
	for (int role = 0; role < OUTBOX_ROLES; role++)
		map_role(&m, (enum outbox_column)role);
	if (map->role[OUTBOX_PAYLOAD] == NULL && config->columns[OUTBOX_PAYLOAD] == NULL)
		mistake(&m, "columns.payload",
		    "table %s has no column payload; name the one that is"
		    " to be the body, or \"\"; it has: %s",
		    map->look.table, column_list(&m));
	map_order(&m);
	map_sent(&m);
	check_key(&m);
	check_rules(&m);
	check_dead(&m);
	return m.count == 0 ? 0 : -1;
}

int
outbox_map_place(struct outbox_map *map, const char *key, struct slice name, struct arena *arena,
    struct buf *mistakes)
{
	struct mapper m = { .map = map, .arena = arena, .mistakes = mistakes };
	const struct outbox_look_column *c;

	if (slice_is(name, "payload") || slice_is(name, "headers")) {
		mistake(&m, key, "\"%.*s\" is no column for a template; a header is {header:NAME}",
		    (int)name.len, name.data);
		return -1;
	}
	for (int role = 0; role < OUTBOX_COLUMNS; role++)
		if (role != OUTBOX_CREATED && map->role[role] != NULL &&
		    slice_is(name, outbox_column_name((enum outbox_column)role)))
			return role;
	c = find_column(map, name);
	if (c == NULL) {
		mistake(&m, key, "there is no column \"%.*s\" in table %s; it has: %s",
		    (int)name.len, name.data, map->look.table, column_list(&m));
		return -1;
	}
	for (size_t i = 0; i < map->extra_count; i++)
		if (map->extra[i] == c)
			return OUTBOX_COLUMNS + (int)i;
	if (!c->selectable || map->extra_count == OUTBOX_EXTRAS) {
		mistake(&m, key, c->selectable ? "too many columns in templates: \"%s\""
					       : "no right to read column \"%s\"", c->name);
		return -1;
	}
	map->extra[map->extra_count] = c;
	return OUTBOX_COLUMNS + (int)map->extra_count++;
}
