/*
 * json_text.c - JSON strings from and to plain text, see json_scan.h.
 */
#include "util/json_scan.h"

#include <assert.h>

#include "util/buf.h"
#include "util/json_internal.h"
#include "util/utf8.h"

/* What one letter behind a backslash stands for; 0: nothing (a 'u' is not here). */
const char json_escape_value[256] = {
	['"'] = '"', ['\\'] = '\\', ['/'] = '/', ['b'] = '\b', ['f'] = '\f', ['n'] = '\n',
	['r'] = '\r', ['t'] = '\t',
};

static const signed char hex_value[256] = {
	['0'] = 1, ['1'] = 2, ['2'] = 3, ['3'] = 4, ['4'] = 5,
	['5'] = 6, ['6'] = 7, ['7'] = 8, ['8'] = 9, ['9'] = 10,
	['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
	['A'] = 11, ['B'] = 12, ['C'] = 13, ['D'] = 14, ['E'] = 15, ['F'] = 16,
};

/* Four hexadecimal digits, or -1. */
int
json_hex4(const char *p, const char *end)
{
	int value = 0;

	if (end - p < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		int digit = hex_value[(unsigned char)p[i]] - 1;

		if (digit < 0)
			return -1;
		value = value << 4 | digit;
	}
	return value;
}

static size_t
put_utf8(unsigned code, char out[4])
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

const char *
json_unescape_one(const char *p, const char *end, char out[4], size_t *len)
{
	if (end - p < 2)
		return NULL;
	if (p[1] != 'u') {
		out[0] = json_escape_value[(unsigned char)p[1]];
		*len = 1;
		return p + 2;
	}

	int unit = json_hex4(p + 2, end), low;

	if (unit < 0)
		return NULL;
	p += 6;
	if (json_high_surrogate(unit)) {
		low = end - p < 2 ? -1 : json_hex4(p + 2, end);
		if (low < 0)
			return NULL;
		unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
		p += 6;
	}
	*len = put_utf8((unsigned)unit, out);
	return p;
}

enum json_status
json_scan_unescape(struct slice raw, char *out, size_t *out_len)
{
	const char *p = raw.data + 1, *const end = raw.data + raw.len - 1;
	char *const first = out;

	assert(raw.len >= 2 && raw.data[0] == '"');
	while (p < end) {
		const char *escape = memchr(p, '\\', (size_t)(end - p));
		const char *plain_end = escape == NULL ? end : escape;
		char one[4];
		size_t len = 0;

		memcpy(out, p, (size_t)(plain_end - p));
		out += plain_end - p;
		if (escape == NULL)
			break;
		p = json_unescape_one(escape, end, one, &len);
		if (p == NULL || one[0] == '\0')
			return JSON_ESCAPED_NUL;
		memcpy(out, one, len);		/* never longer than the escape */
		out += len;
	}
	*out = '\0';
	*out_len = (size_t)(out - first);
	return JSON_OK;
}

void
json_quote(struct buf *buf, struct slice text)
{
	const char *p = text.len > 0 ? text.data : "", *const end = p + text.len;

	buf_putc(buf, '"');
	while (p < end) {
		const char *plain = json_skip_plain(p, end);
		size_t n;

		buf_append(buf, p, (size_t)(plain - p));
		p = plain;
		if (p == end)
			break;
		n = utf8_length(p, (size_t)(end - p));
		if (n == 0)
			buf_puts(buf, "\xef\xbf\xbd");
		else if (n > 1)
			buf_append(buf, p, n);
		else if (*p == '"' || *p == '\\')
			buf_append(buf, (const char[]){ '\\', *p }, 2);
		else if (*p == '\n')
			buf_puts(buf, "\\n");
		else if (*p == '\t')
			buf_puts(buf, "\\t");
		else
			buf_printf(buf, "\\u%04x", (unsigned char)*p);
		p += n == 0 ? 1 : n;
	}
	buf_putc(buf, '"');
}

const char *
json_status_text(enum json_status status)
{
	switch (status) {
	case JSON_OK:
		return "good";
	case JSON_MISSING:
		return "is missing";
	case JSON_SYNTAX:
		return "syntax error";
	case JSON_TOO_DEEP:
		return "nested too deep";
	case JSON_BAD_UTF8:
		return "not UTF-8, or half of a surrogate pair";
	case JSON_DOUBLE_KEY:
		return "a key stands twice in an object";
	case JSON_ESCAPED_NUL:
		return "an escaped NUL in a string";
	case JSON_BAD_POINTER:
		return "not a JSON pointer";
	case JSON_NO_ROOM:
		return "too large";
	}
	return "unknown";
}
