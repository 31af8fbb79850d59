/*
 * publish.c - pawlctl publish: one message, with all that a consumer needs to tell duplicates, and not before the broker has it.
 */
#include <config.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/random.h>
#include <sysexits.h>
#include <unistd.h>

#include "ctl/ctl.h"
#include "util/amqp_publisher.h"
#include "util/clock.h"
#include "util/json_scan.h"
#include "util/loop.h"

enum { ANSWER_MS = 30 * 1000, BODY_MAX = 512 * 1024 * 1024, HEADERS_MAX = 100 };

enum { OPTION_CONFIG, OPTION_TYPE, OPTION_ID, OPTION_HEADER, OPTION_CONTENT_TYPE };
static const struct program_option options[] = {
	[OPTION_CONFIG] = CTL_CONFIG_OPTION,
	[OPTION_TYPE] = { 't', "type", "TYPE",
	    "the message's type, by which handlers are chosen; needed" },
	[OPTION_ID] = { 0, "id", "ID",
	    "message_id, by which duplicates are known (default: a new UUID)" },
	[OPTION_HEADER] = { 'H', "header", "NAME=VALUE", "a header; may be given several times" },
	[OPTION_CONTENT_TYPE] = { 0, "content-type", "TYPE",
	    "content type (default: application/json if the body is JSON)" },
};

struct publish {
	const char *config_file, *type, *id, *content_type, *bad_header;
	struct amqp_header headers[HEADERS_MAX];
	size_t header_count;
	bool too_many_headers;

	const char *exchange, *key;
	struct buf body;
	struct loop *loop;
	struct amqp_channel *channel;
	struct loop_timer timer;
	size_t failures, hosts;		/* connections that failed, and how many may */
	bool published, done, blocked;
	int status;
};

static void
set(void *arg, size_t index, const char *value)
{
	struct publish *p = arg;
	const char *equals = strchr(value, '=');

	switch (index) {
	case OPTION_CONFIG:
		p->config_file = value;
		break;
	case OPTION_TYPE:
		p->type = value;
		break;
	case OPTION_ID:
		p->id = value;
		break;
	case OPTION_CONTENT_TYPE:
		p->content_type = value;
		break;
	case OPTION_HEADER:
		if (equals == NULL || equals == value)
			p->bad_header = value;
		else if (p->header_count == HEADERS_MAX)
			p->too_many_headers = true;
		else
			p->headers[p->header_count++] = (struct amqp_header){ .kind = AMQP_STRING,
				.name = strndup(value, (size_t)(equals - value)),
				.text = slice_of(equals + 1) };
		break;
	}
}

static void	end(struct publish *, int status, const char *fmt, ...) ATTR_PRINTF(3, 4);

/* The last word; a message only when it went wrong. */
static void
end(struct publish *p, int status, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	if (p->done)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	p->done = true;
	p->status = status == EX_OK ? EX_OK : ctl_fail(status, "publish", "%s", text);
	loop_stop(p->loop);
}

static void
on_ready(void *arg)
{
	struct publish *p = arg;
	struct amqp_message message = {
		.exchange = slice_of(p->exchange),
		.routing_key = slice_of(p->key),
		.message_id = slice_of(p->id),
		.type = slice_of(p->type),
		.content_type = slice_of(p->content_type),
		.app_id = slice_of("pawlctl"),
		.timestamp_s = clock_wall_now().ms / 1000,
		.priority = -1,
		.headers = p->headers,
		.header_count = p->header_count,
		.body = p->body.data,
		.body_size = p->body.len,
	};
	char error[512];

	if (p->published || p->done)
		return;
	switch (amqp_channel_publish(p->channel, &message, p, error, sizeof(error))) {
	case AMQP_PUBLISHED:
		p->published = true;
		break;
	case AMQP_NOT_READY:		/* ready() comes again */
		break;
	case AMQP_BAD_MESSAGE:
		end(p, EX_USAGE, "cannot publish this: %s", error);
		break;
	}
}

static void
on_outcome(void *arg, void *token, enum amqp_outcome outcome, int code, struct slice text)
{
	struct publish *p = arg;

	(void)token;
	switch (outcome) {
	case AMQP_CONFIRMED:
		end(p, EX_OK, "%s", "");
		break;
	case AMQP_RETURNED:
		if (p->exchange[0] == '\0')
			end(p, EX_UNAVAILABLE,
			    "there is no queue \"%s\" (%d %.*s); pawl-worker declares its queues when it starts",
			    p->key, code, (int)text.len, text.data);
		else
			end(p, EX_UNAVAILABLE,
			    "no queue is bound to exchange \"%s\" for the routing key \"%s\" (%d %.*s); pawl-worker makes the "
			    "bindings of its queues when it starts",
			    p->exchange, p->key, code, (int)text.len, text.data);
		break;
	case AMQP_NACKED:
		end(p, EX_UNAVAILABLE,
		    "the broker could not take the message now (a full queue, or no majority of its nodes); try again");
		break;
	}
}

static void
on_down(void *arg, const struct amqp_error *error)
{
	struct publish *p = arg;

	if (error->connection || !p->published)
		return;		/* on_lost has it */
	if (error->code == 404)
		end(p, EX_UNAVAILABLE,
		    "there is no exchange \"%s\"; it must be declared first, as by a pawl-worker whose queue binds to it",
		    p->exchange);
	else
		end(p, EX_UNAVAILABLE, "the broker refused the message: %s", error->text);
}

static void
on_lost(void *arg, const struct amqp_error *error)
{
	struct publish *p = arg;

	p->failures++;
	if (p->published)
		end(p, EX_UNAVAILABLE,
		    "the connection was lost before the broker's answer; whether it has the message is not known (message_id %s): %s",
		    p->id, error->text);
	else if (error->configuration)
		end(p, EX_CONFIG, "%s", error->text);
	else if (p->failures >= p->hosts)
		end(p, EX_UNAVAILABLE, "%s", error->text);
}

static void
on_blocked(void *arg, bool blocked, struct slice reason)
{
	struct publish *p = arg;

	if (blocked && !p->blocked)
		fprintf(stderr,
		    "pawlctl publish: the broker takes no messages now (%.*s); waiting\n",
		    (int)reason.len, reason.data);
	p->blocked = blocked;
}

static void
on_connected(void *arg)
{
	(void)arg;
}

static void
on_time(void *arg)
{
	struct publish *p = arg;

	end(p, EX_UNAVAILABLE,
	    p->published
		? "the broker did not confirm within %d s; whether it has the message is not known"
		: "the broker did not answer within %d s",
	    ANSWER_MS / 1000);
}

/* EXCHANGE/KEY, or the name of a queue: of a group in the configuration, else at the broker. */
static void
set_target(struct publish *p, const struct config *config, const char *target)
{
	const char *slash = strchr(target, '/');
	const struct config_queue *queue = config_queue_find(config, target);

	p->exchange = slash == NULL ? "" : strndup(target, (size_t)(slash - target));
	p->key = slash != NULL ? slash + 1 : queue != NULL ? queue->queue : target;
}

static int
read_input(struct buf *body)
{
	for (;;) {
		ssize_t n = read(STDIN_FILENO, buf_reserve(body, 65536), 65536);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return ctl_fail(EX_IOERR, "publish", "could not read standard input: %s",
			    strerror(errno));
		if (n == 0)
			return EX_OK;
		body->len += (size_t)n;
		if (body->len > BODY_MAX)
			return ctl_fail(EX_USAGE, "publish", "the body is larger than 512 MiB");
	}
}

/* RFC 9562, version 4. */
static const char *
new_uuid(void)
{
	unsigned char b[16];

	if (getrandom(b, sizeof(b), 0) != (ssize_t)sizeof(b))
		abort();	/* never with 16 bytes */
	b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
	b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
	return xasprintf("%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
	    b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
	    b[14], b[15]);
}

static int
publish(struct publish *p, const struct config *config)
{
	const struct amqp_publisher_events events = {
		.connected = on_connected, .lost = on_lost, .blocked = on_blocked
	};
	const struct amqp_channel_events channel_events = {
		.ready = on_ready, .outcome = on_outcome, .down = on_down
	};
	const struct amqp_conn_options conn = { .uris = config->uris,
		.uri_count = config->uri_count,
		.password = config->password,
		.ca_file = config->ca_file,
		.cert_file = config->cert_file,
		.key_file = config->key_file,
		.name = "pawlctl publish",
		.product = "pawlctl",
		.version = PACKAGE_VERSION,
		.heartbeat_s = config->heartbeat_s,
		.connect_timeout_ms = 5000 };
	struct amqp_publisher *publisher;

	p->loop = loop_new();
	p->hosts = config->uri_count;
	loop_timer_init(&p->timer, p->loop, on_time, p);
	loop_timer_set_ms(&p->timer, ANSWER_MS);
	publisher = amqp_publisher_new(p->loop, &conn, &events, p);
	p->channel = amqp_channel_new(publisher, &channel_events, p);
	loop_run(p->loop);
	amqp_channel_free(&p->channel);
	amqp_publisher_free(&publisher);
	loop_free(&p->loop);
	if (p->status == EX_OK)
		printf("%s\n", p->id);
	return p->status;
}

int
ctl_publish(int argc, char **argv)
{
	static struct publish p = { .body = BUF_INIT };
	struct config *config;
	int first, operands, status = EX_OK;

	p.config_file = program_default_config();
	first = program_options(argc, argv, "pawlctl publish",
	    "[-c FILE] --type TYPE [OPTION]... QUEUE|EXCHANGE/KEY [BODY|-]", options,
	    ARRAY_SIZE(options), set, &p);
	operands = argc - first;
	if (operands < 1 || operands > 2)
		return ctl_fail(EX_USAGE, "publish",
		    "say where to: a queue's name, or EXCHANGE/KEY; then the body, or - to read it from standard input");
	if (p.type == NULL || p.type[0] == '\0')
		return ctl_fail(
		    EX_USAGE, "publish", "--type is missing: handlers are chosen by it");
	if (p.bad_header != NULL)
		return ctl_fail(EX_USAGE, "publish", "header \"%s\" is not of the form NAME=VALUE",
		    p.bad_header);
	if (p.too_many_headers)
		return ctl_fail(EX_USAGE, "publish", "more than %d headers", HEADERS_MAX);
	if (p.id != NULL && p.id[0] == '\0')
		return ctl_fail(EX_USAGE, "publish", "--id must not be empty");
	config = program_config(p.config_file);
	if (config == NULL)
		return EX_CONFIG;
	set_target(&p, config, argv[first]);
	if (operands == 2 && strcmp(argv[first + 1], "-") == 0)
		status = read_input(&p.body);
	else if (operands == 2)
		buf_puts(&p.body, argv[first + 1]);
	if (p.id == NULL)
		p.id = new_uuid();
	if (p.content_type == NULL && json_scan_check((struct slice){ p.body.data, p.body.len }, NULL) == JSON_OK)
		p.content_type = "application/json";
	else if (p.content_type == NULL)
		p.content_type = "";
	if (status == EX_OK)
		status = publish(&p, config);
	buf_release(&p.body);
	config_free(&config);
	return ctl_end(status, "publish");
}
