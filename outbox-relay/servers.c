/*
 * servers.c - see servers.h.
 */
#include "outbox-relay/servers.h"

#include "common/budget.h"
#include "util/arena.h"
#include "util/log.h"

enum { WAIT_MS = 1000 };	/* for the first session of a server: then the others begin, too */

struct place {
	struct servers *servers;
	struct database *database;
	size_t account;
	bool first;			/* of its account */
	bool started;
};

struct servers {
	struct budget budget;
	struct place **places;
	size_t count;
	struct loop_timer timer;
	void (*refuse)(void *arg, const char *error);
	void *arg;
};

static void
start(struct place *place)
{
	if (!place->started)
		database_start(place->database);
	place->started = true;
}

static void
start_all(void *arg)
{
	struct servers *s = arg;

	for (size_t i = 0; i < s->count; i++)
		start(s->places[i]);
}

static void
tried(void *arg, const struct pg_result *result, bool again)
{
	struct place *place = arg;
	struct servers *s = place->servers;
	char error[1024];

	if (result != NULL && budget_check(&s->budget, place->account, result, DATABASE_MORE,
				  error, sizeof(error)) != 0) {
		if (!again) {
			s->refuse(s->arg, error);
			return;
		}
		log_error("%s", error);
	}
	for (size_t i = 0; i < s->count; i++)
		if (s->places[i]->account == place->account)
			start(s->places[i]);
}

struct servers *
servers_new(struct loop *loop, void (*refuse)(void *arg, const char *error), void *arg)
{
	struct servers *s = xcalloc(1, sizeof(*s));

	s->budget = (struct budget)BUDGET_INIT;
	s->refuse = refuse;
	s->arg = arg;
	loop_timer_init(&s->timer, loop, start_all, s);
	return s;
}

void
servers_free(struct servers **sp)
{
	struct servers *s = *sp;

	*sp = NULL;
	if (s == NULL)
		return;
	loop_timer_stop(&s->timer);
	budget_release(&s->budget);
	for (size_t i = 0; i < s->count; i++)
		free(s->places[i]);
	free(s->places);
	free(s);
}

void
servers_add(struct servers *s, struct database *database)
{
	struct place *place = xcalloc(1, sizeof(*place));
	size_t accounts = s->budget.count;

	place->servers = s;
	place->database = database;
	place->account = budget_add(&s->budget, database_conninfo(database));
	place->first = s->budget.count > accounts;
	database_tell(database, tried, place, budget_columns_sql);
	s->places = xrealloc(s->places, (s->count + 1) * sizeof(struct place *));
	s->places[s->count++] = place;
}

void
servers_start(struct servers *s)
{
	for (size_t i = 0; i < s->count; i++)
		if (s->places[i]->first)
			start(s->places[i]);
	loop_timer_set_ms(&s->timer, WAIT_MS);
}
