/*
 * spawn.c - see spawn.h. Between fork and exec only async-signal-safe calls are made: the parent
 * may have threads.
 *
 * The child dies with the thread that forked it, not with the process (prctl(2)): fork from the
 * main thread.
 */
#include "util/spawn.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/arena.h"

extern char **environ;

enum { FDS_MAX = 16, STANDARD_FDS = 3 };

enum step {
	STEP_OPEN, STEP_PIPE, STEP_FORK, STEP_PARENT, STEP_DUP, STEP_CLOSE, STEP_LIMIT,
	STEP_GROUP, STEP_DIRECTORY, STEP_EXEC,
	STEP_COUNT
};
static const char *const step_text[] = {
	[STEP_OPEN] = "open /dev/null", [STEP_PIPE] = "pipe", [STEP_FORK] = "fork",
	[STEP_PARENT] = "die with the parent", [STEP_DUP] = "dup2", [STEP_CLOSE] = "close_range",
	[STEP_LIMIT] = "setrlimit", [STEP_GROUP] = "setpgid", [STEP_DIRECTORY] = "chdir",
	[STEP_EXEC] = "exec",
};
struct report { int step, error; };	/* what the child writes into the pipe when it fails */

static void
default_signals(void)
{
	struct sigaction action = { .sa_handler = SIG_DFL };
	sigset_t none;

	for (int i = 1; i < NSIG; i++)
		sigaction(i, &action, NULL);	/* KILL, STOP and the C library's own refuse */
	sigemptyset(&none);
	pthread_sigmask(SIG_SETMASK, &none, NULL);
}

/* The parent may have died before it was asked: then the request was for another parent's death. */
static bool
die_with(pid_t parent)
{
	return prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent;
}

/* All signals are blocked over the fork: none of the parent's handlers may run in the child. */
static pid_t
fork_blocked(sigset_t *former)
{
	sigset_t all;
	pid_t pid;
	int saved;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, former);
	pid = fork();
	if (pid != 0) {
		saved = errno;
		pthread_sigmask(SIG_SETMASK, former, NULL);
		errno = saved;
	}
	return pid;
}

pid_t
spawn_fork(void)
{
	pid_t parent = getpid();
	sigset_t former;
	pid_t pid = fork_blocked(&former);

	if (pid == 0) {
		default_signals();
		if (!die_with(parent))
			_exit(1);
	}
	return pid;
}

static int
close_on_exec_from(int first)
{
	struct rlimit limit;

#ifdef SYS_close_range
	if (syscall(SYS_close_range, (unsigned)first, ~0u, CLOSE_RANGE_CLOEXEC) == 0)
		return 0;
#endif
	/* Linux before 5.11. */
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -1;
	for (int fd = first; (rlim_t)fd < limit.rlim_cur; fd++) {
		if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 && errno != EBADF)
			return -1;
	}
	return 0;
}

/* Gives the child's descriptors their numbers. All are first copied above every number that is
   wanted, so that none is overwritten before it was used. Returns the pipe's new number, or -1. */
static int
arrange_fds(const struct spawn_options *options, int null_fd, int pipe_fd)
{
	int parents[FDS_MAX + STANDARD_FDS] = { null_fd, STDERR_FILENO, STDERR_FILENO };
	int children[FDS_MAX + STANDARD_FDS] = { STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO };
	int above = STANDARD_FDS;
	size_t count = STANDARD_FDS;

	for (size_t i = 0; i < options->fd_count; i++, count++) {
		parents[count] = options->fds[i].parent;
		children[count] = options->fds[i].child;
		if (children[count] >= above)
			above = children[count] + 1;
	}
	for (size_t i = 0; i < count; i++) {
		parents[i] = fcntl(parents[i], F_DUPFD_CLOEXEC, above);
		if (parents[i] < 0)
			return -1;
	}
	pipe_fd = fcntl(pipe_fd, F_DUPFD_CLOEXEC, above);
	if (pipe_fd < 0)
		return -1;
	for (size_t i = 0; i < count; i++) {
		if (dup2(parents[i], children[i]) < 0)
			return -1;
	}
	return pipe_fd;
}

__attribute__((noreturn)) static void
fail(int pipe_fd, enum step step)
{
	struct report report = { .step = (int)step, .error = errno };

	while (write(pipe_fd, &report, sizeof(report)) < 0 && errno == EINTR)
		;
	_exit(127);
}

static bool
is_without(const char *entry, const char *const *without)
{
	size_t len = strcspn(entry, "=");

	for (; *without != NULL; without++) {
		if (strlen(*without) == len && memcmp(*without, entry, len) == 0)
			return true;
	}
	return false;
}

/* Made before the fork. The texts are borrowed, the array is the caller's to free. */
static char **
environment(const char *const *without)
{
	static const char *const none[] = { NULL };
	size_t count = 0, kept = 0;
	char **list;

	while (environ[count] != NULL)
		count++;
	list = xcalloc(count + 1, sizeof(*list));
	for (size_t i = 0; i < count; i++) {
		if (!is_without(environ[i], without == NULL ? none : without))
			list[kept++] = environ[i];
	}
	return list;
}

__attribute__((noreturn)) static void
become(const struct spawn_options *options, char *const *ours, pid_t parent, int null_fd, int pipe_fd)
{
	const rlim_t memory = (rlim_t)options->memory_limit_bytes;
	const struct rlimit limit = { memory, memory };
	union { const char *const *borrowed; char *const *texts; } args = { options->argv },
	    env = { options->environment };
	int moved;

	default_signals();
	if (!die_with(parent))
		fail(pipe_fd, STEP_PARENT);
	if (close_on_exec_from(STANDARD_FDS) < 0)
		fail(pipe_fd, STEP_CLOSE);
	moved = arrange_fds(options, null_fd, pipe_fd);
	if (moved < 0)
		fail(pipe_fd, STEP_DUP);
	if (options->memory_limit_bytes > 0 && setrlimit(RLIMIT_AS, &limit) < 0)
		fail(moved, STEP_LIMIT);
	if (options->own_group && setpgid(0, 0) < 0)
		fail(moved, STEP_GROUP);
	if (options->directory != NULL && chdir(options->directory) < 0)
		fail(moved, STEP_DIRECTORY);
	execve(options->path, args.texts, env.borrowed == NULL ? ours : env.texts);
	fail(moved, STEP_EXEC);
}

/* Until the child has exec'ed or failed. */
static bool
read_report(int fd, struct report *report)
{
	ssize_t n;

	do
		n = read(fd, report, sizeof(*report));
	while (n < 0 && errno == EINTR);
	return n == (ssize_t)sizeof(*report) && report->step >= 0 && report->step < STEP_COUNT;
}

pid_t
spawn_exec(const struct spawn_options *options, const char **step)
{
	int null_fd = -1, pipe_fds[2] = { -1, -1 }, error = 0;
	struct report report;
	sigset_t former;
	pid_t pid = -1, parent = getpid();
	char **env = environment(options->without);

	assert(options->path[0] == '/' && options->fd_count <= FDS_MAX);
	*step = step_text[STEP_OPEN];
	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null_fd < 0)
		goto out;
	*step = step_text[STEP_PIPE];
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		goto out;
	*step = step_text[STEP_FORK];
	pid = fork_blocked(&former);
	if (pid < 0)
		goto out;
	if (pid == 0)
		become(options, env, parent, null_fd, pipe_fds[1]);
	close(pipe_fds[1]);
	pipe_fds[1] = -1;
	if (read_report(pipe_fds[0], &report)) {
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		pid = -1;
		*step = step_text[report.step];
		errno = report.error;
	}
out:
	error = errno;
	free(env);
	if (null_fd >= 0)
		close(null_fd);
	if (pipe_fds[0] >= 0)
		close(pipe_fds[0]);
	if (pipe_fds[1] >= 0)
		close(pipe_fds[1]);
	errno = error;
	return pid;
}

const char *
spawn_status_text(int status, char *buf, size_t size)
{
	if (WIFEXITED(status)) {
		snprintf(buf, size, "exited with %d", WEXITSTATUS(status));
	} else if (WIFSIGNALED(status)) {
		const char *name = sigabbrev_np(WTERMSIG(status));
		const char *core = WCOREDUMP(status) ? " (core dumped)" : "";

		if (name != NULL)
			snprintf(buf, size, "was killed by SIG%s%s", name, core);
		else
			snprintf(buf, size, "was killed by signal %d%s", WTERMSIG(status), core);
	} else {
		snprintf(buf, size, "wait status 0x%x", (unsigned)status);
	}
	return buf;
}
