/*
 * try.c - pawlctl try: gives messages to a handler, in a slot as a worker has them, and prints what it would do.
 *
 * A handler that crashes or hangs costs its slot; the next message gets a new one. What comes from the slot is hostile: it is shown
 * with its control characters replaced.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/slot_client.h"
#include "ctl/ctl.h"
#include "ctl/try_message.h"
#include "util/json_scan.h"
#include "util/spawn.h"

enum {
	PAIRS_MAX = 200, HEADERS_MAX = 100,
	BODY_MAX = 256 * 1024 * 1024, ANSWER_MAX = 512 * 1024 * 1024,
	START_MS = 30 * 1000,		/* for READY, a database's answer included */
	LAST_WORDS_MS = 300,		/* from SIGXCPU to SIGKILL, as runners have it */
	GRACE_MS = 2 * 1000		/* beyond the handler's own time */
};

enum {
	OPTION_CONFIG, OPTION_QUEUE, OPTION_TYPE, OPTION_ID, OPTION_HEADER, OPTION_SET, OPTION_DATABASE,
	OPTION_TIMEOUT, OPTION_LINES, OPTION_MESSAGES, OPTION_JSON
};
static const struct program_option options[] = {
	[OPTION_CONFIG] = { 'c', "config", "FILE", "take handlers and their settings from a queue of this configuration" },
	[OPTION_QUEUE] = { 'q', "queue", "NAME", "that queue; needed with --config" },
	[OPTION_TYPE] = { 't', "type", "TYPE", "the message's type; with --config it chooses the handler" },
	[OPTION_ID] = { 0, "id", "ID", "message_id of the first message (default: try-1)" },
	[OPTION_HEADER] = { 'H', "header", "NAME=VALUE", "a header; may be given several times" },
	[OPTION_SET] = { 's', "set", "PATH=VALUE", "one of the handler's own settings; may be given several times" },
	[OPTION_DATABASE] = { 'd', "database", "CONNINFO", "answer the handler's queries, check its statements; nothing is done" },
	[OPTION_TIMEOUT] = { 0, "timeout", "SECONDS", "how long a handler may take (default: 30, or the queue's)" },
	[OPTION_LINES] = { 'l', "lines", NULL, "each line of a body is a message" },
	[OPTION_MESSAGES] = { 'm', "messages", NULL, "each line of a body is a message as JSON: id, type, headers, body..." },
	[OPTION_JSON] = { 0, "json", NULL, "print JSON, an object on a line for each message" },
};

struct try {
	const char *config_file, *queue_name, *type, *id, *database, *bad;
	long timeout_s;
	bool lines, messages, json;
	struct try_header headers[HEADERS_MAX];
	size_t header_count;
	struct config_pair pairs[PAIRS_MAX];
	size_t pair_count;

	struct config *config;
	struct config_queue queue;
	struct config_handler handler;
	struct arena arena;
	struct slot_client slot;
	bool ready;
	unsigned count;
	int status;			/* 1: something was not done */
};

static bool
split(struct try *t, const char *text, struct try_header *pair)
{
	const char *equals = strchr(text, '=');

	if (equals == NULL || equals == text) {
		t->bad = text;
		return false;
	}
	pair->name = arena_memdup(&t->arena, text, (size_t)(equals - text));
	pair->value = equals + 1;
	return true;
}

static void
set(void *arg, size_t index, const char *value)
{
	struct try *t = arg;
	struct try_header pair;
	char *end;

	switch (index) {
	case OPTION_CONFIG: t->config_file = value; break;
	case OPTION_QUEUE: t->queue_name = value; break;
	case OPTION_TYPE: t->type = value; break;
	case OPTION_ID: t->id = value; break;
	case OPTION_DATABASE: t->database = value; break;
	case OPTION_LINES: t->lines = true; break;
	case OPTION_MESSAGES: t->messages = true; break;
	case OPTION_JSON: t->json = true; break;
	case OPTION_TIMEOUT:
		t->timeout_s = strtol(value, &end, 10);
		if (t->timeout_s < 1 || t->timeout_s > 86400 || *end != '\0')
			t->bad = value;
		break;
	case OPTION_HEADER:
		if (t->header_count == HEADERS_MAX)
			t->bad = value;
		else if (split(t, value, &pair))
			t->headers[t->header_count++] = pair;
		break;
	case OPTION_SET:
		if (t->pair_count == PAIRS_MAX)
			t->bad = value;
		else if (split(t, value, &pair))
			t->pairs[t->pair_count++] = (struct config_pair){
				.path = pair.name, .value = pair.value, .file = "--set", .line = 1
			};
		break;
	}
}

/* ---- which handler */

static const char *
name_of(struct arena *arena, const char *path)
{
	const char *base = strrchr(path, '/');
	size_t len;

	base = base == NULL ? path : base + 1;
	len = strcspn(base, ".");
	return arena_memdup(arena, base, len);
}

/* An installed handler by its name; a file by its path, or by its name with .so. */
static int
use_file(struct try *t, const char *use)
{
	char path[PATH_MAX];
	const char *file = use;

	if (strchr(use, '/') == NULL && strchr(use, '.') == NULL)
		file = arena_printf(&t->arena, "%s/%s.so", program_handler_dir(), use);
	if (realpath(file, path) == NULL)
		return ctl_fail(EX_USAGE, "try", "could not find handler \"%s\": %s", file, strerror(errno));
	t->handler = (struct config_handler){
		.name = name_of(&t->arena, use), .line = 1, .file = "pawlctl try", .use = use,
		.path = arena_strdup(&t->arena, path), .pairs = t->pairs, .pair_count = t->pair_count
	};
	t->queue = (struct config_queue){
		.name = "try", .file = "pawlctl try", .line = 1, .queue = "try", .key = "message_id",
		.timeout_ms = 30000, .handlers = &t->handler, .handler_count = 1
	};
	return EX_OK;
}

static int
use_queue(struct try *t)
{
	const struct config_queue *queue;

	if (t->queue_name == NULL)
		return ctl_fail(EX_USAGE, "try", "say which queue: --queue NAME");
	if (t->pair_count > 0)
		return ctl_fail(EX_USAGE, "try", "settings come from --config: --set is for a handler without one");
	t->config = program_config(t->config_file);
	if (t->config == NULL)
		return EX_CONFIG;
	queue = config_queue_find(t->config, t->queue_name);
	if (queue == NULL)
		return ctl_fail(EX_USAGE, "try", "%s has no queue \"%s\"", t->config_file, t->queue_name);
	t->queue = *queue;
	return EX_OK;
}

/* As the runner chooses. -1: none takes that type. */
static int
choose(const struct try *t, const char *type)
{
	int any = -1;

	if (t->config == NULL)
		return 0;
	for (size_t i = 0; i < t->queue.handler_count; i++)
		for (size_t k = 0; k < t->queue.handlers[i].type_count; k++) {
			const char *taken = t->queue.handlers[i].types[k];

			if (type != NULL && strcmp(taken, type) == 0)
				return (int)i;
			if (strcmp(taken, "*") == 0)
				any = (int)i;
		}
	return any;
}

/* ---- what is printed */

static void
print(const struct try *t, const char *text, size_t len)
{
	if (t->json)
		fwrite(text, 1, len, stdout);
	else
		program_print(stdout, text, len);
}

static void
failed(struct try *t, const char *key, const char *outcome, const char *code, const char *text)
{
	struct buf b = BUF_INIT;

	t->status = 1;
	if (t->json) {
		buf_puts(&b, "{\"key\":");
		json_quote(&b, slice_of(key));
		buf_puts(&b, ",\"verdict\":");
		json_quote(&b, slice_of(outcome));
		if (code != NULL)
			buf_printf(&b, ",\"code\":\"%s\"", code);
		buf_puts(&b, ",\"text\":");
		json_quote(&b, slice_of(text));
		buf_puts(&b, "}\n");
	} else {
		buf_printf(&b, "%s: %s%s%s: %s\n", key, outcome, code == NULL ? "" : " ", code == NULL ? "" : code, text);
	}
	print(t, b.data, b.len);
	buf_release(&b);
}

/* ---- the slot */

static void
slot_is_gone(struct try *t, const char *key, enum slot_client_status how)
{
	struct buf text = BUF_INIT;
	char ended[128], report[DESK_REPORT_MAX];

	if (how == SLOT_CLIENT_LATE) {
		buf_printf(&text, "the handler did not return within %lld ms and was killed",
		    (long long)t->queue.timeout_ms);
		(void)kill(t->slot.pid, SIGXCPU);	/* it says where it is, if it can */
		(void)slot_client_end(&t->slot, clock_mono_after_ms(clock_mono_now(), LAST_WORDS_MS));
		if (desk_report(t->slot.desk, report, sizeof(report)) > 0)
			buf_printf(&text, ": %s", report);
		failed(t, key, "timeout", NULL, text.data);
	} else if (how == SLOT_CLIENT_BAD) {
		(void)slot_client_end(&t->slot, clock_mono_now());
		failed(t, key, "crashed", NULL, "what came from the slot is no answer: the handler wrote to a descriptor that it had not opened, or recorded too much");
	} else {
		spawn_status_text(slot_client_end(&t->slot, clock_mono_after_ms(clock_mono_now(), GRACE_MS)),
		    ended, sizeof(ended));
		buf_printf(&text, "the slot %s while the handler had this message", ended);
		if (desk_report(t->slot.desk, report, sizeof(report)) > 0)
			buf_printf(&text, ": %s", report);
		failed(t, key, "crashed", NULL, text.data);
	}
	slot_client_release(&t->slot);
	t->ready = false;
	buf_release(&text);
}

/* Before it was ready: how it ended, and what it said then. */
static int
start_failed(struct try *t, enum slot_client_status how)
{
	char ended[128], report[DESK_REPORT_MAX];
	bool late = how == SLOT_CLIENT_LATE, told;
	int status;

	if (late)
		(void)kill(t->slot.pid, SIGXCPU);	/* it says where it is, if it can */
	status = slot_client_end(
	    &t->slot, clock_mono_after_ms(clock_mono_now(), late ? LAST_WORDS_MS : GRACE_MS));
	if (late)
		(void)snprintf(ended, sizeof(ended), "did not start within %d s", START_MS / 1000);
	else
		spawn_status_text(status, ended, sizeof(ended));
	told = desk_report(t->slot.desk, report, sizeof(report)) > 0;
	return ctl_fail(EX_CONFIG, "try", "the handler could not start: the slot %s%s%s", ended, told ? ": " : "",
	    told ? report : "");
}

static int
start(struct try *t)
{
	const struct slot_setup_options setup = {
		.host = "try", .log_level = LOG_LEVEL_DEBUG, .log_format = LOG_FORMAT_TEXT, .dry = true
	};
	struct clock_mono deadline = clock_mono_after_ms(clock_mono_now(), START_MS);
	struct slot_answer answer;
	enum slot_client_status how;
	struct slice payload;
	unsigned type;
	char text[1024];

	if (slot_client_start(&t->slot, &t->queue, &setup,
		t->config == NULL ? NULL : t->config->broker_variables, deadline, text, sizeof(text)) != 0)
		return ctl_fail(EX_UNAVAILABLE, "try", "%s", text);
	how = slot_client_read(&t->slot, deadline, ANSWER_MAX, &type, &payload);
	if (how == SLOT_CLIENT_FRAME && type == FRAME_READY) {
		t->ready = true;
		return EX_OK;
	}
	if (how == SLOT_CLIENT_FRAME && type == FRAME_REFUSED &&
	    slot_answer_get(payload, &t->arena, &answer) == 0) {
		program_print(stderr, answer.text, strlen(answer.text));
		return EX_CONFIG;
	}
	return start_failed(t, how);
}

/* ---- a message */

static int
answered(struct try *t, struct slice payload)
{
	struct frame_reader reader = { payload.data, payload.len, 0, false };
	struct slice json = frame_get_text(&reader), text = frame_get_text(&reader);
	struct json_index index;
	struct json_value verdict;
	size_t offset;

	if (!frame_reader_done(&reader) || json_scan_index(json, &index, &offset) != JSON_OK ||
	    json_scan_lookup(&index, "/verdict", &verdict, &offset) != JSON_OK)
		return -1;
	if (!slice_is(verdict.raw, "\"done\"") && !slice_is(verdict.raw, "done"))
		t->status = 1;
	if (t->json) {
		print(t, json.data, json.len);
		putchar('\n');
	} else {
		print(t, text.data, text.len);
	}
	return 0;
}

static void
ignored(const struct try *t, const char *id)
{
	struct buf b = BUF_INIT;

	if (t->json) {
		buf_puts(&b, "{\"key\":");
		json_quote(&b, slice_of(id));
		buf_puts(&b, ",\"verdict\":\"done\",\"ignored\":true}\n");
	} else {
		buf_printf(&b, "%s: ignored\n", id);
	}
	print(t, b.data, b.len);
	buf_release(&b);
}

/* One message to the slot, and its answer. */
static void
give(struct try *t, const struct try_message *m, unsigned handler)
{
	struct clock_mono deadline = clock_mono_after_ms(clock_mono_now(), t->queue.timeout_ms);
	struct frame_batch head = { .id = t->count, .count = 1 };
	struct buf message = BUF_INIT, frame = BUF_INIT;
	enum slot_client_status how;
	struct slice payload;
	unsigned type;

	try_message_put(&message, m, handler);
	buf_append(&frame, &head, sizeof(head));
	buf_append(&frame, message.data, message.len);
	fflush(stdout);
	how = slot_client_send(&t->slot, FRAME_BATCH, (struct slice){ frame.data, frame.len }, deadline);
	if (how == SLOT_CLIENT_FRAME)
		how = slot_client_read(&t->slot, deadline, ANSWER_MAX, &type, &payload);
	if (how == SLOT_CLIENT_FRAME && (type != FRAME_TRIED || answered(t, payload) != 0))
		how = SLOT_CLIENT_BAD;
	if (how != SLOT_CLIENT_FRAME)
		slot_is_gone(t, m->text[TRY_ID], how);
	buf_release(&message);
	buf_release(&frame);
}

static int
try_message(struct try *t, struct try_message *m)
{
	int handler = choose(t, m->text[TRY_TYPE]), status;
	char id[300];

	t->count++;
	if (t->id != NULL && t->count == 1)
		(void)snprintf(id, sizeof(id), "%.250s", t->id);
	else
		(void)snprintf(id, sizeof(id), "%.250s-%u", t->id != NULL ? t->id : "try", t->count);
	if (m->text[TRY_ID] == NULL)
		m->text[TRY_ID] = id;
	if (handler < 0) {
		failed(t, m->text[TRY_ID], "reject", "unknown_type", "no handler of the queue takes this type (--type)");
		return EX_OK;
	}
	if (t->queue.handlers[handler].ignore) {
		ignored(t, m->text[TRY_ID]);
		return EX_OK;
	}
	if (!t->ready && (status = start(t)) != EX_OK)
		return status;
	give(t, m, (unsigned)handler);
	return EX_OK;
}

/* line: its number, if it is one. */
static int
try_body(struct try *t, struct slice body, unsigned line)
{
	struct try_message m = {
		.text = { [TRY_TYPE] = t->type, [TRY_ROUTING_KEY] = t->queue.queue },
		.headers = t->headers, .header_count = t->header_count, .body = body
	};
	struct arena arena = ARENA_INIT;
	char error[256];
	int status;

	if (t->messages && try_message_parse(body, &m, &arena, error, sizeof(error)) != 0)
		status = ctl_fail(EX_DATAERR, "try", "line %u is no message: %s", line, error);
	else
		status = try_message(t, &m);
	arena_release(&arena);
	return status;
}

/* In order, so that the handler's stop() runs. */
static void
end(struct try *t)
{
	char ended[128], report[DESK_REPORT_MAX];
	bool told;
	int status;

	if (!t->ready)
		return;
	status = slot_client_end(&t->slot, clock_mono_after_ms(clock_mono_now(), GRACE_MS));
	if (status == 0)
		return;
	spawn_status_text(status, ended, sizeof(ended));
	told = desk_report(t->slot.desk, report, sizeof(report)) > 0;
	t->status = ctl_fail(1, "try", "the slot %s in the handler's stop(), which has %d s%s%s", ended,
	    GRACE_MS / 1000, told ? ": " : "", told ? report : "");
}

/* ---- bodies */

static int
read_file(const char *name, struct buf *body)
{
	int fd = strcmp(name, "-") == 0 ? STDIN_FILENO : open(name, O_RDONLY | O_CLOEXEC);
	ssize_t n = -1;

	if (fd < 0)
		return ctl_fail(EX_NOINPUT, "try", "could not read \"%s\": %s", name, strerror(errno));
	while (body->len <= BODY_MAX &&
	    ((n = read(fd, buf_reserve(body, 65536), 65536)) > 0 || (n < 0 && errno == EINTR)))
		if (n > 0)
			buf_added(body, (size_t)n);
	if (fd != STDIN_FILENO)
		close(fd);
	if (n != 0)
		return ctl_fail(EX_NOINPUT, "try", "could not read \"%s\": %s", name,
		    body->len > BODY_MAX ? "it is too large" : strerror(errno));
	return EX_OK;
}

static int
try_argument(struct try *t, const char *argument)
{
	struct buf file = BUF_INIT;
	struct slice body = slice_of(argument);
	bool lines = t->lines || t->messages;
	unsigned line = 0;
	int status = EX_OK;

	if (strcmp(argument, "-") == 0 || argument[0] == '@') {
		status = read_file(argument[0] == '@' ? argument + 1 : argument, &file);
		body = (struct slice){ file.data, file.len };
	}
	if (!lines && status == EX_OK)
		status = try_body(t, body, 0);
	while (lines && status == EX_OK && body.len > 0) {
		const char *end = memchr(body.data, '\n', body.len);
		size_t len = end == NULL ? body.len : (size_t)(end - body.data);

		line++;
		if (len > 0)
			status = try_body(t, (struct slice){ body.data, len }, line);
		len += end != NULL;
		body = (struct slice){ body.data + len, body.len - len };
	}
	buf_release(&file);
	return status;
}

int
ctl_try(int argc, char **argv)
{
	struct try t = { .slot = SLOT_CLIENT_INIT, .arena = ARENA_INIT };
	int at = program_options(argc, argv, "pawlctl try", "[OPTION]... HANDLER.so|--config FILE --queue NAME [BODY|@FILE|-]...",
	    options, ARRAY_SIZE(options), set, &t);
	int status = EX_OK;

	if (t.bad != NULL)
		status = ctl_fail(EX_USAGE, "try", "cannot use \"%s\": write NAME=VALUE, or seconds from 1 to 86400", t.bad);
	else if (t.config_file != NULL)
		status = use_queue(&t);
	else if (at == argc)
		status = ctl_fail(EX_USAGE, "try", "say which handler: a file, the name of an installed one, or --config and --queue");
	else
		status = use_file(&t, argv[at++]);
	if (status == EX_OK) {
		/* The inbox has no part in this, and without --database nothing is asked: that is "" to the slot. To those
		 * who write it, it is what the environment says, as in a configuration. */
		t.queue.dedup = DEDUP_NONE;
		t.queue.conninfo = t.database == NULL ? "" : t.database[0] != '\0' ? t.database : "fallback_application_name=pawlctl";
		if (t.timeout_s > 0)
			t.queue.timeout_ms = t.timeout_s * 1000;
		if (at == argc)
			status = try_argument(&t, "");
		for (; at < argc && status == EX_OK; at++)
			status = try_argument(&t, argv[at]);
	}
	end(&t);
	slot_client_release(&t.slot);
	config_free(&t.config);
	arena_release(&t.arena);
	return ctl_end(status == EX_OK ? t.status : status, "try");
}
