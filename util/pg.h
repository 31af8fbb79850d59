/*
 * pg.h - one PostgreSQL session, never blocking. libpq's types and memory do not leave pg*.c.
 *
 * Two ways to wait: a program with an event loop watches pg_fd() for pg_events() and calls pg_step(); a program without one calls
 * pg_wait(), which polls. A failure never ends the process: it is a struct pg_error with its class.
 */
#ifndef PAWL_UTIL_PG_H
#define PAWL_UTIL_PG_H
#include <stdbool.h>
#include <stdint.h>
#include "util/attr.h"
#include "util/slice.h"

/* What an error means for whoever caused it (design.md section 5). */
enum pg_class {
	PG_CLASS_NONE = 0,
	PG_CLASS_ENVIRONMENT,		/* 08, 53, 57P, 58, XX, 25006, lost connection: nobody's fault, try later */
	PG_CLASS_DEADLOCK,		/* 40P01 */
	PG_CLASS_SERIALIZATION,		/* 40001, 55P03: repeat a few times */
	PG_CLASS_TIMEOUT,		/* 57014 */
	PG_CLASS_STALE,			/* 26000, 0A000 "cached plan must not change result type": prepare again */
	PG_CLASS_DATA,			/* 22: this message will never work */
	PG_CLASS_STATEMENT,		/* 42: the statement, or the schema it expects */
	PG_CLASS_MESSAGE		/* 23, P0, all others: by policy */
};
struct pg_error {
	enum pg_class class;
	bool lost;			/* the session is gone */
	char sqlstate[6];		/* "" when the server did not say one (connection lost: EOF) */
	char text[1024];		/* primary message, detail, constraint/table names; one line, control characters escaped */
};
enum pg_class pg_class_of(const char *sqlstate) ATTR_NONNULL;
const char *pg_class_text(enum pg_class);
void	pg_error_set(struct pg_error *, enum pg_class, const char *fmt, ...) ATTR_PRINTF(3, 4);	/* one of our own, without SQLSTATE; not lost */

enum pg_state { PG_DOWN, PG_CONNECTING, PG_READY, PG_BUSY };
struct pg;
/* conninfo as libpq takes it; application_name is added when conninfo has none. settings: pairs "name", "value", NULL-terminated, made by one
 * query before PG_READY; copied, as all texts. Added unless conninfo says otherwise: TCP keepalives, tcp_user_timeout 30 s. client_encoding is UTF8. */
struct pg *pg_new(const char *conninfo, const char *application_name, const char *const *settings);
void	pg_free(struct pg **);
int	pg_conninfo_check(const char *conninfo, char *error, size_t error_size) ATTR_MUST_CHECK;	/* syntax only */

/* Where it leads to, after services, environment and defaults, for people and for comparing: "HOST" port PORT; and as whom. Nothing is
 * connected. Empty if it is not good. */
void	pg_conninfo_server(const char *conninfo, char *server, size_t server_size, char *user, size_t user_size) ATTR_NONNULL;

int	pg_connect_start(struct pg *, struct pg_error *) ATTR_MUST_CHECK ATTR_NONNULL;
enum pg_state pg_state(const struct pg *) ATTR_NONNULL;
int	pg_fd(const struct pg *) ATTR_NONNULL;			/* may change while connecting: ask again after each step */
unsigned pg_events(const struct pg *) ATTR_NONNULL;		/* LOOP_READ | LOOP_WRITE wanted now */
/* Does what can be done without waiting: connect, send, receive. -1: lost (error filled), pg_state is PG_DOWN. */
int	pg_step(struct pg *, struct pg_error *) ATTR_MUST_CHECK ATTR_NONNULL;
int	pg_wait(struct pg *, int64_t timeout_ms, struct pg_error *) ATTR_MUST_CHECK ATTR_NONNULL;	/* poll + step until something changed; 0 changed, 1 timeout, -1 lost */
int	pg_connect(struct pg *, int64_t timeout_ms, struct pg_error *) ATTR_MUST_CHECK ATTR_NONNULL;	/* start + wait until PG_READY */
void	pg_close(struct pg *) ATTR_NONNULL;			/* to PG_DOWN; connect again later */
int	pg_server_version(const struct pg *) ATTR_NONNULL;	/* 150018 */
int	pg_backend_pid(const struct pg *) ATTR_NONNULL;
char	pg_transaction(const struct pg *) ATTR_NONNULL;		/* 'I' idle, 'T' in a transaction, 'E' failed one, 'A' active, '?' lost */

/* Results: owned by the caller (pg_result_free). Values are text, NUL-terminated, NULL is SQL null, valid until freed. */
struct pg_result;
int	pg_rows(const struct pg_result *) ATTR_NONNULL;
int	pg_columns(const struct pg_result *) ATTR_NONNULL;
const char *pg_value(const struct pg_result *, int row, int column) ATTR_NONNULL;	/* asserts the range */
size_t	pg_value_len(const struct pg_result *, int row, int column) ATTR_NONNULL;
int64_t	pg_affected(const struct pg_result *) ATTR_NONNULL;	/* rows touched; 0 where the command has none */
const char *pg_command_tag(const struct pg_result *) ATTR_NONNULL;	/* "COMMIT", "ROLLBACK", "INSERT 0 1" */
int	pg_result_params(const struct pg_result *) ATTR_NONNULL;	/* of a describe: number of $n */
void	pg_result_free(struct pg_result **);

/* Requests are queued in pipeline mode; each gives one answer, in order. A sync ends an implicit unit: after an error all answers up to
 * it are PG_SKIPPED. Requests go out with pg_flush(), a full buffer (8 KiB), pg_step() or pg_wait(), which receive as well; libpq before 17 also sends at
 * each sync. -1: the session is lost, pg_next() says why. After a loss the answers that came before it are still given, then PG_LOST. */
int	pg_send_sync(struct pg *) ATTR_NONNULL;
int	pg_send_query(struct pg *, const char *sql, int n, const char *const *values);
int	pg_send_prepare(struct pg *, const char *name, const char *sql) ATTR_NONNULL;
int	pg_send_describe(struct pg *, const char *name) ATTR_NONNULL;
int	pg_send_prepared(struct pg *, const char *name, int n, const char *const *values);
void	pg_flush(struct pg *) ATTR_NONNULL;			/* sends what the socket takes now; reads nothing */
enum pg_answer {
	PG_NOTHING,			/* not here yet: step or wait */
	PG_ROWS, PG_COMMAND,		/* *result is set */
	PG_ERROR,			/* *error is filled; the rest up to the sync is PG_SKIPPED */
	PG_SKIPPED,
	PG_SYNC,			/* the answer to pg_send_sync */
	PG_LOST				/* session gone, error filled; nothing more will come */
};
enum pg_answer pg_next(struct pg *, struct pg_result **result, struct pg_error *) ATTR_NONNULL;
/* The channel of the next notification that was received with the answers; false: none is here. LISTEN is the caller's. */
bool	pg_notification(struct pg *, char *channel, size_t size) ATTR_NONNULL;
size_t	pg_pending(const struct pg *) ATTR_NONNULL;		/* answers still due, syncs included */

/* One statement and its answer, waiting. 0: *result (may be NULL) holds it; -1: error filled. */
int	pg_query(struct pg *, int64_t timeout_ms, struct pg_result **, struct pg_error *, const char *sql, int n, const char *const *values) ATTR_MUST_CHECK;
/* A script of several statements (simple protocol), for migrations. */
int	pg_script(struct pg *, int64_t timeout_ms, struct pg_error *, const char *sql) ATTR_MUST_CHECK;
#endif
