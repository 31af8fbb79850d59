/*
 * new_handler.h - the files of a new handler, as ctl/new-handler/ has them.
 */
#ifndef PAWL_CTL_NEW_HANDLER_H
#define PAWL_CTL_NEW_HANDLER_H
#include <stddef.h>

/* name: "both/...", "plain/..." or "automake/...". In name (handler.c) and text, @NAME@ and @USE@ are to be replaced. */
struct ctl_file { const char *name, *text; };
extern const struct ctl_file new_handler_files[];	/* ends with NULL */
#endif
