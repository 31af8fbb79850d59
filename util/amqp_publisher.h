/*
 * amqp_publisher.h - publishes with confirms over one connection; any number of channels, opened
 * without blocking.
 *
 * Every publish is persistent (delivery_mode 2) and mandatory and ends in exactly one outcome call,
 * or in channel_down for all that are unconfirmed on that channel. The broker sends basic.return
 * before the ack of the same message; returns are matched by order and message_id. All values are
 * checked before the first frame goes out (short strings, header frame size, body size): a message
 * that cannot be sent is refused by the call, the connection lives (facts row 28).
 *
 * A publish never waits for a broker that does not read: when the socket has no room the call says
 * NOT_READY, and ready() is called when it has room again. What is published in one round of the
 * loop leaves in full packets, at its end or by amqp_publisher_flush(). All functions may be called
 * from inside the events, those that free too. Events come from the loop only, never from inside a
 * call.
 */
#ifndef PAWL_UTIL_AMQP_PUBLISHER_H
#define PAWL_UTIL_AMQP_PUBLISHER_H
#include "util/amqp_conn.h"

enum amqp_outcome {
	AMQP_CONFIRMED,			/* the broker has it, in at least one queue */
	AMQP_RETURNED,			/* no queue took it; code and text say why (312 NO_ROUTE) */
	AMQP_NACKED			/* the broker could not take it now */
};

struct amqp_channel;
struct amqp_channel_events {
	void (*ready)(void *arg);			/* confirm.select-ok: publish from now on */
	/* Token: what was given to publish; text lives during the call. Calls come in the order
	 * of the broker's confirms, not of publishing. */
	void (*outcome)(void *arg, void *token, enum amqp_outcome, int code, struct slice text);
	/* Channel or connection closed: outcome() will not be called for anything published
	 * before. code 404/406 with !error->connection: one of the unconfirmed messages is the
	 * culprit. The channel reopens by itself (at once after 404/406; after reconnect else),
	 * then ready(). */
	void (*down)(void *arg, const struct amqp_error *);
};

struct amqp_publisher_events {
	void (*connected)(void *arg);
	void (*lost)(void *arg, const struct amqp_error *);	/* also for failed attempts */
	/* Connection.blocked / unblocked: stop / go on issuing */
	void (*blocked)(void *arg, bool blocked, struct slice reason);
};

struct amqp_publisher;
struct amqp_publisher *amqp_publisher_new(struct loop *, const struct amqp_conn_options *,
    const struct amqp_publisher_events *, void *arg);
/* At once; what is unconfirmed may or may not have arrived */
void	amqp_publisher_free(struct amqp_publisher **);
bool	amqp_publisher_connected(const struct amqp_publisher *) ATTR_NONNULL;
int	amqp_publisher_channel_max(const struct amqp_publisher *) ATTR_NONNULL;	/* while connected */
bool	amqp_publisher_blocked(const struct amqp_publisher *) ATTR_NONNULL;

/* Named _new because rabbitmq-c has an amqp_channel_open of its own. Before the connection is
 * up, too: it opens when it can. Free the channels before the publisher. */
struct amqp_channel *amqp_channel_new(struct amqp_publisher *, const struct amqp_channel_events *,
    void *arg);
void	amqp_channel_free(struct amqp_channel **);
bool	amqp_channel_ready(const struct amqp_channel *) ATTR_NONNULL;
size_t	amqp_channel_unconfirmed(const struct amqp_channel *) ATTR_NONNULL;

enum amqp_publish_status {
	AMQP_PUBLISHED = 0,
	/* Channel down, connection blocked, socket full: keep it, ready() follows */
	AMQP_NOT_READY = -1,
	/* Cannot be published as it is: error says what and where; will never work */
	AMQP_BAD_MESSAGE = -2
};
enum amqp_publish_status amqp_channel_publish(struct amqp_channel *, const struct amqp_message *,
    void *token, char *error, size_t error_size) ATTR_MUST_CHECK;

/*
 * Publishes a received message once more: body and properties byte for byte, but
 * - expiration, user_id, and the headers CC and BCC are moved to x-pawl-orig-expiration, -user-id,
 *   -CC, -BCC;
 * - the broker's own x-death, x-first-death-*, x-last-death-*, x-delivery-count, x-acquired-count
 *   are dropped, and with drop_pawl every header whose name starts with x-pawl- other than
 *   x-pawl-orig-*;
 * - then 'add' is appended (a name that exists is replaced); delivery_mode is 2.
 *
 * If the header frame grows beyond what the broker takes, the texts in 'add' are shortened, longest
 * first, to 64 bytes at least; if that is not enough, the largest of the message's own headers are
 * left out and counted in x-pawl-orig-dropped.
 */
struct amqp_copy {
	struct slice exchange, routing_key;
	struct slice raw_properties;	/* from amqp_delivery */
	bool drop_pawl;			/* the message's x-pawl-* headers are not to be believed */
	const struct amqp_header *add;
	size_t add_count;
	const void *body;
	size_t body_size;
};
enum amqp_publish_status amqp_channel_copy(struct amqp_channel *, const struct amqp_copy *,
    void *token, char *error, size_t error_size) ATTR_MUST_CHECK;
/* Uncork: what was published in this round goes out now */
void	amqp_publisher_flush(struct amqp_publisher *) ATTR_NONNULL;
#endif
