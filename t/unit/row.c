/* Unit tests of outbox-relay/row and row_message: lists, the order within an aggregate, and what a row becomes. */
#include "outbox-relay/row.h"

#include "t/unit/tap.h"
#include "util/arena.h"
#include "util/json_scan.h"

static struct arena arena = ARENA_INIT;
static struct outbox_table outbox = OUTBOX_TABLE_INIT;
static struct row_message_maker maker;

static struct row *
make_row(int64_t seq)
{
	struct row *row = xcalloc(1, sizeof(*row) + OUTBOX_COLUMNS * sizeof(struct slice));

	row->seq = seq;
	row->columns[OUTBOX_SEQ] = slice_of("7");
	row->columns[OUTBOX_ID] = slice_of("0b7fa6a4-14a9-4f4f-a2a0-70ae1cf6fde0");
	row->columns[OUTBOX_AGGREGATE_TYPE] = slice_of("order");
	row->columns[OUTBOX_AGGREGATE_ID] = slice_of("o1");
	row->columns[OUTBOX_TYPE] = slice_of("Placed");
	row->columns[OUTBOX_PAYLOAD] = slice_of("{\"a\": 1}");
	row->columns[OUTBOX_CREATED] = slice_of("1700000000");
	return row;
}

static const char *
order_of(const struct aggregate *aggregate)
{
	static char text[128];
	size_t len = 0;

	text[0] = '\0';
	for (const struct row *row = aggregate->head; row != NULL; row = row->behind)
		len += (size_t)snprintf(text + len, sizeof(text) - len, " %lld", (long long)row->seq);
	return text;
}

static void
test_aggregate(void)
{
	static const int64_t seqs[] = { 10, 30, 40, 20, 5, 35, 50 };
	struct aggregate *aggregate = aggregate_new((struct slice){ "order\0o1", 8 }, 5);
	struct row *row;

	for (size_t i = 0; i < ARRAY_SIZE(seqs); i++)
		aggregate_insert(aggregate, make_row(seqs[i]));
	is_str(order_of(aggregate), " 10 5 20 30 35 40 50", "by seq, but never before the head, which may be out already");
	is_int(aggregate->tail->seq, 50, "the tail is the last one");
	is_int(aggregate->count, 7, "all are counted");
	ok(slice_is(aggregate_type(aggregate), "order") && slice_is(aggregate_id(aggregate), "o1"), "its names");
	while ((row = aggregate->head) != NULL) {
		aggregate->head = row->behind;
		row_free(&row);
	}
	free(aggregate);
}

static void
test_list(void)
{
	struct row_list list = { NULL, NULL, 0 };
	struct row *rows[4];

	for (int i = 0; i < 4; i++)
		rows[i] = make_row(i);
	row_list_append(&list, rows[1]);
	row_list_append(&list, rows[2]);
	row_list_prepend(&list, rows[0]);
	row_list_append(&list, rows[3]);
	ok(list.head == rows[0] && rows[0]->next == rows[1] && rows[1]->next == rows[2] && list.tail == rows[3] && list.count == 4, "appended, prepended");
	row_list_remove(&list, rows[1]);
	row_list_remove(&list, rows[0]);
	row_list_remove(&list, rows[3]);
	ok(list.head == rows[2] && list.tail == rows[2] && rows[2]->next == NULL && rows[2]->previous == NULL && list.count == 1, "removed from all places");
	row_list_remove(&list, rows[2]);
	ok(list.head == NULL && list.tail == NULL && list.count == 0, "the last one as well");
	for (int i = 0; i < 4; i++)
		row_free(&rows[i]);
}

static size_t
print_header(char *text, size_t size, const struct amqp_header *h)
{
	size_t len = 0;

	if (h->name[0] != '\0')
		len += (size_t)snprintf(text, size, "%s=", h->name);
	if (h->kind == AMQP_STRING)
		len += (size_t)snprintf(text + len, size - len, "S:%.*s", (int)h->text.len, h->text.data);
	else if (h->kind == AMQP_DOUBLE)
		len += (size_t)snprintf(text + len, size - len, "d:%.17g", h->real);
	else if (h->kind == AMQP_VOID)
		len += (size_t)snprintf(text + len, size - len, "V");
	else if (h->kind == AMQP_TABLE || h->kind == AMQP_ARRAY) {
		len += (size_t)snprintf(text + len, size - len, h->kind == AMQP_TABLE ? "F{" : "A[");
		for (size_t i = 0; i < h->item_count && len < size; i++) {
			len += (size_t)snprintf(text + len, size - len, i == 0 ? "" : " ");
			len += print_header(text + len, size - len, &h->items[i]);
		}
		len += (size_t)snprintf(text + len, size - len, h->kind == AMQP_TABLE ? "}" : "]");
	} else
		len += (size_t)snprintf(text + len, size - len, "%c:%lld", h->kind == AMQP_INT ? 'l' : 't', (long long)h->number);
	return len;
}

/* Headers as text: name=kind:value ... */
static const char *
print_headers(struct row *row)
{
	static char text[4096];
	struct amqp_message message;
	char error[512];
	size_t len = 0;

	if (row_message(&maker, row, &message, error, sizeof(error)) != 0) {
		snprintf(text, sizeof(text), "error: %s", error);
		row_free(&row);
		return text;
	}
	text[0] = '\0';
	for (size_t i = 0; i < message.header_count && len < sizeof(text); i++) {
		len += (size_t)snprintf(text + len, sizeof(text) - len, i == 0 ? "" : " ");
		len += print_header(text + len, sizeof(text) - len, &message.headers[i]);
	}
	row_free(&row);
	return text;
}

static const char *
headers_of(const char *json)
{
	struct row *row = make_row(1);

	row->columns[OUTBOX_HEADERS] = slice_of(json);
	return print_headers(row);
}

static void
test_headers(void)
{
#define OWN "aggregatetype=S:order aggregateid=S:o1"
	char many[4000] = "{";
	size_t len = 1;

	is_str(headers_of(NULL), OWN, "no headers");
	is_str(headers_of("{}"), OWN, "an empty object");
	is_str(headers_of("null"), OWN, "a JSON null");
	is_str(headers_of("{\"a\": \"b\", \"c\": \"\"}"), OWN " a=S:b c=S:", "texts");
	is_str(headers_of("{\"a\": \"x\\n\\u00e9\\\"\", \"b\\u0041\": \"\"}"), OWN " a=S:x\n\xc3\xa9\" bA=S:", "escapes, in names as well");
	is_str(headers_of("{\"a\": 0, \"b\": -9223372036854775808, \"c\": 9223372036854775807}"), OWN
	    " a=l:0 b=l:-9223372036854775808 c=l:9223372036854775807", "integers");
	is_str(headers_of("{\"a\": 9223372036854775808, \"b\": 1e999, \"c\": -1e999}"), OWN " a=S:9223372036854775808 b=S:1e999 c=S:-1e999",
	    "numbers that fit nothing are texts");
	is_str(headers_of("{\"a\": 0.5, \"b\": 1e3, \"c\": 1E-400}"), OWN " a=d:0.5 b=d:1000 c=S:1E-400", "doubles");
	is_str(headers_of("{\"a\": true, \"b\": false, \"c\": null}"), OWN " a=t:1 b=t:0 c=V", "booleans and null");
	is_str(headers_of("{\"a\": [1, {\"b\": 2}, null, \"x\"], \"c\": {\"d\": []}, \"e\": {}}"), OWN " a=A[l:1 F{b=l:2} V S:x] c=F{d=A[]} e=F{}",
	    "arrays and objects");
	is_str(headers_of("{\"a\": 0.1, \"b\": 12.50, \"c\": -0.8414709848078965, \"d\": 0.0, \"e\": 1.7976931348623157e308, \"f\": 100.0}"), OWN
	    " a=d:0.10000000000000001 b=d:12.5 c=d:-0.8414709848078965 d=d:0 e=d:1.7976931348623157e+308 f=d:100", "doubles that are what is written");
	is_str(headers_of("{\"a\": 0.12345678901234567, \"b\": 123456789.123456789, \"c\": 0.1000000000000000055511151231257827}"), OWN
	    " a=S:0.12345678901234567 b=S:123456789.123456789 c=S:0.1000000000000000055511151231257827", "no digit is lost");
	is_str(headers_of("{\"a\": 0.0e-99999999999999999999, \"b\": 0e99999999999999999999, \"c\": -0.0}"), OWN " a=d:0 b=d:0 c=d:-0", "zero is zero");
	is_str(headers_of(" {\"a\": 1} "), OWN " a=l:1", "white space around");
	is_str(headers_of("{\"x-pawl-queue\": 1, \"X-PAWL-x\": 1, \"CC\": [\"q\"], \"BCC\": \"q\", \"aggregateid\": 1, \"aggregatetype\": 1, \"cc\": 1}"),
	    OWN " cc=l:1", "names that are not the row's");
	is_str(headers_of("{\"a\\u0000b\": 1}"), "error: header \"a\\u0000b\" holds an escaped NUL", "an escaped NUL");
	is_str(headers_of("[1]"), "error: the headers are no JSON object", "no object");
	ok(strncmp(headers_of("{\"a\": }"), "error: the headers cannot be read at byte 6:", 44) == 0, "no JSON");
	for (int i = 0; i < 100; i++)
		len += (size_t)snprintf(many + len, sizeof(many) - len, "%s\"h%d\": %d", i == 0 ? "" : ",", i, i);
	snprintf(many + len, sizeof(many) - len, "}");
	ok(strstr(headers_of(many), "h99=l:99") != NULL, "many headers");
}

static const char *
refused(struct row *row)
{
	static char error[512];
	struct amqp_message message;

	error[0] = '\0';
	if (row_message(&maker, row, &message, error, sizeof(error)) == 0)
		snprintf(error, sizeof(error), "good: %.*s", (int)message.message_id.len, message.message_id.data);
	row_free(&row);
	return error;
}

static void
test_message(void)
{
	struct amqp_message message;
	struct row *row = make_row(7);
	char error[512], key[300];

	ok(row_message(&maker, row, &message, error, sizeof(error)) == 0, "a good row");
	ok(slice_is(message.exchange, "order") && slice_is(message.routing_key, "x.Placed"), "its route");
	ok(slice_is(message.message_id, "0b7fa6a4-14a9-4f4f-a2a0-70ae1cf6fde0") && slice_is(message.type, "Placed") && slice_is(message.app_id, "box") &&
	    slice_is(message.content_type, "application/json") && message.timestamp_s == 1700000000 && message.priority == -1, "its properties");
	ok(message.body_size == 8 && memcmp(message.body, "{\"a\": 1}", 8) == 0, "its body");
	row_free(&row);

	row = make_row(7);
	row->columns[OUTBOX_ID] = (struct slice){ NULL, 0 };
	is_str(refused(row), "good: box/7", "without id the seq stands in");
	outbox.id_is_uuid = false;
	row = make_row(7);
	row->columns[OUTBOX_ID] = slice_of("12");
	is_str(refused(row), "good: box/12", "an id that is no UUID is told apart from other outboxes'");
	outbox.id_is_uuid = true;
	row = make_row(7);
	row->columns[OUTBOX_AGGREGATE_TYPE] = (struct slice){ NULL, 0 };
	is_str(refused(row), "the exchange needs column aggregatetype, which is null in this row", "a null in a template");
	memset(key, 'k', sizeof(key));
	row = make_row(7);
	row->columns[OUTBOX_TYPE] = (struct slice){ key, 254 };
	is_str(refused(row), "the routing key is 256 bytes long, at most 255 are possible", "a route that is too long");
	row = make_row(7);
	row->columns[OUTBOX_PAYLOAD] = (struct slice){ key, 101 };
	is_str(refused(row), "the payload is 101 bytes long, at most 100 are allowed (max_body)", "a payload that is too long");
	row = make_row(7);
	row->columns[OUTBOX_PAYLOAD] = (struct slice){ NULL, 0 };
	row->too_large = 123456;
	is_str(refused(row), "the payload is 123456 bytes long, at most 100 are allowed (max_body)", "one that was not even read");
	row = make_row(7);
	row->columns[OUTBOX_PAYLOAD] = row->columns[OUTBOX_CREATED] = row->columns[OUTBOX_AGGREGATE_ID] = (struct slice){ NULL, 0 };
	is_str(refused(row), "good: 0b7fa6a4-14a9-4f4f-a2a0-70ae1cf6fde0", "nulls elsewhere are good");
}

static void
test_parts(void)
{
	struct amqp_message message;
	struct row *row = make_row(7);
	char error[512];

	row->columns[OUTBOX_CONTENT_TYPE] = slice_of("text/csv");
	row->columns[OUTBOX_PRIORITY] = slice_of("9");
	row->columns[OUTBOX_EXPIRATION] = slice_of("60000");
	ok(row_message(&maker, row, &message, error, sizeof(error)) == 0 && slice_is(message.content_type, "text/csv") && message.priority == 9 &&
	    slice_is(message.expiration, "60000"), "content type, priority and expiration by column");
	row->columns[OUTBOX_PRIORITY] = slice_of("256");
	is_str(refused(row), "the priority is 256, it must be 0 to 255", "a priority that is none");
	row = make_row(7);
	row->columns[OUTBOX_PRIORITY] = slice_of("-1");
	is_str(refused(row), "the priority is -1, it must be 0 to 255", "nor is this one");
	row = make_row(7);
	row->columns[OUTBOX_TRACEPARENT] = slice_of("00-x");
	row->columns[OUTBOX_HEADERS] = slice_of("{\"traceparent\": \"00-y\", \"b\": 1}");
	is_str(print_headers(row), OWN " traceparent=S:00-x b=l:1", "a column wins over a header");
}

static void
test_cloudevents(void)
{
	struct row *row = make_row(7);

	maker.cloudevents = true;
	row->columns[OUTBOX_CREATED] = slice_of("1700000000.123456");
	row->columns[OUTBOX_HEADERS] = slice_of("{\"cloudEvents_id\": \"mine\", \"cloudEvents_dataschema\": \"/s\"}");
	is_str(print_headers(row), OWN " cloudEvents_specversion=S:1.0 cloudEvents_id=S:0b7fa6a4-14a9-4f4f-a2a0-70ae1cf6fde0"
	    " cloudEvents_source=S:/order cloudEvents_type=S:Placed cloudEvents_time=S:2023-11-14T22:13:20.123456Z cloudEvents_subject=S:o1"
	    " cloudEvents_dataschema=S:/s", "a CloudEvent");
	row = make_row(7);
	row->columns[OUTBOX_CREATED] = row->columns[OUTBOX_AGGREGATE_ID] = (struct slice){ NULL, 0 };
	is_str(print_headers(row), "aggregatetype=S:order cloudEvents_specversion=S:1.0 cloudEvents_id=S:0b7fa6a4-14a9-4f4f-a2a0-70ae1cf6fde0"
	    " cloudEvents_source=S:/order cloudEvents_type=S:Placed", "without time and subject");
	row = make_row(7);
	row->columns[OUTBOX_TYPE] = slice_of("");
	is_str(refused(row), "a CloudEvent needs a type, which is empty in this row", "it needs a type");
	maker.cloudevents = false;
}

int
main(void)
{
	char error[256];

	if (outbox_template_parse("{aggregatetype}", &arena, &outbox.exchange, error, sizeof(error)) != 0 ||
	    outbox_template_parse("x.{type}", &arena, &outbox.routing_key, error, sizeof(error)) != 0 ||
	    outbox_template_parse("/{aggregatetype}", &arena, &outbox.source, error, sizeof(error)) != 0 ||
	    outbox_template_place(&outbox.exchange) != 0 || outbox_template_place(&outbox.routing_key) != 0 ||
	    outbox_template_place(&outbox.source) != 0)
		return 1;
	row_message_maker_init(&maker, "box", &outbox, false, 100);
	outbox.id_is_uuid = true;
	outbox.content_type = "application/json";
	test_list();
	test_aggregate();
	test_headers();
	test_message();
	test_parts();
	test_cloudevents();
	row_message_maker_release(&maker);
	arena_release(&arena);
	return done_testing();
}
