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
#include <stdbool.h>
#include "util/attr.h"

/* NULL: allowed. Else why not, for the dead letter and the log. */
const char *slot_sql_refusal(const char *text) ATTR_NONNULL;
/* Whether it may change settings until the end of its transaction: SET LOCAL, or set_config() anywhere
 * in the text. What a function that it calls does is not seen. */
bool	slot_sql_governs(const char *text) ATTR_NONNULL;
#endif
