/*
 * pg_pipeline.c - requests and answers of a session in pipeline mode, and the two calls that wait
 * for theirs.
 *
 * libpq gives the result of a request, then NULL, then the next; a sync has no NULL. pg_next()
 * hides that: one answer a call. Answers are parsed from what has already been received; only
 * pg_step() reads from the socket.
 */
#include <assert.h>
#include "util/pg_internal.h"
#include "util/clock.h"

static int
sent(struct pg *pg, int ok)
{
	if (ok != 1) {
		pg->broken = true;
		return -1;
	}
	pg->pending++;
	pg->want_write = true;
	if (pg->state == PG_READY)
		pg->state = PG_BUSY;
	return 0;
}

static bool
can_send(const struct pg *pg)
{
	return pg->conn != NULL && !pg->broken && (pg->state == PG_READY || pg->state == PG_BUSY);
}

int
pg_send_sync(struct pg *pg)
{
	if (!can_send(pg))
		return -1;
#ifdef LIBPQ_HAS_SEND_PIPELINE_SYNC
	return sent(pg, PQsendPipelineSync(pg->conn));
#else
	if (sent(pg, PQpipelineSync(pg->conn)) != 0)
		return -1;
	pg_flush(pg);		/* it has been: this is to know whether something is left */
	return 0;
#endif
}

int
pg_send_query(struct pg *pg, const char *sql, int n, const char *const *values)
{
	if (!can_send(pg))
		return -1;
	return sent(pg, PQsendQueryParams(pg->conn, sql, n, NULL, values, NULL, NULL, 0));
}

int
pg_send_prepare(struct pg *pg, const char *name, const char *sql)
{
	if (!can_send(pg))
		return -1;
	return sent(pg, PQsendPrepare(pg->conn, name, sql, 0, NULL));
}

int
pg_send_describe(struct pg *pg, const char *name)
{
	if (!can_send(pg))
		return -1;
	return sent(pg, PQsendDescribePrepared(pg->conn, name));
}

int
pg_send_prepared(struct pg *pg, const char *name, int n, const char *const *values)
{
	if (!can_send(pg))
		return -1;
	return sent(pg, PQsendQueryPrepared(pg->conn, name, n, values, NULL, NULL, 0));
}

size_t
pg_pending(const struct pg *pg)
{
	return pg->pending;
}

static void
answered(struct pg *pg, bool sync)
{
	pg->between = !sync;
	pg->pending--;
	if (pg->pending == 0 && pg->state == PG_BUSY)
		pg->state = PG_READY;
}

static enum pg_answer
gone(struct pg *pg, struct pg_error *error)
{
	pg_error_from_conn(error, pg);
	(void)pg_lose(pg, error);
	return PG_LOST;
}

/* The next result that is no separator. NULL: none is here. */
static PGresult *
next_result(struct pg *pg)
{
	/* One NULL ends the request before; a second one in a row means that libpq has nothing
	 * more. */
	for (int nulls = 0; nulls < 2 + pg->between && PQisBusy(pg->conn) == 0; nulls++) {
		PGresult *result = PQgetResult(pg->conn);

		if (result != NULL)
			return result;
		pg->between = false;
	}
	return NULL;
}

enum pg_answer
pg_next(struct pg *pg, struct pg_result **out, struct pg_error *error)
{
	PGresult *result;

	*out = NULL;
	if (pg->conn == NULL) {
		*error = pg->why;
		return PG_LOST;
	}
	if (pg->pending == 0) {
		while (pg->between && PQisBusy(pg->conn) == 0 && PQgetResult(pg->conn) == NULL)
			pg->between = false;
		return pg->broken ? gone(pg, error) : PG_NOTHING;
	}
	result = next_result(pg);
	if (result == NULL)
		return pg->broken ? gone(pg, error) : PG_NOTHING;

	switch (PQresultStatus(result)) {
	case PGRES_TUPLES_OK:
		answered(pg, false);
		*out = (struct pg_result *)result;
		return PG_ROWS;
	case PGRES_COMMAND_OK:
	case PGRES_EMPTY_QUERY:
		answered(pg, false);
		*out = (struct pg_result *)result;
		return PG_COMMAND;
	case PGRES_PIPELINE_SYNC:
		PQclear(result);
		answered(pg, true);
		return PG_SYNC;
	case PGRES_PIPELINE_ABORTED:
		PQclear(result);
		answered(pg, false);
		return PG_SKIPPED;
	case PGRES_FATAL_ERROR:
		pg_error_from_result(error, result);
		PQclear(result);
		if (error->lost || PQstatus(pg->conn) == CONNECTION_BAD) {
			error->lost = true;
			error->class = PG_CLASS_ENVIRONMENT;
			(void)pg_lose(pg, error);
			return PG_LOST;
		}
		answered(pg, false);
		return PG_ERROR;
	case PGRES_COPY_OUT:
	case PGRES_COPY_IN:
	case PGRES_COPY_BOTH:
	case PGRES_BAD_RESPONSE:
	case PGRES_NONFATAL_ERROR:
	case PGRES_SINGLE_TUPLE:
	default:
		PQclear(result);
		pg_error_local(error,
		    "cannot go on with this session: COPY, or an answer that libpq does not know");
		(void)pg_lose(pg, error);
		return PG_LOST;
	}
}

bool
pg_notification(struct pg *pg, char *channel, size_t size)
{
	PGnotify *notify = pg->conn == NULL ? NULL : PQnotifies(pg->conn);

	if (notify == NULL)
		return false;
	(void)snprintf(channel, size, "%s", notify->relname);
	PQfreemem(notify);
	return true;
}

static const PGresult *
pg_result_of(const struct pg_result *result)
{
	return (const PGresult *)result;
}

int
pg_rows(const struct pg_result *result)
{
	return PQntuples(pg_result_of(result));
}

int
pg_columns(const struct pg_result *result)
{
	return PQnfields(pg_result_of(result));
}

const char *
pg_value(const struct pg_result *result, int row, int column)
{
	const PGresult *r = pg_result_of(result);

	assert(row >= 0 && row < PQntuples(r) && column >= 0 && column < PQnfields(r));
	return PQgetisnull(r, row, column) ? NULL : PQgetvalue(r, row, column);
}

size_t
pg_value_len(const struct pg_result *result, int row, int column)
{
	const PGresult *r = pg_result_of(result);

	assert(row >= 0 && row < PQntuples(r) && column >= 0 && column < PQnfields(r));
	return (size_t)PQgetlength(r, row, column);
}

int64_t
pg_affected(const struct pg_result *result)
{
	/* PQcmdTuples wants a pointer to non-const and does not write through it. */
	union { const struct pg_result *in; PGresult *out; } u = { .in = result };

	return strtoll(PQcmdTuples(u.out), NULL, 10);
}

const char *
pg_command_tag(const struct pg_result *result)
{
	union { const struct pg_result *in; PGresult *out; } u = { .in = result };

	return PQcmdStatus(u.out);
}

int
pg_result_params(const struct pg_result *result)
{
	return PQnparams(pg_result_of(result));
}

void
pg_result_free(struct pg_result **resultp)
{
	PQclear((PGresult *)*resultp);
	*resultp = NULL;
}

/* -1 and the session is closed when the time is over: what it would answer later could not be
 * told apart. */
static int
wait_until(struct pg *pg, struct clock_mono deadline, struct pg_error *error)
{
	int64_t left = clock_ms_between(clock_mono_now(), deadline);

	if (left <= 0) {
		pg_error_local(error, "the database did not answer in time");
		return pg_lose(pg, error);
	}
	return pg_wait(pg, left, error) < 0 ? -1 : 0;
}

int
pg_query(struct pg *pg, int64_t timeout_ms, struct pg_result **out, struct pg_error *error,
    const char *sql, int n, const char *const *values)
{
	struct clock_mono deadline = clock_mono_after_ms(clock_mono_now(), timeout_ms);
	struct pg_result *kept = NULL;
	struct pg_error first;
	bool failed = false;

	assert(pg->pending == 0);
	pg_error_clear(error);
	pg_error_clear(&first);
	if (out != NULL)
		*out = NULL;
	if (pg_send_query(pg, sql, n, values) != 0 || pg_send_sync(pg) != 0) {
		if (pg->conn == NULL)
			*error = pg->why;
		else
			(void)gone(pg, error);
		return -1;
	}
	for (;;) {
		struct pg_result *result = NULL;

		switch (pg_next(pg, &result, error)) {
		case PG_NOTHING:
			if (wait_until(pg, deadline, error) != 0) {
				pg_result_free(&kept);
				return -1;
			}
			break;
		case PG_ROWS:
		case PG_COMMAND:
			kept = result;
			break;
		case PG_ERROR:
			failed = true;
			first = *error;
			break;
		case PG_SKIPPED:
			break;
		case PG_LOST:
			pg_result_free(&kept);
			return -1;
		case PG_SYNC:
			if (failed) {
				*error = first;
				return -1;
			}
			if (out != NULL)
				*out = kept;
			else
				pg_result_free(&kept);
			return 0;
		}
	}
}

int
pg_script(struct pg *pg, int64_t timeout_ms, struct pg_error *error, const char *sql)
{
	struct clock_mono deadline = clock_mono_after_ms(clock_mono_now(), timeout_ms);
	PGresult *result;
	bool failed = false;

	assert(pg->pending == 0);
	pg_error_clear(error);
	while (pg->conn != NULL && pg->between && PQgetResult(pg->conn) == NULL)
		pg->between = false;
	if (!can_send(pg) || PQexitPipelineMode(pg->conn) != 1 || PQsendQuery(pg->conn, sql) != 1) {
		if (pg->conn == NULL)
			*error = pg->why;
		else
			(void)gone(pg, error);
		return -1;
	}
	pg->want_write = true;
	do {
		while (PQisBusy(pg->conn) != 0)
			if (wait_until(pg, deadline, error) != 0)
				return -1;
		result = PQgetResult(pg->conn);
		if (result == NULL)
			break;
		if (PQresultStatus(result) == PGRES_FATAL_ERROR && !failed) {
			pg_error_from_result(error, result);
			failed = true;
		} else if (PQresultStatus(result) == PGRES_COPY_IN ||
		    PQresultStatus(result) == PGRES_COPY_OUT) {
			pg_error_local(error, "cannot run COPY from a script");
			PQclear(result);
			return pg_lose(pg, error);
		}
		PQclear(result);
	} while (PQstatus(pg->conn) == CONNECTION_OK);
	if (PQstatus(pg->conn) != CONNECTION_OK || PQenterPipelineMode(pg->conn) != 1) {
		if (!failed)
			pg_error_from_conn(error, pg);
		error->lost = true;
		return pg_lose(pg, error);
	}
	return failed ? -1 : 0;
}
