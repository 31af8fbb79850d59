/*
 * outbox_look.c - the question to the server about an outbox's table, and its answer.
 */
#include "common/outbox_look.h"

#include <string.h>

#include "common/outbox_table.h"
#include "util/pg.h"

/* One row for each column of the table; the first ones are of the table and the same in each. */
enum {
	CHECK_NAME,
	CHECK_LITERAL,
	CHECK_SCHEMA,
	CHECK_LOCK_KEY,
	CHECK_OID,
	CHECK_KIND,
	CHECK_ORDINARY,
	CHECK_CHILDREN,
	CHECK_USAGE,
	CHECK_ROWS_HIDDEN,
	CHECK_DELETE,
	CHECK_RULE,
	CHECK_RINGS,
	CHECK_ROLE,
	CHECK_DEAD,
	CHECK_UNENCODED,
	CHECK_COLUMN,
	CHECK_QUOTED,
	CHECK_TYPE,
	CHECK_BASE,
	CHECK_CATEGORY,
	CHECK_NOT_NULL,
	CHECK_UNIQUE,
	CHECK_DRAWN,
	CHECK_SORTABLE,
	CHECK_SELECTABLE,
	CHECK_UPDATABLE,
	CHECK_INDEXED,
	CHECK_IN_PREDICATE,
	CHECK_GENERATED,
	CHECK_IDENTITY,
	CHECK_COLUMNS
};

/*
 * The name may be written as it is, My schema.Out box, or as SQL has it, "My schema"."Out box";
 * to_regclass() would raise an error for the first one.
 *
 * ordinary: who inserts into a child does not lock the parent. drawn: "generated always", so that
 * no client names a number itself; cache 1, so that numbers are drawn in the order of time over all
 * sessions, and never backwards. unique: by one index, over all rows. Format -1: bpchar, and not
 * character, which is one character long.
 */
const char outbox_table_check_sql[] =
    "select t.quoted, quote_literal(t.quoted), quote_ident(t.nspname),"
    " hashtextextended('pawl.outbox:' || t.nspname || '.' || t.relname, 0)::text,"
    " t.oid::text, t.relkind::text,"
    " t.relkind = 'r' and not exists (select from pg_inherits i"
    "  where t.oid in (i.inhparent, i.inhrelid)),"
    " t.relkind = 'r' and exists (select from pg_inherits i where t.oid = i.inhparent),"
    " has_schema_privilege(t.relnamespace, 'usage'),"
    " row_security_active(t.oid),"
    " has_table_privilege(t.oid, 'delete'),"
    " (select string_agg(w.ev_type::text, '') from pg_rewrite w where w.ev_class = t.oid"
    "  and w.is_instead and w.ev_enabled <> 'D'),"
    " exists (select from pg_trigger g where g.tgrelid = t.oid and g.tgname = 'pawl_doorbell'"
    "  and g.tgenabled in ('O', 'A')),"
    " quote_ident(current_user),"
    " (select case when not has_table_privilege(d.oid, 'insert') then 'no right'"
    "   when exists (select from pg_attribute a where a.attrelid = d.oid"
    "    and a.attname = 'original' and not a.attisdropped) then 'there' end"
    "  from pg_class d join pg_namespace n on n.oid = d.relnamespace"
    "  where n.nspname = 'pawl' and d.relname = 'outbox_dead'),"
    " current_setting('server_encoding') = 'SQL_ASCII',"
    " a.attname::text, quote_ident(a.attname), format_type(b.oid, -1),"
    " case when b.typnamespace = 'pg_catalog'::regnamespace then b.typname::text else '' end,"
    " b.typcategory::text,"
    " a.attnotnull,"
    " exists (select from pg_index i where i.indrelid = t.oid and i.indisunique and i.indisvalid"
    "  and i.indpred is null and i.indexprs is null and i.indnkeyatts = 1"
    "  and i.indkey[0] = a.attnum),"
    " a.attidentity = 'a' and exists (select from pg_depend d"
    "  join pg_sequence s on s.seqrelid = d.objid"
    "  where d.refclassid = 'pg_class'::regclass and d.refobjid = a.attrelid"
    "   and d.refobjsubid = a.attnum and d.classid = 'pg_class'::regclass and d.deptype = 'i'"
    "   and s.seqcache = 1 and s.seqincrement > 0 and not s.seqcycle),"
    " b.typtype in ('e', 'r') or b.typcategory in ('S', 'A', 'E')"
    "  or exists (select from pg_opclass o join pg_am m on m.oid = o.opcmethod"
    "   where m.amname = 'btree' and o.opcdefault and o.opcintype = b.oid),"
    " has_column_privilege(t.oid, a.attnum, 'select'),"
    " has_column_privilege(t.oid, a.attnum, 'update'),"
    " exists (select from pg_index i where i.indrelid = t.oid and i.indisvalid"
    "  and i.indkey[0] = a.attnum),"
    " exists (select from pg_index i where i.indrelid = t.oid and i.indisvalid"
    "  and position(quote_ident(a.attname) in pg_get_expr(i.indpred, i.indrelid)) > 0),"
    " a.attgenerated <> '', a.attidentity = 'a'"
    " from (select c.oid, c.relkind, c.relname, c.relnamespace, n.nspname,"
    "   format('%I.%I', n.nspname, c.relname) as quoted"
    "  from pg_class c join pg_namespace n on n.oid = c.relnamespace"
    "  where c.relkind in ('r', 'p', 'v', 'm', 'f') and c.oid = (select coalesce("
    "   (select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace"
    "    where n.nspname || '.' || c.relname = $1 order by c.oid limit 1),"
    "   (select c.oid from pg_class c where c.relname = $1 and pg_table_is_visible(c.oid)),"
    "   case when $1 ~ '^(\"([^\"]|\"\")+\"|[[:alpha:]_][[:alnum:]_$]*)"
    "([.](\"([^\"]|\"\")+\"|[[:alpha:]_][[:alnum:]_$]*))?$' then to_regclass($1)::oid end))) as t"
    " left join pg_attribute a on a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped"
    " left join pg_type y on y.oid = a.atttypid"
    " left join pg_type b on b.oid = case when y.typtype = 'd' then y.typbasetype else y.oid end"
    " order by a.attnum";

static const char *
text(const struct pg_result *result, int row, int column)
{
	const char *value = pg_value(result, row, column);

	return value == NULL ? "" : value;
}

static bool
is_true(const struct pg_result *result, int row, int column)
{
	return strcmp(text(result, row, column), "t") == 0;
}

static void
read_columns(struct outbox_look *look, const struct pg_result *result, struct arena *arena)
{
	int count = pg_value(result, 0, CHECK_COLUMN) == NULL ? 0 : pg_rows(result);
	struct outbox_look_column *columns = arena_array(arena, (size_t)count, sizeof(*columns));

	for (int i = 0; i < count; i++)
		columns[i] = (struct outbox_look_column){
			.name = arena_strdup(arena, text(result, i, CHECK_COLUMN)),
			.quoted = arena_strdup(arena, text(result, i, CHECK_QUOTED)),
			.type = arena_strdup(arena, text(result, i, CHECK_TYPE)),
			.base = arena_strdup(arena, text(result, i, CHECK_BASE)),
			.category = text(result, i, CHECK_CATEGORY)[0],
			.not_null = is_true(result, i, CHECK_NOT_NULL),
			.unique = is_true(result, i, CHECK_UNIQUE),
			.drawn = is_true(result, i, CHECK_DRAWN),
			.sortable = is_true(result, i, CHECK_SORTABLE),
			.selectable = is_true(result, i, CHECK_SELECTABLE),
			.updatable = is_true(result, i, CHECK_UPDATABLE),
			.indexed = is_true(result, i, CHECK_INDEXED),
			.in_predicate = is_true(result, i, CHECK_IN_PREDICATE),
			.generated = is_true(result, i, CHECK_GENERATED),
			.identity = is_true(result, i, CHECK_IDENTITY),
		};
	look->columns = columns;
	look->column_count = (size_t)count;
}

int
outbox_look_read(struct outbox_look *look, const struct pg_result *result, struct arena *arena)
{
	*look = (struct outbox_look){ .table = NULL };
	if (pg_columns(result) != CHECK_COLUMNS)
		return -1;
	if (pg_rows(result) == 0)
		return 0;
	*look = (struct outbox_look){
		.table = arena_strdup(arena, text(result, 0, CHECK_NAME)),
		.literal = arena_strdup(arena, text(result, 0, CHECK_LITERAL)),
		.schema = arena_strdup(arena, text(result, 0, CHECK_SCHEMA)),
		.lock_key = arena_strdup(arena, text(result, 0, CHECK_LOCK_KEY)),
		.oid = arena_strdup(arena, text(result, 0, CHECK_OID)),
		.kind = text(result, 0, CHECK_KIND)[0],
		.ordinary = is_true(result, 0, CHECK_ORDINARY),
		.children = is_true(result, 0, CHECK_CHILDREN),
		.usable = is_true(result, 0, CHECK_USAGE),
		.rows_hidden = is_true(result, 0, CHECK_ROWS_HIDDEN),
		.deletable = is_true(result, 0, CHECK_DELETE),
		.rules = arena_strdup(arena, text(result, 0, CHECK_RULE)),
		.rings = is_true(result, 0, CHECK_RINGS),
		.role = arena_strdup(arena, text(result, 0, CHECK_ROLE)),
		.unencoded = is_true(result, 0, CHECK_UNENCODED),
		.dead = arena_strdup(arena, text(result, 0, CHECK_DEAD)),
	};
	read_columns(look, result, arena);
	return 0;
}
