/*
 * config_read_internal.h - what config_read.c (groups) and config_read_value.c (single keys) share. These two alone know libconfig.
 */
#ifndef PAWL_COMMON_CONFIG_READ_INTERNAL_H
#define PAWL_COMMON_CONFIG_READ_INTERNAL_H
#include <libconfig.h>

#include "common/config_keys.h"
#include "common/config_read.h"

struct reader {
	const struct config_text *text;
	struct config_top *top;
	struct arena *arena;
	struct config_errors *errors;
	const config_setting_t *defaults;	/* the group `defaults`; NULL: none */
};

/* Where a value goes and how it is called in a message. */
struct place {
	const struct config_key *key;
	const config_setting_t *setting;	/* NULL: the key's default */
	const char *path;
	char *base;				/* the section's struct; NULL: only checked */
};

struct config_line reader_line(const struct reader *, const config_setting_t *);
void	reader_complain(struct reader *, const config_setting_t *, const char *path, const char *fmt, ...)
	    ATTR_PRINTF(4, 5);
void	reader_complain_type(struct reader *, const struct place *);
const char *reader_join(struct reader *, const char *path, const char *name);	/* "a.b" */
const char *reader_join_index(struct reader *, const char *path, int index);	/* "a.[0]" */
const char *reader_kind(struct reader *, const config_setting_t *);		/* "a group", "the number 5" */
bool	reader_is_list(const config_setting_t *);

/* A key without keys of its own: from the file, or its default. What is wrong is said and nothing stored. */
void	reader_value(struct reader *, const struct place *);
void	reader_fallback(struct reader *, const struct place *);
#endif
