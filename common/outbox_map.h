/*
 * outbox_map.h - which column of a table plays which part: what the configuration says, held against
 * what the server says of the table.
 */
#ifndef PAWL_COMMON_OUTBOX_MAP_H
#define PAWL_COMMON_OUTBOX_MAP_H
#include <stdbool.h>
#include "common/config.h"
#include "common/outbox_table.h"

struct outbox_map_column {
	const char *name;
	const char *quoted;
	const char *type;		/* as SQL names it, without a length; of a domain what is below it */
	const char *base;		/* its name if it is one of the server's own: "int8", "jsonb"; else "" */
	char category;			/* pg_type.typcategory: 'N' number, 'S' text, 'D' time ... */
	bool not_null;
	bool unique;			/* by itself, over all rows */
	bool drawn;			/* identity, always, cache 1 */
	bool sortable;
	bool selectable, updatable;	/* by this session's role */
	bool indexed;			/* an index begins with it */
	bool in_predicate;		/* a partial index has it in its condition */
};

struct outbox_map {
	const char *table;		/* schema and name, quoted */
	const char *lock_key, *oid;
	const struct outbox_map_column *columns;
	size_t column_count;
	bool ordinary;			/* neither partitioned nor with parents or children */
	const struct outbox_map_column *role[OUTBOX_ROLES];	/* NULL: the table has none */
	/*
	 * A row is told by its seq and read in its order; or keyed: told by its id, read in the
	 * order of 'order', then of id.
	 */
	bool keyed;
	const struct outbox_map_column *order;
	const struct outbox_map_column *sent;			/* NULL: rows are deleted */
	const struct outbox_map_column *extra[OUTBOX_EXTRAS];	/* for templates */
	size_t extra_count;
};

/*
 * The answer to outbox_table_check_sql. Everything is in the arena. mistakes gets a line for each one:
 * "KEY: what is wrong; what to do", KEY being the outbox's. -1: there were some.
 */
struct pg_result;
int	outbox_map_init(struct outbox_map *, const struct config_outbox *, const struct pg_result *,
    struct arena *, struct buf *mistakes) ATTR_MUST_CHECK ATTR_NONNULL;
/*
 * A column that a template names: 0 <= its place in a row's values; extra ones are added. -1: there
 * is none, or it is none for templates, which is a mistake.
 */
int	outbox_map_place(struct outbox_map *, const char *key, struct slice name, struct arena *,
    struct buf *mistakes) ATTR_NONNULL;
#endif
