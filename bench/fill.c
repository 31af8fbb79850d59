/*
 * fill.c - declares a work queue with the arguments that pawl-worker uses and publishes COUNT
 * events into it, confirmed.
 *
 * Event n: id n, one of AGGREGATES aggregates by a fixed pseudo-random choice, a JSON body of
 * exactly 512 bytes.
 */
#include "bench/kit.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { BODY_SIZE = 512, WINDOW = 1000 };

static void
declare(amqp_connection_state_t broker, const char *queue)
{
	char dead[256];
	int len = snprintf(dead, sizeof(dead), "%s.dead", queue);
	amqp_table_entry_t arguments[] = {
		{ .key = amqp_cstring_bytes("x-delivery-limit"),
		    .value = { .kind = AMQP_FIELD_KIND_I64, .value.i64 = 1000000 } },
		kit_text("x-queue-type", "quorum"),
		kit_text("x-dead-letter-exchange", ""),
		kit_text("x-dead-letter-routing-key", dead),
		kit_text("x-dead-letter-strategy", "at-least-once"),
		kit_text("x-overflow", "reject-publish"),
	};
	amqp_table_t table = { .num_entries = 6, .entries = arguments };

	if (len < 0 || (size_t)len >= sizeof(dead))
		die("the queue's name is too long");
	amqp_queue_declare(broker, 1, amqp_cstring_bytes(queue), false, true, false, false, table);
	kit_rpc_check(broker, "declare the queue");
}

static size_t
body_write(char body[BODY_SIZE + 1], unsigned n, const char *aggregate)
{
	int len = snprintf(body, BODY_SIZE + 1,
	    "{\"id\":%u,\"aggregate\":\"%s\",\"total\":%u.%02u,\"note\":\"", n, aggregate,
	    n % 10000, n % 100);

	memset(body + len, 'x', (size_t)(BODY_SIZE - len - 2));
	memcpy(body + BODY_SIZE - 2, "\"}", 3);
	return BODY_SIZE;
}

int
main(int argc, char **argv)
{
	char body[BODY_SIZE + 1], id[64], aggregate[32];
	struct kit_event event = {
		.id = id,
		.type = "OrderPlaced",
		.aggregatetype = "order",
		.aggregateid = aggregate,
		.body = body,
	};
	struct kit_confirms confirms;
	amqp_connection_state_t broker;
	unsigned n, count, aggregates, run;

	if (argc != 6)
		die("usage: fill BROKER-URI QUEUE COUNT AGGREGATES RUN");
	count = kit_number(argv[3], "COUNT");
	aggregates = kit_number(argv[4], "AGGREGATES");
	run = kit_number(argv[5], "RUN");
	event.timestamp_s = (uint64_t)time(NULL);

	broker = kit_broker(argv[1]);
	declare(broker, argv[2]);
	kit_confirms_start(broker, &confirms);
	for (n = 1; n <= count; n++) {
		snprintf(id, sizeof(id), "00000000-0000-4000-8000-%04x%08x", run & 0xffff, n);
		snprintf(aggregate, sizeof(aggregate), "a%05u",
		    (n * 2654435761u >> 8) % aggregates);
		event.body_size = body_write(body, n, aggregate);
		kit_confirms_wait(broker, &confirms, WINDOW - 1);
		kit_publish(broker, &confirms, "", argv[2], &event);
	}
	kit_confirms_wait(broker, &confirms, 0);
	kit_broker_close(broker);
	return 0;
}
