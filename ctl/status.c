/*
 * status.c - pawlctl status: looks into the statistics files of pawl-worker and pawl-relay, once or every second.
 */
#include "ctl/status.h"

#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <sysexits.h>
#include <unistd.h>

#include "ctl/ctl.h"
#include "util/clock.h"

enum { PARTS_FIXED = 2 };	/* the worker and the relay */

enum { OPTION_CONFIG, OPTION_JSON, OPTION_WATCH };
static const struct program_option options[] = {
	[OPTION_CONFIG] = CTL_CONFIG_OPTION,
	[OPTION_JSON] = { 0, "json", NULL, "print JSON" },
	[OPTION_WATCH] = { 'w', "watch", NULL,
	    "again every second, with rates, until interrupted" },
};

struct arguments { const char *config; bool json, watch; };

static void
set(void *arg, size_t index, const char *value)
{
	struct arguments *a = arg;

	if (index == OPTION_CONFIG)
		a->config = value;
	else if (index == OPTION_JSON)
		a->json = true;
	else
		a->watch = true;
}

/* What the last look saw, for rates. */
struct past {
	struct past_page { char name[STATS_NAME_MAX]; uint64_t total; } *pages;
	size_t count;
	int64_t started_ms, seen_ms;		/* of the program's start: counters begin anew with it */
};

uint64_t
status_outcome(const struct stats_queue *queue, enum stats_outcome outcome)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < STATS_HANDLERS_MAX; i++)
		sum += status_number(&queue->handlers[i].outcome[outcome]);
	return sum;
}

uint64_t
status_total(const struct stats_page *page)
{
	if (atomic_load(&page->kind) == STATS_PAGE_OUTBOX)
		return status_number(&page->outbox.confirmed);
	return status_outcome(&page->queue, STATS_DONE) +
	    status_outcome(&page->queue, STATS_DUPLICATE) +
	    status_outcome(&page->queue, STATS_IGNORED) + status_outcome(&page->queue, STATS_DEAD);
}

int64_t
status_quantile_us(const struct stats_histogram *h, double share)
{
	uint64_t bucket[STATS_BUCKETS], sum = 0, below = 0;

	for (size_t i = 0; i < STATS_BUCKETS; i++)
		sum += bucket[i] = status_number(&h->bucket[i]);
	for (size_t i = 0; i < STATS_BUCKETS; i++) {
		below += bucket[i];
		if (below > 0 && (double)below >= share * (double)sum)
			return (int64_t)64 << i;
	}
	return 0;
}

/* A name of the file, which may be foreign: printable, and with an end. */
static const char *
clean(struct arena *arena, const char name[STATS_NAME_MAX])
{
	char *text = arena_memdup(arena, name, strnlen(name, STATS_NAME_MAX));

	for (char *c = text; *c != '\0'; c++)
		if (!isgraph((unsigned char)*c))
			*c = '?';
	return text;
}

static int64_t
silence_ms(const struct stats_page *page, int64_t now_ms)
{
	return now_ms - atomic_load(&page->updated_ms);
}

static const char *
queue_state(const struct stats_queue *q)
{
	uint64_t state = status_number(&q->state);

	if (state == STATS_QUEUE_ENDING)
		return "ending";
	if (status_number(&q->slots_ready) == 0)
		return "no slots";
	if (state == STATS_QUEUE_PAUSED)
		return "paused";
	return state == STATS_QUEUE_CONSUMING ? "consuming" : "no broker";
}

static const char *
outbox_state(const struct stats_outbox *o)
{
	if (status_number(&o->database_up) == 0)
		return "no database";
	if (status_number(&o->broker_up) == 0)
		return "no broker";	/* it does not lead then, and perhaps nobody does */
	return status_number(&o->leader) != 0 ? "leading" : "standby";
}

static void
look_at_pages(struct status *s, struct status_part *part)
{
	part->pages = arena_array(s->arena, part->file->page_count, sizeof(*part->pages));
	for (uint32_t i = 0; i < part->file->page_count; i++) {
		const struct stats_page *page = &part->file->pages[i];
		uint32_t kind = atomic_load(&page->kind);
		const char *state;

		if (kind != STATS_PAGE_QUEUE && kind != STATS_PAGE_OUTBOX)
			continue;
		if (!part->running || silence_ms(page, s->now_ms) > STATUS_PAGE_SILENT_MS)
			state = "down";
		else if (kind == STATS_PAGE_QUEUE)
			state = queue_state(&page->queue);
		else
			state = outbox_state(&page->outbox);
		part->pages[part->page_count++] = (struct status_page){ clean(s->arena, page->name), state, page, -1 };
	}
}

/* Does its program live? The file alone does not tell: it outlives a kill. */
static bool
is_running(const struct status *s, const struct stats_file *file, const char **why)
{
	int64_t pid = atomic_load(&file->pid), silent = s->now_ms - atomic_load(&file->started_ms);

	if (atomic_load(&file->closed) != 0) {
		*why = "it has ended in order";
		return false;
	}
	if (pid <= 0 || (kill((pid_t)pid, 0) < 0 && errno == ESRCH)) {
		*why = arena_printf(s->arena, "process %lld is gone without an orderly end", (long long)pid);
		return false;
	}
	for (uint32_t i = 0; i < file->page_count; i++)
		if (silence_ms(&file->pages[i], s->now_ms) < silent)
			silent = silence_ms(&file->pages[i], s->now_ms);
	if (silent > STATUS_SILENT_MS) {
		*why = arena_printf(s->arena, "process %lld has given no sign of life for %lld s", (long long)pid, (long long)(silent / 1000));
		return false;
	}
	return true;
}

/* In the first directory where the program runs; else where it ran. */
void
status_look_at(struct status *s, struct status_part *part, const struct config *config)
{
	const char *const *dirs = config_run_dirs(config, s->arena);
	const char *looked = NULL, *problem = NULL, *why = NULL, *path;
	char error[512];

	for (size_t i = 0; dirs[i] != NULL && !part->running; i++) {
		const struct stats_file *file;
		bool again = false;

		for (size_t j = 0; j < i; j++)
			again |= strcmp(dirs[i], dirs[j]) == 0;
		if (again)
			continue;
		looked = looked == NULL ? dirs[i] : arena_printf(s->arena, "%s, %s", looked, dirs[i]);
		path = arena_printf(s->arena, "%s/%s.%s.stats", dirs[i], part->name, part->program);
		if (access(path, F_OK) < 0)
			continue;
		file = stats_open(dirs[i], part->program, part->name, error, sizeof(error));
		if (file == NULL) {
			problem = arena_strdup(s->arena, error);
			continue;
		}
		part->running = is_running(s, file, &why);
		if (part->file == NULL || part->running) {
			stats_close(&part->file);
			part->file = file;
			part->run_dir = dirs[i];
			part->why = part->running ? "" : why;
		} else {
			stats_close(&file);
		}
	}
	if (part->file != NULL)
		look_at_pages(s, part);
	else if (problem != NULL)
		part->why = problem;
	else
		part->why = arena_printf(s->arena, "no %s.%s.stats in %s", part->name, part->program, looked);
}

static void
set_rates(const struct status *s, struct status_part *part, struct past *past)
{
	int64_t started_ms = part->file == NULL ? 0 : atomic_load(&part->file->started_ms);
	double seconds = (double)(s->now_ms - past->seen_ms) / 1000;
	bool comparable = past->seen_ms != 0 && started_ms == past->started_ms && seconds > 0;
	struct past_page *pages = xcalloc(part->page_count + 1, sizeof(*pages));

	for (size_t i = 0; i < part->page_count; i++) {
		struct status_page *page = &part->pages[i];

		snprintf(pages[i].name, sizeof(pages[i].name), "%s", page->name);
		pages[i].total = status_total(page->page);
		for (size_t j = 0; comparable && j < past->count; j++)
			if (strcmp(past->pages[j].name, pages[i].name) == 0 &&
			    pages[i].total >= past->pages[j].total)
				page->rate =
				    (double)(pages[i].total - past->pages[j].total) / seconds;
	}
	free(past->pages);
	*past = (struct past){ .pages = pages, .count = part->page_count, .started_ms = started_ms, .seen_ms = s->now_ms };
}

/* Where the past of a part is kept: parts of one queue come and go. */
static size_t
past_index(const struct config *config, const struct status *s, size_t part)
{
	size_t i = 0;

	if (part < PARTS_FIXED)
		return part;
	const char *queue = s->parts[part].name + strlen(config->name) + 1;

	while (i + 1 < config->queue_count && strcmp(queue, config->queues[i].name) != 0)
		i++;
	return PARTS_FIXED + i;
}

static void
look_at_parts(struct status *s, const struct config *config)
{
	bool all_single = config->queue_count > 0;

	s->parts = arena_array(s->arena, PARTS_FIXED + config->queue_count, sizeof(*s->parts));
	s->part_count = PARTS_FIXED;
	for (size_t i = 0; i < PARTS_FIXED; i++) {
		s->parts[i].program = i == 0 ? "worker" : "relay";
		s->parts[i].name = config->name;
		s->parts[i].wanted = (i == 0 ? config->queue_count : config->outbox_count) > 0;
		status_look_at(s, &s->parts[i], config);
	}
	for (size_t i = 0; i < config->queue_count; i++) {	/* pawl-worker --queue */
		struct status_part *part = &s->parts[s->part_count];

		part->program = "worker";
		part->name = arena_printf(s->arena, "%s.%s", config->name, config->queues[i].name);
		status_look_at(s, part, config);
		all_single &= part->running;
		if (part->file != NULL)
			s->part_count++;
	}
	if (all_single)
		s->parts[0].wanted = s->parts[0].running;
}

/* One look. 0, or EX_UNAVAILABLE when something that is configured does not run. */
static int
look(const struct config *config, const struct arguments *a, struct past *past)
{
	struct arena arena = ARENA_INIT;
	struct status s = { .name = config->name, .now_ms = clock_wall_now().ms, .arena = &arena };
	int status = EX_OK;

	look_at_parts(&s, config);
	for (size_t i = 0; i < s.part_count; i++) {
		if (a->watch)
			set_rates(&s, &s.parts[i], &past[past_index(config, &s, i)]);
		if (s.parts[i].wanted && !s.parts[i].running)
			status = EX_UNAVAILABLE;
	}
	if (a->watch && !a->json && isatty(STDOUT_FILENO))
		fputs("\033[H\033[J", stdout);
	if (a->json)
		status_print_json(&s, !a->watch);
	else
		status_print_table(&s);
	for (size_t i = 0; i < s.part_count; i++)
		stats_close(&s.parts[i].file);
	arena_release(&arena);
	return status;
}

int
ctl_status(int argc, char **argv)
{
	struct arguments a = { program_default_config(), false, false };
	struct past *past;
	int first = program_options(argc, argv, "pawlctl status", "[-c FILE] [--json] [--watch]",
	    options, ARRAY_SIZE(options), set, &a);
	struct config *config;
	int status;

	if (first < argc)
		return ctl_fail(EX_USAGE, "status",
		    "\"%s\" is too much; the configuration is said with -c", argv[first]);
	config = program_config(a.config);
	if (config == NULL)
		return EX_CONFIG;
	past = xcalloc(PARTS_FIXED + config->queue_count, sizeof(*past));
	for (;;) {
		status = ctl_end(look(config, &a, past), "status");
		if (!a.watch || status == EX_IOERR)
			break;
		sleep(1);
	}
	for (size_t i = 0; i < PARTS_FIXED + config->queue_count; i++)
		free(past[i].pages);
	free(past);
	config_free(&config);
	return status;
}
