/* Unit tests of util/buf. */
#include "util/buf.h"

#include "t/unit/tap.h"

/* A queue of bytes against the simplest one that can be: what goes in comes out. */
static bool
queue_keeps_order(unsigned seed)
{
	struct buf buf = BUF_INIT;
	unsigned char in = 0, out = 0;
	size_t held = 0;
	bool good = true;

	for (int step = 0; step < 20000 && good; step++) {
		size_t n;

		seed = seed * 1103515245 + 12345;
		n = seed >> 16 & 0x7f;
		if (seed >> 30 < 2) {
			char *room = buf_reserve(&buf, n);

			for (size_t i = 0; i < n; i++)
				room[i] = (char)in++;
			buf_added(&buf, n);
			held += n;
		} else {
			n = n > held ? held : n;
			for (size_t i = 0; i < n; i++)
				good = good && (unsigned char)buf.data[i] == out++;
			buf_consume(&buf, n);
			held -= n;
		}
		good = good && buf.len == held && buf.data[buf.len] == '\0';
	}
	buf_release(&buf);
	return good;
}

int
main(void)
{
	struct buf buf = BUF_INIT;
	char *text;

	is_str(buf.data, "", "a new one is an empty text");
	buf_append(&buf, NULL, 0);
	buf_puts(&buf, "");
	buf_consume(&buf, 0);
	buf_clear(&buf);
	ok(buf.data == buf_empty && buf.cap == 0, "nothing appended allocates nothing");
	text = buf_detach(&buf);
	is_str(text, "", "detached while empty");
	free(text);

	buf_putc(&buf, 'a');
	buf_puts(&buf, "bc");
	buf_slice(&buf, (struct slice){ "defgh", 3 });
	buf_slice(&buf, (struct slice){ NULL, 0 });
	is_str(buf.data, "abcdef", "appended");
	is_int(buf.len, 6, "length");
	buf_printf(&buf, "-%d-%s", 42, "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789");
	is_str(buf.data, "abcdef-42-0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789",
	    "printf grows");
	buf_consume(&buf, 6);
	is_str(buf.data, "-42-0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789",
	    "consumed from the front");
	text = buf_detach(&buf);
	is_str(text, "-42-0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789",
	    "detached after consuming");
	free(text);
	ok(buf.data == buf_empty && buf.len == 0 && buf.cap == 0, "empty after that");

	/* Each length around the sizes at which it grows. */
	bool good = true;

	for (int len = 0; len < 300; len++) {
		struct buf one = BUF_INIT;

		buf_printf(&one, "%*s", len, "");
		good = good && one.len == (size_t)len && strlen(one.data) == (size_t)len && one.cap > one.len;
		buf_printf(&one, "%s", "x");
		good = good && one.len == (size_t)len + 1 && one.data[len] == 'x' && one.data[len + 1] == '\0';
		buf_release(&one);
	}
	ok(good, "printf of each length");

	buf_puts(&buf, "abc");
	buf_consume(&buf, 3);
	is_str(buf.data, "", "all consumed");
	is_int(buf.consumed, 0, "then it begins at the front");
	size_t cap = buf.cap;
	buf_puts(&buf, "xyz");
	buf_consume(&buf, 1);
	buf_clear(&buf);
	is_int(buf.cap, cap, "cleared: it has all its room again");
	is_int(buf.len, 0, "cleared");
	is_int(buf.consumed, 0, "and begins at the front");
	buf_release(&buf);
	buf_release(&buf);
	ok(buf.data == buf_empty, "released twice");

	/* A queue that is never empty must not grow without end. */
	for (int i = 0; i < 100000; i++) {
		buf_append(&buf, "0123456789", 10);
		if (i >= 10)
			buf_consume(&buf, 10);
	}
	ok(buf.len == 100 && buf.cap + buf.consumed <= 1024, "a queue of 100 bytes stays small");
	buf_release(&buf);
	for (unsigned seed = 1; seed <= 5; seed++)
		ok(queue_keeps_order(seed), "random queue %u", seed);
	is_int(buf_empty[0], 0, "nobody wrote to the empty text");
	return done_testing();
}
