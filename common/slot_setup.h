/*
 * slot_setup.h - the payloads of SETUP (runner -> slot) and READY, WAITING, REFUSED (slot -> runner).
 *
 * Who starts a slot (runner, `pawlctl check`, `pawl-worker -t`) writes SETUP with slot_setup_put() and reads the answer with slot_answer_get(). With
 * check = true the slot loads and starts the handlers, prepares their statements if the database answers within a few seconds, sends READY or
 * REFUSED, and exits (0 or 78).
 */
#ifndef PAWL_COMMON_SLOT_SETUP_H
#define PAWL_COMMON_SLOT_SETUP_H
#include "common/config.h"
#include "common/frame.h"
#include "util/arena.h"
#include "util/log.h"

enum { SLOT_NAME_MAX = 200 };		/* of a handler's name or version: longer ones are refused */

struct slot_setup_options {		/* what the configuration of the queue does not say */
	const char *host;		/* this machine's label */
	enum log_level log_level;
	enum log_format log_format;
	unsigned slot;			/* number of the slot in its queue, for the log */
	bool check;
	bool dry;			/* answers each BATCH, of one message, with TRIED; nothing is committed. conninfo "": no database */
};

struct slot_setup_handler {
	const char *name, *path;	/* path "": use = "ignore"; no message may be for it. Indexes are those of the configuration */
	const char *file;
	int line;
	struct config_pair *pairs;
	size_t pair_count;
};
struct slot_setup {
	const char *host, *consumer, *queue, *conninfo, *key;
	enum log_level log_level;
	enum log_format log_format;
	unsigned slot;
	bool check, dry;
	int64_t timeout_ms, inbox_retention_ms;
	enum config_missing_key missing_key;
	enum config_dedup dedup;
	struct slot_setup_handler *handlers;
	size_t handler_count;
};

/* Appends the payload. */
void	slot_setup_put(struct buf *, const struct config_queue *, const struct slot_setup_options *);
/* Texts point into the payload, which must live as long; arrays are in the arena. -1: the payload is malformed. */
int	slot_setup_get(struct slice payload, struct arena *, struct slot_setup *) ATTR_MUST_CHECK;

struct slot_answer_handler { const char *name, *version; unsigned kind; };	/* what the shared object says of itself; enum pawl_kind */
struct slot_answer {
	const char *text;		/* WAITING: why. REFUSED: all errors, a line each. READY: what could not be checked, "" for nothing */
	struct slot_answer_handler *handlers;	/* READY: one for each handler of SETUP ("" and 0 for ignore); else none */
	size_t handler_count;
};
void	slot_answer_put(struct buf *, const struct slot_answer *);
/* For what a slot sent: hostile. Texts point into the payload, control characters are possible; arrays are in the arena. */
int	slot_answer_get(struct slice payload, struct arena *, struct slot_answer *) ATTR_MUST_CHECK;
#endif
