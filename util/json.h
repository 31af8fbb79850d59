/*
 * json.h - makes JSON documents of our own: status, reports. json-c stands behind it. (Messages are read by json_scan: json-c changes numbers.)
 *
 * The parent owns its members. Adding cannot fail (see arena.h).
 */
#ifndef PAWL_UTIL_JSON_H
#define PAWL_UTIL_JSON_H
#include <stdbool.h>
#include <stdint.h>
#include "util/attr.h"

struct json;				/* a value; opaque */

struct json *json_new_object(void);
struct json *json_new_array(void);
void	json_free(struct json **);	/* the outermost only */

void	json_put_text(struct json *, const char *name, const char *text) ATTR_NONNULL;
void	json_put_int(struct json *, const char *name, int64_t) ATTR_NONNULL;
void	json_put_real(struct json *, const char *name, double) ATTR_NONNULL;	/* three places */
void	json_put_bool(struct json *, const char *name, bool) ATTR_NONNULL;
struct json *json_put_object(struct json *, const char *name) ATTR_NONNULL;	/* a new one */
struct json *json_put_array(struct json *, const char *name) ATTR_NONNULL;
struct json *json_append_object(struct json *array) ATTR_NONNULL;
/* On one line, or readable; the text is the document's, until it changes. */
const char *json_text(struct json *, bool readable) ATTR_NONNULL;
#endif
