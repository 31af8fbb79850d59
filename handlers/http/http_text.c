/*
 * http_text.c - see http_text.h.
 */
#include "http_text.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

void
http_text_clear(struct http_text *t)
{
	t->len = 0;
	t->failed = false;
	if (t->data != NULL)
		t->data[0] = '\0';
}

void
http_text_release(struct http_text *t)
{
	free(t->data);
	*t = (struct http_text){ NULL, 0, 0, false };
}

const char *
http_text_string(const struct http_text *t)
{
	return t->data == NULL ? "" : t->data;
}

void
http_text_add(struct http_text *t, const char *data, size_t len)
{
	if (t->failed)
		return;
	if (t->data == NULL || len >= t->room - t->len) {
		size_t room;
		char *larger = NULL;

		if (len < SIZE_MAX / 4 && t->len < SIZE_MAX / 4) {
			room = 2 * t->len + len + 256;
			larger = realloc(t->data, room);
		}
		if (larger == NULL) {
			t->failed = true;
			return;
		}
		t->data = larger;
		t->room = room;
	}
	if (len > 0)
		memcpy(t->data + t->len, data, len);
	t->len += len;
	t->data[t->len] = '\0';
}

void
http_text_puts(struct http_text *t, const char *text)
{
	http_text_add(t, text, strlen(text));
}

static bool
is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

void
http_text_percent(struct http_text *t, const char *text)
{
	static const char hex[] = "0123456789ABCDEF";

	for (; *text != '\0'; text++) {
		unsigned char c = (unsigned char)*text;
		const char escaped[3] = { '%', hex[c >> 4], hex[c & 15] };

		if (is_alnum(*text) || strchr("-._~", *text) != NULL)
			http_text_add(t, text, 1);
		else
			http_text_add(t, escaped, sizeof(escaped));
	}
}

void
http_text_base64(struct http_text *t, const void *data, size_t size)
{
	static const char digits[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *in = data;

	for (; size > 0; in += size < 3 ? size : 3, size -= size < 3 ? size : 3) {
		unsigned group = (unsigned)in[0] << 16 | (size > 1 ? (unsigned)in[1] << 8 : 0) |
		    (size > 2 ? in[2] : 0);
		char out[4] = { digits[group >> 18], digits[group >> 12 & 63], '=', '=' };

		if (size > 1)
			out[2] = digits[group >> 6 & 63];
		if (size > 2)
			out[3] = digits[group & 63];
		http_text_add(t, out, sizeof(out));
	}
}

/* Bytes of the character that begins here; 0: it is none of UTF-8. */
static size_t
character_length(const char *data, size_t size)
{
	const unsigned char *at = (const unsigned char *)data;
	size_t len = at[0] < 0x80 ? 1 : at[0] < 0xc2 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 :
	    at[0] < 0xf5 ? 4 : 0;

	if (len == 0 || len > size)
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((at[i] & 0xc0) != 0x80)
			return 0;
	if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] >= 0xa0) ||
	    (at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] >= 0x90))
		return 0;
	return len;
}

static bool
is_control(const char *at, size_t len)
{
	unsigned char first = (unsigned char)at[0];

	if (len == 1)
		return first < 0x20 || first == 0x7f;
	return first == 0xc2 && (unsigned char)at[1] < 0xa0;
}

void
http_text_clean(struct http_text *t, const char *data, size_t size, size_t most)
{
	for (size_t at = 0, len; at < size; at += len) {
		size_t known = character_length(data + at, size - at);

		len = known == 0 ? 1 : known;
		if (len > most)
			return;
		most -= len;
		if (known == 0)
			http_text_add(t, "?", 1);
		else if (is_control(data + at, len))
			http_text_add(t, " ", 1);
		else
			http_text_add(t, data + at, len);
	}
}

bool
http_is_utf8(const char *data, size_t size)
{
	for (size_t at = 0, len; at < size; at += len) {
		len = character_length(data + at, size - at);
		if (len == 0)
			return false;
	}
	return true;
}

bool
http_is_header_value(const char *text)
{
	for (; *text != '\0'; text++)
		if (((unsigned char)*text < 0x20 && *text != '\t') || *text == 0x7f)
			return false;
	return true;
}

bool
http_is_header_name(const char *text)
{
	const char *at = text;

	while (is_alnum(*at) || (*at != '\0' && strchr("!#$%&'*+-.^_`|~", *at) != NULL))
		at++;
	return at != text && *at == '\0';
}
