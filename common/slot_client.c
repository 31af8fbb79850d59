/*
 * slot_client.c - see slot_client.h.
 */
#include "common/slot_client.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/program.h"
#include "util/arena.h"
#include "util/spawn.h"

enum { READ_BYTES = 65536, END_LOOK_MS = 2 };

static enum slot_client_status
send_all(struct slot_client *c, const char *data, size_t len, struct clock_mono deadline)
{
	while (len > 0) {
		ssize_t n = send(c->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		struct pollfd p = { .fd = c->fd, .events = POLLOUT };
		int64_t left;

		if (n >= 0) {
			data += n;
			len -= (size_t)n;
			continue;
		}
		if (errno != EINTR && errno != EAGAIN)
			return SLOT_CLIENT_CLOSED;
		left = clock_ms_between(clock_mono_now(), deadline);
		if (left <= 0)
			return SLOT_CLIENT_LATE;
		if (poll(&p, 1, left > INT32_MAX ? INT32_MAX : (int)left) < 0 && errno != EINTR)
			return SLOT_CLIENT_CLOSED;
	}
	return SLOT_CLIENT_FRAME;
}

enum slot_client_status
slot_client_send(struct slot_client *c, enum frame_type type, struct slice payload, struct clock_mono deadline)
{
	struct frame_header head = {
		.size = (uint32_t)payload.len, .type = (uint16_t)type, .magic = FRAME_MAGIC
	};
	char bytes[sizeof(head)];
	enum slot_client_status status;

	memcpy(bytes, &head, sizeof(head));
	status = send_all(c, bytes, sizeof(bytes), deadline);
	return status == SLOT_CLIENT_FRAME ? send_all(c, payload.data, payload.len, deadline) : status;
}

static void
send_setup(struct slot_client *c, const struct config_queue *queue, const struct slot_setup_options *options,
    struct clock_mono deadline)
{
	struct buf out = BUF_INIT;

	slot_setup_put(&out, queue, options);
	/* What went wrong is told by the answer, or by the one that does not come. */
	(void)slot_client_send(c, FRAME_SETUP, (struct slice){ out.data, out.len }, deadline);
	explicit_bzero(out.data, out.len);	/* the connection string may hold a password */
	buf_release(&out);
}

int
slot_client_start(struct slot_client *c, const struct config_queue *queue,
    const struct slot_setup_options *options, const char *const *without, struct clock_mono deadline,
    char *error, size_t error_size)
{
	struct arena arena = ARENA_INIT;
	const char *program = program_libexec(&arena, "pawl-slot"), *step = "socketpair";
	const char *const argv[] = { "pawl-slot", queue->name, NULL };
	int ends[2] = { -1, -1 }, desk = -1, status = -1;
	void *map = MAP_FAILED;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		goto done;
	step = "make a desk";
	desk = memfd_create("pawl-desk", MFD_CLOEXEC);
	if (desk < 0 || ftruncate(desk, sizeof(struct desk)) < 0)
		goto done;
	map = mmap(NULL, sizeof(struct desk), PROT_READ | PROT_WRITE, MAP_SHARED, desk, 0);
	if (map == MAP_FAILED)
		goto done;

	const struct spawn_fd fds[] = { { ends[1], FRAME_SOCKET_FD }, { desk, FRAME_DESK_FD } };
	struct spawn_options spawn = { .path = program,
		.argv = argv,
		.fds = fds,
		.fd_count = ARRAY_SIZE(fds),
		.memory_limit_bytes = queue->memory_limit_bytes,
		.without = without };

	c->pid = spawn_exec(&spawn, &step);
	if (c->pid < 0)
		goto done;
	c->fd = ends[0];
	ends[0] = -1;
	c->desk = map;
	map = MAP_FAILED;
	buf_clear(&c->in);
	c->given = 0;
	send_setup(c, queue, options, deadline);
	status = 0;
done:
	if (status != 0) {
		(void)snprintf(error, error_size, "could not start %s: %s: %s", program, step, strerror(errno));
		c->pid = 0;
	}
	if (map != MAP_FAILED)
		(void)munmap(map, sizeof(struct desk));
	for (int i = 0; i < 2; i++)
		if (ends[i] >= 0)
			close(ends[i]);
	if (desk >= 0)
		close(desk);
	arena_release(&arena);
	return status;
}

/* FRAME: the whole one at the start of in; LATE: more has to come. */
static enum slot_client_status
take_frame(struct slot_client *c, size_t size_max, unsigned *type, struct slice *payload)
{
	struct frame_header head;

	if (c->in.len < sizeof(head))
		return SLOT_CLIENT_LATE;
	memcpy(&head, c->in.data, sizeof(head));
	if (head.magic != FRAME_MAGIC || head.size > size_max)
		return SLOT_CLIENT_BAD;
	if (c->in.len - sizeof(head) < head.size)
		return SLOT_CLIENT_LATE;
	c->given = sizeof(head) + head.size;
	*type = head.type;
	*payload = (struct slice){ c->in.data + sizeof(head), head.size };
	return SLOT_CLIENT_FRAME;
}

/* What follows a frame goes to the start, so that payloads are aligned: buf_consume() would not move it. */
static void
drop_given(struct slot_client *c)
{
	if (c->given == 0)
		return;
	memmove(c->in.data, c->in.data + c->given, c->in.len - c->given);
	c->in.len -= c->given;
	c->given = 0;
}

enum slot_client_status
slot_client_read(struct slot_client *c, struct clock_mono deadline, size_t size_max,
    unsigned *type, struct slice *payload)
{
	drop_given(c);
	for (;;) {
		enum slot_client_status status = take_frame(c, size_max, type, payload);
		int64_t left = clock_ms_between(clock_mono_now(), deadline);
		struct pollfd p = { .fd = c->fd, .events = POLLIN };

		if (status != SLOT_CLIENT_LATE)
			return status;
		if (left <= 0)
			return SLOT_CLIENT_LATE;

		int rc = poll(&p, 1, left > INT32_MAX ? INT32_MAX : (int)left);

		if (rc < 0 && errno != EINTR)
			return SLOT_CLIENT_CLOSED;
		if (rc <= 0)
			continue;

		ssize_t n = read(c->fd, buf_reserve(&c->in, READ_BYTES), READ_BYTES);

		if (n > 0)
			buf_added(&c->in, (size_t)n);
		else if (n == 0 || errno != EINTR)
			return SLOT_CLIENT_CLOSED;	/* or reset by its death */
	}
}

/* true: it ended, and status is set. */
static bool
ended(struct slot_client *c, int options, int *status)
{
	pid_t pid;

	do
		pid = waitpid(c->pid, status, options);
	while (pid < 0 && errno == EINTR);
	return pid != 0;
}

int
slot_client_end(struct slot_client *c, struct clock_mono deadline)
{
	int status = 0;

	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	if (c->pid == 0)
		return 0;
	while (!ended(c, WNOHANG, &status)) {
		if (clock_ms_between(clock_mono_now(), deadline) <= 0) {
			(void)kill(c->pid, SIGKILL);
			(void)ended(c, 0, &status);
			break;
		}
		(void)poll(NULL, 0, END_LOOK_MS);
	}
	c->pid = 0;
	return status;
}

void
slot_client_release(struct slot_client *c)
{
	(void)slot_client_end(c, clock_mono_now());
	if (c->desk != NULL)
		(void)munmap(c->desk, sizeof(*c->desk));
	c->desk = NULL;
	buf_release(&c->in);
	c->given = 0;
}
