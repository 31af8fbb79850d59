/*
 * runner_deliveries.c - what the broker delivered and does not know the end of: built when it
 * arrives, acked when it is completed.
 *
 * A delivery is one block of memory: the AMQP body is received straight into the message that slots
 * get. Acks go out once per round of the loop, one for the completed prefix of the tags; completed
 * ones behind a gap are acked one by one only when they have waited for it. In the runner. Never
 * fatal but for lack of memory.
 */
#include <assert.h>

#include "runtime/runner_internal.h"
#include "util/fault.h"

enum {
	OUTLIER_MS = 50,		/* how often completed messages behind a gap are looked at */
	PREFIX_STUCK_MS = 2000,
	RING_ROOM = 1024, TAG_JUMP_MAX = 1 << 20
};

struct delivery delivery_done;

/* ---- queues of deliveries ---- */

void
delivery_queue_push(struct delivery_queue *q, struct delivery *d)
{
	d->next = NULL;
	if (q->tail == NULL)
		q->head = d;
	else
		q->tail->next = d;
	q->tail = d;
	q->count++;
	q->bytes += d->message.size;
}

/* What goes out again is older than what waits, but for others that do: the walk is short. */
void
delivery_queue_insert(struct delivery_queue *q, struct delivery *d)
{
	struct delivery **at = &q->head;

	if (q->tail == NULL || q->tail->arrival < d->arrival) {
		delivery_queue_push(q, d);
		return;
	}
	while ((*at)->arrival < d->arrival)
		at = &(*at)->next;
	d->next = *at;
	*at = d;
	q->count++;
	q->bytes += d->message.size;
}

struct delivery *
delivery_queue_pop(struct delivery_queue *q)
{
	struct delivery *d = q->head;

	if (d == NULL)
		return NULL;
	q->head = d->next;
	if (q->head == NULL)
		q->tail = NULL;
	q->count--;
	q->bytes -= d->message.size;
	d->next = NULL;
	return d;
}

void
delivery_queue_remove(struct delivery_queue *q, struct delivery *d)
{
	struct delivery *before = NULL;

	if (q->head == d) {
		delivery_queue_pop(q);
		return;
	}
	for (before = q->head; before->next != d; before = before->next)
		;
	before->next = d->next;
	if (q->tail == d)
		q->tail = before;
	q->count--;
	q->bytes -= d->message.size;
	d->next = NULL;
}

/* ---- the ring ---- */

static struct delivery **
ring_at(const struct delivery_ring *ring, uint64_t tag)
{
	return &ring->at[tag & ring->mask];
}

static void
ring_grow(struct delivery_ring *ring, uint64_t room)
{
	uint64_t size = ring->at == NULL ? RING_ROOM : ring->mask + 1;
	struct delivery **at;

	while (size < room)
		size *= 2;
	at = xcalloc(size, sizeof(*at));
	for (uint64_t tag = ring->first; tag < ring->next; tag++)
		at[tag & (size - 1)] = *ring_at(ring, tag);
	free(ring->at);
	ring->at = at;
	ring->mask = size - 1;
}

/* Tags of a channel count up by one. */
bool
delivery_add(struct runner *r, struct delivery *d)
{
	struct delivery_ring *ring = &r->ring;

	if (d->tag < ring->next || d->tag - ring->next > TAG_JUMP_MAX)
		return false;
	if (ring->at == NULL || d->tag - ring->first > ring->mask)
		ring_grow(ring, d->tag - ring->first + 1);
	while (ring->next < d->tag)
		*ring_at(ring, ring->next++) = NULL;
	*ring_at(ring, ring->next++) = d;
	ring->unsettled++;
	return true;
}

static void
ring_reset(struct delivery_ring *ring, unsigned generation)
{
	ring->first = ring->next = 1;
	ring->unsettled = ring->done = 0;
	ring->dirty = false;
	ring->generation = generation;
}

static void
forget(struct runner *r, struct delivery **dp)
{
	struct delivery *d = *dp;

	*dp = NULL;
	r->bytes -= delivery_bytes(d);
	free(d);
}

/* Its tag's place in the ring gets what became of it. */
static void
settle(struct runner *r, struct delivery *d, struct delivery *what)
{
	struct delivery_ring *ring = &r->ring;
	struct delivery **at = ring_at(ring, d->tag);

	assert(d->tag >= ring->first && d->tag < ring->next && *at == d);
	*at = what;
	ring->unsettled--;
	ring->dirty = true;
	if (what != NULL)
		ring->done++;
}

void
delivery_complete(struct runner *r, struct delivery **d)
{
	if (((*d)->flags & DELIVERY_STALE) == 0)
		settle(r, *d, &delivery_done);
	forget(r, d);
}

void
delivery_give_back(struct runner *r, struct delivery **d)
{
	runner_count(r, *d, STATS_RETURNED);
	if (((*d)->flags & DELIVERY_STALE) == 0) {
		settle(r, *d, NULL);
		if (r->consumer != NULL)
			amqp_consumer_give_back(r->consumer, r->ring.generation, (*d)->tag);
	}
	forget(r, d);
}

void
deliveries_open(struct runner *r, unsigned generation)
{
	if (generation == r->ring.generation)
		return;			/* the same channel, consuming again */
	deliveries_lost(r);
	ring_reset(&r->ring, generation);
}

static void
drop_queue(struct runner *r, struct delivery_queue *q)
{
	struct delivery *d;

	while ((d = delivery_queue_pop(q)) != NULL) {
		runner_count(r, d, STATS_RETURNED);
		forget(r, &d);
	}
}

/* The broker has taken back what was not settled. A copy of it may be on its way to the dead
 * letters: it will be there twice. */
void
deliveries_lost(struct runner *r)
{
	struct delivery_ring *ring = &r->ring;

	if (r->receiving != NULL) {
		if ((r->receiving->flags & DELIVERY_STALE) == 0)
			*ring_at(ring, r->receiving->tag) = NULL;
		forget(r, &r->receiving);
	}
	for (uint64_t tag = ring->first; tag < ring->next; tag++) {
		struct delivery *d = *ring_at(ring, tag);

		if (d == NULL || d == &delivery_done)
			continue;
		if (d->state == DELIVERY_DEAD) {
			runner_dead_forget(r, d);
			runner_count(r, d, STATS_RETURNED);
			forget(r, &d);
		} else if (d->state == DELIVERY_IN_SLOT) {
			d->flags |= DELIVERY_STALE;
		}
	}
	drop_queue(r, &r->shared);
	for (unsigned i = 0; i < r->slot_count; i++)
		drop_queue(r, &r->slots[i].queue);
	while (r->held != NULL) {
		struct delivery *d = runner_unhold(r->held);

		runner_count(r, d, STATS_RETURNED);
		forget(r, &d);
	}
	ring_reset(ring, ring->generation);
	loop_timer_stop(&r->outliers);
}

/* ---- acks ---- */

/* The completed prefix: its last tag that is not acked yet; 0 if there is none. Settled ones at
 * its end are passed as well. */
static uint64_t
take_prefix(struct delivery_ring *ring)
{
	uint64_t last = 0;

	for (; ring->first < ring->next; ring->first++) {
		struct delivery *d = *ring_at(ring, ring->first);

		if (d == &delivery_done) {
			last = ring->first;
			ring->done--;
		} else if (d != NULL) {
			break;
		}
	}
	return last;
}

static void
ack(struct runner *r, uint64_t tag, bool multiple)
{
	(void)fault_hit("runner.before_ack");
	if (r->consumer != NULL)
		amqp_consumer_ack(r->consumer, r->ring.generation, tag, multiple);
}

static void
ack_outliers(struct runner *r)
{
	struct delivery_ring *ring = &r->ring;

	for (uint64_t tag = ring->first; ring->done > 0 && tag < ring->next; tag++) {
		struct delivery **at = ring_at(ring, tag);

		if (*at != &delivery_done)
			continue;
		*at = NULL;
		ring->done--;
		ack(r, tag, false);
	}
}

/* Called once per round. */
void
deliveries_ack(struct runner *r)
{
	struct delivery_ring *ring = &r->ring;
	uint64_t last;

	if (!ring->dirty)
		return;
	ring->dirty = false;
	last = take_prefix(ring);
	if (last != 0) {
		ack(r, last, true);
		ring->moved = loop_now(r->loop);
	}
	if (ring->done == 0) {
		loop_timer_stop(&r->outliers);
	} else if (!loop_timer_running(&r->outliers)) {
		ring->moved = loop_now(r->loop);
		loop_timer_set_ms(&r->outliers, OUTLIER_MS);
	}
}

/*
 * Slots that work on interleaved tags complete each other's prefix within a batch's time. An ack
 * for each message costs us a system call and the broker much more, so it has to be worth it: a
 * slot is idle because the broker may not deliver more, or the prefix has not moved for long and
 * a crash now would have a lot done again.
 */
void
deliveries_look_at_outliers(void *arg)
{
	struct runner *r = arg;
	struct delivery_ring *ring = &r->ring;
	bool full = ring->unsettled + ring->done >= r->prefetch;

	if ((full && runner_has_idle_slot(r)) ||
	    clock_ms_between(ring->moved, loop_now(r->loop)) >= PREFIX_STUCK_MS)
		ack_outliers(r);
	if (ring->done > 0)
		loop_timer_set_ms(&r->outliers, OUTLIER_MS);
}

void
deliveries_ack_all(struct runner *r)
{
	r->ring.dirty = true;
	deliveries_ack(r);
	ack_outliers(r);
	loop_timer_stop(&r->outliers);
}

/* What slots had goes with their batches; everything else is in the ring. */
void
deliveries_release(struct runner *r)
{
	deliveries_lost(r);
	for (unsigned i = 0; i < r->slot_count; i++) {
		struct runner_slot *s = &r->slots[i];

		while (s->flying > 0) {
			struct batch *b = runner_slot_take_batch(s, 0);

			for (uint32_t k = 0; k < BATCH_COUNT(b); k++)
				forget(r, &b->members[k]);
		}
	}
	free(r->ring.at);
	r->ring.at = NULL;
}
