/*
 * http_config.c - see http_config.h. Secrets have a file of their own: http_secret.c.
 */
#include "http_config.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "http_client.h"
#include "http_secret.h"

static const int64_t answer_default = 64 * 1024, answer_most = 64 * 1024 * 1024;

static int
read_url(const struct pawl_config *cfg, struct http_config *c)
{
	const char *url = pawl_config_string(cfg, "url", NULL);
	struct http_text example = { 0 };
	char error[256];
	int status;

	if (url == NULL)
		return pawl_config_error(cfg, "url",
		    "is missing: where messages go, like \"https://api.example/orders\"");
	if (http_url_parse(url, &c->url, c->place, error, sizeof(error)) != 0)
		return pawl_config_error(cfg, "url", "%s", error);
	http_template_example(&c->url, "x", &example);
	status = http_client_check_url(http_text_string(&example), error, sizeof(error));
	http_text_release(&example);
	return status == 0 ? 0 : pawl_config_error(cfg, "url", "%s", error);
}

static int
read_method(const struct pawl_config *cfg, struct http_config *c)
{
	static const struct { const char *name; bool has_body; } known[] = {
		{ "POST", true }, { "PUT", true }, { "PATCH", true }, { "DELETE", false }, { "GET", false },
	};

	c->method = pawl_config_string(cfg, "method", "POST");
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(known[i].name, c->method) == 0) {
			c->has_body = known[i].has_body;
			return 0;
		}
	return pawl_config_error(cfg, "method", "is POST, PUT, PATCH, DELETE or GET");
}

/* ---- headers */

const char *
http_header_objection(const char *name, bool secret)
{
	static const char *const ours[] = {
		"Host", "Content-Length", "Transfer-Encoding", "Connection", "Upgrade", "TE", "Trailer", "Expect",
		"Keep-Alive", "Proxy-Connection",
	};
	static const char *const secrets[] = { "Authorization", "Proxy-Authorization", "Cookie" };

	if (!http_is_header_name(name))
		return "is no name of a header";
	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		if (strcasecmp(ours[i], name) == 0)
			return "cannot be set: it belongs to the connection";
	for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]) && !secret; i++)
		if (strcasecmp(secrets[i], name) == 0)
			return "is a secret: use bearer_file, user and password_file, or"
			       " header_files";
	return NULL;
}

static int
read_template(
    const struct pawl_config *cfg, const char *path, const char *text, struct http_template *t)
{
	char error[256];

	if (!http_is_header_value(text))
		return pawl_config_error(cfg, path, "has a control character");
	if (http_template_parse(text, false, t, error, sizeof(error)) != 0)
		return pawl_config_error(cfg, path, "%s", error);
	return 0;
}

static int
read_header(const struct pawl_config *cfg, const char *name, struct http_config *c)
{
	struct http_header *larger = realloc(c->headers, (c->header_count + 1) * sizeof(*larger));
	const char *objection = http_header_objection(name, false), *text;
	char path[256];

	if (larger == NULL)
		return pawl_config_error(cfg, "headers", "out of memory");
	c->headers = larger;
	(void)snprintf(path, sizeof(path), "headers.%s", name);
	text = pawl_config_string(cfg, path, NULL);
	if (text == NULL)
		return pawl_config_error(cfg, path, "is a text");
	if (objection != NULL)
		return pawl_config_error(cfg, path, "%s", objection);
	larger[c->header_count] = (struct http_header){ .name = name };
	return read_template(cfg, path, text, &larger[c->header_count++].value);
}

bool
http_config_has_header(const struct http_config *c, const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < c->header_count; i++)
		if (strcasecmp(c->headers[i].name, name) == 0)
			return true;
	for (size_t i = 0; i < c->secret_count; i++)
		if (strncasecmp(c->secrets[i].header, name, len) == 0 &&
		    c->secrets[i].header[len] == ':')
			return true;
	return false;
}

/* ---- CloudEvents */

static int
read_envelope(const struct pawl_config *cfg, struct http_config *c)
{
	const char *envelope = pawl_config_string(cfg, "envelope", NULL);
	const char *source = pawl_config_string(cfg, "source", NULL);
	const char *subject = pawl_config_string(cfg, "subject", NULL);
	int status = 0;

	if (envelope == NULL && (source != NULL || subject != NULL))
		return pawl_config_error(cfg, source != NULL ? "source" : "subject",
		    "is for CloudEvents: set envelope = \"cloudevents\" as well");
	if (envelope == NULL)
		return 0;
	if (strcmp(envelope, "cloudevents") == 0)
		c->envelope = HTTP_CLOUDEVENTS;
	else if (strcmp(envelope, "cloudevents-structured") == 0)
		c->envelope = HTTP_CLOUDEVENTS_STRUCTURED;
	else
		return pawl_config_error(
		    cfg, "envelope", "is \"cloudevents\" or \"cloudevents-structured\"");
	if (!c->has_body)
		return pawl_config_error(
		    cfg, "envelope", "is for methods with a body, which %s has not", c->method);
	if (source == NULL || source[0] == '\0')
		return pawl_config_error(cfg, "source",
		    "is missing: every CloudEvent says where it comes from, like \"/orders\"");
	status = read_template(cfg, "source", source, &c->source);
	c->has_subject = subject != NULL;
	if (subject != NULL)
		status |= read_template(cfg, "subject", subject, &c->subject);
	return status;
}

/* ---- numbers */

static int
read_max_answer(const struct pawl_config *cfg, struct http_config *c)
{
	static const struct { const char *unit; int64_t bytes; } units[] = {
		{ "B", 1 }, { "KiB", 1024 }, { "MiB", 1024 * 1024 },
	};
	const char *text = pawl_config_string(cfg, "max_answer", NULL);
	char *end = NULL;
	long number;

	c->max_answer = (size_t)answer_default;
	if (text == NULL)
		return 0;
	number = text[0] >= '0' && text[0] <= '9' ? strtol(text, &end, 10) : -1;
	for (size_t i = 0; number >= 0 && i < sizeof(units) / sizeof(units[0]); i++)
		if (strcmp(end, units[i].unit) == 0 && number <= answer_most / units[i].bytes) {
			c->max_answer = (size_t)(number * units[i].bytes);
			return 0;
		}
	return pawl_config_error(
	    cfg, "max_answer", "is a size up to 64MiB: \"512B\", \"64KiB\", \"1MiB\"");
}

static int
read_times(const struct pawl_config *cfg, struct http_config *c)
{
	int status = 0;

	c->timeout_ms = pawl_config_ms(cfg, "timeout", 0);
	c->connect_timeout_ms = pawl_config_ms(cfg, "connect_timeout", 10000);
	if (c->timeout_ms < 0 || c->timeout_ms > INT_MAX)
		status |= pawl_config_error(cfg, "timeout", "is too long");
	if (c->connect_timeout_ms < 1 || c->connect_timeout_ms > INT_MAX)
		status |= pawl_config_error(cfg, "connect_timeout", "is at least \"1ms\"");
	return status;
}

static int
read_done(const struct pawl_config *cfg, struct http_config *c)
{
	int count = pawl_config_count(cfg, "done");

	if (count > HTTP_DONE_MAX)
		return pawl_config_error(
		    cfg, "done.[0]", "the list has more than %d numbers", HTTP_DONE_MAX);
	for (int i = 0; i < count; i++) {
		char path[32];
		int64_t status;

		(void)snprintf(path, sizeof(path), "done.[%d]", i);
		status = pawl_config_int(cfg, path, 0);
		if (status < 400 || status > 499)
			return pawl_config_error(cfg, path,
			    "is a status from 400 to 499: others are done, or are tried again");
		c->done[c->done_count++] = (long)status;
	}
	return 0;
}

/* ---- the connection */

static int
read_connection(const struct pawl_config *cfg, struct http_config *c)
{
	int64_t redirects = pawl_config_int(cfg, "redirects", 0);
	char error[256];
	int status = 0;

	c->ca_file = pawl_config_string(cfg, "ca_file", NULL);
	c->cert_file = pawl_config_string(cfg, "cert_file", NULL);
	c->key_file = pawl_config_string(cfg, "key_file", NULL);
	c->proxy = pawl_config_string(cfg, "proxy", NULL);
	if ((c->cert_file == NULL) != (c->key_file == NULL))
		status |= pawl_config_error(cfg, c->cert_file == NULL ? "cert_file" : "key_file",
		    "is missing: cert_file and key_file belong together");
	status |= http_secret_check_file(cfg, "ca_file", c->ca_file, false);
	status |= http_secret_check_file(cfg, "cert_file", c->cert_file, false);
	status |= http_secret_check_file(cfg, "key_file", c->key_file, true);
	if (c->proxy != NULL &&
	    (strncmp(c->proxy, "http://", 7) != 0 || strchr(c->proxy, '@') != NULL ||
		http_client_check_url(c->proxy, error, sizeof(error)) != 0))
		status |= pawl_config_error(cfg, "proxy", "is like \"http://proxy.example:3128\"");
	if (redirects < 0 || redirects > HTTP_REDIRECTS_MAX)
		status |= pawl_config_error(
		    cfg, "redirects", "is a number from 0 to %d", HTTP_REDIRECTS_MAX);
	c->redirects = (int)redirects;
	return status;
}

int
http_config_read(const struct pawl_config *cfg, struct http_config *c)
{
	const char *name;
	int status;

	*c = (struct http_config){ .method = "POST" };
	status = read_url(cfg, c);
	status |= read_method(cfg, c);
	for (int i = 0; (name = pawl_config_member(cfg, "headers", i)) != NULL; i++)
		status |= read_header(cfg, name, c);
	status |= http_secret_read(cfg, c);
	status |= read_envelope(cfg, c);
	status |= read_times(cfg, c);
	status |= read_max_answer(cfg, c);
	status |= read_done(cfg, c);
	status |= read_connection(cfg, c);
	status |= http_record_read(cfg, &c->record);
	return status == 0 ? 0 : -1;
}

void
http_config_release(struct http_config *c)
{
	http_template_release(&c->url);
	http_template_release(&c->source);
	http_template_release(&c->subject);
	for (size_t i = 0; i < c->header_count; i++)
		http_template_release(&c->headers[i].value);
	free(c->headers);
	http_secret_release(c);
	http_record_release(&c->record);
}
