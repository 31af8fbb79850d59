/*
 * slot_frames.c - see slot_frames.h.
 */
#include "runtime/slot_frames.h"

#include <errno.h>
#include <sys/socket.h>
#include <sysexits.h>

#include "util/log.h"

void
slot_frames_init(struct slot_frames *f, int fd)
{
	f->fd = fd;
	buf_init(&f->in);
	buf_init(&f->out);
}

void
slot_frames_release(struct slot_frames *f)
{
	buf_release(&f->in);
	buf_release(&f->out);
}

static int
receive(int fd, void *data, size_t size)
{
	for (char *at = data; size > 0;) {
		ssize_t n = recv(fd, at, size, MSG_WAITALL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != ECONNRESET)
			log_fatal(EX_SOFTWARE, "could not read from the runner: %m");
		if (n <= 0)
			return -1;
		at += n;
		size -= (size_t)n;
	}
	return 0;
}

int
slot_frames_read(struct slot_frames *f)
{
	struct frame_header header;

	if (receive(f->fd, &header, sizeof(header)) != 0)
		return SLOT_RUNNER_GONE;
	if (header.magic != FRAME_MAGIC || header.size > FRAME_SIZE_MAX)
		log_fatal(EX_SOFTWARE,
		    "cannot understand the runner (magic %04x, %u bytes): is this another build?",
		    header.magic, header.size);
	buf_clear(&f->in);
	if (receive(f->fd, buf_reserve(&f->in, header.size), header.size) != 0)
		return SLOT_RUNNER_GONE;
	f->in.len = header.size;
	f->in.data[f->in.len] = '\0';
	return header.type;
}

size_t
slot_frames_begin(struct slot_frames *f, enum frame_type type)
{
	struct frame_header header = { .type = (uint16_t)type, .magic = FRAME_MAGIC };

	buf_append(&f->out, &header, sizeof(header));
	return f->out.len;
}

void
slot_frames_end(struct slot_frames *f, size_t begin)
{
	struct frame_header header;
	char *at = f->out.data + begin - sizeof(header);

	memcpy(&header, at, sizeof(header));
	header.size = (uint32_t)(f->out.len - begin);
	memcpy(at, &header, sizeof(header));
}

void
slot_frames_send(struct slot_frames *f)
{
	for (size_t at = 0; at < f->out.len;) {
		ssize_t n = send(f->fd, f->out.data + at, f->out.len - at, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
			break;
		if (n < 0)
			log_fatal(EX_SOFTWARE, "could not write to the runner: %m");
		at += (size_t)n;
	}
	buf_clear(&f->out);
}
