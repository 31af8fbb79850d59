/*
 * slot-driver.c - plays the runner: starts slots, sends them frames, and tells what they answer.
 * For tests (t/lib/Pawl/Slot.pm).
 *
 *   slot-driver PATH-OF-PAWL-SLOT [or a wrapper and its arguments]
 *
 * Commands are lines of words on stdin, %XX for what is no plain character; answers are lines of
 * words on stdout, a "." behind the last of each command's. The test is trusted: a wrong command
 * ends the program. What slots send is checked as a runner does.
 *
 *   queue NAME VALUE      a setting of the queue            handler NAME PATH     one more handler; "-": ignore
 *   pair PATH VALUE       a setting of the last handler     clear                 no queue, no handlers, no messages
 *   spawn [check|raw]     a slot: "slot N PID"; raw: without SETUP
 *   message WORD=VALUE    one more message: id type body handler attempt attempts routing_key, h.NAME
 *   send N FLAGS          the messages as a batch: "sent ID COUNT"
 *   frame N TYPE HEX [MAGIC [SIZE]]    anything                shutdown N, kill N SIGNAL
 *   wait N MS             one frame, "closed HOW" or "nothing"
 *   desk N                "desk PHASE INDEX BATCH"          serialize N MS        batches take the lock first for so long
 *   load N BATCHES SIZE PREFIX BODY    keeps two in flight, * in BODY is the number: "load SECONDS DONE DUPLICATE OTHER DATABASE-US"
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/frame.h"
#include "common/slot_setup.h"
#include "util/arena.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/spawn.h"

enum { SLOTS_MOST = 128, HANDLERS_MOST = 63, PAIRS_MOST = 64, WORDS_MOST = 32, HEADERS_MOST = 16 };

struct driven {
	pid_t pid;
	int fd;
	struct desk *desk;
	struct buf in;
};

static struct driven slots[SLOTS_MOST];
static size_t slot_count;
static struct arena settings = ARENA_INIT, scratch = ARENA_INIT;
static struct config_queue queue;
static struct config_handler handlers[HANDLERS_MOST];
static struct config_pair pairs[HANDLERS_MOST][PAIRS_MOST];
static struct buf messages = BUF_INIT;		/* the batch to be sent */
static uint32_t message_count;
static uint64_t last_batch;
static char *const *program;

static void ATTR_NORETURN
wrong(const char *what)
{
	log_fatal(64, "slot-driver: %s", what);
}

/* ---- words */

static int
hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes in place; a word may hold NUL, so its length counts. */
static size_t
decode(char *word)
{
	char *out = word;

	for (const char *in = word; *in != '\0'; in++) {
		if (in[0] == '%' && hex_digit(in[1]) >= 0 && hex_digit(in[2]) >= 0) {
			*out++ = (char)(hex_digit(in[1]) * 16 + hex_digit(in[2]));
			in += 2;
		} else {
			*out++ = *in;
		}
	}
	*out = '\0';
	return (size_t)(out - word);
}

static void
say_text(struct slice text)
{
	putchar(' ');
	if (text.len == 0)
		printf("%%");
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.data[i];

		if (c > ' ' && c < 0x7f && c != '%')
			putchar(c);
		else
			printf("%%%02x", c);
	}
}

static long
number(const char *word)
{
	char *end;
	long n = strtol(word, &end, 0);

	if (end == word || *end != '\0')
		wrong("a number is wanted");
	return n;
}

/* ---- settings */

static void
clear_settings(void)
{
	arena_reset(&settings);
	buf_clear(&messages);
	message_count = 0;
	queue = (struct config_queue){
		.name = "test", .queue = "test.queue", .file = "pawl.conf", .line = 1, .conninfo = "",
		.key = "message_id", .timeout_ms = 30000,
		.inbox_retention_ms = 7LL * 86400 * 1000, .handlers = handlers
	};
}

static void
set_queue(const char *name, const char *value)
{
	const char *kept = arena_strdup(&settings, value);

	if (strcmp(name, "consumer") == 0)
		queue.name = kept;
	else if (strcmp(name, "conninfo") == 0)
		queue.conninfo = kept;
	else if (strcmp(name, "key") == 0)
		queue.key = kept;
	else if (strcmp(name, "timeout_ms") == 0)
		queue.timeout_ms = number(value);
	else if (strcmp(name, "retention_ms") == 0)
		queue.inbox_retention_ms = number(value);
	else if (strcmp(name, "missing_key") == 0)
		queue.missing_key =
		    strcmp(value, "process") == 0 ? MISSING_KEY_PROCESS : MISSING_KEY_DEAD_LETTER;
	else if (strcmp(name, "dedup") == 0)
		queue.dedup = strcmp(value, "none") == 0 ? DEDUP_NONE : DEDUP_POSTGRES;
	else
		wrong("no such setting");
}

static void
add_handler(const char *name, const char *path)
{
	struct config_handler *h = &handlers[queue.handler_count];

	if (queue.handler_count == HANDLERS_MOST)
		wrong("too many handlers");
	*h = (struct config_handler){
		.name = arena_strdup(&settings, name), .file = "pawl.conf",
		.line = 10 * ((int)queue.handler_count + 1), .path = arena_strdup(&settings, path),
		.pairs = pairs[queue.handler_count], .ignore = strcmp(path, "-") == 0
	};
	queue.handler_count++;
}

static void
add_pair(const char *path, const char *value)
{
	struct config_handler *h = &handlers[queue.handler_count - 1];

	if (queue.handler_count == 0 || h->pair_count == PAIRS_MOST)
		wrong("no handler, or too many settings");
	pairs[queue.handler_count - 1][h->pair_count] =
	    (struct config_pair){ arena_strdup(&settings, path), arena_strdup(&settings, value),
		    h->line + 1 + (int)h->pair_count, "pawl.conf" };
	h->pair_count++;
}

/* ---- slots */

static struct driven *
slot_of(const char *word)
{
	long n = number(word);

	if (n < 0 || (size_t)n >= slot_count)
		wrong("no such slot");
	return &slots[n];
}

static void
send_bytes(const struct driven *d, const char *data, size_t size)
{
	while (size > 0) {
		ssize_t n = send(d->fd, data, size, MSG_NOSIGNAL);

		if (n < 0 && errno != EINTR)
			return;			/* it is gone: the next wait tells */
		data += n > 0 ? n : 0;
		size -= n > 0 ? (size_t)n : 0;
	}
}

static void
send_frame(
    const struct driven *d, uint16_t type, uint16_t magic, uint32_t size, const struct buf *payload)
{
	struct frame_header header = { .size = size, .type = type, .magic = magic };

	send_bytes(d, (const char *)&header, sizeof(header));
	send_bytes(d, payload->data, payload->len);
}

static void
spawn(const char *how)
{
	const struct slot_setup_options options = {
		.host = "testhost", .log_level = LOG_LEVEL_DEBUG, .slot = (unsigned)slot_count,
		.check = strcmp(how, "check") == 0
	};
	struct driven *d = &slots[slot_count];
	struct buf payload = BUF_INIT;
	int ends[2], desk = memfd_create("desk", MFD_CLOEXEC);
	const char *step;

	if (slot_count == SLOTS_MOST || desk < 0 || ftruncate(desk, sizeof(struct desk)) != 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
		log_fatal(71, "slot-driver: could not make a slot: %m");
	d->desk = mmap(NULL, sizeof(struct desk), PROT_READ | PROT_WRITE, MAP_SHARED, desk, 0);
	const struct spawn_fd fds[] = { { ends[1], FRAME_SOCKET_FD }, { desk, FRAME_DESK_FD } };
	const struct spawn_options spawning = {
		.path = program[0], .argv = (const char *const *)program, .fds = fds, .fd_count = 2
	};

	d->pid = spawn_exec(&spawning, &step);
	if (d->pid < 0)
		log_fatal(71, "slot-driver: could not start %s: %s: %m", program[0], step);
	close(ends[1]);
	close(desk);
	d->fd = ends[0];
	buf_init(&d->in);
	if (strcmp(how, "raw") != 0) {
		slot_setup_put(&payload, &queue, &options);
		send_frame(d, FRAME_SETUP, FRAME_MAGIC, (uint32_t)payload.len, &payload);
	}
	buf_release(&payload);
	printf("slot %zu %d\n", slot_count++, d->pid);
}

/* Reads until a whole frame is there. 1: it is; 0: not in time; -1: closed. */
static int
receive(struct driven *d, int64_t ms, struct frame_header *header)
{
	struct clock_mono deadline = clock_mono_after_ms(clock_mono_now(), ms);

	for (;;) {
		struct pollfd p = { .fd = d->fd, .events = POLLIN };
		int64_t left = clock_ms_between(clock_mono_now(), deadline);
		ssize_t n;

		if (d->in.len >= sizeof(*header)) {
			memcpy(header, d->in.data, sizeof(*header));
			if (header->magic != FRAME_MAGIC)
				wrong("a slot sent a frame of another magic");
			if (d->in.len - sizeof(*header) >= header->size)
				return 1;
		}
		if (left <= 0 || (n = poll(&p, 1, (int)left)) == 0)
			return 0;
		if (n < 0)
			continue;
		n = recv(d->fd, buf_reserve(&d->in, 65536), 65536, 0);
		if (n <= 0)
			return -1;
		d->in.len += (size_t)n;
	}
}

static void
say_answer(const char *word, struct slice payload)
{
	struct slot_answer answer;

	if (slot_answer_get(payload, &scratch, &answer) != 0)
		wrong("a slot sent a malformed answer");
	printf("%s", word);
	say_text(slice_of(answer.text));
	putchar('\n');
	for (size_t i = 0; i < answer.handler_count; i++) {
		printf("handler");
		say_text(slice_of(answer.handlers[i].name));
		say_text(slice_of(answer.handlers[i].version));
		printf(" %u\n", answer.handlers[i].kind);
	}
}

/* The frame's payload, at an address that suits it. */
static const struct frame_result *
result_of(struct slice payload, const struct frame_outcome **outcomes)
{
	const struct frame_result *result =
	    (const void *)arena_memdup(&scratch, payload.data, payload.len);

	*outcomes = frame_result_check(result, payload.len);
	if (*outcomes == NULL)
		wrong("a slot sent a malformed result");
	return result;
}

static void
say_result(struct slice payload)
{
	const struct frame_outcome *o;
	const struct frame_result *result = result_of(payload, &o);

	printf("result %" PRIu64 " %u %u %u\n", result->id, result->count, result->database_us,
	    result->deadlocks);
	for (uint32_t i = 0; i < result->count; i++) {
		printf("outcome %s %u %u %u", outcome_text((enum outcome)o[i].outcome), o[i].flags,
		    o[i].delay_ms, o[i].handle_us);
		say_text(frame_result_text(result, o[i].code));
		say_text(frame_result_text(result, o[i].text));
		putchar('\n');
	}
}

static void
say_closed(struct driven *d)
{
	char text[128];
	int status = 0;

	while (waitpid(d->pid, &status, 0) < 0 && errno == EINTR)
		;
	printf("closed");
	say_text(slice_of(spawn_status_text(status, text, sizeof(text))));
	putchar('\n');
}

static void
wait_frame(struct driven *d, int64_t ms)
{
	struct frame_header header;
	int got = receive(d, ms, &header);

	if (got <= 0) {
		if (got == 0)
			puts("nothing");
		else
			say_closed(d);
		return;
	}
	struct slice payload = { d->in.data + sizeof(header), header.size };

	switch (header.type) {
	case FRAME_READY: say_answer("ready", payload); break;
	case FRAME_WAITING: say_answer("waiting", payload); break;
	case FRAME_REFUSED: say_answer("refused", payload); break;
	case FRAME_RESULT: say_result(payload); break;
	default: wrong("a slot sent a frame that is not for a runner");
	}
	buf_consume(&d->in, sizeof(header) + header.size);
	arena_reset(&scratch);
}

/* ---- messages */

struct spec {				/* a message as the test wants it */
	struct slice id, type, content_type, routing_key, exchange, body;
	struct slice header_names[HEADERS_MOST], header_values[HEADERS_MOST];
	size_t header_count;
	unsigned handler, attempt, attempts;
};

static struct frame_text
put_text(size_t start, struct slice text)
{
	struct frame_text at = { (uint32_t)(messages.len - start), (uint32_t)text.len };

	buf_slice(&messages, text);
	buf_putc(&messages, '\0');
	return at;
}

static void
add_message(const struct spec *spec)
{
	struct frame_message m = {
		.handler = (uint16_t)spec->handler, .header_count = (uint16_t)spec->header_count,
		.attempt = spec->attempt, .attempts = spec->attempts, .timestamp_ms = 1700000000000
	};
	struct frame_text headers[2 * HEADERS_MOST];
	size_t start = messages.len, headers_at = start + sizeof(m);

	buf_append(&messages, &m, sizeof(m));
	buf_append(&messages, headers, 2 * spec->header_count * sizeof(headers[0]));
	m.headers_off = sizeof(m);
	m.id = put_text(start, spec->id);
	m.type = put_text(start, spec->type);
	m.content_type = put_text(start, spec->content_type);
	m.correlation_id = m.reply_to = put_text(start, slice_of(""));
	m.exchange = put_text(start, spec->exchange);
	m.routing_key = put_text(start, spec->routing_key);
	for (size_t i = 0; i < spec->header_count; i++) {
		headers[2 * i] = put_text(start, spec->header_names[i]);
		headers[2 * i + 1] = put_text(start, spec->header_values[i]);
	}
	m.body_off = put_text(start, spec->body).off;
	m.body_size = (uint32_t)spec->body.len;
	while ((messages.len - start) % 8 != 0)
		buf_putc(&messages, '\0');
	m.size = (uint32_t)(messages.len - start);
	memcpy(messages.data + start, &m, sizeof(m));
	memcpy(messages.data + headers_at, headers, 2 * spec->header_count * sizeof(headers[0]));
	message_count++;
}

static void
message(size_t count, char *const *words)
{
	struct spec spec = {
		.attempt = 1, .attempts = 6, .type = slice_of("Test"), .exchange = slice_of("x"),
		.routing_key = slice_of("key")
	};

	for (size_t i = 0; i < count; i++) {
		char *value = strchr(words[i], '=');
		struct slice text;

		if (value == NULL)
			wrong("a message's words are NAME=VALUE");
		*value++ = '\0';
		text = (struct slice){ value, decode(value) };
		(void)decode(words[i]);
		if (strcmp(words[i], "id") == 0)
			spec.id = text;
		else if (strcmp(words[i], "type") == 0)
			spec.type = text;
		else if (strcmp(words[i], "content_type") == 0)
			spec.content_type = text;
		else if (strcmp(words[i], "body") == 0)
			spec.body = text;
		else if (strcmp(words[i], "routing_key") == 0)
			spec.routing_key = text;
		else if (strcmp(words[i], "handler") == 0)
			spec.handler = (unsigned)number(value);
		else if (strcmp(words[i], "attempt") == 0)
			spec.attempt = (unsigned)number(value);
		else if (strcmp(words[i], "attempts") == 0)
			spec.attempts = (unsigned)number(value);
		else if (strncmp(words[i], "h.", 2) == 0 && spec.header_count < HEADERS_MOST) {
			spec.header_names[spec.header_count] = slice_of(words[i] + 2);
			spec.header_values[spec.header_count++] = text;
		} else
			wrong("no such part of a message");
	}
	add_message(&spec);
}

static void
send_batch(const struct driven *d, unsigned flags)
{
	struct frame_batch batch = { .id = ++last_batch, .count = message_count, .flags = flags };
	struct frame_header header = {
		.size = (uint32_t)(sizeof(batch) + messages.len), .type = FRAME_BATCH, .magic = FRAME_MAGIC
	};
	struct buf head = BUF_INIT;

	buf_append(&head, &header, sizeof(header));
	buf_append(&head, &batch, sizeof(batch));
	send_bytes(d, head.data, head.len);
	send_bytes(d, messages.data, messages.len);
	buf_release(&head);
	buf_clear(&messages);
	message_count = 0;
}

/* ---- load */

static void
fill(uint64_t *serial, uint32_t size, const char *prefix, const char *body)
{
	const char *star = strchr(body, '*');

	arena_reset(&scratch);
	for (uint32_t i = 0; i < size; i++) {
		struct spec spec = {
			.attempt = 1, .attempts = 6, .type = slice_of("Test"), .routing_key = slice_of("key")
		};
		unsigned long long n = (unsigned long long)++*serial;

		spec.id =
		    slice_of(arena_printf(&scratch, "%s-00000000-0000-0000-%012llu", prefix, n));
		spec.body = slice_of(body);
		if (star != NULL)
			spec.body = slice_of(arena_printf(&scratch, "%.*s%llu%s", (int)(star - body), body, n, star + 1));
		add_message(&spec);
	}
}

static void
load(struct driven *d, long batches, uint32_t size, const char *prefix, const char *body)
{
	uint64_t serial = 0, total = 0, database_us = 0, counts[OUTCOME_COUNT] = { 0 };
	struct clock_mono start = clock_mono_now();
	long sent = 0;

	for (long answered = 0; answered < batches; answered++) {
		const struct frame_outcome *o;
		const struct frame_result *result;
		struct frame_header header;

		for (; sent < batches && sent < answered + 2; sent++) {
			fill(&serial, size, prefix, body);
			send_batch(d, 0);
		}
		if (receive(d, 60000, &header) != 1 || header.type != FRAME_RESULT)
			wrong("a slot under load answers something else, or nothing");
		arena_reset(&scratch);
		result = result_of((struct slice){ d->in.data + sizeof(header), header.size }, &o);
		database_us += result->database_us;
		total += result->count;
		for (uint32_t i = 0; i < result->count; i++)
			counts[o[i].outcome]++;
		buf_consume(&d->in, sizeof(header) + header.size);
	}
	printf("load %.6f %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
	    (double)(clock_mono_now().ns - start.ns) / 1e9, counts[OUTCOME_DONE], counts[OUTCOME_DUPLICATE],
	    total - counts[OUTCOME_DONE] - counts[OUTCOME_DUPLICATE], database_us);
}

/* ---- commands */

static void
raw_frame(size_t count, char *const *words)
{
	struct buf payload = BUF_INIT;
	const char *hex = strcmp(words[2], "-") == 0 ? "" : words[2];

	for (; hex_digit(hex[0]) >= 0 && hex_digit(hex[1]) >= 0; hex += 2)
		buf_putc(&payload, (char)(hex_digit(hex[0]) * 16 + hex_digit(hex[1])));
	send_frame(slot_of(words[0]), (uint16_t)number(words[1]),
	    count > 3 ? (uint16_t)number(words[3]) : FRAME_MAGIC,
	    count > 4 ? (uint32_t)number(words[4]) : (uint32_t)payload.len, &payload);
	buf_release(&payload);
}

static void
say_desk(const struct driven *d)
{
	printf("desk %u %u %" PRIu64 "\n", atomic_load(&d->desk->phase),
	    atomic_load(&d->desk->index), atomic_load(&d->desk->batch));
}

static void
command(const char *name, size_t count, char *const *words)
{
	static const struct buf nothing = BUF_INIT;

	if (strcmp(name, "message") == 0) {
		message(count, words);
		return;
	}
	for (size_t i = 0; i < count; i++)
		(void)decode(words[i]);
	if (strcmp(name, "clear") == 0)
		clear_settings();
	else if (strcmp(name, "queue") == 0 && count == 2)
		set_queue(words[0], words[1]);
	else if (strcmp(name, "handler") == 0 && count == 2)
		add_handler(words[0], words[1]);
	else if (strcmp(name, "pair") == 0 && count == 2)
		add_pair(words[0], words[1]);
	else if (strcmp(name, "spawn") == 0)
		spawn(count > 0 ? words[0] : "");
	else if (strcmp(name, "send") == 0 && count == 2) {
		printf("sent %" PRIu64 " %u\n", last_batch + 1, message_count);
		send_batch(slot_of(words[0]), (unsigned)number(words[1]));
	} else if (strcmp(name, "frame") == 0 && count >= 3)
		raw_frame(count, words);
	else if (strcmp(name, "shutdown") == 0 && count == 1)
		send_frame(slot_of(words[0]), FRAME_SHUTDOWN, FRAME_MAGIC, 0, &nothing);
	else if (strcmp(name, "close") == 0 && count == 1)
		(void)shutdown(slot_of(words[0])->fd, SHUT_WR);
	else if (strcmp(name, "kill") == 0 && count == 2)
		(void)kill(slot_of(words[0])->pid, (int)number(words[1]));
	else if (strcmp(name, "wait") == 0 && count == 2)
		wait_frame(slot_of(words[0]), number(words[1]));
	else if (strcmp(name, "desk") == 0 && count == 1)
		say_desk(slot_of(words[0]));
	else if (strcmp(name, "serialize") == 0 && count == 2)
		atomic_store(&slot_of(words[0])->desk->serialize_until_ns,
		    clock_mono_after_ms(clock_mono_now(), number(words[1])).ns);
	else if (strcmp(name, "load") == 0 && count == 5)
		load(slot_of(words[0]), number(words[1]), (uint32_t)number(words[2]), words[3],
		    words[4]);
	else
		wrong("no such command, or another number of words");
}

int
main(int argc, char **argv)
{
	char *line = NULL;
	size_t room = 0;

	if (argc < 2)
		wrong("usage: slot-driver PROGRAM [ARGUMENT ...]");
	program = argv + 1;
	log_init("slot-driver", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	clear_settings();
	while (getline(&line, &room, stdin) > 0) {
		char *words[WORDS_MOST], *save = NULL;
		size_t count = 0;

		for (char *word = strtok_r(line, " \n", &save); word != NULL && count < WORDS_MOST;
		     word = strtok_r(NULL, " \n", &save))
			words[count++] = word;
		if (count > 0)
			command(words[0], count - 1, words + 1);
		puts(".");
		(void)fflush(stdout);
	}
	free(line);
	for (size_t i = 0; i < slot_count; i++)
		buf_release(&slots[i].in);
	buf_release(&messages);
	arena_release(&settings);
	arena_release(&scratch);
	return 0;
}
