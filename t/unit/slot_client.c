/* Unit tests of common/slot_client: what comes from a slot, and what a slot does not take. The slot is a socket, or a process that sleeps. */
#include "common/slot_client.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "t/unit/tap.h"

enum { SIZE_MAX_READ = 1000, SOON_MS = 50, LARGE = 8 * 1024 * 1024 };
static const char payload[16] = "fifteen letters";

static struct clock_mono
in_ms(int64_t ms)
{
	return clock_mono_after_ms(clock_mono_now(), ms);
}

/* Its other end. */
static int
connect_client(struct slot_client *c)
{
	int ends[2];

	*c = (struct slot_client)SLOT_CLIENT_INIT;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
		perror("socketpair");
		exit(1);
	}
	c->fd = ends[0];
	return ends[1];
}

static void
slot_says(int fd, unsigned magic, size_t size, size_t sent)
{
	struct frame_header head = { .size = (uint32_t)size, .type = FRAME_READY, .magic = (uint16_t)magic };

	if (write(fd, &head, sizeof(head)) != (ssize_t)sizeof(head) || write(fd, payload, sent) != (ssize_t)sent)
		perror("write");
}

static void
test_read(void)
{
	struct slot_client c;
	struct slice got;
	unsigned type;
	int slot = connect_client(&c);

	slot_says(slot, FRAME_MAGIC, 3, 3);
	slot_says(slot, FRAME_MAGIC, 16, 16);
	slot_says(slot, FRAME_MAGIC, 16, 5);
	is_int(slot_client_read(&c, in_ms(10000), SIZE_MAX_READ, &type, &got), SLOT_CLIENT_FRAME, "a frame");
	ok(type == FRAME_READY && slice_is(got, "fif"), "with its type and payload");
	is_int(slot_client_read(&c, in_ms(10000), SIZE_MAX_READ, &type, &got), SLOT_CLIENT_FRAME, "another one, that came with it");
	ok(got.len == 16 && memcmp(got.data, payload, 16) == 0, "whole");
	is_int((uintptr_t)got.data % 8, 0, "and aligned");
	is_int(slot_client_read(&c, in_ms(SOON_MS), SIZE_MAX_READ, &type, &got), SLOT_CLIENT_LATE, "half a frame");
	close(slot);
	is_int(slot_client_read(&c, in_ms(10000), SIZE_MAX_READ, &type, &got), SLOT_CLIENT_CLOSED, "that never gets whole");
	slot_client_release(&c);
}

static void
test_bad(unsigned magic, size_t size, const char *what)
{
	struct slot_client c;
	struct slice got;
	unsigned type;
	int slot = connect_client(&c);

	slot_says(slot, magic, size, 0);
	is_int(slot_client_read(&c, in_ms(10000), SIZE_MAX_READ, &type, &got), SLOT_CLIENT_BAD, "%s", what);
	close(slot);
	slot_client_release(&c);
}

static void
test_send(void)
{
	struct slot_client c;
	struct frame_header head;
	char *large = calloc(1, LARGE), text[4];
	int slot = connect_client(&c);

	is_int(slot_client_send(&c, FRAME_BATCH, slice_of("abc"), in_ms(10000)), SLOT_CLIENT_FRAME, "a frame is sent");
	ok(read(slot, &head, sizeof(head)) == sizeof(head) && head.type == FRAME_BATCH && head.size == 3 &&
	    head.magic == FRAME_MAGIC, "its header");
	ok(read(slot, text, 3) == 3 && memcmp(text, "abc", 3) == 0, "and its payload");

	struct clock_mono before = clock_mono_now();

	is_int(slot_client_send(&c, FRAME_BATCH, (struct slice){ large, LARGE }, in_ms(SOON_MS)), SLOT_CLIENT_LATE,
	    "a slot that does not read");
	ok(clock_ms_between(before, clock_mono_now()) >= SOON_MS - 1, "is waited for until the deadline");
	close(slot);
	is_int(slot_client_send(&c, FRAME_BATCH, slice_of("abc"), in_ms(10000)), SLOT_CLIENT_CLOSED, "one that is gone");
	slot_client_release(&c);
	free(large);
}

/* More than the socket holds, to a slot that reads slowly. */
static void
test_send_large(void)
{
	static char room[65536];
	struct slot_client c;
	char *large = calloc(1, LARGE);
	int slot = connect_client(&c), status = -1;
	size_t total = 0;
	ssize_t n;
	pid_t pid = fork();

	if (pid == 0) {
		close(c.fd);
		while ((n = read(slot, room, sizeof(room))) > 0)
			total += (size_t)n;
		_exit(total == LARGE + sizeof(struct frame_header) ? 0 : 1);
	}
	close(slot);
	is_int(slot_client_send(&c, FRAME_BATCH, (struct slice){ large, LARGE }, in_ms(10000)), SLOT_CLIENT_FRAME, "a large frame");
	slot_client_release(&c);
	is_int(waitpid(pid, &status, 0), pid, "its reader ends");
	is_int(status, 0, "and has read all of it");
	free(large);
}

static void
test_end(void)
{
	struct slot_client c;
	int slot = connect_client(&c), status;

	is_int(slot_client_end(&c, in_ms(0)), 0, "without a process");
	c.pid = fork();
	if (c.pid == 0)
		_exit(7);
	status = slot_client_end(&c, in_ms(10000));
	ok(WIFEXITED(status) && WEXITSTATUS(status) == 7, "its exit status");
	c.pid = fork();
	if (c.pid == 0)
		for (;;)
			pause();
	status = slot_client_end(&c, in_ms(SOON_MS));
	ok(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "who does not end is killed");
	is_int(c.pid, 0, "and no more known");
	close(slot);
	slot_client_release(&c);
}

int
main(void)
{
	test_read();
	test_bad(FRAME_MAGIC + 1, 3, "what is no frame");
	test_bad(FRAME_MAGIC, SIZE_MAX_READ + 1, "a frame that is too large");
	test_send();
	test_send_large();
	test_end();
	return done_testing();
}
