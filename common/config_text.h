/*
 * config_text.h - a configuration file and all that it includes as one text, made so that every libconfig reads the same in it.
 *
 * @include counts from the directory of the file it stands in. Hostile files are refused here: what is no regular file, too large, too deep, has NUL
 * bytes, or includes itself. Whole numbers beyond 32 bits get their L (libconfig 1.5 truncates them silently), the comma before a closing
 * bracket is taken away (an error in 1.5, none in 1.7), and what follows a text in a list moves to its end (libconfig takes the line of what
 * follows for the element's).
 */
#ifndef PAWL_COMMON_CONFIG_TEXT_H
#define PAWL_COMMON_CONFIG_TEXT_H
#include "common/config_errors.h"
#include "util/arena.h"
#include "util/buf.h"

enum { CONFIG_TEXT_SIZE_MAX = 4 * 1024 * 1024, CONFIG_TEXT_INCLUDES_MAX = 16, CONFIG_TEXT_DEPTH_MAX = 32, CONFIG_TEXT_SETTINGS_MAX = 20000 };

struct config_line { const char *file; int line; };
struct config_text {
	struct buf text;
	struct config_line *lines;	/* where each line of text comes from */
	size_t line_count, line_cap;
	struct config_line place;	/* of the line that is being written; config_text_load's own, like the rest */
	struct arena *arena;
	struct config_errors *errors;
	const struct config_include *innermost;
	size_t depth, settings;
	int last, last_but_one;		/* enum config_token */
	size_t last_at, last_end;	/* where the last token is in text */
};

/* -1: one error is in errors; what was read so far is there. names of files go into the arena. */
int	config_text_load(struct config_text *, const char *file, struct arena *, struct config_errors *) ATTR_MUST_CHECK ATTR_NONNULL;
struct config_line config_text_line(const struct config_text *, unsigned line) ATTR_NONNULL;	/* from 1 */
void	config_text_release(struct config_text *) ATTR_NONNULL;
#endif
