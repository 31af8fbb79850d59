/*
 * config.h - a configuration file, read, checked and resolved. Plain data: libconfig does not show here.
 *
 * config_load() reports every error that it finds, each as "file:line: path: what", before it fails. Everything in struct config
 * lives in its arena. Durations are milliseconds, sizes bytes. Texts are never NULL unless said so. A line belongs to the 'file'
 * beside it, which is the configuration file or one that it includes, as the user would write it.
 * (Not config_read: libconfig has a function of that name.)
 */
#ifndef PAWL_COMMON_CONFIG_H
#define PAWL_COMMON_CONFIG_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "common/outbox_column.h"
#include "util/amqp_conn.h"
#include "util/arena.h"
#include "util/buf.h"
#include "util/log.h"

struct config_pair { const char *path, *value; int line; const char *file; };	/* a handler's own settings, flattened: "headers.Accept", "steps.[0].type"; numbers and booleans as text */

struct config_handler {
	const char *name;
	int line;
	const char *file;
	const char *const *types;		/* message types; "*" for all others */
	size_t type_count;
	const char *use;			/* as written: "sql", "./x.so", "ignore" */
	bool ignore;				/* use = "ignore": done without a handler */
	const char *path;			/* the shared object, resolved; "" with ignore */
	const struct config_pair *pairs;
	size_t pair_count;
};

struct config_bind { const char *exchange, *key, *kind; };	/* kind: "topic" ... */

enum config_missing_key { MISSING_KEY_DEAD_LETTER, MISSING_KEY_PROCESS };
enum config_dedup { DEDUP_POSTGRES, DEDUP_NONE };
enum config_order { ORDER_NONE, ORDER_AGGREGATE, ORDER_STRICT };

struct config_queue {
	const char *name;			/* the consumer: log, metrics, inbox */
	int line;
	const char *file;
	const char *queue;
	const char *conninfo;
	unsigned slots, batch, prefetch;	/* prefetch 0 in the file: derived, never 0 here */
	bool prefetch_derived;
	int64_t timeout_ms, shutdown_timeout_ms, consumer_timeout_ms;
	int64_t max_body_bytes, memory_limit_bytes;	/* memory_limit 0: none */
	unsigned max_messages;			/* 0: any number */
	const char *key;			/* "message_id", "header:NAME", "json:/pointer" */
	enum config_missing_key missing_key;
	enum config_dedup dedup;
	const char *aggregate;			/* "header:NAME", "routing_key" */
	const char *type_from;			/* "type" (the property), "routing_key", "header:NAME" */
	enum config_order order;
	bool declare;
	const struct config_bind *binds;
	size_t bind_count;
	unsigned attempts, crash_attempts;
	const int64_t *delays_ms;
	size_t delay_count;
	int64_t inbox_retention_ms;
	const struct config_handler *handlers;	/* in the order of the file */
	size_t handler_count;
	uint64_t fingerprint;			/* of all that is above, the broker's settings, and the handler files (inode, mtime, size): equal = no new runner */
};

/* What becomes of an event that cannot be published. */
enum config_policy { POLICY_HOLD, POLICY_PARK, POLICY_DROP };
enum config_envelope { ENVELOPE_NONE, ENVELOPE_CLOUDEVENTS };
struct config_outbox {
	const char *name;
	int line;
	const char *file;
	const char *conninfo;
	const char *table;			/* "pawl.outbox" */
	const char *columns[OUTBOX_ROLES];	/* which plays which part; NULL: the one of that name, if there is one; "": none */
	const char *order_by, *sent;		/* columns; NULL: none */
	int64_t retention_ms;			/* of rows that were sent; 0: for ever */
	const char *content_type;		/* NULL: by the payload's type */
	enum config_envelope envelope;
	const char *source;			/* of CloudEvents; a template */
	const char *exchange, *routing_key;	/* templates: "{aggregatetype}", "{type}" */
	enum config_order order;		/* AGGREGATE or NONE */
	enum config_policy unroutable;		/* no queue takes it */
	enum config_policy refused;		/* it can be no message: HOLD or PARK */
	unsigned window;			/* unconfirmed at most, 1000 */
	int64_t max_body_bytes;			/* larger payloads are not published: the broker would close the channel */
	int64_t poll_min_ms, poll_max_ms;	/* 5, 250 */
	bool doorbell;				/* sleep behind a lock, so that writers ring; the table has the trigger, one hopes */
};

struct config {
	struct arena arena;
	const char *file;			/* absolute */
	const char *directory;			/* where it is: what relative names in it count from */
	const char *name;			/* of this installation: stats file, connection names; default: the file's name without .conf */
	const char *run_dir;			/* where the stats files are; NULL never: see config_run_dirs() */
	bool run_dir_given;			/* by the file */
	enum log_level log_level;
	enum log_format log_format;
	struct amqp_uri *uris;
	size_t uri_count;
	const char *password;			/* from password_file; NULL: the URI's own */
	const char *const *broker_variables;	/* environment variables that uri or uris name, up to a NULL: not for slots */
	const char *ca_file, *cert_file, *key_file;	/* NULL: none */
	int heartbeat_s;
	struct config_queue *queues;
	size_t queue_count;
	struct config_outbox *outboxes;
	size_t outbox_count;
	const char *conninfo;			/* database.conninfo; "" when there is none */
};

/* -1: errors holds all messages, a line each. 0: *config is to be freed by config_free. Secrets are read here, and appear in no message. */
int	config_load(const char *file, struct config **, struct buf *errors) ATTR_MUST_CHECK ATTR_NONNULL;
void	config_free(struct config **);
const struct config_queue *config_queue_find(const struct config *, const char *name);
const struct config_outbox *config_outbox_find(const struct config *, const char *name);
/*
 * Where programs of ours may have put their stats files, best guess first, NULL-terminated, in the arena: run_dir of the file alone when it
 * says one; else what a writer would choose here, then all that a writer started in another way (by systemd, by hand) could have chosen.
 */
const char *const *config_run_dirs(const struct config *, struct arena *);
#endif
