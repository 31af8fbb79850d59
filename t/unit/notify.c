/* Unit tests of util/notify. */
#include "util/notify.h"

#include <errno.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "t/unit/tap.h"

static int
listen_on(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	memcpy(address.sun_path, path, strlen(path));
	if (path[0] == '@')
		address.sun_path[0] = '\0';
	if (bind(fd, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path))) < 0)
		diag("cannot bind %s", path);
	setenv("NOTIFY_SOCKET", path, 1);
	return fd;
}

static const char *
received(int fd)
{
	static char text[1024];
	ssize_t n = read(fd, text, sizeof(text) - 1);

	text[n < 0 ? 0 : n] = '\0';
	return n < 0 ? NULL : text;
}

int
main(void)
{
	char dir[] = "/tmp/pawl-notify-XXXXXX", path[64], longer[600];
	int fd;

	unsetenv("NOTIFY_SOCKET");
	errno = ENOENT;
	notify_systemd("READY=1");
	ok(errno == ENOENT, "without systemd nothing happens");

	ok(mkdtemp(dir) != NULL, "a directory");
	snprintf(path, sizeof(path), "%s/socket", dir);
	fd = listen_on(path);
	notify_systemd("STATUS=%d of %s", 3, "four");
	is_str(received(fd), "STATUS=3 of four", "one datagram");
	ok(received(fd) == NULL, "and no other");
	memset(longer, 'x', sizeof(longer));
	longer[sizeof(longer) - 1] = '\0';
	notify_systemd("STATUS=%s", longer);
	is_int(strlen(received(fd)), 511, "a text that is too long is cut");
	close(fd);
	errno = ENOENT;
	notify_systemd("READY=1");
	ok(errno == ENOENT, "nobody listens: no harm");
	unlink(path);
	rmdir(dir);

	snprintf(path, sizeof(path), "@pawl-notify-%ld", (long)getpid());
	fd = listen_on(path);
	notify_systemd("READY=1");
	is_str(received(fd), "READY=1", "an abstract socket");
	close(fd);

	setenv("NOTIFY_SOCKET", longer, 1);
	notify_systemd("READY=1");
	longer[0] = '/';
	setenv("NOTIFY_SOCKET", longer, 1);
	notify_systemd("READY=1");
	setenv("NOTIFY_SOCKET", "", 1);
	notify_systemd("READY=1");
	ok(true, "addresses that cannot be are ignored");
	return done_testing();
}
