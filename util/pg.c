/*
 * pg.c - one PostgreSQL session: connecting, settings, pumping bytes, losing it.
 *
 * The session is non-blocking and in pipeline mode from log-in to close (pg_pipeline.c). Settings
 * are made by one set_config() query at log-in and not by the start-up packet: pgbouncer refuses or
 * drops what it does not know there, and the user's own "options" stay. Looking up a host name is
 * libpq's and can block: use hostaddr, or connect in a thread, where that matters.
 */
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include "util/pg_internal.h"
#include "util/arena.h"
#include "util/buf.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/loop.h"

enum {
	SETTINGS_MAX = 32,
	ENCRYPTED_READS = 3	/* libpq may take a part of a TLS record; poll() does not see the rest */
};

static void
on_notice(void *arg, const PGresult *result)
{
	struct pg *pg = arg;
	const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
	struct pg_error error;

	pg_error_from_result(&error, result);
	if (error.lost)
		pg->last_words = error;		/* the reason of the end of file that follows */
	else if (severity != NULL && strcmp(severity, "WARNING") == 0)
		log_warning("the database warns: %s", error.text);
	else
		log_debug("the database says: %s", error.text);
}

struct pg *
pg_new(const char *conninfo, const char *application_name, const char *const *settings)
{
	struct pg *pg = xcalloc(1, sizeof(*pg));

	pg->conninfo = xstrdup(conninfo);
	pg->application_name = xstrdup(application_name);
	while (settings != NULL && settings[2 * pg->setting_count] != NULL)
		pg->setting_count++;
	assert(pg->setting_count <= SETTINGS_MAX);
	pg->settings = xcalloc(2 * pg->setting_count + 1, sizeof(*pg->settings));
	for (size_t i = 0; i < 2 * pg->setting_count; i++)
		pg->settings[i] = xstrdup(settings[i]);
	return pg;
}

void
pg_free(struct pg **pgp)
{
	struct pg *pg = *pgp;

	*pgp = NULL;
	if (pg == NULL)
		return;
	PQfinish(pg->conn);
	for (size_t i = 0; i < 2 * pg->setting_count; i++)
		free(pg->settings[i]);
	free(pg->settings);
	free(pg->application_name);
	free(pg->conninfo);
	free(pg);
}

int
pg_conninfo_check(const char *conninfo, char *error, size_t error_size)
{
	char *text = NULL;
	PQconninfoOption *options = PQconninfoParse(conninfo, &text);

	if (options != NULL) {
		PQconninfoFree(options);
		return 0;
	}
	if (text == NULL || pg_conninfo_may_hold_password(conninfo))
		(void)snprintf(error, error_size,
		    "is no connection string (it may hold a password, so it is not shown)");
	else
		pg_error_one_line(error, error_size, text);
	PQfreemem(text);
	return -1;
}

static const char *
option(const PQconninfoOption *options, const char *name)
{
	for (; options != NULL && options->keyword != NULL; options++)
		if (strcmp(options->keyword, name) == 0 && options->val != NULL)
			return options->val;
	return "";
}

/*
 * libpq looks up services and defaults in PQconnectStart() only. An option that it refuses, and
 * that goes over the string's own, keeps it from connecting; what it made of the string stays.
 */
void
pg_conninfo_server(const char *conninfo, char *server, size_t server_size, char *user,
    size_t user_size)
{
	const char *const names[] = { "dbname", "target_session_attrs", NULL };
	const char *const values[] = { conninfo, "none: only a question", NULL };
	PGconn *conn = PQconnectStartParams(names, values, 1);
	PQconninfoOption *options = PQconninfo(conn);
	const char *host = option(options, "host"), *address = option(options, "hostaddr");

	(void)snprintf(user, user_size, "%s", option(options, "user"));
	(void)snprintf(server, server_size, "\"%s%s%s\" port %s", host,
	    *host != '\0' && *address != '\0' ? " " : "", address, option(options, "port"));
	PQconninfoFree(options);
	PQfinish(conn);
}

void
pg_close(struct pg *pg)
{
	PQfinish(pg->conn);
	pg->conn = NULL;
	pg->state = PG_DOWN;
	pg->pending = 0;
	pg->settling = pg->broken = pg->want_write = pg->between = false;
}

int
pg_lose(struct pg *pg, const struct pg_error *error)
{
	pg->why = *error;
	pg_close(pg);
	return -1;
}

int
pg_connect_start(struct pg *pg, struct pg_error *error)
{
	/* What stands before "dbname" yields to the connection string, what stands behind it
	 * does not. */
	const char *const names[] = {
		"keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout",
		"fallback_application_name", "dbname", "client_encoding", NULL
	};
	const char *const values[] = {
		"30", "10", "3", "30000", pg->application_name,
		pg->conninfo, "UTF8", NULL
	};

	pg_close(pg);
	pg_error_clear(&pg->last_words);
	pg->conn = PQconnectStartParams(names, values, 1);
	if (pg->conn == NULL || PQstatus(pg->conn) == CONNECTION_BAD) {
		char text[256];

		pg_error_from_conn(error, pg);
		if (pg_conninfo_check(pg->conninfo, text, sizeof(text)) != 0)
			pg_error_local(error, text);
		return pg_lose(pg, error);
	}
	(void)PQsetNoticeReceiver(pg->conn, on_notice, pg);
	pg->polling = PGRES_POLLING_WRITING;
	pg->state = PG_CONNECTING;
	return 0;
}

enum pg_state
pg_state(const struct pg *pg)
{
	return pg->state;
}

int
pg_fd(const struct pg *pg)
{
	return pg->conn == NULL ? -1 : PQsocket(pg->conn);
}

unsigned
pg_events(const struct pg *pg)
{
	if (pg->state == PG_DOWN)
		return 0;
	if (pg->state == PG_CONNECTING && !pg->settling)
		return pg->polling == PGRES_POLLING_READING ? LOOP_READ : LOOP_WRITE;
	return LOOP_READ | (pg->want_write ? LOOP_WRITE : 0);
}

void
pg_flush(struct pg *pg)
{
	int left;

	if (pg->conn == NULL || pg->broken || !pg->want_write)
		return;
	left = PQflush(pg->conn);
	pg->broken = left < 0;
	pg->want_write = left > 0;
}

int
pg_pump(struct pg *pg)
{
	int reads = PQsslInUse(pg->conn) || PQgssEncInUse(pg->conn) ? ENCRYPTED_READS : 1;
	int left;

	if (pg->broken)
		return -1;
	for (int i = 0; i < reads; i++)
		if (PQconsumeInput(pg->conn) == 0)
			pg->broken = true;
	left = pg->broken ? -1 : PQflush(pg->conn);
	if (left < 0 || PQstatus(pg->conn) == CONNECTION_BAD)
		pg->broken = true;
	pg->want_write = left > 0;
	return pg->broken ? -1 : 0;
}

static int
send_settings(struct pg *pg)
{
	const char *values[2 * SETTINGS_MAX];
	struct buf sql = BUF_INIT;
	int sent;

	buf_puts(&sql, "select ");
	for (size_t i = 0; i < pg->setting_count; i++) {
		buf_printf(&sql, "%spg_catalog.set_config($%zu, $%zu, false)", i == 0 ? "" : ", ",
		    2 * i + 1, 2 * i + 2);
		values[2 * i] = pg->settings[2 * i];
		values[2 * i + 1] = pg->settings[2 * i + 1];
	}
	sent = pg_send_query(pg, sql.data, (int)(2 * pg->setting_count), values);
	if (sent == 0)
		sent = pg_send_sync(pg);
	buf_release(&sql);
	return sent;
}

static bool
socket_ready(int fd, PostgresPollingStatusType polling)
{
	struct pollfd p = {
		.fd = fd, .events = polling == PGRES_POLLING_READING ? POLLIN : POLLOUT
	};

	return fd < 0 || poll(&p, 1, 0) > 0;
}

/* The first part of a session, up to the log-in. */
static int
step_dialling(struct pg *pg, struct pg_error *error)
{
	if (!socket_ready(PQsocket(pg->conn), pg->polling))
		return 0;
	pg->polling = PQconnectPoll(pg->conn);
	if (pg->polling == PGRES_POLLING_FAILED) {
		pg_error_from_conn(error, pg);
		return pg_lose(pg, error);
	}
	if (pg->polling != PGRES_POLLING_OK)
		return 0;
	if (PQsetnonblocking(pg->conn, 1) != 0 || PQenterPipelineMode(pg->conn) != 1) {
		pg_error_from_conn(error, pg);
		return pg_lose(pg, error);
	}
	pg->state = PG_READY;
	if (pg->setting_count == 0)
		return 0;
	if (send_settings(pg) != 0) {
		pg_error_from_conn(error, pg);
		return pg_lose(pg, error);
	}
	pg->state = PG_CONNECTING;
	pg->settling = true;
	return 0;
}

/* The second: the answer to the settings. */
static int
step_settling(struct pg *pg, struct pg_error *error)
{
	struct pg_error refused;
	bool bad = false;

	(void)pg_pump(pg);
	for (;;) {
		struct pg_result *result = NULL;

		switch (pg_next(pg, &result, error)) {
		case PG_NOTHING:
			return 0;
		case PG_SYNC:
			if (bad) {
				*error = refused;
				return pg_lose(pg, error);
			}
			pg->settling = false;
			pg->state = PG_READY;
			return 0;
		case PG_LOST:
			return -1;
		case PG_ERROR:
			refused = *error;
			refused.class = PG_CLASS_ENVIRONMENT;
			refused.lost = bad = true;
			break;
		case PG_ROWS:
		case PG_COMMAND:
		case PG_SKIPPED:
			pg_result_free(&result);
			break;
		}
	}
}

int
pg_step(struct pg *pg, struct pg_error *error)
{
	if (pg->state == PG_DOWN) {
		*error = pg->why;
		return -1;
	}
	if (pg->state == PG_CONNECTING)
		return pg->settling ? step_settling(pg, error) : step_dialling(pg, error);
	if (pg_pump(pg) == 0)
		return 0;
	if (pg->pending > 0 && PQisBusy(pg->conn) == 0)
		return 0;	/* what came before the loss is read first, then pg_next() says PG_LOST */
	pg_error_from_conn(error, pg);
	return pg_lose(pg, error);
}

int
pg_wait(struct pg *pg, int64_t timeout_ms, struct pg_error *error)
{
	struct clock_mono deadline = clock_mono_after_ms(clock_mono_now(), timeout_ms);
	struct pollfd p = { .fd = pg_fd(pg) };
	unsigned events;
	int ready;

	pg_flush(pg);
	if (p.fd < 0 || pg->broken)
		return pg_step(pg, error);
	events = pg_events(pg);
	p.events = (short)((events & LOOP_READ ? POLLIN : 0) | (events & LOOP_WRITE ? POLLOUT : 0));
	do {
		int64_t left = clock_ms_between(clock_mono_now(), deadline);

		ready = poll(&p, 1, left < 0 ? 0 : left > INT32_MAX ? INT32_MAX : (int)left);
	} while (ready < 0 && errno == EINTR);
	if (ready == 0)
		return 1;
	return pg_step(pg, error);
}

int
pg_connect(struct pg *pg, int64_t timeout_ms, struct pg_error *error)
{
	struct clock_mono deadline = clock_mono_after_ms(clock_mono_now(), timeout_ms);

	if (pg_connect_start(pg, error) != 0)
		return -1;
	while (pg_state(pg) == PG_CONNECTING) {
		int64_t left = clock_ms_between(clock_mono_now(), deadline);

		if (left <= 0) {
			pg_error_local(
			    error, "could not connect to the database: no answer in time");
			return pg_lose(pg, error);
		}
		if (pg_wait(pg, left, error) < 0)
			return -1;
	}
	return 0;
}

int
pg_server_version(const struct pg *pg)
{
	return pg->conn == NULL ? 0 : PQserverVersion(pg->conn);
}

int
pg_backend_pid(const struct pg *pg)
{
	return pg->conn == NULL ? 0 : PQbackendPID(pg->conn);
}

char
pg_transaction(const struct pg *pg)
{
	switch (pg->conn == NULL ? PQTRANS_UNKNOWN : PQtransactionStatus(pg->conn)) {
	case PQTRANS_IDLE: return 'I';
	case PQTRANS_INTRANS: return 'T';
	case PQTRANS_INERROR: return 'E';
	case PQTRANS_ACTIVE: return 'A';
	case PQTRANS_UNKNOWN: break;
	}
	return '?';
}
