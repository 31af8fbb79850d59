/*
 * config_keys.c - the table of all configuration keys, and looking things up in it.
 */
#include "common/config_keys.h"

#include <ctype.h>
#include <limits.h>

#include "common/config_read.h"
#include "common/config_value.h"
#include "common/envelope.h"
#include "common/outbox_table.h"

enum { KIB = 1024, SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE };
#define MIB ((int64_t)1024 * KIB)
#define DAY ((int64_t)24 * HOUR)
enum { NAME_MAX_BYTES = 63, QUEUE_NAME_MAX = 250, SHORT_MAX = 255, TEXT_MAX = 4096 };	/* QUEUE.dead must be a short string, too */

bool
config_name_check(const char *text, char *error, size_t error_size)
{
	size_t len = strlen(text);

	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)text[i]) && strchr("_.-", text[i]) == NULL) {
			snprintf(error, error_size, "a name is made of letters, digits, '_', '.' and '-'");
			return false;
		}
	if (len == 0 || len > NAME_MAX_BYTES) {
		snprintf(error, error_size, "a name has 1 to %d characters", NAME_MAX_BYTES);
		return false;
	}
	return true;
}

static bool
check_queue_name(const char *text, char *error, size_t error_size)
{
	if (strncmp(text, "amq.", 4) == 0) {
		snprintf(error, error_size, "names that begin with \"amq.\" belong to the broker; choose another one");
		return false;
	}
	return true;
}

static bool
check_exchange_name(const char *text, char *error, size_t error_size)
{
	if (text[0] == '\0') {
		snprintf(error, error_size, "the default exchange has no bindings: every queue gets what is published to \"\" with its name as "
		    "routing key; leave the bind out");
		return false;
	}
	return true;
}

static bool
check_run_dir(const char *text, char *error, size_t error_size)
{
	if (text[0] != '/') {
		snprintf(error, error_size, "must be an absolute path");
		return false;
	}
	return true;
}

static bool
check_source(const char *text, unsigned allowed, const char *forms, char *error, size_t error_size)
{
	struct envelope_spec spec;

	if (envelope_spec_parse(text, &spec) < 0 || (allowed & 1u << spec.source) == 0) {
		snprintf(error, error_size, "must be %s", forms);
		return false;
	}
	return true;
}

static bool
check_key(const char *text, char *error, size_t error_size)
{
	return check_source(text, 1u << SOURCE_MESSAGE_ID | 1u << SOURCE_HEADER | 1u << SOURCE_JSON,
	    "\"message_id\", \"header:NAME\" or \"json:/pointer\"", error, error_size);
}

static bool
check_aggregate(const char *text, char *error, size_t error_size)
{
	return check_source(text, 1u << SOURCE_ROUTING_KEY | 1u << SOURCE_HEADER, "\"routing_key\" or \"header:NAME\"", error, error_size);
}

static bool
check_type_from(const char *text, char *error, size_t error_size)
{
	return check_source(text, 1u << SOURCE_TYPE | 1u << SOURCE_ROUTING_KEY | 1u << SOURCE_HEADER,
	    "\"type\", \"routing_key\" or \"header:NAME\"", error, error_size);
}

static bool
check_template(const char *text, char *error, size_t error_size)
{
	struct outbox_template template;
	struct arena arena = ARENA_INIT;
	int status = outbox_template_parse(text, &arena, &template, error, error_size);

	arena_release(&arena);
	return status == 0;
}

#define IN(section, member)	.offset = offsetof(struct section, member)
#define LIST(section, member, n) .offset = offsetof(struct section, member), .count_offset = offsetof(struct section, n)

#define COLUMN(name, role, text) { "outboxes.*.columns." name, KEY_TEXT, KEY_EMPTY, .max = NAME_MAX_BYTES, \
	    .offset = offsetof(struct config_outbox, columns[role]), .shown = name ", if there is such a column", .manual = text }

const struct config_key config_keys[] = {
	{ "name", KEY_TEXT, .max = NAME_MAX_BYTES, IN(config_top, config.name), .check = config_name_check, .shown = "the file's name without \".conf\"",
	    .manual = "name of this installation: in the names of the statistics files and of the connections at the broker" },
	{ "run_dir", KEY_TEXT, .max = TEXT_MAX, IN(config_top, config.run_dir), .check = check_run_dir,
	    .shown = "$RUNTIME_DIRECTORY, /run/pawl, $XDG_RUNTIME_DIR, /tmp/pawl-UID: the first that can be written",
	    .manual = "directory of the statistics files, which pawlctl status reads" },

	{ "log", KEY_GROUP, .manual = "what is logged on standard error" },
	{ "log.level", KEY_WORD, .fallback = "info", .words = "error warning info debug", IN(config_top, config.log_level),
	    .manual = "the least important lines that are logged" },
	{ "log.format", KEY_WORD, .fallback = "text", .words = "text json", IN(config_top, config.log_format), .manual = "key=value pairs, or one JSON object a line" },

	{ "broker", KEY_GROUP, KEY_REQUIRED, .manual = "where RabbitMQ is, and how to log in" },
	{ "broker.uri", KEY_TEXT, KEY_EXPAND | KEY_SECRET, .max = TEXT_MAX, IN(config_top, uri), .shown = "none; this or uris is needed",
	    .manual = "where it is: amqp[s]://USER[:PASSWORD]@HOST[:PORT][/VHOST]; the virtual host \"/\" is written %2f" },
	{ "broker.uris", KEY_TEXTS, KEY_EXPAND | KEY_SECRET, .max = 32, LIST(config_top, uris, uri_count), .shown = "none",
	    .manual = "several nodes of one cluster; one is chosen at random, the next one after a loss" },
	{ "broker.password_file", KEY_TEXT, KEY_EXPAND, .max = TEXT_MAX, IN(config_top, password_file), .shown = "none; the password of the URI",
	    .manual = "file with the password, not readable by others; a relative name is a systemd credential, or beside this file" },
	{ "broker.ca_file", KEY_TEXT, KEY_EXPAND, .max = TEXT_MAX, IN(config_top, config.ca_file), .shown = "none; the system's authorities",
	    .manual = "PEM file of the authorities that may vouch for the broker (amqps)" },
	{ "broker.cert_file", KEY_TEXT, KEY_EXPAND, .max = TEXT_MAX, IN(config_top, config.cert_file), .shown = "none",
	    .manual = "PEM file of the client's certificate; key_file belongs to it" },
	{ "broker.key_file", KEY_TEXT, KEY_EXPAND, .max = TEXT_MAX, IN(config_top, config.key_file), .shown = "none",
	    .manual = "PEM file of the client's private key" },
	{ "broker.heartbeat", KEY_DURATION, .fallback = "15s", .min = SECOND, .max = MINUTE, IN(config_top, heartbeat_ms),
	    .manual = "a broker that is silent for twice as long is lost; whole seconds" },

	{ "database", KEY_GROUP, .manual = "the PostgreSQL database of queues and outboxes that name none" },
	{ "database.conninfo", KEY_TEXT, KEY_EXPAND | KEY_SECRET | KEY_EMPTY, .max = TEXT_MAX, IN(config_top, config.conninfo), .shown = "none",
	    .manual = "as libpq takes it: \"service=orders\", \"host=/run/postgresql dbname=orders\", a URI; \"\" is libpq's environment" },

	{ "defaults", KEY_GROUP, .manual = "any key of a queue but queue, bind and handlers: for the queues that do not say it" },

	{ "queues", KEY_GROUPS, LIST(config_top, config.queues, config.queue_count), .size = sizeof(struct config_queue), .max = 1000,
	    .manual = "what pawl-worker consumes, a group each; its name is the consumer in logs, statistics and the inbox: never rename it" },
	{ "queues.*.queue", KEY_TEXT, KEY_QUEUE_ONLY, .max = QUEUE_NAME_MAX, IN(config_queue, queue), .check = check_queue_name,
	    .shown = "the group's name", .manual = "name of the queue at the broker" },
	{ "queues.*.conninfo", KEY_TEXT, KEY_EXPAND | KEY_SECRET | KEY_EMPTY, .max = TEXT_MAX, IN(config_queue, conninfo), .shown = "database.conninfo",
	    .manual = "the database that holds the inbox and gets the effects" },
	{ "queues.*.slots", KEY_INT, .fallback = "2", .min = 1, .max = 64, IN(config_queue, slots),
	    .manual = "processes that handle messages side by side, each with a database session" },
	{ "queues.*.batch", KEY_INT, .fallback = "250", .min = 1, .max = 1000, IN(config_queue, batch),
	    .manual = "most messages in one transaction" },
	{ "queues.*.prefetch", KEY_INT, .min = 1, .max = 65535, IN(config_queue, prefetch), .shown = "4 x slots x batch, 2000 at most",
	    .manual = "most messages that the broker hands out ahead" },
	{ "queues.*.timeout", KEY_DURATION, .fallback = "30s", .min = 100, .max = DAY, IN(config_queue, timeout_ms),
	    .manual = "longest that a handler may take for one message before it is killed; the database's time limits follow it" },
	{ "queues.*.shutdown_timeout", KEY_DURATION, .fallback = "30s", .max = HOUR, IN(config_queue, shutdown_timeout_ms),
	    .manual = "longest wait for what is being handled when the worker is told to stop" },
	{ "queues.*.consumer_timeout", KEY_DURATION, .fallback = "30m", .min = MINUTE, .max = 30 * DAY, IN(config_queue, consumer_timeout_ms),
	    .manual = "the broker's own consumer_timeout, if it was changed there" },
	{ "queues.*.max_body", KEY_SIZE, .fallback = "16MiB", .min = 1, .max = 256 * MIB, IN(config_queue, max_body_bytes),
	    .manual = "a message with a larger body is a dead letter (too_large)" },
	{ "queues.*.memory_limit", KEY_SIZE, KEY_NONE, .fallback = "none", .min = 64 * MIB, .max = 1024 * 1024 * MIB, IN(config_queue, memory_limit_bytes),
	    .manual = "most address space of a slot" },
	{ "queues.*.max_messages", KEY_INT, .fallback = "0", .min = 0, .max = 1000000000, IN(config_queue, max_messages),
	    .manual = "a slot ends in order after so many messages, and a new one takes its place; 0: never" },
	{ "queues.*.key", KEY_TEXT, .fallback = "message_id", .max = SHORT_MAX, IN(config_queue, key), .check = check_key,
	    .manual = "the idempotency key: \"message_id\", \"header:NAME\", \"json:/pointer\"" },
	{ "queues.*.missing_key", KEY_WORD, .fallback = "dead-letter", .words = "dead-letter process", IN(config_queue, missing_key),
	    .manual = "what becomes of a message without a key; processed ones are not protected against being handled twice" },
	{ "queues.*.dedup", KEY_WORD, .fallback = "postgres", .words = "postgres none", IN(config_queue, dedup),
	    .manual = "where keys are remembered; \"none\" is for questions that are only answered" },
	{ "queues.*.aggregate", KEY_TEXT, .fallback = "header:aggregateid", .max = SHORT_MAX, IN(config_queue, aggregate), .check = check_aggregate,
	    .manual = "what belongs together and goes to one slot: \"header:NAME\", \"routing_key\"" },
	{ "queues.*.type_from", KEY_TEXT, .fallback = "type", .max = SHORT_MAX, IN(config_queue, type_from), .check = check_type_from,
	    .manual = "where a message's type is: \"type\" (the property), \"routing_key\", \"header:NAME\"" },
	{ "queues.*.order", KEY_WORD, .fallback = "none", .words = "none", .later = "aggregate strict", IN(config_queue, order),
	    .manual = "what waits behind a message that failed: \"none\", nothing" },
	{ "queues.*.declare", KEY_BOOL, .fallback = "true", IN(config_queue, declare),
	    .manual = "whether queue, dead letter queue, exchanges and bindings are declared; false for a queue that others own, or that exists with other arguments (the error lists those of Pawl)" },
	{ "queues.*.bind", KEY_GROUP_LIST, KEY_QUEUE_ONLY, LIST(config_queue, binds, bind_count), .size = sizeof(struct config_bind), .max = 1000,
	    .shown = "none", .manual = "bindings of the queue, and their exchanges: a list of groups" },
	{ "queues.*.bind.[].exchange", KEY_TEXT, KEY_REQUIRED | KEY_EMPTY, .max = SHORT_MAX, IN(config_bind, exchange), .check = check_exchange_name,
	    .manual = "name of the exchange; it is declared durable" },
	{ "queues.*.bind.[].key", KEY_TEXT, KEY_EMPTY, .fallback = "", .max = SHORT_MAX, IN(config_bind, key), .shown = "\"\"; needed for \"topic\" and \"direct\"",
	    .manual = "binding key" },
	{ "queues.*.bind.[].kind", KEY_TEXT, .fallback = "topic", .max = SHORT_MAX, IN(config_bind, kind), .words = "topic direct fanout headers",
	    .manual = "type of the exchange" },
	{ "queues.*.retry", KEY_GROUP, .manual = "how often and when a message that failed is tried again" },
	{ "queues.*.retry.attempts", KEY_INT, .fallback = "6", .min = 1, .max = 1000, IN(config_queue, attempts),
	    .manual = "how often a message is tried, the first time included" },
	{ "queues.*.retry.delays", KEY_DURATIONS, .fallback = "1s 5s 30s 2m", .min = 0, .max = 7 * DAY, LIST(config_queue, delays_ms, delay_count),
	    .manual = "waits before the second, third ... try; the last one repeats" },
	{ "queues.*.crash_attempts", KEY_INT, .fallback = "2", .min = 1, .max = 100, IN(config_queue, crash_attempts),
	    .manual = "how often a message may kill its slot, by a crash or by its timeout, before it is a dead letter" },
	{ "queues.*.inbox_retention", KEY_DURATION, .fallback = "7d", .min = MINUTE, .max = 3650 * DAY, IN(config_queue, inbox_retention_ms),
	    .manual = "how long a key is remembered; a duplicate that comes later is handled again" },
	{ "queues.*.handlers", KEY_GROUPS, KEY_REQUIRED | KEY_QUEUE_ONLY, LIST(config_queue, handlers, handler_count),
	    .size = sizeof(struct config_handler), .max = 63, .manual = "who handles which messages, a group each; its name is in logs and statistics" },
	{ "queues.*.handlers.*.type", KEY_TEXTS, KEY_REQUIRED, .max = 256, LIST(config_handler, types, type_count),
	    .manual = "message type, or a list of them; \"*\" is all that no other handler of the queue has" },
	{ "queues.*.handlers.*.use", KEY_TEXT, KEY_REQUIRED, .max = TEXT_MAX, IN(config_handler, use),
	    .manual = "an installed handler (\"sql\"), a file beside this one (\"./x.so\") or anywhere (\"/srv/x.so\"), or \"ignore\"" },
	{ "queues.*.handlers.*.config", KEY_FREE, LIST(config_handler, pairs, pair_count), .shown = "none",
	    .manual = "the handler's own settings; its manual has them" },

	{ "outboxes", KEY_GROUPS, LIST(config_top, config.outboxes, config.outbox_count), .size = sizeof(struct config_outbox), .max = 1000,
	    .manual = "what pawl-relay publishes, a group each; its name is in logs and statistics" },
	{ "outboxes.*.conninfo", KEY_TEXT, KEY_EXPAND | KEY_SECRET | KEY_EMPTY, .max = TEXT_MAX, IN(config_outbox, conninfo), .shown = "database.conninfo",
	    .manual = "the database that holds the outbox" },
	{ "outboxes.*.table", KEY_TEXT, .fallback = "pawl.outbox", .max = SHORT_MAX, IN(config_outbox, table),
	    .manual = "the table: SCHEMA.TABLE, as it is written or as SQL quotes it" },
	{ "outboxes.*.columns", KEY_GROUP, .manual = "which column of the table plays which part; \"\" is for a part that the table does not have" },
	COLUMN("seq", OUTBOX_SEQ, "the order: an integer that is unique; without one the table is read by order_by"),
	COLUMN("id", OUTBOX_ID, "message_id, if it is a uuid; else OUTBOX/ID is"),
	COLUMN("aggregatetype", OUTBOX_AGGREGATE_TYPE, "with aggregateid the unit of order; a header"),
	COLUMN("aggregateid", OUTBOX_AGGREGATE_ID, "events with the same one are published one after the other; a header"),
	COLUMN("type", OUTBOX_TYPE, "type of the message"),
	COLUMN("payload", OUTBOX_PAYLOAD, "the body, of any type; bytea goes as it is"),
	COLUMN("headers", OUTBOX_HEADERS, "headers: a JSON object"),
	COLUMN("created_at", OUTBOX_CREATED, "timestamp of the message"),
	COLUMN("not_before", OUTBOX_NOT_BEFORE, "the event is not published earlier"),
	COLUMN("content_type", OUTBOX_CONTENT_TYPE, "content_type; where it is null the outbox's"),
	COLUMN("priority", OUTBOX_PRIORITY, "priority: an integer from 0 to 255"),
	COLUMN("expiration", OUTBOX_EXPIRATION, "how long a queue keeps the message: milliseconds, or an interval"),
	COLUMN("traceparent", OUTBOX_TRACEPARENT, "header traceparent, instead of that in headers"),
	{ "outboxes.*.order_by", KEY_TEXT, .max = NAME_MAX_BYTES, IN(config_outbox, order_by), .shown = "seq, else an integer id, else created_at",
	    .manual = "the column in whose order a table without seq is read; equal ones by id" },
	{ "outboxes.*.sent", KEY_TEXT, .max = NAME_MAX_BYTES, IN(config_outbox, sent), .shown = "none; published rows are deleted",
	    .manual = "boolean or timestamp that is set in rows that were published, instead of deleting them" },
	{ "outboxes.*.retention", KEY_DURATION, KEY_NONE, .fallback = "none", .min = MINUTE, .max = 3650 * DAY, IN(config_outbox, retention_ms),
	    .manual = "how long rows that were published are kept, where sent marks them" },
	{ "outboxes.*.content_type", KEY_TEXT, .max = SHORT_MAX, IN(config_outbox, content_type), .shown = "by the payload's type",
	    .manual = "content_type of the messages" },
	{ "outboxes.*.envelope", KEY_WORD, .fallback = "none", .words = "none cloudevents", IN(config_outbox, envelope),
	    .manual = "\"cloudevents\": headers of CloudEvents 1.0, binary mode, as well" },
	{ "outboxes.*.source", KEY_TEXT, .max = TEXT_MAX, IN(config_outbox, source), .check = check_template, .shown = "/ and the outbox's name",
	    .manual = "source of CloudEvents; a template" },
	{ "outboxes.*.exchange", KEY_TEXT, KEY_REQUIRED | KEY_EMPTY, .max = TEXT_MAX, IN(config_outbox, exchange),
	    .check = check_template, .manual = "exchange to publish to; a template: \"orders\", \"{aggregatetype}\". It must exist; \"\" is the default exchange" },
	{ "outboxes.*.routing_key", KEY_TEXT, KEY_EMPTY, .fallback = "{type}", .max = TEXT_MAX, IN(config_outbox, routing_key),
	    .check = check_template, .manual = "routing key; a template over the table's columns, and {header:NAME}" },
	{ "outboxes.*.order", KEY_WORD, .fallback = "aggregate", .words = "none aggregate", IN(config_outbox, order),
	    .manual = "\"aggregate\": events of one aggregate one after the other; \"none\": as they come, faster" },
	{ "outboxes.*.unroutable", KEY_WORD, .fallback = "hold", .words = "hold park drop", IN(config_outbox, unroutable),
	    .manual = "what becomes of an event that no queue takes: \"hold\", it waits and with it its aggregate; \"park\", it is put into"
	    " pawl.outbox_dead; \"drop\", it is deleted" },
	{ "outboxes.*.refused", KEY_WORD, .fallback = "hold", .words = "hold park", IN(config_outbox, refused),
	    .manual = "the same of an event that cannot be a message: too large, or with a header that cannot be one" },
	{ "outboxes.*.window", KEY_INT, .fallback = "1000", .min = 1, .max = 10000, IN(config_outbox, window),
	    .manual = "most events that are published and not yet confirmed" },
	{ "outboxes.*.max_body", KEY_SIZE, .fallback = "16MiB", .min = 1, .max = 128 * MIB, IN(config_outbox, max_body_bytes),
	    .manual = "largest payload that is published; brokers from 4.0 on take 16 MiB unless told otherwise" },
	{ "outboxes.*.poll_min", KEY_DURATION, .fallback = "5ms", .min = 1, .max = MINUTE, IN(config_outbox, poll_min_ms),
	    .manual = "wait between two looks at the table while events come" },
	{ "outboxes.*.poll_max", KEY_DURATION, .fallback = "250ms", .min = 1, .max = MINUTE, IN(config_outbox, poll_max_ms),
	    .manual = "the same when none came for a while" },
	{ "outboxes.*.doorbell", KEY_BOOL, .fallback = "false", IN(config_outbox, doorbell),
	    .manual = "be told of the first event after a silence at once, by a trigger on the table" },
};
const size_t config_keys_count = ARRAY_SIZE(config_keys);

const char *
config_keys_name(const struct config_key *key, const char *section)
{
	size_t len = strlen(section);
	const char *name = key->path;

	if (len > 0) {
		if (strncmp(key->path, section, len) != 0 || key->path[len] != '.')
			return NULL;
		name = key->path + len + 1;
	}
	return strchr(name, '.') == NULL && name[0] != '*' ? name : NULL;
}

const struct config_key *
config_keys_find(const char *section, const char *name)
{
	for (size_t i = 0; i < config_keys_count; i++) {
		const char *own = config_keys_name(&config_keys[i], section);

		if (own != NULL && strcmp(own, name) == 0)
			return &config_keys[i];
	}
	return NULL;
}

/* Edits that lead from one to the other; a swap of neighbours is one. Both are shorter than 64. */
static unsigned
distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
	unsigned rows[3][NAME_MAX_BYTES + 2];
	unsigned *before = rows[0], *last = rows[1], *now = rows[2];

	for (size_t j = 0; j <= b_len; j++)
		last[j] = before[j] = (unsigned)j;
	for (size_t i = 1; i <= a_len; i++) {
		now[0] = (unsigned)i;
		for (size_t j = 1; j <= b_len; j++) {
			unsigned best = last[j - 1] + (tolower((unsigned char)a[i - 1]) != tolower((unsigned char)b[j - 1]));

			if (last[j] + 1 < best)
				best = last[j] + 1;
			if (now[j - 1] + 1 < best)
				best = now[j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < best)
				best = before[j - 2] + 1;
			now[j] = best;
		}
		unsigned *oldest = before;

		before = last;
		last = now;
		now = oldest;
	}
	return last[b_len];
}

const char *
config_keys_nearest(const char *section, const char *name)
{
	const char *nearest = NULL;
	size_t len = strlen(name);
	unsigned least = 4;

	if (len > NAME_MAX_BYTES)
		return NULL;
	for (size_t i = 0; i < config_keys_count; i++) {
		const char *own = config_keys_name(&config_keys[i], section);

		if (own == NULL)
			continue;
		size_t own_len = strlen(own);
		unsigned d = distance(name, len, own, own_len);

		if (d > 1 && len >= 4 && own_len > len && memcmp(own, name, len) == 0)
			d = 1;		/* "password" of "password_file" */
		if (d < least && d <= (own_len + 1) / 2) {
			least = d;
			nearest = own;
		}
	}
	return nearest;
}

const char *
config_keys_allowed(const struct config_key *key, struct arena *arena)
{
	const char *none = (key->flags & KEY_NONE) != 0 ? " or none" : "";
	struct buf words = BUF_INIT;
	const char *text;

	switch (key->type) {
	case KEY_INT:
		return arena_printf(arena, "%lld to %lld", (long long)key->min, (long long)key->max);
	case KEY_DURATION:
	case KEY_DURATIONS:
		return arena_printf(arena, "%s to %s%s", config_duration_text(arena, key->min), config_duration_text(arena, key->max), none);
	case KEY_SIZE:
		return arena_printf(arena, "%s to %s%s", config_size_text(arena, key->min), config_size_text(arena, key->max), none);
	case KEY_BOOL:
		return "true, false";
	default:
		break;
	}
	for (const char *c = key->words != NULL ? key->words : ""; *c != '\0'; c++)
		buf_puts(&words, *c == ' ' ? ", " : (char[2]){ *c });
	text = arena_strdup(arena, words.data);
	buf_release(&words);
	return text;
}

const char *
key_type_text(enum key_type type)
{
	switch (type) {
	case KEY_TEXT:
		return "a text in quotes";
	case KEY_WORD:
		return "a word in quotes";
	case KEY_BOOL:
		return "true or false, without quotes";
	case KEY_INT:
		return "a whole number, without quotes";
	case KEY_DURATION:
		return "a duration in quotes, such as \"30s\"";
	case KEY_SIZE:
		return "a size in quotes, such as \"64MiB\"";
	case KEY_TEXTS:
		return "a list of texts: [ \"...\", \"...\" ]";
	case KEY_DURATIONS:
		return "a list of durations: [ \"1s\", \"5s\" ]";
	case KEY_GROUP:
		return "a group: { ... }";
	case KEY_GROUPS:
		return "a group of named groups: { NAME: { ... }; }";
	case KEY_GROUP_LIST:
		return "a list of groups: ( { ... }, { ... } )";
	case KEY_FREE:
		return "a group: { ... }";
	}
	return "?";
}
