/*
 * topology.c - a queue's declarations, as data. Runs in the runner and in pawlctl; cannot fail.
 */
#include <string.h>
#include "common/topology.h"

static const char DEAD_SUFFIX[] = ".dead";
enum {
	/* none, said so that 3.10 understands it; the default of 4.0 is 20 */
	DELIVERY_LIMIT = 1000000,
	ARGS_MOST = 7
};

struct args { struct amqp_header *list; size_t count; };

static void
add_text(struct args *args, const char *name, const char *text)
{
	args->list[args->count++] =
	    (struct amqp_header){ .name = name, .kind = AMQP_STRING, .text = slice_of(text) };
}

static struct args
quorum(struct arena *arena)
{
	struct args args = { .list = arena_array(arena, ARGS_MOST, sizeof(struct amqp_header)) };

	add_text(&args, "x-queue-type", "quorum");
	args.list[args.count++] = (struct amqp_header){
		.name = "x-delivery-limit", .kind = AMQP_INT, .number = DELIVERY_LIMIT
	};
	return args;
}

static struct amqp_declaration
declare_queue(const char *name, struct args args)
{
	return (struct amqp_declaration){
		.kind = AMQP_DECLARE_QUEUE, .name = name, .args = args.list, .arg_count = args.count
	};
}

/* No time limit and no length limit: dead letters wait for a person. The delivery limit is the
 * same as the queue's, because looking into a queue counts as a delivery. */
static struct amqp_declaration
dead_queue(const char *name, struct arena *arena)
{
	return declare_queue(name, quorum(arena));
}

static struct amqp_declaration
work_queue(const struct config_queue *queue, const char *dead_name, struct arena *arena)
{
	struct args args = quorum(arena);

	add_text(&args, "x-dead-letter-exchange", "");
	add_text(&args, "x-dead-letter-routing-key", dead_name);
	add_text(&args, "x-dead-letter-strategy", "at-least-once");
	/* at-least-once falls back silently without it */
	add_text(&args, "x-overflow", "reject-publish");
	if (queue->order != ORDER_NONE)
		args.list[args.count++] = (struct amqp_header){
			.name = "x-single-active-consumer", .kind = AMQP_BOOL, .number = 1
		};
	return declare_queue(queue->queue, args);
}

/* The broker's own exchanges are there, and may not be declared. */
static bool
is_ours_to_declare(const char *exchange)
{
	return exchange[0] != '\0' && strncmp(exchange, "amq.", 4) != 0;
}

static bool
is_declared(const struct amqp_declaration *list, size_t count, const char *exchange)
{
	for (size_t i = 0; i < count; i++) {
		if (list[i].kind == AMQP_DECLARE_EXCHANGE && strcmp(list[i].name, exchange) == 0)
			return true;
	}
	return false;
}

void
topology_of_queue(const struct config_queue *queue, struct arena *arena,
    struct amqp_declaration **declarations, size_t *count)
{
	struct amqp_declaration *list =
	    arena_array(arena, 2 * queue->bind_count + 2, sizeof(*list));
	const char *dead_name = topology_dead_name(queue, arena);
	size_t n = 0;

	*declarations = list;
	*count = 0;
	if (!queue->declare)
		return;
	for (size_t i = 0; i < queue->bind_count; i++) {
		const struct config_bind *bind = &queue->binds[i];

		if (is_ours_to_declare(bind->exchange) && !is_declared(list, n, bind->exchange))
			list[n++] = (struct amqp_declaration){
				.kind = AMQP_DECLARE_EXCHANGE, .name = bind->exchange, .type = bind->kind
			};
	}
	list[n++] = dead_queue(dead_name, arena);	/* before the queue that may send to it */
	list[n++] = work_queue(queue, dead_name, arena);
	for (size_t i = 0; i < queue->bind_count; i++) {
		list[n++] = (struct amqp_declaration){
			.kind = AMQP_DECLARE_BINDING,
			.name = queue->queue,
			.exchange = queue->binds[i].exchange,
			.key = queue->binds[i].key
		};
	}
	*count = n;
}

const char *
topology_dead_name(const struct config_queue *queue, struct arena *arena)
{
	return arena_printf(arena, "%s%s", queue->queue, DEAD_SUFFIX);
}
