/*
 * config_errors.h - all that is wrong with a configuration, gathered, then shown in the order of the file.
 */
#ifndef PAWL_COMMON_CONFIG_ERRORS_H
#define PAWL_COMMON_CONFIG_ERRORS_H
#include "util/arena.h"
#include "util/attr.h"
#include "util/buf.h"

enum { CONFIG_ERRORS_SHOWN = 100, CONFIG_ERRORS_KEPT = 1000 };

struct config_error {
	const char *file, *text;
	int line;
	size_t file_order, order;	/* of the file's first error, and of its own arrival */
};
struct config_errors {
	struct arena arena;
	struct config_error *list;
	size_t count, cap;
	size_t dropped;		/* more than CONFIG_ERRORS_KEPT */
};
#define CONFIG_ERRORS_INIT { ARENA_INIT, NULL, 0, 0, 0 }

/* line 0: of no line. path NULL: of no key. file is borrowed. */
void	config_error(struct config_errors *, const char *file, int line, const char *path, const char *fmt, ...) ATTR_PRINTF(5, 6);
/* "file:line: path: what", a line each; control characters are escaped. */
void	config_errors_write(struct config_errors *, struct buf *) ATTR_NONNULL;
void	config_errors_release(struct config_errors *) ATTR_NONNULL;
#endif
