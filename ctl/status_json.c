/*
 * status_json.c - pawlctl status for programs. pawlctl(1) describes the document; members are only added.
 */
#include "ctl/status.h"
#include "util/json.h"

static void
put_number(struct json *j, const char *name, const _Atomic uint64_t *counter)
{
	json_put_int(j, name, (int64_t)status_number(counter));
}

static void
put_histogram(struct json *parent, const char *name, const struct stats_histogram *h)
{
	struct json *j = json_put_object(parent, name);
	uint64_t count = status_number(&h->count), sum = status_number(&h->sum_us);

	json_put_int(j, "count", (int64_t)count);
	json_put_int(j, "mean_us", count == 0 ? 0 : (int64_t)(sum / count));
	json_put_int(j, "p50_us", status_quantile_us(h, 0.50));
	json_put_int(j, "p95_us", status_quantile_us(h, 0.95));
	json_put_int(j, "p99_us", status_quantile_us(h, 0.99));
}

static void
put_page(struct json *j, const struct status_page *p)
{
	json_put_text(j, "name", p->name);
	json_put_text(j, "state", p->state);
	json_put_int(j, "updated_ms", atomic_load(&p->page->updated_ms));
	if (p->rate >= 0)
		json_put_real(j, "per_second", p->rate);
}

static void
put_handlers(struct json *j, const struct stats_queue *q)
{
	struct json *handlers = json_put_array(j, "handlers");

	for (size_t i = 0; i < STATS_HANDLERS_MAX; i++) {
		const struct stats_handler *h = &q->handlers[i];
		bool unhandled = i == STATS_HANDLERS_MAX - 1;
		struct json *o;

		if (h->name[0] == '\0' && !unhandled)
			continue;
		o = json_append_object(handlers);
		json_put_text(o, "name", unhandled ? "" : h->name);
		for (int outcome = 0; outcome < STATS_OUTCOMES; outcome++)
			put_number(o, stats_outcome_text((enum stats_outcome)outcome),
			    &h->outcome[outcome]);
		put_histogram(o, "handle", &h->handle);
	}
}

static void
put_queue(struct json *j, const struct status_page *p)
{
	static const char *const deaths[] = { [STATS_DEATH_CRASH] = "crash",
		[STATS_DEATH_TIMEOUT] = "timeout",
		[STATS_DEATH_EXIT] = "exit",
		[STATS_DEATH_PROTOCOL] = "protocol" };
	const struct stats_queue *q = &p->page->queue;
	struct json *slot_deaths;

	_Static_assert(ARRAY_SIZE(deaths) == STATS_DEATHS, "a name for each death");
	put_page(j, p);
	for (int outcome = 0; outcome < STATS_OUTCOMES; outcome++)
		json_put_int(j, stats_outcome_text((enum stats_outcome)outcome),
		    (int64_t)status_outcome(q, (enum stats_outcome)outcome));
	put_number(j, "in_flight", &q->in_flight);
	put_number(j, "waiting", &q->waiting);
	put_number(j, "slots", &q->slots);
	put_number(j, "slots_ready", &q->slots_ready);
	json_put_bool(j, "connected", status_number(&q->state) == STATS_QUEUE_CONSUMING);
	put_number(j, "generation", &q->generation);
	put_number(j, "pid", &q->pid);
	put_number(j, "runner_starts", &q->runner_starts);
	put_number(j, "reconnects", &q->reconnects);
	put_number(j, "deadlocks", &q->deadlocks);
	put_number(j, "batches", &q->batches);
	put_number(j, "batch_messages", &q->batch_messages);
	slot_deaths = json_put_object(j, "slot_deaths");
	for (size_t i = 0; i < STATS_DEATHS; i++)
		put_number(slot_deaths, deaths[i], &q->slot_deaths[i]);
	put_histogram(j, "lag", &q->lag);
	put_histogram(j, "database", &q->database);
	put_handlers(j, q);
}

static void
put_outbox(struct json *j, const struct status_page *p)
{
	const struct stats_outbox *o = &p->page->outbox;

	put_page(j, p);
	put_number(j, "published", &o->published);
	put_number(j, "confirmed", &o->confirmed);
	put_number(j, "deleted", &o->deleted);
	put_number(j, "returned", &o->returned);
	put_number(j, "nacked", &o->nacked);
	put_number(j, "refused", &o->refused);
	put_number(j, "parked", &o->parked);
	put_number(j, "dropped", &o->dropped);
	put_number(j, "in_flight", &o->in_flight);
	put_number(j, "held_aggregates", &o->blocked_aggregates);
	put_number(j, "pending", &o->pending);
	put_number(j, "oldest_ms", &o->oldest_ms);
	put_number(j, "reads", &o->reads);
	put_number(j, "reconnects", &o->reconnects);
	put_number(j, "leader_losses", &o->leader_losses);
	put_number(j, "swept", &o->swept);
	json_put_bool(j, "leader", status_number(&o->leader) != 0);
	json_put_bool(j, "database_up", status_number(&o->database_up) != 0);
	json_put_bool(j, "broker_up", status_number(&o->broker_up) != 0);
	put_histogram(j, "confirm", &o->confirm);
}

static void
put_part(struct json *j, const struct status_part *part)
{
	struct json *pages;
	bool worker = strcmp(part->program, "worker") == 0;

	json_put_bool(j, "configured", part->wanted);
	json_put_bool(j, "running", part->running);
	if (!part->running)
		json_put_text(j, "why", part->why);
	if (part->file != NULL) {
		json_put_int(j, "pid", atomic_load(&part->file->pid));
		json_put_text(j, "version", part->file->version);
		json_put_int(j, "started_ms", atomic_load(&part->file->started_ms));
		json_put_text(j, "run_dir", part->run_dir);
	}
	pages = json_put_array(j, worker ? "queues" : "outboxes");
	for (size_t i = 0; i < part->page_count; i++)
		(worker ? put_queue : put_outbox)(json_append_object(pages), &part->pages[i]);
}

void
status_print_json(const struct status *s, bool readable)
{
	struct json *j = json_new_object(), *single;

	json_put_text(j, "name", s->name);
	json_put_int(j, "time_ms", s->now_ms);
	put_part(json_put_object(j, "worker"), &s->parts[0]);
	put_part(json_put_object(j, "relay"), &s->parts[1]);
	single = json_put_array(j, "single");
	for (size_t i = 2; i < s->part_count; i++) {
		struct json *part = json_append_object(single);

		json_put_text(part, "name", s->parts[i].name);
		put_part(part, &s->parts[i]);
	}
	printf("%s\n", json_text(j, readable));
	json_free(&j);
}
