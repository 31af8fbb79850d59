/* Unit tests of common/envelope. */
#include "common/envelope.h"

#include "t/unit/tap.h"
#include "util/buf.h"

static struct arena arena = ARENA_INIT;

static struct frame_text
put(struct buf *buf, struct slice text)
{
	struct frame_text at = { (uint32_t)buf->len, (uint32_t)text.len };

	buf_slice(buf, text);
	buf_putc(buf, '\0');
	return at;
}

/* A message with an id, one header "key", and a body. */
static const struct frame_message *
message(struct slice id, struct slice header, const char *body)
{
	struct buf buf = BUF_INIT;
	struct frame_message m = { .header_count = 1, .headers_off = sizeof(m) };
	struct frame_text headers[2];

	buf_append(&buf, &m, sizeof(m));
	buf_append(&buf, headers, sizeof(headers));
	m.id = put(&buf, id);
	m.type = put(&buf, slice_of("OrderPlaced"));
	m.routing_key = put(&buf, slice_of("order.placed"));
	m.content_type = m.correlation_id = m.reply_to = m.exchange = put(&buf, slice_of(""));
	headers[0] = put(&buf, slice_of("key"));
	headers[1] = put(&buf, header);
	struct frame_text at = put(&buf, slice_of(body));
	m.body_off = at.off;
	m.body_size = at.len;
	while (buf.len % 8 != 0)
		buf_putc(&buf, '\0');
	m.size = (uint32_t)buf.len;
	memcpy(buf.data, &m, sizeof(m));
	memcpy(buf.data + sizeof(m), headers, sizeof(headers));

	struct frame_message *copy = arena_alloc(&arena, buf.len);

	memcpy(copy, buf.data, buf.len);
	if (frame_message_check(copy, buf.len) < 0)
		diag("the test's message is bad");
	buf_release(&buf);
	return copy;
}

static void
test_spec(void)
{
	static const struct { const char *text; int rc; enum envelope_source source; const char *name; } cases[] = {
		{ "message_id", 0, SOURCE_MESSAGE_ID, "" }, { "type", 0, SOURCE_TYPE, "" }, { "routing_key", 0, SOURCE_ROUTING_KEY, "" },
		{ "header:x-id", 0, SOURCE_HEADER, "x-id" }, { "json:/a/b", 0, SOURCE_JSON, "/a/b" }, { "json:/a~1b", 0, SOURCE_JSON, "/a~1b" },
		{ "json:", 0, SOURCE_JSON, "" }, { "", -1, 0, NULL }, { "header:", -1, 0, NULL }, { "json:a", -1, 0, NULL }, { "json:/~2", -1, 0, NULL },
		{ "message-id", -1, 0, NULL }, { "Type", -1, 0, NULL }, { "header", -1, 0, NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct envelope_spec spec = { 0, NULL };
		int rc = envelope_spec_parse(cases[i].text, &spec);

		ok(rc == cases[i].rc && (rc < 0 || (spec.source == cases[i].source && strcmp(spec.name, cases[i].name) == 0)),
		    "specification \"%s\"", cases[i].text);
	}
}

static void
test_key(const char *spec_text, const struct frame_message *m, enum envelope_key_status wanted, const char *key_or_error)
{
	struct envelope_spec spec;
	struct slice key = { NULL, 0 };
	const char *error = NULL;
	enum envelope_key_status status;

	if (envelope_spec_parse(spec_text, &spec) < 0) {
		ok(false, "%s", spec_text);
		return;
	}
	status = envelope_key(m, &spec, &arena, &key, &error);
	if (status == ENVELOPE_KEY_OK && status == wanted)
		ok(slice_is(key, key_or_error) && key.data[key.len] == '\0', "key %s of %s", key_or_error, spec_text) ||
		    (diag("got %s", key.data), 0);
	else if (status == ENVELOPE_KEY_BAD_BODY && status == wanted)
		ok(strstr(error, key_or_error) != NULL, "key of %s: %s", spec_text, error);
	else
		is_int(status, wanted, "key of %s", spec_text);
}

static void
test_keys(void)
{
	const struct slice none = { "", 0 };
	char longest[ENVELOPE_KEY_MAX + 2];
	const char *body = "{\"id\":\"a\\u00e9\",\"n\":12.50,\"t\":true,\"z\":null,\"e\":\"\",\"o\":{\"x\":1},\"a\":[1],\"nul\":\"a\\u0000\",\"d\":1,\"d\":2}";

	test_key("message_id", message(slice_of("id-1"), none, ""), ENVELOPE_KEY_OK, "id-1");
	test_key("message_id", message(none, none, ""), ENVELOPE_KEY_NONE, NULL);
	test_key("type", message(none, none, ""), ENVELOPE_KEY_OK, "OrderPlaced");
	test_key("routing_key", message(none, none, ""), ENVELOPE_KEY_OK, "order.placed");
	test_key("header:key", message(none, slice_of("h-1"), ""), ENVELOPE_KEY_OK, "h-1");
	test_key("header:key", message(none, none, ""), ENVELOPE_KEY_NONE, NULL);
	test_key("header:other", message(none, slice_of("h-1"), ""), ENVELOPE_KEY_NONE, NULL);
	test_key("json:/id", message(none, none, body), ENVELOPE_KEY_OK, "a\xc3\xa9");
	test_key("json:/n", message(none, none, body), ENVELOPE_KEY_OK, "12.50");
	test_key("json:/t", message(none, none, body), ENVELOPE_KEY_OK, "true");
	test_key("json:/o/x", message(none, none, body), ENVELOPE_KEY_OK, "1");
	test_key("json:/z", message(none, none, body), ENVELOPE_KEY_NONE, NULL);
	test_key("json:/e", message(none, none, body), ENVELOPE_KEY_NONE, NULL);
	test_key("json:/none", message(none, none, body), ENVELOPE_KEY_NONE, NULL);
	test_key("json:/o", message(none, none, body), ENVELOPE_KEY_BAD_BODY, "object");
	test_key("json:/a", message(none, none, body), ENVELOPE_KEY_BAD_BODY, "array");
	test_key("json:/nul", message(none, none, body), ENVELOPE_KEY_BAD_BODY, "escaped NUL");
	test_key("json:/d", message(none, none, body), ENVELOPE_KEY_BAD_BODY, "let the publisher mend it");
	test_key("json:/id", message(none, none, "{\"id\":1"), ENVELOPE_KEY_BAD_BODY, "syntax error, at byte 7; let the publisher send JSON");
	test_key("json:/id", message(none, none, ""), ENVELOPE_KEY_BAD_BODY, "syntax error, at byte 0");
	test_key("json:/id", message(none, none, "{\"id\":\"\xff\"}"), ENVELOPE_KEY_BAD_BODY, "UTF-8");
	test_key("json:", message(none, none, "\"whole\""), ENVELOPE_KEY_OK, "whole");

	/* Keys that do not fit into the inbox as they are. The sums are sha256sum's. */
	memset(longest, 'k', sizeof(longest));
	longest[ENVELOPE_KEY_MAX] = '\0';
	test_key("message_id", message(slice_of(longest), none, ""), ENVELOPE_KEY_OK, longest);
	longest[ENVELOPE_KEY_MAX] = 'k';
	longest[ENVELOPE_KEY_MAX + 1] = '\0';
	test_key("header:key", message(none, slice_of(longest), ""), ENVELOPE_KEY_OK, "sha256:ebf0ead0a3b837bc388d6a36c93833fff64a0a8bc8198fc0f1b7b5031dddd254");
	test_key("header:key", message(none, (struct slice){ "a\0b", 3 }, ""), ENVELOPE_KEY_OK, "sha256:59b271ae1bbcb1d31d41929817f4b16fb439eb4f31520b5ad1d5ce98920a7138");
	test_key("message_id", message(slice_of("a\xff"), none, ""), ENVELOPE_KEY_OK, "sha256:8dd06b5ab6b594257e41b7d8dd440a4062eddc67fdab5c13b4dc300176896f6e");
}

static bool
is_hex(const char *text, size_t len)
{
	return strspn(text, "0123456789abcdef") >= len;
}

static void
test_traces(void)
{
	static const char parent[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
	static const struct { const char *text; bool good; const char *flags; } cases[] = {
		{ "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", true, "00" },
		{ "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", true, "01" },
		{ "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-ff", true, "03" },
		{ "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", true, "01" },
		{ "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-comes", true, "01" },
		{ "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.x", false, NULL },
		{ "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x", false, NULL },
		{ "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 ", false, NULL },
		{ "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false, NULL },
		{ "00-00000000000000000000000000000000-b7ad6b7169203331-01", false, NULL },
		{ "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", false, NULL },
		{ "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", false, NULL },
		{ "00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01", false, NULL },
		{ "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333-001", false, NULL },
		{ "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false, NULL },
		{ "0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-011", false, NULL },
		{ "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0", false, NULL },
		{ "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0x", false, NULL },
		{ " 0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false, NULL },
		{ "", false, NULL }, { "x", false, NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *child = envelope_child_trace(slice_of(cases[i].text), &arena);
		bool good = strlen(child) == 55 && strncmp(child, "00-", 3) == 0 && is_hex(child + 3, 32) && child[35] == '-' &&
		    is_hex(child + 36, 16) && child[52] == '-' && is_hex(child + 53, 2);
		bool same = strncmp(child + 3, parent + 3, 32) == 0;

		good = good && same == cases[i].good && strncmp(child + 36, parent + 36, 16) != 0;
		if (cases[i].good)
			good = good && strcmp(child + 53, cases[i].flags) == 0;
		ok(good, "%s \"%s\"", cases[i].good ? "a child of" : "a new trace, not", cases[i].text) || (diag("got %s", child), 0);
	}

	const char *one = envelope_child_trace(slice_of(""), &arena), *two = envelope_child_trace(slice_of(""), &arena);

	ok(strncmp(one + 3, two + 3, 32) != 0, "new traces differ");
	ok(strncmp(envelope_child_trace(slice_of(one), &arena) + 3, one + 3, 32) == 0, "and are good parents");
}

int
main(void)
{
	test_spec();
	test_keys();
	test_traces();
	arena_release(&arena);
	return done_testing();
}
