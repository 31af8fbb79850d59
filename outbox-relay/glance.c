/*
 * glance.c - see glance.h.
 *
 * The statement is prepared for all outboxes that lead, and again when these are others; $1 has for
 * each the floor above which rows are new, or null when it is not asked about. A table that was
 * truncated may have new rows below it: that shows in its file.
 */
#include "outbox-relay/glance.h"

#include "outbox-relay/outbox_internal.h"
#include "util/arena.h"
#include "util/pg.h"

struct column {
	struct outbox *outbox;
	unsigned checks;		/* how often its table had been looked at */
};

struct glance {
	struct database *database;
	struct database_user user;
	struct outbox **outboxes;
	size_t count;
	struct column *columns;		/* of the statement, behind the first one */
	size_t column_count;		/* 0: nothing is prepared */
	unsigned prepared;		/* how often, for its name */
	bool asking;
	struct clock_mono sent;
	struct log_complaint complaint;
};

static void
begin_session(void *arg)
{
	struct glance *g = arg;

	g->column_count = 0;
	g->asking = false;
}

struct glance *
glance_new(struct database *database)
{
	struct glance *g = xcalloc(1, sizeof(*g));

	g->database = database;
	g->user = (struct database_user){ .up = begin_session, .down = begin_session, .arg = g };
	database_add_user(database, &g->user, NULL);
	return g;
}

void
glance_free(struct glance **gp)
{
	struct glance *g = *gp;

	*gp = NULL;
	if (g == NULL)
		return;
	free(g->outboxes);
	free(g->columns);
	free(g);
}

void
glance_add(struct glance *g, struct outbox *o)
{
	g->outboxes = xrealloc(g->outboxes, (g->count + 1) * sizeof(struct outbox *));
	g->columns = xrealloc(g->columns, (g->count + 1) * sizeof(*g->columns));
	g->outboxes[g->count++] = o;
}

static bool
has_news(const struct outbox *o, const struct pg_result *result, size_t column)
{
	const char *pid = pg_value(result, 0, 0), *file = pg_value(result, 0, (int)column + 1);

	/* Whatever is odd, its own look finds out. */
	return pid == NULL || strcmp(pid, o->backend_pid) != 0 ||
	    file == NULL || strcmp(file, o->file) != 0;
}

static void
answered(void *arg, struct pg_result **result, const struct pg_error *error)
{
	struct glance *g = arg;
	bool bad = error != NULL || pg_rows(*result) != 1 ||
	    pg_columns(*result) != (int)g->column_count + 1;
	size_t count = g->column_count;

	g->asking = false;
	if (bad) {
		log_complain(&g->complaint, LOG_LEVEL_INFO,
		    "could not look at all tables at once, so each is looked at: %s",
		    error == NULL ? "the answer cannot be understood" : error->text);
		g->column_count = 0;
	} else {
		log_recovered(&g->complaint, "all tables are looked at at once again");
	}
	for (size_t i = 0; i < count; i++) {
		struct outbox *o = g->columns[i].outbox;

		if (i == 0)
			outbox_took(o, clock_ms_between(g->sent, clock_mono_now()));
		outbox_glanced(o, bad || has_news(o, *result, i));
	}
}

static bool
is_prepared(const struct glance *g)
{
	size_t at = 0;

	for (size_t i = 0; i < g->count; i++) {
		const struct outbox *o = g->outboxes[i];

		if (o->state != OUTBOX_LEADING)
			continue;
		if (at == g->column_count || g->columns[at].outbox != o ||
		    g->columns[at].checks != o->checks)
			return false;
		at++;
	}
	return at == g->column_count;
}

/* If it fails so does its execution. */
static void
prepared(void *arg, struct pg_result **result, const struct pg_error *error)
{
	struct glance *g = arg;

	(void)result;
	if (error != NULL)
		log_complain(&g->complaint, LOG_LEVEL_INFO,
		    "could not prepare to look at all tables at once: %s", error->text);
}

static void
name_statement(const struct glance *g, char name[32])
{
	(void)snprintf(name, 32, "pawl_glance_%u", g->prepared);
}

static void
prepare(struct glance *g)
{
	struct buf sql = BUF_INIT;
	char name[32];

	buf_puts(&sql, "select pg_backend_pid()::text");
	g->column_count = 0;
	for (size_t i = 0; i < g->count; i++) {
		struct outbox *o = g->outboxes[i];

		if (o->state != OUTBOX_LEADING)
			continue;
		g->columns[g->column_count++] = (struct column){ o, o->checks };
		buf_printf(&sql,
		    ", (select case when asked.floor is not null then %s end"
		    " from (select ($1::int8[])[%zu] as floor) as asked)",
		    o->table.glance, g->column_count);
	}
	g->prepared++;
	name_statement(g, name);
	database_prepare(g->database, prepared, g, name, sql.data);
	buf_release(&sql);
}

bool
glance_look(struct glance *g, struct outbox *asker)
{
	struct buf floors = BUF_INIT;
	const char *values[1];
	char name[32];

	if (g->asking)
		return false;
	if (!is_prepared(g))
		prepare(g);
	g->sent = clock_mono_now();
	for (size_t i = 0; i < g->column_count; i++) {
		struct outbox *o = g->columns[i].outbox;

		buf_putc(&floors, i == 0 ? '{' : ',');
		if (o == asker || outbox_is_quiet(o)) {
			outbox_bell_look(o, g->sent);
			buf_printf(&floors, "%lld", (long long)o->reader.floor);
			o->reader.reading = READING_GLANCE;
			stats_add(&outbox_stats(o)->reads, 1);
		} else {
			buf_puts(&floors, "null");
		}
	}
	buf_putc(&floors, '}');
	values[0] = floors.data;
	g->asking = true;
	name_statement(g, name);
	database_execute(g->database, answered, g, name, 1, values);
	buf_release(&floors);
	return true;
}
