/*
 * amqp_error.c - says what went wrong: with whom, what was tried, the broker's words, and whether
 * only the configuration can cure it.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "util/amqp_conn_internal.h"

/* As much of it as there is room for. */
static void
append(struct amqp_error *error, const char *raw)
{
	size_t len = strlen(error->text);

	for (const char *p = raw; *p != '\0' && len + 5 < sizeof(error->text); p++) {
		if ((unsigned char)*p >= 0x20 && *p != 0x7f) {
			error->text[len++] = *p;
		} else {
			(void)snprintf(
			    error->text + len, 5, "\\x%02x", (unsigned)(unsigned char)*p);
			len += 4;
		}
	}
	error->text[len] = '\0';
}

void
amqp_error_set(struct amqp_error *error, int code, const char *fmt, ...)
{
	char raw[sizeof(error->text)];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(raw, sizeof(raw), fmt, ap);
	va_end(ap);
	*error = (struct amqp_error){ .code = code };
	append(error, raw);
}

/* The broker names one that differs; whoever is to declare it alike needs all of them. */
void
amqp_error_add_arguments(struct amqp_error *error, const struct amqp_header *args, size_t count)
{
	char value[AMQP_SHORTSTR_MAX + 1];

	append(error, " (durable");
	for (size_t i = 0; i < count; i++) {
		const struct amqp_header *arg = &args[i];

		if (arg->kind == AMQP_BOOL)
			(void)snprintf(value, sizeof(value), "%s", arg->number ? "true" : "false");
		else if (arg->kind == AMQP_INT)
			(void)snprintf(value, sizeof(value), "%lld", (long long)arg->number);
		else
			(void)snprintf(value, sizeof(value), "%.*s", (int)arg->text.len,
			    arg->text.len > 0 ? arg->text.data : "");
		append(error, ", ");
		append(error, arg->name);
		append(error, "=");
		append(error, value[0] == '\0' ? "\"\"" : value);
	}
	append(error, ")");
}

bool
amqp_code_is_configuration(int code)
{
	return code == AMQP_ACCESS_REFUSED || code == AMQP_NOT_FOUND ||
	    code == AMQP_RESOURCE_LOCKED || code == AMQP_PRECONDITION_FAILED ||
	    code == AMQP_COMMAND_INVALID || code == AMQP_NOT_ALLOWED;
}

void
amqp_error_channel(
    struct amqp_error *error, const char *host, int port, const amqp_channel_close_t *method)
{
	struct slice text = slice_of_bytes(method->reply_text);

	amqp_error_set(error, method->reply_code,
	    "channel closed by the broker at %s:%d: %.*s (%d)", host, port, (int)text.len,
	    text.len > 0 ? text.data : "", method->reply_code);
	error->configuration = amqp_code_is_configuration(method->reply_code);
}

void
amqp_error_reply(struct amqp_error *error, const struct amqp_target *target, amqp_rpc_reply_t reply,
    const char *what_fmt, ...)
{
	char what[256];
	struct slice text = { "", 0 };
	const char *cure = "";
	bool connection = true;
	int code = 0;
	va_list ap;

	va_start(ap, what_fmt);
	(void)vsnprintf(what, sizeof(what), what_fmt, ap);
	va_end(ap);
	if (reply.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION &&
	    reply.reply.id == AMQP_CONNECTION_CLOSE_METHOD) {
		const amqp_connection_close_t *m = reply.reply.decoded;

		code = m->reply_code;
		text = slice_of_bytes(m->reply_text);
	} else if (reply.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION &&
	    reply.reply.id == AMQP_CHANNEL_CLOSE_METHOD) {
		const amqp_channel_close_t *m = reply.reply.decoded;

		code = m->reply_code;
		text = slice_of_bytes(m->reply_text);
		connection = false;
	} else if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION) {
		text = slice_of(amqp_error_string2(reply.library_error));
	} else {
		text = slice_of("unexpected answer");
	}
	if (code == AMQP_PRECONDITION_FAILED)
		cure = ": it exists with other properties; delete it or declare it alike";
	amqp_error_set(error, code, "could not %s at %s:%d: %.*s%s", what, target->host,
	    target->port, (int)text.len, text.len > 0 ? text.data : "", cure);
	error->connection = connection;
	error->configuration = amqp_code_is_configuration(code);
}
