/*
 * outbox_read.c - from the table into memory. One reading is under way at a time.
 *
 * Looking ahead is one statement, so one snapshot: the seqs of all visible rows between floor and
 * cursor, which are behind us, and the next rows ahead of the cursor. A seq that is behind and not
 * known was committed late. Such rows are fetched and taken before those ahead.
 *
 * Why the order within an aggregate holds if writers lock the aggregate before they insert (and seq
 * is drawn in the order of time): let a and b be rows of one aggregate, a.seq < b.seq. The writer
 * of b got the lock when the writer of a had committed, so every snapshot that shows b shows a.
 * When b is taken, a reading that has shown b is the source. Either a was taken or known before; or
 * it is shown by the same reading: ahead with b, in front of it, as rows come in order of seq; or
 * late, and then it is taken before all that is ahead (if not all late rows can be fetched at once,
 * nothing that is ahead is taken). Below the floor outbox_passed.c says why. A row that is let go of
 * again lets go of all of its aggregate behind it, and they are read again in order of seq
 * (catching up); what comes new meanwhile stays behind them.
 *
 * Rows with a not_before are found by their times, so no floor keeps the dead ones among them from
 * being walked over each time, and under an old snapshot there can be many. So they are asked for
 * only as often as it takes a tenth of the time, or every ten seconds.
 *
 * A row is taken only when the WAL is on disk up to a position that is behind the commits of all
 * rows of the snapshot.
 */
#include "outbox-relay/outbox_internal.h"

#include <assert.h>
#include <stdio.h>

#include "util/arena.h"
#include "util/pg.h"

enum {
	LIMIT_FIRST = 250,
	LIMIT_LEAST = 16,
	ROW_BYTES_FIRST = 1024,
	READ_BYTES_LEAST = 64 * 1024,
	DUE_TIMES = 9,		/* as long as due rows took, nothing is asked about them */
	DUE_MOST_MS = 10000,
	DUE_QUICK_MS = 10,
	SLOW_MS = 300,		/* a read that takes longer: smaller ones, for the lease's sake */
	QUICK_MS = 100,		/* shorter: larger ones */
	START_SILENCE_MS = 25000,
	FAILED_MS = 1000,
	HOLD_MS = 25		/* the wait between looks in the first seconds of a silence */
};

static size_t
rows_most(const struct outbox *o)
{
	return (size_t)4 * o->config->window < 64 ? 64 : (size_t)4 * o->config->window;
}

/* What a read of so many rows takes: the answer, and the rows. */
static size_t
read_takes(const struct outbox_reader *r, size_t rows)
{
	size_t bytes = rows * r->row_bytes;

	return 2 * (bytes < OUTBOX_READ_BYTES ? bytes : OUTBOX_READ_BYTES);
}

/*
 * Rows that may be read now; 0: first some have to go. Whoever has none may read a few always, or
 * those that came first would keep all others waiting.
 */
static unsigned
room(struct outbox *o)
{
	struct outbox_reader *r = &o->reader;
	size_t most = rows_most(o), left = o->rows >= most ? 0 : most - o->rows;
	size_t want = r->limit < most / 4 ? r->limit : most / 4;
	size_t rows = left < r->limit ? left : r->limit;

	if (left < want)
		return 0;
	r->read_bytes = OUTBOX_READ_BYTES;
	if (relay_bytes(o->relay) + read_takes(r, rows) > OUTBOX_MEMORY_BYTES) {
		if (o->rows > 0)
			return 0;
		r->read_bytes = READ_BYTES_LEAST;
		rows = LIMIT_LEAST;
	}
	return (unsigned)rows;
}

static void
reserve(struct outbox *o, size_t bytes)
{
	relay_account(o->relay, (ptrdiff_t)bytes - (ptrdiff_t)o->reader.reserved_bytes);
	o->reader.reserved_bytes = bytes;
}

void
outbox_read_begin(struct outbox *o, enum reading reading)
{
	struct outbox_reader *r = &o->reader;

	assert(r->reading == READING_NOTHING);
	r->reading = reading;
	r->started = clock_mono_now();
	stats_add(&outbox_stats(o)->reads, 1);
}

void
outbox_read_end(struct outbox *o)
{
	struct outbox_reader *r = &o->reader;

	while (o->table.keyed && r->catching_up.head != NULL)
		outbox_caught_up(o, r->catching_up.head);
	pg_result_free(&r->held);
	reserve(o, 0);
	r->asked.count = 0;
	r->reading = READING_NOTHING;
	outbox_wake(o);
}

void
outbox_read_failed(struct outbox *o, const struct pg_error *error)
{
	log_complain(&o->reader.complaint, LOG_LEVEL_WARNING,
	    "could not read table %s, trying again: %s", o->table.name, error->text);
	o->reader.next = clock_mono_after_ms(clock_mono_now(), FAILED_MS);
	o->reader.found_nothing = false;
	outbox_read_end(o);
	if (error->class == PG_CLASS_STALE || error->class == PG_CLASS_STATEMENT)
		outbox_lead_again(o, error->text);
}

static size_t
payload_bytes(const struct pg_result *result)
{
	size_t bytes = 0;

	for (int i = 0; i < pg_rows(result); i++)
		bytes += pg_value_len(result, i, OUTBOX_PAYLOAD);
	return bytes;
}

static void
adapt_limit(struct outbox *o, const struct pg_result *result)
{
	struct outbox_reader *r = &o->reader;
	int64_t ms = clock_ms_between(r->started, clock_mono_now());
	unsigned rows = (unsigned)pg_rows(result);

	outbox_took(o, ms);
	if (ms > SLOW_MS)
		r->limit = r->limit / 2 < LIMIT_LEAST ? LIMIT_LEAST : r->limit / 2;
	else if (ms < QUICK_MS && rows >= r->limit && payload_bytes(result) < OUTBOX_READ_BYTES / 4)
		r->limit = r->limit * 2 > OUTBOX_BATCH ? OUTBOX_BATCH : r->limit * 2;
}

int64_t
outbox_read_seq(const struct pg_result *result, int row)
{
	return strtoll(pg_value(result, row, OUTBOX_SEQ), NULL, 10);
}

/* Rows there were within the limit of rows; the result has fewer when they are large. */
static int
total_of(const struct pg_result *result)
{
	const char *total = pg_rows(result) == 0 ? NULL : pg_value(result, 0, OUTBOX_TOTAL);

	return total == NULL ? 0 : (int)strtol(total, NULL, 10);
}

bool
outbox_read_is_complete(const struct pg_result *result)
{
	return total_of(result) == pg_rows(result);
}

static void
take(struct outbox *o, const struct pg_result *result, int from)
{
	size_t bytes = 0;

	for (int i = from; i < pg_rows(result); i++) {
		struct row *row = outbox_new_row(o, result, i);

		bytes += row == NULL ? 0 : row->size;
		if (row != NULL && seq_map_get(&o->known, row->seq) == NULL)
			outbox_take_row(o, row);
		else
			row_free(&row);
	}
	if (pg_rows(result) > from)
		o->reader.row_bytes = bytes / (size_t)(pg_rows(result) - from);
}

/* What asking for due rows costs, and when it is their turn again. */
static void
pace_due(struct outbox *o)
{
	struct outbox_reader *r = &o->reader;
	struct clock_mono now = clock_mono_now();
	int64_t ns = now.ns - r->started.ns, ms;

	if (!r->due_asked) {
		r->look_ns = ns;
		return;
	}
	r->due_ns = ns > r->look_ns ? ns - r->look_ns : 0;
	ms = DUE_TIMES * r->due_ns / 1000000;
	r->due_next = clock_mono_after_ms(now, ms < DUE_MOST_MS ? ms : DUE_MOST_MS);
}

/* Ahead. */

/*
 * The wait after a look that found nothing. It grows with the silence: a quarter of it, but not
 * more than a hundredth, or HOLD_MS if that is longer. So a look that came too early does not slow
 * down the next one, an event after a silence is late by one per cent of it, and a table that was
 * silent for long costs few looks.
 */
static int64_t
longer_wait(const struct outbox *o, struct clock_mono now)
{
	int64_t silence = clock_ms_between(o->reader.last_found, now), wait = silence / 4;
	int64_t most = silence / 100 > HOLD_MS ? silence / 100 : HOLD_MS;

	if (wait > most)
		wait = most;
	if (o->bell.asleep || wait > o->config->poll_max_ms)
		wait = o->config->poll_max_ms;
	return wait < o->config->poll_min_ms ? o->config->poll_min_ms : wait;
}

static void
schedule(struct outbox *o, int rows, bool again)
{
	struct outbox_reader *r = &o->reader;
	struct clock_mono now = clock_mono_now();

	if (again || !r->found_nothing) {
		r->interval_ms = o->config->poll_min_ms;
		r->last_found = now;
		outbox_bell_wake(o);
	} else {
		r->interval_ms = longer_wait(o, now);
	}
	if (again || o->bell.rung || (rows > 0 && (unsigned)rows >= r->asked_rows))
		r->next = r->started;
	else
		r->next = clock_mono_after_ms(now, r->interval_ms);
}

/* The last row that is ahead; those that are due come after it. 0: none. */
static int
last_ahead(const struct pg_result *result)
{
	int last = pg_rows(result) - 1;

	while (last > 0 && pg_value(result, last, OUTBOX_DUE) != NULL)
		last--;
	return last;
}

/* Late rows, if there are any, are here, and all of the snapshot is on disk. */
static void
take_ahead(struct outbox *o, const struct pg_result *late)
{
	struct outbox_reader *r = &o->reader;
	bool partial = r->late_partial || (late != NULL && !outbox_read_is_complete(late));
	int rows = pg_rows(r->held) - 1, last = last_ahead(r->held);

	log_recovered(&r->complaint, "table %s can be read again", o->table.name);
	r->found_nothing = rows == 0 && late == NULL && !r->passed;
	r->found_all = r->due_asked;
	if (late != NULL)
		take(o, late, 0);
	if (r->passed) {
		if (!partial)
			outbox_passed_stepped(o, r->passed_to,
			    clock_ms_between(r->started, clock_mono_now()));
		partial = true;		/* there is more to read */
	} else if (!partial) {
		outbox_keys_opened(o);
		take(o, r->held, 1);
		for (int i = last + 1; i <= rows; i++)
			seq_list_add(&r->due, outbox_read_seq(r->held, i));
		if (last > 0 && !o->table.keyed)
			r->cursor = outbox_read_seq(r->held, last);
		if (r->clears_floor)
			outbox_floor_rise(o);
	}
	/* Fewer rows than asked for can also mean that they were large. */
	schedule(o, rows, partial || (rows > 0 && payload_bytes(r->held) >= OUTBOX_READ_BYTES / 4));
	outbox_read_end(o);
}

static void
late_here(void *arg, struct pg_result **result, const struct pg_error *error)
{
	struct outbox *o = arg;
	const struct log_context *former = log_push(&o->context);

	if (error != NULL)
		outbox_read_failed(o, error);
	else if (o->reader.held != NULL)		/* else the fence could not be had */
		take_ahead(o, *result);
	else
		outbox_read_end(o);
	log_pop(former);
}

static void
fence_passed(void *arg, struct pg_result **result, const struct pg_error *error)
{
	struct outbox *o = arg;
	struct outbox_reader *r = &o->reader;
	const struct log_context *former = log_push(&o->context);

	(void)result;
	if (error != NULL) {
		log_complain(&r->complaint, LOG_LEVEL_WARNING,
		    "could not make sure that the events of table %s are on disk, trying again: %s",
		    o->table.name, error->text);
		pg_result_free(&r->held);
		r->next = clock_mono_after_ms(clock_mono_now(), FAILED_MS);
	}
	if (r->asked.count > 0) {
		/* The late rows come next. */
	} else if (r->held != NULL) {
		take_ahead(o, NULL);
	} else {
		outbox_read_end(o);
	}
	log_pop(former);
}

void
outbox_read_fetch(struct outbox *o, database_fn *fn)
{
	struct outbox_reader *r = &o->reader;
	struct outbox_number n[3];
	struct buf seqs = BUF_INIT;
	const char *values[4];

	outbox_keys_text(o, &r->asked, &seqs);
	values[0] = seqs.data;
	values[1] = outbox_number(&n[0], OUTBOX_BATCH);
	values[2] = outbox_number(&n[1], (long long)r->read_bytes);
	values[3] = outbox_number(&n[2], o->config->max_body_bytes);
	outbox_execute(o, fn, "fetch", 4, values);
	buf_release(&seqs);
}

static bool
parse_lsn(const char *text, uint64_t *lsn)
{
	unsigned high, low;

	if (text == NULL || sscanf(text, "%X/%X", &high, &low) != 2)
		return false;
	*lsn = (uint64_t)high << 32 | low;
	return true;
}

/* Of the seqs that are behind, those that are not known. */
static void
find_late(struct outbox *o, const char *behind)
{
	struct outbox_reader *r = &o->reader;
	size_t kept = 0;

	r->asked.count = 0;
	seq_list_parse(&r->asked, behind);
	for (size_t i = 0; i < r->asked.count; i++)
		if (seq_map_get(&o->known, r->asked.items[i]) == NULL)
			r->asked.items[kept++] = r->asked.items[i];
	r->asked.count = kept;
	seq_list_sort(&r->asked);
	r->late_partial = kept > OUTBOX_BATCH;
	if (r->late_partial)
		r->asked.count = OUTBOX_BATCH;
}

static bool
begins_with_meta(const struct pg_result *result)
{
	return pg_rows(result) > 0 && pg_columns(result) >= OUTBOX_EXTRA &&
	    pg_value(result, 0, OUTBOX_SEQ) == NULL &&
	    pg_value(result, 0, OUTBOX_META_BACKEND_PID) != NULL &&
	    pg_value(result, 0, OUTBOX_META_BEHIND) != NULL &&
	    pg_value(result, 0, OUTBOX_META_INSERT_LSN) != NULL &&
	    pg_value(result, 0, OUTBOX_META_FILE) != NULL &&
	    pg_value(result, 0, OUTBOX_META_SNAPSHOT) != NULL;
}

static void
ahead_here(void *arg, struct pg_result **result, const struct pg_error *error)
{
	struct outbox *o = arg;
	struct outbox_reader *r = &o->reader;
	const struct log_context *former = log_push(&o->context);
	const char *pid, *behind, *insert_lsn, *file;
	uint64_t insert, flushed;

	if (error != NULL) {
		outbox_read_failed(o, error);
		goto out;
	}
	if (!begins_with_meta(*result)) {
		outbox_read_end(o);
		database_restart(o->database, "the server's answer to a read cannot be understood");
		goto out;
	}
	pid = pg_value(*result, 0, OUTBOX_META_BACKEND_PID);
	behind = pg_value(*result, 0, OUTBOX_META_BEHIND);
	insert_lsn = pg_value(*result, 0, OUTBOX_META_INSERT_LSN);
	if (strcmp(pid, o->backend_pid) != 0) {
		outbox_read_end(o);
		database_restart(o->database, "the session is not always the same one, so its locks"
		    " mean nothing; connect without a pooler, or with one in session mode");
		goto out;
	}
	file = pg_value(*result, 0, OUTBOX_META_FILE);
	if (o->file[0] != '\0' && strcmp(file, o->file) != 0) {
		outbox_read_end(o);
		outbox_lead_again(o, "it was truncated or written anew");
		goto out;
	}
	(void)snprintf(o->file, sizeof(o->file), "%s", file);
	if (!o->table.keyed &&
	    outbox_floor_look(o, pg_value(*result, 0, OUTBOX_META_SNAPSHOT))) {
		r->found_nothing = false;
		r->next = r->started;
		outbox_read_end(o);
		goto out;
	}
	adapt_limit(o, *result);
	if (!o->table.keyed && !r->passed)
		pace_due(o);
	r->held = *result;
	*result = NULL;
	find_late(o, behind);
	/* The fence goes first, so that it has been passed when the late rows are here. */
	if (!parse_lsn(insert_lsn, &insert) ||
	    !parse_lsn(pg_value(r->held, 0, OUTBOX_META_FLUSH_LSN), &flushed) || flushed < insert)
		outbox_execute(o, fence_passed, "fence", 1, &insert_lsn);
	else if (r->asked.count == 0)
		take_ahead(o, NULL);
	if (r->asked.count > 0) {
		r->reading = READING_LATE;
		outbox_read_fetch(o, late_here);
	}
out:
	log_pop(former);
}

static void
forget_due(struct outbox *o)
{
	struct seq_list *due = &o->reader.due;
	size_t kept = 0;

	for (size_t i = 0; i < due->count; i++)
		if (seq_map_get(&o->known, due->items[i]) != NULL)
			due->items[kept++] = due->items[i];
	due->count = kept;
}

static void
look_ahead(struct outbox *o, unsigned rows)
{
	struct outbox_reader *r = &o->reader;
	struct buf due = BUF_INIT;
	struct outbox_number n[5];
	const char *values[7];
	int64_t floor = r->floor, cursor = r->cursor;

	outbox_bell_look(o, clock_mono_now());
	outbox_read_begin(o, READING_AHEAD);
	/* A range that was set aside is what is behind, and nothing is ahead. */
	r->passed = outbox_passed_step(o, &floor, &cursor);
	r->passed_to = cursor;
	if (r->passed)
		rows = 0;
	r->look = false;
	r->asked_rows = rows;
	r->due_asked = !r->passed && r->due_next.ns <= r->started.ns;
	if (o->table.keyed) {
		outbox_keys_look(o, ahead_here, rows);
		return;
	}
	r->clears_floor = !r->passed && outbox_floor_is_clear(o);
	values[0] = outbox_number(&n[0], floor);
	values[1] = outbox_number(&n[1], cursor);
	values[2] = outbox_number(&n[2], rows);
	values[3] = outbox_number(&n[3], (long long)r->read_bytes);
	values[4] = outbox_number(&n[4], o->config->max_body_bytes);
	forget_due(o);
	seq_list_text(&r->due, &due);
	values[5] = due.data;
	values[6] = r->due_asked ? "true" : "false";
	outbox_execute(o, ahead_here, "read", 7, values);
	buf_release(&due);
}

/* Turns. */

static bool
may_look_ahead(struct outbox *o, struct clock_mono now)
{
	struct outbox_reader *r = &o->reader;

	if (o->blocked.aggregates >= OUTBOX_BLOCKED_MOST) {
		log_complain(&r->full_complaint, LOG_LEVEL_ERROR,
		    "%zu aggregates are blocked: nothing new is read until some of them can go on",
		    o->blocked.aggregates);
		return false;
	}
	log_recovered(&r->full_complaint, "reading goes on");
	if (r->next.ns <= now.ns)
		return true;
	outbox_due(o, now, r->next);
	return false;
}

bool
outbox_is_quiet(const struct outbox *o)
{
	int64_t often = o->config->poll_max_ms < HOLD_MS ? o->config->poll_max_ms : HOLD_MS;

	return o->reader.reading == READING_NOTHING && outbox_is_empty(o) &&
	    o->settling.kept.count == 0 && !o->reader.look &&
	    !o->bell.rung && o->reader.interval_ms >= often && !outbox_floor_is_clear(o) &&
	    o->passed.count == 0 && o->reader.due_ns < DUE_QUICK_MS * INT64_C(1000000);
}

void
outbox_glanced(struct outbox *o, bool something)
{
	struct outbox_reader *r = &o->reader;
	struct clock_mono now = clock_mono_now();

	if (r->reading != READING_GLANCE)
		return;		/* not asked about, or the lead was given up meanwhile */
	r->reading = READING_NOTHING;
	r->look = something || o->bell.rung;
	if (!r->look)
		r->interval_ms = longer_wait(o, now);
	r->next = clock_mono_after_ms(now, r->look ? 0 : r->interval_ms);
	outbox_wake(o);
}

void
outbox_read_work(struct outbox *o, struct clock_mono now)
{
	struct outbox_reader *r = &o->reader;
	bool behind = o->lagging.count > 0 || r->swept.count > 0 || o->blocked.again.count > 0;
	bool ahead;
	unsigned rows;

	if (r->reading != READING_NOTHING || relay_is_draining(o->relay) ||
	    outbox_read_probes(o, now))
		return;
	ahead = may_look_ahead(o, now);
	rows = room(o);
	if (rows == 0 || (!ahead && !behind))
		return;
	if (outbox_is_quiet(o) && glance_look(o->glance, o))
		return;
	reserve(o, read_takes(r, rows));
	r->turn = behind && !(ahead && r->turn);
	if (!r->turn || o->table.keyed)
		look_ahead(o, rows);
	else
		outbox_catch_up(o, rows);
}

void
outbox_read_reset(struct outbox *o)
{
	struct outbox_reader *r = &o->reader;

	pg_result_free(&r->held);
	reserve(o, 0);
	seq_list_release(&r->asked);
	seq_list_release(&r->due);
	r->catching_up = r->swept = (struct aggregate_list){ NULL, NULL, 0 };
	r->reading = READING_NOTHING;
	r->cursor = r->floor = INT64_MIN;
	r->found_nothing = r->look = false;
	r->found_all = r->due_asked = false;
	r->due_ns = r->look_ns = 0;
	r->due_next = (struct clock_mono){ 0 };
}

void
outbox_read_start(struct outbox *o)
{
	struct outbox_reader *r = &o->reader;

	r->limit = LIMIT_FIRST;
	r->row_bytes = ROW_BYTES_FIRST;
	r->read_bytes = OUTBOX_READ_BYTES;
	r->interval_ms = o->config->poll_min_ms;
	/* As if it had been silent for so long that looks are rare; but the second one is soon. */
	r->last_found = clock_mono_after_ms(clock_mono_now(), -START_SILENCE_MS);
	r->next = clock_mono_now();
}
