/*
 * outbox_table.h - an outbox as the relay sees it: any table whose columns can play the parts, with
 * statements and templates made for it once.
 *
 * The server is asked what the table is (outbox_table_check_sql); its answer holds all names as the
 * server quotes them, and the statements are made from that. So no name from the configuration is
 * ever pasted into SQL.
 */
#ifndef PAWL_COMMON_OUTBOX_TABLE_H
#define PAWL_COMMON_OUTBOX_TABLE_H
#include <stdbool.h>
#include <stdint.h>
#include "common/outbox_column.h"
#include "util/arena.h"
#include "util/attr.h"
#include "util/buf.h"
#include "util/slice.h"

/*
 * What the reading statements give besides a row's values. TOO_LARGE: the payload's size when it is
 * over the limit; PAYLOAD is null then. TOTAL, of fetch, sweep and catch_up: the rows that there
 * are within the limit of rows; fewer come when they are large. DUE, of read: not null in rows that
 * had a not_before; they come last. EXTRA: columns that only templates use follow from here on; in
 * a row in memory from OUTBOX_COLUMNS on.
 */
enum {
	OUTBOX_TOO_LARGE = OUTBOX_COLUMNS,
	OUTBOX_TOTAL,
	OUTBOX_DUE = OUTBOX_TOTAL,
	OUTBOX_EXTRA,
	OUTBOX_EXTRAS = 16		/* at most */
};
/*
 * The first row of 'read' has no seq. It says, in the columns of other things, what belongs to the
 * snapshot of the rows that follow: the positions are of after the snapshot was taken, so the
 * commits of all rows in it are below INSERT_LSN. BEHIND are the seqs of the rows between floor and
 * cursor. FILE changes when the table is truncated, and its numbers may have begun anew.
 * SNAPSHOT is as pg_current_snapshot() gives it.
 */
enum {
	OUTBOX_META_INSERT_LSN = 1,
	OUTBOX_META_FLUSH_LSN,
	OUTBOX_META_BACKEND_PID,
	OUTBOX_META_BEHIND,
	OUTBOX_META_FILE,
	OUTBOX_META_SNAPSHOT
};
/* The columns of 'net'; the first one is OUTBOX_SEQ. */
enum { OUTBOX_NET_AGGREGATE_TYPE = 1, OUTBOX_NET_AGGREGATE_ID };

/*
 * Template over the columns and headers of a row: "orders", "{aggregatetype}", "shop.{type}",
 * "{header:region}". Braces are doubled to stand for themselves.
 */
enum outbox_template_kind { OUTBOX_PART_LITERAL, OUTBOX_PART_COLUMN, OUTBOX_PART_HEADER };
struct outbox_template_part {
	enum outbox_template_kind kind;
	struct slice text;		/* the literal; the name as written, with a NUL behind it */
	int column;			/* its place in a row's values; -1: not looked up yet */
};
struct outbox_template { struct outbox_template_part *parts; size_t count; };
/* Its form alone: which columns there are, the table says. -1: error says why. */
int	outbox_template_parse(const char *text, struct arena *, struct outbox_template *,
    char *error, size_t error_size) ATTR_MUST_CHECK;
/* Columns that are a part of every outbox, by their own names: for tests. -1: one is none. */
int	outbox_template_place(struct outbox_template *) ATTR_MUST_CHECK;
/*
 * columns: texts, data NULL is SQL null. A template of one part costs nothing: *out is that text.
 * NULL: good; else the part that is null, or no text, in this row.
 */
const struct outbox_template_part *outbox_template_expand(const struct outbox_template *,
    const struct slice *columns, struct buf *scratch, struct slice *out) ATTR_MUST_CHECK;

/* How a row's values become texts in the reading statements' answers. */
struct outbox_shape {
	size_t extras;
	bool hex;			/* the payload is bytes, given as hexadecimal digits */
};

struct outbox_table {
	struct arena arena;
	const char *name;		/* schema and table, quoted */
	const char *key;		/* the column that rows are told by */
	const char *lock_key;		/* of the leader's advisory lock */
	bool id_is_uuid;
	/*
	 * seq is an identity with cache 1: a transaction draws it after it has locked the table.
	 * Not so where rows are marked: somebody may take a mark away
	 */
	bool append_only;
	bool drawn;			/* such an identity */
	bool keyed;			/* has no seq: rows are told by their ids */
	bool marks;			/* what was published is marked, not deleted */
	struct outbox_shape shape;
	const char *content_type;	/* by the payload's type, or as configured */
	struct outbox_template exchange, routing_key, source;
	const char *advice[4];		/* what would make it better, up to a NULL */

	/* The statements. rows, bytes: how many at most; largest: payload that is given as text. */
	/*
	 * $1 floor, $2 cursor, $3 rows, $4 bytes, $5 largest, $6 known due rows int8[], $7 boolean:
	 * due rows are wanted. keyed: $1 known ids text[], $2 rows, $3 bytes, $4 largest, $5
	 * aggregatetypes text[], $6 aggregateids text[] that are left out
	 */
	const char *read;
	/* $1 seqs int8[] (keyed: ids text[]), $2 rows, $3 bytes, $4 largest */
	const char *fetch;
	/*
	 * $1 from, $2 to (both included), $3 rows, $4 bytes, $5 largest, $6 cursor,
	 * $7 known due rows int8[]; catch_up: $8 aggregatetypes text[], $9 aggregateids text[].
	 * keyed: NULL, as all that is read in the order of seq
	 */
	const char *sweep, *catch_up;
	const char *erase;		/* or mark; $1 seqs int8[] (keyed: ids text[]) */
	/*
	 * The same of events that cannot be published. $1 seqs (ids), $2 reasons text[], $3 texts
	 * text[], in the same order, $4 the outbox: into pawl.outbox_dead. Each gives the seqs
	 * (ids) of those that were still there. NULL: nothing is to be parked, or dropped
	 */
	const char *park, *drop;
	/*
	 * $1 the outbox, $2 numbers int8[] in pawl.outbox_dead: back into the table, for pawlctl.
	 * Gives how many were there, and how many the table took: if these differ, roll back
	 */
	const char *unpark;
	const char *remain; /* of these: the seqs (ids) that are still to be published */
	/*
	 * Transactions that may be writing: their virtual ids and, if they have one yet, their
	 * numbers; of all that subtransactions have, too, the first one
	 */
	const char *writers;
	/* $1 from (excluded), $2 to, $3 rows: what is left there, seqs and aggregates */
	const char *net;
	/* $1 cursor: rows ahead of it, 100000 at most. keyed: all that are to be published */
	const char *count;
	/*
	 * An expression: its file, or null when there may be something to publish that is not known
	 * yet, if nothing is. asked.floor: the floor
	 */
	const char *glance;
	/*
	 * $1 seq or id (excluded; null: from the first one), $2 rows, $3 milliseconds: of so many
	 * rows behind it those that were sent so long ago are deleted. Gives the last seq or id of
	 * them, how many they were, how many are gone, and whether a younger one was among them.
	 * NULL: nothing is to be deleted
	 */
	const char *retire;
	/*
	 * The doorbell: what the table's trigger notifies; sleep takes the lock by which the
	 * trigger knows that it must, and says whether it could; wake gives it back. NULL: there is
	 * none
	 */
	const char *bell, *sleep, *wake;
};
#define OUTBOX_TABLE_INIT { .arena = ARENA_INIT }
struct config_outbox;
struct pg_result;
/* $1: the table's name as configured */
extern const char outbox_table_check_sql[];
/* -1: mistakes holds a line for each, "KEY: what; what to do". */
int	outbox_table_init(struct outbox_table *, const struct config_outbox *,
    const struct pg_result *, struct buf *mistakes) ATTR_MUST_CHECK ATTR_NONNULL;
void	outbox_table_release(struct outbox_table *) ATTR_NONNULL;
#endif
