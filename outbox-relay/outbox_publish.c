/*
 * outbox_publish.c - issuing rows and the window of those that are unconfirmed.
 *
 * Order: of each aggregate at most one row is unconfirmed, and the next one is ready only when the
 * broker has confirmed it. So rows of different aggregates fill the window, and whatever happens to
 * one (nack, return, a lost connection) none of its successors is out.
 *
 * A missing exchange (404) or a message that the broker does not accept (406) closes the channel,
 * and everything unconfirmed on it is void without a word on which one it was. These suspects are
 * issued again one at a time, on a channel of their own, while the outbox's channel pauses. A 404
 * is about the exchange: one answer clears or convicts all suspects that go to it. Behind a 406 is
 * a message that is too large for the broker: largest first. When the culprit is found the others
 * go back to the window.
 */
#include "outbox-relay/outbox_internal.h"

#include <assert.h>

#include "util/fault.h"

enum {
	NOT_FOUND = 404,
	PRECONDITION_FAILED = 406,
	CONFIRM_MS = 60000	/* a confirm may never come; then the channel is given up */
};

static void
back_to_ready(struct outbox *o, struct row_list *list)
{
	while (list->tail != NULL) {
		struct row *row = list->tail;

		row_list_remove(list, row);
		row->state = ROW_READY;
		row_list_prepend(&o->window.ready, row);
	}
}

static void
free_orphan(struct outbox *o, struct row *row)
{
	relay_account(o->relay, -(ptrdiff_t)row->size);
	row_free(&row);
	outbox_wake(o);
}

static void
observe(struct outbox *o, const struct row *row)
{
	stats_observe(&outbox_stats(o)->confirm, (clock_mono_now().ns - row->issued.ns) / 1000);
}

/* The outbox's channel. */

static void
channel_ready(void *arg)
{
	outbox_wake(arg);
}

static void
channel_outcome(void *arg, void *token, enum amqp_outcome outcome, int code, struct slice text)
{
	struct outbox *o = arg;
	struct row *row = token;
	const struct log_context *former = log_push(&o->context);

	(void)code;
	if (row->state == ROW_ORPHAN) {
		row_list_remove(&o->window.orphans, row);
		free_orphan(o, row);
	} else {
		assert(row->state == ROW_ISSUED);
		row_list_remove(&o->window.issued, row);
		o->window.issued_bytes -= row->size;
		observe(o, row);
		outbox_settle_row(o, row, outcome, text);
	}
	log_pop(former);
}

static bool
larger(const struct row *a, const struct row *b)
{
	return a->columns[OUTBOX_PAYLOAD].len > b->columns[OUTBOX_PAYLOAD].len;
}

static int
compare_sizes(const void *a, const void *b)
{
	const struct row *x = *(struct row *const *)a, *y = *(struct row *const *)b;

	return larger(y, x) - larger(x, y);
}

static void
sort_by_size(struct row_list *list)
{
	struct row **rows = xcalloc(list->count, sizeof(struct row *));
	size_t count = 0;

	while (list->head != NULL) {
		rows[count++] = list->head;
		row_list_remove(list, list->head);
	}
	qsort(rows, count, sizeof(struct row *), compare_sizes);
	for (size_t i = 0; i < count; i++)
		row_list_append(list, rows[i]);
	free(rows);
}

static bool
names_a_culprit(const struct amqp_error *error)
{
	return !error->connection &&
	    (error->code == NOT_FOUND || error->code == PRECONDITION_FAILED);
}

static void
channel_down(void *arg, const struct amqp_error *error)
{
	struct outbox *o = arg;
	struct outbox_window *w = &o->window;
	const struct log_context *former = log_push(&o->context);

	while (w->orphans.head != NULL) {
		struct row *row = w->orphans.head;

		row_list_remove(&w->orphans, row);
		free_orphan(o, row);
	}
	w->issued_bytes = 0;
	if (names_a_culprit(error) && w->issued.count > 0) {
		log_info("the broker closed the channel: %s; looking for the cause among %zu"
		    " events", error->text, w->issued.count);
		w->suspect_code = error->code;
		while (w->issued.head != NULL) {
			struct row *row = w->issued.head;

			row_list_remove(&w->issued, row);
			row->state = ROW_SUSPECT;
			row_list_append(&w->suspects, row);
		}
		if (error->code == PRECONDITION_FAILED)
			sort_by_size(&w->suspects);
	} else {
		back_to_ready(o, &w->issued);
	}
	outbox_wake(o);
	log_pop(former);
}

/* The probe channel. One row at a time. */

static bool
is_suspect(const struct row *row)
{
	return row->aggregate == NULL || row->aggregate->blockage == NULL;
}

static void
clear_suspects_of(struct outbox *o, struct slice exchange)
{
	struct outbox_window *w = &o->window;
	struct slice of_row, routing_key;

	for (struct row *row = w->suspects.head, *next; row != NULL; row = next) {
		next = row->next;
		if (outbox_route(o, row, &of_row, &routing_key) && !slice_equals(of_row, exchange))
			continue;
		row_list_remove(&w->suspects, row);
		row->state = ROW_READY;
		row_list_append(&w->ready, row);
	}
}

/* The broker took a position on it without closing the channel: its exchange is there. */
static void
suspect_is_clear(struct outbox *o, const struct row *row)
{
	struct slice exchange, routing_key;
	struct buf copy = BUF_INIT;

	if (o->window.suspect_code != NOT_FOUND || !outbox_route(o, row, &exchange, &routing_key))
		return;
	buf_slice(&copy, exchange);	/* the router's memory is used again */
	clear_suspects_of(o, (struct slice){ copy.data, copy.len });
	buf_release(&copy);
}

static void
probe_outcome(void *arg, void *token, enum amqp_outcome outcome, int code, struct slice text)
{
	struct outbox *o = arg;
	struct row *row = token;
	const struct log_context *former = log_push(&o->context);

	(void)code;
	assert(row == o->window.probed);
	o->window.probed = NULL;
	if (row->state == ROW_ORPHAN) {
		free_orphan(o, row);
	} else {
		observe(o, row);
		if (is_suspect(row))
			suspect_is_clear(o, row);
		outbox_settle_row(o, row, outcome, text);
	}
	outbox_wake(o);
	log_pop(former);
}

static void
probe_down(void *arg, const struct amqp_error *error)
{
	struct outbox *o = arg;
	struct outbox_window *w = &o->window;
	struct row *row = w->probed;
	const struct log_context *former = log_push(&o->context);

	w->probed = NULL;
	if (row == NULL) {
		/* It was idle, or is not up yet. */
	} else if (row->state == ROW_ORPHAN) {
		free_orphan(o, row);
	} else if (names_a_culprit(error)) {
		bool found = is_suspect(row);

		stats_add(&outbox_stats(o)->refused, 1);
		outbox_block(o, &row,
		    error->code == NOT_FOUND ? BLOCK_NO_EXCHANGE : BLOCK_PRECONDITION,
		    slice_of(error->text));
		if (found)
			back_to_ready(o, &w->suspects);
	} else if (is_suspect(row)) {
		row->state = ROW_SUSPECT;
		row_list_prepend(&w->suspects, row);
	} else {
		row->state = ROW_PROBE;
		row_list_prepend(&w->probes, row);
	}
	outbox_wake(o);
	log_pop(former);
}

/* Issuing. */

enum issue { ISSUE_DONE, ISSUE_LATER };

static void
refuse(struct outbox *o, struct row *row, const char *why)
{
	stats_add(&outbox_stats(o)->refused, 1);
	outbox_block(o, &row, BLOCK_REFUSED, slice_of(why));
}

/* The row is in no list. LATER: it still is in none. */
static enum issue
issue(struct outbox *o, struct row *row, bool probe)
{
	struct outbox_window *w = &o->window;
	enum amqp_publish_status status;
	struct amqp_message message;
	char why[512];

	if (row_message(&w->maker, row, &message, why, sizeof(why)) != 0) {
		refuse(o, row, why);
		return ISSUE_DONE;
	}
	if (!probe && outbox_exchange_is_missing(o, message.exchange)) {
		outbox_block(o, &row, BLOCK_NO_EXCHANGE, slice_of(""));
		return ISSUE_DONE;
	}
	(void)fault_hit("relay.before_publish");
	/* The broker's answers may be read on the way: the row is where they look for it. */
	row->issued = clock_mono_now();
	row->state = probe ? ROW_PROBED : ROW_ISSUED;
	if (probe) {
		w->probed = row;
	} else {
		row_list_append(&w->issued, row);
		w->issued_bytes += row->size;
	}
	status = amqp_channel_publish(probe ? w->probe : w->channel, &message, row, why,
	    sizeof(why));
	if (status == AMQP_PUBLISHED) {
		stats_add(&outbox_stats(o)->published, 1);
		return ISSUE_DONE;
	}
	if (probe) {
		w->probed = NULL;
	} else {
		row_list_remove(&w->issued, row);
		w->issued_bytes -= row->size;
	}
	if (status == AMQP_NOT_READY)
		return ISSUE_LATER;
	refuse(o, row, why);
	return ISSUE_DONE;
}

static const struct amqp_channel_events channel_events = {
	.ready = channel_ready, .outcome = channel_outcome, .down = channel_down
};
static const struct amqp_channel_events probe_events = {
	.ready = channel_ready, .outcome = probe_outcome, .down = probe_down
};

static void
issue_probes(struct outbox *o, struct clock_mono now)
{
	struct outbox_window *w = &o->window;

	/* Most outboxes never need one. */
	if (w->probe == NULL && (w->suspects.head != NULL || w->probes.head != NULL))
		w->probe = amqp_channel_new(o->publisher, &probe_events, o);
	while (w->probed == NULL && (w->suspects.head != NULL || w->probes.head != NULL) &&
	    amqp_channel_ready(w->probe) && outbox_may_issue(o, now)) {
		struct row_list *list = w->suspects.head != NULL ? &w->suspects : &w->probes;
		enum row_state state = list == &w->suspects ? ROW_SUSPECT : ROW_PROBE;
		struct row *row = list->head;

		row_list_remove(list, row);
		if (issue(o, row, true) == ISSUE_LATER) {
			row->state = state;
			row_list_prepend(list, row);
			return;
		}
	}
}

static bool
has_room(const struct outbox *o)
{
	const struct outbox_window *w = &o->window;

	/*
	 * What was published and cannot be deleted will be published again one day: there is an end
	 * to that.
	 */
	return w->issued.count < o->config->window &&
	    (w->issued_bytes < OUTBOX_WINDOW_BYTES || w->issued.count == 0) &&
	    o->settling.confirmed.count + o->settling.kept.count <
	    o->config->window + (size_t)4 * OUTBOX_BATCH;
}

static bool
suspects_are_out(const struct outbox_window *w)
{
	return w->suspects.count > 0 ||
	    (w->probed != NULL && w->probed->state == ROW_PROBED && is_suspect(w->probed));
}

void
outbox_publish_work(struct outbox *o, struct clock_mono now)
{
	struct outbox_window *w = &o->window;

	issue_probes(o, now);
	if (suspects_are_out(w))
		return;
	while (w->ready.head != NULL && has_room(o) && amqp_channel_ready(w->channel)) {
		struct row *row = w->ready.head;

		/* Before each one: this process may have been stopped at the one before. */
		if (!outbox_may_issue(o, clock_mono_now()))
			return;
		row_list_remove(&w->ready, row);
		if (issue(o, row, false) == ISSUE_LATER) {
			row->state = ROW_READY;
			row_list_prepend(&w->ready, row);
			return;
		}
	}
}

static bool
is_overdue(const struct row *row, struct clock_mono now)
{
	return row != NULL && clock_ms_between(row->issued, now) > CONFIRM_MS;
}

void
outbox_publish_tick(struct outbox *o, struct clock_mono now)
{
	struct outbox_window *w = &o->window;
	struct amqp_error error = { .text = "the broker did not answer in time" };

	if (!amqp_publisher_connected(o->publisher) || amqp_publisher_blocked(o->publisher))
		return;
	if (is_overdue(w->issued.head, now) || is_overdue(w->orphans.head, now)) {
		log_warning("the broker did not confirm for %d s: %zu events are published again on"
		    " a new channel", CONFIRM_MS / 1000, w->issued.count);
		amqp_channel_free(&w->channel);
		channel_down(o, &error);
		w->channel = amqp_channel_new(o->publisher, &channel_events, o);
	}
	if (is_overdue(w->probed, now)) {
		log_warning("the broker did not confirm a single event for %d s: it is published"
		    " again on a new channel", CONFIRM_MS / 1000);
		amqp_channel_free(&w->probe);
		probe_down(o, &error);
	}
}

bool
outbox_route(struct outbox *o, const struct row *row, struct slice *exchange,
    struct slice *routing_key)
{
	char ignored[256];

	return row_route(&o->window.router, row, exchange, routing_key, ignored,
	    sizeof(ignored)) == 0;
}

void
outbox_publish_init(struct outbox *o)
{
	row_message_maker_init(&o->window.maker, o->config->name, &o->table,
	    o->config->envelope == ENVELOPE_CLOUDEVENTS, (size_t)o->config->max_body_bytes);
	row_message_maker_init(&o->window.router, o->config->name, &o->table,
	    o->config->envelope == ENVELOPE_CLOUDEVENTS, (size_t)o->config->max_body_bytes);
	o->window.channel = amqp_channel_new(o->publisher, &channel_events, o);
}

/* The rows themselves are gone already, or orphans. */
void
outbox_publish_reset(struct outbox *o)
{
	struct outbox_window *w = &o->window;
	const struct row_list none = { NULL, NULL, 0 };

	w->ready = w->suspects = w->probes = none;
	assert(w->issued.count == 0);
	w->issued_bytes = 0;
}

void
outbox_publish_release(struct outbox *o)
{
	struct outbox_window *w = &o->window;
	struct amqp_error error = { .text = "" };

	amqp_channel_free(&w->channel);
	amqp_channel_free(&w->probe);
	channel_down(o, &error);
	probe_down(o, &error);
	row_message_maker_release(&w->maker);
	row_message_maker_release(&w->router);
}
