/*
 * handler.c - the benchmark's handler: does what the sql handler of the benchmark does, in each kind.
 *
 *   config: { kind = "effects" | "reads" | "external"; };
 *
 * reads: asks for the row first. external: waits 50 ms, as for somebody's answer.
 */
#include <pawl/handler.h>

#include <poll.h>
#include <string.h>

#define UPSERT "insert into bench.target (id, aggregate, total) values ($1, $2, $3)" \
    " on conflict (id) do update set aggregate = excluded.aggregate, total = excluded.total"

enum { ANSWER_MS = 50 };

static enum pawl_kind kind;

static int
start(const struct pawl_config *cfg, void **self)
{
	const char *text = pawl_config_string(cfg, "kind", "effects");

	*self = NULL;
	if (strcmp(text, "reads") == 0)
		kind = PAWL_READS;
	else if (strcmp(text, "external") == 0)
		kind = PAWL_EXTERNAL;
	else if (strcmp(text, "effects") != 0)
		return pawl_config_error(cfg, "kind", "is \"effects\", \"reads\" or \"external\"");
	return pawl_config_kind(cfg, kind);
}

static enum pawl_verdict
handle(void *self, struct pawl_call *call, const struct pawl_message *msg)
{
	const char *id = pawl_field(call, "/id");

	(void)self;
	(void)msg;
	if (kind == PAWL_READS)
		(void)PAWL_QUERY(call, "select total from bench.target where id = $1", id);
	else if (kind == PAWL_EXTERNAL)
		(void)poll(NULL, 0, ANSWER_MS);
	PAWL_SQL(call, UPSERT, id, pawl_field(call, "/aggregate"), pawl_field(call, "/total"));
	return PAWL_DONE;
}

PAWL_HANDLER(.name = "bench", .version = "1.0", .start = start, .handle = handle);
