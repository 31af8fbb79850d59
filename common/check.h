/*
 * check.h - `pawl-worker -t` and `pawlctl check`: is this configuration good, as far as can be told without doing anything?
 *
 * Reads the file, then lets a pawl-slot of each queue load and start the handlers, as in service, and prepare their statements if the database
 * answers. All that is wrong is said, a line each, and check_file() a summary on standard output.
 */
#ifndef PAWL_COMMON_CHECK_H
#define PAWL_COMMON_CHECK_H
#include <stdbool.h>
#include "common/config.h"
#include "util/attr.h"
#include "util/log.h"

/* Says what is wrong, a line for each: program_say() or program_log(). */
typedef void check_say_fn(enum log_level, const char *lines);
/* What the caller checks besides: prints its errors; an exit status. */
typedef int check_fn(const struct config *, bool strict);

/* The exit status: 0; EX_CONFIG (78); EX_UNAVAILABLE (69) when a slot could not be started. strict: also 69 when statements could not be
 * checked. more: NULL for nothing. */
int	check_file(const char *file, bool strict, check_fn *more) ATTR_MUST_CHECK;
/* The slots' part alone, of a configuration that was read; quiet when all is good. only: this queue; NULL: all. */
int	check_slots(const struct config *, const struct config_queue *only, check_say_fn *) ATTR_MUST_CHECK;
#endif
