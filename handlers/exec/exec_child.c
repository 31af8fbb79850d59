/*
 * exec_child.c - see exec_child.h.
 */
#include "handlers/exec/exec_child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/spawn.h"

enum { READ_BYTES = 64 * 1024, LAST_READS = 32, NAP_MS = 5 };

void
exec_child_init(struct exec_child *c)
{
	c->pid = 0;
	c->in = c->out = c->err = -1;
	buf_init(&c->said);
	exec_noise_init(&c->noise, "stderr");
}

static void
close_end(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

void
exec_child_close_stdin(struct exec_child *c)
{
	close_end(&c->in);
}

void
exec_child_release(struct exec_child *c)
{
	exec_child_end(c, NULL, 0, NULL, NULL, 0);
	buf_release(&c->said);
}

/* ours does not block; the child's end does, as programs expect. */
static int
make_pipe(int *ours, int *childs, bool we_write)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) != 0)
		return -1;
	*ours = ends[we_write ? 1 : 0];
	*childs = ends[we_write ? 0 : 1];
	return fcntl(*ours, F_SETFL, O_NONBLOCK);
}

int
exec_child_start(struct exec_child *c, const struct exec_command *command,
    const char *const *environment, const char **step)
{
	int childs[3] = { -1, -1, -1 }, error;
	pid_t pid = -1;

	*step = "make a pipe";
	if (make_pipe(&c->in, &childs[0], true) == 0 &&
	    make_pipe(&c->out, &childs[1], false) == 0 &&
	    make_pipe(&c->err, &childs[2], false) == 0) {
		const struct spawn_fd fds[] = { { childs[0], 0 }, { childs[1], 1 },
			{ childs[2], 2 } };
		const struct spawn_options options = {
			.path = command->path,
			.argv = command->argv,
			.fds = fds,
			.fd_count = ARRAY_SIZE(fds),
			.environment = environment,
			.directory = command->directory,
			.own_group = true,
		};

		pid = spawn_exec(&options, step);
	}
	error = errno;
	for (size_t i = 0; i < ARRAY_SIZE(childs); i++)
		close_end(&childs[i]);
	buf_clear(&c->said);
	exec_noise_init(&c->noise, "stderr");
	if (pid < 0) {
		close_end(&c->in);
		close_end(&c->out);
		close_end(&c->err);
		errno = error;
		return -1;
	}
	c->pid = pid;
	return 0;
}

/* ---- its pipes */

static void
write_some(struct exec_child *c, struct slice *unsent)
{
	ssize_t n;

	if (c->in < 0 || unsent->len == 0)
		return;
	n = write(c->in, unsent->data, unsent->len);
	if (n > 0) {
		unsent->data += n;
		unsent->len -= (size_t)n;
	} else if (n < 0 && errno != EAGAIN && errno != EINTR) {
		close_end(&c->in); /* it reads no more */
	}
}

/* false: there is nothing just now. */
static bool
read_out(struct exec_child *c)
{
	ssize_t n;

	if (c->out < 0)
		return false;
	n = read(c->out, buf_reserve(&c->said, READ_BYTES), READ_BYTES);
	if (n > 0)
		buf_added(&c->said, (size_t)n);
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		close_end(&c->out);
	return n > 0;
}

static bool
read_err(struct exec_child *c, struct pawl_call *call)
{
	char bytes[4096];
	ssize_t n;

	if (c->err < 0)
		return false;
	n = read(c->err, bytes, sizeof(bytes));
	if (n > 0)
		exec_noise_add(&c->noise, call, bytes, (size_t)n);
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		close_end(&c->err);
	return n > 0;
}

bool
exec_child_step(struct exec_child *c, struct pawl_call *call, struct slice *unsent, int64_t wait_ms)
{
	struct pollfd p[3] = {
		{ .fd = c->out, .events = POLLIN },
		{ .fd = c->err, .events = POLLIN },
		{ .fd = unsent->len > 0 ? c->in : -1, .events = POLLOUT },
	};

	write_some(c, unsent);
	if (unsent->len == 0)
		p[2].fd = -1;
	if (poll(p, ARRAY_SIZE(p), wait_ms < 0 ? 0 : (int)wait_ms) <= 0)
		return false;
	if (p[0].revents != 0)
		(void)read_out(c);
	if (p[1].revents != 0)
		(void)read_err(c, call);
	return true;
}

/* ---- its end */

bool
exec_child_has_ended(const struct exec_child *c)
{
	siginfo_t info = { 0 };

	/* It is not reaped here: its number is its group's as well. */
	return waitid(P_PID, (id_t)c->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
	    info.si_pid == c->pid;
}

static bool
wait_end(struct exec_child *c, struct pawl_call *call, int64_t patience_ms)
{
	struct clock_mono deadline = clock_mono_after_ms(clock_mono_now(), patience_ms);
	struct slice nothing = { NULL, 0 };

	while (!exec_child_has_ended(c)) {
		if (clock_ms_between(clock_mono_now(), deadline) <= 0)
			return false;
		(void)exec_child_step(c, call, &nothing, NAP_MS);
		buf_clear(&c->said);
	}
	return true;
}

void
exec_child_end(struct exec_child *c, struct pawl_call *call, int64_t patience_ms, int *status,
    char *what, size_t what_size)
{
	bool by_itself;
	int how = 0;

	if (c->pid <= 0)
		return;
	by_itself = wait_end(c, call, patience_ms);
	(void)kill(-c->pid, SIGKILL);
	(void)kill(c->pid, SIGKILL);	/* it may have gone to another group */
	while (waitpid(c->pid, &how, 0) < 0 && errno == EINTR)
		;
	c->pid = 0;
	for (int i = 0; i < LAST_READS && read_err(c, call); i++)
		;
	exec_noise_end(&c->noise, call);
	close_end(&c->in);
	close_end(&c->out);
	close_end(&c->err);
	buf_clear(&c->said);
	if (status != NULL)
		*status = how;
	if (what_size > 0)
		what[0] = '\0';
	/* Who is killed while it dumps core has the status of what it died of. */
	if (what_size > 0 && (by_itself || !WIFSIGNALED(how) || WTERMSIG(how) != SIGKILL))
		(void)spawn_status_text(how, what, what_size);
}
