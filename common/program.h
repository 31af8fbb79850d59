/*
 * program.h - the skeleton that all programs share: options, version, log set-up, finding their parts.
 */
#ifndef PAWL_COMMON_PROGRAM_H
#define PAWL_COMMON_PROGRAM_H
#include <stdbool.h>
#include <stdio.h>
#include "common/config.h"
#include "util/log.h"

struct program_option {		/* one table per program: drives getopt_long and --help; the manual is checked against it */
	int letter;		/* 0: none; the id then is 256 + index */
	const char *name, *argument;	/* argument NULL: none */
	const char *help;
};
/* Parses with getopt_long; calls set(arg, index into options, value). Handles --help, --version. Unknown: message, exit 64. Returns the index of the first operand. */
int	program_options(int argc, char **argv, const char *program, const char *synopsis, const struct program_option *, size_t count,
	    void (*set)(void *arg, size_t index, const char *value), void *arg);
/* For people. Foreign text may hold anything, and a terminal would obey: control characters (but for newlines and tabs), those of C1 and
 * bytes that are no UTF-8 are shown as \x1b. */
void	program_print(FILE *, const char *text, size_t len) ATTR_NONNULL;
/* What is wrong, a line for each. log: events of the log, of a program in service. say: printed on standard error, for
 * who started the program; if the log is JSON they are events as well, because a program reads them. */
void	program_log(enum log_level, const char *lines) ATTR_NONNULL;
void	program_say(enum log_level, const char *lines) ATTR_NONNULL;
/* Reads the configuration or says all its errors; NULL then, exit with EX_CONFIG (78). */
struct config *program_config(const char *file);
/* $PAWL_LIBEXECDIR or the installed libexecdir + "/" + name; PAWL_HANDLERDIR likewise. Static buffer-free: in the arena. */
const char *program_libexec(struct arena *, const char *name);
const char *program_handler_dir(void);
const char *program_default_config(void);	/* SYSCONFDIR/pawl/pawl.conf */
#endif
