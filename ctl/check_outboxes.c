/*
 * check_outboxes.c - a part of pawlctl check: does each outbox's table have what the configuration
 * says of it, and do the servers have room for the relay's sessions? Looks, and changes nothing.
 */
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "common/budget.h"
#include "common/config.h"
#include "common/outbox_table.h"
#include "ctl/ctl.h"
#include "util/pg.h"

enum { CONNECT_MS = 5000, ANSWER_MS = 30000 };

struct checker {
	struct pg *pg;				/* NULL: none yet */
	const char *conninfo;			/* its own; outboxes of one database share it */
	struct pg_error error;			/* why it is down */
	struct budget budget;
	int prepared;				/* statements, for their names */
	bool strict;
	int status;
};

/* Lines, each "KEY: what". */
static void
print_mistakes(const struct config_outbox *o, char *lines)
{
	for (char *line = lines, *end; *line != '\0'; line = end) {
		end = line + strcspn(line, "\n");
		if (*end == '\n')
			*end++ = '\0';
		fprintf(stderr, "%s:%d: outboxes.%s.%s\n", o->file, o->line, o->name, line);
	}
}

static void
check_budget(struct checker *c, const struct config_outbox *o)
{
	struct pg_result *result = NULL;
	char *sql = xasprintf("select %s", budget_columns_sql);
	char error[1024];

	if (pg_query(c->pg, ANSWER_MS, &result, &c->error, sql, 0, NULL) == 0 &&
	    pg_rows(result) == 1 &&
	    budget_check(&c->budget, budget_add(&c->budget, o->conninfo), result, 0, error,
		sizeof(error)) != 0) {
		fprintf(stderr, "%s: outboxes: %s\n", o->file, error);
		c->status = EX_CONFIG;
	}
	pg_result_free(&result);
	free(sql);
}

static void
connect_to(struct checker *c, const struct config_outbox *o)
{
	if (c->pg != NULL && strcmp(c->conninfo, o->conninfo) == 0)
		return;
	pg_free(&c->pg);
	c->conninfo = o->conninfo;
	c->pg = pg_new(o->conninfo, "pawlctl check", NULL);
	if (pg_connect(c->pg, CONNECT_MS, &c->error) != 0)
		pg_close(c->pg);
	else
		check_budget(c, o);
}

/* What the mapping does not foresee, the server says. */
static void
prepare(struct checker *c, const struct config_outbox *o, const struct outbox_table *table)
{
	const char *const statements[] = { table->read, table->fetch, table->erase, table->retire,
		table->park, table->drop };

	for (size_t i = 0; i < ARRAY_SIZE(statements); i++) {
		struct pg_result *result = NULL;
		char *sql;

		if (statements[i] == NULL)
			continue;
		sql = xasprintf("prepare pawl_check_%d as %s", c->prepared++, statements[i]);
		if (pg_query(c->pg, ANSWER_MS, &result, &c->error, sql, 0, NULL) != 0) {
			fprintf(stderr, "%s:%d: outboxes.%s.table: %s\n", o->file, o->line, o->name,
			    c->error.text);
			c->status = EX_CONFIG;
		}
		pg_result_free(&result);
		free(sql);
	}
}

static void
check(struct checker *c, const struct config_outbox *o)
{
	struct outbox_table table = OUTBOX_TABLE_INIT;
	struct buf mistakes = BUF_INIT;
	struct pg_result *result = NULL;

	connect_to(c, o);
	if (pg_state(c->pg) == PG_DOWN ||
	    pg_query(c->pg, ANSWER_MS, &result, &c->error, outbox_table_check_sql, 1, &o->table) !=
		0) {
		fprintf(stderr, "%s:%d: outboxes.%s: its table could not be checked: %s\n", o->file,
		    o->line, o->name, c->error.text);
		if (c->strict && c->status == EX_OK)
			c->status = EX_UNAVAILABLE;
	} else if (outbox_table_init(&table, o, result, &mistakes) != 0) {
		print_mistakes(o, mistakes.data);
		c->status = EX_CONFIG;
	} else {
		prepare(c, o, &table);
		for (size_t i = 0; table.advice[i] != NULL; i++)
			fprintf(stderr, "%s:%d: outboxes.%s: %s\n", o->file, o->line, o->name,
			    table.advice[i]);
	}
	pg_result_free(&result);
	outbox_table_release(&table);
	buf_release(&mistakes);
}

int
ctl_check_outboxes(const struct config *config, bool strict)
{
	struct checker c = { .strict = strict, .status = EX_OK };

	for (size_t i = 0; i < config->outbox_count; i++)
		(void)budget_add(&c.budget, config->outboxes[i].conninfo);
	for (size_t i = 0; i < config->outbox_count; i++)
		check(&c, &config->outboxes[i]);
	pg_free(&c.pg);
	budget_release(&c.budget);
	return c.status;
}
