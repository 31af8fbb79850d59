/*
 * envelope.c - see envelope.h.
 */
#include "common/envelope.h"

#include <stdint.h>

#include "util/json_scan.h"
#include "util/random.h"
#include "util/sha256.h"
#include "util/utf8.h"

int
envelope_spec_parse(const char *text, struct envelope_spec *spec)
{
	static const struct { const char *text; enum envelope_source source; } plain[] = {
		{ "message_id", SOURCE_MESSAGE_ID }, { "type", SOURCE_TYPE },
		{ "routing_key", SOURCE_ROUTING_KEY },
	};
	static const char header[] = "header:", json[] = "json:";

	for (size_t i = 0; i < ARRAY_SIZE(plain); i++) {
		if (strcmp(text, plain[i].text) == 0) {
			*spec = (struct envelope_spec){ plain[i].source, "" };
			return 0;
		}
	}
	if (strncmp(text, header, sizeof(header) - 1) == 0 && text[sizeof(header) - 1] != '\0') {
		*spec = (struct envelope_spec){ SOURCE_HEADER, text + sizeof(header) - 1 };
		return 0;
	}
	if (strncmp(text, json, sizeof(json) - 1) == 0 &&
	    json_pointer_valid(text + sizeof(json) - 1)) {
		*spec = (struct envelope_spec){ SOURCE_JSON, text + sizeof(json) - 1 };
		return 0;
	}
	return -1;
}

static enum envelope_key_status
key_from_json(const struct frame_message *message, const char *pointer, struct arena *arena,
    struct slice *key, const char **error)
{
	const struct frame_text where = { message->body_off, message->body_size };
	struct slice body = frame_message_text(message, where);
	struct json_value value;
	size_t offset = 0;
	enum json_status status = json_scan_check(body, &offset);

	if (status != JSON_OK) {
		*error = arena_printf(arena, "the body has no key %s: %s, at byte %zu;"
		    " let the publisher send JSON", pointer,
		    json_status_text(status), offset);
		return ENVELOPE_KEY_BAD_BODY;
	}
	status = json_scan_find(body, pointer, &value, &offset);
	if (status == JSON_MISSING || (status == JSON_OK && value.kind == JSON_NULL))
		return ENVELOPE_KEY_NONE;
	if (status != JSON_OK) {
		*error = arena_printf(arena, "the body's key %s is not good: %s, at byte %zu;"
		    " let the publisher mend it", pointer, json_status_text(status), offset);
		return ENVELOPE_KEY_BAD_BODY;
	}
	if (value.kind == JSON_OBJECT || value.kind == JSON_ARRAY) {
		*error = arena_printf(arena,
		    "the body's key %s is an %s: it must be a text or a number, at byte %zu",
		    pointer, value.kind == JSON_OBJECT ? "object" : "array",
		    (size_t)(value.raw.data - body.data));
		return ENVELOPE_KEY_BAD_BODY;
	}
	*key = value.raw;
	if (value.kind == JSON_STRING) {
		char *text = arena_alloc(arena, value.raw.len);

		status = json_scan_unescape(value.raw, text, &key->len);
		key->data = text;
		if (status != JSON_OK) {	/* cannot be: json_scan_find has looked */
			*error = json_status_text(status);
			return ENVELOPE_KEY_BAD_BODY;
		}
	}
	return ENVELOPE_KEY_OK;
}

enum envelope_key_status
envelope_key(const struct frame_message *message, const struct envelope_spec *spec,
    struct arena *arena, struct slice *key, const char **error)
{
	enum envelope_key_status status = ENVELOPE_KEY_OK;
	struct slice raw = { "", 0 };

	switch (spec->source) {
	case SOURCE_MESSAGE_ID:
		raw = frame_message_text(message, message->id);
		break;
	case SOURCE_TYPE:
		raw = frame_message_text(message, message->type);
		break;
	case SOURCE_ROUTING_KEY:
		raw = frame_message_text(message, message->routing_key);
		break;
	case SOURCE_HEADER:
		frame_message_header(message, spec->name, &raw);
		break;
	case SOURCE_JSON:
		status = key_from_json(message, spec->name, arena, &raw, error);
		break;
	}
	if (status != ENVELOPE_KEY_OK)
		return status;
	if (raw.len == 0)
		return ENVELOPE_KEY_NONE;
	if (raw.len <= ENVELOPE_KEY_MAX && utf8_valid(raw.data, raw.len) &&
	    memchr(raw.data, '\0', raw.len) == NULL) {
		*key = (struct slice){ arena_memdup(arena, raw.data, raw.len), raw.len };
		return ENVELOPE_KEY_OK;
	}

	char hex[SHA256_HEX_SIZE];

	sha256_hex(raw.data, raw.len, hex);
	*key = slice_of(arena_printf(arena, "sha256:%s", hex));
	return ENVELOPE_KEY_OK;
}

/* A hexadecimal number of exactly so many lower-case digits. */
static bool
parse_hex(const char *text, size_t digits, uint64_t *value)
{
	*value = 0;
	for (size_t i = 0; i < digits; i++) {
		char c = text[i];

		if (c >= '0' && c <= '9')
			*value = *value << 4 | (uint64_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			*value = *value << 4 | (uint64_t)(c - 'a' + 10);
		else
			return false;
	}
	return true;
}

/* https://www.w3.org/TR/trace-context/ 3.2: version "-" trace-id "-" parent-id "-" flags; later
   versions may add "-" and more. */
enum { TRACE_ID = 3, TRACE_PARENT = 36, TRACE_FLAGS = 53, TRACE_SIZE = 55 };
struct trace { uint64_t high, low, parent; unsigned flags; };

static bool
parse_trace(struct slice text, struct trace *trace)
{
	uint64_t version, flags;
	const char *p = text.data;

	if (text.len < TRACE_SIZE || p[TRACE_ID - 1] != '-' || p[TRACE_PARENT - 1] != '-' ||
	    p[TRACE_FLAGS - 1] != '-' || !parse_hex(p, 2, &version) ||
	    !parse_hex(p + TRACE_ID, 16, &trace->high) ||
	    !parse_hex(p + TRACE_ID + 16, 16, &trace->low) ||
	    !parse_hex(p + TRACE_PARENT, 16, &trace->parent) ||
	    !parse_hex(p + TRACE_FLAGS, 2, &flags))
		return false;
	if (version == 0xff || (text.len > TRACE_SIZE && (version == 0 || p[TRACE_SIZE] != '-')))
		return false;
	trace->flags = (unsigned)flags;
	return (trace->high | trace->low) != 0 && trace->parent != 0;
}

static void
put_hex(char *out, size_t digits, uint64_t value)
{
	while (digits-- > 0) {
		out[digits] = "0123456789abcdef"[value & 15];
		value >>= 4;
	}
}

static uint64_t
random_id(void)
{
	uint64_t id;

	do
		id = random_u64();
	while (id == 0);
	return id;
}

enum { SAMPLED = 1, RANDOM = 2 };	/* a flag that we do not know must be sent as 0 */

/* By hand, not by printf: this is done once per message. */
static const char *
format_trace(const struct trace *trace, struct arena *arena)
{
	static const char form[] = "00-................................-................-..";
	char *text = arena_memdup(arena, form, TRACE_SIZE);

	put_hex(text + TRACE_ID, 16, trace->high);
	put_hex(text + TRACE_ID + 16, 16, trace->low);
	put_hex(text + TRACE_PARENT, 16, trace->parent);
	put_hex(text + TRACE_FLAGS, 2, trace->flags & (SAMPLED | RANDOM));
	return text;
}

const char *
envelope_child_trace(struct slice traceparent, struct arena *arena)
{
	struct trace trace;

	/* A new trace is sampled: whoever does not want it can drop it, not the reverse. */
	if (!parse_trace(traceparent, &trace))
		trace = (struct trace){ random_id(), random_id(), 0, SAMPLED | RANDOM };
	trace.parent = random_id();
	return format_trace(&trace, arena);
}

/* The W3C's example. */
const char *
envelope_dry_trace(struct slice traceparent, struct arena *arena)
{
	struct trace trace;

	if (!parse_trace(traceparent, &trace))
		trace = (struct trace){ 0x4bf92f3577b34da6, 0xa3ce929d0e0e4736, 0, SAMPLED };
	trace.parent = 0x00f067aa0ba902b7;
	return format_trace(&trace, arena);
}
