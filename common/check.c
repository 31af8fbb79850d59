/*
 * check.c - checks a configuration with the help of pawl-slot. In pawl-worker and pawlctl check; returns an exit status.
 */
#include "common/check.h"

#include <stdarg.h>
#include <sys/wait.h>
#include <sysexits.h>

#include "common/program.h"
#include "common/slot_client.h"
#include "util/spawn.h"

enum {
	AT_ONCE = 8,			/* slots side by side */
	ANSWER_MS = 30 * 1000,		/* a handler's start() may take a while; the database is waited for a few seconds by the slot */
	ANSWER_MAX = 16 * 1024 * 1024
};

struct check {				/* one queue */
	const struct config *config;
	const struct config_queue *queue;
	bool strict;
	check_say_fn *say;
	struct slot_client slot;
	struct clock_mono deadline;
	struct arena arena;
	int status;			/* exit status so far */
};

static void	complain(struct check *, int status, const char *fmt, ...) ATTR_PRINTF(3, 4);

static void
complain(struct check *c, int status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	c->say(status == EX_OK ? LOG_LEVEL_WARNING : LOG_LEVEL_ERROR,
	    arena_printf(&c->arena, "%s:%d: queues.%s: %s", c->queue->file, c->queue->line,
	    c->queue->name, arena_vprintf(&c->arena, fmt, ap)));
	va_end(ap);
	if (status != EX_OK)
		c->status = status;
}

static void
start(struct check *c)
{
	const struct slot_setup_options options = { .host = "check",
		.log_level = LOG_LEVEL_ERROR,
		.log_format = c->config->log_format,
		.check = true };
	char error[1024];

	c->deadline = clock_mono_after_ms(clock_mono_now(), ANSWER_MS);
	if (slot_client_start(&c->slot, c->queue, &options, c->config->broker_variables,
		c->deadline, error, sizeof(error)) != 0)
		complain(c, EX_UNAVAILABLE, "%s", error);
}

/* Its text, a line each; of a note that follows a READY the queue is said. true: it was an answer. */
static bool
show(struct check *c, unsigned type, struct slice payload)
{
	struct slot_answer answer;
	bool refused = type == FRAME_REFUSED;

	if ((type != FRAME_READY && !refused) || slot_answer_get(payload, &c->arena, &answer) < 0)
		return false;
	if (refused) {
		c->say(LOG_LEVEL_ERROR, answer.text);
		c->status = EX_CONFIG;
	} else if (answer.text[0] != '\0') {
		complain(c, c->strict ? EX_UNAVAILABLE : EX_OK, "%s", answer.text);
	}
	return true;
}

static void
finish(struct check *c)
{
	enum slot_client_status how;
	struct slice payload;
	unsigned type;
	char text[128], report[DESK_REPORT_MAX + 1];
	bool answered = false;
	int status;

	if (c->slot.pid == 0)
		return;
	while ((how = slot_client_read(&c->slot, c->deadline, ANSWER_MAX, &type, &payload)) ==
	    SLOT_CLIENT_FRAME)
		answered |= show(c, type, payload);
	/* Late or babbling: it is not waited for. */
	status = slot_client_end(
	    &c->slot, how == SLOT_CLIENT_CLOSED ? c->deadline : clock_mono_now());
	if (how == SLOT_CLIENT_LATE)
		complain(c, EX_CONFIG, "its handlers did not start within %d s", ANSWER_MS / 1000);
	else if (!answered || how == SLOT_CLIENT_BAD || WIFSIGNALED(status))
		complain(c, EX_CONFIG, "loading and starting its handlers failed: pawl-slot %s%s%s",
		    spawn_status_text(status, text, sizeof(text)),
		    desk_report(c->slot.desk, report, sizeof(report)) > 0 ? ": " : "", report);
}

static void
count(const struct config *config, const char *file)
{
	size_t handlers = 0;

	for (size_t i = 0; i < config->queue_count; i++)
		handlers += config->queues[i].handler_count;
	printf("%s: good: %zu queue%s, %zu handler%s, %zu outbox%s\n", file, config->queue_count,
	    config->queue_count == 1 ? "" : "s", handlers, handlers == 1 ? "" : "s",
	    config->outbox_count, config->outbox_count == 1 ? "" : "es");
}

static int
check_queues(const struct config *config, const struct config_queue *only, bool strict,
    check_say_fn *say)
{
	const struct config_queue *queues = only == NULL ? config->queues : only;
	size_t queue_count = only == NULL ? config->queue_count : 1;
	struct check checks[AT_ONCE];
	int status = EX_OK;

	for (size_t i = 0; i < queue_count; i += AT_ONCE) {
		size_t n = queue_count - i < AT_ONCE ? queue_count - i : AT_ONCE;

		for (size_t j = 0; j < n; j++) {
			checks[j] = (struct check){ .config = config,
				.queue = &queues[i + j],
				.strict = strict,
				.say = say,
				.slot = SLOT_CLIENT_INIT,
				.arena = ARENA_INIT };
			start(&checks[j]);
		}
		for (size_t j = 0; j < n; j++) {
			finish(&checks[j]);
			if (status != EX_CONFIG && checks[j].status != EX_OK)
				status = checks[j].status;
			slot_client_release(&checks[j].slot);
			arena_release(&checks[j].arena);
		}
	}
	return status;
}

int
check_slots(const struct config *config, const struct config_queue *only, check_say_fn *say)
{
	return check_queues(config, only, false, say);
}

int
check_file(const char *file, bool strict, check_fn *more)
{
	struct config *config = program_config(file);
	int others, status;

	if (config == NULL)
		return EX_CONFIG;
	others = more == NULL ? EX_OK : more(config, strict);
	status = check_queues(config, NULL, strict, program_say);
	if (others == EX_CONFIG || status == EX_OK)
		status = others;
	if (status == EX_OK)
		count(config, file);
	config_free(&config);
	return status;
}
