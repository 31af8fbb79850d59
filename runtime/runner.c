/*
 * runner.c - the life of a runner: what state it is in, what the broker, its slots, its master and
 * signals do to that.
 *
 * In the runner. Warns when broker or database are gone; dies only of lack of memory or
 * descriptors, its master starts it again.
 */
#include "runtime/runner.h"

#include <inttypes.h>
#include <signal.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include <config.h>	/* PACKAGE_VERSION */

#include "common/program.h"
#include "common/topology.h"
#include "runtime/runner_internal.h"
#include "util/notify.h"
#include "util/spawn.h"

enum {
	TICK_MS = 1000,
	OPENING_MS = 1000,		/* for slots to say what their handlers are */
	CLOSE_MS = 2000,		/* for the broker's answers; then for idle slots and for replies */
	CONNECT_MS = 5000, RPC_MS = 60000,
	/* Messages in hand for each slot, where each takes one at a time. They go to the slots of their
	 * aggregates: with two for each a quarter of four slots had nothing to do [ran]: with N in all, n slots
	 * are busy N / (N + n - 1) of the time. */
	SINGLE_AHEAD = 12,
	READS_AHEAD = RUNNER_SLOT_BATCHES * RUNNER_READS_TOGETHER
};

static const char *const state_text[] = {
	[RUNNER_STATE_CONNECTING] = "connecting", [RUNNER_STATE_CONSUMING] = "consuming",
	[RUNNER_STATE_PAUSED] = "paused", [RUNNER_STATE_RETIRING] = "retiring",
	[RUNNER_STATE_DRAINING] = "draining", [RUNNER_STATE_CLOSING] = "closing",
};

static void
tell_master(const struct runner *r, enum runner_byte byte)
{
	char c = (char)byte;

	/* Full or gone: a master that does not read is about to end us. */
	if (r->options->control_fd >= 0)
		(void)!send(r->options->control_fd, &c, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void
set_state(struct runner *r, enum runner_state state, const char *why)
{
	enum runner_state was = r->state;

	if (state == was)
		return;
	r->state = state;
	log_info("%s, was %s: %s", state_text[state], state_text[was], why);
	if (state == RUNNER_STATE_CONSUMING)
		tell_master(r, RUNNER_CONSUMING);
	else if (was == RUNNER_STATE_CONSUMING)
		tell_master(r, RUNNER_IDLE);
}

/* ---- ending ---- */

static bool
ending(const struct runner *r)
{
	return r->state >= RUNNER_STATE_RETIRING;
}

/* Deliveries may still come until the broker has answered; without a connection the answer comes
 * at once. */
static void
cancel(struct runner *r)
{
	if (r->consumer == NULL || r->cancelling || r->cancelled)
		return;
	r->cancelling = true;
	amqp_consumer_cancel(r->consumer);
}

/* From here on nothing is handed out; what slots have may come to its end. */
static void
close_all(struct runner *r, const char *why)
{
	set_state(r, RUNNER_STATE_CLOSING, why);
	deliveries_ack_all(r);
	runner_slots_stop(r);
	amqp_consumer_close(&r->consumer, CLOSE_MS);
	loop_timer_set_ms(&r->deadline, CLOSE_MS);
}

static void
drain(struct runner *r, const char *why)
{
	set_state(r, RUNNER_STATE_DRAINING, why);
	cancel(r);
	runner_give_back_unstarted(r);
	loop_timer_set_ms(&r->deadline, r->queue->shutdown_timeout_ms);
}

static void
retire(struct runner *r)
{
	bool paused = r->state == RUNNER_STATE_PAUSED;

	if (ending(r))
		return;
	r->retired = true;
	set_state(r, RUNNER_STATE_RETIRING, "a runner with a newer configuration has taken over");
	cancel(r);
	if (paused)
		runner_give_back_unstarted(r);
}

static void
deadline_passed(void *arg)
{
	struct runner *r = arg;

	if (r->state == RUNNER_STATE_CLOSING) {
		runner_slots_kill(r);
		runner_replies_release(r);
		return;
	}
	log_warning("%zu messages were not finished within %" PRId64 " s (shutdown_timeout): "
	    "they are given back", r->ring.unsettled, r->queue->shutdown_timeout_ms / 1000);
	runner_slots_kill(r);
	close_all(r, "shutdown_timeout is over");
}

/* Nothing is left to wait for but what slots and the broker have still to say. */
static void
go_on_ending(struct runner *r)
{
	bool deaf = r->consumer == NULL || r->cancelled;

	if (r->state == RUNNER_STATE_CLOSING) {
		if (runner_slots_gone(r) && runner_replies_out(r))
			loop_stop(r->loop);
		return;
	}
	if (r->state == RUNNER_STATE_RETIRING) {
		while (r->held != NULL) {	/* for whoever consumes now */
			struct delivery *d = runner_unhold(r->held);

			delivery_give_back(r, &d);
		}
	} else {
		runner_slots_kill_waiting(r);
	}
	if (deaf && r->ring.unsettled == 0 && r->in_slots == 0)
		close_all(r, "all that was begun is finished");
}

/* ---- pauses ---- */

static void
pause_consuming(struct runner *r, const char *why)
{
	if (r->state != RUNNER_STATE_CONSUMING && r->state != RUNNER_STATE_CONNECTING)
		return;
	set_state(r, RUNNER_STATE_PAUSED, why);
	cancel(r);
	runner_give_back_unstarted(r);
}

static void
resume_consuming(struct runner *r)
{
	if (r->state != RUNNER_STATE_PAUSED || r->cancelling || r->slots_ready == 0 ||
	    r->breaker.open)
		return;			/* on_cancelled() comes here again */
	r->cancelled = false;
	set_state(r, RUNNER_STATE_CONNECTING,
	    r->breaker.probing ? "one message is tried" : "slots can work again");
	amqp_consumer_resume(r->consumer);
}

static void
no_slot_can_work(void *arg)
{
	pause_consuming(arg, "no slot can work; messages go back to the broker");
}

/* ---- the breaker ---- */

static void
breaker_over(void *arg)
{
	struct runner *r = arg;

	r->breaker.open = false;
	r->breaker.probing = true;
	resume_consuming(r);
}

static void
open_breaker(struct runner *r, struct slice code, struct slice text)
{
	struct runner_breaker *b = &r->breaker;

	b->pause_ms = b->pause_ms == 0 ? RUNNER_BREAKER_FIRST_MS : b->pause_ms * 2;
	if (b->pause_ms > RUNNER_BREAKER_MOST_MS)
		b->pause_ms = RUNNER_BREAKER_MOST_MS;
	log_error("%u messages in a row failed because statements do not fit the database, the "
	    "last one: %.*s: %.*s: after %" PRId64 " s one message is tried; look for a migration "
	    "that was not run, a table or column that was renamed, a right that is missing",
	    b->row, (int)code.len, code.data, (int)text.len, text.data, b->pause_ms / 1000);
	b->open = true;
	b->probing = false;
	loop_timer_set_ms(&b->over, b->pause_ms);
	pause_consuming(r, "statements do not fit the database; messages go back to the broker");
}

void
runner_breaker_done(struct runner *r)
{
	struct runner_breaker *b = &r->breaker;

	b->row = 0;
	if (!b->probing)
		return;
	log_info("statements fit the database again");
	b->probing = false;
	b->pause_ms = 0;
}

/* Of what was in slots when it opened nothing more becomes a dead letter; a message that is tried
 * does, or a bad one at the head of the queue would keep it open. */
bool
runner_breaker_failed(struct runner *r, struct slice code, struct slice text)
{
	struct runner_breaker *b = &r->breaker;
	static const char class_42[] = "sql_42";
	const size_t len = sizeof(class_42) - 1;

	if (ending(r))
		return false;
	if (code.len < len || memcmp(code.data, class_42, len) != 0) {
		b->row = 0;
		return false;
	}
	if (b->open)
		return true;
	b->row++;
	if (b->probing || b->row >= RUNNER_BREAKER_ROW)
		open_breaker(r, code, text);
	return false;
}

/* ---- slots ---- */

void
runner_slots_changed(struct runner *r)
{
	if (r->slots_ready == 0) {
		loop_timer_set_ms(&r->no_slot, RUNNER_NO_SLOT_MS);
		return;
	}
	loop_timer_stop(&r->no_slot);
	resume_consuming(r);
}

/* ---- the broker ---- */

static void
on_consuming(void *arg, unsigned generation)
{
	struct runner *r = arg;

	log_recovered(&r->broker, "connected to the broker again");
	if (r->was_consuming && generation != r->ring.generation)
		stats_add(&r->stats->reconnects, 1);
	r->was_consuming = true;
	deliveries_open(r, generation);
	r->last_delivery = loop_now(r->loop);
	set_state(r, RUNNER_STATE_CONSUMING, "the broker delivers");
}

static void
on_lost(void *arg, const struct amqp_error *error)
{
	struct runner *r = arg;

	log_complain(&r->broker, error->configuration ? LOG_LEVEL_ERROR : LOG_LEVEL_WARNING, "%s",
	    error->text);
	if (error->rejected)
		stats_add(&r->no_handler->outcome[STATS_DEAD], 1);
	deliveries_lost(r);
	if (r->state == RUNNER_STATE_CONSUMING)
		set_state(r, RUNNER_STATE_CONNECTING, "the connection is lost");
}

static void
on_cancelled(void *arg)
{
	struct runner *r = arg;

	r->cancelling = false;
	r->cancelled = true;
	resume_consuming(r);
}

static const struct amqp_consumer_events consumer_events = {
	.delivery = runner_delivery, .delivered = runner_delivered,
	.consuming = on_consuming, .lost = on_lost, .cancelled = on_cancelled,
};

static void
open_consumer(struct runner *r)
{
	const struct config *c = r->config;
	struct amqp_declaration *declare;

	r->opened = true;
	r->connection = (struct amqp_conn_options){
		.uris = c->uris, .uri_count = c->uri_count, .password = c->password,
		.ca_file = c->ca_file, .cert_file = c->cert_file, .key_file = c->key_file,
		.heartbeat_s = c->heartbeat_s,
		.connect_timeout_ms = CONNECT_MS, .rpc_timeout_ms = RPC_MS,
		.name = arena_printf(&r->arena, "pawl-worker %s/%s", r->host, r->queue->name),
		.product = "Pawl", .version = PACKAGE_VERSION,
	};
	r->consumer_options = (struct amqp_consumer_options){
		.conn = r->connection, .queue = r->queue->queue,
		.prefetch = (uint16_t)r->prefetch,
		.tag_prefix = arena_printf(&r->arena, "pawl-%s-%d", r->host, (int)getpid()),
		.dead_letters = r->queue->declare,
	};
	topology_of_queue(r->queue, &r->arena, &declare, &r->consumer_options.declare_count);
	r->consumer_options.declare = declare;
	r->consumer = amqp_consumer_new(r->loop, &r->consumer_options, &consumer_events, r);
}

/*
 * Messages that take long one by one are better left with the broker, for others: so much is handed
 * out ahead as their slots can begin soon. What handlers are is known when a slot is ready. Until one
 * has spoken nothing can be done with a message; after a second it is opened all the same, because
 * publishers count on queues and bindings.
 */
void
runner_slot_spoke(struct runner *r, bool ready)
{
	unsigned ahead = SINGLE_AHEAD, most;
	bool single = ready;

	if (r->opened || ending(r))
		return;
	for (size_t i = 0; i < r->queue->handler_count; i++) {
		const struct runner_handler *h = &r->handlers[i];

		single = single && (h->config->ignore || h->kind != PAWL_EFFECTS);
		if (!h->config->ignore && h->kind == PAWL_READS)
			ahead = READS_AHEAD;
	}
	most = ahead * r->queue->slots;
	if (single && r->queue->prefetch_derived && r->prefetch > most)
		r->prefetch = most;
	open_consumer(r);
}

static void
opening_waited(void *runner)
{
	runner_slot_spoke(runner, false);
}

static void
limit_reading(struct runner *r)
{
	size_t most = r->reading_paused ? RUNNER_BYTES_MAX / 2 : RUNNER_BYTES_MAX;
	bool pause = r->bytes > most && runner_hands_out(r);

	if (pause == r->reading_paused || r->consumer == NULL)
		return;
	r->reading_paused = pause;
	amqp_consumer_pause_reading(r->consumer, pause);
}

/* ---- rounds and ticks ---- */

static enum stats_queue_state
stats_state(const struct runner *r)
{
	switch (r->state) {
	case RUNNER_STATE_CONNECTING: return STATS_QUEUE_CONNECTING;
	case RUNNER_STATE_CONSUMING: return STATS_QUEUE_CONSUMING;
	case RUNNER_STATE_PAUSED: return STATS_QUEUE_PAUSED;
	case RUNNER_STATE_RETIRING:
	case RUNNER_STATE_DRAINING:
	case RUNNER_STATE_CLOSING: break;
	}
	return STATS_QUEUE_ENDING;
}

static void
set_gauges(struct runner *r)
{
	struct stats_queue *q = r->stats;
	size_t in_hand = r->ring.unsettled;

	if (r->retired)
		return;			/* the newer runner has the page */
	stats_set(&q->in_flight, r->in_slots);
	stats_set(&q->waiting, in_hand > r->in_slots ? in_hand - r->in_slots : 0);
	stats_set(&q->slots_ready, r->slots_ready);
	stats_set(&q->state, stats_state(r));
}

static void
end_round(void *arg)
{
	struct runner *r = arg;

	if (r->bad_tag && r->consumer != NULL)
		amqp_consumer_recycle(r->consumer, "a delivery has an impossible number");
	r->bad_tag = false;
	runner_dispatch(r);
	runner_dead_flush(r);
	runner_replies_flush(r);
	deliveries_ack(r);
	limit_reading(r);
	set_gauges(r);
	if (ending(r))
		go_on_ending(r);
}

/* After an ack the broker delivers at once what it has: who has nothing and gets nothing for
 * seconds is at the end of the queue. */
static bool
run_empty(const struct runner *r)
{
	return r->state == RUNNER_STATE_CONSUMING && r->ring.unsettled == 0 && r->in_slots == 0 &&
	    clock_ms_between(r->last_delivery, loop_now(r->loop)) >= RUNNER_DRAINED_MS;
}

static void
tick(void *arg)
{
	struct runner *r = arg;

	loop_timer_set_ms(&r->tick, TICK_MS);
	atomic_store_explicit(&r->options->page->updated_ms, clock_wall_now().ms,
	    memory_order_relaxed);
	runner_give_back_overdue(r);
	runner_dead_tick(r);
	if (r->options->drain && run_empty(r))
		drain(r, "the queue is empty (--drain)");
}

/* ---- from outside ---- */

static void
abort_work(struct runner *r)
{
	log_warning("told to end at once: %zu unfinished messages go back to the broker",
	    r->ring.unsettled);
	runner_slots_kill(r);
	amqp_consumer_free(&r->consumer);
	loop_stop(r->loop);
}

static void
on_control(void *arg, unsigned events)
{
	struct runner *r = arg;
	char bytes[64];
	ssize_t n = recv(r->options->control_fd, bytes, sizeof(bytes), MSG_DONTWAIT);

	(void)events;
	for (ssize_t i = 0; i < n; i++) {
		if (bytes[i] == RUNNER_RETIRE)
			retire(r);
		else if (bytes[i] == RUNNER_ABORT)
			abort_work(r);
	}
	if (n == 0) {
		loop_unwatch(&r->control);
		if (r->state < RUNNER_STATE_DRAINING)
			drain(r, "the master is gone");
	}
}

static void
on_signal(void *arg, int number)
{
	struct runner *r = arg;
	bool has_master = r->options->control_fd >= 0;

	if (number == SIGCHLD) {
		runner_slots_reap(r);
	} else if (number == SIGHUP) {
		if (!has_master)
			log_warning("cannot reload without a master: restart this runner instead");
	} else if (number == SIGTERM || !has_master) {
		if (r->state < RUNNER_STATE_DRAINING) {
			if (!has_master)
				notify_systemd("STOPPING=1");
			drain(r, "told to end by a signal");
		} else if (!has_master) {
			abort_work(r);
		}
	}
}

/* ---- start ---- */

static void
add_types(struct runner *r, struct runner_handler *h)
{
	for (size_t i = 0; i < h->config->type_count; i++) {
		const char *type = h->config->types[i];

		if (strcmp(type, "*") == 0)
			r->any_type = h;
		else
			table_put(&r->types, type, strlen(type), h);
	}
}

/* The configuration was checked: what does not parse now is our bug. */
static void
parse_sources(struct runner *r)
{
	const struct config_queue *q = r->queue;

	if (envelope_spec_parse(q->aggregate, &r->aggregate) < 0 ||
	    envelope_spec_parse(q->type_from, &r->type_from) < 0)
		log_fatal(EX_SOFTWARE, "aggregate \"%s\" or type_from \"%s\" is no source",
		    q->aggregate, q->type_from);
}

static void
take_page(struct runner *r)
{
	struct stats_queue *q = &r->options->page->queue;

	r->stats = q;
	r->no_handler = stats_handler_take(q, "");
	r->handlers = arena_array(&r->arena, r->queue->handler_count, sizeof(*r->handlers));
	for (size_t i = 0; i < r->queue->handler_count; i++) {
		r->handlers[i].config = &r->queue->handlers[i];
		r->handlers[i].stats = stats_handler_take(q, r->queue->handlers[i].name);
		add_types(r, &r->handlers[i]);
	}
	stats_set(&q->pid, (uint64_t)getpid());
	stats_set(&q->generation, r->options->generation);
	stats_set(&q->slots, r->queue->slots);
	stats_add(&q->runner_starts, 1);
}

static void
init(struct runner *r, const struct runner_options *options)
{
	char host[256];

	r->options = options;
	r->config = options->config;
	r->queue = options->queue;
	if (gethostname(host, sizeof(host)) < 0)
		snprintf(host, sizeof(host), "localhost");
	host[sizeof(host) - 1] = '\0';
	r->host = arena_strdup(&r->arena, host);
	buf_init(&r->header_bytes);
	buf_init(&r->header_entries);
	buf_init(&r->header_scratch);
	buf_init(&r->aligned);
	r->ring.first = r->ring.next = 1;
	r->ring.generation = UINT32_MAX;	/* none: the first channel is a new one */
	r->slot_program = program_libexec(&r->arena, "pawl-slot");
	parse_sources(r);
	take_page(r);
}

static void
release(struct runner *r)
{
	amqp_consumer_free(&r->consumer);
	runner_replies_release(r);
	runner_dead_release(r);
	runner_publisher_release(r);
	runner_slots_release(r);
	for (size_t i = 0; i < r->queue->handler_count; i++)
		free(r->handlers[i].version);
	buf_release(&r->header_bytes);
	buf_release(&r->header_entries);
	buf_release(&r->header_scratch);
	buf_release(&r->aligned);
	table_release(&r->types);
	arena_release(&r->answers);
	loop_unwatch(&r->control);
	loop_free(&r->loop);
	arena_release(&r->arena);
}

int
runner_run(const struct runner_options *options)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP, SIGCHLD };
	const struct log_context context = { .name = "queue", .value = options->queue->name };
	const struct log_context *former;
	struct runner r = { .state = RUNNER_STATE_CONNECTING };

	log_set_role("runner");
	former = log_push(&context);
	spawn_title_set("pawl-worker: runner %s", options->queue->name);
	init(&r, options);
	r.loop = loop_new();
	loop_signals(r.loop, signals, ARRAY_SIZE(signals), on_signal, &r);
	loop_after(r.loop, end_round, &r);
	loop_timer_init(&r.tick, r.loop, tick, &r);
	loop_timer_init(&r.deadline, r.loop, deadline_passed, &r);
	loop_timer_init(&r.no_slot, r.loop, no_slot_can_work, &r);
	loop_timer_init(&r.breaker.over, r.loop, breaker_over, &r);
	r.prefetch = r.queue->prefetch;
	loop_timer_init(&r.opening, r.loop, opening_waited, &r);
	loop_timer_init(&r.outliers, r.loop, deliveries_look_at_outliers, &r);
	if (options->control_fd >= 0)
		r.control = loop_watch(r.loop, options->control_fd, LOOP_READ, on_control, &r);
	runner_dead_init(&r);
	runner_slots_start(&r);
	loop_timer_set_ms(&r.no_slot, RUNNER_NO_SLOT_MS);
	loop_timer_set_ms(&r.opening, OPENING_MS);
	if (options->control_fd < 0)
		notify_systemd("READY=1\nSTATUS=queue %s", options->queue->name);
	tick(&r);
	loop_run(r.loop);
	deliveries_release(&r);
	set_gauges(&r);
	log_info("ended");
	release(&r);
	log_pop(former);
	return EX_OK;
}
