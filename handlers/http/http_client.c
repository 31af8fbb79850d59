/*
 * http_client.c - see http_client.h.
 */
#include "http_client.h"

#include <curl/curl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum { HEADERS_MAX = 256 * 1024 };	/* bytes of an answer's: a server can send them without end */

struct http_client {
	const struct http_config *config;
	CURL *curl;
	struct curl_slist *headers;
	struct http_text body;
	size_t header_bytes;
	bool cut;
	char elsewhere[HTTP_PLACE_MAX];
	char error[CURL_ERROR_SIZE];
};

static int64_t
now_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

struct http_client *
http_client_new(const struct http_config *config)
{
	struct http_client *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
		free(c);
		return NULL;
	}
	c->config = config;
	c->curl = curl_easy_init();
	if (c->curl == NULL)
		http_client_free(&c);
	return c;
}

/* With CURLOPT_NOSIGNAL libcurl leaves SIGPIPE to us: TLS writes to a connection that the server
 * closed raise it. */
static void
ignore_pipe(struct sigaction *former)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN };

	(void)sigaction(SIGPIPE, &ignore, former);
}

void
http_client_free(struct http_client **client)
{
	struct http_client *c = *client;
	struct sigaction former;

	if (c == NULL)
		return;
	ignore_pipe(&former);
	curl_easy_cleanup(c->curl);
	(void)sigaction(SIGPIPE, &former, NULL);
	curl_slist_free_all(c->headers);
	http_text_release(&c->body);
	curl_global_cleanup();
	free(c);
	*client = NULL;
}

/* ---- URLs */

int
http_client_check_url(const char *url, char *error, size_t error_size)
{
	CURLU *u = curl_url();
	CURLUcode code = u == NULL ? CURLUE_OUT_OF_MEMORY :
	    curl_url_set(u, CURLUPART_URL, url, CURLU_DISALLOW_USER);

	curl_url_cleanup(u);
	if (code == CURLUE_OK)
		return 0;
	(void)snprintf(error, error_size, "is no good URL: %s",
#if LIBCURL_VERSION_NUM >= 0x075000
	    curl_url_strerror(code)
#else
	    "see that host and port are right"
#endif
	);
	return -1;
}

/* "scheme://host:port" of a URL; -1: none. */
static int
origin_of(const char *url, char *origin, size_t size)
{
	char *scheme = NULL, *host = NULL, *port = NULL;
	CURLU *u = curl_url();
	int status = -1, len;

	if (u != NULL && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
	    curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
	    curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
	    curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK) {
		len = snprintf(origin, size, "%s://%s:%s", scheme, host, port);
		status = len > 0 && (size_t)len < size ? 0 : -1;
	}
	curl_free(scheme);
	curl_free(host);
	curl_free(port);
	curl_url_cleanup(u);
	return status;
}

/* 301 to 303 turn a POST into a GET by custom, which would lose the message: those are followed for
 * GET alone. */
static bool
follows(struct http_client *c, long status, const char *from, const char *to)
{
	char here[HTTP_PLACE_MAX];

	if (status / 100 != 3 || to == NULL)
		return false;
	if (origin_of(to, c->elsewhere, sizeof(c->elsewhere)) != 0)
		(void)snprintf(
		    c->elsewhere, sizeof(c->elsewhere), "something that is no URL of a host");
	if (origin_of(from, here, sizeof(here)) != 0 || strcasecmp(here, c->elsewhere) != 0)
		return false;
	return status == 307 || status == 308 ||
	    (strcmp(c->config->method, "GET") == 0 && status >= 301 && status <= 303);
}

/* ---- what comes from the server */

/* Returning less than there is ends the transfer. */
static size_t
receive_body(char *data, size_t size, size_t count, void *arg)
{
	struct http_client *c = arg;
	size_t len = size * count, room = c->config->max_answer - c->body.len;

	c->cut = len > room;
	http_text_add(&c->body, data, c->cut ? room : len);
	return c->cut || c->body.failed ? 0 : len;
}

static size_t
receive_header(char *data, size_t size, size_t count, void *arg)
{
	struct http_client *c = arg;

	(void)data;
	c->header_bytes += size * count;
	return c->header_bytes > HEADERS_MAX ? 0 : size * count;
}

/* ---- the request */

static CURLcode
set_method(CURL *curl, const struct http_config *config, const struct http_request *r)
{
	CURLcode code;

	if (strcmp(config->method, "GET") == 0)
		return curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L);
	code = curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, config->method);
	if (!config->has_body || code != CURLE_OK)
		return code;
	code = curl_easy_setopt(curl, CURLOPT_POSTFIELDS, (const char *)r->body);
	if (code == CURLE_OK)
		code = curl_easy_setopt(
		    curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body_size);
	return code;
}

static CURLcode
set_protocols(CURL *curl)
{
#if LIBCURL_VERSION_NUM >= 0x075500
	return curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
#else
	return curl_easy_setopt(curl, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
}

/* Only those authorities are trusted that ca_file has: the system's directory is left out then. */
static CURLcode
set_tls(CURL *curl, const struct http_config *config)
{
	CURLcode code = curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);

	if (code == CURLE_OK && config->ca_file != NULL) {
		code = curl_easy_setopt(curl, CURLOPT_CAINFO, config->ca_file);
		(void)curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
	}
	if (code == CURLE_OK && config->cert_file != NULL)
		code = curl_easy_setopt(curl, CURLOPT_SSLCERT, config->cert_file);
	if (code == CURLE_OK && config->key_file != NULL)
		code = curl_easy_setopt(curl, CURLOPT_SSLKEY, config->key_file);
	return code;
}

/* What does not depend on the message. */
static CURLcode
set_connection(struct http_client *c)
{
	const struct { CURLoption option; long value; } numbers[] = {
		{ CURLOPT_NOSIGNAL, 1 }, { CURLOPT_PATH_AS_IS, 1 }, { CURLOPT_TCP_KEEPALIVE, 1 },
		{ CURLOPT_FOLLOWLOCATION, 0 }, { CURLOPT_SUPPRESS_CONNECT_HEADERS, 1 },
		{ CURLOPT_MAXCONNECTS, 2 },
#if LIBCURL_VERSION_NUM >= 0x075700
		{ CURLOPT_QUICK_EXIT, 1 },	/* else a time-out waits for the name server all the same */
#endif
	};
	CURL *curl = c->curl;
	CURLcode code = set_protocols(curl);

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]) && code == CURLE_OK; i++)
		code = curl_easy_setopt(curl, numbers[i].option, numbers[i].value);
	if (code == CURLE_OK)	/* "": none, whatever the environment says */
		code = curl_easy_setopt(
		    curl, CURLOPT_PROXY, c->config->proxy == NULL ? "" : c->config->proxy);
	if (code == CURLE_OK)
		code = curl_easy_setopt(curl, CURLOPT_NOPROXY, "");
	if (code == CURLE_OK)
		code = set_tls(curl, c->config);
	(void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, c->error);
	(void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, receive_body);
	(void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, c);
	(void)curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, receive_header);
	(void)curl_easy_setopt(curl, CURLOPT_HEADERDATA, c);
	return code;
}

static CURLcode
add_header(struct http_client *c, const char *line)
{
	struct curl_slist *longer = curl_slist_append(c->headers, line);

	if (longer == NULL)
		return CURLE_OUT_OF_MEMORY;
	c->headers = longer;
	return CURLE_OK;
}

/* Ours as they are. libcurl adds some of its own accord: a type that bodies do not have, and an
 * Expect that only costs time. */
static CURLcode
make_headers(struct http_client *c, const struct http_request *r)
{
	CURLcode code = add_header(c, "Expect:");
	bool typed = false;

	for (size_t at = 0; at < r->headers.len && code == CURLE_OK;) {
		const char *line = r->headers.data + at;

		typed = typed || strncasecmp(line, "Content-Type:", 13) == 0;
		code = add_header(c, line);
		at += strlen(line) + 1;
	}
	for (size_t i = 0; i < c->config->secret_count && code == CURLE_OK; i++) {
		typed =
		    typed || strncasecmp(c->config->secrets[i].header, "Content-Type:", 13) == 0;
		code = add_header(c, c->config->secrets[i].header);
	}
	if (code == CURLE_OK && !typed)
		code = add_header(c, "Content-Type:");
	return code;
}

/*
 * What a server has sent unasked would be taken for the answer to the next request: libcurl looks for it
 * only since 8.1. HTTP/2 has its own numbers for that, and its own reasons to speak.
 */
static CURLcode
drop_chattering_connection(struct http_client *c)
{
	curl_socket_t fd = CURL_SOCKET_BAD;
	struct sigaction former;
	long version = 0;
	CURL *fresh;

	(void)curl_easy_getinfo(c->curl, CURLINFO_HTTP_VERSION, &version);
	(void)curl_easy_getinfo(c->curl, CURLINFO_ACTIVESOCKET, &fd);
	if (version >= CURL_HTTP_VERSION_2_0 || fd == CURL_SOCKET_BAD ||
	    poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 0) <= 0)
		return CURLE_OK;
	fresh = curl_easy_init();
	if (fresh == NULL)
		return CURLE_OUT_OF_MEMORY;
	ignore_pipe(&former);
	curl_easy_cleanup(c->curl);
	(void)sigaction(SIGPIPE, &former, NULL);
	c->curl = fresh;
	return CURLE_OK;
}

/* So some versions of libcurl call a header that is longer than they take. */
static bool
is_long_header(struct http_client *c, CURLcode code)
{
	curl_off_t first_byte_us = 0;

	return code == CURLE_OUT_OF_MEMORY &&
	    curl_easy_getinfo(c->curl, CURLINFO_STARTTRANSFER_TIME_T, &first_byte_us) == CURLE_OK &&
	    first_byte_us > 0;
}

static CURLcode
perform(struct http_client *c, const struct http_request *r, const char *url, int64_t left_ms)
{
	int64_t connect_ms =
	    c->config->connect_timeout_ms < left_ms ? c->config->connect_timeout_ms : left_ms;
	struct sigaction former;
	CURLcode code;

	http_text_clear(&c->body);
	http_text_add(&c->body, "", 0);
	c->header_bytes = 0;
	c->cut = false;
	c->error[0] = '\0';
	code = drop_chattering_connection(c);
	curl_easy_reset(c->curl);
	if (code == CURLE_OK)
		code = set_connection(c);
	if (code == CURLE_OK)
		code = set_method(c->curl, c->config, r);
	if (code == CURLE_OK)
		code = curl_easy_setopt(c->curl, CURLOPT_URL, url);
	if (code == CURLE_OK)
		code = curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, c->headers);
	(void)curl_easy_setopt(c->curl, CURLOPT_TIMEOUT_MS, (long)left_ms);
	(void)curl_easy_setopt(c->curl, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms);
	if (code != CURLE_OK)
		return code;
	ignore_pipe(&former);
	code = curl_easy_perform(c->curl);
	(void)sigaction(SIGPIPE, &former, NULL);
	if (c->body.failed)
		return CURLE_OUT_OF_MEMORY;
	if (is_long_header(c, code)) {
		(void)snprintf(c->error, sizeof(c->error), "a header is too long");
		return CURLE_RECV_ERROR;
	}
	return code == CURLE_WRITE_ERROR && c->cut ? CURLE_OK : code;
}

static enum http_failure
failure_of(CURLcode code)
{
	switch (code) {
	case CURLE_OK:
		return HTTP_ANSWERED;
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
	case CURLE_COULDNT_CONNECT:
	case CURLE_INTERFACE_FAILED:
		return HTTP_FAILED_CONNECT;
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CIPHER:
	case CURLE_SSL_ISSUER_ERROR:
	case CURLE_SSL_ENGINE_NOTFOUND:
	case CURLE_SSL_ENGINE_SETFAILED:
	case CURLE_SSL_ENGINE_INITFAILED:
	case CURLE_SSL_CRL_BADFILE:
	case CURLE_SSL_INVALIDCERTSTATUS:
	case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
	case CURLE_USE_SSL_FAILED:
		return HTTP_FAILED_TLS;
	case CURLE_OPERATION_TIMEDOUT:
		return HTTP_FAILED_TIMEOUT;
	case CURLE_OUT_OF_MEMORY:
		return HTTP_FAILED_MEMORY;
	default:
		return HTTP_FAILED_BROKEN;
	}
}

static void
take_answer(struct http_client *c, struct http_answer *a)
{
	curl_off_t after = 0;

	a->body = http_text_string(&c->body);
	a->size = c->body.len;
	a->cut = c->cut;
	if (curl_easy_getinfo(c->curl, CURLINFO_RETRY_AFTER, &after) == CURLE_OK && after > 0)
		a->retry_after_ms =
		    after > INT_MAX ? (int64_t)INT_MAX * 1000 : (int64_t)after * 1000;
	a->elsewhere = c->elsewhere[0] == '\0' ? NULL : c->elsewhere;
}

void
http_client_send(
    struct http_client *c, const struct http_request *r, int64_t timeout_ms, struct http_answer *a)
{
	int64_t begin = now_us(), deadline = begin + timeout_ms * 1000;
	char *url = strdup(http_text_string(&r->url));
	CURLcode code = url == NULL ? CURLE_OUT_OF_MEMORY : make_headers(c, r);

	*a = (struct http_answer){ .body = "" };
	for (int redirects = 0; code == CURLE_OK; redirects++) {
		int64_t left_ms = (deadline - now_us()) / 1000;
		char *to = NULL, *next;

		code = left_ms <= 0 ? CURLE_OPERATION_TIMEDOUT : perform(c, r, url, left_ms);
		if (code != CURLE_OK)
			break;
		(void)curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &a->status);
		(void)curl_easy_getinfo(c->curl, CURLINFO_REDIRECT_URL, &to);
		c->elsewhere[0] = '\0';
		if (!follows(c, a->status, url, to) || redirects == c->config->redirects)
			break;
		next = strdup(to);
		free(url);
		url = next;
		if (url == NULL)
			code = CURLE_OUT_OF_MEMORY;
	}
	curl_slist_free_all(c->headers);
	c->headers = NULL;
	free(url);
	a->failure = failure_of(code);
	a->error = c->error[0] != '\0' ? c->error : curl_easy_strerror(code);
	a->took_us = now_us() - begin;
	if (a->failure == HTTP_ANSWERED)
		take_answer(c, a);
}
