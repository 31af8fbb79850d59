/*
 * config_internal.h - parts of config_load().
 */
#ifndef PAWL_COMMON_CONFIG_INTERNAL_H
#define PAWL_COMMON_CONFIG_INTERNAL_H
#include "common/config.h"

/* Resolves run_dir. -1: there is no place; error says why. */
int	config_set_run_dir(struct config *, char *error, size_t error_size) ATTR_MUST_CHECK ATTR_NONNULL;
void	config_set_fingerprints(struct config *) ATTR_NONNULL;
#endif
