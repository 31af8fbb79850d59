/*
 * Unit tests of util/json_scan. Texts are copied into memory of exactly their size, so that a sanitizer or valgrind sees every read
 * beyond the end.
 */
#include "util/json_scan.h"

#include "t/unit/tap.h"
#include "util/arena.h"
#include "util/buf.h"
#include "util/utf8.h"

/* A text with a NUL in it. */
#define BYTES(literal) ((struct slice){ literal, sizeof(literal) - 1 })

static struct slice
exact(struct slice text)
{
	char *copy = xmalloc(text.len);

	if (text.len > 0)
		memcpy(copy, text.data, text.len);
	return (struct slice){ copy, text.len };
}

static void
drop(struct slice text)
{
	union { const char *data; void *memory; } u = { text.data };

	free(u.memory);
}

static enum json_status
check(struct slice text, size_t *offset)
{
	struct slice copy = exact(text);
	enum json_status status = json_scan_check(copy, offset);

	drop(copy);
	return status;
}

static void
test_accepted(void)
{
	static const char *const good[] = {
		"{}", "[]", "0", "-0", "7", "-7", "10", "12.50", "0.0", "-0.0", "1e400", "1E+2", "1e-2", "0e0", "1.5e10", "-1.25E-05",
		"1234567890123456789012345678901234567890", "0.1234567890123456789012345678901234567890",
		"true", "false", "null", "\"\"", "\"a\"", "\"\\\"\"", "\"\\\\\"", "\"\\/\\b\\f\\n\\r\\t\"", "\"\\u0000\"", "\"\\u00e9\\u00E9\"",
		"\"\\ud83d\\ude00\"", "\"\\uD83D\\uDE00\"", "\"\\uFFFF\"", "\"\x7f\"", "\"gr\xc3\xbc\xc3\x9f\"", "\"\xe2\x82\xac\"",
		"\"\xf0\x9f\x98\x80\"", "\"\xed\x9f\xbf\xee\x80\x80\"", "\"\xf4\x8f\xbf\xbf\"", "\"\xc2\x80\xdf\xbf\xe0\xa0\x80\xf0\x90\x80\x80\"",
		" \t\r\n1 \t\r\n", "[ ]", "{ }", "[1]", "[1,2]", "[ 1 , 2 ]", "[[]]", "[[],[]]", "[{}]", "{\"a\":1}", "{ \"a\" : 1 }",
		"{\"a\":1,\"b\":2}", "{\"a\":{\"b\":[1,{\"c\":null}]},\"d\":[]}", "{\"\":0}", "{\"a\":1,\"a\":2}", "[\"12345678\"]",
		"[\"1234567\",\"123456789\",\"1234567890123456\"]", "[true,false,null,\"x\",1.5,{},[]]", "\"\xef\xbb\xbf\"",
		"\"a string that is longer than any word of the machine, with a quote \\\" and an end\"",
	};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		is_int(check(slice_of(good[i]), NULL), JSON_OK, "accepted: %s", good[i]);
}

static void
test_refused(void)
{
	static const struct { struct slice text; enum json_status status; size_t offset; } bad[] = {
		{ BYTES(""), JSON_SYNTAX, 0 }, { BYTES(" "), JSON_SYNTAX, 1 }, { BYTES("x"), JSON_SYNTAX, 0 }, { BYTES("\0"), JSON_SYNTAX, 0 },
		{ BYTES("{}\0"), JSON_SYNTAX, 2 }, { BYTES("\xef\xbb\xbf{}"), JSON_SYNTAX, 0 }, { BYTES("\xff\xfe{\0}\0"), JSON_SYNTAX, 0 },
		/* Numbers. */
		{ BYTES("01"), JSON_SYNTAX, 1 }, { BYTES("-"), JSON_SYNTAX, 1 }, { BYTES("+1"), JSON_SYNTAX, 0 }, { BYTES("-01"), JSON_SYNTAX, 2 },
		{ BYTES("1."), JSON_SYNTAX, 2 }, { BYTES(".5"), JSON_SYNTAX, 0 }, { BYTES("1.e1"), JSON_SYNTAX, 2 }, { BYTES("1e"), JSON_SYNTAX, 2 },
		{ BYTES("1e+"), JSON_SYNTAX, 3 }, { BYTES("1e1.5"), JSON_SYNTAX, 3 }, { BYTES("0x10"), JSON_SYNTAX, 1 }, { BYTES("NaN"), JSON_SYNTAX, 0 },
		{ BYTES("Infinity"), JSON_SYNTAX, 0 }, { BYTES("-Infinity"), JSON_SYNTAX, 1 }, { BYTES("1 2"), JSON_SYNTAX, 2 },
		{ BYTES("1,2"), JSON_SYNTAX, 1 }, { BYTES("--1"), JSON_SYNTAX, 1 }, { BYTES("1_000"), JSON_SYNTAX, 1 },
		/* Literals. */
		{ BYTES("tru"), JSON_SYNTAX, 3 }, { BYTES("truE"), JSON_SYNTAX, 3 }, { BYTES("True"), JSON_SYNTAX, 0 }, { BYTES("nul"), JSON_SYNTAX, 3 },
		{ BYTES("nulll"), JSON_SYNTAX, 4 }, { BYTES("falsey"), JSON_SYNTAX, 5 }, { BYTES("[true false]"), JSON_SYNTAX, 6 },
		/* Structure. */
		{ BYTES("["), JSON_SYNTAX, 1 }, { BYTES("]"), JSON_SYNTAX, 0 }, { BYTES("[1"), JSON_SYNTAX, 2 }, { BYTES("[1,"), JSON_SYNTAX, 3 },
		{ BYTES("[1,]"), JSON_SYNTAX, 3 }, { BYTES("[,1]"), JSON_SYNTAX, 1 }, { BYTES("[1,,2]"), JSON_SYNTAX, 3 }, { BYTES("[1}"), JSON_SYNTAX, 2 },
		{ BYTES("[}"), JSON_SYNTAX, 1 }, { BYTES("{]"), JSON_SYNTAX, 1 }, { BYTES("{"), JSON_SYNTAX, 1 }, { BYTES("}"), JSON_SYNTAX, 0 },
		{ BYTES("{\"a\"}"), JSON_SYNTAX, 4 }, { BYTES("{\"a\":}"), JSON_SYNTAX, 5 }, { BYTES("{\"a\":1,}"), JSON_SYNTAX, 7 },
		{ BYTES("{,}"), JSON_SYNTAX, 1 }, { BYTES("{1:2}"), JSON_SYNTAX, 1 }, { BYTES("{a:1}"), JSON_SYNTAX, 1 }, { BYTES("{'a':1}"), JSON_SYNTAX, 1 },
		{ BYTES("{\"a\" 1}"), JSON_SYNTAX, 5 }, { BYTES("{\"a\":1 \"b\":2}"), JSON_SYNTAX, 7 }, { BYTES("{\"a\":1]"), JSON_SYNTAX, 6 },
		{ BYTES("[]]"), JSON_SYNTAX, 2 }, { BYTES("{}{}"), JSON_SYNTAX, 2 }, { BYTES("[1]x"), JSON_SYNTAX, 3 }, { BYTES("[\"a\":1]"), JSON_SYNTAX, 4 },
		{ BYTES("[1] // x"), JSON_SYNTAX, 4 }, { BYTES("/* */1"), JSON_SYNTAX, 0 }, { BYTES("[\v1]"), JSON_SYNTAX, 1 },
		{ BYTES("[\xc2\xa0" "1]"), JSON_SYNTAX, 1 },
		/* Strings. */
		{ BYTES("\""), JSON_SYNTAX, 1 }, { BYTES("\"abc"), JSON_SYNTAX, 4 }, { BYTES("'a'"), JSON_SYNTAX, 0 }, { BYTES("\"a\nb\""), JSON_SYNTAX, 2 },
		{ BYTES("\"\t\""), JSON_SYNTAX, 1 }, { BYTES("\"\x1f\""), JSON_SYNTAX, 1 }, { BYTES("\"a\0b\""), JSON_SYNTAX, 2 },
		{ BYTES("\"\\\""), JSON_SYNTAX, 3 }, { BYTES("\"\\"), JSON_SYNTAX, 1 }, { BYTES("\"\\x41\""), JSON_SYNTAX, 1 }, { BYTES("\"\\a\""), JSON_SYNTAX, 1 },
		{ BYTES("\"\\'\""), JSON_SYNTAX, 1 }, { BYTES("\"\\0\""), JSON_SYNTAX, 1 }, { BYTES("\"\\U0041\""), JSON_SYNTAX, 1 },
		{ BYTES("\"\\u\""), JSON_SYNTAX, 1 }, { BYTES("\"\\u123\""), JSON_SYNTAX, 1 }, { BYTES("\"\\u12G4\""), JSON_SYNTAX, 1 },
		{ BYTES("\"\\u 123\""), JSON_SYNTAX, 1 }, { BYTES("\"\\u+123\""), JSON_SYNTAX, 1 }, { BYTES("\"12345678\\u12"), JSON_SYNTAX, 9 },
		/* Surrogates that are no pair. */
		{ BYTES("\"\\ud83d\""), JSON_BAD_UTF8, 1 }, { BYTES("\"\\ude00\""), JSON_BAD_UTF8, 1 }, { BYTES("\"\\ude00\\ud83d\""), JSON_BAD_UTF8, 1 },
		{ BYTES("\"\\ud83d\\ud83d\""), JSON_BAD_UTF8, 1 }, { BYTES("\"\\ud83dx\\ude00\""), JSON_BAD_UTF8, 1 },
		{ BYTES("\"\\ud83d\\n\""), JSON_BAD_UTF8, 1 }, { BYTES("\"\\ud83d\\u0041\""), JSON_BAD_UTF8, 1 }, { BYTES("\"\\ud83d\\ude0\""), JSON_BAD_UTF8, 1 },
		/* Not UTF-8. */
		{ BYTES("\"\x80\""), JSON_BAD_UTF8, 1 }, { BYTES("\"a\xff\""), JSON_BAD_UTF8, 2 }, { BYTES("\"\xc0\x80\""), JSON_BAD_UTF8, 1 },
		{ BYTES("\"\xc1\xbf\""), JSON_BAD_UTF8, 1 }, { BYTES("\"\xe0\x80\xaf\""), JSON_BAD_UTF8, 1 }, { BYTES("\"\xf0\x80\x80\xaf\""), JSON_BAD_UTF8, 1 },
		{ BYTES("\"\xed\xa0\xbd\xed\xb8\x80\""), JSON_BAD_UTF8, 1 }, { BYTES("\"\xf4\x90\x80\x80\""), JSON_BAD_UTF8, 1 },
		{ BYTES("\"\xc3\""), JSON_BAD_UTF8, 1 }, { BYTES("\"\xe2\x82\""), JSON_BAD_UTF8, 1 }, { BYTES("\"\xf0\x9f\x98\""), JSON_BAD_UTF8, 1 },
		{ BYTES("\"\xe2\x82\xac\xe9\""), JSON_BAD_UTF8, 4 }, { BYTES("{\"k\xfc\":1}"), JSON_BAD_UTF8, 3 }, { BYTES("\"gr\xfc\xdf\""), JSON_BAD_UTF8, 3 },
		{ BYTES("\xc3\xbc"), JSON_SYNTAX, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		size_t offset = 9999;
		enum json_status status = check(bad[i].text, &offset);

		ok(status == bad[i].status && offset == bad[i].offset, "refused: number %zu, at %zu", i, bad[i].offset) ||
		    (diag("status %d, offset %zu", status, offset), 0);
	}
}

/* Each odd byte at each place of a string: the scan takes eight at a time. */
static void
test_places(void)
{
	bool good = true;

	for (int byte = 0; byte < 256; byte++) {
		for (size_t place = 0; place < 20; place++) {
			char text[24];
			size_t offset = 0;
			enum json_status status;

			memset(text, 'x', sizeof(text));
			text[0] = text[22] = '"';
			text[1 + place] = (char)byte;
			status = check((struct slice){ text, 23 }, &offset);
			if (byte == '"')
				good = good && status == JSON_SYNTAX && offset == 2 + place;
			else if (byte < 0x20 || byte == '\\')
				good = good && status == JSON_SYNTAX && offset == 1 + place;
			else if (byte >= 0x80)
				good = good && status == JSON_BAD_UTF8 && offset == 1 + place;
			else
				good = good && status == JSON_OK;
			if (!good) {
				diag("byte %d at %zu: status %d, offset %zu", byte, place, status, offset);
				byte = 256;
				break;
			}
		}
	}
	ok(good, "each byte at each place of a string");
}

static void
test_depth(void)
{
	static char text[4096];
	enum json_status status;
	size_t offset;

	for (int kind = 0; kind < 2; kind++) {
		const char *open = kind ? "{\"a\":" : "[", *close = kind ? "}" : "]";

		for (int depth = JSON_SCAN_DEPTH; depth <= JSON_SCAN_DEPTH + 1; depth++) {
			size_t len = 0;

			for (int i = 0; i < depth; i++)
				len += (size_t)snprintf(text + len, sizeof(text) - len, "%s", open);
			text[len++] = '1';
			for (int i = 0; i < depth; i++)
				len += (size_t)snprintf(text + len, sizeof(text) - len, "%s", close);
			status = check((struct slice){ text, len }, &offset);
			if (depth == JSON_SCAN_DEPTH)
				is_int(status, JSON_OK, "depth %d of %s", depth, open);
			else
				ok(status == JSON_TOO_DEEP && offset == strlen(open) * JSON_SCAN_DEPTH, "depth %d of %s is too much", depth, open);
		}
	}
	memset(text, '[', sizeof(text));
	is_int(check((struct slice){ text, sizeof(text) }, NULL), JSON_TOO_DEEP, "4096 brackets");
	/* Many that are not nested. */
	for (size_t i = 0; i + 3 < sizeof(text); i += 3)
		memcpy(text + i, (const char[]){ '[', ']', ',' }, 3);
	text[0] = '[';
	text[1] = '1';
	memcpy(text + sizeof(text) - 4, (const char[]){ '[', ' ', ']', ']' }, 4);
	is_int(check((struct slice){ text, sizeof(text) }, NULL), JSON_OK, "a thousand side by side");
}

static const char order[] =
	"{ \"id\": \"8d3f\", \"total\": 12.50, \"count\": 1e400, \"big\": 1234567890123456789012345678901234567890, \"minus\": -0,\n"
	"  \"customer\": {\"name\": \"Gr\\u00fc\\u00df \\ud83d\\ude00 \\\"x\\\"\", \"mail\": null, \"tags\": []},\n"
	"  \"items\": [ {\"sku\":\"A,]}\",\"price\":1.5}, {\"sku\":\"B\\\\\",\"price\":[2,[3]]} , 7 , \"last\" ],\n"
	"  \"a/b\": 1, \"m~n\": 2, \"\": 3, \"k\\u0065y\": 4, \"0\": 5, \"01\": 6, \"-\": 7, \"~1\": 8, \"q\\\"q\": 9, \"\\u00e9\": 10,\n"
	"  \"\\ud83d\\ude00\": 11, \"x\\/y\": 12, \"nul\\u0000\": 13, \"back\\\\slash\": 14, \"yes\": true, \"no\" : false,\n"
	"  \"bad\": \"a\\u0000b\", \"fine\": \"a\\\\u0000b\", \"object\": { \"bad\": \"\\u0000\" } }";

/* Both ways of finding; they must agree. */
static enum json_status
find(struct slice text, const char *pointer, struct json_value *value, size_t *offset)
{
	static struct json_index index;
	struct json_value other = { JSON_NULL, { "", 0 } };
	size_t other_offset = offset != NULL ? *offset : 0;
	enum json_status status = json_scan_find(text, pointer, value, offset), other_status;

	memset(&index, 0xa5, sizeof(index));
	if (json_scan_index(text, &index, NULL) != JSON_OK)
		return status;
	other_status = json_scan_lookup(&index, pointer, &other, offset != NULL ? &other_offset : NULL);
	if (status != other_status || (offset != NULL && *offset != other_offset) || (status == JSON_OK && (value->kind != other.kind ||
	    value->raw.data != other.raw.data || value->raw.len != other.raw.len)))
		ok(false, "found \"%s\" with status %d by scanning, %d by index", pointer, status, other_status);
	return status;
}

static void
test_find(void)
{
	static const struct { const char *pointer; enum json_status status; enum json_kind kind; const char *raw; } cases[] = {
		{ "/id", JSON_OK, JSON_STRING, "\"8d3f\"" }, { "/total", JSON_OK, JSON_NUMBER, "12.50" },
		{ "/count", JSON_OK, JSON_NUMBER, "1e400" }, { "/big", JSON_OK, JSON_NUMBER, "1234567890123456789012345678901234567890" },
		{ "/minus", JSON_OK, JSON_NUMBER, "-0" }, { "/customer/mail", JSON_OK, JSON_NULL, "null" },
		{ "/customer/tags", JSON_OK, JSON_ARRAY, "[]" }, { "/yes", JSON_OK, JSON_TRUE, "true" }, { "/no", JSON_OK, JSON_FALSE, "false" },
		{ "/customer/name", JSON_OK, JSON_STRING, "\"Gr\\u00fc\\u00df \\ud83d\\ude00 \\\"x\\\"\"" },
		{ "/items/0/sku", JSON_OK, JSON_STRING, "\"A,]}\"" }, { "/items/0", JSON_OK, JSON_OBJECT, "{\"sku\":\"A,]}\",\"price\":1.5}" },
		{ "/items/1/price", JSON_OK, JSON_ARRAY, "[2,[3]]" }, { "/items/1/price/1/0", JSON_OK, JSON_NUMBER, "3" },
		{ "/items/2", JSON_OK, JSON_NUMBER, "7" }, { "/items/3", JSON_OK, JSON_STRING, "\"last\"" },
		/* Escapes, in the pointer and in the text. */
		{ "/a~1b", JSON_OK, JSON_NUMBER, "1" }, { "/m~0n", JSON_OK, JSON_NUMBER, "2" }, { "/", JSON_OK, JSON_NUMBER, "3" },
		{ "/key", JSON_OK, JSON_NUMBER, "4" }, { "/~01", JSON_OK, JSON_NUMBER, "8" }, { "/q\"q", JSON_OK, JSON_NUMBER, "9" },
		{ "/\xc3\xa9", JSON_OK, JSON_NUMBER, "10" }, { "/\xf0\x9f\x98\x80", JSON_OK, JSON_NUMBER, "11" },
		{ "/x~1y", JSON_OK, JSON_NUMBER, "12" }, { "/back\\slash", JSON_OK, JSON_NUMBER, "14" },
		/* In an object an index is a key like any other. */
		{ "/0", JSON_OK, JSON_NUMBER, "5" }, { "/01", JSON_OK, JSON_NUMBER, "6" }, { "/-", JSON_OK, JSON_NUMBER, "7" },
		{ "/fine", JSON_OK, JSON_STRING, "\"a\\\\u0000b\"" }, { "/object", JSON_OK, JSON_OBJECT, "{ \"bad\": \"\\u0000\" }" },
		{ "/bad", JSON_ESCAPED_NUL, JSON_NULL, "\\u0000b" }, { "/object/bad", JSON_ESCAPED_NUL, JSON_NULL, "\\u0000\" }" },
		/* Nowhere. */
		{ "/none", JSON_MISSING, JSON_NULL, "" }, { "/i", JSON_MISSING, JSON_NULL, "" }, { "/idx", JSON_MISSING, JSON_NULL, "" },
		{ "/id/x", JSON_MISSING, JSON_NULL, "" }, { "/total/0", JSON_MISSING, JSON_NULL, "" }, { "/items/4", JSON_MISSING, JSON_NULL, "" },
		{ "/items/-", JSON_MISSING, JSON_NULL, "" }, { "/items/00", JSON_MISSING, JSON_NULL, "" }, { "/items/01", JSON_MISSING, JSON_NULL, "" },
		{ "/items/+1", JSON_MISSING, JSON_NULL, "" }, { "/items/1x", JSON_MISSING, JSON_NULL, "" }, { "/items/", JSON_MISSING, JSON_NULL, "" },
		{ "/items/18446744073709551616", JSON_MISSING, JSON_NULL, "" }, { "/items/99999999999999999999999999", JSON_MISSING, JSON_NULL, "" },
		{ "/items/999999999999999999", JSON_MISSING, JSON_NULL, "" }, { "/k\\u0065y", JSON_MISSING, JSON_NULL, "" },
		{ "/nul", JSON_MISSING, JSON_NULL, "" }, { "/customer/tags/0", JSON_MISSING, JSON_NULL, "" }, { "//", JSON_MISSING, JSON_NULL, "" },
		{ "/id\":", JSON_MISSING, JSON_NULL, "" }, { "/~0", JSON_MISSING, JSON_NULL, "" },
		/* No pointers. */
		{ "id", JSON_BAD_POINTER, JSON_NULL, "" }, { "/a~", JSON_BAD_POINTER, JSON_NULL, "" }, { "/~2", JSON_BAD_POINTER, JSON_NULL, "" },
		{ "/none/~", JSON_BAD_POINTER, JSON_NULL, "" }, { "/id~/x", JSON_BAD_POINTER, JSON_NULL, "" }, { "#/id", JSON_BAD_POINTER, JSON_NULL, "" },
		{ " /id", JSON_BAD_POINTER, JSON_NULL, "" },
	};
	struct slice text = exact(slice_of(order));
	struct json_value value;

	is_int(json_scan_check(text, NULL), JSON_OK, "the order is good");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t offset = 0;
		enum json_status status = find(text, cases[i].pointer, &value, &offset);
		bool good = status == cases[i].status;

		if (good && status == JSON_OK)
			good = value.kind == cases[i].kind && slice_is(value.raw, cases[i].raw);
		if (good && status == JSON_ESCAPED_NUL)
			good = strncmp(text.data + offset, cases[i].raw, strlen(cases[i].raw)) == 0;
		ok(good, "pointer \"%s\"", cases[i].pointer) || (diag("status %d: %s", status, json_status_text(status)), 0);
		is_int(json_pointer_valid(cases[i].pointer), cases[i].status != JSON_BAD_POINTER, "is one, or not");
	}
	ok(find(text, "", &value, NULL) == JSON_OK && value.kind == JSON_OBJECT && value.raw.len == text.len, "the whole text");
	drop(text);
	text = exact(slice_of("  [1]\n"));
	ok(find(text, "", &value, NULL) == JSON_OK && slice_is(value.raw, "[1]"), "without the spaces around it");
	drop(text);
	text = exact(slice_of(" \"x\""));
	ok(find(text, "", &value, NULL) == JSON_OK && slice_is(value.raw, "\"x\""), "a scalar");
	is_int(find(text, "/x", &value, NULL), JSON_MISSING, "which has nothing in it");
	drop(text);
}

static void
test_double_keys(void)
{
	static const struct { const char *text, *pointer; enum json_status status; size_t offset; } cases[] = {
		{ "{\"a\":1,\"a\":2}", "/a", JSON_DOUBLE_KEY, 7 }, { "{\"a\":1,\"b\":2,\"a\":1}", "/a", JSON_DOUBLE_KEY, 13 },
		{ "{\"a\":1,\"\\u0061\":2}", "/a", JSON_DOUBLE_KEY, 7 }, { "{\"\\u0061\":1,\"a\":2}", "/a", JSON_DOUBLE_KEY, 12 },
		{ "{\"\\u0061\":1,\"\\u0061\":2}", "/a", JSON_DOUBLE_KEY, 12 }, { "{\"a/b\":1,\"a\\/b\":2}", "/a~1b", JSON_DOUBLE_KEY, 9 },
		{ "{\"a\":{\"b\":1},\"a\":{\"b\":2}}", "/a/b", JSON_DOUBLE_KEY, 13 }, { "{\"a\":{\"b\":1,\"b\":2}}", "/a/b", JSON_DOUBLE_KEY, 12 },
		{ "[{\"b\":1,\"b\":2}]", "/0/b", JSON_DOUBLE_KEY, 8 }, { "{\"\":1,\"\":2}", "/", JSON_DOUBLE_KEY, 6 },
		{ "{\"\xf0\x9f\x98\x80\":1,\"\\ud83d\\ude00\":2}", "/\xf0\x9f\x98\x80", JSON_DOUBLE_KEY, 10 },
		/* Those that are not asked for do not matter. */
		{ "{\"a\":1,\"b\":2,\"b\":3}", "/a", JSON_OK, 0 }, { "{\"a\":1,\"b\":{\"a\":2}}", "/a", JSON_OK, 0 },
		{ "{\"a\":1,\"A\":2}", "/a", JSON_OK, 0 }, { "[{\"b\":1},{\"b\":2}]", "/0/b", JSON_OK, 0 }, { "{\"b\":1,\"b\":2}", "/a", JSON_MISSING, 0 },
		{ "{\"a\":1,\"a\":2}", "", JSON_OK, 0 }, { "{\"c\":{\"a\":1,\"a\":2}}", "/c", JSON_OK, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct slice text = exact(slice_of(cases[i].text));
		struct json_value value;
		size_t offset = 0;
		enum json_status status = find(text, cases[i].pointer, &value, &offset);

		ok(status == cases[i].status && offset == cases[i].offset, "double keys: %s in %s", cases[i].pointer, cases[i].text) ||
		    (diag("status %d, offset %zu", status, offset), 0);
		drop(text);
	}
}

static void
test_unescape(void)
{
	static const struct { const char *raw, *text; enum json_status status; } cases[] = {
		{ "\"\"", "", JSON_OK }, { "\"plain\"", "plain", JSON_OK }, { "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t", JSON_OK },
		{ "\"\\u0041\\u00e9\\u20AC\\ud83d\\ude00\"", "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", JSON_OK },
		{ "\"\\u007f\\u0080\\u07ff\\u0800\\uffff\\ud800\\udc00\\udbff\\udfff\"",
		  "\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", JSON_OK },
		{ "\"a\\nb\\nc\"", "a\nb\nc", JSON_OK }, { "\"\\\\u0000\"", "\\u0000", JSON_OK }, { "\"\xe2\x82\xac\"", "\xe2\x82\xac", JSON_OK },
		{ "\"\\u0000\"", "", JSON_ESCAPED_NUL }, { "\"abc\\u0000def\"", "", JSON_ESCAPED_NUL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct slice raw = exact(slice_of(cases[i].raw));
		char *out = xmalloc(raw.len);
		size_t len = 99;
		enum json_status status = json_scan_unescape(raw, out, &len);

		is_int(check(raw, NULL), JSON_OK, "%s is JSON", cases[i].raw);
		ok(status == cases[i].status && (status != JSON_OK || (len == strlen(cases[i].text) && strcmp(out, cases[i].text) == 0)),
		    "unescaped: %s", cases[i].raw);
		drop(raw);
		free(out);
	}
}

/* All members of all objects, written one after the other. */
static void
walk(struct slice container, struct buf *out)
{
	struct json_value value;
	struct slice key;

	for (size_t at = 0; json_scan_next(container, &at, &key, &value);) {
		buf_printf(out, "%.*s=%d%.*s;", (int)key.len, key.data, value.kind, (int)value.raw.len, value.raw.data);
		if (value.kind == JSON_ARRAY || value.kind == JSON_OBJECT)
			walk(value.raw, out);
	}
}

static void
test_next(void)
{
	static const struct { const char *text, *wanted; } cases[] = {
		{ "[]", "" }, { "{}", "" }, { "[ ]", "" }, { "{ \n }", "" }, { "[1]", "=31;" }, { "[1,\"a\" , null]", "=31;=4\"a\";=0null;" },
		{ "{\"a\":1,\"b\":true}", "\"a\"=31;\"b\"=2true;" }, { "{ \"a\\\"\" : 1 , \"\" :\t[ ] }", "\"a\\\"\"=31;\"\"=5[ ];" },
		{ "[[1,2],{\"x\":[3]}]", "=5[1,2];=31;=32;=6{\"x\":[3]};\"x\"=5[3];=33;" }, { "[\"]\",\"},\"]", "=4\"]\";=4\"},\";" },
		{ "1", "" }, { "\"[1]\"", "" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct slice text = exact(slice_of(cases[i].text));
		struct buf out = BUF_INIT;

		walk(text, &out);
		is_str(out.data, cases[i].wanted, "members of %s", cases[i].text);
		buf_release(&out);
		drop(text);
	}
}

static void
test_quote(void)
{
	static const struct { struct slice text; const char *wanted; } cases[] = {
		{ { NULL, 0 }, "\"\"" }, { BYTES("plain"), "\"plain\"" }, { BYTES("\"\\/"), "\"\\\"\\\\/\"" },
		{ BYTES("\n\t\r\b\f\x1f\x7f\0"), "\"\\n\\t\\u000d\\u0008\\u000c\\u001f\x7f\\u0000\"" },
		{ BYTES("gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80"), "\"gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80\"" },
		{ BYTES("\xff" "a\xe2\x82"), "\"\xef\xbf\xbd" "a\xef\xbf\xbd\xef\xbf\xbd\"" }, { BYTES("\xed\xa0\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },
	};
	char all[256];
	struct buf out = BUF_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		buf_clear(&out);
		json_quote(&out, cases[i].text);
		is_str(out.data, cases[i].wanted, "quoted, number %zu", i);
	}
	for (int i = 0; i < 256; i++)
		all[i] = (char)i;
	buf_clear(&out);
	json_quote(&out, (struct slice){ all, sizeof(all) });
	is_int(check((struct slice){ out.data, out.len }, NULL), JSON_OK, "all bytes, quoted, are JSON");
	buf_release(&out);
}

/* A valid text cut anywhere is not valid, but for trailing spaces. */
static void
test_cut(void)
{
	size_t len = strlen(order);
	bool good = true;

	for (size_t i = 0; i < len; i++) {
		size_t offset = len + 1;

		good = good && check((struct slice){ order, i }, &offset) != JSON_OK && offset <= i;
	}
	ok(good, "cut at each byte");
}

/* More values than an index holds. */
static void
test_large(void)
{
	struct buf text = BUF_INIT;
	struct json_value value;
	static struct json_index index;
	bool good = true;

	for (int values = JSON_INDEX_MAX - 3; values < JSON_INDEX_MAX + 3; values++) {
		buf_clear(&text);
		buf_puts(&text, "[[{\"a\":0}]");
		for (int i = 4; i < values; i++)
			buf_printf(&text, ",%d", i);
		buf_putc(&text, ']');
		good = good && json_scan_index((struct slice){ text.data, text.len }, &index, NULL) == JSON_OK;
		good = good && index.whole == (values <= JSON_INDEX_MAX);
		good = good && find((struct slice){ text.data, text.len }, "/0/0/a", &value, NULL) == JSON_OK && slice_is(value.raw, "0");
		good = good && find((struct slice){ text.data, text.len }, "/249", &value, NULL) == JSON_OK && slice_is(value.raw, "252");
	}
	ok(good, "about as many values as an index holds");
	is_int(json_scan_index(slice_of("[1"), &index, NULL), JSON_SYNTAX, "no index of what is not good");
	is_int(json_scan_lookup(&index, "/1", &value, NULL), JSON_MISSING, "nothing is found there");
	is_int(json_scan_index((struct slice){ NULL, 0 }, &index, NULL), JSON_SYNTAX, "nor of nothing");
	is_int(json_scan_lookup(&index, "/1", &value, NULL), JSON_MISSING, "nothing is found there");
	buf_release(&text);
}

/* Whatever the bytes are: no read beyond the end, an offset inside, and what is accepted can be walked. */
static void
test_mutations(unsigned seed)
{
	static const char alphabet[] = "{}[]\",:\\u0dt-.e \n\x80\xc3\xff";
	size_t len = strlen(order);
	int accepted = 0, rounds = 20000;
	bool good = true;
	struct buf out = BUF_INIT;

	for (int round = 0; round < rounds && good; round++) {
		static const char *const pointers[] = { "", "/items/1/price/1/0", "/key", "/customer/name", "/none", "/bad", "/0" };
		struct slice text;
		char *copy;
		size_t offset = 0, size;
		enum json_status status;
		struct json_value value = { JSON_NULL, { "", 0 } };

		seed = seed * 1103515245 + 12345;
		size = seed >> 30 == 0 ? (seed >> 8) % len : len;
		copy = xmalloc(size);
		memcpy(copy, order, size);
		for (unsigned i = 0; i < 1 + round % 4u && size > 0; i++) {
			seed = seed * 1103515245 + 12345;
			copy[(seed >> 16) % size] = alphabet[(seed >> 8) % (sizeof(alphabet) - 1)];
		}
		text = (struct slice){ copy, size };
		status = json_scan_check(text, &offset);
		good = status == JSON_OK || offset <= size;
		accepted += status == JSON_OK;
		/* The finders must bear also what was refused. */
		for (size_t i = 0; i < ARRAY_SIZE(pointers); i++) {
			if (find(text, pointers[i], &value, &offset) != JSON_OK)
				continue;
			good = good && value.raw.data >= copy && value.raw.len <= size && value.raw.data + value.raw.len <= copy + size;
			if (status == JSON_OK)
				good = good && check(value.raw, NULL) == JSON_OK;
		}
		if (status == JSON_OK) {
			buf_clear(&out);
			walk(text, &out);
			good = good && utf8_valid(copy, size);
		}
		if (!good)
			diag("round %d: %.*s", round, (int)size, copy);
		free(copy);
	}
	buf_release(&out);
	ok(good, "%d mutations, seed %u", rounds, seed);
	ok(accepted > 0 && accepted < rounds, "some of them are still good (%d)", accepted);
}

static void
test_status_texts(void)
{
	bool good = true;

	for (int status = JSON_NO_ROOM; status <= JSON_OK; status++) {
		const char *text = json_status_text((enum json_status)status);

		good = good && text[0] != '\0' && strcmp(text, "unknown") != 0;
		for (int other = JSON_NO_ROOM; other < status; other++)
			good = good && strcmp(text, json_status_text((enum json_status)other)) != 0;
	}
	ok(good, "each status has its text");
}

int
main(void)
{
	test_accepted();
	test_refused();
	test_places();
	test_depth();
	test_find();
	test_double_keys();
	test_unescape();
	test_next();
	test_quote();
	test_cut();
	test_large();
	for (unsigned seed = 1; seed <= 5; seed++)
		test_mutations(seed);
	test_status_texts();
	return done_testing();
}
