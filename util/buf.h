/*
 * buf.h - a growing byte buffer, also a queue of bytes (append at the end, consume from the front).
 *
 * data[0 .. len) is the content; one NUL always stands behind it, so that a text can be used as such. data is never
 * NULL after the first append; before it BUF_INIT's data is "" and must not be written to. Growth cannot fail (see arena.h).
 */
#ifndef PAWL_UTIL_BUF_H
#define PAWL_UTIL_BUF_H
#include <stdarg.h>
#include <stdint.h>
#include "util/attr.h"
#include "util/slice.h"

struct buf { char *data; size_t len, cap, consumed; };	/* cap counts from data; consumed: bytes given up in front of data */
extern char buf_empty[];
#define BUF_INIT { buf_empty, 0, 0, 0 }

void	buf_init(struct buf *) ATTR_NONNULL;
void	buf_release(struct buf *) ATTR_NONNULL;		/* back to BUF_INIT */
void	buf_clear(struct buf *) ATTR_NONNULL;		/* len = 0, memory kept */
char	*buf_reserve(struct buf *, size_t extra) ATTR_NONNULL;	/* room for extra bytes at data + len, which it returns */
void	buf_added(struct buf *, size_t) ATTR_NONNULL;	/* that many of the reserved bytes were written: len grows, NUL behind */
void	buf_append(struct buf *, const void *, size_t);
void	buf_puts(struct buf *, const char *) ATTR_NONNULL;
void	buf_putc(struct buf *, char) ATTR_NONNULL;
void	buf_slice(struct buf *, struct slice) ATTR_NONNULL;
void	buf_printf(struct buf *, const char *fmt, ...) ATTR_PRINTF(2, 3);
void	buf_vprintf(struct buf *, const char *fmt, va_list) ATTR_PRINTF(2, 0);
void	buf_consume(struct buf *, size_t) ATTR_NONNULL;	/* drop bytes from the front; amortised */
char	*buf_detach(struct buf *) ATTR_NONNULL;		/* the caller owns the text now (free); the buf is empty */
#endif
