/*
 * check.c - pawlctl check: is the configuration good? Does what pawl-worker -t does, and looks at connection strings as well.
 */
#include "common/check.h"

#include <sysexits.h>

#include "common/config_keys.h"
#include "ctl/ctl.h"
#include "util/pg.h"

enum { OPTION_CONFIG, OPTION_STRICT, OPTION_LIST_KEYS };
static const struct program_option options[] = {
	[OPTION_CONFIG] = CTL_CONFIG_OPTION,
	[OPTION_STRICT] = { 0, "strict", NULL,
	    "it is an error (69) when statements could not be checked" },
	[OPTION_LIST_KEYS] = { 0, "list-keys", NULL,
	    "print all keys: path, type, values, default, meaning; tabs between" },
};

struct arguments { const char *config; bool strict, list_keys; };

static void
set(void *arg, size_t index, const char *value)
{
	struct arguments *a = arg;

	if (index == OPTION_CONFIG)
		a->config = value;
	else if (index == OPTION_STRICT)
		a->strict = true;
	else
		a->list_keys = true;
}

static const char *
type_name(enum key_type type)
{
	static const char *const name[] = {
		[KEY_TEXT] = "text",
		[KEY_WORD] = "word",
		[KEY_BOOL] = "boolean",
		[KEY_INT] = "number",
		[KEY_DURATION] = "duration",
		[KEY_SIZE] = "size",
		[KEY_TEXTS] = "texts",
		[KEY_DURATIONS] = "durations",
		[KEY_GROUP] = "group",
		[KEY_GROUPS] = "named groups",
		[KEY_GROUP_LIST] = "list of groups",
		[KEY_FREE] = "group",
	};

	return name[type];
}

static int
list_keys(void)
{
	struct arena arena = ARENA_INIT;

	for (size_t i = 0; i < config_keys_count; i++) {
		const struct config_key *key = &config_keys[i];
		const char *fallback = key->shown != NULL ? key->shown : key->fallback;

		if ((key->flags & KEY_REQUIRED) != 0)
			fallback = "required";
		printf("%s\t%s\t%s\t%s\t%s\n", key->path, type_name(key->type),
		    config_keys_allowed(key, &arena), fallback != NULL ? fallback : "",
		    key->manual);
	}
	arena_release(&arena);
	return ctl_end(EX_OK, "check");
}

/* Empty is libpq's environment, or none at all. */
static bool
check_conninfo(
    const char *file, int line, const char *section, const char *name, const char *conninfo)
{
	char error[512];

	if (pg_conninfo_check(conninfo, error, sizeof(error)) == 0)
		return true;
	fprintf(stderr, "%s:%d: %s.%s.conninfo: %s\n", file, line, section, name, error);
	return false;
}

static int
check_more(const struct config *config, bool strict)
{
	bool good = true;

	for (size_t i = 0; i < config->queue_count; i++) {
		const struct config_queue *q = &config->queues[i];

		good &= check_conninfo(q->file, q->line, "queues", q->name, q->conninfo);
	}
	for (size_t i = 0; i < config->outbox_count; i++) {
		const struct config_outbox *o = &config->outboxes[i];

		good &= check_conninfo(o->file, o->line, "outboxes", o->name, o->conninfo);
	}
	return good ? ctl_check_outboxes(config, strict) : EX_CONFIG;
}

int
ctl_check(int argc, char **argv)
{
	struct arguments a = { program_default_config(), false, false };
	int first = program_options(
	    argc, argv, "pawlctl check", "[-c FILE] [--strict]", options, ARRAY_SIZE(options), set, &a);

	if (first < argc)
		return ctl_fail(EX_USAGE, "check",
		    "\"%s\" is too much; the configuration is said with -c", argv[first]);
	if (a.list_keys)
		return list_keys();
	return ctl_end(check_file(a.config, a.strict, check_more), "check");
}
