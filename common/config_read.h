/*
 * config_read.h - from the text of a configuration to struct config, by the table of config_keys. Used by config.c only; libconfig
 * stays in config_read.c.
 */
#ifndef PAWL_COMMON_CONFIG_READ_H
#define PAWL_COMMON_CONFIG_READ_H
#include "common/config.h"
#include "common/config_errors.h"
#include "common/config_text.h"

struct config_place { const char *path; struct config_line line; };
/* What the table's offsets for the top count from: the result, and what config.c still makes something else of. */
struct config_top {
	struct config config;
	const char *uri;			/* NULL: none. ${NAME} is expanded; may hold a password */
	const char *const *uris;
	size_t uri_count;
	const char *password_file;		/* NULL: none */
	int64_t heartbeat_ms;
	struct config_place *places;		/* where each key of the file stands; malloc'ed, the caller's to free */
	size_t place_count, place_cap;
};

/* Where the key stands, or the group it is missing from; line 0: nowhere. */
struct config_line config_read_place(const struct config_top *, const char *path) ATTR_NONNULL;
/* Every value is of its type and range, every required key is there, or errors has got all that is not so. -1: it could not even be parsed. */
int	config_read_text(const struct config_text *, struct config_top *, struct arena *, struct config_errors *) ATTR_MUST_CHECK ATTR_NONNULL;
#endif
