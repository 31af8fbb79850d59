/*
 * http_verdict.c - see http_verdict.h. Texts name host and port; neither path nor query, which can
 * hold what is nobody's business.
 */
#include "http_verdict.h"

#include <string.h>

#include "http_secret.h"

enum {
	SHOWN = 300,			/* bytes of an answer */
	LOOKED_AT = SHOWN + 8192,	/* so that no secret is cut in two before it is found */
	RETRY_AFTER_MAX_MS = 6 * 3600 * 1000
};

bool
http_verdict_is_done(const struct http_config *c, const struct http_answer *a)
{
	if (a->failure != HTTP_ANSWERED)
		return false;
	for (size_t i = 0; i < c->done_count; i++)
		if (c->done[i] == a->status)
			return true;
	return a->status / 100 == 2;
}

const char *
http_verdict_unrecordable(const struct http_answer *a)
{
	if (a->cut)
		return "is longer than max_answer; raise it";
	if (memchr(a->body, '\0', a->size) != NULL || !http_is_utf8(a->body, a->size))
		return "is no UTF-8 text; record its :status alone";
	return NULL;
}

/* The beginning of foreign text, fit to be read: ": text", or nothing. */
static const char *
excerpt(const struct http_config *c, struct pawl_call *call, const char *data, size_t size)
{
	struct http_text looked_at = { 0 }, shown = { 0 };
	const char *text = "";

	http_text_clean(&looked_at, data, size, LOOKED_AT);
	if (looked_at.len > 0) {
		http_secret_mask(c, looked_at.data);
		http_text_clean(&shown, looked_at.data, looked_at.len, SHOWN);
	}
	if (shown.len > 0)
		text =
		    pawl_format(call, ": %s%s", shown.data, shown.len < looked_at.len ? "..." : "");
	http_text_release(&looked_at);
	http_text_release(&shown);
	return text;
}

static enum pawl_verdict
no_answer(const struct http_config *c, const struct http_answer *a, struct pawl_call *call)
{
	const char *why = excerpt(c, call, a->error, strlen(a->error));

	switch (a->failure) {
	case HTTP_FAILED_CONNECT:
		return pawl_retry(call, "http_connect",
		    "could not connect to %s%s; see that the server runs and can be reached from"
		    " here",
		    c->place, why);
	case HTTP_FAILED_TLS:
		return pawl_retry(call, "http_tls",
		    "no TLS with %s%s; see its certificate and host name, and ca_file, cert_file"
		    " and key_file here",
		    c->place, why);
	case HTTP_FAILED_TIMEOUT:
		return pawl_retry(call, "http_timeout",
		    "%s did not answer in time%s; see why it is slow, or raise timeout", c->place,
		    why);
	case HTTP_FAILED_MEMORY:
		return pawl_retry(call, "no_memory",
		    "no memory for the request to %s; see the queue's memory_limit", c->place);
	case HTTP_FAILED_BROKEN:
	case HTTP_ANSWERED:
		break;
	}
	return pawl_retry(
	    call, "http_broken", "the answer of %s broke off or is no HTTP%s", c->place, why);
}

static bool
passes_by_itself(long status)
{
	return status == 408 || status == 425 || status == 429 || status / 100 == 5;
}

enum pawl_verdict
http_verdict(const struct http_config *c, const struct http_answer *a, struct pawl_call *call)
{
	const char *code, *said;

	if (a->failure != HTTP_ANSWERED)
		return no_answer(c, a, call);
	code = pawl_format(call, "http_%ld", a->status);
	said = excerpt(c, call, a->body, a->size);
	if (passes_by_itself(a->status)) {
		if (a->retry_after_ms > 0)
			pawl_again_after(call, a->retry_after_ms > RETRY_AFTER_MAX_MS ?
				RETRY_AFTER_MAX_MS : a->retry_after_ms);
		return pawl_retry(call, code, "%s answered %ld%s", c->place, a->status, said);
	}
	if (a->status == 401 || a->status == 407)
		return pawl_retry(call, code,
		    "%s answered %ld: it does not know us; see bearer_file, user and password_file,"
		    " header_files%s", c->place, a->status, said);
	if (a->status / 100 == 3) {
		const char *to = a->elsewhere == NULL ? "" : a->elsewhere;

		to = excerpt(c, call, to, strlen(to));

		return pawl_retry(call, code,
		    "%s answered %ld and sends us to %s, which is not followed; set the new url, or"
		    " redirects for those of the same host", c->place, a->status,
		    to[0] == '\0' ? "nowhere" : to + 2);
	}
	if (a->status / 100 == 4)
		return pawl_reject(call, code, "%s answered %ld%s", c->place, a->status, said);
	return pawl_retry(call, "http_broken", "%s answered %ld, which is no status of an answer",
	    c->place, a->status);
}
