/*
 * outbox_table.h - an outbox as the relay sees it: names quoted, statements built, templates parsed
 * once at start.
 *
 * The server is asked what the table is (outbox_table_check_sql); its answer holds the name as the
 * server quotes it, and the statements are made from that. So no name from the configuration is
 * ever pasted into SQL.
 */
#ifndef PAWL_COMMON_OUTBOX_TABLE_H
#define PAWL_COMMON_OUTBOX_TABLE_H
#include <stdbool.h>
#include <stdint.h>
#include "util/arena.h"
#include "util/attr.h"
#include "util/buf.h"
#include "util/slice.h"

/*
 * A row's values, in the order in which the reading statements give them. All are texts; CREATED is
 * Unix seconds.
 */
enum outbox_column {
	OUTBOX_SEQ,
	OUTBOX_ID,
	OUTBOX_AGGREGATE_TYPE,
	OUTBOX_AGGREGATE_ID,
	OUTBOX_TYPE,
	OUTBOX_PAYLOAD,
	OUTBOX_HEADERS,
	OUTBOX_CREATED,
	OUTBOX_COLUMNS
};
/*
 * What they give besides. TOO_LARGE: the payload's size when it is over the limit; PAYLOAD is null
 * then. TOTAL, of fetch, sweep and catch_up: the rows that there are within the limit of rows; fewer come
 * when they are large. DUE, of read: not null in rows that had a not_before; they come last.
 */
enum {
	OUTBOX_TOO_LARGE = OUTBOX_COLUMNS,
	OUTBOX_TOTAL,
	OUTBOX_DUE = OUTBOX_TOTAL,
	OUTBOX_RESULT_COLUMNS
};
/*
 * The first row of 'read' has no seq. It says, in the columns of other things, what belongs to the
 * snapshot of the rows that follow: the positions are of after the snapshot was taken, so the
 * commits of all rows in it are below INSERT_LSN. BEHIND are the seqs of the rows between floor and
 * cursor. FILE changes when the table is truncated, and its numbers may have begun anew.
 */
enum {
	OUTBOX_META_INSERT_LSN = 1,
	OUTBOX_META_FLUSH_LSN,
	OUTBOX_META_BACKEND_PID,
	OUTBOX_META_BEHIND,
	OUTBOX_META_FILE
};

/* The columns of 'net'; the first one is OUTBOX_SEQ. */
enum { OUTBOX_NET_AGGREGATE_TYPE = 1, OUTBOX_NET_AGGREGATE_ID };

/*
 * Template over the columns of a row: "orders", "{aggregatetype}", "shop.{type}". Braces are
 * doubled to stand for themselves.
 */
struct outbox_template_part { struct slice literal; int column; };	/* column -1: the literal */
struct outbox_template { struct outbox_template_part *parts; size_t count; };
/* The columns id, aggregatetype, aggregateid, type. -1: error says why. */
int	outbox_template_parse(const char *text, struct arena *, struct outbox_template *,
    char *error, size_t error_size) ATTR_MUST_CHECK;
/*
 * columns: OUTBOX_COLUMNS texts, data NULL is SQL null. A template of one part costs nothing: *out
 * is that text. -1: the column in *null is null.
 */
int	outbox_template_expand(const struct outbox_template *, const struct slice *columns,
    struct buf *scratch, struct slice *out,
	    enum outbox_column *null) ATTR_MUST_CHECK;
const char *outbox_column_name(enum outbox_column);

struct outbox_table {
	struct arena arena;
	const char *name;		/* schema and table, quoted */
	const char *lock_key;		/* of the leader's advisory lock */
	bool id_is_uuid;
	/* seq is an identity with cache 1: a transaction draws it after it has locked the table */
	bool append_only;

	/* The statements. rows, bytes: how many at most; largest: payload that is given as text. */
	/* $1 floor, $2 cursor, $3 rows, $4 bytes, $5 largest, $6 known due rows int8[] */
	const char *read;
	/* $1 seqs int8[], $2 rows, $3 bytes, $4 largest */
	const char *fetch;
	/*
	 * $1 from, $2 to (both included), $3 rows, $4 bytes, $5 largest, $6 cursor,
	 * $7 known due rows int8[]; catch_up: $8 aggregatetypes text[], $9 aggregateids text[]
	 */
	const char *sweep, *catch_up;
	const char *erase;		/* $1 seqs int8[] */
	const char *writers;		/* virtual ids of transactions that may be writing */
	/* $1 from (excluded), $2 to, $3 rows: what is left there, seqs and aggregates */
	const char *net;
	const char *count;		/* $1 cursor: rows ahead of it, 100000 at most */
};
#define OUTBOX_TABLE_INIT { .arena = ARENA_INIT }
struct pg_result;
extern const char outbox_table_check_sql[];	/* $1: the table's name as configured */
/* -1: error says what is missing and what to do. */
int	outbox_table_init(struct outbox_table *, const char *configured, const struct pg_result *,
    char *error, size_t error_size) ATTR_MUST_CHECK;
void	outbox_table_release(struct outbox_table *) ATTR_NONNULL;
#endif
