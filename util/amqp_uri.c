/*
 * amqp_uri.c - takes an amqp:// or amqps:// URI apart.
 *
 * Runs where the configuration is read. No message repeats any part of the URI but its scheme: what
 * looks like a port may be half of a password whose '/' or '@' was not encoded.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "util/amqp_conn.h"
#include "util/arena.h"
#include "util/slice.h"

enum { PORT_PLAIN = 5672, PORT_TLS = 5671, PORT_MAX = 65535 };

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Percent-decoded copy; NULL, and *why, if it is encoded wrongly or holds a control character. */
static char *
decode(struct slice in, const char **why)
{
	char *out = xmalloc(in.len + 1);
	size_t len = 0;

	for (size_t i = 0; i < in.len; i++) {
		char c = in.data[i];

		if (c == '%') {
			int high = in.len - i > 2 ? hex_digit(in.data[i + 1]) : -1;
			int low = in.len - i > 2 ? hex_digit(in.data[i + 2]) : -1;

			if (high < 0 || low < 0) {
				*why = "has a '%' without two hexadecimal digits (a '%' itself is written as %25)";
				goto bad;
			}
			c = (char)(high * 16 + low);
			i += 2;
		}
		if ((unsigned char)c < 0x20 || c == 0x7f) {
			*why = "has a control character";
			goto bad;
		}
		out[len++] = c;
	}
	out[len] = '\0';
	return out;
bad:
	explicit_bzero(out, in.len);
	free(out);
	return NULL;
}

static int
parse_port(struct slice text, int *port)
{
	int n = 0;

	if (text.len == 0 || text.len > 5)
		return -1;
	for (size_t i = 0; i < text.len; i++) {
		if (text.data[i] < '0' || text.data[i] > '9')
			return -1;
		n = n * 10 + (text.data[i] - '0');
	}
	if (n < 1 || n > PORT_MAX)
		return -1;
	*port = n;
	return 0;
}

/* Up to the first (or last) 'c': before gets it, *rest what follows. false: there is none, both
 * stay. */
static bool
split(struct slice *before, struct slice *rest, char c, bool last)
{
	const char *at =
	    last ? memrchr(rest->data, c, rest->len) : memchr(rest->data, c, rest->len);
	size_t len;

	if (at == NULL)
		return false;
	len = (size_t)(at - rest->data);
	*before = (struct slice){ rest->data, len };
	*rest = (struct slice){ at + 1, rest->len - len - 1 };
	return true;
}

static bool
all_of(struct slice text, const char *allowed)
{
	for (size_t i = 0; i < text.len; i++) {
		if (text.data[i] == '\0' || strchr(allowed, text.data[i]) == NULL)
			return false;
	}
	return text.len > 0;
}

/* host, host:port, [v6], [v6]:port. Returns what is wrong with it, or NULL. */
static const char *
parse_host(struct slice text, struct amqp_uri *uri)
{
	static const char letters[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._%:";
	struct slice host = text, rest = text;
	const char *why = NULL;

	if (text.len > 0 && text.data[0] == '[') {
		rest = (struct slice){ text.data + 1, text.len - 1 };
		if (!split(&host, &rest, ']', false) || !all_of(host, letters))
			return "has a wrong IPv6 address";
		if (rest.len > 0 && rest.data[0] != ':')
			return "has something else than a port behind its IPv6 address";
		if (rest.len > 0)
			rest = (struct slice){ rest.data + 1, rest.len - 1 };
		else
			rest.data = NULL;
	} else {
		if (!split(&host, &rest, ':', false))
			rest.data = NULL;
		if (host.len == 0)
			return "has no host";
		if (!all_of(host, letters))
			return "has a wrong host name";
	}
	if (rest.data != NULL && parse_port(rest, &uri->port) != 0)
		return "has a wrong port (1 to 65535; a '/', '@' or ':' in a password is written as %2f, %40, %3a)";
	uri->host = decode(host, &why);		/* [fe80::1%25eth0] */
	return why;
}

/* user[:password]; both may hold anything, encoded. */
static const char *
parse_user(struct slice text, struct amqp_uri *uri)
{
	struct slice user = text, password = text;
	const char *why = NULL;

	if (split(&user, &password, ':', false)) {
		uri->password = decode(password, &why);
		if (uri->password == NULL)
			return why;
	}
	uri->user = decode(user, &why);
	if (uri->user == NULL)
		return why;
	return uri->user[0] == '\0' ? "has an empty user name" : NULL;
}

int
amqp_uri_parse(const char *text, struct amqp_uri *uri, char *error, size_t error_size)
{
	struct slice rest = slice_of(text), scheme, authority, user;
	const char *why = NULL;

	memset(uri, 0, sizeof(*uri));
	if (!split(&scheme, &rest, ':', false) || rest.len < 2 || memcmp(rest.data, "//", 2) != 0 ||
	    (!slice_is(scheme, "amqp") && !slice_is(scheme, "amqps"))) {
		why = "does not start with amqp:// or amqps://";
		goto bad;
	}
	uri->tls = slice_is(scheme, "amqps");
	uri->port = uri->tls ? PORT_TLS : PORT_PLAIN;
	rest = (struct slice){ rest.data + 2, rest.len - 2 };
	if (memchr(rest.data, '?', rest.len) != NULL || memchr(rest.data, '#', rest.len) != NULL) {
		why = "has a '?' or '#': options are keys of the broker group, in a password they are written as %3f, %23";
		goto bad;
	}
	if (!split(&authority, &rest, '/', false)) {
		authority = rest;
		uri->vhost = xstrdup("/");
	} else if (rest.len == 0) {
		why = "ends in '/', which names a vhost without a name: leave it out or write %2f for the vhost \"/\"";
		goto bad;
	} else if (memchr(rest.data, '/', rest.len) != NULL) {
		why = "has a '/' in the vhost: write it as %2f (in a password, too)";
		goto bad;
	} else {
		uri->vhost = decode(rest, &why);
		if (uri->vhost == NULL)
			goto bad;
	}
	if (split(&user, &authority, '@', true)) {
		why = parse_user(user, uri);
		if (why != NULL)
			goto bad;
	} else {
		uri->user = xstrdup("guest");
	}
	why = parse_host(authority, uri);
	if (why != NULL)
		goto bad;
	return 0;
bad:
	(void)snprintf(error, error_size, "broker URI %s", why);
	amqp_uri_release(uri);
	return -1;
}

void
amqp_uri_release(struct amqp_uri *uri)
{
	if (uri->password != NULL)
		explicit_bzero(uri->password, strlen(uri->password));
	free(uri->host);
	free(uri->user);
	free(uri->password);
	free(uri->vhost);
	memset(uri, 0, sizeof(*uri));
}
