/*
 * budget.c - see budget.h. What is asked, every role may ask.
 */
#include "common/budget.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/arena.h"
#include "util/pg.h"

enum { IDENTITY, FOR_ALL, FOR_ROLE };

/*
 * Who it is: no two servers of a machine have one port and one time of birth. Roles with
 * pg_use_reserved_connections (from 16 on) may have those of reserved_connections, superusers all.
 */
const char budget_columns_sql[] =
    "extract(epoch from pg_postmaster_start_time())::text || ' ' || current_setting('port'),"
    " (current_setting('max_connections')::int - case"
    "  when current_setting('is_superuser') = 'on' then 0"
    "  else current_setting('superuser_reserved_connections')::int + case when exists"
    "   (select from pg_roles as r where r.rolname = 'pg_use_reserved_connections'"
    "    and pg_has_role(r.oid, 'usage')) then 0"
    "   else coalesce(current_setting('reserved_connections', true)::int, 0) end end)::text,"
    " (select case when r.rolsuper then -1 else r.rolconnlimit end from pg_roles as r"
    "  where r.rolname = current_user)::text";

size_t
budget_add(struct budget *b, const char *conninfo)
{
	struct budget_account *account;
	char server[512], user[128];
	bool known = false;
	size_t i = 0;

	for (size_t j = 0; j < b->conninfo_count && !known; j++)
		known = strcmp(b->conninfos[j], conninfo) == 0;
	pg_conninfo_server(conninfo, server, sizeof(server), user, sizeof(user));
	while (i < b->count && (strcmp(b->accounts[i].server, server) != 0 ||
				   strcmp(b->accounts[i].user, user) != 0))
		i++;
	if (i == b->count) {
		b->accounts = xrealloc(b->accounts, (b->count + 1) * sizeof(*b->accounts));
		b->accounts[b->count++] = (struct budget_account){
			.server = xstrdup(server), .user = xstrdup(user)
		};
	}
	account = &b->accounts[i];
	if (!known) {
		account->wanted++;
		b->conninfos = xrealloc(b->conninfos, (b->conninfo_count + 1) * sizeof(char *));
		b->conninfos[b->conninfo_count++] = xstrdup(conninfo);
	}
	return i;
}

void
budget_release(struct budget *b)
{
	for (size_t i = 0; i < b->count; i++) {
		free(b->accounts[i].server);
		free(b->accounts[i].user);
		free(b->accounts[i].identity);
	}
	for (size_t i = 0; i < b->conninfo_count; i++)
		free(b->conninfos[i]);
	free(b->accounts);
	free(b->conninfos);
	*b = (struct budget)BUDGET_INIT;
}

/* user: of this one only; NULL: of all. */
static size_t
wanted_of(const struct budget *b, const char *identity, const char *user)
{
	size_t wanted = 0;

	for (size_t i = 0; i < b->count; i++) {
		const struct budget_account *a = &b->accounts[i];

		if (a->identity != NULL && strcmp(a->identity, identity) == 0 &&
		    (user == NULL || strcmp(a->user, user) == 0))
			wanted += a->wanted;
	}
	return wanted;
}

int
budget_check(struct budget *b, size_t account, const struct pg_result *result, int column,
    char *error, size_t error_size)
{
	struct budget_account *a = &b->accounts[account];
	const char *identity = pg_value(result, 0, column + IDENTITY);
	const char *for_all = pg_value(result, 0, column + FOR_ALL);
	const char *for_role = pg_value(result, 0, column + FOR_ROLE);
	size_t all, role;

	if (identity == NULL || for_all == NULL || for_role == NULL)
		return 0;
	free(a->identity);
	a->identity = xstrdup(identity);
	all = wanted_of(b, identity, NULL);
	role = wanted_of(b, identity, a->user);
	if (strtol(for_all, NULL, 10) < (long)all)
		(void)snprintf(error, error_size,
		    "%zu database sessions are wanted of the server at %s, but it gives %s: raise"
		    " max_connections, or relay fewer databases from there", all, a->server,
		    for_all);
	else if (strtol(for_role, NULL, 10) >= 0 && strtol(for_role, NULL, 10) < (long)role)
		(void)snprintf(error, error_size,
		    "%zu database sessions are wanted of the server at %s for the role \"%s\", but"
		    " its connection limit there is %s: raise it, or relay fewer databases from"
		    " there", role, a->server, a->user, for_role);
	else
		return 0;
	if (a->told)
		return 0;
	a->told = true;
	return -1;
}
