/* Unit tests of util/utf8. */
#include "util/utf8.h"

#include "t/unit/tap.h"

static size_t
encode(unsigned code, char *out)
{
	if (code < 0x80) {
		out[0] = (char)code;
		return 1;
	}
	if (code < 0x800) {
		out[0] = (char)(0xc0 | code >> 6);
		out[1] = (char)(0x80 | (code & 0x3f));
		return 2;
	}
	if (code < 0x10000) {
		out[0] = (char)(0xe0 | code >> 12);
		out[1] = (char)(0x80 | (code >> 6 & 0x3f));
		out[2] = (char)(0x80 | (code & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | code >> 18);
	out[1] = (char)(0x80 | (code >> 12 & 0x3f));
	out[2] = (char)(0x80 | (code >> 6 & 0x3f));
	out[3] = (char)(0x80 | (code & 0x3f));
	return 4;
}

int
main(void)
{
	static const struct { const char *text; size_t len; const char *name; } bad[] = {
		{ "\x80", 1, "a continuation alone" }, { "\xbf", 1, "the last one" }, { "\xc0\x80", 2, "overlong NUL" },
		{ "\xc1\xbf", 2, "overlong in two" }, { "\xe0\x80\x80", 3, "overlong in three" }, { "\xe0\x9f\xbf", 3, "the last of those" },
		{ "\xf0\x80\x80\x80", 4, "overlong in four" }, { "\xf0\x8f\xbf\xbf", 4, "the last of those" },
		{ "\xed\xa0\x80", 3, "the first surrogate" }, { "\xed\xbf\xbf", 3, "the last surrogate" },
		{ "\xf4\x90\x80\x80", 4, "above U+10FFFF" }, { "\xf5\x80\x80\x80", 4, "f5" }, { "\xff", 1, "ff" }, { "\xfe", 1, "fe" },
		{ "\xc3", 1, "cut after one of two" }, { "\xe2\x82", 2, "cut after two of three" }, { "\xf0\x9f\x98", 3, "cut after three of four" },
		{ "\xc3\x28", 2, "second is none" }, { "\xe2\x28\xa1", 3, "second of three is none" }, { "\xe2\x82\x28", 3, "third is none" },
		{ "\xf0\x9f\x98\x28", 4, "fourth is none" },
	};
	bool good = true;
	char text[8];

	for (unsigned code = 0; code <= 0x110000; code++) {
		size_t len = encode(code, text);
		bool valid = code < 0x110000 && (code < 0xd800 || code > 0xdfff);

		good = good && utf8_length(text, len) == (valid ? len : 0);
		good = good && (len == 1 || utf8_length(text, len - 1) == 0);
	}
	ok(good, "all code points");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ok(utf8_length(bad[i].text, bad[i].len) == 0 && !utf8_valid(bad[i].text, bad[i].len), "refused: %s", bad[i].name);
	is_int(utf8_length("", 0), 0, "nothing is no character");
	ok(utf8_valid("", 0), "but a valid text");
	ok(utf8_valid("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80", 15), "a text");
	return done_testing();
}
