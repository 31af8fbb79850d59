/* Unit tests of outbox-relay/seq_map and seq_list. */
#include "outbox-relay/seq_list.h"
#include "outbox-relay/seq_map.h"

#include <limits.h>
#include <stdlib.h>

#include "t/unit/tap.h"
#include "util/buf.h"

/* Random puts and removes against an array, over keys that lie close together and far apart. */
static void
test_model(int64_t step, const char *what)
{
	enum { KEYS = 3000, STEPS = 200000 };
	static char values[KEYS];
	static bool in[KEYS];
	struct seq_map map = SEQ_MAP_INIT;
	size_t count = 0, walked = 0;
	bool good = true;
	unsigned random = 1;

	memset(in, 0, sizeof(in));
	for (int i = 0; i < STEPS && good; i++) {
		unsigned key = (random = random * 1103515245u + 12345u) >> 8 & 0x7fffffff;
		int64_t seq;

		key %= KEYS;
		seq = (int64_t)key * step;
		good = (seq_map_get(&map, seq) == &values[key]) == in[key];
		/* Grows for a while, then shrinks. */
		if (random % 100 < (i < STEPS / 2 ? 70u : 20u)) {
			seq_map_put(&map, seq, &values[key]);
			count += !in[key];
			in[key] = true;
		} else {
			seq_map_remove(&map, seq);
			count -= in[key];
			in[key] = false;
		}
		good = good && map.count == count;
	}
	ok(good, "%s: as an array", what);
	for (size_t at = 0; seq_map_next(&map, &at) != NULL;)
		walked++;
	is_int(walked, count, "%s: the walk meets each entry", what);
	for (int i = 0; i < KEYS; i++)
		seq_map_remove(&map, (int64_t)i * step);
	is_int(map.count, 0, "%s: empty in the end", what);
	seq_map_release(&map);
}

static void
test_edges(void)
{
	struct seq_map map = SEQ_MAP_INIT;
	char a, b;

	ok(seq_map_get(&map, 1) == NULL, "nothing in an empty map");
	seq_map_remove(&map, 1);
	seq_map_put(&map, INT64_MIN, &a);
	seq_map_put(&map, INT64_MAX, &b);
	seq_map_put(&map, 0, &a);
	seq_map_put(&map, 0, &b);
	ok(seq_map_get(&map, INT64_MIN) == &a && seq_map_get(&map, INT64_MAX) == &b && seq_map_get(&map, 0) == &b, "extreme keys, and one replaced");
	is_int(map.count, 3, "three of them");
	for (int64_t i = 1; i <= 100000; i++)
		seq_map_put(&map, i, &a);
	for (int64_t i = 1; i <= 100000; i++)
		seq_map_remove(&map, i);
	ok(map.cap < 100000, "a large map gives memory back");
	ok(seq_map_get(&map, INT64_MIN) == &a && seq_map_get(&map, INT64_MAX) == &b && seq_map_get(&map, 0) == &b, "and keeps what is left");
	seq_map_release(&map);
	ok(map.cap == 0 && seq_map_get(&map, 0) == NULL, "released");
}

static void
test_list(void)
{
	struct seq_list list = { NULL, 0, 0 };
	struct buf text = BUF_INIT;

	seq_list_text(&list, &text);
	is_str(text.data, "{}", "an empty list");
	seq_list_parse(&list, "{}");
	is_int(list.count, 0, "read back");
	seq_list_parse(&list, "{3,-1,9223372036854775807,2}");
	is_int(list.count, 4, "a list is read");
	seq_list_sort(&list);
	seq_list_text(&list, &text);
	is_str(text.data, "{-1,2,3,9223372036854775807}", "sorted");
	ok(seq_list_has(&list, 3) && seq_list_has(&list, -1) && !seq_list_has(&list, 4), "looked up");
	list.count = 0;
	seq_list_parse(&list, "{1,x,2}");
	is_int(list.count, 1, "what is no list ends where it begins to be none");
	for (int64_t i = 0; i < 1000; i++)
		seq_list_add(&list, i);
	is_int(list.items[1000], 999, "it grows");
	seq_list_release(&list);
	buf_release(&text);
}

int
main(void)
{
	test_model(1, "numbers in a row");
	test_model(1024, "numbers 1024 apart");
	test_model(INT64_C(0x100000001), "numbers far apart");
	test_edges();
	test_list();
	return done_testing();
}
