/* every-macro.h - a handler that uses all of pawl/handler.h, in C and in C++ alike: t/03-header.t. */
#include <pawl/handler.h>

static int starts;

static int
start(const struct pawl_config *cfg, void **self)
{
	const char *member = pawl_config_member(cfg, "headers", 0);

	*self = &starts;
	if (pawl_config_string(cfg, "url", 0) == 0 && pawl_config_int(cfg, "number", 1) > 2)
		return pawl_config_error(cfg, "url", "is missing, and number is %d", 3);
	if (pawl_config_ms(cfg, "wait", 1000) < pawl_config_count(cfg, "steps") || member != 0)
		return -1;
	if (pawl_config_kind(cfg, PAWL_EFFECTS) != 0 || pawl_config_secret(cfg, "password_file") != 0)
		return -1;
	return pawl_config_statement(cfg, "", "insert into effects (key) values ($1)");
}

static void
stop(void *self)
{
	(void)self;
	starts = 0;
}

static enum pawl_verdict
handle(void *self, struct pawl_call *call, const struct pawl_message *msg)
{
	const char *header, *value = "", *texts[2];
	size_t size = 0;

	(void)self;
	PAWL_SQL(call, "insert into effects (key) values ($1)", msg->key);
	pawl_expect(call, 1, PAWL_RETRY, "no_row");
	PAWL_SQL(call, "select 1");
	PAWL_SQL(call, "insert into effects (key) values ($1)", NULL);
	texts[0] = "insert into effects (key) values ($1)";
	texts[1] = pawl_format(call, "%s %u", msg->key, msg->attempt);
	pawl_sql(call, texts, 2);
	for (size_t i = 0; (header = pawl_header_at(call, i, &value)) != 0; i++)
		pawl_log(call, PAWL_DEBUG, "%s: %s", header, value == 0 ? pawl_bytes(call, pawl_header_bytes(call, i, &size), size) : value);
	pawl_emit(call, "order", pawl_field_if(call, "/id"), "OrderSeen", pawl_json(call, "/order"));
	pawl_emit_header(call, "who", pawl_quote(call, pawl_header(call, "who")));
	pawl_emit_delay(call, 1000);
	PAWL_SQL(call, "select $1::bytea", pawl_bytes(call, msg->body, msg->body_size));
	if (pawl_failed(call))
		return PAWL_DONE;
	if (pawl_field(call, "/query") != 0) {
		const struct pawl_rows *rows = PAWL_QUERY(call, "select $1, $2", pawl_body(call), NULL);

		rows = pawl_query(call, texts, 2);
		return rows != 0 && pawl_value(rows, 0, 0) != 0 ? PAWL_SNOOZE : PAWL_REJECT;
	}
	if (msg->reply_to[0] != '\0')
		pawl_reply(call, "text/plain", "x", 1);
	pawl_again_after(call, 5000);
	return msg->attempt < msg->attempts ? pawl_retry(call, "later", "%s", msg->id) : pawl_reject(call, "never", "no");
}
