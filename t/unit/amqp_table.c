/* Unit tests of util/amqp_table: AMQP values as text. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "util/amqp_conn_internal.h"
#include "util/amqp_consumer.h"

#include "t/unit/tap.h"

enum { MOST = 64 };

static amqp_table_entry_t entries[MOST];
static amqp_table_t table = { 0, entries };
static const struct amqp_delivery delivery = { .headers = &table };

static amqp_field_value_t *
add(const char *name, uint8_t kind)
{
	amqp_table_entry_t *entry = &entries[table.num_entries++];

	memset(entry, 0, sizeof(*entry));
	entry->key = amqp_cstring_bytes(name);
	entry->value.kind = kind;
	return &entry->value;
}

static amqp_field_value_t
string(const char *text, size_t len)
{
	amqp_field_value_t value = { .kind = AMQP_FIELD_KIND_UTF8 };

	value.value.bytes = amqp_bytes_of((struct slice){ text, len });
	return value;
}

static void
is_header(const char *name, const char *wanted)
{
	struct buf scratch = BUF_INIT, copy = BUF_INIT;
	struct slice value;

	buf_puts(&scratch, "kept");
	if (ok(amqp_delivery_header(&delivery, name, &scratch, &value), "header %s is there", name)) {
		buf_slice(&copy, value);
		is_str(copy.data, wanted, "header %s", name);
	}
	ok(memcmp(scratch.data, "kept", 4) == 0, "header %s: what was in the scratch buffer stays", name);
	buf_release(&scratch);
	buf_release(&copy);
}

struct seen { struct buf text; size_t count; };

static void
see(void *arg, struct slice name, struct slice value)
{
	struct seen *seen = arg;

	seen->count++;
	buf_slice(&seen->text, name);
	buf_putc(&seen->text, '=');
	buf_slice(&seen->text, value);
	buf_putc(&seen->text, ';');
}

static void
test_scalars(void)
{
	table.num_entries = 0;
	add("bool", AMQP_FIELD_KIND_BOOLEAN)->value.boolean = 1;
	add("no", AMQP_FIELD_KIND_BOOLEAN)->value.boolean = 0;
	add("i8", AMQP_FIELD_KIND_I8)->value.i8 = INT8_MIN;
	add("u8", AMQP_FIELD_KIND_U8)->value.u8 = UINT8_MAX;
	add("i16", AMQP_FIELD_KIND_I16)->value.i16 = INT16_MIN;
	add("u16", AMQP_FIELD_KIND_U16)->value.u16 = UINT16_MAX;
	add("i32", AMQP_FIELD_KIND_I32)->value.i32 = INT32_MIN;
	add("u32", AMQP_FIELD_KIND_U32)->value.u32 = UINT32_MAX;
	add("i64", AMQP_FIELD_KIND_I64)->value.i64 = INT64_MIN;
	add("u64", AMQP_FIELD_KIND_U64)->value.u64 = UINT64_MAX;
	add("time", AMQP_FIELD_KIND_TIMESTAMP)->value.u64 = 1700000000;
	add("f32", AMQP_FIELD_KIND_F32)->value.f32 = 0.1f;
	add("f64", AMQP_FIELD_KIND_F64)->value.f64 = 0.1;
	add("precise", AMQP_FIELD_KIND_F64)->value.f64 = 0.1 + 0.2;
	add("most", AMQP_FIELD_KIND_F64)->value.f64 = DBL_MAX;
	add("nan", AMQP_FIELD_KIND_F64)->value.f64 = NAN;
	add("d0", AMQP_FIELD_KIND_DECIMAL)->value.decimal = (amqp_decimal_t){ 0, 1234 };
	add("d2", AMQP_FIELD_KIND_DECIMAL)->value.decimal = (amqp_decimal_t){ 2, 1234 };
	add("d4", AMQP_FIELD_KIND_DECIMAL)->value.decimal = (amqp_decimal_t){ 4, 1234 };
	add("d6", AMQP_FIELD_KIND_DECIMAL)->value.decimal = (amqp_decimal_t){ 6, 1234 };
	add("text", AMQP_FIELD_KIND_UTF8)->value.bytes = amqp_cstring_bytes("a \"b\"");
	add("bytes", AMQP_FIELD_KIND_BYTES)->value.bytes = amqp_cstring_bytes("\x01\xff");
	add("empty", AMQP_FIELD_KIND_UTF8);
	add("void", AMQP_FIELD_KIND_VOID);
	add("unknown", '?');
	is_header("bool", "true");
	is_header("no", "false");
	is_header("i8", "-128");
	is_header("u8", "255");
	is_header("i16", "-32768");
	is_header("u16", "65535");
	is_header("i32", "-2147483648");
	is_header("u32", "4294967295");
	is_header("i64", "-9223372036854775808");
	is_header("u64", "18446744073709551615");
	is_header("time", "1700000000");
	is_header("f32", "0.1");
	is_header("f64", "0.1");
	is_header("precise", "0.30000000000000004");
	is_header("most", "1.7976931348623157e+308");
	is_header("nan", "nan");
	is_header("d0", "1234");
	is_header("d2", "12.34");
	is_header("d4", "0.1234");
	is_header("d6", "0.001234");
	is_header("text", "a \"b\"");
	is_header("bytes", "\x01\xff");
	is_header("empty", "");
	is_header("unknown", "null");

	struct buf scratch = BUF_INIT;
	struct slice value;
	struct seen seen = { .text = BUF_INIT };
	static const struct { const char *name; int64_t wanted; } numbers[] = {
		{ "i8", INT8_MIN }, { "u8", UINT8_MAX }, { "i16", INT16_MIN }, { "u16", UINT16_MAX }, { "i32", INT32_MIN }, { "u32", UINT32_MAX },
		{ "i64", INT64_MIN }, { "u64", INT64_MAX }, { "time", 1700000000 }, { "bool", -7 }, { "f64", -7 }, { "text", -7 }, { "nowhere", -7 }
	};

	ok(!amqp_delivery_header(&delivery, "void", &scratch, &value), "a void header is not there");
	ok(!amqp_delivery_header(&delivery, "nowhere", &scratch, &value), "a missing header is not there");
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		is_int(amqp_delivery_header_int(&delivery, numbers[i].name, -7), numbers[i].wanted, "%s as an integer", numbers[i].name);
	buf_puts(&scratch, "kept");
	amqp_delivery_headers(&delivery, &scratch, see, &seen);
	is_int(seen.count, table.num_entries - 1, "all but the void one are shown");
	ok(strncmp(seen.text.data, "bool=true;no=false;i8=-128;", 27) == 0, "in order");
	is_str(scratch.data, "kept", "the scratch buffer is as it was");
	buf_release(&scratch);
	buf_release(&seen.text);
}

static void
test_json(void)
{
	amqp_field_value_t list[4], inner[2];
	amqp_table_entry_t fields[3];

	table.num_entries = 0;
	list[0] = string("a\"\\\n\x7f", 5);
	list[1] = string("\xc3\xa4\xff\0z", 5);
	list[2] = (amqp_field_value_t){ .kind = AMQP_FIELD_KIND_F64, .value.f64 = INFINITY };
	list[3] = (amqp_field_value_t){ .kind = AMQP_FIELD_KIND_VOID };
	add("array", AMQP_FIELD_KIND_ARRAY)->value.array = (amqp_array_t){ 4, list };
	inner[0] = (amqp_field_value_t){ .kind = AMQP_FIELD_KIND_I32, .value.i32 = 1 };
	inner[1] = (amqp_field_value_t){ .kind = AMQP_FIELD_KIND_DECIMAL, .value.decimal = { 1, 25 } };
	fields[0].key = amqp_cstring_bytes("k\"");
	fields[0].value = (amqp_field_value_t){ .kind = AMQP_FIELD_KIND_ARRAY, .value.array = { 2, inner } };
	fields[1].key = amqp_cstring_bytes("t");
	fields[1].value = (amqp_field_value_t){ .kind = AMQP_FIELD_KIND_BOOLEAN, .value.boolean = 1 };
	fields[2].key = amqp_cstring_bytes("e");
	fields[2].value = (amqp_field_value_t){ .kind = AMQP_FIELD_KIND_TABLE };
	add("table", AMQP_FIELD_KIND_TABLE)->value.table = (amqp_table_t){ 3, fields };
	add("nothing", AMQP_FIELD_KIND_ARRAY);
	is_header("array", "[\"a\\\"\\\\\\u000a\\u007f\",\"\xc3\xa4\xef\xbf\xbd\\u0000z\",null,null]");
	is_header("table", "{\"k\\\"\":[1,2.5],\"t\":true,\"e\":{}}");
	is_header("nothing", "[]");
}

static void
test_depth(void)
{
	static const char null[] = { 'n', 'u', 'l', 'l' };
	amqp_field_value_t deep[20];
	char wanted[2 * 20 + 8] = "";

	table.num_entries = 0;
	deep[19] = (amqp_field_value_t){ .kind = AMQP_FIELD_KIND_I32, .value.i32 = 1 };
	for (int i = 18; i >= 0; i--)
		deep[i] = (amqp_field_value_t){ .kind = AMQP_FIELD_KIND_ARRAY, .value.array = { 1, &deep[i + 1] } };
	add("d16", AMQP_FIELD_KIND_ARRAY)->value = deep[3].value;	/* 16 arrays and a number */
	add("d19", AMQP_FIELD_KIND_ARRAY)->value = deep[0].value;
	memset(wanted, '[', 16);
	wanted[16] = '1';
	memset(wanted + 17, ']', 16);
	is_header("d16", wanted);
	memset(wanted, '[', 16);
	memcpy(wanted + 16, null, sizeof(null));
	memset(wanted + 20, ']', 16);
	is_header("d19", wanted);
}

static void
test_ours(void)
{
	static const struct amqp_header headers[] = {
		{ .name = "s", .kind = AMQP_STRING, .text = { "text", 4 } }, { .name = "i", .kind = AMQP_INT, .number = -5 },
		{ .name = "b", .kind = AMQP_BOOL, .number = 7 }, { .name = "d", .kind = AMQP_DOUBLE, .real = 2.5 }, { .name = "v", .kind = AMQP_VOID },
		{ .name = "", .kind = AMQP_STRING }
	};
	char bytes[256];
	amqp_bytes_t encoded = { sizeof(bytes), bytes };
	size_t size = 0, counted = 4;

	amqp_table_entries(headers, ARRAY_SIZE(headers), entries);
	table.num_entries = ARRAY_SIZE(headers);
	is_header("s", "text");
	is_header("i", "-5");
	is_header("b", "true");
	is_header("d", "2.5");
	for (size_t i = 0; i < ARRAY_SIZE(headers); i++)
		counted += amqp_header_encoded_size(&headers[i]);
	is_int(amqp_encode_table(encoded, &table, &size), AMQP_STATUS_OK, "our headers can be encoded");
	is_int(counted, size, "and have the size that was foretold");
}

int
main(void)
{
	static const struct amqp_delivery bare = { .headers = NULL };
	struct seen seen = { .text = BUF_INIT };
	struct buf scratch = BUF_INIT;
	struct slice value;

	amqp_delivery_headers(&bare, &scratch, see, &seen);
	ok(seen.count == 0 && !amqp_delivery_header(&bare, "x", &scratch, &value) && amqp_delivery_header_int(&bare, "x", 3) == 3,
	    "a message without headers has none");
	test_scalars();
	test_json();
	test_depth();
	test_ours();
	return done_testing();
}
