/*
 * config_internal.h - parts of config_load().
 */
#ifndef PAWL_COMMON_CONFIG_INTERNAL_H
#define PAWL_COMMON_CONFIG_INTERNAL_H
#include <stdbool.h>
#include "common/config.h"

/* Resolves run_dir. -1: there is no place; error says why. */
int	config_set_run_dir(struct config *, char *error, size_t error_size) ATTR_MUST_CHECK ATTR_NONNULL;
/* A handler's own setting is the name of a file if it is called like "password_file", or stands in a group like "header_files". */
bool	config_pair_is_file(const struct config_pair *) ATTR_NONNULL;
void	config_set_fingerprints(struct config *) ATTR_NONNULL;
#endif
