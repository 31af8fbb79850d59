/*
 * outbox_passed.c - ranges below the floor into which long transactions may still commit rows.
 *
 * While a transaction runs that may have a row at or below the floor's candidate, the floor cannot
 * rise, and each look ahead would walk over all rows that have gone through since; it is that
 * transaction, too, that keeps the dead ones from being removed. So a candidate that has waited for
 * long is made the floor nevertheless, and what it has passed is set aside, together with the
 * transactions that it waited for. No look reads there again until the snapshot of one shows that
 * one of those has ended. Then nothing of that look is taken; first all ranges that are set aside
 * with that transaction are read once more, the lowest first, in steps. So a transaction costs one
 * reading of what went through while it ran, and not one with each look.
 *
 * Why no row is lost: outbox_floor.c has the proof that only these transactions can have rows there
 * that have not been seen. A step is begun after a snapshot has shown that the transaction has
 * ended, so it shows all of its rows. A transaction is struck off the range when the last step is
 * done; who ends meanwhile is struck off next time.
 *
 * Why the order within an aggregate holds: let a be a row in a range that was not seen yet, so of a
 * transaction T of that range, and b one behind it in its aggregate. Whoever shows b shows that T
 * has ended, because b is T's own, or its writer got the aggregate's lock only then. If it is a look
 * ahead that shows b, T's ranges are read first. If it is a step, b is in a range itself, thus T's
 * own (another writer would have drawn its number after T's end, and T had not ended when a range
 * of its was set aside); if a is in that step, too, it is in front of b; else T ended when the
 * step that should have shown a was over. But then b's step is the first to show that T has ended,
 * and none of it is taken either: all begins at the lowest of T's ranges. Other readings take only
 * rows that have been seen before (outbox_catch_up.c).
 *
 * A transaction is known by its number, which it keeps when it is prepared, and which pg_locks and
 * snapshots have in common; of one with subtransactions it is the outermost one's. Who has none yet
 * cannot be found in a snapshot: then nothing is set aside.
 *
 * All of it is in memory only: a leader begins at the first row of the table, with all that its
 * snapshot shows.
 */
#include "outbox-relay/outbox_internal.h"

#include <stdlib.h>
#include <string.h>

enum { STEP_FIRST = 16384, STEP_LEAST = 1024, QUICK_MS = 5, SLOW_MS = 20 };
#define STEP_MOST (INT64_C(1) << 60)

/* Numbers of transactions are told apart by 32 bits, as long as they run. */
int64_t
outbox_passed_xid(const char *text)
{
	return (int64_t)(uint32_t)strtoull(text, NULL, 10);
}

/* "xmin:xmax:xip,xip...": those under way are the ones listed and those from xmax on. */
void
outbox_snapshot_parse(struct outbox_snapshot *s, const char *text)
{
	const char *at = strchr(text, ':');

	s->running.count = 0;
	s->next = at == NULL ? 0 : (uint32_t)outbox_passed_xid(at + 1);
	at = at == NULL ? NULL : strchr(at + 1, ':');
	while (at != NULL && at[1] != '\0') {
		seq_list_add(&s->running, outbox_passed_xid(at + 1));
		at = strchr(at + 1, ',');
	}
	seq_list_sort(&s->running);
}

static bool
is_running(const struct outbox_snapshot *s, int64_t xid)
{
	return (int32_t)((uint32_t)xid - s->next) >= 0 || seq_list_has(&s->running, xid);
}

void
outbox_snapshot_strike_ended(const struct outbox_snapshot *s, struct seq_list *xids)
{
	size_t kept = 0;

	for (size_t i = 0; i < xids->count; i++)
		if (is_running(s, xids->items[i]))
			xids->items[kept++] = xids->items[i];
	xids->count = kept;
}

static void
release(struct outbox_passed *range)
{
	seq_list_release(&range->writers);
	seq_list_release(&range->ended);
}

static void
remove_range(struct outbox_passed_ranges *a, size_t i)
{
	release(&a->ranges[i]);
	a->count--;
	memmove(&a->ranges[i], &a->ranges[i + 1], (a->count - i) * sizeof(a->ranges[0]));
}

static void
add_writers(struct outbox_passed *range, const struct seq_list *writers)
{
	for (size_t i = 0; i < writers->count; i++)
		if (!seq_list_has(&range->writers, writers->items[i])) {
			seq_list_add(&range->writers, writers->items[i]);
			seq_list_sort(&range->writers);
		}
}

static bool
same_writers(const struct outbox_passed *x, const struct outbox_passed *y)
{
	return x->ended.count == 0 && y->ended.count == 0 && x->writers.count == y->writers.count &&
	    memcmp(x->writers.items, y->writers.items,
		x->writers.count * sizeof(x->writers.items[0])) == 0;
}

/* Ranges without writers go; neighbours with the same ones become one. */
static void
tidy(struct outbox_passed_ranges *a)
{
	for (size_t i = 0; i < a->count;) {
		struct outbox_passed *range = &a->ranges[i], *next = range + 1;

		if (range->writers.count == 0) {
			remove_range(a, i);
		} else if (i + 1 < a->count && range->to == next->from &&
		    same_writers(range, next)) {
			range->to = next->to;
			remove_range(a, i + 1);
		} else {
			i++;
		}
	}
}

/* When there are too many ranges the last one grows. */
void
outbox_passed_add(struct outbox *o, int64_t from, int64_t to, const struct seq_list *writers)
{
	struct outbox_passed_ranges *a = &o->passed;

	if (writers->count == 0)
		return;
	if (a->count < ARRAY_SIZE(a->ranges))
		a->ranges[a->count++] = (struct outbox_passed){ .from = from };
	a->ranges[a->count - 1].to = to;
	add_writers(&a->ranges[a->count - 1], writers);
	tidy(a);
	log_debug("set aside up to %lld, for %zu transactions; %zu ranges", (long long)to,
	    writers->count, a->count);
}

bool
outbox_passed_has_writers(const struct outbox *o, const struct seq_list *writers)
{
	const struct outbox_passed_ranges *a = &o->passed;

	for (size_t i = 0; i < writers->count; i++) {
		size_t at = 0;

		while (at < a->count && !seq_list_has(&a->ranges[at].writers, writers->items[i]))
			at++;
		if (at == a->count)
			return false;
	}
	return true;
}

/* Those of a range that have ended by now: true if there are any who had not. */
static bool
note_ended(struct outbox_passed *range, const struct outbox_snapshot *snapshot)
{
	size_t before = range->ended.count;

	for (size_t i = 0; i < range->writers.count; i++) {
		int64_t xid = range->writers.items[i];

		if (!is_running(snapshot, xid) && !seq_list_has(&range->ended, xid)) {
			seq_list_add(&range->ended, xid);
			seq_list_sort(&range->ended);
		}
	}
	return range->ended.count > before;
}

bool
outbox_passed_ended(struct outbox *o, const struct outbox_snapshot *snapshot)
{
	struct outbox_passed_ranges *a = &o->passed;
	bool any = false;

	for (size_t i = 0; i < a->count; i++)
		if (note_ended(&a->ranges[i], snapshot))
			any = true;
	if (any)
		a->at = INT64_MIN;
	return any;
}

static struct outbox_passed *
range_to_read(struct outbox_passed_ranges *a)
{
	for (size_t i = 0; i < a->count; i++)
		if (a->ranges[i].ended.count > 0)
			return &a->ranges[i];
	return NULL;
}

bool
outbox_passed_step(struct outbox *o, int64_t *from, int64_t *to)
{
	struct outbox_passed_ranges *a = &o->passed;
	const struct outbox_passed *range = range_to_read(a);
	int64_t first;

	if (range == NULL)
		return false;
	if (a->step == 0)
		a->step = STEP_FIRST;
	if (a->at < range->from)
		a->at = range->from;
	first = a->at < 0 ? 0 : a->at;		/* the first range begins at INT64_MIN */
	*from = a->at;
	*to = first >= range->to || a->step > range->to - first ? range->to : first + a->step;
	return true;
}

void
outbox_passed_stepped(struct outbox *o, int64_t to, int64_t ms)
{
	struct outbox_passed_ranges *a = &o->passed;
	struct outbox_passed *range = range_to_read(a);
	size_t kept = 0;

	if (range == NULL)
		return;			/* the floor was lowered meanwhile */
	if (ms <= QUICK_MS && a->step < STEP_MOST)
		a->step *= 2;
	else if (ms > SLOW_MS && a->step > STEP_LEAST)
		a->step /= 2;
	a->at = to;
	if (to < range->to)
		return;
	for (size_t i = 0; i < range->writers.count; i++)
		if (!seq_list_has(&range->ended, range->writers.items[i]))
			range->writers.items[kept++] = range->writers.items[i];
	range->writers.count = kept;
	range->ended.count = 0;
	if (range_to_read(a) == NULL)
		tidy(a);
}

int64_t
outbox_passed_lowest(const struct outbox *o)
{
	return o->passed.count > 0 ? o->passed.ranges[0].from : o->reader.floor;
}

void
outbox_passed_reset(struct outbox *o)
{
	struct outbox_passed_ranges *a = &o->passed;

	while (a->count > 0)
		release(&a->ranges[--a->count]);
	a->at = INT64_MIN;
	a->step = 0;
}
