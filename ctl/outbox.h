/*
 * outbox.h - pawlctl outbox: what its commands share.
 */
#ifndef PAWL_CTL_OUTBOX_H
#define PAWL_CTL_OUTBOX_H
#include <stdbool.h>
#include "common/config.h"
#include "common/outbox_table.h"
#include "ctl/status.h"
#include "util/pg.h"

/* An event that waits, of the running relay's list (common/blocked_list.h). NULL: it has none. */
struct outbox_waiting {
	const char *outbox, *event, *aggregatetype, *aggregateid, *reason, *text;
	int64_t since_ms;
	int64_t more;		/* not an event: how many others there are of the outbox */
};

struct outbox_command {
	const char *name;	/* "outbox list", for errors */
	struct arena arena;
	struct config *config;
	bool blocked, dead, all, json;
	char **operands;
	size_t operand_count;

	struct status status;
	struct status_part relay;
	struct outbox_waiting *waiting;
	size_t waiting_count;

	struct pg *pg;			/* NULL: none yet */
	const char *conninfo;
	int result;			/* exit status: the first that is not 0 stays */
};

/* Says what is wrong, and keeps the exit status. */
void	outbox_command_fail(struct outbox_command *, int status, const char *fmt, ...) ATTR_PRINTF(3, 4);
/* The running relay's list; none where it does not run. */
void	outbox_command_look(struct outbox_command *) ATTR_NONNULL;
/* A session with the outbox's database. false: said why not. */
bool	outbox_command_connect(struct outbox_command *, const struct config_outbox *) ATTR_NONNULL;
/* NULL: said why not. */
struct pg_result *outbox_command_query(struct outbox_command *, const struct config_outbox *,
    const char *sql, int n, const char *const *values);
/* Its table and the statements for it. false: said why not. */
bool	outbox_command_table(struct outbox_command *, const struct config_outbox *,
    struct outbox_table *) ATTR_NONNULL;
/* Is this outbox meant? All are if none is named. */
bool	outbox_command_wants(const struct outbox_command *, const char *outbox) ATTR_NONNULL;

/* outbox_list.c */
void	outbox_list(struct outbox_command *) ATTR_NONNULL;
#endif
