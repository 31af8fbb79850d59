/*
 * migrate.c - pawlctl migrate: makes or upgrades the schema pawl in one database, or in all that a configuration names.
 */
#include <sysexits.h>

#include "common/schema.h"
#include "ctl/ctl.h"

enum { CONNECT_MS = 15 * 1000 };

enum { OPTION_CONFIG, OPTION_PRINT, OPTION_ROLES };
static const struct program_option options[] = {
	[OPTION_CONFIG] = CTL_CONFIG_OPTION,
	[OPTION_PRINT] = { 0, "print", NULL, "print the statements, touch nothing" },
	[OPTION_ROLES] = { 0, "roles", NULL,
	    "print the statements that make the roles (they need CREATEROLE), touch nothing" },
};

struct arguments { const char *config; bool print, roles; };

static void
set(void *arg, size_t index, const char *value)
{
	struct arguments *a = arg;

	if (index == OPTION_CONFIG)
		a->config = value;
	else if (index == OPTION_PRINT)
		a->print = true;
	else
		a->roles = true;
}

static int
print_migrations(void)
{
	for (const struct schema_migration *m = schema_migrations; m->number != 0; m++)
		printf("-- %03d-%s\nbegin;\n\n%s\n"
		       "insert into pawl.schema_version (number, name) values (%d, '%s');\ncommit;\n\n",
		    m->number, m->name, m->sql, m->number, m->name);
	return ctl_end(EX_OK, "migrate");
}

/* One database. what: how it is called in messages; its connection string may hold a password. */
struct target { const char *what, *conninfo; bool changed; };

static void
print_done(void *arg, const struct schema_migration *m)
{
	struct target *t = arg;

	printf("%s: applied %03d-%s\n", t->what, m->number, m->name);
	t->changed = true;
}

static int
status_of(const struct pg_error *error)
{
	return error->class == PG_CLASS_ENVIRONMENT || error->lost ? EX_UNAVAILABLE : EX_CONFIG;
}

static int
migrate(struct target *t)
{
	struct pg *pg = pg_new(t->conninfo, "pawlctl migrate", NULL);
	struct pg_error error = { .class = PG_CLASS_NONE };
	int status = EX_OK;

	if (pg_connect(pg, CONNECT_MS, &error) < 0)
		status = ctl_fail(
		    EX_UNAVAILABLE, "migrate", "%s: could not connect: %s", t->what, error.text);
	else if (schema_migrate(pg, print_done, t, &error) < 0)
		status = ctl_fail(
		    status_of(&error), "migrate", "%s: could not migrate: %s", t->what, error.text);
	else if (!t->changed)
		printf("%s: up to date\n", t->what);
	pg_free(&pg);
	return status;
}

static void
add_target(struct target *targets, size_t *count, struct arena *arena, const char *section,
    const char *name, const char *conninfo)
{
	for (size_t i = 0; i < *count; i++)
		if (strcmp(targets[i].conninfo, conninfo) == 0)
			return;
	targets[(*count)++] =
	    (struct target){ .what = arena_printf(arena, "database of %s.%s", section, name),
		    .conninfo = conninfo };
}

/* Every database that holds an inbox or an outbox, once. */
static int
migrate_all(const char *file)
{
	struct config *config = program_config(file);
	struct arena arena = ARENA_INIT;
	struct target *targets;
	size_t count = 0;
	int status = EX_OK;

	if (config == NULL)
		return EX_CONFIG;
	targets = arena_array(&arena, config->queue_count + config->outbox_count, sizeof(*targets));
	for (size_t i = 0; i < config->outbox_count; i++)
		add_target(targets, &count, &arena, "outboxes", config->outboxes[i].name,
		    config->outboxes[i].conninfo);
	for (size_t i = 0; i < config->queue_count; i++)
		if (config->queues[i].dedup == DEDUP_POSTGRES)
			add_target(targets, &count, &arena, "queues", config->queues[i].name,
			    config->queues[i].conninfo);
	if (count == 0)
		status = ctl_fail(EX_CONFIG, "migrate",
		    "%s names no database: it has neither outboxes nor queues that need one", file);
	for (size_t i = 0; i < count; i++) {
		int rc = migrate(&targets[i]);

		if (status == EX_OK)
			status = rc;
	}
	arena_release(&arena);
	config_free(&config);
	return status;
}

int
ctl_migrate(int argc, char **argv)
{
	struct arguments a = { NULL, false, false };
	int first = program_options(argc, argv, "pawlctl migrate",
	    "[CONNINFO | -c FILE] [--print | --roles]", options, ARRAY_SIZE(options), set, &a);
	int operands = argc - first;
	char error[512];

	if (operands > 1 || (operands == 1 && a.config != NULL))
		return ctl_fail(EX_USAGE, "migrate",
		    "give one connection string in quotes, or a configuration with -c");
	if (a.print && a.roles)
		return ctl_fail(EX_USAGE, "migrate", "--print and --roles do not go together");
	if (a.print)
		return print_migrations();
	if (a.roles) {
		fputs(schema_roles_sql, stdout);
		return ctl_end(EX_OK, "migrate");
	}
	if (operands == 0)
		return ctl_end(
		    migrate_all(a.config != NULL ? a.config : program_default_config()), "migrate");
	if (pg_conninfo_check(argv[first], error, sizeof(error)) < 0)
		return ctl_fail(EX_USAGE, "migrate", "%s", error);
	return ctl_end(
	    migrate(&(struct target){ .what = "database", .conninfo = argv[first] }), "migrate");
}
