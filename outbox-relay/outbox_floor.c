/*
 * outbox_floor.c - the floor: no row will appear at or below it that has not been seen. So reading
 * starts there, and neither dead rows nor those that wait for something are walked over again.
 *
 * Rows can become visible in another order than that of seq: a transaction draws its numbers early
 * and commits late. But who draws a number by inserting holds the table's RowExclusiveLock from
 * before the insert to its end. So, for a cursor C: everybody who holds this lock after a read that
 * has seen a row at C may still commit rows at or below C; nobody else can, because numbers are
 * drawn in the order of time (outbox_table.c checks that) and the one of C was drawn before that
 * read. When all of those have ended (a transaction's rows are visible before its locks go), one
 * more look from the old floor finds what they committed, and C is the floor. When some of them do
 * not end, that look is made after a while nevertheless, and what is between is set aside
 * (outbox_passed.c).
 *
 * Transactions are told apart by their virtual id, which is never used again while the server runs,
 * and which a transaction keeps when it is prepared (since 14.1: MarkAsPreparing() in twophase.c;
 * its locks change owner at one go).
 */
#include "outbox-relay/outbox_internal.h"

#include "util/arena.h"
#include "util/pg.h"

enum {
	AGAIN_MS = 20,
	RAISE_MS = 50,
	FAILED_MS = 1000,
	PURGE_LEAST = 4096,
	LONG_MS = 1000,		/* who has run for so long may do so for longer; */
	LONG_AGAIN_MS = 200,	/* look less often, then, */
	LONG_ROWS = 1000	/* and set aside what it costs something to walk over */
};

static void
clear_names(struct table *names)
{
	void *name;

	for (size_t at = 0; (name = table_next(names, &at)) != NULL;)
		free(name);
	table_release(names);
}

static void
add_name(struct table *names, const char *text)
{
	size_t len = strlen(text);
	char *name;

	if (table_get(names, text, len) != NULL)
		return;
	name = xstrdup(text);
	(void)table_put(names, name, len, name);
}

static bool
has_name(const struct table *names, const char *text)
{
	return table_get(names, text, strlen(text)) != NULL;
}

/* One look at who holds the lock. */
static void
look(struct outbox_floor *f, const struct pg_result *result)
{
	struct table left = TABLE_INIT;
	bool first = f->state == FLOOR_IDLE;

	f->writers.count = 0;
	f->unnumbered = false;
	for (int i = 0; i < pg_rows(result); i++) {
		const char *name = pg_value(result, i, 0), *xid = pg_value(result, i, 1);

		if (name == NULL || (!first && !has_name(&f->waiting, name)))
			continue;
		add_name(&left, name);
		if (xid == NULL)
			f->unnumbered = true;
		else
			seq_list_add(&f->writers, outbox_passed_xid(xid));
	}
	clear_names(&f->waiting);
	f->waiting = left;
	f->state = f->waiting.count == 0 ? FLOOR_CLEAR : FLOOR_WAITING;
}

/* Only long transactions are left, and it is worth while not to wait for them. */
static bool
can_pass(const struct outbox *o, int64_t waited_ms)
{
	const struct outbox_floor *f = &o->floor;

	return !f->unnumbered &&
	    (uint64_t)o->reader.cursor - (uint64_t)o->reader.floor >= LONG_ROWS &&
	    (waited_ms >= LONG_MS || outbox_passed_has_writers(o, &f->writers));
}

static void
answered(void *arg, struct pg_result **result, const struct pg_error *error)
{
	struct outbox *o = arg;
	struct outbox_floor *f = &o->floor;
	const struct log_context *former = log_push(&o->context);
	struct clock_mono now = clock_mono_now();

	f->asking = false;
	if (error != NULL) {
		log_complain(&f->complaint, LOG_LEVEL_WARNING,
		    "could not see who writes to the table: %s", error->text);
		f->next = clock_mono_after_ms(now, FAILED_MS);
	} else {
		int64_t waited_ms = clock_ms_between(f->since, now);

		look(f, *result);
		if (f->state == FLOOR_WAITING && can_pass(o, waited_ms))
			f->state = FLOOR_CLEAR;
		f->next =
		    clock_mono_after_ms(now, waited_ms < LONG_MS ? AGAIN_MS : LONG_AGAIN_MS);
	}
	outbox_wake(o);
	log_pop(former);
}

void
outbox_floor_work(struct outbox *o, struct clock_mono now)
{
	struct outbox_floor *f = &o->floor;

	if (!o->table.append_only || f->asking || f->state == FLOOR_CLEAR ||
	    relay_is_draining(o->relay))
		return;
	if (f->state == FLOOR_IDLE && o->reader.cursor == o->reader.floor)
		return;
	if (f->next.ns > now.ns) {
		outbox_due(o, now, f->next);
		return;
	}
	if (f->state == FLOOR_IDLE) {
		f->candidate = o->reader.cursor;
		f->since = now;
	}
	f->asking = true;
	outbox_execute(o, answered, "writers", 0, NULL);
}

bool
outbox_floor_is_clear(const struct outbox *o)
{
	return o->floor.state == FLOOR_CLEAR;
}

bool
outbox_floor_look(struct outbox *o, const char *text)
{
	struct outbox_snapshot snapshot = { 0 };
	bool ended;

	if (o->passed.count == 0 && o->floor.writers.count == 0)
		return false;
	outbox_snapshot_parse(&snapshot, text);
	/* It reads all from the old floor on: who has ended by now need not be set aside. */
	if (o->reader.clears_floor)
		outbox_snapshot_strike_ended(&snapshot, &o->floor.writers);
	ended = outbox_passed_ended(o, &snapshot);
	seq_list_release(&snapshot.running);
	return ended;
}

/*
 * Marks of rows below the floor tell nothing that the floor does not; but for those that had a
 * not_before, which are not read from there.
 */
static void
purge(struct outbox *o)
{
	struct seq_list below = { NULL, 0, 0 };
	int64_t to = outbox_passed_lowest(o);
	const struct seq_map_entry *entry;

	seq_list_sort(&o->reader.due);
	for (size_t at = 0; (entry = seq_map_next(&o->known, &at)) != NULL;)
		if (entry->value == DROPPED && entry->seq <= to &&
		    !seq_list_has(&o->reader.due, entry->seq))
			seq_list_add(&below, entry->seq);
	for (size_t i = 0; i < below.count; i++)
		outbox_unmark_dropped(o, below.items[i]);
	o->floor.purged = true;
	if (to > o->floor.purged_to)
		o->floor.purged_to = to;
	o->floor.purge_at = o->dropped > PURGE_LEAST / 2 ? 2 * o->dropped : PURGE_LEAST;
	seq_list_release(&below);
}

void
outbox_floor_rise(struct outbox *o)
{
	struct outbox_floor *f = &o->floor;

	outbox_passed_add(o, o->reader.floor, f->candidate, &f->writers);
	f->writers.count = 0;
	o->reader.floor = f->candidate;
	f->state = FLOOR_IDLE;
	f->next = clock_mono_after_ms(clock_mono_now(), RAISE_MS);
	if (o->dropped >= f->purge_at)
		purge(o);
}

void
outbox_floor_lower(struct outbox *o, int64_t floor)
{
	struct outbox_floor *f = &o->floor;

	if (floor >= o->reader.floor)
		return;
	o->reader.floor = floor;
	o->reader.clears_floor = false;		/* the look that is under way began above it */
	outbox_passed_reset(o);			/* they are above it */
	clear_names(&f->waiting);
	f->state = FLOOR_IDLE;
}

void
outbox_floor_reset(struct outbox *o)
{
	struct outbox_floor *f = &o->floor;

	clear_names(&f->waiting);
	f->state = FLOOR_IDLE;
	seq_list_release(&f->writers);
	outbox_passed_reset(o);
	f->asking = f->purged = false;
	f->purged_to = INT64_MIN;
	f->purge_at = PURGE_LEAST;
	f->next = (struct clock_mono){ 0 };
}
