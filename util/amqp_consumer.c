/*
 * amqp_consumer.c - one queue, one connection, one channel: puts deliveries together from frames,
 * settles them.
 *
 * Bodies go from the frame straight into the user's memory. Settlements are sent at once; when the
 * socket is full they wait in a list, so that a broker that does not read cannot stop the loop.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include "util/amqp_conn_internal.h"
#include "util/amqp_consumer.h"

enum { CHANNEL = 1, TAG_SIZE = 200, SETTLEMENT_BYTES = 32, LAST_WORDS_BYTES = 100 };

enum consumer_state {
	CONSUMER_DOWN,			/* no connection */
	CONSUMER_CONSUMING,
	CONSUMER_CANCELLING,		/* basic.cancel is out */
	CONSUMER_CANCELLED,
	CONSUMER_RESUMING		/* basic.consume is out */
};

enum expect { EXPECT_METHOD, EXPECT_HEADER, EXPECT_BODY };

enum settlement_kind { SETTLE_ACK, SETTLE_ACK_MULTIPLE, SETTLE_GIVE_BACK };
struct settlement { uint64_t tag; enum settlement_kind kind; };

struct amqp_consumer {
	struct amqp_conn *conn;
	struct amqp_consumer_options options;
	const struct amqp_consumer_events *events;
	void *arg;
	enum consumer_state state;
	bool wanted;			/* to consume; false after amqp_consumer_cancel() */
	bool owes_cancelled;		/* cancel was asked for, cancelled() not yet called */
	bool freed;			/* call no event any more */
	unsigned generation;
	unsigned resumed;		/* how often in this generation: makes tags different */
	struct loop_timer tell;		/* cancelled() without a broker to wait for */
	struct buf waiting;		/* settlements for which the socket had no room */
	/* the delivery that is being received: */
	enum expect expect;
	struct amqp_delivery delivery;
	char *body;
	size_t body_have;
};

/* Set-up, in the dial thread. */

struct setup {				/* copies, in the dial's arena */
	const char *queue, *tag;
	uint16_t prefetch;
	struct amqp_declaration *declare;
	size_t declare_count;
};

static void
make_tag(const struct amqp_consumer *consumer, unsigned generation, char *tag, size_t size)
{
	if (consumer->resumed == 0)
		(void)snprintf(tag, size, "%.160s-%u", consumer->options.tag_prefix, generation);
	else
		(void)snprintf(tag, size, "%.160s-%u.%u", consumer->options.tag_prefix, generation,
		    consumer->resumed);
}

static const char *
copy_text(struct arena *arena, const char *text)
{
	return text == NULL ? NULL : arena_strdup(arena, text);
}

static void *
consumer_prepare(void *arg, struct arena *arena)
{
	struct amqp_consumer *consumer = arg;
	const struct amqp_consumer_options *options = &consumer->options;
	struct setup *setup = arena_zalloc(arena, sizeof(*setup));
	char tag[TAG_SIZE];

	consumer->resumed = 0;
	make_tag(consumer, consumer->generation + 1, tag, sizeof(tag));
	setup->tag = arena_strdup(arena, tag);
	setup->queue = arena_strdup(arena, options->queue);
	setup->prefetch = options->prefetch;
	setup->declare_count = options->declare_count;
	setup->declare = arena_array(arena, options->declare_count, sizeof(*setup->declare));
	for (size_t i = 0; i < options->declare_count; i++) {
		const struct amqp_declaration *from = &options->declare[i];
		struct amqp_declaration *to = &setup->declare[i];
		struct amqp_header *args = arena_array(arena, from->arg_count, sizeof(*args));

		*to = (struct amqp_declaration){
			.kind = from->kind,
			.name = copy_text(arena, from->name),
			.type = copy_text(arena, from->type),
			.exchange = copy_text(arena, from->exchange),
			.key = copy_text(arena, from->key),
			.args = args,
			.arg_count = from->arg_count
		};
		for (size_t j = 0; j < from->arg_count; j++) {
			args[j] = from->args[j];
			args[j].name = arena_strdup(arena, from->args[j].name);
			if (args[j].kind == AMQP_STRING)
				args[j].text.data = arena_memdup(
				    arena, from->args[j].text.data, from->args[j].text.len);
		}
	}
	return setup;
}

static amqp_bytes_t
text_bytes(const char *text)
{
	return amqp_bytes_of(slice_of(text));
}

static int
declare_one(const struct amqp_declaration *d, amqp_connection_state_t library,
    const struct amqp_target *target, struct amqp_error *error)
{
	amqp_table_entry_t *entries = xcalloc(d->arg_count + 1, sizeof(*entries));
	amqp_table_t table = { .num_entries = (int)d->arg_count, .entries = entries };
	amqp_rpc_reply_t reply = { .reply_type = AMQP_RESPONSE_NONE };
	int result = 0;

	amqp_table_entries(d->args, d->arg_count, entries);
	switch (d->kind) {
	case AMQP_DECLARE_EXCHANGE:
		(void)amqp_exchange_declare(
		    library, CHANNEL, text_bytes(d->name), text_bytes(d->type), 0, 1, 0, 0, table);
		reply = amqp_get_rpc_reply(library);
		if (reply.reply_type != AMQP_RESPONSE_NORMAL)
			amqp_error_reply(error, target, reply, "declare exchange \"%s\" of type %s",
			    d->name, d->type);
		break;
	case AMQP_DECLARE_QUEUE:
		(void)amqp_queue_declare(library, CHANNEL, text_bytes(d->name), 0, 1, 0, 0, table);
		reply = amqp_get_rpc_reply(library);
		if (reply.reply_type != AMQP_RESPONSE_NORMAL)
			amqp_error_reply(error, target, reply, "declare queue \"%s\"", d->name);
		if (reply.reply_type != AMQP_RESPONSE_NORMAL &&
		    error->code == AMQP_PRECONDITION_FAILED)
			amqp_error_add_arguments(error, d->args, d->arg_count);
		break;
	case AMQP_DECLARE_BINDING:
		(void)amqp_queue_bind(library, CHANNEL, text_bytes(d->name),
		    text_bytes(d->exchange), text_bytes(d->key), table);
		reply = amqp_get_rpc_reply(library);
		if (reply.reply_type != AMQP_RESPONSE_NORMAL)
			amqp_error_reply(error, target, reply,
			    "bind queue \"%s\" to exchange \"%s\" with key \"%s\"", d->name,
			    d->exchange, d->key);
		break;
	}
	if (reply.reply_type != AMQP_RESPONSE_NORMAL)
		result = -1;
	amqp_maybe_release_buffers(library);
	free(entries);
	return result;
}

static int
consumer_setup(void *prepared, amqp_connection_state_t library, const struct amqp_target *target,
    struct amqp_error *error)
{
	const struct setup *setup = prepared;

	if (amqp_channel_open(library, CHANNEL) == NULL) {
		amqp_error_reply(error, target, amqp_get_rpc_reply(library), "open a channel");
		return -1;
	}
	for (size_t i = 0; i < setup->declare_count; i++) {
		if (declare_one(&setup->declare[i], library, target, error) != 0)
			return -1;
	}
	/* Before consume, which takes it; and never global (facts rows 59, 60). */
	if (amqp_basic_qos(library, CHANNEL, 0, setup->prefetch, 0) == NULL) {
		amqp_error_reply(error, target, amqp_get_rpc_reply(library), "set prefetch %u",
		    (unsigned)setup->prefetch);
		return -1;
	}
	if (amqp_basic_consume(library, CHANNEL, text_bytes(setup->queue), text_bytes(setup->tag),
		0, 0, 0, amqp_empty_table) == NULL) {
		amqp_error_reply(error, target, amqp_get_rpc_reply(library),
		    "consume from queue \"%s\"", setup->queue);
		return -1;
	}
	amqp_maybe_release_buffers(library);
	return 0;
}

/* Cancel and resume. */

static void
consumer_tell_cancelled(struct amqp_consumer *consumer)
{
	loop_timer_stop(&consumer->tell);
	if (consumer->freed || !consumer->owes_cancelled)
		return;
	consumer->owes_cancelled = false;
	consumer->events->cancelled(consumer->arg);
}

static void
consumer_tell(void *arg)
{
	consumer_tell_cancelled(arg);
}

static void
send_cancel(struct amqp_consumer *consumer)
{
	char tag[TAG_SIZE];
	amqp_basic_cancel_t method = { .nowait = 0 };

	make_tag(consumer, consumer->generation, tag, sizeof(tag));
	method.consumer_tag = text_bytes(tag);
	if (amqp_conn_send(consumer->conn, CHANNEL, AMQP_BASIC_CANCEL_METHOD, &method))
		consumer->state = CONSUMER_CANCELLING;
}

static void
send_consume(struct amqp_consumer *consumer)
{
	char tag[TAG_SIZE];
	amqp_basic_consume_t method = { .arguments = amqp_empty_table };

	consumer->resumed++;
	make_tag(consumer, consumer->generation, tag, sizeof(tag));
	method.queue = text_bytes(consumer->options.queue);
	method.consumer_tag = text_bytes(tag);
	if (amqp_conn_send(consumer->conn, CHANNEL, AMQP_BASIC_CONSUME_METHOD, &method))
		consumer->state = CONSUMER_RESUMING;
}

void
amqp_consumer_cancel(struct amqp_consumer *consumer)
{
	if (!consumer->wanted)
		return;
	consumer->wanted = false;
	consumer->owes_cancelled = true;
	switch (consumer->state) {
	case CONSUMER_DOWN:
		amqp_conn_stop(consumer->conn);
		loop_timer_set_ms(&consumer->tell, 0);
		break;
	case CONSUMER_CONSUMING:
		send_cancel(consumer);
		break;
	case CONSUMER_CANCELLED:		/* resumed and cancelled before anything was sent */
		loop_timer_set_ms(&consumer->tell, 0);
		break;
	case CONSUMER_CANCELLING:
	case CONSUMER_RESUMING:			/* its answer brings us here again */
		break;
	}
}

void
amqp_consumer_resume(struct amqp_consumer *consumer)
{
	if (consumer->wanted)
		return;
	consumer->wanted = true;
	if (consumer->state == CONSUMER_DOWN) {
		consumer->owes_cancelled = false;
		loop_timer_stop(&consumer->tell);
		amqp_conn_start(consumer->conn);
	} else if (consumer->state == CONSUMER_CANCELLED) {
		send_consume(consumer);
	}
}

static void
consumer_consume_ok(struct amqp_consumer *consumer)
{
	consumer->state = CONSUMER_CONSUMING;
	if (!consumer->wanted)
		send_cancel(consumer);
	else
		consumer->events->consuming(consumer->arg, consumer->generation);
}

static void
consumer_cancel_ok(struct amqp_consumer *consumer)
{
	consumer->state = CONSUMER_CANCELLED;
	consumer_tell_cancelled(consumer);
	if (!consumer->freed && consumer->wanted && consumer->state == CONSUMER_CANCELLED)
		send_consume(consumer);
}

/* Frames. */

static void
consumer_method(struct amqp_consumer *consumer, const amqp_frame_t *frame)
{
	const amqp_basic_deliver_t *deliver;
	amqp_channel_close_ok_t close_ok = { 0 };

	switch (frame->payload.method.id) {
	case AMQP_BASIC_DELIVER_METHOD:
		deliver = frame->payload.method.decoded;
		consumer->delivery = (struct amqp_delivery){
			.tag = deliver->delivery_tag,
			.generation = consumer->generation,
			.redelivered = deliver->redelivered != 0,
			.exchange = slice_of_bytes(deliver->exchange),
			.routing_key = slice_of_bytes(deliver->routing_key)
		};
		consumer->expect = EXPECT_HEADER;
		/* exchange and key stay in the frame until the header is there */
		return;
	case AMQP_BASIC_CANCEL_METHOD:
		/* 4.3 keeps such a consumer until everything is settled, older brokers do not; a
		 * new channel is right for all (facts row 42). */
		amqp_conn_fail(consumer->conn, 0,
		    "the broker cancelled the consumer of queue \"%s\": the queue was deleted, or has no leader",
		    consumer->options.queue);
		break;
	case AMQP_BASIC_CANCEL_OK_METHOD:
		consumer_cancel_ok(consumer);
		break;
	case AMQP_BASIC_CONSUME_OK_METHOD:
		consumer_consume_ok(consumer);
		break;
	case AMQP_CHANNEL_CLOSE_METHOD:
		(void)amqp_conn_send(
		    consumer->conn, CHANNEL, AMQP_CHANNEL_CLOSE_OK_METHOD, &close_ok);
		amqp_conn_fail_channel(consumer->conn, frame->payload.method.decoded);
		break;
	default:
		amqp_conn_unexpected(consumer->conn, frame);
		break;
	}
}

static void
consumer_delivered(struct amqp_consumer *consumer)
{
	consumer->expect = EXPECT_METHOD;
	consumer->body = NULL;
	consumer->events->delivered(consumer->arg);
}

static struct slice
property(const amqp_basic_properties_t *properties, amqp_flags_t flag, amqp_bytes_t value)
{
	return properties->_flags & flag ? slice_of_bytes(value) : (struct slice){ NULL, 0 };
}

static void
consumer_header(struct amqp_consumer *consumer, const amqp_frame_t *frame)
{
	const amqp_basic_properties_t *p = frame->payload.properties.decoded;
	struct amqp_delivery *delivery = &consumer->delivery;

	if (frame->payload.properties.class_id != AMQP_BASIC_CLASS ||
	    frame->payload.properties.body_size > (uint64_t)AMQP_BODY_RECEIVE_MAX) {
		amqp_conn_unexpected(consumer->conn, frame);
		return;
	}
	delivery->message_id = property(p, AMQP_BASIC_MESSAGE_ID_FLAG, p->message_id);
	delivery->type = property(p, AMQP_BASIC_TYPE_FLAG, p->type);
	delivery->content_type = property(p, AMQP_BASIC_CONTENT_TYPE_FLAG, p->content_type);
	delivery->correlation_id = property(p, AMQP_BASIC_CORRELATION_ID_FLAG, p->correlation_id);
	delivery->reply_to = property(p, AMQP_BASIC_REPLY_TO_FLAG, p->reply_to);
	delivery->app_id = property(p, AMQP_BASIC_APP_ID_FLAG, p->app_id);
	delivery->user_id = property(p, AMQP_BASIC_USER_ID_FLAG, p->user_id);
	delivery->expiration = property(p, AMQP_BASIC_EXPIRATION_FLAG, p->expiration);
	if (p->_flags & AMQP_BASIC_TIMESTAMP_FLAG && p->timestamp <= INT64_MAX)
		delivery->timestamp_s = (int64_t)p->timestamp;
	delivery->raw_properties = slice_of_bytes(frame->payload.properties.raw);
	delivery->body_size = (size_t)frame->payload.properties.body_size;
	delivery->headers = p->_flags & AMQP_BASIC_HEADERS_FLAG ? &p->headers : NULL;
	consumer->expect = EXPECT_BODY;
	consumer->body_have = 0;
	consumer->body = consumer->events->delivery(consumer->arg, delivery);
	if (consumer->freed)
		return;
	assert(consumer->body != NULL);
	if (delivery->body_size == 0)
		consumer_delivered(consumer);
}

static void
consumer_body(struct amqp_consumer *consumer, const amqp_frame_t *frame)
{
	amqp_bytes_t part = frame->payload.body_fragment;

	if (part.len > consumer->delivery.body_size - consumer->body_have) {
		amqp_conn_unexpected(consumer->conn, frame);
		return;
	}
	memcpy(consumer->body + consumer->body_have, part.bytes, part.len);
	consumer->body_have += part.len;
	if (consumer->body_have == consumer->delivery.body_size)
		consumer_delivered(consumer);
}

static void
consumer_frame(void *arg, const amqp_frame_t *frame)
{
	static const uint8_t type_of[] = {
		[EXPECT_METHOD] = AMQP_FRAME_METHOD,
		[EXPECT_HEADER] = AMQP_FRAME_HEADER,
		[EXPECT_BODY] = AMQP_FRAME_BODY
	};
	struct amqp_consumer *consumer = arg;
	/* outlives this call; consumer->conn is NULL after amqp_consumer_free() */
	struct amqp_conn *conn = consumer->conn;
	bool closing = frame->frame_type == AMQP_FRAME_METHOD &&
	    frame->payload.method.id == AMQP_CHANNEL_CLOSE_METHOD;

	/* A channel can be closed in the middle of a delivery: the broker's limit of a message's
	 * life ends anywhere. */
	if (frame->channel != CHANNEL ||
	    (frame->frame_type != type_of[consumer->expect] && !closing)) {
		amqp_conn_unexpected(conn, frame);
		return;
	}
	if (frame->frame_type == AMQP_FRAME_METHOD)
		consumer_method(consumer, frame);
	else if (frame->frame_type == AMQP_FRAME_HEADER)
		consumer_header(consumer, frame);
	else
		consumer_body(consumer, frame);
	if (consumer->freed || consumer->expect != EXPECT_HEADER)
		amqp_conn_release(conn, CHANNEL);
}

/* Settling. */

static bool
send_settlement(struct amqp_consumer *consumer, const struct settlement *s)
{
	amqp_basic_ack_t ack = { s->tag, s->kind == SETTLE_ACK_MULTIPLE };
	amqp_basic_nack_t nack = { .delivery_tag = s->tag, .requeue = 1 };

	/* nack, not reject: on 4.3 only a reject counts as a failure (facts row 40) */
	if (s->kind == SETTLE_GIVE_BACK)
		return amqp_conn_send(consumer->conn, CHANNEL, AMQP_BASIC_NACK_METHOD, &nack);
	return amqp_conn_send(consumer->conn, CHANNEL, AMQP_BASIC_ACK_METHOD, &ack);
}

static void
consumer_writable(void *arg)
{
	struct amqp_consumer *consumer = arg;
	struct settlement s;
	size_t at = 0;

	for (; at < consumer->waiting.len; at += sizeof(s)) {
		if (!amqp_conn_room(consumer->conn, SETTLEMENT_BYTES)) {
			amqp_conn_want_room(consumer->conn);
			break;
		}
		memcpy(&s, consumer->waiting.data + at, sizeof(s));
		if (!send_settlement(consumer, &s))
			break;
	}
	buf_consume(&consumer->waiting, at);
}

static void
consumer_settle(struct amqp_consumer *consumer, unsigned generation, uint64_t tag,
    enum settlement_kind kind)
{
	struct settlement s = { .tag = tag, .kind = kind };

	if (generation != consumer->generation || consumer->state == CONSUMER_DOWN)
		return;
	if (consumer->waiting.len == 0 && amqp_conn_room(consumer->conn, SETTLEMENT_BYTES)) {
		(void)send_settlement(consumer, &s);
		return;
	}
	buf_append(&consumer->waiting, &s, sizeof(s));
	amqp_conn_want_room(consumer->conn);
}

void
amqp_consumer_ack(struct amqp_consumer *consumer, unsigned generation, uint64_t tag, bool multiple)
{
	consumer_settle(consumer, generation, tag, multiple ? SETTLE_ACK_MULTIPLE : SETTLE_ACK);
}

void
amqp_consumer_give_back(struct amqp_consumer *consumer, unsigned generation, uint64_t tag)
{
	consumer_settle(consumer, generation, tag, SETTLE_GIVE_BACK);
}

/*
 * The header of a delivery cannot be decoded. It may have been damaged on the way: the first time
 * the loss of the connection is all. When it comes again, it is rejected, since it would come for
 * ever: the library still sends.
 */
static void
consumer_unreadable(void *arg)
{
	struct amqp_consumer *consumer = arg;
	const struct amqp_delivery *delivery = &consumer->delivery;
	amqp_basic_reject_t reject = { delivery->tag, 0 };
	struct slice exchange = delivery->exchange, key = delivery->routing_key;

	if (consumer->expect != EXPECT_HEADER || !delivery->redelivered ||
	    !consumer->options.dead_letters || consumer->waiting.len > 0 ||
	    !amqp_conn_room(consumer->conn, LAST_WORDS_BYTES) ||
	    !amqp_conn_send(consumer->conn, CHANNEL, AMQP_BASIC_REJECT_METHOD, &reject))
		return;
	amqp_conn_leave(consumer->conn, true,
	    "a message of exchange \"%.*s\" with routing key \"%.*s\" has headers that cannot be decoded, "
	    "nested too deep perhaps: it is rejected into the dead letter exchange of queue \"%s\"",
	    (int)exchange.len, exchange.len > 0 ? exchange.data : "",
	    (int)key.len, key.len > 0 ? key.data : "", consumer->options.queue);
}

/* Life. */

static void
consumer_up(void *arg)
{
	struct amqp_consumer *consumer = arg;

	consumer->generation++;
	consumer_consume_ok(consumer);
}

static void
consumer_down(void *arg, const struct amqp_error *error)
{
	struct amqp_consumer *consumer = arg;

	consumer->state = CONSUMER_DOWN;
	consumer->expect = EXPECT_METHOD;
	consumer->body = NULL;
	buf_clear(&consumer->waiting);
	if (!consumer->wanted)
		amqp_conn_stop(consumer->conn);
	consumer->events->lost(consumer->arg, error);
	consumer_tell_cancelled(consumer);
}

static void
consumer_gone(void *arg)
{
	struct amqp_consumer *consumer = arg;

	buf_release(&consumer->waiting);
	free(consumer);
}

static const struct amqp_conn_owner consumer_owner = {
	.prepare = consumer_prepare,
	.setup = consumer_setup,
	.up = consumer_up,
	.frame = consumer_frame,
	.unreadable = consumer_unreadable,
	.writable = consumer_writable,
	.down = consumer_down,
	.gone = consumer_gone
};

struct amqp_consumer *
amqp_consumer_new(struct loop *loop, const struct amqp_consumer_options *options,
    const struct amqp_consumer_events *events, void *arg)
{
	struct amqp_consumer *consumer = xcalloc(1, sizeof(*consumer));

	consumer->options = *options;
	consumer->events = events;
	consumer->arg = arg;
	consumer->wanted = true;
	buf_init(&consumer->waiting);
	loop_timer_init(&consumer->tell, loop, consumer_tell, consumer);
	consumer->conn = amqp_conn_new(loop, &options->conn, &consumer_owner, consumer);
	amqp_conn_start(consumer->conn);
	return consumer;
}

void
amqp_consumer_free(struct amqp_consumer **consumer_p)
{
	struct amqp_consumer *consumer = *consumer_p;

	if (consumer == NULL)
		return;
	*consumer_p = NULL;
	consumer->freed = true;
	loop_timer_stop(&consumer->tell);
	/* consumer_gone() frees the rest, when nobody is in here any more */
	amqp_conn_free(&consumer->conn);
}

static bool
send_waiting(struct amqp_consumer *consumer, struct clock_mono deadline)
{
	while (consumer->waiting.len > 0 && amqp_conn_wait_writable(consumer->conn, deadline))
		consumer_writable(consumer);
	return consumer->waiting.len == 0;
}

/*
 * While 32 commands of a channel are under way to a quorum queue, the channel keeps back what comes
 * after them, and what it still keeps back when it is closed is lost: messages whose acks were sent
 * would come again (rabbit_fifo_client.erl, SOFT_LIMIT and close()). Consume and cancel are the
 * commands for which it waits: behind their answers nothing is kept back. A message that comes with
 * them is given back: on 4.3 the close would count as its failure (facts row 44). No answer (the
 * queue is gone, or somebody has it alone) is no reason not to close in order.
 */
static void
wait_for_settlements(struct amqp_consumer *consumer, struct clock_mono deadline)
{
	amqp_basic_qos_t qos = { .prefetch_count = 1 };
	amqp_basic_consume_t consume = { .arguments = amqp_empty_table };
	amqp_basic_cancel_t cancel = { .nowait = 0 };
	amqp_basic_nack_t nack_all = { .delivery_tag = 0, .multiple = 1, .requeue = 1 };
	char tag[TAG_SIZE];

	if (consumer->state != CONSUMER_CANCELLED)
		return;
	consumer->resumed++;
	make_tag(consumer, consumer->generation, tag, sizeof(tag));
	consume.queue = text_bytes(consumer->options.queue);
	consume.consumer_tag = cancel.consumer_tag = text_bytes(tag);
	if (amqp_conn_ask(consumer->conn, CHANNEL, AMQP_BASIC_QOS_METHOD, &qos,
		AMQP_BASIC_QOS_OK_METHOD, deadline) &&
	    amqp_conn_ask(consumer->conn, CHANNEL, AMQP_BASIC_CONSUME_METHOD, &consume,
		AMQP_BASIC_CONSUME_OK_METHOD, deadline) &&
	    amqp_conn_ask(consumer->conn, CHANNEL, AMQP_BASIC_CANCEL_METHOD, &cancel,
		AMQP_BASIC_CANCEL_OK_METHOD, deadline))
		(void)amqp_conn_send(consumer->conn, CHANNEL, AMQP_BASIC_NACK_METHOD, &nack_all);
}

void
amqp_consumer_close(struct amqp_consumer **consumer_p, int64_t timeout_ms)
{
	struct amqp_consumer *consumer = *consumer_p;
	struct clock_mono deadline = clock_mono_after_ms(clock_mono_now(), timeout_ms);

	if (consumer == NULL)
		return;
	if (consumer->state != CONSUMER_DOWN) {
		if (send_waiting(consumer, deadline))
			wait_for_settlements(consumer, deadline);
		amqp_conn_close(consumer->conn, CHANNEL, deadline);
	}
	amqp_consumer_free(consumer_p);
}

unsigned
amqp_consumer_generation(const struct amqp_consumer *consumer)
{
	return consumer->generation;
}

bool
amqp_consumer_consuming(const struct amqp_consumer *consumer)
{
	return consumer->state == CONSUMER_CONSUMING;
}

void
amqp_consumer_pause_reading(struct amqp_consumer *consumer, bool paused)
{
	amqp_conn_pause(consumer->conn, paused);
}

void
amqp_consumer_recycle(struct amqp_consumer *consumer, const char *why)
{
	amqp_conn_fail(consumer->conn, 0, "%s", why);
}
