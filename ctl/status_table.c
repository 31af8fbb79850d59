/*
 * status_table.c - pawlctl status for people.
 */
#include "ctl/status.h"

#include "ctl/text_table.h"

static const char *
ago(struct arena *arena, int64_t ms)
{
	int64_t s = ms < 0 ? 0 : ms / 1000;

	if (s < 120)
		return arena_printf(arena, "%lld s", (long long)s);
	if (s < 2 * 60 * 60)
		return arena_printf(arena, "%lld min", (long long)(s / 60));
	if (s < 2 * 24 * 60 * 60)
		return arena_printf(arena, "%lld h", (long long)(s / 3600));
	return arena_printf(arena, "%lld days", (long long)(s / 86400));
}

static const char *
rate(struct arena *arena, double per_second)
{
	if (per_second < 0)
		return "-";
	return arena_printf(arena, per_second < 10 ? "%.1f" : "%.0f", per_second);
}

static const char *
duration(struct arena *arena, int64_t us)
{
	if (us == 0)
		return "-";
	if (us < 10000)
		return arena_printf(arena, "%.1fms", (double)us / 1000);
	if (us < 10000000)
		return arena_printf(arena, "%lldms", (long long)(us / 1000));
	return arena_printf(arena, "%llds", (long long)(us / 1000000));
}

static void
print_queues(const struct status *s, const struct status_part *part)
{
	static const char *const names[] = { "QUEUE", "STATE", "SLOTS", "IN WORK", "WAITING",
		"DONE", "DUPLICATE", "IGNORED", "SNOOZED", "RETRIED", "DEAD", "CRASHED", "TIMEOUT",
		"PER SECOND", "LAG 95%" };
	static const enum stats_outcome outcomes[] = { STATS_DONE, STATS_DUPLICATE, STATS_IGNORED,
		STATS_SNOOZED, STATS_RETRIED, STATS_DEAD, STATS_CRASHED, STATS_TIMEOUT };
	struct text_table t;

	_Static_assert(ARRAY_SIZE(names) <= TEXT_TABLE_COLUMNS, "a column for each name");
	text_table_init(&t, s->arena, names, ARRAY_SIZE(names), 2, part->page_count);
	for (size_t i = 0; i < part->page_count; i++, t.rows++) {
		const struct status_page *p = &part->pages[i];
		const struct stats_queue *q = &p->page->queue;
		size_t column = 0;

		text_table_cell(&t, column++, "%s", p->name);
		text_table_cell(&t, column++, "%s", p->state);
		text_table_cell(&t, column++, "%llu/%llu", (unsigned long long)status_number(&q->slots_ready),
		    (unsigned long long)status_number(&q->slots));
		text_table_cell(&t, column++, "%llu", (unsigned long long)status_number(&q->in_flight));
		text_table_cell(&t, column++, "%llu", (unsigned long long)status_number(&q->waiting));
		for (size_t j = 0; j < ARRAY_SIZE(outcomes); j++)
			text_table_cell(&t, column++, "%llu",
			    (unsigned long long)status_outcome(q, outcomes[j]));
		text_table_cell(&t, column++, "%s", rate(s->arena, p->rate));
		text_table_cell(&t, column++, "%s", duration(s->arena, status_quantile_us(&q->lag, 0.95)));
	}
	text_table_print(&t);
}

static void
print_outboxes(const struct status *s, const struct status_part *part)
{
	static const char *const names[] = { "OUTBOX", "STATE", "PENDING", "OLDEST", "IN FLIGHT",
		"PUBLISHED", "CONFIRMED", "DELETED", "RETURNED", "NACKED", "REFUSED", "PARKED", "DROPPED", "HELD",
		"PER SECOND", "CONFIRM 95%" };
	struct text_table t;

	_Static_assert(ARRAY_SIZE(names) <= TEXT_TABLE_COLUMNS, "a column for each name");
	text_table_init(&t, s->arena, names, ARRAY_SIZE(names), 2, part->page_count);
	for (size_t i = 0; i < part->page_count; i++, t.rows++) {
		const struct status_page *p = &part->pages[i];
		const struct stats_outbox *o = &p->page->outbox;
		const _Atomic uint64_t *const numbers[] = { &o->in_flight, &o->published,
			&o->confirmed, &o->deleted, &o->returned, &o->nacked, &o->refused,
			&o->parked, &o->dropped, &o->blocked_aggregates };
		size_t column = 0;

		text_table_cell(&t, column++, "%s", p->name);
		text_table_cell(&t, column++, "%s", p->state);
		text_table_cell(&t, column++, "%llu", (unsigned long long)status_number(&o->pending));
		text_table_cell(&t, column++, "%s",
		    duration(s->arena, (int64_t)status_number(&o->oldest_ms) * 1000));
		for (size_t j = 0; j < ARRAY_SIZE(numbers); j++)
			text_table_cell(&t, column++, "%llu", (unsigned long long)status_number(numbers[j]));
		text_table_cell(&t, column++, "%s", rate(s->arena, p->rate));
		text_table_cell(&t, column++, "%s", duration(s->arena, status_quantile_us(&o->confirm, 0.95)));
	}
	text_table_print(&t);
}

void
status_print_table(const struct status *s)
{
	for (size_t i = 0; i < s->part_count; i++) {
		const struct status_part *part = &s->parts[i];

		if (!part->wanted && !part->running && part->file == NULL)
			continue;
		if (part->running)
			printf("pawl-%s \"%s\": running for %s, process %lld, version %.*s\n",
			    part->program, part->name,
			    ago(s->arena, s->now_ms - atomic_load(&part->file->started_ms)),
			    (long long)atomic_load(&part->file->pid), STATS_NAME_MAX,
			    part->file->version);
		else
			printf("pawl-%s \"%s\": not running: %s\n", part->program, part->name,
			    part->why);
		if (part->page_count == 0)
			continue;
		if (strcmp(part->program, "worker") == 0)
			print_queues(s, part);
		else
			print_outboxes(s, part);
	}
}
