/*
 * runner_results.c - what became of the messages that slots had: answers, and the deaths that left
 * none.
 *
 * Only a message that was inside a handler when its slot died or was killed is charged, or one that
 * was alone in the slot. The others go out again: as before when the culprit is known, else alone.
 * In the runner. A malformed answer ends the slot, not the runner.
 */
#include <inttypes.h>

#include "runtime/runner_internal.h"

enum { FRUITLESS_FIRST_MS = 10, FRUITLESS_MOST_MS = 1000 };

void
runner_count(struct runner *r, const struct delivery *d, enum stats_outcome what)
{
	bool none = d->handler == DELIVERY_NO_HANDLER;
	struct stats_handler *h = none ? r->no_handler : r->handlers[d->handler].stats;

	stats_add(&h->outcome[what], 1);
}

/* ---- charged ---- */

void
runner_charge(struct runner *r, struct delivery *d, bool timed_out, const char *text)
{
	const char *code = timed_out ? "timeout" : "crashed";

	runner_count(r, d, timed_out ? STATS_TIMEOUT : STATS_CRASHED);
	d->crashes++;
	d->flags |= DELIVERY_ALONE;
	if (d->first_failed_ms == 0)
		d->first_failed_ms = clock_wall_now().ms;
	if (d->crashes >= r->queue->crash_attempts)
		runner_dead(r, d, slice_of(code), slice_of(text));
	else
		runner_requeue(r, d);
}

static void
charge_death(struct runner *r, struct delivery *d, const struct slot_death *death, bool handling)
{
	const struct runner_handler *h = &r->handlers[d->handler];
	const char *version = h->version == NULL ? "unknown" : h->version;
	bool timed_out = handling && death->end == SLOT_END_TIMEOUT;
	unsigned times = d->crashes + 1u;
	char text[RUNNER_TEXT_MAX];
	size_t len;

	if (timed_out)
		snprintf(text, sizeof(text), "handler \"%s\" (version %s) did not return within "
		    "%" PRId64 " ms and was killed, %u times: make it faster or raise timeout, "
		    "then retry this letter", h->config->name, version, r->queue->timeout_ms, times);
	else if (handling)
		snprintf(text, sizeof(text), "the slot %s while handler \"%s\" (version %s) "
		    "had this message, %u times: correct the handler, then retry this letter",
		    death->how, h->config->name, version, times);
	else
		snprintf(text, sizeof(text), "the slot %s while this message of handler \"%s\" "
		    "(version %s) was alone in it, %u times", death->how, h->config->name, version,
		    times);
	len = strlen(text);
	if (handling && !timed_out && r->queue->memory_limit_bytes > 0)
		len += (size_t)snprintf(text + len, sizeof(text) - len, " (memory_limit is %" PRId64
		    " MiB)",
		    r->queue->memory_limit_bytes >> 20);
	if (death->report[0] != '\0')
		snprintf(text + len, sizeof(text) - len, ": %s", death->report);
	runner_charge(r, d, timed_out, text);
}

/* ---- a dead slot's batches ---- */

enum suspicion { SUSPECT_NONE, SUSPECT_ONE, SUSPECT_ALL };

/* The batch that the slot died over, if the desk makes sense; else the oldest: slots work on one
 * after the other. */
static unsigned
fatal_batch(const struct runner_slot *s, const struct desk_view *view, enum suspicion *suspicion)
{
	*suspicion = SUSPECT_ALL;
	for (unsigned i = 0; i < s->flying; i++) {
		if (BATCH_ID(s->batches[i]) != view->batch)
			continue;
		if (view->phase == DESK_HANDLING && view->index < BATCH_COUNT(s->batches[i]))
			*suspicion = SUSPECT_ONE;
		if (view->phase == DESK_HANDLING || view->phase == DESK_DATABASE)
			return i;
	}
	return 0;
}

static bool
batch_lost(struct runner *r, struct batch *b, enum suspicion suspicion, uint32_t index,
    const struct slot_death *death)
{
	bool alone = (b->head.batch.flags & FRAME_BATCH_ALONE) != 0, charged = false;

	for (uint32_t i = 0; i < BATCH_COUNT(b); i++) {
		struct delivery *d = b->members[i];

		if (suspicion == SUSPECT_ALL)
			d->flags |= DELIVERY_MAYBE;	/* committed, perhaps, but not answered */
		if (suspicion == SUSPECT_ONE && i == index) {
			charge_death(r, d, death, true);
			charged = true;
		} else if (suspicion == SUSPECT_ALL && alone) {
			charge_death(r, d, death, false);
			charged = true;
		} else {
			if (suspicion == SUSPECT_ALL)
				d->flags |= DELIVERY_ALONE;
			runner_requeue(r, d);
		}
	}
	return charged;
}

bool
runner_slot_lost(struct runner_slot *s, const struct slot_death *death)
{
	enum suspicion suspicion = SUSPECT_ALL;
	unsigned fatal = 0;
	bool charged = false;

	if (death->end != SLOT_END_HOSTILE)		/* who lies on the socket lies on the desk */
		fatal = fatal_batch(s, &death->view, &suspicion);
	if (death->end == SLOT_END_BLAMELESS)
		suspicion = SUSPECT_NONE;
	for (unsigned i = 0; s->flying > 0; i++)
		charged |= batch_lost(s->runner, runner_slot_take_batch(s, 0),
		    i == fatal ? suspicion : SUSPECT_NONE, death->view.index, death);
	s->behind = false;
	return charged;
}

/* ---- answers ---- */

/* A text of a slot for a dead letter: not too long, cut between characters. */
static struct slice
shorten(struct slice s, size_t most)
{
	if (s.len <= most)
		return s;
	s.len = most;
	while (s.len > 0 && ((unsigned char)s.data[s.len] & 0xC0) == 0x80)
		s.len--;
	return s;
}

/*
 * Alone in its transaction it got an error that blames the environment. If that is true, others
 * fail as well: nobody is charged, however long it takes. When others were done each time in
 * between, it is the message. Meanwhile it stands in nobody's way.
 */
static void
failed_alone(struct runner *r, struct delivery *d, struct slice error)
{
	int64_t ms = RUNNER_ENVIRONMENT_FIRST_MS;

	for (uint32_t i = 0; i < d->failed_alone && ms < RUNNER_ENVIRONMENT_MOST_MS; i++)
		ms *= 2;
	d->failed_alone++;
	if (d->first_failed_ms == 0)
		d->first_failed_ms = clock_wall_now().ms;
	if (d->failed_among_done == 0 || r->done > d->done_before)
		d->failed_among_done++;
	d->done_before = r->done;
	if (d->failed_among_done < RUNNER_ENVIRONMENT_DEAD)
		runner_hold(r, d, ms < RUNNER_ENVIRONMENT_MOST_MS ? ms : RUNNER_ENVIRONMENT_MOST_MS);
	else if (error.len > 0)
		runner_deadf(r, d, "environment", "failed %" PRIu32 " times, alone in its "
		    "transaction, while other messages were done: %.*s: correct what its "
		    "statements touch, then retry this letter", d->failed_alone, (int)error.len,
		    error.data);
	else
		runner_deadf(r, d, "environment", "failed %" PRIu32 " times, alone in its "
		    "transaction, while other messages were done: its handler or its statements "
		    "end the session, "
		    "wait for a lock that is not released, or fail with an error of the "
		    "environment (class 08, 53, 57P, 58 or XX, or 25006) each time: look in the "
		    "database server's log, correct what they touch, then retry this letter",
		    d->failed_alone);
}

/* Goes out again. Charged only when it is plain that it is the culprit: alone, and the session
 * went without a word. */
static void
unapplied(struct runner *r, struct delivery *d, const struct frame_outcome *o, bool alone,
    struct slice error)
{
	char text[256];

	if ((o->flags & FRAME_OUTCOME_BUSY) != 0) {
		runner_hold(r, d, RUNNER_BUSY_MS);
		return;
	}
	if ((o->flags & FRAME_OUTCOME_MAYBE) != 0)
		d->flags |= DELIVERY_MAYBE;
	if ((o->flags & FRAME_OUTCOME_LOST_SESSION) != 0 && alone) {
		snprintf(text, sizeof(text), "the database session ended without a word while this "
		    "message was alone in its transaction, %u times: look in the server's log for "
		    "what ended it", d->crashes + 1u);
		runner_charge(r, d, false, text);
		return;
	}
	if ((o->flags & FRAME_OUTCOME_SUSPECT) != 0 && alone) {
		failed_alone(r, d, error);
		return;
	}
	if ((o->flags & (FRAME_OUTCOME_LOST_SESSION | FRAME_OUTCOME_SUSPECT)) != 0)
		d->flags |= DELIVERY_ALONE;
	runner_requeue(r, d);
}

static void
settle(struct runner *r, struct delivery *d, const struct frame_outcome *o,
    const struct frame_result *result)
{
	struct slice code = shorten(frame_result_text(result, o->code), RUNNER_CODE_MAX);
	struct slice text = shorten(frame_result_text(result, o->text), RUNNER_TEXT_MAX);

	if (o->outcome == OUTCOME_DONE || o->outcome == OUTCOME_DUPLICATE) {
		r->done++;
		runner_breaker_done(r);
	}
	switch ((enum outcome)o->outcome) {
	case OUTCOME_DUPLICATE:
		runner_count(r, d, (d->flags & DELIVERY_MAYBE) != 0 ? STATS_DONE : STATS_DUPLICATE);
		delivery_complete(r, &d);
		break;
	case OUTCOME_DONE:
		runner_count(r, d, STATS_DONE);
		if ((o->flags & FRAME_OUTCOME_REPLY) != 0)
			runner_reply(r, d, frame_result_text(result, o->code),
			    frame_result_text(result, o->text));
		delivery_complete(r, &d);
		break;
	case OUTCOME_SNOOZE:
		runner_count(r, d, STATS_SNOOZED);
		runner_hold(r, d, o->delay_ms > 0 ? o->delay_ms : RUNNER_SNOOZE_MS);
		break;
	case OUTCOME_RETRY:
	case OUTCOME_REJECT:
		if (code.len == 0)
			code = slice_of(outcome_text((enum outcome)o->outcome));
		if (runner_breaker_failed(r, code, text))
			runner_requeue(r, d);
		else
			runner_dead(r, d, code, text);
		break;
	case OUTCOME_UNAPPLIED:
	case OUTCOME_COUNT:
		break;			/* not here */
	}
}

/* An answer that applied nothing and is not followed by WAITING must not turn into a busy loop. */
static void
pause_if_fruitless(struct runner_slot *s, uint32_t unapplied_count, uint32_t count)
{
	int64_t ms = FRUITLESS_FIRST_MS;

	if (unapplied_count < count) {
		s->fruitless = 0;
		return;
	}
	for (unsigned i = 0; i < s->fruitless && ms < FRUITLESS_MOST_MS; i++)
		ms *= 2;
	s->fruitless++;
	loop_timer_set_ms(&s->pause, ms < FRUITLESS_MOST_MS ? ms : FRUITLESS_MOST_MS);
}

static void
take_outcomes(struct runner_slot *s, struct batch *b, const struct frame_result *result,
    const struct frame_outcome *outcomes)
{
	struct runner *r = s->runner;
	bool alone = (b->head.batch.flags & FRAME_BATCH_ALONE) != 0;
	uint32_t count = BATCH_COUNT(b), again = 0;

	for (uint32_t i = 0; i < count; i++) {
		const struct frame_outcome *o = &outcomes[i];
		struct delivery *d = b->members[i];

		if (o->outcome == OUTCOME_UNAPPLIED) {
			again += (o->flags & FRAME_OUTCOME_BUSY) == 0;
			unapplied(r, d, o, alone, shorten(frame_result_text(result, o->text),
			    RUNNER_TEXT_MAX / 2));
		} else {
			stats_observe(&r->handlers[d->handler].stats->handle, o->handle_us);
			settle(r, d, o, result);
		}
	}
	if (again < count && !s->finished) {
		s->finished = true;
		backoff_reset(&r->pool);
	}
	s->behind = (s->behind || again > 0) && s->flying > 0;
	pause_if_fruitless(s, again, count);
}

/*
 * READS are batched as far as nobody waits long for it: those behind a slow one are better off in
 * another slot.
 */
static void
adapt_together(struct runner *r, const struct batch *b, const struct frame_outcome *outcomes)
{
	struct runner_handler *h = &r->handlers[b->members[0]->handler];
	uint32_t count = BATCH_COUNT(b);
	uint64_t us = 0;

	if (h->kind != PAWL_READS)
		return;
	for (uint32_t i = 0; i < count; i++)
		us += outcomes[i].handle_us;
	if (us > RUNNER_READS_US)
		h->together = (h->together + 1) / 2;
	else if (us < RUNNER_READS_US / 2 && count >= h->together &&
	    h->together < RUNNER_READS_TOGETHER && loop_now(r->loop).ns >= r->apart_until.ns)
		h->together *= 2;
}

/* Batches that hold rows in different orders wait for each other; single messages, if their handlers lock in one order, do not. */
static void
deadlocked(struct runner *r, const struct batch *b)
{
	if (BATCH_COUNT(b) == 1 || r->handlers[b->members[0]->handler].kind != PAWL_READS) {
		runner_slots_serialize(r);
		return;
	}
	r->apart_until = clock_mono_after_ms(loop_now(r->loop), RUNNER_APART_MS);
	for (size_t i = 0; i < r->queue->handler_count; i++)
		if (r->handlers[i].kind == PAWL_READS)
			r->handlers[i].together = 1;
}

/* Its place in the buffer depends on what came before it. */
static const struct frame_result *
align(struct runner *r, struct slice payload)
{
	const void *at = payload.data;

	if ((uintptr_t)at % _Alignof(struct frame_result) != 0) {
		buf_clear(&r->aligned);
		buf_append(&r->aligned, payload.data, payload.len);
		at = r->aligned.data;
	}
	return at;
}

void
runner_result(struct runner_slot *s, struct slice payload)
{
	struct runner *r = s->runner;
	const struct frame_result *result = align(r, payload);
	const struct frame_outcome *outcomes = frame_result_check(result, payload.len);
	unsigned position = 0;
	struct batch *b;

	if (outcomes == NULL) {
		runner_slot_kill(s, STATS_DEATH_PROTOCOL, "its answer is malformed");
		return;
	}
	while (position < s->flying && BATCH_ID(s->batches[position]) != result->id)
		position++;
	if (position == s->flying || BATCH_COUNT(s->batches[position]) != result->count ||
	    s->batches[position]->written <= result->count) {
		runner_slot_kill(s, STATS_DEATH_PROTOCOL, "it answered what it was not asked "
		    "(batch %" PRIu64 ", %" PRIu32 " messages)", result->id, result->count);
		return;
	}
	b = runner_slot_take_batch(s, position);
	stats_observe(&r->stats->database, result->database_us);
	adapt_together(r, b, outcomes);
	if (result->deadlocks > 0) {
		stats_add(&r->stats->deadlocks, result->deadlocks);
		deadlocked(r, b);
	}
	take_outcomes(s, b, result, outcomes);
	runner_slot_watch(s);
}
