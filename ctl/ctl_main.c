/*
 * ctl_main.c - pawlctl: finds the command and runs it.
 */
#include <stdarg.h>
#include <sysexits.h>

#include "ctl/ctl.h"
#include "util/log.h"

static const struct command {
	const char *name, *help;
	int (*run)(int argc, char **argv);
} commands[] = {
	{ "check", "read the configuration and let its handlers read theirs", ctl_check },
	{ "migrate", "make or upgrade the tables of Pawl in a database", ctl_migrate },
	{ "new-handler", "make a directory with a handler to start from", ctl_new_handler },
	{ "outbox", "events that wait or were put aside: list, retry, drop", ctl_outbox },
	{ "publish", "publish one message and wait until the broker has it", ctl_publish },
	{ "status", "what pawl-worker and pawl-relay do", ctl_status },
	{ "try", "give messages to a handler and show what it would do", ctl_try },
};

static const struct program_option no_options[1];

int
ctl_fail(int status, const char *command, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "pawlctl %s: ", command);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return status;
}

int
ctl_end(int status, const char *command)
{
	if (fflush(stdout) == 0 && ferror(stdout) == 0)
		return status;
	return ctl_fail(EX_IOERR, command, "could not write to standard output");
}

static const char *
synopsis(void)
{
	static char text[1024];
	size_t len = (size_t)snprintf(text, sizeof(text), "COMMAND [ARGUMENT]...\n\n"
	    "commands (each has --help):");

	for (size_t i = 0; i < ARRAY_SIZE(commands) && len < sizeof(text); i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "\n  %-24s  %s",
		    commands[i].name, commands[i].help);
	return text;
}

static void
set(void *arg, size_t index, const char *value)
{
	(void)arg, (void)index, (void)value;
}

int
main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";

	log_init("pawlctl", LOG_LEVEL_WARNING, LOG_FORMAT_TEXT);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (strcmp(name, commands[i].name) == 0)
			return commands[i].run(argc - 1, argv + 1);
	if (name[0] == '-')
		program_options(argc, argv, "pawlctl", synopsis(), no_options, 0, set, NULL);
	if (name[0] != '\0' && name[0] != '-')
		fprintf(stderr, "pawlctl: there is no command \"%s\"\n", name);
	fprintf(stderr, "usage: pawlctl %s\n", synopsis());
	return EX_USAGE;
}
