/*
 * pg_internal.h - what pg.c, pg_pipeline.c and pg_error.c share. For these three files only:
 * libpq's types are in here.
 */
#ifndef PAWL_UTIL_PG_INTERNAL_H
#define PAWL_UTIL_PG_INTERNAL_H
#include <libpq-fe.h>
#include "util/pg.h"

struct pg {
	char *conninfo, *application_name;
	char **settings;			/* name, value, name, value ... */
	size_t setting_count;			/* pairs */
	PGconn *conn;				/* NULL: PG_DOWN */
	enum pg_state state;
	PostgresPollingStatusType polling;	/* while dialling: what PQconnectPoll waits for */
	bool settling;				/* logged in, the answer to the settings is due */
	bool broken;				/* the socket failed; answers that arrived before may still be read */
	bool want_write;			/* PQflush left something */
	bool between;				/* an answer was given, the NULL behind it was not read yet */
	size_t pending;				/* answers due, syncs included */
	struct pg_error why;			/* of the last loss */
	struct pg_error last_words;		/* a FATAL that came while nothing was asked */
};

void	pg_error_clear(struct pg_error *) ATTR_NONNULL;
void	pg_error_from_result(struct pg_error *, const PGresult *) ATTR_NONNULL;
/* What libpq says of its connection: always environment, lost. */
void	pg_error_from_conn(struct pg_error *, const struct pg *) ATTR_NONNULL;
void	pg_error_local(struct pg_error *, const char *text) ATTR_NONNULL;	/* we ended the session */
void	pg_error_one_line(char *out, size_t size, const char *text) ATTR_NONNULL;
bool	pg_conninfo_may_hold_password(const char *conninfo) ATTR_NONNULL;

/* The session is gone: closes it, keeps why, gives -1. */
int	pg_lose(struct pg *, const struct pg_error *) ATTR_NONNULL;
/* Sends and receives what is possible now. -1: broken; answers that came before can still be
 * read. */
int	pg_pump(struct pg *) ATTR_NONNULL;
#endif
