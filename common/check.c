/*
 * check.c - checks a configuration with the help of pawl-slot. In pawl-worker -t and pawlctl check; returns an exit status.
 */
#include "common/check.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/program.h"
#include "common/slot_setup.h"
#include "util/clock.h"
#include "util/spawn.h"

enum {
	AT_ONCE = 8,			/* slots side by side */
	ANSWER_MS = 30 * 1000,		/* a handler's start() may take a while; the database is waited for a few seconds by the slot */
	ANSWER_MAX = 16 * 1024 * 1024
};

struct check {				/* one queue */
	const struct config *config;
	const struct config_queue *queue;
	pid_t pid;			/* 0: not started */
	int fd;
	struct clock_mono deadline;
	struct buf answer;
	struct arena arena;
	int status;			/* exit status so far */
};

static void	complain(struct check *, int status, const char *fmt, ...) ATTR_PRINTF(3, 4);

static void
complain(struct check *c, int status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fprintf(stderr, "%s:%d: queues.%s: %s\n", c->queue->file, c->queue->line, c->queue->name,
	    arena_vprintf(&c->arena, fmt, ap));
	va_end(ap);
	c->status = status;
}

static int
send_setup(struct check *c)
{
	struct slot_setup_options options = { .host = "check",
		.log_level = LOG_LEVEL_ERROR,
		.log_format = c->config->log_format,
		.check = true };
	struct frame_header head = { .type = FRAME_SETUP, .magic = FRAME_MAGIC };
	struct buf out = BUF_INIT;
	size_t sent = 0;

	buf_append(&out, &head, sizeof(head));
	slot_setup_put(&out, c->queue, &options);
	head.size = (uint32_t)(out.len - sizeof(head));
	memcpy(out.data, &head, sizeof(head));
	while (sent < out.len) {
		ssize_t n = send(c->fd, out.data + sent, out.len - sent, MSG_NOSIGNAL);

		if (n > 0)
			sent += (size_t)n;
		else if (n < 0 && errno != EINTR)
			break;
	}
	size_t left = out.len - sent;

	explicit_bzero(out.data, out.len);	/* the connection string may hold a password */
	buf_release(&out);
	return left == 0 ? 0 : -1;
}

static void
start(struct check *c)
{
	const char *program = program_libexec(&c->arena, "pawl-slot"), *step = "socketpair";
	const char *const argv[] = { "pawl-slot", c->queue->name, NULL };
	int ends[2] = { -1, -1 }, desk = -1;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		goto failed;
	step = "make a desk";
	desk = memfd_create("pawl-desk", MFD_CLOEXEC);
	if (desk < 0 || ftruncate(desk, sizeof(struct desk)) < 0)
		goto failed;

	const struct spawn_fd fds[] = { { ends[1], FRAME_SOCKET_FD }, { desk, FRAME_DESK_FD } };
	struct spawn_options options = { .path = program,
		.argv = argv,
		.fds = fds,
		.fd_count = ARRAY_SIZE(fds),
		.memory_limit_bytes = c->queue->memory_limit_bytes,
		.without = c->config->broker_variables };

	c->pid = spawn_exec(&options, &step);
	if (c->pid < 0)
		goto failed;
	close(desk);
	close(ends[1]);
	c->fd = ends[0];
	c->deadline = clock_mono_after_ms(clock_mono_now(), ANSWER_MS);
	(void)send_setup(c);		/* a slot that is gone says so when it is read from */
	return;
failed:
	complain(c, EX_UNAVAILABLE, "could not start %s: %s: %s", program, step, strerror(errno));
	c->pid = 0;
	for (int i = 0; i < 2; i++)
		if (ends[i] >= 0)
			close(ends[i]);
	if (desk >= 0)
		close(desk);
}

/* The whole frame at 'at', or NULL. */
static const struct frame_header *
frame_at(const struct check *c, size_t at, struct frame_header *head)
{
	if (c->answer.len - at < sizeof(*head))
		return NULL;
	memcpy(head, c->answer.data + at, sizeof(*head));
	return c->answer.len - at - sizeof(*head) >= head->size ? head : NULL;
}

/* Everything that the slot sends until it closes. false: not in time, or too much. */
static bool
receive(struct check *c)
{
	for (;;) {
		int64_t left = clock_ms_between(clock_mono_now(), c->deadline);
		struct pollfd p = { .fd = c->fd, .events = POLLIN };
		int rc = left <= 0 ? 0 : poll(&p, 1, (int)left);

		if (rc < 0 && errno == EINTR)
			continue;
		if (rc <= 0 || c->answer.len > ANSWER_MAX)
			return false;

		ssize_t n = read(c->fd, buf_reserve(&c->answer, 65536), 65536);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return true;	/* closed, or reset by its death */
		c->answer.len += (size_t)n;
		c->answer.data[c->answer.len] = '\0';
	}
}

/* Its text, a line each; of a note that follows a READY the queue is said. true: it was an answer. */
static bool
show(struct check *c, const struct frame_header *head, size_t at)
{
	struct slot_answer answer;
	bool refused = head->type == FRAME_REFUSED;

	if (head->magic != FRAME_MAGIC || (head->type != FRAME_READY && !refused) ||
	    slot_answer_get((struct slice){ c->answer.data + at, head->size }, &c->arena, &answer) <
		0)
		return false;
	if (refused) {
		size_t len = strlen(answer.text);

		fprintf(stderr, "%s%s", answer.text,
		    len > 0 && answer.text[len - 1] == '\n' ? "" : "\n");
		c->status = EX_CONFIG;
	} else if (answer.text[0] != '\0') {
		fprintf(stderr, "%s:%d: queues.%s: %s\n", c->queue->file,
		    c->queue->line, c->queue->name, answer.text);
	}
	return true;
}

static void
finish(struct check *c)
{
	struct frame_header head;
	char text[128];
	bool answered = false, in_time;
	int status = 0;

	if (c->pid == 0)
		return;
	in_time = receive(c);
	if (!in_time)
		kill(c->pid, SIGKILL);
	while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
		;
	close(c->fd);
	for (size_t at = 0; frame_at(c, at, &head) != NULL; at += sizeof(head) + head.size)
		answered |= show(c, &head, at + sizeof(head));
	if (!in_time)
		complain(c, EX_CONFIG, "its handlers did not start within %d s", ANSWER_MS / 1000);
	else if (!answered || WIFSIGNALED(status))
		complain(c, EX_CONFIG, "loading and starting its handlers failed: pawl-slot %s",
		    spawn_status_text(status, text, sizeof(text)));
}

static void
count(const struct config *config, const char *file)
{
	size_t handlers = 0;

	for (size_t i = 0; i < config->queue_count; i++)
		handlers += config->queues[i].handler_count;
	printf("%s: good: %zu queue%s, %zu handler%s, %zu outbox%s\n", file, config->queue_count,
	    config->queue_count == 1 ? "" : "s", handlers, handlers == 1 ? "" : "s",
	    config->outbox_count, config->outbox_count == 1 ? "" : "es");
}

int
check_slots(const struct config *config, const struct config_queue *only)
{
	const struct config_queue *queues = only == NULL ? config->queues : only;
	size_t queue_count = only == NULL ? config->queue_count : 1;
	struct check checks[AT_ONCE];
	int status = EX_OK;

	for (size_t i = 0; i < queue_count; i += AT_ONCE) {
		size_t n = queue_count - i < AT_ONCE ? queue_count - i : AT_ONCE;

		for (size_t j = 0; j < n; j++) {
			checks[j] = (struct check){ .config = config,
				.queue = &queues[i + j],
				.fd = -1,
				.answer = BUF_INIT,
				.arena = ARENA_INIT };
			start(&checks[j]);
		}
		for (size_t j = 0; j < n; j++) {
			finish(&checks[j]);
			if (status != EX_CONFIG && checks[j].status != EX_OK)
				status = checks[j].status;
			buf_release(&checks[j].answer);
			arena_release(&checks[j].arena);
		}
	}
	return status;
}

int
check_file(const char *file, check_fn *more)
{
	struct config *config = program_config(file);
	bool good;
	int status;

	if (config == NULL)
		return EX_CONFIG;
	good = more == NULL || more(config);
	status = check_slots(config, NULL);
	if (!good)
		status = EX_CONFIG;
	if (status == EX_OK)
		count(config, file);
	config_free(&config);
	return status;
}
