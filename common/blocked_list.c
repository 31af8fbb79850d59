/*
 * blocked_list.c - see blocked_list.h.
 */
#include "common/blocked_list.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/arena.h"
#include "util/buf.h"

enum { READ_BYTES = 65536, LIST_MOST = 256 * 1024 * 1024 };

static char *
path_of(const char *run_dir, const char *name)
{
	return xasprintf("%s/%s.relay.blocked", run_dir, name);
}

static int
write_all(int fd, struct slice text)
{
	for (size_t at = 0; at < text.len;) {
		ssize_t n = write(fd, text.data + at, text.len - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		at += (size_t)n;
	}
	return 0;
}

int
blocked_list_write(const char *run_dir, const char *name, struct slice text, char *error,
    size_t error_size)
{
	char *path = path_of(run_dir, name), *temporary = xasprintf("%s.tmp", path);
	int fd, rc = -1;

	(void)unlink(temporary);	/* left behind by a relay that was killed */
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (fd >= 0)
		rc = write_all(fd, text);
	if (rc == 0)
		rc = rename(temporary, path);
	if (rc != 0)
		(void)snprintf(error, error_size, "could not write \"%s\": %m", path);
	if (fd >= 0)
		close(fd);
	free(temporary);
	free(path);
	return rc;
}

void
blocked_list_remove(const char *run_dir, const char *name)
{
	char *path = path_of(run_dir, name);

	(void)unlink(path);
	free(path);
}

int
blocked_list_read(const char *run_dir, const char *name, struct buf *out, char *error,
    size_t error_size)
{
	char *path = path_of(run_dir, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n = fd < 0 && errno == ENOENT ? 0 : -1;

	while (fd >= 0) {
		n = read(fd, buf_reserve(out, READ_BYTES), READ_BYTES);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		buf_added(out, (size_t)n);
		if (out->len > LIST_MOST) {
			errno = EFBIG;
			n = -1;
			break;
		}
	}
	if (n < 0)
		(void)snprintf(error, error_size, "could not read \"%s\": %m", path);
	if (fd >= 0)
		close(fd);
	free(path);
	return n < 0 ? -1 : 0;
}
