/*
 * amqp_conn.h - one AMQP connection on an event loop: dials, logs in, pumps frames, keeps
 * heartbeats, reconnects.
 *
 * Dialling (name resolution, TCP, TLS, login, and the owner's blocking set-up, e.g. declarations)
 * runs in a thread of its own with a 16 MiB stack; the finished connection is handed to the loop's
 * thread, which alone uses it from then on. rabbitmq-c demands exactly that: one user at a time.
 * The loop waits for a broker only in a send that does not fit into the socket's buffer, and asks
 * for room before each; what is larger than the buffer is bounded by TCP_USER_TIMEOUT (two
 * heartbeats without the peer reading). After a loss: next host of the list, backoff 0.1 .. 30 s
 * with jitter (what only the configuration can cure: from 5 s). Any library status other than
 * TIMEOUT ends the connection (0.11 cannot go on after one: facts row 17). TLS: 1.2 or later; the
 * chain and the host name are always verified, by ca_file or the system's CAs. Names only: a
 * certificate's IP addresses do not count (facts row 33). The first amqp_conn raises the stack's
 * soft limit to 16 MiB: rabbitmq-c decodes nested header tables recursively (facts row 18).
 *
 * Used by amqp_consumer and amqp_publisher only; programs see those. Internal parts are in
 * amqp_conn_internal.h.
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
/* amqp[s]://user[:password]@host[:port][/vhost]; percent-decoding, [v6]; a missing vhost is "/",
 * "amqp://h/" is an error that says to write %2f. */
int	amqp_uri_parse(const char *text, struct amqp_uri *, char *error,
    size_t error_size) ATTR_MUST_CHECK;
void	amqp_uri_release(struct amqp_uri *) ATTR_NONNULL;

/* Copied; what it points to is borrowed and must outlive the connection */
struct amqp_conn_options {
	const struct amqp_uri *uris;
	size_t uri_count;		/* tried in turn, starting at random */
	const char *password;		/* overrides the URIs' when not NULL */
	/* TLS; NULL: the system's CAs, no client certificate */
	const char *ca_file, *cert_file, *key_file;
	const char *name;		/* connection name in the management console: "pawl-worker host/queue" */
	const char *product, *version;
	int heartbeat_s;		/* 1 .. 60, default 15 */
	int64_t connect_timeout_ms;	/* per host, default 5000 */
	/* Default 60000: quorum queues may take that long (facts row 76) */
	int64_t rpc_timeout_ms;
};
#endif
