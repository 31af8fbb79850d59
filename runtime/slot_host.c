/*
 * slot_host.c - the table that handlers reach Pawl by. Members are only appended (see
 * pawl/handler.h).
 */
#include "runtime/slot_call.h"
#include "runtime/slot_config.h"

const struct pawl_host slot_host = {
	.size = sizeof(struct pawl_host),
	.field = slot_call_field,
	.json = slot_call_json,
	.header = slot_call_header,
	.header_at = slot_call_header_at,
	.body = slot_call_body,
	.sql = slot_call_sql,
	.expect = slot_call_expect,
	.query = slot_call_query,
	.emit = slot_call_emit,
	.emit_header = slot_call_emit_header,
	.emit_delay = slot_call_emit_delay,
	.reply = slot_call_reply,
	.fail = slot_call_fail,
	.again_after = slot_call_again_after,
	.failed = slot_call_failed,
	.format = slot_call_format,
	.quote = slot_call_quote,
	.bytes = slot_call_bytes,
	.log = slot_call_log,
	.config_string = slot_config_string,
	.config_int = slot_config_int,
	.config_ms = slot_config_ms,
	.config_count = slot_config_count,
	.config_member = slot_config_member,
	.config_statement = slot_config_statement,
	.config_kind = slot_config_kind,
	.config_error = slot_config_error,
	.config_secret = slot_config_secret,
	.header_bytes = slot_call_header_bytes,
};
