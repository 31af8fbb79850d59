/*
 * http_client.h - one request, one answer. The only module that knows libcurl.
 *
 * One handle, so that connections are used again. Nothing of the environment is used: no proxy, no .netrc, no cookies. Certificates and
 * host names are always verified. A redirect is followed only to the same scheme, host and port, and only if that repeats the request
 * as it is; any other is an answer.
 */
#ifndef PAWL_HANDLERS_HTTP_CLIENT_H
#define PAWL_HANDLERS_HTTP_CLIENT_H
#include "http_config.h"
#include "http_request.h"

enum http_failure {
	HTTP_ANSWERED, HTTP_FAILED_CONNECT, HTTP_FAILED_TLS, HTTP_FAILED_TIMEOUT, HTTP_FAILED_BROKEN, HTTP_FAILED_MEMORY
};
struct http_answer {
	enum http_failure failure;
	const char *error;		/* what libcurl says of the failure */
	long status;
	int64_t retry_after_ms;		/* 0: the server does not say */
	const char *body;		/* at most max_answer bytes; a NUL behind it */
	size_t size;
	bool cut;			/* there was more, which was not read */
	const char *elsewhere;		/* scheme, host and port that a redirect leads to, which was not followed; NULL: none */
	int64_t took_us;
};
struct http_client;

/* NULL: no memory. The configuration must live as long. */
struct http_client *http_client_new(const struct http_config *);
void	http_client_free(struct http_client **);
/* The answer's texts live until the next one. */
void	http_client_send(struct http_client *, const struct http_request *, int64_t timeout_ms, struct http_answer *);
/* Whether libcurl takes this for a URL with a host. -1: error says what is wrong. */
int	http_client_check_url(const char *url, char *error, size_t error_size);
#endif
