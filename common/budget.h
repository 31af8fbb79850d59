/*
 * budget.h - does a database server give as many sessions as are wanted of it?
 *
 * What is wanted: a session for each connection string that was added. What it gives: to everybody
 * together max_connections, less those reserved for superusers and privileged roles; to a role its
 * own limit. Sessions that others have at the moment do not count: they come and go.
 *
 * Strings name one server if host, hostaddr and port are the same, after services and environment;
 * or if the servers say when they answer that they are one.
 */
#ifndef PAWL_COMMON_BUDGET_H
#define PAWL_COMMON_BUDGET_H
#include <stdbool.h>
#include <stddef.h>
#include "util/attr.h"

struct pg_result;
struct budget_account {			/* a role at a server, by what the strings say */
	char *server, *user;
	size_t wanted;			/* sessions */
	char *identity;			/* of the server; NULL: it has not answered yet */
	bool told;			/* that it is too much */
};
struct budget {
	struct budget_account *accounts;
	size_t count;
	char **conninfos;
	size_t conninfo_count;
};
#define BUDGET_INIT { NULL, 0, NULL, 0 }

/* Columns to ask of the server, for budget_check(). */
extern const char budget_columns_sql[];
enum { BUDGET_COLUMNS = 3 };

/* One session more, unless this very string was added before. The account that it is of. */
size_t	budget_add(struct budget *, const char *conninfo) ATTR_NONNULL;
void	budget_release(struct budget *) ATTR_NONNULL;
/*
 * The answer of a session of this account, from that column on. -1: it is too much, for the first
 * time, error says how.
 */
int	budget_check(struct budget *, size_t account, const struct pg_result *, int column,
    char *error, size_t error_size) ATTR_MUST_CHECK ATTR_NONNULL;
#endif
