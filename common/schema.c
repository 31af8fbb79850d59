/*
 * schema.c - applies the migrations, and tells whether a database has them. pawlctl migrates; slots and relay only check.
 */
#include "common/schema.h"

#include <limits.h>

enum { QUERY_MS = 10 * 1000, MIGRATION_MS = 24 * 60 * 60 * 1000 };	/* a later migration may build an index on a large table */

/* "pawlmigr" in ASCII: whoever migrates holds this lock. */
#define SCHEMA_LOCK	"8097884912564660082"

static int
newest(void)
{
	int number = 0;

	for (const struct schema_migration *m = schema_migrations; m->number != 0; m++)
		number = m->number;
	return number;
}

static int
run(struct pg *pg, int64_t timeout_ms, const char *sql, struct pg_error *error)
{
	struct pg_result *result = NULL;
	int rc = pg_query(pg, timeout_ms, &result, error, sql, 0, NULL);

	pg_result_free(&result);
	return rc;
}

/* Not to_regclass(): after the wait for the lock it may still answer from its cache that there is none. */
static const char table_exists[] =
    "select 1 from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace"
    " where n.nspname = 'pawl' and c.relname = 'schema_version'";

/* -1: error. 0: no schema at all. */
static int
version_of(struct pg *pg, struct pg_error *error)
{
	struct pg_result *result = NULL;
	const char *value = NULL;
	int number = -1;

	if (pg_query(pg, QUERY_MS, &result, error, table_exists, 0, NULL) < 0)
		goto out;
	if (pg_rows(result) != 1) {
		number = 0;
		goto out;
	}
	pg_result_free(&result);
	if (pg_query(pg, QUERY_MS, &result, error, "select max(number) from pawl.schema_version", 0,
		NULL) < 0)
		goto out;
	value = pg_rows(result) == 1 ? pg_value(result, 0, 0) : NULL;
	number = value == NULL ? 0 : (int)strtol(value, NULL, 10);
out:
	pg_result_free(&result);
	return number;
}

static int
say_newer(int number, struct pg_error *error)
{
	*error = (struct pg_error){ .class = PG_CLASS_STATEMENT };
	snprintf(error->text, sizeof(error->text),
	    "the database has version %d of the schema pawl, this build knows %d; "
	    "use the programs of the version that migrated it, or a newer one",
	    number, newest());
	return -1;
}

/* 1: applied; 0: it was there already; -1: error, and nothing of it remains. */
static int
apply(struct pg *pg, const struct schema_migration *m, struct pg_error *error)
{
	char number[16];
	const char *values[2] = { number, m->name };
	struct pg_result *result = NULL;
	struct pg_error ignored;
	int version, rc = -1;

	if (run(pg, QUERY_MS, "begin", error) < 0)
		return -1;
	if (run(pg, QUERY_MS, "set local statement_timeout = 0", error) < 0 ||
	    run(pg, QUERY_MS, "set local client_min_messages = warning", error) < 0 ||
	    run(pg, QUERY_MS, "set local search_path = pg_catalog", error) < 0 ||
	    run(pg, MIGRATION_MS, "select pg_advisory_xact_lock(" SCHEMA_LOCK ")", error) < 0)
		goto out;
	version = version_of(pg, error);
	if (version < 0)
		goto out;
	if (version > newest()) {
		say_newer(version, error);
		goto out;
	}
	if (version >= m->number) {
		rc = run(pg, QUERY_MS, "commit", error);
		goto out;
	}
	snprintf(number, sizeof(number), "%d", m->number);
	if (pg_script(pg, MIGRATION_MS, error, m->sql) < 0 ||
	    pg_query(pg, QUERY_MS, &result, error,
		"insert into pawl.schema_version (number, name) values ($1::integer, $2)", 2,
		values) < 0)
		goto out;
	pg_result_free(&result);
	if (pg_query(pg, QUERY_MS, &result, error, "commit", 0, NULL) < 0)
		goto out;
	if (strcmp(pg_command_tag(result), "COMMIT") != 0) {
		*error = (struct pg_error){ .class = PG_CLASS_MESSAGE };
		snprintf(error->text, sizeof(error->text),
		    "the transaction of migration %d did not commit", m->number);
		goto out;
	}
	rc = 1;
out:
	pg_result_free(&result);
	if (rc < 0 && pg_state(pg) != PG_DOWN && pg_transaction(pg) != 'I' &&
	    run(pg, QUERY_MS, "rollback", &ignored) < 0)
		pg_close(pg);
	return rc;
}

int
schema_migrate(struct pg *pg, void (*done)(void *arg, const struct schema_migration *), void *arg,
    struct pg_error *error)
{
	int version = version_of(pg, error);

	if (version > newest())
		return say_newer(version, error);
	for (const struct schema_migration *m = schema_migrations; version >= 0 && m->number != 0;
	     m++) {
		int rc = m->number <= version ? 0 : apply(pg, m, error);

		if (rc < 0)
			return -1;
		if (rc > 0)
			done(arg, m);
	}
	return version < 0 ? -1 : 0;
}

int
schema_check(struct pg *pg, struct pg_error *error)
{
	int version = version_of(pg, error);

	if (version < 0) {
		if (strcmp(error->sqlstate, "42501") == 0) {
			struct pg_error cause = *error;

			snprintf(error->text, sizeof(error->text),
			    "%.600s; grant this role pawl_worker or pawl_relay (see: pawlctl migrate --roles)",
			    cause.text);
		}
		return -1;
	}
	if (version >= SCHEMA_VERSION_NEEDED)
		return 0;
	*error = (struct pg_error){ .class = PG_CLASS_STATEMENT };
	if (version == 0)
		snprintf(error->text, sizeof(error->text),
		    "there is no schema pawl in this database; run: pawlctl migrate");
	else
		snprintf(error->text, sizeof(error->text),
		    "the schema pawl of this database is of version %d, %d is needed; run: pawlctl migrate",
		    version, SCHEMA_VERSION_NEEDED);
	return -1;
}
