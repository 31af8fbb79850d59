/*
 * amqp-probe.c - a consumer and a publisher that do what a test tells them, line by line, and tell what happens.
 *
 *   amqp-probe [-c CA-FILE] [-b HEARTBEAT-S] [-t CONNECT-TIMEOUT-MS] COMMANDS URI ...
 *
 * COMMANDS is a named pipe. Commands and events are lines of words on it and on stdout; see command_table and the on_ functions. The
 * broker is not trusted here, the test is: a wrong command ends the program.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "util/amqp_conn_internal.h"	/* for the library's version */
#include "util/amqp_consumer.h"
#include "util/amqp_publisher.h"
#include "util/arena.h"
#include "util/buf.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/loop.h"
#include "util/utf8.h"

enum { WORDS_MOST = 8, CHANNELS_MOST = 8, URIS_MOST = 4, DECLARATIONS_MOST = 16, SHOWN_MOST = 300, TEXT_MOST = 512, TICK_MS = 100 };

struct kept {				/* a delivery, for copies */
	uint64_t tag;
	struct buf properties;
	char *body;
	size_t body_size;
	struct kept *next;
};

struct token {				/* an unconfirmed message of the commands publish, bad, copy */
	struct token *next;
	char id[];
};

struct probe_channel {
	struct probe *probe;
	struct amqp_channel *channel;
	unsigned id;
	/* load: so many messages as fast as they go */
	uint64_t to_publish, published;
	size_t window;			/* unconfirmed at most */
	struct token *tokens;
	uint64_t counts[3];		/* by outcome */
	char exchange[TEXT_MOST], key[TEXT_MOST];
	char *body;
	size_t body_size;
	struct clock_mono begun;
};

struct probe {
	struct loop *loop;
	struct amqp_conn_options conn;
	struct amqp_uri uris[URIS_MOST];
	struct amqp_consumer *consumer;
	struct amqp_publisher *publisher;
	struct probe_channel channels[CHANNELS_MOST];
	struct amqp_declaration declarations[DECLARATIONS_MOST];
	size_t declaration_count;
	struct arena arena;
	struct buf commands, scratch;
	struct kept *kept;
	char *body;			/* of the delivery that arrives */
	size_t body_size;
	uint64_t tag;
	unsigned generation;
	uint64_t delivered, auto_ack;
	bool quiet;			/* count deliveries, do not show them */
	bool free_at_delivery;
	bool dead_letters;
	struct loop_timer tick;		/* how long is the loop kept from its other work? */
	struct clock_mono ticked;
	int64_t gap_ms;			/* the longest */
};

static void ATTR_PRINTF(1, 2)
say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
}

/* One word: what is not printable, and the backslash, as \xNN; long texts by their length. */
static const char *
shown(struct probe *probe, struct slice text)
{
	struct buf out = BUF_INIT;
	const char *result;

	if (text.len > SHOWN_MOST)
		return arena_printf(&probe->arena, "(%zu bytes)", text.len);
	for (size_t at = 0, n; at < text.len; at += n) {
		n = utf8_length(text.data + at, text.len - at);
		if (n == 0 || (n == 1 && ((unsigned char)text.data[at] <= ' ' || text.data[at] == '\\' || text.data[at] == 0x7f))) {
			n = 1;
			buf_printf(&out, "\\x%02x", (unsigned)(unsigned char)text.data[at]);
		} else {
			buf_append(&out, text.data + at, n);
		}
	}
	result = arena_memdup(&probe->arena, out.data, out.len);
	buf_release(&out);
	return result;
}

static unsigned
sum_of(const char *body, size_t size)
{
	unsigned sum = 0;

	for (size_t i = 0; i < size; i++)
		sum += (unsigned char)body[i];
	return sum;
}

static void
say_error(const char *what, const struct amqp_error *e)
{
	say("%s code=%d connection=%d configuration=%d %s%s", what, e->code, e->connection, e->configuration, e->rejected ? "rejected " : "", e->text);
}

/* The consumer's events. */

static void
show_header(void *arg, struct slice name, struct slice value)
{
	struct probe *probe = arg;

	say("header %s=%s", shown(probe, name), shown(probe, value));
}

static void
show_delivery(struct probe *probe, const struct amqp_delivery *d)
{
	say("delivery tag=%" PRIu64 " generation=%u redelivered=%d size=%zu exchange=%s key=%s id=%s type=%s content_type=%s correlation_id=%s "
	    "reply_to=%s app_id=%s user_id=%s expiration=%s timestamp=%" PRId64 " properties=%zu count=%" PRId64,
	    d->tag, d->generation, d->redelivered, d->body_size, shown(probe, d->exchange), shown(probe, d->routing_key),
	    shown(probe, d->message_id), shown(probe, d->type), shown(probe, d->content_type), shown(probe, d->correlation_id),
	    shown(probe, d->reply_to), shown(probe, d->app_id), shown(probe, d->user_id), shown(probe, d->expiration), d->timestamp_s,
	    d->raw_properties.len, amqp_delivery_header_int(d, "x-delivery-count", -1));
	amqp_delivery_headers(d, &probe->scratch, show_header, probe);
}

static void *
on_delivery(void *arg, const struct amqp_delivery *d)
{
	struct probe *probe = arg;
	struct kept *kept;

	if (probe->free_at_delivery) {
		amqp_consumer_free(&probe->consumer);
		say("freed");
		return NULL;
	}
	if (!probe->quiet) {
		show_delivery(probe, d);
		kept = xcalloc(1, sizeof(*kept));
		kept->tag = d->tag;
		buf_append(&kept->properties, d->raw_properties.data, d->raw_properties.len);
		kept->next = probe->kept;
		probe->kept = kept;
	}
	probe->tag = d->tag;
	probe->body_size = d->body_size;
	probe->body = xmalloc(d->body_size + 1);
	return probe->body;
}

static void
on_delivered(void *arg)
{
	struct probe *probe = arg;

	probe->delivered++;
	if (probe->quiet) {
		free(probe->body);
	} else {
		say("delivered tag=%" PRIu64 " sum=%u", probe->tag, sum_of(probe->body, probe->body_size));
		probe->kept->body = probe->body;
		probe->kept->body_size = probe->body_size;
		arena_reset(&probe->arena);
	}
	probe->body = NULL;
	if (probe->auto_ack > 0 && probe->delivered % probe->auto_ack == 0)
		amqp_consumer_ack(probe->consumer, probe->generation, probe->tag, true);
}

static void
on_consuming(void *arg, unsigned generation)
{
	struct probe *probe = arg;

	probe->generation = generation;
	say("consuming generation=%u", generation);
}

static void
on_consumer_lost(void *arg, const struct amqp_error *error)
{
	struct probe *probe = arg;

	free(probe->body);
	probe->body = NULL;
	say_error("lost", error);
}

static void
on_cancelled(void *arg)
{
	(void)arg;
	say("cancelled");
}

static const struct amqp_consumer_events consumer_events = {
	.delivery = on_delivery, .delivered = on_delivered, .consuming = on_consuming, .lost = on_consumer_lost, .cancelled = on_cancelled
};

/* The publisher's events. */

static void
load(struct probe_channel *c)
{
	while (c->published < c->to_publish && amqp_channel_unconfirmed(c->channel) < c->window) {
		char error[256], id[40];
		struct amqp_message m = { .priority = -1, .exchange = slice_of(c->exchange), .routing_key = slice_of(c->key), .body = c->body,
		    .body_size = c->body_size };
		enum amqp_publish_status status;

		(void)snprintf(id, sizeof(id), "m%" PRIu64, c->published + 1);
		m.message_id = slice_of(id);
		status = amqp_channel_publish(c->channel, &m, c, error, sizeof(error));
		if (status == AMQP_NOT_READY)
			return;
		if (status != AMQP_PUBLISHED)
			log_fatal(70, "load: %s", error);
		c->published++;
	}
}

static void
on_ready(void *arg)
{
	struct probe_channel *c = arg;

	if (c->published < c->to_publish)
		load(c);
	else
		say("ready channel=%u", c->id);
}

static struct token *
token_new(struct probe_channel *c, const char *id)
{
	struct token *token = xmalloc(sizeof(*token) + strlen(id) + 1);

	memcpy(token->id, id, strlen(id) + 1);
	token->next = c->tokens;
	c->tokens = token;
	return token;
}

static void
token_free(struct probe_channel *c, struct token *token)
{
	struct token **at = &c->tokens;

	while (*at != token)
		at = &(*at)->next;
	*at = token->next;
	free(token);
}

static void
tokens_free(struct probe_channel *c)
{
	while (c->tokens != NULL)
		token_free(c, c->tokens);
}

static void
on_outcome(void *arg, void *token, enum amqp_outcome outcome, int code, struct slice text)
{
	static const char *const names[] = { "confirmed", "returned", "nacked" };
	struct probe_channel *c = arg;

	if (token == c) {
		c->counts[outcome]++;
		if (c->counts[0] + c->counts[1] + c->counts[2] == c->to_publish)
			say("loaded channel=%u confirmed=%" PRIu64 " returned=%" PRIu64 " nacked=%" PRIu64 " ms=%" PRId64, c->id, c->counts[0],
			    c->counts[1], c->counts[2], clock_ms_between(c->begun, clock_mono_now()));
		load(c);
		return;
	}
	say("%s channel=%u id=%s code=%d %.*s", names[outcome], c->id, ((struct token *)token)->id, code, (int)text.len,
	    text.len > 0 ? text.data : "");
	token_free(c, token);
}

static void
on_down(void *arg, const struct amqp_error *error)
{
	struct probe_channel *c = arg;
	char what[40];

	tokens_free(c);
	(void)snprintf(what, sizeof(what), "down channel=%u", c->id);
	say_error(what, error);
}

static const struct amqp_channel_events channel_events = { .ready = on_ready, .outcome = on_outcome, .down = on_down };

static void
on_connected(void *arg)
{
	(void)arg;
	say("connected");
}

static void
on_publisher_lost(void *arg, const struct amqp_error *error)
{
	(void)arg;
	say_error("publisher-lost", error);
}

static void
on_blocked(void *arg, bool blocked, struct slice reason)
{
	(void)arg;
	say("%s %.*s", blocked ? "blocked" : "unblocked", (int)reason.len, reason.len > 0 ? reason.data : "");
}

static const struct amqp_publisher_events publisher_events = { .connected = on_connected, .lost = on_publisher_lost, .blocked = on_blocked };

/* Commands. "-" stands for an empty word. */

static long long
number(const char *word)
{
	char *end;
	long long n = strtoll(word, &end, 10);

	if (end == word || *end != '\0')
		log_fatal(64, "\"%s\" is not a number", word);
	return n;
}

static const char *
text(const char *word)
{
	return strcmp(word, "-") == 0 ? "" : word;
}

static struct probe_channel *
channel_of(struct probe *probe, const char *word)
{
	long long n = number(word);

	if (n < 0 || n >= CHANNELS_MOST)
		log_fatal(64, "there is no channel %s", word);
	return &probe->channels[n];
}

static void
result(struct probe_channel *c, enum amqp_publish_status status, struct token *token, const char *error)
{
	if (status == AMQP_PUBLISHED)
		return;
	say("%s channel=%u id=%s %s", status == AMQP_NOT_READY ? "not-ready" : "bad", c->id, token->id, status == AMQP_NOT_READY ? "" : error);
	token_free(c, token);
}

static void
do_declare(struct probe *probe, char **word)	/* declare-queue NAME | declare-exchange NAME TYPE | bind QUEUE EXCHANGE KEY */
{
	static const struct amqp_header quorum[] = { { .name = "x-queue-type", .kind = AMQP_STRING, .text = { "quorum", 6 } } };
	struct amqp_declaration *d = &probe->declarations[probe->declaration_count++];

	if (probe->declaration_count > DECLARATIONS_MOST)
		log_fatal(64, "too many declarations");
	*d = (struct amqp_declaration){ .name = xstrdup(word[1]) };
	if (strcmp(word[0], "declare-queue") == 0) {
		d->kind = AMQP_DECLARE_QUEUE;
		d->args = quorum;
		d->arg_count = ARRAY_SIZE(quorum);
	} else if (strcmp(word[0], "declare-exchange") == 0) {
		d->kind = AMQP_DECLARE_EXCHANGE;
		d->type = xstrdup(word[2]);
	} else {
		d->kind = AMQP_DECLARE_BINDING;
		d->exchange = xstrdup(word[2]);
		d->key = xstrdup(word[3]);
	}
}

static void
do_consume(struct probe *probe, char **word)	/* consume QUEUE PREFETCH */
{
	static char queue[TEXT_MOST];
	struct amqp_consumer_options options = { .conn = probe->conn, .queue = queue, .tag_prefix = "probe", .prefetch = (uint16_t)number(word[2]),
	    .declare = probe->declarations, .declare_count = probe->declaration_count, .dead_letters = probe->dead_letters };

	(void)snprintf(queue, sizeof(queue), "%s", word[1]);
	probe->consumer = amqp_consumer_new(probe->loop, &options, &consumer_events, probe);
}

static void
do_settle(struct probe *probe, char **word)	/* ack TAG | ack-all TAG | give-back TAG */
{
	uint64_t tag = (uint64_t)number(word[1]);

	if (strcmp(word[0], "give-back") == 0)
		amqp_consumer_give_back(probe->consumer, probe->generation, tag);
	else
		amqp_consumer_ack(probe->consumer, probe->generation, tag, strcmp(word[0], "ack-all") == 0);
}

static void
do_consumer(struct probe *probe, char **word)	/* what has no argument, or a number */
{
	const char *what = word[0];

	if (strcmp(what, "cancel") == 0)
		amqp_consumer_cancel(probe->consumer);
	else if (strcmp(what, "resume") == 0)
		amqp_consumer_resume(probe->consumer);
	else if (strcmp(what, "recycle") == 0)
		amqp_consumer_recycle(probe->consumer, "the test says so");
	else if (strcmp(what, "pause") == 0)
		amqp_consumer_pause_reading(probe->consumer, number(word[1]) != 0);
	else if (strcmp(what, "auto-ack") == 0)
		probe->auto_ack = (uint64_t)number(word[1]);
	else if (strcmp(what, "quiet") == 0)
		probe->quiet = number(word[1]) != 0;
	else if (strcmp(what, "dead-letters") == 0)
		probe->dead_letters = true;
	else if (strcmp(what, "free-at-delivery") == 0)
		probe->free_at_delivery = true;
	else if (strcmp(what, "old-ack") == 0)
		amqp_consumer_ack(probe->consumer, probe->generation - 1, 1, true);
	else if (strcmp(what, "free-consumer") == 0)
		amqp_consumer_free(&probe->consumer);
}

static void
do_close(struct probe *probe, char **word)	/* close MS */
{
	amqp_consumer_close(&probe->consumer, number(word[1]));
	free(probe->body);
	probe->body = NULL;
	say("closed");
}

static void
do_publisher(struct probe *probe, char **word)	/* publisher | free-publisher */
{
	if (strcmp(word[0], "publisher") == 0)
		probe->publisher = amqp_publisher_new(probe->loop, &probe->conn, &publisher_events, probe);
	else
		amqp_publisher_free(&probe->publisher);
}

static void
do_channel(struct probe *probe, char **word)	/* channel N | free-channel N */
{
	struct probe_channel *c = channel_of(probe, word[1]);

	if (strcmp(word[0], "channel") != 0) {
		amqp_channel_free(&c->channel);
		return;
	}
	c->id = (unsigned)number(word[1]);
	c->probe = probe;
	c->channel = amqp_channel_new(probe->publisher, &channel_events, c);
}

static void
do_publish(struct probe *probe, char **word)	/* publish CHANNEL EXCHANGE KEY ID BODY-SIZE [HEADER-SIZE] */
{
	struct probe_channel *c = channel_of(probe, word[1]);
	size_t body_size = (size_t)number(word[5]), header_size = word[6] == NULL ? 0 : (size_t)number(word[6]);
	char *body = xmalloc(body_size + 1), *header = xmalloc(header_size + 1), error[256];
	struct token *token = token_new(c, word[4]);
	struct amqp_header headers[] = {
		{ .name = "text", .kind = AMQP_STRING, .text = { header, header_size } },
		{ .name = "int", .kind = AMQP_INT, .number = INT64_MIN },
		{ .name = "bool", .kind = AMQP_BOOL, .number = 1 },
		{ .name = "double", .kind = AMQP_DOUBLE, .real = 0.1 },
		{ .name = "void", .kind = AMQP_VOID }
	};
	struct amqp_message m = { .exchange = slice_of(text(word[2])), .routing_key = slice_of(text(word[3])), .message_id = slice_of(text(word[4])),
	    .type = slice_of("Probed"), .content_type = slice_of("text/plain"), .content_encoding = slice_of("none"),
	    .correlation_id = slice_of("c1"), .reply_to = slice_of("r1"), .app_id = slice_of("probe"), .timestamp_s = 1700000000, .priority = 3,
	    .headers = headers, .header_count = word[6] == NULL ? 0 : ARRAY_SIZE(headers), .body = body, .body_size = body_size };

	memset(body, 'b', body_size);
	memset(header, 'h', header_size);
	result(c, amqp_channel_publish(c->channel, &m, token, error, sizeof(error)), token, error);
	free(body);
	free(header);
}

static void
do_bad(struct probe *probe, char **word)	/* bad CHANNEL WHAT SIZE: one property of that size */
{
	struct probe_channel *c = channel_of(probe, word[1]);
	size_t size = (size_t)number(word[3]);
	char *long_text = xmalloc(size + 1), error[256];
	struct token *token = token_new(c, word[2]);
	struct slice value = { long_text, size };
	struct amqp_header header = { .name = long_text, .kind = AMQP_INT };
	struct amqp_message m = { .priority = -1, .routing_key = slice_of("nowhere"), .message_id = slice_of("bad") };

	memset(long_text, 'x', size);
	long_text[size] = '\0';
	if (strcmp(word[2], "exchange") == 0)
		m.exchange = value;
	else if (strcmp(word[2], "key") == 0)
		m.routing_key = value;
	else if (strcmp(word[2], "message_id") == 0)
		m.message_id = value;
	else if (strcmp(word[2], "type") == 0)
		m.type = value;
	else if (strcmp(word[2], "app_id") == 0)
		m.app_id = value;
	else if (strcmp(word[2], "expiration") == 0)
		m.expiration = value;
	else if (strcmp(word[2], "priority") == 0)
		m.priority = (int)size;
	else if (strcmp(word[2], "timestamp") == 0)
		m.timestamp_s = -1;
	else if (strcmp(word[2], "header-name") == 0)
		m.headers = &header, m.header_count = 1;
	else if (strcmp(word[2], "body") == 0)
		m.body = long_text, m.body_size = size;
	result(c, amqp_channel_publish(c->channel, &m, token, error, sizeof(error)), token, error);
	free(long_text);
}

static void
do_load(struct probe *probe, char **word)	/* load CHANNEL EXCHANGE KEY COUNT BODY-SIZE [WINDOW] */
{
	struct probe_channel *c = channel_of(probe, word[1]);

	free(c->body);
	(void)snprintf(c->exchange, sizeof(c->exchange), "%s", text(word[2]));
	(void)snprintf(c->key, sizeof(c->key), "%s", text(word[3]));
	c->published = 0;
	c->to_publish = (uint64_t)number(word[4]);
	c->window = word[6] == NULL ? SIZE_MAX : (size_t)number(word[6]);
	memset(c->counts, 0, sizeof(c->counts));
	c->body_size = (size_t)number(word[5]);
	c->body = xmalloc(c->body_size + 1);
	memset(c->body, 'l', c->body_size);
	c->begun = clock_mono_now();
	load(c);
}

static void
do_copy(struct probe *probe, char **word)	/* copy CHANNEL TAG KEY DROP-PAWL [TEXT-SIZE] */
{
	struct probe_channel *c = channel_of(probe, word[1]);
	uint64_t tag = (uint64_t)number(word[2]);
	size_t size = word[5] == NULL ? 0 : (size_t)number(word[5]);
	char *long_text = xmalloc(2 * size + 1), error[256];
	struct token *token = token_new(c, "copy");
	struct kept *kept = probe->kept;
	struct amqp_header add[] = {
		{ .name = "x-pawl-reason", .kind = AMQP_STRING, .text = { "because", 7 } },
		{ .name = "x-pawl-text", .kind = AMQP_STRING, .text = { long_text, 2 * size } },
		{ .name = "x-pawl-attempt", .kind = AMQP_INT, .number = 3 }
	};
	struct amqp_copy copy = { .routing_key = slice_of(text(word[3])), .drop_pawl = number(word[4]) != 0, .add = add, .add_count = ARRAY_SIZE(add) };

	for (size_t i = 0; i < size; i++) {		/* two bytes a character: a cut must not be in between */
		long_text[2 * i] = '\xc3';
		long_text[2 * i + 1] = '\xa4';
	}
	while (kept != NULL && kept->tag != tag)
		kept = kept->next;
	if (kept == NULL)
		log_fatal(64, "tag %s is not kept", word[2]);
	copy.raw_properties = (struct slice){ kept->properties.data, kept->properties.len };
	copy.body = kept->body;
	copy.body_size = kept->body_size;
	result(c, amqp_channel_copy(c->channel, &copy, token, error, sizeof(error)), token, error);
	free(long_text);
}

static void
do_say(struct probe *probe, char **word)	/* count | memory | gap | unconfirmed CHANNEL */
{
	struct rusage usage;

	if (strcmp(word[0], "count") == 0) {
		say("count %" PRIu64, probe->delivered);
	} else if (strcmp(word[0], "memory") == 0) {
		(void)getrusage(RUSAGE_SELF, &usage);
		say("memory %ld KiB", usage.ru_maxrss);
	} else if (strcmp(word[0], "gap") == 0) {
		say("gap ms=%" PRId64, probe->gap_ms);
	} else {
		say("unconfirmed %zu", amqp_channel_unconfirmed(channel_of(probe, word[1])->channel));
	}
}

static void
tick(void *arg)
{
	struct probe *probe = arg;
	struct clock_mono now = clock_mono_now();
	int64_t gap_ms = clock_ms_between(probe->ticked, now);

	if (gap_ms > probe->gap_ms)
		probe->gap_ms = gap_ms;
	probe->ticked = now;
	loop_timer_set_ms(&probe->tick, TICK_MS);
}

static void
do_quit(struct probe *probe, char **word)
{
	(void)word;
	loop_stop(probe->loop);
}

static const struct command { const char *name; int arguments; void (*run)(struct probe *, char **); } command_table[] = {
	{ "declare-queue", 1, do_declare }, { "declare-exchange", 2, do_declare }, { "bind", 3, do_declare },
	{ "consume", 2, do_consume }, { "ack", 1, do_settle }, { "ack-all", 1, do_settle }, { "give-back", 1, do_settle },
	{ "cancel", 0, do_consumer }, { "resume", 0, do_consumer }, { "recycle", 0, do_consumer }, { "pause", 1, do_consumer },
	{ "auto-ack", 1, do_consumer }, { "quiet", 1, do_consumer }, { "free-at-delivery", 0, do_consumer }, { "old-ack", 0, do_consumer },
	{ "free-consumer", 0, do_consumer }, { "dead-letters", 0, do_consumer }, { "close", 1, do_close },
	{ "publisher", 0, do_publisher }, { "free-publisher", 0, do_publisher }, { "channel", 1, do_channel }, { "free-channel", 1, do_channel },
	{ "publish", 5, do_publish }, { "bad", 3, do_bad }, { "load", 5, do_load }, { "copy", 4, do_copy },
	{ "count", 0, do_say }, { "memory", 0, do_say }, { "gap", 0, do_say }, { "unconfirmed", 1, do_say }, { "quit", 0, do_quit }
};

static void
run_command(struct probe *probe, char *line)
{
	char *word[WORDS_MOST + 1] = { NULL }, *rest = line;
	int count = 0;

	while (count < WORDS_MOST && (word[count] = strsep(&rest, " ")) != NULL)
		count++;
	for (size_t i = 0; i < ARRAY_SIZE(command_table); i++) {
		if (strcmp(command_table[i].name, word[0]) == 0 && count > command_table[i].arguments) {
			command_table[i].run(probe, word);
			return;
		}
	}
	log_fatal(64, "what is \"%s\"?", word[0]);
}

static void
read_commands(void *arg, unsigned events)
{
	struct probe *probe = arg;
	char chunk[4096], *end;
	ssize_t n;

	(void)events;
	n = read(STDIN_FILENO, chunk, sizeof(chunk));
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		log_fatal(71, "could not read commands: %m");
	if (n > 0)
		buf_append(&probe->commands, chunk, (size_t)n);
	while ((end = memchr(probe->commands.data, '\n', probe->commands.len)) != NULL) {
		size_t len = (size_t)(end - probe->commands.data) + 1;

		*end = '\0';
		run_command(probe, probe->commands.data);
		buf_consume(&probe->commands, len);
	}
}

static void
on_signal(void *arg, int signal_number)
{
	struct probe *probe = arg;

	(void)signal_number;
	loop_stop(probe->loop);
}

static void
release(struct probe *probe)
{
	amqp_consumer_free(&probe->consumer);
	for (size_t i = 0; i < CHANNELS_MOST; i++) {
		amqp_channel_free(&probe->channels[i].channel);
		tokens_free(&probe->channels[i]);
		free(probe->channels[i].body);
	}
	amqp_publisher_free(&probe->publisher);
	for (struct kept *kept = probe->kept, *next; kept != NULL; kept = next) {
		next = kept->next;
		buf_release(&kept->properties);
		free(kept->body);
		free(kept);
	}
	for (size_t i = 0; i < probe->declaration_count; i++) {
		union { const char *in; char *out; } texts[] = {
			{ probe->declarations[i].name }, { probe->declarations[i].type }, { probe->declarations[i].exchange },
			{ probe->declarations[i].key }
		};

		for (size_t j = 0; j < ARRAY_SIZE(texts); j++)
			free(texts[j].out);
	}
	for (size_t i = 0; i < probe->conn.uri_count; i++)
		amqp_uri_release(&probe->uris[i]);
	buf_release(&probe->commands);
	buf_release(&probe->scratch);
	arena_release(&probe->arena);
	loop_timer_stop(&probe->tick);
	loop_free(&probe->loop);
}

int
main(int argc, char **argv)
{
	static const int signals[] = { SIGTERM, SIGINT };
	struct probe probe = { .conn = { .name = "amqp-probe", .product = "Pawl", .version = "test" } };
	struct loop_watch *watch;
	char error[256];
	int option, fd;

	while ((option = getopt(argc, argv, "c:b:t:")) != -1) {
		if (option == 'c')
			probe.conn.ca_file = optarg;
		else if (option == 'b')
			probe.conn.heartbeat_s = (int)number(optarg);
		else if (option == 't')
			probe.conn.connect_timeout_ms = number(optarg);
		else
			return 64;
	}
	if (argc - optind < 2 || argc - optind - 1 > URIS_MOST)
		return 64;
	log_init("amqp-probe", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	for (int i = optind + 1; i < argc; i++) {
		if (amqp_uri_parse(argv[i], &probe.uris[probe.conn.uri_count++], error, sizeof(error)) != 0)
			log_fatal(64, "%s", error);
	}
	probe.conn.uris = probe.uris;
	fd = open(argv[optind], O_RDWR | O_NONBLOCK);	/* for writing as well: it does not end when a writer goes */
	if (fd < 0 || dup2(fd, STDIN_FILENO) < 0)
		log_fatal(71, "could not open %s: %m", argv[optind]);
	close(fd);
	buf_init(&probe.commands);
	buf_init(&probe.scratch);
	probe.loop = loop_new();
	loop_signals(probe.loop, signals, ARRAY_SIZE(signals), on_signal, &probe);
	probe.ticked = clock_mono_now();
	loop_timer_init(&probe.tick, probe.loop, tick, &probe);
	loop_timer_set_ms(&probe.tick, TICK_MS);
	watch = loop_watch(probe.loop, STDIN_FILENO, LOOP_READ, read_commands, &probe);
	say("started %s", amqp_version());
	loop_run(probe.loop);
	loop_unwatch(&watch);
	release(&probe);
	return 0;
}
