/*
 * worker_main.c - pawl-worker: options, configuration, check, then the master or (--queue) one
 * runner without a master.
 */
#include <sys/prctl.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/check.h"
#include "common/program.h"
#include "runtime/master.h"
#include "runtime/runner.h"
#include "util/log.h"
#include "util/spawn.h"

enum option {
	OPTION_CONFIG, OPTION_TEST, OPTION_QUEUE, OPTION_DRAIN, OPTION_VERBOSE, OPTION_LOG_FORMAT
};
static const struct program_option option_table[] = {
	[OPTION_CONFIG] = { 'c', "config", "FILE", "configuration (default " PAWL_SYSCONFDIR "/pawl.conf)" },
	[OPTION_TEST] = { 't', "test", NULL, "check the configuration and its handlers, then exit" },
	[OPTION_QUEUE] = { 'q', "queue", "NAME", "work for this queue only, in one process without a master" },
	[OPTION_DRAIN] = { 0, "drain", NULL, "exit when the queues are empty" },
	[OPTION_VERBOSE] = { 'v', "verbose", NULL, "log debugging messages as well" },
	[OPTION_LOG_FORMAT] = { 0, "log-format", "FORMAT", "text or json" },
};

struct worker {
	const char *file, *queue, *log_format;
	bool test, drain, verbose;
};

static void
set_option(void *arg, size_t index, const char *value)
{
	struct worker *w = arg;

	switch ((enum option)index) {
	case OPTION_CONFIG:
		w->file = value;
		break;
	case OPTION_TEST:
		w->test = true;
		break;
	case OPTION_QUEUE:
		w->queue = value;
		break;
	case OPTION_DRAIN:
		w->drain = true;
		break;
	case OPTION_VERBOSE:
		w->verbose = true;
		break;
	case OPTION_LOG_FORMAT:
		w->log_format = value;
		break;
	}
}

static int
log_format_of(const char *text)
{
	if (strcmp(text, "text") == 0)
		return LOG_FORMAT_TEXT;
	return strcmp(text, "json") == 0 ? LOG_FORMAT_JSON : -1;
}

static void
check_usage(const struct worker *w, int argc, char **argv, int operand)
{
	if (operand < argc)
		fprintf(stderr, "pawl-worker: there are no operands, but \"%s\" is one: options start "
		    "with a hyphen\n", argv[operand]);
	else if (w->log_format != NULL && log_format_of(w->log_format) < 0)
		fprintf(stderr, "pawl-worker: --log-format is \"text\" or \"json\", not \"%s\"\n",
		    w->log_format);
	else
		return;
	fprintf(stderr, "try: pawl-worker --help\n");
	exit(EX_USAGE);
}

/* The command line goes over the file. */
static void
adjust(void *arg, struct config *config)
{
	const struct worker *w = arg;

	if (w->verbose)
		config->log_level = LOG_LEVEL_DEBUG;
	if (w->log_format != NULL)
		config->log_format = (enum log_format)log_format_of(w->log_format);
	log_init("pawl-worker", config->log_level, config->log_format);
}

/* Of a reload. */
static int
check(void *arg, const struct config *config)
{
	(void)arg;
	return check_slots(config, NULL, program_log);
}

/* One runner, in this process. Its statistics file is called NAME.QUEUE: there may be a master
 * as well. */
static int
run_alone(const struct worker *w, struct config *config)
{
	const struct config_queue *queue = config_queue_find(config, w->queue);
	struct runner_options options = {
		.config = config, .queue = queue, .generation = 1, .control_fd = -1, .drain = w->drain,
	};
	struct stats_page *uncounted = NULL;
	struct stats_file *stats;
	char *name, error[1024];
	int code;

	if (queue == NULL) {
		(void)snprintf(error, sizeof(error), "%s: queues: there is no queue \"%s\"",
		    config->file, w->queue);
		program_say(LOG_LEVEL_ERROR, error);
		return EX_CONFIG;
	}
	code = check_slots(config, queue, program_say);
	if (code != EX_OK)
		return code;
	name = xasprintf("%s.%s", config->name, queue->name);
	if (stats_lock(config->run_dir, "worker", name, error, sizeof(error)) != 0)
		log_fatal(EX_CONFIG, "%s", error);
	stats = stats_create(config->run_dir, "worker", name, 1, error, sizeof(error));
	free(name);
	if (stats != NULL)
		options.page = stats_page_take(stats, STATS_PAGE_QUEUE, queue->name);
	else
		log_warning("the runner works without statistics: %s", error);
	if (options.page == NULL)
		options.page = uncounted = xcalloc(1, sizeof(*uncounted));
	code = runner_run(&options);
	if (stats != NULL)
		atomic_store(&stats->closed, 1);
	free(uncounted);
	return code;
}

/*
 * Handlers run as the same user: without this they could read the broker's password out of the
 * master's and the runners' environment and memory. Children inherit it, but exec ends it: slots
 * leave cores and can be debugged. The leak checker of sanitizers has to trace its own process.
 */
static void
hide_secrets(void)
{
#ifndef __SANITIZE_ADDRESS__
	if (prctl(PR_SET_DUMPABLE, 0) < 0)
		log_warning("handlers may be able to read the broker's password: prctl: %m");
#endif
}

int
main(int argc, char **argv)
{
	struct worker w = { .file = program_default_config() };
	struct master_options options = { .adjust = adjust, .check = check, .arg = &w };
	struct config *config;
	char *file;
	int operand, code;

	spawn_title_init(argc, argv);
	operand = program_options(argc, argv, "pawl-worker",
	    "[-c FILE] [-t | -q QUEUE] [--drain] [-v] [--log-format FORMAT]",
	    option_table, ARRAY_SIZE(option_table), set_option, &w);
	check_usage(&w, argc, argv, operand);
	/* A test is for people. */
	log_init("pawl-worker", w.verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO,
	    w.log_format == NULL || w.test ? LOG_FORMAT_TEXT : (enum log_format)log_format_of(w.log_format));
	hide_secrets();
	if (w.test)
		return check_file(w.file, false, NULL);
	config = program_config(w.file);
	if (config == NULL)
		return EX_CONFIG;
	adjust(&w, config);
	if (w.queue != NULL) {
		code = run_alone(&w, config);
		config_free(&config);
		return code;
	}
	code = check_slots(config, NULL, program_say);
	if (code != EX_OK) {
		config_free(&config);
		return code;
	}
	file = xstrdup(config->file);	/* absolute; lives longer than the configuration */
	options.file = file;
	options.drain = w.drain;
	code = master_run(&options, config);
	free(file);
	return code;
}
