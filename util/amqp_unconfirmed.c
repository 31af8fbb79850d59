/*
 * amqp_unconfirmed.c - see amqp_unconfirmed.h. A ring, by number.
 */
#include "util/amqp_unconfirmed.h"

#include <stdlib.h>
#include <string.h>

#include "util/amqp_types.h"
#include "util/arena.h"
#include "util/table.h"

enum { RING_LEAST = 64 };

static struct amqp_pending *
ring_at(const struct amqp_unconfirmed *u, uint64_t tag)
{
	return &u->ring[(u->first + (size_t)(tag - u->first_tag)) & (u->cap - 1)];
}

void
amqp_unconfirmed_init(struct amqp_unconfirmed *u)
{
	*u = (struct amqp_unconfirmed){ .first_tag = 1 };
}

void
amqp_unconfirmed_clear(struct amqp_unconfirmed *u)
{
	for (size_t i = 0; i < u->count; i++)
		free(ring_at(u, u->first_tag + i)->return_text);
	u->first = u->count = u->waiting = 0;
	u->first_tag = 1;
}

void
amqp_unconfirmed_release(struct amqp_unconfirmed *u)
{
	amqp_unconfirmed_clear(u);
	free(u->ring);
	u->ring = NULL;
	u->cap = 0;
}

void
amqp_unconfirmed_add(struct amqp_unconfirmed *u, void *token, uint64_t identity)
{
	if (u->count == u->cap) {
		size_t cap = u->cap == 0 ? RING_LEAST : u->cap * 2;
		struct amqp_pending *ring = xcalloc(cap, sizeof(*ring));

		for (size_t i = 0; i < u->count; i++)
			ring[i] = *ring_at(u, u->first_tag + i);
		free(u->ring);
		u->ring = ring;
		u->cap = cap;
		u->first = 0;
	}
	*ring_at(u, u->first_tag + u->count++) = (struct amqp_pending){
		.token = token, .identity = identity
	};
	u->waiting++;
}

uint64_t
amqp_unconfirmed_last(const struct amqp_unconfirmed *u)
{
	return u->first_tag + u->count - 1;
}

bool
amqp_unconfirmed_has(const struct amqp_unconfirmed *u, uint64_t tag)
{
	return tag >= u->first_tag && tag - u->first_tag < u->count && !ring_at(u, tag)->done;
}

static void
drop_done(struct amqp_unconfirmed *u)
{
	while (u->count > 0 && u->ring[u->first].done) {
		u->first = (u->first + 1) & (u->cap - 1);
		u->count--;
		u->first_tag++;
	}
}

bool
amqp_unconfirmed_take(struct amqp_unconfirmed *u, uint64_t tag, struct amqp_pending *one)
{
	struct amqp_pending *at;

	if (!amqp_unconfirmed_has(u, tag))
		return false;
	at = ring_at(u, tag);
	*one = *at;
	at->done = true;
	at->return_text = NULL;
	u->waiting--;
	drop_done(u);
	return true;
}

bool
amqp_unconfirmed_return(
    struct amqp_unconfirmed *u, uint64_t identity, uint16_t code, struct slice text)
{
	for (size_t i = 0; i < u->count; i++) {
		struct amqp_pending *one = ring_at(u, u->first_tag + i);

		if (!one->done && one->return_code == 0 && one->identity == identity) {
			one->return_code = code;
			one->return_text = xasprintf("%.*s", (int)text.len,
			    text.len > 0 ? text.data : "");
			return true;
		}
	}
	return false;
}

uint64_t
amqp_identity(struct slice exchange, struct slice key, struct slice message_id, uint64_t body_size)
{
	const struct slice parts[] = { exchange, key, message_id };
	char bytes[ARRAY_SIZE(parts) * (1 + AMQP_SHORTSTR_MAX) + sizeof(body_size)];
	size_t len = 0;

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		bytes[len++] = (char)parts[i].len;
		if (parts[i].len > 0)
			memcpy(bytes + len, parts[i].data, parts[i].len);
		len += parts[i].len;
	}
	memcpy(bytes + len, &body_size, sizeof(body_size));
	return table_hash(bytes, len + sizeof(body_size));
}
