/*
 * runner_message.c - makes a message for the slots out of what the broker delivers, while it is
 * still coming in.
 *
 * One block: struct delivery, the frame_message with its texts and headers, room for the body, and
 * the encoded properties as received (for a dead letter). Headers of ours that others publish are
 * stripped: they mean something only in what we publish ourselves. In the runner. Never fatal but
 * for lack of memory.
 */
#include "runtime/runner_internal.h"

static bool
has_prefix(struct slice s, const char *prefix, size_t len)
{
	return s.len >= len && memcmp(s.data, prefix, len) == 0;
}

/* Texts are gathered in header_bytes; header_entries gets where they are, counted from its
 * start. */
static void
gather_header(void *arg, struct slice name, struct slice value)
{
	struct runner *r = arg;
	uint32_t at = (uint32_t)r->header_bytes.len;
	struct frame_text entry[2];

	if (has_prefix(name, ENVELOPE_PREFIX, sizeof(ENVELOPE_PREFIX) - 1) ||
	    r->header_entries.len / sizeof(entry) == UINT16_MAX)
		return;
	entry[0] = (struct frame_text){ at, (uint32_t)name.len };
	entry[1] = (struct frame_text){ at + (uint32_t)name.len + 1, (uint32_t)value.len };
	buf_slice(&r->header_bytes, name);
	buf_putc(&r->header_bytes, '\0');
	buf_slice(&r->header_bytes, value);
	buf_putc(&r->header_bytes, '\0');
	buf_append(&r->header_entries, entry, sizeof(entry));
}

/* What a specification names, of a message whose headers were gathered. Empty: it has none. */
static struct slice
find(const struct runner *r, const struct envelope_spec *spec, const struct amqp_delivery *in)
{
	const void *entries = r->header_entries.data;
	const struct frame_text *entry = entries;
	size_t count = r->header_entries.len / (2 * sizeof(*entry));

	switch (spec->source) {
	case SOURCE_MESSAGE_ID:
		return in->message_id;
	case SOURCE_TYPE:
		return in->type;
	case SOURCE_ROUTING_KEY:
		return in->routing_key;
	case SOURCE_HEADER:
		for (size_t i = 0; i < count; i++) {
			const char *name = r->header_bytes.data + entry[2 * i].off;
			const char *value = r->header_bytes.data + entry[2 * i + 1].off;

			if (slice_is((struct slice){ name, entry[2 * i].len }, spec->name))
				return (struct slice){ value, entry[2 * i + 1].len };
		}
		break;
	case SOURCE_JSON:	/* the body is not here yet: the configuration does not allow it */
		break;
	}
	return (struct slice){ NULL, 0 };
}

/* How often it was delivered before. First deliveries have no counter; 4.3 has one of its own
 * for all returns (facts rows 38-40). */
static uint32_t
count_returns(const struct amqp_delivery *in)
{
	int64_t n;

	if (!in->redelivered)
		return 0;
	n = amqp_delivery_header_int(in, "x-acquired-count", -1);
	if (n < 0)
		n = amqp_delivery_header_int(in, "x-delivery-count", 1);
	return n < 0 ? 0 : n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
}

static void
put_text(struct frame_message *m, uint32_t *at, struct frame_text *where, struct slice text)
{
	char *to = (char *)m + *at;

	if (text.len > 0)
		memcpy(to, text.data, text.len);
	to[text.len] = '\0';
	*where = (struct frame_text){ *at, (uint32_t)text.len };
	*at += (uint32_t)text.len + 1;
}

static void
put_headers(struct runner *r, struct frame_message *m, uint32_t *at)
{
	const void *entries = r->header_entries.data;
	void *place = (char *)m + *at;
	const struct frame_text *from = entries;
	struct frame_text *to = place;
	uint32_t texts = *at + (uint32_t)r->header_entries.len;

	m->headers_off = *at;
	for (uint32_t i = 0; i < 2u * m->header_count; i++)
		to[i] = (struct frame_text){ from[i].off + texts, from[i].len };
	if (r->header_bytes.len > 0)
		memcpy((char *)m + texts, r->header_bytes.data, r->header_bytes.len);
	*at = texts + (uint32_t)r->header_bytes.len;
}

static struct delivery *
build(struct runner *r, const struct amqp_delivery *in, struct slice type)
{
	size_t texts = in->message_id.len + type.len + in->content_type.len +
	    in->correlation_id.len + in->reply_to.len + in->exchange.len + in->routing_key.len + 7;
	size_t headers = r->header_entries.len + r->header_bytes.len;
	size_t size = sizeof(struct frame_message) + headers + texts + in->body_size + 1;
	uint32_t at = sizeof(struct frame_message);
	struct frame_message *m;
	struct delivery *d;

	size = (size + 7) & ~(size_t)7;
	d = xmalloc(offsetof(struct delivery, message) + size + in->raw_properties.len);
	memset(d, 0, sizeof(*d));
	m = &d->message;
	m->size = (uint32_t)size;
	m->header_count = (uint16_t)(r->header_entries.len / (2 * sizeof(struct frame_text)));
	m->attempt = m->attempts = 1;	/* nothing is retried yet: each failure is the last one */
	if (in->timestamp_s > 0 && in->timestamp_s <= INT64_MAX / 1000)
		m->timestamp_ms = in->timestamp_s * 1000;
	put_headers(r, m, &at);
	put_text(m, &at, &m->id, in->message_id);
	put_text(m, &at, &m->type, type);
	put_text(m, &at, &m->content_type, in->content_type);
	put_text(m, &at, &m->correlation_id, in->correlation_id);
	put_text(m, &at, &m->reply_to, in->reply_to);
	put_text(m, &at, &m->exchange, in->exchange);
	put_text(m, &at, &m->routing_key, in->routing_key);
	m->body_off = at;
	m->body_size = (uint32_t)in->body_size;
	memset((char *)m + at + in->body_size, 0, size - at - in->body_size);
	d->properties_len = (uint32_t)in->raw_properties.len;
	memcpy((char *)m + size, in->raw_properties.data, in->raw_properties.len);
	return d;
}

static uint16_t
choose_handler(const struct runner *r, struct slice type)
{
	const char *name = type.data == NULL ? "" : type.data;
	const struct runner_handler *h = table_get(&r->types, name, type.len);

	if (h == NULL)
		h = r->any_type;
	return h == NULL ? (uint16_t)DELIVERY_NO_HANDLER : (uint16_t)(h - r->handlers);
}

void *
runner_delivery(void *arg, const struct amqp_delivery *in)
{
	struct runner *r = arg;
	struct slice type, aggregate;
	struct delivery *d;

	buf_clear(&r->header_bytes);
	buf_clear(&r->header_entries);
	amqp_delivery_headers(in, &r->header_scratch, gather_header, r);
	type = find(r, &r->type_from, in);
	aggregate = find(r, &r->aggregate, in);
	d = build(r, in, type);
	d->tag = in->tag;
	d->arrival = ++r->arrivals;
	d->received = loop_now(r->loop);
	d->state = DELIVERY_RECEIVING;
	d->returns = count_returns(in);
	d->handler = choose_handler(r, type);
	d->message.handler = d->handler;
	d->slot = aggregate.len == 0 ? (uint16_t)DELIVERY_ANY_SLOT :
	    (uint16_t)(table_hash(aggregate.data, aggregate.len) % r->slot_count);
	if (d->returns > RUNNER_COUNT_ALONE)
		d->flags |= DELIVERY_ALONE;
	r->bytes += delivery_bytes(d);
	r->receiving = d;
	if (!delivery_add(r, d)) {
		d->flags |= DELIVERY_STALE;
		r->bad_tag = true;	/* a new channel, after this round */
	}
	return (char *)&d->message + d->message.body_off;
}
