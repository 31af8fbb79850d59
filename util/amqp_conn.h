/*
 * amqp_conn.h - one AMQP connection on an event loop: dials, logs in, pumps frames, keeps heartbeats, reconnects.
 *
 * Dialling (name resolution, TCP, TLS, login, and the owner's blocking set-up, e.g. declarations) runs in a thread of its own
 * with a 16 MiB stack; the finished connection is handed to the loop's thread, which alone uses it from then on. rabbitmq-c
 * demands exactly that: one user at a time. So the loop never blocks on a broker, except in a send whose socket is full.
 * After a loss: next host of the list, backoff 0.1 .. 30 s with jitter (refused credentials: from 5 s). Any library status other than
 * TIMEOUT ends the connection (0.11 cannot go on after one: facts row 17). Reads are drained before each send (facts row 21).
 *
 * Used by amqp_consumer and amqp_publisher only; programs see those. Internal parts are in amqp_conn_internal.h.
 */
#ifndef PAWL_UTIL_AMQP_CONN_H
#define PAWL_UTIL_AMQP_CONN_H
#include <stddef.h>
#include "util/amqp_types.h"
#include "util/loop.h"

struct amqp_uri {
	char *host;
	int port;
	char *user, *password, *vhost;	/* password NULL: none in the URI */
	bool tls;
};
/* amqp[s]://user[:password]@host[:port][/vhost]; percent-decoding, [v6]; a missing vhost is "/", "amqp://h/" is an error that says to write %2f. */
int	amqp_uri_parse(const char *text, struct amqp_uri *, char *error, size_t error_size) ATTR_MUST_CHECK;
void	amqp_uri_release(struct amqp_uri *) ATTR_NONNULL;

struct amqp_conn_options {		/* borrowed, must outlive the connection */
	const struct amqp_uri *uris;
	size_t uri_count;		/* tried in turn, starting at random */
	const char *password;		/* overrides the URIs' when not NULL */
	const char *ca_file, *cert_file, *key_file;	/* TLS; NULL: the system's CAs, no client certificate */
	const char *name;		/* connection name in the management console: "pawl-worker host/queue" */
	const char *product, *version;
	int heartbeat_s;		/* 1 .. 60, default 15 */
	int64_t connect_timeout_ms;	/* per host, default 5000 */
	int64_t rpc_timeout_ms;		/* default 60000: quorum queues may take that long (facts row 76) */
};
#endif
