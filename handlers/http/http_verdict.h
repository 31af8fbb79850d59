/*
 * http_verdict.h - what an answer, or its absence, means for the message.
 *
 *   2xx, and what `done` names           done
 *   408 425 429 5xx                      retry, when Retry-After says, else as the queue's policy says
 *   401 407 and redirects not followed   retry: our configuration is wrong, not the message
 *   other 4xx                            reject, with the beginning of the answer
 *   no answer                            retry
 */
#ifndef PAWL_HANDLERS_HTTP_VERDICT_H
#define PAWL_HANDLERS_HTTP_VERDICT_H
#include "http_client.h"

bool	http_verdict_is_done(const struct http_config *, const struct http_answer *);
/* For all that is not done. */
enum pawl_verdict http_verdict(const struct http_config *, const struct http_answer *, struct pawl_call *);
/* Done, but the answer cannot be recorded. NULL: it can. */
const char *http_verdict_unrecordable(const struct http_answer *);
#endif
