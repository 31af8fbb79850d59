/*
 * config_value.h - values of a configuration as people write them: durations, sizes, ${NAME}. And how foreign text is shown in a message.
 */
#ifndef PAWL_COMMON_CONFIG_VALUE_H
#define PAWL_COMMON_CONFIG_VALUE_H
#include <stdint.h>
#include "util/arena.h"
#include "util/attr.h"

/* "250ms" "30s" "5m" "12h" "7d", a whole number and one unit. -1: error says what is wrong and how it is written. */
int	config_duration(const char *text, int64_t *ms, char *error, size_t error_size) ATTR_MUST_CHECK ATTR_NONNULL;
/* "512B" "64KiB" "16MiB" "2GiB". */
int	config_size(const char *text, int64_t *bytes, char *error, size_t error_size) ATTR_MUST_CHECK ATTR_NONNULL;
/* The way back, in the largest unit that fits without a rest. In the arena. */
const char *config_duration_text(struct arena *, int64_t ms) ATTR_NONNULL;
const char *config_size_text(struct arena *, int64_t bytes) ATTR_NONNULL;
/* Each ${NAME} becomes that variable of the environment; "$${" is a plain "${". NULL: error names the variable that is not set. */
/* The names in it, one per call: *at counts from the start. NULL: no more. For a text that config_expand() has taken. */
const char *config_variable(struct arena *, const char *text, size_t *at) ATTR_NONNULL;
const char *config_expand(struct arena *, const char *text, char *error, size_t error_size) ATTR_MUST_CHECK ATTR_NONNULL;
/* At most 60 bytes of foreign text in double quotes, control characters escaped. */
const char *config_quote(struct arena *, const char *text) ATTR_NONNULL;	/* the beginning of a long one */
const char *config_quote_path(struct arena *, const char *path) ATTR_NONNULL;	/* all of it: it is to be looked for */
#endif
