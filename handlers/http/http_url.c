/*
 * http_url.c - see http_url.h.
 */
#include "http_url.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Behind "://"; NULL: no URL of ours. */
static const char *
authority_of(const char *url)
{
	if (strncmp(url, "http://", 7) == 0)
		return url + 7;
	return strncmp(url, "https://", 8) == 0 ? url + 8 : NULL;
}

static int
check_authority(const char *url, const char *at, size_t len, char place[HTTP_PLACE_MAX],
    char *error, size_t error_size)
{
	const char *bracket = memrchr(at, ']', len), *colon = memrchr(at, ':', len);
	bool port = colon != NULL && (bracket == NULL || colon > bracket);
	int written;

	if (memchr(at, '{', len) != NULL || memchr(at, '}', len) != NULL) {
		(void)snprintf(error, error_size,
		    "has a placeholder in host or port: where messages go is never the message's"
		    " to say");
		return -1;
	}
	if (memchr(at, '@', len) != NULL) {
		(void)snprintf(error, error_size,
		    "has a user in it: write user and password_file, or bearer_file");
		return -1;
	}
	for (size_t i = 0; i < len; i++)
		if (at[i] <= ' ' || at[i] > '~') {
			(void)snprintf(error, error_size,
			    "has a character in its host that no host has: write the ASCII form of an"
			    " international name (xn--...)");
			return -1;
		}
	if (len == 0 || (port && colon == at)) {
		(void)snprintf(error, error_size, "names no host");
		return -1;
	}
	written = snprintf(place, HTTP_PLACE_MAX, "%.*s%s", (int)len, at,
	    port ? "" : strncmp(url, "https:", 6) == 0 ? ":443" : ":80");
	if (written < 0 || written >= HTTP_PLACE_MAX) {
		(void)snprintf(error, error_size, "has a host that is too long");
		return -1;
	}
	return 0;
}

/* A half of an escape would be completed by a value of the message. */
static bool
is_escape(const char *at)
{
	return isxdigit((unsigned char)at[1]) && isxdigit((unsigned char)at[2]);
}

static int
check_literals(const struct http_template *t, char *error, size_t error_size)
{
	for (size_t i = 0; i < t->count; i++) {
		const char *text = t->parts[i].source == HTTP_LITERAL ? t->parts[i].text : "";

		if (strchr(text, '#') != NULL) {
			(void)snprintf(error, error_size,
			    "has a '#': a fragment is never sent; write %%23 for the character");
			return -1;
		}
		for (; *text != '\0'; text++)
			if (*text <= ' ' || *text > '~' || *text == '\\' ||
			    (*text == '%' && !is_escape(text))) {
				(void)snprintf(error, error_size,
				    "has a character that no URL has: write %%%02X for it",
				    (unsigned)(unsigned char)*text);
				return -1;
			}
	}
	return 0;
}

int
http_url_parse(const char *text, struct http_template *t, char place[HTTP_PLACE_MAX], char *error,
    size_t error_size)
{
	const char *authority = authority_of(text);
	struct http_text example = { 0 };
	size_t len;
	bool plain;

	*t = (struct http_template){ NULL, 0 };
	if (authority == NULL) {
		(void)snprintf(error, error_size, "must begin with https:// or http://");
		return -1;
	}
	len = strcspn(authority, "/?#");
	if (check_authority(text, authority, len, place, error, error_size) != 0 ||
	    http_template_parse(text, true, t, error, error_size) != 0 ||
	    check_literals(t, error, error_size) != 0)
		return -1;
	http_template_example(t, "x", &example);
	plain = !example.failed && http_url_is_plain(http_text_string(&example));
	http_text_release(&example);
	if (!plain)
		(void)snprintf(error, error_size,
		    "has a segment \".\" or \"..\" in its path: write the path itself");
	return plain ? 0 : -1;
}

/* Bytes of the separator that begins here, escaped or not; 0: none does. */
static size_t
separator(const char *at)
{
	if (*at == '/' || *at == '\\')
		return 1;
	return strncasecmp(at, "%2f", 3) == 0 || strncasecmp(at, "%5c", 3) == 0 ? 3 : 0;
}

bool
http_url_is_plain(const char *url)
{
	const char *at = authority_of(url);
	size_t dots = 0;		/* of the segment so far, if it has nothing else */
	bool other = false;

	if (at == NULL)
		return false;
	for (at += strcspn(at, "/?"); *at != '\0' && *at != '?';) {
		size_t skip = separator(at);

		if (skip > 0 && !other && (dots == 1 || dots == 2))
			return false;
		if (skip > 0) {
			dots = 0;
			other = false;
			at += skip;
		} else if (*at == '.' || strncasecmp(at, "%2e", 3) == 0) {
			dots++;
			at += *at == '.' ? 1 : 3;
		} else {
			other = true;
			at++;
		}
	}
	return other || dots == 0 || dots > 2;
}
