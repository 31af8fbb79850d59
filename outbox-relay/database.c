/*
 * database.c - see database.h. Warns when the session cannot be had or is lost; never ends the
 * process.
 */
#include "outbox-relay/database.h"

#include <assert.h>

#include "outbox-relay/dial.h"
#include "util/arena.h"
#include "util/backoff.h"
#include "util/buf.h"
#include "util/log.h"

enum {
	CONNECT_MS = 10000,
	STATEMENT_MS = 300000,		/* the server gives up: there may be many dead rows */
	ANSWER_MS = 330000,		/* we give up the server, whose kernel still answers */
	LOOK_MS = 200,
	KEEP_ALIVE_MS = 300,		/* a leader's last request may be as old as that */
	LEASE_MS = 1000,
	RETRY_FIRST_MS = 100,
	RETRY_MOST_MS = 15000,
	NAME_BYTES = 64,		/* NAMEDATALEN */
	SERVER_VERSION_MIN = 140000	/* idle_session_timeout */
};

enum database_state { DATABASE_DOWN, DATABASE_CONNECTING, DATABASE_CHECKING, DATABASE_UP };
static const char *const state_names[] = {
	[DATABASE_DOWN] = "down",
	[DATABASE_CONNECTING] = "connecting",
	[DATABASE_CHECKING] = "checking",
	[DATABASE_UP] = "up",
};

struct request {
	database_fn *fn;
	void *arg;
	struct clock_mono sent;
	struct pg_result *result;	/* its answer, until the sync behind it */
	struct pg_error *error;
};

struct database {
	struct loop *loop;
	const char *conninfo, *application_name;
	struct pg *pg;			/* closed unless checking or up */
	struct dial *dial;		/* connecting */
	enum database_state state;
	struct loop_watch *watch;
	int watched_fd;
	struct loop_timer timer; /* down: connect; connecting, checking: give up; up: keep alive */
	struct backoff backoff;
	struct log_complaint complaint;
	struct buf outboxes;		/* of the users: how the log knows this session */
	struct log_context context;
	struct database_user *users;
	struct request *requests;	/* a ring; first is the oldest that is not answered */
	size_t first, count, cap;
	bool sending;			/* since the last flush: the socket is not watched */
	database_tried_fn *tried;
	void *tried_arg;
	const char *more_columns;
	bool again;			/* the first attempt is over */
	size_t leaders;
	struct clock_mono lease_from;	/* the latest request that was answered was sent then */
	struct clock_mono last_sent;
	uint64_t sessions;
};

/*
 * The planner must take the primary key also where statistics of an empty table say otherwise, and
 * must not compare lists that we give it (which it takes for ten elements long) with each row.
 */
static const char *const settings[] = {
	"statement_timeout", "300s",
	"lock_timeout", "1s",		/* one locked table must not hold up the session's others */
	"default_transaction_isolation", "read committed",
	"enable_seqscan", "off",
	"enable_bitmapscan", "off",
	"enable_nestloop", "off",
	"jit", "off",
	"plan_cache_mode", "force_generic_plan",
	"max_parallel_workers_per_gather", "0",
	"client_connection_check_interval", "1s",
	/* What idle_session_timeout does not see: a leader that is cut off while it is answered. */
	"tcp_user_timeout", "2500",
	NULL
};

static void run_timer(void *arg);
static void on_socket(void *arg, unsigned events);

struct database *
database_new(struct loop *loop, const char *conninfo, const char *application_name)
{
	struct database *db = xcalloc(1, sizeof(*db));

	_Static_assert(STATEMENT_MS == 300000 && ANSWER_MS > STATEMENT_MS, "as in the settings");
	db->loop = loop;
	db->conninfo = conninfo;
	db->application_name = application_name;
	db->pg = pg_new(conninfo, application_name, settings);
	db->watched_fd = -1;
	buf_init(&db->outboxes);
	db->context = (struct log_context){ NULL, "outbox", db->outboxes.data };
	backoff_init(&db->backoff, RETRY_FIRST_MS, RETRY_MOST_MS);
	loop_timer_init(&db->timer, loop, run_timer, db);
	return db;
}

const char *
database_conninfo(const struct database *db)
{
	return db->conninfo;
}

void
database_add_user(struct database *db, struct database_user *user, const char *outbox)
{
	struct database_user **last = &db->users;

	if (outbox != NULL)
		buf_printf(&db->outboxes, "%s%s", db->outboxes.len == 0 ? "" : ",", outbox);
	db->context.value = db->outboxes.data;
	while (*last != NULL)
		last = &(*last)->next;
	user->next = NULL;
	*last = user;
}

bool
database_is_up(const struct database *db)
{
	return db->state == DATABASE_UP;
}

uint64_t
database_sessions(const struct database *db)
{
	return db->sessions;
}

void
database_tell(struct database *db, database_tried_fn *fn, void *arg, const char *columns_sql)
{
	db->tried = fn;
	db->tried_arg = arg;
	db->more_columns = columns_sql;
}

static void
tell_tried(struct database *db, const struct pg_result *result)
{
	bool again = db->again;

	db->again = true;
	if (db->tried != NULL)
		db->tried(db->tried_arg, result, again);
}

static void
set_state(struct database *db, enum database_state state)
{
	log_debug("database session: %s -> %s", state_names[db->state], state_names[state]);
	db->state = state;
}

/*
 * The socket may be closed by any call that reads, and one that sends reads when it fails. So it
 * leaves the loop before, and comes back after.
 */
static void
pause_watch(struct database *db)
{
	if (db->watch != NULL)
		loop_watch_events(db->watch, 0);
}

static void
resume_watch(struct database *db)
{
	int fd = pg_state(db->pg) == PG_DOWN ? -1 : pg_fd(db->pg);

	if (fd != db->watched_fd) {
		loop_unwatch(&db->watch);
		db->watched_fd = fd;
		if (fd >= 0)
			db->watch = loop_watch(db->loop, fd, pg_events(db->pg), on_socket, db);
	} else if (db->watch != NULL) {
		loop_watch_events(db->watch, pg_events(db->pg));
	}
}

static void
clear_answer(struct request *request)
{
	pg_result_free(&request->result);
	free(request->error);
	request->error = NULL;
}

static void
drop_requests(struct database *db)
{
	for (; db->count > 0; db->count--) {
		clear_answer(&db->requests[db->first]);
		db->first = (db->first + 1) % db->cap;
	}
}

/* pg is down already, or is closed here. */
static void
lost(struct database *db, const char *why)
{
	bool was_up = db->state == DATABASE_UP;

	log_complain(&db->complaint, LOG_LEVEL_WARNING, "%s: %s; trying again",
	    was_up ? "lost the database session" : "could not get a database session", why);
	pause_watch(db);
	pg_close(db->pg);
	resume_watch(db);
	drop_requests(db);
	db->sending = false;
	db->leaders = 0;
	set_state(db, DATABASE_DOWN);
	loop_timer_set_ms(&db->timer, backoff_next_ms(&db->backoff));
	if (!was_up)
		tell_tried(db, NULL);
	if (was_up)
		for (struct database_user *user = db->users; user != NULL; user = user->next)
			user->down(user->arg);
}

void
database_restart(struct database *db, const char *why)
{
	lost(db, why);
}

void
database_free(struct database **dbp)
{
	struct database *db = *dbp;

	*dbp = NULL;
	if (db == NULL)
		return;
	loop_timer_stop(&db->timer);
	pause_watch(db);
	loop_unwatch(&db->watch);
	dial_give_up(&db->dial);
	pg_free(&db->pg);
	drop_requests(db);
	free(db->requests);
	buf_release(&db->outboxes);
	free(db);
}

/* Requests. */

static void
begin_sending(struct database *db)
{
	pause_watch(db);
	db->sending = true;
}

static void
queue(struct database *db, database_fn *fn, void *arg, int sent)
{
	/*
	 * A session that failed takes nothing more; the next look at the socket finds that out, and
	 * then all requests are dropped.
	 */
	if (sent != 0 || pg_send_sync(db->pg) != 0)
		loop_timer_set_ms(&db->timer, 0);
	if (db->count == db->cap) {
		size_t cap = db->cap == 0 ? 16 : db->cap * 2;
		struct request *requests = xcalloc(cap, sizeof(*requests));

		for (size_t i = 0; i < db->count; i++)
			requests[i] = db->requests[(db->first + i) % db->cap];
		free(db->requests);
		db->requests = requests;
		db->first = 0;
		db->cap = cap;
	}
	db->last_sent = clock_mono_now();
	db->requests[(db->first + db->count++) % db->cap] =
	    (struct request){ .fn = fn, .arg = arg, .sent = db->last_sent };
}

void
database_query(struct database *db, database_fn *fn, void *arg, const char *sql, int n,
    const char *const *values)
{
	begin_sending(db);
	queue(db, fn, arg, pg_send_query(db->pg, sql, n, values));
}

void
database_prepare(struct database *db, database_fn *fn, void *arg, const char *name, const char *sql)
{
	begin_sending(db);
	queue(db, fn, arg, pg_send_prepare(db->pg, name, sql));
}

void
database_execute(struct database *db, database_fn *fn, void *arg, const char *name, int n,
    const char *const *values)
{
	begin_sending(db);
	queue(db, fn, arg, pg_send_prepared(db->pg, name, n, values));
}

void
database_flush(struct database *db)
{
	if (!db->sending)
		return;
	db->sending = false;
	pg_flush(db->pg);
	resume_watch(db);
	if (db->watch == NULL)
		loop_timer_set_ms(&db->timer, 0);
}

/* The unit of the oldest request is over. */
static void
answer(struct database *db)
{
	struct request request = db->requests[db->first];

	db->first = (db->first + 1) % db->cap;
	db->count--;
	db->lease_from = request.sent;
	if (request.fn != NULL)
		request.fn(request.arg, &request.result, request.error);
	else if (request.error != NULL)
		log_warning("a statement failed: %s", request.error->text);
	clear_answer(&request);
}

/* Everything that has arrived. */
static void
read_answers(struct database *db)
{
	struct pg_result *result = NULL;
	struct pg_error error;

	for (;;) {
		struct request *request = db->count == 0 ? NULL : &db->requests[db->first];

		switch (pg_next(db->pg, &result, &error)) {
		case PG_NOTHING:
			return;
		case PG_ROWS:
		case PG_COMMAND:
			assert(request != NULL);
			pg_result_free(&request->result);
			request->result = result;
			break;
		case PG_ERROR:
			assert(request != NULL);
			free(request->error);
			request->error = xmalloc(sizeof(*request->error));
			*request->error = error;
			break;
		case PG_SKIPPED:
			break;
		case PG_SYNC:
			assert(request != NULL);
			answer(db);
			if (db->state == DATABASE_DOWN)
				return;		/* the answer made somebody give the session up */
			break;
		case PG_LOST:
			lost(db, error.text);
			return;
		}
	}
}

static void
read_notifications(struct database *db)
{
	char channel[NAME_BYTES];

	while (pg_notification(db->pg, channel, sizeof(channel)))
		for (struct database_user *user = db->users; user != NULL; user = user->next)
			if (user->notified != NULL)
				user->notified(user->arg, channel);
}

/* Connecting. */

static void
checked(void *arg, struct pg_result **result, const struct pg_error *error)
{
	struct database *db = arg;

	if (error != NULL) {
		lost(db, error->text);
		return;
	}
	if (pg_rows(*result) != 1 || pg_value(*result, 0, 0) == NULL ||
	    strcmp(pg_value(*result, 0, 0), "f") != 0) {
		lost(db, "the server is a standby, which gives no events away; name the primary, or"
		    " several hosts and target_session_attrs=read-write");
		return;
	}
	tell_tried(db, *result);
	set_state(db, DATABASE_UP);
	db->sessions++;
	backoff_reset(&db->backoff);
	log_recovered(&db->complaint, "the database session is back");
	loop_timer_set_ms(&db->timer, LOOK_MS);
	for (struct database_user *user = db->users; user != NULL; user = user->next)
		user->up(user->arg);
}

static void
connected(struct database *db)
{
	struct buf sql = BUF_INIT;

	if (pg_server_version(db->pg) < SERVER_VERSION_MIN) {
		lost(db, "the server is too old; PostgreSQL 14 or newer is needed");
		return;
	}
	set_state(db, DATABASE_CHECKING);
	buf_puts(&sql, "select pg_is_in_recovery()");
	if (db->more_columns != NULL)
		buf_printf(&sql, ", %s", db->more_columns);
	database_query(db, checked, db, sql.data, 0, NULL);
	buf_release(&sql);
	pg_flush(db->pg);
}

static void
dialled(void *arg, unsigned events)
{
	struct database *db = arg;
	const struct log_context *former = log_push(&db->context);
	struct pg_error error;
	struct pg *pg;

	(void)events;
	loop_unwatch(&db->watch);
	pg = dial_finish(&db->dial, &error);
	if (pg == NULL) {
		lost(db, error.text);
	} else {
		pg_free(&db->pg);
		db->pg = pg;
		loop_timer_set_ms(&db->timer, CONNECT_MS);
		connected(db);
		resume_watch(db);
	}
	log_pop(former);
}

void
database_start(struct database *db)
{
	set_state(db, DATABASE_CONNECTING);
	db->dial = dial_start(pg_new(db->conninfo, db->application_name, settings), CONNECT_MS,
	    db->context.value);
	db->watch = loop_watch(db->loop, dial_fd(db->dial), LOOP_READ, dialled, db);
	loop_timer_set_ms(&db->timer, CONNECT_MS + LOOK_MS);
}

static void
pump(struct database *db)
{
	struct pg_error error;

	pause_watch(db);
	if (pg_step(db->pg, &error) != 0) {
		lost(db, error.text);
		return;
	}
	read_answers(db);
	read_notifications(db);
	resume_watch(db);
}

static void
on_socket(void *arg, unsigned events)
{
	struct database *db = arg;
	const struct log_context *former = log_push(&db->context);

	(void)events;
	pump(db);
	log_pop(former);
}

static void
time_is_over(struct database *db)
{
	struct clock_mono now = clock_mono_now();

	switch (db->state) {
	case DATABASE_DOWN:
		database_start(db);
		return;
	case DATABASE_CONNECTING:
		/* One thread at a time: it is waited for, for as long as it takes. */
		log_complain(&db->complaint, LOG_LEVEL_WARNING, "could not get a database session"
		    " yet: looking up the name of its host takes long");
		loop_timer_set_ms(&db->timer, CONNECT_MS);
		return;
	case DATABASE_CHECKING:
		lost(db, "the server did not answer in time");
		return;
	case DATABASE_UP:
		break;
	}
	if (db->count > 0 && clock_ms_between(db->requests[db->first].sent, now) > ANSWER_MS) {
		lost(db, "the server did not answer in time");
		return;
	}
	loop_timer_set_ms(&db->timer, LOOK_MS);
	if (db->leaders > 0 && db->count == 0 &&
	    clock_ms_between(db->last_sent, now) >= KEEP_ALIVE_MS) {
		database_query(db, NULL, NULL, "select", 0, NULL);
		database_flush(db);
	}
	pump(db);	/* finds a session that broke while sending */
}

static void
run_timer(void *arg)
{
	struct database *db = arg;
	const struct log_context *former = log_push(&db->context);

	time_is_over(db);
	log_pop(former);
}

void
database_lead(struct database *db, bool lead)
{
	assert(lead || db->leaders > 0);
	if (lead)
		db->leaders++;
	else
		db->leaders--;
}

size_t
database_leaders(const struct database *db)
{
	return db->leaders;
}

bool
database_lease(const struct database *db, struct clock_mono now)
{
	return db->state == DATABASE_UP && clock_ms_between(db->lease_from, now) < LEASE_MS;
}
