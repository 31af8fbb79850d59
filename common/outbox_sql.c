/*
 * outbox_sql.c - the statements that are made for an outbox's table.
 */
#include "common/outbox_table.h"

#include <stdarg.h>
#include <string.h>

#include "common/outbox_map.h"

/* What all statements share, as SQL. */
struct maker {
	struct outbox_table *table;
	const struct outbox_map *map;
	struct arena *arena;
	const char *columns;		/* of the table "o", under the names of their parts */
	const char *key;		/* o.seq or o.id */
	const char *keys;		/* "any(...)" of $1 */
	const char *order;		/* of the table */
	const char *sorted;		/* the same, by the names of the parts */
	/*
	 * " and ...". By keys it is written such that the planner does not take an index of unsent
	 * rows for one of keys: when it last looked there were none
	 */
	const char *unsent;
	const char *at_once;		/* " and ...": to be published now, or never said when */
};

static const char *
quoted(const struct outbox_look_column *column)
{
	return column->quoted;
}

/* Values keep their types here: texts are made of the rows that go out only. */
static const char *
columns_sql(const struct maker *m)
{
	static const char *const absent[OUTBOX_COLUMNS] = {
		[OUTBOX_CREATED] = "null::timestamptz",
	};
	const char *list = "";

	for (int i = 0; i < OUTBOX_COLUMNS; i++) {
		const struct outbox_look_column *c = m->map->role[i];
		const char *value = absent[i] == NULL ? "null::text" : absent[i];

		if (i == OUTBOX_SEQ)
			value = c == NULL ? "0::int8"
					  : arena_printf(m->arena, "o.%s::int8", quoted(c));
		else if (c != NULL)
			value = arena_printf(m->arena, "o.%s", quoted(c));
		list = arena_printf(m->arena, "%s%s as %s, ", list, value,
		    outbox_column_name((enum outbox_column)i));
	}
	for (size_t i = 0; i < m->map->extra_count; i++)
		list = arena_printf(m->arena, "%so.%s as extra%zu, ", list,
		    quoted(m->map->extra[i]), i);
	return arena_printf(m->arena, "%so.%s as sort", list,
	    quoted(m->map->keyed ? m->map->order : m->map->role[OUTBOX_SEQ]));
}

static const char *
extras_sql(const struct maker *m, bool nulls)
{
	const char *list = "";

	for (size_t i = 0; i < m->map->extra_count; i++)
		list = nulls ? arena_printf(m->arena, "%s, null::text", list)
			     : arena_printf(m->arena, "%s, extra%zu::text", list, i);
	return list;
}

/*
 * Rows of a sub-select, with texts made of their values. Two guards, so that a few large payloads
 * cannot fill the memory: rows are given until their payloads and headers are 'bytes' large as they
 * are stored (nothing is decompressed for that); a payload whose text is over 'largest' is given as
 * its size. "offset 0" keeps the planner from making the text of a payload more than once.
 */
static const char *
rows_sql(const struct maker *m, const char *from, const char *bytes, const char *largest,
    const char *last_column)
{
	const struct outbox_look_column *expiration = m->map->role[OUTBOX_EXPIRATION];
	bool interval = expiration != NULL && strcmp(expiration->base, "interval") == 0;
	bool hex = m->table->shape.hex;

	return arena_printf(m->arena,
	    "select seq::int8, id::text, aggregatetype::text, aggregateid::text, type::text,"
	    " case when octet_length(%s) <= %s::int8 then body end, headers::text,"
	    " case when isfinite(created_at) then extract(epoch from created_at)::text end,"
	    " content_type::text, priority::text, %s, traceparent::text,"
	    " case when octet_length(%s) > %s::int8 then octet_length(%s)::text end, last::text%s"
	    " from (select *, %s as last,"
	    "  sum(coalesce(pg_column_size(payload), 0) + coalesce(pg_column_size(headers), 0))"
	    "   over (order by %s rows between unbounded preceding and 1 preceding) as before"
	    "  from (%s) as limited) as sized,"
	    " lateral (select %s as body offset 0) as text"
	    " where coalesce(before, 0) < %s::int8 order by %s",
	    hex ? "payload" : "body", largest,
	    interval ? "(extract(epoch from expiration) * 1000)::int8::text" : "expiration::text",
	    hex ? "payload" : "body", largest, hex ? "payload" : "body",
	    extras_sql(m, false), last_column, m->sorted, from,
	    hex ? "encode(payload, 'hex')" : "payload::text", bytes, m->sorted);
}

/* More of it where a statement goes over the table. */
static const char * ATTR_PRINTF(2, 3)
limited_sql(const struct maker *m, const char *fmt, ...)
{
	va_list ap;
	const char *where;

	va_start(ap, fmt);
	where = arena_vprintf(m->arena, fmt, ap);
	va_end(ap);
	return arena_printf(m->arena, "select %s from %s as o where %s%s",
	    m->columns, m->table->name, where, m->unsent);
}

static const char *
meta_sql(const struct maker *m, const char *behind, const char *condition)
{
	return arena_printf(m->arena,
	    "select null::int8, pg_current_wal_insert_lsn()::text,"
	    " pg_current_wal_flush_lsn()::text, pg_backend_pid()::text, %s::text,"
	    " coalesce(pg_relation_filenode(%s), 0)::text, pg_current_snapshot()::text, null::text,"
	    " null::text, null::text, null::text, null::text, null::text, null::text%s where %s",
	    behind, m->map->look.oid, extras_sql(m, true), condition);
}

/*
 * One statement is one snapshot: what is behind the cursor, what is ahead of it, and what was to be
 * published later and is due now. Those rows are outside cursor and floor, so the due ones that are
 * known are named to be left out. now() and not clock_timestamp(), which no index can be searched
 * for.
 */
static const char *
read_sql(const struct maker *m)
{
	const struct outbox_look_column *not_before = m->map->role[OUTBOX_NOT_BEFORE];
	const char *ahead, *due = "", *behind;

	ahead = arena_printf(m->arena, "%s order by %s limit $3::int8",
	    limited_sql(m, "%s > $2::int8%s", m->key, m->at_once), m->order);
	behind = arena_printf(m->arena,
	    "array(select %s from %s as o where %s > $1::int8 and %s <= $2::int8%s%s)", m->key,
	    m->table->name, m->key, m->key, m->at_once, m->unsent);
	if (not_before != NULL)
		due = arena_printf(m->arena, " union all (%s)", rows_sql(m, arena_printf(m->arena,
		    "%s order by o.%s limit $3::int8", limited_sql(m,
			"$7::boolean and o.%s <= %s and not exists"
			" (select from unnest($6::int8[]) as known(seq) where known.seq = %s)",
			quoted(not_before),
			strcmp(not_before->base, "timestamp") == 0 ? "now() at time zone 'UTC'"
								    : "now()", m->key),
		    quoted(not_before)), "$4", "$5", "'due'"));
	return arena_printf(m->arena, "%s union all (%s)%s",
	    meta_sql(m, behind, "$6::int8[] is not null and $7::boolean is not null"),
	    rows_sql(m, ahead, "$4", "$5", "null"), due);
}

/*
 * Whatever is to be published and is not known, so it does not matter which value of 'order' a row
 * has that was committed late. "not in": the planner makes a hash table of the list and still goes
 * by an index on the order, if there is one.
 */
static const char *
read_keyed_sql(const struct maker *m)
{
	const struct outbox_look_column *type = m->map->role[OUTBOX_AGGREGATE_TYPE];
	const struct outbox_look_column *id = m->map->role[OUTBOX_AGGREGATE_ID];
	const struct outbox_look_column *not_before = m->map->role[OUTBOX_NOT_BEFORE];
	const char *open = "", *due = "";

	if (id != NULL)
		open = arena_printf(m->arena,
		    " and (o.%s is null or (%s, o.%s::text) not in"
		    " (select * from unnest($5::text[], $6::text[])))", quoted(id),
		    type == NULL ? "''::text"
				 : arena_printf(m->arena, "coalesce(o.%s::text, '')", quoted(type)),
		    quoted(id));
	if (not_before != NULL)
		due = arena_printf(m->arena, " and (o.%s is null or o.%s <= %s)",
		    quoted(not_before), quoted(not_before),
		    strcmp(not_before->base, "timestamp") == 0 ? "now() at time zone 'UTC'"
								: "now()");
	return arena_printf(m->arena, "%s union all (%s)",
	    meta_sql(m, "'{}'", "$5::text[] is not null and $6::text[] is not null"),
	    rows_sql(m, arena_printf(m->arena, "%s order by %s limit $2::int8",
		limited_sql(m, "%s not in (select unnest($1::text[]::%s[]))%s%s", m->key,
		    m->map->role[OUTBOX_ID]->type, open, due), m->order), "$3", "$4", "null"));
}

/* Up to the cursor, or known to be due: what is newer may not be on disk yet. */
static const char *
back_sql(const struct maker *m, bool all)
{
	const struct outbox_look_column *type = m->map->role[OUTBOX_AGGREGATE_TYPE];
	const struct outbox_look_column *id = m->map->role[OUTBOX_AGGREGATE_ID];
	const char *of = "";

	if (!all)
		of = arena_printf(m->arena,
		    " and (%s, %s::text) in (select * from unnest($8::text[], $9::text[]))",
		    type == NULL ? "''::text"
				 : arena_printf(m->arena, "coalesce(o.%s::text, '')", quoted(type)),
		    id == NULL ? "null" : arena_printf(m->arena, "o.%s", quoted(id)));
	return rows_sql(m, arena_printf(m->arena, "%s order by %s limit $3::int8",
	    limited_sql(m, "%s >= $1::int8 and %s <= $2::int8 and ((%s <= $6::int8%s)"
		" or %s in (select unnest($7::int8[])))%s", m->key, m->key, m->key, m->at_once,
		m->key, of), m->order), "$4", "$5", "count(*) over ()");
}

static const char *
glance_sql(const struct maker *m)
{
	const struct outbox_look_column *not_before = m->map->role[OUTBOX_NOT_BEFORE];
	const char *above = m->map->keyed
	    ? "true" : arena_printf(m->arena, "%s > asked.floor", m->key);
	const char *due = "";

	if (not_before != NULL)
		due = arena_printf(m->arena,
		    " and not exists (select from %s as o where o.%s <= %s%s)", m->table->name,
		    quoted(not_before),
		    strcmp(not_before->base, "timestamp") == 0 ? "now() at time zone 'UTC'"
								: "now()", m->unsent);
	return arena_printf(m->arena,
	    "case when not exists (select from %s as o where %s%s%s)%s"
	    " then coalesce(pg_relation_filenode(%s), 0)::text end",
	    m->table->name, above, m->at_once, m->unsent, due, m->map->look.oid);
}

static const char *
text_or_null(const struct maker *m, enum outbox_column role)
{
	const struct outbox_look_column *c = m->map->role[role];

	return c == NULL ? "null::text" : arena_printf(m->arena, "o.%s::text", quoted(c));
}

static void
by_seq(const struct maker *m)
{
	struct outbox_table *table = m->table;

	table->read = read_sql(m);
	table->sweep = back_sql(m, true);
	table->catch_up = back_sql(m, false);
	table->net = arena_printf(m->arena,
	    "select %s::int8, %s, %s from %s as o where %s > $1::int8 and %s <= $2::int8%s%s"
	    " order by %s limit $3::int8",
	    m->key, text_or_null(m, OUTBOX_AGGREGATE_TYPE), text_or_null(m, OUTBOX_AGGREGATE_ID),
	    table->name, m->key, m->key, m->at_once, m->unsent, m->order);
	table->count = arena_printf(m->arena,
	    "select count(*) from (select from %s as o where %s > $1::int8%s%s limit 100000)"
	    " as ahead", table->name, m->key, m->at_once, m->unsent);
	table->writers = arena_printf(m->arena,
	    "select virtualtransaction, (array_agg(transactionid order by age(transactionid) desc)"
	    "  filter (where locktype = 'transactionid'))[1]::text"
	    " from pg_locks where granted and (locktype = 'transactionid' and mode = 'ExclusiveLock'"
	    "  or locktype = 'relation' and mode = 'RowExclusiveLock' and relation = %s"
	    "  and database = (select oid from pg_database where datname = current_database()))"
	    " group by virtualtransaction having bool_or(locktype = 'relation')",
	    m->map->look.oid);
}

static const char *
erase_sql(const struct maker *m)
{
	const struct outbox_look_column *sent = m->map->sent;

	if (sent == NULL)
		return arena_printf(m->arena, "delete from %s as o where %s = %s", m->table->name,
		    m->key, m->keys);
	return arena_printf(m->arena, "update %s as o set %s = %s where %s = %s%s", m->table->name,
	    quoted(sent),
	    strcmp(sent->base, "bool") == 0 ? "true"
		: strcmp(sent->base, "timestamp") == 0
		? "clock_timestamp() at time zone 'UTC'"
		: "clock_timestamp()",
	    m->key, m->keys, m->unsent);
}

static bool
is_json(const struct outbox_look_column *c)
{
	return strcmp(c->base, "json") == 0 || strcmp(c->base, "jsonb") == 0;
}

static const char *
name_literal(const struct maker *m, const struct outbox_look_column *c)
{
	char *text = arena_alloc(m->arena, 2 * strlen(c->name) + 4), *at = text;

	*at++ = 'E';
	*at++ = '\'';
	for (const char *from = c->name; *from != '\0'; from++) {
		if (*from == '\'' || *from == '\\')
			*at++ = *from;
		*at++ = *from;
	}
	*at++ = '\'';
	*at = '\0';
	return text;
}

/*
 * The row "o" as JSON, of the columns that it has when this is run. There null of SQL and null of
 * JSON look alike, so a column of JSON that is null is left out: see restored_sql().
 */
static const char *
original_sql(const struct maker *m)
{
	const struct outbox_look *look = &m->map->look;
	const char *some = "false", *nulls = "", *comma = "";

	for (size_t i = 0; i < look->column_count; i++) {
		const struct outbox_look_column *c = &look->columns[i];

		if (!is_json(c))
			continue;
		some = arena_printf(m->arena, "%s or o.%s is null", some, quoted(c));
		nulls = arena_printf(m->arena, "%s%scase when o.%s is null then %s end", nulls,
		    comma, quoted(c), name_literal(m, c));
		comma = ", ";
	}
	return arena_printf(m->arena, "case when %s then (select json_object_agg(member.key,"
	    " member.value) from json_each(row_to_json(o.*)) as member(key, value) where"
	    " member.key <> all(array_remove(array[%s]::text[], null))) else row_to_json(o.*) end",
	    some, nulls);
}

/* A column of dead.original, or of "o", which is made of it. */
static const char *
restored_sql(const struct maker *m, const struct outbox_look_column *c)
{
	if (!is_json(c))
		return arena_printf(m->arena, "o.%s", quoted(c));
	return arena_printf(m->arena, "case when json_typeof(dead.original -> %s) = 'null'"
	    " then 'null' else o.%s end", name_literal(m, c), quoted(c));
}

/*
 * The aggregate goes on when the row is out: a crash must not bring it back then, behind its
 * successors, so the commit is waited for whatever the database's setting is.
 */
#define ON_DISK "set_config('synchronous_commit', 'on', true)"

/* In one statement: an event is in the one table or in the other. */
static const char *
park_sql(const struct maker *m)
{
	const struct outbox_look_column *created = m->map->role[OUTBOX_CREATED];
	const char *when = "null::timestamptz";

	if (created != NULL && strcmp(created->base, "timestamptz") == 0)
		when = arena_printf(m->arena, "o.%s", quoted(created));
	else if (created != NULL && strcmp(created->base, "timestamp") == 0)
		when = arena_printf(m->arena, "o.%s at time zone 'UTC'", quoted(created));
	return arena_printf(m->arena,
	    "with why as materialized (select * from unnest($1::text[], $2::text[], $3::text[])"
	    "  as why(key, reason, text)),"
	    " o as (%s returning o.*),"
	    " dead as (insert into pawl.outbox_dead (outbox, event, aggregatetype, aggregateid,"
	    "  type, created_at, reason, text, original)"
	    "  select $4::text, %s::text, %s, %s, %s, %s, why.reason, why.text, %s"
	    "  from o join why on why.key = %s::text order by %s)"
	    " select %s::text, " ON_DISK " from o",
	    erase_sql(m), m->key, text_or_null(m, OUTBOX_AGGREGATE_TYPE),
	    text_or_null(m, OUTBOX_AGGREGATE_ID), text_or_null(m, OUTBOX_TYPE), when,
	    original_sql(m), m->key, m->order, m->key);
}

/*
 * A number that the table draws is drawn afresh: the event takes its place behind those that went
 * meanwhile, where the relay looks for new ones. A row that was marked is there still, or was
 * deleted as its retention was over: it is what it was, and not marked.
 */
static const char *
unpark_sql(const struct maker *m)
{
	const struct outbox_look *look = &m->map->look;
	const struct outbox_look_column *sent = m->map->sent;
	const char *columns = "", *values = "", *comma = "", *conflict = "";
	const char *unsent = sent != NULL && strcmp(sent->base, "bool") == 0 ? "false" : "null";

	for (size_t i = 0; i < look->column_count; i++) {
		const struct outbox_look_column *c = &look->columns[i];

		if (c->generated || (c->identity && sent == NULL))
			continue;
		columns = arena_printf(m->arena, "%s%s%s", columns, comma, quoted(c));
		values = c == sent
		    ? arena_printf(m->arena, "%s%s%s", values, comma, unsent)
		    : arena_printf(m->arena, "%s%s%s", values, comma, restored_sql(m, c));
		comma = ", ";
	}
	if (sent != NULL)
		conflict = arena_printf(m->arena, " on conflict (%s) do update set %s = %s",
		    quoted(m->map->role[m->map->keyed ? OUTBOX_ID : OUTBOX_SEQ]), quoted(sent),
		    unsent);
	return arena_printf(m->arena,
	    "with dead as (delete from pawl.outbox_dead where outbox = $1"
	    "  and number = any($2::int8[]) returning number, original),"
	    " back as (insert into %s as t (%s)%s select %s from dead,"
	    " lateral json_populate_record(null::%s, dead.original) as o order by dead.number%s"
	    "  returning 1)"
	    " select (select count(*) from dead)::text, (select count(*) from back)::text",
	    m->table->name, columns, sent == NULL ? "" : " overriding system value", values,
	    m->table->name, conflict);
}

static void
erase(const struct maker *m, const struct config_outbox *config)
{
	if (config->unroutable == POLICY_PARK || config->refused == POLICY_PARK)
		m->table->park = park_sql(m);
	if (config->unroutable == POLICY_DROP)
		m->table->drop = arena_printf(m->arena, "%s returning %s::text, " ON_DISK,
		    erase_sql(m), m->key);
	m->table->unpark = unpark_sql(m);
	m->table->remain = arena_printf(m->arena, "select %s::text from %s as o where %s = %s%s",
	    m->key, m->table->name, m->key, m->keys, m->unsent);
	m->table->erase = erase_sql(m);
}

static const char *
unsent_sql(struct arena *arena, const struct outbox_look_column *sent)
{
	if (sent == NULL)
		return "";
	if (strcmp(sent->base, "bool") != 0)
		return arena_printf(arena, " and o.%s is null", quoted(sent));
	/* A partial index "where not sent" is found by this only. */
	return arena_printf(arena, sent->not_null ? " and not o.%s" : " and o.%s is not true",
	    quoted(sent));
}

/*
 * Rows are walked over in the order of their key, a bounded number at a time: no index on the time
 * is needed, and the session's other statements never wait long.
 */
static const char *
retire_sql(const struct maker *m)
{
	const struct outbox_look_column *sent = m->map->sent;
	const struct outbox_look_column *when = m->map->role[OUTBOX_CREATED];
	const char *is_sent, *step, *name = m->table->name;
	const char *type = m->map->keyed ? m->map->role[OUTBOX_ID]->type : "int8";

	if (strcmp(sent->base, "bool") != 0)
		when = sent;
	is_sent = arena_printf(m->arena, strcmp(sent->base, "bool") == 0 ? "o.%s is true"
									  : "o.%s is not null",
	    quoted(sent));
	step = arena_printf(m->arena,
	    "select %s as key, %s as sent,"
	    " %s and o.%s < %s - $3::int8 * interval '1 millisecond' as old from %s as o",
	    m->key, is_sent, is_sent, quoted(when),
	    strcmp(when->base, "timestamptz") == 0 ? "now()" : "(now() at time zone 'UTC')", name);
	/* Not "$1 is null or key > $1", for which no index can be searched. */
	return arena_printf(m->arena,
	    "with step as materialized ("
	    "  (%s where $1::text is null order by %s limit $2::int8) union all"
	    "  (%s where %s > $1::text::%s order by %s limit $2::int8)),"
	    " mine as materialized (select %s as key from %s as o"
	    "  where %s = any(array(select key from step where old)) for update skip locked),"
	    " gone as (delete from %s as o where %s = any(array(select key from mine)) returning 1)"
	    " select (select key::text from step order by step.key desc limit 1), count(*)::text,"
	    " (select count(*) from gone)::text,"
	    " coalesce(bool_or(sent and old is not true), false)::text from step",
	    step, m->key, step, m->key, type, m->key, m->key, name, m->key, name, m->key);
}

/* As in pawl.doorbell(): sql/001-pawl.sql. "pawl" in ASCII. */
#define BELL_CLASS "1885435756"

void
outbox_sql_bell(struct outbox_table *table, const struct outbox_map *map)
{
	const char *oid = map->look.oid;

	table->bell = arena_printf(&table->arena, "pawl_%s", oid);
	table->sleep = arena_printf(&table->arena,
	    "select pg_try_advisory_lock(" BELL_CLASS ", %s::oid::int4)", oid);
	table->wake = arena_printf(&table->arena,
	    "select pg_advisory_unlock(" BELL_CLASS ", %s::oid::int4)", oid);
}

static void
make(struct outbox_table *table, const struct outbox_map *map, const struct config_outbox *config,
    struct arena *arena)
{
	struct maker m = { .table = table, .map = map, .arena = arena }, by_key;
	const struct outbox_look_column *key = map->role[map->keyed ? OUTBOX_ID : OUTBOX_SEQ];
	const struct outbox_look_column *not_before = map->role[OUTBOX_NOT_BEFORE];

	m.key = arena_printf(m.arena, "o.%s", quoted(key));
	m.keys = map->keyed ? arena_printf(m.arena, "any($1::text[]::%s[])", key->type)
			    : "any($1::int8[])";
	m.order = map->keyed ? arena_printf(m.arena, "o.%s, %s", quoted(map->order), m.key) : m.key;
	m.sorted = map->keyed ? "sort, id" : "seq";
	m.unsent = unsent_sql(m.arena, map->sent);
	m.at_once = not_before == NULL
	    ? "" : arena_printf(m.arena, " and o.%s is null", quoted(not_before));
	m.columns = columns_sql(&m);
	by_key = m;
	if (map->sent != NULL)
		by_key.unsent = arena_printf(m.arena,
		    strcmp(map->sent->base, "bool") == 0
			? " and case when o.%s then false else true end"
			: " and case when o.%s is null then true end",
		    quoted(map->sent));
	table->fetch = rows_sql(&by_key,
	    arena_printf(m.arena, "%s order by %s limit $2::int8",
		limited_sql(&by_key, "%s = %s", m.key, m.keys), m.order),
	    "$3", "$4", "count(*) over ()");
	erase(&by_key, config);
	table->glance = glance_sql(&m);
	if (map->sent != NULL && config->retention_ms > 0)
		table->retire = retire_sql(&m);
	if (!map->keyed) {
		by_seq(&m);
		return;
	}
	table->read = read_keyed_sql(&m);
	table->count = arena_printf(m.arena,
	    "select count(*) from (select from %s as o where true%s%s limit 100000) as ahead",
	    table->name, m.at_once, m.unsent);
}

/* What they are made of goes; there may be hundreds of tables. */
void
outbox_sql_make(struct outbox_table *table, const struct outbox_map *map,
    const struct config_outbox *config)
{
	const char **const statements[] = { &table->read, &table->fetch, &table->sweep,
		&table->catch_up, &table->erase, &table->park, &table->drop, &table->unpark,
		&table->remain, &table->writers, &table->net, &table->count, &table->glance,
		&table->retire };
	struct arena arena = ARENA_INIT;

	make(table, map, config, &arena);
	for (size_t i = 0; i < ARRAY_SIZE(statements); i++)
		if (*statements[i] != NULL)
			*statements[i] = arena_strdup(&table->arena, *statements[i]);
	arena_release(&arena);
}
