/*
 * amqp_unconfirmed.h - what was published on a channel and is not confirmed yet, in order.
 *
 * The broker counts a channel's publishes from 1 and confirms them by number, one or all up to one,
 * in any order. What no queue took comes back before its confirm, without a number: it is the
 * oldest of those that are the same in all that comes back (identity). Of a message only the token
 * is kept; tokens are the user's. Memory is that of the longest backlog.
 */
#ifndef PAWL_UTIL_AMQP_UNCONFIRMED_H
#define PAWL_UTIL_AMQP_UNCONFIRMED_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "util/attr.h"
#include "util/slice.h"

struct amqp_pending {
	void *token;
	uint64_t identity;
	char *return_text;		/* returned; the broker's words */
	uint16_t return_code;		/* 0: not returned */
	bool done;			/* confirmed, but an older one is not */
};
struct amqp_unconfirmed {
	struct amqp_pending *ring;
	size_t cap, first, count;	/* cap is a power of 2 */
	uint64_t first_tag;		/* of ring[first] */
	size_t waiting;			/* of count, those that are not done */
};

void	amqp_unconfirmed_init(struct amqp_unconfirmed *) ATTR_NONNULL;
void	amqp_unconfirmed_release(struct amqp_unconfirmed *) ATTR_NONNULL;
/* The channel counts from 1 again. */
void	amqp_unconfirmed_clear(struct amqp_unconfirmed *) ATTR_NONNULL;
void	amqp_unconfirmed_add(struct amqp_unconfirmed *, void *token, uint64_t identity);
/* The latest one's number. */
uint64_t amqp_unconfirmed_last(const struct amqp_unconfirmed *) ATTR_NONNULL;
bool	amqp_unconfirmed_has(const struct amqp_unconfirmed *, uint64_t tag) ATTR_NONNULL;
/* Confirmed: gives what it was, with the text, which is the caller's then. false: it is not
 * among these, any more. */
bool	amqp_unconfirmed_take(struct amqp_unconfirmed *, uint64_t tag, struct amqp_pending *)
    ATTR_MUST_CHECK ATTR_NONNULL;
/* false: it is none of these. */
bool	amqp_unconfirmed_return(struct amqp_unconfirmed *, uint64_t identity, uint16_t code,
    struct slice text) ATTR_MUST_CHECK;
/* A hash with a secret key: equal means the same, for any number of messages we shall see. The
 * texts are short strings. */
uint64_t amqp_identity(struct slice exchange, struct slice key, struct slice message_id,
    uint64_t body_size);
#endif
