/*
 * relay_main.c - pawl-relay: options, configuration, run.
 */
#include <sysexits.h>

#include "common/program.h"
#include "outbox-relay/relay.h"
#include "util/arena.h"
#include "util/spawn.h"

enum option {
	OPTION_CONFIG,
	OPTION_TEST,
	OPTION_OUTBOX,
	OPTION_DRAIN,
	OPTION_VERBOSE,
	OPTION_LOG_FORMAT
};
static const struct program_option option_table[] = {
	[OPTION_CONFIG] = { 'c', "config", "FILE",
	    "configuration (default " PAWL_SYSCONFDIR "/pawl.conf)" },
	[OPTION_TEST] = { 't', "test", NULL, "check the configuration, then exit" },
	[OPTION_OUTBOX] = { 'o', "outbox", "NAME",
	    "relay this outbox only; may be given several times" },
	[OPTION_DRAIN] = { 0, "drain", NULL, "exit when the outboxes are empty" },
	[OPTION_VERBOSE] = { 'v', "verbose", NULL, "log debugging messages as well" },
	[OPTION_LOG_FORMAT] = { 0, "log-format", "FORMAT", "text or json" },
};

struct arguments {
	const char *file, *log_format;
	bool test, verbose;
	const char **only;
	struct relay_options relay;
};

static void
set_option(void *arg, size_t index, const char *value)
{
	struct arguments *a = arg;

	switch ((enum option)index) {
	case OPTION_CONFIG:
		a->file = value;
		break;
	case OPTION_TEST:
		a->test = true;
		break;
	case OPTION_OUTBOX:
		a->only = xrealloc(a->only, (a->relay.only_count + 1) * sizeof(*a->only));
		a->only[a->relay.only_count++] = value;
		a->relay.only = a->only;
		break;
	case OPTION_DRAIN:
		a->relay.until_empty = true;
		break;
	case OPTION_VERBOSE:
		a->verbose = true;
		break;
	case OPTION_LOG_FORMAT:
		a->log_format = value;
		break;
	}
}

static void
check_usage(const struct arguments *a, int argc, char **argv, int operand)
{
	if (operand < argc)
		fprintf(stderr, "pawl-relay: there are no operands, but \"%s\" is one: options"
		    " start with a hyphen\n", argv[operand]);
	else if (a->log_format != NULL && strcmp(a->log_format, "text") != 0 &&
	    strcmp(a->log_format, "json") != 0)
		fprintf(stderr, "pawl-relay: --log-format is \"text\" or \"json\", not \"%s\"\n",
		    a->log_format);
	else
		return;
	fprintf(stderr, "try: pawl-relay --help\n");
	exit(EX_USAGE);
}

/* The command line goes over the file. */
static void
start_log(const struct arguments *a, const struct config *config)
{
	enum log_level level = config == NULL ? LOG_LEVEL_INFO : config->log_level;
	enum log_format format = config == NULL ? LOG_FORMAT_TEXT : config->log_format;

	if (a->test)
		format = LOG_FORMAT_TEXT;	/* it is for people */
	else if (a->log_format != NULL)
		format = strcmp(a->log_format, "json") == 0 ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT;
	log_init("pawl-relay", a->verbose ? LOG_LEVEL_DEBUG : level, format);
}

static int
check_outboxes(const struct arguments *a, const struct config *config)
{
	struct buf errors = BUF_INIT;
	int code = EX_OK;

	if (config->outbox_count == 0)
		buf_printf(&errors, "%s: outboxes: there are none, so there is nothing to relay\n",
		    config->file);
	for (size_t i = 0; config->outbox_count > 0 && i < a->relay.only_count; i++)
		if (config_outbox_find(config, a->only[i]) == NULL)
			buf_printf(&errors, "%s: outboxes: there is no outbox \"%s\"\n",
			    config->file, a->only[i]);
	if (errors.len > 0) {
		program_say(LOG_LEVEL_ERROR, errors.data);
		code = EX_CONFIG;
	}
	buf_release(&errors);
	return code;
}

int
main(int argc, char **argv)
{
	struct arguments a = { .file = program_default_config() };
	struct config *config;
	int operand, code;

	spawn_title_init(argc, argv);
	operand = program_options(argc, argv, "pawl-relay",
	    "[-c FILE] [-t] [-o OUTBOX]... [--drain] [-v] [--log-format FORMAT]", option_table,
	    ARRAY_SIZE(option_table), set_option, &a);
	check_usage(&a, argc, argv, operand);
	start_log(&a, NULL);
	config = program_config(a.file);
	if (config == NULL)
		return EX_CONFIG;
	start_log(&a, config);
	code = check_outboxes(&a, config);
	if (code == EX_OK && a.test)
		printf("%s is good\n", config->file);
	else if (code == EX_OK)
		code = relay_run(config, &a.relay);
	config_free(&config);
	free(a.only);
	return code;
}
