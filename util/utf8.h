/*
 * utf8.h - UTF-8, strictly (RFC 3629): no overlong form, no surrogate, nothing above U+10FFFF.
 */
#ifndef PAWL_UTIL_UTF8_H
#define PAWL_UTIL_UTF8_H
#include <stdbool.h>
#include <stddef.h>

/* Bytes of the character at text, of which 'left' may be read: 1 .. 4; 0: no valid one. */
static inline size_t
utf8_length(const char *text, size_t left)
{
	const unsigned char *p = (const unsigned char *)text;
	unsigned char low = 0x80, high = 0xbf;	/* range of the second byte */
	size_t len;

	if (left == 0)
		return 0;
	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xc2)
		return 0;
	if (p[0] < 0xe0) {
		len = 2;
	} else if (p[0] < 0xf0) {
		len = 3;
		if (p[0] == 0xe0)
			low = 0xa0;
		else if (p[0] == 0xed)
			high = 0x9f;
	} else if (p[0] < 0xf5) {
		len = 4;
		if (p[0] == 0xf0)
			low = 0x90;
		else if (p[0] == 0xf4)
			high = 0x8f;
	} else {
		return 0;
	}
	if (left < len || p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	}
	return len;
}

static inline bool
utf8_valid(const char *text, size_t len)
{
	for (size_t at = 0, n; at < len; at += n) {
		n = utf8_length(text + at, len - at);
		if (n == 0)
			return false;
	}
	return true;
}
#endif
