/*
 * outbox.c - an outbox's state, its rows in memory, and the order in which its parts get their turn.
 */
#include "outbox-relay/outbox_internal.h"

#include <assert.h>
#include <sysexits.h>

#include "util/arena.h"
#include "util/pg.h"

enum { WAIT_MOST_MS = 1000 };

static const char *const state_names[] = {
	[OUTBOX_DOWN] = "down", [OUTBOX_CHECKING] = "checking", [OUTBOX_UNFIT] = "unfit", [OUTBOX_STANDBY] = "standby", [OUTBOX_LEADING] = "leading",
	[OUTBOX_RESIGNING] = "resigning",
};
_Static_assert(ARRAY_SIZE(state_names) == OUTBOX_STATES, "a name for each state");

char outbox_dropped[1], outbox_confirmed[1];

/* Lists of seqs. */

void
seq_list_add(struct seq_list *list, int64_t seq)
{
	if (list->count == list->cap) {
		list->cap = list->cap == 0 ? 64 : list->cap * 2;
		list->items = xrealloc(list->items, list->cap * sizeof(*list->items));
	}
	list->items[list->count++] = seq;
}

static int
compare_seqs(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

void
seq_list_sort(struct seq_list *list)
{
	if (list->count > 1)
		qsort(list->items, list->count, sizeof(*list->items), compare_seqs);
}

bool
seq_list_has(const struct seq_list *list, int64_t seq)
{
	return list->count > 0 && bsearch(&seq, list->items, list->count, sizeof(*list->items), compare_seqs) != NULL;
}

void
seq_list_release(struct seq_list *list)
{
	free(list->items);
	*list = (struct seq_list){ NULL, 0, 0 };
}

void
seq_list_text(const struct seq_list *list, struct buf *text)
{
	buf_clear(text);
	for (size_t i = 0; i < list->count; i++)
		buf_printf(text, "%c%lld", i == 0 ? '{' : ',', (long long)list->items[i]);
	buf_puts(text, list->count == 0 ? "{}" : "}");
}

void
seq_list_parse(struct seq_list *list, const char *text)
{
	for (const char *at = text; *at != '\0';) {
		char *end;
		long long seq;

		if (*at == '{' || *at == ',' || *at == '}') {
			at++;
			continue;
		}
		seq = strtoll(at, &end, 10);
		if (end == at)
			return;
		seq_list_add(list, seq);
		at = end;
	}
}

/* State. */

void
outbox_set_state(struct outbox *o, enum outbox_state state)
{
	log_debug("outbox: %s -> %s", state_names[o->state], state_names[state]);
	if (state == OUTBOX_LEADING)
		log_info("leading: publishing the events of table %s", o->table.name);
	o->state = state;
	stats_set(&outbox_stats(o)->leader, state == OUTBOX_LEADING);
	stats_set(&outbox_stats(o)->database_up, state != OUTBOX_DOWN);
	outbox_wake(o);
}

static void
session_up(void *arg)
{
	struct outbox *o = arg;
	const struct log_context *former = log_push(&o->context);

	assert(o->state == OUTBOX_DOWN);
	if (database_sessions(o->database) > 1)
		stats_add(&outbox_stats(o)->reconnects, 1);
	outbox_lead_check(o);
	log_pop(former);
}

static void
session_down(void *arg)
{
	struct outbox *o = arg;
	const struct log_context *former = log_push(&o->context);

	if (o->state == OUTBOX_LEADING) {
		stats_add(&outbox_stats(o)->leader_losses, 1);
		log_info("no longer leading: the session is lost");
	}
	outbox_forget(o);
	outbox_set_state(o, OUTBOX_DOWN);
	log_pop(former);
}

struct stats_outbox *
outbox_stats(struct outbox *o)
{
	return &o->page->outbox;
}

const char *
outbox_name(const struct outbox *o)
{
	return o->config->name;
}

bool
outbox_leads(const struct outbox *o)
{
	return o->state == OUTBOX_LEADING;
}

bool
outbox_is_empty(const struct outbox *o)
{
	return o->state == OUTBOX_LEADING && o->reader.found_nothing && o->reader.reading == READING_NOTHING && o->rows == 0 &&
	    o->settling.confirmed.count == 0 && o->settling.deleting.count == 0 && o->blocked.aggregates == 0 && o->blocked.again.count == 0 &&
	    o->lagging.count == 0;
}

size_t
outbox_unsettled(const struct outbox *o)
{
	return o->window.issued.count + o->window.orphans.count + (o->window.probed != NULL) + o->settling.confirmed.count + o->settling.deleting.count;
}

bool
outbox_is_drained(const struct outbox *o)
{
	return outbox_unsettled(o) == 0;
}

bool
outbox_may_issue(const struct outbox *o, struct clock_mono now)
{
	return o->state == OUTBOX_LEADING && !relay_is_draining(o->relay) && database_lease(o->database, now);
}

/* Turns. */

void
outbox_wake(struct outbox *o)
{
	relay_wake(o->relay, o);
}

static void
timer_due(void *arg)
{
	outbox_wake(arg);
}

void
outbox_due_ms(struct outbox *o, int64_t ms)
{
	if (ms < o->wait_ms)
		o->wait_ms = ms;
}

void
outbox_due(struct outbox *o, struct clock_mono now, struct clock_mono at)
{
	int64_t ns = at.ns - now.ns;

	outbox_due_ms(o, ns <= 0 ? 0 : ns / 1000000 > WAIT_MOST_MS ? WAIT_MOST_MS : (ns + 999999) / 1000000);
}

void
outbox_work(struct outbox *o)
{
	const struct log_context *former = log_push(&o->context);
	struct clock_mono now = clock_mono_now();

	o->wait_ms = WAIT_MOST_MS;
	outbox_lead_work(o, now);
	if (o->state == OUTBOX_LEADING) {
		outbox_publish_work(o, now);
		outbox_settle_work(o, now);
		outbox_floor_work(o, now);
		outbox_read_work(o, now);
	}
	loop_timer_set_ms(&o->timer, o->wait_ms);
	log_pop(former);
}

void
outbox_statement(const struct outbox *o, const char *which, char name[32])
{
	(void)snprintf(name, 32, "pawl_%u_%u_%s", o->number, o->checks, which);
}

void
outbox_execute(struct outbox *o, database_fn *fn, const char *which, int n, const char *const *values)
{
	char name[32];

	outbox_statement(o, which, name);
	database_execute(o->database, fn, o, name, n, values);
}

/* Rows. */

void
outbox_mark_dropped(struct outbox *o, int64_t seq)
{
	if (seq_map_get(&o->known, seq) != DROPPED)
		o->dropped++;
	seq_map_put(&o->known, seq, DROPPED);
}

void
outbox_unmark_dropped(struct outbox *o, int64_t seq)
{
	if (seq_map_get(&o->known, seq) != DROPPED)
		return;
	seq_map_remove(&o->known, seq);
	o->dropped--;
}

void
outbox_keep_row(struct outbox *o, struct row *row)
{
	if (seq_map_get(&o->known, row->seq) == DROPPED)
		o->dropped--;
	seq_map_put(&o->known, row->seq, row);
	o->rows++;
	relay_account(o->relay, (ptrdiff_t)row->size);
}

void
outbox_let_go(struct outbox *o, struct row **row)
{
	o->rows--;
	relay_account(o->relay, -(ptrdiff_t)(*row)->size);
	row_free(row);
}

static void
make_ready(struct outbox *o, struct row *row)
{
	row->state = ROW_READY;
	row_list_append(&o->window.ready, row);
}

/* To be caught up, if there is anything to catch up with and few rows are left to work on meanwhile. */
static void
lag(struct outbox *o, struct aggregate *aggregate)
{
	if (aggregate->list != AGGREGATE_FLOWING || aggregate->dropped_from == INT64_MAX || aggregate->count > OUTBOX_AGGREGATE_LOW)
		return;
	aggregate->list = AGGREGATE_LAGGING;
	aggregate_list_append(&o->lagging, aggregate);
}

static struct aggregate *
aggregate_of(struct outbox *o, const struct row *row)
{
	struct slice type = row->columns[OUTBOX_AGGREGATE_TYPE], id = row->columns[OUTBOX_AGGREGATE_ID];
	char small[256], *key = small;
	struct aggregate *aggregate;
	size_t len = type.len + 1 + id.len;

	if (o->config->order == ORDER_NONE || id.data == NULL)
		return NULL;
	if (len > sizeof(small))
		key = xmalloc(len);
	if (type.len > 0)
		memcpy(key, type.data, type.len);
	key[type.len] = '\0';
	memcpy(key + type.len + 1, id.data, id.len);
	aggregate = table_get(&o->aggregates, key, len);
	if (aggregate == NULL) {
		aggregate = aggregate_new((struct slice){ key, len }, type.len);
		(void)table_put(&o->aggregates, aggregate->key, aggregate->key_len, aggregate);
	}
	if (key != small)
		free(key);
	return aggregate;
}

void
outbox_add_row(struct outbox *o, struct aggregate *aggregate, struct row *row)
{
	outbox_keep_row(o, row);
	aggregate_insert(aggregate, row);
	if (aggregate->head == row)
		make_ready(o, row);
}

/* Rows are taken in order of seq, but for those that were committed late. */
void
outbox_take_row(struct outbox *o, struct row *row)
{
	struct aggregate *aggregate = aggregate_of(o, row);

	if (aggregate != NULL && aggregate->blockage == NULL && aggregate->count >= OUTBOX_AGGREGATE_ROWS && row->seq > aggregate->tail->seq &&
	    row->seq < aggregate->dropped_from)
		aggregate->dropped_from = row->seq;
	if (aggregate != NULL && (aggregate->blockage != NULL || row->seq >= aggregate->dropped_from)) {
		if (row->seq < aggregate->dropped_from)
			aggregate->dropped_from = row->seq;
		outbox_mark_dropped(o, row->seq);
		row_free(&row);
		return;
	}
	if (aggregate != NULL) {
		outbox_add_row(o, aggregate, row);
		return;
	}
	outbox_keep_row(o, row);
	make_ready(o, row);
}

void
outbox_caught_up(struct outbox *o, struct aggregate *aggregate)
{
	aggregate_list_remove(&o->reader.catching_up, aggregate);
	aggregate->list = AGGREGATE_FLOWING;
	if (aggregate->head == NULL && aggregate->dropped_from == INT64_MAX) {
		(void)table_remove(&o->aggregates, aggregate->key, aggregate->key_len);
		free(aggregate);
	} else {
		lag(o, aggregate);
	}
}

void
outbox_next_row(struct outbox *o, struct aggregate *aggregate)
{
	if (aggregate->head != NULL) {
		make_ready(o, aggregate->head);
	} else if (aggregate->key_len == 0) {
		free(aggregate);
		return;
	} else if (aggregate->dropped_from == INT64_MAX && aggregate->list == AGGREGATE_FLOWING) {
		(void)table_remove(&o->aggregates, aggregate->key, aggregate->key_len);
		free(aggregate);
		return;
	}
	lag(o, aggregate);
}

void
outbox_pop_row(struct outbox *o, struct row **row)
{
	struct aggregate *aggregate = (*row)->aggregate;

	if (aggregate != NULL) {
		assert(aggregate->head == *row);
		aggregate->head = (*row)->behind;
		if (aggregate->head == NULL)
			aggregate->tail = NULL;
		aggregate->count--;
	}
	outbox_let_go(o, row);
	if (aggregate != NULL)
		outbox_next_row(o, aggregate);
}

void
outbox_drop_aggregate(struct outbox *o, struct aggregate *aggregate)
{
	struct row *row = aggregate->head;

	if (row->behind != NULL && row->behind->seq < aggregate->dropped_from)
		aggregate->dropped_from = row->behind->seq;
	while (row != NULL) {
		struct row *behind = row->behind;

		outbox_mark_dropped(o, row->seq);
		outbox_let_go(o, &row);
		row = behind;
	}
	aggregate->head = aggregate->tail = NULL;
	aggregate->count = 0;
}

/*
 * What is unconfirmed stays with its channel until the broker has answered; only then may the lock be taken again (outbox_lead.c). If
 * such a row were read again before, it could be published while its first copy is still on the way, and that copy could arrive behind
 * its successors. Nor is it remembered as confirmed: behind a fail-over its seq may be another event's.
 */
void
outbox_forget(struct outbox *o)
{
	struct outbox_window *window = &o->window;
	const struct seq_map_entry *entry;
	struct aggregate *aggregate;

	for (size_t at = 0; (entry = seq_map_next(&o->known, &at)) != NULL;) {
		struct row *row = entry->value;

		if (entry->value == DROPPED || entry->value == CONFIRMED)
			continue;
		row->aggregate = NULL;
		row->behind = NULL;
		if (row->state == ROW_ISSUED) {
			row_list_remove(&window->issued, row);
			row_list_append(&window->orphans, row);
		}
		if (row->state == ROW_ISSUED || row->state == ROW_PROBED) {
			row->state = ROW_ORPHAN;
			o->rows--;
		} else {
			outbox_let_go(o, &row);
		}
	}
	outbox_publish_reset(o);
	outbox_blocked_reset(o);
	for (size_t at = 0; (aggregate = table_next(&o->aggregates, &at)) != NULL;)
		free(aggregate);
	table_release(&o->aggregates);
	o->lagging = (struct aggregate_list){ NULL, NULL, 0 };
	seq_map_release(&o->known);
	o->dropped = 0;
	outbox_settle_reset(o);
	outbox_read_reset(o);
	outbox_floor_reset(o);
	o->trying = false;
	o->broker_lost_since = (struct clock_mono){ 0 };
}

/* Life. */

static void
parse_template(struct outbox *o, const char *key, const char *text, struct outbox_template *template)
{
	char error[256];

	if (outbox_template_parse(text, &o->templates, template, error, sizeof(error)) != 0)
		log_fatal(EX_CONFIG, "outbox \"%s\": %s: %s", o->config->name, key, error);
}

struct outbox *
outbox_new(struct relay *relay, const struct config_outbox *config, struct database *database, struct amqp_publisher *publisher,
    struct stats_page *page)
{
	static unsigned number;
	struct outbox *o = xcalloc(1, sizeof(*o));

	o->relay = relay;
	o->config = config;
	o->database = database;
	o->publisher = publisher;
	o->page = page != NULL ? page : &o->own_page;
	o->context = (struct log_context){ NULL, "outbox", config->name };
	o->number = number++;
	o->table = (struct outbox_table)OUTBOX_TABLE_INIT;
	parse_template(o, "exchange", config->exchange, &o->exchange);
	parse_template(o, "routing_key", config->routing_key, &o->routing_key);
	loop_timer_init(&o->timer, relay_loop(relay), timer_due, o);
	backoff_init(&o->check_backoff, 1000, 30000);
	outbox_publish_init(o);
	outbox_forget(o);
	o->user = (struct database_user){ .up = session_up, .down = session_down, .arg = o };
	database_add_user(database, &o->user, config->name);
	return o;
}

/* The database and its session are still there. */
void
outbox_free(struct outbox **op)
{
	struct outbox *o = *op;

	*op = NULL;
	if (o == NULL)
		return;
	loop_timer_stop(&o->timer);
	outbox_forget(o);
	outbox_publish_release(o);
	outbox_table_release(&o->table);
	arena_release(&o->templates);
	free(o);
}

/* Not every event: the gauges are of interest once a second. */
void
outbox_tick(struct outbox *o)
{
	const struct log_context *former = log_push(&o->context);
	struct stats_outbox *stats = outbox_stats(o);
	struct clock_wall now = clock_wall_now();
	int64_t oldest_s = 0;

	outbox_publish_tick(o, clock_mono_now());
	outbox_blocked_tick(o, clock_mono_now());
	for (const struct row *row = o->window.issued.head != NULL ? o->window.issued.head : o->window.ready.head; row != NULL; row = NULL)
		oldest_s = row_created_s(row);
	stats_set(&stats->in_flight, o->window.issued.count + o->window.orphans.count + (o->window.probed != NULL));
	stats_set(&stats->broker_up, amqp_publisher_connected(o->publisher));
	stats_set(&stats->oldest_ms, oldest_s == 0 || now.ms < oldest_s * 1000 ? 0 : (uint64_t)(now.ms - oldest_s * 1000));
	atomic_store_explicit(&o->page->updated_ms, now.ms, memory_order_relaxed);
	log_pop(former);
}
