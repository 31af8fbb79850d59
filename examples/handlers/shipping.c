/*
 * shipping.c - a call to a service, and its answer recorded. Kind EXTERNAL, with libcurl.
 *
 * The parcel service is asked with an idempotency key: if this process dies between the answer and the commit, it is asked again with
 * the same key and gives the same parcel. The answer, its event and the message's key are committed together. See doc/handlers.md.
 *
 *   config: { url = "https://parcels.example/v1/parcels"; };
 */
#include <pawl/handler.h>

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

enum { ANSWER_MAX = 64 * 1024 };

struct shipping {
	const char *url;		/* of the configuration: lives as long as we do */
	CURL *curl;			/* kept: its connections are used again */
	char answer[ANSWER_MAX + 1];
	size_t answer_size;
};

static int
start(const struct pawl_config *cfg, void **self)
{
	struct shipping *s = calloc(1, sizeof(*s));

	if (s == NULL || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || (s->curl = curl_easy_init()) == NULL) {
		free(s);
		return pawl_config_error(cfg, "", "no memory for libcurl");
	}
	*self = s;
	s->url = pawl_config_string(cfg, "url", NULL);
	return s->url != NULL ? 0 : pawl_config_error(cfg, "url", "is missing: where parcels are ordered");
}

static void
stop(void *self)
{
	struct shipping *s = self;

	curl_easy_cleanup(s->curl);
	curl_global_cleanup();
	free(s);
}

/* Too much is an error: nobody sends a parcel's number in 64 kB. */
static size_t
receive(char *data, size_t size, size_t count, void *arg)
{
	struct shipping *s = arg;
	size_t n = size * count;

	if (n > ANSWER_MAX - s->answer_size)
		return 0;
	memcpy(s->answer + s->answer_size, data, n);
	s->answer_size += n;
	s->answer[s->answer_size] = '\0';
	return n;
}

static CURLcode
post(struct shipping *s, const struct pawl_message *msg, struct curl_slist *headers, long *status)
{
	CURLcode code;

	s->answer_size = 0;
	s->answer[0] = '\0';
	curl_easy_reset(s->curl);
	curl_easy_setopt(s->curl, CURLOPT_URL, s->url);
	curl_easy_setopt(s->curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(s->curl, CURLOPT_TIMEOUT_MS, (long)(msg->timeout_ms * 8 / 10));	/* before we are killed */
	curl_easy_setopt(s->curl, CURLOPT_POSTFIELDS, (const char *)msg->body);
	curl_easy_setopt(s->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)msg->body_size);
	curl_easy_setopt(s->curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(s->curl, CURLOPT_WRITEFUNCTION, receive);
	curl_easy_setopt(s->curl, CURLOPT_WRITEDATA, s);
	code = curl_easy_perform(s->curl);
	if (code == CURLE_OK)
		curl_easy_getinfo(s->curl, CURLINFO_RESPONSE_CODE, status);
	return code;
}

/* A key comes from outside; a header takes printable characters only. */
static int
is_printable(const char *text)
{
	for (; *text != '\0'; text++)
		if (*text < ' ' || *text > '~')
			return 0;
	return 1;
}

static enum pawl_verdict
handle(void *self, struct pawl_call *call, const struct pawl_message *msg)
{
	struct shipping *s = self;
	struct curl_slist *headers = NULL;
	const char *order = pawl_field(call, "/order");
	CURLcode code;
	long status = 0;

	if (pawl_failed(call))
		return PAWL_DONE;	/* no order, no parcel: the error decides */
	if (!is_printable(msg->key))
		return pawl_reject(call, "bad_key", "the message's key has characters that a header cannot hold");
	headers = curl_slist_append(headers, "Content-Type: application/json");
	headers = curl_slist_append(headers, pawl_format(call, "Idempotency-Key: %s", msg->key));
	headers = curl_slist_append(headers, pawl_format(call, "traceparent: %s", msg->traceparent));
	code = post(s, msg, headers, &status);
	curl_slist_free_all(headers);
	if (code != CURLE_OK)
		return pawl_retry(call, "no_answer", "the parcel service did not answer: %s", curl_easy_strerror(code));
	if (status >= 500 || status == 429)
		return pawl_retry(call, "unavailable", "the parcel service said %ld", status);
	if (status / 100 != 2)
		return pawl_reject(call, "refused", "the parcel service said %ld: %.200s", status, s->answer);
	PAWL_SQL(call, "insert into parcel (order_id, answer) values ($1, $2::jsonb)", order, s->answer);
	pawl_emit(call, "order", order, "ParcelOrdered", s->answer);
	return PAWL_DONE;
}

PAWL_HANDLER(.name = "shipping", .version = "1.0", .kind = PAWL_EXTERNAL, .start = start, .handle = handle, .stop = stop);
