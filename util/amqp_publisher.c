/*
 * amqp_publisher.c - channels that publish with confirms over one connection.
 *
 * What is sent in a round of the loop leaves in full packets: the socket is corked at the first
 * publish and uncorked in the next round, or by amqp_publisher_flush(). Uncorking also pushes what
 * rabbitmq-c leaves behind MSG_MORE (a body of an exact multiple of the frame size: facts row 27).
 *
 * A message that is larger than the room a writable socket has goes out frame by frame, as the
 * broker reads: the library would wait inside the call. A connection has one such message at most,
 * and until it is out nothing else is published. On its channel nothing else may be sent at all: a
 * method between the frames of a message is an error that ends the connection.
 */
#include <assert.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include "util/amqp_conn_internal.h"
#include "util/amqp_publisher.h"
#include "util/amqp_unconfirmed.h"
#include "util/log.h"

enum {
	REPLY_SUCCESS = 200,
	ROUND_FRAMES = 32		/* of a large message, in one round of the loop */
};

enum channel_state {
	CHANNEL_DOWN,			/* no connection */
	CHANNEL_OPENING,		/* channel.open is out */
	CHANNEL_SELECTING,		/* confirm.select is out */
	CHANNEL_READY,
	/* freed by the user; channel.close is out, or follows the unfinished message */
	CHANNEL_CLOSING,
	CHANNEL_CLOSED			/* by the broker; close-ok follows the unfinished message */
};

enum expect { EXPECT_METHOD, EXPECT_HEADER, EXPECT_BODY };

struct amqp_channel {
	struct amqp_publisher *publisher;	/* NULL: freed before its channel */
	unsigned number;
	const struct amqp_channel_events *events;
	void *arg;
	enum channel_state state;
	bool freed;
	bool refused;			/* the user was told NOT_READY and waits for ready() */
	unsigned busy;			/* depth of its events */
	unsigned opened;		/* how often: callbacks may outlive a channel's turn */
	struct amqp_unconfirmed unconfirmed;
	/* the basic.return that is being received: */
	enum expect expect;
	struct slice return_exchange, return_key, return_text;
	uint16_t return_code;
	uint64_t return_left;
};

struct amqp_publisher {
	struct amqp_conn *conn;
	const struct amqp_publisher_events *events;
	void *arg;
	bool freed;
	bool blocked;
	bool corked;
	struct loop_timer flush;
	struct amqp_channel **channels;	/* [number - 1]; NULL: free number */
	size_t channel_cap;
	size_t turn;
	struct log_complaint complaint;
	struct amqp_outgoing out;
	struct {			/* the message of which only a part is out */
		struct amqp_channel *channel;	/* NULL: there is none */
		char *rest;
		size_t len, sent;
	} unfinished;
};

/* Channels. */

static void
channel_release(struct amqp_channel *channel)
{
	amqp_unconfirmed_release(&channel->unconfirmed);
	free(channel);
}

/* Gives the number back; the memory as well, unless one of the channel's events is still being
 * called. */
static void
channel_forget(struct amqp_channel *channel)
{
	channel->state = CHANNEL_DOWN;
	if (channel->publisher != NULL)
		channel->publisher->channels[channel->number - 1] = NULL;
	channel->publisher = NULL;
	if (channel->busy == 0)
		channel_release(channel);
}

/* After an event: false if the user freed the channel in it; then it must not be touched any
 * more. */
static bool
channel_unbusy(struct amqp_channel *channel)
{
	bool alive = !channel->freed;

	if (--channel->busy == 0 && channel->freed && channel->publisher == NULL)
		channel_release(channel);
	return alive;
}

static bool
channel_tell_ready(struct amqp_channel *channel)
{
	channel->refused = false;
	channel->busy++;
	channel->events->ready(channel->arg);
	return channel_unbusy(channel);
}

static bool
channel_tell_down(struct amqp_channel *channel, const struct amqp_error *error)
{
	channel->expect = EXPECT_METHOD;
	amqp_unconfirmed_clear(&channel->unconfirmed);
	channel->busy++;
	channel->events->down(channel->arg, error);
	return channel_unbusy(channel);
}

static void
channel_open(struct amqp_channel *channel)
{
	struct amqp_conn *conn = channel->publisher->conn;
	amqp_channel_open_t method = { .out_of_band = amqp_empty_bytes };

	if ((int)channel->number > amqp_conn_channel_max(conn)) {
		/* It stays down; the others can work. */
		log_complain(&channel->publisher->complaint, LOG_LEVEL_ERROR,
		    "cannot open channel %u: the broker allows %d on a connection; raise its"
		    " channel_max", channel->number, amqp_conn_channel_max(conn));
		return;
	}
	channel->opened++;
	if (amqp_conn_send(conn, channel->number, AMQP_CHANNEL_OPEN_METHOD, &method))
		channel->state = CHANNEL_OPENING;
}

struct amqp_channel *
amqp_channel_new(
    struct amqp_publisher *publisher, const struct amqp_channel_events *events, void *arg)
{
	struct amqp_channel *channel = xcalloc(1, sizeof(*channel));
	size_t i = 0;

	while (i < publisher->channel_cap && publisher->channels[i] != NULL)
		i++;
	if (i == publisher->channel_cap) {
		publisher->channel_cap++;
		publisher->channels = xrealloc(
		    publisher->channels, publisher->channel_cap * sizeof(struct amqp_channel *));
	}
	publisher->channels[i] = channel;
	channel->publisher = publisher;
	channel->number = (unsigned)i + 1;
	channel->events = events;
	channel->arg = arg;
	amqp_unconfirmed_init(&channel->unconfirmed);
	if (amqp_conn_up(publisher->conn))
		channel_open(channel);
	return channel;
}

static void
channel_send_close(struct amqp_channel *channel)
{
	amqp_channel_close_t method = { .reply_code = REPLY_SUCCESS };

	method.reply_text = amqp_cstring_bytes("done");
	(void)amqp_conn_send(
	    channel->publisher->conn, channel->number, AMQP_CHANNEL_CLOSE_METHOD, &method);
}

void
amqp_channel_free(struct amqp_channel **channel_p)
{
	struct amqp_channel *channel = *channel_p;

	if (channel == NULL)
		return;
	*channel_p = NULL;
	channel->freed = true;
	amqp_unconfirmed_clear(&channel->unconfirmed);
	if (channel->state == CHANNEL_DOWN) {
		channel_forget(channel);
		return;
	}
	if (channel->state == CHANNEL_CLOSED)
		return;
	channel->state = CHANNEL_CLOSING;
	if (channel->publisher->unfinished.channel != channel)
		channel_send_close(channel);
}

bool
amqp_channel_ready(const struct amqp_channel *channel)
{
	return channel->state == CHANNEL_READY && !channel->publisher->blocked &&
	    channel->publisher->unfinished.channel == NULL &&
	    amqp_conn_up(channel->publisher->conn);
}

size_t
amqp_channel_unconfirmed(const struct amqp_channel *channel)
{
	return channel->unconfirmed.waiting;
}

/* Frames. */

static void
channel_confirm(struct amqp_channel *channel, const amqp_frame_t *frame, uint64_t tag,
    bool multiple, enum amqp_outcome outcome)
{
	struct amqp_conn *conn = channel->publisher->conn;
	struct amqp_unconfirmed *unconfirmed = &channel->unconfirmed;
	uint64_t last = amqp_unconfirmed_last(unconfirmed), at = tag;
	unsigned opened = channel->opened;

	if (multiple) {
		at = unconfirmed->first_tag;
		tag = tag == 0 ? last : tag;
	}
	if (channel->state != CHANNEL_READY || tag > last ||
	    (!multiple && !amqp_unconfirmed_has(unconfirmed, tag))) {
		amqp_conn_unexpected(conn, frame);
		return;
	}
	for (; at <= tag; at++) {
		struct amqp_pending one;
		bool same;

		if (!amqp_unconfirmed_take(unconfirmed, at, &one))
			continue;
		channel->busy++;
		channel->events->outcome(channel->arg, one.token,
		    one.return_code != 0 ? AMQP_RETURNED : outcome, one.return_code,
		    slice_of(one.return_text));
		free(one.return_text);
		same = channel->state == CHANNEL_READY && channel->opened == opened;
		if (!channel_unbusy(channel) || !same)
			return;
	}
}

static void
channel_closed(struct amqp_channel *channel, const amqp_channel_close_t *method)
{
	struct amqp_conn *conn = channel->publisher->conn;
	amqp_channel_close_ok_t ok = { 0 };
	struct amqp_error error;

	amqp_conn_channel_error(conn, method, &error);
	if (channel->publisher->unfinished.channel == channel) {
		bool was_ready = channel->state == CHANNEL_READY;

		channel->state = CHANNEL_CLOSED;
		if (was_ready)
			(void)channel_tell_down(channel, &error);
		return;
	}
	if (!amqp_conn_send(conn, channel->number, AMQP_CHANNEL_CLOSE_OK_METHOD, &ok) ||
	    channel->state == CHANNEL_CLOSING)
		return;
	channel->state = CHANNEL_DOWN;
	if (channel_tell_down(channel, &error) && channel->publisher != NULL &&
	    channel->state == CHANNEL_DOWN)
		channel_open(channel);
}

static void
channel_method(struct amqp_channel *channel, const amqp_frame_t *frame)
{
	struct amqp_conn *conn = channel->publisher->conn;
	const amqp_basic_return_t *returned;
	const amqp_basic_ack_t *ack;
	const amqp_basic_nack_t *nack;
	amqp_confirm_select_t select = { .nowait = 0 };

	switch (frame->payload.method.id) {
	case AMQP_BASIC_ACK_METHOD:
		ack = frame->payload.method.decoded;
		channel_confirm(channel, frame, ack->delivery_tag, ack->multiple != 0,
		    AMQP_CONFIRMED);
		return;
	case AMQP_BASIC_NACK_METHOD:
		nack = frame->payload.method.decoded;
		channel_confirm(channel, frame, nack->delivery_tag, nack->multiple != 0,
		    AMQP_NACKED);
		return;
	case AMQP_BASIC_RETURN_METHOD:
		returned = frame->payload.method.decoded;
		channel->return_code = returned->reply_code;
		channel->return_text = slice_of_bytes(returned->reply_text);
		channel->return_exchange = slice_of_bytes(returned->exchange);
		channel->return_key = slice_of_bytes(returned->routing_key);
		channel->expect = EXPECT_HEADER;
		return;
	case AMQP_CHANNEL_CLOSE_METHOD:
		channel_closed(channel, frame->payload.method.decoded);
		return;
	case AMQP_CHANNEL_OPEN_OK_METHOD:
		if (channel->state == CHANNEL_OPENING &&
		    amqp_conn_send(conn, channel->number, AMQP_CONFIRM_SELECT_METHOD, &select))
			channel->state = CHANNEL_SELECTING;
		return;
	case AMQP_CONFIRM_SELECT_OK_METHOD:
		if (channel->state == CHANNEL_SELECTING) {
			channel->state = CHANNEL_READY;
			(void)channel_tell_ready(channel);
		}
		return;
	default:
		amqp_conn_unexpected(conn, frame);
		return;
	}
}

/* The message comes back whole; all we need of it is which one it was. */
static void
channel_return_header(struct amqp_channel *channel, const amqp_frame_t *frame)
{
	const amqp_basic_properties_t *p = frame->payload.properties.decoded;
	struct slice message_id = { NULL, 0 };
	uint64_t identity;

	if (frame->payload.properties.class_id != AMQP_BASIC_CLASS) {
		amqp_conn_unexpected(channel->publisher->conn, frame);
		return;
	}
	if (p->_flags & AMQP_BASIC_MESSAGE_ID_FLAG)
		message_id = slice_of_bytes(p->message_id);
	channel->return_left = frame->payload.properties.body_size;
	channel->expect = channel->return_left > 0 ? EXPECT_BODY : EXPECT_METHOD;
	identity = amqp_identity(
	    channel->return_exchange, channel->return_key, message_id, channel->return_left);
	if (amqp_unconfirmed_return(&channel->unconfirmed, identity, channel->return_code,
		channel->return_text))
		return;
	/* Not to know which message was lost would be to lose it. */
	amqp_conn_fail(channel->publisher->conn, 0,
	    "the broker returned a message that is none of the unconfirmed");
}

static void
channel_return_body(struct amqp_channel *channel, const amqp_frame_t *frame)
{
	size_t len = frame->payload.body_fragment.len;

	if (len > channel->return_left) {
		amqp_conn_unexpected(channel->publisher->conn, frame);
		return;
	}
	channel->return_left -= len;
	if (channel->return_left == 0)
		channel->expect = EXPECT_METHOD;
}

/* A channel that its user has freed waits for close-ok only. */
static void
channel_closing_frame(struct amqp_channel *channel, const amqp_frame_t *frame)
{
	if (frame->frame_type != AMQP_FRAME_METHOD)
		return;
	if (frame->payload.method.id == AMQP_CHANNEL_CLOSE_METHOD)
		channel_closed(channel, frame->payload.method.decoded);
	else if (frame->payload.method.id == AMQP_CHANNEL_CLOSE_OK_METHOD)
		channel_forget(channel);
}

static void
publisher_frame(void *arg, const amqp_frame_t *frame)
{
	static const uint8_t type_of[] = {
		[EXPECT_METHOD] = AMQP_FRAME_METHOD,
		[EXPECT_HEADER] = AMQP_FRAME_HEADER,
		[EXPECT_BODY] = AMQP_FRAME_BODY
	};
	struct amqp_publisher *publisher = arg;
	struct amqp_conn *conn = publisher->conn;	/* outlives this call */
	struct amqp_channel *channel = frame->channel <= publisher->channel_cap
	    ? publisher->channels[frame->channel - 1]
	    : NULL;
	bool return_begun;

	if (channel == NULL) {
		amqp_conn_unexpected(conn, frame);
		return;
	}
	if (channel->state == CHANNEL_CLOSING) {
		channel_closing_frame(channel, frame);
		amqp_conn_release(conn, frame->channel);
		return;
	}
	if (frame->frame_type != type_of[channel->expect]) {
		amqp_conn_unexpected(conn, frame);
		return;
	}
	return_begun = frame->frame_type == AMQP_FRAME_METHOD &&
	    frame->payload.method.id == AMQP_BASIC_RETURN_METHOD;
	if (frame->frame_type == AMQP_FRAME_METHOD)
		channel_method(channel, frame);
	else if (frame->frame_type == AMQP_FRAME_HEADER)
		channel_return_header(channel, frame);
	else
		channel_return_body(channel, frame);
	if (!return_begun)			/* its texts are needed when the header is there */
		amqp_conn_release(conn, frame->channel);
}

/* Publishing. */

static bool
channel_may_publish(struct amqp_channel *channel)
{
	if (amqp_channel_ready(channel))
		return true;
	channel->refused = true;
	return false;
}

static void
publisher_cork(struct amqp_publisher *publisher)
{
	int on = 1;

	if (publisher->corked)
		return;
	publisher->corked =
	    setsockopt(amqp_conn_fd(publisher->conn), IPPROTO_TCP, TCP_CORK, &on, sizeof(on)) == 0;
	loop_timer_set_ms(&publisher->flush, 0);
}

void
amqp_publisher_flush(struct amqp_publisher *publisher)
{
	int off = 0;

	loop_timer_stop(&publisher->flush);
	if (!publisher->corked)
		return;
	publisher->corked = false;
	if (amqp_conn_up(publisher->conn))
		(void)setsockopt(
		    amqp_conn_fd(publisher->conn), IPPROTO_TCP, TCP_CORK, &off, sizeof(off));
}

static void
publisher_flush_timer(void *arg)
{
	amqp_publisher_flush(arg);
}

static void
unfinished_drop(struct amqp_publisher *publisher)
{
	free(publisher->unfinished.rest);
	memset(&publisher->unfinished, 0, sizeof(publisher->unfinished));
}

/* What had to wait until the channel's message was out. */
static void
unfinished_done(struct amqp_publisher *publisher)
{
	struct amqp_channel *channel = publisher->unfinished.channel;
	amqp_channel_close_ok_t ok = { 0 };

	unfinished_drop(publisher);
	if (channel->state == CHANNEL_CLOSING)
		channel_send_close(channel);
	if (channel->state != CHANNEL_CLOSED ||
	    !amqp_conn_send(publisher->conn, channel->number, AMQP_CHANNEL_CLOSE_OK_METHOD, &ok))
		return;
	channel->state = CHANNEL_DOWN;
	if (channel->freed)
		channel_forget(channel);
	else
		channel_open(channel);
}

/* Sends as much of a body as there is room for, but not more than a round's share. Returns how
 * much that was. */
static size_t
publisher_send_body(struct amqp_publisher *publisher, unsigned number, const char *body, size_t len)
{
	struct amqp_conn *conn = publisher->conn;
	size_t most = amqp_conn_frame_max(conn), sent = 0;

	if (most > amqp_conn_room_most(conn))
		most = amqp_conn_room_most(conn);
	most -= AMQP_FRAME_OVERHEAD;
	for (int count = 0; sent < len && count < ROUND_FRAMES; count++) {
		size_t piece = len - sent < most ? len - sent : most;
		amqp_frame_t frame = { .frame_type = AMQP_FRAME_BODY,
			.channel = (amqp_channel_t)number };
		int status;

		if (!amqp_conn_room(conn, piece + AMQP_FRAME_OVERHEAD))
			break;
		publisher_cork(publisher);
		frame.payload.body_fragment = amqp_bytes_of((struct slice){ body + sent, piece });
		status = amqp_send_frame(amqp_conn_library(conn), &frame);
		if (status != AMQP_STATUS_OK) {
			amqp_conn_fail_status(conn, status, "publish");
			break;
		}
		sent += piece;
	}
	return sent;
}

/* The method, the header, and the beginning of the body; the rest is kept. */
static int
channel_begin(struct amqp_channel *channel, struct slice exchange, struct slice key,
    const char *body, size_t body_size)
{
	struct amqp_publisher *publisher = channel->publisher;
	amqp_basic_publish_t method = { .exchange = amqp_bytes_of(exchange),
		.routing_key = amqp_bytes_of(key), .mandatory = 1 };
	amqp_frame_t header = { .frame_type = AMQP_FRAME_HEADER,
		.channel = (amqp_channel_t)channel->number };
	size_t sent;
	int status;

	if (!amqp_conn_send(
		publisher->conn, channel->number, AMQP_BASIC_PUBLISH_METHOD, &method))
		return -1;
	header.payload.properties.class_id = AMQP_BASIC_CLASS;
	header.payload.properties.body_size = body_size;
	header.payload.properties.decoded = &publisher->out.properties;
	status = amqp_send_frame(amqp_conn_library(publisher->conn), &header);
	if (status != AMQP_STATUS_OK) {
		amqp_conn_fail_status(publisher->conn, status, "publish");
		return -1;
	}
	sent = publisher_send_body(publisher, channel->number, body, body_size);
	if (!amqp_conn_up(publisher->conn))
		return -1;
	if (sent == body_size)
		return 0;
	publisher->unfinished.channel = channel;
	publisher->unfinished.len = body_size - sent;
	publisher->unfinished.rest = xmalloc(body_size - sent);
	memcpy(publisher->unfinished.rest, body + sent, body_size - sent);
	amqp_conn_want_room(publisher->conn);
	return 0;
}

static enum amqp_publish_status
channel_send(struct amqp_channel *channel, struct slice exchange, struct slice key,
    const void *body, size_t body_size, void *token)
{
	struct amqp_publisher *publisher = channel->publisher;
	const amqp_basic_properties_t *p = &publisher->out.properties;
	size_t frames =
	    2 + body_size / (amqp_conn_frame_max(publisher->conn) - AMQP_FRAME_OVERHEAD) + 1;
	size_t bytes =
	    exchange.len + key.len + publisher->out.encoded_bytes + body_size + frames * 24;
	size_t most = amqp_conn_room_most(publisher->conn), first = bytes;
	struct slice message_id = { NULL, 0 };
	int status;

	if (bytes > most) {
		first = exchange.len + key.len + publisher->out.encoded_bytes + 2 * 24;
		/* A header that fills a frame, and a kernel that allows small buffers only: it is
		 * tried all the same. */
		if (first > most)
			first = most;
	}
	if (!amqp_conn_room(publisher->conn, first)) {
		amqp_publisher_flush(publisher);
		amqp_conn_want_room(publisher->conn);
		channel->refused = true;
		return AMQP_NOT_READY;
	}
	publisher_cork(publisher);
	if (bytes > most) {
		if (channel_begin(channel, exchange, key, body, body_size) != 0) {
			channel->refused = true;
			return AMQP_NOT_READY;
		}
		status = AMQP_STATUS_OK;
	} else {
		status = amqp_basic_publish(amqp_conn_library(publisher->conn),
		    (amqp_channel_t)channel->number, amqp_bytes_of(exchange), amqp_bytes_of(key), 1,
		    0, p, amqp_bytes_of((struct slice){ body, body_size }));
	}
	if (status != AMQP_STATUS_OK) {
		amqp_conn_fail_status(publisher->conn, status, "publish");
		channel->refused = true;
		return AMQP_NOT_READY;
	}
	if (p->_flags & AMQP_BASIC_MESSAGE_ID_FLAG)
		message_id = slice_of_bytes(p->message_id);
	amqp_unconfirmed_add(&channel->unconfirmed, token,
	    amqp_identity(exchange, key, message_id, body_size));
	return AMQP_PUBLISHED;
}

enum amqp_publish_status
amqp_channel_publish(struct amqp_channel *channel, const struct amqp_message *message, void *token,
    char *error, size_t error_size)
{
	struct amqp_publisher *publisher = channel->publisher;

	if (!channel_may_publish(channel))
		return AMQP_NOT_READY;
	if (amqp_outgoing_message(&publisher->out, message, amqp_conn_frame_max(publisher->conn),
		error, error_size) != 0)
		return AMQP_BAD_MESSAGE;
	return channel_send(channel, message->exchange, message->routing_key, message->body,
	    message->body_size, token);
}

enum amqp_publish_status
amqp_channel_copy(struct amqp_channel *channel, const struct amqp_copy *copy, void *token,
    char *error, size_t error_size)
{
	struct amqp_publisher *publisher = channel->publisher;

	if (!channel_may_publish(channel))
		return AMQP_NOT_READY;
	if (amqp_outgoing_copy(&publisher->out, copy, amqp_conn_frame_max(publisher->conn), error,
		error_size) != 0)
		return AMQP_BAD_MESSAGE;
	return channel_send(
	    channel, copy->exchange, copy->routing_key, copy->body, copy->body_size, token);
}

/* Life. */

/* ready() for those who were told NOT_READY: each is the first one in turn. */
static void
publisher_tell_ready(struct amqp_publisher *publisher)
{
	size_t first = publisher->turn++;

	for (size_t i = 0; !publisher->freed && i < publisher->channel_cap; i++) {
		struct amqp_channel *channel =
		    publisher->channels[(first + i) % publisher->channel_cap];

		if (channel != NULL && !channel->freed && channel->refused &&
		    amqp_channel_ready(channel))
			(void)channel_tell_ready(channel);
	}
}

static void
publisher_blocked(void *arg, bool blocked, struct slice reason)
{
	struct amqp_publisher *publisher = arg;

	publisher->blocked = blocked;
	publisher->events->blocked(publisher->arg, blocked, reason);
	if (!publisher->freed && !blocked)
		publisher_tell_ready(publisher);
}

static void
publisher_up(void *arg)
{
	struct amqp_publisher *publisher = arg;

	for (size_t i = 0; i < publisher->channel_cap; i++) {
		if (publisher->channels[i] != NULL)
			channel_open(publisher->channels[i]);
	}
	publisher->events->connected(publisher->arg);
}

static void
publisher_down(void *arg, const struct amqp_error *error)
{
	struct amqp_publisher *publisher = arg;

	loop_timer_stop(&publisher->flush);
	unfinished_drop(publisher);
	publisher->corked = publisher->blocked = false;
	for (size_t i = 0; !publisher->freed && i < publisher->channel_cap; i++) {
		struct amqp_channel *channel = publisher->channels[i];
		bool was_ready;

		if (channel == NULL)
			continue;
		was_ready = channel->state == CHANNEL_READY;
		channel->state = CHANNEL_DOWN;
		if (channel->freed)
			channel_forget(channel);
		else if (was_ready)
			(void)channel_tell_down(channel, error);
	}
	if (!publisher->freed)
		publisher->events->lost(publisher->arg, error);
}

static void
publisher_writable(void *arg)
{
	struct amqp_publisher *publisher = arg;
	struct amqp_channel *channel = publisher->unfinished.channel;

	if (channel != NULL) {
		publisher->unfinished.sent += publisher_send_body(publisher, channel->number,
		    publisher->unfinished.rest + publisher->unfinished.sent,
		    publisher->unfinished.len - publisher->unfinished.sent);
		if (publisher->unfinished.sent < publisher->unfinished.len) {
			amqp_conn_want_room(publisher->conn);
			return;
		}
		unfinished_done(publisher);
	}
	publisher_tell_ready(publisher);
}

static void
publisher_gone(void *arg)
{
	struct amqp_publisher *publisher = arg;

	amqp_outgoing_release(&publisher->out);
	unfinished_drop(publisher);
	free(publisher->channels);
	free(publisher);
}

static const struct amqp_conn_owner publisher_owner = {
	.up = publisher_up,
	.frame = publisher_frame,
	.blocked = publisher_blocked,
	.writable = publisher_writable,
	.down = publisher_down,
	.gone = publisher_gone
};

struct amqp_publisher *
amqp_publisher_new(struct loop *loop, const struct amqp_conn_options *options,
    const struct amqp_publisher_events *events, void *arg)
{
	struct amqp_publisher *publisher = xcalloc(1, sizeof(*publisher));

	publisher->events = events;
	publisher->arg = arg;
	amqp_outgoing_init(&publisher->out);
	loop_timer_init(&publisher->flush, loop, publisher_flush_timer, publisher);
	publisher->conn = amqp_conn_new(loop, options, &publisher_owner, publisher);
	amqp_conn_start(publisher->conn);
	return publisher;
}

void
amqp_publisher_free(struct amqp_publisher **publisher_p)
{
	struct amqp_publisher *publisher = *publisher_p;

	if (publisher == NULL)
		return;
	*publisher_p = NULL;
	publisher->freed = true;
	loop_timer_stop(&publisher->flush);
	for (size_t i = 0; i < publisher->channel_cap; i++) {
		struct amqp_channel *channel = publisher->channels[i];

		if (channel == NULL)
			continue;
		if (channel->freed) {
			channel_forget(channel);
			continue;
		}
		channel->publisher = NULL;
		channel->state = CHANNEL_DOWN;
		amqp_unconfirmed_clear(&channel->unconfirmed);
	}
	amqp_conn_free(&publisher->conn);	/* publisher_gone() frees the rest */
}

bool
amqp_publisher_connected(const struct amqp_publisher *publisher)
{
	return amqp_conn_up(publisher->conn);
}

int
amqp_publisher_channel_max(const struct amqp_publisher *publisher)
{
	return amqp_conn_channel_max(publisher->conn);
}

bool
amqp_publisher_blocked(const struct amqp_publisher *publisher)
{
	return publisher->blocked;
}
