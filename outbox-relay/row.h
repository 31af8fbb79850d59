/*
 * row.h - rows of an outbox in memory, the aggregates that they belong to, and the messages that
 * they become.
 *
 * A row is one block of memory that holds copies of its values. It is not kept as a reference into
 * the server's answer: one row that waits would hold the memory of the thousand that came with it,
 * and a copy costs less than a hundredth of a publish.
 */
#ifndef PAWL_OUTBOX_RELAY_ROW_H
#define PAWL_OUTBOX_RELAY_ROW_H
#include <stdbool.h>
#include <stdint.h>
#include "common/outbox_table.h"
#include "util/amqp_types.h"
#include "util/clock.h"

struct pg_result;
struct aggregate;

enum row_state {
	ROW_WAITING,		/* behind others of its aggregate */
	ROW_READY,		/* to be issued */
	ROW_ISSUED,		/* unconfirmed on the outbox's channel */
	ROW_SUSPECT,		/* was unconfirmed when the channel closed: to be issued alone */
	ROW_PROBE,		/* first of a blocked aggregate, to be tried again, alone */
	ROW_PROBED,		/* unconfirmed on the probe channel */
	ROW_ASIDE,		/* cannot be published: to be parked or dropped */
	ROW_ORPHAN		/* unconfirmed, but its session is lost: no longer ours */
};

struct row {
	/* in the list of its state; WAITING, ASIDE and ORPHAN are in none */
	struct row *next, *previous;
	struct row *behind;			/* next one of its aggregate */
	struct aggregate *aggregate;		/* NULL: a row without one */
	int64_t seq;
	enum row_state state;
	struct clock_mono issued;
	size_t size;				/* of all of it in memory */
	/* size of the payload when that was not read; else 0 */
	size_t too_large;
	/*
	 * OUTBOX_COLUMNS of them, then those that only templates use; each with a NUL behind it;
	 * data NULL is SQL null
	 */
	struct slice columns[];
};

struct row_list { struct row *head, *tail; size_t count; };

/* NULL: the row of the answer has no seq. */
struct row *row_new(const struct pg_result *, int row, const struct outbox_shape *);
void	row_free(struct row **);
int64_t	row_created_s(const struct row *) ATTR_NONNULL;	/* 0: unknown */
void	row_list_append(struct row_list *, struct row *) ATTR_NONNULL;
void	row_list_prepend(struct row_list *, struct row *) ATTR_NONNULL;
void	row_list_remove(struct row_list *, struct row *) ATTR_NONNULL;

struct blockage;
enum aggregate_where {
	AGGREGATE_FLOWING,	/* in no list */
	AGGREGATE_BLOCKED,	/* its blockage's */
	AGGREGATE_LAGGING,	/* dropped rows are to be read again */
	AGGREGATE_CATCHING_UP,	/* they are being read */
	AGGREGATE_SWEPT		/* they are being read, with those of many others */
};
/*
 * Rows of one aggregate are published one at a time. In memory are its first ones, in order of seq;
 * the head is the one whose turn it is. Those from dropped_from on were seen and let go of again:
 * because the aggregate is blocked, or because it has many of them. They are read again when their
 * turn comes near ("catching up").
 */
struct aggregate {
	struct row *head, *tail;
	size_t count;
	int64_t dropped_from;			/* INT64_MAX: none */
	int64_t blocked_seq, blocked_created_s;	/* its first row, while it is blocked */
	int64_t blocked_ms;			/* since then */
	struct blockage *blockage;		/* NULL: not blocked */
	struct aggregate *next, *previous;	/* in the list that 'list' says */
	enum aggregate_where list;
	/* key_len 0: stands for one blocked row that has no aggregate */
	size_t type_len, key_len;
	char key[];				/* aggregatetype, NUL, aggregateid, NUL */
};
struct aggregate_list { struct aggregate *head, *tail; size_t count; };

struct aggregate *aggregate_new(struct slice key, size_t type_len);
/* by seq, but never before the head */
void	aggregate_insert(struct aggregate *, struct row *) ATTR_NONNULL;
struct slice aggregate_type(const struct aggregate *) ATTR_NONNULL;
struct slice aggregate_id(const struct aggregate *) ATTR_NONNULL;
void	aggregate_list_append(struct aggregate_list *, struct aggregate *) ATTR_NONNULL;
void	aggregate_list_remove(struct aggregate_list *, struct aggregate *) ATTR_NONNULL;

/* What a message needs besides the row; reused from message to message. */
struct row_message_maker {
	/* app_id, and the first part of an id that is no UUID */
	const char *outbox;
	const struct outbox_table *table;	/* what it is, once that is known; its templates */
	bool cloudevents;
	size_t max_body_bytes;
	struct buf exchange_text, routing_key_text, source_text, id_text;
	struct arena arena;			/* header names and texts */
	struct amqp_header *headers;
	size_t header_count, header_cap;
};
void	row_message_maker_init(struct row_message_maker *, const char *outbox,
    const struct outbox_table *, bool cloudevents, size_t max_body_bytes) ATTR_NONNULL;
void	row_message_maker_release(struct row_message_maker *) ATTR_NONNULL;
/*
 * Where it goes. -1: the row cannot be published as it is, error says why. *out is good until the
 * maker's next use, and while the row lives.
 */
int	row_route(struct row_message_maker *, const struct row *, struct slice *exchange,
    struct slice *routing_key, char *error, size_t error_size) ATTR_MUST_CHECK;
/* For row_message: one more header. */
struct amqp_header *row_add_header(struct row_message_maker *, const char *name,
    enum amqp_value_kind) ATTR_NONNULL;
/* The headers that the row's JSON object holds. */
int	row_add_json_headers(struct row_message_maker *, struct slice json, char *error,
    size_t error_size) ATTR_MUST_CHECK;
/* All of it, route included. */
int	row_message(struct row_message_maker *, const struct row *, struct amqp_message *out,
    char *error, size_t error_size) ATTR_MUST_CHECK;
#endif
