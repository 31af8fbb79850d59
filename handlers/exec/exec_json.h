/*
 * exec_json.h - what a program said, read strictly: a line is checked as a whole, members are known ones, each once, and numbers
 * keep their digits.
 *
 * Mistakes stick to the reader: the first one is kept for a person, and from then on everything reads as absent.
 */
#ifndef PAWL_HANDLERS_EXEC_JSON_H
#define PAWL_HANDLERS_EXEC_JSON_H
#include <stdbool.h>
#include <stdint.h>
#include "util/buf.h"
#include "util/json_scan.h"

struct exec_json {
	struct slice line;
	char *texts, *at;	/* room for all texts of the line */
	struct buf error;
	bool bad;
};

/* Checks the line, which stays borrowed. Released and used again, whatever comes out of it. */
void	exec_json_init(struct exec_json *, struct slice line) ATTR_NONNULL;
void	exec_json_release(struct exec_json *) ATTR_NONNULL;
void	exec_json_fail(struct exec_json *, const char *fmt, ...) ATTR_PRINTF(2, 3);

/* The members of 'object' that are called as 'names', up to a NULL; what is absent or null gets no data. what: the object's name. */
void	exec_json_members(struct exec_json *, const struct json_value *object, const char *what, const char *const *names, struct json_value *values) ATTR_NONNULL;
/* The line itself, as an object. */
struct json_value exec_json_root(const struct exec_json *) ATTR_NONNULL;

static inline bool
exec_json_is_there(const struct json_value *value)
{
	return value->raw.data != NULL;
}

/* Texts live as long as the reader. Absent: NULL, -1. */
const char *exec_json_string(struct exec_json *, const struct json_value *, const char *name) ATTR_NONNULL;
const char *exec_json_text(struct exec_json *, const struct json_value *, const char *name) ATTR_NONNULL;	/* any value: a string's text, everything else as it was written */
const char *exec_json_key(struct exec_json *, struct slice key, const char *what) ATTR_NONNULL;
int64_t	exec_json_number(struct exec_json *, const struct json_value *, const char *name) ATTR_NONNULL;	/* whole, not negative */
bool	exec_json_bool(struct exec_json *, const struct json_value *, const char *name) ATTR_NONNULL;	/* absent: false */
/* Next element or member; false: no more, or the value is of another kind, which is a mistake. */
bool	exec_json_next(struct exec_json *, const struct json_value *container, enum json_kind, const char *name, size_t *at, struct slice *key, struct json_value *value) ATTR_NONNULL;
#endif
