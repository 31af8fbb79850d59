/*
 * kit.h - what the contestants of the benchmark share: connect or die, frames, confirms, and the
 * message that all of them move.
 *
 * The contestants are measuring tools: plain rabbitmq-c and libpq, nothing of Pawl. Any error ends
 * the process with exit status 1 and a line on standard error; the driver then ends the run.
 */
#ifndef PAWL_BENCH_KIT_H
#define PAWL_BENCH_KIT_H
#include "config.h"
#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#ifdef HAVE_RABBITMQ_C_AMQP_H
#include <rabbitmq-c/amqp.h>
#else
#include <amqp.h>
#endif

void	die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
unsigned kit_number(const char *text, const char *what);	/* 1 .. 1e9 */

/* A connection with channel 1 open. uri: amqp://user:password@host:port/vhost */
amqp_connection_state_t kit_broker(const char *uri);
void	kit_rpc_check(amqp_connection_state_t, const char *what);
void	kit_consume(amqp_connection_state_t, const char *queue, uint16_t prefetch);
/* Waits for the broker's answer: acks sent before are applied. */
void	kit_broker_close(amqp_connection_state_t);
/* The next frame. wait: block until there is one; else false when nothing is here. A frame of the
 * broker that ends the channel, the connection or the consumer ends us. */
bool	kit_frame(amqp_connection_state_t, amqp_frame_t *, bool wait);

/* Publishing with confirms: tags count from 1. */
enum { KIT_WINDOW = 1024 };
struct kit_confirms {
	uint64_t next;			/* tag of the next publish */
	uint64_t low;			/* lowest tag not yet confirmed */
	bool done[KIT_WINDOW];		/* by tag % KIT_WINDOW, for low .. next - 1 */
};
void	kit_confirms_start(amqp_connection_state_t, struct kit_confirms *);
/* Until no more than 'unconfirmed' are out. */
void	kit_confirms_wait(amqp_connection_state_t, struct kit_confirms *, uint64_t unconfirmed);

/* A text in a table of headers or arguments. */
amqp_table_entry_t kit_text(const char *name, const char *value);

/* One event on the wire, the same for whoever publishes it: persistent, mandatory, with the
 * properties and headers that pawl-relay sets. */
struct kit_event {
	const char *id, *type, *aggregatetype, *aggregateid, *body;
	size_t body_size;
	uint64_t timestamp_s;
};
void	kit_publish(amqp_connection_state_t, struct kit_confirms *, const char *exchange,
	    const char *key, const struct kit_event *);

PGconn *kit_database(const char *conninfo);
void	kit_prepare(PGconn *, const char *name, const char *sql);
/* Runs a prepared statement; a result of another status than the expected one ends us. */
PGresult *kit_run(PGconn *, ExecStatusType expected, const char *prepared, int n,
	    const char *const *values);
void	kit_command(PGconn *, const char *sql);

/* The upsert that every consumer does for a message: a row of its own. */
#define KIT_UPSERT \
	"insert into bench.target (id, aggregate, total) values ($1, $2, $3) " \
	"on conflict (id) do update set aggregate = excluded.aggregate, total = excluded.total"
enum { KIT_UPSERT_PARAMS = 3 };
/* Its values, found in the body as the filler wrote it and cut out in place (a NUL behind each).
 * Not a JSON parser: the yardstick has none. */
void	kit_upsert_values(char *body, size_t size, const char *values[KIT_UPSERT_PARAMS]);
#endif
