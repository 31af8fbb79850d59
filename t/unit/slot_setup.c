/*
 * slot_setup.c - units of common/slot_setup: what is put comes back; frames that are cut or changed
 * are refused or read, and never read past.
 */
#include "common/slot_setup.h"

#include "t/unit/tap.h"
#include "util/random.h"

enum { MUTATIONS = 20000 };

static void
put_setup(struct buf *b)
{
	static const struct config_pair pairs[] = {
		{ "statement", "select 1", 12, "other.conf" }, { "list.[0]", "", 13, "pawl.conf" },
	};
	static const struct config_handler handlers[] = {
		{ .name = "one", .line = 11, .file = "pawl.conf", .path = "/x/one.so", .pairs = pairs,
		    .pair_count = 2 },
		{ .name = "two", .line = 20, .file = "pawl.conf", .path = "/never/used.so", .ignore = true },
	};
	static const struct config_queue queue = {
		.name = "view", .queue = "orders.view", .conninfo = "service=orders", .key = "json:/id",
		.timeout_ms = 30000, .inbox_retention_ms = 604800000, .missing_key = MISSING_KEY_PROCESS,
		.dedup = DEDUP_NONE, .handlers = handlers, .handler_count = 2,
	};
	static const struct slot_setup_options options = {
		.host = "h1", .log_level = LOG_LEVEL_DEBUG, .log_format = LOG_FORMAT_JSON, .slot = 3,
		.check = true
	};

	slot_setup_put(b, &queue, &options);
}

static void
test_setup(const struct buf *b, struct arena *arena)
{
	struct slot_setup s;

	if (!is_int(slot_setup_get((struct slice){ b->data, b->len }, arena, &s), 0, "SETUP is read"))
		return;
	is_str(s.host, "h1", "host");
	is_str(s.consumer, "view", "consumer");
	is_str(s.queue, "orders.view", "queue");
	is_str(s.conninfo, "service=orders", "conninfo");
	is_str(s.key, "json:/id", "key");
	is_int(s.timeout_ms, 30000, "timeout");
	is_int(s.inbox_retention_ms, 604800000, "retention");
	ok(s.missing_key == MISSING_KEY_PROCESS && s.dedup == DEDUP_NONE, "what to do with keys");
	ok(s.log_level == LOG_LEVEL_DEBUG && s.log_format == LOG_FORMAT_JSON, "options of the log");
	ok(s.slot == 3 && s.check, "other options");
	is_int(s.handler_count, 2, "handlers");
	is_str(s.handlers[0].path, "/x/one.so", "a handler's path");
	is_int(s.handlers[0].line, 11, "its line");
	is_int(s.handlers[0].pair_count, 2, "its settings");
	is_str(s.handlers[0].pairs[0].value, "select 1", "a value");
	is_str(s.handlers[0].pairs[0].file, "other.conf", "the file that it stands in");
	is_int(s.handlers[0].pairs[1].line, 13, "and the line");
	is_str(s.handlers[1].path, "", "an ignored type has no handler to load");
}

static void
test_answer(const struct buf *b, struct arena *arena)
{
	struct slot_answer a;

	if (!is_int(slot_answer_get((struct slice){ b->data, b->len }, arena, &a), 0, "READY is read"))
		return;
	is_str(a.text, "a note", "text");
	is_int(a.handler_count, 2, "handlers");
	is_str(a.handlers[0].name, "sql", "name");
	is_str(a.handlers[0].version, "1.0", "version");
	is_int(a.handlers[1].kind, 2, "kind");
}

typedef int get_fn(struct slice, struct arena *, void *);

static int
get_setup(struct slice payload, struct arena *arena, void *out)
{
	return slot_setup_get(payload, arena, out);
}

static int
get_answer(struct slice payload, struct arena *arena, void *out)
{
	return slot_answer_get(payload, arena, out);
}

/* Often one of those that make lengths large or zero. */
static char
any_byte(void)
{
	if (random_below(2) == 0)
		return (char)random_u64();
	return random_below(2) == 0 ? 0 : (char)0xff;
}

/* Each frame is in memory of its own size, so that a sanitizer sees a byte too much. */
static int
get_copy(get_fn *get, const char *data, size_t len, struct arena *arena)
{
	union { struct slot_setup setup; struct slot_answer answer; } out;
	char *copy = xmalloc(len + (len == 0));
	int status;

	memcpy(copy, data, len);
	status = get((struct slice){ copy, len }, arena, &out);
	arena_reset(arena);
	free(copy);
	return status;
}

static void
test_hostile(const char *name, get_fn *get, const struct buf *b, struct arena *arena)
{
	size_t cut = 0, accepted = 0;
	char *bytes = xmalloc(b->len + 1);

	for (size_t len = 0; len < b->len; len++)
		cut += get_copy(get, b->data, len, arena) == 0;
	is_int(cut, 0, "%s: no cut one is taken", name);
	memcpy(bytes, b->data, b->len);
	bytes[b->len] = 0;
	is_int(get_copy(get, bytes, b->len + 1, arena), -1, "%s: nor one with a byte more", name);
	for (int i = 0; i < MUTATIONS; i++) {
		size_t changes = 1 + (size_t)random_below(3);

		memcpy(bytes, b->data, b->len);
		while (changes-- > 0)
			bytes[random_below((int64_t)b->len)] = any_byte();
		accepted += get_copy(get, bytes, b->len, arena) == 0;
	}
	ok(accepted < MUTATIONS, "%s: %d changed ones, of which %zu could be read", name, MUTATIONS,
	    accepted);
	free(bytes);
}

int
main(void)
{
	static struct slot_answer_handler handlers[] = { { "sql", "1.0", 0 }, { "x", "", 2 } };
	static const struct slot_answer ready = {
		.text = "a note", .handlers = handlers, .handler_count = 2
	};
	struct buf setup = BUF_INIT, answer = BUF_INIT;
	struct arena arena = ARENA_INIT;
	char long_name[SLOT_NAME_MAX + 2];

	put_setup(&setup);
	test_setup(&setup, &arena);
	test_hostile("SETUP", get_setup, &setup, &arena);
	slot_answer_put(&answer, &ready);
	test_answer(&answer, &arena);
	test_hostile("READY", get_answer, &answer, &arena);

	memset(long_name, 'x', sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = '\0';
	handlers[0].name = long_name;
	buf_clear(&answer);
	slot_answer_put(&answer, &ready);
	is_int(get_copy(get_answer, answer.data, answer.len, &arena), -1, "a name too long is refused");
	buf_release(&setup);
	buf_release(&answer);
	arena_release(&arena);
	return done_testing();
}
