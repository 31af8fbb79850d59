/*
 * outbox_column.h - the parts that a column of an outbox table can play.
 */
#ifndef PAWL_COMMON_OUTBOX_COLUMN_H
#define PAWL_COMMON_OUTBOX_COLUMN_H

/* The first ones are a row's values, in the order in which the reading statements give them. */
enum outbox_column {
	OUTBOX_SEQ,
	OUTBOX_ID,
	OUTBOX_AGGREGATE_TYPE,
	OUTBOX_AGGREGATE_ID,
	OUTBOX_TYPE,
	OUTBOX_PAYLOAD,
	OUTBOX_HEADERS,
	OUTBOX_CREATED,			/* Unix seconds, with a fraction */
	OUTBOX_CONTENT_TYPE,
	OUTBOX_PRIORITY,
	OUTBOX_EXPIRATION,		/* milliseconds */
	OUTBOX_TRACEPARENT,
	OUTBOX_COLUMNS,
	OUTBOX_NOT_BEFORE = OUTBOX_COLUMNS,	/* is compared at the server */
	OUTBOX_ROLES
};

/* As in the configuration, and the column's name where that says nothing. */
const char *outbox_column_name(enum outbox_column);
#endif
