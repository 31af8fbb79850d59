/*
 * secret.h - secrets in files of their own: passwords. They appear in no message and no log.
 *
 * The file must be a regular one of at most 4 KiB, not readable by others, without a NUL. One newline at its end does not count.
 */
#ifndef PAWL_COMMON_SECRET_H
#define PAWL_COMMON_SECRET_H
#include "util/arena.h"
#include "util/attr.h"

enum { SECRET_SIZE_MAX = 4096 };

/* Where a file is that the configuration names: an absolute name is itself; any other is that credential of systemd (LoadCredential=,
 * in $CREDENTIALS_DIRECTORY) if there is one, else it is in this directory, the configuration file's. */
const char *secret_path(struct arena *, const char *name, const char *directory) ATTR_NONNULL;
/* The secret, in the arena; NULL: error says what is wrong with which file, and what to do. */
const char *secret_read(struct arena *, const char *name, const char *directory, char *error, size_t error_size) ATTR_MUST_CHECK ATTR_NONNULL;
#endif
