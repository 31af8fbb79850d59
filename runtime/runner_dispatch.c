/*
 * runner_dispatch.c - which message goes where: at once to the dead letters, to the slot of its
 * aggregate, to whichever slot is free.
 *
 * Natural batching: a slot that has nothing gets all that is ready for it, up to the batch size;
 * while it works the next batch gathers, and is sent ahead when it is at least half full. Messages
 * under suspicion go out alone: nothing else is in that slot meanwhile. In the runner. Never fatal
 * but for lack of memory.
 */
#include <inttypes.h>

#include "runtime/runner_internal.h"

bool
runner_hands_out(const struct runner *r)
{
	return r->state == RUNNER_STATE_CONNECTING || r->state == RUNNER_STATE_CONSUMING ||
	    r->state == RUNNER_STATE_RETIRING;
}

static struct delivery_queue *
queue_of(struct runner *r, const struct delivery *d)
{
	return d->slot == DELIVERY_ANY_SLOT ? &r->shared : &r->slots[d->slot].queue;
}

/* ---- a message is complete ---- */

static void
dead_unknown_type(struct runner *r, struct delivery *d)
{
	struct slice type = frame_message_text(&d->message, d->message.type);
	int shown = type.len > AMQP_SHORTSTR_MAX ? AMQP_SHORTSTR_MAX : (int)type.len;
	const char *consumer = r->queue->name;

	if (type.len > 0)
		runner_deadf(r, d, "unknown_type", "no handler of queue \"%s\" takes type \"%.*s\""
		    ": add one with type = \"%.*s\", or one with type = \"*\" (use = \"ignore\" "
		    "drops what nobody wants), and retry this letter",
		    consumer, shown, type.data, shown, type.data);
	else if (r->type_from.source == SOURCE_TYPE)
		runner_deadf(r, d, "unknown_type", "published without a type property: set it when "
		    "publishing, or say with type_from of queue \"%s\" where the type is, or add a "
		    "handler with type = \"*\"", consumer);
	else
		runner_deadf(r, d, "unknown_type", "published without a type, which queue \"%s\" "
		    "takes from \"%s\" (type_from): set it when publishing, or add a handler with "
		    "type = \"*\"", consumer, r->queue->type_from);
}

/* Messages come by the hundred in a round; the lag is not that exact. */
static void
observe_lag(struct runner *r, int64_t timestamp_ms)
{
	struct clock_mono now = loop_now(r->loop);

	if (now.ns != r->wall_read.ns) {
		r->wall_read = now;
		r->wall = clock_wall_now();
	}
	stats_observe(&r->stats->lag, (r->wall.ms - timestamp_ms) * 1000);
}

void
runner_delivered(void *arg)
{
	struct runner *r = arg;
	struct delivery *d = r->receiving;
	struct frame_message *m = &d->message;

	r->receiving = NULL;
	r->last_delivery = loop_now(r->loop);
	if (m->timestamp_ms > 0)
		observe_lag(r, m->timestamp_ms);
	if ((d->flags & DELIVERY_STALE) != 0 || !runner_hands_out(r)) {
		delivery_give_back(r, &d);
	} else if (d->returns > RUNNER_COUNT_DEAD) {
		runner_deadf(r, d, "redelivered", "delivered %" PRIu32 " times and never brought "
		    "to an end: look in the log for what ended the worker or the connection each "
		    "time, then retry this letter", d->returns + 1);
	} else if (d->handler == DELIVERY_NO_HANDLER) {
		dead_unknown_type(r, d);
	} else if (r->handlers[d->handler].config->ignore) {
		runner_count(r, d, STATS_IGNORED);
		delivery_complete(r, &d);
	} else if (m->body_size > r->queue->max_body_bytes) {
		runner_deadf(r, d, "too_large", "the body has %" PRIu32 " bytes, max_body of queue "
		    "\"%s\" is %" PRId64 ": publish a reference to the data instead, or raise "
		    "max_body and retry this letter", m->body_size, r->queue->name,
		    r->queue->max_body_bytes);
	} else {
		d->state = DELIVERY_QUEUED;
		delivery_queue_push(queue_of(r, d), d);
	}
}

/* ---- again ---- */

/* Only this process knows who is charged or under suspicion: who is waits out a pause here, else
 * the broker would hand it out as if nothing had been. */
static bool
stays(const struct runner *r, const struct delivery *d)
{
	bool marked = d->crashes > 0 || (d->flags & DELIVERY_ALONE) != 0;

	if ((d->flags & DELIVERY_STALE) != 0)
		return false;
	return runner_hands_out(r) || (r->state == RUNNER_STATE_PAUSED && marked);
}

void
runner_requeue(struct runner *r, struct delivery *d)
{
	if (!stays(r, d)) {
		delivery_give_back(r, &d);
		return;
	}
	d->state = DELIVERY_QUEUED;
	delivery_queue_insert(queue_of(r, d), d);
}

struct delivery *
runner_unhold(struct held *h)
{
	struct delivery *d = h->delivery;

	if (h->prev == NULL)
		h->runner->held = h->next;
	else
		h->prev->next = h->next;
	if (h->next != NULL)
		h->next->prev = h->prev;
	loop_timer_stop(&h->due);
	free(h);
	d->held = NULL;
	return d;
}

static void
held_long_enough(void *arg)
{
	struct held *h = arg;
	struct runner *r = h->runner;

	runner_requeue(r, runner_unhold(h));
}

void
runner_hold(struct runner *r, struct delivery *d, int64_t ms)
{
	struct held *h;

	if (!stays(r, d)) {
		delivery_give_back(r, &d);
		return;
	}
	h = xcalloc(1, sizeof(*h));
	h->runner = r;
	h->delivery = d;
	h->next = r->held;
	if (r->held != NULL)
		r->held->prev = h;
	r->held = h;
	d->state = DELIVERY_HELD;
	d->held = h;
	loop_timer_init(&h->due, r->loop, held_long_enough, h);
	loop_timer_set_ms(&h->due, ms);
}

/* ---- back to the broker ---- */

static void
give_back_queue(struct runner *r, struct delivery_queue *q)
{
	struct delivery_queue all = *q;
	struct delivery *d;

	*q = (struct delivery_queue){ 0 };
	while ((d = delivery_queue_pop(&all)) != NULL) {
		if (stays(r, d))
			delivery_queue_push(q, d);
		else
			delivery_give_back(r, &d);
	}
}

void
runner_give_back_unstarted(struct runner *r)
{
	give_back_queue(r, &r->shared);
	for (unsigned i = 0; i < r->slot_count; i++)
		give_back_queue(r, &r->slots[i].queue);
	for (struct held *h = r->held, *next; h != NULL; h = next) {
		struct delivery *d = h->delivery;

		next = h->next;
		if (stays(r, d))
			continue;
		runner_unhold(h);
		delivery_give_back(r, &d);
	}
}

/*
 * The broker measures consumer_timeout from the delivery, not from the start of work, and closes
 * the channel over one message (facts row 41). Tags grow with time: the walk ends at the first that
 * is young enough.
 */
void
runner_give_back_overdue(struct runner *r)
{
	struct clock_mono now = loop_now(r->loop);
	int64_t limit_ms = r->queue->consumer_timeout_ms / 3;
	size_t given_back = 0;

	for (uint64_t tag = r->ring.first; tag < r->ring.next; tag++) {
		struct delivery *d = r->ring.at[tag & r->ring.mask];

		if (d == NULL || d == &delivery_done)
			continue;
		if (clock_ms_between(d->received, now) < limit_ms)
			break;
		if (d->state == DELIVERY_QUEUED)
			delivery_queue_remove(queue_of(r, d), d);
		else if (d->state == DELIVERY_HELD)
			runner_unhold(d->held);
		else if (d->state == DELIVERY_DEAD)
			runner_dead_forget(r, d);
		else
			continue;
		delivery_give_back(r, &d);
		given_back++;
	}
	if (given_back > 0)
		log_warning("gave %zu messages back that had waited for %" PRId64 " s, a third of "
		    "consumer_timeout: the broker would take them back by closing the channel",
		    given_back, limit_ms / 1000);
}

/* ---- to the slots ---- */

static bool
suspicious(const struct delivery *d)
{
	return d != NULL && (d->flags & DELIVERY_ALONE) != 0;
}

static const struct runner_handler *
handler_of(const struct runner *r, const struct delivery *d)
{
	return &r->handlers[d->handler];
}

/* Whoever comes behind it would wait, perhaps long, while another slot is free. */
static bool
single(const struct runner *r, const struct delivery *d)
{
	return handler_of(r, d)->together <= 1;
}

/* Handlers that only decide and handlers that read go through different transactions. */
static bool
same_kind(const struct runner *r, const struct delivery *a, const struct delivery *b)
{
	return handler_of(r, a)->kind == handler_of(r, b)->kind;
}

/* The slot's own messages and the shared ones, as they arrived. */
static struct delivery_queue *
next_queue(struct runner_slot *s, size_t shared_left)
{
	struct delivery_queue *shared = &s->runner->shared;
	const struct delivery *own = s->queue.head, *any = shared_left > 0 ? shared->head : NULL;

	if (own == NULL && any == NULL)
		return NULL;
	return any == NULL || (own != NULL && own->arrival < any->arrival) ? &s->queue : shared;
}

static void
batch_add(struct batch *b, struct delivery *d)
{
	d->state = DELIVERY_IN_SLOT;
	b->members[BATCH_COUNT(b)++] = d;
	b->bytes += d->message.size;
}

/* Until it is replaced (max_messages). */
static uint32_t
messages_left(const struct runner_slot *s)
{
	unsigned most = s->runner->queue->max_messages;

	if (most == 0)
		return UINT32_MAX;
	return s->messages < most ? most - s->messages : 0;
}

static void
fill_batch(struct runner_slot *s, struct batch *b, size_t shared_most)
{
	struct runner *r = s->runner;
	struct delivery_queue *q;
	uint32_t most = r->breaker.probing ? 1 : (uint32_t)r->queue->batch, left = messages_left(s);

	if (most > left)
		most = left;

	b->head.batch = (struct frame_batch){ .id = ++r->next_batch };
	b->bytes = b->written_bytes = 0;
	b->written = 0;
	while (BATCH_COUNT(b) < most && (q = next_queue(s, shared_most)) != NULL) {
		struct delivery *d = q->head;
		bool alone = suspicious(d);
		bool fits = b->bytes + d->message.size <= RUNNER_BATCH_BYTES;
		uint32_t together = handler_of(r, d)->together;

		if (BATCH_COUNT(b) > 0 && (alone || !fits || BATCH_COUNT(b) >= together ||
					      !same_kind(r, b->members[0], d)))
			break;
		if (most > together)
			most = together;
		batch_add(b, delivery_queue_pop(q));
		if (q == &r->shared)
			shared_most--;
		if (alone)
			b->head.batch.flags = FRAME_BATCH_ALONE;
		if (alone)
			break;
	}
	b->head.frame = (struct frame_header){
		.size = (uint32_t)(sizeof(b->head.batch) + b->bytes),
		.type = FRAME_BATCH, .magic = FRAME_MAGIC,
	};
}

/* Nothing follows a batch that is alone, and one goes only to a slot that has nothing; a second
 * one should be worth its round trip. */
static bool
wants_batch(struct runner_slot *s, size_t shared_most)
{
	const struct runner *r = s->runner;
	size_t count = s->queue.count + shared_most;
	size_t bytes = s->queue.bytes + (shared_most > 0 ? r->shared.bytes : 0);
	const struct delivery_queue *q = next_queue(s, shared_most);
	size_t most = (size_t)r->queue->batch;

	if (s->state != SLOT_READY || s->hung_up || q == NULL || loop_timer_running(&s->pause) ||
	    messages_left(s) == 0)
		return false;
	if (s->flying == 0)
		return true;
	if (s->behind || s->flying == RUNNER_SLOT_BATCHES || suspicious(q->head) ||
	    single(r, q->head) || single(r, s->batches[0]->members[0]) ||
	    (s->batches[0]->head.batch.flags & FRAME_BATCH_ALONE) != 0)
		return false;
	if (most > handler_of(r, q->head)->together)
		most = handler_of(r, q->head)->together;
	return count >= (most + 1) / 2 || bytes >= RUNNER_BATCH_BYTES / 2;
}

bool
runner_has_idle_slot(const struct runner *r)
{
	for (unsigned i = 0; i < r->slot_count; i++) {
		const struct runner_slot *s = &r->slots[i];

		if (s->state == SLOT_READY && s->flying == 0 && s->queue.count + r->shared.count == 0)
			return true;
	}
	return false;
}

static void
send_batch(struct runner_slot *s, size_t shared_most)
{
	struct runner *r = s->runner;
	struct batch *b = s->batches[s->flying++];

	fill_batch(s, b, shared_most);
	if (s->flying > 1)
		b->head.batch.flags |= FRAME_BATCH_AHEAD;
	b->given = loop_now(r->loop);
	r->in_slots += BATCH_COUNT(b);
	s->messages += BATCH_COUNT(b);
	stats_add(&r->stats->batches, 1);
	stats_add(&r->stats->batch_messages, BATCH_COUNT(b));
	runner_slot_watch(s);
	runner_slot_write(s);
}

static void
replace_worn_slots(struct runner *r)
{
	if (r->queue->max_messages == 0)
		return;
	for (unsigned i = 0; i < r->slot_count; i++) {
		struct runner_slot *s = &r->slots[i];

		if (s->state == SLOT_READY && s->flying == 0 && messages_left(s) == 0)
			runner_slot_stop(s);
	}
}

/*
 * Shared messages are spread over the slots that are idle now. Second batches come after all idle
 * slots have got their first.
 */
void
runner_dispatch(struct runner *r)
{
	if (!runner_hands_out(r) || (r->breaker.probing && r->in_slots > 0))
		return;
	replace_worn_slots(r);
	for (unsigned round = 0; round < RUNNER_SLOT_BATCHES; round++) {
		unsigned able = 0;

		for (unsigned i = 0; i < r->slot_count; i++)
			able += r->slots[i].state == SLOT_READY && r->slots[i].flying == round;
		for (unsigned i = 0; i < r->slot_count && able > 0; i++) {
			struct runner_slot *s = &r->slots[i];
			size_t share;

			if (s->state != SLOT_READY || s->flying != round)
				continue;
			share = (r->shared.count + able - 1) / able;
			able--;
			if (!wants_batch(s, share))
				continue;
			send_batch(s, share);
			if (r->breaker.probing)
				return;
		}
	}
}
