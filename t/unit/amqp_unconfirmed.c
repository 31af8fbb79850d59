/* Unit tests of util/amqp_unconfirmed. */
#include "util/amqp_unconfirmed.h"

#include <stdlib.h>
#include <string.h>

#include "t/unit/tap.h"
#include "util/arena.h"

static struct slice
text(const char *s)
{
	return (struct slice){ s, strlen(s) };
}

static void
test_identity(void)
{
	uint64_t one = amqp_identity(text("x"), text("k"), text("m"), 5);

	ok(one == amqp_identity(text("x"), text("k"), text("m"), 5), "the same is the same");
	ok(one != amqp_identity(text("x"), text("k"), text("m"), 6), "another size is another one");
	ok(one != amqp_identity(text("xk"), text(""), text("m"), 5), "what is before and what behind counts");
	ok(one != amqp_identity(text("x"), text("k"), (struct slice){ NULL, 0 }, 5), "no id");
}

static void
test_returns(void)
{
	struct amqp_unconfirmed u;
	struct amqp_pending one = { NULL, 0, NULL, 0, false };
	int a, b, c;

	amqp_unconfirmed_init(&u);
	ok(amqp_unconfirmed_last(&u) == 0 && !amqp_unconfirmed_has(&u, 0) && !amqp_unconfirmed_has(&u, 1), "nothing at first");
	ok(!amqp_unconfirmed_return(&u, 7, 312, text("")), "nothing is returned");
	amqp_unconfirmed_add(&u, &a, 7);
	amqp_unconfirmed_add(&u, &b, 8);
	amqp_unconfirmed_add(&u, &c, 7);
	ok(amqp_unconfirmed_return(&u, 7, 312, text("NO_ROUTE")), "one is returned");
	ok(amqp_unconfirmed_return(&u, 7, 313, text("again")), "the next of the same");
	ok(!amqp_unconfirmed_return(&u, 7, 312, text("NO_ROUTE")), "and no third one");
	ok(amqp_unconfirmed_take(&u, 3, &one) && one.token == &c && one.return_code == 313, "the second one was the later one");
	is_str(one.return_text, "again", "with its text");
	free(one.return_text);
	ok(!amqp_unconfirmed_take(&u, 3, &one), "it is not confirmed twice");
	ok(amqp_unconfirmed_take(&u, 2, &one) && one.token == &b && one.return_code == 0 && one.return_text == NULL, "another was not returned");
	ok(u.waiting == 1 && amqp_unconfirmed_last(&u) == 3, "the first one waits");
	amqp_unconfirmed_clear(&u);
	ok(u.waiting == 0 && amqp_unconfirmed_last(&u) == 0, "all are forgotten, with their texts");
	amqp_unconfirmed_release(&u);
}

/* A confirm of all up to one goes on past what was confirmed before, and what is published meanwhile takes the room of that. */
static void
test_room(void)
{
	enum { ROOM = 64 };
	struct amqp_unconfirmed u;
	struct amqp_pending one = { NULL, 0, NULL, 0, false };
	int tokens[ROOM + 3];

	amqp_unconfirmed_init(&u);
	for (uint64_t i = 1; i <= ROOM; i++)
		amqp_unconfirmed_add(&u, &tokens[i], i);
	ok(amqp_unconfirmed_take(&u, 2, &one) && amqp_unconfirmed_take(&u, 1, &one), "the second one, then the first");
	amqp_unconfirmed_add(&u, &tokens[ROOM + 1], ROOM + 1);
	amqp_unconfirmed_add(&u, &tokens[ROOM + 2], ROOM + 2);
	ok(u.cap == ROOM && u.count == ROOM, "two more have their room");
	ok(!amqp_unconfirmed_take(&u, 2, &one) && u.waiting == ROOM, "and are not taken for them");
	amqp_unconfirmed_add(&u, NULL, 0);
	ok(!amqp_unconfirmed_take(&u, 1, &one) && u.waiting == ROOM + 1, "in a larger room neither");
	ok(amqp_unconfirmed_take(&u, ROOM + 2, &one) && one.token == &tokens[ROOM + 2], "they have their own confirms");
	amqp_unconfirmed_release(&u);
}

/* Against a list: confirms in any order, some of them of all up to one, and more is published meanwhile. */
static void
test_model(uint32_t seed)
{
	enum { STEPS = 20000 };
	static int tokens[STEPS + 1];
	static bool waits[STEPS + 1];
	struct amqp_unconfirmed u;
	uint64_t last = 0;
	size_t waiting = 0;
	bool good = true;

	memset(waits, 0, sizeof(waits));
	amqp_unconfirmed_init(&u);
	for (int step = 0; step < STEPS && good; step++) {
		uint64_t tag, from;

		seed = seed * 1664525u + 1013904223u;
		if ((seed >> 16) % 8 < 4 || waiting == 0) {
			last++;
			amqp_unconfirmed_add(&u, &tokens[last], last);
			waits[last] = true;
			waiting++;
		} else {
			tag = u.first_tag + (seed >> 20) % u.count;
			from = seed % 16 == 0 ? u.first_tag : tag;
			for (; from <= tag && good; from++) {
				struct amqp_pending one = { NULL, 0, NULL, 0, false };
				bool taken = amqp_unconfirmed_take(&u, from, &one);

				good = taken == waits[from] && (!taken || one.token == &tokens[from]);
				waiting -= waits[from];
				waits[from] = false;
			}
		}
		good = good && u.waiting == waiting && amqp_unconfirmed_last(&u) == last;
	}
	ok(good, "as a list would");
	amqp_unconfirmed_release(&u);
}

int
main(void)
{
	test_identity();
	test_returns();
	test_room();
	for (uint32_t seed = 1; seed <= 3; seed++)
		test_model(seed);
	return done_testing();
}
