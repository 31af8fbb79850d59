/*
 * config_fingerprint.c - does a queue need a new runner after a reload? Two configurations give it equal fingerprints if not.
 */
#include <sys/stat.h>

#include "common/config_internal.h"
#include "common/config_keys.h"
#include "util/table.h"

static void
put(struct buf *b, const char *text)
{
	uint64_t len = text == NULL ? UINT64_MAX : strlen(text);

	buf_append(b, &len, sizeof(len));
	if (text != NULL)
		buf_append(b, text, (size_t)len);
}

static void
put_number(struct buf *b, int64_t number)
{
	buf_append(b, &number, sizeof(number));
}

static void
put_file(struct buf *b, const char *path)
{
	struct stat st;

	put(b, path);
	if (path == NULL || path[0] == '\0' || stat(path, &st) < 0)
		return;
	put_number(b, (int64_t)st.st_dev);
	put_number(b, (int64_t)st.st_ino);
	put_number(b, (int64_t)st.st_size);
	put_number(b, (int64_t)st.st_mtim.tv_sec);
	put_number(b, (int64_t)st.st_mtim.tv_nsec);
}

static void
put_broker(struct buf *b, const struct config *c)
{
	for (size_t i = 0; i < c->uri_count; i++) {
		const struct amqp_uri *u = &c->uris[i];

		put(b, u->host);
		put(b, u->user);
		put(b, u->password);
		put(b, u->vhost);
		put_number(b, u->port);
		put_number(b, u->tls);
	}
	put(b, c->name);
	put(b, c->password);
	put_file(b, c->ca_file);
	put_file(b, c->cert_file);
	put_file(b, c->key_file);
	put_number(b, c->heartbeat_s);
	put_number(b, c->log_level);
	put_number(b, c->log_format);
}

/* The queue's own keys as the table has them, so that a new key is never forgotten here. */
static void
put_keys(struct buf *b, const char *section, const void *base)
{
	for (size_t i = 0; i < config_keys_count; i++) {
		const struct config_key *key = &config_keys[i];
		const char *at = (const char *)base + key->offset;

		if (config_keys_name(key, section) == NULL)
			continue;
		switch (key->type) {
		case KEY_TEXT:
			put(b, *(const char *const *)(const void *)at);
			break;
		case KEY_WORD:
		case KEY_INT:
			put_number(b, *(const unsigned *)(const void *)at);
			break;
		case KEY_BOOL:
			put_number(b, *(const bool *)(const void *)at);
			break;
		case KEY_DURATION:
		case KEY_SIZE:
			put_number(b, *(const int64_t *)(const void *)at);
			break;
		default:
			break;			/* lists and groups: put_queue */
		}
	}
}

bool
config_pair_is_file(const struct config_pair *pair)
{
	const char *dot = strrchr(pair->path, '.'), *name = dot == NULL ? pair->path : dot + 1;
	size_t len = strlen(name), group = dot == NULL ? 0 : (size_t)(dot - pair->path);

	return (len > 5 && memcmp(name + len - 5, "_file", 5) == 0) ||
	    (group > 6 && memcmp(dot - 6, "_files", 6) == 0);
}

static void
put_queue(struct buf *b, const struct config_queue *q)
{
	put(b, q->name);
	put_keys(b, "queues.*", q);
	put_keys(b, "queues.*.retry", q);
	for (size_t i = 0; i < q->delay_count; i++)
		put_number(b, q->delays_ms[i]);
	put_number(b, (int64_t)q->bind_count);
	for (size_t i = 0; i < q->bind_count; i++)
		put_keys(b, "queues.*.bind.[]", &q->binds[i]);
	for (size_t i = 0; i < q->handler_count; i++) {
		const struct config_handler *h = &q->handlers[i];

		put(b, h->name);
		put_keys(b, "queues.*.handlers.*", h);
		put_number(b, (int64_t)h->type_count);
		for (size_t j = 0; j < h->type_count; j++)
			put(b, h->types[j]);
		put_file(b, h->path);
		put_number(b, (int64_t)h->pair_count);
		for (size_t j = 0; j < h->pair_count; j++) {
			put(b, h->pairs[j].path);
			put(b, h->pairs[j].value);
			if (config_pair_is_file(&h->pairs[j]))
				put_file(b, h->pairs[j].value);
		}
	}
}

void
config_set_fingerprints(struct config *c)
{
	struct buf b = BUF_INIT;
	size_t broker;

	put_broker(&b, c);
	broker = b.len;
	for (size_t i = 0; i < c->queue_count; i++) {
		b.len = broker;
		put_queue(&b, &c->queues[i]);
		c->queues[i].fingerprint = table_hash(b.data, b.len);
	}
	explicit_bzero(b.data, b.len);
	buf_release(&b);
}
