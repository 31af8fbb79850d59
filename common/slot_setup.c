/*
 * slot_setup.c - SETUP, READY, WAITING, REFUSED as bytes. In runner and slot; neither dies of what the other sends.
 */
#include "common/slot_setup.h"

enum {
	TEXT_BYTES_MIN = 4 + 1,		/* length and NUL */
	NUMBER_BYTES = 8,
	/* What the smallest handler, pair and answer take: bounds the counts of a hostile frame. */
	HANDLER_BYTES_MIN = 3 * TEXT_BYTES_MIN + 2 * NUMBER_BYTES,
	PAIR_BYTES_MIN = 3 * TEXT_BYTES_MIN + NUMBER_BYTES,
	ANSWER_BYTES_MIN = 2 * TEXT_BYTES_MIN + NUMBER_BYTES
};

static void
put_text(struct buf *b, const char *text)
{
	frame_put_text(b, slice_of(text));
}

void
slot_setup_put(struct buf *b, const struct config_queue *q, const struct slot_setup_options *o)
{
	put_text(b, o->host);
	put_text(b, q->name);
	put_text(b, q->queue);
	put_text(b, q->conninfo);
	put_text(b, q->key);
	frame_put_u64(b, (uint64_t)o->log_level);
	frame_put_u64(b, (uint64_t)o->log_format);
	frame_put_u64(b, o->slot);
	frame_put_u64(b, o->check);
	frame_put_u64(b, o->dry);
	frame_put_u64(b, (uint64_t)q->timeout_ms);
	frame_put_u64(b, (uint64_t)q->inbox_retention_ms);
	frame_put_u64(b, (uint64_t)q->missing_key);
	frame_put_u64(b, (uint64_t)q->dedup);
	frame_put_u64(b, q->handler_count);
	for (size_t i = 0; i < q->handler_count; i++) {
		const struct config_handler *h = &q->handlers[i];

		put_text(b, h->name);
		put_text(b, h->ignore ? "" : h->path);
		put_text(b, h->file);
		frame_put_u64(b, (uint64_t)h->line);
		frame_put_u64(b, h->pair_count);
		for (size_t k = 0; k < h->pair_count; k++) {
			put_text(b, h->pairs[k].path);
			put_text(b, h->pairs[k].value);
			put_text(b, h->pairs[k].file);
			frame_put_u64(b, (uint64_t)h->pairs[k].line);
		}
	}
}

/* A number up to most; more is a violation. */
static uint64_t
get_number(struct frame_reader *r, uint64_t most)
{
	uint64_t n = frame_get_u64(r);

	if (n <= most)
		return n;
	r->bad = true;
	return 0;
}

static size_t
get_count(struct frame_reader *r, size_t bytes_each)
{
	return (size_t)get_number(r, r->bad ? 0 : (r->len - r->at) / bytes_each);
}

static const char *
get_text(struct frame_reader *r)
{
	struct slice s = frame_get_text(r);

	if (s.len > 0 && memchr(s.data, '\0', s.len) != NULL)
		r->bad = true;
	return s.len == 0 ? "" : s.data;
}

static void
get_handler(struct frame_reader *r, struct arena *arena, struct slot_setup_handler *h)
{
	h->name = get_text(r);
	h->path = get_text(r);
	h->file = get_text(r);
	h->line = (int)get_number(r, INT32_MAX);
	h->pair_count = get_count(r, PAIR_BYTES_MIN);
	h->pairs = arena_array(arena, h->pair_count, sizeof(*h->pairs));
	for (size_t i = 0; i < h->pair_count; i++) {
		h->pairs[i].path = get_text(r);
		h->pairs[i].value = get_text(r);
		h->pairs[i].file = get_text(r);
		h->pairs[i].line = (int)get_number(r, INT32_MAX);
	}
}

int
slot_setup_get(struct slice payload, struct arena *arena, struct slot_setup *s)
{
	struct frame_reader r = { .data = payload.data, .len = payload.len };

	s->host = get_text(&r);
	s->consumer = get_text(&r);
	s->queue = get_text(&r);
	s->conninfo = get_text(&r);
	s->key = get_text(&r);
	s->log_level = (enum log_level)get_number(&r, LOG_LEVEL_DEBUG);
	s->log_format = (enum log_format)get_number(&r, LOG_FORMAT_JSON);
	s->slot = (unsigned)get_number(&r, UINT16_MAX);
	s->check = get_number(&r, 1) != 0;
	s->dry = get_number(&r, 1) != 0;
	s->timeout_ms = (int64_t)get_number(&r, INT64_MAX);
	s->inbox_retention_ms = (int64_t)get_number(&r, INT64_MAX);
	s->missing_key = (enum config_missing_key)get_number(&r, MISSING_KEY_PROCESS);
	s->dedup = (enum config_dedup)get_number(&r, DEDUP_NONE);
	s->handler_count = get_count(&r, HANDLER_BYTES_MIN);
	s->handlers = arena_array(arena, s->handler_count, sizeof(*s->handlers));
	for (size_t i = 0; i < s->handler_count; i++)
		get_handler(&r, arena, &s->handlers[i]);
	return frame_reader_done(&r) ? 0 : -1;
}

void
slot_answer_put(struct buf *b, const struct slot_answer *a)
{
	put_text(b, a->text);
	frame_put_u64(b, a->handler_count);
	for (size_t i = 0; i < a->handler_count; i++) {
		put_text(b, a->handlers[i].name);
		put_text(b, a->handlers[i].version);
		frame_put_u64(b, a->handlers[i].kind);
	}
}

int
slot_answer_get(struct slice payload, struct arena *arena, struct slot_answer *a)
{
	struct frame_reader r = { .data = payload.data, .len = payload.len };

	a->text = get_text(&r);
	a->handler_count = get_count(&r, ANSWER_BYTES_MIN);
	a->handlers = arena_array(arena, a->handler_count, sizeof(*a->handlers));
	for (size_t i = 0; i < a->handler_count; i++) {
		struct slot_answer_handler *h = &a->handlers[i];

		h->name = get_text(&r);
		h->version = get_text(&r);
		h->kind = (unsigned)get_number(&r, UINT16_MAX);
		if (strlen(h->name) > SLOT_NAME_MAX || strlen(h->version) > SLOT_NAME_MAX)
			r.bad = true;
	}
	return frame_reader_done(&r) ? 0 : -1;
}
