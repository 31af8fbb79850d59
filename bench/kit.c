/*
 * kit.c - what the contestants of the benchmark share. See kit.h.
 */
#include "bench/kit.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#ifdef HAVE_RABBITMQ_C_AMQP_H
#include <rabbitmq-c/tcp_socket.h>
#else
#include <amqp_tcp_socket.h>
#endif

enum { CHANNEL = 1, FRAME_MAX = 131072, HEARTBEAT_S = 60, PERSISTENT = 2 };

void
die(const char *format, ...)
{
	va_list args;

	fprintf(stderr, "%s: ", program_invocation_short_name);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

unsigned
kit_number(const char *text, const char *what)
{
	char *end;
	unsigned long n;

	errno = 0;
	n = strtoul(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || n < 1 || n > 1000000000)
		die("%s: 1 .. 1000000000, not \"%s\"", what, text);
	return (unsigned)n;
}

static amqp_bytes_t
bytes(const char *text)
{
	return amqp_cstring_bytes(text);
}

void
kit_rpc_check(amqp_connection_state_t broker, const char *what)
{
	amqp_rpc_reply_t reply = amqp_get_rpc_reply(broker);

	if (reply.reply_type == AMQP_RESPONSE_NORMAL)
		return;
	if (reply.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION &&
	    reply.reply.id == AMQP_CHANNEL_CLOSE_METHOD) {
		const amqp_channel_close_t *closed = reply.reply.decoded;

		die("could not %s: %d %.*s", what, closed->reply_code, (int)closed->reply_text.len,
		    (const char *)closed->reply_text.bytes);
	}
	if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION)
		die("could not %s: %s", what, amqp_error_string2(reply.library_error));
	die("could not %s: the broker closed the connection", what);
}

amqp_connection_state_t
kit_broker(const char *uri)
{
	struct amqp_connection_info to;
	amqp_connection_state_t broker = amqp_new_connection();
	amqp_socket_t *socket = broker == NULL ? NULL : amqp_tcp_socket_new(broker);
	amqp_rpc_reply_t reply;
	char *copy = strdup(uri);
	int status;

	if (socket == NULL || copy == NULL)
		die("out of memory");
	status = amqp_parse_url(copy, &to);
	if (status != AMQP_STATUS_OK || to.ssl)
		die("cannot use the broker's address \"%s\"", uri);
	status = amqp_socket_open(socket, to.host, to.port);
	if (status != AMQP_STATUS_OK)
		die("could not connect to %s:%d: %s", to.host, to.port, amqp_error_string2(status));
	reply = amqp_login(broker, to.vhost, 0, FRAME_MAX, HEARTBEAT_S, AMQP_SASL_METHOD_PLAIN,
	    to.user, to.password);
	if (reply.reply_type != AMQP_RESPONSE_NORMAL)
		die("could not log in to the broker");
	amqp_channel_open(broker, CHANNEL);
	kit_rpc_check(broker, "open a channel");
	free(copy);
	return broker;
}

void
kit_consume(amqp_connection_state_t broker, const char *queue, uint16_t prefetch)
{
	amqp_basic_qos(broker, CHANNEL, 0, prefetch, false);
	kit_rpc_check(broker, "set the prefetch");
	amqp_basic_consume(broker, CHANNEL, bytes(queue), amqp_empty_bytes, false, false, false,
	    amqp_empty_table);
	kit_rpc_check(broker, "consume");
}

void
kit_broker_close(amqp_connection_state_t broker)
{
	amqp_channel_close(broker, CHANNEL, AMQP_REPLY_SUCCESS);
	amqp_connection_close(broker, AMQP_REPLY_SUCCESS);
	amqp_destroy_connection(broker);
}

bool
kit_frame(amqp_connection_state_t broker, amqp_frame_t *frame, bool wait)
{
	struct timeval now = { 0, 0 };
	amqp_method_number_t method;
	int status;

	amqp_maybe_release_buffers_on_channel(broker, CHANNEL);
	status = amqp_simple_wait_frame_noblock(broker, frame, wait ? NULL : &now);
	if (status == AMQP_STATUS_TIMEOUT)
		return false;
	if (status != AMQP_STATUS_OK)
		die("lost the broker: %s", amqp_error_string2(status));
	method = frame->frame_type == AMQP_FRAME_METHOD ? frame->payload.method.id : 0;
	if (method == AMQP_CHANNEL_CLOSE_METHOD || method == AMQP_CONNECTION_CLOSE_METHOD ||
	    method == AMQP_BASIC_CANCEL_METHOD)
		die("the broker ended it: %s", amqp_method_name(method));
	return true;
}

void
kit_confirms_start(amqp_connection_state_t broker, struct kit_confirms *confirms)
{
	memset(confirms, 0, sizeof(*confirms));
	confirms->next = confirms->low = 1;
	amqp_confirm_select(broker, CHANNEL);
	kit_rpc_check(broker, "ask for confirms");
}

static void
confirmed(struct kit_confirms *confirms, const amqp_basic_ack_t *ack)
{
	uint64_t tag = ack->delivery_tag;

	if (tag < confirms->low || tag >= confirms->next)
		die("the broker confirmed %llu, which is not out", (unsigned long long)tag);
	if (ack->multiple) {
		while (confirms->low <= tag)
			confirms->done[confirms->low++ % KIT_WINDOW] = false;
	} else {
		confirms->done[tag % KIT_WINDOW] = true;
	}
	while (confirms->done[confirms->low % KIT_WINDOW])
		confirms->done[confirms->low++ % KIT_WINDOW] = false;
}

void
kit_confirms_wait(
    amqp_connection_state_t broker, struct kit_confirms *confirms, uint64_t unconfirmed)
{
	amqp_frame_t frame;

	while (confirms->next - confirms->low > unconfirmed) {
		kit_frame(broker, &frame, true);
		if (frame.frame_type != AMQP_FRAME_METHOD)
			continue;
		if (frame.payload.method.id != AMQP_BASIC_ACK_METHOD)
			die("the broker answered a publish with %s",
			    amqp_method_name(frame.payload.method.id));
		confirmed(confirms, frame.payload.method.decoded);
	}
}

amqp_table_entry_t
kit_text(const char *name, const char *value)
{
	return (amqp_table_entry_t){
		.key = bytes(name),
		.value = { .kind = AMQP_FIELD_KIND_UTF8, .value.bytes = bytes(value) },
	};
}

void
kit_publish(amqp_connection_state_t broker, struct kit_confirms *confirms, const char *exchange,
    const char *key, const struct kit_event *event)
{
	amqp_table_entry_t headers[] = {
		kit_text("aggregatetype", event->aggregatetype),
		kit_text("aggregateid", event->aggregateid),
	};
	amqp_basic_properties_t properties = {
		._flags = AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_HEADERS_FLAG |
		    AMQP_BASIC_DELIVERY_MODE_FLAG | AMQP_BASIC_MESSAGE_ID_FLAG |
		    AMQP_BASIC_TIMESTAMP_FLAG | AMQP_BASIC_TYPE_FLAG,
		.content_type = bytes("application/json"),
		.headers = { .num_entries = 2, .entries = headers },
		.delivery_mode = PERSISTENT,
		.message_id = bytes(event->id),
		.timestamp = event->timestamp_s,
		.type = bytes(event->type),
	};
	amqp_bytes_t body = { .len = event->body_size, .bytes = (void *)(uintptr_t)event->body };
	int status;

	status = amqp_basic_publish(broker, CHANNEL, bytes(exchange), bytes(key), true, false,
	    &properties, body);
	if (status != AMQP_STATUS_OK)
		die("could not publish: %s", amqp_error_string2(status));
	confirms->next++;
}

PGconn *
kit_database(const char *conninfo)
{
	PGconn *database = PQconnectdb(conninfo);

	if (PQstatus(database) != CONNECTION_OK)
		die("could not connect to the database: %s", PQerrorMessage(database));
	return database;
}

static PGresult *
checked(PGconn *database, PGresult *result, ExecStatusType expected, const char *what)
{
	if (PQresultStatus(result) != expected)
		die("could not run \"%s\": %s", what, PQerrorMessage(database));
	return result;
}

void
kit_prepare(PGconn *database, const char *name, const char *sql)
{
	PQclear(checked(database, PQprepare(database, name, sql, 0, NULL), PGRES_COMMAND_OK, sql));
}

PGresult *
kit_run(PGconn *database, ExecStatusType expected, const char *prepared, int n,
    const char *const *values)
{
	return checked(database, PQexecPrepared(database, prepared, n, values, NULL, NULL, 0),
	    expected, prepared);
}

void
kit_command(PGconn *database, const char *sql)
{
	PQclear(checked(database, PQexec(database, sql), PGRES_COMMAND_OK, sql));
}

static char *
field(char *body, size_t size, const char *name)
{
	char *value = memmem(body, size, name, strlen(name));
	size_t len;

	if (value == NULL)
		die("a message without %s", name);
	value += strlen(name);
	if (*value == '"')
		value++;
	len = strcspn(value, "\",}");
	value[len] = '\0';
	return value;
}

void
kit_upsert_values(char *body, size_t size, const char *values[KIT_UPSERT_PARAMS])
{
	values[0] = field(body, size, "\"id\":");
	values[1] = field(body, size, "\"aggregate\":");
	values[2] = field(body, size, "\"total\":");
}
