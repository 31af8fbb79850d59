/*
 * http_secret.h - what proves to the server who we are. Sent as headers, from files that others cannot read; shown nowhere.
 */
#ifndef PAWL_HANDLERS_HTTP_SECRET_H
#define PAWL_HANDLERS_HTTP_SECRET_H
#include "http_config.h"

/* bearer_file, user and password_file, header_files. -1: errors were reported. */
int	http_secret_read(const struct pawl_config *, struct http_config *);
void	http_secret_release(struct http_config *);
/* A file that libcurl reads itself is there; private: others cannot read it. name may be NULL. */
int	http_secret_check_file(const struct pawl_config *, const char *path, const char *name, bool private);
/* Replaces all that is secret by asterisks: a server's answer can hold what it was sent. */
void	http_secret_mask(const struct http_config *, char *text);
#endif
