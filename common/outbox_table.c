/*
 * outbox_table.c - what the server says of an outbox, and the statements that are made from it.
 */
#include "common/outbox_table.h"

#include <string.h>

#include "util/pg.h"

enum {
	CHECK_NAME,
	CHECK_LOCK_KEY,
	CHECK_KIND,
	CHECK_MISSING,
	CHECK_SEQ_OK,
	CHECK_UUID,
	CHECK_APPEND_ONLY,
	CHECK_SELECT,
	CHECK_DELETE,
	CHECK_OID,
	CHECK_COLUMNS
};

/*
 * append_only: "generated always", so that no client names a seq itself; cache 1, so that numbers
 * are drawn in the order of time over all sessions, and never backwards; an ordinary table alone,
 * because who inserts into a child does not lock the parent.
 */
const char outbox_table_check_sql[] =
    "select format('%I.%I', n.nspname, c.relname),"
    " hashtextextended('pawl.outbox:' || n.nspname || '.' || c.relname, 0)::text,"
    " c.relkind::text,"
    " (select string_agg(w.name, ', ' order by w.at)"
    "  from unnest(array['seq', 'id', 'aggregatetype', 'aggregateid', 'type', 'payload',"
    "   'headers', 'not_before', 'created_at']) with ordinality as w(name, at)"
    "  where not exists (select from pg_attribute a where a.attrelid = c.oid"
    "   and a.attname = w.name and a.attnum > 0 and not a.attisdropped)),"
    " (select a.atttypid in ('int8'::regtype, 'int4'::regtype) from pg_attribute a"
    "  where a.attrelid = c.oid and a.attname = 'seq'),"
    " (select a.atttypid = 'uuid'::regtype from pg_attribute a"
    "  where a.attrelid = c.oid and a.attname = 'id'),"
    " c.relkind = 'r'"
    "  and not exists (select from pg_inherits i where c.oid in (i.inhparent, i.inhrelid))"
    "  and exists (select from pg_attribute a"
    "   join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = a.attrelid"
    "    and d.refobjsubid = a.attnum and d.classid = 'pg_class'::regclass and d.deptype = 'i'"
    "   join pg_sequence s on s.seqrelid = d.objid"
    "   where a.attrelid = c.oid and a.attname = 'seq' and a.attidentity = 'a'"
    "    and s.seqcache = 1 and s.seqincrement > 0 and not s.seqcycle),"
    " has_table_privilege(c.oid, 'select'),"
    " has_table_privilege(c.oid, 'delete'),"
    " c.oid::text"
    " from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = to_regclass($1)";

#define COLUMNS "seq, id, aggregatetype, aggregateid, type, payload, headers, created_at"

/*
 * Rows of a sub-select, with texts made of their values. Two guards, so that a few large payloads
 * cannot fill the memory: rows are given until their payloads and headers are 'bytes' large as they
 * are stored (nothing is decompressed for that); a payload whose text is over 'largest' is given as
 * its size. "offset 0" keeps the planner from making the text of a payload more than once.
 */
static char *
rows_sql(struct arena *arena, const char *from, const char *bytes, const char *largest,
    const char *last_column)
{
	return arena_printf(arena,
	    "select seq::int8, id::text, aggregatetype::text, aggregateid::text, type::text,"
	    " case when octet_length(body) <= %s::int8 then body end, headers::text,"
	    " case when isfinite(created_at)"
	    "  then floor(extract(epoch from created_at))::int8::text end,"
	    " case when octet_length(body) > %s::int8 then octet_length(body)::text end, last::text"
	    " from (select " COLUMNS ", %s as last,"
	    "  sum(coalesce(pg_column_size(payload), 0) + coalesce(pg_column_size(headers), 0))"
	    "   over (order by seq rows between unbounded preceding and 1 preceding) as before"
	    "  from (%s) as limited) as sized,"
	    " lateral (select payload::text as body offset 0) as text"
	    " where coalesce(before, 0) < %s::int8 order by seq",
	    largest, largest, last_column, from, bytes);
}

/*
 * One statement is one snapshot: what is behind the cursor, what is ahead of it, and what was to be
 * published later and is due now. Those rows are outside cursor and floor, so the due ones that are
 * known are named to be left out. now() and not clock_timestamp(), which no index can be searched
 * for.
 */
static char *
read_sql(struct arena *arena, const char *name, const char *oid)
{
	char *ahead, *due;

	ahead = arena_printf(arena,
	    "select " COLUMNS " from %s where seq > $2::int8 and not_before is null"
	    " order by seq limit $3::int8", name);
	due = arena_printf(arena,
	    "select " COLUMNS " from %s as o where not_before <= now()"
	    " and not exists (select from unnest($6::int8[]) as known(seq) where known.seq = o.seq)"
	    " order by not_before limit $3::int8", name);
	return arena_printf(arena,
	    "select null::int8, pg_current_wal_insert_lsn()::text,"
	    " pg_current_wal_flush_lsn()::text, pg_backend_pid()::text,"
	    " array(select seq from %s"
	    "  where seq > $1::int8 and seq <= $2::int8 and not_before is null)::text,"
	    " coalesce(pg_relation_filenode(%s), 0)::text,"
	    " null::text, null::text, null::text, null::text"
	    " union all (%s) union all (%s)",
	    name, oid, rows_sql(arena, ahead, "$4", "$5", "null"),
	    rows_sql(arena, due, "$4", "$5", "'due'"));
}

static void
build(struct outbox_table *table, const char *oid)
{
	struct arena *arena = &table->arena;
	const char *name = table->name;
	char *from;

	table->read = read_sql(arena, name, oid);

	from = arena_printf(arena,
	    "select " COLUMNS " from %s where seq = any($1::int8[])"
	    " order by seq limit $2::int8", name);
	table->fetch = rows_sql(arena, from, "$3", "$4", "count(*) over ()");

	/* Up to the cursor, or known to be due: what is newer may not be on disk yet. */
	from = arena_printf(arena,
	    "select " COLUMNS " from %s where seq >= $1::int8 and seq <= $2::int8"
	    " and ((not_before is null and seq <= $6::int8) or seq in (select unnest($7::int8[])))"
	    " order by seq limit $3::int8", name);
	table->sweep = rows_sql(arena, from, "$4", "$5", "count(*) over ()");
	from = arena_printf(arena,
	    "select " COLUMNS " from %s where seq >= $1::int8 and seq <= $2::int8"
	    " and ((not_before is null and seq <= $6::int8) or seq in (select unnest($7::int8[])))"
	    " and (coalesce(aggregatetype::text, ''), aggregateid::text) in"
	    "  (select * from unnest($8::text[], $9::text[]))"
	    " order by seq limit $3::int8", name);
	table->catch_up = rows_sql(arena, from, "$4", "$5", "count(*) over ()");

	table->erase = arena_printf(arena, "delete from %s where seq = any($1::int8[])", name);
	table->writers = arena_printf(arena,
	    "select virtualtransaction from pg_locks where locktype = 'relation' and relation = %s"
	    " and database = (select oid from pg_database where datname = current_database())"
	    " and mode = 'RowExclusiveLock' and granted", oid);
	table->net = arena_printf(arena,
	    "select seq::int8, aggregatetype::text, aggregateid::text from %s"
	    " where seq > $1::int8 and seq <= $2::int8 and not_before is null"
	    " order by seq limit $3::int8", name);
	table->count = arena_printf(arena,
	    "select count(*) from (select from %s where seq > $1::int8 and not_before is null"
	    " limit 100000) as ahead", name);
}

static const char *
text(const struct pg_result *result, int column)
{
	const char *value = pg_value(result, 0, column);

	return value == NULL ? "" : value;
}

int
outbox_table_init(struct outbox_table *table, const char *configured,
    const struct pg_result *result, char *error, size_t error_size)
{
	outbox_table_release(table);
	if (pg_columns(result) != CHECK_COLUMNS || pg_rows(result) > 1) {
		(void)snprintf(error, error_size,
		    "table \"%s\": the server's answer cannot be understood", configured);
		return -1;
	}
	if (pg_rows(result) == 0) {
		(void)snprintf(error, error_size,
		    "table \"%s\" does not exist in this database; run: pawlctl migrate",
		    configured);
		return -1;
	}
	if (strchr("rp", text(result, CHECK_KIND)[0]) == NULL ||
	    text(result, CHECK_KIND)[0] == '\0') {
		(void)snprintf(error, error_size, "\"%s\" is no table", configured);
		return -1;
	}
	if (pg_value(result, 0, CHECK_MISSING) != NULL) {
		(void)snprintf(error, error_size,
		    "table \"%s\" has no column %s; run: pawlctl migrate, or name another table",
		    configured, text(result, CHECK_MISSING));
		return -1;
	}
	if (strcmp(text(result, CHECK_SEQ_OK), "t") != 0) {
		(void)snprintf(error, error_size,
		    "column seq of table \"%s\" must be of type bigint", configured);
		return -1;
	}
	if (strcmp(text(result, CHECK_SELECT), "t") != 0 ||
	    strcmp(text(result, CHECK_DELETE), "t") != 0) {
		(void)snprintf(error, error_size,
		    "no right to %s table \"%s\"; run as its owner: grant select, delete on %s"
		    " to <the role of this session>",
		    strcmp(text(result, CHECK_SELECT), "t") != 0 ? "read" : "delete from",
		    configured, text(result, CHECK_NAME));
		return -1;
	}
	table->name = arena_strdup(&table->arena, text(result, CHECK_NAME));
	table->lock_key = arena_strdup(&table->arena, text(result, CHECK_LOCK_KEY));
	table->id_is_uuid = strcmp(text(result, CHECK_UUID), "t") == 0;
	table->append_only = strcmp(text(result, CHECK_APPEND_ONLY), "t") == 0;
	build(table, text(result, CHECK_OID));
	return 0;
}

void
outbox_table_release(struct outbox_table *table)
{
	arena_release(&table->arena);
	*table = (struct outbox_table)OUTBOX_TABLE_INIT;
}
