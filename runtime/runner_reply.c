/*
 * runner_reply.c - replies: what a handler answers goes to the queue that the message names in
 * reply_to, once its effects are committed. In the runner.
 *
 * Best effort: a reply can be lost with the connection, with the process, or because too many wait.
 * The message is done all the same. A published reply is not kept; its outcome is only told.
 */
#include "runtime/runner_internal.h"

enum { WAITING_MOST = 4096, WAITING_BYTES_MOST = 16 << 20 };

struct reply {
	struct reply *next;
	struct slice to, correlation_id, content_type, trace, body;	/* in the bytes */
	char bytes[];
};

static size_t
size_of(const struct reply *reply)
{
	return sizeof(*reply) + reply->to.len + reply->correlation_id.len + reply->content_type.len +
	    reply->trace.len + reply->body.len;
}

/* ---- the channel ---- */

static void
on_ready(void *arg)
{
	struct runner *r = arg;

	log_recovered(&r->replies.lost, "replies can be published again");
}

static void
on_outcome(void *arg, void *token, enum amqp_outcome outcome, int code, struct slice text)
{
	struct runner *r = arg;

	(void)token;
	switch (outcome) {
	case AMQP_CONFIRMED:
		break;
	case AMQP_RETURNED:
		log_complain(&r->replies.lost, LOG_LEVEL_INFO, "a reply was returned: %d %.*s: who "
		    "asked has gone, or its reply_to names no queue", code, (int)text.len, text.data);
		break;
	case AMQP_NACKED:
		log_complain(&r->replies.lost, LOG_LEVEL_WARNING, "the broker refused a reply: look at "
		    "the length limit of the queue in reply_to, and at the broker's log");
		break;
	}
}

static void
on_down(void *arg, const struct amqp_error *error)
{
	struct runner *r = arg;

	log_complain(&r->replies.lost, LOG_LEVEL_WARNING, "replies were lost, perhaps: %s",
	    error->text);
}

static const struct amqp_channel_events channel_events = {
	.ready = on_ready, .outcome = on_outcome, .down = on_down,
};

/* ---- the list ---- */

static void
drop_first(struct runner_replies *replies)
{
	struct reply *reply = replies->waiting;

	replies->waiting = reply->next;
	if (reply->next == NULL)
		replies->end = &replies->waiting;
	replies->bytes -= size_of(reply);
	replies->count--;
	free(reply);
}

static struct slice
put(struct reply *reply, size_t *at, struct slice text)
{
	struct slice copy = { reply->bytes + *at, text.len };

	if (text.len > 0)
		memcpy(reply->bytes + *at, text.data, text.len);
	*at += text.len;
	return copy;
}

void
runner_reply(struct runner *r, const struct delivery *d, struct slice content_type, struct slice body)
{
	struct runner_replies *replies = &r->replies;
	const struct frame_message *m = &d->message;
	struct slice to = frame_message_text(m, m->reply_to);
	struct slice correlation_id = frame_message_text(m, m->correlation_id);
	struct slice trace = { "", 0 };
	struct arena arena = ARENA_INIT;
	struct reply *reply;
	size_t at = 0;

	if (to.len == 0 || body.len > FRAME_REPLY_MAX)
		return;			/* the slot does not send these */
	if (replies->count >= WAITING_MOST || replies->bytes >= WAITING_BYTES_MOST) {
		log_complain(&replies->full, LOG_LEVEL_WARNING, "a reply is dropped: %zu wait for "
		    "the broker already", replies->count);
		return;
	}
	if (frame_message_header(m, ENVELOPE_TRACEPARENT, &trace))
		trace = slice_of(envelope_child_trace(trace, &arena));
	reply = xmalloc(
	    sizeof(*reply) + to.len + correlation_id.len + content_type.len + trace.len + body.len);
	reply->to = put(reply, &at, to);
	reply->correlation_id = put(reply, &at, correlation_id);
	reply->content_type = put(reply, &at, content_type);
	reply->trace = put(reply, &at, trace);
	reply->body = put(reply, &at, body);
	arena_release(&arena);
	reply->next = NULL;
	if (replies->waiting == NULL)
		replies->end = &replies->waiting;
	*replies->end = reply;
	replies->end = &reply->next;
	replies->bytes += size_of(reply);
	replies->count++;
}

static enum amqp_publish_status
publish(struct runner *r, const struct reply *reply, char *error, size_t error_size)
{
	struct amqp_header trace = {
		.name = ENVELOPE_TRACEPARENT, .kind = AMQP_STRING, .text = reply->trace
	};
	struct amqp_message message = {
		.routing_key = reply->to, .correlation_id = reply->correlation_id,
		.content_type = reply->content_type,
		.timestamp_s = clock_wall_now().ms / 1000, .priority = -1,
		.headers = &trace, .header_count = reply->trace.len > 0,
		.body = reply->body.data, .body_size = reply->body.len,
	};

	return amqp_channel_publish(r->replies.channel, &message, r, error, error_size);
}

void
runner_replies_flush(struct runner *r)
{
	struct runner_replies *replies = &r->replies;
	char error[512];
	bool published = false;

	if (replies->waiting == NULL)
		return;
	if (replies->channel == NULL)
		replies->channel = amqp_channel_new(runner_publisher(r), &channel_events, r);
	while (replies->waiting != NULL && amqp_channel_ready(replies->channel)) {
		enum amqp_publish_status status =
		    publish(r, replies->waiting, error, sizeof(error));

		if (status == AMQP_NOT_READY)
			break;		/* ready() will start a round */
		if (status == AMQP_BAD_MESSAGE)
			log_complain(&replies->lost, LOG_LEVEL_WARNING,
			    "a reply cannot be published and is dropped: %s", error);
		else
			published = true;
		drop_first(replies);
	}
	if (published)
		amqp_publisher_flush(runner_publisher(r));
}

/* The connection is made at first need: it may be on its way when the runner is told to end. */
bool
runner_replies_out(const struct runner *r)
{
	const struct runner_replies *replies = &r->replies;

	return replies->waiting == NULL &&
	    (replies->channel == NULL || amqp_channel_unconfirmed(replies->channel) == 0);
}

void
runner_replies_release(struct runner *r)
{
	if (r->replies.count > 0)
		log_warning("%zu replies are dropped: the broker has not taken them in time",
		    r->replies.count);
	amqp_channel_free(&r->replies.channel);
	while (r->replies.waiting != NULL)
		drop_first(&r->replies);
}
