/*
 * log.h - one line per event on stderr, key=value or JSON.
 *
 *   time=2026-08-01T12:00:00.123Z level=warning program=pawl-worker role=runner pid=17 queue=view msg="could not ..."
 *
 * Under systemd (JOURNAL_STREAM is set) the time is left out and the line starts with <priority>. Control characters of the
 * text are escaped, a line is one write(). Context is a linked list on the callers' stacks, never typed into the text.
 * Texts: lower case, no full stop, `could not X: reason` or `cannot X`, and what to do about it.
 */
#ifndef PAWL_UTIL_LOG_H
#define PAWL_UTIL_LOG_H
#include <stdbool.h>
#include <stdint.h>
#include "util/attr.h"
#include "util/clock.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

struct log_context { const struct log_context *up; const char *name, *value; };

void	log_init(const char *program, enum log_level most, enum log_format);
void	log_set_role(const char *role);			/* borrowed; "master", "runner"; NULL for none */
const struct log_context *log_push(const struct log_context *);	/* sets the innermost context of this thread, returns the former */
void	log_pop(const struct log_context *former);

void	log_at(enum log_level, const char *fmt, ...) ATTR_PRINTF(2, 3);	/* errno survives; %m works */
#define log_error(...)		log_at(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...)	log_at(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)		log_at(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)		log_at(LOG_LEVEL_DEBUG, __VA_ARGS__)
bool	log_enabled(enum log_level);
bool	log_is_json(void);
void	log_fatal(int exit_code, const char *fmt, ...) ATTR_PRINTF(2, 3) ATTR_NORETURN;	/* the environment failed: sysexits code */

/* A complaint that repeats: logged at once, then after 1 s, 2 s, 4 s .. 1 h while it lasts ("again, N times since"). */
struct log_complaint { struct clock_mono next; int64_t interval_ms; uint64_t suppressed; };
void	log_complain(struct log_complaint *, enum log_level, const char *fmt, ...) ATTR_PRINTF(3, 4);
void	log_recovered(struct log_complaint *, const char *fmt, ...) ATTR_PRINTF(2, 3);	/* info, only if there was a complaint */
#endif
