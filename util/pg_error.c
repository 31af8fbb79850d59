/*
 * pg_error.c - libpq's errors as struct pg_error: class, SQLSTATE, one line of text.
 *
 * Classes follow SQLSTATE and nothing that the server translates. Texts come from a server, so
 * control characters are escaped.
 */
#include "util/pg_internal.h"

#include <stdarg.h>

enum { LINE_SLACK = 8 };	/* room for an escape or a UTF-8 sequence, and the NUL */

enum pg_class
pg_class_of(const char *sqlstate)
{
	static const struct { const char *prefix; enum pg_class class; } classes[] = {
		{ "57014", PG_CLASS_TIMEOUT },
		{ "40P01", PG_CLASS_DEADLOCK },
		{ "40001", PG_CLASS_SERIALIZATION },
		{ "55P03", PG_CLASS_SERIALIZATION },
		{ "26000", PG_CLASS_STALE },
		{ "25006", PG_CLASS_ENVIRONMENT },	/* read-only: a standby, or a server that was switched over */
		{ "57P", PG_CLASS_ENVIRONMENT },
		{ "08", PG_CLASS_ENVIRONMENT },
		{ "53", PG_CLASS_ENVIRONMENT },
		{ "58", PG_CLASS_ENVIRONMENT },
		{ "XX", PG_CLASS_ENVIRONMENT },
		{ "22", PG_CLASS_DATA },
		{ "42", PG_CLASS_STATEMENT },
	};

	if (sqlstate[0] == '\0')
		return PG_CLASS_ENVIRONMENT;
	for (size_t i = 0; i < ARRAY_SIZE(classes); i++)
		if (strncmp(sqlstate, classes[i].prefix, strlen(classes[i].prefix)) == 0)
			return classes[i].class;
	return PG_CLASS_MESSAGE;
}

const char *
pg_class_text(enum pg_class class)
{
	switch (class) {
	case PG_CLASS_NONE: return "none";
	case PG_CLASS_ENVIRONMENT: return "environment";
	case PG_CLASS_DEADLOCK: return "deadlock";
	case PG_CLASS_SERIALIZATION: return "serialization";
	case PG_CLASS_TIMEOUT: return "timeout";
	case PG_CLASS_STALE: return "stale";
	case PG_CLASS_DATA: return "data";
	case PG_CLASS_STATEMENT: return "statement";
	case PG_CLASS_MESSAGE: return "message";
	}
	return "unknown";
}

struct line { char *out; size_t at, size; };

/* Appends text, escaped; never cuts a UTF-8 sequence. Line ends and tabs become one space. */
static void
line_add(struct line *line, const char *text)
{
	const unsigned char *p = (const unsigned char *)text;

	for (; *p != '\0' && line->at + LINE_SLACK < line->size; p++) {
		if (*p == '\n' || *p == '\t' || *p == '\r') {
			if (line->at > 0 && line->out[line->at - 1] != ' ')
				line->out[line->at++] = ' ';
		} else if (*p < 0x20 || *p == 0x7f) {
			line->at += (size_t)snprintf(
			    line->out + line->at, line->size - line->at, "\\x%02x", *p);
		} else {
			line->out[line->at++] = (char)*p;
			for (int i = 0; i < 3 && (p[1] & 0xc0) == 0x80; i++)
				line->out[line->at++] = (char)*++p;
		}
	}
	line->out[line->at] = '\0';
}

static void
line_trim(struct line *line)
{
	while (line->at > 0 && line->out[line->at - 1] == ' ')
		line->at--;
	line->out[line->at] = '\0';
}

void
pg_error_one_line(char *out, size_t size, const char *text)
{
	struct line line = { out, 0, size };

	line_add(&line, text);
	line_trim(&line);
}

void
pg_error_clear(struct pg_error *error)
{
	error->class = PG_CLASS_NONE;
	error->lost = false;
	error->sqlstate[0] = '\0';
	error->text[0] = '\0';
}

void
pg_error_set(struct pg_error *error, enum pg_class class, const char *fmt, ...)
{
	char text[sizeof(error->text)];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	pg_error_clear(error);
	error->class = class;
	pg_error_one_line(error->text, sizeof(error->text), text);
}

void
pg_error_local(struct pg_error *error, const char *text)
{
	pg_error_clear(error);
	error->class = PG_CLASS_ENVIRONMENT;
	error->lost = true;
	pg_error_one_line(error->text, sizeof(error->text), text);
}

static void
line_add_field(
    struct line *line, const PGresult *result, int field, const char *before, const char *behind)
{
	const char *value = PQresultErrorField(result, field);

	if (value == NULL)
		return;
	line_add(line, before);
	line_add(line, value);
	line_add(line, behind);
}

void
pg_error_from_result(struct pg_error *error, const PGresult *result)
{
	const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
	const char *primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	const char *function = PQresultErrorField(result, PG_DIAG_SOURCE_FUNCTION);
	struct line line = { error->text, 0, sizeof(error->text) };

	pg_error_clear(error);
	if (sqlstate != NULL && strlen(sqlstate) < sizeof(error->sqlstate))
		memcpy(error->sqlstate, sqlstate, strlen(sqlstate) + 1);
	if (severity != NULL && (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0))
		error->lost = true;
	error->class = error->lost ? PG_CLASS_ENVIRONMENT : pg_class_of(error->sqlstate);
	/* "cached plan must not change result type" has no SQLSTATE of its own, and its text is
	 * translated. */
	if (strcmp(error->sqlstate, "0A000") == 0 && function != NULL &&
	    strcmp(function, "RevalidateCachedQuery") == 0)
		error->class = PG_CLASS_STALE;

	if (primary == NULL)		/* libpq made this one itself */
		primary = PQresultErrorMessage(result);
	line_add(&line, primary);
	line_trim(&line);
	line_add_field(&line, result, PG_DIAG_STATEMENT_POSITION, " at character ", "");
	line_add_field(&line, result, PG_DIAG_MESSAGE_DETAIL, ": ", "");
	line_add_field(&line, result, PG_DIAG_TABLE_NAME, "; table \"", "\"");
	line_add_field(&line, result, PG_DIAG_COLUMN_NAME, "; column \"", "\"");
	line_add_field(&line, result, PG_DIAG_CONSTRAINT_NAME, "; constraint \"", "\"");
}

/*
 * libpq quotes parts of a connection string that it cannot parse, which may be the password.
 */
bool
pg_conninfo_may_hold_password(const char *conninfo)
{
	return strstr(conninfo, "pass") != NULL ||
	    (strstr(conninfo, "://") != NULL && strchr(conninfo, '@') != NULL);
}

void
pg_error_from_conn(struct pg_error *error, const struct pg *pg)
{
	if (pg->last_words.class != PG_CLASS_NONE) {
		*error = pg->last_words;
		return;
	}
	if (pg->conn == NULL)
		pg_error_local(error, "could not connect to the database: out of memory");
	else if (PQerrorMessage(pg->conn)[0] == '\0')
		pg_error_local(error, "the database closed the connection");
	else
		pg_error_local(error, PQerrorMessage(pg->conn));
}
