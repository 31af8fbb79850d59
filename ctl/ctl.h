/*
 * ctl.h - pawlctl's commands. Each has a file of its own: its options, its manual line, its work. They print errors on standard error and
 * return an exit status: 0, EX_USAGE (64), EX_UNAVAILABLE (69), EX_CONFIG (78).
 */
#ifndef PAWL_CTL_CTL_H
#define PAWL_CTL_CTL_H
#include "common/program.h"
#include "util/attr.h"

/* argv[0] is the command's name. */
int	ctl_check(int argc, char **argv) ATTR_NONNULL;
int	ctl_migrate(int argc, char **argv) ATTR_NONNULL;
int	ctl_new_handler(int argc, char **argv) ATTR_NONNULL;
int	ctl_outbox(int argc, char **argv) ATTR_NONNULL;
int	ctl_publish(int argc, char **argv) ATTR_NONNULL;
int	ctl_status(int argc, char **argv) ATTR_NONNULL;
int	ctl_try(int argc, char **argv) ATTR_NONNULL;

/* A part of check: the outboxes' tables, as far as their databases answer; prints what is wrong. strict: not to answer is an error. */
struct config;
int	ctl_check_outboxes(const struct config *, bool strict) ATTR_NONNULL;

/* "pawlctl COMMAND: what" on standard error; returns the status. */
int	ctl_fail(int status, const char *command, const char *fmt, ...) ATTR_PRINTF(3, 4);
/* Standard output has been written, to the end: status, or EX_IOERR and a message. */
int	ctl_end(int status, const char *command) ATTR_NONNULL;

#define CTL_CONFIG_OPTION	{ 'c', "config", "FILE", "configuration (default: " PAWL_SYSCONFDIR "/pawl.conf)" }
#endif
