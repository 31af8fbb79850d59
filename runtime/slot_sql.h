/*
 * slot_sql.h - which statements a handler may not record: those that would end the batch's
 * transaction or outlive it.
 *
 * The first keyword decides, read behind white space, comments (nested ones too) and leading
 * semicolons, as the server's scanner does. That there is one statement only, the server checks
 * when it prepares the text.
 */
#ifndef PAWL_RUNTIME_SLOT_SQL_H
#define PAWL_RUNTIME_SLOT_SQL_H
#include "util/attr.h"

/* NULL: allowed. Else why not, for the dead letter and the log. */
const char *slot_sql_refusal(const char *text) ATTR_NONNULL;
#endif
