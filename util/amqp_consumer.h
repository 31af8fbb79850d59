/*
 * amqp_consumer.h - consumes one queue over one connection and one channel, and settles what it
 * delivered.
 *
 * It connects, declares, sets the prefetch and consumes by itself, again after each loss, until
 * stopped. 'generation' grows with each new channel: a tag belongs to its generation; settling a
 * tag of an older one is a silent no-op (the broker has already taken the message back). Buffering:
 * acks are written at once but cost one send() each; callers ack multiple. While the socket is full
 * they wait in memory.
 *
 * All functions may be called from inside the events, amqp_consumer_free and _close too. Events
 * come from the loop only, never from inside a call.
 */
#ifndef PAWL_UTIL_AMQP_CONSUMER_H
#define PAWL_UTIL_AMQP_CONSUMER_H
#include "util/amqp_conn.h"

struct amqp_delivery {			/* all slices are valid during the callback only */
	uint64_t tag;
	unsigned generation;
	bool redelivered;
	struct slice exchange, routing_key;
	struct slice message_id, type, content_type, correlation_id, reply_to, app_id, user_id,
    expiration;
	int64_t timestamp_s;		/* 0: none */
	/* Encoded, as received: keep a copy to publish the message again (amqp_channel_copy) */
	struct slice raw_properties;
	size_t body_size;
	const void *headers;		/* for the functions below */
};

/* One header by name: its text in value (strings as they are; numbers, booleans, times printed;
 * tables and arrays as JSON, depth 16, deeper parts are null). Texts that had to be printed are
 * in scratch. false: not there, or void. */
struct buf;
bool	amqp_delivery_header(const struct amqp_delivery *, const char *name, struct buf *scratch,
    struct slice *value);
/* An integer of any kind; fallback when it is missing or none. For x-delivery-count and our own
 * counters. */
int64_t	amqp_delivery_header_int(const struct amqp_delivery *, const char *name, int64_t fallback);
/* All of them but void ones, in order, as text. The value is good during the call only: scratch
 * is used again for each. */
typedef void amqp_header_fn(void *arg, struct slice name, struct slice value);
void	amqp_delivery_headers(const struct amqp_delivery *, struct buf *scratch, amqp_header_fn *,
    void *arg);

struct amqp_consumer_events {
	/* A message begins. Returns where its body shall be written: body_size bytes (never
	 * NULL; may be freed only after delivered or lost). */
	void *(*delivery)(void *arg, const struct amqp_delivery *);
	void (*delivered)(void *arg);			/* its body is complete */
	/* Consume-ok: deliveries of this generation may follow */
	void (*consuming)(void *arg, unsigned generation);
	/* The channel or connection is gone; what was unsettled will come again. A half-received
	 * delivery is void: free its buffer now. The consumer reconnects by itself. error->text
	 * says why. Also called when an attempt to connect failed (generation unchanged). */
	void (*lost)(void *arg, const struct amqp_error *);
	/* After amqp_consumer_cancel, always, also when the connection is lost on the way (then
	 * after lost): nothing more will come. */
	void (*cancelled)(void *arg);
};

struct amqp_consumer_options {			/* copied; what it points to is borrowed */
	struct amqp_conn_options conn;
	const char *queue;
	const char *tag_prefix;				/* consumer tag: "<prefix>-<generation>"; prefix says host and pid */
	uint16_t prefetch;
	const struct amqp_declaration *declare;		/* in this order, at every connect */
	size_t declare_count;
	/* The queue has a dead letter exchange: a message whose headers rabbitmq-c cannot decode
	 * (0.14 and later refuse more than 100 nested tables) costs the connection, and when it
	 * comes again it is rejected, into that exchange. lost() tells of it by error->rejected.
	 * Without this it would come for ever. */
	bool dead_letters;
};

struct amqp_consumer;
struct amqp_consumer *amqp_consumer_new(struct loop *, const struct amqp_consumer_options *,
    const struct amqp_consumer_events *, void *arg);
/* At once, by the socket; the broker requeues what is unsettled */
void	amqp_consumer_free(struct amqp_consumer **);
unsigned amqp_consumer_generation(const struct amqp_consumer *) ATTR_NONNULL;
bool	amqp_consumer_consuming(const struct amqp_consumer *) ATTR_NONNULL;

void	amqp_consumer_ack(struct amqp_consumer *, unsigned generation, uint64_t tag,
    bool multiple) ATTR_NONNULL;
/* Nack, requeue: was not started */
void	amqp_consumer_give_back(struct amqp_consumer *, unsigned generation,
    uint64_t tag) ATTR_NONNULL;
/* No more deliveries; the connection stays for settling. If it is lost, it is not made again:
 * cancelled stays cancelled until resume. */
void	amqp_consumer_cancel(struct amqp_consumer *) ATTR_NONNULL;
/* Consume again: same channel and a new tag, or a new connection */
void	amqp_consumer_resume(struct amqp_consumer *) ATTR_NONNULL;
/* Back-pressure on the socket; heartbeats are still sent. Not for long: the broker gives up a
 * reader that takes nothing for 15 s once what is under way (at most prefetch messages) no
 * longer fits into the socket's buffers. */
void	amqp_consumer_pause_reading(struct amqp_consumer *, bool) ATTR_NONNULL;
/* Give up this connection, make a new one */
void	amqp_consumer_recycle(struct amqp_consumer *, const char *why) ATTR_NONNULL;
/* Orderly end: channel and connection closed with the broker's answers awaited up to timeout_ms.
 * After amqp_consumer_cancel and cancelled, what was settled before is then applied; without, a
 * quorum queue may have forgotten some of it. Blocks. */
void	amqp_consumer_close(struct amqp_consumer **, int64_t timeout_ms);
#endif
