/*
 * http_config.h - the settings of the handler "http". Manual: pawl-http(7).
 */
#ifndef PAWL_HANDLERS_HTTP_CONFIG_H
#define PAWL_HANDLERS_HTTP_CONFIG_H
#include <pawl/handler.h>
#include <stdbool.h>
#include "http_record.h"
#include "http_template.h"
#include "http_url.h"

enum { HTTP_DONE_MAX = 16, HTTP_REDIRECTS_MAX = 10 };

enum http_envelope { HTTP_PLAIN, HTTP_CLOUDEVENTS, HTTP_CLOUDEVENTS_STRUCTURED };

struct http_header { const char *name; struct http_template value; };
struct http_secret {
	char *header;		/* "Name: value", as it is sent */
	const char *bare;	/* what must never be shown, besides the value */
};
/* Texts without an owner are the configuration's, and live as long. */
struct http_config {
	struct http_template url;
	char place[HTTP_PLACE_MAX];	/* "host:port", for people */
	const char *method;
	bool has_body;
	struct http_header *headers;
	size_t header_count;
	struct http_secret *secrets;
	size_t secret_count;
	enum http_envelope envelope;
	struct http_template source, subject;	/* CloudEvents */
	bool has_subject;
	int64_t timeout_ms, connect_timeout_ms;	/* 0: as the queue's timeout allows */
	const char *ca_file, *cert_file, *key_file, *proxy;
	int redirects;
	size_t max_answer;
	long done[HTTP_DONE_MAX];		/* besides 2xx */
	size_t done_count;
	struct http_record record;
};

/* -1: errors were reported. To be released whatever it returns. */
int	http_config_read(const struct pawl_config *, struct http_config *);
void	http_config_release(struct http_config *);
/* Why this header is not for the configuration to set; NULL: it is. secret: its value comes from a file. */
const char *http_header_objection(const char *name, bool secret);
/* Whether the configuration sets this header itself. */
bool	http_config_has_header(const struct http_config *, const char *name);
#endif
