/* Unit tests of common/config: what a good file becomes. Its errors are in t/10-config.t. */
#include "common/config.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/config_keys.h"
#include "common/config_value.h"
#include "t/unit/tap.h"

static char dir[] = "/tmp/pawl-config-XXXXXX";
static struct buf errors = BUF_INIT;
static struct arena arena = ARENA_INIT;

static const char *
write_text(const char *name, const char *text)
{
	const char *path = arena_printf(&arena, "%s/%s", dir, name);
	FILE *file = fopen(path, "w");

	if (file == NULL || fputs(text, file) < 0 || fclose(file) != 0)
		diag("could not write %s: %m", path);
	return path;
}

static struct config *
load(const char *name, const char *text)
{
	struct config *c;

	buf_clear(&errors);
	if (config_load(write_text(name, text), &c, &errors) < 0)
		diag("%s", errors.data);
	return c;
}

#define BROKER	"broker: { uri = \"amqp://u:p@h:1234/v\"; };\n"
#define HANDLER	"handlers: { h: { type = \"*\"; use = \"ignore\"; }; };"

static void
test_defaults(void)
{
	struct config *c = load("minimal.conf", BROKER "database: { conninfo = \"dbname=x\"; };\nqueues: { view: { " HANDLER " }; };\n"
	    "outboxes: { o: { exchange = \"e\"; }; };");

	if (!ok(c != NULL, "a minimal file"))
		return;
	const struct config_queue *q = config_queue_find(c, "view");
	const struct config_outbox *o = c->outboxes;

	is_str(c->name, "minimal", "the file's name is the installation's");
	is_str(c->directory, dir, "its directory");
	is_int(c->log_level, LOG_LEVEL_INFO, "log.level");
	is_int(c->log_format, LOG_FORMAT_TEXT, "log.format");
	is_int(c->uri_count, 1, "one URI");
	is_str(c->uris[0].host, "h", "its host");
	is_str(c->uris[0].password, "p", "its password");
	ok(c->password == NULL && c->ca_file == NULL && c->cert_file == NULL && c->key_file == NULL, "no files");
	is_int(c->heartbeat_s, 15, "heartbeat");
	is_int(c->queue_count, 1, "one queue");
	is_str(q->queue, "view", "queue is the group's name");
	is_str(q->conninfo, "dbname=x", "conninfo is the database's");
	is_int(q->slots, 2, "slots");
	is_int(q->batch, 250, "batch");
	is_int(q->prefetch, 2000, "prefetch is derived");
	is_int(q->timeout_ms, 30000, "timeout");
	is_int(q->shutdown_timeout_ms, 30000, "shutdown_timeout");
	is_int(q->consumer_timeout_ms, 30 * 60000, "consumer_timeout");
	is_int(q->max_body_bytes, 16 << 20, "max_body");
	is_int(q->memory_limit_bytes, 0, "memory_limit");
	is_str(q->key, "message_id", "key");
	is_str(q->aggregate, "header:aggregateid", "aggregate");
	is_str(q->type_from, "type", "type_from");
	ok(q->missing_key == MISSING_KEY_DEAD_LETTER && q->dedup == DEDUP_POSTGRES && q->order == ORDER_NONE && q->declare, "words");
	is_int(q->attempts, 6, "attempts");
	is_int(q->crash_attempts, 2, "crash_attempts");
	ok(q->delay_count == 4 && q->delays_ms[0] == 1000 && q->delays_ms[3] == 120000, "delays");
	is_int(q->inbox_retention_ms, 7 * 86400000LL, "inbox_retention");
	is_int(q->bind_count, 0, "no binds");
	ok(q->handler_count == 1 && q->handlers[0].ignore && q->handlers[0].path[0] == '\0', "a handler that ignores");
	is_str(o->conninfo, "dbname=x", "an outbox' conninfo is the database's");
	is_str(o->table, "pawl.outbox", "its table");
	is_str(o->routing_key, "{type}", "its routing key");
	ok(o->order == ORDER_AGGREGATE && o->unroutable == POLICY_HOLD && o->window == 1000, "its words and numbers");
	ok(o->poll_min_ms == 5 && o->poll_max_ms == 250, "its times");
	config_free(&c);
	ok(c == NULL, "freed");
}

static void
test_values(void)
{
	setenv("PAWL_UNIT", "from-environment", 1);
	write_text("mine.so", "");
	struct config *c = load("full.conf", BROKER
	    "name = \"other\"; run_dir = \"/run/x\"; log: { level = \"debug\"; format = \"json\"; };\n"
	    "defaults: { timeout = \"20s\"; slots = 3; retry: { attempts = 9; delays = \"4s\"; }; };\n"
	    "queues: {\n"
	    "  a: { conninfo = \"x='${PAWL_UNIT}' $${PLAIN}\"; slots = 0x5; batch = 10; retry: { attempts = 2; }; memory_limit = \"1GiB\"; declare = FALSE;\n"
	    "       bind = ( { exchange = \"e\"; key = \"k\"; kind = \"direct\"; }, { exchange = \"f\"; kind = \"fanout\"; } );\n"
	    "       handlers: { one: { type = [ \"A\", \"B\" ]; use = \"./mine.so\"; config: { s = \"t\" \"u\"; n = -7; big = 5000000000; f = 1.25; b = TRUE;\n"
	    "         g: { h = ( 1, { deep = \"d\"; }, [ \"x\", \"y\" ] ); };\n"
	    "         empty: { }; }; };\n"
	    "       two: { type = \"C\"; use = \"ignore\"; }; }; };\n"
	    "  b: { conninfo = \"\"; dedup = \"none\"; prefetch = 7; " HANDLER " }; };\n");

	if (!ok(c != NULL, "a full file"))
		return;
	const struct config_queue *a = &c->queues[0], *b = &c->queues[1];
	static const char *const pairs[][2] = { { "s", "tu" }, { "n", "-7" }, { "big", "5000000000" }, { "f", "1.25" }, { "b", "true" }, { "g.h.[0]", "1" },
	    { "g.h.[1].deep", "d" }, { "g.h.[2].[0]", "x" }, { "g.h.[2].[1]", "y" } };

	is_str(c->name, "other", "name");
	is_str(c->run_dir, "/run/x", "run_dir");
	ok(c->log_level == LOG_LEVEL_DEBUG && c->log_format == LOG_FORMAT_JSON, "log");
	is_str(a->conninfo, "x='from-environment' ${PLAIN}", "an environment variable, and what is none");
	ok(a->slots == 5 && b->slots == 3, "a queue's own key goes before defaults");
	ok(a->attempts == 2 && b->attempts == 9, "in groups as well");
	ok(a->delay_count == 1 && a->delays_ms[0] == 4000, "and what the group does not say is of defaults");
	ok(a->timeout_ms == 20000 && b->timeout_ms == 20000, "defaults");
	is_int(a->memory_limit_bytes, 1LL << 30, "a size");
	ok(!a->declare && b->declare, "a boolean");
	is_int(b->prefetch, 7, "a prefetch that was said");
	ok(a->bind_count == 2 && strcmp(a->binds[0].kind, "direct") == 0 && strcmp(a->binds[1].exchange, "f") == 0 && a->binds[1].key[0] == '\0', "binds");
	is_int(a->line, 5, "line of a queue");
	ok(a->handler_count == 2 && strcmp(a->handlers[0].name, "one") == 0 && strcmp(a->handlers[1].name, "two") == 0, "handlers in their order");
	is_str(a->handlers[0].path, arena_printf(&arena, "%s/./mine.so", dir), "a file beside the configuration");
	ok(a->handlers[0].type_count == 2 && strcmp(a->handlers[0].types[1], "B") == 0, "types");
	is_int(a->handlers[0].pair_count, ARRAY_SIZE(pairs), "all settings of a handler");
	for (size_t i = 0; i < a->handlers[0].pair_count && i < ARRAY_SIZE(pairs); i++) {
		is_str(a->handlers[0].pairs[i].path, pairs[i][0], "path %s", pairs[i][0]);
		is_str(a->handlers[0].pairs[i].value, pairs[i][1], "value of %s", pairs[i][0]);
	}
	is_int(a->handlers[0].pairs[6].line, 8, "line of a setting");
	ok(config_queue_find(c, "nosuch") == NULL, "no such queue");
	config_free(&c);
}

static uint64_t
fingerprint(const char *text)
{
	struct config *c = load("f.conf", text);
	uint64_t result = c == NULL ? 0 : c->queues[0].fingerprint;

	config_free(&c);
	return result;
}

#define ONE(inside)	BROKER "database: { conninfo = \"x\"; }; queues: { a: { " inside " handlers: { h: { type = \"T\"; use = \"./mine.so\"; config: { x = 1; }; }; }; }; };"

static void
test_fingerprints(void)
{
	uint64_t before = fingerprint(ONE(""));
	struct timespec times[2] = { { 0, UTIME_OMIT }, { 1000, 0 } };

	ok(before != 0 && fingerprint(ONE("")) == before, "the same file, the same fingerprint");
	ok(fingerprint("# a comment\n" ONE("slots = 2;")) == before, "nor does a comment change it, or a default that is said");
	ok(fingerprint(ONE("slots = 3;")) != before, "a key does");
	ok(fingerprint(ONE("retry: { delays = [ \"1s\" ]; };")) != before, "a list does");
	ok(fingerprint(ONE("bind = ( { exchange = \"e\"; key = \"#\"; } );")) != before, "a bind does");
	ok(fingerprint(BROKER "database: { conninfo = \"y\"; }; queues: { a: { handlers: { h: { type = \"T\"; use = \"./mine.so\"; config: { x = 1; }; }; }; }; };") !=
	    before, "what it inherits does");
	ok(fingerprint("broker: { uri = \"amqp://u:other@h:1234/v\"; }; database: { conninfo = \"x\"; }; queues: { a: { handlers: { h: { type = \"T\"; "
	    "use = \"./mine.so\"; config: { x = 1; }; }; }; }; };") != before, "the broker's password does");
	ok(fingerprint(BROKER "database: { conninfo = \"x\"; }; queues: { a: { handlers: { h: { type = \"T\"; use = \"./mine.so\"; config: { x = 2; }; }; }; }; };") !=
	    before, "a handler's setting does");
	ok(utimensat(AT_FDCWD, arena_printf(&arena, "%s/mine.so", dir), times, 0) == 0 && fingerprint(ONE("")) != before, "the handler's file does");
}

static void
test_quantities(void)
{
	static const struct { const char *text; long long ms; } durations[] = { { "0", 0 }, { "0s", 0 }, { "1ms", 1 }, { "007s", 7000 }, { "2m", 120000 },
	    { "3h", 10800000 }, { "7d", 604800000 }, { "9223372036854775807ms", INT64_MAX }, { "9223372036854775808ms", -1 }, { "106751991168d", -1 },
	    { "99999999999999999999999999999999", -1 }, { "", -1 }, { "s", -1 }, { "1", -1 }, { "1 s", -1 }, { "+1s", -1 }, { "1s ", -1 }, { "1e3s", -1 } };
	static const struct { const char *text; long long bytes; } sizes[] = { { "0", 0 }, { "1B", 1 }, { "2KiB", 2048 }, { "16MiB", 16 << 20 },
	    { "8589934591GiB", 8589934591LL << 30 }, { "8589934592GiB", -1 }, { "16M", -1 }, { "16", -1 } };
	char error[256];
	int64_t value;

	for (size_t i = 0; i < ARRAY_SIZE(durations); i++)
		is_int(config_duration(durations[i].text, &value, error, sizeof(error)) < 0 ? -1 : value, durations[i].ms, "duration \"%s\"", durations[i].text);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		is_int(config_size(sizes[i].text, &value, error, sizeof(error)) < 0 ? -1 : value, sizes[i].bytes, "size \"%s\"", sizes[i].text);
	is_str(config_duration_text(&arena, 90000), "90s", "a duration as text");
	is_str(config_duration_text(&arena, 0), "0s", "none");
	is_str(config_duration_text(&arena, 86400000), "1d", "in the largest unit");
	is_str(config_size_text(&arena, 1536), "1536B", "a size as text");
	is_str(config_quote(&arena, "a\n\x01\x7f\"z"), "\"a\\n\\x01\\x7f\"z\"", "foreign text");
	is_int(strlen(config_quote(&arena, arena_printf(&arena, "%059d\xc3\xa4", 0))), 59 + 2 + 3, "no half a character");
}

/* The table keeps its own promises. */
static void
test_table(void)
{
	for (size_t i = 0; i < config_keys_count; i++) {
		const struct config_key *k = &config_keys[i];
		const char *dot = strrchr(k->path, '.');
		const char *section = dot == NULL ? "" : arena_memdup(&arena, k->path, (size_t)(dot - k->path));

		ok(config_keys_find(section, dot == NULL ? k->path : dot + 1) == k, "%s is found", k->path);
		ok(k->manual != NULL && k->manual[strlen(k->manual) - 1] != '.', "%s has a line of manual", k->path);
	}
	is_str(config_keys_nearest("queues.*", "Slots"), "slots", "another case");
	is_str(config_keys_nearest("queues.*", "timoeut"), "timeout", "a swap");
	ok(config_keys_nearest("queues.*", "xyz") == NULL, "nothing near");
	ok(config_keys_nearest("queues.*", arena_printf(&arena, "%0999d", 1)) == NULL, "a very long name");
}

int
main(void)
{
	if (mkdtemp(dir) == NULL)
		return 1;
	test_defaults();
	test_values();
	test_fingerprints();
	test_quantities();
	test_table();
	static const char *const names[] = { "minimal.conf", "full.conf", "f.conf", "mine.so" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		unlink(arena_printf(&arena, "%s/%s", dir, names[i]));
	rmdir(dir);
	buf_release(&errors);
	arena_release(&arena);
	return done_testing();
}
