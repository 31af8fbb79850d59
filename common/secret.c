/*
 * secret.c - reads a password file. Any program, when it reads its configuration; ends nothing.
 */
#include "common/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

const char *
secret_path(struct arena *arena, const char *name, const char *directory)
{
	const char *credentials = getenv("CREDENTIALS_DIRECTORY");

	if (name[0] == '/')
		return name;
	if (credentials != NULL && credentials[0] == '/') {
		const char *path = arena_printf(arena, "%s/%s", credentials, name);

		if (access(path, F_OK) == 0 || errno != ENOENT)
			return path;
	}
	return arena_printf(arena, "%s/%s", directory, name);
}

const char *
secret_read(
    struct arena *arena, const char *name, const char *directory, char *error, size_t error_size)
{
	char bytes[SECRET_SIZE_MAX + 1];
	const char *path = secret_path(arena, name, directory), *result = NULL;
	size_t len = 0;
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0) {
		snprintf(error, error_size, "could not open \"%s\": %s", path, strerror(errno));
		return NULL;
	}
	if (fstat(fd, &st) < 0) {
		snprintf(error, error_size, "could not look at \"%s\": %s", path, strerror(errno));
		goto out;
	}
	if (!S_ISREG(st.st_mode)) {
		snprintf(error, error_size, "\"%s\" is not a regular file", path);
		goto out;
	}
	if ((st.st_mode & S_IROTH) != 0) {
		snprintf(error, error_size,
		    "\"%s\" can be read by everybody on this machine; run: chmod o= '%s'", path,
		    path);
		goto out;
	}
	while (len < sizeof(bytes)) {
		ssize_t n = read(fd, bytes + len, sizeof(bytes) - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			snprintf(error, error_size, "could not read \"%s\": %s", path,
			    strerror(errno));
			goto out;
		}
		if (n == 0)
			break;
		len += (size_t)n;
	}
	if (len > SECRET_SIZE_MAX) {
		snprintf(error, error_size,
		    "\"%s\" is larger than %d bytes; it must hold the password and nothing else",
		    path, SECRET_SIZE_MAX);
		goto out;
	}
	if (len > 0 && bytes[len - 1] == '\n')
		len--;
	if (memchr(bytes, '\0', len) != NULL) {
		snprintf(error, error_size,
		    "\"%s\" has a NUL byte in it; it must hold the password as text", path);
		goto out;
	}
	if (len == 0) {
		snprintf(error, error_size, "\"%s\" is empty; it must hold the password", path);
		goto out;
	}
	result = arena_memdup(arena, bytes, len);
out:
	explicit_bzero(bytes, sizeof(bytes));
	close(fd);
	return result;
}
