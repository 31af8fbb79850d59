/*
 * pg.c - units of util/pg that need no server: classes, connection strings, errors of connecting. Servers come in t/3x.
 */
#include "util/pg.h"

#include "t/unit/tap.h"

static void
test_classes(void)
{
	static const struct { const char *sqlstate; enum pg_class class; } cases[] = {
		{ "", PG_CLASS_ENVIRONMENT }, { "08006", PG_CLASS_ENVIRONMENT }, { "53100", PG_CLASS_ENVIRONMENT },
		{ "57P01", PG_CLASS_ENVIRONMENT }, { "58030", PG_CLASS_ENVIRONMENT }, { "XX001", PG_CLASS_ENVIRONMENT },
		{ "25006", PG_CLASS_ENVIRONMENT }, { "25001", PG_CLASS_MESSAGE }, { "25P02", PG_CLASS_MESSAGE },
		{ "40P01", PG_CLASS_DEADLOCK }, { "40001", PG_CLASS_SERIALIZATION }, { "55P03", PG_CLASS_SERIALIZATION },
		{ "55006", PG_CLASS_MESSAGE }, { "40002", PG_CLASS_MESSAGE }, { "57014", PG_CLASS_TIMEOUT }, { "26000", PG_CLASS_STALE },
		{ "0A000", PG_CLASS_MESSAGE },	/* of a cached plan: by its source, see pg_error.c */
		{ "22P02", PG_CLASS_DATA }, { "22000", PG_CLASS_DATA }, { "23505", PG_CLASS_MESSAGE }, { "P0001", PG_CLASS_MESSAGE },
		{ "42P01", PG_CLASS_STATEMENT }, { "42601", PG_CLASS_STATEMENT }, { "QQ000", PG_CLASS_MESSAGE }, { "5", PG_CLASS_MESSAGE },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		is_str(pg_class_text(pg_class_of(cases[i].sqlstate)), pg_class_text(cases[i].class), "class of \"%s\"", cases[i].sqlstate);
	for (int class = PG_CLASS_NONE; class <= PG_CLASS_MESSAGE; class++)
		ok(strcmp(pg_class_text((enum pg_class)class), "unknown") != 0, "class %d has a text", class);
}

static void
test_conninfo(void)
{
	static const char *const good[] = { "", "service=orders", "host=/tmp dbname='a b'", "postgres://u@h:5432/d?sslmode=require" };
	static const char *const bad[] = { "orders", "host", "hots=x", "host='x", "postgres://[::1" };
	static const char *const secret[] = {
		"host=h password=x secret-word", "password secret-word", "postgres://u:secret-word@[::1", "host=h pass=secret-word"
	};
	char error[256];

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		ok(pg_conninfo_check(good[i], error, sizeof(error)) == 0, "good: %s", good[i]);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		ok(pg_conninfo_check(bad[i], error, sizeof(error)) != 0 && error[0] != '\0' && strchr(error, '\n') == NULL, "bad: %s", bad[i]);
	for (size_t i = 0; i < ARRAY_SIZE(secret); i++)
		ok(pg_conninfo_check(secret[i], error, sizeof(error)) != 0 && strstr(error, "secret") == NULL, "bad, and not shown: %zu", i);
}

static void
test_errors(void)
{
	struct pg_error error;

	pg_error_set(&error, PG_CLASS_DATA, "a\nb\tc\x01%s", "\xc3\xa4 ");
	is_str(error.text, "a b c\\x01\xc3\xa4", "one line, control characters escaped");
	ok(error.class == PG_CLASS_DATA && !error.lost && error.sqlstate[0] == '\0', "nothing else is set");
	pg_error_set(&error, PG_CLASS_DATA, "%s%0*d%s", "x", 2000, 0, "\xc3\xa4");
	ok(strlen(error.text) < sizeof(error.text), "long texts are cut");
	for (size_t pad = 0; pad < 4; pad++) {
		char text[2048] = "";

		memset(text, 'x', pad);
		while (strlen(text) < 1500)
			memcpy(text + strlen(text), "\xe2\x82\xac", 4);
		pg_error_set(&error, PG_CLASS_DATA, "%s", text);
		ok((strlen(error.text) - pad) % 3 == 0, "not in the middle of a character: %zu", pad);
	}
}

static void
test_connecting(void)
{
	struct pg *pg = pg_new("host=127.0.0.1 port=1", "test", NULL);
	struct pg_result *result;
	struct pg_error error;

	ok(pg_state(pg) == PG_DOWN && pg_fd(pg) == -1 && pg_events(pg) == 0 && pg_transaction(pg) == '?', "a new session is down");
	ok(pg_send_sync(pg) != 0, "nothing can be sent");
	is_int(pg_next(pg, &result, &error), PG_LOST, "and nothing comes");
	is_int(pg_connect(pg, 5000, &error), -1, "it cannot connect");
	ok(error.lost && error.class == PG_CLASS_ENVIRONMENT && strstr(error.text, "Connection refused") != NULL, "why: %s", error.text);
	is_int(pg_state(pg), PG_DOWN, "it is down");
	is_int(pg_step(pg, &error), -1, "a step says so again");
	ok(strstr(error.text, "Connection refused") != NULL, "with the reason");
	is_int(pg_query(pg, 1000, &result, &error, "select 1", 0, NULL), -1, "so does a query");
	ok(result == NULL && strstr(error.text, "Connection refused") != NULL, "with the reason");
	is_int(pg_script(pg, 1000, &error, "select 1"), -1, "so does a script");
	pg_free(&pg);
	ok(pg == NULL, "freed");
	pg_free(&pg);

	pg = pg_new("nonsense", "test", NULL);
	is_int(pg_connect(pg, 5000, &error), -1, "a bad connection string");
	ok(strstr(error.text, "nonsense") != NULL, "is told");
	pg_free(&pg);
}

int
main(void)
{
	test_classes();
	test_conninfo();
	test_errors();
	test_connecting();
	return done_testing();
}
