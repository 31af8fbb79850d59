/*
 * program.c - options, --help and --version of all programs, and where their parts are.
 */
#include "common/program.h"

#include <config.h>
#include <getopt.h>
#include <sysexits.h>

#include "util/arena.h"

enum { OPTION_HELP = 1000, OPTION_VERSION, OPTION_FIRST, OPTIONS_MAX = 40, HELP_COLUMN = 28 };

static const struct program_option help_option = { 'h', "help", NULL, "show this and exit" };
static const struct program_option version_option = { 'V', "version", NULL,
	"show the version and exit" };

/* Output that nobody gets is an error, too: `pawl-worker --help > /dev/full`. */
static void
end_output(void)
{
	exit(fflush(stdout) == 0 && ferror(stdout) == 0 ? EX_OK : EX_IOERR);
}

static void
print_option(const struct program_option *o)
{
	char letter[8] = "    ", argument[64] = "";
	int width;

	if (o->letter != 0)
		snprintf(letter, sizeof(letter), "-%c, ", o->letter);
	if (o->argument != NULL)
		snprintf(argument, sizeof(argument), " %s", o->argument);
	width = printf("  %s--%s%s", letter, o->name, argument);
	printf("%*s%s\n", width < HELP_COLUMN ? HELP_COLUMN - width : 1, "", o->help);
}

static void
print_help(
    const char *program, const char *synopsis, const struct program_option *options, size_t count)
{
	printf("usage: %s %s\n\n", program, synopsis);
	for (size_t i = 0; i < count; i++)
		print_option(&options[i]);
	print_option(&help_option);
	print_option(&version_option);
	end_output();
}

static void
add_option(struct option *longs, char *letters, size_t at, const struct program_option *o, int id)
{
	size_t len = strlen(letters);

	longs[at] = (struct option){ o->name, o->argument == NULL ? no_argument : required_argument,
		NULL, id };
	if (o->letter == 0)
		return;
	letters[len++] = (char)o->letter;
	if (o->argument != NULL)
		letters[len++] = ':';
	letters[len] = '\0';
}

int
program_options(int argc, char **argv, const char *program, const char *synopsis,
    const struct program_option *options, size_t count,
    void (*set)(void *arg, size_t index, const char *value), void *arg)
{
	struct option longs[OPTIONS_MAX + 3] = { 0 };
	char letters[2 * (OPTIONS_MAX + 3) + 1] = "";
	char *name = argv[0];
	int c;

	if (count > OPTIONS_MAX)
		abort();
	for (size_t i = 0; i < count; i++)
		add_option(longs, letters, i, &options[i], OPTION_FIRST + (int)i);
	add_option(longs, letters, count, &help_option, OPTION_HELP);
	add_option(longs, letters, count + 1, &version_option, OPTION_VERSION);
	optind = 0;			/* starts anew: pawlctl parses twice */
	argv[0] = xstrdup(program);	/* getopt's messages begin with it */
	while ((c = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
		size_t index = count;

		for (size_t i = 0; i < count; i++)
			if (c == OPTION_FIRST + (int)i ||
			    (options[i].letter != 0 && c == options[i].letter))
				index = i;
		if (index < count) {
			set(arg, index, optarg);
		} else if (c == OPTION_HELP || c == help_option.letter) {
			print_help(program, synopsis, options, count);
		} else if (c == OPTION_VERSION || c == version_option.letter) {
			printf("%s (Pawl) %s\n", program, PACKAGE_VERSION);
			end_output();
		} else {
			fprintf(stderr, "usage: %s %s\ntry: %s --help\n", program, synopsis,
			    program);
			exit(EX_USAGE);
		}
	}
	free(argv[0]);
	argv[0] = name;
	return optind;
}

static const char *
part_dir(const char *variable, const char *installed)
{
	const char *dir = getenv(variable);

	return dir != NULL && dir[0] == '/' ? dir : installed;
}

const char *
program_libexec(struct arena *arena, const char *name)
{
	return arena_printf(arena, "%s/%s", part_dir("PAWL_LIBEXECDIR", PAWL_LIBEXECDIR), name);
}

const char *
program_handler_dir(void)
{
	return part_dir("PAWL_HANDLERDIR", PAWL_HANDLERDIR);
}

const char *
program_default_config(void)
{
	return PAWL_SYSCONFDIR "/pawl.conf";
}
