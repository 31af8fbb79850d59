/*
 * outbox_blocked.c - aggregates whose first row could not be published, and waits.
 *
 * A blockage is one cause and all that waits for it. A missing exchange, a route that leads to no
 * queue and a queue that takes nothing concern every aggregate that goes there: one row is tried
 * for all of them, on a channel of its own, and when it gets through all go on. What is wrong with
 * a row itself blocks its own aggregate. Nothing but the seq of the first row is kept of a blocked
 * aggregate.
 *
 * A row without aggregate is blocked alone: an aggregate that is in no table stands for it.
 */
#include "outbox-relay/outbox_internal.h"

#include <assert.h>
#include <ctype.h>

#include "util/arena.h"
#include "util/json_scan.h"
#include "util/utf8.h"

enum {
	RETRY_FIRST_MS = 1000,
	RETRY_MOST_MS = 60000,
	NACK_FIRST_MS = 100,
	NACK_MOST_MS = 10000,
	NACK_CALM_MS = 20000,
	LOOK_MS = 50,		/* not more often: it walks over all blockages */
	LIST_MOST = 1000	/* aggregates in a list for people */
};

struct blockage {
	struct blockage *next, *previous;
	enum block_reason reason;
	struct aggregate_list waiting;
	struct aggregate *trying;	/* whose first row is tried for all */
	struct backoff backoff;
	struct clock_mono due, tried;
	char *why;
	size_t key_len;			/* 0: not in the table of routes */
	char key[];			/* reason, exchange, NUL, routing key */
};

static bool
of_route(enum block_reason reason)
{
	return reason == BLOCK_NO_EXCHANGE || reason == BLOCK_UNROUTABLE || reason == BLOCK_NACKED;
}

/* A missing exchange is missing for every routing key. */
static void
make_key(struct buf *key, enum block_reason reason, struct slice exchange, struct slice routing_key)
{
	buf_clear(key);
	if (!of_route(reason))
		return;
	buf_putc(key, (char)('a' + (int)reason));
	buf_slice(key, exchange);
	buf_putc(key, '\0');
	if (reason != BLOCK_NO_EXCHANGE)
		buf_slice(key, routing_key);
}

static struct blockage *
find(const struct outbox *o, enum block_reason reason, struct slice exchange,
    struct slice routing_key)
{
	struct buf key = BUF_INIT;
	struct blockage *found;

	make_key(&key, reason, exchange, routing_key);
	found = table_get(&o->blocked.routes, key.data, key.len);
	buf_release(&key);
	return found;
}

static struct blockage *
blockage_new(struct outbox *o, enum block_reason reason, const struct buf *key, const char *why)
{
	struct blockage *b = xcalloc(1, sizeof(*b) + key->len + 1);

	b->reason = reason;
	b->why = xstrdup(why);
	b->key_len = key->len;
	if (key->len > 0) {
		memcpy(b->key, key->data, key->len);
		(void)table_put(&o->blocked.routes, b->key, b->key_len, b);
	}
	if (reason == BLOCK_UNROUTABLE)
		o->blocked.unroutable++;
	if (reason == BLOCK_NACKED)
		backoff_init(&b->backoff, NACK_FIRST_MS, NACK_MOST_MS);
	else
		backoff_init(&b->backoff, RETRY_FIRST_MS, RETRY_MOST_MS);
	b->previous = o->blocked.tail;
	if (o->blocked.tail != NULL)
		o->blocked.tail->next = b;
	else
		o->blocked.head = b;
	o->blocked.tail = b;
	return b;
}

static void
blockage_free(struct outbox *o, struct blockage *b)
{
	if (b->key_len > 0)
		(void)table_remove(&o->blocked.routes, b->key, b->key_len);
	if (b->reason == BLOCK_UNROUTABLE)
		o->blocked.unroutable--;
	if (b->previous != NULL)
		b->previous->next = b->next;
	else
		o->blocked.head = b->next;
	if (b->next != NULL)
		b->next->previous = b->previous;
	else
		o->blocked.tail = b->previous;
	free(b->why);
	free(b);
}

static void
set_due(struct outbox *o, struct blockage *b, struct clock_mono due)
{
	b->due = due;
	if (due.ns < o->blocked.next.ns)
		o->blocked.next = due;
}

/* One more waits for b. */
static void
wait_for(struct outbox *o, struct aggregate *aggregate, struct blockage *b)
{
	aggregate->blockage = b;
	aggregate->blocked_ms = clock_wall_now().ms;
	aggregate->list = AGGREGATE_BLOCKED;
	o->blocked.changed = true;
	aggregate_list_append(&b->waiting, aggregate);
	o->blocked.aggregates++;
	stats_set(&outbox_stats(o)->blocked_aggregates, o->blocked.aggregates);
}

static void
leave(struct outbox *o, struct aggregate *aggregate)
{
	struct blockage *b = aggregate->blockage;

	if (b->trying == aggregate)
		b->trying = NULL;
	aggregate_list_remove(&b->waiting, aggregate);
	aggregate->blockage = NULL;
	aggregate->list = AGGREGATE_FLOWING;
	o->blocked.changed = true;
	o->blocked.aggregates--;
	stats_set(&outbox_stats(o)->blocked_aggregates, o->blocked.aggregates);
}

/* Its rows are read again, from the first one on. */
static void
release(struct outbox *o, struct aggregate *aggregate)
{
	leave(o, aggregate);
	if (o->table.keyed)
		outbox_unmark_dropped(o, aggregate->blocked_seq);	/* the next look finds it */
	if (aggregate->key_len == 0) {
		if (!o->table.keyed)
			seq_list_add(&o->blocked.again, aggregate->blocked_seq);
		free(aggregate);
		return;
	}
	if (aggregate->blocked_seq < aggregate->dropped_from)
		aggregate->dropped_from = aggregate->blocked_seq;
	outbox_next_row(o, aggregate);
}

static void
release_all(struct outbox *o, struct blockage *b)
{
	while (b->waiting.head != NULL)
		release(o, b->waiting.head);
	blockage_free(o, b);
	outbox_wake(o);
}

static void
name_row(const struct outbox *o, const struct row *row, char *text, size_t size)
{
	const struct slice *type = &row->columns[OUTBOX_AGGREGATE_TYPE];
	const struct slice *id = &row->columns[OUTBOX_AGGREGATE_ID];
	char name[OUTBOX_EVENT_NAME];

	outbox_name_event(o, row->seq, name);
	if (id->data == NULL)
		(void)snprintf(text, size, "%s", name);
	else
		(void)snprintf(text, size, "%s of aggregate \"%.100s/%.100s\"", name,
		    type->data == NULL ? "" : type->data, id->data);
}

const char *
outbox_reason(enum block_reason reason)
{
	static const char *const texts[] = {
		[BLOCK_NO_EXCHANGE] = "no exchange",
		[BLOCK_UNROUTABLE] = "unroutable",
		[BLOCK_NACKED] = "nacked",
		[BLOCK_PRECONDITION] = "refused by the broker",
		[BLOCK_REFUSED] = "refused",
	};

	_Static_assert(ARRAY_SIZE(texts) == BLOCK_REASONS, "a text for each reason");
	return texts[reason];
}

/* The broker's words and the row's are in it: made fit for a log and for a column. */
static void
make_printable(struct buf *text)
{
	for (size_t i = 0, len; i < text->len; i += len) {
		len = utf8_length(text->data + i, text->len - i);
		if (len == 0 || (len == 1 && iscntrl((unsigned char)text->data[i]))) {
			text->data[i] = '?';
			len = 1;
		}
	}
}

/* Why this row cannot be published, in a few words. */
static void
say_why(struct outbox *o, const struct row *row, enum block_reason reason, struct slice text,
    struct buf *out)
{
	struct slice exchange = { "", 0 }, key = { "", 0 };

	if (!outbox_route(o, row, &exchange, &key))
		exchange = key = (struct slice){ "", 0 };
	switch (reason) {
	case BLOCK_NO_EXCHANGE:
		buf_printf(out, "exchange \"%.*s\" does not exist", (int)exchange.len,
		    exchange.data);
		break;
	case BLOCK_UNROUTABLE:
		buf_printf(out, "no queue is bound to exchange \"%.*s\" for routing key \"%.*s\"",
		    (int)exchange.len, exchange.data, (int)key.len, key.data);
		break;
	case BLOCK_NACKED:
		buf_printf(out, "the broker did not take it (exchange \"%.*s\", routing key"
		    " \"%.*s\")", (int)exchange.len, exchange.data, (int)key.len, key.data);
		break;
	case BLOCK_PRECONDITION:
		buf_printf(out, "the broker refused it: %.*s", (int)text.len, text.data);
		break;
	case BLOCK_REFUSED:
		buf_printf(out, "it cannot be published: %.*s", (int)text.len, text.data);
		break;
	case BLOCK_REASONS:
		break;
	}
	make_printable(out);
}

static void
complain(struct outbox *o, const struct row *row, enum block_reason reason, const char *why)
{
	static const char *const advice[] = {
		[BLOCK_NO_EXCHANGE] = "start the worker whose queue is bound to it, or declare it",
		[BLOCK_UNROUTABLE] = "start the worker that binds one",
		[BLOCK_NACKED] = "a queue is full or has no majority; trying again",
		[BLOCK_PRECONDITION] = "mend the row, or the broker's limits, or delete the row"
		    " (pawlctl outbox drop --blocked); trying again",
		[BLOCK_REFUSED] = "mend the row or delete it (pawlctl outbox drop --blocked)",
	};
	char name[OUTBOX_EVENT_NAME + 256];

	_Static_assert(ARRAY_SIZE(advice) == BLOCK_REASONS, "one for each reason");
	name_row(o, row, name, sizeof(name));
	if (reason == BLOCK_NACKED) {
		o->blocked.nacked = clock_mono_now();
		log_complain(&o->blocked.nacks, LOG_LEVEL_WARNING, "%s waits: %s; %s", name, why,
		    advice[reason]);
	} else {
		log_warning("%s waits%s: %s; %s", name,
		    reason == BLOCK_NO_EXCHANGE ? ", with all that goes to that exchange" : "", why,
		    advice[reason]);
	}
}

/*
 * Tried in vain: next time another one's row, so that one that is deleted or held up otherwise does
 * not keep the others.
 */
static void
still_blocked(struct outbox *o, struct blockage *b, struct aggregate *aggregate)
{
	b->trying = NULL;
	b->tried = clock_mono_now();
	aggregate_list_remove(&b->waiting, aggregate);
	aggregate_list_append(&b->waiting, aggregate);
	set_due(o, b, clock_mono_after_ms(b->tried, backoff_next_ms(&b->backoff)));
}

/* A new cause: the former one is gone, for the others, too. */
static void
leave_former(struct outbox *o, struct aggregate *aggregate)
{
	struct blockage *former = aggregate->blockage;

	leave(o, aggregate);
	release_all(o, former);
}

/* kept: it was to be put aside and stays in the table. That was said, and concerns nobody else. */
static void
wait(struct outbox *o, struct row *row, enum block_reason reason, const char *why, bool kept)
{
	struct aggregate *aggregate = row->aggregate;
	struct slice exchange, routing_key;
	struct buf key = BUF_INIT;
	struct blockage *b = NULL, *former;

	if (aggregate == NULL) {
		aggregate = aggregate_new((struct slice){ NULL, 0 }, 0);
		aggregate_insert(aggregate, row);
	}
	assert(aggregate->head == row);
	former = aggregate->blockage;
	if (!kept && outbox_route(o, row, &exchange, &routing_key))
		make_key(&key, reason, exchange, routing_key);
	if (key.len > 0)
		b = table_get(&o->blocked.routes, key.data, key.len);
	if (former != NULL && (former == b || (former->reason == reason && !of_route(reason)))) {
		still_blocked(o, former, aggregate);
	} else {
		if (former != NULL)
			leave_former(o, aggregate);
		if (b == NULL) {
			if (!kept)
				complain(o, row, reason, why);
			b = blockage_new(o, reason, &key, why);
			b->tried = clock_mono_now();
			set_due(o, b, clock_mono_after_ms(b->tried, backoff_next_ms(&b->backoff)));
		}
		outbox_leave_list(o, aggregate);
		wait_for(o, aggregate, b);
	}
	aggregate->blocked_seq = row->seq;
	aggregate->blocked_created_s = row_created_s(row);
	outbox_drop_aggregate(o, aggregate);
	buf_release(&key);
}

/* What stood for its aggregate is in no list any more. */
static void
stand_alone(struct row *row)
{
	if (row->aggregate == NULL || row->aggregate->key_len > 0)
		return;
	free(row->aggregate);
	row->aggregate = NULL;
}

void
outbox_block(struct outbox *o, struct row **rowp, enum block_reason reason, struct slice text)
{
	struct row *row = *rowp;
	struct buf why = BUF_INIT;

	*rowp = NULL;
	say_why(o, row, reason, text, &why);
	if (outbox_policy(o, reason) == POLICY_HOLD) {
		wait(o, row, reason, why.data, false);
	} else {
		if (row->aggregate != NULL && row->aggregate->blockage != NULL)
			leave_former(o, row->aggregate);
		stand_alone(row);
		outbox_put_aside(o, row, reason, why.data);
	}
	buf_release(&why);
	outbox_wake(o);
}

void
outbox_hold(struct outbox *o, struct row *row, enum block_reason reason, const char *why)
{
	wait(o, row, reason, why, true);
}

void
outbox_blocked_try(struct outbox *o)
{
	struct clock_mono now = clock_mono_now();

	for (struct blockage *b = o->blocked.head; b != NULL; b = b->next) {
		backoff_reset(&b->backoff);
		set_due(o, b, now);
	}
	outbox_wake(o);
}

static void
list_text(struct buf *out, const char *name, struct slice text)
{
	buf_printf(out, ", \"%s\": ", name);
	if (text.data == NULL)
		buf_puts(out, "null");
	else
		json_quote(out, text);
}

static void
list_one(const struct outbox *o, const struct blockage *b, const struct aggregate *aggregate,
    struct buf *out)
{
	struct buf event = BUF_INIT;
	bool has_none = aggregate->key_len == 0;

	outbox_key_text(o, aggregate->blocked_seq, &event);
	buf_puts(out, "{ \"outbox\": ");
	json_quote(out, slice_of(o->config->name));
	list_text(out, "event", (struct slice){ event.data, event.len });
	list_text(out, "aggregatetype", has_none ? (struct slice){ NULL, 0 } : aggregate_type(aggregate));
	list_text(out, "aggregateid", has_none ? (struct slice){ NULL, 0 } : aggregate_id(aggregate));
	list_text(out, "reason", slice_of(outbox_reason(b->reason)));
	list_text(out, "text", slice_of(b->why));
	buf_printf(out, ", \"since_ms\": %lld }\n", (long long)aggregate->blocked_ms);
	buf_release(&event);
}

void
outbox_blocked_list(struct outbox *o, struct buf *out)
{
	size_t listed = 0;

	o->blocked.changed = false;
	for (const struct blockage *b = o->blocked.head; b != NULL; b = b->next)
		for (const struct aggregate *aggregate = b->waiting.head;
		     aggregate != NULL && listed < LIST_MOST; aggregate = aggregate->next, listed++)
			list_one(o, b, aggregate, out);
	if (listed < o->blocked.aggregates) {
		buf_puts(out, "{ \"outbox\": ");
		json_quote(out, slice_of(o->config->name));
		buf_printf(out, ", \"more\": %zu }\n", o->blocked.aggregates - listed);
	}
}

bool
outbox_exchange_is_missing(const struct outbox *o, struct slice exchange)
{
	return o->blocked.routes.count > 0 &&
	    find(o, BLOCK_NO_EXCHANGE, exchange, (struct slice){ NULL, 0 }) != NULL;
}

/*
 * Not tried at once: of a headers exchange one message can be routed and the next one not, and they
 * must not push each other on for ever.
 */
void
outbox_route_works(struct outbox *o, const struct row *row)
{
	struct slice exchange, routing_key;
	struct blockage *b;

	if (o->blocked.unroutable == 0 || !outbox_route(o, row, &exchange, &routing_key))
		return;
	b = find(o, BLOCK_UNROUTABLE, exchange, routing_key);
	if (b != NULL && b->due.ns > clock_mono_after_ms(b->tried, RETRY_FIRST_MS).ns)
		set_due(o, b, clock_mono_after_ms(b->tried, RETRY_FIRST_MS));
}

void
outbox_unblock(struct outbox *o, struct aggregate *aggregate)
{
	struct blockage *b = aggregate->blockage;
	size_t others;
	char name[OUTBOX_EVENT_NAME];

	leave(o, aggregate);
	others = b->waiting.count;
	outbox_name_event(o, aggregate->blocked_seq, name);
	if (b->reason != BLOCK_NACKED)
		log_info("%s got through%s", name,
		    others == 0 ? "" : "; what waited with it goes on");
	release_all(o, b);
}

int64_t
outbox_blocked_oldest_s(const struct outbox *o)
{
	int64_t oldest = INT64_MAX;

	for (const struct blockage *b = o->blocked.head; b != NULL; b = b->next)
		for (const struct aggregate *aggregate = b->waiting.head; aggregate != NULL;
		     aggregate = aggregate->next)
			if (aggregate->blocked_created_s > 0 &&
			    aggregate->blocked_created_s < oldest)
				oldest = aggregate->blocked_created_s;
	return oldest;
}

void
outbox_blocked_due(struct outbox *o, struct clock_mono now, struct seq_list *seqs)
{
	struct clock_mono next = { INT64_MAX };

	assert(o->blocked.asked_count == 0);
	if (o->blocked.head == NULL)
		return;
	if (o->blocked.next.ns > now.ns) {
		outbox_due(o, now, o->blocked.next);
		return;
	}
	for (struct blockage *b = o->blocked.head; b != NULL; b = b->next) {
		if (b->trying != NULL)
			continue;
		if (b->due.ns <= now.ns && o->blocked.asked_count < OUTBOX_PROBES) {
			b->trying = b->waiting.head;
			o->blocked.asked[o->blocked.asked_count++] = b;
			seq_list_add(seqs, b->trying->blocked_seq);
		} else if (b->due.ns < next.ns) {
			next = b->due;
		}
	}
	if (next.ns < clock_mono_after_ms(now, LOOK_MS).ns)
		next = clock_mono_after_ms(now, LOOK_MS);
	o->blocked.next = next;
	if (o->blocked.asked_count == 0)
		outbox_due(o, now, next);
}

void
outbox_blocked_row(struct outbox *o, struct row *row)
{
	for (size_t i = 0; i < o->blocked.asked_count; i++) {
		struct aggregate *aggregate =
		    o->blocked.asked[i] == NULL ? NULL : o->blocked.asked[i]->trying;

		if (aggregate == NULL || aggregate->blocked_seq != row->seq)
			continue;
		o->blocked.asked[i] = NULL;
		outbox_keep_row(o, row);
		outbox_taken_back(o);
		aggregate_insert(aggregate, row);
		row->state = ROW_PROBE;
		row_list_append(&o->window.probes, row);
		return;
	}
	row_free(&row);
}

/* Somebody deleted it: the rows behind it can go on, and another one's row is tried for the others.
 */
static void
first_row_is_gone(struct outbox *o, struct blockage *b)
{
	struct aggregate *aggregate = b->trying;
	char name[OUTBOX_EVENT_NAME];

	outbox_name_event(o, aggregate->blocked_seq, name);
	log_info("%s, which could not be published, is no longer there", name);
	outbox_unmark_dropped(o, aggregate->blocked_seq);
	outbox_taken_back(o);
	leave(o, aggregate);
	if (aggregate->key_len == 0)
		free(aggregate);
	else
		outbox_next_row(o, aggregate);
	if (b->waiting.count == 0)
		blockage_free(o, b);
	else
		set_due(o, b, clock_mono_now());
}

void
outbox_blocked_gone(struct outbox *o)
{
	for (size_t i = 0; i < o->blocked.asked_count; i++)
		if (o->blocked.asked[i] != NULL)
			first_row_is_gone(o, o->blocked.asked[i]);
	o->blocked.asked_count = 0;
}

void
outbox_blocked_untried(struct outbox *o)
{
	for (size_t i = 0; i < o->blocked.asked_count; i++)
		if (o->blocked.asked[i] != NULL)
			still_blocked(o, o->blocked.asked[i], o->blocked.asked[i]->trying);
	o->blocked.asked_count = 0;
}

/* A queue that is full is read now and then: that is one complaint, not many. */
void
outbox_blocked_tick(struct outbox *o, struct clock_mono now)
{
	if (clock_ms_between(o->blocked.nacked, now) > NACK_CALM_MS)
		log_recovered(&o->blocked.nacks, "the broker takes events again");
}

void
outbox_blocked_reset(struct outbox *o)
{
	while (o->blocked.head != NULL) {
		struct blockage *b = o->blocked.head;

		while (b->waiting.head != NULL) {
			struct aggregate *aggregate = b->waiting.head;

			leave(o, aggregate);
			if (aggregate->key_len == 0)
				free(aggregate);
		}
		blockage_free(o, b);
	}
	table_release(&o->blocked.routes);
	seq_list_release(&o->blocked.again);
	o->blocked.asked_count = 0;
	o->blocked.next = (struct clock_mono){ INT64_MAX };
}
