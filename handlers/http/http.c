/*
 * http.c - the handler "http": each message becomes a request, its answer the verdict. Manual:
 * pawl-http(7).
 *
 *   url = "https://api.example/orders/{/id}/paid";  bearer_file = "token";
 *   record = "insert into calls (id, status, answer) values (:/id, :status, :answer)";
 */
#include <pawl/handler.h>

#include <stdlib.h>
#include <string.h>

#include "http_client.h"
#include "http_request.h"
#include "http_verdict.h"

struct http {
	struct http_config config;
	struct http_request request;
	struct http_client *client;
};

static void
stop(void *self)
{
	struct http *h = self;

	http_client_free(&h->client);
	http_request_release(&h->request);
	http_config_release(&h->config);
	free(h);
}

static int
start(const struct pawl_config *cfg, void **self)
{
	struct http *h = calloc(1, sizeof(*h));
	int status;

	if (h == NULL)
		return pawl_config_error(cfg, NULL, "out of memory");
	status = http_config_read(cfg, &h->config);
	h->client = status == 0 ? http_client_new(&h->config) : NULL;
	if (status == 0 && h->client == NULL)
		status = pawl_config_error(cfg, NULL, "no memory for libcurl");
	if (status != 0) {
		stop(h);
		return -1;
	}
	*self = h;
	return 0;
}

/* What remains until this process is killed is for the verdict. */
static int64_t
timeout_of(const struct http_config *c, const struct pawl_message *msg)
{
	int64_t most = msg->timeout_ms - msg->timeout_ms / 10,
		usual = msg->timeout_ms - msg->timeout_ms / 5;
	int64_t timeout = c->timeout_ms == 0 ? usual : c->timeout_ms < most ? c->timeout_ms : most;

	return timeout < 1 ? 1 : timeout;
}

/* `pawlctl try` shows it, and a log at level debug. Not the query: it can hold a secret of the
 * configuration's. */
static void
log_request(const struct http *h, struct pawl_call *call)
{
	const char *url = http_text_string(&h->request.url);
	size_t shown = strcspn(url, "?");

	pawl_log(call, PAWL_DEBUG, "%s %.*s%s (%zu bytes)", h->config.method, (int)shown, url,
	    url[shown] == '\0' ? "" : "?...", h->request.body_size);
	for (size_t at = 0; at < h->request.headers.len;) {
		const char *line = h->request.headers.data + at;

		pawl_log(call, PAWL_DEBUG, "with %s", line);
		at += strlen(line) + 1;
	}
	for (size_t i = 0; i < h->config.secret_count; i++)
		pawl_log(call, PAWL_DEBUG, "with %.*s: (secret)",
		    (int)strcspn(h->config.secrets[i].header, ":"), h->config.secrets[i].header);
}

static enum pawl_verdict
handle(void *self, struct pawl_call *call, const struct pawl_message *msg)
{
	struct http *h = self;
	struct http_answer answer;
	const char *objection;

	http_record_prepare(&h->config.record, call, msg);
	if (pawl_failed(call) || http_request_make(&h->request, &h->config, call, msg) != 0)
		return PAWL_REJECT;	/* the error that sticks decides */
	log_request(h, call);
	http_client_send(h->client, &h->request, timeout_of(&h->config, msg), &answer);
	if (answer.failure == HTTP_ANSWERED)
		pawl_log(call, PAWL_DEBUG, "answered %ld after %lld ms (%zu bytes)", answer.status,
		    (long long)(answer.took_us / 1000), answer.size);
	if (!http_verdict_is_done(&h->config, &answer))
		return http_verdict(&h->config, &answer, call);
	objection = h->config.record.takes_answer ? http_verdict_unrecordable(&answer) : NULL;
	if (objection != NULL)
		return pawl_reject(call, "http_answer",
		    "%s has done it and answered %ld, but the answer cannot be recorded: it %s",
		    h->config.place, answer.status, objection);
	http_record_run(&h->config.record, call, answer.status, answer.body);
	return PAWL_DONE;
}

PAWL_HANDLER(.name = "http", .version = "1.0", .kind = PAWL_EXTERNAL, .start = start,
    .handle = handle, .stop = stop);
