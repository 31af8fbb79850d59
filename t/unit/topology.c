/* Unit tests of common/topology: arguments are constants, because a redeclare with others is refused by the broker. */
#include "common/topology.h"

#include "t/unit/tap.h"

static const char *const kinds[] = { "exchange", "queue", "bind" };

/* "queue work x-queue-type=quorum ...". */
static const char *
shown(const struct amqp_declaration *d, struct arena *arena)
{
	const char *text = arena_printf(arena, "%s %s", kinds[d->kind], d->name);

	if (d->type != NULL)
		text = arena_printf(arena, "%s %s", text, d->type);
	if (d->exchange != NULL)
		text = arena_printf(arena, "%s %s %s", text, d->exchange, d->key);
	for (size_t i = 0; i < d->arg_count; i++) {
		const struct amqp_header *arg = &d->args[i];

		if (arg->kind == AMQP_STRING)
			text = arena_printf(arena, "%s %s=%.*s", text, arg->name, (int)arg->text.len, arg->text.data);
		else
			text = arena_printf(arena, "%s %s=%d:%lld", text, arg->name, (int)arg->kind, (long long)arg->number);
	}
	return text;
}

int
main(void)
{
	static const struct config_bind binds[] = {
		{ "orders", "order.#", "topic" }, { "orders", "refund.#", "topic" }, { "amq.topic", "x", "topic" }, { "all", "", "fanout" }
	};
	struct config_queue queue = { .queue = "work", .declare = true, .order = ORDER_NONE, .binds = binds, .bind_count = ARRAY_SIZE(binds) };
	static const char *const wanted[] = {
		"exchange orders topic", "exchange all fanout",
		"queue work.dead x-queue-type=quorum x-delivery-limit=1:1000000",
		"queue work x-queue-type=quorum x-delivery-limit=1:1000000 x-dead-letter-exchange= x-dead-letter-routing-key=work.dead"
		    " x-dead-letter-strategy=at-least-once x-overflow=reject-publish",
		"bind work orders order.#", "bind work orders refund.#", "bind work amq.topic x", "bind work all "
	};
	struct arena arena = ARENA_INIT;
	struct amqp_declaration *list;
	size_t count;

	topology_of_queue(&queue, &arena, &list, &count);
	is_int(count, ARRAY_SIZE(wanted), "a queue with binds: so many declarations");
	for (size_t i = 0; i < count && i < ARRAY_SIZE(wanted); i++)
		is_str(shown(&list[i], &arena), wanted[i], "declaration %zu", i);
	is_str(topology_dead_name(&queue, &arena), "work.dead", "name of the dead letter queue");

	queue.order = ORDER_AGGREGATE;
	queue.bind_count = 0;
	topology_of_queue(&queue, &arena, &list, &count);
	if (is_int(count, 2, "an ordered queue without binds"))
		ok(strstr(shown(&list[1], &arena), " x-single-active-consumer=2:1") != NULL, "has one active consumer");
	queue.declare = false;
	topology_of_queue(&queue, &arena, &list, &count);
	is_int(count, 0, "somebody else's queue: nothing");
	arena_release(&arena);
	return done_testing();
}
