/* Unit tests of outbox-relay/row and row_message: lists, the order within an aggregate, and what a row becomes. */
#include "outbox-relay/row.h"

#include "t/unit/tap.h"
#include "util/arena.h"
#include "util/json_scan.h"

static struct arena arena = ARENA_INIT;
static struct outbox_template exchange, routing_key;
static struct row_message_maker maker;

static struct row *
make_row(int64_t seq)
{
	struct row *row = xcalloc(1, sizeof(*row) + 1);

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

/* Headers as text: name=kind:value ... */
static const char *
headers_of(const char *json)
{
	static char text[4096];
	struct amqp_message message;
	struct row *row = make_row(1);
	char error[512];
	size_t len = 0;

	row->columns[OUTBOX_HEADERS] = slice_of(json);
	if (row_message(&maker, row, &message, error, sizeof(error)) != 0) {
		snprintf(text, sizeof(text), "error: %s", error);
		row_free(&row);
		return text;
	}
	text[0] = '\0';
	for (size_t i = 0; i < message.header_count && len < sizeof(text); i++) {
		const struct amqp_header *h = &message.headers[i];

		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s=", i == 0 ? "" : " ", h->name);
		if (h->kind == AMQP_STRING)
			len += (size_t)snprintf(text + len, sizeof(text) - len, "S:%.*s", (int)h->text.len, h->text.data);
		else if (h->kind == AMQP_DOUBLE)
			len += (size_t)snprintf(text + len, sizeof(text) - len, "d:%g", h->real);
		else if (h->kind == AMQP_VOID)
			len += (size_t)snprintf(text + len, sizeof(text) - len, "V");
		else
			len += (size_t)snprintf(text + len, sizeof(text) - len, "%c:%lld", h->kind == AMQP_INT ? 'l' : 't', (long long)h->number);
	}
	row_free(&row);
	return text;
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
	is_str(headers_of("{\"a\": [1, {\"b\": 2}], \"c\": {\"d\": []}}"), OWN " a=S:[1, {\"b\": 2}] c=S:{\"d\": []}", "arrays and objects are JSON");
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
	maker.id_is_uuid = false;
	row = make_row(7);
	row->columns[OUTBOX_ID] = slice_of("12");
	is_str(refused(row), "good: box/12", "an id that is no UUID is told apart from other outboxes'");
	maker.id_is_uuid = true;
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

int
main(void)
{
	char error[256];

	if (outbox_template_parse("{aggregatetype}", &arena, &exchange, error, sizeof(error)) != 0 ||
	    outbox_template_parse("x.{type}", &arena, &routing_key, error, sizeof(error)) != 0)
		return 1;
	row_message_maker_init(&maker, "box", &exchange, &routing_key, 100);
	maker.id_is_uuid = true;
	test_list();
	test_aggregate();
	test_headers();
	test_message();
	row_message_maker_release(&maker);
	arena_release(&arena);
	return done_testing();
}
