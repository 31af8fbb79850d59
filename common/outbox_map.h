/*
 * outbox_map.h - which column of a table plays which part: what the configuration says, held
 * against what the server says of the table.
 */
#ifndef PAWL_COMMON_OUTBOX_MAP_H
#define PAWL_COMMON_OUTBOX_MAP_H
#include <stdbool.h>
#include "common/config.h"
#include "common/outbox_look.h"
#include "common/outbox_table.h"

struct outbox_map {
	struct outbox_look look;
	const struct outbox_look_column *role[OUTBOX_ROLES];	/* NULL: the table has none */
	/*
	 * A row is told by its seq and read in its order; or keyed: told by its id, read in the
	 * order of 'order', then of id.
	 */
	bool keyed;
	const struct outbox_look_column *order;
	const struct outbox_look_column *sent;			/* NULL: rows are deleted */
	const struct outbox_look_column *extra[OUTBOX_EXTRAS];	/* for templates */
	size_t extra_count;
};

/*
 * The answer to outbox_table_check_sql. Everything is in the arena. mistakes gets a line for each
 * one: "KEY: what is wrong; what to do", KEY being the outbox's. -1: there were some.
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
/* outbox_sql.c: the statements of a table whose name and shape are set; those that it needs. */
void	outbox_sql_make(struct outbox_table *, const struct outbox_map *,
    const struct config_outbox *) ATTR_NONNULL;
void	outbox_sql_bell(struct outbox_table *, const struct outbox_map *) ATTR_NONNULL;
#endif
