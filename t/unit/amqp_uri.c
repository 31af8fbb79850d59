/* Unit tests of util/amqp_uri. */
#include "util/amqp_conn.h"

#include "t/unit/tap.h"

int
main(void)
{
	static const struct { const char *text, *host, *user, *password, *vhost; int port; bool tls; } good[] = {
		{ "amqp://h", "h", "guest", NULL, "/", 5672, false },
		{ "amqps://h", "h", "guest", NULL, "/", 5671, true },
		{ "amqp://orders@localhost/%2f", "localhost", "orders", NULL, "/", 5672, false },
		{ "amqp://orders@localhost/%2F", "localhost", "orders", NULL, "/", 5672, false },
		{ "amqp://u:p@h:1/v", "h", "u", "p", "v", 1, false },
		{ "amqp://u:@h:65535/v", "h", "u", "", "v", 65535, false },
		{ "amqp://u:a:b@h", "h", "u", "a:b", "/", 5672, false },
		{ "amqp://u:a@b@h", "h", "u", "a@b", "/", 5672, false },
		{ "amqp://%75%40:%2f%3f%23%25%c3%a4@h.example:5673/a%2fb%20c", "h.example", "u@", "/?#%\xc3\xa4", "a/b c", 5673, false },
		{ "amqps://[::1]:5671/v", "::1", "guest", NULL, "v", 5671, true },
		{ "amqp://u@[fe80::1%25eth0]", "fe80::1%eth0", "u", NULL, "/", 5672, false },
		{ "amqp://u@10.0.0.1:5672", "10.0.0.1", "u", NULL, "/", 5672, false }
	};
	static const struct { const char *text, *error; } bad[] = {
		{ "", "amqp://" }, { "h", "amqp://" }, { "http://h", "amqp://" }, { "amqp:h", "amqp://" }, { "amqp:/h", "amqp://" },
		{ "AMQP://h", "amqp://" }, { "amqp://", "no host" }, { "amqp://u@", "no host" }, { "amqp://:5672", "no host" },
		{ "amqp://h/", "write %2f" }, { "amqp://u:SECRET@h/", "write %2f" }, { "amqp://h/a/b", "%2f" },
		{ "amqp://h:0", "wrong port" }, { "amqp://h:65536", "wrong port" }, { "amqp://h:99999999999", "wrong port" }, { "amqp://h:", "wrong port" },
		{ "amqp://h:5672x", "wrong port" }, { "amqp://h:-1", "wrong port" }, { "amqp://u:SECRET/SECRET@h", "wrong port" },
		{ "amqp://u:SECRET?@h", "%3f" }, { "amqp://u:SECRET#@h", "%23" }, { "amqp://h?heartbeat=5", "%3f" },
		{ "amqp://u:SECRET%@h", "%25" }, { "amqp://u:SECRET%4@h", "%25" }, { "amqp://u:SECRET%zz@h", "%25" }, { "amqp://h/%", "%25" },
		{ "amqp://u:SECRET%00@h", "control" }, { "amqp://u:SECRET\n@h", "control" }, { "amqp://h/%0a", "control" },
		{ "amqp://:SECRET@h", "empty user" }, { "amqp://[::1", "IPv6" }, { "amqp://[]", "IPv6" }, { "amqp://[::1]x", "IPv6" },
		{ "amqp://a b", "host name" }, { "amqp://h,g", "host name" }, { "amqp://h%zz", "%25" }
	};
	struct amqp_uri uri;
	char error[256];

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		if (!ok(amqp_uri_parse(good[i].text, &uri, error, sizeof(error)) == 0, "%s is good", good[i].text)) {
			diag("%s", error);
			continue;
		}
		is_str(uri.host, good[i].host, "%s: host", good[i].text);
		is_int(uri.port, good[i].port, "%s: port", good[i].text);
		is_str(uri.user, good[i].user, "%s: user", good[i].text);
		is_str(uri.password, good[i].password, "%s: password", good[i].text);
		is_str(uri.vhost, good[i].vhost, "%s: vhost", good[i].text);
		is_int(uri.tls, good[i].tls, "%s: tls", good[i].text);
		amqp_uri_release(&uri);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		error[0] = '\0';
		if (!ok(amqp_uri_parse(bad[i].text, &uri, error, sizeof(error)) == -1, "bad URI %zu is refused", i))
			amqp_uri_release(&uri);
		if (!ok(strstr(error, bad[i].error) != NULL, "bad URI %zu: the error says why", i))
			diag("%s: %s", bad[i].text, error);
		ok(strstr(error, "SECRET") == NULL, "bad URI %zu: no password in the error", i);
	}
	amqp_uri_release(&uri);
	ok(uri.host == NULL && uri.password == NULL, "a released URI can be released again");
	return done_testing();
}
