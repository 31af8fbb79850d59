/*
 * outbox_look.h - what the server says of an outbox's table: facts, no judgement.
 */
#ifndef PAWL_COMMON_OUTBOX_LOOK_H
#define PAWL_COMMON_OUTBOX_LOOK_H
#include <stdbool.h>
#include <stddef.h>
#include "util/arena.h"
#include "util/attr.h"

struct outbox_look_column {
	const char *name;
	const char *quoted;
	const char *type; /* as SQL names it, without a length; of a domain what is below it */
	const char *base; /* its name if it is one of the server's own: "int8"; else "" */
	char category; /* pg_type.typcategory: 'N' number, 'S' text, 'D' time ... */
	bool not_null;
	bool unique;			/* by itself, over all rows */
	bool drawn;			/* identity, always, cache 1 */
	bool sortable;
	bool selectable, updatable;	/* by this session's role */
	bool indexed;			/* an index begins with it */
	bool in_predicate;		/* a partial index has it in its condition */
	bool generated;			/* from other columns */
	bool identity;			/* always */
};

struct outbox_look {
	const char *table;		/* schema and name, quoted; NULL: there is none */
	const char *literal;		/* the same as a string of SQL */
	const char *schema;		/* quoted */
	const char *lock_key, *oid;
	char kind; /* pg_class.relkind: 'r' table, 'p' partitioned table, 'v' ... */
	bool ordinary;			/* neither partitioned nor with parents or children */
	bool children;			/* by inheritance */
	bool usable;			/* its schema, by the role */
	bool rows_hidden;		/* row level security is in force for the role */
	bool deletable;			/* by the role */
	const char *rules; /* pg_rewrite.ev_type of rules that replace: "2" update, "4" delete */
	bool rings;			/* has the trigger of a doorbell, and it is on */
	const char *role;		/* of the session, quoted */
	bool unencoded;			/* the database: SQL_ASCII, so that texts may be anything */
	const char *dead; /* pawl.outbox_dead: "there", "no right" to insert, "" none of this version */
	const struct outbox_look_column *columns;
	size_t column_count;
};

struct pg_result;
/* Of the answer to outbox_table_check_sql (outbox_table.h). -1: it is none. */
int	outbox_look_read(struct outbox_look *, const struct pg_result *,
    struct arena *) ATTR_MUST_CHECK ATTR_NONNULL;
#endif
