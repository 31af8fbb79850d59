/*
 * outbox_table.h - an outbox as the relay sees it: names quoted, statements built, templates parsed once at start.
 */
#ifndef PAWL_COMMON_OUTBOX_TABLE_H
#define PAWL_COMMON_OUTBOX_TABLE_H
#include "common/config.h"
#include "util/arena.h"
#include "util/slice.h"

/* Template over the columns of a row: "orders", "{aggregatetype}", "shop.{type}". Braces are doubled to stand for themselves. */
struct outbox_template_part { const char *literal; int column; };	/* column -1: the literal */
struct outbox_template { struct outbox_template_part *parts; size_t count; };
enum outbox_column { OUTBOX_SEQ, OUTBOX_ID, OUTBOX_AGGREGATE_TYPE, OUTBOX_AGGREGATE_ID, OUTBOX_TYPE, OUTBOX_PAYLOAD, OUTBOX_HEADERS, OUTBOX_CREATED, OUTBOX_COLUMNS };
int	outbox_template_parse(const char *text, struct arena *, struct outbox_template *, char *error, size_t error_size) ATTR_MUST_CHECK;
#endif
