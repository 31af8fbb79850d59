/*
 * buf.c - see buf.h. What was consumed stays in front of data until more room is needed, and is
 * then overwritten if it is at least as much as what remains: so each byte is moved once on
 * average.
 */
#include "util/buf.h"

#include <assert.h>
#include <stdint.h>
#include <sysexits.h>

#include "util/arena.h"
#include "util/log.h"

enum { CAP_MIN = 64 };

char buf_empty[] = "";

void
buf_init(struct buf *buf)
{
	*buf = (struct buf)BUF_INIT;
}

void
buf_release(struct buf *buf)
{
	if (buf->cap > 0)
		free(buf->data - buf->consumed);
	buf_init(buf);
}

static void
move_to_front(struct buf *buf)
{
	char *front = buf->data - buf->consumed;

	memmove(front, buf->data, buf->len + 1);
	buf->data = front;
	buf->cap += buf->consumed;
	buf->consumed = 0;
}

void
buf_clear(struct buf *buf)
{
	if (buf->cap == 0)
		return;
	buf->len = 0;
	buf->data[0] = '\0';
	move_to_front(buf);
}

char *
buf_reserve(struct buf *buf, size_t extra)
{
	if (buf->cap - buf->len > extra)	/* one more, for the NUL */
		return buf->data + buf->len;
	if (extra > PTRDIFF_MAX / 2 - buf->len)
		log_fatal(EX_OSERR, "could not allocate %zu bytes: out of memory", extra);

	size_t needed = buf->len + extra + 1;

	if (buf->cap == 0) {
		buf->cap = needed < CAP_MIN ? CAP_MIN : needed;
		buf->data = xmalloc(buf->cap);
		buf->data[0] = '\0';
		return buf->data;
	}
	if (buf->consumed > 0) {
		bool roomy = buf->consumed >= buf->len;

		move_to_front(buf);
		if (roomy && buf->cap >= needed)
			return buf->data + buf->len;
	}
	if (needed < buf->cap * 2)
		needed = buf->cap * 2;
	buf->data = xrealloc(buf->data, needed);
	buf->cap = needed;
	return buf->data + buf->len;
}

void
buf_added(struct buf *buf, size_t size)
{
	assert(size == 0 || size < buf->cap - buf->len);
	if (size == 0)
		return;
	buf->len += size;
	buf->data[buf->len] = '\0';
}

void
buf_append(struct buf *buf, const void *data, size_t size)
{
	if (size == 0)
		return;
	memcpy(buf_reserve(buf, size), data, size);
	buf_added(buf, size);
}

void
buf_puts(struct buf *buf, const char *text)
{
	buf_append(buf, text, strlen(text));
}

void
buf_putc(struct buf *buf, char c)
{
	*buf_reserve(buf, 1) = c;
	buf_added(buf, 1);
}

void
buf_slice(struct buf *buf, struct slice slice)
{
	buf_append(buf, slice.data, slice.len);
}

void
buf_printf(struct buf *buf, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	buf_vprintf(buf, fmt, args);
	va_end(args);
}

void
buf_vprintf(struct buf *buf, const char *fmt, va_list args)
{
	va_list again;
	char *at = buf_reserve(buf, CAP_MIN);
	size_t room = buf->cap - buf->len;
	int len;

	va_copy(again, args);
	len = vsnprintf(at, room, fmt, args);
	assert(len >= 0);
	if ((size_t)len >= room) {
		at = buf_reserve(buf, (size_t)len);
		vsnprintf(at, (size_t)len + 1, fmt, again);
	}
	va_end(again);
	buf->len += (size_t)len;
}

void
buf_consume(struct buf *buf, size_t size)
{
	assert(size <= buf->len);
	if (size == 0)
		return;
	if (size == buf->len) {
		buf_clear(buf);
		return;
	}
	buf->data += size;
	buf->len -= size;
	buf->cap -= size;
	buf->consumed += size;
}

char *
buf_detach(struct buf *buf)
{
	if (buf->cap == 0)
		return xstrdup("");
	move_to_front(buf);
	buf->data[buf->len] = '\0';	/* also for those who added to len themselves */

	char *text = buf->data;

	buf_init(buf);
	return text;
}
