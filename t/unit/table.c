/* Unit tests of util/table. The hash itself is static: the module is compiled into this program. */
#include "util/table.c"	/* NOLINT(bugprone-suspicious-include) */

#include "t/unit/tap.h"

/* As CPython 3.11 prints hash(bytes) with PYTHONHASHSEED=0: SipHash-1-3, key 0. */
static void
test_hash(void)
{
	static const uint64_t zero[2] = { 0, 0 };
	static const struct { const char *text; uint64_t hash; } cases[] = {
		{ "a", 0x407448d2b89b1813 }, { "ab", 0x555508cbc6add439 }, { "abcdefg", 0x6db12aae9070f506 },
		{ "abcdefgh", 0x3f7b849c0b8e35ea }, { "abcdefghi", 0xf89b34a3d11eb6e5 },
	};
	unsigned char bytes[63];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		ok(siphash13(zero, cases[i].text, strlen(cases[i].text)) == cases[i].hash, "SipHash-1-3 of %s", cases[i].text);
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (unsigned char)i;
	ok(siphash13(zero, bytes, sizeof(bytes)) == 0x385d3e39e5f37359, "SipHash-1-3 of 63 bytes");
	ok((hash_key[0] | hash_key[1]) != 0, "the key was chosen before main");
	ok(table_hash("a", 1) == table_hash("a", 1) && table_hash("a", 1) != table_hash("b", 1), "table_hash");
}

/* Random puts, gets and removes against an array. */
static void
test_model(uint32_t seed)
{
	enum { KEYS = 500, STEPS = 100000 };
	static uint32_t keys[KEYS], values[KEYS];
	bool in[KEYS] = { false }, good = true;
	struct table table = TABLE_INIT;
	size_t count = 0;

	for (uint32_t i = 0; i < KEYS; i++)
		keys[i] = i;
	for (int step = 0; step < STEPS && good; step++) {
		uint32_t key;
		void *former;

		seed = seed * 1664525 + 1013904223;
		key = (seed >> 8) % KEYS;
		switch (seed >> 30) {
		case 0:
		case 1:
			former = table_put(&table, &keys[key], sizeof(key), &values[key]);
			good = former == (in[key] ? &values[key] : NULL);
			count += !in[key];
			in[key] = true;
			break;
		case 2:
			former = table_remove(&table, &key, sizeof(key));
			good = former == (in[key] ? &values[key] : NULL);
			count -= in[key];
			in[key] = false;
			break;
		default:
			good = table_get(&table, &key, sizeof(key)) == (in[key] ? &values[key] : NULL);
		}
		good = good && table.count == count && table.count + table.dead < table.cap;
	}
	for (uint32_t i = 0; i < KEYS; i++)
		good = good && (table_get(&table, &i, sizeof(i)) != NULL) == in[i];
	for (size_t i = 0; i < table.cap; i++)
		table.dead -= table.entries[i].key == NULL && table.entries[i].hash == HASH_DEAD;
	good = good && table.dead == 0;
	ok(good, "random operations, seed %u", seed);
	table_release(&table);
}

static void
test_walk(void)
{
	static int keys[1000];
	struct table table = TABLE_INIT;
	int seen = 0, *value;
	size_t at = 0;

	while (table_next(&table, &at) != NULL)
		seen++;
	is_int(seen, 0, "an empty table has nothing to walk over");
	for (int i = 0; i < 1000; i++) {
		keys[i] = i;
		table_put(&table, &keys[i], sizeof(keys[i]), &keys[i]);
	}
	for (at = 0; (value = table_next(&table, &at)) != NULL; seen++) {
		if (*value % 2 == 0)
			table_remove(&table, value, sizeof(*value));
	}
	is_int(seen, 1000, "a walk sees each value once, though some are removed on the way");
	is_int(table.count, 500, "the odd ones are left");
	seen = 0;
	for (at = 0; (value = table_next(&table, &at)) != NULL;)
		seen += *value % 2;
	is_int(seen, 500, "all of them");
	table_clear(&table);
	is_int(table.count, 0, "cleared");
	ok(table_get(&table, &keys[1], sizeof(keys[1])) == NULL, "nothing there any more");
	table_put(&table, &keys[1], sizeof(keys[1]), &keys[1]);
	ok(table_get(&table, &keys[1], sizeof(keys[1])) == &keys[1], "usable after that");
	table_release(&table);
}

int
main(void)
{
	struct table table = TABLE_INIT;
	char key[] = "key", same[] = "key", value[] = "v", other[] = "w";

	test_hash();
	ok(table_get(&table, "x", 1) == NULL && table_remove(&table, "x", 1) == NULL, "nothing in an empty table");
	ok(table_put(&table, key, 3, value) == NULL, "put");
	ok(table_get(&table, "key", 3) == value, "get");
	ok(table_get(&table, "ke", 2) == NULL && table_get(&table, "keys", 4) == NULL, "keys of other lengths are others");
	ok(table_put(&table, same, 3, other) == value, "put again gives the former value");
	key[0] = 'X';
	ok(table_get(&table, "key", 3) == other, "and takes the new key");
	ok(table_put(&table, "", 0, value) == NULL && table_get(&table, "?", 0) == value, "an empty key");
	ok(table_remove(&table, "key", 3) == other && table_get(&table, "key", 3) == NULL, "remove");
	is_int(table.count, 1, "one left");
	table_release(&table);
	ok(table.entries == NULL, "released");

	/* Keys that come and go for ever, as message ids do. */
	uint64_t ids[20];
	size_t largest = 0;

	for (uint64_t i = 0; i < 200000; i++) {
		if (i >= 20)
			table_remove(&table, &ids[i % 20], sizeof(ids[0]));
		ids[i % 20] = i;
		table_put(&table, &ids[i % 20], sizeof(ids[0]), &ids[i % 20]);
		largest = table.cap > largest ? table.cap : largest;
	}
	ok(table.count == 20 && largest <= 64, "20 keys that change for ever need few entries (%zu)", largest);
	table_release(&table);

	test_walk();
	for (uint32_t seed = 1; seed <= 5; seed++)
		test_model(seed);
	return done_testing();
}
