/*
 * schema.h - the numbered migrations (sql/NNN-name.sql), compiled in, and how they are applied: in order, each in a transaction, under
 * an advisory lock, recorded in pawl.schema_version. Never edited after a release.
 */
#ifndef PAWL_COMMON_SCHEMA_H
#define PAWL_COMMON_SCHEMA_H
#include "util/attr.h"
#include "util/pg.h"

struct schema_migration { int number; const char *name, *sql; };
extern const struct schema_migration schema_migrations[];	/* generated at build time from sql/; ends with number 0 */
extern const char schema_roles_sql[];

enum { SCHEMA_VERSION_NEEDED = 1 };	/* what this build's programs need */
/* Applies what is missing; calls done() for each that it applied. -1: error; nothing of the failed one remains. */
int	schema_migrate(struct pg *, void (*done)(void *arg, const struct schema_migration *), void *arg, struct pg_error *) ATTR_MUST_CHECK;
/* 0: good; -1: error->text says what is missing and how to mend it ("run: pawlctl migrate ..."). */
int	schema_check(struct pg *, struct pg_error *) ATTR_MUST_CHECK;
#endif
