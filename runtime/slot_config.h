/*
 * slot_config.h - struct pawl_config: a handler's own settings, while its start() runs. A setting
 * that nobody reads is an error. It stays as long as the slot, for handlers that keep what they should not.
 */
#ifndef PAWL_RUNTIME_SLOT_CONFIG_H
#define PAWL_RUNTIME_SLOT_CONFIG_H
#include <stdbool.h>
#include "runtime/slot_handlers.h"

struct slot_config {
	struct pawl_config config;	/* first */
	struct slot_handlers *handlers;
	struct slot_handler *handler;
	bool over;			/* start() has returned: whoever asks now is told so, and ends the slot */
};

void	slot_config_init(struct slot_config *, struct slot_handlers *, struct slot_handler *) ATTR_NONNULL;
void	slot_config_report_unread(const struct slot_config *) ATTR_NONNULL;

/* The members of struct pawl_host that take a configuration. */
const char *slot_config_string(const struct pawl_config *, const char *path, const char *fallback);
int64_t	slot_config_int(const struct pawl_config *, const char *path, int64_t fallback);
int64_t	slot_config_ms(const struct pawl_config *, const char *path, int64_t fallback);
int	slot_config_count(const struct pawl_config *, const char *path);
const char *slot_config_member(const struct pawl_config *, const char *path, int index);
int	slot_config_statement(const struct pawl_config *, const char *path, const char *text);
int	slot_config_kind(const struct pawl_config *, enum pawl_kind);
const char *slot_config_secret(const struct pawl_config *, const char *path);
int	slot_config_error(const struct pawl_config *, const char *path, const char *fmt, ...) ATTR_PRINTF(3, 4);
#endif
