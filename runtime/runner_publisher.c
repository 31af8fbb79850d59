/*
 * runner_publisher.c - the connection that dead letters and replies are published on. In the runner.
 *
 * It is a second one, so that an alarm at the broker stops it and not the acks; it is opened at
 * first need.
 */
#include "runtime/runner_internal.h"

static void
on_connected(void *arg)
{
	struct runner *r = arg;

	log_recovered(&r->publishing, "dead letters and replies can be published again");
}

static void
on_lost(void *arg, const struct amqp_error *error)
{
	struct runner *r = arg;

	log_complain(&r->publishing, LOG_LEVEL_WARNING, "dead letters and replies wait: %s",
	    error->text);
}

static void
on_blocked(void *arg, bool blocked, struct slice reason)
{
	struct runner *r = arg;

	if (blocked)
		log_complain(&r->blocked, LOG_LEVEL_WARNING, "dead letters and replies wait: the "
		    "broker has an alarm and takes nothing: %.*s", (int)reason.len, reason.data);
	else
		log_recovered(&r->blocked, "the broker takes messages again");
}

static const struct amqp_publisher_events events = {
	.connected = on_connected, .lost = on_lost, .blocked = on_blocked,
};

struct amqp_publisher *
runner_publisher(struct runner *r)
{
	if (r->publisher == NULL)
		r->publisher = amqp_publisher_new(r->loop, &r->connection, &events, r);
	return r->publisher;
}

void
runner_publisher_release(struct runner *r)
{
	amqp_publisher_free(&r->publisher);
}
