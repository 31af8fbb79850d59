/*
 * outbox.c - pawlctl outbox list|retry|drop: events that cannot be published. Those that wait are the
 * running relay's: it lists them, and is told by a signal to try them now. Those that it put aside
 * are in pawl.outbox_dead, in the outbox's own database.
 */
#include "ctl/outbox.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <sysexits.h>

#include "common/blocked_list.h"
#include "ctl/ctl.h"
#include "util/buf.h"
#include "util/json_scan.h"

enum { CONNECT_MS = 5000, ANSWER_MS = 60000 };

enum { OPTION_CONFIG, OPTION_BLOCKED, OPTION_DEAD, OPTION_LAST };
enum { OPTION_JSON = OPTION_LAST, OPTION_ALL = OPTION_LAST };
#define COMMON_OPTIONS \
	[OPTION_CONFIG] = CTL_CONFIG_OPTION, \
	[OPTION_BLOCKED] = { 0, "blocked", NULL, "events that wait, and hold up what is behind them" }, \
	[OPTION_DEAD] = { 0, "dead", NULL, "events that were put aside, into pawl.outbox_dead" }
static const struct program_option list_options[] = {
	COMMON_OPTIONS,
	[OPTION_JSON] = { 0, "json", NULL, "print JSON" },
};
static const struct program_option change_options[] = {
	COMMON_OPTIONS,
	[OPTION_ALL] = { 0, "all", NULL, "all of them" },
};
/* For pawlctl outbox --help. */
static const struct program_option all_options[] = {
	COMMON_OPTIONS,
	{ 0, "json", NULL, "list: print JSON" },
	{ 0, "all", NULL, "retry, drop: all of them" },
};

struct arguments { struct outbox_command *command; const char *config; bool last; };

static void
set(void *arg, size_t index, const char *value)
{
	struct arguments *a = arg;

	if (index == OPTION_CONFIG)
		a->config = value;
	else if (index == OPTION_BLOCKED)
		a->command->blocked = true;
	else if (index == OPTION_DEAD)
		a->command->dead = true;
	else
		a->last = true;
}

void
outbox_command_fail(struct outbox_command *c, int status, const char *fmt, ...)
{
	struct buf text = BUF_INIT;
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	(void)ctl_fail(status, c->name, "%s", text.data);
	if (c->result == EX_OK)
		c->result = status;
	buf_release(&text);
}

/* The relay's list. */

static const char *
member(struct outbox_command *c, struct slice line, const char *pointer)
{
	struct json_value value;
	char *text;

	if (json_scan_find(line, pointer, &value, NULL) != JSON_OK)
		return NULL;
	if (value.kind != JSON_STRING)
		return value.kind == JSON_NUMBER
		    ? arena_printf(&c->arena, "%.*s", (int)value.raw.len, value.raw.data) : NULL;
	text = arena_alloc(&c->arena, value.raw.len + 1);
	return json_scan_unescape(value.raw, text, &value.raw.len) == JSON_OK ? text : NULL;
}

static int64_t
number(struct outbox_command *c, struct slice line, const char *pointer)
{
	const char *text = member(c, line, pointer);

	return text == NULL ? 0 : strtoll(text, NULL, 10);
}

static size_t
count_lines(struct slice text)
{
	size_t count = 0;

	for (size_t i = 0; i < text.len; i++)
		count += text.data[i] == '\n';
	return count;
}

static void
read_list(struct outbox_command *c, struct slice text)
{
	c->waiting = arena_array(&c->arena, count_lines(text), sizeof(*c->waiting));
	for (size_t at = 0, end; at < text.len; at = end + 1) {
		struct slice line = { text.data + at, 0 };
		struct outbox_waiting w;

		for (end = at; end < text.len && text.data[end] != '\n'; end++)
			line.len++;
		if (end == text.len || json_scan_check(line, NULL) != JSON_OK)
			continue;
		w = (struct outbox_waiting){
			.outbox = member(c, line, "/outbox"),
			.event = member(c, line, "/event"),
			.aggregatetype = member(c, line, "/aggregatetype"),
			.aggregateid = member(c, line, "/aggregateid"),
			.reason = member(c, line, "/reason"),
			.text = member(c, line, "/text"),
			.since_ms = number(c, line, "/since_ms"),
			.more = number(c, line, "/more"),
		};
		if (w.outbox != NULL && (w.more > 0 || (w.event != NULL && w.reason != NULL)))
			c->waiting[c->waiting_count++] = w;
	}
}

void
outbox_command_look(struct outbox_command *c)
{
	struct buf text = BUF_INIT;
	char error[512];

	c->status = (struct status){ .name = c->config->name, .now_ms = clock_wall_now().ms,
		.arena = &c->arena };
	c->relay = (struct status_part){ .program = "relay", .name = c->config->name };
	status_look_at(&c->status, &c->relay, c->config);
	if (!c->relay.running)
		return;
	if (blocked_list_read(c->relay.run_dir, c->config->name, &text, error, sizeof(error)) != 0)
		outbox_command_fail(c, EX_NOPERM, "%s", error);
	else
		read_list(c, (struct slice){ text.data, text.len });
	buf_release(&text);
}

/* The database. */

bool
outbox_command_connect(struct outbox_command *c, const struct config_outbox *o)
{
	struct pg_error error;

	if (c->pg != NULL && strcmp(c->conninfo, o->conninfo) == 0 && pg_state(c->pg) != PG_DOWN)
		return true;
	pg_free(&c->pg);
	c->conninfo = o->conninfo;
	c->pg = pg_new(o->conninfo, "pawlctl outbox", NULL);
	if (pg_connect(c->pg, CONNECT_MS, &error) == 0)
		return true;
	outbox_command_fail(c, EX_UNAVAILABLE, "outboxes.%s: could not connect: %s", o->name,
	    error.text);
	pg_close(c->pg);
	return false;
}

struct pg_result *
outbox_command_query(struct outbox_command *c, const struct config_outbox *o, const char *sql, int n,
    const char *const *values)
{
	struct pg_result *result = NULL;
	struct pg_error error;

	if (pg_query(c->pg, ANSWER_MS, &result, &error, sql, n, values) == 0)
		return result;
	outbox_command_fail(c,
	    error.class == PG_CLASS_ENVIRONMENT || error.lost ? EX_UNAVAILABLE : EX_CONFIG,
	    "outboxes.%s: %s", o->name, error.text);
	pg_result_free(&result);
	return NULL;
}

bool
outbox_command_table(struct outbox_command *c, const struct config_outbox *o,
    struct outbox_table *table)
{
	struct pg_result *result =
	    outbox_command_query(c, o, outbox_table_check_sql, 1, &o->table);
	struct buf mistakes = BUF_INIT;
	bool good = result != NULL;

	if (good && outbox_table_init(table, o, result, &mistakes) != 0) {
		outbox_command_fail(c, EX_CONFIG, "outboxes.%s.%s", o->name, mistakes.data);
		good = false;
	}
	pg_result_free(&result);
	buf_release(&mistakes);
	return good;
}

bool
outbox_command_wants(const struct outbox_command *c, const char *outbox)
{
	for (size_t i = 0; i < c->operand_count; i++)
		if (strcmp(c->operands[i], outbox) == 0)
			return true;
	return c->operand_count == 0;
}

static const struct config_outbox *
find_outbox(const struct outbox_command *c, const char *name)
{
	for (size_t i = 0; i < c->config->outbox_count; i++)
		if (strcmp(c->config->outboxes[i].name, name) == 0)
			return &c->config->outboxes[i];
	return NULL;
}

/* Changes. The first operand is the outbox, the others are events. */

static bool
is_number(const char *text)
{
	return text[0] != '\0' && strlen(text) < 19 && text[strspn(text, "0123456789")] == '\0';
}

static const char *
numbers(struct outbox_command *c)
{
	const char *list = "";

	for (size_t i = 1; i < c->operand_count; i++) {
		if (!is_number(c->operands[i])) {
			outbox_command_fail(c, EX_USAGE,
			    "\"%s\" is no number of pawlctl outbox list --dead", c->operands[i]);
			return NULL;
		}
		list = arena_printf(&c->arena, "%s%s%s", list, i == 1 ? "" : ",", c->operands[i]);
	}
	return arena_printf(&c->arena, "{%s}", list);
}

/* Those that are named, or all. NULL: said what is wrong. */
static const char *
chosen(struct outbox_command *c, const struct config_outbox *o, size_t *count)
{
	const char *list = "{}";
	struct pg_result *result;

	*count = c->operand_count - 1;
	if (!c->all)
		return numbers(c);
	result = outbox_command_query(c, o, "select array_agg(number)::text, count(*)::text"
	    " from pawl.outbox_dead where outbox = $1", 1, &o->name);
	if (result == NULL)
		return NULL;
	if (pg_value(result, 0, 0) != NULL)
		list = arena_strdup(&c->arena, pg_value(result, 0, 0));
	*count = strtoul(pg_value(result, 0, 1), NULL, 10);
	pg_result_free(&result);
	return list;
}

static void
tell(struct outbox_command *c, size_t done, size_t asked, const char *what)
{
	printf("%zu %s\n", done, what);
	if (done < asked)
		outbox_command_fail(c, EX_DATAERR, "%zu of %zu are not there (any more)",
		    asked - done, asked);
}

static bool
run(struct outbox_command *c, const struct config_outbox *o, const char *sql)
{
	struct pg_result *result = outbox_command_query(c, o, sql, 0, NULL);
	bool good = result != NULL;

	pg_result_free(&result);
	return good;
}

/* A trigger or a rule of the table may keep them out: then they stay where they are. */
static void
put_back(struct outbox_command *c, const struct config_outbox *o, const struct outbox_table *table)
{
	size_t asked, there, back;
	const char *values[2] = { o->name, chosen(c, o, &asked) };
	struct pg_result *result;

	if (values[1] == NULL || !run(c, o, "begin"))
		return;
	result = outbox_command_query(c, o, table->unpark, 2, values);
	if (result == NULL)
		return;
	there = strtoul(pg_value(result, 0, 0), NULL, 10);
	back = strtoul(pg_value(result, 0, 1), NULL, 10);
	pg_result_free(&result);
	if (back != there)
		outbox_command_fail(c, EX_DATAERR, "table %s takes %zu of %zu: a trigger or rule"
		    " keeps them out; nothing was changed", table->name, back, there);
	else if (run(c, o, "commit"))
		tell(c, back, asked, "put back");
}

static void
retry_dead(struct outbox_command *c, const struct config_outbox *o)
{
	struct outbox_table table = OUTBOX_TABLE_INIT;

	if (outbox_command_connect(c, o) && outbox_command_table(c, o, &table))
		put_back(c, o, &table);
	outbox_table_release(&table);
}

static void
drop_dead(struct outbox_command *c, const struct config_outbox *o)
{
	size_t asked;
	const char *values[2] = { o->name, NULL };
	struct pg_result *result;

	if (!outbox_command_connect(c, o))
		return;
	values[1] = chosen(c, o, &asked);
	if (values[1] == NULL)
		return;
	result = outbox_command_query(c, o, "delete from pawl.outbox_dead where outbox = $1"
	    " and number = any($2::int8[])", 2, values);
	if (result != NULL)
		tell(c, (size_t)pg_affected(result), asked, "dropped");
	pg_result_free(&result);
}

static bool
wake_relay(struct outbox_command *c)
{
	if (!c->relay.running) {
		outbox_command_fail(c, EX_UNAVAILABLE, "pawl-relay does not run here: %s",
		    c->relay.why);
		return false;
	}
	if (kill((pid_t)atomic_load(&c->relay.file->pid), SIGUSR1) == 0)
		return true;
	outbox_command_fail(c, EX_NOPERM, "could not signal pawl-relay, process %lld: %s",
	    (long long)atomic_load(&c->relay.file->pid), strerror(errno));
	return false;
}

static bool
is_waiting(const struct outbox_command *c, const struct config_outbox *o, const char *event)
{
	for (size_t i = 0; i < c->waiting_count; i++)
		if (c->waiting[i].more == 0 && strcmp(c->waiting[i].outbox, o->name) == 0 &&
		    strcmp(c->waiting[i].event, event) == 0)
			return true;
	return false;
}

/* As an array for the server. */
static void
add_event(struct buf *list, const char *event)
{
	buf_puts(list, list->len == 0 ? "{\"" : ",\"");
	for (; *event != '\0'; event++) {
		if (*event == '"' || *event == '\\')
			buf_putc(list, '\\');
		buf_putc(list, *event);
	}
	buf_putc(list, '"');
}

static size_t
events(struct outbox_command *c, const struct config_outbox *o, struct buf *list)
{
	size_t count = 0;

	for (size_t i = 0; c->all && i < c->waiting_count; i++) {
		if (c->waiting[i].more > 0 || strcmp(c->waiting[i].outbox, o->name) != 0)
			continue;
		add_event(list, c->waiting[i].event);
		count++;
	}
	for (size_t i = 1; i < c->operand_count; i++) {
		if (is_waiting(c, o, c->operands[i])) {
			add_event(list, c->operands[i]);
			count++;
		} else {
			outbox_command_fail(c, EX_DATAERR, "outbox %s: event \"%s\" does not wait (any"
			    " more); see pawlctl outbox list --blocked", o->name, c->operands[i]);
		}
	}
	buf_puts(list, list->len == 0 ? "{}" : "}");
	return count;
}

/* The events that wait, not those behind them, which then go on. */
static void
drop_blocked(struct outbox_command *c, const struct config_outbox *o)
{
	struct outbox_table table = OUTBOX_TABLE_INIT;
	struct pg_result *result = NULL;
	struct buf list = BUF_INIT;
	const char *values[1];
	size_t count;

	if (!c->relay.running) {
		(void)wake_relay(c);
		return;
	}
	count = events(c, o, &list);
	values[0] = list.data;
	if (count > 0 && outbox_command_connect(c, o) && outbox_command_table(c, o, &table))
		result = outbox_command_query(c, o, table.erase, 1, values);
	if (count == 0)
		printf("0 dropped\n");
	if (result != NULL) {
		printf("%lld dropped\n", (long long)pg_affected(result));
		(void)wake_relay(c);
	}
	pg_result_free(&result);
	outbox_table_release(&table);
	buf_release(&list);
}

static void
retry(struct outbox_command *c)
{
	const struct config_outbox *o = c->dead ? find_outbox(c, c->operands[0]) : NULL;

	if (o != NULL)
		retry_dead(c, o);
	else if (wake_relay(c))
		printf("pawl-relay tries what waits now\n");
}

static void
drop(struct outbox_command *c)
{
	const struct config_outbox *o = find_outbox(c, c->operands[0]);

	if (c->dead)
		drop_dead(c, o);
	else
		drop_blocked(c, o);
}

/* Command lines. */

static const struct subcommand {
	const char *name, *synopsis;
	const struct program_option *options;
	size_t option_count;
	void (*run)(struct outbox_command *);
} subcommands[] = {
	{ "list", "[-c FILE] [--blocked | --dead] [--json] [OUTBOX]...", list_options,
	    ARRAY_SIZE(list_options), outbox_list },
	{ "retry", "[-c FILE] --blocked | --dead OUTBOX NUMBER... | --dead --all OUTBOX",
	    change_options, ARRAY_SIZE(change_options), retry },
	{ "drop", "[-c FILE] (--blocked | --dead) (OUTBOX EVENT... | --all OUTBOX)",
	    change_options, ARRAY_SIZE(change_options), drop },
};

static const struct subcommand *
find_subcommand(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(subcommands); i++)
		if (strcmp(subcommands[i].name, name) == 0)
			return &subcommands[i];
	return NULL;
}

/* Operands and options that do not go together. NULL: they do. */
static const char *
mistake(const struct outbox_command *c, const struct subcommand *s)
{
	if (c->blocked && c->dead)
		return "--blocked and --dead do not go together";
	if (s->run == outbox_list)
		return NULL;
	if (!c->blocked && !c->dead)
		return "say --blocked (events that wait) or --dead (events that were put aside)";
	if (s->run == retry && c->blocked)
		return c->operand_count > 0 || c->all
		    ? "all that waits is tried: name no outbox and no event" : NULL;
	if (c->operand_count == 0)
		return "name the outbox";
	if (c->all == (c->operand_count > 1))
		return c->all ? "--all and single events do not go together"
			      : "name events, or say --all";
	return NULL;
}

static bool
outboxes_exist(struct outbox_command *c, const struct subcommand *s)
{
	size_t count = s->run == outbox_list || c->operand_count == 0 ? c->operand_count : 1;

	for (size_t i = 0; i < count; i++)
		if (find_outbox(c, c->operands[i]) == NULL) {
			outbox_command_fail(c, EX_USAGE, "%s has no outbox \"%s\"",
			    c->config->file, c->operands[i]);
			return false;
		}
	return true;
}

/* As program_options() wants it, behind "pawlctl outbox". */
static const char *
usage(struct outbox_command *c)
{
	const char *text = "";

	for (size_t i = 0; i < ARRAY_SIZE(subcommands); i++)
		text = arena_printf(&c->arena, "%s%s%s %s", text,
		    i == 0 ? "" : "\n       pawlctl outbox ", subcommands[i].name,
		    subcommands[i].synopsis);
	return text;
}

int
ctl_outbox(int argc, char **argv)
{
	struct outbox_command c = { .name = "outbox", .arena = ARENA_INIT, .result = EX_OK };
	struct arguments a = { .command = &c, .config = program_default_config() };
	const struct subcommand *s = argc > 1 ? find_subcommand(argv[1]) : NULL;
	const char *wrong;
	int first;

	if (s == NULL) {
		if (argc > 1 && argv[1][0] == '-')	/* --help, --version */
			(void)program_options(argc, argv, "pawlctl outbox", usage(&c), all_options,
			    ARRAY_SIZE(all_options), set, &a);
		else if (argc > 1)
			(void)ctl_fail(EX_USAGE, "outbox", "there is no \"%s\"", argv[1]);
		fprintf(stderr, "usage: pawlctl outbox %s\n", usage(&c));
		arena_release(&c.arena);
		return EX_USAGE;
	}
	c.name = arena_printf(&c.arena, "outbox %s", s->name);
	first = program_options(argc - 1, argv + 1,
	    arena_printf(&c.arena, "pawlctl outbox %s", s->name), s->synopsis, s->options,
	    s->option_count, set, &a);
	c.json = a.last && s->run == outbox_list;
	c.all = a.last && s->run != outbox_list;
	c.operands = argv + 1 + first;
	c.operand_count = (size_t)(argc - 1 - first);
	wrong = mistake(&c, s);
	if (wrong != NULL) {
		c.result = ctl_fail(EX_USAGE, c.name, "%s", wrong);
		goto out;
	}
	c.config = program_config(a.config);
	if (c.config == NULL) {
		c.result = EX_CONFIG;
		goto out;
	}
	if (outboxes_exist(&c, s)) {
		outbox_command_look(&c);
		s->run(&c);
	}
out:
	stats_close(&c.relay.file);
	pg_free(&c.pg);
	config_free(&c.config);
	arena_release(&c.arena);
	return ctl_end(c.result, "outbox");
}
